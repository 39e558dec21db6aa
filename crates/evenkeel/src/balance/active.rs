//! Active balance: when nothing waits on the source, its stopper thread pushes a task.
//!
//! A queue with one task, which runs, has nothing to detach. If the level has failed often enough, or a CPU of reduced
//! capacity or of lower priority is to be emptied, the source's stopper is asked to interrupt that task and push it.
//! Example: two caches, one idle, four single tasks in the other: the first three passes fail, the fourth (failures
//! 4 > `cache_nice_tries` 1 + 2) has a task pushed.
//!
//! In the kernel: `need_active_balance()`, `active_load_balance_cpu_stop()` (spec 3 §8.1, §8.2).
use super::env::{IdleType, LbEnv, LbFlags, MigrationType};
use super::event::BalanceEvent;
use super::rules::ActiveRule;
use super::stats::Search;
use super::view::CpuView;
use crate::ids::{CpuId, DomainId, TaskId};
use crate::observe::{Event, Observer};
use crate::rq::StopWork;
use crate::sched::Sched;
use crate::topology::SdFlags;

/// Why a running task is to be pushed (spec 3 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActiveReason {
    /// 1: the destination is preferred to the source.
    AsymPacking,
    /// 2: moving tasks has failed too often.
    Failures,
    /// 3: the source's capacity is reduced and the destination has more.
    ReducedCapacity,
    /// 4: the task is too big for the source.
    Misfit,
    /// 4: tasks there prefer the destination's cache.
    PrefersOurCache,
}

/// What the stopper has made of a request to push a task (spec 3 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopperOutcome {
    /// One of the CPUs has left scheduling.
    Inactive,
    /// The request was answered before.
    NotAsked,
    /// No task is left on the source.
    NothingWaits,
    /// No level holds both CPUs any more.
    NoDomain,
    /// No task may move.
    NoTask,
    /// A task was pushed.
    Pushed,
}

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// Whether the task running on `src` is to be pushed to the destination, and why.
    pub fn need_active_balance(&self, src: CpuId, migration_type: MigrationType) -> Option<ActiveReason> {
        let (domain, rule) = (self.domain(), self.rules.tasks.active);
        if self.alb_break_llc(src, migration_type) {
            return None;
        }
        if self.asym_active_balance(rule, src) {
            return Some(ActiveReason::AsymPacking);
        }
        let failed = domain.nr_balance_failed > domain.cache_nice_tries + 2;
        let (src_capacity, dst_capacity) = (self.view.capacity_of(src), self.view.capacity_of(self.dst_cpu));
        let reduced = self.idle.is_idle()
            && self.sched_reduced_capacity(src)
            && src_capacity * u64::from(domain.imbalance_pct) < dst_capacity * 100;
        let (counts, misfit) = match rule {
            ActiveRule::Classic => (true, false),
            ActiveRule::Preferred | ActiveRule::PreferredCore => {
                (migration_type == MigrationType::Task, migration_type == MigrationType::Misfit)
            }
        };
        if failed && counts {
            Some(ActiveReason::Failures)
        } else if reduced {
            Some(ActiveReason::ReducedCapacity)
        } else if migration_type == MigrationType::LlcTask {
            Some(ActiveReason::PrefersOurCache)
        } else {
            misfit.then_some(ActiveReason::Misfit)
        }
    }

    /// The destination is preferred, or the source's core has a busy sibling and may be helped by anyone.
    fn asym_active_balance(&self, rule: ActiveRule, src: CpuId) -> bool {
        let packing = self.domain().flags.contains(SdFlags::ASYM_PACKING);
        let preferred = self.sched_asym_prefer(self.dst_cpu, src);
        match rule {
            ActiveRule::Classic => self.idle == IdleType::NewlyIdle && packing && preferred,
            ActiveRule::Preferred => self.idle.is_idle() && packing && preferred,
            ActiveRule::PreferredCore => {
                self.idle.is_idle()
                    && self.sched_use_asym_prio(self.dst_cpu)
                    && (preferred || !self.sched_use_asym_prio(src))
            }
        }
    }
}

