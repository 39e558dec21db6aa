//! The pool of a limited group: what it gets each period, what its queues draw from it and give back.
//!
//! With 20 ms per 100 ms and a burst of 10 ms, 7 ms that nobody used make 27 ms in the next period, 15 ms make 30. In the
//! oldest kernel leftovers expire instead: 20 ms each period, and what a queue drew and did not use is gone, too, at its
//! first charge after the period.
//!
//! In the kernel: `struct cfs_bandwidth`, `__refill_cfs_bandwidth_runtime`, `__assign_cfs_rq_runtime`,
//! `expire_cfs_rq_runtime`, `__return_cfs_rq_runtime`. Specified in spec 2 §14.3.
use super::rules::{BandwidthRules, Leftovers};
use super::{MIN_EXPIRATION, MIN_RUNTIME, SLACK_PERIOD};
use crate::ids::{QueueId, TgId};
use crate::io::GroupTimer;
use crate::observe::Observer;
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::Bandwidth;
use alloc::collections::VecDeque;

/// Of which period time is, and when that ends. Only kernels whose leftovers expire look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Number of the period.
    pub seq: u32,
    /// Its end (time of the scheduler).
    pub at: Ns,
}

/// The pool of a group (`struct cfs_bandwidth`).
#[derive(Clone, Debug)]
pub struct Pool {
    /// The limit.
    pub limit: Bandwidth,
    /// What is left of it.
    pub runtime: Ns,
    /// What was in it when the period began.
    pub runtime_at_start: Ns,
    /// Of which period it is.
    pub expiry: Expiry,
    /// Nothing was throttled in the last period: one more like that and the timer stops.
    pub idle: bool,
    /// When the period ends, while its timer runs (time of the scheduler).
    pub period_ends: Option<Ns>,
    /// Where periods begin: the end of any of them.
    pub grid: Ns,
    /// When returned time is handed on (time of the scheduler).
    pub slack: Option<Ns>,
    /// Throttled queues, longest first.
    pub throttled: VecDeque<QueueId>,
    /// Periods that have ended while the timer ran (`nr_periods`).
    pub nr_periods: u64,
    /// ... at whose end a queue was throttled (`nr_throttled`).
    pub nr_throttled: u64,
    /// Time queues were throttled, summed over CPUs (`throttled_usec`), ns.
    pub throttled_time: Ns,
    /// Periods in which saved time was used (`nr_bursts`), where they are counted.
    pub nr_bursts: u64,
    /// How much of it (`burst_usec`), ns.
    pub burst_time: Ns,
}

impl Pool {
    /// An empty one whose periods end at `grid` and every period from there.
    pub(super) fn new(limit: Bandwidth, grid: Ns) -> Self {
        Self {
            limit,
            runtime: 0,
            runtime_at_start: 0,
            expiry: Expiry::default(),
            idle: false,
            period_ends: None,
            grid,
            slack: None,
            throttled: VecDeque::new(),
            nr_periods: 0,
            nr_throttled: 0,
            throttled_time: 0,
            nr_bursts: 0,
            burst_time: 0,
        }
    }

    /// A new period's quota. What is left of the old ones is kept up to the burst, or expires.
    pub(super) fn refill(&mut self, rules: &BandwidthRules) {
        let Some(quota) = self.limit.quota else { return };
        self.runtime = match rules.leftovers {
            Leftovers::Expire => quota,
            Leftovers::Kept => {
                let runtime = self.runtime + quota;
                let saved = self.runtime_at_start.saturating_sub(runtime);
                if rules.counts_bursts && saved > 0 {
                    self.nr_bursts += 1;
                    self.burst_time += saved;
                }
                runtime.min(quota + self.limit.burst)
            }
        };
        self.runtime_at_start = self.runtime;
    }

    /// The period that `now` is in begins: it ends at the first point of the grid after `now`.
    pub(super) fn begin_period(&mut self, now: Ns) -> Ns {
        if self.grid <= now {
            self.grid += ((now - self.grid) / self.limit.period + 1) * self.limit.period;
        }
        self.expiry = Expiry { seq: self.expiry.seq.wrapping_add(1), at: self.grid };
        self.period_ends = Some(self.grid);
        self.grid
    }
}

impl<O: Observer> Sched<O> {
    pub(super) fn pool(&mut self, group: TgId) -> &mut Pool {
        self.groups[group.index()].pool.as_mut().expect("the group has a limit")
    }

