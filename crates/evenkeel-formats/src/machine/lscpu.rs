//! A machine as `lscpu` prints it: `-p`, `-J -e`, and the summary (plain or `-J`).
//!
//! * **`lscpu -p`** (`-p=CPU,CORE,SOCKET,NODE,CLUSTER,CACHE`): the last comment line names the columns; equal ids mean
//!   shared. Two commas in a row hold no column, an empty field no value.
//! * **`lscpu -J -e=...`**: the same as JSON, but for missing values, which older versions print as a bare `-`.
//! * **summary**: counts only. The machine is taken to be regular, with CPUs dealt out as the lists of nodes suggest.
//!
//! What `lscpu` does not tell: distances (20 is assumed), capacities (1024), isolation, and, in the tables, whether the
//! machine is x86 (it is taken to be). Where there is no cluster column an L2 cache below the last one is the cluster.
use super::facts::{CpuFacts, Facts, default_distances};
use super::recording::json_error;
use super::{LoadedMachine, MachineInputError};
use evenkeel::ids::CpuId;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Whether the text is what `lscpu -p` prints.
pub(super) fn is_table(text: &str) -> bool {
    header(text).is_some()
}

/// Whether the text is the plain summary of `lscpu`.
pub(super) fn is_summary(text: &str) -> bool {
    text.lines().take(20).any(|line| line.starts_with("CPU(s):"))
}

/// The last comment line that names columns, in small letters.
fn header(text: &str) -> Option<Vec<String>> {
    let comments = text.lines().map_while(|line| line.trim_start().strip_prefix('#'));
    let columns = comments.filter_map(|line| {
        let columns: Vec<String> = line.split(',').map(|name| name.trim().to_lowercase()).collect();
        columns.iter().any(|name| name == "cpu").then_some(columns)
    });
    columns.last()
}

/// One CPU as a table has it: values by column, caches taken apart.
type Row = BTreeMap<String, String>;

/// Reads what `lscpu -p` printed; `origin` is what errors call it.
pub fn parse_table(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let columns = header(text).ok_or_else(|| {
        MachineInputError::contradiction(
            origin,
            "expected a comment that names columns, as in `# CPU,Core,Socket,Node`",
        )
    })?;
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let values: Vec<&str> = line.split(',').collect();
        if values.len() != columns.len() {
            let message = format!("expected {} values, found {}", columns.len(), values.len());
            return Err(MachineInputError::at_offset(origin, text, start, message));
        }
        let mut row = Row::new();
        for (name, value) in columns.iter().zip(values) {
            insert(&mut row, name, value);
        }
        check_row(&row).map_err(|message| MachineInputError::at_offset(origin, text, start, message))?;
        rows.push(row);
    }
    build(&rows, "lscpu -p", origin)
}

/// Reads what `lscpu -J` printed, with `-e` or without.
pub fn parse_json(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let fixed = null_for_dash(text);
    let value: Value = serde_json::from_str(&fixed).map_err(|error| json_error(origin, &fixed, &error))?;
    if let Some(fields) = value.get("lscpu").and_then(Value::as_array) {
        let mut flat = Vec::new();
        flatten(fields, &mut flat);
        return build_summary(&flat, origin);
    }
    let Some(cpus) = value.get("cpus").and_then(Value::as_array) else {
        return Err(MachineInputError::contradiction(
            origin,
            "expected `cpus` or `lscpu`, as `lscpu -J` prints them",
        ));
    };
    let mut rows = Vec::new();
    for (i, cpu) in cpus.iter().enumerate() {
        let mut row = Row::new();
        for (name, value) in cpu.as_object().into_iter().flatten() {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            insert(&mut row, &name.to_lowercase(), &text);
        }
        check_row(&row).map_err(|message| {
            MachineInputError::contradiction(origin, format!("entry {i} of `cpus`: {message}"))
        })?;
        rows.push(row);
    }
    build(&rows, "lscpu -J -e", origin)
}

/// Reads the plain summary of `lscpu`.
pub fn parse_summary(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let fields: Vec<(String, String)> =
        fields.map(|(name, value)| (String::from(name.trim()), String::from(value.trim()))).collect();
    build_summary(&fields, origin)
}

/// Replaces a bare `-`, which is no JSON, by `null`. A minus sign before a digit stays.
pub(super) fn null_for_dash(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let dash = c == '-' && !in_string && !chars.peek().is_some_and(char::is_ascii_digit);
        if dash {
            fixed.push_str("null");
        } else {
            fixed.push(c);
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
    }
    fixed
}

