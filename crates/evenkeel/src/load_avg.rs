//! Load tracking of entities and queues: when PELT is updated, and what joins or leaves a queue's sums.
//!
//! A queue's sums contain its sleeping tasks too (their contribution decays in place). A task that migrates takes its
//! contribution along: at once if it was queued, at the old queue's next update if it slept (`removed`).
//!
//! In the kernel: `update_load_avg`, `attach_entity_load_avg`, `remove_entity_load_avg`, `migrate_se_pelt_lag`.
//! Specified in spec 2 §9. Left out: propagation through task groups.
use crate::entity::{CfsRq, Entity, Removed};
use crate::ids::{CpuId, SeId, TaskId};
use crate::observe::Observer;
use crate::pelt::{Activity, MIN_DIVIDER, SchedAvg};
use crate::sched::Sched;
use crate::time::Ns;
use crate::util_est::UTIL_AVG_UNCHANGED;
use crate::weight::scale_load_down;

/// What to do with the entity's contribution after the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Leave it as it is.
    Keep,
    /// Add it, if it is attached nowhere (a new or migrated task).
    Attach,
    /// Take it out (a queued task migrates).
    Detach,
}

impl<O: Observer> Sched<O> {
    /// Ages the entity and its queue to the present, then attaches or detaches the entity (spec 2 §9.1).
    pub(crate) fn update_load_avg(&mut self, se: SeId, membership: Membership) {
        let entity = &mut self.entities[se.index()];
        let queue = &mut self.queues[entity.cfs_rq.index()];
        let now = self.rqs[queue.cpu.index()].clock_pelt_now();
        if entity.avg.last_update_time != 0 {
            entity.age(now, queue.curr == Some(se));
        }
        queue.age(now);
        match membership {
            Membership::Attach if entity.avg.last_update_time == 0 => queue.attach(entity),
            Membership::Detach => queue.detach(entity),
            Membership::Attach | Membership::Keep => {}
        }
    }

    /// A task that is not queued leaves its CPU for good: its contribution is noted for removal, and the task ages by
    /// the time its old, idle CPU has not accounted yet (spec 2 §9.3, §9.4).
    pub(crate) fn remove_entity_load_avg(&mut self, task: TaskId, old_cpu_idle_time: bool) {
        let entity = &mut self.entities[self.tasks[task].se.index()];
        let weight = entity.weight();
        let queue = &mut self.queues[entity.cfs_rq.index()];
        entity.avg.decay_blocked(queue.avg.last_update_time, weight);
        queue.removed.nr += 1;
        queue.removed.load_avg += entity.avg.load_avg;
        queue.removed.util_avg += entity.avg.util_avg;
        queue.removed.runnable_avg += entity.avg.runnable_avg;
        let rq = &self.rqs[queue.cpu.index()];
        if old_cpu_idle_time && rq.curr.is_none() && !rq.stopper_running && !entity.avg.is_decayed() {
            let now = if rq.clock_pelt_idle < queue.avg.last_update_time {
                queue.avg.last_update_time
            } else {
                rq.clock_pelt_idle + (self.now - rq.clock_idle)
            };
            entity.avg.decay_blocked(now, weight);
        }
        entity.avg.last_update_time = 0;
    }

    /// Ages a sleeping task to its queue's last update, so that it can be compared (`sync_entity_load_avg`).
    pub(crate) fn sync_entity_load_avg(&mut self, task: TaskId) {
        let entity = &mut self.entities[self.tasks[task].se.index()];
        if entity.avg.last_update_time != 0 {
            let weight = entity.weight();
            let time = self.queues[entity.cfs_rq.index()].avg.last_update_time;
            entity.avg.decay_blocked(time, weight);
        }
    }

    /// Decays the load of sleeping tasks on `cpu` (`sched_balance_update_blocked_averages`, spec 2 §12).
    pub(crate) fn update_blocked_averages(&mut self, cpu: CpuId) {
        let jiffies = self.jiffies();
        self.update_rq_clock(cpu);
        let rq = &mut self.rqs[cpu.index()];
        rq.last_blocked_load_update_tick = jiffies;
        let queue = &mut self.queues[cpu.index()];
        queue.age(rq.clock_pelt_now());
        if queue.avg.load_avg == 0 && queue.avg.util_avg == 0 {
            rq.has_blocked_load = false;
        }
    }

    /// The utilisation a new task starts with: half of what its CPU has to spare, or its weight's share of what the
    /// CPU's tasks use, whichever is less (`post_init_entity_util_avg`, spec 2 §11).
    pub(crate) fn post_init_entity_util_avg(&mut self, task: TaskId) {
        let entity = &mut self.entities[self.tasks[task].se.index()];
        let queue = &self.queues[entity.cfs_rq.index()];
        let capacity = self.rqs[queue.cpu.index()].arch_capacity;
        let util = initial_util(capacity, queue.avg.util_avg, queue.avg.load_avg, entity.weight());
        if let Some(util) = util {
            entity.avg.util_avg = util;
        }
        entity.avg.runnable_avg = entity.avg.util_avg;
    }
}

/// The starting utilisation of a task of `weight` on a CPU of this capacity, utilisation and load; `None`: keep 0.
fn initial_util(capacity: u64, util: u64, load: u64, weight: u64) -> Option<u64> {
    let cap = (capacity as i64 - util as i64) / 2;
    if cap <= 0 {
        return None;
    }
    let cap = cap as u64;
    Some(if util == 0 { cap } else { (util * weight / (load + 1)).min(cap) })
}

