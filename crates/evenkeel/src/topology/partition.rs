//! Partitions: sets of CPUs that balance by themselves, and what happens to their trees when the sets change.
//!
//! At boot there is one partition, the online CPUs that are not isolated. cpusets and CPU hotplug change the list:
//! a partition that stays the same keeps its trees with all their statistics and intervals, any other is built anew.
//! Example: of eight CPUs, 4-7 become a partition. `0-7` is gone, `0-3` and `4-7` are new, so everything starts over;
//! when 4-7 is later split again, `0-3` is left alone.
//!
//! In the kernel: `partition_sched_domains_locked`, `rq_attach_root`. How cpusets compute the list is in [`cpuset`](super::cpuset).
use super::build::{Draft, Host, Surroundings};
use super::domain::{CpuDomains, Domains, RootDomain, SdFlags};
use super::machine::{Machine, MachineError};
use super::rules::LlcId;
use super::shared::assign_llc_ids;
use super::spans::{SpanId, Spans};
use super::transplant::{Arenas, Mover};
use crate::ids::{CpuId, DomainId, RootId};
use crate::kernel::Kernel;
use crate::mask::CpuMask;
use crate::time::{Jiffies, Ns};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// CPUs that balance among themselves and with nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The CPUs.
    pub cpus: CpuMask,
    /// Up to which level to balance eagerly (a cpuset's `sched_relax_domain_level`); `None`: the boot option.
    pub relax_domain_level: Option<u32>,
}

/// A change of the machine's partitions (or, for a machine just booted, their first list).
#[derive(Clone, Debug, Default)]
pub struct Rebuild {
    /// The partitions; CPUs that are offline or isolated are left out. `None`: all others are one partition.
    pub partitions: Option<Vec<Partition>>,
    /// The boot option `relax_domain_level`, for partitions that say nothing themselves.
    pub relax_domain_level: Option<u32>,
    /// A CPU that is going offline in this very step: not in any partition any more, but still in the
    /// architecture's masks.
    pub leaving: Option<CpuId>,
    /// Whether the topology changed (asym packing switched, capacities known): all partitions are new.
    pub topology_changed: bool,
    /// The tick counter.
    pub jiffies: Jiffies,
    /// The scheduler's clock, ns.
    pub now_ns: Ns,
}

/// Why domains could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopologyError {
    /// The machine contradicts itself.
    Machine(MachineError),
    /// At one level, the sets of two CPUs overlap but differ; the kernel then builds nothing.
    OverlappingLevel {
        /// The level.
        level: &'static str,
        /// A CPU.
        a: CpuId,
        /// A CPU that is in its set and in a different one.
        b: CpuId,
    },
    /// A CPU is in two partitions.
    OverlappingPartitions {
        /// The CPU.
        cpu: CpuId,
    },
    /// The trees are those of a machine with another number of CPUs.
    OtherMachine {
        /// CPUs of the machine that was built.
        built: usize,
        /// CPUs of the machine given now.
        given: usize,
    },
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::OverlappingLevel { level, a, b } => write!(
                f,
                "CPU {b} is in the {level} sets of several CPUs ({a} is one) that are not equal; a kernel builds no domains then"
            ),
            Self::OverlappingPartitions { cpu } => write!(f, "CPU {cpu} is in two partitions"),
            Self::OtherMachine { built, given } => {
                write!(f, "domains were built for {built} CPUs, the machine now has {given}")
            }
        }
    }
}
impl core::error::Error for TopologyError {}

impl From<MachineError> for TopologyError {
    fn from(error: MachineError) -> Self {
        Self::Machine(error)
    }
}

impl Domains {
    /// The domain trees of a machine that has just booted: one partition of all online CPUs that are not isolated.
    pub fn build(machine: &Machine, kernel: &Kernel, jiffies: u64) -> Result<Self, TopologyError> {
        Self::build_with(machine, kernel, &Rebuild { jiffies, ..Rebuild::default() })
    }

