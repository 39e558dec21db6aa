//! Recorded runs: which there are, what ran in them, and their traces.
//!
//! A directory of recordings holds `KERNEL/TOPOLOGY/meta.json` and beside it `WORKLOAD.ftrace.gz` for each workload that
//! the file names. `meta.json` says of each workload what ran (`spec`, see [`WorkloadSpec`]) and three points in time
//! on the clock of the trace: when the program that set it up began, when it released pinned tasks, when it had
//! collected everything. `truncated` says that the recording was full before that: the trace covers less than the run.
use super::counters::{self, Counters};
use super::workload::{SpecError, WorkloadSpec};
use crate::diagnostic::InputError;
use crate::ftrace::{self, FtraceLog};
use evenkeel::time::Ns;
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The most that is read of a trace, unpacked, in bytes.
const TEXT_MAX: u64 = 256 << 20;

/// Why recorded runs could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TracesError {
    /// A file could not be read or unpacked.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `meta.json` is not as described.
    #[error("{path}:{line}:{column}: {message}")]
    Meta {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The description of a workload.
    #[error("{path}: workload `{workload}`: {source}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// The workload's name.
        workload: String,
        /// What is wrong.
        source: SpecError,
    },
    /// Counters of `/proc/schedstat` do not read as a kernel prints them.
    #[error("{path}: {what}")]
    Counters {
        /// The file.
        path: PathBuf,
        /// The line, and what was expected.
        what: String,
    },
    /// A trace does not read as a kernel prints it.
    #[error(transparent)]
    Trace(#[from] Box<InputError>),
}

/// The recorded runs of one kernel on one machine.
#[derive(Clone, Debug)]
pub struct TraceSet {
    /// The release, as `uname -r` prints it.
    pub release: String,
    /// The recording's name for the machine.
    pub topology: String,
    /// The runs, in the order of the file.
    pub runs: Vec<RecordedRun>,
}

/// One recorded run.
#[derive(Clone, Debug)]
pub struct RecordedRun {
    /// The workload's name, with the member's number behind it if there are several: `skew16_1`.
    pub name: String,
    /// What ran.
    pub spec: WorkloadSpec,
    /// When setting up began, ns of the trace's clock.
    pub start: Ns,
    /// When pinned tasks were released.
    pub release: Option<Ns>,
    /// When the recording ended.
    pub end: Ns,
    /// Whether the trace ends before the run, because the recording was full.
    pub truncated: bool,
    /// Where its trace is.
    pub trace: PathBuf,
}

#[derive(Deserialize)]
struct Meta {
    kernel: String,
    topology: String,
    workloads: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct MetaRun {
    spec: String,
    start_ms: f64,
    release_ms: Option<f64>,
    end_ms: f64,
    #[serde(default)]
    truncated: bool,
}

/// Reads a `meta.json`.
pub fn read_meta(path: &Path) -> Result<TraceSet, TracesError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TracesError::Read { path: path.to_path_buf(), source })?;
    parse_meta(&text, path)
}

/// Reads the text of a `meta.json`; traces are looked for beside `path`.
pub fn parse_meta(text: &str, path: &Path) -> Result<TraceSet, TracesError> {
    let wrong = |error: serde_json::Error, of: &str| TracesError::Meta {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
        message: format!("{of}{}", error.to_string().split(" at line ").next().unwrap_or_default()),
    };
    let meta: Meta = serde_json::from_str(text).map_err(|error| wrong(error, ""))?;
    let mut runs = Vec::with_capacity(meta.workloads.len());
    for (name, value) in meta.workloads {
        let run: MetaRun =
            serde_json::from_value(value).map_err(|error| wrong(error, &format!("workload `{name}`: ")))?;
        let spec = WorkloadSpec::parse(&run.spec).map_err(|source| TracesError::Spec {
            path: path.to_path_buf(),
            workload: name.clone(),
            source,
        })?;
        let trace = path.with_file_name(format!("{name}.ftrace.gz"));
        runs.push(RecordedRun {
            name,
            spec,
            start: ns_of_ms(run.start_ms),
            release: run.release_ms.map(ns_of_ms),
            end: ns_of_ms(run.end_ms),
            truncated: run.truncated,
            trace,
        });
    }
    Ok(TraceSet { release: meta.kernel, topology: meta.topology, runs })
}

/// Milliseconds with up to three decimals, exactly.
fn ns_of_ms(ms: f64) -> Ns {
    (ms * 1000.0).round().max(0.0) as Ns * 1000
}

impl RecordedRun {
    /// The workload's name without the member's number.
    pub fn workload(&self) -> &str {
        match self.name.rsplit_once('_') {
            Some((name, number)) if number.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.name,
        }
    }

    /// How much the counters of balancing grew in it, if they were recorded.
    pub fn read_counters(&self) -> Result<Option<Counters>, TracesError> {
        counters::read(&self.trace.with_file_name(format!("{}.schedstat.json.gz", self.name)))
    }

    /// Reads its trace.
    pub fn read_trace(&self) -> Result<FtraceLog, TracesError> {
        let failed = |source| TracesError::Read { path: self.trace.clone(), source };
        let bytes = std::fs::read(&self.trace).map_err(failed)?;
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).take(TEXT_MAX).read_to_string(&mut text).map_err(failed)?;
        ftrace::parse(&text, &self.trace.display().to_string()).map_err(|error| Box::new(error).into())
    }
}
