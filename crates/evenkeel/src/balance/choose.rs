//! From which group to take work, if from any.
//!
//! First the busiest of the other groups is kept while walking the ring ([`Search::update_sd_pick_busiest`]); then it
//! is compared with the local group ([`Search::find_src_group`]). Every answer carries the rule that gave it; the
//! numbers in the names are those of spec 3 §5.1 and §5.3. Example: an idle CPU of an idle group meets a group with
//! four tasks on four cores: rule 8 ("tasks are spread over siblings") forces a move of 4 / 2 = 2 tasks.
//!
//! In the kernel: `update_sd_pick_busiest()`, `sched_balance_find_src_group()`, `sibling_imbalance()`.
use super::classify::GroupType;
use super::env::MigrationType;
use super::imbalance::Imbalance;
use super::rules::{BiggerCpus, EnergyAware, MisfitCandidates, SameClass, SiblingImbalance};
use super::stats::{SdStats, Search, SgStats};
use super::view::{CpuView, capacity_greater};
use crate::ids::GroupId;
use crate::topology::SdFlags;

/// The rule by which a group became the busiest so far, or did not (spec 3 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PickRule {
    /// 1: it has no fair task.
    NoFairTask,
    /// 2: its task is too big for its CPU, but the destination is no better place or has no room.
    MisfitNotForUs,
    /// 3: it is not too busy and its CPUs are bigger than the destination.
    BiggerCpus,
    /// 4: its class is higher, or lower.
    Type,
    /// 5: both overloaded: load per capacity.
    AvgLoad,
    /// 5: both imbalanced: the first is kept.
    FirstImbalanced,
    /// 5: both have tasks that prefer the destination's cache: the one with more of them.
    PreferOurCache,
    /// 5: both asym packing: the group of lower priority is the source.
    AsymPriority,
    /// 5: both misfit: the bigger task.
    MisfitLoad,
    /// 5: both fully busy (or cores without idle threads): the last one, except that a core stays.
    Busy,
    /// 5: both have spare capacity, and one is a core of several threads: more than one task on it comes first.
    SmtOrNot,
    /// 5: both have spare capacity: fewer idle CPUs, then more tasks.
    Spare,
}

/// Whether a group became the busiest so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pick {
    /// It is the destination's own group.
    Local,
    /// Yes.
    Taken(PickRule),
    /// No.
    Refused(PickRule),
}

/// The rule by which the search ended (spec 3 §5.3); all but the forcing ones mean "balanced".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupRule {
    /// 1: no group has fair tasks that could be taken.
    NoBusiest,
    /// 2: forces: a task is too big for its CPU.
    Misfit,
    /// 3: energy-aware placement is in charge.
    EnergyAware,
    /// 4: forces: a preferred CPU is idle.
    AsymPacking,
    /// 5: forces: affinities left an imbalance below.
    Imbalanced,
    /// 6: the local group is of a higher class.
    LocalBusierType,
    /// 7: both are overloaded and the local group has at least as much load.
    LocalMoreLoaded,
    /// 7: both are overloaded and the local group is at least as loaded as the domain.
    LocalAboveAverage,
    /// 7: both are overloaded and the difference is within `imbalance_pct`.
    WithinTolerance,
    /// 7: forces: both are overloaded and the difference is more.
    BeyondTolerance,
    /// 8: forces: tasks there prefer the destination's cache, whose group has spare capacity.
    PreferOurCache,
    /// 8: forces: tasks are spread over siblings.
    PreferSibling,
    /// 9a: the destination is busy and the busiest group is not overloaded.
    DestinationBusy,
    /// 9b: forces: one group is a core of several threads and the other is not.
    SmtBalance,
    /// 9c: the local group has no more idle CPUs to speak of.
    NoMoreIdleCpus,
    /// 9d: the busiest group has a single task.
    SingleTask,
    /// 9.4-4: forces: the idle destination's group has capacity, the busiest has none left.
    SpareCapacity,
    /// 10: forces: nothing spoke against it.
    Default,
}

