//! What a run measured: per task and per CPU, and how well work was conserved.
//!
//! Kept by the simulator itself from what it executes (switches, wake-ups, exits), whatever observer is attached. Two
//! sums are asserted: a task's running, waiting and sleeping times add up to its life, and the running times of all
//! tasks plus the idle times of all CPUs add up to elapsed time times CPUs.
pub mod conservation;
mod groups;
pub mod histogram;
mod tally;

use conservation::{Checker, Integral, Violation};
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::mask::CpuMask;
use evenkeel::time::Ns;
use evenkeel::workload::SpecId;
use groups::ShareMeter;
pub use groups::{GroupResult, GroupTimes, LimitUse};
use histogram::Histogram;
use std::sync::Arc;
pub use tally::{Migrations, Tally};

/// What a task did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskTimes {
    /// When it was forked.
    pub created: Ns,
    /// When it ended; none: it lives.
    pub ended: Option<Ns>,
    /// Time on a CPU.
    pub run: Ns,
    /// Time runnable without a CPU, from the wake-up on.
    pub wait: Ns,
    /// The part of that in which a limit of CPU time had stopped it.
    pub throttled: Ns,
    /// Time asleep.
    pub sleep: Ns,
    /// Times it left its CPU to sleep or to end.
    pub voluntary_switches: u64,
    /// Times it left its CPU although it could have gone on, yields included.
    pub involuntary_switches: u64,
    /// Times it became runnable: the fork and every wake-up.
    pub activations: u64,
    /// Repetitions of phases completed.
    pub loops: u64,
    /// Uses of periodic timers.
    pub timer_uses: u64,
    /// Uses for which the expiry had passed already.
    pub timer_misses: u64,
    /// Least time left until an expiry; negative: by how much the worst one was missed. None: no timer was used.
    pub timer_slack_min: Option<i64>,
    /// Times from wake-up (or fork) to running.
    pub wake_latency: Histogram,
}

/// What a CPU did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Time a task ran.
    pub busy: Ns,
    /// Time no task ran although it was online.
    pub idle: Ns,
    /// Time it was offline.
    pub offline: Ns,
    /// Time the handlers of devices took, part of the others.
    pub stolen: Ns,
    /// Idle periods that have begun, the one at the start included.
    pub idle_periods: u64,
    /// Switches to a task or to idle.
    pub switches: u64,
    /// Ticks.
    pub ticks: u64,
}

/// A task of a run, with its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// Its number.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Its definition; none for a task that is not part of the workload.
    pub spec: Option<SpecId>,
    /// Not part of the workload: one of the tasks named `init` that fork the others, or a background thread.
    pub launcher: bool,
    /// Its CPU at the end.
    pub cpu: CpuId,
    /// What it did.
    pub times: TaskTimes,
    /// Its changes of CPU by reason.
    pub migrations: Migrations,
}

/// How well work was conserved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conservation {
    /// CPU time that was idle while a task that could have used it waited elsewhere.
    pub wasted: Ns,
    /// Time during which there was any.
    pub violated: Ns,
    /// Looks of the "wasted cores" checker.
    pub looks: u64,
    /// What it reported.
    pub violations: Vec<Violation>,
}

/// The results of a run so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// Simulated time.
    pub elapsed: Ns,
    /// Events that the simulator processed.
    pub events: u64,
    /// Tasks by number, launchers included.
    pub tasks: Vec<TaskResult>,
    /// CPUs by number.
    pub cpus: Vec<CpuTimes>,
    /// Task groups by number, the root group first.
    pub groups: Vec<GroupResult>,
    /// Work conservation.
    pub conservation: Conservation,
}

/// What a task is doing, as far as times are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Running,
    Waiting,
    Sleeping,
    Ended,
}

#[derive(Clone, Debug)]
struct TaskMeter {
    times: TaskTimes,
    mode: Mode,
    since: Ns,
    /// When it was woken, until it runs.
    woken: Option<Ns>,
    /// Where it may run, unless that is everywhere.
    pinned: Option<Arc<CpuMask>>,
    /// A limit of CPU time has stopped it: while it waits no idle CPU could help.
    throttled: bool,
    /// The group it is in.
    group: TgId,
    /// What it did before it came to that group.
    before: GroupTimes,
}

impl TaskMeter {
    /// What it did in its present group.
    fn in_group(&self) -> GroupTimes {
        GroupTimes { run: self.times.run - self.before.run, wait: self.times.wait - self.before.wait }
    }

    /// Whether it waits for a CPU that it could use.
    fn could_run(&self) -> bool {
        self.mode == Mode::Waiting && !self.throttled
    }

