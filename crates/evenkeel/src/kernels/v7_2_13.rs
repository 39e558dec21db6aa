//! v7.2.13 as a delta from v6.18.15.
use super::v6_18_15::V6_18_15;
use crate::balance::rules::*;
use crate::bandwidth::rules::{BandwidthRules, ThrottlePoint};
use crate::kernel::{
    DebugLayout, Features, Kernel, LlcBalancingTunables, PlacementRules, RunQueueRules, TopologyRules,
    Tunables,
};
use crate::queue_rules::{
    AvgIdle, BuddyPick, DelayedLag, HrtickExpiry, LagLimit, MeanReference, Reweight, SliceProtection,
    TgLoadUpdate, UtilEstUpdate, VirtualTime, WakeupPreemption, WeightDivision, Yielding,
};
use crate::select::rules::{IdlePolicyCpus, SlowPath, UnequalSearch};
use crate::topology::rules::{LevelWeight, LlcId, LlcSharing, PackageLevel};

/// v7.2.13 as Debian builds it for amd64.
pub const V7_2_13: Kernel = Kernel {
    build: "v7.2.13",
    alias: "v7.2",
    runs: true,
    debug_layout: DebugLayout::Sums,
    topology: TopologyRules {
        // Distances between packages are averaged where the platform asks for it (spec 1 §3.4).
        averages_package_distances: true,
        // A node without CPUs can make the package level disappear (spec 1 §3.2).
        package_level: PackageLevel::DroppedIfMoreNodesThanPackages,
        // Isolated CPUs no longer lengthen the intervals of the others (spec 1 §5).
        level_weight: LevelWeight::Span,
        // Wake-ups search a cache without limit until its first balance, and NOHZ balancing of machines with unequal
        // CPUs counts the busy CPUs of all of them (spec 1 §12).
        llc_shared: LlcSharing::TopmostAndAsym,
        // Partitions inside one cache know that they share it (spec 1 §11).
        llc_id: LlcId::Dense,
        ..V6_18_15.topology
    },
    queues: RunQueueRules {
        // Virtual time knows weights to the last bit (spec 2 §1.2, §2.4).
        virtual_time: VirtualTime::FineMean,
        division: WeightDivision::Exact,
        // It is kept relative to where heavy entities are (spec 2 §6.4).
        mean_reference: MeanReference::WhenComputedAndToHeavy,
        places_any_relative_deadline: false,
        yielding: Yielding::RestOfSlice,
        cuts_propagated_runnable: false,
        // Groups tell their load by the clock of the CPU (spec 2 §9.7).
        tg_load_update: TgLoadUpdate::EachMsOfQueueClock,
        // Lag is limited by the slices of all tasks of the queue (spec 2 §6.5).
        lag_limit: LagLimit::LongestSliceAndTick,
        // A changed weight or policy neither renews nor ends protection (spec 2 §6.5).
        slice_protection: SliceProtection::ShortestSliceOfPick,
        reweight: Reweight::AboutMeanProtected,
        // A marked task does not spoil the choice of a wakee with a short slice (spec 2 §6.5).
        buddy_pick: BuddyPick::WhenProtecting,
        // A timer ends slices at their deadlines (spec 2 §6.9).
        hrtick_expiry: HrtickExpiry::Deadline,
        // New tasks wait for their turn (spec 2 §6.7).
        wakeup_preemption: WakeupPreemption::Pick,
        // Delayed sleepers cannot lose more than they owed (spec 2 §6.8).
        delayed_lag: DelayedLag::AtLeastAtSleep,
        // Estimates use the latest utilisation (spec 2 §10.2).
        util_est_update: UtilEstUpdate::InLoadUpdate,
        // Every idle period counts, also one ended by balancing (spec 2 §16.4).
        avg_idle: AvgIdle::LeavingIdle,
        // A limit that is used up stops what runs at once, not at the next switch (spec 2 §14.3).
        bandwidth: BandwidthRules { point: ThrottlePoint::Charge, ..V6_18_15.queues.bandwidth },
        ..V6_18_15.queues
    },
    balance: BalanceRules {
        newidle: NewIdleRules {
            // Levels that are seldom tried are always tried (spec 3 §2.5).
            statistics: NewIdleStatistics::SuccessAndRate,
            // The pick starts over only if another class's task came meanwhile (spec 3 §2.11).
            other_class: OtherClass::CameMeanwhile,
            ..V6_18_15.balance.newidle
        },
        nohz: NohzRules {
            // On machines of unequal CPUs two busy ones anywhere are a reason to kick (spec 3 §2.7).
            busy_cpus: BusyCpus::AsymCapacityOrLlc,
            ..V6_18_15.balance.nohz
        },
        groups: GroupRules {
            // With energy-aware placement many small tasks do not make a group overloaded (spec 3 §4.4).
            overloaded_needs_overutilized: true,
            // Wake-ups learn how far to search from every level with a shared record (spec 3 §4.6).
            scan_hint: ScanHint::SharedRecord,
            ..V6_18_15.balance.groups
        },
        choice: ChoiceRules {
            // Only idle cores take tasks too big for their CPU, and small CPUs never take from bigger ones that are not
            // too busy, again (spec 3 §5.1).
            misfit: MisfitCandidates::SmallerCpusForIdleCore,
            bigger_cpus: BiggerCpus::First,
            ..V6_18_15.balance.choice
        },
        // Threads of a process are gathered in one cache (spec 3 §13).
        cache_aware: CacheAware::Gathers,
        ..V6_18_15.balance
    },
    tunables: Tunables {
        // How willingly (spec 3 §14).
        llc_balancing: Some(LlcBalancingTunables {
            enabled: true,
            aggr_tolerance: 1,
            epoch_period: 2,
            epoch_affinity_timeout: 5,
            overaggr_pct: 50,
            imb_pct: 20,
        }),
        ..V6_18_15.tunables
    },
    // Slices end by a high-resolution timer, and rare new-idle balancing is always tried (spec 2 §1.3, spec 3 §14).
    features: V6_18_15
        .features
        .difference(Features::RT_PUSH_IPI)
        .union(Features::HRTICK)
        .union(Features::HRTICK_DL)
        .union(Features::NI_RATE),
    features_known: V6_18_15.features_known.union(Features::NI_RATE).union(Features::PARANOID_AVG),
    placement: PlacementRules {
        // An idle-policy task does not take a CPU of its like for idle (spec 4 §2).
        idle_policy_cpus: IdlePolicyCpus::IdleForOthers,
        // On unequal CPUs idle cores come first (spec 4 §8.5).
        unequal: UnequalSearch::FirstFitByCore,
        // Groups are judged by the CPUs the task may use (spec 4 §9.1).
        slow_path: SlowPath::ClassesOfAllowedCpus,
        ..V6_18_15.placement
    },
    ..V6_18_15
};
