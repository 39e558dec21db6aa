//! One balancing pass, as a person would tell it: who balanced and why now, what the groups looked like, which rule
//! chose what, every task that was considered, and what happened next.
//!
//! [`PassObserver`] keeps the events of one pass, and what led to it: the tick or kick behind it, the level found due,
//! the gates of new-idle balancing before it. If the pass asks a stopper to push a task, what the stopper did is kept as
//! well. Passes are numbered from 1 in the order in which a run makes them; active balances take a number too.
mod json;
mod text;

use super::Facts;
use evenkeel::balance::env::Trigger;
use evenkeel::balance::event::{BalanceEvent, KickOutcome, KickReason, NewIdleGate};
use evenkeel::ids::{CpuId, DomainId};
use evenkeel::observe::{Event, Observer};
use evenkeel::rq::NohzFlags;
use evenkeel::time::{Jiffies, Ns};

/// Which pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this number.
    Number(u64),
    /// The first on behalf of this CPU at this time or later.
    At(Ns, CpuId),
}

/// A kick that set off a walk for the tickless CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kick {
    /// When.
    pub at: Ns,
    /// Who kicked.
    pub by: CpuId,
    /// Who was kicked.
    pub target: CpuId,
    /// Why.
    pub reason: KickReason,
}

/// That a level was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since when.
    pub since: Jiffies,
    /// At the interval of a busy CPU.
    pub busy: bool,
}

/// A pass with what led to it and what came of it.
#[derive(Clone, Debug)]
pub struct Story {
    /// When the pass was made.
    pub at: Ns,
    /// For a pass on behalf of tickless CPUs: the kick behind it.
    pub kick: Option<Kick>,
    /// For a pass of the CPU's own softirq: when it ticked.
    pub tick: Option<Ns>,
    /// The level was found due; new-idle passes do not ask.
    pub due: Option<Due>,
    /// For a new-idle pass: what happened on the levels before.
    pub gates: Vec<NewIdleGate>,
    /// The events of the pass, from its beginning to its end.
    pub events: Vec<BalanceEvent>,
    /// What the stopper did afterwards, with the time; only if it was asked.
    pub pushed: Vec<(Ns, BalanceEvent)>,
    /// The machine.
    facts: Facts,
}

/// Waits for one pass and keeps its story.
#[derive(Clone, Debug)]
pub struct PassObserver {
    facts: Facts,
    which: Which,
    /// By CPU: the kick it got last.
    kicks: Vec<Option<Kick>>,
    /// By CPU: its last tick.
    ticks: Vec<Option<Ns>>,
    /// By CPU: the gates of the new-idle walk that is under way.
    gates: Vec<Vec<NewIdleGate>>,
    due: Option<(CpuId, Due)>,
    last_pass: u64,
    /// The last pass before the one that is asked for: number, time, CPU, level. For a CPU: of that CPU.
    before: Option<(u64, Ns, CpuId, DomainId)>,
    story: Option<Story>,
    phase: Phase,
}

/// How far the story has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    InPass,
    /// The stopper of this CPU has been asked to push a task.
    Pushing(CpuId),
    Done,
}

impl PassObserver {
    /// Waits for `which` on the machine of `facts`.
    pub fn new(facts: Facts, which: Which) -> Self {
        let ncpus = facts.nr_cpus();
        Self {
            facts,
            which,
            kicks: vec![None; ncpus],
            ticks: vec![None; ncpus],
            gates: vec![Vec::new(); ncpus],
            due: None,
            last_pass: 0,
            before: None,
            story: None,
            phase: Phase::Waiting,
        }
    }

    /// Whether all has been seen: the run may end here.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The number of the last pass seen.
    pub fn last_pass(&self) -> u64 {
        self.last_pass
    }

    /// The last pass before the one that is asked for, in words; of that CPU if one is asked for.
    pub fn nearest(&self) -> Option<String> {
        let (number, when, cpu, domain) = self.before?;
        let level = self.facts.level(domain);
        Some(format!("pass {number} at {} for CPU {cpu} on {level}", super::at(when)))
    }

