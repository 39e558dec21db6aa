//! Recorded runs against simulated ones. The recordings lie in `tests/data/traces`; their README says where they are from.
use evenkeel::kernels;
use evenkeel::time::{MS, US};
use evenkeel_formats::conform::traces::{TraceSet, read_meta};
use evenkeel_formats::conform::workload::WorkloadSpec;
use evenkeel_report::conform::traces::background::Rhythm;
use evenkeel_report::conform::traces::machine::{Conditions, of_topology};
use evenkeel_report::conform::traces::measure::{Measures, measure};
use evenkeel_report::conform::traces::{Outcome, Report, SEEDS, compare_set, simulate, window};
use std::path::Path;

fn set(place: &str) -> TraceSet {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces");
    read_meta(&root.join(place).join("meta.json")).unwrap_or_else(|error| panic!("{error}"))
}

fn measured(set: &TraceSet, name: &str) -> Measures {
    let run = set.runs.iter().find(|run| run.name == name).unwrap_or_else(|| panic!("{name}"));
    let records = run.read_trace().unwrap().records;
    measure(&records, 8, window(run, &records))
}

fn conditions(set: &TraceSet) -> Conditions {
    let logs: Vec<_> = set.runs.iter().map(|run| run.read_trace().unwrap()).collect();
    Conditions::of_boot(|| set.runs.iter().zip(logs.iter().map(|log| log.records.as_slice())), 8)
}

/// `expected` within `tolerance`, both absolute.
#[track_caller]
fn near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} is not within {tolerance} of {expected}");
}

/// The recordings of 6.1 were measured by their makers as well, with a program of their own: these are its figures
/// (migrations, switches, idle %, idle while overloaded %, first moment without in ms, spread of running times).
#[test]
fn recordings_measure_as_their_makers_measured_them() {
    let set = set("6.1/c4t2");
    let published = [
        ("skew16_0", 25, 381.0, 0.15, 0.09, 0.0, 0.21),
        ("skew16_1", 34, 360.0, 2.2, 2.2, 26.0, 0.40),
        ("fork12_0", 19, 202.0, 0.26, 0.03, 0.0, 0.09),
        ("pinmix_0", 12, 212.0, 12.3, 12.3, 0.0, 0.46),
        ("duty_0", 16, 1430.0, 35.0, 0.0, 0.0, 0.59),
    ];
    for (name, migrations, switches, idle, overloaded_idle, first, spread) in published {
        let measures = measured(&set, name);
        assert_eq!(measures.migrations, migrations, "{name}");
        near((measures.switches + measures.disturbances) as f64, switches, switches * 0.01 + 1.0);
        near(measures.idle, idle, 0.15);
        near(measures.overloaded_idle, overloaded_idle, 0.06);
        near(measures.conserved_after.unwrap() as f64 / 1e6, first, 0.5);
        near(measures.spread, spread, 0.01);
    }
}

#[test]
fn traces_tell_the_conditions_of_their_boot() {
    let of = |place: &str| conditions(&set(place));
    assert!(of("6.12/c4t2").decisions_recorded);
    assert!(of("6.12/s2c2t2n2").decisions_recorded);
    assert!(!of("6.1/c4t2").decisions_recorded);
    // First delays of ticks by eye: 0.375 - 0.009, 0.255 - 0.009, 0.20 - 0.009 ms, an eighth of the phase.
    let phase = |place: &str| of(place).device_phase.unwrap() as f64 / 1e6;
    near(phase("6.12/c4t2"), 8.0 * 0.366, 0.1);
    near(phase("6.12/s2c2t2n2"), 8.0 * 0.246, 0.1);
    near(phase("6.1/c4t2"), 8.0 * 0.19, 0.1);
}

/// What does not conform; the output names the cause.
const KNOWN: [(&str, &str); 4] = [
    ("6.12.117+deb12-amd64 c4t2 pingpong", "context switches"),
    ("6.12.117+deb12-amd64 c4t2 pingpong", "idle, %"),
    ("6.12.117+deb12-amd64 s2c2t2n2 pingpong", "context switches"),
    ("6.12.117+deb12-amd64 s2c2t2n2 pingpong", "idle, %"),
];

