//! CPUs of different size: does a task fit, and which idle CPU suits it best?
//!
//! A task fits a CPU if its utilisation is below 80 % of what the CPU has left. One of utilisation 400 does not fit a
//! CPU of 446 (400 * 1280 > 446 * 1024) and goes to a big one; if all of those are busy, to the biggest idle one.
//!
//! In the kernel: `util_fits_cpu`, `task_fits_cpu`, `select_idle_capacity`, `update_misfit_status`. Specified in spec 4 §8.5
//! and §12. Left out: utilisation clamps.
use super::rules::UnequalSearch;
use crate::ids::{CpuId, DomainId, TaskId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::sched::Sched;

/// Whether a utilisation leaves 20 % of a capacity unused.
#[inline]
pub fn fits_capacity(util: u64, capacity: u64) -> bool {
    util * 1280 < capacity * 1024
}

impl<O: Observer> Sched<O> {
    /// Whether the task fits the CPU; always true on a symmetric machine.
    #[inline]
    pub(crate) fn task_fits_cpu(&self, task: TaskId, cpu: CpuId) -> bool {
        !self.topo.asym_capacity || fits_capacity(self.task_util_est(task), self.capacity_of(cpu))
    }

    /// Notes the largest capacity that the task may use.
    pub(crate) fn note_allowed_capacity(&mut self, task: TaskId) {
        let capacity = |cpu: CpuId| self.rqs[cpu.index()].arch_capacity;
        let largest = self.tasks[task].allowed.iter().map(capacity).max().unwrap_or(1024);
        self.tasks[task].max_allowed_capacity = largest;
    }

    /// Notes whether the task on `cpu` should rather be on a larger one (spec 4 §12.3).
    pub(crate) fn update_misfit_status(&mut self, cpu: CpuId, task: Option<TaskId>) {
        if !self.topo.asym_capacity {
            return;
        }
        let largest =
            |task: TaskId| self.rqs[cpu.index()].arch_capacity == self.tasks[task].max_allowed_capacity;
        let load = match task {
            Some(task)
                if self.tasks[task].nr_cpus_allowed > 1
                    && (self.kernel.balance.groups.misfit_on_largest || !largest(task))
                    && !self.task_fits_cpu(task, cpu) =>
            {
                self.task_h_load(task).max(1)
            }
            _ => 0,
        };
        self.rqs[cpu.index()].misfit_task_load = load;
    }

    /// The first idle CPU, from the target on, that the task fits; else the idle one with most capacity. Newest kernels prefer
    /// those on idle cores, and search no further than elsewhere.
    pub(super) fn select_idle_capacity(
        &mut self,
        task: TaskId,
        domain: DomainId,
        target: CpuId,
    ) -> Option<CpuId> {
        let by_core = self.kernel.placement.unequal == UnequalSearch::FirstFitByCore;
        let for_core = by_core && self.topo.smt_active && self.has_idle_cores(target);
        let mut left = i64::from(i32::MAX);
        if by_core
            && !for_core
            && self.feat(Features::SIS_UTIL)
            && let Some(shared) = self.search_shared(target)
        {
            left = i64::from(self.topo.shared[shared.index()].nr_idle_scan) + 1;
            if left == 1 {
                return None;
            }
        }
        let mut cpus = core::mem::take(&mut self.scratch.select);
        cpus.copy_from(&self.topo.domains[domain.index()].span);
        cpus.and_assign(&self.tasks[task].allowed);
        let mut best = Ranked { cpu: None, rank: 0, capacity: 0 };
        for cpu in cpus.iter_wrap(target) {
            if !for_core {
                left -= 1;
                if left <= 0 {
                    break;
                }
            }
            if !self.usable(task, cpu) {
                continue;
            }
            let (fits, core) = (self.task_fits_cpu(task, cpu), !for_core || self.is_core_idle(cpu));
            if fits && core {
                best = Ranked { cpu: Some(cpu), rank: i32::MIN, capacity: 0 };
                break;
            }
            let rank = if fits { -2 } else { 0 } + if core && by_core { -3 } else { 0 };
            let capacity = self.capacity_of(cpu);
            if rank < best.rank || (rank == best.rank && capacity > best.capacity) {
                best = Ranked { cpu: Some(cpu), rank, capacity };
            }
        }
        self.scratch.select = cpus;
        if for_core && best.rank > -3 {
            self.forget_idle_cores(target);
        }
        best.cpu
    }
}

/// The best idle CPU so far: the lower its rank the better, then the larger its capacity.
struct Ranked {
    cpu: Option<CpuId>,
    rank: i32,
    capacity: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_stays_free() {
        // Spec 4 §17 V22.
        assert!(!fits_capacity(400, 446));
        assert!(fits_capacity(400, 1024));
        assert!(!fits_capacity(820, 1024));
        assert!(fits_capacity(819, 1024));
    }
}