    /// The same with partitions or boot options.
    pub fn build_with(machine: &Machine, kernel: &Kernel, first: &Rebuild) -> Result<Self, TopologyError> {
        machine.validate()?;
        let mut domains = Self::detached(machine);
        domains.rebuild(machine, kernel, first)?;
        Ok(domains)
    }

    /// Brings the trees in line with a new list of partitions, or with the CPUs that are online now (spec 1 §13).
    ///
    /// Partitions that stay the same keep their domains with all statistics (under new ids); all others start from
    /// nothing. After an error the trees are as before.
    pub fn rebuild(
        &mut self,
        machine: &Machine,
        kernel: &Kernel,
        change: &Rebuild,
    ) -> Result<(), TopologyError> {
        machine.validate()?;
        if self.cpus.len() != machine.nr_cpus() {
            let (built, given) = (self.cpus.len(), machine.nr_cpus());
            return Err(TopologyError::OtherMachine { built, given });
        }
        let partitions = list(machine, change)?;
        let mut visible = machine.online();
        if let Some(leaving) = change.leaving {
            visible.set(leaving);
        }
        let isolated = isolated(machine);
        let mut spans = Spans::new(machine.nr_cpus());
        let around = Surroundings::new(machine, kernel, &visible, &isolated, &mut spans);
        let host = Host {
            machine,
            kernel,
            levels: &around.levels,
            classes: &around.classes,
            capacities: &around.capacities,
            priorities: &around.priorities,
            nr_online: machine.online().weight(),
            jiffies: change.jiffies,
            now_ns: change.now_ns,
        };
        let mut next = Self::detached(machine);
        next.cpu_capacity.copy_from_slice(&self.cpu_capacity);
        next.llc_ids.copy_from_slice(&self.llc_ids);
        for (cpu, id) in next.llc_ids.iter_mut().enumerate() {
            if !machine.cpus[cpu].online {
                *id = -1;
            }
        }
        for partition in partitions {
            let kept = self.partitions.iter().position(|old| *old == partition);
            let root = RootId::from_index(next.roots.len());
            match kept.filter(|_| !change.topology_changed) {
                Some(old) => {
                    next.roots.push(self.roots[old + 1].clone());
                    let bases: Vec<_> = self.cpus.iter().map(|cpu| cpu.base).collect();
                    next.attach(&self.arenas(), &bases, &partition.cpus, kernel, root);
                }
                None => next.add_partition(&host, &partition, &mut spans)?,
            }
            next.partitions.push(partition);
        }
        next.finish(machine, kernel, &around.levels.smt, &spans);
        *self = next;
        Ok(())
    }

    /// Builds the trees of a new partition and attaches its CPUs (spec 1 §6).
    fn add_partition(
        &mut self,
        host: &Host<'_>,
        partition: &Partition,
        spans: &mut Spans,
    ) -> Result<(), TopologyError> {
        let root = RootId::from_index(self.roots.len());
        assign_llc_ids(&mut self.llc_ids, &partition.cpus, host.levels, spans);
        let mut draft = Draft::build(host, partition, spans, &mut self.cpu_capacity)?;
        for cpu in &partition.cpus {
            draft.degenerate(cpu);
        }
        let Draft { domains, groups, capacities, shared, base, .. } = draft;
        let largest = partition.cpus.iter().map(|cpu| u64::from(host.capacities[cpu.index()])).max();
        let known = host.kernel.topology.root_max_cpu_capacity;
        self.roots.push(RootDomain {
            span: partition.cpus.clone(),
            overloaded: false,
            overutilized: false,
            max_cpu_capacity: largest.filter(|_| known).unwrap_or(0),
        });
        let arenas = Arenas { domains: &domains, groups: &groups, capacities: &capacities, shared: &shared };
        self.attach(&arenas, &base, &partition.cpus, host.kernel, root);
        Ok(())
    }

