//! What tasks do: programs of run, sleep, wait and wake, independent of the file format they were written in.
//!
//! A [`Workload`] is plain data. Readers (rt-app JSON, scenario TOML, traces) produce it, the simulator executes it.
//! Everything a program refers to by name (mutexes, conditions, barriers ...) is an index into
//! [`Workload::objects`]; tasks refer to each other by index into [`Workload::tasks`].
use crate::time::Ns;
use alloc::string::String;
use alloc::vec::Vec;

/// A set of task programs with what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// What reports call it.
    pub name: String,
    /// Task definitions. A definition may be instantiated many times.
    pub tasks: Vec<TaskSpec>,
    /// Mutexes, conditions, barriers ... by [`ObjectId`].
    pub objects: Vec<Object>,
    /// Changes made from outside at given times, ascending.
    pub timeline: Vec<TimelineEntry>,
    /// How long the workload says it lasts; `None`: until every task has ended, or as the user says.
    pub duration: Option<Ns>,
}

/// Index into [`Workload::objects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

/// Index into [`Workload::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpecId(pub u32);

/// Something tasks synchronise on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the workload file.
    pub name: String,
    /// What it is.
    pub kind: ObjectKind,
}

/// Kinds of synchronisation objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A mutex; waiters get it in order of arrival.
    Mutex,
    /// A condition variable without memory; `signal` wakes the longest waiter.
    Condition,
    /// A barrier for this many arrivals; the last one does not block and wakes all others.
    Barrier {
        /// Arrivals that open it.
        parties: u32,
    },
    /// A counting semaphore.
    Semaphore {
        /// Its value at the start.
        initial: u32,
    },
    /// A timer shared by all tasks that name it: the next expiry is common.
    Timer,
    /// A pipe-like channel: reading blocks while it is empty, writing never blocks.
    Channel,
}

/// One task definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Name; instances of a definition that has several get `NAME-0`, `NAME-1` ...
    pub name: String,
    /// How many instances start with the workload; 0 for definitions that are only forked.
    pub instances: u32,
    /// Which CPU forks the instances that start with the workload.
    pub start_cpu: u32,
    /// The task sleeps until this time after the start before its first operation.
    pub delay: Ns,
    /// Further delay per instance: instance `i` starts `i * stagger` later.
    pub stagger: Ns,
    /// Attributes at the start.
    pub attributes: Attributes,
    /// What it does.
    pub program: Program,
}

/// Scheduling attributes; `None` leaves the present value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Scheduling policy.
    pub policy: Option<Policy>,
    /// Nice value, -20..=19.
    pub nice: Option<i32>,
    /// Custom slice (`sched_setattr` runtime of a fair task); `Some(0)` returns to the default.
    pub slice: Option<Ns>,
    /// CPUs the task may run on, ascending; the empty list means all.
    pub affinity: Option<Vec<u32>>,
    /// Control group, `/`-separated path from the root group `/`.
    pub group: Option<String>,
    /// Utilisation clamps, 0..=1024.
    pub util_clamp: Option<(u32, u32)>,
}

