//! EEVDF: of the entities that have not had more than their share, run the one with the earliest deadline.
//!
//! Each queue has a virtual time `V`, the weighted mean of its entities' virtual runtimes. An entity at or before `V` is
//! owed service ("eligible"); the distance is its lag. Its deadline is a slice after its virtual runtime. With two
//! nice-0 tasks at 0 and 3 ms, `V` is 1.5 ms: only the first is eligible.
//!
//! In the kernel: `avg_vruntime`, `entity_eligible`, `place_entity`, `update_entity_lag`, `update_deadline`,
//! `pick_eevdf`. Specified in spec 2 §6. Everything here is arithmetic on one queue; who calls it when is in
//! [`fair`](crate::fair).
use super::rules::Rules;
use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::kernel::Features;
use crate::queue_rules::{
    BuddyPick, DelayedLag, Expiry, LagLimit, MeanReference, SliceProtection, VirtualTime, Yielding,
};
use crate::timeline::{Waiting, vtime_before};

/// What a pick may take into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickMode {
    /// Everything: this one decides who runs.
    Full,
    /// A trial: marks are ignored.
    Trial,
    /// Marks and the protection of what runs are ignored.
    Unprotected,
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

    /// What the timeline is ordered by.
    #[inline]
    pub(crate) fn key_of(&self, entity: &Entity) -> u64 {
        match self.virtual_time {
            VirtualTime::Minimum => entity.vruntime,
            VirtualTime::Mean | VirtualTime::FineMean => entity.deadline,
        }
    }

    /// What an entity weighs in the mean.
    #[inline]
    pub(crate) fn mean_weight(&self, entity: &Entity) -> u64 {
        match self.virtual_time {
            VirtualTime::Minimum => 0,
            VirtualTime::Mean => entity.weight(),
            VirtualTime::FineMean => entity.load.weight,
        }
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
            let weight = self.mean_weight(curr) as i64;
            sums.keys = sums.keys.wrapping_add(self.key(curr.vruntime).wrapping_mul(weight));
            sums.weights += weight;
        }
        sums
    }

    /// The queue's virtual time: the mean, rounded down.
    pub(crate) fn mean(&self, entities: &[Entity]) -> u64 {
        let Sums { keys, weights } = self.sums(entities);
        let ahead = if weights > 0 { keys.div_euclid(weights) } else { 0 };
        self.zero_vruntime.wrapping_add(ahead as u64)
    }

    /// The same; moves the reference point there in kernels that do so.
    pub(crate) fn avg_vruntime(&mut self, entities: &[Entity]) -> u64 {
        let mean = self.mean(entities);
        match self.mean_reference {
            MeanReference::WhenComputed | MeanReference::WhenComputedAndToHeavy => self.move_reference(mean),
            MeanReference::WhenTimelineChanges => {}
        }
        mean
    }

    /// Keeps virtual runtimes relative to `to` from now on, which changes no mean.
    fn move_reference(&mut self, to: u64) {
        let delta = self.key(to);
        self.avg_vruntime = self.avg_vruntime.wrapping_sub((self.avg_load as i64).wrapping_mul(delta));
        self.zero_vruntime = to;
    }

    /// The timeline has changed.
    fn refresh_reference(&mut self, entities: &[Entity]) {
        if self.virtual_time != VirtualTime::Minimum
            && self.mean_reference == MeanReference::WhenTimelineChanges
        {
            self.move_reference(self.mean(entities));
        }
    }

    /// `vruntime <= V`, without division; in 64 bits, which may overflow, unless the mean is a fine one.
    #[inline]
    fn eligible_by(&self, sums: &Sums, vruntime: u64) -> bool {
        let key = self.key(vruntime);
        match self.virtual_time {
            VirtualTime::Minimum | VirtualTime::Mean => sums.keys >= key.wrapping_mul(sums.weights),
            VirtualTime::FineMean => i128::from(sums.keys) >= i128::from(key) * i128::from(sums.weights),
        }
    }

    /// Whether an entity at this virtual runtime has not had more than its share.
    #[inline]
    pub(crate) fn eligible(&self, entities: &[Entity], vruntime: u64) -> bool {
        self.eligible_by(&self.sums(entities), vruntime)
    }

    /// Adds an entity to those that wait.
    pub(crate) fn insert_waiting(&mut self, entities: &[Entity], se: SeId) {
        let entity = &entities[se.index()];
        let weight = self.mean_weight(entity);
        self.avg_vruntime =
            self.avg_vruntime.wrapping_add(self.key(entity.vruntime).wrapping_mul(weight as i64));
        self.avg_load += weight;
        self.timeline.insert(Waiting { key: self.key_of(entity), vruntime: entity.vruntime, se });
        self.refresh_reference(entities);
    }

    /// Takes an entity from those that wait.
    pub(crate) fn remove_waiting(&mut self, entities: &[Entity], se: SeId) {
        let entity = &entities[se.index()];
        let weight = self.mean_weight(entity);
        self.timeline.remove(se, self.key_of(entity));
        self.avg_vruntime =
            self.avg_vruntime.wrapping_sub(self.key(entity.vruntime).wrapping_mul(weight as i64));
        self.avg_load -= weight;
        self.refresh_reference(entities);
    }

    /// The lag to keep: how far behind `V`, within a limit (spec 2 §6.5).
    pub(crate) fn entity_lag(&mut self, entities: &[Entity], se: SeId, rules: &Rules) -> i64 {
        let virtual_time = self.avg_vruntime(entities);
        let entity = &entities[se.index()];
        let limit = match rules.queues.lag_limit {
            LagLimit::TwoSlices => (2 * entity.slice).max(rules.tick),
            LagLimit::LongestSliceAndTick => {
                let waiting = self.timeline.entries().iter().map(|waiting| waiting.se);
                let all = waiting.chain(self.queued_curr(entities).map(|(se, _)| se));
                let longest = all.map(|se| entities[se.index()].slice).max();
                longest.unwrap_or(entity.slice) + rules.tick
            }
        };
        let limit = rules.delta_fair(limit, &entity.load) as i64;
        (virtual_time.wrapping_sub(entity.vruntime) as i64).clamp(-limit, limit)
    }

    /// The lag of an entity that was delayed and leaves or wakes up (spec 2 §6.8): of time it was owed nothing is left.
    pub(crate) fn delayed_lag(&mut self, entities: &[Entity], se: SeId, rules: &Rules) -> i64 {
        let lag = self.entity_lag(entities, se, rules);
        delayed_lag(lag, entities[se.index()].vlag, rules)
    }

    /// Where an entity joins: its lag behind `V` is what it was when it left, and its deadline a slice later (half a
    /// slice for a new task, the distance it had for a migrated one). Spec 2 §6.4.
    pub(crate) fn place(&mut self, entities: &mut [Entity], se: SeId, initial: bool, rules: &Rules) {
        let virtual_time = self.avg_vruntime(entities);
        let curr_weight = self.queued_curr(entities).map_or(0, |(_, curr)| self.mean_weight(curr));
        let entity = &mut entities[se.index()];
        if !entity.custom_slice {
            entity.slice = rules.base_slice;
        }
        let mut vslice = rules.delta_fair(entity.slice, &entity.load);
        let mut lag = 0;
        let mut heavier = false;
        if rules.features.contains(Features::PLACE_LAG) && self.nr_running > 0 {
            // Joining moves V towards the newcomer, so the lag is inflated by as much as it will shrink.
            let load = (self.avg_load + curr_weight) as i64;
            let weight = self.mean_weight(entity) as i64;
            lag = entity.vlag.wrapping_mul(load + weight) / load.max(1);
            heavier = weight > load;
        }
        entity.vruntime = virtual_time.wrapping_sub(lag as u64);
        if heavier && self.mean_reference == MeanReference::WhenComputedAndToHeavy {
            self.move_reference(entity.vruntime);
        }
        let absolute = rules.queues.places_any_relative_deadline
            || rules.features.contains(Features::PLACE_REL_DEADLINE);
        if absolute && entity.rel_deadline {
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
        entity.deadline = entity.vruntime.wrapping_add(rules.delta_fair(entity.slice, &entity.load));
        self.avg_vruntime(entities);
        true
    }

    /// Whether the running entity should stop, after an update that may have `renewed` its deadline (spec 2 §6.7).
    pub(crate) fn expires(&self, entities: &[Entity], se: SeId, renewed: bool, rules: &Rules) -> bool {
        let entity = &entities[se.index()];
        match rules.queues.expiry {
            Expiry::Tick => false,
            Expiry::RenewedOrIneligible => {
                renewed
                    || (rules.features.contains(Features::PREEMPT_SHORT)
                        && !entity.is_protected(rules)
                        && !self.eligible(entities, entity.vruntime))
            }
            Expiry::RenewedOrUnprotected => renewed || !entity.is_protected(rules),
        }
    }

    /// The running entity gives up what is left of its slice (spec 2 §1.2).
    pub(crate) fn yield_slice(&mut self, entities: &mut [Entity], se: SeId, rules: &Rules) {
        let entity = &entities[se.index()];
        if !self.eligible(entities, entity.vruntime) {
            return;
        }
        let entity = &mut entities[se.index()];
        entity.vruntime = entity.deadline;
        match rules.queues.yielding {
            Yielding::RestOfSlice | Yielding::SkipOnce => {
                self.update_deadline(entities, se, rules);
            }
            Yielding::RestOfSliceForAnother => {
                let vslice = rules.delta_fair(entity.slice, &entity.load);
                entity.deadline = entity.deadline.wrapping_add(vslice);
            }
        }
    }

    /// The entity to run next. The queue is not empty (spec 2 §6.5).
    pub(crate) fn pick_eevdf(&self, entities: &[Entity], mode: PickMode, rules: &Rules) -> SeId {
        let sums = self.sums(entities);
        let eligible = |vruntime: u64| self.eligible_by(&sums, vruntime);
        let buddy = if mode == PickMode::Full && rules.features.contains(Features::PICK_BUDDY) {
            self.next.filter(|next| eligible(entities[next.index()].vruntime))
        } else {
            None
        };
        if rules.queues.buddy_pick == BuddyPick::First
            && let Some(buddy) = buddy
        {
            return buddy;
        }
        let queued_curr = self.queued_curr(entities);
        if self.nr_running == 1 {
            return match queued_curr {
                Some((se, _)) => se,
                None => self.timeline.entries()[0].se,
            };
        }
        if let Some(buddy) = buddy {
            return buddy;
        }
        let curr = queued_curr.filter(|(_, curr)| eligible(curr.vruntime));
        if let Some((se, curr)) = curr
            && mode != PickMode::Unprotected
            && protection_counts(rules)
            && curr.is_protected(rules)
        {
            return se;
        }
        let best = self.timeline.entries().iter().find(|waiting| eligible(waiting.vruntime));
        match (best, curr) {
            (Some(best), Some((se, curr))) if vtime_before(curr.deadline, best.key) => se,
            (Some(best), _) => best.se,
            (None, Some((se, _))) => se,
            // Some entity is always at or before the mean, unless a product has overflowed.
            (None, None) => self.timeline.entries()[0].se,
        }
    }
}

