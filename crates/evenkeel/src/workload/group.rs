//! The task groups of a workload: who shares a CPU with whom before single tasks compete.
//!
//! Groups form a tree of paths, `/` at the root. A task in `/web/front` competes with the other tasks of `/web/front` for
//! what that group gets of `/web`, which gets its part of `/`. With weights 200 and 100, two groups that both keep a CPU
//! busy get two thirds and one third of it, however many tasks each of them has.
//!
//! In the kernel: control groups with the cpu controller (`cpu.weight`, `cpu.shares`, `cpu.idle`, `cpu.max`,
//! `cpu.max.burst`). Specified in spec 2 §14. Left out: controllers other than cpu.
use super::Origin;
use crate::group::{shares_of_cpu_shares, shares_of_weight};
use crate::time::{MS, Ns, SEC, US};
use alloc::string::String;
use alloc::vec::Vec;

/// A declared task group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its path from the root group, `/a/b`. Groups on the way that are not declared have the defaults.
    pub path: String,
    /// How it competes.
    pub settings: GroupSettings,
    /// Where it was declared.
    pub origin: Option<Origin>,
}

/// What can be set of a task group; `None` leaves the default, or the present value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its part when it competes with its neighbours.
    pub share: Option<GroupShare>,
    /// Of the idle kind (`cpu.idle`): it gives way to all others.
    pub idle: Option<bool>,
    /// The most CPU time it may have.
    pub bandwidth: Option<Bandwidth>,
}

/// A group's part, in either of the two units in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupShare {
    /// `cpu.weight`: 1..=10000, 100 by default.
    Weight(u32),
    /// `cpu.shares`: 2..=262144, 1024 by default; also the unit of a task's weight (nice 0 is 1024).
    Shares(u32),
}

impl GroupShare {
    /// Values of `cpu.weight`.
    pub const WEIGHTS: core::ops::RangeInclusive<i64> = 1..=10_000;
    /// Values of `cpu.shares`.
    pub const SHARES: core::ops::RangeInclusive<i64> = 2..=262_144;

    /// The same in the scheduler's full resolution.
    pub fn full_resolution(self) -> u64 {
        match self {
            Self::Weight(weight) => shares_of_weight(u64::from(weight)),
            Self::Shares(shares) => shares_of_cpu_shares(u64::from(shares)),
        }
    }
}

/// A limit of CPU time (`cpu.max` and `cpu.max.burst`): `quota` in each `period`, over all CPUs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    /// CPU time per period, ns; `None`: no limit.
    pub quota: Option<Ns>,
    /// The period, 1 ms..=1 s.
    pub period: Ns,
    /// Unused time that may be kept for later, at most the quota.
    pub burst: Ns,
}

impl Bandwidth {
    /// No limit.
    pub const UNLIMITED: Self = Self { quota: None, period: 100 * MS, burst: 0 };

    /// What is wrong with the values, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let quota = self.quota.unwrap_or(Ns::MAX);
        if !(MS..=SEC).contains(&self.period) {
            return Some("the period of a limit is 1ms to 1s");
        }
        if !self.period.is_multiple_of(US) || self.quota.is_some_and(|quota| !quota.is_multiple_of(US)) {
            return Some("limits have whole microseconds");
        }
        if quota < MS {
            return Some("a limit is at least 1ms per period");
        }
        if self.quota.is_some_and(|quota| quota > QUOTA_MAX) {
            return Some("a limit is at most 203 days per period");
        }
        if self.burst > quota || (self.quota.is_none() && self.burst != 0) {
            return Some("a burst is at most the limit itself");
        }
        None
    }
}

/// The largest quota: `2^44` microseconds, about 203 days.
const QUOTA_MAX: Ns = (1 << 44) * US;

/// The names on a group's path; none for the root group. `None` if it is no path of a group: it has to begin with `/`,
/// and its names must not be `.`, `..` or empty.
pub fn group_path(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let names: Vec<&str> = rest.split('/').collect();
    let is_name = |name: &&str| !name.is_empty() && *name != "." && *name != "..";
    names.iter().all(is_name).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_with_a_slash_and_have_names() {
        assert_eq!(group_path("/"), Some(Vec::new()));
        assert_eq!(group_path("/a"), Some(alloc::vec!["a"]));
        assert_eq!(group_path("/a/b/"), Some(alloc::vec!["a", "b"]));
        for bad in ["", "a", "//", "/a//b", "/a/../b", "/."] {
            assert_eq!(group_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_are_those_that_the_interface_takes() {
        let limit = |quota, period, burst| Bandwidth { quota, period, burst }.fault().is_none();
        assert!(limit(Some(20 * MS), 100 * MS, 0) && limit(Some(MS), MS, MS) && limit(None, SEC, 0));
        assert!(!limit(Some(MS - US), 100 * MS, 0), "the quota has the same least value as the period");
        assert!(!limit(Some(MS), MS - US, 0) && !limit(Some(MS), SEC + US, 0));
        assert!(!limit(Some(MS), MS, MS + US) && !limit(None, MS, MS));
        assert!(!limit(Some(MS + 1), MS, 0));
    }
}
