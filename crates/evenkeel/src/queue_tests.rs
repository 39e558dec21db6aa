//! One queue against a slow and simple model of it, and the worked migration of the specification.
use crate::entity::{CfsRq, Entity};
use crate::ids::{CpuId, SeId, TaskId, TgId};
use crate::io::Input;
use crate::kernel::{Features, Kernel};
use crate::kernels::{V6_12_117, V6_18_15, V7_2_13};
use crate::mask::CpuMask;
use crate::observe::{MigrateReason, Silent};
use crate::pick::eevdf::PickMode;
use crate::pick::rules::Rules;
use crate::queue_rules::{SliceProtection, VirtualTime};
use crate::sched::{Params, Sched};
use crate::task::TaskParams;
use crate::time::MS;
use crate::topology::Machine;
use crate::weight::LoadWeight;
use crate::workload::Policy;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The kernels with deadlines.
const EEVDF: [&Kernel; 3] = [&V6_12_117, &V6_18_15, &V7_2_13];

/// Nice value, virtual runtime and deadline around the start of virtual time, slice.
type Spec = (i32, i64, i64, u64);

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let spec = (-20..20i32, -50_000_000i64..50_000_000, 0i64..20_000_000, 100_000u64..5_000_000);
    // Few different deadlines, so that some are equal.
    prop::collection::vec(
        spec.prop_map(|(nice, v, d, slice)| (nice, v, v + d / 4_000_000 * 4_000_000, slice)),
        1..12,
    )
}

/// A queue of these entities, of which the last runs if `running`.
fn queue(kernel: &Kernel, specs: &[Spec], running: bool) -> (CfsRq, Vec<Entity>, Rules) {
    let rules = Rules::of(kernel, 8);
    let start = 1u64 << 20;
    let entity = |&(nice, vruntime, deadline, slice): &Spec| Entity {
        vruntime: (vruntime as u64).wrapping_sub(start),
        deadline: (deadline as u64).wrapping_sub(start),
        on_rq: true,
        ..Entity::new(LoadWeight::of_nice(nice), slice)
    };
    let mut entities: Vec<Entity> = specs.iter().map(entity).collect();
    let (virtual_time, mean_reference) = (kernel.queues.virtual_time, kernel.queues.mean_reference);
    let mut queue = CfsRq { virtual_time, mean_reference, ..CfsRq::new(CpuId(0)) };
    let last = SeId::from_index(entities.len() - 1);
    for i in 0..entities.len() {
        queue.nr_running += 1;
        queue.load_weight += entities[i].load.weight;
        if running && SeId::from_index(i) == last {
            queue.set_protect_slice(&mut entities, last, &rules);
            queue.curr = Some(last);
        } else {
            queue.insert_waiting(&entities, SeId::from_index(i));
        }
    }
    (queue, entities, rules)
}

/// What an entity weighs in the mean of this kernel.
fn mean_weight(kernel: &Kernel, entity: &Entity) -> i128 {
    i128::from(match kernel.queues.virtual_time {
        VirtualTime::FineMean => entity.load.weight,
        VirtualTime::Mean | VirtualTime::Minimum => entity.load.weight >> 10,
    })
}

/// The sum of weighted distances from `zero`, and of weights, of all entities, by definition.
fn sums(kernel: &Kernel, entities: &[Entity], zero: u64) -> (i128, i128) {
    let distance = |entity: &Entity| i128::from(entity.vruntime.wrapping_sub(zero) as i64);
    let keys = entities.iter().map(|entity| distance(entity) * mean_weight(kernel, entity)).sum();
    (keys, entities.iter().map(|entity| mean_weight(kernel, entity)).sum())
}

