//! Partitions, isolation and hotplug: what is rebuilt, what survives, and what depends on the kernel (spec 1 §13).
#![allow(missing_docs)]
use evenkeel::ids::{CpuId, DomainId};
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Domain, Domains, Machine, Partition, Rebuild, SdFlags, TopologyError};

fn kernel(name: &str) -> &'static Kernel {
    kernels::find(name).unwrap()
}

fn partitions(lists: &[&str], ncpus: usize) -> Option<Vec<Partition>> {
    let partition =
        |list: &&str| Partition { cpus: CpuMask::parse_list(list, ncpus).unwrap(), relax_domain_level: None };
    Some(lists.iter().map(partition).collect())
}

fn split(lists: &[&str], ncpus: usize) -> Rebuild {
    Rebuild { partitions: partitions(lists, ncpus), ..Rebuild::default() }
}

fn base(domains: &Domains, cpu: u32) -> &Domain {
    &domains.domains[domains.cpus[cpu as usize].base.unwrap().index()]
}

fn top(domains: &Domains, cpu: u32) -> DomainId {
    domains.chain(CpuId(cpu)).last().unwrap()
}

fn flat(cpus: u32) -> Machine {
    Machine::regular(1, 1, cpus, 1, false)
}

#[test]
fn a_partition_that_stays_the_same_keeps_its_statistics() {
    let machine = flat(8);
    let mut domains = Domains::build_with(&machine, kernel("v6.12"), &split(&["0-3", "4-7"], 8)).unwrap();
    for cpu in [0, 4] {
        let base = domains.cpus[cpu].base.unwrap();
        domains.domains[base.index()].stats.alb_count = 7;
        domains.domains[base.index()].balance_interval = 16;
    }
    domains.roots[1].overloaded = true;
    domains.roots[2].overloaded = true;
    let mut later = split(&["4-5", "0-3", "6-7"], 8);
    later.jiffies = 1000;
    domains.rebuild(&machine, kernel("v6.12"), &later).unwrap();
    assert_eq!((base(&domains, 0).stats.alb_count, base(&domains, 0).balance_interval), (7, 16));
    assert_eq!((base(&domains, 0).last_balance, base(&domains, 4).last_balance), (0, 1000));
    assert_eq!((base(&domains, 4).stats.alb_count, base(&domains, 4).balance_interval), (0, 8));
    let spans: Vec<String> = domains.roots.iter().map(|root| root.span.to_string()).collect();
    assert_eq!(spans, ["", "4-5", "0-3", "6-7"]);
    let overloaded: Vec<bool> = domains.roots.iter().map(|root| root.overloaded).collect();
    assert_eq!(overloaded, [false, false, true, false]);
    assert_eq!(domains.cpus[1].root.index(), 2);
    later.topology_changed = true;
    domains.rebuild(&machine, kernel("v6.12"), &later).unwrap();
    assert_eq!(base(&domains, 0).stats.alb_count, 0, "a change of topology makes every partition new");
}

#[test]
fn isolated_cpus_have_no_domains_and_the_first_cpu_cannot_be_isolated_with_all_others() {
    let mut machine = flat(8);
    machine.isolated = CpuMask::parse_list("6-7", 8).unwrap();
    let domains = Domains::build(&machine, kernel("v6.12"), 0).unwrap();
    assert!(domains.cpus[6].base.is_none());
    assert_eq!((domains.cpus[6].sd_llc_size, domains.cpus[6].sd_llc_id), (1, 6));
    assert_eq!(domains.roots[0].span.to_string(), "6-7");
    // Spec 1 §16: intervals count the isolated CPUs up to 6.18, not on 7.2; so do the busy CPUs (§12).
    let interval_and_busy = |name: &str| {
        let domains = Domains::build(&machine, kernel(name), 0).unwrap();
        let shared = domains.cpus[0].sd_llc_shared.unwrap();
        (base(&domains, 0).min_interval, domains.shared[shared.index()].nr_busy_cpus)
    };
    assert_eq!(interval_and_busy("v6.18"), (8, 8));
    assert_eq!(interval_and_busy("v7.2"), (6, 6));
    machine.isolated = CpuMask::all(8);
    let domains = Domains::build(&machine, kernel("v6.12"), 0).unwrap();
    assert_eq!(domains.partitions.len(), 1);
    assert_eq!(domains.partitions[0].cpus.to_string(), "0");
    assert!(domains.cpus[0].base.is_none(), "a partition of one CPU balances nothing");
}

