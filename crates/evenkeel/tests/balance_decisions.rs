//! Worked vectors of balancing decisions: numbers in, decision out (spec 3 §17). Each names its vector.
#![allow(missing_docs)]
mod case;

use case::{Case, IDLE, MOVABLE, big_little, caches, hybrid};
use evenkeel::balance::active::ActiveReason;
use evenkeel::balance::choose::{GroupRule, adjust_numa_imbalance, sibling_imbalance};
use evenkeel::balance::classify::GroupType;
use evenkeel::balance::env::{FbqType, IdleType, LbFlags, MigrationType};
use evenkeel::balance::migrate::{
    CacheHeat, Candidate, Locality, NumaFaults, Refusal, can_migrate_task, migrate_degrades_locality,
    size_test, task_hot,
};
use evenkeel::balance::rules::{EnergyAware, TaskRules};
use evenkeel::balance::source::SrcRq;
use evenkeel::balance::stats::{Search, nr_idle_scan};
use evenkeel::ids::CpuId;
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Machine, SdFlags};

/// How tasks are chosen in the default kernel.
const RULES: TaskRules = kernels::DEFAULT.balance.tasks;
use GroupType::{AsymPacking, FullyBusy, HasSpare, MisfitTask, Overloaded, SmtBalance};
use IdleType::{Idle, NewlyIdle, NotIdle};
use MigrationType::{Load, Misfit, Task, Util};

/// V1.
#[test]
fn a_cpu_going_idle_takes_half_the_difference_from_the_longest_queue() {
    let rows = [IDLE, (3, 3072, 1024, 3000), (1, 1024, 900, 900), (1, 512, 300, 300)];
    let case = Case::new(&caches(1, 4), "MC", &rows).dst(0, NewlyIdle);
    assert_eq!(case.types(), [HasSpare, Overloaded, FullyBusy, HasSpare]);
    assert_eq!(case.src_group().0.busiest_stat.avg_load, 3072);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(1))));
}

/// V2.
#[test]
fn four_single_tasks_of_a_cache_are_shared_with_an_idle_cache() {
    let busy = (1, 1024, 1000, 1024);
    let mut case = Case::new(&caches(2, 4), "PKG", &[IDLE, IDLE, IDLE, IDLE, busy, busy, busy, busy]);
    assert_eq!(case.types(), [HasSpare, FullyBusy]);
    assert_eq!(case.src_group().1.rule, GroupRule::PreferSibling);
    assert_eq!(case.outcome(), Ok((Task, 2, Some(4))));
    // Failures before the fourth pass: 3, counted up to 4 before the question is asked.
    for (failed, needed) in [(3, None), (4, Some(ActiveReason::Failures))] {
        case.domain().nr_balance_failed = failed;
        assert_eq!(case.decide(|search| search.need_active_balance(CpuId(4), Task)), needed);
    }
}

/// V3.
#[test]
fn an_idle_cache_takes_utilisation_from_an_overloaded_one() {
    let busy = (2, 2048, 1000, 2048);
    let case = Case::new(&caches(2, 4), "PKG", &[IDLE, IDLE, IDLE, IDLE, busy, busy, busy, busy]);
    assert_eq!(case.types(), [HasSpare, Overloaded]);
    assert_eq!(case.outcome(), Ok((Util, 4096, Some(4))));
    assert_eq!(size_test(RULES.size, Util, 500, false, false, 0, 4096), Ok(3596));
}

/// V4.
#[test]
fn between_overloaded_groups_neither_crosses_the_average() {
    let (two, one) = ((2, 2048, 1024, 2048), (1, 1024, 1024, 1024));
    let three = (3, 3072, 1024, 3072);
    let rows = [two, two, one, one, three, three, three, three, two, two, two, two];
    let case = Case::new(&caches(3, 4), "PKG", &rows).dst(0, NotIdle);
    let (sds, found) = case.src_group();
    assert_eq!((sds.local_stat.avg_load, sds.busiest_stat.avg_load, sds.avg_load), (1536, 3072, 2218));
    assert_eq!(found.rule, GroupRule::BeyondTolerance);
    assert_eq!(case.outcome(), Ok((Load, 2728, Some(4))));
    assert_eq!(size_test(RULES.size, Load, 1023, false, false, 0, 2728), Ok(1705));
    assert_eq!(size_test(RULES.size, Load, 1535, false, false, 0, 1705), Ok(170));
}

