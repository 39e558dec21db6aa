//! What `[[at]]` may set of a running kernel, and what is said about the rest.
#![allow(missing_docs)]
use evenkeel::kernel::Features;
use evenkeel::time::MS;
use evenkeel::tune::{DomainKnob, Tune};
use evenkeel::workload::Change;
use evenkeel_formats::scenario::read;
use expect_test::{Expect, expect};

const TASK: &str = "[[task]]\nname = \"t\"\nrun = \"1ms\"\n[[at]]\ntime = \"5ms\"\n";

fn changes(lines: &str) -> Vec<Change> {
    let scenario = read(&format!("{TASK}{lines}\n"), "s.toml").unwrap_or_else(|error| panic!("{error}"));
    assert!(scenario.workload.timeline.iter().all(|entry| entry.at == 5 * MS && entry.origin.is_some()));
    scenario.workload.timeline.into_iter().map(|entry| entry.change).collect()
}

fn check_error(lines: &str, expected: Expect) {
    let error = read(&format!("{TASK}{lines}\n"), "s.toml").expect_err("it is wrong");
    expected.assert_eq(&error.to_string());
}

#[test]
fn settings_and_domain_values_become_one_change_each() {
    let got = changes(
        r#"set.migration_cost_ns = "250us"
set.nr_migrate = 4
set.base_slice_ns = 3000000
set.features.NI_RANDOM = false
set.domain.MC.imbalance_pct = 105
set.domain.all.max_interval = 8"#,
    );
    let domain =
        |level: Option<&str>, knob, value| Change::Domain { level: level.map(str::to_owned), knob, value };
    let expected = [
        Change::Tune(Tune::MigrationCost { ns: 250_000 }),
        Change::Tune(Tune::NrMigrate { tasks: 4 }),
        Change::Tune(Tune::BaseSlice { ns: 3 * MS }),
        Change::Tune(Tune::Feature { feature: Features::NI_RANDOM, on: false }),
        domain(Some("MC"), DomainKnob::ImbalancePct, 105),
        domain(None, DomainKnob::MaxInterval, 8),
    ];
    assert_eq!(got, expected);
    assert_eq!(changes("set.migration_cost_ns = -1"), [Change::Tune(Tune::MigrationCost { ns: u32::MAX })]);
}

#[test]
fn tasks_and_settings_may_change_in_one_entry() {
    let got = changes("task = \"t\"\nnice = 5\nset.nr_migrate = 1");
    assert!(matches!(got[..], [Change::SetAttributes { .. }, Change::Tune(Tune::NrMigrate { tasks: 1 })]));
}

#[test]
fn cpus_come_and_go_and_are_divided() {
    let hotplug = |cpus: &[u32], online| Change::Hotplug { cpus: cpus.to_vec(), online };
    assert_eq!(changes("offline = \"2-3,5\""), [hotplug(&[2, 3, 5], false)]);
    assert_eq!(changes("online = 3\noffline = [1]"), [hotplug(&[3], true), hotplug(&[1], false)]);
    let divided = |sets: &[&[u32]], isolated: &[u32]| Change::Partitions {
        sets: sets.iter().map(|set| set.to_vec()).collect(),
        isolated: isolated.to_vec(),
    };
    let both = changes("partitions = [\"0-1\", \"4\"]\nisolated = 7");
    assert_eq!(both, [divided(&[&[0, 1], &[4]], &[7])]);
    assert_eq!(changes("isolated = \"6-7\""), [divided(&[], &[6, 7])]);
    assert_eq!(changes("partitions = \"none\""), [divided(&[], &[])]);
}

#[test]
fn what_cannot_change_is_refused_with_its_place() {
    check_error(
        "set.hz = 1000",
        expect![[r#"
            unknown key `hz` in `set` of [[at]]
             --> s.toml:6:5
              |
            6 | set.hz = 1000
              |     ^^ expected a setting that can change while the kernel runs: migration_cost_ns, nr_migrate, base_slice_ns, features, domain"#]],
    );
    check_error(
        "set.features.NI_RANDM = true",
        expect![[r#"
        unknown key `NI_RANDM` in `features`
         --> s.toml:6:14
          |
        6 | set.features.NI_RANDM = true
          |              ^^^^^^^^ expected a sched_feature; did you mean `NI_RANDOM`?"#]],
    );
    check_error(
        "set.domain.MC.imbalance = 110",
        expect![[r#"
            unknown key `imbalance` in `domain`
             --> s.toml:6:15
              |
            6 | set.domain.MC.imbalance = 110
              |               ^^^^^^^^^ expected a value of a domain: imbalance_pct, busy_factor, min_interval, max_interval, cache_nice_tries, max_newidle_lb_cost"#]],
    );
    check_error(
        "set.domain.MC.imbalance_pct = 90",
        expect![[r#"
        `imbalance_pct` is the number 90
         --> s.toml:6:31
          |
        6 | set.domain.MC.imbalance_pct = 90
          |                               ^^ expected a number from 100 to 100000"#]],
    );
    check_error(
        "set.base_slice_ns = \"10us\"",
        expect![[r#"
        `base_slice_ns` is the text "10us"
         --> s.toml:6:21
          |
        6 | set.base_slice_ns = "10us"
          |                     ^^^^^^ expected a time from 100us to 1s"#]],
    );
    check_error(
        "offline = \"all\"",
        expect![[r#"
        `offline` is the text "all"
         --> s.toml:6:11
          |
        6 | offline = "all"
          |           ^^^^^ expected a CPU, a CPU list such as "2-3", or [2, 3]"#]],
    );
    check_error(
        "online = [0, 1.5]",
        expect![[r#"
            `online` is the number 1.5
             --> s.toml:6:14
              |
            6 | online = [0, 1.5]
              |              ^^^ expected a CPU, a CPU list such as "2-3", or [2, 3]"#]],
    );
    check_error(
        "partitions = \"0-3\"",
        expect![[r#"
        `partitions` is the text "0-3"
         --> s.toml:6:14
          |
        6 | partitions = "0-3"
          |              ^^^^^ expected a list of CPU lists such as ["0-3", "4-7"], or "none""#]],
    );
    check_error(
        "partition = [\"0-3\"]",
        expect![[r#"
        unknown key `partition` in [[at]]
         --> s.toml:6:1
          |
        6 | partition = ["0-3"]
          | ^^^^^^^^^ expected `time`, `task`, `group`, `set`, `offline`, `online`, `partitions` or an attribute; did you mean `partitions`?"#]],
    );
    check_error(
        "",
        expect![[r#"
            [[at]] changes nothing
             --> s.toml:4:1
              |
            4 | [[at]]
              | ^^^^^^ expected `task` with attributes, `group`, `set`, `offline`, `online` or `partitions`"#]],
    );
    check_error(
        "nice = 3",
        expect![[r#"
        [[at]] has no `task`
         --> s.toml:4:1
          |
        4 | [[at]]
          | ^^^^^^ expected `task = "NAME"`"#]],
    );
}
