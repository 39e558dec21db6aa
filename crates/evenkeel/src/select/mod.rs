//! Where a forked, exec'd or woken task goes.
//!
//! 1. A new task, or one that calls exec, takes the *slow path*: from the widest domain down to the least loaded group,
//!    and there to the most suitable CPU ([`slow`]).
//! 2. A task that wakes up first chooses between the waker's CPU and its previous one ([`affine`]), and then an idle CPU
//!    near that target ([`idle`]): the target itself, the previous CPU, the one before, an idle core, any idle CPU of
//!    the cache. A wake-up never looks beyond the last-level cache of its target.
//! 3. Whatever they say, the task ends on a CPU it is allowed on.
//!
//! For example a pipe writer on CPU 1 that wakes a reader last seen on CPU 9, behind another cache: the wake-up is
//! synchronous and the writer runs alone, so the target is CPU 1, and the reader goes to an idle CPU near it.
//!
//! In the kernel: `select_task_rq`, `select_task_rq_fair`. Specified in spec 4 §3 and §5. Left out: energy-aware
//! placement, utilisation clamps, core scheduling.
use self::rules::IdleSearch;
use crate::ids::{CpuId, TaskId};
use crate::observe::{Event, Observer, SelectKind};
use crate::sched::Sched;
use crate::time::{Jiffies, time_after};
use crate::topology::SdFlags;

mod affine;
pub mod capacity;
mod classic;
mod idle;
mod limit;
pub mod rules;
mod slow;
pub mod steps;
pub mod urgent;

/// Why a CPU was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectReason {
    /// The task may run on one CPU only.
    OnlyAllowed,
    /// The chosen CPU was not allowed: the lowest allowed one instead.
    Fallback,
    /// No domain takes part in this kind of placement: the task stays.
    NoDomain,
    /// The slow path found the least loaded place.
    SlowPath,
    /// The target was idle.
    IdleTarget,
    /// The previous CPU was idle and shares the target's cache.
    IdlePrev,
    /// A per-CPU kernel thread wakes the task: it stays near.
    KthreadStack,
    /// The CPU used before the previous one was idle.
    IdleRecent,
    /// A thread of the previous CPU's core was idle.
    IdleSibling,
    /// A whole core was idle.
    IdleCore,
    /// A CPU of the last-level cache was idle.
    IdleCpu,
    /// An idle CPU that is large enough, or the largest idle one.
    IdleCapacity,
    /// Nothing idle was found: the target.
    Target,
    /// A real-time or deadline task runs at once where it was.
    UrgentPrev,
    /// A real-time or deadline task goes where the least urgent work is.
    UrgentLowest,
}

impl<O: Observer> Sched<O> {
    /// The CPU for `task`; `cpu` executes this (spec 4 §3.1).
    pub(crate) fn select_task_rq(&mut self, cpu: CpuId, task: TaskId, kind: SelectKind, sync: bool) -> CpuId {
        let prev_cpu = self.tasks[task].wake_cpu;
        let (mut chosen, mut reason) = if self.tasks[task].nr_cpus_allowed > 1 {
            if self.is_fair(task) {
                self.select_with_reason(cpu, task, kind, sync)
            } else {
                self.select_urgent(cpu, task, kind)
            }
        } else {
            let only = self.tasks[task].allowed.first().expect("a task is allowed somewhere");
            (only, SelectReason::OnlyAllowed)
        };
        if !self.is_cpu_allowed(task, chosen) {
            chosen = self.select_fallback_rq(self.tasks[task].cpu, task);
            reason = SelectReason::Fallback;
        }
        self.emit(|_| Event::Selected { kind, task, prev_cpu, on_cpu: cpu, chosen, reason });
        chosen
    }

    /// The fair class's choice, without the checks around it.
    pub(crate) fn select_task_rq_fair(
        &mut self,
        cpu: CpuId,
        task: TaskId,
        kind: SelectKind,
        sync: bool,
    ) -> CpuId {
        let prev_cpu = self.tasks[task].wake_cpu;
        let (chosen, reason) = self.select_with_reason(cpu, task, kind, sync);
        self.emit(|_| Event::Selected { kind, task, prev_cpu, on_cpu: cpu, chosen, reason });
        chosen
    }

    pub(crate) fn is_cpu_allowed(&self, task: TaskId, cpu: CpuId) -> bool {
        self.tasks[task].allowed.contains(cpu) && self.rqs[cpu.index()].active
    }

