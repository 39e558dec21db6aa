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
}

#[test]
fn example_c_two_sockets() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    check(
        &machine,
        "v6.12",
        &[0, 6],
        expect![[r#"
        0 0 SMT 0 | 0-1 | w2 110 0 | B4 SC LLC PS | 0:0=1024, 1:1=1024 | none | 0
        0 1 MC 2 | 0-3 | w4 117 1 | B4 LLC PS | 0:0-1=2048, 2:2-3=2048 | B4 SC LLC PS | 0
        0 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 0:0-3=4096, 4:4-7=4096 | B4 LLC PS | 1
        6 0 SMT 0 | 6-7 | w2 110 0 | B4 SC LLC PS | 6:6=1024, 7:7=1024 | none | 0
        6 1 MC 2 | 4-7 | w4 117 1 | B4 LLC PS | 6:6-7=2048, 4:4-5=2048 | B4 SC LLC PS | 0
        6 2 NUMA 5 | 0-7 | w8 117 2 | B4 SER OV NU | 4:4-7=4096, 0:0-3=4096 | B4 LLC PS | 1
    "#]],
    );
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
}

#[test]
fn example_f1_big_little() {
    let mut machine = with(flat(8), |i, cpu| {
        cpu.llc = Some(i / 4);
        cpu.capacity = if i < 4 { 446 } else { 1024 };
    });
    machine.arch = Arch::Generic;
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
}

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
}
