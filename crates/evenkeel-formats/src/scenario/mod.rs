//! Scenarios: machine, kernel, tasks and duration in one commented TOML file.
//!
//! ```
//! let text = r#"
//! machine = "4 cores x 2 threads"
//! kernel = "v6.12"
//! duration = "1s"
//!
//! [[task]]
//! name = "spin"          # sixteen spinners, held on CPU 0 ...
//! count = 16
//! affinity = 0
//! run = "forever"
//!
//! [[at]]                 # ... then released
//! time = "250ms"
//! task = "spin"
//! affinity = "all"
//! "#;
//! let scenario = evenkeel_formats::scenario::read(text, "skew16.toml")?;
//! assert_eq!(scenario.workload.tasks[0].instances, 16);
//! # Ok::<(), evenkeel_formats::diagnostic::InputError>(())
//! ```
//!
//! | section | keys |
//! |---|---|
//! | top | `name`, `description`, `machine`, `kernel`, `seed`, `duration`, `groups`, `autogroup` |
//! | `[set]` | overrides of kernel settings, as `--set` takes them |
//! | `[[task]]` | `name`, `count` (1; 0: only forked), `cpu` (0: who forks it), `delay`, `stagger`, `process` (the process whose threads its instances are; without it each is its own), `percpu_kthread` (a kernel thread of the one CPU it is bound to), attributes, a body, `repeat`, or `[[task.phase]]` |
//! | `[[task.phase]]` | `name`, attributes, a body, `repeat` (1) |
//! | body | `run = "forever"`; `run`; `run` and `sleep`; `run` and `every` (with `overrun`); or `work = [..]` |
//! | attributes | `affinity`, `nice`, `policy`, `slice`, `group`, `uclamp`; what NUMA balancing has found out: `preferred_node` (a number or `"none"`), `numa_faults`, `numa_group_faults` (a number per node) |
//! | `[[group]]` | `path`, `weight` or `shares` or `idle`, `max`, `burst`: a task group; `groups = "a(weight=200){b c(max=20ms/100ms)} d(idle)"` says the same in one line |
//! | `[[irq]]` | `cpu`, `every`, `run`, `start`: a device whose interrupts take time from whoever runs there |
//! | `[[at]]` | `time`, `task`, attributes: a change from outside; or `time`, `group`, `weight`, `shares`, `max`, `burst`; or `time` and `set`: settings of the running kernel |
//! | `[barriers]`, `[semaphores]` | `NAME = N`: arrivals that open it; its value at the start |
//!
//! All instances are forked in file order, at time 0, by a task named `init` on the task's `cpu`. Durations are
//! text with a unit: `"10ms"`, `"1.5s"`, `"200us"`. `{i}` in any text of a task stands for the number of the
//! instance, which makes pairs: `recv ball{i}`. Operations of `work` are listed in [`OPERATIONS`].
//!
//! Objects need no declaration, but what is waited for must be done by somebody: `wait c` without any `signal c`
//! is an error. Left out: what machine and kernel names mean (they are handed on with their place).
mod groups;
mod interrupts;
mod live;
mod task;
mod timeline;
mod toml_tree;
mod values;
mod work;

pub use values::parse_duration;
pub use work::OPERATIONS;

use crate::checks;
use crate::diagnostic::{InputError, Text, Warning};
use crate::objects::{Class, Objects};
use crate::tree::{Member, Node, Value, find, shorten};
use evenkeel::time::Ns;
use evenkeel::workload::{ObjectId, ObjectKind, Origin, SpecId, Workload};
use std::collections::BTreeMap;

/// A scenario file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scenario {
    /// `name`, else the file's stem.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `machine`: whatever `--machine` accepts.
    pub machine: Option<Located>,
    /// `kernel`: whatever `--kernel` accepts.
    pub kernel: Option<Located>,
    /// `seed`.
    pub seed: Option<u64>,
    /// `duration`; also in the workload.
    pub duration: Option<Ns>,
    /// `[set]`, in file order.
    pub set: Vec<Setting>,
    /// The tasks and the timeline.
    pub workload: Workload,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

/// A text value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The value.
    pub text: String,
    /// Where, in the workload's sources.
    pub origin: Origin,
}

/// One override of `[set]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted name, as in `balance.imbalance_pct.llc`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// Where, in the workload's sources.
    pub origin: Origin,
}

