//! Which task groups a run has: those that are declared, those that tasks name, those on the way to them, and one for
//! each session if sessions are grouped.
//!
//! They are all created at the start, parents before children, so their numbers are known while programs are compiled.
use crate::error::{Blame, SimError};
use evenkeel::group::DEFAULT_SHARES;
use evenkeel::ids::TgId;
use evenkeel::kernel::Kernel;
use evenkeel::workload::{
    Attributes, Bandwidth, Change, GroupSettings, Op, Origin, TaskSpec, Workload, group_path,
};

/// A group to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its path.
    pub(crate) path: String,
    /// The group above; none for the root group.
    pub(crate) parent: Option<TgId>,
    /// Full-resolution shares.
    pub(crate) shares: u64,
    /// Of the idle kind.
    pub(crate) idle: bool,
    /// Its limit, if it has one.
    pub(crate) bandwidth: Option<Bandwidth>,
}

/// The groups of a run by number; number 0 is the root group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) all: Vec<Group>,
    /// The group of each definition's session, if sessions are grouped.
    sessions: Vec<TgId>,
}

impl Groups {
    /// The groups of `workload`: first those declared, in order, then those only named.
    pub(crate) fn new(workload: &Workload) -> Result<Self, SimError> {
        let root =
            Group { path: "/".into(), parent: None, shares: DEFAULT_SHARES, idle: false, bandwidth: None };
        let mut groups = Self { all: vec![root], sessions: Vec::new() };
        for spec in &workload.groups {
            let blame = Blame { workload, task: "(groups)" };
            let id = groups.add(&spec.path).ok_or_else(|| bad_path(blame, &spec.path, spec.origin))?;
            if id == TgId(0) {
                return Err(blame.invalid(spec.origin, "the root group cannot be declared"));
            }
            groups.apply(id, &spec.settings, blame, spec.origin)?;
        }
        for spec in &workload.tasks {
            let blame = Blame { workload, task: &spec.name };
            for (attributes, origin) in attributes_of(spec) {
                groups.name(attributes, blame, origin)?;
            }
        }
        for entry in &workload.timeline {
            let blame = Blame { workload, task: "(timeline)" };
            match &entry.change {
                Change::SetAttributes { attributes, .. } => groups.name(attributes, blame, entry.origin)?,
                Change::SetGroup { path, .. } => {
                    groups.find(path).ok_or_else(|| {
                        blame.invalid(
                            entry.origin,
                            format!("it changes the group `{path}`, which does not exist"),
                        )
                    })?;
                }
                Change::Tune(_)
                | Change::Domain { .. }
                | Change::Hotplug { .. }
                | Change::Partitions { .. } => {}
            }
        }
        if workload.autogroup {
            for number in 1..=workload.tasks.len() {
                let session = groups.add(&format!("/autogroup-{number}")).expect("a path");
                groups.sessions.push(session);
            }
        }
        Ok(groups)
    }

    /// The group of this path.
    pub(crate) fn find(&self, path: &str) -> Option<TgId> {
        let path = format!("/{}", group_path(path)?.join("/"));
        self.all.iter().position(|group| group.path == path).map(TgId::from_index)
    }

    /// The group in whose name an instance of definition `spec` competes if `group` is the one it is in: of the tasks in
    /// the root group, each session is a group of its own.
    pub(crate) fn effective(&self, spec: u32, group: TgId) -> TgId {
        match self.sessions.get(spec as usize) {
            Some(&session) if group == TgId(0) => session,
            _ => group,
        }
    }

    fn name(
        &mut self,
        attributes: &Attributes,
        blame: Blame<'_>,
        origin: Option<Origin>,
    ) -> Result<(), SimError> {
        let Some(path) = &attributes.group else { return Ok(()) };
        self.add(path).map(|_| ()).ok_or_else(|| bad_path(blame, path, origin))
    }

    /// The group of this path, created with those above it if it is new.
    fn add(&mut self, path: &str) -> Option<TgId> {
        let (mut group, mut path_here) = (TgId(0), String::new());
        for name in group_path(path)? {
            path_here = format!("{path_here}/{name}");
            let known = self.all.iter().position(|group| group.path == path_here).map(TgId::from_index);
            group = known.unwrap_or_else(|| {
                self.all.push(Group {
                    path: path_here.clone(),
                    parent: Some(group),
                    shares: DEFAULT_SHARES,
                    idle: false,
                    bandwidth: None,
                });
                TgId::from_index(self.all.len() - 1)
            });
        }
        Some(group)
    }

    /// Whether a group that runs may be changed like that.
    pub(crate) fn check_change(
        &self,
        group: TgId,
        settings: &GroupSettings,
        blame: Blame<'_>,
        origin: Option<Origin>,
    ) -> Result<(), SimError> {
        if settings.idle.is_some() {
            return Err(blame.unsupported(origin, "making a group idle while it runs"));
        }
        if group == TgId(0) {
            return Err(blame.invalid(origin, "the root group has no settings"));
        }
        self.clone().apply(group, settings, blame, origin)
    }

