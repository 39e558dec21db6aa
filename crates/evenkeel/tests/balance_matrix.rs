//! Tables of the specification, cell by cell: the decision by classes (spec 3 §5.3), what each kernel has (spec 3 §15),
//! its features (spec 3 §14), and intervals (spec 3 §2.4).
#![allow(missing_docs)]
mod case;

use case::{Case, IDLE, caches};
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::classify::GroupType;
use evenkeel::balance::env::IdleType::{Idle, NotIdle};
use evenkeel::balance::imbalance::ImbalanceRule;
use evenkeel::balance::rules::*;
use evenkeel::balance::stats::{Search, SgStats};
use evenkeel::balance::trigger::balance_interval;
use evenkeel::kernel::{Features, Kernel};
use evenkeel::kernels::{ALL, V4_19_0, V5_15_0, V6_1_192, V6_12_117, V6_18_15, V7_2_13};
use evenkeel::topology::SdFlags;

use GroupType::{AsymPacking, FullyBusy, HasSpare, Imbalanced, MisfitTask, Overloaded, SmtBalance};

/// The kernels that compare groups by class.
const TYPED: [&Kernel; 5] = [&V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];

/// The rule that decides between groups of these classes. The local group has `local_idle` of 4 CPUs idle, the busiest none
/// and `tasks` tasks; `spreads`: siblings are preferred; `smt`: the busiest group is a core of several threads.
#[derive(Clone, Copy)]
struct Meeting {
    busiest: GroupType,
    local: GroupType,
    idle: bool,
    local_idle: u32,
    tasks: u32,
    spreads: bool,
    smt: bool,
    energy_aware: EnergyAware,
}

const MEETING: Meeting = Meeting {
    busiest: HasSpare,
    local: HasSpare,
    idle: true,
    local_idle: 0,
    tasks: 8,
    spreads: false,
    smt: false,
    energy_aware: EnergyAware::Off,
};

fn rule(kernel: &'static Kernel, meeting: Meeting) -> GroupRule {
    let Meeting { busiest, local, idle, local_idle, tasks, spreads, smt, energy_aware } = meeting;
    let mut case =
        Case::of(kernel, &caches(2, 4), "PKG", &[IDLE; 8]).dst(0, if idle { Idle } else { NotIdle });
    let first = case.domain().groups;
    let second = case.topo.groups[first.index()].next;
    if smt {
        case.topo.groups[second.index()].flags |= SdFlags::SHARE_CPUCAPACITY;
    }
    case.decide(|search| {
        let search = Search { energy_aware, ..*search };
        let mut sds = search.new_stats();
        let stats = |group_type, tasks, idle_cpus, load| SgStats {
            group_type,
            group_load: load,
            avg_load: if group_type == Overloaded { load / 4 } else { 0 },
            group_capacity: 4096,
            group_weight: 4,
            sum_nr_running: tasks,
            sum_h_nr_running: tasks,
            idle_cpus,
            ..SgStats::default()
        };
        (sds.local, sds.local_stat) = (Some(first), stats(local, 4 - local_idle, local_idle, 2048));
        (sds.busiest, sds.busiest_stat) = (Some(second), stats(busiest, tasks, 0, 8192));
        (sds.total_load, sds.total_capacity, sds.prefer_sibling) = (10_240, 8192, spreads);
        search.find_src_group(&mut sds).rule
    })
}

