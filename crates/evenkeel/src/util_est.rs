//! Estimated utilisation: what a task used when it last ran, remembered while it sleeps.
//!
//! A task that ran at 300 and then at 100 is estimated at 250, then 212, 184 ...: up at once, down by a quarter of the
//! difference. A root queue keeps the sum of its queued tasks' estimates.
//!
//! In the kernel: `util_est_enqueue`, `util_est_dequeue`, `util_est_update`. Specified in spec 2 §10.
use crate::ids::{CpuId, TaskId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::sched::Sched;

/// Set in a task's estimate while its utilisation has not moved since it was stored.
pub(crate) const UTIL_AVG_UNCHANGED: u32 = 1 << 31;
/// Differences below 1 % of a CPU are ignored.
const MARGIN: u64 = 1024 / 100;

/// A task's next estimate, with the flag; `None` to leave the stored word alone (spec 2 §10.2).
///
/// `stored` is the present word, `util` and `runnable` the averages at sleep, `capacity` that of the CPU.
fn next_estimate(stored: u32, util: u64, runnable: u64, capacity: u64) -> Option<u32> {
    if stored & UTIL_AVG_UNCHANGED != 0 {
        return None;
    }
    let estimate = u64::from(stored);
    let next = if estimate <= util {
        util
    } else {
        let diff = estimate - util;
        if diff < MARGIN {
            estimate
        } else if util > capacity {
            return None;
        } else if util + MARGIN < runnable {
            // The task waited for the CPU: what it used says little about what it needs.
            estimate
        } else {
            (4 * estimate - diff) >> 2
        }
    };
    Some(next as u32 | UTIL_AVG_UNCHANGED)
}

impl<O: Observer> Sched<O> {
    /// The task's estimate.
    #[inline]
    pub(crate) fn util_est(&self, task: TaskId) -> u64 {
        u64::from(self.entity(task).avg.util_est & !UTIL_AVG_UNCHANGED)
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
            self.queues[cpu.index()].avg.util_est += self.util_est(task) as u32;
        }
    }

    /// The task leaves its queue.
    #[inline]
    pub(crate) fn util_est_dequeue(&mut self, cpu: CpuId, task: TaskId) {
        if self.feat(Features::UTIL_EST) {
            let estimate = self.util_est(task) as u32;
            let avg = &mut self.queues[cpu.index()].avg;
            avg.util_est = avg.util_est.saturating_sub(estimate);
        }
    }

    /// The task goes to sleep: what it used becomes part of the estimate.
    #[inline]
    pub(crate) fn util_est_update(&mut self, cpu: CpuId, task: TaskId) {
        if self.feat(Features::UTIL_EST) {
            let capacity = self.rqs[cpu.index()].arch_capacity;
            let avg = &mut self.entities[self.tasks[task].se.index()].avg;
            if let Some(next) = next_estimate(avg.util_est, avg.util_avg, avg.runnable_avg, capacity) {
                avg.util_est = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_sequence_of_spec_2_17_11() {
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
        let mut stored = 0;
        for (util, runnable, expected) in steps {
            // A period boundary was crossed since the last sleep.
            stored &= !UTIL_AVG_UNCHANGED;
            stored = next_estimate(stored, util, runnable, 1024).unwrap();
            assert_eq!(stored, expected | UTIL_AVG_UNCHANGED, "util {util}");
        }
        assert_eq!(next_estimate(stored, 10, 10, 1024), None, "nothing has changed since");
    }
}
