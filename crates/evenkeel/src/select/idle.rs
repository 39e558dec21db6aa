//! An idle CPU near the target of a wake-up.
//!
//! Cheap questions first (is the target idle? the previous CPU? the one before?), then a search of the target's
//! last-level cache, for a whole idle core if one is known to exist, else for any idle CPU. The search is limited by how
//! busy the cache's CPUs are: at full utilisation nothing is searched at all.
//!
//! In the kernel: `select_idle_sibling`, `select_idle_cpu`, `select_idle_core`, `select_idle_smt`. Specified in spec 4 §7
//! and §8. Left out: core scheduling, stacking on per-CPU kernel threads (there are none).
use super::SelectReason;
use super::rules::{IdlePolicyCpus, IdleSearch, UnequalSearch};
use super::steps::{AskedAs, PlacementStep};
use crate::ids::{CpuId, DomainId, SharedId, TaskId};
use crate::kernel::Features;
use crate::mask::CpuMask;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::topology::SdFlags;
use crate::workload::Policy;

/// How many CPUs a search without idle cores may still look at.
struct Budget {
    left: i64,
}

impl Budget {
    /// Takes one; false when nothing was left.
    fn take(&mut self) -> bool {
        self.left -= 1;
        self.left > 0
    }
}

impl<O: Observer> Sched<O> {
    /// Whether a wake-up may use the CPU as idle: it is, or runs only tasks of the idle policy.
    pub(super) fn usable(&self, task: TaskId, cpu: CpuId) -> bool {
        self.idle_cpu(cpu) || (self.takes_idle_policy_cpus(task) && self.sched_idle_cpu(cpu))
    }

    /// Whether a CPU that runs only idle-policy tasks is as good as an idle one for the task.
    pub(super) fn takes_idle_policy_cpus(&self, task: TaskId) -> bool {
        match self.kernel.placement.idle_policy_cpus {
            IdlePolicyCpus::Busy => false,
            IdlePolicyCpus::Idle => true,
            IdlePolicyCpus::IdleForOthers => self.tasks[task].policy != Policy::Idle,
        }
    }

    /// Whether it is usable and big enough for the task; told to the observer.
    fn ask(&mut self, task: TaskId, cpu: CpuId, role: AskedAs) -> bool {
        let (idle, fits) = (self.usable(task, cpu), self.task_fits_cpu(task, cpu));
        self.emit(|_| Event::Placement { task, step: PlacementStep::Asked { cpu, role, idle, fits } });
        idle && fits
    }

