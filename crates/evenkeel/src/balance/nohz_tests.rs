//! The tickless idle CPUs: who joins and leaves, who refreshes their load, who gives up (spec 3 §2.6-2.10); and what a
//! pass writes besides moving tasks (spec 3 §4.2, §4.6).
use super::env::IdleType;
use super::event::{BalanceEvent, NewIdleGate, NohzVisit};
use super::rules::KickDelivery;
use super::tests::{Bench, caches};
use crate::cost::CostModel;
use crate::ids::CpuId;
use crate::kernel::Kernel;
use crate::kernels::{V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15};
use crate::rq::NohzFlags;
use crate::time::{MS, US};
use crate::topology::Machine;
use alloc::vec::Vec;

const CPU0: CpuId = CpuId(0);

fn nr_busy(bench: &Bench) -> i32 {
    let shared = bench.sched.topo.cpus[0].sd_llc_shared.unwrap();
    bench.sched.topo.shared[shared.index()].nr_busy_cpus
}

#[test]
fn a_cpu_is_counted_idle_once_however_often_it_stops_its_tick() {
    let mut bench = Bench::new(&caches(1, 4));
    assert_eq!((nr_busy(&bench), bench.sched.nohz.nr_cpus), (0, 4), "all CPUs boot idle");
    bench.sched.nohz.has_blocked = false;
    bench.sched.nohz.needs_update = false;
    bench.sched.nohz_balance_enter_idle(CPU0);
    assert_eq!((nr_busy(&bench), bench.sched.nohz.nr_cpus), (0, 4));
    assert!(
        bench.sched.nohz.has_blocked && !bench.sched.nohz.needs_update,
        "only a CPU that joins needs an update"
    );
    bench.sched.nohz_balance_exit_idle(CPU0);
    bench.sched.nohz_balance_exit_idle(CPU0);
    assert_eq!((nr_busy(&bench), bench.sched.nohz.nr_cpus), (1, 3));
    bench.sched.nohz_balance_enter_idle(CPU0);
    assert_eq!((nr_busy(&bench), bench.sched.nohz.nr_cpus), (0, 4));
    assert!(bench.sched.nohz.needs_update);
}

#[test]
fn an_idle_cpus_own_tick_neither_kicks_nor_leaves_the_set() {
    let mut bench = Bench::new(&caches(1, 4));
    bench.sched.rqs[0].idle_balance = true;
    bench.sched.rqs[0].nr_running = 2;
    bench.sched.nohz_balancer_kick(CPU0);
    assert!(bench.sched.poll().is_none());
    assert!(bench.sched.nohz.idle_cpus_mask.contains(CPU0));
    bench.sched.rqs[0].nr_running = 0;
}

#[test]
fn after_a_new_idle_pass_found_nothing_the_idle_loop_refreshes_stale_load() {
    let mut bench = Bench::new(&caches(1, 4));
    bench.advance(100 * MS);
    let now = bench.sched.jiffies();
    let migration_cost = 500 * US;
    let mut asks = |avg_idle, has_blocked, next_blocked| {
        bench.sched.rqs[0].avg_idle = avg_idle;
        bench.sched.rqs[0].nohz_flags = NohzFlags::empty();
        (bench.sched.nohz.has_blocked, bench.sched.nohz.next_blocked) = (has_blocked, next_blocked);
        bench.sched.nohz_newidle_balance(CPU0);
        bench.sched.rqs[0].nohz_flags == NohzFlags::NEWILB
    };
    assert!(!asks(migration_cost - 1, true, now), "no time for it");
    assert!(!asks(migration_cost, false, now), "nothing to refresh");
    assert!(!asks(migration_cost, true, now + 1), "refreshed lately");
    assert!(asks(migration_cost, true, now));
    bench.sched.observer.0.clear();
    bench.sched.nohz_run_idle_balance(CPU0);
    let stats = BalanceEvent::NohzBalance { cpu: CPU0, flags: NohzFlags::STATS };
    assert_eq!(bench.sched.observer.0[0], stats);
    let others_untouched = |event: &BalanceEvent| {
        matches!(event, BalanceEvent::NohzVisit { by: CPU0, visit: NohzVisit::NotAsked, .. })
    };
    assert!(bench.sched.observer.0[1..].iter().all(others_untouched), "and balances nobody");
    assert!(!bench.sched.nohz.has_blocked, "no task ever ran");
    assert_eq!(bench.sched.nohz.next_blocked, now + 8, "32 ms at 250 Hz");
    assert!(bench.sched.rqs[0].nohz_flags.is_empty());
    // Not if a kick has come in between, or there is work.
    for (flags, need_resched) in [(NohzFlags::NEWILB | NohzFlags::STATS, false), (NohzFlags::NEWILB, true)] {
        bench.sched.observer.0.clear();
        bench.sched.rqs[0].nohz_flags = flags;
        bench.sched.rqs[0].need_resched = need_resched;
        bench.sched.nohz_run_idle_balance(CPU0);
        assert!(bench.sched.observer.0.is_empty());
        assert_eq!(bench.sched.rqs[0].nohz_flags, flags - NohzFlags::NEWILB);
    }
}

