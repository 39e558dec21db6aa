//! The causes of idleness are complete, agree with what is measured by other means, and say "nobody looked" only where that
//! can be.
#![allow(missing_docs)]
mod common;

use common::{Recount, examples, random_scenario};
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::kernels::{self, V6_12_117};
use evenkeel::time::{MS, Ns, SEC, US, tick_ns};
use evenkeel::topology::Machine;
use evenkeel::workload::Workload;
use evenkeel_formats::{machine, scenario};
use evenkeel_report::explain::Facts;
use evenkeel_report::explain::idle::{Cause, IdleObserver, Report};
use evenkeel_sim::{SimParams, Simulation, StopTick};
use proptest::prelude::*;

/// The report of a run, checked against the meters of the run and against a recount.
fn check(name: &str, machine: &Machine, kernel: &Kernel, workload: &Workload, params: SimParams) -> Report {
    let facts = Facts::new(machine, kernel).unwrap();
    let observer = (IdleObserver::new(facts), Recount::new(machine.nr_cpus()));
    let mut sim = Simulation::new(machine, kernel, workload, params, observer)
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", kernel.build));
    sim.run(2 * SEC).unwrap();
    let now = sim.now();
    let ((observer, recount), result) = sim.into_parts();
    let report = observer.finish(now);
    let name = format!("{name} on {}", kernel.build);
    let idle: u64 = result.cpus.iter().map(|cpu| cpu.idle).sum();
    assert_eq!(report.idle, idle, "{name}: idle time is what the meters of the run say");
    assert_eq!(report.wasted, result.conservation.wasted, "{name}: so is the part that could have been used");
    let (total, by_cpu, beside_stopped) = recount.finish(now);
    assert_eq!(report.stopped, beside_stopped, "{name}: idle time beside stopped tasks");
    assert_eq!(report.total, total, "{name}: so is idle time while a task waited");
    assert_eq!(report.by_cpu, by_cpu, "{name}: on each CPU");
    let caused: u64 = report.causes.iter().map(|(_, share)| share.time).sum();
    assert_eq!(caused, total, "{name}: no time is without a cause");
    assert_eq!(report.unattributed(), 0, "{name}: and the report says so");
    for stretch in &report.longest {
        let parts: u64 = stretch.parts.iter().map(|part| part.time).sum();
        assert_eq!(parts, stretch.end - stretch.start, "{name}: the parts of a stretch fill it");
    }
    check_nobody_looked(&name, &report, kernel, params);
    report
}

/// "Nobody had looked yet" is not a lumber-room: while a task waits its CPU is busy, so that it ticks, and its tick decides
/// about the tickless CPUs; and an idle CPU that ticks looks at its own tick. Either comes within one tick.
fn check_nobody_looked(name: &str, report: &Report, kernel: &Kernel, params: SimParams) {
    let most: Ns = tick_ns(kernel.hz) + params.tick_jitter + 20 * US;
    for (cause, share) in &report.causes {
        if matches!(cause, Cause::TickNotYet | Cause::NoTickElsewhere) {
            assert!(share.longest <= most, "{name}: {cause:?} for {} ns", share.longest);
        }
    }
}

#[test]
fn every_moment_of_the_examples_has_a_cause_under_every_kernel() {
    let mut some = 0;
    for example in examples() {
        for kernel in kernels::ALL.iter().filter(|kernel| kernel.runs) {
            for stop_tick in [StopTick::AtOnce, StopTick::AfterIdleTick, StopTick::Never] {
                let params = SimParams { seed: 1, stop_tick, background: true, ..SimParams::default() };
                let report = check(&example.name, &example.machine, kernel, &example.workload, params);
                some += u64::from(report.total > 0);
            }
        }
    }
    assert!(some > 200, "work waits beside idle CPUs in most of them, not only in {some}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_moment_of_a_random_workload_has_a_cause(
        text in random_scenario(),
        kernel in prop::sample::select(&kernels::ALL[..]),
        stop_tick in prop::sample::select(vec![StopTick::AtOnce, StopTick::AfterIdleTick, StopTick::Never]),
        seed in any::<u64>(),
        tick_jitter in prop::sample::select(vec![0, MS]),
    ) {
        let scenario = scenario::read(&text, "random.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let machine = machine::load(&scenario.machine.unwrap().text).unwrap();
        let params = SimParams { seed, stop_tick, tick_jitter, ..SimParams::default() };
        check(&text, &machine, kernel, &scenario.workload, params);
    }
}

/// A CPU that is isolated from balancing: nobody looks for it, ever, and that is the cause.
#[test]
fn what_no_domain_spans_is_out_of_reach() {
    let text = "machine = \"2 cores\"\nduration = \"50ms\"\n[[task]]\nname = \"spin\"\ncount = 3\n\
                affinity = \"0-1\"\nrun = \"forever\"\n";
    let scenario = scenario::read(text, "s.toml").unwrap();
    let mut machine = machine::load("2 cores").unwrap();
    machine.isolated.set(CpuId(1));
    let report = check("isolated", &machine, &V6_12_117, &scenario.workload, SimParams::default());
    assert_eq!(report.causes[0].0, Cause::OutOfReach);
    assert!(report.causes[0].1.time > 45 * MS);
}