/// The outcome of a search for a source group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SrcGroup {
    /// The group to take from; none: balanced.
    pub group: Option<GroupId>,
    /// The rule that decided.
    pub rule: GroupRule,
    /// What to move, if the rule forced the computation; its amount may be 0, then the domain is balanced all the same.
    pub imbalance: Option<Imbalance>,
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// Whether `stats` of `id` are busier than those of the busiest group so far (spec 3 §5.1).
    pub fn update_sd_pick_busiest(&self, sds: &SdStats, id: GroupId, stats: &SgStats) -> Pick {
        let (group, busiest, rules) = (self.group(id), &sds.busiest_stat, &self.rules.choice);
        let sgc = &self.topo.capacities[group.sgc.index()];
        let dst_capacity = self.view.capacity_of(self.dst_cpu);
        let asym_level = self.domain().flags.contains(SdFlags::ASYM_CPUCAPACITY);
        if stats.sum_h_nr_running == 0 {
            return Pick::Refused(PickRule::NoFairTask);
        }
        if stats.group_type == GroupType::MisfitTask {
            let helps = capacity_greater(dst_capacity, sgc.max_capacity)
                && sds.local_stat.group_type == GroupType::HasSpare;
            let refused = match rules.misfit {
                MisfitCandidates::SmallerCpus => !helps,
                MisfitCandidates::SmallerCpusOfUnequal => asym_level && !helps,
                MisfitCandidates::SmallerCpusForIdleCore => asym_level && !(helps && sds.dst_core_idle),
            };
            if refused {
                return Pick::Refused(PickRule::MisfitNotForUs);
            }
        }
        let bigger = asym_level
            && stats.group_type <= GroupType::FullyBusy
            && capacity_greater(sgc.min_capacity, dst_capacity);
        if bigger && rules.bigger_cpus == BiggerCpus::First {
            return Pick::Refused(PickRule::BiggerCpus);
        }
        let (taken, rule) = if stats.group_type == busiest.group_type {
            match rules.same_class {
                SameClass::LoadThenIdle => self.same_type_without_cores(sds, id, stats),
                SameClass::KnowsCores => self.same_type(sds, id, stats),
            }
        } else {
            (stats.group_type > busiest.group_type, PickRule::Type)
        };
        if taken && bigger && matches!(rule, PickRule::Busy | PickRule::Spare) {
            return Pick::Refused(PickRule::BiggerCpus);
        }
        if taken { Pick::Taken(rule) } else { Pick::Refused(rule) }
    }

    /// Rule 5 of kernels that take cores for groups like others.
    fn same_type_without_cores(&self, sds: &SdStats, id: GroupId, stats: &SgStats) -> (bool, PickRule) {
        let busiest = &sds.busiest_stat;
        match stats.group_type {
            GroupType::Overloaded => (stats.avg_load > busiest.avg_load, PickRule::AvgLoad),
            GroupType::Imbalanced => (false, PickRule::FirstImbalanced),
            GroupType::LlcBalance => self.more_prefer_our_cache(sds, stats),
            GroupType::AsymPacking => {
                let priority = |group: GroupId| self.view.asym_priority(self.group(group).asym_prefer_cpu);
                let lower = sds.busiest.is_none_or(|busiest| priority(id) <= priority(busiest));
                (lower, PickRule::AsymPriority)
            }
            GroupType::MisfitTask => {
                (stats.group_misfit_task_load >= busiest.group_misfit_task_load, PickRule::MisfitLoad)
            }
            GroupType::FullyBusy => (stats.avg_load > busiest.avg_load, PickRule::Busy),
            GroupType::SmtBalance | GroupType::HasSpare | GroupType::Other => {
                let taken = stats.idle_cpus < busiest.idle_cpus
                    || stats.idle_cpus == busiest.idle_cpus && stats.sum_nr_running > busiest.sum_nr_running;
                (taken, PickRule::Spare)
            }
        }
    }

    /// Rule 5: the candidate is of the same class as the busiest so far.
    fn same_type(&self, sds: &SdStats, id: GroupId, stats: &SgStats) -> (bool, PickRule) {
        let busiest = &sds.busiest_stat;
        let smt = |group: GroupId| self.group(group).flags.contains(SdFlags::SHARE_CPUCAPACITY);
        let busy = (
            stats.avg_load > busiest.avg_load
                || stats.avg_load == busiest.avg_load && !sds.busiest.is_some_and(smt),
            PickRule::Busy,
        );
        let spare = (
            stats.idle_cpus < busiest.idle_cpus
                || stats.idle_cpus == busiest.idle_cpus && stats.sum_nr_running > busiest.sum_nr_running,
            PickRule::Spare,
        );
        match stats.group_type {
            GroupType::Overloaded => (stats.avg_load > busiest.avg_load, PickRule::AvgLoad),
            GroupType::Imbalanced => (false, PickRule::FirstImbalanced),
            GroupType::LlcBalance => self.more_prefer_our_cache(sds, stats),
            GroupType::AsymPacking => {
                let priority = |group: GroupId| self.view.asym_priority(self.group(group).asym_prefer_cpu);
                let lower = sds.busiest.is_none_or(|busiest| priority(busiest) > priority(id));
                (lower, PickRule::AsymPriority)
            }
            GroupType::SmtBalance if stats.idle_cpus != 0 || busiest.idle_cpus != 0 => spare,
            GroupType::SmtBalance | GroupType::FullyBusy => busy,
            GroupType::MisfitTask => {
                (stats.group_misfit_task_load > busiest.group_misfit_task_load, PickRule::MisfitLoad)
            }
            GroupType::HasSpare => match sds.busiest {
                Some(busiest) if smt(busiest) != smt(id) => {
                    (!(smt(id) && stats.sum_h_nr_running <= 1), PickRule::SmtOrNot)
                }
                _ => spare,
            },
            GroupType::Other => spare,
        }
    }

    /// Rule 5 between groups with tasks that prefer the destination's cache.
    fn more_prefer_our_cache(&self, sds: &SdStats, stats: &SgStats) -> (bool, PickRule) {
        (stats.nr_pref_dst_llc > sds.busiest_stat.nr_pref_dst_llc, PickRule::PreferOurCache)
    }

    /// How many more tasks the busiest group has than its share by cores; 0 for a busy destination (spec 3 §5.2).
    pub fn sibling_imbalance(&self, sds: &SdStats) -> i64 {
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        let (Some(local_group), Some(busiest_group)) = (sds.local, sds.busiest) else { return 0 };
        if self.rules.choice.sibling_imbalance == SiblingImbalance::Tasks {
            return i64::from(busiest.sum_nr_running.saturating_sub(local.sum_nr_running));
        }
        if !self.idle.is_idle() || busiest.sum_nr_running == 0 {
            return 0;
        }
        sibling_imbalance(
            [self.group(local_group).cores, local.sum_nr_running],
            [self.group(busiest_group).cores, busiest.sum_nr_running],
        )
    }

    /// Compares the busiest group with the local one (spec 3 §5.3); fills the averages it needs in `sds`.
    #[doc(alias = "find_busiest_group")]
    pub fn find_src_group(&self, sds: &mut SdStats) -> SrcGroup {
        let classic = self.is_classic();
        let (rule, forced) = if classic { self.compare_classic(sds) } else { self.compare(sds) };
        if !forced {
            return SrcGroup { group: None, rule, imbalance: None };
        }
        let imbalance =
            if classic { self.classic_imbalance(sds, rule) } else { self.calculate_imbalance(sds) };
        // Asym packing of the oldest balancer names its group although there is no load to move (spec 3 §9.4-1).
        let named = classic && rule == GroupRule::AsymPacking;
        let group = sds.busiest.filter(|_| imbalance.amount != 0 || named);
        SrcGroup { group, rule, imbalance: Some(imbalance) }
    }

    /// The rule that decides, and whether it forces a move.
    fn compare(&self, sds: &mut SdStats) -> (GroupRule, bool) {
        let energy_decides = self.energy_aware == EnergyAware::InCharge;
        if energy_decides && self.rules.choice.energy_first {
            return (GroupRule::EnergyAware, false);
        }
        let Some(busiest_group) = sds.busiest else { return (GroupRule::NoBusiest, false) };
        let local_smt = sds.local.is_some_and(|group| self.is_smt(group));
        let busiest_smt = self.is_smt(busiest_group);
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        if busiest.group_type == GroupType::MisfitTask {
            return (GroupRule::Misfit, true);
        }
        if energy_decides {
            return (GroupRule::EnergyAware, false);
        }
        match busiest.group_type {
            GroupType::AsymPacking => return (GroupRule::AsymPacking, true),
            GroupType::Imbalanced => return (GroupRule::Imbalanced, true),
            _ => {}
        }
        if local.group_type > busiest.group_type {
            return (GroupRule::LocalBusierType, false);
        }
        if local.group_type == GroupType::Overloaded {
            return self.compare_loads(sds);
        }
        if sds.prefer_sibling && local.group_type == GroupType::HasSpare {
            if busiest.group_type == GroupType::LlcBalance {
                return (GroupRule::PreferOurCache, true);
            }
            if self.sibling_imbalance(sds) > 1 {
                return (GroupRule::PreferSibling, true);
            }
        }
        if busiest.group_type != GroupType::Overloaded {
            if !self.idle.is_idle() {
                return (GroupRule::DestinationBusy, false);
            }
            if busiest.group_type == GroupType::SmtBalance && local_smt != busiest_smt {
                return (GroupRule::SmtBalance, true);
            }
            if busiest.group_weight > 1 && local.idle_cpus <= busiest.idle_cpus.wrapping_add(1) {
                return (GroupRule::NoMoreIdleCpus, false);
            }
            if busiest.sum_h_nr_running == 1 {
                return (GroupRule::SingleTask, false);
            }
        }
        (GroupRule::Default, true)
    }

    /// Rule 7: both groups are overloaded.
    fn compare_loads(&self, sds: &mut SdStats) -> (GroupRule, bool) {
        let (local, busiest) = (sds.local_stat.avg_load, sds.busiest_stat.avg_load);
        if local >= busiest {
            return (GroupRule::LocalMoreLoaded, false);
        }
        sds.avg_load = sds.total_load * 1024 / sds.total_capacity;
        if local >= sds.avg_load {
            return (GroupRule::LocalAboveAverage, false);
        }
        if 100 * busiest <= u64::from(self.domain().imbalance_pct) * local {
            return (GroupRule::WithinTolerance, false);
        }
        (GroupRule::BeyondTolerance, true)
    }

    fn is_smt(&self, group: GroupId) -> bool {
        self.group(group).flags.contains(SdFlags::SHARE_CPUCAPACITY)
    }
}

