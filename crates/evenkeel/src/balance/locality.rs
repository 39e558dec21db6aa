//! Where a task's memory lies, and what that means for moving the task.
//!
//! Automatic NUMA balancing finds out by sampling page faults. The sampling is not modelled: what it has found is an
//! input, [`TaskMemory`], with which balancing does what a kernel does with it. Queues whose tasks are where they prefer to
//! be are left alone while others have tasks to give (`fbq_type`), and a task stays near its memory unless passes keep
//! failing. Example: of a task's 1000 faults 800 were on node 0 and 200 on node 1, which is 20 away: its weights are 800
//! and 200, so a busy CPU of node 1 leaves it where it is.
//!
//! In the kernel: `account_numa_enqueue()`, `sched_setnuma()`, `task_weight()`, `group_weight()`,
//! `score_nearby_nodes()`, `migrate_degrades_locality()` (spec 3 §1.2, §7.3; spec 4 §13.4). Left out: everything that
//! would change what is known, that is scanning, placement and the exchange of tasks; and that placement of forked tasks looks
//! at the preferred node (spec 4 §9.1).
use super::env::LbEnv;
use super::migrate::{Locality, NumaFaults, migrate_degrades_locality};
use crate::ids::{CpuId, TaskId};
use crate::observe::Observer;
use crate::sched::Sched;
use crate::task::TaskState;
use crate::topology::{Machine, SdFlags};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What NUMA balancing knows of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskMemory {
    /// The node it prefers (`numa_preferred_nid`).
    pub preferred_node: Option<u32>,
    /// Its faults on the memory of each node; empty: it has no statistics. Each below 2^40.
    pub faults: Vec<u64>,
    /// Those of its NUMA group, which then count instead; empty: it is in none.
    pub group_faults: Vec<u64>,
}

/// How the nodes of a machine are connected (`sched_numa_topology_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumaShape {
    /// All are equally far apart.
    Direct,
    /// Some are reached through nodes in between.
    GluelessMesh {
        /// The longest distance.
        max: u32,
    },
    /// Groups of nodes behind a common link.
    Backplane {
        /// The longest distance.
        max: u32,
    },
}

impl NumaShape {
    /// The shape of a machine: with more than two distances (that of a node to itself included) it depends on whether the
    /// first two nodes at the longest one have a third between them.
    pub fn of(machine: &Machine) -> Self {
        let nodes = || 0..machine.nr_nodes;
        let max = machine.distances.iter().copied().max().unwrap_or(0);
        let mut distinct = machine.distances.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() <= 2 {
            return Self::Direct;
        }
        let mut pairs = nodes().flat_map(|a| nodes().map(move |b| (a, b)));
        let farthest = pairs.find(|&(a, b)| machine.distance(a, b) >= max);
        let (a, b) = farthest.expect("some distance is the longest");
        let between = |c: usize| machine.distance(a, c) < max && machine.distance(b, c) < max;
        if nodes().any(between) { Self::GluelessMesh { max } } else { Self::Backplane { max } }
    }
}

/// The share of `node` in faults, in thousandths, with a part of those of nodes nearby; `reach` is the distance of the two
/// nodes that are compared (spec 4 §13.4).
pub fn fault_weight(machine: &Machine, shape: NumaShape, faults: &[u64], node: u32, reach: u32) -> u64 {
    let total: u64 = faults.iter().sum();
    let at = |node: usize| faults.get(node).copied().unwrap_or(0);
    let others = (0..machine.nr_nodes).filter(|&other| other != node as usize);
    let near = |other: usize| machine.distance(node as usize, other);
    let nearby: u64 = match shape {
        NumaShape::Direct => 0,
        NumaShape::GluelessMesh { max } => others
            .filter(|&other| near(other) < max)
            .map(|other| at(other) * u64::from(max - near(other)) / u64::from(max - 10))
            .sum(),
        NumaShape::Backplane { max } => {
            others.filter(|&other| near(other) < max && near(other) < reach).map(at).sum()
        }
    };
    (1000 * (at(node as usize) + nearby)).checked_div(total).unwrap_or(0)
}

impl<O: Observer> Sched<O> {
    /// Sets what is known of a task's memory; a queued task leaves its queue for that and joins it again.
    pub(crate) fn set_task_memory(&mut self, task: TaskId, memory: TaskMemory) {
        let memory = Some(Arc::new(memory));
        match self.tasks[task].state {
            TaskState::New | TaskState::Dead => self.tasks[task].memory = memory,
            _ => self.change_task(task, |sched| sched.tasks[task].memory = memory),
        }
    }

    /// Counts a task that joins (or leaves) the queues of `cpu` among those with a preferred node, and those on it.
    pub(crate) fn account_numa(&mut self, cpu: CpuId, task: TaskId, joins: bool) {
        let Some(node) = self.preferred_node(task) else { return };
        let at_home = u32::from(self.node_of[cpu.index()] == node);
        let rq = &mut self.rqs[cpu.index()];
        if joins {
            rq.nr_numa_running += 1;
            rq.nr_preferred_running += at_home;
        } else {
            rq.nr_numa_running -= 1;
            rq.nr_preferred_running -= at_home;
        }
    }

    /// The node that a task prefers.
    pub(crate) fn preferred_node(&self, task: TaskId) -> Option<u32> {
        self.tasks[task].memory.as_ref()?.preferred_node
    }

    /// What the move of a pass would do to the task's distance from its memory.
    pub(super) fn locality(&self, env: &LbEnv, task: TaskId) -> Locality {
        let Some(memory) = self.tasks[task].memory.as_ref().filter(|memory| !memory.faults.is_empty()) else {
            return Locality::Unaffected;
        };
        let [src, dst] = [env.src_cpu, env.dst_cpu].map(|cpu| self.node_of[cpu.index()]);
        let crosses = self.topo.domains[env.sd.index()].flags.contains(SdFlags::NUMA) && src != dst;
        let distance = self.machine.distance(src as usize, dst as usize);
        let faults = if memory.group_faults.is_empty() { &memory.faults } else { &memory.group_faults };
        let weight = |node| fault_weight(&self.machine, self.numa_shape, faults, node, distance);
        let rq = &self.rqs[env.src_cpu.index()];
        let known = crosses.then(|| NumaFaults {
            src_is_preferred: memory.preferred_node == Some(src),
            dst_is_preferred: memory.preferred_node == Some(dst),
            src_nr_running: rq.nr_running,
            src_nr_preferred_running: rq.nr_preferred_running,
            src_weight: weight(src),
            dst_weight: weight(dst),
        });
        migrate_degrades_locality(&self.kernel.balance.tasks, known.as_ref(), env.idle)
    }
}
