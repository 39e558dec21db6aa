//! The event loop: virtual time, ticks, interrupts, and carrying out what the scheduler asks for.
//!
//! One step takes the earliest event, hands it to the scheduler as an [`Input`](evenkeel::io::Input), and arms timers for the [`Action`](evenkeel::io::Action)s
//! that come back. What is local happens at the same instant, in the order softirq, idle entry, reschedule, program
//! (see [`Kind`]); what crosses CPUs takes the delays of [`Delays`](crate::params::Delays).
//!
//! Ticks lie on one grid for all CPUs (unless skewed), every 4 ms at 250 Hz. A busy CPU always ticks. A CPU that leaves
//! idle with its tick stopped gets its next tick at the next point of the grid. An interrupt that finds a reschedule
//! pending serves it on its way out, even if the interrupt sent for it is still under way.
mod host;
mod interpret;
mod interrupts;
mod outside;
mod tasks;
mod turn;

use crate::error::{Blame, SimError};
use crate::groups::Groups;
use crate::launch::{LAUNCHER, instance_name, launcher_policy, launchers};
use crate::metrics::{GroupResult, GroupTimes, Meters, Readings, RunResult, Tally, TaskResult, conservation};
use crate::objects::Objects;
use crate::params::{SimParams, StopTick};
use crate::program::{Change, Program, Programs};
use crate::timers::{Kind, Timer, Timers};
use crate::turns::Execution;
use evenkeel::bandwidth::rules::Leftovers;
use evenkeel::ids::{CpuId, ProcessId, TaskId, TgId};
use evenkeel::io::Input;
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::rng::Rng;
use evenkeel::sched::{Params, Sched};
use evenkeel::time::Ns;
use evenkeel::topology::Machine;
use evenkeel::workload::{Policy, SpecId, Workload};
use outside::{Timed, compile_timeline};
use std::sync::Arc;
use turn::Turn;

/// The scheduler inside a simulation: it tells the migration counter and the user's observer.
pub type Core<O> = Sched<(Tally, O)>;

/// What a task's program is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
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
struct Instance {
    /// Its definition; launchers come after the definitions of the workload.
    spec: u32,
    /// Which instance of it.
    number: u32,
    /// Next step.
    pc: u32,
    /// Repetitions so far of the phase and of the program.
    rounds: [u32; 2],
    doing: Doing,
    /// When it starts, and to what its timers refer.
    start: Ns,
    /// Next expiries of its own timers.
    timers: Box<[Option<Ns>]>,
    /// On which CPU its pending timer was armed.
    timer_cpu: CpuId,
    /// Steps executed at the instant `stepped_at`.
    steps: u32,
    stepped_at: Ns,
    policy: Policy,
    nice: i32,
    slice: Ns,
    allowed: Arc<CpuMask>,
    /// Where work counts: that of its next step is done.
    work_done: bool,
    /// The group it was put in, before sessions are considered.
    group: TgId,
}

/// A CPU as its host sees it.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    running: Option<TaskId>,
    /// The handlers of devices have it until then.
    interrupted_until: Ns,
    /// Since when the running task's program goes on.
    burst_since: Ns,
    /// A tick has passed since it became idle.
    idle_ticked: bool,
}

/// A run: a machine, a kernel and a workload in virtual time.
#[derive(Clone, Debug)]
pub struct Simulation<O: Observer> {
    sched: Core<O>,
    timers: Timers,
    now: Ns,
    params: SimParams,
    /// The workload, followed by definitions of background threads.
    workload: Workload,
    /// How many of the definitions are the workload's own.
    own: usize,
    programs: Programs,
    instances: Vec<Instance>,
    /// Processes of several threads, by name.
    processes: Vec<(String, ProcessId)>,
    cpus: Vec<Cpu>,
    objects: Objects,
    meters: Meters,
    /// Whose turn it is, if CPUs execute in turn.
    turn: Option<Turn>,
    /// All CPUs; and where tasks may run that were told nothing (all but isolated ones).
    all: Arc<CpuMask>,
    unbound: Arc<CpuMask>,
    groups: Groups,
    /// On which CPU the timers of a group were armed.
    group_timer_cpus: Vec<[CpuId; 2]>,
    /// Instances created so far, by definition.
    numbers: Vec<u32>,
    /// Tasks of the workload that have not ended.
    alive: usize,
    /// Launchers that have not forked all of theirs.
    launching: usize,
    /// Changes from outside with their times.
    timeline: Vec<(Ns, Timed)>,
    timeline_at: usize,
    jitter: Rng,
    tick_jitter: Rng,
    /// How long the interrupt that is being handled still takes.
    interrupt_left: Ns,
    tick: Ns,
    /// Capacities of the CPUs, 1024 the biggest.
    capacities: Vec<u64>,
    events: u64,
}

