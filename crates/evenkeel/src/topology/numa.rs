//! Levels that cross memory nodes, and their groups, which may overlap.
//!
//! Every distinct distance is a level: CPUs within that distance of one's own node. Neighbourhoods of different nodes
//! overlap without being equal, so each CPU has its own ring of groups, made of what its neighbours see one level
//! below. Example: four nodes in a ring (10/20/30), two CPUs each. CPU 0's level of distance 20 is `0-3,6-7` with
//! groups `0-1`, `2-3`, `6-7`; its level of distance 30 is `0-7` with the groups `0-3,6-7` (its own neighbourhood)
//! and `2-7` (that of node 2), which overlap.
//!
//! In the kernel: `sched_init_numa`, `build_overlap_sched_groups`, `build_balance_mask`,
//! `find_descended_sibling`. Left out: asymmetric distance tables ([`Machine::validate`] refuses them).
use super::build::Draft;
use super::domain::SdFlags;
use super::machine::Machine;
use super::rules::{NumaDistances, OverlapGroups, TopologyRules};
use super::spans::{SpanId, Spans};
use crate::ids::{CpuId, DomainId};
use crate::mask::CpuMask;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The distances that domains go by, as a table like the machine's (`arch_sched_node_distance`, spec 1 §3.4).
///
/// The machine's own, except on platforms whose packages hold at least three nodes each and whose distances between
/// packages are uneven: there each is the average over the nodes of both. Two packages of three nodes with distances 21, 26, 28
/// and so on between them get one distance, and so one level.
pub(super) fn domain_distances(machine: &Machine, rules: &TopologyRules) -> Vec<u32> {
    let mut table = machine.distances.clone();
    if !rules.averages_package_distances || !machine.uneven_package_distances {
        return table;
    }
    let nodes = machine.nr_nodes;
    let mut package_of = alloc::vec![None; nodes];
    for cpu in &machine.cpus {
        package_of[cpu.node as usize] = Some(cpu.package);
    }
    let package_of = &package_of;
    let of = |package: u32| (0..nodes).filter(move |&node| package_of[node] == Some(package));
    let packages: BTreeSet<u32> = package_of.iter().copied().flatten().collect();
    let units: BTreeSet<usize> = packages.iter().map(|&package| of(package).count()).collect();
    let Some(&unit) = units.first().filter(|_| units.len() == 1) else { return table };
    if packages.len() < 2 || unit < 3 {
        return table;
    }
    for &a in &packages {
        for &b in packages.iter().filter(|&&b| b != a) {
            let pairs = || of(a).flat_map(|i| of(b).map(move |j| (i, j)));
            let sum: u32 = pairs().map(|(i, j)| machine.distance(i, j) + machine.distance(j, i)).sum();
            for (i, j) in pairs() {
                table[i * nodes + j] = sum / (2 * (unit * unit) as u32);
            }
        }
    }
    table
}

/// The distinct distances that make levels, ascending; the first is 10, a node by itself (spec 1 §3.4).
pub(super) fn distances(machine: &Machine, table: &[u32], rule: NumaDistances, online: &CpuMask) -> Vec<u32> {
    let mut with_cpus = alloc::vec![false; machine.nr_nodes];
    for cpu in online {
        with_cpus[machine.cpus[cpu.index()].node as usize] = true;
    }
    let counts = |node: usize| rule != NumaDistances::NodesWithCpus || with_cpus[node];
    let mut distances = BTreeSet::from([10]);
    for from in (0..machine.nr_nodes).filter(|&node| counts(node)) {
        if rule == NumaDistances::FromNodeZero && from != 0 {
            break;
        }
        distances.extend(
            (0..machine.nr_nodes).filter(|&to| counts(to)).map(|to| table[from * machine.nr_nodes + to]),
        );
    }
    distances.into_iter().collect()
}

