//! Task groups: who gets how much when groups compete, and how a group's load shows on each CPU.
//!
//! A group has shares (1024 by default). On each CPU it is represented by one entity, whose weight is the group's shares
//! divided over its CPUs in proportion to the load there: a group of one task on one CPU has an entity of weight 1024; with a
//! second, equal task on another CPU each entity weighs 512.
//!
//! In the kernel: `calc_group_shares`, `update_cfs_group`, `reweight_entity`, `update_tg_load_avg`,
//! `sched_create_group`. Specified in spec 2 §6.10, §9.6, §9.7, §14. Limits of CPU time are in [`bandwidth`](crate::bandwidth).
use crate::bandwidth::Pool;
use crate::bandwidth::rules::Throttling;
use crate::entity::{CfsRq, Entity};
use crate::ids::{CpuId, QueueId, SeId, TaskId, TgId};
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::pelt::{LOAD_AVG_MAX, MIN_DIVIDER};
use crate::pick::rules::Rules;
use crate::queue_rules::{LoadTracking, Removal, RunQueueRules, TgLoadUpdate, WeightFloor};
use crate::rq::Rq;
use crate::sched::Sched;
use crate::task::{OnRq, TaskState};
use crate::time::MS;
use crate::tune::Changed;
use crate::weight::{LoadWeight, NICE_0_LOAD, NICE_0_SHIFT};
use alloc::string::String;
use alloc::vec::Vec;

/// Full-resolution shares of a group that nobody changed.
pub const DEFAULT_SHARES: u64 = NICE_0_LOAD;
/// Shares of a group of the idle kind.
const IDLE_SHARES: u64 = 3 << NICE_0_SHIFT;

/// One task group.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    /// Its path, `/` for the root group.
    pub name: String,
    /// The group above; none for the root group.
    pub parent: Option<TgId>,
    /// Full-resolution shares; of the root group without meaning.
    pub shares: u64,
    /// Whether it is of the idle kind (`cpu.idle`).
    pub idle: bool,
    /// Load of all its queues.
    pub load_avg: u64,
    /// Its limit of CPU time, if it ever had one.
    pub pool: Option<Pool>,
    /// Its queue on each CPU.
    pub queues: Vec<QueueId>,
    /// Its entity on each CPU; empty for the root group.
    pub entities: Vec<SeId>,
}

impl TaskGroup {
    pub(crate) fn root(ncpus: usize) -> Self {
        Self {
            name: String::from("/"),
            parent: None,
            shares: DEFAULT_SHARES,
            idle: false,
            load_avg: 0,
            pool: None,
            queues: (0..ncpus as u32).map(QueueId).collect(),
            entities: Vec::new(),
        }
    }
}

/// Full-resolution shares for a `cpu.weight` of 1..=10000 (100 by default), rounded as the kernel does.
pub fn shares_of_weight(weight: u64) -> u64 {
    clamp_shares(((weight * 1024 + 50) / 100) << NICE_0_SHIFT)
}

/// Full-resolution shares for a `cpu.shares` value (1024 by default).
pub fn shares_of_cpu_shares(shares: u64) -> u64 {
    clamp_shares(shares.min(1 << 18) << NICE_0_SHIFT)
}

fn clamp_shares(shares: u64) -> u64 {
    shares.clamp(2 << NICE_0_SHIFT, 1 << (18 + NICE_0_SHIFT))
}

/// The weight of the entity that represents a queue: the group's shares times the queue's part of the group's load
/// (spec 2 §14.2). `shares` and the result are full resolution, all else is in table units.
pub fn calc_group_shares(
    shares: u64,
    queue_weight: u64,
    queue_load_avg: u64,
    tg_load_avg: u64,
    contrib: u64,
) -> u64 {
    let load = queue_weight.max(queue_load_avg);
    let total = tg_load_avg.wrapping_sub(contrib).wrapping_add(load);
    let part = shares * load;
    let part = part.checked_div(total).unwrap_or(part);
    // The floor is 2 without scaling: an entity of almost no weight.
    part.clamp(2, shares)
}

