//! Deadline tasks: each has a runtime in every period, and the earliest deadline runs first, above all real-time tasks.
//!
//! A task with 10 ms of runtime, a deadline of 30 ms and a period of 100 ms that wakes up at 0 competes with the
//! deadline 30 ms. If it wants to run for longer than 10 ms it is *throttled*: it waits until 100 ms, where it gets
//! another 10 ms and the deadline 130 ms. Running time is accounted at ticks, so with one every 4 ms it may have run
//! for 12 ms, and has 8 ms the next time. A task that wakes up before its old deadline keeps deadline and remaining runtime,
//! unless it would get more than its share by that: if `runtime left / time left > runtime / deadline`, it starts anew with
//! the present time; if its deadline is shorter than its period, what is left is cut to its share instead, and one that
//! wakes up after its deadline but within its period waits for the next.
//!
//! In the kernel: `deadline.c`, without its placement (see [`urgent`](crate::select::urgent)) and the server for fair tasks
//! (see [`fair_server`](crate::fair_server)). Specified by `sched(7)`; spec 2 §15.1. Left out: admission control (whether
//! all together fit is the host's question), reclaiming of unused runtime, overrun signals, priority inheritance, and the
//! timer that enforces runtime between ticks, which is off by default. A kernel refuses deadline tasks with
//! an affinity narrower than their partition; here they may have one.
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, TaskId};
use crate::observe::Observer;
use crate::queue_rules::StarvationGuard;
use crate::sched::Sched;
use crate::task::OnRq;
use crate::time::Ns;
use crate::workload::{Class, Policy};
use alloc::vec::Vec;

/// Where a deadline task is in its present period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DlState {
    /// Its absolute deadline, ns.
    pub deadline: Ns,
    /// Runtime left, ns; below 0 it has overrun.
    pub runtime: i64,
    /// It has none left and waits for the next period.
    pub throttled: bool,
    /// When that begins.
    pub replenish_at: Ns,
}

/// The parameters of a deadline policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlParams {
    /// Runtime per period, ns.
    pub runtime: Ns,
    /// Deadline, relative to the start of a period, ns.
    pub deadline: Ns,
    /// Period, ns.
    pub period: Ns,
}

impl DlState {
    /// A period begins now.
    fn begin(&mut self, params: &DlParams, now: Ns) {
        self.deadline = now + params.deadline;
        self.runtime = params.runtime as i64;
    }

    /// The task wakes up: it keeps what it has, unless that is over or more than its share. True if it has to wait for its
    /// next period.
    pub fn wake(&mut self, params: &DlParams, now: Ns) -> bool {
        let constrained = params.deadline < params.period;
        let next = (self.deadline + params.period).saturating_sub(params.deadline);
        if self.deadline <= now {
            if constrained && self.deadline != 0 && now < next {
                self.replenish_at = next;
                self.runtime = self.runtime.min(0);
                return true;
            }
            self.begin(params, now);
        } else if self.exceeds_share(params, now) {
            if constrained {
                let left = u128::from(self.deadline - now) * u128::from(params.runtime);
                self.runtime = (left / u128::from(params.deadline)) as i64;
            } else {
                self.begin(params, now);
            }
        }
        false
    }

    /// Whether the runtime left in the time left is more than the task's share.
    pub fn exceeds_share(&self, params: &DlParams, now: Ns) -> bool {
        let left = u128::from(self.runtime.max(0).unsigned_abs()) * u128::from(params.deadline);
        left > u128::from(self.deadline - now) * u128::from(params.runtime)
    }

    /// A period begins after the runtime was used up: overruns are paid back.
    pub fn replenish(&mut self, params: &DlParams, now: Ns) {
        while self.runtime <= 0 {
            self.deadline += params.period;
            self.runtime += params.runtime as i64;
        }
        if self.deadline < now {
            self.begin(params, now);
        }
    }
}

/// The deadline tasks of a CPU (`struct dl_rq`).
#[derive(Clone, Debug, Default)]
pub struct DlRq {
    /// Those that may run, the running one included: the earliest deadline first.
    pub queue: Vec<TaskId>,
    /// Those that wait for their next period, also asleep.
    pub withheld: Vec<TaskId>,
}

impl<O: Observer> Sched<O> {
    fn dl_params(&self, task: TaskId) -> DlParams {
        match self.tasks[task].policy {
            Policy::Deadline { runtime, deadline, period } => DlParams { runtime, deadline, period },
            other => unreachable!("{task:?} has the policy {other:?}"),
        }
    }

