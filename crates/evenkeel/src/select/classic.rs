//! Placement of the oldest kernels: three passes for an idle CPU, and a slow path that compares loads.
//!
//! The slow path prefers a remote group whose queued load is clearly lower (by half of the imbalance percentage), then one
//! whose average load is; a task that wakes or calls exec also goes by spare capacity. With loads of 2048 here and 1024
//! there, per capacity of 1024, and a percentage of 117: 2048 > 1024 + 174, so the task leaves.
//!
//! In the kernel: `find_idlest_group`, `find_idlest_group_cpu`, `select_idle_core`, `select_idle_cpu`, `select_idle_smt` as
//! they were. Specified in spec 4 §18, §18.1 and §8.4.
use super::SelectReason;
use crate::ids::{CpuId, DomainId, GroupId, TaskId};
use crate::mask::CpuMask;
use crate::observe::Observer;
use crate::sched::Sched;
use crate::topology::SdFlags;

/// What the classic slow path knows about a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GroupLoads {
    /// Load of queued tasks per capacity.
    runnable: u64,
    /// Average load per capacity.
    average: u64,
    /// The most that one CPU has to spare.
    spare: u64,
}

/// The thresholds of a domain.
#[derive(Clone, Copy, Debug)]
struct Thresholds {
    /// 100 and half of the imbalance percentage beyond it.
    scale: u64,
    /// The imbalance percentage beyond 100, of a load of 1024.
    imbalance: u64,
    numa: bool,
}

impl Thresholds {
    fn of(imbalance_pct: u32, numa: bool) -> Self {
        let beyond = u64::from(imbalance_pct) - 100;
        Self { scale: 100 + beyond / 2, imbalance: 1024 * beyond / 100, numa }
    }
}

/// The best remote group so far, by each measure.
#[derive(Clone, Copy, Debug)]
struct Best {
    idlest: Option<GroupId>,
    runnable: u64,
    average: u64,
    most_spare: Option<GroupId>,
    spare: u64,
}

impl Best {
    fn none() -> Self {
        Self { idlest: None, runnable: u64::MAX, average: u64::MAX, most_spare: None, spare: 0 }
    }

    fn consider(&mut self, group: GroupId, loads: &GroupLoads, by: &Thresholds) {
        if loads.spare > self.spare {
            self.spare = loads.spare;
            self.most_spare = Some(group);
        }
        if self.runnable > loads.runnable.saturating_add(by.imbalance) {
            *self = Self { idlest: Some(group), runnable: loads.runnable, average: loads.average, ..*self };
        } else if loads.runnable < self.runnable.saturating_add(by.imbalance)
            && self.average.saturating_mul(100) > by.scale * loads.average
        {
            self.average = loads.average;
            self.idlest = Some(group);
        }
    }

    /// The group to go to; none: stay. `task_util` is that of a task that is not new.
    fn decide(&self, local: &GroupLoads, task_util: Option<u64>, by: &Thresholds) -> Option<GroupId> {
        if let Some(util) = task_util {
            if local.spare > util / 2 && by.scale * local.spare > 100 * self.spare {
                return None;
            }
            if self.spare > util / 2 {
                return self.most_spare;
            }
        }
        let idlest = self.idlest?;
        let stay = (by.numa && self.runnable.saturating_add(by.imbalance) >= local.runnable)
            || self.runnable > local.runnable + by.imbalance
            || (local.runnable < self.runnable.saturating_add(by.imbalance)
                && 100 * local.average < by.scale.saturating_mul(self.average));
        (!stay).then_some(idlest)
    }
}

impl<O: Observer> Sched<O> {
    /// The group to go to; none to stay in the group of `cpu`.
    pub(super) fn find_idlest_group(
        &mut self,
        id: DomainId,
        task: TaskId,
        cpu: CpuId,
        fork: bool,
    ) -> Option<GroupId> {
        let domain = &self.topo.domains[id.index()];
        let by = Thresholds::of(domain.imbalance_pct, domain.flags.contains(SdFlags::NUMA));
        let first = domain.groups;
        let mut best = Best::none();
        let mut local = GroupLoads { runnable: u64::MAX / 2, ..GroupLoads::default() };
        let mut group = first;
        loop {
            let members = &self.topo.groups[group.index()];
            let next = members.next;
            if members.span.intersects(&self.tasks[task].allowed) {
                let is_local = members.span.contains(cpu);
                let loads = self.group_loads(group, task);
                if is_local {
                    local = loads;
                } else {
                    best.consider(group, &loads, &by);
                }
            }
            if next == first {
                break;
            }
            group = next;
        }
        let task_util = (!fork).then(|| self.entity(task).avg.util_avg);
        best.decide(&local, task_util, &by)
    }

