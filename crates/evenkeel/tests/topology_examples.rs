//! The worked examples of the specification (spec 1 §17 and §18.11): the expected text is that of its tables.
#![allow(missing_docs)]
use core::fmt::Write;
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::topology::{Arch, Cpu, Domains, Machine, SdFlags};
use expect_test::{Expect, expect};

/// A machine of single-threaded CPUs, all of one package and node, one cache.
fn flat(cpus: u32) -> Machine {
    Machine::regular(1, 1, cpus, 1, false)
}

/// Changes every CPU of a machine.
fn with(mut machine: Machine, change: impl Fn(u32, &mut Cpu)) -> Machine {
    for (i, cpu) in machine.cpus.iter_mut().enumerate() {
        change(i as u32, cpu);
    }
    machine
}

/// Nodes of `cpus_per_node` CPUs with a cache each, and the distances between them.
fn nodes(cpus_per_node: u32, distances: &[&[u32]]) -> Machine {
    let mut machine = Machine::regular(distances.len() as u32, 1, cpus_per_node, 1, true);
    machine.distances = distances.concat();
    machine
}

/// Flags as the specification abbreviates them (spec 1 §17).
fn abbreviate(flags: SdFlags) -> String {
    let basic =
        SdFlags::BALANCE_NEWIDLE | SdFlags::BALANCE_EXEC | SdFlags::BALANCE_FORK | SdFlags::WAKE_AFFINE;
    let mut text = Vec::new();
    if flags.contains(basic) {
        text.push("B4");
    } else {
        let names = [
            (SdFlags::BALANCE_NEWIDLE, "NI"),
            (SdFlags::BALANCE_EXEC, "EX"),
            (SdFlags::BALANCE_FORK, "FK"),
            (SdFlags::WAKE_AFFINE, "WA"),
        ];
        text.extend(names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name));
    }
    let names = [
        (SdFlags::BALANCE_WAKE, "WK"),
        (SdFlags::ASYM_CPUCAPACITY, "AC"),
        (SdFlags::ASYM_CPUCAPACITY_FULL, "ACF"),
        (SdFlags::SHARE_CPUCAPACITY, "SC"),
        (SdFlags::CLUSTER, "CL"),
        (SdFlags::SHARE_LLC, "LLC"),
        (SdFlags::SERIALIZE, "SER"),
        (SdFlags::ASYM_PACKING, "AP"),
        (SdFlags::PREFER_SIBLING, "PS"),
        (SdFlags::OVERLAP, "OV"),
        (SdFlags::NUMA, "NU"),
        (SdFlags::LOAD_BALANCE, "LB"),
    ];
    text.extend(names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name));
    if text.is_empty() { String::from("none") } else { text.join(" ") }
}

/// One line a domain of the given CPUs, in the columns of the specification's tables.
fn render(machine: &Machine, kernel: &Kernel, cpus: &[u32]) -> String {
    let domains = Domains::build(machine, kernel, 0).unwrap();
    let mut text = String::new();
    for &cpu in cpus {
        for (m, id) in domains.chain(CpuId(cpu)).enumerate() {
            let domain = &domains.domains[id.index()];
            let groups: Vec<String> = domains
                .ring(domain.groups)
                .map(|id| {
                    let group = &domains.groups[id.index()];
                    let sgc = &domains.capacities[group.sgc.index()];
                    let mask = match sgc.balance_mask == group.span {
                        true => String::new(),
                        false => format!("/{}", sgc.balance_mask),
                    };
                    format!("{}:{}{mask}={}", sgc.id, group.span, sgc.capacity)
                })
                .collect();
            writeln!(
                text,
                "{cpu} {m} {} {} | {} | w{} {} {} | {} | {} | {} | {}",
                domain.name,
                domain.level,
                domain.span,
                domain.min_interval,
                domain.imbalance_pct,
                domain.cache_nice_tries,
                abbreviate(domain.flags),
                groups.join(", "),
                abbreviate(domains.groups[domain.groups.index()].flags),
                domain.imb_numa_nr,
            )
            .unwrap();
        }
    }
    text
}

