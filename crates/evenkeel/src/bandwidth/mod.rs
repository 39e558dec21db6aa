//! Limits of CPU time for task groups: quota, period, burst; who is throttled, and when it goes on.
//!
//! A limited group has a pool that is refilled with its quota every period. Each of its queues draws 5 ms at a time from
//! the pool and charges what it runs. A queue that has used up what it drew, and finds the pool empty, is *throttled*: what
//! is below it stops, and its load tracking stands still, until the period timer gives it time again. With 20 ms per
//! 100 ms, a task that never sleeps on one CPU draws four times, and stops at the tick that finds the fourth used up:
//! after 20 ms with ticks of 4 ms. What ran too long is owed: 3 ms more than there was leave 3 ms less for the next period.
//!
//! What stops is the whole queue ([`whole_queue`]) or each task for itself ([`per_task`]), as the kernel has it
//! ([`rules`]). The pool is in [`pool`], its timers, which are actions of the scheduler that its host brings back as inputs, in
//! [`timers`], what changes limits in [`limit`].
//!
//! In the kernel: `__account_cfs_rq_runtime`, `check_cfs_rq_runtime`, `throttle_cfs_rq`, `unthrottle_cfs_rq`,
//! `cfs_rq_clock_pelt`. Specified in spec 2 §4.4 and §14.3. Left out: what the parts say, and limits of real-time tasks.
mod limit;
mod per_task;
mod pool;
pub mod rules;
mod timers;
mod whole_queue;

pub use pool::{Expiry, Pool};

use crate::ids::{CpuId, QueueId, TaskId};
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::{MS, Ns};
use alloc::vec::Vec;
use rules::{PauseClock, ThrottlePoint, Throttling};

/// What a queue that becomes empty keeps for itself.
const MIN_RUNTIME: Ns = MS;
/// How long after a return of time the slack timer hands it on.
const SLACK_PERIOD: Ns = 5 * MS;
/// So shortly before the end of a period nothing is handed on.
const MIN_EXPIRATION: Ns = 2 * MS;

/// The part of a queue in its group's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueBandwidth {
    /// Its group is limited.
    pub enabled: bool,
    /// What it has left of what it drew.
    pub remaining: i64,
    /// Of which period that is.
    pub expiry: Expiry,
    /// It is throttled itself.
    pub throttled: bool,
    /// ... and something stands still for that since then, ns of the CPU's clock.
    pub since: Option<Ns>,
    /// It waits for its CPU to take it up again.
    pub unthrottling: bool,
    /// How many queues on its way to the root are throttled, itself included.
    pub throttle_count: u32,
    /// Its load tracking stands still.
    pub paused: bool,
    /// ... since then, by the clock that measures it.
    pub throttled_clock_pelt: Ns,
    /// Time its load tracking has stood still so far.
    pub throttled_clock_pelt_time: Ns,
    /// The same when the queue last became empty; none while it stands still.
    pub throttled_pelt_idle: Option<Ns>,
}

impl QueueBandwidth {
    /// Nothing limited.
    pub(crate) fn new() -> Self {
        Self { throttled_pelt_idle: Some(0), ..Self::default() }
    }
}

impl<O: Observer> Sched<O> {
    /// PELT's time for a queue: it stands still while the queue is paused (spec 2 §4.4).
    #[inline]
    pub(crate) fn queue_clock_pelt(&self, id: QueueId) -> Ns {
        let queue = &self.queues[id.index()];
        let bandwidth = &queue.bandwidth;
        let now = if bandwidth.paused {
            bandwidth.throttled_clock_pelt
        } else {
            self.rqs[queue.cpu.index()].clock_pelt_now()
        };
        now.wrapping_sub(bandwidth.throttled_clock_pelt_time)
    }

    /// The clock by which the pauses of a CPU's queues are measured.
    fn pause_clock(&self, cpu: CpuId) -> Ns {
        let rq = &self.rqs[cpu.index()];
        match self.rules.queues.bandwidth.pause_clock {
            PauseClock::Task => rq.clock_task,
            PauseClock::Pelt => rq.clock_pelt_now(),
        }
    }

