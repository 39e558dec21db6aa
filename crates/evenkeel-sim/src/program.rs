//! Task programs made ready to run: phases and repeats become a list of small steps with jumps.
//!
//! A program of two phases `run 1ms; sleep 1ms` (10 times) and `run 5ms` (once), for ever, becomes
//! ```text
//! 0 start   1 run 1ms   2 sleep 1ms   3 again 9 more times from 1   4 run 5ms   5 again from 1
//! ```
//! so that executing a step is one `match`. Everything that can be refused is refused here, with the place where it was
//! written: wrong kinds of objects, CPUs that do not exist, impossible policies, clamps.
use crate::error::{Blame, SimError};
use crate::groups::Groups;
use evenkeel::balance::locality::TaskMemory;
use evenkeel::ids::{CpuId, TgId};
use evenkeel::mask::CpuMask;
use evenkeel::time::Ns;
use evenkeel::topology::Machine;
use evenkeel::workload::{
    Attributes, ObjectId, ObjectKind, Op, Origin, Phase, Policy, Repeat, TaskSpec, TimerRef, Workload,
    timeless_loop,
};
use std::sync::Arc;

/// One step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sleep until the instance's start.
    Start,
    /// Execute this much work.
    Run(Ns),
    /// Be busy for this much wall time.
    Spin(Ns),
    /// Sleep this long.
    Sleep(Ns),
    /// Sleep until the timer's next expiry.
    Timer { timer: Clock, period: Ns, absolute: bool },
    /// Take a mutex.
    Lock(u32),
    /// Release a mutex.
    Unlock(u32),
    /// Release the mutex and wait for the condition; a `Lock` step follows if there is a mutex.
    Wait { condition: u32, mutex: Option<u32> },
    /// Wake one waiter.
    Signal(u32),
    /// Wake all waiters.
    Broadcast(u32),
    /// Arrive at a barrier.
    Barrier(u32),
    /// Add a unit to a semaphore or channel.
    Post { counter: u32, sync: bool },
    /// Take a unit of a semaphore or channel.
    Take(u32),
    /// Create an instance of this definition.
    Fork(u32),
    /// Exec.
    Exec,
    /// Yield.
    Yield,
    /// Change own attributes, by index into [`Programs::changes`].
    Set(u32),
    /// Apply a change to every living instance of a definition.
    SetOf {
        /// The definition.
        spec: u32,
        /// The change.
        change: u32,
    },
    /// A phase or the whole has been executed once; `None` repeats for ever.
    Again { level: Level, times: Option<u32>, to: u32 },
    /// End.
    Exit,
}

/// What an [`Step::Again`] repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The operations of a phase.
    Phase,
    /// The sequence of phases.
    Program,
}

/// Which timer a step uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// One of the instance's own, by dense index.
    Private(u32),
    /// A shared one, by object.
    Shared(u32),
}

/// The program of one definition.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The steps; the last one exits.
    pub(crate) steps: Vec<Step>,
    /// Where each was written.
    pub(crate) origins: Vec<Option<Origin>>,
    /// How many private timers an instance needs.
    pub(crate) private_timers: usize,
}

/// A resolved set of attributes; `None` leaves what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) policy: Option<Policy>,
    pub(crate) nice: Option<i32>,
    pub(crate) slice: Option<Ns>,
    pub(crate) allowed: Option<Arc<CpuMask>>,
    /// The task group, before sessions are considered.
    pub(crate) group: Option<TgId>,
    /// What NUMA balancing knows.
    pub(crate) memory: Option<TaskMemory>,
}

/// All programs of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// By definition.
    pub(crate) programs: Vec<Program>,
    /// Attributes at the start, by definition.
    pub(crate) initial: Vec<Change>,
    /// Attributes set while running.
    pub(crate) changes: Vec<Change>,
}

