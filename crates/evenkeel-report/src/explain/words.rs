//! Rules, verdicts and reasons in words. Numbers in square brackets are sections and rules of the specification of the
//! balancer ("spec 3"); those of placement are of "spec 4" and say so.
//!
//! Sentences are short and use a kernel's term only where it is needed; each term has an entry in the [`Glossary`],
//! which is shown where the term appears for the first time.
use evenkeel::balance::active::ActiveReason;
use evenkeel::balance::choose::{GroupRule, PickRule};
use evenkeel::balance::env::{IdleType, MigrationType};
use evenkeel::balance::event::{KickReason, PassOutcome, Turn};
use evenkeel::balance::migrate::Refusal;
use evenkeel::balance::source::QueueVerdict;
use evenkeel::cache_aware::{Invalid, Preference};
use evenkeel::ids::CpuId;
use evenkeel::select::SelectReason;
use evenkeel::select::steps::AffineRule;

/// In what state a CPU balances.
pub fn idle_type(idle: IdleType) -> &'static str {
    match idle {
        IdleType::NotIdle => "busy",
        IdleType::Idle => "idle",
        IdleType::NewlyIdle => "about to go idle",
    }
}

/// Whose turn it was, said of `dst`.
pub fn turn(turn: Turn, dst: CpuId) -> String {
    let who = |cpu: CpuId| if cpu == dst { "this one".to_owned() } else { format!("CPU {cpu}") };
    match turn {
        Turn::NewlyIdle => "A CPU about to go idle may always look for itself [3.3-2].".to_owned(),
        Turn::WorkArrived => "Work has arrived on it meanwhile: no need to look [3.3-2].".to_owned(),
        Turn::NotCandidate => "The CPU does not take part in this domain any more [3.3-1].".to_owned(),
        Turn::IdleCore(cpu) => {
            format!("One CPU balances for its whole group: the first on an idle core, {} [3.3-3].", who(cpu))
        }
        Turn::IdleThread(cpu) => format!(
            "One CPU balances for its whole group: no core of it is idle, so the first idle thread, {} [3.3-4].",
            who(cpu)
        ),
        Turn::BalanceCpu(cpu) => format!(
            "One CPU balances for its whole group: none is idle, so the first CPU of the group, {} [3.3-5].",
            who(cpu)
        ),
    }
}

/// Why a group became the busiest so far, or did not.
pub fn pick_rule(rule: PickRule) -> &'static str {
    match rule {
        PickRule::NoFairTask => "no task to take [5.1-1]",
        PickRule::MisfitNotForUs => "its big task would not be better off here [5.1-2]",
        PickRule::BiggerCpus => "its CPUs are bigger than ours [5.1-3]",
        PickRule::Type => "class [5.1-4]",
        PickRule::AvgLoad => "load per capacity [5.1-5]",
        PickRule::FirstImbalanced => "the first imbalanced group is kept [5.1-5]",
        PickRule::PreferOurCache => "more of its tasks prefer our cache [5.1-5]",
        PickRule::AsymPriority => "priority of its CPUs [5.1-5]",
        PickRule::MisfitLoad => "size of its big task [5.1-5]",
        PickRule::Busy => "both busy: the later one, but a core stays [5.1-5]",
        PickRule::SmtOrNot => "a core with several tasks comes first [5.1-5]",
        PickRule::Spare => "fewer idle CPUs, then more tasks [5.1-5]",
    }
}

