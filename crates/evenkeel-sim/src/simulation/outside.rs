//! Changes from outside at given times: attributes of tasks, settings of groups, tunables, features, values of domains,
//! CPUs that come and go, partitions.
//!
//! Names are resolved before the run: a level that the machine does not have, a feature that the kernel does not know, a
//! CPU that does not exist or is the last one online is refused with its place. What an administrator does with a file is
//! done from an interrupt on the first online CPU, at the instant that was asked for, in the order of the workload.
//!
//! A CPU that goes offline first serves what is on its way to it. Its tasks go elsewhere; those that may run nowhere else
//! may run everywhere from then on. The machine's own threads of that CPU are bound to it again when it comes back.
use super::{Core, Doing, Simulation};
use crate::error::{Blame, SimError};
use crate::groups::Groups;
use crate::params::StopTick;
use crate::program::{Change, resolve};
use crate::timers::{KINDS, Kind, Timer};
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Input, IpiKind};
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::time::{MS, Ns};
use evenkeel::topology::cpuset::{PartitionRoot, partitions_v2};
use evenkeel::topology::{Machine, Partition};
use evenkeel::tune::Tune;
use evenkeel::workload::{Change as TimelineChange, GroupSettings, Workload};

/// A change that is ready to be made.
#[derive(Clone, Debug)]
pub(super) enum Timed {
    /// Of every living instance of a definition.
    Task(u32, Change),
    /// Of a task group.
    Group(TgId, GroupSettings),
    /// Of the kernel.
    Tune(Tune),
    /// Of the CPUs that are online.
    Hotplug(Vec<CpuId>, bool),
    /// Of the partitions.
    Partitions(Option<Vec<Partition>>),
}

/// What changes are checked against.
struct Compiler<'a, O: Observer> {
    machine: &'a Machine,
    sched: &'a Core<O>,
    /// The CPUs online when the next change is made.
    online: CpuMask,
}

/// Resolves the changes from outside, in order of time. `in_turn`: only one CPU at a time executes.
pub(super) fn compile_timeline<O: Observer>(
    workload: &Workload,
    machine: &Machine,
    groups: &Groups,
    sched: &Core<O>,
    in_turn: bool,
) -> Result<Vec<(Ns, Timed)>, SimError> {
    let mut entries: Vec<_> = workload.timeline.iter().collect();
    entries.sort_by_key(|entry| entry.at);
    let online = machine.online();
    let mut compiler = Compiler { machine, sched, online };
    let mut all = Vec::new();
    for entry in entries {
        let blame = Blame { workload, task: "(timeline)" };
        let invalid = |what: String| SimError::InvalidChange { what, place: blame.place(entry.origin) };
        let timed = match &entry.change {
            TimelineChange::SetAttributes { task, attributes } => {
                let Some(spec) = workload.tasks.get(task.0 as usize) else {
                    return Err(invalid("it changes a task that is not defined".to_owned()));
                };
                let change = resolve(workload, machine, groups, spec, attributes, entry.origin)?;
                compiler.check_affinity(&change).map_err(invalid)?;
                Timed::Task(task.0, change)
            }
            TimelineChange::SetGroup { path, settings } => {
                let group = groups.find(path).expect("groups that are changed exist");
                groups.check_change(group, settings, blame, entry.origin)?;
                Timed::Group(group, *settings)
            }
            TimelineChange::Hotplug { .. } if in_turn => {
                let what = "CPUs that come and go on a machine whose CPUs execute in turn";
                return Err(blame.unsupported(entry.origin, what));
            }
            TimelineChange::Hotplug { cpus, online } => {
                compiler.hotplug(cpus, *online, entry.at).map_err(invalid)?
            }
            other => compiler.kernel(other).map_err(invalid)?,
        };
        all.push((entry.at, timed));
    }
    Ok(all)
}