/// Scheduling policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_NORMAL`, also called `SCHED_OTHER`.
    #[default]
    Normal,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_FIFO` with its priority, 1..=99.
    Fifo(u8),
    /// `SCHED_RR` with its priority, 1..=99.
    RoundRobin(u8),
    /// `SCHED_DEADLINE`.
    Deadline {
        /// Runtime per period, ns.
        runtime: Ns,
        /// Relative deadline, ns.
        deadline: Ns,
        /// Period, ns.
        period: Ns,
    },
}

/// A task's program: phases run in order, the whole repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The phases.
    pub phases: Vec<Phase>,
    /// How often the sequence of phases runs; afterwards the task exits.
    pub repeat: Repeat,
}

/// A number of repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// This many times.
    Times(u32),
    /// Until the run ends.
    Forever,
}

impl Default for Repeat {
    fn default() -> Self {
        Self::Times(1)
    }
}

/// A phase: attributes set on entry, then a list of operations, repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Its name, empty if it has none.
    pub name: String,
    /// How often the operations run.
    pub repeat: Repeat,
    /// Attributes set when the phase begins.
    pub attributes: Attributes,
    /// The operations, in order.
    pub ops: Vec<Op>,
}

/// One operation of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Execute an amount of work: this long on a CPU of capacity 1024 at full speed.
    Run(Ns),
    /// Be busy until this much wall time has passed, time spent preempted included.
    RunUntilElapsed(Ns),
    /// Sleep this long from now (a timer interrupt wakes the task).
    Sleep(Ns),
    /// Sleep until the timer's next expiry.
    Timer(TimerOp),
    /// Take a mutex, blocking while it is held.
    Lock(ObjectId),
    /// Release a mutex; the longest waiter gets it and is woken.
    Unlock(ObjectId),
    /// Release the mutex (if one is given), wait for the condition, take the mutex again.
    Wait {
        /// The condition.
        condition: ObjectId,
        /// The mutex, held by the caller.
        mutex: Option<ObjectId>,
    },
    /// Wake the longest waiter of a condition.
    Signal(ObjectId),
    /// Wake all waiters of a condition, in order.
    Broadcast(ObjectId),
    /// Signal the condition, then wait for it.
    SignalAndWait {
        /// The condition.
        condition: ObjectId,
        /// The mutex, held by the caller.
        mutex: Option<ObjectId>,
    },
    /// Arrive at a barrier.
    Barrier(ObjectId),
    /// Increment a semaphore, waking the longest waiter.
    SemPost(ObjectId),
    /// Decrement a semaphore, blocking while it is zero.
    SemWait(ObjectId),
    /// Write a message to a channel, waking the longest reader with the sync flag if `sync`.
    Send {
        /// The channel.
        channel: ObjectId,
        /// Whether the wake-up carries the sync flag, as pipe writes do.
        sync: bool,
    },
    /// Read a message from a channel, blocking while it is empty.
    Receive(ObjectId),
    /// Create an instance of a task definition.
    Fork(SpecId),
    /// Replace the program image: the kernel may choose another CPU; the program goes on.
    Exec,
    /// `sched_yield`.
    Yield,
    /// Change own attributes.
    Set(Attributes),
    /// End the task.
    Exit,
}

/// A periodic timer as rt-app defines it: the first use takes the start (plus delay) as reference, each use adds the
/// period; a missed expiry does not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerOp {
    /// Which timer.
    pub timer: TimerRef,
    /// Period, ns.
    pub period: Ns,
    /// After a missed expiry: `true` keeps the grid, `false` restarts it at the present time.
    pub absolute: bool,
}

/// Which timer an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerRef {
    /// The instance's own timer of this number.
    Private(u32),
    /// A timer shared by name.
    Shared(ObjectId),
}

/// A change from outside at a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When, from the start of the run.
    pub at: Ns,
    /// What.
    pub change: Change,
}

/// What can be changed from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set attributes of every instance of a definition.
    SetAttributes {
        /// The definition.
        task: SpecId,
        /// The new attributes.
        attributes: Attributes,
    },
}

/// A program can repeat forever without taking time, which a simulator cannot execute.
///
/// True if some endless loop of the program contains no operation that takes or waits for time.
pub fn loops_without_time(program: &Program) -> bool {
    let takes_time = |op: &Op| match op {
        Op::Run(ns) | Op::RunUntilElapsed(ns) | Op::Sleep(ns) => *ns > 0,
        Op::Timer(timer) => timer.period > 0,
        Op::Wait { .. }
        | Op::SignalAndWait { .. }
        | Op::Barrier(_)
        | Op::SemWait(_)
        | Op::Receive(_)
        | Op::Lock(_) => true,
        Op::Exit => true,
        _ => false,
    };
    let phase_takes_time = |phase: &Phase| phase.ops.iter().any(takes_time);
    program.phases.iter().any(|phase| phase.repeat == Repeat::Forever && !phase_takes_time(phase))
        || (program.repeat == Repeat::Forever && !program.phases.iter().any(phase_takes_time))
}
