//! The report of a run on results that were made by hand.
#![allow(missing_docs)]
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::kernels;
use evenkeel::time::{MS, US};
use evenkeel::topology::{Domains, Machine};
use evenkeel::workload::{SpecId, TaskSpec, Workload};
use evenkeel_report::Page;
use evenkeel_report::changes::Change;
use evenkeel_report::summary::{Facts, Override, RunReport, Spread, text};
use evenkeel_sim::RunResult;
use evenkeel_sim::metrics::conservation::Violation;
use evenkeel_sim::metrics::{Conservation, CpuTimes, Migrations, TaskResult, TaskTimes};
use expect_test::{Expect, expect};

fn task(id: u32, name: &str, spec: u32, run_ms: u64) -> TaskResult {
    let mut times = TaskTimes { run: run_ms * MS, wait: (100 - run_ms) * MS, ..TaskTimes::default() };
    times.involuntary_switches = 1_000 * u64::from(id);
    times.wake_latency.record(50 * US);
    let migrations = Migrations { wakeup: id, balance: 2, ..Migrations::default() };
    let (id, cpu) = (TaskId(id), CpuId(id % 2));
    TaskResult { id, name: name.into(), spec: Some(SpecId(spec)), launcher: false, cpu, times, migrations }
}

fn violation(at: u64) -> Violation {
    let (idle_cpu, busy_cpu, task) = (CpuId(1), CpuId(0), TaskId(2));
    Violation { at, idle_cpu, busy_cpu, task, idle_cpus: 1, busy_cpus: 1 }
}

/// Three tasks of two definitions on as many CPUs as asked for, of which the first is busy half the time.
fn report(cpus: u32) -> RunReport {
    let spec = |name: &str| TaskSpec { name: name.into(), ..TaskSpec::default() };
    let workload = Workload {
        name: "by hand".into(),
        tasks: vec![spec("worker"), spec("never started"), spec("other")],
        ..Workload::default()
    };
    let machine = Machine::regular(2, 1, cpus / 4, 2, true);
    let kernel = kernels::DEFAULT;
    let mut domains = Domains::build(&machine, kernel, 0).unwrap();
    let base = domains.chain(CpuId(0)).next().unwrap();
    let stats = &mut domains.domains[base.index()].stats;
    (stats.lb[0].count, stats.lb[0].balanced, stats.lb[0].gained) = (12_345, 12_000, 7);
    (stats.lb[2].count, stats.lb[2].failed) = (3, 1);
    (stats.alb_count, stats.alb_failed, stats.alb_pushed) = (5, 1, 4);
    let mut cpu_times = vec![CpuTimes { idle: 100 * MS, ..CpuTimes::default() }; cpus as usize];
    cpu_times[0] = CpuTimes { busy: 50 * MS, idle: 50 * MS, switches: 1_234, ..CpuTimes::default() };
    let conservation = Conservation {
        wasted: 30 * MS,
        violated: 25 * MS,
        looks: 8,
        violations: (0..7).map(|second| violation(second * 1_000 * MS)).collect(),
    };
    let result = RunResult {
        elapsed: 100 * MS,
        events: 1_234_567,
        tasks: vec![task(0, "worker-0", 0, 10), task(1, "worker-1", 0, 30), task(2, "other", 2, 20)],
        cpus: cpu_times,
        groups: Vec::new(),
        conservation,
    };
    let settings = [Override { key: "cost".into(), value: "zero".into() }];
    let changes = [Change {
        at_ns: 60 * MS,
        what: "affinity".into(),
        of: vec!["worker-0".into(), "worker-1".into(), "other".into()],
        before: Some("0".into()),
        after: "0-7".into(),
    }];
    let facts = Facts {
        workload: &workload,
        machine: &machine,
        machine_description: "two sockets, so to speak",
        kernel,
        settings: &settings,
        seed: 7,
        changes: &changes,
        digest: Some("00ff"),
    };
    RunReport::new(facts, &result, &domains)
}

fn check(cpus: u32, width: usize, tasks: text::Tasks, expected: Expect) {
    let text = text::render(&report(cpus), Page::plain(width), tasks);
    expected.assert_eq(&text);
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert!(too_long.is_none(), "longer than {width}: {too_long:?}");
}

