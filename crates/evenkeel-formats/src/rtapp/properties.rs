//! Properties of rt-app tasks and phases: loop counts, affinity, policy and priority, clamps, groups.
use super::{Compat, Reader};
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value, find};
use evenkeel::time::{Ns, US};
use evenkeel::workload::{Attributes, Policy, Repeat, group_path};

/// CPUs and nodes beyond these numbers are refused: the largest any kernel supports.
const CPU_MAX: i64 = 8191;
const NODE_MAX: i64 = 1023;
/// The longest time that is accepted, microseconds (about 31 years), so that sums of times fit.
const TIME_US_MAX: i64 = 1_000_000_000_000_000;

/// Keys that set scheduling attributes.
pub(super) const ATTRIBUTE_KEYS: [&str; 10] = [
    "policy",
    "priority",
    "dl-runtime",
    "dl-period",
    "dl-deadline",
    "cpus",
    "nodes_membind",
    "util_min",
    "util_max",
    "taskgroup",
];

/// A policy as the file names it, without its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PolicyName {
    #[default]
    Other,
    Batch,
    Idle,
    Fifo,
    RoundRobin,
    Deadline,
}

const POLICY_NAMES: [(&str, PolicyName); 6] = [
    ("SCHED_OTHER", PolicyName::Other),
    ("SCHED_BATCH", PolicyName::Batch),
    ("SCHED_IDLE", PolicyName::Idle),
    ("SCHED_FIFO", PolicyName::Fifo),
    ("SCHED_RR", PolicyName::RoundRobin),
    ("SCHED_DEADLINE", PolicyName::Deadline),
];

impl PolicyName {
    /// The policy with rt-app's default parameters.
    pub(super) fn with_defaults(self) -> Policy {
        match self {
            Self::Other => Policy::Normal,
            Self::Batch => Policy::Batch,
            Self::Idle => Policy::Idle,
            Self::Fifo => Policy::Fifo(10),
            Self::RoundRobin => Policy::RoundRobin(10),
            Self::Deadline => Policy::Deadline { runtime: 0, deadline: 0, period: 0 },
        }
    }

    fn is_fair(self) -> bool {
        matches!(self, Self::Other | Self::Batch | Self::Idle)
    }
}

/// What a task's phases inherit.
#[derive(Clone, Debug, Default)]
pub(super) struct Inherited {
    pub(super) policy: PolicyName,
    pub(super) util_clamp: Option<(u32, u32)>,
}

