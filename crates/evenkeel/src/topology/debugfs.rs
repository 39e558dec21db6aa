//! Domains as a running kernel shows them: the files of `sched/domains/cpuN/domainM/`.
//!
//! Example: the flags of an eight-CPU cache read
//! `SD_BALANCE_NEWIDLE SD_BALANCE_EXEC SD_BALANCE_FORK SD_WAKE_AFFINE SD_SHARE_LLC SD_PREFER_SIBLING ` with the blank at
//! the end, on the oldest kernel `4655`. Spans and groups are in no file; kernels write them to the log at boot.
//!
//! In the kernel: `register_sd`, `sd_flags_show`, `sd_alloc_ctl_domain_table`.
use super::domain::{Domain, Domains, SdFlags};
use super::rules::{DebugFiles, FlagSet};
use crate::kernel::Kernel;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A flag, its name, and the kernels that know it by this name: from the first to the last of these [`FlagSet`]s.
type Row = (SdFlags, &'static str, FlagSet, FlagSet);

/// All flags of all kernels. The order is that of the bits of every one of them (spec 1 §4).
const FLAGS: [Row; 18] = {
    use FlagSet::{LoadBalanceAndOverlap as First, Newest as Last, Overlap, OverlapPkgResources};
    [
        (SdFlags::LOAD_BALANCE, "SD_LOAD_BALANCE", First, First),
        (SdFlags::BALANCE_NEWIDLE, "SD_BALANCE_NEWIDLE", First, Last),
        (SdFlags::BALANCE_EXEC, "SD_BALANCE_EXEC", First, Last),
        (SdFlags::BALANCE_FORK, "SD_BALANCE_FORK", First, Last),
        (SdFlags::BALANCE_WAKE, "SD_BALANCE_WAKE", First, Last),
        (SdFlags::WAKE_AFFINE, "SD_WAKE_AFFINE", First, Last),
        (SdFlags::ASYM_CPUCAPACITY, "SD_ASYM_CPUCAPACITY", First, Last),
        (SdFlags::ASYM_CPUCAPACITY_FULL, "SD_ASYM_CPUCAPACITY_FULL", OverlapPkgResources, Last),
        (SdFlags::SHARE_CPUCAPACITY, "SD_SHARE_CPUCAPACITY", First, Last),
        (SdFlags::SHARE_POWERDOMAIN, "SD_SHARE_POWERDOMAIN", First, First),
        (SdFlags::CLUSTER, "SD_CLUSTER", Overlap, Last),
        (SdFlags::SHARE_LLC, "SD_SHARE_PKG_RESOURCES", First, OverlapPkgResources),
        (SdFlags::SHARE_LLC, "SD_SHARE_LLC", Overlap, Last),
        (SdFlags::SERIALIZE, "SD_SERIALIZE", First, Last),
        (SdFlags::ASYM_PACKING, "SD_ASYM_PACKING", First, Last),
        (SdFlags::PREFER_SIBLING, "SD_PREFER_SIBLING", First, Last),
        (SdFlags::OVERLAP, "SD_OVERLAP", First, Overlap),
        (SdFlags::NUMA, "SD_NUMA", First, Last),
    ]
};

impl FlagSet {
    /// The flags this kernel knows and their names, in the order of its bits.
    fn names(self) -> impl Iterator<Item = (SdFlags, &'static str)> {
        let known = FLAGS.iter().filter(move |&&(_, _, first, last)| first <= self && self <= last);
        known.map(|&(flag, name, _, _)| (flag, name))
    }
}

/// The names of the flags that are set, in the order of the kernel's bits.
pub fn flag_names(flags: SdFlags, kernel: &Kernel) -> impl Iterator<Item = &'static str> {
    let names = kernel.topology.flag_set.names();
    names.filter(move |(flag, _)| flags.contains(*flag)).map(|(_, name)| name)
}

/// The flags as debugfs prints them: each name followed by a blank, without the newline (spec 1 §14.2).
pub fn flags_text(flags: SdFlags, kernel: &Kernel) -> String {
    flag_names(flags, kernel).fold(String::new(), |text, name| text + name + " ")
}

/// The flags as the kernel's own number, which traces and the oldest kernel's files show (spec 1 §4).
pub fn flags_number(flags: SdFlags, kernel: &Kernel) -> u32 {
    let names = kernel.topology.flag_set.names().enumerate();
    names.filter(|(_, (flag, _))| flags.contains(*flag)).map(|(bit, _)| 1 << bit).sum()
}

