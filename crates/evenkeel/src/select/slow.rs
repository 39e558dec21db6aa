//! The slow path: from the widest domain down, the least loaded group, then the best CPU of it.
//!
//! Groups are classified as in balancing (has spare, fully busy, overloaded ...); the task stays in its own group unless
//! another is clearly better. In a group, a CPU in a shallow idle state wins, then the one most recently idle, then the
//! least loaded.
//!
//! In the kernel: `sched_balance_find_dst_cpu`, `sched_balance_find_dst_group`, `sched_balance_find_dst_group_cpu`.
//! Specified in spec 4 §9. Left out: idle states (none is known, so the latest idle CPU wins), preferred
//! NUMA nodes.
use super::rules::{IdlePolicyCpus, NodeSpread, SlowPath};
use crate::balance::choose::adjust_numa_imbalance;
use crate::balance::classify::{GroupType, group_classify};
use crate::balance::stats::SgStats;
use crate::ids::{CpuId, DomainId, GroupId, TaskId};
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::select::steps::PlacementStep;
use crate::task::OnRq;
use crate::topology::SdFlags;

/// What the slow path knows about a group.
#[derive(Clone, Copy, Debug)]
struct DstStats {
    group: GroupId,
    kind: GroupType,
    avg_load: u64,
    util: u64,
    idle_cpus: u32,
    sum_nr_running: u32,
    max_capacity: u64,
}

impl DstStats {
    /// As observers are told.
    fn step(&self, domain: DomainId, local: bool) -> PlacementStep {
        PlacementStep::Group {
            domain,
            group: self.group,
            local,
            kind: self.kind,
            avg_load: self.avg_load,
            util: self.util,
            idle_cpus: self.idle_cpus,
            nr_running: self.sum_nr_running,
        }
    }
}

/// The domain-wide inputs of the choice between the own group and the best other one.
#[derive(Clone, Copy, Debug)]
struct DstRules {
    numa: bool,
    imbalance_pct: u64,
    /// Tolerated NUMA imbalance, lowered to the number of allowed CPUs of the local group.
    imb_numa_nr: u32,
    /// CPUs of the domain.
    span_weight: u32,
    /// How many tasks a node keeps.
    node_spread: NodeSpread,
}

impl<O: Observer> Sched<O> {
    /// The CPU for a task that is created or calls exec; `cpu` executes this (spec 4 §9).
    pub(super) fn sched_balance_find_dst_cpu(
        &mut self,
        widest: DomainId,
        task: TaskId,
        mut cpu: CpuId,
        prev: CpuId,
        flag: SdFlags,
    ) -> CpuId {
        if !self.topo.domains[widest.index()].span.intersects(&self.tasks[task].allowed) {
            return prev;
        }
        if flag != SdFlags::BALANCE_FORK {
            self.sync_entity_load_avg(task);
        }
        let mut chosen = cpu;
        let mut level = Some(widest);
        while let Some(id) = level {
            let domain = &self.topo.domains[id.index()];
            let child = domain.child;
            if !domain.flags.contains(flag) {
                level = child;
                continue;
            }
            let weight = domain.span_weight;
            let found = match self.kernel.placement.slow_path {
                SlowPath::Loads => self.find_idlest_group(id, task, cpu, flag == SdFlags::BALANCE_FORK),
                SlowPath::ClassesOfAllCpus | SlowPath::ClassesOfAllowedCpus => {
                    self.find_dst_group(id, task, cpu)
                }
            };
            let Some(group) = found else {
                let step = PlacementStep::Descend { domain: id, to: None, cpu };
                self.emit(|_| Event::Placement { task, step });
                level = child;
                continue;
            };
            chosen = self.find_dst_group_cpu(group, task, cpu);
            let step = PlacementStep::Descend { domain: id, to: Some(group), cpu: chosen };
            self.emit(|_| Event::Placement { task, step });
            if chosen == cpu {
                level = child;
                continue;
            }
            cpu = chosen;
            level = None;
            for id in self.topo.chain(cpu) {
                let domain = &self.topo.domains[id.index()];
                if domain.span_weight >= weight {
                    break;
                }
                if domain.flags.contains(flag) {
                    level = Some(id);
                }
            }
        }
        chosen
    }

