//! CPUs that come and go, and partitions that change: the domain trees are rebuilt and no task is lost.
//!
//! A CPU that goes down first leaves scheduling (nothing is placed on it any more), then the trees are built without it,
//! then its stopper pushes every queued task to the lowest CPU that may take it, of the same node if possible. Sleeping
//! tasks stay where they are and move when they wake. A task that is allowed nowhere else may then run everywhere.
//!
//! In the kernel: `sched_cpu_deactivate`, `balance_push`, `sched_cpu_activate`, `partition_sched_domains`,
//! `select_fallback_rq`. Specified in spec 1 §13, spec 4 §3.3 and §11.3.
use crate::ids::{CpuId, TaskId};
use crate::io::Action;
use crate::observe::{Event, MigrateReason, Observer, PrevState, Running, Trees};
use crate::pick::rules::Rules;
use crate::sched::Sched;
use crate::task::OnRq;
use crate::topology::group::max_load_balance_interval;
use crate::topology::{Partition, Rebuild};
use crate::tune::Changed;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl<O: Observer> Sched<O> {
    /// A CPU goes online or offline; the last online CPU stays. No effect if it is already so.
    pub(crate) fn set_cpu_online(&mut self, cpu: CpuId, online: bool) {
        if self.rqs[cpu.index()].active == online {
            return;
        }
        self.emit_change(|_| Event::Hotplug { cpu, online });
        if online {
            self.cpu_up(cpu);
        } else {
            assert!(self.active.weight() > 1, "the last online CPU must stay online");
            self.cpu_down(cpu);
        }
    }

    fn cpu_up(&mut self, cpu: CpuId) {
        self.machine.cpus[cpu.index()].online = true;
        self.active.set(cpu);
        self.update_rq_clock(cpu);
        let now = self.now;
        let rq = &mut self.rqs[cpu.index()];
        rq.active = true;
        rq.idle_stamp = now;
        self.update_runtime_enabled(cpu);
        self.count_online();
        self.rebuild_domains(None);
        self.nohz_balance_enter_idle(cpu);
    }

    fn cpu_down(&mut self, cpu: CpuId) {
        self.nohz_balance_exit_idle(cpu);
        self.active.clear(cpu);
        self.machine.cpus[cpu.index()].online = false;
        self.rqs[cpu.index()].active = false;
        self.rebuild_domains(Some(cpu));
        self.count_online();
        if self.rqs[cpu.index()].ttwu_pending {
            self.sched_ttwu_pending(cpu);
        }
        self.run_stopper(cpu);
        self.unthrottle_offline_cfs_rqs(cpu);
        self.push_all(cpu);
        self.forget_tg_load_of(cpu);
    }

    /// What depends on the number of online CPUs.
    fn count_online(&mut self) {
        let online = self.active.weight();
        self.max_load_balance_interval = max_load_balance_interval(self.kernel.hz, online);
        self.rules = Rules::of(&self.kernel, online);
    }

    /// The stopper of a CPU that goes down pushes every queued task away.
    fn push_all(&mut self, cpu: CpuId) {
        self.update_rq_clock(cpu);
        let before = self.rqs[cpu.index()].curr;
        self.lift_limits(cpu);
        let waits = self.rqs[cpu.index()].nr_running > 0 || self.first_urgent(cpu).is_some();
        if before.is_none() && !waits {
            return;
        }
        let mut prev_state = PrevState::Runnable;
        if let Some(task) = before {
            self.put_prev_task(task);
            prev_state = self.leave_cpu(cpu, task);
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.curr = None;
        rq.stopper_running = true;
        rq.need_resched = false;
        let prev = before.map_or(Running::Idle, Running::Task);
        self.emit(|_| Event::Switch { cpu, prev, prev_state, next: Running::Stopper });
        while let Some(task) = self.first_urgent(cpu) {
            let dest = self.select_fallback_rq(cpu, task);
            self.move_queued_task(cpu, task, dest, MigrateReason::Hotplug);
        }
        while let Some(task) = self.pick_task_fair(cpu) {
            let dest = self.select_fallback_rq(cpu, task);
            self.move_queued_task(cpu, task, dest, MigrateReason::Hotplug);
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.stopper_running = false;
        rq.need_resched = false;
        self.update_idle_rq_clock_pelt(cpu);
        let (prev, next) = (Running::Stopper, Running::Idle);
        self.emit(|_| Event::Switch { cpu, prev, prev_state: PrevState::Sleeping, next });
        if before.is_some() {
            self.actions.push_back(Action::Switched { cpu, prev: before, next: None });
        }
    }

    /// A CPU that goes down limits nobody any more: no period of real-time tasks, no fair server.
    fn lift_limits(&mut self, cpu: CpuId) {
        if self.rqs[cpu.index()].rt.throttled {
            self.unthrottle_rt(cpu);
        }
        self.rqs[cpu.index()].rt.period_ends = None;
        self.rqs[cpu.index()].rt.time = 0;
        self.stop_fair_server(cpu);
    }

    /// The next real-time or deadline task to push away, also one that waits for its next period.
    fn first_urgent(&self, cpu: CpuId) -> Option<TaskId> {
        let rq = &self.rqs[cpu.index()];
        let queued = |task: &TaskId| self.tasks[*task].on_rq == OnRq::Queued;
        let withheld = rq.dl.withheld.iter().find(|task| queued(task));
        rq.dl.queue.first().or(rq.rt.queue.first()).or(withheld).copied()
    }

    /// The machine's partitions change (cpusets); `None`: one partition of all CPUs that are not isolated.
    pub(crate) fn set_partitions(&mut self, partitions: Option<Vec<Partition>>) {
        let sets = |partitions: &Vec<Partition>| partitions.iter().map(|one| one.cpus.clone()).collect();
        let told = partitions.as_ref().map(sets);
        self.partitions = partitions;
        self.emit_change(|_| Event::Changed(Changed::Partitions(told)));
        self.rebuild_domains(None);
    }

    /// Brings the domain trees in line with the online CPUs and the partitions.
    fn rebuild_domains(&mut self, leaving: Option<CpuId>) {
        let change = Rebuild {
            partitions: self.partitions.clone(),
            leaving,
            jiffies: self.jiffies(),
            now_ns: self.now,
            ..Rebuild::default()
        };
        self.topo
            .rebuild(&self.machine, &self.kernel, &change)
            .expect("a machine that was built once can be rebuilt without a CPU");
        self.restart_gathering();
        self.emit(|sched| Event::Rebuilt(Arc::new(Trees::of(&sched.topo))));
    }

    /// Where a task goes whose CPU it may not use: the lowest allowed CPU of the same node, else the lowest allowed one,
    /// else its affinity is given up (spec 4 §3.3).
    pub(crate) fn select_fallback_rq(&mut self, near: CpuId, task: TaskId) -> CpuId {
        let node = &self.node_cpus[self.node_of[near.index()] as usize];
        let fits = |cpu: &CpuId| self.is_cpu_allowed(task, *cpu);
        if let Some(cpu) = node.iter().find(fits).or_else(|| self.tasks[task].allowed.iter().find(fits)) {
            return cpu;
        }
        self.tasks[task].allowed = self.all.clone();
        self.tasks[task].nr_cpus_allowed = self.all.weight();
        self.note_allowed_capacity(task);
        self.emit_change(|sched| Event::Affinity { task, allowed: sched.all.clone() });
        self.active.first().expect("some CPU is online")
    }

    /// An online CPU to execute what was meant to happen on `cpu`: timers of a CPU that went down move to another.
    pub(crate) fn executing_cpu(&self, cpu: CpuId) -> CpuId {
        if self.rqs[cpu.index()].active {
            return cpu;
        }
        let node = &self.node_cpus[self.node_of[cpu.index()] as usize];
        node.first_and(&self.active).or_else(|| self.active.first()).expect("some CPU is online")
    }
}
