//! Limits of CPU time, by the worked numbers of spec 2 §17.12 and step by step, under every kernel.
#![allow(missing_docs)]
mod common;

use common::Bench;
use evenkeel::bandwidth::QueueBandwidth;
use evenkeel::bandwidth::rules::{Leftovers, PauseClock, RemoteUnthrottle, ThrottlePoint, Throttling};
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Action, GroupTimer, Input, IpiKind};
use evenkeel::kernel::Kernel;
use evenkeel::kernels::{ALL, V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use evenkeel::mask::CpuMask;
use evenkeel::sched::BOOT_NS;
use evenkeel::task::TaskParams;
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel::topology::machine::Arch;
use evenkeel::workload::Bandwidth;
use evenkeel::workload::Policy;

const CPU0: CpuId = CpuId(0);
const CPU1: CpuId = CpuId(1);
const ROOT: TgId = TgId(0);

fn limit(quota_ms: u64) -> Bandwidth {
    Bandwidth { quota: Some(quota_ms * MS), period: 100 * MS, burst: 0 }
}

/// A machine with a limited group at the begin of a period: two have passed in which nothing happened, so its timer stopped.
fn bench_on(kernel: &Kernel, machine: &Machine, quota_ms: u64) -> (Bench, TgId, Ns) {
    let mut bench = Bench::of(kernel, machine);
    let group = bench.sched.new_group(ROOT, "/a", DEFAULT_SHARES, false);
    bench.input(0, Input::SetBandwidth { group, bandwidth: limit(quota_ms) });
    end_period(&mut bench, group);
    let start = end_period(&mut bench, group);
    assert_eq!(period_ends(&bench, group), None);
    (bench, group, start)
}

fn bench(kernel: &Kernel, ncpus: u32, quota_ms: u64) -> (Bench, TgId, Ns) {
    bench_on(kernel, &Machine::regular(1, 1, ncpus, 1, false), quota_ms)
}

fn hog(bench: &mut Bench, now: Ns, group: TgId, cpu: CpuId) -> TaskId {
    let allowed = CpuMask::from_cpus(bench.sched.rqs().len(), [cpu]);
    let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group };
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

fn tick(bench: &mut Bench, now: Ns) {
    bench.input(now, Input::Tick { cpu: CPU0 });
}

fn queue(bench: &Bench, group: TgId, cpu: CpuId) -> &evenkeel::entity::CfsRq {
    &bench.sched.queues()[bench.sched.groups()[group.index()].queues[cpu.index()].index()]
}

fn bandwidth(bench: &Bench, group: TgId, cpu: CpuId) -> QueueBandwidth {
    queue(bench, group, cpu).bandwidth
}

/// What the group's queue on a CPU has left, and what the pool has, in microseconds.
fn left(bench: &Bench, group: TgId, cpu: CpuId) -> (i64, u64) {
    let pool = bench.sched.groups()[group.index()].pool.as_ref().unwrap();
    (bandwidth(bench, group, cpu).remaining / 1000, pool.runtime / 1000)
}

#[test]
fn a_hog_draws_four_times_and_stops_as_spec_2_17_12_says() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 20);
        let task = hog(&mut bench, start, group, CPU0);
        assert_eq!(left(&bench, group, CPU0), (5000, 15_000));
        assert_eq!(period_ends(&bench, group), Some(start + 100 * MS), "periods keep their grid");
        for (ms, expected) in [(4, (1000, 15_000)), (8, (5000, 7000)), (12, (1000, 7000)), (16, (4000, 0))] {
            tick(&mut bench, start + ms * MS);
            assert_eq!(left(&bench, group, CPU0), expected, "{}: after {ms} ms", kernel.build);
            assert_eq!(bench.curr(CPU0), Some(task));
        }
        tick(&mut bench, start + 20 * MS);
        assert_eq!((left(&bench, group, CPU0), bench.curr(CPU0)), ((0, 0), None), "{}", kernel.build);
        let rq = &bench.sched.rqs()[0];
        assert_eq!((rq.nr_running, bench.sched.queues()[0].h_nr_queued), (0, 0), "absent from all counts");
        assert!(bench.sched.tasks()[task].throttled);
        // Spec 3 §7.1: where whole queues stop their tasks stay on the CPU's list, where tasks stop they leave it.
        let below = match kernel.queues.bandwidth.throttling {
            Throttling::WholeQueue => [1, 1, 0],
            Throttling::PerTask => [0, 0, 1],
        };
        let group_queue = queue(&bench, group, CPU0);
        assert_eq!([group_queue.h_nr_queued, rq.cfs_tasks.len(), group_queue.limbo.len()], below);
        let before = group_queue.avg;

        let end = end_period(&mut bench, group);
        assert_eq!(end, start + 100 * MS);
        assert_eq!(bench.curr(CPU0), Some(task), "{}: it goes on", kernel.build);
        let queue = queue(&bench, group, CPU0);
        assert_eq!(queue.bandwidth.remaining, 1, "just enough to go on");
        assert_eq!(queue.avg.load_avg, before.load_avg, "its load stood still");
        let pool = bench.sched.groups()[group.index()].pool.as_ref().unwrap();
        assert_eq!((pool.runtime, pool.nr_throttled, pool.throttled_time), (20 * MS - 1, 1, 80 * MS));
    }
}

