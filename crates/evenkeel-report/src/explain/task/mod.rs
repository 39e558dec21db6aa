//! One task: why each of its moves, and why it did not move while it waited.
//!
//! A *move* is a change of CPU: by placement (fork, wake-up, exec), by a balancing pass, by a stopper, by affinity or
//! because its CPU went away. Placements carry what was looked at on the way ([`PlacementStep`]). Wake-ups that left the
//! task on its CPU are counted by reason.
//!
//! While the task *waits*, every balancing pass on behalf of a CPU that it may use and whose level reaches it is a chance
//! to move. The pass either looked at the task and refused it, or ended before it came to it; both are counted by
//! reason, with the first and the last time. For example a task that waits behind two others: "another task was moved, 2
//! passes between 12 and 16 ms; it ran a moment ago and is cache hot, 1 pass at 8 ms". While a limit of CPU time has
//! stopped it a pass is no chance, unless it looked at the task.
mod text;

use super::Facts;
use super::passes::{Pass, Passes};
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::event::{BalanceEvent, PassOutcome, TaskVerdict};
use evenkeel::balance::migrate::Refusal;
use evenkeel::cache_aware::Preference;
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::mask::CpuMask;
use evenkeel::observe::{Event, MigrateReason, Observer, PrevState, Running, SelectKind};
use evenkeel::select::SelectReason;
use evenkeel::select::steps::PlacementStep;
use evenkeel::time::Ns;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why the task changed its CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Placement chose the CPU.
    Placed {
        /// What was placed.
        kind: SelectKind,
        /// Why this CPU.
        reason: SelectReason,
        /// What was looked at.
        steps: Vec<PlacementStep>,
    },
    /// A balancing pass pulled it.
    Pulled {
        /// The number of the pass.
        pass: u64,
        /// Although it was cache hot.
        hot: bool,
    },
    /// A stopper pushed it.
    Pushed {
        /// The pass that asked for it, if it was seen.
        pass: Option<u64>,
    },
    /// Its affinity does not allow the old CPU any more.
    Affinity,
    /// Its old CPU went offline.
    Hotplug,
    /// Tasks of its class push and pull each other to where the least urgent work is.
    Urgent,
}

/// One change of CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// When.
    pub at: Ns,
    /// From here; none: it is new.
    pub from: Option<CpuId>,
    /// To there.
    pub to: CpuId,
    /// Why.
    pub why: Why,
}

/// Why a pass that could have moved the waiting task did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// It was looked at and refused.
    Refused(Refusal),
    /// Another CPU balances for the group.
    NotOurTurn,
    /// The search for a group ended by this rule.
    NoGroup(GroupRule),
    /// A rule wanted to move something, but the amount was 0.
    NothingToMove(GroupRule),
    /// The group had no queue to take from.
    NoQueue,
    /// Another queue was chosen.
    OtherQueue,
    /// Another task of its queue was moved, which was enough.
    OtherTask,
    /// The pass stopped before it came to the task.
    NotReached,
}

/// How often a reason stood in the way, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Passes.
    pub passes: u64,
    /// The first.
    pub first: Ns,
    /// The last.
    pub last: Ns,
}

impl Count {
    fn add<K: Ord>(counts: &mut BTreeMap<K, Self>, key: K, now: Ns) {
        let count = counts.entry(key).or_insert(Self { passes: 0, first: now, last: now });
        count.passes += 1;
        count.last = now;
    }
}

/// A time in which a limit of CPU time had stopped the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Where it waited when it was stopped.
    pub cpu: CpuId,
    /// From when.
    pub from: Ns,
    /// Until when, or the end of the run.
    pub until: Ns,
}

/// What is known of the task.
#[derive(Clone, Debug)]
pub struct TaskStory {
    /// Its number.
    pub task: TaskId,
    /// When it was forked; none: never.
    pub born: Option<Ns>,
    /// Its changes of CPU.
    pub moves: Vec<Move>,
    /// Which last-level cache it prefers from when on (a CPU of it; none: no longer any), and why.
    pub preferences: Vec<(Ns, Option<CpuId>, Preference)>,
    /// Wake-ups that left it on its CPU, by reason.
    pub stays: BTreeMap<&'static str, u64>,
    /// Time it waited for a CPU in all.
    pub waited: Ns,
    /// How many times.
    pub waits: u64,
    /// The longest wait: start, length, CPU.
    pub longest: Option<(Ns, Ns, CpuId)>,
    /// When a limit of CPU time had stopped it; part of its waits.
    pub stops: Vec<Stop>,
    /// Passes that could have moved it while it waited, by what came of them.
    pub chances: BTreeMap<WhyNot, Count>,
    facts: Facts,
}

