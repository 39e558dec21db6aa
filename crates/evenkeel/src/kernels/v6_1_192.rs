//! v6.1.192, the last series of the classic completely fair scheduler, as a delta from v6.12.117.
use super::v6_12_117::V6_12_117;
use crate::balance::rules::*;
use crate::bandwidth::rules::{BandwidthRules, RemoteUnthrottle};
use crate::kernel::{
    CfsTunables, DebugLayout, Features, Kernel, PlacementRules, RunQueueRules, TopologyRules, Tunables,
};
use crate::queue_rules::{
    Expiry, NewTaskWeight, Reweight, StarvationGuard, TgLoadUpdate, Unlisting, UtilEst, UtilEstUpdate,
    VirtualTime, WakeupPreemption, Yielding,
};
use crate::topology::rules::{
    AsymPackingLevels, ClusterLevel, DebugFiles, FlagSet, GroupFlags, HighestFlagDomain, HybridLevels,
    SiblingPriority, X86Capacity,
};

/// Features of the deadline-based scheduler, which do not exist yet (spec 2 §1.3).
const EEVDF: Features = Features::PLACE_LAG
    .union(Features::PLACE_DEADLINE_INITIAL)
    .union(Features::PLACE_REL_DEADLINE)
    .union(Features::RUN_TO_PARITY)
    .union(Features::PREEMPT_SHORT)
    .union(Features::PICK_BUDDY)
    .union(Features::DELAY_DEQUEUE)
    .union(Features::DELAY_ZERO);

/// Features of the classic scheduler, all on (spec 2 §1.3).
const CLASSIC: Features = Features::GENTLE_FAIR_SLEEPERS
    .union(Features::START_DEBIT)
    .union(Features::LAST_BUDDY)
    .union(Features::ALT_PERIOD)
    .union(Features::BASE_SLICE)
    .union(Features::UTIL_EST_FASTUP);