/// The CPUs within `distance` of each CPU's node, by CPU.
pub(super) fn masks(
    machine: &Machine,
    table: &[u32],
    distance: u32,
    visible: &CpuMask,
    spans: &mut Spans,
) -> Vec<SpanId> {
    let nodes = machine.nr_nodes;
    let mut own = alloc::vec![CpuMask::new(machine.nr_cpus()); nodes];
    for cpu in visible {
        own[machine.cpus[cpu.index()].node as usize].set(cpu);
    }
    let mut near = Vec::with_capacity(nodes);
    for from in 0..nodes {
        let mut mask = CpuMask::new(machine.nr_cpus());
        for to in (0..nodes).filter(|&to| table[from * nodes + to] <= distance) {
            mask.or_assign(&own[to]);
        }
        near.push(spans.intern(mask));
    }
    let mut by_cpu = alloc::vec![SpanId::EMPTY; machine.nr_cpus()];
    for cpu in visible {
        by_cpu[cpu.index()] = near[machine.cpus[cpu.index()].node as usize];
    }
    by_cpu
}

/// How nodes are connected, as NUMA balancing of tasks distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumaTopology {
    /// One node, or all the same distance apart.
    Direct,
    /// Nodes reach others through nodes in between.
    GluelessMesh,
    /// Nodes reach others through controllers.
    Backplane,
}

/// The kind of a machine's node topology and its largest distance (`sched_numa_topology_type`,
/// `sched_max_numa_distance`; spec 1 §3.4).
///
/// With more than two distances the first pair of nodes that is farthest apart decides: if some node is nearer to both,
/// traffic goes through it. Example: a ring of four (10/20/30) is a glueless mesh.
pub fn numa_topology(machine: &Machine, rules: &TopologyRules) -> (NumaTopology, u32) {
    let distances = distances(machine, &machine.distances, rules.numa_distances, &machine.online());
    let longest = distances.last().copied().unwrap_or(10);
    if distances.len() <= 2 {
        return (NumaTopology::Direct, longest);
    }
    let nodes = 0..machine.nr_nodes;
    let mut pairs = nodes.clone().flat_map(|a| nodes.clone().map(move |b| (a, b)));
    let farthest = pairs.find(|&(a, b)| machine.distance(a, b) >= longest);
    let between =
        |(a, b)| nodes.clone().any(|c| machine.distance(a, c) < longest && machine.distance(b, c) < longest);
    match farthest.is_some_and(between) {
        true => (NumaTopology::GluelessMesh, longest),
        false => (NumaTopology::Backplane, longest),
    }
}

