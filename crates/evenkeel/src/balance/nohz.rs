//! Balancing for tickless idle CPUs: they have no tick of their own, so a busy CPU wakes one of them to balance for all.
//!
//! The set of tickless CPUs lags behind: a CPU joins when it stops its tick and leaves at its next busy tick, so every
//! user looks again whether a member is idle. Example: CPU 0 has two tasks at its tick, CPUs 2 and 5 are tickless and
//! `nohz.next_balance` is due: CPU 0 kicks CPU 2, whose softirq balances first for 5 and then for itself.
//!
//! In the kernel: `nohz_balance_enter_idle()`, `nohz_balancer_kick()`, `kick_ilb()`, `nohz_csd_func()`,
//! `_nohz_idle_balance()`, `nohz_newidle_balance()`, `nohz_run_idle_balance()` (spec 3 §2.6-2.10). All CPUs do
//! housekeeping.
use super::env::IdleType;
use super::event::{BalanceEvent, KickOutcome, KickReason, NohzVisit};
use super::rules::{
    BusyCpus, ClosedGate, EnergyAware, IlbAbort, IlbWalk, KickAsym, KickDelivery, KickMovesDue, KickOrder,
    KickTarget,
};
use super::view::{CpuView, capacity_is_reduced};
use crate::ids::{CpuId, DomainId};
use crate::io::{Action, IpiKind};
use crate::observe::{Event, Observer};
use crate::queue_rules::LoadTracking;
use crate::rq::NohzFlags;
use crate::sched::Sched;
use crate::time::{Jiffies, ms_to_jiffies, time_after, time_after_eq, time_before};

/// How long refreshed load of idle CPUs is good for, ms (`LOAD_AVG_PERIOD`).
pub(super) const LOAD_AVG_PERIOD: u64 = 32;

/// The requests for which an interrupt is sent (`NOHZ_KICK_MASK`).
const KICK_MASK: NohzFlags = NohzFlags::BALANCE.union(NohzFlags::STATS).union(NohzFlags::NEXT);

/// What is done for an idle CPU whose `next_balance` is `due`.
fn visit_of(is_due: bool, flags: NohzFlags, due: Jiffies) -> NohzVisit {
    match (flags.contains(NohzFlags::BALANCE), is_due) {
        (false, _) => NohzVisit::NotAsked,
        (true, false) => NohzVisit::NotDue { due },
        (true, true) => NohzVisit::Balances,
    }
}

/// What a walk over tickless CPUs has come to.
struct Round {
    /// The earliest time at which one is due.
    next: Jiffies,
    /// There is such a time.
    have_next: bool,
    /// Blocked load is left somewhere.
    blocked: bool,
}

impl<O: Observer> Sched<O> {
    /// The CPU stops its tick: it joins the tickless idle CPUs (spec 3 §2.6).
    pub(crate) fn nohz_balance_enter_idle(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        if !rq.active {
            return;
        }
        rq.has_blocked_load = true;
        if !rq.nohz_tick_stopped {
            if self.topo.cpus[cpu.index()].base.is_none() {
                return;
            }
            rq.nohz_tick_stopped = true;
            self.nohz.idle_cpus_mask.set(cpu);
            self.nohz.nr_cpus += 1;
            self.set_cpu_sd_state(cpu, true);
            self.nohz.needs_update = self.kernel.balance.nohz.needs_update;
            self.emit(|_| Event::Balance(BalanceEvent::NohzEnter { cpu }));
        }
        self.nohz.has_blocked = true;
    }

    /// The CPU is busy at its tick: it leaves them.
    pub(crate) fn nohz_balance_exit_idle(&mut self, cpu: CpuId) {
        if !core::mem::take(&mut self.rqs[cpu.index()].nohz_tick_stopped) {
            return;
        }
        self.nohz.idle_cpus_mask.clear(cpu);
        self.nohz.nr_cpus -= 1;
        self.set_cpu_sd_state(cpu, false);
        self.emit(|_| Event::Balance(BalanceEvent::NohzExit { cpu }));
    }

