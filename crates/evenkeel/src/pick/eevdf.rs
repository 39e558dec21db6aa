//! EEVDF: of the entities that have not had more than their share, run the one with the earliest deadline.
//!
//! Each queue has a virtual time `V`, the weighted mean of its entities' virtual runtimes. An entity at or before `V` is
//! owed service ("eligible"); the distance is its lag. Its deadline is a slice after its virtual runtime. With two
//! nice-0 tasks at 0 and 3 ms, `V` is 1.5 ms: only the first is eligible.
//!
//! In the kernel: `avg_vruntime`, `entity_eligible`, `place_entity`, `update_entity_lag`, `update_deadline`,
//! `pick_eevdf`. Specified in spec 2 §6. Everything here is arithmetic on one queue; who calls it when is in
//! [`fair`](crate::fair).
use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::kernel::Features;
use crate::time::Ns;
use crate::timeline::{Waiting, vtime_before};
use crate::weight::calc_delta_fair;

/// The constants a queue's arithmetic depends on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Feature bits.
    pub features: Features,
    /// The default slice, ns.
    pub base_slice: Ns,
    /// The length of a tick, ns.
    pub tick: Ns,
}

/// A queue's sums over its waiting entities plus the running one, if that is queued.
#[derive(Clone, Copy, Debug)]
struct Sums {
    /// Sum of `(vruntime - zero_vruntime) * weight`.
    keys: i64,
    /// Sum of weights.
    weights: i64,
}

impl CfsRq {
    #[inline]
    fn key(&self, vruntime: u64) -> i64 {
        vruntime.wrapping_sub(self.zero_vruntime) as i64
    }

