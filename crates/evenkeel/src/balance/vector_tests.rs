//! Vectors of spec 3 §17 as whole passes, with the loads they state; the decisions alone are in `tests/balance_*.rs`.
use super::env::{IdleType, LbFlags, MigrationType};
use super::event::{BalanceEvent, PassOutcome, TaskVerdict};
use super::migrate::Refusal;
use super::tests::{Bench, caches};
use crate::cost::CostModel;
use crate::ids::{CpuId, TaskId};
use crate::kernel::Kernel;
use crate::kernels::{V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use crate::time::{MS, US};
use crate::topology::{Arch, Machine, SdFlags};
use alloc::vec::Vec;

const TYPED: [&Kernel; 5] = [&V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];
const RUNNING: TaskVerdict = TaskVerdict::Refused(Refusal::Running);
const TOO_BIG: TaskVerdict = TaskVerdict::Refused(Refusal::TooBig);
const MOVED: TaskVerdict = TaskVerdict::Moved { hot: false };

/// A machine on which each CPU has so many tasks of a second's age, the last of which runs; all may run everywhere.
fn bench(kernel: &Kernel, machine: &Machine, tasks: &[u32]) -> Bench {
    let mut bench = Bench::of(kernel, machine, CostModel::ZERO);
    let everywhere = alloc::format!("0-{}", tasks.len() - 1);
    for (cpu, &count) in tasks.iter().enumerate() {
        for _ in 0..count {
            bench.hog(cpu as u32, &everywhere);
        }
    }
    bench.advance(8 * MS);
    for (cpu, _) in tasks.iter().enumerate().filter(|(_, count)| **count > 0) {
        bench.settle(cpu as u32);
    }
    bench
}

/// Load, utilisation and runnable average of a CPU, as the vectors write them.
fn load(bench: &mut Bench, cpu: u32, [load, util, runnable]: [u64; 3]) {
    bench.sched.update_rq_clock(CpuId(cpu));
    let now = bench.sched.rqs[cpu as usize].clock_pelt_now();
    let avg = &mut bench.sched.queues[cpu as usize].avg;
    (avg.load_avg, avg.util_avg, avg.runnable_avg, avg.util_est) = (load, util, runnable, 0);
    avg.last_update_time = now;
}

/// The same of each task of a CPU.
fn task_load(bench: &mut Bench, cpu: u32, [load, util]: [u64; 2]) {
    let now = bench.sched.rqs[cpu as usize].clock_pelt_now();
    for task in bench.tasks_of(cpu) {
        let se = bench.sched.tasks[task].se;
        let avg = &mut bench.sched.entities[se.index()].avg;
        (avg.load_avg, avg.util_avg, avg.util_est, avg.last_update_time) = (load, util, 0, now);
    }
}

/// Unit and amount of the pass, before tasks were looked at.
fn wanted(bench: &Bench) -> (MigrationType, i64) {
    let queue = |event: &BalanceEvent| match event {
        BalanceEvent::SrcQueue { migration_type, imbalance, .. } => Some((*migration_type, *imbalance)),
        _ => None,
    };
    bench.sched.observer.0.iter().find_map(queue).expect("a queue was looked for")
}

/// What was left to move before each task.
fn rests(bench: &Bench) -> Vec<i64> {
    let rest = |event: &BalanceEvent| match event {
        BalanceEvent::Task { imbalance, .. } => Some(*imbalance),
        _ => None,
    };
    bench.sched.observer.0.iter().filter_map(rest).collect()
}

fn package(kernel: &Kernel) -> &'static str {
    kernel.topology.package_name
}

/// V1, in every kernel of its kind.
#[test]
fn a_new_idle_pass_moves_one_of_three() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(1, 4), &[0, 3, 1, 1]);
        for (cpu, numbers) in [(1, [3072, 1024, 3000]), (2, [1024, 900, 900]), (3, [512, 300, 300])] {
            load(&mut bench, cpu, numbers);
        }
        assert_eq!(bench.only_pass(0, "MC", IdleType::NewlyIdle), 1, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Task, 1));
        assert_eq!(bench.verdicts(), [MOVED]);
    }
}