const TOP_KEYS: [&str; 15] = [
    "name",
    "description",
    "machine",
    "kernel",
    "seed",
    "duration",
    "set",
    "task",
    "group",
    "groups",
    "autogroup",
    "irq",
    "at",
    "barriers",
    "semaphores",
];

/// Reads a scenario. `file_name` is for messages and, by its stem, the default name.
pub fn read(text: &str, file_name: &str) -> Result<Scenario, InputError> {
    let text = Text::new(file_name, text);
    let root = toml_tree::parse(&text)?;
    Reader::new(&text).read(&root)
}

/// The state of reading one file.
struct Reader<'a> {
    text: &'a Text<'a>,
    warnings: Vec<Warning>,
    objects: Objects,
    /// Definitions by the name in the file; several if the task was written out per instance.
    specs: BTreeMap<String, Vec<SpecId>>,
    /// Where each barrier is first used.
    barriers: BTreeMap<String, (ObjectId, crate::tree::Span)>,
    /// Where each semaphore is first used.
    semaphores: BTreeMap<String, ObjectId>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a Text<'a>) -> Self {
        Self {
            text,
            warnings: Vec::new(),
            objects: Objects::default(),
            specs: BTreeMap::new(),
            barriers: BTreeMap::new(),
            semaphores: BTreeMap::new(),
        }
    }

    fn read(mut self, root: &Node) -> Result<Scenario, InputError> {
        let members = self.text.table(root, "scenario", "a table")?;
        for member in members {
            if !TOP_KEYS.contains(&member.key.as_str()) {
                let expected = "a key of the scenario, [[task]] or [[at]]";
                return Err(self.text.unknown_key(member, "the scenario", expected, TOP_KEYS));
            }
        }
        let name =
            self.optional_string(members, "name")?.unwrap_or_else(|| crate::stem(self.text.name()).into());
        let description = self.optional_string(members, "description")?;
        let machine = self.located(members, "machine")?;
        let kernel = self.located(members, "kernel")?;
        let seed = match find(members, "seed") {
            Some(member) => {
                let seed = self.text.int(&member.node, "seed", 0..=i64::MAX, "a whole number, at least 0")?;
                Some(seed.unsigned_abs())
            }
            None => None,
        };
        let duration = self.optional_duration(members, "duration")?;
        let set = self.settings(members)?;

        let groups = self.groups(members)?;
        let interrupts = self.interrupts(members)?;
        let autogroup = match find(members, "autogroup") {
            Some(member) => self.text.bool(&member.node, "autogroup")?,
            None => false,
        };
        let tasks = self.tasks(members, root)?;
        let timeline = self.timeline(members)?;
        self.barrier_counts(members)?;
        self.semaphore_values(members)?;

        let workload = Workload {
            name: name.clone(),
            tasks,
            objects: self.objects.into_vec(),
            groups,
            autogroup,
            interrupts,
            timeline,
            duration,
            sources: vec![self.text.source()],
        };
        refuse_unmatched_waits(&workload)?;
        let mut warnings = self.warnings;
        warnings.extend(checks::check(&workload)?);
        Ok(Scenario { name, description, machine, kernel, seed, duration, set, workload, warnings })
    }

    fn optional_string(&self, members: &[Member], key: &str) -> Result<Option<String>, InputError> {
        let Some(member) = find(members, key) else { return Ok(None) };
        Ok(Some(self.text.string(&member.node, key, "text in quotes")?.to_owned()))
    }

    fn located(&self, members: &[Member], key: &str) -> Result<Option<Located>, InputError> {
        let Some(text) = self.optional_string(members, key)? else { return Ok(None) };
        let origin = find(members, key).map(|member| self.text.origin(member.node.span.start));
        Ok(origin.map(|origin| Located { text, origin }))
    }

    /// `[set]`, tables flattened to dotted names.
    fn settings(&self, members: &[Member]) -> Result<Vec<Setting>, InputError> {
        let Some(member) = find(members, "set") else { return Ok(Vec::new()) };
        let mut settings = Vec::new();
        let table = self.text.table(&member.node, "set", "a table of overrides, [set]")?;
        self.flatten(table, "", &mut settings)?;
        settings.sort_by_key(|setting| setting.origin);
        Ok(settings)
    }

    fn flatten(&self, members: &[Member], prefix: &str, into: &mut Vec<Setting>) -> Result<(), InputError> {
        for member in members {
            let key = format!("{prefix}{}", member.key);
            let value = match &member.node.value {
                Value::Table(members) => {
                    self.flatten(members, &format!("{key}."), into)?;
                    continue;
                }
                Value::Int(value) => value.to_string(),
                Value::Bool(value) => value.to_string(),
                Value::Number(text) | Value::Str(text) => text.clone(),
                _ => {
                    let expected = "a number, text, true or false";
                    return Err(self.text.mismatch(&member.node, &shorten(&key), expected));
                }
            };
            into.push(Setting { key, value, origin: self.text.origin(member.key_span.start) });
        }
        Ok(())
    }

    /// `[barriers]`; a barrier that is not there opens when each task that uses it has arrived.
    fn barrier_counts(&mut self, members: &[Member]) -> Result<(), InputError> {
        let given = match find(members, "barriers") {
            Some(member) => self.text.table(&member.node, "barriers", "a table of counts, [barriers]")?,
            None => &[],
        };
        for member in given {
            let count =
                self.text.int(&member.node, &member.key, 1..=i64::from(u32::MAX), "a number of arrivals")?;
            let Some(&(id, _)) = self.barriers.get(&member.key) else {
                let found = format!("no task comes to a barrier `{}`", shorten(&member.key));
                let names: Vec<&str> = self.barriers.keys().map(String::as_str).collect();
                let error = self.text.error(&member.key_span, found, "the name of a barrier that is used");
                return Err(error.suggest(&member.key, names));
            };
            let parties = u32::try_from(count).unwrap_or(u32::MAX);
            self.objects.get_mut(id).kind = ObjectKind::Barrier { parties };
        }
        for (name, (id, span)) in &self.barriers {
            if self.objects.get_mut(*id).kind == (ObjectKind::Barrier { parties: 0 }) {
                let found = format!("only forked tasks come to barrier `{}`", shorten(name));
                return Err(self.text.error(
                    span,
                    found,
                    format!("its number of arrivals in [barriers], as `{name} = 4`"),
                ));
            }
        }
        Ok(())
    }

    /// `[semaphores]`; others start at 0.
    fn semaphore_values(&mut self, members: &[Member]) -> Result<(), InputError> {
        let Some(member) = find(members, "semaphores") else { return Ok(()) };
        for member in self.text.table(&member.node, "semaphores", "a table of values, [semaphores]")? {
            let value =
                self.text.int(&member.node, &member.key, 0..=i64::from(u32::MAX), "a number, at least 0")?;
            let Some(&id) = self.semaphores.get(&member.key) else {
                let found = format!("no task uses a semaphore `{}`", shorten(&member.key));
                let names: Vec<&str> = self.semaphores.keys().map(String::as_str).collect();
                let error = self.text.error(&member.key_span, found, "the name of a semaphore that is used");
                return Err(error.suggest(&member.key, names));
            };
            let initial = u32::try_from(value).unwrap_or(u32::MAX);
            self.objects.get_mut(id).kind = ObjectKind::Semaphore { initial };
        }
        Ok(())
    }

    /// The object of that name; remembers where barriers and semaphores are used.
    fn object(&mut self, class: Class, name: &str, span: crate::tree::Span) -> ObjectId {
        let id = self.objects.id(class, name);
        match class {
            Class::Barrier => {
                self.barriers.entry(name.to_owned()).or_insert((id, span));
            }
            Class::Semaphore => {
                self.semaphores.insert(name.to_owned(), id);
            }
            Class::Mutex | Class::Condition | Class::Timer | Class::Channel => {}
        }
        id
    }
}

/// A wait that nobody ends is a misspelt name more often than not.
fn refuse_unmatched_waits(workload: &Workload) -> Result<(), InputError> {
    let unmatched = checks::unmatched_waits(workload);
    let Some(wait) = unmatched.first() else { return Ok(()) };
    let object = &workload.objects[wait.object.0 as usize];
    let same_kind = |index: usize| {
        let is_unmatched = unmatched.iter().any(|other| other.object.0 as usize == index);
        let kind = workload.objects[index].kind;
        !is_unmatched && core::mem::discriminant(&kind) == core::mem::discriminant(&object.kind)
    };
    let candidates = (0..workload.objects.len()).filter(|&index| same_kind(index));
    let names = candidates.map(|index| workload.objects[index].name.as_str());
    let verb = wait.missing;
    let found = format!("no task ever does `{verb} {}`", shorten(&object.name));
    let expected = format!("something that some task does `{verb}` on");
    Err(InputError::in_workload(workload, wait.origin, found, expected).suggest(&object.name, names))
}
