//! Load tracking of entities and queues: when PELT is updated, and what joins or leaves a queue's sums.
//!
//! A queue's sums contain its sleeping tasks too (their contribution decays in place). A task that migrates takes its
//! contribution along: at once if it was queued, at the old queue's next update if it slept (`removed`).
//!
//! In the kernel: `update_load_avg`, `attach_entity_load_avg`, `remove_entity_load_avg`, `migrate_se_pelt_lag`.
//! Specified in spec 2 §9 and §12. How jumps pass through task groups is in [`group`](crate::group).
use crate::entity::{CfsRq, Entity, Removed};
use crate::ids::{CpuId, QueueId, SeId, TaskId};
use crate::observe::Observer;
use crate::pelt::{Activity, MIN_DIVIDER, SchedAvg};
use crate::pick::rules::Rules;
use crate::queue_rules::{LoadTracking, NewTaskWeight, Removal, Unlisting};
use crate::sched::Sched;
use crate::time::Ns;

/// What to do with the entity's contribution after the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Leave it as it is, and do not tell the task group (the kernel's call without `UPDATE_TG`).
    Quiet,
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
        let rules = self.rules();
        let queue_id = self.entities[se.index()].cfs_rq;
        let now = self.queue_clock_pelt(queue_id);
        let entity = &mut self.entities[se.index()];
        let queue = &mut self.queues[queue_id.index()];
        let rq = &self.rqs[queue.cpu.index()];
        if entity.avg.last_update_time != 0 {
            entity.age(now, queue.curr == Some(se), rq.arch_capacity, &rules);
        }
        let mut changed = queue.age(now, rq.arch_capacity, &rules);
        if entity.my_queue.is_some() {
            changed |= self.propagate_entity_load_avg(se);
        }
        let entity = &mut self.entities[se.index()];
        let queue = &mut self.queues[queue_id.index()];
        match membership {
            Membership::Attach if entity.avg.last_update_time == 0 => {
                queue.attach(entity, &rules);
                self.update_tg_load_avg(queue_id);
            }
            Membership::Detach => {
                queue.detach(entity, &rules);
                self.update_tg_load_avg(queue_id);
            }
            Membership::Attach | Membership::Keep => {
                if changed {
                    self.update_tg_load_avg(queue_id);
                }
            }
            Membership::Quiet => {}
        }
    }

    /// A task that is not queued leaves its CPU for good: its contribution is noted for removal, and the task ages by
    /// the time its old, idle CPU has not accounted yet (spec 2 §9.3, §9.4).
    pub(crate) fn remove_entity_load_avg(&mut self, task: TaskId, old_cpu_idle_time: bool) {
        let rules = self.rules();
        let entity = &mut self.entities[self.tasks[task].se.index()];
        let queue = &mut self.queues[entity.cfs_rq.index()];
        entity.decay_blocked(queue.avg.last_update_time, &rules);
        queue.removed.nr += 1;
        queue.removed.load_sum += entity.avg.load_sum;
        queue.removed.load_avg += entity.avg.load_avg;
        queue.removed.util_avg += entity.avg.util_avg;
        queue.removed.runnable_avg += entity.avg.runnable_avg;
        let rq = &self.rqs[queue.cpu.index()];
        let throttled = queue.bandwidth.throttled_pelt_idle;
        if let Some(throttled) =
            throttled.filter(|_| old_cpu_idle_time && rules.queues.decays_on_idle_migration)
            && rq.curr.is_none()
            && !rq.stopper_running
            && !entity.avg.is_decayed()
        {
            let idle_since = rq.clock_pelt_idle.wrapping_sub(throttled);
            let now = if idle_since < queue.avg.last_update_time {
                queue.avg.last_update_time
            } else {
                idle_since + (self.now - rq.clock_idle)
            };
            entity.decay_blocked(now, &rules);
        }
        entity.avg.last_update_time = 0;
    }

    /// A task that is not fair goes to another CPU: its old load ages up to there, and goes on ageing with the queue of its
    /// group on the new one (spec 2 §9.5).
    pub(crate) fn age_for_move(&mut self, task: TaskId, dest: CpuId) {
        self.sync_entity_load_avg(task);
        let p = &self.tasks[task];
        let there = self.groups[p.group.index()].queues[dest.index()];
        let time = self.queues[there.index()].avg.last_update_time;
        let avg = &mut self.entities[p.se.index()].avg;
        if avg.last_update_time != 0 {
            avg.last_update_time = time;
        }
    }

    /// Ages a sleeping task to its queue's last update, so that it can be compared (`sync_entity_load_avg`).
    pub(crate) fn sync_entity_load_avg(&mut self, task: TaskId) {
        let rules = self.rules();
        let entity = &mut self.entities[self.tasks[task].se.index()];
        if entity.avg.last_update_time != 0 {
            let time = self.queues[entity.cfs_rq.index()].avg.last_update_time;
            entity.decay_blocked(time, &rules);
        }
    }

    /// Decays the load of sleeping tasks on `cpu` (`sched_balance_update_blocked_averages`, spec 2 §12).
    pub(crate) fn update_blocked_averages(&mut self, cpu: CpuId) {
        let jiffies = self.jiffies();
        self.spent += self.cost.blocked_update;
        self.update_rq_clock(cpu);
        self.rqs[cpu.index()].last_blocked_load_update_tick = jiffies;
        let mut blocked = false;
        let mut i = 0;
        while let Some(&queue) = self.rqs[cpu.index()].leaf_queues.get(i) {
            blocked |= self.update_blocked_queue(queue);
            if self.is_fully_decayed(queue) {
                self.rqs[cpu.index()].leaf_queues.remove(i);
                self.queues[queue.index()].on_list = false;
            } else {
                i += 1;
            }
        }
        blocked |= self.update_blocked_queue(QueueId(cpu.0));
        blocked |= self.update_pressure(cpu);
        if !blocked {
            self.rqs[cpu.index()].has_blocked_load = false;
        }
    }

    /// Whether a listed queue need not be looked at any more (spec 2 §12).
    pub(crate) fn is_fully_decayed(&self, id: QueueId) -> bool {
        let queue = &self.queues[id.index()];
        if queue.load_weight != 0 || !queue.avg.is_decayed() {
            return false;
        }
        let is_child = |other: &QueueId| {
            let owner = self.queues[other.index()].owner;
            owner.is_some_and(|owner| self.entities[owner.index()].cfs_rq == id)
        };
        let childless = || !self.rqs[queue.cpu.index()].leaf_queues.iter().any(is_child);
        match self.rules.queues.unlisting {
            Unlisting::WhenDecayed => true,
            Unlisting::WithoutChildren => childless(),
            Unlisting::WithoutChildrenOrContribution => queue.tg_load_avg_contrib == 0 && childless(),
        }
    }

    /// Decays one queue and the entity it belongs to; true if load is left.
    fn update_blocked_queue(&mut self, id: QueueId) -> bool {
        let now = self.queue_clock_pelt(id);
        let queue = &mut self.queues[id.index()];
        let rq = &self.rqs[queue.cpu.index()];
        if queue.age(now, rq.arch_capacity, &self.rules) {
            if queue.nr_running == 0 {
                self.note_pelt_idle(id);
            }
            self.update_tg_load_avg(id);
            if self.queues[id.index()].nr_running == 0 {
                self.note_pelt_idle(id);
            }
        }
        let queue = &self.queues[id.index()];
        if let Some(owner) = queue.owner {
            let avg = &self.entities[owner.index()].avg;
            if avg.load_avg != 0 || avg.util_avg != 0 || queue.propagate {
                let tells = self.rules.queues.blocked_walk_tells_groups;
                self.update_load_avg(owner, if tells { Membership::Keep } else { Membership::Quiet });
            }
        }
        let avg = &self.queues[id.index()].avg;
        avg.load_avg != 0 || avg.util_avg != 0
    }

    /// From now on the queue's load is tracked also while nothing of it is queued: it and those above join the CPU's
    /// list, children first.
    pub(crate) fn list_add_leaf_queue(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.index()];
        let Some(owner) = queue.owner else { return };
        if queue.on_list || queue.bandwidth.paused {
            return;
        }
        queue.on_list = true;
        let cpu = queue.cpu;
        let depth = |queue: &QueueId| {
            let owner = self.queues[queue.index()].owner;
            owner.map_or(0, |owner| self.entities[owner.index()].depth + 1)
        };
        let list = &self.rqs[cpu.index()].leaf_queues;
        let at = list.iter().position(|other| depth(other) < depth(&id)).unwrap_or(list.len());
        self.rqs[cpu.index()].leaf_queues.insert(at, id);
        self.list_add_leaf_queue(self.entities[owner.index()].cfs_rq);
    }

    /// The queue's load stands still for now.
    pub(crate) fn list_del_leaf_queue(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.index()];
        if core::mem::take(&mut queue.on_list) {
            self.rqs[queue.cpu.index()].leaf_queues.retain(|other| *other != id);
        }
    }

    /// The utilisation a new task starts with: half of what its CPU has to spare, or its weight's share of what the
    /// CPU's tasks use, whichever is less (`post_init_entity_util_avg`, spec 2 §11).
    pub(crate) fn post_init_entity_util_avg(&mut self, task: TaskId) {
        let entity = &self.entities[self.tasks[task].se.index()];
        if !self.is_fair(task) {
            let now = self.queue_clock_pelt(entity.cfs_rq);
            self.entities[self.tasks[task].se.index()].avg.last_update_time = now;
            return;
        }
        let entity = &mut self.entities[self.tasks[task].se.index()];
        let queue = &self.queues[entity.cfs_rq.index()];
        let capacity = self.rqs[queue.cpu.index()].arch_capacity;
        let weight = match self.rules.queues.new_task_weight {
            NewTaskWeight::Full => entity.load.weight,
            NewTaskWeight::Table => entity.weight(),
        };
        let util = initial_util(capacity, queue.avg.util_avg, queue.avg.load_avg, weight);
        if let Some(util) = util {
            entity.avg.util_avg = util;
        }
        entity.avg.runnable_avg = match self.rules.queues.load_tracking {
            LoadTracking::SlowedTime => entity.avg.util_avg,
            LoadTracking::ScaledContributions => entity.avg.load_avg,
        };
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
    /// Ages the entity to `now` (PELT time of its queue) on a CPU of this capacity.
    #[inline]
    fn age(&mut self, now: Ns, running: bool, capacity: u64, rules: &Rules) {
        let queued = u64::from(self.on_rq);
        let crossed = match rules.queues.load_tracking {
            LoadTracking::SlowedTime => {
                let runnable = match self.my_queue {
                    _ if self.sched_delayed => 0,
                    Some(_) => self.runnable_weight,
                    None => queued,
                };
                self.avg.update_sum(now, Activity { load: queued, runnable, running })
            }
            LoadTracking::ScaledContributions => {
                let activity = Activity { load: queued, runnable: queued, running };
                self.avg.update_sum_scaled(now, activity, capacity, 1024)
            }
        };
        if crossed {
            self.update_avg(rules);
            rules.queues.util_est.clear_mark(&mut self.avg);
        }
    }

    /// Ages the entity to `now` as one that sleeps.
    fn decay_blocked(&mut self, now: Ns, rules: &Rules) {
        if self.avg.update_sum(now, Activity { load: 0, runnable: 0, running: false }) {
            self.update_avg(rules);
        }
    }

    /// Recomputes the averages from the sums.
    fn update_avg(&mut self, rules: &Rules) {
        match rules.queues.load_tracking {
            LoadTracking::SlowedTime => self.avg.update_avg(self.weight()),
            LoadTracking::ScaledContributions => {
                let runnable_weight = rules.queues.weight_floor.scale_load_down(self.runnable_load_weight());
                self.avg.update_avg_scaled(self.weight(), runnable_weight);
            }
        }
    }

    /// The full-resolution weight with which the entity counts as runnable, where contributions are scaled.
    #[inline]
    pub(crate) fn runnable_load_weight(&self) -> u64 {
        if self.my_queue.is_some() { self.runnable_weight } else { self.load.weight }
    }

    /// Part of the load of queued entities that is this one's: sum.
    fn runnable_load_sum(&self, rules: &Rules) -> u64 {
        rules.queues.weight_floor.scale_load_down(self.runnable_load_weight()) * self.avg.runnable_sum
    }
}

