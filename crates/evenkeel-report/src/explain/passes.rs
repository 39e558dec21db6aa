//! Balancing passes in short: a collector that puts the events of a pass together and hands the whole out at its end.
//!
//! Passes never overlap, so the collector needs room for one. Explanations of tasks and of idleness use it; the long
//! story of one pass is in [`pass`](super::pass).
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::env::{IdleType, Trigger};
use evenkeel::balance::event::{BalanceEvent, PassOutcome, TaskVerdict, Turn};
use evenkeel::balance::migrate::Refusal;
use evenkeel::ids::{CpuId, DomainId, TaskId};

/// What a pass was about and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Its number.
    pub number: u64,
    /// For which CPU.
    pub cpu: CpuId,
    /// On which level.
    pub domain: DomainId,
    /// In what state the CPU was.
    pub idle: IdleType,
    /// What started it.
    pub trigger: Trigger,
    /// Whose turn it was.
    pub turn: Option<Turn>,
    /// The rule that ended the last search for a source group.
    pub group_rule: Option<GroupRule>,
    /// That rule wanted to move something, but the amount came out as 0.
    pub nothing_to_move: bool,
    /// The source queue found last.
    pub src_cpu: Option<CpuId>,
    /// The tasks looked at, with the verdicts.
    pub tasks: Vec<(TaskId, CpuId, TaskVerdict)>,
    /// How it ended.
    pub outcome: PassOutcome,
    /// Tasks moved.
    pub moved: u32,
}

impl Pass {
    /// Why nothing moved although tasks were found: what kept the last of the waiting ones; none: they all ran.
    pub fn refusal(&self) -> Option<Refusal> {
        let refusals = self.tasks.iter().rev().filter_map(|(_, _, verdict)| match verdict {
            TaskVerdict::Refused(refusal) if *refusal != Refusal::Running => Some(*refusal),
            _ => None,
        });
        refusals.into_iter().next()
    }
}

/// Puts passes together.
#[derive(Clone, Debug, Default)]
pub struct Passes(Option<Pass>);

impl Passes {
    /// The pass that is under way.
    pub fn current(&self) -> Option<&Pass> {
        self.0.as_ref()
    }

    /// One more event; at the end of a pass the pass.
    pub fn event(&mut self, event: &BalanceEvent) -> Option<Pass> {
        match *event {
            BalanceEvent::PassBegin { pass, cpu, domain, idle, trigger, .. } => {
                self.0 = Some(Pass {
                    number: pass,
                    cpu,
                    domain,
                    idle,
                    trigger,
                    turn: None,
                    group_rule: None,
                    nothing_to_move: false,
                    src_cpu: None,
                    tasks: Vec::new(),
                    outcome: PassOutcome::NotOurTurn,
                    moved: 0,
                });
            }
            BalanceEvent::PassEnd { outcome, moved, .. } => {
                let mut pass = self.0.take()?;
                (pass.outcome, pass.moved) = (outcome, moved);
                return Some(pass);
            }
            _ => {
                if let Some(pass) = &mut self.0 {
                    note(pass, event);
                }
            }
        }
        None
    }
}

fn note(pass: &mut Pass, event: &BalanceEvent) {
    match *event {
        BalanceEvent::Turn { turn, .. } => pass.turn = Some(turn),
        BalanceEvent::SrcGroup { verdict, .. } => {
            pass.group_rule = Some(verdict.rule);
            pass.nothing_to_move = verdict.group.is_none() && verdict.imbalance.is_some();
        }
        BalanceEvent::SrcQueue { cpu, .. } => pass.src_cpu = cpu,
        BalanceEvent::Task { pass: Some(_), task, src_cpu, verdict, .. } => {
            pass.tasks.push((task, src_cpu, verdict));
        }
        _ => {}
    }
}
