//! Single balancing decisions of a real kernel: `lb.jsonl`, one call of `sched_balance_rq` a line.
//!
//! A line holds the CPUs' numbers when the search began (`rq`), what the statistics pass made of them (`sds`), what was
//! decided (`out`), and the tasks that were looked at (`scan`). Example of a row of `rq`:
//! `[2,2,2048,2048,992,0,1024,0,0,0]`: two tasks, both fair and runnable, load and runnable average 2048, utilisation
//! 992, no estimate, full capacity, no wake-up on its way, no task with a preferred node, none on it.
use super::{RecordingError, read_text};
use evenkeel::ids::CpuId;
use evenkeel::mask::CpuMask;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::path::{Component, Path, PathBuf};

/// How much of a faulty line is shown.
const SHOWN_CHARACTERS_MAX: usize = 96;
/// Loads and utilisations are below this, so that sums over all CPUs do not overflow.
const NUMBER_MAX: u64 = 1 << 40;

/// One call of the balancing function.
#[derive(Clone, Debug, Deserialize)]
pub struct LbRecord {
    /// The workload that ran.
    #[serde(rename = "wl", default)]
    pub workload: String,
    /// When, microseconds since its start.
    #[serde(default)]
    pub t_us: u64,
    /// The CPU that ran the code.
    pub on_cpu: u32,
    /// The CPU balanced for.
    pub dst_cpu: u32,
    /// Its state: `busy`, `idle`, `newly_idle`.
    pub idle: String,
    /// The level's name.
    #[serde(rename = "sd")]
    pub level: String,
    /// The level's tolerance.
    pub imbalance_pct: u32,
    /// Failures in a row before.
    pub nr_balance_failed: u32,
    /// The level's interval before, ms.
    #[serde(default)]
    pub balance_interval: u64,
    /// The level's flags in the kernel's bits.
    #[serde(default)]
    pub sd_flags: u64,
    /// One per search; empty: it was not this CPU's turn.
    pub attempts: Vec<Attempt>,
    /// Tasks moved.
    pub moved: u32,
}

/// One search for work.
#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    /// `LBF_*` before, hexadecimal.
    pub flags: String,
    /// The CPUs that take part.
    pub cpus: String,
    /// The CPUs' numbers.
    pub rq: Vec<RqRow>,
    /// The tasks looked at.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub scan: Vec<Scanned>,
    /// What the statistics pass left.
    pub sds: RecordedSds,
    /// What was decided.
    pub out: Outcome,
    /// What `need_active_balance` answered, if it was asked.
    #[serde(default)]
    pub need_active: Option<u32>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Scanned>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// One CPU: `nr_running`, runnable fair tasks, `load_avg`, `runnable_avg`, `util_avg`, `util_est`, `cpu_capacity`,
/// `ttwu_pending`, `nr_numa_running`, `nr_preferred_running`. The last two are 0 where a record leaves them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RqRow(
    /// `nr_running`
    pub u32,
    /// runnable fair tasks
    pub u32,
    /// `load_avg`
    pub u64,
    /// `runnable_avg`
    pub u64,
    /// `util_avg`
    pub u64,
    /// `util_est`
    pub u64,
    /// `cpu_capacity`
    pub u64,
    /// `ttwu_pending`
    pub u32,
    /// `nr_numa_running`
    pub u32,
    /// `nr_preferred_running`
    pub u32,
);

impl<'de> Deserialize<'de> for RqRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let numbers = Vec::<u64>::deserialize(from)?;
        let expected = "a row of 10 numbers, or of 8 without the two of memory nodes";
        let counts =
            |i: usize| u32::try_from(numbers[i]).map_err(|_| D::Error::custom("a count beyond 2^32"));
        match numbers.len() {
            8 | 10 => {}
            other => return Err(D::Error::invalid_length(other, &expected)),
        }
        let on_nodes = |i: usize| if numbers.len() == 10 { counts(i) } else { Ok(0) };
        Ok(Self(
            counts(0)?,
            counts(1)?,
            numbers[2],
            numbers[3],
            numbers[4],
            numbers[5],
            numbers[6],
            counts(7)?,
            on_nodes(8)?,
            on_nodes(9)?,
        ))
    }
}

impl RqRow {
    /// Whether a kernel can show this: sums over all CPUs then do not overflow.
    fn is_possible(&self) -> bool {
        let numbers = [self.2, self.3, self.4, self.5, self.6];
        let counts = [self.0, self.1, self.8, self.9];
        numbers.iter().all(|&number| number < NUMBER_MAX)
            && counts.iter().all(|&count| count < 1 << 20)
            && self.6 > 0
    }
}

/// The kernel's `struct sd_lb_stats` after the decision.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedSds {
    /// The busiest group.
    pub busiest: Option<String>,
    /// The local group.
    pub local: String,
    /// Load of all groups.
    pub total_load: u64,
    /// Capacity of all groups.
    pub total_capacity: u64,
    /// Whether siblings are preferred.
    pub prefer_sibling: u32,
    /// Numbers of the busiest group.
    pub busiest_stat: Option<RecordedStats>,
    /// Numbers of the local group.
    pub local_stat: RecordedStats,
}

