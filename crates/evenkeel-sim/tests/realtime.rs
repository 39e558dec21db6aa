//! Real-time and deadline tasks: who runs before whom, what is left for fair tasks, and where everybody goes.
//!
//! Unless said otherwise every test runs under all kernels. The rules are those of `sched(7)` and of spec 2 §15.
#![allow(missing_docs)]
mod common;

use common::{Switches, workload};
use evenkeel::kernel::{Features, Kernel};
use evenkeel::kernels::{self, ALL, V4_19_0, V6_1_192, V6_12_117};
use evenkeel::observe::Observer;
use evenkeel::queue_rules::StarvationGuard;
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{InterruptSource, Workload};
use evenkeel_sim::{RunResult, SimParams, Simulation, StopTick};

/// Tasks start at once and switching costs nothing, so that times are round.
fn params() -> SimParams {
    SimParams { fork_cost: 0, switch_cost: 0, stop_tick: StopTick::Never, ..SimParams::default() }
}

fn run_workload<O: Observer>(
    kernel: &Kernel,
    cpus: u32,
    workload: &Workload,
    span: Ns,
    observer: O,
) -> Simulation<O> {
    let machine = Machine::regular(1, 1, cpus, 1, false);
    let mut sim = Simulation::new(&machine, kernel, workload, params(), observer).unwrap();
    sim.run_until(span).unwrap();
    sim.sched().check();
    sim
}

fn run(kernel: &Kernel, cpus: u32, text: &str, span: Ns) -> RunResult {
    run_workload(kernel, cpus, &workload(text), span, evenkeel::observe::Silent).result()
}

/// Running time of a task, by name.
fn ran(result: &RunResult, name: &str) -> Ns {
    result.tasks.iter().find(|task| task.name == name).unwrap_or_else(|| panic!("no task {name}")).times.run
}

/// `ms name` for every switch on CPU 0, in whole milliseconds.
fn order(kernel: &Kernel, text: &str, span: Ns) -> String {
    let sim = run_workload(kernel, 1, &workload(text), span, Switches::default());
    let name = |task| sim.task_name(task);
    let lines = sim.observer().0.iter().filter_map(|&(now, _, _, next)| {
        let next = next.map_or("-".into(), name);
        (next != "init").then(|| format!("{} {next}", now / MS))
    });
    let mut lines: Vec<String> = lines.collect();
    lines.dedup();
    // Tasks with a delay run for an instant at the start.
    while lines.get(1).is_some_and(|line| line.starts_with("0 ")) {
        lines.remove(0);
    }
    lines.join(", ")
}

fn guards_by_throttling(kernel: &Kernel) -> bool {
    kernel.queues.starvation_guard == StarvationGuard::Throttling
}

#[test]
fn the_highest_priority_runs_until_it_sleeps_and_preempts_at_once() {
    for kernel in ALL {
        let text = "low fifo 10: run 100ms
                    high fifo 20 delay 30ms: run 20ms
                    same fifo 10 delay 10ms: run 40ms
                    fair: run 10ms";
        let expected = "0 low, 30 high, 50 low, 120 same, 160 fair, 170 -";
        assert_eq!(order(kernel, text, 300 * MS), expected, "{}", kernel.build);
    }
}

#[test]
fn round_robin_tasks_take_turns_of_100_ms_and_fifo_tasks_of_their_priority_do_not() {
    for kernel in ALL {
        let text = "a rr 10: run 250ms
                    b rr 10 delay 1ms: run 150ms";
        let got = order(kernel, text, 600 * MS);
        assert_eq!(got, "0 a, 100 b, 200 a, 300 b, 350 a, 400 -", "{}", kernel.build);
        let text = "a fifo 10: run 250ms
                    b rr 10 delay 1ms: run 150ms";
        assert_eq!(order(kernel, text, 600 * MS), "0 a, 250 b, 400 -", "{}", kernel.build);
    }
}

#[test]
fn a_yield_lets_equals_run_but_nobody_less_urgent() {
    for kernel in ALL {
        let text = "a fifo 10: run 10ms; yield; run 10ms
                    b fifo 10 delay 1ms: run 5ms
                    c fifo 9 delay 1ms: run 5ms";
        assert_eq!(order(kernel, text, 100 * MS), "0 a, 10 b, 15 a, 25 c, 30 -", "{}", kernel.build);
    }
}