/// V2, in every kernel of its kind.
#[test]
fn the_fourth_pass_pushes() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(2, 4), &[0, 0, 0, 0, 1, 1, 1, 1]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            (4..8).for_each(|cpu| load(&mut bench, cpu, [1024, 1000, 1024]));
            assert_eq!(bench.only_pass(0, package(kernel), IdleType::Idle), 0);
            assert_eq!(wanted(&bench), (MigrationType::Task, 2));
            let failed = bench.domain(0, package(kernel)).nr_balance_failed;
            seen.push((failed, bench.outcome()));
        }
        let failed = PassOutcome::Failed;
        assert_eq!(seen, [(1, failed), (2, failed), (3, failed), (4, PassOutcome::ActiveBalance)]);
        assert_eq!((bench.sched.rqs[4].push_cpu, bench.sched.rqs[4].nr_running), (CpuId(0), 2));
        bench.drain();
        let domain = bench.domain(0, package(kernel));
        assert_eq!((domain.stats.alb_count, domain.stats.alb_pushed, domain.stats.lb[1].gained), (1, 1, 1));
        assert_eq!((domain.nr_balance_failed, domain.balance_interval), (0, domain.min_interval));
    }
}

/// V3: utilisation is wanted, and the last task of a CPU stays while the destination is idle.
#[test]
fn an_idle_cache_takes_the_one_that_waits() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(2, 4), &[0, 0, 0, 0, 2, 2, 2, 2]);
        for cpu in 4..8 {
            load(&mut bench, cpu, [2048, 1000, 2048]);
            task_load(&mut bench, cpu, [1024, 500]);
        }
        assert_eq!(bench.only_pass(0, package(kernel), IdleType::Idle), 1, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Util, 4096));
        assert_eq!((bench.verdicts(), rests(&bench)), (Vec::from([MOVED]), Vec::from([4096])));
        assert_eq!([bench.sched.rqs[0].nr_running, bench.sched.rqs[4].nr_running], [1, 1]);
    }
}

/// V4 as a pass: 2728 to move, of which the first task takes 1023 and the second 1535.
#[test]
fn two_tasks_settle_an_imbalance_of_load() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(3, 4), &[2, 2, 1, 1, 3, 3, 3, 3, 2, 2, 2, 2]);
        for cpu in 0..12 {
            let tasks = u64::from(bench.sched.rqs[cpu as usize].nr_running);
            load(&mut bench, cpu, [1024 * tasks, 1024, 1024 * tasks]);
            task_load(&mut bench, cpu, [1024, 300]);
        }
        assert_eq!(bench.only_pass(0, package(kernel), IdleType::NotIdle), 2, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Load, 2728));
        assert_eq!(bench.verdicts(), [MOVED, MOVED, RUNNING]);
        assert_eq!(rests(&bench), [2728, 1705, 170], "{}", kernel.build);
    }
}

/// V5: 306 is wanted of tasks that weigh 1052; every failure halves them.
#[test]
fn failures_make_a_task_fit() {
    let mut bench = bench(&V6_12_117, &caches(2, 2), &[2, 2, 2, 2]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        for (cpu, numbers) in [(0, [1800, 1024, 2000]), (1, [1800, 1024, 2000]), (3, [2107, 1024, 2100])] {
            load(&mut bench, cpu, numbers);
        }
        load(&mut bench, 2, [2107, 1024, 2100]);
        task_load(&mut bench, 2, [1053, 300]);
        let moved = bench.only_pass(0, "PKG", IdleType::NotIdle);
        assert_eq!(wanted(&bench), (MigrationType::Load, 306));
        seen.push((moved, bench.verdicts(), bench.domain(0, "PKG").nr_balance_failed));
    }
    let failed = |count| (0, Vec::from([TOO_BIG, RUNNING]), count);
    assert_eq!(seen, [failed(1), failed(2), (1, Vec::from([MOVED]), 0)]);
}

