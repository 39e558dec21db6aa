//! v6.18.15 as a delta from v6.12.117.
use super::v6_12_117::V6_12_117;
use crate::balance::rules::*;
use crate::bandwidth::rules::{BandwidthRules, Throttling};
use crate::kernel::{DebugLayout, Features, Kernel, PlacementRules, RunQueueRules, TopologyRules};
use crate::queue_rules::{
    DelayedEstimate, Expiry, MeanReference, Resched, Reweight, SliceProtection, UtilEst, WakeupPreemption,
    Yielding,
};
use crate::select::rules::SlowPath;
use crate::topology::rules::{DebugFiles, FlagSet, SmtLevel};

/// v6.18.15 as Debian builds it for amd64.
pub const V6_18_15: Kernel = Kernel {
    build: "v6.18.15",
    alias: "v6.18",
    runs: true,
    debug_layout: DebugLayout::Queued,
    topology: TopologyRules {
        // Without hyper-threading there is no SMT level, so `level` numbers are one lower (spec 1 §3.2).
        smt_level: SmtLevel::WhenThreaded,
        // Overlapping groups are known by the NUMA flag (spec 1 §4).
        flag_set: FlagSet::Newest,
        // The preferred CPU of a group can be read (spec 1 §14.2).
        debug_files: DebugFiles::FlagsGroupsPreferred,
        ..V6_12_117.topology
    },
    queues: RunQueueRules {
        // What runs is protected until the shortest slice of the queue is used up, not until its own is (spec 2 §6.5).
        slice_protection: SliceProtection::ShortestSlice,
        // Losing that protection is reason enough to stop (spec 2 §6.7).
        expiry: Expiry::RenewedOrUnprotected,
        // What runs is asked to stop on its return to user mode (spec 2 §6.9).
        resched: Resched::Lazy,
        // A wakee that does not preempt shortens it (spec 2 §6.7).
        wakeup_preemption: WakeupPreemption::TrialShort,
        // Groups whose weight changes leave the queue and join it again (spec 2 §6.10).
        reweight: Reweight::Replace,
        // Virtual runtimes are kept relative to the mean when the queue last changed (spec 2 §6.1).
        mean_reference: MeanReference::WhenTimelineChanges,
        places_any_relative_deadline: true,
        // Who yields asks for as much again (spec 2 §1.2).
        yielding: Yielding::RestOfSliceForAnother,
        // Groups with more than 90 waiting tasks on a CPU seem to have less (spec 2 §18.2).
        cuts_propagated_runnable: true,
        // Delayed tasks are in no sum of estimates (spec 2 §10.1).
        delayed_estimate: DelayedEstimate::NeverCounted,
        // Small CPUs learn from tasks that are too big for them (spec 2 §10.2).
        util_est: UtilEst::OneAverageAnyCapacity,
        // Tasks of a group that has used up its limit stop on their way back to user mode, each for itself (spec 2 §14.3).
        bandwidth: BandwidthRules { throttling: Throttling::PerTask, ..V6_12_117.queues.bandwidth },
        ..V6_12_117.queues
    },
    balance: BalanceRules {
        // Sleepers that wait to be taken off their queue are no work to be had (spec 3 §4.3, §6).
        fair_tasks: FairTasks::Runnable,
        periodic: PeriodicRules {
            // Only one CPU at a time balances between nodes, new-idle ones included; one that comes too late counts the
            // level as balanced (spec 3 §2.3, §3.2-3).
            serialized: Serialized::InPass,
            ..V6_12_117.balance.periodic
        },
        groups: GroupRules {
            // Where tasks prefer to be counts between nodes only (spec 3 §4.3).
            numa_counters: NumaCounters::BetweenNodes,
            ..V6_12_117.balance.groups
        },
        choice: ChoiceRules {
            // A big CPU takes a small one's task although its sibling is busy (spec 3 §5.1-2), and a small CPU may take
            // from bigger ones that are of a higher class than what was found before (spec 3 §5.1-3).
            misfit: MisfitCandidates::SmallerCpusOfUnequal,
            bigger_cpus: BiggerCpus::Last,
            ..V6_12_117.balance.choice
        },
        tasks: TaskRules {
            // Throttled tasks leave their queue, so they need not be kept from moving (spec 3 §7.3-b).
            throttled: Throttled::Destination,
            // Tasks that got more than their share stay, unless a pass has failed (spec 3 §7.3-a, -c).
            filters_ineligible: true,
            // At equal distance from memory cache heat decides (spec 3 §7.3).
            equal_distance: EqualDistance::Unaffected,
            ..V6_12_117.balance.tasks
        },
        ..V6_12_117.balance
    },
    // Real-time tasks are pushed by interrupt again; the double tick is gone (recorded).
    features: V6_12_117.features.union(Features::RT_PUSH_IPI),
    features_known: V6_12_117.features_known.difference(Features::DOUBLE_TICK),
    // Domain lines carry the level's name, and imbalances are counted by kind (spec 1 §15).
    schedstat_version: 17,
    placement: PlacementRules {
        // Groups are judged by all their CPUs again, also those the task may not use (spec 4 §9.1).
        slow_path: SlowPath::ClassesOfAllCpus,
        ..V6_12_117.placement
    },
    ..V6_12_117
};
