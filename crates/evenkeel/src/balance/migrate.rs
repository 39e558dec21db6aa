//! Which tasks move, and the moving.
//!
//! The source's tasks are looked at from the one that ran longest ago; each must pass the tests of
//! [`can_migrate_task`] and then fit what is left of the imbalance ([`size_test`]). What is skipped goes to the head
//! of the list. Repeated failures relax both: after `cache_nice_tries` failures cache-hot tasks move too, and every
//! failure halves the size a task counts. Example: 306 units of load are wanted and every task weighs 1052: two passes
//! fail, in the third the task counts 1052 / 4 = 263 and moves.
//!
//! In the kernel: `can_migrate_task()`, `task_hot()`, `migrate_degrades_locality()`, `detach_tasks()`,
//! `attach_tasks()` (spec 3 §7). Core scheduling is not modelled: every cookie matches.
use super::env::{IdleType, LbFlags, MigrationType};
use super::rules::{EqualDistance, TaskRules, TaskSize, Throttled};
use crate::cache_aware::Degrades;

/// Why a task stays where it is (spec 3 §7.2, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// 7.3-1: its group is throttled on either CPU.
    Throttled,
    /// 7.3-a: it only waits to be taken off its queue, and not load is to be moved.
    Delayed,
    /// 7.3-c: it is ahead of others of its queue, and would have to wait behind those of the destination.
    Ineligible,
    /// 7.3-2: a kernel thread that belongs to its CPU.
    PerCpuKthread,
    /// 7.3-3: it is not allowed on the destination.
    Pinned,
    /// 7.3-5: it is running.
    Running,
    /// 7.3-9: moving it would take it away from its memory.
    DegradesLocality,
    /// 13.5: tasks that prefer the destination's cache are wanted, and it is none.
    PrefersOtherCache,
    /// 13.5: it would leave the cache its process gathers in, or fill that cache too much.
    DegradesLlc,
    /// 7.3-9: its data is likely still in the source's cache.
    CacheHot,
    /// 7.2-5: too light to bother (`LB_MIN`).
    TooLight,
    /// 7.2-5: more than what is to be moved.
    TooBig,
    /// 7.2-5: it fits the CPU it is on.
    FitsSource,
}

/// What moving a task would do to its distance from its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Locality {
    /// Nothing, or nothing is known.
    #[default]
    Unaffected,
    /// It gets nearer, or not farther.
    Improves,
    /// It gets farther.
    Degrades,
}

/// What is known of a task's memory, if automatic NUMA balancing is on, the level crosses nodes, the task has fault
/// statistics and the CPUs are on different nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumaFaults {
    /// The source's node is its preferred one.
    pub src_is_preferred: bool,
    /// The destination's node is.
    pub dst_is_preferred: bool,
    /// Tasks on the source.
    pub src_nr_running: u32,
    /// Tasks on the source that prefer to be there.
    pub src_nr_preferred_running: u32,
    /// Weight of its faults (or its group's) on the source's node at the nodes' distance.
    pub src_weight: u64,
    /// The same on the destination's node.
    pub dst_weight: u64,
}

/// Whether moving a task brings it nearer to its memory (`migrate_degrades_locality`; spec 3 §7.3).
pub fn migrate_degrades_locality(rules: &TaskRules, faults: Option<&NumaFaults>, idle: IdleType) -> Locality {
    let Some(faults) = faults else { return Locality::Unaffected };
    if faults.src_is_preferred {
        return if faults.src_nr_running > faults.src_nr_preferred_running {
            Locality::Degrades
        } else {
            Locality::Unaffected
        };
    }
    if faults.dst_is_preferred {
        Locality::Improves
    } else if idle == IdleType::Idle {
        Locality::Unaffected
    } else if faults.dst_weight < faults.src_weight {
        Locality::Degrades
    } else if faults.dst_weight == faults.src_weight && rules.equal_distance == EqualDistance::Unaffected {
        Locality::Unaffected
    } else {
        Locality::Improves
    }
}

/// What decides whether a task's data is still in the cache of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheHeat {
    /// Of the fair class.
    pub fair: bool,
    /// `SCHED_IDLE`.
    pub idle_policy: bool,
    /// The CPUs are threads of one core.
    pub shares_core: bool,
    /// It is a buddy of its queue, buddies count as hot, and the destination is not empty.
    pub buddy: bool,
    /// `migration_cost_ns`.
    pub migration_cost: u32,
    /// Its core-scheduling cookie does not match the destination's core.
    pub cookie_mismatch: bool,
    /// How long ago it ran, ns.
    pub since_exec: i64,
}

/// Whether a task is cache hot (spec 3 §7.4): it ran less than `migration_cost` ago.
pub fn task_hot(rules: &TaskRules, heat: &CacheHeat) -> bool {
    if !heat.fair || heat.idle_policy || heat.shares_core && rules.threads_share_caches {
        return false;
    }
    if heat.buddy || heat.migration_cost == u32::MAX || heat.cookie_mismatch {
        return true;
    }
    heat.migration_cost != 0 && heat.since_exec < i64::from(heat.migration_cost)
}

