//! How tasks come to life and back to it: fork, wake-up, the list of remote wake-ups, exec.
//!
//! A wake-up chooses a CPU (see [`select`](crate::select)), and then either puts the task on that CPU's queue at once or,
//! if the CPU is idle or does not share a cache, sends it there by interrupt: until the interrupt arrives the CPU is not
//! idle for others.
//!
//! In the kernel: `try_to_wake_up`, `ttwu_queue`, `sched_ttwu_pending`, `wake_up_new_task`, `sched_exec`. Specified in
//! spec 4 §3 and §4.
use crate::fair::Enqueue;
use crate::ids::{CpuId, TaskId};
use crate::io::{Action, IpiKind, WakeContext};
use crate::kernel::Features;
use crate::observe::{Event, MigrateReason, Observer, SelectKind};
use crate::queue_rules::{AvgIdle, VirtualTime};
use crate::rq::StopWork;
use crate::sched::Sched;
use crate::select::rules::RemoteWakeup;
use crate::task::{OnRq, TaskState};

/// `x += (sample - x) / 8`, rounded down if it `floors`, else truncated towards zero (spec 2 §16.3).
#[inline]
pub(crate) fn update_avg(avg: &mut u64, sample: u64, floors: bool) {
    let diff = sample as i64 - *avg as i64;
    let step = if floors { diff >> 3 } else { diff / 8 };
    *avg = avg.wrapping_add(step as u64);
}

impl<O: Observer> Sched<O> {
    /// Code on `cpu` wakes `task`.
    pub(crate) fn try_to_wake_up(&mut self, cpu: CpuId, task: TaskId, context: WakeContext) {
        if self.tasks[task].state != TaskState::Sleeping {
            return;
        }
        let cpu = self.executing_cpu(cpu);
        let waker = self.rqs[cpu.index()].curr;
        let target_cpu = self.tasks[task].cpu;
        self.emit(|_| Event::Waking { cpu, waker, interrupt: context.interrupt, task, target_cpu });
        if self.tasks[task].on_rq == OnRq::Queued {
            self.wake_delayed(cpu, task);
            self.count_wakeup(cpu, target_cpu);
            return;
        }
        self.tasks[task].state = TaskState::Waking;
        let target = self.select_task_rq(cpu, task, SelectKind::Wakeup, context.sync);
        let migrated = target != target_cpu;
        if migrated {
            self.set_task_cpu(task, target, MigrateReason::Wakeup);
        }
        if self.ttwu_queue_cond(cpu, task, target) {
            self.tasks[task].sched_remote_wakeup = migrated;
            let rq = &mut self.rqs[target.index()];
            rq.ttwu_pending = true;
            let first = rq.wake_list.is_empty();
            rq.wake_list.push_back(task);
            self.emit(|_| Event::WakeQueued { cpu, task, target_cpu: target });
            if first {
                self.actions.push_back(Action::Ipi { from: cpu, to: target, kind: IpiKind::WakeList });
            }
        } else {
            self.update_rq_clock(target);
            self.ttwu_do_activate(cpu, task, migrated);
        }
        self.count_wakeup(cpu, target);
    }

    /// The task sleeps but is still queued, delayed: it simply goes on waiting where it is.
    fn wake_delayed(&mut self, cpu: CpuId, task: TaskId) {
        let target = self.tasks[task].cpu;
        self.update_rq_clock(target);
        self.enqueue_task(target, task, Enqueue::WAKEUP | Enqueue::DELAYED);
        if !self.task_on_cpu(task) {
            self.wakeup_preempt(target, task, cpu, false);
        }
        self.tasks[task].state = TaskState::Running;
        self.emit(|_| Event::Wakeup { cpu, task, target_cpu: target });
    }

    /// Whether the wake-up is sent to the target by interrupt (spec 4 §4).
    fn ttwu_queue_cond(&self, cpu: CpuId, task: TaskId, target: CpuId) -> bool {
        if !self.feat(Features::TTWU_QUEUE)
            || !self.rqs[target.index()].active
            || !self.tasks[task].allowed.contains(target)
        {
            return false;
        }
        if !self.topo.cpus_share_cache(cpu, target) {
            return true;
        }
        match self.kernel.placement.remote_wakeup {
            RemoteWakeup::OtherCache => false,
            RemoteWakeup::OtherCacheOrIdle => target != cpu && self.rqs[target.index()].nr_running == 0,
        }
    }

    /// The interrupt has arrived: activates the tasks on this CPU's list, in order of arrival.
    pub(crate) fn sched_ttwu_pending(&mut self, cpu: CpuId) {
        self.update_rq_clock(cpu);
        let newest_first = self.kernel.placement.drains_newest_first;
        loop {
            let list = &mut self.rqs[cpu.index()].wake_list;
            let next = if newest_first { list.pop_back() } else { list.pop_front() };
            let Some(task) = next else { break };
            let migrated = self.tasks[task].sched_remote_wakeup;
            self.ttwu_do_activate(cpu, task, migrated);
        }
        self.rqs[cpu.index()].ttwu_pending = false;
    }