impl CfsRq {
    /// Ages the queue to `now`, taking out what left while asleep; true if the averages changed.
    #[inline]
    pub(crate) fn age(&mut self, now: Ns, capacity: u64, rules: &Rules) -> bool {
        let mut changed = false;
        if self.removed.nr != 0 {
            let removed = core::mem::take(&mut self.removed);
            let divider = self.avg.divider();
            self.avg.remove(removed, rules);
            self.add_propagation(match rules.queues.load_tracking {
                LoadTracking::SlowedTime => -((removed.runnable_avg * divider) as i64) >> 10,
                LoadTracking::ScaledContributions => -(removed.load_sum as i64),
            });
            changed = true;
        }
        let floor = rules.queues.weight_floor;
        let load = floor.scale_load_down(self.load_weight);
        let running = self.curr.is_some();
        let crossed = match rules.queues.load_tracking {
            LoadTracking::SlowedTime => {
                let runnable = u64::from(self.h_nr_runnable());
                self.avg.update_sum(now, Activity { load, runnable, running })
            }
            LoadTracking::ScaledContributions => {
                let runnable = floor.scale_load_down(self.runnable_weight);
                self.avg.update_sum_scaled(now, Activity { load, runnable, running }, capacity, 1024)
            }
        };
        if crossed {
            match rules.queues.load_tracking {
                LoadTracking::SlowedTime => self.avg.update_avg(1),
                LoadTracking::ScaledContributions => self.avg.update_avg_scaled(1, 1),
            }
            changed = true;
        }
        changed
    }

