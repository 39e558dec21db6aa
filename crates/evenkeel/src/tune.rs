//! Changes of the kernel's settings while it runs: the files an administrator may write.
//!
//! A change takes effect from the next decision that reads it, as in a kernel: no queue is re-sorted and no task moved.
//! Domain values are written to the objects of every CPU that has a level of that name. Example: `imbalance_pct` of the
//! level `MC` from 117 to 105 makes the next pass of each CPU move work for a difference of 6 % instead of 18 %.
//!
//! In the kernel: debugfs `sched/` and `sched/domains/cpuN/domainM/`. Specified in spec 3 §14, spec 2 §1.3 and §2.5.
use crate::ids::{TaskId, TgId};
use crate::kernel::Features;
use crate::mask::CpuMask;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::Bandwidth;
use crate::workload::Policy;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tune {
    /// `migration_cost_ns`; `u32::MAX` makes every task cache hot.
    MigrationCost {
        /// The value, ns.
        ns: u32,
    },
    /// `nr_migrate`.
    NrMigrate {
        /// Tasks looked at in one pass.
        tasks: u32,
    },
    /// `base_slice_ns`, as the file shows it: scaled by the number of CPUs.
    BaseSlice {
        /// The value, ns.
        ns: Ns,
    },
    /// A bit of `features`.
    Feature {
        /// Which; one bit.
        feature: Features,
        /// On or off.
        on: bool,
    },
    /// A value of every domain of a level.
    Domain {
        /// The level's name; none: all levels.
        level: Option<&'static str>,
        /// Which value.
        knob: DomainKnob,
        /// The value.
        value: u32,
    },
    /// `cpu.weight` or `cpu.shares` of a task group; told when [`Input::SetShares`](crate::io::Input::SetShares) comes.
    Shares {
        /// The group.
        group: TgId,
        /// Full-resolution shares.
        shares: u64,
    },
}

/// A change that was made, with what was there before, as observers are told ([`Event::Changed`]). Affinities and CPUs
/// that come and go have events of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// A setting of the kernel or the shares of a group.
    Tune {
        /// What, and the new value.
        tune: Tune,
        /// The value before, in the same unit; a feature is 0 or 1. Of a level's values that of the first domain.
        before: u64,
    },
    /// Policy, nice value or slice of a task.
    Attributes {
        /// The task.
        task: TaskId,
        /// What it had.
        before: FairAttributes,
        /// What it has now.
        after: FairAttributes,
    },
    /// A task came to another group.
    Group {
        /// The task.
        task: TaskId,
        /// Where it was.
        before: TgId,
        /// Where it is.
        after: TgId,
    },
    /// A group's limit of CPU time.
    Bandwidth {
        /// The group.
        group: TgId,
        /// What it had.
        before: Bandwidth,
        /// What it has now.
        after: Bandwidth,
    },
    /// The partitions; none: one of all CPUs that are not isolated.
    Partitions(Option<Arc<[CpuMask]>>),
}

/// What says how a task competes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FairAttributes {
    /// The policy.
    pub policy: Policy,
    /// The nice value.
    pub nice: i32,
    /// The custom slice, ns; 0: the default.
    pub slice: Ns,
}

/// The writable values of a domain (spec 3 §14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DomainKnob {
    /// `imbalance_pct`.
    ImbalancePct,
    /// `busy_factor`.
    BusyFactor,
    /// `min_interval`, ms.
    MinInterval,
    /// `max_interval`, ms.
    MaxInterval,
    /// `cache_nice_tries`.
    CacheNiceTries,
    /// `max_newidle_lb_cost`, ns: from there it rises and decays as usual.
    MaxNewidleLbCost,
}

impl DomainKnob {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ImbalancePct,
        Self::BusyFactor,
        Self::MinInterval,
        Self::MaxInterval,
        Self::CacheNiceTries,
        Self::MaxNewidleLbCost,
    ];

    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImbalancePct => "imbalance_pct",
            Self::BusyFactor => "busy_factor",
            Self::MinInterval => "min_interval",
            Self::MaxInterval => "max_interval",
            Self::CacheNiceTries => "cache_nice_tries",
            Self::MaxNewidleLbCost => "max_newidle_lb_cost",
        }
    }

    /// The values that make sense, lowest and highest: intervals of 0 would balance without end, and a group cannot be
    /// called busier when it is not.
    pub fn range(self) -> (u32, u32) {
        match self {
            Self::ImbalancePct => (100, 100_000),
            Self::BusyFactor => (1, 100_000),
            Self::MinInterval | Self::MaxInterval => (1, 100_000),
            Self::CacheNiceTries => (0, 100_000),
            Self::MaxNewidleLbCost => (0, 1_000_000_000),
        }
    }
}