/// The part of an entity's weight with which it counts as runnable: that of its queue's load which is not asleep
/// (spec 2 §14.2).
fn calc_group_runnable(queue: &CfsRq, shares: u64, floor: WeightFloor) -> u64 {
    let load = queue.avg.load_avg.max(floor.scale_load_down(queue.load_weight));
    let runnable = queue.avg.runnable_avg.max(floor.scale_load_down(queue.runnable_weight));
    let part = runnable * shares;
    part.checked_div(load).unwrap_or(part).clamp(2, shares.max(2))
}

impl<O: Observer> Sched<O> {
    /// Creates a task group below `parent`, with full-resolution shares (see [`shares_of_weight`]).
    pub fn new_group(&mut self, parent: TgId, name: &str, shares: u64, idle: bool) -> TgId {
        let group = TgId::from_index(self.groups.len());
        let (mut queues, mut entities) = (Vec::new(), Vec::new());
        for cpu in 0..self.rqs.len() {
            let above = &self.groups[parent.index()];
            let (parent_queue, parent_se) = (above.queues[cpu], above.entities.get(cpu).copied());
            let queue = QueueId::from_index(self.queues.len());
            let se = SeId::from_index(self.entities.len());
            let depth = parent_se.map_or(0, |parent| self.entities[parent.index()].depth + 1);
            let RunQueueRules { virtual_time, mean_reference, .. } = self.rules.queues;
            self.queues.push(CfsRq {
                group,
                owner: Some(se),
                idle,
                virtual_time,
                mean_reference,
                ..CfsRq::new(CpuId(cpu as u32))
            });
            self.entities.push(Entity {
                cfs_rq: parent_queue,
                parent: parent_se,
                my_queue: Some(queue),
                depth,
                ..Entity::new(LoadWeight::computed(NICE_0_LOAD), self.rules.base_slice)
            });
            queues.push(queue);
            entities.push(se);
        }
        self.groups.push(TaskGroup {
            name: String::from(name),
            parent: Some(parent),
            shares: if idle { IDLE_SHARES } else { shares },
            idle,
            load_avg: 0,
            pool: None,
            queues,
            entities: entities.clone(),
        });
        for (cpu, se) in entities.into_iter().enumerate() {
            self.update_rq_clock(CpuId(cpu as u32));
            self.update_load_avg(se, Membership::Attach);
        }
        group
    }

    /// The task groups.
    pub fn groups(&self) -> &[TaskGroup] {
        &self.groups
    }

    /// Changes a group's shares (full resolution); a group of the idle kind keeps its own.
    pub(crate) fn set_group_shares(&mut self, group: TgId, shares: u64) {
        let shares = clamp_shares(shares);
        let tg = &mut self.groups[group.index()];
        if tg.parent.is_none() || tg.idle || tg.shares == shares {
            return;
        }
        tg.shares = shares;
        for cpu in 0..self.rqs.len() {
            self.update_rq_clock(CpuId(cpu as u32));
            let mut level = Some(self.groups[group.index()].entities[cpu]);
            while let Some(se) = level {
                self.update_load_avg(se, Membership::Keep);
                self.update_cfs_group(se);
                level = self.entities[se.index()].parent;
            }
        }
    }

    /// Gives the entity of a group the weight that its queue's load is worth.
    pub(crate) fn update_cfs_group(&mut self, se: SeId) {
        let Some(queue) = self.entities[se.index()].my_queue else { return };
        let queue = &self.queues[queue.index()];
        if (queue.load_weight == 0 && self.rules.queues.empty_group_keeps_weight)
            || (queue.bandwidth.throttle_count > 0
                && self.rules.queues.bandwidth.throttling == Throttling::WholeQueue)
        {
            return;
        }
        let tg = &self.groups[queue.group.index()];
        let floor = self.rules.queues.weight_floor;
        let weight = calc_group_shares(
            tg.shares,
            floor.scale_load_down(queue.load_weight),
            queue.avg.load_avg,
            tg.load_avg,
            queue.tg_load_avg_contrib,
        );
        let runnable_weight = match self.rules.queues.load_tracking {
            LoadTracking::SlowedTime => None,
            LoadTracking::ScaledContributions => Some(calc_group_runnable(queue, weight, floor)),
        };
        let entity = &self.entities[se.index()];
        let changed = self.rules.queues.reweights_unchanged
            || entity.load.weight != weight
            || runnable_weight.is_some_and(|weight| weight != entity.runnable_weight);
        if changed {
            self.reweight_entity(se, LoadWeight::computed_with(weight, floor), runnable_weight);
        }
    }

