//! v6.12.117, the base: every other build is described by its difference from this one.
use crate::balance::rules::*;
use crate::bandwidth::rules::{
    BandwidthRules, Leftovers, PauseClock, RemoteUnthrottle, ThrottlePoint, Throttling,
};
use crate::kernel::{
    DebugLayout, Features, GuardTunables, Kernel, NumaBalancingTunables, PlacementRules, RunQueueRules,
    TopologyRules, TunableScaling, Tunables,
};
use crate::queue_rules::{
    AvgIdle, BuddyPick, DelayedEstimate, DelayedLag, Detachment, Expiry, HrtickExpiry, LagLimit,
    LoadTracking, MeanReference, NewTaskWeight, Removal, Resched, Reweight, SliceProtection, StarvationGuard,
    TgLoadUpdate, Unlisting, UtilEst, UtilEstUpdate, VirtualTime, WakeupPreemption, WeightDivision,
    WeightFloor, Yielding,
};
use crate::select::rules::{
    AffinityTarget, IdlePolicyCpus, IdleSearch, NodeSpread, RemoteWakeup, SlowPath, UnequalSearch,
};
use crate::topology::rules::{
    AsymCapacity, AsymPackingLevels, ClusterLevel, Coregroup, DebugFiles, Degeneration, FlagSet, GroupFlags,
    HighestFlagDomain, HybridLevels, LevelWeight, LlcId, LlcSharing, NumaDistances, OverlapGroups,
    OverlapMinCapacity, PackageLevel, ReclaimDistance, RelaxDomainLevel, SiblingPriority, SmtCapacity,
    SmtLevel, X86Capacity,
};

/// Features that are on (spec 2 §1.3, spec 3 §14).
const ON: Features = Features::PLACE_LAG
    .union(Features::PLACE_DEADLINE_INITIAL)
    .union(Features::PLACE_REL_DEADLINE)
    .union(Features::RUN_TO_PARITY)
    .union(Features::PREEMPT_SHORT)
    .union(Features::PICK_BUDDY)
    .union(Features::CACHE_HOT_BUDDY)
    .union(Features::DELAY_DEQUEUE)
    .union(Features::DELAY_ZERO)
    .union(Features::WAKEUP_PREEMPTION)
    .union(Features::NONTASK_CAPACITY)
    .union(Features::TTWU_QUEUE)
    .union(Features::SIS_UTIL)
    .union(Features::ATTACH_AGE_LOAD)
    .union(Features::WA_IDLE)
    .union(Features::WA_WEIGHT)
    .union(Features::WA_BIAS)
    .union(Features::UTIL_EST)
    .union(Features::NI_RANDOM);

/// Features that exist but are off.
const OFF: Features = Features::NEXT_BUDDY
    .union(Features::HRTICK)
    .union(Features::HRTICK_DL)
    .union(Features::DOUBLE_TICK)
    .union(Features::WARN_DOUBLE_CLOCK)
    .union(Features::RT_PUSH_IPI)
    .union(Features::RT_RUNTIME_SHARE)
    .union(Features::LB_MIN)
    .union(Features::LATENCY_WARN);