/// The rule by which the search for a source group ended.
pub fn group_rule(rule: GroupRule) -> &'static str {
    match rule {
        GroupRule::NoBusiest => "no other group has a task that could be taken [5.3-1]",
        GroupRule::Misfit => "a task there is too big for its CPU [5.3-2]",
        GroupRule::EnergyAware => "energy-aware placement is in charge [5.3-3]",
        GroupRule::AsymPacking => "our CPU is preferred to theirs [5.3-4]",
        GroupRule::Imbalanced => "affinities left an imbalance on the level below [5.3-5]",
        GroupRule::LocalBusierType => "our own group is of a busier class [5.3-6]",
        GroupRule::LocalMoreLoaded => "both overloaded, and our group has at least as much load [5.3-7]",
        GroupRule::LocalAboveAverage => "both overloaded, and our group is above the average [5.3-7]",
        GroupRule::WithinTolerance => "both overloaded, and the difference is within imbalance_pct [5.3-7]",
        GroupRule::BeyondTolerance => "both overloaded, and the difference is beyond imbalance_pct [5.3-7]",
        GroupRule::SpareCapacity => "our group has capacity left and the busiest has none [9.4-4]",
        GroupRule::PreferOurCache => {
            "tasks there prefer our cache, and our group has spare capacity [5.3-8, 13.5]"
        }
        GroupRule::PreferSibling => "tasks are to be spread over sibling groups [5.3-8]",
        GroupRule::DestinationBusy => "our CPU is busy itself and theirs are not overloaded [5.3-9a]",
        GroupRule::SmtBalance => "one group is a shared core, the other is not [5.3-9b]",
        GroupRule::NoMoreIdleCpus => "our group has no more idle CPUs to speak of than theirs [5.3-9c]",
        GroupRule::SingleTask => "the busiest group has a single task [5.3-9d]",
        GroupRule::Default => "nothing spoke against it [5.3-10]",
    }
}

/// What is counted, with the rule that chose the unit, for an amount.
pub fn amount(kind: MigrationType, amount: i64) -> String {
    match kind {
        MigrationType::Load => format!("{amount} units of load"),
        MigrationType::Util => format!("{amount} units of utilisation"),
        MigrationType::Task if amount == 1 => "1 task".to_owned(),
        MigrationType::Task => format!("{amount} tasks"),
        MigrationType::LlcTask => "one task that prefers our cache".to_owned(),
        MigrationType::Misfit => "the one task that is too big for its CPU".to_owned(),
    }
}

/// What the search for a queue made of a CPU.
pub fn queue_verdict(verdict: QueueVerdict) -> &'static str {
    match verdict {
        QueueVerdict::Best => "best so far",
        QueueVerdict::NumaClass => "its tasks are near their memory [6-1]",
        QueueVerdict::Empty => "no task [6-2]",
        QueueVerdict::NotSmaller => "a single task, and the CPU is not smaller [6-3]",
        QueueVerdict::Preferred => "a single task on a preferred CPU [6-4]",
        QueueVerdict::SingleTaskTooBig => "a single task of more load than is to be moved [6-5]",
        QueueVerdict::SingleTask => "a single task [6-5]",
        QueueVerdict::NotMore => "not more than the best [6-5]",
    }
}

/// Why a task stays where it is.
pub fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Throttled => "its group is throttled [7.3-1]",
        Refusal::Delayed => "it sleeps and only waits to be taken off its queue [7.3-a]",
        Refusal::Ineligible => "it had more than its share and would have to wait there [7.3-c]",
        Refusal::PerCpuKthread => "it is a kernel thread of its CPU [7.3-2]",
        Refusal::Pinned => "it may not run there: affinity [7.3-3]",
        Refusal::Running => "it is running [7.3-5]",
        Refusal::DegradesLocality => "it would leave its memory [7.3-9]",
        Refusal::PrefersOtherCache => "tasks that prefer our cache are wanted, and it does not [13.5]",
        Refusal::DegradesLlc => "its process gathers in one cache, which the move would spoil [13.5]",
        Refusal::CacheHot => "it ran a moment ago and is cache hot [7.3-9]",
        Refusal::TooLight => "it is too light to bother [7.2-5]",
        Refusal::TooBig => "it is more than is to be moved [7.2-5]",
        Refusal::FitsSource => "it fits the CPU it is on [7.2-5]",
    }
}

