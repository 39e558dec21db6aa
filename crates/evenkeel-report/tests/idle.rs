//! The causes of idleness are complete and agree with what the simulator measures by other means.
#![allow(missing_docs)]
use evenkeel::kernel::Kernel;
use evenkeel::kernels::V6_12_117;
use evenkeel::time::SEC;
use evenkeel_formats::machine;
use evenkeel_formats::scenario;
use evenkeel_report::explain::Facts;
use evenkeel_report::explain::idle::{IdleObserver, Report};
use evenkeel_sim::{RunResult, SimParams, Simulation, StopTick};
use std::fs;
use std::path::Path;

fn run(text: &str, name: &str, kernel: &Kernel, params: SimParams) -> (Report, RunResult) {
    let scenario = scenario::read(text, name).unwrap();
    let machine = machine::load(&scenario.machine.unwrap().text).unwrap();
    let facts = Facts::new(&machine, kernel).unwrap();
    let observer = IdleObserver::new(facts);
    let mut sim = Simulation::new(&machine, kernel, &scenario.workload, params, observer).unwrap();
    sim.run(2 * SEC).unwrap();
    let now = sim.now();
    let (observer, result) = sim.into_parts();
    (observer.finish(now), result)
}

fn check(text: &str, name: &str, params: SimParams) -> Report {
    let (report, result) = run(text, name, &V6_12_117, params);
    let idle: u64 = result.cpus.iter().map(|cpu| cpu.idle).sum();
    assert_eq!(report.idle, idle, "{name}: idle time is what the meters of the run say");
    assert_eq!(report.wasted, result.conservation.wasted, "{name}: so is the part that could have been used");
    assert_eq!(report.unattributed(), 0, "{name}: no time is without a cause");
    assert!(report.total >= report.wasted, "{name}: what could be used is part of all stretches");
    for stretch in &report.longest {
        let parts: u64 = stretch.parts.iter().map(|part| part.time).sum();
        assert_eq!(parts, stretch.end - stretch.start, "{name}: the parts of a stretch fill it");
    }
    report
}

#[test]
fn every_moment_of_the_shipped_scenarios_has_a_cause() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scenarios");
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 7);
    let mut some = 0;
    for path in names {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for stop_tick in [StopTick::AtOnce, StopTick::AfterIdleTick, StopTick::Never] {
            for seed in [1, 2] {
                let report = check(&text, &name, SimParams { seed, stop_tick, ..SimParams::default() });
                some += u64::from(report.total > 0);
            }
        }
    }
    assert!(some > 10, "work waits beside idle CPUs in most of them");
}