    /// Whether the kernel has all kinds of groups that are asked for.
    pub(crate) fn check_kernel(&self, workload: &Workload, kernel: &Kernel) -> Result<(), SimError> {
        let idle = workload.groups.iter().find(|spec| spec.settings.idle == Some(true));
        match idle.filter(|_| !kernel.queues.idle_groups) {
            Some(spec) => {
                let blame = Blame { workload, task: "(groups)" };
                let what =
                    format!("`{}` is of the idle kind, which {} does not have", spec.path, kernel.build);
                Err(blame.invalid(spec.origin, what))
            }
            None => Ok(()),
        }
    }

    /// Refuses bursts, which the kernel `build` does not know.
    pub(crate) fn check_no_burst(workload: &Workload, build: &str) -> Result<(), SimError> {
        let declared = workload.groups.iter().map(|group| (&group.settings, group.origin, "(groups)"));
        let changed = workload.timeline.iter().filter_map(|entry| match &entry.change {
            Change::SetGroup { settings, .. } => Some((settings, entry.origin, "(timeline)")),
            _ => None,
        });
        let has_burst = |settings: &GroupSettings| settings.bandwidth.is_some_and(|limit| limit.burst != 0);
        match declared.chain(changed).find(|(settings, ..)| has_burst(settings)) {
            None => Ok(()),
            Some((_, origin, task)) => Err(Blame { workload, task }.invalid(
                origin,
                format!("{build} has no burst: what a limited group does not use in a period is lost"),
            )),
        }
    }

    fn apply(
        &mut self,
        id: TgId,
        settings: &GroupSettings,
        blame: Blame<'_>,
        origin: Option<Origin>,
    ) -> Result<(), SimError> {
        if let Some(fault) = settings.bandwidth.and_then(|bandwidth| bandwidth.fault()) {
            return Err(blame.invalid(origin, fault));
        }
        let group = &mut self.all[id.index()];
        group.shares = settings.share.map_or(group.shares, |share| share.full_resolution());
        group.idle = settings.idle.unwrap_or(group.idle);
        group.bandwidth = settings.bandwidth.filter(|bandwidth| bandwidth.quota.is_some());
        Ok(())
    }
}

fn bad_path(blame: Blame<'_>, path: &str, origin: Option<Origin>) -> SimError {
    blame.invalid(origin, format!("`{path}` is not the path of a task group"))
}

/// All attributes that a definition sets, with their places.
fn attributes_of(spec: &TaskSpec) -> impl Iterator<Item = (&Attributes, Option<Origin>)> {
    let phases = spec.program.phases.iter().flat_map(|phase| {
        let ops = phase.ops.iter().enumerate().filter_map(|(index, op)| match op {
            Op::Set(attributes) | Op::SetOf { attributes, .. } => Some((attributes, phase.op_origin(index))),
            _ => None,
        });
        core::iter::once((&phase.attributes, phase.origin)).chain(ops)
    });
    core::iter::once((&spec.attributes, spec.origin)).chain(phases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::workload::{GroupShare, GroupSpec};

    fn in_group(path: &str) -> TaskSpec {
        let attributes = Attributes { group: Some(path.into()), ..Attributes::default() };
        TaskSpec { attributes, ..TaskSpec::default() }
    }

    #[test]
    fn parents_come_first_and_nothing_is_created_twice() {
        let share = Some(GroupShare::Weight(200));
        let declared = GroupSpec {
            path: "/a/b".into(),
            settings: GroupSettings { share, ..GroupSettings::default() },
            origin: None,
        };
        let workload = Workload {
            tasks: vec![in_group("/c/"), in_group("/a/b"), in_group("/"), TaskSpec::default()],
            groups: vec![declared],
            autogroup: true,
            ..Workload::default()
        };
        let groups = Groups::new(&workload).unwrap();
        let paths: Vec<&str> = groups.all.iter().map(|group| group.path.as_str()).collect();
        let sessions = ["/autogroup-1", "/autogroup-2", "/autogroup-3", "/autogroup-4"];
        assert_eq!(paths, [&["/", "/a", "/a/b", "/c"][..], &sessions].concat());
        assert_eq!(groups.all[2].parent, Some(TgId(1)));
        assert_eq!((groups.all[1].shares, groups.all[2].shares), (1 << 20, 2048 << 10));
        assert_eq!(groups.find("/c"), Some(TgId(3)));
        assert_eq!(groups.effective(1, TgId(2)), TgId(2), "only the root group is divided into sessions");
        assert_eq!(groups.effective(1, TgId(0)), TgId(5));
    }
}
