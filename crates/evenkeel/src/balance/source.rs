//! From which CPU of the source group to take.
//!
//! The CPU with the highest load per capacity, utilisation or number of tasks (of all, or of those that prefer the
//! destination's cache), depending on what is to be moved; the lowest number wins a tie. Example: queues of 3, 1 and 3 tasks at migration type *task*: the first queue of 3.
//!
//! In the kernel: `sched_balance_find_src_rq()` (spec 3 §6).
use super::env::{FbqType, MigrationType};
use super::rules::PreferredSource;
use super::stats::Search;
use super::view::{CpuView, capacity_greater};
use crate::ids::{CpuId, GroupId};
use crate::topology::SdFlags;

/// What the search made of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueVerdict {
    /// The best so far.
    Best,
    /// 1: its tasks are where they prefer to be.
    NumaClass,
    /// 2: no fair task.
    Empty,
    /// 3: a single task on a CPU that is not smaller than the destination.
    NotSmaller,
    /// 4: a single task on a CPU that is preferred to the destination.
    Preferred,
    /// 5, load: a single task that is more than the imbalance.
    SingleTaskTooBig,
    /// 5, util: a single task.
    SingleTask,
    /// 5: an earlier CPU has at least as much.
    NotMore,
}

/// The search through the CPUs of the source group.
#[derive(Clone, Copy, Debug)]
pub struct SrcRq {
    imbalance: i64,
    migration_type: MigrationType,
    fbq_type: FbqType,
    best: Option<CpuId>,
    amount: u64,
    capacity: u64,
}

impl SrcRq {
    /// A search for a queue from which `imbalance` of `migration_type` can be taken.
    pub fn new(imbalance: i64, migration_type: MigrationType, fbq_type: FbqType) -> Self {
        Self { imbalance, migration_type, fbq_type, best: None, amount: 0, capacity: 1 }
    }

    /// The best CPU so far.
    pub fn best(&self) -> Option<CpuId> {
        self.best
    }

    /// Looks at one CPU; CPUs must come in ascending order.
    pub fn consider<V: CpuView + ?Sized>(&mut self, search: &Search<'_, V>, cpu: CpuId) -> QueueVerdict {
        let view = search.view;
        let class = FbqType::classify(
            view.nr_running(cpu),
            view.nr_numa_running(cpu),
            view.nr_preferred_running(cpu),
        );
        if class > self.fbq_type {
            return QueueVerdict::NumaClass;
        }
        if search.is_classic() {
            return self.consider_load(search, cpu);
        }
        let nr = search.fair_tasks(cpu);
        if nr == 0 {
            return QueueVerdict::Empty;
        }
        let capacity = view.capacity_of(cpu);
        if search.domain().flags.contains(SdFlags::ASYM_CPUCAPACITY)
            && nr == 1
            && !capacity_greater(view.capacity_of(search.dst_cpu), capacity)
        {
            return QueueVerdict::NotSmaller;
        }
        let preferred = || match search.rules.choice.preferred_source {
            PreferredSource::Taken => false,
            PreferredSource::Left => {
                search.domain().flags.contains(SdFlags::ASYM_PACKING)
                    && search.sched_asym_prefer(cpu, search.dst_cpu)
            }
            PreferredSource::LeftToIdleCore => search.sched_asym(cpu, search.dst_cpu),
        };
        if nr == 1 && preferred() {
            return QueueVerdict::Preferred;
        }
        let (amount, more) = match self.migration_type {
            MigrationType::Load => {
                let load = view.cpu_load(cpu);
                if nr == 1 && load > self.imbalance as u64 && !search.check_cpu_capacity(cpu) {
                    return QueueVerdict::SingleTaskTooBig;
                }
                (load, load * self.capacity > self.amount * capacity)
            }
            MigrationType::Util if nr <= 1 => return QueueVerdict::SingleTask,
            MigrationType::Util => {
                let util = match search.rules.choice.boosts_utilisation {
                    true => view.cpu_util_cfs_boost(cpu),
                    false => view.cpu_util_cfs(cpu),
                };
                (util, util > self.amount)
            }
            MigrationType::Task => (u64::from(nr), u64::from(nr) > self.amount),
            MigrationType::Misfit => {
                let load = view.misfit_task_load(cpu);
                (load, load > self.amount)
            }
            MigrationType::LlcTask => {
                let wanted = u64::from(search.nr_pref_dst_llc(cpu));
                (wanted, wanted > self.amount)
            }
        };
        self.keep(cpu, amount, capacity, more)
    }

    /// Compares queues by load per capacity only (spec 3 §9.6).
    fn consider_load<V: CpuView + ?Sized>(&mut self, search: &Search<'_, V>, cpu: CpuId) -> QueueVerdict {
        let (load, capacity) = (search.view.cpu_load(cpu), search.view.capacity_of(cpu));
        let single = search.view.nr_running(cpu) == 1;
        if single && load > self.imbalance as u64 && !search.check_cpu_capacity(cpu) {
            return QueueVerdict::SingleTaskTooBig;
        }
        self.keep(cpu, load, capacity, load * self.capacity > self.amount * capacity)
    }

    fn keep(&mut self, cpu: CpuId, amount: u64, capacity: u64, more: bool) -> QueueVerdict {
        if !more {
            return QueueVerdict::NotMore;
        }
        (self.best, self.amount, self.capacity) = (Some(cpu), amount, capacity);
        QueueVerdict::Best
    }
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// The CPU of `group` from which to take (spec 3 §6).
    #[doc(alias = "find_busiest_queue")]
    pub fn find_src_rq(&self, group: GroupId, mut choice: SrcRq) -> Option<CpuId> {
        for cpu in self.group(group).span.iter().filter(|&cpu| self.cpus.contains(cpu)) {
            choice.consider(self, cpu);
        }
        choice.best()
    }
}
