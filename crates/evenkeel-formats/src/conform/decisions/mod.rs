//! Single balancing decisions: ours against those of a real kernel, for the same numbers.
//!
//! For every search in a record the state is rebuilt: the CPUs' rows, the candidates, the domain from our own tree of
//! the machine. Then our functions decide, and everything the record holds is compared: the numbers and class of the
//! local and the busiest group, the totals, the group chosen, imbalance and unit ([`Checked::Search`]); the queue
//! ([`Checked::Queue`]); which tasks were looked at, up to where, which of them fitted, and what was left
//! ([`Checked::Scan`]); whether active balance was needed; whether another search followed, and over which CPUs.
//!
//! # What a record does not hold
//! * Whether a CPU without tasks is idle or in the middle of switching: `idle_cpu()` is false until the idle task runs.
//!   A CPU that balances before it goes idle certainly is in the middle. For others it shows in `idle_cpus`; which they are is
//!   open, but some choice must make it the CPU's turn.
//! * How many of the tasks are fair, delayed ones included: it shows in `sum_h_nr_running`.
//! * Whether affinities had left an imbalance in a group: it shows in its class.
//! * Which task is running, pinned, cache hot, or ahead of others: only their number or the flags can be checked.
//! * What other CPUs did after the decision: the source may have gained or lost a task before its tasks are looked at.
//! * Which CPU has a task that is too big for it, and which CPU a pinned task has made the destination.
//! * How the source's load ages when a task is taken from it; the next task's share depends on it by a little.
//!
//! What was inferred that way is counted ([`Report::inferred`]), so that it is clear how much was given away.
mod scan;
mod state;

use crate::recording::DomainsRecording;
use crate::recording::decisions::{Attempt, LbRecord};
use core::fmt;
use evenkeel::kernel::Kernel;
use evenkeel::topology::{Domains, Rebuild, TopologyError};
use std::collections::BTreeMap;

/// The most differences that are printed of one recording.
pub const DIFFERENCES_MAX: usize = 40;

/// What a difference is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checked {
    /// The level: tolerance and flags.
    Level,
    /// Whose turn it is.
    Turn,
    /// Statistics, classes, the choice of group, imbalance and unit.
    Search,
    /// The source queue.
    Queue,
    /// The tasks looked at and moved.
    Scan,
    /// Active balance.
    Active,
    /// The next search of the same pass.
    Redo,
}

/// One value that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which record: its number in the file, and the search.
    pub place: String,
    /// What it is in.
    pub checked: Checked,
    /// The field.
    pub field: String,
    /// What the kernel had.
    pub recorded: String,
    /// What is computed here.
    pub computed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, checked, field, recorded, computed } = self;
        write!(f, "{place}: {checked:?} {field}: recorded `{recorded}`, computed `{computed}`")
    }
}

/// What had to be inferred because the record does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inferred {
    /// A CPU was in the middle of switching to idle.
    Switching,
    /// A task was being put on a CPU: its two counters of tasks were read before and after it.
    Enqueueing,
    /// An idle CPU got a task, or word of one, after it had taken its turn.
    DestinationChanged,
    /// A queued task was not fair.
    NotFair,
    /// Affinities had left an imbalance in a group.
    ImbalanceFlag,
    /// The capacity stored for a group was not the present sum of its CPUs.
    StaleCapacity,
    /// Another CPU queued or took a task on the source between the decision, up to which a record is known to be
    /// undisturbed, and the scan.
    QueueChanged,
    /// The source's load was brought up to date when a task was taken, so the next one counts a little more.
    StaleLoad,
    /// A task's estimated utilisation was higher than the present one, which is what the record holds.
    TaskEstimate,
    /// The CPU balanced for does not take part any more: which other CPU of its group is the destination.
    NewDestination,
    /// Which CPU of a group has the task that is too big for it.
    MisfitCpu,
    /// A task was refused that nothing of the record explains: it was delayed, or ahead of others of its queue.
    Ineligible,
}

/// Exact and differing searches of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All values were the same.
    pub exact: u64,
    /// Some value was not.
    pub differing: u64,
}

