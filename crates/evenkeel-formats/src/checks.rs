//! What can be said about a workload without running it: faults that make it impossible or pointless.
//!
//! | finding | is |
//! |---|---|
//! | no task starts | an error |
//! | a loop repeats forever (or a million times) and takes no time | an error: a simulator would never come back |
//! | tasks that fork each other in a circle before any of them takes time | an error, for the same reason |
//! | a change of a task group that nobody declares or uses, or of the weight of one of the idle kind | an error |
//! | a task in a group that is not declared although others are | a warning |
//! | a CPU the machine does not have | an error ([`check_against`]) |
//! | a task waits for something that nobody ever does | a warning ([`unmatched_waits`]; the scenario reader refuses it) |
//! | a barrier that opens at the first arrival, or asks for more arrivals than there are tasks | a warning |
//!
//! Whether a run ever ends is a question, not a fault: [`ends_by_itself`]. Left out: deadlocks, and what the
//! simulator cannot do (it says so itself).
use crate::diagnostic::{InputError, Warning};
use crate::tree::shorten;
use evenkeel::workload::{
    Attributes, Change, ObjectId, ObjectKind, Op, Origin, Repeat, TaskSpec, Workload, timeless_loop,
};
use std::collections::{BTreeMap, BTreeSet};

/// The checks that need nothing but the workload: an error if it cannot run, warnings if it can but looks wrong.
pub fn check(workload: &Workload) -> Result<Vec<Warning>, InputError> {
    if workload.tasks.iter().all(|task| task.instances == 0) {
        let origin = workload.tasks.first().and_then(|task| task.origin);
        return Err(InputError::in_workload(
            workload,
            origin,
            "no task ever starts",
            "at least one instance",
        ));
    }
    for task in &workload.tasks {
        check_takes_time(workload, task)?;
    }
    check_forks(workload)?;
    check_group_changes(workload)?;
    let mut warnings = barrier_warnings(workload);
    warnings.extend(undeclared_groups(workload));
    Ok(warnings)
}

/// The groups that tasks name, with the first place.
fn used_groups(workload: &Workload) -> BTreeMap<&str, Option<Origin>> {
    let mut named: Vec<(&Attributes, Option<Origin>)> = Vec::new();
    for task in &workload.tasks {
        named.push((&task.attributes, task.origin));
        for phase in &task.program.phases {
            named.push((&phase.attributes, phase.origin));
            named.extend(phase.ops.iter().enumerate().filter_map(|(index, op)| match op {
                Op::Set(attributes) | Op::SetOf { attributes, .. } => {
                    Some((attributes, phase.op_origin(index)))
                }
                _ => None,
            }));
        }
    }
    named.extend(workload.timeline.iter().filter_map(|entry| match &entry.change {
        Change::SetAttributes { attributes, .. } => Some((attributes, entry.origin)),
        _ => None,
    }));
    let mut used = BTreeMap::new();
    for (attributes, origin) in named {
        if let Some(path) = &attributes.group {
            used.entry(path.as_str()).or_insert(origin);
        }
    }
    used
}

/// Whether `path` is `above`, or a group in it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Refuses changes of groups that do not exist, and of the weight of those that have none.
fn check_group_changes(workload: &Workload) -> Result<(), InputError> {
    let used = used_groups(workload);
    for entry in &workload.timeline {
        let Change::SetGroup { path, settings } = &entry.change else { continue };
        let declared = workload.groups.iter().find(|group| is_within(&group.path, path));
        if declared.is_none() && !used.keys().any(|used| is_within(used, path)) {
            let known = workload.groups.iter().map(|group| group.path.as_str()).chain(used.keys().copied());
            let error = InputError::in_workload(
                workload,
                entry.origin,
                format!("there is no group `{}`", shorten(path)),
                "a group that is declared, or that a task is in",
            );
            return Err(error.suggest(path, known));
        }
        let is_idle =
            workload.groups.iter().any(|group| group.path == *path && group.settings.idle == Some(true));
        if is_idle && settings.share.is_some() {
            let found = format!("group `{}` is of the idle kind and has no weight", shorten(path));
            return Err(InputError::in_workload(workload, entry.origin, found, "a change of its limit"));
        }
    }
    Ok(())
}

/// Groups that tasks name and nobody declares, if groups are declared at all: often a misspelt name.
fn undeclared_groups(workload: &Workload) -> Vec<Warning> {
    if workload.groups.is_empty() {
        return Vec::new();
    }
    let declared = |path: &str| workload.groups.iter().any(|group| is_within(&group.path, path));
    let undeclared = used_groups(workload).into_iter().filter(|(path, _)| *path != "/" && !declared(path));
    undeclared
        .map(|(path, origin)| {
            let message = format!("group `{}` is not declared", shorten(path));
            Warning::in_workload(workload, origin, message, "it has the default weight and no limit")
        })
        .collect()
}

