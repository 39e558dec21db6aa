//! The text of the kernel's `trace` file: one event a line, as tracefs prints it.
//!
//! ```text
//!  a b-1204  [002] d..2.  1855.331363: sched_wakeup: comm=k=v pid=20642 prio=125 target_cpu=000
//! ```
//! Names of tasks may hold blanks, `=`, `-`, brackets and whole keys, so nothing is split at blanks: a name reaches up
//! to the **last** place where the rest of the line still reads as the format says. Which one of several such places is
//! meant cannot be told from the text; a task that calls itself `x pid=1 prio=2 target_cpu=3` fools every reader.
//!
//! Tolerant: any flags column (4 to 6 characters, or none), a column with thread group ids, fields appended to an event
//! by newer kernels (`group_dead=`), clocks that print plain integers, comment lines, events that are not of interest
//! ([`FtraceLog::skipped`] counts them), loss marks ([`FtraceLog::lost`]). Strict: a line that is no event, or an event
//! of interest that does not read as its kernel prints it, is an error with its place.
//!
//! In the kernel: `trace_print_context` and the `TP_printk` of `include/trace/events/sched.h`. Not read here: the
//! dialects of `trace-cmd report` and `perf script`.
mod payload;

use crate::diagnostic::InputError;
use evenkeel::time::Ns;

/// A task as an event names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceTask {
    /// Its name; `<...>` if tracing did not know it.
    pub comm: String,
    /// Its number; 0 is the idle task of any CPU.
    pub pid: i32,
}

/// In what state a task leaves its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftAs {
    /// `R`, `R+`: it could go on.
    Runnable,
    /// `S`, `D`, `I`, `T` ...: it sleeps or is stopped.
    Blocked,
    /// `X`, `Z`: it has ended.
    Dead,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// `sched_switch`.
    Switch {
        /// Who leaves.
        prev: TraceTask,
        /// In what state.
        prev_state: LeftAs,
        /// Who comes.
        next: TraceTask,
    },
    /// `sched_waking`: a wake-up begins.
    Waking {
        /// The sleeper.
        task: TraceTask,
        /// Its CPU.
        target_cpu: u32,
    },
    /// `sched_wakeup`: a task is runnable.
    Wakeup {
        /// The task.
        task: TraceTask,
        /// Its CPU from now on.
        target_cpu: u32,
    },
    /// `sched_wakeup_new`: a new task is runnable.
    WakeupNew {
        /// The task.
        task: TraceTask,
        /// Its CPU.
        target_cpu: u32,
    },
    /// `sched_migrate_task`.
    Migrate {
        /// The task.
        task: TraceTask,
        /// From here.
        orig_cpu: u32,
        /// To there.
        dest_cpu: u32,
    },
    /// `sched_process_fork`.
    Fork {
        /// Who forks.
        parent: TraceTask,
        /// The new task.
        child: TraceTask,
    },
    /// `sched_process_exit`: a task begins to end.
    Exit {
        /// The task.
        task: TraceTask,
    },
    /// `cpu_idle`: a CPU enters an idle state, or leaves it (`None`).
    CpuIdle {
        /// The state's number.
        state: Option<u32>,
        /// The CPU.
        cpu: u32,
    },
}

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// When, in ns of the trace's clock.
    pub at: Ns,
    /// On which CPU.
    pub cpu: u32,
    /// Whether in an interrupt (hard or soft) rather than in the code of the running task.
    pub interrupt: bool,
    /// What.
    pub event: TraceEvent,
}

/// A trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FtraceLog {
    /// The events in the order of the file.
    pub records: Vec<TraceRecord>,
    /// Events of other kinds, which were passed over.
    pub skipped: u64,
    /// Events that tracing lost, as far as it says.
    pub lost: u64,
}

/// What stands before the payload of a line.
struct Header<'a> {
    cpu: u32,
    interrupt: bool,
    at: Ns,
    event: &'a str,
    payload: &'a str,
}

/// Reads a trace; `name` is what errors call it.
pub fn parse(text: &str, name: &str) -> Result<FtraceLog, InputError> {
    let mut log = FtraceLog::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |found: String, expected: &str| InputError::in_line(name, line, index, found, expected);
        if let Some(lost) = lost_events(line) {
            log.lost += lost;
            continue;
        }
        let header = header(line).ok_or_else(|| {
            fault(
                "this is no event".into(),
                "`TASK-PID [CPU] FLAGS SECONDS: EVENT: FIELDS`, as tracefs prints it",
            )
        })?;
        let Some(format) = payload::format(header.event) else {
            log.skipped += 1;
            continue;
        };
        let event = payload::parse(header.event, header.payload)
            .ok_or_else(|| fault(format!("the fields of `{}` cannot be read", header.event), format))?;
        log.records.push(TraceRecord { at: header.at, cpu: header.cpu, interrupt: header.interrupt, event });
    }
    Ok(log)
}

/// `CPU:3 [LOST 120 EVENTS]`.
fn lost_events(line: &str) -> Option<u64> {
    let rest = line.trim_start().strip_prefix("CPU:")?;
    let (cpu, rest) = rest.split_once(" [LOST ")?;
    cpu.parse::<u32>().ok()?;
    rest.strip_suffix(" EVENTS]")?.parse().ok()
}

/// Splits a line at the first `[CPU]` around which everything reads as it should.
fn header(line: &str) -> Option<Header<'_>> {
    line.match_indices('[').find_map(|(at, _)| {
        let (task, rest) = (line[..at].trim_end(), &line[at + 1..]);
        if !ends_with_pid(task) {
            return None;
        }
        let (cpu, rest) = rest.split_once(']')?;
        let cpu = if cpu.bytes().all(|b| b.is_ascii_digit()) { cpu.parse().ok()? } else { return None };
        let (stamp, rest) = rest.split_once(": ").or_else(|| rest.split_once(':'))?;
        let (flags, time) = match stamp.trim().rsplit_once(char::is_whitespace) {
            Some((flags, time)) => (flags.trim(), time),
            None => ("", stamp.trim()),
        };
        if !(flags.is_empty() || (4..=6).contains(&flags.len())) || flags.contains(char::is_whitespace) {
            return None;
        }
        let (event, payload) = rest.trim_start().split_once(':')?;
        let named = !event.is_empty() && event.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let interrupt = flags.as_bytes().get(2).is_some_and(|b| b"hHszZ".contains(b));
        let payload = payload.strip_prefix(' ').unwrap_or(payload);
        named.then_some(Header { cpu, interrupt, at: nanoseconds(time)?, event, payload })
    })
}

/// `COMM-PID`, with the thread group behind it if the trace shows that.
fn ends_with_pid(task: &str) -> bool {
    let task = match task.strip_suffix(')').and_then(|task| task.rsplit_once('(')) {
        Some((task, group)) if group.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b' ') => {
            task.trim_end()
        }
        _ => task,
    };
    task.rsplit_once('-').is_some_and(|(_, pid)| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
}

/// `1855.331363` in seconds, or a plain number in ns.
fn nanoseconds(text: &str) -> Option<Ns> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((seconds, fraction)) = text.split_once('.') else {
        return if digits(text) { text.parse().ok() } else { None };
    };
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(9 - fraction.len() as u32);
    let fraction = fraction.parse::<u64>().ok()? * scale;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests;
