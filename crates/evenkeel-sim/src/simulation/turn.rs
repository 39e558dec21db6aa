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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Time that what was just handled takes, not yet among the debts.
    pub(super) owed: Ns,
    /// By CPU, what has begun there and is not over.
    debts: Vec<Debt>,
}

/// Time that code which has begun on a CPU still takes. It passes in the CPU's turns alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    /// Of code that is not interrupted: nothing else happens on the CPU before it is over.
    hard: Ns,
    /// Of softirqs: interrupts are served meanwhile, everything else waits.
    soft: Ns,
}

impl Turn {
    pub(super) fn new(rules: Turns, ncpus: usize) -> Self {
        Self {
            rules,
            cpu: 0,
            since: 0,
            until: 0,
            bound: 0,
            clock: 0,
            owed: 0,
            debts: vec![Debt::default(); ncpus],
        }
    }
}

/// Whether an event is an interrupt.
fn is_interrupt(timer: Timer) -> bool {
    match timer {
        Timer::Cpu(kind, _) => match kind {
            Kind::WakeList | Kind::NohzKick | Kind::Hrtick | Kind::Unthrottle | Kind::Tick => true,
            Kind::LimitTimer => true,
            Kind::Softirq | Kind::IdleEnter | Kind::Resched | Kind::Stopper | Kind::Burst => false,
        },
        Timer::Task(_) => true,
        Timer::Timeline | Timer::Checker | Timer::Device(_) | Timer::Group(..) => false,
    }
}

impl<O: Observer> Simulation<O> {
    /// The next event that takes effect at or before `until`, with the time at which it does.
    pub(super) fn next_in_turn(&mut self, until: Ns) -> Option<(Ns, Timer)> {
        loop {
            self.note_debt();
            let &Turn { cpu, clock, until: end, .. } = self.turn.as_ref()?;
            if clock > until {
                return None;
            }
            if let Some(timer) = self.machine_event(clock) {
                return Some((clock, timer));
            }
            if clock < end {
                if self.pay_debt() {
                    continue;
                }
                let cpu_id = CpuId(cpu as u32);
                let busy = self.cpus[cpu].running.is_some();
                let horizon = if busy { end - 1 } else { clock };
                if let Some((time, timer)) = self.due_on(cpu_id, clock).filter(|&(time, _)| time <= horizon) {
                    if time > until {
                        return None;
                    }
                    self.set_clock(time);
                    return Some((time, timer));
                }
                if busy {
                    if end > until {
                        return None;
                    }
                    self.set_clock(end);
                }
            }
            self.stop_working(CpuId(cpu as u32));
            if !self.pass_turn(until) {
                return None;
            }
        }
    }

    fn set_clock(&mut self, clock: Ns) {
        if let Some(turn) = &mut self.turn {
            turn.clock = clock;
        }
    }

