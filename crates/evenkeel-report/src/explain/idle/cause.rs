//! What keeps an idle CPU and a waiting task apart: the gates, with a stable code and a sentence for each.
use super::super::words;
use evenkeel::balance::choose::GroupRule;
use evenkeel::balance::env::{IdleType, Trigger};
use evenkeel::balance::event::KickReason;
use evenkeel::balance::migrate::Refusal;

/// The name of a level.
pub type Level = &'static str;

/// Which trigger looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// The CPU itself before it went idle.
    NewIdle,
    /// Another CPU that balances for the tickless ones (or the CPU itself as that one).
    Nohz,
    /// The CPU's own tick.
    Tick,
}

impl Look {
    /// The trigger of a pass.
    pub fn of(trigger: Trigger, idle: IdleType) -> Self {
        match (trigger, idle) {
            (_, IdleType::NewlyIdle) | (Trigger::NewIdle, _) => Self::NewIdle,
            (Trigger::Nohz { .. }, _) => Self::Nohz,
            (Trigger::Periodic, _) => Self::Tick,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::NewIdle => "new-idle",
            Self::Nohz => "nohz",
            Self::Tick => "tick",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NewIdle => "New-idle",
            Self::Nohz => "The look for tickless CPUs",
            Self::Tick => "Its own tick",
        }
    }
}

/// How a pass ended without a task for the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// Another CPU balances for the group.
    NotOurTurn,
    /// The search for a group ended balanced by this rule.
    NoGroup(GroupRule),
    /// The rule wanted to move something, but the amount came out as 0.
    NothingToMove(GroupRule),
    /// The group had no queue to take from.
    NoQueue,
    /// No task of the source is allowed here.
    AllPinned,
    /// Another CPU was balancing the level.
    Serialized,
    /// The source had only a running task.
    OnlyRunning,
    /// The waiting tasks of the source were refused, the last one for this.
    Refused(Refusal),
    /// The running task was to be pushed but may not run here.
    CurrPinned,
    /// The stopper was asked to push a task.
    ActiveBalance,
    /// A task was moved, but to another CPU of the group, or it has left again.
    MovedElsewhere,
}

/// What stopped new-idle balancing before a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// A wake-up was on its way.
    WakeupPending,
    /// The CPU was being unplugged.
    NotActive,
    /// It has no domains.
    NoDomain,
    /// No CPU was known to have more than one task.
    NotOverloaded,
    /// Idle periods are shorter than the lowest level costs.
    AvgIdleTooShort,
    /// Idle periods are shorter than this level and what was spent already cost.
    TooExpensive(Level),
    /// The level has no new-idle balancing.
    Excluded(Level),
    /// The dice said no.
    Dice(Level),
}

/// Why a CPU is idle although a task waits that may run there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A task is on its queue; it has to notice.
    Reschedule,
    /// A wake-up is on its way to it.
    WakeupInFlight,
    /// Every task that waits is on its way to a CPU, or on the queue of an idle one.
    PlacedElsewhere,
    /// No domain spans both CPUs: isolated, or in different partitions.
    OutOfReach,
    /// The stopper of another CPU is about to push a task here.
    ActiveBalancePending,
    /// Nobody has looked since the task began to wait: the CPU's own tick comes later.
    TickNotYet,
    /// Nobody has looked: the CPU is tickless, and no busy CPU has ticked.
    NoTickElsewhere,
    /// A kick is on its way to a tickless CPU.
    KickInFlight,
    /// A busy CPU's tick decided against a kick.
    NoKick(KickReason),
    /// A kick was wanted, but no tickless CPU was found idle.
    NoKickTarget,
    /// The CPU that balances for the tickless ones took this one for busy.
    VisitedAsBusy,
    /// It had to stop before it came to this CPU.
    VisitAborted,
    /// A look came by, but no level was due; or this one was not.
    NotDue(Look, Option<Level>),
    /// Another CPU was balancing a level that only one may balance at a time.
    Serialized(Level),
    /// New-idle balancing was stopped.
    NewIdle(Gate),
    /// A pass ended without a task for this CPU.
    Pass(Look, Level, Ended),
}

