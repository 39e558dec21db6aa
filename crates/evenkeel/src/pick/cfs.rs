//! Classic CFS: whoever has the least virtual runtime runs, for a slice that depends on how many wait.
//!
//! A target latency is divided among those who wait by weight: with 24 ms on 8 CPUs and tasks of weight 1024, 335 and 3121
//! the slices are 5.5, 1.8 and 16.7 ms. At the tick what runs is stopped once it has run for longer than its slice, or is
//! ahead of the first who waits by more than that. Sleepers join at half a latency behind the others at most.
//!
//! In the kernel: `sched_slice`, `place_entity`, `check_preempt_tick`, `pick_next_entity`, `wakeup_preempt_entity`,
//! `update_min_vruntime`. Specified in spec 2 §7. Everything here is arithmetic on one queue; who calls it when is in
//! [`queue`](crate::queue) and [`fair`](crate::fair).
use super::rules::Rules;
use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::kernel::Features;
use crate::time::Ns;
use crate::timeline::vtime_before;
use crate::weight::{LoadWeight, calc_delta_scaled};

/// Longer than this, and a sleeper's virtual runtime no longer means anything: `2^63 / 1024` ns.
const LONG_SLEEP: Ns = (1 << 63) / 1024;

/// An entity's part of the queue it is on, its own weight included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Weight of the entity in table units.
    pub(crate) weight: u64,
    /// Full-resolution weight of the queue.
    pub(crate) of: u64,
}

/// The slice of an entity among `nr` tasks, ns: the period times its share on each level, from the entity to the root; at
/// least `floor` (spec 2 §7.2).
pub(crate) fn sched_slice(nr: u32, shares: impl Iterator<Item = Share>, floor: Ns, rules: &Rules) -> Ns {
    let period =
        if nr > rules.cfs.nr_latency { u64::from(nr) * rules.cfs.min_granularity } else { rules.cfs.latency };
    let slice = shares.fold(period, |slice, share| {
        let of = LoadWeight::computed_with(share.of, rules.queues.weight_floor);
        calc_delta_scaled(slice, share.weight, &of)
    });
    if rules.features.contains(Features::BASE_SLICE) { slice.max(floor) } else { slice }
}

/// Where an entity joins that is placed (spec 2 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// A new one: a slice of virtual time after the others.
    New {
        /// That slice.
        vslice: u64,
    },
    /// One that slept: a little before the others.
    Slept {
        /// An idle entity, which gets less credit where there is a difference.
        idle: bool,
        /// For how long, ns; 0: not known.
        duration: Ns,
    },
}

/// The virtual runtime with which an entity joins a queue that is at `min_vruntime`.
pub(crate) fn place_entity(vruntime: u64, min_vruntime: u64, placed: Placed, rules: &Rules) -> u64 {
    let place = match placed {
        Placed::New { vslice } if rules.features.contains(Features::START_DEBIT) => {
            min_vruntime.wrapping_add(vslice)
        }
        Placed::New { .. } => min_vruntime,
        Placed::Slept { idle, .. } => {
            let differs = idle && rules.cfs.idle_min_granularity.is_some();
            let credit = if differs { rules.cfs.min_granularity } else { rules.cfs.latency };
            let gentle = rules.features.contains(Features::GENTLE_FAIR_SLEEPERS);
            min_vruntime.wrapping_sub(if gentle { credit / 2 } else { credit })
        }
    };
    if let Placed::Slept { duration, .. } = placed
        && rules.queues.forgets_long_sleepers
        && duration > LONG_SLEEP
    {
        return place;
    }
    vtime_max(vruntime, place)
}

fn vtime_max(a: u64, b: u64) -> u64 {
    if vtime_before(a, b) { b } else { a }
}

/// What a tick found (spec 2 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TickVerdict {
    /// It has run for longer than its slice: stop it, and no mark may bring it back.
    SliceUsed,
    /// It is too far ahead of the first who waits: stop it.
    TooFarAhead,
    /// It goes on.
    Keep,
}

