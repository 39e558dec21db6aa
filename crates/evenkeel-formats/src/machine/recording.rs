//! The machine of a recorded kernel: the `cpus` and `nodes` of a `sched.json`.
//!
//! Such a file holds, besides the domains the kernel built, what its sysfs said: per CPU `physical_package_id`,
//! `die_id`, `core_id`, `cluster_id`, sibling lists and `caches` (`level`, `type`, `shared`), and per node `cpus` and
//! the `distance` row. `isolcpus=domain,..` is taken from `extra_cmdline`.
use super::facts::{CpuFacts, Facts, default_distances};
use super::{LoadedMachine, MachineInputError};
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recording {
    #[serde(default)]
    topology: String,
    #[serde(default)]
    kernel: String,
    #[serde(default)]
    extra_cmdline: String,
    cpus: Vec<RecordedCpu>,
    #[serde(default)]
    nodes: Vec<RecordedNode>,
}

#[derive(Deserialize)]
struct RecordedCpu {
    cpu: u32,
    physical_package_id: i64,
    #[serde(default)]
    die_id: i64,
    #[serde(default)]
    cluster_id: Option<i64>,
    thread_siblings_list: String,
    #[serde(default)]
    cluster_cpus_list: Option<String>,
    #[serde(default)]
    caches: Vec<RecordedCache>,
}

#[derive(Deserialize)]
struct RecordedCache {
    level: u32,
    #[serde(rename = "type")]
    kind: String,
    shared: String,
}

#[derive(Deserialize)]
struct RecordedNode {
    cpus: String,
    distance: Vec<u32>,
}

/// Reads the machine of a recording; `origin` is what errors call it.
pub fn parse(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let recording: Recording =
        serde_json::from_str(text).map_err(|error| json_error(origin, text, &error))?;
    let wrong = |what: String| MachineInputError::contradiction(origin, what);
    let nr_cpus = recording.cpus.len();
    let list = |text: &str| {
        CpuMask::parse_list(text, nr_cpus).map_err(|error| wrong(format!("CPU list `{text}`: {error}")))
    };
    let first = |text: &str| list(text).map(|list| list.first().map(|cpu| u64::from(cpu.0)));
    let mut cpus = Vec::with_capacity(nr_cpus);
    for (i, cpu) in recording.cpus.iter().enumerate() {
        if cpu.cpu as usize != i {
            return Err(wrong(format!("expected CPU {i} as entry {i} of `cpus`, found CPU {}", cpu.cpu)));
        }
        let data = cpu.caches.iter().filter(|cache| cache.kind != "Instruction");
        let llc = match data.max_by_key(|cache| cache.level) {
            Some(cache) => first(&cache.shared)?,
            None => None,
        };
        let cluster = match &cpu.cluster_cpus_list {
            Some(cluster) if cpu.cluster_id != Some(-1) => first(cluster)?,
            _ => None,
        };
        cpus.push(CpuFacts {
            core: first(&cpu.thread_siblings_list)?.unwrap_or(i as u64),
            cluster,
            llc,
            die: u64::try_from(cpu.die_id).unwrap_or(0),
            package: u64::try_from(cpu.physical_package_id).unwrap_or(0),
            node: 0,
            capacity: 1024,
            asym_priority: None,
            online: true,
        });
    }
    let mut notes = Vec::new();
    let nr_nodes = recording.nodes.len().max(1);
    if recording.nodes.is_empty() {
        notes.push(String::from("no nodes are listed: all CPUs are on one"));
    }
    let mut distances = Vec::new();
    for (index, node) in recording.nodes.iter().enumerate() {
        for cpu in &list(&node.cpus)? {
            cpus[cpu.index()].node = index as u32;
        }
        distances.extend(&node.distance);
    }
    if distances.is_empty() {
        distances = default_distances(nr_nodes);
    }
    let mut isolated = CpuMask::new(nr_cpus);
    for word in recording.extra_cmdline.split_whitespace() {
        // isolcpus=[flag,..]cpulist: `domain` is the default flag; other flags alone isolate nothing here.
        if let Some(value) = word.strip_prefix("isolcpus=") {
            let flags = value.split(',').take_while(|item| !item.starts_with(|c: char| c.is_ascii_digit()));
            let flags: Vec<&str> = flags.collect();
            if flags.is_empty() || flags.contains(&"domain") {
                let cpus: Vec<&str> = value.split(',').skip(flags.len()).collect();
                isolated = list(&cpus.join(","))?;
            }
        }
    }
    let facts = Facts {
        name: recording.topology,
        source: format!("recording of {}", recording.kernel),
        cpus,
        nr_nodes,
        distances,
        arch: Arch::X86,
        node_reclaim_distance: None,
        itmt: false,
        isolated,
        notes,
    };
    if facts.cpus.len() > Machine::MAX_CPUS {
        return Err(wrong(format!(
            "{nr_cpus} CPUs are more than the {} that are supported",
            Machine::MAX_CPUS
        )));
    }
    facts.assemble()
}

/// The error of a JSON reader with its place in the text.
pub(crate) fn json_error(origin: &str, text: &str, error: &serde_json::Error) -> MachineInputError {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let offset = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or("not JSON");
    MachineInputError::at_offset(origin, text, offset, message)
}