/// V5.
#[test]
fn a_difference_of_exactly_imbalance_pct_is_tolerated() {
    let local = (2, 1800, 1024, 2000);
    let at = |load| {
        let busiest = (2, load, 1024, 2100);
        Case::new(&caches(2, 2), "PKG", &[local, local, busiest, busiest]).dst(0, NotIdle)
    };
    assert_eq!(at(2106).outcome(), Err(GroupRule::WithinTolerance));
    assert_eq!(at(2107).src_group().0.local_stat.avg_load, 1800);
    assert_eq!(at(2107).outcome(), Ok((Load, 306, Some(2))));
    // 1052 is too big for 306, so is half of it after one failure, but not a quarter after two.
    let fits = |failed| size_test(RULES.size, Load, 1052, false, false, failed, 306);
    assert_eq!([fits(0), fits(1), fits(2)], [Err(Refusal::TooBig), Err(Refusal::TooBig), Ok(-746)]);
}

/// V6.
#[test]
fn a_fully_busy_group_takes_load_from_an_overloaded_one() {
    let (one, two) = ((1, 1024, 1010, 1024), (2, 2048, 1024, 2048));
    let rows = [one, one, one, one, two, two, two, two];
    let case = Case::new(&caches(2, 4), "PKG", &rows).dst(0, NotIdle);
    assert_eq!(case.types(), [FullyBusy, Overloaded]);
    let (sds, _) = case.src_group();
    assert_eq!((sds.local_stat.avg_load, sds.avg_load), (1024, 1536));
    assert_eq!(case.outcome(), Ok((Load, 2048, Some(4))));
}

/// V7.
#[test]
fn a_difference_of_two_is_tolerated_between_nodes_while_the_destination_has_few_tasks() {
    let machine = Machine::regular(2, 1, 8, 1, true);
    let outcome = |local: usize, remote: usize, imb_numa_nr: u32| {
        let mut rows = vec![IDLE; 16];
        // The destination, CPU 0, stays idle.
        rows[1..=local].fill((1, 400, 400, 400));
        rows[8..8 + remote].fill((1, 400, 400, 400));
        let mut case = Case::new(&machine, "NUMA", &rows);
        case.domain().imb_numa_nr = imb_numa_nr;
        assert_eq!(case.types(), [HasSpare, HasSpare]);
        case.outcome()
    };
    let balanced = Err(GroupRule::PreferSibling);
    assert_eq!(outcome(0, 2, 2), balanced);
    assert_eq!(outcome(0, 3, 2), Ok((Task, 1, Some(8))));
    assert_eq!(outcome(1, 3, 2), balanced);
    assert_eq!(outcome(2, 4, 2), Ok((Task, 1, Some(8))));
    assert_eq!(outcome(0, 2, 1), balanced);
    assert_eq!([adjust_numa_imbalance(2, 3, 2), adjust_numa_imbalance(3, 1, 2)], [2, 3]);
}

/// V8 a and b.
#[test]
fn an_idle_core_helps_a_core_with_two_tasks_but_not_single_tasks() {
    let rows = [IDLE, IDLE, (1, 800, 600, 700), (1, 800, 600, 700), (1, 300, 200, 220), IDLE];
    let case = Case::new(&hybrid(), "MC", &rows);
    assert_eq!(case.types(), [HasSpare, SmtBalance, HasSpare, HasSpare]);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(2))));
    let rows = [IDLE, IDLE, (1, 800, 600, 700), IDLE, (1, 300, 200, 220), IDLE];
    assert_eq!(Case::new(&hybrid(), "MC", &rows).outcome(), Err(GroupRule::SingleTask));
}

