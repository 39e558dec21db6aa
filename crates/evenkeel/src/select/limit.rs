//! How many CPUs a wake-up may look at, by how long CPUs stay idle (`SIS_PROP`, kernels before `SIS_UTIL`).
//!
//! A CPU that is idle for short times only has no time to look far: with an average of 500 us and 25 ns a CPU, in a cache
//! of 8, the limit is beyond 8; with 100 ns of idle time it is the minimum of 4.
//!
//! In the kernel: the first half of `select_idle_cpu`. Specified in spec 4 §8.4. The time that a scan takes is not measured
//! but modelled: `CostModel::scan` for each CPU looked at.
use super::rules::IdleSearch;
use crate::ids::{CpuId, DomainId};
use crate::kernel::Features;
use crate::observe::Observer;
use crate::sched::Sched;
use crate::time::Ns;
use crate::wakeup::update_avg;

/// The fewest CPUs that are looked at.
const LEAST: i64 = 4;

/// The limit for an idle time, the average cost of a scan, and the CPUs of the cache.
fn limit(idle_time: Ns, cost: Ns, weight: u32) -> i64 {
    let (cost, span) = (cost + 1, u64::from(weight) * idle_time);
    if span > 4 * cost { (span / cost) as i64 } else { LEAST }
}

impl<O: Observer> Sched<O> {
    /// How many CPUs of the target's cache `this` may look at; none: it has no cache domain, so nothing is searched.
    pub(super) fn scan_limit_by_idle_time(&mut self, this: CpuId, llc: DomainId) -> Option<i64> {
        let own = self.topo.cpus[this.index()].sd_llc?;
        if !self.feat(Features::SIS_PROP) {
            return Some(i64::from(i32::MAX));
        }
        let cost = self.topo.domains[own.index()].avg_scan_cost;
        let weight = self.topo.domains[llc.index()].span_weight;
        let jiffies = self.jiffies();
        let rq = &mut self.rqs[this.index()];
        let idle_time = match self.kernel.placement.idle_search {
            IdleSearch::ThreePasses => rq.avg_idle / 512,
            IdleSearch::OnePassAskingPrev | IdleSearch::OnePass => {
                // What idle time is left for searching halves with every tick.
                let ticks = jiffies.saturating_sub(rq.wake_stamp).min(63);
                rq.wake_stamp += ticks;
                rq.wake_avg_idle >>= ticks;
                rq.wake_avg_idle
            }
        };
        Some(limit(idle_time, cost, weight))
    }

    /// A scan of this many CPUs by `this` has come to its end.
    pub(super) fn account_scan(&mut self, this: CpuId, looked: u64) {
        if !self.feat(Features::SIS_PROP) {
            return;
        }
        let time = looked * self.cost.scan;
        let rq = &mut self.rqs[this.index()];
        rq.wake_avg_idle = rq.wake_avg_idle.saturating_sub(time);
        if let Some(own) = self.topo.cpus[this.index()].sd_llc {
            let floors = self.rules.queues.avg_idle_floors;
            update_avg(&mut self.topo.domains[own.index()].avg_scan_cost, time, floors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_idle_times_allow_long_scans() {
        assert_eq!(limit(500_000, 199, 8), 20_000);
        assert_eq!(limit(50, 199, 8), LEAST, "400 is not more than 4 * 200");
        assert_eq!(limit(101, 199, 8), 4, "808 / 200");
        assert_eq!(limit(0, 0, 8), LEAST);
    }
}
