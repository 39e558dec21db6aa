//! A machine as Linux shows it below `/sys`: of this host, of a copied tree, or of a dump of one.
//!
//! | what | files |
//! |---|---|
//! | possible and online CPUs | `cpu/possible` (else `present`, else `online`), `cpu/online` |
//! | core, die, package | `topology/core_cpus_list` (else `thread_siblings_list`, else `core_id`), `die_id`, `physical_package_id` |
//! | last-level cache | `shared_cpu_list` of the data or unified cache with the highest `level` |
//! | cluster | `topology/cluster_cpus_list` unless `cluster_id` is -1; on x86, where that is the L2, else the L2 cache |
//! | node | `node/nodeN/cpulist`, `node/nodeN/distance` (a row, in the order of online nodes) |
//! | capacity | `cpu_capacity`, 1024 if missing |
//! | isolated | `cpu/isolated` |
//! | x86 or not, AMD Zen | `cpu/modalias`; Zen's node reclaim distance is 32 (spec 1 §3.4) |
//! | asym priority | `acpi_cppc/highest_perf`, see below |
//!
//! **Preferred cores.** `highest_perf` is the kernel's source of asym priorities only where a driver announced them
//! (ITMT). That is asked of `kernel/debug/x86/sched_itmt_enabled` or, beside `sys`, of `proc/sys/kernel/sched_itmt_enabled`.
//! Where neither is there, ITMT is taken to be on if the values differ, as the drivers of both x86 vendors do; a note says so. Where
//! all CPUs have the same value, or ITMT is off, no priorities are recorded.
//!
//! **Offline CPUs** have no topology in sysfs. They get a core of their own in the package of the first online CPU.
//!
//! Left out: cache sizes, idle states and frequencies, which the balancer does not look at.
use super::error::TextError;
use super::facts::{CpuFacts, Facts, default_distances};
use super::tree::Tree;
use super::{LoadedMachine, MachineInputError};
use evenkeel::ids::CpuId;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine};
use std::path::Path;

const CPU: &str = "devices/system/cpu";
const NODE: &str = "devices/system/node";

/// Reads the machine below `root`: a `/sys`, or a directory that holds a copy of one as `sys`.
pub fn read_directory(root: &Path) -> Result<LoadedMachine, MachineInputError> {
    let tree = [root.to_path_buf(), root.join("sys")].into_iter().find(|root| root.join(CPU).is_dir());
    let Some(tree) = tree else {
        return Err(MachineInputError::contradiction(
            &root.display().to_string(),
            format!("expected a sysfs tree; there is neither {CPU} nor sys/{CPU} in it"),
        ));
    };
    let mut name =
        root.file_name().map_or_else(|| String::from("host"), |name| name.to_string_lossy().into());
    let mut source = format!("sysfs tree {}", root.display());
    if root == Path::new("/sys") {
        name = String::from("host");
        source = String::from("this host's sysfs");
    }
    Reader::new(Tree::Directory(tree), name, source).read()
}

/// Reads a dump of a sysfs tree: for each file a line `@@ PATH` and its content.
pub fn read_dump(text: &str, name: &str) -> Result<LoadedMachine, MachineInputError> {
    Reader::new(Tree::from_dump(text), String::from(name), String::from("dump of sysfs files")).read()
}

/// The key of a core of which nothing is known; no other key looks like it.
fn lone_core(cpu: CpuId) -> u64 {
    1 << 62 | u64::from(cpu.0)
}

struct Reader {
    tree: Tree,
    name: String,
    source: String,
    /// Number of possible CPUs, known after `possible` was read.
    nr_cpus: usize,
    online: CpuMask,
    notes: Vec<String>,
}

/// The online CPUs that share something with a CPU, as its lists say; `None` where there is no list.
#[derive(Default)]
struct Shared {
    core: Option<CpuMask>,
    llc: Option<CpuMask>,
    cluster: Option<CpuMask>,
}

