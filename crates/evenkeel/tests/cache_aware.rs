//! Gathering the threads of a process in one cache: the worked vector of the specification, and every rule (spec 3 §13).
#![allow(missing_docs)]
mod case;

use case::{Case, IDLE, MOVABLE, caches};
use evenkeel::balance::active::ActiveReason;
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::classify::GroupType::{HasSpare, Imbalanced, LlcBalance, Overloaded};
use evenkeel::balance::env::IdleType::{Idle, NotIdle};
use evenkeel::balance::env::{LbFlags, MigrationType};
use evenkeel::balance::migrate::{Candidate, Locality, Refusal, can_migrate_task, size_test};
use evenkeel::cache_aware::process::{Comparison, Decaying, WHOLE_CPU, share};
use evenkeel::cache_aware::rules::{Memory, ProcessSize};
use evenkeel::cache_aware::sched_cache_enabled;
use evenkeel::cache_aware::{Degrades, Gathering, Invalid, LlcLoad, LlcMove, Process, Toward};
use evenkeel::ids::CpuId;
use evenkeel::kernel::{Kernel, LlcBalancingTunables};
use evenkeel::kernels::{self, V6_18_15, V7_2_13};
use evenkeel::topology::{Domains, Machine, SdFlags};

const TUNABLES: LlcBalancingTunables = match V7_2_13.tunables.llc_balancing {
    Some(tunables) => tunables,
    None => panic!("v7.2 gathers threads"),
};

/// As the kernel is built, on a machine with SMT or without.
const fn gathering(smt_active: bool) -> Gathering {
    Gathering { tunables: TUNABLES, smt_active }
}

fn load(util: u64) -> Option<LlcLoad> {
    Some(LlcLoad { util, capacity: 4096 })
}

/// The machine of V21: two caches of two cores with two threads; CPU 0 balances the package.
fn v21(util: [u64; 2]) -> Case {
    let machine = Machine::regular(1, 2, 2, 2, false);
    let rows = [IDLE, IDLE, IDLE, IDLE, (1, 300, 300, 300), IDLE, (2, 700, 600, 700), IDLE];
    let mut case = Case::of(&V7_2_13, &machine, "PKG", &rows);
    for (llc, util) in util.into_iter().enumerate() {
        let shared = case.topo.cpus[4 * llc].sd_llc_shared.unwrap();
        let record = &mut case.topo.shared[shared.index()];
        (record.util_avg, record.capacity) = (util, 4096);
    }
    for (cpu, count) in [(4, 1), (6, 2)] {
        case.rows[cpu].nr_pref_dst_llc = count;
    }
    case
}

/// V21: the group becomes `llc_balance`, and the queue with more of our tasks gives one.
#[test]
fn a_group_gives_tasks_to_the_cache_they_prefer() {
    let case = v21([500, 1500]);
    assert_eq!(case.types(), [HasSpare, LlcBalance]);
    let (sds, found) = case.src_group();
    assert_eq!((sds.busiest_stat.nr_pref_dst_llc, found.rule), (3, GroupRule::PreferOurCache));
    assert_eq!(case.outcome(), Ok((MigrationType::LlcTask, 1, Some(6))));
    assert_eq!(size_test(V7_2_13.balance.tasks.size, MigrationType::LlcTask, 1, false, false, 0, 1), Ok(0));
}

/// V21: also for a busy CPU, which otherwise takes only from overloaded groups.
#[test]
fn a_busy_cpu_takes_such_tasks_as_well() {
    let mut case = v21([500, 1500]).dst(0, NotIdle);
    case.rows[0] = evenkeel::balance::view::CpuRow::busy(0, 1, 200, 200, 200);
    assert_eq!(case.outcome(), Ok((MigrationType::LlcTask, 1, Some(6))));
    for cpu in [4, 6] {
        case.rows[cpu].nr_pref_dst_llc = 0;
    }
    assert_eq!(case.outcome(), Err(GroupRule::DestinationBusy));
}

/// V21: neither cache has room, the destination has none and is busier, or gathering has failed too often.
#[test]
fn no_task_is_asked_for_where_it_does_not_fit_or_after_failures() {
    assert_eq!(v21([2100, 2200]).types(), [HasSpare, HasSpare]);
    assert_eq!(v21([2100, 1500]).types(), [HasSpare, HasSpare]);
    for (failed, expected) in [(0, LlcBalance), (1, LlcBalance), (2, HasSpare)] {
        let mut case = v21([500, 1500]);
        assert_eq!(case.domain().cache_nice_tries, 1);
        case.domain().nr_balance_failed = failed;
        assert_eq!(case.types()[1], expected, "{failed} failures");
    }
}

