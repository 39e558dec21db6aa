//! Every computed vector of load tracking (spec 2 §17.1 to §17.4, and that of §17.12): pure arithmetic on sums and averages.
//!
//! The tables are those of the specification, row by row.

use evenkeel::pelt::{Activity, SchedAvg, decay, segments};

const MS: u64 = 1_000_000;
const PERIOD: u64 = 1 << 20;
const RUNNING: Activity = Activity { load: 1, runnable: 1, running: true };
const WAITING: Activity = Activity { load: 1, runnable: 1, running: false };
const BLOCKED: Activity = Activity { load: 0, runnable: 0, running: false };

/// Updates at `now` and recomputes the averages if a boundary was crossed, as the scheduler does.
fn step(avg: &mut SchedAvg, now: u64, activity: Activity, weight: u64) {
    if avg.update_sum(now, activity) {
        avg.update_avg(weight);
    }
}

/// How many updates, periods or milliseconds; `[period_contrib, load_sum, util_sum, load_avg, runnable_avg, util_avg]`.
type Row = (u64, [u64; 6]);

fn row(avg: &SchedAvg) -> [u64; 6] {
    let SchedAvg { period_contrib, load_sum, util_sum, load_avg, runnable_avg, util_avg, .. } = *avg;
    [period_contrib.into(), load_sum, util_sum.into(), load_avg, runnable_avg, util_avg]
}

/// one update after n periods (1 048 576 ns each).
#[rustfmt::skip]
const ONE_UPDATE: [Row; 10] = [
    (1, [0, 1002, 1_026_048, 21, 21, 21]),
    (2, [0, 1981, 2_028_544, 43, 43, 43]),
    (8, [0, 7433, 7_611_392, 162, 162, 162]),
    (16, [0, 13684, 14_012_416, 299, 299, 299]),
    (32, [0, 23359, 23_919_616, 512, 512, 512]),
    (64, [0, 35039, 35_879_936, 768, 768, 768]),
    (100, [0, 41364, 42_356_736, 906, 906, 906]),
    (200, [0, 46105, 47_211_520, 1010, 1010, 1010]),
    (345, [0, 46692, 47_812_608, 1023, 1023, 1023]),
    (500, [0, 46718, 47_839_232, 1024, 1024, 1024]),
];

/// n updates, one period apart.
#[rustfmt::skip]
const EVERY_PERIOD: [Row; 10] = [
    (1, [0, 1002, 1_026_048, 21, 21, 21]),
    (2, [0, 1982, 2_030_109, 43, 43, 43]),
    (8, [0, 7436, 7_618_458, 162, 163, 163]),
    (16, [0, 13689, 14_024_793, 300, 300, 300]),
    (32, [0, 23369, 23_941_816, 512, 512, 512]),
    (64, [0, 35053, 35_912_725, 768, 768, 768]),
    (100, [0, 41381, 42_394_947, 907, 907, 907]),
    (200, [0, 46123, 47_254_487, 1010, 1011, 1011]),
    (345, [0, 46714, 47_856_424, 1023, 1024, 1024]),
    (500, [0, 46715, 47_882_684, 1023, 1024, 1024]),
];

/// updates every 4 000 000 ns, n-th.
#[rustfmt::skip]
const EVERY_4_MS: [Row; 11] = [
    (1, [834, 3773, 3_863_552, 81, 81, 81]),
    (2, [644, 7216, 7_390_060, 156, 156, 156]),
    (3, [454, 10358, 10_607_498, 224, 224, 224]),
    (4, [265, 13224, 13_542_542, 288, 288, 288]),
    (5, [75, 15836, 16_217_605, 346, 346, 346]),
    (8, [530, 22852, 23_403_924, 495, 495, 495]),
    (10, [150, 26353, 26_988_913, 575, 575, 575]),
    (16, [36, 34286, 35_113_809, 750, 751, 751]),
    (25, [376, 41120, 42_112_778, 894, 894, 894]),
    (50, [752, 46702, 47_828_952, 1007, 1007, 1007]),
    (100, [481, 47180, 48_319_604, 1023, 1023, 1023]),
];

/// updates every 1 000 000 ns, n-th.
#[rustfmt::skip]
const EVERY_MS: [Row; 13] = [
    (1, [976, 976, 999_424, 0, 0, 0]),
    (2, [929, 1930, 1_976_408, 41, 41, 41]),
    (3, [881, 2861, 2_930_409, 61, 61, 61]),
    (4, [834, 3772, 3_863_968, 81, 81, 81]),
    (5, [786, 4662, 4_775_475, 100, 100, 100]),
    (10, [549, 8821, 9_036_263, 191, 191, 191]),
    (20, [75, 15833, 16_219_662, 346, 346, 346]),
    (32, [530, 22851, 23_410_391, 495, 495, 495]),
    (33, [482, 23326, 23_896_914, 506, 506, 506]),
    (50, [700, 30539, 31_287_908, 659, 659, 659]),
    (100, [376, 41128, 42_135_012, 894, 894, 894]),
    (200, [752, 46709, 47_852_288, 1007, 1008, 1008]),
    (400, [481, 47182, 48_341_291, 1023, 1024, 1024]),
];

