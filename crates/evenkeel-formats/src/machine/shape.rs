//! Regular machines: so many of this in each of that, spread evenly over nodes.
//!
//! Levels from the outside in: socket, node, die, last-level cache, cluster, core, thread. What is left out counts
//! one, with these defaults:
//! * **nodes**: one per socket. If nodes are a level and sockets are not named, each node is a socket of its own.
//! * **dies**: one per socket; **last-level caches**: one per die, and never shared by two nodes; clusters only
//!   where they are named.
//! * **distances**: 10 to itself, 12 to a node of the same socket, 20 to any other.
//! * **numbers**: threads of a core next to each other (CPU = core * threads + thread). Interleaved means all first
//!   threads, then all second ones (CPU = thread * cores + core), as most bare-metal x86 machines have it.
//! * capacity 1024, x86, everything online, nothing isolated.
use super::facts::{CpuFacts, Facts, default_distances};
use super::{LoadedMachine, MachineInputError};
use evenkeel::ids::CpuId;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine, MachineError};

/// A level of a regular machine, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Socket,
    Node,
    Die,
    Llc,
    Cluster,
    Core,
    Thread,
}

impl Unit {
    pub(super) const ALL: [Self; 7] =
        [Self::Socket, Self::Node, Self::Die, Self::Llc, Self::Cluster, Self::Core, Self::Thread];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Socket => "sockets",
            Self::Node => "nodes",
            Self::Die => "dies",
            Self::Llc => "llc",
            Self::Cluster => "clusters",
            Self::Core => "cores",
            Self::Thread => "threads",
        }
    }
}

/// How many nodes there are, if they are not a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeSpread {
    PerSocket(u32),
    Total(u32),
}

/// The distance table of a regular machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distances {
    /// To another node of the same socket (if said), to a node of another socket.
    BySocket { near: Option<u32>, far: u32 },
    /// By the number of hops around a ring (`around`) or along a line; the first entry is for one hop.
    ByHops { hops: Vec<u32>, around: bool },
    /// Row by row.
    Table(Vec<u32>),
}

/// The part of the description that is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Shape,
    Nodes,
    Distances,
    Capacity,
    Priority,
    Isolated,
    Offline,
}

/// An error of [`Shape::build`]: what is to blame, and what is wrong.
pub(super) type ShapeError = (Blame, String);

/// A regular machine before it is built.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) counts: [Option<u32>; 7],
    pub(super) nodes: Option<NodeSpread>,
    pub(super) distances: Distances,
    /// Runs of equal capacity, per core or per CPU; empty for 1024 everywhere.
    pub(super) capacities: Vec<(u32, u32)>,
    /// Runs of equal asym priority, per core or per CPU; empty for the kernel's default.
    pub(super) priorities: Vec<(u32, u32)>,
    pub(super) interleaved: bool,
    pub(super) arch: Arch,
    pub(super) node_reclaim_distance: Option<u32>,
    pub(super) itmt: bool,
    pub(super) isolated: String,
    pub(super) offline: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            counts: [None; 7],
            nodes: None,
            distances: Distances::BySocket { near: None, far: 20 },
            capacities: Vec::new(),
            priorities: Vec::new(),
            interleaved: false,
            arch: Arch::X86,
            node_reclaim_distance: None,
            itmt: false,
            isolated: String::new(),
            offline: String::new(),
        }
    }
}

impl Shape {
    pub(super) fn count(&self, unit: Unit) -> u32 {
        self.counts[unit as usize].unwrap_or(1)
    }

    fn named(&self, unit: Unit) -> bool {
        self.counts[unit as usize].is_some()
    }

    /// Cores and CPUs of the machine, if there are not too many.
    fn totals(&self) -> Result<(u32, u32), ShapeError> {
        let too_many =
            || (Blame::Shape, format!("more CPUs than the {} that are supported", Machine::MAX_CPUS));
        let mut cpus: u32 = 1;
        for unit in Unit::ALL {
            let count = self.count(unit);
            if count == 0 {
                return Err((Blame::Shape, format!("expected at least 1 of {}, found 0", unit.name())));
            }
            cpus = cpus.checked_mul(count).ok_or_else(too_many)?;
        }
        if cpus as usize > Machine::MAX_CPUS {
            return Err(too_many());
        }
        Ok((cpus / self.count(Unit::Thread), cpus))
    }