/// V8 c.
#[test]
fn of_two_full_cores_the_first_is_relieved_by_a_core_without_threads() {
    let (p0, p1, e) = ((1, 900, 800, 850), (1, 1000, 950, 1000), (1, 300, 200, 220));
    let case = Case::new(&hybrid(), "MC", &[p0, p0, p1, p1, e, IDLE]).dst(5, Idle);
    let (_, found) = case.src_group();
    assert_eq!(found.rule, GroupRule::PreferSibling);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(0))));
}

/// V8 d.
#[test]
fn an_idle_thread_does_not_relieve_a_full_core() {
    let (p0, p1) = ((1, 900, 800, 850), (1, 1000, 950, 1000));
    let case = Case::new(&Machine::regular(1, 1, 2, 2, false), "MC", &[p0, IDLE, p1, p1]).dst(1, Idle);
    assert_eq!(case.outcome(), Err(GroupRule::NoMoreIdleCpus));
}

/// V9.
#[test]
fn tasks_are_shared_in_proportion_to_cores() {
    let value = |local, busiest| sibling_imbalance([4, local], [2, busiest]);
    assert_eq!([value(0, 2), value(1, 3), value(2, 3), value(0, 1), value(2, 4)], [3, 4, 3, 2, 5]);
    assert_eq!(sibling_imbalance([1, 0], [2, 2]), 2);
}

/// V10.
#[test]
fn a_preferred_idle_cpu_takes_from_the_least_preferred_one_at_once() {
    let rows = [IDLE, (1, 600, 500, 500), (1, 700, 650, 650), IDLE];
    let case = Case::new(&caches(1, 4), "MC", &rows).level_flags(SdFlags::ASYM_PACKING);
    let mut case = case.group_flags(SdFlags::empty());
    for (i, group) in case.topo.groups.iter_mut().enumerate() {
        group.asym_prefer_cpu = group.span.first().unwrap_or(CpuId(i as u32));
    }
    assert_eq!(case.types(), [HasSpare, AsymPacking, AsymPacking, HasSpare]);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(2))));
    let reason = case.decide(|search| search.need_active_balance(CpuId(2), Task));
    assert_eq!(reason, Some(ActiveReason::AsymPacking));
}

/// V11.
#[test]
fn a_task_too_big_for_its_cpu_is_pulled_by_an_idle_big_one() {
    let rows = [(1, 1000, 425, 800), (1, 100, 90, 95), IDLE, (1, 500, 400, 450)];
    let mut case = big_little(kernels::DEFAULT, rows, [430, 430, 1000, 1010], 2);
    case.rows[0].misfit_task_load = 1000;
    assert_eq!(case.types(), [HasSpare, MisfitTask]);
    assert_eq!(case.outcome(), Ok((Misfit, 1, Some(0))));
    let reason = case.decide(|search| search.need_active_balance(CpuId(0), Misfit));
    assert_eq!(reason, Some(ActiveReason::Misfit));
}

/// V11, reverse and difference.
#[test]
fn a_small_cpu_takes_nothing_from_big_cpus_that_are_not_too_busy() {
    let rows = [IDLE, IDLE, (1, 900, 800, 850), (1, 500, 400, 450)];
    assert_eq!(
        big_little(kernels::DEFAULT, rows, [430, 430, 1000, 1010], 0).outcome(),
        Err(GroupRule::NoBusiest)
    );
    let rows = [IDLE, IDLE, (1, 900, 1000, 1000), (1, 900, 1005, 1000)];
    let case = big_little(kernels::DEFAULT, rows, [430, 430, 1000, 1010], 0);
    assert_eq!(case.types(), [HasSpare, FullyBusy]);
    assert_eq!(case.outcome(), Err(GroupRule::NoBusiest));
}

