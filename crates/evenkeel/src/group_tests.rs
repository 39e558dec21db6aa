//! Task groups by the worked numbers of the specification, and hierarchical load against exact fractions.
use crate::fair::Dequeue;
use crate::ids::{CpuId, QueueId, SeId, TaskId, TgId};
use crate::io::Input;
use crate::kernel::{Features, Kernel};
use crate::kernels::{self, V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use crate::load_avg::Membership;
use crate::mask::CpuMask;
use crate::observe::Silent;
use crate::pelt::{MIN_DIVIDER, SchedAvg};
use crate::queue_rules::Removal;
use crate::rng::Rng;
use crate::sched::{Params, Sched};
use crate::task::TaskParams;
use crate::time::MS;
use crate::topology::Machine;
use crate::weight::LoadWeight;
use crate::weight::NICE_0_LOAD;
use crate::workload::Policy;
use alloc::vec::Vec;

fn sched(ncpus: u32) -> Sched<Silent> {
    sched_of(&V6_12_117, ncpus)
}

fn sched_of(kernel: &Kernel, ncpus: u32) -> Sched<Silent> {
    Sched::new(&Machine::regular(1, 1, ncpus, 1, false), kernel, Params::default(), Silent).unwrap()
}

fn task(sched: &mut Sched<Silent>, group: TgId) -> TaskId {
    let allowed = CpuMask::all(sched.rqs.len());
    sched.new_task(&TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group })
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
fn load_decays_while_a_task_is_in_another_class_if_the_feature_says_so() {
    // Spec 2 §9.5; the decay is that of §17.4: of a load of 1024, 129 are left after 100 ms.
    for (without, left) in [(Features::empty(), 127..=131), (Features::ATTACH_AGE_LOAD, 1020..=1024)] {
        let kernel = Kernel { features: V6_12_117.features.difference(without), ..V6_12_117 };
        let mut sched = sched_of(&kernel, 1);
        let (cpu, task) = (CpuId(0), task(&mut sched, TgId(0)));
        let policy = |policy| Input::SetAttributes { cpu, task, policy, nice: 0, slice: 0 };
        handle(&mut sched, 0, Input::Fork { cpu, child: task });
        handle(&mut sched, 0, Input::Schedule { cpu });
        for at in 1..100 {
            handle(&mut sched, at * 4 * MS, Input::Tick { cpu });
        }
        handle(&mut sched, 400 * MS, policy(Policy::Fifo(1)));
        for at in 101..125 {
            handle(&mut sched, at * 4 * MS, Input::Tick { cpu });
        }
        handle(&mut sched, 500 * MS, policy(Policy::Normal));
        let load = sched.queues[0].avg.load_avg;
        assert!(left.contains(&load), "{load} without {without:?}");
    }
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
        let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group: a };
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
        let kernel = kernels::ALL[case as usize % kernels::ALL.len()];
        let mut sched = sched_of(kernel, 1);
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
        let after = sched.queues[queue.index()].avg;
        if kernel.queues.removal == Removal::Recompute {
            // Sums are rounded to averages when something leaves.
            let averages = |avg: &SchedAvg| (avg.load_avg, avg.util_avg, avg.runnable_avg);
            assert_eq!(averages(&after), averages(&before), "case {case}");
            assert_eq!(after.load_sum, before.load_avg * divider, "case {case}");
        } else {
            assert_eq!(after, before, "case {case}");
        }
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

#[test]
fn where_weights_are_set_anew_although_unchanged_averages_are_recomputed() {
    // Spec 2 §14.2 and §6.10: 900 units after a boundary, in the same period: 1024 * (1002 + 900) / (46718 + 900) = 40.
    let load = |kernel: &Kernel| {
        let mut sched = sched_of(kernel, 1);
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let se = entity_of(&sched, a);
        let avg = &mut sched.entities[se.index()].avg;
        (avg.load_sum, avg.load_avg, avg.period_contrib) = (1002 + 900, 21, 900);
        let queue = queue_of(&sched, a);
        sched.queues[queue.index()].load_weight = NICE_0_LOAD;
        sched.update_cfs_group(se);
        assert_eq!(sched.entities[se.index()].load.weight, NICE_0_LOAD, "{}", kernel.build);
        sched.entities[se.index()].avg.load_avg
    };
    assert_eq!([&V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13].map(load), [40, 40, 21, 21, 21]);
}

#[test]
fn many_waiting_tasks_overflow_the_propagated_sum_of_one_kernel() {
    // Spec 2 §18.2: 100 waiting tasks, 102400 * 46718 = 4 783 923 200, of which 2^32 are lost.
    for kernel in kernels::ALL {
        let mut sched = sched_of(kernel, 1);
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let (queue, se) = (queue_of(&sched, a), entity_of(&sched, a));
        sched.queues[0].avg.period_contrib = 0;
        let avg = &mut sched.queues[queue.index()];
        (avg.avg.runnable_avg, avg.propagate) = (102_400, true);
        sched.propagate_entity_load_avg(se);
        let avg = &sched.entities[se.index()].avg;
        match kernel.build {
            "v4.19.0" => assert_eq!(avg.runnable_sum, 0, "it has another third signal"),
            "v6.18.15" => {
                assert_eq!((avg.runnable_avg, avg.runnable_sum), (102_400, 4_783_923_200 - (1 << 32)))
            }
            _ => {
                assert_eq!((avg.runnable_avg, avg.runnable_sum), (102_400, 4_783_923_200), "{}", kernel.build)
            }
        }
    }
}

#[test]
fn a_group_entity_was_runnable_for_as_long_as_it_ran_on_a_cpu_of_its_size() {
    // Spec 2 §9.6: all is gone but what ran. A CPU of half the size, always running: util_sum 46718 * 512, where
    // contributions are scaled; 46718 * 1024 / 2 of slowed time is half of the time.
    for (kernel, sum) in [(&V4_19_0, 46_718), (&V6_12_117, 23_359)] {
        let mut machine = Machine::regular(1, 1, 2, 1, false);
        machine.cpus[0].capacity = 512;
        machine.cpus[1].capacity = 1024;
        let mut sched = Sched::new(&machine, kernel, Params::default(), Silent).unwrap();
        sched.rqs[0].arch_capacity = 512;
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let (queue, se) = (queue_of(&sched, a), entity_of(&sched, a));
        let avg = &mut sched.entities[se.index()].avg;
        (avg.load_sum, avg.util_sum, avg.util_avg) = (46_718, 46_718 * 512, 512);
        let below = &mut sched.queues[queue.index()];
        (below.propagate, below.prop_runnable_sum, below.avg.util_avg) = (true, -1, 512);
        sched.propagate_entity_load_avg(se);
        assert_eq!(sched.entities[se.index()].avg.load_sum, sum, "{}", kernel.build);
    }
}

#[test]
fn a_migrating_task_leaves_its_groups_load_before_or_after_the_group_is_weighed() {
    // Spec 2 §5.5, §14.2. Two equal tasks of a group, one on each of two CPUs, and a third beside the first; that is moved
    // away by affinity. When the first CPU's entity is weighed at that dequeue its queue weighs 1024; its load is 1024
    // where the task has taken its part along, else 2048, which is what then counts.
    let weight = |kernel: &Kernel| {
        let mut sched = sched_of(kernel, 2);
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let mut fork = |cpu: u32| {
            let allowed = CpuMask::from_cpus(2, [CpuId(cpu)]);
            let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group: a };
            let child = sched.new_task(&params);
            handle(&mut sched, 0, Input::Fork { cpu: CpuId(cpu), child });
            handle(&mut sched, 0, Input::Schedule { cpu: CpuId(cpu) });
            child
        };
        let (_, second, _) = (fork(0), fork(0), fork(1));
        let tg = &sched.groups[a.index()];
        assert_eq!(tg.load_avg, 3072, "{}", kernel.build);
        let waits = if sched.rqs[0].curr == Some(second) { TaskId(0) } else { second };
        sched.deactivate_task(waits);
        let weight = sched.entities[entity_of(&sched, a).index()].load.weight;
        sched.activate_migrated(waits);
        weight
    };
    // 1024 * 1024 / 2048, and 1024 * 2048 / 3072 (full resolution, rounded down).
    assert_eq!([&V4_19_0, &V5_15_0].map(weight), [699_050; 2]);
    assert_eq!([&V6_1_192].map(weight), [524_288; 1]);
}

