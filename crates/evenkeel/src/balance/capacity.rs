//! What the CPUs of a group have left for fair tasks.
//!
//! Example: a CPU of capacity 1024 whose real-time tasks use 100 and whose interrupts use 204 has
//! (1024 - 100) * (1024 - 204) / 1024 = 739 left. The capacity of a group is the sum over its CPUs, refreshed only by
//! its own CPUs when they balance.
//!
//! In the kernel: `update_group_capacity()`, `update_cpu_capacity()`, `scale_rt_capacity()` (spec 3 §4.2, spec 1
//! §8.4). What is used is known from [`pressure`](crate::pressure); heat and limits of the frequency are not modelled.
use super::rules::Pressure;
use crate::ids::{CpuId, DomainId, GroupId};
use crate::observe::Observer;
use crate::sched::Sched;
use crate::topology::rules::OverlapMinCapacity;
use crate::topology::{Domains, SdFlags};

/// What takes capacity away from fair tasks, in units of 1/1024 CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityUse {
    /// Thermal pressure or a limit of the frequency, the higher of the two.
    pub pressure: u64,
    /// Interrupts; 0 without their accounting.
    pub irq: u64,
    /// Utilisation of real-time tasks.
    pub rt: u64,
    /// Utilisation of deadline tasks.
    pub dl: u64,
}

/// What is left of `arch_capacity` for fair tasks, at least 1.
pub fn scale_rt_capacity(rule: Pressure, arch_capacity: u64, by: &CapacityUse) -> u64 {
    let (max, used) = match rule {
        Pressure::Ignored => (arch_capacity, by.rt + by.dl),
        Pressure::IsUsed => (arch_capacity, by.rt + by.dl + by.pressure),
        Pressure::LowersMaximum => (arch_capacity.saturating_sub(by.pressure), by.rt + by.dl),
    };
    if by.irq >= max || used >= max {
        return 1;
    }
    ((max - used) * (max - by.irq) / max).max(1)
}

/// Sum, smallest and biggest of capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sums {
    capacity: u64,
    min: u64,
    max: u64,
}

impl Sums {
    fn over(parts: impl Iterator<Item = Self>) -> Self {
        let none = Self { capacity: 0, min: u64::MAX, max: 0 };
        parts.fold(none, |all, part| Self {
            capacity: all.capacity + part.capacity,
            min: all.min.min(part.min),
            max: all.max.max(part.max),
        })
    }

    const fn of_cpu(capacity: u64) -> Self {
        Self { capacity, min: capacity, max: capacity }
    }

    /// Of the groups of a child domain.
    fn of_child(topo: &Domains, child: DomainId) -> Self {
        Self::over(topo.ring(topo.domains[child.index()].groups).map(|group| {
            let sgc = &topo.capacities[topo.groups[group.index()].sgc.index()];
            Self { capacity: sgc.capacity, min: sgc.min_capacity, max: sgc.max_capacity }
        }))
    }
}

impl<O: Observer> Sched<O> {
    /// Refreshes the capacity of the first group of `sd` on behalf of `cpu`.
    pub(super) fn update_group_capacity(&mut self, sd: DomainId, cpu: CpuId) {
        let next_update = self.jiffies() + self.sd_interval(sd, false);
        let (child, first) = {
            let domain = &self.topo.domains[sd.index()];
            (domain.child, domain.groups)
        };
        let sums = match child {
            None => {
                let rule = self.kernel.balance.groups.pressure;
                let by = self.capacity_use(cpu);
                let rq = &mut self.rqs[cpu.index()];
                rq.cpu_capacity = scale_rt_capacity(rule, rq.arch_capacity, &by);
                Sums::of_cpu(rq.cpu_capacity)
            }
            Some(child) if self.topo.domains[child.index()].flags.contains(SdFlags::NUMA) => {
                self.sum_of_cpus(first)
            }
            Some(child) => Sums::of_child(&self.topo, child),
        };
        let sgc = self.topo.groups[first.index()].sgc;
        let sgc = &mut self.topo.capacities[sgc.index()];
        sgc.next_update = next_update;
        (sgc.capacity, sgc.min_capacity, sgc.max_capacity) = (sums.capacity, sums.min, sums.max);
    }

    /// Groups over levels that overlap add up CPUs. In the oldest kernels a CPU counts with what its lowest group has, and
    /// the smallest capacity is the smallest sum so far: that of the first CPU.
    fn sum_of_cpus(&self, group: GroupId) -> Sums {
        let span = self.topo.groups[group.index()].span.iter();
        let present = |cpu: CpuId| self.rqs[cpu.index()].cpu_capacity;
        match self.kernel.topology.overlap_min_capacity {
            OverlapMinCapacity::SmallestCpu => Sums::over(span.map(|cpu| Sums::of_cpu(present(cpu)))),
            OverlapMinCapacity::RunningSum => {
                let lowest = |cpu: CpuId| {
                    let base = self.topo.cpus[cpu.index()].base?;
                    let group = &self.topo.groups[self.topo.domains[base.index()].groups.index()];
                    Some(self.topo.capacities[group.sgc.index()].capacity)
                };
                let of = |cpu: CpuId| lowest(cpu).unwrap_or_else(|| present(cpu));
                let sums = Sums::over(span.clone().map(|cpu| Sums::of_cpu(of(cpu))));
                Sums { min: self.topo.groups[group.index()].span.first().map_or(0, of), ..sums }
            }
        }
    }
}