    /// Counts the CPU as idle or busy in its last-level cache.
    fn set_cpu_sd_state(&mut self, cpu: CpuId, idle: bool) {
        let Some(llc) = self.topo.cpus[cpu.index()].sd_llc else { return };
        let domain = &mut self.topo.domains[llc.index()];
        if domain.nohz_idle == idle {
            return;
        }
        domain.nohz_idle = idle;
        if let Some(shared) = domain.shared {
            self.topo.shared[shared.index()].nr_busy_cpus += if idle { -1 } else { 1 };
        }
    }

    /// A CPU's tick: are the idle CPUs to be balanced for, or their load to be refreshed? (spec 3 §2.7)
    #[doc(alias = "nohz_kick_needed")]
    pub(super) fn nohz_balancer_kick(&mut self, cpu: CpuId) {
        let now = self.jiffies();
        let (mut reason, mut flags) = (KickReason::Idle, NohzFlags::empty());
        if !self.rqs[cpu.index()].idle_balance {
            self.nohz_balance_exit_idle(cpu);
            reason = KickReason::NobodyIdle;
            if self.nohz.nr_cpus != 0 {
                reason = self.kick_reason(cpu, now);
                if self.nohz.has_blocked && time_after(now, self.nohz.next_blocked) {
                    flags.insert(NohzFlags::STATS);
                }
                if reason.kicks() {
                    flags.insert(NohzFlags::STATS | NohzFlags::BALANCE);
                }
                if self.nohz.needs_update {
                    flags.insert(NohzFlags::NEXT);
                }
            }
        }
        let outcome = if flags.is_empty() { KickOutcome::NoFlags } else { self.kick_ilb(cpu, flags) };
        self.emit(|_| Event::Balance(BalanceEvent::NohzKick { cpu, reason, flags, outcome }));
    }

    /// Steps 5 to 10: why the idle CPUs should be balanced for, or why not.
    fn kick_reason(&self, cpu: CpuId, now: u64) -> KickReason {
        let (rq, pointers) = (&self.rqs[cpu.index()], &self.topo.cpus[cpu.index()]);
        if time_before(now, self.nohz.next_balance) {
            return KickReason::NotDue;
        }
        if rq.nr_running >= 2 {
            return KickReason::SeveralTasks;
        }
        let order = self.kernel.balance.nohz.kick_order;
        if order == KickOrder::CacheEarly && self.cache_is_busy(cpu) {
            return KickReason::LlcBusy;
        }
        let fair = self.kernel.balance.fair_tasks.of(self, cpu);
        let base = pointers.base;
        if fair >= 1 && base.is_some_and(|base| self.capacity_is_reduced(cpu, base)) {
            return KickReason::ReducedCapacity;
        }
        if pointers.sd_asym_packing.is_some_and(|sd| self.preferred_cpu_is_idle(cpu, sd)) {
            return KickReason::AsymPacking;
        }
        let misfit = match (order, pointers.sd_asym_cpucapacity) {
            (KickOrder::CacheEarly, _) | (_, None) => None,
            (KickOrder::AnyMisfit, Some(_)) => Some(true),
            (KickOrder::MisfitIfBigger, Some(sd)) => {
                let largest = self.topo.roots[pointers.root.index()].max_cpu_capacity;
                Some(rq.arch_capacity < largest || self.capacity_is_reduced(cpu, sd))
            }
        };
        match misfit {
            Some(counts) if counts && rq.misfit_task_load != 0 => KickReason::Misfit,
            Some(_) => KickReason::NoMisfit,
            None if order != KickOrder::CacheEarly && self.cache_is_busy(cpu) => KickReason::LlcBusy,
            None => KickReason::NoReason,
        }
    }

    /// Whether others use so much of the CPU that its load should go elsewhere on level `sd`.
    fn capacity_is_reduced(&self, cpu: CpuId, sd: DomainId) -> bool {
        let rq = &self.rqs[cpu.index()];
        capacity_is_reduced(rq.cpu_capacity, rq.arch_capacity, self.topo.domains[sd.index()].imbalance_pct)
    }

    /// Whether several CPUs of the cache (or of all capacities) are busy.
    fn cache_is_busy(&self, cpu: CpuId) -> bool {
        let pointers = &self.topo.cpus[cpu.index()];
        let shared = match self.kernel.balance.nohz.busy_cpus {
            BusyCpus::Llc => pointers.sd_llc_shared,
            BusyCpus::AsymCapacityOrLlc => pointers.sd_balance_shared,
        };
        shared.is_some_and(|shared| self.topo.shared[shared.index()].nr_busy_cpus > 1)
    }

