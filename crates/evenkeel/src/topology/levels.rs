//! The table of topology levels: which CPUs each level puts together, from the threads of a core up to the machine.
//!
//! Example: two sockets of two cores with two threads, a node each: SMT `0-1`, CLS `0-1`, MC `0-3`, PKG `0-3`,
//! NODE `0-3`, NUMA `0-7` for CPU 0. Levels that turn out to add nothing are removed later
//! (`degenerate`), but their places in the table stay visible as `level` numbers.
//!
//! In the kernel: `sched_domain_topology`, `x86_sched_itmt_flags`, `build_sched_topology` of x86,
//! `cpu_coregroup_mask`, `cpu_clustergroup_mask`. Left out: the tables of powerpc and s390, and the averaged node
//! distances that the newest kernels use on Granite Rapids (the machine does not name its model).
use super::domain::SdFlags;
use super::machine::{Arch, Machine};
use super::rules::{
    AsymPackingLevels, ClusterLevel, Coregroup, HybridLevels, PackageLevel, SmtLevel, TopologyRules,
};
use super::spans::{SpanId, Spans};
use super::{asym, numa};
use crate::ids::CpuId;
use crate::mask::CpuMask;
use alloc::vec::Vec;

/// One entry of the table.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) flags: SdFlags,
    /// The level's CPUs by CPU, not clipped to any partition; empty for CPUs that are away.
    pub(super) masks: Vec<SpanId>,
    /// The largest distance within the level, on NUMA levels (not on NODE).
    pub(super) distance: Option<u32>,
}

/// The whole table, and the masks that are needed beside it.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    pub(super) table: Vec<Level>,
    /// SMT siblings by CPU.
    pub(super) smt: Vec<SpanId>,
    /// The CPUs that share the last-level cache by CPU (`cpu_coregroup_mask`).
    pub(super) llc: Vec<SpanId>,
}

impl Levels {
    /// The table for the CPUs of `visible` (those the architecture's masks hold); NUMA levels are made of the nodes of
    /// the CPUs in `online`. The two differ only while a CPU goes down.
    pub(super) fn new(
        machine: &Machine,
        rules: &TopologyRules,
        visible: &CpuMask,
        online: &CpuMask,
        spans: &mut Spans,
    ) -> Self {
        let masks = match machine.arch {
            Arch::X86 => ArchMasks::x86(machine, visible, spans),
            Arch::Generic => ArchMasks::generic(machine, rules.coregroup, visible, spans),
        };
        let node = spans.classes(visible, |cpu| machine.cpus[cpu.index()].node);
        let mut table = Vec::new();
        for entry in entries(machine, rules) {
            let (name, masks) = match entry.kind {
                Kind::Smt => ("SMT", masks.smt.clone()),
                Kind::Cluster => ("CLS", masks.cluster.clone()),
                Kind::Cache => ("MC", masks.llc.clone()),
                Kind::Package => (rules.package_name, node.clone()),
            };
            table.push(Level { name, flags: entry.flags, masks, distance: None });
        }
        table.push(Level { name: "NODE", flags: SdFlags::empty(), masks: node, distance: None });
        let distances = numa::domain_distances(machine, rules);
        for distance in numa::distances(machine, &distances, rules.numa_distances, online).into_iter().skip(1)
        {
            let masks = numa::masks(machine, &distances, distance, visible, spans);
            table.push(Level { name: "NUMA", flags: SdFlags::NUMA, masks, distance: Some(distance) });
        }
        Self { table, smt: masks.smt, llc: masks.llc }
    }
}

/// Entries below NODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Smt,
    Cluster,
    Cache,
    Package,
}

struct Entry {
    kind: Kind,
    flags: SdFlags,
}

/// The entries below NODE with the flags their level functions return (spec 1 §3.1, §3.2).
fn entries(machine: &Machine, rules: &TopologyRules) -> Vec<Entry> {
    let mut kinds = Vec::from([Kind::Smt, Kind::Cluster, Kind::Cache, Kind::Package]);
    let mut drop_cluster = rules.cluster_level == ClusterLevel::Absent;
    if machine.arch == Arch::X86 {
        if rules.hybrid_levels == HybridLevels::NoCluster && asym::is_hybrid(machine) {
            drop_cluster = true;
        } else if drops_package(machine, rules.package_level) {
            kinds.retain(|&kind| kind != Kind::Package);
        }
        if rules.smt_level == SmtLevel::WhenThreaded && !asym::has_threads(machine) {
            kinds.retain(|&kind| kind != Kind::Smt);
        }
    }
    if drop_cluster {
        kinds.retain(|&kind| kind != Kind::Cluster);
    }
    let itmt = asym::itmt_enabled(machine, rules);
    let entry = |kind| Entry { kind, flags: level_flags(kind, rules, itmt) };
    kinds.into_iter().map(entry).collect()
}

