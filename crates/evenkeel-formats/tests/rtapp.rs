//! What rt-app files mean, and what is said about wrong ones (spec 5 §6).
use evenkeel::time::{MS, SEC, US};
use evenkeel::workload::{
    Naming, ObjectId, ObjectKind, Op, Policy, Repeat, SpecId, TaskSpec, TimerOp, TimerRef, Workload,
};
use evenkeel_formats::checks;
use evenkeel_formats::rtapp::{Calibration, Compat, Options, RtApp, read};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn read_as(compat: Compat, text: &str) -> RtApp {
    let options = Options { compat: Some(compat), ..Options::default() };
    read(text, "b.json", &options).unwrap_or_else(|error| panic!("{error}"))
}

fn read_strict(text: &str) -> RtApp {
    let options = Options { strict: true, ..Options::default() };
    read(text, "b.json", &options).unwrap_or_else(|error| panic!("{error}"))
}

fn workload(text: &str) -> Workload {
    read_as(Compat::Master, text).workload
}

/// The only task of a file whose `tasks` is `{ "t": <task> }`.
fn task(compat: Compat, task: &str) -> TaskSpec {
    read_as(compat, &format!(r#"{{ "tasks": {{ "t": {task} }} }}"#)).workload.tasks.remove(0)
}

fn ops(task: &TaskSpec) -> &[Op] {
    &task.program.phases[0].ops
}

fn check_error(text: &str, expected: Expect) {
    let error = read(text, "b.json", &Options::default()).expect_err("the file is wrong");
    expected.assert_eq(&error.to_string());
}

fn check_warnings(compat: Compat, text: &str, expected: Expect) {
    let warnings: Vec<String> = read_as(compat, text).warnings.iter().map(ToString::to_string).collect();
    expected.assert_eq(&warnings.join("\n"));
}

const UNIQUE: TimerRef = TimerRef::Private(0);

#[test]
fn the_example_of_the_specification_means_two_threads_with_a_light_and_a_heavy_phase() {
    let file = read_as(
        Compat::Master,
        r#"{ "tasks": { "w": { "instance": 2, "loop": -1, "phases": {
      "light": { "loop": 10, "run": 1000, "timer": { "ref": "unique", "period": 16000 } },
      "heavy": { "loop": 10, "run": 12000, "timer": { "ref": "unique", "period": 16000 } } } } },
  "global": { "duration": 5, "calibration": "CPU0", "default_policy": "SCHED_OTHER" } }"#,
    );
    let workload = &file.workload;
    assert_eq!(file.warnings, []);
    assert_eq!(workload.duration, Some(5 * SEC));
    assert_eq!(file.globals.calibration, Some(Calibration::Cpu(0)));
    assert_eq!(workload.name, "b");
    let task = &workload.tasks[0];
    assert_eq!((task.instances, task.program.repeat), (2, Repeat::Forever));
    assert_eq!(task.attributes.policy, Some(Policy::Normal));
    // Both phases use one timer per thread, and it restarts where an expiry was missed.
    let timer = Op::Timer(TimerOp { timer: UNIQUE, period: 16 * MS, absolute: false });
    let [light, heavy] = &task.program.phases[..] else { panic!("two phases") };
    assert_eq!((light.name.as_str(), light.repeat), ("light", Repeat::Times(10)));
    assert_eq!(light.ops, [Op::Run(MS), timer.clone()]);
    assert_eq!((heavy.name.as_str(), heavy.repeat), ("heavy", Repeat::Times(10)));
    assert_eq!(heavy.ops, [Op::Run(12 * MS), timer]);
    let origin = heavy.op_origin(1).expect("read from a text");
    assert_eq!((origin.line, origin.column), (3, 44));
    assert_eq!(heavy.origin.map(|origin| (origin.line, origin.column)), Some((3, 7)));
}