    fn select_with_reason(
        &mut self,
        cpu: CpuId,
        task: TaskId,
        kind: SelectKind,
        sync: bool,
    ) -> (CpuId, SelectReason) {
        let prev = match kind {
            SelectKind::Wakeup => self.tasks[task].wake_cpu,
            SelectKind::Fork | SelectKind::Exec => self.tasks[task].cpu,
        };
        let (flag, want_affine) = match kind {
            SelectKind::Fork => (SdFlags::BALANCE_FORK, false),
            SelectKind::Exec => (SdFlags::BALANCE_EXEC, false),
            SelectKind::Wakeup => {
                self.record_wakee(cpu, task);
                let affine = !self.wake_wide(cpu, task) && self.tasks[task].allowed.contains(cpu);
                (SdFlags::BALANCE_WAKE, affine)
            }
        };
        let mut target = prev;
        let mut slow_from = None;
        let mut level = self.topo.cpus[cpu.index()].base;
        while let Some(id) = level {
            let domain = &self.topo.domains[id.index()];
            if want_affine && domain.flags.contains(SdFlags::WAKE_AFFINE) && domain.span.contains(prev) {
                if cpu != prev {
                    target = self.wake_affine(id, task, cpu, prev, sync);
                }
                slow_from = None;
                break;
            }
            if domain.flags.contains(flag) {
                slow_from = Some(id);
            } else if !want_affine {
                break;
            }
            level = domain.parent;
        }
        match slow_from {
            Some(domain) => {
                (self.sched_balance_find_dst_cpu(domain, task, cpu, prev, flag), SelectReason::SlowPath)
            }
            None if kind == SelectKind::Wakeup => {
                let found = self.select_idle_sibling(cpu, task, prev, target);
                let classic = self.kernel.placement.idle_search == IdleSearch::ThreePasses;
                if classic
                    && want_affine
                    && let Some(waker) = self.rqs[cpu.index()].curr
                {
                    self.tasks[waker].recent_used_cpu = cpu;
                }
                found
            }
            None => (target, SelectReason::NoDomain),
        }
    }

    /// Notes whom the running task wakes: many different wakees make a waker that should not drag them along.
    fn record_wakee(&mut self, cpu: CpuId, task: TaskId) {
        let jiffies = self.jiffies();
        let hz = Jiffies::from(self.kernel.hz);
        let Some(curr) = self.rqs[cpu.index()].curr else {
            self.record_idle_wakee(cpu, task);
            return;
        };
        let waker = &mut self.tasks[curr];
        if time_after(jiffies, waker.wakee_flip_decay_ts + hz) {
            waker.wakee_flips >>= 1;
            waker.wakee_flip_decay_ts = jiffies;
        }
        if waker.last_wakee != Some(task) {
            waker.last_wakee = Some(task);
            waker.wakee_flips += 1;
        }
    }

    /// The same for wake-ups by interrupt on an idle CPU, which the kernel charges to the idle task.
    fn record_idle_wakee(&mut self, cpu: CpuId, task: TaskId) {
        let jiffies = self.jiffies();
        let hz = Jiffies::from(self.kernel.hz);
        let waker = &mut self.idle_wakers[cpu.index()];
        if time_after(jiffies, waker.decay_ts + hz) {
            waker.flips >>= 1;
            waker.decay_ts = jiffies;
        }
        if waker.last != Some(task) {
            waker.last = Some(task);
            waker.flips += 1;
        }
    }

    /// Whether waker and wakee have too many partners for the wakee to be pulled (spec 4 §5.2).
    fn wake_wide(&self, cpu: CpuId, task: TaskId) -> bool {
        let waker = match self.rqs[cpu.index()].curr {
            Some(curr) => self.tasks[curr].wakee_flips,
            None => self.idle_wakers[cpu.index()].flips,
        };
        is_wide(waker, self.tasks[task].wakee_flips, self.topo.cpus[cpu.index()].sd_llc_size)
    }
}

/// `min >= factor` and `max >= min * factor`.
fn is_wide(a: u32, b: u32, factor: u32) -> bool {
    let (low, high) = (a.min(b), a.max(b));
    low >= factor && u64::from(high) >= u64::from(low) * u64::from(factor)
}

/// Whom the idle task of a CPU woke.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdleWaker {
    /// How often it woke another task than before.
    pub(crate) flips: u32,
    /// When that was last halved.
    pub(crate) decay_ts: Jiffies,
    /// Whom it woke last.
    pub(crate) last: Option<TaskId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_wide_needs_both_partners_to_be_busy_wakers() {
        // Spec 4 §17 V1 and V2: a cache of 8 CPUs.
        assert!(is_wide(64, 8, 8));
        assert!(!is_wide(63, 8, 8));
        assert!(!is_wide(1000, 7, 8));
    }
}