    /// A task joins: it wakes up, is new, or comes from another CPU or class.
    pub(crate) fn enqueue_task_dl(&mut self, cpu: CpuId, task: TaskId, flags: Enqueue) {
        let params = self.dl_params(task);
        let now = self.rqs[cpu.index()].clock;
        let starts = flags.intersects(Enqueue::WAKEUP | Enqueue::INITIAL);
        let dl = &mut self.tasks[task].dl;
        if dl.throttled {
            self.set_throttled(task, true);
            if !self.rqs[cpu.index()].dl.withheld.contains(&task) {
                self.rqs[cpu.index()].dl.withheld.push(task);
                self.arm_limit_timer(cpu);
            }
        } else if (starts || dl.deadline == 0) && dl.wake(&params, now) {
            self.withhold(cpu, task);
        } else {
            self.queue_dl(cpu, task);
        }
    }

    /// A task leaves; one that only sleeps still waits for its next period, if it did.
    pub(crate) fn dequeue_task_dl(&mut self, cpu: CpuId, task: TaskId, flags: Dequeue) {
        if self.rqs[cpu.index()].curr == Some(task) {
            self.update_curr_dl(cpu);
        }
        if !self.tasks[task].dl.throttled {
            self.unqueue_dl(cpu, task);
        } else if !flags.contains(Dequeue::SLEEP) {
            self.rqs[cpu.index()].dl.withheld.retain(|other| *other != task);
        }
        self.set_throttled(task, false);
    }

    /// A task that sleeps, or sleeps no more, is assigned to another CPU: so is its wait for the next period.
    pub(crate) fn move_withheld(&mut self, task: TaskId, dest: CpuId) {
        let p = &self.tasks[task];
        if p.policy.class() == Class::Deadline && p.dl.throttled && p.on_rq != OnRq::Migrating {
            let from = p.cpu;
            self.rqs[from.index()].dl.withheld.retain(|other| *other != task);
            self.rqs[dest.index()].dl.withheld.push(task);
            self.arm_limit_timer(dest);
        }
    }

    /// A task leaves the class, or life: nothing is left to wait for.
    pub(crate) fn forget_deadline(&mut self, task: TaskId) {
        let cpu = self.tasks[task].cpu;
        if core::mem::take(&mut self.tasks[task].dl).throttled {
            self.rqs[cpu.index()].dl.withheld.retain(|other| *other != task);
            self.set_throttled(task, false);
        }
    }

    fn queue_dl(&mut self, cpu: CpuId, task: TaskId) {
        let deadline = self.tasks[task].dl.deadline;
        let queue = &self.rqs[cpu.index()].dl.queue;
        let at = queue.partition_point(|other| self.tasks[*other].dl.deadline <= deadline);
        let rq = &mut self.rqs[cpu.index()];
        rq.dl.queue.insert(at, task);
        rq.urgent += 1;
        self.add_nr_running(cpu);
    }

    fn unqueue_dl(&mut self, cpu: CpuId, task: TaskId) {
        let rq = &mut self.rqs[cpu.index()];
        let at = rq.dl.queue.iter().position(|other| *other == task).expect("the task is queued here");
        rq.dl.queue.remove(at);
        rq.urgent -= 1;
        rq.nr_running -= 1;
    }

    /// From now on the task waits for its next period.
    fn withhold(&mut self, cpu: CpuId, task: TaskId) {
        self.tasks[task].dl.throttled = true;
        self.rqs[cpu.index()].dl.withheld.push(task);
        self.set_throttled(task, true);
        self.arm_limit_timer(cpu);
    }

    /// Accounts what runs; a task that has used up its runtime is throttled.
    pub(crate) fn update_curr_dl(&mut self, cpu: CpuId) {
        let Some(task) = self.rqs[cpu.index()].curr.filter(|&task| self.class(task) == Class::Deadline)
        else {
            return;
        };
        let delta = self.account_urgent(cpu, task);
        // Together with real-time tasks they must not starve fair ones.
        let rt = &mut self.rqs[cpu.index()].rt;
        if self.rules.queues.starvation_guard == StarvationGuard::Throttling && rt.period_ends.is_some() {
            rt.time += delta;
        }
        self.tasks[task].dl.runtime -= delta as i64;
        self.check_runtime(cpu, task);
    }