/// What the task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Other,
    Waiting { since: Ns },
}

/// Follows one task.
#[derive(Clone, Debug)]
pub struct TaskObserver {
    story: TaskStory,
    cpu: CpuId,
    allowed: Option<Arc<CpuMask>>,
    doing: Doing,
    /// A limit of CPU time has stopped it, whatever it does.
    throttled: bool,
    /// It waits because of that since then.
    stopped: Option<(CpuId, Ns)>,
    steps: Vec<PlacementStep>,
    selected: Option<(SelectKind, SelectReason)>,
    passes: Passes,
    /// By source CPU: the pass that asked its stopper to push.
    pushes: BTreeMap<CpuId, u64>,
}

impl TaskObserver {
    /// Follows `task` on the machine of `facts`.
    pub fn new(facts: Facts, task: TaskId) -> Self {
        let story = TaskStory {
            task,
            born: None,
            moves: Vec::new(),
            preferences: Vec::new(),
            stays: BTreeMap::new(),
            waited: 0,
            waits: 0,
            longest: None,
            stops: Vec::new(),
            chances: BTreeMap::new(),
            facts,
        };
        Self {
            story,
            cpu: CpuId(0),
            allowed: None,
            doing: Doing::Other,
            throttled: false,
            stopped: None,
            steps: Vec::new(),
            selected: None,
            passes: Passes::default(),
            pushes: BTreeMap::new(),
        }
    }

    /// Ends at `now`; `names` are those of the tasks by number.
    pub fn finish(mut self, now: Ns, names: Vec<String>) -> TaskStory {
        self.stop_waiting(now);
        self.note_stop(now);
        let facts = self.story.facts.with_names(names);
        TaskStory { facts, ..self.story }
    }

    fn start_waiting(&mut self, now: Ns) {
        if self.doing == Doing::Other {
            self.doing = Doing::Waiting { since: now };
        }
    }

    fn stop_waiting(&mut self, now: Ns) {
        let Doing::Waiting { since } = core::mem::replace(&mut self.doing, Doing::Other) else { return };
        let length = now - since;
        if length == 0 {
            return;
        }
        let story = &mut self.story;
        story.waited += length;
        story.waits += 1;
        if story.longest.is_none_or(|(_, longest, _)| length > longest) {
            story.longest = Some((since, length, self.cpu));
        }
    }

    /// Notes whether it waits because of a limit, from now on or no longer.
    fn note_stop(&mut self, now: Ns) {
        let stopped = self.throttled && self.doing != Doing::Other;
        if stopped && self.stopped.is_none() {
            self.stopped = Some((self.cpu, now));
        } else if !stopped
            && let Some((cpu, from)) = self.stopped.take()
            && from < now
        {
            self.story.stops.push(Stop { cpu, from, until: now });
        }
    }

    fn moved(&mut self, now: Ns, from: Option<CpuId>, to: CpuId, why: Why) {
        self.cpu = to;
        self.story.moves.push(Move { at: now, from, to, why });
    }

    fn placed(&mut self) -> Option<Why> {
        let (kind, reason) = self.selected.take()?;
        Some(Why::Placed { kind, reason, steps: core::mem::take(&mut self.steps) })
    }