fn insert(row: &mut Row, name: &str, value: &str) {
    // `l1d:l1i:l2:l3` holds `0:0:0:0`.
    if name.contains(':') {
        for (name, value) in name.split(':').zip(value.split(':')) {
            insert(row, name, value);
        }
        return;
    }
    let value = value.trim();
    if !name.is_empty() && !value.is_empty() && value != "-" {
        row.insert(String::from(name), String::from(value));
    }
}

/// The data or unified cache level of a column, if it is a cache's.
fn cache_level(name: &str) -> Option<u32> {
    let digits = name.strip_prefix('l')?.trim_end_matches('d');
    digits.parse().ok().filter(|level| (1..=9).contains(level))
}

fn check_row(row: &Row) -> Result<(), String> {
    for (name, value) in row {
        let id = matches!(name.as_str(), "cpu" | "core" | "socket" | "node" | "cluster")
            || cache_level(name).is_some();
        if id && value.parse::<u32>().is_err() {
            return Err(format!("expected a number for `{name}`, found `{value}`"));
        }
    }
    match row.get("cpu").map(|cpu| cpu.parse::<usize>()) {
        Some(Ok(cpu)) if cpu < Machine::MAX_CPUS => Ok(()),
        Some(_) => Err(format!("expected a CPU number below {}", Machine::MAX_CPUS)),
        None => Err(String::from("expected a column `cpu`")),
    }
}

fn id(row: &Row, name: &str) -> Option<u64> {
    row.get(name).and_then(|value| value.parse().ok())
}

fn build(rows: &[Row], what: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let mut notes = vec![format!("{what} tells neither capacities nor the kind of machine: 1024 and x86")];
    let Some(last) = rows.iter().filter_map(|row| id(row, "cpu")).max() else {
        return Err(MachineInputError::contradiction(origin, "there is no CPU in it"));
    };
    let nr_cpus = last as usize + 1;
    let numbers: BTreeSet<u64> = rows.iter().filter_map(|row| id(row, "node")).collect();
    let nodes: BTreeMap<u64, u32> = numbers.iter().enumerate().map(|(i, &node)| (node, i as u32)).collect();
    let mut cpus: Vec<CpuFacts> = (0..nr_cpus as u64).map(offline).collect();
    let mut seen = CpuMask::new(nr_cpus);
    for row in rows {
        let cpu = id(row, "cpu").unwrap_or(0) as u32;
        if seen.contains(CpuId(cpu)) {
            return Err(MachineInputError::contradiction(origin, format!("CPU {cpu} is listed twice")));
        }
        seen.set(CpuId(cpu));
        cpus[cpu as usize] = facts_of(row, cpu, &nodes);
    }
    let missing = cpus.iter().filter(|cpu| !cpu.online).count();
    if missing > 0 {
        notes.push(format!("{missing} CPUs are not listed or offline: what they share is not known"));
        adopt_offline(&mut cpus);
    }
    if !rows.iter().any(|row| row.contains_key("core")) {
        notes.push(String::from("no column `core`: each CPU is a core"));
    }
    if !rows.iter().any(|row| row.keys().any(|name| cache_level(name).is_some())) {
        notes.push(String::from("no columns of caches: what shares the last-level cache is not known"));
    }
    let nr_nodes = nodes.len().max(1);
    note_distances(nr_nodes, &mut notes);
    finish(cpus, nr_nodes, Arch::X86, None, notes, (what, origin))
}

fn offline(cpu: u64) -> CpuFacts {
    CpuFacts {
        core: 1 << 62 | cpu,
        cluster: None,
        llc: None,
        die: 0,
        package: 0,
        node: 0,
        capacity: 1024,
        asym_priority: None,
        online: false,
    }
}

/// Puts offline CPUs into the package and node of the first online one.
fn adopt_offline(cpus: &mut [CpuFacts]) {
    let Some(first) = cpus.iter().find(|cpu| cpu.online).copied() else { return };
    for cpu in cpus.iter_mut().filter(|cpu| !cpu.online) {
        cpu.package = first.package;
        cpu.die = first.die;
    }
}