/// Spec 3 §13.5: a level within a cache, and one of unequal CPUs with a misfit task, ask for none; nor do caches that
/// were never summed up; nor kernels that do not gather, or machines with one cache.
#[test]
fn the_flag_needs_a_level_between_caches_and_known_loads() {
    let inside = v21([500, 1500]).level_flags(SdFlags::SHARE_LLC);
    assert_eq!(inside.types()[1], HasSpare);
    let mut unequal = v21([500, 1500]).level_flags(SdFlags::ASYM_CPUCAPACITY);
    assert_eq!(unequal.types()[1], LlcBalance);
    unequal.rows[4].misfit_task_load = 100;
    assert_ne!(unequal.types()[1], LlcBalance);
    let mut unknown = v21([500, 1500]);
    for shared in &mut unknown.topo.shared {
        (shared.util_avg, shared.capacity) = (0, 0);
    }
    assert_eq!(unknown.types()[1], HasSpare);
    let machine = Machine::regular(1, 2, 2, 2, false);
    let mut older =
        Case::of(&V6_18_15, &machine, "PKG", &[IDLE, IDLE, IDLE, IDLE, (1, 300, 300, 300), IDLE, IDLE, IDLE]);
    older.rows[4].nr_pref_dst_llc = 1;
    assert_eq!(older.types()[1], HasSpare);
}

/// Spec 3 §4.4: between imbalanced and overloaded.
#[test]
fn the_class_is_between_imbalanced_and_overloaded() {
    let mut case = v21([500, 1500]);
    assert!(Imbalanced < LlcBalance && LlcBalance < Overloaded);
    let local = case.domain().groups;
    let group = case.topo.groups[local.index()].next;
    let sgc = case.topo.groups[group.index()].sgc;
    case.topo.capacities[sgc.index()].imbalance = true;
    assert_eq!(case.types()[1], LlcBalance, "asked before the imbalance flag");
    for row in &mut case.rows[4..] {
        (row.nr_running, row.h_nr_queued, row.h_nr_runnable) = (2, 2, 2);
        (row.util, row.runnable) = (1024, 2048);
    }
    assert_eq!(case.types()[1], Overloaded, "asked after overload");
}

/// Spec 3 §5.1: of two groups with tasks that prefer our cache, the one with more.
#[test]
fn more_tasks_that_prefer_our_cache_make_the_busier_group() {
    let busy = (1, 300, 300, 300);
    let mut case = Case::of(&V7_2_13, &caches(3, 2), "PKG", &[IDLE, IDLE, busy, busy, busy, busy]);
    for cpu in &case.topo.cpus {
        let record = &mut case.topo.shared[cpu.sd_llc_shared.unwrap().index()];
        (record.util_avg, record.capacity) = (300, 2048);
    }
    for (cpus, expected) in [([1, 0, 1, 1], 4), ([1, 1, 1, 0], 2), ([1, 0, 0, 1], 2)] {
        for (row, count) in case.rows[2..].iter_mut().zip(cpus) {
            row.nr_pref_dst_llc = count;
        }
        assert_eq!(case.outcome(), Ok((MigrationType::LlcTask, 1, Some(expected))), "{cpus:?}");
    }
}

