//! How run queues and load tracking of one kernel differ from those of another: one field for each decision that
//! changed.
//!
//! For example the slice that protects a running task from preemption ends when its deadline is renewed in one kernel,
//! at a virtual time of its own in the next: [`SliceProtection`] names both, each build holds one of them, and the one
//! function that owns the decision matches on it.
//!
//! Specified in spec 2 §1. Left out: differences that no number shows (which counter feeds the runnable signal, when exactly
//! inside one operation a new task is attached), and lazy rescheduling: tasks are taken to be in user mode, where a request takes effect at once
//! (spec 2 §6.9).
use crate::bandwidth::rules::BandwidthRules;

/// Everything by which run queues and load tracking of two builds can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunQueueRules {
    /// What virtual time is, and in which order entities wait (spec 2 §6.1, §7.1).
    pub virtual_time: VirtualTime,
    /// How virtual time is computed from real time (spec 2 §2.4).
    pub division: WeightDivision,
    /// The least that a weight counts in table units (spec 2 §2.2).
    pub weight_floor: WeightFloor,
    /// When the reference point of virtual time moves (spec 2 §6.1).
    pub mean_reference: MeanReference,
    /// The most lag an entity keeps (spec 2 §6.5).
    pub lag_limit: LagLimit,
    /// Until when the running entity is protected from earlier deadlines (spec 2 §6.5).
    pub slice_protection: SliceProtection,
    /// When a marked entity is preferred (spec 2 §6.5).
    pub buddy_pick: BuddyPick,
    /// Whether a wakee preempts (spec 2 §6.7).
    pub wakeup_preemption: WakeupPreemption,
    /// When the running entity notices that it should stop (spec 2 §6.7).
    pub expiry: Expiry,
    /// After a wake-up that preempts, the switch finds the clock as the wake-up left it: the time between them, an
    /// interrupt's delay, is charged to who comes and not to who leaves (spec 2 §4.5). Kernels do this; it is off in all
    /// builds here and can be switched on. With it the CPU time that a task is charged differs from what it had, and on a
    /// machine whose CPUs execute in turn, where such delays are long, runs of `pingpong` leave what was recorded of
    /// v6.12 (1.9 % idle, of 1.93 to 3.22 allowed).
    pub skips_clock_updates: bool,
    /// How the fair class asks a CPU to reschedule (spec 2 §6.9).
    pub resched: Resched,
    /// When the timer of the feature `HRTICK` ends a slice (spec 2 §6.9).
    pub hrtick_expiry: HrtickExpiry,
    /// What `sched_yield` gives up (spec 2 §1.2).
    pub yielding: Yielding,
    /// Where a queued entity stands after a change of its weight (spec 2 §6.10).
    pub reweight: Reweight,
    /// What lag an entity has that was delayed (spec 2 §6.8).
    pub delayed_lag: DelayedLag,
    /// A relative deadline is made absolute whatever `PLACE_REL_DEADLINE` says (spec 2 §1.3).
    pub places_any_relative_deadline: bool,
    /// Entities that slept for centuries lose their virtual runtime (spec 2 §7.3).
    pub forgets_long_sleepers: bool,

    /// The time base and the third signal of load tracking (spec 2 §8.5, §8.7).
    pub load_tracking: LoadTracking,
    /// How a contribution leaves a queue's sums (spec 2 §9.2, §9.3).
    pub removal: Removal,
    /// When the contribution of a queued task that migrates leaves its queue (spec 2 §5.5).
    pub detachment: Detachment,
    /// The runnable sum that a group's entity takes over is cut to 32 bits (spec 2 §18.2).
    pub cuts_propagated_runnable: bool,
    /// An entity that joins with any load has a load sum of at least 1 (spec 2 §9.2).
    pub attaches_at_least_one: bool,
    /// A task that leaves an idle CPU ages by the idle time not accounted yet (spec 2 §9.4).
    pub decays_on_idle_migration: bool,
    /// The weight by which a new task's utilisation is guessed (spec 2 §11).
    pub new_task_weight: NewTaskWeight,
    /// When a queue tells its group how much load it has (spec 2 §9.7).
    pub tg_load_update: TgLoadUpdate,
    /// When a queue without load leaves the list of those whose load is tracked (spec 2 §12).
    pub unlisting: Unlisting,
    /// Group entities that are only aged, because their queue's load decays, tell the group above (spec 2 §9.1).
    pub blocked_walk_tells_groups: bool,
    /// A group's entity is given its weight anew although it is the same, which recomputes its averages (spec 2 §14.2).
    pub reweights_unchanged: bool,
    /// Groups can be of the idle kind (spec 2 §1.1).
    pub idle_groups: bool,
    /// A group's entity keeps its weight when its queue becomes empty (spec 2 §14.2).
    pub empty_group_keeps_weight: bool,
    /// How estimated utilisation follows utilisation (spec 2 §10.2).
    pub util_est: UtilEst,
    /// Whether a delayed task that is moved or leaves is in the sum of estimates (spec 2 §10.1).
    pub delayed_estimate: DelayedEstimate,
    /// When it does (spec 2 §10.2).
    pub util_est_update: UtilEstUpdate,

    /// What keeps real-time tasks from starving fair ones (spec 2 §15.2).
    pub starvation_guard: StarvationGuard,
    /// The time that interrupts take is taken off task time and tracked (spec 2 §4.1, §15.3).
    pub irq_time_accounting: bool,

    /// When an idle period is folded into the CPU's average (spec 2 §16.4).
    pub avg_idle: AvgIdle,
    /// Averages of idle time are rounded down, not towards zero (spec 2 §16.3).
    pub avg_idle_floors: bool,
    /// The wake-up search ages an average of its own (`wake_avg_idle`, spec 2 §16.4).
    pub wake_avg_idle: bool,
    /// An idle CPU that reschedules for nothing looks for work again (spec 2 §5.3).
    pub idle_looks_again: bool,
    /// CPUs that run only idle-policy tasks count as idle for others (spec 2 §14.4).
    pub knows_idle_policy_cpus: bool,
    /// How limits of CPU time work (spec 2 §14.3).
    pub bandwidth: BandwidthRules,
}

