//! Who runs, waits and idles, followed from events: the state on which causes are found.
use evenkeel::balance::event::BalanceEvent;
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::mask::CpuMask;
use evenkeel::observe::{Event, PrevState, Running};
use std::sync::Arc;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Runs, sleeps, or has ended.
    NotWaiting,
    /// Runs.
    Running,
    /// Waits on the queue of this CPU.
    Waiting(CpuId),
    /// Was woken; an interrupt will queue it on this CPU.
    InFlight(CpuId),
}

/// A task.
#[derive(Clone, Debug)]
pub(super) struct TaskState {
    pub(super) doing: Doing,
    /// A limit of CPU time has stopped it: it waits, but for time and not for a CPU.
    throttled: bool,
    /// Where it may run; none: everywhere.
    pub(super) pinned: Option<Arc<CpuMask>>,
}

impl TaskState {
    /// What it waits for, if it waits.
    fn wait(&self) -> Option<WaitFor> {
        match self.doing {
            Doing::Waiting(_) | Doing::InFlight(_) if self.throttled => Some(WaitFor::Time),
            Doing::Waiting(_) | Doing::InFlight(_) => Some(WaitFor::Cpu),
            Doing::NotWaiting | Doing::Running => None,
        }
    }

    /// Whether it may run on `cpu`.
    pub(super) fn may_use(&self, cpu: CpuId) -> bool {
        self.pinned.as_ref().is_none_or(|allowed| allowed.contains(cpu))
    }
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitFor {
    /// A CPU.
    Cpu,
    /// Time: a limit has stopped it.
    Time,
}

/// The machine as far as waiting and idling go.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) idle: Vec<bool>,
    /// Offline: nothing can run there.
    offline: Vec<bool>,
    /// The tick is stopped.
    pub(super) tickless: Vec<bool>,
    /// Tasks by number.
    pub(super) tasks: Vec<TaskState>,
    /// Those that wait for a CPU or are in flight, ascending.
    pub(super) waiting: Vec<TaskId>,
    /// Those that a limit has stopped, ascending.
    stopped: Vec<TaskId>,
}

impl Machine {
    /// All CPUs that are online idle and tickless, no task.
    pub(super) fn new(online: &[bool]) -> Self {
        Self {
            idle: online.to_vec(),
            offline: online.iter().map(|online| !online).collect(),
            tickless: vec![true; online.len()],
            tasks: Vec::new(),
            waiting: Vec::new(),
            stopped: Vec::new(),
        }
    }

    fn task(&mut self, task: TaskId) -> &mut TaskState {
        if task.index() >= self.tasks.len() {
            let new = TaskState { doing: Doing::NotWaiting, throttled: false, pinned: None };
            self.tasks.resize(task.index() + 1, new);
        }
        &mut self.tasks[task.index()]
    }

    fn set(&mut self, task: TaskId, doing: Doing) {
        self.change(task, |state| state.doing = doing);
    }

    fn change(&mut self, task: TaskId, change: impl FnOnce(&mut TaskState)) {
        let state = self.task(task);
        let before = state.wait();
        change(state);
        let after = state.wait();
        if after == before {
            return;
        }
        if let Some(list) = self.list(before)
            && let Ok(at) = list.binary_search(&task)
        {
            list.remove(at);
        }
        if let Some(list) = self.list(after)
            && let Err(at) = list.binary_search(&task)
        {
            list.insert(at, task);
        }
    }

    fn list(&mut self, wait: Option<WaitFor>) -> Option<&mut Vec<TaskId>> {
        match wait? {
            WaitFor::Cpu => Some(&mut self.waiting),
            WaitFor::Time => Some(&mut self.stopped),
        }
    }