/// spec 5 §9.5: c_duration 400 in workgen mode and 300 in strict mode.
#[test]
fn a_repeated_run_counts_twice_unless_strict() {
    let text = r#"{ "tasks": { "b": { "loop": 3, "run": 100, "sleep": 7, "run": 300 } } }"#;
    let lenient = workload(text);
    assert_eq!(ops(&lenient.tasks[0]), [Op::Run(100 * US), Op::Sleep(7 * US), Op::Run(300 * US)]);
    // The last value at the first place.
    let strict = read_strict(text).workload;
    assert_eq!(ops(&strict.tasks[0]), [Op::Run(300 * US), Op::Sleep(7 * US)]);
    check_warnings(
        Compat::Master,
        text,
        expect![[r#"
            `run` occurs again in the same object
             --> b.json:1:56
              |
            1 | { "tasks": { "b": { "loop": 3, "run": 100, "sleep": 7, "run": 300 } } }
              |                                                        ^^^^^ both count, in order (strict: only the last)"#]],
    );
}

#[test]
fn of_a_repeated_property_the_first_counts_as_workgen_leaves_the_second_unread() {
    let text = r#"{ "tasks": { "b": { "loop": 3, "run": 1, "loop": 4, "loop1": 5 } } }"#;
    assert_eq!(workload(text).tasks[0].program.repeat, Repeat::Times(3));
    assert_eq!(read_strict(text).workload.tasks[0].program.repeat, Repeat::Times(4));
    assert_eq!(read_as(Compat::Master, text).warnings.len(), 2);
}

#[test]
fn repeated_tasks_are_kept_and_numbered() {
    let text =
        r#"{ "tasks": { "b": { "run": 1 }, "b1": { "run": 2 }, "b": { "run": 3 }, "b": { "run": 4 } } }"#;
    let workload = workload(text);
    let names: Vec<&str> = workload.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["b", "b1", "b2", "b3"]);
    assert_eq!(read_strict(text).workload.tasks.len(), 2);
}

#[test]
fn comments_trailing_commas_and_bare_keys_are_understood() {
    let text = "/* head */ { // tail\n\"tasks\": { \"s\": { \"loop\": 2, \"suspend\", \"run\": 5, }, /* , */\n\
                \"r\": { \"loop\": 2, \"resume\": \"s\", \"sleep\": 10, \"cpus\": [1, 0,], } , }, }";
    let workload = workload(text);
    let condition = ObjectId(0);
    assert_eq!(workload.objects[0].name, "s");
    assert_eq!(workload.objects[0].kind, ObjectKind::Condition);
    assert_eq!(ops(&workload.tasks[0]), [Op::Wait { condition, mutex: None }, Op::Run(5 * US)]);
    assert_eq!(ops(&workload.tasks[1]), [Op::Broadcast(condition), Op::Sleep(10 * US)]);
    assert_eq!(workload.tasks[1].attributes.affinity, Some(vec![0, 1]));
}

#[test]
fn a_loop_without_phases_ends_only_in_the_newer_dialect() {
    for (text, old, new) in [
        (
            r#"{ "loop": 2, "run": 1 }"#,
            (Repeat::Times(2), Repeat::Forever),
            (Repeat::Times(1), Repeat::Times(2)),
        ),
        (r#"{ "run": 1 }"#, (Repeat::Times(1), Repeat::Forever), (Repeat::Times(1), Repeat::Forever)),
        (
            r#"{ "loop": -1, "run": 1 }"#,
            (Repeat::Forever, Repeat::Forever),
            (Repeat::Times(1), Repeat::Forever),
        ),
    ] {
        for (compat, expected) in [(Compat::V1_0, old), (Compat::Master, new)] {
            let task = task(compat, text);
            assert_eq!((task.program.phases[0].repeat, task.program.repeat), expected, "{text} {compat:?}");
        }
    }
}

#[test]
fn the_dialects_differ_in_names_suspend_and_legacy_units() {
    let text = r#"{ "tasks": { "a": { "instance": 2, "suspend": "c", "run": 1 }, "r": { "resume": "c", "run": 1 },
        "d": { "policy": "SCHED_DEADLINE", "runtime": 200000, "deadline": 900000, "period": 900000,
               "phases": { "p": { "run": 1 } } } } }"#;
    let old = read_as(Compat::V1_0, text).workload;
    let new = read_as(Compat::Master, text).workload;
    assert_eq!(old.tasks[1].naming, Naming::Plain);
    assert_eq!(new.tasks[1].naming, Naming::NumberedFrom(2));
    let names = |workload: &Workload| -> Vec<String> {
        workload.objects.iter().map(|object| object.name.clone()).collect()
    };
    assert_eq!(names(&old), ["c"]);
    assert_eq!(names(&new), ["a", "c"]);
    let deadline = |runtime, deadline| Some(Policy::Deadline { runtime, deadline, period: deadline });
    assert_eq!(old.tasks[2].attributes.policy, deadline(200 * US, 900 * US));
    assert_eq!(new.tasks[2].attributes.policy, deadline(200 * MS, 900 * MS));
}

