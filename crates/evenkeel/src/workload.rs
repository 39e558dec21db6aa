//! What tasks do: programs of run, sleep, wait and wake, independent of the file format they were written in.
//!
//! A [`Workload`] is plain data. Readers (rt-app JSON, scenario TOML, traces) produce it, the simulator executes it.
//! Everything a program refers to by name (mutexes, conditions, barriers ...) is an index into
//! [`Workload::objects`]; tasks refer to each other by index into [`Workload::tasks`].
mod group;

pub use group::{Bandwidth, GroupSettings, GroupShare, GroupSpec, group_path};

use crate::balance::locality::TaskMemory;
use crate::time::Ns;
use crate::tune::{DomainKnob, Tune};
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
    /// Declared task groups. Groups that tasks name and nobody declares exist too, with the defaults.
    pub groups: Vec<GroupSpec>,
    /// Tasks of the root group are grouped by session (`sched_autogroup_enabled`): the instances of one definition are
    /// one session, its group `/autogroup-N` has the default shares, and N counts the definitions from 1.
    pub autogroup: bool,
    /// Sources of interrupts.
    pub interrupts: Vec<InterruptSource>,
    /// Changes made from outside at given times, ascending.
    pub timeline: Vec<TimelineEntry>,
    /// How long the workload says it lasts; `None`: until every task has ended, or as the user says.
    pub duration: Option<Ns>,
    /// The texts it was read from, which every [`Origin`] points into; empty if it was built by a program.
    pub sources: Vec<Source>,
}

/// A device that interrupts CPUs again and again, and takes their time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterruptSource {
    /// The CPUs it interrupts, each at the same times.
    pub cpus: Vec<u32>,
    /// Time from one interrupt to the next.
    pub every: Ns,
    /// How long each takes; less than `every`.
    pub run: Ns,
    /// When the first one comes.
    pub start: Ns,
    /// Where it was written.
    pub origin: Option<Origin>,
}

/// A text a workload was read from, kept so that whoever refuses a part of it can show the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as messages print it.
    pub name: String,
    /// All of its text.
    pub text: String,
}

/// Where in a [`Source`] something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Index into [`Workload::sources`].
    pub source: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
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

/// How the instances of a definition are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// `NAME`, or `NAME-0`, `NAME-1` ... if the definition starts several.
    #[default]
    NumberedIfSeveral,
    /// `NAME`, all alike.
    Plain,
    /// `NAME-(first)`, `NAME-(first + 1)` ...; the instances a fork creates get a further `-0`, `-1` ...
    NumberedFrom(u32),
}

/// One task definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSpec {
    /// Name; [`TaskSpec::naming`] says how its instances are told apart.
    pub name: String,
    /// How its instances are called.
    pub naming: Naming,
    /// How many instances start with the workload; 0 for definitions that are only forked.
    pub instances: u32,
    /// Which CPU forks the instances that start with the workload.
    pub start_cpu: u32,
    /// The task sleeps until this time after the start before its first operation.
    pub delay: Ns,
    /// Further delay per instance: instance `i` starts `i * stagger` later.
    pub stagger: Ns,
    /// Its instances are kernel threads that belong to the one CPU they may run on.
    pub percpu_kthread: bool,
    /// Attributes at the start.
    pub attributes: Attributes,
    /// Its instances, and those of all definitions that say the same, are threads of this process. `None`: each instance
    /// is a process of its own, also one that is forked.
    pub process: Option<String>,
    /// What it does.
    pub program: Program,
    /// Where it was defined.
    pub origin: Option<Origin>,
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
    /// Memory nodes its memory comes from, ascending; the empty list means all.
    pub memory_nodes: Option<Vec<u32>>,
    /// What NUMA balancing has found out about the task's memory.
    pub memory: Option<TaskMemory>,
}

impl Attributes {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Scheduling policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

impl Policy {
    /// The scheduling class.
    #[inline]
    pub fn class(self) -> Class {
        match self {
            Self::Normal | Self::Batch | Self::Idle => Class::Fair,
            Self::Fifo(_) | Self::RoundRobin(_) => Class::RealTime,
            Self::Deadline { .. } => Class::Deadline,
        }
    }

    /// The priority of a real-time policy, 1..=99; the higher is the more urgent. 0 for the others.
    #[inline]
    pub fn priority(self) -> u8 {
        match self {
            Self::Fifo(priority) | Self::RoundRobin(priority) => priority,
            Self::Normal | Self::Batch | Self::Idle | Self::Deadline { .. } => 0,
        }
    }

    /// What is wrong with its parameters, if anything: `sched_setattr` would refuse them.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Normal | Self::Batch | Self::Idle => None,
            Self::Fifo(priority) | Self::RoundRobin(priority) => {
                (!(1..=99).contains(&priority)).then_some("a real-time priority is from 1 to 99")
            }
            Self::Deadline { runtime, .. } if runtime < 1024 => {
                Some("the runtime of a deadline task is at least 1024ns")
            }
            Self::Deadline { runtime, deadline, .. } if runtime > deadline => {
                Some("the runtime of a deadline task is at most its deadline")
            }
            Self::Deadline { deadline, period, .. } if deadline > period => {
                Some("the deadline of a deadline task is at most its period")
            }
            Self::Deadline { period, .. } if !(100_000..=1 << 32).contains(&period) => {
                Some("the period of a deadline task is from 100us to 4.29s")
            }
            Self::Deadline { .. } => None,
        }
    }
}

