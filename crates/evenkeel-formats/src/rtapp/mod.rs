//! rt-app JSON: the workload language scheduler developers exchange.
//!
//! A file names tasks; a task has phases; a phase is a list of events in file order, repeated. [`read`] turns it
//! into a [`Workload`]. Real files come in two dialects, and were mostly written for the `workgen` wrapper,
//! which forgives more than rt-app does; both are accepted (spec 5 §6).
//!
//! | in the file | in the workload |
//! |---|---|
//! | `run` 1000 | 1 ms of work at capacity 1024 |
//! | `runtime` 1000 | busy until 1 ms of wall time has passed |
//! | `mem`, `memrun`, `iorun` | work by the rates in [`Rates`]: caches, memory and devices are not simulated |
//! | `suspend`, `resume` | wait and broadcast on a condition without memory, named as the task |
//! | `barrier` | as many parties as the file refers to the name, each reference once per instance |
//! | `timer` whose `ref` starts with `unique` | a timer of the instance; otherwise shared by name |
//! | `cpus` absent in a phase | the task's CPUs again; absent in the task: all |
//!
//! `"run": 100, "run": 300` are two events. rt-app alone would see only the last; `workgen` renames the second,
//! and so do we unless [`Options::strict`]. Times are whole microseconds.
//!
//! Left out: `logdir`, `ftrace` and the like are read but mean nothing here; calibration only rounds and is not
//! applied; memory placement is carried but not simulated; priority inheritance is reported as ignored.
mod events;
mod globals;
mod json;
mod properties;
mod tasks;

pub use globals::{Calibration, Globals};

use crate::checks;
use crate::diagnostic::{InputError, Text, Warning};
use crate::objects::Objects;
use crate::tree::{Member, Node, Value, find, shorten};
use evenkeel::workload::{SpecId, Workload};
use properties::PolicyName;
use std::collections::{BTreeMap, BTreeSet};

/// Which rt-app a file was written for, where the two read it differently (spec 5 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// Release 1.0, as distributions package it: a task without phases repeats its `loop` forever; `suspend`
    /// may name a condition; threads are called `NAME`; legacy deadline times are nanoseconds.
    V1_0,
    /// The present development branch: a task without phases ends after its `loop`; `suspend` always uses the
    /// task's name; threads are called `NAME-INDEX`; legacy deadline times are microseconds; phases may change
    /// policy.
    Master,
}

/// How to read a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The dialect. `None`: [`Compat::Master`], unless that leaves a task waiting for something nobody does while
    /// [`Compat::V1_0`] does not.
    pub compat: Option<Compat>,
    /// Of duplicate keys the last value counts, at the place of the first, as rt-app's own parser does it.
    pub strict: bool,
    /// What memory and device accesses cost.
    pub rates: Rates,
}

/// What memory and device accesses cost as work at capacity 1024. The defaults are plain assumptions about a
/// server of today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// `mem`: bytes written per microsecond (default 8000, that is 8 GB/s).
    pub mem_bytes_per_us: u32,
    /// `iorun`: bytes written per microsecond (default 2000). The device never blocks.
    pub io_bytes_per_us: u32,
    /// `memrun`, one access in order, in nanoseconds (default 2).
    pub sequential_access_ns: u32,
    /// `memrun`, one access at random, in nanoseconds (default 20).
    pub random_access_ns: u32,
    /// `memrun`, one step of a pointer chase, in nanoseconds (default 80).
    pub chase_access_ns: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            mem_bytes_per_us: 8000,
            io_bytes_per_us: 2000,
            sequential_access_ns: 2,
            random_access_ns: 20,
            chase_access_ns: 80,
        }
    }
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtApp {
    /// What the tasks do.
    pub workload: Workload,
    /// The `global` section.
    pub globals: Globals,
    /// What is odd, in file order per section.
    pub warnings: Vec<Warning>,
}

/// Reads an rt-app file. `file_name` is for messages; its stem names the workload.
pub fn read(text: &str, file_name: &str, options: &Options) -> Result<RtApp, InputError> {
    let text = Text::new(file_name, text);
    let root = json::parse(&text)?;
    let read_as = |compat| Reader::new(&text, *options, compat).read(&root);
    if let Some(compat) = options.compat {
        return read_as(compat);
    }
    let newer = read_as(Compat::Master)?;
    let stuck = checks::unmatched_waits(&newer.workload).len();
    if stuck > 0
        && let Ok(mut older) = read_as(Compat::V1_0)
        && checks::unmatched_waits(&older.workload).len() < stuck
    {
        older.warnings.insert(
            0,
            Warning {
                place: None,
                message: format!("{file_name} is read as rt-app 1.0 did").into(),
                consequence: "read as newer versions do, some of its tasks would wait for ever".into(),
            },
        );
        return Ok(older);
    }
    Ok(newer)
}

/// The state of reading one file.
struct Reader<'a> {
    text: &'a Text<'a>,
    options: Options,
    compat: Compat,
    warnings: Vec<Warning>,
    objects: Objects,
    /// Definitions by the name they were written with.
    specs: BTreeMap<String, SpecId>,
    default_policy: PolicyName,
}

