//! Worked vectors of balancing decisions of the other kernels (spec 3 §17). Each names its vector.
#![allow(missing_docs)]
mod case;

use case::{Case, IDLE, MOVABLE, big_little, caches, hybrid};
use evenkeel::balance::active::ActiveReason;
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::classify::GroupType::{FullyBusy, HasSpare, MisfitTask, Overloaded};
use evenkeel::balance::env::IdleType::{Idle, NewlyIdle, NotIdle};
use evenkeel::balance::env::MigrationType::{Load, Misfit, Task, Util};
use evenkeel::balance::env::{IdleType, LbFlags, MigrationType};
use evenkeel::balance::migrate::{
    CacheHeat, Candidate, Locality, NumaFaults, Refusal, can_migrate_task, migrate_degrades_locality,
    size_test, task_hot,
};
use evenkeel::balance::trigger::balance_interval;
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::kernels::{V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use evenkeel::topology::{Machine, SdFlags};

/// The kernels that compare groups by what they lack.
const TYPED: [&Kernel; 5] = [&V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];
/// Those before cores were told from other groups.
const OLD: [&Kernel; 2] = [&V5_15_0, &V6_1_192];
/// The later ones.
const NEW: [&Kernel; 3] = [&V6_12_117, &V6_18_15, &V7_2_13];

type Outcome = Result<(MigrationType, i64, Option<u32>), GroupRule>;

/// Checks one decision for several kernels.
fn check(kernels: &[&'static Kernel], case: impl Fn(&'static Kernel) -> Case, outcome: Outcome) {
    for kernel in kernels {
        assert_eq!(case(kernel).outcome(), outcome, "{}", kernel.build);
    }
}

/// V1.
#[test]
fn a_cpu_going_idle_takes_half_the_difference_from_the_longest_queue() {
    let rows = [IDLE, (3, 3072, 1024, 3000), (1, 1024, 900, 900), (1, 512, 300, 300)];
    check(&TYPED, |k| Case::of(k, &caches(1, 4), "MC", &rows).dst(0, NewlyIdle), Ok((Task, 1, Some(1))));
}

/// V2 and V3.
#[test]
fn an_idle_cache_takes_tasks_from_a_busy_one_and_utilisation_from_an_overloaded_one() {
    let full = |cpu| [IDLE, IDLE, IDLE, IDLE, cpu, cpu, cpu, cpu];
    let at = |rows: [(u32, u64, u64, u64); 8]| move |k| Case::of(k, &caches(2, 4), "PKG", &rows);
    check(&TYPED, at(full((1, 1024, 1000, 1024))), Ok((Task, 2, Some(4))));
    check(&TYPED, at(full((2, 2048, 1000, 2048))), Ok((Util, 4096, Some(4))));
    for kernel in TYPED {
        let mut case = at(full((1, 1024, 1000, 1024)))(kernel);
        for (failed, needed) in [(3, None), (4, Some(ActiveReason::Failures))] {
            case.domain().nr_balance_failed = failed;
            assert_eq!(case.decide(|search| search.need_active_balance(CpuId(4), Task)), needed);
        }
    }
}

/// V4, V5 and V6.
#[test]
fn between_overloaded_groups_neither_crosses_the_average() {
    let (two, one, three) = ((2, 2048, 1024, 2048), (1, 1024, 1024, 1024), (3, 3072, 1024, 3072));
    let rows = [two, two, one, one, three, three, three, three, two, two, two, two];
    check(&TYPED, |k| Case::of(k, &caches(3, 4), "PKG", &rows).dst(0, NotIdle), Ok((Load, 2728, Some(4))));
    let local = (2, 1800, 1024, 2000);
    let pair = |load| {
        let busiest = (2, load, 1024, 2100);
        move |k| Case::of(k, &caches(2, 2), "PKG", &[local, local, busiest, busiest]).dst(0, NotIdle)
    };
    check(&TYPED, pair(2106), Err(GroupRule::WithinTolerance));
    check(&TYPED, pair(2107), Ok((Load, 306, Some(2))));
    let one = (1, 1024, 1010, 1024);
    let rows = [one, one, one, one, two, two, two, two];
    check(&TYPED, |k| Case::of(k, &caches(2, 4), "PKG", &rows).dst(0, NotIdle), Ok((Load, 2048, Some(4))));
}

/// V7: the whole table.
#[test]
fn nodes_share_two_tasks_in_one_kernel_and_keep_them_in_the_next() {
    let machine = Machine::regular(2, 1, 8, 1, true);
    let at = |local: usize, remote: usize, imb_numa_nr: u32| {
        let machine = &machine;
        move |kernel| {
            let mut rows = vec![IDLE; 16];
            rows[1..=local].fill((1, 400, 400, 400));
            rows[8..8 + remote].fill((1, 400, 400, 400));
            let mut case = Case::of(kernel, machine, "NUMA", &rows);
            case.domain().imb_numa_nr = imb_numa_nr;
            case
        }
    };
    let (one, none) = (Ok((Task, 1, Some(8))), Err(GroupRule::PreferSibling));
    for (local, remote, allowed, newer) in
        [(0, 2, 2, none), (0, 3, 2, one), (1, 3, 2, none), (2, 4, 2, one), (0, 2, 1, none)]
    {
        check(&[&V5_15_0], at(local, remote, allowed), one);
        check(&TYPED[1..], at(local, remote, allowed), newer);
    }
}

/// V8.
#[test]
fn cores_are_told_from_other_groups_by_newer_kernels() {
    let rows = [IDLE, IDLE, (1, 800, 600, 700), (1, 800, 600, 700), (1, 300, 200, 220), IDLE];
    check(&TYPED, |k| Case::of(k, &hybrid(), "MC", &rows), Ok((Task, 1, Some(2))));
    let rows = [IDLE, IDLE, (1, 800, 600, 700), IDLE, (1, 300, 200, 220), IDLE];
    for kernel in TYPED {
        assert!(Case::of(kernel, &hybrid(), "MC", &rows).outcome().is_err(), "{}", kernel.build);
    }
    let (p0, p1, e) = ((1, 900, 800, 850), (1, 1000, 950, 1000), (1, 300, 200, 220));
    let helper = |k| Case::of(k, &hybrid(), "MC", &[p0, p0, p1, p1, e, IDLE]).dst(5, Idle);
    check(&NEW, helper, Ok((Task, 1, Some(0))));
    check(&OLD, helper, Err(GroupRule::NoMoreIdleCpus));
    let machine = Machine::regular(1, 1, 2, 2, false);
    let thread = |k| Case::of(k, &machine, "MC", &[p0, IDLE, p1, p1]).dst(1, Idle);
    check(&TYPED, thread, Err(GroupRule::NoMoreIdleCpus));
}

/// V9: four cores beside two cores of two threads.
#[test]
fn tasks_are_shared_by_cores_or_by_groups() {
    let mut machine = caches(2, 4);
    for (cpu, core) in [0, 1, 2, 3, 4, 4, 5, 5].into_iter().enumerate() {
        machine.cpus[cpu].core = core;
    }
    let amount = |kernel, local: usize, busiest: usize| {
        let mut rows = [IDLE; 8];
        rows[1..=local].fill((1, 400, 400, 400));
        rows[4..4 + busiest].fill((1, 400, 400, 400));
        Case::of(kernel, &machine, "PKG", &rows).outcome().map_or(0, |(_, amount, _)| amount)
    };
    let pairs = [(0, 2), (1, 3), (2, 3), (0, 1), (2, 4)];
    for kernel in NEW {
        assert_eq!(pairs.map(|(l, b)| amount(kernel, l, b)), [1, 2, 1, 1, 2], "{}", kernel.build);
    }
    for kernel in OLD {
        assert_eq!(pairs.map(|(l, b)| amount(kernel, l, b)), [1, 1, 0, 0, 1], "{}", kernel.build);
    }
}

/// V10.
#[test]
fn a_preferred_idle_cpu_takes_from_the_least_preferred_one_at_once() {
    let rows = [IDLE, (1, 600, 500, 500), (1, 700, 650, 650), IDLE];
    for kernel in TYPED {
        let case = Case::of(kernel, &caches(1, 4), "MC", &rows).level_flags(SdFlags::ASYM_PACKING);
        let mut case = case.group_flags(SdFlags::empty());
        for group in &mut case.topo.groups {
            group.asym_prefer_cpu = group.span.first().unwrap();
        }
        assert_eq!(case.outcome(), Ok((Task, 1, Some(2))), "{}", kernel.build);
        let reason = case.decide(|search| search.need_active_balance(CpuId(2), Task));
        assert_eq!(reason, Some(ActiveReason::AsymPacking), "{}", kernel.build);
    }
}

/// V11.
#[test]
fn small_cpus_and_big_ones() {
    let rows = [(1, 1000, 425, 800), (1, 100, 90, 95), IDLE, (1, 500, 400, 450)];
    for kernel in TYPED {
        let mut case = big_little(kernel, rows, [430, 430, 1000, 1010], 2);
        case.rows[0].misfit_task_load = 1000;
        assert_eq!(case.types(), [HasSpare, MisfitTask]);
        assert_eq!(case.outcome(), Ok((Misfit, 1, Some(0))), "{}", kernel.build);
        let reason = case.decide(|search| search.need_active_balance(CpuId(0), Misfit));
        assert_eq!(reason, Some(ActiveReason::Misfit));
    }
    let rows = [IDLE, IDLE, (1, 900, 800, 850), (1, 500, 400, 450)];
    check(&TYPED, |k| big_little(k, rows, [430, 430, 1000, 1010], 0), Err(GroupRule::NoBusiest));
    // Fully busy big CPUs: refused at once, or accepted by their class and found to be no source.
    let rows = [IDLE, IDLE, (1, 900, 1000, 1000), (1, 900, 1005, 1000)];
    let reverse = |k| big_little(k, rows, [430, 430, 1000, 1010], 0);
    check(&[&V6_1_192, &V6_12_117, &V7_2_13], reverse, Err(GroupRule::NoBusiest));
    check(&[&V5_15_0, &V6_18_15], reverse, Ok((Task, 1, None)));
}

/// V12.
#[test]
fn a_single_task_leaves_a_cpu_whose_capacity_others_use_in_newer_kernels() {
    let rows = [IDLE, (1, 900, 590, 850), IDLE, IDLE];
    let case = |k| Case::of(k, &caches(1, 4), "MC", &rows).capacity(0, 1000, 1024).capacity(1, 600, 1024);
    check(&TYPED[1..], case, Ok((Load, 900, Some(1))));
    assert_eq!(case(&V5_15_0).types()[1], FullyBusy);
    check(&[&V5_15_0], case, Err(GroupRule::SingleTask));
}

/// V13.
#[test]
fn an_imbalance_left_by_affinities_forces_one_task() {
    let rows = [IDLE, IDLE, IDLE, IDLE, (2, 2048, 1024, 2048), (1, 300, 200, 220), IDLE, IDLE];
    let case = |k| {
        let mut case = Case::of(k, &caches(2, 4), "PKG", &rows);
        let first = case.domain().groups;
        let remote = case.topo.groups[first.index()].next;
        let sgc = case.topo.groups[remote.index()].sgc;
        case.topo.capacities[sgc.index()].imbalance = true;
        case
    };
    check(&TYPED, case, Ok((Task, 1, Some(4))));
}

/// V15 a to f: the balancer of averages.
#[test]
fn averages_of_load_alone() {
    let at = |machine: &Machine, level, rows: &[(u32, u64, u64, u64)], idle| {
        Case::of(&V4_19_0, machine, level, rows).dst(0, idle).outcome()
    };
    let one = (1, 1024, 1000, 0);
    let rows = [IDLE, IDLE, IDLE, IDLE, one, one, one, one];
    let case = Case::of(&V4_19_0, &caches(2, 4), "PKG", &rows);
    let (sds, found) = case.src_group();
    assert_eq!(found.rule, GroupRule::SpareCapacity);
    assert_eq!((sds.busiest_stat.group_type, sds.busiest_stat.avg_load), (Overloaded, 1024));
    assert_eq!(case.outcome(), Ok((Load, 2048, Some(4))), "a");
    let (two, three) = ((2, 2048, 1024, 0), (3, 3072, 1024, 0));
    let rows = [two, two, one, one, three, three, three, three];
    assert_eq!(at(&caches(2, 4), "PKG", &rows, NotIdle), Ok((Load, 3072, Some(4))), "b");
    let single = caches(1, 2);
    assert_eq!(at(&single, "MC", &[one, two], NotIdle), Ok((Load, 1024, Some(1))), "c");
    assert_eq!(at(&single, "MC", &[IDLE, two], NewlyIdle), Ok((Load, 1024, Some(1))), "d");
    let heavy = (1, 3121, 1000, 0);
    assert_eq!(at(&single, "MC", &[one, heavy], NotIdle), Ok((Load, 3121, Some(1))), "e");
    let half = (1, 500, 400, 0);
    let rows = [IDLE, half, half, half, half, half, half, half];
    assert_eq!(at(&caches(2, 4), "PKG", &rows, Idle), Err(GroupRule::NoMoreIdleCpus), "f");
}

/// Spec 3 §9.1: sources are guessed low and the local group high.
#[test]
fn a_load_that_has_just_come_does_not_count_yet() {
    let two = (2, 2048, 1024, 0);
    let mut case = Case::of(&V4_19_0, &caches(2, 2), "PKG", &[IDLE, IDLE, two, two]).dst(0, NotIdle);
    assert_eq!(case.outcome().map(|(_, amount, _)| amount), Ok(2048));
    // Index 2 of a busy CPU at this level: the average before last, still 0.
    for row in &mut case.rows {
        row.history.0 = [2048, 0, 0, 0, 0];
    }
    assert!(case.outcome().is_err());
}

/// V15 g and the tests of other kernels.
#[test]
fn what_a_task_counts() {
    let size = |kernel: &Kernel| kernel.balance.tasks.size;
    assert_eq!(size_test(size(&V4_19_0), Load, 1023, false, false, 5, 512), Ok(-511));
    assert_eq!(size_test(size(&V4_19_0), Load, 1026, false, false, 5, 512), Err(Refusal::TooBig));
    // Utilisation does not shrink with failures in one kernel and does in the next.
    assert_eq!(size_test(size(&V5_15_0), Util, 600, false, false, 1, 512), Err(Refusal::TooBig));
    assert_eq!(size_test(size(&V6_1_192), Util, 600, false, false, 1, 512), Ok(-88));
    assert_eq!(size_test(size(&V5_15_0), Load, 600, false, false, 1, 512), Ok(-88));
}

/// V19.
#[test]
fn the_first_idle_cpu_balances_before_cores_were_known() {
    let machine = Machine::regular(1, 2, 2, 2, false);
    let busy = (1, 500, 400, 450);
    let turns = |kernel| {
        let rows = [busy, IDLE, IDLE, IDLE, busy, busy, busy, busy];
        [0, 1, 2, 3].map(|dst| {
            let case = Case::of(kernel, &machine, "PKG", &rows).dst(dst, Idle);
            case.decide(|search| search.should_we_balance().is_for(CpuId(dst)))
        })
    };
    for kernel in [&V4_19_0, &V5_15_0, &V6_1_192] {
        assert_eq!(turns(kernel), [false, true, false, false], "{}", kernel.build);
    }
    for kernel in NEW {
        assert_eq!(turns(kernel), [false, false, true, false], "{}", kernel.build);
    }
}

/// V20.
#[test]
fn a_local_group_with_fewer_idle_cpus_wants_two_billion_tasks() {
    let rows = [(1, 300, 200, 250), (1, 300, 200, 250), (4, 4096, 1024, 4000), IDLE];
    let machine = Machine::regular(1, 1, 2, 2, false);
    for kernel in NEW {
        let case = Case::of(kernel, &machine, "MC", &rows).dst(0, NotIdle).group_flags(SdFlags::SHARE_LLC);
        assert_eq!(case.outcome(), Ok((Task, 2_147_483_647, Some(2))), "{}", kernel.build);
    }
}

/// V22 and spec 3 §7.3.
#[test]
fn which_tasks_may_move() {
    let heat = CacheHeat {
        fair: true,
        idle_policy: false,
        shares_core: true,
        buddy: false,
        migration_cost: 500_000,
        cookie_mismatch: false,
        since_exec: 200_000,
    };
    assert!(task_hot(&V4_19_0.balance.tasks, &heat), "threads of a core, too");
    assert!(!task_hot(&V5_15_0.balance.tasks, &heat));
    let verdict = |kernel: &Kernel, task: Candidate, flags, unit, failed| {
        can_migrate_task(&kernel.balance.tasks, &task, flags, unit, [failed, 0])
    };
    let hot = Candidate { hot: true, ..MOVABLE };
    let stopper = LbFlags::ACTIVE_LB;
    assert_eq!(
        verdict(&V4_19_0, hot, stopper, Load, 0),
        Err(Refusal::CacheHot),
        "the stopper leaves hot tasks"
    );
    assert_eq!(verdict(&V4_19_0, hot, stopper, Load, 1), Ok(true));
    assert_eq!(verdict(&V5_15_0, hot, stopper, Load, 0), Ok(false));
    let kthread = Candidate { percpu_kthread: true, ..MOVABLE };
    assert_eq!(verdict(&V4_19_0, kthread, LbFlags::empty(), Load, 0), Ok(false));
    let delayed = Candidate { delayed: true, ..MOVABLE };
    let ahead = Candidate { ineligible: true, ..MOVABLE };
    let throttled = Candidate { src_throttled: true, ..MOVABLE };
    for kernel in [&V6_18_15, &V7_2_13] {
        assert_eq!(verdict(kernel, delayed, LbFlags::empty(), Task, 9), Err(Refusal::Delayed));
        assert_eq!(verdict(kernel, delayed, LbFlags::empty(), Load, 0), Ok(false));
        assert_eq!(verdict(kernel, ahead, LbFlags::empty(), Load, 0), Err(Refusal::Ineligible));
        assert_eq!(verdict(kernel, ahead, LbFlags::empty(), Load, 1), Ok(false));
        assert_eq!(verdict(kernel, throttled, LbFlags::empty(), Load, 0), Ok(false));
    }
    assert_eq!(verdict(&V6_12_117, delayed, LbFlags::empty(), Task, 0), Ok(false));
    assert_eq!(verdict(&V6_12_117, ahead, LbFlags::empty(), Load, 0), Ok(false));
    assert_eq!(verdict(&V6_12_117, throttled, LbFlags::empty(), Load, 0), Err(Refusal::Throttled));
}

#[test]
fn equal_distance_from_memory_excuses_hot_tasks_in_older_kernels() {
    let faults = NumaFaults {
        src_is_preferred: false,
        dst_is_preferred: false,
        src_nr_running: 3,
        src_nr_preferred_running: 2,
        src_weight: 100,
        dst_weight: 100,
    };
    let ask = |kernel: &Kernel| migrate_degrades_locality(&kernel.balance.tasks, Some(&faults), NotIdle);
    assert_eq!([ask(&V6_12_117), ask(&V6_18_15)], [Locality::Improves, Locality::Unaffected]);
}

/// Delayed tasks count in one kernel and not in the next (spec 3 §4.3, §6).
#[test]
fn sleepers_that_are_still_queued_are_no_work_to_be_had() {
    let rows = [IDLE, (2, 1024, 500, 1000), IDLE, IDLE];
    let case = |k| {
        let mut case = Case::of(k, &caches(1, 4), "MC", &rows);
        case.rows[1].h_nr_runnable = 0;
        case
    };
    check(&[&V6_12_117], case, Ok((Task, 1, Some(1))));
    check(&[&V6_18_15, &V7_2_13], case, Err(GroupRule::NoBusiest));
}

/// The columns of spec 3 §2.4 for 4.19.
#[test]
fn busy_cpus_of_the_oldest_kernel_balance_half_as_often() {
    let interval = |weight, hz| balance_interval(&V4_19_0.balance.periodic, weight, Some(32), hz, 10_000);
    let weights = [2, 4, 8, 16, 64];
    assert_eq!(weights.map(|weight| interval(weight, 250)), [16, 32, 64, 128, 512]);
    assert_eq!(weights.map(|weight| interval(weight, 1000)), [64, 128, 256, 512, 2048]);
}

/// Spec 3 §11: preferred CPUs between cores, as counted by busy threads.
#[test]
fn preference_between_cores_by_busy_threads() {
    use evenkeel::balance::classify::GroupType::AsymPacking;
    let machine = Machine::regular(1, 1, 2, 2, false);
    let busy = (1, 500, 400, 450);
    let second = |rows: [(u32, u64, u64, u64); 4], idle: IdleType| {
        let mut case = Case::of(&V6_1_192, &machine, "MC", &rows).dst(0, idle);
        case = case.level_flags(SdFlags::ASYM_PACKING).group_flags(SdFlags::SHARE_CPUCAPACITY);
        for group in &mut case.topo.groups {
            group.asym_prefer_cpu = group.span.first().unwrap();
        }
        case.types()[1]
    };
    assert_eq!(second([IDLE, IDLE, busy, IDLE], Idle), AsymPacking, "one busy thread more");
    assert_ne!(second([IDLE, IDLE, busy, busy], Idle), AsymPacking, "two more are left to others");
    assert_eq!(second([IDLE, busy, busy, busy], Idle), AsymPacking);
    assert_ne!(second([IDLE, busy, busy, IDLE], Idle), AsymPacking, "as many");
    assert_ne!(second([busy, IDLE, busy, busy], NotIdle), AsymPacking, "only idle CPUs");
}