#[test]
fn blocked_load_keeps_the_refreshing_going_until_it_has_decayed() {
    let mut bench = Bench::new(&caches(1, 4));
    bench.advance(100 * MS);
    bench.sched.update_rq_clock(CpuId(2));
    let now = bench.sched.rqs[2].clock_pelt_now();
    let avg = &mut bench.sched.queues[2].avg;
    (avg.util_avg, avg.util_sum, avg.last_update_time) = (500, 500 * 47_000, now);
    bench.advance(8 * MS);
    bench.sched.rqs[0].nohz_flags = NohzFlags::NEWILB;
    bench.sched.nohz_run_idle_balance(CPU0);
    assert!(bench.sched.nohz.has_blocked && bench.sched.rqs[2].has_blocked_load);
    assert!(!bench.sched.rqs[1].has_blocked_load, "nothing there");
    assert!(bench.sched.queues[2].avg.util_avg < 500);
}

#[test]
fn a_cpu_that_balances_for_others_stops_when_work_arrives() {
    let mut bench = Bench::new(&caches(1, 4));
    let all = NohzFlags::STATS | NohzFlags::BALANCE | NohzFlags::NEXT;
    bench.sched.rqs[1].nohz_idle_balance = all;
    bench.sched.rqs[1].ttwu_pending = true;
    bench.sched.rqs[1].need_resched = true;
    bench.sched.nohz.needs_update = false;
    bench.sched.observer.0.clear();
    let before = bench.sched.nohz.next_blocked;
    assert!(bench.sched.nohz_idle_balance(CpuId(1), IdleType::Idle), "its own levels are not visited either");
    assert!(bench.sched.observer.0.contains(&BalanceEvent::NohzAborted { cpu: CpuId(1) }));
    assert!(bench.sched.nohz.has_blocked && bench.sched.nohz.needs_update, "somebody else has to do it");
    assert_eq!(bench.sched.nohz.next_blocked, before);
    // A request that arrives on a CPU that is busy by now is dropped.
    bench.sched.rqs[1].nohz_idle_balance = all;
    assert!(!bench.sched.nohz_idle_balance(CpuId(1), IdleType::NotIdle));
    assert!(bench.sched.rqs[1].nohz_idle_balance.is_empty());
}

#[test]
fn a_kick_that_finds_its_cpu_busy_is_forgotten() {
    let mut bench = Bench::new(&caches(1, 4));
    bench.hog(1, "0-3");
    bench.sched.rqs[1].nohz_flags = NohzFlags::BALANCE | NohzFlags::STATS | NohzFlags::NEWILB;
    bench.sched.nohz_csd_func(CpuId(1));
    assert!(bench.sched.rqs[1].nohz_flags.is_empty() && bench.sched.rqs[1].nohz_idle_balance.is_empty());
    assert!(!bench.sched.rqs[1].idle_balance && bench.sched.poll().is_none());
}

#[test]
fn new_idle_passes_refresh_capacity_only_when_it_is_due() {
    let mut bench = Bench::new(&caches(1, 4));
    let group = bench.domain(0, "MC").groups;
    let sgc = bench.sched.topo.groups[group.index()].sgc;
    let now = bench.sched.jiffies();
    let mut after = |idle, next_update| {
        let stored = &mut bench.sched.topo.capacities[sgc.index()];
        (stored.capacity, stored.next_update) = (5, next_update);
        bench.only_pass(0, "MC", idle);
        bench.sched.topo.capacities[sgc.index()].capacity
    };
    assert_eq!(after(IdleType::NewlyIdle, now + 1), 5);
    assert_eq!(after(IdleType::NewlyIdle, now), 1024);
    assert_eq!(after(IdleType::Idle, now + 1), 1024);
}

#[test]
fn passes_at_the_cache_level_limit_the_search_of_wake_ups_but_new_idle_ones_do_not() {
    let mut bench = Bench::new(&caches(1, 4));
    let shared = bench.sched.topo.cpus[0].sd_llc_shared.unwrap();
    for cpu in 0..4 {
        let avg = &mut bench.sched.queues[cpu].avg;
        avg.util_avg = 500;
    }
    bench.sched.topo.shared[shared.index()].nr_idle_scan = 77;
    bench.only_pass(0, "MC", IdleType::NewlyIdle);
    assert_eq!(bench.sched.topo.shared[shared.index()].nr_idle_scan, 77);
    bench.only_pass(0, "MC", IdleType::Idle);
    assert_eq!(bench.sched.topo.shared[shared.index()].nr_idle_scan, 2, "2000 of 4 CPUs (spec 3 §4.6)");
}