/// What [`can_migrate_task`] knows of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// It is delayed: asleep, and waiting to be taken off its queue.
    pub delayed: bool,
    /// Its group is throttled on the source.
    pub src_throttled: bool,
    /// Its group is throttled on the destination.
    pub dst_throttled: bool,
    /// Tasks keep their lag, it is ahead of the others of its queue, and its group has tasks on the destination.
    pub ineligible: bool,
    /// A kernel thread that belongs to its CPU.
    pub percpu_kthread: bool,
    /// The destination is in its affinity.
    pub allowed: bool,
    /// It is running.
    pub on_cpu: bool,
    /// What moving it does to its distance from its memory.
    pub locality: Locality,
    /// It prefers the destination's last-level cache.
    pub prefers_dst_llc: bool,
    /// What speaks against moving it for the sake of its process's cache.
    pub degrades_llc: Option<Degrades>,
    /// Its data is likely still in the source's cache.
    pub hot: bool,
}

/// Whether a task may move; `Ok(true)`: although it is hot. `failed` and `tries` are the level's failures in a row
/// and `cache_nice_tries` (spec 3 §7.3).
pub fn can_migrate_task(
    rules: &TaskRules,
    task: &Candidate,
    flags: LbFlags,
    migration_type: MigrationType,
    [failed, tries]: [u32; 2],
) -> Result<bool, Refusal> {
    if !asks_caches(rules, task, flags, migration_type, failed)? {
        return Ok(false);
    }
    if let (Locality::Unaffected, Some(degrades)) = (task.locality, task.degrades_llc) {
        return Err(match degrades {
            Degrades::NotWanted => Refusal::PrefersOtherCache,
            Degrades::Forbidden => Refusal::DegradesLlc,
        });
    }
    let refusal = match task.locality {
        Locality::Degrades => Some(Refusal::DegradesLocality),
        Locality::Unaffected if task.hot => Some(Refusal::CacheHot),
        Locality::Improves | Locality::Unaffected => None,
    };
    match refusal {
        Some(refusal) if failed <= tries => Err(refusal),
        refusal => Ok(refusal.is_some()),
    }
}

/// Steps 1 to 6: whether what is left to ask is where the task's data is; `Ok(false)`: it may move.
pub(super) fn asks_caches(
    rules: &TaskRules,
    task: &Candidate,
    flags: LbFlags,
    migration_type: MigrationType,
    failed: u32,
) -> Result<bool, Refusal> {
    if rules.filters_ineligible && task.delayed && migration_type != MigrationType::Load {
        return Err(Refusal::Delayed);
    }
    let throttled = match rules.throttled {
        Throttled::Either => task.src_throttled || task.dst_throttled,
        Throttled::Destination => task.dst_throttled,
    };
    if throttled {
        return Err(Refusal::Throttled);
    }
    if rules.filters_ineligible && task.ineligible && failed == 0 {
        return Err(Refusal::Ineligible);
    }
    if rules.knows_percpu_kthreads && task.percpu_kthread {
        return Err(Refusal::PerCpuKthread);
    }
    if !task.allowed {
        return Err(Refusal::Pinned);
    }
    if task.on_cpu {
        return Err(Refusal::Running);
    }
    let unwanted = flags.contains(LbFlags::ACTIVE_LB_LLC) && !task.prefers_dst_llc;
    Ok(!(rules.stopper_takes_hot && flags.contains(LbFlags::ACTIVE_LB)) || unwanted)
}

/// The rest of the imbalance after a task was taken, or why it is not (spec 3 §7.2-5).
///
/// `amount` is the task's load (hierarchical, at least 1) or estimated utilisation, whichever the type asks for;
/// `fits_source` matters for misfit only; `lb_min` is the feature of that name.
pub fn size_test(
    size: TaskSize,
    migration_type: MigrationType,
    amount: u64,
    fits_source: bool,
    lb_min: bool,
    failed: u32,
    imbalance: i64,
) -> Result<i64, Refusal> {
    debug_assert!(imbalance > 0, "tasks are only looked at while something is left to move");
    let shrunk = amount >> failed.min(63);
    let counted = match (size, migration_type) {
        (TaskSize::HalfLoad, _) => amount / 2,
        (TaskSize::LoadShrinks, MigrationType::Util) => amount,
        (TaskSize::LoadShrinks | TaskSize::BothShrink, _) => shrunk,
    };
    let too_big = || counted > imbalance as u64;
    match migration_type {
        MigrationType::Load if lb_min && amount < 16 && failed == 0 => Err(Refusal::TooLight),
        MigrationType::Load | MigrationType::Util if too_big() => Err(Refusal::TooBig),
        MigrationType::Load | MigrationType::Util => Ok(imbalance - amount as i64),
        MigrationType::Task | MigrationType::LlcTask => Ok(imbalance - 1),
        MigrationType::Misfit if fits_source => Err(Refusal::FitsSource),
        MigrationType::Misfit => Ok(0),
    }
}