    /// Follows an event.
    pub(super) fn event(&mut self, event: &Event) {
        match *event {
            Event::Switch { cpu, prev, prev_state, next } => {
                if let Running::Task(prev) = prev {
                    let waits = prev_state == PrevState::Runnable;
                    self.set(prev, if waits { Doing::Waiting(cpu) } else { Doing::NotWaiting });
                }
                if let Running::Task(next) = next {
                    self.set(next, Doing::Running);
                }
                self.idle[cpu.index()] = next == Running::Idle && !self.offline[cpu.index()];
                self.tickless[cpu.index()] &= matches!(next, Running::Idle | Running::Stopper);
            }
            Event::Hotplug { cpu, online } => {
                self.offline[cpu.index()] = !online;
                self.idle[cpu.index()] = online;
                self.tickless[cpu.index()] = true;
            }
            // Whoever ticks is not tickless.
            Event::Balance(BalanceEvent::Tick { cpu, .. }) => self.tickless[cpu.index()] = false,
            Event::IdleEnter { cpu, tick_stopped } => self.tickless[cpu.index()] = tick_stopped,
            Event::Affinity { task, ref allowed } => {
                let everywhere = allowed.weight() as usize == self.idle.len();
                self.task(task).pinned = (!everywhere).then(|| allowed.clone());
            }
            Event::WakeQueued { task, target_cpu, .. } => self.set(task, Doing::InFlight(target_cpu)),
            Event::Wakeup { task, target_cpu, .. } | Event::WakeupNew { task, target_cpu, .. } => {
                let runs = self.task(task).doing == Doing::Running;
                self.set(task, if runs { Doing::Running } else { Doing::Waiting(target_cpu) });
            }
            Event::TaskThrottled { task, .. } => self.change(task, |state| state.throttled = true),
            Event::TaskUnthrottled { task, .. } => self.change(task, |state| state.throttled = false),
            Event::MigrateTask { task, dest_cpu, .. } => match self.task(task).doing {
                Doing::Waiting(_) => self.set(task, Doing::Waiting(dest_cpu)),
                Doing::InFlight(_) => self.set(task, Doing::InFlight(dest_cpu)),
                Doing::NotWaiting | Doing::Running => {}
            },
            _ => {}
        }
    }

    /// The waiting tasks that may run on `cpu`.
    pub(super) fn candidates(&self, cpu: CpuId) -> impl Iterator<Item = Doing> {
        let tasks = self.waiting.iter().map(|task| &self.tasks[task.index()]);
        tasks.filter(move |task| task.may_use(cpu)).map(|task| task.doing)
    }

    /// Whether a limit has stopped a task that may run on `cpu`.
    pub(super) fn has_stopped(&self, cpu: CpuId) -> bool {
        self.stopped.iter().any(|task| self.tasks[task.index()].may_use(cpu))
    }

    /// Whether a task that may run on `cpu` waits on the queue of a CPU for which `place` holds.
    pub(super) fn waits_where(&self, cpu: CpuId, place: impl Fn(CpuId) -> bool) -> bool {
        self.candidates(cpu).any(|doing| matches!(doing, Doing::Waiting(at) if place(at)))
    }

    /// How many idle CPUs could be filled with waiting tasks: pinned ones first, those with the fewest choices before
    /// others.
    pub(super) fn fillable(&self) -> u64 {
        let mut idle: Vec<bool> = self.idle.clone();
        let mut left = idle.iter().filter(|idle| **idle).count() as u64;
        let mut pinned: Vec<(u32, TaskId)> = Vec::new();
        let mut free = 0;
        for &task in &self.waiting {
            match &self.tasks[task.index()].pinned {
                Some(allowed) => pinned.push((allowed.weight(), task)),
                None => free += 1,
            }
        }
        pinned.sort_unstable();
        let mut filled = 0;
        for (_, task) in pinned {
            let allowed = self.tasks[task.index()].pinned.as_ref().expect("only pinned tasks are listed");
            if let Some(cpu) = allowed.iter().find(|cpu| idle[cpu.index()]) {
                idle[cpu.index()] = false;
                filled += 1;
                left -= 1;
            }
        }
        filled + free.min(left)
    }
}
