//! How one kernel builds its domain trees: every choice by which the builds differ, as a named value.
//!
//! Each field is one decision and is looked at by the one function that owns it. Example: with
//! [`LevelWeight::RawMask`] an isolated CPU still counts in the intervals of its neighbours (8 CPUs of which 2 are
//! isolated: `min_interval` 8), with [`LevelWeight::Span`] it does not (6).
//!
//! Left out: level tables of powerpc and s390, and levels that drivers add at run time.

/// The topology part of a [`Kernel`](crate::kernel::Kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyRules {
    /// Whether there is a cluster level, and whether it carries its own flag (spec 1 §3).
    pub cluster_level: ClusterLevel,
    /// When x86 has an SMT level (spec 1 §3.2).
    pub smt_level: SmtLevel,
    /// When x86 leaves out the level of the node's CPUs (spec 1 §3.2).
    pub package_level: PackageLevel,
    /// What that level is called: `DIE` or `PKG`.
    pub package_name: &'static str,
    /// What happens to the table on x86 machines with two kinds of cores (spec 1 §3.2).
    pub hybrid_levels: HybridLevels,
    /// Which x86 levels prefer high-priority CPUs if the platform names some (spec 1 §3.2).
    pub asym_packing_levels: AsymPackingLevels,
    /// How the second thread of a core ranks in such a preference (spec 1 §8.4).
    pub sibling_priority: SiblingPriority,
    /// What the generic table takes for the CPUs that share a cache (spec 1 §3.3).
    pub coregroup: Coregroup,
    /// Whether x86 CPUs can have different capacities (spec 1 §7).
    pub x86_capacity: X86Capacity,
    /// Which nodes' distances become NUMA levels (spec 1 §3.4).
    pub numa_distances: NumaDistances,
    /// Whether distances between packages are averaged where the platform asks for it (spec 1 §3.4).
    pub averages_package_distances: bool,
    /// Where placement stops crossing nodes (spec 1 §3.4).
    pub reclaim_distance: ReclaimDistance,
    /// Which CPUs the intervals of a level are computed from (spec 1 §5).
    pub level_weight: LevelWeight,
    /// Which flags exist in addition to, or instead of, the newest ones (spec 1 §4).
    pub flag_set: FlagSet,
    /// How much less often busy CPUs balance (spec 1 §5).
    pub busy_factor: u32,
    /// Tolerated imbalance between threads of a core, percent (spec 1 §5).
    pub imbalance_pct_smt: u32,
    /// Tolerated imbalance inside a last-level cache, percent.
    pub imbalance_pct_llc: u32,
    /// Tolerated imbalance above it, percent.
    pub imbalance_pct_other: u32,
    /// Whether unequal capacities are found by looking at the CPUs (spec 1 §7).
    pub asym_capacity: AsymCapacity,
    /// What `relax_domain_level` does (spec 1 §5).
    pub relax_domain_level: RelaxDomainLevel,
    /// How groups of NUMA levels are cut when neighbours see farther than the domain (spec 1 §8.2).
    pub overlap_groups: OverlapGroups,
    /// What a group knows of the level below (spec 1 §10).
    pub group_flags: GroupFlags,
    /// Whether groups know their number of cores (spec 1 §1.2).
    pub group_cores: bool,
    /// Which flags keep a level with a single group alive (spec 1 §10).
    pub degeneration: Degeneration,
    /// Whether NUMA levels tolerate an imbalance of some tasks (spec 1 §9).
    pub imb_numa_nr: bool,
    /// What a thread of a multi-threaded core can do (spec 1 §8.4).
    pub smt_capacity: SmtCapacity,
    /// What the smallest capacity of a group over NUMA levels is (spec 1 §8.4).
    pub overlap_min_capacity: OverlapMinCapacity,
    /// Whether looking for the highest domain with a flag may pass domains without it (spec 1 §11).
    pub highest_flag_domain: HighestFlagDomain,
    /// Which domains share state between their CPUs (spec 1 §12).
    pub llc_shared: LlcSharing,
    /// How last-level caches are named (spec 1 §11).
    pub llc_id: LlcId,
    /// Whether CPUs know which cluster they share (spec 1 §11).
    pub share_id: bool,
    /// Whether the root domain knows the largest capacity (spec 1 §1.2).
    pub root_max_cpu_capacity: bool,
    /// Which files show a domain (spec 1 §14).
    pub debug_files: DebugFiles,
}

/// The cluster (`CLS`) level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterLevel {
    /// No such level.
    Absent,
    /// A level that looks like a cache level.
    Unflagged,
    /// A level with `SD_CLUSTER`.
    Flagged,
}

/// The SMT level of x86.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtLevel {
    /// Always built; degenerates where cores have one thread.
    Always,
    /// Left out where cores have one thread, so that all `level` numbers are one lower.
    WhenThreaded,
}

/// The level of the node's CPUs on x86, which is left out if packages hold several nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageLevel {
    /// Left out if CPUs of one package are on different nodes.
    DroppedIfPackageSpansNodes,
    /// Left out if there are more nodes (even without CPUs) than packages.
    DroppedIfMoreNodesThanPackages,
}

