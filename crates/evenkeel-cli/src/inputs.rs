//! What several commands take: a machine, a kernel.
use crate::output;
use anyhow::{Result, bail};
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel_formats::diagnostic::near_match;
use evenkeel_formats::machine::{self, LoadedMachine};
use evenkeel_sim::SimError;

/// What `--machine` accepts, for help texts.
pub(crate) const MACHINE_HELP: &str = "\
Machine: `host`, a preset's name (see `evenkeel machine list`), a one-line form such as \
'2 sockets x 8 cores x 2 threads', or a file: saved machine, lscpu, hwloc XML, sysfs dump or directory, recording";

/// What `--kernel` accepts, for help texts.
pub(crate) const KERNEL_HELP: &str = "Kernel: an exact build or its alias (see `evenkeel kernels`)";

/// Reads the machine and tells stderr what had to be assumed.
pub(crate) fn machine(spec: &str) -> Result<LoadedMachine> {
    let loaded = machine::load_with_notes(spec)?;
    for note in &loaded.notes {
        output::notice(&format!("note: machine: {note}"));
    }
    Ok(loaded)
}

/// Finds the kernel of that name.
pub(crate) fn kernel(name: &str) -> Result<&'static Kernel> {
    if let Some(kernel) = kernels::find(name) {
        return Ok(kernel);
    }
    if name == "host" {
        bail!(
            "`host` is not a kernel that can be computed: name the build that is nearest to yours ({})",
            known()
        );
    }
    let names = kernels::ALL.iter().flat_map(|kernel| [kernel.alias, kernel.build]);
    let near = near_match(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    bail!("`{name}` is not a kernel that is known here ({}){near}", known())
}

fn known() -> String {
    kernels::ALL.map(|kernel| kernel.alias).join(", ")
}

/// What the simulator says, with the line that it is about.
pub(crate) fn simulation_error(error: &SimError) -> String {
    let (SimError::Unsupported { place, .. }
    | SimError::Invalid { place, .. }
    | SimError::InvalidChange { place, .. }
    | SimError::NoTimePasses { place, .. }
    | SimError::TooManyTasks { place, .. }) = error
    else {
        return error.to_string();
    };
    let full = error.to_string();
    let prefix = place.to_string();
    let message = full.strip_prefix(&prefix).unwrap_or(&full);
    if place.line == 0 {
        return message.to_owned();
    }
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let text: String = place.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let indent = " ".repeat(place.column.saturating_sub(1) as usize);
    format!(
        "{message}\n{margin}--> {}:{}:{}\n{margin} |\n{number} | {text}\n{margin} | {indent}^",
        place.file, place.line, place.column
    )
}
