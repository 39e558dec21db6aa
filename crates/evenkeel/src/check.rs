//! The invariants of a scheduler's state, verified by recomputing everything that is kept incrementally.
//!
//! Meant for tests: [`Sched::check`] looks at every task and every queue, so its cost grows with the machine.
use crate::bandwidth::rules::Throttling;
use crate::cache_aware::LlcQueue;
use crate::entity::CfsRq;
use crate::ids::{CpuId, QueueId, SeId, TaskId};
use crate::observe::Observer;
use crate::pelt::LOAD_AVG_MAX;
use crate::queue_rules::VirtualTime;
use crate::sched::Sched;
use crate::task::{OnRq, Task, TaskState};
use crate::workload::{Class, Policy};
use alloc::vec;
use alloc::vec::Vec;

impl<O: Observer> Sched<O> {
    /// Panics, saying what is wrong, unless: every task is in exactly one place; counts, weights and sums of every queue
    /// equal those recomputed from its members; nothing is queued where it may not run (but for a task that its
    /// stopper is about to move); the records of idle CPUs agree.
    pub fn check(&self) {
        self.check_tasks();
        for rq in &self.rqs {
            self.check_cpu(rq.cpu);
        }
        for id in 0..self.queues.len() {
            self.check_queue(QueueId(id as u32));
        }
        self.check_idle_records();
        self.check_gathering();
    }

    fn check_tasks(&self) {
        let mut listed = vec![0u32; self.tasks.len()];
        for rq in &self.rqs {
            let mut tasks = self.tasks.clone();
            let mut next = rq.cfs_tasks.tail();
            while let Some(task) = next {
                assert_eq!(self.tasks[task].cpu, rq.cpu, "{task:?} is on the list of another CPU");
                listed[task.index()] += 1;
                next = rq.cfs_tasks.towards_head(&mut tasks, task);
            }
        }
        for (task, p) in self.tasks.iter() {
            let entity = &self.entities[p.se.index()];
            let queued = p.on_rq == OnRq::Queued;
            assert_ne!(p.on_rq, OnRq::Migrating, "{task:?} is in transit between two inputs");
            let fair = self.is_fair(task);
            let competes = queued && fair && !self.task_is_throttled(task);
            assert_eq!(entity.on_rq, competes, "{task:?}: entity and task disagree about being queued");
            assert_eq!(
                listed[task.index()],
                u32::from(competes),
                "{task:?} must be on one list iff it is fair and queued"
            );
            self.check_place(task);
            let queue = &self.queues[entity.cfs_rq.index()];
            let stopped = queued && self.throttled_hierarchy(entity.cfs_rq);
            let limited = match p.policy.class() {
                Class::Fair => false,
                Class::RealTime => queued && self.rqs[p.cpu.index()].rt.throttled,
                Class::Deadline => queued && p.dl.throttled,
            };
            match self.rules.queues.bandwidth.throttling {
                _ if !fair => assert_eq!(p.throttled, limited, "{task:?}: throttled"),
                Throttling::WholeQueue => assert_eq!(p.throttled, stopped, "{task:?}: throttled"),
                Throttling::PerTask => assert!(stopped || !p.throttled, "{task:?} is in limbo for nothing"),
            }
            if p.state != TaskState::New {
                assert_eq!(queue.cpu, p.cpu, "{task:?}: entity and task are on different CPUs");
                assert_eq!(queue.group, p.group, "{task:?} is on the queue of another group");
            }
            match p.state {
                TaskState::Running => {
                    assert!(queued && !entity.sched_delayed, "{task:?} runs but is not queued");
                }
                TaskState::Sleeping => {
                    assert_eq!(queued, entity.sched_delayed, "{task:?} sleeps but is queued")
                }
                TaskState::New | TaskState::Dead | TaskState::Waking => {
                    assert!(!queued, "{task:?} is {:?} but queued", p.state);
                }
            }
            if p.state == TaskState::Running && !p.allowed.contains(p.cpu) {
                let works = &self.rqs[p.cpu.index()].stop_works;
                let moves = works
                    .iter()
                    .any(|work| matches!(work, crate::rq::StopWork::Migrate(moved, _) if *moved == task));
                assert!(moves, "{task:?} is queued on CPU {} outside its affinity {}", p.cpu, p.allowed);
            }
        }
    }