#[test]
fn groups_forget_the_load_of_cpus_that_go_offline() {
    // Spec 2 §9.7: queues of an inactive CPU tell nothing, so what they told last must not stay for ever.
    for kernel in kernels::ALL {
        let mut sched = sched_of(kernel, 2);
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let child = task(&mut sched, a);
        handle(&mut sched, 0, Input::Fork { cpu: CpuId(0), child });
        let cpu = sched.tasks[child].cpu;
        handle(&mut sched, 0, Input::Schedule { cpu });
        handle(&mut sched, 100 * MS, Input::Tick { cpu });
        handle(&mut sched, 100 * MS, Input::Hotplug { cpu, online: false });
        let told: u64 =
            sched.groups[a.index()].queues.iter().map(|q| sched.queues[q.index()].tg_load_avg_contrib).sum();
        assert_eq!(sched.groups[a.index()].load_avg, told, "{}", kernel.build);
        let gone = sched.groups[a.index()].queues[cpu.index()];
        assert!(sched.queues[gone.index()].tg_load_avg_contrib < 100, "{}: it moved away", kernel.build);
    }
}

#[test]
fn a_decayed_queue_stays_listed_for_its_children_and_its_contribution() {
    // Spec 2 §12: what keeps a queue without load on the list.
    let listed = |kernel: &Kernel, child_listed: bool, contrib: u64| {
        let mut sched = sched_of(kernel, 1);
        let a = sched.new_group(TgId(0), "/a", NICE_0_LOAD, false);
        let b = sched.new_group(a, "/a/b", NICE_0_LOAD, false);
        let (above, below) = (queue_of(&sched, a), queue_of(&sched, b));
        sched.list_add_leaf_queue(if child_listed { below } else { above });
        sched.queues[below.index()].avg.load_sum = 1 << 40;
        sched.queues[above.index()].tg_load_avg_contrib = contrib;
        let owner = entity_of(&sched, b);
        sched.queues[above.index()].avg = SchedAvg::default();
        sched.entities[owner.index()].avg = SchedAvg::default();
        sched.is_fully_decayed(above)
    };
    let kernels = [&V4_19_0, &V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];
    assert_eq!(kernels.map(|kernel| listed(kernel, false, 0)), [true; 6]);
    assert_eq!(kernels.map(|kernel| listed(kernel, true, 0)), [true, false, false, false, false, false]);
    assert_eq!(kernels.map(|kernel| listed(kernel, false, 5)), [true, true, true, false, false, false]);
}