#[test]
fn a_page_for_people() {
    check(
        8,
        100,
        text::Tasks::Folded,
        expect![[r#"
            by hand
              machine   regular: two sockets, so to speak
              kernel    v6.12.117
              settings  cost=zero
              run       3 tasks for 100ms; seed 7; 1,234,567 events
              changes   at 60 ms: affinity of 3 tasks, worker-0 to other: 0 -> 0-7

                            -------- run ---------  -- median ---                        -- wake-up latency ---
            task    number     min  median     max    wait  sleep  switches  migrations     p50     p99     max
            worker       2  10.0ms  10.0ms  30.0ms  70.0ms      0     1,000           5  50.0us  50.0us  50.0us
            other        1  20.0ms  20.0ms  20.0ms  80.0ms      0     2,000           4  50.0us  50.0us  50.0us

                                          --- balancing passes ---
            CPU   busy    idle  switches    busy  idle  newly idle
            0    50.0%   50.0%     1,234  12,345     0           3
            1     0.0%  100.0%         0       0     0           0
            2     0.0%  100.0%         0       0     0           0
            3     0.0%  100.0%         0       0     0           0
            4     0.0%  100.0%         0       0     0           0
            5     0.0%  100.0%         0       0     0           0
            6     0.0%  100.0%         0       0     0           0
            7     0.0%  100.0%         0       0     0           0

            level  when        passes  balanced  failed  pulled  cache-hot
            SMT    busy        12,345    12,000       0       7          0
                   idle             0         0       0       0          0
                   newly idle       3         0       1       0          0
                   active           5         -       1       4
            MC     busy             0         0       0       0          0
                   idle             0         0       0       0          0
                   newly idle       0         0       0       0          0
            NUMA   busy             0         0       0       0          0
                   idle             0         0       0       0          0
                   newly idle       0         0       0       0          0

            work conservation
              idle while a task waited elsewhere: 30.0ms of CPU time (3.8% of all), during 25.0% of the run
              longer than 100ms: 7 of 8 looks
                at 0s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 1s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 2s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 3s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 4s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                and 2 more

            digest 00ff
        "#]],
    );
}

#[test]
fn a_narrow_page_with_all_tasks() {
    check(
        8,
        44,
        text::Tasks::All,
        expect![[r#"
            by hand
              machine   regular: two sockets, so to
                        speak
              kernel    v6.12.117
              settings  cost=zero
              run       3 tasks for 100ms; seed 7;
                        1,234,567 events
              changes   at 60 ms: affinity of 3 tasks,
                        worker-0 to other: 0 -> 0-7

                                      wake-up latency
            task         run    wait              max
            worker-0  10.0ms  90.0ms           50.0us
            worker-1  30.0ms  70.0ms           50.0us
            other     20.0ms  80.0ms           50.0us
            (no room for: cpu, sleep, switches,
            migrations, wake-up latency p50, wake-up
            latency p99)

                                --- balancing passes ---
            CPU   busy    idle    busy  idle  newly idle
            0    50.0%   50.0%  12,345     0           3
            1     0.0%  100.0%       0     0           0
            2     0.0%  100.0%       0     0           0
            3     0.0%  100.0%       0     0           0
            4     0.0%  100.0%       0     0           0
            5     0.0%  100.0%       0     0           0
            6     0.0%  100.0%       0     0           0
            7     0.0%  100.0%       0     0           0
            (no room for: switches)

            level  when        passes  failed  pulled
            SMT    busy        12,345       0       7
                   idle             0       0       0
                   newly idle       3       1       0
                   active           5       1       4
            MC     busy             0       0       0
                   idle             0       0       0
                   newly idle       0       0       0
            NUMA   busy             0       0       0
                   idle             0       0       0
                   newly idle       0       0       0
            (no room for: balanced, cache-hot)

            work conservation
              idle while a task waited elsewhere: 30.0ms
                of CPU time (3.8% of all), during 25.0%
                of the run
              longer than 100ms: 7 of 8 looks
                at 0s: CPU 1 idle (1 in all) while other
                  waited on CPU 0 (1 with waiting tasks
                  in all)
                at 1s: CPU 1 idle (1 in all) while other
                  waited on CPU 0 (1 with waiting tasks
                  in all)
                at 2s: CPU 1 idle (1 in all) while other
                  waited on CPU 0 (1 with waiting tasks
                  in all)
                at 3s: CPU 1 idle (1 in all) while other
                  waited on CPU 0 (1 with waiting tasks
                  in all)
                at 4s: CPU 1 idle (1 in all) while other
                  waited on CPU 0 (1 with waiting tasks
                  in all)
                and 2 more

            digest 00ff
        "#]],
    );
}

#[test]
fn many_cpus_are_folded_by_cache() {
    check(
        40,
        100,
        text::Tasks::Folded,
        expect![[r#"
            by hand
              machine   regular: two sockets, so to speak
              kernel    v6.12.117
              settings  cost=zero
              run       3 tasks for 100ms; seed 7; 1,234,567 events
              changes   at 60 ms: affinity of 3 tasks, worker-0 to other: 0 -> 0-7

                            -------- run ---------  -- median ---                        -- wake-up latency ---
            task    number     min  median     max    wait  sleep  switches  migrations     p50     p99     max
            worker       2  10.0ms  10.0ms  30.0ms  70.0ms      0     1,000           5  50.0us  50.0us  50.0us
            other        1  20.0ms  20.0ms  20.0ms  80.0ms      0     2,000           4  50.0us  50.0us  50.0us

                            ------ busy -------            --- balancing passes ---
            CPUs of an LLC   min  median    max  switches    busy  idle  newly idle
            0-19            0.0%    0.0%  50.0%     1,234  12,345     0           3
            20-39           0.0%    0.0%   0.0%         0       0     0           0

            level  when        passes  balanced  failed  pulled  cache-hot
            SMT    busy        12,345    12,000       0       7          0
                   idle             0         0       0       0          0
                   newly idle       3         0       1       0          0
                   active           5         -       1       4
            MC     busy             0         0       0       0          0
                   idle             0         0       0       0          0
                   newly idle       0         0       0       0          0
            NUMA   busy             0         0       0       0          0
                   idle             0         0       0       0          0
                   newly idle       0         0       0       0          0

            work conservation
              idle while a task waited elsewhere: 30.0ms of CPU time (0.8% of all), during 25.0% of the run
              longer than 100ms: 7 of 8 looks
                at 0s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 1s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 2s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 3s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                at 4s: CPU 1 idle (1 in all) while other waited on CPU 0 (1 with waiting tasks in all)
                and 2 more

            digest 00ff
        "#]],
    );
}

#[test]
fn the_median_is_a_value_that_occurred() {
    let spread = |values: &[u64]| {
        let spread = Spread::of(values.iter().copied());
        (spread.min, spread.median, spread.max, spread.sum)
    };
    assert_eq!(spread(&[]), (0, 0, 0, 0));
    assert_eq!(spread(&[5]), (5, 5, 5, 5));
    assert_eq!(spread(&[9, 1]), (1, 1, 9, 10));
    assert_eq!(spread(&[9, 1, 4]), (1, 4, 9, 14));
}

#[test]
fn json_has_everything() {
    let json: serde_json::Value = serde_json::from_str(&report(8).to_json()).unwrap();
    assert_eq!(json["format"], "evenkeel-run-1");
    assert_eq!(json["machine"]["description"], "two sockets, so to speak");
    assert_eq!(json["kernel"]["build"], kernels::DEFAULT.build);
    assert_eq!(json["settings"][0]["key"], "cost");
    assert_eq!((json["seed"].as_u64(), json["digest"].as_str()), (Some(7), Some("00ff")));
    assert_eq!(
        json["definitions"].as_array().unwrap().len(),
        2,
        "a definition without instances is left out"
    );
    assert_eq!((&json["changes"][0]["before"], &json["changes"][0]["of"][2]), (&"0".into(), &"other".into()));
    assert_eq!(json["definitions"][0]["run_ns"]["sum"], 40_000_000);
    assert_eq!(json["definitions"][0]["migrations"]["balance"], 4);
    assert_eq!(json["tasks"][2]["definition"], 1);
    assert_eq!(json["tasks"][1]["wake_latency"]["max_ns"], 50_000);
    assert_eq!(json["cpus"].as_array().unwrap().len(), 8);
    assert_eq!((&json["cpus"][7]["llc"], &json["cpus"][7]["node"]), (&4.into(), &1.into()));
    assert_eq!(json["levels"][0]["passes"]["busy"]["count"], 12_345);
    assert_eq!(json["levels"][0]["active_pushed"], 4);
    assert_eq!(json["conservation"]["wasted_ns"], 30_000_000);
    assert_eq!(json["conservation"]["violations"][6]["task_name"], "other");
}