#[test]
fn the_earliest_deadline_runs_before_all_real_time_tasks() {
    for kernel in ALL {
        let text = "rt fifo 99: run 100ms
                    late deadline 30ms/100ms/100ms delay 10ms: run 20ms
                    soon deadline 10ms/20ms/20ms delay 20ms: run 8ms";
        let expected = "0 rt, 10 late, 20 soon, 28 late, 38 rt, 128 -";
        assert_eq!(order(kernel, text, 300 * MS), expected, "{}", kernel.build);
    }
}

#[test]
fn a_deadline_task_that_wants_more_gets_its_runtime_and_no_more() {
    for kernel in ALL {
        // 8 ms are two ticks, so the limit is noticed on time.
        let text = "hog deadline 8ms/20ms/40ms: run 10s
                    fair: run 10s";
        let result = run(kernel, 1, text, 2 * SEC);
        assert!(ran(&result, "hog").abs_diff(2 * SEC / 5) <= MS, "{}", kernel.build);
        assert!(ran(&result, "fair").abs_diff(2 * SEC * 4 / 5) <= MS, "{}", kernel.build);
        // 10 ms are noticed at 12 ms and paid back: 10 in the long run.
        let result = run(kernel, 1, "hog deadline 10ms/40ms/40ms: run 10s", 2 * SEC);
        assert!(ran(&result, "hog").abs_diff(SEC / 2) <= 4 * MS, "{}: {result:?}", kernel.build);
    }
}

#[test]
fn a_deadline_task_that_yields_waits_for_its_next_period() {
    for kernel in ALL {
        let text = "camera deadline 10ms/50ms/50ms: run 4ms; yield; forever
                    fair: run 10s";
        let expected = "0 camera, 4 fair, 50 camera, 54 fair, 100 camera, 104 fair";
        assert_eq!(order(kernel, text, 120 * MS), expected, "{}", kernel.build);
    }
}

#[test]
fn a_real_time_hog_leaves_fair_tasks_50_ms_of_every_second() {
    for kernel in ALL {
        let result = run(kernel, 1, "rt fifo 50: run 100s\n fair x2: run 100s", 10 * SEC);
        let fair = ran(&result, "fair-0") + ran(&result, "fair-1");
        assert!(fair.abs_diff(SEC / 2) <= 4 * MS, "{}: {fair} ns in 10 s", kernel.build);
        assert_eq!(fair + ran(&result, "rt"), 10 * SEC, "{}", kernel.build);
        let text = "rt fifo 50: run 100s\n fair: run 100s";
        let at = |ms: u64| ran(&run(kernel, 1, text, ms * MS), "fair");
        assert_eq!(at(949), 0, "{}: nothing before it starves", kernel.build);
        assert!(at(1001) >= 47 * MS, "{}: its part of the first second: {}", kernel.build, at(1001));
    }
}

#[test]
fn only_older_kernels_stop_real_time_tasks_when_nobody_wants_the_cpu() {
    for kernel in ALL {
        let result = run(kernel, 1, "rt fifo 50: run 100s", 10 * SEC);
        let expected = if guards_by_throttling(kernel) { 9500 * MS } else { 10 * SEC };
        assert!(ran(&result, "rt").abs_diff(expected) <= 4 * MS, "{}: {}", kernel.build, ran(&result, "rt"));
    }
}

#[test]
fn in_the_oldest_kernel_a_cpu_borrows_the_time_of_others_until_fair_tasks_starve() {
    let text = "rt fifo 50 cpus 0: run 100s\n fair cpus 0: run 100s";
    let result = run(&V4_19_0, 4, text, 10 * SEC);
    assert_eq!(ran(&result, "rt"), 10 * SEC);
    assert_eq!(ran(&result, "fair"), 0);
    let off = Kernel { features: V4_19_0.features - Features::RT_RUNTIME_SHARE, ..V4_19_0 };
    let result = run(&off, 4, text, 10 * SEC);
    assert!(ran(&result, "fair").abs_diff(SEC / 2) <= 4 * MS, "{}", ran(&result, "fair"));
}

