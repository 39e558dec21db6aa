//! The project's own machine file: TOML that can be written by hand, commented and kept with results.
//!
//! ```toml
//! evenkeel_machine = 1                # version of the format
//! name = "box"                        # optional, as are source and notes
//! cpus = 16                           # possible CPUs are 0 to 15
//! arch = "x86"                        # or "generic"; x86 if left out
//! packages = ["0-7", "8-15"]          # who shares one; all in one if left out
//! llcs = ["0-3", "4-7", "8-11", "12-15"]
//! cores = ["0-15 by 2"]               # 0-1, 2-3 ...; each CPU its own core if left out
//! nodes = ["0-7", "8-15"]             # the place is the node's number; "" is a node without CPUs
//! distances = [[10, 20], [20, 10]]    # 20 to others if left out
//! capacities = ["446: 0-3"]           # 1024 for those not listed
//! ```
//! Also: `dies` (the packages if left out), `clusters`, `asym_priorities` (`"60: 0-7"`), `offline` and `isolated` (CPU
//! lists), `itmt`, `numa_in_package`, `uneven_package_distances`,
//! `node_reclaim_distance`.
//!
//! A group is a CPU list, `A-B by N` for runs of N CPUs, or `A-B & C-D` for the n-th CPUs of both ranges together. Groups are
//! numbered by place; `7: 0-3` gives one another number. [`save`] writes every field of a [`Machine`] that is not as it would
//! be without, so reading gives back an equal one.
use super::describe::describe;
use super::facts::default_distances;
use super::{LoadedMachine, MachineInputError};
use core::fmt::Write as _;
use evenkeel::ids::CpuId;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Cpu, Machine};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// The most nodes, that of the kernels modelled.
const NODES_MAX: usize = 1024;

type Groups = Vec<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    evenkeel_machine: Spanned<u32>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    notes: Vec<String>,
    cpus: Spanned<usize>,
    arch: Option<Spanned<String>>,
    #[serde(default)]
    itmt: bool,
    numa_in_package: Option<bool>,
    #[serde(default)]
    uneven_package_distances: bool,
    node_reclaim_distance: Option<u32>,
    offline: Option<Spanned<String>>,
    isolated: Option<Spanned<String>>,
    packages: Option<Groups>,
    dies: Option<Groups>,
    llcs: Option<Groups>,
    clusters: Option<Groups>,
    cores: Option<Groups>,
    nodes: Option<Groups>,
    distances: Option<Vec<Vec<u32>>>,
    capacities: Option<Groups>,
    asym_priorities: Option<Groups>,
}

/// Writes a machine, with what was assumed of it.
pub fn save_with_notes(loaded: &LoadedMachine) -> String {
    let machine = &loaded.machine;
    let quote = |text: &str| toml::Value::String(String::from(text)).to_string();
    // A comment may hold no control characters.
    let mut text = format!("# {}\nevenkeel_machine = 1\n", describe(machine).replace(char::is_control, " "));
    let _ = writeln!(text, "name = {}\nsource = {}", quote(&machine.name), quote(&machine.source));
    if !loaded.notes.is_empty() {
        let notes: Vec<String> = loaded.notes.iter().map(|note| format!("    {},\n", quote(note))).collect();
        let _ = writeln!(text, "notes = [\n{}]", notes.concat());
    }
    let arch = match machine.arch {
        Arch::X86 => "x86",
        Arch::Generic => "generic",
    };
    let _ = writeln!(text, "cpus = {}\narch = \"{arch}\"", machine.nr_cpus());
    if machine.itmt {
        text.push_str("itmt = true\n");
    }
    if let Some(numa_in_package) = machine.numa_in_package {
        let _ = writeln!(text, "numa_in_package = {numa_in_package}");
    }
    if machine.uneven_package_distances {
        text.push_str("uneven_package_distances = true\n");
    }
    if let Some(distance) = machine.node_reclaim_distance {
        let _ = writeln!(text, "node_reclaim_distance = {distance}");
    }
    let mut offline = CpuMask::all(machine.nr_cpus());
    offline.and_not_assign(&machine.online());
    for (key, mask) in [("offline", &offline), ("isolated", &machine.isolated)] {
        if !mask.is_empty() {
            let _ = writeln!(text, "{key} = \"{mask}\"");
        }
    }
    write_groups(&mut text, "packages", &groups(machine, |cpu| Some(cpu.package)));
    if machine.cpus.iter().any(|cpu| cpu.die != cpu.package) {
        write_groups(&mut text, "dies", &groups(machine, |cpu| Some(cpu.die)));
    }
    write_groups(&mut text, "llcs", &groups(machine, |cpu| cpu.llc));
    write_groups(&mut text, "clusters", &groups(machine, |cpu| cpu.cluster));
    if machine.cpus.iter().enumerate().any(|(i, cpu)| cpu.core != i as u32) {
        write_groups(&mut text, "cores", &groups(machine, |cpu| Some(cpu.core)));
    }
    let mut nodes = groups(machine, |cpu| Some(cpu.node));
    for node in 0..machine.nr_nodes as u32 {
        nodes.entry(node).or_insert_with(|| CpuMask::new(machine.nr_cpus()));
    }
    write_groups(&mut text, "nodes", &nodes);
    text.push_str("distances = [\n");
    for row in machine.distances.chunks(machine.nr_nodes.max(1)) {
        let row: Vec<String> = row.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "    [{}],", row.join(", "));
    }
    text.push_str("]\n");
    write_values(&mut text, "capacities", machine, |cpu| (cpu.capacity != 1024).then(|| cpu.capacity.into()));
    write_values(&mut text, "asym_priorities", machine, |cpu| cpu.asym_priority.map(i64::from));
    text
}