/// Cycle, after the run, after the sleep.
#[rustfmt::skip]
const CYCLES: [(u64, [u64; 5], [u64; 5]); 8] = [
    (1, [644, 7216, 7_389_184, 156, 156], [265, 6067, 6_213_538, 132, 132]),
    (2, [909, 12467, 12_767_449, 268, 268], [530, 10483, 10_736_102, 227, 227]),
    (3, [150, 15952, 16_336_237, 348, 348], [795, 13707, 14_037_886, 295, 295]),
    (4, [415, 18705, 19_155_704, 406, 406], [36, 15728, 16_107_962, 344, 344]),
    (6, [945, 22241, 22_778_167, 477, 477], [566, 18702, 19_154_078, 405, 405]),
    (8, [451, 23709, 24_281_248, 514, 514], [72, 19936, 20_418_014, 436, 436]),
    (10, [981, 24864, 25_463_962, 533, 533], [602, 20908, 21_412_554, 452, 452]),
    (12, [487, 25059, 25_663_395, 543, 543], [108, 21072, 21_580_256, 460, 460]),
];

/// ms asleep; period_contrib, load_sum, util_sum (= runnable_sum), load_avg, util_avg (= runnable_avg).
#[rustfmt::skip]
const BLOCKED_DECAY: [(u64, [u64; 5]); 10] = [
    (1, [976, 46718, 23_919_616, 1024, 512]),
    (2, [929, 45716, 23_407_067, 982, 491]),
    (5, [786, 42840, 21_934_384, 923, 461]),
    (10, [549, 38443, 19_682_919, 832, 416]),
    (32, [530, 24393, 12_489_313, 528, 264]),
    (64, [36, 12463, 6_381_397, 272, 136]),
    (100, [376, 5967, 3_055_423, 129, 64]),
    (345, [18, 37, 19221, 0, 0]),
    (500, [857, 1, 795, 0, 0]),
    (1000, [690, 0, 0, 0, 0]),
];

/// ms, whether it ran; period_contrib, load_sum, runnable_sum, util_sum, load_avg, runnable_avg, util_avg.
#[rustfmt::skip]
const WAITING_AND_RUNNING: [(u64, bool, [u64; 7]); 8] = [
    (4, false, [834, 47551, 26_278_237, 22_414_685, 1023, 552, 471]),
    (8, true, [644, 47361, 27_944_417, 24_401_524, 1023, 590, 515]),
    (12, false, [454, 47171, 29_455_927, 22_376_296, 1023, 624, 474]),
    (16, true, [265, 46981, 30_826_628, 24_334_577, 1023, 656, 517]),
    (20, false, [75, 46791, 32_067_182, 22_314_905, 1023, 685, 476]),
    (24, true, [909, 47625, 33_918_309, 24_779_608, 1023, 712, 520]),
    (28, false, [719, 47435, 34_956_538, 22_723_000, 1023, 736, 479]),
    (32, true, [530, 47246, 35_893_238, 24_675_034, 1023, 759, 522]),
];

/// Capacity and frequency; after 1, 2, 10 and 100 updates: period_contrib, load_sum, util_sum, load_avg, util_avg.
#[rustfmt::skip]
const SCALED: [(u64, u64, [[u64; 5]; 4]); 4] = [
    (1024, 1024, [
        [834, 3773, 3_863_552, 81, 81],
        [644, 7216, 7_390_060, 156, 156],
        [150, 26353, 26_988_913, 575, 575],
        [481, 47180, 48_319_604, 1023, 1023],
    ]),
    (512, 1024, [
        [834, 3773, 1_931_776, 81, 40],
        [644, 7216, 3_695_030, 156, 78],
        [150, 26353, 13_494_455, 575, 287],
        [481, 47180, 24_159_799, 1023, 511],
    ]),
    (1024, 512, [
        [834, 1886, 1_931_264, 40, 40],
        [644, 3607, 3_694_048, 77, 77],
        [150, 13172, 13_492_804, 287, 287],
        [481, 23584, 24_155_850, 511, 511],
    ]),
    (446, 768, [
        [834, 2829, 1_261_734, 60, 26],
        [644, 5411, 2_413_397, 116, 50],
        [150, 19761, 8_815_057, 431, 188],
        [481, 35379, 15_782_003, 767, 334],
    ]),
];

