//! How much to move, and in what unit.
//!
//! Depends on what the local group lacks: with spare capacity it takes utilisation (from an overloaded group of
//! another cache) or tasks (half the difference); without, it takes load, so that neither it nor the busiest group
//! crosses the average of the domain. Example: local average 1536, busiest 3072, domain 2218, capacity 4096 each:
//! min(854, 682) * 4096 / 1024 = 2728 units of load.
//!
//! In the kernel: `calculate_imbalance()` (spec 3 §5.4). Two quirks of C's types are kept: the difference of idle
//! CPUs is computed in 32 bits without sign, and a busiest group below the domain's average wraps.
use super::choose::{NUMA_IMBALANCE_MIN, adjust_numa_imbalance};
use super::classify::GroupType;
use super::env::MigrationType;
use super::rules::{MisfitAmount, NumaTolerance};
use super::stats::{SdStats, Search};
use super::view::CpuView;
use crate::topology::SdFlags;

/// What is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Imbalance {
    /// In what unit; none: the rule that found 0 left the unit as it was.
    pub migration_type: Option<MigrationType>,
    /// How much.
    pub amount: i64,
    /// By which rule.
    pub rule: ImbalanceRule,
}

/// The rule by which an imbalance was computed; the letters are those of spec 3 §5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImbalanceRule {
    /// A: one task that is too big for its CPU.
    MisfitTask,
    /// A: the load of a task on a CPU that others use.
    MisfitLoad,
    /// B: all tasks of CPUs that are less preferred.
    AsymPacking,
    /// C: one task of a core.
    SmtBalance,
    /// C': one task that prefers the destination's cache.
    LlcBalance,
    /// D: one task, because affinities left an imbalance below.
    Imbalanced,
    /// E0: as much utilisation as fits here.
    SpareUtilisation,
    /// E0: one task, because none fits.
    NoSpareUtilisation,
    /// E: half of what siblings have more.
    Siblings,
    /// E: half of the difference of idle CPUs.
    IdleCpus,
    /// F: nothing, a difference of two is tolerated between nodes.
    NodeTolerance,
    /// G1: nothing, the local group has as much load per capacity.
    LocalMoreLoaded,
    /// G2: nothing, it has as much as the domain.
    LocalAboveAverage,
    /// H: as much load as keeps both groups on their side of the average.
    EvenOut,
    /// 9.4-1: all the load of CPUs that are less preferred.
    ClassicAsymPacking,
    /// 9.5-4: as much load as keeps both groups on their side of the average.
    ClassicEvenOut,
    /// 9.5: that is less than a task; a whole one leaves the groups more alike.
    ClassicWholeTask,
    /// 9.5: a whole one lets more work be done.
    ClassicThroughput,
    /// 9.5: a whole one would do neither.
    ClassicSmall,
}

impl Imbalance {
    pub(super) const fn new(rule: ImbalanceRule, migration_type: MigrationType, amount: i64) -> Self {
        Self { migration_type: Some(migration_type), amount, rule }
    }
    const fn none(rule: ImbalanceRule) -> Self {
        Self { migration_type: None, amount: 0, rule }
    }
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// What to move from the busiest to the local group (spec 3 §5.4).
    pub fn calculate_imbalance(&self, sds: &mut SdStats) -> Imbalance {
        use MigrationType::{LlcTask, Load, Misfit, Task};
        let busiest = &sds.busiest_stat;
        let flags = self.domain().flags;
        match busiest.group_type {
            GroupType::MisfitTask => match self.rules.choice.misfit_amount {
                MisfitAmount::OneTaskOrLoad if !flags.contains(SdFlags::ASYM_CPUCAPACITY) => {
                    Imbalance::new(ImbalanceRule::MisfitLoad, Load, busiest.group_misfit_task_load as i64)
                }
                MisfitAmount::OneTask | MisfitAmount::OneTaskOrLoad => {
                    Imbalance::new(ImbalanceRule::MisfitTask, Misfit, 1)
                }
            },
            GroupType::LlcBalance => Imbalance::new(ImbalanceRule::LlcBalance, LlcTask, 1),
            GroupType::AsymPacking => {
                Imbalance::new(ImbalanceRule::AsymPacking, Task, i64::from(busiest.sum_h_nr_running))
            }
            GroupType::SmtBalance => Imbalance::new(ImbalanceRule::SmtBalance, Task, 1),
            GroupType::Imbalanced => Imbalance::new(ImbalanceRule::Imbalanced, Task, 1),
            _ if sds.local_stat.group_type == GroupType::HasSpare => self.fill_spare_capacity(sds),
            _ => even_out_load(sds, self.rules.choice.stops_at_average),
        }
    }

