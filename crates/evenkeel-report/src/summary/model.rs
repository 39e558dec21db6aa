//! The data of a report; its serialised form is the JSON output, field by field. Times are nanoseconds.
use super::collect::Override;
use crate::changes::Change;
use serde::Serialize;

/// Everything a run had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// Name and version of this form: `evenkeel-run-1`. Fields may be added; a change of meaning changes it.
    pub format: &'static str,
    /// The workload's name.
    pub workload: String,
    /// The machine.
    pub machine: MachineName,
    /// The kernel.
    pub kernel: KernelName,
    /// What was changed of kernel and surroundings, in the order given.
    pub settings: Vec<Override>,
    /// The seed of all dice.
    pub seed: u64,
    /// What was changed from outside while it ran, in order of time.
    pub changes: Vec<Change>,
    /// Simulated time.
    pub simulated_ns: u64,
    /// Whether every task of the workload had ended.
    pub finished: bool,
    /// Events that the simulator processed.
    pub events: u64,
    /// One entry for each task definition of the workload that had an instance.
    pub definitions: Vec<Definition>,
    /// Every task, those that are not of the workload included: `init`, which starts the others, and kernel threads.
    pub tasks: Vec<Task>,
    /// Task groups below the root group, parents before children.
    pub groups: Vec<Group>,
    /// Every CPU.
    pub cpus: Vec<Cpu>,
    /// Balancing by level, lowest first.
    pub levels: Vec<Level>,
    /// Work conservation.
    pub conservation: Conservation,
    /// Fingerprint of the whole event stream, if it was asked for.
    pub digest: Option<String>,
}

/// Which machine it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineName {
    /// Its name.
    pub name: String,
    /// Where its description came from.
    pub source: String,
    /// Its shape in words.
    pub description: String,
    /// Number of possible CPUs.
    pub cpus: usize,
    /// Number of memory nodes.
    pub nodes: usize,
}

/// Which kernel it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelName {
    /// The exact build.
    pub build: &'static str,
    /// The alias that resolves to it.
    pub alias: &'static str,
}

/// Least, median and most of some values; the median is the lower of the two middle ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: u64,
    /// The lower median.
    pub median: u64,
    /// The most.
    pub max: u64,
    /// The sum.
    pub sum: u64,
}

impl Spread {
    /// That of `values`; all zero if there are none.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else { return Self::default() };
        Self { min, median: values[(values.len() - 1) / 2], max, sum: values.iter().sum() }
    }
}

/// Times from wake-up (or fork) to running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// How many there were; of none all others are 0.
    pub count: u64,
    /// The shortest, exact.
    pub min_ns: u64,
    /// Half are at most this, to within 1/64.
    pub p50_ns: u64,
    /// 99 of 100 are at most this, to within 1/64.
    pub p99_ns: u64,
    /// The longest, exact.
    pub max_ns: u64,
    /// The sum, exact.
    pub sum_ns: u64,
}

/// Changes of CPU by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrations {
    /// Placement at wake-up.
    pub wakeup: u64,
    /// Placement at exec.
    pub exec: u64,
    /// The affinity changed.
    pub affinity: u64,
    /// Pulled by a balancing pass.
    pub balance: u64,
    /// Pushed by the stopper for a balancing pass.
    pub active_balance: u64,
    /// A real-time or deadline task was pushed away from others, or pulled.
    pub urgent: u64,
}

impl Migrations {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.wakeup + self.exec + self.affinity + self.balance + self.active_balance + self.urgent
    }
}

/// All instances of a task definition together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// How many instances there were.
    pub instances: u64,
    /// How many of them ended.
    pub ended: u64,
    /// Time on a CPU, by instance.
    pub run_ns: Spread,
    /// Time runnable without a CPU, by instance.
    pub wait_ns: Spread,
    /// Time asleep, by instance.
    pub sleep_ns: Spread,
    /// Switches away from a task, to sleep or end.
    pub voluntary_switches: u64,
    /// Switches away from a task that could have gone on.
    pub involuntary_switches: u64,
    /// Changes of CPU.
    pub migrations: Migrations,
    /// Times from wake-up to running, of all instances together.
    pub wake_latency: Latency,
    /// Uses of periodic timers.
    pub timer_uses: u64,
    /// Uses for which the expiry had passed already.
    pub timer_misses: u64,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its number, in order of creation.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Index into `definitions`; none for a task that is not of the workload.
    pub definition: Option<usize>,
    /// Its last CPU.
    pub cpu: u32,
    /// When it was forked.
    pub created_ns: u64,
    /// When it ended; none: it lives.
    pub ended_ns: Option<u64>,
    /// Time on a CPU.
    pub run_ns: u64,
    /// Time runnable without a CPU.
    pub wait_ns: u64,
    /// The part of that in which a limit of CPU time had stopped it.
    pub throttled_ns: u64,
    /// Time asleep.
    pub sleep_ns: u64,
    /// Times it left its CPU to sleep or end.
    pub voluntary_switches: u64,
    /// Times it left its CPU although it could have gone on.
    pub involuntary_switches: u64,
    /// Changes of CPU.
    pub migrations: Migrations,
    /// Times from wake-up to running.
    pub wake_latency: Latency,
    /// Repetitions of phases completed.
    pub loops: u64,
    /// Uses of periodic timers.
    pub timer_uses: u64,
    /// Uses for which the expiry had passed already.
    pub timer_misses: u64,
    /// Least time left until an expiry; negative: by how much the worst one was missed.
    pub timer_slack_min_ns: Option<i64>,
}

