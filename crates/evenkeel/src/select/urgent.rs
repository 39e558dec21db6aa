//! Where real-time and deadline tasks run: on their previous CPU if they win it, else where the least urgent work is.
//!
//! A task that wakes up stays on its CPU unless the urgent task that runs there is at least as urgent, or can run nowhere
//! else. Then it goes to the CPU whose most urgent task is the least urgent one; CPUs with fair tasks and idle ones
//! count alike. Of several such CPUs its own is taken, then the one that wakes it, then, level by level, the first that is
//! near. Example: FIFO tasks of priority 50 run on CPUs 0 and 1, fair tasks on 2 and 3. One of priority 40 that wakes up on
//! CPU 1 goes to CPU 2; one of priority 60 stays.
//!
//! What waits behind others moves too: a CPU that has switched to an urgent task *pushes* the next one that may move to such
//! a CPU; a CPU on which urgency has dropped *pulls* the most urgent one that waits elsewhere. Example: that task of
//! priority 40 is pinned to CPUs 0 and 1, so it waits, until CPU 0 gets idle and pulls it.
//!
//! In the kernel: `select_task_rq_rt`, `find_lowest_rq`, `cpupri_find`, `push_rt_tasks`, `pull_rt_task`, and the same for
//! deadline tasks (`find_later_rq`, `cpudl_find`). Simplified: the first CPU of a level is taken, where kernels take turns;
//! pulling happens at once, where they may ask the other CPU by interrupt; capacities and the queue
//! that a task waits on are not considered.
use super::SelectReason;
use crate::ids::{CpuId, TaskId};
use crate::observe::{MigrateReason, Observer, SelectKind};
use crate::sched::Sched;
use crate::task::OnRq;
use crate::time::Ns;
use crate::workload::Class;

/// How urgent the most urgent task of a CPU is, as tasks of one class see it; the higher the more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Nothing that could not be preempted.
    None,
    /// A real-time task of this priority.
    Priority(u8),
    /// A deadline task; the earlier its deadline the more urgent.
    Deadline(core::cmp::Reverse<Ns>),
}

impl<O: Observer> Sched<O> {
    /// How urgent a task is.
    fn urgency(&self, task: TaskId) -> Urgency {
        let p = &self.tasks[task];
        match p.policy.class() {
            Class::Fair => Urgency::None,
            Class::RealTime => Urgency::Priority(p.policy.priority()),
            Class::Deadline => Urgency::Deadline(core::cmp::Reverse(p.dl.deadline)),
        }
    }

    /// How urgent the most urgent task of a CPU is for a task of `class`: deadline tasks do not see others.
    fn urgency_on(&self, cpu: CpuId, class: Class) -> Urgency {
        let rq = &self.rqs[cpu.index()];
        let real_time = rq.rt.queue.first().filter(|_| class == Class::RealTime);
        rq.dl.queue.first().or(real_time).map_or(Urgency::None, |&first| self.urgency(first))
    }

    /// The CPU for an urgent task that is new or wakes up; `by` executes this.
    pub(super) fn select_urgent(
        &mut self,
        by: CpuId,
        task: TaskId,
        kind: SelectKind,
    ) -> (CpuId, SelectReason) {
        let prev = match kind {
            SelectKind::Wakeup => self.tasks[task].wake_cpu,
            SelectKind::Fork | SelectKind::Exec => self.tasks[task].cpu,
        };
        let stays = kind == SelectKind::Exec || !self.is_beaten_by(task, self.rqs[prev.index()].curr);
        let better = if stays { None } else { self.find_less_urgent(by, task, prev) };
        better.map_or((prev, SelectReason::UrgentPrev), |cpu| (cpu, SelectReason::UrgentLowest))
    }

    /// Whether the task would have to wait for `curr`, or should leave it alone because it can go nowhere else.
    fn is_beaten_by(&self, task: TaskId, curr: Option<TaskId>) -> bool {
        curr.is_some_and(|curr| {
            let class = self.class(curr);
            class != Class::Fair
                && class >= self.class(task)
                && (self.tasks[curr].nr_cpus_allowed < 2 || !self.is_more_urgent(task, curr))
        })
    }

