//! One balancing pass: one level, on behalf of one CPU.
//!
//! 1. Is it this CPU's turn to balance for its group?
//! 2. Which group to take from?
//! 3. Which queue of that group?
//! 4. Detach tasks there and attach them here.
//! 5. If a task may only run on a sibling of this CPU, go on with that as the destination.
//! 6. If the whole queue is pinned, search again without it.
//! 7. If nothing moved, count the failure and perhaps have the running task pushed.
//! 8. Set the level's interval: short after an attempt, twice as long after a pass that found nothing to do.
//!
//! Example: 4 CPUs, three tasks pinned to CPU 1, CPU 0 idle: the pass finds queue 1, no task may move, it searches again
//! without CPU 1, finds nothing, and doubles its interval from 4 to 8 ms.
//!
//! In the kernel: `sched_balance_rq()` (spec 3 §3). Locks are not modelled, so a queue cannot empty between two looks.
use super::env::{FbqType, IdleType, LbEnv, LbFlags, MigrationType, PassResult, Trigger};
use super::event::{BalanceEvent, PassOutcome};
use super::rules::{ActiveStart, EnergyAware, Serialized, StandIns};
use super::stats::Search;
use crate::ids::{CpuId, DomainId};
use crate::mask::CpuMask;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::topology::{Group, LbCounters, SdFlags};

/// Longest interval of a level with pinned tasks, ms (`MAX_PINNED_INTERVAL`).
const MAX_PINNED_INTERVAL: u64 = 512;

/// Where a pass stands.
enum Step {
    /// Look for a queue to take from.
    Search,
    /// Take from it.
    Move {
        /// Moved so far.
        moved: u32,
    },
    /// All that could be moved is moved.
    Settle {
        /// Moved in all.
        moved: u32,
    },
    /// Nothing to do.
    Balanced(PassOutcome),
    /// Nothing to do because no task is allowed on the destination.
    AllPinned,
    /// Nothing was moved, and the interval grows.
    BackOff(PassOutcome),
}

impl<O: Observer> Sched<O> {
    /// Balances level `sd` on behalf of `this_cpu`; `on_cpu` executes it (spec 3 §3.2).
    #[doc(alias = "load_balance")]
    pub(crate) fn sched_balance_rq(
        &mut self,
        on_cpu: CpuId,
        this_cpu: CpuId,
        sd: DomainId,
        idle: IdleType,
    ) -> PassResult {
        let mut env = self.begin_pass(on_cpu, this_cpu, sd, idle);
        let mut continue_balancing = true;
        let mut serialized = false;
        let mut step = Step::Search;
        let (outcome, moved) = loop {
            step = match step {
                Step::Search if !self.is_our_turn(&env) => {
                    continue_balancing = false;
                    Step::Balanced(PassOutcome::NotOurTurn)
                }
                Step::Search if !self.take_serialize_flag(&env, &mut serialized) => {
                    Step::Balanced(PassOutcome::Serialized)
                }
                Step::Search => match self.find_source(&mut env) {
                    Ok(src_cpu) => self.begin_moving(&mut env, src_cpu),
                    Err(outcome) => Step::Balanced(outcome),
                },
                Step::Move { moved } => self.move_tasks(&mut env, moved),
                Step::Settle { moved } => match self.settle(&mut env, moved) {
                    Ok(outcome) => break (outcome, moved),
                    Err(outcome) => Step::BackOff(outcome),
                },
                Step::Balanced(outcome) => {
                    let clears = self.kernel.balance.pass.clears_flag_of_pinned;
                    if clears || !env.flags.contains(LbFlags::ALL_PINNED) {
                        self.mark_parent(sd, false);
                    }
                    self.note_balanced(&env);
                    Step::BackOff(outcome)
                }
                Step::AllPinned => {
                    self.note_balanced(&env);
                    Step::BackOff(PassOutcome::AllPinned)
                }
                Step::BackOff(outcome) => {
                    self.back_off(&env);
                    break (outcome, 0);
                }
            };
        };
        if serialized {
            self.balance_running = false;
        }
        self.emit_pass_end(&env, outcome, moved);
        self.spent += env.cost;
        PassResult { moved, continue_balancing, cost: env.cost }
    }

    fn begin_pass(&mut self, on_cpu: CpuId, this_cpu: CpuId, sd: DomainId, idle: IdleType) -> LbEnv {
        let env = self.new_env(on_cpu, this_cpu, sd, idle);
        self.scratch.lb_cpus.copy_from(&self.topo.domains[sd.index()].span);
        self.scratch.lb_cpus.and_assign(&self.active);
        let counters = self.lb_counters(&env);
        counters.count = counters.count.wrapping_add(1);
        let trigger = match idle {
            IdleType::NewlyIdle => Trigger::NewIdle,
            _ if on_cpu == this_cpu => Trigger::Periodic,
            _ => Trigger::Nohz { on_cpu },
        };
        self.emit(|sched| {
            Event::Balance(BalanceEvent::PassBegin {
                pass: env.pass,
                cpu: this_cpu,
                domain: sd,
                idle,
                trigger,
                nr_balance_failed: sched.topo.domains[sd.index()].nr_balance_failed,
                balance_interval: sched.topo.domains[sd.index()].balance_interval,
                imbalance_pct: sched.topo.domains[sd.index()].imbalance_pct,
                cache_nice_tries: sched.topo.domains[sd.index()].cache_nice_tries,
            })
        });
        env
    }

