//! Taking tasks off the source queue and putting them on the destination's.
//!
//! In the kernel: `can_migrate_task()`, `detach_tasks()`, `detach_one_task()`, `attach_tasks()` (spec 3 §7.2-7.5,
//! §8.2). The rules themselves are in [`migrate`](super::migrate).
use super::env::{IdleType, LbEnv, LbFlags, MigrationType};
use super::event::{BalanceEvent, TaskVerdict};
use super::migrate::{
    CacheHeat, Candidate, Locality, Refusal, asks_caches, can_migrate_task, size_test, task_hot,
};
use super::rules::{CountsHot, HotBuddies, TaskSize};
use crate::ids::{CpuId, TaskId};
use crate::kernel::Features;
use crate::observe::{Event, MigrateReason, Observer};
use crate::sched::Sched;
use crate::workload::Policy;

impl<O: Observer> Sched<O> {
    /// Detaches tasks of the source until the imbalance is settled; how many (spec 3 §7.2).
    pub(super) fn detach_tasks(&mut self, env: &mut LbEnv) -> u32 {
        let src = env.src_cpu.index();
        if self.kernel.balance.tasks.leaves_single_task && self.rqs[src].nr_running <= 1 {
            env.flags.remove(LbFlags::ALL_PINNED);
            return 0;
        }
        if env.imbalance <= 0 {
            return 0;
        }
        let mut detached = 0;
        while let Some(task) = self.rqs[src].cfs_tasks.tail() {
            if env.idle.is_idle() && self.rqs[src].nr_running <= 1 {
                break;
            }
            env.loop_ += 1;
            if env.loop_ > env.loop_max {
                break;
            }
            if env.loop_ > env.loop_break {
                env.loop_break += self.kernel.tunables.nr_migrate_break;
                env.flags.insert(LbFlags::NEED_BREAK);
                break;
            }
            env.cost += self.cost.task;
            let Some(rest) = self.examine(env, task) else {
                self.rqs[src].cfs_tasks.move_to_head(&mut self.tasks, task);
                continue;
            };
            env.imbalance = rest;
            env.cost += self.cost.migration;
            self.detach_task(env, task, MigrateReason::Balance);
            self.rqs[env.this_cpu.index()].detached.push(task);
            detached += 1;
            let one_is_enough = self.kernel.balance.preemption && env.idle == IdleType::NewlyIdle;
            if one_is_enough || env.imbalance <= 0 {
                break;
            }
        }
        let counters = self.lb_counters(env);
        counters.gained = counters.gained.wrapping_add(detached);
        detached
    }

    /// Whether `task` moves: then what is left of the imbalance.
    fn examine(&mut self, env: &mut LbEnv, task: TaskId) -> Option<i64> {
        let failed = self.topo.domains[env.sd.index()].nr_balance_failed;
        let mut amount = 0;
        let mut verdict = self.can_migrate_task(env, task).map(|hot| (hot, 0));
        if let Ok((hot, _)) = verdict {
            amount = match env.migration_type {
                MigrationType::Load if self.kernel.balance.tasks.size == TaskSize::HalfLoad => {
                    self.task_h_load(task)
                }
                MigrationType::Load => self.task_h_load(task).max(1),
                MigrationType::Util => self.task_util_est(task),
                MigrationType::Task | MigrationType::Misfit | MigrationType::LlcTask => 1,
            };
            let (size, lb_min) = (self.kernel.balance.tasks.size, self.feat(Features::LB_MIN));
            let fits = self.task_fits_cpu(task, self.tasks[task].cpu);
            verdict = size_test(size, env.migration_type, amount, fits, lb_min, failed, env.imbalance)
                .map(|rest| (hot, rest));
            if verdict.is_err() && self.tasks[task].sched_task_hot {
                self.tasks[task].nr_failed_migrations_hot += 1;
            }
        }
        let rest = verdict.ok().map(|(_, rest)| rest);
        let verdict = match verdict {
            Ok((hot, _)) => TaskVerdict::Moved { hot },
            Err(refusal) => TaskVerdict::Refused(refusal),
        };
        self.emit_task(env, Some(env.pass), task, amount, verdict);
        rest
    }

