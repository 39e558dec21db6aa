//! Domain trees that a real kernel built: the `domains`, `features` and `tunables` of a recording's `sched.json`.
//!
//! A recording is JSON: the machine as sysfs showed it (read by [`crate::machine::recording`]), and
//! what the kernel made of it. Example of one domain: `{"name": "MC", "span": "0-1", "level": 2, "imbalance_pct": 117,
//! "flags": ["SD_BALANCE_NEWIDLE", ...], "groups": [{"id": 0, "span": "0"}, {"id": 1, "span": "1"}], ...}`. Capacities
//! (`cap`) and `max_newidle_lb_cost` are not read: they depend on what happened at boot.
use crate::machine::{self, MachineInputError};
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::topology::Machine;
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

pub mod decisions;

/// The most that is read of a recording, unpacked, in bytes.
const TEXT_MAX: u64 = 256 << 20;

/// Why a recording could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file could not be read or unpacked.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine in it could not be read.
    #[error(transparent)]
    Machine(#[from] MachineInputError),
    /// The recording of a kernel that is not modelled.
    #[error("{origin}: `kernel` is `{release}`, expected a release of {known}")]
    UnknownKernel {
        /// The file.
        origin: String,
        /// The release it names.
        release: String,
        /// What is known.
        known: String,
    },
    /// A line that is not what it should be.
    #[error("{origin}:{line}:{column}: {message}\n  {text}")]
    Line {
        /// The file.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
        /// The line, cut after a screenful.
        text: String,
    },
    /// A field that holds something else than it should.
    #[error("{origin}: {field}: {message}")]
    Field {
        /// The file.
        origin: String,
        /// The field, as a path from the top.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

/// What a kernel made of a machine.
#[derive(Clone, Debug)]
pub struct DomainsRecording {
    /// The release, as `uname -r` prints it.
    pub release: String,
    /// The modelled build of that series.
    pub kernel: &'static Kernel,
    /// The recording's name for the machine.
    pub topology: String,
    /// The machine.
    pub machine: Machine,
    /// The boot option `relax_domain_level`.
    pub relax_domain_level: Option<u32>,
    /// The chain of every CPU, from the lowest level up.
    pub chains: Vec<Vec<RecordedDomain>>,
    /// `sched_features`; names with `NO_` are off.
    pub features: Vec<String>,
    /// Files of debugfs `sched/` and what they said.
    pub tunables: BTreeMap<String, String>,
    /// Version of `/proc/schedstat`, if it was recorded.
    pub schedstat_version: Option<u32>,
}

/// A domain as debugfs and the boot log showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDomain {
    /// `SMT`, `MC` ...
    pub name: String,
    /// The CPUs.
    pub span: CpuMask,
    /// Number of the level before degeneration, where the kernel shows it.
    pub level: Option<u32>,
    /// Names of the flags in the kernel's order.
    pub flags: Vec<String>,
    /// Flags of the entry group, where the kernel shows them.
    pub groups_flags: Option<Vec<String>>,
    /// The groups in ring order, the CPU's own first.
    pub groups: Vec<RecordedGroup>,
    /// `imbalance_pct`, `busy_factor`, `cache_nice_tries`, `min_interval`, `max_interval`.
    pub numbers: BTreeMap<&'static str, u64>,
}

/// A group as the boot log showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedGroup {
    /// The CPU in whose name its capacity is.
    pub id: CpuId,
    /// The CPUs.
    pub span: CpuMask,
    /// The CPUs that may balance for it; the span if none was shown.
    pub mask: CpuMask,
}

#[derive(Deserialize)]
struct File {
    kernel: String,
    topology: String,
    #[serde(default)]
    extra_cmdline: String,
    domains: BTreeMap<String, Vec<FileDomain>>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    tunables: BTreeMap<String, String>,
    #[serde(default)]
    schedstat_version: Option<String>,
}

#[derive(Deserialize)]
struct FileDomain {
    name: String,
    span: String,
    #[serde(default)]
    level: Option<u32>,
    flags: Vec<String>,
    #[serde(default)]
    groups_flags: Option<Vec<String>>,
    groups: Vec<FileGroup>,
    imbalance_pct: u64,
    busy_factor: u64,
    cache_nice_tries: u64,
    min_interval: u64,
    max_interval: u64,
}

#[derive(Deserialize)]
struct FileGroup {
    id: u32,
    span: String,
    #[serde(default)]
    mask: Option<String>,
}

