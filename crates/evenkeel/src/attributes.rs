//! Changes to a task that is somewhere: affinity, nice value, policy, slice.
//!
//! All follow one pattern: a queued task is taken off, a running one is put aside, the change is made, and both are undone.
//! Lag and remaining deadline survive.
//!
//! In the kernel: `__set_cpus_allowed_ptr`, `set_user_nice`, `__sched_setscheduler`, `reweight_entity`. Specified in spec 2
//! §5.6 and §6.10, spec 4 §11.2.
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, TaskId};
use crate::kernel::Features;
use crate::load_avg::Membership;
use crate::mask::CpuMask;
use crate::observe::{Event, MigrateReason, Observer};
use crate::rq::StopWork;
use crate::sched::{Sched, clamp_slice, task_weight};
use crate::select::rules::AffinityTarget;
use crate::task::{OnRq, TaskState};
use crate::time::Ns;
use crate::tune::{Changed, FairAttributes};
use crate::workload::{Class, Policy};
use alloc::sync::Arc;

impl<O: Observer> Sched<O> {
    /// Makes a change to a task that may be queued or running.
    pub(crate) fn change_task(&mut self, task: TaskId, change: impl FnOnce(&mut Self)) {
        let cpu = self.tasks[task].cpu;
        self.update_rq_clock(cpu);
        let queued = self.tasks[task].on_rq == OnRq::Queued;
        let running = self.task_on_cpu(task);
        if queued {
            self.dequeue_task(cpu, task, Dequeue::SAVE);
        }
        if running {
            self.put_prev_task(task);
        }
        change(self);
        if queued {
            self.enqueue_task(cpu, task, Enqueue::RESTORE);
        }
        if running {
            self.set_next_task(cpu, task, false);
        }
    }

    /// Makes a change that does not concern the place of a real-time or deadline task on its queue.
    fn change_in_place(&mut self, task: TaskId, change: impl FnOnce(&mut Self)) {
        if self.is_fair(task) {
            return self.change_task(task, change);
        }
        let cpu = self.tasks[task].cpu;
        self.update_rq_clock(cpu);
        if self.task_on_cpu(task) {
            self.put_prev_task(task);
        }
        change(self);
    }

    /// Changes where a task may run; if it is somewhere else it has to move. `by` executes the change.
    pub(crate) fn set_cpus_allowed(&mut self, by: CpuId, task: TaskId, allowed: &CpuMask) {
        let valid = allowed.and(&self.active);
        assert!(!valid.is_empty(), "the affinity of {task:?} must hold an active CPU");
        if *self.tasks[task].allowed == *allowed {
            return;
        }
        let dest = self.any_and_distribute(by, &valid);
        let shared = if *allowed == *self.all { self.all.clone() } else { Arc::new(allowed.clone()) };
        if self.tasks[task].state == TaskState::New {
            let p = &mut self.tasks[task];
            p.nr_cpus_allowed = shared.weight();
            p.allowed = shared;
            self.note_allowed_capacity(task);
            return;
        }
        self.emit_change(|_| Event::Affinity { task, allowed: shared.clone() });
        self.change_in_place(task, |sched| {
            let p = &mut sched.tasks[task];
            p.nr_cpus_allowed = shared.weight();
            p.allowed = shared;
            sched.note_allowed_capacity(task);
        });
        let cpu = self.tasks[task].cpu;
        if allowed.contains(cpu) {
            return;
        }
        if self.task_on_cpu(task) || self.tasks[task].state == TaskState::Waking {
            self.queue_stop_work(by, cpu, StopWork::Migrate(task, dest));
        } else if self.tasks[task].on_rq == OnRq::Queued {
            self.move_queued_task(by, task, dest, MigrateReason::Affinity);
        }
    }

    /// A CPU of the set, each call another one: the first after the caller's previous result, wrapping.
    fn any_and_distribute(&mut self, by: CpuId, valid: &CpuMask) -> CpuId {
        if self.kernel.placement.affinity_target == AffinityTarget::Lowest {
            return valid.first().expect("the set is not empty");
        }
        let previous = self.distribute[by.index()];
        let next = valid.iter_wrap(CpuId(previous + 1)).next().expect("the set is not empty");
        self.distribute[by.index()] = next.0;
        next
    }

    /// Changes policy, nice value and slice of a task.
    pub(crate) fn set_attributes(&mut self, by: CpuId, task: TaskId, policy: Policy, nice: i32, slice: Ns) {
        let attributes_before = self.attributes(task);
        if !self.is_fair(task) || policy.class() != Class::Fair {
            return self.change_policy(by, task, policy, nice, slice);
        }
        // Whatever its policy, a fair task's priority is its nice value.
        let (before, after) = (self.tasks[task].nice, nice);
        if matches!(self.tasks[task].state, TaskState::New | TaskState::Dead) {
            self.apply_attributes(task, policy, nice, slice);
            return;
        }
        self.change_task(task, |sched| sched.apply_attributes(task, policy, nice, slice));
        let after_all = self.attributes(task);
        let changed = Changed::Attributes { task, before: attributes_before, after: after_all };
        self.emit_change(|_| Event::Changed(changed));
        let cpu = self.tasks[task].cpu;
        if self.root(cpu).nr_running <= 1 || self.tasks[task].on_rq != OnRq::Queued {
            return;
        }
        if self.task_on_cpu(task) {
            if after > before {
                self.resched_curr(by, cpu);
            }
        } else if after != before {
            self.wakeup_preempt(cpu, task, by, false);
        }
    }

