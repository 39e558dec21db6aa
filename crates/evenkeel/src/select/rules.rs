//! How placement of one kernel differs from that of another: one field for each decision that changed.
//!
//! Specified in spec 4 §18.

/// Everything by which placement of two builds can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementRules {
    /// An idle previous CPU is preferred before weights are compared (spec 4 §6, rule 3).
    pub prefers_idle_prev: bool,
    /// A synchronous waker counts as alone if all others on its CPU are delayed sleepers (spec 4 §6, rule 2).
    pub sync_ignores_delayed: bool,
    /// `ttwu_move_affine` is counted also when the previous CPU was chosen (spec 4 §6).
    pub counts_prev_as_affine: bool,
    /// In which order an idle CPU is looked for (spec 4 §7, §8).
    pub idle_search: IdleSearch,
    /// Clusters of a cache are searched first (spec 4 §8.1).
    pub searches_clusters: bool,
    /// Whether CPUs that run only idle-policy tasks count as idle (spec 4 §2).
    pub idle_policy_cpus: IdlePolicyCpus,
    /// Which idle CPU a task gets on a machine of unequal CPUs (spec 4 §8.5).
    pub unequal: UnequalSearch,
    /// How the slow path compares groups (spec 4 §9, §18.1).
    pub slow_path: SlowPath,
    /// How many tasks a node keeps before others are used (spec 4 §9.3).
    pub node_spread: NodeSpread,
    /// Which wake-ups are sent to the target by interrupt (spec 4 §4).
    pub remote_wakeup: RemoteWakeup,
    /// Of several wake-ups sent to a CPU the last one is carried out first (spec 4 §4).
    pub drains_newest_first: bool,
    /// Where a task goes whose new affinity excludes its CPU (spec 4 §11.2).
    pub affinity_target: AffinityTarget,
}

/// In which order an idle CPU near the target is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleSearch {
    /// Target, previous, recent; then a pass over cores, one over CPUs, one over the target's core. The recent CPU is
    /// noted only when it is used.
    ThreePasses,
    /// Target, previous, recent, the previous CPU's core; then one pass over the cache. Whether the recent CPU is allowed is
    /// asked of the previous one, by mistake.
    OnePassAskingPrev,
    /// The same, asking the recent one.
    OnePass,
}

/// Whether CPUs that run only idle-policy tasks count as idle for a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlePolicyCpus {
    /// No.
    Busy,
    /// Yes.
    Idle,
    /// Yes, unless the task that wakes up is of the idle policy itself.
    IdleForOthers,
}

/// Which idle CPU a task gets on a machine of unequal CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnequalSearch {
    /// Placement does not look at capacities there: no kernel table marks such machines.
    None,
    /// The first that it fits, else the largest.
    FirstFit,
    /// The same, preferring idle cores; limited like other searches.
    FirstFitByCore,
}

/// How the slow path compares groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPath {
    /// By load of queued tasks, average load, and spare capacity.
    Loads,
    /// By class, over all CPUs of a group.
    ClassesOfAllCpus,
    /// By class, over the CPUs that the task may use.
    ClassesOfAllowedCpus,
}

/// How many tasks a node keeps before a task is placed on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeSpread {
    /// Fewer than a quarter of the domain's CPUs.
    QuarterOfDomain,
    /// The domain's tolerance (`imb_numa_nr`).
    Tolerance,
}

/// Which wake-ups are sent to the target CPU by interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteWakeup {
    /// Those across caches.
    OtherCache,
    /// Those across caches, and those to an idle CPU.
    OtherCacheOrIdle,
}

/// Where a task goes whose new affinity excludes its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinityTarget {
    /// To the lowest CPU allowed.
    Lowest,
    /// To another one at each call.
    Rotor,
}