#[test]
fn what_was_run_too_much_is_owed_and_queues_of_other_cpus_go_on_directly_or_by_interrupt() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 2, 10);
        let tasks = [CPU0, CPU1].map(|cpu| hog(&mut bench, start, group, cpu));
        for ms in [4, 8] {
            bench.tick_busy(start + ms * MS);
        }
        assert_eq!([CPU0, CPU1].map(|cpu| bench.curr(cpu)), [None, None]);
        assert_eq!(left(&bench, group, CPU0).0, -3000, "what was run too much is owed");
        let at = period_ends(&bench, group).unwrap();
        bench.sched.handle(at, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
        let asked: Vec<Action> = core::iter::from_fn(|| bench.sched.poll()).collect();
        bench.sched.check();
        let there = match kernel.queues.bandwidth.remote {
            RemoteUnthrottle::Direct => Action::Resched { from: CPU0, cpu: CPU1 },
            RemoteUnthrottle::Interrupt => Action::Ipi { from: CPU0, to: CPU1, kind: IpiKind::Unthrottle },
        };
        assert!(asked.contains(&there), "{}: {asked:?}", kernel.build);
        assert!(asked.contains(&Action::Resched { from: CPU0, cpu: CPU0 }), "{asked:?}");
        assert_eq!(asked.len(), 3, "and the timer: {asked:?}");
        bench.input(at, Input::Schedule { cpu: CPU0 });
        assert_eq!([CPU0, CPU1].map(|cpu| bench.curr(cpu)), [Some(tasks[0]), None]);
        bench.input(at, Input::Ipi { cpu: CPU1, kind: IpiKind::Unthrottle });
        bench.input(at, Input::Schedule { cpu: CPU1 });
        assert_eq!(bench.curr(CPU1), Some(tasks[1]));
        // 3 ms were owed by each, and each got a nanosecond.
        assert_eq!(left(&bench, group, CPU0).1, 3999);
    }
}

#[test]
fn a_task_woken_in_a_throttled_group_waits_and_one_that_leaves_it_runs() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 4);
        let sleeper = hog(&mut bench, start, group, CPU0);
        bench.input(start, Input::Block { cpu: CPU0 });
        let task = hog(&mut bench, start, group, CPU0);
        tick(&mut bench, start + 4 * MS);
        assert_eq!(bench.curr(CPU0), None);
        bench.wake(start + 5 * MS, CPU0, sleeper);
        assert_eq!((bench.curr(CPU0), bench.sched.rqs()[0].nr_running), (None, 0), "{}", kernel.build);
        assert!(bench.sched.tasks()[sleeper].throttled);
        bench.input(start + 6 * MS, Input::SetGroup { task, group: ROOT });
        assert_eq!(bench.curr(CPU0), Some(task), "{}", kernel.build);
        bench.input(start + 7 * MS, Input::SetBandwidth { group, bandwidth: Bandwidth::UNLIMITED });
        assert_eq!(bench.sched.rqs()[0].nr_running, 2, "without a limit all go on");
        assert!(!bench.sched.tasks()[sleeper].throttled);
    }
}

#[test]
fn leftovers_of_a_queue_expire_in_v4_19_alone() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 20);
        let task = hog(&mut bench, start, group, CPU0);
        bench.input(start + 2 * MS, Input::Block { cpu: CPU0 });
        // 5 ms drawn, 2 ms run; all but 1 ms goes back.
        assert_eq!(left(&bench, group, CPU0), (1000, 17_000));
        let end = end_period(&mut bench, group);
        assert_eq!(left(&bench, group, CPU0), (1000, 20_000));
        bench.wake(end + MS, CPU0, task);
        let expected = match kernel.queues.bandwidth.leftovers {
            Leftovers::Kept => (1000, 20_000),
            Leftovers::Expire => (5000, 15_000),
        };
        assert_eq!(left(&bench, group, CPU0), expected, "{}", kernel.build);
    }
    let expires = ALL.map(|kernel| kernel.queues.bandwidth.leftovers == Leftovers::Expire);
    assert_eq!(ALL.iter().zip(expires).find(|(_, expires)| *expires).unwrap().0.build, V4_19_0.build);
    assert_eq!(expires.iter().filter(|expires| **expires).count(), 1);
}