    /// Whether a tickless CPU of the domain is preferred to `cpu`.
    fn preferred_cpu_is_idle(&self, cpu: CpuId, sd: DomainId) -> bool {
        let search = super::stats::Search {
            topo: &self.topo,
            view: self,
            rules: &self.kernel.balance,
            sd,
            dst_cpu: cpu,
            idle: IdleType::Idle,
            cpus: &self.nohz.idle_cpus_mask,
            energy_aware: EnergyAware::Off,
            gathering: self.gathering,
        };
        let preferred = |other| match self.kernel.balance.nohz.kick_asym {
            KickAsym::Preferred => search.sched_asym_prefer(other, cpu),
            KickAsym::PreferredCore => search.sched_asym(other, cpu),
        };
        let span = &self.topo.domains[sd.index()].span;
        span.iter().any(|other| self.nohz.idle_cpus_mask.contains(other) && preferred(other))
    }

    /// Sends the requests to an idle CPU (spec 3 §2.8).
    fn kick_ilb(&mut self, cpu: CpuId, flags: NohzFlags) -> KickOutcome {
        match self.kernel.balance.nohz.kick_moves_due {
            KickMovesDue::OneMore => self.nohz.next_balance = self.nohz.next_balance.wrapping_add(1),
            KickMovesDue::NextJiffy if flags.contains(NohzFlags::BALANCE) => {
                self.nohz.next_balance = self.jiffies().wrapping_add(1);
            }
            KickMovesDue::NextJiffy => {}
        }
        let Some(ilb) = self.find_new_ilb(cpu) else { return KickOutcome::NoTarget };
        let pending = &mut self.rqs[ilb.index()].nohz_flags;
        if self.kernel.balance.nohz.skips_repeated_kick && pending.contains(flags) {
            return KickOutcome::AlreadyPending(ilb);
        }
        let old = *pending;
        pending.insert(flags);
        if old.intersects(KICK_MASK) {
            return KickOutcome::AlreadyPending(ilb);
        }
        self.actions.push_back(Action::Ipi { from: cpu, to: ilb, kind: IpiKind::NohzKick });
        KickOutcome::Sent(ilb)
    }

    /// The tickless CPU to kick.
    fn find_new_ilb(&self, cpu: CpuId) -> Option<CpuId> {
        let mut tickless = self.nohz.idle_cpus_mask.iter();
        match self.kernel.balance.nohz.target {
            KickTarget::FirstTickless => tickless.next().filter(|&first| self.idle_cpu(first)),
            KickTarget::FirstIdle => tickless.find(|&other| other != cpu && self.idle_cpu(other)),
        }
    }

    /// The interrupt of a kick arrives: if the CPU is idle, its softirq does what was asked.
    pub(crate) fn nohz_csd_func(&mut self, cpu: CpuId) {
        let idle = self.idle_cpu(cpu);
        let delivery = self.kernel.balance.nohz.delivery;
        let rq = &mut self.rqs[cpu.index()];
        let takes_it = idle && (delivery == KickDelivery::Call || !rq.need_resched);
        if delivery == KickDelivery::Reschedule {
            if !rq.nohz_flags.intersects(KICK_MASK) {
                return;
            }
            if takes_it {
                rq.idle_balance = true;
                self.raise_softirq(cpu);
            } else {
                rq.nohz_flags.remove(KICK_MASK);
            }
            return;
        }
        let flags = rq.nohz_flags;
        rq.nohz_flags.remove(KICK_MASK | NohzFlags::NEWILB);
        rq.idle_balance = idle;
        if takes_it {
            rq.nohz_idle_balance = flags;
            self.raise_softirq(cpu);
        }
    }

    /// In the softirq: does what a kick has asked for; whether it did (spec 3 §2.9).
    pub(super) fn nohz_idle_balance(&mut self, cpu: CpuId, idle: IdleType) -> bool {
        let rq = &mut self.rqs[cpu.index()];
        let flags = match self.kernel.balance.nohz.delivery {
            KickDelivery::Reschedule => {
                let flags = rq.nohz_flags & KICK_MASK;
                rq.nohz_flags.remove(KICK_MASK);
                flags
            }
            KickDelivery::CallUnlessRescheduling | KickDelivery::Call => {
                core::mem::take(&mut rq.nohz_idle_balance)
            }
        };
        if flags.is_empty() || idle != IdleType::Idle {
            return false;
        }
        self.balance_idle_cpus(cpu, flags, IdleType::Idle);
        true
    }

