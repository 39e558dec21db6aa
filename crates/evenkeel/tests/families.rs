//! The worked timelines of spec 2 §17 for the kernels beside the base, driven through the scheduler's inputs.

mod bench;

use bench::{Bench, CPU, MS};
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::kernel::{Features, Kernel};
use evenkeel::kernels::{V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use evenkeel::mask::CpuMask;
use evenkeel::pelt::SchedAvg;
use evenkeel::queue_rules::SliceProtection;
use evenkeel::task::TaskParams;
use evenkeel::workload::Policy;

/// The names of the three tasks of the timelines.
fn name(tasks: &[TaskId; 3], task: Option<TaskId>) -> &'static str {
    ["N0", "N5", "M5"][tasks.iter().position(|other| Some(*other) == task).unwrap()]
}

/// Classic CFS as in spec 2 §17.6: the tasks start together, so new ones are not placed behind.
fn together(kernel: &Kernel) -> Kernel {
    Kernel { features: kernel.features.difference(Features::START_DEBIT), ..*kernel }
}

#[test]
fn classic_hogs_take_turns() {
    // Spec 2 §17.6: ms, who ran, virtual runtimes of N0, N5 and M5 and the smallest in ns, who runs next.
    let rows = [
        (4, "N0", [4_000_000, 0, 0, 0], "N0"),
        (8, "N0", [8_000_000, 0, 0, 0], "N5"),
        (12, "N5", [8_000_000, 12_226_865, 0, 0], "M5"),
        (16, "M5", [8_000_000, 12_226_865, 1_312_399, 1_312_399], "M5"),
        (20, "M5", [8_000_000, 12_226_865, 2_624_798, 2_624_798], "M5"),
        (24, "M5", [8_000_000, 12_226_865, 3_937_197, 3_937_197], "M5"),
        (28, "M5", [8_000_000, 12_226_865, 5_249_596, 5_249_596], "M5"),
        (32, "M5", [8_000_000, 12_226_865, 6_561_995, 6_561_995], "M5"),
        (36, "M5", [8_000_000, 12_226_865, 7_874_394, 7_874_394], "M5"),
        (40, "M5", [8_000_000, 12_226_865, 9_186_793, 8_000_000], "N0"),
        (44, "N0", [12_000_000, 12_226_865, 9_186_793, 9_186_793], "N0"),
        (48, "N0", [16_000_000, 12_226_865, 9_186_793, 9_186_793], "M5"),
        (52, "M5", [16_000_000, 12_226_865, 10_499_192, 10_499_192], "M5"),
        (56, "M5", [16_000_000, 12_226_865, 11_811_591, 11_811_591], "M5"),
        (60, "M5", [16_000_000, 12_226_865, 13_123_990, 12_226_865], "M5"),
        (64, "M5", [16_000_000, 12_226_865, 14_436_389, 12_226_865], "M5"),
        (68, "M5", [16_000_000, 12_226_865, 15_748_788, 12_226_865], "N5"),
        (72, "N5", [16_000_000, 24_453_730, 15_748_788, 15_748_788], "M5"),
    ];
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let mut bench = Bench::new(&together(kernel));
        let tasks = bench.hogs([0, 5, -5]);
        let start = bench.sched.entity(tasks[0]).vruntime;
        for (ms, ran, vruntimes, next) in rows {
            assert_eq!(name(&tasks, bench.curr()), ran, "{} before {ms} ms", kernel.build);
            bench.tick(ms * MS);
            let [n0, n5, m5] = tasks.map(|task| bench.sched.entity(task).vruntime.wrapping_sub(start));
            let min_vruntime = bench.sched.queues()[0].zero_vruntime.wrapping_sub(start);
            assert_eq!([n0, n5, m5, min_vruntime], vruntimes, "{} at {ms} ms", kernel.build);
            assert_eq!(name(&tasks, bench.curr()), next, "{} after {ms} ms", kernel.build);
        }
    }
}

#[test]
fn classic_new_tasks_start_a_slice_behind_their_creator() {
    // Spec 2 §17.6, last paragraph: one nice-0 task runs, and creates another.
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let mut bench = Bench::new(kernel);
        let [parent] = bench.hogs([0]);
        bench.tick(4 * MS);
        let min_vruntime = bench.sched.queues()[0].zero_vruntime;
        let child = bench.task(0, 0);
        bench.input(4 * MS, Input::Fork { cpu: CPU, child });
        let vruntime = bench.sched.entity(child).vruntime;
        assert_eq!(vruntime.wrapping_sub(min_vruntime), 11_999_994, "{}", kernel.build);
        assert_eq!(bench.curr(), Some(parent));
    }
}

