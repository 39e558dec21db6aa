//! Estimated utilisation: what a task used when it last ran, remembered while it sleeps.
//!
//! A task that ran at 300 and then at 100 is estimated at 250, then 212, 184 ...: up at once, down by a quarter of the
//! difference. A root queue keeps the sum of its queued tasks' estimates.
//!
//! In the kernel: `util_est_enqueue`, `util_est_dequeue`, `util_est_update`. Specified in spec 2 §10.
use crate::ids::{CpuId, SeId, TaskId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::pelt::SchedAvg;
use crate::queue_rules::UtilEst;
use crate::sched::Sched;

/// Set in a task's estimate while its utilisation has not moved since it was stored.
const UTIL_AVG_UNCHANGED: u32 = 1 << 31;
/// The same in the oldest generation.
const UTIL_AVG_UNCHANGED_LOW: u32 = 1;
/// Differences below 1 % of a CPU are ignored.
const MARGIN: i64 = 1024 / 100;

/// What is stored for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    /// The last value, or where there is one average only, that; with the mark.
    last: u32,
    /// The average beside the last value.
    ewma: u32,
}

/// What a task did when it last ran.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// Its utilisation.
    util: u32,
    /// Its time runnable.
    runnable: u32,
    /// The capacity of its CPU.
    capacity: u32,
}

impl UtilEst {
    fn mark(self) -> u32 {
        match self {
            Self::LastAndAverage => UTIL_AVG_UNCHANGED_LOW,
            Self::LastAndFastAverage | Self::OneAverage | Self::OneAverageAnyCapacity => UTIL_AVG_UNCHANGED,
        }
    }

    /// Notes that the task's utilisation has moved.
    #[inline]
    pub(crate) fn clear_mark(self, avg: &mut SchedAvg) {
        avg.util_est &= !self.mark();
    }

    /// The estimate that is stored in `avg`, without the mark.
    #[inline]
    pub(crate) fn estimate(self, avg: &SchedAvg) -> u64 {
        let last = avg.util_est & !self.mark();
        u64::from(match self {
            Self::LastAndAverage | Self::LastAndFastAverage => last.max(avg.util_est_ewma),
            Self::OneAverage | Self::OneAverageAnyCapacity => last,
        })
    }

    /// What the queue's sum gets and loses for a task with this estimate: the oldest generation counts the mark too.
    #[inline]
    pub(crate) fn contribution(self, avg: &SchedAvg) -> u32 {
        let estimate = self.estimate(avg) as u32;
        match self {
            Self::LastAndAverage => estimate | UTIL_AVG_UNCHANGED_LOW,
            Self::LastAndFastAverage | Self::OneAverage | Self::OneAverageAnyCapacity => estimate,
        }
    }

    /// What to store when the task goes to sleep; `None` to leave it alone (spec 2 §10.2). `rises_at_once`: the feature
    /// `UTIL_EST_FASTUP`, without which the average rises as it falls; later kernels always rise.
    fn next(self, stored: Stored, used: Used, rises_at_once: bool) -> Option<Stored> {
        if stored.last & self.mark() != 0 {
            return None;
        }
        match self {
            Self::LastAndAverage => next_last_and_average(stored, used),
            Self::LastAndFastAverage => next_last_and_fast_average(stored, used, rises_at_once),
            Self::OneAverage => next_one_average(stored.last, used, true),
            Self::OneAverageAnyCapacity => next_one_average(stored.last, used, false),
        }
    }
}

/// A quarter of the way from `average` to `average + diff`, rounded down.
fn quarter(average: u32, diff: i64) -> u32 {
    ((4 * i64::from(average) + diff) >> 2) as u32
}

fn next_last_and_average(stored: Stored, used: Used) -> Option<Stored> {
    let last = used.util | UTIL_AVG_UNCHANGED_LOW;
    let diff = i64::from(last) - i64::from(stored.ewma);
    (diff.abs() >= MARGIN).then(|| Stored { last, ewma: quarter(stored.ewma, diff) })
}

fn next_last_and_fast_average(stored: Stored, used: Used, rises_at_once: bool) -> Option<Stored> {
    let last = used.util | UTIL_AVG_UNCHANGED;
    if rises_at_once && stored.ewma < used.util {
        return Some(Stored { last, ewma: used.util });
    }
    let diff = i64::from(used.util) - i64::from(stored.ewma);
    if diff.abs() < MARGIN {
        let last_diff = i64::from(used.util) - i64::from(stored.last);
        return (last_diff.abs() >= MARGIN).then_some(Stored { last, ..stored });
    }
    (used.util <= used.capacity).then(|| Stored { last, ewma: quarter(stored.ewma, diff) })
}

fn next_one_average(average: u32, used: Used, within_capacity: bool) -> Option<Stored> {
    let diff = i64::from(used.util) - i64::from(average);
    let next = if diff >= 0 {
        used.util
    } else if -diff < MARGIN {
        average
    } else if within_capacity && used.util > used.capacity {
        return None;
    } else if i64::from(used.util) + MARGIN < i64::from(used.runnable) {
        // The task waited for the CPU: what it used says little about what it needs.
        average
    } else {
        quarter(average, diff)
    };
    Some(Stored { last: next | UTIL_AVG_UNCHANGED, ewma: 0 })
}

impl<O: Observer> Sched<O> {
    /// The task's estimate.
    #[inline]
    pub(crate) fn util_est(&self, task: TaskId) -> u64 {
        self.rules.queues.util_est.estimate(&self.entity(task).avg)
    }

    /// The larger of the task's utilisation and its estimate.
    #[inline]
    pub(crate) fn task_util_est(&self, task: TaskId) -> u64 {
        self.entity(task).avg.util_avg.max(self.util_est(task))
    }

