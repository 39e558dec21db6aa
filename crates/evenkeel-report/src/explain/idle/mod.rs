//! Idle while work waits: every stretch in which a CPU idled although a task that may run there waited, and what kept
//! the two apart.
//!
//! # What is counted
//! A *stretch* of CPU `C` is a longest span of time in which `C` runs the idle task and at least one task that is
//! allowed on `C` waits for a CPU. A task waits from its fork or wake-up until it runs, also while an interrupt carries
//! its wake-up to another CPU. Stretches are counted per CPU: when seven CPUs idle and one task waits, each of the seven
//! has a stretch. What could really have been used, one task per CPU, is [`Report::wasted`]; it equals the figure of the
//! run's own meters. A task that a limit of CPU time has stopped does not wait for a CPU: idle CPUs beside it are no
//! stretch. How long they idled like that is [`Report::stopped`].
//!
//! # The rule of attribution
//! Every nanosecond of a stretch has exactly one cause; there is no "other". The cause at a moment is, in this order:
//! 1. what is under way to `C`: a task on its queue ([`Cause::Reschedule`]), a wake-up by interrupt, an active balance;
//! 2. if all tasks that wait are on their way to other idle CPUs, that ([`Cause::PlacedElsewhere`]);
//! 3. if no domain spans `C` and any CPU with such a task, that ([`Cause::OutOfReach`]): nobody will ever look;
//! 4. the gate of the *last attempt that could have helped*, made since the stretch began or in the same instant;
//! 5. if there was none, nobody looked: the next attempt would be `C`'s own tick ([`Cause::TickNotYet`]) or, if `C` is
//!    tickless, that of a busy CPU ([`Cause::NoTickElsewhere`]).
//!
//! So the time between two triggers is charged to what came of the first. An attempt is: new-idle balancing of `C`, a
//! tick of `C`, a busy CPU's decision to kick the tickless ones or not (if `C` is one), a visit to `C` by the CPU that was
//! kicked, a level found due or not, and a pass on behalf of `C`. It *could have helped* if at that moment a task allowed
//! on `C` waited on a CPU that the level of the attempt reaches: within its domain, but outside `C`'s own group there.
//! What ends a whole walk through the levels (not `C`'s turn, too expensive, nothing due) counts for all levels above it
//! as well. Of two kick decisions in the same instant one that kicks outweighs one that does not.
//!
//! For example `C` goes idle at 10 ms while a task waits behind the other cache, and new-idle balancing stops at
//! `avg_idle`: that is the cause until the tick at 12 ms, at which CPU 0 decides that a kick is not due; from there on
//! the kick is, until at 16 ms a kick is sent, and 1 us later a pass pulls the task.
//!
//! Left out: CPUs idle while a task *runs* that would be better off there (unequal load, shared cores). Nothing waits.
mod cause;
mod state;
mod text;

pub(crate) use cause::kebab;
pub use cause::{Cause, Ended, Gate, Level, Look};

use super::Facts;
use super::passes::{Pass, Passes};
use evenkeel::balance::event::{BalanceEvent, KickOutcome, KickReason, NewIdleGate, NohzVisit, PassOutcome};
use evenkeel::ids::{CpuId, DomainId};
use evenkeel::observe::{Event, Observer};
use evenkeel::rq::NohzFlags;
use evenkeel::time::{Jiffies, Ns, time_after_eq};
use state::{Doing, Machine};
use std::collections::BTreeMap;

/// The longest stretches that are kept in full.
const LONGEST: usize = 10;

/// One stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The idle CPU.
    pub cpu: CpuId,
    /// From when.
    pub start: Ns,
    /// Until when.
    pub end: Ns,
    /// Its causes in order of first appearance.
    pub parts: Vec<Part>,
    /// The cause that stood last, and since when.
    last: Option<(Cause, Ns)>,
}

/// One cause within a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The cause.
    pub cause: Cause,
    /// For how long it stood.
    pub time: Ns,
    /// How many times it began to stand.
    pub times: u64,
    /// Where something was not due: the latest time at which it would have been.
    pub due: Option<Ns>,
}

