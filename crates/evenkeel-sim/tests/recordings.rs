//! Ensembles of small workloads against what a real kernel did with them.
//!
//! The recordings: kernel 6.12.117 on 4 cores x 2 threads with one last-level cache, workloads `fork12` and `skew16`,
//! five runs each with starts shifted by some milliseconds. They were made on a machine emulated one CPU at a time, with
//! ticks up to a millisecond off. Migrations are comparable within a factor of two, idle time as a distribution; counts
//! of switches are not, for they depend on how regular ticks are. Windows start 20 ms after the start, or at the release.
mod common;

use common::workload;
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::Silent;
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{Attributes, Change, SpecId, TimelineEntry, Workload};
use evenkeel_sim::{SimParams, Simulation};

/// What one run did from `from` to `until`.
struct Member {
    migrations: u64,
    /// Idle share of all CPU time, in 1/10000.
    idle: u64,
    /// Idle CPU time that waiting tasks could have used, in 1/10000.
    wasted: u64,
}

fn member(workload: &Workload, fork_cost: Ns, from: Ns, until: Ns, seed: u64) -> Member {
    let machine = Machine::regular(1, 1, 4, 2, false);
    let params = SimParams {
        seed,
        fork_cost: fork_cost + seed * fork_cost / 10,
        tick_jitter: 500 * US,
        ..SimParams::default()
    };
    let mut sim = Simulation::new(&machine, &V6_12_117, workload, params, Silent).unwrap();
    let read = |sim: &Simulation<Silent>| {
        let result = sim.result();
        let migrations: u64 = result.tasks.iter().map(|task| task.migrations.total()).sum();
        let idle: Ns = result.cpus.iter().map(|cpu| cpu.idle).sum();
        (migrations, idle, result.conservation.wasted)
    };
    sim.run_until(from).unwrap();
    let before = read(&sim);
    sim.run_until(until).unwrap();
    let after = read(&sim);
    let share = |time: Ns| time * 10_000 / ((until - from) * 8);
    Member {
        migrations: after.0 - before.0,
        idle: share(after.1 - before.1),
        wasted: share(after.2 - before.2),
    }
}

/// Migrations, idle and wasted shares of the members of an ensemble, each sorted.
fn ensemble(workload: &Workload, fork_cost: Ns, from: Ns, until: Ns) -> [Vec<u64>; 3] {
    let members: Vec<Member> = (1..=9).map(|seed| member(workload, fork_cost, from, until, seed)).collect();
    let sorted = |value: fn(&Member) -> u64| {
        let mut values: Vec<u64> = members.iter().map(value).collect();
        values.sort_unstable();
        values
    };
    [sorted(|member| member.migrations), sorted(|member| member.idle), sorted(|member| member.wasted)]
}

/// What runs on any kernel beside the workload: short work on every CPU, which ends in looking for more (newly idle).
fn with_kernel_threads(text: &str) -> String {
    let threads = (0..8).map(|cpu| format!("kw{cpu} cpus {cpu}: run 20us; sleep {}ms; forever", 11 + cpu));
    threads.fold(text.to_owned(), |text, line| text + "\n" + &line)
}

fn released(text: &str, at: Ns) -> Workload {
    let mut workload = workload(text);
    let attributes = Attributes { affinity: Some(Vec::new()), ..Attributes::default() };
    let change = Change::SetAttributes { task: SpecId(0), attributes };
    workload.timeline = vec![TimelineEntry { at, change, origin: None }];
    workload
}

/// Whether the median is within a factor of two of the recorded one.
fn similar(ours: &[u64], recorded: [u64; 5]) -> bool {
    let (ours, theirs) = (ours[ours.len() / 2], recorded[recorded.len() / 2]);
    ours <= 2 * theirs && theirs <= 2 * ours
}

/// 12 spinners forked in a row. Recorded: no CPU idle for more than 0.23 % of the time.
#[test]
fn fork12_spreads_at_once_and_keeps_rotating() {
    let [migrations, idle, wasted] =
        ensemble(&workload(&with_kernel_threads("fk x12: run 10s")), 100 * US, 20 * MS, 1000 * MS);
    assert!(similar(&migrations, [17, 17, 18, 21, 21]), "{migrations:?}");
    assert!(idle.iter().all(|&idle| idle <= 23), "{idle:?}");
    assert!(wasted.iter().all(|&wasted| wasted <= 4), "{wasted:?}");
}