proptest! {
    #[test]
    fn lags_sum_up_to_nothing_but_the_rounding_of_the_mean(specs in specs(), running in any::<bool>()) {
        for kernel in EEVDF {
            let (mut queue, entities, _) = queue(kernel, &specs, running);
            let mean = queue.avg_vruntime(&entities);
            let (ahead, weights) = sums(kernel, &entities, mean);
            prop_assert!((0..weights).contains(&ahead), "{}: {ahead} of {weights}", kernel.build);
            for entity in &entities {
                let eligible = (entity.vruntime.wrapping_sub(mean) as i64) <= 0;
                prop_assert_eq!(queue.eligible(&entities, entity.vruntime), eligible, "{}", kernel.build);
            }
        }
    }

    #[test]
    fn the_pick_is_the_first_eligible_by_deadline_and_insertion(specs in specs(), running in any::<bool>()) {
        for kernel in EEVDF {
            let (queue, entities, rules) = queue(kernel, &specs, running);
            let (keys, weights) = sums(kernel, &entities, 0);
            let eligible = |entity: &Entity| {
                keys >= i128::from(entity.vruntime as i64) * weights
            };
            let curr = queue.curr.filter(|_| running);
            let waiting = (0..entities.len()).map(SeId::from_index).filter(|se| Some(*se) != curr);
            // Stable: equal deadlines keep the order of insertion.
            let first = waiting.filter(|se| eligible(&entities[se.index()]))
                .min_by_key(|se| entities[se.index()].deadline as i64);
            for mode in [PickMode::Full, PickMode::Trial, PickMode::Unprotected] {
                let runs = curr.filter(|se| eligible(&entities[se.index()]));
                let expected = match (runs, first) {
                    _ if entities.len() == 1 => SeId(0),
                    (Some(runs), _) if mode != PickMode::Unprotected && entities[runs.index()].is_protected(&rules) => runs,
                    (Some(runs), Some(first)) => {
                        let (own, other) = (&entities[runs.index()], &entities[first.index()]);
                        if (own.deadline as i64) < other.deadline as i64 { runs } else { first }
                    }
                    (Some(only), None) | (None, Some(only)) => only,
                    (None, None) => unreachable!("somebody is at or before the mean"),
                };
                prop_assert_eq!(queue.pick_eevdf(&entities, mode, &rules), expected, "{} {:?}", kernel.build, mode);
            }
        }
    }

    #[test]
    fn sums_kept_incrementally_equal_those_recomputed(
        specs in specs(),
        ops in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, -20..20i32), 1..40),
    ) {
        for kernel in EEVDF {
            let (mut queue, mut entities, rules) = queue(kernel, &specs, false);
            for (index, op, nice) in &ops {
                let se = SeId::from_index(index.index(entities.len()));
                let queued = entities[se.index()].on_rq;
                match op {
                    0 if queued => {
                        queue.remove_waiting(&entities, se);
                        entities[se.index()].on_rq = false;
                        queue.load_weight -= entities[se.index()].load.weight;
                        queue.nr_running -= 1;
                    }
                    0 | 1 if !queued => {
                        queue.place(&mut entities, se, *op == 1, &rules);
                        queue.insert_waiting(&entities, se);
                        entities[se.index()].on_rq = true;
                        queue.load_weight += entities[se.index()].load.weight;
                        queue.nr_running += 1;
                    }
                    2 if queued => queue.reweight_queued(&mut entities, se, LoadWeight::of_nice(*nice), &rules),
                    _ => { queue.avg_vruntime(&entities); }
                }
                let members: Vec<Entity> = entities.iter().filter(|entity| entity.on_rq).cloned().collect();
                let (keys, weights) = sums(kernel, &members, queue.zero_vruntime);
                prop_assert_eq!(i128::from(queue.avg_vruntime), keys, "{}", kernel.build);
                prop_assert_eq!(i128::from(queue.avg_load), weights, "{}", kernel.build);
                prop_assert_eq!(queue.load_weight, members.iter().map(|entity| entity.load.weight).sum::<u64>());
            }
        }
    }
}

#[test]
fn the_reference_point_follows_its_rule_and_changes_no_mean() {
    // Spec 2 §6.1: two equal entities at 0 and 3 ms, mean 1.5 ms.
    let specs = [(0, 0, 0, MS), (0, 3_000_000, 0, MS)];
    let relative = |queue: &CfsRq| queue.zero_vruntime.wrapping_add(1 << 20) as i64;
    for (kernel, after_insertion) in [(&V6_12_117, 0), (&V6_18_15, 1_500_000), (&V7_2_13, 0)] {
        let (mut queue, entities, _) = queue(kernel, &specs, false);
        assert_eq!(relative(&queue), after_insertion, "{}", kernel.build);
        let mean = queue.avg_vruntime(&entities);
        assert_eq!(mean.wrapping_add(1 << 20), 1_500_000, "{}", kernel.build);
        assert_eq!(relative(&queue), 1_500_000, "{}", kernel.build);
    }
    // Spec 2 §6.4 step 3: a heavy entity that joins with a lag of 1 ms draws it to itself: (1024 + 3121) / 1024 ms behind.
    let (mut queue, mut entities, rules) = queue(&V7_2_13, &specs[..1], false);
    entities.push(Entity { vlag: 1_000_000, ..Entity::new(LoadWeight::of_nice(-5), MS) });
    queue.place(&mut entities, SeId(1), false, &rules);
    assert_eq!(relative(&queue), -4_047_851);
    assert_eq!(entities[1].vruntime.wrapping_add(1 << 20) as i64, -4_047_851);
}

