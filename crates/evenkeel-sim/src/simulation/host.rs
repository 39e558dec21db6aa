//! Events of CPUs in, actions of the scheduler out: ticks, interrupts, softirqs, the stopper, idle, switches.
use super::{Doing, Simulation};
use crate::error::SimError;
use crate::metrics::Leaves;
use crate::params::StopTick;
use crate::timers::{Kind, Timer};
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::io::{Action, Input, IpiKind};
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::time::Ns;
use std::sync::Arc;

impl<O: Observer> Simulation<O> {
    pub(super) fn cpu_event(&mut self, kind: Kind, cpu: CpuId) -> Result<(), SimError> {
        if self.waits_for_handler(cpu, Timer::Cpu(kind, cpu)) {
            return Ok(());
        }
        match kind {
            Kind::Burst => return self.run_program(cpu),
            Kind::Softirq => {
                self.owe(|costs| costs.softirq);
                self.input(Input::Softirq { cpu });
                self.owes_softly();
            }
            Kind::Resched => self.input(Input::Schedule { cpu }),
            Kind::Stopper => self.input(Input::StopperRun { cpu }),
            Kind::IdleEnter => self.enter_idle(cpu),
            Kind::WakeList => self.interrupt(cpu, Input::Ipi { cpu, kind: IpiKind::WakeList }),
            Kind::NohzKick => self.interrupt(cpu, Input::Ipi { cpu, kind: IpiKind::NohzKick }),
            Kind::Unthrottle => self.interrupt(cpu, Input::Ipi { cpu, kind: IpiKind::Unthrottle }),
            Kind::Hrtick => self.interrupt(cpu, Input::Hrtick { cpu }),
            Kind::LimitTimer => self.interrupt(cpu, Input::LimitTimer { cpu }),
            Kind::Tick => self.tick(cpu),
        }
        Ok(())
    }

    /// Hands an input to the scheduler and carries out what it asks for.
    #[inline]
    pub(super) fn input(&mut self, input: Input) {
        self.sched.handle(self.now, input);
        while let Some(action) = self.sched.poll() {
            self.apply(action);
        }
        if let Some(turn) = &mut self.turn {
            turn.owed += self.sched.take_spent();
        }
        self.note_throttled();
        for (task, allowed) in self.sched.observer_mut().0.take_affinities() {
            self.note_affinity(task, allowed);
        }
    }

    /// The scheduler has given up the affinity of a task that no online CPU satisfies.
    fn note_affinity(&mut self, task: TaskId, allowed: Arc<CpuMask>) {
        let instance = &mut self.instances[task.index()];
        if instance.allowed != allowed {
            instance.allowed = allowed.clone();
            self.meters.repinned(self.now, task, self.pinned(&allowed));
        }
    }

    /// Tells the meters which tasks a limit of CPU time has stopped or let go on.
    fn note_throttled(&mut self) {
        for (task, throttled) in self.sched.observer_mut().0.take_throttled() {
            self.meters.set_throttled(self.now, task, throttled);
        }
    }

    /// An interrupt on `cpu`: on its way out it serves a pending reschedule, after the softirq.
    pub(super) fn interrupt(&mut self, cpu: CpuId, input: Input) {
        self.owe(|costs| if matches!(input, Input::Tick { .. }) { costs.tick } else { costs.interrupt });
        self.input(input);
        let resched = Timer::Cpu(Kind::Resched, cpu);
        if self.timers.armed(resched).is_some_and(|time| time > self.now) {
            let at = self.after_softirq(cpu, self.now + self.interrupt_left);
            self.timers.arm_by(Timer::Cpu(Kind::Resched, cpu), at);
        }
    }

    pub(super) fn tick(&mut self, cpu: CpuId) {
        let next = self.next_tick(cpu);
        self.timers.arm(Timer::Cpu(Kind::Tick, cpu), next);
        self.meters.tick(cpu);
        self.interrupt_left = self.params.delays.tick;
        self.interrupt(cpu, Input::Tick { cpu });
        self.interrupt_left = 0;
        self.watch(cpu);
        let state = &mut self.cpus[cpu.index()];
        if state.running.is_none() && self.params.stop_tick == StopTick::AfterIdleTick {
            state.idle_ticked = true;
            self.timers.arm_by(Timer::Cpu(Kind::IdleEnter, cpu), self.now);
        }
    }

    pub(super) fn enter_idle(&mut self, cpu: CpuId) {
        let stop_tick = match self.params.stop_tick {
            StopTick::AtOnce => true,
            StopTick::AfterIdleTick => self.cpus[cpu.index()].idle_ticked,
            StopTick::Never => false,
        };
        if stop_tick {
            self.timers.cancel(Timer::Cpu(Kind::Tick, cpu));
        }
        self.input(Input::IdleEnter { cpu, stop_tick });
    }

    /// Makes `cpu` tick from the next point of its grid on, unless it ticks already.
    pub(super) fn start_tick(&mut self, cpu: CpuId) {
        let timer = Timer::Cpu(Kind::Tick, cpu);
        if self.timers.armed(timer).is_none() {
            let next = self.next_tick(cpu);
            self.timers.arm(timer, next);
        }
    }

    /// The next tick of `cpu`: the next point of its grid, and as late as the dice say.
    pub(super) fn next_tick(&mut self, cpu: CpuId) -> Ns {
        let skew = if self.params.skew_tick { self.tick / 2 / self.cpus.len() as u64 } else { 0 };
        let offset = skew * u64::from(cpu.0);
        let passed = (self.now + self.tick - offset) / self.tick;
        let late = match self.params.tick_jitter.min(self.tick - 1) {
            0 => 0,
            most => self.tick_jitter.next_u64() % (most + 1),
        };
        passed * self.tick + offset + late
    }

