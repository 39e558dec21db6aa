//! Tasks and phases of an rt-app file.
use super::events::{EventKind, PrivateTimers};
use super::properties::{ATTRIBUTE_KEYS, Inherited, PolicyName};
use super::{Compat, Duplicate, Reader};
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, find, shorten};
use evenkeel::workload::{Naming, Phase, Program, Repeat, SpecId, TaskSpec};

/// More threads than any kernel can number are refused.
const INSTANCES_MAX: i64 = 4_194_304;

/// Keys of a task besides attributes and events.
const TASK_KEYS: [&str; 4] = ["instance", "loop", "phases", "delay"];
/// Legacy names of the deadline parameters. `runtime` doubles as an event.
const LEGACY_KEYS: [&str; 3] = ["runtime", "period", "deadline"];

fn task_keys() -> Vec<&'static str> {
    [&TASK_KEYS[..], &ATTRIBUTE_KEYS, &LEGACY_KEYS].concat()
}

fn phase_keys() -> Vec<&'static str> {
    [&["loop"][..], &ATTRIBUTE_KEYS].concat()
}

/// Of a key that occurs twice in a task or phase.
fn duplicate_rule(key: &str) -> Duplicate {
    if EventKind::of_key(key).is_some() { Duplicate::Both } else { Duplicate::First }
}