/// V12.
#[test]
fn a_single_task_leaves_a_cpu_whose_capacity_others_use() {
    let rows = [IDLE, (1, 900, 590, 850), IDLE, IDLE];
    let case = Case::new(&caches(1, 4), "MC", &rows).capacity(0, 1000, 1024).capacity(1, 600, 1024);
    assert_eq!(case.types()[1], MisfitTask);
    assert_eq!(case.outcome(), Ok((Load, 900, Some(1))));
    let reason = case.decide(|search| search.need_active_balance(CpuId(1), Load));
    assert_eq!(reason, Some(ActiveReason::ReducedCapacity));
}

/// V13.
#[test]
fn an_imbalance_left_by_affinities_forces_one_task() {
    let rows = [IDLE, IDLE, IDLE, IDLE, (2, 2048, 1024, 2048), (1, 300, 200, 220), IDLE, IDLE];
    let mut case = Case::new(&caches(2, 4), "PKG", &rows);
    let first = case.domain().groups;
    let remote = case.topo.groups[first.index()].next;
    let sgc = case.topo.groups[remote.index()].sgc;
    case.topo.capacities[sgc.index()].imbalance = true;
    assert_eq!(case.src_group().1.rule, GroupRule::Imbalanced);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(4))));
}

/// V14: the second search, without the CPU whose tasks are all pinned.
#[test]
fn without_the_pinned_cpu_nothing_is_found_and_nothing_is_overloaded() {
    let case = Case::new(&caches(1, 4), "MC", &[IDLE, (3, 3072, 1024, 3000), IDLE, IDLE]);
    assert_eq!(case.outcome(), Ok((Task, 1, Some(1))));
    let without = CpuMask::parse_list("0,2-3", 4).unwrap();
    let (sds, found) = case.decide_over(&without, |search| {
        let mut sds = search.update_sd_lb_stats();
        let found = search.find_src_group(&mut sds);
        (sds, found)
    });
    assert_eq!((found.rule, sds.overloaded, sds.total_capacity), (GroupRule::NoBusiest, false, 4096));
}

/// V19.
#[test]
fn the_first_idle_core_balances_then_the_first_idle_thread_then_the_first_cpu() {
    let machine = Machine::regular(1, 2, 2, 2, false);
    let busy = (1, 500, 400, 450);
    let turns = |rows: [(u32, u64, u64, u64); 4]| {
        let mut all = rows.to_vec();
        all.extend([busy; 4]);
        let case = |dst| Case::new(&machine, "PKG", &all).dst(dst, Idle);
        [0, 1, 2, 3].map(|dst| case(dst).decide(|search| search.should_we_balance().is_for(CpuId(dst))))
    };
    assert_eq!(turns([busy, IDLE, IDLE, IDLE]), [false, false, true, false]);
    assert_eq!(turns([busy, IDLE, busy, busy]), [false, true, false, false]);
    assert_eq!(turns([busy, busy, busy, busy]), [true, false, false, false]);
    // Between the threads of a core each has a group of its own.
    let rows = [busy, IDLE, busy, busy, busy, busy, busy, busy];
    for (dst, idle) in [(0, NotIdle), (1, Idle)] {
        let case = Case::new(&machine, "SMT", &rows).dst(dst, idle);
        assert!(case.decide(|search| search.should_we_balance().is_for(CpuId(dst))));
    }
}

/// V20: a quirk of C's types.
#[test]
fn a_local_group_with_fewer_idle_cpus_wants_two_billion_tasks() {
    let rows = [(1, 300, 200, 250), (1, 300, 200, 250), (4, 4096, 1024, 4000), IDLE];
    let machine = Machine::regular(1, 1, 2, 2, false);
    let case = Case::new(&machine, "MC", &rows).dst(0, NotIdle).group_flags(SdFlags::SHARE_LLC);
    assert_eq!(case.types(), [HasSpare, Overloaded]);
    assert_eq!(case.outcome(), Ok((Task, 2_147_483_647, Some(2))));
}

