//! What was changed from outside while a run went on, with the values before and after: `at 300 ms: migration_cost_ns 500000
//! -> 0`.
//!
//! [`Changes`] is an observer that wants nothing but the events about changes, so a run with it attached is as fast as one
//! without. Only what the host announces as coming from outside ([`Event::Outside`]) is kept: tasks that change their own
//! attributes are part of the workload. The same change of several tasks at one time is one line.
use crate::Page;
use crate::explain::at;
use crate::table::wrap;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::mask::CpuMask;
use evenkeel::observe::{Event, Observer};
use evenkeel::time::Ns;
use evenkeel::tune::{Changed, Tune};
use evenkeel::workload::Bandwidth;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One change, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub at_ns: u64,
    /// What: `migration_cost_ns`, `features.NAME`, `domain.LEVEL.NAME`, `affinity`, `nice`, `policy`, `slice_ns`, `group`,
    /// `shares`, `limit`, `offline`, `online` or `partitions`.
    pub what: String,
    /// Whose: names of tasks, or the path of a group; of nobody if it is a setting of the kernel or the machine.
    pub of: Vec<String>,
    /// The value before, if there was one.
    pub before: Option<String>,
    /// The value after.
    pub after: String,
}

impl Change {
    /// A sentence without its end: `migration_cost_ns 500000 -> 0`.
    pub fn text(&self) -> String {
        let before = self.before.as_deref();
        let value = before.map_or(self.after.clone(), |before| format!("{before} -> {}", self.after));
        match (self.what.as_str(), &self.of[..]) {
            ("online", _) => format!("CPU {} comes online", self.after),
            ("offline", _) => format!("CPU {} goes offline", self.after),
            (what, []) => format!("{what} {value}"),
            (what, [one]) => format!("{what} of {one}: {value}"),
            (what, [one, other]) => format!("{what} of {one} and {other}: {value}"),
            (what, [first, .., last]) => {
                format!("{what} of {} tasks, {first} to {last}: {value}", self.of.len())
            }
        }
    }
}

/// The changes as lines `at TIME: ...`, for explanations.
pub fn text(changes: &[Change], heading: &str, page: Page) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", page.heading(heading));
    for change in changes {
        text.push_str(&wrap(&format!("  At {}: {}.", at(change.at_ns), change.text()), page.width, "    "));
    }
    text
}

/// A change as events tell it.
#[derive(Clone, Debug)]
enum Kept {
    Affinity { task: TaskId, before: Option<Arc<CpuMask>>, after: Arc<CpuMask> },
    Hotplug { cpu: CpuId, online: bool },
    Other(Changed),
}

/// Keeps the changes from outside.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    outside: bool,
    affinities: BTreeMap<TaskId, Arc<CpuMask>>,
    kept: Vec<(Ns, Kept)>,
}

impl Observer for Changes {
    const ON: bool = true;
    const EVERYTHING: bool = false;
    fn event(&mut self, now: Ns, event: &Event) {
        let kept = match event {
            Event::Outside { begins } => {
                self.outside = *begins;
                return;
            }
            Event::Affinity { task, allowed } => {
                let before = self.affinities.insert(*task, allowed.clone());
                Kept::Affinity { task: *task, before, after: allowed.clone() }
            }
            Event::Hotplug { cpu, online } => Kept::Hotplug { cpu: *cpu, online: *online },
            Event::Changed(changed) => Kept::Other(changed.clone()),
            _ => return,
        };
        if self.outside {
            self.kept.push((now, kept));
        }
    }
}

impl Changes {
    /// The changes up to `until` in words, with the names of tasks and groups by number.
    pub fn list(&self, until: Ns, task: impl Fn(TaskId) -> String, groups: &[String]) -> Vec<Change> {
        let mut list: Vec<Change> = Vec::new();
        for (now, kept) in self.kept.iter().filter(|(now, _)| *now <= until) {
            for change in words(*now, kept, &task, groups) {
                let alike = |last: &&mut Change| {
                    let same = (&last.what, &last.before, &last.after)
                        == (&change.what, &change.before, &change.after);
                    last.at_ns == change.at_ns && same && !change.of.is_empty()
                };
                match list.iter_mut().rev().find(alike) {
                    Some(last) => last.of.extend(change.of),
                    None => list.push(change),
                }
            }
        }
        list
    }
}

