//! The one-line descriptions of recorded workloads: `n=4,t=spin,aff=0,name=pa+n=8,t=spin,name=pb dur=1000`.
//!
//! Words are separated by blanks: the tasks (optionally behind `spec=`), then `dur=MS`, `rel=MS` and options of the
//! recording that do not concern the workload. Tasks are groups joined by `+`, fields by `,`:
//!
//! | field | meaning |
//! |---|---|
//! | `n` | tasks; of `pp` pairs |
//! | `t` | `spin`, `per` (`run` us every `period` us, task `i` begins `i * phase` us late), `pp` (pairs that wake each other by pipe, `run` us in between), `burst` (every `every` us `k` children that run `run` us) |
//! | `nice` | nice value |
//! | `aff` | bound to this CPU for good |
//! | `pin` | bound to this CPU until `rel` |
//! | `name` | beginning of the tasks' names |
//!
//! [`WorkloadSpec::workload`] makes programs of it, as the recorded program did (seen in its traces): a task `init`
//! on CPU 0 forks all others in order, then sleeps. Tasks bind
//! themselves; spinners and pairs begin at once; periodic and bursting tasks begin 20 ms after the
//! start. For the release `init` wakes up after 20 ms plus `rel`, reads statistics for 1 ms, frees the tasks one after the
//! other, and sleeps again. That takes its time: passes that fall into it find, after 4.6, 4.9, 6.9 and 7.9 ms, that 3, 4, 6
//! and 7 tasks may move, the others not yet; and the recorded time of the release is when the last one was freed.
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::workload::{
    Attributes, Naming, Object, ObjectId, ObjectKind, Op, Phase, Program, Repeat, SpecId, TaskSpec, TimerOp,
    TimerRef, Workload,
};
use thiserror::Error;

/// From the start until periodic tasks begin and the duration counts.
pub const LEAD: Ns = 20 * MS;
/// How long `init` reads statistics before it releases.
const STATISTICS: Ns = MS;
/// As good as forever.
const LONG: Ns = 100_000 * SEC;

/// What is wrong with a description.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{field}`: expected {expected}")]
pub struct SpecError {
    /// The part that cannot be used.
    pub field: String,
    /// What would be right.
    pub expected: &'static str,
}

/// What the tasks of a group do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Run.
    Spin,
    /// Run for `run` every `period`; task `i` begins `i * phase` late.
    Periodic {
        /// Running time of a period.
        run: Ns,
        /// The period.
        period: Ns,
        /// Distance of the tasks' beginnings.
        phase: Ns,
    },
    /// Pairs that wake each other, each running for `run` in between.
    Pairs {
        /// Running time.
        run: Ns,
    },
    /// Every `every`, fork `children` that run for `run` and end.
    Burst {
        /// How many.
        children: u32,
        /// Running time of a child.
        run: Ns,
        /// The period.
        every: Ns,
    },
}

/// Tasks that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskGroup {
    /// Beginning of their names.
    pub name: String,
    /// How many, of pairs: pairs.
    pub number: u32,
    /// What they do.
    pub behaviour: Behaviour,
    /// Nice value.
    pub nice: i32,
    /// CPU they are bound to for good.
    pub bound: Option<u32>,
    /// CPU they are bound to until the release.
    pub pinned: Option<u32>,
}

/// A recorded workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadSpec {
    /// The tasks.
    pub groups: Vec<TaskGroup>,
    /// How long it lasts from [`LEAD`] on.
    pub duration: Ns,
    /// When pinned tasks are released, from [`LEAD`] on.
    pub release: Option<Ns>,
}