    /// Notes a jump that the queue above has to follow.
    fn add_propagation(&mut self, runnable_sum: i64) {
        if self.owner.is_some() {
            self.propagate = true;
            self.prop_runnable_sum += runnable_sum;
        }
    }

    /// Adds an entity's contribution; its sums are made to fit its averages at this queue's position in the period.
    fn attach(&mut self, entity: &mut Entity, rules: &Rules) {
        let divider = self.avg.divider();
        let weight = entity.weight();
        let avg = &mut entity.avg;
        avg.last_update_time = self.avg.last_update_time;
        avg.period_contrib = self.avg.period_contrib;
        avg.util_sum = (avg.util_avg * divider) as u32;
        let load = avg.load_avg * divider;
        avg.load_sum =
            if weight < load || !rules.queues.attaches_at_least_one { load / weight.max(1) } else { 1 };

        self.avg.load_avg += avg.load_avg;
        self.avg.load_sum += weight * avg.load_sum;
        self.avg.util_avg += avg.util_avg;
        self.avg.util_sum = self.avg.util_sum.wrapping_add(avg.util_sum);
        match rules.queues.load_tracking {
            LoadTracking::SlowedTime => {
                avg.runnable_sum = avg.runnable_avg * divider;
                self.avg.runnable_avg += avg.runnable_avg;
                self.avg.runnable_sum += avg.runnable_sum;
            }
            // Joins when the entity is queued.
            LoadTracking::ScaledContributions => avg.runnable_sum = avg.load_sum,
        }
        let load_sum = avg.load_sum as i64;
        self.add_propagation(load_sum);
    }