    /// The group to go to; none to stay in the group of `cpu` (spec 4 §9.2, §9.3).
    fn find_dst_group(&mut self, id: DomainId, task: TaskId, cpu: CpuId) -> Option<GroupId> {
        let first = self.topo.domains[id.index()].groups;
        let mut local: Option<DstStats> = None;
        let mut idlest: Option<DstStats> = None;
        let mut group = first;
        loop {
            let members = &self.topo.groups[group.index()];
            let next = members.next;
            if members.span.intersects(&self.tasks[task].allowed) {
                let is_local = members.span.contains(cpu);
                let stats = self.dst_stats(id, group, task);
                self.emit(|_| Event::Placement { task, step: stats.step(id, is_local) });
                if is_local {
                    local = Some(stats);
                } else if replaces(&stats, idlest.as_ref()) {
                    idlest = Some(stats);
                }
            }
            if next == first {
                break;
            }
            group = next;
        }
        let idlest = idlest?;
        let Some(local) = local else { return Some(idlest.group) };
        let domain = &self.topo.domains[id.index()];
        let local_span = &self.topo.groups[local.group.index()].span;
        let allowed_here = local_span.weight_and(&self.tasks[task].allowed);
        let rules = DstRules {
            numa: domain.flags.contains(SdFlags::NUMA),
            imbalance_pct: u64::from(domain.imbalance_pct),
            imb_numa_nr: domain.imb_numa_nr.min(allowed_here),
            span_weight: domain.span_weight,
            node_spread: self.kernel.placement.node_spread,
        };
        leave_local(&local, &idlest, &rules).then_some(idlest.group)
    }

    /// Statistics of a group as if the task were not there (spec 4 §9.1).
    fn dst_stats(&mut self, id: DomainId, group: GroupId, task: TaskId) -> DstStats {
        let imbalance_pct = self.topo.domains[id.index()].imbalance_pct;
        let members = &self.topo.groups[group.index()];
        let (span, sgc) = (members.span.clone(), &self.topo.capacities[members.sgc.index()]);
        let (imbalance, max_capacity) = (sgc.imbalance, sgc.max_capacity);
        let asym = self.topo.domains[id.index()].flags.contains(SdFlags::ASYM_CPUCAPACITY);
        let mut stats = SgStats {
            group_capacity: sgc.capacity,
            group_weight: members.group_weight,
            // Too big for all of the group, until a CPU is found that it fits.
            group_misfit_task_load: u64::from(asym),
            ..SgStats::default()
        };
        let allowed = self.tasks[task].allowed.clone();
        let all = self.kernel.placement.slow_path == SlowPath::ClassesOfAllCpus;
        for cpu in span.iter().filter(|&cpu| all || allowed.contains(cpu)) {
            stats.group_load += self.cpu_load_without(cpu, task);
            stats.group_util += self.cpu_util_without(cpu, task);
            stats.group_runnable += self.cpu_runnable_without(cpu, task);
            let here = u32::from(self.tasks[task].cpu == cpu && self.tasks[task].on_rq == OnRq::Queued);
            let nr_running = self.rqs[cpu.index()].nr_running - here;
            stats.sum_nr_running += nr_running;
            if nr_running == 0 && self.idle_cpu_without(cpu, task) {
                stats.idle_cpus += 1;
            }
            if asym && self.task_fits_cpu(task, cpu) {
                stats.group_misfit_task_load = 0;
            }
        }
        let kind = group_classify(imbalance_pct, imbalance, true, &stats);
        let avg_load = match kind {
            GroupType::FullyBusy | GroupType::Overloaded => stats.group_load * 1024 / stats.group_capacity,
            _ => 0,
        };
        DstStats {
            group,
            kind,
            avg_load,
            util: stats.group_util,
            idle_cpus: stats.idle_cpus,
            sum_nr_running: stats.sum_nr_running,
            max_capacity,
        }
    }

    /// Whether the CPU would be idle without the task.
    fn idle_cpu_without(&self, cpu: CpuId, task: TaskId) -> bool {
        let rq = &self.rqs[cpu.index()];
        rq.curr.is_none_or(|curr| curr == task) && !rq.ttwu_pending && !rq.stopper_running
    }