/// Why a thread prefers the last-level cache it does.
pub fn preference(why: Preference) -> &'static str {
    match why {
        Preference::Share => "its process spends most of its time there [13.3]",
        Preference::OtherNode => "NUMA balancing prefers another node for it [13.3]",
        Preference::Invalid(Invalid::Stale) => "its process did not run for too long [13.3]",
        Preference::Invalid(Invalid::SingleThread) => "its process has a single thread [13.3]",
        Preference::Invalid(Invalid::TooManyThreads) => {
            "more threads of its process run at once than fit one cache [13.3]"
        }
        Preference::Invalid(Invalid::TooLarge) => "its process has more memory than a cache [13.3]",
    }
}

/// How a pass ended.
pub fn outcome(outcome: PassOutcome) -> &'static str {
    match outcome {
        PassOutcome::Moved => "Work was moved.",
        PassOutcome::NotOurTurn => "Not this CPU's turn: nothing was looked at.",
        PassOutcome::NoSrcGroup => "Balanced: there was no group to take from.",
        PassOutcome::NoSrcQueue => "Balanced: the group had no CPU to take from.",
        PassOutcome::Serialized => "Another CPU is balancing this level.",
        PassOutcome::AllPinned => "All tasks there are pinned elsewhere.",
        PassOutcome::Failed => "Work was found, but none of it could be moved.",
        PassOutcome::ActiveBalance => "None could be moved, so the running task is to be pushed.",
        PassOutcome::CurrPinned => "None could be moved, and the running task may not run here.",
    }
}

/// Why a running task is to be pushed.
pub fn active_reason(reason: ActiveReason) -> &'static str {
    match reason {
        ActiveReason::AsymPacking => "our CPU is preferred to its CPU [8.1-1]",
        ActiveReason::Failures => {
            "moving waiting tasks has failed more than cache_nice_tries + 2 times [8.1-2]"
        }
        ActiveReason::ReducedCapacity => "others use up the capacity of its CPU [8.1-3]",
        ActiveReason::PrefersOurCache => "tasks of that CPU prefer our cache [8.1-4]",
        ActiveReason::Misfit => "it is too big for its CPU [8.1-4]",
    }
}

/// Why a busy CPU's tick kicks an idle CPU, or does not.
pub fn kick_reason(reason: KickReason) -> &'static str {
    match reason {
        KickReason::Idle => "the ticking CPU was idle itself [2.7-1]",
        KickReason::NobodyIdle => "no CPU was tickless [2.7-3]",
        KickReason::NotDue => "balancing for the tickless CPUs was not due [2.7-5]",
        KickReason::SeveralTasks => "it had more than one task [2.7-6]",
        KickReason::ReducedCapacity => "others use up its capacity [2.7-7]",
        KickReason::AsymPacking => "a preferred CPU was idle [2.7-8]",
        KickReason::Misfit => "its task is too big for it [2.7-9]",
        KickReason::NoMisfit => "its task fits it [2.7-9]",
        KickReason::LlcBusy => "several CPUs of its cache are busy [2.7-10]",
        KickReason::NoReason => "it had one task and nothing else to complain of [2.7-10]",
    }
}

/// Why placement chose a CPU.
pub fn select_reason(reason: SelectReason) -> &'static str {
    match reason {
        SelectReason::OnlyAllowed => "it may run on this CPU only [spec 4 §3.1]",
        SelectReason::Fallback => "the chosen CPU was not allowed: the lowest allowed one [spec 4 §3.3]",
        SelectReason::NoDomain => "no domain takes part in this kind of placement: it stays [spec 4 §5]",
        SelectReason::SlowPath => "the least loaded place, from the widest level down [spec 4 §9]",
        SelectReason::IdleTarget => "the target was idle [spec 4 §7]",
        SelectReason::IdlePrev => "its previous CPU was idle and shares the target's cache [spec 4 §7]",
        SelectReason::KthreadStack => "a kernel thread of this CPU woke it [spec 4 §7]",
        SelectReason::IdleRecent => "the CPU before the previous one was idle [spec 4 §7]",
        SelectReason::IdleSibling => "a thread of its previous core was idle [spec 4 §8]",
        SelectReason::IdleCore => "a whole core was idle [spec 4 §8]",
        SelectReason::IdleCpu => "a CPU of the cache was idle [spec 4 §8]",
        SelectReason::IdleCapacity => "an idle CPU that is big enough [spec 4 §12]",
        SelectReason::UrgentPrev => "a real-time or deadline task that runs at once on its own CPU",
        SelectReason::UrgentLowest => "a real-time or deadline task: where the least urgent work is",
        SelectReason::Target => "nothing idle was found: the target [spec 4 §7]",
    }
}

