//! How balancing of one kernel differs from that of another: one field for each decision that changed.
//!
//! For example two idle groups share tasks by their number of cores in one kernel and by counting tasks in the one
//! before: [`SiblingImbalance`] names both, each build holds one of them, and the one function that owns the decision
//! matches on it.
//!
//! Specified in spec 3 §§2-13, 15. Left out: differences that no number shows here. The newest kernel tests whether any CPU
//! is tickless a little later in the tick (nobody can be kicked either way); newer kernels raise the root domain's
//! "overloaded" only at the top level, which is the only one where it is read; older ones exclude CPUs that do no
//! housekeeping, and here all do; a lock that became an atomic flag; cached capacities.
use super::view::CpuView;
use crate::ids::CpuId;

/// How one kernel balances: every choice by which the builds differ, as a named value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceRules {
    /// The kernel can be preempted (`CONFIG_PREEMPTION`): a new-idle pass moves one task and no more (spec 3 §7.2-7).
    pub preemption: bool,
    /// How groups and queues are compared.
    pub comparison: Comparison,
    /// Which fair tasks count.
    pub fair_tasks: FairTasks,
    /// When CPUs balance by their ticks (spec 3 §2.1-2.5).
    pub periodic: PeriodicRules,
    /// When they balance before they go idle (spec 3 §2.11).
    pub newidle: NewIdleRules,
    /// How tickless CPUs are balanced for (spec 3 §2.6-2.10).
    pub nohz: NohzRules,
    /// The outline of a pass (spec 3 §3).
    pub pass: PassRules,
    /// What is known of groups (spec 3 §4).
    pub groups: GroupRules,
    /// The choice of group, amount and queue (spec 3 §5, §6).
    pub choice: ChoiceRules,
    /// Which tasks move (spec 3 §7, §8.1).
    pub tasks: TaskRules,
    /// Gathering threads of one process in one cache (spec 3 §13).
    pub cache_aware: CacheAware,
}

/// What energy-aware placement has to say (`sched_energy_enabled()`, `rd->pd`, `rd->overutilized`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnergyAware {
    /// It is off, or knows nothing of the machine's energy.
    #[default]
    Off,
    /// It places tasks, and keeps the balancer from moving them.
    InCharge,
    /// It is on, but a CPU has more utilisation than capacity: the balancer spreads tasks.
    Overutilized,
}

/// Gathering threads of one process in one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheAware {
    /// The kernel does not.
    Absent,
    /// The kernel does, as long as `llc_balancing/enabled` is set and the machine has several caches.
    Gathers,
}

impl CacheAware {
    /// Whether the kernel does it at all.
    pub fn gathers(self) -> bool {
        self == Self::Gathers
    }
}

/// How groups and queues are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// By averages of load with their history, in one unit (spec 3 §9).
    Classic,
    /// By what each group lacks: utilisation, tasks, load (spec 3 §§4-6).
    Typed,
}

/// Which fair tasks the balancer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FairTasks {
    /// All that are queued, also sleepers that only wait to be taken off (`h_nr_queued`).
    Queued,
    /// Those that want to run (`h_nr_runnable`).
    Runnable,
}

impl FairTasks {
    /// Those of a CPU.
    #[inline]
    pub fn of<V: CpuView + ?Sized>(self, view: &V, cpu: CpuId) -> u32 {
        match self {
            Self::Queued => view.h_nr_queued(cpu),
            Self::Runnable => view.h_nr_runnable(cpu),
        }
    }
}

/// When CPUs balance by their ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodicRules {
    /// CPUs that are being unplugged no longer balance (spec 3 §2.1).
    pub needs_active_cpu: bool,
    /// A busy CPU's interval is a jiffy shorter, so that levels do not fall in step (spec 3 §2.4).
    pub busy_minus_one: bool,
    /// When the cost of new-idle passes decays (spec 3 §2.5).
    pub cost_decay: CostDecay,
    /// Where serialised levels are serialised (spec 3 §2.3, §3.2-3).
    pub serialized: Serialized,
    /// An idle CPU's walk moves `nohz.next_balance` forward to its own (spec 3 §2.3).
    pub pulls_nohz_forward: bool,
}

