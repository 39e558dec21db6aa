//! Limits of CPU time, by the worked numbers of spec 2 §17.12 and step by step.
#![allow(missing_docs)]
mod common;

use common::Bench;
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{FairPolicy, GroupTimer, Input};
use evenkeel::mask::CpuMask;
use evenkeel::sched::BOOT_NS;
use evenkeel::task::TaskParams;
use evenkeel::time::{MS, Ns};
use evenkeel::topology::Machine;
use evenkeel::workload::Bandwidth;

const CPU0: CpuId = CpuId(0);

fn limit(quota_ms: u64) -> Bandwidth {
    Bandwidth { quota: Some(quota_ms * MS), period: 100 * MS, burst: 0 }
}

/// A machine with a limited group.
fn bench(ncpus: u32, quota_ms: u64) -> (Bench, TgId) {
    let mut bench = Bench::new(&Machine::regular(1, 1, ncpus, 1, false));
    let group = bench.sched.new_group(TgId(0), "/a", DEFAULT_SHARES, false);
    bench.input(0, Input::SetBandwidth { group, bandwidth: limit(quota_ms) });
    (bench, group)
}

fn hog(bench: &mut Bench, now: Ns, group: TgId, cpu: CpuId) -> TaskId {
    let allowed = CpuMask::from_cpus(bench.sched.rqs().len(), [cpu]);
    let params = TaskParams { policy: FairPolicy::Normal, nice: 0, slice: 0, allowed, group };
    let child = bench.sched.new_task(&params);
    bench.input(now, Input::Fork { cpu, child });
    child
}

/// When the present period of the group ends.
fn period_ends(bench: &Bench, group: TgId) -> Option<Ns> {
    Some(bench.sched.groups()[group.index()].pool.as_ref()?.period_ends? - BOOT_NS)
}

fn end_period(bench: &mut Bench, group: TgId) -> Ns {
    let at = period_ends(bench, group).expect("the timer runs");
    bench.input(at, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
    at
}

/// What the group's queue on a CPU has left, and what the pool has, in microseconds.
fn left(bench: &Bench, group: TgId, cpu: CpuId) -> (i64, u64) {
    let tg = &bench.sched.groups()[group.index()];
    let queue = &bench.sched.queues()[tg.queues[cpu.index()].index()];
    (queue.bandwidth.remaining / 1000, tg.pool.as_ref().unwrap().runtime / 1000)
}

#[test]
fn a_hog_draws_four_times_and_stops_as_spec_2_17_12_says() {
    let (mut bench, group) = bench(1, 20);
    // Two periods in which nothing happens, and the timer stops.
    end_period(&mut bench, group);
    let start = end_period(&mut bench, group);
    assert_eq!(period_ends(&bench, group), None);
    let task = hog(&mut bench, start, group, CPU0);
    assert_eq!(left(&bench, group, CPU0), (5000, 15_000));
    assert_eq!(period_ends(&bench, group), Some(start + 100 * MS), "periods keep their grid");
    for (ms, expected) in [(4, (1000, 15_000)), (8, (5000, 7000)), (12, (1000, 7000)), (16, (4000, 0))] {
        bench.input(start + ms * MS, Input::Tick { cpu: CPU0 });
        assert_eq!(left(&bench, group, CPU0), expected, "after {ms} ms");
        assert_eq!(bench.curr(CPU0), Some(task));
    }
    bench.input(start + 20 * MS, Input::Tick { cpu: CPU0 });
    assert_eq!((left(&bench, group, CPU0), bench.curr(CPU0)), ((0, 0), None), "throttled");
    assert_eq!((bench.sched.rqs()[0].nr_running, bench.sched.queues()[0].h_nr_queued), (0, 0));
    let queue = bench.sched.groups()[group.index()].queues[0];
    assert_eq!(bench.sched.queues()[queue.index()].h_nr_queued, 1, "it waits below");
    let before = bench.sched.queues()[queue.index()].avg;

    let end = end_period(&mut bench, group);
    assert_eq!(bench.curr(CPU0), Some(task));
    let queue = &bench.sched.queues()[queue.index()];
    assert_eq!(queue.bandwidth.remaining, 1, "just enough to go on");
    assert_eq!(queue.avg.load_avg, before.load_avg, "its load stood still");
    let pool = bench.sched.groups()[group.index()].pool.as_ref().unwrap();
    assert_eq!((pool.runtime, pool.nr_throttled, pool.throttled_time), (20 * MS - 1, 1, 80 * MS));
    assert_eq!(end, start + 100 * MS);
}

#[test]
fn a_queue_of_another_cpu_goes_on_when_its_interrupt_arrives() {
    let (mut bench, group) = bench(2, 10);
    end_period(&mut bench, group);
    let start = end_period(&mut bench, group);
    let tasks = [CPU0, CpuId(1)].map(|cpu| hog(&mut bench, start, group, cpu));
    for ms in [4, 8] {
        bench.tick_busy(start + ms * MS);
    }
    assert_eq!([CPU0, CpuId(1)].map(|cpu| bench.curr(cpu)), [None, None]);
    assert_eq!(left(&bench, group, CPU0).0, -3000, "what was run too much is owed");
    let at = period_ends(&bench, group).unwrap();
    bench.sched.handle(at, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
    let asked: Vec<_> = core::iter::from_fn(|| bench.sched.poll()).collect();
    assert_eq!(asked.len(), 3, "an interrupt, the timer, and a reschedule here: {asked:?}");
    bench.sched.check();
    bench.input(at, Input::Schedule { cpu: CPU0 });
    assert_eq!([CPU0, CpuId(1)].map(|cpu| bench.curr(cpu)), [Some(tasks[0]), None]);
    bench.input(at, Input::Ipi { cpu: CpuId(1), kind: evenkeel::io::IpiKind::Unthrottle });
    assert_eq!(bench.curr(CpuId(1)), Some(tasks[1]));
}

#[test]
fn a_task_woken_in_a_throttled_group_waits_and_one_that_leaves_it_runs() {
    let (mut bench, group) = bench(1, 4);
    end_period(&mut bench, group);
    let start = end_period(&mut bench, group);
    let sleeper = hog(&mut bench, start, group, CPU0);
    bench.input(start, Input::Block { cpu: CPU0 });
    let task = hog(&mut bench, start, group, CPU0);
    bench.input(start + 4 * MS, Input::Tick { cpu: CPU0 });
    assert_eq!(bench.curr(CPU0), None);
    bench.wake(start + 5 * MS, CPU0, sleeper);
    assert_eq!((bench.curr(CPU0), bench.sched.rqs()[0].nr_running), (None, 0));
    bench.input(start + 6 * MS, Input::SetGroup { task, group: TgId(0) });
    assert_eq!(bench.sched.rqs()[0].nr_running, 1);
    bench.input(start + 7 * MS, Input::SetBandwidth { group, bandwidth: Bandwidth::UNLIMITED });
    assert_eq!(bench.sched.rqs()[0].nr_running, 2, "without a limit all go on");
}
