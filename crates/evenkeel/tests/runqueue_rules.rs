//! Rules of the run queues that the worked timelines do not reach, each with the numbers that follow from it by hand.

mod bench;

use bench::{Bench, CPU, MS};
use evenkeel::balance::capacity::{CapacityUse, scale_rt_capacity};
use evenkeel::balance::rules::Pressure;
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::kernel::{CfsTunables, Features, Kernel, RunQueueRules, TunableScaling, Tunables};
use evenkeel::kernels::{self, V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use evenkeel::mask::CpuMask;
use evenkeel::task::TaskParams;
use evenkeel::tune::Tune;
use evenkeel::workload::Policy;

/// The kernel with these features off.
fn without(kernel: &Kernel, features: Features) -> Kernel {
    Kernel { features: kernel.features.difference(features), ..*kernel }
}

/// The kernel with these features on.
fn with(kernel: &Kernel, features: Features) -> Kernel {
    assert!(kernel.features_known.contains(features));
    Kernel { features: kernel.features.union(features), ..*kernel }
}

fn wake(bench: &mut Bench, now: u64, task: TaskId) -> bool {
    let context = WakeContext { interrupt: true, sync: false };
    bench.input(now, Input::Wake { cpu: CpuId(1), task, context })
}

#[test]
fn who_yields_gives_up_the_rest_of_its_slice_if_it_is_eligible() {
    // Spec 2 §1.2, §6.7. Two tasks at 0 with deadlines of 1.4 ms; A yields at once: it is eligible, so it is at its
    // deadline, with a slice of 2.8 ms from there.
    for kernel in [&V6_12_117, &V6_18_15, &without(&V7_2_13, Features::HRTICK)] {
        let mut bench = Bench::new(kernel);
        let [a, b] = bench.hogs([0, 0]);
        assert_eq!(bench.curr(), Some(a));
        bench.input(0, Input::Yield { cpu: CPU });
        assert_eq!(bench.times(a), (1_400_000, 4_200_000), "{}", kernel.build);
        assert_eq!(bench.curr(), Some(b), "{}", kernel.build);
        // A was 0.5 ms behind, so B, after 2.5 ms, is not eligible (the mean is 1.95 ms), and keeps what it has.
        bench.input(2_500_000, Input::Yield { cpu: CPU });
        assert_eq!(bench.times(b), (2_500_000, 5_300_000), "{}: renewed at 2.5 ms", kernel.build);
    }
}

#[test]
fn the_slice_after_a_yield_is_the_default_of_then_or_the_old_one() {
    // Spec 2 §1.2: `update_deadline` reloads the slice; v6.18.15 adds the slice it has.
    for (kernel, slice) in [(&V6_12_117, 6_000_000), (&V6_18_15, 2_800_000), (&V7_2_13, 6_000_000)] {
        let mut bench = Bench::new(&without(kernel, Features::HRTICK));
        let [a, _] = bench.hogs([0, 0]);
        bench.input(0, Input::Tune { tune: Tune::BaseSlice { ns: 6_000_000 } });
        bench.input(0, Input::Yield { cpu: CPU });
        assert_eq!(bench.times(a), (1_400_000, 1_400_000 + slice), "{}", kernel.build);
    }
}

#[test]
fn a_child_may_run_before_its_creator() {
    // Spec 2 §7.8: the child is placed a slice behind (11 999 994 ns, §17.6), then the two change places.
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let cfs = CfsTunables { child_runs_first: true, ..kernel.tunables.cfs.unwrap() };
        let first = Kernel { tunables: Tunables { cfs: Some(cfs), ..kernel.tunables }, ..*kernel };
        let mut bench = Bench::new(&first);
        let [parent] = bench.hogs([0]);
        bench.tick(4 * MS);
        let before = bench.sched.entity(parent).vruntime;
        let child = bench.task(0, 0);
        bench.input(4 * MS, Input::Fork { cpu: CPU, child });
        assert_eq!(bench.sched.entity(child).vruntime, before, "{}", kernel.build);
        assert_eq!(bench.sched.entity(parent).vruntime.wrapping_sub(before), 11_999_994, "{}", kernel.build);
        assert_eq!(bench.curr(), Some(child), "{}", kernel.build);
    }
}