    /// Sockets and nodes of the machine.
    fn sockets_and_nodes(&self, cores: u32) -> Result<(u32, u32), ShapeError> {
        let mut sockets = self.count(Unit::Socket);
        let nodes = match self.nodes {
            None if self.named(Unit::Node) && !self.named(Unit::Socket) => {
                sockets = self.count(Unit::Node);
                sockets
            }
            None => sockets * self.count(Unit::Node),
            Some(_) if self.named(Unit::Node) => {
                return Err((
                    Blame::Nodes,
                    String::from("nodes are given twice: as a level and after the comma"),
                ));
            }
            Some(NodeSpread::PerSocket(each)) => sockets.saturating_mul(each),
            Some(NodeSpread::Total(nodes)) => nodes,
        };
        if nodes == 0 {
            return Err((Blame::Nodes, String::from("expected at least 1 node, found 0")));
        }
        if !nodes.is_multiple_of(sockets) && !sockets.is_multiple_of(nodes) {
            return Err((
                Blame::Nodes,
                format!("{nodes} nodes cannot be spread evenly over {sockets} sockets"),
            ));
        }
        if !cores.is_multiple_of(nodes) {
            return Err((Blame::Nodes, format!("{cores} cores cannot be spread evenly over {nodes} nodes")));
        }
        for unit in [Unit::Llc, Unit::Cluster] {
            let inside: u32 = Unit::ALL.iter().filter(|&&u| u <= unit).map(|&u| self.count(u)).product();
            if self.named(unit) && !inside.is_multiple_of(nodes) && !nodes.is_multiple_of(inside) {
                let name = unit.name();
                return Err((
                    Blame::Nodes,
                    format!("{inside} {name} cannot be spread evenly over {nodes} nodes"),
                ));
            }
            if self.named(unit) && nodes > inside {
                let name = unit.name();
                return Err((
                    Blame::Nodes,
                    format!(
                        "{nodes} nodes for {inside} {name}: each of the {name} would be on several nodes"
                    ),
                ));
            }
        }
        Ok((sockets, nodes))
    }

    /// Builds the machine.
    pub(super) fn build(&self, name: &str, source: &str) -> Result<LoadedMachine, ShapeError> {
        let (cores, cpus) = self.totals()?;
        let threads = cpus / cores;
        let (sockets, nodes) = self.sockets_and_nodes(cores)?;
        // Things of a level down to clusters are runs of so many cores.
        let run = |unit: Unit| -> u32 {
            let inside: u32 = Unit::ALL.iter().filter(|&&u| u <= unit).map(|&u| self.count(u)).product();
            cores / inside
        };
        let mut facts = Vec::with_capacity(cpus as usize);
        for cpu in 0..cpus {
            let core = if self.interleaved { cpu % cores } else { cpu / threads };
            let package = core / (cores / sockets);
            let node = core / (cores / nodes);
            let die = if self.named(Unit::Die) { core / run(Unit::Die) } else { package };
            let llc = if self.named(Unit::Llc) {
                u64::from(core / run(Unit::Llc))
            } else {
                u64::from(die) << 32 | u64::from(node)
            };
            facts.push(CpuFacts {
                core: core.into(),
                cluster: self.named(Unit::Cluster).then(|| u64::from(core / run(Unit::Cluster))),
                llc: Some(llc),
                die: die.into(),
                package: package.into(),
                node,
                capacity: pick(&self.capacities, core, cpu, cores, cpus, Blame::Capacity)?.unwrap_or(1024),
                asym_priority: pick(&self.priorities, core, cpu, cores, cpus, Blame::Priority)?
                    .map(|priority| i32::try_from(priority).unwrap_or(i32::MAX)),
                online: true,
            });
        }
        let list = |text: &str, blame| {
            CpuMask::parse_list(text, cpus as usize).map_err(|error| (blame, error.to_string()))
        };
        let offline = list(&self.offline, Blame::Offline)?;
        for (i, cpu) in facts.iter_mut().enumerate() {
            cpu.online = !offline.contains(CpuId(i as u32));
        }
        let facts = Facts {
            name: String::from(name),
            source: String::from(source),
            distances: self.distance_table(nodes as usize, sockets as usize)?,
            cpus: facts,
            nr_nodes: nodes as usize,
            arch: self.arch,
            node_reclaim_distance: self.node_reclaim_distance,
            itmt: self.itmt,
            isolated: list(&self.isolated, Blame::Isolated)?,
            notes: self.notes(nodes, sockets),
        };
        facts.assemble().map_err(|error| match error {
            MachineInputError::Impossible { error, .. } => (blame(&error), error.to_string()),
            other => (Blame::Shape, other.to_string()),
        })
    }

