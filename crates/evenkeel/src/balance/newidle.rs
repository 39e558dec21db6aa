//! New-idle balancing: a CPU that runs out of work looks for some before it goes idle.
//!
//! It must not cost more than the idle time it saves, so it has gates: no CPU has more than one task; the CPU is usually
//! idle for less time than the lowest level costs; the levels walked so far and the next one together cost more than
//! that; a level at which passes seldom succeed is tried in proportion to its successes. Example: idle periods of
//! 300 us; level 0 costs at most 50 us, level 1 at most 280 us. Level 0 is balanced, takes 40 us and finds nothing;
//! 300 < 40 + 280, so level 1 is not.
//!
//! In the kernel: `sched_balance_newidle()` (spec 3 §2.11). Costs come from the host's [`CostModel`]: no time passes
//! within a decision.
//!
//! [`CostModel`]: crate::cost::CostModel
use super::env::IdleType;
use super::event::{BalanceEvent, NewIdleGate};
use super::rules::{ClosedGate, IdleTimeGate, NewIdleStatistics, NewIdleStop, NotesDue, OtherClass};
use super::trigger::update_newidle_cost;
use crate::ids::{CpuId, DomainId};
use crate::kernel::Features;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::{Jiffies, Ns, time_after};
use crate::topology::SdFlags;

/// The dice of `NI_RANDOM`: `dice` is in 0..1024. The credit of a success, or none if the level is left out this time
/// (spec 3 §2.11-8): a ratio of 256 in 1024 is tried one time in four, and a success then counts four times.
pub fn newidle_weight(dice: u32, ratio: u32) -> Option<u32> {
    let weight = 1 + ratio;
    (dice <= weight).then_some((1024 + weight / 2) / weight)
}

/// What the walk through the levels has come to.
struct Walk {
    /// The earliest time at which a level is due.
    next: Jiffies,
    /// What the levels have cost, ns.
    spent: Ns,
    /// What is not yet charged to a level, ns.
    uncharged: Ns,
    /// Tasks moved by the last level.
    pulled: u32,
}

impl<O: Observer> Sched<O> {
    /// Looks for work for a CPU about to go idle: -1 another class has work, 0 none, 1 fair tasks (spec 3 §2.11).
    #[doc(alias = "newidle_balance")]
    #[doc(alias = "idle_balance")]
    pub(crate) fn sched_balance_newidle(&mut self, cpu: CpuId) -> i32 {
        let now = self.jiffies();
        let rules = self.kernel.balance.newidle;
        if self.topo.asym_capacity && rules.looks_for_wakeups {
            self.rqs[cpu.index()].misfit_task_load = 0;
        }
        let rq = &mut self.rqs[cpu.index()];
        if rq.ttwu_pending && rules.looks_for_wakeups {
            self.emit_gate(cpu, NewIdleGate::WakeupPending);
            return 0;
        }
        rq.idle_stamp = rq.clock;
        if !rq.active {
            self.emit_gate(cpu, NewIdleGate::NotActive);
            return 0;
        }
        let mut walk =
            Walk { next: now.wrapping_add(u64::from(self.kernel.hz)), spent: 0, uncharged: 0, pulled: 0 };
        let mut pulled = 0;
        match self.newidle_closed(cpu) {
            Some(gate) => {
                if let Some(base) = self.topo.cpus[cpu.index()].base {
                    self.note_next(&mut walk, base);
                }
                self.emit_gate(cpu, gate);
                if rules.closed_gate == ClosedGate::RefreshesLoad {
                    self.nohz_newidle_balance(cpu);
                    pulled = self.newidle_result(cpu, 0);
                }
            }
            None => pulled = self.newidle_pull(cpu, &mut walk),
        }
        let rq = &mut self.rqs[cpu.index()];
        if time_after(rq.next_balance, walk.next) {
            rq.next_balance = walk.next;
        }
        if pulled != 0 {
            rq.idle_stamp = 0;
        } else if rules.closed_gate == ClosedGate::GoesIdle {
            self.nohz_newidle_balance(cpu);
        }
        self.emit_gate(cpu, NewIdleGate::Done { result: pulled });
        pulled
    }

    /// The gates in front of the walk.
    fn newidle_closed(&self, cpu: CpuId) -> Option<NewIdleGate> {
        let pointers = &self.topo.cpus[cpu.index()];
        let rules = &self.kernel.balance.newidle;
        if pointers.base.is_none() && rules.gate_needs_domain {
            return Some(NewIdleGate::NoDomain);
        }
        let avg_idle = self.rqs[cpu.index()].avg_idle;
        let cost = match rules.gate {
            IdleTimeGate::MigrationCost => u64::from(self.kernel.tunables.migration_cost_ns),
            IdleTimeGate::LowestLevelCost => {
                pointers.base.map_or(0, |base| self.topo.domains[base.index()].max_newidle_lb_cost)
            }
        };
        if !self.topo.roots[pointers.root.index()].overloaded {
            return Some(NewIdleGate::NotOverloaded);
        }
        (avg_idle < cost).then_some(NewIdleGate::AvgIdleTooShort { avg_idle, cost })
    }

