//! Real-time tasks: FIFO and round-robin, by priority 1 to 99, above all fair tasks.
//!
//! The highest priority runs until it sleeps. Tasks of one priority run in order of arrival; one that is preempted stays
//! ahead of those that arrived after it. A round-robin task that has run for 100 ms of ticks goes behind the others of its
//! priority; one that yields does so at once.
//!
//! So that fair tasks do not starve, older kernels let real-time tasks have 950 ms of every second: with a tick of 4 ms
//! a task that never sleeps is stopped at 952 ms, goes on at the end of the second, and is charged the 2 ms too many then.
//! In the oldest kernel a CPU borrows what others leave unused (feature `RT_RUNTIME_SHARE`), up to the whole second, and
//! keeps it: then a single such task starves fair tasks for good on any machine with several CPUs. Newer kernels have the
//! [fair server](crate::fair_server) instead.
//!
//! In the kernel: `rt.c`, without its placement (see [`urgent`](crate::select::urgent)). Specified in spec 2 §15.2, and in
//! `sched(7)`. Simplified: each CPU counts its own seconds, from its first real-time task on, where a kernel has one timer
//! for all; a task does not give way to one of the same priority that can run nowhere else. Left out: limits per task
//! group (`RT_GROUP_SCHED`, which the kernels modelled are built without), priority inheritance.
use crate::fair::Enqueue;
use crate::ids::{CpuId, TaskId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::queue_rules::StarvationGuard;
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::{Class, Policy};
use alloc::vec::Vec;

/// The slice of a round-robin task (`sched_rr_timeslice_ms`).
const RR_SLICE_MS: u32 = 100;

/// That slice in ticks.
pub(crate) fn rr_slice(hz: u32) -> u32 {
    RR_SLICE_MS * hz / 1000
}

/// The real-time tasks of a CPU (`struct rt_rq`).
#[derive(Clone, Debug, Default)]
pub struct RtRq {
    /// Those that are queued, the running one included: the highest priority first, within a priority in order.
    pub queue: Vec<TaskId>,
    /// They have used up what they may have in this period.
    pub throttled: bool,
    /// Running time in this period, ns.
    pub time: Ns,
    /// How much it may be.
    pub runtime: Ns,
    /// When the period ends, if one has begun.
    pub period_ends: Option<Ns>,
}

impl RtRq {
    /// Those that may run.
    #[inline]
    pub fn runnable(&self) -> &[TaskId] {
        if self.throttled { &[] } else { &self.queue }
    }
}

impl<O: Observer> Sched<O> {
    /// The period in which the running time of real-time tasks is limited.
    fn rt_period(&self) -> Ns {
        self.kernel.tunables.guard.rt_period_ns
    }

    /// A task joins: behind those of its priority, or before them if its priority was lowered.
    pub(crate) fn enqueue_task_rt(&mut self, cpu: CpuId, task: TaskId, flags: Enqueue) {
        let priority = self.tasks[task].policy.priority();
        let queue = &self.rqs[cpu.index()].rt.queue;
        let before = |other: &TaskId| {
            let other = self.tasks[*other].policy.priority();
            other > priority || other == priority && !flags.contains(Enqueue::HEAD)
        };
        let at = queue.partition_point(before);
        let period = self.rules.queues.starvation_guard == StarvationGuard::Throttling;
        let length = self.rt_period();
        let rq = &mut self.rqs[cpu.index()];
        rq.rt.queue.insert(at, task);
        if period && rq.rt.period_ends.is_none() {
            rq.rt.period_ends = Some(rq.clock + length);
            self.arm_limit_timer(cpu);
        }
        if self.rqs[cpu.index()].rt.throttled {
            self.set_throttled(task, true);
        } else {
            self.rqs[cpu.index()].urgent += 1;
            self.add_nr_running(cpu);
        }
    }

    /// A task leaves.
    pub(crate) fn dequeue_task_rt(&mut self, cpu: CpuId, task: TaskId) {
        if self.rqs[cpu.index()].curr == Some(task) {
            self.update_curr_rt(cpu);
        }
        let rq = &mut self.rqs[cpu.index()];
        let at = rq.rt.queue.iter().position(|other| *other == task).expect("the task is queued here");
        rq.rt.queue.remove(at);
        if rq.rt.throttled {
            self.set_throttled(task, false);
        } else {
            rq.urgent -= 1;
            rq.nr_running -= 1;
        }
    }

    /// Accounts what runs, and stops all real-time tasks of the CPU if they have had enough.
    pub(crate) fn update_curr_rt(&mut self, cpu: CpuId) {
        let Some(task) = self.rqs[cpu.index()].curr.filter(|&task| self.class(task) == Class::RealTime)
        else {
            return;
        };
        let delta = self.account_urgent(cpu, task);
        if self.rules.queues.starvation_guard != StarvationGuard::Throttling {
            return;
        }
        self.rqs[cpu.index()].rt.time += delta;
        if !self.rqs[cpu.index()].rt.throttled && self.rt_runtime_exceeded(cpu) {
            self.throttle_rt(cpu);
            self.resched_curr(cpu, cpu);
        }
    }

    /// Whether the CPU's real-time tasks have had more than they may, also after borrowing.
    fn rt_runtime_exceeded(&mut self, cpu: CpuId) -> bool {
        let period = self.rt_period();
        let exceeded = |rt: &RtRq| rt.runtime < period && rt.time > rt.runtime;
        if exceeded(&self.rqs[cpu.index()].rt) && self.feat(Features::RT_RUNTIME_SHARE) {
            self.borrow_rt_runtime(cpu);
        }
        exceeded(&self.rqs[cpu.index()].rt)
    }

    /// Of what every other CPU of the root domain has left the n-th part is taken, `n` being their number, until the CPU may
    /// run real-time tasks all the time.
    fn borrow_rt_runtime(&mut self, cpu: CpuId) {
        let root = self.topo.cpus[cpu.index()].root;
        let span = self.topo.roots[root.index()].span.clone();
        let (parts, period) = (u64::from(span.weight()), self.rt_period());
        for other in span.iter().filter(|&other| other != cpu) {
            let lender = &self.rqs[other.index()].rt;
            let own = self.rqs[cpu.index()].rt.runtime;
            let part = (lender.runtime.saturating_sub(lender.time) / parts).min(period - own);
            self.rqs[other.index()].rt.runtime -= part;
            self.rqs[cpu.index()].rt.runtime += part;
        }
    }

    /// No real-time task runs on `cpu` until the period ends.
    fn throttle_rt(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        rq.rt.throttled = true;
        let nr = rq.rt.queue.len();
        rq.urgent -= nr as u32;
        rq.nr_running -= nr as u32;
        for index in 0..nr {
            let task = self.rqs[cpu.index()].rt.queue[index];
            self.set_throttled(task, true);
        }
    }

    /// They may run again.
    pub(crate) fn unthrottle_rt(&mut self, cpu: CpuId) {
        self.rqs[cpu.index()].rt.throttled = false;
        for index in 0..self.rqs[cpu.index()].rt.queue.len() {
            let task = self.rqs[cpu.index()].rt.queue[index];
            self.rqs[cpu.index()].urgent += 1;
            self.add_nr_running(cpu);
            self.set_throttled(task, false);
        }
    }

    /// The period of the CPU ends, if it is time: what was used is forgiven up to what is allowed.
    pub(crate) fn rt_period_ends(&mut self, cpu: CpuId) {
        let (now, length) = (self.now, self.rt_period());
        let rt = &mut self.rqs[cpu.index()].rt;
        let Some(ends) = rt.period_ends.filter(|ends| *ends <= now) else { return };
        let periods = (now - ends) / length + 1;
        rt.time = rt.time.saturating_sub(rt.runtime * periods);
        let idle = rt.time == 0 && rt.queue.is_empty();
        rt.period_ends = (!idle).then_some(ends + periods * length);
        if rt.throttled && rt.time < rt.runtime {
            self.unthrottle_rt(cpu);
            if let Some(&first) = self.rqs[cpu.index()].rt.queue.first() {
                self.wakeup_preempt(cpu, first, cpu, false);
            }
        }
    }

    /// The tick of a real-time task.
    pub(crate) fn task_tick_rt(&mut self, cpu: CpuId, curr: TaskId) {
        self.update_curr_rt(cpu);
        self.update_rt_load_avg(cpu, true);
        let slice = rr_slice(self.kernel.hz);
        let p = &mut self.tasks[curr];
        if !matches!(p.policy, Policy::RoundRobin(_)) {
            return;
        }
        p.rr_ticks = p.rr_ticks.saturating_sub(1);
        if p.rr_ticks == 0 {
            p.rr_ticks = slice;
            if self.requeue_rt(cpu, curr) {
                self.resched_curr(cpu, cpu);
            }
        }
    }

    /// A task goes behind the others of its priority; whether there are any.
    pub(crate) fn requeue_rt(&mut self, cpu: CpuId, task: TaskId) -> bool {
        let priority = self.tasks[task].policy.priority();
        let queue = &self.rqs[cpu.index()].rt.queue;
        let from = queue.iter().position(|other| *other == task).expect("the task is queued here");
        let to = queue.partition_point(|other| self.tasks[*other].policy.priority() >= priority);
        self.rqs[cpu.index()].rt.queue[from..to].rotate_left(1);
        to - from > 1
    }
}