    /// The running entity, if it is queued.
    #[inline]
    pub(crate) fn queued_curr<'a>(&self, entities: &'a [Entity]) -> Option<(SeId, &'a Entity)> {
        let se = self.curr?;
        let entity = &entities[se.index()];
        entity.on_rq.then_some((se, entity))
    }

    #[inline]
    fn sums(&self, entities: &[Entity]) -> Sums {
        let mut sums = Sums { keys: self.avg_vruntime, weights: self.avg_load as i64 };
        if let Some((_, curr)) = self.queued_curr(entities) {
            let weight = curr.weight() as i64;
            sums.keys = sums.keys.wrapping_add(self.key(curr.vruntime).wrapping_mul(weight));
            sums.weights += weight;
        }
        sums
    }

    /// The queue's virtual time: the mean, rounded down. Moves the reference point there, which changes no mean.
    pub(crate) fn avg_vruntime(&mut self, entities: &[Entity]) -> u64 {
        let Sums { keys, weights } = self.sums(entities);
        let delta = if weights > 0 { keys.div_euclid(weights) } else { 0 };
        self.avg_vruntime = self.avg_vruntime.wrapping_sub((self.avg_load as i64).wrapping_mul(delta));
        self.zero_vruntime = self.zero_vruntime.wrapping_add(delta as u64);
        self.zero_vruntime
    }

    /// Whether an entity at this virtual runtime has not had more than its share: `vruntime <= V`, without division.
    #[inline]
    pub(crate) fn eligible(&self, entities: &[Entity], vruntime: u64) -> bool {
        let Sums { keys, weights } = self.sums(entities);
        keys >= self.key(vruntime).wrapping_mul(weights)
    }

    /// Adds an entity to those that wait.
    pub(crate) fn insert_waiting(&mut self, se: SeId, entity: &Entity) {
        let weight = entity.weight();
        self.avg_vruntime =
            self.avg_vruntime.wrapping_add(self.key(entity.vruntime).wrapping_mul(weight as i64));
        self.avg_load += weight;
        self.timeline.insert(Waiting { deadline: entity.deadline, vruntime: entity.vruntime, se });
    }

    /// Takes an entity from those that wait.
    pub(crate) fn remove_waiting(&mut self, se: SeId, entity: &Entity) {
        let weight = entity.weight();
        self.timeline.remove(se, entity.deadline);
        self.avg_vruntime =
            self.avg_vruntime.wrapping_sub(self.key(entity.vruntime).wrapping_mul(weight as i64));
        self.avg_load -= weight;
    }

    /// The lag to keep: how far behind `V`, within the limit of two slices or a tick (spec 2 §6.5).
    pub(crate) fn entity_lag(&mut self, entities: &[Entity], se: SeId, rules: &Rules) -> i64 {
        let virtual_time = self.avg_vruntime(entities);
        let entity = &entities[se.index()];
        let limit = calc_delta_fair((2 * entity.slice).max(rules.tick), &entity.load) as i64;
        (virtual_time.wrapping_sub(entity.vruntime) as i64).clamp(-limit, limit)
    }

    /// Where an entity joins: its lag behind `V` is what it was when it left, and its deadline a slice later (half a
    /// slice for a new task, the distance it had for a migrated one). Spec 2 §6.4.
    pub(crate) fn place(&mut self, entities: &mut [Entity], se: SeId, initial: bool, rules: &Rules) {
        let virtual_time = self.avg_vruntime(entities);
        let curr_weight = self.queued_curr(entities).map_or(0, |(_, curr)| curr.weight());
        let entity = &mut entities[se.index()];
        if !entity.custom_slice {
            entity.slice = rules.base_slice;
        }
        let mut vslice = calc_delta_fair(entity.slice, &entity.load);
        let mut lag = 0;
        if rules.features.contains(Features::PLACE_LAG) && self.nr_running > 0 {
            // Joining moves V towards the newcomer, so the lag is inflated by as much as it will shrink.
            let load = (self.avg_load + curr_weight) as i64;
            let weight = entity.weight() as i64;
            lag = entity.vlag.wrapping_mul(load + weight) / load.max(1);
        }
        entity.vruntime = virtual_time.wrapping_sub(lag as u64);
        if rules.features.contains(Features::PLACE_REL_DEADLINE) && entity.rel_deadline {
            entity.deadline = entity.deadline.wrapping_add(entity.vruntime);
            entity.rel_deadline = false;
            return;
        }
        if initial && rules.features.contains(Features::PLACE_DEADLINE_INITIAL) {
            vslice /= 2;
        }
        entity.deadline = entity.vruntime.wrapping_add(vslice);
    }

    /// Gives the entity a new deadline if it has used up its slice; true if so (spec 2 §6.3).
    pub(crate) fn update_deadline(&mut self, entities: &mut [Entity], se: SeId, rules: &Rules) -> bool {
        let entity = &mut entities[se.index()];
        if vtime_before(entity.vruntime, entity.deadline) {
            return false;
        }
        if !entity.custom_slice {
            entity.slice = rules.base_slice;
        }
        entity.deadline = entity.vruntime.wrapping_add(calc_delta_fair(entity.slice, &entity.load));
        self.avg_vruntime(entities);
        true
    }

    /// The entity to run next; `with_buddy` honours a marked one. The queue is not empty (spec 2 §6.5).
    pub(crate) fn pick_eevdf(&self, entities: &[Entity], with_buddy: bool, rules: &Rules) -> SeId {
        let sums = self.sums(entities);
        let eligible = |vruntime: u64| sums.keys >= self.key(vruntime).wrapping_mul(sums.weights);
        if with_buddy
            && rules.features.contains(Features::PICK_BUDDY)
            && let Some(next) = self.next
            && eligible(entities[next.index()].vruntime)
        {
            return next;
        }
        let queued_curr = self.queued_curr(entities);
        if self.nr_running == 1 {
            return match queued_curr {
                Some((se, _)) => se,
                None => self.timeline.entries()[0].se,
            };
        }
        let curr = queued_curr.filter(|(_, curr)| eligible(curr.vruntime));
        if let Some((se, curr)) = curr
            && rules.features.contains(Features::RUN_TO_PARITY)
            && curr.is_protected()
        {
            return se;
        }
        let best = self.timeline.entries().iter().find(|waiting| eligible(waiting.vruntime));
        match (best, curr) {
            (Some(best), Some((se, curr))) if vtime_before(curr.deadline, best.deadline) => se,
            (Some(best), _) => best.se,
            (None, Some((se, _))) => se,
            (None, None) => unreachable!("some entity of a queue is always at or before its mean"),
        }
    }
}

