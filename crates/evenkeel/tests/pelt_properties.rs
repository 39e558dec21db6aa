//! Bounds of load tracking, whatever happens when: sums of an entity are at most what always running would give, and those
//! of a queue at most that times its weight, or its number of tasks.

use evenkeel::pelt::{Activity, LOAD_AVG_MAX, SchedAvg};
use proptest::prelude::*;

/// The limit of the geometric sum without truncation, `1024 / (1 - y)`. `LOAD_AVG_MAX` is what the truncated steps of a
/// single entity come to; the large sums of a queue lose less to truncation, and may pass it by a thousandth.
const EXACT_MAX: u64 = 47_789;

/// How long until the next update, and what the owner did meanwhile.
fn steps() -> impl Strategy<Value = Vec<(u64, bool, bool)>> {
    let gap = prop_oneof![0u64..3000, 1_000_000u64..20_000_000, 1u64 << 30..1 << 34];
    prop::collection::vec((gap, any::<bool>(), any::<bool>()), 1..200)
}

proptest! {
    #[test]
    fn sums_of_an_entity_are_bounded_and_averages_follow_them(steps in steps(), weight in 2u64..90_000) {
        let (mut avg, mut now) = (SchedAvg::default(), 0);
        for (gap, queued, runs) in steps {
            now += gap;
            let activity = Activity {
                load: queued.into(),
                runnable: queued.into(),
                running: queued && runs,
            };
            if avg.update_sum(now, activity) {
                avg.update_avg(weight);
            }
            prop_assert!(avg.load_sum <= LOAD_AVG_MAX);
            prop_assert!(avg.runnable_sum <= LOAD_AVG_MAX << 10);
            prop_assert!(u64::from(avg.util_sum) <= avg.runnable_sum, "what ran was runnable");
            prop_assert!(avg.load_avg <= weight && avg.runnable_avg <= 1024 && avg.util_avg <= 1024);
            prop_assert!(avg.period_contrib < 1024);
        }
    }

    #[test]
    fn sums_of_a_queue_are_bounded_by_its_weight_and_number_of_tasks(
        steps in steps(),
        weight in 2u64..1_000_000,
        tasks in 1u64..1000,
    ) {
        let (mut avg, mut now) = (SchedAvg::default(), 0);
        for (gap, queued, runs) in steps {
            now += gap;
            let (load, runnable) = if queued { (weight, tasks) } else { (0, 0) };
            if avg.update_sum(now, Activity { load, runnable, running: queued && runs }) {
                avg.update_avg(1);
            }
            prop_assert!(avg.load_sum <= weight * EXACT_MAX);
            prop_assert!(avg.runnable_sum <= (tasks * EXACT_MAX) << 10);
            // The divider is that of the truncated sum.
            let above = |most: u64| most * EXACT_MAX / LOAD_AVG_MAX + 1;
            prop_assert!(avg.load_avg <= above(weight) && avg.runnable_avg <= above(tasks << 10));
            prop_assert!(avg.util_avg <= 1025, "{}", avg.util_avg);
        }
    }

    #[test]
    fn where_contributions_are_scaled_sums_are_bounded_by_capacity_and_frequency(
        steps in steps(),
        capacity in 1u64..1025,
        frequency in 1u64..1025,
    ) {
        let (mut avg, mut now) = (SchedAvg::default(), 0);
        for (gap, queued, runs) in steps {
            now += gap;
            let load = queued.into();
            let activity = Activity { load, runnable: load, running: queued && runs };
            if avg.update_sum_scaled(now, activity, capacity, frequency) {
                avg.update_avg_scaled(1024, 1024);
            }
            let most = LOAD_AVG_MAX * frequency / 1024 + 1;
            prop_assert!(avg.load_sum <= most && avg.runnable_sum == avg.load_sum);
            prop_assert!(u64::from(avg.util_sum) <= most * capacity);
            prop_assert!(avg.load_avg <= frequency && avg.util_avg <= capacity);
        }
    }
}