#[test]
fn simulated_runs_conform_with_those_of_6_12() {
    let mut report = Report::default();
    for place in ["6.12/c4t2", "6.12/s2c2t2n2"] {
        report.results.extend(compare_set(&set(place), None, SEEDS).unwrap());
    }
    assert_eq!(report.results.len(), 14);
    let mut outside = Vec::new();
    for result in &report.results {
        let Outcome::Compared(comparisons) = &result.outcome else { panic!("{}: not compared", result.name) };
        let misses = comparisons
            .iter()
            .filter(|c| c.bounds.is_some_and(|(low, high)| c.median < low || c.median > high));
        for comparison in misses {
            assert!(comparison.cause.is_some(), "{}: {comparison} names no cause", result.name);
            outside.push((result.name.as_str(), comparison.measure.as_str()));
        }
        let silent = comparisons.iter().find(|c| c.bounds.is_none() && c.reason.is_none());
        assert!(silent.is_none(), "{}: {silent:?} is not judged for no reason", result.name);
    }
    assert_eq!(outside, KNOWN, "{report}");
}

/// An ensemble of shorter runs of 6.12.117 on `c4t2`, of which only the measures were published: five members of each of
/// the first two, three of the others; events were recorded, decisions were not. Rule as for traces: our medians within
/// the range of the members widened by a quarter, switches by a tenth; the phase of the machine's timer is not known.
#[test]
fn simulated_runs_conform_with_a_published_ensemble_of_6_12() {
    let kernel = kernels::find("v6.12").unwrap();
    let machine = of_topology("c4t2").unwrap();
    let conditions = Conditions::default();
    let seeds: Vec<u64> = (1..=20).collect();
    // Spec, switches, migrations, idle %, first moment without idle while overloaded in ms.
    let members = [
        ("n=16,t=spin,pin=0,name=sk dur=1000 rel=200", (993, 1200), (14, 38), (0.04, 3.3), (0, 37)),
        ("n=12,t=spin,name=fk dur=700", (547, 573), (17, 21), (0.05, 0.23), (0, 0)),
        ("n=4,t=spin,aff=0,name=pa+n=8,t=spin,name=pb dur=700", (455, 469), (7, 9), (12.5, 12.6), (0, 700)),
    ];
    for (spec, switches, migrations, idle, first) in members {
        let spec = WorkloadSpec::parse(spec).unwrap();
        let runs = simulate::ensemble(&machine, kernel, "w", &spec, &conditions, None, &seeds).unwrap();
        let runs: Vec<Measures> = runs.into_iter().map(|(measures, _)| measures).collect();
        let median = |value: &dyn Fn(&Measures) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            (values[9] + values[10]) / 2.0
        };
        let within = |what: &str, value: f64, (low, high): (f64, f64), share: f64, least: f64| {
            let (low, high) = (low - (low * share).max(least), high + (high * share).max(least));
            assert!((low..=high).contains(&value), "{spec:?}: {what} {value} is outside {low}..{high}");
        };
        let whole = |(low, high): (i32, i32)| (f64::from(low), f64::from(high));
        within("switches", median(&|m| m.switches as f64), whole(switches), 0.1, 0.0);
        within("migrations", median(&|m| m.migrations as f64), whole(migrations), 0.25, 0.0);
        within("idle", median(&|m| m.idle), idle, 0.25, 0.5);
        let first_ms = |m: &Measures| m.conserved_after.unwrap_or(m.length) as f64 / 1e6;
        within("first moment", median(&first_ms), whole(first), 0.25, 0.5);
    }
}

