//! The timeline of spec 2 §17.7 under every kernel with deadlines, row by row and column by column.

mod bench;

use bench::{Bench, CPU, MS};
use evenkeel::ids::{QueueId, TaskId};
use evenkeel::io::{Action, Input};
use evenkeel::kernel::{Features, Kernel, Tunables};
use evenkeel::kernels::{V6_12_117, V6_18_15, V7_2_13};

/// Virtual runtime, deadline, and whether it is eligible at the tick.
type Entity = (i64, i64, bool);
/// ms, who ran, the mean, N0, N5 and M5, who is picked.
type Row = (u64, &'static str, i64, [Entity; 3], &'static str);

#[rustfmt::skip]
const ROWS: [Row; 16] = [
    (4, "M5", 914_285, [(0, 1_400_000, true), (0, 4_279_403, true), (1_312_399, 2_231_078, false)], "N0"),
    (8, "N0", 1_828_570, [(4_000_000, 6_800_000, false), (0, 4_279_403, true), (1_312_399, 2_231_078, true)], "M5"),
    (12, "M5", 2_742_855, [(4_000_000, 6_800_000, false), (0, 4_279_403, true), (2_624_798, 3_543_477, true)], "M5"),
    (16, "M5", 3_657_141, [(4_000_000, 6_800_000, false), (0, 4_279_403, true), (3_937_197, 4_855_876, false)], "N5"),
    (20, "N5", 4_571_426, [(4_000_000, 6_800_000, true), (12_226_865, 20_785_671, false), (3_937_197, 4_855_876, true)], "M5"),
    (24, "M5", 5_485_711, [(4_000_000, 6_800_000, true), (12_226_865, 20_785_671, false), (5_249_596, 6_168_275, true)], "M5"),
    (28, "M5", 6_399_996, [(4_000_000, 6_800_000, true), (12_226_865, 20_785_671, false), (6_561_995, 7_480_674, false)], "N0"),
    (32, "N0", 7_314_282, [(8_000_000, 10_800_000, false), (12_226_865, 20_785_671, false), (6_561_995, 7_480_674, true)], "M5"),
    (36, "M5", 8_228_567, [(8_000_000, 10_800_000, true), (12_226_865, 20_785_671, false), (7_874_394, 8_793_073, true)], "M5"),
    (40, "M5", 9_142_852, [(8_000_000, 10_800_000, true), (12_226_865, 20_785_671, false), (9_186_793, 10_105_472, false)], "N0"),
    (44, "N0", 10_057_138, [(12_000_000, 14_800_000, false), (12_226_865, 20_785_671, false), (9_186_793, 10_105_472, true)], "M5"),
    (48, "M5", 10_971_423, [(12_000_000, 14_800_000, false), (12_226_865, 20_785_671, false), (10_499_192, 11_417_871, true)], "M5"),
    (52, "M5", 11_885_708, [(12_000_000, 14_800_000, false), (12_226_865, 20_785_671, false), (11_811_591, 12_730_270, true)], "M5"),
    (56, "M5", 12_799_993, [(12_000_000, 14_800_000, true), (12_226_865, 20_785_671, true), (13_123_990, 14_042_669, false)], "N0"),
    (60, "N0", 13_714_279, [(16_000_000, 18_800_000, false), (12_226_865, 20_785_671, true), (13_123_990, 14_042_669, true)], "M5"),
    (64, "M5", 14_628_564, [(16_000_000, 18_800_000, false), (12_226_865, 20_785_671, true), (14_436_389, 15_355_068, true)], "M5"),
];

const NAMES: [&str; 3] = ["N0", "N5", "M5"];

fn name(tasks: &[TaskId; 3], task: Option<TaskId>) -> &'static str {
    NAMES[tasks.iter().position(|other| Some(*other) == task).unwrap()]
}

/// A tick up to the end of its interrupt; true if it asked to reschedule.
fn tick(bench: &mut Bench, now: u64) -> bool {
    bench.sched.handle(now, Input::Tick { cpu: CPU });
    let mut asked = false;
    // Balancing, which the softirq would do, has nothing to do with the queue.
    while let Some(action) = bench.sched.poll() {
        asked |= matches!(action, Action::Resched { .. });
    }
    asked
}

