//! The threads of the kernel that ran beside a recorded workload, read off its recordings and put beside ours.
//!
//! They use next to no time, but a CPU that one of them leaves idle looks for work elsewhere, so they begin what idle CPUs
//! would wait for: after the release of `skew16` it is they that make the first CPUs pull. How often each of them ran is a property of
//! the machine and its kernel: on one with 8 CPUs 8 to 16 times a second a worker that is bound to its CPU, twice a second the
//! compaction of each node, and from v6.18 on every 84 ms the monitor of memory accesses. When it ran is left to dice.
//!
//! One kind is not periodic. Freeing a task from its CPU leaves memory to be freed after a grace period in v6.1 and v7.2,
//! and while grace periods last their thread wakes up every 8 ms, on another CPU each time: 4 to 10 times after the release, in
//! v6.12 and v6.18 not at all.
//!
//! Left out: the threads of softirqs and of stoppers, which serve what the scheduler itself does, and those that only
//! ran in bursts of processes, which are an effect of their ends.
use super::measure::workload_tasks;
use evenkeel::rng::Rng;
use evenkeel::time::{MS, Ns, US};
use evenkeel::workload::{Attributes, Naming, Op, Phase, Program, Repeat, TaskSpec, TimerOp, TimerRef};
use evenkeel_formats::conform::traces::RecordedRun;
use evenkeel_formats::conform::workload::{Behaviour, LEAD, WorkloadSpec};
use evenkeel_formats::ftrace::{TraceEvent, TraceRecord};
use std::collections::BTreeMap;

/// How long a thread runs, ns: recorded are 9 to 20 us.
const RUN: Ns = 15 * US;
/// Between two wake-ups of the thread of grace periods.
const GRACE: Ns = 8 * MS;
/// How long after the beginning of a release its grace periods are looked for.
const AFTER_RELEASE: Ns = 100 * MS;

/// When a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// On each CPU, bound to it, once in this time.
    EachCpu(Ns),
    /// Anywhere, once in this time.
    Anywhere(Ns),
    /// Anywhere, this many times from the release on, every 8 ms.
    AfterRelease(u32),
}

/// A thread of the kernel, or one on each CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelThread {
    /// Its name, without numbers.
    pub name: String,
    /// When it runs.
    pub rhythm: Rhythm,
}

/// The name of the kind of a thread; none: it is left out.
fn kind(comm: &str) -> Option<&str> {
    let served = ["migration/", "ksoftirqd/", "cpuhp/", "kthreadd", "init"];
    if served.iter().any(|prefix| comm.starts_with(prefix)) {
        return None;
    }
    let name = comm.split([':', '.']).next().unwrap_or(comm);
    match name.strip_prefix("kworker/") {
        Some(rest) if rest.starts_with('u') => Some("kworker/u"),
        Some(_) => Some("kworker/"),
        None => Some(name),
    }
}

/// The threads of a boot, from all its recordings but those of bursts.
pub fn threads_of_boot<'a>(
    recordings: impl Iterator<Item = (&'a RecordedRun, &'a [TraceRecord])>,
    ncpus: usize,
) -> Vec<KernelThread> {
    let mut runs: BTreeMap<String, u64> = BTreeMap::new();
    let (mut time, mut graces, mut releases) = (0, 0, 0);
    for (run, records) in recordings {
        if run.spec.groups.iter().any(|group| matches!(group.behaviour, Behaviour::Burst { .. })) {
            continue;
        }
        let own = workload_tasks(records);
        let end = records.last().map_or(run.start, |record| record.at.min(run.end));
        time += end.saturating_sub(run.start);
        let release = run.spec.release.map(|release| run.start + LEAD + release);
        releases += u64::from(release.is_some());
        for record in records.iter().filter(|record| (run.start..end).contains(&record.at)) {
            let TraceEvent::Switch { next, .. } = &record.event else { continue };
            if next.pid <= 1 || own.contains(&next.pid) {
                continue;
            }
            match kind(&next.comm) {
                Some("rcu_preempt") => {
                    let after = release.filter(|&at| (at..at + AFTER_RELEASE).contains(&record.at));
                    graces += u64::from(after.is_some());
                }
                Some(name) => *runs.entry(name.to_owned()).or_default() += 1,
                None => {}
            }
        }
    }
    let mut threads: Vec<KernelThread> = Vec::new();
    for (name, times) in runs {
        let rhythm = match name.as_str() {
            "kworker/" => Rhythm::EachCpu(time * ncpus as u64 / times),
            _ => Rhythm::Anywhere(time / times),
        };
        threads.push(KernelThread { name, rhythm });
    }
    let times = (graces + releases / 2).checked_div(releases).unwrap_or(0) as u32;
    if times > 0 {
        threads.push(KernelThread { name: "rcu_preempt".to_owned(), rhythm: Rhythm::AfterRelease(times) });
    }
    threads
}

/// The threads as tasks beside a workload that begins `shift` after the start of the run; dice say when each of them runs.
pub fn tasks(
    threads: &[KernelThread],
    spec: &WorkloadSpec,
    ncpus: usize,
    shift: Ns,
    dice: &mut Rng,
) -> Vec<TaskSpec> {
    let mut tasks = Vec::new();
    for thread in threads {
        match thread.rhythm {
            Rhythm::EachCpu(period) => {
                for cpu in 0..ncpus as u32 {
                    let delay = shift + dice.next_u64() % period;
                    tasks.push(task(&thread.name, Some(cpu), delay, period, Repeat::Forever));
                }
            }
            Rhythm::Anywhere(period) => {
                let delay = shift + dice.next_u64() % period;
                tasks.push(task(&thread.name, None, delay, period, Repeat::Forever));
            }
            Rhythm::AfterRelease(times) => {
                let Some(release) = spec.release else { continue };
                let delay = shift + LEAD + release + dice.next_u64() % GRACE;
                tasks.push(task(&thread.name, None, delay, GRACE, Repeat::Times(times)));
            }
        }
    }
    tasks
}

/// A thread that runs shortly every `period` from `delay` on.
fn task(name: &str, cpu: Option<u32>, delay: Ns, period: Ns, repeat: Repeat) -> TaskSpec {
    let timer = TimerOp { timer: TimerRef::Private(0), period, absolute: true };
    let ops = vec![Op::Run(RUN), Op::Timer(timer)];
    TaskSpec {
        name: name.to_owned(),
        naming: Naming::Plain,
        instances: 1,
        start_cpu: 0,
        delay,
        attributes: Attributes { affinity: cpu.map(|cpu| vec![cpu]), ..Attributes::default() },
        program: Program {
            phases: vec![Phase { ops, repeat, ..Phase::default() }],
            repeat: Repeat::Times(1),
        },
        ..TaskSpec::default()
    }
}
