//! The fair class: a task joins, leaves, is picked and switched, on all levels of its task groups.
//!
//! A task that blocks while it has had more than its share is not taken off at once: it stays, *delayed*, and competes
//! until it is picked, which is when it really leaves. A group whose last task leaves may stay delayed likewise.
//!
//! In the kernel: `enqueue_task_fair`, `dequeue_entities`, `pick_task_fair`, `pick_next_task_fair`,
//! `check_preempt_wakeup_fair`. Specified in spec 2 §5.2, §5.3, §6.7.
use crate::bandwidth::rules::Throttling;
use crate::entity::{CfsRq, Entity};
use crate::ids::{CpuId, QueueId, SeId, TaskId};
use crate::kernel::Features;
use crate::load_avg::Membership;
use crate::observe::{Event, Observer};
use crate::pick::cfs::wakeup_preempt_entity;
use crate::pick::eevdf::PickMode;
use crate::queue_rules::{DelayedEstimate, Resched, UtilEstUpdate, VirtualTime, WakeupPreemption};
use crate::sched::Sched;
use crate::task::OnRq;
use crate::timeline::vtime_before;
use crate::workload::Policy;
use bitflags::bitflags;

bitflags! {
    /// How a task joins a queue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Enqueue: u32 {
        /// It wakes up.
        const WAKEUP = 1;
        /// It was taken off only to change its attributes.
        const RESTORE = 2;
        /// It is new.
        const INITIAL = 4;
        /// It comes from another CPU.
        const MIGRATED = 8;
        /// It is still there, delayed.
        const DELAYED = 16;
        /// Real-time: before others of its priority.
        const HEAD = 32;
    }
}

bitflags! {
    /// How a task leaves a queue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Dequeue: u32 {
        /// It goes to sleep.
        const SLEEP = 1;
        /// It is taken off only to change its attributes.
        const SAVE = 2;
        /// It must not be delayed (it ends).
        const SPECIAL = 4;
        /// It was delayed and leaves now.
        const DELAYED = 8;
    }
}

/// By how much the counts of the queues above a task change.
#[derive(Clone, Copy, Debug)]
struct Counts {
    queued: u32,
    delayed: u32,
    idle: u32,
}

impl<O: Observer> Sched<O> {
    fn counts_of(&self, task: TaskId) -> Counts {
        let p = &self.tasks[task];
        Counts {
            queued: 1,
            delayed: u32::from(self.entities[p.se.index()].sched_delayed),
            idle: u32::from(p.policy == Policy::Idle),
        }
    }

    /// The smallest slice of a queue's entities, which its group's entity takes over.
    fn min_slice(&self, id: QueueId) -> Option<u64> {
        self.queues[id.index()].owner?;
        self.min_slice_of_any(id)
    }

    /// The same, also of a root queue.
    fn min_slice_of_any(&self, id: QueueId) -> Option<u64> {
        let queue = &self.queues[id.index()];
        let waiting = queue.timeline.entries().iter().map(|waiting| waiting.se);
        let curr = queue.queued_curr(&self.entities).map(|(se, _)| se);
        waiting.chain(curr).map(|se| self.entities[se.index()].slice).min()
    }

    /// Puts a task on its queue on `cpu`, whose clock is up to date.
    pub(crate) fn enqueue_task_fair(&mut self, cpu: CpuId, task: TaskId, flags: Enqueue) {
        if self.task_is_throttled(task) && self.enqueue_throttled_task(cpu, task) {
            return;
        }
        let p = &self.tasks[task];
        let mut counts = self.counts_of(task);
        let uncounted = counts.delayed != 0
            && match self.rules.queues.delayed_estimate {
                DelayedEstimate::AloneWhenMoved => {
                    p.on_rq == OnRq::Migrating || flags.contains(Enqueue::RESTORE)
                }
                DelayedEstimate::NeverCounted => !flags.contains(Enqueue::DELAYED),
            };
        if !uncounted {
            self.util_est_enqueue(cpu, task);
        }
        if flags.contains(Enqueue::DELAYED) {
            self.requeue_delayed_entity(self.tasks[task].se);
            self.count_llc(task);
            return;
        }
        let mut flags_here = flags;
        let mut slice = None;
        let mut throttled = false;
        let mut level = Some(self.tasks[task].se);
        while let Some(se) = level {
            if self.entities[se.index()].on_rq {
                if self.entities[se.index()].sched_delayed {
                    self.requeue_delayed_entity(se);
                }
                break;
            }
            if let Some(slice) = slice {
                self.entities[se.index()].slice = slice;
                self.entities[se.index()].custom_slice = true;
            }
            self.enqueue_entity(se, flags_here);
            slice = self.min_slice(self.entities[se.index()].cfs_rq);
            self.add_counts(se, &mut counts);
            flags_here = Enqueue::WAKEUP;
            level = self.above_unless_throttled(se, &mut throttled);
        }
        while let Some(se) = level {
            self.refresh_above(se, &mut slice);
            self.add_counts(se, &mut counts);
            level = self.above_unless_throttled(se, &mut throttled);
        }
        if !throttled {
            self.add_nr_running(cpu);
        }
        self.note_throttled(task);
        self.count_llc(task);
        self.hrtick_update(cpu);
        let clock = self.rqs[cpu.index()].clock;
        let p = &mut self.tasks[task];
        if !flags.contains(Enqueue::RESTORE) && p.last_queued == 0 {
            p.last_queued = clock;
        }
    }

