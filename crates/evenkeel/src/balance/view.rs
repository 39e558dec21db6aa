//! What a balancing decision may know of a CPU: numbers in, decision out.
//!
//! Statistics, classification, the choice of group, the imbalance and the choice of queue read CPUs only through
//! [`CpuView`]. The simulated scheduler implements it; so does a plain table of [`CpuRow`]s, with which a decision of
//! a recorded or imagined machine is computed without simulating anything: four rows and a domain tree are enough to
//! ask "which group would CPU 0 pull from?".
//!
//! In the kernel: the accessors over `struct rq` (`cpu_load()`, `cpu_util_cfs()`, `capacity_of()` ...; spec 3 §1.3).
use crate::cpu_load::CpuLoad;
use crate::ids::CpuId;
use crate::kernel::Features;
use crate::observe::Observer;
use crate::sched::Sched;
use crate::topology::Domains;

/// One CPU's numbers, as the balancer reads them (spec 3 §1.3). Loads and utilisations are in units of 1/1024 CPU.
pub trait CpuView {
    /// Load of the root fair queue (`load_avg`).
    fn cpu_load(&self, cpu: CpuId) -> u64;
    /// Load of the CPU guessed low by its history, to take tasks from; index 0 is the present load (spec 3 §9.1).
    fn source_load(&self, cpu: CpuId, index: usize) -> u64;
    /// The same guessed high, to bring tasks to.
    fn target_load(&self, cpu: CpuId, index: usize) -> u64;
    /// Running and waiting time of the root fair queue (`runnable_avg`).
    fn cpu_runnable(&self, cpu: CpuId) -> u64;
    /// Utilisation, or its estimate if that is higher, at most the architecture's capacity.
    fn cpu_util_cfs(&self, cpu: CpuId) -> u64;
    /// The same, raised to `cpu_runnable`: what the CPU would use if nothing waited.
    fn cpu_util_cfs_boost(&self, cpu: CpuId) -> u64;
    /// Queued tasks of all classes.
    fn nr_running(&self, cpu: CpuId) -> u32;
    /// Queued fair tasks, delayed ones included.
    fn h_nr_queued(&self, cpu: CpuId) -> u32;
    /// Queued fair tasks without the delayed ones.
    fn h_nr_runnable(&self, cpu: CpuId) -> u32;
    /// The idle task runs, nothing is queued, and nothing is on its way.
    fn idle_cpu(&self, cpu: CpuId) -> bool;
    /// Remote wake-ups are on their way to it.
    fn ttwu_pending(&self, cpu: CpuId) -> bool;
    /// Capacity left for fair tasks.
    fn capacity_of(&self, cpu: CpuId) -> u64;
    /// Capacity as the architecture states it.
    fn arch_capacity(&self, cpu: CpuId) -> u64;
    /// Priority for asym packing; higher is preferred.
    fn asym_priority(&self, cpu: CpuId) -> i32;
    /// Load of the running task if it is too big for the CPU; else 0.
    fn misfit_task_load(&self, cpu: CpuId) -> u64;
    /// Queued tasks that have a preferred memory node.
    fn nr_numa_running(&self, cpu: CpuId) -> u32;
    /// Queued tasks that are on their preferred memory node.
    fn nr_preferred_running(&self, cpu: CpuId) -> u32;
    /// More utilisation than fits the CPU (only with energy-aware placement).
    fn cpu_overutilized(&self, cpu: CpuId) -> bool;
    /// Queued tasks that prefer the last-level cache of this number.
    fn nr_pref_llc(&self, cpu: CpuId, llc: i32) -> u32;
    /// Runnable tasks that prefer the CPU's own last-level cache.
    fn nr_pref_llc_running(&self, cpu: CpuId) -> u32;
    /// Utilisation of the running fair task; 0 for none.
    fn curr_util(&self, cpu: CpuId) -> u64;
    /// The running fair task fits its CPU and would be too big for `dst`.
    fn curr_outgrows(&self, cpu: CpuId, dst: CpuId) -> bool;
}

/// Whether every thread of the core of `cpu`, apart from `cpu` itself, is idle (spec 3 §1.3).
pub fn is_core_idle<V: CpuView + ?Sized>(topo: &Domains, view: &V, cpu: CpuId) -> bool {
    topo.smt[cpu.index()].iter().all(|sibling| sibling == cpu || view.idle_cpu(sibling))
}

/// Whether `capacity` is noticeably more than `other`: by about 5 % (spec 3 §1.3).
#[inline]
pub fn capacity_greater(capacity: u64, other: u64) -> bool {
    capacity * 1024 > other * 1078
}

