//! `[[at]]`: changes from outside at given times.
use super::Reader;
use super::values::ATTRIBUTE_KEYS;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value, find};
use evenkeel::workload::{Change, SpecId, TimelineEntry};

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

    /// One change, which becomes an entry per definition it concerns.
    fn entry(&self, node: &Node, timeline: &mut Vec<TimelineEntry>) -> Result<(), InputError> {
        let members = self.text.table(node, "at", "a table headed [[at]]")?;
        let known = || ["time", "task"].into_iter().chain(ATTRIBUTE_KEYS);
        for member in members {
            if !known().any(|key| key == member.key) {
                let expected = "`time`, `task` or an attribute";
                return Err(self.text.unknown_key(member, "[[at]]", expected, known()));
            }
        }
        let Some(at) = self.optional_duration(members, "time")? else {
            return Err(self.text.error(&node.span, "[[at]] has no `time`", "`time = \"250ms\"`"));
        };
        let Some(task) = find(members, "task") else {
            return Err(self.text.error(&node.span, "[[at]] has no `task`", "`task = \"NAME\"`"));
        };
        let attributes = self.attributes(members)?;
        if attributes.is_empty() {
            let expected = format!("one of {}", ATTRIBUTE_KEYS.join(", "));
            return Err(self.text.error(&node.span, "[[at]] changes nothing", expected));
        }
        let origin = Some(self.text.origin(node.span.start));
        for spec in self.named_tasks(&task.node)? {
            let change = Change::SetAttributes { task: spec, attributes: attributes.clone() };
            timeline.push(TimelineEntry { at, change, origin });
        }
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
