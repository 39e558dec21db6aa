//! CPUs that execute one at a time, in turn, under one clock: the machine on which the recordings were made.
//!
//! An emulator with one host thread runs the CPUs of its guest round robin. Its clock counts what they execute, so
//! while one CPU has its turn, time passes for all of them. To a scheduler that looks like this:
//!
//! * **Time** is common. A task that is on a CPU "runs" by the clock, in and out of the CPU's turns; a program that
//!   measures its own running time (all those of the recordings do) is done when the clock says so.
//! * **Work** is not. What is counted in instructions, such as the fork of a process, progresses only during the
//!   CPU's own turns: with `n` busy CPUs at one `n`th of the speed.
//! * **Events wait.** A tick, an interrupt or the end of a burst takes effect in the CPU's next turn. Idle CPUs pass
//!   their turn on unless an event is due; when all are idle, the clock jumps to the next event.
//! * **The length of a turn** is the time to the next timer of the machine divided by the number of CPUs, busy or not.
//!   So turns shrink geometrically towards each timer: on 8 CPUs with 2.93 ms left they last 366, 320, 280, 245 ... us,
//!   and the ticks of 8 busy CPUs, due at 0, happen at 0, 366, 686, 966, 1211, 1425, 1612 and 1777 us. Exactly these
//!   offsets are seen in the recordings (0.01, 0.38, 0.70, 0.98, 1.22, 1.44, 1.62, 1.79 ms), on a CPU a different one
//!   at each tick. That moves the end of a 2.8 ms slice to the next tick or the one after it, and makes an interrupt
//!   to another CPU take anything up to a round.
//! * **Who is next** when a timer expires is left to dice: the turns before it are shorter than the code of one loop,
//!   and in the recordings each CPU is equally often the first to see a tick, whoever was the last time.
//! * **Handling costs time** ([`Costs`]): the code of the kernel and of the probes that recorded it. That time passes in the
//!   CPU's own turns: code that is under way when a turn ends goes on in the next one, half a millisecond later on eight
//!   busy CPUs. Until it is over nothing else happens on its CPU, except that softirqs are interrupted.
//! * **Balancing costs what it does**: each pass what the cost model of the run says. A CPU that balances for seven idle
//!   ones makes some ten passes of 75 us on the recorded machine, and a task that is woken there meanwhile waits for the
//!   pass under way. That is what spreads the periodic tasks of `duty`: without it they settle on CPUs of their own and
//!   move 18 times in a second, with it 40 to 300 times; recorded are 203 to 344.
//! * **A choice takes time before it shows.** The CPU of a woken task is chosen and recorded first (42 us), then the task is queued.
//!   The other way round the waker would run on beside its wakee and pay for it in virtual time.
//!
//! Left out: that a turn may end early. In the recordings of v6.12 and v6.18 a task whose running time is over shortly before a
//! timer of the machine waits longer for its turn than here (0.45 against 0.26 ms), so pairs that wake each other are slower there.
use evenkeel::time::{MS, Ns, US};

/// How CPUs share the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// Every CPU executes all the time, as on hardware.
    #[default]
    Parallel,
    /// One at a time, in turn.
    InTurn(Turns),
}

/// Parameters of [`Execution::InTurn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Period of a timer of the machine that has nothing to do with scheduling but bounds turns; 0: there is none.
    pub device_period: Ns,
    /// When it first expires.
    pub device_phase: Ns,
    /// The shortest turn. From how late timers of idle CPUs are in the recordings of `duty`: 0.18 to 0.23 ms in the median.
    pub turn_min: Ns,
    /// What handling costs.
    pub costs: Costs,
}

/// Time that code takes on the CPU that executes it, in ns of its own turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// A scheduler tick.
    pub tick: Ns,
    /// Any other interrupt.
    pub interrupt: Ns,
    /// The balancing softirq.
    pub softirq: Ns,
    /// Waking a task.
    pub wake: Ns,
    /// Choosing a CPU for it; a task that is still queued, delayed, stays where it is.
    pub select: Ns,
    /// A context switch.
    pub switch: Ns,
    /// Work of a task to create another.
    pub fork: Ns,
    /// Work of a new task before its program begins.
    pub child: Ns,
    /// Work of a task on its way to sleep, up to the switch.
    pub block: Ns,
    /// Work of a task on its way to end.
    pub exit: Ns,
    /// Work of a task to change attributes of others.
    pub change: Ns,
}

impl Turns {
    /// The machine of the recorded traces where events were recorded.
    ///
    /// From the recordings: tick to the switch it causes 9 us; waking to woken 5 us; a switch 5 us; a fork 0.7 ms on an
    /// otherwise idle machine; a new process 0.2 to 0.5 ms until it sleeps for the first time; from the end of a
    /// periodic task's running time to its sleep 11 us where its turn does not end, else 0.12 ms in the median; freeing
    /// sixteen tasks from their CPU 15 ms with two busy CPUs.
    pub const RECORDED: Self = Self {
        device_period: 4 * MS,
        device_phase: 0,
        turn_min: 40 * US,
        costs: Costs {
            tick: 9 * US,
            interrupt: 3 * US,
            softirq: 5 * US,
            wake: 5 * US,
            select: 0,
            switch: 5 * US,
            fork: 700 * US,
            child: 300 * US,
            block: 8 * US,
            exit: 450 * US,
            change: 450 * US,
        },
    };

    /// The same where probes recorded the decisions of the balancer as well.
    ///
    /// From the recordings: waking to woken 47 us where a decision was recorded, 5 us where a delayed task stayed; a fork
    /// 1 ms. The records of passes are part of the cost model.
    pub const RECORDED_WITH_DECISIONS: Self =
        Self { costs: Costs { select: 42 * US, fork: MS, ..Self::RECORDED.costs }, ..Self::RECORDED };
}