/// What virtual time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualTime {
    /// Classic CFS: the smallest virtual runtime so far; entities wait in the order of their virtual runtimes.
    Minimum,
    /// EEVDF: the mean of the virtual runtimes, weighted in table units; entities wait in the order of their deadlines.
    #[default]
    Mean,
    /// The same, weighted in full resolution and compared without overflow.
    FineMean,
}

/// How virtual time is computed from real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDivision {
    /// By multiplication with a 32-bit inverse, a few ns low.
    Inverse,
    /// By a 64-bit division of full-resolution weights.
    Exact,
}

/// The least that a weight counts in table units, unless it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFloor {
    /// Whatever the shift leaves, also nothing.
    None,
    /// 2.
    Two,
}

/// When the reference point moves to which virtual runtimes are kept relative: to the mean of that moment. It changes no
/// mean; it is shown in debugfs, and decides when products overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeanReference {
    /// Whenever the mean is computed.
    WhenComputed,
    /// The same, and towards an entity that joins and is heavier than the queue.
    WhenComputedAndToHeavy,
    /// Whenever an entity begins or ends to wait.
    WhenTimelineChanges,
}

/// The most lag an entity keeps when it leaves its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagLimit {
    /// Two of its slices, or a tick if that is more.
    TwoSlices,
    /// The longest slice of its queue, and a tick.
    LongestSliceAndTick,
}

/// Until when the running entity is protected from entities with earlier deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceProtection {
    /// Until its deadline is renewed; remembered in the place of its lag.
    UntilRenewal,
    /// Until the shortest slice of the queue is used up; remembered in the place of its lag.
    ShortestSlice,
    /// The same, remembered in a place of its own; a task that is only put back is not protected anew.
    ShortestSliceOfPick,
}

/// When a marked entity is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuddyPick {
    /// Before anything else.
    First,
    /// If there is a choice, and only in picks that honour protection.
    WhenProtecting,
}

/// Whether a wakee preempts what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeupPreemption {
    /// Classic CFS: if it is behind by more than the wake-up granularity.
    Granularity,
    /// If a trial pick returns it; a shorter slice breaks the protection of what runs, if the wakee would be picked.
    Trial,
    /// If a trial pick returns it, without protection if its slice is shorter; else what runs is protected for less.
    TrialShort,
    /// The same by a real pick; new tasks, and those still delayed, never preempt unless their slice is shorter.
    Pick,
}

/// When the running entity notices that it should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Classic CFS: at the tick, by the time it ran and by how far it is ahead.
    Tick,
    /// At any update after which its deadline is renewed, or it is neither protected nor eligible.
    RenewedOrIneligible,
    /// At any update after which its deadline is renewed or it is no longer protected.
    RenewedOrUnprotected,
}