/// The level table of x86 machines with two kinds of cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HybridLevels {
    /// As on any other machine.
    Same,
    /// SMT, MC and the package, whatever else the machine is.
    NoCluster,
}

/// Which x86 levels get `SD_ASYM_PACKING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsymPackingLevels {
    /// SMT and the cache levels.
    ThreadsAndCaches,
    /// The cache levels and the package, but not SMT.
    CachesAndPackage,
}

/// Priority of the threads of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiblingPriority {
    /// Thread `i` (from 1) of `n`: priority `* n / i`.
    DividedByIndex,
    /// Thread `i` (from 1) of `n`: priority `* n / i²`.
    DividedBySquare,
    /// All threads the same.
    Same,
}

/// The cache level of the generic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coregroup {
    /// The package, which in a device tree is a leaf cluster; caches only as ACPI tells them.
    Package,
    /// The last-level cache, widened to the cluster if that is larger.
    CacheOrCluster,
}

/// Capacities of x86 CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X86Capacity {
    /// Always 1024.
    Equal,
    /// As the machine says if no core has two threads (and then asym packing is off), 1024 otherwise.
    UnequalWithoutSmt,
}

/// The nodes whose distances become levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumaDistances {
    /// What node 0 sees.
    FromNodeZero,
    /// The whole table.
    AllNodes,
    /// The rows and columns of nodes that have CPUs.
    NodesWithCpus,
}

/// The distance beyond which placement does not cross nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimDistance {
    /// 30 on every machine.
    Constant,
    /// What the platform sets, 30 by default.
    ByMachine,
}

impl ReclaimDistance {
    /// The kernel's default.
    pub const DEFAULT: u32 = 30;
}

/// What the intervals of a level are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelWeight {
    /// The level's mask, with CPUs outside the partition.
    RawMask,
    /// The domain's span.
    Span,
}

/// Flags that came or went, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlagSet {
    /// With `SD_LOAD_BALANCE` on every level, and `SD_OVERLAP`.
    LoadBalanceAndOverlap,
    /// With `SD_OVERLAP`; the cache flag is called `SD_SHARE_PKG_RESOURCES`.
    OverlapPkgResources,
    /// With `SD_OVERLAP`.
    Overlap,
    /// Without it.
    Newest,
}

impl FlagSet {
    /// Whether NUMA levels carry `SD_OVERLAP`.
    pub fn has_overlap(self) -> bool {
        self != Self::Newest
    }

    /// Whether every level carries `SD_LOAD_BALANCE`.
    pub fn has_load_balance(self) -> bool {
        self == Self::LoadBalanceAndOverlap
    }
}

/// Recognition of unequal capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsymCapacity {
    /// None.
    Unseen,
    /// By comparing the CPUs of a span with those of the partition.
    Classified,
}

/// What a `relax_domain_level` of `r` does to a domain at level `l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelaxDomainLevel {
    /// `l > r`: no new-idle balancing and no slow-path wake-ups; otherwise both.
    ClearAboveElseSet,
    /// `l > r`: neither.
    ClearAbove,
    /// `l >= r`: neither.
    ClearFrom,
}

/// Groups of NUMA levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlapGroups {
    /// The neighbour's child domain, even if it sticks out.
    MayStickOut,
    /// The widest of the neighbour's domains that fits.
    Fit,
}

/// Flags of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFlags {
    /// None.
    Absent,
    /// Those of the child domain as it was built, which may be removed later.
    AsBuilt,
    /// The same, but the entry group follows when levels are removed.
    EntryRepaired,
}

/// What keeps a level with one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degeneration {
    /// Flags that are not in a short list.
    ShortList,
    /// Only `SD_WAKE_AFFINE`.
    AllFlags,
}

/// Capacity of one thread of a core with several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtCapacity {
    /// On x86, `1178 / threads`.
    Gain,
    /// That of a core.
    Full,
}

impl SmtCapacity {
    /// What a multi-threaded core can do where threads share the gain.
    pub const SMT_GAIN: u64 = 1178;
}

/// The smallest capacity of a group over NUMA levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlapMinCapacity {
    /// The least value of the sum while it is being added up: the first CPU's.
    RunningSum,
    /// That of the smallest CPU.
    SmallestCpu,
}

/// The search for the highest domain with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HighestFlagDomain {
    /// Ends at the first domain without it.
    StopsAtGap,
    /// Ends there only for flags that every lower domain must have too.
    PassesGaps,
}

/// Domains with state shared by their CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlcSharing {
    /// Every level up to the last-level cache.
    EveryCacheLevel,
    /// The highest of them, and the lowest domain that holds every capacity.
    TopmostAndAsym,
}

/// Names of last-level caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlcId {
    /// The first CPU of the domain.
    FirstCpu,
    /// Small numbers that stay with the hardware's cache as long as one of its CPUs is online.
    Dense,
}

/// Files that show a domain to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugFiles {
    /// Under `/proc/sys/kernel/sched_domain`, flags as a number.
    Sysctl,
    /// Under debugfs, flags as names.
    Flags,
    /// Also the level's number and the flags of the entry group.
    FlagsAndGroups,
    /// Also the preferred CPU of the entry group.
    FlagsGroupsPreferred,
}
