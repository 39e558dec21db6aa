//! What happens to one entity on one queue: enqueue, dequeue, account, switch in and out.
//!
//! The order of the steps inside each operation is behaviour: load tracking is not associative, and the running entity
//! counts in the queue's sums but does not wait in it.
//!
//! In the kernel: `enqueue_entity`, `dequeue_entity`, `update_curr`, `set_next_entity`, `put_prev_entity`. Specified in
//! spec 2 §5.1, §6.7, §6.8. The walks over the levels of task groups are in [`fair`](crate::fair).
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{QueueId, SeId};
use crate::kernel::Features;
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::pick::eevdf::Rules;
use crate::sched::Sched;
use crate::task::OnRq;
use crate::weight::calc_delta_fair;

impl<O: Observer> Sched<O> {
    /// The constants of the pick.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        Rules { features: self.kernel.features, base_slice: self.base_slice, tick: self.tick }
    }

    /// Accounts the running time of the queue's current entity (spec 2 §6.7).
    pub(crate) fn update_curr(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.index()];
        let Some(se) = queue.curr else { return };
        let entity = &mut self.entities[se.index()];
        let cpu = queue.cpu;
        let now = self.rqs[cpu.index()].clock_task;
        let delta = now.wrapping_sub(entity.exec_start);
        if delta as i64 <= 0 {
            return;
        }
        entity.exec_start = now;
        entity.sum_exec += delta;
        entity.vruntime = entity.vruntime.wrapping_add(calc_delta_fair(delta, &entity.load));
        let task = entity.task;
        let rules = self.rules();
        let renewed = self.queues[id.index()].update_deadline(&mut self.entities, se, &rules);
        if let Some(task) = task {
            self.emit(|_| Event::Runtime { task, runtime: delta });
        }
        let queue = &self.queues[id.index()];
        if queue.nr_running == 1 {
            return;
        }
        let entity = &self.entities[se.index()];
        let preempted_short = || {
            rules.features.contains(Features::PREEMPT_SHORT)
                && !entity.is_protected()
                && !queue.eligible(&self.entities, entity.vruntime)
        };
        if renewed || preempted_short() {
            self.resched_curr(cpu, cpu);
            self.clear_buddies(se);
        }
    }

    /// The entity, and those above it, are no longer marked as the next to run.
    #[inline]
    pub(crate) fn clear_buddies(&mut self, se: SeId) {
        let mut level = Some(se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            let queue = &mut self.queues[entity.cfs_rq.index()];
            if queue.next != Some(se) {
                return;
            }
            queue.next = None;
            level = entity.parent;
        }
    }

    /// Notes how many runnable tasks are below a group's entity.
    #[inline]
    pub(crate) fn se_update_runnable(&mut self, se: SeId) {
        let entity = &mut self.entities[se.index()];
        if let Some(queue) = entity.my_queue {
            entity.runnable_weight = u64::from(self.queues[queue.index()].h_nr_runnable());
        }
    }

    /// Puts an entity on its queue.
    pub(crate) fn enqueue_entity(&mut self, se: SeId, flags: Enqueue) {
        let rules = self.rules();
        let id = self.entities[se.index()].cfs_rq;
        let is_curr = self.queues[id.index()].curr == Some(se);
        let initial = flags.contains(Enqueue::INITIAL);
        if is_curr {
            self.queues[id.index()].place(&mut self.entities, se, initial, &rules);
        }
        self.update_curr(id);
        self.update_load_avg(se, Membership::Attach);
        self.se_update_runnable(se);
        self.update_cfs_group(se);
        let queue = &mut self.queues[id.index()];
        if !is_curr {
            queue.place(&mut self.entities, se, initial, &rules);
        }
        let entity = &mut self.entities[se.index()];
        queue.load_weight += entity.load.weight;
        queue.nr_running += 1;
        if flags.contains(Enqueue::MIGRATED) {
            entity.exec_start = 0;
        }
        if !is_curr {
            queue.insert_waiting(se, entity);
        }
        entity.on_rq = true;
        let first = queue.nr_running == 1;
        if let Some(task) = entity.task {
            self.rqs[queue.cpu.index()].cfs_tasks.push_head(&mut self.tasks, task);
        }
        if first {
            self.list_add_leaf_queue(id);
        }
    }

    /// Takes an entity off its queue; false if it stays, delayed (spec 2 §6.8).
    pub(crate) fn dequeue_entity(&mut self, se: SeId, flags: Dequeue) -> bool {
        let rules = self.rules();
        let id = self.entities[se.index()].cfs_rq;
        self.update_curr(id);
        self.clear_buddies(se);
        let sleeps = flags.contains(Dequeue::SLEEP);
        if !flags.contains(Dequeue::DELAYED)
            && sleeps
            && !flags.contains(Dequeue::SPECIAL)
            && rules.features.contains(Features::DELAY_DEQUEUE)
            && !self.queues[id.index()].eligible(&self.entities, self.entities[se.index()].vruntime)
        {
            self.update_load_avg(se, Membership::Quiet);
            self.set_delayed(se);
            return false;
        }
        let migrating =
            self.entities[se.index()].task.is_some_and(|task| self.tasks[task].on_rq == OnRq::Migrating);
        self.update_load_avg(se, if migrating { Membership::Detach } else { Membership::Keep });
        self.se_update_runnable(se);
        let queue = &mut self.queues[id.index()];
        let lag = queue.entity_lag(&self.entities, se, &rules);
        let entity = &mut self.entities[se.index()];
        entity.vlag = lag;
        if queue.curr != Some(se) {
            queue.remove_waiting(se, entity);
        }
        if !sleeps && rules.features.contains(Features::PLACE_REL_DEADLINE) {
            entity.deadline = entity.deadline.wrapping_sub(entity.vruntime);
            entity.rel_deadline = true;
        }
        entity.on_rq = false;
        queue.load_weight -= entity.load.weight;
        queue.nr_running -= 1;
        let cpu = queue.cpu;
        if let Some(task) = entity.task {
            self.rqs[cpu.index()].cfs_tasks.remove(&mut self.tasks, task);
        }
        self.update_cfs_group(se);
        if flags.contains(Dequeue::DELAYED) {
            self.clear_delayed(se);
            let entity = &mut self.entities[se.index()];
            if rules.features.contains(Features::DELAY_ZERO) && entity.vlag > 0 {
                entity.vlag = 0;
            }
        }
        true
    }

    /// The entity stays queued although it sleeps; a task no longer counts as runnable, on any level.
    fn set_delayed(&mut self, se: SeId) {
        self.entities[se.index()].sched_delayed = true;
        self.count_delayed(se, 1);
    }

    /// It no longer does.
    fn clear_delayed(&mut self, se: SeId) {
        self.entities[se.index()].sched_delayed = false;
        self.count_delayed(se, -1);
    }

    fn count_delayed(&mut self, se: SeId, by: i32) {
        if self.entities[se.index()].task.is_none() {
            return;
        }
        let mut level = Some(se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            let queue = &mut self.queues[entity.cfs_rq.index()];
            queue.h_nr_delayed = queue.h_nr_delayed.checked_add_signed(by).expect("a count of delayed tasks");
            level = entity.parent;
        }
    }

    /// A delayed entity wakes up where it is: what it was owed beyond the present it loses (spec 2 §6.8).
    pub(crate) fn requeue_delayed_entity(&mut self, se: SeId) {
        let rules = self.rules();
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        if rules.features.contains(Features::DELAY_ZERO) {
            let lag = queue.entity_lag(&self.entities, se, &rules);
            self.entities[se.index()].vlag = lag;
            if lag > 0 {
                let waits = queue.curr != Some(se);
                queue.nr_running -= 1;
                if waits {
                    queue.remove_waiting(se, &self.entities[se.index()]);
                }
                self.entities[se.index()].vlag = 0;
                queue.place(&mut self.entities, se, false, &rules);
                if waits {
                    queue.insert_waiting(se, &self.entities[se.index()]);
                }
                queue.nr_running += 1;
            }
        }
        self.update_load_avg(se, Membership::Quiet);
        self.clear_delayed(se);
    }

    /// The entity becomes the queue's current one.
    pub(crate) fn set_next_entity(&mut self, se: SeId) {
        self.clear_buddies(se);
        let id = self.entities[se.index()].cfs_rq;
        if self.entities[se.index()].on_rq {
            self.queues[id.index()].remove_waiting(se, &self.entities[se.index()]);
            // Not yet current: the time since the last update counts as waiting.
            self.update_load_avg(se, Membership::Keep);
            self.entities[se.index()].protect();
        }
        let queue = &mut self.queues[id.index()];
        let entity = &mut self.entities[se.index()];
        entity.exec_start = self.rqs[queue.cpu.index()].clock_task;
        entity.prev_sum_exec = entity.sum_exec;
        queue.curr = Some(se);
    }

    /// The queue's current entity no longer is.
    pub(crate) fn put_prev_entity(&mut self, se: SeId) {
        let id = self.entities[se.index()].cfs_rq;
        if self.entities[se.index()].on_rq {
            self.update_curr(id);
            self.queues[id.index()].insert_waiting(se, &self.entities[se.index()]);
            // Still current: the time since the last update counts as running.
            self.update_load_avg(se, Membership::Quiet);
        }
        self.queues[id.index()].curr = None;
    }

    /// The tick of the queue's current entity.
    pub(crate) fn entity_tick(&mut self, se: SeId) {
        self.update_curr(self.entities[se.index()].cfs_rq);
        self.update_load_avg(se, Membership::Keep);
        self.update_cfs_group(se);
    }
}
