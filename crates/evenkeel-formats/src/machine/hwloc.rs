//! A machine as hwloc's `lstopo` writes it: XML of version 2, and of version 1.
//!
//! Objects nest from the machine to processing units (`PU`, whose `os_index` is the CPU's number). What a CPU shares is
//! what it is inside of: `Core`, caches, `Die`, `Package` (version 1: `Socket`, `Cache` with a `depth`). The last-level
//! cache is the outermost one; a `Group` of subtype `Cluster`, or on x86 an L2, is the cluster. Nodes are
//! found by their `cpuset`, which works for both versions; distances are those named `NUMALatency`, or the first for nodes.
//!
//! What hwloc does not tell: capacities (1024), isolation, preferred cores. Its kinds of cores are left out.
use super::facts::{CpuFacts, Facts, default_distances};
use super::{LoadedMachine, MachineInputError};
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::BTreeMap;

/// An object that CPUs can be inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Die,
    Core,
    Cache(u32),
    Cluster,
    /// Not of interest, or not an object at all.
    Other,
}

/// One distance matrix between nodes.
#[derive(Debug, Default)]
struct Matrix {
    /// Nodes of rows and columns, by `os_index`; empty for all in order.
    indexes: Vec<u32>,
    values: Vec<u32>,
    /// What values are multiples of, in version 1.
    base: String,
}

/// Which text is being collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collect {
    Nothing,
    Indexes,
    Values,
}

/// A CPU, and its L2, which is the cluster on x86.
#[derive(Clone, Copy, Debug)]
struct Unit {
    facts: CpuFacts,
    l2: Option<u64>,
}

struct Collector<'a> {
    text: &'a str,
    origin: &'a str,
    /// The objects around the current place, with numbers that no two objects share.
    stack: Vec<(Kind, u64)>,
    next_key: u64,
    cpus: BTreeMap<u32, Unit>,
    /// CPUs of each node, by `os_index`.
    nodes: BTreeMap<u32, Vec<u32>>,
    infos: BTreeMap<String, String>,
    matrix: Option<Matrix>,
    /// The matrix being read, if it is one between nodes.
    open_matrix: Option<Matrix>,
    collect: Collect,
    nr_kinds: usize,
}

/// Reads hwloc XML; `origin` is what errors call it.
pub fn parse(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let mut reader = Reader::from_str(text);
    let mut collector = Collector {
        text,
        origin,
        stack: Vec::new(),
        next_key: 0,
        cpus: BTreeMap::new(),
        nodes: BTreeMap::new(),
        infos: BTreeMap::new(),
        matrix: None,
        open_matrix: None,
        collect: Collect::Nothing,
        nr_kinds: 0,
    };
    loop {
        let start = reader.buffer_position() as usize;
        let error = |message: String| MachineInputError::at_offset(origin, text, start, message);
        match reader.read_event() {
            Err(wrong) => {
                let place = reader.error_position() as usize;
                return Err(MachineInputError::at_offset(origin, text, place, wrong.to_string()));
            }
            Ok(Event::Eof) => break,
            Ok(Event::Start(element)) => collector.open(&element).map_err(error)?,
            Ok(Event::Empty(element)) => {
                collector.open(&element).map_err(error)?;
                collector.close(element.name().as_ref());
            }
            Ok(Event::End(element)) => collector.close(element.name().as_ref()),
            Ok(Event::Text(content)) => {
                let content = String::from_utf8_lossy(&content).into_owned();
                collector.numbers(&content).map_err(error)?;
            }
            Ok(_) => {}
        }
    }
    collector.finish()
}

/// The attributes of an element that can be read.
fn attributes(element: &BytesStart<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for attribute in element.attributes().with_checks(false).flatten() {
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = match attribute.unescape_value() {
            Ok(value) => value.into_owned(),
            Err(_) => String::from_utf8_lossy(&attribute.value).into_owned(),
        };
        found.insert(name, value);
    }
    found
}

/// CPUs of a bitmap: words of 32 bits, the highest first, a blank one for zero.
fn bitmap(text: &str) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    for (i, word) in words.iter().rev().enumerate() {
        // An infinite bitmap begins with this; there are no CPUs out there.
        if *word == "0xf...f" || word.is_empty() {
            continue;
        }
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let bits = u32::from_str_radix(digits, 16)
            .map_err(|_| format!("expected a bitmap of 32-bit words such as `0x000000ff`, found `{text}`"))?;
        let base = (i as u32).saturating_mul(32);
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 != 0).map(|bit| base.saturating_add(bit)));
    }
    Ok(cpus)
}