impl Programs {
    /// Compiles every definition of `workload` for `machine`.
    pub(crate) fn compile(workload: &Workload, machine: &Machine, groups: &Groups) -> Result<Self, SimError> {
        let mut all = Self::default();
        for spec in &workload.tasks {
            let resolver = Resolver { blame: Blame { workload, task: &spec.name }, machine, spec, groups };
            let initial = resolver.change(&spec.attributes, spec.origin)?;
            resolver.check_percpu_kthread(&initial)?;
            all.initial.push(initial);
            let out = Program { steps: vec![Step::Start], origins: vec![spec.origin], private_timers: 0 };
            let compiler = Compiler { resolver, out, changes: &mut all.changes, private: Vec::new() };
            let program = compiler.program()?;
            all.programs.push(program);
        }
        Ok(all)
    }
}

/// Resolves attributes set from outside.
pub(crate) fn resolve(
    workload: &Workload,
    machine: &Machine,
    groups: &Groups,
    spec: &TaskSpec,
    attributes: &Attributes,
    origin: Option<Origin>,
) -> Result<Change, SimError> {
    Resolver { blame: Blame { workload, task: &spec.name }, machine, spec, groups }.change(attributes, origin)
}

/// Makes one program.
struct Compiler<'a> {
    resolver: Resolver<'a>,
    out: Program,
    changes: &'a mut Vec<Change>,
    /// Numbers of the private timers met so far.
    private: Vec<u32>,
}

impl Compiler<'_> {
    fn program(mut self) -> Result<Program, SimError> {
        let Resolver { blame, machine, spec, .. } = self.resolver;
        if let Some(timeless) = timeless_loop(&spec.program) {
            let phase = timeless.and_then(|index| spec.program.phases[index].origin);
            return Err(blame.no_time(phase.or(spec.origin), None));
        }
        if spec.start_cpu as usize >= machine.nr_cpus() && spec.instances > 0 {
            let what = format!("it starts on CPU {}, which does not exist", spec.start_cpu);
            return Err(blame.invalid(spec.origin, what));
        }
        if spec.program.repeat != Repeat::Times(0) {
            let first = self.out.steps.len();
            for phase in spec.program.phases.iter().filter(|phase| phase.repeat != Repeat::Times(0)) {
                self.phase(phase)?;
            }
            self.again(Level::Program, spec.program.repeat, first, spec.origin);
        }
        self.push(Step::Exit, spec.origin);
        self.out.private_timers = self.private.len();
        Ok(self.out)
    }

    fn phase(&mut self, phase: &Phase) -> Result<(), SimError> {
        let of = self.resolver.spec.origin;
        let origin = phase.origin.or(of);
        if !phase.attributes.is_empty() {
            let step = self.set(&phase.attributes, origin)?;
            self.push(step, origin);
        }
        let first = self.out.steps.len();
        for (index, op) in phase.ops.iter().enumerate() {
            self.op(op, phase.op_origin(index).or(of))?;
        }
        self.again(Level::Phase, phase.repeat, first, origin);
        Ok(())
    }

    fn again(&mut self, level: Level, repeat: Repeat, first: usize, origin: Option<Origin>) {
        let times = match repeat {
            Repeat::Times(times) => Some(times),
            Repeat::Forever => None,
        };
        self.push(Step::Again { level, times, to: first as u32 }, origin);
    }

    fn op(&mut self, op: &Op, origin: Option<Origin>) -> Result<(), SimError> {
        let resolver = self.resolver;
        let object = |id: ObjectId, kind: &str| resolver.object(id, kind, origin);
        let mutex = |id: ObjectId| object(id, "mutex");
        let condition = |id: ObjectId| object(id, "condition");
        let step = match *op {
            Op::Run(ns) => Step::Run(ns),
            Op::RunUntilElapsed(ns) => Step::Spin(ns),
            Op::Sleep(ns) => Step::Sleep(ns),
            Op::Timer(ref timer) => {
                let clock = match timer.timer {
                    TimerRef::Shared(id) => Clock::Shared(object(id, "timer")?),
                    TimerRef::Private(number) => Clock::Private(dense(&mut self.private, number)),
                };
                Step::Timer { timer: clock, period: timer.period, absolute: timer.absolute }
            }
            Op::Lock(id) => Step::Lock(mutex(id)?),
            Op::Unlock(id) => Step::Unlock(mutex(id)?),
            Op::Wait { condition: id, mutex: held } => {
                self.wait(condition(id)?, held.map(mutex).transpose()?, origin);
                return Ok(());
            }
            Op::Signal(id) => Step::Signal(condition(id)?),
            Op::Broadcast(id) => Step::Broadcast(condition(id)?),
            Op::SignalAndWait { condition: id, mutex: held } => {
                self.push(Step::Signal(condition(id)?), origin);
                self.wait(condition(id)?, held.map(mutex).transpose()?, origin);
                return Ok(());
            }
            Op::Barrier(id) => Step::Barrier(object(id, "barrier")?),
            Op::SemPost(id) => Step::Post { counter: object(id, "semaphore")?, sync: false },
            Op::SemWait(id) => Step::Take(object(id, "semaphore")?),
            Op::Send { channel, sync } => Step::Post { counter: object(channel, "channel")?, sync },
            Op::Receive(channel) => Step::Take(object(channel, "channel")?),
            Op::Fork(spec) => {
                if spec.0 as usize >= resolver.blame.workload.tasks.len() {
                    return Err(resolver.blame.invalid(origin, "it forks a task that is not defined"));
                }
                Step::Fork(spec.0)
            }
            Op::Exec if resolver.spec.process.is_some() => {
                let what = "exec in a process with a name, whose other threads it would end,";
                return Err(resolver.blame.unsupported(origin, what));
            }
            Op::Exec => Step::Exec,
            Op::Yield => Step::Yield,
            Op::Set(ref attributes) => self.set(attributes, origin)?,
            Op::SetOf { task, ref attributes } => {
                if task.0 as usize >= resolver.blame.workload.tasks.len() {
                    return Err(resolver.blame.invalid(origin, "it changes a task that is not defined"));
                }
                self.changes.push(resolver.change(attributes, origin)?);
                Step::SetOf { spec: task.0, change: (self.changes.len() - 1) as u32 }
            }
            Op::Exit => Step::Exit,
        };
        self.push(step, origin);
        Ok(())
    }

    fn wait(&mut self, condition: u32, mutex: Option<u32>, origin: Option<Origin>) {
        self.push(Step::Wait { condition, mutex }, origin);
        if let Some(mutex) = mutex {
            self.push(Step::Lock(mutex), origin);
        }
    }

    fn set(&mut self, attributes: &Attributes, origin: Option<Origin>) -> Result<Step, SimError> {
        self.changes.push(self.resolver.change(attributes, origin)?);
        Ok(Step::Set((self.changes.len() - 1) as u32))
    }

    fn push(&mut self, step: Step, origin: Option<Origin>) {
        self.out.steps.push(step);
        self.out.origins.push(origin);
    }
}

