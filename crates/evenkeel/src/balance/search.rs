//! The search of one pass: the group, then the queue to take from, with all they change on the way.
//!
//! The walk around the groups refreshes the capacity of the local one and, when it is over, tells wake-ups how far to
//! search and the root domain whether any CPU has more than one task. The decisions are made elsewhere
//! ([`stats`](super::stats), [`choose`](super::choose), [`source`](super::source)).
//!
//! In the kernel: `update_sd_lb_stats()`, `sched_balance_find_src_group()`, `sched_balance_find_src_rq()` (spec 3 §4-6).
use super::env::{IdleType, LbEnv, MigrationType};
use super::event::{BalanceEvent, PassOutcome};
use super::nohz::LOAD_AVG_PERIOD;
use super::rules::ScanHint;
use super::source::SrcRq;
use super::stats::nr_idle_scan;
use super::view::CpuView;
use crate::ids::{CpuId, GroupId};
use crate::kernel::Features;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::{ms_to_jiffies, time_after_eq};

impl<O: Observer> Sched<O> {
    /// Steps 4 to 6: the group and the queue to take from.
    pub(super) fn find_source(&mut self, env: &mut LbEnv) -> Result<CpuId, PassOutcome> {
        let Some(group) = self.sched_balance_find_src_group(env) else {
            let counters = self.lb_counters(env);
            counters.nobusyg = counters.nobusyg.wrapping_add(1);
            return Err(PassOutcome::NoSrcGroup);
        };
        let Some(src_cpu) = self.sched_balance_find_src_rq(env, group) else {
            let counters = self.lb_counters(env);
            counters.nobusyq = counters.nobusyq.wrapping_add(1);
            return Err(PassOutcome::NoSrcQueue);
        };
        assert!(src_cpu != env.dst_cpu, "the source of a pass is never its destination");
        let imbalance = env.imbalance as u32;
        let counters = self.lb_counters(env);
        let counter = match env.migration_type {
            MigrationType::Load => &mut counters.imbalance_load,
            MigrationType::Util => &mut counters.imbalance_util,
            MigrationType::Task => &mut counters.imbalance_task,
            MigrationType::Misfit => &mut counters.imbalance_misfit,
            // There is no counter for these.
            MigrationType::LlcTask => return Ok(src_cpu),
        };
        *counter = counter.wrapping_add(imbalance);
        Ok(src_cpu)
    }

    /// Sums up the groups and chooses the one to take from (spec 3 §4, §5).
    fn sched_balance_find_src_group(&mut self, env: &mut LbEnv) -> Option<GroupId> {
        let first = self.topo.domains[env.sd.index()].groups;
        let mut sds = self.search(env).new_stats();
        let mut group = first;
        // The oldest balancer refreshes the load of idle CPUs on its way.
        let refreshes =
            self.search(env).is_classic() && env.idle == IdleType::NewlyIdle && self.nohz.has_blocked;
        let mut again = false;
        loop {
            self.refresh_capacity(env, group);
            again |= refreshes && self.refresh_idle_load(group);
            let (stats, pick) = self.search(env).visit(&mut sds, group);
            self.record_llc_load(env, group, &stats);
            self.emit(|_| Event::Balance(BalanceEvent::Group { pass: env.pass, group, stats, pick }));
            group = self.topo.groups[group.index()].next;
            if group == first {
                break;
            }
        }
        if again && self.nohz.idle_cpus_mask.is_subset(&self.topo.domains[env.sd.index()].span) {
            let soon = ms_to_jiffies(LOAD_AVG_PERIOD, self.kernel.hz);
            self.nohz.next_blocked = self.jiffies().wrapping_add(soon);
        }
        env.cost += self.cost.cpu * u64::from(self.topo.domains[env.sd.index()].span_weight);
        self.search(env).finish(&mut sds);
        env.fbq_type = sds.fbq_type;
        if self.topo.domains[env.sd.index()].parent.is_none() {
            let root = self.topo.cpus[env.dst_cpu.index()].root;
            self.topo.roots[root.index()].overloaded = sds.overloaded;
        }
        self.update_idle_cpu_scan(env, sds.sum_util);
        let verdict = self.search(env).find_src_group(&mut sds);
        env.imbalance = verdict.imbalance.filter(|_| verdict.group.is_some()).map_or(0, |found| found.amount);
        if let Some(migration_type) = verdict.imbalance.and_then(|imbalance| imbalance.migration_type) {
            env.migration_type = migration_type;
        }
        self.emit(|_| {
            Event::Balance(BalanceEvent::SrcGroup {
                pass: env.pass,
                busiest: sds.busiest,
                local_avg_load: sds.local_stat.avg_load,
                domain_avg_load: sds.avg_load,
                fbq_type: sds.fbq_type,
                verdict,
            })
        });
        verdict.group
    }