    /// The CPU for a task that wakes up, near `target`; `prev` is where it was (spec 4 §7).
    pub(super) fn select_idle_sibling(
        &mut self,
        this: CpuId,
        task: TaskId,
        prev: CpuId,
        target: CpuId,
    ) -> (CpuId, SelectReason) {
        if self.topo.asym_capacity {
            self.sync_entity_load_avg(task);
        }
        if self.ask(task, target, AskedAs::Target) {
            return (target, SelectReason::IdleTarget);
        }
        let clusters = self.topo.cluster_active && self.kernel.placement.searches_clusters;
        let mut prev_near = None;
        if prev != target && self.topo.cpus_share_cache(prev, target) && self.ask(task, prev, AskedAs::Prev) {
            if !clusters || self.topo.cpus_share_resources(prev, target) {
                return (prev, SelectReason::IdlePrev);
            }
            prev_near = Some(prev);
        }
        let search = self.kernel.placement.idle_search;
        let recent = self.tasks[task].recent_used_cpu;
        if search != IdleSearch::ThreePasses {
            self.tasks[task].recent_used_cpu = prev;
        }
        let mut recent_near = None;
        let asked = match search {
            IdleSearch::OnePassAskingPrev => prev,
            IdleSearch::OnePass | IdleSearch::ThreePasses => recent,
        };
        if recent != prev
            && recent != target
            && self.topo.cpus_share_cache(recent, target)
            && self.ask(task, recent, AskedAs::Recent)
            && self.tasks[task].allowed.contains(asked)
        {
            if !clusters || self.topo.cpus_share_resources(recent, target) {
                self.tasks[task].recent_used_cpu = prev;
                return (recent, SelectReason::IdleRecent);
            }
            recent_near = Some(recent);
        }
        if self.topo.asym_capacity
            && self.kernel.placement.unequal != UnequalSearch::None
            && let Some(domain) = self.topo.cpus[target.index()].sd_asym_cpucapacity
        {
            return match self.select_idle_capacity(task, domain, target) {
                Some(cpu) => (cpu, SelectReason::IdleCapacity),
                None => (target, SelectReason::Target),
            };
        }
        let Some(llc) = self.topo.cpus[target.index()].sd_llc else {
            return (target, SelectReason::Target);
        };
        if search == IdleSearch::ThreePasses {
            let found = self.select_idle_passes(this, task, llc, target);
            return found.unwrap_or((target, SelectReason::Target));
        }
        let mut has_idle_cores = false;
        if self.topo.smt_active {
            has_idle_cores = self.has_idle_cores(target);
            if !has_idle_cores
                && self.topo.cpus_share_cache(prev, target)
                && let Some(cpu) = self.select_idle_smt(task, llc, prev)
            {
                return (cpu, SelectReason::IdleSibling);
            }
        }
        if let Some(found) = self.select_idle_cpu(this, task, llc, has_idle_cores, target) {
            return found;
        }
        match (prev_near, recent_near) {
            (Some(cpu), _) => (cpu, SelectReason::IdlePrev),
            (None, Some(cpu)) => (cpu, SelectReason::IdleRecent),
            (None, None) => (target, SelectReason::Target),
        }
    }

    /// What the CPUs that are searched together know in common: those of the cache, in the newest kernels those of all sizes.
    pub(crate) fn search_shared(&self, cpu: CpuId) -> Option<SharedId> {
        let pointers = &self.topo.cpus[cpu.index()];
        pointers.sd_balance_shared.or(pointers.sd_llc_shared)
    }

    pub(super) fn has_idle_cores(&self, cpu: CpuId) -> bool {
        self.search_shared(cpu).is_some_and(|shared| self.topo.shared[shared.index()].has_idle_cores)
    }

    /// A search has found no idle core.
    pub(super) fn forget_idle_cores(&mut self, cpu: CpuId) {
        if let Some(shared) = self.search_shared(cpu) {
            self.topo.shared[shared.index()].has_idle_cores = false;
        }
    }

    /// Another thread of `prev`'s core.
    fn select_idle_smt(&self, task: TaskId, llc: DomainId, prev: CpuId) -> Option<CpuId> {
        let span = &self.topo.domains[llc.index()].span;
        let allowed = &self.tasks[task].allowed;
        self.topo.smt[prev.index()]
            .iter()
            .find(|&cpu| cpu != prev && allowed.contains(cpu) && span.contains(cpu) && self.usable(task, cpu))
    }

    /// Searches the last-level cache (spec 4 §8.1).
    fn select_idle_cpu(
        &mut self,
        this: CpuId,
        task: TaskId,
        llc: DomainId,
        has_idle_cores: bool,
        target: CpuId,
    ) -> Option<(CpuId, SelectReason)> {
        let mut budget = Budget { left: i64::from(i32::MAX) };
        if self.feat(Features::SIS_UTIL)
            && let Some(shared) = self.search_shared(target)
        {
            let limit = self.topo.shared[shared.index()].nr_idle_scan;
            let step = PlacementStep::Scan { domain: llc, for_core: has_idle_cores, limit };
            self.emit(|_| Event::Placement { task, step });
            budget.left = i64::from(limit) + 1;
            if budget.left == 1 {
                return None;
            }
        }
        let by_idle_time = self.feat(Features::SIS_PROP) && !has_idle_cores;
        if by_idle_time {
            budget.left = self.scan_limit_by_idle_time(this, llc)?;
        }
        let most = budget.left;
        let mut cpus = core::mem::take(&mut self.scratch.select);
        cpus.copy_from(&self.topo.domains[llc.index()].span);
        cpus.and_assign(&self.tasks[task].allowed);
        let found = self.scan_llc(task, llc, has_idle_cores, target, &mut cpus, &mut budget);
        self.scratch.select = cpus;
        if by_idle_time && budget.left > 0 {
            self.account_scan(this, (most - budget.left) as u64);
        }
        found
    }

