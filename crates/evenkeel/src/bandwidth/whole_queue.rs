//! Throttling of whole queues: the group's entity leaves the levels above, and the tasks below wait where they are.
//!
//! A group with 3 runnable tasks below whose queue is throttled takes 3 from the counts of every level above and from the
//! CPU; a level that has nothing else leaves the one above it, too. The tasks stay on the CPU's list, where balancing
//! meets them and lets them be. When the queue goes on, its entity joins again as one that wakes up.
//!
//! In the kernel: `throttle_cfs_rq`, `unthrottle_cfs_rq` up to v6.17. Specified in spec 2 §3.1-d and §14.3.
use super::rules::Throttling;
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, QueueId, TaskId};
use crate::load_avg::Membership;
use crate::observe::Observer;
use crate::sched::Sched;

impl<O: Observer> Sched<O> {
    /// Whether what happens on a queue concerns nobody above it, because it is throttled as a whole.
    #[inline]
    pub(crate) fn is_cut_off(&self, id: QueueId) -> bool {
        self.queues[id.index()].bandwidth.throttled
            && self.rules.queues.bandwidth.throttling == Throttling::WholeQueue
    }

    /// Notes for each task of the CPU whether it waits below a throttled queue.
    pub(super) fn note_throttled_tasks(&mut self, cpu: CpuId) {
        let mut next = self.rqs[cpu.index()].cfs_tasks.tail();
        while let Some(task) = next {
            self.note_throttled(task);
            next = self.rqs[cpu.index()].cfs_tasks.towards_head(&mut self.tasks, task);
        }
    }

    /// Notes whether a task that is queued waits below a throttled queue.
    pub(crate) fn note_throttled(&mut self, task: TaskId) {
        if self.rules.queues.bandwidth.throttling == Throttling::WholeQueue {
            let throttled = self.throttled_hierarchy(self.entity(task).cfs_rq);
            self.set_throttled(task, throttled);
        }
    }

    /// Takes the entity of a queue that is being throttled off, up to the first level with other work; above, and from
    /// the CPU, the counts.
    pub(super) fn take_off_above(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        let cpu = queue.cpu;
        let counts = (queue.h_nr_queued, queue.h_nr_delayed);
        let mut idle = queue.idle_h_nr_running;
        let mut level = queue.owner;
        let mut leaves = true;
        while let Some(se) = level {
            if !self.entities[se.index()].on_rq {
                return;
            }
            if leaves {
                let delayed = self.entities[se.index()].sched_delayed;
                let mark = if delayed { Dequeue::DELAYED } else { Dequeue::empty() };
                self.dequeue_entity(se, Dequeue::SLEEP | Dequeue::SPECIAL | mark);
            } else {
                self.update_load_avg(se, Membership::Quiet);
                self.se_update_runnable(se);
            }
            if self.se_is_idle(se) {
                idle = counts.0;
            }
            let above = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
            above.h_nr_queued -= counts.0;
            above.h_nr_delayed -= counts.1;
            above.idle_h_nr_running -= idle;
            leaves &= above.load_weight == 0;
            level = self.entities[se.index()].parent;
        }
        self.rqs[cpu.index()].nr_running -= counts.0;
    }

    /// Puts the entity of a queue that goes on back on the levels above, with the counts of all tasks below.
    pub(super) fn put_back_above(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        if queue.load_weight == 0 {
            return;
        }
        let cpu = queue.cpu;
        let counts = (queue.h_nr_queued, queue.h_nr_delayed);
        let mut idle = queue.idle_h_nr_running;
        let mut level = queue.owner;
        let mut joins = true;
        while let Some(se) = level {
            if joins && self.entities[se.index()].sched_delayed {
                // What was to leave anyway leaves now, and comes back as one that wakes up.
                self.dequeue_entity(se, Dequeue::SLEEP | Dequeue::DELAYED);
            }
            joins &= !self.entities[se.index()].on_rq;
            if joins {
                self.enqueue_entity(se, Enqueue::WAKEUP);
            } else {
                self.update_load_avg(se, Membership::Keep);
                self.se_update_runnable(se);
            }
            if self.se_is_idle(se) {
                idle = counts.0;
            }
            let above = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
            above.h_nr_queued += counts.0;
            above.h_nr_delayed += counts.1;
            above.idle_h_nr_running += idle;
            if above.bandwidth.throttled {
                return;
            }
            level = self.entities[se.index()].parent;
        }
        for _ in 0..counts.0 {
            self.add_nr_running(cpu);
        }
    }
}