    /// Changes an entity's weight; the time it is owed, and the distance to its deadline, stay the same in real time.
    /// `runnable_weight`: the weight with which a group's entity counts as runnable, where contributions are scaled.
    pub(crate) fn reweight_entity(&mut self, se: SeId, load: LoadWeight, runnable_weight: Option<u64>) {
        let rules = self.rules();
        let id = self.entities[se.index()].cfs_rq;
        let on_rq = self.entities[se.index()].on_rq;
        if on_rq {
            self.update_curr(id);
        }
        let queue = &mut self.queues[id.index()];
        let attached = self.entities[se.index()].avg.last_update_time != 0;
        if attached {
            queue.detach_load(&self.entities[se.index()], &rules);
        }
        if on_rq {
            queue.dequeue_runnable_load(&self.entities[se.index()], &rules);
            queue.reweight_queued(&mut self.entities, se, load, &rules);
        } else {
            self.entities[se.index()].reweight_unqueued(load, &rules);
        }
        let entity = &mut self.entities[se.index()];
        entity.runnable_weight = runnable_weight.unwrap_or(entity.runnable_weight);
        let divider = entity.avg.divider();
        entity.avg.load_avg = entity.weight() * entity.avg.load_sum / divider;
        if rules.queues.load_tracking == LoadTracking::ScaledContributions {
            let weight = rules.queues.weight_floor.scale_load_down(entity.runnable_load_weight());
            let runnable = weight * entity.avg.runnable_sum;
            entity.avg.runnable_avg = runnable / divider;
        }
        if attached {
            queue.attach_load(entity);
        }
        if on_rq {
            queue.enqueue_runnable_load(entity, &rules);
        }
    }

    /// Tells the group how much load the queue has; not for small changes, and in newer kernels at most once a
    /// millisecond (spec 2 §9.7).
    pub(crate) fn update_tg_load_avg(&mut self, queue: QueueId) {
        let queue = &mut self.queues[queue.index()];
        let Rq { active, clock, .. } = self.rqs[queue.cpu.index()];
        let now = match self.rules.queues.tg_load_update {
            TgLoadUpdate::AtOnce | TgLoadUpdate::EachMs => self.now,
            TgLoadUpdate::EachMsOfQueueClock => clock,
        };
        let waits = match self.rules.queues.tg_load_update {
            TgLoadUpdate::AtOnce => false,
            TgLoadUpdate::EachMs | TgLoadUpdate::EachMsOfQueueClock => {
                !active || now - queue.last_update_tg_load_avg < MS
            }
        };
        if queue.owner.is_none() || waits {
            return;
        }
        let contrib = queue.tg_load_avg_contrib;
        let delta = queue.avg.load_avg as i64 - contrib as i64;
        if delta.unsigned_abs() > contrib / 64 {
            let tg = &mut self.groups[queue.group.index()];
            tg.load_avg = tg.load_avg.wrapping_add(delta as u64);
            queue.tg_load_avg_contrib = queue.avg.load_avg;
            queue.last_update_tg_load_avg = now;
        }
    }

    /// A CPU has gone offline. Where its queues tell their groups nothing any more, these forget what they were told.
    pub(crate) fn forget_tg_load_of(&mut self, cpu: CpuId) {
        if self.rules.queues.tg_load_update == TgLoadUpdate::AtOnce {
            return;
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.cpu == cpu) {
            let contrib = core::mem::take(&mut queue.tg_load_avg_contrib);
            let tg = &mut self.groups[queue.group.index()];
            tg.load_avg = tg.load_avg.wrapping_sub(contrib);
        }
    }

