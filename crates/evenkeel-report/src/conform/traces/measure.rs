//! What is measured of a run, recorded or simulated: one implementation for both.
//!
//! The tasks of the workload are those that `init` (number 1) forks, and what these fork. Who is runnable where is
//! rebuilt from wake-ups, migrations and switches (spec 5 §4.6), for every task, those of the kernel included: they
//! keep a CPU busy as well. A task that runs in a trace without having been woken in it was runnable from its beginning.
use evenkeel::time::Ns;
use evenkeel_formats::ftrace::{LeftAs, TraceEvent, TraceRecord};
use std::collections::{BTreeMap, BTreeSet};

/// The stretch of a run that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Ns,
    /// Its end.
    pub until: Ns,
    /// When it is looked at who is where: before tasks begin to end.
    pub look: Ns,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Length of the window, ns.
    pub length: Ns,
    /// Tasks of the workload.
    pub tasks: usize,
    /// Switches from or to a task of the workload, those with a thread of the kernel left out.
    pub switches: u64,
    /// Switches between a task of the workload and a thread of the kernel.
    pub disturbances: u64,
    /// Changes of CPU of the workload's tasks.
    pub migrations: u64,
    /// Share of all CPU time in which nothing was runnable on a CPU, %.
    pub idle: f64,
    /// Integral of min(idle CPUs, runnable tasks beyond one per CPU), as a share of all CPU time, %.
    pub overloaded_idle: f64,
    /// The first moment without that, ns from the beginning; none: there was none.
    pub conserved_after: Option<Ns>,
    /// The first moment when the numbers of the workload's runnable tasks on any two CPUs differ by one at most.
    pub balanced_after: Option<Ns>,
    /// Standard deviation of the tasks' running times over their mean.
    pub spread: f64,
    /// Runnable tasks of the workload at [`Window::look`], by CPU.
    pub finally: Vec<u32>,
}

impl Measures {
    /// By how many tasks the fullest and the emptiest CPU differ at the end.
    pub fn unevenness(&self) -> u32 {
        let most = self.finally.iter().max().copied().unwrap_or(0);
        most - self.finally.iter().min().copied().unwrap_or(0)
    }
}

/// The numbers of the workload's tasks.
pub fn workload_tasks(records: &[TraceRecord]) -> BTreeSet<i32> {
    let mut tasks = BTreeSet::new();
    for record in records {
        if let TraceEvent::Fork { parent, child } = &record.event
            && (parent.pid == 1 || tasks.contains(&parent.pid))
        {
            tasks.insert(child.pid);
        }
    }
    tasks
}

/// The state of a machine while its trace is read.
struct Replay<'a> {
    window: Window,
    tasks: &'a BTreeSet<i32>,
    /// Where a task is runnable.
    runnable: BTreeMap<i32, usize>,
    /// Runnable tasks by CPU: all, and those of the workload.
    queued: Vec<u32>,
    own: Vec<u32>,
    /// Who runs, by CPU.
    running: Vec<i32>,
    ran: BTreeMap<i32, Ns>,
    clock: Ns,
    idle: u128,
    overloaded_idle: u128,
    conserved_after: Option<Ns>,
    balanced_after: Option<Ns>,
}

impl Replay<'_> {
    /// Accounts the time up to `now`.
    fn advance(&mut self, now: Ns) {
        let (from, until) = (self.clock.max(self.window.from), now.min(self.window.until));
        self.clock = self.clock.max(now);
        if from >= until {
            return;
        }
        let span = until - from;
        let idle = self.queued.iter().filter(|&&queued| queued == 0).count() as u64;
        let beyond: u64 = self.queued.iter().map(|&queued| u64::from(queued.saturating_sub(1))).sum();
        let wasted = idle.min(beyond);
        self.idle += u128::from(idle * span);
        self.overloaded_idle += u128::from(wasted * span);
        let since = from - self.window.from;
        if wasted == 0 {
            self.conserved_after.get_or_insert(since);
        }
        let most = self.own.iter().max().copied().unwrap_or(0);
        let least = self.own.iter().min().copied().unwrap_or(0);
        if most - least <= 1 {
            self.balanced_after.get_or_insert(since);
        }
        for pid in &self.running {
            if self.tasks.contains(pid) {
                *self.ran.entry(*pid).or_default() += span;
            }
        }
    }

    /// Makes a task runnable on `cpu`, or moves it there.
    fn put(&mut self, pid: i32, cpu: usize) {
        if pid == 0 || cpu >= self.queued.len() || self.runnable.get(&pid) == Some(&cpu) {
            return;
        }
        self.take(pid);
        self.runnable.insert(pid, cpu);
        self.queued[cpu] += 1;
        self.own[cpu] += u32::from(self.tasks.contains(&pid));
    }

    /// Makes a task not runnable.
    fn take(&mut self, pid: i32) {
        if let Some(cpu) = self.runnable.remove(&pid) {
            self.queued[cpu] -= 1;
            self.own[cpu] -= u32::from(self.tasks.contains(&pid));
        }
    }

    fn apply(&mut self, cpu: usize, event: &TraceEvent) {
        match event {
            TraceEvent::Switch { prev, prev_state, next } => {
                match prev_state {
                    LeftAs::Runnable if self.runnable.contains_key(&prev.pid) => {}
                    LeftAs::Runnable => self.put(prev.pid, cpu),
                    LeftAs::Blocked | LeftAs::Dead => self.take(prev.pid),
                }
                self.put(next.pid, cpu);
                if let Some(running) = self.running.get_mut(cpu) {
                    *running = next.pid;
                }
            }
            TraceEvent::Wakeup { task, target_cpu } | TraceEvent::WakeupNew { task, target_cpu } => {
                self.put(task.pid, *target_cpu as usize);
            }
            TraceEvent::Migrate { task, dest_cpu, .. } if self.runnable.contains_key(&task.pid) => {
                self.put(task.pid, *dest_cpu as usize);
            }
            _ => {}
        }
    }
}

