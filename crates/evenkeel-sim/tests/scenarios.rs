//! Whole runs: text in, switches out. Every run is made twice and must have the same digest, and the scheduler's
//! invariants are checked after every event.
mod common;

use common::{Switches, time, workload};
use evenkeel::ids::CpuId;
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::Silent;
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{Attributes, Change, InterruptSource, SpecId, TimelineEntry};
use evenkeel_sim::digest::Digest;
use evenkeel_sim::metrics::TaskResult;
use evenkeel_sim::schedstat::schedstat;
use evenkeel_sim::{Delays, RunResult, SimError, SimParams, Simulation, StopTick};
use expect_test::{Expect, expect};

/// A small exact world: nothing takes time but what the test says.
fn exact() -> SimParams {
    let delays = Delays { tick: 0, ..Delays::default() };
    SimParams { fork_cost: 0, delays, ..SimParams::default() }
}

fn run_with(cpus: u32, text: &str, until: Ns, params: SimParams) -> Result<(String, RunResult), SimError> {
    let machine = Machine::regular(1, 1, cpus, 1, false);
    let workload = workload(text);
    let once = |check: bool| -> Result<_, SimError> {
        let observer = (Digest::default(), Switches::default());
        let mut sim = Simulation::new(&machine, &V6_12_117, &workload, params, observer)?;
        while sim.now() < until && sim.step()? {
            if check {
                sim.sched().check();
            }
        }
        sim.run_until(until)?;
        let names: Vec<String> = sim.sched().tasks().iter().map(|(task, _)| sim.task_name(task)).collect();
        let ((digest, switches), result) = sim.into_parts();
        Ok((digest.to_string(), switches.render(|task| names[task.index()].clone()), result))
    };
    let first = once(true)?;
    assert_eq!(first, once(false)?, "two runs are the same run");
    Ok((first.1, first.2))
}

fn check(cpus: u32, text: &str, until: &str, expected: Expect) -> RunResult {
    let (switches, result) = run_with(cpus, text, time(until), exact()).unwrap();
    expected.assert_eq(&switches);
    result
}

fn task<'a>(result: &'a RunResult, name: &str) -> &'a TaskResult {
    result.tasks.iter().find(|task| task.name == name).unwrap()
}

