//! CPUs that execute in turn: whose turn it is, and which event takes effect next ([`crate::turns`] says by which rules).
use super::{Doing, Simulation};
use crate::error::SimError;
use crate::timers::{KINDS, Kind, Timer};
use crate::turns::{Costs, Turns};
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::GroupTimer;
use evenkeel::observe::Observer;
use evenkeel::time::Ns;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) rules: Turns,
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
    pub(super) owed: Ns,
}

impl Turn {
    pub(super) fn new(rules: Turns) -> Self {
        Self { rules, cpu: 0, since: 0, until: 0, bound: 0, clock: 0, owed: 0 }
    }
}

impl<O: Observer> Simulation<O> {
    /// The next event that takes effect at or before `until`, with the time at which it does.
    pub(super) fn next_in_turn(&mut self, until: Ns) -> Option<(Ns, Timer)> {
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
        let fixed = self.machine_timers().filter_map(|timer| self.timers.armed(timer));
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
        self.machine_timers().find(due)
    }

    /// The timers that do not wait for the turn of a CPU; those of task groups are taken to be among them.
    fn machine_timers(&self) -> impl Iterator<Item = Timer> {
        let of_group =
            |group| [GroupTimer::Period, GroupTimer::Slack].map(|timer| Timer::Group(group, timer));
        let groups = (0..self.groups.all.len()).map(TgId::from_index).flat_map(of_group);
        [Timer::Timeline, Timer::Checker].into_iter().chain(groups)
    }

    /// The next event of `cpu`: among those due by `clock` interrupts before programs, else the earliest.
    fn due_on(&self, cpu: CpuId, clock: Ns) -> Option<(Ns, Timer)> {
        let kinds = KINDS.into_iter().filter(|&kind| kind != Kind::Burst).map(|kind| Timer::Cpu(kind, cpu));
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
        let of_cpu = |cpu| [Kind::Tick, Kind::Hrtick].map(|kind| Timer::Cpu(kind, CpuId(cpu)));
        let ticks = (0..self.cpus.len() as u32).flat_map(of_cpu);
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
    pub(super) fn owe(&mut self, cost: impl FnOnce(&Costs) -> Ns) {
        if let Some(turn) = &mut self.turn {
            turn.owed += cost(&turn.rules.costs);
        }
    }

    /// Processes all events up to and including time `until`, in turn.
    pub(super) fn run_in_turn(&mut self, until: Ns) -> Result<(), SimError> {
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