impl Stretch {
    /// `cause` has stood for `span` more, up to `self.end`; for how long without a break.
    fn add(&mut self, cause: Cause, span: Ns, due: Option<Ns>) -> (bool, Ns) {
        let begins = self.last.is_none_or(|(last, _)| last != cause);
        let since = self.last.filter(|_| !begins).map_or(self.end - span, |(_, since)| since);
        self.last = Some((cause, since));
        let at = self.parts.iter().position(|part| part.cause == cause).unwrap_or_else(|| {
            self.parts.push(Part { cause, time: 0, times: 0, due: None });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.time += span;
        part.times += u64::from(begins);
        part.due = part.due.max(due);
        (begins, self.end - since)
    }
}

/// How much a cause cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// CPU time.
    pub time: Ns,
    /// How many uninterrupted parts of stretches it is made of.
    pub parts: u64,
    /// The longest of them.
    pub longest: Ns,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Length of the run.
    pub elapsed: Ns,
    /// Number of CPUs.
    pub nr_cpus: usize,
    /// CPU time that was idle at all.
    pub idle: Ns,
    /// CPU time of all stretches.
    pub total: Ns,
    /// Stretches.
    pub stretches: u64,
    /// Of that time what waiting tasks could have used, one task per CPU.
    pub wasted: Ns,
    /// CPU time that was idle while nothing waited for the CPU but a limit had stopped a task that may run there.
    pub stopped: Ns,
    /// Causes, the most expensive first.
    pub causes: Vec<(Cause, Share)>,
    /// Time by CPU.
    pub by_cpu: Vec<Ns>,
    /// The longest stretches, longest first.
    pub longest: Vec<Stretch>,
}

/// An attempt to find work for a CPU, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Ns,
    cause: Cause,
    due: Option<Ns>,
}

/// What is known of one CPU.
#[derive(Clone, Debug, Default)]
struct Cpu {
    stretch: Option<Stretch>,
    last: Option<Attempt>,
    /// A stopper was asked to push a task here.
    push_pending: u32,
    /// The walk for the tickless CPUs that is under way has come by.
    visited: bool,
}

/// Finds the causes while a run goes on.
#[derive(Clone, Debug)]
pub struct IdleObserver {
    facts: Facts,
    machine: Machine,
    cpus: Vec<Cpu>,
    passes: Passes,
    since: Ns,
    report: Report,
    causes: BTreeMap<Cause, Share>,
}

impl IdleObserver {
    /// For a run on the machine of `facts`.
    pub fn new(facts: Facts) -> Self {
        let ncpus = facts.nr_cpus();
        Self {
            machine: Machine::new(facts.online()),
            cpus: vec![Cpu::default(); ncpus],
            passes: Passes::default(),
            since: 0,
            report: Report { nr_cpus: ncpus, by_cpu: vec![0; ncpus], ..Report::default() },
            causes: BTreeMap::new(),
            facts,
        }
    }

    /// Ends at `now`: what was found.
    pub fn finish(mut self, now: Ns) -> Report {
        self.advance(now);
        for cpu in 0..self.cpus.len() {
            self.close(cpu);
        }
        let mut causes: Vec<(Cause, Share)> = self.causes.into_iter().collect();
        causes.sort_by_key(|&(cause, share)| (core::cmp::Reverse(share.time), cause));
        self.report.causes = causes;
        self.report.elapsed = now;
        self.report
    }

    /// Time goes on to `now` with the state as it is: charges it.
    fn advance(&mut self, now: Ns) {
        let span = now - self.since;
        if span == 0 {
            return;
        }
        let somebody_waits = !self.machine.waiting.is_empty();
        if somebody_waits {
            self.report.wasted += self.machine.fillable() * span;
        }
        for index in 0..self.cpus.len() {
            let idle = self.machine.idle[index];
            self.report.idle += if idle { span } else { 0 };
            let cpu = CpuId(index as u32);
            if idle && somebody_waits && self.machine.candidates(cpu).next().is_some() {
                self.charge(cpu, span, now);
            } else {
                self.report.stopped += if idle && self.machine.has_stopped(cpu) { span } else { 0 };
                self.close(index);
            }
        }
        self.since = now;
    }

    /// `cpu` has idled for `span` while a task waited.
    fn charge(&mut self, cpu: CpuId, span: Ns, now: Ns) {
        let since = self.since;
        let state = &mut self.cpus[cpu.index()];
        if state.stretch.is_none() {
            // Attempts of the past were made for other tasks, except in this very instant.
            state.last = state.last.filter(|last| last.at == since);
            state.stretch = Some(Stretch { cpu, start: since, end: since, parts: Vec::new(), last: None });
            self.report.stretches += 1;
        }
        let cause = self.cause(cpu);
        let due = self.cpus[cpu.index()].last.filter(|last| last.cause == cause).and_then(|last| last.due);
        let share = self.causes.entry(cause).or_default();
        share.time += span;
        self.report.total += span;
        self.report.by_cpu[cpu.index()] += span;
        if let Some(stretch) = &mut self.cpus[cpu.index()].stretch {
            stretch.end = now;
            let (begins, length) = stretch.add(cause, span, due);
            share.parts += u64::from(begins);
            share.longest = share.longest.max(length);
        }
    }