impl Cause {
    /// A stable name for programs: `class` or `class:detail`.
    pub fn code(&self) -> String {
        let name = match self {
            Self::Reschedule => "reschedule",
            Self::WakeupInFlight => "wakeup-in-flight",
            Self::PlacedElsewhere => "placed-elsewhere",
            Self::OutOfReach => "out-of-reach",
            Self::ActiveBalancePending => "active-balance-pending",
            Self::TickNotYet => "tick-not-yet",
            Self::NoTickElsewhere => "no-tick-elsewhere",
            Self::KickInFlight => "kick-in-flight",
            Self::NoKick(reason) => return format!("no-kick:{}", kebab(reason)),
            Self::NoKickTarget => "no-kick-target",
            Self::VisitedAsBusy => "visited-as-busy",
            Self::VisitAborted => "visit-aborted",
            Self::NotDue(look, _) => return format!("not-due:{}", look.code()),
            Self::Serialized(_) => "serialized",
            Self::NewIdle(gate) => return format!("new-idle:{}", gate_code(*gate)),
            Self::Pass(look, _, ended) => return format!("pass:{}:{}", look.code(), ended_code(*ended)),
        };
        name.to_owned()
    }

    /// The level it happened on, if it did on one.
    pub fn level(&self) -> Option<Level> {
        match *self {
            Self::NotDue(_, level) => level,
            Self::Serialized(level)
            | Self::Pass(_, level, _)
            | Self::NewIdle(Gate::TooExpensive(level) | Gate::Excluded(level) | Gate::Dice(level)) => {
                Some(level)
            }
            _ => None,
        }
    }

    /// Work is on its way: nothing has decided against it.
    pub fn is_hand_over(&self) -> bool {
        matches!(self, Self::Reschedule | Self::WakeupInFlight | Self::PlacedElsewhere | Self::KickInFlight)
    }

    /// An experiment that would take this cause away: arguments of the tool, and what they do.
    pub fn experiment(&self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::TickNotYet | Self::NoTickElsewhere => ("--set hz=1000", "CPUs tick, and look, more often"),
            Self::NewIdle(Gate::Dice(_)) => {
                ("--set features.NI_RANDOM=off", "new-idle balancing always looks")
            }
            Self::NewIdle(Gate::AvgIdleTooShort | Gate::TooExpensive(_)) => {
                ("--set cost=zero", "looking costs nothing, so idle periods are always long enough")
            }
            Self::Pass(_, _, Ended::Refused(Refusal::CacheHot)) => {
                ("--set migration_cost_ns=0", "no task counts as cache hot")
            }
            Self::Pass(_, _, Ended::NoGroup(GroupRule::WithinTolerance)) => {
                ("--set balance.imbalance_pct.llc=101", "within a cache, smaller differences count")
            }
            Self::Pass(_, _, Ended::OnlyRunning | Ended::ActiveBalance) | Self::ActiveBalancePending => {
                ("--set delay.stopper=0ns", "running tasks are pushed at once")
            }
            _ => return None,
        })
    }

    /// A sentence.
    pub fn words(&self) -> String {
        let text = match self {
            Self::Reschedule => "A task was on its queue already; it had to notice.",
            Self::WakeupInFlight => "A wake-up was on its way to it by interrupt.",
            Self::PlacedElsewhere => "The task was placed on another idle CPU, which had to notice.",
            Self::OutOfReach => "No domain spans the two CPUs: nobody balances between them.",
            Self::ActiveBalancePending => {
                "Active balance: another CPU's stopper was about to push a task here."
            }
            Self::TickNotYet => "Nobody had looked yet: its own tick was still to come.",
            Self::NoTickElsewhere => {
                "Nobody had looked yet: it was tickless, and no busy CPU had ticked since."
            }
            Self::KickInFlight => "A kick was on its way to a tickless CPU.",
            Self::NoKick(reason) => {
                return format!("A busy CPU's tick sent no kick: {}.", words::kick_reason(*reason));
            }
            Self::NoKickTarget => "A kick was wanted, but no tickless CPU was found idle [2.8-2].",
            Self::VisitedAsBusy => "The look for tickless CPUs took it for busy [2.9-3].",
            Self::VisitAborted => "The look for tickless CPUs had to stop: work had arrived [2.9-3].",
            Self::NotDue(look, None) => {
                return format!("{} came by, but no level was due [2.4].", look.words());
            }
            Self::NotDue(look, Some(level)) => {
                return format!("{} came by, but the level {level} was not due [2.4].", look.words());
            }
            Self::Serialized(level) => {
                return format!("Another CPU was balancing the level {level}, one at a time [2.3].");
            }
            Self::NewIdle(gate) => return format!("New-idle did not look: {}.", gate_words(*gate)),
            Self::Pass(look, level, ended) => {
                return format!("{} looked on {level}: {}.", look.words(), ended_words(*ended));
            }
        };
        text.to_owned()
    }
}