fn check_takes_time(workload: &Workload, task: &TaskSpec) -> Result<(), InputError> {
    let Some(phase_index) = timeless_loop(&task.program) else { return Ok(()) };
    let phase = phase_index.map(|index| &task.program.phases[index]);
    let found = match phase {
        Some(phase) if !phase.name.is_empty() => {
            format!("phase `{}` of task `{}` repeats without ever taking time", phase.name, task.name)
        }
        _ => format!("task `{}` repeats without ever taking time", task.name),
    };
    let origin = phase.and_then(|phase| phase.origin).or(task.origin);
    let expected = "an operation that runs, sleeps or waits in the loop";
    Err(InputError::in_workload(workload, origin, found, expected))
}

/// Refuses definitions whose forks lead back to themselves before time has passed: one instance would become
/// endlessly many in the same instant.
fn check_forks(workload: &Workload) -> Result<(), InputError> {
    let at_once: Vec<_> = workload.tasks.iter().map(forks_at_once).collect();
    for start in running_tasks(workload) {
        let mut pending = vec![start];
        let mut seen = BTreeSet::new();
        while let Some(index) = pending.pop() {
            for &(child, origin) in &at_once[index] {
                if child == start {
                    let name = &workload.tasks[start].name;
                    let found = format!("task `{name}` is forked again and again without time passing");
                    return Err(InputError::in_workload(workload, origin, found, "work before the fork"));
                }
                if seen.insert(child) {
                    pending.push(child);
                }
            }
        }
    }
    Ok(())
}

/// The definitions a new instance forks before its first operation that takes time, and where.
fn forks_at_once(task: &TaskSpec) -> Vec<(usize, Option<Origin>)> {
    let mut forks = Vec::new();
    for phase in task.program.phases.iter().filter(|phase| phase.repeat != Repeat::Times(0)) {
        for (index, op) in phase.ops.iter().enumerate() {
            match op {
                _ if op.takes_time() => return forks,
                // A row of equal forks says no more than one.
                Op::Fork(spec) if forks.last().is_none_or(|&(last, _)| last != spec.0 as usize) => {
                    forks.push((spec.0 as usize, phase.op_origin(index)));
                }
                _ => {}
            }
        }
    }
    forks
}

/// Refuses CPUs beyond the machine's `ncpus`: in affinities, in the timeline, and as the CPU a task starts from.
pub fn check_against(workload: &Workload, ncpus: u32) -> Result<(), InputError> {
    let check_attributes = |attributes: &Attributes, origin: Option<Origin>| {
        let beyond = attributes.affinity.iter().flatten().find(|&&cpu| cpu >= ncpus);
        beyond.map_or(Ok(()), |&cpu| Err(beyond_machine(workload, cpu, ncpus, origin)))
    };
    for task in &workload.tasks {
        check_attributes(&task.attributes, task.origin)?;
        if task.start_cpu >= ncpus {
            return Err(beyond_machine(workload, task.start_cpu, ncpus, task.origin));
        }
        for phase in &task.program.phases {
            check_attributes(&phase.attributes, phase.origin)?;
            for (index, op) in phase.ops.iter().enumerate() {
                if let Op::Set(attributes) | Op::SetOf { attributes, .. } = op {
                    check_attributes(attributes, phase.op_origin(index))?;
                }
            }
        }
    }
    for source in &workload.interrupts {
        if let Some(&cpu) = source.cpus.iter().find(|&&cpu| cpu >= ncpus) {
            return Err(beyond_machine(workload, cpu, ncpus, source.origin));
        }
    }
    let check_cpus = |cpus: &[u32], origin| match cpus.iter().find(|&&cpu| cpu >= ncpus) {
        Some(&cpu) => Err(beyond_machine(workload, cpu, ncpus, origin)),
        None => Ok(()),
    };
    for entry in &workload.timeline {
        match &entry.change {
            Change::SetAttributes { attributes, .. } => check_attributes(attributes, entry.origin)?,
            Change::Hotplug { cpus, .. } => check_cpus(cpus, entry.origin)?,
            Change::Partitions { sets, isolated } => {
                for cpus in sets.iter().chain([isolated]) {
                    check_cpus(cpus, entry.origin)?;
                }
            }
            Change::SetGroup { .. } | Change::Tune(_) | Change::Domain { .. } => {}
        }
    }
    Ok(())
}

fn beyond_machine(workload: &Workload, cpu: u32, ncpus: u32, origin: Option<Origin>) -> InputError {
    let expected = match ncpus {
        1 => "CPU 0, the only one of this machine".to_owned(),
        _ => format!("CPUs 0-{} of this machine", ncpus.saturating_sub(1)),
    };
    InputError::in_workload(workload, origin, format!("CPU {cpu} does not exist"), expected)
}

/// Whether a run of the workload comes to an end without being told how long to last.
///
/// True if it has a duration, or if no task that starts or may be forked repeats anything forever. A task that
/// waits forever for somebody else is not seen.
pub fn ends_by_itself(workload: &Workload) -> bool {
    if workload.duration.is_some() {
        return true;
    }
    let is_endless = |task: &TaskSpec| {
        let program = &task.program;
        program.repeat == Repeat::Forever
            || program.phases.iter().any(|phase| phase.repeat == Repeat::Forever)
    };
    !running_tasks(workload).into_iter().any(|index| is_endless(&workload.tasks[index]))
}

