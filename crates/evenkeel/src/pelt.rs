//! PELT, per-entity load tracking: geometric sums of past activity, in exact integer arithmetic.
//!
//! Time is cut into periods of 1024 units of 1024 ns; activity `n` periods ago counts `y^n` with `y^32 = 1/2`. An
//! entity that always runs approaches a utilisation of 1024; after 32 periods from zero it is at 512, after 100 at 906.
//! Sums move with every update of at least 1024 ns, averages only when a period boundary was crossed; updates do not
//! associate, so *when* they are made matters.
//!
//! In the kernel: `pelt.c`. Specified in spec 2 §8. Left out here: which queue feeds what into a sum (that is
//! [`load_avg`](crate::load_avg)).

/// The limit of the geometric sum of full periods.
pub const LOAD_AVG_MAX: u64 = 47_742;
/// The smallest possible divider of a sum.
pub const MIN_DIVIDER: u64 = LOAD_AVG_MAX - 1024;

/// `y^n * 2^32` for n = 0..32.
#[rustfmt::skip]
const Y_INV: [u32; 32] = [
    0xffff_ffff, 0xfa83_b2da, 0xf525_7d14, 0xefe4_b99a, 0xeac0_c6e6, 0xe5b9_06e6, 0xe0cc_deeb, 0xdbfb_b796,
    0xd744_fcc9, 0xd2a8_1d91, 0xce24_8c14, 0xc9b9_bd85, 0xc567_2a10, 0xc12c_4cc9, 0xbd08_a39e, 0xb8fb_af46,
    0xb504_f333, 0xb123_f581, 0xad58_3ee9, 0xa9a1_5ab4, 0xa5fe_d6a9, 0xa270_4302, 0x9ef5_325f, 0x9b8d_39b9,
    0x9837_f050, 0x94f4_efa8, 0x91c3_d373, 0x8ea4_398a, 0x8b95_c1e3, 0x8898_0e80, 0x85aa_c367, 0x82cd_8698,
];

/// The sums and averages of one entity or queue (`struct sched_avg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAvg {
    /// PELT time of the last update; 0 for an entity that is attached nowhere.
    pub last_update_time: u64,
    /// Sum of runnable time; of a queue: weighted.
    pub load_sum: u64,
    /// Sum of runnable tasks times time, scaled by 1024. Where contributions are scaled: sum of the load of queued
    /// entities (`runnable_load_sum`).
    pub runnable_sum: u64,
    /// Sum of running time, scaled by 1024.
    pub util_sum: u32,
    /// Units of the current, incomplete period.
    pub period_contrib: u32,
    /// Weighted average of runnable time; a nice-0 task that always runs or waits: 1024.
    pub load_avg: u64,
    /// Average number of runnable tasks times 1024. Where contributions are scaled: load of queued entities
    /// (`runnable_load_avg`).
    pub runnable_avg: u64,
    /// Average running time, 0..=1024.
    pub util_avg: u64,
    /// Task: the estimate of its utilisation when it runs; queue: sum of the queued tasks' estimates.
    pub util_est: u32,
    /// Task: the moving average of the estimate, where `util_est` is the last value (`util_est.ewma`).
    pub util_est_ewma: u32,
}

/// What an owner did since its last update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Weight or 1 while runnable, else 0.
    pub load: u64,
    /// Number of runnable tasks.
    pub runnable: u64,
    /// Whether it ran.
    pub running: bool,
}

/// `v * y^n` (spec 2 §8.3). `n` = 0 would lose 1, and never occurs.
#[inline]
pub fn decay(v: u64, n: u64) -> u64 {
    if n > 2016 {
        return 0;
    }
    let v = v >> (n / 32);
    ((u128::from(v) * u128::from(Y_INV[(n % 32) as usize])) >> 32) as u64
}

/// Contribution of a span that crosses `p` >= 1 period boundaries: the rest of the old period, `p - 1` full ones, the
/// start of the new one (spec 2 §8.4).
#[inline]
pub fn segments(p: u64, d1: u32, d3: u32) -> u32 {
    let c1 = decay(u64::from(d1), p);
    let c2 = LOAD_AVG_MAX - decay(LOAD_AVG_MAX, p) - 1024;
    (c1 + c2) as u32 + d3
}

impl SchedAvg {
    /// The present divider of the sums: `46718 + period_contrib`.
    #[inline]
    pub fn divider(&self) -> u64 {
        MIN_DIVIDER + u64::from(self.period_contrib)
    }