impl Entity {
    /// From now until its deadline is renewed the entity is protected from preemption by deadline.
    #[inline]
    pub(crate) fn protect(&mut self) {
        self.vlag = self.deadline as i64;
    }

    /// Whether it still is.
    #[inline]
    pub(crate) fn is_protected(&self) -> bool {
        self.vlag == self.deadline as i64
    }

    /// It no longer is.
    #[inline]
    pub(crate) fn cancel_protection(&mut self) {
        self.vlag = self.deadline.wrapping_add(1) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CpuId, QueueId};
    use crate::kernels::V6_12_117;
    use crate::pelt::SchedAvg;
    use crate::weight::LoadWeight;
    use alloc::vec;
    use alloc::vec::Vec;

    const RULES: Rules = Rules { features: V6_12_117.features, base_slice: 2_800_000, tick: 4_000_000 };

    fn entity(nice: i32, vruntime: i64, deadline: i64) -> Entity {
        Entity {
            load: LoadWeight::of_nice(nice),
            on_rq: false,
            sched_delayed: false,
            custom_slice: false,
            rel_deadline: false,
            exec_start: 0,
            sum_exec: 0,
            prev_sum_exec: 0,
            vruntime: vruntime as u64,
            deadline: deadline as u64,
            vlag: 0,
            vprot: 0,
            slice: RULES.base_slice,
            avg: SchedAvg::default(),
            cfs_rq: QueueId(0),
            parent: None,
            my_queue: None,
            task: None,
        }
    }

    /// A queue on which all of `entities` wait; virtual time starts at 0 here, as the vectors do.
    fn queue(entities: &mut [Entity]) -> CfsRq {
        let mut queue = CfsRq { zero_vruntime: 0, ..CfsRq::new(CpuId(0)) };
        for (i, entity) in entities.iter_mut().enumerate() {
            entity.on_rq = true;
            queue.nr_running += 1;
            queue.insert_waiting(SeId(i as u32), entity);
        }
        queue
    }

    #[test]
    fn virtual_time_is_the_mean_rounded_down() {
        for ((a, b), mean) in
            [((0, -3), -2), ((0, 3), 1), ((1, -2), -1), ((-1, -2), -2), ((1000, -3000), -1000)]
        {
            let mut entities = [entity(0, a, a), entity(0, b, b)];
            let mut queue = queue(&mut entities);
            assert_eq!(queue.avg_vruntime(&entities) as i64, mean, "{a} and {b}");
            // Moving the reference point has changed nothing.
            assert_eq!(queue.avg_vruntime(&entities) as i64, mean);
            assert_eq!(queue.eligible(&entities, a as u64), a <= mean);
            assert_eq!(queue.eligible(&entities, b as u64), b <= mean);
        }
        let mut entities = [entity(0, 10, 10), entity(5, 0, 0), entity(-5, 3, 3)];
        let mut queue = queue(&mut entities);
        assert_eq!((queue.avg_vruntime, queue.avg_load), (19603, 4480));
        assert_eq!(queue.avg_vruntime(&entities), 4);
        assert_eq!([10, 0, 3].map(|v| queue.eligible(&entities, v)), [false, true, true]);
    }

    fn five() -> Vec<Entity> {
        vec![
            entity(-5, 900_000, 1_818_679),     // D
            entity(0, -500_000, 2_300_000),     // B
            entity(0, 1_000_000, 3_800_000),    // A
            entity(5, 200_000, 8_758_806),      // C
            entity(10, -2_000_000, 24_065_454), // F
        ]
    }

