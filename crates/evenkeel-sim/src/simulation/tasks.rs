//! Tasks as their host sees them: created, executing, woken, changed.
use super::{Doing, Instance, Simulation};
use crate::program::Change;
use crate::timers::{Kind, Timer};
use evenkeel::ids::{CpuId, ProcessId, TaskId, TgId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::task::{OnRq, TaskParams};
use evenkeel::time::Ns;
use std::sync::Arc;

impl<O: Observer> Simulation<O> {
    /// Arms the end of what the task running on `cpu` has to execute now.
    pub(super) fn arm_burst(&mut self, cpu: CpuId) {
        let state = &self.cpus[cpu.index()];
        let Some(task) = state.running else { return };
        let end = match self.instances[task.index()].doing {
            Doing::Working(left) => state.burst_since.max(self.now) + left,
            Doing::Running(left) => state.burst_since.saturating_add(self.time_for(cpu, left)),
            Doing::Spinning(until) => until.max(state.burst_since),
            Doing::Next | Doing::Blocked | Doing::Dead => state.burst_since.max(self.now),
        };
        self.timers.arm(Timer::Cpu(Kind::Burst, cpu), end);
    }

    /// How long `cpu` takes for an amount of work.
    fn time_for(&self, cpu: CpuId, work: Ns) -> Ns {
        match self.capacities[cpu.index()] {
            1024 => work.min(Ns::MAX / 2),
            capacity => {
                let time = (u128::from(work) * 1024).div_ceil(u128::from(capacity));
                u64::try_from(time).unwrap_or(Ns::MAX).min(Ns::MAX / 2)
            }
        }
    }

    /// How much work `cpu` does in a time.
    pub(super) fn work_in(&self, cpu: CpuId, time: Ns) -> Ns {
        match self.capacities[cpu.index()] {
            1024 => time,
            capacity => (u128::from(time) * u128::from(capacity) / 1024) as Ns,
        }
    }

    /// The task running on `cpu` has this much work to execute from now on.
    pub(super) fn execute(&mut self, cpu: CpuId, task: TaskId, work: Ns) {
        self.instances[task.index()].doing = Doing::Running(work);
        self.cpus[cpu.index()].burst_since = self.now;
        self.arm_burst(cpu);
    }

    /// Creates a task of definition `spec` from code on `cpu`. What the definition leaves open it has from its parent,
    /// if that is a task of the workload.
    pub(super) fn create(&mut self, cpu: CpuId, parent: Option<TaskId>, spec: u32) {
        let initial = self.programs.initial[spec as usize].clone();
        let parent =
            parent.filter(|&parent| !self.is_launcher(parent)).map(|parent| &self.instances[parent.index()]);
        let policy = initial.policy.or(parent.map(|parent| parent.policy)).unwrap_or_default();
        let nice = initial.nice.or(parent.map(|parent| parent.nice)).unwrap_or(0);
        let slice = initial.slice.or(parent.map(|parent| parent.slice)).unwrap_or(0);
        let allowed = initial.allowed.or(parent.map(|parent| parent.allowed.clone()));
        let allowed = allowed.unwrap_or_else(|| self.unbound.clone());
        let inherited = parent.map_or(TgId(0), |parent| parent.group);
        let group = initial.group.unwrap_or(inherited);
        let effective = self.groups.effective(spec, group);
        let params = TaskParams { policy, nice, slice, allowed: (*allowed).clone(), group: effective };
        let percpu_kthread = self.workload.tasks.get(spec as usize).is_some_and(|spec| spec.percpu_kthread);
        let number = self.numbers[spec as usize];
        self.numbers[spec as usize] += 1;
        let start = self.now.max(self.delay(spec, number));
        let timers = vec![None; self.programs.programs[spec as usize].private_timers].into();
        self.meters.forked(self.now, self.pinned(&allowed), effective);
        self.alive += usize::from((spec as usize) < self.own);
        let child = match self.process_of(spec) {
            Some(process) => self.sched.new_thread(&params, process),
            None => self.sched.new_task(&params),
        };
        assert_eq!(child.index(), self.instances.len(), "tasks are numbered alike here and there");
        self.instances.push(Instance {
            spec,
            number,
            pc: 0,
            rounds: [0; 2],
            doing: Doing::Next,
            start,
            timers,
            timer_cpu: cpu,
            steps: 0,
            stepped_at: 0,
            policy,
            nice,
            slice,
            allowed,
            work_done: false,
            group,
        });
        self.timers.grow(self.instances.len());
        if percpu_kthread {
            self.input(Input::BindKthread { task: child });
        }
        if let Some(memory) = initial.memory {
            self.input(Input::SetMemory { task: child, memory });
        }
        self.input(Input::Fork { cpu, child });
    }

    /// The process of a new instance of a definition: that of its name, or a new one; threads of the kernel have none.
    fn process_of(&mut self, spec: u32) -> Option<ProcessId> {
        let index = spec as usize;
        if (self.own..self.workload.tasks.len()).contains(&index) {
            return None;
        }
        let spec = self.workload.tasks.get(index);
        if spec.is_some_and(|spec| spec.percpu_kthread) {
            return None;
        }
        let named = spec.and_then(|spec| spec.process.as_ref());
        let Some(name) = named else { return Some(self.sched.new_process()) };
        let known = self.processes.iter().find(|(known, _)| known == name);
        if let Some(&(_, process)) = known {
            return Some(process);
        }
        let process = self.sched.new_process();
        self.processes.push((name.clone(), process));
        Some(process)
    }

    /// When instance `number` of a definition may begin.
    pub(super) fn delay(&mut self, spec: u32, number: u32) -> Ns {
        let Some(spec) = self.workload.tasks.get(spec as usize) else { return 0 };
        let jitter = match self.params.start_jitter {
            0 => 0,
            most => self.jitter.next_u64() % (most + 1),
        };
        spec.delay.saturating_add(spec.stagger.saturating_mul(u64::from(number))).saturating_add(jitter)
    }

    /// An affinity as the meters want it: none if it leaves all CPUs open.
    pub(super) fn pinned(&self, allowed: &Arc<CpuMask>) -> Option<Arc<CpuMask>> {
        (**allowed != *self.all).then(|| allowed.clone())
    }

    /// A task's timer expires: an interrupt on the CPU where it was armed.
    pub(super) fn expire(&mut self, task: TaskId) {
        let cpu = self.instances[task.index()].timer_cpu;
        if self.waits_for_handler(cpu, Timer::Task(task)) {
            return;
        }
        let select = self.cost_of_choosing(task);
        if select > 0 && !core::mem::replace(&mut self.instances[task.index()].work_done, true) {
            // The choice takes its time, then the task is queued.
            self.owe(|_| select);
            self.timers.arm(Timer::Task(task), self.now);
            return;
        }
        self.instances[task.index()].work_done = false;
        let input = self.wake(cpu, task, WakeContext { interrupt: true, sync: false });
        self.interrupt(cpu, input);
    }

    /// Where handling takes time, how long choosing a CPU for `task` does: one that is still queued, delayed, stays.
    pub(super) fn cost_of_choosing(&self, task: TaskId) -> Ns {
        let stays = self.sched.tasks()[task].on_rq == OnRq::Queued;
        self.turn.as_ref().filter(|_| !stays).map_or(0, |turn| turn.rules.costs.select)
    }

    /// The input that wakes `task`, which is noted as runnable from now on.
    pub(super) fn wake(&mut self, cpu: CpuId, task: TaskId, context: WakeContext) -> Input {
        let instance = &mut self.instances[task.index()];
        debug_assert_eq!(instance.doing, Doing::Blocked);
        instance.doing = Doing::Next;
        self.meters.woken(self.now, task);
        self.owe(|costs| costs.wake);
        Input::Wake { cpu, task, context }
    }

    /// Code on `cpu` changes attributes of `task`; what stays the same is not touched.
    pub(super) fn change(&mut self, cpu: CpuId, task: TaskId, change: &Change) {
        let instance = &mut self.instances[task.index()];
        let before = (instance.policy, instance.nice, instance.slice);
        let (policy, nice, slice) = (
            change.policy.unwrap_or(before.0),
            change.nice.unwrap_or(before.1),
            change.slice.unwrap_or(before.2),
        );
        if (policy, nice, slice) != before {
            (instance.policy, instance.nice, instance.slice) = (policy, nice, slice);
            self.input(Input::SetAttributes { cpu, task, policy, nice, slice });
        }
        let instance = &mut self.instances[task.index()];
        // The call fails, and nothing changes, if no CPU of the set is online.
        let possible = |allowed: &&Arc<CpuMask>| allowed.intersects(self.sched.online());
        let changed = |allowed: &&Arc<CpuMask>| **allowed != instance.allowed;
        if let Some(allowed) = change.allowed.as_ref().filter(changed).filter(possible) {
            let instance = &mut self.instances[task.index()];
            instance.allowed = allowed.clone();
            self.meters.repinned(self.now, task, self.pinned(allowed));
            self.input(Input::SetAffinity { cpu, task, allowed: (**allowed).clone() });
        }
        if let Some(memory) = change.memory.clone() {
            self.input(Input::SetMemory { task, memory });
        }
        let instance = &mut self.instances[task.index()];
        if let Some(group) = change.group.filter(|&group| group != instance.group) {
            instance.group = group;
            let group = self.groups.effective(instance.spec, group);
            self.meters.regrouped(self.now, task, group);
            self.input(Input::SetGroup { task, group });
        }
    }
}