/// The kernel's `struct sg_lb_stats`. What a kernel does not have (a core in need before v6.12, numbers of memory nodes without
/// NUMA balancing) is absent or null.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the kernel's names; see SgStats")]
pub struct RecordedStats {
    pub avg_load: u64,
    pub group_load: u64,
    pub group_capacity: u64,
    pub group_util: u64,
    pub group_runnable: u64,
    pub sum_nr_running: u32,
    pub sum_h_nr_running: u32,
    pub idle_cpus: u32,
    pub group_weight: u32,
    pub group_type: String,
    #[serde(default)]
    pub group_asym_packing: Option<u32>,
    #[serde(default)]
    pub group_smt_balance: Option<u32>,
    #[serde(default)]
    pub group_misfit_task_load: Option<u64>,
    #[serde(default)]
    pub nr_numa_running: Option<u32>,
    #[serde(default)]
    pub nr_preferred_running: Option<u32>,
    /// Only where the kernel gathers threads and the machine has several caches.
    #[serde(default)]
    pub nr_pref_dst_llc: Option<u32>,
    #[serde(default)]
    pub group_llc_balance: Option<u32>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// The group to take from; none: balanced.
    pub group: Option<String>,
    /// How much.
    pub imbalance: i64,
    /// In what unit.
    pub migration_type: Option<String>,
    /// From which queues.
    pub fbq: String,
}

/// A task that was looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Scanned {
    /// The task.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its load.
    pub load: u64,
    /// Its utilisation.
    pub util: u64,
    /// Where it is.
    pub src: u32,
    /// What was left to move before.
    pub imbalance: i64,
    /// `LBF_*` after `can_migrate_task`, hexadecimal.
    pub flags: String,
    /// Tasks looked at so far.
    #[serde(rename = "loop")]
    pub loop_: u32,
    /// At most.
    pub loop_max: u32,
    /// What `can_migrate_task` answered.
    pub can: u32,
    /// Whether it was moved.
    pub detached: u32,
    /// What was left after that.
    #[serde(default)]
    pub imbalance_after: Option<i64>,
}

/// Reads the records of a file, packed or not.
pub fn read_lb(path: &Path) -> Result<Vec<LbRecord>, RecordingError> {
    parse_lb(&read_text(path)?, &path.display().to_string())
}

/// Where the machine of a file of records is described: `sched.json` beside it, or the same place below `domains` instead
/// of `decisions` (`decisions/6.12/c4t2/lb.jsonl.gz` and `domains/6.12/c4t2/sched.json.gz`).
pub fn machine_of(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    let elsewhere =
        directory.components().rev().position(|part| part.as_os_str() == "decisions").map(|depth| {
            let parts = directory.components().count();
            let replaced = |(i, part): (usize, Component<'_>)| {
                if i + 1 + depth == parts {
                    PathBuf::from("domains")
                } else {
                    PathBuf::from(part.as_os_str())
                }
            };
            directory.components().enumerate().map(replaced).collect::<PathBuf>()
        });
    let places = [Some(directory.to_path_buf()), elsewhere];
    let names = ["sched.json.gz", "sched.json"];
    let mut files = places.into_iter().flatten().flat_map(|place| names.map(|name| place.join(name)));
    files.find(|file| file.is_file())
}

/// Reads records from their text; `origin` is what errors call it.
pub fn parse_lb(text: &str, origin: &str) -> Result<Vec<LbRecord>, RecordingError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        let wrong = |column, message| RecordingError::Line {
            origin: origin.to_owned(),
            line: number + 1,
            column,
            message,
            text: line.chars().take(SHOWN_CHARACTERS_MAX).collect(),
        };
        let record: LbRecord = serde_json::from_str(line).map_err(|error| {
            let message = format!("expected a record of kind lb: {}", without_place(&error));
            wrong(error.column(), message)
        })?;
        for (index, attempt) in record.attempts.iter().enumerate() {
            if let Some(cpu) = attempt.rq.iter().position(|row| !row.is_possible()) {
                let place = format!("attempts[{index}].rq[{cpu}]");
                let message = format!("{place}: expected numbers below 2^40 and a capacity of at least 1");
                return Err(wrong(1, message));
            }
            let is_possible = |task: &Scanned| task.load < NUMBER_MAX && task.util < NUMBER_MAX;
            if let Some(task) = attempt.scan.iter().position(|task| !is_possible(task)) {
                let message = format!("attempts[{index}].scan[{task}]: expected numbers below 2^40");
                return Err(wrong(1, message));
            }
        }
        Ok(record)
    });
    parsed.collect()
}

/// What the JSON reader said, without its own idea of the line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

/// Reads a hexadecimal CPU mask (`0x1f`, `ff,ffffffff`); `None` if it is none, or names a CPU beyond `ncpus`.
pub fn parse_mask(text: &str, ncpus: usize) -> Option<CpuMask> {
    let mut mask = CpuMask::new(ncpus);
    let digits = text.strip_prefix("0x").unwrap_or(text).bytes().rev().filter(|&digit| digit != b',');
    for (i, digit) in digits.enumerate() {
        let digit = char::from(digit).to_digit(16)?;
        for bit in (0..4).filter(|bit| digit >> bit & 1 != 0) {
            let cpu = i * 4 + bit;
            if cpu >= ncpus {
                return None;
            }
            mask.set(CpuId::from_index(cpu));
        }
    }
    Some(mask)
}