    /// Refreshes the load of the group's tickless CPUs; whether some is left.
    fn refresh_idle_load(&mut self, group: GroupId) -> bool {
        let mut left = false;
        for cpu in alloc::sync::Arc::clone(&self.topo.groups[group.index()].span).iter() {
            left |= self.scratch.lb_cpus.contains(cpu) && self.update_nohz_stats(cpu, false);
        }
        left
    }

    /// The local group's capacity is brought up to date, on new-idle passes only now and then.
    fn refresh_capacity(&mut self, env: &LbEnv, group: GroupId) {
        let group = &self.topo.groups[group.index()];
        let next_update = self.topo.capacities[group.sgc.index()].next_update;
        if group.span.contains(env.dst_cpu)
            && (env.idle != IdleType::NewlyIdle || time_after_eq(self.jiffies(), next_update))
        {
            self.update_group_capacity(env.sd, env.dst_cpu);
        }
    }

    /// Tells wake-ups how far to search in the cache that this level spans (spec 3 §4.6).
    fn update_idle_cpu_scan(&mut self, env: &LbEnv, sum_util: u64) {
        let (domain, pointers) = (&self.topo.domains[env.sd.index()], &self.topo.cpus[env.dst_cpu.index()]);
        if !self.feat(Features::SIS_UTIL) || env.idle == IdleType::NewlyIdle {
            return;
        }
        let shared = match self.kernel.balance.groups.scan_hint {
            ScanHint::CacheSize if domain.span_weight != pointers.sd_llc_size => None,
            ScanHint::CacheSize => pointers.sd_llc_shared,
            ScanHint::SharedRecord => domain.shared,
        };
        if let Some(shared) = shared {
            let limit = nr_idle_scan(sum_util, domain.span_weight, domain.imbalance_pct);
            self.topo.shared[shared.index()].nr_idle_scan = limit;
        }
    }

    /// Chooses the queue to take from (spec 3 §6).
    fn sched_balance_find_src_rq(&mut self, env: &LbEnv, group: GroupId) -> Option<CpuId> {
        let mut choice = SrcRq::new(env.imbalance, env.migration_type, env.fbq_type);
        let span = self.topo.groups[group.index()].span.clone();
        for cpu in span.iter() {
            if !self.scratch.lb_cpus.contains(cpu) {
                continue;
            }
            let verdict = choice.consider(&self.search(env), cpu);
            self.emit(|sched| {
                Event::Balance(BalanceEvent::Queue {
                    pass: env.pass,
                    cpu,
                    h_nr_queued: sched.h_nr_queued(cpu),
                    load: CpuView::cpu_load(sched, cpu),
                    util: sched.cpu_util_cfs_boost(cpu),
                    capacity: CpuView::capacity_of(sched, cpu),
                    verdict,
                })
            });
        }
        let best = choice.best();
        self.emit(|sched| {
            Event::Balance(BalanceEvent::SrcQueue {
                pass: env.pass,
                cpu: best,
                nr_running: best.map_or(0, |cpu| sched.rqs[cpu.index()].nr_running),
                imbalance: env.imbalance,
                migration_type: env.migration_type,
            })
        });
        best
    }
}
