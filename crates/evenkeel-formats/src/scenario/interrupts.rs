//! `[[irq]]`: devices that interrupt CPUs and take their time.
//!
//! ```toml
//! [[irq]]
//! cpu = "0-1"        # a CPU list, one CPU, or a list of CPUs
//! every = "1ms"
//! run = "100us"      # how long each interrupt takes
//! start = "10ms"     # when the first one comes; else after `every`
//! ```
use super::Reader;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, find};
use evenkeel::workload::InterruptSource;

const KEYS: [&str; 4] = ["cpu", "every", "run", "start"];

impl Reader<'_> {
    pub(super) fn interrupts(&self, members: &[Member]) -> Result<Vec<InterruptSource>, InputError> {
        let Some(member) = find(members, "irq") else { return Ok(Vec::new()) };
        let nodes = self.text.list(&member.node, "irq", "tables headed [[irq]]")?;
        nodes.iter().map(|node| self.interrupt(node)).collect()
    }

    fn interrupt(&self, node: &Node) -> Result<InterruptSource, InputError> {
        let members = self.text.table(node, "irq", "a table headed [[irq]]")?;
        if let Some(member) = members.iter().find(|member| !KEYS.contains(&member.key.as_str())) {
            return Err(self.text.unknown_key(member, "[[irq]]", "a key of an interrupt source", KEYS));
        }
        let needed = |key: &str, example: &str| {
            let expected = format!("`{key} = {example}`");
            find(members, key)
                .ok_or_else(|| self.text.error(&node.span, format!("[[irq]] has no `{key}`"), expected))
        };
        let cpus = &needed("cpu", "0")?.node;
        let cpus = self.affinity(cpus)?;
        if cpus.is_empty() {
            let expected = "the CPUs, such as \"0-3\"";
            return Err(self.text.error(&needed("cpu", "0")?.node.span, "`all` in [[irq]]", expected));
        }
        let every_node = &needed("every", "\"1ms\"")?.node;
        let every = self.duration(every_node, "every")?;
        let run_node = &needed("run", "\"100us\"")?.node;
        let run = self.duration(run_node, "run")?;
        if every == 0 {
            return Err(self.text.mismatch(every_node, "every", "a time above 0"));
        }
        if run >= every {
            let expected = "less than `every`, or the CPU would do nothing else";
            return Err(self.text.mismatch(run_node, "run", expected));
        }
        let start = self.optional_duration(members, "start")?.unwrap_or(every);
        Ok(InterruptSource { cpus, every, run, start, origin: Some(self.text.origin(node.span.start)) })
    }
}