    fn group_loads(&self, group: GroupId, task: TaskId) -> GroupLoads {
        let members = &self.topo.groups[group.index()];
        let capacity = self.topo.capacities[members.sgc.index()].capacity;
        let mut loads = GroupLoads::default();
        for cpu in members.span.iter() {
            loads.runnable += self.cpu_load(cpu);
            loads.average += self.root(cpu).avg.load_avg;
            let spare = self.capacity_of(cpu).saturating_sub(self.cpu_util_without(cpu, task));
            loads.spare = loads.spare.max(spare);
        }
        loads.runnable = loads.runnable * 1024 / capacity;
        loads.average = loads.average * 1024 / capacity;
        loads
    }

    /// Searches the target's cache: a pass over cores, one over CPUs, one over the target's core.
    pub(super) fn select_idle_passes(
        &mut self,
        this: CpuId,
        task: TaskId,
        llc: DomainId,
        target: CpuId,
    ) -> Option<(CpuId, SelectReason)> {
        let mut cpus = core::mem::replace(&mut self.scratch.select, CpuMask::new(0));
        let core = self.idle_core_pass(task, llc, target, &mut cpus);
        self.scratch.select = cpus;
        if let Some(cpu) = core {
            return Some((cpu, SelectReason::IdleCore));
        }
        if let Some(cpu) = self.idle_cpu_pass(this, task, llc, target) {
            return Some((cpu, SelectReason::IdleCpu));
        }
        let allowed = &self.tasks[task].allowed;
        self.topo.smt[target.index()]
            .iter()
            .find(|&cpu| allowed.contains(cpu) && self.idle_cpu(cpu))
            .map(|cpu| (cpu, SelectReason::IdleSibling))
    }

    fn idle_core_pass(
        &mut self,
        task: TaskId,
        llc: DomainId,
        target: CpuId,
        cpus: &mut CpuMask,
    ) -> Option<CpuId> {
        if !self.topo.smt_active || !self.has_idle_cores(target) {
            return None;
        }
        cpus.copy_from(&self.topo.domains[llc.index()].span);
        cpus.and_assign(&self.tasks[task].allowed);
        while let Some(cpu) = cpus.next_from(target).or_else(|| cpus.first()) {
            let siblings = &self.topo.smt[cpu.index()];
            if siblings.iter().all(|thread| self.idle_cpu(thread)) {
                return Some(cpu);
            }
            cpus.and_not_assign(siblings);
        }
        self.forget_idle_cores(target);
        None
    }

    fn idle_cpu_pass(&mut self, this: CpuId, task: TaskId, llc: DomainId, target: CpuId) -> Option<CpuId> {
        let mut left = self.scan_limit_by_idle_time(this, llc)?;
        let span = self.topo.domains[llc.index()].span.clone();
        let mut looked = 0;
        for cpu in span.iter_wrap(target) {
            left -= 1;
            if left == 0 {
                return None;
            }
            looked += 1;
            if self.tasks[task].allowed.contains(cpu) && self.idle_cpu(cpu) {
                self.account_scan(this, looked);
                return Some(cpu);
            }
        }
        self.account_scan(this, looked);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Thresholds = Thresholds { scale: 108, imbalance: 174, numa: false };

    fn loads(runnable: u64, average: u64, spare: u64) -> GroupLoads {
        GroupLoads { runnable, average, spare }
    }

    fn decide(local: GroupLoads, remote: GroupLoads, util: Option<u64>) -> bool {
        let mut best = Best::none();
        best.consider(GroupId(1), &remote, &BY);
        best.decide(&local, util, &BY).is_some()
    }

    #[test]
    fn thresholds_come_from_the_percentage() {
        let by = Thresholds::of(117, false);
        assert_eq!((by.scale, by.imbalance), (108, 174));
        let by = Thresholds::of(125, true);
        assert_eq!((by.scale, by.imbalance), (112, 256));
    }

    #[test]
    fn a_new_task_leaves_for_clearly_less_load() {
        assert!(decide(loads(2048, 2048, 0), loads(1024, 1024, 0), None));
        assert!(!decide(loads(1100, 1000, 0), loads(1024, 1000, 0), None), "not clearly less");
        // Within the margin of queued load, the average decides: 100 * 1200 < 108 * 1000 is false.
        assert!(decide(loads(1100, 1200, 0), loads(1024, 1000, 0), None));
    }

    #[test]
    fn spare_capacity_decides_for_others() {
        assert!(!decide(loads(2048, 2048, 600), loads(0, 0, 640), Some(400)), "108 * 600 > 100 * 640");
        assert!(decide(loads(0, 0, 100), loads(0, 0, 900), Some(400)));
    }
}