/// Whether the pick honours protection.
fn protection_counts(rules: &Rules) -> bool {
    match rules.queues.slice_protection {
        SliceProtection::UntilRenewal => rules.features.contains(Features::RUN_TO_PARITY),
        // The feature only decides how long the protection is.
        SliceProtection::ShortestSlice | SliceProtection::ShortestSliceOfPick => true,
    }
}

/// The lag of an entity that was delayed, from its lag now and that at which it fell asleep.
fn delayed_lag(now: i64, at_sleep: i64, rules: &Rules) -> i64 {
    let lag = match rules.queues.delayed_lag {
        DelayedLag::WhenItEnds => now,
        DelayedLag::AtLeastAtSleep => now.max(at_sleep),
    };
    if rules.features.contains(Features::DELAY_ZERO) { lag.min(0) } else { lag }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CpuId;
    use crate::kernels::{V6_12_117, V6_18_15, V7_2_13};
    use crate::weight::LoadWeight;
    use alloc::vec;
    use alloc::vec::Vec;

    fn rules() -> Rules {
        Rules::of(&V6_12_117, 8)
    }

    fn entity(nice: i32, vruntime: i64, deadline: i64) -> Entity {
        Entity {
            vruntime: vruntime as u64,
            deadline: deadline as u64,
            ..Entity::new(LoadWeight::of_nice(nice), 2_800_000)
        }
    }

    /// A queue on which all of `entities` wait; virtual time starts at 0 here, as the vectors do.
    fn queue(entities: &mut [Entity]) -> CfsRq {
        let mut queue = CfsRq { zero_vruntime: 0, ..CfsRq::new(CpuId(0)) };
        for entity in entities.iter_mut() {
            entity.on_rq = true;
            queue.nr_running += 1;
        }
        for i in 0..entities.len() {
            queue.insert_waiting(entities, SeId(i as u32));
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
        assert_eq!(queue.pick_eevdf(&entities, PickMode::Full, &rules()), SeId(1));
    }

    #[test]
    fn a_running_entity_keeps_the_cpu_by_protection_or_deadline() {
        let pick = |vruntime: i64, deadline: i64, protected: bool| {
            let mut entities = five();
            let mut queue = queue(&mut entities);
            let mut curr = entity(0, vruntime, deadline);
            curr.on_rq = true;
            curr.vlag = if protected { deadline } else { deadline + 1 };
            entities.push(curr);
            queue.curr = Some(SeId(5));
            queue.nr_running += 1;
            let virtual_time = queue.avg_vruntime(&entities);
            (virtual_time, queue.pick_eevdf(&entities, PickMode::Full, &rules()))
        };
        assert_eq!(pick(300_000, 2_000_000, true), (523_516, SeId(5)));
        assert_eq!(pick(300_000, 2_000_000, false), (523_516, SeId(5)));
        assert_eq!(pick(300_000, 3_000_000, false), (523_516, SeId(1)));
        assert_eq!(pick(5_000_000, 3_000_000, true), (1_248_553, SeId(0)));
    }

    #[test]
    fn placement_keeps_the_lag() {
        // Spec 2 §17.8: nice values on the level (all at 0), nice and lag of the newcomer, then what is expected.
        type Row = (&'static [i32], i32, i64, i64, i64, i64, i64);
        let rows: [Row; 5] = [
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
            queue.place(&mut entities, se, false, &rules());
            let placed = &entities[se.index()];
            assert_eq!((placed.vruntime as i64, placed.deadline as i64), (vruntime, deadline), "{level:?}");
            queue.insert_waiting(&entities, se);
            let virtual_time = queue.avg_vruntime(&entities) as i64;
            assert_eq!((virtual_time, virtual_time - vruntime), (after, lag_after), "{level:?}");
        }
    }

    #[test]
    fn lag_is_limited_to_two_slices() {
        for (nice, limit) in [(-5, 1_837_359), (0, 5_600_000), (5, 17_117_612), (19, 382_293_333)] {
            let mut entities = [entity(nice, -1_000_000_000_000, 0), entity(-20, 0, 0)];
            let mut queue = queue(&mut entities);
            assert_eq!(queue.entity_lag(&entities, SeId(0), &rules()), limit, "nice {nice}");
        }
    }

    #[test]
    fn lag_is_limited_to_the_longest_slice_and_a_tick() {
        // Spec 2 §17.8, second rule, in the exact arithmetic of the kernel that has it: one ns less at nice -5.
        let rules = Rules::of(&V7_2_13, 8);
        for (nice, limit) in [(-5, 2_231_079), (0, 6_800_000), (5, 20_785_671), (19, 464_213_333)] {
            let mut entities = [entity(nice, -1_000_000_000_000, 0), entity(-20, 0, 0)];
            let mut queue = CfsRq { virtual_time: VirtualTime::FineMean, ..queue(&mut []) };
            for i in 0..entities.len() {
                entities[i].on_rq = true;
                queue.insert_waiting(&entities, SeId(i as u32));
            }
            assert_eq!(queue.entity_lag(&entities, SeId(0), &rules), limit, "nice {nice}");
        }
    }

    #[test]
    fn a_delayed_entity_loses_what_it_is_owed_but_not_more_than_it_owed() {
        // Spec 2 §6.8; the second row of the new rule is that of §17.8 (a).
        let old = Rules::of(&V6_18_15, 8);
        assert_eq!(delayed_lag(700, -1_500_000, &old), 0);
        assert_eq!(delayed_lag(-1_000_000, -500_000, &old), -1_000_000);
        let new = Rules::of(&V7_2_13, 8);
        assert_eq!(delayed_lag(700, -1_500_000, &new), 0);
        assert_eq!(delayed_lag(-500_000, -1_500_000, &new), -500_000);
        assert_eq!(delayed_lag(-1_000_000, -500_000, &new), -500_000);
    }

    #[test]
    fn a_marked_entity_is_picked_first_or_only_if_there_is_a_choice() {
        // Spec 2 §6.5 step 2: the only queued entity runs; the mark is on one that has left the level.
        let mut entities = [entity(0, 0, 10), entity(0, 0, 20)];
        let mut queue = queue(&mut entities);
        queue.next = Some(SeId(1));
        for kernel in [&V6_12_117, &V6_18_15, &V7_2_13] {
            let rules = Rules::of(kernel, 8);
            assert_eq!(queue.pick_eevdf(&entities, PickMode::Full, &rules), SeId(1));
            assert_eq!(queue.pick_eevdf(&entities, PickMode::Trial, &rules), SeId(0));
            assert_eq!(queue.pick_eevdf(&entities, PickMode::Unprotected, &rules), SeId(0));
        }
    }
}