/// Looks up what a definition refers to, and refuses what does not exist or is not modelled.
#[derive(Clone, Copy)]
struct Resolver<'a> {
    blame: Blame<'a>,
    machine: &'a Machine,
    spec: &'a TaskSpec,
    groups: &'a Groups,
}

impl Resolver<'_> {
    fn object(&self, id: ObjectId, kind: &str, origin: Option<Origin>) -> Result<u32, SimError> {
        let Some(object) = self.blame.workload.objects.get(id.0 as usize) else {
            return Err(self.blame.invalid(origin, format!("it uses a {kind} that is not defined")));
        };
        let found = match object.kind {
            ObjectKind::Mutex => "mutex",
            ObjectKind::Condition => "condition",
            ObjectKind::Barrier { .. } => "barrier",
            ObjectKind::Semaphore { .. } => "semaphore",
            ObjectKind::Timer => "timer",
            ObjectKind::Channel => "channel",
        };
        if kind != found {
            let what = format!("`{}` is a {found}, where a {kind} is expected", object.name);
            return Err(self.blame.invalid(origin, what));
        }
        Ok(id.0)
    }

    fn change(&self, attributes: &Attributes, origin: Option<Origin>) -> Result<Change, SimError> {
        let Attributes { policy, nice, slice, affinity, group, util_clamp, memory_nodes, memory } =
            attributes;
        if let Some(fault) = policy.and_then(Policy::fault) {
            return Err(self.blame.invalid(origin, fault));
        }
        let known = |path: &String| self.groups.find(path).expect("groups that attributes name exist");
        let group = group.as_ref().map(known);
        if util_clamp.is_some_and(|clamp| clamp != (0, 1024)) {
            return Err(self.blame.unsupported(origin, "a utilisation clamp"));
        }
        if memory_nodes.as_ref().is_some_and(|nodes| !nodes.is_empty()) {
            return Err(self.blame.unsupported(origin, "binding memory to nodes"));
        }
        if let Some(nice) = nice.filter(|nice| !(-20..=19).contains(nice)) {
            return Err(self.blame.invalid(origin, format!("nice {nice} is not in -20..=19")));
        }
        let allowed = affinity.as_deref().map(|cpus| self.affinity(cpus, origin)).transpose()?;
        if let Some(memory) = memory {
            self.check_memory(memory, origin)?;
        }
        let memory = memory.clone();
        Ok(Change { policy: *policy, nice: *nice, slice: *slice, allowed, group, memory })
    }

    /// What is known of a task's memory must be of this machine's nodes.
    fn check_memory(&self, memory: &TaskMemory, origin: Option<Origin>) -> Result<(), SimError> {
        let nodes = self.machine.nr_nodes;
        let invalid = |what: String| Err(self.blame.invalid(origin, what));
        if let Some(node) = memory.preferred_node.filter(|&node| node as usize >= nodes) {
            return invalid(format!("it prefers node {node}, but the machine has nodes 0-{}", nodes - 1));
        }
        for (key, faults) in [("numa_faults", &memory.faults), ("numa_group_faults", &memory.group_faults)] {
            if !faults.is_empty() && faults.len() != nodes {
                let count = faults.len();
                return invalid(format!("`{key}` has {count} numbers, but the machine has {nodes} nodes"));
            }
        }
        Ok(())
    }

    /// A kernel thread that belongs to its CPU is bound to one.
    fn check_percpu_kthread(&self, initial: &Change) -> Result<(), SimError> {
        let bound = initial.allowed.as_ref().is_some_and(|allowed| allowed.weight() == 1);
        if self.spec.percpu_kthread && !bound {
            let what = "a `percpu_kthread` needs an affinity of one CPU".to_owned();
            return Err(self.blame.invalid(self.spec.origin, what));
        }
        if self.spec.percpu_kthread && self.spec.process.is_some() {
            let what = "a `percpu_kthread` belongs to no process".to_owned();
            return Err(self.blame.invalid(self.spec.origin, what));
        }
        Ok(())
    }

    fn affinity(&self, cpus: &[u32], origin: Option<Origin>) -> Result<Arc<CpuMask>, SimError> {
        let ncpus = self.machine.nr_cpus();
        if let Some(cpu) = cpus.iter().find(|&&cpu| cpu as usize >= ncpus) {
            let what = format!("its affinity names CPU {cpu}, but the machine has CPUs 0-{}", ncpus - 1);
            return Err(self.blame.invalid(origin, what));
        }
        let all = cpus.is_empty();
        let set = CpuMask::from_cpus(ncpus, cpus.iter().map(|&cpu| CpuId(cpu)));
        Ok(Arc::new(if all { CpuMask::all(ncpus) } else { set }))
    }
}