    /// Applies the rules to a task and notes what they met (spec 3 §7.3).
    fn can_migrate_task(&mut self, env: &mut LbEnv, task: TaskId) -> Result<bool, Refusal> {
        self.tasks[task].sched_task_hot = false;
        let domain = &self.topo.domains[env.sd.index()];
        let (failed, tries) = (domain.nr_balance_failed, domain.cache_nice_tries);
        let mut candidate = Candidate {
            delayed: self.entity(task).sched_delayed,
            src_throttled: self.group_throttled(task, env.src_cpu),
            dst_throttled: self.group_throttled(task, env.dst_cpu),
            ineligible: self.is_ineligible_on(task, env.dst_cpu),
            percpu_kthread: self.tasks[task].percpu_kthread,
            allowed: self.tasks[task].allowed.contains(env.dst_cpu),
            on_cpu: self.task_on_cpu(task),
            locality: self.locality(env, task),
            prefers_dst_llc: self.prefers_llc_of(task, env.dst_cpu),
            degrades_llc: None,
            hot: task_hot(&self.kernel.balance.tasks, &self.cache_heat(env, task)),
        };
        let rules = self.kernel.balance.tasks;
        let asks = asks_caches(&rules, &candidate, env.flags, env.migration_type, failed) == Ok(true);
        if asks && candidate.locality == Locality::Unaffected {
            candidate.degrades_llc = self.migrate_degrades_llc(env, task);
        }
        let verdict = can_migrate_task(&rules, &candidate, env.flags, env.migration_type, [failed, tries]);
        match verdict {
            Err(Refusal::Throttled | Refusal::PerCpuKthread | Refusal::Delayed | Refusal::Ineligible) => {}
            Err(Refusal::Pinned) => self.note_pinned(env, task),
            Err(Refusal::Running) => {
                env.flags.remove(LbFlags::ALL_PINNED);
                self.tasks[task].nr_failed_migrations_running += 1;
            }
            Err(Refusal::DegradesLlc | Refusal::PrefersOtherCache) => {
                env.flags.remove(LbFlags::ALL_PINNED);
                if env.migration_type != MigrationType::LlcTask {
                    env.flags.insert(LbFlags::LLC_PINNED);
                }
            }
            Err(_) => {
                env.flags.remove(LbFlags::ALL_PINNED);
                self.tasks[task].nr_failed_migrations_hot += 1;
            }
            Ok(hot) => {
                env.flags.remove(LbFlags::ALL_PINNED);
                match rules.counts_hot {
                    CountsHot::WhenMoved => self.tasks[task].sched_task_hot = hot,
                    CountsHot::WhenMovable if hot => self.count_hot(env, task),
                    CountsHot::WhenMovable => {}
                }
            }
        }
        verdict
    }

    /// A cache-hot task moves all the same.
    fn count_hot(&mut self, env: &LbEnv, task: TaskId) {
        self.tasks[task].nr_forced_migrations += 1;
        let counters = self.lb_counters(env);
        counters.hot_gained = counters.hot_gained.wrapping_add(1);
    }

    /// Whether the task is ahead of others of its queue and its group has tasks on `cpu` (spec 3 §7.3-c).
    fn is_ineligible_on(&self, task: TaskId, cpu: CpuId) -> bool {
        let rules = &self.kernel.balance.tasks;
        if !rules.filters_ineligible || !self.feat(Features::PLACE_LAG) {
            return false;
        }
        let entity = self.entity(task);
        let queue = &self.queues[entity.cfs_rq.index()];
        let there = self.groups[queue.group.index()].queues[cpu.index()];
        self.queues[there.index()].nr_running != 0 && !queue.eligible(&self.entities, entity.vruntime)
    }

    /// The task may not run on the destination; perhaps on another CPU for which this pass may act.
    fn note_pinned(&mut self, env: &mut LbEnv, task: TaskId) {
        self.tasks[task].nr_failed_migrations_affine += 1;
        env.flags.insert(LbFlags::SOME_PINNED);
        let no_alternative = LbFlags::DST_PINNED | LbFlags::ACTIVE_LB;
        if env.idle == IdleType::NewlyIdle || env.flags.intersects(no_alternative) {
            return;
        }
        let group = &self.topo.groups[self.topo.domains[env.sd.index()].groups.index()];
        let dst_grpmask = self.stand_ins(group);
        let cpus = &self.scratch.lb_cpus;
        let other =
            dst_grpmask.iter().find(|&cpu| cpus.contains(cpu) && self.tasks[task].allowed.contains(cpu));
        if let Some(cpu) = other {
            env.flags.insert(LbFlags::DST_PINNED);
            env.new_dst_cpu = cpu;
        }
    }