/// How load is balanced (spec 3 §§1-8).
const BALANCE: BalanceRules = BalanceRules {
    preemption: true,
    comparison: Comparison::Typed,
    fair_tasks: FairTasks::Queued,
    periodic: PeriodicRules {
        needs_active_cpu: true,
        busy_minus_one: true,
        cost_decay: CostDecay::SinceLastChange,
        serialized: Serialized::BeforePass,
        pulls_nohz_forward: false,
    },
    newidle: NewIdleRules {
        looks_for_wakeups: true,
        gate: IdleTimeGate::LowestLevelCost,
        gate_needs_domain: true,
        notes_due: NotesDue::BeforePass,
        charges_blocked_update: true,
        statistics: NewIdleStatistics::Success,
        stops: NewIdleStop::NotOurTurn,
        closed_gate: ClosedGate::GoesIdle,
        other_class: OtherClass::Queued,
    },
    nohz: NohzRules {
        needs_update: true,
        kick_order: KickOrder::AnyMisfit,
        kick_asym: KickAsym::PreferredCore,
        busy_cpus: BusyCpus::Llc,
        kick_moves_due: KickMovesDue::NextJiffy,
        target: KickTarget::FirstIdle,
        skips_repeated_kick: true,
        delivery: KickDelivery::Call,
        walk: IlbWalk::FromNext,
        abort: IlbAbort::ReschedulingAndBusy,
        always_refreshes: false,
    },
    pass: PassRules {
        turn: TurnOrder::IdleCore,
        newidle_needs_empty: true,
        stand_ins: StandIns::BalanceMask,
        single_task_is_pinned: true,
        spares_misfit: true,
        spares_newidle: true,
        clears_flag_of_pinned: false,
        active_start: ActiveStart::ResetsInterval,
    },
    groups: GroupRules {
        numa_counters: NumaCounters::Everywhere,
        reduced_is_misfit: true,
        misfit_on_largest: false,
        asym_packing: GroupAsymPacking::IdleCore,
        smt_balance: true,
        prefer_sibling: PreferSibling::BusiestGroup,
        overloaded_needs_overutilized: false,
        scan_hint: ScanHint::CacheSize,
        pressure: Pressure::LowersMaximum,
    },
    choice: ChoiceRules {
        misfit: MisfitCandidates::SmallerCpusForIdleCore,
        bigger_cpus: BiggerCpus::First,
        same_class: SameClass::KnowsCores,
        energy_first: false,
        sibling_imbalance: SiblingImbalance::PerCore,
        misfit_amount: MisfitAmount::OneTaskOrLoad,
        numa_tolerance: NumaTolerance::ImbNumaNr,
        stops_at_average: true,
        preferred_source: PreferredSource::LeftToIdleCore,
        boosts_utilisation: true,
    },
    tasks: TaskRules {
        throttled: Throttled::Either,
        knows_percpu_kthreads: true,
        filters_ineligible: false,
        stopper_takes_hot: true,
        equal_distance: EqualDistance::Improves,
        threads_share_caches: true,
        hot_buddies: HotBuddies::Next,
        counts_hot: CountsHot::WhenMoved,
        size: TaskSize::BothShrink,
        leaves_single_task: true,
        active: ActiveRule::PreferredCore,
    },
    cache_aware: CacheAware::Absent,
};

