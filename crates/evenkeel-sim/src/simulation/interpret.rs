//! Executing task programs, step by step, as the CPU they run on reaches them.
//!
//! Steps that take no time follow each other at one instant until a step takes time, blocks, or the CPU has to
//! reschedule first; the rest then follows when the task runs again. So a wake-up that preempts its waker does so
//! before the waker's next step.
//!
//! Timers follow rt-app: `next` starts at the task's start, each use adds the period; if that is in the future the task
//! sleeps until then, otherwise the use was missed and, unless the timer is absolute, `next` becomes the present.
//! With a period of 10 ms, a use at 4 ms sleeps until 10; the next, at 26 ms, was missed by 6: relative timers go on
//! with 36, absolute ones with 30.
use super::{Doing, Simulation};
use crate::error::SimError;
use crate::program::{Clock, Level, Step};
use crate::timers::{Kind, Timer};
use crate::turns::Costs;
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::observe::Observer;
use evenkeel::time::Ns;
use evenkeel::workload::{Class, TIMELESS_REPEATS_MAX};

/// Steps one task may execute at one instant: beyond that time stands still for good.
const STEPS_AT_ONCE_MAX: u32 = TIMELESS_REPEATS_MAX as u32;

/// Whether the program goes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
}

impl<O: Observer> Simulation<O> {
    /// The program running on `cpu` has executed what it had to: it goes on.
    pub(super) fn run_program(&mut self, cpu: CpuId) -> Result<(), SimError> {
        let task = self.cpus[cpu.index()].running.expect("a burst ends on a CPU that runs a task");
        self.instances[task.index()].doing = Doing::Next;
        while self.step_program(cpu, task)? == Flow::Go {}
        Ok(())
    }

    fn step_program(&mut self, cpu: CpuId, task: TaskId) -> Result<Flow, SimError> {
        let now = self.now;
        let instance = &mut self.instances[task.index()];
        if instance.stepped_at != now {
            (instance.stepped_at, instance.steps) = (now, 0);
        }
        instance.steps += 1;
        let pc = instance.pc as usize;
        if instance.steps > STEPS_AT_ONCE_MAX {
            return Err(self
                .blame(self.instances[task.index()].spec)
                .no_time(self.program(task).origins[pc], Some(now)));
        }
        instance.pc += 1;
        let start = instance.start;
        let step = self.program(task).steps[pc];
        if self.turn.is_some() && self.takes_work(cpu, task, pc, step) {
            return Ok(Flow::Stop);
        }
        match step {
            Step::Start => return Ok(self.sleep_until(cpu, task, start)),
            Step::Run(0) | Step::Spin(0) | Step::Sleep(0) => {}
            Step::Run(work) => {
                self.execute(cpu, task, work);
                return Ok(Flow::Stop);
            }
            Step::Spin(span) => {
                self.instances[task.index()].doing = Doing::Spinning(now.saturating_add(span));
                self.arm_burst(cpu);
                return Ok(Flow::Stop);
            }
            Step::Sleep(Ns::MAX) => {
                self.launching -= usize::from(self.is_launcher(task));
                return Ok(self.block(cpu, task));
            }
            Step::Sleep(span) => return Ok(self.sleep_until(cpu, task, now.saturating_add(span))),
            Step::Timer { timer, period, absolute } => {
                return Ok(self.timer(cpu, task, timer, period, absolute));
            }
            Step::Again { level, times, to } => self.again(task, level, times, to),
            Step::Set(index) => {
                let change = self.programs.changes[index as usize].clone();
                self.change(cpu, task, &change);
                return Ok(self.flow_after_stopper(cpu, task));
            }
            Step::SetOf { spec, change } => {
                let change = self.programs.changes[change as usize].clone();
                self.change_instances(cpu, spec, &change);
            }
            Step::Exec => self.input(Input::Exec { cpu }),
            Step::Yield => self.input(Input::Yield { cpu }),
            Step::Exit => return Ok(self.exit(cpu, task)),
            Step::Fork(spec) => self.fork(cpu, task, pc, spec)?,
            _ => return self.synchronise(cpu, task, pc, step),
        }
        Ok(self.flow(cpu, task))
    }