#[test]
fn the_time_between_a_preempting_wakeup_and_the_switch_is_charged_to_who_comes() {
    // Spec 2 §4.5: A runs, B wakes at 50 ms and preempts; the interrupt takes 1 us. B blocks 1 ms later.
    for (kernel, late) in [
        (&V4_19_0, 1000),
        (&V5_15_0, 1000),
        (&V6_1_192, 1000),
        (&V6_12_117, 1000),
        (&V6_18_15, 0),
        (&V7_2_13, 0),
    ] {
        let off = Features::HRTICK.union(Features::START_DEBIT).union(Features::DELAY_DEQUEUE);
        let kernel = &without(kernel, off);
        let queues = RunQueueRules { skips_clock_updates: true, ..kernel.queues };
        let mut bench = Bench::new(&Kernel { queues, ..*kernel });
        // A shorter slice, so that EEVDF picks it.
        let (b, a) = (bench.task(0, MS / 2), bench.task(0, 0));
        bench.queue(b);
        bench.queue(a);
        bench.input(0, Input::Schedule { cpu: CPU });
        bench.input(0, Input::Block { cpu: CPU });
        assert_eq!(bench.curr(), Some(a));
        for ms in (4..=48).step_by(4) {
            bench.tick(ms * MS);
        }
        let context = WakeContext { interrupt: true, sync: false };
        bench.sched.handle(50 * MS, Input::Wake { cpu: CPU, task: b, context });
        while bench.sched.poll().is_some() {}
        assert!(bench.sched.rqs()[0].need_resched, "{}", kernel.build);
        let (ran_a, ran_b) = (50 * MS, bench.sched.entity(b).sum_exec);
        bench.input(50 * MS + 1000, Input::Schedule { cpu: CPU });
        assert_eq!(bench.curr(), Some(b), "{}", kernel.build);
        assert_eq!(bench.sched.entity(a).sum_exec, ran_a + 1000 - late, "{}", kernel.build);
        bench.input(51 * MS + 1000, Input::Block { cpu: CPU });
        assert_eq!(bench.sched.entity(b).sum_exec, ran_b + MS + late, "{}", kernel.build);
    }
}

#[test]
fn old_kernels_can_end_slices_by_timer_too() {
    // Spec 2 §6.9: the timer fires when the slice has been run since the switch. EEVDF: 2.8 ms; classic CFS with three
    // equal tasks: 24 ms * 1024 / 3072 by the inverse 1398101, 7 999 997 ns.
    for (kernel, slice) in [(&V6_12_117, 2_800_000), (&V6_18_15, 2_800_000), (&V6_1_192, 7_999_998)] {
        let mut bench = Bench::new(&with(&without(kernel, Features::START_DEBIT), Features::HRTICK));
        let tasks = bench.hogs([0, 0, 0]);
        assert_eq!(bench.hrtick, Some(slice), "{}", kernel.build);
        let at = slice + 1000;
        assert!(bench.input(at, Input::Hrtick { cpu: CPU }), "{}", kernel.build);
        assert_ne!(bench.curr(), Some(tasks[0]), "{}", kernel.build);
        assert_eq!(bench.sched.entity(tasks[0]).sum_exec, at, "{}", kernel.build);
        assert_eq!(bench.hrtick, Some(at + slice), "{}: set anew", kernel.build);
    }
    let mut bench = Bench::new(&V6_12_117);
    bench.hogs([0, 0]);
    assert_eq!(bench.hrtick, None, "off by default");
}

#[test]
fn where_a_timer_ends_slices_the_tick_of_classic_cfs_does_not() {
    // Two tasks, slices of 12 ms; the timer is 3 ms late. The tick at 12 ms would have found the slice used up.
    let mut bench = Bench::new(&with(&without(&V6_1_192, Features::START_DEBIT), Features::HRTICK));
    let [a, _] = bench.hogs([0, 0]);
    assert_eq!(bench.hrtick, Some(11_999_994));
    assert!([4, 8, 12].iter().all(|ms| !bench.tick(ms * MS)));
    assert_eq!(bench.curr(), Some(a));
    assert!(bench.input(15 * MS, Input::Hrtick { cpu: CPU }));
    assert_ne!(bench.curr(), Some(a));
}

#[test]
fn becoming_an_idle_policy_task_changes_the_weight_but_is_no_reason_to_stop() {
    // Spec 2 §5.6: only a larger priority number makes a running task stop, and priority is the nice value.
    for kernel in [&V6_12_117, &V6_1_192] {
        let mut bench = Bench::new(kernel);
        bench.hogs([0, 0]);
        let a = bench.curr().unwrap();
        let (policy, nice, slice) = (Policy::Idle, 0, 0);
        let asked = bench.input(0, Input::SetAttributes { cpu: CPU, task: a, policy, nice, slice });
        assert!(!asked, "{}", kernel.build);
        assert_eq!(bench.sched.entity(a).weight(), 3);
        let (policy, nice) = (Policy::Normal, 1);
        let asked = bench.input(0, Input::SetAttributes { cpu: CPU, task: a, policy, nice, slice });
        assert!(asked, "{}: nice 1 is a larger number than 0", kernel.build);
    }
}

