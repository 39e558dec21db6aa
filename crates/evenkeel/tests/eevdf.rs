//! The worked timelines of spec 2 §17.7 and §17.8, driven through the scheduler's inputs.

mod bench;

use bench::{Bench, CPU, MS};
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::kernels::V6_12_117;
use evenkeel::mask::CpuMask;

#[test]
fn three_hogs_of_different_weight_take_turns() {
    let mut bench = Bench::new(&V6_12_117);
    let tasks = [0, 5, -5].map(|nice| bench.task(nice, 0));
    let [n0, n5, m5] = tasks;
    for child in tasks {
        bench.sched.handle(0, Input::Fork { cpu: CPU, child });
        while bench.sched.poll().is_some() {}
    }
    assert_eq!(tasks.map(|task| bench.times(task).1), [1_400_000, 4_279_403, 459_339]);
    bench.input(0, Input::Schedule { cpu: CPU });
    assert_eq!(bench.curr(), Some(m5));

    type Row = (u64, TaskId, [(i64, i64); 3], TaskId);
    let rows: [Row; 16] = [
        (4, m5, [(0, 1_400_000), (0, 4_279_403), (1_312_399, 2_231_078)], n0),
        (8, n0, [(4_000_000, 6_800_000), (0, 4_279_403), (1_312_399, 2_231_078)], m5),
        (12, m5, [(4_000_000, 6_800_000), (0, 4_279_403), (2_624_798, 3_543_477)], m5),
        (16, m5, [(4_000_000, 6_800_000), (0, 4_279_403), (3_937_197, 4_855_876)], n5),
        (20, n5, [(4_000_000, 6_800_000), (12_226_865, 20_785_671), (3_937_197, 4_855_876)], m5),
        (24, m5, [(4_000_000, 6_800_000), (12_226_865, 20_785_671), (5_249_596, 6_168_275)], m5),
        (28, m5, [(4_000_000, 6_800_000), (12_226_865, 20_785_671), (6_561_995, 7_480_674)], n0),
        (32, n0, [(8_000_000, 10_800_000), (12_226_865, 20_785_671), (6_561_995, 7_480_674)], m5),
        (36, m5, [(8_000_000, 10_800_000), (12_226_865, 20_785_671), (7_874_394, 8_793_073)], m5),
        (40, m5, [(8_000_000, 10_800_000), (12_226_865, 20_785_671), (9_186_793, 10_105_472)], n0),
        (44, n0, [(12_000_000, 14_800_000), (12_226_865, 20_785_671), (9_186_793, 10_105_472)], m5),
        (48, m5, [(12_000_000, 14_800_000), (12_226_865, 20_785_671), (10_499_192, 11_417_871)], m5),
        (52, m5, [(12_000_000, 14_800_000), (12_226_865, 20_785_671), (11_811_591, 12_730_270)], m5),
        (56, m5, [(12_000_000, 14_800_000), (12_226_865, 20_785_671), (13_123_990, 14_042_669)], n0),
        (60, n0, [(16_000_000, 18_800_000), (12_226_865, 20_785_671), (13_123_990, 14_042_669)], m5),
        (64, m5, [(16_000_000, 18_800_000), (12_226_865, 20_785_671), (14_436_389, 15_355_068)], m5),
    ];
    for (ms, ran, times, next) in rows {
        assert_eq!(bench.curr(), Some(ran), "before {ms} ms");
        assert!(bench.tick(ms * MS), "every tick asks to reschedule; {ms} ms did not");
        assert_eq!(tasks.map(|task| bench.times(task)), times, "{ms} ms");
        assert_eq!(bench.curr(), Some(next), "after {ms} ms");
    }
}