/// Whether an entity with the slice `ideal` that has run for `ran` and is ahead of the first who waits by `ahead` (virtual
/// time, compared as if it were real time) may go on.
pub(crate) fn check_preempt_tick(ideal: Ns, ran: Ns, ahead: i64, rules: &Rules) -> TickVerdict {
    if ran > ideal {
        TickVerdict::SliceUsed
    } else if ran >= rules.cfs.min_granularity && ahead > ideal as i64 {
        TickVerdict::TooFarAhead
    } else {
        TickVerdict::Keep
    }
}

/// Whether `se` should preempt `curr`: -1 it is not behind, 0 it is behind by no more than the granularity, 1 by more
/// (spec 2 §7.5).
pub(crate) fn wakeup_preempt_entity(curr: &Entity, se: &Entity, rules: &Rules) -> i32 {
    let behind = curr.vruntime.wrapping_sub(se.vruntime) as i64;
    if behind <= 0 {
        return -1;
    }
    i32::from(behind > rules.delta_fair(rules.cfs.wakeup_granularity, &se.load) as i64)
}

impl CfsRq {
    /// The smallest virtual runtime so far, by which entities are measured.
    #[inline]
    pub(crate) fn min_vruntime(&self) -> u64 {
        self.zero_vruntime
    }

    /// Moves it forward to that of the running or the first waiting entity, whichever is less (spec 2 §7.1).
    pub(crate) fn update_min_vruntime(&mut self, entities: &[Entity]) {
        let curr = self.queued_curr(entities).map(|(_, curr)| curr.vruntime);
        let first = self.timeline.entries().first().map(|waiting| waiting.vruntime);
        let candidate = match (curr, first) {
            (Some(curr), Some(first)) => Some(if vtime_before(curr, first) { curr } else { first }),
            (curr, first) => curr.or(first),
        };
        if let Some(candidate) = candidate {
            self.zero_vruntime = vtime_max(self.zero_vruntime, candidate);
        }
    }