#[test]
fn on_the_newest_kernel_isolated_cpus_share_the_cache_number_of_nobody() {
    let mut machine = flat(8);
    machine.isolated = CpuMask::parse_list("6-7", 8).unwrap();
    let domains = Domains::build(&machine, kernel("v7.2"), 0).unwrap();
    let ids: Vec<i32> = domains.cpus.iter().map(|cpu| cpu.sd_llc_id).collect();
    assert_eq!(ids, [0, 0, 0, 0, 0, 0, -1, -1]);
}

#[test]
fn dense_cache_numbers_stay_with_the_hardware() {
    let mut machine = Machine::regular(1, 3, 2, 1, false);
    let seven = kernel("v7.2");
    let mut domains = Domains::build(&machine, seven, 0).unwrap();
    let ids = |domains: &Domains| domains.cpus.iter().map(|cpu| cpu.sd_llc_id).collect::<Vec<_>>();
    assert_eq!(ids(&domains), [0, 0, 1, 1, 2, 2]);
    // Partitions inside one cache share its number; before 7.2 they did not (spec 1 §11).
    domains.rebuild(&machine, seven, &split(&["0,2", "1,3-5"], 6)).unwrap();
    assert_eq!(ids(&domains), [0, 0, 1, 1, 2, 2]);
    let old = Domains::build_with(&machine, kernel("v6.18"), &split(&["0,2", "1,3-5"], 6)).unwrap();
    assert_eq!(ids(&old), [0, 1, 2, 3, 4, 4]);
    // A cache whose CPUs are all gone frees its number; the others keep theirs.
    for cpu in [0, 1] {
        machine.cpus[cpu].online = false;
        let leaving = Some(CpuId(cpu as u32));
        domains.rebuild(&machine, seven, &Rebuild { leaving, ..Rebuild::default() }).unwrap();
    }
    assert_eq!(ids(&domains), [-1, -1, 1, 1, 2, 2]);
    machine.cpus[0].online = true;
    domains.rebuild(&machine, seven, &Rebuild::default()).unwrap();
    assert_eq!(ids(&domains), [0, -1, 1, 1, 2, 2]);
}

#[test]
fn a_cpu_that_goes_down_still_counts_in_the_intervals_of_older_kernels() {
    let interval = |name: &str| {
        let mut machine = flat(8);
        let mut domains = Domains::build(&machine, kernel(name), 0).unwrap();
        machine.cpus[7].online = false;
        let down = Rebuild { leaving: Some(CpuId(7)), ..Rebuild::default() };
        domains.rebuild(&machine, kernel(name), &down).unwrap();
        assert!(domains.cpus[7].base.is_none());
        assert_eq!(domains.domains[top(&domains, 0).index()].span.to_string(), "0-6");
        let during = base(&domains, 0).min_interval;
        let later = Rebuild { topology_changed: true, ..Rebuild::default() };
        domains.rebuild(&machine, kernel(name), &later).unwrap();
        (during, base(&domains, 0).min_interval)
    };
    // Spec 1 §13.5.
    assert_eq!(interval("v6.18"), (8, 7));
    assert_eq!(interval("v7.2"), (7, 7));
}

