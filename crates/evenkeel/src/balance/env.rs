//! The vocabulary of a pass: why it is made, what it moves, and the state it carries (`struct lb_env`; spec 3 §3.1).
use crate::ids::{CpuId, DomainId};
use crate::time::Ns;
use bitflags::bitflags;

/// In what state the CPU is for which a pass is made (`enum cpu_idle_type`, in the order of schedstat version 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdleType {
    /// It runs something.
    NotIdle,
    /// It is idle.
    Idle,
    /// It is about to become idle.
    NewlyIdle,
}

impl IdleType {
    /// Idle or about to be: `env->idle` used as a condition.
    #[inline]
    pub fn is_idle(self) -> bool {
        self != Self::NotIdle
    }

    /// Index into [`DomainStats::lb`](crate::topology::DomainStats::lb).
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// In what unit the imbalance is measured (`enum migration_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationType {
    /// Load.
    #[default]
    Load,
    /// Utilisation.
    Util,
    /// Tasks.
    Task,
    /// One task that is too big for its CPU.
    Misfit,
    /// Tasks that prefer the destination's cache.
    LlcTask,
}

/// Which queues a pass may take from, by how their tasks lie on memory nodes (`enum fbq_type`; spec 3 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FbqType {
    /// Those with tasks that have no preferred node.
    Regular,
    /// Also those with tasks on a node they do not prefer.
    Remote,
    /// All.
    #[default]
    All,
}

impl FbqType {
    /// The class of a queue or group with `nr` tasks, of which `nr_numa` have a preferred node and `nr_preferred`
    /// are on it (spec 3 §4.1, §6).
    pub fn classify(nr: u32, nr_numa: u32, nr_preferred: u32) -> Self {
        if nr > nr_numa {
            Self::Regular
        } else if nr > nr_preferred {
            Self::Remote
        } else {
            Self::All
        }
    }
}

bitflags! {
    /// What a pass has met so far (`LBF_*`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LbFlags: u32 {
        /// No task seen so far was allowed on the destination.
        const ALL_PINNED = 1;
        /// The queue's lock is to be released for a moment.
        const NEED_BREAK = 2;
        /// A task may not run on the destination, but on another CPU of its group.
        const DST_PINNED = 4;
        /// Some task was not allowed on the destination.
        const SOME_PINNED = 8;
        /// The stopper is pushing a task.
        const ACTIVE_LB = 16;
        /// A task was kept for the sake of its process's cache, in a pass that did not ask for such tasks.
        const LLC_PINNED = 32;
        /// The stopper is pushing a task that prefers the destination's cache.
        const ACTIVE_LB_LLC = 64;
    }
}

/// What started a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The CPU's own softirq.
    Periodic,
    /// The softirq of this CPU, on behalf of an idle one.
    Nohz {
        /// Who balances for it.
        on_cpu: CpuId,
    },
    /// The CPU was about to go idle.
    NewIdle,
}

/// The state of one pass. The CPUs that still take part are in `scratch.lb_cpus`: passes are never nested.
#[derive(Clone, Debug)]
pub(crate) struct LbEnv {
    /// Number of the pass, for events.
    pub(crate) pass: u64,
    /// The CPU that executes the pass.
    pub(crate) on_cpu: CpuId,
    /// The CPU for which the pass is made.
    pub(crate) this_cpu: CpuId,
    /// The level.
    pub(crate) sd: DomainId,
    /// Where tasks go: `this_cpu`, until a pinned task asks for another CPU of its group.
    pub(crate) dst_cpu: CpuId,
    /// Where tasks come from.
    pub(crate) src_cpu: CpuId,
    /// State of the destination.
    pub(crate) idle: IdleType,
    /// What was met.
    pub(crate) flags: LbFlags,
    /// Tasks looked at.
    pub(crate) loop_: u32,
    /// ... until the lock is released.
    pub(crate) loop_break: u32,
    /// ... at most.
    pub(crate) loop_max: u32,
    /// What is left to move.
    pub(crate) imbalance: i64,
    /// In what unit.
    pub(crate) migration_type: MigrationType,
    /// From which queues.
    pub(crate) fbq_type: FbqType,
    /// The CPU a pinned task may go to.
    pub(crate) new_dst_cpu: CpuId,
    /// What the pass would have taken, ns.
    pub(crate) cost: Ns,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassResult {
    /// Tasks moved.
    pub(crate) moved: u32,
    /// Whether higher levels are worth a look: it was this CPU's turn here.
    pub(crate) continue_balancing: bool,
    /// What it would have taken, ns.
    pub(crate) cost: Ns,
}
