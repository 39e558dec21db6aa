//! Limits of CPU time for task groups: quota, period, burst; who is throttled, and when it goes on.
//!
//! A limited group has a pool that is refilled with its quota every period. Each of its queues draws 5 ms at a time from
//! the pool and charges what it runs. A queue that has used up what it drew, and finds the pool empty, is *throttled*: its
//! entity leaves the queue above with all tasks below it, and its load tracking stands still, until the period timer
//! gives it time again. With 20 ms per 100 ms, a task that never sleeps on one CPU draws four times, and stops at the tick
//! that finds the fourth used up: after 20 ms with ticks of 4 ms.
//!
//! The phase of a group's periods is random in the kernel; here it comes from the seed. Timers run on the CPU whose queue
//! started them. They are actions of the scheduler that its host brings back as inputs.
//!
//! In the kernel: `__account_cfs_rq_runtime`, `throttle_cfs_rq`, `unthrottle_cfs_rq`, `sched_cfs_period_timer`,
//! `do_sched_cfs_slack_timer`, `tg_set_cfs_bandwidth`. Specified in spec 2 §4.4 and §14.3. Left out: kernels other than
//! those whose [`Throttling`](crate::queue_rules::Throttling) is modelled; the rule for a period timer that overruns
//! three times in one go (no time passes inside it here); expired limits of dying groups.
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, QueueId, TaskId, TgId};
use crate::io::{Action, GroupTimer, IpiKind};
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::rng::Rng;
use crate::sched::{BOOT_NS, Sched};
use crate::time::{MS, Ns};
use crate::workload::Bandwidth;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What a queue draws from its group's pool at a time.
const SLICE: Ns = 5 * MS;
/// What a queue that becomes empty keeps for itself.
const MIN_RUNTIME: Ns = MS;
/// How long after a return of time the slack timer hands it on.
const SLACK_PERIOD: Ns = 5 * MS;
/// So shortly before the end of a period nothing is handed on.
const MIN_EXPIRATION: Ns = 2 * MS;

/// The pool of a group (`struct cfs_bandwidth`).
#[derive(Clone, Debug)]
pub struct Pool {
    /// The limit.
    pub limit: Bandwidth,
    /// What is left of it.
    pub runtime: Ns,
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
}

/// The part of a queue in its group's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueBandwidth {
    /// Its group is limited.
    pub enabled: bool,
    /// What it has left of what it drew.
    pub remaining: i64,
    /// It is throttled itself.
    pub throttled: bool,
    /// ... since then, ns of the CPU's clock.
    pub since: Ns,
    /// It waits for its CPU to take it up again.
    pub unthrottling: bool,
    /// How many queues on its way to the root are throttled, itself included.
    pub throttle_count: u32,
    /// PELT's time when the first of them was.
    pub throttled_clock_pelt: Ns,
    /// PELT's time spent throttled so far.
    pub throttled_clock_pelt_time: Ns,
    /// The same when the queue last became empty; none while throttled.
    pub throttled_pelt_idle: Option<Ns>,
}

impl QueueBandwidth {
    /// Nothing limited.
    pub(crate) fn new() -> Self {
        Self { throttled_pelt_idle: Some(0), ..Self::default() }
    }
}