    /// The entity to run next. The queue is not empty (spec 2 §7.5).
    pub(crate) fn pick_cfs(&self, entities: &[Entity], rules: &Rules) -> SeId {
        let waiting = self.timeline.entries();
        let first = waiting.first().map(|waiting| waiting.se);
        let curr = self.queued_curr(entities).map(|(se, _)| se);
        let vruntime = |se: SeId| entities[se.index()].vruntime;
        let curr_before = |se: SeId| curr.filter(|&curr| vtime_before(vruntime(curr), vruntime(se)));
        let left = match (first, curr) {
            (Some(first), _) => curr_before(first).unwrap_or(first),
            (None, Some(curr)) => curr,
            (None, None) => unreachable!("the queue is not empty"),
        };
        let close =
            |se: SeId| wakeup_preempt_entity(&entities[se.index()], &entities[left.index()], rules) < 1;
        let mut chosen = left;
        if self.skip == Some(left) {
            let second = if curr == Some(left) {
                first
            } else {
                match waiting.get(1).map(|waiting| waiting.se) {
                    Some(next) => curr_before(next).or(Some(next)),
                    None => curr,
                }
            };
            chosen = second.filter(|&second| close(second)).unwrap_or(left);
        }
        self.next.filter(|&next| close(next)).or(self.last.filter(|&last| close(last))).unwrap_or(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CpuId;
    use crate::kernels::{V4_19_0, V5_15_0, V6_1_192};
    use crate::queue_rules::VirtualTime;
    use crate::weight::NICE_0_LOAD;
    use alloc::vec;
    use alloc::vec::Vec;

    fn entity(nice: i32, vruntime: u64) -> Entity {
        Entity { vruntime, on_rq: true, ..Entity::new(LoadWeight::of_nice(nice), 0) }
    }

    fn queue(entities: &[Entity]) -> CfsRq {
        let mut queue =
            CfsRq { zero_vruntime: 0, virtual_time: VirtualTime::Minimum, ..CfsRq::new(CpuId(0)) };
        for (i, entity) in entities.iter().enumerate() {
            queue.nr_running += 1;
            queue.load_weight += entity.load.weight;
            queue.insert_waiting(entities, SeId(i as u32));
        }
        queue
    }

    fn slice(nr: u32, weight: u64, of: u64, rules: &Rules) -> Ns {
        let share = Share { weight, of: of << 10 };
        sched_slice(nr, [share].into_iter(), rules.cfs.min_granularity, rules)
    }

    #[test]
    fn slices_divide_the_latency_by_weight() {
        // Spec 2 §17.6.
        let new = Rules::of(&V6_1_192, 8);
        assert_eq!([1024, 335, 3121].map(|w| slice(3, w, 4480, &new)), [5_485_713, 3_000_000, 16_719_641]);
        let old = Rules::of(&V4_19_0, 8);
        assert_eq!([1024, 335, 3121].map(|w| slice(3, w, 4480, &old)), [5_485_713, 1_794_642, 16_719_641]);
        // Spec 2 §18.1: 6 ms for two tasks on one CPU are not 3 ms each.
        let small = Rules::of(&V6_1_192, 1);
        assert_eq!(slice(2, 1024, 2048, &small), 2_999_998);
        // More tasks than the latency has room for: 16 times 3 ms, of which each gets a 16th by the inverse 262143.
        assert_eq!(slice(16, 1024, 16384, &old), (48_000_000 * 1024 * 262_143) >> 32);
    }

    #[test]
    fn sleepers_get_half_a_latency_of_credit() {
        // Spec 2 §17.6.
        let rules = Rules::of(&V5_15_0, 8);
        let slept = Placed::Slept { idle: false, duration: 0 };
        assert_eq!(place_entity(50_000_000, 100_000_000, slept, &rules), 88_000_000);
        assert_eq!(place_entity(95_000_000, 100_000_000, slept, &rules), 95_000_000);
        let vslice = slice(2, 1024, 2048, &rules);
        assert_eq!(vslice, 11_999_994);
        assert_eq!(place_entity(100_000_000, 100_000_000, Placed::New { vslice }, &rules), 111_999_994);
        // Spec 2 §7.3: idle entities get half a shortest slice where they have one of their own.
        let idle = Placed::Slept { idle: true, duration: 0 };
        assert_eq!(place_entity(0, 100_000_000, idle, &rules), 88_000_000);
        assert_eq!(place_entity(0, 100_000_000, idle, &Rules::of(&V6_1_192, 8)), 98_500_000);
    }

    #[test]
    fn centuries_of_sleep_are_forgotten() {
        let long = Placed::Slept { idle: false, duration: LONG_SLEEP + 1 };
        let ahead = 200_000_000;
        assert_eq!(place_entity(ahead, 100_000_000, long, &Rules::of(&V6_1_192, 8)), 88_000_000);
        assert_eq!(place_entity(ahead, 100_000_000, long, &Rules::of(&V5_15_0, 8)), ahead);
    }

    /// Three tasks that always run (spec 2 §17.6): who runs up to each tick, and what the tick finds.
    fn timeline(
        kernel: &crate::kernel::Kernel,
        tick_ms: u64,
        ticks: u64,
    ) -> Vec<(u64, usize, &'static str, [u64; 4], usize)> {
        let rules = Rules::of(kernel, 8);
        let mut entities = vec![entity(0, 0), entity(5, 0), entity(-5, 0)];
        let mut queue = queue(&entities);
        let set = |queue: &mut CfsRq, entities: &mut [Entity], se: SeId| {
            queue.remove_waiting(entities, se);
            entities[se.index()].prev_sum_exec = entities[se.index()].sum_exec;
            queue.curr = Some(se);
        };
        let first = queue.pick_cfs(&entities, &rules);
        set(&mut queue, &mut entities, first);
        let mut rows = Vec::new();
        for tick in 1..=ticks {
            let se = queue.curr.unwrap();
            let ns = tick_ms * 1_000_000;
            let curr = &mut entities[se.index()];
            curr.sum_exec += ns;
            curr.vruntime += rules.delta_fair(ns, &curr.load);
            queue.update_min_vruntime(&entities);
            let curr = &entities[se.index()];
            let ideal = slice(3, curr.weight(), 4480, &rules);
            let ran = curr.sum_exec - curr.prev_sum_exec;
            let ahead = curr.vruntime.wrapping_sub(queue.timeline.entries()[0].vruntime) as i64;
            let verdict = match check_preempt_tick(ideal, ran, ahead, &rules) {
                TickVerdict::SliceUsed => "slice",
                TickVerdict::TooFarAhead => "vdiff",
                TickVerdict::Keep if ran >= rules.cfs.min_granularity && ahead < 0 => "behind",
                TickVerdict::Keep => "keep",
            };
            let resched = matches!(verdict, "slice" | "vdiff");
            let next = if resched { queue.pick_cfs(&entities, &rules) } else { se };
            if next != se {
                queue.insert_waiting(&entities, se);
                set(&mut queue, &mut entities, next);
            }
            let [n0, n5, m5] = [0, 1, 2].map(|i: usize| entities[i].vruntime);
            rows.push((
                tick * tick_ms,
                se.index(),
                verdict,
                [n0, n5, m5, queue.min_vruntime()],
                next.index(),
            ));
        }
        rows
    }

    #[test]
    fn three_hogs_of_different_weight_take_turns() {
        let (n0, n5, m5) = (0, 1, 2);
        let rows = [
            (4, n0, "keep", [4_000_000, 0, 0, 0], n0),
            (8, n0, "slice", [8_000_000, 0, 0, 0], n5),
            (12, n5, "slice", [8_000_000, 12_226_865, 0, 0], m5),
            (16, m5, "behind", [8_000_000, 12_226_865, 1_312_399, 1_312_399], m5),
            (20, m5, "behind", [8_000_000, 12_226_865, 2_624_798, 2_624_798], m5),
            (24, m5, "behind", [8_000_000, 12_226_865, 3_937_197, 3_937_197], m5),
            (28, m5, "behind", [8_000_000, 12_226_865, 5_249_596, 5_249_596], m5),
            (32, m5, "slice", [8_000_000, 12_226_865, 6_561_995, 6_561_995], m5),
            (36, m5, "slice", [8_000_000, 12_226_865, 7_874_394, 7_874_394], m5),
            (40, m5, "slice", [8_000_000, 12_226_865, 9_186_793, 8_000_000], n0),
            (44, n0, "keep", [12_000_000, 12_226_865, 9_186_793, 9_186_793], n0),
            (48, n0, "slice", [16_000_000, 12_226_865, 9_186_793, 9_186_793], m5),
            (52, m5, "behind", [16_000_000, 12_226_865, 10_499_192, 10_499_192], m5),
            (56, m5, "behind", [16_000_000, 12_226_865, 11_811_591, 11_811_591], m5),
            (60, m5, "keep", [16_000_000, 12_226_865, 13_123_990, 12_226_865], m5),
            (64, m5, "keep", [16_000_000, 12_226_865, 14_436_389, 12_226_865], m5),
            (68, m5, "slice", [16_000_000, 12_226_865, 15_748_788, 12_226_865], n5),
            (72, n5, "slice", [16_000_000, 24_453_730, 15_748_788, 15_748_788], m5),
        ];
        for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
            assert_eq!(timeline(kernel, 4, 18), rows, "{}", kernel.build);
        }
    }

    #[test]
    fn a_finer_tick_switches_when_slices_end() {
        // The last paragraph of the timeline. v4.19, whose slices have no floor, stops N5 after 2 ms.
        for kernel in [&V5_15_0, &V6_1_192] {
            let switches: Vec<_> = timeline(kernel, 1, 34)
                .into_iter()
                .filter(|row| row.1 != row.4)
                .map(|(ms, ran, verdict, _, next)| (ms, ran, next, verdict))
                .collect();
            let expected = [(6, 0, 1, "slice"), (9, 1, 2, "vdiff"), (28, 2, 0, "slice"), (34, 0, 2, "slice")];
            assert_eq!(switches, expected, "{}", kernel.build);
        }
        let n5 = timeline(&V4_19_0, 1, 8).pop().unwrap();
        assert_eq!((n5.0, n5.1, n5.2, n5.4), (8, 1, "slice", 2));
    }

    #[test]
    fn granularity_decides_whether_a_wakee_preempts() {
        // Spec 2 §17.6: 4 ms of wake-up granularity are 12 226 865 ns of virtual time at nice 5.
        let rules = Rules::of(&V6_1_192, 8);
        let preempts = |behind: i64, nice: i32| {
            wakeup_preempt_entity(&entity(0, behind as u64), &entity(nice, 0), &rules)
        };
        assert_eq!([-1, 0, 1, 4_000_000, 4_000_001].map(|d| preempts(d, 0)), [-1, -1, 0, 0, 1]);
        assert_eq!([12_226_865, 12_226_866].map(|d| preempts(d, 5)), [0, 1]);
        assert_eq!(entity(0, 0).load.weight, NICE_0_LOAD);
    }

    #[test]
    fn marks_are_honoured_within_the_granularity() {
        // Spec 2 §7.5, vruntimes in ms: the first at 0, the others behind it.
        let rules = Rules::of(&V6_1_192, 8);
        let ms = 1_000_000;
        let pick = |vruntimes: &[u64], mark: &dyn Fn(&mut CfsRq)| {
            let entities: Vec<Entity> = vruntimes.iter().map(|v| entity(0, v * ms)).collect();
            let mut queue = queue(&entities);
            mark(&mut queue);
            queue.pick_cfs(&entities, &rules)
        };
        assert_eq!(pick(&[0, 4, 9], &|_| ()), SeId(0));
        assert_eq!(pick(&[0, 4, 9], &|queue| queue.next = Some(SeId(1))), SeId(1));
        assert_eq!(pick(&[0, 5, 9], &|queue| queue.next = Some(SeId(1))), SeId(0));
        assert_eq!(pick(&[0, 4, 4], &|queue| queue.last = Some(SeId(2))), SeId(2));
        let both = |queue: &mut CfsRq| (queue.next, queue.last) = (Some(SeId(1)), Some(SeId(2)));
        assert_eq!(pick(&[0, 4, 4], &both), SeId(1));
        assert_eq!(pick(&[0, 4, 9], &|queue| queue.skip = Some(SeId(0))), SeId(1));
        assert_eq!(pick(&[0, 5, 9], &|queue| queue.skip = Some(SeId(0))), SeId(0));
    }

    #[test]
    fn what_runs_is_picked_again_while_it_is_first_unless_it_yields() {
        let rules = Rules::of(&V6_1_192, 8);
        let entities = [entity(0, 1_000_000), entity(0, 2_000_000), entity(0, 3_000_000)];
        let mut queue = queue(&entities[..2]);
        queue.curr = Some(SeId(2));
        assert_eq!(queue.pick_cfs(&entities, &rules), SeId(0));
        let mut entities = entities;
        entities[2].vruntime = 999_999;
        assert_eq!(queue.pick_cfs(&entities, &rules), SeId(2));
        queue.skip = Some(SeId(2));
        assert_eq!(queue.pick_cfs(&entities, &rules), SeId(0));
        // The one to skip waits, and what runs comes before the second.
        entities[2].vruntime = 1_500_000;
        queue.skip = Some(SeId(0));
        assert_eq!(queue.pick_cfs(&entities, &rules), SeId(2));
    }

    #[test]
    fn the_minimum_never_moves_back() {
        let entities = [entity(0, 5_000), entity(0, 7_000)];
        let mut queue = queue(&entities);
        queue.update_min_vruntime(&entities);
        assert_eq!(queue.min_vruntime(), 5_000);
        queue.remove_waiting(&entities, SeId(0));
        queue.update_min_vruntime(&entities);
        assert_eq!(queue.min_vruntime(), 7_000);
        queue.insert_waiting(&entities, SeId(0));
        queue.update_min_vruntime(&entities);
        assert_eq!(queue.min_vruntime(), 7_000);
    }
}