    /// Puts a woken task on its CPU's queue; `cpu` executes this, the target's clock is up to date.
    fn ttwu_do_activate(&mut self, cpu: CpuId, task: TaskId, migrated: bool) {
        let target = self.tasks[task].cpu;
        let flags = if migrated { Enqueue::WAKEUP | Enqueue::MIGRATED } else { Enqueue::WAKEUP };
        self.enqueue_task(target, task, flags);
        self.tasks[task].on_rq = OnRq::Queued;
        self.wakeup_preempt(target, task, cpu, false);
        self.tasks[task].state = TaskState::Running;
        self.emit(|_| Event::Wakeup { cpu, task, target_cpu: target });
        self.task_woken(target, task, cpu);
        if self.rules.queues.avg_idle == AvgIdle::AtWakeup {
            self.fold_idle_period(target);
        }
    }

    /// The time since the CPU last looked for work becomes part of its average idle time.
    pub(crate) fn fold_idle_period(&mut self, cpu: CpuId) {
        let rules = &self.rules.queues;
        let rq = &mut self.rqs[cpu.index()];
        if rq.idle_stamp == 0 {
            return;
        }
        update_avg(&mut rq.avg_idle, rq.clock - rq.idle_stamp, rules.avg_idle_floors);
        rq.avg_idle = rq.avg_idle.min(2 * rq.max_idle_balance_cost);
        rq.idle_stamp = 0;
        if rules.wake_avg_idle {
            rq.wake_stamp = self.now / self.tick;
            rq.wake_avg_idle = rq.avg_idle / 2;
        }
    }

    /// Counts a wake-up (`ttwu_stat`).
    fn count_wakeup(&mut self, cpu: CpuId, target: CpuId) {
        let stats = &mut self.rqs[cpu.index()].stats;
        stats.ttwu_count = stats.ttwu_count.wrapping_add(1);
        if cpu == target {
            stats.ttwu_local = stats.ttwu_local.wrapping_add(1);
            return;
        }
        let mut level = self.topo.cpus[cpu.index()].base;
        while let Some(id) = level {
            let domain = &mut self.topo.domains[id.index()];
            if domain.span.contains(target) {
                domain.stats.ttwu_wake_remote = domain.stats.ttwu_wake_remote.wrapping_add(1);
                break;
            }
            level = domain.parent;
        }
    }

    /// What runs on `cpu` creates `child` (spec 4 §3.4, spec 2 §11).
    pub(crate) fn fork(&mut self, cpu: CpuId, child: TaskId) {
        assert_eq!(self.tasks[child].state, TaskState::New, "{child:?} was forked before");
        let parent = self.rqs[cpu.index()].curr;
        self.emit(|_| Event::Fork { cpu, parent, child });
        self.emit_change(|sched| Event::Affinity {
            task: child,
            allowed: sched.tasks[child].allowed.clone(),
        });
        self.with_process(child, |process| process.threads += 1);
        self.assign_cpu(child, cpu);
        let p = &mut self.tasks[child];
        p.recent_used_cpu = cpu;
        p.state = TaskState::Running;
        let se = p.se;
        if self.rules.queues.virtual_time == VirtualTime::Minimum && self.is_fair(child) {
            self.update_rq_clock(cpu);
            self.task_fork_cfs(cpu, se);
        }
        let target = self.select_task_rq(cpu, child, SelectKind::Fork, false);
        self.assign_cpu(child, target);
        self.update_rq_clock(target);
        self.post_init_entity_util_avg(child);
        self.enqueue_task(target, child, Enqueue::INITIAL);
        self.tasks[child].on_rq = OnRq::Queued;
        self.emit(|_| Event::WakeupNew { cpu, task: child, target_cpu: target });
        self.wakeup_preempt(target, child, cpu, true);
        self.task_woken(target, child, cpu);
    }

    /// The running task calls exec: a good moment to move it, while it has little in the cache (spec 4 §3.5).
    pub(crate) fn exec(&mut self, cpu: CpuId) {
        let task = self.rqs[cpu.index()].curr.expect("a task runs on this CPU");
        self.renew_process(task);
        if !self.is_fair(task) {
            return;
        }
        let dest = self.select_task_rq_fair(cpu, task, SelectKind::Exec, false);
        if dest == cpu || !self.rqs[dest.index()].active {
            return;
        }
        // The caller waits for its own CPU's stopper, so the move happens at once.
        self.queue_stop_work(cpu, cpu, StopWork::Migrate(task, dest));
        self.run_stopper(cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_idle_time_follows_spec_2_17_12() {
        let averages = |floors: bool| {
            let mut avg = 1_000_000;
            let samples = [200_000, 200_000, 50_000, 10_000, 7, 3_000_000, 3_000_000, 900_001];
            samples.map(|sample| {
                update_avg(&mut avg, sample, floors);
                avg = avg.min(1_000_000);
                avg
            })
        };
        let truncated = [900_000, 812_500, 717_188, 628_790, 550_193, 856_418, 1_000_000, 987_501];
        assert_eq!(averages(false), truncated);
        let floored = [900_000, 812_500, 717_187, 628_788, 550_190, 856_416, 1_000_000, 987_500];
        assert_eq!(averages(true), floored);
    }
}