fn gate_code(gate: Gate) -> &'static str {
    match gate {
        Gate::WakeupPending => "wakeup-pending",
        Gate::NotActive => "not-active",
        Gate::NoDomain => "no-domain",
        Gate::NotOverloaded => "not-overloaded",
        Gate::AvgIdleTooShort => "avg-idle-too-short",
        Gate::TooExpensive(_) => "too-expensive",
        Gate::Excluded(_) => "excluded",
        Gate::Dice(_) => "dice",
    }
}

fn gate_words(gate: Gate) -> String {
    match gate {
        Gate::WakeupPending => "a wake-up was on its way to this CPU [2.11-2]".to_owned(),
        Gate::NotActive => "the CPU was being unplugged [2.11-4]".to_owned(),
        Gate::NoDomain => "the CPU has no domains [2.11-5]".to_owned(),
        Gate::NotOverloaded => "no CPU was known to have more than one task [2.11-6]".to_owned(),
        Gate::AvgIdleTooShort => {
            "its idle periods are shorter than the lowest level costs to balance [2.11-6]".to_owned()
        }
        Gate::TooExpensive(level) => {
            format!("its idle periods are too short for what the level {level} costs to balance [2.11-8]")
        }
        Gate::Excluded(level) => format!("the level {level} has no new-idle balancing [2.11-8]"),
        Gate::Dice(level) => {
            format!("looking on {level} seldom succeeds, and the dice said no this time [2.11-8]")
        }
    }
}

fn ended_code(ended: Ended) -> String {
    match ended {
        Ended::NotOurTurn => "not-our-turn".to_owned(),
        Ended::NoGroup(rule) => format!("no-group:{}", kebab(&rule)),
        Ended::NothingToMove(rule) => format!("imbalance-zero:{}", kebab(&rule)),
        Ended::NoQueue => "no-queue".to_owned(),
        Ended::Serialized => "serialized".to_owned(),
        Ended::AllPinned => "all-pinned".to_owned(),
        Ended::OnlyRunning => "only-running".to_owned(),
        Ended::Refused(refusal) => format!("refused:{}", kebab(&refusal)),
        Ended::CurrPinned => "running-task-pinned".to_owned(),
        Ended::ActiveBalance => "active-balance".to_owned(),
        Ended::MovedElsewhere => "moved-elsewhere".to_owned(),
    }
}

fn ended_words(ended: Ended) -> String {
    match ended {
        Ended::NotOurTurn => "not its turn, another CPU balances for its group [3.3]".to_owned(),
        Ended::NoGroup(rule) => words::group_rule(rule).to_owned(),
        Ended::NothingToMove(rule) => {
            format!("{}, but nothing was left to move [5.4]", words::group_rule(rule))
        }
        Ended::NoQueue => "the busiest group had no CPU to take from [6]".to_owned(),
        Ended::Serialized => "another CPU was balancing the level [3.2-3]".to_owned(),
        Ended::AllPinned => "every task there is pinned elsewhere [3.2-8]".to_owned(),
        Ended::OnlyRunning => "the source had only a running task [3.2-8]".to_owned(),
        Ended::Refused(refusal) => format!("the waiting task stayed, {}", words::refusal(refusal)),
        Ended::CurrPinned => "only a running task was left, and it may not run here [3.2-9]".to_owned(),
        Ended::ActiveBalance => "the running task was to be pushed here [8.1]".to_owned(),
        Ended::MovedElsewhere => "a task was moved, but this CPU went on idling".to_owned(),
    }
}

/// `NoMoreIdleCpus` as `no-more-idle-cpus`.
pub(crate) fn kebab(name: &impl core::fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{name:?}").chars() {
        if c.is_ascii_uppercase() {
            if !text.is_empty() {
                text.push('-');
            }
            text.push(c.to_ascii_lowercase());
        } else {
            text.push(c);
        }
    }
    text
}