    /// Moves the last update to `now` and decays the sums by the periods that have passed. `None` if nothing is to be
    /// added yet, else the contribution of the time since then and whether a period boundary was crossed
    /// (spec 2 §8.5, steps 1 to 6).
    #[inline]
    fn advance(&mut self, now: u64, active: bool) -> Option<(u32, bool)> {
        let delta = now.wrapping_sub(self.last_update_time);
        if (delta as i64) < 0 {
            self.last_update_time = now;
            return None;
        }
        let delta = delta >> 10;
        if delta == 0 {
            return None;
        }
        self.last_update_time = self.last_update_time.wrapping_add(delta << 10);
        let mut contrib = delta as u32;
        let delta = delta + u64::from(self.period_contrib);
        let periods = delta / 1024;
        if periods > 0 {
            self.load_sum = decay(self.load_sum, periods);
            self.runnable_sum = decay(self.runnable_sum, periods);
            self.util_sum = decay(u64::from(self.util_sum), periods) as u32;
            if active {
                contrib = segments(periods, 1024 - self.period_contrib, (delta % 1024) as u32);
            }
        }
        self.period_contrib = (delta % 1024) as u32;
        Some((contrib, periods > 0))
    }

    /// Adds the activity since the last update to the sums; true if a period boundary was crossed, which is when the
    /// averages have to be recomputed with [`update_avg`](Self::update_avg) (spec 2 §8.5).
    #[inline]
    pub fn update_sum(&mut self, now: u64, activity: Activity) -> bool {
        let Activity { load, runnable, running } = activity;
        let Some((contrib, crossed)) = self.advance(now, load != 0) else { return false };
        if load != 0 {
            self.load_sum = self.load_sum.wrapping_add(load.wrapping_mul(u64::from(contrib)));
            self.runnable_sum =
                self.runnable_sum.wrapping_add(runnable.wrapping_mul(u64::from(contrib)) << 10);
            if running {
                self.util_sum = self.util_sum.wrapping_add(contrib << 10);
            }
        }
        crossed
    }

    /// The same where time is not slowed down on small or slow CPUs but contributions are scaled: load by frequency,
    /// utilisation by frequency and capacity, 1024 each for the fastest. `runnable` is a weight here and is not scaled by
    /// 1024 (spec 2 §8.7).
    pub fn update_sum_scaled(&mut self, now: u64, activity: Activity, capacity: u64, frequency: u64) -> bool {
        let Activity { load, runnable, running } = activity;
        let Some((contrib, crossed)) = self.advance(now, load != 0) else { return false };
        if load != 0 {
            let contrib = (u64::from(contrib) * frequency) >> 10;
            self.load_sum = self.load_sum.wrapping_add(load.wrapping_mul(contrib));
            self.runnable_sum = self.runnable_sum.wrapping_add(runnable.wrapping_mul(contrib));
            if running {
                self.util_sum = self.util_sum.wrapping_add((contrib * capacity) as u32);
            }
        }
        crossed
    }

    /// Recomputes the averages from the sums; `weight` multiplies an entity's load, 1 for queues.
    #[inline]
    pub fn update_avg(&mut self, weight: u64) {
        let divider = self.divider();
        self.load_avg = weight.wrapping_mul(self.load_sum) / divider;
        self.runnable_avg = self.runnable_sum / divider;
        self.util_avg = u64::from(self.util_sum) / divider;
    }

    /// The same where the third signal is weighted too: `runnable_weight` multiplies an entity's, 1 for queues.
    #[inline]
    pub fn update_avg_scaled(&mut self, weight: u64, runnable_weight: u64) {
        self.update_avg(weight);
        self.runnable_avg = runnable_weight.wrapping_mul(self.runnable_sum) / self.divider();
    }