/// How many tasks the busiest group has more than its cores' share, from `[cores, tasks]` of both (spec 3 §5.2):
/// four cores without a task against two cores with three give (12 * 2 + 6) / 6 = 5, half of which may move.
pub fn sibling_imbalance(local: [u32; 2], busiest: [u32; 2]) -> i64 {
    let [local_cores, local_tasks] = local.map(i64::from);
    let [busiest_cores, busiest_tasks] = busiest.map(i64::from);
    if local_cores == busiest_cores {
        return (busiest_tasks - local_tasks).max(0);
    }
    let cores = local_cores + busiest_cores;
    let surplus = (local_cores * busiest_tasks - busiest_cores * local_tasks).max(0);
    let tasks = (2 * surplus + cores) / cores;
    if tasks <= 1 && local_tasks == 0 && busiest_tasks > 1 { 2 } else { tasks }
}

/// The difference that is tolerated between memory nodes, tasks.
pub(super) const NUMA_IMBALANCE_MIN: i64 = 2;

/// Between memory nodes a difference of two tasks is tolerated while the destination has few (spec 3 §5.4 F).
pub fn adjust_numa_imbalance(imbalance: i64, dst_running: u32, imb_numa_nr: u32) -> i64 {
    if dst_running <= imb_numa_nr && imbalance <= NUMA_IMBALANCE_MIN { 0 } else { imbalance }
}

impl MigrationType {
    /// The kernel's name without the prefix `migrate_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Util => "util",
            Self::Task => "task",
            Self::Misfit => "misfit",
            Self::LlcTask => "llc_task",
        }
    }
}