/// V6: a fully busy group takes one of an overloaded one's tasks.
#[test]
fn a_busy_cpu_takes_the_one_that_waits() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(2, 4), &[1, 1, 1, 1, 2, 2, 2, 2]);
        for cpu in 0..8 {
            let (tasks, util) = if cpu < 4 { (1, 1010) } else { (2, 1024) };
            load(&mut bench, cpu, [1024 * tasks, util, 1024 * tasks]);
            task_load(&mut bench, cpu, [1024, 300]);
        }
        assert_eq!(bench.only_pass(0, package(kernel), IdleType::NotIdle), 1, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Load, 2048));
        assert_eq!((bench.verdicts(), rests(&bench)[1]), (Vec::from([MOVED, RUNNING]), 2048 - 1023));
    }
}

/// V11: a running misfit is pushed at once; only older kernels count that as a failure.
#[test]
fn a_running_misfit_is_pushed_at_once() {
    let mut machine = caches(2, 2);
    machine.arch = Arch::Generic;
    machine.cpus[..2].iter_mut().for_each(|cpu| cpu.capacity = 430);
    for kernel in TYPED {
        let mut bench = bench(kernel, &machine, &[1, 1, 0, 1]);
        for (cpu, numbers) in [(0, [1000, 425, 800]), (1, [100, 90, 95]), (3, [500, 400, 450])] {
            load(&mut bench, cpu, numbers);
        }
        bench.sched.rqs[0].misfit_task_load = 1000;
        bench.sched.rqs[1].misfit_task_load = 0;
        let level = package(kernel);
        assert!(bench.domain(2, level).flags.contains(SdFlags::ASYM_CPUCAPACITY), "{}", kernel.build);
        assert_eq!(bench.only_pass(2, level, IdleType::Idle), 0);
        assert_eq!(wanted(&bench), (MigrationType::Misfit, 1));
        assert_eq!(bench.outcome(), PassOutcome::ActiveBalance, "{}", kernel.build);
        assert_eq!(bench.sched.rqs[0].push_cpu, CpuId(2));
        let failed = u32::from([V5_15_0.build, V6_1_192.build].contains(&kernel.build));
        assert_eq!(bench.domain(2, level).nr_balance_failed, failed, "{}", kernel.build);
    }
}

/// Spec 3 §1.3: a task is a misfit where it may go to a larger CPU, in older kernels wherever it does not fit.
#[test]
fn a_task_on_the_largest_cpu_is_a_misfit_in_older_kernels() {
    let mut machine = caches(2, 2);
    machine.arch = Arch::Generic;
    machine.cpus[..2].iter_mut().for_each(|cpu| cpu.capacity = 430);
    for kernel in TYPED {
        let misfit = |cpu: u32, allowed: &str, util: u64| {
            let mut bench = Bench::of(kernel, &machine, CostModel::ZERO);
            let task = bench.hog(cpu, allowed);
            bench.advance(MS);
            load(&mut bench, cpu, [1024, util, 1024]);
            task_load(&mut bench, cpu, [1024, util]);
            bench.sched.update_misfit_status(CpuId(cpu), Some(task));
            bench.sched.rqs[cpu as usize].misfit_task_load
        };
        assert_eq!(misfit(0, "0-3", 425), 1023, "{}", kernel.build);
        assert_eq!([misfit(0, "0", 425), misfit(0, "0-3", 300)], [0, 0], "one CPU, or it fits");
        let older = [V5_15_0.build, V6_1_192.build].contains(&kernel.build);
        assert_eq!(misfit(2, "0-3", 1000), if older { 1023 } else { 0 }, "{}", kernel.build);
        assert_eq!(misfit(0, "0-1", 425), if older { 1023 } else { 0 }, "no larger one is allowed");
    }
}