impl WorkloadSpec {
    /// Reads a description.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (mut groups, mut duration, mut release) = (Vec::new(), None, None);
        for (index, word) in text.split_whitespace().enumerate() {
            if index == 0 {
                let tasks = word.strip_prefix("spec=").unwrap_or(word);
                groups = tasks.split('+').map(group).collect::<Result<_, _>>()?;
            } else if let Some(value) = word.strip_prefix("dur=") {
                duration = Some(time(value, MS)?);
            } else if let Some(value) = word.strip_prefix("rel=") {
                release = Some(time(value, MS)?);
            }
        }
        let duration =
            duration.ok_or(SpecError { field: text.to_owned(), expected: "a duration, `dur=MS`" })?;
        if release.is_none() && groups.iter().any(|group: &TaskGroup| group.pinned.is_some()) {
            return Err(SpecError { field: text.to_owned(), expected: "`rel=MS`, for it pins tasks" });
        }
        Ok(Self { groups, duration, release })
    }

    /// The workload, beginning `shift` after the start of the run. `shift` leaves time for forking `init`.
    pub fn workload(&self, name: &str, shift: Ns) -> Workload {
        let mut out = Workload { name: name.to_owned(), ..Workload::default() };
        out.duration = Some(shift + LEAD + self.duration);
        out.tasks.push(TaskSpec::default());
        let (mut forks, mut pinned) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let first = out.tasks.len();
            group.add(&mut out, shift);
            let tasks = (first..out.tasks.len()).map(|index| SpecId(index as u32));
            if group.pinned.is_some() {
                pinned.extend(tasks.clone());
            }
            forks.extend(tasks);
            if let Behaviour::Burst { run, .. } = group.behaviour {
                out.tasks.push(child(&group.name, run));
            }
        }
        out.tasks[0] = self.init(&forks, &pinned, shift);
        out
    }

    /// The parent.
    fn init(&self, forks: &[SpecId], pinned: &[SpecId], shift: Ns) -> TaskSpec {
        let anywhere = Attributes { affinity: Some(Vec::new()), ..Attributes::default() };
        let mut ops = vec![Op::Set(anywhere.clone())];
        ops.extend(forks.iter().map(|&spec| Op::Fork(spec)));
        if let Some(release) = self.release {
            ops.extend([until_next(LEAD + release), Op::Run(STATISTICS)]);
            let free = |&task| Op::SetOf { task, attributes: anywhere.clone() };
            ops.extend(pinned.iter().map(free));
        }
        ops.push(Op::Sleep(LONG));
        TaskSpec {
            name: "init".to_owned(),
            instances: 1,
            start_cpu: 0,
            delay: shift,
            attributes: Attributes { affinity: Some(vec![0]), ..Attributes::default() },
            program: program(ops, Vec::new()),
            ..TaskSpec::default()
        }
    }
}

impl TaskGroup {
    /// Adds a definition for each task.
    fn add(&self, out: &mut Workload, shift: Ns) {
        let number =
            if matches!(self.behaviour, Behaviour::Pairs { .. }) { 2 * self.number } else { self.number };
        let first = out.objects.len() as u32;
        // The child of a burst comes behind the tasks that fork it.
        let child = SpecId(out.tasks.len() as u32 + number);
        if let Behaviour::Pairs { .. } = self.behaviour {
            let pipe = |i| Object { name: format!("{}-pipe{i}", self.name), kind: ObjectKind::Channel };
            out.objects.extend((0..number).map(pipe));
        }
        for i in 0..number {
            let mut delay = shift;
            let mut begin = Vec::new();
            if let Some(cpu) = self.pinned.or(self.bound) {
                begin.push(Op::Set(Attributes { affinity: Some(vec![cpu]), ..Attributes::default() }));
            }
            let again = match self.behaviour {
                Behaviour::Spin => vec![Op::Run(LONG)],
                Behaviour::Periodic { run, period, phase } => {
                    delay += LEAD + phase * u64::from(i);
                    vec![Op::Run(run), until_next(period)]
                }
                Behaviour::Pairs { run } => {
                    let (own, other) = (ObjectId(first + i), ObjectId(first + (i ^ 1)));
                    let work = [Op::Run(run), Op::Send { channel: other, sync: true }];
                    let receive = [Op::Receive(own)];
                    // The second of a pair begins.
                    let ops: (&[Op], &[Op]) = if i % 2 == 0 { (&receive, &work) } else { (&work, &receive) };
                    [ops.0, ops.1].concat()
                }
                Behaviour::Burst { children, every, .. } => {
                    delay += LEAD;
                    let mut ops = vec![Op::Fork(child); children as usize];
                    ops.push(until_next(every));
                    ops
                }
            };
            out.tasks.push(TaskSpec {
                name: format!("{}{i}", self.name),
                naming: Naming::Plain,
                delay,
                attributes: Attributes { nice: Some(self.nice), ..Attributes::default() },
                program: program(begin, again),
                ..TaskSpec::default()
            });
        }
    }
}

/// A child of a burst.
fn child(name: &str, run: Ns) -> TaskSpec {
    let attributes = Attributes { nice: Some(0), ..Attributes::default() };
    let program = program(vec![Op::Run(run)], Vec::new());
    TaskSpec { name: format!("{name}."), naming: Naming::Plain, attributes, program, ..TaskSpec::default() }
}

/// Some operations once, then others forever.
fn program(once: Vec<Op>, again: Vec<Op>) -> Program {
    let phase = |ops: Vec<Op>, repeat| Phase { ops, repeat, ..Phase::default() };
    let mut phases = vec![phase(once, Repeat::Times(1))];
    if !again.is_empty() {
        phases.push(phase(again, Repeat::Forever));
    }
    Program { phases, repeat: Repeat::Times(1) }
}

/// Sleeps until the next multiple of `period` after the task's delay.
fn until_next(period: Ns) -> Op {
    Op::Timer(TimerOp { timer: TimerRef::Private(0), period, absolute: true })
}