/// Runs the timeline; `deadline` makes the expected one out of that of the table and the virtual runtime it was made at.
fn check(kernel: &Kernel, deadline: impl Fn(usize, i64, i64) -> i64) {
    let mut bench = Bench::new(kernel);
    let tasks = bench.hogs([0, 5, -5]);
    for (ms, ran, mean, entities, next) in ROWS {
        let at = format!("{} at {ms} ms", kernel.build);
        assert_eq!(name(&tasks, bench.curr()), ran, "before: {at}");
        assert!(tick(&mut bench, ms * MS), "every tick asks to reschedule: {at}");
        let relative = |time: u64| time.wrapping_add(1 << 20) as i64;
        assert_eq!(relative(bench.sched.avg_vruntime(QueueId(0))), mean, "mean: {at}");
        for (i, (vruntime, expected, eligible)) in entities.into_iter().enumerate() {
            let got = bench.times(tasks[i]);
            let se = bench.sched.tasks()[tasks[i]].se;
            let expected = (vruntime, deadline(i, vruntime, expected), eligible);
            assert_eq!((got.0, got.1, bench.sched.is_eligible(se)), expected, "{}: {at}", NAMES[i]);
        }
        bench.input(ms * MS, Input::Schedule { cpu: CPU });
        assert_eq!(name(&tasks, bench.curr()), next, "after: {at}");
    }
}

/// v7.2 with ticks only.
fn without_timer() -> Kernel {
    Kernel { features: V7_2_13.features.difference(Features::HRTICK), ..V7_2_13 }
}

#[test]
fn tasks_start_with_half_a_slice() {
    for (kernel, n5) in [(V6_12_117, 4_279_403), (V6_18_15, 4_279_403), (without_timer(), 4_279_402)] {
        let mut bench = Bench::new(&kernel);
        let tasks = bench.hogs([0, 5, -5]);
        let deadlines = tasks.map(|task| bench.times(task).1);
        // Exact division gives N5 8 558 805 for a slice, 1 ns less; half of it is rounded down.
        assert_eq!(deadlines, [1_400_000, n5, 459_339], "{}", kernel.build);
        assert_eq!(bench.curr(), Some(tasks[2]), "{}", kernel.build);
    }
}

#[test]
fn the_base_and_the_next_generation_have_the_rows_of_the_table() {
    check(&V6_12_117, |_, _, deadline| deadline);
    check(&V6_18_15, |_, _, deadline| deadline);
}

#[test]
fn exact_division_makes_deadlines_of_n5_a_nanosecond_earlier() {
    check(&without_timer(), |i, _, deadline| deadline - i64::from(i == 1));
}

#[test]
fn a_base_slice_of_three_milliseconds_changes_deadlines_only() {
    // The last paragraph: 6.12.0. Deadlines begin at 1 500 000, 4 585 074 and 492 149, and are then renewed at a slice of
    // 3 ms, 9 170 149 or 984 299 ns after the virtual runtime of then.
    let tunables = Tunables { base_slice_normalized_ns: 750_000, ..V6_12_117.tunables };
    let slices = [(2_800_000, 3_000_000), (8_558_806, 9_170_149), (918_679, 984_299)];
    let starts = [(1_400_000, 1_500_000), (4_279_403, 4_585_074), (459_339, 492_149)];
    check(&Kernel { tunables, ..V6_12_117 }, |i, _, deadline| {
        let (start, other) = starts[i];
        if deadline == start { other } else { deadline - slices[i].0 + slices[i].1 }
    });
}

#[test]
fn a_finer_tick_switches_when_slices_end() {
    let mut bench = Bench::new(&V6_12_117);
    let tasks = bench.hogs([0, 5, -5]);
    let mut switches = Vec::new();
    for ms in 1..=14 {
        let ran = name(&tasks, bench.curr());
        if bench.tick(ms * MS) {
            switches.push(format!("{ms}:{ran}→{}", name(&tasks, bench.curr())));
        }
    }
    assert_eq!(switches, ["2:M5→N0", "4:N0→M5", "7:M5→N5", "9:N5→M5", "12:M5→M5", "14:M5→N0"]);
}