impl Draft<'_> {
    /// Builds the ring of a NUMA level: what each neighbour not yet covered sees one level below (spec 1 §8.2).
    pub(super) fn build_overlap_groups(&mut self, domain: DomainId) {
        let cpu = self.domains[domain.index()].cpu;
        let level = self.level_of(domain);
        let mut left = CpuMask::clone(&self.domains[domain.index()].span);
        let mut first = None;
        let mut last = None;
        let mut from = cpu;
        // Wrap order from the owner: what is left at or above it, then what is left below.
        while let Some(next) = left.next_from(from).or_else(|| left.first()) {
            from = next;
            left.clear(next);
            let Some(sibling) = self.domain_at(level, next) else { continue };
            let sibling = match self.rules().overlap_groups {
                OverlapGroups::MayStickOut => sibling,
                OverlapGroups::Fit => self.descend_to_fit(sibling, domain),
            };
            let child = self.domains[sibling.index()].child;
            let span = self.span_id(child.unwrap_or(sibling));
            left.and_not_assign(self.spans.mask(span));
            let flags = child.map_or(SdFlags::empty(), |child| self.domains[child.index()].flags);
            let (mask_level, mask) = self.balance_mask(sibling, span);
            let owner = mask.first().unwrap_or(next);
            let sgc = self.capacity_at(mask_level, owner, span, &mask);
            let group = self.new_group(span, flags, sgc);
            match last {
                None => first = Some(group),
                Some(last) => self.link(last, group),
            }
            last = Some(group);
        }
        let (first, last) = first.zip(last).expect("a CPU is in its own domain");
        self.link(last, first);
        self.domains[domain.index()].groups = first;
    }

    /// The widest domain at or below `sibling` whose child lies inside `domain` (`find_descended_sibling`).
    fn descend_to_fit(&self, mut sibling: DomainId, domain: DomainId) -> DomainId {
        let span = &self.domains[domain.index()].span;
        let child = |of: DomainId| self.domains[of.index()].child;
        let sticks_out = |id: DomainId| !self.domains[id.index()].span.is_subset(span);
        if !child(sibling).is_some_and(sticks_out) {
            return sibling;
        }
        while let Some(next) = child(sibling).filter(|&child| sticks_out(child)) {
            sibling = next;
        }
        while let Some(next) = child(sibling).filter(|&child| self.span_id(child) == self.span_id(sibling)) {
            sibling = next;
        }
        sibling
    }

    /// The CPUs of a group that see exactly the group one level below `sibling`, and that level: they may balance for
    /// the group, the others see something else (`build_balance_mask`).
    fn balance_mask(&mut self, sibling: DomainId, span: SpanId) -> (usize, Arc<CpuMask>) {
        let level = self.level_of(sibling);
        if let Some(mask) = self.balance_masks.get(&(level, span)) {
            return (level, Arc::clone(mask));
        }
        let sees_group = |&cpu: &CpuId| {
            let child = self.domain_at(level, cpu).and_then(|id| self.domains[id.index()].child);
            child.is_some_and(|child| self.span_id(child) == span)
        };
        let members = Arc::clone(self.spans.mask(span));
        let mask = CpuMask::from_cpus(self.machine.nr_cpus(), members.iter().filter(sees_group));
        // Nobody sees the group only if the masks contradict each other; then anybody may balance for it.
        let id = if mask.is_empty() { span } else { self.spans.intern(mask) };
        let mask = Arc::clone(self.spans.mask(id));
        self.balance_masks.insert((level, span), Arc::clone(&mask));
        (level, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use alloc::vec;

    fn kind(nodes: usize, distances: &[u32]) -> (NumaTopology, u32) {
        let mut machine = Machine::regular(nodes as u32, 1, 1, 1, true);
        machine.distances = vec![10; nodes * nodes];
        machine.distances.copy_from_slice(distances);
        numa_topology(&machine, &kernels::DEFAULT.topology)
    }

    #[test]
    fn a_ring_is_a_mesh_and_two_boards_are_a_backplane() {
        assert_eq!(kind(1, &[10]), (NumaTopology::Direct, 10));
        assert_eq!(kind(2, &[10, 21, 21, 10]), (NumaTopology::Direct, 21));
        // Spec 1 §17 (d).
        let ring = [10, 20, 30, 20, 20, 10, 20, 30, 30, 20, 10, 20, 20, 30, 20, 10];
        assert_eq!(kind(4, &ring), (NumaTopology::GluelessMesh, 30));
        // Two boards of two nodes: nobody is near to both ends of the longest way.
        let boards = [10, 15, 40, 40, 15, 10, 40, 40, 40, 40, 10, 15, 40, 40, 15, 10];
        assert_eq!(kind(4, &boards), (NumaTopology::Backplane, 40));
    }

    /// Two packages of three nodes; distances between them from 21 to 28, 24 on average.
    fn uneven() -> Machine {
        let mut machine = Machine::regular(6, 1, 1, 1, true);
        for (i, cpu) in machine.cpus.iter_mut().enumerate() {
            cpu.package = i as u32 / 3;
        }
        let between = [[21, 24, 26], [24, 21, 26], [26, 26, 28]];
        for a in 0..6 {
            for b in 0..6 {
                machine.distances[a * 6 + b] = match (a / 3 == b / 3, a == b) {
                    (_, true) => 10,
                    (true, _) => 15,
                    (false, _) => between[a % 3][b % 3],
                };
            }
        }
        machine.uneven_package_distances = true;
        machine
    }

    #[test]
    fn newest_kernels_average_distances_between_packages() {
        let machine = uneven();
        machine.validate().unwrap();
        let levels = |build: &str| {
            let rules = &kernels::find(build).unwrap().topology;
            let table = domain_distances(&machine, rules);
            distances(&machine, &table, rules.numa_distances, &machine.online())
        };
        assert_eq!(levels("v6.18"), [10, 15, 21, 24, 26, 28]);
        // 21 + 24 + 26 + 24 + 21 + 26 + 26 + 26 + 28 = 222; twice that by 2 * 9 is 24.
        assert_eq!(levels("v7.2"), [10, 15, 24]);
    }

    #[test]
    fn others_are_left_alone() {
        let mut machine = uneven();
        machine.uneven_package_distances = false;
        let rules = &kernels::find("v7.2").unwrap().topology;
        assert_eq!(domain_distances(&machine, rules), machine.distances);
    }
}