impl<O: Observer> Sched<O> {
    /// Sets or lifts the limit of a group.
    pub(crate) fn set_group_bandwidth(&mut self, group: TgId, limit: Bandwidth) {
        assert!(self.rules.queues.throttling.is_modelled(), "limits are not modelled for this kernel");
        assert!(limit.fault().is_none() && group != TgId(0), "a limit has to be possible");
        if self.groups[group.index()].pool.is_none() {
            let grid = Rng::new(self.seed, 16 + u64::from(group.0)).next_u64() % limit.period;
            self.groups[group.index()].pool = Some(Pool {
                limit,
                runtime: 0,
                idle: false,
                period_ends: None,
                grid,
                slack: None,
                throttled: VecDeque::new(),
                nr_periods: 0,
                nr_throttled: 0,
                throttled_time: 0,
            });
        }
        let queues = self.groups[group.index()].queues.clone();
        let pool = self.pool(group);
        pool.limit = limit;
        pool.refill();
        if limit.quota.is_some() {
            let cpu = self.queues[queues[0].index()].cpu;
            self.start_period(group, cpu);
        }
        for id in queues {
            let cpu = self.queues[id.index()].cpu;
            self.update_rq_clock(cpu);
            let queue = &mut self.queues[id.index()];
            queue.bandwidth.enabled = limit.quota.is_some();
            queue.bandwidth.remaining = 0;
            if queue.bandwidth.throttled {
                self.unthrottle_cfs_rq(id);
            }
        }
    }

    fn pool(&mut self, group: TgId) -> &mut Pool {
        self.groups[group.index()].pool.as_mut().expect("the group has a limit")
    }

    /// PELT's time for a queue: it stands still while the queue is throttled (spec 2 §4.4).
    #[inline]
    pub(crate) fn queue_clock_pelt(&self, id: QueueId) -> Ns {
        let queue = &self.queues[id.index()];
        let bandwidth = &queue.bandwidth;
        let now = if bandwidth.throttle_count > 0 {
            bandwidth.throttled_clock_pelt
        } else {
            self.rqs[queue.cpu.index()].clock_pelt_now()
        };
        now.wrapping_sub(bandwidth.throttled_clock_pelt_time)
    }

    /// A queue has run for `delta`.
    #[inline]
    pub(crate) fn account_cfs_rq_runtime(&mut self, id: QueueId, delta: Ns) {
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        if !bandwidth.enabled {
            return;
        }
        bandwidth.remaining -= delta as i64;
        if bandwidth.remaining > 0 || bandwidth.throttled {
            return;
        }
        if !self.assign_cfs_rq_runtime(id, SLICE) && self.queues[id.index()].curr.is_some() {
            let cpu = self.queues[id.index()].cpu;
            self.resched_curr(cpu, cpu);
        }
    }

    /// The queue draws from the pool until it has `target`; true if it has anything then.
    fn assign_cfs_rq_runtime(&mut self, id: QueueId, target: Ns) -> bool {
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
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        bandwidth.remaining += amount;
        bandwidth.remaining > 0
    }

    /// Starts the period timer unless it runs.
    fn start_period(&mut self, group: TgId, cpu: CpuId) {
        let now = self.now;
        let pool = self.pool(group);
        if pool.period_ends.is_some() {
            return;
        }
        pool.forward(now);
        let at = pool.grid;
        pool.period_ends = Some(at);
        self.arm_group_timer(cpu, group, GroupTimer::Period, at);
    }

    fn arm_group_timer(&mut self, cpu: CpuId, group: TgId, timer: GroupTimer, at: Ns) {
        self.actions.push_back(Action::GroupTimer { cpu, group, timer, at: at - BOOT_NS });
    }

    /// One of a group's timers expires on `cpu`.
    pub(crate) fn group_timer(&mut self, cpu: CpuId, group: TgId, timer: GroupTimer) {
        let now = self.now;
        let Some(pool) = self.groups[group.index()].pool.as_mut() else { return };
        match timer {
            GroupTimer::Period if pool.period_ends.is_some_and(|at| at <= now) => {
                self.period_ends(cpu, group)
            }
            GroupTimer::Slack if pool.slack.is_some_and(|at| at <= now) => {
                pool.slack = None;
                let late = pool.period_ends.is_some_and(|at| at <= now + MIN_EXPIRATION);
                if pool.limit.quota.is_some() && !late && pool.runtime > SLICE {
                    self.distribute_cfs_runtime(cpu, group);
                }
            }
            GroupTimer::Period | GroupTimer::Slack => {}
        }
        self.irq_exit(cpu);
    }