/// When the cost of new-idle passes decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostDecay {
    /// Every second, in periodic walks; that any level decayed is remembered.
    EverySecond,
    /// A second after it rose or decayed last, also in new-idle passes; only the last level visited is remembered.
    SinceLastChange,
}

/// Where the flag that serialises a level is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serialized {
    /// Before a pass, by periodic walks only; the level is tried again at the next softirq.
    BeforePass,
    /// In the pass, once it is this CPU's turn; if it is taken the level counts as balanced.
    InPass,
}

/// When CPUs balance before they go idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewIdleRules {
    /// It forgets a misfit task first, and gives up if a wake-up is on its way (steps 1, 2).
    pub looks_for_wakeups: bool,
    /// What the average idle time is compared with before anything else (step 6).
    pub gate: IdleTimeGate,
    /// A CPU without domains stops at that gate.
    pub gate_needs_domain: bool,
    /// When the next periodic balance is derived from a level: from its interval before or after the pass.
    pub notes_due: NotesDue,
    /// Refreshing blocked load is charged to the first level.
    pub charges_blocked_update: bool,
    /// What is remembered of a level's passes (spec 3 §2.5).
    pub statistics: NewIdleStatistics,
    /// What ends the walk through the levels.
    pub stops: NewIdleStop,
    /// A CPU that closed the gate still looks whether work arrived, and refreshes idle CPUs' load on the spot.
    pub closed_gate: ClosedGate,
    /// How it is known that another class has work (step 11).
    pub other_class: OtherClass,
}

/// What the average idle time is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeGate {
    /// The cost of a migration.
    MigrationCost,
    /// The most expensive pass of the lowest level.
    LowestLevelCost,
}

/// From which interval of a level the next periodic balance is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotesDue {
    /// The one before its pass.
    BeforePass,
    /// The one after it.
    AfterPass,
}

/// What is remembered of a level's new-idle passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewIdleStatistics {
    /// The most expensive one.
    Cost,
    /// Also how many succeed in 1024.
    Success,
    /// Also how rare they are (`NI_RATE`).
    SuccessAndRate,
}

/// What ends the walk through the levels, besides a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewIdleStop {
    /// The CPU has something to run.
    Running,
    /// That, or a wake-up is on its way.
    RunningOrWakeup,
    /// It was not this CPU's turn.
    NotOurTurn,
}

/// What a CPU does that may not look for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedGate {
    /// Refreshes the load of idle CPUs at once, then looks whether something came.
    RefreshesLoad,
    /// Goes idle; the load is refreshed in the idle loop, also after passes that found nothing.
    GoesIdle,
}

/// How new-idle balancing knows that another class has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherClass {
    /// Tasks that are not fair are queued.
    Queued,
    /// Such a task came while the queue was unlocked. Here nothing comes within a pass.
    CameMeanwhile,
}

/// How tickless CPUs are balanced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NohzRules {
    /// CPUs that become tickless ask for `nohz.next_balance` to be computed anew (`needs_update`, spec 3 §2.6).
    pub needs_update: bool,
    /// The order of the reasons for a kick, and whether misfit tasks are one (spec 3 §2.7).
    pub kick_order: KickOrder,
    /// When a preferred tickless CPU is kicked (step 8).
    pub kick_asym: KickAsym,
    /// Whose busy CPUs are counted (step 10).
    pub busy_cpus: BusyCpus,
    /// How `nohz.next_balance` moves with a kick (spec 3 §2.8).
    pub kick_moves_due: KickMovesDue,
    /// Who is kicked (spec 3 §2.8).
    pub target: KickTarget,
    /// A target that has all requests already is left alone (spec 3 §2.8-3).
    pub skips_repeated_kick: bool,
    /// How a kick arrives (spec 3 §2.8, §9.7).
    pub delivery: KickDelivery,
    /// The walk over tickless CPUs (spec 3 §2.9).
    pub walk: IlbWalk,
    /// What makes it stop.
    pub abort: IlbAbort,
    /// Every walk refreshes blocked load, not only those that were asked to.
    pub always_refreshes: bool,
}

