use super::*;

fn task(comm: &str, pid: i32) -> TraceTask {
    TraceTask { comm: comm.into(), pid }
}

fn one(line: &str) -> TraceRecord {
    let mut log = parse(line, "t").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((log.records.len(), log.skipped, log.lost), (1, 0, 0), "{line}");
    log.records.remove(0)
}

/// The sample of spec 5 §3.1.
const SAMPLE: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 302/302   #P:2
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
           <...>-22622   [000] d..2.  1855.330827: sched_switch: prev_comm=bash prev_pid=22622 prev_prio=120 prev_state=S ==> next_comm=bash next_pid=22694 next_prio=120
            grep-22694   [000] dNh3.  1855.331363: sched_wakeup: comm=qemu-system-x86 pid=20642 prio=125 target_cpu=000
CPU:1 [LOST 120 EVENTS]
            grep-22694   [001] d..1.  1855.331400: sched_stat_runtime: comm=grep pid=22694 runtime=5 [ns]
";

#[test]
fn the_sample_of_the_specification_reads() {
    let log = parse(SAMPLE, "trace").unwrap();
    assert_eq!((log.records.len(), log.skipped, log.lost), (2, 1, 120));
    let switch = TraceEvent::Switch {
        prev: task("bash", 22622),
        prev_state: LeftAs::Blocked,
        next: task("bash", 22694),
    };
    assert_eq!(
        log.records[0],
        TraceRecord { at: 1_855_330_827_000, cpu: 0, interrupt: false, event: switch }
    );
    assert!(log.records[1].interrupt, "`dNh3.` is a hard interrupt");
}

/// The names of spec 5 §9.1, and worse ones.
const NAMES: [&str; 9] = ["a b", "x-1", "k=v", "[x]", "(sd-pam)", "", "a pid=7", "x ==> y", "lto cgu.00"];

#[test]
fn names_may_hold_anything_in_every_event() {
    for name in NAMES {
        for other in NAMES {
            let head = format!("{name:>16}-1204  [002] d.s2.  7.5: ");
            let switch = format!(
                "{head}sched_switch: prev_comm={name} prev_pid=5 prev_prio=120 prev_state=R+ ==> \
                 next_comm={other} next_pid=0 next_prio=-1"
            );
            let expected = TraceEvent::Switch {
                prev: task(name, 5),
                prev_state: LeftAs::Runnable,
                next: task(other, 0),
            };
            let expected = TraceRecord { at: 7_500_000_000, cpu: 2, interrupt: true, event: expected };
            assert_eq!(one(&switch), expected, "{switch}");
            let fork = format!("{head}sched_process_fork: comm={name} pid=5 child_comm={other} child_pid=6");
            assert_eq!(one(&fork).event, TraceEvent::Fork { parent: task(name, 5), child: task(other, 6) });
        }
        let head = format!("{name}-1204  (   1200) [002] ....  7.5: ");
        let fields = format!("comm={name} pid=5 prio=120");
        let read = |event: &str, rest: &str| one(&format!("{head}{event}: {fields}{rest}")).event;
        let task = task(name, 5);
        assert_eq!(
            read("sched_waking", " target_cpu=003"),
            TraceEvent::Waking { task: task.clone(), target_cpu: 3 }
        );
        assert_eq!(
            read("sched_wakeup", " success=1 target_cpu=003"),
            TraceEvent::Wakeup { task: task.clone(), target_cpu: 3 }
        );
        assert_eq!(
            read("sched_wakeup_new", " target_cpu=012"),
            TraceEvent::WakeupNew { task: task.clone(), target_cpu: 12 }
        );
        assert_eq!(
            read("sched_migrate_task", " orig_cpu=1 dest_cpu=2"),
            TraceEvent::Migrate { task: task.clone(), orig_cpu: 1, dest_cpu: 2 }
        );
        for appended in ["", " group_dead=true"] {
            assert_eq!(read("sched_process_exit", appended), TraceEvent::Exit { task: task.clone() });
        }
    }
}

#[test]
fn states_idle_and_clocks() {
    let state = |state: &str| {
        let line = format!(
            "a-1 [000] 7.000000001: sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state={state} ==> \
             next_comm=swapper/0 next_pid=0 next_prio=120"
        );
        match one(&line).event {
            TraceEvent::Switch { prev_state, .. } => prev_state,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(["R", "R+"].map(state), [LeftAs::Runnable; 2]);
    assert_eq!(["S", "D", "I", "T", "P", "D|K"].map(state), [LeftAs::Blocked; 6]);
    assert_eq!(["X", "Z"].map(state), [LeftAs::Dead; 2]);
    let idle = |state: &str| one(&format!("<idle>-0 [007] d..1. 1234567: cpu_idle: state={state} cpu_id=7"));
    assert_eq!(idle("4294967295").event, TraceEvent::CpuIdle { state: None, cpu: 7 });
    assert_eq!(idle("1").event, TraceEvent::CpuIdle { state: Some(1), cpu: 7 });
    assert_eq!(idle("1").at, 1_234_567, "other clocks print plain numbers");
}

#[test]
fn what_is_broken_is_shown_with_its_place() {
    let broken = [
        "grep [000] d..2. 1.5: sched_wakeup: comm=a pid=1 prio=120 target_cpu=0",
        "grep-7 [000] d..2. 1.5: sched_wakeup: comm=a pid=one prio=120 target_cpu=0",
        "grep-7 [000] d..2. 1.5: sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state= ==> next_comm=b next_pid=2 next_prio=120",
        "grep-7 [000] d..2. 1.5: cpu_idle: state=1 cpu_id=",
    ];
    let shown: String =
        broken.iter().map(|line| format!("{}\n", parse(line, "trace").unwrap_err())).collect();
    expect_test::expect![[r#"
        this is no event
         --> trace:1:1
          |
        1 | grep [000] d..2. 1.5: sched_wakeup: comm=a pid=1 prio=120 target_cpu=0
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `TASK-PID [CPU] FLAGS SECONDS: EVENT: FIELDS`, as tracefs prints it
        the fields of `sched_wakeup` cannot be read
         --> trace:1:1
          |
        1 | grep-7 [000] d..2. 1.5: sched_wakeup: comm=a pid=one prio=120 target_cpu=0
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `comm=NAME pid=N prio=N target_cpu=N`
        the fields of `sched_switch` cannot be read
         --> trace:1:1
          |
        1 | grep-7 [000] d..2. 1.5: sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state= ==> next_…
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `prev_comm=NAME prev_pid=N prev_prio=N prev_state=S ==> next_comm=NAME next_pid=N next_prio=N`
        the fields of `cpu_idle` cannot be read
         --> trace:1:1
          |
        1 | grep-7 [000] d..2. 1.5: cpu_idle: state=1 cpu_id=
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `state=N cpu_id=N`
    "#]].assert_eq(&shown);
}