#[test]
fn classic_sleepers_preempt_when_they_are_far_behind() {
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let mut bench = Bench::new(&together(kernel));
        let [sleeper, hog] = bench.hogs([0, 0]);
        bench.input(MS, Input::Block { cpu: CPU });
        assert_eq!(bench.curr(), Some(hog));
        assert!(!bench.sched.entity(sleeper).on_rq, "nothing is dequeued late");
        for ms in (4..=100).step_by(4) {
            bench.tick(ms * MS);
        }
        let wake = WakeContext { interrupt: true, sync: false };
        bench.input(100 * MS, Input::Wake { cpu: CpuId(1), task: sleeper, context: wake });
        // Spec 2 §7.3: half a latency of credit, 12 ms; §7.6: that is more than the granularity of 4 ms.
        let [behind, ahead] = [sleeper, hog].map(|task| bench.sched.entity(task).vruntime);
        assert_eq!(ahead.wrapping_sub(behind), 12 * MS, "{}", kernel.build);
        assert_eq!(bench.curr(), Some(sleeper), "{}", kernel.build);
    }
}

#[test]
fn classic_yield_passes_the_cpu_to_who_is_close() {
    let mut bench = Bench::new(&together(&V6_1_192));
    let [a, b] = bench.hogs([0, 0]);
    bench.input(MS, Input::Yield { cpu: CPU });
    assert_eq!(bench.curr(), Some(b));
    // Spec 2 §7.7: the virtual runtime of who yields stays.
    let ran = bench.sched.entity(a).vruntime.wrapping_sub(bench.sched.entity(b).vruntime);
    assert_eq!(ran, MS);
}

#[test]
fn virtual_runtimes_are_relative_while_a_classic_task_migrates() {
    // Spec 2 §7.3: what it was ahead of its old queue it is ahead of the new one.
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let mut bench = Bench::new(&together(kernel));
        let [a, b] = bench.hogs([0, 0]);
        for ms in (4..=24).step_by(4) {
            bench.tick(ms * MS);
        }
        let waits = if bench.curr() == Some(a) { b } else { a };
        let ahead = |bench: &Bench, cpu: usize| {
            bench.sched.entity(waits).vruntime.wrapping_sub(bench.sched.queues()[cpu].zero_vruntime) as i64
        };
        let before = ahead(&bench, 0);
        let allowed = CpuMask::from_cpus(8, [CpuId(1)]);
        bench.sched.handle(24 * MS, Input::SetAffinity { cpu: CpuId(2), task: waits, allowed });
        while bench.sched.poll().is_some() {}
        assert_eq!(ahead(&bench, 1), before, "{}", kernel.build);
    }
}

#[test]
fn a_timer_ends_slices_between_ticks() {
    // Spec 2 §17.9: ns, what happens, whether it asks to reschedule, who is picked; the timer fires 1 us late.
    let rows = [
        (1_400_997, "hrtick", true, "N0"),
        (2_801_997, "hrtick", true, "M5"),
        (4_000_000, "tick", false, "M5"),
        (5_602_994, "hrtick", true, "N5"),
        (7_003_993, "hrtick", true, "M5"),
        (8_000_000, "tick", false, "M5"),
        (9_804_990, "hrtick", true, "N0"),
        (12_000_000, "tick", false, "N0"),
        (12_605_990, "hrtick", true, "M5"),
        (15_406_987, "hrtick", true, "M5"),
        (16_000_000, "tick", true, "M5"),
        (20_000_000, "tick", true, "N0"),
        (22_801_000, "hrtick", true, "M5"),
        (24_000_000, "tick", false, "M5"),
    ];
    let mut bench = Bench::new(&V7_2_13);
    let tasks = bench.hogs([0, 5, -5]);
    assert_eq!(name(&tasks, bench.curr()), "M5");
    let mut tick = 4 * MS;
    for row in rows {
        let timer = bench.hrtick.map_or(u64::MAX, |at| at + 1000);
        let (now, what) = if timer < tick { (timer, "hrtick") } else { (tick, "tick") };
        let asked = if what == "tick" {
            tick += 4 * MS;
            bench.tick(now)
        } else {
            bench.hrtick = None;
            bench.input(now, Input::Hrtick { cpu: CPU })
        };
        assert_eq!((now, what, asked, name(&tasks, bench.curr())), row);
    }
}