/// Writes a machine of which nothing was assumed.
pub fn save(machine: &Machine) -> String {
    save_with_notes(&LoadedMachine { machine: machine.clone(), notes: Vec::new() })
}

/// CPUs by what they share.
fn groups(machine: &Machine, key: impl Fn(&Cpu) -> Option<u32>) -> BTreeMap<u32, CpuMask> {
    let mut groups = BTreeMap::new();
    for (i, cpu) in machine.cpus.iter().enumerate() {
        if let Some(key) = key(cpu) {
            let mask = groups.entry(key).or_insert_with(|| CpuMask::new(machine.nr_cpus()));
            mask.set(CpuId(i as u32));
        }
    }
    groups
}

fn write_groups(text: &mut String, key: &str, groups: &BTreeMap<u32, CpuMask>) {
    if groups.is_empty() {
        return;
    }
    let by_place = groups.keys().enumerate().all(|(i, id)| i as u32 == *id);
    let items: Vec<String> = match (by_place, pattern(groups)) {
        (true, Some(pattern)) => vec![pattern],
        (true, None) => groups.values().map(CpuMask::to_string).collect(),
        (false, _) => groups.iter().map(|(id, mask)| format!("{id}: {mask}")).collect(),
    };
    write_items(text, key, &items);
}

/// The one pattern that stands for all groups, if there is one.
fn pattern(groups: &BTreeMap<u32, CpuMask>) -> Option<String> {
    let members: Vec<Vec<u32>> = groups.values().map(|mask| mask.iter().map(|cpu| cpu.0).collect()).collect();
    let size = members.first()?.len();
    if members.len() < 5 || size == 0 || members.iter().any(|group| group.len() != size) {
        return None;
    }
    let count = members.len() as u32;
    let start = members[0][0];
    let consecutive = members.iter().flatten().enumerate().all(|(i, &cpu)| cpu == start + i as u32);
    if consecutive {
        return Some(format!("{start}-{} by {size}", start + count * size as u32 - 1));
    }
    let apart = members
        .iter()
        .enumerate()
        .all(|(i, group)| group.iter().zip(&members[0]).all(|(&cpu, &first)| cpu == first + i as u32));
    let ranges: Vec<String> =
        members[0].iter().map(|first| format!("{first}-{}", first + count - 1)).collect();
    apart.then(|| ranges.join(" & "))
}

fn write_values(text: &mut String, key: &str, machine: &Machine, value: impl Fn(&Cpu) -> Option<i64>) {
    let mut by_value: BTreeMap<i64, CpuMask> = BTreeMap::new();
    for (i, cpu) in machine.cpus.iter().enumerate() {
        if let Some(value) = value(cpu) {
            by_value.entry(value).or_insert_with(|| CpuMask::new(machine.nr_cpus())).set(CpuId(i as u32));
        }
    }
    let items: Vec<String> = by_value.iter().map(|(value, mask)| format!("{value}: {mask}")).collect();
    if !items.is_empty() {
        write_items(text, key, &items);
    }
}

/// `key = ["a", "b"]`, on lines of about a hundred letters.
fn write_items(text: &mut String, key: &str, items: &[String]) {
    let one_line: usize = items.iter().map(|item| item.len() + 4).sum();
    if one_line + key.len() < 100 {
        let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
        let _ = writeln!(text, "{key} = [{}]", items.join(", "));
        return;
    }
    let _ = write!(text, "{key} = [");
    let mut width = usize::MAX;
    for item in items {
        if width.saturating_add(item.len()) > 96 {
            text.push_str("\n   ");
            width = 3;
        }
        let _ = write!(text, " \"{item}\",");
        width += item.len() + 4;
    }
    text.push_str("\n]\n");
}