/// Spec 3 §2.9: the oldest kernel goes through the tickless CPUs from the first, leaves itself for the end whether it is
/// tickless or not, and notes what it found due even if it is interrupted.
#[test]
fn the_oldest_kernel_visits_tickless_cpus_from_the_first() {
    let visits = |kernel: &Kernel| {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        bench.advance(100 * MS);
        bench.sched.nohz_balance_exit_idle(CpuId(2));
        bench.sched.observer.0.clear();
        let request = NohzFlags::STATS | NohzFlags::BALANCE;
        match kernel.balance.nohz.delivery {
            KickDelivery::Reschedule => bench.sched.rqs[2].nohz_flags = request,
            _ => bench.sched.rqs[2].nohz_idle_balance = request,
        }
        assert!(bench.sched.nohz_idle_balance(CpuId(2), IdleType::Idle));
        assert!(!bench.sched.nohz_idle_balance(CpuId(2), IdleType::Idle), "once");
        let visited = |event: &BalanceEvent| match event {
            BalanceEvent::NohzVisit { cpu, .. } => Some(cpu.0),
            _ => None,
        };
        bench.sched.observer.0.iter().filter_map(visited).collect::<Vec<u32>>()
    };
    assert_eq!(visits(&V4_19_0), [0, 1, 3, 2]);
    assert_eq!(visits(&V5_15_0), [3, 0, 1]);
}

/// Spec 3 §2.8: the oldest kernel asks the first tickless CPU or nobody, and every kick delays the next.
#[test]
fn the_oldest_kernel_kicks_the_first_tickless_cpu_or_none() {
    let kick = |kernel: &Kernel| {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        bench.advance(100 * MS);
        bench.sched.nohz_balance_exit_idle(CpuId(3));
        // Tickless, but no longer idle.
        bench.sched.rqs[0].ttwu_pending = true;
        let now = bench.sched.jiffies();
        bench.sched.nohz.next_balance = now - 5;
        bench.sched.rqs[3].nr_running = 2;
        bench.sched.nohz_balancer_kick(CpuId(3));
        (bench.sched.poll().is_some(), bench.sched.nohz.next_balance.wrapping_sub(now) as i64)
    };
    assert_eq!(kick(&V4_19_0), (false, -4));
    assert_eq!(kick(&V5_15_0), (true, 1));
}

/// Spec 3 §2.8, §9.7: what a kicked CPU does that is about to run something.
#[test]
fn a_kicked_cpu_that_is_to_reschedule_balances_only_in_newer_kernels() {
    let softirq = |kernel: &Kernel, need_resched| {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        bench.sched.rqs[1].nohz_flags = NohzFlags::STATS | NohzFlags::BALANCE;
        bench.sched.rqs[1].need_resched = need_resched;
        bench.sched.nohz_csd_func(CpuId(1));
        bench.sched.poll().is_some()
    };
    for (kernel, when_rescheduling) in [(&V4_19_0, false), (&V5_15_0, false), (&V6_1_192, true)] {
        assert_eq!([softirq(kernel, false), softirq(kernel, true)], [true, when_rescheduling]);
    }
}

/// Spec 3 §3.2-3: a serialised level that another CPU balances counts as balanced, or is tried again soon.
#[test]
fn a_level_that_another_cpu_balances_counts_as_balanced_in_newer_kernels() {
    let machine = Machine::regular(2, 1, 2, 1, true);
    for (kernel, expected) in [(&V6_12_117, None), (&V6_18_15, Some(1))] {
        let mut bench = Bench::of(kernel, &machine, CostModel::ZERO);
        bench.advance(100 * MS);
        bench.sched.balance_running = true;
        bench.sched.sched_balance_domains(CPU0, CPU0, IdleType::Idle);
        let counters = bench.domain(0, "NUMA").stats.lb[1];
        assert_eq!((counters.count, counters.balanced), (expected.unwrap_or(0), expected.unwrap_or(0)));
        assert!(bench.sched.balance_running, "it is the other CPU's");
    }
}

/// Spec 3 §2.11: the gates of the kernels.
#[test]
fn how_long_a_cpu_must_usually_idle_to_look_for_work() {
    let gate = |kernel: &Kernel, avg_idle| {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        let root = bench.sched.topo.cpus[0].root;
        bench.sched.topo.roots[root.index()].overloaded = true;
        bench.sched.rqs[0].avg_idle = avg_idle;
        bench.domain(0, "MC").max_newidle_lb_cost = 10_000;
        bench.sched.observer.0.clear();
        bench.sched.sched_balance_newidle(CPU0);
        !matches!(bench.gates()[0], NewIdleGate::AvgIdleTooShort { .. })
    };
    for kernel in [&V4_19_0, &V5_15_0] {
        assert_eq!([gate(kernel, 499_999), gate(kernel, 500_000)], [false, true], "{}", kernel.build);
    }
    for kernel in [&V6_1_192, &V6_12_117, &V6_18_15] {
        assert_eq!([gate(kernel, 9_999), gate(kernel, 10_000)], [false, true], "{}", kernel.build);
    }
}
