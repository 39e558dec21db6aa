//! What happens to one entity on one queue: enqueue, dequeue, account, switch in and out.
//!
//! The order of the steps inside each operation is behaviour: load tracking is not associative, and the running entity
//! counts in the queue's sums but does not wait in it.
//!
//! In the kernel: `enqueue_entity`, `dequeue_entity`, `update_curr`, `set_next_entity`, `put_prev_entity`. Specified in
//! spec 2 §5.1, §6.7, §6.8. The walks over the levels of task groups are in [`fair`](crate::fair).
use crate::entity::CfsRq;
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, QueueId, SeId};
use crate::kernel::Features;
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::pick::cfs::{Placed, Share, TickVerdict, check_preempt_tick, place_entity, sched_slice};
use crate::pick::rules::Rules;
use crate::queue_rules::{DelayedLag, Detachment, LoadTracking, SliceProtection, UtilEstUpdate, VirtualTime};
use crate::sched::Sched;
use crate::task::OnRq;
use crate::time::Ns;
use crate::timeline::vtime_before;
use crate::weight::LoadWeight;

impl<O: Observer> Sched<O> {
    /// The constants of the pick.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        self.rules
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
        entity.vruntime = entity.vruntime.wrapping_add(self.rules.delta_fair(delta, &entity.load));
        let task = entity.task;
        let rules = self.rules();
        let queue = &mut self.queues[id.index()];
        let renewed = match queue.virtual_time {
            VirtualTime::Minimum => {
                queue.update_min_vruntime(&self.entities);
                false
            }
            VirtualTime::Mean | VirtualTime::FineMean => {
                queue.update_deadline(&mut self.entities, se, &rules)
            }
        };
        if let Some(task) = task {
            self.emit(|_| Event::Runtime { task, runtime: delta });
            if self.rqs[cpu.index()].fair_server.is_on() {
                self.charge_fair_server(cpu, delta);
            }
            self.account_llc(cpu, task, delta);
        }
        self.account_cfs_rq_runtime(id, delta);
        let queue = &self.queues[id.index()];
        if queue.nr_running > 1 && queue.expires(&self.entities, se, renewed, &rules) {
            self.resched_curr(cpu, cpu);
            self.clear_buddies(se);
        }
    }

    /// The entity, and those above it, are no longer marked as the next to run, or to be passed over.
    #[inline]
    pub(crate) fn clear_buddies(&mut self, se: SeId) {
        self.clear_mark(se, |queue| &mut queue.next);
        self.clear_mark(se, |queue| &mut queue.last);
        self.clear_mark(se, |queue| &mut queue.skip);
    }

    #[inline]
    fn clear_mark(&mut self, se: SeId, mark: impl Fn(&mut CfsRq) -> &mut Option<SeId>) {
        let mut level = Some(se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            let mark = mark(&mut self.queues[entity.cfs_rq.index()]);
            if *mark != Some(se) {
                return;
            }
            *mark = None;
            level = entity.parent;
        }
    }

    /// Notes how many runnable tasks are below a group's entity.
    #[inline]
    pub(crate) fn se_update_runnable(&mut self, se: SeId) {
        let entity = &mut self.entities[se.index()];
        if let Some(queue) = entity.my_queue {
            // Where contributions are scaled it is a weight, which follows the group's shares.
            if self.rules.queues.load_tracking == LoadTracking::SlowedTime {
                entity.runnable_weight = u64::from(self.queues[queue.index()].h_nr_runnable());
            }
        }
    }

    /// Gives an entity that joins its queue a place in the queue's virtual time (spec 2 §6.4, §7.3); with classic CFS an
    /// absolute one.
    fn join_virtual_time(&mut self, se: SeId, flags: Enqueue) {
        let rules = self.rules();
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        match queue.virtual_time {
            VirtualTime::Minimum => {
                let entity = &mut self.entities[se.index()];
                if !flags.contains(Enqueue::WAKEUP) || flags.contains(Enqueue::MIGRATED) {
                    entity.vruntime = entity.vruntime.wrapping_add(queue.min_vruntime());
                }
            }
            VirtualTime::Mean | VirtualTime::FineMean => {
                queue.place(&mut self.entities, se, flags.contains(Enqueue::INITIAL), &rules);
            }
        }
    }

    /// Classic CFS: an entity that slept is not further behind than its credit.
    fn place_sleeper(&mut self, se: SeId) {
        let idle = self.se_is_idle(se);
        let entity = &self.entities[se.index()];
        let queue = &self.queues[entity.cfs_rq.index()];
        let now = self.rqs[queue.cpu.index()].clock_task;
        let duration = if entity.exec_start == 0 { 0 } else { now.saturating_sub(entity.exec_start) };
        let placed = Placed::Slept { idle, duration };
        let vruntime = place_entity(entity.vruntime, queue.min_vruntime(), placed, &self.rules);
        self.entities[se.index()].vruntime = vruntime;
    }

    /// Classic CFS: the slice of an entity that is or will be on its queue, ns (spec 2 §7.2). `queue` is that queue; of a
    /// new task its creator's, whose tasks are counted.
    pub(crate) fn sched_slice(&self, queue: QueueId, se: SeId) -> Ns {
        let first = &self.entities[se.index()];
        let queue_id = queue;
        let queue = &self.queues[queue.index()];
        let counted = if self.rules.features.contains(Features::ALT_PERIOD) {
            self.root(queue.cpu).h_nr_queued
        } else {
            queue.nr_running
        };
        let mut level = Some(se);
        let shares = core::iter::from_fn(|| {
            let entity = &self.entities[level?.index()];
            level = entity.parent;
            let load = self.queues[entity.cfs_rq.index()].load_weight;
            let LoadWeight { weight, scaled, .. } = entity.load;
            Some(Share { weight: scaled, of: if entity.on_rq { load } else { load + weight } })
        });
        let floor = match self.rules.cfs.idle_min_granularity {
            // Among idle entities only, an idle entity has the same floor as others.
            Some(floor) if self.se_is_idle(se) && !self.is_all_idle(queue_id) => floor,
            _ => self.rules.cfs.min_granularity,
        };
        sched_slice(counted + u32::from(!first.on_rq), shares, floor, &self.rules)
    }

    /// Whether there are entities on the queue and all of them are idle ones (`sched_idle_cfs_rq`).
    fn is_all_idle(&self, id: QueueId) -> bool {
        let queue = &self.queues[id.index()];
        if queue.nr_running == 0 {
            return false;
        }
        let waiting = queue.timeline.entries().iter().map(|waiting| waiting.se);
        let curr = queue.queued_curr(&self.entities).map(|(se, _)| se);
        waiting.chain(curr).all(|se| self.se_is_idle(se))
    }

    /// Classic CFS: a task that sleeps leaves its queue for good: from here on its virtual runtime is relative.
    pub(crate) fn normalize_sleeper(&mut self, se: SeId) {
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        if queue.virtual_time == VirtualTime::Minimum {
            let entity = &mut self.entities[se.index()];
            entity.vruntime = entity.vruntime.wrapping_sub(queue.min_vruntime());
        }
    }

    /// It belongs to another queue.
    pub(crate) fn denormalize_sleeper(&mut self, se: SeId) {
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        if queue.virtual_time == VirtualTime::Minimum {
            let entity = &mut self.entities[se.index()];
            entity.vruntime = entity.vruntime.wrapping_add(queue.min_vruntime());
        }
    }

    /// Classic CFS: where a new task starts, a slice after its creator, or where that stood, which then is a slice behind;
    /// relative to the virtual time of the creator's queue, until it joins one (spec 2 §7.8).
    pub(crate) fn task_fork_cfs(&mut self, cpu: CpuId, se: SeId) {
        let creator = self.rqs[cpu.index()].curr.map(|task| self.tasks[task].se);
        // The boot code has no queue.
        let id = self.entities[creator.unwrap_or(se).index()].cfs_rq;
        self.update_curr(id);
        let curr = self.queues[id.index()].curr;
        if let Some(curr) = curr {
            self.entities[se.index()].vruntime = self.entities[curr.index()].vruntime;
        }
        let vslice = self.rules.delta_fair(self.sched_slice(id, se), &self.entities[se.index()].load);
        let min_vruntime = self.queues[id.index()].min_vruntime();
        let placed = Placed::New { vslice };
        let mut vruntime =
            place_entity(self.entities[se.index()].vruntime, min_vruntime, placed, &self.rules);
        if let Some(curr) = curr
            && self.rules.cfs.child_runs_first
            && vtime_before(self.entities[curr.index()].vruntime, vruntime)
        {
            core::mem::swap(&mut self.entities[curr.index()].vruntime, &mut vruntime);
            self.resched_curr(cpu, cpu);
        }
        self.entities[se.index()].vruntime = vruntime.wrapping_sub(min_vruntime);
    }

    /// Puts an entity on its queue.
    pub(crate) fn enqueue_entity(&mut self, se: SeId, flags: Enqueue) {
        let id = self.entities[se.index()].cfs_rq;
        let is_curr = self.queues[id.index()].curr == Some(se);
        if is_curr {
            self.join_virtual_time(se, flags);
        }
        self.update_curr(id);
        self.update_load_avg(se, Membership::Attach);
        self.se_update_runnable(se);
        self.update_cfs_group(se);
        if !is_curr {
            self.join_virtual_time(se, flags);
        }
        if flags.contains(Enqueue::WAKEUP) && self.rules.queues.virtual_time == VirtualTime::Minimum {
            self.place_sleeper(se);
        }
        let queue = &mut self.queues[id.index()];
        let entity = &mut self.entities[se.index()];
        queue.enqueue_runnable_load(entity, &self.rules);
        queue.load_weight += entity.load.weight;
        queue.nr_running += 1;
        if flags.contains(Enqueue::MIGRATED) {
            entity.exec_start = 0;
        }
        if !is_curr {
            queue.insert_waiting(&self.entities, se);
        }
        let entity = &mut self.entities[se.index()];
        entity.on_rq = true;
        let first = queue.nr_running == 1;
        if let Some(task) = entity.task {
            let cpu = queue.cpu;
            self.rqs[cpu.index()].cfs_tasks.push_head(&mut self.tasks, task);
            self.account_numa(cpu, task, true);
        }
        if first {
            self.note_first_entity(id);
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
            if rules.queues.delayed_lag == DelayedLag::AtLeastAtSleep {
                let lag = self.queues[id.index()].entity_lag(&self.entities, se, &rules);
                self.entities[se.index()].vlag = lag;
            }
            if rules.queues.util_est_update == UtilEstUpdate::InLoadUpdate {
                self.util_est_update(se);
            }
            self.set_delayed(se);
            return false;
        }
        let migrating =
            self.entities[se.index()].task.is_some_and(|task| self.tasks[task].on_rq == OnRq::Migrating);
        let detaches = migrating && rules.queues.detachment == Detachment::AtDequeue;
        self.update_load_avg(se, if detaches { Membership::Detach } else { Membership::Keep });
        self.se_update_runnable(se);
        let falls_asleep = sleeps && !flags.contains(Dequeue::DELAYED);
        if falls_asleep && rules.queues.util_est_update == UtilEstUpdate::InLoadUpdate {
            self.util_est_update(se);
        }
        let queue = &mut self.queues[id.index()];
        queue.dequeue_runnable_load(&self.entities[se.index()], &rules);
        if queue.virtual_time != VirtualTime::Minimum {
            let lag = if flags.contains(Dequeue::DELAYED) {
                queue.delayed_lag(&self.entities, se, &rules)
            } else {
                queue.entity_lag(&self.entities, se, &rules)
            };
            self.entities[se.index()].vlag = lag;
        }
        if queue.curr != Some(se) {
            queue.remove_waiting(&self.entities, se);
        }
        let entity = &mut self.entities[se.index()];
        if !sleeps {
            match queue.virtual_time {
                VirtualTime::Minimum => entity.vruntime = entity.vruntime.wrapping_sub(queue.min_vruntime()),
                VirtualTime::Mean | VirtualTime::FineMean => {
                    if rules.features.contains(Features::PLACE_REL_DEADLINE) {
                        entity.deadline = entity.deadline.wrapping_sub(entity.vruntime);
                        entity.rel_deadline = true;
                    }
                }
            }
        }
        entity.on_rq = false;
        queue.load_weight -= entity.load.weight;
        queue.nr_running -= 1;
        let cpu = queue.cpu;
        if let Some(task) = entity.task {
            self.rqs[cpu.index()].cfs_tasks.remove(&mut self.tasks, task);
            self.account_numa(cpu, task, false);
        }
        self.return_cfs_rq_runtime(id);
        self.update_cfs_group(se);
        if flags.contains(Dequeue::DELAYED) {
            self.clear_delayed(se);
        }
        if self.queues[id.index()].nr_running == 0 {
            self.note_empty_queue(id);
        }
        let queue = &mut self.queues[id.index()];
        if queue.virtual_time == VirtualTime::Minimum && !flags.contains(Dequeue::SAVE) {
            queue.update_min_vruntime(&self.entities);
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
            if self.is_cut_off(entity.cfs_rq) {
                return;
            }
        }
    }

    /// A delayed entity wakes up where it is: what it was owed beyond the present it loses (spec 2 §6.8).
    pub(crate) fn requeue_delayed_entity(&mut self, se: SeId) {
        let rules = self.rules();
        let id = self.entities[se.index()].cfs_rq;
        if rules.features.contains(Features::DELAY_ZERO) {
            let moves = match rules.queues.delayed_lag {
                DelayedLag::WhenItEnds => {
                    // The queue's current entity is not brought up to date for this.
                    let lag = self.queues[id.index()].entity_lag(&self.entities, se, &rules);
                    self.entities[se.index()].vlag = lag.min(0);
                    lag > 0
                }
                DelayedLag::AtLeastAtSleep => {
                    self.update_curr(id);
                    let queue = &mut self.queues[id.index()];
                    let lag = queue.delayed_lag(&self.entities, se, &rules);
                    let virtual_time = queue.avg_vruntime(&self.entities);
                    let entity = &mut self.entities[se.index()];
                    entity.vlag = lag;
                    virtual_time.wrapping_sub(entity.vruntime) as i64 != lag
                }
            };
            if moves {
                self.replace(se, &rules);
            }
        }
        self.update_load_avg(se, Membership::Quiet);
        self.clear_delayed(se);
    }

    /// Places a queued entity anew by its lag.
    fn replace(&mut self, se: SeId, rules: &Rules) {
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        let waits = queue.curr != Some(se);
        queue.nr_running -= 1;
        if waits {
            queue.remove_waiting(&self.entities, se);
        }
        queue.place(&mut self.entities, se, false, rules);
        if waits {
            queue.insert_waiting(&self.entities, se);
        }
        queue.nr_running += 1;
    }

    /// The entity becomes the queue's current one; `picked`, or because it was put aside for a change only.
    pub(crate) fn set_next_entity(&mut self, se: SeId, picked: bool) {
        self.clear_buddies(se);
        let id = self.entities[se.index()].cfs_rq;
        if self.entities[se.index()].on_rq {
            self.queues[id.index()].remove_waiting(&self.entities, se);
            // Not yet current: the time since the last update counts as waiting.
            self.update_load_avg(se, Membership::Keep);
            let rules = self.rules();
            let kept = rules.queues.slice_protection == SliceProtection::ShortestSliceOfPick && !picked;
            if rules.queues.virtual_time != VirtualTime::Minimum && !kept {
                self.queues[id.index()].set_protect_slice(&mut self.entities, se, &rules);
            }
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
        }
        self.check_at_put(id);
        if self.entities[se.index()].on_rq {
            self.queues[id.index()].insert_waiting(&self.entities, se);
            // Still current: the time since the last update counts as running.
            self.update_load_avg(se, Membership::Quiet);
        }
        self.queues[id.index()].curr = None;
    }

    /// The tick of the queue's current entity, or the end of its slice `by_timer`.
    pub(crate) fn entity_tick(&mut self, se: SeId, by_timer: bool) {
        let id = self.entities[se.index()].cfs_rq;
        self.update_curr(id);
        self.update_load_avg(se, Membership::Keep);
        self.update_cfs_group(se);
        let queue = &self.queues[id.index()];
        // Where a timer ends slices, the tick leaves that to it.
        let timed = by_timer || self.rqs[queue.cpu.index()].hrtick.is_some();
        if queue.virtual_time == VirtualTime::Minimum && queue.nr_running > 1 && !timed {
            self.check_preempt_tick(se);
        }
    }

    /// Classic CFS: whether what runs has run for long enough (spec 2 §7.4).
    fn check_preempt_tick(&mut self, se: SeId) {
        let entity = &self.entities[se.index()];
        let queue = &self.queues[entity.cfs_rq.index()];
        let first = queue.timeline.entries().first().expect("another entity waits");
        let ahead = entity.vruntime.wrapping_sub(first.vruntime) as i64;
        let ran = entity.sum_exec - entity.prev_sum_exec;
        let cpu = queue.cpu;
        match check_preempt_tick(self.sched_slice(entity.cfs_rq, se), ran, ahead, &self.rules) {
            TickVerdict::SliceUsed => {
                self.resched_curr(cpu, cpu);
                self.clear_buddies(se);
            }
            TickVerdict::TooFarAhead => self.resched_curr(cpu, cpu),
            TickVerdict::Keep => {}
        }
    }
}