/// Refuses deadline tasks that together ask for more than the part of all CPUs that is not kept for others, 95 % unless set
/// (`sched(7)`: admission control). Only those that start with the workload are counted, by their policies at the start.
fn admit(workload: &Workload, own: usize, kernel: &Kernel, ncpus: u64) -> Result<(), SimError> {
    let guard = &kernel.tunables.guard;
    let part = |runtime: Ns, period: Ns| (u128::from(runtime) << 20) / u128::from(period);
    let mut left = part(guard.rt_runtime_ns, guard.rt_period_ns) * u128::from(ncpus);
    if guard.rt_runtime_ns >= guard.rt_period_ns {
        return Ok(());
    }
    for spec in &workload.tasks[..own] {
        let Some(Policy::Deadline { runtime, period, .. }) = spec.attributes.policy else { continue };
        let wanted = part(runtime, period) * u128::from(spec.instances);
        let Some(rest) = left.checked_sub(wanted) else {
            let what =
                "the deadline tasks up to here ask for more than 95 % of all CPUs, and are not admitted";
            return Err(Blame { workload, task: &spec.name }.invalid(spec.origin, what));
        };
        left = rest;
    }
    Ok(())
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
        let groups = Groups::new(workload)?;
        interrupts::check(workload, ncpus, params.execution)?;
        let own = workload.tasks.len();
        let mut with_threads = workload.clone();
        if params.background {
            crate::background::add(&mut with_threads, ncpus as u32);
        }
        let workload = &with_threads;
        let mut programs = Programs::compile(workload, machine, &groups)?;
        if workload.tasks[..own].iter().all(|spec| spec.instances == 0) {
            return Err(SimError::NothingToRun);
        }
        if kernel.queues.bandwidth.leftovers == Leftovers::Expire {
            Groups::check_no_burst(workload, kernel.build)?;
        }
        groups.check_kernel(workload, kernel)?;
        admit(workload, own, kernel, ncpus as u64)?;
        let core = Params { seed: params.seed, cost: params.cost, fresh_boot: params.fresh_boot };
        let mut sched = Sched::new(machine, kernel, core, (Tally::default(), observer))?;
        for group in &groups.all[1..] {
            let parent = group.parent.expect("all but the root group have a parent");
            sched.new_group(parent, &group.path, group.shares, group.idle);
        }
        let mut unbound = CpuMask::all(ncpus);
        unbound.and_not_assign(&machine.isolated);
        let launchers = launchers(workload, params.fork_cost);
        for launcher in &launchers {
            let allowed = Some(Arc::new(CpuMask::from_cpus(ncpus, [launcher.cpu])));
            programs.programs.push(launcher.program.clone());
            let policy = launcher_policy(workload);
            programs.initial.push(Change { allowed, policy, ..Change::default() });
        }
        let in_turn = matches!(params.execution, Execution::InTurn(_));
        let timeline = compile_timeline(workload, machine, &groups, &sched, in_turn)?;
        let cpu = Cpu { running: None, interrupted_until: 0, burst_since: 0, idle_ticked: false };
        let mut sim = Self {
            timers: Timers::new(ncpus, groups.all.len(), workload.interrupts.len(), launchers.len()),
            group_timer_cpus: vec![[CpuId(0); 2]; groups.all.len()],
            now: 0,
            params,
            objects: Objects::new(&workload.objects),
            workload: workload.clone(),
            own,
            instances: Vec::new(),
            processes: Vec::new(),
            cpus: vec![cpu; ncpus],
            turn: match params.execution {
                Execution::Parallel => None,
                Execution::InTurn(turns) => Some(Turn::new(turns, ncpus)),
            },
            meters: Meters::new(ncpus, groups.all.iter().map(|group| group.shares)),
            all: Arc::new(CpuMask::all(ncpus)),
            unbound: Arc::new(unbound),
            groups,
            numbers: vec![0; workload.tasks.len() + launchers.len()],
            alive: 0,
            launching: launchers.len(),
            timeline,
            timeline_at: 0,
            jitter: Rng::new(params.seed, 2),
            tick_jitter: Rng::new(params.seed, 3),
            interrupt_left: 0,
            tick: sched.tick_ns(),
            capacities: sched.rqs().iter().map(|rq| rq.arch_capacity).collect(),
            events: 0,
            programs,
            sched,
        };
        for (index, group) in sim.groups.all.clone().into_iter().enumerate() {
            if let Some(bandwidth) = group.bandwidth {
                sim.input(Input::SetBandwidth { group: TgId::from_index(index), bandwidth });
            }
        }
        sim.boot(launchers.iter().map(|launcher| launcher.cpu));
        Ok(sim)
    }

    /// Starts ticks, checker and timeline, and lets each launcher's CPU fork its launcher.
    fn boot(&mut self, launcher_cpus: impl Iterator<Item = CpuId>) {
        for cpu in (0..self.cpus.len() as u32).map(CpuId).filter(|cpu| !self.sched.online().contains(*cpu)) {
            self.meters.set_online(0, cpu, false);
        }
        self.timers.arm(Timer::Checker, conservation::CHECK_EVERY);
        for (index, source) in self.workload.interrupts.iter().enumerate() {
            self.timers.arm(Timer::Device(index as u32), source.start);
        }
        if let Some(&(at, ..)) = self.timeline.first() {
            self.timers.arm(Timer::Timeline, at);
        }
        if self.params.stop_tick == StopTick::Never {
            for cpu in self.sched.online().clone().iter() {
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
    fn process(&mut self, time: Ns, timer: Timer) -> Result<(), SimError> {
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
            Timer::Device(index) => self.device(index as usize),
            Timer::Group(group, timer) => {
                let cpu = self.group_timer_cpus[group.index()][timer as usize];
                if self.waits_for_handler(cpu, Timer::Group(group, timer)) {
                    return Ok(());
                }
                self.interrupt(cpu, Input::GroupTimer { cpu, group, timer });
            }
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

    /// The workload, followed by definitions of background threads.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The parameters of the run.
    pub fn params(&self) -> &SimParams {
        &self.params
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
        let Readings { tasks: times, cpus, groups, conservation } = self.meters.read(self.now);
        let tally = &self.sched.observer().0;
        let task = |(index, times)| {
            let id = TaskId::from_index(index);
            let launcher = self.instances[index].spec as usize >= self.own;
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
        let groups = self.group_results(&groups);
        RunResult { elapsed: self.now, events: self.events, tasks, cpus, groups, conservation }
    }

    /// What groups were to get, and got.
    fn group_results(&self, measured: &[(GroupTimes, u64)]) -> Vec<GroupResult> {
        let instances = self.instances.iter().enumerate();
        let of_the_workload = instances.filter(|(_, instance)| (instance.spec as usize) < self.own);
        let weights = of_the_workload.map(|(index, instance)| {
            let task = TaskId::from_index(index);
            let weight = self.sched.entity(task).weight();
            (self.groups.effective(instance.spec, instance.group), weight, self.meters.has_competed(task))
        });
        let weights: Vec<_> = weights.collect();
        let groups = self.sched.groups();
        GroupResult::of(groups, measured, &weights)
    }

    /// Ends the run: the observer, and what was measured.
    pub fn into_parts(self) -> (O, RunResult) {
        let result = self.result();
        (self.sched.into_observer().1, result)
    }

    /// For error messages about `spec`.
    fn blame(&self, spec: u32) -> Blame<'_> {
        let task = self.workload.tasks.get(spec as usize).map_or(LAUNCHER, |spec| &spec.name);
        Blame { workload: &self.workload, task }
    }

    /// The program of a task.
    #[inline]
    fn program(&self, task: TaskId) -> &Program {
        &self.programs.programs[self.instances[task.index()].spec as usize]
    }
}
