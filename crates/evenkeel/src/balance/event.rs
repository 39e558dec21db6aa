//! What balancing tells an observer: every decision with the numbers and the rule behind it.
//!
//! One pass is a sequence `PassBegin`, `Turn`, then per search `Group`* `SrcGroup` `Queue`* `SrcQueue` `Task`*, and
//! `PassEnd`; all carry the number of the pass. What keeps a pass from happening is told as well: a level that is not
//! due yet ([`BalanceEvent::NotDue`]), the gates of new-idle balancing ([`BalanceEvent::NewIdle`]), the decision to
//! kick an idle CPU or not ([`BalanceEvent::NohzKick`]). So every stretch in which a CPU stays idle while tasks wait
//! can be laid at the door of one gate.
use super::active::{ActiveReason, StopperOutcome};
use super::choose::{Pick, SrcGroup};
use super::env::{FbqType, IdleType, LbFlags, MigrationType, Trigger};
use super::migrate::Refusal;
use super::source::QueueVerdict;
use super::stats::SgStats;
use crate::ids::{CpuId, DomainId, GroupId, TaskId};
use crate::rq::NohzFlags;
use crate::time::{Jiffies, Ns};

/// Whether it is this CPU's turn to balance for its group (spec 3 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// Yes: it is about to be idle and still has nothing to do.
    NewlyIdle,
    /// No: work has arrived meanwhile.
    WorkArrived,
    /// No: the destination does not take part any more.
    NotCandidate,
    /// The first idle CPU on an idle core is this one, or another.
    IdleCore(CpuId),
    /// No core is idle: the first idle thread is this one, or another.
    IdleThread(CpuId),
    /// No CPU of the group is idle: its balance CPU is this one, or another.
    BalanceCpu(CpuId),
}

impl Turn {
    /// Whether it is the turn of `dst_cpu`.
    pub fn is_for(self, dst_cpu: CpuId) -> bool {
        match self {
            Self::NewlyIdle => true,
            Self::WorkArrived | Self::NotCandidate => false,
            Self::IdleCore(cpu) | Self::IdleThread(cpu) | Self::BalanceCpu(cpu) => cpu == dst_cpu,
        }
    }
}

/// What the balancer made of one task of the source queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskVerdict {
    /// Moved; `hot`: although it was cache hot.
    Moved {
        /// It was cache hot.
        hot: bool,
    },
    /// Left where it is.
    Refused(Refusal),
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassOutcome {
    /// Tasks were moved.
    Moved,
    /// Another CPU balances for this group.
    NotOurTurn,
    /// Another CPU is balancing a serialised level.
    Serialized,
    /// No source group.
    NoSrcGroup,
    /// No source queue.
    NoSrcQueue,
    /// No task of any source queue is allowed on the destination.
    AllPinned,
    /// Tasks were found, none could be moved.
    Failed,
    /// As `Failed`, and the stopper of the source was asked to push its running task.
    ActiveBalance,
    /// As `Failed`; active balance was due, but the running task may not run here.
    CurrPinned,
}

/// What stopped new-idle balancing, or let it through (spec 3 §2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewIdleGate {
    /// Remote wake-ups are on their way: the CPU will not stay idle.
    WakeupPending,
    /// The CPU is being unplugged.
    NotActive,
    /// The CPU has no domains.
    NoDomain,
    /// No CPU of the root domain has more than one task.
    NotOverloaded,
    /// The CPU is usually idle for less time than the lowest level costs.
    AvgIdleTooShort {
        /// Average length of its idle periods, ns.
        avg_idle: Ns,
        /// Most expensive pass of the lowest level, ns.
        cost: Ns,
    },
    /// The rest of the idle period would be used up by this level.
    LevelTooExpensive {
        /// The level.
        domain: DomainId,
        /// Average length of the idle periods, ns.
        avg_idle: Ns,
        /// Spent already, ns.
        spent: Ns,
        /// Most expensive pass of this level, ns.
        cost: Ns,
    },
    /// The level has no new-idle balancing.
    LevelExcluded {
        /// The level.
        domain: DomainId,
    },
    /// Passes of this level seldom succeed, and the dice said no.
    Dice {
        /// The level.
        domain: DomainId,
        /// Thrown, 0..1024.
        dice: u32,
        /// Successes in 1024 passes.
        ratio: u32,
    },
    /// A level was balanced.
    Passed {
        /// The level.
        domain: DomainId,
        /// Tasks moved.
        moved: u32,
        /// What it took, ns.
        cost: Ns,
    },
    /// All is done; `result` is the answer: -1 work of another class, 0 nothing, 1 fair tasks.
    Done {
        /// The answer.
        result: i32,
    },
}