    /// Passes a jump of a group queue's averages on to the group's entity and the queue above (spec 2 §9.6). True if
    /// there was one.
    pub(crate) fn propagate_entity_load_avg(&mut self, se: SeId) -> bool {
        let entity = &self.entities[se.index()];
        let Some(child) = entity.my_queue else { return false };
        if !self.queues[child.index()].propagate {
            return false;
        }
        let parent = entity.cfs_rq;
        let child = &mut self.queues[child.index()];
        child.propagate = false;
        let jump = core::mem::take(&mut child.prop_runnable_sum);
        let (child_avg, child_weight) = (child.avg, child.load_weight);
        let entity = &mut self.entities[se.index()];
        let queue = &mut self.queues[parent.index()];
        queue.propagate = true;
        queue.prop_runnable_sum += jump;
        queue.follow_util(entity, child_avg.util_avg, &self.rules);
        if self.rules.queues.load_tracking == LoadTracking::SlowedTime {
            queue.follow_runnable(entity, child_avg.runnable_avg, &self.rules);
        }
        let capacity = self.rqs[queue.cpu.index()].arch_capacity;
        let jump = Jump { runnable_sum: jump, child_load_sum: child_avg.load_sum, child_weight };
        queue.follow_load(entity, jump, capacity, &self.rules);
        true
    }

    /// Moves a task to another group (spec 2 §5.6).
    pub(crate) fn set_task_group(&mut self, task: TaskId, group: TgId) {
        if self.tasks[task].group == group || self.tasks[task].state == TaskState::Dead {
            return;
        }
        if self.tasks[task].state == TaskState::New {
            self.tasks[task].group = group;
            return;
        }
        let changed = Changed::Group { task, before: self.tasks[task].group, after: group };
        self.emit_change(|_| Event::Changed(changed));
        if !self.is_fair(task) {
            // Groups do not matter to it, until it is fair again.
            let cpu = self.tasks[task].cpu;
            self.sync_entity_load_avg(task);
            self.tasks[task].group = group;
            self.age_for_move(task, cpu);
            self.assign_queue(task, cpu);
            return;
        }
        self.change_task(task, |sched| {
            let se = sched.tasks[task].se;
            if sched.entities[se.index()].avg.last_update_time != 0 {
                sched.update_load_avg(se, Membership::Detach);
                sched.propagate_up(se);
            }
            sched.entities[se.index()].avg.last_update_time = 0;
            let sleeps = sched.tasks[task].on_rq == OnRq::No;
            if sleeps {
                sched.normalize_sleeper(se);
            }
            sched.tasks[task].group = group;
            let cpu = sched.tasks[task].cpu;
            sched.assign_queue(task, cpu);
            if sleeps {
                sched.denormalize_sleeper(se);
            }
            sched.update_load_avg(se, Membership::Attach);
            sched.propagate_up(se);
        });
        // What runs may have lost its claim to the CPU; what comes from a throttled group may have got one.
        let cpu = self.tasks[task].cpu;
        let was_stopped = self.rqs[cpu.index()].curr.is_none() && self.root(cpu).nr_running > 0;
        if self.task_on_cpu(task) || was_stopped {
            self.resched_curr(cpu, cpu);
        }
    }

    /// Passes a jump on through all levels above an entity; the load of its queue decays from now on, even if nothing is
    /// ever queued there.
    pub(crate) fn propagate_up(&mut self, se: SeId) {
        let queue = self.entities[se.index()].cfs_rq;
        if self.propagation_stops_at(queue) {
            return;
        }
        self.list_add_leaf_queue(queue);
        let mut level = self.entities[se.index()].parent;
        while let Some(se) = level {
            self.update_load_avg(se, Membership::Keep);
            if self.is_cut_off(self.entities[se.index()].cfs_rq) {
                return;
            }
            level = self.entities[se.index()].parent;
        }
    }

    /// Whether nothing is passed on above a queue, because it is throttled or stands still.
    fn propagation_stops_at(&self, id: QueueId) -> bool {
        match self.rules.queues.bandwidth.throttling {
            Throttling::WholeQueue => self.queues[id.index()].bandwidth.throttled,
            Throttling::PerTask => self.queues[id.index()].bandwidth.paused,
        }
    }