/// The order of the reasons for a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickOrder {
    /// Tasks, busy cache, capacity, preference; misfit tasks are none.
    CacheEarly,
    /// Tasks, capacity, preference, misfit if a bigger CPU exists or the capacity is reduced, cache.
    MisfitIfBigger,
    /// The same with every misfit.
    AnyMisfit,
}

/// When a preferred tickless CPU is kicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickAsym {
    /// It has priority.
    Preferred,
    /// It has priority, and priorities count there: its whole core is idle.
    PreferredCore,
}

/// Whose busy CPUs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyCpus {
    /// Those of the last-level cache.
    Llc,
    /// Those of the domain that holds every capacity, if there is one.
    AsymCapacityOrLlc,
}

/// How `nohz.next_balance` moves with a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickMovesDue {
    /// One jiffy on, with every kick.
    OneMore,
    /// To the next jiffy, if balancing is asked for.
    NextJiffy,
}

/// Who is kicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickTarget {
    /// The first tickless CPU, if it is idle.
    FirstTickless,
    /// The first tickless CPU that is idle and is not the kicker.
    FirstIdle,
}

/// How a kick arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickDelivery {
    /// As a request to reschedule; what is asked for stays in the flags until the softirq reads them.
    Reschedule,
    /// As a function call, void if the CPU is to reschedule.
    CallUnlessRescheduling,
    /// As a function call.
    Call,
}

/// The walk over tickless CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IlbWalk {
    /// From the lowest up, then the CPU itself, tickless or not; what was found due is noted even after a stop.
    FromFirst,
    /// From the next CPU around to the CPU itself.
    FromNext,
}

/// What makes it stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IlbAbort {
    /// The CPU is to reschedule.
    Rescheduling,
    /// It is to reschedule and is not idle.
    ReschedulingAndBusy,
}

/// The outline of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRules {
    /// Whose turn it is (spec 3 §3.3).
    pub turn: TurnOrder,
    /// A new-idle pass is not made when work has arrived (spec 3 §3.3-2).
    pub newidle_needs_empty: bool,
    /// Which CPUs may stand in for a pinned task's destination (spec 3 §3.1).
    pub stand_ins: StandIns,
    /// Queues with a single task count as pinned until its tasks are looked at (spec 3 §3.2-7).
    pub single_task_is_pinned: bool,
    /// Failures and waiting times do not grow for misfit tasks (spec 3 §3.2-9, -14).
    pub spares_misfit: bool,
    /// A new-idle pass that found nothing does not lengthen the interval (spec 3 §3.2-14).
    pub spares_newidle: bool,
    /// The parent's imbalance flag is cleared although all tasks are pinned (spec 3 §3.2-12).
    pub clears_flag_of_pinned: bool,
    /// What starting active balance does to failures and interval (spec 3 §3.2-9, -10).
    pub active_start: ActiveStart,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnOrder {
    /// The first idle CPU's, else the balance CPU's.
    IdleCpu,
    /// The first idle core's, else the first idle CPU's, else the balance CPU's.
    IdleCore,
}

/// Which CPUs may stand in for a pinned task's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIns {
    /// Those of the group.
    GroupSpan,
    /// Those that may balance for the group.
    BalanceMask,
}

/// What starting active balance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveStart {
    /// The next pass comes later, and failures are set to one more than make hot tasks move.
    LengthensInterval,
    /// The interval is shortened, and failures go on counting.
    ResetsInterval,
}