    /// A period ends: the pool is filled, and throttled queues go on.
    fn period_ends(&mut self, cpu: CpuId, group: TgId) {
        let now = self.now;
        let pool = self.pool(group);
        pool.period_ends = None;
        pool.nr_periods += 1;
        pool.refill();
        let throttled = !pool.throttled.is_empty();
        if pool.limit.quota.is_none() || (pool.idle && !throttled) {
            return;
        }
        pool.idle = !throttled;
        pool.nr_throttled += u64::from(throttled);
        pool.forward(now);
        let at = pool.grid;
        pool.period_ends = Some(at);
        if throttled {
            self.distribute_cfs_runtime(cpu, group);
        }
        self.arm_group_timer(cpu, group, GroupTimer::Period, at);
    }

    /// Throttled queues get what they lack, first come, first served; those of other CPUs are taken up there.
    fn distribute_cfs_runtime(&mut self, cpu: CpuId, group: TgId) {
        let queues: Vec<QueueId> = self.pool(group).throttled.iter().copied().collect();
        let mut local = None;
        for id in queues {
            if self.pool(group).runtime == 0 {
                break;
            }
            let bandwidth = self.queues[id.index()].bandwidth;
            if bandwidth.unthrottling {
                continue;
            }
            let lacks = (1 - bandwidth.remaining).max(0) as u64;
            let pool = self.pool(group);
            let given = lacks.min(pool.runtime);
            pool.runtime -= given;
            let queue = &mut self.queues[id.index()];
            queue.bandwidth.remaining += given as i64;
            if queue.bandwidth.remaining <= 0 {
                continue;
            }
            let there = queue.cpu;
            if there == cpu {
                local = Some(id);
                continue;
            }
            queue.bandwidth.unthrottling = true;
            let list = &mut self.rqs[there.index()].unthrottle_list;
            let first = list.is_empty();
            list.push_back(id);
            if first {
                self.actions.push_back(Action::Ipi { from: cpu, to: there, kind: IpiKind::Unthrottle });
            }
        }
        if let Some(id) = local {
            self.update_rq_clock(cpu);
            self.unthrottle_cfs_rq(id);
        }
    }

    /// The interrupt has arrived: queues of this CPU that got time go on.
    pub(crate) fn unthrottle_pending(&mut self, cpu: CpuId) {
        self.update_rq_clock(cpu);
        while let Some(id) = self.rqs[cpu.index()].unthrottle_list.pop_front() {
            self.queues[id.index()].bandwidth.unthrottling = false;
            if self.queues[id.index()].bandwidth.throttled {
                self.unthrottle_cfs_rq(id);
            }
        }
    }

    /// The first entity has come to an empty queue: it may have nothing left to run on.
    pub(crate) fn check_enqueue_throttle(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        // What runs below is looked at when it is put aside.
        if !queue.bandwidth.enabled || queue.curr.is_some() || queue.bandwidth.throttled {
            return;
        }
        self.account_cfs_rq_runtime(id, 0);
        if self.queues[id.index()].bandwidth.remaining <= 0 {
            self.throttle_cfs_rq(id);
        }
    }

    /// Throttles the queue if it has nothing left; true if it is throttled.
    pub(crate) fn check_cfs_rq_runtime(&mut self, id: QueueId) -> bool {
        let bandwidth = &self.queues[id.index()].bandwidth;
        if !bandwidth.enabled || bandwidth.remaining > 0 {
            return false;
        }
        bandwidth.throttled || self.throttle_cfs_rq(id)
    }

