//! Task groups by the worked numbers of the specification, and hierarchical load against exact fractions.
use crate::ids::{CpuId, QueueId, SeId, TaskId, TgId};
use crate::io::{FairPolicy, Input};
use crate::kernels::V6_12_117;
use crate::load_avg::Membership;
use crate::mask::CpuMask;
use crate::observe::Silent;
use crate::pelt::MIN_DIVIDER;
use crate::rng::Rng;
use crate::sched::{Params, Sched};
use crate::task::TaskParams;
use crate::time::MS;
use crate::topology::Machine;
use crate::weight::LoadWeight;
use crate::weight::NICE_0_LOAD;
use alloc::vec::Vec;

fn sched(ncpus: u32) -> Sched<Silent> {
    Sched::new(&Machine::regular(1, 1, ncpus, 1, false), &V6_12_117, Params::default(), Silent).unwrap()
}

fn task(sched: &mut Sched<Silent>, group: TgId) -> TaskId {
    let allowed = CpuMask::all(sched.rqs.len());
    sched.new_task(&TaskParams { policy: FairPolicy::Normal, nice: 0, slice: 0, allowed, group })
}

/// A task of the group that is on its queue on CPU 0.
fn placed(sched: &mut Sched<Silent>, group: TgId, load_avg: u64) -> TaskId {
    let task = task(sched, group);
    sched.assign_cpu(task, CpuId(0));
    sched.entities[sched.tasks[task].se.index()].avg.load_avg = load_avg;
    task
}

fn queue_of(sched: &Sched<Silent>, group: TgId) -> QueueId {
    sched.groups[group.index()].queues[0]
}

fn entity_of(sched: &Sched<Silent>, group: TgId) -> SeId {
    sched.groups[group.index()].entities[0]
}

/// Hands an input in and forgets what is to be done about it.
fn handle(sched: &mut Sched<Silent>, now: u64, input: Input) {
    sched.handle(now, input);
    while sched.poll().is_some() {}
}

#[test]
fn hierarchical_load_follows_spec_2_17_10() {
    let mut sched = sched(1);
    let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
    let b = sched.new_group(a, "/a/b", NICE_0_LOAD, false);
    sched.queues[0].avg.load_avg = 3000;
    let (a_queue, b_queue) = (queue_of(&sched, a), queue_of(&sched, b));
    let (a_se, b_se) = (entity_of(&sched, a), entity_of(&sched, b));
    sched.entities[a_se.index()].avg.load_avg = 1024;
    sched.queues[a_queue.index()].avg.load_avg = 2048;
    sched.entities[b_se.index()].avg.load_avg = 700;
    sched.queues[b_queue.index()].avg.load_avg = 1400;
    let tasks = [placed(&mut sched, b, 900), placed(&mut sched, a, 500), placed(&mut sched, TgId(0), 800)];
    assert_eq!(tasks.map(|task| sched.task_h_load(task)), [224, 249, 799]);
    assert_eq!([a_queue, b_queue].map(|queue| sched.queues[queue.index()].h_load), [1023, 349]);
    // At most once a jiffy: until the next one only the queue's own load moves.
    sched.queues[0].avg.load_avg = 6000;
    sched.queues[b_queue.index()].avg.load_avg = 899;
    assert_eq!(sched.task_h_load(tasks[0]), 349);
}

#[test]
fn hierarchical_load_is_the_product_of_fractions_rounded_down_at_each_level() {
    for case in 0..200 {
        let mut rng = Rng::new(case, 11);
        let mut sched = sched(1);
        let mut path = Vec::new();
        let mut above = TgId(0);
        sched.queues[0].avg.load_avg = u64::from(rng.below(200_000));
        let depth = 1 + rng.below(6);
        // Exact load as a fraction; it is what the root queue has, times the parts on the way.
        let mut exact = (u128::from(sched.queues[0].avg.load_avg), 1u128);
        for _ in 0..depth {
            let group = sched.new_group(above, "/g", NICE_0_LOAD, false);
            let parent_load = sched.queues[queue_of(&sched, above).index()].avg.load_avg;
            let own = u64::from(rng.below(parent_load as u32 + 1));
            let load = u64::from(rng.below(100_000));
            let (se, queue) = (entity_of(&sched, group), queue_of(&sched, group));
            sched.entities[se.index()].avg.load_avg = own;
            sched.queues[queue.index()].avg.load_avg = load;
            exact = (exact.0 * u128::from(own), exact.1 * u128::from(parent_load + 1));
            path.push(group);
            above = group;
        }
        let load = sched.queues[queue_of(&sched, above).index()].avg.load_avg;
        let own = u64::from(rng.below(load as u32 + 1));
        let task = placed(&mut sched, above, own);
        exact = (exact.0 * u128::from(own), exact.1 * u128::from(load + 1));
        let got = u128::from(sched.task_h_load(task));
        assert!(got * exact.1 <= exact.0, "case {case}: never more than the exact value");
        let levels = u128::from(depth) + 1;
        assert!(
            (got + levels) * exact.1 > exact.0,
            "case {case}: less than one short for each of {levels} levels"
        );
    }
}

