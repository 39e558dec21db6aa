//! A kernel is a value: named behaviours, feature bits and tunables, nothing else.
//!
//! Each exact build is one constant in [`kernels`](crate::kernels), written as a delta from its neighbour. The rest
//! of the crate never asks "which version is this?"; it asks for one behaviour, by name, in the one function that
//! owns the decision. A user's experiment (a build plus overrides) is a kernel too.
use crate::queue_rules::WakeupPreemption;
use crate::time::Ns;
use bitflags::bitflags;

pub use crate::balance::BalanceRules;
pub use crate::queue_rules::RunQueueRules;
pub use crate::select::rules::PlacementRules;
pub use crate::topology::rules::TopologyRules;

/// One kernel: everything by which two builds can differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// The exact build, as every report prints it (`v6.12.117`).
    pub build: &'static str,
    /// The short name that resolves to this build (`v6.12`).
    pub alias: &'static str,
    /// Whether run queues, placement and balancing of this build are modelled. Domain trees are modelled for all.
    pub runs: bool,
    /// Ticks a second (`CONFIG_HZ`).
    pub hz: u32,
    /// How domain trees are built (spec 1).
    pub topology: TopologyRules,
    /// Where forked, exec'd and woken tasks go (spec 4).
    pub placement: PlacementRules,
    /// How load is balanced (spec 3).
    pub balance: BalanceRules,
    /// How run queues and load tracking work (spec 2 §1).
    pub queues: RunQueueRules,
    /// Numbers a user may change at run time (spec 2 §2.5, spec 3 §14).
    pub tunables: Tunables,
    /// `sched_features` that are on (spec 2 §1.3, spec 3 §14).
    pub features: Features,
    /// `sched_features` that exist, on or off.
    pub features_known: Features,
    /// Version of `/proc/schedstat` (spec 1 §15).
    pub schedstat_version: u32,
    /// Which lines `sched/debug` has for a fair queue.
    pub debug_layout: DebugLayout,
}

impl Kernel {
    /// Features that exist in this build, off, and may not be switched: what they would do there is not modelled.
    pub fn features_refused(&self) -> Features {
        match self.queues.wakeup_preemption {
            // Marks of wakees have rules of their own where a wake-up makes a real pick (spec 2 §6.7).
            WakeupPreemption::Pick => Features::NEXT_BUDDY,
            WakeupPreemption::Granularity | WakeupPreemption::Trial | WakeupPreemption::TrialShort => {
                Features::empty()
            }
        }
    }
}

/// The layouts of debugfs `sched/debug` that views can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugLayout {
    /// Not laid out here: no recording shows it.
    Unknown,
    /// The classic scheduler's: virtual runtimes of the first and the last entity, no deadlines.
    Classic,
    /// Deadlines; counts called `nr_running`, `idle_h_nr_running`; delayed tasks counted apart.
    Running,
    /// Deadlines; counts called `nr_queued`, `h_nr_idle`.
    Queued,
    /// The same with the sums from which the virtual time is computed.
    Sums,
}

/// Tunables with their defaults as a kernel boots with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tunables {
    /// `base_slice_ns` before scaling by the number of CPUs (spec 2 §2.5).
    pub base_slice_normalized_ns: Ns,
    /// How slices grow with the number of CPUs (spec 2 §2.5).
    pub scaling: TunableScaling,
    /// `migration_cost_ns`: a task that ran less than this ago is cache hot; `u32::MAX` means always (spec 3 §7.4).
    pub migration_cost_ns: u32,
    /// `nr_migrate`: tasks looked at in one balancing pass (spec 3 §7.2).
    pub nr_migrate: u32,
    /// Tasks looked at between two releases of the queue's lock (`sched_nr_migrate_break`).
    pub nr_migrate_break: u32,
    /// `sched_cfs_bandwidth_slice_us`: what a queue draws from its group's limit at a time (spec 2 §14.3).
    pub cfs_bandwidth_slice_ns: Ns,
    /// Slices of the classic completely fair scheduler; `None` where deadlines replaced it (spec 2 §1.1).
    pub cfs: Option<CfsTunables>,
    /// What is kept for fair tasks beside real-time and deadline ones (spec 2 §15.2).
    pub guard: GuardTunables,
    /// `numa_balancing/`: how tasks are sampled for the memory they use.
    pub numa_balancing: NumaBalancingTunables,
    /// `llc_balancing/`: gathering of threads in one cache; `None` where it does not exist (spec 3 §13).
    pub llc_balancing: Option<LlcBalancingTunables>,
}