#[test]
fn a_finer_tick_switches_when_slices_end() {
    let mut bench = Bench::new(&V6_12_117);
    let tasks = [0, 5, -5].map(|nice| bench.task(nice, 0));
    for child in tasks {
        bench.sched.handle(0, Input::Fork { cpu: CPU, child });
        while bench.sched.poll().is_some() {}
    }
    bench.input(0, Input::Schedule { cpu: CPU });
    let name =
        |task: Option<TaskId>| ["N0", "N5", "M5"][tasks.iter().position(|t| Some(*t) == task).unwrap()];
    let mut switches = Vec::new();
    for ms in 1..=14 {
        let ran = name(bench.curr());
        if bench.tick(ms * MS) {
            switches.push(format!("{ms}:{ran}→{}", name(bench.curr())));
        }
    }
    assert_eq!(switches, ["2:M5→N0", "4:N0→M5", "7:M5→N5", "9:N5→M5", "12:M5→M5", "14:M5→N0"]);
}

/// Two nice-0 tasks; the first runs 3 ms and sleeps: it has had more than its share, so it stays queued.
fn delayed() -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::new(&V6_12_117);
    let (a, b) = (bench.task(0, 0), bench.task(0, 0));
    for child in [a, b] {
        bench.sched.handle(0, Input::Fork { cpu: CPU, child });
        while bench.sched.poll().is_some() {}
    }
    bench.input(0, Input::Schedule { cpu: CPU });
    assert_eq!(bench.curr(), Some(a));
    bench.input(3 * MS, Input::Block { cpu: CPU });
    let queue = &bench.sched.queues()[0];
    assert_eq!((queue.nr_running, queue.h_nr_queued, queue.h_nr_runnable()), (2, 2, 1));
    assert_eq!(bench.sched.rqs()[0].nr_running, 2);
    assert_eq!(bench.times(a), (3 * MS as i64, 5_800_000));
    assert_eq!(bench.curr(), Some(b));
    assert!(!bench.tick(4 * MS), "B has not used its slice");
    assert_eq!(bench.times(b).0, MS as i64);
    (bench, a, b)
}

#[test]
fn a_delayed_task_that_wakes_goes_on_where_it_was() {
    let (mut bench, a, b) = delayed();
    let wake = Input::Wake { cpu: CpuId(1), task: a, context: WakeContext { interrupt: true, sync: false } };
    assert!(bench.input(5 * MS, wake), "the update of B renews its deadline");
    assert_eq!(bench.times(a), (3_000_000, 5_800_000));
    assert_eq!(bench.times(b), (2_000_000, 4_800_000));
    assert_eq!(bench.sched.queues()[0].h_nr_runnable(), 2);
}

#[test]
fn a_delayed_task_leaves_when_it_is_picked() {
    let (mut bench, a, b) = delayed();
    assert!(bench.tick(8 * MS));
    assert_eq!(bench.times(b), (5_000_000, 7_800_000));
    assert_eq!(bench.sched.entity(a).vlag, 0);
    assert!(!bench.sched.entity(a).on_rq);
    assert_eq!(bench.curr(), Some(b));
    let queue = &bench.sched.queues()[0];
    assert_eq!((queue.nr_running, queue.h_nr_queued, queue.h_nr_runnable()), (1, 1, 1));
}

#[test]
fn lag_and_remaining_deadline_travel_with_a_migrated_task() {
    let mut bench = Bench::new(&V6_12_117);
    let [a, b, c] = [0, 0, 0].map(|nice| bench.task(nice, 0));
    for child in [a, b, c] {
        bench.sched.handle(0, Input::Fork { cpu: CPU, child });
        while bench.sched.poll().is_some() {}
    }
    bench.input(0, Input::Schedule { cpu: CPU });
    bench.tick(4 * MS);
    bench.sched.handle(6 * MS, Input::Tick { cpu: CPU });
    while bench.sched.poll().is_some() {}
    assert_eq!(bench.times(a), (4_000_000, 6_800_000));
    assert_eq!(bench.times(b), (2_000_000, 4_800_000));
    assert_eq!(bench.times(c), (0, 1_400_000));
    // Move C to CPU 1, where nothing runs: it starts at that queue's virtual time with what was left of its slice.
    let allowed = CpuMask::from_cpus(8, [CpuId(1)]);
    bench.input(6 * MS, Input::SetAffinity { cpu: CpuId(2), task: c, allowed });
    let entity = bench.sched.entity(c);
    assert_eq!(entity.deadline.wrapping_sub(entity.vruntime), 1_400_000);
    assert_eq!(bench.sched.rqs()[1].curr, Some(c));
}
