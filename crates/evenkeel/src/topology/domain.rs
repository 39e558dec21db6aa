//! The objects of a domain tree: domains, groups, group capacities, and the state shared by a last-level cache.
//!
//! Every CPU owns a chain of [`Domain`]s from the lowest level up. A domain's CPUs are divided into [`Group`]s that
//! form a ring; the balancer moves work between the groups of one ring. Groups of the non-NUMA levels are shared by
//! all CPUs of the domain (each enters the ring at its own group), groups of NUMA levels are private to a CPU.
use crate::ids::{CapacityId, CpuId, DomainId, GroupId, RootId, SharedId};
use crate::mask::CpuMask;
use crate::time::{Jiffies, Ns};
use crate::topology::partition::Partition;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;

bitflags! {
    /// Domain flags, in the kernel's bit order (the order in which debugfs prints them; spec 1 §4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SdFlags: u32 {
        /// New-idle balancing walks this domain.
        const BALANCE_NEWIDLE = 1 << 0;
        /// Placement at exec may use it.
        const BALANCE_EXEC = 1 << 1;
        /// Placement at fork may use it.
        const BALANCE_FORK = 1 << 2;
        /// Placement at wake-up may take the slow path through it.
        const BALANCE_WAKE = 1 << 3;
        /// The waker's CPU may be considered at wake-up.
        const WAKE_AFFINE = 1 << 4;
        /// The span holds at least two CPU capacities.
        const ASYM_CPUCAPACITY = 1 << 5;
        /// The span holds every capacity of the partition.
        const ASYM_CPUCAPACITY_FULL = 1 << 6;
        /// The CPUs are threads of one core.
        const SHARE_CPUCAPACITY = 1 << 7;
        /// The CPUs share a cluster.
        const CLUSTER = 1 << 8;
        /// The CPUs share the last-level cache.
        const SHARE_LLC = 1 << 9;
        /// The CPUs share a power domain (only in old kernels).
        const SHARE_POWERDOMAIN = 1 << 10;
        /// One balancer at a time in the whole system.
        const SERIALIZE = 1 << 11;
        /// Prefer CPUs of high priority.
        const ASYM_PACKING = 1 << 12;
        /// Spread tasks over sibling groups.
        const PREFER_SIBLING = 1 << 13;
        /// Groups may share CPUs (absent in new kernels).
        const OVERLAP = 1 << 14;
        /// Crosses memory nodes.
        const NUMA = 1 << 15;
        /// The domain takes part in balancing (only in old kernels, where every domain has it).
        const LOAD_BALANCE = 1 << 16;
    }
}

/// One level of one CPU's chain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The CPU that owns the chain.
    pub cpu: CpuId,
    /// The next wider level.
    pub parent: Option<DomainId>,
    /// The next narrower level.
    pub child: Option<DomainId>,
    /// Entry into the ring of groups: the group that contains the owning CPU.
    pub groups: GroupId,
    /// The CPUs of the domain; equal spans share their storage.
    pub span: Arc<CpuMask>,
    /// The number of CPUs in the span.
    pub span_weight: u32,
    /// `SMT`, `CLS`, `MC`, `PKG` ...
    pub name: &'static str,
    /// The level's number before degenerate levels were removed; never renumbered.
    pub level: u32,
    /// What the domain is for and how it balances.
    pub flags: SdFlags,
    /// Shortest balancing interval, ms.
    pub min_interval: u64,
    /// Longest balancing interval, ms (512 with pinned tasks).
    pub max_interval: u64,
    /// Current balancing interval, ms.
    pub balance_interval: u64,
    /// Busy CPUs balance this many times less often.
    pub busy_factor: u32,
    /// Which history of a busy CPU's load is looked at (only in old kernels).
    pub busy_idx: u32,
    /// Which history an idle CPU looks at (only in old kernels; new-idle, wake-up and fork look at none).
    pub idle_idx: u32,
    /// How much busier, in percent, a group must be before work is moved.
    pub imbalance_pct: u32,
    /// Failed passes after which cache-hot tasks are moved.
    pub cache_nice_tries: u32,
    /// Tasks that may be unbalanced between nodes (spec 1 §9).
    pub imb_numa_nr: u32,
    /// When the level was last balanced.
    pub last_balance: Jiffies,
    /// Passes that found work and moved none, in a row.
    pub nr_balance_failed: u32,
    /// Whether this CPU's domain of the last-level cache counts the CPU as idle.
    pub nohz_idle: bool,
    /// The most expensive new-idle pass of late, ns.
    pub max_newidle_lb_cost: Ns,
    /// When that maximum last decayed.
    pub last_decay_max_lb_cost: Jiffies,
    /// Average cost of a wake-up's search from this CPU through this domain (old kernels), ns.
    pub avg_scan_cost: Ns,
    /// New-idle passes counted towards the ratio.
    pub newidle_call: u32,
    /// Successes among them.
    pub newidle_success: u32,
    /// Successes in 1024 passes.
    pub newidle_ratio: u32,
    /// When the ratio was last computed (newest kernels), ns.
    pub newidle_stamp: Ns,
    /// State shared by the CPUs of the last-level cache.
    pub shared: Option<SharedId>,
    /// Counters of `/proc/schedstat`.
    pub stats: DomainStats,
}