    /// The task joins its queue.
    #[inline]
    pub(crate) fn util_est_enqueue(&mut self, cpu: CpuId, task: TaskId) {
        if self.feat(Features::UTIL_EST) {
            let estimate = self.rules.queues.util_est.contribution(&self.entity(task).avg);
            self.queues[cpu.index()].avg.util_est += estimate;
        }
    }

    /// The task leaves its queue.
    #[inline]
    pub(crate) fn util_est_dequeue(&mut self, cpu: CpuId, task: TaskId) {
        if self.feat(Features::UTIL_EST) {
            let estimate = self.rules.queues.util_est.contribution(&self.entity(task).avg);
            let avg = &mut self.queues[cpu.index()].avg;
            avg.util_est = avg.util_est.saturating_sub(estimate);
        }
    }

    /// The entity, if it is a task, goes to sleep: what it used becomes part of its estimate.
    #[inline]
    pub(crate) fn util_est_update(&mut self, se: SeId) {
        let entity = &mut self.entities[se.index()];
        if self.kernel.features.contains(Features::UTIL_EST)
            && let Some(task) = entity.task
        {
            let cpu = self.tasks[task].cpu;
            let capacity = self.rqs[cpu.index()].arch_capacity as u32;
            let avg = &mut entity.avg;
            let stored = Stored { last: avg.util_est, ewma: avg.util_est_ewma };
            let used = Used { util: avg.util_avg as u32, runnable: avg.runnable_avg as u32, capacity };
            let rises_at_once = self.kernel.features.contains(Features::UTIL_EST_FASTUP);
            if let Some(next) = self.rules.queues.util_est.next(stored, used, rises_at_once) {
                avg.util_est = next.last;
                avg.util_est_ewma = next.ewma;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn used(util: u32, runnable: u32, capacity: u32) -> Used {
        Used { util, runnable, capacity }
    }

    /// What a sequence of sleeps stores, each after a period boundary was crossed.
    fn sequence(kind: UtilEst, utils: &[u32], rises_at_once: bool) -> Vec<(u32, u32)> {
        let mut stored = Stored::default();
        let step = |&util: &u32| {
            stored.last &= !kind.mark();
            stored = kind.next(stored, used(util, util, 1024), rises_at_once).unwrap_or(stored);
            (stored.last & !UTIL_AVG_UNCHANGED, stored.ewma)
        };
        utils.iter().map(step).collect()
    }

    #[test]
    fn one_average_follows_spec_2_17_11() {
        let steps = [
            (300, 300, 300),
            (100, 105, 250),
            (100, 300, 250), // contended: kept
            (100, 100, 212),
            (100, 100, 184),
            (100, 100, 163),
            (295, 295, 295),
            (90, 90, 243),
            (500, 500, 500),
        ];
        let kind = UtilEst::OneAverage;
        let mut stored = Stored::default();
        for (util, runnable, expected) in steps {
            stored.last &= !UTIL_AVG_UNCHANGED;
            stored = kind.next(stored, used(util, runnable, 1024), false).unwrap();
            assert_eq!(stored.last, expected | UTIL_AVG_UNCHANGED, "util {util}");
        }
        assert_eq!(kind.next(stored, used(10, 10, 1024), false), None, "nothing has changed since");
        // Spec 2 §10.2: beyond the capacity of its CPU only the newer generation learns.
        let above = Stored { last: 400, ewma: 0 };
        assert_eq!(kind.next(above, used(300, 300, 256), false), None);
        let next = UtilEst::OneAverageAnyCapacity.next(above, used(300, 300, 256), false).unwrap();
        assert_eq!(next.last, 375 | UTIL_AVG_UNCHANGED);
    }

    #[test]
    fn last_value_and_fast_average_follow_spec_2_17_11() {
        assert_eq!(
            sequence(UtilEst::LastAndFastAverage, &[300, 100, 100, 100, 295, 90, 215, 213, 500], true),
            [
                (300, 300),
                (100, 250),
                (100, 212),
                (100, 184),
                (295, 295),
                (90, 243),
                (215, 236),
                (213, 230),
                (500, 500)
            ]
        );
    }

    #[test]
    fn last_value_and_average_follow_spec_2_17_11() {
        assert_eq!(
            sequence(UtilEst::LastAndAverage, &[300, 300, 300, 100, 100, 200], false),
            [(301, 75), (301, 131), (301, 173), (101, 155), (101, 141), (201, 156)]
        );
    }

    #[test]
    fn without_fast_rise_the_average_rises_by_a_quarter() {
        // Spec 2 §1.3 and §10.2: ewma + (util - ewma) / 4, as in v4.19 but without its mark in the value: 300 / 4 = 75,
        // 75 + 225 / 4 = 131 (rounded down), then down: 131 - 31 / 4 = 123 (rounded down).
        let got = sequence(UtilEst::LastAndFastAverage, &[300, 300, 100], false);
        assert_eq!(got, [(300, 75), (300, 131), (100, 123)]);
    }

    #[test]
    fn the_larger_of_both_counts() {
        let avg = SchedAvg { util_est: 101, util_est_ewma: 155, ..SchedAvg::default() };
        assert_eq!(UtilEst::LastAndAverage.estimate(&avg), 155);
        assert_eq!(UtilEst::LastAndAverage.contribution(&avg), 155);
        let avg = SchedAvg { util_est: 301, ..avg };
        assert_eq!(UtilEst::LastAndAverage.estimate(&avg), 300);
        assert_eq!(UtilEst::LastAndAverage.contribution(&avg), 301);
        assert_eq!(
            UtilEst::OneAverage.estimate(&SchedAvg { util_est: 300 | UTIL_AVG_UNCHANGED, ..avg }),
            300
        );
    }
}