    /// The local group has spare capacity: E0, E and F.
    fn fill_spare_capacity(&self, sds: &SdStats) -> Imbalance {
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        let domain = self.domain();
        if busiest.group_type > GroupType::FullyBusy && !domain.flags.contains(SdFlags::SHARE_LLC) {
            let spare = local.group_capacity.saturating_sub(local.group_util);
            if self.idle.is_idle() && spare == 0 {
                return Imbalance::new(ImbalanceRule::NoSpareUtilisation, MigrationType::Task, 1);
            }
            return Imbalance::new(ImbalanceRule::SpareUtilisation, MigrationType::Util, spare as i64);
        }
        let (rule, tasks) = if busiest.group_weight == 1 || sds.prefer_sibling {
            (ImbalanceRule::Siblings, self.sibling_imbalance(sds))
        } else {
            (ImbalanceRule::IdleCpus, i64::from(local.idle_cpus.wrapping_sub(busiest.idle_cpus)))
        };
        let tolerates = domain.flags.contains(SdFlags::NUMA);
        let half = match self.rules.choice.numa_tolerance {
            NumaTolerance::QuarterOfBusiest => {
                let few = (busiest.sum_nr_running as i32) < (busiest.group_weight >> 2) as i32;
                if tolerates && few && tasks >> 1 <= NUMA_IMBALANCE_MIN { 0 } else { tasks >> 1 }
            }
            NumaTolerance::ImbNumaNr if tolerates => {
                adjust_numa_imbalance(tasks, local.sum_nr_running + 1, domain.imb_numa_nr) >> 1
            }
            NumaTolerance::ImbNumaNr => tasks >> 1,
        };
        let tolerated = half == 0 && tasks >> 1 != 0;
        Imbalance::new(if tolerated { ImbalanceRule::NodeTolerance } else { rule }, MigrationType::Task, half)
    }
}

/// Neither group has spare capacity: G and H. Fills the averages of the local group and of the domain.
///
/// Kernels that do not stop at the average let what the local group lacks wrap: then what the busiest can give decides.
fn even_out_load(sds: &mut SdStats, stops_at_average: bool) -> Imbalance {
    if sds.local_stat.group_type < GroupType::Overloaded {
        let local = &mut sds.local_stat;
        local.avg_load = local.group_load * 1024 / local.group_capacity;
        if local.avg_load >= sds.busiest_stat.avg_load {
            return Imbalance::none(ImbalanceRule::LocalMoreLoaded);
        }
        sds.avg_load = sds.total_load * 1024 / sds.total_capacity;
        if stops_at_average && local.avg_load >= sds.avg_load {
            return Imbalance::none(ImbalanceRule::LocalAboveAverage);
        }
    }
    let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
    let give = busiest.avg_load.wrapping_sub(sds.avg_load).wrapping_mul(busiest.group_capacity);
    let take = sds.avg_load.wrapping_sub(local.avg_load).wrapping_mul(local.group_capacity);
    Imbalance::new(ImbalanceRule::EvenOut, MigrationType::Load, (give.min(take) / 1024) as i64)
}