#[test]
fn relative_deadlines_of_a_reweight_survive_without_the_feature_in_one_kernel() {
    // Spec 2 §1.3 and §6.10: v6.18 makes the deadline relative for the reweight and tests the feature only when a task
    // leaves: half of 2 ms remains at twice the weight.
    let specs = [(0, 0, 2_000_000, MS), (0, 0, 0, MS)];
    let kernel = Kernel { features: V6_18_15.features.difference(Features::PLACE_REL_DEADLINE), ..V6_18_15 };
    let (mut queue, mut entities, rules) = queue(&kernel, &specs, false);
    entities[0].deadline = entities[0].vruntime.wrapping_add(2_000_000);
    queue.remove_waiting(&entities, SeId(0));
    entities[0].deadline = entities[0].vruntime.wrapping_add(2_000_000);
    queue.insert_waiting(&entities, SeId(0));
    queue.reweight_queued(&mut entities, SeId(0), LoadWeight::computed(2048 << 10), &rules);
    assert_eq!(entities[0].deadline.wrapping_sub(entities[0].vruntime), 1_000_000);
    assert!(!entities[0].rel_deadline);
}

fn handle(sched: &mut Sched<Silent>, now: u64, input: Input) {
    sched.handle(now, input);
    while sched.poll().is_some() {}
}

fn sched_of(kernel: &Kernel, ncpus: u32) -> Sched<Silent> {
    Sched::new(&Machine::regular(1, 1, ncpus, 1, false), kernel, Params::default(), Silent).unwrap()
}

fn fork(sched: &mut Sched<Silent>, cpu: u32, group: TgId) -> TaskId {
    let allowed = CpuMask::from_cpus(sched.rqs.len(), [CpuId(cpu)]);
    let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group };
    let child = sched.new_task(&params);
    handle(sched, sched.now - crate::sched::BOOT_NS, Input::Fork { cpu: CpuId(cpu), child });
    child
}

/// Virtual runtime, deadline and mean relative to where virtual time began.
fn times(sched: &mut Sched<Silent>, task: TaskId) -> (i64, i64, i64) {
    let entity = &sched.entities[sched.tasks[task].se.index()];
    let relative = |time: u64| time.wrapping_add(1 << 20) as i64;
    let (vruntime, deadline, queue) = (entity.vruntime, entity.deadline, entity.cfs_rq);
    (relative(vruntime), relative(deadline), relative(sched.avg_vruntime(queue)))
}

#[test]
fn lag_and_remaining_deadline_travel_with_migrated_tasks() {
    // Spec 2 §17.8: three nice-0 tasks new at 0; at 6 ms A (run 4 ms) and C (not run) wait, B runs.
    let mut sched = sched_of(&V6_12_117, 8);
    let [a, b, c] = [0; 3].map(|cpu| fork(&mut sched, cpu, TgId(0)));
    handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
    handle(&mut sched, 4 * MS, Input::Tick { cpu: CpuId(0) });
    handle(&mut sched, 4 * MS, Input::Schedule { cpu: CpuId(0) });
    handle(&mut sched, 6 * MS, Input::Tick { cpu: CpuId(0) });
    assert_eq!(times(&mut sched, a), (4_000_000, 6_800_000, 2_000_000));
    assert_eq!(times(&mut sched, b), (2_000_000, 4_800_000, 2_000_000));
    assert_eq!(times(&mut sched, c), (0, 1_400_000, 2_000_000));
    let kept = |sched: &Sched<Silent>, task: TaskId| {
        let entity = &sched.entities[sched.tasks[task].se.index()];
        assert!(entity.rel_deadline && !entity.on_rq);
        (entity.vlag, entity.deadline)
    };
    sched.deactivate_task(c);
    assert_eq!(kept(&sched, c), (2_000_000, 1_400_000));
    assert_eq!(times(&mut sched, b).2, 3_000_000);
    sched.deactivate_task(a);
    assert_eq!(kept(&sched, a), (-1_000_000, 2_800_000));
    // The destination: D runs there and is at 10 ms.
    let d = fork(&mut sched, 1, TgId(0));
    handle(&mut sched, 6 * MS, Input::Schedule { cpu: CpuId(1) });
    let se = sched.tasks[d].se;
    sched.entities[se.index()].vruntime = 10_000_000u64.wrapping_sub(1 << 20);
    sched.entities[se.index()].deadline = 12_800_000u64.wrapping_sub(1 << 20);
    for (task, expected) in [(c, (6_000_000, 7_400_000, 8_000_000)), (a, (9_500_000, 12_300_000, 8_500_000))]
    {
        sched.set_task_cpu(task, CpuId(1), MigrateReason::Affinity);
        sched.activate_migrated(task);
        assert_eq!(times(&mut sched, task), expected);
    }
    let rules = sched.rules();
    // C is to be picked; D, which was picked a moment ago, is no longer eligible.
    let next = sched.queues[1].pick_eevdf(&sched.entities, PickMode::Full, &rules);
    assert_eq!(next, sched.tasks[c].se);
}

