//! What placement tells an observer on its way to a CPU: what was looked at, with the numbers, and what was decided.
//!
//! A wake-up tells first which of two CPUs it searches near ([`PlacementStep::Affine`]), then the CPUs it asked by name
//! ([`PlacementStep::Asked`]) and the search of the cache ([`PlacementStep::Scan`]). A fork or exec tells the groups of
//! each level ([`PlacementStep::Group`]) and where it went from there ([`PlacementStep::Descend`]). The choice itself is
//! [`Event::Selected`](crate::observe::Event::Selected).
use crate::balance::classify::GroupType;
use crate::ids::{CpuId, DomainId, GroupId};

/// By which rule a wake-up chose between the waker's CPU and the previous one (spec 4 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AffineRule {
    /// The waking CPU is idle (an interrupt) and shares the previous CPU's cache.
    ThisIdle,
    /// The waker is about to sleep and alone on its CPU.
    Sync,
    /// The previous CPU is idle.
    PrevIdle,
    /// The waking CPU would be less loaded, or not.
    Weight,
}

/// What a CPU that a wake-up asked by name is to it (spec 4 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskedAs {
    /// The CPU to search near.
    Target,
    /// Where the task ran last.
    Prev,
    /// Where it ran before that.
    Recent,
}

/// One step of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlacementStep {
    /// The waker's CPU and the previous one were compared.
    Affine {
        /// The waker's CPU.
        this: CpuId,
        /// The task's previous CPU.
        prev: CpuId,
        /// The one to search near.
        target: CpuId,
        /// The rule that decided.
        rule: AffineRule,
    },
    /// A CPU was asked whether it is idle and big enough.
    Asked {
        /// The CPU.
        cpu: CpuId,
        /// What it is to the task.
        role: AskedAs,
        /// It is idle, or runs only tasks of the idle policy.
        idle: bool,
        /// It is big enough for the task.
        fits: bool,
    },
    /// The cache of the target is searched.
    Scan {
        /// The level searched.
        domain: DomainId,
        /// A whole idle core is looked for.
        for_core: bool,
        /// At most this many CPUs are looked at; 0: the cache is too busy to be searched at all.
        limit: u32,
    },
    /// The slow path has summed up a group.
    Group {
        /// The level.
        domain: DomainId,
        /// The group.
        group: GroupId,
        /// It is the group of the CPU the path stands at.
        local: bool,
        /// Its class.
        kind: GroupType,
        /// Its load per capacity, where it counts.
        avg_load: u64,
        /// Its utilisation.
        util: u64,
        /// Its idle CPUs.
        idle_cpus: u32,
        /// Its tasks.
        nr_running: u32,
    },
    /// The slow path goes on in a group, or stays.
    Descend {
        /// The level.
        domain: DomainId,
        /// The group that is better than the own one; none: stay.
        to: Option<GroupId>,
        /// The CPU it stands at now.
        cpu: CpuId,
    },
}