    /// The entity above, unless the queue it is on is throttled: what happens there concerns nobody above.
    fn above_unless_throttled(&self, se: SeId, throttled: &mut bool) -> Option<SeId> {
        let entity = &self.entities[se.index()];
        *throttled |= self.is_cut_off(entity.cfs_rq);
        entity.parent.filter(|_| !*throttled)
    }

    fn add_counts(&mut self, se: SeId, counts: &mut Counts) {
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        queue.h_nr_queued += counts.queued;
        queue.h_nr_delayed += counts.delayed;
        queue.idle_h_nr_running += counts.idle;
        if queue.idle {
            counts.idle = counts.queued;
        }
    }

    fn sub_counts(&mut self, se: SeId, counts: &mut Counts) {
        let queue = &mut self.queues[self.entities[se.index()].cfs_rq.index()];
        queue.h_nr_queued -= counts.queued;
        queue.h_nr_delayed -= counts.delayed;
        queue.idle_h_nr_running -= counts.idle;
        if queue.idle {
            counts.idle = counts.queued;
        }
    }

    /// A level that was queued before and stays so: its load, weight and slice follow what changed below.
    fn refresh_above(&mut self, se: SeId, slice: &mut Option<u64>) {
        self.update_load_avg(se, Membership::Keep);
        self.se_update_runnable(se);
        self.update_cfs_group(se);
        if let Some(slice) = *slice {
            self.entities[se.index()].slice = slice;
        }
        *slice = self.min_slice(self.entities[se.index()].cfs_rq);
    }

    /// One more runnable task; the second one makes the root domain overloaded.
    pub(crate) fn add_nr_running(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        rq.nr_running += 1;
        if rq.nr_running == 2 {
            let root = self.topo.cpus[cpu.index()].root;
            self.topo.roots[root.index()].overloaded = true;
        }
        if self.rqs[cpu.index()].urgent != 0 {
            self.start_fair_server(cpu);
        }
    }

    /// Takes a task off its queue on `cpu`, whose clock is up to date. False if it stays, delayed.
    pub(crate) fn dequeue_task_fair(&mut self, cpu: CpuId, task: TaskId, flags: Dequeue) -> bool {
        let p = &self.tasks[task];
        let delayed = self.entities[p.se.index()].sched_delayed;
        let migrating = p.on_rq == OnRq::Migrating;
        if !flags.contains(Dequeue::SAVE) && self.rqs[cpu.index()].curr != Some(task) {
            self.end_wait(cpu, task);
        }
        if self.task_is_throttled(task) {
            self.dequeue_throttled_task(task);
            return true;
        }
        let uncounted = delayed
            && match self.rules.queues.delayed_estimate {
                DelayedEstimate::AloneWhenMoved => migrating || flags.contains(Dequeue::SAVE),
                DelayedEstimate::NeverCounted => true,
            };
        if !uncounted {
            self.util_est_dequeue(cpu, task);
        }
        let se = self.tasks[task].se;
        let sleeps = flags.contains(Dequeue::SLEEP);
        let update = self.rules.queues.util_est_update;
        if sleeps && update == UtilEstUpdate::BeforeDequeue {
            self.util_est_update(se);
        }
        if self.dequeue_entities(cpu, se, flags) {
            self.set_throttled(task, false);
            if sleeps && update == UtilEstUpdate::AfterDequeue {
                self.util_est_update(se);
            }
            return true;
        }
        self.count_llc(task);
        self.emit(|_| Event::DelayDequeue { task, cpu });
        false
    }