#[test]
fn every_event_has_an_operation() {
    let text = r#"{ "tasks": { "child": { "instance": 0, "loop": 1, "run": 1 }, "t": { "loop": 1,
        "lock": "m", "wait": { "ref": "c", "mutex": "m" }, "sync": { "ref": "c", "mutex": "m" }, "unlock": "m",
        "signal": "c", "broad": "c", "sleep": 3, "runtime": 4, "run0": 5, "mem": 8000, "iorun": 2001,
        "memrun": { "type": "chase", "size": 4096, "count": 10 },
        "timer_a": { "ref": "shared", "period": 6, "mode": "absolute" },
        "timer_b": { "ref": "uniqueB", "period": 7 }, "timer_c": { "ref": "unique", "period": 8 },
        "suspend": "x", "resume": "t", "yield": "", "fork": "child", "sem_post": "s", "sem_wait": "s" } } }"#;
    let workload = workload(text);
    let id = ObjectId;
    let (mutex, condition, shared, task, semaphore) = (id(0), id(1), id(2), id(3), id(4));
    let timer = |timer, us, absolute| Op::Timer(TimerOp { timer, period: us * US, absolute });
    assert_eq!(
        ops(&workload.tasks[1]),
        [
            Op::Lock(mutex),
            Op::Wait { condition, mutex: Some(mutex) },
            Op::SignalAndWait { condition, mutex: Some(mutex) },
            Op::Unlock(mutex),
            Op::Signal(condition),
            Op::Broadcast(condition),
            Op::Sleep(3 * US),
            Op::RunUntilElapsed(4 * US),
            Op::Run(5 * US),
            Op::Run(US),      // 8000 bytes at 8000 a microsecond
            Op::Run(1001),    // 2001 bytes at 2000 a microsecond, rounded up
            Op::Run(10 * 80), // 10 steps of 80 ns
            timer(TimerRef::Shared(shared), 6, true),
            timer(TimerRef::Private(0), 7, false),
            timer(TimerRef::Private(1), 8, false),
            Op::Wait { condition: task, mutex: None },
            Op::Broadcast(task),
            Op::Yield,
            Op::Fork(SpecId(0)),
            Op::SemPost(semaphore),
            Op::SemWait(semaphore),
        ]
    );
    assert_eq!(workload.objects[shared.0 as usize].kind, ObjectKind::Timer);
    assert_eq!(workload.objects[semaphore.0 as usize].kind, ObjectKind::Semaphore { initial: 0 });
}

#[test]
fn a_barrier_waits_for_every_reference_once_per_instance() {
    let text = r#"{ "tasks": { "a": { "instance": 3, "run": 1, "barrier": "b" },
                              "c": { "instance": 2, "run": 1, "barrier": "b" } } }"#;
    let workload = workload(text);
    assert_eq!(workload.objects[0].kind, ObjectKind::Barrier { parties: 5 });
}