    /// What was handled last was handled by the CPU whose turn it is.
    fn note_debt(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.debts[turn.cpu].hard += core::mem::take(&mut turn.owed);
        }
    }

    /// What was just handled was a softirq.
    pub(super) fn owes_softly(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.debts[turn.cpu].soft += core::mem::take(&mut turn.owed);
        }
    }

    /// Lets the clock run for what is under way on the CPU whose turn it is, up to the end of the turn or to the next
    /// event of the machine; whether there was anything.
    fn pay_debt(&mut self) -> bool {
        let machine = self.machine_timers().filter_map(|timer| self.timers.armed(timer)).min();
        let Some(&Turn { cpu: place, clock, until, .. }) = self.turn.as_ref() else { return false };
        let cpu = CpuId(place as u32);
        let interrupt = self.interrupts_on(cpu).filter_map(|timer| self.timers.armed(timer)).min();
        let wanted =
            self.cpus[place].running.is_none() && self.timers.armed(Timer::Cpu(Kind::Resched, cpu)).is_some();
        let pass = self.params.cost.pass;
        let Some(turn) = &mut self.turn else { return false };
        let debt = &mut turn.debts[place];
        let mut end = machine.map_or(until, |time| time.clamp(clock + 1, until));
        let paid = if debt.hard > 0 {
            let paid = debt.hard.min(end - clock);
            debt.hard -= paid;
            paid
        } else {
            if wanted {
                // Balancing for others ends with the pass under way.
                debt.soft = debt.soft.min(pass);
            }
            end = end.min(interrupt.map_or(end, |time| time.max(clock)));
            let paid = debt.soft.min(end - clock);
            debt.soft -= paid;
            paid
        };
        turn.clock += paid;
        let burst = Timer::Cpu(Kind::Burst, cpu);
        // Meanwhile its program, if that works, makes no progress.
        if let (true, Some(_), Some(end)) = (paid > 0, self.working(cpu), self.timers.armed(burst)) {
            self.timers.arm(burst, end + paid);
        }
        paid > 0
    }

    /// Gives the turn to the next CPU that can use it; false if nothing happens up to `until`.
    fn pass_turn(&mut self, until: Ns) -> bool {
        let ncpus = self.cpus.len();
        let Some(turn) = &self.turn else { return false };
        let (clock, bound, mut last) = (turn.clock, turn.bound, turn.cpu);
        if clock >= bound {
            last = (self.jitter.next_u64() % ncpus as u64) as usize;
        }
        let usable = |cpu: &usize| {
            self.cpus[*cpu].running.is_some()
                || self.turn.as_ref().is_some_and(|turn| turn.debts[*cpu] != Debt::default())
                || self.due_on(CpuId(*cpu as u32), clock).is_some_and(|(time, _)| time <= clock)
        };
        let next = (1..=ncpus).map(|step| (last + step) % ncpus).find(usable);
        let bound = self.next_timer(clock);
        // All idle: the clock jumps.
        let jump = || {
            let all =
                (0..ncpus).filter_map(|cpu| self.due_on(CpuId(cpu as u32), clock)).map(|(time, _)| time);
            let fixed = self.machine_timers().filter_map(|timer| self.timers.armed(timer));
            all.chain(fixed).min().filter(|&time| time <= until).map(|time| time.max(clock))
        };
        let jump = if next.is_none() { jump() } else { None };
        let Some(turn) = &mut self.turn else { return false };
        turn.cpu = next.unwrap_or(last);
        turn.bound = bound;
        turn.clock = jump.unwrap_or(clock);
        turn.since = turn.clock;
        turn.until = turn.clock;
        if let Some(cpu) = next {
            turn.until += ((bound - clock) / ncpus as u64).max(turn.rules.turn_min);
            self.start_working(CpuId(cpu as u32));
        }
        next.is_some() || jump.is_some()
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
        let kinds = [Kind::Softirq, Kind::IdleEnter, Kind::Resched, Kind::Stopper];
        let kinds = kinds.into_iter().map(|kind| Timer::Cpu(kind, cpu));
        let program = core::iter::once(Timer::Cpu(Kind::Burst, cpu));
        let armed = kinds.chain(self.interrupts_on(cpu)).chain(program);
        let interrupts_only = self.turn.as_ref().is_some_and(|turn| turn.debts[cpu.index()].soft > 0);
        let armed = armed.filter(|timer| !interrupts_only || is_interrupt(*timer));
        let armed = armed.filter_map(|timer| Some((self.timers.armed(timer)?.max(clock), timer)));
        // The first of equals wins.
        armed.min_by_key(|&(time, _)| time)
    }

    /// The interrupts of `cpu`.
    fn interrupts_on(&self, cpu: CpuId) -> impl Iterator<Item = Timer> {
        let kinds =
            KINDS.into_iter().map(move |kind| Timer::Cpu(kind, cpu)).filter(|&timer| is_interrupt(timer));
        let tasks = (0..self.instances.len()).filter(move |&index| self.instances[index].timer_cpu == cpu);
        kinds.chain(tasks.map(|index| Timer::Task(TaskId::from_index(index))))
    }

    /// When the next timer of the machine expires after `clock`: ticks, timers of tasks, the device.
    fn next_timer(&self, clock: Ns) -> Ns {
        let Turns { device_period, device_phase, .. } =
            self.turn.as_ref().map_or(Turns::RECORDED, |turn| turn.rules);
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
        let Some(clock) = self.turn.as_ref().map(|turn| turn.clock) else { return };
        if let Some(left) = self.working(cpu) {
            self.timers.arm(Timer::Cpu(Kind::Burst, cpu), clock + left);
        }
    }

    /// The turn of `cpu` ends: if its program works, that rests.
    fn stop_working(&mut self, cpu: CpuId) {
        let burst = Timer::Cpu(Kind::Burst, cpu);
        let clock = self.turn.as_ref().map(|turn| turn.clock);
        if let (Some(_), Some(end), Some(clock)) = (self.working(cpu), self.timers.armed(burst), clock) {
            let left = end.saturating_sub(clock);
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