    /// A waiting task stops waiting (`sched_info_dequeue`).
    pub(crate) fn end_wait(&mut self, cpu: CpuId, task: TaskId) {
        let rq = &mut self.rqs[cpu.index()];
        let p = &mut self.tasks[task];
        if p.last_queued != 0 {
            let delta = rq.clock - p.last_queued;
            p.last_queued = 0;
            p.run_delay += delta;
            rq.stats.run_delay += delta;
        }
    }

    /// The walk over the levels, also for a delayed task or group that leaves after all (spec 2 §5.2).
    pub(crate) fn dequeue_entities(&mut self, cpu: CpuId, first: SeId, flags: Dequeue) -> bool {
        let sched_idle_before = self.sched_idle_cpu(cpu);
        let task = self.entities[first.index()].task;
        let mut counts = match task {
            Some(task) => self.counts_of(task),
            None => Counts { queued: 0, delayed: 0, idle: 0 },
        };
        if flags.contains(Dequeue::DELAYED) {
            // It is uncounted where its mark is cleared.
            counts.delayed = 0;
        }
        let queued = counts.queued;
        let mut flags_here = flags;
        let mut slice = None;
        let mut throttled = false;
        let mut level = Some(first);
        while let Some(se) = level {
            let id = self.entities[se.index()].cfs_rq;
            if !self.dequeue_entity(se, flags_here) {
                if se == first {
                    return false;
                }
                // It takes over the smallest slice of the queue it is on itself, not of its own: so it is.
                slice = self.min_slice_of_any(id);
                break;
            }
            self.sub_counts(se, &mut counts);
            level = self.above_unless_throttled(se, &mut throttled);
            if throttled {
                break;
            }
            if self.queues[id.index()].load_weight != 0 {
                slice = self.min_slice(id);
                if let Some(above) = level
                    && flags.contains(Dequeue::SLEEP)
                {
                    self.set_next_buddy(above);
                }
                break;
            }
            flags_here = (flags_here | Dequeue::SLEEP) - (Dequeue::DELAYED | Dequeue::SPECIAL);
        }
        while let Some(se) = level {
            self.refresh_above(se, &mut slice);
            self.sub_counts(se, &mut counts);
            level = self.above_unless_throttled(se, &mut throttled);
        }
        self.rqs[cpu.index()].nr_running -= if throttled { 0 } else { queued };
        if let Some(task) = task {
            self.uncount_llc(task);
        }
        let on = self.rqs[cpu.index()].fair_server.is_on();
        if on && self.root(cpu).h_nr_queued == 0 && !flags.contains(Dequeue::SAVE) {
            self.stop_fair_server(cpu);
        }
        if !sched_idle_before && self.sched_idle_cpu(cpu) {
            self.rqs[cpu.index()].next_balance = self.jiffies();
        }
        if let Some(task) = task
            && flags.contains(Dequeue::DELAYED)
        {
            self.tasks[task].on_rq = OnRq::No;
            self.emit(|_| Event::DelayedGone { task, cpu });
        }
        true
    }

    /// Whether an entity gives way to others: by policy, or because its group is of the idle kind.
    pub(crate) fn se_is_idle(&self, se: SeId) -> bool {
        let entity = &self.entities[se.index()];
        match (entity.task, entity.my_queue) {
            (Some(task), _) => self.tasks[task].policy == Policy::Idle,
            (None, Some(queue)) => self.queues[queue.index()].idle,
            (None, None) => false,
        }
    }

    /// Marks an entity, and those above it, as the next to run.
    fn set_next_buddy(&mut self, se: SeId) {
        self.set_mark(se, |queue| &mut queue.next);
    }

    fn set_mark(&mut self, se: SeId, mark: impl Fn(&mut CfsRq) -> &mut Option<SeId>) {
        let mut level = Some(se);
        while let Some(se) = level {
            if !self.entities[se.index()].on_rq || self.se_is_idle(se) {
                return;
            }
            let entity = &self.entities[se.index()];
            *mark(&mut self.queues[entity.cfs_rq.index()]) = Some(se);
            level = entity.parent;
        }
    }