/// Why a wake-up searched near one CPU and not the other.
pub fn affine_rule(rule: AffineRule) -> &'static str {
    match rule {
        AffineRule::ThisIdle => "the waker's CPU was idle and shares the cache",
        AffineRule::Sync => "the waker said it is about to sleep and ran alone",
        AffineRule::PrevIdle => "the previous CPU was idle",
        AffineRule::Weight => "load of the two compared",
    }
}

/// Terms a reader may not know, with what they mean.
const TERMS: [(&str, &str); 23] = [
    (
        "tick",
        "the scheduler's clock interrupt of a busy CPU, 250 times a second unless the kernel says otherwise",
    ),
    ("tickless", "an idle CPU stops its tick; then others have to remember it"),
    ("kick", "a busy CPU's tick sends an interrupt to a tickless CPU so that it balances for all of them"),
    ("new-idle", "a CPU that runs out of work looks for some before it goes idle"),
    ("softirq", "work done at the end of an interrupt; balancing is such work"),
    (
        "level",
        "CPUs that are near each other: SMT threads of a core, MC one cache, PKG one package, NUMA the machine",
    ),
    ("group", "the parts of a level; a pass moves work between groups, towards the group of its own CPU"),
    ("interval", "the time between two passes on a level; it doubles when there is nothing to do"),
    ("load", "sum of the tasks' weights while they run or wait; one task of nice 0 is 1024"),
    ("util", "how much CPU the tasks use; 1024 is one CPU all the time"),
    ("runnable", "like util, but time spent waiting counts too"),
    ("capacity", "what is left of the CPUs for ordinary tasks; 1024 is one whole CPU"),
    ("avg_load", "load per 1024 units of capacity; only where groups are compared by it"),
    ("has_spare", "more work would fit"),
    ("fully_busy", "every CPU is used, and no task waits long"),
    ("overloaded", "more tasks than CPUs, and more to do than the CPUs can take"),
    ("imbalanced", "affinities kept the level below from being balanced"),
    ("llc_balance", "it has tasks of processes that gather in our cache"),
    ("smt_balance", "several tasks share a core"),
    ("imbalance_pct", "how much busier another group must be before work moves; 117 means 17 %"),
    (
        "cache hot",
        "the task ran less than migration_cost ago, so its data is likely still in its CPU's cache",
    ),
    ("active balance", "the source CPU's stopper thread interrupts the running task and pushes a task away"),
    ("pinned", "the task's affinity does not allow the CPU"),
];

/// Explains each term once, where it appears first.
#[derive(Clone, Debug, Default)]
pub struct Glossary {
    seen: Vec<&'static str>,
}

impl Glossary {
    /// Lines for the terms that `text` contains and that have not been explained yet, each with `indent` before it.
    pub fn lines(&mut self, text: &str, indent: &str) -> String {
        let mut lines = String::new();
        // Sentences may begin with a term.
        let text = &text.to_lowercase();
        for (term, meaning) in TERMS {
            if !self.seen.contains(&term) && has_word(text, term) {
                self.seen.push(term);
                lines.push_str(&format!("{indent}({term}: {meaning})\n"));
            }
        }
        lines
    }
}

/// Whether `text` has `word`, or its plural, as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let rest = &text[at + word.len()..];
        let after = rest.strip_prefix('s').unwrap_or(rest).chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_explained_once_and_only_as_a_word() {
        let mut glossary = Glossary::default();
        assert_eq!(glossary.lines("overloads utility reload", ""), "");
        assert!(glossary.lines("two loads, one util.", "  ").starts_with("  (load: "));
        assert_eq!(glossary.lines("load and util again", ""), "");
    }
}
