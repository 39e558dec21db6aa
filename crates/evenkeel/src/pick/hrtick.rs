//! Preemption by a high-resolution timer: when the slice of what runs ends, instead of at the next tick.
//!
//! With three tasks of 2.8 ms slices and a 4 ms tick, a switch without the timer happens every 4 ms or more; with it the
//! first task, of weight 3121 with 0.46 ms of virtual time to its deadline, is stopped after 1.4 ms.
//!
//! Older kernels, where the feature exists and is off, set the timer to what is left of the slice in real time, anew at every
//! pick and whenever a task joins.
//!
//! In the kernel: `hrtick_start_fair`, `hrtick`. Specified in spec 2 §6.9.
use crate::ids::{CpuId, TaskId};
use crate::io::Action;
use crate::kernel::Features;
use crate::observe::Observer;
use crate::queue_rules::{HrtickExpiry, VirtualTime};
use crate::sched::Sched;
use crate::time::{Ns, US};
use crate::weight::NICE_0_LOAD;

/// The timer is never set closer than this.
const HRTICK_MIN: Ns = 10 * US;
/// A timer that is set stays as it is if the new expiry is this close.
const HRTICK_SLACK: Ns = 5 * US;

/// In how many ns the timer of a task fires that has `remaining` virtual time to run; `None` if it has none left and has to
/// be rescheduled at once. `weight` is full resolution, `irq_util` the CPU's utilisation by interrupts.
pub fn hrtick_delay(remaining: i64, weight: u64, irq_util: u64) -> Option<Ns> {
    if remaining < 0 {
        return None;
    }
    let delta = (u128::from(remaining as u64) * u128::from(weight) / u128::from(NICE_0_LOAD)) as u64;
    let delta = match irq_util {
        1..=1023 => delta * 1024 / (1024 - irq_util),
        _ => delta,
    };
    Some(delta.max(HRTICK_MIN))
}

/// Whether a timer set for `armed` has to be set anew for `wanted`.
pub fn hrtick_needs_rearm(armed: Option<Ns>, wanted: Ns) -> bool {
    armed.is_none_or(|armed| armed.abs_diff(wanted) > HRTICK_SLACK)
}

/// Why the timer is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The task was switched to.
    Switch,
    /// It was picked again.
    PickedAgain,
    /// Another one has joined it.
    Joined,
}

impl<O: Observer> Sched<O> {
    /// The timer is set to the end of the slice of a task that runs, if others wait.
    pub(crate) fn hrtick_start(&mut self, cpu: CpuId, task: TaskId, occasion: Occasion) {
        let expiry = self.rules.queues.hrtick_expiry;
        let one_shot = expiry == HrtickExpiry::Deadline;
        if !self.feat(Features::HRTICK)
            || !self.is_fair(task)
            || self.root(cpu).h_nr_queued <= 1
            || (one_shot && occasion == Occasion::PickedAgain)
        {
            return;
        }
        let irq_util = self.rqs[cpu.index()].pressure.irq.util_avg;
        let entity = self.entity(task);
        let delay = match expiry {
            HrtickExpiry::Deadline => {
                let remaining = entity.deadline.wrapping_sub(entity.vruntime) as i64;
                hrtick_delay(remaining, entity.load.weight, irq_util)
            }
            HrtickExpiry::Slice => {
                let slice = match self.rules.queues.virtual_time {
                    VirtualTime::Minimum => self.sched_slice(entity.cfs_rq, self.tasks[task].se),
                    VirtualTime::Mean | VirtualTime::FineMean => entity.slice,
                };
                let ran = entity.sum_exec - entity.prev_sum_exec;
                hrtick_delay(slice as i64 - ran as i64, NICE_0_LOAD, 0)
            }
        };
        match delay {
            // Inside a pick the request is moot where that sets the timer: it is what is being served.
            None if !one_shot && occasion != Occasion::Joined => {}
            None => self.resched_curr(cpu, cpu),
            Some(delay) => {
                let at = self.now + delay;
                let rq = &mut self.rqs[cpu.index()];
                if hrtick_needs_rearm(rq.hrtick.filter(|_| one_shot), at) {
                    rq.hrtick = Some(at);
                    self.actions.push_back(Action::HrtickStart { cpu, at: self.since_start(at) });
                }
            }
        }
    }

    /// A task has joined the queue of what runs on `cpu`: from now on its slice may end.
    pub(crate) fn hrtick_update(&mut self, cpu: CpuId) {
        let set_once = self.rules.queues.hrtick_expiry == HrtickExpiry::Deadline;
        if let Some(curr) = self.rqs[cpu.index()].curr
            && !(set_once && self.rqs[cpu.index()].hrtick.is_some())
            && self.is_fair(curr)
        {
            self.hrtick_start(cpu, curr, Occasion::Joined);
        }
    }

    /// The timer has expired: what runs is accounted and stopped.
    pub(crate) fn hrtick(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        if rq.hrtick.is_none_or(|at| self.now < at) {
            return;
        }
        rq.hrtick = None;
        self.update_rq_clock(cpu);
        if let Some(curr) = self.rqs[cpu.index()].curr.filter(|&curr| self.is_fair(curr)) {
            self.task_tick_fair(curr, true);
            self.resched_curr(cpu, cpu);
        }
        self.irq_exit(cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_set_to_the_end_of_the_slice() {
        // Spec 2 §17.9: M5 (weight 3121) with 459 339 to its deadline fires 1 µs late at 1 400 997.
        assert_eq!(hrtick_delay(459_339, 3121 << 10, 0), Some(1_399_997));
        assert_eq!(hrtick_delay(1_400_000, NICE_0_LOAD, 0), Some(1_400_000));
        assert_eq!(hrtick_delay(-1, NICE_0_LOAD, 0), None);
        assert_eq!(hrtick_delay(1_000, NICE_0_LOAD, 0), Some(10_000));
        assert_eq!(hrtick_delay(1_000_000, NICE_0_LOAD, 512), Some(2_000_000));
        assert_eq!(hrtick_delay(1_000_000, NICE_0_LOAD, 1024), Some(1_000_000));
    }

    #[test]
    fn small_corrections_leave_the_timer_alone() {
        assert!(hrtick_needs_rearm(None, 1));
        assert!(!hrtick_needs_rearm(Some(100_000), 105_000));
        assert!(!hrtick_needs_rearm(Some(100_000), 95_000));
        assert!(hrtick_needs_rearm(Some(100_000), 105_001));
    }
}