#[test]
fn batch_and_idle_policy_tasks_preempt_nobody_and_idle_ones_are_preempted_by_all_others() {
    // Spec 2 §6.7 steps 3 and 4, §7.6. The wakee slept 100 ms beside a hog, so nothing but its policy is against it.
    use Policy::{Batch, Idle, Normal};
    for kernel in kernels::ALL {
        let off = Features::HRTICK.union(Features::START_DEBIT).union(Features::DELAY_DEQUEUE);
        for (runs, wakes, preempts) in
            [(Normal, Batch, false), (Normal, Idle, false), (Idle, Normal, true), (Idle, Batch, true)]
        {
            let mut bench = Bench::new(&without(kernel, off));
            let [sleeper, hog] = [wakes, runs].map(|policy| {
                let allowed = CpuMask::from_cpus(8, [CPU]);
                bench.sched.new_task(&TaskParams { policy, nice: 0, slice: 0, allowed, group: TgId(0) })
            });
            bench.queue(sleeper);
            bench.input(0, Input::Schedule { cpu: CPU });
            bench.input(MS, Input::Block { cpu: CPU });
            bench.input(MS, Input::Fork { cpu: CPU, child: hog });
            for ms in (4..=100).step_by(4) {
                bench.tick(ms * MS);
            }
            wake(&mut bench, 102 * MS, sleeper);
            let got = bench.curr() == Some(sleeper);
            assert_eq!(got, preempts, "{}: {wakes:?} wakes while {runs:?} runs", kernel.build);
        }
    }
}

#[test]
fn custom_slices_are_kept_between_a_tenth_and_a_hundred_milliseconds() {
    // Spec 2 §6.3.
    for kernel in [&V6_12_117, &V6_18_15, &V7_2_13] {
        let mut bench = Bench::new(kernel);
        for (asked, got) in [(1, 100_000), (100_000, 100_000), (5_000_000, 5_000_000), (MS * 1000, 100 * MS)]
        {
            let task = bench.task(0, asked);
            assert_eq!((bench.sched.entity(task).slice, bench.sched.entity(task).custom_slice), (got, true));
        }
        let task = bench.task(0, 0);
        assert_eq!(bench.sched.entity(task).slice, 2_800_000);
        assert!(!bench.sched.entity(task).custom_slice);
    }
}

#[test]
fn groups_take_over_the_shortest_slice_of_their_tasks() {
    // Spec 2 §6.3: refreshed by every enqueue and dequeue below.
    for kernel in [&V6_12_117, &V6_18_15, &V7_2_13] {
        let mut bench = Bench::new(&without(kernel, Features::HRTICK.union(Features::DELAY_DEQUEUE)));
        let group = bench.sched.new_group(TgId(0), "/a", DEFAULT_SHARES, false);
        let allowed = CpuMask::from_cpus(8, [CPU]);
        let mut task = |slice| {
            let allowed = allowed.clone();
            let params = TaskParams { policy: Policy::Normal, nice: 0, slice, allowed, group };
            bench.sched.new_task(&params)
        };
        let (long, short) = (task(10 * MS), task(MS));
        let owner = bench.sched.groups()[group.index()].entities[0];
        let slice = |bench: &Bench| bench.sched.entities()[owner.index()].slice;
        bench.queue(long);
        assert_eq!(slice(&bench), 10 * MS, "{}", kernel.build);
        bench.queue(short);
        assert_eq!(slice(&bench), MS, "{}", kernel.build);
        bench.input(0, Input::Schedule { cpu: CPU });
        assert_eq!(bench.curr(), Some(short), "{}: an earlier deadline", kernel.build);
        bench.input(MS / 2, Input::Block { cpu: CPU });
        assert_eq!(slice(&bench), 10 * MS, "{}", kernel.build);
    }
}