/// Slices of the classic completely fair scheduler, before scaling by the number of CPUs (spec 2 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CfsTunables {
    /// `latency_ns`: the time in which every runnable task should run once.
    pub latency_normalized_ns: Ns,
    /// `min_granularity_ns`: the shortest slice.
    pub min_granularity_normalized_ns: Ns,
    /// `wakeup_granularity_ns`: how far behind a wakee must be to preempt.
    pub wakeup_granularity_normalized_ns: Ns,
    /// `idle_min_granularity_ns`: the shortest slice of idle-policy tasks, never scaled; `None` where it does not exist.
    pub idle_min_granularity_ns: Option<Ns>,
    /// `child_runs_first`: a new task runs before its creator.
    pub child_runs_first: bool,
}

/// Time that fair tasks have although real-time or deadline tasks could use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardTunables {
    /// `sched_rt_period_us`, in ns: the period of the limit of real-time tasks.
    pub rt_period_ns: Ns,
    /// `sched_rt_runtime_us`, in ns: what they may have of it; the whole period: there is no limit.
    pub rt_runtime_ns: Ns,
    /// `fair_server/cpuN/period`: the period of the server of fair tasks.
    pub fair_server_period_ns: Ns,
    /// `fair_server/cpuN/runtime`: what fair tasks have of it; 0: there is no server.
    pub fair_server_runtime_ns: Ns,
}

/// Sampling of memory accesses for NUMA balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumaBalancingTunables {
    /// `scan_delay_ms`: a new task is left alone this long.
    pub scan_delay_ms: u32,
    /// `scan_period_min_ms`: shortest time between scans of a task's memory.
    pub scan_period_min_ms: u32,
    /// `scan_period_max_ms`: longest time between them.
    pub scan_period_max_ms: u32,
    /// `scan_size_mb`: memory looked at in one scan.
    pub scan_size_mb: u32,
    /// `hot_threshold_ms`: a page touched again within this time is hot; `None` where it does not exist.
    pub hot_threshold_ms: Option<u32>,
}

/// Gathering of a process's threads in one last-level cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LlcBalancingTunables {
    /// `enabled`.
    pub enabled: bool,
    /// `aggr_tolerance`: how willingly threads are gathered.
    pub aggr_tolerance: u32,
    /// `epoch_period`, jiffies.
    pub epoch_period: u32,
    /// `epoch_affinity_timeout`: epochs after which a preference is forgotten.
    pub epoch_affinity_timeout: u32,
    /// `overaggr_pct`: utilisation of the preferred cache from which nothing more is gathered, percent.
    pub overaggr_pct: u32,
    /// `imb_pct`: imbalance between caches that gathering may cause, percent.
    pub imb_pct: u32,
}

impl LlcBalancingTunables {
    /// The files of `sched/llc_balancing/` with what they show, by name.
    pub fn files(&self) -> [(&'static str, u32); 6] {
        [
            ("aggr_tolerance", self.aggr_tolerance),
            ("enabled", u32::from(self.enabled)),
            ("epoch_affinity_timeout", self.epoch_affinity_timeout),
            ("epoch_period", self.epoch_period),
            ("imb_pct", self.imb_pct),
            ("overaggr_pct", self.overaggr_pct),
        ]
    }
}

/// `tunable_scaling`: the factor by which latencies grow with the number of online CPUs, at most 8 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunableScaling {
    /// Factor 1.
    None,
    /// Factor `1 + floor(log2(min(cpus, 8)))`, the default.
    Log,
    /// Factor `min(cpus, 8)`.
    Linear,
}

impl TunableScaling {
    /// The factor on a machine with `cpus` online CPUs.
    pub fn factor(self, cpus: u32) -> u32 {
        let cpus = cpus.clamp(1, 8);
        match self {
            Self::None => 1,
            Self::Log => 1 + cpus.ilog2(),
            Self::Linear => cpus,
        }
    }
}

