//! The domains of a partition as one tree from the top, instead of one chain per CPU from the bottom.
//!
//! A node stands for all CPUs whose chains hold the same domain (name, level, span). Spans of NUMA levels may overlap,
//! their owners never do: in a ring of four nodes, `0-3,6-7` is owned by CPUs 0-1.
use evenkeel::ids::{CpuId, DomainId};
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Domains, Machine};

/// A domain as some CPUs have it.
pub(super) struct Node {
    /// The domain of the lowest of its owners.
    pub(super) domain: DomainId,
    /// The CPUs that have it.
    pub(super) owners: CpuMask,
    /// What the owners have below, by lowest owner.
    pub(super) children: Vec<Self>,
}

/// The tops of the chains of `cpus`.
pub(super) fn tops(machine: &Machine, domains: &Domains, cpus: &CpuMask) -> Vec<Node> {
    let owned = cpus.iter().filter_map(|cpu| Some((cpu, domains.chain(cpu).last()?)));
    nodes(machine, domains, owned.collect())
}

fn nodes(machine: &Machine, domains: &Domains, owned: Vec<(CpuId, DomainId)>) -> Vec<Node> {
    let mut groups: Vec<Vec<(CpuId, DomainId)>> = Vec::new();
    let same = |a: DomainId, b: DomainId| {
        let (a, b) = (&domains.domains[a.index()], &domains.domains[b.index()]);
        a.level == b.level && a.name == b.name && a.span == b.span
    };
    for (cpu, domain) in owned {
        match groups.iter_mut().rev().find(|group| same(group[0].1, domain)) {
            Some(group) => group.push((cpu, domain)),
            None => groups.push(vec![(cpu, domain)]),
        }
    }
    let below = |group: &[(CpuId, DomainId)]| {
        let child = |&(cpu, domain): &(CpuId, DomainId)| Some((cpu, domains.domains[domain.index()].child?));
        group.iter().filter_map(child).collect()
    };
    let node = |group: Vec<(CpuId, DomainId)>| Node {
        domain: group[0].1,
        owners: CpuMask::from_cpus(machine.nr_cpus(), group.iter().map(|&(cpu, _)| cpu)),
        children: nodes(machine, domains, below(&group)),
    };
    groups.into_iter().map(node).collect()
}