/// Who was running on each CPU when the trace began: who leaves first without having come.
fn at_first(records: &[TraceRecord], ncpus: usize) -> Vec<i32> {
    let mut first: Vec<Option<i32>> = vec![None; ncpus];
    let mut known = BTreeSet::new();
    for record in records {
        match &record.event {
            TraceEvent::Switch { prev, next, .. } => {
                if let Some(slot) = first.get_mut(record.cpu as usize) {
                    slot.get_or_insert(if known.contains(&prev.pid) { 0 } else { prev.pid });
                }
                known.extend([prev.pid, next.pid]);
            }
            TraceEvent::Wakeup { task, .. } | TraceEvent::WakeupNew { task, .. } => {
                known.insert(task.pid);
            }
            _ => {}
        }
    }
    first.into_iter().map(Option::unwrap_or_default).collect()
}

/// Measures a window of a run on `ncpus` CPUs.
pub fn measure(records: &[TraceRecord], ncpus: usize, window: Window) -> Measures {
    let tasks = workload_tasks(records);
    let mut replay = Replay {
        window,
        tasks: &tasks,
        runnable: BTreeMap::new(),
        queued: vec![0; ncpus],
        own: vec![0; ncpus],
        running: at_first(records, ncpus),
        ran: tasks.iter().map(|&pid| (pid, 0)).collect(),
        clock: 0,
        idle: 0,
        overloaded_idle: 0,
        conserved_after: None,
        balanced_after: None,
    };
    for (cpu, pid) in replay.running.clone().into_iter().enumerate() {
        replay.put(pid, cpu);
    }
    let (mut switches, mut disturbances, mut migrations) = (0, 0, 0);
    let own = |pid: i32| tasks.contains(&pid);
    let kernel = |pid: i32| pid > 1 && !own(pid);
    let mut finally = None;
    for record in records.iter().take_while(|record| record.at <= window.until) {
        if record.at >= window.look {
            finally.get_or_insert_with(|| replay.own.clone());
        }
        replay.advance(record.at);
        replay.apply(record.cpu as usize, &record.event);
        let counted = record.at >= window.from;
        match &record.event {
            TraceEvent::Switch { prev, next, .. } if counted && (own(prev.pid) || own(next.pid)) => {
                let disturbed = kernel(prev.pid) || kernel(next.pid);
                switches += u64::from(!disturbed);
                disturbances += u64::from(disturbed);
            }
            TraceEvent::Migrate { task, .. } => migrations += u64::from(counted && own(task.pid)),
            _ => {}
        }
    }
    replay.advance(window.until);
    let length = window.until.saturating_sub(window.from);
    let all = (length as f64 * ncpus as f64).max(1.0);
    let ran: Vec<f64> = replay.ran.values().map(|&ran| ran as f64).collect();
    Measures {
        length,
        tasks: tasks.len(),
        switches,
        disturbances,
        migrations,
        idle: replay.idle as f64 * 100.0 / all,
        overloaded_idle: replay.overloaded_idle as f64 * 100.0 / all,
        conserved_after: replay.conserved_after,
        balanced_after: replay.balanced_after,
        spread: spread(&ran),
        finally: finally.unwrap_or(replay.own),
    }
}

/// Standard deviation over mean; 0 of nothing.
fn spread(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if mean <= 0.0 {
        return 0.0;
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    variance.sqrt() / mean
}
