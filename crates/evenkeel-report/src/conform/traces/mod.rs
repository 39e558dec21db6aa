//! Whole runs: small workloads recorded on real kernels against the same workloads simulated.
//!
//! For each workload of a recording the program of its tasks is rebuilt from its description, run on the same machine under
//! the same kernel once per seed, and measured as the recording is. [`compare_set`] does that for the `meta.json` of one
//! kernel and machine; [`Report`] collects the results and renders them.
//!
//! * [`measure`]: what is measured, of recorded and of our runs alike. [`record`] writes ours as traces.
//! * [`machine`]: the recorded machine. [`background`]: the threads of its kernel. [`simulate`]: our runs on it.
//! * [`judge`]: what is judged, and how near it has to be.
pub mod background;
pub mod judge;
pub mod machine;
pub mod measure;
pub mod record;
pub mod simulate;

use core::fmt;
use core::fmt::Write as _;
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::topology::Machine;
use evenkeel_formats::conform::counters::Counters;
use evenkeel_formats::conform::traces::{RecordedRun, TraceSet, TracesError};
use evenkeel_formats::conform::workload::LEAD;
use evenkeel_formats::ftrace::{FtraceLog, TraceRecord};
use evenkeel_sim::SimError;
use judge::{Comparison, Verdict};
use machine::Conditions;
use measure::{Measures, Window};
use serde::Serialize;
use thiserror::Error;

/// How many runs are simulated per workload unless told otherwise.
pub const SEEDS: u64 = 10;

/// Why runs could not be compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A trace could not be read.
    #[error(transparent)]
    Trace(#[from] TracesError),
    /// A workload could not be simulated.
    #[error("workload `{workload}`: {source}")]
    Simulate {
        /// Which.
        workload: String,
        /// Why.
        source: Box<SimError>,
    },
}

/// The result for one workload on one machine under one kernel.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadResult {
    /// `6.12.117+deb12-amd64 c4t2 skew16`.
    pub name: String,
    /// The modelled build.
    pub kernel: &'static str,
    /// What is to be said.
    pub outcome: Outcome,
}

/// What became of a comparison.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The kernel cannot be run yet.
    NotModelledYet,
    /// The recording's name of the machine is unknown.
    UnknownMachine,
    /// The measures.
    Compared(Vec<Comparison>),
}

/// Results for any number of recordings.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order of the files.
    pub results: Vec<WorkloadResult>,
}

/// Compares all runs of one recorded kernel and machine; `kernel` instead of the recorded one, if given.
pub fn compare_set(
    set: &TraceSet,
    kernel: Option<&Kernel>,
    seeds: u64,
) -> Result<Vec<WorkloadResult>, CompareError> {
    let modelled = kernels::find(&series(&set.release));
    let mut workloads: Vec<Vec<&RecordedRun>> = Vec::new();
    for run in &set.runs {
        // Members of an ensemble are called alike and may differ in nothing but their start.
        match workloads
            .iter_mut()
            .find(|members| members[0].workload() == run.workload() && members[0].spec == run.spec)
        {
            Some(members) => members.push(run),
            None => workloads.push(vec![run]),
        }
    }
    let machine = machine::of_topology(&set.topology);
    let runnable = kernel.or(modelled).filter(|kernel| kernel.runs);
    let logs = match (&machine, runnable) {
        (Some(_), Some(_)) => set.runs.iter().map(RecordedRun::read_trace).collect::<Result<Vec<_>, _>>()?,
        _ => Vec::new(),
    };
    let log_of = |run: &RecordedRun| {
        let index = set.runs.iter().position(|other| other.name == run.name);
        index.and_then(|index| logs.get(index))
    };
    let ncpus = machine.as_ref().map_or(1, Machine::nr_cpus);
    let recordings = || set.runs.iter().zip(logs.iter().map(|log| log.records.as_slice()));
    let conditions = Conditions::of_boot(recordings, ncpus);
    let mut results = Vec::new();
    for members in workloads {
        let outcome = match (&machine, runnable) {
            (_, None) => Outcome::NotModelledYet,
            (None, _) => Outcome::UnknownMachine,
            (Some(machine), Some(kernel)) => {
                let logs: Vec<(&RecordedRun, &FtraceLog)> =
                    members.iter().filter_map(|&run| Some((run, log_of(run)?))).collect();
                Outcome::Compared(compare_workload(machine, kernel, &logs, &conditions, seeds)?)
            }
        };
        let build = kernel.or(modelled).map_or("unknown", |kernel| kernel.build);
        let name = format!("{} {} {}", set.release, set.topology, members[0].workload());
        results.push(WorkloadResult { name, kernel: build, outcome });
    }
    Ok(results)
}