    /// A stretch of the CPU, if there is one, is over.
    fn close(&mut self, cpu: usize) {
        let Some(stretch) = self.cpus[cpu].stretch.take() else { return };
        let longest = &mut self.report.longest;
        let length = stretch.end - stretch.start;
        let at = longest.partition_point(|other| other.end - other.start >= length);
        if at < LONGEST {
            longest.insert(at, stretch);
            longest.truncate(LONGEST);
        }
    }

    /// The cause at this moment; see the rule in the module's documentation.
    fn cause(&self, cpu: CpuId) -> Cause {
        let here = |doing: Doing| match doing {
            Doing::Waiting(at) if at == cpu => Some(Cause::Reschedule),
            Doing::InFlight(at) if at == cpu => Some(Cause::WakeupInFlight),
            _ => None,
        };
        if let Some(cause) = self.machine.candidates(cpu).filter_map(here).min() {
            return cause;
        }
        let state = &self.cpus[cpu.index()];
        if state.push_pending > 0 {
            return Cause::ActiveBalancePending;
        }
        let placed = |doing: Doing| match doing {
            Doing::InFlight(_) => true,
            Doing::Waiting(at) => self.machine.idle[at.index()],
            Doing::NotWaiting | Doing::Running => false,
        };
        if self.machine.candidates(cpu).all(placed) {
            return Cause::PlacedElsewhere;
        }
        if !self.machine.waits_where(cpu, |at| self.facts.reaches_at_all(cpu, at)) {
            return Cause::OutOfReach;
        }
        match state.last {
            Some(last) => last.cause,
            None if self.machine.tickless[cpu.index()] => Cause::NoTickElsewhere,
            None => Cause::TickNotYet,
        }
    }

    /// An attempt that reaches what `reach` says has come to `cause`.
    fn attempt(&mut self, now: Ns, cpu: CpuId, reach: Reach, cause: Cause) {
        self.attempt_with_due(now, cpu, reach, cause, None);
    }

    fn attempt_with_due(&mut self, now: Ns, cpu: CpuId, reach: Reach, cause: Cause, due: Option<Jiffies>) {
        let facts = &self.facts;
        let helps = self.machine.waits_where(cpu, |at| match reach {
            Reach::Level(domain) => facts.reaches(domain, at),
            Reach::From(domain) => facts.reaches_above(domain, at),
            Reach::All => facts.reaches_at_all(cpu, at),
        });
        if helps {
            self.cpus[cpu.index()].last =
                Some(Attempt { at: now, cause, due: due.map(|due| facts.time_of(due)) });
        }
    }

    fn balance(&mut self, now: Ns, event: &BalanceEvent) {
        match *event {
            BalanceEvent::Tick { cpu, due, now: jiffies } => {
                let cause = Cause::NotDue(Look::Tick, None);
                let looks = !self.machine.idle[cpu.index()] || time_after_eq(jiffies, due);
                if !looks {
                    self.attempt_with_due(now, cpu, Reach::All, cause, Some(due));
                }
            }
            BalanceEvent::NotDue { cpu, domain, due, .. } => {
                let look = if self.machine.tickless[cpu.index()] { Look::Nohz } else { Look::Tick };
                let cause = Cause::NotDue(look, Some(self.facts.level(domain)));
                self.attempt_with_due(now, cpu, Reach::Level(domain), cause, Some(due));
            }
            BalanceEvent::Serialized { cpu, domain } => {
                let cause = Cause::Serialized(self.facts.level(domain));
                self.attempt(now, cpu, Reach::Level(domain), cause);
            }
            BalanceEvent::NewIdle { cpu, gate } => self.new_idle(now, cpu, gate),
            BalanceEvent::NohzKick { reason, flags, outcome, .. } => self.kick(now, reason, flags, outcome),
            BalanceEvent::NohzBalance { .. } => self.cpus.iter_mut().for_each(|cpu| cpu.visited = false),
            BalanceEvent::NohzVisit { cpu, visit, .. } => {
                self.cpus[cpu.index()].visited = true;
                let (cause, due) = match visit {
                    NohzVisit::NotIdle => (Cause::VisitedAsBusy, None),
                    NohzVisit::NotDue { due } => (Cause::NotDue(Look::Nohz, None), Some(due)),
                    // A visit to refresh its load was no attempt to help.
                    NohzVisit::NotAsked | NohzVisit::Balances => return,
                };
                self.attempt_with_due(now, cpu, Reach::All, cause, due);
            }
            BalanceEvent::NohzAborted { .. } => {
                for cpu in 0..self.cpus.len() {
                    if self.machine.tickless[cpu] && self.machine.idle[cpu] && !self.cpus[cpu].visited {
                        self.attempt(now, CpuId(cpu as u32), Reach::All, Cause::VisitAborted);
                    }
                }
            }
            BalanceEvent::ActiveBalanceStart { dst_cpu, .. } => self.cpus[dst_cpu.index()].push_pending += 1,
            BalanceEvent::ActiveBalanceEnd { dst_cpu, .. } => {
                let pending = &mut self.cpus[dst_cpu.index()].push_pending;
                *pending = pending.saturating_sub(1);
            }
            _ => {}
        }
        if let Some(pass) = self.passes.event(event) {
            self.pass(now, &pass);
        }
    }