    /// Charges the time since the last change.
    fn settle(&mut self, now: Ns) {
        let span = now - self.since;
        self.since = now;
        match self.mode {
            Mode::Running => self.times.run += span,
            Mode::Waiting => {
                self.times.wait += span;
                self.times.throttled += if self.throttled { span } else { 0 };
            }
            Mode::Sleeping => self.times.sleep += span,
            Mode::Ended => {}
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct CpuMeter {
    times: CpuTimes,
    online: bool,
    busy: bool,
    since: Ns,
}

impl CpuMeter {
    fn settle(&mut self, now: Ns) {
        let span = now - self.since;
        self.since = now;
        match (self.busy, self.online) {
            (true, _) => self.times.busy += span,
            (false, true) => self.times.idle += span,
            (false, false) => self.times.offline += span,
        }
    }
}

/// In what state a task leaves its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It could go on.
    Runnable,
    /// It sleeps.
    Sleeping,
    /// It has ended.
    Ended,
}

/// What the meters say.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    pub(crate) tasks: Vec<TaskTimes>,
    pub(crate) cpus: Vec<CpuTimes>,
    /// By group: times, without those of groups below, and full-resolution shares on average.
    pub(crate) groups: Vec<(GroupTimes, u64)>,
    pub(crate) conservation: Conservation,
}

/// The meters of a run.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    tasks: Vec<TaskMeter>,
    cpus: Vec<CpuMeter>,
    /// What tasks did in groups that they have left.
    groups: Vec<GroupTimes>,
    pub(crate) shares: Vec<ShareMeter>,
    pub(crate) integral: Integral,
    pub(crate) checker: Checker,
}

impl Meters {
    /// All CPUs idle, no task.
    pub(crate) fn new(ncpus: usize, shares: impl ExactSizeIterator<Item = u64>) -> Self {
        let times = CpuTimes { idle_periods: 1, ..CpuTimes::default() };
        Self {
            tasks: Vec::new(),
            cpus: vec![CpuMeter { times, online: true, busy: false, since: 0 }; ncpus],
            groups: vec![GroupTimes::default(); shares.len()],
            shares: shares.map(ShareMeter::new).collect(),
            integral: Integral::new(ncpus),
            checker: Checker::new(ncpus),
        }
    }

    /// A task is forked; it waits.
    pub(crate) fn forked(&mut self, now: Ns, pinned: Option<Arc<CpuMask>>, group: TgId) {
        self.integral.advance(now);
        self.integral.wait(pinned.as_ref());
        let times = TaskTimes { created: now, activations: 1, ..TaskTimes::default() };
        let before = GroupTimes::default();
        let woken = Some(now);
        self.tasks.push(TaskMeter {
            times,
            mode: Mode::Waiting,
            since: now,
            woken,
            pinned,
            throttled: false,
            group,
            before,
        });
    }

    /// A sleeping task is woken; it waits.
    #[inline]
    pub(crate) fn woken(&mut self, now: Ns, task: TaskId) {
        self.integral.advance(now);
        let meter = &mut self.tasks[task.index()];
        debug_assert_eq!(meter.mode, Mode::Sleeping);
        meter.settle(now);
        meter.mode = Mode::Waiting;
        meter.woken = Some(now);
        meter.times.activations += 1;
        if meter.could_run() {
            self.integral.wait(meter.pinned.as_ref());
        }
    }

    /// A CPU switches.
    #[inline]
    pub(crate) fn switched(
        &mut self,
        now: Ns,
        cpu: CpuId,
        prev: Option<(TaskId, Leaves)>,
        next: Option<TaskId>,
    ) {
        self.integral.advance(now);
        if let Some((task, leaves)) = prev {
            self.leaves(now, task, leaves);
        }
        if let Some(task) = next {
            let meter = &mut self.tasks[task.index()];
            assert_eq!(
                meter.mode,
                Mode::Waiting,
                "{task:?} runs on {cpu:?} although it does not wait for a CPU"
            );
            meter.settle(now);
            if meter.could_run() {
                self.integral.wait_ends(meter.pinned.as_ref());
            }
            meter.mode = Mode::Running;
            if let Some(woken) = meter.woken.take() {
                meter.times.wake_latency.record(now - woken);
            }
        }
        let meter = &mut self.cpus[cpu.index()];
        meter.times.switches += 1;
        if meter.busy != next.is_some() {
            meter.settle(now);
            meter.busy = next.is_some();
            meter.times.idle_periods += u64::from(!meter.busy);
            self.integral.set_idle(cpu, !meter.busy);
        }
    }