/// Indices of the definitions that start or that a running one forks.
fn running_tasks(workload: &Workload) -> BTreeSet<usize> {
    let starts = |&index: &usize| workload.tasks[index].instances > 0;
    let mut pending: Vec<usize> = (0..workload.tasks.len()).filter(starts).collect();
    let mut running = BTreeSet::new();
    while let Some(index) = pending.pop() {
        if running.insert(index) {
            let ops = workload.tasks[index].program.phases.iter().flat_map(|phase| &phase.ops);
            pending.extend(ops.filter_map(|op| match op {
                Op::Fork(spec) => Some(spec.0 as usize),
                _ => None,
            }));
        }
    }
    running
}

/// A wait that nothing in the workload ever ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmatchedWait {
    /// What is waited for.
    pub object: ObjectId,
    /// Where the first such wait was written.
    pub origin: Option<Origin>,
    /// What nobody does: `signal`, `lock`, `send` or `post`.
    pub missing: &'static str,
}

/// Waits for conditions nobody signals, channels nobody sends to, semaphores nobody posts, and unlocks of
/// mutexes nobody locks; one per object, in order of first use.
pub fn unmatched_waits(workload: &Workload) -> Vec<UnmatchedWait> {
    let located = || {
        let phases = workload.tasks.iter().flat_map(|task| &task.program.phases);
        phases.flat_map(|phase| phase.ops.iter().enumerate().map(|(i, op)| (op, phase.op_origin(i))))
    };
    let given: BTreeSet<ObjectId> = located().filter_map(|(op, _)| gives(op)).collect();
    let initially = |id: ObjectId| {
        let object = workload.objects.get(id.0 as usize);
        matches!(object.map(|object| object.kind), Some(ObjectKind::Semaphore { initial }) if initial > 0)
    };
    let mut seen = BTreeSet::new();
    located()
        .filter_map(|(op, origin)| {
            awaits(op).map(|(object, missing)| UnmatchedWait { object, origin, missing })
        })
        .filter(|wait| !given.contains(&wait.object) && !initially(wait.object) && seen.insert(wait.object))
        .collect()
}

fn gives(op: &Op) -> Option<ObjectId> {
    match *op {
        Op::Signal(id) | Op::Broadcast(id) | Op::SemPost(id) | Op::Lock(id) => Some(id),
        Op::SignalAndWait { condition, .. } => Some(condition),
        Op::Send { channel, .. } => Some(channel),
        _ => None,
    }
}

fn awaits(op: &Op) -> Option<(ObjectId, &'static str)> {
    match *op {
        Op::Wait { condition, .. } => Some((condition, "signal")),
        Op::SemWait(id) => Some((id, "post")),
        Op::Receive(id) => Some((id, "send")),
        Op::Unlock(id) => Some((id, "lock")),
        _ => None,
    }
}

/// Barriers that cannot do what their author meant.
fn barrier_warnings(workload: &Workload) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (index, object) in workload.objects.iter().enumerate() {
        let ObjectKind::Barrier { parties } = object.kind else { continue };
        let id = ObjectId(u32::try_from(index).unwrap_or(u32::MAX));
        let users = users_of_barrier(workload, id);
        let Some(&(_, origin, _)) = users.first() else { continue };
        let name = &object.name;
        if parties < 2 {
            let message = format!("barrier `{name}` is opened by one arrival");
            warnings.push(Warning::in_workload(workload, origin, message, "nobody ever waits here"));
        }
        let may_fork = users.iter().any(|&(_, _, forked)| forked);
        let arrivers: u64 = users.iter().map(|&(instances, _, _)| u64::from(instances)).sum();
        if !may_fork && u64::from(parties) > arrivers {
            let come = if arrivers == 1 { "task comes" } else { "tasks come" };
            let message =
                format!("barrier `{name}` needs {parties} arrivals but only {arrivers} {come} to it");
            warnings.push(Warning::in_workload(workload, origin, message, "it may never open"));
        }
    }
    warnings
}

/// The definitions that arrive at a barrier: instances, where, and whether instances may be forked.
fn users_of_barrier(workload: &Workload, id: ObjectId) -> Vec<(u32, Option<Origin>, bool)> {
    let is_forked = |index: usize| {
        let mut ops =
            workload.tasks.iter().flat_map(|task| &task.program.phases).flat_map(|phase| &phase.ops);
        ops.any(|op| matches!(op, Op::Fork(spec) if spec.0 as usize == index))
    };
    let arrival = |(index, task): (usize, &TaskSpec)| {
        let in_phase = task.program.phases.iter().find_map(|phase| {
            let at = phase.ops.iter().position(|op| *op == Op::Barrier(id))?;
            Some(phase.op_origin(at))
        })?;
        Some((task.instances, in_phase, is_forked(index)))
    };
    workload.tasks.iter().enumerate().filter_map(arrival).collect()
}
