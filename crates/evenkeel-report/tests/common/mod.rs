//! The shipped examples, random scenarios, and a recount of idle time while tasks wait that shares nothing with the one
//! under test but the events.
use core::fmt::Write as _;
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::observe::{Event, Observer, PrevState, Running};
use evenkeel::time::{Ns, SEC};
use evenkeel::topology::Machine;
use evenkeel::workload::Workload;
use evenkeel_formats::load::{LoadedWorkload, load_workload};
use evenkeel_formats::{machine, rtapp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A shipped scenario or rt-app file.
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) machine: Machine,
    pub(crate) workload: Workload,
}

/// All of them, by name.
pub(crate) fn examples() -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut all = Vec::new();
    for directory in ["scenarios", "rt-app"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let loaded = load_workload(&text, &name, None, &rtapp::Options::default()).unwrap();
            let spec = match &loaded {
                LoadedWorkload::Scenario(scenario) => scenario.machine.as_ref().unwrap().text.clone(),
                LoadedWorkload::RtApp(_) => "4 cores x 2 threads".to_owned(),
            };
            let mut workload = loaded.workload().clone();
            // Long enough for every level to come round several times.
            workload.duration = Some(workload.duration.unwrap_or(SEC).min(SEC));
            all.push(Example { name, machine: machine::load(&spec).unwrap(), workload });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.len() >= 18);
    all
}

const MACHINES: [&str; 4] =
    ["2 cores", "2 cores x 2 threads", "2 llc x 2 cores x 2 threads", "2 nodes x 2 cores x 2 threads"];

/// Something from outside.
#[derive(Clone, Copy, Debug)]
enum Change {
    Affinity(&'static str),
    Offline,
    Divide,
}

/// A few kinds of tasks with random times, affinities, groups and changes on a random small machine; half of them may be
/// in a group with a limit of CPU time.
pub(crate) fn random_scenario() -> impl Strategy<Value = String> {
    let machine = prop::sample::select(&MACHINES[..]);
    let us = || prop::sample::select(&[20u32, 300, 700, 2_000, 9_000][..]);
    let affinity = prop::sample::select(&["all", "0", "1", "0-1", "[0, 1]"][..]);
    let task = (1u32..5, us(), prop::option::of(us()), affinity, any::<bool>(), -5i32..6);
    let affinity_change = prop::sample::select(&["all", "0", "0-1"][..]).prop_map(Change::Affinity);
    let change = prop_oneof![3 => affinity_change, 1 => Just(Change::Offline), 1 => Just(Change::Divide)];
    let change = prop::option::of((1u32..60, change));
    let limit = prop::sample::select(&["", "(max=1ms/5ms)", "(max=8ms/10ms)", "(max=20ms/20ms)"][..]);
    (machine, limit, prop::collection::vec((task, change), 1..5)).prop_map(|(machine, limit, tasks)| {
        let mut text = format!("machine = \"{machine}\"\nduration = \"80ms\"\ngroups = \"g{limit}\"\n");
        // Beside limits no CPU may go.
        let (mut changes, mut gone) = (String::new(), !limit.is_empty());
        for (index, ((count, run, sleep, affinity, grouped, nice), change)) in tasks.into_iter().enumerate() {
            let quoted =
                |text: &str| if text.starts_with('[') { text.to_owned() } else { format!("\"{text}\"") };
            write!(
                text,
                "[[task]]\nname = \"t{index}\"\ncount = {count}\nnice = {nice}\naffinity = {}\n",
                quoted(affinity)
            )
            .ok();
            if grouped {
                text.push_str("group = \"/g\"\n");
            }
            match sleep {
                Some(sleep) => write!(text, "run = \"{run}us\"\nsleep = \"{sleep}us\"\n").ok(),
                None => writeln!(text, "run = \"forever\"").ok(),
            };
            if let Some((at, change)) = change {
                write!(changes, "[[at]]\ntime = \"{at}ms\"\n").ok();
                match change {
                    Change::Affinity(affinity) => {
                        write!(changes, "task = \"t{index}\"\naffinity = {}\n", quoted(affinity)).ok()
                    }
                    // Not CPU 0, to which tasks may be bound; a CPU may go only once.
                    Change::Offline if !gone => {
                        gone = true;
                        write!(changes, "offline = 1\n[[at]]\ntime = \"{}ms\"\nonline = 1\n", at + 15).ok()
                    }
                    Change::Offline => writeln!(changes, "partitions = \"none\"").ok(),
                    Change::Divide => writeln!(changes, "partitions = [\"0\"]").ok(),
                };
            }
        }
        text + &changes
    })
}

/// Idle time while a task waits that may run there, counted the plain way.
pub(crate) struct Recount {
    /// By CPU, whether it runs nothing; none: it is offline.
    idle: Vec<Option<bool>>,
    /// Every task that is runnable and not running, with where it may run.
    waiting: BTreeMap<TaskId, ()>,
    running: BTreeMap<CpuId, TaskId>,
    /// Those that a limit has stopped: they wait for time, not for a CPU.
    throttled: BTreeSet<TaskId>,
    allowed: BTreeMap<TaskId, Vec<CpuId>>,
    since: Ns,
    by_cpu: Vec<Ns>,
    /// Idle time of CPUs that only stopped tasks could have used.
    beside_stopped: Ns,
}

impl Recount {
    pub(crate) fn new(cpus: usize) -> Self {
        Self {
            idle: vec![Some(true); cpus],
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            throttled: BTreeSet::new(),
            allowed: BTreeMap::new(),
            since: 0,
            beside_stopped: 0,
            by_cpu: vec![0; cpus],
        }
    }