#[test]
fn a_delayed_group_takes_over_the_shortest_slice_beside_it() {
    // Spec 2 §5.2: loop B goes on with the delayed entity itself, and hands it the smallest slice of the level it is on.
    for kernel in EEVDF {
        let kernel = Kernel { features: kernel.features.difference(Features::HRTICK), ..*kernel };
        let mut sched = sched_of(&kernel, 1);
        let group = sched.new_group(TgId(0), "/a", crate::weight::NICE_0_LOAD, false);
        let member = fork(&mut sched, 0, group);
        handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
        let allowed = CpuMask::all(1);
        let params = TaskParams { policy: Policy::Normal, nice: 0, slice: MS / 2, allowed, group: TgId(0) };
        let short = sched.new_task(&params);
        // Just before the member has had more than its share.
        handle(&mut sched, 1_000, Input::Fork { cpu: CpuId(0), child: short });
        if sched.rqs[0].need_resched {
            handle(&mut sched, 1_000, Input::Schedule { cpu: CpuId(0) });
        }
        while sched.rqs[0].curr != Some(member) {
            let now = sched.now - crate::sched::BOOT_NS + 4 * MS;
            handle(&mut sched, now, Input::Tick { cpu: CpuId(0) });
            handle(&mut sched, now, Input::Schedule { cpu: CpuId(0) });
        }
        let owner = sched.groups[group.index()].entities[0];
        let now = sched.now - crate::sched::BOOT_NS + 20 * MS;
        assert_eq!(sched.entities[owner.index()].slice, 2_100_000 / 3, "{}: one CPU", kernel.build);
        handle(&mut sched, now, Input::Block { cpu: CpuId(0) });
        // It slept after 20 ms beside a task that waited, so it is behind and stays, with its group.
        assert!(sched.entities[owner.index()].sched_delayed, "{}", kernel.build);
        assert_eq!(sched.entities[owner.index()].slice, MS / 2, "{}", kernel.build);
    }
}