    /// Classic CFS: the next pick passes over an entity, and those above it.
    pub(crate) fn set_skip_buddy(&mut self, se: SeId) {
        let mut level = Some(se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            self.queues[entity.cfs_rq.index()].skip = Some(se);
            level = entity.parent;
        }
    }

    /// The task to run next on `cpu`; delayed entities that are picked leave the queue on the way (spec 2 §5.3).
    pub(crate) fn pick_task_fair(&mut self, cpu: CpuId) -> Option<TaskId> {
        let rules = self.rules();
        let mut id = QueueId(cpu.0);
        let mut stops = false;
        loop {
            let queue = &self.queues[id.index()];
            if queue.nr_running == 0 {
                // Only the root queue can be found empty: a group's entity leaves with its last member.
                return None;
            }
            if queue.queued_curr(&self.entities).is_some() {
                self.update_curr(id);
            }
            if self.check_cfs_rq_runtime(id) {
                match rules.queues.bandwidth.throttling {
                    Throttling::WholeQueue => {
                        id = QueueId(cpu.0);
                        continue;
                    }
                    Throttling::PerTask => stops = true,
                }
            }
            let se = self.queues[id.index()].pick_next_entity(&self.entities, PickMode::Full, &rules);
            let entity = &self.entities[se.index()];
            if entity.sched_delayed {
                self.dequeue_entities(cpu, se, Dequeue::SLEEP | Dequeue::DELAYED);
                id = QueueId(cpu.0);
                stops = false;
                continue;
            }
            match (entity.task, entity.my_queue) {
                (Some(task), _) => {
                    if stops {
                        self.task_throttle_setup_work(cpu);
                    }
                    return Some(task);
                }
                (None, Some(queue)) => id = queue,
                (None, None) => unreachable!("an entity is a task or a group"),
            }
        }
    }

    /// The task becomes current: `picked` after another class, or again after a change.
    pub(crate) fn set_next_task_fair(&mut self, cpu: CpuId, task: TaskId, picked: bool) {
        self.note_running(cpu, task);
        let mut level = Some(self.tasks[task].se);
        while let Some(se) = level {
            self.set_next_entity(se, picked);
            // What runs must not find out at once that its new group has drawn nothing yet.
            self.account_cfs_rq_runtime(self.entities[se.index()].cfs_rq, 0);
            level = self.entities[se.index()].parent;
        }
        self.update_misfit_status(cpu, Some(task));
    }

    /// The current task no longer is, another class takes over.
    pub(crate) fn put_prev_task_fair(&mut self, task: TaskId) {
        let mut level = Some(self.tasks[task].se);
        while let Some(se) = level {
            self.put_prev_entity(se);
            level = self.entities[se.index()].parent;
        }
    }

    /// From one fair task to another: the levels they share are left alone.
    pub(crate) fn switch_fair(&mut self, cpu: CpuId, prev: TaskId, next: TaskId) {
        self.note_running(cpu, next);
        let (mut pse, mut se) = (self.tasks[prev].se, self.tasks[next].se);
        loop {
            let (p, n) = (&self.entities[pse.index()], &self.entities[se.index()]);
            if p.cfs_rq == n.cfs_rq {
                break;
            }
            let (p_depth, n_depth, p_parent, n_parent) = (p.depth, n.depth, p.parent, n.parent);
            if n_depth <= p_depth {
                self.put_prev_entity(pse);
                pse = p_parent.expect("a deeper entity has a parent");
            }
            if n_depth >= p_depth {
                self.set_next_entity(se, true);
                se = n_parent.expect("a deeper entity has a parent");
            }
        }
        self.put_prev_entity(pse);
        self.set_next_entity(se, true);
        self.update_misfit_status(cpu, Some(next));
    }

    /// The balancer looks at the tasks that ran last in the last place.
    fn note_running(&mut self, cpu: CpuId, task: TaskId) {
        if self.tasks[task].on_rq == OnRq::Queued {
            self.rqs[cpu.index()].cfs_tasks.move_to_head(&mut self.tasks, task);
        }
    }

    /// The fair part of the tick, or of the timer that ends slices (`by_timer`): account, age, and notice that a slice is
    /// used up.
    pub(crate) fn task_tick_fair(&mut self, task: TaskId, by_timer: bool) {
        let mut level = Some(self.tasks[task].se);
        while let Some(se) = level {
            self.entity_tick(se, by_timer);
            level = self.entities[se.index()].parent;
        }
    }