    /// The CPU on which `task` would be the most urgent one, if there is one where less urgent work is than on all others.
    fn find_less_urgent(&self, by: CpuId, task: TaskId, near: CpuId) -> Option<CpuId> {
        let class = self.class(task);
        let allowed = || {
            let span = &self.topo.roots[self.topo.cpus[near.index()].root.index()].span;
            span.iter().filter(|&cpu| self.is_cpu_allowed(task, cpu))
        };
        let lowest = allowed().map(|cpu| self.urgency_on(cpu, class)).min()?;
        if lowest >= self.urgency(task) {
            return None;
        }
        let is_lowest = |cpu: &CpuId| self.urgency_on(*cpu, class) == lowest;
        if let Some(cpu) =
            [near, by].into_iter().find(|cpu| allowed().any(|other| other == *cpu) && is_lowest(cpu))
        {
            return Some(cpu);
        }
        let levels = self.topo.chain(near).map(|level| &self.topo.domains[level.index()].span);
        let in_level =
            |span: &crate::mask::CpuMask| allowed().filter(|&cpu| span.contains(cpu)).find(is_lowest);
        levels.map(|span| in_level(span)).find_map(|found| found).or_else(|| allowed().find(is_lowest))
    }

    /// A task of an urgent class that has become runnable on `cpu` and does not preempt is sent on, if that helps; `by`
    /// executes this.
    pub(crate) fn task_woken(&mut self, cpu: CpuId, task: TaskId, by: CpuId) {
        let rq = &self.rqs[cpu.index()];
        if self.is_fair(task) || rq.need_resched || rq.curr == Some(task) || self.tasks[task].throttled {
            return;
        }
        if self.tasks[task].nr_cpus_allowed > 1 && self.is_beaten_by(task, rq.curr) {
            self.push_urgent(cpu, by);
        }
    }

    /// Tasks of this CPU that wait behind an urgent one and may move go where they run at once.
    pub(crate) fn push_urgent(&mut self, cpu: CpuId, by: CpuId) {
        while let Some(task) = self.pushable(cpu) {
            let Some(dest) = self.find_less_urgent(by, task, cpu).filter(|&dest| dest != cpu) else { return };
            self.move_queued_task(by, task, dest, MigrateReason::Urgent);
        }
    }

    /// The most urgent task that waits on this CPU and may run elsewhere.
    fn pushable(&self, cpu: CpuId) -> Option<TaskId> {
        let rq = &self.rqs[cpu.index()];
        let mut waiting = rq.dl.queue.iter().chain(rq.rt.runnable()).copied();
        waiting.find(|&task| rq.curr != Some(task) && self.tasks[task].nr_cpus_allowed > 1)
    }

    /// Urgency may have dropped on `cpu`, where `prev` ran: the most urgent task that waits elsewhere comes here, if it is
    /// more urgent than all that is here.
    pub(crate) fn pull_urgent(&mut self, cpu: CpuId, prev: TaskId) {
        let class = self.class(prev);
        if class == Class::Fair || self.urgent_queued <= 1 {
            return;
        }
        let rq = &self.rqs[cpu.index()];
        let left = if class == Class::RealTime { rq.rt.runnable().first() } else { rq.dl.queue.first() };
        let dropped = left.is_none_or(|&first| first != prev && self.is_more_urgent(prev, first));
        if !dropped || !rq.active {
            return;
        }
        let root = self.topo.cpus[cpu.index()].root;
        let here = self.urgency_on(cpu, class);
        let mut best: Option<(Urgency, TaskId)> = None;
        for other in &self.topo.roots[root.index()].span {
            let Some(task) = self.pushable_to(other, cpu, class) else { continue };
            let urgency = self.urgency(task);
            if other != cpu && urgency > best.map_or(here, |(best, _)| best) {
                best = Some((urgency, task));
            }
        }
        if let Some((_, task)) = best {
            self.move_queued_task(cpu, task, cpu, MigrateReason::Urgent);
        }
    }

    /// The most urgent task of a class that waits on `from` and may run on `dest`.
    fn pushable_to(&self, from: CpuId, dest: CpuId, class: Class) -> Option<TaskId> {
        let rq = &self.rqs[from.index()];
        let queue = if class == Class::RealTime { rq.rt.runnable() } else { &rq.dl.queue };
        let may_come = |task: &TaskId| {
            let p = &self.tasks[*task];
            rq.curr != Some(*task) && p.on_rq == OnRq::Queued && self.is_cpu_allowed(*task, dest)
        };
        queue.iter().copied().find(may_come)
    }
}