    /// Carries out an action.
    pub(super) fn apply(&mut self, action: Action) {
        let delays = self.params.delays;
        match action {
            Action::Resched { from, cpu } => {
                let delay = if from == cpu { self.interrupt_left } else { delays.resched_ipi };
                let at = self.after_softirq(cpu, self.now + delay);
                self.timers.arm_by(Timer::Cpu(Kind::Resched, cpu), at);
            }
            Action::Ipi { to, kind, .. } => {
                let kind = match kind {
                    IpiKind::NohzKick => Kind::NohzKick,
                    IpiKind::WakeList => Kind::WakeList,
                    IpiKind::Unthrottle => Kind::Unthrottle,
                };
                self.timers.arm_by(Timer::Cpu(kind, to), self.now + delays.call_ipi);
            }
            Action::RaiseSoftirq { cpu } => {
                let at = self.now + self.interrupt_left + delays.softirq;
                self.timers.arm_by(Timer::Cpu(Kind::Softirq, cpu), at);
                let resched = Timer::Cpu(Kind::Resched, cpu);
                if self.timers.armed(resched).is_some_and(|time| time < at) {
                    self.timers.arm(resched, at);
                }
            }
            Action::StopCpu { cpu, .. } => {
                self.timers.arm_by(Timer::Cpu(Kind::Stopper, cpu), self.now + delays.stopper);
            }
            Action::HrtickStart { cpu, at } => {
                self.timers.arm(Timer::Cpu(Kind::Hrtick, cpu), at + delays.hrtick);
            }
            Action::GroupTimer { cpu, group, timer, at } => {
                self.group_timer_cpus[group.index()][timer as usize] = cpu;
                self.timers.arm(Timer::Group(group, timer), at.max(self.now));
            }
            Action::LimitTimer { cpu, at } => {
                self.timers.arm(Timer::Cpu(Kind::LimitTimer, cpu), at.max(self.now));
            }
            Action::Switched { cpu, prev, next } => self.switched(cpu, prev, next),
        }
    }

    /// When a reschedule of `cpu` wanted at `time` can happen: a softirq that is pending comes first.
    pub(super) fn after_softirq(&self, cpu: CpuId, time: Ns) -> Ns {
        self.timers.armed(Timer::Cpu(Kind::Softirq, cpu)).map_or(time, |softirq| time.max(softirq))
    }

    /// `cpu` has switched: one program stops, another goes on.
    pub(super) fn switched(&mut self, cpu: CpuId, prev: Option<TaskId>, next: Option<TaskId>) {
        let state = &mut self.cpus[cpu.index()];
        debug_assert_eq!(state.running, prev, "the scheduler and its host agree on who runs on {cpu:?}");
        let elapsed = self.now.saturating_sub(state.burst_since);
        let done = self.work_in(cpu, elapsed);
        let state = &mut self.cpus[cpu.index()];
        state.running = next;
        state.burst_since = self.now + self.params.switch_cost;
        state.idle_ticked = false;
        let leaves = prev.map(|task| {
            let doing = &mut self.instances[task.index()].doing;
            let leaves = match doing {
                Doing::Dead => Leaves::Ended,
                Doing::Blocked => Leaves::Sleeping,
                Doing::Next | Doing::Spinning(_) => Leaves::Runnable,
                Doing::Working(left) => {
                    let end = self.timers.armed(Timer::Cpu(Kind::Burst, cpu));
                    *left = end.map_or(*left, |end| end.saturating_sub(self.now));
                    Leaves::Runnable
                }
                Doing::Running(left) => {
                    *left = left.saturating_sub(done);
                    Leaves::Runnable
                }
            };
            (task, leaves)
        });
        self.meters.switched(self.now, cpu, leaves, next);
        self.owe(|costs| costs.switch);
        self.watch(cpu);
        let idle_enter = Timer::Cpu(Kind::IdleEnter, cpu);
        if next.is_some() {
            self.timers.cancel(idle_enter);
            self.start_tick(cpu);
            self.arm_burst(cpu);
        } else {
            self.timers.cancel(Timer::Cpu(Kind::Burst, cpu));
            self.timers.arm(idle_enter, self.now + self.params.delays.idle_entry);
        }
    }

    /// The checker looks at who waits where.
    pub(super) fn check_conservation(&mut self) {
        let idle = self.meters.integral.idle().clone();
        let mut waiting: Vec<Vec<(TaskId, &CpuMask)>> = vec![Vec::new(); self.cpus.len()];
        for (task, state) in self.sched.tasks().iter() {
            let instance = &self.instances[task.index()];
            let waits = !matches!(instance.doing, Doing::Blocked | Doing::Dead) && !state.throttled;
            if waits && self.cpus[state.cpu.index()].running != Some(task) {
                waiting[state.cpu.index()].push((task, &instance.allowed));
            }
        }
        let next = self.meters.checker.look(self.now, &idle, |cpu| waiting[cpu.index()].iter().copied());
        self.timers.arm(Timer::Checker, next);
    }

    /// Tells the checker, if it watches, how many tasks `cpu` has now.
    #[inline]
    pub(super) fn watch(&mut self, cpu: CpuId) {
        if self.meters.checker.watching() {
            let rq = &self.sched.rqs()[cpu.index()];
            let urgent = (rq.rt.runnable().len() + rq.dl.queue.len()) as u32;
            let runnable = self.sched.queues()[cpu.index()].h_nr_runnable() + urgent;
            self.meters.checker.seen(cpu, self.cpus[cpu.index()].running.is_none(), runnable);
        }
    }
}
