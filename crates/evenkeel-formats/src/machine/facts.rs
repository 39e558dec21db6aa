//! What every reader collects before it becomes a [`Machine`]: per CPU, keys of what it shares.
//!
//! Readers find the same machine under different numbers: sysfs says `core_id` 0, 1, 2, 8, 9, 10, `lscpu` says 0..6,
//! hwloc says something else again. Only equality matters, so [`Facts::assemble`] numbers cores, caches, dies and
//! packages 0, 1, 2 ... in the order of their lowest CPU. The same machine is then equal whichever way it came in.
//!
//! Two more things are made equal because the kernel cannot tell them apart:
//! * clusters that hold one core each are no clusters (`None`): the kernel falls back to the core (spec 1 §3.2);
//! * nodes are numbered without holes, in ascending order of their numbers.
use super::{LoadedMachine, MachineInputError};
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Cpu, Machine};
use std::collections::BTreeMap;

/// What is known of one CPU. Equal keys of a kind mean the CPUs share the thing; keys mean nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuFacts {
    pub(super) core: u64,
    pub(super) cluster: Option<u64>,
    pub(super) llc: Option<u64>,
    pub(super) die: u64,
    pub(super) package: u64,
    /// Index into the distance table.
    pub(super) node: u32,
    pub(super) capacity: u32,
    pub(super) asym_priority: Option<i32>,
    pub(super) online: bool,
}

/// What is known of a machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) cpus: Vec<CpuFacts>,
    pub(super) nr_nodes: usize,
    pub(super) distances: Vec<u32>,
    pub(super) arch: Arch,
    pub(super) node_reclaim_distance: Option<u32>,
    pub(super) itmt: bool,
    pub(super) isolated: CpuMask,
    pub(super) notes: Vec<String>,
}

/// The distance table when none is given: 10 to itself, 20 to every other node (the firmware default).
pub(super) fn default_distances(nr_nodes: usize) -> Vec<u32> {
    let mut distances = vec![20; nr_nodes * nr_nodes];
    for node in 0..nr_nodes {
        distances[node * nr_nodes + node] = 10;
    }
    distances
}

/// Numbers given to keys in the order they are first seen.
struct Numbering<K>(BTreeMap<K, u32>);

impl<K: Ord> Numbering<K> {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn of(&mut self, key: K) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(key).or_insert(next)
    }
}

impl Facts {
    /// The machine, checked; its notes say what was assumed.
    pub(super) fn assemble(self) -> Result<LoadedMachine, MachineInputError> {
        let origin = self.source.clone();
        let loaded = self.assemble_unchecked();
        match loaded.machine.validate() {
            Ok(()) => Ok(loaded),
            Err(error) => Err(MachineInputError::Impossible { origin, error }),
        }
    }

    /// The machine with its things renumbered; nothing is checked.
    pub(super) fn assemble_unchecked(self) -> LoadedMachine {
        let clusters = self.clusters_matter();
        let (mut cores, mut clusters_by, mut llcs) = (Numbering::new(), Numbering::new(), Numbering::new());
        let (mut dies, mut packages) = (Numbering::new(), Numbering::new());
        let mut cpus = Vec::with_capacity(self.cpus.len());
        for cpu in &self.cpus {
            cpus.push(Cpu {
                core: cores.of(cpu.core),
                // A CPU outside every cluster stands for its core, as in the kernel.
                cluster: clusters
                    .then(|| clusters_by.of(cpu.cluster.map_or((1, cpu.core), |cluster| (0, cluster)))),
                llc: cpu.llc.map(|llc| llcs.of(llc)),
                die: dies.of((cpu.package, cpu.die)),
                package: packages.of(cpu.package),
                node: cpu.node,
                capacity: cpu.capacity,
                asym_priority: cpu.asym_priority,
                online: cpu.online,
            });
        }
        let machine = Machine {
            name: self.name,
            source: self.source,
            cpus,
            nr_nodes: self.nr_nodes,
            distances: self.distances,
            arch: self.arch,
            node_reclaim_distance: self.node_reclaim_distance,
            numa_in_package: None,
            uneven_package_distances: false,
            itmt: self.itmt,
            isolated: self.isolated,
        };
        LoadedMachine { machine, notes: self.notes }
    }

    /// Whether some cluster holds more than one core.
    fn clusters_matter(&self) -> bool {
        let mut core_of: BTreeMap<u64, u64> = BTreeMap::new();
        self.cpus.iter().any(|cpu| match cpu.cluster {
            Some(cluster) => *core_of.entry(cluster).or_insert(cpu.core) != cpu.core,
            None => false,
        })
    }
}
