//! What scenarios mean, and what is said about wrong ones.
mod groups;

use evenkeel::balance::locality::TaskMemory;
use evenkeel::time::{MS, SEC, US};
use evenkeel::workload::{
    Attributes, Change, Naming, ObjectId, ObjectKind, Op, Policy, Repeat, SpecId, TimerOp, TimerRef, Workload,
};
use evenkeel_formats::checks;
use evenkeel_formats::scenario::{OPERATIONS, Scenario, read};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn scenario(text: &str) -> Scenario {
    read(text, "dir/s.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn workload(text: &str) -> Workload {
    scenario(text).workload
}

/// The first task's only phase's operations.
fn ops(workload: &Workload) -> &[Op] {
    &workload.tasks[0].program.phases[0].ops
}

fn check_error(text: &str, expected: Expect) {
    let error = read(text, "s.toml").expect_err("the scenario is wrong");
    expected.assert_eq(&error.to_string());
}

/// A task `t` with these further lines.
fn with_task(lines: &str) -> String {
    format!("[[task]]\nname = \"t\"\n{lines}\n")
}

#[test]
fn a_whole_scenario_is_read_with_the_places_of_its_names() {
    let scenario = scenario(
        r#"# Sixteen spinners held on CPU 0, then released.
machine = "4 cores x 2 threads"
kernel = "v6.12"
seed = 7
duration = "1s"
[set]
balance.imbalance_pct.llc = 110
feature.NI_RANDOM = false
[[task]]
name = "spin"
count = 16
cpu = 3
affinity = "0"
run = "forever"
[[at]]
time = "250ms"
task = "spin"
affinity = "all"
nice = 5
[[at]]
time = "100ms"
task = ["spin"]
affinity = [2, 1]
"#,
    );
    assert_eq!((scenario.name.as_str(), scenario.seed, scenario.duration), ("s", Some(7), Some(SEC)));
    let machine = scenario.machine.expect("given");
    assert_eq!(machine.text, "4 cores x 2 threads");
    assert_eq!((machine.origin.line, machine.origin.column), (2, 11));
    assert_eq!(scenario.kernel.expect("given").text, "v6.12");
    let set: Vec<(&str, &str)> =
        scenario.set.iter().map(|set| (set.key.as_str(), set.value.as_str())).collect();
    assert_eq!(set, [("balance.imbalance_pct.llc", "110"), ("feature.NI_RANDOM", "false")]);
    let task = &scenario.workload.tasks[0];
    assert_eq!((task.instances, task.start_cpu, task.naming), (16, 3, Naming::NumberedIfSeveral));
    assert_eq!(task.attributes, Attributes { affinity: Some(vec![0]), ..Attributes::default() });
    assert_eq!(task.program.phases[0].repeat, Repeat::Forever);
    let changes: Vec<_> =
        scenario.workload.timeline.iter().map(|entry| (entry.at, entry.change.clone())).collect();
    let change = |affinity: Vec<u32>, nice| Change::SetAttributes {
        task: SpecId(0),
        attributes: Attributes { affinity: Some(affinity), nice, ..Attributes::default() },
    };
    assert_eq!(changes, [(100 * MS, change(vec![1, 2], None)), (250 * MS, change(vec![], Some(5)))]);
}

#[test]
fn short_forms_become_operations_and_repetitions() {
    let grid = |absolute| Op::Timer(TimerOp { timer: TimerRef::Private(0), period: 10 * MS, absolute });
    for (body, expected, repeat) in [
        (r#"run = "3ms""#, vec![Op::Run(3 * MS)], Repeat::Times(1)),
        ("run = \"3ms\"\nrepeat = 4", vec![Op::Run(3 * MS)], Repeat::Times(4)),
        ("run = \"3ms\"\nsleep = \"7ms\"", vec![Op::Run(3 * MS), Op::Sleep(7 * MS)], Repeat::Forever),
        ("run = \"3ms\"\nevery = \"10ms\"", vec![Op::Run(3 * MS), grid(false)], Repeat::Forever),
        (
            "run = \"3ms\"\nevery = \"10ms\"\noverrun = \"catch-up\"\nrepeat = 2",
            vec![Op::Run(3 * MS), grid(true)],
            Repeat::Times(2),
        ),
        ("work = [\"run 1ms\"]", vec![Op::Run(MS)], Repeat::Times(1)),
        ("work = [\"run 1ms\"]\nrepeat = \"forever\"", vec![Op::Run(MS)], Repeat::Forever),
    ] {
        let workload = workload(&with_task(body));
        assert_eq!(ops(&workload), expected, "{body}");
        assert_eq!(workload.tasks[0].program.repeat, repeat, "{body}");
    }
}

#[test]
fn every_operation_of_the_list_is_read() {
    let lines = [
        "run 3ms",
        "busy 2ms",
        "sleep 1.5ms",
        "timer 4ms",
        "timer 5ms catch-up",
        "timer 6ms shared beat",
        "wait c",
        "wait c m",
        "signal c",
        "broadcast c",
        "sync c m",
        "lock m",
        "unlock m",
        "barrier b",
        "post s",
        "take s",
        "send ch",
        "send ch nosync",
        "recv ch",
        "fork t 2",
        "exec",
        "yield",
        "nice -5",
        "affinity 0-2,5",
        "affinity all",
        "policy fifo 30",
        "slice 3ms",
        "group /a",
        "exit",
    ];
    let list = lines.map(|line| format!("{line:?}")).join(", ");
    let workload = workload(&with_task(&format!("count = 3\nwork = [{list}]")));
    let [beat, condition, mutex, barrier, semaphore, channel] = [0, 1, 2, 3, 4, 5].map(ObjectId);
    let timer = |timer, ms, absolute| Op::Timer(TimerOp { timer, period: ms * MS, absolute });
    let private = TimerRef::Private(0);
    let set = |attributes| Op::Set(attributes);
    assert_eq!(
        ops(&workload),
        [
            Op::Run(3 * MS),
            Op::RunUntilElapsed(2 * MS),
            Op::Sleep(1500 * US),
            timer(private, 4, false),
            timer(private, 5, true),
            timer(TimerRef::Shared(beat), 6, false),
            Op::Wait { condition, mutex: None },
            Op::Wait { condition, mutex: Some(mutex) },
            Op::Signal(condition),
            Op::Broadcast(condition),
            Op::SignalAndWait { condition, mutex: Some(mutex) },
            Op::Lock(mutex),
            Op::Unlock(mutex),
            Op::Barrier(barrier),
            Op::SemPost(semaphore),
            Op::SemWait(semaphore),
            Op::Send { channel, sync: true },
            Op::Send { channel, sync: false },
            Op::Receive(channel),
            Op::Fork(SpecId(0)),
            Op::Fork(SpecId(0)),
            Op::Exec,
            Op::Yield,
            set(Attributes { nice: Some(-5), ..Attributes::default() }),
            set(Attributes { affinity: Some(vec![0, 1, 2, 5]), ..Attributes::default() }),
            set(Attributes { affinity: Some(vec![]), ..Attributes::default() }),
            set(Attributes { policy: Some(Policy::Fifo(30)), ..Attributes::default() }),
            set(Attributes { slice: Some(3 * MS), ..Attributes::default() }),
            set(Attributes { group: Some("/a".into()), ..Attributes::default() }),
            Op::Exit,
        ]
    );
    let kind = |id: ObjectId| workload.objects[id.0 as usize].kind;
    assert_eq!(kind(barrier), ObjectKind::Barrier { parties: 3 });
    assert_eq!(kind(channel), ObjectKind::Channel);
    for (name, usage, _) in OPERATIONS {
        assert!(usage.starts_with(name));
        let is_used = lines.iter().any(|line| line.split(' ').next() == Some(name));
        assert!(is_used, "`{name}` is not tried above");
    }
}

#[test]
fn interrupt_sources_name_their_cpus_and_times() {
    let task = with_task("run = \"1ms\"");
    let irq = |lines: &str| format!("{task}[[irq]]\n{lines}\n");
    let source = &workload(&irq("cpu = \"0-2\"\nevery = \"1ms\"\nrun = \"100us\"")).interrupts[0];
    assert_eq!(
        (&source.cpus[..], source.every, source.run, source.start),
        (&[0, 1, 2][..], MS, 100 * US, MS)
    );
    let errors =
        ["cpu = 0\nevery = \"1ms\"", "cpu = 0\nevery = \"1ms\"\nrun = \"1ms\"", "cpus = 0", "cpu = \"all\""]
            .map(|lines| read(&irq(lines), "s.toml").expect_err(lines).to_string());
    expect![[r#"
        [[irq]] has no `run`
         --> s.toml:4:1
          |
        4 | [[irq]]
          | ^^^^^^^ expected `run = "100us"`

        `run` is the text "1ms"
         --> s.toml:7:7
          |
        7 | run = "1ms"
          |       ^^^^^ expected less than `every`, or the CPU would do nothing else

        unknown key `cpus` in [[irq]]
         --> s.toml:5:1
          |
        5 | cpus = 0
          | ^^^^ expected a key of an interrupt source; did you mean `cpu`?

        `all` in [[irq]]
         --> s.toml:5:7
          |
        5 | cpu = "all"
          |       ^^^^^ expected the CPUs, such as "0-3"
    "#]]
    .assert_eq(&(errors.join("\n\n") + "\n"));
    let beyond = workload(&irq("cpu = 4\nevery = \"1ms\"\nrun = \"1us\""));
    assert!(checks::check_against(&beyond, 4).unwrap_err().to_string().starts_with("CPU 4 does not exist"));
}

#[test]
fn what_numa_balancing_knows_is_an_attribute() {
    let text = "percpu_kthread = true\npreferred_node = 1\nnuma_faults = [800, 200]\nrun = \"1ms\"";
    let at =
        "\n[[at]]\ntime = \"1ms\"\ntask = \"t\"\npreferred_node = \"none\"\nnuma_group_faults = [1, 2]\n";
    let workload = workload(&(with_task(text) + at));
    let task = &workload.tasks[0];
    let memory = |preferred_node, faults, group_faults| TaskMemory { preferred_node, faults, group_faults };
    assert!(task.percpu_kthread);
    assert_eq!(task.attributes.memory, Some(memory(Some(1), vec![800, 200], vec![])));
    let Change::SetAttributes { attributes, .. } = &workload.timeline[0].change else { panic!("attributes") };
    assert_eq!(attributes.memory, Some(memory(None, vec![], vec![1, 2])));
    for (wrong, expected) in [
        ("preferred_node = -1", "expected the number of a memory node, or \"none\""),
        ("numa_faults = []", "expected a number of faults per memory node, such as [800, 200]"),
        ("numa_faults = [1099511627776]", "expected a number of faults per memory node"),
        ("percpu_kthread = 1", "expected true or false"),
    ] {
        let text = with_task(&format!("run = \"1ms\"\n{wrong}"));
        let error = read(&text, "s.toml").unwrap_err().to_string();
        assert!(error.contains("s.toml:4:") && error.contains(expected), "{error}");
    }
}

#[test]
fn operations_know_where_they_were_written() {
    let workload = workload(&with_task("work = [\n  \"run 1ms\", 'sleep 2ms',\n]"));
    let phase = &workload.tasks[0].program.phases[0];
    let places: Vec<(u32, u32)> =
        phase.op_origins.iter().map(|origin| (origin.line, origin.column)).collect();
    assert_eq!(places, [(4, 4), (4, 15)]);
}

#[test]
fn braces_with_i_write_a_task_out_per_instance() {
    let workload = workload(
        r#"[[task]]
name = "ping"
count = 2
delay = "1ms"
stagger = "2ms"
affinity = "{i}"
work = ["send a{i}", "recv b{i}"]
[[task]]
name = "pong"
count = 2
work = ["recv a{i}", "send b{i}"]
[[at]]
time = "5ms"
task = "ping"
nice = 1
"#,
    );
    let tasks: Vec<_> =
        workload.tasks.iter().map(|task| (task.name.as_str(), task.instances, task.delay)).collect();
    assert_eq!(tasks, [("ping-0", 1, MS), ("ping-1", 1, 3 * MS), ("pong-0", 1, 0), ("pong-1", 1, 0)]);
    assert_eq!(workload.tasks[1].attributes.affinity, Some(vec![1]));
    assert_eq!(workload.tasks[1].naming, Naming::Plain);
    let name = |id: ObjectId| workload.objects[id.0 as usize].name.as_str();
    let Op::Send { channel, .. } = workload.tasks[1].program.phases[0].ops[0] else { panic!("a send") };
    assert_eq!(name(channel), "a1");
    let Op::Receive(channel) = workload.tasks[3].program.phases[0].ops[0] else { panic!("a receive") };
    assert_eq!(name(channel), "a1");
    assert_eq!(workload.timeline.len(), 2);
}

#[test]
fn phases_follow_one_another() {
    let workload = workload(&with_task(
        "repeat = \"forever\"\n[[task.phase]]\nname = \"calm\"\nrun = \"1ms\"\nevery = \"10ms\"\nrepeat = 5\n\
         [[task.phase]]\nnice = 3\nwork = [\"run 2ms\", \"yield\"]",
    ));
    let program = &workload.tasks[0].program;
    assert_eq!(program.repeat, Repeat::Forever);
    assert_eq!((program.phases[0].name.as_str(), program.phases[0].repeat), ("calm", Repeat::Times(5)));
    assert_eq!(program.phases[1].attributes.nice, Some(3));
    assert_eq!(program.phases[1].repeat, Repeat::Times(1));
    assert_eq!(program.phases[1].ops, [Op::Run(2 * MS), Op::Yield]);
}

#[test]
fn barriers_count_instances_unless_told() {
    let body = "work = [\"run 1ms\", \"barrier b\", \"run 1ms\", \"barrier b\"]\n";
    let counted = workload(&with_task(&format!("count = 4\n{body}")));
    assert_eq!(counted.objects[0].kind, ObjectKind::Barrier { parties: 4 });
    let told = workload(&format!("[barriers]\nb = 2\n{}", with_task(&format!("count = 4\n{body}"))));
    assert_eq!(told.objects[0].kind, ObjectKind::Barrier { parties: 2 });
    let semaphore =
        workload(&format!("[semaphores]\ns = 2\n{}", with_task("work = [\"take s\", \"run 1ms\"]")));
    assert_eq!(semaphore.objects[0].kind, ObjectKind::Semaphore { initial: 2 });
}

#[test]
fn a_barrier_that_can_not_do_its_job_is_warned_about() {
    let scenario =
        scenario(&format!("[barriers]\nb = 5\n{}", with_task("work = [\"run 1ms\", \"barrier b\"]")));
    let warnings: Vec<String> = scenario.warnings.iter().map(ToString::to_string).collect();
    expect![[r#"
        barrier `b` needs 5 arrivals but only 1 task comes to it
         --> s.toml:5:21
          |
        5 | work = ["run 1ms", "barrier b"]
          |                     ^^^^^^^ it may never open"#]]
    .assert_eq(&warnings.join("\n").replace("dir/", ""));
}

#[test]
fn a_scenario_ends_by_itself_if_it_has_a_duration_or_all_tasks_end() {
    let endless = with_task("run = \"forever\"");
    assert!(!checks::ends_by_itself(&workload(&endless)));
    assert!(checks::ends_by_itself(&workload(&format!("duration = \"1s\"\n{endless}"))));
    assert!(checks::ends_by_itself(&workload(&with_task("run = \"3ms\""))));
}

#[test]
fn cpus_beyond_the_machine_are_shown_where_they_were_asked_for() {
    let check = |text: &str| checks::check_against(&workload(text), 8).map_err(|error| error.to_string());
    assert_eq!(check(&with_task("affinity = 7\ncpu = 7\nwork = [\"run 1ms\"]")), Ok(()));
    let error = check(&with_task("work = [\"run 1ms\", \"affinity 0-8\"]")).expect_err("CPU 8 of 8");
    expect![[r#"
        CPU 8 does not exist
         --> dir/s.toml:3:21
          |
        3 | work = ["run 1ms", "affinity 0-8"]
          |                     ^^^^^^^^ expected CPUs 0-7 of this machine"#]]
    .assert_eq(&error);
    assert!(check(&with_task("cpu = 8\nrun = \"1ms\"")).is_err());
    let late = "[[at]]\ntime = \"1ms\"\ntask = \"t\"\naffinity = \"9\"\n";
    let error = check(&format!("{}{late}", with_task("run = \"1ms\""))).expect_err("CPU 9 of 8");
    assert!(error.contains("s.toml:4:1"), "{error}");
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    check_error(
        "name = \"s\n",
        expect![[r#"
            invalid basic string
             --> s.toml:1:10
              |
            1 | name = "s
              |          ^ expected `"`"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\nrun = \"2ms\""),
        expect![[r#"
            duplicate key
             --> s.toml:4:1
              |
            4 | run = "2ms"
              | ^^^ expected valid TOML"#]],
    );
}

#[test]
fn wrong_scenarios_are_shown_with_what_would_be_right() {
    check_error(
        "nmae = \"x\"\n",
        expect![[r#"
            unknown key `nmae` in the scenario
             --> s.toml:1:1
              |
            1 | nmae = "x"
              | ^^^^ expected a key of the scenario, [[task]] or [[at]]; did you mean `name`?"#]],
    );
    check_error(
        "name = \"x\"\n",
        expect![[r#"
            the scenario has no task
             --> s.toml:1:1
              |
            1 | name = "x"
              | ^ expected at least one [[task]]"#]],
    );
    check_error(
        "duration = 5\n[[task]]\nname = \"t\"\nrun = \"1ms\"\n",
        expect![[r#"
            `duration` is the number 5
             --> s.toml:1:12
              |
            1 | duration = 5
              |            ^ expected a duration with its unit, such as "10ms", "1.5s" or "200us""#]],
    );
    check_error(
        &with_task("afinity = 3\nrun = \"1ms\""),
        expect![[r#"
            unknown key `afinity` in task `t`
             --> s.toml:3:1
              |
            3 | afinity = 3
              | ^^^^^^^ expected a key of a task; did you mean `affinity`?"#]],
    );
    check_error(
        &with_task("affinity = \"3-1\"\nrun = \"1ms\""),
        expect![[r#"
            the range 3-1 ends before it starts
             --> s.toml:3:12
              |
            3 | affinity = "3-1"
              |            ^^^^^ expected `all` or a CPU list such as `0-3,8`"#]],
    );
    check_error(
        &with_task("nice = 20\nrun = \"1ms\""),
        expect![[r#"
            `nice` is the number 20
             --> s.toml:3:8
              |
            3 | nice = 20
              |        ^^ expected a whole number from -20 to 19"#]],
    );
    check_error(
        &with_task("policy = \"fifi 3\"\nrun = \"1ms\""),
        expect![[r#"
            `policy` is the text "fifi 3"
             --> s.toml:3:10
              |
            3 | policy = "fifi 3"
              |          ^^^^^^^^ expected normal, batch, idle, `fifo N`, `rr N` or `deadline RUNTIME DEADLINE PERIOD`; did you mean `fifo`?"#]],
    );
    check_error(
        &with_task("work = [\"run 1ms\", \"slepp 2ms\"]"),
        expect![[r#"
            unknown operation `slepp`
             --> s.toml:3:21
              |
            3 | work = ["run 1ms", "slepp 2ms"]
              |                     ^^^^^ expected an operation such as `run 3ms`, `sleep 2ms` or `wait c`; did you mean `sleep`?"#]],
    );
    check_error(
        &with_task("work = [\"run 10\"]"),
        expect![[r#"
            `10` in `run DURATION`
             --> s.toml:3:14
              |
            3 | work = ["run 10"]
              |              ^^ expected a duration with its unit, such as 10ms or 1.5s"#]],
    );
    check_error(
        &with_task("work = [\"run 1ms\", \"lock\"]"),
        expect![[r#"
            wrong arguments of `lock`
             --> s.toml:3:20
              |
            3 | work = ["run 1ms", "lock"]
              |                    ^^^^^^ expected `lock MUTEX`"#]],
    );
    check_error(
        &with_task("work = [\"fork tt\", \"run 1ms\"]"),
        expect![[r#"
            there is no task `tt`
             --> s.toml:3:15
              |
            3 | work = ["fork tt", "run 1ms"]
              |               ^^ expected the name of a task of this file"#]],
    );
    check_error(
        &with_task("work = [\"signal ready\", \"wait reddy\"]"),
        expect![[r#"
            no task ever does `signal reddy`
             --> s.toml:3:26
              |
            3 | work = ["signal ready", "wait reddy"]
              |                          ^^^^ expected something that some task does `signal` on; did you mean `ready`?"#]],
    );
    check_error(
        "[[task]]\nname = \"worker\"\nrun = \"1ms\"\n[[at]]\ntime = \"1ms\"\ntask = \"wroker\"\nnice = 1\n",
        expect![[r#"
            there is no task `wroker`
             --> s.toml:6:8
              |
            6 | task = "wroker"
              |        ^^^^^^^^ expected the name of a task of this file; did you mean `worker`?"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\n[[at]]\ntime = \"1ms\"\ntask = \"t\""),
        expect![[r#"
            [[at]] changes nothing of its tasks
             --> s.toml:4:1
              |
            4 | [[at]]
              | ^^^^^^ expected one of affinity, nice, policy, priority, runtime, deadline, period, slice, group, uclamp, preferred_node, numa_faults, numa_group_faults"#]],
    );
    check_error(
        &format!("{}{}", with_task("run = \"1ms\""), with_task("run = \"1ms\"")),
        expect![[r#"
            a second task is called `t`
             --> s.toml:5:8
              |
            5 | name = "t"
              |        ^^^ expected a name of its own"#]],
    );
    check_error(
        &with_task("run = \"forever\"\nevery = \"3ms\""),
        expect![[r#"
            `every` beside `run = "forever"`
             --> s.toml:4:1
              |
            4 | every = "3ms"
              | ^^^^^ expected no end to the run, or a duration"#]],
    );
    check_error(
        &with_task("phase = \"2ms\""),
        expect![[r#"
            `phase` is the text "2ms"
             --> s.toml:3:9
              |
            3 | phase = "2ms"
              |         ^^^^^ expected tables headed [[task.phase]] (to shift the instances of a task, use `stagger`)"#]],
    );
    check_error(
        &with_task("cpu = 1"),
        expect![[r#"
            task `t` does nothing
             --> s.toml:1:1
              |
            1 | [[task]]
              | ^^^^^^^^ expected `run = "3ms"`, `run = "forever"` or `work = [...]`"#]],
    );
    check_error(
        &with_task("work = [\"yield\"]\nrepeat = \"forever\""),
        expect![[r#"
            task `t` repeats without ever taking time
             --> s.toml:1:1
              |
            1 | [[task]]
              | ^^^^^^^^ expected an operation that runs, sleeps or waits in the loop"#]],
    );
    check_error(
        &with_task("count = 0\nrun = \"1ms\""),
        expect![[r#"
            no task ever starts
             --> s.toml:1:1
              |
            1 | [[task]]
              | ^^^^^^^^ expected at least one instance"#]],
    );
    check_error(
        &format!(
            "{}[[task]]\nname = \"u\"\ncount = 0\nwork = [\"fork t 9\", \"run 1ms\"]\n",
            with_task("work = [\"yield\", \"fork u\"]")
        ),
        expect![[r#"
            task `t` is forked again and again without time passing
             --> s.toml:7:10
              |
            7 | work = ["fork t 9", "run 1ms"]
              |          ^^^^ expected work before the fork"#]],
    );
    check_error(
        &format!(
            "{}[[task]]\nname = \"u\"\ncount = 0\nwork = [\"barrier b\"]\n",
            with_task("work = [\"fork u 3\"]")
        ),
        expect![[r#"
            only forked tasks come to barrier `b`
             --> s.toml:7:18
              |
            7 | work = ["barrier b"]
              |                  ^ expected its number of arrivals in [barriers], as `b = 4`"#]],
    );
    check_error(
        "[barriers]\nc = 3\n[[task]]\nname = \"t\"\nwork = [\"barrier d\"]\n",
        expect![[r#"
            no task comes to a barrier `c`
             --> s.toml:2:1
              |
            2 | c = 3
              | ^ expected the name of a barrier that is used"#]],
    );
    check_error(
        &with_task("count = 4000000\nstagger = \"1000s\"\nrun = \"1ms\""),
        expect![[r#"
            the last instance of task `t` would start after 31 years
             --> s.toml:1:1
              |
            1 | [[task]]
              | ^^^^^^^^ expected a shorter `delay` or `stagger`"#]],
    );
    check_error(
        "[[task]]\nname = \"init\"\nrun = \"1ms\"\n",
        expect![[r#"
            the name `init` is taken by the task that starts all others
             --> s.toml:2:8
              |
            2 | name = "init"
              |        ^^^^^^ expected another name"#]],
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = read(&text, "s.toml");
    }

    #[test]
    fn texts_made_of_scenario_lines_never_panic(
        lines in proptest::collection::vec(proptest::sample::select(LINES), 0..25)
    ) {
        let _ = read(&lines.join("\n"), "s.toml");
        let task = format!("[[task]]\nname = \"t\"\n{}", lines.join("\n"));
        let _ = read(&task, "s.toml").map(|scenario| checks::check_against(&scenario.workload, 4));
    }

    #[test]
    fn any_operation_text_never_panics(text in "[a-z]{1,6}( [-a-z0-9.,{}/:é]{0,6}){0,3}", lead in 0..OPERATIONS.len()) {
        let _ = read(&with_task(&format!("work = [{text:?}]")), "s.toml");
        let rest = text.split_once(' ').map_or("", |(_, rest)| rest);
        let _ = read(&with_task(&format!("work = [\"{} {rest}\"]", OPERATIONS[lead].0)), "s.toml");
    }
}

const LINES: &[&str] = &[
    "[[task]]",
    "name = \"t\"",
    "name = \"u\"",
    "count = 3",
    "count = 4194304",
    "run = \"1ms\"",
    "run = \"forever\"",
    "every = \"3ms\"",
    "stagger = \"1000000s\"",
    "delay = \"30min\"",
    "work = [\"run 1ms\", \"barrier b{i}\"]",
    "work = [\"recv c\", \"send c\"]",
    "work = [\"fork t 9\", \"run 1ms\"]",
    "repeat = \"forever\"",
    "repeat = 3",
    "[[task.phase]]",
    "[[at]]",
    "time = \"1ms\"",
    "task = \"t\"",
    "affinity = \"0-3\"",
    "affinity = [0, 9]",
    "nice = -3",
    "[barriers]",
    "b = 2",
    "[semaphores]",
    "s = 1",
    "[set]",
    "a.b = 1979-05-27",
    "seed = 1",
    "= =",
    "uclamp = [1, 2]",
    "preferred_node = 1",
    "numa_faults = [1, 2]",
    "percpu_kthread = true",
    "policy = \"fifo 3\"",
];

#[test]
fn real_time_and_deadline_policies_are_read_in_both_spellings() {
    let policy = |lines: &str| {
        let text = with_task(&format!("run = \"1ms\"\n{lines}"));
        scenario(&text).workload.tasks[0].attributes.policy.unwrap()
    };
    assert_eq!(policy("policy = \"fifo\"\npriority = 50"), Policy::Fifo(50));
    assert_eq!(policy("policy = \"fifo 50\""), Policy::Fifo(50));
    assert_eq!(policy("policy = \"rr\"\npriority = 1"), Policy::RoundRobin(1));
    let ms = 1_000_000;
    let camera = Policy::Deadline { runtime: 5 * ms, deadline: 20 * ms, period: 20 * ms };
    assert_eq!(policy("policy = \"deadline\"\nruntime = \"5ms\"\nperiod = \"20ms\""), camera);
    assert_eq!(policy("policy = \"deadline 5ms 20ms 20ms\""), camera);
    let text = "policy = \"deadline\"\nruntime = \"5ms\"\ndeadline = \"10ms\"\nperiod = \"20ms\"";
    assert_eq!(policy(text), Policy::Deadline { runtime: 5 * ms, deadline: 10 * ms, period: 20 * ms });
}

#[test]
fn impossible_policies_are_refused_where_they_stand() {
    check_error(
        &with_task("run = \"1ms\"\npolicy = \"fifo\""),
        expect![[r#"
            a real-time policy without a priority
             --> s.toml:4:10
              |
            4 | policy = "fifo"
              |          ^^^^^^ expected `priority`, 1 to 99: the higher the more urgent"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\npolicy = \"fifo\"\npriority = 0"),
        expect![[r#"
            `priority` is the number 0
             --> s.toml:5:12
              |
            5 | priority = 0
              |            ^ expected `priority`, 1 to 99: the higher the more urgent"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\npriority = 5"),
        expect![[r#"
            `priority` without a policy that has one
             --> s.toml:4:1
              |
            4 | priority = 5
              | ^^^^^^^^ expected `policy = "fifo"` or `policy = "rr"` beside it"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\npolicy = \"deadline\"\nperiod = \"1s\""),
        expect![[r#"
            `policy = "deadline"` without a `runtime`
             --> s.toml:4:10
              |
            4 | policy = "deadline"
              |          ^^^^^^^^^^ expected `runtime` and `period`, and `deadline` if it is shorter"#]],
    );
    check_error(
        &with_task("run = \"1ms\"\npolicy = \"deadline 9ms 5ms 20ms\""),
        expect![[r#"
            the runtime of a deadline task is at most its deadline
             --> s.toml:4:10
              |
            4 | policy = "deadline 9ms 5ms 20ms"
              |          ^^^^^^^^^^^^^^^^^^^^^^^ expected runtime <= deadline <= period"#]],
    );
    check_error(
        &with_task("work = [\"policy deadline 1ms 30ms 20ms\", \"run 1ms\"]"),
        expect![[r#"
            the deadline of a deadline task is at most its period
             --> s.toml:3:17
              |
            3 | work = ["policy deadline 1ms 30ms 20ms", "run 1ms"]
              |                 ^^^^^^^^ expected runtime <= deadline <= period"#]],
    );
}