impl<O: Observer> Compiler<'_, O> {
    fn check_affinity(&self, change: &Change) -> Result<(), String> {
        match &change.allowed {
            Some(allowed) if !allowed.intersects(&self.online) => {
                Err(format!("no CPU of its affinity {allowed} is online then, only {}", self.online))
            }
            _ => Ok(()),
        }
    }

    fn known(&self, cpus: &[u32]) -> Result<CpuMask, String> {
        let ncpus = self.machine.nr_cpus();
        if let Some(cpu) = cpus.iter().find(|&&cpu| cpu as usize >= ncpus) {
            return Err(format!("there is no CPU {cpu}: the machine has CPUs 0-{}", ncpus - 1));
        }
        Ok(CpuMask::from_cpus(ncpus, cpus.iter().copied().map(CpuId)))
    }

    fn hotplug(&mut self, cpus: &[u32], online: bool, at: Ns) -> Result<Timed, String> {
        let wanted = self.known(cpus)?;
        for cpu in wanted.iter() {
            if self.online.contains(cpu) == online {
                let state = if online { "online" } else { "offline" };
                return Err(format!("CPU {cpu} is {state} already at {} ms", at / MS));
            }
        }
        if online {
            self.online.or_assign(&wanted);
        } else {
            self.online.and_not_assign(&wanted);
        }
        if self.online.is_empty() {
            let name = if wanted.weight() == 1 { "CPU" } else { "CPUs" };
            return Err(format!("{name} {wanted} cannot go offline: the last online CPU has to stay"));
        }
        Ok(Timed::Hotplug(wanted.iter().collect(), online))
    }

    /// What concerns the whole kernel.
    fn kernel(&self, change: &TimelineChange) -> Result<Timed, String> {
        Ok(match change {
            TimelineChange::Tune(tune) => Timed::Tune(checked(*tune, self.sched)?),
            TimelineChange::Domain { level, knob, value } => {
                let levels = self.sched.level_names();
                let known = |wanted: &String| levels.iter().copied().find(|name| name == wanted);
                let level = match level {
                    None => None,
                    Some(wanted) => Some(known(wanted).ok_or_else(|| {
                        format!("there is no level {wanted} here, only {}", levels.join(", "))
                    })?),
                };
                Timed::Tune(Tune::Domain { level, knob: *knob, value: *value })
            }
            TimelineChange::Partitions { sets, isolated } => self.partitions(sets, isolated)?,
            TimelineChange::SetAttributes { .. }
            | TimelineChange::SetGroup { .. }
            | TimelineChange::Hotplug { .. } => unreachable!("they do not concern the whole kernel"),
        })
    }

    fn partitions(&self, sets: &[Vec<u32>], isolated: &[u32]) -> Result<Timed, String> {
        if sets.is_empty() && isolated.is_empty() {
            return Ok(Timed::Partitions(None));
        }
        let mut available = CpuMask::all(self.machine.nr_cpus());
        available.and_not_assign(&self.machine.isolated);
        let mut roots: Vec<PartitionRoot> = Vec::new();
        let isolated = (!isolated.is_empty()).then_some((isolated, true));
        for (cpus, isolated) in sets.iter().map(|set| (&set[..], false)).chain(isolated) {
            let cpus = self.known(cpus)?;
            if let Some(cpu) = cpus.first_and(&self.machine.isolated) {
                return Err(format!("CPU {cpu} is isolated since boot and in no partition"));
            }
            if let Some(cpu) = roots.iter().find_map(|root| root.cpus.first_and(&cpus)) {
                return Err(format!("CPU {cpu} is in two partitions"));
            }
            roots.push(PartitionRoot { cpus, isolated });
        }
        Ok(Timed::Partitions(Some(partitions_v2(&available, &roots))))
    }
}

/// A change of the kernel, if it has what is to be changed.
fn checked<O: Observer>(tune: Tune, sched: &Core<O>) -> Result<Tune, String> {
    let kernel = sched.kernel();
    match tune {
        Tune::Feature { feature, .. } if !kernel.features_known.contains(feature) => {
            let name = feature.iter_names().next().map_or("?", |(name, _)| name);
            Err(format!("{} does not have the feature {name}", kernel.build))
        }
        Tune::Feature { feature, .. } if kernel.features_refused().contains(feature) => {
            let name = feature.iter_names().next().map_or("?", |(name, _)| name);
            Err(format!("what the feature {name} switches in {} is not modelled", kernel.build))
        }
        Tune::BaseSlice { .. } if kernel.tunables.cfs.is_some() => {
            Err(format!("{} has no base_slice_ns", kernel.build))
        }
        Tune::Domain { .. } | Tune::Shares { .. } => {
            Err("levels and groups are named by their own kinds of change".to_owned())
        }
        _ => Ok(tune),
    }
}

