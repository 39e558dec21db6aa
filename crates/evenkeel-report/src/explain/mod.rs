//! Why did it do that? One balancing pass, one task, or every moment in which a CPU idled while a task waited, told to
//! somebody who has never seen the kernel.
//!
//! Everything here is made from events alone: each explanation is an [`Observer`](evenkeel::observe::Observer) that is
//! attached to a run, and a function that turns what it has gathered into text or JSON. Without one of them attached a
//! run costs nothing, because the scheduler does not even make the events.
//!
//! * [`pass`]: one balancing pass from its trigger to its consequences.
//! * [`task`]: why a task moved each time, and why it did not while it waited.
//! * [`idle`]: every stretch in which a CPU idled while a task that may run there waited, and which gate kept them apart.
//! * [`words`]: rules, verdicts and reasons in words, with the number each has in the specification, and a glossary.
//!
//! Two things are known from the outside: the domain trees (an event says `domain 17`, people say `MC of CPUs 0-7`) and
//! the names of tasks. Both are in [`Facts`].
pub mod idle;
pub mod pass;
pub mod passes;
pub mod task;
pub mod words;

use crate::units;
use evenkeel::ids::{CpuId, DomainId, GroupId, TaskId};
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Trees;
use evenkeel::sched::BOOT_NS;
use evenkeel::time::{Jiffies, Ns, tick_ns};
use evenkeel::topology::{Domains, Machine, TopologyError};
use std::sync::Arc;

/// What events do not say: domain trees, tick length, names of tasks.
#[derive(Clone, Debug)]
pub struct Facts {
    trees: Arc<Trees>,
    /// The highest domain of each CPU.
    tops: Vec<Option<DomainId>>,
    tick: Ns,
    names: Vec<String>,
    /// By CPU: online when the run starts.
    online: Vec<bool>,
}

impl Facts {
    /// The facts of `machine` under `kernel`.
    pub fn new(machine: &Machine, kernel: &Kernel) -> Result<Self, TopologyError> {
        let tick = tick_ns(kernel.hz);
        let domains = Domains::build(machine, kernel, BOOT_NS / tick)?;
        let tops = vec![None; machine.nr_cpus()];
        let online = machine.cpus.iter().map(|cpu| cpu.online).collect();
        let mut facts = Self { trees: Arc::default(), tops, tick, names: Vec::new(), online };
        facts.rebuilt(&Arc::new(Trees::of(&domains)));
        Ok(facts)
    }

    /// The trees were built anew: from now on domains and groups have other numbers.
    pub fn rebuilt(&mut self, trees: &Arc<Trees>) {
        self.trees = trees.clone();
        self.tops.fill(None);
        for (index, level) in trees.levels.iter().enumerate().filter(|(_, level)| level.parent.is_none()) {
            self.tops[level.cpu.index()] = Some(DomainId::from_index(index));
        }
    }

    /// The same with the names of tasks by number, which are only known when the run is over.
    #[must_use]
    pub fn with_names(mut self, names: Vec<String>) -> Self {
        self.names = names;
        self
    }

    /// By CPU, whether it is online when the run starts.
    pub fn online(&self) -> &[bool] {
        &self.online
    }

    /// The number of CPUs.
    pub fn nr_cpus(&self) -> usize {
        self.tops.len()
    }

    /// The name of a level: `SMT`, `MC` ...
    pub fn level(&self, domain: DomainId) -> &'static str {
        self.trees.levels[domain.index()].name
    }

    /// The CPUs of a domain.
    pub fn span(&self, domain: DomainId) -> &CpuMask {
        &self.trees.levels[domain.index()].span
    }

    /// The CPUs of a group.
    pub fn group(&self, group: GroupId) -> &CpuMask {
        &self.trees.groups[group.index()]
    }

    /// Whether `cpu` is in the part of the domain from which a pass on it takes nothing: the level below, or the owner
    /// of the domain alone.
    fn is_inner(&self, domain: DomainId, cpu: CpuId) -> bool {
        let level = &self.trees.levels[domain.index()];
        match level.child {
            Some(child) => self.span(child).contains(cpu),
            None => level.cpu == cpu,
        }
    }

    /// Whether a pass on this level could take a task from `cpu`: it is in the domain, but not in the destination's own
    /// group.
    pub fn reaches(&self, domain: DomainId, cpu: CpuId) -> bool {
        self.span(domain).contains(cpu) && !self.is_inner(domain, cpu)
    }

    /// Whether this level or a higher one could.
    pub fn reaches_above(&self, domain: DomainId, cpu: CpuId) -> bool {
        let dst = self.trees.levels[domain.index()].cpu;
        self.reaches_at_all(dst, cpu) && !self.is_inner(domain, cpu)
    }

    /// Whether some level of `dst` spans `cpu`.
    pub fn reaches_at_all(&self, dst: CpuId, cpu: CpuId) -> bool {
        dst != cpu && self.tops[dst.index()].is_some_and(|top| self.span(top).contains(cpu))
    }

    /// The name of a task, or its number.
    pub fn task(&self, task: TaskId) -> String {
        self.names.get(task.index()).cloned().unwrap_or_else(|| format!("task {task}"))
    }

    /// A point of the kernel's tick counter as time since the start; ticks before it count as 0.
    pub fn time_of(&self, jiffies: Jiffies) -> Ns {
        jiffies.saturating_mul(self.tick).saturating_sub(BOOT_NS)
    }

    /// Length of a tick.
    pub fn tick(&self) -> Ns {
        self.tick
    }
}

/// A point in time, in milliseconds to the nanosecond: `250.012345 ms`, without zeroes that say nothing.
pub fn at(time: Ns) -> String {
    let fraction = format!("{:06}", time % 1_000_000);
    match fraction.trim_end_matches('0') {
        "" => format!("{} ms", units::count(time / 1_000_000)),
        fraction => format!("{}.{fraction} ms", units::count(time / 1_000_000)),
    }
}

/// `CPU 3`, or `CPUs 0-3`.
pub fn cpus(mask: &CpuMask) -> String {
    if mask.weight() == 1 { format!("CPU {mask}") } else { format!("CPUs {mask}") }
}
