//! How loaded the groups of a domain are.
//!
//! One walk around the ring of groups sums the CPUs of each, classifies it, remembers the local group (the one with
//! the destination CPU) and the busiest of the others. Example: groups {0,1} and {2,3}; CPUs 2 and 3 run two tasks
//! each at full load, so group {2,3} has `sum_nr_running` 4 on `group_weight` 2, `group_util` 2048 of `group_capacity`
//! 2048: overloaded, with `avg_load` = 4096 * 1024 / 2048 = 2048.
//!
//! In the kernel: `update_sd_lb_stats()`, `update_sg_lb_stats()` (spec 3 §4). The capacity of a group is an input: it
//! is refreshed elsewhere (see [`capacity`](super::capacity)).
use super::classify::{GroupType, group_classify};
use super::env::{FbqType, IdleType};
use super::rules::{BalanceRules, EnergyAware, GroupAsymPacking, NumaCounters, PreferSibling};
use super::view::{CpuView, capacity_is_reduced, is_core_idle};
use crate::cache_aware::Gathering;
use crate::ids::{CpuId, DomainId, GroupId};
use crate::mask::CpuMask;
use crate::topology::{Domain, Domains, Group, SdFlags};

/// Sums over one group (`struct sg_lb_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SgStats {
    /// Load per capacity; only of overloaded groups, and of others where a later step needs it.
    pub avg_load: u64,
    /// Load.
    pub group_load: u64,
    /// Capacity of the whole group, CPUs that are left out included.
    pub group_capacity: u64,
    /// Utilisation.
    pub group_util: u64,
    /// Running and waiting.
    pub group_runnable: u64,
    /// Tasks of all classes.
    pub sum_nr_running: u32,
    /// Fair tasks.
    pub sum_h_nr_running: u32,
    /// Idle CPUs.
    pub idle_cpus: u32,
    /// CPUs of the whole group.
    pub group_weight: u32,
    /// The class.
    pub group_type: GroupType,
    /// The destination is preferred to the group's CPUs.
    pub group_asym_packing: bool,
    /// Several tasks share a core.
    pub group_smt_balance: bool,
    /// Load of a task that should leave: too big, or on a CPU of reduced capacity.
    pub group_misfit_task_load: u64,
    /// Tasks with a preferred node.
    pub nr_numa_running: u32,
    /// Tasks on it.
    pub nr_preferred_running: u32,
    /// Tasks elsewhere that prefer the destination's cache.
    pub nr_pref_dst_llc: u32,
    /// One of them may move there.
    pub group_llc_balance: bool,
    /// Load per task (only where load alone is compared).
    pub load_per_task: u64,
    /// More tasks than CPUs, and more utilisation than capacity (only there).
    pub group_no_capacity: bool,
}

/// What the walk around a domain's groups found (`struct sd_lb_stats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SdStats {
    /// The busiest of the other groups.
    pub busiest: Option<GroupId>,
    /// The group of the destination CPU (with overlapping groups: the last of them).
    pub local: Option<GroupId>,
    /// Load of all groups.
    pub total_load: u64,
    /// Capacity of all groups.
    pub total_capacity: u64,
    /// Utilisation of all groups.
    pub sum_util: u64,
    /// Load per capacity of the domain; 0 until a later step needs it.
    pub avg_load: u64,
    /// Tasks should be spread over the groups.
    pub prefer_sibling: bool,
    /// Numbers of the busiest group.
    pub busiest_stat: SgStats,
    /// Numbers of the local group.
    pub local_stat: SgStats,
    /// The rest of the destination's core is idle.
    pub dst_core_idle: bool,
    /// Some CPU has more than one task.
    pub overloaded: bool,
    /// Some CPU has more utilisation than capacity.
    pub overutilized: bool,
    /// From which queues tasks may be taken.
    pub fbq_type: FbqType,
}

