//! Switching: tick, block, yield, exit, the stopper thread, and `schedule` which they lead to.
//!
//! In the kernel: `sched_tick`, `__schedule`, `migration_cpu_stop`, the idle loop. Specified in spec 2 §5.3 and §16,
//! spec 4 §11.1. Left out: `yield_to`, which only hypervisors call.
use crate::fair::{Dequeue, Enqueue};
use crate::ids::{CpuId, TaskId};
use crate::io::Action;
use crate::load_avg::Membership;
use crate::observe::{Event, MigrateReason, Observer, PrevState, Running};
use crate::pick::hrtick::Occasion;
use crate::queue_rules::{AvgIdle, Detachment, LoadTracking, Yielding};
use crate::rq::StopWork;
use crate::sched::Sched;
use crate::task::{OnRq, TaskState};
use crate::workload::Class;

impl<O: Observer> Sched<O> {
    /// Asks `cpu` to reschedule; `from` executes this.
    #[inline]
    pub(crate) fn resched_curr(&mut self, from: CpuId, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        if !rq.need_resched {
            rq.need_resched = true;
            self.actions.push_back(Action::Resched { from, cpu });
        }
    }

    /// At the end of an interrupt a CPU notices any request to reschedule, also one whose own interrupt is under way.
    pub(crate) fn irq_exit(&mut self, cpu: CpuId) {
        if self.rqs[cpu.index()].need_resched {
            let asked = Action::Resched { from: cpu, cpu };
            if !self.actions.contains(&asked) {
                self.actions.push_back(asked);
            }
        } else {
            self.ask_for_throttle_work(cpu);
        }
    }

    /// The scheduler tick (spec 2 §16.1).
    pub(crate) fn sched_tick(&mut self, cpu: CpuId) {
        self.update_rq_clock(cpu);
        if let Some(curr) = self.rqs[cpu.index()].curr {
            self.task_tick(cpu, curr);
        }
        if self.rules.queues.load_tracking == LoadTracking::ScaledContributions {
            self.cpu_load_update(cpu);
        }
        self.rqs[cpu.index()].idle_balance = self.idle_cpu(cpu);
        self.sched_balance_trigger(cpu);
        self.irq_exit(cpu);
        self.return_to_user(cpu);
    }

    /// The idle loop begins.
    pub(crate) fn idle_enter(&mut self, cpu: CpuId, stop_tick: bool) {
        if self.rqs[cpu.index()].curr.is_some() {
            return;
        }
        self.nohz_run_idle_balance(cpu);
        if stop_tick {
            self.nohz_balance_enter_idle(cpu);
        }
        self.emit(|_| Event::IdleEnter { cpu, tick_stopped: stop_tick });
    }

    /// Reschedules if that was asked for and not served meanwhile.
    pub(crate) fn schedule_if_needed(&mut self, cpu: CpuId) {
        if self.rqs[cpu.index()].need_resched {
            self.schedule(cpu);
        } else if self.rqs[cpu.index()].throttle_work {
            self.throttle_cfs_rq_work(cpu);
        }
    }

    /// The running task goes to sleep.
    pub(crate) fn block(&mut self, cpu: CpuId) {
        let task = self.running_task(cpu);
        self.begin_schedule(cpu);
        self.tasks[task].state = TaskState::Sleeping;
        if self.dequeue_task(cpu, task, Dequeue::SLEEP) {
            self.tasks[task].on_rq = OnRq::No;
        }
        self.switch_to_next(cpu, Running::Task(task));
    }

    /// The running task ends.
    pub(crate) fn exit(&mut self, cpu: CpuId) {
        let task = self.running_task(cpu);
        self.emit(|_| Event::Exit { cpu, task });
        self.with_process(task, |process| process.threads -= 1);
        self.tasks[task].llc.compares = false;
        self.begin_schedule(cpu);
        self.tasks[task].state = TaskState::Dead;
        let gone = self.dequeue_task(cpu, task, Dequeue::SLEEP | Dequeue::SPECIAL);
        assert!(gone, "a dying task is never delayed");
        self.tasks[task].on_rq = OnRq::No;
        self.switch_to_next(cpu, Running::Task(task));
        if self.is_fair(task) {
            self.remove_entity_load_avg(task, false);
        } else {
            self.forget_deadline(task);
        }
    }