    /// The state of a pass that begins.
    pub(super) fn new_env(&mut self, on_cpu: CpuId, this_cpu: CpuId, sd: DomainId, idle: IdleType) -> LbEnv {
        self.passes += 1;
        LbEnv {
            pass: self.passes,
            on_cpu,
            this_cpu,
            sd,
            dst_cpu: this_cpu,
            src_cpu: this_cpu,
            idle,
            flags: LbFlags::empty(),
            loop_: 0,
            loop_break: self.kernel.tunables.nr_migrate_break,
            loop_max: 0,
            imbalance: 0,
            migration_type: MigrationType::Load,
            fbq_type: FbqType::All,
            new_dst_cpu: this_cpu,
            cost: self.cost.pass,
        }
    }

    /// The view of the pass that decisions take.
    pub(super) fn search(&self, env: &LbEnv) -> Search<'_, Self> {
        Search {
            topo: &self.topo,
            view: self,
            rules: &self.kernel.balance,
            sd: env.sd,
            dst_cpu: env.dst_cpu,
            idle: env.idle,
            cpus: &self.scratch.lb_cpus,
            energy_aware: EnergyAware::Off,
            gathering: self.gathering,
        }
    }

    /// The schedstat counters of this pass's level and idle type.
    pub(super) fn lb_counters(&mut self, env: &LbEnv) -> &mut LbCounters {
        &mut self.topo.domains[env.sd.index()].stats.lb[env.idle.index()]
    }

    /// Step 3: takes the flag that serialises the level, where passes do; false: another CPU has it.
    fn take_serialize_flag(&mut self, env: &LbEnv, taken: &mut bool) -> bool {
        let in_pass = self.kernel.balance.periodic.serialized == Serialized::InPass;
        let flags = self.topo.domains[env.sd.index()].flags;
        if *taken || !in_pass || !flags.contains(SdFlags::SERIALIZE) {
            return true;
        }
        if self.balance_running {
            self.emit(|_| Event::Balance(BalanceEvent::Serialized { cpu: env.this_cpu, domain: env.sd }));
            return false;
        }
        self.balance_running = true;
        *taken = true;
        true
    }

    /// The CPUs that may stand in for the destination of a pinned task.
    pub(super) fn stand_ins<'a>(&'a self, group: &'a Group) -> &'a CpuMask {
        match self.kernel.balance.pass.stand_ins {
            StandIns::GroupSpan => &group.span,
            StandIns::BalanceMask => &self.topo.capacities[group.sgc.index()].balance_mask,
        }
    }

    fn is_our_turn(&mut self, env: &LbEnv) -> bool {
        let turn = self.search(env).should_we_balance();
        self.emit(|_| Event::Balance(BalanceEvent::Turn { pass: env.pass, dst_cpu: env.dst_cpu, turn }));
        turn.is_for(env.dst_cpu)
    }

    /// Step 7 and the limit of step 8; a queue with a single task has nothing to detach.
    fn begin_moving(&self, env: &mut LbEnv, src_cpu: CpuId) -> Step {
        env.src_cpu = src_cpu;
        let nr_running = self.rqs[src_cpu.index()].nr_running;
        if nr_running > 1 || self.kernel.balance.pass.single_task_is_pinned {
            env.flags.insert(LbFlags::ALL_PINNED);
        }
        if nr_running <= 1 {
            return Step::Settle { moved: 0 };
        }
        env.loop_max = self.kernel.tunables.nr_migrate.min(nr_running);
        Step::Move { moved: 0 }
    }

    /// Step 8: one round of detaching and attaching, and what it leads to.
    fn move_tasks(&mut self, env: &mut LbEnv, mut moved: u32) -> Step {
        self.update_rq_clock(env.src_cpu);
        let detached = self.detach_tasks(env);
        if detached != 0 {
            self.attach_tasks(env);
            moved += detached;
        }
        if env.flags.contains(LbFlags::NEED_BREAK) {
            env.flags.remove(LbFlags::NEED_BREAK);
            self.emit(|_| Event::Balance(BalanceEvent::Break { pass: env.pass }));
            return Step::Move { moved };
        }
        if env.flags.contains(LbFlags::DST_PINNED) && env.imbalance > 0 {
            self.scratch.lb_cpus.clear(env.dst_cpu);
            env.dst_cpu = env.new_dst_cpu;
            env.flags.remove(LbFlags::DST_PINNED);
            self.restart_scan(env);
            self.emit(|_| Event::Balance(BalanceEvent::NewDestination { pass: env.pass, cpu: env.dst_cpu }));
            return Step::Move { moved };
        }
        if env.flags.contains(LbFlags::SOME_PINNED) && env.imbalance > 0 {
            self.mark_parent(env.sd, true);
        }
        if env.flags.contains(LbFlags::ALL_PINNED) {
            self.scratch.lb_cpus.clear(env.src_cpu);
            let group = &self.topo.groups[self.topo.domains[env.sd.index()].groups.index()];
            let dst_grpmask = self.stand_ins(group);
            if self.scratch.lb_cpus.is_subset(dst_grpmask) {
                return Step::AllPinned;
            }
            self.restart_scan(env);
            self.emit(|_| Event::Balance(BalanceEvent::Redo { pass: env.pass, without: env.src_cpu }));
            return Step::Search;
        }
        Step::Settle { moved }
    }

    fn restart_scan(&self, env: &mut LbEnv) {
        env.loop_ = 0;
        env.loop_break = self.kernel.tunables.nr_migrate_break;
    }

    /// Steps 9 and 10: counts a failure, perhaps starts active balance; `Err`: the interval grows all the same.
    fn settle(&mut self, env: &mut LbEnv, moved: u32) -> Result<PassOutcome, PassOutcome> {
        let rules = self.kernel.balance.pass;
        let mut outcome = PassOutcome::Moved;
        if moved == 0 {
            outcome = PassOutcome::Failed;
            let counters = self.lb_counters(env);
            counters.failed = counters.failed.wrapping_add(1);
            let spared = rules.spares_misfit && env.migration_type == MigrationType::Misfit
                || env.flags.contains(LbFlags::LLC_PINNED);
            if env.idle != IdleType::NewlyIdle && !spared {
                let failed = &mut self.topo.domains[env.sd.index()].nr_balance_failed;
                *failed = failed.wrapping_add(1);
            }
            let needed = self.search(env).need_active_balance(env.src_cpu, env.migration_type);
            if let Some(reason) = needed {
                let curr = self.rqs[env.src_cpu.index()].curr;
                // The idle task and the stopper may only run where they are.
                let movable = curr.is_some_and(|curr| self.tasks[curr].allowed.contains(env.this_cpu));
                if !movable {
                    if rules.active_start == ActiveStart::LengthensInterval {
                        env.flags.insert(LbFlags::ALL_PINNED);
                    }
                    return Err(PassOutcome::CurrPinned);
                }
                if rules.active_start == ActiveStart::ResetsInterval {
                    env.flags.remove(LbFlags::ALL_PINNED);
                }
                if self.start_active_balance(env, reason) {
                    outcome = PassOutcome::ActiveBalance;
                }
                if rules.active_start == ActiveStart::LengthensInterval {
                    let domain = &mut self.topo.domains[env.sd.index()];
                    domain.nr_balance_failed = domain.cache_nice_tries + 1;
                }
            }
        } else {
            self.topo.domains[env.sd.index()].nr_balance_failed = 0;
        }
        // The kernel asks once more whether active balance is needed; between the two nothing has changed.
        let domain = &mut self.topo.domains[env.sd.index()];
        let lengthens =
            outcome == PassOutcome::ActiveBalance && rules.active_start == ActiveStart::LengthensInterval;
        if !lengthens {
            domain.balance_interval = domain.min_interval;
        } else if domain.balance_interval < domain.max_interval {
            domain.balance_interval *= 2;
        }
        Ok(outcome)
    }

    /// Step 13.
    fn note_balanced(&mut self, env: &LbEnv) {
        let counters = self.lb_counters(env);
        counters.balanced = counters.balanced.wrapping_add(1);
        self.topo.domains[env.sd.index()].nr_balance_failed = 0;
    }

    /// Steps 14 and 15: the next pass comes later.
    fn back_off(&mut self, env: &LbEnv) {
        let rules = &self.kernel.balance.pass;
        if rules.spares_newidle && env.idle == IdleType::NewlyIdle
            || rules.spares_misfit && env.migration_type == MigrationType::Misfit
        {
            return;
        }
        let domain = &mut self.topo.domains[env.sd.index()];
        let all_pinned = env.flags.contains(LbFlags::ALL_PINNED);
        if all_pinned && domain.balance_interval < MAX_PINNED_INTERVAL
            || domain.balance_interval < domain.max_interval
        {
            domain.balance_interval *= 2;
        }
    }

    /// Marks the parent's group of this level's CPUs: affinities keep this level from being balanced (spec 3 §8.6).
    fn mark_parent(&mut self, sd: DomainId, imbalance: bool) {
        if let Some(parent) = self.topo.domains[sd.index()].parent {
            let group = &self.topo.groups[self.topo.domains[parent.index()].groups.index()];
            self.topo.capacities[group.sgc.index()].imbalance = imbalance;
        }
    }

    fn emit_pass_end(&mut self, env: &LbEnv, outcome: PassOutcome, moved: u32) {
        self.emit(|sched| {
            let domain = &sched.topo.domains[env.sd.index()];
            Event::Balance(BalanceEvent::PassEnd {
                pass: env.pass,
                outcome,
                moved,
                flags: env.flags,
                nr_balance_failed: domain.nr_balance_failed,
                balance_interval: domain.balance_interval,
                cost: env.cost,
            })
        });
    }
}