impl Reader<'_> {
    /// A time in microseconds.
    pub(super) fn time(&self, node: &Node, what: &str) -> Result<Ns, InputError> {
        let us = self.text.int(node, what, 0..=TIME_US_MAX, "a time in whole microseconds, at least 0")?;
        Ok(us.unsigned_abs() * US)
    }

    /// -1 or a count of at least 1.
    pub(super) fn repeat(&self, node: &Node) -> Result<Repeat, InputError> {
        let expected = "-1 for forever, or at least 1";
        match self.text.int(node, "loop", -1..=i64::from(u32::MAX), expected)? {
            -1 => Ok(Repeat::Forever),
            0 => Err(self.text.mismatch(node, "loop", expected)),
            times => Ok(Repeat::Times(u32::try_from(times).unwrap_or(u32::MAX))),
        }
    }

    pub(super) fn policy_name(&self, node: &Node, what: &str) -> Result<PolicyName, InputError> {
        let expected = "SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_RR, SCHED_FIFO or SCHED_DEADLINE";
        let text = self.text.string(node, what, expected)?;
        let found = POLICY_NAMES.iter().find(|(name, _)| *name == text).map(|&(_, policy)| policy);
        found.ok_or_else(|| {
            let names = POLICY_NAMES.iter().map(|&(name, _)| name);
            self.text.mismatch(node, what, expected).suggest(text, names)
        })
    }

    fn indices(&self, node: &Node, what: &str, max: i64) -> Result<Vec<u32>, InputError> {
        let expected = format!("a list of numbers from 0 to {max}");
        let items = self.text.list(node, what, &expected)?;
        if items.is_empty() {
            let found = format!("`{what}` is an empty list");
            return Err(self.text.error(&node.span, found, expected));
        }
        let mut indices = Vec::with_capacity(items.len());
        for item in items {
            let index = self.text.int(item, what, 0..=max, &expected)?;
            indices.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }

    /// The attributes a task or phase sets; `inherited` is updated. A task always has a policy.
    pub(super) fn attributes(
        &mut self,
        members: &[Member],
        inherited: &mut Inherited,
        is_task: bool,
    ) -> Result<Attributes, InputError> {
        let mut attributes = Attributes::default();
        if let Some(member) = find(members, "cpus") {
            attributes.affinity = Some(self.indices(&member.node, "cpus", CPU_MAX)?);
        }
        if let Some(member) = find(members, "nodes_membind") {
            attributes.memory_nodes = Some(self.indices(&member.node, "nodes_membind", NODE_MAX)?);
        }
        attributes.util_clamp = self.util_clamp(members, inherited.util_clamp)?;
        inherited.util_clamp = attributes.util_clamp.or(inherited.util_clamp);
        self.scheduling(members, inherited, &mut attributes, is_task)?;
        if let Some(member) = find(members, "taskgroup") {
            attributes.group = Some(self.taskgroup(&member.node, inherited.policy)?);
        }
        Ok(attributes)
    }

    fn taskgroup(&self, node: &Node, policy: PolicyName) -> Result<String, InputError> {
        let expected = "the path of a group, beginning with `/`";
        let path = self.text.string(node, "taskgroup", expected)?;
        let Some(names) = group_path(path) else {
            return Err(self.text.mismatch(node, "taskgroup", expected));
        };
        if !policy.is_fair() {
            let found = "`taskgroup` on a real-time or deadline task";
            return Err(self.text.error(&node.span, found, "SCHED_OTHER, SCHED_BATCH or SCHED_IDLE"));
        }
        Ok(format!("/{}", names.join("/")))
    }

    fn util_clamp(
        &self,
        members: &[Member],
        present: Option<(u32, u32)>,
    ) -> Result<Option<(u32, u32)>, InputError> {
        let (mut min, mut max) = present.unwrap_or((0, 1024));
        let mut is_set = false;
        for (key, bound) in [("util_min", &mut min), ("util_max", &mut max)] {
            let Some(member) = find(members, key) else { continue };
            let value = self.text.int(&member.node, key, -1..=1024, "0 to 1024, or -1 for unchanged")?;
            if let Ok(value) = u32::try_from(value) {
                *bound = value;
                is_set = true;
            }
        }
        if min > max {
            let key = find(members, "util_min").or_else(|| find(members, "util_max"));
            if let Some(member) = key {
                let found = format!("`util_min` {min} is above `util_max` {max}");
                return Err(self.text.error(&member.node.span, found, "a minimum up to the maximum"));
            }
        }
        Ok(is_set.then_some((min, max)))
    }

    /// Policy, nice value or priority, deadline parameters, custom slice.
    fn scheduling(
        &mut self,
        members: &[Member],
        inherited: &mut Inherited,
        attributes: &mut Attributes,
        is_task: bool,
    ) -> Result<(), InputError> {
        let named = find(members, "policy");
        let is_set = is_task || named.is_some();
        if let Some(member) = named {
            inherited.policy = self.policy_name(&member.node, "policy")?;
        }
        let policy = inherited.policy;
        let priority = find(members, "priority");
        if policy.is_fair() {
            if let Some(member) = priority {
                let nice =
                    self.text.int(&member.node, "priority", -20..=19, "a nice value from -20 to 19")?;
                attributes.nice = i32::try_from(nice).ok();
            }
            attributes.policy = is_set.then_some(policy.with_defaults());
            return self.slice(members, policy, attributes);
        }
        if is_set || priority.is_some() || find(members, "dl-runtime").is_some() {
            let policy = match policy {
                PolicyName::Deadline => self.deadline(members)?,
                _ => self.real_time(priority, policy)?,
            };
            if let Some(fault) = policy.fault() {
                let blamed = ["dl-runtime", "runtime", "dl-period", "policy"].map(|key| find(members, key));
                let blamed = blamed.into_iter().flatten().next();
                let expected = "dl-runtime <= dl-deadline <= dl-period";
                if let Some(member) = blamed {
                    return Err(self.text.error(&member.key_span, fault, expected));
                }
            }
            attributes.policy = Some(policy);
        }
        Ok(())
    }

    fn real_time(&self, priority: Option<&Member>, policy: PolicyName) -> Result<Policy, InputError> {
        let level = match priority {
            Some(member) => {
                self.text.int(&member.node, "priority", 1..=99, "a real-time priority, 1 to 99")?
            }
            None => 10,
        };
        let level = u8::try_from(level).unwrap_or(10);
        Ok(if policy == PolicyName::Fifo { Policy::Fifo(level) } else { Policy::RoundRobin(level) })
    }

    /// `dl-runtime` of a fair task is its custom slice in the newer dialect.
    fn slice(
        &mut self,
        members: &[Member],
        policy: PolicyName,
        attributes: &mut Attributes,
    ) -> Result<(), InputError> {
        for key in ["dl-runtime", "dl-period", "dl-deadline"] {
            let Some(member) = find(members, key) else { continue };
            let time = self.time(&member.node, key)?;
            let is_slice = key == "dl-runtime" && self.compat == Compat::Master;
            if is_slice && policy != PolicyName::Idle {
                attributes.slice = Some(time);
            } else {
                let message = format!("`{key}` on a task that is not SCHED_DEADLINE");
                self.warn(&member.key_span, message, "ignored, as rt-app does");
            }
        }
        Ok(())
    }

    fn deadline(&mut self, members: &[Member]) -> Result<Policy, InputError> {
        let runtime = self.deadline_time(members, "dl-runtime", "runtime")?.unwrap_or(0);
        let period = self.deadline_time(members, "dl-period", "period")?.unwrap_or(runtime);
        let deadline = self.deadline_time(members, "dl-deadline", "deadline")?.unwrap_or(period);
        Ok(Policy::Deadline { runtime, deadline, period })
    }

    /// A deadline parameter by its present name, else by its legacy name and unit.
    fn deadline_time(
        &mut self,
        members: &[Member],
        key: &str,
        legacy: &str,
    ) -> Result<Option<Ns>, InputError> {
        if let Some(member) = find(members, key) {
            return self.time(&member.node, key).map(Some);
        }
        let Some(member) = find(members, legacy) else { return Ok(None) };
        let (unit_ns, unit) = match self.compat {
            Compat::V1_0 => (1, "nanoseconds"),
            Compat::Master => (US, "microseconds"),
        };
        let expected = format!("a time in whole {unit}, at least 0");
        let count = self.text.int(&member.node, legacy, 0..=TIME_US_MAX, &expected)?;
        let message = format!("`{legacy}` is the legacy name of `{key}`");
        self.warn(&member.key_span, message, format!("read as {unit}"));
        Ok(Some(count.unsigned_abs() * unit_ns))
    }

    /// Whether a key is a known property with a number appended, as `workgen` renames duplicates.
    pub(super) fn is_renamed_property(key: &str, known: &[&str]) -> bool {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        stem.len() < key.len() && known.contains(&stem)
    }

    /// A bare key where a value is needed.
    pub(super) fn need_value(&self, member: &Member) -> Result<(), InputError> {
        match member.node.value {
            Value::Absent => {
                let found = format!("`{}` has no value", crate::tree::shorten(&member.key));
                Err(self.text.error(&member.key_span, found, "`:` and a value"))
            }
            _ => Ok(()),
        }
    }
}