#[test]
fn a_delayed_entity_leaves_in_every_way_with_all_counts() {
    // Spec 2 §6.8: picked, woken, moved by affinity; `check` recounts everything after each.
    for kernel in EEVDF {
        for way in ["picked", "woken", "moved", "renamed"] {
            let kernel = Kernel { features: kernel.features.difference(Features::HRTICK), ..*kernel };
            let mut sched = sched_of(&kernel, 2);
            let [sleeper, _hog] = [0; 2].map(|cpu| fork(&mut sched, cpu, TgId(0)));
            handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
            assert_eq!(sched.rqs[0].curr, Some(sleeper));
            handle(&mut sched, 3 * MS, Input::Block { cpu: CpuId(0) });
            let se = sched.tasks[sleeper].se;
            assert!(sched.entities[se.index()].sched_delayed, "{} {way}", kernel.build);
            let counts = |sched: &Sched<Silent>, cpu: usize| {
                let queue = &sched.queues[cpu];
                (queue.nr_running, queue.h_nr_queued, queue.h_nr_runnable(), sched.rqs[cpu].nr_running)
            };
            assert_eq!(counts(&sched, 0), (2, 2, 1, 2), "{} {way}", kernel.build);
            match way {
                "picked" => {
                    for ms in [8, 12, 16] {
                        handle(&mut sched, ms * MS, Input::Tick { cpu: CpuId(0) });
                        handle(&mut sched, ms * MS, Input::Schedule { cpu: CpuId(0) });
                    }
                    assert_eq!(counts(&sched, 0), (1, 1, 1, 1), "{}", kernel.build);
                    assert!(!sched.entities[se.index()].on_rq);
                }
                "woken" => {
                    let context = crate::io::WakeContext::default();
                    handle(&mut sched, 3 * MS, Input::Wake { cpu: CpuId(1), task: sleeper, context });
                    assert_eq!(counts(&sched, 0), (2, 2, 2, 2), "{}", kernel.build);
                    assert!(!sched.entities[se.index()].sched_delayed);
                }
                "moved" => {
                    let allowed = CpuMask::from_cpus(2, [CpuId(1)]);
                    handle(&mut sched, 3 * MS, Input::SetAffinity { cpu: CpuId(1), task: sleeper, allowed });
                    // It goes on being delayed, where it is alone now.
                    assert_eq!(counts(&sched, 0), (1, 1, 1, 1), "{}", kernel.build);
                    assert_eq!(counts(&sched, 1), (1, 1, 0, 1), "{}", kernel.build);
                    handle(&mut sched, 3 * MS, Input::Schedule { cpu: CpuId(1) });
                    assert_eq!(
                        counts(&sched, 1),
                        (0, 0, 0, 0),
                        "{}: the idle CPU picks it, and it leaves",
                        kernel.build
                    );
                }
                _ => {
                    let (policy, nice, slice) = (Policy::Batch, 5, 0);
                    let input = Input::SetAttributes { cpu: CpuId(1), task: sleeper, policy, nice, slice };
                    handle(&mut sched, 3 * MS, input);
                    assert_eq!(
                        counts(&sched, 0),
                        (2, 2, 1, 2),
                        "{}: still there, still delayed",
                        kernel.build
                    );
                    assert!(sched.entities[se.index()].sched_delayed);
                }
            }
            sched.check();
        }
    }
}

#[test]
fn a_task_that_ends_is_never_delayed() {
    // Spec 2 §5.3 step 2.
    for kernel in EEVDF {
        let mut sched = sched_of(kernel, 1);
        let [ends, stays] = [0; 2].map(|cpu| fork(&mut sched, cpu, TgId(0)));
        handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
        assert_eq!(sched.rqs[0].curr, Some(ends));
        handle(&mut sched, 3 * MS, Input::Exit { cpu: CpuId(0) });
        assert_eq!((sched.queues[0].nr_running, sched.rqs[0].curr), (1, Some(stays)), "{}", kernel.build);
        sched.check();
    }
}

#[test]
fn a_reweighted_group_loses_its_protection_in_two_kernels() {
    // Spec 2 §6.5, quirks: a running group entity whose weight changes is no longer protected in v6.12, by accident so or
    // not in v6.18, and keeps what it had in v7.2.
    for kernel in EEVDF {
        let specs = [(0, 0, 0, MS), (0, 0, 4_000_000, 4 * MS)];
        let (mut queue, mut entities, rules) = queue(kernel, &specs, true);
        let curr = SeId(1);
        entities[1].deadline = entities[1].vruntime.wrapping_add(4_000_000);
        queue.set_protect_slice(&mut entities, curr, &rules);
        assert!(entities[1].is_protected(&rules), "{}", kernel.build);
        entities[1].vruntime = entities[1].vruntime.wrapping_add(200_000);
        queue.reweight_queued(&mut entities, curr, LoadWeight::computed(512 << 10), &rules);
        let expected = match kernel.queues.slice_protection {
            SliceProtection::UntilRenewal => false,
            // Lag and protection share a place: 0.1 ms ahead of the mean became a negative lag, twice as large; as a
            // virtual time that is still after where the entity is, shortly after the start.
            SliceProtection::ShortestSlice => true,
            SliceProtection::ShortestSliceOfPick => true,
        };
        assert_eq!(entities[1].is_protected(&rules), expected, "{}", kernel.build);
    }
}

#[test]
fn what_overflows_is_picked_all_the_same() {
    // Spec 2 §18.2: with products in 64 bits nobody may seem eligible. The first by deadline is taken then.
    // Two of the greatest weight, 1 ns apart, where the product of one of them with both weights just fits.
    let far = (1i64 << 62) / 88_761;
    let (queue, entities, rules) = queue(&V6_12_117, &[(-20, far, far, MS), (-20, far + 1, far, MS)], false);
    assert!(entities.iter().all(|entity| !queue.eligible(&entities, entity.vruntime)));
    assert_eq!(queue.pick_eevdf(&entities, PickMode::Full, &rules), SeId(0));
}