/// 16 spinners held on CPU 0 for 250 ms, then released. Recorded: 0.00 to 3.2 % of all CPU time wasted since.
#[test]
fn skew16_is_resolved_within_the_recorded_range() {
    let workload = released(&with_kernel_threads("sk x16 cpus 0: run 10s"), 250 * MS);
    let [migrations, idle, wasted] = ensemble(&workload, 100 * US, 250 * MS, 1500 * MS);
    assert!(similar(&migrations, [14, 19, 22, 23, 38]), "{migrations:?}");
    assert!(wasted.iter().all(|&wasted| wasted <= 320), "{wasted:?}");
    assert_eq!(idle, wasted, "a CPU was only ever idle while others had too much");
}

/// 4 spinners bound to CPU 0, then 8 free ones, forked every 2 ms or more, as in the recording: so the core of CPU 0 counts
/// as overloaded when the last ones are forked, and they queue elsewhere. Recorded: 12.4 to 12.6 % idle, the sibling of
/// CPU 0; nothing that balances looks beyond the average of its core. Forked within a millisecond, before the load of the
/// bound ones shows, one of the free ones lands there.
#[test]
fn pinmix_leaves_the_sibling_of_the_bound_tasks_idle() {
    let workload = workload(&with_kernel_threads("pa x4 cpus 0: run 10s\npb x8: run 10s"));
    let [_, idle, wasted] = ensemble(&workload, 2 * MS, 200 * MS, 1000 * MS);
    assert!(idle.iter().all(|idle| (1230..=1260).contains(idle)), "{idle:?}");
    assert!(wasted.iter().all(|wasted| (1230..=1260).contains(wasted)), "{wasted:?}");
}

/// How long after the release until no CPU is idle while another has two tasks or more, and how many tasks each CPU has at
/// the end.
fn spread(workload: &Workload, release: Ns, until: Ns, seed: u64) -> (Ns, Vec<u32>) {
    let machine = Machine::regular(1, 1, 4, 2, false);
    let params = SimParams { seed, start_jitter: 4 * MS, background: true, ..SimParams::default() };
    let mut sim = Simulation::new(&machine, &V6_12_117, workload, params, Silent).unwrap();
    let runnable = |sim: &Simulation<Silent>| -> Vec<u32> {
        sim.sched().queues().iter().map(|queue| queue.h_nr_runnable()).collect()
    };
    let mut settled = None;
    let mut at = release;
    while at < until {
        sim.run_until(at).unwrap();
        if settled.is_none() && runnable(&sim).iter().all(|&tasks| tasks > 0) {
            settled = Some(at - release);
        }
        at += MS;
    }
    sim.run_until(until).unwrap();
    (settled.expect("no CPU stays idle"), runnable(&sim))
}

/// 16 spinners held on CPU 0 for 250 ms and released, with the kernel threads of a real machine. Recorded (6.12, five
/// members): the first moment without an idle CPU beside an overloaded one was 0, 5, 10, 27 and 37 ms after the release, and at
/// the end each CPU had two tasks, within one.
#[test]
fn released_tasks_leave_no_cpu_idle_within_60_ms_and_end_two_to_a_cpu() {
    let workload = released("sk x16 cpus 0: run 10s", 250 * MS);
    for seed in 0..25 {
        let (settled, tasks) = spread(&workload, 250 * MS, 1501 * MS, seed);
        assert!(settled <= 60 * MS, "seed {seed}: {settled} ns");
        assert!(tasks.iter().all(|tasks| (1..=3).contains(tasks)), "seed {seed}: {tasks:?}");
    }
}

/// 12 spinners forked in a row on 8 CPUs. Recorded: idle 0.05 to 0.23 % of the time from 20 ms on; asked for: under 1 %.
#[test]
fn forked_spinners_leave_no_cpu_idle() {
    let workload = workload("fk x12: run 10s");
    for seed in 0..25 {
        let machine = Machine::regular(1, 1, 4, 2, false);
        let params = SimParams { seed, start_jitter: 4 * MS, background: true, ..SimParams::default() };
        let mut sim = Simulation::new(&machine, &V6_12_117, &workload, params, Silent).unwrap();
        let idle = |sim: &Simulation<Silent>| -> Ns { sim.result().cpus.iter().map(|cpu| cpu.idle).sum() };
        sim.run_until(20 * MS).unwrap();
        let before = idle(&sim);
        sim.run_until(1000 * MS).unwrap();
        let share = (idle(&sim) - before) * 10_000 / (980 * MS * 8);
        assert!(share < 100, "seed {seed}: {share} of 10000");
    }
}