    /// The story, if the pass took place; `names` are those of the tasks by number.
    pub fn finish(self, names: Vec<String>) -> Option<Story> {
        self.story.map(|story| Story { facts: story.facts.with_names(names), ..story })
    }

    fn wanted(&self, now: Ns, pass: u64, cpu: CpuId) -> bool {
        match self.which {
            Which::Number(number) => number == pass,
            Which::At(at, on) => now >= at && cpu == on,
        }
    }

    fn balance(&mut self, now: Ns, event: &BalanceEvent) {
        match *event {
            BalanceEvent::Tick { cpu, .. } => self.ticks[cpu.index()] = Some(now),
            BalanceEvent::NohzKick { cpu, reason, flags, outcome: KickOutcome::Sent(target) }
                if flags.contains(NohzFlags::BALANCE) =>
            {
                self.kicks[target.index()] = Some(Kick { at: now, by: cpu, target, reason });
            }
            BalanceEvent::Due { cpu, due, busy, .. } => self.due = Some((cpu, Due { since: due, busy })),
            BalanceEvent::NewIdle { cpu, gate: NewIdleGate::Done { .. } } => self.gates[cpu.index()].clear(),
            BalanceEvent::NewIdle { cpu, gate } => self.gates[cpu.index()].push(gate),
            BalanceEvent::PassBegin { pass, cpu, domain, trigger, .. } => {
                self.last_pass = pass;
                if !matches!(self.which, Which::At(_, on) if on != cpu) {
                    self.before = Some((pass, now, cpu, domain));
                }
                if self.phase == Phase::Waiting && self.wanted(now, pass, cpu) {
                    self.begin(now, cpu, trigger);
                }
            }
            _ => {}
        }
        let Some(story) = &mut self.story else { return };
        match self.phase {
            Phase::InPass => {
                story.events.push(event.clone());
                if let BalanceEvent::PassEnd { .. } = event {
                    let asked = story.events.iter().find_map(|event| match event {
                        BalanceEvent::ActiveBalanceStart { src_cpu, .. } => Some(*src_cpu),
                        _ => None,
                    });
                    self.phase = asked.map_or(Phase::Done, Phase::Pushing);
                }
            }
            Phase::Pushing(from) => match event {
                BalanceEvent::Task { pass: None, src_cpu, .. } if *src_cpu == from => {
                    story.pushed.push((now, event.clone()));
                }
                BalanceEvent::ActiveBalanceEnd { src_cpu, .. } if *src_cpu == from => {
                    story.pushed.push((now, event.clone()));
                    self.phase = Phase::Done;
                }
                _ => {}
            },
            Phase::Waiting | Phase::Done => {}
        }
    }

    fn begin(&mut self, now: Ns, cpu: CpuId, trigger: Trigger) {
        let kick = match trigger {
            Trigger::Nohz { on_cpu } => self.kicks[on_cpu.index()],
            // The CPU that was kicked visits itself last.
            Trigger::Periodic => {
                self.kicks[cpu.index()].filter(|kick| self.ticks[cpu.index()] < Some(kick.at))
            }
            Trigger::NewIdle => None,
        };
        let tick = self.ticks[cpu.index()].filter(|_| trigger == Trigger::Periodic && kick.is_none());
        let due = self.due.filter(|&(on, _)| on == cpu && trigger != Trigger::NewIdle).map(|(_, due)| due);
        self.story = Some(Story {
            at: now,
            kick,
            tick,
            due,
            gates: self.gates[cpu.index()].clone(),
            events: Vec::new(),
            pushed: Vec::new(),
            facts: self.facts.clone(),
        });
        self.phase = Phase::InPass;
    }
}

impl Observer for PassObserver {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        match event {
            Event::Balance(event) if self.phase != Phase::Done => self.balance(now, event),
            Event::Rebuilt(trees) => self.facts.rebuilt(trees),
            _ => {}
        }
    }
}