    /// The queue and entity of the task's group on `cpu` become the task's.
    pub(crate) fn assign_queue(&mut self, task: TaskId, cpu: CpuId) {
        let p = &self.tasks[task];
        debug_assert!(!self.entities[p.se.index()].on_rq, "an entity on a queue cannot change its queue");
        let tg = &self.groups[p.group.index()];
        let parent = tg.entities.get(cpu.index()).copied();
        let depth = parent.map_or(0, |parent| self.entities[parent.index()].depth + 1);
        let entity = &mut self.entities[p.se.index()];
        entity.cfs_rq = tg.queues[cpu.index()];
        entity.parent = parent;
        entity.depth = depth;
    }
}

/// `x + delta`, at least 0.
fn add_positive(x: u64, delta: i64) -> u64 {
    x.saturating_add_signed(delta)
}

/// The divider of the averages and sums that are passed on; the oldest kernels use the limit of the sum.
fn propagation_divider(queue: &CfsRq, rules: &Rules) -> u64 {
    match rules.queues.load_tracking {
        LoadTracking::SlowedTime => queue.avg.divider(),
        LoadTracking::ScaledContributions => LOAD_AVG_MAX,
    }
}

impl Removal {
    /// An average and its sum follow a jump.
    fn follow(self, avg: &mut u64, sum: &mut u64, (delta_avg, delta_sum): (i64, i64), divider: u64) {
        *avg = add_positive(*avg, delta_avg);
        *sum = match self {
            Self::Subtract | Self::Recompute => *avg * divider,
            Self::SubtractWithFloor => add_positive(*sum, delta_sum).max(*avg * MIN_DIVIDER),
        };
    }

    /// The same for load, where the oldest kernels do not round sums to averages.
    fn follow_load(self, avg: &mut u64, sum: &mut u64, delta: (i64, i64), divider: u64) {
        match self {
            Self::Subtract => {
                *avg = add_positive(*avg, delta.0);
                *sum = add_positive(*sum, delta.1);
            }
            Self::Recompute | Self::SubtractWithFloor => self.follow(avg, sum, delta, divider),
        }
    }
}

/// What has changed below a group's entity.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// By how much the sum of runnable time jumped.
    runnable_sum: i64,
    /// The load sum of the group's queue.
    child_load_sum: u64,
    /// Its full-resolution weight.
    child_weight: u64,
}

impl CfsRq {
    /// The group entity's utilisation becomes that of its queue; this queue's changes by the same.
    fn follow_util(&mut self, entity: &mut Entity, util_avg: u64, rules: &Rules) {
        if util_avg == entity.avg.util_avg {
            return;
        }
        let divider = propagation_divider(self, rules);
        let delta_avg = util_avg as i64 - entity.avg.util_avg as i64;
        let util_sum = (util_avg * divider) as u32;
        let delta_sum = i64::from(util_sum) - i64::from(entity.avg.util_sum);
        entity.avg.util_avg = util_avg;
        entity.avg.util_sum = util_sum;
        let mut sum = u64::from(self.avg.util_sum);
        rules.queues.removal.follow(&mut self.avg.util_avg, &mut sum, (delta_avg, delta_sum), divider);
        self.avg.util_sum = sum as u32;
    }

    /// The same for the runnable average.
    fn follow_runnable(&mut self, entity: &mut Entity, runnable_avg: u64, rules: &Rules) {
        if runnable_avg == entity.avg.runnable_avg {
            return;
        }
        let divider = propagation_divider(self, rules);
        let delta_avg = runnable_avg as i64 - entity.avg.runnable_avg as i64;
        let runnable_sum = match rules.queues.cuts_propagated_runnable {
            true => u64::from((runnable_avg * divider) as u32),
            false => runnable_avg * divider,
        };
        let delta_sum = runnable_sum as i64 - entity.avg.runnable_sum as i64;
        entity.avg.runnable_avg = runnable_avg;
        entity.avg.runnable_sum = runnable_sum;
        let avg = &mut self.avg;
        let delta = (delta_avg, delta_sum);
        rules.queues.removal.follow(&mut avg.runnable_avg, &mut avg.runnable_sum, delta, divider);
    }