    /// The ancestors of two entities that are on the same queue.
    fn find_matching_se(&self, mut a: SeId, mut b: SeId) -> (SeId, SeId) {
        let parent = |se: SeId| self.entities[se.index()].parent.expect("all entities meet at the root");
        let depth = |se: SeId| self.entities[se.index()].depth;
        while depth(a) > depth(b) {
            a = parent(a);
        }
        while depth(b) > depth(a) {
            b = parent(b);
        }
        while self.entities[a.index()].cfs_rq != self.entities[b.index()].cfs_rq {
            (a, b) = (parent(a), parent(b));
        }
        (a, b)
    }

    /// `task` has become runnable on `cpu`: should it run instead of what runs there? (spec 2 §6.7, spec 4 §10)
    ///
    /// `from` is the CPU that executes this, `fork` whether the task is new. If the CPU is to reschedule now, it may not look
    /// at the clock again for that (spec 2 §4.5).
    pub(crate) fn wakeup_preempt(&mut self, cpu: CpuId, task: TaskId, from: CpuId, fork: bool) {
        self.wakeup_preempt_fair(cpu, task, from, fork);
        if !self.rules.queues.skips_clock_updates {
            return;
        }
        let rq = &mut self.rqs[cpu.index()];
        // A lazy request does not count; the idle task is always asked at once.
        let at_once = rq.curr.is_none() || self.rules.queues.resched == Resched::AtOnce;
        if rq.need_resched && at_once && rq.curr.is_none_or(|curr| self.tasks[curr].on_rq == OnRq::Queued) {
            rq.skips_clock_update = true;
        }
    }

    fn wakeup_preempt_fair(&mut self, cpu: CpuId, task: TaskId, from: CpuId, fork: bool) {
        let Some(curr) = self.rqs[cpu.index()].curr else {
            if !self.rqs[cpu.index()].stopper_running {
                self.resched_curr(from, cpu);
            }
            return;
        };
        if curr == task {
            return;
        }
        if !self.is_fair(task) || !self.is_fair(curr) {
            if self.is_more_urgent(task, curr) && !self.tasks[task].throttled {
                self.resched_curr(from, cpu);
            }
            return;
        }
        let rules = self.rules();
        let wakee = self.tasks[task].se;
        if self.tasks[task].throttled {
            return;
        }
        let crowded = || {
            let queue = &self.queues[self.entities[self.tasks[curr].se.index()].cfs_rq.index()];
            rules.queues.virtual_time != VirtualTime::Minimum || queue.nr_running >= rules.cfs.nr_latency
        };
        if rules.features.contains(Features::NEXT_BUDDY)
            && !fork
            && !self.entities[wakee.index()].sched_delayed
            && crowded()
        {
            self.set_next_buddy(wakee);
        }
        if self.rqs[cpu.index()].need_resched || !rules.features.contains(Features::WAKEUP_PREEMPTION) {
            return;
        }
        let normal = self.tasks[task].policy == Policy::Normal;
        if rules.queues.wakeup_preemption == WakeupPreemption::Granularity {
            if self.preempts_by_granularity(curr, task, normal) {
                self.resched_curr(from, cpu);
            }
            return;
        }
        let (se, pse) = self.find_matching_se(self.tasks[curr].se, wakee);
        let (curr_idle, wakee_idle) = (self.se_is_idle(se), self.se_is_idle(pse));
        if curr_idle && !wakee_idle {
            self.entities[se.index()].cancel_protect_slice(&rules);
            self.resched_curr(from, cpu);
            return;
        }
        if curr_idle != wakee_idle || !normal {
            return;
        }
        self.update_curr(self.entities[se.index()].cfs_rq);
        let preempts = match rules.queues.wakeup_preemption {
            WakeupPreemption::Granularity => unreachable!("decided above"),
            WakeupPreemption::Trial => self.preempts_by_trial(se, pse),
            WakeupPreemption::TrialShort => self.preempts_by_short_trial(se, pse),
            WakeupPreemption::Pick => self.preempts_by_pick(cpu, se, pse, fork),
        };
        if preempts {
            self.resched_curr(from, cpu);
        }
    }