    /// Something about the task itself, or a switch.
    fn task_event(&mut self, now: Ns, event: &Event) {
        let task = self.story.task;
        match *event {
            Event::Switch { prev, prev_state, next, .. } => {
                if prev == Running::Task(task) && prev_state == PrevState::Runnable {
                    self.start_waiting(now);
                }
                if next == Running::Task(task) {
                    self.stop_waiting(now);
                }
            }
            Event::TaskThrottled { task: whose, .. } if whose == task => self.throttled = true,
            Event::TaskUnthrottled { task: whose, .. } if whose == task => self.throttled = false,
            Event::Fork { child, .. } if child == task => self.story.born = Some(now),
            Event::Affinity { task: whose, ref allowed } if whose == task => {
                self.allowed = Some(allowed.clone())
            }
            Event::LlcPreference { task: whose, cpu, why } if whose == task => {
                self.story.preferences.push((now, cpu, why));
            }
            Event::Placement { task: whose, step } if whose == task => self.steps.push(step),
            Event::Waking { task: whose, .. } if whose == task => {
                self.steps.clear();
                self.selected = None;
                self.start_waiting(now);
            }
            Event::Selected { kind, task: whose, chosen, reason, .. } if whose == task => {
                if kind != SelectKind::Fork && chosen == self.cpu {
                    *self.story.stays.entry(super::words::select_reason(reason)).or_default() += 1;
                    self.steps.clear();
                } else {
                    self.selected = Some((kind, reason));
                }
            }
            Event::WakeupNew { task: whose, target_cpu, .. } if whose == task => {
                self.start_waiting(now);
                if let Some(why) = self.placed() {
                    self.moved(now, None, target_cpu, why);
                }
            }
            Event::MigrateTask { task: whose, orig_cpu, dest_cpu, reason } if whose == task => {
                let why = match reason {
                    MigrateReason::Wakeup | MigrateReason::Exec => self.placed(),
                    MigrateReason::Affinity => Some(Why::Affinity),
                    MigrateReason::Hotplug => Some(Why::Hotplug),
                    MigrateReason::Urgent => Some(Why::Urgent),
                    MigrateReason::Balance => self.passes.current().map(|pass| {
                        let hot = pass.tasks.iter().rev().find(|entry| entry.0 == task);
                        let hot = hot.is_some_and(|entry| entry.2 == TaskVerdict::Moved { hot: true });
                        Why::Pulled { pass: pass.number, hot }
                    }),
                    MigrateReason::ActiveBalance => {
                        Some(Why::Pushed { pass: self.pushes.get(&orig_cpu).copied() })
                    }
                };
                self.moved(now, Some(orig_cpu), dest_cpu, why.unwrap_or(Why::Affinity));
            }
            _ => {}
        }
    }

    /// A pass is over: if the task waits, it was a chance.
    fn chance(&mut self, now: Ns, pass: &Pass) {
        let task = self.story.task;
        let reaches = self.story.facts.reaches(pass.domain, self.cpu);
        let allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(pass.cpu));
        let looked = pass.tasks.iter().rev().find(|entry| entry.0 == task);
        let why = match looked {
            Some((_, _, TaskVerdict::Moved { .. })) => return,
            Some((_, _, TaskVerdict::Refused(refusal))) => WhyNot::Refused(*refusal),
            None if self.doing == Doing::Other || self.throttled || !reaches || !allowed => return,
            None => why_not_looked_at(pass, self.cpu),
        };
        if self.doing != Doing::Other {
            Count::add(&mut self.story.chances, why, now);
        }
    }
}

/// Why a pass did not come to a task that waits on `cpu`.
fn why_not_looked_at(pass: &Pass, cpu: CpuId) -> WhyNot {
    match (pass.outcome, pass.group_rule) {
        (PassOutcome::NotOurTurn, _) => WhyNot::NotOurTurn,
        (PassOutcome::NoSrcGroup, Some(rule)) if pass.nothing_to_move => WhyNot::NothingToMove(rule),
        (PassOutcome::NoSrcGroup, Some(rule)) => WhyNot::NoGroup(rule),
        (PassOutcome::NoSrcQueue, _) => WhyNot::NoQueue,
        _ if pass.src_cpu != Some(cpu) => WhyNot::OtherQueue,
        _ if pass.moved > 0 => WhyNot::OtherTask,
        _ => WhyNot::NotReached,
    }
}

impl Observer for TaskObserver {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        match event {
            Event::Balance(event) => {
                if let BalanceEvent::ActiveBalanceStart { pass, src_cpu, .. } = event {
                    self.pushes.insert(*src_cpu, *pass);
                }
                if let Some(pass) = self.passes.event(event) {
                    self.chance(now, &pass);
                }
            }
            Event::Rebuilt(trees) => self.story.facts.rebuilt(trees),
            other => {
                self.task_event(now, other);
                self.note_stop(now);
            }
        }
    }
}
