//! From cpusets to partitions: which CPUs balance by themselves when somebody has divided the machine.
//!
//! With the unified hierarchy (cgroup v2), a cpuset becomes a partition of its own by saying so; the root keeps what is left.
//! Example: of eight CPUs, `/rt` is a partition root with 6-7 and `/quiet` an isolated one with 5. The partitions are 0-4
//! and 6-7, and CPU 5 balances with nobody. With the older hierarchy (v1) there is one partition while the root cpuset balances;
//! once it does not, each topmost cpuset that does is one, and those that overlap are one together.
//!
//! In the kernel: `generate_sched_domains`. Specified in spec 1 §13.4. Left out: how effective CPUs follow from configured
//! ones, and whether a partition is valid: that is the caller's to say.
use super::partition::Partition;
use crate::mask::CpuMask;
use alloc::vec;
use alloc::vec::Vec;

/// A cpuset of the unified hierarchy that is not an ordinary member of its parent's partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRoot {
    /// Its effective CPUs.
    pub cpus: CpuMask,
    /// `isolated`: its CPUs balance with nobody; else `root`.
    pub isolated: bool,
}

/// A cpuset of the older hierarchy, with those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpuset {
    /// Its effective CPUs.
    pub cpus: CpuMask,
    /// `cpuset.sched_load_balance`.
    pub load_balance: bool,
    /// `cpuset.sched_relax_domain_level`; `None` for -1, unset.
    pub relax_domain_level: Option<u32>,
    /// The cpusets below it.
    pub children: Vec<Self>,
}

/// The partitions of a machine whose CPUs for scheduling are `available`, with these partition roots (valid ones, in
/// order of the hierarchy). The first is the root's.
pub fn partitions_v2(available: &CpuMask, roots: &[PartitionRoot]) -> Vec<Partition> {
    let mut rest = available.clone();
    for root in roots {
        rest.and_not_assign(&root.cpus);
    }
    let partition = |cpus: CpuMask| Partition { cpus, relax_domain_level: None };
    let own = roots.iter().filter(|root| !root.isolated).map(|root| root.cpus.and(available));
    core::iter::once(rest).chain(own).filter(|cpus| !cpus.is_empty()).map(partition).collect()
}

/// The partitions with the older hierarchy below `root`.
pub fn partitions_v1(available: &CpuMask, root: &Cpuset) -> Vec<Partition> {
    if root.load_balance {
        return vec![Partition { cpus: root.cpus.and(available), relax_domain_level: relax(root) }];
    }
    let mut found: Vec<Partition> = Vec::new();
    for cpuset in topmost_balancing(root) {
        let mut merged = Partition { cpus: cpuset.cpus.clone(), relax_domain_level: relax(cpuset) };
        // Those that share CPUs with it, or with one another through it, become one with it.
        let mut at = found.len();
        let mut i = 0;
        while i < found.len() {
            if found[i].cpus.intersects(&merged.cpus) {
                let other = found.remove(i);
                merged.cpus.or_assign(&other.cpus);
                merged.relax_domain_level = merged.relax_domain_level.max(other.relax_domain_level);
                at = at.min(i);
                i = 0;
            } else {
                i += 1;
            }
        }
        found.insert(at.min(found.len()), merged);
    }
    for partition in &mut found {
        partition.cpus.and_assign(available);
    }
    found.retain(|partition| !partition.cpus.is_empty());
    found
}

/// The highest level asked for in a subtree.
fn relax(cpuset: &Cpuset) -> Option<u32> {
    cpuset.children.iter().map(relax).fold(cpuset.relax_domain_level, Option::max)
}

/// Cpusets that balance and have CPUs, and above which none does; in pre-order.
fn topmost_balancing(cpuset: &Cpuset) -> Vec<&Cpuset> {
    if cpuset.load_balance && !cpuset.cpus.is_empty() {
        return vec![cpuset];
    }
    cpuset.children.iter().flat_map(topmost_balancing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn mask(list: &str) -> CpuMask {
        CpuMask::parse_list(list, 8).unwrap()
    }

    fn spans(partitions: &[Partition]) -> Vec<String> {
        partitions.iter().map(|partition| partition.cpus.to_string()).collect()
    }

    fn cpuset(list: &str, load_balance: bool, children: Vec<Cpuset>) -> Cpuset {
        Cpuset { cpus: mask(list), load_balance, relax_domain_level: None, children }
    }

    #[test]
    fn partition_roots_leave_the_rest_to_the_root() {
        let root = |list: &str, isolated| PartitionRoot { cpus: mask(list), isolated };
        assert_eq!(spans(&partitions_v2(&mask("0-7"), &[])), ["0-7"]);
        let both = [root("6-7", false), root("5", true)];
        assert_eq!(spans(&partitions_v2(&mask("0-7"), &both)), ["0-4", "6-7"]);
        assert_eq!(spans(&partitions_v2(&mask("0-7"), &[root("2-3", true)])), ["0-1,4-7"]);
        // CPUs isolated at boot are in no partition, whoever names them.
        assert_eq!(spans(&partitions_v2(&mask("0-6"), &both)), ["0-4", "6"]);
    }

    #[test]
    fn a_balancing_root_is_one_partition() {
        let root = cpuset("0-7", true, vec![cpuset("0-3", true, vec![])]);
        assert_eq!(spans(&partitions_v1(&mask("0-7"), &root)), ["0-7"]);
    }

    #[test]
    fn overlapping_cpusets_are_merged_through_one_another() {
        let children = vec![
            cpuset("0-1", true, vec![]),
            cpuset("4-5", true, vec![]),
            cpuset("1-2", true, vec![]),
            cpuset("6-7", false, vec![cpuset("7", true, vec![])]),
        ];
        let root = cpuset("0-7", false, children);
        assert_eq!(spans(&partitions_v1(&mask("0-7"), &root)), ["0-2", "4-5", "7"]);
        // A later one may join two that were apart: 0-1 and 4-5 through 1-4.
        let children =
            vec![cpuset("0-1", true, vec![]), cpuset("4-5", true, vec![]), cpuset("1-4", true, vec![])];
        let root = cpuset("0-7", false, children);
        assert_eq!(spans(&partitions_v1(&mask("0-7"), &root)), ["0-5"]);
    }

    #[test]
    fn the_highest_relax_level_of_a_subtree_counts() {
        let mut inner = cpuset("0-1", true, vec![]);
        inner.relax_domain_level = Some(2);
        let mut outer = cpuset("0-3", true, vec![inner]);
        outer.relax_domain_level = Some(1);
        let root = cpuset("0-7", false, vec![outer]);
        let partitions = partitions_v1(&mask("0-7"), &root);
        assert_eq!(partitions[0].relax_domain_level, Some(2));
    }
}
