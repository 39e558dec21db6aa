//! Balancing decisions against those of real kernels (`tests/data/decisions/README.md`).
#![allow(missing_docs)]
use evenkeel::balance::rules::*;
use evenkeel_formats::conform::decisions::Inferred::{
    DestinationChanged, Enqueueing, ImbalanceFlag, Ineligible, QueueChanged, StaleLoad, Switching,
    TaskEstimate,
};
use evenkeel_formats::conform::decisions::{Inferred, Report, compare};
use evenkeel_formats::recording::decisions::LbRecord;
use evenkeel_formats::recording::{self, DomainsRecording, decisions};
use std::path::{Path, PathBuf};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn report_with(series: &str, topology: &str, change: impl Fn(&mut LbRecord)) -> Report {
    let machine = data().join("domains").join(series).join(topology).join("sched.json.gz");
    let machine = recording::read(&machine).unwrap();
    let records = data().join("decisions").join(series).join(topology).join("lb.jsonl.gz");
    let mut records = decisions::read_lb(&records).unwrap();
    records.iter_mut().for_each(change);
    compare(&machine, machine.kernel, &records).unwrap()
}

fn report(series: &str, topology: &str) -> Report {
    report_with(series, topology, |_| {})
}

#[test]
fn passes_on_4_cores_of_2_threads_are_those_of_6_12_117() {
    let report = report("6.12", "c4t2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (1469, 965));
    // What a record does not hold had to be inferred in a few searches only.
    assert!(report.inferred.values().sum::<u64>() <= 14, "{report}");
}

#[test]
fn passes_on_2_nodes_are_those_of_6_12_117() {
    let report = report("6.12", "s2c2t2n2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (1735, 1089));
    let inferred = |what| report.inferred.get(&what).copied().unwrap_or(0);
    assert!(inferred(Switching) <= 73, "{report}");
    assert!(inferred(QueueChanged) <= 11, "{report}");
}

#[test]
fn passes_on_4_cores_of_2_threads_are_those_of_6_18_15() {
    let report = report("6.18", "c4t2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (1403, 1131));
    infers_at_most(
        &report,
        &[
            (Switching, 12),
            (Enqueueing, 1),
            (ImbalanceFlag, 3),
            (QueueChanged, 6),
            (StaleLoad, 3),
            (Ineligible, 8),
        ],
    );
}

#[test]
fn passes_on_2_nodes_are_those_of_6_18_15() {
    let report = report("6.18", "s2c2t2n2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (938, 746));
    infers_at_most(&report, &[(Switching, 44), (ImbalanceFlag, 6), (QueueChanged, 1), (StaleLoad, 2)]);
}

#[test]
fn passes_on_4_cores_of_2_threads_are_those_of_7_2_13() {
    let report = report("7.2", "c4t2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (1072, 840));
    infers_at_most(&report, &[(Switching, 11), (DestinationChanged, 1), (QueueChanged, 11), (Ineligible, 7)]);
}

#[test]
fn passes_on_2_nodes_are_those_of_7_2_13() {
    let report = report("7.2", "s2c2t2n2");
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.total().exact, report.tasks), (1452, 807));
    infers_at_most(
        &report,
        &[
            (Switching, 47),
            (ImbalanceFlag, 5),
            (QueueChanged, 10),
            (StaleLoad, 1),
            (TaskEstimate, 2),
            (Ineligible, 6),
        ],
    );
}

/// What a record does not hold had to be inferred in so many searches, and nothing else.
fn infers_at_most(report: &Report, bounds: &[(Inferred, u64)]) {
    for (what, count) in &report.inferred {
        let bound = bounds.iter().find(|(known, _)| known == what).map_or(0, |(_, bound)| *bound);
        assert!(*count <= bound, "{what:?}: {report}");
    }
}

/// The records tell the kernels apart: with the rules of its neighbour each has searches that differ.
#[test]
fn the_rules_of_another_kernel_do_not_explain_the_records() {
    let differing = |series: &str, topology: &str, kernel: &str| {
        let machine = data().join("domains").join(series).join(topology).join("sched.json.gz");
        let machine = recording::read(&machine).unwrap();
        let path = data().join("decisions").join(series).join(topology).join("lb.jsonl.gz");
        let kernel = evenkeel::kernels::find(kernel).unwrap();
        let kernel = evenkeel::kernel::Kernel { topology: machine.kernel.topology, ..*kernel };
        compare(&machine, &kernel, &decisions::read_lb(&path).unwrap()).unwrap().total().differing
    };
    assert_eq!(differing("6.18", "c4t2", "v6.18"), 0);
    for (series, topology, kernel) in
        [("6.18", "c4t2", "v6.12"), ("6.12", "c4t2", "v6.18"), ("7.2", "s2c2t2n2", "v6.12")]
    {
        let wrong = differing(series, topology, kernel);
        assert!(wrong > 0, "{series} {topology} with {kernel}");
    }
    for kernel in ["v6.1", "v5.15"] {
        assert!(differing("6.12", "c4t2", kernel) > 100, "{kernel}");
    }
}

/// One rule of a kernel replaced by another kernel's: its name, and the change.
type Flip = (&'static str, fn(&mut BalanceRules));

/// Rules that the recorded passes went by: with each of them changed, some differ. What was inferred does not hide it.
#[rustfmt::skip]
const SEEN: &[Flip] = &[
    ("comparison", |b| b.comparison = Comparison::Classic),
    ("fair_tasks", |b| b.fair_tasks = match b.fair_tasks { FairTasks::Queued => FairTasks::Runnable, FairTasks::Runnable => FairTasks::Queued }),
    ("preemption", |b| b.preemption = false),
    ("pass.turn", |b| b.pass.turn = TurnOrder::IdleCpu),
    ("tasks.active", |b| b.tasks.active = ActiveRule::Classic),
    ("groups.smt_balance", |b| b.groups.smt_balance = false),
    ("groups.prefer_sibling", |b| b.groups.prefer_sibling = PreferSibling::Child),
    ("choice.same_class", |b| b.choice.same_class = SameClass::LoadThenIdle),
    ("choice.sibling_imbalance", |b| b.choice.sibling_imbalance = SiblingImbalance::Tasks),
    ("choice.numa_tolerance", |b| b.choice.numa_tolerance = NumaTolerance::QuarterOfBusiest),
    ("choice.stops_at_average", |b| b.choice.stops_at_average = false),
    ("choice.boosts_utilisation", |b| b.choice.boosts_utilisation = false),
    ("tasks.size", |b| b.tasks.size = TaskSize::HalfLoad),
];

/// Rules that make no difference on these machines: all CPUs are equal, none is preferred, nothing takes capacity.
#[rustfmt::skip]
const UNSEEN: &[Flip] = &[
    ("groups.reduced_is_misfit", |b| b.groups.reduced_is_misfit = false),
    ("groups.asym_packing", |b| b.groups.asym_packing = GroupAsymPacking::AnyGroup),
    ("choice.misfit", |b| b.choice.misfit = MisfitCandidates::SmallerCpus),
    ("choice.bigger_cpus", |b| b.choice.bigger_cpus = BiggerCpus::Last),
    ("choice.energy_first", |b| b.choice.energy_first = true),
    ("choice.misfit_amount", |b| b.choice.misfit_amount = MisfitAmount::OneTask),
    ("choice.preferred_source", |b| b.choice.preferred_source = PreferredSource::Taken),
    ("pass.stand_ins", |b| b.pass.stand_ins = StandIns::GroupSpan),
];

const FILES: [(&str, &str); 6] = [
    ("6.12", "c4t2"),
    ("6.12", "s2c2t2n2"),
    ("6.18", "c4t2"),
    ("6.18", "s2c2t2n2"),
    ("7.2", "c4t2"),
    ("7.2", "s2c2t2n2"),
];

#[test]
fn a_rule_that_is_wrong_is_noticed() {
    let files = FILES.map(|(series, topology)| {
        let machine = data().join("domains").join(series).join(topology).join("sched.json.gz");
        let records = data().join("decisions").join(series).join(topology).join("lb.jsonl.gz");
        (recording::read(&machine).unwrap(), decisions::read_lb(&records).unwrap())
    });
    let differing = |flip: fn(&mut BalanceRules)| -> u64 {
        let one = |(machine, records): &(DomainsRecording, Vec<LbRecord>)| {
            let mut kernel = *machine.kernel;
            flip(&mut kernel.balance);
            compare(machine, &kernel, records).unwrap().total().differing
        };
        files.iter().map(one).sum()
    };
    for (name, flip) in SEEN {
        assert!(differing(*flip) > 0, "{name} could be wrong");
    }
    for (name, flip) in UNSEEN {
        assert_eq!(differing(*flip), 0, "{name} is seen after all: move it to the others");
    }
}

/// A comparison that cannot fail proves nothing.
#[test]
fn changed_records_are_noticed() {
    let fields = |report: &Report| -> Vec<String> {
        let mut fields: Vec<String> =
            report.differences.iter().map(|difference| difference.field.clone()).collect();
        fields.dedup();
        fields
    };
    let first = |record: &mut LbRecord, change: fn(&mut decisions::Attempt)| {
        record.attempts.iter_mut().for_each(change);
    };
    let load = report_with("6.12", "c4t2", |record| first(record, |attempt| attempt.rq[0].2 += 1));
    assert!(fields(&load).contains(&String::from("total_load")), "{:?}", fields(&load));
    assert!(load.total().exact < 1000);
    let imbalance = report_with("6.12", "c4t2", |record| {
        first(record, |attempt| attempt.out.imbalance += i64::from(attempt.out.group.is_some()));
    });
    let with_group = imbalance.total().differing;
    assert_eq!(with_group, 319, "every search that found a group");
    let task = report_with("6.12", "c4t2", |record| {
        first(record, |attempt| attempt.scan.truncate(attempt.scan.len().saturating_sub(1)));
    });
    assert!(fields(&task).iter().any(|field| field == "tasks looked at"), "{task}");
    let detached = report_with("6.12", "c4t2", |record| {
        first(record, |attempt| attempt.scan.iter_mut().for_each(|task| task.detached ^= 1 & task.can));
    });
    assert!(detached.total().differing > 100);
}

#[test]
fn errors_show_the_line() {
    let error = decisions::parse_lb("\n{\"type\":\"lb\",\"wl\":3}\n", "x.jsonl").unwrap_err().to_string();
    let expected = "x.jsonl:2:19: expected a record of kind lb: invalid type: integer `3`, expected a string\n  \
                    {\"type\":\"lb\",\"wl\":3}";
    assert_eq!(error, expected);
}

/// Whatever a file says, it is an answer or an error, not a panic.
#[test]
fn absurd_records_are_refused_or_differ() {
    let path = data().join("decisions/6.12/c4t2/lb.jsonl.gz");
    let mut text = String::new();
    let mut file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    let line = text.lines().find(|line| line.contains("\"detached\":1")).unwrap();
    let machine = recording::read(&data().join("domains/6.12/c4t2/sched.json.gz")).unwrap();
    for value in ["0", "1", "2147483648", "18446744073709551615", "-1", "-9223372036854775808"] {
        // Every number of the record in turn.
        let mut from = 0;
        while let Some(start) = line[from..].find(|c: char| c.is_ascii_digit()).map(|at| from + at) {
            let end = line[start..].find(|c: char| !c.is_ascii_digit()).map_or(line.len(), |at| start + at);
            let changed = format!("{}{value}{}", &line[..start], &line[end..]);
            if let Ok(records) = decisions::parse_lb(&changed, "x.jsonl") {
                for kernel in [machine.kernel, &evenkeel::kernels::V4_19_0, &evenkeel::kernels::V5_15_0] {
                    compare(&machine, kernel, &records).unwrap();
                }
            }
            from = end;
        }
    }
}

#[test]
fn masks_are_read_in_both_notations() {
    let list = |text, ncpus| decisions::parse_mask(text, ncpus).map(|mask| mask.to_string());
    assert_eq!(list("0xf0", 8).as_deref(), Some("4-7"));
    assert_eq!(list("3,80000001", 40).as_deref(), Some("0,31-33"));
    assert_eq!(list("0x100", 8), None);
    assert_eq!(list("0xg", 8), None);
}
