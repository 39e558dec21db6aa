//! When a CPU balances: from its tick, through the softirq, level by level.
//!
//! Every tick compares `rq.next_balance` with the present; when it is due the softirq walks the levels from the lowest
//! up and balances those whose interval has passed. A busy CPU's intervals are `busy_factor` times longer. Example
//! (250 ticks a second): a level of 8 CPUs has an interval of 8 ms, that is 2 jiffies for an idle CPU, and
//! 8 * 16 / 4 - 1 = 31 jiffies for a busy one.
//!
//! In the kernel: `sched_balance_trigger()`, `sched_balance_softirq()`, `sched_balance_domains()`,
//! `get_sd_balance_interval()`, `update_newidle_cost()` (spec 3 §2.1-2.5).
use super::env::IdleType;
use super::event::BalanceEvent;
use super::rules::{CostDecay, NewIdleStatistics, PeriodicRules, Serialized};
use crate::ids::{CpuId, DomainId};
use crate::io::Action;
use crate::kernel::Features;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::time::{Jiffies, Ns, ms_to_jiffies, time_after, time_after_eq};
use crate::topology::{Domain, SdFlags};

/// The interval of a level in jiffies (spec 3 §2.4); the `- 1` keeps levels of busy CPUs from falling in step.
#[doc(alias = "get_sd_balance_interval")]
pub fn balance_interval(
    rules: &PeriodicRules,
    interval_ms: u64,
    busy_factor: Option<u32>,
    hz: u32,
    max: Jiffies,
) -> Jiffies {
    let interval = match busy_factor {
        Some(factor) => {
            let interval = ms_to_jiffies(interval_ms * u64::from(factor), hz);
            interval.wrapping_sub(u64::from(rules.busy_minus_one))
        }
        None => ms_to_jiffies(interval_ms, hz),
    };
    interval.clamp(1, max)
}

/// Counts a new-idle pass of a level: `success` is the credit for a pass that pulled. Every 1024 passes the credits
/// become the level's ratio, and both counts are halved (spec 3 §2.5). With the
/// present time `now`, where it is noted, and `counts_rate` a level that took 4.3 s for its last 512 passes counts as one
/// that always succeeds: it costs little.
pub fn update_newidle_stats(domain: &mut Domain, success: u32, now: Option<Ns>, counts_rate: bool) {
    domain.newidle_call += 1;
    domain.newidle_success += success;
    if domain.newidle_call >= 1024 {
        domain.newidle_ratio = match now {
            None => domain.newidle_success,
            Some(now) => {
                let since = now.saturating_sub(core::mem::replace(&mut domain.newidle_stamp, now));
                let rare = if counts_rate { (since >> 22).min(1024) as u32 } else { 0 };
                (rare + domain.newidle_success).min(1024)
            }
        };
        domain.newidle_call /= 2;
        domain.newidle_success /= 2;
    }
}

/// Keeps the maximum of a level's new-idle costs, which decays by about 1 % a second; whether it decayed now. A pass
/// that cost more than it may start the second anew ([`CostDecay`]); `cost` 0 only decays (spec 3 §2.5).
pub fn update_newidle_cost(rule: CostDecay, domain: &mut Domain, cost: Ns, now: Jiffies, hz: u32) -> bool {
    if cost > domain.max_newidle_lb_cost {
        domain.max_newidle_lb_cost = cost;
        if rule == CostDecay::SinceLastChange {
            domain.last_decay_max_lb_cost = now;
        }
        return false;
    }
    if rule == CostDecay::EverySecond && cost != 0 {
        return false;
    }
    if time_after(now, domain.last_decay_max_lb_cost.wrapping_add(u64::from(hz))) {
        domain.max_newidle_lb_cost = domain.max_newidle_lb_cost * 253 / 256;
        domain.last_decay_max_lb_cost = now;
        return true;
    }
    false
}

impl<O: Observer> Sched<O> {
    /// At the end of a tick: asks for the softirq if balancing is due, and perhaps kicks an idle CPU.
    #[doc(alias = "trigger_load_balance")]
    pub(crate) fn sched_balance_trigger(&mut self, cpu: CpuId) {
        let now = self.jiffies();
        let rq = &self.rqs[cpu.index()];
        let needs_active = self.kernel.balance.periodic.needs_active_cpu;
        if self.topo.cpus[cpu.index()].base.is_none() || needs_active && !rq.active {
            return;
        }
        let due = rq.next_balance;
        self.emit(|_| Event::Balance(BalanceEvent::Tick { cpu, due, now }));
        if time_after_eq(now, due) {
            self.raise_softirq(cpu);
        }
        self.nohz_balancer_kick(cpu);
    }

    /// Asks the host for the balancing softirq.
    pub(super) fn raise_softirq(&mut self, cpu: CpuId) {
        self.actions.push_back(Action::RaiseSoftirq { cpu });
    }