/// V12: the task of a CPU that others use is pushed at once, and that is a failure.
#[test]
fn a_task_is_pushed_off_a_cpu_that_others_use() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(1, 4), &[0, 1, 0, 0]);
        load(&mut bench, 1, [900, 590, 850]);
        bench.sched.rqs[1].cpu_capacity = 600;
        let group = bench.domain(1, "MC").groups;
        let sgc = bench.sched.topo.groups[group.index()].sgc;
        bench.sched.topo.capacities[sgc.index()].capacity = 600;
        assert_eq!(bench.only_pass(0, "MC", IdleType::Idle), 0);
        let expected = if kernel.build == V5_15_0.build {
            (PassOutcome::NoSrcGroup, 0)
        } else {
            assert_eq!(wanted(&bench), (MigrationType::Load, 900));
            (PassOutcome::ActiveBalance, 1)
        };
        assert_eq!((bench.outcome(), bench.domain(0, "MC").nr_balance_failed), expected, "{}", kernel.build);
    }
}

/// V13: one task leaves a group that affinities have left unbalanced.
#[test]
fn one_task_leaves_an_imbalanced_group() {
    for kernel in TYPED {
        let mut bench = bench(kernel, &caches(2, 4), &[0, 0, 0, 0, 2, 1, 0, 0]);
        load(&mut bench, 4, [2048, 1024, 2048]);
        load(&mut bench, 5, [300, 200, 220]);
        let local = bench.domain(0, package(kernel)).groups;
        let remote = bench.sched.topo.groups[local.index()].next;
        let sgc = bench.sched.topo.groups[remote.index()].sgc;
        bench.sched.topo.capacities[sgc.index()].imbalance = true;
        assert_eq!(bench.only_pass(0, package(kernel), IdleType::Idle), 1, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Task, 1));
        assert_eq!(bench.verdicts(), [MOVED]);
    }
}

/// V14 with another queue to turn to: the flags of the first search stay, the pass ends as one that moved.
#[test]
fn after_a_queue_of_pinned_tasks_the_next_one_gives() {
    let mut bench = bench(&V6_12_117, &caches(1, 4), &[0, 3, 2, 0]);
    for task in bench.tasks_of(1) {
        bench.allow(task, "1");
    }
    load(&mut bench, 1, [3072, 1024, 3072]);
    load(&mut bench, 2, [2048, 1024, 2048]);
    assert_eq!(bench.only_pass(0, "MC", IdleType::Idle), 1);
    let pinned = TaskVerdict::Refused(Refusal::Pinned);
    assert_eq!(bench.verdicts(), [pinned, pinned, pinned, MOVED]);
    let redo = |event: &BalanceEvent| matches!(event, BalanceEvent::Redo { without: CpuId(1), .. });
    assert_eq!(bench.sched.observer.0.iter().filter(|event| redo(event)).count(), 1);
    let Some(BalanceEvent::PassEnd { flags, outcome, .. }) = bench.sched.observer.0.last() else {
        panic!("a pass ends")
    };
    assert_eq!((*flags, *outcome), (LbFlags::SOME_PINNED, PassOutcome::Moved));
    let counters = bench.domain(0, "MC").stats.lb[1];
    assert_eq!((counters.count, counters.imbalance_task, counters.gained), (1, 2, 1));
    assert_eq!((counters.failed, counters.balanced, counters.nobusyg), (0, 0, 0));
}