impl Reader<'_> {
    pub(super) fn tasks(&mut self, node: &Node) -> Result<Vec<TaskSpec>, InputError> {
        let members = self.text.table(node, "tasks", "an object of tasks")?;
        if members.is_empty() {
            return Err(self.text.error(&node.span, "`tasks` is empty", "at least one task"));
        }
        let members = self.without_duplicates(members, |_| Duplicate::Rename);
        for (number, member) in (0u32..).zip(&members) {
            self.specs.insert(member.key.clone(), SpecId(number));
        }
        let mut tasks = Vec::with_capacity(members.len());
        let mut threads = 0u32;
        for member in &members {
            let mut task = self.task(member, threads)?;
            threads = threads.saturating_add(task.instances);
            if i64::from(threads) > INSTANCES_MAX {
                let found = format!("{threads} threads up to here");
                let expected = format!("at most {INSTANCES_MAX} threads in all");
                return Err(self.text.error(&member.key_span, found, expected));
            }
            task.origin = Some(self.text.origin(member.key_span.start));
            tasks.push(task);
        }
        Ok(tasks)
    }

    /// One task; `first_thread` threads come before its own.
    fn task(&mut self, member: &Member, first_thread: u32) -> Result<TaskSpec, InputError> {
        let name = &member.key;
        let what = format!("task `{}`", shorten(name));
        let members = self.text.table(&member.node, name, "an object with events, or with `phases`")?;
        let members = self.without_duplicates(members, duplicate_rule);
        let phases = find(&members, "phases");
        self.check_task_keys(&members, &what, phases.is_some())?;

        let instances = match find(&members, "instance") {
            Some(member) => {
                let expected = "a number of threads, at least 0";
                self.text.int(&member.node, "instance", 0..=INSTANCES_MAX, expected)?
            }
            None => 1,
        };
        let instances = u32::try_from(instances).unwrap_or(u32::MAX);
        let mut inherited = Inherited { policy: self.default_policy, util_clamp: None };
        let attributes = self.attributes(&members, &mut inherited, true)?;
        self.warn_of_idle_legacy_keys(&members, inherited.policy, phases.is_some());
        let program = match phases {
            Some(phases) => {
                self.program_of_phases(&members, &phases.node, name, instances, &mut inherited)?
            }
            None => self.program_without_phases(&members, member, instances)?,
        };
        let mut task = TaskSpec {
            name: name.clone(),
            naming: match self.compat {
                Compat::V1_0 => Naming::Plain,
                Compat::Master => Naming::NumberedFrom(first_thread),
            },
            instances,
            attributes,
            program,
            ..TaskSpec::default()
        };
        if let Some(member) = find(&members, "delay") {
            task.delay = self.time(&member.node, "delay")?;
        }
        restore_affinity(&mut task);
        Ok(task)
    }

    fn check_task_keys(
        &mut self,
        members: &[Member],
        what: &str,
        has_phases: bool,
    ) -> Result<(), InputError> {
        let known = task_keys();
        for member in members {
            let key = member.key.as_str();
            if EventKind::of_key(key).is_some() {
                if has_phases && key != "runtime" {
                    let message = format!("event `{}` beside `phases`", shorten(key));
                    self.warn(&member.key_span, message, "ignored, as rt-app does");
                }
                continue;
            }
            if !known.contains(&key) {
                self.unknown(member, what, &known)?;
                continue;
            }
            self.need_value(member)?;
        }
        Ok(())
    }

    /// Refuses an unknown key, unless it is what `workgen` makes of a repeated property.
    fn unknown(&mut self, member: &Member, what: &str, known: &[&'static str]) -> Result<(), InputError> {
        if Self::is_renamed_property(&member.key, known) {
            let message = format!("`{}` is a property with a number appended", shorten(&member.key));
            self.warn(&member.key_span, message, "ignored, as rt-app does");
            return Ok(());
        }
        let candidates = known.iter().copied().chain(EventKind::names());
        let expected = if what.starts_with("task") {
            "an event or a task property"
        } else {
            "an event or a phase property"
        };
        Err(self.text.unknown_key(member, what, expected, candidates))
    }

    fn warn_of_idle_legacy_keys(&mut self, members: &[Member], policy: PolicyName, has_phases: bool) {
        if policy == PolicyName::Deadline {
            return;
        }
        for key in LEGACY_KEYS.iter().filter(|&&key| key != "runtime" || has_phases) {
            if let Some(member) = find(members, key) {
                let message =
                    format!("`{key}` is a legacy deadline parameter, and the task is not SCHED_DEADLINE");
                self.warn(&member.key_span, message, "ignored");
            }
        }
    }

    fn program_of_phases(
        &mut self,
        members: &[Member],
        phases: &Node,
        task_name: &str,
        instances: u32,
        inherited: &mut Inherited,
    ) -> Result<Program, InputError> {
        let repeat = match find(members, "loop") {
            Some(member) => self.repeat(&member.node)?,
            None => Repeat::Forever,
        };
        let members = self.text.table(phases, "phases", "an object of phases")?;
        if members.is_empty() {
            return Err(self.text.error(&phases.span, "`phases` is empty", "at least one phase"));
        }
        let members = self.without_duplicates(members, |_| Duplicate::Rename);
        let mut timers = PrivateTimers::default();
        let mut program = Program { phases: Vec::with_capacity(members.len()), repeat };
        for member in &members {
            program.phases.push(self.phase(member, task_name, instances, inherited, &mut timers)?);
        }
        Ok(program)
    }

    fn phase(
        &mut self,
        member: &Member,
        task_name: &str,
        instances: u32,
        inherited: &mut Inherited,
        timers: &mut PrivateTimers,
    ) -> Result<Phase, InputError> {
        let what = format!("phase `{}`", shorten(&member.key));
        let members = self.text.table(&member.node, &member.key, "an object with events")?;
        let mut members = self.without_duplicates(members, duplicate_rule);
        let known = phase_keys();
        for member in &members {
            if EventKind::of_key(&member.key).is_some() {
                continue;
            }
            if !known.contains(&member.key.as_str()) {
                self.unknown(member, &what, &known)?;
                continue;
            }
            self.need_value(member)?;
        }
        if self.compat == Compat::V1_0 {
            self.drop_newer_phase_keys(&mut members);
        }
        let mut phase = Phase {
            name: member.key.clone(),
            attributes: self.attributes(&members, inherited, false)?,
            origin: Some(self.text.origin(member.key_span.start)),
            ..Phase::default()
        };
        if let Some(member) = find(&members, "loop") {
            phase.repeat = self.repeat(&member.node)?;
        }
        self.events(&members, task_name, instances, timers, &mut phase)?;
        Ok(phase)
    }

    /// rt-app 1.0 knows only `cpus` of the attributes in a phase.
    fn drop_newer_phase_keys(&mut self, members: &mut Vec<Member>) {
        let is_newer = |key: &str| key != "cpus" && ATTRIBUTE_KEYS.contains(&key);
        for member in members.iter().filter(|member| is_newer(&member.key)) {
            let message = format!("`{}` in a phase is newer than rt-app 1.0", member.key);
            self.warn(&member.key_span, message, "ignored, as 1.0 does");
        }
        members.retain(|member| !is_newer(&member.key));
    }

    /// A task whose events stand beside its properties. The dialects disagree what its `loop` means.
    fn program_without_phases(
        &mut self,
        members: &[Member],
        task: &Member,
        instances: u32,
    ) -> Result<Program, InputError> {
        let written = match find(members, "loop") {
            Some(member) => Some(self.repeat(&member.node)?),
            None => None,
        };
        let mut phase = Phase { origin: Some(self.text.origin(task.key_span.start)), ..Phase::default() };
        let repeat = match self.compat {
            Compat::V1_0 => {
                phase.repeat = written.unwrap_or(Repeat::Times(1));
                Repeat::Forever
            }
            Compat::Master => written.unwrap_or(Repeat::Forever),
        };
        self.events(members, &task.key, instances, &mut PrivateTimers::default(), &mut phase)?;
        if phase.ops.is_empty() {
            let found = format!("task `{}` has no events", shorten(&task.key));
            return Err(self.text.error(&task.key_span, found, "events such as `run`, or `phases`"));
        }
        Ok(Program { phases: vec![phase], repeat })
    }
}

/// A phase without `cpus` goes back to those of the task, so if any phase sets them every phase has to.
fn restore_affinity(task: &mut TaskSpec) {
    let phases = &mut task.program.phases;
    if phases.iter().any(|phase| phase.attributes.affinity.is_some()) {
        let own = task.attributes.affinity.clone().unwrap_or_default();
        for phase in phases {
            phase.attributes.affinity.get_or_insert_with(|| own.clone());
        }
    }
}
