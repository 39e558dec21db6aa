//! What must hold for the domains of any machine that can exist.
#![allow(missing_docs)]
use evenkeel::ids::CpuId;
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Domains, Machine, SdFlags};
use proptest::prelude::*;

/// Machines of up to 64 CPUs: nodes of unequal size with any symmetric distances, caches, clusters, threads,
/// capacities, offline and isolated CPUs.
fn machines() -> impl Strategy<Value = Machine> {
    let shape = (1u32..=8, 1u32..=2, 1u32..=4, 1u32..=2, any::<bool>(), any::<bool>());
    let noise = (
        prop::collection::vec(prop::sample::select(vec![12u32, 16, 20, 21, 28, 31, 40]), 64),
        prop::collection::vec(0u8..20, 64),
        prop::sample::select(vec![1u32, 2, 3]),
        0u32..4,
        any::<bool>(),
    );
    (shape, noise).prop_map(|((sockets, llcs, cores, threads, numa, generic), noise)| {
        let (distances, states, clusters, capacities, equidistant) = noise;
        let llcs = if sockets * llcs * cores * threads > 64 { 1 } else { llcs };
        let mut machine = Machine::regular(sockets, llcs, cores, threads, numa);
        let n = machine.nr_nodes;
        for a in 0..n {
            for b in 0..a {
                let distance = if equidistant { 20 } else { distances[a * 8 + b] };
                machine.distances[a * n + b] = distance;
                machine.distances[b * n + a] = distance;
            }
        }
        let ncpus = machine.nr_cpus();
        machine.isolated = CpuMask::new(ncpus);
        for (i, cpu) in machine.cpus.iter_mut().enumerate() {
            cpu.online = i == 0 || states[i] != 0;
            if states[i] == 1 && i > 0 {
                machine.isolated.set(CpuId(i as u32));
            }
            // Clusters hold whole cores and lie within a cache.
            if clusters > 1 {
                cpu.cluster = Some(cpu.llc.unwrap() * 64 + (cpu.core % cores) / clusters);
            }
            if capacities > 1 {
                cpu.capacity = 1024 / (1 + cpu.core % capacities);
            }
        }
        if generic {
            machine.arch = Arch::Generic;
        }
        machine
    })
}

/// The CPUs that must be in a tree.
fn usable(machine: &Machine) -> CpuMask {
    let mut usable = machine.online();
    usable.and_not_assign(&machine.isolated);
    usable
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn levels_nest_and_groups_cover_them(machine in machines(), k in 0usize..kernels::ALL.len()) {
        let kernel = kernels::ALL[k];
        let domains = Domains::build(&machine, kernel, 0).unwrap();
        for (i, cpu) in domains.cpus.iter().enumerate() {
            let id = CpuId(i as u32);
            let mut below: Option<CpuMask> = None;
            let mut child = None;
            for at in domains.chain(id) {
                let domain = &domains.domains[at.index()];
                prop_assert_eq!(domain.cpu, id);
                prop_assert_eq!(domain.child, child);
                prop_assert!(domain.span.contains(id));
                prop_assert_eq!(domain.span_weight, domain.span.weight());
                prop_assert!(domain.span_weight > 1, "a level of one CPU is useless");
                if let Some(below) = &below {
                    prop_assert!(below.is_subset(&domain.span), "{:?} within {:?}", below, domain.span);
                }
                prop_assert!(domains.groups[domain.groups.index()].span.contains(id), "entry group");
                let mut covered = CpuMask::new(machine.nr_cpus());
                let mut members = 0;
                for group in domains.ring(domain.groups) {
                    let group = &domains.groups[group.index()];
                    let sgc = &domains.capacities[group.sgc.index()];
                    prop_assert_eq!(group.group_weight, group.span.weight());
                    prop_assert!(!sgc.balance_mask.is_empty());
                    prop_assert!(sgc.balance_mask.is_subset(&group.span));
                    prop_assert!(sgc.min_capacity <= sgc.max_capacity && sgc.max_capacity <= sgc.capacity);
                    if kernel.alias != "v4.19" {
                        prop_assert!(group.span.is_subset(&domain.span), "group sticks out");
                    }
                    if !domain.flags.contains(SdFlags::NUMA) {
                        prop_assert!(!covered.intersects(&group.span), "groups below NUMA do not overlap");
                    }
                    covered.or_assign(&group.span);
                    members += 1;
                }
                prop_assert!(domain.span.is_subset(&covered), "groups cover the span");
                prop_assert!(members > 1 || kernel.alias == "v4.19");
                below = Some(CpuMask::clone(&domain.span));
                child = Some(at);
            }
            prop_assert_eq!(cpu.base.is_none(), domains.chain(id).count() == 0);
        }
    }

    #[test]
    fn every_usable_cpu_reaches_all_others(machine in machines(), k in 1usize..kernels::ALL.len()) {
        let domains = Domains::build(&machine, kernels::ALL[k], 0).unwrap();
        let usable = usable(&machine);
        for cpu in 0..machine.nr_cpus() {
            let id = CpuId(cpu as u32);
            match domains.chain(id).last() {
                Some(top) => prop_assert_eq!(&*domains.domains[top.index()].span, &usable),
                None => prop_assert!(!usable.contains(id) || usable.weight() == 1),
            }
        }
    }

    #[test]
    fn a_rebuild_that_changes_nothing_keeps_every_object(machine in machines(), k in 0usize..kernels::ALL.len()) {
        let kernel = kernels::ALL[k];
        let built = Domains::build(&machine, kernel, 0).unwrap();
        let mut again = built.clone();
        again.rebuild(&machine, kernel, &evenkeel::topology::Rebuild { jiffies: 99, ..Default::default() }).unwrap();
        prop_assert_eq!(format!("{built:?}"), format!("{again:?}"));
    }
}