    fn new_idle(&mut self, now: Ns, cpu: CpuId, gate: NewIdleGate) {
        let level = |domain: DomainId| self.facts.level(domain);
        let (reach, gate) = match gate {
            NewIdleGate::WakeupPending => (Reach::All, Gate::WakeupPending),
            NewIdleGate::NotActive => (Reach::All, Gate::NotActive),
            NewIdleGate::NoDomain => (Reach::All, Gate::NoDomain),
            NewIdleGate::NotOverloaded => (Reach::All, Gate::NotOverloaded),
            NewIdleGate::AvgIdleTooShort { .. } => (Reach::All, Gate::AvgIdleTooShort),
            NewIdleGate::LevelTooExpensive { domain, .. } => {
                (Reach::From(domain), Gate::TooExpensive(level(domain)))
            }
            NewIdleGate::LevelExcluded { domain } => (Reach::Level(domain), Gate::Excluded(level(domain))),
            NewIdleGate::Dice { domain, .. } => (Reach::Level(domain), Gate::Dice(level(domain))),
            NewIdleGate::Passed { .. } | NewIdleGate::Done { .. } => return,
        };
        self.attempt(now, cpu, reach, Cause::NewIdle(gate));
    }

    /// A CPU's tick has decided whether to kick one of the tickless CPUs.
    fn kick(&mut self, now: Ns, reason: KickReason, flags: NohzFlags, outcome: KickOutcome) {
        if reason == KickReason::Idle {
            return;
        }
        let to_balance = flags.contains(NohzFlags::BALANCE);
        let cause = match outcome {
            KickOutcome::Sent(_) | KickOutcome::AlreadyPending(_) if to_balance => Cause::KickInFlight,
            KickOutcome::NoTarget if to_balance => Cause::NoKickTarget,
            // Nothing was asked for, or only that load be refreshed.
            _ => Cause::NoKick(reason),
        };
        for index in 0..self.cpus.len() {
            if !self.machine.idle[index] || !self.machine.tickless[index] {
                continue;
            }
            let kicked = |last: &Attempt| last.at == now && last.cause == Cause::KickInFlight;
            if !self.cpus[index].last.as_ref().is_some_and(kicked) {
                self.attempt(now, CpuId(index as u32), Reach::All, cause);
            }
        }
    }

    fn pass(&mut self, now: Ns, pass: &Pass) {
        let ended = match pass.outcome {
            PassOutcome::Moved => Ended::MovedElsewhere,
            PassOutcome::NotOurTurn => Ended::NotOurTurn,
            PassOutcome::NoSrcGroup => {
                // The search always tells its rule before it ends.
                let Some(rule) = pass.group_rule else { return };
                if pass.nothing_to_move { Ended::NothingToMove(rule) } else { Ended::NoGroup(rule) }
            }
            PassOutcome::NoSrcQueue => Ended::NoQueue,
            PassOutcome::Serialized => Ended::Serialized,
            PassOutcome::AllPinned => Ended::AllPinned,
            PassOutcome::Failed => pass.refusal().map_or(Ended::OnlyRunning, Ended::Refused),
            PassOutcome::ActiveBalance => Ended::ActiveBalance,
            PassOutcome::CurrPinned => Ended::CurrPinned,
        };
        // The CPU that was kicked balances for itself last, by its own softirq.
        let look = match Look::of(pass.trigger, pass.idle) {
            Look::Tick if self.machine.tickless[pass.cpu.index()] => Look::Nohz,
            look => look,
        };
        let cause = Cause::Pass(look, self.facts.level(pass.domain), ended);
        let reach = match pass.outcome {
            PassOutcome::NotOurTurn => Reach::From(pass.domain),
            _ => Reach::Level(pass.domain),
        };
        self.attempt(now, pass.cpu, reach, cause);
    }
}

/// For which waiting tasks an attempt could have helped.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// Those that this level reaches.
    Level(DomainId),
    /// Those that this level or a higher one reaches: the walk ended here.
    From(DomainId),
    /// All: the attempt ended before any level was looked at.
    All,
}

impl Observer for IdleObserver {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        self.advance(now);
        match event {
            Event::Balance(balance) => {
                self.machine.event(event);
                self.balance(now, balance);
            }
            Event::Rebuilt(trees) => self.facts.rebuilt(trees),
            other => self.machine.event(other),
        }
    }
}