#[test]
fn time_drawn_in_a_period_that_is_over_is_given_back_but_in_v4_19() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 20);
        hog(&mut bench, start + 99_500 * US, group, CPU0);
        let end = end_period(&mut bench, group);
        assert_eq!((end, left(&bench, group, CPU0).1), (start + 100 * MS, 20_000));
        // 5 ms drawn, 0.7 ms run: 4.3 ms are left, of which it keeps 1 ms.
        bench.input(end + 200 * US, Input::Block { cpu: CPU0 });
        let expected = match kernel.queues.bandwidth.leftovers {
            Leftovers::Kept => (1000, 23_300),
            // They expired: it drew 5 ms anew and gave back all but 1 ms.
            Leftovers::Expire => (1000, 19_000),
        };
        assert_eq!(left(&bench, group, CPU0), expected, "{}", kernel.build);
    }
}

/// A CPU of half the capacity beside a big one.
fn little() -> Machine {
    let mut machine = Machine::regular(1, 1, 2, 1, false);
    machine.arch = Arch::Generic;
    machine.cpus[0].capacity = 512;
    machine
}

#[test]
fn a_pause_begins_at_the_time_of_load_tracking_but_in_v5_15_at_task_time() {
    // Spec 2 §4.4, §18.2. 20 ms on half a CPU are 10 ms of load tracking. A task begins with half of what the CPU has to
    // spare, 256; with y = 0.5^(1/32) per 1.024 ms it has 1024 - 768 y^(10/1.024) = 402 after 10 ms, and 521 after 20: where
    // the pause begins at task time, the queue's clock jumps by the 10 ms that it was behind.
    let late = |kernel: &&&Kernel| kernel.queues.bandwidth.pause_clock == PauseClock::Task;
    assert_eq!(
        ALL.iter().filter(late).map(|kernel| kernel.build).collect::<Vec<_>>(),
        [V4_19_0.build, V5_15_0.build]
    );
    for (kernel, util) in [(&V5_15_0, 521), (&V6_1_192, 402), (&V6_12_117, 402)] {
        let (mut bench, group, start) = bench_on(kernel, &little(), 20);
        hog(&mut bench, start, group, CPU0);
        for ms in [4, 8, 12, 16, 20] {
            tick(&mut bench, start + ms * MS);
        }
        assert_eq!(bench.curr(CPU0), None);
        let before = queue(&bench, group, CPU0).avg;
        assert!(before.util_avg.abs_diff(util) <= 8, "{}: {before:?}", kernel.build);
        end_period(&mut bench, group);
        assert_eq!(queue(&bench, group, CPU0).avg, before, "{}: it stood still", kernel.build);
    }
}

#[test]
fn a_queue_that_has_used_up_its_time_is_throttled_at_the_switch_or_in_the_charge() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 4);
        let task = hog(&mut bench, start, group, CPU0);
        bench.sched.handle(start + 4 * MS, Input::Tick { cpu: CPU0 });
        let at_once = kernel.queues.bandwidth.point == ThrottlePoint::Charge;
        assert_eq!(at_once, kernel.build == V7_2_13.build);
        assert_eq!(bandwidth(&bench, group, CPU0).throttled, at_once, "{}", kernel.build);
        assert_eq!(bench.curr(CPU0), Some(task), "it notices after the interrupt");
        let asked: Vec<Action> = core::iter::from_fn(|| bench.sched.poll()).collect();
        assert!(asked.contains(&Action::Resched { from: CPU0, cpu: CPU0 }), "{asked:?}");
        bench.input(start + 4 * MS, Input::Schedule { cpu: CPU0 });
        assert_eq!(bench.curr(CPU0), None);
    }
}

