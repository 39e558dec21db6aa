//! Changes from outside at given times: attributes of tasks, settings of groups, tunables, features, values of domains.
//!
//! Names are resolved before the run: a level that the machine does not have or a feature that the kernel does not know is
//! refused with its place. What an administrator does with a file is done from an interrupt on CPU 0, at the instant that
//! was asked for, in the order of the workload.
use super::{Core, Doing, Simulation};
use crate::error::{Blame, SimError};
use crate::groups::Groups;
use crate::program::{Change, resolve};
use crate::timers::Timer;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::Input;
use evenkeel::observe::Observer;
use evenkeel::time::Ns;
use evenkeel::topology::Machine;
use evenkeel::tune::Tune;
use evenkeel::workload::{Change as TimelineChange, GroupSettings, TimelineEntry, Workload};

/// A change that is ready to be made.
#[derive(Clone, Debug)]
pub(super) enum Timed {
    /// Of every living instance of a definition.
    Task(u32, Change),
    /// Of a task group.
    Group(TgId, GroupSettings),
    /// Of the kernel.
    Tune(Tune),
}

/// Resolves the changes from outside, in order of time.
pub(super) fn compile_timeline<O: Observer>(
    workload: &Workload,
    machine: &Machine,
    groups: &Groups,
    sched: &Core<O>,
) -> Result<Vec<(Ns, Timed)>, SimError> {
    let mut all = Vec::new();
    for entry in &workload.timeline {
        all.push((entry.at, compile(workload, machine, groups, sched, entry)?));
    }
    all.sort_by_key(|&(at, _)| at);
    Ok(all)
}

fn compile<O: Observer>(
    workload: &Workload,
    machine: &Machine,
    groups: &Groups,
    sched: &Core<O>,
    entry: &TimelineEntry,
) -> Result<Timed, SimError> {
    let blame = Blame { workload, task: "(timeline)" };
    let invalid = |what: String| SimError::InvalidChange { what, place: blame.place(entry.origin) };
    Ok(match &entry.change {
        TimelineChange::SetAttributes { task, attributes } => {
            let Some(spec) = workload.tasks.get(task.0 as usize) else {
                return Err(invalid("it changes a task that is not defined".to_owned()));
            };
            Timed::Task(task.0, resolve(workload, machine, groups, spec, attributes, entry.origin)?)
        }
        TimelineChange::SetGroup { path, settings } => {
            let group = groups.find(path).expect("groups that are changed exist");
            groups.check_change(group, settings, blame, entry.origin)?;
            Timed::Group(group, *settings)
        }
        TimelineChange::Tune(tune) => Timed::Tune(checked(*tune, sched).map_err(invalid)?),
        TimelineChange::Domain { level, knob, value } => {
            let levels = sched.level_names();
            let known = |wanted: &String| levels.iter().copied().find(|name| name == wanted);
            let level = match level {
                None => None,
                Some(wanted) => Some(known(wanted).ok_or_else(|| {
                    invalid(format!("there is no level {wanted} here, only {}", levels.join(", ")))
                })?),
            };
            Timed::Tune(Tune::Domain { level, knob: *knob, value: *value })
        }
    })
}

/// A change of the kernel, if it has what is to be changed.
fn checked<O: Observer>(tune: Tune, sched: &Core<O>) -> Result<Tune, String> {
    let kernel = sched.kernel();
    match tune {
        Tune::Feature { feature, .. } if !kernel.features_known.contains(feature) => {
            let name = feature.iter_names().next().map_or("?", |(name, _)| name);
            Err(format!("{} does not have the feature {name}", kernel.build))
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

impl<O: Observer> Simulation<O> {
    /// Makes the changes that are due.
    pub(super) fn change_from_outside(&mut self) {
        while let Some((at, change)) = self.timeline.get(self.timeline_at).cloned() {
            if at > self.now {
                self.timers.arm(Timer::Timeline, at);
                break;
            }
            self.timeline_at += 1;
            match change {
                Timed::Task(spec, change) => self.change_instances(spec, &change),
                Timed::Group(group, settings) => self.change_group(group, &settings),
                Timed::Tune(tune) => self.input(Input::Tune { tune }),
            }
        }
    }

    fn change_instances(&mut self, spec: u32, change: &Change) {
        for index in 0..self.instances.len() {
            let instance = &self.instances[index];
            if instance.spec == spec && instance.doing != Doing::Dead {
                self.change(CpuId(0), TaskId::from_index(index), change);
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
}
