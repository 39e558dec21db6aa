//! v6.12.117, the base: every other build is described by its difference from this one.
use crate::kernel::{Features, Kernel, TopologyRules, TunableScaling, Tunables};

/// v6.12.117 as Debian builds it for amd64 (spec 2 §0.3, spec 3 §12.4).
pub const V6_12_117: Kernel = Kernel {
    build: "v6.12.117",
    alias: "v6.12",
    runs: true,
    hz: 250,
    topology: TopologyRules {},
    tunables: Tunables {
        base_slice_normalized_ns: 700_000,
        scaling: TunableScaling::Log,
        migration_cost_ns: 500_000,
        nr_migrate: 32,
        nr_migrate_break: 32,
    },
    features: Features::PLACE_LAG
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
        .union(Features::NI_RANDOM)
        .union(Features::RT_PUSH_IPI),
    schedstat_version: 16,
};