impl Entity {
    /// Ages the entity to `now` (PELT time of its queue).
    #[inline]
    fn age(&mut self, now: Ns, running: bool) {
        let queued = u64::from(self.on_rq);
        let runnable = if self.sched_delayed { 0 } else { queued };
        if self.avg.update_sum(now, Activity { load: queued, runnable, running }) {
            let weight = self.weight();
            self.avg.update_avg(weight);
            self.avg.util_est &= !UTIL_AVG_UNCHANGED;
        }
    }
}

impl CfsRq {
    /// Ages the queue to `now`, taking out what left while asleep.
    #[inline]
    pub(crate) fn age(&mut self, now: Ns) {
        if self.removed.nr != 0 {
            let removed = core::mem::take(&mut self.removed);
            self.avg.remove(removed);
        }
        let activity = Activity {
            load: scale_load_down(self.load_weight),
            runnable: u64::from(self.h_nr_runnable()),
            running: self.curr.is_some(),
        };
        if self.avg.update_sum(now, activity) {
            self.avg.update_avg(1);
        }
    }

    /// Adds an entity's contribution; its sums are made to fit its averages at this queue's position in the period.
    fn attach(&mut self, entity: &mut Entity) {
        let divider = self.avg.divider();
        let weight = entity.weight();
        let avg = &mut entity.avg;
        avg.last_update_time = self.avg.last_update_time;
        avg.period_contrib = self.avg.period_contrib;
        avg.util_sum = (avg.util_avg * divider) as u32;
        avg.runnable_sum = avg.runnable_avg * divider;
        let load = avg.load_avg * divider;
        avg.load_sum = if weight < load { load / weight } else { 1 };

        self.avg.load_avg += avg.load_avg;
        self.avg.load_sum += weight * avg.load_sum;
        self.avg.util_avg += avg.util_avg;
        self.avg.util_sum = self.avg.util_sum.wrapping_add(avg.util_sum);
        self.avg.runnable_avg += avg.runnable_avg;
        self.avg.runnable_sum += avg.runnable_sum;
    }

    /// Takes an entity's contribution out.
    fn detach(&mut self, entity: &Entity) {
        self.detach_load(entity);
        let avg = &mut self.avg;
        avg.util_avg = avg.util_avg.saturating_sub(entity.avg.util_avg);
        avg.util_sum = avg.util_sum.saturating_sub(entity.avg.util_sum);
        avg.util_sum = avg.util_sum.max((avg.util_avg * MIN_DIVIDER) as u32);
        avg.runnable_avg = avg.runnable_avg.saturating_sub(entity.avg.runnable_avg);
        avg.runnable_sum = avg.runnable_sum.saturating_sub(entity.avg.runnable_sum);
        avg.runnable_sum = avg.runnable_sum.max(avg.runnable_avg * MIN_DIVIDER);
    }

    /// Takes the load part out (also while an entity changes its weight).
    pub(crate) fn detach_load(&mut self, entity: &Entity) {
        let avg = &mut self.avg;
        avg.load_avg = avg.load_avg.saturating_sub(entity.avg.load_avg);
        avg.load_sum = avg.load_sum.saturating_sub(entity.weight() * entity.avg.load_sum);
        avg.load_sum = avg.load_sum.max(avg.load_avg * MIN_DIVIDER);
    }

    /// Puts the load part back.
    pub(crate) fn attach_load(&mut self, entity: &Entity) {
        self.avg.load_avg += entity.avg.load_avg;
        self.avg.load_sum += entity.weight() * entity.avg.load_sum;
    }
}

impl SchedAvg {
    /// Takes out what left while asleep (spec 2 §9.3).
    fn remove(&mut self, removed: Removed) {
        let divider = self.divider();
        self.load_avg = self.load_avg.saturating_sub(removed.load_avg);
        self.load_sum = self.load_sum.saturating_sub(removed.load_avg * divider);
        self.load_sum = self.load_sum.max(self.load_avg * MIN_DIVIDER);
        self.util_avg = self.util_avg.saturating_sub(removed.util_avg);
        self.util_sum = self.util_sum.saturating_sub((removed.util_avg * divider) as u32);
        self.util_sum = self.util_sum.max((self.util_avg * MIN_DIVIDER) as u32);
        self.runnable_avg = self.runnable_avg.saturating_sub(removed.runnable_avg);
        self.runnable_sum = self.runnable_sum.saturating_sub(removed.runnable_avg * divider);
        self.runnable_sum = self.runnable_sum.max(self.runnable_avg * MIN_DIVIDER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tasks_start_with_half_of_what_is_left() {
        // Spec 2 §17.10: successive nice-0 forks on one queue, each attached.
        for (capacity, expected) in
            [(1024, [512, 256, 128, 64, 32, 16, 8, 4]), (446, [223, 111, 56, 28, 14, 7, 3, 2])]
        {
            let (mut util, mut load) = (0, 0);
            for expected in expected {
                let new = initial_util(capacity, util, load, 1024).unwrap();
                assert_eq!(new, expected);
                util += new;
                load += 1024;
            }
        }
        let by_weight = [1024, 335, 3121].map(|weight| initial_util(1024, 200, 2048, weight).unwrap());
        assert_eq!(by_weight, [99, 32, 304]);
    }
}