/// The series of a release: `6.1.0-52-amd64` is of the series `6.1`.
fn series(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn compare_workload(
    machine: &Machine,
    kernel: &Kernel,
    members: &[(&RecordedRun, &FtraceLog)],
    conditions: &Conditions,
    seeds: u64,
) -> Result<Vec<Comparison>, CompareError> {
    let recorded: Vec<Measures> = members
        .iter()
        .map(|(run, log)| measure::measure(&log.records, machine.nr_cpus(), window(run, &log.records)))
        .collect();
    let run = members[0].0;
    let seeds: Vec<u64> = (1..=seeds).collect();
    // Where a trace ends early, ours are measured for as long.
    let truncated = members.iter().any(|(run, _)| run.truncated);
    let shortest = truncated.then(|| recorded.iter().map(|measures| measures.length).min()).flatten();
    let ours = simulate::ensemble(machine, kernel, run.workload(), &run.spec, conditions, shortest, &seeds)
        .map_err(|source| CompareError::Simulate {
        workload: run.name.clone(),
        source: Box::new(source),
    })?;
    let counters = members.iter().map(|(run, _)| run.read_counters()).collect::<Result<Vec<_>, _>>()?;
    // Counters of a run whose trace is cut are those of the whole run.
    let counters: Vec<Counters> = counters.into_iter().flatten().filter(|_| !truncated).collect();
    let (ours, our_counters): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
    let mut comparisons = judge::compare(&run.spec, &recorded, &ours);
    comparisons.extend(judge::compare_counters(&counters, &our_counters));
    Ok(comparisons)
}

/// What is measured of a recorded run: from the release, or 20 ms after the start, to the end, or to the end of a trace
/// that is shorter than its run.
pub fn window(run: &RecordedRun, records: &[TraceRecord]) -> Window {
    let last = records.last().filter(|_| run.truncated).map_or(run.end, |record| record.at);
    let look = run.start + LEAD + run.spec.duration;
    Window { from: run.release.unwrap_or(run.start + LEAD), until: run.end.min(last), look: look.min(last) }
}

impl Report {
    /// Measures judged, and how many of them are outside.
    pub fn judged(&self) -> (usize, usize) {
        let verdicts = self.results.iter().filter_map(|result| match &result.outcome {
            Outcome::Compared(comparisons) => Some(comparisons),
            _ => None,
        });
        let verdicts: Vec<Verdict> = verdicts.flatten().map(|comparison| comparison.verdict).collect();
        let count = |wanted| verdicts.iter().filter(|&&verdict| verdict == wanted).count();
        (count(Verdict::Within) + count(Verdict::Outside), count(Verdict::Outside))
    }

    /// Workloads that could not be simulated.
    pub fn not_compared(&self) -> usize {
        self.results.iter().filter(|result| !matches!(result.outcome, Outcome::Compared(_))).count()
    }

    /// The totals, in a line: `33 of 34 judged measures conform; 28 workloads not compared`.
    pub fn summary(&self) -> String {
        let (judged, outside) = self.judged();
        let mut text = format!("{} of {judged} judged measures conform", judged - outside);
        if self.not_compared() > 0 {
            let _ = write!(text, "; {} workloads not compared", self.not_compared());
        }
        text
    }

    /// Whether every measure that is judged is near enough.
    pub fn conforms(&self) -> bool {
        self.judged().1 == 0
    }
}

impl fmt::Display for Report {
    /// A table per workload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            match &result.outcome {
                Outcome::NotModelledYet => writeln!(f, "{}: not modelled yet", result.name)?,
                Outcome::UnknownMachine => writeln!(f, "{}: no machine of that name is known", result.name)?,
                Outcome::Compared(comparisons) => {
                    writeln!(f, "{} ({})", result.name, result.kernel)?;
                    for comparison in comparisons {
                        writeln!(f, "  {comparison}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut recorded = String::new();
        for value in &self.recorded {
            let _ = write!(recorded, "{} ", figure(*value));
        }
        let ours = format!("{} [{}..{}]", figure(self.median), figure(self.least), figure(self.greatest));
        write!(f, "{:28} recorded {:16} ours {ours:24} ", self.measure, recorded.trim_end())?;
        match (self.verdict, self.bounds) {
            (Verdict::Within, _) => write!(f, "ok"),
            (Verdict::Outside, Some((low, high))) => {
                write!(f, "OUTSIDE {}..{}", figure(low), figure(high))?;
                self.cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            _ => {
                let covered = if self.covered { "covered" } else { "apart" };
                write!(f, "{covered}; not judged: {}", self.reason.unwrap_or("no rule"))
            }
        }
    }
}

/// A number with as many decimals as it deserves.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
