//! CPUs that are not all the same: capacities, priorities, and what a span of them is called.
//!
//! Example: four CPUs of capacity 446 and four of 1024. A span of only the small ones is ordinary, a span of all
//! eight is `ASYM_CPUCAPACITY` and, as it holds every capacity of the partition, `ASYM_CPUCAPACITY_FULL`.
//!
//! In the kernel: `asym_cpu_capacity_scan`, `asym_cpu_capacity_classify`, `arch_asym_cpu_priority`.
use super::domain::SdFlags;
use super::machine::{Arch, Machine};
use super::rules::{AsymCapacity, SiblingPriority, TopologyRules, X86Capacity};
use crate::ids::CpuId;
use crate::kernel::Kernel;
use crate::mask::CpuMask;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The core of every CPU, sorted.
fn sorted_cores(machine: &Machine) -> Vec<u32> {
    let mut cores: Vec<u32> = machine.cpus.iter().map(|cpu| cpu.core).collect();
    cores.sort_unstable();
    cores
}

/// Whether some core of the machine has two threads, online or not.
pub(super) fn has_threads(machine: &Machine) -> bool {
    let cores = sorted_cores(machine);
    cores.windows(2).any(|pair| pair[0] == pair[1])
}

/// Whether an x86 machine has two kinds of cores, which shows in their capacities or their numbers of threads.
pub(super) fn is_hybrid(machine: &Machine) -> bool {
    if machine.arch != Arch::X86 {
        return false;
    }
    let cores = sorted_cores(machine);
    let mut threads = cores.chunk_by(|a, b| a == b).map(<[u32]>::len);
    let first = threads.next();
    machine.cpus.iter().any(|cpu| cpu.capacity != machine.cpus[0].capacity)
        || threads.any(|n| Some(n) != first)
}

/// Whether asym packing is on: the platform announces preferred CPUs, and the kernel has not chosen to go by
/// capacities instead (spec 1 §7).
pub(super) fn itmt_enabled(machine: &Machine, rules: &TopologyRules) -> bool {
    machine.arch == Arch::X86 && machine.itmt && !goes_by_capacity(machine, rules)
}

fn goes_by_capacity(machine: &Machine, rules: &TopologyRules) -> bool {
    rules.x86_capacity == X86Capacity::UnequalWithoutSmt && is_hybrid(machine) && !has_threads(machine)
}

/// What this kernel takes each CPU's capacity to be (`arch_scale_cpu_capacity`), 1..=1024, by CPU.
///
/// The machine's capacities, except on x86: old kernels know no differences there, newer ones only on machines without
/// SMT (spec 1 §7).
pub fn cpu_capacities(machine: &Machine, kernel: &Kernel) -> Vec<u32> {
    let as_given = machine.arch != Arch::X86 || goes_by_capacity(machine, &kernel.topology);
    machine.cpus.iter().map(|cpu| if as_given { cpu.capacity } else { 1024 }).collect()
}

/// Priority of each CPU for asym packing (`arch_asym_cpu_priority`), higher is preferred, by CPU (spec 1 §8.4).
pub fn cpu_priorities(machine: &Machine, kernel: &Kernel) -> Vec<i32> {
    let mut threads: BTreeMap<u32, (i32, i32)> = BTreeMap::new();
    for cpu in &machine.cpus {
        threads.entry(cpu.core).or_default().0 += 1;
    }
    let priority = |(i, cpu): (usize, &super::machine::Cpu)| {
        let Some(priority) = cpu.asym_priority else { return -(i as i32) };
        let (of, seen) = threads.get_mut(&cpu.core).expect("every core was counted");
        *seen += 1;
        match kernel.topology.sibling_priority {
            SiblingPriority::DividedByIndex => priority.wrapping_mul(*of) / *seen,
            SiblingPriority::DividedBySquare => priority.wrapping_mul(*of) / (*seen * *seen),
            SiblingPriority::Same => priority,
        }
    };
    machine.cpus.iter().enumerate().map(priority).collect()
}

/// The classes of CPUs of equal capacity; empty if all are equal.
#[derive(Clone, Debug)]
pub(super) struct CapacityClasses {
    classes: Vec<CpuMask>,
}

impl CapacityClasses {
    /// Classes of the possible CPUs that are not isolated (spec 1 §7).
    pub(super) fn new(
        machine: &Machine,
        rules: &TopologyRules,
        capacities: &[u32],
        isolated: &CpuMask,
    ) -> Self {
        let mut classes: BTreeMap<u32, CpuMask> = BTreeMap::new();
        if rules.asym_capacity == AsymCapacity::Classified {
            for (i, &capacity) in capacities.iter().enumerate() {
                let cpu = CpuId(i as u32);
                if !isolated.contains(cpu) {
                    classes.entry(capacity).or_insert_with(|| CpuMask::new(machine.nr_cpus())).set(cpu);
                }
            }
        }
        let mut classes: Vec<CpuMask> = classes.into_values().rev().collect();
        if classes.len() == 1 {
            classes.clear();
        }
        Self { classes }
    }

    /// What `span` is within the partition `cpu_map`.
    pub(super) fn classify(&self, span: &CpuMask, cpu_map: &CpuMask) -> SdFlags {
        let mut held = 0;
        let mut missed = 0;
        for class in &self.classes {
            if class.intersects(span) {
                held += 1;
            } else if class.intersects(cpu_map) {
                missed += 1;
            }
        }
        match (held, missed) {
            (0 | 1, _) => SdFlags::empty(),
            (_, 0) => SdFlags::ASYM_CPUCAPACITY | SdFlags::ASYM_CPUCAPACITY_FULL,
            _ => SdFlags::ASYM_CPUCAPACITY,
        }
    }
}
