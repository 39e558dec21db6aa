//! What gathering makes of groups, tasks and active balance.
//!
//! Example (levels MC and PKG over two caches): CPU 0 balances PKG; the other cache has a queue with one and a queue with two tasks that
//! prefer CPU 0's cache, which is nearly empty. Their group is `llc_balance`, and the queue with two gives one of them away, though CPU 0 may be
//! busy.
//!
//! In the kernel: `can_migrate_llc_task()`, `migrate_degrades_llc()`, `alb_break_llc()`, and parts of
//! `update_sg_lb_stats()` (spec 3 §13.4-13.6).
use super::rules::{Degrades, Gathering, LlcLoad, LlcMove, Toward};
use crate::balance::env::{IdleType, LbEnv, LbFlags, MigrationType};
use crate::balance::stats::{Search, SgStats};
use crate::balance::view::CpuView;
use crate::ids::{CpuId, GroupId, TaskId};
use crate::observe::Observer;
use crate::sched::Sched;
use crate::topology::{Domains, Group, SdFlags};

/// How full the last-level cache of a CPU was when it was summed up last; none: it has no shared record.
fn llc_load(topo: &Domains, cpu: CpuId) -> Option<LlcLoad> {
    let shared = &topo.shared[topo.cpus[cpu.index()].sd_llc_shared?.index()];
    Some(LlcLoad { util: shared.util_avg, capacity: shared.capacity })
}

/// [`Gathering::can_migrate_llc`] between the caches of two CPUs.
fn can_migrate_llc(
    gathering: &Gathering,
    topo: &Domains,
    [src, dst]: [CpuId; 2],
    util: u64,
    toward: Toward,
) -> LlcMove {
    gathering.can_migrate_llc(llc_load(topo, src), llc_load(topo, dst), util, toward)
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// Tasks of `cpu` that prefer the destination's cache, unless it is in there.
    #[inline]
    pub fn nr_pref_dst_llc(&self, cpu: CpuId) -> u32 {
        if self.gathering.is_none() || self.topo.cpus_share_cache(cpu, self.dst_cpu) {
            return 0;
        }
        self.view.nr_pref_llc(cpu, self.topo.cpus[self.dst_cpu.index()].sd_llc_id)
    }

    /// Whether a group should give a task to the destination's cache, which it prefers (spec 3 §13.5).
    pub(crate) fn is_llc_balance(&self, stats: &SgStats, group: &Group) -> bool {
        let Some(gathering) = self.gathering else { return false };
        let domain = self.domain();
        let has_misfit =
            domain.flags.contains(SdFlags::ASYM_CPUCAPACITY) && stats.group_misfit_task_load != 0;
        if domain.flags.contains(SdFlags::SHARE_LLC)
            || has_misfit
            || domain.nr_balance_failed > domain.cache_nice_tries
            || stats.nr_pref_dst_llc == 0
        {
            return false;
        }
        let Some(first) = group.span.first() else { return false };
        let cpus = [first, self.dst_cpu];
        can_migrate_llc(&gathering, self.topo, cpus, 0, Toward::Preferred) == LlcMove::Llc
    }

    /// Whether active balance would drive a cache apart whose tasks all prefer it (spec 3 §13.6).
    pub fn alb_break_llc(&self, src: CpuId, migration_type: MigrationType) -> bool {
        let Some(gathering) = self.gathering else { return false };
        let (view, dst) = (self.view, self.dst_cpu);
        let at_home = view.nr_pref_llc_running(src);
        if self.topo.cpus_share_cache(src, dst)
            || at_home == 0
            || at_home != view.h_nr_runnable(src)
            || migration_type == MigrationType::Misfit
        {
            return false;
        }
        let outgrows =
            self.domain().flags.contains(SdFlags::ASYM_CPUCAPACITY) && view.curr_outgrows(src, dst);
        let forbidden = || {
            let util = view.curr_util(src);
            can_migrate_llc(&gathering, self.topo, [src, dst], util, Toward::Other) == LlcMove::Forbidden
        };
        view.nr_running(src) <= 1 || outgrows || forbidden()
    }
}

impl<O: Observer> Sched<O> {
    /// What a periodic pass found out about a group that is a cache is noted there, for decisions between caches.
    pub(crate) fn record_llc_load(&mut self, env: &LbEnv, group: GroupId, stats: &SgStats) {
        let child = self.topo.domains[env.sd.index()].child;
        let llc = self.topo.cpus[env.dst_cpu.index()].sd_llc;
        if self.gathering.is_none() || env.idle == IdleType::NewlyIdle || child.is_none() || child != llc {
            return;
        }
        let Some(first) = self.topo.groups[group.index()].span.first() else { return };
        if let Some(shared) = self.topo.cpus[first.index()].sd_llc_shared {
            let shared = &mut self.topo.shared[shared.index()];
            (shared.util_avg, shared.capacity) = (stats.group_util, stats.group_capacity);
        }
    }

    /// Whether the task prefers the last-level cache of the destination.
    pub(crate) fn prefers_llc_of(&self, task: TaskId, cpu: CpuId) -> bool {
        self.tasks[task].llc.preferred.is_some_and(|llc| Some(llc) == self.llc_of(cpu))
    }

    /// What speaks against a move for the sake of the task's cache (spec 3 §13.5).
    pub(crate) fn migrate_degrades_llc(&mut self, env: &LbEnv, task: TaskId) -> Option<Degrades> {
        let gathering = self.gathering?;
        let domain = &self.topo.domains[env.sd.index()];
        if domain.nr_balance_failed > domain.cache_nice_tries {
            return None;
        }
        let wanted =
            env.migration_type == MigrationType::LlcTask || env.flags.contains(LbFlags::ACTIVE_LB_LLC);
        if wanted && !self.prefers_llc_of(task, env.dst_cpu) {
            return Some(Degrades::NotWanted);
        }
        let allowed = self.can_migrate_llc_task(&gathering, env, task);
        (allowed == LlcMove::Forbidden).then_some(Degrades::Forbidden)
    }

    /// What gathering says of moving a task (spec 3 §13.4).
    fn can_migrate_llc_task(&mut self, gathering: &Gathering, env: &LbEnv, task: TaskId) -> LlcMove {
        let (src, dst) = (env.src_cpu, env.dst_cpu);
        let asym = self.topo.domains[env.sd.index()].flags.contains(SdFlags::ASYM_CPUCAPACITY);
        if asym && self.task_fits_cpu(task, src) && !self.task_fits_cpu(task, dst) {
            return LlcMove::Forbidden;
        }
        let Some(process) = self.tasks[task].llc.process else { return LlcMove::Unrestricted };
        let Some(home) = self.processes[process.index()].cpu else { return LlcMove::Unrestricted };
        if self.topo.cpus_share_cache(src, dst) {
            return LlcMove::Unrestricted;
        }
        if self.invalid(gathering, process, dst, None).is_some() {
            self.processes[process.index()].cpu = None;
            return LlcMove::Unrestricted;
        }
        let toward = if self.topo.cpus_share_cache(dst, home) {
            Toward::Preferred
        } else if self.topo.cpus_share_cache(src, home) {
            Toward::Other
        } else {
            return LlcMove::Unrestricted;
        };
        let util = self.entity(task).avg.util_avg;
        can_migrate_llc(gathering, &self.topo, [src, dst], util, toward)
    }
}
