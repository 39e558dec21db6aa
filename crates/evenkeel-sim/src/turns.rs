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
//! * **Handling costs time** ([`Costs`]): the code of the kernel and of the probes that recorded it.
//!
//! Left out: that a turn may end early, and what the machine executes beside the workload (workqueues, RCU).
use crate::error::SimError;
use crate::simulation::{Doing, Simulation};
use crate::timers::{Kind, Timer};
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::observe::Observer;
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
    /// The shortest turn.
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
}

impl Turns {
    /// The machine of the recorded traces where events were recorded.
    ///
    /// From the recordings: tick to the switch it causes 9 us; waking to woken 5 us; a switch 5 us; a fork 0.7 ms on an
    /// otherwise idle machine; a new process 0.2 to 0.5 ms until it sleeps for the first time; from the end of a
    /// periodic task's running time to its sleep 0.12 ms with six busy CPUs, most of it waiting for the turn.
    pub const RECORDED: Self = Self {
        device_period: 4 * MS,
        device_phase: 0,
        turn_min: 5 * US,
        costs: Costs {
            tick: 9 * US,
            interrupt: 3 * US,
            softirq: 5 * US,
            wake: 5 * US,
            switch: 5 * US,
            fork: 700 * US,
            child: 300 * US,
            block: 8 * US,
            exit: 450 * US,
        },
    };

    /// The same where probes recorded the decisions of the balancer as well.
    ///
    /// From the recordings of 6.12: waking to woken 46 us where the decision was recorded; a fork 1 ms; children of
    /// bursts take 0.8 to 1 ms more than their running time, times the number of busy CPUs; from the end of a periodic
    /// task's running time to its sleep 0.37 ms with six busy CPUs.
    pub const RECORDED_WITH_DECISIONS: Self = Self {
        costs: Costs { softirq: 40 * US, wake: 46 * US, fork: MS, block: 50 * US, ..Self::RECORDED.costs },
        ..Self::RECORDED
    };
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) rules: Turns,
    /// The CPU.
    cpu: usize,
    /// Since when, and until when.
    since: Ns,
    until: Ns,
    /// The timer towards which turns shrink.
    bound: Ns,
    /// The clock.
    clock: Ns,
    /// Time that what was handled takes, not yet on the clock.
    pub(crate) owed: Ns,
}

impl Turn {
    pub(crate) fn new(rules: Turns) -> Self {
        Self { rules, cpu: 0, since: 0, until: 0, bound: 0, clock: 0, owed: 0 }
    }
}

impl<O: Observer> Simulation<O> {
    /// The next event that takes effect at or before `until`, with the time at which it does.
    pub(crate) fn next_in_turn(&mut self, until: Ns) -> Option<(Ns, Timer)> {
        loop {
            let mut turn = self.turn?;
            turn.clock += core::mem::take(&mut turn.owed);
            self.turn = Some(turn);
            if turn.clock > until {
                return None;
            }
            if let Some(timer) = self.machine_event(turn.clock) {
                return Some((turn.clock, timer));
            }
            let cpu = CpuId(turn.cpu as u32);
            let busy = self.cpus[turn.cpu].running.is_some();
            let horizon = if busy { turn.until.max(turn.clock) } else { turn.clock };
            if let Some((time, timer)) = self.due_on(cpu, turn.clock).filter(|&(time, _)| time <= horizon) {
                let time = time.max(turn.clock);
                if time > until {
                    return None;
                }
                self.turn = Some(Turn { clock: time, ..turn });
                return Some((time, timer));
            }
            if busy && turn.until > until {
                return None;
            }
            self.stop_working(cpu);
            let clock = if busy { turn.clock.max(turn.until) } else { turn.clock };
            if !self.pass_turn(clock, until) {
                return None;
            }
        }
    }

    /// Gives the turn to the next CPU that can use it; false if nothing happens up to `until`.
    fn pass_turn(&mut self, clock: Ns, until: Ns) -> bool {
        let Some(mut turn) = self.turn else { return false };
        let ncpus = self.cpus.len();
        turn.clock = clock;
        if clock >= turn.bound {
            turn.cpu = (self.jitter.next_u64() % ncpus as u64) as usize;
            turn.bound = self.next_timer(clock);
        }
        let usable = |cpu: &usize| {
            self.cpus[*cpu].running.is_some()
                || self.due_on(CpuId(*cpu as u32), clock).is_some_and(|(time, _)| time <= clock)
        };
        if let Some(cpu) = (1..=ncpus).map(|step| (turn.cpu + step) % ncpus).find(usable) {
            turn.bound = self.next_timer(clock);
            let left = turn.bound.saturating_sub(clock);
            let length = (left / ncpus as u64).max(turn.rules.turn_min);
            self.turn = Some(Turn { cpu, since: clock, until: clock + length, ..turn });
            self.start_working(CpuId(cpu as u32));
            return true;
        }
        // All idle: the clock jumps.
        let next = (0..ncpus).filter_map(|cpu| self.due_on(CpuId(cpu as u32), clock)).map(|(time, _)| time);
        let fixed = [Timer::Timeline, Timer::Checker].into_iter().filter_map(|timer| self.timers.armed(timer));
        match next.chain(fixed).min().filter(|&time| time <= until) {
            Some(time) => {
                self.turn = Some(Turn { clock: time.max(clock), since: clock, until: clock, ..turn });
                true
            }
            None => false,
        }
    }