    pub(crate) fn finish(mut self, now: Ns) -> (Ns, Vec<Ns>, Ns) {
        self.advance(now);
        (self.by_cpu.iter().sum(), self.by_cpu, self.beside_stopped)
    }

    fn advance(&mut self, now: Ns) {
        let span = now - self.since;
        self.since = now;
        if span == 0 || self.waiting.is_empty() {
            return;
        }
        for (index, idle) in self.idle.iter().enumerate() {
            let may = |task: &TaskId| self.allowed[task].contains(&CpuId(index as u32));
            let mut waiting = self.waiting.keys().filter(|task| !self.throttled.contains(task));
            if *idle == Some(true) {
                if waiting.any(may) {
                    self.by_cpu[index] += span;
                } else if self.waiting.keys().any(may) {
                    self.beside_stopped += span;
                }
            }
        }
    }
}

impl Observer for Recount {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        self.advance(now);
        match event {
            Event::Affinity { task, allowed } => {
                self.allowed.insert(*task, allowed.iter().collect());
            }
            // A wake-up of a task that has not left its CPU yet makes nobody wait.
            Event::Waking { task, .. } | Event::WakeQueued { task, .. } | Event::WakeupNew { task, .. }
                if !self.running.values().any(|running| running == task) =>
            {
                self.waiting.insert(*task, ());
            }
            Event::Switch { cpu, prev, prev_state, next } => {
                if let Running::Task(prev) = prev {
                    self.running.remove(cpu);
                    if *prev_state == PrevState::Runnable {
                        self.waiting.insert(*prev, ());
                    }
                }
                if let Running::Task(next) = next {
                    self.running.insert(*cpu, *next);
                    self.waiting.remove(next);
                }
                let idle = &mut self.idle[cpu.index()];
                *idle = idle.map(|_| *next == Running::Idle);
            }
            Event::TaskThrottled { task, .. } => {
                self.throttled.insert(*task);
            }
            Event::TaskUnthrottled { task, .. } => {
                self.throttled.remove(task);
            }
            Event::Hotplug { cpu, online } => self.idle[cpu.index()] = online.then_some(true),
            _ => {}
        }
    }
}