    /// Whether nothing of the past is left.
    #[inline]
    pub fn is_decayed(&self) -> bool {
        self.load_sum == 0 && self.util_sum == 0 && self.runnable_sum == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;
    use alloc::vec::Vec;

    const RUNNING: Activity = Activity { load: 1, runnable: 1, running: true };
    const WAITING: Activity = Activity { load: 1, runnable: 1, running: false };
    const BLOCKED: Activity = Activity { load: 0, runnable: 0, running: false };
    const PERIOD: u64 = 1 << 20;

    /// Updates at `now` and recomputes the averages if a boundary was crossed, as the scheduler does.
    fn step(avg: &mut SchedAvg, now: u64, activity: Activity, weight: u64) {
        if avg.update_sum(now, activity) {
            avg.update_avg(weight);
        }
    }

    /// `[period_contrib, load_sum, util_sum, load_avg, runnable_avg, util_avg]`
    fn row(avg: &SchedAvg) -> [u64; 6] {
        let SchedAvg { period_contrib, load_sum, util_sum, load_avg, runnable_avg, util_avg, .. } = *avg;
        [period_contrib.into(), load_sum, util_sum.into(), load_avg, runnable_avg, util_avg]
    }

    #[test]
    fn decay_follows_spec_2_17_1() {
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
    fn one_update_after_many_periods_follows_spec_2_17_2() {
        let rows = [
            (1, [0, 1002, 1_026_048, 21, 21, 21]),
            (2, [0, 1981, 2_028_544, 43, 43, 43]),
            (32, [0, 23359, 23_919_616, 512, 512, 512]),
            (100, [0, 41364, 42_356_736, 906, 906, 906]),
            (345, [0, 46692, 47_812_608, 1023, 1023, 1023]),
            (500, [0, 46718, 47_839_232, 1024, 1024, 1024]),
        ];
        for (n, expected) in rows {
            let mut avg = SchedAvg::default();
            step(&mut avg, n * PERIOD, RUNNING, 1024);
            assert_eq!(row(&avg), expected, "{n} periods");
        }
    }

    #[test]
    fn repeated_updates_follow_spec_2_17_2() {
        let check = |interval: u64, rows: &[(u64, [u64; 6])]| {
            let mut avg = SchedAvg::default();
            for n in 1..=rows.last().unwrap().0 {
                step(&mut avg, n * interval, RUNNING, 1024);
                if let Some((_, expected)) = rows.iter().find(|row| row.0 == n) {
                    assert_eq!(row(&avg), *expected, "update {n} every {interval} ns");
                }
            }
        };
        check(
            PERIOD,
            &[
                (1, [0, 1002, 1_026_048, 21, 21, 21]),
                (8, [0, 7436, 7_618_458, 162, 163, 163]),
                (200, [0, 46123, 47_254_487, 1010, 1011, 1011]),
                (500, [0, 46715, 47_882_684, 1023, 1024, 1024]),
            ],
        );
        check(
            4 * MS,
            &[
                (1, [834, 3773, 3_863_552, 81, 81, 81]),
                (5, [75, 15836, 16_217_605, 346, 346, 346]),
                (16, [36, 34286, 35_113_809, 750, 751, 751]),
                (100, [481, 47180, 48_319_604, 1023, 1023, 1023]),
            ],
        );
        check(
            MS,
            &[
                (1, [976, 976, 999_424, 0, 0, 0]),
                (2, [929, 1930, 1_976_408, 41, 41, 41]),
                (33, [482, 23326, 23_896_914, 506, 506, 506]),
                (400, [481, 47182, 48_341_291, 1023, 1024, 1024]),
            ],
        );
    }

    #[test]
    fn running_and_sleeping_follow_spec_2_17_3() {
        let mut avg = SchedAvg::default();
        let mut now = 0;
        let mut cycles = Vec::new();
        for _ in 0..12 {
            now += 8 * MS;
            step(&mut avg, now, RUNNING, 1024);
            let run = (avg.period_contrib, avg.load_sum, avg.util_sum, avg.load_avg, avg.util_avg);
            now += 8 * MS;
            step(&mut avg, now, BLOCKED, 1024);
            let sleep = (avg.period_contrib, avg.load_sum, avg.util_sum, avg.load_avg, avg.util_avg);
            cycles.push((run, sleep));
        }
        assert_eq!(cycles[0], ((644, 7216, 7_389_184, 156, 156), (265, 6067, 6_213_538, 132, 132)));
        assert_eq!(cycles[3], ((415, 18705, 19_155_704, 406, 406), (36, 15728, 16_107_962, 344, 344)));
        assert_eq!(cycles[11], ((487, 25059, 25_663_395, 543, 543), (108, 21072, 21_580_256, 460, 460)));
    }

    fn half_used() -> SchedAvg {
        let sum = 23_919_616;
        SchedAvg { load_sum: 46718, runnable_sum: sum, util_sum: sum as u32, ..SchedAvg::default() }
    }

    #[test]
    fn blocked_load_decays_as_in_spec_2_17_4() {
        let rows = [
            (2, [929, 45716, 23_407_067, 982, 491, 491]),
            (32, [530, 24393, 12_489_313, 528, 264, 264]),
            (100, [376, 5967, 3_055_423, 129, 64, 64]),
            (500, [857, 1, 795, 0, 0, 0]),
        ];
        for (ms, expected) in rows {
            let mut avg = half_used();
            step(&mut avg, ms * MS, BLOCKED, 1024);
            assert_eq!(row(&avg), expected, "{ms} ms");
        }
    }

    #[test]
    fn waiting_counts_as_load_but_not_as_utilisation() {
        let mut avg = half_used();
        let rows = [
            (4, WAITING, [834, 47551, 22_414_685, 1023, 552, 471]),
            (8, RUNNING, [644, 47361, 24_401_524, 1023, 590, 515]),
            (12, WAITING, [454, 47171, 22_376_296, 1023, 624, 474]),
            (16, RUNNING, [265, 46981, 24_334_577, 1023, 656, 517]),
        ];
        for (ms, activity, expected) in rows {
            step(&mut avg, ms * MS, activity, 1024);
            assert_eq!(row(&avg), expected, "{ms} ms");
        }
    }

    #[test]
    fn a_queue_of_two_counts_both_as_runnable() {
        let mut avg = SchedAvg::default();
        let two = Activity { load: 2048, runnable: 2, running: true };
        let rows = [
            (10, [549, 18_071_552, 9_035_776, 382, 382, 191]),
            (20, [75, 32_433_117, 16_216_558, 693, 693, 346]),
            (50, [700, 62_544_588, 31_272_293, 1319, 1319, 659]),
        ];
        for ms in (10..=50).step_by(10) {
            step(&mut avg, ms * MS, two, 1);
            if let Some((_, expected)) = rows.iter().find(|row| row.0 == ms) {
                assert_eq!(row(&avg), *expected, "{ms} ms");
            }
        }
    }

    #[test]
    fn load_is_weighted_and_utilisation_is_not() {
        for (weight, expected) in [(88761, 16570), (335, 62), (15, 2), (3, 0)] {
            let mut avg = SchedAvg::default();
            step(&mut avg, 10 * MS, RUNNING, weight);
            assert_eq!((avg.load_avg, avg.util_avg, avg.load_sum), (expected, 191, 8824), "weight {weight}");
        }
    }

    #[test]
    fn scaled_contributions_follow_spec_2_17_4() {
        // Capacity and frequency; then after 1, 2, 10 and 100 updates every 4 ms:
        // period_contrib, load_sum, util_sum, load_avg, util_avg.
        type Rows = [[u64; 5]; 4];
        let tables: [(u64, u64, Rows); 4] = [
            (
                1024,
                1024,
                [
                    [834, 3773, 3_863_552, 81, 81],
                    [644, 7216, 7_390_060, 156, 156],
                    [150, 26353, 26_988_913, 575, 575],
                    [481, 47180, 48_319_604, 1023, 1023],
                ],
            ),
            (
                512,
                1024,
                [
                    [834, 3773, 1_931_776, 81, 40],
                    [644, 7216, 3_695_030, 156, 78],
                    [150, 26353, 13_494_455, 575, 287],
                    [481, 47180, 24_159_799, 1023, 511],
                ],
            ),
            (
                1024,
                512,
                [
                    [834, 1886, 1_931_264, 40, 40],
                    [644, 3607, 3_694_048, 77, 77],
                    [150, 13172, 13_492_804, 287, 287],
                    [481, 23584, 24_155_850, 511, 511],
                ],
            ),
            (
                446,
                768,
                [
                    [834, 2829, 1_261_734, 60, 26],
                    [644, 5411, 2_413_397, 116, 50],
                    [150, 19761, 8_815_057, 431, 188],
                    [481, 35379, 15_782_003, 767, 334],
                ],
            ),
        ];
        for (capacity, frequency, rows) in tables {
            let mut avg = SchedAvg::default();
            let mut got = Vec::new();
            for n in 1..=100 {
                if avg.update_sum_scaled(n * 4 * MS, RUNNING, capacity, frequency) {
                    avg.update_avg_scaled(1024, 1024);
                }
                if [1, 2, 10, 100].contains(&n) {
                    assert_eq!((avg.runnable_sum, avg.runnable_avg), (avg.load_sum, avg.load_avg));
                    let SchedAvg { period_contrib, load_sum, util_sum, load_avg, util_avg, .. } = avg;
                    got.push([period_contrib.into(), load_sum, util_sum.into(), load_avg, util_avg]);
                }
            }
            assert_eq!(got, rows, "capacity {capacity}, frequency {frequency}");
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
        let rows =
            [(1, 100, 73), (2, 167, 122), (3, 211, 154), (5, 259, 190), (10, 292, 214), (20, 296, 217)];
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
}