/// V22.
#[test]
fn a_cache_hot_task_moves_after_enough_failures() {
    let heat = |since_exec, shares_core| CacheHeat {
        fair: true,
        idle_policy: false,
        shares_core,
        buddy: false,
        migration_cost: 500_000,
        cookie_mismatch: false,
        since_exec,
    };
    assert!(task_hot(&RULES, &heat(200_000, false)));
    assert!(!task_hot(&RULES, &heat(500_000, false)), "the limit itself is cold");
    assert!(!task_hot(&RULES, &heat(200_000, true)), "threads of a core share its caches");
    assert!(task_hot(&RULES, &CacheHeat { migration_cost: u32::MAX, ..heat(i64::MAX, false) }));
    assert!(!task_hot(&RULES, &CacheHeat { migration_cost: 0, ..heat(0, false) }));
    assert!(task_hot(&RULES, &CacheHeat { buddy: true, migration_cost: 0, ..heat(0, false) }));
    assert!(!task_hot(&RULES, &CacheHeat { buddy: true, idle_policy: true, ..heat(0, false) }));
    let hot = Candidate { hot: true, ..MOVABLE };
    let verdict = |failed| can_migrate_task(&RULES, &hot, LbFlags::empty(), Task, [failed, 1]);
    assert_eq!(
        [verdict(0), verdict(1), verdict(2)],
        [Err(Refusal::CacheHot), Err(Refusal::CacheHot), Ok(true)]
    );
}

#[test]
fn the_rules_on_a_task_apply_in_the_kernels_order() {
    let verdict = |task: Candidate, flags| can_migrate_task(&RULES, &task, flags, Task, [0, 1]);
    assert_eq!(verdict(MOVABLE, LbFlags::empty()), Ok(false));
    let pinned = Candidate { allowed: false, on_cpu: true, ..MOVABLE };
    assert_eq!(verdict(pinned, LbFlags::empty()), Err(Refusal::Pinned), "before running");
    let running = Candidate { on_cpu: true, hot: true, ..MOVABLE };
    assert_eq!(verdict(running, LbFlags::ACTIVE_LB), Err(Refusal::Running), "before active balance");
    let hot = Candidate { hot: true, ..MOVABLE };
    assert_eq!(verdict(hot, LbFlags::ACTIVE_LB), Ok(false), "the stopper takes hot tasks");
    let nearer = Candidate { locality: Locality::Improves, ..hot };
    assert_eq!(verdict(nearer, LbFlags::empty()), Ok(false), "nearer to its memory beats hot");
    let farther = Candidate { locality: Locality::Degrades, ..MOVABLE };
    assert_eq!(verdict(farther, LbFlags::empty()), Err(Refusal::DegradesLocality));
    let throttled = Candidate { src_throttled: true, ..pinned };
    assert_eq!(verdict(throttled, LbFlags::empty()), Err(Refusal::Throttled));
    let kthread = Candidate { percpu_kthread: true, ..pinned };
    assert_eq!(verdict(kthread, LbFlags::empty()), Err(Refusal::PerCpuKthread));
}

#[test]
fn a_task_stays_near_its_memory_unless_the_cpu_would_idle() {
    let faults = NumaFaults {
        src_is_preferred: false,
        dst_is_preferred: false,
        src_nr_running: 3,
        src_nr_preferred_running: 2,
        src_weight: 100,
        dst_weight: 99,
    };
    let ask = |faults: NumaFaults, idle| migrate_degrades_locality(&RULES, Some(&faults), idle);
    assert_eq!(ask(faults, NotIdle), Locality::Degrades);
    assert_eq!(ask(NumaFaults { dst_weight: 100, ..faults }, NotIdle), Locality::Improves);
    assert_eq!(ask(faults, Idle), Locality::Unaffected);
    assert_eq!(ask(faults, NewlyIdle), Locality::Degrades);
    assert_eq!(ask(NumaFaults { dst_is_preferred: true, ..faults }, NotIdle), Locality::Improves);
    let home = NumaFaults { src_is_preferred: true, ..faults };
    assert_eq!(ask(home, Idle), Locality::Degrades, "others on the source do not prefer it");
    assert_eq!(ask(NumaFaults { src_nr_preferred_running: 3, ..home }, Idle), Locality::Unaffected);
    assert_eq!(migrate_degrades_locality(&RULES, None, NotIdle), Locality::Unaffected);
}