/// `21` or `21.000000`, times the base of version 1, as a whole number.
fn latency(text: &str, base: &str) -> Option<u32> {
    let (value, base): (f64, f64) = (text.parse().ok()?, base.parse().ok()?);
    let product = (value * base).round();
    // Anything else is not a distance; the cast is exact in this range.
    (0.0..=1000.0).contains(&product).then_some(product as u32)
}

impl Collector<'_> {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        let attributes = attributes(element);
        let get = |name: &str| attributes.get(name).map_or("", String::as_str);
        match element.name().as_ref() {
            b"object" => return self.object(&attributes),
            b"info" => {
                self.infos.entry(String::from(get("name"))).or_insert_with(|| String::from(get("value")));
            }
            b"distances2" if get("type") == "NUMANode" => {
                let wanted = self.matrix.is_none() || get("name") == "NUMALatency";
                self.open_matrix = wanted.then(Matrix::default);
            }
            b"distances" if self.matrix.is_none() => {
                self.open_matrix =
                    Some(Matrix { base: String::from(get("latency_base")), ..Matrix::default() });
            }
            b"indexes" => self.collect = Collect::Indexes,
            b"u64values" => self.collect = Collect::Values,
            b"latency" => {
                if let Some(matrix) = &mut self.open_matrix {
                    let value = latency(get("value"), &matrix.base)
                        .ok_or_else(|| format!("expected a distance, found `{}`", get("value")))?;
                    matrix.values.push(value);
                }
            }
            b"cpukind" => self.nr_kinds += 1,
            _ => {}
        }
        Ok(())
    }

    fn object(&mut self, attributes: &BTreeMap<String, String>) -> Result<(), String> {
        let get = |name: &str| attributes.get(name).map_or("", String::as_str);
        let os_index = || {
            let number = get("os_index").parse::<u32>().ok();
            number.filter(|&number| (number as usize) < Machine::MAX_CPUS).ok_or_else(|| {
                format!("expected an os_index below {}, found `{}`", Machine::MAX_CPUS, get("os_index"))
            })
        };
        let kind = match get("type") {
            "Package" | "Socket" => Kind::Package,
            "Die" => Kind::Die,
            "Core" => Kind::Core,
            // Version 1; type 2 is an instruction cache.
            "Cache" if get("cache_type") != "2" => Kind::Cache(get("depth").parse().unwrap_or(1)),
            "Group" if get("subtype") == "Cluster" => Kind::Cluster,
            "Group" if get("subtype") == "Die" => Kind::Die,
            cache if cache.len() == 7 && cache.starts_with('L') && cache.ends_with("Cache") => {
                cache[1..2].parse().map_or(Kind::Other, Kind::Cache)
            }
            _ => Kind::Other,
        };
        self.stack.push((kind, self.next_key));
        self.next_key += 1;
        match get("type") {
            "NUMANode" => {
                self.nodes.insert(os_index()?, bitmap(get("cpuset"))?);
            }
            "PU" => {
                let cpu = os_index()?;
                if self.cpus.insert(cpu, self.unit()).is_some() {
                    return Err(format!("CPU {cpu} is there twice"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The CPU at the current place.
    fn unit(&self) -> Unit {
        let inside =
            |want: Kind| self.stack.iter().rev().find(|(kind, _)| *kind == want).map(|(_, key)| *key);
        let llc = self.stack.iter().filter_map(|(kind, key)| match kind {
            Kind::Cache(level) => Some((*level, *key)),
            _ => None,
        });
        let facts = CpuFacts {
            core: inside(Kind::Core).unwrap_or(self.next_key),
            cluster: inside(Kind::Cluster),
            llc: llc.max().map(|(_, key)| key),
            die: inside(Kind::Die).unwrap_or(0),
            package: inside(Kind::Package).unwrap_or(0),
            node: 0,
            capacity: 1024,
            asym_priority: None,
            online: true,
        };
        Unit { facts, l2: inside(Kind::Cache(2)) }
    }

    fn close(&mut self, name: &[u8]) {
        match name {
            b"object" => {
                self.stack.pop();
            }
            b"indexes" | b"u64values" => self.collect = Collect::Nothing,
            b"distances" | b"distances2" => {
                if let Some(matrix) = self.open_matrix.take() {
                    self.matrix = Some(matrix);
                }
            }
            _ => {}
        }
    }

    /// Numbers between tags: of an `indexes` or `u64values` element.
    fn numbers(&mut self, content: &str) -> Result<(), String> {
        let Some(matrix) = &mut self.open_matrix else { return Ok(()) };
        let into = match self.collect {
            Collect::Nothing => return Ok(()),
            Collect::Indexes => &mut matrix.indexes,
            Collect::Values => &mut matrix.values,
        };
        for word in content.split_whitespace() {
            into.push(word.parse().map_err(|_| format!("expected a number, found `{word}`"))?);
        }
        Ok(())
    }

    fn finish(self) -> Result<LoadedMachine, MachineInputError> {
        let wrong = |what: &str| MachineInputError::contradiction(self.origin, what);
        let Some((&last, _)) = self.cpus.last_key_value() else {
            let what = "expected hwloc XML with objects of type PU; there is none";
            return Err(MachineInputError::at_offset(self.origin, self.text, 0, what));
        };
        let nr_cpus = last as usize + 1;
        let mut notes = vec![String::from("hwloc tells no capacities: 1024")];
        let arch = match self.infos.get("Architecture").map(String::as_str) {
            Some(arch) if arch.starts_with("x86") || arch.starts_with('i') => Arch::X86,
            Some(_) => Arch::Generic,
            None => {
                notes.push(String::from("the architecture is not told: x86"));
                Arch::X86
            }
        };
        let first = self.cpus.values().next().ok_or_else(|| wrong("there is no CPU in it"))?.facts;
        let gap = |cpu: u32| CpuFacts {
            core: 1 << 62 | u64::from(cpu),
            cluster: None,
            llc: None,
            online: false,
            ..first
        };
        let facts_of = |unit: &Unit| match arch {
            Arch::X86 => CpuFacts { cluster: unit.facts.cluster.or(unit.l2), ..unit.facts },
            Arch::Generic => unit.facts,
        };
        let cpus = (0..nr_cpus as u32).map(|cpu| self.cpus.get(&cpu).map_or_else(|| gap(cpu), facts_of));
        let mut cpus: Vec<CpuFacts> = cpus.collect();
        if self.cpus.len() < nr_cpus {
            notes.push(format!("{} CPUs are not there: taken to be offline", nr_cpus - self.cpus.len()));
        }
        for (index, members) in self.nodes.values().enumerate() {
            for &cpu in members {
                if let Some(cpu) = cpus.get_mut(cpu as usize) {
                    cpu.node = index as u32;
                }
            }
        }
        if self.nr_kinds > 1 {
            notes.push(String::from("kinds of cores are left out: all have the same capacity and priority"));
        }
        let number = |name: &str| self.infos.get(name).and_then(|text| text.parse::<u32>().ok());
        let vendor = self.infos.get("CPUVendor").map(String::as_str);
        let zen = matches!(vendor, Some("AuthenticAMD" | "HygonGenuine"))
            && number("CPUFamilyNumber") >= Some(0x17);
        let nr_nodes = self.nodes.len().max(1);
        let distances = self.distance_table(nr_nodes, &mut notes)?;
        let facts = Facts {
            name: super::stem(self.origin),
            source: format!("hwloc XML, {}", self.origin),
            isolated: CpuMask::new(nr_cpus),
            cpus,
            nr_nodes,
            distances,
            arch,
            node_reclaim_distance: (zen && nr_nodes > 1).then_some(32),
            itmt: false,
            notes,
        };
        facts.assemble()
    }

    fn distance_table(
        &self,
        nr_nodes: usize,
        notes: &mut Vec<String>,
    ) -> Result<Vec<u32>, MachineInputError> {
        let Some(matrix) = &self.matrix else {
            if nr_nodes > 1 {
                notes.push(String::from("no node distances: 10 to itself, 20 to the others"));
            }
            return Ok(default_distances(nr_nodes));
        };
        let wrong = |what: String| MachineInputError::contradiction(self.origin, what);
        let order: Vec<u32> = self.nodes.keys().copied().collect();
        let indexes = if matrix.indexes.is_empty() { &order } else { &matrix.indexes };
        if indexes.len() != nr_nodes || matrix.values.len() != nr_nodes * nr_nodes {
            let found = matrix.values.len();
            return Err(wrong(format!(
                "expected {} distances of {nr_nodes} nodes, found {found}",
                nr_nodes * nr_nodes
            )));
        }
        let mut table = default_distances(nr_nodes);
        let place = |node: u32| {
            let place = order.iter().position(|&n| n == node);
            place.ok_or_else(|| wrong(format!("distances name node {node}, which does not exist")))
        };
        for (row, &a) in indexes.iter().enumerate() {
            for (column, &b) in indexes.iter().enumerate() {
                table[place(a)? * nr_nodes + place(b)?] = matrix.values[row * nr_nodes + column];
            }
        }
        Ok(table)
    }
}