/// How the fair class asks a CPU that runs a fair task to reschedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resched {
    /// At once.
    AtOnce,
    /// When the task returns to user mode; tasks are taken to be there, so this makes no difference but for the clock.
    Lazy,
}

/// When the timer of the feature `HRTICK` ends a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HrtickExpiry {
    /// When the task has run for its slice since it was switched in; set anew at every pick.
    Slice,
    /// At the deadline; set at a switch, once.
    Deadline,
}

/// What `sched_yield` gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yielding {
    /// Classic CFS: the next pick skips it if another one is not too far ahead.
    SkipOnce,
    /// The rest of its slice, if it is eligible; a new one begins, of the default length of then.
    RestOfSlice,
    /// The same, but the new one is as long as the old.
    RestOfSliceForAnother,
}

/// Where a queued entity stands after a change of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reweight {
    /// Classic CFS: where it stood.
    KeepsVruntime,
    /// Its distances from the mean are scaled.
    AboutMean,
    /// It leaves and joins again, with lag and remaining slice scaled.
    Replace,
    /// Its distances from the mean are scaled, and so is that of the end of its protection.
    AboutMeanProtected,
}

/// What lag an entity has that was kept on its queue although it slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayedLag {
    /// What it is when the entity leaves or wakes up.
    WhenItEnds,
    /// The same, but at least what it was when the entity fell asleep.
    AtLeastAtSleep,
}

/// The time base and the third signal of load tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadTracking {
    /// Task time; contributions are scaled by frequency and capacity; the third signal is the weighted load of queued
    /// entities only, which is what balancing compares.
    ScaledContributions,
    /// A clock that runs slower on small or slow CPUs; the third signal is the number of runnable tasks.
    SlowedTime,
}

/// How a contribution leaves a queue's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Averages and sums are reduced, each down to 0.
    Subtract,
    /// Averages are reduced, sums are recomputed from them.
    Recompute,
    /// Both are reduced; sums stay at least what the averages need.
    SubtractWithFloor,
}

/// When the contribution of a queued task that migrates leaves its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detachment {
    /// When it is dequeued, before its group is weighed anew.
    AtDequeue,
    /// When its CPU changes.
    AtMigration,
}

/// When a queue tells its group how much load it has: always only if it differs by more than 1/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TgLoadUpdate {
    /// At every update.
    AtOnce,
    /// At most once a millisecond of real time, and never while its CPU is offline.
    EachMs,
    /// The same by the CPU's clock, which may be a little behind.
    EachMsOfQueueClock,
}

/// When a queue leaves the list of those whose load is tracked. It must be empty and its sums 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisting {
    /// Then.
    WhenDecayed,
    /// If none of its groups' queues is on the list either.
    WithoutChildren,
    /// If, besides, its group knows of its load no more.
    WithoutChildrenOrContribution,
}

/// The weight by which a new task's utilisation is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTaskWeight {
    /// The full-resolution one: the guess is always half of what is left.
    Full,
    /// The one in table units.
    Table,
}

/// How estimated utilisation follows utilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtilEst {
    /// Last value and moving average, up and down alike; the lowest bit of the value is the mark.
    LastAndAverage,
    /// Last value and moving average, which rises at once.
    LastAndFastAverage,
    /// One moving average that rises at once and stays when the task had to wait; not lowered beyond the capacity.
    OneAverage,
    /// The same, whatever the capacity.
    OneAverageAnyCapacity,
}

/// Whether a delayed task that is moved, changed or taken off is in the sum of estimates of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayedEstimate {
    /// Moves and changes leave the sum alone; other dequeues take the estimate out once more.
    AloneWhenMoved,
    /// It is not, and no dequeue takes it out.
    NeverCounted,
}

/// When the estimate follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtilEstUpdate {
    /// After the task was dequeued to sleep.
    AfterDequeue,
    /// Before: the utilisation is that of the update before.
    BeforeDequeue,
    /// In the last load update before it sleeps, also if its dequeue is delayed.
    InLoadUpdate,
}

/// What keeps real-time tasks from starving fair ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StarvationGuard {
    /// Real-time tasks have 950 ms of every second, whether anybody else wants the rest or not.
    Throttling,
    /// Fair tasks have 50 ms of every second, if they want to run.
    FairServer,
}

/// When an idle period is folded into the CPU's average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvgIdle {
    /// When a task wakes up there.
    AtWakeup,
    /// When the idle task is switched out, whatever the reason.
    LeavingIdle,
}
