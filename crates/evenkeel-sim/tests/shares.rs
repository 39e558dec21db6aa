//! Who gets how much of a busy machine: weights of nice levels and shares of task groups, over ten simulated seconds.
//!
//! A share can only be had by who wants it at every moment. So all tasks here run without pause, and every group has
//! several tasks for each CPU. A kernel promises a bounded error in time, not a relative one: a task may be ahead or behind by
//! its lag limit (classic CFS: a slice) and a tick, about 10 ms, which of a nice level with 5 % of ten seconds is 2 %. So
//! relative errors are asserted between levels of like weight, and bounded ones against nice 0.
//!
//! Groups are watched from the second second on. While tasks are forked the weights of their entities fall from that of a
//! whole machine to that of a CPU's part, and classic CFS keeps the virtual runtime meanwhile: on 16 CPUs a group may so have
//! up to 56 ms too much or too little on each, once and for all.
//!
//! A group has its exact share if the CPUs are equally loaded: it has `shares * here / everywhere` of the weight on each CPU,
//! and if all CPUs carry the same weight, these parts add up to its share of the machine. Where tasks are held evenly, that is
//! so. Where the kernel places them, balancing stops at loads that are alike up to 17 %, and a group whose tasks are on the
//! lighter CPUs gains: the lightest of three groups on 16 CPUs had 6 % too much. Without that tolerance it has not.
#![allow(missing_docs)]
use evenkeel::kernel::{Kernel, TopologyRules};
use evenkeel::kernels;
use evenkeel::observe::Silent;
use evenkeel::time::{MS, Ns, SEC};
use evenkeel::topology::Machine;
use evenkeel::weight::LoadWeight;
use evenkeel::workload::{
    Attributes, GroupSettings, GroupShare, GroupSpec, Op, Phase, Program, Repeat, TaskSpec, Workload,
};
use evenkeel_sim::{RunResult, SimParams, Simulation};

fn spinner(name: &str, instances: u32, attributes: Attributes) -> TaskSpec {
    let phase = Phase { ops: vec![Op::Run(1000 * SEC)], ..Phase::default() };
    let program = Program { phases: vec![phase], repeat: Repeat::Times(1) };
    TaskSpec { name: name.into(), instances, attributes, program, ..TaskSpec::default() }
}

/// What happened until `from` and until ten seconds later.
fn run(kernel: &Kernel, ncpus: u32, workload: &Workload, from: Ns) -> [RunResult; 2] {
    let machine = Machine::regular(1, ncpus.div_ceil(8), ncpus.min(8), 1, false);
    let params = SimParams { fork_cost: 0, ..SimParams::default() };
    let mut sim = Simulation::new(&machine, kernel, workload, params, Silent).unwrap();
    [from, from + 10 * SEC].map(|until| {
        sim.run_until(until).unwrap();
        sim.result()
    })
}

/// Running times of two tasks with these nice values on one CPU, and the part each should have.
fn nice_pair(kernel: &Kernel, nices: [i32; 2]) -> [(Ns, Ns); 2] {
    let spec = |nice| spinner("t", 1, Attributes { nice: Some(nice), ..Attributes::default() });
    let workload = Workload { tasks: nices.map(spec).into(), ..Workload::default() };
    let [_, result] = run(kernel, 1, &workload, 0);
    let weights = nices.map(|nice| LoadWeight::of_nice(nice).weight);
    let runs: Vec<Ns> =
        result.tasks.iter().filter(|task| !task.launcher).map(|task| task.times.run).collect();
    [0, 1].map(|i| {
        let want = u128::from(10 * SEC) * u128::from(weights[i]) / u128::from(weights[0] + weights[1]);
        (runs[i], want as Ns)
    })
}

#[test]
fn neighbouring_nice_levels_get_their_parts_within_one_percent() {
    for kernel in kernels::ALL {
        for nice in -20..19 {
            for (got, want) in nice_pair(kernel, [nice, nice + 1]) {
                let what = format!("{}: nice {nice} and the next: {got} of {want}", kernel.build);
                assert!(got.abs_diff(want) * 100 <= want, "{what}");
            }
        }
    }
}

#[test]
fn every_nice_level_gets_its_part_beside_nice_0_up_to_a_lag_limit() {
    for kernel in kernels::ALL {
        for nice in (-20..20).filter(|nice| *nice != 0) {
            for (got, want) in nice_pair(kernel, [nice, 0]) {
                let what = format!("{}: nice {nice} beside 0: {got} of {want}", kernel.build);
                assert!(got.abs_diff(want) <= (want / 100).max(10 * MS), "{what}");
            }
        }
    }
}