    #[inline]
    fn leaves(&mut self, now: Ns, task: TaskId, leaves: Leaves) {
        let meter = &mut self.tasks[task.index()];
        assert_eq!(meter.mode, Mode::Running, "{task:?} leaves a CPU although it does not run");
        meter.settle(now);
        match leaves {
            Leaves::Runnable => {
                meter.times.involuntary_switches += 1;
                meter.mode = Mode::Waiting;
                if meter.could_run() {
                    self.integral.wait(meter.pinned.as_ref());
                }
            }
            Leaves::Sleeping => {
                meter.times.voluntary_switches += 1;
                meter.mode = Mode::Sleeping;
            }
            Leaves::Ended => {
                meter.times.voluntary_switches += 1;
                meter.times.ended = Some(now);
                meter.mode = Mode::Ended;
            }
        }
    }

    /// A task's affinity has changed.
    pub(crate) fn repinned(&mut self, now: Ns, task: TaskId, pinned: Option<Arc<CpuMask>>) {
        self.integral.advance(now);
        let meter = &mut self.tasks[task.index()];
        if meter.could_run() {
            self.integral.wait_ends(meter.pinned.as_ref());
            self.integral.wait(pinned.as_ref());
        }
        meter.pinned = pinned;
    }

    /// A limit of CPU time stops a task, or lets it go on.
    pub(crate) fn set_throttled(&mut self, now: Ns, task: TaskId, throttled: bool) {
        self.integral.advance(now);
        let meter = &mut self.tasks[task.index()];
        meter.settle(now);
        let could_run = meter.could_run();
        meter.throttled = throttled;
        match (could_run, meter.could_run()) {
            (true, false) => self.integral.wait_ends(meter.pinned.as_ref()),
            (false, true) => self.integral.wait(meter.pinned.as_ref()),
            _ => {}
        }
    }

    /// A task comes to another group.
    pub(crate) fn regrouped(&mut self, now: Ns, task: TaskId, group: TgId) {
        let meter = &mut self.tasks[task.index()];
        meter.settle(now);
        self.groups[meter.group.index()].add(meter.in_group());
        meter.before = GroupTimes { run: meter.times.run, wait: meter.times.wait };
        meter.group = group;
    }

    /// Whether a task wanted CPU time in its present group.
    pub(crate) fn has_competed(&self, task: TaskId) -> bool {
        let meter = &self.tasks[task.index()];
        meter.in_group() != GroupTimes::default() || matches!(meter.mode, Mode::Running | Mode::Waiting)
    }

    /// A CPU that runs nothing goes online or offline.
    pub(crate) fn set_online(&mut self, now: Ns, cpu: CpuId, online: bool) {
        self.integral.advance(now);
        let meter = &mut self.cpus[cpu.index()];
        assert!(!meter.busy, "{cpu:?} runs a task while it comes or goes");
        if meter.online == online {
            return;
        }
        meter.settle(now);
        meter.online = online;
        meter.times.idle_periods += u64::from(online);
        self.integral.set_idle(cpu, online);
        self.checker.seen(cpu, online, 0);
    }

    /// The counters of a task that only the program changes.
    #[inline]
    pub(crate) fn task(&mut self, task: TaskId) -> &mut TaskTimes {
        &mut self.tasks[task.index()].times
    }

    /// The handler of a device takes this long.
    pub(crate) fn stolen(&mut self, cpu: CpuId, span: Ns) {
        self.cpus[cpu.index()].times.stolen += span;
    }

    /// A tick of `cpu`.
    #[inline]
    pub(crate) fn tick(&mut self, cpu: CpuId) {
        self.cpus[cpu.index()].times.ticks += 1;
    }

    /// Times of all tasks, CPUs and groups up to `now`; asserts that no time was lost.
    pub(crate) fn read(&self, now: Ns) -> Readings {
        let mut all = self.clone();
        all.integral.advance(now);
        let mut running = 0;
        for meter in &mut all.tasks {
            meter.settle(now);
            let TaskTimes { created, ended, run, wait, sleep, .. } = meter.times;
            assert_eq!(run + wait + sleep, ended.unwrap_or(now) - created, "a task's times make up its life");
            running += run;
            all.groups[meter.group.index()].add(meter.in_group());
        }
        let mut idle = 0;
        for meter in &mut all.cpus {
            meter.settle(now);
            idle += meter.times.idle + meter.times.offline;
        }
        assert_eq!(
            running + idle,
            now * all.cpus.len() as u64,
            "tasks' running time and CPUs' idle and offline time fill the run"
        );
        let (wasted, violated) = all.integral.totals();
        let conservation = Conservation {
            wasted,
            violated,
            looks: all.checker.looks(),
            violations: all.checker.found().to_vec(),
        };
        let tasks = all.tasks.into_iter().map(|meter| meter.times).collect();
        let cpus = all.cpus.into_iter().map(|meter| meter.times).collect();
        let shares = all.shares.into_iter().map(|shares| shares.average(now));
        Readings { tasks, cpus, groups: all.groups.into_iter().zip(shares).collect(), conservation }
    }
}