/// Counted by eye in the traces: under 6.1 the thread of grace periods runs 10 and 5 times in the 100 ms after the release of
/// `skew16`, under 6.12 never; the compaction of a node runs every half second under both.
#[test]
fn recordings_tell_which_threads_ran_beside_the_workload() {
    let threads = |place: &str| conditions(&set(place)).threads;
    let rhythm = |place: &str, name: &str| {
        threads(place).into_iter().find(|thread| thread.name == name).map(|thread| thread.rhythm)
    };
    let Some(Rhythm::AfterRelease(times)) = rhythm("6.1/c4t2", "rcu_preempt") else {
        panic!("no grace periods")
    };
    assert!((5..=8).contains(&times), "{times}");
    assert_eq!(rhythm("6.12/c4t2", "rcu_preempt"), None);
    for place in ["6.1/c4t2", "6.12/c4t2"] {
        let Some(Rhythm::Anywhere(period)) = rhythm(place, "kcompactd0") else { panic!("no compaction") };
        near(period as f64 / 1e6, 512.0, 60.0);
        let Some(Rhythm::EachCpu(period)) = rhythm(place, "kworker/") else { panic!("no workers") };
        assert!((500 * MS..1500 * MS).contains(&period), "{period}");
    }
}

/// A trace that was cut when the recording was full is measured up to its end, not to that of the run.
#[test]
fn a_truncated_trace_is_measured_to_its_end() {
    let set = set("6.12/c4t2");
    let mut run = set.runs.iter().find(|run| run.name == "pingpong").unwrap().clone();
    let mut records = run.read_trace().unwrap().records;
    records.truncate(3000);
    let last = records.last().unwrap().at;
    assert_eq!(window(&run, &records).until, run.end);
    run.truncated = true;
    let window = window(&run, &records);
    assert_eq!((window.until, window.look), (last, last));
    assert!(measure(&records, 8, window).length < run.end - run.start);
}

/// How much the counters of `skew16` under 6.12 grew from the release on, counted with another program; and ours count the passes
/// of busy CPUs, which follow from the number of ticks, within a quarter of that.
#[test]
fn counters_of_balancing_are_compared() {
    let set = set("6.12/c4t2");
    let run = set.runs.iter().find(|run| run.name == "skew16").unwrap();
    let recorded = run.read_counters().unwrap().unwrap();
    let fork12 = set.runs.iter().find(|run| run.name == "fork12").unwrap();
    assert_eq!(fork12.read_counters().unwrap(), None, "not part of these recordings");
    let kernel = kernels::find("v6.12").unwrap();
    let machine = of_topology("c4t2").unwrap();
    let ours = simulate::run(&machine, kernel, "skew16", &run.spec, &conditions(&set), None, 1).unwrap();
    assert_eq!(
        recorded.levels.iter().map(|level| level.passes).collect::<Vec<_>>(),
        [[148, 359, 1], [34, 49, 0]]
    );
    assert_eq!(recorded.levels.iter().map(|level| level.pushes).collect::<Vec<_>>(), [0, 0]);
    assert_eq!((recorded.wakeups, recorded.local_wakeups), (15, 13));
    assert_eq!(ours.counters.levels.len(), 2);
    near(ours.counters.levels[0].passes[0] as f64, 148.0, 37.0);
}

#[test]
fn the_same_seeds_give_the_same_runs() {
    let kernel = kernels::find("v6.12").unwrap();
    let machine = of_topology("s2c2t2n2").unwrap();
    let conditions =
        Conditions { device_phase: Some(1960 * US), decisions_recorded: true, ..Conditions::default() };
    let spec = WorkloadSpec::parse("n=6,t=pp,run=200,name=pp+n=3,t=spin,name=ps dur=100").unwrap();
    let run = |seed| simulate::run(&machine, kernel, "w", &spec, &conditions, None, seed).unwrap();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).records, run(2).records);
    assert!(run(1).records.last().unwrap().at <= (96 + 20 + 100) * MS);
}

#[test]
fn kernels_that_cannot_run_yet_are_said_to_be_so() {
    let mut kernel = *kernels::find("v6.1").unwrap();
    kernel.runs = false;
    let results = compare_set(&set("6.1/c4t2"), Some(&kernel), 1).unwrap();
    assert_eq!(results.len(), 4, "members of an ensemble are one workload");
    assert!(results.iter().all(|result| matches!(result.outcome, Outcome::NotModelledYet)));
    let report = Report { results };
    assert_eq!(report.summary(), "0 of 0 judged measures conform; 4 workloads not compared");
    assert_eq!(report.to_string().lines().next().unwrap(), "6.1.0-52-amd64 c4t2 skew16: not modelled yet");
}