fn facts_of(row: &Row, cpu: u32, nodes: &BTreeMap<u64, u32>) -> CpuFacts {
    let package = id(row, "socket").unwrap_or(0);
    let caches =
        row.iter().filter_map(|(name, value)| Some((cache_level(name)?, value.parse::<u64>().ok()?)));
    let llc = caches.max();
    let cluster = id(row, "cluster").map(|cluster| 1 << 40 | cluster).or_else(|| id(row, "l2"));
    let online = !matches!(row.get("online").map(String::as_str), Some("no" | "N" | "n" | "false" | "0"));
    CpuFacts {
        // Physical core numbers (`-y`) are unique within a socket only.
        core: id(row, "core").map_or(1 << 62 | u64::from(cpu), |core| package << 32 | core),
        cluster,
        llc: llc.map(|(level, id)| u64::from(level) << 40 | id),
        die: 0,
        package,
        node: id(row, "node").map_or(0, |node| nodes[&node]),
        online,
        ..offline(cpu.into())
    }
}

fn note_distances(nr_nodes: usize, notes: &mut Vec<String>) {
    if nr_nodes > 1 {
        notes.push(String::from("lscpu tells no node distances: 10 to itself, 20 to the others"));
    }
}

fn finish(
    cpus: Vec<CpuFacts>,
    nr_nodes: usize,
    arch: Arch,
    node_reclaim_distance: Option<u32>,
    notes: Vec<String>,
    (what, origin): (&str, &str),
) -> Result<LoadedMachine, MachineInputError> {
    let facts = Facts {
        name: super::stem(origin),
        source: format!("{what}, {origin}"),
        isolated: CpuMask::new(cpus.len()),
        cpus,
        nr_nodes,
        distances: default_distances(nr_nodes),
        arch,
        node_reclaim_distance,
        itmt: false,
        notes,
    };
    facts.assemble()
}

/// Fields of a JSON summary, those below others included.
fn flatten(fields: &[Value], flat: &mut Vec<(String, String)>) {
    for field in fields {
        let text = |key: &str| field.get(key).and_then(Value::as_str).unwrap_or("").trim();
        flat.push((String::from(text("field").trim_end_matches(':')), String::from(text("data"))));
        if let Some(children) = field.get("children").and_then(Value::as_array) {
            flatten(children, flat);
        }
    }
}

/// The counts of a summary.
struct Counts {
    online: CpuMask,
    sockets: usize,
    cores_per_socket: usize,
    threads: usize,
    /// Last-level caches, and L2 caches if those are not the last; 0 if not told.
    llcs: usize,
    clusters: usize,
    nodes: Vec<CpuMask>,
}

fn build_summary(fields: &[(String, String)], origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let counts = read_counts(fields, origin)?;
    let mut notes =
        vec![String::from("an lscpu summary has counts only: the machine is taken to be regular")];
    let total = counts.sockets * counts.cores_per_socket;
    let weight = counts.online.weight() as usize;
    if total * counts.threads != weight {
        let Counts { sockets, cores_per_socket, threads, .. } = counts;
        return Err(MachineInputError::contradiction(
            origin,
            format!(
                "{sockets} sockets x {cores_per_socket} cores x {threads} threads are not {weight} online CPUs: the \
                 machine is not regular, use `lscpu -p`"
            ),
        ));
    }
    let arch = match field("Architecture") {
        Some(arch) if arch.starts_with("x86") || arch.starts_with('i') => Arch::X86,
        Some(_) => Arch::Generic,
        None => Arch::X86,
    };
    let virtual_machine = field("Hypervisor vendor").is_some();
    let order = deal_out(&counts, virtual_machine, &mut notes);
    if !counts.llcs.is_multiple_of(counts.sockets) || counts.llcs == 0 || !total.is_multiple_of(counts.llcs) {
        notes.push(String::from("the number of last-level caches is not told: one per socket"));
    }
    let per = |things: usize, default: usize| {
        if things > 0 && total.is_multiple_of(things) { total / things } else { default }
    };
    let cores_per_llc = per(counts.llcs, counts.cores_per_socket).min(counts.cores_per_socket);
    // Outside of x86 clusters are what firmware says, not what shares an L2.
    let cores_per_cluster = if arch == Arch::X86 { per(counts.clusters, 1) } else { 1 };
    let nr_cpus = counts.online.last().map_or(0, |cpu| cpu.index() + 1);
    let mut cpus: Vec<CpuFacts> = (0..nr_cpus as u64).map(offline).collect();
    for (core, threads) in order.iter().enumerate() {
        for cpu in threads {
            let node = counts.nodes.iter().position(|node| node.contains(*cpu)).unwrap_or(0);
            cpus[cpu.index()] = CpuFacts {
                core: core as u64,
                cluster: Some((core / cores_per_cluster) as u64),
                llc: Some((core / cores_per_llc) as u64),
                package: (core / counts.cores_per_socket) as u64,
                node: node as u32,
                online: true,
                ..offline(0)
            };
        }
    }
    adopt_offline(&mut cpus);
    let family = field("CPU family").and_then(|family| family.parse::<u32>().ok()).unwrap_or(0);
    let zen = matches!(field("Vendor ID"), Some("AuthenticAMD" | "HygonGenuine")) && family >= 0x17;
    let nr_nodes = counts.nodes.len().max(1);
    note_distances(nr_nodes, &mut notes);
    finish(cpus, nr_nodes, arch, (zen && nr_nodes > 1).then_some(32), notes, ("lscpu summary", origin))
}