/// A member of a domain's ring of groups.
#[derive(Clone, Debug)]
pub struct Group {
    /// The next group of the ring.
    pub next: GroupId,
    /// The CPUs of the group; equal spans share their storage.
    pub span: Arc<CpuMask>,
    /// The number of CPUs in the span.
    pub group_weight: u32,
    /// The number of cores in the span.
    pub cores: u32,
    /// The flags of the child domain the group was made from.
    pub flags: SdFlags,
    /// The CPU of highest priority (asym packing only).
    pub asym_prefer_cpu: CpuId,
    /// The group's capacity, shared by all groups that stand for the same CPUs.
    pub sgc: CapacityId,
}

/// Capacity of a group, and what the balancer notes about it.
#[derive(Clone, Debug)]
pub struct GroupCapacity {
    /// The CPU in whose name the storage was allotted (debug output prints it).
    pub id: CpuId,
    /// The CPUs that may balance on behalf of the group; the span unless groups overlap.
    pub balance_mask: Arc<CpuMask>,
    /// Sum of the CPUs' capacities.
    pub capacity: u64,
    /// The smallest CPU's capacity.
    pub min_capacity: u64,
    /// The biggest CPU's capacity.
    pub max_capacity: u64,
    /// When a new-idle pass may refresh the capacity.
    pub next_update: Jiffies,
    /// Whether a pass at the child level left an imbalance because of affinities.
    pub imbalance: bool,
}

/// State that all CPUs of a last-level cache share.
#[derive(Clone, Debug)]
pub struct LlcShared {
    /// CPUs that are not tickless idle.
    pub nr_busy_cpus: i32,
    /// Whether some core was seen idle since the last search that found none.
    pub has_idle_cores: bool,
    /// How many CPUs a wake-up may look at.
    pub nr_idle_scan: u32,
    /// Utilisation of its CPUs when a pass summed them up last (newest kernels).
    pub util_avg: u64,
    /// Their capacity then; 0: never summed up.
    pub capacity: u64,
}

/// The passes of one idle type through a domain, as `/proc/schedstat` counts them (spec 1 §15, spec 3 §16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LbCounters {
    /// Passes entered.
    pub count: u32,
    /// Passes that found nothing to do.
    pub balanced: u32,
    /// Passes that found work and moved none.
    pub failed: u32,
    /// Sum of imbalances of migration type load.
    pub imbalance_load: u32,
    /// Sum of imbalances of migration type util.
    pub imbalance_util: u32,
    /// Sum of imbalances of migration type task.
    pub imbalance_task: u32,
    /// Sum of imbalances of migration type misfit.
    pub imbalance_misfit: u32,
    /// Tasks moved.
    pub gained: u32,
    /// Cache-hot tasks moved all the same.
    pub hot_gained: u32,
    /// No source queue.
    pub nobusyq: u32,
    /// No source group.
    pub nobusyg: u32,
}

/// All counters of one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainStats {
    /// Counters by idle type: busy, idle, newly idle.
    pub lb: [LbCounters; 3],
    /// Active balances that found a domain.
    pub alb_count: u32,
    /// Active balances that moved nothing.
    pub alb_failed: u32,
    /// Active balances that moved a task.
    pub alb_pushed: u32,
    /// Wake-ups to another CPU.
    pub ttwu_wake_remote: u32,
    /// Wake-ups for which the waking CPU was chosen.
    pub ttwu_move_affine: u32,
}