#[test]
fn a_task_that_sleeps_with_its_last_nanosecond_throttles_its_queue_and_no_other_task() {
    // The charge that finds the limit used up is that of the dequeue: the next task is not of the group.
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 4);
        let other = hog(&mut bench, start, ROOT, CPU0);
        bench.input(start, Input::Block { cpu: CPU0 });
        let task = hog(&mut bench, start, group, CPU0);
        bench.wake(start + MS, CPU0, other);
        let runs = bench.curr(CPU0).unwrap();
        if runs == other {
            bench.input(start + MS, Input::Block { cpu: CPU0 });
        }
        assert_eq!(bench.curr(CPU0), Some(task));
        bench.input(start + 5 * MS, Input::Block { cpu: CPU0 });
        assert!(left(&bench, group, CPU0).0 <= 0);
        assert!(!bench.sched.tasks()[other].throttled && !bench.sched.tasks()[task].throttled);
        bench.wake(start + 6 * MS, CPU0, other);
        assert_eq!(bench.curr(CPU0), Some(other), "{}", kernel.build);
        bench.wake(start + 7 * MS, CPU0, task);
        assert!(bench.sched.rqs()[0].nr_running <= 2);
        for ms in [8, 12, 16] {
            tick(&mut bench, start + ms * MS);
        }
        assert_eq!(bench.curr(CPU0), Some(other), "{}: nothing is left for the group", kernel.build);
        assert!(bench.sched.tasks()[task].throttled);
    }
}

/// How often tasks were given the CPU.
fn turns(bench: &Bench, tasks: &[TaskId]) -> Vec<u64> {
    tasks.iter().map(|&task| bench.sched.tasks()[task].pcount).collect()
}

#[test]
fn a_whole_queue_stops_at_once_and_tasks_one_by_one() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 4);
        let mut tasks = vec![hog(&mut bench, start, group, CPU0)];
        tasks.push(hog(&mut bench, start, group, CPU0));
        tasks.push(hog(&mut bench, start, group, CPU0));
        let before = turns(&bench, &tasks);
        tick(&mut bench, start + 4 * MS);
        assert_eq!(bench.curr(CPU0), None);
        assert!(tasks.iter().all(|&task| bench.sched.tasks()[task].throttled), "{}", kernel.build);
        let queue = queue(&bench, group, CPU0);
        let more: u64 = turns(&bench, &tasks).iter().sum::<u64>() - before.iter().sum::<u64>();
        match kernel.queues.bandwidth.throttling {
            Throttling::WholeQueue => assert_eq!((queue.nr_running, queue.limbo.len(), more), (3, 0, 0)),
            // Each is given the CPU, to stop on its way out of the kernel; the one that ran as well, as its slice is over.
            Throttling::PerTask => assert_eq!((queue.nr_running, queue.limbo.len(), more), (0, 3, 3)),
        }
        let pool = bench.sched.groups()[group.index()].pool.as_ref().unwrap();
        assert_eq!(pool.throttled.len(), 1);
    }
}

#[test]
fn a_task_in_limbo_can_be_changed_moved_and_regrouped() {
    for kernel in [&V6_18_15, &V7_2_13] {
        let (mut bench, group, start) = bench(kernel, 2, 4);
        let task = hog(&mut bench, start, group, CPU0);
        let second = hog(&mut bench, start, group, CPU0);
        tick(&mut bench, start + 4 * MS);
        assert_eq!(queue(&bench, group, CPU0).limbo.len(), 2);
        let (policy, nice) = (Policy::Normal, 5);
        bench.input(start + 5 * MS, Input::SetAttributes { cpu: CPU1, task, policy, nice, slice: 0 });
        assert!(bench.sched.tasks()[task].throttled);
        assert_eq!(bench.sched.entity(task).load.weight, 335 << 10);
        // The queue of CPU 1 is not throttled; it finds the pool empty as soon as it wants something.
        bench.allow(start + 6 * MS, task, "1");
        assert_eq!(bench.sched.tasks()[task].cpu, CPU1);
        assert_eq!([CPU0, CPU1].map(|cpu| queue(&bench, group, cpu).limbo.len()), [1, 1]);
        assert!(bandwidth(&bench, group, CPU1).throttled);
        bench.allow(start + 7 * MS, task, "0");
        assert_eq!([CPU0, CPU1].map(|cpu| queue(&bench, group, cpu).limbo.len()), [2, 0]);
        assert_eq!(bench.curr(CPU0), None);
        // Its load went with it.
        let load = |cpu| queue(&bench, group, cpu).avg.load_avg;
        assert_eq!(load(CPU1), 0);
        assert!(load(CPU0) > 0);
        bench.input(start + 8 * MS, Input::SetGroup { task, group: ROOT });
        assert_eq!(bench.curr(CPU0), Some(task));
        end_period(&mut bench, group);
        assert_eq!(bench.sched.rqs()[0].nr_running, 2);
        assert!(!bench.sched.tasks()[second].throttled);
    }
}