    /// The queue draws from the pool until it has `target`; true if it has anything then.
    pub(super) fn assign_cfs_rq_runtime(&mut self, id: QueueId, target: Ns) -> bool {
        let queue = &self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        let wanted = target as i64 - queue.bandwidth.remaining;
        let mut amount = wanted;
        if self.pool(group).limit.quota.is_some() {
            self.start_period(group, cpu);
            let pool = self.pool(group);
            amount = wanted.min(pool.runtime as i64);
            if pool.runtime > 0 {
                pool.runtime -= amount as u64;
                pool.idle = false;
            }
        }
        let expiry = self.pool(group).expiry;
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        bandwidth.remaining += amount;
        if bandwidth.expiry.seq != expiry.seq {
            bandwidth.expiry = expiry;
        }
        bandwidth.remaining > 0
    }

    /// What the queue drew in a period that is over is gone, where leftovers expire. Debts are not.
    pub(super) fn expire_cfs_rq_runtime(&mut self, id: QueueId) {
        if self.rules.queues.bandwidth.leftovers == Leftovers::Kept {
            return;
        }
        let queue = &self.queues[id.index()];
        let (group, now) = (queue.group, self.rqs[queue.cpu.index()].clock);
        let (seq, tick) = (self.pool(group).expiry.seq, self.tick);
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        if now < bandwidth.expiry.at || bandwidth.remaining < 0 {
            return;
        }
        if bandwidth.expiry.seq == seq {
            // The pool is not over its period yet: the queue's CPU is ahead by less than a tick.
            bandwidth.expiry.at += tick;
        } else {
            bandwidth.remaining = 0;
        }
    }

    /// A queue that has become empty gives back what it does not need.
    pub(crate) fn return_cfs_rq_runtime(&mut self, id: QueueId) {
        let slice = self.kernel.tunables.cfs_bandwidth_slice_ns;
        let expires = self.rules.queues.bandwidth.leftovers == Leftovers::Expire;
        let queue = &mut self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        let spare = queue.bandwidth.remaining - MIN_RUNTIME as i64;
        if !queue.bandwidth.enabled || queue.nr_running != 0 || spare <= 0 {
            return;
        }
        queue.bandwidth.remaining -= spare;
        let until = queue.bandwidth.expiry.at;
        let now = self.now;
        let pool = self.pool(group);
        if expires && until != pool.expiry.at {
            return;
        }
        pool.runtime += spare as u64;
        let late = pool.period_ends.is_some_and(|at| at <= now + SLACK_PERIOD + MIN_EXPIRATION);
        if pool.runtime > slice && !pool.throttled.is_empty() && pool.slack.is_none() && !late {
            let at = now + SLACK_PERIOD;
            pool.slack = Some(at);
            self.arm_group_timer(cpu, group, GroupTimer::Slack, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{V4_19_0, V6_12_117};
    use crate::time::MS;

    fn pool() -> Pool {
        Pool::new(Bandwidth { quota: Some(20 * MS), period: 100 * MS, burst: 10 * MS }, 0)
    }

    #[test]
    fn leftovers_are_kept_up_to_the_burst_or_expire() {
        // Spec 2 §17.12: quota 20 ms, burst 10 ms; leftovers of 7 and 15 ms. §14.3: v4.19 has the quota.
        for (left, kept) in [(7, 27), (15, 30), (0, 20)] {
            for (kernel, expected) in [(&V6_12_117, kept), (&V4_19_0, 20)] {
                let mut pool = Pool { runtime: left * MS, ..pool() };
                pool.refill(&kernel.queues.bandwidth);
                assert_eq!(pool.runtime, expected * MS, "{}", kernel.build);
            }
        }
    }

    #[test]
    fn a_burst_is_what_was_used_beyond_the_quota() {
        let mut pool = pool();
        let rules = &V6_12_117.queues.bandwidth;
        // Two quiet periods save the burst; 26 ms of the 30 are used, then exactly 20 of 24.
        pool.refill(rules);
        pool.refill(rules);
        assert_eq!((pool.runtime, pool.nr_bursts), (30 * MS, 0));
        pool.runtime -= 26 * MS;
        pool.refill(rules);
        assert_eq!((pool.runtime, pool.nr_bursts, pool.burst_time), (24 * MS, 1, 6 * MS));
        pool.runtime -= 20 * MS;
        pool.refill(rules);
        assert_eq!((pool.runtime, pool.nr_bursts, pool.burst_time), (24 * MS, 1, 6 * MS));
    }

    #[test]
    fn periods_keep_their_grid() {
        let mut pool = pool();
        assert_eq!(pool.begin_period(0), 100 * MS, "a period never ends at once");
        assert_eq!(pool.begin_period(350 * MS), 400 * MS);
        assert_eq!(pool.expiry, Expiry { seq: 2, at: 400 * MS });
    }
}