    /// The CPU inside the group; `cpu` if nothing better is found (spec 4 §9.4).
    fn find_dst_group_cpu(&mut self, group: GroupId, task: TaskId, cpu: CpuId) -> CpuId {
        let members = &self.topo.groups[group.index()];
        if members.group_weight == 1 {
            return members.span.first().expect("a group is never empty");
        }
        let idle_policy = self.kernel.placement.idle_policy_cpus != IdlePolicyCpus::Busy;
        let mut least = (cpu, u64::MAX);
        let mut latest: Option<CpuId> = None;
        let mut latest_stamp = 0;
        for i in members.span.iter().filter(|&i| self.tasks[task].allowed.contains(i)) {
            if idle_policy && self.sched_idle_cpu(i) {
                return i;
            }
            if self.idle_cpu(i) {
                if self.rqs[i.index()].idle_stamp > latest_stamp {
                    latest_stamp = self.rqs[i.index()].idle_stamp;
                    latest = Some(i);
                }
            } else if latest.is_none() && self.cpu_load(i) < least.1 {
                least = (i, self.cpu_load(i));
            }
        }
        latest.unwrap_or(least.0)
    }
}

/// Whether a remote group is better than the best remote one so far.
fn replaces(new: &DstStats, best: Option<&DstStats>) -> bool {
    let Some(best) = best else {
        // The placeholder is an overloaded group of the highest load.
        return true;
    };
    if new.kind != best.kind {
        return new.kind < best.kind;
    }
    match new.kind {
        GroupType::Overloaded | GroupType::FullyBusy => new.avg_load < best.avg_load,
        GroupType::HasSpare => {
            new.idle_cpus > best.idle_cpus || (new.idle_cpus == best.idle_cpus && new.util < best.util)
        }
        GroupType::MisfitTask => new.max_capacity > best.max_capacity,
        _ => false,
    }
}

/// Whether the best remote group is better than the local one by enough.
fn leave_local(local: &DstStats, idlest: &DstStats, rules: &DstRules) -> bool {
    if local.kind != idlest.kind {
        return local.kind > idlest.kind;
    }
    match local.kind {
        GroupType::Overloaded | GroupType::FullyBusy => {
            let imbalance = 1024 * (rules.imbalance_pct - 100) / 100;
            !((rules.numa && idlest.avg_load + imbalance >= local.avg_load)
                || idlest.avg_load >= local.avg_load + imbalance
                || 100 * local.avg_load <= rules.imbalance_pct * idlest.avg_load)
        }
        GroupType::HasSpare => {
            if rules.numa && rules.node_spread == NodeSpread::QuarterOfDomain {
                if local.sum_nr_running < rules.span_weight >> 2 {
                    return false;
                }
            } else if rules.numa {
                let difference = local.idle_cpus.abs_diff(idlest.idle_cpus);
                let adjusted =
                    adjust_numa_imbalance(i64::from(difference), local.sum_nr_running + 1, rules.imb_numa_nr);
                if adjusted == 0 {
                    return false;
                }
            }
            local.idle_cpus < idlest.idle_cpus
        }
        GroupType::MisfitTask => local.max_capacity < idlest.max_capacity,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(numa: bool, imb_numa_nr: u32) -> DstRules {
        let node_spread = NodeSpread::Tolerance;
        DstRules { numa, imbalance_pct: 117, imb_numa_nr, span_weight: 16, node_spread }
    }

    fn busy(avg_load: u64) -> DstStats {
        DstStats {
            group: GroupId(0),
            kind: GroupType::FullyBusy,
            avg_load,
            util: 0,
            idle_cpus: 0,
            sum_nr_running: 8,
            max_capacity: 1024,
        }
    }

    fn spare(idle_cpus: u32, sum_nr_running: u32) -> DstStats {
        DstStats { kind: GroupType::HasSpare, idle_cpus, sum_nr_running, ..busy(0) }
    }

    #[test]
    fn a_busy_group_is_left_for_one_that_is_clearly_less_loaded() {
        // Spec 4 §17 V20, V21.
        let rules = rules_of(false, 0);
        assert!(leave_local(&busy(1200), &busy(1000), &rules));
        assert!(!leave_local(&busy(1150), &busy(1000), &rules));
    }

    #[test]
    fn a_node_keeps_a_few_tasks_before_it_spreads_them() {
        // Spec 4 §17 V15 (8 CPUs a node, tolerance 1), V16 and V17 (32 CPUs a node, tolerance 4).
        let rules = |imb_numa_nr| rules_of(true, imb_numa_nr);
        assert!(leave_local(&spare(7, 1), &spare(8, 0), &rules(1)));
        assert!(!leave_local(&spare(31, 1), &spare(32, 0), &rules(4)));
        assert!(leave_local(&spare(29, 3), &spare(32, 0), &rules(4)));
    }
}
