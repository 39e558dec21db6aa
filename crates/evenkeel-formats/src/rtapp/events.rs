//! Events of an rt-app phase, as operations.
//!
//! A key is an event if it begins with the event's name: `run`, `run1` and `run_b` are all `run`.
use super::{Compat, Reader};
use crate::diagnostic::InputError;
use crate::objects::Class;
use crate::tree::{Member, Node, Value, find, shorten};
use evenkeel::time::Ns;
use evenkeel::workload::{Op, Phase, TimerOp, TimerRef};
use std::collections::BTreeMap;

/// Sizes and counts of memory events beyond this are refused (a tebibyte).
const AMOUNT_MAX: i64 = 1 << 40;

/// The events of both dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Lock,
    Unlock,
    Wait,
    Signal,
    Broadcast,
    Sync,
    Sleep,
    Runtime,
    Run,
    Timer,
    Suspend,
    Resume,
    MemRun,
    Mem,
    IoRun,
    Yield,
    Barrier,
    Fork,
    SemPost,
    SemWait,
}

/// Names in the order in which a key is compared with them: `runtime` before `run`, `memrun` before `mem`.
const NAMES: [(&str, EventKind); 20] = [
    ("lock", EventKind::Lock),
    ("unlock", EventKind::Unlock),
    ("wait", EventKind::Wait),
    ("signal", EventKind::Signal),
    ("broad", EventKind::Broadcast),
    ("sync", EventKind::Sync),
    ("sleep", EventKind::Sleep),
    ("runtime", EventKind::Runtime),
    ("run", EventKind::Run),
    ("timer", EventKind::Timer),
    ("suspend", EventKind::Suspend),
    ("resume", EventKind::Resume),
    ("memrun", EventKind::MemRun),
    ("mem", EventKind::Mem),
    ("iorun", EventKind::IoRun),
    ("yield", EventKind::Yield),
    ("barrier", EventKind::Barrier),
    ("fork", EventKind::Fork),
    ("sem_post", EventKind::SemPost),
    ("sem_wait", EventKind::SemWait),
];

impl EventKind {
    pub(super) fn of_key(key: &str) -> Option<Self> {
        NAMES.iter().find(|(name, _)| key.starts_with(name)).map(|&(_, kind)| kind)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|&(name, _)| name)
    }
}

/// Timers of an instance by the `unique...` name of their `ref`.
#[derive(Default)]
pub(super) struct PrivateTimers {
    numbers: BTreeMap<String, u32>,
}

impl PrivateTimers {
    fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(name.to_owned()).or_insert(next)
    }
}

/// The task an event belongs to.
struct Context<'a> {
    task_name: &'a str,
    instances: u32,
    timers: &'a mut PrivateTimers,
}