bitflags! {
    /// `sched_features` that this crate knows; the names are the kernel's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// A task that wakes up or migrates keeps its lag (EEVDF).
        const PLACE_LAG = 1 << 0;
        /// A new task starts with half a slice (EEVDF).
        const PLACE_DEADLINE_INITIAL = 1 << 1;
        /// A migrating task keeps its relative deadline (EEVDF).
        const PLACE_REL_DEADLINE = 1 << 2;
        /// The running task keeps the CPU until its deadline changes (EEVDF).
        const RUN_TO_PARITY = 1 << 3;
        /// A wakee with a shorter slice may break that protection (EEVDF).
        const PREEMPT_SHORT = 1 << 4;
        /// Mark a wakee as the next to run.
        const NEXT_BUDDY = 1 << 5;
        /// Honour the mark.
        const PICK_BUDDY = 1 << 6;
        /// A buddy counts as cache hot.
        const CACHE_HOT_BUDDY = 1 << 7;
        /// Sleepers without credit stay queued until they are picked (EEVDF).
        const DELAY_DEQUEUE = 1 << 8;
        /// Such a sleeper leaves with at most zero lag.
        const DELAY_ZERO = 1 << 9;
        /// A wake-up may preempt the running task.
        const WAKEUP_PREEMPTION = 1 << 10;
        /// Preempt by a high-resolution timer at the end of the slice.
        const HRTICK = 1 << 11;
        /// Interrupt and steal time reduce a CPU's capacity.
        const NONTASK_CAPACITY = 1 << 12;
        /// Remote wake-ups are queued and sent by interrupt.
        const TTWU_QUEUE = 1 << 13;
        /// The wake-up search is limited by average idle time.
        const SIS_PROP = 1 << 14;
        /// The wake-up search is limited by the utilisation of the cache domain.
        const SIS_UTIL = 1 << 15;
        /// Load of a task that comes back to the fair class has decayed meanwhile.
        const ATTACH_AGE_LOAD = 1 << 16;
        /// `wake_affine` looks at idle CPUs.
        const WA_IDLE = 1 << 17;
        /// `wake_affine` compares weights.
        const WA_WEIGHT = 1 << 18;
        /// `wake_affine` favours the waking CPU by half the imbalance percentage.
        const WA_BIAS = 1 << 19;
        /// CPU utilisation includes the estimate of sleeping tasks.
        const UTIL_EST = 1 << 20;
        /// Do not balance tasks lighter than 16 until a pass has failed.
        const LB_MIN = 1 << 21;
        /// New-idle balancing is attempted in proportion to its success.
        const NI_RANDOM = 1 << 22;
        /// New-idle balancing is always attempted when it is rare.
        const NI_RATE = 1 << 23;
        /// Classic CFS: a sleeper gets half of the latency as credit.
        const GENTLE_FAIR_SLEEPERS = 1 << 24;
        /// Classic CFS: a new task is placed one slice later.
        const START_DEBIT = 1 << 25;
        /// Classic CFS: return to the task that was preempted.
        const LAST_BUDDY = 1 << 26;
        /// Classic CFS: slices count tasks of the whole hierarchy.
        const ALT_PERIOD = 1 << 27;
        /// Classic CFS: slices have a floor.
        const BASE_SLICE = 1 << 28;
        /// Bias the load of CPUs by its history.
        const LB_BIAS = 1 << 29;
        /// The estimate of utilisation rises at once.
        const UTIL_EST_FASTUP = 1 << 30;
        /// Limit the wake-up search when idle times are short.
        const SIS_AVG_CPU = 1 << 31;
        /// Sum reschedules over all CPUs with a double tick (debugging aid).
        const DOUBLE_TICK = 1 << 32;
        /// Hrtick for deadline tasks.
        const HRTICK_DL = 1 << 33;
        /// Warn about excessive clock updates.
        const WARN_DOUBLE_CLOCK = 1 << 34;
        /// Push real-time tasks by interrupt.
        const RT_PUSH_IPI = 1 << 35;
        /// Real-time tasks may borrow runtime of other CPUs.
        const RT_RUNTIME_SHARE = 1 << 36;
        /// Warn when a CPU's tick is late.
        const LATENCY_WARN = 1 << 37;
        /// Check the average of virtual times (debugging aid).
        const PARANOID_AVG = 1 << 38;
    }
}
