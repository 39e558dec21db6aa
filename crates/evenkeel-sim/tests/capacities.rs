//! Machines whose CPUs differ: work takes longer on small CPUs, and tasks that are too big for theirs move.
mod common;

use common::workload;
use evenkeel::ids::CpuId;
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::Silent;
use evenkeel::time::{MS, SEC};
use evenkeel::topology::{Arch, Machine};
use evenkeel::workload::{Attributes, Change, SpecId, TimelineEntry};
use evenkeel_sim::{SimParams, Simulation};

/// Four CPUs of capacity 446 and four of 1024 behind one cache.
fn big_little() -> Machine {
    let mut machine = Machine::regular(1, 1, 8, 1, false);
    machine.arch = Arch::Generic;
    for cpu in &mut machine.cpus[..4] {
        cpu.capacity = 446;
    }
    machine
}

fn exact() -> SimParams {
    SimParams { fork_cost: 0, ..SimParams::default() }
}

#[test]
fn work_takes_as_long_as_the_capacity_says() {
    let workload = workload("small cpus 1: run 10ms\nbig cpus 5: run 10ms");
    let mut sim = Simulation::new(&big_little(), &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run(SEC).unwrap();
    let result = sim.result();
    let run = |name: &str| result.tasks.iter().find(|task| task.name == name).unwrap().times.run;
    assert_eq!(run("big"), 10 * MS);
    assert_eq!(run("small"), (10 * MS * 1024).div_ceil(446));
}

/// Spec 4 §12.3, spec 3 §8.4: a task that uses all of a small CPU is misfit; an idle big one pulls it although it runs.
#[test]
fn a_hog_on_a_small_cpu_moves_to_a_big_one() {
    let mut workload = workload("hog cpus 0: run 10s\nother cpus 4: run 10s");
    let attributes = Attributes { affinity: Some(Vec::new()), ..Attributes::default() };
    let change = Change::SetAttributes { task: SpecId(0), attributes };
    workload.timeline = vec![TimelineEntry { at: 200 * MS, change, origin: None }];
    let mut sim = Simulation::new(&big_little(), &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run_until(200 * MS).unwrap();
    let cpu =
        |sim: &Simulation<Silent>| sim.result().tasks.iter().find(|task| task.name == "hog").unwrap().cpu;
    assert_eq!(cpu(&sim), CpuId(0));
    sim.run_until(SEC).unwrap();
    assert!(cpu(&sim) >= CpuId(4), "{:?}", cpu(&sim));
}

/// Spec 4 §8.5: a task of utilisation about 600 does not fit a small CPU and wakes on a big one.
#[test]
fn a_task_wakes_where_it_fits() {
    let workload = workload("heavy: run 6ms; timer 10ms; forever");
    let mut sim = Simulation::new(&big_little(), &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run_until(2 * SEC).unwrap();
    let heavy = sim.result().tasks.into_iter().find(|task| task.name == "heavy").unwrap();
    assert!(heavy.cpu >= CpuId(4), "{:?}", heavy.cpu);
}