/// Reads a saved machine; `origin` is what errors call the file.
pub fn parse(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let saved: Saved = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        MachineInputError::at_offset(origin, text, offset, error.message())
    })?;
    let at = |offset: usize, message: String| MachineInputError::at_offset(origin, text, offset, message);
    if *saved.evenkeel_machine.get_ref() != 1 {
        let message = format!("expected version 1 of the format, found {}", saved.evenkeel_machine.get_ref());
        return Err(at(saved.evenkeel_machine.span().start, message));
    }
    let nr_cpus = *saved.cpus.get_ref();
    if !(1..=Machine::MAX_CPUS).contains(&nr_cpus) {
        let message = format!("expected 1 to {} CPUs, found {nr_cpus}", Machine::MAX_CPUS);
        return Err(at(saved.cpus.span().start, message));
    }
    let arch = match saved.arch.as_ref().map(|arch| (arch.get_ref().as_str(), arch.span().start)) {
        None | Some(("x86", _)) => Arch::X86,
        Some(("generic", _)) => Arch::Generic,
        Some((other, offset)) => {
            return Err(at(offset, format!("expected \"x86\" or \"generic\", found \"{other}\"")));
        }
    };
    let reader = GroupReader { text, origin, nr_cpus };
    let packages = reader.ids(saved.packages.as_deref(), "package")?;
    let dies = reader.ids(saved.dies.as_deref(), "die")?;
    let llcs = reader.optional_ids(saved.llcs.as_deref())?;
    let clusters = reader.optional_ids(saved.clusters.as_deref())?;
    let cores = reader.ids(saved.cores.as_deref(), "core")?;
    let nodes = reader.ids(saved.nodes.as_deref(), "node")?;
    let capacities = reader.values(saved.capacities.as_deref())?;
    let priorities = reader.values(saved.asym_priorities.as_deref())?;
    let offline = reader.mask(saved.offline.as_ref())?;
    let mut cpus = Vec::with_capacity(nr_cpus);
    for cpu in 0..nr_cpus {
        let package = packages.as_ref().map_or(0, |ids| ids[cpu]);
        cpus.push(Cpu {
            core: cores.as_ref().map_or(cpu as u32, |ids| ids[cpu]),
            cluster: clusters[cpu],
            llc: llcs[cpu],
            die: dies.as_ref().map_or(package, |ids| ids[cpu]),
            package,
            node: nodes.as_ref().map_or(0, |ids| ids[cpu]),
            // What does not fit is out of range too, which the check of the machine says.
            capacity: capacities[cpu].map_or(1024, |capacity| u32::try_from(capacity).unwrap_or(u32::MAX)),
            asym_priority: priorities[cpu].map(|priority| priority as i32),
            online: !offline.contains(CpuId(cpu as u32)),
        });
    }
    let nr_nodes = reader.count_nodes(saved.nodes.as_deref())?;
    let distances = match saved.distances {
        Some(rows) => rows.concat(),
        None => default_distances(nr_nodes),
    };
    let machine = Machine {
        name: if saved.name.is_empty() { super::stem(origin) } else { saved.name },
        source: saved.source,
        cpus,
        nr_nodes,
        distances,
        arch,
        node_reclaim_distance: saved.node_reclaim_distance,
        numa_in_package: saved.numa_in_package,
        uneven_package_distances: saved.uneven_package_distances,
        itmt: saved.itmt,
        isolated: reader.mask(saved.isolated.as_ref())?,
    };
    match machine.validate() {
        Ok(()) => Ok(LoadedMachine { machine, notes: saved.notes }),
        Err(error) => Err(MachineInputError::Impossible { origin: String::from(origin), error }),
    }
}

struct GroupReader<'a> {
    text: &'a str,
    origin: &'a str,
    nr_cpus: usize,
}