    /// Takes an entity's contribution out.
    fn detach(&mut self, entity: &Entity, rules: &Rules) {
        self.detach_load(entity, rules);
        let divider = self.avg.divider();
        let removal = rules.queues.removal;
        let avg = &mut self.avg;
        removal.take_util(avg, entity.avg.util_avg, entity.avg.util_sum, divider);
        match rules.queues.load_tracking {
            LoadTracking::SlowedTime => {
                let part = (entity.avg.runnable_avg, entity.avg.runnable_sum);
                removal.take(&mut avg.runnable_avg, &mut avg.runnable_sum, part, divider);
            }
            // Left when the entity was dequeued.
            LoadTracking::ScaledContributions => {}
        }
        self.add_propagation(-(entity.avg.load_sum as i64));
    }

    /// Takes the load part out (also while an entity changes its weight).
    pub(crate) fn detach_load(&mut self, entity: &Entity, rules: &Rules) {
        let divider = self.avg.divider();
        let part = (entity.avg.load_avg, entity.weight() * entity.avg.load_sum);
        let avg = &mut self.avg;
        rules.queues.removal.take(&mut avg.load_avg, &mut avg.load_sum, part, divider);
    }

    /// Puts the load part back.
    pub(crate) fn attach_load(&mut self, entity: &Entity) {
        self.avg.load_avg += entity.avg.load_avg;
        self.avg.load_sum += entity.weight() * entity.avg.load_sum;
    }

    /// The entity is queued: it counts in the load of queued entities, where that is kept.
    pub(crate) fn enqueue_runnable_load(&mut self, entity: &Entity, rules: &Rules) {
        if rules.queues.load_tracking == LoadTracking::ScaledContributions {
            self.runnable_weight += entity.runnable_load_weight();
            self.avg.runnable_avg += entity.avg.runnable_avg;
            self.avg.runnable_sum += entity.runnable_load_sum(rules);
        }
    }

