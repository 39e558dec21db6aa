//! The event loop: virtual time, ticks, interrupts, and carrying out what the scheduler asks for.
//!
//! One step takes the earliest event, hands it to the scheduler as an [`Input`], and arms timers for the [`Action`]s
//! that come back. What is local happens at the same instant, in the order softirq, idle entry, reschedule, program
//! (see [`Kind`]); what crosses CPUs takes the delays of [`Delays`](crate::params::Delays).
//!
//! Ticks lie on one grid for all CPUs (unless skewed), every 4 ms at 250 Hz. A busy CPU always ticks. A CPU that leaves
//! idle with its tick stopped gets its next tick at the next point of the grid. An interrupt that finds a reschedule
//! pending serves it on its way out, even if the interrupt sent for it is still under way.
use crate::error::{Blame, SimError};
use crate::launch::{LAUNCHER, instance_name, launchers};
use crate::metrics::{Leaves, Meters, RunResult, Tally, TaskResult, conservation};
use crate::objects::Objects;
use crate::params::{SimParams, StopTick};
use crate::program::{Change, Program, Programs, resolve};
use crate::timers::{Kind, Timer, Timers};
use crate::turns::{Execution, Turn};
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Action, FairPolicy, Input, IpiKind, WakeContext};
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::rng::Rng;
use evenkeel::sched::{Params, Sched};
use evenkeel::task::TaskParams;
use evenkeel::time::Ns;
use evenkeel::topology::Machine;
use evenkeel::workload::{Change as TimelineChange, SpecId, Workload};
use std::sync::Arc;

/// The scheduler inside a simulation: it tells the migration counter and the user's observer.
pub type Core<O> = Sched<(Tally, O)>;

/// What a task's program is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Ready for its next step.
    Next,
    /// Executing; this much is left.
    Running(Ns),
    /// Doing work that progresses only while its CPU has its turn; this much is left.
    Working(Ns),
    /// Busy until a point in time.
    Spinning(Ns),
    /// Waiting to be woken; the step after next follows.
    Blocked,
    /// Ended.
    Dead,
}

/// A task as its host sees it.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// Its definition; launchers come after the definitions of the workload.
    pub(crate) spec: u32,
    /// Which instance of it.
    pub(crate) number: u32,
    /// Next step.
    pub(crate) pc: u32,
    /// Repetitions so far of the phase and of the program.
    pub(crate) rounds: [u32; 2],
    pub(crate) doing: Doing,
    /// When it starts, and to what its timers refer.
    pub(crate) start: Ns,
    /// Next expiries of its own timers.
    pub(crate) timers: Box<[Option<Ns>]>,
    /// On which CPU its pending timer was armed.
    pub(crate) timer_cpu: CpuId,
    /// Steps executed at the instant `stepped_at`.
    pub(crate) steps: u32,
    pub(crate) stepped_at: Ns,
    pub(crate) policy: FairPolicy,
    pub(crate) nice: i32,
    pub(crate) slice: Ns,
    pub(crate) allowed: Arc<CpuMask>,
    /// The work of its next step is done.
    pub(crate) work_done: bool,
    group: TgId,
}

/// A CPU as its host sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) running: Option<TaskId>,
    /// Since when the running task's program goes on.
    burst_since: Ns,
    /// A tick has passed since it became idle.
    idle_ticked: bool,
}

/// A run: a machine, a kernel and a workload in virtual time.
#[derive(Clone, Debug)]
pub struct Simulation<O: Observer> {
    pub(crate) sched: Core<O>,
    pub(crate) timers: Timers,
    pub(crate) now: Ns,
    pub(crate) params: SimParams,
    pub(crate) workload: Workload,
    pub(crate) programs: Programs,
    pub(crate) instances: Vec<Instance>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) objects: Objects,
    pub(crate) meters: Meters,
    /// Whose turn it is, if CPUs execute in turn.
    pub(crate) turn: Option<Turn>,
    /// All CPUs; and where tasks may run that were told nothing (all but isolated ones).
    all: Arc<CpuMask>,
    unbound: Arc<CpuMask>,
    /// Instances created so far, by definition.
    numbers: Vec<u32>,
    /// Tasks of the workload that have not ended.
    pub(crate) alive: usize,
    /// Launchers that have not forked all of theirs.
    pub(crate) launching: usize,
    /// Changes from outside: time, definition, change.
    timeline: Vec<(Ns, SpecId, Change)>,
    timeline_at: usize,
    pub(crate) jitter: Rng,
    tick: Ns,
    capacity: u64,
    events: u64,
}