/// What is known of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// Queues with tasks that prefer a memory node are counted.
    pub numa_counters: NumaCounters,
    /// A single task on a CPU whose capacity others use is a misfit, also where all CPUs are equal (spec 3 §8.4).
    pub reduced_is_misfit: bool,
    /// A task that is too big for the largest CPU it may use is a misfit, too (spec 3 §1.3).
    pub misfit_on_largest: bool,
    /// When a preferred CPU makes a group its source (spec 3 §4.3, §11).
    pub asym_packing: GroupAsymPacking,
    /// Several tasks on a core make it a source (spec 3 §8.5).
    pub smt_balance: bool,
    /// Where it is said that tasks are spread over siblings (spec 3 §4.1).
    pub prefer_sibling: PreferSibling,
    /// With energy-aware placement a group is overloaded only if a CPU of it is overutilized (spec 3 §4.4).
    pub overloaded_needs_overutilized: bool,
    /// At which level wake-ups are told how far to search (spec 3 §4.6).
    pub scan_hint: ScanHint,
    /// How pressure takes capacity away (spec 3 §4.2).
    pub pressure: Pressure,
}

/// Which queues' tasks with a preferred memory node are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumaCounters {
    /// All.
    Everywhere,
    /// Those of CPUs that are not idle, on levels that cross nodes.
    BetweenNodes,
}

/// When a preferred CPU makes a group its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAsymPacking {
    /// The destination is preferred to the group, be it its own.
    AnyGroup,
    /// By how many threads of the two cores are busy.
    BusyThreads,
    /// The destination's core is idle and preferred, and at most one thread of the group's core is busy.
    IdleCore,
}

/// Where it is said that tasks are spread over siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferSibling {
    /// In the level below.
    Child,
    /// In the busiest group, which knows the level below it.
    BusiestGroup,
}

/// At which level wake-ups are told how far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanHint {
    /// The one with as many CPUs as the cache.
    CacheSize,
    /// The ones that have a shared record.
    SharedRecord,
}

/// How thermal or frequency pressure takes capacity away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Not at all.
    Ignored,
    /// As utilisation by others.
    IsUsed,
    /// By lowering the maximum.
    LowersMaximum,
}

/// The choice of group, amount and queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChoiceRules {
    /// Which groups with a task too big for its CPU are candidates (spec 3 §5.1-2).
    pub misfit: MisfitCandidates,
    /// When groups of bigger CPUs that are not too busy are refused (spec 3 §5.1-3).
    pub bigger_cpus: BiggerCpus,
    /// Which of two groups of one class is busier (spec 3 §5.1-5).
    pub same_class: SameClass,
    /// Energy-aware placement is asked before anything else (spec 3 §5.3-3).
    pub energy_first: bool,
    /// How many more tasks the busiest group has than its share (spec 3 §5.2).
    pub sibling_imbalance: SiblingImbalance,
    /// What counts of a misfit group (spec 3 §5.4 A).
    pub misfit_amount: MisfitAmount,
    /// What difference is tolerated between memory nodes (spec 3 §5.4 F).
    pub numa_tolerance: NumaTolerance,
    /// A group at the domain's average takes nothing, also if it is not overloaded (spec 3 §5.4 G2).
    pub stops_at_average: bool,
    /// When a queue with a single task is left to a preferred CPU (spec 3 §6-4).
    pub preferred_source: PreferredSource,
    /// Utilisation of queues counts as if nothing waited (spec 3 §6-5).
    pub boosts_utilisation: bool,
}

/// Which groups with a task too big for its CPU are candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MisfitCandidates {
    /// Those of smaller CPUs if there is room, whatever the level.
    SmallerCpus,
    /// The same, on levels of unequal CPUs only.
    SmallerCpusOfUnequal,
    /// And only for destinations whose core is idle.
    SmallerCpusForIdleCore,
}

