//! Domain trees as people see them.
#![allow(missing_docs)]
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Domains, Machine};
use evenkeel_report::topology::{
    View, render_debugfs, render_diff, render_json, render_schedstat, render_tree,
};
use expect_test::expect;

fn build(machine: &Machine, kernel: &str) -> (&'static evenkeel::kernel::Kernel, Domains) {
    let kernel = kernels::find(kernel).unwrap();
    (kernel, Domains::build(machine, kernel, 0).unwrap())
}

fn tree(machine: &Machine, kernel: &str) -> String {
    let (kernel, domains) = build(machine, kernel);
    render_tree(machine, kernel, &domains)
}

fn ring() -> Machine {
    let mut machine = Machine::regular(4, 1, 2, 1, true);
    machine.distances = vec![10, 20, 30, 20, 20, 10, 20, 30, 30, 20, 10, 20, 20, 30, 20, 10];
    machine
}

#[test]
fn two_sockets() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    expect![[r#"
        regular: 8 CPUs, 2 nodes, as v6.12.117 balances it
        └─ NUMA 0-7 (8 CPUs, level 5)
           │  balances every 8 to 16 ms, from busy CPUs every 128 ms
           │  acts on differences above 17 % (imbalance_pct 117), lets 1 task be unbalanced, moves cache-hot tasks after 3 failures
           │  crosses memory nodes; CPUs that run dry pull at once; new tasks may go anywhere in it; one balancer at a time in the system
           │  flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SERIALIZE OVERLAP NUMA
           │  2 groups of 4 CPUs: 0-3 | 4-7
           └─ 2 x MC of 4 CPUs (level 2): 0-3 | 4-7; the first is
              │  balances every 4 to 8 ms, from busy CPUs every 64 ms
              │  acts on differences above 17 % (imbalance_pct 117), moves cache-hot tasks after 2 failures
              │  CPUs share the last-level cache; CPUs that run dry pull at once; new tasks may go anywhere in it; its parent spreads tasks over its siblings
              │  flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_LLC PREFER_SIBLING
              │  2 groups of 2 CPUs: 0-1 | 2-3
              └─ 2 x SMT of 2 CPUs (level 0): 0-1 | 2-3; the first is
                    balances every 2 to 4 ms, from busy CPUs every 32 ms
                    acts on differences above 10 % (imbalance_pct 110), moves cache-hot tasks after the first failure
                    threads of one core; CPUs that run dry pull at once; new tasks may go anywhere in it; its parent spreads tasks over its siblings
                    flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_CPUCAPACITY SHARE_LLC PREFER_SIBLING
                    2 groups of 1 CPU: 0 | 1
    "#]].assert_eq(&tree(&machine, "v6.12"));
}

#[test]
fn overlapping_neighbourhoods_are_told_apart() {
    expect![[r#"
        regular: 8 CPUs, 4 nodes, as v6.12.117 balances it
        └─ NUMA 0-7 (8 CPUs, level 6)
           │  balances every 8 to 16 ms, from busy CPUs every 128 ms
           │  acts on differences above 17 % (imbalance_pct 117), lets 1 task be unbalanced, moves cache-hot tasks after 3 failures
           │  crosses memory nodes; CPUs that run dry pull at once; new tasks may go anywhere in it; one balancer at a time in the system
           │  flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SERIALIZE OVERLAP NUMA
           │  2 groups of 6 CPUs: 0-3,6-7 (balanced by 0-1) | 2-7 (balanced by 4-5)
           └─ 4 x NUMA of 6 CPUs (level 5): 0-3,6-7 as seen by 0-1 | 0-5 as seen by 2-3 | 2-7 as seen by 4-5 | 0-1,4-7 as seen by 6-7; the first is
              │  balances every 6 to 12 ms, from busy CPUs every 96 ms
              │  acts on differences above 17 % (imbalance_pct 117), lets 1 task be unbalanced, moves cache-hot tasks after 3 failures
              │  crosses memory nodes; CPUs that run dry pull at once; new tasks may go anywhere in it; one balancer at a time in the system
              │  flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SERIALIZE OVERLAP NUMA
              │  3 groups of 2 CPUs: 0-1 | 2-3 | 6-7
              └─ MC 0-1 (2 CPUs, level 2)
                    balances every 2 to 4 ms, from busy CPUs every 32 ms
                    acts on differences above 17 % (imbalance_pct 117), moves cache-hot tasks after 2 failures
                    CPUs share the last-level cache; CPUs that run dry pull at once; new tasks may go anywhere in it; its parent spreads tasks over its siblings
                    flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_LLC PREFER_SIBLING
                    2 groups of 1 CPU: 0 | 1
    "#]].assert_eq(&tree(&ring(), "v6.12"));
}

#[test]
fn big_little_and_isolation() {
    let mut machine = Machine::regular(1, 2, 4, 1, false);
    machine.arch = Arch::Generic;
    for cpu in 0..4 {
        machine.cpus[cpu].capacity = 446;
    }
    machine.isolated = CpuMask::parse_list("7", 8).unwrap();
    expect![[r#"
        regular: 8 CPUs, 1 node, as v6.12.117 balances it
        └─ PKG 0-6 (7 CPUs, level 3)
           │  balances every 8 to 16 ms, from busy CPUs every 128 ms
           │  acts on differences above 17 % (imbalance_pct 117), moves cache-hot tasks after 2 failures
           │  holds CPUs of every capacity; CPUs that run dry pull at once; new tasks may go anywhere in it
           │  flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE ASYM_CPUCAPACITY ASYM_CPUCAPACITY_FULL PREFER_SIBLING
           │  2 groups: 0-3 (capacity 1784) | 4-6
           ├─ MC 0-3 (4 CPUs, level 2)
           │     balances every 4 to 8 ms, from busy CPUs every 64 ms
           │     acts on differences above 17 % (imbalance_pct 117), moves cache-hot tasks after 2 failures
           │     CPUs share the last-level cache; CPUs that run dry pull at once; new tasks may go anywhere in it
           │     flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_LLC
           │     4 groups of 1 CPU: 0 (capacity 446) | 1 (capacity 446) | 2 (capacity 446) | 3 (capacity 446)
           └─ MC 4-6 (3 CPUs, level 2)
                 balances every 4 to 8 ms, from busy CPUs every 64 ms
                 acts on differences above 17 % (imbalance_pct 117), moves cache-hot tasks after 2 failures
                 CPUs share the last-level cache; CPUs that run dry pull at once; new tasks may go anywhere in it
                 flags BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_LLC
                 3 groups of 1 CPU: 4 | 5 | 6
        isolated from balancing: 7
    "#]].assert_eq(&tree(&machine, "v6.12"));
}

#[test]
fn five_hundred_cpus_fit_on_a_page() {
    let machine = Machine::regular(2, 16, 8, 2, true);
    assert_eq!(machine.nr_cpus(), 512);
    let text = tree(&machine, "v6.12");
    assert!(text.lines().count() < 30, "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
}

#[test]
fn a_diff_says_only_what_differs() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    let (old, old_domains) = build(&machine, "v4.19");
    let (new, new_domains) = build(&machine, "v6.12");
    let before = View { machine: &machine, kernel: old, domains: &old_domains };
    let after = View { machine: &machine, kernel: new, domains: &new_domains };
    assert_eq!(render_diff(before, before), "");
    expect![[r#"
        CPU 0-7  SMT flags              LOAD_BALANCE -> (none)
        CPU 0-7  SMT group capacities   589 589 -> 1024 1024
        CPU 0-7  SMT busy_factor        32 -> 16
        CPU 0-7  MC level               1 -> 2
        CPU 0-7  MC flags               LOAD_BALANCE -> (none)
        CPU 0-7  MC group capacities    1178 1178 -> 2048 2048
        CPU 0-7  MC group flags         (none) -> BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_CPUCAPACITY SHARE_LLC PREFER_SIBLING
        CPU 0-7  MC busy_factor         32 -> 16
        CPU 0-7  NUMA level             4 -> 5
        CPU 0-7  NUMA flags             LOAD_BALANCE -> (none)
        CPU 0-7  NUMA group capacities  2356 2356 -> 4096 4096
        CPU 0-7  NUMA group flags       (none) -> BALANCE_NEWIDLE BALANCE_EXEC BALANCE_FORK WAKE_AFFINE SHARE_LLC PREFER_SIBLING
        CPU 0-7  NUMA busy_factor       32 -> 16
        CPU 0-7  NUMA imbalance_pct     125 -> 117
        CPU 0-7  NUMA imb_numa_nr       0 -> 1
    "#]].assert_eq(&render_diff(before, after));
}

/// Spec 1 §17 (c): the masks and names of CPU 0's lines.
#[test]
fn schedstat_lines_begin_with_name_and_mask() {
    let machine = Machine::regular(2, 1, 2, 2, true);
    let (kernel, domains) = build(&machine, "v7.2");
    let text = render_schedstat(&machine, kernel, &domains);
    let starts: Vec<String> =
        text.lines().take(5).map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(starts, ["version 17", "cpu0", "domain0 SMT 03", "domain1 MC 0f", "domain2 NUMA ff"]);
}

/// Spec 1 §14: which files there are, and in which order.
#[test]
fn debugfs_has_the_files_of_its_kernel() {
    let mut machine = Machine::regular(1, 1, 3, 1, false);
    machine.isolated = CpuMask::parse_list("2", 3).unwrap();
    let files = |name: &str| {
        let (kernel, domains) = build(&machine, name);
        render_debugfs(&machine, kernel, &domains)
    };
    expect![[r#"
        cpu0/domain0/min_interval 3
        cpu0/domain0/max_interval 6
        cpu0/domain0/max_newidle_lb_cost 0
        cpu0/domain0/busy_factor 16
        cpu0/domain0/imbalance_pct 117
        cpu0/domain0/cache_nice_tries 1
        cpu0/domain0/name MC
        cpu0/domain0/flags SD_BALANCE_NEWIDLE SD_BALANCE_EXEC SD_BALANCE_FORK SD_WAKE_AFFINE SD_SHARE_LLC SD_PREFER_SIBLING 
        cpu0/domain0/groups_flags 
        cpu0/domain0/level 2
        cpu1/domain0/min_interval 3
        cpu1/domain0/max_interval 6
        cpu1/domain0/max_newidle_lb_cost 0
        cpu1/domain0/busy_factor 16
        cpu1/domain0/imbalance_pct 117
        cpu1/domain0/cache_nice_tries 1
        cpu1/domain0/name MC
        cpu1/domain0/flags SD_BALANCE_NEWIDLE SD_BALANCE_EXEC SD_BALANCE_FORK SD_WAKE_AFFINE SD_SHARE_LLC SD_PREFER_SIBLING 
        cpu1/domain0/groups_flags 
        cpu1/domain0/level 2
        cpu2/
    "#]].assert_eq(&files("v6.12"));
    let names = |name: &str| {
        let text = files(name);
        let lines = text.lines().filter_map(|line| line.strip_prefix("cpu0/domain0/"));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names("v4.19"),
        "min_interval max_interval busy_idx idle_idx newidle_idx wake_idx forkexec_idx busy_factor imbalance_pct cache_nice_tries flags max_newidle_lb_cost name"
    );
}

/// The JSON of a tree can be read like a recording of a kernel.
#[test]
fn json_has_the_names_of_recordings() {
    let machine = ring();
    let (kernel, domains) = build(&machine, "v6.12");
    let value: serde_json::Value = serde_json::from_str(&render_json(&machine, kernel, &domains)).unwrap();
    let top = &value["domains"]["0"][2];
    assert_eq!(top["name"], "NUMA");
    assert_eq!(top["span"], "0-7");
    assert_eq!(top["groups"][0]["mask"], "0-1");
    assert_eq!(top["groups"][1]["span"], "2-7");
    assert_eq!(value["pointers"]["7"]["sd_llc_id"], 6);
}
