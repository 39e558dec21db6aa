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
