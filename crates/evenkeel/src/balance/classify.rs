//! How busy a group is: one of eight classes, the higher the busier.
//!
//! With `imbalance_pct` 117, two CPUs (capacity 2048) that run one full task each are *fully busy*: they have as many
//! tasks as CPUs, and 2048 * 100 is not more than 2048 * 117. A third task makes them *overloaded*. At utilisation
//! 1700 they still *have spare* capacity: 204,800 > 198,900.
//!
//! In the kernel: `group_classify()`, `group_is_overloaded()`, `group_has_capacity()` (spec 3 §4.4).
use super::stats::SgStats;

/// The class of a group (`enum group_type`), in ascending order of who must give work away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupType {
    /// Neither of the two classes that the oldest balancer knows, which are the last two.
    Other,
    /// More work would fit.
    #[default]
    HasSpare,
    /// All CPUs are used, and no task waits long.
    FullyBusy,
    /// A task is on a CPU too small for it (or too much used by others).
    MisfitTask,
    /// Several tasks share a core.
    SmtBalance,
    /// A preferred CPU is idle.
    AsymPacking,
    /// Affinities kept an inner level from being balanced.
    Imbalanced,
    /// It has tasks that prefer the destination's cache, where there is room for one.
    LlcBalance,
    /// More work than CPU.
    Overloaded,
}

impl GroupType {
    /// The kernel's name without the prefix `group_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::HasSpare => "has_spare",
            Self::FullyBusy => "fully_busy",
            Self::MisfitTask => "misfit_task",
            Self::SmtBalance => "smt_balance",
            Self::AsymPacking => "asym_packing",
            Self::Imbalanced => "imbalanced",
            Self::LlcBalance => "llc_balance",
            Self::Overloaded => "overloaded",
        }
    }
}

/// More tasks than CPUs, and more utilisation or waiting than the capacity can take.
pub fn group_is_overloaded(imbalance_pct: u32, stats: &SgStats) -> bool {
    let pct = u64::from(imbalance_pct);
    stats.sum_nr_running > stats.group_weight
        && (stats.group_capacity * 100 < stats.group_util * pct
            || stats.group_capacity * pct < stats.group_runnable * 100)
}

/// Fewer tasks than CPUs, or tasks that leave capacity unused.
pub fn group_has_capacity(imbalance_pct: u32, stats: &SgStats) -> bool {
    let pct = u64::from(imbalance_pct);
    if stats.sum_nr_running < stats.group_weight {
        return true;
    }
    if stats.group_capacity * pct < stats.group_runnable * 100 {
        return false;
    }
    stats.group_capacity * 100 > stats.group_util * pct
}

/// The class of a group; `imbalance` says that affinities kept its inner level from being balanced, `may_overload`
/// that nothing speaks against calling it overloaded.
pub fn group_classify(imbalance_pct: u32, imbalance: bool, may_overload: bool, stats: &SgStats) -> GroupType {
    if may_overload && group_is_overloaded(imbalance_pct, stats) {
        GroupType::Overloaded
    } else if stats.group_llc_balance {
        GroupType::LlcBalance
    } else if imbalance {
        GroupType::Imbalanced
    } else if stats.group_asym_packing {
        GroupType::AsymPacking
    } else if stats.group_smt_balance {
        GroupType::SmtBalance
    } else if stats.group_misfit_task_load != 0 {
        GroupType::MisfitTask
    } else if group_has_capacity(imbalance_pct, stats) {
        GroupType::HasSpare
    } else {
        GroupType::FullyBusy
    }
}
