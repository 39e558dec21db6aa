//! What is different between two domain trees, and nothing else.
//!
//! Levels are matched by name (the second of two NUMA levels with the second), whatever their numbers. Differences that
//! many CPUs have in common are said once: `0-7  MC imbalance_pct  117 -> 110`.
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::topology::debugfs::flag_names;
use evenkeel::topology::{Domain, Domains, Machine};
use std::collections::BTreeMap;

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The domains that the kernel builds of the machine.
    pub domains: &'a Domains,
}

/// Something that some CPUs have differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The CPUs.
    pub cpus: CpuMask,
    /// What: `levels`, or a level and one of its values (`MC imbalance_pct`).
    pub what: String,
    /// The value before; flags: only those that went.
    pub before: String,
    /// The value after; flags: only those that came.
    pub after: String,
}

/// A level of one CPU as values with names.
type Values = Vec<(String, String)>;

/// The differences from `before` to `after`, by CPU and then from the lowest level up.
pub fn diff(before: View<'_>, after: View<'_>) -> Vec<Change> {
    let ncpus = before.machine.nr_cpus().max(after.machine.nr_cpus());
    let mut found: Vec<Change> = Vec::new();
    let mut known: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for cpu in 0..ncpus {
        for (what, was, is) in changes_of(before, after, cpu) {
            let key = (what, was, is);
            let at = *known.entry(key.clone()).or_insert_with(|| {
                let (what, before, after) = key;
                found.push(Change { cpus: CpuMask::new(ncpus), what, before, after });
                found.len() - 1
            });
            found[at].cpus.set(CpuId(cpu as u32));
        }
    }
    found
}

/// The differences as text, a line each; empty if there are none.
pub fn render_diff(before: View<'_>, after: View<'_>) -> String {
    let changes = diff(before, after);
    let mut lines = Vec::with_capacity(changes.len());
    let shown = |text: &str| if text.is_empty() { String::from("(none)") } else { text.to_owned() };
    for change in &changes {
        let cpus = format!("CPU {}", change.cpus);
        lines.push((
            cpus,
            change.what.clone(),
            format!("{} -> {}", shown(&change.before), shown(&change.after)),
        ));
    }
    let wide =
        |column: fn(&(String, String, String)) -> usize| lines.iter().map(column).max().unwrap_or(0).min(30);
    let (first, second) = (wide(|line| line.0.len()), wide(|line| line.1.len()));
    lines.iter().map(|(cpus, what, values)| format!("{cpus:first$}  {what:second$}  {values}\n")).collect()
}

fn changes_of(before: View<'_>, after: View<'_>, cpu: usize) -> Vec<(String, String, String)> {
    let (was, is) = (levels(before, cpu), levels(after, cpu));
    let names = |levels: &[(String, Values)]| {
        levels.iter().map(|level| level.0.clone()).collect::<Vec<_>>().join(" ")
    };
    let mut changes = Vec::new();
    if names(&was) != names(&is) {
        changes.push((String::from("levels"), names(&was), names(&is)));
    }
    for (name, old) in &was {
        let Some((_, new)) = is.iter().find(|level| level.0 == *name) else { continue };
        for ((value, old), (_, new)) in old.iter().zip(new) {
            if old == new {
                continue;
            }
            let (old, new) = match value.ends_with("flags") {
                true => (words_missing_in(old, new), words_missing_in(new, old)),
                false => (old.clone(), new.clone()),
            };
            changes.push((format!("{name} {value}"), old, new));
        }
    }
    changes
}

fn words_missing_in(words: &str, others: &str) -> String {
    let missing = |word: &&str| !others.split(' ').any(|other| other == *word);
    words.split(' ').filter(missing).collect::<Vec<_>>().join(" ")
}

/// The levels of a CPU by name, the second of a name with its place among them.
fn levels(view: View<'_>, cpu: usize) -> Vec<(String, Values)> {
    if cpu >= view.domains.cpus.len() {
        return Vec::new();
    }
    let mut levels: Vec<(String, Values)> = Vec::new();
    for id in view.domains.chain(CpuId(cpu as u32)) {
        let domain = &view.domains.domains[id.index()];
        // The package level had another name once; it is the same level.
        let name = if domain.name == "DIE" { "PKG" } else { domain.name };
        let nth = 1 + levels.iter().filter(|level| level.0.split(' ').next() == Some(name)).count();
        let name = if nth == 1 { name.to_owned() } else { format!("{name} {nth}") };
        levels.push((name, values(view, domain)));
    }
    levels
}

fn values(view: View<'_>, domain: &Domain) -> Values {
    let View { kernel, domains, .. } = view;
    let names = |flags| {
        let names = flag_names(flags, kernel).map(|name| match name {
            "SD_SHARE_PKG_RESOURCES" => "SHARE_LLC",
            name => name.trim_start_matches("SD_"),
        });
        names.collect::<Vec<_>>().join(" ")
    };
    let groups: Vec<_> = domains.ring(domain.groups).map(|id| &domains.groups[id.index()]).collect();
    let spans: Vec<String> = groups.iter().map(|group| group.span.to_string()).collect();
    let capacities: Vec<String> =
        groups.iter().map(|group| domains.capacities[group.sgc.index()].capacity.to_string()).collect();
    let value = |name: &str, value: String| (name.to_owned(), value);
    vec![
        value("span", domain.span.to_string()),
        value("level", domain.level.to_string()),
        value("flags", names(domain.flags)),
        value("groups", spans.join(" ")),
        value("group capacities", capacities.join(" ")),
        value("group flags", names(groups[0].flags)),
        value("min_interval", domain.min_interval.to_string()),
        value("max_interval", domain.max_interval.to_string()),
        value("busy_factor", domain.busy_factor.to_string()),
        value("imbalance_pct", domain.imbalance_pct.to_string()),
        value("cache_nice_tries", domain.cache_nice_tries.to_string()),
        value("imb_numa_nr", domain.imb_numa_nr.to_string()),
    ]
}