fn read_counts(fields: &[(String, String)], origin: &str) -> Result<Counts, MachineInputError> {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let wrong = |what: String| MachineInputError::contradiction(origin, what);
    let count = |name: &str| match field(name).map(str::parse::<usize>) {
        Some(Ok(count)) if (1..=Machine::MAX_CPUS).contains(&count) => Ok(Some(count)),
        Some(_) => {
            Err(wrong(format!("expected a count for `{name}`, found `{}`", field(name).unwrap_or(""))))
        }
        None => Ok(None),
    };
    let list = |name: &str, text: &str| {
        CpuMask::parse_list(text, Machine::MAX_CPUS).map_err(|error| wrong(format!("`{name}`: {error}")))
    };
    let online = match (field("On-line CPU(s) list"), count("CPU(s)")?) {
        (Some(text), _) => list("On-line CPU(s) list", text)?,
        (None, Some(cpus)) => CpuMask::from_cpus(Machine::MAX_CPUS, (0..cpus as u32).map(CpuId)),
        (None, None) => return Err(wrong(String::from("expected `CPU(s)` in the output of lscpu"))),
    };
    if online.is_empty() {
        return Err(wrong(String::from("no CPU is online")));
    }
    let threads = count("Thread(s) per core")?.unwrap_or(1);
    // Arm without ACPI has clusters instead of sockets.
    let clusters = count("Cluster(s)").ok().flatten();
    let sockets = count("Socket(s)").ok().flatten().or(clusters).unwrap_or(1);
    let cores = count("Core(s) per socket").ok().flatten().or(count("Core(s) per cluster").ok().flatten());
    let cores_per_socket = cores.unwrap_or((online.weight() as usize / threads / sockets).max(1));
    // `16 MiB (2 instances)`
    let instances = |name: &str| {
        let (_, text) = field(name)?.split_once('(')?;
        text.split_whitespace().next()?.parse::<usize>().ok()
    };
    let (l2, l3) = (instances("L2 cache"), instances("L3 cache"));
    let mut nodes = Vec::new();
    for (name, text) in fields {
        if name.starts_with("NUMA node") && name.ends_with("CPU(s)") {
            nodes.push(list(name, text)?);
        }
    }
    Ok(Counts {
        online,
        sockets,
        cores_per_socket,
        threads,
        llcs: l3.or(l2).unwrap_or(0),
        clusters: if l3.is_some() { l2.unwrap_or(0) } else { 0 },
        nodes,
    })
}

/// The CPUs of each core, cores in order. Nodes that list two ranges for two threads have siblings one range apart.
fn deal_out(counts: &Counts, virtual_machine: bool, notes: &mut Vec<String>) -> Vec<Vec<CpuId>> {
    let whole = [counts.online.clone()];
    let nodes = if counts.nodes.len() > 1 { counts.nodes.as_slice() } else { whole.as_slice() };
    let threads = counts.threads;
    let mut order = Vec::new();
    for node in nodes {
        let cpus: Vec<CpuId> = node.iter().filter(|&cpu| counts.online.contains(cpu)).collect();
        let one_range = cpus.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1);
        let interleaved = !one_range || (nodes.len() == 1 && !virtual_machine);
        let cores = cpus.len() / threads;
        for core in 0..cores {
            let number =
                |thread: usize| if interleaved { thread * cores + core } else { core * threads + thread };
            order.push((0..threads).map(|thread| cpus[number(thread)]).collect());
        }
        if threads > 1 && nodes.len() == 1 {
            let how = if interleaved { "half the CPUs apart" } else { "next to each other" };
            notes.push(format!("siblings taken to be {how}"));
        }
    }
    order
}
