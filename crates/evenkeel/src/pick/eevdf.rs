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