/// Spec 3 §13.4 with capacity 4096: room is below 2048 with SMT and below 3072 without, "greater" is above 120 %.
#[test]
fn moves_between_caches_follow_their_loads() {
    use LlcMove::{Forbidden, Llc, Unrestricted};
    use Toward::{Other, Preferred};
    let at = |smt, src, dst, util, toward| gathering(smt).can_migrate_llc(load(src), load(dst), util, toward);
    // Towards the preferred cache: V21's three cases, and the edges of both comparisons.
    assert_eq!(at(true, 1500, 500, 0, Preferred), Llc);
    assert_eq!(at(true, 2200, 2100, 0, Preferred), Unrestricted);
    assert_eq!(at(true, 1500, 2100, 0, Preferred), Forbidden);
    assert_eq!(at(true, 1800, 2160, 0, Preferred), Llc, "not more than 120 %");
    assert_eq!(at(true, 1800, 2161, 0, Preferred), Forbidden);
    assert_eq!(at(true, 0, 2047, 0, Preferred), Llc, "there is room");
    assert_eq!(at(true, 0, 2048, 0, Preferred), Forbidden);
    assert_eq!(at(false, 0, 2048, 0, Preferred), Llc, "more without threads");
    assert_eq!(at(false, 0, 3072, 0, Preferred), Forbidden);
    // Away from it: only when it is full and the other is clearly emptier, both after the move.
    assert_eq!(at(true, 2000, 0, 0, Other), Forbidden);
    assert_eq!(at(true, 2500, 1500, 0, Other), Llc);
    assert_eq!(at(true, 2500, 1500, 300, Other), Llc, "2200 is more than 120 % of 1800");
    assert_eq!(at(true, 2500, 1500, 330, Other), Forbidden, "2170 is not of 1830");
    assert_eq!(at(true, 2500, 1500, 500, Other), Forbidden, "2000 fits again");
    assert_eq!(at(true, 4000, 2048, 0, Other), Unrestricted);
    // The task's own utilisation counts: at the source at most all of it.
    assert_eq!(at(true, 100, 1000, 500, Preferred), Llc);
    assert_eq!(at(true, 100, 1900, 500, Preferred), Forbidden);
    // What is not known restricts nothing.
    let unknown = gathering(true).can_migrate_llc(None, load(1), 0, Other);
    assert_eq!(
        (unknown, gathering(true).can_migrate_llc(load(1), None, 0, Other)),
        (Unrestricted, Unrestricted)
    );
}

fn size(threads: u32, nr_running_avg: u64, smt_threads: u32, llc_size: u32) -> ProcessSize {
    ProcessSize { threads, nr_running_avg, smt_threads, llc_size, memory: None }
}

fn tolerance(aggr_tolerance: u32) -> Gathering {
    Gathering { tunables: LlcBalancingTunables { aggr_tolerance, ..TUNABLES }, smt_active: true }
}

/// Spec 3 §13.3, thread rule: a cache of 8 CPUs takes 6 running threads (6 * 1.25 = 7.5 < 8), of 16 threads of cores 6.
#[test]
fn a_process_must_have_threads_and_not_too_many_running() {
    let invalid = |size| gathering(true).invalid(&size);
    assert_eq!(invalid(size(1, 0, 1, 8)), Some(Invalid::SingleThread));
    assert_eq!(invalid(size(0, 0, 1, 8)), Some(Invalid::SingleThread));
    assert_eq!(invalid(size(2, 6, 1, 8)), None);
    assert_eq!(invalid(size(2, 7, 1, 8)), Some(Invalid::TooManyThreads));
    assert_eq!(invalid(size(2, 6, 2, 16)), None);
    assert_eq!(invalid(size(2, 7, 2, 16)), Some(Invalid::TooManyThreads));
    // Tolerance 0: never; 3: three times as many; 100: any number, but not a single thread.
    assert_eq!(tolerance(0).invalid(&size(2, 0, 1, 8)), Some(Invalid::TooManyThreads));
    assert_eq!(tolerance(3).invalid(&size(9, 19, 1, 8)), None);
    assert_eq!(tolerance(3).invalid(&size(9, 20, 1, 8)), Some(Invalid::TooManyThreads));
    assert_eq!(tolerance(99).invalid(&size(9, 634, 1, 8)), Some(Invalid::TooManyThreads));
    assert_eq!(tolerance(100).invalid(&size(9, 1_000_000, 1, 8)), None);
    assert_eq!(tolerance(100).invalid(&size(1, 1, 1, 8)), Some(Invalid::SingleThread));
}

/// Spec 3 §13.3, footprint rule: tolerance 1 allows the size of the cache, each step more 256 times it.
#[test]
fn with_numa_balancing_memory_must_fit_the_cache() {
    let at = |gathering: Gathering, footprint, llc_bytes| {
        gathering.invalid(&ProcessSize { memory: Some(Memory { footprint, llc_bytes }), ..size(2, 1, 1, 8) })
    };
    assert_eq!(at(tolerance(1), 1000, Some(1000)), None);
    assert_eq!(at(tolerance(1), 1001, Some(1000)), Some(Invalid::TooLarge));
    assert_eq!(at(tolerance(2), 257_000, Some(1000)), None);
    assert_eq!(at(tolerance(2), 257_001, Some(1000)), Some(Invalid::TooLarge));
    assert_eq!(at(tolerance(100), u64::MAX, Some(1)), None);
    assert_eq!(at(tolerance(100), 0, None), Some(Invalid::TooLarge), "a CPU without domains");
}