    /// Walks the levels and says what there is to run.
    fn newidle_pull(&mut self, cpu: CpuId, walk: &mut Walk) -> i32 {
        self.update_blocked_averages(cpu);
        if self.kernel.balance.newidle.charges_blocked_update {
            walk.uncharged = self.cost.blocked_update;
        }
        let mut level = self.topo.cpus[cpu.index()].base;
        while let Some(sd) = level {
            level = self.topo.domains[sd.index()].parent;
            let notes_due = self.kernel.balance.newidle.notes_due;
            if notes_due == NotesDue::BeforePass {
                self.note_next(walk, sd);
            }
            let goes_on = self.newidle_level(cpu, sd, walk);
            if notes_due == NotesDue::AfterPass {
                self.note_next(walk, sd);
            }
            if !goes_on {
                break;
            }
        }
        let rq = &mut self.rqs[cpu.index()];
        rq.max_idle_balance_cost = rq.max_idle_balance_cost.max(walk.spent);
        self.newidle_result(cpu, walk.pulled)
    }

    /// What there is to run after `pulled` tasks were pulled: -1 of another class, 0 nothing, 1 fair tasks.
    fn newidle_result(&self, cpu: CpuId, pulled: u32) -> i32 {
        let (nr_running, h_nr_queued) = (self.rqs[cpu.index()].nr_running, self.root(cpu).h_nr_queued);
        let other_class = match self.kernel.balance.newidle.other_class {
            OtherClass::Queued => nr_running != h_nr_queued,
            OtherClass::CameMeanwhile => false,
        };
        if other_class { -1 } else { i32::from(pulled != 0 || h_nr_queued != 0) }
    }

    /// Balances one level; whether to go on with the next.
    fn newidle_level(&mut self, cpu: CpuId, sd: DomainId, walk: &mut Walk) -> bool {
        let rules = self.kernel.balance.newidle;
        let avg_idle = self.rqs[cpu.index()].avg_idle;
        let domain = &self.topo.domains[sd.index()];
        let (cost, ratio) = (domain.max_newidle_lb_cost, domain.newidle_ratio);
        if avg_idle < walk.spent + cost {
            let gate = NewIdleGate::LevelTooExpensive { domain: sd, avg_idle, spent: walk.spent, cost };
            self.emit_gate(cpu, gate);
            return false;
        }
        if !domain.flags.contains(SdFlags::BALANCE_NEWIDLE) {
            self.emit_gate(cpu, NewIdleGate::LevelExcluded { domain: sd });
            return !self.stops_newidle(cpu, true);
        }
        let mut weight = 1;
        // Where rare levels count as ones that always succeed, those are not diced for.
        let always = rules.statistics == NewIdleStatistics::SuccessAndRate && ratio >= 1024;
        if self.feat(Features::NI_RANDOM) && rules.statistics != NewIdleStatistics::Cost && !always {
            let dice = self.rng.next_u32() % 1024;
            let Some(credit) = newidle_weight(dice, ratio) else {
                self.count_newidle(sd, 0);
                self.emit_gate(cpu, NewIdleGate::Dice { domain: sd, dice, ratio });
                return true;
            };
            weight = credit;
        }
        let pass = self.sched_balance_rq(cpu, cpu, sd, IdleType::NewlyIdle);
        walk.pulled = pass.moved;
        let cost = core::mem::take(&mut walk.uncharged) + pass.cost;
        walk.spent += cost;
        let success = if pass.moved != 0 { weight } else { 0 };
        if cost != 0 {
            self.count_newidle(sd, success);
        }
        let (now, hz, rule) = (self.jiffies(), self.kernel.hz, self.kernel.balance.periodic.cost_decay);
        update_newidle_cost(rule, &mut self.topo.domains[sd.index()], cost, now, hz);
        self.emit_gate(cpu, NewIdleGate::Passed { domain: sd, moved: pass.moved, cost });
        pass.moved == 0 && !self.stops_newidle(cpu, pass.continue_balancing)
    }

    /// Whether the walk ends after a level that pulled nothing.
    fn stops_newidle(&self, cpu: CpuId, continue_balancing: bool) -> bool {
        let rq = &self.rqs[cpu.index()];
        match self.kernel.balance.newidle.stops {
            NewIdleStop::Running => rq.nr_running > 0,
            NewIdleStop::RunningOrWakeup => rq.nr_running > 0 || rq.ttwu_pending,
            NewIdleStop::NotOurTurn => !continue_balancing,
        }
    }

    fn note_next(&self, walk: &mut Walk, sd: DomainId) {
        let due = self.topo.domains[sd.index()].last_balance.wrapping_add(self.sd_interval(sd, false));
        if time_after(walk.next, due) {
            walk.next = due;
        }
    }

    fn emit_gate(&mut self, cpu: CpuId, gate: NewIdleGate) {
        self.emit(|_| Event::Balance(BalanceEvent::NewIdle { cpu, gate }));
    }
}