/// Reads one group of tasks.
fn group(text: &str) -> Result<TaskGroup, SpecError> {
    let fields: Vec<(&str, &str)> =
        text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    let get = |key: &str| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let need = |key: &'static str| match get(key) {
        Some(value) => time(value, US),
        None => Err(SpecError { field: text.to_owned(), expected: key }),
    };
    if let Some((name, value)) = fields.iter().find(|(name, _)| !KEYS.contains(name)) {
        return Err(SpecError { field: format!("{name}={value}"), expected: "a field that is known" });
    }
    let behaviour = match get("t") {
        Some("spin") => Behaviour::Spin,
        Some("per") => Behaviour::Periodic {
            run: need("run")?,
            period: need("period")?,
            phase: get("phase").map_or(Ok(0), |value| time(value, US))?,
        },
        Some("pp") => Behaviour::Pairs { run: need("run")? },
        Some("burst") => Behaviour::Burst {
            children: number(get("k").unwrap_or_default(), "a number of children")?,
            run: need("run")?,
            every: need("every")?,
        },
        _ => return Err(SpecError { field: text.to_owned(), expected: "`t=spin`, `per`, `pp` or `burst`" }),
    };
    let cpu = |key: &str| get(key).map(|value| number(value, "a CPU")).transpose();
    Ok(TaskGroup {
        name: get("name").unwrap_or("t").to_owned(),
        number: number(get("n").unwrap_or("1"), "a number of tasks")?,
        behaviour,
        nice: number(get("nice").unwrap_or("0"), "a nice value")?,
        bound: cpu("aff")?,
        pinned: cpu("pin")?,
    })
}

/// The fields of a group.
const KEYS: [&str; 12] =
    ["n", "t", "run", "period", "phase", "k", "every", "nice", "aff", "pin", "name", "rel"];

fn number<T: core::str::FromStr>(text: &str, expected: &'static str) -> Result<T, SpecError> {
    text.parse().map_err(|_| SpecError { field: text.to_owned(), expected })
}

/// A number of units as a time.
fn time(text: &str, unit: Ns) -> Result<Ns, SpecError> {
    let number: u32 = number(text, "a number")?;
    Ok(Ns::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_descriptions_read() {
        let spec = WorkloadSpec::parse(
            "spec=n=4,t=spin,pin=0,name=na+n=8,t=spin,pin=0,nice=10,name=nb dur=1500 rel=250 settle=503",
        )
        .unwrap();
        assert_eq!((spec.duration, spec.release), (1500 * MS, Some(250 * MS)));
        assert_eq!(spec.groups[1].nice, 10);
        let workload = spec.workload("nice", 3 * MS);
        let names: Vec<&str> = workload.tasks.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names[..6], ["init", "na0", "na1", "na2", "na3", "nb0"]);
        let frees: Vec<_> = workload.tasks[0].program.phases[0].ops.iter().skip(1 + 12 + 2).collect();
        assert!(
            matches!(frees[0], Op::SetOf { task: SpecId(1), attributes } if attributes.affinity == Some(Vec::new()))
        );
        assert!(matches!(frees[11..], [Op::SetOf { task: SpecId(12), .. }, Op::Sleep(_)]));
        assert_eq!(workload.duration, Some(1523 * MS));
    }

    #[test]
    fn pairs_wake_each_other_and_bursts_fork() {
        let spec = WorkloadSpec::parse(
            "n=1,t=pp,run=200,name=pp+n=1,t=burst,k=2,run=3000,every=40000,name=bu dur=600",
        );
        let workload = spec.unwrap().workload("w", 0);
        let ops = |index: usize| workload.tasks[index].program.phases[1].ops.clone();
        let send = |to| Op::Send { channel: ObjectId(to), sync: true };
        assert_eq!(ops(1), [Op::Receive(ObjectId(0)), Op::Run(200 * US), send(1)]);
        assert_eq!(ops(2), [Op::Run(200 * US), send(0), Op::Receive(ObjectId(1))]);
        assert_eq!(ops(3), [Op::Fork(SpecId(4)), Op::Fork(SpecId(4)), until_next(40 * MS)]);
        assert_eq!(workload.tasks[4].instances, 0, "children are only forked");
    }

    #[test]
    fn faults_are_named() {
        let fault = |text: &str| WorkloadSpec::parse(text).unwrap_err().to_string();
        assert_eq!(fault("n=4,t=spin"), "`n=4,t=spin`: expected a duration, `dur=MS`");
        assert_eq!(fault("n=x,t=spin dur=1"), "`x`: expected a number of tasks");
        assert_eq!(fault("n=1,t=spon dur=1"), "`n=1,t=spon`: expected `t=spin`, `per`, `pp` or `burst`");
        assert_eq!(
            fault("n=1,t=spin,pin=0 dur=1"),
            "`n=1,t=spin,pin=0 dur=1`: expected `rel=MS`, for it pins tasks"
        );
        assert_eq!(fault("n=1,t=spin,color=3 dur=1"), "`color=3`: expected a field that is known");
    }
}
