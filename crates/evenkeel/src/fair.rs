//! The fair class's operations on a CPU's queue: enqueue, dequeue, account, pick, switch in and out.
//!
//! The order of the steps inside each operation is behaviour: load tracking is not associative, and the running entity
//! counts in the queue's sums but does not wait in it. A task that blocks while it has had more than its share is not
//! taken off at once: it stays, *delayed*, and competes until it is picked, which is when it really leaves.
//!
//! In the kernel: `enqueue_task_fair`, `dequeue_task_fair`, `update_curr`, `set_next_entity`, `put_prev_entity`.
//! Specified in spec 2 §5. Left out: task groups, so every operation has one level.
use crate::ids::{CpuId, SeId, TaskId};
use crate::io::FairPolicy;
use crate::kernel::Features;
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::pick::eevdf::Rules;
use crate::sched::Sched;
use crate::task::OnRq;
use crate::weight::calc_delta_fair;
use bitflags::bitflags;

bitflags! {
    /// How a task joins a queue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Enqueue: u32 {
        /// It wakes up.
        const WAKEUP = 1;
        /// It was taken off only to change its attributes.
        const RESTORE = 2;
        /// It is new.
        const INITIAL = 4;
        /// It comes from another CPU.
        const MIGRATED = 8;
        /// It is still there, delayed.
        const DELAYED = 16;
    }
}

bitflags! {
    /// How a task leaves a queue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Dequeue: u32 {
        /// It goes to sleep.
        const SLEEP = 1;
        /// It is taken off only to change its attributes.
        const SAVE = 2;
        /// It must not be delayed (it ends).
        const SPECIAL = 4;
        /// It was delayed and leaves now.
        const DELAYED = 8;
    }
}