    /// Throttles the running task if it has no runtime left.
    fn check_runtime(&mut self, cpu: CpuId, task: TaskId) {
        let params = self.dl_params(task);
        let now = self.rqs[cpu.index()].clock;
        let dl = &mut self.tasks[task].dl;
        if dl.throttled || dl.runtime > 0 {
            return;
        }
        self.unqueue_dl(cpu, task);
        let dl = &mut self.tasks[task].dl;
        dl.replenish_at = dl.deadline - params.deadline + params.period;
        if dl.replenish_at <= now {
            dl.replenish(&params, now);
            self.queue_dl(cpu, task);
        } else {
            self.withhold(cpu, task);
        }
        self.resched_curr(cpu, cpu);
    }

    /// The running task gives up what is left of its runtime.
    pub(crate) fn yield_dl(&mut self, cpu: CpuId, task: TaskId) {
        self.update_curr_dl(cpu);
        let dl = &mut self.tasks[task].dl;
        dl.runtime = dl.runtime.min(0);
        self.check_runtime(cpu, task);
    }

    /// Those whose next period has begun may run again.
    pub(crate) fn replenish_due(&mut self, cpu: CpuId) {
        let now = self.now;
        let mut index = 0;
        while let Some(&task) = self.rqs[cpu.index()].dl.withheld.get(index) {
            if self.tasks[task].dl.replenish_at > now {
                index += 1;
                continue;
            }
            self.rqs[cpu.index()].dl.withheld.remove(index);
            let params = self.dl_params(task);
            let dl = &mut self.tasks[task].dl;
            dl.throttled = false;
            dl.replenish(&params, now);
            self.set_throttled(task, false);
            if self.tasks[task].on_rq == OnRq::Queued {
                self.queue_dl(cpu, task);
                self.wakeup_preempt(cpu, task, cpu, false);
                self.task_woken(cpu, task, cpu);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    const CAMERA: DlParams = DlParams { runtime: 10 * MS, deadline: 100 * MS, period: 100 * MS };

    #[test]
    fn a_task_keeps_its_deadline_only_as_long_as_it_fits() {
        let at = |runtime: u64, now: u64| {
            let mut dl = DlState { deadline: 200 * MS, runtime: (runtime * MS) as i64, ..DlState::default() };
            assert!(!dl.wake(&CAMERA, now * MS));
            (dl.deadline / MS, dl.runtime / MS as i64)
        };
        // 4 ms of work in 50 ms is less than one in ten... of 100 ms: exactly 5 ms would be.
        assert_eq!(at(4, 150), (200, 4));
        assert_eq!(at(5, 150), (200, 5));
        assert_eq!(at(6, 150), (250, 10), "more than its share: a new period");
        assert_eq!(at(6, 200), (300, 10), "its deadline is over");
        assert_eq!(at(0, 250), (350, 10));
    }

    #[test]
    fn a_deadline_before_the_period_never_gives_more_than_the_share() {
        let params = DlParams { runtime: 10 * MS, deadline: 20 * MS, period: 100 * MS };
        let mut dl = DlState { deadline: 120 * MS, runtime: 10 * MS as i64, ..DlState::default() };
        // 10 ms left, of which half is its share.
        assert!(!dl.wake(&params, 110 * MS));
        assert_eq!((dl.deadline, dl.runtime), (120 * MS, 5 * MS as i64));
        assert!(dl.wake(&params, 130 * MS), "past its deadline, within its period");
        assert_eq!((dl.replenish_at, dl.runtime), (200 * MS, 0));
        dl.replenish(&params, 200 * MS);
        assert_eq!((dl.deadline, dl.runtime), (220 * MS, 10 * MS as i64));
    }

    #[test]
    fn overruns_are_paid_back() {
        let mut dl = DlState { deadline: 100 * MS, runtime: -(2 * MS as i64), ..DlState::default() };
        dl.replenish(&CAMERA, 100 * MS);
        assert_eq!((dl.deadline, dl.runtime), (200 * MS, 8 * MS as i64));
        dl.runtime = -(15 * MS as i64);
        dl.replenish(&CAMERA, 200 * MS);
        assert_eq!((dl.deadline, dl.runtime), (400 * MS, 5 * MS as i64), "two periods for one overrun");
        dl.runtime = 0;
        dl.replenish(&CAMERA, 900 * MS);
        assert_eq!((dl.deadline, dl.runtime), (1000 * MS, 10 * MS as i64), "what lies behind is forgotten");
    }
}