/// One task group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its path.
    pub path: String,
    /// Its shares on average over the run; 1024 by default.
    pub shares: u64,
    /// Of the idle kind.
    pub idle: bool,
    /// Tasks in it and below at the end, ended ones included.
    pub tasks: u64,
    /// Time on a CPU of tasks in it and below.
    pub run_ns: u64,
    /// Time they were runnable without a CPU.
    pub wait_ns: u64,
    /// Its weight's part among the groups and tasks beside it that ever wanted a CPU, millionths.
    pub wanted_ppm: u64,
    /// Its part of the running time of the group above, millionths.
    pub got_ppm: u64,
    /// Its limit of CPU time, if it has or had one.
    pub limit: Option<Limit>,
}

/// A limit of CPU time and how it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// CPU time per period at the end of the run; none: no limit.
    pub quota_ns: Option<u64>,
    /// The period.
    pub period_ns: u64,
    /// What may be kept for later.
    pub burst_ns: u64,
    /// Periods that ended while the group ran.
    pub periods: u64,
    /// Periods at whose end it was throttled somewhere.
    pub throttled_periods: u64,
    /// Time it was throttled, summed over CPUs.
    pub throttled_ns: u64,
    /// Periods in which it used time that it had saved; 0 on kernels that do not count them.
    pub bursts: u64,
    /// How much of it.
    pub burst_used_ns: u64,
}

/// One CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Its number.
    pub cpu: u32,
    /// The lowest CPU that shares its last-level cache.
    pub llc: u32,
    /// Its memory node.
    pub node: u32,
    /// Time a task ran.
    pub busy_ns: u64,
    /// Time no task ran although it was online.
    pub idle_ns: u64,
    /// Time it was offline.
    pub offline_ns: u64,
    /// Idle periods that began.
    pub idle_periods: u64,
    /// Switches to a task or to idle.
    pub switches: u64,
    /// Ticks.
    pub ticks: u64,
    /// Balancing passes on its behalf, over all levels.
    pub passes: Trigger<u64>,
}

/// A value for each occasion on which a CPU balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trigger<T> {
    /// Periodically while busy.
    pub busy: T,
    /// Periodically while idle, for itself or by another idle CPU for it.
    pub idle: T,
    /// When it is about to become idle.
    pub newly_idle: T,
}

/// Balancing at one level, over all CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The level's name: `SMT`, `MC` ...
    pub name: &'static str,
    /// The kernel's number of it.
    pub level: u32,
    /// CPUs that have a domain of this level.
    pub cpus: u64,
    /// Passes by occasion.
    pub passes: Trigger<Balancing>,
    /// Times a running task was to be pushed by the stopper.
    pub active_attempts: u64,
    /// Times that failed.
    pub active_failed: u64,
    /// Tasks pushed.
    pub active_pushed: u64,
    /// Wake-ups that moved the task to the waker's CPU or cache by affinity.
    pub wake_affine_moves: u64,
    /// Wake-ups from another CPU.
    pub remote_wakeups: u64,
}

/// The counters of `/proc/schedstat` for one occasion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Balancing {
    /// Passes.
    pub count: u64,
    /// Passes that found nothing to do.
    pub balanced: u64,
    /// Passes that found an imbalance and moved nothing.
    pub failed: u64,
    /// Tasks moved.
    pub pulled: u64,
    /// Of these, cache-hot ones.
    pub pulled_hot: u64,
    /// Passes that found no busiest group.
    pub no_busiest_group: u64,
    /// Passes that found no busiest queue.
    pub no_busiest_queue: u64,
}

/// How well work was conserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conservation {
    /// CPU time that was idle while a task that could have used it waited elsewhere.
    pub wasted_ns: u64,
    /// Time during which there was any.
    pub violated_ns: u64,
    /// Looks of the "wasted cores" checker: once a second, reported if it lasts for 100 ms more.
    pub looks: u64,
    /// What it reported.
    pub violations: Vec<Violation>,
}

/// One report of the checker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When it was first seen.
    pub at_ns: u64,
    /// A CPU idle all the time since.
    pub idle_cpu: u32,
    /// A CPU on which tasks waited all the time since.
    pub busy_cpu: u32,
    /// A task that waited there and may run on the idle CPU.
    pub task: u32,
    /// Its name.
    pub task_name: String,
    /// CPUs idle all the time.
    pub idle_cpus: u32,
    /// CPUs with waiting tasks all the time.
    pub busy_cpus: u32,
}
