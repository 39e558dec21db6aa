//! The measures of a CPU and of a task that placement and balancing compare.
//!
//! In the kernel: `idle_cpu`, `cpu_load`, `cpu_util`, `task_h_load`. Specified in spec 2 §13, spec 3 §1.3.
use crate::balance::view::is_core_idle;
use crate::ids::{CpuId, QueueId, TaskId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::queue_rules::LoadTracking;
use crate::sched::Sched;

impl<O: Observer> Sched<O> {
    /// Whether the CPU runs nothing and nothing is on its way.
    #[inline]
    pub(crate) fn idle_cpu(&self, cpu: CpuId) -> bool {
        let rq = &self.rqs[cpu.index()];
        rq.curr.is_none() && rq.nr_running == 0 && !rq.ttwu_pending && !rq.stopper_running
    }

    /// Whether the CPU has work, all of it of the idle policy.
    #[inline]
    pub(crate) fn sched_idle_cpu(&self, cpu: CpuId) -> bool {
        let nr = self.rqs[cpu.index()].nr_running;
        self.rules.queues.knows_idle_policy_cpus && nr != 0 && nr == self.root(cpu).idle_h_nr_running
    }

    /// Whether every SMT sibling of the CPU, other than the CPU itself, is idle.
    #[inline]
    pub(crate) fn is_core_idle(&self, cpu: CpuId) -> bool {
        is_core_idle(&self.topo, self, cpu)
    }

    /// Whether the task is running on its CPU.
    #[inline]
    pub(crate) fn task_on_cpu(&self, task: TaskId) -> bool {
        self.rqs[self.tasks[task].cpu.index()].curr == Some(task)
    }

    /// Load of a CPU: weighted time its tasks were runnable, in the oldest kernels of those that still are.
    #[inline]
    pub(crate) fn cpu_load(&self, cpu: CpuId) -> u64 {
        let avg = &self.root(cpu).avg;
        match self.rules.queues.load_tracking {
            LoadTracking::SlowedTime => avg.load_avg,
            LoadTracking::ScaledContributions => avg.runnable_avg,
        }
    }

    /// A tick: the history of the CPU's load moves on, ticks missed while idle included.
    pub(crate) fn cpu_load_update(&mut self, cpu: CpuId) {
        let jiffies = self.jiffies();
        let load = self.root(cpu).avg.runnable_avg;
        let rq = &mut self.rqs[cpu.index()];
        let pending = jiffies.saturating_sub(rq.last_cpu_load_update).max(1);
        rq.cpu_load.update(load, pending, 0);
        rq.last_cpu_load_update = jiffies;
    }

    /// Average number of runnable tasks, times 1024.
    #[inline]
    pub(crate) fn cpu_runnable(&self, cpu: CpuId) -> u64 {
        self.root(cpu).avg.runnable_avg
    }

    /// What is left of the CPU for fair tasks, as last computed.
    #[inline]
    pub(crate) fn capacity_of(&self, cpu: CpuId) -> u64 {
        self.rqs[cpu.index()].cpu_capacity
    }

    /// Utilisation of a CPU, 0..=its capacity.
    #[inline]
    pub(crate) fn cpu_util_cfs(&self, cpu: CpuId) -> u64 {
        self.cpu_util(cpu, None, None, false)
    }

    /// The same, where waiting tasks count as utilisation too.
    #[inline]
    pub(crate) fn cpu_util_cfs_boost(&self, cpu: CpuId) -> u64 {
        self.cpu_util(cpu, None, None, true)
    }

    /// Utilisation of `cpu` if `task` were on CPU `dst` (spec 2 §13.1).
    pub(crate) fn cpu_util(&self, cpu: CpuId, task: Option<TaskId>, dst: Option<CpuId>, boost: bool) -> u64 {
        let avg = &self.root(cpu).avg;
        let comes = task.filter(|&task| self.tasks[task].cpu != cpu && dst == Some(cpu));
        let leaves = task.filter(|&task| self.tasks[task].cpu == cpu && dst != Some(cpu));
        let moved = |sum: u64, part: fn(&crate::pelt::SchedAvg) -> u64| match (comes, leaves) {
            (Some(task), _) => sum + part(&self.entity(task).avg),
            (_, Some(task)) => sum.saturating_sub(part(&self.entity(task).avg)),
            _ => sum,
        };
        let mut util = moved(avg.util_avg, |avg| avg.util_avg);
        if boost {
            util = util.max(moved(avg.runnable_avg, |avg| avg.runnable_avg));
        }
        if self.feat(Features::UTIL_EST) {
            let mut estimate = u64::from(avg.util_est);
            if let Some(task) = task {
                if dst == Some(cpu) {
                    estimate += self.util_est(task);
                } else if self.tasks[task].on_rq == crate::task::OnRq::Queued || self.task_on_cpu(task) {
                    estimate = estimate.saturating_sub(self.util_est(task));
                }
            }
            util = util.max(estimate);
        }
        util.min(self.rqs[cpu.index()].arch_capacity)
    }

    /// Whether the task's contribution is in the sums of `cpu`.
    fn contributes(&self, cpu: CpuId, task: TaskId) -> bool {
        self.tasks[task].cpu == cpu && self.entity(task).avg.last_update_time != 0
    }

    /// Load of `cpu` without the task.
    pub(crate) fn cpu_load_without(&mut self, cpu: CpuId, task: TaskId) -> u64 {
        let load = self.cpu_load(cpu);
        if self.contributes(cpu, task) { load.saturating_sub(self.task_h_load(task)) } else { load }
    }

    /// Runnable average of `cpu` without the task.
    pub(crate) fn cpu_runnable_without(&self, cpu: CpuId, task: TaskId) -> u64 {
        let runnable = self.cpu_runnable(cpu);
        if self.contributes(cpu, task) {
            runnable.saturating_sub(self.entity(task).avg.runnable_avg)
        } else {
            runnable
        }
    }

    /// Utilisation of `cpu` without the task.
    pub(crate) fn cpu_util_without(&self, cpu: CpuId, task: TaskId) -> u64 {
        self.cpu_util(cpu, Some(task).filter(|&task| self.contributes(cpu, task)), None, false)
    }

    /// The task's share of its CPU's load. The numerator is refreshed at most once a jiffy while the denominator is
    /// live, so of two tasks detached in one pass the second weighs more (spec 2 §13.4, spec 3 §1.3).
    pub(crate) fn task_h_load(&mut self, task: TaskId) -> u64 {
        let queue = self.entities[self.tasks[task].se.index()].cfs_rq;
        self.update_h_load(queue);
        let entity = &self.entities[self.tasks[task].se.index()];
        let queue = &self.queues[queue.index()];
        entity.avg.load_avg * queue.h_load / (queue.avg.load_avg + 1)
    }

    /// Refreshes the hierarchical load of a queue and those above it, at most once a jiffy.
    fn update_h_load(&mut self, id: QueueId) {
        let jiffies = self.jiffies();
        let queue = &mut self.queues[id.index()];
        if queue.last_h_load_update == jiffies {
            return;
        }
        let Some(owner) = queue.owner else {
            queue.h_load = queue.avg.load_avg;
            queue.last_h_load_update = jiffies;
            return;
        };
        let above = self.entities[owner.index()].cfs_rq;
        self.update_h_load(above);
        let above = &self.queues[above.index()];
        let h_load = above.h_load * self.entities[owner.index()].avg.load_avg / (above.avg.load_avg + 1);
        let queue = &mut self.queues[id.index()];
        queue.h_load = h_load;
        queue.last_h_load_update = jiffies;
    }
}
