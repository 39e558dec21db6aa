//! Throttling task by task: who returns to user mode while something above is throttled stops there.
//!
//! A throttled queue is only marked. Its tasks compete as before until they are picked; then, before the program goes on,
//! the task leaves its queue and waits in the queue's *limbo*. So three tasks of a throttled queue are switched to one
//! after the other, for no time at all, and are gone then: from all counts, from the load of the levels above, and from
//! the CPU's list, so that balancing never meets them. When nothing above is throttled any more each joins again as one that
//! wakes up, the last one to stop first. A queue's load tracking stands still from when its last task has left.
//!
//! A task that sleeps is not affected, and competes when it wakes until its own return to user mode. One that is moved
//! (to another CPU, by a change of its affinity or group) while in limbo goes to that of its new queue, if something above
//! is throttled there, too.
//!
//! All tasks are taken to be in user mode when they run: the program's next step comes after the return. The order in which
//! tasks leave limbo is not specified; that of the queues of one subtree is: those below first.
//!
//! In the kernel: `throttle_cfs_rq_work`, `task_throttle_setup_work`, `enqueue_throttled_task`,
//! `dequeue_throttled_task`, `tg_unthrottle_up` from v6.18 on. Specified in spec 2 §14.3.
use super::rules::Throttling;
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, QueueId, TaskId};
use crate::io::Action;
use crate::load_avg::Membership;
use crate::observe::{Observer, Running};
use crate::sched::Sched;
use crate::task::OnRq;
use crate::workload::Class;

impl<O: Observer> Sched<O> {
    /// The task that runs on `cpu`, or is about to, has to stop before it returns to user mode.
    pub(crate) fn task_throttle_setup_work(&mut self, cpu: CpuId) {
        self.rqs[cpu.index()].throttle_work = true;
        if !self.rqs[cpu.index()].need_resched {
            self.ask_for_throttle_work(cpu);
        }
    }

    /// Lets the host bring the running task to its return to user mode, if it has to stop there. What was meant for a task
    /// that has left the CPU is forgotten: the next pick of that task decides anew.
    pub(crate) fn ask_for_throttle_work(&mut self, cpu: CpuId) {
        if !self.rqs[cpu.index()].throttle_work {
            return;
        }
        let curr = self.rqs[cpu.index()].curr;
        let stops = |task: TaskId| self.is_fair(task) && self.throttled_hierarchy(self.entity(task).cfs_rq);
        if !curr.is_some_and(stops) {
            self.rqs[cpu.index()].throttle_work = false;
            return;
        }
        let asked = Action::Resched { from: cpu, cpu };
        if !self.actions.contains(&asked) {
            self.actions.push_back(asked);
        }
    }

    /// The running task returns to user mode: it goes to limbo if something above it is still throttled.
    pub(crate) fn throttle_cfs_rq_work(&mut self, cpu: CpuId) {
        self.rqs[cpu.index()].throttle_work = false;
        let Some(task) = self.rqs[cpu.index()].curr else { return };
        if !self.is_fair(task) || !self.throttled_hierarchy(self.entity(task).cfs_rq) {
            return;
        }
        self.update_rq_clock(cpu);
        self.begin_schedule(cpu);
        let gone = self.dequeue_task(cpu, task, Dequeue::SLEEP | Dequeue::SPECIAL);
        assert!(gone, "a task that is throttled is never delayed");
        self.note_throttled_since(task);
        self.add_to_limbo(task);
        self.switch_to_next(cpu, Running::Task(task));
    }

    /// The time in which the throttled queues above count as throttled begins with the first task that stops.
    fn note_throttled_since(&mut self, task: TaskId) {
        let mut level = Some(self.tasks[task].se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            let queue = &mut self.queues[entity.cfs_rq.index()];
            if queue.bandwidth.throttled && queue.bandwidth.since.is_none() {
                queue.bandwidth.since = Some(self.rqs[queue.cpu.index()].clock);
            }
            level = entity.parent;
        }
    }

    fn add_to_limbo(&mut self, task: TaskId) {
        let id = self.entity(task).cfs_rq;
        self.queues[id.index()].limbo.push_head(&mut self.tasks, task);
        self.set_throttled(task, true);
    }

    /// A task that was in limbo joins a queue: true if it only changes to that queue's limbo.
    pub(crate) fn enqueue_throttled_task(&mut self, cpu: CpuId, task: TaskId) -> bool {
        let id = self.entity(task).cfs_rq;
        if self.throttled_hierarchy(id) && self.rqs[cpu.index()].curr != Some(task) {
            self.add_to_limbo(task);
            return true;
        }
        self.set_throttled(task, false);
        false
    }

    /// A task in limbo is taken out to be changed or moved. A move takes its load along.
    pub(crate) fn dequeue_throttled_task(&mut self, task: TaskId) {
        let se = self.tasks[task].se;
        let id = self.entities[se.index()].cfs_rq;
        self.queues[id.index()].limbo.remove(&mut self.tasks, task);
        if self.tasks[task].on_rq == OnRq::Migrating && self.entities[se.index()].avg.last_update_time != 0 {
            self.update_load_avg(se, Membership::Detach);
            self.propagate_up(se);
        }
    }

    /// Whether a task waits in limbo, or was taken out of it for a moment.
    #[inline]
    pub(crate) fn task_is_throttled(&self, task: TaskId) -> bool {
        let p = &self.tasks[task];
        p.throttled
            && p.policy.class() == Class::Fair
            && self.rules.queues.bandwidth.throttling == Throttling::PerTask
    }

    /// Nothing above the queue is throttled any more: its tasks join again.
    pub(super) fn leave_limbo(&mut self, id: QueueId) {
        let cpu = self.queues[id.index()].cpu;
        while let Some(task) = self.queues[id.index()].limbo.head() {
            self.queues[id.index()].limbo.remove(&mut self.tasks, task);
            self.set_throttled(task, false);
            self.enqueue_task(cpu, task, Enqueue::WAKEUP);
        }
    }
}
