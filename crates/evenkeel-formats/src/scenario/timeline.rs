//! `[[at]]`: changes from outside at given times. What they set of the kernel is in [`live`](super::live).
use super::Reader;
use super::groups::SETTING_KEYS;
use super::values::ATTRIBUTE_KEYS;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value, find};
use evenkeel::time::Ns;
use evenkeel::workload::{Change, GroupSettings, SpecId, TimelineEntry};

/// The keys of an entry beside attributes.
const KEYS: [&str; 3] = ["time", "task", "set"];
/// What somebody may well try.
const NOT_YET: [&str; 2] = ["online", "offline"];

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
            if NOT_YET.contains(&member.key.as_str()) {
                let found = format!("CPUs cannot go {} from a scenario yet", member.key);
                return Err(self.text.error(&member.key_span, found, "`task`, `group` or `set`"));
            }
            if !known().any(|key| key == member.key) {
                let expected = "`time`, `task`, `set` or an attribute";
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
            None if set.is_none() => {
                let expected = "`task` with attributes, `group` or `set`";
                return Err(self.text.error(&node.span, "[[at]] changes nothing", expected));
            }
            None => {}
        }
        if let Some(member) = set {
            self.kernel_settings(&member.node, at, timeline)?;
        }
        Ok(())
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
