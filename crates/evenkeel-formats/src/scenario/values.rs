//! Values of a scenario: durations, counts, CPU lists, policies and the other attributes.
use super::Reader;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Span, Value, find};
use evenkeel::mask::CpuMask;
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::workload::{Attributes, Policy, Repeat};

/// The largest number of CPUs any kernel supports.
pub(super) const CPUS_MAX: usize = 8192;
/// The longest duration that is accepted (about 31 years), so that sums of durations fit.
pub(super) const DURATION_MAX: Ns = 1_000_000_000 * SEC;
/// What a duration looks like, for messages.
pub(super) const A_DURATION: &str = "a duration with its unit, such as \"10ms\", \"1.5s\" or \"200us\"";

/// The keys of attributes.
pub(super) const ATTRIBUTE_KEYS: [&str; 13] = [
    "affinity",
    "nice",
    "policy",
    "priority",
    "runtime",
    "deadline",
    "period",
    "slice",
    "group",
    "uclamp",
    "preferred_node",
    "numa_faults",
    "numa_group_faults",
];

/// The most memory nodes any kernel supports.
const NODES_MAX: i64 = 1024;
/// More faults than this are refused, so that sums fit.
const FAULTS_MAX: i64 = (1 << 40) - 1;

const UNITS: [(&str, Ns); 6] = [("ns", 1), ("us", US), ("µs", US), ("ms", MS), ("min", 60 * SEC), ("s", SEC)];

