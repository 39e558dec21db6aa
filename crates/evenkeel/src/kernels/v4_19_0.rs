//! v4.19.0 as a delta from v5.15.0: the last kernel here whose balancer compares load averages only.
use super::v5_15_0::V5_15_0;
use crate::balance::rules::*;
use crate::bandwidth::rules::{BandwidthRules, Leftovers};
use crate::kernel::{Features, Kernel, PlacementRules, RunQueueRules, TopologyRules};
use crate::queue_rules::{LoadTracking, Removal, Unlisting, UtilEst, WeightFloor};
use crate::select::rules::{AffinityTarget, IdlePolicyCpus, IdleSearch, SlowPath, UnequalSearch};
use crate::topology::rules::{
    AsymCapacity, DebugFiles, Degeneration, FlagSet, NumaDistances, OverlapGroups, OverlapMinCapacity,
    ReclaimDistance, RelaxDomainLevel, SmtCapacity,
};

/// Features that came later (spec 2 §1.3).
const LATER: Features = Features::ALT_PERIOD
    .union(Features::BASE_SLICE)
    .union(Features::UTIL_EST_FASTUP)
    .union(Features::HRTICK_DL)
    .union(Features::LATENCY_WARN);

/// v4.19.0 with the configuration of the others.
pub const V4_19_0: Kernel = Kernel {
    build: "v4.19.0",
    alias: "v4.19",
    runs: true,
    topology: TopologyRules {
        // Distances that node 0 does not see make no level (spec 1 §3.4).
        numa_distances: NumaDistances::FromNodeZero,
        // Placement never crosses more than a distance of 30, whatever the platform says (spec 1 §3.4).
        reclaim_distance: ReclaimDistance::Constant,
        // Every level says that it balances (spec 1 §4).
        flag_set: FlagSet::LoadBalanceAndOverlap,
        // Busy CPUs balance half as often (spec 1 §5).
        busy_factor: 32,
        // Above the cache, imbalances of up to a quarter are tolerated (spec 1 §5).
        imbalance_pct_other: 125,
        // Big and little CPUs are not told apart (spec 1 §7).
        asym_capacity: AsymCapacity::Unseen,
        // relax_domain_level also switches eagerness on below the level (spec 1 §5).
        relax_domain_level: RelaxDomainLevel::ClearAboveElseSet,
        // Groups of machines with long paths between nodes may hold CPUs outside the domain (spec 1 §8.2).
        overlap_groups: OverlapGroups::MayStickOut,
        // NUMA levels that repeat the one below are kept (spec 1 §10).
        degeneration: Degeneration::ShortList,
        // Two threads of a core count 589 each instead of 1024 (spec 1 §8.4).
        smt_capacity: SmtCapacity::Gain,
        // The smallest capacity between nodes is that of the first CPU (spec 1 §8.4).
        overlap_min_capacity: OverlapMinCapacity::RunningSum,
        // Domains are files of /proc/sys, with flags as a number (spec 1 §14.1).
        debug_files: DebugFiles::Sysctl,
        ..V5_15_0.topology
    },
    queues: RunQueueRules {
        // Load of tasks on small or slow CPUs is scaled, not their time; balancing compares only the load of tasks that
        // want to run (spec 2 §8.7).
        load_tracking: LoadTracking::ScaledContributions,
        removal: Removal::Subtract,
        // Groups of very little weight may weigh nothing (spec 2 §2.2).
        weight_floor: WeightFloor::None,
        // Queues without load are forgotten at once, whatever is below them (spec 2 §12).
        unlisting: Unlisting::WhenDecayed,
        blocked_walk_tells_groups: false,
        // There are no groups of the idle kind (spec 2 §1.1).
        idle_groups: false,
        // Estimates rise as slowly as they fall (spec 2 §10.2).
        util_est: UtilEst::LastAndAverage,
        // Averages of idle time are a nanosecond lower (spec 2 §16.3), and the wake-up search has none of its own.
        avg_idle_floors: true,
        wake_avg_idle: false,
        // Tasks of the idle policy keep a CPU as busy as others (spec 2 §14.4).
        knows_idle_policy_cpus: false,
        // What a limited group does not use in a period is lost (spec 2 §14.3).
        bandwidth: BandwidthRules { leftovers: Leftovers::Expire, ..V5_15_0.queues.bandwidth },
        ..V5_15_0.queues
    },
    balance: BalanceRules {
        // Groups are compared by one average of load with its history (spec 3 §9).
        comparison: Comparison::Classic,
        periodic: PeriodicRules {
            needs_active_cpu: false,
            busy_minus_one: false,
            // An idle CPU that is due soon calls for the next round of tickless ones (spec 3 §2.3).
            pulls_nohz_forward: true,
            ..V5_15_0.balance.periodic
        },
        newidle: NewIdleRules {
            // A CPU looks for work although a wake-up is on its way, and until something runs (spec 3 §2.11).
            looks_for_wakeups: false,
            stops: NewIdleStop::Running,
            // Where it may not look for work it refreshes the load of idle CPUs at once (spec 3 §2.10).
            closed_gate: ClosedGate::RefreshesLoad,
            ..V5_15_0.balance.newidle
        },
        nohz: NohzRules {
            // Two busy CPUs of a cache come first, misfit tasks do not exist (spec 3 §2.7).
            kick_order: KickOrder::CacheEarly,
            // Only the first tickless CPU is ever asked, and every kick delays the next (spec 3 §2.8).
            kick_moves_due: KickMovesDue::OneMore,
            target: KickTarget::FirstTickless,
            // Kicks are requests to reschedule (spec 3 §9.7).
            delivery: KickDelivery::Reschedule,
            walk: IlbWalk::FromFirst,
            ..V5_15_0.balance.nohz
        },
        pass: PassRules {
            single_task_is_pinned: false,
            // Frequent new-idle passes that find nothing make a level wait longer (spec 3 §3.2-14).
            spares_newidle: false,
            clears_flag_of_pinned: true,
            // A level whose running task is pushed waits longer (spec 3 §3.2-9, -10).
            active_start: ActiveStart::LengthensInterval,
            ..V5_15_0.balance.pass
        },
        groups: GroupRules {
            // Heat takes no capacity away (spec 3 §4.2).
            pressure: Pressure::Ignored,
            ..V5_15_0.balance.groups
        },
        tasks: TaskRules {
            knows_percpu_kthreads: false,
            // Hot tasks stay, pushed or not, also between the threads of a core (spec 3 §7.3-6, §7.4-3).
            stopper_takes_hot: false,
            threads_share_caches: false,
            // A task moves if half of its load is to be moved, whatever failed before (spec 3 §7.2-5).
            size: TaskSize::HalfLoad,
            leaves_single_task: false,
            active: ActiveRule::Classic,
            ..V5_15_0.balance.tasks
        },
        ..V5_15_0.balance
    },
    // The load of a CPU is biased by its history (spec 2 §1.3, spec 3 §9.1); slices have no floor.
    features: V5_15_0.features.difference(LATER).union(Features::LB_BIAS).union(Features::RT_RUNTIME_SHARE),
    features_known: V5_15_0
        .features_known
        .difference(LATER)
        .union(Features::LB_BIAS)
        .union(Features::SIS_AVG_CPU),
    placement: PlacementRules {
        // An idle previous CPU does not win by itself (spec 4 §6).
        prefers_idle_prev: false,
        // Three passes instead of one (spec 4 §18).
        idle_search: IdleSearch::ThreePasses,
        // A CPU that runs only idle-policy tasks is busy (spec 4 §2).
        idle_policy_cpus: IdlePolicyCpus::Busy,
        // Unequal CPUs are not known to placement (spec 1 §7).
        unequal: UnequalSearch::None,
        // The slow path compares loads (spec 4 §18.1).
        slow_path: SlowPath::Loads,
        // Wake-ups sent to a CPU are carried out in reverse (spec 4 §4).
        drains_newest_first: true,
        // A task whose affinity changes goes to the lowest CPU (spec 4 §11.2).
        affinity_target: AffinityTarget::Lowest,
        ..V5_15_0.placement
    },
    ..V5_15_0
};