    /// The steps that concern objects shared with other tasks.
    fn synchronise(&mut self, cpu: CpuId, task: TaskId, pc: usize, step: Step) -> Result<Flow, SimError> {
        let goes_on = match step {
            Step::Lock(mutex) => self.objects.lock(mutex, task),
            Step::Take(counter) => self.objects.take(counter, task),
            Step::Unlock(mutex) => {
                self.unlock(cpu, task, pc, mutex)?;
                true
            }
            Step::Wait { condition, mutex } => {
                self.objects.wait(condition, task);
                // Asleep from here on: whoever gets the mutex may signal at once.
                if let Some(mutex) = mutex {
                    self.unlock(cpu, task, pc, mutex)?;
                }
                false
            }
            Step::Signal(condition) => {
                let woken = self.objects.signal(condition);
                self.wake_all(cpu, woken, false);
                true
            }
            Step::Broadcast(condition) => {
                let woken = self.objects.broadcast(condition);
                self.wake_all(cpu, woken, false);
                true
            }
            Step::Post { counter, sync } => {
                let woken = self.objects.post(counter);
                self.wake_all(cpu, woken, sync);
                true
            }
            Step::Barrier(barrier) => match self.objects.arrive(barrier, task) {
                None => false,
                Some(woken) => {
                    self.wake_all(cpu, woken, false);
                    true
                }
            },
            _ => unreachable!("all other steps are executed before"),
        };
        Ok(if goes_on { self.flow(cpu, task) } else { self.block(cpu, task) })
    }

    /// Whether `task` goes on at once: it still runs on `cpu`, and the CPU has not to reschedule first.
    fn flow(&mut self, cpu: CpuId, task: TaskId) -> Flow {
        if self.cpus[cpu.index()].running != Some(task) {
            return Flow::Stop;
        }
        if self.timers.armed(Timer::Cpu(Kind::Resched, cpu)).is_some_and(|time| time <= self.now) {
            self.timers.arm(Timer::Cpu(Kind::Burst, cpu), self.now);
            return Flow::Stop;
        }
        Flow::Go
    }

    /// The same after a change of affinity, which may have asked the CPU's own stopper to move the task: then the task
    /// waits for that.
    fn flow_after_stopper(&mut self, cpu: CpuId, task: TaskId) -> Flow {
        match (self.flow(cpu, task), self.timers.armed(Timer::Cpu(Kind::Stopper, cpu))) {
            (Flow::Go, Some(time)) => {
                self.timers.arm(Timer::Cpu(Kind::Burst, cpu), time);
                Flow::Stop
            }
            (flow, _) => flow,
        }
    }

    fn block(&mut self, cpu: CpuId, task: TaskId) -> Flow {
        self.instances[task.index()].doing = Doing::Blocked;
        self.input(Input::Block { cpu });
        Flow::Stop
    }

    fn exit(&mut self, cpu: CpuId, task: TaskId) -> Flow {
        self.instances[task.index()].doing = Doing::Dead;
        self.alive -= usize::from((self.instances[task.index()].spec as usize) < self.own);
        self.input(Input::Exit { cpu });
        Flow::Stop
    }

    /// Sleeps until `time`, if that is in the future.
    fn sleep_until(&mut self, cpu: CpuId, task: TaskId, time: Ns) -> Flow {
        if time <= self.now {
            return Flow::Go;
        }
        self.instances[task.index()].timer_cpu = cpu;
        let expires = time.saturating_add(self.params.timer_slack);
        if expires < Ns::MAX {
            self.timers.arm(Timer::Task(task), expires);
        }
        self.block(cpu, task)
    }

