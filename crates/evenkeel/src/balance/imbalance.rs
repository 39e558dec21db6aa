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
}

impl Imbalance {
    const fn new(migration_type: MigrationType, amount: i64) -> Self {
        Self { migration_type: Some(migration_type), amount }
    }
    const NONE: Self = Self { migration_type: None, amount: 0 };
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// What to move from the busiest to the local group (spec 3 §5.4).
    pub fn calculate_imbalance(&self, sds: &mut SdStats) -> Imbalance {
        use MigrationType::{Load, Misfit, Task};
        let busiest = &sds.busiest_stat;
        let flags = self.domain().flags;
        match busiest.group_type {
            GroupType::MisfitTask => match self.rules.choice.misfit_amount {
                MisfitAmount::OneTaskOrLoad if !flags.contains(SdFlags::ASYM_CPUCAPACITY) => {
                    Imbalance::new(Load, busiest.group_misfit_task_load as i64)
                }
                MisfitAmount::OneTask | MisfitAmount::OneTaskOrLoad => Imbalance::new(Misfit, 1),
            },
            GroupType::AsymPacking => Imbalance::new(Task, i64::from(busiest.sum_h_nr_running)),
            GroupType::SmtBalance | GroupType::Imbalanced => Imbalance::new(Task, 1),
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
                return Imbalance::new(MigrationType::Task, 1);
            }
            return Imbalance::new(MigrationType::Util, spare as i64);
        }
        let tasks = if busiest.group_weight == 1 || sds.prefer_sibling {
            self.sibling_imbalance(sds)
        } else {
            i64::from(local.idle_cpus.wrapping_sub(busiest.idle_cpus))
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
        Imbalance::new(MigrationType::Task, half)
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
            return Imbalance::NONE;
        }
        sds.avg_load = sds.total_load * 1024 / sds.total_capacity;
        if stops_at_average && local.avg_load >= sds.avg_load {
            return Imbalance::NONE;
        }
    }
    let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
    let give = busiest.avg_load.wrapping_sub(sds.avg_load).wrapping_mul(busiest.group_capacity);
    let take = sds.avg_load.wrapping_sub(local.avg_load).wrapping_mul(local.group_capacity);
    Imbalance::new(MigrationType::Load, (give.min(take) / 1024) as i64)
}