/// Spec 3 §5.3: every row and column.
#[test]
fn the_matrix_of_classes() {
    use GroupRule::{BeyondTolerance, Default, LocalBusierType, Misfit, NoMoreIdleCpus};
    let columns = [HasSpare, FullyBusy, Imbalanced, Overloaded];
    // The local group has no idle CPU to offer: rules 8 and 9 end with 9c, unless they do not apply.
    let rows = [
        (HasSpare, [NoMoreIdleCpus, LocalBusierType, LocalBusierType, LocalBusierType]),
        (FullyBusy, [NoMoreIdleCpus, NoMoreIdleCpus, LocalBusierType, LocalBusierType]),
        (MisfitTask, [Misfit; 4]),
        (SmtBalance, [NoMoreIdleCpus, NoMoreIdleCpus, LocalBusierType, LocalBusierType]),
        (AsymPacking, [GroupRule::AsymPacking; 4]),
        (Imbalanced, [GroupRule::Imbalanced; 4]),
        (Overloaded, [Default, Default, Default, BeyondTolerance]),
    ];
    for kernel in TYPED {
        for (busiest, expected) in rows {
            let found = columns.map(|local| rule(kernel, Meeting { busiest, local, ..MEETING }));
            assert_eq!(found, expected, "{busiest:?} in {}", kernel.build);
        }
    }
}

/// Spec 3 §5.3: rules 8 and 9 in their order, for every cell they decide.
#[test]
fn the_rules_behind_the_matrix() {
    for kernel in TYPED {
        let ask = |meeting| rule(kernel, meeting);
        for (busiest, local) in [(HasSpare, HasSpare), (FullyBusy, HasSpare), (FullyBusy, FullyBusy)] {
            let cell = Meeting { busiest, local, ..MEETING };
            let build = kernel.build;
            assert_eq!(ask(Meeting { idle: false, ..cell }), GroupRule::DestinationBusy, "9a in {build}");
            assert_eq!(ask(Meeting { local_idle: 1, ..cell }), GroupRule::NoMoreIdleCpus, "9c in {build}");
            assert_eq!(ask(Meeting { local_idle: 2, ..cell }), GroupRule::Default, "10 in {build}");
            let single = Meeting { local_idle: 2, tasks: 1, ..cell };
            assert_eq!(ask(single), GroupRule::SingleTask, "9d in {build}");
            let spreads = ask(Meeting { spreads: true, ..cell });
            let expected =
                if local == HasSpare { GroupRule::PreferSibling } else { GroupRule::NoMoreIdleCpus };
            assert_eq!(spreads, expected, "8 in {build}");
            // A busy CPU takes for its group only where tasks are counted whatever it does (spec 3 §5.2).
            let busy = ask(Meeting { spreads: true, idle: false, ..cell });
            let counts = kernel.balance.choice.sibling_imbalance == SiblingImbalance::Tasks;
            let expected = if counts && local == HasSpare {
                GroupRule::PreferSibling
            } else {
                GroupRule::DestinationBusy
            };
            assert_eq!(busy, expected, "8 for a busy CPU in {build}");
        }
        for local in [HasSpare, FullyBusy] {
            let smt = Meeting { busiest: SmtBalance, local, smt: true, ..MEETING };
            assert_eq!(ask(smt), GroupRule::SmtBalance, "9b in {}", kernel.build);
            assert_eq!(ask(Meeting { idle: false, ..smt }), GroupRule::DestinationBusy);
        }
        // Overloaded groups give also to busy CPUs.
        assert_eq!(ask(Meeting { busiest: Overloaded, idle: false, ..MEETING }), GroupRule::Default);
    }
}

/// Spec 3 §5.3-3: energy-aware placement comes after misfit tasks, in v5.15 before everything; an overutilized CPU ends it.
#[test]
fn energy_aware_placement_decides_first_or_after_misfits() {
    for kernel in TYPED {
        let ask = |busiest, energy_aware| rule(kernel, Meeting { busiest, energy_aware, ..MEETING });
        let first = kernel.build == V5_15_0.build;
        let misfit = if first { GroupRule::EnergyAware } else { GroupRule::Misfit };
        assert_eq!(ask(MisfitTask, EnergyAware::InCharge), misfit, "{}", kernel.build);
        assert_eq!(ask(AsymPacking, EnergyAware::InCharge), GroupRule::EnergyAware);
        assert_eq!(ask(AsymPacking, EnergyAware::Overutilized), GroupRule::AsymPacking);
    }
}

