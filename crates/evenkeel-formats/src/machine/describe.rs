//! A machine in one readable line.
use core::fmt::Write as _;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Cpu, Machine};
use std::collections::{BTreeMap, BTreeSet};

/// Describes the machine in one line:
/// `2 sockets x 4 LLCs x 8 cores x 2 threads = 128 CPUs, 2 nodes (distance 10/32)`.
///
/// A level that is the same as the one around it is left out, as is everything that is as usual. Where things of a
/// level differ in size, the line gives totals: `1 socket, 16 cores (8 of 1, 8 of 2 threads) = 24 CPUs`.
pub fn describe(machine: &Machine) -> String {
    let mut text = shape(machine);
    let plural = if machine.nr_cpus() == 1 { "" } else { "s" };
    let _ = write!(text, " = {} CPU{plural}", machine.nr_cpus());
    if machine.nr_nodes > 1 {
        let distances: BTreeSet<u32> = machine.distances.iter().copied().collect();
        let distances: Vec<String> = distances.iter().map(u32::to_string).collect();
        let _ = write!(text, ", {} nodes (distance {})", machine.nr_nodes, distances.join("/"));
    }
    if machine.cpus.iter().any(|cpu| cpu.capacity != 1024) {
        let _ = write!(text, ", capacity {}", runs(machine.cpus.iter().map(|cpu| cpu.capacity)));
    }
    if machine.arch == Arch::Generic {
        text.push_str(", generic levels");
    }
    if machine.itmt {
        text.push_str(", preferred cores");
    }
    let mut offline = CpuMask::all(machine.nr_cpus());
    offline.and_not_assign(&machine.online());
    if !offline.is_empty() {
        let _ = write!(text, ", offline {offline}");
    }
    if !machine.isolated.is_empty() {
        let _ = write!(text, ", isolated {}", machine.isolated);
    }
    text
}

/// A level of the nesting: one thing, several, and what a CPU is in.
type Level = (&'static str, &'static str, fn(&Cpu, u32) -> u64);

const LEVELS: [Level; 6] = [
    ("socket", "sockets", |cpu, _| cpu.package.into()),
    ("die", "dies", |cpu, _| cpu.die.into()),
    ("LLC", "LLCs", |cpu, number| cpu.llc.map_or(1 << 32 | u64::from(number), u64::from)),
    ("cluster", "clusters", |cpu, _| cpu.cluster.map_or(1 << 32 | u64::from(cpu.core), u64::from)),
    ("core", "cores", |cpu, _| cpu.core.into()),
    ("thread", "threads", |_, number| number.into()),
];

fn shape(machine: &Machine) -> String {
    let mut levels = Vec::new();
    for level in LEVELS {
        let (name, _, key) = level;
        let keys: Vec<u64> = machine.cpus.iter().enumerate().map(|(i, cpu)| key(cpu, i as u32)).collect();
        let needed = match name {
            "socket" | "core" => true,
            "cluster" => machine.cpus.iter().any(|cpu| cpu.cluster.is_some()),
            "LLC" => machine.cpus.iter().any(|cpu| cpu.llc.is_some()),
            "thread" => levels.last().is_some_and(|(_, cores): &(Level, Vec<u64>)| !same(cores, &keys)),
            // Only dies are worth a word just where they divide a socket.
            _ => levels.last().is_some_and(|(_, outer): &(Level, Vec<u64>)| !same(outer, &keys)),
        };
        if needed {
            levels.push((level, keys));
        }
    }
    // An LLC that is the socket or die it is in goes without saying.
    levels.dedup_by(|inner, outer| inner.0.0 == "LLC" && same(&inner.1, &outer.1));
    regular(&levels).unwrap_or_else(|| totals(&levels))
}

/// `2 sockets x 8 cores`, if all things of a level hold the same number of those of the next and none is cut.
fn regular(levels: &[(Level, Vec<u64>)]) -> Option<String> {
    let mut text = String::new();
    for (i, ((one, many, _), keys)) in levels.iter().enumerate() {
        let mut inside: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let whole = vec![0; keys.len()];
        let outer = if i == 0 { &whole } else { &levels[i - 1].1 };
        for (outer, key) in outer.iter().zip(keys) {
            inside.entry(*outer).or_default().insert(*key);
        }
        let count = inside.first_key_value()?.1.len();
        let total: usize = inside.values().map(BTreeSet::len).sum();
        let distinct: BTreeSet<u64> = keys.iter().copied().collect();
        if inside.values().any(|set| set.len() != count) || total != distinct.len() {
            return None;
        }
        let separator = if i == 0 { "" } else { " x " };
        let _ = write!(text, "{separator}{count} {}", if count == 1 { one } else { many });
    }
    Some(text)
}

fn totals(levels: &[(Level, Vec<u64>)]) -> String {
    let mut parts = Vec::new();
    for ((one, many, _), keys) in levels.iter().filter(|level| level.0.0 != "thread") {
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        for key in keys {
            *sizes.entry(*key).or_default() += 1;
        }
        let mut part = format!("{} {}", sizes.len(), if sizes.len() == 1 { one } else { many });
        let mut by_size: BTreeMap<usize, usize> = BTreeMap::new();
        for size in sizes.values() {
            *by_size.entry(*size).or_default() += 1;
        }
        if by_size.len() > 1 {
            let list: Vec<String> =
                by_size.iter().map(|(size, count)| format!("{count} of {size}")).collect();
            let unit = if *one == "core" { "threads" } else { "CPUs" };
            let _ = write!(part, " ({} {unit})", list.join(", "));
        }
        parts.push(part);
    }
    parts.join(", ")
}

/// Whether two ways of dividing the CPUs are the same.
fn same(a: &[u64], b: &[u64]) -> bool {
    let pairs: BTreeSet<(u64, u64)> = a.iter().copied().zip(b.iter().copied()).collect();
    let count = |keys: &[u64]| keys.iter().collect::<BTreeSet<_>>().len();
    pairs.len() == count(a) && pairs.len() == count(b)
}

/// `4x446+4x1024`
pub(super) fn runs(values: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(usize, u32)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    let runs: Vec<String> = runs.iter().map(|(count, value)| format!("{count}x{value}")).collect();
    runs.join("+")
}