#[test]
fn attributes_are_read_per_policy() {
    let fair =
        task(Compat::Master, r#"{ "run": 1, "priority": -7, "dl-runtime": 3000, "taskgroup": "/a/b" }"#);
    assert_eq!(fair.attributes.policy, Some(Policy::Normal));
    assert_eq!(fair.attributes.nice, Some(-7));
    assert_eq!(fair.attributes.slice, Some(3 * MS));
    assert_eq!(fair.attributes.group.as_deref(), Some("/a/b"));
    let fifo = task(Compat::Master, r#"{ "run": 1, "policy": "SCHED_FIFO", "priority": 42 }"#);
    assert_eq!(fifo.attributes.policy, Some(Policy::Fifo(42)));
    let round = task(Compat::Master, r#"{ "run": 1, "policy": "SCHED_RR" }"#);
    assert_eq!(round.attributes.policy, Some(Policy::RoundRobin(10)));
    let idle =
        task(Compat::Master, r#"{ "run": 1, "policy": "SCHED_IDLE", "util_min": 100, "util_max": -1 }"#);
    assert_eq!(idle.attributes.policy, Some(Policy::Idle));
    assert_eq!(idle.attributes.util_clamp, Some((100, 1024)));
    let deadline = task(
        Compat::Master,
        r#"{ "run": 1, "policy": "SCHED_DEADLINE", "dl-runtime": 500, "dl-period": 900 }"#,
    );
    let expected = Policy::Deadline { runtime: 500 * US, deadline: 900 * US, period: 900 * US };
    assert_eq!(deadline.attributes.policy, Some(expected));
    let all =
        r#"{ "tasks": { "t": { "run": 1 } }, "global": { "default_policy": "SCHED_FIFO", "duration": -1 } }"#;
    assert_eq!(workload(all).tasks[0].attributes.policy, Some(Policy::Fifo(10)));
    assert_eq!(workload(all).duration, None);
}

/// A phase without `cpus` runs on the task's, so what an earlier phase set must not stay.
#[test]
fn a_phase_without_cpus_returns_to_those_of_the_task() {
    let phases = r#""phases": { "p": { "cpus": [0], "run": 1 }, "q": { "run": 1 } }"#;
    let pinned = task(Compat::Master, &format!(r#"{{ "cpus": [2], {phases} }}"#));
    assert_eq!(pinned.program.phases[1].attributes.affinity, Some(vec![2]));
    let free = task(Compat::Master, &format!("{{ {phases} }}"));
    assert_eq!(free.program.phases[1].attributes.affinity, Some(vec![]));
}

#[test]
fn an_endless_workload_does_not_end_by_itself() {
    let endless = r#"{ "tasks": { "t": { "run": 1 } } }"#;
    let ending = r#"{ "tasks": { "t": { "loop": 5, "run": 1 } } }"#;
    let forking =
        r#"{ "tasks": { "t": { "loop": 5, "run": 1, "fork": "u" }, "u": { "instance": 0, "run": 1 } } }"#;
    let unused = r#"{ "tasks": { "t": { "loop": 5, "run": 1 }, "u": { "instance": 0, "run": 1 } } }"#;
    for (text, ends) in [(endless, false), (ending, true), (forking, false), (unused, true)] {
        assert_eq!(checks::ends_by_itself(&workload(text)), ends, "{text}");
    }
}

#[test]
fn a_cpu_beyond_the_machine_is_shown_where_it_was_asked_for() {
    let text = "{ \"tasks\": { \"t\": { \"phases\": {\n  \"p\": { \"cpus\": [3, 8], \"run\": 1 } } } } }";
    let workload = workload(text);
    assert_eq!(checks::check_against(&workload, 9), Ok(()));
    let error = checks::check_against(&workload, 8).expect_err("CPU 8 of 8");
    expect![[r#"
        CPU 8 does not exist
         --> b.json:2:3
          |
        2 |   "p": { "cpus": [3, 8], "run": 1 } } } } }
          |   ^^^ expected CPUs 0-7 of this machine"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn odd_but_meaningful_files_are_read_with_warnings() {
    check_warnings(
        Compat::V1_0,
        r#"{ "resources": {}, "tasks": { "t": { "suspend", "run": 1, "phases": { "p": { "policy": "SCHED_FIFO",
  "run": 1 } } } }, "global": { "durations": 5, "frag": 1 } }"#,
        expect![[r#"
            `resources` is not needed
             --> b.json:1:3
              |
            1 | { "resources": {}, "tasks": { "t": { "suspend", "run": 1, "phases": { "p": { "policy": "SCHED_FI…
              |   ^^^^^^^^^^^ ignored: events define what they use
            unknown key `durations` in `global`
             --> b.json:2:33
              |
            2 |   "run": 1 } } } }, "global": { "durations": 5, "frag": 1 } }
              |                                 ^^^^^^^^^^^ ignored, as rt-app does; did you mean `duration`?
            unknown key `frag` in `global`
             --> b.json:2:49
              |
            2 |   "run": 1 } } } }, "global": { "durations": 5, "frag": 1 } }
              |                                                 ^^^^^^ ignored, as rt-app does
            event `suspend` beside `phases`
             --> b.json:1:38
              |
            1 | { "resources": {}, "tasks": { "t": { "suspend", "run": 1, "phases": { "p": { "policy": "SCHED_FI…
              |                                      ^^^^^^^^^ ignored, as rt-app does
            event `run` beside `phases`
             --> b.json:1:49
              |
            1 | …esources": {}, "tasks": { "t": { "suspend", "run": 1, "phases": { "p": { "policy": "SCHED_FIFO",
              |                                              ^^^^^ ignored, as rt-app does
            `policy` in a phase is newer than rt-app 1.0
             --> b.json:1:78
              |
            1 | …esources": {}, "tasks": { "t": { "suspend", "run": 1, "phases": { "p": { "policy": "SCHED_FIFO",
              |                                                                           ^^^^^^^^ ignored, as 1.0 does"#]],
    );
    check_warnings(
        Compat::Master,
        r#"{ "tasks": { "t": { "suspend", "run": 1, "barrier": "b" } } }"#,
        expect![[r#"
            barrier `b` is opened by one arrival
             --> b.json:1:42
              |
            1 | { "tasks": { "t": { "suspend", "run": 1, "barrier": "b" } } }
              |                                          ^^^^^^^^^ nobody ever waits here
            nobody signals or resumes `t`
             --> b.json:1:21
              |
            1 | { "tasks": { "t": { "suspend", "run": 1, "barrier": "b" } } }
              |                     ^^^^^^^^^ a wait here never ends"#]],
    );
}

#[test]
fn broken_json_is_shown_where_it_breaks() {
    check_error(
        "",
        expect![[r#"
            the file ends here
             --> b.json:1:1
              |
            1 | 
              | ^ expected a value"#]],
    );
    check_error(
        "{ \"tasks\": {\n  \"t\": { \"run\": 1 }\n",
        expect![[r#"
            this `{` is never closed
             --> b.json:1:12
              |
            1 | { "tasks": {
              |            ^ expected `,` or `}`"#]],
    );
    check_error(
        "{ \"tasks\" : { \"t\" : {\n\t\"run\" : 1\n\t\"sleep\" : 2 } } }",
        expect![[r#"
            unexpected `"`
             --> b.json:3:2
              |
            3 |  "sleep" : 2 } } }
              |  ^ expected `,` or `}`"#]],
    );
    check_error(
        "{ \"tasks\": /* no end",
        expect![[r#"
            this comment never ends
             --> b.json:1:12
              |
            1 | { "tasks": /* no end
              |            ^^ expected `*/`"#]],
    );
    check_error(
        "{ \"tasks: { }\n}",
        expect![[r#"
            this text has no closing quote
             --> b.json:1:3
              |
            1 | { "tasks: { }
              |   ^^^^^^^^^^^ expected `"` on the same line"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1ms } } }"#,
        expect![[r#"
            `1ms` is not a number
             --> b.json:1:28
              |
            1 | { "tasks": { "t": { "run": 1ms } } }
              |                            ^^^ expected a number"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": on } } }"#,
        expect![[r#"
            `on` stands without quotes
             --> b.json:1:28
              |
            1 | { "tasks": { "t": { "run": on } } }
              |                            ^^ expected a number, text in double quotes, true or false"#]],
    );
}

#[test]
fn wrong_files_are_shown_with_what_would_be_right() {
    check_error(
        r#"{ "task": { "t": { "run": 1 } } }"#,
        expect![[r#"
            there is no `tasks` object
             --> b.json:1:1
              |
            1 | { "task": { "t": { "run": 1 } } }
              | ^ expected an object with `tasks`, and perhaps `global`"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "rnu": 1 } } }"#,
        expect![[r#"
            unknown key `rnu` in task `t`
             --> b.json:1:21
              |
            1 | { "tasks": { "t": { "rnu": 1 } } }
              |                     ^^^^^ expected an event or a task property; did you mean `run`?"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "phases": { "p": { "run": 1, "instance": 2 } } } } }"#,
        expect![[r#"
            unknown key `instance` in phase `p`
             --> b.json:1:50
              |
            1 | { "tasks": { "t": { "phases": { "p": { "run": 1, "instance": 2 } } } } }
              |                                                  ^^^^^^^^^^ expected an event or a phase property: loop, policy, priority, dl-runtime, dl-period, dl-deadline, cpus, nodes_membind, util_min, util_max, taskgroup, lock, unlock, wait, signal, broad, sync, sleep, runtime, run, timer, suspend, resume, memrun, mem, iorun, yield, barrier, fork, sem_post, sem_wait"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": "1000" } } }"#,
        expect![[r#"
            `run` is the text "1000"
             --> b.json:1:28
              |
            1 | { "tasks": { "t": { "run": "1000" } } }
              |                            ^^^^^^ expected a time in whole microseconds, at least 0"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "sleep": -5 } } }"#,
        expect![[r#"
            `sleep` is the number -5
             --> b.json:1:30
              |
            1 | { "tasks": { "t": { "sleep": -5 } } }
              |                              ^^ expected a time in whole microseconds, at least 0"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1.5 } } }"#,
        expect![[r#"
            `run` is the number 1.5
             --> b.json:1:28
              |
            1 | { "tasks": { "t": { "run": 1.5 } } }
              |                            ^^^ expected a time in whole microseconds, at least 0"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "cpus": [0, -1] } } }"#,
        expect![[r#"
            `cpus` is the number -1
             --> b.json:1:43
              |
            1 | { "tasks": { "t": { "run": 1, "cpus": [0, -1] } } }
              |                                           ^^ expected a list of numbers from 0 to 8191"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "cpus": [] } } }"#,
        expect![[r#"
            `cpus` is an empty list
             --> b.json:1:39
              |
            1 | { "tasks": { "t": { "run": 1, "cpus": [] } } }
              |                                       ^^ expected a list of numbers from 0 to 8191"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "policy": "SCHED_FIF" } } }"#,
        expect![[r#"
            `policy` is the text "SCHED_FIF"
             --> b.json:1:41
              |
            1 | { "tasks": { "t": { "run": 1, "policy": "SCHED_FIF" } } }
              |                                         ^^^^^^^^^^^ expected SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_RR, SCHED_FIFO or SCHED_DEADLINE; did you mean `SCHED_FIFO`?"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "priority": 20 } } }"#,
        expect![[r#"
            `priority` is the number 20
             --> b.json:1:43
              |
            1 | { "tasks": { "t": { "run": 1, "priority": 20 } } }
              |                                           ^^ expected a nice value from -20 to 19"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "loop": 0, "run": 1 } } }"#,
        expect![[r#"
            `loop` is the number 0
             --> b.json:1:29
              |
            1 | { "tasks": { "t": { "loop": 0, "run": 1 } } }
              |                             ^ expected -1 for forever, or at least 1"#]],
    );
    check_error(
        r#"{ "tasks": { "worker": { "run": 1 }, "t": { "fork": "wroker", "run": 1 } } }"#,
        expect![[r#"
            there is no task `wroker`
             --> b.json:1:53
              |
            1 | { "tasks": { "worker": { "run": 1 }, "t": { "fork": "wroker", "run": 1 } } }
              |                                                     ^^^^^^^^ expected the name of a task of this file; did you mean `worker`?"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "timer": { "ref": "unique", "peroid": 5 } } } }"#,
        expect![[r#"
            unknown key `peroid` in event `timer`
             --> b.json:1:59
              |
            1 | { "tasks": { "t": { "run": 1, "timer": { "ref": "unique", "peroid": 5 } } } }
              |                                                           ^^^^^^^^ expected one of ref, period, mode; did you mean `period`?"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "run": 1, "lock" } } }"#,
        expect![[r#"
            `lock` has no value
             --> b.json:1:31
              |
            1 | { "tasks": { "t": { "run": 1, "lock" } } }
              |                               ^^^^^^ expected `:` and a value"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "wait": { "ref": "c" } } } }"#,
        expect![[r#"
            `wait` has no `mutex`
             --> b.json:1:29
              |
            1 | { "tasks": { "t": { "wait": { "ref": "c" } } } }
              |                             ^^^^^^^^^^^^^^ expected an object { "ref": condition, "mutex": mutex }"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "yield": "" } } }"#,
        expect![[r#"
            task `t` repeats without ever taking time
             --> b.json:1:14
              |
            1 | { "tasks": { "t": { "yield": "" } } }
              |              ^^^ expected an operation that runs, sleeps or waits in the loop"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "instance": 0, "run": 1 } } }"#,
        expect![[r#"
            no task ever starts
             --> b.json:1:14
              |
            1 | { "tasks": { "t": { "instance": 0, "run": 1 } } }
              |              ^^^ expected at least one instance"#]],
    );
    check_error(
        r#"{ "tasks": { "t": { "exec": 5000, "lock_order": ["m0"] } } }"#,
        expect![[r#"
            unknown key `exec` in task `t`
             --> b.json:1:21
              |
            1 | { "tasks": { "t": { "exec": 5000, "lock_order": ["m0"] } } }
              |                     ^^^^^^ expected an event or a task property: instance, loop, phases, delay, policy, priority, dl-runtime, dl-period, dl-deadline, cpus, nodes_membind, util_min, util_max, taskgroup, runtime, period, deadline, lock, unlock, wait, signal, broad, sync, sleep, runtime, run, timer, suspend, resume, memrun, mem, iorun, yield, barrier, fork, sem_post, sem_wait"#]],
    );
}

/// The files Debian's package `rt-app` installs; read here if they are installed, never copied.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn the_examples_of_an_installed_rt_app_are_read_or_refused_with_a_place() {
    let root = std::path::Path::new("/usr/share/doc/rt-app");
    let mut pending = vec![root.to_path_buf()];
    let mut files = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        eprintln!("skipped: the package rt-app is not installed");
        return;
    }
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable example");
        let is_legacy =
            path.components().any(|part| part.as_os_str() == "merge") || path.ends_with("taskset.json");
        for (compat, strict) in [(Compat::V1_0, false), (Compat::Master, false), (Compat::V1_0, true)] {
            let options = Options { compat: Some(compat), strict, ..Options::default() };
            match read(&text, &path.to_string_lossy(), &options) {
                Ok(file) => assert!(!is_legacy && !file.workload.tasks.is_empty(), "{}", path.display()),
                Err(error) => {
                    // Only the fragments and the form older than 1.0 (`exec`, `lock_order`) are refused.
                    assert!(is_legacy && error.place.is_some(), "{error}");
                    let message = error.found.to_string();
                    let names_it =
                        ["`exec`", "`tasks`", "`lock_order`"].iter().any(|name| message.contains(name));
                    assert!(names_it, "{error}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}", strict: bool) {
        let _ = read(&text, "b.json", &Options { strict, ..Options::default() });
    }

    #[test]
    fn texts_made_of_rt_app_words_never_panic(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60), old: bool
    ) {
        let compat = if old { Compat::V1_0 } else { Compat::Master };
        let options = Options { compat: Some(compat), ..Options::default() };
        let text = format!("{{ \"tasks\": {{ \"t\": {{ {} }} }} }}", words.join(" "));
        let _ = read(&text, "b.json", &options).map(|file| checks::check_against(&file.workload, 4));
        let _ = read(&words.join("\n"), "b.json", &options);
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"tasks\"",
    "\"t\"",
    "\"run\":",
    "\"phases\": {",
    "\"loop\": -1,",
    "1",
    "-1",
    "1e9",
    "99999999999999999999",
    "/*",
    "*/",
    "//",
    "\"suspend\",",
    "\"lock\": \"m\",",
    "\"timer\": { \"ref\":",
    "\"unique\"",
    "\"period\": 5 },",
    "\"cpus\": [0],",
    "\"é\"",
    "\\",
    "\"run\": 5,",
    "\"sleep\": 5,",
    "\"barrier\": \"b\",",
    "\"instance\": 7,",
    "\"instance\": 4194304,",
    "\"policy\": \"SCHED_FIFO\",",
    "null",
    "true",
];

/// `suspend` with a name is resumed by that name in 1.0 only; the newer dialect would leave `a` waiting for ever.
#[test]
fn the_dialect_in_which_nobody_waits_for_ever_is_chosen() {
    let text =
        r#"{ "tasks": { "a": { "suspend": "go", "run": 1000 }, "b": { "run": 1000, "resume": "go" } } }"#;
    let detected = read(text, "b.json", &Options::default()).unwrap();
    let older = read(text, "b.json", &Options { compat: Some(Compat::V1_0), ..Options::default() }).unwrap();
    assert_eq!(detected.workload, older.workload);
    assert!(detected.warnings.iter().any(|warning| warning.message.contains("rt-app 1.0")));

    // Both dialects can run this one: the newer is taken, in which a task without phases ends after its loops.
    let text = r#"{ "tasks": { "a": { "loop": 2, "run": 1000 } } }"#;
    let detected = read(text, "b.json", &Options::default()).unwrap();
    let newer =
        read(text, "b.json", &Options { compat: Some(Compat::Master), ..Options::default() }).unwrap();
    assert_eq!(detected, newer);
}
