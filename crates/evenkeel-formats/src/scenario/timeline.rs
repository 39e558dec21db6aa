//! `[[at]]`: changes from outside at given times. What they set of the kernel is in [`live`](super::live).
//!
//! ```text
//! [[at]]
//! time = "300ms"
//! task = ["web", "batch"]          # every instance that lives: affinity, nice, policy, slice, group
//! nice = 5
//!
//! [[at]]
//! time = "400ms"
//! group = "/web"                   # weight or shares, max, burst
//! weight = 300
//!
//! [[at]]
//! time = "500ms"
//! offline = "2-3"                  # CPUs go; `online` brings them back
//!
//! [[at]]
//! time = "600ms"
//! partitions = ["4-5"]             # these balance among themselves, what is left is one more; "none": all together again
//! isolated = "6-7"                 # these balance with nobody
//! ```
//! Partitions divide balancing only: where tasks may run stays as it is, which a cpuset would change as well.
use super::Reader;
use super::groups::SETTING_KEYS;
use super::values::ATTRIBUTE_KEYS;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value, find};
use evenkeel::time::Ns;
use evenkeel::workload::{Change, GroupSettings, SpecId, TimelineEntry};

/// The keys of an entry beside attributes.
const KEYS: [&str; 7] = ["time", "task", "set", "offline", "online", "partitions", "isolated"];
/// Those that change the machine.
const MACHINE_KEYS: [&str; 4] = ["offline", "online", "partitions", "isolated"];
const SOME_CPUS: &str = "a CPU, a CPU list such as \"2-3\", or [2, 3]";