    /// What a reader of the line may not have meant.
    fn notes(&self, nodes: u32, sockets: u32) -> Vec<String> {
        match self.distances {
            Distances::BySocket { near: Some(near), far } if near != far && nodes <= sockets && nodes > 1 => {
                vec![format!(
                    "no two nodes share a socket: distance {near} is not used, all nodes are {far} apart"
                )]
            }
            _ => Vec::new(),
        }
    }

    fn distance_table(&self, nodes: usize, sockets: usize) -> Result<Vec<u32>, ShapeError> {
        let mut table = default_distances(nodes);
        // With fewer nodes than sockets no two nodes share one.
        let per_socket = (nodes / sockets).max(1);
        match &self.distances {
            Distances::Table(given) => {
                if given.len() != nodes * nodes {
                    let error = MachineError::DistanceCount { expected: nodes * nodes, found: given.len() };
                    return Err((Blame::Distances, error.to_string()));
                }
                table.clone_from(given);
            }
            Distances::BySocket { near, far } => {
                for a in 0..nodes {
                    for b in (0..nodes).filter(|&b| b != a) {
                        let same = a / per_socket == b / per_socket;
                        table[a * nodes + b] = if same { near.unwrap_or(12) } else { *far };
                    }
                }
            }
            Distances::ByHops { hops, around } => {
                for a in 0..nodes {
                    for b in (0..nodes).filter(|&b| b != a) {
                        let direct = a.abs_diff(b);
                        let count = if *around { direct.min(nodes - direct) } else { direct };
                        table[a * nodes + b] = *hops.get(count - 1).ok_or_else(|| {
                            let shape = if *around { "ring" } else { "line" };
                            let most = if *around { nodes / 2 } else { nodes - 1 };
                            let found = hops.len();
                            (
                                Blame::Distances,
                                format!(
                                    "a {shape} of {nodes} nodes has up to {most} hops, found distances for {found}"
                                ),
                            )
                        })?;
                    }
                }
            }
        }
        Ok(table)
    }
}

/// The value for a core or CPU in runs of equal values; the runs cover all cores or all CPUs.
fn pick(
    runs: &[(u32, u32)],
    core: u32,
    cpu: u32,
    cores: u32,
    cpus: u32,
    blame: Blame,
) -> Result<Option<u32>, ShapeError> {
    if runs.is_empty() {
        return Ok(None);
    }
    let total: u64 = runs.iter().map(|run| u64::from(run.0)).sum();
    let mut index = match total {
        total if total == u64::from(cpus) => cpu,
        total if total == u64::from(cores) => core,
        total => {
            let what = if cores == cpus {
                format!("{cores} cores")
            } else {
                format!("{cores} cores or {cpus} CPUs")
            };
            return Err((blame, format!("expected values for {what}, found {total}")));
        }
    };
    for &(count, value) in runs {
        if index < count {
            return Ok(Some(value));
        }
        index -= count;
    }
    Ok(None)
}

fn blame(error: &MachineError) -> Blame {
    match error {
        MachineError::DistanceCount { .. }
        | MachineError::DistanceRange { .. }
        | MachineError::DistanceAsymmetric { .. } => Blame::Distances,
        MachineError::Capacity { .. } => Blame::Capacity,
        MachineError::NoneOnline => Blame::Offline,
        MachineError::Shared { .. } | MachineError::NoSuchNode { .. } => Blame::Nodes,
        _ => Blame::Shape,
    }
}
