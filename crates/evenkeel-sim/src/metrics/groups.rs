//! What task groups were to get, and what they got.
//!
//! What a group *wants* is its weight's part among its neighbours: the groups and tasks directly below the same parent that
//! ever wanted a CPU. What it *got* is its part of the running time of the parent. With weights 200 and 100, and both always
//! busy, 66.7 % and 33.3 % are wanted. The two differ for good reasons too: a group that sleeps does not want its part, one
//! with fewer tasks than CPUs cannot use it, a task beside groups has its whole weight on one CPU while a group's is divided
//! over all of them, and the members are those at the end of the run (shares are averages over time).
use evenkeel::group::TaskGroup;
use evenkeel::ids::TgId;
use evenkeel::time::Ns;
use evenkeel::workload::Bandwidth;

/// Times of the tasks of a group while they were in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTimes {
    /// On a CPU.
    pub run: Ns,
    /// Runnable without a CPU.
    pub wait: Ns,
}

impl GroupTimes {
    /// Adds those of others.
    pub(crate) fn add(&mut self, other: Self) {
        self.run += other.run;
        self.wait += other.wait;
    }
}

/// The shares of a group over time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareMeter {
    shares: u64,
    since: Ns,
    /// Shares times ns.
    sum: u128,
}

impl ShareMeter {
    /// These shares from the start on.
    pub(crate) fn new(shares: u64) -> Self {
        Self { shares, since: 0, sum: 0 }
    }

    /// From now on others.
    pub(crate) fn set(&mut self, now: Ns, shares: u64) {
        self.sum += u128::from(self.shares) * u128::from(now - self.since);
        (self.shares, self.since) = (shares, now);
    }

    /// The average up to `now`.
    pub(crate) fn average(mut self, now: Ns) -> u64 {
        self.set(now, self.shares);
        let average = self.sum.checked_div(u128::from(now));
        average.map_or(self.shares, |average| u64::try_from(average).unwrap_or(u64::MAX))
    }
}

/// How a limit of CPU time was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit at the end.
    pub limit: Bandwidth,
    /// Periods that ended while the group ran.
    pub periods: u64,
    /// ... at whose end it was throttled somewhere.
    pub throttled_periods: u64,
    /// Time it was throttled, summed over CPUs, up to the last time it went on.
    pub throttled: Ns,
    /// Periods in which it used time that it had saved, on kernels that count them.
    pub bursts: u64,
    /// How much of it.
    pub burst: Ns,
}

/// A task group of a run, with its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupResult {
    /// Its path.
    pub path: String,
    /// The group above, by number; none for the root group.
    pub parent: Option<TgId>,
    /// Its shares (1024 by default), on average over the run.
    pub shares: u64,
    /// Of the idle kind.
    pub idle: bool,
    /// Tasks in it and the groups below at the end, ended ones included.
    pub tasks: u64,
    /// Times of the tasks in it and the groups below.
    pub times: GroupTimes,
    /// Of a group that has or had a limit of CPU time: how that was used.
    pub limit: Option<LimitUse>,
    /// The part of the parent's running time that its shares are worth, as a fraction of weights.
    pub wanted: (u64, u64),
    /// The part of the parent's running time that it got, as a fraction of times.
    pub got: (Ns, Ns),
}

impl GroupResult {
    /// The results of all groups: `times` and shares of each without those below, and of each task its group, its weight
    /// and whether it ever wanted a CPU there.
    pub(crate) fn of(
        groups: &[TaskGroup],
        measured: &[(GroupTimes, u64)],
        tasks: &[(TgId, u64, bool)],
    ) -> Vec<Self> {
        let mut sums: Vec<GroupTimes> = measured.iter().map(|&(times, _)| times).collect();
        let shares: Vec<u64> = measured.iter().map(|&(_, shares)| shares >> 10).collect();
        let mut counts = vec![0; groups.len()];
        let mut weights = vec![0; groups.len()];
        for &(group, weight, competed) in tasks {
            counts[group.index()] += 1;
            weights[group.index()] += if competed { weight } else { 0 };
        }
        // Parents have smaller numbers than what is below them.
        for (index, group) in groups.iter().enumerate().rev() {
            let Some(parent) = group.parent else { continue };
            let (own, count) = (sums[index], counts[index]);
            sums[parent.index()].add(own);
            counts[parent.index()] += count;
            weights[parent.index()] += if own == GroupTimes::default() { 0 } else { shares[index] };
        }
        let runs: Vec<Ns> = sums.iter().map(|times| times.run).collect();
        let result = |(index, group): (usize, &TaskGroup)| {
            let of = |all: &[u64]| group.parent.map_or(1, |parent| all[parent.index()]);
            let own = group.parent.map_or(1, |_| shares[index]);
            let ran = sums[index].run;
            Self {
                path: group.name.clone(),
                parent: group.parent,
                shares: shares[index],
                idle: group.idle,
                tasks: counts[index],
                times: sums[index],
                limit: group.pool.as_ref().map(|pool| LimitUse {
                    limit: pool.limit,
                    periods: pool.nr_periods,
                    throttled_periods: pool.nr_throttled,
                    throttled: pool.throttled_time,
                    bursts: pool.nr_bursts,
                    burst: pool.burst_time,
                }),
                wanted: (own, of(&weights)),
                got: (ran, group.parent.map_or(ran, |_| of(&runs))),
            }
        };
        groups.iter().enumerate().map(result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::group::{DEFAULT_SHARES, shares_of_weight};

    #[test]
    fn parts_are_those_among_the_neighbours_that_wanted_time() {
        let group = |name: &str, parent, shares| TaskGroup {
            name: name.into(),
            parent,
            shares,
            idle: false,
            load_avg: 0,
            pool: None,
            queues: Vec::new(),
            entities: Vec::new(),
        };
        let root = Some(TgId(0));
        let groups = [
            group("/", None, DEFAULT_SHARES),
            group("/a", root, shares_of_weight(200)),
            group("/b", root, DEFAULT_SHARES),
            group("/a/c", Some(TgId(1)), DEFAULT_SHARES),
            group("/quiet", root, DEFAULT_SHARES),
        ];
        let times = [10, 0, 30, 60, 0].map(|run| GroupTimes { run, wait: run });
        let measured: Vec<_> = times.into_iter().zip(groups.iter().map(|group| group.shares)).collect();
        // A task of nice 0 in the root group, and one there that always slept.
        let tasks = [(0, 1024, true), (0, 1024, false), (2, 335, true), (1, 15, true)]
            .map(|(g, w, c)| (TgId(g), w, c));
        let results = GroupResult::of(&groups, &measured, &tasks);
        let parts: Vec<_> = results.iter().map(|group| (group.tasks, group.wanted, group.got)).collect();
        assert_eq!(
            parts,
            [
                (4, (1, 1), (100, 100)),
                (1, (2048, 4096), (60, 100)),
                (1, (1024, 4096), (30, 100)),
                (0, (1024, 1039), (60, 60)),
                (0, (1024, 4096), (0, 100)),
            ]
        );
    }
}