#[test]
fn a_cpu_left_with_idle_policy_tasks_balances_at_its_next_tick() {
    // Spec 2 §5.2, where CPUs know of such tasks (§14.4).
    for kernel in kernels::ALL {
        let off = Features::HRTICK.union(Features::DELAY_DEQUEUE);
        let mut bench = Bench::new(&without(kernel, off));
        let allowed = CpuMask::from_cpus(8, [CPU]);
        let (policy, group) = (Policy::Idle, TgId(0));
        let idle = bench.sched.new_task(&TaskParams { policy, nice: 0, slice: 0, allowed, group });
        let normal = bench.task(0, 0);
        bench.queue(idle);
        bench.queue(normal);
        bench.input(0, Input::Schedule { cpu: CPU });
        while bench.curr() != Some(normal) {
            let now = bench.sched.entity(idle).sum_exec + 4 * MS;
            bench.tick(now);
        }
        bench.tick(200 * MS);
        let due = bench.sched.rqs()[0].next_balance;
        if bench.curr() != Some(normal) {
            continue;
        }
        bench.input(201 * MS, Input::Block { cpu: CPU });
        let now = bench.sched.jiffies();
        let expected = if kernel.queues.knows_idle_policy_cpus { now } else { due };
        assert_eq!(bench.sched.rqs()[0].next_balance, expected, "{}", kernel.build);
    }
}

#[test]
fn slices_grow_with_the_number_of_online_cpus_as_the_scaling_says() {
    // Spec 2 §2.5: 0.7 ms times 4 with 8 CPUs and times 3 with 7 (logarithmic), 8 and 7 (linear), 1 and 1 (none).
    for (scaling, with_8, with_7) in
        [(TunableScaling::Log, 4, 3), (TunableScaling::Linear, 8, 7), (TunableScaling::None, 1, 1)]
    {
        let tunables = Tunables { scaling, ..V6_12_117.tunables };
        let mut bench = Bench::new(&Kernel { tunables, ..V6_12_117 });
        let slice = |bench: &mut Bench| {
            let task = bench.task(0, 0);
            bench.sched.entity(task).slice
        };
        assert_eq!(slice(&mut bench), with_8 * 700_000, "{scaling:?}");
        bench.input(0, Input::Hotplug { cpu: CpuId(7), online: false });
        assert_eq!(slice(&mut bench), with_7 * 700_000, "{scaling:?}");
        // What is written is what is in force, and is scaled from then on.
        bench.input(0, Input::Tune { tune: Tune::BaseSlice { ns: with_7 * 1_000_000 } });
        assert_eq!(slice(&mut bench), with_7 * 1_000_000, "{scaling:?}");
        bench.input(0, Input::Hotplug { cpu: CpuId(7), online: true });
        assert_eq!(slice(&mut bench), with_8 * 1_000_000, "{scaling:?}");
    }
}

#[test]
fn capacity_left_by_other_classes_follows_spec_2_17_12() {
    // Maximum, interrupts, real-time, deadline; the last maximum is that of 1024 less a pressure of 200.
    let rows = [
        (1024, 0, 0, 0, 1024),
        (1024, 0, 100, 50, 874),
        (1024, 100, 100, 50, 788),
        (446, 30, 100, 0, 322),
        (446, 0, 500, 0, 1),
        (824, 0, 100, 0, 724),
    ];
    for (max, irq, rt, dl, expected) in rows {
        let by = CapacityUse { pressure: 0, irq, rt, dl };
        for rule in [Pressure::Ignored, Pressure::IsUsed, Pressure::LowersMaximum] {
            assert_eq!(scale_rt_capacity(rule, max, &by), expected);
        }
    }
    let by = CapacityUse { pressure: 200, irq: 0, rt: 100, dl: 0 };
    assert_eq!(scale_rt_capacity(Pressure::LowersMaximum, 1024, &by), 724);
}

#[test]
fn who_is_picked_again_after_its_slice_is_not_asked_to_stop_within_that_pick() {
    // A heavy task beside the lightest is picked again when its slice has ended; the request that this would make at once
    // is moot, or the two would never come to an end.
    for kernel in [&V6_1_192, &V6_12_117, &V6_18_15] {
        let mut bench = Bench::new(&with(&without(kernel, Features::START_DEBIT), Features::HRTICK));
        let [heavy, _] = bench.hogs([-20, 19]);
        for ms in 1..=200 {
            while let Some(at) = bench.hrtick.filter(|at| *at <= ms * MS) {
                bench.hrtick = None;
                bench.input(at, Input::Hrtick { cpu: CPU });
            }
            bench.tick(ms * MS);
        }
        assert!(bench.sched.entity(heavy).sum_exec > 150 * MS, "{}", kernel.build);
    }
}