    /// Visits the tickless CPUs, this one last; whether it came to the end (`_nohz_idle_balance`).
    fn balance_idle_cpus(&mut self, this_cpu: CpuId, flags: NohzFlags, idle: IdleType) -> bool {
        let (now, hz, rules) = (self.jiffies(), self.kernel.hz, self.kernel.balance.nohz);
        let refreshes = rules.always_refreshes || flags.contains(NohzFlags::STATS);
        let mut round =
            Round { next: now.wrapping_add(60 * u64::from(hz)), have_next: false, blocked: false };
        self.emit(|_| Event::Balance(BalanceEvent::NohzBalance { cpu: this_cpu, flags }));
        if refreshes {
            self.nohz.has_blocked = false;
        }
        if flags.contains(NohzFlags::NEXT) {
            self.nohz.needs_update = false;
        }
        let mut aborted = false;
        let mut at = self.next_tickless(None, this_cpu);
        while let Some(cpu) = at {
            at = self.next_tickless(Some(cpu), this_cpu);
            if !self.idle_cpu(cpu) {
                self.emit_visit(this_cpu, cpu, NohzVisit::NotIdle);
                continue;
            }
            if self.must_stop(this_cpu) {
                aborted = true;
                break;
            }
            self.balance_idle_cpu(this_cpu, cpu, flags, &mut round);
        }
        if aborted {
            round.blocked |= refreshes;
            self.nohz.needs_update |= flags.contains(NohzFlags::NEXT);
            self.emit(|_| Event::Balance(BalanceEvent::NohzAborted { cpu: this_cpu }));
        } else {
            if rules.walk == IlbWalk::FromFirst {
                self.balance_itself(this_cpu, flags, idle, &mut round);
            }
            if refreshes {
                self.nohz.next_blocked = now.wrapping_add(ms_to_jiffies(LOAD_AVG_PERIOD, hz));
            }
        }
        if round.have_next && (!aborted || rules.walk == IlbWalk::FromFirst) {
            self.nohz.next_balance = round.next;
        }
        self.nohz.has_blocked |= round.blocked;
        !aborted
    }

    /// Whether the CPU has something better to do than to balance for others.
    fn must_stop(&self, this_cpu: CpuId) -> bool {
        let need_resched = self.rqs[this_cpu.index()].need_resched;
        match self.kernel.balance.nohz.abort {
            IlbAbort::Rescheduling => need_resched,
            IlbAbort::ReschedulingAndBusy => need_resched && !self.idle_cpu(this_cpu),
        }
    }

    /// Does for one tickless CPU what was asked for.
    fn balance_idle_cpu(&mut self, this_cpu: CpuId, cpu: CpuId, flags: NohzFlags, round: &mut Round) {
        if self.kernel.balance.nohz.always_refreshes || flags.contains(NohzFlags::STATS) {
            round.blocked |= self.update_nohz_stats(cpu, self.kernel.balance.nohz.walk == IlbWalk::FromFirst);
        }
        let is_due = time_after_eq(self.jiffies(), self.rqs[cpu.index()].next_balance);
        self.emit_visit(this_cpu, cpu, visit_of(is_due, flags, self.rqs[cpu.index()].next_balance));
        if is_due {
            self.update_rq_clock(cpu);
            self.age_idle_cpu_load(cpu);
            if flags.contains(NohzFlags::BALANCE) {
                self.sched_balance_domains(this_cpu, cpu, IdleType::Idle);
            }
        }
        let due = self.rqs[cpu.index()].next_balance;
        if time_after(round.next, due) {
            round.next = due;
            round.have_next = true;
        }
    }