#[test]
fn the_guard_can_be_set_and_switched_off() {
    let text = "rt fifo 50: run 100s\n fair: run 100s";
    let with = |base: Kernel, change: fn(&mut Kernel)| {
        let mut kernel = base;
        change(&mut kernel);
        ran(&run(&kernel, 1, text, 2 * SEC), "fair")
    };
    assert_eq!(with(V6_12_117, |kernel| kernel.tunables.guard.fair_server_runtime_ns = 0), 0);
    assert_eq!(with(V6_1_192, |kernel| kernel.tunables.guard.rt_runtime_ns = SEC), 0);
    let half = with(V6_1_192, |kernel| kernel.tunables.guard.rt_runtime_ns = SEC / 2);
    assert!(half.abs_diff(SEC) <= 4 * MS, "{half}");
    let tenth = with(V6_12_117, |kernel| kernel.tunables.guard.fair_server_runtime_ns = SEC / 10);
    assert!(tenth.abs_diff(SEC / 5) <= 8 * MS, "{tenth}");
}

#[test]
fn fair_tasks_that_get_their_time_anyway_get_no_more_by_the_server() {
    // 90 % for the real-time task, in bursts: fair tasks have 100 ms of every second by themselves.
    let text = "rt fifo 50: run 90ms; sleep 10ms; forever\n fair: run 100s";
    for kernel in ALL {
        let result = run(kernel, 1, text, 10 * SEC);
        assert!(ran(&result, "fair").abs_diff(SEC) <= 20 * MS, "{}: {}", kernel.build, ran(&result, "fair"));
    }
}

#[test]
fn a_fair_task_leaves_a_cpu_that_a_real_time_task_needs() {
    for kernel in ALL {
        // The task is pinned to CPU 0 at first, where it gets 20 %; then it may leave.
        let text = "rt fifo 50 cpus 0: run 8ms; sleep 2ms; forever
                    fair cpus 0: run 200ms; cpus all; run 100s
                    others x2 cpus 1-2: run 100s";
        let sim = run_workload(kernel, 4, &workload(text), 3 * SEC, evenkeel::observe::Silent);
        let capacity = |cpu: usize| sim.sched().rqs()[cpu].cpu_capacity;
        // 80 % of 1024 are taken; the average swings around that by what 10 ms are of its half-life of 32 ms.
        assert!((150..260).contains(&capacity(0)), "{}: {}", kernel.build, capacity(0));
        assert_eq!(capacity(1), 1024, "{}", kernel.build);
        let fair = ran(&sim.result(), "fair");
        if kernel.build == V4_19_0.build {
            // An idle CPU with one idle CPU more than the busy group leaves it alone (spec 3 §9.4).
            assert_eq!(fair, 600 * MS);
            continue;
        }
        assert!(fair > 1800 * MS, "{}: {fair}; 1 s are lost while it is pinned", kernel.build);
        let moves = sim.result().tasks.iter().find(|task| task.name == "fair").unwrap().migrations;
        assert_eq!(moves.total(), 1, "{}: once, and for good: {moves:?}", kernel.build);
    }
}

#[test]
fn a_waiting_real_time_task_goes_where_it_can_run() {
    for kernel in ALL {
        let text = "a fifo 10 on 0: run 50ms
                    b fifo 10 on 0 delay 10ms: run 50ms
                    fair x2: run 1s";
        let result = run(kernel, 2, text, 100 * MS);
        for name in ["a", "b"] {
            let task = result.tasks.iter().find(|task| task.name == name).unwrap();
            assert_eq!(task.times.run, 50 * MS, "{}: {name}", kernel.build);
            assert!(task.times.wait <= 10 * US, "{}: {name} waited {}", kernel.build, task.times.wait);
        }
    }
}

#[test]
fn a_cpu_that_gets_free_pulls_a_waiting_real_time_task() {
    for kernel in ALL {
        // `c` finds both CPUs taken by tasks as urgent; it runs as soon as one of them sleeps, wherever that is.
        let text = "a fifo 10 cpus 0: run 80ms
                    b fifo 10 cpus 1: run 30ms; sleep 1s
                    c fifo 5 on 0: run 20ms
                    fair x2: run 1s";
        let result = run(kernel, 2, text, 200 * MS);
        let task = result.tasks.iter().find(|task| task.name == "c").unwrap();
        assert!(
            task.times.wait.abs_diff(30 * MS) <= 100 * US,
            "{}: waited {}",
            kernel.build,
            task.times.wait
        );
    }
}