/// What `cpu/modalias` says about the vendor.
struct Vendor {
    arch: Arch,
    zen: bool,
}

impl Reader {
    fn new(tree: Tree, name: String, source: String) -> Self {
        Self { tree, name, source, nr_cpus: 0, online: CpuMask::new(0), notes: Vec::new() }
    }

    fn read(mut self) -> Result<LoadedMachine, MachineInputError> {
        self.read_cpu_sets()?;
        let vendor = self.vendor();
        let cpus = self.read_cpus(vendor.arch)?;
        let (nr_nodes, distances, node_of) = self.read_nodes()?;
        let mut facts = Facts {
            name: self.name.clone(),
            source: self.source.clone(),
            cpus,
            nr_nodes,
            distances,
            arch: vendor.arch,
            node_reclaim_distance: (vendor.zen && nr_nodes > 1).then_some(32),
            itmt: false,
            isolated: self.isolated()?,
            notes: Vec::new(),
        };
        for (cpu, node) in facts.cpus.iter_mut().zip(node_of) {
            cpu.node = node;
        }
        if vendor.arch == Arch::X86 {
            self.read_priorities(&mut facts);
        }
        facts.notes = self.notes;
        facts.assemble()
    }

    /// The error that the text of a file is not what was expected.
    fn unexpected(&self, path: &str, text: &str, message: String) -> MachineInputError {
        TextError::at_offset(&self.tree.name_of(path), text, 0, message).into()
    }