/// v6.12.117 as Debian builds it for amd64 (spec 2 §0.3, spec 3 §12.4).
pub const V6_12_117: Kernel = Kernel {
    build: "v6.12.117",
    alias: "v6.12",
    runs: true,
    hz: 250,
    topology: TopologyRules {
        cluster_level: ClusterLevel::Flagged,
        smt_level: SmtLevel::Always,
        package_level: PackageLevel::DroppedIfPackageSpansNodes,
        package_name: "PKG",
        hybrid_levels: HybridLevels::Same,
        asym_packing_levels: AsymPackingLevels::CachesAndPackage,
        sibling_priority: SiblingPriority::Same,
        coregroup: Coregroup::CacheOrCluster,
        x86_capacity: X86Capacity::UnequalWithoutSmt,
        numa_distances: NumaDistances::NodesWithCpus,
        averages_package_distances: false,
        reclaim_distance: ReclaimDistance::ByMachine,
        level_weight: LevelWeight::RawMask,
        flag_set: FlagSet::Overlap,
        busy_factor: 16,
        imbalance_pct_smt: 110,
        imbalance_pct_llc: 117,
        imbalance_pct_other: 117,
        asym_capacity: AsymCapacity::Classified,
        relax_domain_level: RelaxDomainLevel::ClearFrom,
        overlap_groups: OverlapGroups::Fit,
        group_flags: GroupFlags::EntryRepaired,
        group_cores: true,
        degeneration: Degeneration::AllFlags,
        imb_numa_nr: true,
        smt_capacity: SmtCapacity::Full,
        overlap_min_capacity: OverlapMinCapacity::SmallestCpu,
        highest_flag_domain: HighestFlagDomain::PassesGaps,
        llc_shared: LlcSharing::EveryCacheLevel,
        llc_id: LlcId::FirstCpu,
        share_id: true,
        root_max_cpu_capacity: false,
        debug_files: DebugFiles::FlagsAndGroups,
    },
    balance: BALANCE,
    placement: PlacementRules {
        prefers_idle_prev: true,
        sync_ignores_delayed: true,
        counts_prev_as_affine: false,
        idle_search: IdleSearch::OnePass,
        searches_clusters: true,
        idle_policy_cpus: IdlePolicyCpus::Idle,
        unequal: UnequalSearch::FirstFit,
        slow_path: SlowPath::ClassesOfAllowedCpus,
        node_spread: NodeSpread::Tolerance,
        remote_wakeup: RemoteWakeup::OtherCacheOrIdle,
        drains_newest_first: false,
        affinity_target: AffinityTarget::Rotor,
    },
    queues: RunQueueRules {
        virtual_time: VirtualTime::Mean,
        division: WeightDivision::Inverse,
        weight_floor: WeightFloor::Two,
        mean_reference: MeanReference::WhenComputed,
        lag_limit: LagLimit::TwoSlices,
        slice_protection: SliceProtection::UntilRenewal,
        buddy_pick: BuddyPick::First,
        wakeup_preemption: WakeupPreemption::Trial,
        expiry: Expiry::RenewedOrIneligible,
        skips_clock_updates: false,
        resched: Resched::AtOnce,
        hrtick_expiry: HrtickExpiry::Slice,
        yielding: Yielding::RestOfSlice,
        reweight: Reweight::AboutMean,
        delayed_lag: DelayedLag::WhenItEnds,
        places_any_relative_deadline: false,
        forgets_long_sleepers: false,
        load_tracking: LoadTracking::SlowedTime,
        removal: Removal::SubtractWithFloor,
        detachment: Detachment::AtDequeue,
        cuts_propagated_runnable: false,
        attaches_at_least_one: true,
        decays_on_idle_migration: true,
        new_task_weight: NewTaskWeight::Table,
        tg_load_update: TgLoadUpdate::EachMs,
        unlisting: Unlisting::WithoutChildrenOrContribution,
        blocked_walk_tells_groups: true,
        reweights_unchanged: false,
        idle_groups: true,
        empty_group_keeps_weight: true,
        util_est: UtilEst::OneAverage,
        delayed_estimate: DelayedEstimate::AloneWhenMoved,
        util_est_update: UtilEstUpdate::BeforeDequeue,
        starvation_guard: StarvationGuard::FairServer,
        irq_time_accounting: false,
        avg_idle: AvgIdle::AtWakeup,
        avg_idle_floors: false,
        wake_avg_idle: false,
        idle_looks_again: false,
        knows_idle_policy_cpus: true,
        bandwidth: BandwidthRules {
            throttling: Throttling::WholeQueue,
            point: ThrottlePoint::Switch,
            leftovers: Leftovers::Kept,
            counts_bursts: true,
            remote: RemoteUnthrottle::Interrupt,
            pause_clock: PauseClock::Pelt,
        },
    },
    tunables: Tunables {
        base_slice_normalized_ns: 700_000,
        scaling: TunableScaling::Log,
        migration_cost_ns: 500_000,
        nr_migrate: 32,
        nr_migrate_break: 32,
        cfs_bandwidth_slice_ns: 5_000_000,
        cfs: None,
        guard: GuardTunables {
            rt_period_ns: 1_000_000_000,
            rt_runtime_ns: 950_000_000,
            fair_server_period_ns: 1_000_000_000,
            fair_server_runtime_ns: 50_000_000,
        },
        numa_balancing: NumaBalancingTunables {
            scan_delay_ms: 1000,
            scan_period_min_ms: 1000,
            scan_period_max_ms: 60_000,
            scan_size_mb: 256,
            hot_threshold_ms: Some(1000),
        },
        llc_balancing: None,
    },
    features: ON,
    features_known: ON.union(OFF),
    schedstat_version: 16,
    debug_layout: DebugLayout::Running,
};