/// ms; period_contrib, load_sum, util_sum, load_avg, runnable_avg, util_avg.
#[rustfmt::skip]
const QUEUE_OF_TWO: [Row; 5] = [
    (10, [549, 18_071_552, 9_035_776, 382, 382, 191]),
    (20, [75, 32_433_117, 16_216_558, 693, 693, 346]),
    (30, [624, 44_786_665, 22_393_332, 946, 946, 473]),
    (40, [150, 53_976_053, 26_988_026, 1151, 1151, 575]),
    (50, [700, 62_544_588, 31_272_293, 1319, 1319, 659]),
];

#[test]
fn one_update_after_many_periods() {
    for (n, expected) in ONE_UPDATE {
        let mut avg = SchedAvg::default();
        step(&mut avg, n * PERIOD, RUNNING, 1024);
        assert_eq!(row(&avg), expected, "{n} periods");
        assert_eq!(avg.runnable_sum, avg.util_sum.into());
    }
}

#[test]
fn repeated_updates() {
    for (interval, rows) in [(PERIOD, &EVERY_PERIOD[..]), (4 * MS, &EVERY_4_MS), (MS, &EVERY_MS)] {
        let mut avg = SchedAvg::default();
        let mut rows = rows.iter().peekable();
        for n in 1.. {
            let Some((next, expected)) = rows.peek() else { break };
            step(&mut avg, n * interval, RUNNING, 1024);
            if *next == n {
                assert_eq!(row(&avg), *expected, "update {n} every {interval} ns");
                rows.next();
            }
        }
    }
}

#[test]
fn running_and_sleeping_by_turns() {
    let mut avg = SchedAvg::default();
    let short = |avg: &SchedAvg| {
        let [period_contrib, load_sum, util_sum, load, _, util] = row(avg);
        [period_contrib, load_sum, util_sum, load, util]
    };
    for cycle in 1..=12 {
        step(&mut avg, (2 * cycle - 1) * 8 * MS, RUNNING, 1024);
        let run = short(&avg);
        step(&mut avg, 2 * cycle * 8 * MS, BLOCKED, 1024);
        if let Some(expected) = CYCLES.iter().find(|row| row.0 == cycle) {
            assert_eq!((run, short(&avg)), (expected.1, expected.2), "cycle {cycle}");
        }
    }
}

/// Load 1024, runnable and utilisation 512.
fn half_used() -> SchedAvg {
    SchedAvg { load_sum: 46_718, runnable_sum: 23_919_616, util_sum: 23_919_616, ..SchedAvg::default() }
}

#[test]
fn blocked_load_decays() {
    for (ms, [period_contrib, load_sum, util_sum, load, util]) in BLOCKED_DECAY {
        let mut avg = half_used();
        avg.load_avg = 1024;
        avg.util_avg = 512;
        avg.runnable_avg = 512;
        step(&mut avg, ms * MS, BLOCKED, 1024);
        assert_eq!(row(&avg), [period_contrib, load_sum, util_sum, load, util, util], "{ms} ms");
        assert_eq!(avg.runnable_sum, util_sum, "{ms} ms");
    }
}

#[test]
fn waiting_counts_as_load_but_not_as_utilisation() {
    let mut avg = half_used();
    for (ms, ran, [period_contrib, load_sum, runnable_sum, util_sum, load, runnable, util]) in
        WAITING_AND_RUNNING
    {
        step(&mut avg, ms * MS, if ran { RUNNING } else { WAITING }, 1024);
        assert_eq!(row(&avg), [period_contrib, load_sum, util_sum, load, runnable, util], "{ms} ms");
        assert_eq!(avg.runnable_sum, runnable_sum, "{ms} ms");
    }
}

#[test]
fn a_queue_of_two_counts_both_as_runnable() {
    let mut avg = SchedAvg::default();
    for (ms, expected) in QUEUE_OF_TWO {
        step(&mut avg, ms * MS, Activity { load: 2048, runnable: 2, running: true }, 1);
        assert_eq!(row(&avg), expected, "{ms} ms");
    }
}

#[test]
fn load_is_weighted_and_utilisation_is_not() {
    for (weight, expected) in [(88_761, 16_570), (335, 62), (15, 2), (3, 0)] {
        let mut avg = SchedAvg::default();
        step(&mut avg, 10 * MS, RUNNING, weight);
        assert_eq!((avg.period_contrib, avg.load_sum, avg.util_avg), (549, 8824, 191));
        assert_eq!(avg.load_avg, expected, "weight {weight}");
    }
}