    /// No partitions at all: every CPU by itself.
    fn detached(machine: &Machine) -> Self {
        let ncpus = machine.nr_cpus();
        let def_root_domain = RootDomain {
            span: CpuMask::all(ncpus),
            overloaded: false,
            overutilized: false,
            max_cpu_capacity: 0,
        };
        Self {
            partitions: Vec::new(),
            cpu_capacity: vec![1024; ncpus],
            llc_ids: vec![-1; ncpus],
            domains: Vec::new(),
            groups: Vec::new(),
            capacities: Vec::new(),
            shared: Vec::new(),
            cpus: (0..ncpus).map(|cpu| CpuDomains::detached(CpuId(cpu as u32), cpu as i32)).collect(),
            roots: vec![def_root_domain],
            smt: Vec::new(),
            smt_active: false,
            cluster_active: false,
            asym_capacity: false,
        }
    }

    fn arenas(&self) -> Arenas<'_> {
        Arenas {
            domains: &self.domains,
            groups: &self.groups,
            capacities: &self.capacities,
            shared: &self.shared,
        }
    }

    /// Copies what the chains of `cpus` reach, and attaches the CPUs to the root domain.
    fn attach(
        &mut self,
        from: &Arenas<'_>,
        bases: &[Option<DomainId>],
        cpus: &CpuMask,
        kernel: &Kernel,
        root: RootId,
    ) {
        let mut mover = Mover::new(from);
        for cpu in cpus {
            let base = mover.move_chain(bases[cpu.index()], self);
            self.cpus[cpu.index()] = self.derive_pointers(&kernel.topology, cpu, base, root);
            self.roots[0].span.clear(cpu);
        }
    }

    /// What is known only when all partitions are attached.
    fn finish(&mut self, machine: &Machine, kernel: &Kernel, smt: &[SpanId], spans: &Spans) {
        let ncpus = machine.nr_cpus();
        let online = machine.online();
        for (i, &siblings) in smt.iter().enumerate() {
            let cpu = CpuId(i as u32);
            self.smt.push(match siblings {
                SpanId::EMPTY => Arc::new(CpuMask::from_cpus(ncpus, [cpu])),
                siblings => Arc::clone(spans.mask(siblings)),
            });
            let others_online = |cpu: CpuId| online.contains(cpu);
            self.smt_active |= siblings != SpanId::EMPTY
                && spans.weight(siblings) > 1
                && spans.mask(siblings).iter().filter(|&cpu| others_online(cpu)).nth(1).is_some();
            if kernel.topology.llc_id == LlcId::Dense && self.cpus[i].root == RootId(0) {
                self.cpus[i] = CpuDomains::detached(cpu, self.llc_ids[i]);
            }
        }
        let any = |flag| self.domains.iter().any(|domain| domain.flags.contains(flag));
        self.cluster_active = any(SdFlags::CLUSTER);
        self.asym_capacity = any(SdFlags::ASYM_CPUCAPACITY);
    }
}

/// The isolated CPUs, but never all that are online: the first stays (spec 1 §13.3).
fn isolated(machine: &Machine) -> CpuMask {
    let mut isolated = machine.isolated.clone();
    let online = machine.online();
    if online.is_subset(&isolated) {
        isolated.clear(online.first().expect("a valid machine has an online CPU"));
    }
    isolated
}

/// The partitions to build, without offline and isolated CPUs.
fn list(machine: &Machine, change: &Rebuild) -> Result<Vec<Partition>, TopologyError> {
    let mut usable = machine.online();
    usable.and_not_assign(&isolated(machine));
    if let Some(leaving) = change.leaving {
        usable.clear(leaving);
    }
    let everything = [Partition { cpus: usable.clone(), relax_domain_level: None }];
    let mut taken = CpuMask::new(machine.nr_cpus());
    let mut list = Vec::new();
    for partition in change.partitions.as_deref().unwrap_or(&everything) {
        let cpus = partition.cpus.and(&usable);
        if let Some(cpu) = cpus.first_and(&taken) {
            return Err(TopologyError::OverlappingPartitions { cpu });
        }
        taken.or_assign(&cpus);
        if !cpus.is_empty() {
            let relax_domain_level = partition.relax_domain_level.or(change.relax_domain_level);
            list.push(Partition { cpus, relax_domain_level });
        }
    }
    Ok(list)
}