    /// Classic CFS: the wakee must be behind by more than the granularity (spec 2 §7.6). What is preempted from a crowd is
    /// returned to later.
    fn preempts_by_granularity(&mut self, curr: TaskId, task: TaskId, normal: bool) -> bool {
        let rules = self.rules();
        let curr_se = self.tasks[curr].se;
        let own_queue = &self.queues[self.entities[curr_se.index()].cfs_rq.index()];
        let crowded = own_queue.nr_running >= rules.cfs.nr_latency;
        let idle_policy = |task: TaskId| self.tasks[task].policy == Policy::Idle;
        let (mut se, mut pse) = (curr_se, self.tasks[task].se);
        let preempts = if idle_policy(curr) && !idle_policy(task) {
            true
        } else if !normal {
            false
        } else {
            (se, pse) = self.find_matching_se(se, pse);
            let (curr_idle, wakee_idle) = (self.se_is_idle(se), self.se_is_idle(pse));
            if curr_idle != wakee_idle {
                curr_idle
            } else {
                self.update_curr(self.entities[se.index()].cfs_rq);
                let (runs, wakes) = (&self.entities[se.index()], &self.entities[pse.index()]);
                let behind = wakeup_preempt_entity(runs, wakes, &rules) == 1;
                if behind {
                    self.set_next_buddy(pse);
                }
                behind
            }
        };
        if preempts
            && crowded
            && rules.features.contains(Features::LAST_BUDDY)
            && self.entities[se.index()].task.is_some()
        {
            self.set_mark(se, |queue| &mut queue.last);
        }
        preempts
    }

    /// A trial pick returns the wakee; one with a shorter slice and an earlier deadline breaks protection.
    fn preempts_by_trial(&mut self, se: SeId, pse: SeId) -> bool {
        let rules = self.rules();
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        let (runs, wakes) = (&self.entities[se.index()], &self.entities[pse.index()]);
        let eligible = |entity: &Entity| queue.eligible(&self.entities, entity.vruntime);
        if rules.features.contains(Features::PREEMPT_SHORT)
            && wakes.slice < runs.slice
            && eligible(wakes)
            && (vtime_before(wakes.deadline, runs.deadline) || !eligible(runs))
        {
            self.entities[se.index()].cancel_protect_slice(&rules);
        }
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        queue.pick_eevdf(&self.entities, PickMode::Trial, &rules) == pse
    }

    /// Whether the wakee's slice is shorter, and that matters.
    fn is_short(&self, se: SeId, pse: SeId) -> bool {
        self.rules.features.contains(Features::PREEMPT_SHORT)
            && self.entities[pse.index()].slice < self.entities[se.index()].slice
    }

    /// A trial pick returns the wakee, without protection if its slice is shorter.
    fn preempts_by_short_trial(&mut self, se: SeId, pse: SeId) -> bool {
        let rules = self.rules();
        let short = self.is_short(se, pse);
        let mode = if short { PickMode::Unprotected } else { PickMode::Trial };
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        let preempts = queue.pick_eevdf(&self.entities, mode, &rules) == pse;
        if short && preempts {
            self.entities[se.index()].cancel_protect_slice(&rules);
        } else if short && rules.features.contains(Features::RUN_TO_PARITY) {
            queue.update_protect_slice(&mut self.entities, se, &rules);
        }
        preempts
    }

    /// A real pick returns the wakee; delayed entities that it meets leave the queue on the way.
    fn preempts_by_pick(&mut self, cpu: CpuId, se: SeId, pse: SeId, fork: bool) -> bool {
        let rules = self.rules();
        let id = self.entities[se.index()].cfs_rq;
        let short = self.is_short(se, pse);
        if !short && (fork || self.entities[pse.index()].sched_delayed) {
            return false;
        }
        let mode = if short { PickMode::Unprotected } else { PickMode::Full };
        while self.queues[id.index()].nr_running > 0 {
            let picked = self.queues[id.index()].pick_eevdf(&self.entities, mode, &rules);
            if self.entities[picked.index()].sched_delayed {
                self.dequeue_entities(cpu, picked, Dequeue::SLEEP | Dequeue::DELAYED);
                continue;
            }
            if picked == pse {
                if short {
                    self.entities[se.index()].cancel_protect_slice(&rules);
                    self.clear_buddies(se);
                }
                return true;
            }
            break;
        }
        if rules.features.contains(Features::RUN_TO_PARITY) {
            self.queues[id.index()].update_protect_slice(&mut self.entities, se, &rules);
        }
        false
    }
}