/// Spec 3 §13.3: halved once per elapsed epoch, and shares are of what the CPU ran for anybody.
#[test]
fn running_time_is_halved_with_every_epoch() {
    let mut ran = Decaying { runtime: 1001, epoch: 5 };
    ran.age(5);
    assert_eq!(ran.runtime, 1001);
    ran.age(7);
    assert_eq!(ran, Decaying { runtime: 250, epoch: 7 });
    ran.age(90);
    assert_eq!(ran, Decaying { runtime: 0, epoch: 90 });
    assert_eq!(share(0, 0), 0);
    assert_eq!(share(6_000_000, 8_000_000), WHOLE_CPU * 6_000_000 / 8_000_001);
    assert_eq!(share(8_000_000, 8_000_000), WHOLE_CPU - 1, "a little less than all");
}

/// Spec 3 §13.3, scan: the cache with the largest sum, if that is more than twice that of the present one; its CPU is the one
/// with the largest share, not the first.
#[test]
fn another_cache_must_have_more_than_twice_the_share() {
    let compare = |caches: &[(&[u64], bool)]| {
        let mut comparison = Comparison::default();
        let mut cpu = 0;
        for &(shares, preferred) in caches {
            let first = cpu;
            cpu += shares.len() as u32;
            comparison.cache((first..).map(CpuId).zip(shares.iter().copied()), preferred);
        }
        comparison.change().map(|cpu| cpu.0)
    };
    assert_eq!(compare(&[(&[10, 30, 20], false), (&[0, 59, 0], false)]), Some(1));
    assert_eq!(compare(&[(&[10, 30, 20], false), (&[0, 0, 61], false)]), Some(5));
    assert_eq!(compare(&[(&[10, 30, 20], true), (&[60, 60, 0], false)]), None, "exactly twice");
    assert_eq!(compare(&[(&[10, 30, 20], true), (&[60, 61, 0], false)]), Some(4));
    assert_eq!(compare(&[(&[10, 30, 20], true), (&[1, 0, 0], false)]), None, "it is the best itself");
    assert_eq!(compare(&[(&[5, 5], false), (&[5, 5], false)]), Some(0), "the first of equals");
    assert_eq!(compare(&[(&[0, 0], false), (&[0, 0], false)]), None, "nobody ran");
}

/// Spec 3 §13.3: `avg += (n - avg) / clamp(llc_size / 4, 2, 8)`, truncated: it stops short of what it follows.
#[test]
fn the_average_of_running_threads_follows_in_steps() {
    let follow = |llc_size, running: [u32; 5]| {
        let mut process = Process::default();
        running.map(|running| {
            process.note_running(running, llc_size);
            process.nr_running_avg
        })
    };
    assert_eq!(follow(4, [8, 8, 8, 8, 0]), [4, 6, 7, 7, 4]);
    assert_eq!(follow(16, [8, 8, 8, 8, 0]), [2, 3, 4, 5, 4]);
    assert_eq!(follow(64, [8, 8, 8, 8, 0]), [1, 1, 1, 1, 1], "differences below the divisor are lost");
    assert_eq!(follow(64, [80, 80, 80, 80, 0]), [10, 18, 25, 31, 28]);
}

/// Spec 3 §7.3 and §13.5: after running and pinned, before cache heat; memory comes first.
#[test]
fn tasks_are_kept_for_their_cache_before_heat_is_asked() {
    let rules = &V7_2_13.balance.tasks;
    let verdict =
        |task: Candidate, flags, kind, failed| can_migrate_task(rules, &task, flags, kind, [failed, 1]);
    let kept = Candidate { degrades_llc: Some(Degrades::Forbidden), hot: true, ..MOVABLE };
    assert_eq!(verdict(kept, LbFlags::empty(), MigrationType::Task, 0), Err(Refusal::DegradesLlc));
    assert_eq!(
        verdict(kept, LbFlags::empty(), MigrationType::Task, 9),
        Err(Refusal::DegradesLlc),
        "failures count where it is found out, not here"
    );
    let unwanted = Candidate { degrades_llc: Some(Degrades::NotWanted), ..MOVABLE };
    assert_eq!(
        verdict(unwanted, LbFlags::empty(), MigrationType::LlcTask, 0),
        Err(Refusal::PrefersOtherCache)
    );
    let running = Candidate { on_cpu: true, ..kept };
    assert_eq!(verdict(running, LbFlags::empty(), MigrationType::Task, 0), Err(Refusal::Running));
    let nearer = Candidate { locality: Locality::Improves, ..kept };
    assert_eq!(verdict(nearer, LbFlags::empty(), MigrationType::Task, 0), Ok(false));
    // The stopper takes anything, but for a cache's sake only what prefers it.
    assert_eq!(verdict(kept, LbFlags::ACTIVE_LB, MigrationType::Load, 0), Ok(false));
    let directed = LbFlags::ACTIVE_LB | LbFlags::ACTIVE_LB_LLC;
    assert_eq!(verdict(unwanted, directed, MigrationType::Load, 0), Err(Refusal::PrefersOtherCache));
    let ours = Candidate { prefers_dst_llc: true, hot: true, ..MOVABLE };
    assert_eq!(verdict(ours, directed, MigrationType::Load, 0), Ok(false));
}