/// Whether so much of a CPU's capacity is used by others that its load should go elsewhere (`check_cpu_capacity`).
#[inline]
pub fn capacity_is_reduced(capacity: u64, arch_capacity: u64, imbalance_pct: u32) -> bool {
    capacity * u64::from(imbalance_pct) < arch_capacity * 100
}

/// One CPU of a table: every number of [`CpuView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRow {
    /// Queued tasks of all classes.
    pub nr_running: u32,
    /// Queued fair tasks.
    pub h_nr_queued: u32,
    /// Those that are not delayed.
    pub h_nr_runnable: u32,
    /// Load.
    pub load: u64,
    /// History of the load, where it is compared.
    pub history: CpuLoad,
    /// Running and waiting.
    pub runnable: u64,
    /// Utilisation or its estimate, not yet limited by capacity.
    pub util: u64,
    /// Nothing runs, is queued or is on its way.
    pub idle: bool,
    /// Remote wake-ups are on their way.
    pub ttwu_pending: bool,
    /// Capacity left for fair tasks.
    pub capacity: u64,
    /// Capacity of the architecture.
    pub arch_capacity: u64,
    /// Priority for asym packing.
    pub asym_priority: i32,
    /// Load of a task too big for the CPU.
    pub misfit_task_load: u64,
    /// Tasks with a preferred node.
    pub nr_numa_running: u32,
    /// Tasks on it.
    pub nr_preferred_running: u32,
    /// More utilisation than capacity.
    pub overutilized: bool,
    /// Tasks that prefer the destination's last-level cache.
    pub nr_pref_dst_llc: u32,
    /// Runnable tasks that prefer the cache they are in.
    pub nr_pref_llc_running: u32,
    /// Utilisation of the running task.
    pub curr_util: u64,
    /// The running task would be too big for the destination, and is not for its CPU.
    pub curr_outgrows: bool,
}

impl CpuRow {
    /// An idle CPU of full capacity and asym priority `-cpu`.
    pub fn idle(cpu: u32) -> Self {
        Self {
            nr_running: 0,
            h_nr_queued: 0,
            h_nr_runnable: 0,
            load: 0,
            history: CpuLoad::default(),
            runnable: 0,
            util: 0,
            idle: true,
            ttwu_pending: false,
            capacity: 1024,
            arch_capacity: 1024,
            asym_priority: -(cpu as i32),
            misfit_task_load: 0,
            nr_numa_running: 0,
            nr_preferred_running: 0,
            overutilized: false,
            nr_pref_dst_llc: 0,
            nr_pref_llc_running: 0,
            curr_util: 0,
            curr_outgrows: false,
        }
    }

    /// A CPU with `nr` fair tasks, their load, utilisation and runnable average.
    pub fn busy(cpu: u32, nr: u32, load: u64, util: u64, runnable: u64) -> Self {
        let counts = Self { nr_running: nr, h_nr_queued: nr, h_nr_runnable: nr, ..Self::idle(cpu) };
        Self { load, history: CpuLoad([load; 5]), runnable, util, idle: nr == 0, ..counts }
    }

    /// The same CPU with another capacity, for fair tasks and of the architecture.
    #[must_use]
    pub fn with_capacity(self, capacity: u64, arch_capacity: u64) -> Self {
        Self { capacity, arch_capacity, ..self }
    }
}

impl CpuView for [CpuRow] {
    fn cpu_load(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].load
    }
    fn source_load(&self, cpu: CpuId, index: usize) -> u64 {
        self[cpu.index()].history.source_load(index, self[cpu.index()].load)
    }
    fn target_load(&self, cpu: CpuId, index: usize) -> u64 {
        self[cpu.index()].history.target_load(index, self[cpu.index()].load)
    }
    fn cpu_runnable(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].runnable
    }
    fn cpu_util_cfs(&self, cpu: CpuId) -> u64 {
        let row = &self[cpu.index()];
        row.util.min(row.arch_capacity)
    }
    fn cpu_util_cfs_boost(&self, cpu: CpuId) -> u64 {
        let row = &self[cpu.index()];
        row.util.max(row.runnable).min(row.arch_capacity)
    }
    fn nr_running(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].nr_running
    }
    fn h_nr_queued(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].h_nr_queued
    }
    fn h_nr_runnable(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].h_nr_runnable
    }
    fn idle_cpu(&self, cpu: CpuId) -> bool {
        self[cpu.index()].idle
    }
    fn ttwu_pending(&self, cpu: CpuId) -> bool {
        self[cpu.index()].ttwu_pending
    }
    fn capacity_of(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].capacity
    }
    fn arch_capacity(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].arch_capacity
    }
    fn asym_priority(&self, cpu: CpuId) -> i32 {
        self[cpu.index()].asym_priority
    }
    fn misfit_task_load(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].misfit_task_load
    }
    fn nr_numa_running(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].nr_numa_running
    }
    fn nr_preferred_running(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].nr_preferred_running
    }
    fn cpu_overutilized(&self, cpu: CpuId) -> bool {
        self[cpu.index()].overutilized
    }
    /// A row knows of one cache only, that of the destination.
    fn nr_pref_llc(&self, cpu: CpuId, _llc: i32) -> u32 {
        self[cpu.index()].nr_pref_dst_llc
    }
    fn nr_pref_llc_running(&self, cpu: CpuId) -> u32 {
        self[cpu.index()].nr_pref_llc_running
    }
    fn curr_util(&self, cpu: CpuId) -> u64 {
        self[cpu.index()].curr_util
    }
    fn curr_outgrows(&self, cpu: CpuId, _dst: CpuId) -> bool {
        self[cpu.index()].curr_outgrows
    }
}