/// Spec 3 §3.2-8.3: counter and next break go on after the lock was released; the round that breaks looks at no task.
#[test]
fn a_scan_goes_on_after_its_breaks() {
    let mut bench = bench(&V6_12_117, &caches(2, 4), &[0, 0, 0, 0, 12, 0, 0, 0]);
    for task in bench.tasks_of(4) {
        bench.allow(task, "4");
    }
    bench.sched.kernel.tunables.nr_migrate_break = 4;
    assert_eq!(bench.only_pass(0, "PKG", IdleType::Idle), 0);
    // Rounds 1-4, break at 5, 6-8, break at 9, 10-12; 13 is more than the twelve tasks there are.
    let steps: Vec<bool> = (bench.sched.observer.0.iter())
        .filter_map(|event| match event {
            BalanceEvent::Task { .. } => Some(true),
            BalanceEvent::Break { .. } => Some(false),
            _ => None,
        })
        .collect();
    let expected = [[true; 4].as_slice(), &[false, true, true, true], &[false, true, true, true]].concat();
    assert_eq!(steps, expected);
    // Of more tasks than nr_migrate the rest is not looked at.
    bench.sched.kernel.tunables.nr_migrate = 6;
    bench.only_pass(0, "PKG", IdleType::Idle);
    assert_eq!(bench.verdicts().len(), 5);
}

/// Spec 3 §3.2, consequences: a pass that is another CPU's counts as balanced, forgets failures, clears the mark of the group
/// above, and doubles the interval up to its longest.
#[test]
fn a_pass_that_is_another_cpus_counts_as_balanced() {
    let mut bench = bench(&V6_12_117, &caches(2, 4), &[0; 8]);
    let mut intervals = Vec::new();
    for _ in 0..3 {
        let above = bench.domain(1, "PKG").groups;
        let sgc = bench.sched.topo.groups[above.index()].sgc;
        bench.sched.topo.capacities[sgc.index()].imbalance = true;
        bench.domain(1, "MC").nr_balance_failed = 2;
        assert_eq!(bench.only_pass(1, "PKG", IdleType::Idle), 0);
        assert_eq!(bench.outcome(), PassOutcome::NotOurTurn, "CPU 0 is the first idle one of its group");
        intervals.push(bench.domain(1, "PKG").balance_interval);
        // Each CPU is alone in its group of the level below, so that is always its turn.
        bench.only_pass(1, "MC", IdleType::Idle);
        assert_eq!(bench.outcome(), PassOutcome::NoSrcGroup);
        assert!(!bench.sched.topo.capacities[sgc.index()].imbalance);
        assert_eq!(bench.domain(1, "MC").nr_balance_failed, 0);
    }
    assert_eq!(intervals, [16, 16, 16], "from 8 to 16, which is the longest");
    let counters = bench.domain(1, "PKG").stats.lb[1];
    assert_eq!((counters.count, counters.balanced, counters.nobusyg), (3, 3, 0));
}

/// Spec 3 §3.2: new-idle passes never raise the count of failures, but any that finds nothing forgets it; and only the oldest
/// kernel lengthens the interval for them.
#[test]
fn new_idle_passes_forget_failures() {
    for (kernel, interval) in [(&V4_19_0, 8), (&V5_15_0, 4), (&V6_12_117, 4), (&V7_2_13, 4)] {
        let mut bench = bench(kernel, &caches(1, 4), &[0; 4]);
        bench.domain(0, "MC").nr_balance_failed = 3;
        bench.only_pass(0, "MC", IdleType::NewlyIdle);
        let domain = bench.domain(0, "MC");
        assert_eq!((domain.nr_balance_failed, domain.balance_interval), (0, interval), "{}", kernel.build);
    }
}

/// Spec 3 §2.3: whether costs decayed is that of the highest level visited, in older kernels that of any level.
#[test]
fn the_cost_of_idle_balancing_is_summed_up_when_a_level_decays() {
    for (kernel, summed) in [(&V5_15_0, true), (&V6_12_117, false)] {
        let mut bench = bench(kernel, &caches(2, 4), &[0; 8]);
        bench.advance(2000 * MS);
        let now = bench.sched.jiffies();
        for (level, last) in [("MC", now - 251), (package(kernel), now)] {
            let domain = bench.domain(0, level);
            (domain.max_newidle_lb_cost, domain.last_decay_max_lb_cost) = (400 * US, last);
        }
        bench.sched.rqs[0].max_idle_balance_cost = 9;
        bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
        let expected = if summed { 400 * US * 253 / 256 + 400 * US } else { 9 };
        assert_eq!(bench.sched.rqs[0].max_idle_balance_cost, expected, "{}", kernel.build);
    }
}