impl GroupReader<'_> {
    fn error(&self, item: &Spanned<String>, message: impl Into<String>) -> MachineInputError {
        MachineInputError::at_offset(self.origin, self.text, item.span().start, message)
    }

    fn list(&self, item: &Spanned<String>, text: &str) -> Result<CpuMask, MachineInputError> {
        CpuMask::parse_list(text, self.nr_cpus).map_err(|error| self.error(item, error.to_string()))
    }

    fn mask(&self, item: Option<&Spanned<String>>) -> Result<CpuMask, MachineInputError> {
        match item {
            Some(item) => self.list(item, item.get_ref()),
            None => Ok(CpuMask::new(self.nr_cpus)),
        }
    }

    /// The groups that one item stands for: one, or those of a pattern.
    fn groups_of(&self, item: &Spanned<String>, text: &str) -> Result<Vec<CpuMask>, MachineInputError> {
        if let Some((range, size)) = text.split_once(" by ") {
            let cpus: Vec<CpuId> = self.list(item, range)?.iter().collect();
            let size =
                size.trim().parse::<usize>().ok().filter(|&size| size > 0 && cpus.len().is_multiple_of(size));
            let Some(size) = size else {
                let message = format!("expected a number that divides {} CPUs after `by`", cpus.len());
                return Err(self.error(item, message));
            };
            return Ok(cpus
                .chunks(size)
                .map(|run| CpuMask::from_cpus(self.nr_cpus, run.iter().copied()))
                .collect());
        }
        if text.contains('&') {
            let mut ranges: Vec<Vec<CpuId>> = Vec::new();
            for part in text.split('&') {
                ranges.push(self.list(item, part)?.iter().collect());
            }
            let count = ranges[0].len();
            if ranges.iter().any(|range| range.len() != count) {
                return Err(self.error(item, "expected as many CPUs on both sides of `&`"));
            }
            let groups =
                (0..count).map(|i| CpuMask::from_cpus(self.nr_cpus, ranges.iter().map(|range| range[i])));
            return Ok(groups.collect());
        }
        Ok(vec![self.list(item, text)?])
    }

    /// The number of the group each CPU is in.
    fn optional_ids(&self, items: Option<&[Spanned<String>]>) -> Result<Vec<Option<u32>>, MachineInputError> {
        let mut ids: Vec<Option<u32>> = vec![None; self.nr_cpus];
        let mut place: u32 = 0;
        for item in items.unwrap_or(&[]) {
            let (number, list) = match item.get_ref().split_once(": ") {
                Some((number, list)) => match number.trim().parse::<u32>() {
                    Ok(number) => (number, list),
                    Err(_) => {
                        return Err(
                            self.error(item, format!("expected a number before `:`, found `{number}`"))
                        );
                    }
                },
                None => (place, item.get_ref().as_str()),
            };
            let groups = self.groups_of(item, list)?;
            for (i, group) in groups.iter().enumerate() {
                for cpu in group {
                    if ids[cpu.index()].replace(number.saturating_add(i as u32)).is_some() {
                        return Err(self.error(item, format!("CPU {cpu} is in two of these")));
                    }
                }
            }
            place += groups.len() as u32;
        }
        Ok(ids)
    }

    /// As [`Self::optional_ids`], but each CPU must be in a group if there are any.
    fn ids(
        &self,
        items: Option<&[Spanned<String>]>,
        what: &str,
    ) -> Result<Option<Vec<u32>>, MachineInputError> {
        let Some(items) = items else { return Ok(None) };
        let ids = self.optional_ids(Some(items))?;
        if let Some(cpu) = ids.iter().position(Option::is_none) {
            return Err(MachineInputError::contradiction(self.origin, format!("CPU {cpu} is in no {what}")));
        }
        Ok(Some(ids.into_iter().flatten().collect()))
    }

    /// `"446: 0-3"`: a value for each CPU listed.
    fn values(&self, items: Option<&[Spanned<String>]>) -> Result<Vec<Option<i64>>, MachineInputError> {
        let mut values = vec![None; self.nr_cpus];
        for item in items.unwrap_or(&[]) {
            let parts = item.get_ref().split_once(':');
            let parsed = parts.and_then(|(value, list)| Some((value.trim().parse::<i32>().ok()?, list)));
            let Some((value, list)) = parsed else {
                return Err(self.error(item, "expected a value and the CPUs that have it, as in `446: 0-3`"));
            };
            for cpu in &self.list(item, list)? {
                if values[cpu.index()].replace(i64::from(value)).is_some() {
                    return Err(self.error(item, format!("CPU {cpu} has two values")));
                }
            }
        }
        Ok(values)
    }

    /// The number of nodes; patterns count as what they stand for.
    fn count_nodes(&self, items: Option<&[Spanned<String>]>) -> Result<usize, MachineInputError> {
        let Some(items) = items else { return Ok(1) };
        let mut count = 0;
        for item in items {
            if item.get_ref().contains(": ") {
                return Err(
                    self.error(item, "nodes are numbered by place: expected a CPU list without a number")
                );
            }
            count += self.groups_of(item, item.get_ref())?.len();
            if count > NODES_MAX {
                return Err(self.error(item, format!("more than {NODES_MAX} nodes")));
            }
        }
        Ok(count)
    }
}