#[test]
fn limits_at_two_levels_must_both_have_something_left() {
    for kernel in ALL {
        let mut bench = Bench::of(kernel, &Machine::regular(1, 1, 1, 1, false));
        let outer = bench.sched.new_group(ROOT, "/a", DEFAULT_SHARES, false);
        let inner = bench.sched.new_group(outer, "/a/b", DEFAULT_SHARES, false);
        bench.input(0, Input::SetBandwidth { group: outer, bandwidth: limit(12) });
        bench.input(0, Input::SetBandwidth { group: inner, bandwidth: limit(8) });
        let task = hog(&mut bench, 0, inner, CPU0);
        let counts = |bench: &Bench| {
            [outer, inner].map(|group| {
                let bandwidth = bandwidth(bench, group, CPU0);
                (bandwidth.throttled, bandwidth.throttle_count)
            })
        };
        tick(&mut bench, 4 * MS);
        assert_eq!(bench.curr(CPU0), Some(task));
        tick(&mut bench, 8 * MS);
        assert_eq!((bench.curr(CPU0), counts(&bench)), (None, [(false, 0), (true, 1)]), "{}", kernel.build);
        // A neighbour uses up the rest of the outer limit.
        let other = hog(&mut bench, 9 * MS, outer, CPU0);
        tick(&mut bench, 13 * MS);
        assert_eq!((bench.curr(CPU0), counts(&bench)), (None, [(true, 1), (true, 2)]), "{}", kernel.build);
        let mut ends = [outer, inner].map(|group| (period_ends(&bench, group).unwrap(), group));
        ends.sort_unstable();
        let (first, group) = ends[0];
        bench.input(first, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
        let runs = if group == outer { Some(other) } else { None };
        assert_eq!(bench.curr(CPU0), runs, "{}: the other one still holds them", kernel.build);
        let (second, group) = ends[1];
        bench.input(second, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
        assert!(bench.curr(CPU0).is_some());
        assert_eq!(bench.sched.rqs()[0].nr_running, 2, "{}", kernel.build);
    }
}

#[test]
fn a_changed_limit_holds_from_the_next_charge_on() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 4);
        let task = hog(&mut bench, start, group, CPU0);
        tick(&mut bench, start + 4 * MS);
        assert_eq!(bench.curr(CPU0), None);
        // Setting a limit fills the pool, up to the new quota: 8 ms more before it stops again.
        bench.input(start + 10 * MS, Input::SetBandwidth { group, bandwidth: limit(8) });
        assert_eq!(bench.curr(CPU0), Some(task), "{}", kernel.build);
        tick(&mut bench, start + 14 * MS);
        assert_eq!(bench.curr(CPU0), Some(task), "{}", kernel.build);
        tick(&mut bench, start + 18 * MS + US);
        assert_eq!(bench.curr(CPU0), None, "{}", kernel.build);
        assert_eq!(period_ends(&bench, group), Some(start + 100 * MS));
    }
}

#[test]
fn a_cpu_that_goes_down_lets_its_throttled_tasks_go_and_one_that_comes_back_is_limited_again() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 2, 10);
        let tasks = [CPU0, CPU1].map(|cpu| hog(&mut bench, start, group, cpu));
        for ms in [4, 8] {
            bench.tick_busy(start + ms * MS);
        }
        assert!(tasks.iter().all(|&task| bench.sched.tasks()[task].throttled));
        bench.input(start + 9 * MS, Input::Hotplug { cpu: CPU1, online: false });
        assert_eq!(bench.sched.tasks()[tasks[1]].cpu, CPU0, "{}", kernel.build);
        assert!(bench.sched.tasks()[tasks[1]].throttled, "the queue of CPU 0 is throttled");
        let there = bandwidth(&bench, group, CPU1);
        assert!(!there.enabled && !there.throttled && there.throttle_count == 0);
        end_period(&mut bench, group);
        assert_eq!(bench.sched.rqs()[0].nr_running, 2, "{}", kernel.build);
        bench.input(start + 110 * MS, Input::Hotplug { cpu: CPU1, online: true });
        assert!(bandwidth(&bench, group, CPU1).enabled);
    }
}

#[test]
fn a_timer_that_comes_late_counts_all_periods_and_fills_the_pool_once() {
    for kernel in ALL {
        let (mut bench, group, start) = bench(kernel, 1, 20);
        let nr_periods =
            |bench: &Bench| bench.sched.groups()[group.index()].pool.as_ref().unwrap().nr_periods;
        hog(&mut bench, start, group, CPU0);
        let before = nr_periods(&bench);
        bench.input(start + 350 * MS, Input::GroupTimer { cpu: CPU0, group, timer: GroupTimer::Period });
        assert_eq!(nr_periods(&bench) - before, 3);
        assert_eq!(period_ends(&bench, group), Some(start + 400 * MS));
        assert!(left(&bench, group, CPU0).1 <= 20_000);
    }
}