/// Why a busy CPU's tick kicks an idle CPU to balance, or does not (spec 3 §2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KickReason {
    /// 1: the CPU is idle itself.
    Idle,
    /// 3: no CPU is tickless idle.
    NobodyIdle,
    /// 5: it is not time yet.
    NotDue,
    /// 6: kicks: more than one task here.
    SeveralTasks,
    /// 7: kicks: the CPU's capacity is reduced.
    ReducedCapacity,
    /// 8: kicks: a preferred CPU is idle.
    AsymPacking,
    /// 9: kicks: the running task is too big for the CPU.
    Misfit,
    /// 9: nothing is too big here, and caches do not count on such machines.
    NoMisfit,
    /// 10: kicks: several CPUs of the cache are busy.
    LlcBusy,
    /// None of them.
    NoReason,
}

/// What became of a kick (spec 3 §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KickOutcome {
    /// Nothing was asked for.
    NoFlags,
    /// No idle CPU was found.
    NoTarget,
    /// The CPU has these requests already, or an interrupt is on its way to it.
    AlreadyPending(CpuId),
    /// An interrupt is sent to the CPU.
    Sent(CpuId),
}

/// What a CPU that balances for the tickless idle CPUs does for one of them (spec 3 §2.9-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NohzVisit {
    /// Nothing: it is in the set but not idle.
    NotIdle,
    /// Nothing: none of its levels is due before this.
    NotDue {
        /// When the first of them is.
        due: Jiffies,
    },
    /// Nothing: only its load was to be refreshed.
    NotAsked,
    /// Its levels are walked.
    Balances,
}

