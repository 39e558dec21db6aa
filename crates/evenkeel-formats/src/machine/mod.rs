//! Machines from files, from this host, by name, or in one line.
//!
//! [`load`] is what a user means by a machine. It tries, in this order:
//!
//! | text | read as |
//! |---|---|
//! | `host` | this host's `/sys` |
//! | the path of a directory | a sysfs tree ([`sysfs`]) |
//! | the path of a file (`.gz` is unpacked) | by its content: see [`load_text`] |
//! | the name of a preset | [`presets`](mod@presets) |
//! | anything else that begins with a number, or with a word and a colon | the one-line form ([`oneline`]) |
//!
//! All readers number cores, caches, dies and packages in the order of their lowest CPU, so the same machine is equal
//! whichever way it came in, but for its name and source. [`describe`] says what a machine is in one line.
pub mod hwloc;
pub mod lscpu;
pub mod oneline;
pub mod presets;
pub mod recording;
pub mod saved;
pub mod sysfs;

mod describe;
mod error;
mod facts;
mod shape;
mod tree;

pub use describe::describe;
pub use error::{MachineInputError, TextError};
pub use presets::{Preset, presets};
pub use saved::{save, save_with_notes};

use evenkeel::topology::Machine;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most that is read of a machine's file, unpacked, in bytes.
const TEXT_MAX: u64 = 256 << 20;

/// A machine, and what a reader should know about how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedMachine {
    /// The machine; it is valid.
    pub machine: Machine,
    /// What was missing and what was assumed instead, a sentence each.
    pub notes: Vec<String>,
}

/// Loads the machine that `spec` stands for; see the table at the head of the module.
pub fn load(spec: &str) -> Result<Machine, MachineInputError> {
    load_with_notes(spec).map(|loaded| loaded.machine)
}

/// As [`load`], with notes on what was assumed.
pub fn load_with_notes(spec: &str) -> Result<LoadedMachine, MachineInputError> {
    let spec = spec.trim();
    if spec == "host" {
        return sysfs::read_directory(Path::new("/sys"));
    }
    let path = Path::new(spec);
    if path.is_dir() {
        return sysfs::read_directory(path);
    }
    if path.exists() {
        return load_file(path);
    }
    if let Some(preset) = presets::find(spec) {
        return Ok(LoadedMachine { machine: preset.machine(), notes: Vec::new() });
    }
    let word = spec.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
    let synthetic = !word.is_empty() && spec[word.len()..].starts_with(':');
    if spec.starts_with(|c: char| c.is_ascii_digit()) || synthetic {
        return oneline::parse(spec);
    }
    let near = presets::near(spec);
    let mut no_preset = String::from("no preset has this name");
    if near.is_empty() {
        let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
        no_preset.push_str(&format!(" (presets: {})", names.join(", ")));
    }
    Err(MachineInputError::Unknown {
        spec: String::from(spec),
        tried: vec![
            String::from("there is no such file or directory"),
            no_preset,
            String::from("a one-line machine begins with a number, as in `2 sockets x 8 cores`"),
        ],
        near,
    })
}

fn load_file(path: &Path) -> Result<LoadedMachine, MachineInputError> {
    let failed = |source| MachineInputError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(TEXT_MAX).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        GzDecoder::new(bytes.as_slice()).take(TEXT_MAX).read_to_end(&mut unpacked).map_err(failed)?;
        bytes = unpacked;
    }
    let text = String::from_utf8_lossy(&bytes);
    load_text(&text, &path.display().to_string())
}

/// Reads a machine from the text of a file, which is told by its content. `origin` is what errors call the file.
///
/// | content | format |
/// |---|---|
/// | a line begins with `@@ ` | a dump of sysfs files ([`sysfs`]) |
/// | begins with `<` | hwloc XML ([`hwloc`]) |
/// | begins with `{`, has `"topology"` or `"kernel"` next to `"cpus"` | a recording's `sched.json` ([`recording`]) |
/// | begins with `{` otherwise | `lscpu -J` ([`lscpu`]) |
/// | a comment names columns with `CPU`, or a line begins with `CPU(s):` | `lscpu -p` or plain `lscpu` ([`lscpu`]) |
/// | anything else with a `=` | a saved machine ([`saved`]) |
pub fn load_text(text: &str, origin: &str) -> Result<LoadedMachine, MachineInputError> {
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if text.lines().take(100).any(|line| line.starts_with("@@ ")) {
        return sysfs::read_dump(text, &stem(origin));
    }
    if start.starts_with('<') {
        return hwloc::parse(start, origin);
    }
    if start.starts_with('{') {
        let has = |key: &str| text.contains(&format!("\"{key}\""));
        if has("cpus") && (has("topology") || has("kernel")) {
            return recording::parse(text, origin);
        }
        return lscpu::parse_json(text, origin);
    }
    if lscpu::is_table(text) {
        return lscpu::parse_table(text, origin);
    }
    if lscpu::is_summary(text) {
        return lscpu::parse_summary(text, origin);
    }
    if text.contains('=') {
        return saved::parse(text, origin);
    }
    Err(MachineInputError::contradiction(
        origin,
        "the content is no machine: expected a saved machine, a dump of sysfs files, the output of `lscpu -p` or `lscpu -J`, \
         or hwloc XML",
    ))
}

/// The name of a file without directories and endings.
fn stem(origin: &str) -> String {
    let name = Path::new(origin).file_name().map_or(origin.into(), |name| name.to_string_lossy());
    String::from(name.split('.').next().unwrap_or(&name))
}