/// The index of `number` among the timers met so far.
fn dense(known: &mut Vec<u32>, number: u32) -> u32 {
    let index = known.iter().position(|&timer| timer == number).unwrap_or_else(|| {
        known.push(number);
        known.len() - 1
    });
    index as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::workload::{Object, Source, TimerOp};

    fn compile(workload: &Workload, ncpus: u32) -> Result<Programs, SimError> {
        let groups = Groups::new(workload)?;
        Programs::compile(workload, &Machine::regular(1, 1, ncpus, 1, false), &groups)
    }

    fn workload(phases: Vec<Phase>, repeat: Repeat) -> Workload {
        let spec = TaskSpec {
            name: "t".into(),
            instances: 1,
            program: evenkeel::workload::Program { phases, repeat },
            origin: Some(Origin { source: 0, line: 1, column: 1 }),
            ..TaskSpec::default()
        };
        let sources = vec![Source { name: "w.toml".into(), text: "one\ntwo\nthree\n".into() }];
        let objects = vec![Object { name: "m".into(), kind: ObjectKind::Mutex }];
        Workload { tasks: vec![spec], sources, objects, ..Workload::default() }
    }

    fn phase(ops: Vec<Op>, repeat: Repeat) -> Phase {
        Phase { ops, repeat, ..Phase::default() }
    }

    #[test]
    fn phases_and_repeats_become_steps_with_jumps() {
        let first = phase(vec![Op::Run(1), Op::Sleep(2)], Repeat::Times(10));
        let never = phase(vec![Op::Run(9)], Repeat::Times(0));
        let timer =
            |number| Op::Timer(TimerOp { timer: TimerRef::Private(number), period: 4, absolute: true });
        let second = phase(vec![timer(7), timer(3), timer(7)], Repeat::Times(1));
        let programs = compile(&workload(vec![first, never, second], Repeat::Forever), 2).unwrap();
        let timer = |index| Step::Timer { timer: Clock::Private(index), period: 4, absolute: true };
        let again = |level, times, to| Step::Again { level, times, to };
        assert_eq!(
            programs.programs[0].steps,
            [
                Step::Start,
                Step::Run(1),
                Step::Sleep(2),
                again(Level::Phase, Some(10), 1),
                timer(0),
                timer(1),
                timer(0),
                again(Level::Phase, Some(1), 4),
                again(Level::Program, None, 1),
                Step::Exit,
            ]
        );
        assert_eq!(programs.programs[0].private_timers, 2);
    }

    #[test]
    fn waiting_takes_the_mutex_again() {
        let mut workload = workload(
            vec![phase(
                vec![Op::SignalAndWait { condition: ObjectId(1), mutex: Some(ObjectId(0)) }],
                Repeat::Times(1),
            )],
            Repeat::Times(1),
        );
        workload.objects.push(Object { name: "c".into(), kind: ObjectKind::Condition });
        let programs = compile(&workload, 1).unwrap();
        let expected = [Step::Signal(1), Step::Wait { condition: 1, mutex: Some(0) }, Step::Lock(0)];
        assert_eq!(programs.programs[0].steps[1..4], expected);
    }

    fn refused(ops: Vec<Op>, attributes: Attributes, repeat: Repeat) -> String {
        let origin = Some(Origin { source: 0, line: 2, column: 3 });
        let op_origins = ops.iter().map(|_| Origin { source: 0, line: 3, column: 5 }).collect();
        let phase = Phase { ops, attributes, origin, op_origins, ..Phase::default() };
        compile(&workload(vec![phase], repeat), 2).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_simulated_is_refused_with_its_place() {
        let op = |op: Op| refused(vec![Op::Run(1), op], Attributes::default(), Repeat::Times(1));
        let set = |attributes: Attributes| refused(vec![Op::Run(1)], attributes, Repeat::Times(1));
        let messages = [
            op(Op::SemWait(ObjectId(0))),
            op(Op::Lock(ObjectId(9))),
            op(Op::Fork(evenkeel::workload::SpecId(4))),
            op(Op::Set(Attributes { affinity: Some(vec![0, 2]), ..Attributes::default() })),
            set(Attributes { policy: Some(Policy::Fifo(0)), ..Attributes::default() }),
            set(Attributes { group: Some("a/b".into()), ..Attributes::default() }),
            set(Attributes { util_clamp: Some((0, 500)), ..Attributes::default() }),
            set(Attributes { nice: Some(20), ..Attributes::default() }),
            refused(vec![Op::Yield], Attributes::default(), Repeat::Forever),
        ];
        expect_test::expect![[r#"
            w.toml:3:5: task `t`: `m` is a mutex, where a semaphore is expected
            w.toml:3:5: task `t`: it uses a mutex that is not defined
            w.toml:3:5: task `t`: it forks a task that is not defined
            w.toml:3:5: task `t`: its affinity names CPU 2, but the machine has CPUs 0-1
            w.toml:2:3: task `t`: a real-time priority is from 1 to 99
            w.toml:2:3: task `t`: `a/b` is not the path of a task group
            w.toml:2:3: task `t`: a utilisation clamp cannot be simulated yet
            w.toml:2:3: task `t`: nice 20 is not in -20..=19
            w.toml:1:1: task `t`: its program repeats without taking time, so simulated time would stand still
        "#]]
        .assert_eq(&(messages.join("\n") + "\n"));
    }
}