#[test]
fn a_task_alone_runs_without_interruption() {
    let result = check(
        2,
        "a: run 10ms",
        "1s",
        expect![[r#"
            0 cpu0 - -> init
            0 cpu0 init -> -
            1 cpu1 - -> a
            10001 cpu1 a -> -
        "#]],
    );
    let a = task(&result, "a");
    assert_eq!((a.times.run, a.times.sleep), (10 * MS, 0));
    assert_eq!(a.times.wait, US, "the interrupt to the idle CPU");
    assert_eq!((a.times.voluntary_switches, a.times.involuntary_switches), (1, 0));
    assert_eq!(result.elapsed, 10 * MS + US, "the run ends with its last task");
    assert_eq!(result.conservation.wasted, US);
}

/// `base_slice` is 2.8 ms on 8 CPUs: a slice ends at the first tick after it, every 4 ms (spec 2 §6.3, §6.7).
#[test]
fn two_tasks_on_one_cpu_alternate_every_tick() {
    let result = check(
        8,
        "a cpus 1: run 1s\nb cpus 1: run 1s",
        "24ms",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> -
        1 cpu1 - -> a
        4000 cpu1 a -> b
        8000 cpu1 b -> a
        12000 cpu1 a -> b
        16000 cpu1 b -> a
        20000 cpu1 a -> b
        24000 cpu1 b -> a
    "#]],
    );
    assert_eq!(result.cpus[1].busy, 24 * MS - US);
    assert_eq!(task(&result, "a").times.run + task(&result, "b").times.run, 24 * MS - US);
}

#[test]
fn equal_tasks_share_a_cpu_equally_and_nice_ones_by_weight() {
    let (_, result) = run_with(1, "a: run 10s\nb: run 10s", 4 * SEC, exact()).unwrap();
    assert!(task(&result, "a").times.run.abs_diff(task(&result, "b").times.run) <= 8 * MS);
    let (_, result) = run_with(1, "a: run 10s\nb nice 5: run 10s", 4 * SEC, exact()).unwrap();
    let (a, b) = (task(&result, "a").times.run, task(&result, "b").times.run);
    let fair = 4 * SEC * 335 / (1024 + 335);
    assert!(b.abs_diff(fair) <= 10 * MS, "{a} {b}: nice 5 weighs 335");
}

#[test]
fn a_timer_keeps_its_period_whatever_the_work() {
    let result = check(
        1,
        "a: run 3ms; timer 10ms; times 3",
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> a
        3000 cpu0 a -> -
        10000 cpu0 - -> a
        13000 cpu0 a -> -
        20000 cpu0 - -> a
        23000 cpu0 a -> -
        30000 cpu0 - -> a
        30000 cpu0 a -> -
    "#]],
    );
    let times = &task(&result, "a").times;
    assert_eq!((times.timer_uses, times.timer_misses, times.loops), (3, 0, 3));
    assert_eq!(times.timer_slack_min, Some(7 * MS as i64));
    assert_eq!(times.wake_latency.count(), 4, "the fork and three expiries");
}

/// Expiries at 10 and 20 (missed at 22: relative goes on with 32, absolute with 30) (spec 5 §6.3).
#[test]
fn a_missed_timer_restarts_or_keeps_its_grid() {
    let relative = check(
        1,
        "a: run 5ms; timer 10ms; run 12ms; timer 10ms; run 1ms; timer 10ms",
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> a
        5000 cpu0 a -> -
        10000 cpu0 - -> a
        23000 cpu0 a -> -
        32000 cpu0 - -> a
        32000 cpu0 a -> -
    "#]],
    );
    let absolute = check(
        1,
        "a: run 5ms; grid 10ms; run 12ms; grid 10ms; run 1ms; grid 10ms",
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> a
        5000 cpu0 a -> -
        10000 cpu0 - -> a
        23000 cpu0 a -> -
        30000 cpu0 - -> a
        30000 cpu0 a -> -
    "#]],
    );
    for (result, end) in [(relative, 32 * MS), (absolute, 30 * MS)] {
        let times = &task(&result, "a").times;
        assert_eq!((times.timer_misses, times.timer_slack_min), (1, Some(-2 * MS as i64)));
        assert_eq!(times.ended, Some(end));
    }
}

#[test]
fn a_mutex_serialises_and_is_handed_over_in_order() {
    let result = check(
        4,
        "w x3: lock m; run 2ms; unlock m; run 1ms",
        "1s",
        expect![[r#"
            0 cpu0 - -> init
            0 cpu0 init -> -
            1 cpu1 - -> w-0
            1 cpu2 - -> w-1
            1 cpu3 - -> w-2
            1 cpu2 w-1 -> -
            1 cpu3 w-2 -> -
            2002 cpu2 - -> w-1
            3001 cpu1 w-0 -> -
            4003 cpu3 - -> w-2
            5002 cpu2 w-1 -> -
            7003 cpu3 w-2 -> -
        "#]],
    );
    let ends: Vec<Ns> = (0..3).map(|i| task(&result, &format!("w-{i}")).times.ended.unwrap()).collect();
    assert!(ends.is_sorted());
}

#[test]
fn conditions_barriers_semaphores_and_channels_wake_whom_they_should() {
    let text = "
        wait: lock m; wait c m; run 1ms; unlock m; barrier b 3; run 1ms
        signal: run 2ms; lock m; signal c; run 1ms; unlock m; barrier b 3; run 1ms
        poster: run 1ms; post s; run 1ms; sync ch; barrier b 3; run 1ms
        taker: take s; run 3ms; recv ch; run 1ms
    ";
    let result = check(
        8,
        text,
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> -
        1 cpu1 - -> wait
        1 cpu2 - -> signal
        1 cpu3 - -> poster
        1 cpu4 - -> taker
        1 cpu1 wait -> -
        1 cpu4 taker -> -
        1002 cpu4 - -> taker
        2001 cpu3 poster -> -
        2002 cpu1 - -> wait
        2002 cpu1 wait -> -
        3001 cpu2 signal -> -
        3002 cpu1 - -> wait
        4003 cpu2 - -> signal
        4003 cpu3 - -> poster
        5002 cpu1 wait -> -
        5002 cpu4 taker -> -
        5003 cpu2 signal -> -
        5003 cpu3 poster -> -
    "#]],
    );
    assert!(result.tasks.iter().filter(|task| !task.launcher).all(|task| task.times.ended.is_some()));
}

#[test]
fn a_task_moves_when_its_affinity_changes() {
    let result = check(
        2,
        "a cpus 0: run 1ms; cpus 1; run 1ms; cpus all; run 1ms",
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> a
        1002 cpu0 a -> -
        1002 cpu0 - -> -
        1003 cpu1 - -> a
        3003 cpu1 a -> -
    "#]],
    );
    let a = task(&result, "a");
    assert_eq!((a.migrations.affinity, a.migrations.total(), a.cpu.0), (1, 1, 1));
}

#[test]
fn forks_execs_and_exits_do_what_they_say() {
    let text = "
        make x1: fork job; fork job; run 1ms; exit; run 1s
        job x0: exec; run 2ms
    ";
    let result = check(
        4,
        text,
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> -
        1 cpu1 - -> make
        2 cpu2 - -> job
        2 cpu3 - -> job-1
        1001 cpu1 make -> -
        2002 cpu2 job -> -
        2002 cpu3 job-1 -> -
    "#]],
    );
    assert_eq!(task(&result, "make").times.run, MS);
    assert_eq!(task(&result, "job-1").times.run, 2 * MS);
}

#[test]
fn busy_wall_time_includes_being_preempted() {
    let result = check(
        1,
        "a: spin 12ms\nb: run 6ms",
        "1s",
        expect![[r#"
        0 cpu0 - -> init
        0 cpu0 init -> a
        4000 cpu0 a -> b
        8000 cpu0 b -> a
        12000 cpu0 a -> b
        14000 cpu0 b -> -
    "#]],
    );
    assert!(task(&result, "a").times.ended.unwrap() < 16 * MS);
    assert!(task(&result, "a").times.run < 12 * MS);
}

#[test]
fn several_start_cpus_have_a_launcher_each_and_forks_take_time() {
    let params = SimParams::default();
    let (_, result) = run_with(4, "a x3: run 1ms\nb on 2: run 1ms", SEC, params).unwrap();
    let created: Vec<Ns> = ["a-0", "a-1", "a-2", "b"].map(|name| task(&result, name).times.created).into();
    assert_eq!(created, [50 * US, 100 * US, 150 * US, 50 * US]);
    assert_eq!(result.tasks.iter().filter(|task| task.launcher).count(), 2);
    assert!(result.tasks.iter().all(|task| !task.launcher || task.name == "init"));
}

#[test]
fn delays_and_jitter_shift_starts() {
    let seeds = [1, 2].map(|seed| {
        let params = SimParams { start_jitter: 5 * MS, seed, ..exact() };
        let (switches, _) = run_with(2, "a delay 10ms: run 1ms", SEC, params).unwrap();
        switches
    });
    assert_ne!(seeds[0], seeds[1]);
    let (_, result) = run_with(2, "a delay 10ms: run 1ms", SEC, exact()).unwrap();
    assert!(task(&result, "a").times.ended.unwrap().abs_diff(11 * MS) <= US);
}

#[test]
fn ticks_follow_the_policy() {
    let ticks = |stop_tick| {
        let params = SimParams { stop_tick, ..exact() };
        let (_, result) = run_with(2, "a cpus 0: run 21ms; sleep 18ms; run 1ms", 100 * MS, params).unwrap();
        assert_eq!(result.elapsed, 40 * MS);
        [result.cpus[0].ticks, result.cpus[1].ticks]
    };
    assert_eq!(
        ticks(StopTick::AtOnce),
        [5, 0],
        "at 4, 8, 12, 16 and 20 ms; the last ms ends at 40 before the tick"
    );
    assert_eq!(ticks(StopTick::AfterIdleTick), [6, 0], "one more, at 24 ms, which finds the CPU idle");
    assert_eq!(ticks(StopTick::Never), [9, 9]);
}

#[test]
fn longer_delays_make_wake_ups_later() {
    let latency = |resched_ipi| {
        let params =
            SimParams { delays: Delays { resched_ipi, call_ipi: resched_ipi, ..exact().delays }, ..exact() };
        let (_, result) = run_with(2, "a cpus 1: run 10ms", SEC, params).unwrap();
        task(&result, "a").times.wake_latency.max().unwrap()
    };
    assert_eq!(latency(0), 0);
    assert_eq!(latency(7 * US), 7 * US);
}

#[test]
fn switch_costs_delay_the_program() {
    let params = SimParams { switch_cost: 3 * US, ..exact() };
    let (_, result) = run_with(1, "a: run 1ms; sleep 1ms; run 1ms", SEC, params).unwrap();
    assert_eq!(task(&result, "a").times.run, 2 * MS + 6 * US);
}

#[test]
fn time_that_stands_still_is_an_error_with_a_name() {
    let error = |text| run_with(2, text, SEC, exact()).unwrap_err().to_string();
    let endless = "a: post s; take s; forever";
    assert_eq!(
        error(endless),
        "task `a`: its program repeats without taking time, so simulated time would stand still at 1000 ns"
    );
    assert_eq!(
        error("a: unlock m"),
        "task `a`: at 1000 ns it releases the mutex `m`, which it does not hold"
    );
    let params = SimParams { tasks_max: 10, ..exact() };
    let bomb = run_with(2, "a: fork a; run 1ms; forever", SEC, params).unwrap_err().to_string();
    assert!(bomb.starts_with("task `a`: forking would exceed the limit of 10 tasks at "), "{bomb}");
    assert_eq!(error("a x0: run 1ms"), "the workload starts no task");
}

#[test]
fn a_task_that_waits_beside_an_idle_cpu_is_seen_by_both_measures() {
    // Pinned to one CPU, so that no balancer can help: not a violation. Free to go, but kept: one, if it happened.
    let (_, result) = run_with(2, "a x2 cpus 0: run 5s", 3 * SEC, exact()).unwrap();
    assert_eq!(result.conservation.wasted, 0);
    assert_eq!((result.conservation.looks, result.conservation.violations.len()), (3, 0));
}

/// CPU 1 is outside every domain, so nobody balances for it, although the tasks may run there.
#[test]
fn an_isolated_cpu_that_tasks_may_use_stays_idle_and_is_reported() {
    let workload = workload("a x2 cpus all: run 5s");
    let mut machine = Machine::regular(1, 1, 2, 1, false);
    machine.isolated.set(CpuId(1));
    let mut sim = Simulation::new(&machine, &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run_until(3 * SEC).unwrap();
    let conservation = sim.result().conservation;
    assert_eq!((conservation.wasted, conservation.violated), (3 * SEC, 3 * SEC));
    let found: Vec<_> = conservation.violations.iter().map(|v| (v.at, v.idle_cpu.0, v.busy_cpu.0)).collect();
    assert_eq!(found, [(SEC, 1, 0), (2 * SEC, 1, 0)]);
}

#[test]
fn changes_from_outside_reach_every_instance() {
    let mut workload = workload("a x2: run 20ms");
    let at = |at, attributes| TimelineEntry {
        at,
        change: Change::SetAttributes { task: SpecId(0), attributes },
        origin: None,
    };
    workload.timeline = vec![
        at(5 * MS, Attributes { affinity: Some(vec![3]), ..Attributes::default() }),
        at(10 * MS, Attributes { nice: Some(5), affinity: Some(vec![]), ..Attributes::default() }),
    ];
    let machine = Machine::regular(1, 1, 4, 1, false);
    let mut sim = Simulation::new(&machine, &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run_until(5 * MS + 10 * US).unwrap();
    let tasks = |sim: &Simulation<Silent>| {
        sim.sched().tasks().iter().skip(1).map(|(_, t)| (t.cpu.0, t.nice)).collect()
    };
    let now: Vec<(u32, i32)> = tasks(&sim);
    assert_eq!(now, [(3, 0), (3, 0)], "the stopper took them there");
    sim.run_until(10 * MS).unwrap();
    let result = sim.result();
    let why = "interrupts of two forks and to CPU 3; while pinned there together they waste nothing";
    assert_eq!(result.conservation.wasted, 3 * US, "{why}");
    sim.run(SEC).unwrap();
    let now: Vec<(u32, i32)> = tasks(&sim);
    assert_eq!(now.iter().map(|&(_, nice)| nice).collect::<Vec<_>>(), [5, 5]);
    assert!(sim.finished());
    let text = schedstat(sim.sched());
    assert!(text.starts_with("version 16\n"), "{text}");
    let domains = text.lines().filter(|line| line.starts_with("domain0 f ")).count();
    assert_eq!((domains, text.lines().count()), (4, 2 + 8));
    let ran: u64 = text
        .lines()
        .filter_map(|line| line.strip_prefix("cpu")?.split(' ').nth(7)?.parse::<u64>().ok())
        .sum();
    assert_eq!(ran, 40 * MS, "rq_cpu_time");
}

#[test]
fn forked_tasks_inherit_and_groups_are_made() {
    let mut workload = workload("a nice 3 cpus 1: fork b; run 1ms\nb x0: run 1ms");
    workload.tasks[0].attributes.group = Some("/x/y".into());
    let machine = Machine::regular(1, 1, 2, 1, false);
    let mut sim = Simulation::new(&machine, &V6_12_117, &workload, exact(), Silent).unwrap();
    sim.run(SEC).unwrap();
    let b = &sim.sched().tasks()[sim.result().tasks[2].id];
    assert_eq!((b.nice, b.cpu.0, b.nr_cpus_allowed), (3, 1, 1));
    let groups: Vec<&str> = sim.sched().groups().iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, ["/", "/x", "/x/y"]);
    assert_eq!(b.group.index(), 2);
}

#[test]
fn yielding_lets_the_other_go_first() {
    let (_, result) = run_with(1, "a: run 1ms; yield; run 1ms\nb: run 1ms", SEC, exact()).unwrap();
    let end = |name| task(&result, name).times.ended.unwrap();
    assert!(end("b") < end("a"));
    assert_eq!(task(&result, "a").times.involuntary_switches, 1);
}

#[test]
fn interrupts_take_time_from_whoever_runs_and_hold_everything_else_up() {
    let mut workload = workload(
        "long cpus 0: run 10ms
         spin cpus 1: spin 10ms
         timer cpus 0 delay 5050us: run 1us",
    );
    let source = |cpus: &[u32], every, run, start| InterruptSource {
        cpus: cpus.into(),
        every,
        run,
        start,
        ..InterruptSource::default()
    };
    // The first handler that CPU 0 meets is at work when the timer expires, and until 50 us later.
    workload.interrupts = vec![source(&[0], MS, 100 * US, MS), source(&[1], 3 * MS, MS, 9_500 * US)];
    let params = SimParams { fork_cost: 0, ..SimParams::default() };
    let machine = Machine::regular(1, 1, 2, 1, false);
    let mut sim = Simulation::new(&machine, &V6_12_117, &workload, params, Switches::default()).unwrap();
    sim.run_until(100 * MS).unwrap();
    let result = sim.result();
    let times = |name: &str| &result.tasks.iter().find(|task| task.name == name).unwrap().times;
    // 1 ms at first, then 0.9 ms of every one, would be done at 11 ms, but for the microsecond of the other task.
    assert_eq!(times("long").run, 10 * MS + 11 * 100 * US);
    // It starts when the interrupt of its fork arrives, after 1 us, and would be done after 10 ms, while the handler has the
    // CPU until 10.5 ms.
    assert_eq!(times("spin").run, 10_500 * US - US);
    let arrival = sim.observer().0.iter().find(|switch| switch.0 > 5 * MS && switch.1 == 0).unwrap().0;
    assert_eq!(arrival, 5_100 * US, "a timer waits for the end of the handler");
    assert_eq!(result.cpus[0].stolen, 11 * 100 * US, "then everything has ended");
}
