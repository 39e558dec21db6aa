//! Groups of the levels below NUMA, and what groups can do.
//!
//! A domain is divided into what the level below sees of it: MC `0-7` over cores of two threads has the groups
//! `0-1`, `2-3`, `4-5`, `6-7` in a ring that each CPU enters at its own core. The groups are shared by all CPUs of the
//! domain. Example of capacities: each of these groups has 2048, on kernels that count a thread as a whole CPU.
//!
//! In the kernel: `build_sched_groups`, `init_sched_groups_capacity`, `update_group_capacity`. Left out here:
//! pressure by interrupts and real-time tasks, which is part of running, not of building.
use super::build::Draft;
use super::domain::SdFlags;
use super::machine::Arch;
use super::rules::{OverlapMinCapacity, SmtCapacity};
use crate::ids::{CpuId, DomainId, GroupId};
use crate::mask::CpuMask;
use crate::time::{Jiffies, ms_to_jiffies};
use alloc::sync::Arc;

/// The longest a CPU goes without balancing, in jiffies: a tenth of a second per online CPU, but at least one.
pub fn max_load_balance_interval(hz: u32, nr_online: u32) -> Jiffies {
    (u64::from(hz) * u64::from(nr_online) / 10).max(1)
}

impl Draft<'_> {
    /// Divides a domain below NUMA into its child domains (spec 1 §8.1).
    ///
    /// The links are those of the CPU that is handled last, the highest of the span; all others only look up where they
    /// enter.
    pub(super) fn build_normal_groups(&mut self, domain: DomainId) {
        let cpu = self.domains[domain.index()].cpu;
        let span = Arc::clone(&self.domains[domain.index()].span);
        self.domains[domain.index()].groups = self.normal_group(domain, cpu);
        if span.last() != Some(cpu) {
            return;
        }
        let level = self.level_of(domain);
        let first = self.domains[domain.index()].groups;
        let mut last = first;
        let mut left = CpuMask::clone(&span);
        left.and_not_assign(&self.groups[first.index()].span);
        // The highest CPU comes first, so wrap order goes on from the lowest.
        while let Some(next) = left.first() {
            left.clear(next);
            let Some(sibling) = self.domain_at(level, next) else { continue };
            let group = self.normal_group(sibling, next);
            left.and_not_assign(&self.groups[group.index()].span);
            self.link(last, group);
            last = group;
        }
        self.link(last, first);
    }

    /// The group that `cpu` belongs to at the level of its `domain`.
    fn normal_group(&mut self, domain: DomainId, cpu: CpuId) -> GroupId {
        let level = self.level_of(domain);
        let child = self.domains[domain.index()].child;
        let span = match child {
            Some(child) => self.span_id(child),
            None => {
                let mut own = CpuMask::new(self.machine.nr_cpus());
                own.set(cpu);
                self.spans.intern(own)
            }
        };
        let mask = Arc::clone(self.spans.mask(span));
        let key = mask.first().unwrap_or(cpu);
        if let Some(group) = *self.group_at(level, key) {
            return group;
        }
        let flags = child.map_or(SdFlags::empty(), |child| self.domains[child.index()].flags);
        let sgc = self.capacity_at(level, key, span, &mask);
        let group = self.new_group(span, flags, sgc);
        *self.group_at(level, key) = Some(group);
        group
    }

    /// Preferred CPUs and capacities of all groups, from the highest CPU down (spec 1 §6 step 7).
    pub(super) fn init_capacities(&mut self) {
        let cpus: alloc::vec::Vec<CpuId> = self.cpu_map.iter().collect();
        for &cpu in cpus.iter().rev() {
            let mut next = self.base[cpu.index()];
            while let Some(id) = next {
                if self.domains[id.index()].flags.contains(SdFlags::ASYM_PACKING) {
                    self.set_preferred_cpus(id);
                }
                let entry = self.domains[id.index()].groups;
                let sgc = self.groups[entry.index()].sgc;
                if self.capacities[sgc.index()].balance_mask.first() == Some(cpu) {
                    self.init_group_capacity(id, cpu);
                }
                next = self.domains[id.index()].parent;
            }
        }
    }

    /// The CPU of highest priority in each group; the lowest-numbered of several (spec 1 §8.4).
    fn set_preferred_cpus(&mut self, domain: DomainId) {
        let first = self.domains[domain.index()].groups;
        let mut group = first;
        loop {
            let priority = |cpu: &CpuId| self.host.priorities[cpu.index()];
            let span = Arc::clone(&self.groups[group.index()].span);
            let preferred =
                span.iter().reduce(|best, cpu| if priority(&cpu) > priority(&best) { cpu } else { best });
            self.groups[group.index()].asym_prefer_cpu = preferred.expect("a group is never empty");
            group = self.groups[group.index()].next;
            if group == first {
                break;
            }
        }
    }

    /// The capacity of a domain's own group (spec 1 §8.4), before anything ran.
    fn init_group_capacity(&mut self, domain: DomainId, cpu: CpuId) {
        let group = self.domains[domain.index()].groups;
        let sgc = self.groups[group.index()].sgc;
        let (sum, min, max) = match self.domains[domain.index()].child {
            None => {
                let capacity = self.thread_capacity(domain, cpu);
                self.cpu_capacity[cpu.index()] = capacity;
                (capacity, capacity, capacity)
            }
            Some(child) if self.domains[child.index()].flags.contains(SdFlags::NUMA) => {
                self.sum_of_cpus(group)
            }
            Some(child) => self.sum_of_ring(self.domains[child.index()].groups),
        };
        let hz = self.host.kernel.hz;
        let longest = max_load_balance_interval(hz, self.host.nr_online);
        let interval = ms_to_jiffies(self.domains[domain.index()].balance_interval, hz).clamp(1, longest);
        let next_update = self.host.jiffies.wrapping_add(interval);
        let capacity = &mut self.capacities[sgc.index()];
        capacity.capacity = sum;
        capacity.min_capacity = min;
        capacity.max_capacity = max;
        capacity.next_update = next_update;
    }

    /// What one CPU can do; old kernels divide the gain of multi-threading among the threads of an x86 core.
    fn thread_capacity(&self, domain: DomainId, cpu: CpuId) -> u64 {
        let domain = &self.domains[domain.index()];
        let threaded = domain.flags.contains(SdFlags::SHARE_CPUCAPACITY) && domain.span_weight > 1;
        match self.rules().smt_capacity {
            SmtCapacity::Gain if threaded && self.machine.arch == Arch::X86 => {
                SmtCapacity::SMT_GAIN / u64::from(domain.span_weight)
            }
            SmtCapacity::Gain | SmtCapacity::Full => u64::from(self.host.capacities[cpu.index()]),
        }
    }

    /// Groups over NUMA levels add up CPUs, because the groups below may overlap. CPUs that are not initialised yet count
    /// with what they were before, 1024 at boot.
    fn sum_of_cpus(&self, group: GroupId) -> (u64, u64, u64) {
        let of = |cpu: CpuId| self.cpu_capacity[cpu.index()];
        let span = &self.groups[group.index()].span;
        let sum = span.iter().map(of).sum();
        let max = span.iter().map(of).max().unwrap_or(0);
        let min = match self.rules().overlap_min_capacity {
            // The running sum is least after the first CPU.
            OverlapMinCapacity::RunningSum => span.first().map_or(0, of),
            OverlapMinCapacity::SmallestCpu => span.iter().map(of).min().unwrap_or(0),
        };
        (sum, min, max)
    }

    fn sum_of_ring(&self, first: GroupId) -> (u64, u64, u64) {
        let (mut sum, mut min, mut max) = (0, u64::MAX, 0);
        let mut group = first;
        loop {
            let sgc = &self.capacities[self.groups[group.index()].sgc.index()];
            sum += sgc.capacity;
            min = min.min(sgc.min_capacity);
            max = max.max(sgc.max_capacity);
            group = self.groups[group.index()].next;
            if group == first {
                return (sum, min, max);
            }
        }
    }
}