/// Scheduling classes, the more urgent the later. Only the stopper threads are above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Normal, batch and idle-policy tasks share a CPU by weight.
    Fair,
    /// FIFO and round-robin tasks: the highest priority runs.
    RealTime,
    /// Deadline tasks: the earliest deadline runs.
    Deadline,
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
    /// Where the phase was written.
    pub origin: Option<Origin>,
    /// Where each operation was written: one entry per operation, or empty if that is unknown.
    pub op_origins: Vec<Origin>,
}

impl Phase {
    /// Where operation `index` was written, or else where the phase was.
    pub fn op_origin(&self, index: usize) -> Option<Origin> {
        self.op_origins.get(index).copied().or(self.origin)
    }
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
    /// Change attributes of every living instance of a definition.
    SetOf {
        /// The definition.
        task: SpecId,
        /// The new attributes.
        attributes: Attributes,
    },
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
    /// Where it was written.
    pub origin: Option<Origin>,
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
    /// Change a task group.
    SetGroup {
        /// Its path.
        path: String,
        /// The new settings; whether a group is of the idle kind cannot be changed.
        settings: GroupSettings,
    },
    /// Write a tunable or a feature of the kernel: not [`Tune::Domain`] or [`Tune::Shares`], whose names are resolved
    /// when the machine is known.
    Tune(Tune),
    /// Write a value of every domain of a level.
    Domain {
        /// The level's name, in capitals; none: all levels.
        level: Option<String>,
        /// Which value.
        knob: DomainKnob,
        /// The value.
        value: u32,
    },
    /// CPUs go online or offline, in this order.
    Hotplug {
        /// Their numbers.
        cpus: Vec<u32>,
        /// Whether they are to be online.
        online: bool,
    },
    /// Divide the machine into sets of CPUs that balance among themselves only, as cpuset partitions do.
    Partitions {
        /// One set each; the CPUs that are in none of them are one more.
        sets: Vec<Vec<u32>>,
        /// CPUs that balance with nobody.
        isolated: Vec<u32>,
    },
}

/// Repetitions without any operation that takes time beyond which a program counts as never taking time.
pub const TIMELESS_REPEATS_MAX: u64 = 1 << 20;

/// The loop of a program that repeats (nearly) forever without taking time, which a simulator cannot execute.
///
/// That is some endless loop of the program, or one of more than [`TIMELESS_REPEATS_MAX`] rounds, which contains no
/// operation that takes or waits for time.
///
/// `Some(Some(i))` for phase `i`, `Some(None)` for the sequence of phases.
pub fn timeless_loop(program: &Program) -> Option<Option<usize>> {
    let timeless =
        |phase: &Phase| !(phase.repeat != Repeat::Times(0) && phase.ops.iter().any(Op::takes_time));
    let rounds = |repeat: Repeat| match repeat {
        Repeat::Times(times) => u64::from(times),
        Repeat::Forever => u64::MAX,
    };
    let endless = |phase: &Phase| timeless(phase) && rounds(phase.repeat) > TIMELESS_REPEATS_MAX;
    if let Some(index) = program.phases.iter().position(endless) {
        return Some(Some(index));
    }
    let all_timeless = program.phases.iter().all(timeless);
    let per_round = program.phases.iter().fold(1u64, |sum, phase| sum.saturating_add(rounds(phase.repeat)));
    let total = rounds(program.repeat).saturating_mul(per_round);
    (all_timeless && total > TIMELESS_REPEATS_MAX).then_some(None)
}

impl Op {
    /// Whether it takes time, may wait for another task, or ends the task.
    pub fn takes_time(&self) -> bool {
        match self {
            Self::Run(ns) | Self::RunUntilElapsed(ns) | Self::Sleep(ns) => *ns > 0,
            Self::Timer(timer) => timer.period > 0,
            Self::Wait { .. }
            | Self::SignalAndWait { .. }
            | Self::Barrier(_)
            | Self::SemWait(_)
            | Self::Receive(_)
            | Self::Lock(_)
            | Self::Exit => true,
            Self::Unlock(_)
            | Self::Signal(_)
            | Self::Broadcast(_)
            | Self::SemPost(_)
            | Self::Send { .. }
            | Self::Fork(_)
            | Self::Exec
            | Self::Yield
            | Self::Set(_)
            | Self::SetOf { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn program(repeat: Repeat, phases: &[(Repeat, &[Op])]) -> Program {
        let phase = |(repeat, ops): &(Repeat, &[Op])| Phase {
            repeat: *repeat,
            ops: ops.to_vec(),
            ..Phase::default()
        };
        Program { phases: phases.iter().map(phase).collect(), repeat }
    }

    #[test]
    fn a_loop_that_takes_no_time_is_found_whether_endless_or_merely_huge() {
        use Repeat::{Forever, Times};
        let run: &[Op] = &[Op::Run(1)];
        let idle: &[Op] = &[Op::Yield, Op::Run(0)];
        let cases = vec![
            (program(Forever, &[(Times(1), run)]), None),
            (program(Forever, &[(Times(1), idle)]), Some(None)),
            (program(Forever, &[(Times(1), idle), (Times(2), run)]), None),
            (program(Forever, &[(Times(1), idle), (Times(0), run)]), Some(None)),
            (program(Times(1), &[(Times(1), run), (Forever, idle)]), Some(Some(1))),
            (program(Times(1), &[(Times(4_000_000_000), idle)]), Some(Some(0))),
            (program(Times(2000), &[(Times(2000), idle)]), Some(None)),
            (program(Times(1000), &[(Times(1000), idle)]), None),
            (program(Forever, &[]), Some(None)),
            (program(Times(3), &[]), None),
        ];
        for (index, (program, expected)) in cases.into_iter().enumerate() {
            assert_eq!(timeless_loop(&program), expected, "case {index}");
        }
    }
}