/// What becomes of a key that occurs twice in one object when [`Options::strict`] is off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duplicate {
    /// Both count, in order.
    Both,
    /// Both count, and the second gets a number appended.
    Rename,
    /// The first counts: `workgen` would append a number, and no one knows that key.
    First,
}

impl<'a> Reader<'a> {
    fn new(text: &'a Text<'a>, options: Options, compat: Compat) -> Self {
        Self {
            text,
            options,
            compat,
            warnings: Vec::new(),
            objects: Objects::default(),
            specs: BTreeMap::new(),
            default_policy: PolicyName::Other,
        }
    }

    fn read(mut self, root: &Node) -> Result<RtApp, InputError> {
        let expected = "an object with `tasks`, and perhaps `global`";
        let Value::Table(members) = &root.value else {
            return Err(self.text.error(&root.span, format!("the file is {}", root.describe()), expected));
        };
        let members = self.without_duplicates(members, |_| Duplicate::First);
        for member in &members {
            self.check_section(member)?;
        }
        let Some(tasks) = find(&members, "tasks") else {
            let open = root.span.start..root.span.start + 1;
            return Err(self.text.error(&open, "there is no `tasks` object", expected));
        };
        let globals = match find(&members, "global") {
            Some(member) => self.globals(&member.node)?,
            None => Globals::default(),
        };
        self.default_policy = globals.policy_name;
        let name = crate::stem(self.text.name()).to_owned();
        let mut tasks = self.tasks(&tasks.node)?;
        // rt-app is one process; also its `fork` makes a thread of it.
        for task in &mut tasks {
            task.process = Some(name.clone());
        }
        let workload = Workload {
            name,
            tasks,
            objects: self.objects.into_vec(),
            groups: Vec::new(),
            autogroup: false,
            interrupts: Vec::new(),
            timeline: Vec::new(),
            duration: globals.duration,
            sources: vec![self.text.source()],
        };
        let mut warnings = self.warnings;
        warnings.extend(checks::check(&workload)?);
        for wait in checks::unmatched_waits(&workload) {
            let name = &workload.objects[wait.object.0 as usize].name;
            let does = if wait.missing == "signal" {
                "signals or resumes".to_owned()
            } else {
                format!("{}s", wait.missing)
            };
            let message = format!("nobody {does} `{name}`");
            let consequence = if wait.missing == "lock" { "has no effect" } else { "a wait here never ends" };
            warnings.push(Warning::in_workload(&workload, wait.origin, message, consequence));
        }
        Ok(RtApp { workload, globals, warnings })
    }

    fn check_section(&mut self, member: &Member) -> Result<(), InputError> {
        match member.key.as_str() {
            "tasks" | "global" => Ok(()),
            "resources" => {
                self.text.table(&member.node, "resources", "an object of resources")?;
                self.warn(
                    &member.key_span,
                    "`resources` is not needed",
                    "ignored: events define what they use",
                );
                Ok(())
            }
            key => {
                let message = format!("unknown section `{}`", shorten(key));
                let near = crate::diagnostic::near_match(key, ["tasks", "global", "resources"]);
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                self.warn(&member.key_span, message, format!("ignored, as rt-app does{hint}"));
                Ok(())
            }
        }
    }

    fn warn(
        &mut self,
        span: &crate::tree::Span,
        message: impl Into<Box<str>>,
        consequence: impl Into<Box<str>>,
    ) {
        self.warnings.push(self.text.warning(span, message, consequence));
    }

    /// The members of an object with duplicates settled (spec 5 §6.1), with a warning for each.
    fn without_duplicates(&mut self, members: &[Member], rule: impl Fn(&str) -> Duplicate) -> Vec<Member> {
        let mut settled: Vec<Member> = Vec::with_capacity(members.len());
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let written: BTreeSet<&str> = members.iter().map(|member| member.key.as_str()).collect();
        for member in members {
            let Some(&first) = places.get(&member.key) else {
                places.insert(member.key.clone(), settled.len());
                settled.push(member.clone());
                continue;
            };
            let key = shorten(&member.key);
            let message = format!("`{key}` occurs again in the same object");
            if self.options.strict {
                self.warn(&member.key_span, message, "this value counts, at the place of the first");
                settled[first].node = member.node.clone();
                continue;
            }
            match rule(&member.key) {
                Duplicate::Both => {
                    self.warn(&member.key_span, message, "both count, in order (strict: only the last)");
                    settled.push(member.clone());
                }
                Duplicate::Rename => {
                    let mut numbers = (1u64..).map(|number| format!("{}{number}", member.key));
                    let is_new =
                        |name: &String| !written.contains(name.as_str()) && !places.contains_key(name);
                    let name = numbers.find(is_new).unwrap_or_default();
                    self.warn(&member.key_span, message, format!("this one is called `{}`", shorten(&name)));
                    places.insert(name.clone(), settled.len());
                    settled.push(Member { key: name, ..member.clone() });
                }
                Duplicate::First => {
                    self.warn(&member.key_span, message, "ignored: the first counts (strict: the last)");
                }
            }
        }
        settled
    }
}
