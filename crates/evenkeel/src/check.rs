//! The invariants of a scheduler's state, verified by recomputing everything that is kept incrementally.
//!
//! Meant for tests: [`Sched::check`] looks at every task and every queue, so its cost grows with the machine.
use crate::ids::{CpuId, SeId};
use crate::io::FairPolicy;
use crate::observe::Observer;
use crate::sched::Sched;
use crate::task::{OnRq, TaskState};
use alloc::vec;
use alloc::vec::Vec;

impl<O: Observer> Sched<O> {
    /// Panics, saying what is wrong, unless: every task is in exactly one place; counts, weights and sums of every queue
    /// equal those recomputed from its members; nothing is queued where it may not run (but for a task that its
    /// stopper is about to move); the records of idle CPUs agree.
    pub fn check(&self) {
        self.check_tasks();
        for rq in &self.rqs {
            self.check_queue(rq.cpu);
        }
        self.check_idle_records();
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
            assert_eq!(entity.on_rq, queued, "{task:?}: entity and task disagree about being queued");
            assert_eq!(
                listed[task.index()],
                u32::from(queued),
                "{task:?} must be on one list iff it is queued"
            );
            assert_eq!(entity.cfs_rq.0, p.cpu.0, "{task:?}: entity and task are on different CPUs");
            match p.state {
                TaskState::Running => {
                    assert!(queued && !entity.sched_delayed, "{task:?} runs but is not queued")
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

    fn check_queue(&self, cpu: CpuId) {
        let rq = &self.rqs[cpu.index()];
        let queue = self.root(cpu);
        let members: Vec<SeId> = self
            .tasks
            .iter()
            .filter(|(_, p)| p.cpu == cpu && p.on_rq == OnRq::Queued)
            .map(|(_, p)| p.se)
            .collect();
        let entity = |se: &SeId| &self.entities[se.index()];
        let count = members.len() as u32;
        assert_eq!(queue.nr_running, count, "CPU {cpu}: nr_running");
        assert_eq!(queue.h_nr_queued, count, "CPU {cpu}: h_nr_queued");
        assert_eq!(rq.cfs_tasks.len(), count, "CPU {cpu}: length of the task list");
        let stopper = u32::from(!rq.stop_works.is_empty());
        assert_eq!(rq.nr_running, count + stopper, "CPU {cpu}: rq.nr_running");
        let delayed = members.iter().filter(|se| entity(se).sched_delayed).count() as u32;
        assert_eq!(queue.h_nr_delayed, delayed, "CPU {cpu}: h_nr_delayed");
        let of_idle_policy =
            |se: &&SeId| entity(se).task.is_some_and(|task| self.tasks[task].policy == FairPolicy::Idle);
        let idle = members.iter().filter(of_idle_policy).count() as u32;
        assert_eq!(queue.idle_h_nr_running, idle, "CPU {cpu}: idle_h_nr_running");
        let weight: u64 = members.iter().map(|se| entity(se).load.weight).sum();
        assert_eq!(queue.load_weight, weight, "CPU {cpu}: weight");
        let util_est: u32 = members
            .iter()
            .filter(|se| !entity(se).sched_delayed)
            .filter_map(|se| entity(se).task)
            .map(|task| self.util_est(task) as u32)
            .sum();
        // A delayed task that another CPU took over carries no estimate there: the sum may only be exceeded.
        assert!(queue.avg.util_est <= util_est + 1024 * delayed, "CPU {cpu}: util_est");

        let curr = rq.curr.map(|task| self.tasks[task].se);
        assert_eq!(queue.curr, curr, "CPU {cpu}: current entity");
        let mut waiting: Vec<SeId> = members.iter().copied().filter(|se| Some(*se) != curr).collect();
        let mut timeline: Vec<SeId> = queue.timeline.entries().iter().map(|waiting| waiting.se).collect();
        waiting.sort_unstable();
        timeline.sort_unstable();
        assert_eq!(timeline, waiting, "CPU {cpu}: those who wait");
        for waiting in queue.timeline.entries() {
            let entity = entity(&waiting.se);
            assert_eq!((waiting.key, waiting.vruntime), (queue.key_of(entity), entity.vruntime), "CPU {cpu}");
        }
        let weights: u64 = waiting.iter().map(|se| queue.mean_weight(entity(se)) as u64).sum();
        assert_eq!(queue.avg_load, weights, "CPU {cpu}: sum of waiting weights");
        let keys: i64 = waiting
            .iter()
            .map(|se| {
                entity(se).vruntime.wrapping_sub(queue.zero_vruntime) as i64 * queue.mean_weight(entity(se))
            })
            .sum();
        assert_eq!(queue.avg_vruntime, keys, "CPU {cpu}: sum of keys");
        if rq.curr.is_none() && !rq.need_resched {
            assert_eq!(count, 0, "CPU {cpu} is idle although {count} tasks are queued");
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