/// Spec 3 §8.1 and §13.6: tasks for a cache are always pushed; a CPU whose tasks are all at home keeps them.
#[test]
fn active_balance_gathers_and_does_not_scatter() {
    let need = |case: &Case, kind| case.decide(|search| search.need_active_balance(CpuId(4), kind));
    let mut case = v21([500, 2500]);
    assert_eq!(need(&case, MigrationType::LlcTask), Some(ActiveReason::PrefersOurCache));
    case.domain().nr_balance_failed = 9;
    assert_eq!(need(&case, MigrationType::Task), Some(ActiveReason::Failures));
    // Its one task is at home.
    case.rows[4].nr_pref_llc_running = 1;
    assert_eq!(need(&case, MigrationType::Task), None);
    // With a stopper or another class beside it, the move is weighed: 2500 - 300 against 500 + 300 is full and clearly more.
    case.rows[4].nr_running = 2;
    case.rows[4].curr_util = 300;
    assert_eq!(need(&case, MigrationType::Task), Some(ActiveReason::Failures));
    case.rows[4].curr_util = 600;
    assert_eq!(need(&case, MigrationType::Task), None, "2500 - 600 has room: it stays");
    case.rows[4].curr_util = 300;
    case.rows[4].h_nr_runnable = 2;
    case.rows[4].nr_running = 1;
    assert_eq!(need(&case, MigrationType::Task), Some(ActiveReason::Failures), "not all are at home");
    // Never for a misfit.
    let mut misfit = v21([500, 2500]);
    misfit.rows[4].nr_pref_llc_running = 1;
    assert_eq!(need(&misfit, MigrationType::Misfit), Some(ActiveReason::Misfit));
    // On levels of unequal CPUs a task stays that would be too big for the destination.
    let mut unequal = v21([500, 2500]).level_flags(SdFlags::ASYM_CPUCAPACITY);
    unequal.domain().nr_balance_failed = 9;
    (unequal.rows[4].nr_pref_llc_running, unequal.rows[4].nr_running, unequal.rows[4].curr_util) =
        (1, 2, 300);
    assert_eq!(need(&unequal, MigrationType::Task), Some(ActiveReason::Failures));
    unequal.rows[4].curr_outgrows = true;
    assert_eq!(need(&unequal, MigrationType::Task), None);
    // Within a cache nobody cares.
    let mut inside = v21([500, 2500]);
    inside.level = "MC";
    inside.rows[2].nr_pref_llc_running = 1;
    inside.rows[2].nr_running = 1;
    inside.rows[2].h_nr_runnable = 1;
    inside.domain().nr_balance_failed = 9;
    let reason =
        inside.dst(0, Idle).decide(|search| search.need_active_balance(CpuId(2), MigrationType::Task));
    assert_eq!(reason, Some(ActiveReason::Failures));
}

/// Spec 3 §13.2: several caches, one of them with several CPUs, and the switch; only the newest kernel does it.
#[test]
fn gathering_needs_a_machine_with_several_caches() {
    let on = |kernel: &Kernel, machine: &Machine| {
        sched_cache_enabled(kernel, &Domains::build(machine, kernel, 0).unwrap()).is_some()
    };
    assert!(on(&V7_2_13, &caches(2, 2)));
    assert!(on(&V7_2_13, &Machine::regular(2, 1, 4, 1, true)), "nodes");
    assert!(!on(&V7_2_13, &caches(1, 8)), "one cache");
    assert!(!on(&V7_2_13, &caches(4, 1)), "a CPU in each");
    for kernel in kernels::ALL.into_iter().filter(|kernel| kernel.alias != V7_2_13.alias) {
        assert!(!on(kernel, &caches(2, 2)), "{}", kernel.build);
    }
    let mut off = V7_2_13;
    off.tunables.llc_balancing = Some(LlcBalancingTunables { enabled: false, ..TUNABLES });
    assert!(!on(&off, &caches(2, 2)));
}