    /// It no longer is.
    pub(crate) fn dequeue_runnable_load(&mut self, entity: &Entity, rules: &Rules) {
        if rules.queues.load_tracking == LoadTracking::ScaledContributions {
            self.runnable_weight -= entity.runnable_load_weight();
            self.avg.runnable_avg = self.avg.runnable_avg.saturating_sub(entity.avg.runnable_avg);
            self.avg.runnable_sum = self.avg.runnable_sum.saturating_sub(entity.runnable_load_sum(rules));
        }
    }
}

impl Removal {
    /// Takes a part out of an average and its sum, whose divider is `divider`.
    fn take(self, avg: &mut u64, sum: &mut u64, (part_avg, part_sum): (u64, u64), divider: u64) {
        *avg = avg.saturating_sub(part_avg);
        *sum = match self {
            Self::Subtract => sum.saturating_sub(part_sum),
            Self::Recompute => *avg * divider,
            Self::SubtractWithFloor => sum.saturating_sub(part_sum).max(*avg * MIN_DIVIDER),
        };
    }

    /// The same for the utilisation.
    fn take_util(self, avg: &mut SchedAvg, part_avg: u64, part_sum: u32, divider: u64) {
        let mut sum = u64::from(avg.util_sum);
        self.take(&mut avg.util_avg, &mut sum, (part_avg, u64::from(part_sum)), divider);
        avg.util_sum = sum as u32;
    }
}

impl SchedAvg {
    /// Takes out what left while asleep (spec 2 §9.3).
    fn remove(&mut self, removed: Removed, rules: &Rules) {
        let divider = self.divider();
        let removal = rules.queues.removal;
        let load = (removed.load_avg, removed.load_avg * divider);
        removal.take(&mut self.load_avg, &mut self.load_sum, load, divider);
        removal.take_util(self, removed.util_avg, (removed.util_avg * divider) as u32, divider);
        match rules.queues.load_tracking {
            LoadTracking::SlowedTime => {
                let runnable = (removed.runnable_avg, removed.runnable_avg * divider);
                removal.take(&mut self.runnable_avg, &mut self.runnable_sum, runnable, divider);
            }
            // What sleeps is not in it.
            LoadTracking::ScaledContributions => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kernel;
    use crate::kernels::{self, V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
    use crate::weight::LoadWeight;

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

    #[test]
    fn full_weights_give_a_new_task_half_of_what_is_left() {
        // Spec 2 §17.10: utilisation 200, load 2048; with the full-resolution weights of up to v6.1.
        let by_weight = [1024, 335, 3121].map(|weight| initial_util(1024, 200, 2048, weight << 10).unwrap());
        assert_eq!(by_weight, [412; 3]);
    }

    #[test]
    fn sums_are_made_to_fit_where_an_entity_joins() {
        // Spec 2 §17.10: a queue 500 units into its period.
        let joined = |kernel: &Kernel, load_avg: u64, util_avg: u64| {
            let rules = Rules::of(kernel, 8);
            let mut queue = CfsRq::new(CpuId(0));
            queue.avg.period_contrib = 500;
            let mut entity = Entity::new(LoadWeight::of_nice(0), 0);
            (entity.avg.load_avg, entity.avg.util_avg) = (load_avg, util_avg);
            queue.attach(&mut entity, &rules);
            assert_eq!((queue.avg.load_avg, queue.avg.util_avg), (load_avg, util_avg));
            (entity.avg.load_sum, entity.avg.util_sum)
        };
        for kernel in kernels::ALL {
            assert_eq!(joined(kernel, 1024, 512), (47_218, 24_175_616), "{}", kernel.build);
        }
        for kernel in [&V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13] {
            assert_eq!(joined(kernel, 0, 0), (1, 0), "{}", kernel.build);
        }
        for kernel in [&V4_19_0, &V5_15_0] {
            assert_eq!(joined(kernel, 0, 0), (0, 0), "{}", kernel.build);
        }
    }

    #[test]
    fn sums_follow_averages_as_the_kernel_has_it() {
        // Spec 2 §9.2, by hand: 100 of an average of 300 leave, with 2 million of 9 million; the divider is 46718 + 500.
        let taken = |removal: Removal| {
            let (mut avg, mut sum) = (300, 9_000_000);
            removal.take(&mut avg, &mut sum, (100, 2_000_000), MIN_DIVIDER + 500);
            (avg, sum)
        };
        assert_eq!(taken(Removal::Subtract), (200, 7_000_000));
        assert_eq!(taken(Removal::Recompute), (200, 200 * 47_218));
        assert_eq!(taken(Removal::SubtractWithFloor), (200, 200 * 46_718));
    }
}