    fn scan_llc(
        &mut self,
        task: TaskId,
        llc: DomainId,
        has_idle_cores: bool,
        target: CpuId,
        cpus: &mut CpuMask,
        budget: &mut Budget,
    ) -> Option<(CpuId, SelectReason)> {
        let mut idle = None;
        if self.topo.cluster_active && self.kernel.placement.searches_clusters {
            let group = &self.topo.groups[self.topo.domains[llc.index()].groups.index()];
            if group.flags.contains(SdFlags::CLUSTER) && group.span.contains(target) {
                let span = group.span.clone();
                match self.scan(task, Some(&span), has_idle_cores, target, cpus, budget, &mut idle) {
                    Scan::Found(cpu, reason) => return Some((cpu, reason)),
                    Scan::Exhausted => return None,
                    Scan::Nothing => {}
                }
                cpus.and_not_assign(&span);
            }
        }
        match self.scan(task, None, has_idle_cores, target, cpus, budget, &mut idle) {
            Scan::Found(cpu, reason) => return Some((cpu, reason)),
            Scan::Exhausted => return None,
            Scan::Nothing => {}
        }
        if has_idle_cores {
            self.forget_idle_cores(target);
        }
        idle.map(|cpu| (cpu, SelectReason::IdleCpu))
    }

    /// Scans `cpus` (within `span`, if given) in wrap order from the one after the target. The set shrinks while it is
    /// scanned: a core that is not idle is looked at once.
    #[allow(clippy::too_many_arguments, reason = "the state of one search")]
    fn scan(
        &self,
        task: TaskId,
        span: Option<&CpuMask>,
        has_idle_cores: bool,
        target: CpuId,
        cpus: &mut CpuMask,
        budget: &mut Budget,
        idle: &mut Option<CpuId>,
    ) -> Scan {
        let start = CpuId(target.0 + 1);
        let mut next = start;
        let mut wrapped = false;
        loop {
            let found = cpus.next_from(next).filter(|&cpu| !wrapped || cpu < start);
            let Some(cpu) = found else {
                if wrapped {
                    return Scan::Nothing;
                }
                wrapped = true;
                next = CpuId(0);
                continue;
            };
            next = CpuId(cpu.0 + 1);
            if span.is_some_and(|span| !span.contains(cpu)) {
                continue;
            }
            if has_idle_cores {
                if self.select_idle_core(task, cpu, cpus, idle) {
                    return Scan::Found(cpu, SelectReason::IdleCore);
                }
            } else {
                if !budget.take() {
                    return Scan::Exhausted;
                }
                if self.usable(task, cpu) {
                    return Scan::Found(cpu, SelectReason::IdleCpu);
                }
            }
        }
    }

    /// Whether the whole core of `cpu` is idle; else removes it from `cpus` and remembers its first idle thread
    /// (spec 4 §8.2).
    fn select_idle_core(
        &self,
        task: TaskId,
        cpu: CpuId,
        cpus: &mut CpuMask,
        idle: &mut Option<CpuId>,
    ) -> bool {
        let siblings = &self.topo.smt[cpu.index()];
        let mut core_idle = true;
        for thread in siblings.iter() {
            if !self.idle_cpu(thread) {
                core_idle = false;
                if idle.is_none() {
                    let usable = self.takes_idle_policy_cpus(task) && self.sched_idle_cpu(thread);
                    if usable && cpus.contains(thread) {
                        *idle = Some(thread);
                        break;
                    }
                    continue;
                }
                break;
            }
            if idle.is_none() && cpus.contains(thread) {
                *idle = Some(thread);
            }
        }
        if !core_idle {
            cpus.and_not_assign(siblings);
        }
        core_idle
    }
}

enum Scan {
    Found(CpuId, SelectReason),
    Exhausted,
    Nothing,
}
