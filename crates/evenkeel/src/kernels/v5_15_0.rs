//! v5.15.0 as a delta from v6.1.192.
use super::v6_1_192::V6_1_192;
use crate::balance::rules::*;
use crate::bandwidth::rules::{BandwidthRules, PauseClock};
use crate::kernel::{
    CfsTunables, DebugLayout, Features, Kernel, NumaBalancingTunables, PlacementRules, RunQueueRules,
    TopologyRules, Tunables,
};
use crate::queue_rules::{Detachment, Removal};
use crate::select::rules::{IdleSearch, NodeSpread, RemoteWakeup, SlowPath};
use crate::topology::rules::{
    ClusterLevel, Coregroup, GroupFlags, HybridLevels, NumaDistances, RelaxDomainLevel, SiblingPriority,
};

/// v5.15.0 with the configuration of the others.
pub const V5_15_0: Kernel = Kernel {
    build: "v5.15.0",
    alias: "v5.15",
    runs: true,
    // No recording shows its sched/debug.
    debug_layout: DebugLayout::Unknown,
    topology: TopologyRules {
        // CPUs that share an L2 cache are nothing special (spec 1 §3.1).
        cluster_level: ClusterLevel::Absent,
        // Nor are machines with two kinds of cores (spec 1 §3.2).
        hybrid_levels: HybridLevels::Same,
        // The second thread of a preferred core ranks as high as the first of one half as good (spec 1 §8.4).
        sibling_priority: SiblingPriority::DividedByIndex,
        // Device trees: each cluster is a package of its own, caches are not looked at (spec 1 §3.3).
        coregroup: Coregroup::Package,
        // Nodes without CPUs have a say in which NUMA levels there are (spec 1 §3.4).
        numa_distances: NumaDistances::AllNodes,
        // A relax_domain_level of r leaves level r itself eager (spec 1 §5).
        relax_domain_level: RelaxDomainLevel::ClearAbove,
        // Groups know nothing of the level below (spec 1 §10).
        group_flags: GroupFlags::Absent,
        // The tasks that may be unbalanced between nodes are not computed per domain (spec 1 §9).
        imb_numa_nr: false,
        ..V6_1_192.topology
    },
    queues: RunQueueRules {
        // Sums are rounded to averages whenever a task leaves (spec 2 §9.2).
        removal: Removal::Recompute,
        attaches_at_least_one: false,
        // Load of a task that the balancer moves leaves when the task has left its queue (spec 2 §5.5).
        detachment: Detachment::AtMigration,
        // A task that leaves a CPU idle for long keeps the load it had when it fell asleep (spec 2 §9.4).
        decays_on_idle_migration: false,
        // A sleeper keeps its virtual runtime for ever (spec 2 §7.3).
        forgets_long_sleepers: false,
        bandwidth: BandwidthRules {
            // Bursts are not counted (spec 2 §1.1), and load tracking is paused by the wrong clock (spec 2 §4.4).
            counts_bursts: false,
            pause_clock: PauseClock::Task,
            ..V6_1_192.queues.bandwidth
        },
        ..V6_1_192.queues
    },
    balance: BalanceRules {
        periodic: PeriodicRules {
            // Costs of new-idle passes decay by the clock, in periodic walks only (spec 3 §2.3).
            cost_decay: CostDecay::EverySecond,
            ..V6_1_192.balance.periodic
        },
        newidle: NewIdleRules {
            // CPUs look for work whenever they are idle for longer than a migration costs (spec 3 §2.11).
            gate: IdleTimeGate::MigrationCost,
            gate_needs_domain: false,
            notes_due: NotesDue::AfterPass,
            // What it takes to refresh blocked load is nobody's cost.
            charges_blocked_update: false,
            // Levels at which passes never succeed are tried like others.
            statistics: NewIdleStatistics::Cost,
            ..V6_1_192.balance.newidle
        },
        nohz: NohzRules {
            // A CPU that becomes tickless waits for the next round (spec 3 §2.6).
            needs_update: false,
            // A kicked CPU that has just got work does not balance (spec 3 §2.8), and one that gets some stops (§2.9).
            delivery: KickDelivery::CallUnlessRescheduling,
            abort: IlbAbort::Rescheduling,
            always_refreshes: true,
            ..V6_1_192.balance.nohz
        },
        pass: PassRules {
            // A CPU about to go idle balances although work has arrived (spec 3 §3.3-2).
            newidle_needs_empty: false,
            stand_ins: StandIns::GroupSpan,
            ..V6_1_192.balance.pass
        },
        groups: GroupRules {
            // A single task on a CPU whose capacity others use is only moved together with others (spec 3 §4.3).
            reduced_is_misfit: false,
            // Threads of a core do not matter to preference (spec 3 §4.3).
            asym_packing: GroupAsymPacking::AnyGroup,
            ..V6_1_192.balance.groups
        },
        choice: ChoiceRules {
            misfit: MisfitCandidates::SmallerCpus,
            bigger_cpus: BiggerCpus::Last,
            // Energy-aware placement keeps the balancer from misfit tasks, too (spec 3 §5.3-3).
            energy_first: true,
            misfit_amount: MisfitAmount::OneTask,
            // Nodes share tasks as soon as one uses a quarter of its CPUs (spec 3 §5.4 F).
            numa_tolerance: NumaTolerance::QuarterOfBusiest,
            // A group above the average may be filled further (spec 3 §5.4 G2).
            stops_at_average: false,
            preferred_source: PreferredSource::Taken,
            ..V6_1_192.balance.choice
        },
        tasks: TaskRules {
            // Hot tasks that are too big count as moved (spec 3 §7.3).
            counts_hot: CountsHot::WhenMovable,
            // Failures do not make tasks smaller when utilisation is to be moved (spec 3 §7.2-5).
            size: TaskSize::LoadShrinks,
            ..V6_1_192.balance.tasks
        },
        ..V6_1_192.balance
    },
    tunables: Tunables {
        // Tasks of the idle policy have the same shortest slice as others (spec 2 §1.1).
        cfs: Some(CfsTunables {
            latency_normalized_ns: 6_000_000,
            min_granularity_normalized_ns: 750_000,
            wakeup_granularity_normalized_ns: 1_000_000,
            idle_min_granularity_ns: None,
            child_runs_first: false,
        }),
        // Memory is not tiered by how often it is used.
        numa_balancing: NumaBalancingTunables { hot_threshold_ms: None, ..V6_1_192.tunables.numa_balancing },
        ..V6_1_192.tunables
    },
    // The wake-up search is limited by idle times instead of utilisation, and new-idle balancing rolls no dice
    // (spec 2 §1.3, spec 3 §14).
    features: V6_1_192
        .features
        .difference(Features::SIS_UTIL.union(Features::NI_RANDOM))
        .union(Features::SIS_PROP),
    features_known: V6_1_192.features_known.difference(Features::SIS_UTIL.union(Features::NI_RANDOM)),
    placement: PlacementRules {
        // The counter of affine wake-ups includes those that stayed (spec 4 §6).
        counts_prev_as_affine: true,
        // A slip: the recent CPU is used if the *previous* one is allowed (spec 4 §18).
        idle_search: IdleSearch::OnePassAskingPrev,
        // Groups are judged by all their CPUs (spec 4 §9.1).
        slow_path: SlowPath::ClassesOfAllCpus,
        // A node fills to a quarter of the domain before another is used (spec 4 §18).
        node_spread: NodeSpread::QuarterOfDomain,
        // Within a cache the waker activates the task itself (spec 4 §4).
        remote_wakeup: RemoteWakeup::OtherCache,
        ..V6_1_192.placement
    },
    ..V6_1_192
};