/// One search for work: the level, the destination, and what may be looked at.
#[derive(Debug)]
pub struct Search<'a, V: ?Sized> {
    /// The trees.
    pub topo: &'a Domains,
    /// The CPUs' numbers.
    pub view: &'a V,
    /// How the kernel balances.
    pub rules: &'a BalanceRules,
    /// The level.
    pub sd: DomainId,
    /// Where tasks would go.
    pub dst_cpu: CpuId,
    /// Its state.
    pub idle: IdleType,
    /// The CPUs that take part.
    pub cpus: &'a CpuMask,
    /// What energy-aware placement has to say.
    pub energy_aware: EnergyAware,
    /// How threads of a process are gathered in a cache, if they are.
    pub gathering: Option<Gathering>,
}

impl<V: ?Sized> Clone for Search<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V: ?Sized> Copy for Search<'_, V> {}

/// The numbers of one group, and what it says about the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSums {
    /// The numbers.
    pub stats: SgStats,
    /// Some CPU has more than one task.
    pub overloaded: bool,
    /// Some CPU has more utilisation than capacity.
    pub overutilized: bool,
}

impl<'a, V: CpuView + ?Sized> Search<'a, V> {
    /// The level.
    #[inline]
    pub fn domain(&self) -> &'a Domain {
        &self.topo.domains[self.sd.index()]
    }

    /// A group.
    #[inline]
    pub fn group(&self, group: GroupId) -> &'a Group {
        &self.topo.groups[group.index()]
    }

    /// Whether the group holds the destination.
    #[inline]
    pub fn is_local(&self, group: GroupId) -> bool {
        self.group(group).span.contains(self.dst_cpu)
    }

    /// An empty result; the placeholder for "busiest" loses against any group (spec 3 §4.1).
    pub fn new_stats(&self) -> SdStats {
        SdStats {
            busiest: None,
            local: None,
            total_load: 0,
            total_capacity: 0,
            sum_util: 0,
            avg_load: 0,
            prefer_sibling: false,
            busiest_stat: if self.is_classic() {
                SgStats { group_type: GroupType::Other, ..SgStats::default() }
            } else {
                SgStats { idle_cpus: u32::MAX, ..SgStats::default() }
            },
            local_stat: SgStats::default(),
            dst_core_idle: !self.topo.smt_active || is_core_idle(self.topo, self.view, self.dst_cpu),
            overloaded: false,
            overutilized: false,
            fbq_type: FbqType::All,
        }
    }

    /// The whole walk, with group capacities as they are (`update_sd_lb_stats`).
    pub fn update_sd_lb_stats(&self) -> SdStats {
        let mut sds = self.new_stats();
        for group in self.topo.ring(self.domain().groups) {
            self.visit(&mut sds, group);
        }
        self.finish(&mut sds);
        sds
    }

    /// One step of the walk: sums up `group` and keeps it if it is the local one or busier than the busiest so far.
    pub fn visit(&self, sds: &mut SdStats, group: GroupId) -> (SgStats, super::choose::Pick) {
        let local = self.is_local(group);
        let GroupSums { stats, overloaded, overutilized } = if self.is_classic() {
            self.sum_classic_group(&sds.local_stat, group, local)
        } else {
            self.update_sg_lb_stats(&sds.local_stat, group, local)
        };
        sds.overloaded |= overloaded;
        sds.overutilized |= overutilized;
        let pick = if local {
            sds.local = Some(group);
            sds.local_stat = stats;
            super::choose::Pick::Local
        } else if self.is_classic() {
            self.pick_classic_busiest(sds, group, &stats)
        } else {
            self.update_sd_pick_busiest(sds, group, &stats)
        };
        if let super::choose::Pick::Taken(_) = pick {
            sds.busiest = Some(group);
            sds.busiest_stat = stats;
        }
        sds.total_load += stats.group_load;
        sds.total_capacity += stats.group_capacity;
        sds.sum_util += stats.group_util;
        (stats, pick)
    }

    /// After the walk: whether siblings are preferred, and from which queues to take.
    pub fn finish(&self, sds: &mut SdStats) {
        let flags = match self.rules.groups.prefer_sibling {
            PreferSibling::BusiestGroup => sds.busiest.map(|busiest| self.group(busiest).flags),
            PreferSibling::Child => self.domain().child.map(|child| self.topo.domains[child.index()].flags),
        };
        sds.prefer_sibling = flags.is_some_and(|flags| flags.contains(SdFlags::PREFER_SIBLING));
        if self.domain().flags.contains(SdFlags::NUMA) {
            let busiest = &sds.busiest_stat;
            sds.fbq_type = FbqType::classify(
                busiest.sum_h_nr_running,
                busiest.nr_numa_running,
                busiest.nr_preferred_running,
            );
        }
    }

    /// Sums up and classifies one group (spec 3 §4.3); `ours` are the numbers of the local group, which comes first.
    pub fn update_sg_lb_stats(&self, ours: &SgStats, id: GroupId, local: bool) -> GroupSums {
        let (domain, group) = (self.domain(), self.group(id));
        let mut sums = GroupSums::default();
        for cpu in group.span.iter().filter(|&cpu| self.cpus.contains(cpu)) {
            self.add_cpu(&mut sums, cpu, local);
        }
        let sgc = &self.topo.capacities[group.sgc.index()];
        let stats = &mut sums.stats;
        stats.group_capacity = sgc.capacity;
        stats.group_weight = group.group_weight;
        let rules = &self.rules.groups;
        if self.idle.is_idle() && stats.sum_h_nr_running != 0 {
            stats.group_asym_packing = self.group_asym_packing(ours, stats, group, local);
            stats.group_smt_balance = rules.smt_balance
                && !local
                && group.flags.contains(SdFlags::SHARE_CPUCAPACITY)
                && stats.sum_h_nr_running > 1;
        }
        stats.group_llc_balance = !local && self.is_llc_balance(stats, group);
        let may_overload = !rules.overloaded_needs_overutilized
            || self.energy_aware == EnergyAware::Off
            || sums.overutilized;
        stats.group_type = group_classify(domain.imbalance_pct, sgc.imbalance, may_overload, stats);
        if stats.group_type == GroupType::Overloaded {
            stats.avg_load = stats.group_load * 1024 / stats.group_capacity;
        }
        sums
    }

    fn add_cpu(&self, sums: &mut GroupSums, cpu: CpuId, local: bool) {
        let (view, domain) = (self.view, self.domain());
        let stats = &mut sums.stats;
        let nr_running = view.nr_running(cpu);
        stats.group_load += view.cpu_load(cpu);
        stats.group_util += view.cpu_util_cfs(cpu);
        stats.group_runnable += view.cpu_runnable(cpu);
        stats.sum_h_nr_running += self.fair_tasks(cpu);
        stats.sum_nr_running += nr_running;
        sums.overloaded |= nr_running > 1;
        sums.overutilized |= view.cpu_overutilized(cpu);
        stats.nr_pref_dst_llc += self.nr_pref_dst_llc(cpu);
        let idle = nr_running == 0 && view.idle_cpu(cpu);
        let counts_numa = match self.rules.groups.numa_counters {
            NumaCounters::Everywhere => true,
            NumaCounters::BetweenNodes => !idle && domain.flags.contains(SdFlags::NUMA),
        };
        if counts_numa {
            stats.nr_numa_running += view.nr_numa_running(cpu);
            stats.nr_preferred_running += view.nr_preferred_running(cpu);
        }
        if idle {
            stats.idle_cpus += 1;
            return;
        }
        if local {
            return;
        }
        if domain.flags.contains(SdFlags::ASYM_CPUCAPACITY) {
            let misfit = view.misfit_task_load(cpu);
            if stats.group_misfit_task_load < misfit {
                stats.group_misfit_task_load = misfit;
                sums.overloaded = true;
            }
        } else if self.rules.groups.reduced_is_misfit
            && self.idle.is_idle()
            && self.sched_reduced_capacity(cpu)
        {
            stats.group_misfit_task_load = stats.group_misfit_task_load.max(view.cpu_load(cpu));
        }
    }

    /// The fair tasks of a CPU that count.
    pub fn fair_tasks(&self, cpu: CpuId) -> u32 {
        self.rules.fair_tasks.of(self.view, cpu)
    }

    /// One fair task on a CPU whose capacity others use up: it would run better elsewhere (spec 3 §1.3).
    pub fn sched_reduced_capacity(&self, cpu: CpuId) -> bool {
        self.fair_tasks(cpu) == 1 && self.check_cpu_capacity(cpu)
    }

    /// Whether the CPU's capacity is reduced beyond the level's tolerance.
    pub fn check_cpu_capacity(&self, cpu: CpuId) -> bool {
        let pct = self.domain().imbalance_pct;
        capacity_is_reduced(self.view.capacity_of(cpu), self.view.arch_capacity(cpu), pct)
    }

    /// Whether priorities count on this level for `cpu`: between cores, only while its whole core is idle.
    pub fn sched_use_asym_prio(&self, cpu: CpuId) -> bool {
        let flags = self.domain().flags;
        flags.contains(SdFlags::ASYM_PACKING)
            && (!self.topo.smt_active
                || flags.contains(SdFlags::SHARE_CPUCAPACITY)
                || is_core_idle(self.topo, self.view, cpu))
    }

    /// Whether `a` is preferred to `b`.
    pub fn sched_asym_prefer(&self, a: CpuId, b: CpuId) -> bool {
        self.view.asym_priority(a) > self.view.asym_priority(b)
    }

    /// Whether `dst` should take over from `src` because it is preferred (spec 3 §1.3).
    pub fn sched_asym(&self, dst: CpuId, src: CpuId) -> bool {
        self.sched_use_asym_prio(dst) && self.sched_asym_prefer(dst, src)
    }

    /// Whether the idle destination should take over from a group because it is preferred (spec 3 §4.3, §11).
    fn group_asym_packing(&self, ours: &SgStats, stats: &SgStats, group: &Group, local: bool) -> bool {
        let is_smt = |group: &Group| group.flags.contains(SdFlags::SHARE_CPUCAPACITY);
        let packing = self.domain().flags.contains(SdFlags::ASYM_PACKING);
        let preferred = || self.sched_asym_prefer(self.dst_cpu, group.asym_prefer_cpu);
        let busy = |stats: &SgStats| stats.group_weight - stats.idle_cpus;
        match self.rules.groups.asym_packing {
            GroupAsymPacking::AnyGroup => packing && preferred(),
            _ if local || !packing => false,
            GroupAsymPacking::BusyThreads => {
                match (is_smt(self.group(self.domain().groups)), is_smt(group)) {
                    (false, false) => preferred(),
                    (false, true) => busy(stats) >= 2 || preferred(),
                    (true, true) => i64::from(busy(stats)) - i64::from(busy(ours)) == 1 && preferred(),
                    (true, false) => ours.sum_nr_running == 0 && preferred(),
                }
            }
            // A core with several busy threads is left to SMT balancing.
            GroupAsymPacking::IdleCore => {
                (busy(stats) == 1 || !is_smt(group)) && self.sched_asym(self.dst_cpu, group.asym_prefer_cpu)
            }
        }
    }
}

/// How many CPUs a wake-up may search in a cache domain of `weight` CPUs whose utilisation is `sum_util`: all of it
/// when idle, none when fully used (`update_idle_cpu_scan`; spec 3 §4.6).
pub fn nr_idle_scan(sum_util: u64, weight: u32, imbalance_pct: u32) -> u32 {
    let (weight, pct) = (u64::from(weight), u64::from(imbalance_pct));
    let x = sum_util / weight;
    let used = (x * x * pct * pct / (10_000 * 1024)).min(1024);
    ((1024 - used) * weight / 1024) as u32
}
