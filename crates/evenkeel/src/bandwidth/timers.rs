//! The two timers of a limited group: the end of its period, and the handing on of time that was given back.
//!
//! At the end of a period the pool is filled and the throttled queues get what they lack and a nanosecond, first come,
//! first served: with -3 ms owed, 3 ms and 1 ns. Two periods in a row in which nothing ran or was throttled stop the timer.
//! Queues of other CPUs are put back by the timer's CPU itself, or asked to go on by interrupt, as the kernel has it.
//!
//! In the kernel: `start_cfs_bandwidth`, `sched_cfs_period_timer`, `distribute_cfs_runtime`,
//! `do_sched_cfs_slack_timer`, `__cfsb_csd_unthrottle`. Specified in spec 2 §14.3. Left out: the doubling of a limit whose
//! timer finds more than three periods over in one go (the kernel's loop sees a new one each time round only if handling
//! one takes longer than a period; no time passes inside it here). A timer that comes late by several periods counts
//! them all and fills the pool once.
use super::MIN_EXPIRATION;
use super::rules::RemoteUnthrottle;
use crate::ids::{CpuId, QueueId, TgId};
use crate::io::{Action, GroupTimer, IpiKind};
use crate::observe::Observer;
use crate::sched::{BOOT_NS, Sched};
use crate::time::Ns;
use alloc::vec::Vec;

impl<O: Observer> Sched<O> {
    /// Starts the period timer unless it runs.
    pub(super) fn start_period(&mut self, group: TgId, cpu: CpuId) {
        let now = self.now;
        let pool = self.pool(group);
        if pool.period_ends.is_none() {
            let at = pool.begin_period(now);
            self.arm_group_timer(cpu, group, GroupTimer::Period, at);
        }
    }

    pub(super) fn arm_group_timer(&mut self, cpu: CpuId, group: TgId, timer: GroupTimer, at: Ns) {
        self.actions.push_back(Action::GroupTimer { cpu, group, timer, at: at - BOOT_NS });
    }

    /// One of a group's timers expires on `cpu`; those of a CPU that went down have moved to another.
    pub(crate) fn group_timer(&mut self, cpu: CpuId, group: TgId, timer: GroupTimer) {
        let cpu = self.executing_cpu(cpu);
        let now = self.now;
        let slice = self.kernel.tunables.cfs_bandwidth_slice_ns;
        let Some(pool) = self.groups[group.index()].pool.as_mut() else { return };
        match timer {
            GroupTimer::Period => {
                if let Some(at) = pool.period_ends.filter(|&at| at <= now) {
                    self.period_ends(cpu, group, at);
                }
            }
            GroupTimer::Slack => {
                if pool.slack.is_some_and(|at| at <= now) {
                    pool.slack = None;
                    let late = pool.period_ends.is_some_and(|at| at <= now + MIN_EXPIRATION);
                    if pool.limit.quota.is_some() && !late && pool.runtime > slice {
                        self.distribute_cfs_runtime(cpu, group);
                    }
                }
            }
        }
        self.irq_exit(cpu);
    }

    /// The period that was to end `at` is over: the pool is filled, and throttled queues go on.
    fn period_ends(&mut self, cpu: CpuId, group: TgId, at: Ns) {
        let now = self.now;
        let rules = self.rules.queues.bandwidth;
        let pool = self.pool(group);
        pool.period_ends = None;
        if pool.limit.quota.is_none() {
            return;
        }
        let over = (now - at) / pool.limit.period + 1;
        pool.nr_periods += over;
        pool.refill(&rules);
        let throttled = !pool.throttled.is_empty();
        if pool.idle && !throttled {
            return;
        }
        pool.idle = !throttled;
        let at = pool.begin_period(now);
        if throttled {
            pool.nr_throttled += over;
            self.distribute_cfs_runtime(cpu, group);
            self.pool(group).idle = false;
        }
        self.arm_group_timer(cpu, group, GroupTimer::Period, at);
    }

    /// Throttled queues get what they lack, first come, first served.
    fn distribute_cfs_runtime(&mut self, cpu: CpuId, group: TgId) {
        let queues: Vec<QueueId> = self.pool(group).throttled.iter().copied().collect();
        let mut local = None;
        for id in queues {
            if self.pool(group).runtime == 0 {
                break;
            }
            let bandwidth = &self.queues[id.index()].bandwidth;
            if bandwidth.unthrottling || !bandwidth.throttled {
                continue;
            }
            let lacks = (1 - bandwidth.remaining).max(0) as u64;
            let pool = self.pool(group);
            let given = lacks.min(pool.runtime);
            pool.runtime -= given;
            let expiry = pool.expiry;
            let queue = &mut self.queues[id.index()];
            queue.bandwidth.remaining += given as i64;
            queue.bandwidth.expiry = expiry;
            if queue.bandwidth.remaining <= 0 {
                continue;
            }
            let there = queue.cpu;
            match self.rules.queues.bandwidth.remote {
                RemoteUnthrottle::Direct => {
                    self.update_rq_clock(there);
                    self.unthrottle_cfs_rq(id, cpu);
                }
                RemoteUnthrottle::Interrupt if there == cpu => local = Some(id),
                RemoteUnthrottle::Interrupt => self.ask_to_unthrottle(cpu, there, id),
            }
        }
        if let Some(id) = local {
            self.update_rq_clock(cpu);
            self.unthrottle_cfs_rq(id, cpu);
        }
    }

    /// The queue's own CPU puts it back, when the interrupt arrives there.
    fn ask_to_unthrottle(&mut self, from: CpuId, to: CpuId, id: QueueId) {
        self.queues[id.index()].bandwidth.unthrottling = true;
        let list = &mut self.rqs[to.index()].unthrottle_list;
        let first = list.is_empty();
        list.push_back(id);
        if first {
            self.actions.push_back(Action::Ipi { from, to, kind: IpiKind::Unthrottle });
        }
    }

    /// The interrupt has arrived: queues of this CPU that got time go on.
    pub(crate) fn unthrottle_pending(&mut self, cpu: CpuId) {
        self.update_rq_clock(cpu);
        while let Some(id) = self.rqs[cpu.index()].unthrottle_list.pop_front() {
            self.queues[id.index()].bandwidth.unthrottling = false;
            if self.queues[id.index()].bandwidth.throttled {
                self.unthrottle_cfs_rq(id, cpu);
            }
        }
    }
}