impl<O: Observer> Sched<O> {
    /// The stopper's work on `src_cpu`, whose running task has been put back: push a task to the CPU that asked; one that
    /// prefers that CPU's cache if it `gathers`.
    #[doc(alias = "active_load_balance_cpu_stop")]
    pub(crate) fn active_load_balance(&mut self, src_cpu: CpuId, gathers: bool) {
        let dst_cpu = self.rqs[src_cpu.index()].push_cpu;
        let (outcome, task) = match self.push_domain(src_cpu, dst_cpu) {
            Ok(sd) => self.push_task(src_cpu, dst_cpu, sd, gathers),
            Err(outcome) => (outcome, None),
        };
        // Also when it gave up: else nobody could ask again.
        self.rqs[src_cpu.index()].active_balance = false;
        self.emit(|_| Event::Balance(BalanceEvent::ActiveBalanceEnd { src_cpu, dst_cpu, task, outcome }));
    }

    /// The lowest level that holds both CPUs, or why nothing is pushed (spec 3 §8.2-1, -2).
    fn push_domain(&self, src_cpu: CpuId, dst_cpu: CpuId) -> Result<DomainId, StopperOutcome> {
        let rq = &self.rqs[src_cpu.index()];
        if !rq.active || !self.rqs[dst_cpu.index()].active {
            return Err(StopperOutcome::Inactive);
        }
        if !rq.active_balance {
            return Err(StopperOutcome::NotAsked);
        }
        // The stopper itself counts.
        if rq.nr_running <= 1 {
            return Err(StopperOutcome::NothingWaits);
        }
        self.domain_spanning(dst_cpu, src_cpu).ok_or(StopperOutcome::NoDomain)
    }

    /// Pushes the first task that may move, if one may (spec 3 §8.2-3, -4).
    fn push_task(
        &mut self,
        src_cpu: CpuId,
        dst_cpu: CpuId,
        sd: DomainId,
        gathers: bool,
    ) -> (StopperOutcome, Option<TaskId>) {
        let mut env = self.new_env(src_cpu, dst_cpu, sd, IdleType::Idle);
        env.src_cpu = src_cpu;
        env.flags = LbFlags::ACTIVE_LB;
        env.flags.set(LbFlags::ACTIVE_LB_LLC, gathers);
        self.update_rq_clock(src_cpu);
        let pushed = self.detach_one_task(&mut env);
        let domain = &mut self.topo.domains[sd.index()];
        let stats = &mut domain.stats;
        stats.alb_count = stats.alb_count.wrapping_add(1);
        let Some(task) = pushed else {
            stats.alb_failed = stats.alb_failed.wrapping_add(1);
            return (StopperOutcome::NoTask, None);
        };
        stats.alb_pushed = stats.alb_pushed.wrapping_add(1);
        domain.nr_balance_failed = 0;
        self.update_rq_clock(dst_cpu);
        self.attach_task(&env, task);
        (StopperOutcome::Pushed, Some(task))
    }

    /// The lowest domain of `cpu` that spans `other`.
    fn domain_spanning(&self, cpu: CpuId, other: CpuId) -> Option<DomainId> {
        self.topo.chain(cpu).find(|sd| self.topo.domains[sd.index()].span.contains(other))
    }

    /// Asks the stopper of the source to push its running task to the CPU that balances; whether it was asked before.
    pub(super) fn start_active_balance(&mut self, env: &LbEnv, reason: ActiveReason) -> bool {
        let rq = &mut self.rqs[env.src_cpu.index()];
        if rq.active_balance {
            return false;
        }
        rq.active_balance = true;
        rq.push_cpu = env.this_cpu;
        let curr = rq.curr;
        let gathers = env.migration_type == MigrationType::LlcTask;
        self.queue_stop_work(env.on_cpu, env.src_cpu, StopWork::ActiveBalance { gathers });
        self.emit(|_| {
            Event::Balance(BalanceEvent::ActiveBalanceStart {
                pass: env.pass,
                src_cpu: env.src_cpu,
                dst_cpu: env.this_cpu,
                curr,
                reason,
            })
        });
        true
    }
}