/// The recordings at `path`: the file itself, or every `sched.json` and `sched.json.gz` below the directory, by name.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let failed = |source| RecordingError::Read { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let below = entry.path();
        // Links are not followed: a loop of them would have no end.
        if entry.file_type().map_err(failed)?.is_dir() {
            found.extend(find(&below)?);
        } else if below.file_name().is_some_and(|name| name == "sched.json" || name == "sched.json.gz") {
            found.push(below);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a recording from a file, packed or not.
pub fn read(path: &Path) -> Result<DomainsRecording, RecordingError> {
    parse(&read_text(path)?, &path.display().to_string())
}

/// The text of a file, packed or not.
fn read_text(path: &Path) -> Result<String, RecordingError> {
    let failed = |source| RecordingError::Read { path: path.to_path_buf(), source };
    let mut bytes = std::fs::read(path).map_err(failed)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        GzDecoder::new(bytes.as_slice()).take(TEXT_MAX).read_to_end(&mut unpacked).map_err(failed)?;
        bytes = unpacked;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a recording from its text; `origin` is what errors call it.
pub fn parse(text: &str, origin: &str) -> Result<DomainsRecording, RecordingError> {
    let machine = machine::recording::parse(text, origin)?.machine;
    let file: File =
        serde_json::from_str(text).map_err(|error| machine::recording::json_error(origin, text, &error))?;
    let kernel = kernel_of(&file.kernel).ok_or_else(|| RecordingError::UnknownKernel {
        origin: origin.to_owned(),
        release: file.kernel.clone(),
        known: kernels::ALL.map(|kernel| kernel.alias).join(", "),
    })?;
    let wrong =
        |field: String, message: String| RecordingError::Field { origin: origin.to_owned(), field, message };
    let mut chains = vec![Vec::new(); machine.nr_cpus()];
    for (cpu, domains) in file.domains {
        let chain = cpu.parse().ok().and_then(|cpu: usize| chains.get_mut(cpu));
        let chain = chain
            .ok_or_else(|| wrong(format!("domains.{cpu}"), String::from("expected a CPU of the machine")))?;
        for (m, domain) in domains.into_iter().enumerate() {
            let list = |field: &str, text: &str| {
                let parsed = CpuMask::parse_list(text, machine.nr_cpus());
                parsed.map_err(|error| {
                    wrong(format!("domains.{cpu}[{m}].{field}"), format!("`{text}`: {error}"))
                })
            };
            chain.push(convert(domain, list)?);
        }
    }
    let version = file.schedstat_version.as_deref().map(|text| text.trim_start_matches("version ").parse());
    Ok(DomainsRecording {
        kernel,
        topology: file.topology,
        machine,
        relax_domain_level: relax_domain_level(&file.extra_cmdline),
        chains,
        features: file.features,
        tunables: file.tunables,
        schedstat_version: version
            .transpose()
            .map_err(|_| wrong(String::from("schedstat_version"), String::from("expected `version N`")))?,
        release: file.kernel,
    })
}

fn convert(
    domain: FileDomain,
    list: impl Fn(&str, &str) -> Result<CpuMask, RecordingError>,
) -> Result<RecordedDomain, RecordingError> {
    let mut groups = Vec::with_capacity(domain.groups.len());
    for group in &domain.groups {
        groups.push(RecordedGroup {
            id: CpuId(group.id),
            span: list("groups.span", &group.span)?,
            mask: list("groups.mask", group.mask.as_deref().unwrap_or(&group.span))?,
        });
    }
    Ok(RecordedDomain {
        span: list("span", &domain.span)?,
        name: domain.name,
        level: domain.level,
        flags: domain.flags,
        groups_flags: domain.groups_flags,
        groups,
        numbers: BTreeMap::from([
            ("imbalance_pct", domain.imbalance_pct),
            ("busy_factor", domain.busy_factor),
            ("cache_nice_tries", domain.cache_nice_tries),
            ("min_interval", domain.min_interval),
            ("max_interval", domain.max_interval),
        ]),
    })
}

/// The modelled build of a release's series: `6.1.0-52-amd64` is of the series `6.1`.
fn kernel_of(release: &str) -> Option<&'static Kernel> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (parts.next()?, parts.next()?);
    kernels::find(&format!("{major}.{minor}"))
}

/// The value of `relax_domain_level=` on the kernel's command line; the last one counts, negative ones are none.
fn relax_domain_level(cmdline: &str) -> Option<u32> {
    let mut values = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("relax_domain_level="));
    values.next_back()?.parse().ok()
}
