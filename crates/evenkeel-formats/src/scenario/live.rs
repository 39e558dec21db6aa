//! What `[[at]]` may set of a kernel while it runs.
//!
//! ```text
//! [[at]]
//! time = "500ms"
//! set.migration_cost_ns = "0ns"            # named as in [set] and --set
//! set.features.NI_RANDOM = false
//! set.domain.MC.imbalance_pct = 105        # a level of the machine, or `all`
//! ```
//! Values of domains last until the trees are built anew (a CPU comes or goes, partitions change), as in a kernel.
//! Of the settings of `[set]` only those can change that a running kernel lets its administrator write. Levels and
//! features of the kernel are only known when machine and kernel are: the simulator refuses them, with their place.
use super::Reader;
use super::values::parse_duration;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Value};
use evenkeel::kernel::Features;
use evenkeel::time::{MS, Ns, SEC};
use evenkeel::tune::{DomainKnob, Tune};
use evenkeel::workload::{Change, TimelineEntry};

const TUNABLES: [&str; 5] = ["migration_cost_ns", "nr_migrate", "base_slice_ns", "features", "domain"];

impl Reader<'_> {
    /// The entries of `set`.
    pub(super) fn kernel_settings(
        &self,
        node: &Node,
        at: Ns,
        timeline: &mut Vec<TimelineEntry>,
    ) -> Result<(), InputError> {
        for member in self.text.table(node, "set", "a table of settings")? {
            let mut add = |place: &Member, change: Change| {
                let origin = Some(self.text.origin(place.key_span.start));
                timeline.push(TimelineEntry { at, change, origin });
            };
            let node = &member.node;
            match member.key.as_str() {
                "migration_cost_ns" => add(member, Change::Tune(self.migration_cost(node)?)),
                "nr_migrate" => {
                    let tasks = self.text.int(node, "nr_migrate", 1..=1 << 20, "a number of at least 1")?;
                    add(member, Change::Tune(Tune::NrMigrate { tasks: tasks.unsigned_abs() as u32 }));
                }
                "base_slice_ns" => {
                    let expected = "a time from 100us to 1s";
                    let ns = self.time(node, "base_slice_ns", MS / 10..=SEC, expected)?;
                    add(member, Change::Tune(Tune::BaseSlice { ns }));
                }
                "features" => {
                    for feature in self.text.table(node, "features", "a table of features")? {
                        add(feature, Change::Tune(self.feature(feature)?));
                    }
                }
                "domain" => {
                    for level in self.text.table(node, "domain", "a table of levels")? {
                        for knob in self.text.table(&level.node, &level.key, "a table of values")? {
                            add(knob, self.domain_value(&level.key, knob)?);
                        }
                    }
                }
                _ => {
                    let expected = "a setting that can change while the kernel runs";
                    return Err(self.text.unknown_key(member, "`set` of [[at]]", expected, TUNABLES));
                }
            }
        }
        Ok(())
    }

    fn migration_cost(&self, node: &Node) -> Result<Tune, InputError> {
        let expected = "a time up to 2s, or -1 for always cache hot";
        if node.value_is(-1) {
            return Ok(Tune::MigrationCost { ns: u32::MAX });
        }
        let ns = self.time(node, "migration_cost_ns", 0..=2 * SEC, expected)?;
        Ok(Tune::MigrationCost { ns: ns as u32 })
    }

    fn feature(&self, member: &Member) -> Result<Tune, InputError> {
        let Some(feature) = Features::from_name(&member.key) else {
            let names = Features::all().iter_names().map(|(name, _)| name);
            return Err(self.text.unknown_key(member, "`features`", "a sched_feature", names));
        };
        match member.node.value {
            Value::Bool(on) => Ok(Tune::Feature { feature, on }),
            _ => Err(self.text.mismatch(&member.node, &member.key, "true or false")),
        }
    }

    fn domain_value(&self, level: &str, member: &Member) -> Result<Change, InputError> {
        let Some(knob) = DomainKnob::ALL.into_iter().find(|knob| knob.name() == member.key) else {
            let names = DomainKnob::ALL.map(DomainKnob::name);
            return Err(self.text.unknown_key(member, "`domain`", "a value of a domain", names));
        };
        let (min, max) = knob.range();
        let expected = format!("a number from {min} to {max}");
        let range = i64::from(min)..=i64::from(max);
        let value = self.text.int(&member.node, &member.key, range, &expected)?.unsigned_abs() as u32;
        let level = (level != "all").then(|| level.to_owned());
        Ok(Change::Domain { level, knob, value })
    }

    /// A duration with its unit, or a bare number of nanoseconds.
    fn time(
        &self,
        node: &Node,
        what: &str,
        range: core::ops::RangeInclusive<Ns>,
        expected: &str,
    ) -> Result<Ns, InputError> {
        let ns = match &node.value {
            Value::Str(text) => parse_duration(text),
            Value::Int(ns) => u64::try_from(*ns).ok(),
            _ => None,
        };
        ns.filter(|ns| range.contains(ns)).ok_or_else(|| self.text.mismatch(node, what, expected))
    }
}

impl Node {
    fn value_is(&self, number: i64) -> bool {
        matches!(self.value, Value::Int(value) if value == number)
    }
}