impl Reader<'_> {
    pub(super) fn timeline(&self, members: &[Member]) -> Result<Vec<TimelineEntry>, InputError> {
        let Some(member) = find(members, "at") else { return Ok(Vec::new()) };
        let mut timeline = Vec::new();
        for entry in self.text.list(&member.node, "at", "tables headed [[at]]")? {
            self.entry(entry, &mut timeline)?;
        }
        timeline.sort_by_key(|entry| entry.at);
        Ok(timeline)
    }

    /// One change, which becomes an entry per definition and setting it concerns.
    fn entry(&self, node: &Node, timeline: &mut Vec<TimelineEntry>) -> Result<(), InputError> {
        let members = self.text.table(node, "at", "a table headed [[at]]")?;
        if find(members, "task").is_none() && find(members, "group").is_some() {
            return self.group_entry(node, members, timeline);
        }
        let known = || KEYS.into_iter().chain(ATTRIBUTE_KEYS);
        for member in members {
            if !known().any(|key| key == member.key) {
                let expected =
                    "`time`, `task`, `group`, `set`, `offline`, `online`, `partitions` or an attribute";
                return Err(self.text.unknown_key(member, "[[at]]", expected, known()));
            }
        }
        let at = self.entry_time(node, members)?;
        let set = find(members, "set");
        let attributes = self.attributes(members)?;
        let origin = Some(self.text.origin(node.span.start));
        match find(members, "task") {
            Some(_) if attributes.is_empty() => {
                let expected = format!("one of {}", ATTRIBUTE_KEYS.join(", "));
                return Err(self.text.error(&node.span, "[[at]] changes nothing of its tasks", expected));
            }
            Some(task) => {
                for spec in self.named_tasks(&task.node)? {
                    let change = Change::SetAttributes { task: spec, attributes: attributes.clone() };
                    timeline.push(TimelineEntry { at, change, origin });
                }
            }
            None if !attributes.is_empty() => {
                return Err(self.text.error(&node.span, "[[at]] has no `task`", "`task = \"NAME\"`"));
            }
            None if set.is_none() && !members.iter().any(is_of_the_machine) => {
                let expected = "`task` with attributes, `group`, `set`, `offline`, `online` or `partitions`";
                return Err(self.text.error(&node.span, "[[at]] changes nothing", expected));
            }
            None => {}
        }
        if let Some(member) = set {
            self.kernel_settings(&member.node, at, timeline)?;
        }
        self.machine_changes(members, at, timeline)
    }

    /// CPUs that come or go, and partitions.
    fn machine_changes(
        &self,
        members: &[Member],
        at: Ns,
        timeline: &mut Vec<TimelineEntry>,
    ) -> Result<(), InputError> {
        let (mut sets, mut isolated, mut place) = (Vec::new(), Vec::new(), None);
        for member in members {
            let origin = Some(self.text.origin(member.key_span.start));
            match member.key.as_str() {
                key @ ("offline" | "online") => {
                    let change = Change::Hotplug { cpus: self.some_cpus(member)?, online: key == "online" };
                    timeline.push(TimelineEntry { at, change, origin });
                }
                "partitions" => {
                    (sets, place) = (self.sets(member)?, place.or(origin));
                }
                "isolated" => {
                    (isolated, place) = (self.some_cpus(member)?, place.or(origin));
                }
                _ => {}
            }
        }
        if place.is_some() {
            timeline.push(TimelineEntry { at, change: Change::Partitions { sets, isolated }, origin: place });
        }
        Ok(())
    }

    /// The sets of CPUs of `partitions`; none for "none".
    fn sets(&self, member: &Member) -> Result<Vec<Vec<u32>>, InputError> {
        let expected = "a list of CPU lists such as [\"0-3\", \"4-7\"], or \"none\"";
        match &member.node.value {
            Value::Str(text) if text == "none" => Ok(Vec::new()),
            Value::List(items) if !items.is_empty() => {
                items.iter().map(|item| self.cpus_of(item, &member.key)).collect()
            }
            _ => Err(self.text.mismatch(&member.node, &member.key, expected)),
        }
    }

    fn some_cpus(&self, member: &Member) -> Result<Vec<u32>, InputError> {
        self.cpus_of(&member.node, &member.key)
    }

    /// CPUs that are named one by one.
    fn cpus_of(&self, node: &Node, what: &str) -> Result<Vec<u32>, InputError> {
        match &node.value {
            Value::Str(text) if text != "all" => self.cpu_list(text, &node.span),
            Value::Int(_) | Value::List(_) => self.cpu_set(node, what, SOME_CPUS),
            _ => Err(self.text.mismatch(node, what, SOME_CPUS)),
        }
    }

    fn entry_time(&self, node: &Node, members: &[Member]) -> Result<Ns, InputError> {
        let time = self.optional_duration(members, "time")?;
        time.ok_or_else(|| self.text.error(&node.span, "[[at]] has no `time`", "`time = \"250ms\"`"))
    }

    /// A change of a task group.
    fn group_entry(
        &self,
        node: &Node,
        members: &[Member],
        timeline: &mut Vec<TimelineEntry>,
    ) -> Result<(), InputError> {
        let changes = || SETTING_KEYS.into_iter().filter(|key| *key != "idle");
        let known = || ["time", "group"].into_iter().chain(changes());
        for member in members {
            if member.key == "idle" {
                let found = "`idle` of a group cannot be changed while it runs";
                return Err(self.text.error(&member.key_span, found, "it in [[group]]"));
            }
            if !known().any(|key| key == member.key) {
                let expected = "`time`, `group` or a setting of the group";
                return Err(self.text.unknown_key(member, "[[at]]", expected, known()));
            }
        }
        let at = self.entry_time(node, members)?;
        let Some(group) = find(members, "group") else { return Ok(()) };
        let path = self.path(&group.node, "group")?;
        let settings = self.group_settings_of(members)?;
        if settings == GroupSettings::default() {
            let expected = format!("one of {}", changes().collect::<Vec<_>>().join(", "));
            return Err(self.text.error(&node.span, "[[at]] changes nothing", expected));
        }
        if path == "/" {
            let found = "the root group has no settings";
            return Err(self.text.error(&group.node.span, found, "a group below it"));
        }
        let origin = Some(self.text.origin(node.span.start));
        timeline.push(TimelineEntry { at, change: Change::SetGroup { path, settings }, origin });
        Ok(())
    }

    /// The definitions a name or a list of names means.
    fn named_tasks(&self, node: &Node) -> Result<Vec<SpecId>, InputError> {
        let expected = "the name of a task, or a list of names";
        let names = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => core::slice::from_ref(node),
        };
        let mut specs = Vec::new();
        for item in names {
            let name = self.text.string(item, "task", expected)?;
            match self.specs.get(name) {
                Some(found) => specs.extend_from_slice(found),
                None => return Err(self.unknown_task(name, &item.span)),
            }
        }
        Ok(specs)
    }
}

fn is_of_the_machine(member: &Member) -> bool {
    MACHINE_KEYS.contains(&member.key.as_str())
}