    /// A queue that has become empty gives back what it does not need.
    pub(crate) fn return_cfs_rq_runtime(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        let spare = queue.bandwidth.remaining - MIN_RUNTIME as i64;
        if !queue.bandwidth.enabled || queue.nr_running != 0 || spare <= 0 {
            return;
        }
        queue.bandwidth.remaining -= spare;
        let now = self.now;
        let pool = self.pool(group);
        pool.runtime += spare as u64;
        let late = pool.period_ends.is_some_and(|at| at <= now + SLACK_PERIOD + MIN_EXPIRATION);
        if pool.runtime > SLICE && !pool.throttled.is_empty() && pool.slack.is_none() && !late {
            let at = now + SLACK_PERIOD;
            pool.slack = Some(at);
            self.arm_group_timer(cpu, group, GroupTimer::Slack, at);
        }
    }

    /// All queues of the group and the groups below it on one CPU.
    fn subtree(&self, id: QueueId) -> Vec<QueueId> {
        let queue = &self.queues[id.index()];
        let mut inside = alloc::vec![false; self.groups.len()];
        inside[queue.group.index()] = true;
        // Groups come after those above them.
        for (index, group) in self.groups.iter().enumerate().skip(queue.group.index() + 1) {
            inside[index] = group.parent.is_some_and(|parent| inside[parent.index()]);
        }
        let members = self.groups.iter().zip(&inside).filter(|(_, inside)| **inside);
        members.map(|(group, _)| group.queues[queue.cpu.index()]).collect()
    }

    /// The queue stops: its entity leaves the levels above, with the counts of all tasks below. False if the pool had
    /// something left after all.
    fn throttle_cfs_rq(&mut self, id: QueueId) -> bool {
        if self.assign_cfs_rq_runtime(id, 1) {
            return false;
        }
        let queue = &self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        self.pool(group).throttled.push_back(id);
        let now = self.rqs[cpu.index()].clock_pelt_now();
        for below in self.subtree(id) {
            let bandwidth = &mut self.queues[below.index()].bandwidth;
            bandwidth.throttle_count += 1;
            if bandwidth.throttle_count == 1 {
                bandwidth.throttled_clock_pelt = now;
                self.list_del_leaf_queue(below);
            }
        }
        self.take_off_above(id);
        let clock = self.rqs[cpu.index()].clock;
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        (bandwidth.throttled, bandwidth.since) = (true, clock);
        self.emit_always(Event::Throttle { cpu, group });
        true
    }

    /// Takes the entity of a queue that is being throttled off, up to the first level with other work; above, and from
    /// the CPU, the counts.
    fn take_off_above(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        let cpu = queue.cpu;
        let counts = (queue.h_nr_queued, queue.h_nr_delayed);
        let mut idle = queue.idle_h_nr_running;
        let mut level = queue.owner;
        let mut leaves = true;
        while let Some(se) = level {
            if !self.entities[se.index()].on_rq {
                return;
            }
            if leaves {
                let delayed = self.entities[se.index()].sched_delayed;
                let mark = if delayed { Dequeue::DELAYED } else { Dequeue::empty() };
                self.dequeue_entity(se, Dequeue::SLEEP | Dequeue::SPECIAL | mark);
            } else {
                self.update_load_avg(se, Membership::Quiet);
                self.se_update_runnable(se);
            }
            if self.se_is_idle(se) {
                idle = counts.0;
            }
            let above = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
            above.h_nr_queued -= counts.0;
            above.h_nr_delayed -= counts.1;
            above.idle_h_nr_running -= idle;
            leaves &= above.load_weight == 0;
            level = self.entities[se.index()].parent;
        }
        self.rqs[cpu.index()].nr_running -= counts.0;
    }

    /// The queue goes on; the CPU's clock is up to date.
    fn unthrottle_cfs_rq(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        queue.bandwidth.throttled = false;
        let since = queue.bandwidth.since;
        let clock = self.rqs[cpu.index()].clock;
        let pool = self.pool(group);
        pool.throttled_time += clock - since;
        pool.throttled.retain(|other| *other != id);
        let now = self.rqs[cpu.index()].clock_pelt_now();
        for below in self.subtree(id) {
            let queue = &mut self.queues[below.index()];
            let bandwidth = &mut queue.bandwidth;
            bandwidth.throttle_count -= 1;
            if bandwidth.throttle_count == 0 {
                bandwidth.throttled_clock_pelt_time += now - bandwidth.throttled_clock_pelt;
                if !queue.is_fully_decayed() {
                    self.list_add_leaf_queue(below);
                }
            }
        }
        self.put_back_above(id);
        self.emit_always(Event::Unthrottle { cpu, group });
        if self.rqs[cpu.index()].curr.is_none() && self.root(cpu).nr_running > 0 {
            self.resched_curr(cpu, cpu);
        }
    }