#[test]
fn queues_are_classed_by_where_their_tasks_prefer_to_be() {
    let class = FbqType::classify;
    assert_eq!(
        [class(3, 2, 0), class(3, 3, 2), class(3, 3, 3)],
        [FbqType::Regular, FbqType::Remote, FbqType::All]
    );
}

#[test]
fn light_tasks_are_skipped_only_with_lb_min_and_before_a_failure() {
    assert_eq!(size_test(RULES.size, Load, 15, false, true, 0, 100), Err(Refusal::TooLight));
    assert_eq!(size_test(RULES.size, Load, 15, false, true, 1, 100), Ok(85));
    assert_eq!(size_test(RULES.size, Load, 15, false, false, 0, 100), Ok(85));
    assert_eq!(size_test(RULES.size, Misfit, 1, true, false, 0, 1), Err(Refusal::FitsSource));
    assert_eq!(size_test(RULES.size, Misfit, 1, false, false, 0, 1), Ok(0));
    assert_eq!(
        size_test(RULES.size, Load, 1 << 40, false, false, 64, 1),
        Ok(1 - (1 << 40)),
        "the shift is bounded"
    );
}

/// A busiest group below the average of its domain, because a third group holds one very heavy task.
#[test]
fn the_surplus_of_a_busiest_group_below_average_wraps() {
    let (local, busiest) = ((2, 1100, 1024, 2048), (2, 2048, 1024, 2048));
    let heavy = (1, 88_761, 1024, 1024);
    let rows = [local, local, busiest, busiest, heavy, heavy];
    let case = Case::new(&caches(3, 2), "PKG", &rows).dst(0, NotIdle);
    let (sds, _) = case.src_group();
    assert!(sds.busiest_stat.avg_load < sds.avg_load);
    // The wrapped difference is huge, so what the local group lacks decides.
    let lacks = ((sds.avg_load - 1100) * 2048 / 1024) as i64;
    assert_eq!(case.outcome(), Ok((Load, lacks, Some(2))));
}

/// The examples of spec 3 §4.6.
#[test]
fn the_fuller_a_cache_the_less_a_wake_up_searches_it() {
    let scan = |sum| nr_idle_scan(sum, 16, 117);
    assert_eq!([scan(0), scan(4096), scan(8192), scan(12_000), scan(14_000)], [16, 14, 10, 4, 0]);
    assert_eq!(nr_idle_scan(2000, 4, 117), 2);
}

/// Energy-aware placement keeps the balancer away until a CPU is overutilized, except from misfit tasks.
#[test]
fn energy_aware_placement_is_left_alone() {
    let rows = [IDLE, (3, 3072, 1024, 3000), IDLE, IDLE];
    let case = Case::new(&caches(1, 4), "MC", &rows);
    let rule = case.decide(|search| {
        let search = Search { energy_aware: EnergyAware::InCharge, ..*search };
        let mut sds = search.update_sd_lb_stats();
        search.find_src_group(&mut sds).rule
    });
    assert_eq!(rule, GroupRule::EnergyAware);
}