#[test]
fn the_shortest_slice_of_the_queue_limits_protection() {
    // Spec 2 §17.9: A has the default slice, B 0.5 ms; both start at 0, not as new tasks.
    for kernel in [V6_18_15, V7_2_13] {
        let whole = Features::PLACE_DEADLINE_INITIAL.union(Features::HRTICK);
        let mut bench = Bench::new(&Kernel { features: kernel.features.difference(whole), ..kernel });
        let (a, b) = (bench.task(0, 0), bench.task(0, 500_000));
        for task in [a, b] {
            bench.queue(task);
        }
        assert_eq!([a, b].map(|task| bench.times(task).1), [2_800_000, 500_000]);
        bench.input(0, Input::Schedule { cpu: CPU });
        assert_eq!(bench.curr(), Some(b));
        // The end of the protection, relative to where virtual time began; v6.18 keeps it in the place of the lag.
        let vprot = |bench: &Bench, task| {
            let entity = bench.sched.entity(task);
            let shared = kernel.queues.slice_protection == SliceProtection::ShortestSlice;
            let vprot = if shared { entity.vlag as u64 } else { entity.vprot };
            vprot.wrapping_add(1 << 20)
        };
        assert_eq!(vprot(&bench, b), 500_000);
        assert!(bench.tick(600_000));
        assert_eq!(bench.times(b), (600_000, 1_100_000));
        assert_eq!(bench.curr(), Some(a), "{}", kernel.build);
        assert_eq!(vprot(&bench, a), 500_000);
        assert!(!bench.tick(1_000_000), "{}: A is protected", kernel.build);
        assert!(bench.tick(1_200_000), "{}: A no longer is", kernel.build);
        assert_eq!(bench.curr(), Some(b), "{}", kernel.build);
    }
}

#[test]
fn a_delayed_task_keeps_what_it_owes_when_it_wakes() {
    // Spec 2 §17.8 (a) for v7.2: the queue is brought up to date first, and the lag is what it then is.
    let mut bench =
        Bench::new(&Kernel { features: V7_2_13.features.difference(Features::HRTICK), ..V7_2_13 });
    let [a, b] = bench.hogs([0, 0]);
    bench.input(3 * MS, Input::Block { cpu: CPU });
    assert!(bench.sched.entity(a).sched_delayed);
    assert_eq!(bench.sched.entity(a).vlag, -1_500_000);
    assert_eq!(bench.curr(), Some(b));
    bench.tick(4 * MS);
    let wake = WakeContext { interrupt: true, sync: false };
    bench.input(5 * MS, Input::Wake { cpu: CpuId(1), task: a, context: wake });
    assert_eq!(bench.sched.entity(a).vlag, -500_000);
    assert_eq!(bench.times(a).0, 3_000_000, "it is not placed anew");
    assert_eq!(bench.times(b).0, 2_000_000);
}

#[test]
fn new_tasks_take_half_of_what_is_left_in_old_kernels() {
    // Spec 2 §17.10, last clause of the new-task vectors: weights do not matter up to v6.1.
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        let utils = [0, 5, -5].map(|nice| {
            let mut bench = Bench::new(&together(kernel));
            bench.hogs([0]);
            let child = bench.task(nice, 0);
            bench.input(0, Input::Fork { cpu: CPU, child });
            bench.sched.entity(child).avg.util_avg
        });
        assert_eq!(utils, [256; 3], "{}", kernel.build);
    }
}

#[test]
fn load_of_queued_tasks_is_told_apart_in_the_oldest_kernel() {
    // Spec 2 §8.7: the third signal holds queued entities only, load_avg the sleeping ones too.
    let mut bench = Bench::new(&together(&V4_19_0));
    let [_, b] = bench.hogs([0, 0]);
    let avg = |bench: &Bench| bench.sched.queues()[0].avg;
    assert_eq!((avg(&bench).load_avg, avg(&bench).runnable_avg), (2048, 2048));
    bench.input(MS / 2, Input::Block { cpu: CPU });
    assert_eq!(bench.curr(), Some(b));
    assert_eq!((avg(&bench).load_avg, avg(&bench).runnable_avg), (2048, 1024));
}

#[test]
fn a_new_task_in_an_empty_group_is_seen_at_the_root() {
    // Spec 2 §17.10, second paragraph, in averages; the oldest kernel passes load on with another divider (§9.6).
    for kernel in [&V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13] {
        let mut bench = Bench::new(kernel);
        let group = bench.sched.new_group(TgId(0), "/a", DEFAULT_SHARES, false);
        let allowed = CpuMask::from_cpus(8, [CPU]);
        let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group };
        let task = bench.sched.new_task(&params);
        bench.input(0, Input::Fork { cpu: CPU, child: task });
        let averages = |avg: &SchedAvg| (avg.load_avg, avg.util_avg);
        let expected = (1024, 512);
        assert_eq!(averages(&bench.sched.entity(task).avg), expected, "{}", kernel.build);
        let tg = &bench.sched.groups()[group.index()];
        assert_eq!(tg.load_avg, 1024, "{}", kernel.build);
        let queue = &bench.sched.queues()[tg.queues[0].index()];
        assert_eq!(averages(&queue.avg), expected, "{}", kernel.build);
        assert_eq!(averages(&bench.sched.queues()[0].avg), expected, "{}", kernel.build);
        assert_eq!(bench.sched.queues()[0].load_weight, 1_048_576, "{}", kernel.build);
    }
}
