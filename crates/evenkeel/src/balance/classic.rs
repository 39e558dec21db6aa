//! Choosing where to take from by averages of load alone, as the oldest balancer does.
//!
//! Every group has one average, its load per capacity, biased by the history of its CPUs: low where tasks would be
//! taken from, high where they would go. The group with the highest average gives, up to the average of the domain; if
//! that is less than one task, a task moves all the same when the two groups are more alike afterwards. Example: four
//! idle CPUs beside four with a full task each, siblings to be filled: averages 0 and 1024, domain 512, so
//! min(512, 512) * 4096 / 1024 = 2048 units of load are to move.
//!
//! In the kernel: `update_sd_lb_stats()`, `update_sd_pick_busiest()`, `check_asym_packing()`, `find_busiest_group()`,
//! `calculate_imbalance()`, `fix_small_imbalance()`, `find_busiest_queue()` of 4.19. Specified in spec 3 §9. Left out:
//! the vendor additions of §9.8.
use super::choose::{GroupRule, Pick, PickRule};
use super::classify::GroupType;
use super::env::{IdleType, MigrationType};
use super::imbalance::{Imbalance, ImbalanceRule};
use super::rules::Comparison;
use super::stats::{GroupSums, SdStats, Search, SgStats};
use super::view::CpuView;
use crate::ids::{CpuId, GroupId};
use crate::topology::{Domain, SdFlags};

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// Whether groups are compared by averages of load alone.
    #[inline]
    pub fn is_classic(&self) -> bool {
        self.rules.comparison == Comparison::Classic
    }

    /// Sums up and classifies one group; `ours` are the numbers of the local group (spec 3 §9.2, §9.3).
    pub(super) fn sum_classic_group(&self, ours: &SgStats, id: GroupId, local: bool) -> GroupSums {
        let group = self.group(id);
        let mut sums = GroupSums::default();
        let mut weighted = 0;
        for cpu in group.span.iter().filter(|&cpu| self.cpus.contains(cpu)) {
            self.add_classic_cpu(&mut sums, cpu, local);
            weighted += self.view.cpu_load(cpu);
        }
        let sgc = &self.topo.capacities[group.sgc.index()];
        let (pct, stats) = (self.domain().imbalance_pct, &mut sums.stats);
        stats.group_capacity = sgc.capacity;
        stats.group_weight = group.group_weight;
        stats.avg_load = stats.group_load * 1024 / stats.group_capacity;
        stats.load_per_task = weighted.checked_div(u64::from(stats.sum_h_nr_running)).unwrap_or(0);
        stats.group_no_capacity = stats.sum_h_nr_running > stats.group_weight
            && stats.group_capacity * 100 < stats.group_util * u64::from(pct);
        let fills_siblings = !local
            && self.spreads_over_siblings()
            && has_capacity(pct, ours)
            && stats.sum_h_nr_running > ours.sum_h_nr_running + 1;
        stats.group_no_capacity |= fills_siblings;
        stats.group_type = match (stats.group_no_capacity, sgc.imbalance) {
            (true, _) => GroupType::Overloaded,
            (false, true) => GroupType::Imbalanced,
            (false, false) => GroupType::Other,
        };
        sums
    }

    fn add_classic_cpu(&self, sums: &mut GroupSums, cpu: CpuId, local: bool) {
        let (view, stats) = (self.view, &mut sums.stats);
        let index = load_index(self.domain(), self.idle);
        let nr_running = view.nr_running(cpu);
        stats.group_load += if local { view.target_load(cpu, index) } else { view.source_load(cpu, index) };
        stats.group_util += view.cpu_util_cfs(cpu);
        stats.sum_h_nr_running += view.h_nr_queued(cpu);
        stats.sum_nr_running += nr_running;
        stats.nr_numa_running += view.nr_numa_running(cpu);
        stats.nr_preferred_running += view.nr_preferred_running(cpu);
        stats.idle_cpus += u32::from(nr_running == 0 && view.idle_cpu(cpu));
        sums.overloaded |= nr_running > 1;
    }

    fn spreads_over_siblings(&self) -> bool {
        let child = self.domain().child.map(|child| self.topo.domains[child.index()].flags);
        child.is_some_and(|flags| flags.contains(SdFlags::PREFER_SIBLING))
    }

    /// Whether a group is busier than the busiest so far (spec 3 §9.3).
    pub(super) fn pick_classic_busiest(&self, sds: &SdStats, id: GroupId, stats: &SgStats) -> Pick {
        let (busiest, flags) = (&sds.busiest_stat, self.domain().flags);
        if stats.group_type != busiest.group_type {
            let higher = stats.group_type > busiest.group_type;
            return if higher { Pick::Taken(PickRule::Type) } else { Pick::Refused(PickRule::Type) };
        }
        if stats.avg_load <= busiest.avg_load {
            return Pick::Refused(PickRule::AvgLoad);
        }
        if flags.contains(SdFlags::ASYM_CPUCAPACITY)
            && stats.sum_h_nr_running <= stats.group_weight
            && sds.local.is_some_and(|local| self.min_capacity(local) * 1280 < self.min_capacity(id) * 1024)
        {
            return Pick::Refused(PickRule::BiggerCpus);
        }
        if !flags.contains(SdFlags::ASYM_PACKING) || !self.idle.is_idle() {
            return Pick::Taken(PickRule::AvgLoad);
        }
        let preferred = |group: GroupId| self.group(group).asym_prefer_cpu;
        let taken = stats.sum_h_nr_running != 0
            && self.sched_asym_prefer(self.dst_cpu, preferred(id))
            && sds.busiest.is_none_or(|before| self.sched_asym_prefer(preferred(before), preferred(id)));
        if taken { Pick::Taken(PickRule::AsymPriority) } else { Pick::Refused(PickRule::AsymPriority) }
    }

    fn min_capacity(&self, group: GroupId) -> u64 {
        self.topo.capacities[self.group(group).sgc.index()].min_capacity
    }

    /// Compares the busiest group with the local one: the rule that decides, and whether it forces (spec 3 §9.4).
    pub(super) fn compare_classic(&self, sds: &mut SdStats) -> (GroupRule, bool) {
        let Some(busiest_group) = sds.busiest else { return (GroupRule::NoBusiest, false) };
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        let pct = self.domain().imbalance_pct;
        let preferred = self.group(busiest_group).asym_prefer_cpu;
        if self.domain().flags.contains(SdFlags::ASYM_PACKING)
            && self.idle.is_idle()
            && !self.sched_asym_prefer(preferred, self.dst_cpu)
        {
            return (GroupRule::AsymPacking, true);
        }
        if busiest.sum_h_nr_running == 0 {
            return (GroupRule::NoBusiest, false);
        }
        sds.avg_load = 1024 * sds.total_load / sds.total_capacity;
        if busiest.group_type == GroupType::Imbalanced {
            return (GroupRule::Imbalanced, true);
        }
        if self.idle.is_idle() && has_capacity(pct, local) && busiest.group_no_capacity {
            return (GroupRule::SpareCapacity, true);
        }
        if local.avg_load >= busiest.avg_load {
            return (GroupRule::LocalMoreLoaded, false);
        }
        if local.avg_load >= sds.avg_load {
            return (GroupRule::LocalAboveAverage, false);
        }
        if self.idle == IdleType::Idle {
            let no_more = local.idle_cpus <= busiest.idle_cpus + 1;
            if busiest.group_type != GroupType::Overloaded && no_more {
                return (GroupRule::NoMoreIdleCpus, false);
            }
        } else if 100 * busiest.avg_load <= u64::from(pct) * local.avg_load {
            return (GroupRule::WithinTolerance, false);
        }
        (GroupRule::BeyondTolerance, true)
    }

    /// How much load to move (spec 3 §9.5); `rule` is the one that forced it.
    pub(super) fn classic_imbalance(&self, sds: &mut SdStats, rule: GroupRule) -> Imbalance {
        let load =
            |(rule, amount): (ImbalanceRule, u64)| Imbalance::new(rule, MigrationType::Load, amount as i64);
        let busiest = &mut sds.busiest_stat;
        if rule == GroupRule::AsymPacking {
            let amount = busiest.avg_load.wrapping_mul(busiest.group_capacity).wrapping_add(512) / 1024;
            return load((ImbalanceRule::ClassicAsymPacking, amount));
        }
        if busiest.group_type == GroupType::Imbalanced {
            busiest.load_per_task = busiest.load_per_task.min(sds.avg_load);
        }
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        let amount = if busiest.avg_load <= sds.avg_load || local.avg_load >= sds.avg_load {
            0
        } else {
            let both_overloaded = [local, busiest].iter().all(|s| s.group_type == GroupType::Overloaded);
            let above = if both_overloaded { above_capacity(busiest) } else { u64::MAX };
            let give = (busiest.avg_load - sds.avg_load).min(above).wrapping_mul(busiest.group_capacity);
            let take = (sds.avg_load - local.avg_load).wrapping_mul(local.group_capacity);
            let amount = give.min(take) / 1024;
            if amount >= busiest.load_per_task {
                return load((ImbalanceRule::ClassicEvenOut, amount));
            }
            amount
        };
        load(self.fix_small_imbalance(sds, amount))
    }

    /// Less than a task is to be moved: a whole one, if that leaves the groups more alike, or does more work.
    fn fix_small_imbalance(&self, sds: &mut SdStats, amount: u64) -> (ImbalanceRule, u64) {
        let mut tasks = 2;
        if sds.local_stat.sum_h_nr_running == 0 {
            let nr = u64::from(self.view.h_nr_queued(self.dst_cpu));
            sds.local_stat.load_per_task = self.view.cpu_load(self.dst_cpu).checked_div(nr).unwrap_or(0);
        } else if sds.busiest_stat.load_per_task > sds.local_stat.load_per_task {
            tasks = 1;
        }
        let (local, busiest) = (&sds.local_stat, &sds.busiest_stat);
        let task = busiest.load_per_task;
        let step = task * 1024 / busiest.group_capacity;
        if busiest.avg_load + step >= local.avg_load + step * tasks {
            return (ImbalanceRule::ClassicWholeTask, task);
        }
        // Products of averages and capacities wrap as in C.
        let by_local = |load: u64| local.group_capacity.wrapping_mul(load);
        let by_busiest = |load: u64| busiest.group_capacity.wrapping_mul(load);
        let now = by_busiest(task.min(busiest.avg_load))
            .wrapping_add(by_local(local.load_per_task.min(local.avg_load)));
        let left = if busiest.avg_load > step { by_busiest(task.min(busiest.avg_load - step)) } else { 0 };
        let moved = by_busiest(busiest.avg_load).min(task.wrapping_mul(1024)) / local.group_capacity;
        let gained = by_local(local.load_per_task.min(local.avg_load.wrapping_add(moved)));
        if left.wrapping_add(gained) / 1024 > now / 1024 {
            (ImbalanceRule::ClassicThroughput, task)
        } else {
            (ImbalanceRule::ClassicSmall, amount)
        }
    }
}

/// Which history of load a level looks at: slower ones on higher levels of busy CPUs (spec 3 §9.1).
fn load_index(domain: &Domain, idle: IdleType) -> usize {
    match idle {
        IdleType::NotIdle => domain.busy_idx as usize,
        IdleType::Idle => domain.idle_idx as usize,
        IdleType::NewlyIdle => 0,
    }
}

/// Fewer tasks than CPUs, or utilisation that leaves capacity unused.
fn has_capacity(imbalance_pct: u32, stats: &SgStats) -> bool {
    stats.sum_h_nr_running < stats.group_weight
        || stats.group_capacity * 100 > stats.group_util * u64::from(imbalance_pct)
}

/// How much load of full tasks is above what an overloaded group can run.
fn above_capacity(stats: &SgStats) -> u64 {
    let tasks = u64::from(stats.sum_h_nr_running) * 1024;
    let above = tasks.checked_sub(stats.group_capacity).filter(|&above| above != 0);
    above.map_or(u64::MAX, |above| above * 1024 / stats.group_capacity)
}