/// The files of one domain's directory with their contents (without the newline), in the order in which they are
/// created (spec 1 §14).
pub fn files(domains: &Domains, kernel: &Kernel, domain: &Domain) -> Vec<(&'static str, String)> {
    let intervals = [
        ("min_interval", domain.min_interval.to_string()),
        ("max_interval", domain.max_interval.to_string()),
    ];
    let cost = ("max_newidle_lb_cost", domain.max_newidle_lb_cost.to_string());
    let tolerances = [
        ("busy_factor", domain.busy_factor.to_string()),
        ("imbalance_pct", domain.imbalance_pct.to_string()),
        ("cache_nice_tries", domain.cache_nice_tries.to_string()),
    ];
    let name = ("name", String::from(domain.name));
    let mut files = Vec::from(intervals);
    if kernel.topology.debug_files == DebugFiles::Sysctl {
        files.extend([("busy_idx", domain.busy_idx.to_string()), ("idle_idx", domain.idle_idx.to_string())]);
        files.extend(["newidle_idx", "wake_idx", "forkexec_idx"].map(|file| (file, String::from("0"))));
        files.extend(tolerances);
        files.push(("flags", flags_number(domain.flags, kernel).to_string()));
        files.extend([cost, name]);
        return files;
    }
    files.push(cost);
    files.extend(tolerances);
    files.push(name);
    files.push(("flags", flags_text(domain.flags, kernel)));
    if kernel.topology.debug_files == DebugFiles::Flags {
        return files;
    }
    let entry = &domains.groups[domain.groups.index()];
    files.push(("groups_flags", flags_text(entry.flags, kernel)));
    files.push(("level", domain.level.to_string()));
    let packs = domain.flags.contains(SdFlags::ASYM_PACKING);
    if packs && kernel.topology.debug_files == DebugFiles::FlagsGroupsPreferred {
        files.push(("group_asym_prefer_cpu", format!("{}", entry.asym_prefer_cpu)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::topology::Machine;

    /// The flags of the cache level of a machine, as a kernel shows them.
    fn cache_flags(machine: &Machine, kernel: &str) -> (String, u32) {
        let kernel = kernels::find(kernel).unwrap();
        let domains = Domains::build(machine, kernel, 0).unwrap();
        let flags = domains.domains[domains.cpus[0].sd_llc.unwrap().index()].flags;
        (flags_text(flags, kernel), flags_number(flags, kernel))
    }

    #[test]
    fn flags_read_as_the_specification_prints_them() {
        let machine = Machine::regular(1, 1, 2, 1, false);
        // Spec 1 §17 (a): decimal flags of the oldest kernel; §4: bit numbers of the others.
        assert_eq!(cache_flags(&machine, "v4.19").1, 4655);
        let bits = |bits: &[u32]| bits.iter().map(|bit| 1 << bit).sum::<u32>();
        assert_eq!(cache_flags(&machine, "v6.1").1, bits(&[0, 1, 2, 4, 8, 11]));
        assert_eq!(cache_flags(&machine, "v6.12").1, bits(&[0, 1, 2, 4, 9, 12]));
        assert_eq!(
            cache_flags(&machine, "v6.1").0,
            "SD_BALANCE_NEWIDLE SD_BALANCE_EXEC SD_BALANCE_FORK SD_WAKE_AFFINE SD_SHARE_PKG_RESOURCES SD_PREFER_SIBLING "
        );
    }

    #[test]
    fn smt_flags_of_the_oldest_kernel_are_4783() {
        let kernel = kernels::find("v4.19").unwrap();
        let domains = Domains::build(&Machine::regular(1, 1, 2, 2, false), kernel, 0).unwrap();
        let base = domains.cpus[0].base.unwrap();
        assert_eq!(flags_number(domains.domains[base.index()].flags, kernel), 4783);
    }

    #[test]
    fn numa_is_bit_13_where_overlap_is_gone() {
        assert_eq!(flags_number(SdFlags::NUMA, kernels::find("v6.12").unwrap()), 1 << 14);
        assert_eq!(flags_number(SdFlags::NUMA, kernels::find("v6.18").unwrap()), 1 << 13);
        assert_eq!(flags_number(SdFlags::NUMA, kernels::find("v5.15").unwrap()), 1 << 13);
        assert_eq!(flags_number(SdFlags::NUMA, kernels::find("v4.19").unwrap()), 0x4000);
    }
}