fn check(machine: &Machine, kernel: &str, cpus: &[u32], expected: Expect) {
    expected.assert_eq(&render(machine, kernels::find(kernel).unwrap(), cpus));
}

/// What a CPU keeps at hand: cache (level name, size, id), cluster id, first NUMA level, asym level.
fn pointers(machine: &Machine, kernel: &str, cpu: u32) -> String {
    let domains = Domains::build(machine, kernels::find(kernel).unwrap(), 0).unwrap();
    let at = &domains.cpus[cpu as usize];
    let name = |id: Option<evenkeel::ids::DomainId>| id.map_or("none", |id| domains.domains[id.index()].name);
    format!(
        "llc {} {} {} share {} numa {} asym {}",
        name(at.sd_llc),
        at.sd_llc_size,
        at.sd_llc_id,
        at.sd_share_id,
        name(at.sd_numa),
        name(at.sd_asym_cpucapacity)
    )
}

#[test]
fn example_a_two_cpus() {
    let machine = flat(2);
    check(
        &machine,
        "v6.12",
        &[0, 1],
        expect![[r#"
        0 0 MC 2 | 0-1 | w2 117 1 | B4 LLC PS | 0:0=1024, 1:1=1024 | none | 0
        1 0 MC 2 | 0-1 | w2 117 1 | B4 LLC PS | 1:1=1024, 0:0=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-1 | w2 117 1 | B4 LLC PS LB | 0:0=1024, 1:1=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v6.18",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-1 | w2 117 1 | B4 LLC PS | 0:0=1024, 1:1=1024 | none | 0
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 1), "llc MC 2 0 share 0 numa none asym none");
}

#[test]
fn example_a_without_a_shared_cache() {
    let machine = with(flat(2), |i, cpu| cpu.llc = Some(i));
    check(
        &machine,
        "v6.12",
        &[0],
        expect![[r#"
        0 0 PKG 3 | 0-1 | w2 117 1 | B4 PS | 0:0=1024, 1:1=1024 | none | 2
    "#]],
    );
    check(
        &machine,
        "v5.15",
        &[0],
        expect![[r#"
        0 0 DIE 2 | 0-1 | w2 117 1 | B4 PS | 0:0=1024, 1:1=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 DIE 2 | 0-1 | w2 125 1 | B4 PS LB | 0:0=1024, 1:1=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v6.18",
        &[0],
        expect![[r#"
        0 0 PKG 2 | 0-1 | w2 117 1 | B4 PS | 0:0=1024, 1:1=1024 | none | 2
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 1), "llc none 1 1 share 1 numa none asym none");
}

#[test]
fn example_b_cores_of_two_threads() {
    let machine = Machine::regular(1, 1, 4, 2, false);
    check(
        &machine,
        "v6.12",
        &[0, 1, 2, 5, 7],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048, 4:4-5=2048, 6:6-7=2048 | B4 SC LLC PS | 0
        1 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 1:1=1024, 0:0=1024 | none | 0
        1 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048, 4:4-5=2048, 6:6-7=2048 | B4 SC LLC PS | 0
        2 0 SMT 0 | 2-3 | w2 110 0 | B4 SC LLC PS | 2:2=1024, 3:3=1024 | none | 0
        2 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 2:2-3=2048, 4:4-5=2048, 6:6-7=2048, 0:0-1=2048 | B4 SC LLC PS | 0
        5 0 SMT 0 | 4-5 | w2 110 0 | B4 SC LLC PS | 5:5=1024, 4:4=1024 | none | 0
        5 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 4:4-5=2048, 6:6-7=2048, 0:0-1=2048, 2:2-3=2048 | B4 SC LLC PS | 0
        7 0 SMT 0 | 6-7 | w2 110 0 | B4 SC LLC PS | 7:7=1024, 6:6=1024 | none | 0
        7 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 6:6-7=2048, 0:0-1=2048, 2:2-3=2048, 4:4-5=2048 | B4 SC LLC PS | 0
    "#]],
    );
    check(
        &machine,
        "v6.1",
        &[0],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048, 4:4-5=2048, 6:6-7=2048 | B4 LLC PS | 0
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS LB | 0:0=589, 1:1=589 | none | 0
        0 1 MC 1 | 0-7 | w8 117 1 | B4 LLC PS LB | 0:0-1=1178, 2:2-3=1178, 4:4-5=1178, 6:6-7=1178 | none | 0
    "#]],
    );
}

#[test]
fn example_b_with_siblings_far_apart() {
    let machine = with(Machine::regular(1, 1, 4, 2, false), |i, cpu| cpu.core = i % 4);
    check(
        &machine,
        "v6.12",
        &[0, 5],
        expect![[r#"
        0 0 SMT 0 | 0,4 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 4:4=1024 | none | 0
        0 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 0:0,4=2048, 1:1,5=2048, 2:2,6=2048, 3:3,7=2048 | B4 SC LLC PS | 0
        5 0 SMT 0 | 1,5 | w2 110 0 | B4 SC LLC PS | 5:5=1024, 1:1=1024 | none | 0
        5 1 MC 2 | 0-7 | w8 117 1 | B4 LLC PS | 1:1,5=2048, 2:2,6=2048, 3:3,7=2048, 0:0,4=2048 | B4 SC LLC PS | 0
    "#]],
    );
}

#[test]
fn example_c_two_sockets() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    check(
        &machine,
        "v6.12",
        &[0, 2, 3, 6],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048 | B4 SC LLC PS | 0
        0 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3=4096, 4:4-7=4096 | B4 LLC PS | 1
        2 0 SMT 0 | 2-3 | w2 110 0 | B4 SC LLC PS | 2:2=1024, 3:3=1024 | none | 0
        2 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 2:2-3=2048, 0:0-1=2048 | B4 SC LLC PS | 0
        2 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3=4096, 4:4-7=4096 | B4 LLC PS | 1
        3 0 SMT 0 | 2-3 | w2 110 0 | B4 SC LLC PS | 3:3=1024, 2:2=1024 | none | 0
        3 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 2:2-3=2048, 0:0-1=2048 | B4 SC LLC PS | 0
        3 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3=4096, 4:4-7=4096 | B4 LLC PS | 1
        6 0 SMT 0 | 6-7 | w2 110 0 | B4 SC LLC PS | 6:6=1024, 7:7=1024 | none | 0
        6 1 MC 2 | 4-7 | w4 117 1 | B4 LLC PS | 6:6-7=2048, 4:4-5=2048 | B4 SC LLC PS | 0
        6 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 4:4-7=4096, 0:0-3=4096 | B4 LLC PS | 1
    "#]],
    );
    check(
        &machine,
        "v6.1",
        &[0],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048 | B4 LLC PS | 0
        0 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3=4096, 4:4-7=4096 | B4 PS | 1
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS LB | 0:0=589, 1:1=589 | none | 0
        0 1 MC 1 | 0-3 | w4 117 1 | B4 LLC PS LB | 0:0-1=1178, 2:2-3=1178 | none | 0
        0 2 NUMA 4 | 0-7 | w8 125 2 | B4 SER OV NU LB | 0:0-3=2356, 4:4-7=2356 | none | 0
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 1), "llc MC 4 0 share 0 numa NUMA asym none");
    assert_eq!(pointers(&machine, "v6.12", 6), "llc MC 4 4 share 4 numa NUMA asym none");
    assert_eq!(pointers(&machine, "v7.2", 6), "llc MC 4 1 share 4 numa NUMA asym none");
}

#[test]
fn remote_numa_groups_keep_the_flags_they_were_built_with() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    let kernel = kernels::find("v6.12").unwrap();
    let domains = Domains::build(&machine, kernel, 0).unwrap();
    let numa = &domains.domains[domains.cpus[0].sd_numa.unwrap().index()];
    let flags: Vec<String> =
        domains.ring(numa.groups).map(|id| abbreviate(domains.groups[id.index()].flags)).collect();
    assert_eq!(flags, ["B4 LLC PS", "B4 PS"]);
    let balance: Vec<u32> = domains.ring(numa.groups).map(|id| domains.group_balance_cpu(id).0).collect();
    assert_eq!(balance, [0, 4]);
}

#[test]
fn example_d_ring_of_four_nodes() {
    let machine = nodes(2, &[&[10, 20, 30, 20], &[20, 10, 20, 30], &[30, 20, 10, 20], &[20, 30, 20, 10]]);
    check(
        &machine,
        "v6.12",
        &[0, 2, 4, 6],
        expect![[r#"
        0 0 MC 2 | 0-1 | w2 117 1 | B4 LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 NUMA 5 | 0-3,6-7 | w6 117 2 | B4 SER OV NU | 0:0-1=2048, 2:2-3=2048, 6:6-7=2048 | B4 LLC PS | 1
        0 2 NUMA 6 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3,6-7/0-1=6144, 4:2-7/4-5=6144 | B4 SER OV NU | 1
        2 0 MC 2 | 2-3 | w2 117 1 | B4 LLC PS | 2:2=1024, 3:3=1024 | none | 0
        2 1 NUMA 5 | 0-5 | w6 117 2 | B4 SER OV NU | 2:2-3=2048, 4:4-5=2048, 0:0-1=2048 | B4 LLC PS | 1
        2 2 NUMA 6 | 0-7 | w8 117 2 | B4 SER OV NU | 2:0-5/2-3=6144, 6:0-1,4-7/6-7=6144 | B4 SER OV NU | 1
        4 0 MC 2 | 4-5 | w2 117 1 | B4 LLC PS | 4:4=1024, 5:5=1024 | none | 0
        4 1 NUMA 5 | 2-7 | w6 117 2 | B4 SER OV NU | 4:4-5=2048, 6:6-7=2048, 2:2-3=2048 | B4 LLC PS | 1
        4 2 NUMA 6 | 0-7 | w8 117 2 | B4 SER OV NU | 4:2-7/4-5=6144, 0:0-3,6-7/0-1=6144 | B4 SER OV NU | 1
        6 0 MC 2 | 6-7 | w2 117 1 | B4 LLC PS | 6:6=1024, 7:7=1024 | none | 0
        6 1 NUMA 5 | 0-1,4-7 | w6 117 2 | B4 SER OV NU | 6:6-7=2048, 0:0-1=2048, 4:4-5=2048 | B4 LLC PS | 1
        6 2 NUMA 6 | 0-7 | w8 117 2 | B4 SER OV NU | 6:0-1,4-7/6-7=6144, 2:0-5/2-3=6144 | B4 SER OV NU | 1
    "#]],
    );
    check(
        &machine,
        "v5.15",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-1 | w2 117 1 | B4 LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 NUMA 4 | 0-3,6-7 | w6 117 2 | B4 SER OV NU | 0:0-1=2048, 2:2-3=2048, 6:6-7=2048 | none | 0
        0 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3,6-7/0-1=6144, 4:2-7/4-5=6144 | none | 0
    "#]],
    );
    check(
        &machine,
        "v6.18",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-1 | w2 117 1 | B4 LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 NUMA 4 | 0-3,6-7 | w6 117 2 | B4 SER NU | 0:0-1=2048, 2:2-3=2048, 6:6-7=2048 | B4 LLC PS | 1
        0 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER NU | 0:0-3,6-7/0-1=6144, 4:2-7/4-5=6144 | B4 SER NU | 1
    "#]],
    );
    let domains = Domains::build(&machine, kernels::find("v6.12").unwrap(), 0).unwrap();
    let top = domains.chain(CpuId(0)).last().unwrap();
    let groups = domains.ring(domains.domains[top.index()].groups);
    assert_eq!(groups.map(|id| domains.group_balance_cpu(id).0).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn example_e_two_caches_a_socket() {
    let mut machine = Machine::regular(2, 2, 2, 2, true);
    machine.distances = vec![10, 32, 32, 10];
    machine.node_reclaim_distance = Some(32);
    check(
        &machine,
        "v6.12",
        &[0, 5, 14],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048 | B4 SC LLC PS | 0
        0 2 PKG 3 | 0-7 | w8 117 1 | B4 PS | 0:0-3=4096, 4:4-7=4096 | B4 LLC PS | 2
        0 3 NUMA 5 | 0-15 | w16 117 2 | B4 SER OV NU | 0:0-7=8192, 8:8-15=8192 | B4 PS | 2
        5 0 SMT 0 | 4-5 | w2 110 0 | B4 SC LLC PS | 5:5=1024, 4:4=1024 | none | 0
        5 1 MC 2 | 4-7 | w4 117 1 | B4 LLC PS | 4:4-5=2048, 6:6-7=2048 | B4 SC LLC PS | 0
        5 2 PKG 3 | 0-7 | w8 117 1 | B4 PS | 4:4-7=4096, 0:0-3=4096 | B4 LLC PS | 2
        5 3 NUMA 5 | 0-15 | w16 117 2 | B4 SER OV NU | 0:0-7=8192, 8:8-15=8192 | B4 PS | 2
        14 0 SMT 0 | 14-15 | w2 110 0 | B4 SC LLC PS | 14:14=1024, 15:15=1024 | none | 0
        14 1 MC 2 | 12-15 | w4 117 1 | B4 LLC PS | 14:14-15=2048, 12:12-13=2048 | B4 SC LLC PS | 0
        14 2 PKG 3 | 8-15 | w8 117 1 | B4 PS | 12:12-15=4096, 8:8-11=4096 | B4 LLC PS | 2
        14 3 NUMA 5 | 0-15 | w16 117 2 | B4 SER OV NU | 8:8-15=8192, 0:0-7=8192 | B4 PS | 2
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS LB | 0:0=589, 1:1=589 | none | 0
        0 1 MC 1 | 0-3 | w4 117 1 | B4 LLC PS LB | 0:0-1=1178, 2:2-3=1178 | none | 0
        0 2 DIE 2 | 0-7 | w8 125 1 | B4 PS LB | 0:0-3=2356, 4:4-7=2356 | none | 0
        0 3 NUMA 4 | 0-15 | w16 125 2 | NI SER OV NU LB | 0:0-7=4712, 8:8-15=4712 | none | 0
    "#]],
    );
    let ids = |kernel: &str| {
        let domains = Domains::build(&machine, kernels::find(kernel).unwrap(), 0).unwrap();
        [0, 4, 8, 12].map(|cpu: usize| domains.cpus[cpu].sd_llc_id)
    };
    assert_eq!(ids("v6.12"), [0, 4, 8, 12]);
    assert_eq!(ids("v7.2"), [0, 1, 2, 3]);
    // Elsewhere than on AMD, 32 is beyond the reclaim distance.
    machine.node_reclaim_distance = None;
    let domains = Domains::build(&machine, kernels::find("v6.12").unwrap(), 0).unwrap();
    let numa = domains.cpus[0].sd_numa.unwrap();
    assert_eq!(abbreviate(domains.domains[numa.index()].flags), "NI SER OV NU");
}

/// Eight CPUs of the generic table: four of capacity 446 and four of 1024.
fn big_little(change: impl Fn(u32, &mut Cpu)) -> Machine {
    let mut machine = with(flat(8), |i, cpu| {
        cpu.capacity = if i < 4 { 446 } else { 1024 };
        change(i, cpu);
    });
    machine.arch = Arch::Generic;
    machine
}

#[test]
fn example_f1_big_little() {
    let machine = big_little(|i, cpu| cpu.llc = Some(i / 4));
    check(
        &machine,
        "v6.12",
        &[0, 4],
        expect![[r#"
        0 0 MC 2 | 0-3 | w4 117 1 | B4 LLC | 0:0=446, 1:1=446, 2:2=446, 3:3=446 | none | 0
        0 1 PKG 3 | 0-7 | w8 117 1 | B4 AC ACF PS | 0:0-3=1784, 4:4-7=4096 | B4 LLC | 2
        4 0 MC 2 | 4-7 | w4 117 1 | B4 LLC | 4:4=1024, 5:5=1024, 6:6=1024, 7:7=1024 | none | 0
        4 1 PKG 3 | 0-7 | w8 117 1 | B4 AC ACF PS | 4:4-7=4096, 0:0-3=1784 | B4 LLC | 2
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-3 | w4 117 1 | B4 LLC PS LB | 0:0=446, 1:1=446, 2:2=446, 3:3=446 | none | 0
        0 1 DIE 2 | 0-7 | w8 125 1 | B4 PS LB | 0:0-3=1784, 4:4-7=4096 | none | 0
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 5), "llc MC 4 4 share 4 numa none asym PKG");
    assert_eq!(pointers(&machine, "v7.2", 5), "llc MC 4 1 share 4 numa none asym PKG");
}

#[test]
fn example_f1_shares_state_of_all_capacities_on_the_newest_kernel() {
    let machine = big_little(|i, cpu| cpu.llc = Some(i / 4));
    let domains = Domains::build(&machine, kernels::find("v7.2").unwrap(), 0).unwrap();
    let of = |cpu: usize| (domains.cpus[cpu].sd_llc_shared, domains.cpus[cpu].sd_balance_shared);
    // One object for PKG, one for each cache.
    assert_eq!(of(0).1, of(7).1);
    assert_ne!(of(0).0, of(7).0);
    assert_ne!(of(0).0, of(0).1);
    let shared = |id: Option<evenkeel::ids::SharedId>| {
        let shared = &domains.shared[id.unwrap().index()];
        (shared.nr_busy_cpus, shared.nr_idle_scan)
    };
    assert_eq!((shared(of(0).0), shared(of(0).1)), ((4, 512), (8, 32)));
}

#[test]
fn example_f2_one_cache() {
    let machine = big_little(|_, _| {});
    check(
        &machine,
        "v6.12",
        &[0, 5],
        expect![[r#"
        0 0 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 0:0=446, 1:1=446, 2:2=446, 3:3=446, 4:4=1024, 5:5=1024, 6:6=1024, 7:7=1024 | none | 0
        5 0 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 5:5=1024, 6:6=1024, 7:7=1024, 0:0=446, 1:1=446, 2:2=446, 3:3=446, 4:4=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v6.18",
        &[0],
        expect![[r#"
        0 0 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 0:0=446, 1:1=446, 2:2=446, 3:3=446, 4:4=1024, 5:5=1024, 6:6=1024, 7:7=1024 | none | 0
    "#]],
    );
    check(
        &machine,
        "v5.15",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 0:0=446, 1:1=446, 2:2=446, 3:3=446, 4:4=1024, 5:5=1024, 6:6=1024, 7:7=1024 | none | 0
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 0), "llc MC 8 0 share 0 numa none asym MC");
}

#[test]
fn example_f3_clusters_in_one_cache() {
    let machine = big_little(|i, cpu| cpu.cluster = Some(i / 4));
    check(
        &machine,
        "v6.12",
        &[0, 4],
        expect![[r#"
        0 0 CLS 1 | 0-3 | w4 117 1 | B4 CL LLC | 0:0=446, 1:1=446, 2:2=446, 3:3=446 | none | 0
        0 1 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 0:0-3=1784, 4:4-7=4096 | B4 CL LLC | 0
        4 0 CLS 1 | 4-7 | w4 117 1 | B4 CL LLC | 4:4=1024, 5:5=1024, 6:6=1024, 7:7=1024 | none | 0
        4 1 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 4:4-7=4096, 0:0-3=1784 | B4 CL LLC | 0
    "#]],
    );
    check(
        &machine,
        "v6.1",
        &[0],
        expect![[r#"
        0 0 CLS 1 | 0-3 | w4 117 1 | B4 LLC | 0:0=446, 1:1=446, 2:2=446, 3:3=446 | none | 0
        0 1 MC 2 | 0-7 | w8 117 1 | B4 AC ACF LLC PS | 0:0-3=1784, 4:4-7=4096 | B4 LLC | 0
    "#]],
    );
    check(
        &machine,
        "v5.15",
        &[0],
        expect![[r#"
        0 0 MC 1 | 0-3 | w4 117 1 | B4 LLC | 0:0=446, 1:1=446, 2:2=446, 3:3=446 | none | 0
        0 1 DIE 2 | 0-7 | w8 117 1 | B4 AC ACF PS | 0:0-3=1784, 4:4-7=4096 | none | 0
    "#]],
    );
    assert_eq!(pointers(&machine, "v6.12", 5), "llc MC 8 0 share 4 numa none asym MC");
}

#[test]
fn example_f4_three_capacities() {
    let machine = big_little(|i, cpu| {
        cpu.llc = Some(i / 4);
        cpu.capacity = [250, 250, 250, 250, 700, 700, 700, 1024][i as usize];
    });
    check(
        &machine,
        "v6.12",
        &[0, 4],
        expect![[r#"
        0 0 MC 2 | 0-3 | w4 117 1 | B4 LLC | 0:0=250, 1:1=250, 2:2=250, 3:3=250 | none | 0
        0 1 PKG 3 | 0-7 | w8 117 1 | B4 AC ACF PS | 0:0-3=1000, 4:4-7=3124 | B4 LLC | 2
        4 0 MC 2 | 4-7 | w4 117 1 | B4 AC LLC | 4:4=700, 5:5=700, 6:6=700, 7:7=1024 | none | 0
        4 1 PKG 3 | 0-7 | w8 117 1 | B4 AC ACF PS | 4:4-7=3124, 0:0-3=1000 | B4 AC LLC | 2
    "#]],
    );
    let domains = Domains::build(&machine, kernels::find("v6.12").unwrap(), 0).unwrap();
    let top = domains.chain(CpuId(0)).last().unwrap();
    let capacities: Vec<(u64, u64)> = domains
        .ring(domains.domains[top.index()].groups)
        .map(|id| &domains.capacities[domains.groups[id.index()].sgc.index()])
        .map(|sgc| (sgc.min_capacity, sgc.max_capacity))
        .collect();
    assert_eq!(capacities, [(250, 250), (700, 1024)]);
}

/// Spec 1 §18.11: what CPU 0 and 3 see at distance 30 are different, and smaller, sets.
#[test]
fn line_of_four_nodes() {
    let machine = nodes(1, &[&[10, 20, 30, 40], &[20, 10, 20, 30], &[30, 20, 10, 20], &[40, 30, 20, 10]]);
    check(
        &machine,
        "v6.12",
        &[0, 1, 2, 3],
        expect![[r#"
        0 0 NUMA 5 | 0-1 | w2 117 2 | B4 SER OV NU | 0:0=1024, 1:1=1024 | none | 1
        0 1 NUMA 6 | 0-2 | w3 117 2 | B4 SER OV NU | 0:0-1/0=2048, 2:2=1024 | B4 SER OV NU | 1
        0 2 NUMA 7 | 0-3 | w4 117 2 | NI SER OV NU | 0:0-2/0=3072, 3:1-3/3=3072 | B4 SER OV NU | 2
        1 0 NUMA 5 | 0-2 | w3 117 2 | B4 SER OV NU | 1:1=1024, 2:2=1024, 0:0=1024 | none | 1
        1 1 NUMA 6 | 0-3 | w4 117 2 | B4 SER OV NU | 1:0-2/1=3072, 3:2-3/3=2048 | B4 SER OV NU | 1
        2 0 NUMA 5 | 1-3 | w3 117 2 | B4 SER OV NU | 2:2=1024, 3:3=1024, 1:1=1024 | none | 1
        2 1 NUMA 6 | 0-3 | w4 117 2 | B4 SER OV NU | 2:1-3/2=3072, 0:0-1/0=2048 | B4 SER OV NU | 1
        3 0 NUMA 5 | 2-3 | w2 117 2 | B4 SER OV NU | 3:3=1024, 2:2=1024 | none | 1
        3 1 NUMA 6 | 1-3 | w3 117 2 | B4 SER OV NU | 3:2-3/3=2048, 1:1=1024 | B4 SER OV NU | 1
        3 2 NUMA 7 | 0-3 | w4 117 2 | NI SER OV NU | 3:1-3/3=3072, 0:0-2/0=3072 | B4 SER OV NU | 2
    "#]],
    );
    check(
        &machine,
        "v4.19",
        &[0, 3],
        expect![[r#"
        0 0 NUMA 4 | 0-1 | w2 125 2 | B4 SER OV NU LB | 0:0=1024, 1:1=1024 | none | 0
        0 1 NUMA 5 | 0-2 | w3 125 2 | B4 SER OV NU LB | 0:0-1/0=2048, 2:1-3/2=3072 | none | 0
        0 2 NUMA 6 | 0-3 | w4 125 2 | NI SER OV NU LB | 0:0-2/0=3072, 3:1-3/3=3072 | none | 0
        3 0 NUMA 4 | 2-3 | w2 125 2 | B4 SER OV NU LB | 3:3=1024, 2:2=1024 | none | 0
        3 1 NUMA 5 | 1-3 | w3 125 2 | B4 SER OV NU LB | 3:2-3/3=2048, 1:0-2/1=3072 | none | 0
        3 2 NUMA 6 | 0-3 | w4 125 2 | NI SER OV NU LB | 3:1-3/3=3072, 0:0-2/0=3072 | none | 0
    "#]],
    );
}

/// Spec 1 §8.1: the highest CPU of the span decides the cycle.
#[test]
fn irregular_siblings_are_linked_as_the_highest_cpu_meets_them() {
    let core = [0, 1, 2, 2, 1, 0];
    let machine = with(Machine::regular(1, 1, 3, 2, false), |i, cpu| cpu.core = core[i as usize]);
    let domains = Domains::build(&machine, kernels::find("v6.12").unwrap(), 0).unwrap();
    let llc = &domains.domains[domains.cpus[4].sd_llc.unwrap().index()];
    let ring: Vec<String> =
        domains.ring(llc.groups).map(|id| domains.groups[id.index()].span.to_string()).collect();
    assert_eq!(ring, ["1,4", "2-3", "0,5"]);
}

/// The same where CPU 0 would make the other cycle: CPU 5 enters at `1,5`, then goes on from the lowest.
#[test]
fn the_cycle_is_not_that_of_the_lowest_cpu() {
    let core = [0, 1, 2, 0, 2, 1];
    let machine = with(Machine::regular(1, 1, 3, 2, false), |i, cpu| cpu.core = core[i as usize]);
    let domains = Domains::build(&machine, kernels::find("v6.12").unwrap(), 0).unwrap();
    let llc = &domains.domains[domains.cpus[0].sd_llc.unwrap().index()];
    let ring: Vec<String> =
        domains.ring(llc.groups).map(|id| domains.groups[id.index()].span.to_string()).collect();
    assert_eq!(ring, ["0,3", "2,4", "1,5"]);
}

/// Spec 1 §9 by hand: one cache a node of 32 CPUs allows 32 / 8 = 4 tasks; with twice the span twice as many.
#[test]
fn tolerated_numa_imbalance_grows_with_the_span() {
    let imb = |machine: &Machine| {
        let domains = Domains::build(machine, kernels::find("v6.12").unwrap(), 0).unwrap();
        domains.chain(CpuId(0)).map(|id| domains.domains[id.index()].imb_numa_nr).collect::<Vec<_>>()
    };
    // SMT, MC, NUMA.
    assert_eq!(imb(&Machine::regular(2, 1, 16, 2, true)), [0, 0, 4]);
    // MC, NUMA of two nodes, NUMA of four.
    let boards = nodes(32, &[&[10, 15, 40, 40], &[15, 10, 40, 40], &[40, 40, 10, 15], &[40, 40, 15, 10]]);
    assert_eq!(imb(&boards), [0, 4, 8]);
    // SMT, MC, PKG of four caches, NUMA.
    assert_eq!(imb(&Machine::regular(2, 4, 4, 2, true)), [0, 0, 4, 4]);
}
