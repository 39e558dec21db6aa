//! Limits that are set, changed and lifted, and CPUs that come and go under a limit.
//!
//! A change fills the pool, takes what queues had drawn from them, and lets throttled ones go on: they run until their
//! first charge finds out what the new limit is. The phase of a group's periods is random in the kernel; here it comes
//! from the seed.
//!
//! A CPU that goes down lets its throttled queues go on at once and limits them no more, so that their tasks can be pushed
//! away; what the queues of other CPUs have left is their own. When it comes back its queues are limited again.
//!
//! In the kernel: `tg_set_cfs_bandwidth`, `unthrottle_offline_cfs_rqs`, `update_runtime_enabled`. Specified in spec 2
//! §14.3 and §18.2, spec 4 §11.3. Left out: limits of groups that are removed (no group ever is).
use super::pool::Pool;
use super::rules::Throttling;
use crate::ids::{CpuId, TgId};
use crate::observe::Observer;
use crate::rng::Rng;
use crate::sched::Sched;
use crate::workload::Bandwidth;

impl<O: Observer> Sched<O> {
    /// Sets or lifts the limit of a group.
    pub(crate) fn set_group_bandwidth(&mut self, group: TgId, limit: Bandwidth) {
        assert!(limit.fault().is_none() && group != TgId(0), "a limit has to be possible");
        if self.groups[group.index()].pool.is_none() {
            let grid = Rng::new(self.seed, 16 + u64::from(group.0)).next_u64() % limit.period;
            self.groups[group.index()].pool = Some(Pool::new(limit, grid));
        }
        let rules = self.rules.queues.bandwidth;
        let queues = self.groups[group.index()].queues.clone();
        let pool = self.pool(group);
        pool.limit = limit;
        pool.refill(&rules);
        if limit.quota.is_some() {
            let cpu = self.executing_cpu(self.queues[queues[0].index()].cpu);
            self.start_period(group, cpu);
        }
        for id in queues {
            let cpu = self.queues[id.index()].cpu;
            self.update_rq_clock(cpu);
            let active = self.rqs[cpu.index()].active;
            let queue = &mut self.queues[id.index()];
            queue.bandwidth.enabled = limit.quota.is_some() && active;
            queue.bandwidth.remaining = 0;
            if queue.bandwidth.throttled {
                // Tasks that leave limbo find out at once whether their queue has anything left.
                queue.bandwidth.remaining = i64::from(rules.throttling == Throttling::PerTask);
                self.unthrottle_cfs_rq(id, cpu);
            }
        }
    }

    /// The CPU goes down: nothing is throttled there any more. Its clock is up to date.
    pub(crate) fn unthrottle_offline_cfs_rqs(&mut self, cpu: CpuId) {
        self.unthrottle_pending(cpu);
        for group in 0..self.groups.len() {
            let id = self.groups[group].queues[cpu.index()];
            let bandwidth = &mut self.queues[id.index()].bandwidth;
            if bandwidth.enabled {
                (bandwidth.enabled, bandwidth.remaining) = (false, 1);
                if bandwidth.throttled {
                    self.unthrottle_cfs_rq(id, cpu);
                }
            }
        }
    }

    /// The CPU comes back: limits hold there, too.
    pub(crate) fn update_runtime_enabled(&mut self, cpu: CpuId) {
        for group in &self.groups {
            let limited = group.pool.as_ref().is_some_and(|pool| pool.limit.quota.is_some());
            self.queues[group.queues[cpu.index()].index()].bandwidth.enabled = limited;
        }
    }
}
