//! What cannot be simulated, and where it was written.
use core::fmt;
use evenkeel::sched::SchedError;
use evenkeel::workload::{Origin, Source, Workload};

/// The place in a workload's text that an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// File name; empty if the workload was not read from a text.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 if unknown.
    pub column: u32,
    /// The text of the line.
    pub text: String,
}

impl Place {
    /// The place that `origin` names in the texts of `sources`.
    pub fn of(origin: Option<Origin>, sources: &[Source]) -> Self {
        let Some(origin) = origin else { return Self::default() };
        let Some(source) = sources.get(origin.source as usize) else { return Self::default() };
        let text = source.text.lines().nth(origin.line.saturating_sub(1) as usize).unwrap_or_default();
        Self { file: source.name.clone(), line: origin.line, column: origin.column, text: text.to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return Ok(());
        }
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)
    }
}

/// Why a workload or a machine cannot be simulated. Messages start with file, line and column where they are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The scheduler refuses the machine or the kernel.
    #[error("{0}")]
    Sched(#[from] SchedError),
    /// Something of the workload is not modelled.
    #[error("{place}task `{task}`: {what} cannot be simulated yet")]
    Unsupported {
        /// The task's name.
        task: String,
        /// What.
        what: String,
        /// Where.
        place: Place,
    },
    /// Something of the workload contradicts the machine or itself.
    #[error("{place}task `{task}`: {what}")]
    Invalid {
        /// The task's name.
        task: String,
        /// What is wrong.
        what: String,
        /// Where.
        place: Place,
    },
    /// A program repeats without ever taking time.
    #[error(
        "{place}task `{task}`: its program repeats without taking time, so simulated time would stand still{at}"
    )]
    NoTimePasses {
        /// The task's name.
        task: String,
        /// When it was noticed, if it was while running: ` at N ns`.
        at: String,
        /// Where.
        place: Place,
    },
    /// More tasks were forked than the limit allows.
    #[error("{place}task `{task}`: forking would exceed the limit of {limit} tasks at {at} ns")]
    TooManyTasks {
        /// The forking task's name.
        task: String,
        /// The limit.
        limit: usize,
        /// When.
        at: u64,
        /// Where.
        place: Place,
    },
    /// A change from outside cannot be made.
    #[error("{place}[[at]]: {what}")]
    InvalidChange {
        /// Why.
        what: String,
        /// Where.
        place: Place,
    },
    /// The workload starts nothing.
    #[error("the workload starts no task")]
    NothingToRun,
}

impl SimError {
    /// Where in the workload's text the reason stands, for those who want to show the line.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Unsupported { place, .. }
            | Self::Invalid { place, .. }
            | Self::InvalidChange { place, .. }
            | Self::NoTimePasses { place, .. }
            | Self::TooManyTasks { place, .. } => Some(place).filter(|place| place.line != 0),
            Self::Sched(_) | Self::NothingToRun => None,
        }
    }
}

/// Makes errors about one task definition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blame<'a> {
    /// The workload, for its texts.
    pub(crate) workload: &'a Workload,
    /// The task's name.
    pub(crate) task: &'a str,
}

impl Blame<'_> {
    /// Something that is not modelled.
    pub(crate) fn unsupported(&self, origin: Option<Origin>, what: impl Into<String>) -> SimError {
        SimError::Unsupported { task: self.task.to_owned(), what: what.into(), place: self.place(origin) }
    }

    /// Something that is wrong.
    pub(crate) fn invalid(&self, origin: Option<Origin>, what: impl Into<String>) -> SimError {
        SimError::Invalid { task: self.task.to_owned(), what: what.into(), place: self.place(origin) }
    }

    /// A program that takes no time; `at` is when that was noticed, `None` before the run.
    pub(crate) fn no_time(&self, origin: Option<Origin>, at: Option<u64>) -> SimError {
        let at = at.map(|at| format!(" at {at} ns")).unwrap_or_default();
        SimError::NoTimePasses { task: self.task.to_owned(), at, place: self.place(origin) }
    }

    /// Where that is.
    pub(crate) fn place(&self, origin: Option<Origin>) -> Place {
        Place::of(origin, &self.workload.sources)
    }
}
