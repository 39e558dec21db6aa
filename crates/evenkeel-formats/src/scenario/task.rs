//! `[[task]]` and `[[task.phase]]`: who starts, and what they do.
use super::Reader;
use super::values::{A_DURATION, ATTRIBUTE_KEYS, CPUS_MAX, DURATION_MAX};
use super::work::{TaskContext, for_instance, mentions_instance};
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value, find, shorten};
use evenkeel::time::{Ns, SEC};
use evenkeel::workload::{Naming, Op, Phase, Program, Repeat, SpecId, TaskSpec, TimerOp, TimerRef};
use std::collections::BTreeSet;

/// More tasks than any kernel can number are refused.
const TASKS_MAX: i64 = 4_194_304;
/// More instances than this are not written out for `{i}`.
const WRITTEN_OUT_MAX: u32 = 4096;
/// `run = "forever"` is work without end in pieces of this length.
const FOREVER_PIECE: Ns = 1000 * SEC;

const TASK_KEYS: [&str; 8] =
    ["name", "count", "cpu", "delay", "stagger", "process", "percpu_kthread", "phase"];
const PHASE_KEYS: [&str; 1] = ["name"];
const BODY_KEYS: [&str; 6] = ["run", "sleep", "every", "overrun", "work", "repeat"];

/// A task of the file, or one instance of it written out.
struct Planned {
    node: Node,
    /// Which instance, if it is written out.
    instance: Option<u32>,
}

/// Operations, and how often they run unless `repeat` says otherwise.
struct Body {
    phase: Phase,
    usual_repeat: Repeat,
}