/// Spec 3 §6: what each rule of the search for a queue leaves out.
#[test]
fn the_source_queue_is_chosen_by_what_is_to_be_moved() {
    use evenkeel::balance::source::QueueVerdict::{
        Best, Empty, NotMore, NotSmaller, NumaClass, Preferred, SingleTask, SingleTaskTooBig,
    };
    let rows = [IDLE, (1, 900, 800, 850), (2, 700, 300, 900), (3, 700, 500, 600)];
    let verdicts = |case: &Case, amount, unit, fbq| {
        case.decide(|search| {
            let mut choice = SrcRq::new(amount, unit, fbq);
            [0, 1, 2, 3].map(|cpu| choice.consider(search, CpuId(cpu)))
        })
    };
    let case = || Case::new(&caches(1, 4), "MC", &rows);
    assert_eq!(verdicts(&case(), 800, Load, FbqType::All), [Empty, SingleTaskTooBig, Best, NotMore]);
    assert_eq!(verdicts(&case(), 900, Load, FbqType::All), [Empty, Best, NotMore, NotMore]);
    // Load counts per capacity: 700 of 500 is more than 900 of 1024.
    let smaller = case().capacity(3, 500, 1024);
    assert_eq!(verdicts(&smaller, 900, Load, FbqType::All), [Empty, Best, NotMore, Best]);
    // A single task too big for the imbalance leaves a CPU of reduced capacity all the same.
    let reduced = case().capacity(1, 800, 1024);
    assert_eq!(verdicts(&reduced, 800, Load, FbqType::All)[1], Best);
    // Utilisation as if nothing waited: 900 of CPU 2 although it used 300.
    assert_eq!(verdicts(&case(), 9, Util, FbqType::All), [Empty, SingleTask, Best, NotMore]);
    assert_eq!(verdicts(&case(), 1, Task, FbqType::All), [Empty, Best, Best, Best]);
    // Where tasks prefer to be: regular queues first, all only if asked for. An idle queue is of class "all".
    let mut numa = case();
    (numa.rows[2].nr_numa_running, numa.rows[3].nr_numa_running) = (2, 3);
    numa.rows[3].nr_preferred_running = 3;
    assert_eq!(verdicts(&numa, 1, Task, FbqType::Regular), [NumaClass, Best, NumaClass, NumaClass]);
    assert_eq!(verdicts(&numa, 1, Task, FbqType::Remote), [NumaClass, Best, Best, NumaClass]);
    // Asymmetric machines: a single task stays on a CPU that is not smaller, or is preferred.
    let asym = case().level_flags(SdFlags::ASYM_CPUCAPACITY);
    assert_eq!(verdicts(&asym, 1, Task, FbqType::All), [Empty, NotSmaller, Best, Best]);
    let packing = case().dst(3, Idle).level_flags(SdFlags::ASYM_PACKING);
    assert_eq!(verdicts(&packing, 1, Task, FbqType::All)[1], Preferred);
}

/// Spec 3 §8.3: between cores a priority counts only while the whole core is idle.
#[test]
fn priorities_count_between_idle_cores_only() {
    let busy = (1, 500, 400, 450);
    let machine = Machine::regular(1, 1, 2, 2, false);
    let needs = |rows: [(u32, u64, u64, u64); 4], dst, src| {
        let case = Case::new(&machine, "MC", &rows).dst(dst, Idle).level_flags(SdFlags::ASYM_PACKING);
        case.decide(|search| search.need_active_balance(CpuId(src), Task))
    };
    let asym = Some(ActiveReason::AsymPacking);
    assert_eq!(needs([IDLE, IDLE, busy, IDLE], 0, 2), asym);
    assert_eq!(needs([IDLE, busy, busy, IDLE], 0, 2), None, "the destination's core is busy");
    assert_eq!(needs([busy, IDLE, IDLE, IDLE], 2, 0), None, "the source is preferred");
    assert_eq!(needs([busy, busy, IDLE, IDLE], 2, 0), asym, "but both its threads are busy: anyone may help");
}

/// Spec 3 §4.3: a core with several busy threads is left to SMT balancing.
#[test]
fn a_core_with_two_busy_threads_is_not_packed_but_balanced() {
    let busy = (1, 500, 400, 450);
    let machine = Machine::regular(1, 1, 2, 2, false);
    let types = |rows: [(u32, u64, u64, u64); 4]| {
        let mut case = Case::new(&machine, "MC", &rows).level_flags(SdFlags::ASYM_PACKING);
        for group in &mut case.topo.groups {
            group.asym_prefer_cpu = group.span.first().unwrap();
        }
        case.types()
    };
    assert_eq!(types([IDLE, IDLE, busy, IDLE]), [HasSpare, AsymPacking]);
    assert_eq!(types([IDLE, IDLE, busy, busy]), [HasSpare, SmtBalance]);
}
