//! The machine as the host describes it: CPUs with what they share, memory nodes with distances.
//!
//! Everything here is input (spec 1 §2); nothing is derived but the sibling sets, which are the sets of CPUs with
//! equal ids.
use crate::ids::CpuId;
use crate::mask::CpuMask;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A machine: possible CPUs `0..cpus.len()`, and memory nodes with their distances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What reports call it.
    pub name: String,
    /// Where the description came from (`this host's sysfs`, `preset`, a file ...).
    pub source: String,
    /// The possible CPUs; the index is the CPU's number.
    pub cpus: Vec<Cpu>,
    /// Number of memory nodes; a node may have no CPU.
    pub nr_nodes: usize,
    /// `distances[a * nr_nodes + b]`: the firmware's distance from node `a` to node `b`; 10 is a node to itself.
    pub distances: Vec<u32>,
    /// Which table of topology levels the kernel uses.
    pub arch: Arch,
    /// Distance beyond which placement does not cross nodes; `None` for the kernel's default of 30.
    pub node_reclaim_distance: Option<u32>,
    /// x86 only: packages hold more than one node, which is not visible in the CPU ids when it is set by firmware.
    /// `None`: derive it from package and node of the CPUs.
    pub numa_in_package: Option<bool>,
    /// x86 Granite Rapids and Darkmont: distances between nodes of different packages depend on details that domains
    /// should not follow; newest kernels average them (spec 1 §3.4).
    pub uneven_package_distances: bool,
    /// Whether the platform announces preferred CPUs (Intel Turbo Boost Max 3.0 and kin), which turns on asym packing.
    pub itmt: bool,
    /// CPUs excluded from every partition (`isolcpus=domain,`).
    pub isolated: CpuMask,
}

/// Which table of topology levels applies (spec 1 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Arch {
    /// x86: SMT, CLS, MC, PKG by APIC ids.
    #[default]
    X86,
    /// arm64, riscv and others: the generic table.
    Generic,
}

/// One logical CPU. CPUs with equal ids share the thing; ids need not be dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The core, unique in the machine: CPUs with equal `core` are SMT siblings.
    pub core: u32,
    /// The cluster (on x86: the L2 cache), unique in the machine; `None` if the machine has none: then the core.
    pub cluster: Option<u32>,
    /// The last-level cache, unique in the machine; `None` if unknown: then each CPU by itself.
    pub llc: Option<u32>,
    /// The die, unique in the machine.
    pub die: u32,
    /// The physical package.
    pub package: u32,
    /// The memory node.
    pub node: u32,
    /// Capacity relative to the machine's biggest CPU, 1..=1024 (`arch_scale_cpu_capacity`).
    pub capacity: u32,
    /// Priority for asym packing; higher is preferred. `None`: the kernel's default, minus the CPU number.
    pub asym_priority: Option<i32>,
    /// Whether the CPU is online.
    pub online: bool,
}

/// Why a machine cannot exist, or is described in a way that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineError {
    /// A machine without CPUs.
    NoCpus,
    /// No CPU is online.
    NoneOnline,
    /// More CPUs than the model has room for.
    TooManyCpus {
        /// CPUs asked for.
        cpus: usize,
    },
    /// Two CPUs share something that cannot be shared that way.
    Shared {
        /// What they share (`core`, `cluster`, `last-level cache` ...).
        what: &'static str,
        /// What they are in two of (`nodes`, `packages` ...).
        across: &'static str,
        /// The first of the two CPUs.
        a: CpuId,
        /// The second of the two CPUs.
        b: CpuId,
    },
    /// A CPU names a node that does not exist.
    NoSuchNode {
        /// The CPU.
        cpu: CpuId,
        /// The node it names.
        node: u32,
    },
    /// The distance table has the wrong number of entries.
    DistanceCount {
        /// Entries expected: nodes squared.
        expected: usize,
        /// Entries given.
        found: usize,
    },
    /// A node's distance to itself is not 10, or a distance to another is not in 11..=254.
    DistanceRange {
        /// From this node.
        from: usize,
        /// To this node.
        to: usize,
        /// The distance given.
        distance: u32,
    },
    /// The distance from one node to another is not the distance back.
    DistanceAsymmetric {
        /// One node.
        a: usize,
        /// The other node.
        b: usize,
        /// Distance from `a` to `b`.
        there: u32,
        /// Distance from `b` to `a`.
        back: u32,
    },
    /// A capacity that is not in 1..=1024.
    Capacity {
        /// The CPU.
        cpu: CpuId,
        /// Its capacity as given.
        capacity: u32,
    },
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCpus => f.write_str("a machine needs at least one CPU"),
            Self::NoneOnline => f.write_str("no CPU of the machine is online"),
            Self::TooManyCpus { cpus } => {
                write!(f, "{cpus} CPUs are more than the {} that are supported", Machine::MAX_CPUS)
            }
            Self::Shared { what, across, a, b } => {
                write!(f, "CPUs {a} and {b} share a {what} but are in different {across}")
            }
            Self::NoSuchNode { cpu, node } => write!(f, "CPU {cpu} is on node {node}, which does not exist"),
            Self::DistanceCount { expected, found } => {
                write!(f, "expected {expected} node distances (nodes squared), found {found}")
            }
            Self::DistanceRange { from, to, distance } if from == to => {
                write!(f, "the distance from node {from} to itself must be 10, not {distance}")
            }
            Self::DistanceRange { from, to, distance } => {
                write!(f, "the distance from node {from} to node {to} must be in 11..=254, not {distance}")
            }
            Self::DistanceAsymmetric { a, b, there, back } => write!(
                f,
                "node distances must be symmetric: from {a} to {b} is {there}, from {b} to {a} is {back}"
            ),
            Self::Capacity { cpu, capacity } => {
                write!(f, "the capacity of CPU {cpu} must be in 1..=1024, not {capacity}")
            }
        }
    }
}
impl core::error::Error for MachineError {}