/// Machines whose ids contradict each other in every way that [`Machine::validate`] lets pass.
fn contradictory_machines() -> impl Strategy<Value = Machine> {
    let cpu = (0u32..6, 0u32..5, 0u32..5, 0u32..3, 0u32..3, 1u32..=3, any::<bool>());
    (prop::collection::vec(cpu, 1..16), prop::collection::vec(11u32..=254, 9), any::<(bool, bool)>())
        .prop_map(|(cpus, distances, (generic, itmt))| {
            let mut machine = Machine::regular(1, 1, cpus.len() as u32, 1, false);
            machine.nr_nodes = 3;
            machine.distances = vec![10; 9];
            for a in 0..3 {
                for b in 0..a {
                    machine.distances[a * 3 + b] = distances[a * 3 + b];
                    machine.distances[b * 3 + a] = distances[a * 3 + b];
                }
            }
            for (to, (core, cluster, llc, package, node, capacity, online)) in
                machine.cpus.iter_mut().zip(cpus)
            {
                to.core = core;
                to.cluster = (cluster > 0).then_some(cluster);
                to.llc = (llc > 0).then_some(llc);
                to.package = package;
                to.node = node;
                to.capacity = 1024 / capacity;
                to.online = online;
            }
            // What the machine's own check refuses is made possible: threads of a core share all of it.
            for i in 0..machine.cpus.len() {
                let first = machine.cpus.iter().position(|cpu| cpu.core == machine.cpus[i].core).unwrap();
                let (llc, package, node) =
                    (machine.cpus[first].llc, machine.cpus[first].package, machine.cpus[first].node);
                let cpu = &mut machine.cpus[i];
                (cpu.llc, cpu.package, cpu.node) = (llc, package, node);
            }
            machine.cpus[0].online = true;
            machine.itmt = itmt;
            if generic {
                machine.arch = Arch::Generic;
            }
            machine
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn contradictions_end_in_an_error_or_a_tree(machine in contradictory_machines(), k in 0usize..kernels::ALL.len()) {
        prop_assert!(machine.validate().is_ok());
        let Ok(domains) = Domains::build(&machine, kernels::ALL[k], 0) else { return Ok(()) };
        for cpu in &machine.online() {
            for at in domains.chain(cpu) {
                let domain = &domains.domains[at.index()];
                prop_assert!(domain.span.contains(cpu));
                prop_assert!(domains.groups[domain.groups.index()].span.contains(cpu));
                // Every ring closes.
                prop_assert!(domains.ring(domain.groups).take(100).count() < 100);
            }
        }
    }
}