    /// The running task yields (spec 2 §6.7 and the switches of §1.2).
    pub(crate) fn sched_yield(&mut self, cpu: CpuId) {
        let task = self.running_task(cpu);
        self.rqs[cpu.index()].stats.yld_count += 1;
        if !self.is_fair(task) {
            self.yield_urgent(cpu, task);
        } else if self.rqs[cpu.index()].nr_running > 1 {
            let se = self.tasks[task].se;
            self.clear_buddies(se);
            self.update_rq_clock(cpu);
            let id = self.entities[se.index()].cfs_rq;
            self.update_curr(id);
            let rules = self.rules();
            match rules.queues.yielding {
                Yielding::SkipOnce => self.set_skip_buddy(se),
                Yielding::RestOfSlice | Yielding::RestOfSliceForAnother => {
                    self.queues[id.index()].yield_slice(&mut self.entities, se, &rules);
                }
            }
        }
        self.schedule(cpu);
    }

    /// A real-time task goes behind those of its priority, a deadline task gives up the rest of its runtime.
    fn yield_urgent(&mut self, cpu: CpuId, task: TaskId) {
        self.update_rq_clock(cpu);
        match self.class(task) {
            Class::Deadline => self.yield_dl(cpu, task),
            Class::RealTime | Class::Fair => {
                self.requeue_rt(cpu, task);
            }
        }
    }

    fn running_task(&self, cpu: CpuId) -> TaskId {
        self.rqs[cpu.index()].curr.expect("a task runs on this CPU")
    }

    /// Picks the next task and switches to it (`__schedule`).
    pub(crate) fn schedule(&mut self, cpu: CpuId) {
        self.begin_schedule(cpu);
        let prev = self.running(cpu);
        self.switch_to_next(cpu, prev);
    }