impl Machine {
    /// The most CPUs a machine may have, that of the kernels modelled (`NR_CPUS`).
    pub const MAX_CPUS: usize = 8192;

    /// A regular machine: `sockets` packages of `llcs` last-level caches of `cores` cores of `threads` threads, one
    /// node per socket (distance 20) or a single one. Siblings are numbered next to each other.
    pub fn regular(sockets: u32, llcs: u32, cores: u32, threads: u32, node_per_socket: bool) -> Self {
        let mut cpus = Vec::new();
        for socket in 0..sockets {
            for llc in 0..llcs {
                for core in 0..cores {
                    for _ in 0..threads {
                        cpus.push(Cpu {
                            core: (socket * llcs + llc) * cores + core,
                            cluster: None,
                            llc: Some(socket * llcs + llc),
                            die: socket,
                            package: socket,
                            node: if node_per_socket { socket } else { 0 },
                            capacity: 1024,
                            asym_priority: None,
                            online: true,
                        });
                    }
                }
            }
        }
        let nr_nodes = if node_per_socket { sockets as usize } else { 1 };
        let isolated = CpuMask::new(cpus.len());
        let mut distances = vec![20; nr_nodes * nr_nodes];
        for node in 0..nr_nodes {
            distances[node * nr_nodes + node] = 10;
        }
        Self {
            name: String::from("regular"),
            source: String::from("built in code"),
            cpus,
            nr_nodes,
            distances,
            arch: Arch::X86,
            node_reclaim_distance: None,
            numa_in_package: None,
            uneven_package_distances: false,
            itmt: false,
            isolated,
        }
    }

    /// The number of possible CPUs.
    pub fn nr_cpus(&self) -> usize {
        self.cpus.len()
    }

    /// The CPUs that are online.
    pub fn online(&self) -> CpuMask {
        let online = self.cpus.iter().enumerate().filter(|(_, cpu)| cpu.online);
        CpuMask::from_cpus(self.cpus.len(), online.map(|(i, _)| CpuId(i as u32)))
    }

    /// The distance from node `a` to node `b`.
    pub fn distance(&self, a: usize, b: usize) -> u32 {
        self.distances[a * self.nr_nodes + b]
    }

    /// Checks that the machine can exist; the first contradiction is the error.
    pub fn validate(&self) -> Result<(), MachineError> {
        if self.cpus.is_empty() {
            return Err(MachineError::NoCpus);
        }
        if self.cpus.len() > Self::MAX_CPUS {
            return Err(MachineError::TooManyCpus { cpus: self.cpus.len() });
        }
        if !self.cpus.iter().any(|cpu| cpu.online) {
            return Err(MachineError::NoneOnline);
        }
        for (i, cpu) in self.cpus.iter().enumerate() {
            let id = CpuId(i as u32);
            if cpu.node as usize >= self.nr_nodes {
                return Err(MachineError::NoSuchNode { cpu: id, node: cpu.node });
            }
            if !(1..=1024).contains(&cpu.capacity) {
                return Err(MachineError::Capacity { cpu: id, capacity: cpu.capacity });
            }
        }
        self.validate_sharing()?;
        self.validate_distances()
    }

    fn validate_sharing(&self) -> Result<(), MachineError> {
        // Comparing each CPU with the first of its core is enough: equality is transitive.
        let mut by_core: Vec<(u32, usize)> = self.cpus.iter().enumerate().map(|(i, c)| (c.core, i)).collect();
        by_core.sort_unstable();
        for pair in by_core.chunk_by(|a, b| a.0 == b.0) {
            let first = pair[0].1;
            for &(_, i) in &pair[1..] {
                let (a, b) = (&self.cpus[first], &self.cpus[i]);
                let error = |across| MachineError::Shared {
                    what: "core",
                    across,
                    a: CpuId(first as u32),
                    b: CpuId(i as u32),
                };
                if a.node != b.node {
                    return Err(error("nodes"));
                }
                if a.package != b.package {
                    return Err(error("packages"));
                }
                if a.llc != b.llc {
                    return Err(error("last-level caches"));
                }
            }
        }
        Ok(())
    }

    fn validate_distances(&self) -> Result<(), MachineError> {
        let n = self.nr_nodes;
        if self.distances.len() != n * n {
            return Err(MachineError::DistanceCount { expected: n * n, found: self.distances.len() });
        }
        for a in 0..n {
            for b in 0..n {
                let there = self.distance(a, b);
                if (a == b && there != 10) || (a != b && !(11..=254).contains(&there)) {
                    return Err(MachineError::DistanceRange { from: a, to: b, distance: there });
                }
                if there != self.distance(b, a) {
                    return Err(MachineError::DistanceAsymmetric { a, b, there, back: self.distance(b, a) });
                }
            }
        }
        Ok(())
    }
}