impl Reader<'_> {
    pub(super) fn tasks(&mut self, members: &[Member], root: &Node) -> Result<Vec<TaskSpec>, InputError> {
        let Some(member) = find(members, "task") else {
            let start = root.span.start..root.span.start;
            return Err(self.text.error(&start, "the scenario has no task", "at least one [[task]]"));
        };
        let mut plan = Vec::new();
        for node in self.text.list(&member.node, "task", "tables headed [[task]]")? {
            self.plan(node, &mut plan)?;
        }
        let mut tasks = Vec::with_capacity(plan.len());
        let mut total = 0;
        for planned in &plan {
            let task = self.task(planned)?;
            total += i64::from(task.instances);
            if total > TASKS_MAX {
                let expected = format!("at most {TASKS_MAX} in all");
                return Err(self.text.error(
                    &planned.node.span,
                    format!("{total} tasks up to here"),
                    expected,
                ));
            }
            tasks.push(task);
        }
        Ok(tasks)
    }

    /// Gives a task its name and numbers, so that others can refer to it before it is read.
    fn plan(&mut self, node: &Node, plan: &mut Vec<Planned>) -> Result<(), InputError> {
        let members = self.text.table(node, "task", "a table headed [[task]]")?;
        let known = || TASK_KEYS.into_iter().chain(BODY_KEYS).chain(ATTRIBUTE_KEYS);
        for member in members {
            if !known().any(|key| key == member.key) {
                let what = match find(members, "name").map(|member| &member.node.value) {
                    Some(Value::Str(name)) => format!("task `{}`", shorten(name)),
                    _ => "[[task]]".to_owned(),
                };
                return Err(self.text.unknown_key(member, &what, "a key of a task", known()));
            }
        }
        let Some(named) = find(members, "name") else {
            return Err(self.text.error(&node.span, "a task without a name", "`name = \"...\"`"));
        };
        let name = self.text.string(&named.node, "name", "the name of the task")?;
        self.check_name(name, &named.node)?;
        let next = SpecId(u32::try_from(plan.len()).unwrap_or(u32::MAX));
        if !mentions_instance(node) {
            self.specs.insert(name.to_owned(), vec![next]);
            plan.push(Planned { node: node.clone(), instance: None });
            return Ok(());
        }
        let count = self.count(members)?;
        if !(1..=WRITTEN_OUT_MAX).contains(&count) {
            let found = format!("{count} instances of a task that uses {{i}}");
            return Err(self.text.error(&named.node.span, found, format!("1 to {WRITTEN_OUT_MAX}")));
        }
        self.specs.insert(name.to_owned(), (0..count).map(|instance| SpecId(next.0 + instance)).collect());
        plan.extend(
            (0..count)
                .map(|instance| Planned { node: for_instance(node, instance), instance: Some(instance) }),
        );
        Ok(())
    }

    fn check_name(&self, name: &str, node: &Node) -> Result<(), InputError> {
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains("{i}") {
            return Err(self.text.mismatch(node, "name", "a name without blanks"));
        }
        if name == "init" {
            let found = "the name `init` is taken by the task that starts all others";
            return Err(self.text.error(&node.span, found, "another name"));
        }
        if self.specs.contains_key(name) {
            let found = format!("a second task is called `{}`", shorten(name));
            return Err(self.text.error(&node.span, found, "a name of its own"));
        }
        Ok(())
    }

    fn count(&self, members: &[Member]) -> Result<u32, InputError> {
        let Some(member) = find(members, "count") else { return Ok(1) };
        let count =
            self.text.int(&member.node, "count", 0..=TASKS_MAX, "a number of instances, at least 0")?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn task(&mut self, planned: &Planned) -> Result<TaskSpec, InputError> {
        let node = &planned.node;
        let members = self.text.table(node, "task", "a table headed [[task]]")?;
        let name = self.optional_string(members, "name")?.unwrap_or_default();
        let mut task = TaskSpec {
            instances: self.count(members)?,
            delay: self.optional_duration(members, "delay")?.unwrap_or(0),
            stagger: self.optional_duration(members, "stagger")?.unwrap_or(0),
            attributes: self.attributes(members)?,
            origin: Some(self.text.origin(node.span.start)),
            process: self.process(members)?,
            ..TaskSpec::default()
        };
        if let Some(member) = find(members, "cpu") {
            let cpu = self.text.int(&member.node, "cpu", 0..=CPUS_MAX as i64 - 1, "the number of a CPU")?;
            task.start_cpu = u32::try_from(cpu).unwrap_or(u32::MAX);
        }
        if let Some(member) = find(members, "percpu_kthread") {
            task.percpu_kthread = self.text.bool(&member.node, "percpu_kthread")?;
        }
        match planned.instance {
            None => task.name = name,
            Some(instance) => {
                task.name = format!("{name}-{instance}");
                task.naming = Naming::Plain;
                task.instances = 1;
                task.delay = task.delay.saturating_add(task.stagger.saturating_mul(u64::from(instance)));
                task.stagger = 0;
            }
        }
        self.check_start_times(&task, node)?;
        let mut context = TaskContext { instances: task.instances, barriers: BTreeSet::new() };
        task.program = match find(members, "phase") {
            Some(phases) => self.phases(members, phases, &task.name, &mut context)?,
            None => self.single_phase(members, node, &task.name, &mut context)?,
        };
        Ok(task)
    }

    /// The process whose threads the instances are.
    fn process(&self, members: &[Member]) -> Result<Option<String>, InputError> {
        let Some(member) = find(members, "process") else { return Ok(None) };
        let expected = "the name of a process, whose threads the instances are";
        let name = self.text.string(&member.node, "process", expected)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(self.text.mismatch(&member.node, "process", "a name without blanks"));
        }
        Ok(Some(name.to_owned()))
    }

    /// The last instance has to start within the longest duration there is.
    fn check_start_times(&self, task: &TaskSpec, node: &Node) -> Result<(), InputError> {
        let shifts = u64::from(task.instances.saturating_sub(1));
        let last = task.delay.saturating_add(task.stagger.saturating_mul(shifts));
        if last > DURATION_MAX {
            let found =
                format!("the last instance of task `{}` would start after 31 years", shorten(&task.name));
            return Err(self.text.error(&node.span, found, "a shorter `delay` or `stagger`"));
        }
        Ok(())
    }

    fn single_phase(
        &mut self,
        members: &[Member],
        node: &Node,
        name: &str,
        context: &mut TaskContext,
    ) -> Result<Program, InputError> {
        let body = self.body(members, node, &format!("task `{}`", shorten(name)), context)?;
        let repeat = match find(members, "repeat") {
            Some(member) => self.repeat(&member.node)?,
            None => body.usual_repeat,
        };
        Ok(Program { phases: vec![body.phase], repeat })
    }

    fn phases(
        &mut self,
        task: &[Member],
        phases: &Member,
        name: &str,
        context: &mut TaskContext,
    ) -> Result<Program, InputError> {
        let beside = |member: &&Member| BODY_KEYS.contains(&member.key.as_str()) && member.key != "repeat";
        if let Some(member) = task.iter().find(beside) {
            let found = format!("`{}` beside [[task.phase]] in task `{}`", member.key, shorten(name));
            return Err(self.text.error(&member.key_span, found, "it inside a phase"));
        }
        let repeat = match find(task, "repeat") {
            Some(member) => self.repeat(&member.node)?,
            None => Repeat::default(),
        };
        let expected = "tables headed [[task.phase]] (to shift the instances of a task, use `stagger`)";
        let items = self.text.list(&phases.node, "phase", expected)?;
        let mut program = Program { phases: Vec::with_capacity(items.len()), repeat };
        for item in items {
            program.phases.push(self.phase(item, expected, context)?);
        }
        Ok(program)
    }

    fn phase(&mut self, node: &Node, expected: &str, context: &mut TaskContext) -> Result<Phase, InputError> {
        let members = self.text.table(node, "phase", expected)?;
        let known = || PHASE_KEYS.into_iter().chain(BODY_KEYS).chain(ATTRIBUTE_KEYS);
        for member in members {
            if !known().any(|key| key == member.key) {
                return Err(self.text.unknown_key(member, "[[task.phase]]", "a key of a phase", known()));
            }
        }
        let name = self.optional_string(members, "name")?.unwrap_or_default();
        let what =
            if name.is_empty() { "the phase".to_owned() } else { format!("phase `{}`", shorten(&name)) };
        let mut phase = self.body(members, node, &what, context)?.phase;
        phase.name = name;
        phase.attributes = self.attributes(members)?;
        if let Some(member) = find(members, "repeat") {
            phase.repeat = self.repeat(&member.node)?;
        }
        Ok(phase)
    }

    /// What a task or phase does: `work`, or one of the short forms of `run`.
    fn body(
        &mut self,
        members: &[Member],
        node: &Node,
        what: &str,
        context: &mut TaskContext,
    ) -> Result<Body, InputError> {
        let mut phase = Phase { origin: Some(self.text.origin(node.span.start)), ..Phase::default() };
        let Some(work) = find(members, "work") else {
            return self.run_body(members, node, what, phase);
        };
        for key in ["run", "sleep", "every", "overrun"] {
            if let Some(member) = find(members, key) {
                let found = format!("both `work` and `{key}` in {what}");
                return Err(self.text.error(&member.key_span, found, "one of them"));
            }
        }
        let items = self.text.list(
            &work.node,
            "work",
            "a list of operations, such as [\"run 3ms\", \"sleep 2ms\"]",
        )?;
        if items.is_empty() {
            return Err(self.text.error(
                &work.node.span,
                "`work` is an empty list",
                "at least one operation",
            ));
        }
        for item in items {
            self.operation(item, context, &mut phase.ops, &mut phase.op_origins)?;
        }
        Ok(Body { phase, usual_repeat: Repeat::default() })
    }

    /// `run`, with `sleep` or `every`.
    fn run_body(
        &mut self,
        members: &[Member],
        node: &Node,
        what: &str,
        mut phase: Phase,
    ) -> Result<Body, InputError> {
        let Some(run) = find(members, "run") else {
            let expected = "`run = \"3ms\"`, `run = \"forever\"` or `work = [...]`";
            return Err(self.text.error(&node.span, format!("{what} does nothing"), expected));
        };
        let (sleep, every) = (find(members, "sleep"), find(members, "every"));
        let run_origin = self.text.origin(run.key_span.start);
        if matches!(&run.node.value, Value::Str(text) if text == "forever") {
            let others = ["sleep", "every", "overrun", "repeat"];
            if let Some(other) = others.iter().find_map(|key| find(members, key)) {
                let found = format!("`{}` beside `run = \"forever\"`", other.key);
                return Err(self.text.error(&other.key_span, found, "no end to the run, or a duration"));
            }
            phase.repeat = Repeat::Forever;
            phase.ops.push(Op::Run(FOREVER_PIECE));
            phase.op_origins.push(run_origin);
            return Ok(Body { phase, usual_repeat: Repeat::default() });
        }
        let Value::Str(_) = run.node.value else {
            return Err(self.text.mismatch(&run.node, "run", &format!("\"forever\", or {A_DURATION}")));
        };
        phase.ops.push(Op::Run(self.duration(&run.node, "run")?));
        phase.op_origins.push(run_origin);
        let absolute = self.catches_up(members, every)?;
        let pause = match (sleep, every) {
            (None, None) => return Ok(Body { phase, usual_repeat: Repeat::default() }),
            (Some(member), None) => (Op::Sleep(self.duration(&member.node, "sleep")?), member),
            (None, Some(member)) => {
                let period = self.duration(&member.node, "every")?;
                (Op::Timer(TimerOp { timer: TimerRef::Private(0), period, absolute }), member)
            }
            (Some(member), Some(_)) => {
                let found = format!("both `sleep` and `every` in {what}");
                return Err(self.text.error(&member.key_span, found, "one of them"));
            }
        };
        phase.ops.push(pause.0);
        phase.op_origins.push(self.text.origin(pause.1.key_span.start));
        Ok(Body { phase, usual_repeat: Repeat::Forever })
    }

    /// `overrun = "catch-up"` keeps the grid of `every` when an activation was missed.
    fn catches_up(&self, members: &[Member], every: Option<&Member>) -> Result<bool, InputError> {
        let Some(member) = find(members, "overrun") else { return Ok(false) };
        if every.is_none() {
            return Err(self.text.error(&member.key_span, "`overrun` without `every`", "`every = \"10ms\"`"));
        }
        let expected = "\"restart\" or \"catch-up\"";
        match self.text.string(&member.node, "overrun", expected)? {
            "restart" => Ok(false),
            "catch-up" => Ok(true),
            other => Err(self
                .text
                .mismatch(&member.node, "overrun", expected)
                .suggest(other, ["restart", "catch-up"])),
        }
    }
}
