//! Changes of the kernel's settings while it runs: the files an administrator may write.
//!
//! A change takes effect from the next decision that reads it, as in a kernel: no queue is re-sorted and no task moved.
//! Domain values are written to the objects of every CPU that has a level of that name. Example: `imbalance_pct` of the
//! level `MC` from 117 to 105 makes the next pass of each CPU move work for a difference of 6 % instead of 18 %.
//!
//! In the kernel: debugfs `sched/` and `sched/domains/cpuN/domainM/`. Specified in spec 3 §14, spec 2 §1.3 and §2.5.
use crate::ids::TgId;
use crate::kernel::Features;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::Ns;
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

    /// Applies a change from outside.
    pub(crate) fn tune(&mut self, tune: Tune) {
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
        self.emit(|_| Event::Changed(tune));
    }
}