impl<O: Observer> Simulation<O> {
    /// A run of `workload` on `machine` under `kernel`, at time 0, with nothing started yet.
    pub fn new(
        machine: &Machine,
        kernel: &Kernel,
        workload: &Workload,
        params: SimParams,
        observer: O,
    ) -> Result<Self, SimError> {
        let ncpus = machine.nr_cpus();
        let mut programs = Programs::compile(workload, machine)?;
        let timeline = compile_timeline(workload, machine)?;
        if workload.tasks.iter().all(|spec| spec.instances == 0) {
            return Err(SimError::NothingToRun);
        }
        let core = Params { seed: params.seed, cost: params.cost, fresh_boot: params.fresh_boot };
        let sched = Sched::new(machine, kernel, core, (Tally::default(), observer))?;
        let mut unbound = CpuMask::all(ncpus);
        unbound.and_not_assign(&machine.isolated);
        let launchers = launchers(workload, params.fork_cost);
        let cpu = Cpu { running: None, burst_since: 0, idle_ticked: false };
        let mut sim = Self {
            timers: Timers::new(ncpus, launchers.len()),
            now: 0,
            params,
            objects: Objects::new(&workload.objects),
            workload: workload.clone(),
            instances: Vec::new(),
            cpus: vec![cpu; ncpus],
            meters: Meters::new(ncpus),
            turn: match params.execution {
                Execution::Parallel => None,
                Execution::InTurn(turns) => Some(Turn::new(turns)),
            },
            all: Arc::new(CpuMask::all(ncpus)),
            unbound: Arc::new(unbound),
            numbers: vec![0; workload.tasks.len() + launchers.len()],
            alive: 0,
            launching: launchers.len(),
            timeline,
            timeline_at: 0,
            jitter: Rng::new(params.seed, 2),
            tick: sched.tick_ns(),
            capacity: u64::from(machine.cpus[0].capacity),
            events: 0,
            programs: Programs::default(),
            sched,
        };
        for launcher in &launchers {
            let allowed = Some(Arc::new(CpuMask::from_cpus(ncpus, [launcher.cpu])));
            programs.programs.push(launcher.program.clone());
            programs.initial.push(Change { allowed, ..Change::default() });
        }
        sim.programs = programs;
        sim.boot(launchers.iter().map(|launcher| launcher.cpu));
        Ok(sim)
    }

    /// Starts ticks, checker and timeline, and lets each launcher's CPU fork its launcher.
    fn boot(&mut self, launcher_cpus: impl Iterator<Item = CpuId>) {
        self.timers.arm(Timer::Checker, conservation::CHECK_EVERY);
        if let Some(&(at, ..)) = self.timeline.first() {
            self.timers.arm(Timer::Timeline, at);
        }
        if self.params.stop_tick == StopTick::Never {
            for cpu in (0..self.cpus.len() as u32).map(CpuId) {
                self.start_tick(cpu);
            }
        }
        for (index, cpu) in launcher_cpus.enumerate() {
            self.create(cpu, None, (self.workload.tasks.len() + index) as u32);
        }
    }

    /// Processes the next event; false if there is none or the workload is done.
    pub fn step(&mut self) -> Result<bool, SimError> {
        let next = match self.turn {
            None => self.timers.next(),
            Some(_) => self.next_in_turn(Ns::MAX - 1),
        };
        match next.filter(|_| !self.finished()) {
            Some((time, timer)) => self.process(time, timer).map(|()| true),
            None => Ok(false),
        }
    }