    /// Puts the entity of a queue that goes on back on the levels above, with the counts of all tasks below.
    fn put_back_above(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        if queue.load_weight == 0 {
            return;
        }
        let cpu = queue.cpu;
        let counts = (queue.h_nr_queued, queue.h_nr_delayed);
        let mut idle = queue.idle_h_nr_running;
        let mut level = queue.owner;
        let mut joins = true;
        while let Some(se) = level {
            if joins && self.entities[se.index()].sched_delayed {
                // What was to leave anyway leaves now, and comes back as one that wakes up.
                self.dequeue_entity(se, Dequeue::SLEEP | Dequeue::DELAYED);
            }
            joins &= !self.entities[se.index()].on_rq;
            if joins {
                self.enqueue_entity(se, Enqueue::WAKEUP);
            } else {
                self.update_load_avg(se, Membership::Keep);
                self.se_update_runnable(se);
            }
            if self.se_is_idle(se) {
                idle = counts.0;
            }
            let above = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
            above.h_nr_queued += counts.0;
            above.h_nr_delayed += counts.1;
            above.idle_h_nr_running += idle;
            if above.bandwidth.throttled {
                return;
            }
            level = self.entities[se.index()].parent;
        }
        for _ in 0..counts.0 {
            self.add_nr_running(cpu);
        }
    }

    /// Whether something above a queue, or the queue itself, is throttled.
    #[inline]
    pub fn throttled_hierarchy(&self, id: QueueId) -> bool {
        self.queues[id.index()].bandwidth.throttle_count > 0
    }

    /// Whether the task's group is throttled on a CPU, so that it should not move from or to there.
    #[doc(alias = "throttled_lb_pair")]
    pub(crate) fn group_throttled(&self, task: TaskId, cpu: CpuId) -> bool {
        self.throttled_hierarchy(self.groups[self.tasks[task].group.index()].queues[cpu.index()])
    }
}

impl Pool {
    /// A new period's quota; what is left of the old ones is kept up to the burst.
    fn refill(&mut self) {
        if let Some(quota) = self.limit.quota {
            self.runtime = (self.runtime + quota).min(quota + self.limit.burst);
        }
    }

    /// The first end of a period after `now`.
    fn forward(&mut self, now: Ns) {
        if self.grid <= now {
            self.grid += ((now - self.grid) / self.limit.period + 1) * self.limit.period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_kept_up_to_the_burst() {
        // Spec 2 §17.12: quota 20 ms, burst 10 ms; leftovers of 7 and 15 ms.
        let limit = Bandwidth { quota: Some(20 * MS), period: 100 * MS, burst: 10 * MS };
        let pool = |runtime| Pool {
            limit,
            runtime,
            idle: false,
            period_ends: None,
            grid: 0,
            slack: None,
            throttled: VecDeque::new(),
            nr_periods: 0,
            nr_throttled: 0,
            throttled_time: 0,
        };
        for (left, expected) in [(7, 27), (15, 30), (0, 20)] {
            let mut pool = pool(left * MS);
            pool.refill();
            assert_eq!(pool.runtime, expected * MS);
        }
        let mut pool = pool(0);
        pool.forward(0);
        assert_eq!(pool.grid, 100 * MS, "a period never ends at once");
        pool.forward(350 * MS);
        assert_eq!(pool.grid, 400 * MS);
    }
}
