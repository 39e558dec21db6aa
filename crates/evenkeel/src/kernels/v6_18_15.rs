//! v6.18.15 as a delta from v6.12.117.
use super::v6_12_117::V6_12_117;
use crate::kernel::{Features, Kernel, PlacementRules, RunQueueRules, TopologyRules};
use crate::queue_rules::{Expiry, Reweight, SliceProtection, UtilEst, WakeupPreemption};
use crate::select::rules::SlowPath;
use crate::topology::rules::{DebugFiles, FlagSet, SmtLevel};

/// v6.18.15 as Debian builds it for amd64.
pub const V6_18_15: Kernel = Kernel {
    build: "v6.18.15",
    alias: "v6.18",
    runs: false,
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
        // A wakee that does not preempt shortens it (spec 2 §6.7).
        wakeup_preemption: WakeupPreemption::TrialShort,
        // Groups whose weight changes leave the queue and join it again (spec 2 §6.10).
        reweight: Reweight::Replace,
        // Small CPUs learn from tasks that are too big for them (spec 2 §10.2).
        util_est: UtilEst::OneAverageAnyCapacity,
        ..V6_12_117.queues
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