/// Spec 1 §1.1: kernels that note when the next decay is due are due at once, others after a second.
#[test]
fn the_first_decay_of_costs_is_due_at_once_or_in_a_second() {
    for (kernel, decays) in [(&V4_19_0, true), (&V5_15_0, true), (&V6_1_192, false), (&V6_12_117, false)] {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        bench.advance(8 * MS);
        bench.sched.rqs[0].max_idle_balance_cost = 9;
        bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
        let summed = bench.sched.rqs[0].max_idle_balance_cost != 9;
        assert_eq!(summed, decays, "{}", kernel.build);
    }
}

/// V15 a: pushing sets the failures to one more than make hot tasks move.
#[test]
fn the_oldest_balancer_counts_a_push_as_failures() {
    let mut bench = bench(&V4_19_0, &caches(2, 4), &[0, 0, 0, 0, 1, 1, 1, 1]);
    let level = package(&V4_19_0);
    for failed in 1..=4 {
        for cpu in 4..8 {
            load(&mut bench, cpu, [1024, 1000, 1024]);
            bench.sched.cpu_load_update(CpuId(cpu));
        }
        assert_eq!(bench.only_pass(0, level, IdleType::Idle), 0);
        assert_eq!(wanted(&bench), (MigrationType::Load, 2048));
        let pushes = failed == 4;
        assert_eq!(bench.outcome() == PassOutcome::ActiveBalance, pushes);
        let domain = bench.domain(0, level);
        assert_eq!(domain.nr_balance_failed, if pushes { domain.cache_nice_tries + 1 } else { failed });
    }
}

/// V15 e: more than the only task's load is not wanted, but it cannot be detached.
#[test]
fn the_oldest_balancer_fails_over_a_single_task() {
    let mut bench = bench(&V4_19_0, &caches(1, 2), &[1, 1]);
    load(&mut bench, 0, [1024, 1000, 1024]);
    load(&mut bench, 1, [3121, 1000, 3121]);
    (0..2).for_each(|cpu| bench.sched.cpu_load_update(CpuId(cpu)));
    assert_eq!(bench.only_pass(0, "MC", IdleType::NotIdle), 0);
    assert_eq!((wanted(&bench), bench.outcome()), ((MigrationType::Load, 3121), PassOutcome::Failed));
}

/// Spec 3 §9.4-1: the group of a less preferred CPU is named although its load rounds to nothing.
#[test]
fn the_oldest_balancer_packs_without_load() {
    let mut machine = caches(1, 4);
    machine.itmt = true;
    machine.cpus[0].asym_priority = Some(9);
    let mut bench = bench(&V4_19_0, &machine, &[0, 1, 0, 0]);
    bench.domain(0, "MC").flags |= SdFlags::ASYM_PACKING;
    load(&mut bench, 1, [0, 0, 0]);
    bench.sched.cpu_load_update(CpuId(1));
    bench.only_pass(0, "MC", IdleType::Idle);
    assert_eq!(bench.outcome(), PassOutcome::NoSrcGroup, "no group has more than none");
    load(&mut bench, 1, [1, 0, 1]);
    bench.sched.topo.groups.iter_mut().for_each(|group| group.asym_prefer_cpu = group.span.first().unwrap());
    let group = bench.domain(1, "MC").groups;
    let sgc = bench.sched.topo.groups[group.index()].sgc;
    bench.sched.topo.capacities[sgc.index()].capacity = 1024;
    bench.sched.cpu_load_update(CpuId(1));
    bench.only_pass(0, "MC", IdleType::Idle);
    assert_eq!((wanted(&bench), bench.outcome()), ((MigrationType::Load, 1), PassOutcome::Failed));
}