#[test]
fn policies_change_while_a_task_runs() {
    for kernel in ALL {
        let text = "a: run 20ms; policy fifo 10; run 30ms; policy normal -; run 20ms
                    b: run 1s";
        let result = run(kernel, 1, text, 300 * MS);
        let a = result.tasks.iter().find(|task| task.name == "a").unwrap();
        assert_eq!(a.times.run, 70 * MS, "{}", kernel.build);
        // As a fair task it waits about as long as it runs; as a real-time task not at all.
        assert!((20 * MS..70 * MS).contains(&a.times.wait), "{}: {}", kernel.build, a.times.wait);
    }
}

#[test]
fn interrupts_take_capacity_only_where_their_time_is_accounted_for() {
    let mut noisy = workload("fair cpus 0: run 100s");
    let every = MS;
    let source = InterruptSource { cpus: vec![0], every, run: 300 * US, ..InterruptSource::default() };
    noisy.interrupts = vec![source];
    for kernel in ALL {
        let accounting = |on: bool| {
            let queues = evenkeel::kernel::RunQueueRules { irq_time_accounting: on, ..kernel.queues };
            let kernel = Kernel { queues, ..*kernel };
            let sim = run_workload(&kernel, 2, &noisy, SEC, evenkeel::observe::Silent);
            let task = sim.result().tasks.iter().find(|task| task.name == "fair").unwrap().id;
            let rq = &sim.sched().rqs()[0];
            (sim.sched().entity(task).sum_exec, rq.pressure.irq.util_avg, rq.cpu_capacity)
        };
        assert_eq!(accounting(false).1, 0, "{}", kernel.build);
        assert_eq!(accounting(false).2, 1024, "{}", kernel.build);
        let (sum_exec, irq, capacity) = accounting(true);
        assert!(sum_exec.abs_diff(700 * MS) <= 2 * MS, "{}: {sum_exec}", kernel.build);
        // 300 us of every ms are 307 of 1024.
        assert!((280..330).contains(&irq), "{}: {irq}", kernel.build);
        assert!((690..750).contains(&capacity), "{}: {capacity}", kernel.build);
    }
}

/// The workload of a recording of 6.12.117 (cyclictest with four threads of priority 80 beside six spinning tasks on four
/// cores of two threads): its threads counted 250, 220, 199 and 179 periods in the second.
#[test]
fn periodic_real_time_tasks_run_at_once_beside_spinners_which_have_the_rest() {
    let text = "hog x6: run 100s
                c0 fifo 80 cpus 0: run 20us; timer 4ms; forever
                c1 fifo 80 cpus 1: run 20us; timer 4500us; forever
                c2 fifo 80 cpus 2: run 20us; timer 5ms; forever
                c3 fifo 80 cpus 3: run 20us; timer 5500us; forever";
    for kernel in ALL {
        let machine = Machine::regular(1, 1, 4, 2, false);
        let silent = evenkeel::observe::Silent;
        let mut sim = Simulation::new(&machine, kernel, &workload(text), params(), silent).unwrap();
        sim.run_until(SEC).unwrap();
        let result = sim.result();
        for (name, recorded) in [("c0", 250), ("c1", 220), ("c2", 199), ("c3", 179)] {
            let task = result.tasks.iter().find(|task| task.name == name).unwrap();
            assert!(task.times.activations.abs_diff(recorded) <= 5, "{}: {name}", kernel.build);
            assert!(task.times.wake_latency.max().unwrap() <= 10 * US, "{}: {name}", kernel.build);
        }
        let hogs: Ns = (0..6).map(|i| ran(&result, &format!("hog-{i}"))).sum();
        assert!(hogs > 6 * SEC - 20 * MS, "{}: {hogs}", kernel.build);
    }
}

#[test]
fn the_default_kernel_is_among_those_tested() {
    assert!(ALL.iter().any(|kernel| kernel.build == kernels::DEFAULT.build));
}