/// Spec 3 §4.4 [Δ v7.2]: with energy-aware placement a group is overloaded only if one of its CPUs is overutilized.
#[test]
fn many_small_tasks_do_not_overload_a_group_that_energy_aware_placement_has_filled() {
    for kernel in TYPED {
        let rows = [IDLE, IDLE, (3, 3072, 1024, 3000), (3, 3072, 1024, 3000)];
        let class = |energy_aware, overutilized| {
            let mut case = Case::of(kernel, &caches(2, 2), "PKG", &rows);
            case.rows[2].overutilized = overutilized;
            case.decide(|search| {
                let search = Search { energy_aware, ..*search };
                search.update_sd_lb_stats().busiest_stat.group_type
            })
        };
        assert_eq!(class(EnergyAware::Off, false), Overloaded);
        assert_eq!(class(EnergyAware::InCharge, true), Overloaded);
        let newest = kernel.build == V7_2_13.build;
        let calm = if newest { FullyBusy } else { Overloaded };
        assert_eq!(class(EnergyAware::InCharge, false), calm, "{}", kernel.build);
    }
}

/// Spec 3 §5.4: each rule for an amount, by the numbers that lead to it.
#[test]
fn each_rule_for_an_amount() {
    let two = (2, 2048, 1024, 2048);
    let full = (1, 1024, 1024, 1024);
    let rule = |case: Case| {
        let imbalance = case.src_group().1.imbalance.expect("something forces a move");
        (imbalance.rule, imbalance.amount)
    };
    let of = |rows: &[(u32, u64, u64, u64)]| Case::new(&caches(2, rows.len() as u32 / 2), "PKG", rows);
    assert_eq!(rule(of(&[IDLE, IDLE, two, two])), (ImbalanceRule::SpareUtilisation, 2048));
    // Nothing is spare: the local group has one task, whose utilisation is not yet told apart from that of one that left.
    let used = (1, 300, 1024, 300);
    let none = of(&[IDLE, used, two, two]).capacity(0, 1, 1024).capacity(1, 1023, 1024);
    assert_eq!(rule(none), (ImbalanceRule::NoSpareUtilisation, 1));
    assert_eq!(rule(of(&[IDLE, IDLE, full, full])), (ImbalanceRule::Siblings, 1));
    let apart = of(&[IDLE, IDLE, full, full]).group_flags(SdFlags::SHARE_LLC);
    assert_eq!(rule(apart), (ImbalanceRule::IdleCpus, 1));
    assert_eq!(rule(of(&[full, full, two, two]).dst(0, NotIdle)), (ImbalanceRule::EvenOut, 1024));
    // G1: the local group is not overloaded, yet heavier; G2: it is heavier than the domain, where a third is light.
    let heavy = (1, 9000, 1024, 1000);
    assert_eq!(rule(of(&[heavy, heavy, two, two]).dst(0, NotIdle)), (ImbalanceRule::LocalMoreLoaded, 0));
    let middle = (1, 1800, 1024, 1000);
    let rows = [middle, middle, two, two, IDLE, IDLE];
    let case = |kernel| Case::of(kernel, &caches(3, 2), "PKG", &rows).dst(0, NotIdle);
    assert_eq!(rule(case(&V6_12_117)), (ImbalanceRule::LocalAboveAverage, 0));
    // Where that is not asked, what the local group lacks wraps and the other's surplus counts (spec 3 §5.4, 5.15.0).
    let average = (2 * 1800 + 4096) * 1024 / 6144;
    assert_eq!(rule(case(&V5_15_0)), (ImbalanceRule::EvenOut, (2048 - average) * 2048 / 1024));
}