    fn timer(&mut self, cpu: CpuId, task: TaskId, timer: Clock, period: Ns, absolute: bool) -> Flow {
        let now = self.now;
        let instance = &mut self.instances[task.index()];
        let next = match timer {
            Clock::Private(index) => &mut instance.timers[index as usize],
            Clock::Shared(object) => self.objects.timer(object),
        };
        let expiry = next.unwrap_or(instance.start).saturating_add(period);
        let missed = expiry <= now;
        *next = Some(if missed && !absolute { now } else { expiry });
        let slack = i64::try_from(i128::from(expiry) - i128::from(now)).unwrap_or(i64::MAX);
        let times = self.meters.task(task);
        times.timer_uses += 1;
        times.timer_misses += u64::from(slack < 0);
        times.timer_slack_min = Some(times.timer_slack_min.map_or(slack, |min| min.min(slack)));
        self.sleep_until(cpu, task, expiry)
    }

    fn again(&mut self, task: TaskId, level: Level, times: Option<u32>, to: u32) {
        if level == Level::Phase {
            self.meters.task(task).loops += 1;
        }
        let instance = &mut self.instances[task.index()];
        let rounds = &mut instance.rounds[level as usize];
        *rounds = rounds.saturating_add(1);
        if times.is_none_or(|times| *rounds < times) {
            instance.pc = to;
        } else {
            *rounds = 0;
        }
    }

    /// Where work counts: whether the task has to do the work of `step` first, which it then begins.
    fn takes_work(&mut self, cpu: CpuId, task: TaskId, pc: usize, step: Step) -> bool {
        let Some(turn) = &self.turn else { return false };
        let Costs { fork, child, exit, block, change, .. } = turn.rules.costs;
        let cost = match step {
            Step::Fork(_) => fork,
            Step::Start => child,
            Step::Exit => exit,
            Step::SetOf { .. } => change,
            Step::Sleep(_) | Step::Timer { .. } | Step::Lock(_) | Step::Take(_) => block,
            Step::Wait { .. } | Step::Barrier(_) => block,
            Step::Post { counter, .. } => {
                self.objects.next_waiter(counter).map_or(0, |woken| self.cost_of_choosing(woken))
            }
            _ => 0,
        };
        let instance = &mut self.instances[task.index()];
        if core::mem::replace(&mut instance.work_done, false) || cost == 0 {
            return false;
        }
        instance.work_done = true;
        instance.pc = pc as u32;
        instance.doing = Doing::Working(cost);
        self.arm_burst(cpu);
        true
    }

    fn fork(&mut self, cpu: CpuId, task: TaskId, pc: usize, spec: u32) -> Result<(), SimError> {
        let limit = self.params.tasks_max;
        if self.instances.len() >= limit {
            let blame = self.blame(self.instances[task.index()].spec);
            let place = blame.place(self.program(task).origins[pc]);
            return Err(SimError::TooManyTasks { task: blame.task.to_owned(), limit, at: self.now, place });
        }
        let parent = self.instances[task.index()].policy;
        let launcher = self.is_launcher(task);
        if !launcher
            && parent.class() == Class::Deadline
            && self.programs.initial[spec as usize].policy.is_none()
        {
            let blame = self.blame(self.instances[task.index()].spec);
            let what = "a deadline task can only fork tasks that have a policy of their own";
            return Err(blame.invalid(self.program(task).origins[pc], what));
        }
        self.create(cpu, Some(task), spec);
        Ok(())
    }

    fn unlock(&mut self, cpu: CpuId, task: TaskId, pc: usize, mutex: u32) -> Result<(), SimError> {
        match self.objects.unlock(mutex, task) {
            Ok(woken) => {
                self.wake_all(cpu, woken, false);
                Ok(())
            }
            Err(_) => {
                let blame = self.blame(self.instances[task.index()].spec);
                let name = &self.workload.objects[mutex as usize].name;
                let what =
                    format!("at {} ns it releases the mutex `{name}`, which it does not hold", self.now);
                Err(blame.invalid(self.program(task).origins[pc], what))
            }
        }
    }

    fn wake_all(&mut self, cpu: CpuId, woken: impl IntoIterator<Item = TaskId>, sync: bool) {
        for task in woken {
            let input = self.wake(cpu, task, WakeContext { interrupt: false, sync });
            self.input(input);
        }
    }
}