/// When groups of bigger CPUs that are not too busy are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiggerCpus {
    /// Before they are compared with the busiest so far.
    First,
    /// When nothing else has decided.
    Last,
}

/// Which of two groups of one class is busier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameClass {
    /// Of equals mostly the first, but the last misfit and the last of lowest preference; cores are groups like others.
    LoadThenIdle,
    /// The first of equals, except between cores and CPUs without threads.
    KnowsCores,
}

/// How many more tasks the busiest group has than its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiblingImbalance {
    /// The difference in tasks, also for busy destinations.
    Tasks,
    /// In proportion to cores, for idle destinations.
    PerCore,
}

/// What counts of a misfit group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MisfitAmount {
    /// One misfit task.
    OneTask,
    /// That on levels of unequal CPUs, else the load of the task.
    OneTaskOrLoad,
}

/// What difference is tolerated between memory nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumaTolerance {
    /// Two tasks (after halving) while the busiest group uses less than a quarter of its CPUs.
    QuarterOfBusiest,
    /// Two tasks while the destination has at most `imb_numa_nr`.
    ImbNumaNr,
}

/// When a queue with a single task is left to a preferred CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferredSource {
    /// Never.
    Taken,
    /// If it is preferred to the destination.
    Left,
    /// If priorities count there, too.
    LeftToIdleCore,
}

/// Which tasks move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRules {
    /// Where a throttled group keeps its tasks from moving (spec 3 §7.3-1).
    pub throttled: Throttled,
    /// Kernel threads that belong to their CPU are left out (spec 3 §7.3-2).
    pub knows_percpu_kthreads: bool,
    /// Delayed tasks move with load only, and tasks that are ahead of others only after a failure (spec 3 §7.3).
    pub filters_ineligible: bool,
    /// The stopper takes hot tasks (spec 3 §7.3-6).
    pub stopper_takes_hot: bool,
    /// What equal distance from memory counts (spec 3 §7.3).
    pub equal_distance: EqualDistance,
    /// Threads of a core share their caches (spec 3 §7.4-3).
    pub threads_share_caches: bool,
    /// Who is a buddy, and so cache hot (spec 3 §7.4-4).
    pub hot_buddies: HotBuddies,
    /// Where moves of hot tasks are counted (spec 3 §7.3).
    pub counts_hot: CountsHot,
    /// How failures shrink what tasks count (spec 3 §7.2-5).
    pub size: TaskSize,
    /// A queue with one task is left before its tasks are looked at (spec 3 §7.2-1).
    pub leaves_single_task: bool,
    /// When a running task is pushed (spec 3 §8.1).
    pub active: ActiveRule,
}

/// Where a throttled group keeps its tasks from moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// On the source or the destination.
    Either,
    /// On the destination; throttled tasks are not queued.
    Destination,
}

/// What equal distance from memory counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EqualDistance {
    /// As nearer: the task moves even if it is hot.
    Improves,
    /// As nothing: cache heat decides.
    Unaffected,
}

/// Who is a buddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotBuddies {
    /// The next and the last.
    NextAndLast,
    /// The next.
    Next,
}

/// Where moves of hot tasks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountsHot {
    /// When a task is found movable, even if its size keeps it.
    WhenMovable,
    /// When it moves.
    WhenMoved,
}

/// How failures shrink what tasks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskSize {
    /// Half of the load, always.
    HalfLoad,
    /// Load halves with every failure, utilisation does not.
    LoadShrinks,
    /// Both do.
    BothShrink,
}

/// When a running task is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveRule {
    /// To a preferred CPU about to go idle, off a CPU of reduced capacity, after failures in any unit.
    Classic,
    /// To a preferred idle CPU, off a CPU of reduced capacity or too small, after failures in moving tasks.
    Preferred,
    /// The same; between cores only to idle ones, and off cores with several busy threads to any.
    PreferredCore,
}