/// The simulated scheduler. Without energy-aware placement no CPU is ever overutilized.
impl<O: Observer> CpuView for Sched<O> {
    fn cpu_load(&self, cpu: CpuId) -> u64 {
        self.cpu_load(cpu)
    }
    fn source_load(&self, cpu: CpuId, index: usize) -> u64 {
        let index = if self.feat(Features::LB_BIAS) { index } else { 0 };
        self.rqs[cpu.index()].cpu_load.source_load(index, self.cpu_load(cpu))
    }
    fn target_load(&self, cpu: CpuId, index: usize) -> u64 {
        let index = if self.feat(Features::LB_BIAS) { index } else { 0 };
        self.rqs[cpu.index()].cpu_load.target_load(index, self.cpu_load(cpu))
    }
    fn cpu_runnable(&self, cpu: CpuId) -> u64 {
        self.cpu_runnable(cpu)
    }
    fn cpu_util_cfs(&self, cpu: CpuId) -> u64 {
        self.cpu_util_cfs(cpu)
    }
    fn cpu_util_cfs_boost(&self, cpu: CpuId) -> u64 {
        self.cpu_util_cfs_boost(cpu)
    }
    fn nr_running(&self, cpu: CpuId) -> u32 {
        self.rqs[cpu.index()].nr_running
    }
    fn h_nr_queued(&self, cpu: CpuId) -> u32 {
        self.root(cpu).h_nr_queued
    }
    fn h_nr_runnable(&self, cpu: CpuId) -> u32 {
        self.root(cpu).h_nr_runnable()
    }
    fn idle_cpu(&self, cpu: CpuId) -> bool {
        self.idle_cpu(cpu)
    }
    fn ttwu_pending(&self, cpu: CpuId) -> bool {
        self.rqs[cpu.index()].ttwu_pending
    }
    fn capacity_of(&self, cpu: CpuId) -> u64 {
        self.capacity_of(cpu)
    }
    fn arch_capacity(&self, cpu: CpuId) -> u64 {
        self.rqs[cpu.index()].arch_capacity
    }
    fn asym_priority(&self, cpu: CpuId) -> i32 {
        self.asym_priorities[cpu.index()]
    }
    fn misfit_task_load(&self, cpu: CpuId) -> u64 {
        self.rqs[cpu.index()].misfit_task_load
    }
    fn nr_numa_running(&self, cpu: CpuId) -> u32 {
        self.rqs[cpu.index()].nr_numa_running
    }
    fn nr_preferred_running(&self, cpu: CpuId) -> u32 {
        self.rqs[cpu.index()].nr_preferred_running
    }
    fn cpu_overutilized(&self, _cpu: CpuId) -> bool {
        false
    }
    fn nr_pref_llc(&self, cpu: CpuId, llc: i32) -> u32 {
        self.rqs[cpu.index()].llc.count(llc)
    }
    fn nr_pref_llc_running(&self, cpu: CpuId) -> u32 {
        self.rqs[cpu.index()].llc.nr_pref_llc_running
    }
    fn curr_util(&self, cpu: CpuId) -> u64 {
        let curr = self.rqs[cpu.index()].curr.filter(|&curr| self.is_fair(curr));
        curr.map_or(0, |curr| self.entity(curr).avg.util_avg)
    }
    fn curr_outgrows(&self, cpu: CpuId, dst: CpuId) -> bool {
        let curr = self.rqs[cpu.index()].curr.filter(|&curr| self.is_fair(curr));
        curr.is_some_and(|curr| self.task_fits_cpu(curr, cpu) && !self.task_fits_cpu(curr, dst))
    }
}