impl Reader<'_> {
    /// Appends the events among `members` to the phase.
    pub(super) fn events(
        &mut self,
        members: &[Member],
        task_name: &str,
        instances: u32,
        timers: &mut PrivateTimers,
        phase: &mut Phase,
    ) -> Result<(), InputError> {
        let mut context = Context { task_name, instances, timers };
        for member in members {
            let Some(kind) = EventKind::of_key(&member.key) else { continue };
            let op = self.event(kind, member, &mut context)?;
            phase.ops.push(op);
            phase.op_origins.push(self.text.origin(member.key_span.start));
        }
        Ok(())
    }

    fn event(&mut self, kind: EventKind, member: &Member, task: &mut Context<'_>) -> Result<Op, InputError> {
        if !matches!(kind, EventKind::Suspend | EventKind::Yield) {
            self.need_value(member)?;
        }
        let (key, node) = (member.key.as_str(), &member.node);
        let rates = self.options.rates;
        Ok(match kind {
            EventKind::Run => Op::Run(self.time(node, key)?),
            EventKind::Runtime => Op::RunUntilElapsed(self.time(node, key)?),
            EventKind::Sleep => Op::Sleep(self.time(node, key)?),
            EventKind::Mem => Op::Run(self.transfer(node, key, rates.mem_bytes_per_us)?),
            EventKind::IoRun => Op::Run(self.transfer(node, key, rates.io_bytes_per_us)?),
            EventKind::MemRun => Op::Run(self.memrun(node, key)?),
            EventKind::Timer => Op::Timer(self.timer(node, key, task.timers)?),
            EventKind::Lock => Op::Lock(self.object(node, key, Class::Mutex)?),
            EventKind::Unlock => Op::Unlock(self.object(node, key, Class::Mutex)?),
            EventKind::Signal => Op::Signal(self.object(node, key, Class::Condition)?),
            EventKind::Broadcast | EventKind::Resume => {
                Op::Broadcast(self.object(node, key, Class::Condition)?)
            }
            EventKind::Wait => {
                let (condition, mutex) = self.condition_and_mutex(node, key)?;
                Op::Wait { condition, mutex: Some(mutex) }
            }
            EventKind::Sync => {
                let (condition, mutex) = self.condition_and_mutex(node, key)?;
                Op::SignalAndWait { condition, mutex: Some(mutex) }
            }
            EventKind::Suspend => self.suspend(member, task.task_name)?,
            EventKind::Yield => Op::Yield,
            EventKind::Barrier => {
                let barrier = self.object(node, key, Class::Barrier)?;
                self.objects.add_parties(barrier, task.instances);
                Op::Barrier(barrier)
            }
            EventKind::Fork => self.fork(node, key)?,
            EventKind::SemPost => Op::SemPost(self.object(node, key, Class::Semaphore)?),
            EventKind::SemWait => Op::SemWait(self.object(node, key, Class::Semaphore)?),
        })
    }

    fn object(
        &mut self,
        node: &Node,
        key: &str,
        class: Class,
    ) -> Result<evenkeel::workload::ObjectId, InputError> {
        let expected = match class {
            Class::Mutex => "the name of a mutex",
            Class::Condition => "the name of a condition or of a suspended task",
            Class::Barrier => "the name of a barrier",
            Class::Semaphore => "the name of a semaphore",
            Class::Timer | Class::Channel => "a name",
        };
        let name = self.text.string(node, key, expected)?;
        Ok(self.objects.id(class, name))
    }

    fn condition_and_mutex(
        &mut self,
        node: &Node,
        key: &str,
    ) -> Result<(evenkeel::workload::ObjectId, evenkeel::workload::ObjectId), InputError> {
        let expected = "an object { \"ref\": condition, \"mutex\": mutex }";
        let members = self.text.table(node, key, expected)?;
        self.check_keys(members, key, &["ref", "mutex"])?;
        let [condition, mutex] = [("ref", Class::Condition), ("mutex", Class::Mutex)].map(|(name, class)| {
            let Some(member) = find(members, name) else {
                let found = format!("`{}` has no `{name}`", shorten(key));
                return Err(self.text.error(&node.span, found, expected));
            };
            self.object(&member.node, name, class)
        });
        Ok((condition?, mutex?))
    }

    fn check_keys(&self, members: &[Member], event: &str, known: &[&str]) -> Result<(), InputError> {
        for member in members {
            if !known.contains(&member.key.as_str()) {
                let expected = format!("one of {}", known.join(", "));
                let what = format!("event `{}`", shorten(event));
                return Err(self.text.unknown_key(member, &what, &expected, known.iter().copied()));
            }
            self.need_value(member)?;
        }
        Ok(())
    }

    fn timer(&mut self, node: &Node, key: &str, timers: &mut PrivateTimers) -> Result<TimerOp, InputError> {
        let expected = "an object { \"ref\": name, \"period\": microseconds }";
        let members = self.text.table(node, key, expected)?;
        self.check_keys(members, key, &["ref", "period", "mode"])?;
        let (Some(reference), Some(period)) = (find(members, "ref"), find(members, "period")) else {
            let missing = if find(members, "ref").is_none() { "ref" } else { "period" };
            return Err(self.text.error(
                &node.span,
                format!("`{}` has no `{missing}`", shorten(key)),
                expected,
            ));
        };
        let name = self.text.string(&reference.node, "ref", "the name of a timer")?;
        let timer = if name.starts_with("unique") {
            TimerRef::Private(timers.number(name))
        } else {
            TimerRef::Shared(self.objects.id(Class::Timer, name))
        };
        let absolute = match find(members, "mode") {
            None => false,
            Some(mode) => match self.text.string(&mode.node, "mode", "\"relative\" or \"absolute\"")? {
                "relative" => false,
                "absolute" => true,
                other => {
                    let error = self.text.mismatch(&mode.node, "mode", "\"relative\" or \"absolute\"");
                    return Err(error.suggest(other, ["relative", "absolute"]));
                }
            },
        };
        Ok(TimerOp { timer, period: self.time(&period.node, "period")?, absolute })
    }

    fn suspend(&mut self, member: &Member, task_name: &str) -> Result<Op, InputError> {
        let name = match &member.node.value {
            Value::Absent => task_name,
            Value::Str(name) if self.compat == Compat::V1_0 => name,
            Value::Str(name) => {
                if name != task_name {
                    let message = format!("the name \"{}\" of `suspend` has no effect", shorten(name));
                    let consequence = format!(
                        "waits under the task's name `{}` (1.0 used the one given)",
                        shorten(task_name)
                    );
                    self.warn(&member.node.span, message, consequence);
                }
                task_name
            }
            _ => return Err(self.text.mismatch(&member.node, &member.key, "a name or nothing")),
        };
        Ok(Op::Wait { condition: self.objects.id(Class::Condition, name), mutex: None })
    }

    fn fork(&mut self, node: &Node, key: &str) -> Result<Op, InputError> {
        let name = self.text.string(node, key, "the name of a task")?;
        match self.specs.get(name) {
            Some(&spec) => Ok(Op::Fork(spec)),
            None => {
                let found = format!("there is no task `{}`", shorten(name));
                let error = self.text.error(&node.span, found, "the name of a task of this file");
                Err(error.suggest(name, self.specs.keys().map(String::as_str)))
            }
        }
    }

    /// Work of moving that many bytes.
    fn transfer(&self, node: &Node, key: &str, bytes_per_us: u32) -> Result<Ns, InputError> {
        let bytes = self.text.int(node, key, 0..=AMOUNT_MAX, "a number of bytes, at least 0")?;
        Ok((bytes.unsigned_abs() * 1000).div_ceil(u64::from(bytes_per_us.max(1))))
    }

    /// Work of `count` accesses, by kind.
    fn memrun(&self, node: &Node, key: &str) -> Result<Ns, InputError> {
        let expected = "an object { \"type\": ..., \"size\": bytes, \"count\": accesses }";
        let members = self.text.table(node, key, expected)?;
        self.check_keys(members, key, &["type", "size", "count", "stride", "pattern", "ref"])?;
        let choice = |name: &str, default: &'static str, known: &'static [&'static str]| {
            let Some(member) = find(members, name) else { return Ok(default) };
            let expected = format!("one of {}", known.join(", "));
            let word = self.text.string(&member.node, name, &expected)?;
            let found = known.iter().find(|&&candidate| candidate == word).copied();
            found.ok_or_else(|| {
                self.text.mismatch(&member.node, name, &expected).suggest(word, known.iter().copied())
            })
        };
        let kind = choice("type", "read", &["read", "write", "chase"])?;
        let pattern = choice("pattern", "random", &["random", "sequential"])?;
        for name in ["size", "stride"] {
            if let Some(member) = find(members, name) {
                self.text.int(&member.node, name, 1..=AMOUNT_MAX, "a number of bytes, at least 1")?;
            }
        }
        if let Some(member) = find(members, "ref") {
            self.text.string(&member.node, "ref", "the name of a buffer")?;
        }
        let count = match find(members, "count") {
            Some(member) => self.text.int(&member.node, "count", 0..=AMOUNT_MAX, "a number of accesses")?,
            None => return Err(self.text.error(&node.span, "`memrun` has no `count`", expected)),
        };
        let rates = self.options.rates;
        let access_ns = match (kind, pattern) {
            ("chase", _) => rates.chase_access_ns,
            (_, "sequential") => rates.sequential_access_ns,
            _ => rates.random_access_ns,
        };
        let work = count.unsigned_abs().checked_mul(u64::from(access_ns));
        work.filter(|&ns| ns <= 1_000_000_000_000_000_000).ok_or_else(|| {
            self.text.error(&node.span, "this much work takes over 31 years", "fewer accesses")
        })
    }
}