/// Spec 3 §5.1-5: of fully busy groups the last one gives in newer kernels, unless the first is a core of several threads; in
/// older ones the first.
#[test]
fn of_fully_busy_groups_the_last_or_the_first_gives() {
    let full = (1, 1024, 1000, 1024);
    for kernel in TYPED {
        let case = |flags| {
            Case::of(kernel, &caches(1, 4), "MC", &[IDLE, full, full, full]).group_flags(flags).src_group().0
        };
        let newer = kernel.balance.choice.same_class == SameClass::KnowsCores;
        let number = |flags| {
            let case = case(flags);
            assert_eq!(case.busiest_stat.group_type, FullyBusy);
            case.busiest
        };
        let groups = Case::of(kernel, &caches(1, 4), "MC", &[IDLE; 4]);
        let ring: Vec<_> = {
            let sd = groups.sd();
            groups.topo.ring(groups.topo.domains[sd.index()].groups).collect()
        };
        let last = if newer { ring[3] } else { ring[1] };
        assert_eq!(number(SdFlags::empty()), Some(last), "{}", kernel.build);
        assert_eq!(number(SdFlags::SHARE_CPUCAPACITY), Some(ring[1]), "{}", kernel.build);
    }
}

/// One row of the feature matrix: what it says, how a kernel value shows it, and the columns v4.19 to v7.2.
type Row = (&'static str, fn(&Kernel) -> bool, [bool; 6]);

/// Spec 3 §15, without the column of 6.12.0, which is no kernel here.
#[rustfmt::skip]
const MATRIX: &[Row] = &[
    ("compares by class", |k| k.balance.comparison == Comparison::Typed, [false, true, true, true, true, true]),
    ("smt_balance is a class", |k| k.balance.groups.smt_balance, [false, false, false, true, true, true]),
    ("load has a history", |k| k.features_known.contains(Features::LB_BIAS), [true, false, false, false, false, false]),
    ("busy interval -1", |k| k.balance.periodic.busy_minus_one, [false, true, true, true, true, true]),
    ("sched_idle counts as not busy", |k| k.queues.knows_idle_policy_cpus, [false, true, true, true, true, true]),
    ("nr_running<=1 exit clears ALL_PINNED", |k| k.balance.tasks.leaves_single_task, [false, true, true, true, true, true]),
    ("ALL_PINNED for 1-task queues", |k| k.balance.pass.single_task_is_pinned, [false, true, true, true, true, true]),
    ("parent flag kept if ALL_PINNED", |k| !k.balance.pass.clears_flag_of_pinned, [false, true, true, true, true, true]),
    ("NEWLY_IDLE exempt from growth", |k| k.balance.pass.spares_newidle, [false, true, true, true, true, true]),
    ("misfit exempt", |k| k.balance.pass.spares_misfit, [false, false, false, true, true, true]),
    ("failures forced at active balance", |k| k.balance.pass.active_start == ActiveStart::LengthensInterval, [true, false, false, false, false, false]),
    ("NEWLY_IDLE emptiness test", |k| k.balance.pass.newidle_needs_empty, [false, false, true, true, true, true]),
    ("idle core first", |k| k.balance.pass.turn == TurnOrder::IdleCore, [false, false, false, true, true, true]),
    ("dst_grpmask is the balance mask", |k| k.balance.pass.stand_ins == StandIns::BalanceMask, [false, false, true, true, true, true]),
    ("prefer_sibling of the busiest group", |k| k.balance.groups.prefer_sibling == PreferSibling::BusiestGroup, [false, false, false, true, true, true]),
    ("core-weighted sibling imbalance", |k| k.balance.choice.sibling_imbalance == SiblingImbalance::PerCore, [false, false, false, true, true, true]),
    ("reduced capacity is a misfit", |k| k.balance.groups.reduced_is_misfit && k.balance.comparison == Comparison::Typed, [false, false, true, true, true, true]),
    ("misfit on the largest CPU (spec 3 §1.3)", |k| k.balance.groups.misfit_on_largest, [true, true, true, false, false, false]),
    ("asym packing by busy threads", |k| k.balance.groups.asym_packing == GroupAsymPacking::BusyThreads, [false, false, true, false, false, false]),
    ("asym packing by idle cores", |k| k.balance.groups.asym_packing == GroupAsymPacking::IdleCore, [false, false, false, true, true, true]),
    ("dst core idle for misfit pull", |k| k.balance.choice.misfit == MisfitCandidates::SmallerCpusForIdleCore, [false, false, true, true, false, true]),
    ("min_capacity rule early", |k| k.balance.choice.bigger_cpus == BiggerCpus::First, [false, false, true, true, false, true]),
    ("imb_numa_nr", |k| k.topology.imb_numa_nr && k.balance.choice.numa_tolerance == NumaTolerance::ImbNumaNr, [false, false, true, true, true, true]),
    ("G2", |k| k.balance.choice.stops_at_average, [false, false, true, true, true, true]),
    ("half of the load", |k| k.balance.tasks.size == TaskSize::HalfLoad, [true, false, false, false, false, false]),
    ("load shrinks with failures", |k| k.balance.tasks.size == TaskSize::LoadShrinks, [false, true, false, false, false, false]),
    ("load and util shrink", |k| k.balance.tasks.size == TaskSize::BothShrink, [false, false, true, true, true, true]),
    ("util boosted by runnable", |k| k.balance.choice.boosts_utilisation, [false, false, false, true, true, true]),
    ("EAS gate first", |k| k.balance.choice.energy_first && k.balance.comparison == Comparison::Typed, [false, true, false, false, false, false]),
    ("counts runnable", |k| k.balance.fair_tasks == FairTasks::Runnable, [false, false, false, false, true, true]),
    ("delayed and ineligible filter", |k| k.balance.tasks.filters_ineligible, [false, false, false, false, true, true]),
    ("throttle test on dst only", |k| k.balance.tasks.throttled == Throttled::Destination, [false, false, false, false, true, true]),
    ("hot stats at detach", |k| k.balance.tasks.counts_hot == CountsHot::WhenMoved, [false, false, true, true, true, true]),
    ("serialise flag in the pass", |k| k.balance.periodic.serialized == Serialized::InPass, [false, false, false, false, true, true]),
    ("needs_update and NEXT", |k| k.balance.nohz.needs_update, [false, false, true, true, true, true]),
    ("kick_ilb early return", |k| k.balance.nohz.skips_repeated_kick, [false, false, false, true, true, true]),
    ("first of the mask only", |k| k.balance.nohz.target == KickTarget::FirstTickless, [true, false, false, false, false, false]),
    ("NEWILB deferred statistics", |k| k.balance.newidle.closed_gate == ClosedGate::GoesIdle, [false, true, true, true, true, true]),
    ("CSD as reschedule interrupt", |k| k.balance.nohz.delivery == KickDelivery::Reschedule, [true, false, false, false, false, false]),
    ("CSD requires !need_resched", |k| k.balance.nohz.delivery == KickDelivery::CallUnlessRescheduling, [false, true, false, false, false, false]),
    ("gate on the base domain's cost", |k| k.balance.newidle.gate == IdleTimeGate::LowestLevelCost, [false, false, true, true, true, true]),
    ("new-idle statistics", |k| k.balance.newidle.statistics != NewIdleStatistics::Cost, [false, false, true, true, true, true]),
    ("NI_RATE", |k| k.balance.newidle.statistics == NewIdleStatistics::SuccessAndRate, [false, false, false, false, false, true]),
    ("cache-aware balancing", |k| k.balance.cache_aware != CacheAware::Absent, [false, false, false, false, false, true]),
    ("schedstat version 15", |k| k.schedstat_version == 15, [true, true, true, false, false, false]),
    ("schedstat version 16", |k| k.schedstat_version == 16, [false, false, false, true, false, false]),
    ("schedstat version 17", |k| k.schedstat_version == 17, [false, false, false, false, true, true]),
];

/// A field of the rules that no row looks at would not be caught by the matrix; a row that contradicts it is.
#[test]
fn every_kernel_has_what_the_matrix_says() {
    let columns = [&V4_19_0, &V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];
    assert_eq!(ALL.map(|kernel| kernel.build), columns.map(|kernel| kernel.build));
    for (what, has, expected) in MATRIX {
        assert_eq!(columns.map(has), *expected, "{what}");
    }
}

/// Spec 3 §14: defaults of the features that balancing reads, `-` where there is no such feature.
#[test]
fn features_are_as_each_kernel_boots() {
    let rows = [
        (Features::LB_MIN, "FFFFFF"),
        (Features::LB_BIAS, "T-----"),
        (Features::CACHE_HOT_BUDDY, "TTTTTT"),
        (Features::LAST_BUDDY, "TTT---"),
        (Features::NEXT_BUDDY, "FFFFFF"),
        (Features::NONTASK_CAPACITY, "TTTTTT"),
        (Features::ATTACH_AGE_LOAD, "TTTTTT"),
        (Features::UTIL_EST, "TTTTTT"),
        (Features::PLACE_LAG, "---TTT"),
        (Features::PLACE_REL_DEADLINE, "---TTT"),
        (Features::DELAY_DEQUEUE, "---TTT"),
        (Features::DELAY_ZERO, "---TTT"),
        (Features::NI_RANDOM, "--TTTT"),
        (Features::NI_RATE, "-----T"),
        (Features::SIS_PROP, "TTF---"),
        (Features::SIS_UTIL, "--TTTT"),
        (Features::SIS_AVG_CPU, "F-----"),
        (Features::WA_IDLE, "TTTTTT"),
        (Features::WA_WEIGHT, "TTTTTT"),
        (Features::WA_BIAS, "TTTTTT"),
        (Features::TTWU_QUEUE, "TTTTTT"),
    ];
    for (feature, expected) in rows {
        let of = |kernel: &&Kernel| match (kernel.features_known.contains(feature), kernel.features) {
            (false, _) => '-',
            (true, on) if on.contains(feature) => 'T',
            (true, _) => 'F',
        };
        let found: String = ALL.iter().map(of).collect();
        assert_eq!(found, expected, "{feature:?}");
    }
}

/// Spec 3 §14: tunables.
#[test]
fn tunables_are_as_each_kernel_boots() {
    for kernel in ALL {
        let tunables = &kernel.tunables;
        let found = (tunables.migration_cost_ns, tunables.nr_migrate, tunables.nr_migrate_break);
        assert_eq!(found, (500_000, 32, 32), "{}", kernel.build);
        let old = kernel.build == V4_19_0.build;
        let topology = &kernel.topology;
        let pct = (topology.imbalance_pct_smt, topology.imbalance_pct_llc, topology.imbalance_pct_other);
        assert_eq!(pct, (110, 117, if old { 125 } else { 117 }), "{}", kernel.build);
        assert_eq!(topology.busy_factor, if old { 32 } else { 16 }, "{}", kernel.build);
        assert!(kernel.balance.preemption, "{}", kernel.build);
    }
}

/// Spec 3 §2.4: the whole table.
#[test]
fn the_table_of_intervals() {
    let rows = [
        (2, [1, 7, 16, 2, 31, 64]),
        (4, [1, 15, 32, 4, 63, 128]),
        (8, [2, 31, 64, 8, 127, 256]),
        (16, [4, 63, 128, 16, 255, 512]),
        (64, [16, 255, 512, 64, 1023, 2048]),
    ];
    let columns: [(&[&Kernel], bool, u32); 6] = [
        (&[&V4_19_0, &V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13], false, 250),
        (&TYPED, true, 250),
        (&[&V4_19_0], true, 250),
        (&[&V4_19_0, &V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13], false, 1000),
        (&TYPED, true, 1000),
        (&[&V4_19_0], true, 1000),
    ];
    for (weight, expected) in rows {
        for ((kernels, busy, hz), expected) in columns.into_iter().zip(expected) {
            for kernel in kernels {
                let factor = busy.then_some(kernel.topology.busy_factor);
                let found = balance_interval(&kernel.balance.periodic, weight, factor, hz, 10_000);
                assert_eq!(found, expected, "weight {weight}, busy {busy}, {hz} Hz, {}", kernel.build);
            }
        }
    }
    assert_eq!(balance_interval(&V6_12_117.balance.periodic, 512, None, 250, 100), 100, "4 online CPUs");
}