#[test]
fn the_last_cpu_of_a_node_takes_the_nodes_levels_with_it() {
    let mut machine = Machine::regular(3, 1, 1, 1, true);
    machine.distances = vec![10, 20, 40, 20, 10, 40, 40, 40, 10];
    machine.cpus[2].online = false;
    let levels = |name: &str| {
        let domains = Domains::build(&machine, kernel(name), 0).unwrap();
        domains.chain(CpuId(0)).map(|id| domains.domains[id.index()].span.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(levels("v6.12"), ["0-1"]);
}

#[test]
fn relax_domain_level_stops_new_idle_balancing_from_a_level_on() {
    // SMT 0, MC 2, NUMA 5 (spec 1 §17 c); what it means depends on the kernel (spec 1 §5).
    let machine = Machine::regular(2, 1, 2, 2, true);
    let eager = |name: &str, request| {
        let options = Rebuild { relax_domain_level: Some(request), ..Rebuild::default() };
        let domains = Domains::build_with(&machine, kernel(name), &options).unwrap();
        let chain = domains.chain(CpuId(0)).map(|id| domains.domains[id.index()].flags);
        let word = |flags: SdFlags| match (
            flags.contains(SdFlags::BALANCE_NEWIDLE),
            flags.contains(SdFlags::BALANCE_WAKE),
        ) {
            (true, true) => "newidle+wake",
            (true, false) => "newidle",
            (false, _) => "no",
        };
        chain.map(word).collect::<Vec<_>>()
    };
    assert_eq!(eager("v6.12", 2), ["newidle", "no", "no"]);
    assert_eq!(eager("v6.12", 3), ["newidle", "newidle", "no"]);
    // Levels of 5.15 and 4.19: SMT 0, MC 1, NUMA 4.
    assert_eq!(eager("v5.15", 1), ["newidle", "newidle", "no"]);
    assert_eq!(eager("v4.19", 1), ["newidle+wake", "newidle+wake", "no"]);
    // A partition's own request wins over the boot option.
    let own = Partition { cpus: CpuMask::all(8), relax_domain_level: Some(0) };
    let options = Rebuild { partitions: Some(vec![own]), relax_domain_level: Some(9), ..Rebuild::default() };
    let domains = Domains::build_with(&machine, kernel("v6.12"), &options).unwrap();
    assert!(!base(&domains, 0).flags.contains(SdFlags::BALANCE_NEWIDLE));
}

#[test]
fn a_partition_of_big_cpus_is_symmetric() {
    let mut machine = flat(8);
    machine.arch = evenkeel::topology::Arch::Generic;
    for cpu in 0..4 {
        machine.cpus[cpu].capacity = 446;
        machine.cpus[cpu].llc = Some(7);
    }
    let domains = Domains::build_with(&machine, kernel("v6.12"), &split(&["0-4", "5-7"], 8)).unwrap();
    assert!(domains.cpus[0].sd_asym_cpucapacity.is_some());
    assert!(domains.cpus[5].sd_asym_cpucapacity.is_none());
    assert!(domains.asym_capacity);
}

#[test]
fn preferred_cpus_are_those_of_highest_priority() {
    let mut machine = flat(8);
    machine.itmt = true;
    for (i, cpu) in machine.cpus.iter_mut().enumerate() {
        cpu.llc = Some(i as u32 / 4);
        cpu.asym_priority = Some([40, 40, 50, 40, 40, 60, 60, 40][i]);
    }
    let preferred = |name: &str| {
        let domains = Domains::build(&machine, kernel(name), 0).unwrap();
        let top = &domains.domains[top(&domains, 0).index()];
        let packs = top.flags.contains(SdFlags::ASYM_PACKING);
        let cpus = domains.ring(top.groups).map(|id| domains.groups[id.index()].asym_prefer_cpu.0);
        (packs, cpus.collect::<Vec<_>>())
    };
    assert_eq!(preferred("v6.12"), (true, vec![2, 5]));
    // On 6.1 the package level does not pack (spec 1 §3.2).
    assert!(!preferred("v6.1").0);
}

#[test]
fn packages_of_several_nodes_have_no_package_level() {
    let machine = |memory_node: bool| {
        let mut machine = Machine::regular(1, 2, 2, 1, false);
        machine.nr_nodes = 2;
        machine.distances = vec![10, 12, 12, 10];
        if !memory_node {
            for cpu in &mut machine.cpus[2..] {
                cpu.node = 1;
            }
        }
        machine
    };
    let names = |machine: &Machine, name: &str| {
        let domains = Domains::build(machine, kernel(name), 0).unwrap();
        let chain = domains.chain(CpuId(0)).map(|id| &domains.domains[id.index()]);
        chain.map(|domain| format!("{} {}", domain.name, domain.level)).collect::<Vec<_>>()
    };
    // CLS 0, MC 1, NODE 2, NUMA 3 on newer x86 kernels without SMT; one more with the SMT entry.
    assert_eq!(names(&machine(false), "v6.18"), ["MC 1", "NUMA 3"]);
    assert_eq!(names(&machine(false), "v6.12"), ["MC 2", "NUMA 4"]);
    assert_eq!(names(&machine(false), "v7.2"), ["MC 1", "NUMA 3"]);
    // A node without CPUs counts for 7.2 only: NODE stands in for PKG (spec 1 §3.2).
    assert_eq!(names(&machine(true), "v6.18"), ["MC 1", "PKG 2"]);
    assert_eq!(names(&machine(true), "v7.2"), ["MC 1", "NODE 2"]);
}

#[test]
fn contradictions_are_errors() {
    let machine = flat(4);
    let error = Domains::build_with(&machine, kernel("v6.12"), &split(&["0-2", "2-3"], 4)).unwrap_err();
    assert_eq!(error, TopologyError::OverlappingPartitions { cpu: CpuId(2) });
    // Clusters across cores' caches: 0-1 share a core's threads, 1-2 a cluster.
    let mut machine = Machine::regular(1, 1, 2, 2, false);
    for (cpu, cluster) in [5, 6, 6, 7].into_iter().enumerate() {
        machine.cpus[cpu].cluster = Some(cluster);
    }
    let mut domains = Domains::build(&flat(4), kernel("v6.12"), 0).unwrap();
    let changed = Rebuild { topology_changed: true, ..Rebuild::default() };
    let error = domains.rebuild(&machine, kernel("v6.12"), &changed).unwrap_err();
    assert!(matches!(error, TopologyError::OverlappingLevel { level: "CLS", .. }), "{error}");
    assert_eq!(base(&domains, 0).span.to_string(), "0-3", "after an error the trees are as before");
}

/// Spec 1 §3.2 and §7: two cores of two threads and four small ones that share an L2 cache.
#[test]
fn hybrid_x86_machines_lose_clusters_on_6_1_and_gain_capacities_without_smt_later() {
    let mut machine = flat(8);
    machine.itmt = true;
    for (i, cpu) in machine.cpus.iter_mut().enumerate() {
        cpu.core = if i < 4 { i as u32 / 2 } else { i as u32 };
        cpu.cluster = Some(if i < 4 { i as u32 / 2 } else { 9 });
    }
    let names = |machine: &Machine, name: &str| {
        let domains = Domains::build(machine, kernel(name), 0).unwrap();
        let chain = domains.chain(CpuId(7)).map(|id| &domains.domains[id.index()]);
        chain.map(|domain| (domain.name, domain.level)).collect::<Vec<_>>()
    };
    assert_eq!(names(&machine, "v6.1"), [("MC", 1)]);
    assert_eq!(names(&machine, "v6.12"), [("CLS", 1), ("MC", 2)]);
    let packs_and_asym = |machine: &Machine, name: &str| {
        let domains = Domains::build(machine, kernel(name), 0).unwrap();
        let flags = domains.domains[top(&domains, 0).index()].flags;
        (flags.contains(SdFlags::ASYM_PACKING), flags.contains(SdFlags::ASYM_CPUCAPACITY))
    };
    for cpu in &mut machine.cpus[4..] {
        cpu.capacity = 600;
    }
    assert_eq!(packs_and_asym(&machine, "v6.12"), (true, false), "with SMT it stays with priorities");
    for (i, cpu) in machine.cpus.iter_mut().enumerate() {
        cpu.core = i as u32;
        cpu.cluster = None;
    }
    assert_eq!(packs_and_asym(&machine, "v6.1"), (true, false));
    assert_eq!(packs_and_asym(&machine, "v6.12"), (false, true));
}

/// Spec 1 §8.4: what the second thread of a core is worth.
#[test]
fn threads_of_a_preferred_core_rank_by_kernel() {
    let mut machine = Machine::regular(1, 1, 2, 2, false);
    machine.cpus[0].asym_priority = Some(40);
    machine.cpus[1].asym_priority = Some(40);
    let priorities = |name: &str| evenkeel::topology::asym::cpu_priorities(&machine, kernel(name));
    // CPUs without a priority of their own: minus the number.
    assert_eq!(priorities("v5.15"), [80, 40, -2, -3]);
    assert_eq!(priorities("v6.1"), [80, 20, -2, -3]);
    assert_eq!(priorities("v6.12"), [40, 40, -2, -3]);
}

/// Spec 1 §11: threads do not pack on 6.12, which must not hide that caches do.
#[test]
fn packing_above_a_level_without_it_is_found() {
    let mut machine = Machine::regular(1, 2, 2, 2, false);
    machine.itmt = true;
    let name = |build: &str| {
        let domains = Domains::build(&machine, kernel(build), 0).unwrap();
        domains.cpus[0].sd_asym_packing.map(|id| domains.domains[id.index()].name)
    };
    assert_eq!(name("v6.12"), Some("PKG"));
    assert_eq!(name("v6.1"), Some("MC"));
}

/// Spec 1 §10: a cache per core makes MC redundant; what it shared moves down to SMT.
#[test]
fn state_of_a_removed_cache_level_moves_down_on_the_newest_kernel() {
    let mut machine = Machine::regular(1, 1, 4, 2, false);
    for (i, cpu) in machine.cpus.iter_mut().enumerate() {
        cpu.llc = Some(i as u32 / 2);
    }
    let domains = Domains::build(&machine, kernel("v7.2"), 0).unwrap();
    let at = &domains.cpus[5];
    assert_eq!(domains.domains[at.sd_llc.unwrap().index()].name, "SMT");
    let shared = &domains.shared[at.sd_llc_shared.unwrap().index()];
    assert_eq!((shared.nr_busy_cpus, shared.nr_idle_scan), (2, 512));
    assert_eq!(at.sd_llc_shared, domains.cpus[4].sd_llc_shared);
    assert_ne!(at.sd_llc_shared, domains.cpus[3].sd_llc_shared);
}