    /// The end of a walk that does not come to the CPU itself.
    fn balance_itself(&mut self, cpu: CpuId, flags: NohzFlags, idle: IdleType, round: &mut Round) {
        if idle != IdleType::NewlyIdle {
            self.update_blocked_averages(cpu);
            round.blocked |= self.rqs[cpu.index()].has_blocked_load;
        }
        if flags.contains(NohzFlags::BALANCE) {
            self.emit_visit(cpu, cpu, NohzVisit::Balances);
            self.sched_balance_domains(cpu, cpu, IdleType::Idle);
        }
    }

    /// The history of a tickless CPU's load catches up, where there is one (`cpu_load_update_idle`).
    fn age_idle_cpu_load(&mut self, cpu: CpuId) {
        let has_history = self.kernel.queues.load_tracking == LoadTracking::ScaledContributions;
        let behind = self.rqs[cpu.index()].last_cpu_load_update != self.jiffies();
        if has_history && behind && CpuView::cpu_load(self, cpu) == 0 {
            self.cpu_load_update(cpu);
        }
    }

    fn emit_visit(&mut self, by: CpuId, cpu: CpuId, visit: NohzVisit) {
        self.emit(|_| Event::Balance(BalanceEvent::NohzVisit { by, cpu, visit }));
    }

    /// The next tickless CPU after `last` in the order of the walk; the CPU itself is left out or comes last.
    fn next_tickless(&self, last: Option<CpuId>, this_cpu: CpuId) -> Option<CpuId> {
        let mask = &self.nohz.idle_cpus_mask;
        match self.kernel.balance.nohz.walk {
            IlbWalk::FromFirst => {
                let next = mask.next_from(last.map_or(CpuId(0), |last| CpuId(last.0 + 1)))?;
                if next == this_cpu { mask.next_from(CpuId(next.0 + 1)) } else { Some(next) }
            }
            IlbWalk::FromNext => {
                let ahead = mask.next_from(CpuId(last.unwrap_or(this_cpu).0 + 1));
                if last.is_some_and(|last| last <= this_cpu) {
                    ahead.filter(|&cpu| cpu <= this_cpu)
                } else {
                    ahead.or_else(|| mask.first().filter(|&cpu| cpu <= this_cpu))
                }
            }
        }
    }

    /// Refreshes the load of a tickless CPU, with `force` also if that was done in this jiffy; whether some is left.
    pub(super) fn update_nohz_stats(&mut self, cpu: CpuId, force: bool) -> bool {
        let rq = &self.rqs[cpu.index()];
        if !rq.has_blocked_load || !self.nohz.idle_cpus_mask.contains(cpu) {
            return false;
        }
        if !force && !time_after(self.jiffies(), rq.last_blocked_load_update_tick) {
            return true;
        }
        self.update_blocked_averages(cpu);
        self.rqs[cpu.index()].has_blocked_load
    }

    /// After a new-idle pass that found nothing: let the idle loop refresh stale load (spec 3 §2.10).
    pub(super) fn nohz_newidle_balance(&mut self, cpu: CpuId) {
        let now = self.jiffies();
        let rq = &mut self.rqs[cpu.index()];
        if rq.avg_idle < u64::from(self.kernel.tunables.migration_cost_ns)
            || !self.nohz.has_blocked
            || time_before(now, self.nohz.next_blocked)
        {
            return;
        }
        match self.kernel.balance.newidle.closed_gate {
            ClosedGate::GoesIdle => rq.nohz_flags.insert(NohzFlags::NEWILB),
            ClosedGate::RefreshesLoad => {
                if !self.balance_idle_cpus(cpu, NohzFlags::STATS, IdleType::NewlyIdle) {
                    self.kick_ilb(cpu, NohzFlags::STATS);
                }
            }
        }
    }

    /// First thing in the idle loop: does what `nohz_newidle_balance` has left.
    pub(crate) fn nohz_run_idle_balance(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        let old = rq.nohz_flags;
        rq.nohz_flags.remove(NohzFlags::NEWILB);
        if old == NohzFlags::NEWILB && !rq.need_resched {
            self.balance_idle_cpus(cpu, NohzFlags::STATS, IdleType::Idle);
        }
    }
}

impl KickReason {
    /// Whether it calls for balancing.
    pub fn kicks(self) -> bool {
        use KickReason::{AsymPacking, LlcBusy, Misfit, ReducedCapacity, SeveralTasks};
        matches!(self, SeveralTasks | ReducedCapacity | AsymPacking | Misfit | LlcBusy)
    }
}