    #[test]
    fn the_earliest_eligible_deadline_wins() {
        let mut entities = five();
        let mut queue = queue(&mut entities);
        assert_eq!((queue.avg_vruntime, queue.avg_load), (3_167_900_000, 5614));
        let lags: Vec<i64> = (0..5).map(|i| 564_285 - entities[i].vruntime as i64).collect();
        assert_eq!(queue.avg_vruntime(&entities), 564_285);
        assert_eq!(lags, [-335_715, 1_064_285, -435_715, 364_285, 2_564_285]);
        assert_eq!(queue.pick_eevdf(&entities, true, &RULES), SeId(1));
    }

    #[test]
    fn a_running_entity_keeps_the_cpu_by_protection_or_deadline() {
        let pick = |vruntime: i64, deadline: i64, protected: bool| {
            let mut entities = five();
            let mut queue = queue(&mut entities);
            let mut curr = entity(0, vruntime, deadline);
            curr.on_rq = true;
            if protected {
                curr.protect();
            } else {
                curr.cancel_protection();
            }
            entities.push(curr);
            queue.curr = Some(SeId(5));
            queue.nr_running += 1;
            let virtual_time = queue.avg_vruntime(&entities);
            (virtual_time, queue.pick_eevdf(&entities, true, &RULES))
        };
        assert_eq!(pick(300_000, 2_000_000, true), (523_516, SeId(5)));
        assert_eq!(pick(300_000, 2_000_000, false), (523_516, SeId(5)));
        assert_eq!(pick(300_000, 3_000_000, false), (523_516, SeId(1)));
        assert_eq!(pick(5_000_000, 3_000_000, true), (1_248_553, SeId(0)));
    }

    #[test]
    fn placement_keeps_the_lag() {
        // Spec 2 §17.8: nice values on the level (all at 0), nice and lag of the newcomer, then what is expected.
        let rows: [(&[i32], i32, i64, i64, i64, i64, i64); 5] = [
            (&[0], 0, 1_000_000, -2_000_000, 800_000, -1_000_000, 1_000_000),
            (&[0], 0, -1_000_000, 2_000_000, 4_800_000, 1_000_000, -1_000_000),
            (&[0, 0], 0, 1_000_000, -1_500_000, 1_300_000, -500_000, 1_000_000),
            (&[0, 5, -5], 5, 1_000_000, -1_074_776, 7_484_030, -74_777, 999_999),
            (&[0, 5, -5], -5, -3_000_001, 5_089_957, 6_008_636, 2_089_956, -3_000_001),
        ];
        for (level, nice, vlag, vruntime, deadline, after, lag_after) in rows {
            let mut entities: Vec<Entity> = level.iter().map(|&nice| entity(nice, 0, 0)).collect();
            let mut queue = queue(&mut entities);
            let se = SeId(level.len() as u32);
            entities.push(Entity { vlag, ..entity(nice, 0, 0) });
            queue.place(&mut entities, se, false, &RULES);
            let placed = &entities[se.index()];
            assert_eq!((placed.vruntime as i64, placed.deadline as i64), (vruntime, deadline), "{level:?}");
            queue.insert_waiting(se, &entities[se.index()]);
            let virtual_time = queue.avg_vruntime(&entities) as i64;
            assert_eq!((virtual_time, virtual_time - vruntime), (after, lag_after), "{level:?}");
        }
    }

    #[test]
    fn lag_is_limited_to_two_slices() {
        for (nice, limit) in [(-5, 1_837_359), (0, 5_600_000), (5, 17_117_612), (19, 382_293_333)] {
            let mut entities = [entity(nice, -1_000_000_000_000, 0), entity(-20, 0, 0)];
            let mut queue = queue(&mut entities);
            assert_eq!(queue.entity_lag(&entities, SeId(0), &RULES), limit, "nice {nice}");
        }
    }
}