fn level_flags(kind: Kind, rules: &TopologyRules, itmt: bool) -> SdFlags {
    let flags = match kind {
        Kind::Smt => SdFlags::SHARE_CPUCAPACITY | SdFlags::SHARE_LLC,
        Kind::Cluster if rules.cluster_level == ClusterLevel::Flagged => {
            SdFlags::CLUSTER | SdFlags::SHARE_LLC
        }
        Kind::Cluster | Kind::Cache => SdFlags::SHARE_LLC,
        Kind::Package => SdFlags::empty(),
    };
    let packs = match rules.asym_packing_levels {
        AsymPackingLevels::ThreadsAndCaches => kind != Kind::Package,
        AsymPackingLevels::CachesAndPackage => kind != Kind::Smt,
    };
    if itmt && packs { flags | SdFlags::ASYM_PACKING } else { flags }
}

/// Whether x86 leaves out the package level because packages hold several nodes (spec 1 §3.2).
fn drops_package(machine: &Machine, rule: PackageLevel) -> bool {
    if let Some(known) = machine.numa_in_package {
        return known;
    }
    let mut packages: Vec<(u32, u32)> = machine.cpus.iter().map(|cpu| (cpu.package, cpu.node)).collect();
    packages.sort_unstable();
    packages.dedup();
    match rule {
        PackageLevel::DroppedIfPackageSpansNodes => packages.windows(2).any(|pair| pair[0].0 == pair[1].0),
        PackageLevel::DroppedIfMoreNodesThanPackages => {
            packages.dedup_by_key(|package| package.0);
            machine.nr_nodes > packages.len()
        }
    }
}

/// The masks the architecture supplies, by CPU.
struct ArchMasks {
    smt: Vec<SpanId>,
    cluster: Vec<SpanId>,
    llc: Vec<SpanId>,
}

impl ArchMasks {
    /// x86: equal ids, but never across nodes (spec 1 §3.2).
    fn x86(machine: &Machine, visible: &CpuMask, spans: &mut Spans) -> Self {
        let cpu = |id: CpuId| &machine.cpus[id.index()];
        Self {
            smt: spans.classes(visible, |id| (cpu(id).node, cpu(id).core)),
            cluster: spans.classes(visible, |id| cluster_key(machine, id)),
            llc: spans.classes(visible, |id| match cpu(id).llc {
                Some(llc) => (cpu(id).node, false, llc),
                None => (cpu(id).node, true, id.0),
            }),
        }
    }

    /// The generic table (spec 1 §3.3).
    fn generic(machine: &Machine, rule: Coregroup, visible: &CpuMask, spans: &mut Spans) -> Self {
        let cpu = |id: CpuId| &machine.cpus[id.index()];
        let smt = spans.classes(visible, |id| cpu(id).core);
        let node = spans.classes(visible, |id| cpu(id).node);
        let clusters =
            spans.classes(visible, |id| (cpu(id).cluster.is_none(), cpu(id).cluster.unwrap_or(cpu(id).core)));
        let caches = spans.classes(visible, |id| (cpu(id).llc.is_none(), cpu(id).llc.unwrap_or(id.0)));
        // A device tree makes every leaf cluster a package of its own and names no caches.
        let device_tree = rule == Coregroup::Package && is_device_tree(machine);
        let packages = match device_tree {
            true => spans.classes(visible, |id| match (cpu(id).cluster, cpu(id).llc) {
                (Some(cluster), _) => (0, cluster),
                (None, Some(llc)) => (1, llc),
                (None, None) => (2, cpu(id).package),
            }),
            false => spans.classes(visible, |id| (2, cpu(id).package)),
        };
        let narrower = |spans: &Spans, wide: SpanId, narrow: SpanId| match spans
            .mask(narrow)
            .is_subset(spans.mask(wide))
        {
            true => narrow,
            false => wide,
        };
        let mut llc = node;
        let mut cluster = clusters.clone();
        for id in visible {
            let i = id.index();
            llc[i] = narrower(spans, llc[i], packages[i]);
            if cpu(id).llc.is_some() && !device_tree {
                llc[i] = narrower(spans, llc[i], caches[i]);
            }
            if rule == Coregroup::CacheOrCluster {
                if spans.mask(llc[i]).is_subset(spans.mask(clusters[i])) {
                    llc[i] = clusters[i];
                }
                if spans.mask(llc[i]).is_subset(spans.mask(clusters[i])) {
                    cluster[i] = smt[i];
                }
            }
        }
        Self { smt, cluster, llc }
    }
}

/// What x86 CPUs of one cluster have in common: the L2 cache, or else the core.
fn cluster_key(machine: &Machine, id: CpuId) -> (u32, bool, u32) {
    let cpu = &machine.cpus[id.index()];
    match cpu.cluster {
        Some(cluster) => (cpu.node, false, cluster),
        None => (cpu.node, true, cpu.core),
    }
}

/// Machines with one package and one node are taken for device-tree machines, others for ACPI servers.
fn is_device_tree(machine: &Machine) -> bool {
    machine.nr_nodes == 1 && machine.cpus.iter().all(|cpu| cpu.package == machine.cpus[0].package)
}