impl<O: Observer> Sched<O> {
    /// The constants of the pick.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        Rules { features: self.kernel.features, base_slice: self.base_slice, tick: self.tick }
    }

    /// Accounts the running time of the queue's current entity (spec 2 §6.7).
    pub(crate) fn update_curr(&mut self, cpu: CpuId) {
        let rules = self.rules();
        let queue = &mut self.queues[cpu.index()];
        let Some(se) = queue.curr else { return };
        let entity = &mut self.entities[se.index()];
        let now = self.rqs[cpu.index()].clock_task;
        let delta = now.wrapping_sub(entity.exec_start);
        if delta as i64 <= 0 {
            return;
        }
        entity.exec_start = now;
        entity.sum_exec += delta;
        entity.vruntime = entity.vruntime.wrapping_add(calc_delta_fair(delta, &entity.load));
        let renewed = queue.update_deadline(&mut self.entities, se, &rules);
        if let Some(task) = self.entities[se.index()].task {
            self.emit(|_| Event::Runtime { task, runtime: delta });
        }
        let queue = &self.queues[cpu.index()];
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

    /// The entity is no longer marked as the next to run.
    #[inline]
    pub(crate) fn clear_buddies(&mut self, se: SeId) {
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        if queue.next == Some(se) {
            queue.next = None;
        }
    }

    /// Puts a task on the queue of its CPU; the CPU's clock is up to date.
    pub(crate) fn enqueue_task(&mut self, cpu: CpuId, task: TaskId, flags: Enqueue) {
        let p = &self.tasks[task];
        let se = p.se;
        let delayed = self.entities[se.index()].sched_delayed;
        if !(delayed && (p.on_rq == OnRq::Migrating || flags.contains(Enqueue::RESTORE))) {
            self.util_est_enqueue(cpu, task);
        }
        if flags.contains(Enqueue::DELAYED) {
            self.requeue_delayed_entity(cpu, se);
            return;
        }
        self.enqueue_entity(cpu, se, flags);
        let idle_policy = u32::from(self.tasks[task].policy == FairPolicy::Idle);
        let queue = &mut self.queues[cpu.index()];
        queue.h_nr_queued += 1;
        queue.h_nr_delayed += u32::from(delayed);
        queue.idle_h_nr_running += idle_policy;
        self.add_nr_running(cpu);
        let clock = self.rqs[cpu.index()].clock;
        let p = &mut self.tasks[task];
        if !flags.contains(Enqueue::RESTORE) && p.last_queued == 0 {
            p.last_queued = clock;
        }
    }

    /// One more runnable task; the second one makes the root domain overloaded.
    pub(crate) fn add_nr_running(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        rq.nr_running += 1;
        if rq.nr_running == 2 {
            let root = self.topo.cpus[cpu.index()].root;
            self.topo.roots[root.index()].overloaded = true;
        }
    }

    /// Takes a task off the queue of its CPU; the clock is up to date. False if it stays, delayed.
    pub(crate) fn dequeue_task(&mut self, cpu: CpuId, task: TaskId, flags: Dequeue) -> bool {
        let p = &self.tasks[task];
        let delayed = self.entities[p.se.index()].sched_delayed;
        let migrating = p.on_rq == OnRq::Migrating;
        if !flags.contains(Dequeue::SAVE) && self.rqs[cpu.index()].curr != Some(task) {
            self.end_wait(cpu, task);
        }
        if !(delayed && (migrating || flags.contains(Dequeue::SAVE))) {
            self.util_est_dequeue(cpu, task);
        }
        if flags.contains(Dequeue::SLEEP) {
            self.util_est_update(cpu, task);
        }
        self.dequeue_entities(cpu, task, flags)
    }

    /// A waiting task stops waiting (`sched_info_dequeue`).
    fn end_wait(&mut self, cpu: CpuId, task: TaskId) {
        let rq = &mut self.rqs[cpu.index()];
        let p = &mut self.tasks[task];
        if p.last_queued != 0 {
            let delta = rq.clock - p.last_queued;
            p.last_queued = 0;
            p.run_delay += delta;
            rq.stats.run_delay += delta;
        }
    }

    /// The part of dequeueing that a delayed task goes through later.
    fn dequeue_entities(&mut self, cpu: CpuId, task: TaskId, flags: Dequeue) -> bool {
        let se = self.tasks[task].se;
        let was_delayed = self.entities[se.index()].sched_delayed;
        let sched_idle_before = self.sched_idle_cpu(cpu);
        if !self.dequeue_entity(cpu, se, flags) {
            self.emit(|_| Event::DelayDequeue { task, cpu });
            return false;
        }
        let idle_policy = u32::from(self.tasks[task].policy == FairPolicy::Idle);
        let queue = &mut self.queues[cpu.index()];
        queue.h_nr_queued -= 1;
        // A delayed task that leaves for good was uncounted when its mark was cleared.
        queue.h_nr_delayed -= u32::from(was_delayed && !flags.contains(Dequeue::DELAYED));
        queue.idle_h_nr_running -= idle_policy;
        self.rqs[cpu.index()].nr_running -= 1;
        if !sched_idle_before && self.sched_idle_cpu(cpu) {
            self.rqs[cpu.index()].next_balance = self.jiffies();
        }
        if flags.contains(Dequeue::DELAYED) {
            self.tasks[task].on_rq = OnRq::No;
            self.emit(|_| Event::DelayedGone { task, cpu });
        }
        true
    }

    fn enqueue_entity(&mut self, cpu: CpuId, se: SeId, flags: Enqueue) {
        let rules = self.rules();
        let is_curr = self.queues[cpu.index()].curr == Some(se);
        let initial = flags.contains(Enqueue::INITIAL);
        if is_curr {
            self.queues[cpu.index()].place(&mut self.entities, se, initial, &rules);
        }
        self.update_curr(cpu);
        self.update_load_avg(se, Membership::Attach);
        let queue = &mut self.queues[cpu.index()];
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
        if let Some(task) = entity.task {
            self.rqs[cpu.index()].cfs_tasks.push_head(&mut self.tasks, task);
        }
    }

    /// False if the entity stays on the queue, delayed.
    fn dequeue_entity(&mut self, cpu: CpuId, se: SeId, flags: Dequeue) -> bool {
        let rules = self.rules();
        self.update_curr(cpu);
        self.clear_buddies(se);
        let sleeps = flags.contains(Dequeue::SLEEP);
        if !flags.contains(Dequeue::DELAYED)
            && sleeps
            && !flags.contains(Dequeue::SPECIAL)
            && rules.features.contains(Features::DELAY_DEQUEUE)
            && !self.queues[cpu.index()].eligible(&self.entities, self.entities[se.index()].vruntime)
        {
            self.update_load_avg(se, Membership::Keep);
            self.entities[se.index()].sched_delayed = true;
            self.queues[cpu.index()].h_nr_delayed += 1;
            return false;
        }
        let migrating =
            self.entities[se.index()].task.is_some_and(|task| self.tasks[task].on_rq == OnRq::Migrating);
        self.update_load_avg(se, if migrating { Membership::Detach } else { Membership::Keep });
        let queue = &mut self.queues[cpu.index()];
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
        if flags.contains(Dequeue::DELAYED) {
            entity.sched_delayed = false;
            queue.h_nr_delayed -= 1;
            if rules.features.contains(Features::DELAY_ZERO) && entity.vlag > 0 {
                entity.vlag = 0;
            }
        }
        if let Some(task) = entity.task {
            self.rqs[cpu.index()].cfs_tasks.remove(&mut self.tasks, task);
        }
        true
    }

    /// A delayed task wakes up where it is: what it was owed beyond the present it loses (spec 2 §6.8).
    fn requeue_delayed_entity(&mut self, cpu: CpuId, se: SeId) {
        let rules = self.rules();
        let queue = &mut self.queues[cpu.index()];
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
        self.update_load_avg(se, Membership::Keep);
        self.entities[se.index()].sched_delayed = false;
        self.queues[cpu.index()].h_nr_delayed -= 1;
    }

    /// The task to run next on `cpu`; delayed tasks that are picked leave the queue on the way (spec 2 §5.3).
    pub(crate) fn pick_task_fair(&mut self, cpu: CpuId) -> Option<TaskId> {
        let rules = self.rules();
        loop {
            let queue = &self.queues[cpu.index()];
            if queue.nr_running == 0 {
                return None;
            }
            if queue.queued_curr(&self.entities).is_some() {
                self.update_curr(cpu);
            }
            let se = self.queues[cpu.index()].pick_eevdf(&self.entities, true, &rules);
            let entity = &self.entities[se.index()];
            let task = entity.task.expect("every entity on a root queue is a task");
            if !entity.sched_delayed {
                return Some(task);
            }
            self.dequeue_entities(cpu, task, Dequeue::SLEEP | Dequeue::DELAYED);
        }
    }

    /// The task becomes current (`set_next_task_fair`).
    pub(crate) fn set_next_task(&mut self, cpu: CpuId, task: TaskId) {
        let se = self.tasks[task].se;
        if self.entities[se.index()].on_rq {
            self.rqs[cpu.index()].cfs_tasks.move_to_head(&mut self.tasks, task);
        }
        self.clear_buddies(se);
        if self.entities[se.index()].on_rq {
            let queue = &mut self.queues[cpu.index()];
            queue.remove_waiting(se, &self.entities[se.index()]);
            // Not yet current: the time since the last update counts as waiting.
            self.update_load_avg(se, Membership::Keep);
            self.entities[se.index()].protect();
        }
        let entity = &mut self.entities[se.index()];
        entity.exec_start = self.rqs[cpu.index()].clock_task;
        entity.prev_sum_exec = entity.sum_exec;
        self.queues[cpu.index()].curr = Some(se);
    }

    /// The current task no longer is (`put_prev_entity`).
    pub(crate) fn put_prev_task(&mut self, cpu: CpuId, task: TaskId) {
        let se = self.tasks[task].se;
        if self.entities[se.index()].on_rq {
            self.update_curr(cpu);
            let queue = &mut self.queues[cpu.index()];
            queue.insert_waiting(se, &self.entities[se.index()]);
            // Still current: the time since the last update counts as running.
            self.update_load_avg(se, Membership::Keep);
        }
        self.queues[cpu.index()].curr = None;
    }

    /// The fair part of the tick: account, age, and notice that a slice is used up.
    pub(crate) fn task_tick_fair(&mut self, cpu: CpuId, task: TaskId) {
        let se = self.tasks[task].se;
        self.update_curr(cpu);
        self.update_load_avg(se, Membership::Keep);
    }

    /// `task` has become runnable on `cpu`: should it run instead of what runs there? (spec 2 §6.7, spec 4 §10)
    ///
    /// `from` is the CPU that executes this, `fork` whether the task is new.
    pub(crate) fn wakeup_preempt(&mut self, cpu: CpuId, task: TaskId, from: CpuId, fork: bool) {
        let Some(curr) = self.rqs[cpu.index()].curr else {
            if !self.rqs[cpu.index()].stopper_running {
                self.resched_curr(from, cpu);
            }
            return;
        };
        if curr == task {
            return;
        }
        let rules = self.rules();
        let (se, pse) = (self.tasks[curr].se, self.tasks[task].se);
        let idle_policy = |task: TaskId| self.tasks[task].policy == FairPolicy::Idle;
        let (curr_idle, task_idle) = (idle_policy(curr), idle_policy(task));
        if rules.features.contains(Features::NEXT_BUDDY)
            && !fork
            && !self.entities[pse.index()].sched_delayed
            && !task_idle
        {
            self.queues[cpu.index()].next = Some(pse);
        }
        if self.rqs[cpu.index()].need_resched || !rules.features.contains(Features::WAKEUP_PREEMPTION) {
            return;
        }
        if curr_idle && !task_idle {
            self.entities[se.index()].cancel_protection();
            self.resched_curr(from, cpu);
            return;
        }
        if (task_idle && !curr_idle) || self.tasks[task].policy != FairPolicy::Normal {
            return;
        }
        self.update_curr(cpu);
        let queue = &self.queues[cpu.index()];
        let (entity, wakee) = (&self.entities[se.index()], &self.entities[pse.index()]);
        let eligible = |entity: &crate::entity::Entity| queue.eligible(&self.entities, entity.vruntime);
        if rules.features.contains(Features::PREEMPT_SHORT)
            && wakee.slice < entity.slice
            && eligible(wakee)
            && (crate::timeline::vtime_before(wakee.deadline, entity.deadline) || !eligible(entity))
        {
            self.entities[se.index()].cancel_protection();
        }
        if self.queues[cpu.index()].pick_eevdf(&self.entities, false, &rules) == pse {
            self.resched_curr(from, cpu);
        }
    }
}