    /// What belongs to no CPU takes effect on time.
    fn machine_event(&self, clock: Ns) -> Option<Timer> {
        let due = |timer: &Timer| self.timers.armed(*timer).is_some_and(|time| time <= clock);
        [Timer::Timeline, Timer::Checker].into_iter().find(due)
    }

    /// The next event of `cpu`: among those due by `clock` interrupts before programs, else the earliest.
    fn due_on(&self, cpu: CpuId, clock: Ns) -> Option<(Ns, Timer)> {
        const ORDER: [Kind; 7] =
            [Kind::Softirq, Kind::IdleEnter, Kind::Resched, Kind::Stopper, Kind::WakeList, Kind::NohzKick, Kind::Tick];
        let kinds = ORDER.into_iter().map(|kind| Timer::Cpu(kind, cpu));
        let tasks = (0..self.instances.len()).filter(|&index| self.instances[index].timer_cpu == cpu);
        let tasks = tasks.map(|index| Timer::Task(TaskId::from_index(index)));
        let program = core::iter::once(Timer::Cpu(Kind::Burst, cpu));
        let armed = kinds.chain(tasks).chain(program);
        let armed = armed.filter_map(|timer| Some((self.timers.armed(timer)?.max(clock), timer)));
        // The first of equals wins.
        armed.min_by_key(|&(time, _)| time)
    }

    /// When the next timer of the machine expires after `clock`: ticks, timers of tasks, the device.
    fn next_timer(&self, clock: Ns) -> Ns {
        let Turns { device_period, device_phase, .. } = self.turn.map_or(Turns::RECORDED, |turn| turn.rules);
        let device = match clock.checked_sub(device_phase) {
            _ if device_period == 0 => Ns::MAX,
            None => device_phase,
            Some(since) => device_phase + (since / device_period + 1) * device_period,
        };
        let ticks = (0..self.cpus.len() as u32).map(|cpu| Timer::Cpu(Kind::Tick, CpuId(cpu)));
        let tasks = (0..self.instances.len()).map(|index| Timer::Task(TaskId::from_index(index)));
        let times = ticks.chain(tasks).filter_map(|timer| self.timers.armed(timer));
        times.filter(|&time| time > clock).fold(device, Ns::min)
    }

    /// The turn of `cpu` begins: if its program works, that goes on.
    fn start_working(&mut self, cpu: CpuId) {
        let Some(turn) = self.turn else { return };
        if let Some(left) = self.working(cpu) {
            self.timers.arm(Timer::Cpu(Kind::Burst, cpu), turn.clock + left);
        }
    }

    /// The turn of `cpu` ends: if its program works, that rests.
    fn stop_working(&mut self, cpu: CpuId) {
        let burst = Timer::Cpu(Kind::Burst, cpu);
        if let (Some(_), Some(end), Some(turn)) = (self.working(cpu), self.timers.armed(burst), self.turn) {
            let left = end.saturating_sub(turn.until.max(turn.clock));
            if let Some(task) = self.cpus[cpu.index()].running {
                self.instances[task.index()].doing = Doing::Working(left);
            }
            self.timers.cancel(burst);
        }
    }

    /// The work left of the program on `cpu`, if it is at work.
    fn working(&self, cpu: CpuId) -> Option<Ns> {
        let task = self.cpus[cpu.index()].running?;
        match self.instances[task.index()].doing {
            Doing::Working(left) => Some(left),
            _ => None,
        }
    }

    /// Notes that handling something takes this long.
    #[inline]
    pub(crate) fn owe(&mut self, cost: impl FnOnce(&Costs) -> Ns) {
        if let Some(turn) = &mut self.turn {
            turn.owed += cost(&turn.rules.costs);
        }
    }

    /// Processes all events up to and including time `until`, in turn.
    pub(crate) fn run_in_turn(&mut self, until: Ns) -> Result<(), SimError> {
        while !self.finished() {
            match self.next_in_turn(until) {
                Some((time, timer)) => self.process(time, timer)?,
                None => {
                    self.now = self.now.max(until);
                    break;
                }
            }
        }
        Ok(())
    }
}