/// What a CPU knows about its place (spec 1 §11).
#[derive(Clone, Debug)]
pub struct CpuDomains {
    /// The lowest domain; none for an isolated CPU.
    pub base: Option<DomainId>,
    /// The highest domain that shares the last-level cache.
    pub sd_llc: Option<DomainId>,
    /// Its number of CPUs; 1 if there is none.
    pub sd_llc_size: u32,
    /// Which last-level cache the CPU belongs to; -1 for none (newest kernels).
    pub sd_llc_id: i32,
    /// Which cluster (or else cache) the CPU belongs to.
    pub sd_share_id: i32,
    /// The state shared by the last-level cache.
    pub sd_llc_shared: Option<SharedId>,
    /// The lowest NUMA domain.
    pub sd_numa: Option<DomainId>,
    /// The highest domain with asym packing.
    pub sd_asym_packing: Option<DomainId>,
    /// The lowest domain that holds every capacity.
    pub sd_asym_cpucapacity: Option<DomainId>,
    /// Newest kernels: whose busy count NOHZ balancing looks at.
    pub sd_balance_shared: Option<SharedId>,
    /// The root domain.
    pub root: RootId,
}

/// A partition of the machine that balances by itself.
#[derive(Clone, Debug)]
pub struct RootDomain {
    /// The CPUs attached.
    pub span: CpuMask,
    /// Whether some CPU has more than one task.
    pub overloaded: bool,
    /// Whether some CPU has more utilisation than capacity (only meaningful with energy-aware placement).
    pub overutilized: bool,
    /// The largest CPU capacity (old kernels).
    pub max_cpu_capacity: u64,
}

/// All domain trees of a machine.
#[derive(Clone, Debug)]
pub struct Domains {
    /// The partitions that were built; number `n` has root domain `n + 1`.
    pub partitions: Vec<Partition>,
    /// What each CPU can do for fair tasks as long as nothing else runs, by CPU (`cpu_capacity`).
    pub cpu_capacity: Vec<u64>,
    /// Dense numbers of last-level caches by CPU, -1 for none yet (newest kernels).
    pub(super) llc_ids: Vec<i32>,
    /// Arena of domains.
    pub domains: Vec<Domain>,
    /// Arena of groups.
    pub groups: Vec<Group>,
    /// Arena of group capacities.
    pub capacities: Vec<GroupCapacity>,
    /// Arena of shared objects.
    pub shared: Vec<LlcShared>,
    /// By CPU.
    pub cpus: Vec<CpuDomains>,
    /// Root domains; number 0 holds the CPUs of no partition.
    pub roots: Vec<RootDomain>,
    /// SMT siblings by CPU (the CPU included).
    pub smt: Vec<Arc<CpuMask>>,
    /// Whether any core has more than one online thread.
    pub smt_active: bool,
    /// Whether some attached tree has a cluster level.
    pub cluster_active: bool,
    /// Whether some CPU saw asymmetric capacities.
    pub asym_capacity: bool,
}

impl Domains {
    /// The chain of `cpu` from the lowest level up.
    #[inline]
    pub fn chain(&self, cpu: CpuId) -> impl Iterator<Item = DomainId> + '_ {
        core::iter::successors(self.cpus[cpu.index()].base, |id| self.domains[id.index()].parent)
    }

    /// The ring of groups that starts at `first`.
    #[inline]
    pub fn ring(&self, first: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        let next = move |id: &GroupId| Some(self.groups[id.index()].next).filter(|next| *next != first);
        core::iter::successors(Some(first), next)
    }

    /// Whether `a` and `b` share a last-level cache.
    #[inline]
    pub fn cpus_share_cache(&self, a: CpuId, b: CpuId) -> bool {
        a == b || self.cpus[a.index()].sd_llc_id == self.cpus[b.index()].sd_llc_id
    }

    /// Whether `a` and `b` share a cluster, or a last-level cache where there are no clusters.
    #[inline]
    pub fn cpus_share_resources(&self, a: CpuId, b: CpuId) -> bool {
        a == b || self.cpus[a.index()].sd_share_id == self.cpus[b.index()].sd_share_id
    }

    /// The CPU that balances for a group when none of its CPUs is idle (spec 1 §8.3).
    #[inline]
    pub fn group_balance_cpu(&self, group: GroupId) -> CpuId {
        let sgc = self.groups[group.index()].sgc;
        self.capacities[sgc.index()].balance_mask.first().expect("a balance mask is never empty")
    }
}
