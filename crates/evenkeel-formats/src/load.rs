//! Tells the two workload formats apart and reads either.
//!
//! A file is a scenario if it ends in `.toml`, rt-app JSON if it ends in `.json`; otherwise by its first
//! character that is neither blank nor comment: `{` begins JSON.
use crate::diagnostic::{InputError, Warning};
use crate::rtapp::{self, RtApp};
use crate::scenario::{self, Scenario};
use evenkeel::workload::Workload;

/// The formats of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadFormat {
    /// rt-app JSON.
    RtApp,
    /// Scenario TOML.
    Scenario,
}

/// A workload file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadedWorkload {
    /// From rt-app JSON.
    RtApp(Box<RtApp>),
    /// From a scenario.
    Scenario(Box<Scenario>),
}

impl LoadedWorkload {
    /// What the tasks do.
    pub fn workload(&self) -> &Workload {
        match self {
            Self::RtApp(file) => &file.workload,
            Self::Scenario(file) => &file.workload,
        }
    }

    /// What is odd.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::RtApp(file) => &file.warnings,
            Self::Scenario(file) => &file.warnings,
        }
    }
}

/// Which format a text is in.
pub fn detect_format(text: &str, file_name: &str) -> WorkloadFormat {
    match file_name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("toml") => WorkloadFormat::Scenario,
        Some("json") => WorkloadFormat::RtApp,
        _ => {
            let text = text.trim_start_matches('\u{feff}').trim_start();
            let is_json = text.starts_with('{') || text.starts_with("/*") || text.starts_with("//");
            if is_json { WorkloadFormat::RtApp } else { WorkloadFormat::Scenario }
        }
    }
}

/// Reads a workload; `format` says which it is, or else [`detect_format`].
pub fn load_workload(
    text: &str,
    file_name: &str,
    format: Option<WorkloadFormat>,
    options: &rtapp::Options,
) -> Result<LoadedWorkload, InputError> {
    match format.unwrap_or_else(|| detect_format(text, file_name)) {
        WorkloadFormat::RtApp => {
            rtapp::read(text, file_name, options).map(|file| LoadedWorkload::RtApp(Box::new(file)))
        }
        WorkloadFormat::Scenario => {
            scenario::read(text, file_name).map(|file| LoadedWorkload::Scenario(Box::new(file)))
        }
    }
}