#[test]
fn the_first_task_of_an_empty_group_follows_spec_2_17_10() {
    let mut sched = sched(1);
    let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
    let child = task(&mut sched, a);
    // Load tracking is then at the beginning of one of its periods of 2^20 ns.
    handle(&mut sched, 221_184, Input::Fork { cpu: CpuId(0), child });
    let task = &sched.entity(child).avg;
    assert_eq!((task.period_contrib, task.util_avg, task.load_avg), (0, 512, 1024));
    let queue = &sched.queues[queue_of(&sched, a).index()].avg;
    assert_eq!((queue.load_sum, queue.util_sum), (47_839_232, 23_919_616));
    assert_eq!(sched.groups[a.index()].load_avg, 1024);
    let entity = &sched.entities[entity_of(&sched, a).index()];
    assert_eq!((entity.avg.util_avg, entity.avg.util_sum), (512, 23_919_616));
    assert_eq!((entity.avg.load_sum, entity.avg.load_avg), (46_718, 1024));
    assert_eq!(entity.load.weight, 1_048_576);
    let root = &sched.queues[0].avg;
    assert_eq!((root.load_avg, root.util_avg), (1024, 512));
}

#[test]
fn equal_load_on_two_cpus_halves_the_weight_of_each_entity() {
    let mut sched = sched(2);
    let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
    for cpu in [CpuId(0), CpuId(1)] {
        let allowed = CpuMask::from_cpus(2, [cpu]);
        let params = TaskParams { policy: FairPolicy::Normal, nice: 0, slice: 0, allowed, group: a };
        let child = sched.new_task(&params);
        handle(&mut sched, 0, Input::Fork { cpu, child });
        handle(&mut sched, 0, Input::Schedule { cpu });
    }
    for tick in 1..=100 {
        for cpu in [CpuId(0), CpuId(1)] {
            handle(&mut sched, tick * 4 * MS, Input::Tick { cpu });
        }
    }
    for se in sched.groups[a.index()].entities.clone() {
        let weight = sched.entities[se.index()].weight();
        assert!((505..=519).contains(&weight), "half of 1024 up to the 1/64 that is not reported: {weight}");
    }
    sched.check();
}

#[test]
fn leaving_a_queue_takes_out_exactly_what_joining_put_in() {
    for case in 0..300 {
        let mut rng = Rng::new(case, 12);
        let mut sched = sched(1);
        let group = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let queue = queue_of(&sched, group);
        let period_contrib = rng.below(1024);
        let now = sched.rqs[0].clock_pelt_now();
        let avg = &mut sched.queues[queue.index()].avg;
        (avg.last_update_time, avg.period_contrib) = (now, period_contrib);
        let divider = MIN_DIVIDER + u64::from(period_contrib);
        (avg.load_avg, avg.util_avg, avg.runnable_avg) =
            (u64::from(rng.below(9000)), u64::from(rng.below(1024)), u64::from(rng.below(9000)));
        avg.load_sum = avg.load_avg * divider + u64::from(rng.below(500));
        avg.util_sum = (avg.util_avg * divider) as u32;
        avg.runnable_sum = avg.runnable_avg * divider;
        let task = placed(&mut sched, group, 0);
        let se = sched.tasks[task].se;
        let entity = &mut sched.entities[se.index()];
        entity.load = LoadWeight::of_nice(rng.below(40) as i32 - 20);
        entity.avg.load_avg = u64::from(rng.below(entity.weight() as u32 + 1));
        entity.avg.util_avg = u64::from(rng.below(1024));
        entity.avg.runnable_avg = u64::from(rng.below(1024));
        entity.avg.last_update_time = 0;
        let before = sched.queues[queue.index()].avg;
        sched.update_load_avg(se, Membership::Attach);
        assert_ne!(sched.queues[queue.index()].avg, before);
        sched.update_load_avg(se, Membership::Detach);
        assert_eq!(sched.queues[queue.index()].avg, before, "case {case}");
        assert_eq!(sched.queues[queue.index()].prop_runnable_sum, 0, "case {case}");
    }
}

#[test]
fn an_entity_that_joins_takes_the_queues_position_in_the_period() {
    // Spec 2 §17.10: period_contrib 500, then nothing but zeros.
    for (load_avg, util_avg, load_sum, util_sum) in [(1024, 512, 47_218, 24_175_616), (0, 0, 1, 0)] {
        let mut sched = sched(1);
        let now = sched.rqs[0].clock_pelt_now();
        let avg = &mut sched.queues[0].avg;
        (avg.last_update_time, avg.period_contrib) = (now, 500);
        let task = placed(&mut sched, TgId(0), load_avg);
        let se = sched.tasks[task].se;
        sched.entities[se.index()].avg.util_avg = util_avg;
        sched.update_load_avg(se, Membership::Attach);
        let avg = &sched.entities[se.index()].avg;
        assert_eq!((avg.load_sum, avg.util_sum, avg.period_contrib), (load_sum, util_sum, 500));
    }
}

#[test]
fn a_sleeper_that_changes_its_group_takes_its_load_along_and_lets_it_decay() {
    let mut sched = sched(1);
    let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
    let child = task(&mut sched, TgId(0));
    handle(&mut sched, 0, Input::Fork { cpu: CpuId(0), child });
    handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
    handle(&mut sched, 100 * MS, Input::Block { cpu: CpuId(0) });
    let load = sched.queues[0].avg.load_avg;
    assert!(load > 900);
    handle(&mut sched, 100 * MS, Input::SetGroup { task: child, group: a });
    let queue = queue_of(&sched, a);
    assert!(sched.queues[queue.index()].avg.load_avg > 900);
    assert!(sched.queues[0].avg.load_avg.abs_diff(load) <= 1, "the group's entity stands for it now");
    assert!(sched.queues[queue.index()].on_list, "although nothing was ever queued there");
    handle(&mut sched, 1100 * MS, Input::SetShares { group: a, shares: 2 * NICE_0_LOAD });
    sched.update_blocked_averages(CpuId(0));
    assert_eq!(sched.queues[queue.index()].avg.load_avg, 0);
    assert_eq!(sched.queues[0].avg.load_avg, 0);
    sched.check();
}