impl<O: Observer> Sched<O> {
    /// The names of the levels of this machine, lowest first, as [`Tune::Domain`] takes them.
    pub fn level_names(&self) -> Vec<&'static str> {
        let mut levels: Vec<(u32, &'static str)> =
            self.topo.domains.iter().map(|domain| (domain.level, domain.name)).collect();
        levels.sort_unstable();
        levels.dedup();
        levels.into_iter().map(|(_, name)| name).collect()
    }

    /// The present value of what `tune` sets.
    fn value_of(&self, tune: Tune) -> u64 {
        let tunables = &self.kernel.tunables;
        match tune {
            Tune::MigrationCost { .. } => tunables.migration_cost_ns.into(),
            Tune::NrMigrate { .. } => tunables.nr_migrate.into(),
            Tune::BaseSlice { .. } => self.rules.base_slice,
            Tune::Feature { feature, .. } => self.feat(feature).into(),
            Tune::Domain { level, knob, .. } => {
                let is_meant = |name| level.is_none_or(|level| level == name);
                let first = self.topo.domains.iter().find(|domain| is_meant(domain.name));
                first.map_or(0, |domain| match knob {
                    DomainKnob::ImbalancePct => domain.imbalance_pct.into(),
                    DomainKnob::BusyFactor => domain.busy_factor.into(),
                    DomainKnob::MinInterval => domain.min_interval,
                    DomainKnob::MaxInterval => domain.max_interval,
                    DomainKnob::CacheNiceTries => domain.cache_nice_tries.into(),
                    DomainKnob::MaxNewidleLbCost => domain.max_newidle_lb_cost,
                })
            }
            Tune::Shares { group, .. } => self.groups[group.index()].shares,
        }
    }

    /// Sets or lifts the limit of a group and tells what it was.
    pub(crate) fn change_group_bandwidth(&mut self, group: TgId, after: Bandwidth) {
        let pool = &self.groups[group.index()].pool;
        let before = pool.as_ref().map_or(Bandwidth::UNLIMITED, |pool| pool.limit);
        self.set_group_bandwidth(group, after);
        self.emit_change(|_| Event::Changed(Changed::Bandwidth { group, before, after }));
    }

    /// Applies a change from outside.
    pub(crate) fn tune(&mut self, tune: Tune) {
        let before = self.value_of(tune);
        let tunables = &mut self.kernel.tunables;
        match tune {
            Tune::MigrationCost { ns } => tunables.migration_cost_ns = ns,
            Tune::NrMigrate { tasks } => tunables.nr_migrate = tasks,
            Tune::BaseSlice { ns } => {
                let factor = u64::from(tunables.scaling.factor(self.active.weight()));
                tunables.base_slice_normalized_ns = ns / factor;
                self.rules.base_slice = ns;
                self.rules.base_slice_normalized = ns / factor;
            }
            Tune::Feature { feature, on } => {
                self.kernel.features.set(feature, on);
                self.rules.features = self.kernel.features;
            }
            Tune::Domain { level, knob, value } => {
                for domain in &mut self.topo.domains {
                    if level.is_some_and(|level| level != domain.name) {
                        continue;
                    }
                    match knob {
                        DomainKnob::ImbalancePct => domain.imbalance_pct = value,
                        DomainKnob::BusyFactor => domain.busy_factor = value,
                        DomainKnob::MinInterval => domain.min_interval = u64::from(value),
                        DomainKnob::MaxInterval => domain.max_interval = u64::from(value),
                        DomainKnob::CacheNiceTries => domain.cache_nice_tries = value,
                        DomainKnob::MaxNewidleLbCost => domain.max_newidle_lb_cost = u64::from(value),
                    }
                }
            }
            Tune::Shares { group, shares } => self.set_group_shares(group, shares),
        }
        self.emit_change(|_| Event::Changed(Changed::Tune { tune, before }));
    }
}