    /// What a CPU knows about all its queues together.
    fn check_cpu(&self, cpu: CpuId) {
        let rq = &self.rqs[cpu.index()];
        let queued: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(task, p)| p.cpu == cpu && p.on_rq == OnRq::Queued && self.is_fair(*task))
            .filter(|(task, _)| !self.task_is_throttled(*task))
            .map(|(task, _)| task)
            .collect();
        let count = queued.len() as u32;
        assert_eq!(rq.cfs_tasks.len(), count, "CPU {cpu}: length of the task list");
        let preferring = |node: Option<u32>| {
            let wanted = |task: &&TaskId| match (self.preferred_node(**task), node) {
                (Some(preferred), Some(node)) => preferred == node,
                (preferred, _) => preferred.is_some(),
            };
            queued.iter().filter(wanted).count() as u32
        };
        let home = Some(self.node_of[cpu.index()]);
        let counted = (rq.nr_numa_running, rq.nr_preferred_running);
        assert_eq!(counted, (preferring(None), preferring(home)), "CPU {cpu}: tasks with a preferred node");
        let stopper = u32::from(!rq.stop_works.is_empty());
        let stopped = |task: &&TaskId| self.tasks[**task].throttled;
        let throttled = queued.iter().filter(stopped).count() as u32;
        let urgent = (rq.dl.queue.len() + rq.rt.runnable().len()) as u32;
        assert_eq!(rq.nr_running, count - throttled + stopper + urgent, "CPU {cpu}: rq.nr_running");
        assert_eq!(rq.urgent, urgent + u32::from(rq.fair_server.is_ready()), "CPU {cpu}: rq.urgent");
        self.check_urgent(cpu);
        assert_eq!(self.root(cpu).h_nr_queued, count - throttled, "CPU {cpu}: tasks below the root queue");
        let delayed = queued.iter().filter(|task| self.entity(**task).sched_delayed);
        let util_est: u64 = queued
            .iter()
            .filter(|task| !self.entity(**task).sched_delayed)
            .map(|task| u64::from(self.rules.queues.util_est.contribution(&self.entity(*task).avg)))
            .sum();
        // An estimate that changed while its task was delayed may leave a remainder of at most one CPU each.
        let sum = u64::from(self.root(cpu).avg.util_est);
        assert!(sum <= util_est + 1024 * delayed.count() as u64, "CPU {cpu}: util_est {sum} of {util_est}");
        let mut level = rq.curr.filter(|&task| self.is_fair(task)).map(|task| self.tasks[task].se);
        while let Some(se) = level {
            let entity = &self.entities[se.index()];
            let current = self.queues[entity.cfs_rq.index()].curr;
            assert_eq!(current, Some(se), "CPU {cpu}: the running task's chain of current entities");
            level = entity.parent;
        }
        if rq.curr.is_none() && !rq.need_resched {
            assert_eq!(count, throttled, "CPU {cpu} is idle although {count} tasks are queued");
            assert_eq!(urgent, 0, "CPU {cpu} is idle although urgent tasks are queued");
        }
    }

    /// A real-time or deadline task that is queued is on exactly one of the queues of its CPU.
    fn check_place(&self, task: TaskId) {
        let p = &self.tasks[task];
        let rq = &self.rqs[p.cpu.index()];
        let on = |queue: &[TaskId]| queue.iter().filter(|other| **other == task).count();
        let places = [on(&rq.rt.queue), on(&rq.dl.queue), on(&rq.dl.withheld)];
        let queued = usize::from(p.on_rq == OnRq::Queued);
        let withheld = usize::from(p.dl.throttled);
        let expected = match p.policy.class() {
            Class::Fair => [0, 0, 0],
            Class::RealTime => [queued, 0, 0],
            Class::Deadline => [0, queued * (1 - withheld), withheld],
        };
        // A task that is on its way waits for its period on the CPU it goes to, or comes from.
        if p.state != TaskState::Waking {
            assert_eq!(places, expected, "{task:?}: queues of {:?}", p.policy);
        }
    }

    /// The queues of urgent tasks are in order, and the first of them runs.
    fn check_urgent(&self, cpu: CpuId) {
        let rq = &self.rqs[cpu.index()];
        for pair in rq.rt.queue.windows(2).chain(rq.dl.queue.windows(2)) {
            assert!(!self.is_more_urgent(pair[1], pair[0]), "CPU {cpu}: {:?} before {:?}", pair[0], pair[1]);
        }
        if let Some(curr) = rq.curr.filter(|&curr| !self.is_fair(curr)) {
            let level = self.queues.iter().find(|queue| queue.cpu == cpu && queue.curr.is_some());
            assert!(level.is_none(), "CPU {cpu} runs {curr:?}, which is not fair, and a fair entity");
        }
        if rq.urgent == 0 || rq.need_resched || !rq.active {
            return;
        }
        let first = rq.dl.queue.first().or(rq.rt.runnable().first()).copied();
        let Some(first) = first.filter(|_| !rq.fair_server.is_ready()) else { return };
        let curr = rq.curr.expect("a CPU with an urgent task is not idle");
        let waits = self.is_more_urgent(first, curr);
        assert!(!waits, "CPU {cpu} runs {curr:?}, less urgent than {first:?}");
    }

    fn check_queue(&self, id: QueueId) {
        let queue = &self.queues[id.index()];
        let members: Vec<SeId> = (0..self.entities.len() as u32)
            .map(SeId)
            .filter(|se| self.entities[se.index()].cfs_rq == id && self.entities[se.index()].on_rq)
            .collect();
        let entity = |se: &SeId| &self.entities[se.index()];
        assert_eq!(queue.nr_running, members.len() as u32, "{id:?}: nr_running");
        let below = |count: fn(&CfsRq) -> u32, own: &dyn Fn(TaskId) -> bool| -> u32 {
            let of = |se: &SeId| match (entity(se).task, entity(se).my_queue) {
                (Some(task), _) => u32::from(own(task)),
                (None, Some(child)) => count(&self.queues[child.index()]),
                (None, None) => 0,
            };
            members.iter().map(of).sum()
        };
        assert_eq!(queue.h_nr_queued, below(|queue| queue.h_nr_queued, &|_| true), "{id:?}: h_nr_queued");
        let delayed = below(|queue| queue.h_nr_delayed, &|task| self.entity(task).sched_delayed);
        assert_eq!(queue.h_nr_delayed, delayed, "{id:?}: h_nr_delayed");
        let of_idle_policy = |task: TaskId| self.tasks[task].policy == Policy::Idle;
        let child_idle = |queue: &CfsRq| if queue.idle { queue.h_nr_queued } else { queue.idle_h_nr_running };
        assert_eq!(queue.idle_h_nr_running, below(child_idle, &of_idle_policy), "{id:?}: idle_h_nr_running");
        let weight: u64 = members.iter().map(|se| entity(se).load.weight).sum();
        assert_eq!(queue.load_weight, weight, "{id:?}: weight");

        let curr = queue.curr.filter(|se| entity(se).on_rq);
        let mut waiting: Vec<SeId> = members.iter().copied().filter(|se| Some(*se) != curr).collect();
        let mut timeline: Vec<SeId> = queue.timeline.entries().iter().map(|waiting| waiting.se).collect();
        waiting.sort_unstable();
        timeline.sort_unstable();
        assert_eq!(timeline, waiting, "{id:?}: those who wait");
        for waiting in queue.timeline.entries() {
            let entity = entity(&waiting.se);
            assert_eq!((waiting.key, waiting.vruntime), (queue.key_of(entity), entity.vruntime), "{id:?}");
        }
        let weights: u64 = waiting.iter().map(|se| queue.mean_weight(entity(se))).sum();
        assert_eq!(queue.avg_load, weights, "{id:?}: sum of waiting weights");
        let key = |se: &SeId| entity(se).vruntime.wrapping_sub(queue.zero_vruntime) as i64;
        let keys: i64 = waiting.iter().map(|se| key(se) * queue.mean_weight(entity(se)) as i64).sum();
        assert_eq!(queue.avg_vruntime, keys, "{id:?}: sum of keys");
        self.check_throttling(id);
        self.check_lag(id, &members);
        for se in &members {
            self.check_bounds(*se);
        }
    }

    /// The pool of a throttled queue knows it, and everything below knows too. A queue throttled as a whole is on no other;
    /// where tasks stop one by one, limbo holds those that have.
    fn check_throttling(&self, id: QueueId) {
        let queue = &self.queues[id.index()];
        let mut throttled = 0;
        let mut level = Some(id);
        while let Some(id) = level {
            let queue = &self.queues[id.index()];
            throttled += u32::from(queue.bandwidth.throttled);
            level = queue.owner.map(|owner| self.entities[owner.index()].cfs_rq);
        }
        assert_eq!(queue.bandwidth.throttle_count, throttled, "{id:?}: throttled queues up to the root");
        let throttling = self.rules.queues.bandwidth.throttling;
        let stands_still = throttled > 0 && (throttling == Throttling::WholeQueue || queue.nr_running == 0);
        assert_eq!(queue.bandwidth.paused, stands_still, "{id:?}: whether its load stands still");
        assert!(!stands_still || !queue.on_list, "{id:?}: load that stands still is not decayed");
        let in_limbo = |(task, p): &(TaskId, &Task)| {
            self.task_is_throttled(*task) && self.entities[p.se.index()].cfs_rq == id
        };
        let in_limbo = self.tasks.iter().filter(in_limbo).count() as u32;
        assert_eq!(queue.limbo.len(), in_limbo, "{id:?}: tasks in limbo");
        if queue.bandwidth.throttled {
            let pool = self.groups[queue.group.index()].pool.as_ref().expect("a throttled group has a limit");
            assert!(pool.throttled.contains(&id), "{id:?} is throttled and nobody knows");
            let owner = queue.owner.expect("the root group has no limit");
            let competes = self.entities[owner.index()].on_rq && throttling == Throttling::WholeQueue;
            assert!(!competes, "{id:?} is throttled and competes");
        }
    }

    /// What some are owed others have had: around the mean, lag sums up to nothing but the rounding of the mean.
    fn check_lag(&self, id: QueueId, members: &[SeId]) {
        let queue = &self.queues[id.index()];
        if queue.virtual_time == VirtualTime::Minimum || members.is_empty() {
            return;
        }
        let mean = queue.clone().avg_vruntime(&self.entities);
        let weight = |se: &SeId| match queue.virtual_time {
            VirtualTime::FineMean => i128::from(self.entities[se.index()].load.weight),
            VirtualTime::Minimum | VirtualTime::Mean => i128::from(self.entities[se.index()].weight()),
        };
        let ahead = |se: &SeId| i128::from(self.entities[se.index()].vruntime.wrapping_sub(mean) as i64);
        let sum: i128 = members.iter().map(|se| ahead(se) * weight(se)).sum();
        let weights: i128 = members.iter().map(weight).sum();
        assert!((0..weights).contains(&sum), "{id:?}: lags sum up to {} with weights of {weights}", -sum);
    }

    /// A task cannot have been runnable or running for longer than always. A group's entity can: it takes over the
    /// utilisation of its queue, which for a while is that of several tasks that come from busy CPUs (spec 2 §9.6).
    fn check_bounds(&self, se: SeId) {
        let entity = &self.entities[se.index()];
        let avg = &entity.avg;
        if entity.task.is_some() {
            assert!(avg.load_sum <= LOAD_AVG_MAX, "{se:?}: load_sum {}", avg.load_sum);
            // Scaled sums are rounded less: they come closer to the limit of the series, 1024 / (1 - y) = 47788.
            let limit = (LOAD_AVG_MAX + 47) << 10;
            assert!(u64::from(avg.util_sum) <= limit, "{se:?}: util_sum {}", avg.util_sum);
            assert!(avg.runnable_sum <= limit, "{se:?}: runnable_sum {}", avg.runnable_sum);
        }
    }

    /// Preferences are those of processes that may have one, and queues count their tasks by them.
    fn check_gathering(&self) {
        let gathers = self.kernel.balance.cache_aware.gathers();
        let ids = self.topo.cpus.iter().map(|cpu| cpu.sd_llc_id + 1).max().unwrap_or(0) as usize;
        let mut threads = vec![0; self.processes.len()];
        let mut llc = vec![LlcQueue::default(); self.rqs.len()];
        for (rq, llc) in self.rqs.iter().zip(&mut llc) {
            llc.ran = rq.llc.ran;
            llc.counts.resize(if gathers { ids } else { 0 }, 0);
        }
        for (task, p) in self.tasks.iter() {
            let queued = self.entities[p.se.index()].on_rq;
            assert_eq!(p.llc.counted, self.to_be_counted(task).filter(|_| queued), "{task:?}: as it counts");
            if let Some(counted) = p.llc.counted {
                llc[p.cpu.index()].add(counted);
            }
            let lives = !matches!(p.state, TaskState::New | TaskState::Dead);
            match p.llc.process {
                Some(process) => threads[process.index()] += u32::from(lives),
                None => assert_eq!(p.llc.preferred, None, "{task:?} has no process and prefers a cache"),
            }
        }
        for (rq, llc) in self.rqs.iter().zip(llc) {
            assert_eq!(rq.llc, llc, "CPU {}: tasks by the cache they prefer", rq.cpu);
            assert!(
                rq.llc.nr_llc_running <= rq.cfs_tasks.len(),
                "CPU {}: more tasks have a preference than are there",
                rq.cpu
            );
        }
        for (process, threads) in self.processes.iter().zip(threads) {
            assert_eq!(process.threads, threads, "threads of a process");
            let ran = |cpu: usize| self.rqs[cpu].llc.ran;
            for (cpu, own) in process.occupancy.iter().enumerate() {
                let mut all = ran(cpu);
                let epoch = all.epoch.max(own.epoch);
                let mut own = *own;
                all.age(epoch);
                own.age(epoch);
                // Halves are rounded down for each process and for all, so that the parts may be less than the sum, not more.
                assert!(own.runtime <= all.runtime, "CPU {cpu}: a process ran longer than all");
            }
        }
    }

    fn check_idle_records(&self) {
        let nohz = &self.nohz;
        assert_eq!(nohz.idle_cpus_mask.weight(), nohz.nr_cpus, "number of tickless CPUs");
        for rq in &self.rqs {
            let member = nohz.idle_cpus_mask.contains(rq.cpu);
            assert_eq!(member, rq.nohz_tick_stopped, "CPU {}: membership of the tickless CPUs", rq.cpu);
        }
        for (id, shared) in self.topo.shared.iter().enumerate() {
            let cpus = self.topo.cpus.iter().filter(|cpu| cpu.sd_llc_shared.is_some_and(|s| s.index() == id));
            let idle = cpus
                .clone()
                .filter_map(|cpu| cpu.sd_llc)
                .filter(|llc| self.topo.domains[llc.index()].nohz_idle)
                .count() as i32;
            let used = cpus.count() as i32;
            if used > 0 {
                assert!(shared.nr_busy_cpus >= used - idle, "busy CPUs of a cache: {}", shared.nr_busy_cpus);
            }
        }
    }
}
