//! CPUs of different size: does a task fit, and which idle CPU suits it best?
//!
//! A task fits a CPU if its utilisation is below 80 % of what the CPU has left. One of utilisation 400 does not fit a
//! CPU of 446 (400 * 1280 > 446 * 1024) and goes to a big one; if all of those are busy, to the biggest idle one.
//!
//! In the kernel: `util_fits_cpu`, `task_fits_cpu`, `select_idle_capacity`, `update_misfit_status`. Specified in spec 4 §8.5
//! and §12. Left out: utilisation clamps.
use crate::ids::{CpuId, DomainId, TaskId};
use crate::mask::CpuMask;
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
        let load = match task {
            Some(task)
                if self.tasks[task].nr_cpus_allowed > 1
                    && self.rqs[cpu.index()].arch_capacity != self.tasks[task].max_allowed_capacity
                    && !self.task_fits_cpu(task, cpu) =>
            {
                self.task_h_load(task).max(1)
            }
            _ => 0,
        };
        self.rqs[cpu.index()].misfit_task_load = load;
    }

    /// The first idle CPU, from the target on, that the task fits; else the idle one with most capacity.
    pub(super) fn select_idle_capacity(
        &mut self,
        task: TaskId,
        domain: DomainId,
        target: CpuId,
    ) -> Option<CpuId> {
        let mut cpus = core::mem::replace(&mut self.scratch.select, CpuMask::new(0));
        cpus.copy_from(&self.topo.domains[domain.index()].span);
        cpus.and_assign(&self.tasks[task].allowed);
        let mut best: Option<(CpuId, u64)> = None;
        for cpu in cpus.iter_wrap(target).filter(|&cpu| self.usable(task, cpu)) {
            if self.task_fits_cpu(task, cpu) {
                best = Some((cpu, 0));
                break;
            }
            let capacity = self.capacity_of(cpu);
            if best.is_none_or(|(_, most)| capacity > most) {
                best = Some((cpu, capacity));
            }
        }
        self.scratch.select = cpus;
        best.map(|(cpu, _)| cpu)
    }
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