#[test]
fn an_estimate_is_taken_out_once_or_twice_when_a_delayed_task_is_taken_off() {
    // Spec 2 §10.1: forced off its queue (as a change of class does), v6.12 takes the estimate out again; the sum holds
    // that of the task that runs.
    for (kernel, left) in [(&V6_12_117, 100), (&V6_18_15, 300), (&V7_2_13, 300)] {
        let mut sched = sched_of(kernel, 1);
        let tasks = [task(&mut sched, TgId(0)), task(&mut sched, TgId(0))];
        for child in tasks {
            handle(&mut sched, 0, Input::Fork { cpu: CpuId(0), child });
        }
        handle(&mut sched, 0, Input::Schedule { cpu: CpuId(0) });
        let sleeper = sched.rqs[0].curr.unwrap();
        handle(&mut sched, MS, Input::Block { cpu: CpuId(0) });
        let se = sched.tasks[sleeper].se;
        assert!(sched.entities[se.index()].sched_delayed, "{}", kernel.build);
        sched.entities[se.index()].avg.util_est = 200;
        sched.queues[0].avg.util_est = 300;
        sched.dequeue_task(CpuId(0), sleeper, Dequeue::SLEEP | Dequeue::DELAYED);
        assert_eq!(sched.queues[0].avg.util_est, left, "{}", kernel.build);
    }
}