    /// The load tracking of a queue stands still from now on.
    fn pause_load_tracking(&mut self, id: QueueId) {
        let now = self.pause_clock(self.queues[id.index()].cpu);
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        (bandwidth.paused, bandwidth.throttled_clock_pelt) = (true, now);
        self.list_del_leaf_queue(id);
    }

    /// It goes on, if it stood still.
    fn resume_load_tracking(&mut self, id: QueueId) {
        let now = self.pause_clock(self.queues[id.index()].cpu);
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        if core::mem::take(&mut bandwidth.paused) {
            bandwidth.throttled_clock_pelt_time += now - bandwidth.throttled_clock_pelt;
        }
    }

    /// The last entity of a queue has left; the CPU's clock is up to date.
    pub(crate) fn note_empty_queue(&mut self, id: QueueId) {
        self.note_pelt_idle(id);
        let bandwidth = &self.queues[id.index()].bandwidth;
        if bandwidth.throttle_count > 0 && !bandwidth.paused {
            // Only reached where tasks stop one by one: the others paused when they were throttled.
            self.pause_load_tracking(id);
        }
    }

    /// Notes how much of an empty queue's time its load tracking stood still, for tasks that leave it while asleep.
    pub(crate) fn note_pelt_idle(&mut self, id: QueueId) {
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        bandwidth.throttled_pelt_idle = (!bandwidth.paused).then_some(bandwidth.throttled_clock_pelt_time);
    }

    /// The first entity has come to an empty queue.
    pub(crate) fn note_first_entity(&mut self, id: QueueId) {
        self.check_enqueue_throttle(id);
        if self.rules.queues.bandwidth.throttling == Throttling::PerTask {
            self.resume_load_tracking(id);
        }
        self.list_add_leaf_queue(id);
    }

    /// A queue has run for `delta`.
    #[inline]
    pub(crate) fn account_cfs_rq_runtime(&mut self, id: QueueId, delta: Ns) {
        let bandwidth = &mut self.queues[id.index()].bandwidth;
        if bandwidth.enabled {
            bandwidth.remaining -= delta as i64;
            self.charge(id);
        }
    }

    /// The queue draws again if it has nothing left; if the pool has nothing either, it has to stop.
    fn charge(&mut self, id: QueueId) {
        self.expire_cfs_rq_runtime(id);
        let bandwidth = &self.queues[id.index()].bandwidth;
        if bandwidth.remaining > 0 || bandwidth.throttled {
            return;
        }
        if self.assign_cfs_rq_runtime(id, self.kernel.tunables.cfs_bandwidth_slice_ns) {
            return;
        }
        let (cpu, runs) = (self.queues[id.index()].cpu, self.queues[id.index()].curr.is_some());
        match self.rules.queues.bandwidth.point {
            ThrottlePoint::Switch if runs => self.resched_curr(cpu, cpu),
            ThrottlePoint::Switch => {}
            ThrottlePoint::Charge => {
                if self.throttle_cfs_rq(id) && runs {
                    self.task_throttle_setup_work(cpu);
                }
            }
        }
    }

    /// The first entity has come to an empty queue: it may have nothing left to run on.
    fn check_enqueue_throttle(&mut self, id: QueueId) {
        let queue = &self.queues[id.index()];
        // What runs below is looked at when it is put aside.
        if !queue.bandwidth.enabled || queue.curr.is_some() || queue.bandwidth.throttled {
            return;
        }
        self.account_cfs_rq_runtime(id, 0);
        let bandwidth = &self.queues[id.index()].bandwidth;
        if bandwidth.remaining <= 0 && !bandwidth.throttled {
            self.throttle_cfs_rq(id);
        }
    }

