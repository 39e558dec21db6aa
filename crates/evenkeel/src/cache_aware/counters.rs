//! Queued tasks by the last-level cache they prefer.
//!
//! Example: a queue in cache 0 with three tasks that prefer cache 0, one of them delayed, and one that prefers cache 1:
//! `nr_llc_running` 4, counts 3 and 1, `nr_pref_llc_running` 2.
//!
//! In the kernel: `rq->nr_llc_running`, `rq->nr_pref_llc_running`, `sd->llc_counts[]` (spec 3 §13.3, spec 2 §18.5).
use super::process::Decaying;
use super::sched_cache_enabled;
use crate::ids::{CpuId, ProcessId, TaskId};
use crate::observe::Observer;
use crate::sched::Sched;
use alloc::vec::Vec;

/// What a queue knows of its tasks' preferences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LlcQueue {
    /// Running time of all processes' tasks on the CPU.
    pub ran: Decaying,
    /// Tasks that prefer some cache.
    pub nr_llc_running: u32,
    /// Those of them that prefer the CPU's own and are runnable.
    pub nr_pref_llc_running: u32,
    /// Tasks by the number of the cache they prefer.
    pub counts: Vec<u32>,
}

impl LlcQueue {
    /// Tasks that prefer a cache.
    #[inline]
    pub fn count(&self, llc: i32) -> u32 {
        usize::try_from(llc).ok().and_then(|llc| self.counts.get(llc)).copied().unwrap_or(0)
    }

    /// Counts a task.
    pub(crate) fn add(&mut self, counted: Counted) {
        self.nr_llc_running += 1;
        self.nr_pref_llc_running += u32::from(counted.at_home);
        if let Some(count) = usize::try_from(counted.llc).ok().and_then(|llc| self.counts.get_mut(llc)) {
            *count += 1;
        }
    }

    fn sub(&mut self, counted: Counted) {
        self.nr_llc_running -= 1;
        self.nr_pref_llc_running -= u32::from(counted.at_home);
        if let Some(count) = usize::try_from(counted.llc).ok().and_then(|llc| self.counts.get_mut(llc)) {
            *count -= 1;
        }
    }
}

/// As what a task is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The cache it prefers.
    pub(crate) llc: i32,
    /// It is runnable in that cache.
    pub(crate) at_home: bool,
}

/// What a task knows of its process and preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskLlc {
    /// Its process; none: a thread of the kernel.
    pub process: Option<ProcessId>,
    /// The number of the last-level cache it prefers.
    pub preferred: Option<i32>,
    /// It is to compare caches before it goes on.
    pub(crate) compares: bool,
    /// How its queue counts it, if it does.
    pub(crate) counted: Option<Counted>,
}

impl<O: Observer> Sched<O> {
    /// As what a queued task is to be counted, if it prefers a cache.
    pub(crate) fn to_be_counted(&self, task: TaskId) -> Option<Counted> {
        let p = &self.tasks[task];
        let llc = p.llc.preferred?;
        let own = self.topo.cpus[p.cpu.index()].sd_llc_id;
        Some(Counted { llc, at_home: llc == own && !self.entity(task).sched_delayed })
    }

    /// The task is queued now, or has become delayed or runnable again.
    #[inline]
    pub(crate) fn count_llc(&mut self, task: TaskId) {
        self.uncount_llc(task);
        let Some(counted) = self.to_be_counted(task) else { return };
        let p = &mut self.tasks[task];
        p.llc.counted = Some(counted);
        self.rqs[p.cpu.index()].llc.add(counted);
    }

    /// The task leaves its queue, or changes its preference.
    #[inline]
    pub(crate) fn uncount_llc(&mut self, task: TaskId) {
        let p = &mut self.tasks[task];
        if let Some(counted) = p.llc.counted.take() {
            self.rqs[p.cpu.index()].llc.sub(counted);
        }
    }

    /// The domains are new: whether threads are gathered is decided anew, and queues count from the beginning.
    pub(crate) fn restart_gathering(&mut self) {
        self.gathering = sched_cache_enabled(&self.kernel, &self.topo);
        if !self.kernel.balance.cache_aware.gathers() {
            return;
        }
        let most = self.topo.cpus.iter().map(|cpu| cpu.sd_llc_id).max().unwrap_or(-1);
        for rq in &mut self.rqs {
            rq.llc.nr_llc_running = 0;
            rq.llc.nr_pref_llc_running = 0;
            rq.llc.counts.clear();
            rq.llc.counts.resize(usize::try_from(most + 1).unwrap_or(0), 0);
        }
        for task in (0..self.tasks.len()).map(TaskId::from_index) {
            self.tasks[task].llc.counted = None;
            if self.entity(task).on_rq {
                self.count_llc(task);
            }
        }
    }

    /// The number of the last-level cache of a CPU, if it is in one.
    pub(super) fn llc_of(&self, cpu: CpuId) -> Option<i32> {
        Some(self.topo.cpus[cpu.index()].sd_llc_id).filter(|&llc| llc >= 0)
    }
}