/// Running times of three groups with weights 100, 200 and 400, so many spinners each for every CPU, and what each should
/// have. `spread`: the tasks are held where they are, each group's evenly over the CPUs.
fn three_groups(kernel: &Kernel, ncpus: u32, each: u32, spread: bool) -> [(Ns, Ns); 3] {
    let weights = [100, 200, 400];
    let group = |weight: u32| GroupSpec {
        path: format!("/w{weight}"),
        settings: GroupSettings { share: Some(GroupShare::Weight(weight)), ..GroupSettings::default() },
        origin: None,
    };
    let held = |weight: u32, cpu| {
        let affinity = Some(vec![cpu]);
        spinner(
            "t",
            each,
            Attributes { group: Some(format!("/w{weight}")), affinity, ..Attributes::default() },
        )
    };
    let free = |weight: u32| {
        spinner("t", each * ncpus, Attributes { group: Some(format!("/w{weight}")), ..Attributes::default() })
    };
    let tasks = weights.into_iter().flat_map(|weight| match spread {
        true => (0..ncpus).map(|cpu| held(weight, cpu)).collect::<Vec<_>>(),
        false => vec![free(weight)],
    });
    let workload =
        Workload { tasks: tasks.collect(), groups: weights.map(group).into(), ..Workload::default() };
    let [before, after] = run(kernel, ncpus, &workload, SEC);
    [1, 2, 3].map(|i| {
        let want = 10 * SEC * u64::from(ncpus) * u64::from(weights[i - 1]) / 700;
        (after.groups[i].times.run - before.groups[i].times.run, want)
    })
}

#[test]
fn groups_get_their_shares_within_two_percent_on_1_4_and_16_cpus() {
    for kernel in kernels::ALL {
        for ncpus in [1, 4, 16] {
            for (got, want) in three_groups(kernel, ncpus, 4, true) {
                let what = format!("{} on {ncpus} CPUs: {got} of {want}", kernel.build);
                assert!(got.abs_diff(want) * 50 <= want, "{what}");
            }
        }
    }
}

#[test]
fn a_kernel_without_groups_of_the_idle_kind_refuses_them() {
    // Spec 2 §1.1: `cpu.idle` came after v4.19.
    let settings = GroupSettings { idle: Some(true), ..GroupSettings::default() };
    let groups = vec![GroupSpec { path: "/a".into(), settings, origin: None }];
    let tasks = vec![spinner("t", 1, Attributes::default())];
    let workload = Workload { tasks, groups, ..Workload::default() };
    let machine = Machine::regular(1, 1, 1, 1, false);
    let new = |kernel| Simulation::new(&machine, kernel, &workload, SimParams::default(), Silent);
    let error = new(&kernels::V4_19_0).unwrap_err().to_string();
    assert_eq!(error, "task `(groups)`: `/a` is of the idle kind, which v4.19.0 does not have");
    assert!(kernels::ALL[1..].iter().all(|kernel| new(kernel).is_ok()));
}

#[test]
fn where_the_kernel_places_the_tasks_shares_are_as_exact_as_the_balance_of_load() {
    // CPUs may differ by what balancing tolerates (117 %), and a group that has its tasks on less loaded CPUs gains.
    for kernel in kernels::ALL {
        for ncpus in [4, 16] {
            for (got, want) in three_groups(kernel, ncpus, 8, false) {
                let what = format!("{} on {ncpus} CPUs: {got} of {want}", kernel.build);
                assert!(got.abs_diff(want) * 100 <= 17 * want, "{what}");
            }
        }
    }
}

#[test]
fn without_tolerance_the_balancer_gives_groups_their_shares_within_two_percent() {
    // The same with an imbalance_pct of 100: nothing is called balanced but what is. So it is the tolerance that costs the
    // exactness, not the weights of groups, which are as stale as before.
    for kernel in kernels::ALL {
        let topology = TopologyRules { imbalance_pct_llc: 100, imbalance_pct_other: 100, ..kernel.topology };
        let exact = Kernel { topology, ..*kernel };
        for ncpus in [4, 16] {
            for (got, want) in three_groups(&exact, ncpus, 8, false) {
                let what = format!("{} on {ncpus} CPUs: {got} of {want}", kernel.build);
                assert!(got.abs_diff(want) * 50 <= want, "{what}");
            }
        }
    }
}