/// Reads a duration such as `10ms`, `1.5s` or `200us`: a decimal number and one of ns, us, ms, s, min.
///
/// `None` if it is not one, is finer than a nanosecond, or longer than about 31 years.
pub fn parse_duration(text: &str) -> Option<Ns> {
    let (number, unit) =
        UNITS.iter().find_map(|&(name, ns)| Some((text.strip_suffix(name)?.trim_end(), ns)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let parts_per_one = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    let fraction_ns = parts.checked_mul(unit).filter(|ns| ns % parts_per_one == 0)? / parts_per_one;
    let whole_ns = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole_ns.checked_add(fraction_ns).filter(|&ns| ns <= DURATION_MAX)
}

/// `normal`, `batch`, `idle`, `fifo N`, `rr N`, `deadline RUNTIME DEADLINE PERIOD`.
pub(super) const A_POLICY: &str =
    "normal, batch, idle, `fifo N`, `rr N` or `deadline RUNTIME DEADLINE PERIOD`";
/// Keys that belong to a policy, with the policies that have them.
const POLICY_KEYS: [(&str, &[&str], &str); 4] = [
    ("priority", &["fifo", "rr"], "`policy = \"fifo\"` or `policy = \"rr\"` beside it"),
    ("runtime", &["deadline"], "`policy = \"deadline\"` beside it"),
    ("deadline", &["deadline"], "`policy = \"deadline\"` beside it"),
    ("period", &["deadline"], "`policy = \"deadline\"` beside it"),
];

pub(super) fn parse_policy(words: &[&str]) -> Option<Policy> {
    let priority = |text: &str| text.parse().ok().filter(|level| (1..=99u8).contains(level));
    match *words {
        ["normal" | "other"] => Some(Policy::Normal),
        ["batch"] => Some(Policy::Batch),
        ["idle"] => Some(Policy::Idle),
        ["fifo", level] => priority(level).map(Policy::Fifo),
        ["rr", level] => priority(level).map(Policy::RoundRobin),
        ["deadline", runtime, deadline, period] => Some(Policy::Deadline {
            runtime: parse_duration(runtime)?,
            deadline: parse_duration(deadline)?,
            period: parse_duration(period)?,
        }),
        _ => None,
    }
}

impl Reader<'_> {
    pub(super) fn duration(&self, node: &Node, what: &str) -> Result<Ns, InputError> {
        let Value::Str(text) = &node.value else { return Err(self.text.mismatch(node, what, A_DURATION)) };
        parse_duration(text).ok_or_else(|| self.text.mismatch(node, what, A_DURATION))
    }

    pub(super) fn optional_duration(&self, members: &[Member], key: &str) -> Result<Option<Ns>, InputError> {
        find(members, key).map(|member| self.duration(&member.node, key)).transpose()
    }

    /// A count of at least 1, or "forever".
    pub(super) fn repeat(&self, node: &Node) -> Result<Repeat, InputError> {
        let expected = "a number of at least 1, or \"forever\"";
        match &node.value {
            Value::Str(text) if text == "forever" => Ok(Repeat::Forever),
            _ => {
                let times = self.text.int(node, "repeat", 1..=i64::from(u32::MAX), expected)?;
                Ok(Repeat::Times(u32::try_from(times).unwrap_or(u32::MAX)))
            }
        }
    }

    /// `"all"`, a CPU list such as `"0-3,8"`, one CPU, or a list of CPUs. All CPUs are the empty list.
    pub(super) fn affinity(&self, node: &Node) -> Result<Vec<u32>, InputError> {
        self.cpu_set(node, "affinity", "\"all\", a CPU list such as \"0-3,8\", or [0, 1]")
    }

    /// The same, called `what` in messages.
    pub(super) fn cpu_set(&self, node: &Node, what: &str, expected: &str) -> Result<Vec<u32>, InputError> {
        match &node.value {
            Value::Str(text) => self.cpu_list(text, &node.span),
            Value::Int(_) => self.cpu_number(node, what, expected).map(|cpu| vec![cpu]),
            Value::List(items) if !items.is_empty() => {
                let cpus: Result<Vec<u32>, InputError> =
                    items.iter().map(|item| self.cpu_number(item, what, expected)).collect();
                let mut cpus = cpus?;
                cpus.sort_unstable();
                cpus.dedup();
                Ok(cpus)
            }
            _ => Err(self.text.mismatch(node, what, expected)),
        }
    }

    fn cpu_number(&self, node: &Node, what: &str, expected: &str) -> Result<u32, InputError> {
        let cpu = self.text.int(node, what, 0..=CPUS_MAX as i64 - 1, expected)?;
        Ok(u32::try_from(cpu).unwrap_or(u32::MAX))
    }

    pub(super) fn cpu_list(&self, text: &str, span: &Span) -> Result<Vec<u32>, InputError> {
        if text == "all" {
            return Ok(Vec::new());
        }
        let expected = "`all` or a CPU list such as `0-3,8`";
        let found = match CpuMask::parse_list(text, CPUS_MAX) {
            Ok(mask) if !mask.is_empty() => return Ok(mask.iter().map(|cpu| cpu.0).collect()),
            Ok(_) => "the CPU list is empty".to_owned(),
            Err(evenkeel::mask::CpuListError::Syntax) => {
                format!("`{}` is no CPU list", crate::tree::shorten(text))
            }
            Err(error) => error.to_string(),
        };
        Err(self.text.error(span, found, expected))
    }

    /// The attributes among the members of a task, a phase or a timeline entry.
    pub(super) fn attributes(&self, members: &[Member]) -> Result<Attributes, InputError> {
        let mut attributes = Attributes::default();
        for member in members {
            let (key, node) = (member.key.as_str(), &member.node);
            match key {
                "affinity" => attributes.affinity = Some(self.affinity(node)?),
                "nice" => {
                    let nice = self.text.int(node, key, -20..=19, "a whole number from -20 to 19")?;
                    attributes.nice = i32::try_from(nice).ok();
                }
                "policy" => attributes.policy = Some(self.policy(node, members)?),
                "priority" | "runtime" | "deadline" | "period" => self.belongs_to_policy(member, members)?,
                "slice" => attributes.slice = Some(self.duration(node, key)?),
                "group" => attributes.group = Some(self.path(node, key)?),
                "uclamp" => attributes.util_clamp = Some(self.util_clamp(node)?),
                "preferred_node" => {
                    let preferred = self.preferred_node(node)?;
                    attributes.memory.get_or_insert_default().preferred_node = preferred;
                }
                "numa_faults" => attributes.memory.get_or_insert_default().faults = self.faults(node, key)?,
                "numa_group_faults" => {
                    attributes.memory.get_or_insert_default().group_faults = self.faults(node, key)?;
                }
                _ => {}
            }
        }
        Ok(attributes)
    }

    /// A policy with its parameters, which stand behind its name or in keys of their own.
    fn policy(&self, node: &Node, members: &[Member]) -> Result<Policy, InputError> {
        let text = self.text.string(node, "policy", A_POLICY)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let policy = match words[..] {
            ["fifo"] => Policy::Fifo(self.priority(node, members)?),
            ["rr"] => Policy::RoundRobin(self.priority(node, members)?),
            ["deadline"] => {
                let time = |key| self.optional_duration(members, key);
                let missing = |key: &str| {
                    let found = format!("`policy = \"deadline\"` without a `{key}`");
                    self.text.error(
                        &node.span,
                        found,
                        "`runtime` and `period`, and `deadline` if it is shorter",
                    )
                };
                let runtime = time("runtime")?.ok_or_else(|| missing("runtime"))?;
                let period = time("period")?.ok_or_else(|| missing("period"))?;
                Policy::Deadline { runtime, deadline: time("deadline")?.unwrap_or(period), period }
            }
            _ => self.policy_words(node, &words)?,
        };
        match policy.fault() {
            Some(fault) => Err(self.text.error(&node.span, fault, "runtime <= deadline <= period")),
            None => Ok(policy),
        }
    }

    fn priority(&self, node: &Node, members: &[Member]) -> Result<u8, InputError> {
        let expected = "`priority`, 1 to 99: the higher the more urgent";
        let Some(member) = find(members, "priority") else {
            return Err(self.text.error(&node.span, "a real-time policy without a priority", expected));
        };
        let priority = self.text.int(&member.node, "priority", 1..=99, expected)?;
        Ok(u8::try_from(priority).unwrap_or(99))
    }

    /// Refuses a parameter of a policy that is not there, or has its parameters behind its name.
    fn belongs_to_policy(&self, member: &Member, members: &[Member]) -> Result<(), InputError> {
        let name = find(members, "policy").and_then(|policy| match &policy.node.value {
            Value::Str(name) => Some(name.trim()),
            _ => None,
        });
        match POLICY_KEYS.iter().find(|(key, ..)| *key == member.key) {
            Some((key, policies, expected)) if !name.is_some_and(|name| policies.contains(&name)) => {
                let found = format!("`{key}` without a policy that has one");
                Err(self.text.error(&member.key_span, found, *expected))
            }
            _ => Ok(()),
        }
    }

    fn policy_words(&self, node: &Node, words: &[&str]) -> Result<Policy, InputError> {
        parse_policy(words).ok_or_else(|| {
            let names = ["normal", "batch", "idle", "fifo", "rr", "deadline"];
            let error = self.text.mismatch(node, "policy", A_POLICY);
            match words.first() {
                Some(first) if !names.contains(first) => error.suggest(first, names),
                _ => error,
            }
        })
    }

    /// The number of a memory node, or "none".
    fn preferred_node(&self, node: &Node) -> Result<Option<u32>, InputError> {
        if matches!(&node.value, Value::Str(text) if text == "none") {
            return Ok(None);
        }
        let expected = "the number of a memory node, or \"none\"";
        let number = self.text.int(node, "preferred_node", 0..=NODES_MAX - 1, expected)?;
        Ok(u32::try_from(number).ok())
    }

    /// Page faults on the memory of each node.
    fn faults(&self, node: &Node, key: &str) -> Result<Vec<u64>, InputError> {
        let expected = "a number of faults per memory node, such as [800, 200]";
        let items = self.text.list(node, key, expected)?;
        if items.is_empty() {
            return Err(self.text.mismatch(node, key, expected));
        }
        let count = |item: &Node| Ok(self.text.int(item, key, 0..=FAULTS_MAX, expected)?.unsigned_abs());
        items.iter().map(count).collect()
    }

    fn util_clamp(&self, node: &Node) -> Result<(u32, u32), InputError> {
        let expected = "[MIN, MAX], both from 0 to 1024";
        let [min, max] = self.text.list(node, "uclamp", expected)? else {
            return Err(self.text.mismatch(node, "uclamp", expected));
        };
        let [min, max] = [min, max].map(|bound| self.text.int(bound, "uclamp", 0..=1024, expected));
        let (min, max) = (min?.unsigned_abs() as u32, max?.unsigned_abs() as u32);
        if min > max {
            return Err(self.text.error(&node.span, format!("the clamp {min} is above {max}"), expected));
        }
        Ok((min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_and_need_a_unit() {
        for (text, expected) in [
            ("10ms", Some(10 * MS)),
            ("1.5s", Some(1500 * MS)),
            ("200us", Some(200 * US)),
            ("200 µs", Some(200 * US)),
            ("2min", Some(120 * SEC)),
            ("0.001us", Some(1)),
            ("0ns", Some(0)),
            ("1.50s", Some(1500 * MS)),
            ("0.0001us", None),
            ("10", None),
            ("ms", None),
            ("-1ms", None),
            (".5s", None),
            ("1.s", None),
            ("1e3ms", None),
            ("99999999999999999999s", None),
            ("31000000min", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