    /// The clock is brought to the present, unless the wake-up that asked for this has just done so: then the time since
    /// is charged at the next update, to whoever runs then (spec 2 §4.5). Until the switch, requests to reschedule are
    /// moot: they are what is being served.
    pub(crate) fn begin_schedule(&mut self, cpu: CpuId) {
        if !core::mem::take(&mut self.rqs[cpu.index()].skips_clock_update) {
            self.update_rq_clock(cpu);
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.throttle_work = false;
        rq.stats.sched_count = rq.stats.sched_count.wrapping_add(1);
        rq.need_resched = true;
    }

    /// The second half of `__schedule`: pick, put the previous task, set the next one.
    pub(crate) fn switch_to_next(&mut self, cpu: CpuId, prev: Running) {
        if let Running::Task(prev) = prev {
            self.pull_urgent(cpu, prev);
        }
        let next = self.pick_next_task(cpu, prev);
        self.rqs[cpu.index()].need_resched = false;
        let next_running = next.map_or(Running::Idle, Running::Task);
        if next_running == prev {
            if let Some(next) = next {
                self.hrtick_start(cpu, next, Occasion::PickedAgain);
            }
            self.ask_for_throttle_work(cpu);
            self.return_to_user(cpu);
            return;
        }
        if prev == Running::Idle && self.rules.queues.avg_idle == AvgIdle::LeavingIdle {
            self.fold_idle_period(cpu);
        }
        match (prev, next) {
            (Running::Task(prev), Some(next)) => self.switch_task(cpu, prev, next),
            (Running::Task(prev), None) => {
                self.put_prev_task(prev);
                self.set_next_idle(cpu);
            }
            (Running::Idle | Running::Stopper, Some(next)) => self.set_next_task(cpu, next, true),
            (Running::Idle | Running::Stopper, None) => self.set_next_idle(cpu),
        }
        let prev_state = match prev {
            Running::Task(prev) => self.leave_cpu(cpu, prev),
            Running::Idle | Running::Stopper => PrevState::Runnable,
        };
        if let Some(next) = next {
            self.arrive_on_cpu(cpu, next);
        }
        self.rqs[cpu.index()].stopper_running = false;
        self.rqs[cpu.index()].curr = next;
        if let Some(next) = next {
            self.hrtick_start(cpu, next, Occasion::Switch);
        }
        self.emit(|_| Event::Switch { cpu, prev, prev_state, next: next_running });
        if let Running::Task(_) | Running::Idle = prev {
            let prev = if let Running::Task(task) = prev { Some(task) } else { None };
            self.actions.push_back(Action::Switched { cpu, prev, next });
        }
        self.ask_for_throttle_work(cpu);
        if self.rqs[cpu.index()].urgent > 1 && next.is_some_and(|next| !self.is_fair(next)) {
            self.push_urgent(cpu, cpu);
        }
        self.return_to_user(cpu);
    }

    fn pick_next_task(&mut self, cpu: CpuId, prev: Running) -> Option<TaskId> {
        loop {
            if self.rqs[cpu.index()].urgent != 0
                && let Some(task) = self.pick_urgent(cpu)
            {
                return Some(task);
            }
            let looks_again = self.rules.queues.idle_looks_again;
            if prev == Running::Idle && self.rqs[cpu.index()].nr_running == 0 && !looks_again {
                return None;
            }
            if let Some(task) = self.pick_task_fair(cpu) {
                return Some(task);
            }
            // Work of another class may be the stopper's alone, which comes by itself.
            let found = self.sched_balance_newidle(cpu);
            if found <= 0 && self.rqs[cpu.index()].urgent == 0 && self.root(cpu).h_nr_queued == 0 {
                return None;
            }
        }
    }

    /// The idle task becomes current.
    fn set_next_idle(&mut self, cpu: CpuId) {
        self.rqs[cpu.index()].hrtick = None;
        let stats = &mut self.rqs[cpu.index()].stats;
        stats.sched_goidle = stats.sched_goidle.wrapping_add(1);
        self.update_idle_core(cpu);
        self.update_idle_rq_clock_pelt(cpu);
    }

    /// If all other threads of the core are idle too, remember that there is an idle core (spec 4 §2).
    fn update_idle_core(&mut self, cpu: CpuId) {
        if !self.topo.smt_active {
            return;
        }
        let Some(shared) = self.search_shared(cpu) else { return };
        if !self.topo.shared[shared.index()].has_idle_cores && self.is_core_idle(cpu) {
            self.topo.shared[shared.index()].has_idle_cores = true;
        }
    }

    /// Accounting of the task that leaves (`sched_info_depart`); the state it leaves in.
    pub(crate) fn leave_cpu(&mut self, cpu: CpuId, task: TaskId) -> PrevState {
        let rq = &mut self.rqs[cpu.index()];
        let p = &mut self.tasks[task];
        rq.stats.rq_cpu_time += rq.clock - p.last_arrival;
        match p.state {
            TaskState::Running => {
                p.last_queued = rq.clock;
                PrevState::Runnable
            }
            TaskState::Dead => PrevState::Dead,
            _ => PrevState::Sleeping,
        }
    }

    /// Accounting of the task that comes (`sched_info_arrive`).
    fn arrive_on_cpu(&mut self, cpu: CpuId, task: TaskId) {
        self.end_wait(cpu, task);
        let rq = &mut self.rqs[cpu.index()];
        let p = &mut self.tasks[task];
        p.last_arrival = rq.clock;
        p.pcount += 1;
        rq.stats.pcount += 1;
    }

    /// Hands work to the stopper thread of `cpu`, which counts as runnable until it has run.
    pub(crate) fn queue_stop_work(&mut self, from: CpuId, cpu: CpuId, work: StopWork) {
        let first = self.rqs[cpu.index()].stop_works.is_empty();
        self.rqs[cpu.index()].stop_works.push_back(work);
        if first {
            self.add_nr_running(cpu);
            self.actions.push_back(Action::StopCpu { from, cpu });
        }
    }

    /// The stopper thread preempts what runs, does its work, and sleeps again.
    pub(crate) fn run_stopper(&mut self, cpu: CpuId) {
        if self.rqs[cpu.index()].stop_works.is_empty() {
            return;
        }
        self.update_rq_clock(cpu);
        let prev = self.running(cpu);
        let before = self.rqs[cpu.index()].curr;
        let mut prev_state = PrevState::Runnable;
        if prev == Running::Idle && self.rules.queues.avg_idle == AvgIdle::LeavingIdle {
            self.fold_idle_period(cpu);
        }
        if let Running::Task(task) = prev {
            self.put_prev_task(task);
            prev_state = self.leave_cpu(cpu, task);
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.curr = None;
        rq.stopper_running = true;
        rq.need_resched = false;
        self.emit(|_| Event::Switch { cpu, prev, prev_state, next: Running::Stopper });
        while let Some(&work) = self.rqs[cpu.index()].stop_works.front() {
            match work {
                StopWork::ActiveBalance { gathers } => self.active_load_balance(cpu, gathers),
                StopWork::Migrate(task, dest) => self.migration_cpu_stop(cpu, task, dest),
            }
            self.rqs[cpu.index()].stop_works.pop_front();
        }
        self.update_rq_clock(cpu);
        self.rqs[cpu.index()].nr_running -= 1;
        self.begin_schedule(cpu);
        self.switch_to_next(cpu, Running::Stopper);
        let after = self.rqs[cpu.index()].curr;
        if before != after {
            self.actions.push_back(Action::Switched { cpu, prev: before, next: after });
        }
    }

    /// Moves a task away from this CPU, if it is still here and queued (spec 4 §11.1).
    fn migration_cpu_stop(&mut self, cpu: CpuId, task: TaskId, dest: CpuId) {
        if self.rqs[cpu.index()].ttwu_pending {
            self.sched_ttwu_pending(cpu);
        }
        let p = &self.tasks[task];
        if p.cpu != cpu || !p.allowed.contains(dest) || dest == cpu {
            return;
        }
        match p.on_rq {
            OnRq::Queued => {
                let reason =
                    if p.allowed.contains(cpu) { MigrateReason::Exec } else { MigrateReason::Affinity };
                self.move_queued_task(cpu, task, dest, reason);
            }
            OnRq::No => self.tasks[task].wake_cpu = dest,
            OnRq::Migrating => unreachable!("nothing is in transit between inputs"),
        }
    }

    /// Takes a queued task that is not running to another CPU's queue.
    pub(crate) fn move_queued_task(&mut self, cpu: CpuId, task: TaskId, dest: CpuId, reason: MigrateReason) {
        let from = self.tasks[task].cpu;
        self.update_rq_clock(from);
        self.deactivate_task(task);
        self.set_task_cpu(task, dest, reason);
        self.update_rq_clock(dest);
        self.activate_migrated(task);
        self.wakeup_preempt(dest, task, cpu, false);
    }

    /// Takes a task off its queue to move it; the clock is up to date.
    pub(crate) fn deactivate_task(&mut self, task: TaskId) {
        let cpu = self.tasks[task].cpu;
        self.tasks[task].on_rq = OnRq::Migrating;
        let gone = self.dequeue_task(cpu, task, Dequeue::empty());
        assert!(gone, "a task that does not sleep is never delayed");
    }

    /// Puts a task that was moved on the queue of its new CPU; the clock is up to date.
    pub(crate) fn activate_migrated(&mut self, task: TaskId) {
        let cpu = self.tasks[task].cpu;
        self.enqueue_task(cpu, task, Enqueue::MIGRATED);
        self.tasks[task].on_rq = OnRq::Queued;
    }

    /// Assigns a task to a CPU (`set_task_cpu` with the fair class's hook).
    pub(crate) fn set_task_cpu(&mut self, task: TaskId, dest: CpuId, reason: MigrateReason) {
        let orig = self.tasks[task].cpu;
        if orig == dest {
            return;
        }
        self.emit_always(Event::MigrateTask { task, orig_cpu: orig, dest_cpu: dest, reason });
        if !self.is_fair(task) {
            self.tasks[task].nr_migrations += 1;
            self.move_withheld(task, dest);
            self.age_for_move(task, dest);
            self.assign_cpu(task, dest);
            return;
        }
        if self.tasks[task].on_rq != OnRq::Migrating {
            if self.tasks[task].state == TaskState::Waking {
                self.normalize_sleeper(self.tasks[task].se);
            }
            self.remove_entity_load_avg(task, true);
        } else if self.rules.queues.detachment == Detachment::AtMigration {
            let se = self.tasks[task].se;
            self.update_load_avg(se, Membership::Detach);
            self.propagate_up(se);
        }
        self.tasks[task].nr_migrations += 1;
        self.entities[self.tasks[task].se.index()].avg.last_update_time = 0;
        self.assign_cpu(task, dest);
    }

    /// Assigns a task to a CPU without any accounting.
    pub(crate) fn assign_cpu(&mut self, task: TaskId, dest: CpuId) {
        let p = &mut self.tasks[task];
        p.cpu = dest;
        p.wake_cpu = dest;
        self.assign_queue(task, dest);
    }
}