    /// The queue's entity is put aside: it is throttled if it has nothing left.
    pub(crate) fn check_at_put(&mut self, id: QueueId) {
        match self.rules.queues.bandwidth.point {
            ThrottlePoint::Switch => self.check_cfs_rq_runtime(id),
            ThrottlePoint::Charge => false,
        };
    }

    /// Throttles the queue if it has nothing left; true if it is throttled, and has not got time meanwhile.
    pub(crate) fn check_cfs_rq_runtime(&mut self, id: QueueId) -> bool {
        let bandwidth = &self.queues[id.index()].bandwidth;
        if !bandwidth.enabled || bandwidth.remaining > 0 {
            return false;
        }
        bandwidth.throttled || self.throttle_cfs_rq(id)
    }

    /// All queues of the group and the groups below it on one CPU, those above first.
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

    /// The queue is throttled; false if the pool had something left after all.
    fn throttle_cfs_rq(&mut self, id: QueueId) -> bool {
        if self.assign_cfs_rq_runtime(id, 1) {
            return false;
        }
        let queue = &self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        self.pool(group).throttled.push_back(id);
        let throttling = self.rules.queues.bandwidth.throttling;
        for below in self.subtree(id) {
            let queue = &mut self.queues[below.index()];
            queue.bandwidth.throttle_count += 1;
            let stands_still = match throttling {
                Throttling::WholeQueue => queue.bandwidth.throttle_count == 1,
                // Others pause when their last task leaves.
                Throttling::PerTask => queue.nr_running == 0 && !queue.bandwidth.paused,
            };
            if stands_still {
                self.pause_load_tracking(below);
            }
        }
        if throttling == Throttling::WholeQueue {
            self.take_off_above(id);
            self.queues[id.index()].bandwidth.since = Some(self.rqs[cpu.index()].clock);
        }
        self.queues[id.index()].bandwidth.throttled = true;
        self.note_throttled_tasks(cpu);
        self.emit_always(Event::Throttle { cpu, group });
        true
    }

    /// The queue goes on; the CPU's clock is up to date, and `from` executes this.
    fn unthrottle_cfs_rq(&mut self, id: QueueId, from: CpuId) {
        let throttling = self.rules.queues.bandwidth.throttling;
        let queue = &mut self.queues[id.index()];
        let (group, cpu) = (queue.group, queue.cpu);
        let bandwidth = &mut queue.bandwidth;
        if throttling == Throttling::PerTask && bandwidth.enabled && bandwidth.remaining <= 0 {
            // Tasks that had not stopped yet have used what it got: it waits for the next period.
            return;
        }
        bandwidth.throttled = false;
        let since = bandwidth.since.take();
        let clock = self.rqs[cpu.index()].clock;
        let pool = self.pool(group);
        pool.throttled_time += since.map_or(0, |since| clock - since);
        pool.throttled.retain(|other| *other != id);
        for below in self.subtree(id).into_iter().rev() {
            let bandwidth = &mut self.queues[below.index()].bandwidth;
            bandwidth.throttle_count -= 1;
            if bandwidth.throttle_count == 0 {
                self.resume_load_tracking(below);
                self.leave_limbo(below);
                if !self.is_fully_decayed(below) {
                    self.list_add_leaf_queue(below);
                }
            }
        }
        if throttling == Throttling::WholeQueue {
            self.put_back_above(id);
        }
        self.note_throttled_tasks(cpu);
        self.emit_always(Event::Unthrottle { cpu, group });
        if self.rqs[cpu.index()].curr.is_none() && self.root(cpu).nr_running > 0 {
            self.resched_curr(from, cpu);
        }
    }

    /// Notes that a task cannot run because of a limit, or can again.
    pub(crate) fn set_throttled(&mut self, task: TaskId, throttled: bool) {
        let p = &mut self.tasks[task];
        if p.throttled == throttled {
            return;
        }
        p.throttled = throttled;
        let cpu = p.cpu;
        self.emit_always(if throttled {
            Event::TaskThrottled { cpu, task }
        } else {
            Event::TaskUnthrottled { cpu, task }
        });
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