/// The result for one file.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kernel and machine.
    pub name: String,
    /// The build that was compared with it.
    pub build: &'static str,
    /// Records.
    pub records: u64,
    /// Records without a search: it was not the CPU's turn, and the state is not recorded.
    pub not_our_turn: u64,
    /// Searches by class of the busiest and of the local group.
    pub by_type: BTreeMap<(String, String), Tally>,
    /// Tasks looked at whose verdict was compared.
    pub tasks: u64,
    /// What was inferred, and in how many searches.
    pub inferred: BTreeMap<Inferred, u64>,
    /// All differences.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether all searches were the same.
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty()
    }

    /// Searches that were compared, exact and differing.
    pub fn total(&self) -> Tally {
        self.by_type.values().fold(Tally::default(), |all, one| Tally {
            exact: all.exact + one.exact,
            differing: all.differing + one.differing,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { exact, differing } = self.total();
        let (name, records, tasks) = (&self.name, self.records, self.tasks);
        writeln!(
            f,
            "{name}: {records} records, {} searches, {exact} exact, {tasks} tasks",
            exact + differing
        )?;
        writeln!(f, "  {} records hold no search (not the CPU's turn)", self.not_our_turn)?;
        for ((busiest, local), tally) in &self.by_type {
            writeln!(
                f,
                "  busiest {busiest}, local {local}: {} exact, {} differ",
                tally.exact, tally.differing
            )?;
        }
        for (what, count) in &self.inferred {
            writeln!(f, "  inferred {what:?}: {count}")?;
        }
        let shown = &self.differences[..self.differences.len().min(DIFFERENCES_MAX)];
        shown.iter().try_for_each(|difference| writeln!(f, "  {difference}"))?;
        match self.differences.len() - shown.len() {
            0 => Ok(()),
            more => writeln!(f, "  ... and {more} more"),
        }
    }
}

/// Compares the records made on the machine of `recording` with the decisions of `kernel`.
pub fn compare(
    recording: &DomainsRecording,
    kernel: &Kernel,
    records: &[LbRecord],
) -> Result<Report, TopologyError> {
    let options = Rebuild { relax_domain_level: recording.relax_domain_level, ..Rebuild::default() };
    let mut topo = Domains::build_with(&recording.machine, kernel, &options)?;
    let mut report = Report {
        name: format!("{} {}", recording.release, recording.topology),
        build: kernel.build,
        records: records.len() as u64,
        ..Report::default()
    };
    for (number, record) in records.iter().enumerate() {
        if record.attempts.is_empty() {
            report.not_our_turn += 1;
        }
        for (index, attempt) in record.attempts.iter().enumerate() {
            let place = format!("record {} search {}", number + 1, index + 1);
            let before = report.differences.len();
            let mut check = Check { report: &mut report, place };
            check.attempt(&mut topo, kernel, record, index);
            let exact = report.differences.len() == before;
            let busiest = attempt.sds.busiest_stat.as_ref();
            let busiest = busiest.map_or_else(|| String::from("none"), |stats| stats.group_type.clone());
            let tally =
                report.by_type.entry((busiest, attempt.sds.local_stat.group_type.clone())).or_default();
            if exact { tally.exact += 1 } else { tally.differing += 1 }
        }
    }
    Ok(report)
}

/// The comparison of one search.
struct Check<'a> {
    report: &'a mut Report,
    place: String,
}

impl Check<'_> {
    fn same<T: PartialEq + fmt::Debug>(
        &mut self,
        checked: Checked,
        field: &str,
        recorded: T,
        computed: T,
    ) -> bool {
        let same = recorded == computed;
        if !same {
            self.report.differences.push(Difference {
                place: self.place.clone(),
                checked,
                field: field.to_owned(),
                recorded: format!("{recorded:?}"),
                computed: format!("{computed:?}"),
            });
        }
        same
    }

    fn inferred(&mut self, what: Inferred) {
        *self.report.inferred.entry(what).or_default() += 1;
    }

    fn attempt(&mut self, topo: &mut Domains, kernel: &Kernel, record: &LbRecord, index: usize) {
        let attempt: &Attempt = &record.attempts[index];
        let Some(mut state) = state::State::rebuild(self, kernel, topo, record, attempt) else {
            return;
        };
        let before = self.report.differences.len();
        let mut found = state.compare_search(self, topo, attempt);
        if self.report.differences.len() > before {
            let mut other = state.clone();
            if other.take_doubtful_as_not_fair(topo, attempt) {
                let differing = self.report.differences.split_off(before);
                let again = other.compare_search(self, topo, attempt);
                if self.report.differences.len() == before {
                    self.inferred(Inferred::NotFair);
                    (state, found) = (other, again);
                } else {
                    self.report.differences.truncate(before);
                    self.report.differences.extend(differing);
                }
            }
        }
        let next = record.attempts.get(index + 1);
        let last = next.is_none();
        scan::Scan::new(kernel, record, attempt, found).compare(self, &mut state, topo, next);
        if last {
            let detached = record.attempts.iter().flat_map(|a| &a.scan).filter(|task| task.detached != 0);
            self.same(Checked::Scan, "moved", record.moved, detached.count() as u32);
        }
    }
}