    /// The group entity's runnable time follows a jump of its queue's, as far as that can be told.
    fn follow_load(&mut self, entity: &mut Entity, jump: Jump, capacity: u64, rules: &Rules) {
        let Jump { runnable_sum: jump, child_load_sum, child_weight } = jump;
        if jump == 0 {
            return;
        }
        let divider = propagation_divider(self, rules);
        let sum = if jump >= 0 {
            // The queue got more: at most always runnable.
            (jump as u64 + entity.avg.load_sum).min(divider)
        } else {
            // It got less: not more than what is left per unit of weight.
            let left = match rules.queues.weight_floor.scale_load_down(child_weight) {
                0 => 0,
                weight => child_load_sum / weight,
            };
            entity.avg.load_sum.min(left)
        };
        // Whatever ran was runnable.
        let sum = sum.max(match rules.queues.load_tracking {
            LoadTracking::SlowedTime => u64::from(entity.avg.util_sum >> 10),
            LoadTracking::ScaledContributions => u64::from(entity.avg.util_sum) / capacity,
        });
        let weight = entity.weight();
        let load_sum = weight * sum;
        let load_avg = load_sum / divider;
        let delta_avg = load_avg as i64 - entity.avg.load_avg as i64;
        let delta_sum = load_sum as i64 - (weight * entity.avg.load_sum) as i64;
        if load_avg == entity.avg.load_avg && rules.queues.removal == Removal::SubtractWithFloor {
            return;
        }
        entity.avg.load_sum = sum;
        if load_avg != entity.avg.load_avg || rules.queues.removal == Removal::Subtract {
            entity.avg.load_avg = load_avg;
            let avg = &mut self.avg;
            let delta = (delta_avg, delta_sum);
            rules.queues.removal.follow_load(&mut avg.load_avg, &mut avg.load_sum, delta, divider);
        }
        if rules.queues.load_tracking == LoadTracking::ScaledContributions {
            self.follow_runnable_load(entity, sum, divider, rules);
        }
    }

    /// The load of queued entities follows too, if the group's entity is one of them.
    fn follow_runnable_load(&mut self, entity: &mut Entity, sum: u64, divider: u64, rules: &Rules) {
        let weight = rules.queues.weight_floor.scale_load_down(entity.runnable_load_weight());
        let runnable_avg = weight * sum / divider;
        let delta_avg = runnable_avg as i64 - entity.avg.runnable_avg as i64;
        let delta_sum = (weight * sum) as i64 - (weight * entity.avg.runnable_sum) as i64;
        entity.avg.runnable_sum = sum;
        entity.avg.runnable_avg = runnable_avg;
        if entity.on_rq {
            self.avg.runnable_avg = add_positive(self.avg.runnable_avg, delta_avg);
            self.avg.runnable_sum = add_positive(self.avg.runnable_sum, delta_sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight::scale_load_down;

    #[test]
    fn shares_are_divided_by_load() {
        // Spec 2 §17.10: shares, weight and load of the queue, load and contribution of the group.
        let k = 1 << 10;
        let rows = [
            (1024 * k, 1024 * k, 1024, 1024, 1024, 1_048_576, 1024),
            (1024 * k, 1024 * k, 0, 0, 0, 1_048_576, 1024),
            (1024 * k, 1024 * k, 512, 2048, 512, 419_430, 409),
            (1024 * k, 2048 * k, 1500, 6000, 1500, 327_960, 320),
            (1024 * k, 0, 300, 3000, 300, 104_857, 102),
            (1024 * k, 0, 0, 3000, 0, 2, 2),
            (15 * k, 1024 * k, 1024, 8192, 1024, 1920, 2),
            (100 * k, 3 * k, 3, 3000, 3, 102, 2),
        ];
        for (shares, weight, load, tg_load, contrib, expected, se_weight) in rows {
            let got = calc_group_shares(shares, scale_load_down(weight), load, tg_load, contrib);
            assert_eq!((got, scale_load_down(got)), (expected, se_weight));
        }
    }

    #[test]
    fn cgroup_weights_become_shares() {
        assert_eq!(shares_of_weight(100), DEFAULT_SHARES);
        assert_eq!(shares_of_weight(1), 10 << 10);
        assert_eq!(shares_of_weight(10_000), 102_400 << 10);
        assert_eq!(shares_of_cpu_shares(1), 2 << 10);
    }
}