/// V16: whether the CPU is still idle is asked anew after a pass that moved something, perhaps to a sibling.
#[test]
fn after_a_move_the_next_level_is_balanced_as_what_the_cpu_is_now() {
    let next = |allowed_of_all: Option<&str>| {
        let machine = Machine::regular(2, 2, 4, 1, true);
        let mut bench = Bench::of(&V6_12_117, &machine, CostModel::ZERO);
        let mut tasks: Vec<TaskId> = Vec::new();
        for cpu in [4, 4, 4, 5] {
            tasks.push(bench.hog(cpu, allowed_of_all.unwrap_or("0-15")));
        }
        // Long enough for the intervals of busy CPUs, too.
        bench.advance(400 * MS);
        bench.settle(4);
        bench.sched.observer.0.clear();
        bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
        let begin = |event: &BalanceEvent| match event {
            BalanceEvent::PassBegin { domain, idle, .. } => Some((*domain, *idle)),
            _ => None,
        };
        let numa = bench.sd(0, "NUMA");
        let passes: Vec<_> = bench.sched.observer.0.iter().filter_map(begin).collect();
        let idle = passes.iter().find(|(domain, _)| *domain == numa).map(|(_, idle)| *idle);
        (idle, bench.sched.rqs[0].nr_running, bench.sched.rqs[2].nr_running)
    };
    let (idle, here, there) = next(None);
    assert_eq!((idle, there), (Some(IdleType::NotIdle), 0));
    assert!(here > 0);
    // Allowed on CPU 2 only: what was moved is not here.
    assert_eq!(next(Some("2,4-5")), (Some(IdleType::Idle), 0, 2));
}

/// V20: the wrapped difference lets all move that may.
#[test]
fn the_wrapped_difference_of_idle_cpus_moves_all_that_wait() {
    for kernel in [&V6_12_117, &V6_18_15, &V7_2_13] {
        let mut bench = bench(kernel, &Machine::regular(1, 1, 2, 2, false), &[1, 1, 4, 0]);
        let first = bench.domain(0, "MC").groups;
        let groups: Vec<_> = bench.sched.topo.ring(first).collect();
        for group in groups {
            bench.sched.topo.groups[group.index()].flags = SdFlags::SHARE_LLC;
        }
        for (cpu, numbers) in [(0, [300, 200, 250]), (1, [300, 200, 250]), (2, [4096, 1024, 4000])] {
            load(&mut bench, cpu, numbers);
        }
        bench.domain(0, "MC").nr_balance_failed = 1;
        assert_eq!(bench.only_pass(0, "MC", IdleType::NotIdle), 3, "{}", kernel.build);
        assert_eq!(wanted(&bench), (MigrationType::Task, 2_147_483_647));
        assert_eq!(bench.verdicts(), [MOVED, MOVED, MOVED, RUNNING]);
    }
}

/// V22 at the level of threads: never hot, and in the oldest kernel until the first failure.
#[test]
fn threads_of_a_core_take_hot_tasks() {
    for (kernel, failed, moves) in [(&V6_12_117, 0, 1), (&V4_19_0, 0, 0), (&V4_19_0, 1, 1)] {
        let mut bench = bench(kernel, &Machine::regular(1, 1, 2, 2, false), &[0, 3, 0, 0]);
        load(&mut bench, 1, [3072, 1024, 3072]);
        task_load(&mut bench, 1, [1024, 300]);
        bench.sched.cpu_load_update(CpuId(1));
        for task in bench.tasks_of(1) {
            let se = bench.sched.tasks[task].se;
            bench.sched.entities[se.index()].exec_start = bench.sched.rqs[1].clock_task - 200 * US;
        }
        bench.domain(0, "SMT").nr_balance_failed = failed;
        assert_eq!(bench.only_pass(0, "SMT", IdleType::NewlyIdle), moves, "{}", kernel.build);
    }
}