#[test]
fn contributions_scaled_by_capacity_and_frequency() {
    for (capacity, frequency, rows) in SCALED {
        let mut avg = SchedAvg::default();
        let mut got = Vec::new();
        for n in 1..=100 {
            if avg.update_sum_scaled(n * 4 * MS, RUNNING, capacity, frequency) {
                avg.update_avg_scaled(1024, 1024);
            }
            if [1, 2, 10, 100].contains(&n) {
                assert_eq!((avg.runnable_sum, avg.runnable_avg), (avg.load_sum, avg.load_avg));
                let [period_contrib, load_sum, util_sum, load, _, util] = row(&avg);
                got.push([period_contrib, load_sum, util_sum, load, util]);
            }
        }
        assert_eq!(got, rows, "capacity {capacity}, frequency {frequency}");
    }
}

#[test]
fn decay_and_segments() {
    let n = [1, 2, 3, 8, 16, 31, 32, 33, 64, 100, 320, 345, 500, 2016, 2017];
    let rows = [
        (47742, [46718, 45717, 44738, 40146, 33758, 24393, 23870, 23359, 11934, 5471, 45, 26, 0, 0, 0]),
        (
            48_887_808,
            [
                47_840_243, 46_815_125, 45_811_973, 41_109_582, 34_568_900, 24_979_155, 24_443_903,
                23_920_121, 12_221_951, 5_603_789, 47741, 27779, 966, 0, 0,
            ],
        ),
        (1024, [1002, 980, 959, 861, 724, 523, 511, 501, 255, 117, 0, 0, 0, 0, 0]),
    ];
    for (value, expected) in rows {
        assert_eq!(n.map(|n| decay(value, n)), expected);
    }
    let segments_of = [
        (1, 1024, 0, 1002),
        (2, 1024, 0, 1981),
        (3, 1024, 0, 2939),
        (32, 1024, 0, 23359),
        (345, 1024, 0, 46692),
        (1, 100, 200, 297),
        (4, 1000, 24, 3880),
        (10, 512, 512, 9198),
    ];
    for (p, d1, d3, expected) in segments_of {
        assert_eq!(segments(p, d1, d3), expected, "segments({p}, {d1}, {d3})");
    }
}

#[test]
fn real_time_tasks_are_tracked_by_the_same_sums() {
    // Spec 2 §17.4: 2 ms of every 10 ms; right after each burst.
    let mut avg = SchedAvg::default();
    let bursts: Vec<u64> = (0..6)
        .map(|n| {
            step(&mut avg, n * 10 * MS, BLOCKED, 1);
            step(&mut avg, n * 10 * MS + 2 * MS, RUNNING, 1);
            avg.util_avg
        })
        .collect();
    assert_eq!(bursts, [41, 75, 102, 124, 143, 157]);
}

#[test]
fn slow_cpus_see_the_same_pelt_time_for_the_same_work() {
    // Spec 2 §17.12: 5 ms of PELT time in every 20 ms; after the run and before the next one.
    let mut avg = SchedAvg::default();
    let rows = [(1, 100, 73), (2, 167, 122), (3, 211, 154), (5, 259, 190), (10, 292, 214), (20, 296, 217)];
    for n in 1..=20 {
        step(&mut avg, (n - 1) * 20 * MS + 5 * MS, RUNNING, 1024);
        let run = avg.util_avg;
        step(&mut avg, n * 20 * MS, BLOCKED, 1024);
        if let Some(row) = rows.iter().find(|row| row.0 == n) {
            assert_eq!((run, avg.util_avg), (row.1, row.2), "run {n}");
        }
    }
}

#[test]
fn pressure_is_tracked_as_a_load() {
    // Spec 2 §17.4: a pressure of 200, at ticks of 4 ms.
    let mut avg = SchedAvg::default();
    let pressure = Activity { load: 200, runnable: 200, running: true };
    let rows = [(1, 15), (2, 30), (5, 67), (10, 112), (25, 174), (50, 196)];
    for tick in 1..=50 {
        step(&mut avg, tick * 4 * MS, pressure, 1);
        if let Some(row) = rows.iter().find(|row| row.0 == tick) {
            assert_eq!(avg.load_avg, row.1, "tick {tick}");
        }
    }
}

#[test]
fn interrupts_are_tracked_as_if_they_came_last() {
    // Spec 2 §17.4: 1 ms of interrupts in the first 10 ms, half a millisecond in the next 4 ms; one recomputation each.
    let mut avg = SchedAvg::default();
    let mut irq = |until: u64, time: u64| {
        let idle = avg.update_sum(until - time, BLOCKED);
        if avg.update_sum(until, RUNNING) || idle {
            avg.update_avg(1);
        }
        (avg.period_contrib, avg.util_sum, avg.util_avg)
    };
    assert_eq!(irq(10 * MS, MS), (549, 989_184, 20));
    assert_eq!(irq(14 * MS, MS / 2), (359, 1_403_725, 29));
}