    /// Processes all events up to and including time `until`, or to the end of the workload.
    pub fn run_until(&mut self, until: Ns) -> Result<(), SimError> {
        if self.turn.is_some() {
            return self.run_in_turn(until);
        }
        while !self.finished() {
            match self.timers.next().filter(|&(time, _)| time <= until) {
                Some((time, timer)) => self.process(time, timer)?,
                None => {
                    self.now = self.now.max(until);
                    break;
                }
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn process(&mut self, time: Ns, timer: Timer) -> Result<(), SimError> {
        debug_assert!(time >= self.now);
        self.now = time;
        self.events += 1;
        match self.turn {
            None => self.timers.begin(time),
            Some(_) => self.timers.begin_late(time),
        }
        // Ticks and programs set their timer anew, whatever happens.
        if !matches!(timer, Timer::Cpu(Kind::Tick | Kind::Burst, _)) {
            self.timers.cancel(timer);
        }
        match timer {
            Timer::Cpu(kind, cpu) => self.cpu_event(kind, cpu)?,
            Timer::Task(task) => self.expire(task),
            Timer::Timeline => self.change_from_outside(),
            Timer::Checker => self.check_conservation(),
        }
        Ok(())
    }

    /// Runs for `duration` more.
    pub fn run_for(&mut self, duration: Ns) -> Result<(), SimError> {
        self.run_until(self.now + duration)
    }

    /// Runs as long as the workload says it lasts, or else until it is done, but at most to time `limit`.
    pub fn run(&mut self, limit: Ns) -> Result<(), SimError> {
        self.run_until(self.workload.duration.unwrap_or(limit).min(limit))
    }

    /// Virtual time, ns since the start.
    pub fn now(&self) -> Ns {
        self.now
    }

    /// Whether every task of the workload has ended.
    pub fn finished(&self) -> bool {
        self.alive == 0 && self.launching == 0
    }

    /// Events processed.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The scheduler.
    pub fn sched(&self) -> &Core<O> {
        &self.sched
    }

    /// The user's observer.
    pub fn observer(&self) -> &O {
        &self.sched.observer().1
    }

    /// The user's observer, to be read out or reset between steps.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.sched.observer_mut().1
    }

    /// The name of a task.
    pub fn task_name(&self, task: TaskId) -> String {
        let instance = &self.instances[task.index()];
        match self.workload.tasks.get(instance.spec as usize) {
            Some(spec) => instance_name(spec, instance.number),
            None => LAUNCHER.to_owned(),
        }
    }

    /// Whether a task is one of those that only start others.
    pub fn is_launcher(&self, task: TaskId) -> bool {
        self.instances[task.index()].spec as usize >= self.workload.tasks.len()
    }

    /// What was measured so far.
    pub fn result(&self) -> RunResult {
        let (times, cpus, conservation) = self.meters.read(self.now);
        let tally = &self.sched.observer().0;
        let task = |(index, times)| {
            let id = TaskId::from_index(index);
            let launcher = self.is_launcher(id);
            TaskResult {
                id,
                name: self.task_name(id),
                spec: (!launcher).then_some(SpecId(self.instances[index].spec)),
                launcher,
                cpu: self.sched.tasks()[id].cpu,
                times,
                migrations: tally.of(id),
            }
        };
        let tasks = times.into_iter().enumerate().map(task).collect();
        RunResult { elapsed: self.now, events: self.events, tasks, cpus, conservation }
    }

    /// Ends the run: the observer, and what was measured.
    pub fn into_parts(self) -> (O, RunResult) {
        let result = self.result();
        (self.sched.into_observer().1, result)
    }

    fn cpu_event(&mut self, kind: Kind, cpu: CpuId) -> Result<(), SimError> {
        match kind {
            Kind::Burst => return self.run_program(cpu),
            Kind::Softirq => {
                self.owe(|costs| costs.softirq);
                self.input(Input::Softirq { cpu });
            }
            Kind::Resched => self.input(Input::Schedule { cpu }),
            Kind::Stopper => self.input(Input::StopperRun { cpu }),
            Kind::IdleEnter => self.enter_idle(cpu),
            Kind::WakeList => self.interrupt(cpu, Input::Ipi { cpu, kind: IpiKind::WakeList }),
            Kind::NohzKick => self.interrupt(cpu, Input::Ipi { cpu, kind: IpiKind::NohzKick }),
            Kind::Tick => self.tick(cpu),
        }
        Ok(())
    }

    /// Hands an input to the scheduler and carries out what it asks for.
    #[inline]
    pub(crate) fn input(&mut self, input: Input) {
        self.sched.handle(self.now, input);
        while let Some(action) = self.sched.poll() {
            self.apply(action);
        }
    }

    /// An interrupt on `cpu`: on its way out it serves a pending reschedule, after the softirq.
    fn interrupt(&mut self, cpu: CpuId, input: Input) {
        self.owe(|costs| if matches!(input, Input::Tick { .. }) { costs.tick } else { costs.interrupt });
        self.input(input);
        let resched = Timer::Cpu(Kind::Resched, cpu);
        if self.timers.armed(resched).is_some_and(|time| time > self.now) {
            self.timers.arm(resched, self.after_softirq(cpu, self.now));
        }
    }

    fn tick(&mut self, cpu: CpuId) {
        self.timers.arm(Timer::Cpu(Kind::Tick, cpu), self.next_tick(cpu));
        self.meters.tick(cpu);
        self.interrupt(cpu, Input::Tick { cpu });
        self.watch(cpu);
        let state = &mut self.cpus[cpu.index()];
        if state.running.is_none() && self.params.stop_tick == StopTick::AfterIdleTick {
            state.idle_ticked = true;
            self.timers.arm_by(Timer::Cpu(Kind::IdleEnter, cpu), self.now);
        }
    }

    fn enter_idle(&mut self, cpu: CpuId) {
        let stop_tick = match self.params.stop_tick {
            StopTick::AtOnce => true,
            StopTick::AfterIdleTick => self.cpus[cpu.index()].idle_ticked,
            StopTick::Never => false,
        };
        if stop_tick {
            self.timers.cancel(Timer::Cpu(Kind::Tick, cpu));
        }
        self.input(Input::IdleEnter { cpu, stop_tick });
    }

    /// Makes `cpu` tick from the next point of its grid on, unless it ticks already.
    fn start_tick(&mut self, cpu: CpuId) {
        let timer = Timer::Cpu(Kind::Tick, cpu);
        if self.timers.armed(timer).is_none() {
            self.timers.arm(timer, self.next_tick(cpu));
        }
    }

    /// The next point of the grid of `cpu`, however late a tick is handled.
    fn next_tick(&self, cpu: CpuId) -> Ns {
        let skew = if self.params.skew_tick { self.tick / 2 / self.cpus.len() as u64 } else { 0 };
        let offset = skew * u64::from(cpu.0);
        let passed = (self.now + self.tick - offset) / self.tick;
        passed * self.tick + offset
    }

    /// Carries out an action.
    fn apply(&mut self, action: Action) {
        let delays = self.params.delays;
        match action {
            Action::Resched { from, cpu } => {
                let delay = if from == cpu { 0 } else { delays.resched_ipi };
                let at = self.after_softirq(cpu, self.now + delay);
                self.timers.arm_by(Timer::Cpu(Kind::Resched, cpu), at);
            }
            Action::Ipi { to, kind, .. } => {
                let kind = match kind {
                    IpiKind::NohzKick => Kind::NohzKick,
                    IpiKind::WakeList => Kind::WakeList,
                };
                self.timers.arm_by(Timer::Cpu(kind, to), self.now + delays.call_ipi);
            }
            Action::RaiseSoftirq { cpu } => {
                let at = self.now + delays.softirq;
                self.timers.arm_by(Timer::Cpu(Kind::Softirq, cpu), at);
                let resched = Timer::Cpu(Kind::Resched, cpu);
                if self.timers.armed(resched).is_some_and(|time| time < at) {
                    self.timers.arm(resched, at);
                }
            }
            Action::StopCpu { cpu, .. } => {
                self.timers.arm_by(Timer::Cpu(Kind::Stopper, cpu), self.now + delays.stopper);
            }
            Action::Switched { cpu, prev, next } => self.switched(cpu, prev, next),
        }
    }

    /// When a reschedule of `cpu` wanted at `time` can happen: a softirq that is pending comes first.
    fn after_softirq(&self, cpu: CpuId, time: Ns) -> Ns {
        self.timers.armed(Timer::Cpu(Kind::Softirq, cpu)).map_or(time, |softirq| time.max(softirq))
    }

    /// `cpu` has switched: one program stops, another goes on.
    fn switched(&mut self, cpu: CpuId, prev: Option<TaskId>, next: Option<TaskId>) {
        let state = &mut self.cpus[cpu.index()];
        debug_assert_eq!(state.running, prev, "the scheduler and its host agree on who runs on {cpu:?}");
        let elapsed = self.now.saturating_sub(state.burst_since);
        state.running = next;
        state.burst_since = self.now + self.params.switch_cost;
        state.idle_ticked = false;
        let leaves = prev.map(|task| {
            let doing = &mut self.instances[task.index()].doing;
            let leaves = match doing {
                Doing::Dead => Leaves::Ended,
                Doing::Blocked => Leaves::Sleeping,
                Doing::Next | Doing::Spinning(_) => Leaves::Runnable,
                Doing::Working(left) => {
                    let end = self.timers.armed(Timer::Cpu(Kind::Burst, cpu));
                    *left = end.map_or(*left, |end| end.saturating_sub(self.now));
                    Leaves::Runnable
                }
                Doing::Running(left) => {
                    *left = left.saturating_sub(elapsed);
                    Leaves::Runnable
                }
            };
            (task, leaves)
        });
        self.meters.switched(self.now, cpu, leaves, next);
        self.owe(|costs| costs.switch);
        self.watch(cpu);
        let idle_enter = Timer::Cpu(Kind::IdleEnter, cpu);
        if next.is_some() {
            self.timers.cancel(idle_enter);
            self.start_tick(cpu);
            self.arm_burst(cpu);
        } else {
            self.timers.cancel(Timer::Cpu(Kind::Burst, cpu));
            self.timers.arm(idle_enter, self.now + self.params.delays.idle_entry);
        }
    }

    /// Arms the end of what the task running on `cpu` has to execute now.
    pub(crate) fn arm_burst(&mut self, cpu: CpuId) {
        let state = &self.cpus[cpu.index()];
        let Some(task) = state.running else { return };
        let end = match self.instances[task.index()].doing {
            Doing::Running(left) => state.burst_since + left,
            Doing::Working(left) => state.burst_since.max(self.now) + left,
            Doing::Spinning(until) => until.max(state.burst_since),
            Doing::Next | Doing::Blocked | Doing::Dead => state.burst_since.max(self.now),
        };
        self.timers.arm(Timer::Cpu(Kind::Burst, cpu), end);
    }

    /// The task running on `cpu` has this much work to execute from now on.
    pub(crate) fn execute(&mut self, cpu: CpuId, task: TaskId, work: Ns) {
        let wall = (u128::from(work) * 1024).div_ceil(u128::from(self.capacity));
        self.instances[task.index()].doing = Doing::Running(u64::try_from(wall).unwrap_or(Ns::MAX / 2));
        self.cpus[cpu.index()].burst_since = self.now;
        self.arm_burst(cpu);
    }

    /// Creates a task of definition `spec` from code on `cpu`. What the definition leaves open it has from its parent,
    /// if that is a task of the workload.
    pub(crate) fn create(&mut self, cpu: CpuId, parent: Option<TaskId>, spec: u32) {
        let initial = self.programs.initial[spec as usize].clone();
        let parent = parent.filter(|&parent| !self.is_launcher(parent)).map(|parent| &self.instances[parent.index()]);
        let policy = initial.policy.or(parent.map(|parent| parent.policy)).unwrap_or_default();
        let nice = initial.nice.or(parent.map(|parent| parent.nice)).unwrap_or(0);
        let slice = initial.slice.or(parent.map(|parent| parent.slice)).unwrap_or(0);
        let allowed = initial.allowed.or(parent.map(|parent| parent.allowed.clone()));
        let allowed = allowed.unwrap_or_else(|| self.unbound.clone());
        let inherited = parent.map_or(TgId(0), |parent| parent.group);
        let group = initial.group.map_or(inherited, |path| self.group(&path));
        let params = TaskParams { policy, nice, slice, allowed: (*allowed).clone(), group };
        let number = self.numbers[spec as usize];
        self.numbers[spec as usize] += 1;
        let start = self.now.max(self.delay(spec, number));
        let timers = vec![None; self.programs.programs[spec as usize].private_timers].into();
        self.meters.forked(self.now, self.pinned(&allowed));
        self.alive += usize::from((spec as usize) < self.workload.tasks.len());
        let child = self.sched.new_task(&params);
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
        self.input(Input::Fork { cpu, child });
    }

    /// When instance `number` of a definition may begin.
    fn delay(&mut self, spec: u32, number: u32) -> Ns {
        let Some(spec) = self.workload.tasks.get(spec as usize) else { return 0 };
        let jitter = match self.params.start_jitter {
            0 => 0,
            most => self.jitter.next_u64() % (most + 1),
        };
        spec.delay.saturating_add(spec.stagger.saturating_mul(u64::from(number))).saturating_add(jitter)
    }

    /// The task group of this path, created with default shares if it is new.
    fn group(&mut self, path: &[String]) -> TgId {
        path.iter().fold(TgId(0), |parent, name| {
            let known = self.sched.groups().iter().position(|group| group.parent == Some(parent) && group.name == *name);
            known.map_or_else(|| self.sched.new_group(parent, name, DEFAULT_SHARES, false), TgId::from_index)
        })
    }

    /// An affinity as the meters want it: none if it leaves all CPUs open.
    fn pinned(&self, allowed: &Arc<CpuMask>) -> Option<Arc<CpuMask>> {
        (**allowed != *self.all).then(|| allowed.clone())
    }

    /// A task's timer expires: an interrupt on the CPU where it was armed.
    fn expire(&mut self, task: TaskId) {
        let cpu = self.instances[task.index()].timer_cpu;
        let input = self.wake(cpu, task, WakeContext { interrupt: true, sync: false });
        self.interrupt(cpu, input);
    }

    /// The input that wakes `task`, which is noted as runnable from now on.
    pub(crate) fn wake(&mut self, cpu: CpuId, task: TaskId, context: WakeContext) -> Input {
        let instance = &mut self.instances[task.index()];
        debug_assert_eq!(instance.doing, Doing::Blocked);
        instance.doing = Doing::Next;
        self.meters.woken(self.now, task);
        self.owe(|costs| costs.wake);
        Input::Wake { cpu, task, context }
    }

    /// Code on `cpu` changes attributes of `task`; what stays the same is not touched.
    pub(crate) fn change(&mut self, cpu: CpuId, task: TaskId, change: &Change) {
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
        if let Some(allowed) = change.allowed.as_ref().filter(|&allowed| *allowed != instance.allowed) {
            instance.allowed = allowed.clone();
            self.meters.repinned(self.now, task, self.pinned(allowed));
            self.input(Input::SetAffinity { cpu, task, allowed: (**allowed).clone() });
        }
    }

    /// Changes from outside, made from an interrupt on CPU 0.
    fn change_from_outside(&mut self) {
        while let Some((at, SpecId(spec), change)) = self.timeline.get(self.timeline_at).cloned() {
            if at > self.now {
                self.timers.arm(Timer::Timeline, at);
                break;
            }
            self.timeline_at += 1;
            for index in 0..self.instances.len() {
                let instance = &self.instances[index];
                if instance.spec == spec && instance.doing != Doing::Dead {
                    self.change(CpuId(0), TaskId::from_index(index), &change);
                }
            }
        }
    }

    /// The checker looks at who waits where.
    fn check_conservation(&mut self) {
        let idle = self.meters.integral.idle().clone();
        let mut waiting: Vec<Vec<(TaskId, &CpuMask)>> = vec![Vec::new(); self.cpus.len()];
        for (task, state) in self.sched.tasks().iter() {
            let instance = &self.instances[task.index()];
            let waits = !matches!(instance.doing, Doing::Blocked | Doing::Dead);
            if waits && self.cpus[state.cpu.index()].running != Some(task) {
                waiting[state.cpu.index()].push((task, &instance.allowed));
            }
        }
        let next = self.meters.checker.look(self.now, &idle, |cpu| waiting[cpu.index()].iter().copied());
        self.timers.arm(Timer::Checker, next);
    }

    /// Tells the checker, if it watches, how many tasks `cpu` has now.
    #[inline]
    fn watch(&mut self, cpu: CpuId) {
        if self.meters.checker.watching() {
            let runnable = self.sched.queues()[cpu.index()].h_nr_runnable();
            self.meters.checker.seen(cpu, self.cpus[cpu.index()].running.is_none(), runnable);
        }
    }

    /// For error messages about `spec`.
    pub(crate) fn blame(&self, spec: u32) -> Blame<'_> {
        let task = self.workload.tasks.get(spec as usize).map_or(LAUNCHER, |spec| &spec.name);
        Blame { workload: &self.workload, task }
    }

    /// The program of a task.
    #[inline]
    pub(crate) fn program(&self, task: TaskId) -> &Program {
        &self.programs.programs[self.instances[task.index()].spec as usize]
    }
}

/// Resolves the changes from outside.
fn compile_timeline(workload: &Workload, machine: &Machine) -> Result<Vec<(Ns, SpecId, Change)>, SimError> {
    let mut all = Vec::new();
    for entry in &workload.timeline {
        let TimelineChange::SetAttributes { task, attributes } = &entry.change;
        let Some(spec) = workload.tasks.get(task.0 as usize) else {
            let blame = Blame { workload, task: "(timeline)" };
            return Err(blame.invalid(entry.origin, "it changes a task that is not defined"));
        };
        all.push((entry.at, *task, resolve(workload, machine, spec, attributes, entry.origin)?));
    }
    all.sort_by_key(|&(at, ..)| at);
    Ok(all)
}