    /// What decides whether the task is cache hot (spec 3 §7.4).
    fn cache_heat(&self, env: &LbEnv, task: TaskId) -> CacheHeat {
        use crate::topology::SdFlags;
        let se = self.tasks[task].se;
        let queue = &self.queues[self.entities[se.index()].cfs_rq.index()];
        let buddy = self.feat(Features::CACHE_HOT_BUDDY)
            && self.rqs[env.dst_cpu.index()].nr_running != 0
            && match self.kernel.balance.tasks.hot_buddies {
                HotBuddies::Next => queue.next == Some(se),
                HotBuddies::NextAndLast => queue.next == Some(se) || queue.last == Some(se),
            };
        CacheHeat {
            fair: true,
            idle_policy: self.tasks[task].policy == Policy::Idle,
            shares_core: self.topo.domains[env.sd.index()].flags.contains(SdFlags::SHARE_CPUCAPACITY),
            buddy,
            migration_cost: self.kernel.tunables.migration_cost_ns,
            cookie_mismatch: false,
            since_exec: self.since_exec(env.src_cpu, task),
        }
    }

    /// How long ago the task ran, ns.
    fn since_exec(&self, src_cpu: CpuId, task: TaskId) -> i64 {
        self.rqs[src_cpu.index()].clock_task.wrapping_sub(self.entity(task).exec_start) as i64
    }

    /// Takes the task off its queue and assigns it to the destination (spec 3 §7.5).
    fn detach_task(&mut self, env: &mut LbEnv, task: TaskId, reason: MigrateReason) {
        if core::mem::take(&mut self.tasks[task].sched_task_hot) {
            self.count_hot(env, task);
        }
        self.deactivate_task(task);
        self.set_task_cpu(task, env.dst_cpu, reason);
    }

    /// Puts the detached tasks on the destination's queue, the last one first.
    pub(super) fn attach_tasks(&mut self, env: &LbEnv) {
        self.update_rq_clock(env.dst_cpu);
        while let Some(task) = self.rqs[env.this_cpu.index()].detached.pop() {
            self.attach_task(env, task);
        }
    }

    /// Puts one task on the destination's queue, whose clock is up to date.
    pub(super) fn attach_task(&mut self, env: &LbEnv, task: TaskId) {
        self.activate_migrated(task);
        self.wakeup_preempt(env.dst_cpu, task, env.on_cpu, false);
    }

    /// The stopper's choice: the first task from the tail that may move (`detach_one_task`; spec 3 §8.2).
    pub(super) fn detach_one_task(&mut self, env: &mut LbEnv) -> Option<TaskId> {
        let mut next = self.rqs[env.src_cpu.index()].cfs_tasks.tail();
        while let Some(task) = next {
            let verdict = self.can_migrate_task(env, task);
            let told = match verdict {
                Ok(hot) => TaskVerdict::Moved { hot },
                Err(refusal) => TaskVerdict::Refused(refusal),
            };
            self.emit_task(env, None, task, 1, told);
            if verdict.is_ok() {
                self.detach_task(env, task, MigrateReason::ActiveBalance);
                let counters = self.lb_counters(env);
                counters.gained = counters.gained.wrapping_add(1);
                return Some(task);
            }
            next = self.rqs[env.src_cpu.index()].cfs_tasks.towards_head(&mut self.tasks, task);
        }
        None
    }

    fn emit_task(&mut self, env: &LbEnv, pass: Option<u64>, task: TaskId, amount: u64, verdict: TaskVerdict) {
        self.emit(|sched| {
            Event::Balance(BalanceEvent::Task {
                pass,
                task,
                src_cpu: env.src_cpu,
                dst_cpu: env.dst_cpu,
                imbalance: env.imbalance,
                amount,
                since_exec: sched.since_exec(env.src_cpu, task),
                nr_balance_failed: sched.topo.domains[env.sd.index()].nr_balance_failed,
                verdict,
            })
        });
    }
}