    /// The softirq: for the idle CPUs if that was asked for (which includes this one), else for this CPU.
    #[doc(alias = "run_rebalance_domains")]
    pub(crate) fn sched_balance_softirq(&mut self, cpu: CpuId) {
        let idle = if self.rqs[cpu.index()].idle_balance { IdleType::Idle } else { IdleType::NotIdle };
        if self.nohz_idle_balance(cpu, idle) {
            return;
        }
        self.update_blocked_averages(cpu);
        self.sched_balance_domains(cpu, cpu, idle);
    }

    /// The interval of level `sd` for an idle or busy CPU, jiffies.
    pub(super) fn sd_interval(&self, sd: DomainId, busy: bool) -> Jiffies {
        let domain = &self.topo.domains[sd.index()];
        let factor = busy.then_some(domain.busy_factor);
        let rules = &self.kernel.balance.periodic;
        balance_interval(
            rules,
            domain.balance_interval,
            factor,
            self.kernel.hz,
            self.max_load_balance_interval,
        )
    }

    /// Walks the levels of `cpu` and balances those that are due; `on_cpu` executes it (spec 3 §2.3).
    #[doc(alias = "rebalance_domains")]
    pub(super) fn sched_balance_domains(&mut self, on_cpu: CpuId, cpu: CpuId, mut idle: IdleType) {
        let (now, hz) = (self.jiffies(), self.kernel.hz);
        let rules = self.kernel.balance.periodic;
        let mut busy = idle != IdleType::Idle && !self.sched_idle_cpu(cpu);
        let mut next = now.wrapping_add(60 * u64::from(hz));
        let mut have_next = false;
        let (mut need_decay, mut max_cost) = (false, 0);
        let mut continue_balancing = true;
        let mut level = self.topo.cpus[cpu.index()].base;
        while let Some(sd) = level {
            let domain = &mut self.topo.domains[sd.index()];
            level = domain.parent;
            let decayed = update_newidle_cost(rules.cost_decay, domain, 0, now, hz);
            need_decay = decayed || need_decay && rules.cost_decay == CostDecay::EverySecond;
            max_cost += domain.max_newidle_lb_cost;
            if !continue_balancing {
                if need_decay {
                    continue;
                }
                break;
            }
            self.balance_level_if_due(on_cpu, cpu, sd, &mut idle, &mut busy, &mut continue_balancing);
            let due = self.topo.domains[sd.index()].last_balance.wrapping_add(self.sd_interval(sd, busy));
            if time_after(next, due) {
                next = due;
                have_next = true;
            }
        }
        let rq = &mut self.rqs[cpu.index()];
        if need_decay {
            rq.max_idle_balance_cost = max_cost.max(u64::from(self.kernel.tunables.migration_cost_ns));
        }
        if have_next {
            rq.next_balance = next;
            if rules.pulls_nohz_forward && idle == IdleType::Idle && time_after(self.nohz.next_balance, next)
            {
                self.nohz.next_balance = next;
            }
        }
    }

    /// Counts a new-idle pass of level `sd`, made or not (spec 3 §2.5).
    pub(super) fn count_newidle(&mut self, sd: DomainId, success: u32) {
        let now = match self.kernel.balance.newidle.statistics {
            NewIdleStatistics::Cost => return,
            NewIdleStatistics::Success => None,
            NewIdleStatistics::SuccessAndRate => Some(self.now),
        };
        let counts_rate = self.feat(Features::NI_RATE);
        update_newidle_stats(&mut self.topo.domains[sd.index()], success, now, counts_rate);
    }

    fn balance_level_if_due(
        &mut self,
        on_cpu: CpuId,
        cpu: CpuId,
        sd: DomainId,
        idle: &mut IdleType,
        busy: &mut bool,
        continue_balancing: &mut bool,
    ) {
        let now = self.jiffies();
        let domain = &self.topo.domains[sd.index()];
        let before_pass = self.kernel.balance.periodic.serialized == Serialized::BeforePass;
        let serialize = before_pass && domain.flags.contains(SdFlags::SERIALIZE);
        if serialize && self.balance_running {
            self.emit(|_| Event::Balance(BalanceEvent::Serialized { cpu, domain: sd }));
            return;
        }
        let due = domain.last_balance.wrapping_add(self.sd_interval(sd, *busy));
        if !time_after_eq(now, due) {
            self.emit(|_| Event::Balance(BalanceEvent::NotDue { cpu, domain: sd, due, now }));
            return;
        }
        self.emit(|_| Event::Balance(BalanceEvent::Due { cpu, domain: sd, due, now, busy: *busy }));
        self.balance_running |= serialize;
        let pass = self.sched_balance_rq(on_cpu, cpu, sd, *idle);
        *continue_balancing = pass.continue_balancing;
        if pass.moved != 0 {
            // The tasks may have gone to a sibling (LBF_DST_PINNED), so look again.
            *idle = if self.idle_cpu(cpu) { IdleType::Idle } else { IdleType::NotIdle };
            *busy = *idle != IdleType::Idle && !self.sched_idle_cpu(cpu);
        }
        self.topo.domains[sd.index()].last_balance = now;
        if serialize {
            self.balance_running = false;
        }
    }
}