/// What is on its way to a CPU and is served before it goes, in this order.
const SERVED: [Kind; 5] = [Kind::WakeList, Kind::NohzKick, Kind::Unthrottle, Kind::Softirq, Kind::Stopper];

impl<O: Observer> Simulation<O> {
    /// Makes the changes that are due.
    pub(super) fn change_from_outside(&mut self) {
        self.input(Input::Outside { begins: true });
        while let Some((at, change)) = self.timeline.get(self.timeline_at).cloned() {
            if at > self.now {
                self.timers.arm(Timer::Timeline, at);
                break;
            }
            self.timeline_at += 1;
            match change {
                Timed::Task(spec, change) => self.change_instances(self.outside_cpu(), spec, &change),
                Timed::Group(group, settings) => self.change_group(group, &settings),
                Timed::Tune(tune) => self.input(Input::Tune { tune }),
                Timed::Hotplug(cpus, online) => {
                    cpus.into_iter().for_each(|cpu| self.hotplug(cpu, online));
                }
                Timed::Partitions(partitions) => self.input(Input::SetPartitions { partitions }),
            }
        }
        self.input(Input::Outside { begins: false });
    }

    /// The CPU on which changes from outside are made.
    fn outside_cpu(&self) -> CpuId {
        self.sched.online().first().expect("some CPU is online")
    }

    /// Code on `cpu` changes every living instance of a definition.
    pub(super) fn change_instances(&mut self, cpu: CpuId, spec: u32, change: &Change) {
        for index in 0..self.instances.len() {
            let instance = &self.instances[index];
            if instance.spec == spec && instance.doing != Doing::Dead {
                self.change(cpu, TaskId::from_index(index), change);
            }
        }
    }

    fn change_group(&mut self, group: TgId, settings: &GroupSettings) {
        if let Some(share) = settings.share {
            let shares = share.full_resolution();
            self.meters.shares[group.index()].set(self.now, shares);
            self.input(Input::SetShares { group, shares });
        }
        let limited = self.sched.groups()[group.index()].pool.is_some();
        if let Some(bandwidth) = settings.bandwidth.filter(|limit| limited || limit.quota.is_some()) {
            self.input(Input::SetBandwidth { group, bandwidth });
        }
    }

    fn hotplug(&mut self, cpu: CpuId, online: bool) {
        if online {
            self.meters.set_online(self.now, cpu, true);
            self.input(Input::Hotplug { cpu, online });
            if self.params.stop_tick == StopTick::Never {
                self.start_tick(cpu);
            }
            self.rebind_threads(cpu);
            return;
        }
        for kind in SERVED {
            let timer = Timer::Cpu(kind, cpu);
            if self.timers.armed(timer).is_some() {
                self.timers.cancel(timer);
                self.input(match kind {
                    Kind::WakeList => Input::Ipi { cpu, kind: IpiKind::WakeList },
                    Kind::NohzKick => Input::Ipi { cpu, kind: IpiKind::NohzKick },
                    Kind::Unthrottle => Input::Ipi { cpu, kind: IpiKind::Unthrottle },
                    Kind::Softirq => Input::Softirq { cpu },
                    _ => Input::StopperRun { cpu },
                });
            }
        }
        self.input(Input::Hotplug { cpu, online });
        // All but the timer of limits: a deadline task that sleeps may wait there for its next period.
        for kind in KINDS.into_iter().filter(|&kind| kind != Kind::LimitTimer) {
            self.timers.cancel(Timer::Cpu(kind, cpu));
        }
        self.meters.set_online(self.now, cpu, false);
    }

    /// The machine's own threads of `cpu`, which may have run elsewhere meanwhile, are bound to it again.
    fn rebind_threads(&mut self, cpu: CpuId) {
        for index in 0..self.instances.len() {
            let spec = self.instances[index].spec as usize;
            let is_thread = (self.own..self.workload.tasks.len()).contains(&spec);
            let initial = &self.programs.initial[spec].allowed;
            let is_its_own = |allowed: &CpuMask| allowed.weight() == 1 && allowed.contains(cpu);
            if is_thread && initial.as_ref().is_some_and(|allowed| is_its_own(allowed)) {
                let change = Change { allowed: initial.clone(), ..Change::default() };
                self.change(self.outside_cpu(), TaskId::from_index(index), &change);
            }
        }
    }
}
