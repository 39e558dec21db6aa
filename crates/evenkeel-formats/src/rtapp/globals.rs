//! The `global` section: what concerns all tasks of an rt-app file.
use super::properties::PolicyName;
use super::{Duplicate, Reader};
use crate::diagnostic::InputError;
use crate::tree::{Node, Value};
use evenkeel::time::{Ns, SEC};
use evenkeel::workload::Policy;

/// The longest duration that is accepted: about 31 years.
const DURATION_S_MAX: i64 = 1_000_000_000;

/// The keys of the section.
const KEYS: [&str; 13] = [
    "duration",
    "calibration",
    "default_policy",
    "pi_enabled",
    "lock_pages",
    "logdir",
    "log_basename",
    "log_size",
    "ftrace",
    "gnuplot",
    "io_device",
    "mem_buffer_size",
    "cumulative_slack",
];

/// How rt-app would find out how much work a microsecond is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// By measuring on this CPU.
    Cpu(u32),
    /// Nanoseconds per loop, given.
    NsPerLoop(u32),
}

/// What the `global` section says, as far as it can matter to a simulation or to its log files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Globals {
    /// How long the run lasts; `None` until all tasks end.
    pub duration: Option<Ns>,
    /// Policy of tasks that name none.
    pub default_policy: Policy,
    /// Only affects rounding, so it is not applied.
    pub calibration: Option<Calibration>,
    /// Mutexes would inherit priorities.
    pub pi_enabled: bool,
    /// Directory of the log files.
    pub logdir: Option<String>,
    /// First part of the log files' names.
    pub log_basename: Option<String>,
    /// Slack is summed over the timers of a phase.
    pub cumulative_slack: bool,
    pub(super) policy_name: PolicyName,
}

impl Reader<'_> {
    /// Reads the section. Unknown keys are ignored with a warning, as rt-app does without one.
    pub(super) fn globals(&mut self, node: &Node) -> Result<Globals, InputError> {
        let members = self.text.table(node, "global", "an object of settings")?;
        let members = self.without_duplicates(members, |_| Duplicate::First);
        let mut globals = Globals::default();
        for member in &members {
            let (key, node) = (member.key.as_str(), &member.node);
            match key {
                "duration" => globals.duration = self.duration(node)?,
                "default_policy" => {
                    let policy = self.policy_name(node, key)?;
                    globals.policy_name = policy;
                    globals.default_policy = policy.with_defaults();
                }
                "calibration" => globals.calibration = Some(self.calibration(node)?),
                "pi_enabled" => {
                    globals.pi_enabled = self.text.bool(node, key)?;
                    if globals.pi_enabled {
                        let message = "mutexes with priority inheritance are not modelled";
                        self.warn(&member.key_span, message, "they behave as plain ones");
                    }
                }
                "logdir" => globals.logdir = Some(self.text.string(node, key, "a directory")?.to_owned()),
                "log_basename" => {
                    globals.log_basename = Some(self.text.string(node, key, "a file name")?.to_owned());
                }
                "cumulative_slack" => globals.cumulative_slack = self.text.bool(node, key)?,
                known if KEYS.contains(&known) => {}
                unknown => {
                    let near = crate::diagnostic::near_match(unknown, KEYS);
                    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    let message = format!("unknown key `{}` in `global`", crate::tree::shorten(unknown));
                    self.warn(&member.key_span, message, format!("ignored, as rt-app does{hint}"));
                }
            }
        }
        Ok(globals)
    }

    fn duration(&self, node: &Node) -> Result<Option<Ns>, InputError> {
        let expected = "a whole number of seconds, or -1 for no limit";
        let seconds = self.text.int(node, "duration", -1..=DURATION_S_MAX, expected)?;
        Ok(u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(|seconds| seconds * SEC))
    }

    fn calibration(&self, node: &Node) -> Result<Calibration, InputError> {
        let cpu = |text: &str| text.strip_prefix("CPU").and_then(|digits| digits.parse().ok());
        let found = match &node.value {
            Value::Str(text) => cpu(text).map(Calibration::Cpu),
            Value::Int(ns) => u32::try_from(*ns).ok().filter(|&ns| ns > 0).map(Calibration::NsPerLoop),
            _ => None,
        };
        let expected = "\"CPU\" and a number, or nanoseconds per loop";
        found.ok_or_else(|| self.text.mismatch(node, "calibration", expected))
    }
}