    fn number(&self, path: &str) -> Result<Option<i64>, MachineInputError> {
        let Some(text) = self.tree.read(path)? else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.unexpected(path, &text, String::from("expected a number"))),
        }
    }

    /// A CPU list; CPUs up to the most that are supported.
    fn list(&self, path: &str) -> Result<Option<CpuMask>, MachineInputError> {
        let Some(text) = self.tree.read(path)? else { return Ok(None) };
        match CpuMask::parse_list(&text, Machine::MAX_CPUS) {
            Ok(mask) => Ok(Some(mask)),
            Err(error) => Err(self.unexpected(path, &text, error.to_string())),
        }
    }

    fn read_cpu_sets(&mut self) -> Result<(), MachineInputError> {
        let directories = self.tree.numbered(CPU, "cpu");
        if let Some(&cpu) = directories.iter().find(|&&cpu| cpu as usize >= Machine::MAX_CPUS) {
            let what = format!("cpu{cpu} is beyond the {} CPUs that are supported", Machine::MAX_CPUS);
            return Err(MachineInputError::contradiction(&self.source, what));
        }
        let online = match self.list(&format!("{CPU}/online"))? {
            Some(online) => online,
            None => {
                self.notes.push(String::from("no list of online CPUs: every CPU directory counts as online"));
                CpuMask::from_cpus(Machine::MAX_CPUS, directories.iter().map(|&cpu| CpuId(cpu)))
            }
        };
        let mut possible = self.list(&format!("{CPU}/possible"))?;
        if possible.is_none() {
            self.notes.push(String::from("no list of possible CPUs: those that are present or online"));
            possible = self.list(&format!("{CPU}/present"))?;
        }
        let mut possible = possible.unwrap_or_else(|| online.clone());
        possible.or_assign(&online);
        let Some(last) = possible.last() else {
            return Err(MachineInputError::contradiction(
                &self.source,
                "no CPU is listed as online or possible",
            ));
        };
        self.nr_cpus = last.index() + 1;
        let online_count = online.weight() as usize;
        if online_count < self.nr_cpus {
            let count = self.nr_cpus - online_count;
            self.notes.push(format!("{count} possible CPUs are offline; sysfs does not say what they share"));
        }
        self.online = CpuMask::from_cpus(self.nr_cpus, online.iter());
        Ok(())
    }

    fn vendor(&mut self) -> Vendor {
        let modalias = self.tree.peek(&format!("{CPU}/modalias")).unwrap_or_default();
        let kind = modalias.strip_prefix("cpu:type:").unwrap_or("");
        if kind.is_empty() {
            let arm = self.tree.peek(&format!("{CPU}/cpu0/regs/identification/midr_el1")).is_some();
            let arch = if arm { Arch::Generic } else { Arch::X86 };
            if !arm {
                self.notes.push(String::from("no cpu/modalias: taken for x86 of a vendor other than AMD"));
            }
            return Vendor { arch, zen: false };
        }
        // `x86,ven0002fam0019mod0001:feature:...`: vendor 2 is AMD, 9 is Hygon.
        let Some(x86) = kind.strip_prefix("x86,ven") else {
            return Vendor { arch: Arch::Generic, zen: false };
        };
        let family = x86.get(7..11).and_then(|family| u32::from_str_radix(family, 16).ok()).unwrap_or(0);
        let zen = (x86.starts_with("0002fam") && family >= 0x17) || x86.starts_with("0009fam");
        Vendor { arch: Arch::X86, zen }
    }

    /// The online CPUs that share something with `cpu`, by the list in `path`; `None` if the file is missing.
    fn sharing(&self, cpu: CpuId, path: &str) -> Result<Option<CpuMask>, MachineInputError> {
        let Some(list) = self.list(path)? else { return Ok(None) };
        if !list.contains(cpu) {
            let what = format!("expected a list with CPU {cpu} in it");
            return Err(self.unexpected(path, &list.to_string(), what));
        }
        let list = CpuMask::from_cpus(self.nr_cpus, list.iter().filter(|&other| self.online.contains(other)));
        Ok(Some(list))
    }

    /// The key of what each CPU shares: the lowest CPU of its list. Errors if CPUs of a list have different lists, for
    /// then CPUs would share the thing without sharing it.
    fn keys(&self, what: &str, lists: &[Option<CpuMask>]) -> Result<Vec<Option<u64>>, MachineInputError> {
        let mut keys = Vec::with_capacity(lists.len());
        for (cpu, list) in lists.iter().enumerate() {
            for other in list.iter().flat_map(CpuMask::iter) {
                if lists[other.index()] != *list {
                    let what =
                        format!("CPU {cpu} shares a {what} with CPU {other}, which shares one with others");
                    return Err(MachineInputError::contradiction(&self.source, what));
                }
            }
            keys.push(list.as_ref().and_then(CpuMask::first).map(|first| u64::from(first.0)));
        }
        Ok(keys)
    }

    fn read_cpu(&self, cpu: CpuId, arch: Arch) -> Result<(CpuFacts, Shared), MachineInputError> {
        let topology = |file: &str| format!("{CPU}/cpu{cpu}/topology/{file}");
        // -1 stands for "not provided".
        let id = |file: &str| -> Result<Option<u64>, MachineInputError> {
            Ok(self.number(&topology(file))?.and_then(|id| u64::try_from(id).ok()))
        };
        let package = id("physical_package_id")?.unwrap_or(0);
        let die = id("die_id")?.unwrap_or(0);
        let core_id = id("core_id")?;
        let cluster_id = id("cluster_id")?;
        let mut shared =
            Shared { core: self.sharing(cpu, &topology("core_cpus_list"))?, ..Shared::default() };
        if shared.core.is_none() {
            shared.core = self.sharing(cpu, &topology("thread_siblings_list"))?;
        }
        shared.llc = self.cache(cpu, None)?;
        shared.cluster = match (cluster_id, arch) {
            (Some(_), _) => self.sharing(cpu, &topology("cluster_cpus_list"))?,
            (None, Arch::X86) => self.cache(cpu, Some(2))?,
            (None, Arch::Generic) => None,
        };
        let capacity = match self.number(&format!("{CPU}/cpu{cpu}/cpu_capacity"))? {
            Some(capacity) => u32::try_from(capacity).unwrap_or(0),
            None => 1024,
        };
        // Core ids are unique within a die only; keys from ids and keys from lists never meet.
        let by_id =
            core_id.map(|id| 1 << 63 | (package & 0xffff) << 40 | (die & 0xffff) << 24 | (id & 0xff_ffff));
        let facts = CpuFacts {
            core: by_id.unwrap_or(lone_core(cpu)),
            cluster: None,
            llc: None,
            die,
            package,
            node: 0,
            capacity,
            asym_priority: None,
            online: true,
        };
        Ok((facts, shared))
    }

    /// The CPUs sharing the data or unified cache of `cpu` at a level, or at the highest there is.
    fn cache(&self, cpu: CpuId, level: Option<i64>) -> Result<Option<CpuMask>, MachineInputError> {
        let directory = format!("{CPU}/cpu{cpu}/cache");
        let mut best: Option<(i64, String)> = None;
        for index in self.tree.numbered(&directory, "index") {
            let file = |name: &str| format!("{directory}/index{index}/{name}");
            let kind = self.tree.read(&file("type"))?;
            let Some(found) = self.number(&file("level"))? else { continue };
            let wanted = level.is_none_or(|level| level == found);
            if kind.as_deref() == Some("Instruction") || !wanted {
                continue;
            }
            if best.as_ref().is_none_or(|(level, _)| found > *level) {
                best = Some((found, file("shared_cpu_list")));
            }
        }
        match best {
            Some((_, path)) => self.sharing(cpu, &path),
            None => Ok(None),
        }
    }

    fn read_cpus(&mut self, arch: Arch) -> Result<Vec<CpuFacts>, MachineInputError> {
        let mut cpus = vec![None; self.nr_cpus];
        let none = || vec![None; self.nr_cpus];
        let (mut cores, mut llcs, mut clusters) = (none(), none(), none());
        let mut unknown = CpuMask::new(self.nr_cpus);
        for cpu in self.online.clone().iter() {
            let (facts, shared) = self.read_cpu(cpu, arch)?;
            let i = cpu.index();
            if shared.core.is_none() && facts.core == lone_core(cpu) {
                unknown.set(cpu);
            }
            cpus[i] = Some(facts);
            (cores[i], llcs[i], clusters[i]) = (shared.core, shared.llc, shared.cluster);
        }
        if !unknown.is_empty() {
            self.notes.push(format!("CPUs {unknown} have no topology directory: a core of its own each"));
        }
        let mut cpus = self.fill_offline(cpus);
        let cores = self.keys("core", &cores)?;
        let llcs = self.keys("last-level cache", &llcs)?;
        let clusters = self.keys("cluster", &clusters)?;
        for (i, cpu) in cpus.iter_mut().enumerate() {
            cpu.core = cores[i].unwrap_or(cpu.core);
            (cpu.llc, cpu.cluster) = (llcs[i], clusters[i]);
        }
        Ok(cpus)
    }

    fn fill_offline(&self, cpus: Vec<Option<CpuFacts>>) -> Vec<CpuFacts> {
        let (die, package) = cpus.iter().flatten().next().map_or((0, 0), |cpu| (cpu.die, cpu.package));
        let offline = |cpu: usize| CpuFacts {
            core: lone_core(CpuId(cpu as u32)),
            cluster: None,
            llc: None,
            die,
            package,
            node: 0,
            capacity: 1024,
            asym_priority: None,
            online: false,
        };
        cpus.into_iter().enumerate().map(|(cpu, facts)| facts.unwrap_or_else(|| offline(cpu))).collect()
    }

    /// The number of nodes, their distances, and the node of each CPU.
    fn read_nodes(&mut self) -> Result<(usize, Vec<u32>, Vec<u32>), MachineInputError> {
        let mut numbers = self.tree.numbered(NODE, "node");
        if let Some(online) = self.list(&format!("{NODE}/online"))? {
            numbers.retain(|&node| online.contains(CpuId(node)));
        }
        let mut node_of: Vec<Option<u32>> = vec![None; self.nr_cpus];
        if numbers.is_empty() {
            self.notes.push(String::from("no nodes are listed: all CPUs are on one"));
            return Ok((1, vec![10], vec![0; self.nr_cpus]));
        }
        if numbers.iter().enumerate().any(|(i, &node)| i as u32 != node) {
            let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
            self.notes.push(format!("nodes {} are numbered 0 to {} here", list.join(","), numbers.len() - 1));
        }
        let mut distances = Vec::new();
        for (index, node) in numbers.iter().enumerate() {
            let path = format!("{NODE}/node{node}/cpulist");
            for cpu in self.list(&path)?.iter().flat_map(CpuMask::iter) {
                let Some(slot) = node_of.get_mut(cpu.index()) else { continue };
                if let Some(other) = slot.replace(index as u32) {
                    let (other, node) = (numbers[other as usize], *node);
                    let what = format!("CPU {cpu} is on node {other} and on node {node}");
                    return Err(MachineInputError::contradiction(&self.source, what));
                }
            }
            let path = format!("{NODE}/node{node}/distance");
            let Some(text) = self.tree.read(&path)? else { continue };
            let row: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
            match row {
                Ok(row) if row.len() == numbers.len() => distances.extend(row),
                _ => {
                    let message = format!("expected {} distances, one per online node", numbers.len());
                    return Err(self.unexpected(&path, &text, message));
                }
            }
        }
        if distances.is_empty() {
            if numbers.len() > 1 {
                self.notes.push(String::from("no node distances are listed: 10 to itself, 20 to the others"));
            }
            distances = default_distances(numbers.len());
        }
        let mut lost = CpuMask::new(self.nr_cpus);
        let node_of = node_of.into_iter().enumerate().map(|(cpu, node)| {
            let id = CpuId(cpu as u32);
            node.unwrap_or_else(|| {
                let linked = self.tree.numbered(&format!("{CPU}/cpu{cpu}"), "node");
                let linked = linked.iter().find_map(|node| numbers.iter().position(|n| n == node));
                if linked.is_none() && self.online.contains(id) {
                    lost.set(id);
                }
                linked.unwrap_or(0) as u32
            })
        });
        let node_of = node_of.collect();
        if !lost.is_empty() {
            self.notes.push(format!("CPUs {lost} are on no node: taken for those of the first"));
        }
        Ok((numbers.len(), distances, node_of))
    }

    fn isolated(&self) -> Result<CpuMask, MachineInputError> {
        let listed = self.list(&format!("{CPU}/isolated"))?;
        let listed = listed.iter().flat_map(CpuMask::iter).filter(|cpu| cpu.index() < self.nr_cpus);
        Ok(CpuMask::from_cpus(self.nr_cpus, listed))
    }

    /// Fills in asym priorities where they mean something; see the head of the module.
    fn read_priorities(&mut self, facts: &mut Facts) {
        let mut priorities = Vec::new();
        for cpu in &self.online {
            let text = self.tree.peek(&format!("{CPU}/cpu{cpu}/acpi_cppc/highest_perf"));
            let Some(priority) = text.and_then(|text| text.parse::<i32>().ok()) else { return };
            priorities.push((cpu, priority));
        }
        let differ = priorities.iter().any(|(_, priority)| *priority != priorities[0].1);
        let switch = self.tree.peek("kernel/debug/x86/sched_itmt_enabled");
        let switch = switch.or_else(|| self.tree.peek_beside("proc/sys/kernel/sched_itmt_enabled"));
        facts.itmt = match switch.as_deref() {
            Some(switch) => matches!(switch, "1" | "Y"),
            None if differ => {
                self.notes.push(String::from("preferred cores (ITMT) taken to be on: highest_perf differs"));
                true
            }
            None => false,
        };
        if facts.itmt && differ {
            for (cpu, priority) in priorities {
                facts.cpus[cpu.index()].asym_priority = Some(priority);
            }
        }
    }
}