fn words(at: Ns, kept: &Kept, task: &impl Fn(TaskId) -> String, groups: &[String]) -> Vec<Change> {
    let group =
        |group: TgId| groups.get(group.index()).cloned().unwrap_or_else(|| format!("group {}", group.0));
    let change = |what: &str, of: Vec<String>, before: Option<String>, after: String| Change {
        at_ns: at,
        what: what.to_owned(),
        of,
        before,
        after,
    };
    match kept {
        Kept::Affinity { task: whose, before, after } => {
            let before = before.as_ref().map(ToString::to_string);
            vec![change("affinity", vec![task(*whose)], before, after.to_string())]
        }
        Kept::Hotplug { cpu, online } => {
            let what = if *online { "online" } else { "offline" };
            vec![change(what, Vec::new(), None, cpu.to_string())]
        }
        Kept::Other(Changed::Tune { tune, before }) => vec![setting(at, *tune, *before, group)],
        Kept::Other(Changed::Attributes { task: whose, before, after }) => {
            let (mut all, slice) = (Vec::new(), |slice: Ns| match slice {
                0 => "default".to_owned(),
                slice => slice.to_string(),
            });
            let mut add = |what: &str, before: String, after: String| {
                if before != after {
                    all.push(change(what, vec![task(*whose)], Some(before), after));
                }
            };
            let policy = |policy| format!("{policy:?}").to_lowercase();
            add("policy", policy(before.policy), policy(after.policy));
            add("nice", before.nice.to_string(), after.nice.to_string());
            add("slice_ns", slice(before.slice), slice(after.slice));
            all
        }
        Kept::Other(Changed::Group { task: whose, before, after }) => {
            vec![change("group", vec![task(*whose)], Some(group(*before)), group(*after))]
        }
        Kept::Other(Changed::Bandwidth { group: whose, before, after }) => {
            vec![change("limit", vec![group(*whose)], Some(limit(before)), limit(after))]
        }
        Kept::Other(Changed::Partitions(sets)) => {
            let after = sets.as_ref().map_or("none".to_owned(), |sets| {
                sets.iter().map(|cpus| format!("[{cpus}]")).collect::<Vec<_>>().join(" ")
            });
            vec![change("partitions", Vec::new(), None, after)]
        }
    }
}

fn setting(at: Ns, tune: Tune, before: u64, group: impl Fn(TgId) -> String) -> Change {
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    // The kernel's -1.
    let cost = |ns: u64| if ns == u64::from(u32::MAX) { "-1".to_owned() } else { ns.to_string() };
    let number = before.to_string();
    let (what, of, before, after) = match tune {
        Tune::MigrationCost { ns } => ("migration_cost_ns".to_owned(), None, cost(before), cost(ns.into())),
        Tune::NrMigrate { tasks } => ("nr_migrate".to_owned(), None, number, tasks.to_string()),
        Tune::BaseSlice { ns } => ("base_slice_ns".to_owned(), None, number, ns.to_string()),
        Tune::Feature { feature, on } => {
            let name = feature.iter_names().next().map_or("?", |(name, _)| name);
            (format!("features.{name}"), None, on_off(before != 0), on_off(on))
        }
        Tune::Domain { level, knob, value } => {
            let what = format!("domain.{}.{}", level.unwrap_or("all"), knob.name());
            (what, None, number, value.to_string())
        }
        // Shares have ten more bits inside.
        Tune::Shares { group: whose, shares } => {
            ("shares".to_owned(), Some(group(whose)), (before >> 10).to_string(), (shares >> 10).to_string())
        }
    };
    Change { at_ns: at, what, of: of.into_iter().collect(), before: Some(before), after }
}

/// As `cpu.max` shows it, with units.
fn limit(limit: &Bandwidth) -> String {
    let Some(quota) = limit.quota else { return "none".to_owned() };
    let burst = if limit.burst > 0 { format!(", burst {}", at(limit.burst)) } else { String::new() };
    format!("{} per {}{burst}", at(quota), at(limit.period))
}
