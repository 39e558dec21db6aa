//! Classes of tasks: deadline tasks come before real-time ones, those before fair ones; the stopper is above all.
//!
//! A CPU runs a task of the most urgent class that has one, and a task that becomes runnable preempts any of a class below
//! at once. Example: a CPU runs a nice -20 task, a FIFO task of priority 1 wakes up there: the CPU switches, and the fair
//! task goes on when the other sleeps. Real-time and deadline tasks are called *urgent* here. While a CPU has none
//! ([`Rq::urgent`](crate::rq::Rq::urgent) is 0) all of this costs one comparison.
//!
//! Fair tasks see the others only in three ways: they wait behind them, `rq.nr_running` counts them while the counts of
//! fair tasks do not, and the CPU's capacity shrinks by the time they take ([`pressure`](crate::pressure)).
//!
//! In the kernel: `enqueue_task`, `dequeue_task`, `put_prev_task`, `set_next_task`, `wakeup_preempt`, the loop over classes
//! of `pick_next_task`. Left out: scheduling classes loaded at run time (sched_ext), core scheduling.
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, TaskId};
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::Class;

impl<O: Observer> Sched<O> {
    /// The class of a task.
    #[inline]
    pub(crate) fn class(&self, task: TaskId) -> Class {
        self.tasks[task].policy.class()
    }

    /// Whether a task shares CPUs by weight.
    #[inline]
    pub(crate) fn is_fair(&self, task: TaskId) -> bool {
        self.class(task) == Class::Fair
    }

    /// The class of what runs on `cpu`; none: the idle task or the stopper.
    #[inline]
    pub(crate) fn curr_class(&self, cpu: CpuId) -> Option<Class> {
        self.rqs[cpu.index()].curr.map(|curr| self.class(curr))
    }

    /// Puts a task on its queue on `cpu`, whose clock is up to date.
    #[inline]
    pub(crate) fn enqueue_task(&mut self, cpu: CpuId, task: TaskId, flags: Enqueue) {
        match self.class(task) {
            Class::Fair => return self.enqueue_task_fair(cpu, task, flags),
            Class::RealTime => self.enqueue_task_rt(cpu, task, flags),
            Class::Deadline => self.enqueue_task_dl(cpu, task, flags),
        }
        self.urgent_queued += 1;
        let clock = self.rqs[cpu.index()].clock;
        let p = &mut self.tasks[task];
        if !flags.contains(Enqueue::RESTORE) && p.last_queued == 0 {
            p.last_queued = clock;
        }
    }

    /// Takes a task off its queue on `cpu`, whose clock is up to date. False if it stays, delayed.
    #[inline]
    pub(crate) fn dequeue_task(&mut self, cpu: CpuId, task: TaskId, flags: Dequeue) -> bool {
        let class = self.class(task);
        if class == Class::Fair {
            return self.dequeue_task_fair(cpu, task, flags);
        }
        if !flags.contains(Dequeue::SAVE) && self.rqs[cpu.index()].curr != Some(task) {
            self.end_wait(cpu, task);
        }
        match class {
            Class::Fair => unreachable!("fair tasks are dealt with above"),
            Class::RealTime => self.dequeue_task_rt(cpu, task),
            Class::Deadline => self.dequeue_task_dl(cpu, task, flags),
        }
        self.urgent_queued -= 1;
        true
    }

    /// The current task no longer is; another class takes over, or another task of an urgent class.
    pub(crate) fn put_prev_task(&mut self, task: TaskId) {
        let cpu = self.tasks[task].cpu;
        match self.class(task) {
            Class::Fair => self.put_prev_task_fair(task),
            Class::RealTime => {
                self.update_curr_rt(cpu);
                self.update_rt_load_avg(cpu, true);
            }
            Class::Deadline => {
                self.update_curr_dl(cpu);
                self.update_dl_load_avg(cpu, true);
            }
        }
    }

    /// The task becomes current: `picked`, or again after a change. Until then `rq.curr` is what ran before.
    pub(crate) fn set_next_task(&mut self, cpu: CpuId, task: TaskId, picked: bool) {
        let class = self.class(task);
        if class == Class::Fair {
            return self.set_next_task_fair(cpu, task, picked);
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.hrtick = None;
        rq.misfit_task_load = 0;
        let now = rq.clock_task;
        self.entities[self.tasks[task].se.index()].exec_start = now;
        if self.curr_class(cpu) != Some(class) {
            match class {
                Class::RealTime => self.update_rt_load_avg(cpu, false),
                Class::Deadline => self.update_dl_load_avg(cpu, false),
                Class::Fair => unreachable!("fair tasks are dealt with above"),
            }
        }
    }

    /// From one task to another.
    pub(crate) fn switch_task(&mut self, cpu: CpuId, prev: TaskId, next: TaskId) {
        if self.is_fair(prev) && self.is_fair(next) {
            self.switch_fair(cpu, prev, next);
        } else {
            self.put_prev_task(prev);
            self.set_next_task(cpu, next, true);
        }
    }

    /// The part of the tick that belongs to the class of what runs.
    #[inline]
    pub(crate) fn task_tick(&mut self, cpu: CpuId, curr: TaskId) {
        match self.class(curr) {
            Class::Fair => {
                self.task_tick_fair(curr, false);
                self.task_tick_cache(cpu, curr);
                self.update_misfit_status(cpu, Some(curr));
            }
            Class::RealTime => self.task_tick_rt(cpu, curr),
            Class::Deadline => {
                self.update_curr_dl(cpu);
                self.update_dl_load_avg(cpu, true);
            }
        }
    }

    /// The urgent task to run next on `cpu`, or the fair one that the fair server runs instead.
    pub(crate) fn pick_urgent(&mut self, cpu: CpuId) -> Option<TaskId> {
        while self.rqs[cpu.index()].urgent > 0 {
            let rq = &self.rqs[cpu.index()];
            let deadline = rq.dl.queue.first().copied();
            let first = deadline.map(|task| self.tasks[task].dl.deadline);
            if rq.fair_server.is_ready() && first.is_none_or(|first| rq.fair_server.deadline < first) {
                let picked = self.pick_task_fair(cpu);
                // Accounting what runs may have used up the server's time.
                match picked.filter(|_| self.rqs[cpu.index()].fair_server.is_ready()) {
                    Some(task) => return Some(task),
                    None if picked.is_none() => self.stop_fair_server(cpu),
                    None => {}
                }
                continue;
            }
            return deadline.or_else(|| rq.rt.runnable().first().copied());
        }
        None
    }

    /// Whether `task` should run instead of `curr` of its class or another, one of which is urgent.
    pub(crate) fn is_more_urgent(&self, task: TaskId, curr: TaskId) -> bool {
        let (new, old) = (&self.tasks[task], &self.tasks[curr]);
        match (new.policy.class(), old.policy.class()) {
            (Class::RealTime, Class::RealTime) => new.policy.priority() > old.policy.priority(),
            (Class::Deadline, Class::Deadline) => new.dl.deadline < old.dl.deadline,
            (wakes, runs) => wakes > runs,
        }
    }

    /// Accounts the running time of an urgent task that runs on `cpu`; how much it was.
    pub(crate) fn account_urgent(&mut self, cpu: CpuId, task: TaskId) -> Ns {
        let now = self.rqs[cpu.index()].clock_task;
        let entity = &mut self.entities[self.tasks[task].se.index()];
        let delta = now.saturating_sub(entity.exec_start);
        entity.exec_start = now;
        entity.sum_exec += delta;
        if delta > 0 {
            self.emit(|_| Event::Runtime { task, runtime: delta });
        }
        delta
    }
}