    fn attributes(&self, task: TaskId) -> FairAttributes {
        let p = &self.tasks[task];
        let entity = &self.entities[p.se.index()];
        let slice = if entity.custom_slice { entity.slice } else { 0 };
        FairAttributes { policy: p.policy, nice: p.nice, slice }
    }

    /// Changes the policy of a task that is real-time or deadline, or becomes so (spec 2 §5.6).
    fn change_policy(&mut self, by: CpuId, task: TaskId, policy: Policy, nice: i32, slice: Ns) {
        let cpu = self.tasks[task].cpu;
        let (old, before) = (self.tasks[task].policy, self.attributes(task));
        let (was_fair, is_fair) = (self.is_fair(task), policy.class() == Class::Fair);
        if matches!(self.tasks[task].state, TaskState::New | TaskState::Dead) {
            self.apply_attributes(task, policy, nice, slice);
            return;
        }
        self.update_rq_clock(cpu);
        let se = self.tasks[task].se;
        if was_fair && self.entities[se.index()].sched_delayed {
            // Only fair tasks are kept on a queue while they sleep.
            self.dequeue_entities(cpu, se, Dequeue::SLEEP | Dequeue::DELAYED);
        }
        let queued = self.tasks[task].on_rq == OnRq::Queued;
        let running = self.task_on_cpu(task);
        if queued {
            self.dequeue_task(cpu, task, Dequeue::SAVE);
        }
        if running {
            self.put_prev_task(task);
        }
        let in_flight = self.tasks[task].state == TaskState::Waking && self.tasks[task].sched_remote_wakeup;
        if was_fair {
            self.leave_fair(task, queued || in_flight);
        } else if policy.class() != Class::Deadline {
            self.forget_deadline(task);
        }
        self.apply_attributes(task, policy, nice, slice);
        let changed = Changed::Attributes { task, before, after: self.attributes(task) };
        self.emit_change(|_| Event::Changed(changed));
        if is_fair {
            self.join_fair(task, queued || in_flight);
        }
        if queued {
            let lowered = policy.class() == old.class() && policy.priority() < old.priority();
            let head = if lowered { Enqueue::HEAD } else { Enqueue::empty() };
            self.enqueue_task(cpu, task, Enqueue::RESTORE | head);
        }
        if running {
            // The signal of its new class begins here, not when what ran before was put aside.
            self.rqs[cpu.index()].curr = None;
            self.set_next_task(cpu, task, false);
            self.rqs[cpu.index()].curr = Some(task);
            self.resched_curr(by, cpu);
        } else if queued {
            self.wakeup_preempt(cpu, task, by, false);
            self.task_woken(cpu, task, by);
        }
    }

    /// The task's load leaves the queue of its group; `relative`: its virtual runtime is already relative to the queue's.
    fn leave_fair(&mut self, task: TaskId, relative: bool) {
        let se = self.tasks[task].se;
        self.set_throttled(task, false);
        if !relative {
            self.normalize_sleeper(se);
        }
        if self.entities[se.index()].avg.last_update_time != 0 {
            self.update_load_avg(se, Membership::Detach);
            self.propagate_up(se);
        }
    }

    /// The task's load joins the queue of its group: what is left of it, or, without `ATTACH_AGE_LOAD`, all it had when it
    /// left (spec 2 §9.1 and §9.5).
    fn join_fair(&mut self, task: TaskId, relative: bool) {
        let se = self.tasks[task].se;
        if !self.feat(Features::ATTACH_AGE_LOAD) {
            self.entities[se.index()].avg.last_update_time = 0;
        }
        self.update_load_avg(se, Membership::Quiet);
        self.entities[se.index()].avg.last_update_time = 0;
        self.update_load_avg(se, Membership::Attach);
        self.propagate_up(se);
        if !relative {
            self.denormalize_sleeper(se);
        }
    }

    fn apply_attributes(&mut self, task: TaskId, policy: Policy, nice: i32, slice: Ns) {
        let base_slice = self.rules.base_slice;
        let attached = self.is_fair(task) && policy.class() == Class::Fair;
        let p = &mut self.tasks[task];
        p.policy = policy;
        p.nice = nice;
        let new = p.state == TaskState::New;
        let entity = &mut self.entities[p.se.index()];
        entity.custom_slice = slice != 0;
        entity.slice = clamp_slice(slice, base_slice);
        let load = task_weight(policy, nice);
        if load.weight == entity.load.weight {
            return;
        }
        if new {
            entity.load = load;
            entity.avg.load_avg = entity.weight();
        } else if !attached {
            // No queue holds its load; what is left of it follows the weight.
            let before = entity.weight();
            entity.load = load;
            entity.avg.load_avg = entity.avg.load_avg * entity.weight() / before;
        } else {
            self.reweight_entity(self.tasks[task].se, load, None);
        }
    }
}