/// v6.1.192 as Debian builds it for amd64.
pub const V6_1_192: Kernel = Kernel {
    build: "v6.1.192",
    alias: "v6.1",
    runs: true,
    debug_layout: DebugLayout::Classic,
    topology: TopologyRules {
        // CPUs that share an L2 cache are a level, but wake-ups do not yet know it for one (spec 1 §3.1).
        cluster_level: ClusterLevel::Unflagged,
        // The level of a node's CPUs is still called after the die (spec 1 §3.1).
        package_name: "DIE",
        // Machines with two kinds of cores have no cluster level (spec 1 §3.2).
        hybrid_levels: HybridLevels::NoCluster,
        // Preferred CPUs count between threads and inside caches, not between them (spec 1 §3.2).
        asym_packing_levels: AsymPackingLevels::ThreadsAndCaches,
        // The second thread of a preferred core is worth a quarter of the first times two (spec 1 §8.4).
        sibling_priority: SiblingPriority::DividedBySquare,
        // Efficiency cores of x86 are taken for as big as the others (spec 1 §7).
        x86_capacity: X86Capacity::Equal,
        // The cache flag has its old name (spec 1 §4).
        flag_set: FlagSet::OverlapPkgResources,
        // Groups keep the flags of levels that were removed, so groups of cores do not look threaded on machines with
        // clusters (spec 1 §10).
        group_flags: GroupFlags::AsBuilt,
        // Groups do not know their number of cores (spec 1 §1.2).
        group_cores: false,
        // Asym packing above a level without it is not seen (spec 1 §11).
        highest_flag_domain: HighestFlagDomain::StopsAtGap,
        // Wake-ups do not look for CPUs that share a cluster (spec 1 §11).
        share_id: false,
        // The largest capacity is a number of the root domain (spec 1 §1.2).
        root_max_cpu_capacity: true,
        // Files show neither the level's number nor the flags of groups (spec 1 §14.2).
        debug_files: DebugFiles::Flags,
        ..V6_12_117.topology
    },
    queues: RunQueueRules {
        // Real-time tasks are stopped for 50 ms of every second, also if nobody else wants the CPU (spec 2 §15.2).
        starvation_guard: StarvationGuard::Throttling,
        // Whoever is furthest behind runs next, for a slice that depends on how many wait (spec 2 §7).
        virtual_time: VirtualTime::Minimum,
        wakeup_preemption: WakeupPreemption::Granularity,
        expiry: Expiry::Tick,
        yielding: Yielding::SkipOnce,
        reweight: Reweight::KeepsVruntime,
        forgets_long_sleepers: true,
        // New tasks always start at half of what their CPU can spare (spec 2 §11).
        new_task_weight: NewTaskWeight::Full,
        // Groups tell their load at every change, and empty ones their lack of it (spec 2 §9.7, §14.2).
        tg_load_update: TgLoadUpdate::AtOnce,
        unlisting: Unlisting::WithoutChildren,
        empty_group_keeps_weight: false,
        // Weights of groups are set again and again, so their averages move a little more often (spec 2 §14.2).
        reweights_unchanged: true,
        // Estimates remember the last run beside the average (spec 2 §10.2).
        util_est: UtilEst::LastAndFastAverage,
        util_est_update: UtilEstUpdate::AfterDequeue,
        // The wake-up search ages its own average of idle times (spec 2 §16.4).
        wake_avg_idle: true,
        // A CPU that is kicked while idle looks for work once more (spec 2 §5.3).
        idle_looks_again: true,
        // The CPU whose timer refills a group's limit puts the queues of all CPUs back itself (spec 2 §14.3).
        bandwidth: BandwidthRules { remote: RemoteUnthrottle::Direct, ..V6_12_117.queues.bandwidth },
        ..V6_12_117.queues
    },
    balance: BalanceRules {
        newidle: NewIdleRules {
            // The walk goes on although it is another CPU's turn, until something comes (spec 3 §2.11).
            stops: NewIdleStop::RunningOrWakeup,
            ..V6_12_117.balance.newidle
        },
        nohz: NohzRules {
            // A misfit task is a reason to kick only if a bigger CPU exists (spec 3 §2.7-9).
            kick_order: KickOrder::MisfitIfBigger,
            // Preferred CPUs count although their sibling is busy (spec 3 §2.7-8).
            kick_asym: KickAsym::Preferred,
            // Kicks that are on their way are noticed by their flags only (spec 3 §2.8-3).
            skips_repeated_kick: false,
            ..V6_12_117.balance.nohz
        },
        pass: PassRules {
            // The first idle CPU balances for its group, be its core idle or not (spec 3 §3.3).
            turn: TurnOrder::IdleCpu,
            // Misfit tasks that cannot be moved count as failures, and their level waits longer (spec 3 §3.2-9, -14).
            spares_misfit: false,
            ..V6_12_117.balance.pass
        },
        groups: GroupRules {
            // Tasks that fill the largest CPU count as too big for it (spec 3 §1.3).
            misfit_on_largest: true,
            // Preferred CPUs take over by how many threads of a core are busy (spec 3 §11).
            asym_packing: GroupAsymPacking::BusyThreads,
            // Two tasks on a core are two tasks, not a core in need (spec 3 §11).
            smt_balance: false,
            // Whether to spread tasks is asked of the level below, so not on machines where that was removed (spec 3 §4.1).
            prefer_sibling: PreferSibling::Child,
            // Heat uses up capacity like other work (spec 3 §4.2).
            pressure: Pressure::IsUsed,
            ..V6_12_117.balance.groups
        },
        choice: ChoiceRules {
            // Of two groups of one class the one with less idle CPUs gives, cores or not (spec 3 §5.1-5).
            same_class: SameClass::LoadThenIdle,
            // Tasks are shared evenly between groups, however many cores they have, and by busy CPUs, too (spec 3 §5.2).
            sibling_imbalance: SiblingImbalance::Tasks,
            // A single task stays on a preferred CPU although its core is full (spec 3 §6-4).
            preferred_source: PreferredSource::Left,
            // Queues on which much waits count as if it did not (spec 3 §6-5).
            boosts_utilisation: false,
            ..V6_12_117.balance.choice
        },
        tasks: TaskRules {
            // The task that was preempted last is a buddy, and so hot (spec 3 §7.4).
            hot_buddies: HotBuddies::NextAndLast,
            // Preferred CPUs pull running tasks whatever their siblings do (spec 3 §8.1-1).
            active: ActiveRule::Preferred,
            ..V6_12_117.balance.tasks
        },
        ..V6_12_117.balance
    },
    tunables: Tunables {
        // Slices come from a target latency, not from a base slice (spec 2 §2.5).
        base_slice_normalized_ns: 0,
        cfs: Some(CfsTunables {
            latency_normalized_ns: 6_000_000,
            min_granularity_normalized_ns: 750_000,
            wakeup_granularity_normalized_ns: 1_000_000,
            idle_min_granularity_ns: Some(750_000),
            child_runs_first: false,
        }),
        ..V6_12_117.tunables
    },
    // Sleepers get credit instead of keeping their lag; nothing is dequeued late (spec 2 §1.3).
    features: V6_12_117.features.difference(EEVDF).union(CLASSIC),
    // The older limit of the wake-up search still exists, switched off (spec 2 §1.3).
    features_known: V6_12_117.features_known.difference(EEVDF).union(CLASSIC).union(Features::SIS_PROP),
    // Idle types in the order idle, busy, newly idle (spec 1 §15).
    schedstat_version: 15,
    placement: PlacementRules {
        // No task sleeps on a queue, so there is none to ignore (spec 4 §6).
        sync_ignores_delayed: false,
        // Clusters are not looked at in wake-ups (spec 4 §18).
        searches_clusters: false,
        ..V6_12_117.placement
    },
    ..V6_12_117
};