/// Something about balancing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BalanceEvent {
    /// A tick has compared the present with the CPU's `next_balance` (spec 3 §2.1).
    Tick {
        /// The CPU.
        cpu: CpuId,
        /// When the first of its levels is due.
        due: Jiffies,
        /// Now; from `due` on the softirq is raised.
        now: Jiffies,
    },
    /// A pass begins (`sched_balance_rq`).
    PassBegin {
        /// Its number.
        pass: u64,
        /// For which CPU.
        cpu: CpuId,
        /// On which level.
        domain: DomainId,
        /// In what state the CPU is.
        idle: IdleType,
        /// What started it.
        trigger: Trigger,
        /// Failures in a row before.
        nr_balance_failed: u32,
        /// The level's interval, ms.
        balance_interval: u64,
        /// How much busier in percent a group must be.
        imbalance_pct: u32,
        /// Failures after which cache-hot tasks move.
        cache_nice_tries: u32,
    },
    /// Whether it is this CPU's turn.
    Turn {
        /// The pass.
        pass: u64,
        /// The CPU.
        dst_cpu: CpuId,
        /// The verdict.
        turn: Turn,
    },
    /// A group was summed up and classified.
    Group {
        /// The pass.
        pass: u64,
        /// The group.
        group: GroupId,
        /// Its numbers and class.
        stats: SgStats,
        /// Whether it is the busiest so far.
        pick: Pick,
    },
    /// The search for a source group has ended.
    SrcGroup {
        /// The pass.
        pass: u64,
        /// The busiest of the other groups.
        busiest: Option<GroupId>,
        /// Load per capacity of the local group, where it was needed.
        local_avg_load: u64,
        /// Load per capacity of the domain, where it was needed.
        domain_avg_load: u64,
        /// Which queues may be taken from.
        fbq_type: FbqType,
        /// The group and what to move, and the rule that decided.
        verdict: SrcGroup,
    },
    /// A CPU of the source group was looked at.
    Queue {
        /// The pass.
        pass: u64,
        /// The CPU.
        cpu: CpuId,
        /// Fair tasks there, delayed ones included.
        h_nr_queued: u32,
        /// Its load.
        load: u64,
        /// Its utilisation as if nothing waited.
        util: u64,
        /// Its capacity for fair tasks.
        capacity: u64,
        /// The verdict.
        verdict: QueueVerdict,
    },
    /// The source queue.
    SrcQueue {
        /// The pass.
        pass: u64,
        /// The CPU; none: nothing to take.
        cpu: Option<CpuId>,
        /// Tasks there.
        nr_running: u32,
        /// What is to be moved.
        imbalance: i64,
        /// In what unit.
        migration_type: MigrationType,
    },
    /// A task was looked at.
    Task {
        /// The pass; none: the stopper looks.
        pass: Option<u64>,
        /// The task.
        task: TaskId,
        /// Where it is.
        src_cpu: CpuId,
        /// Where it would go.
        dst_cpu: CpuId,
        /// What is left to move before.
        imbalance: i64,
        /// What the task counts, in the unit of the imbalance, before failures shrink it.
        amount: u64,
        /// How long ago it ran, ns.
        since_exec: i64,
        /// Failures in a row before this pass: they make hot tasks movable and big ones fit.
        nr_balance_failed: u32,
        /// The verdict.
        verdict: TaskVerdict,
    },
    /// A long scan releases the queue's lock for a moment, and goes on (`LBF_NEED_BREAK`).
    Break {
        /// The pass.
        pass: u64,
    },
    /// A task that is not allowed on the destination asks for another CPU of its group.
    NewDestination {
        /// The pass.
        pass: u64,
        /// The CPU.
        cpu: CpuId,
    },
    /// All tasks of the source are pinned: the search starts again without it.
    Redo {
        /// The pass.
        pass: u64,
        /// The CPU left out from now on.
        without: CpuId,
    },
    /// A pass ends.
    PassEnd {
        /// The pass.
        pass: u64,
        /// How.
        outcome: PassOutcome,
        /// Tasks moved.
        moved: u32,
        /// What it met.
        flags: LbFlags,
        /// Failures in a row after it.
        nr_balance_failed: u32,
        /// The level's interval after it, ms.
        balance_interval: u64,
        /// What it took, ns.
        cost: Ns,
    },
    /// The stopper of `src_cpu` was asked to push a task to `dst_cpu`.
    ActiveBalanceStart {
        /// The pass that asked.
        pass: u64,
        /// From here.
        src_cpu: CpuId,
        /// To there.
        dst_cpu: CpuId,
        /// The running task.
        curr: Option<TaskId>,
        /// Why.
        reason: ActiveReason,
    },
    /// The stopper has pushed a task, or not.
    ActiveBalanceEnd {
        /// From here.
        src_cpu: CpuId,
        /// To there.
        dst_cpu: CpuId,
        /// The task.
        task: Option<TaskId>,
        /// Why not, if none.
        outcome: StopperOutcome,
    },
    /// The softirq came by, and a level is due: a pass follows.
    Due {
        /// The CPU.
        cpu: CpuId,
        /// The level.
        domain: DomainId,
        /// Since when it is due.
        due: Jiffies,
        /// Now.
        now: Jiffies,
        /// The interval is that of a busy CPU.
        busy: bool,
    },
    /// The softirq came by, but a level is not due.
    NotDue {
        /// The CPU.
        cpu: CpuId,
        /// The level.
        domain: DomainId,
        /// When it is due.
        due: Jiffies,
        /// Now.
        now: Jiffies,
    },
    /// The softirq came by, but another CPU is balancing a serialised level.
    Serialized {
        /// The CPU.
        cpu: CpuId,
        /// The level.
        domain: DomainId,
    },
    /// A step of new-idle balancing.
    NewIdle {
        /// The CPU.
        cpu: CpuId,
        /// What stopped it or let it through.
        gate: NewIdleGate,
    },
    /// A CPU's tick has decided whether to kick an idle CPU.
    NohzKick {
        /// The busy CPU.
        cpu: CpuId,
        /// Why.
        reason: KickReason,
        /// What is asked for.
        flags: NohzFlags,
        /// What became of it.
        outcome: KickOutcome,
    },
    /// An idle CPU balances for the idle ones, or refreshes their load.
    NohzBalance {
        /// The CPU.
        cpu: CpuId,
        /// What was asked for.
        flags: NohzFlags,
    },
    /// It visits a tickless CPU.
    NohzVisit {
        /// The CPU that balances.
        by: CpuId,
        /// The tickless CPU.
        cpu: CpuId,
        /// What it does there.
        visit: NohzVisit,
    },
    /// It was told to stop because work has arrived.
    NohzAborted {
        /// The CPU.
        cpu: CpuId,
    },
    /// A CPU joined the tickless idle CPUs.
    NohzEnter {
        /// The CPU.
        cpu: CpuId,
    },
    /// A CPU left them.
    NohzExit {
        /// The CPU.
        cpu: CpuId,
    },
}
