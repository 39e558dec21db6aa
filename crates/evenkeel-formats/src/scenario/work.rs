//! Operations of a scenario's `work` lists: one line of text each.
use super::Reader;
use super::values::{A_POLICY, parse_duration, parse_policy};
use crate::diagnostic::InputError;
use crate::objects::Class;
use crate::tree::{Node, Span, Value, shorten};
use evenkeel::time::Ns;
use evenkeel::workload::{Attributes, ObjectId, Op, Origin, SpecId, TimerOp, TimerRef, group_path};
use std::collections::BTreeSet;

/// Every operation with its arguments: name, usage, what it does.
pub const OPERATIONS: [(&str, &str, &str); 24] = [
    ("run", "run DURATION", "work that takes this long on a CPU of capacity 1024"),
    ("busy", "busy DURATION", "be busy until this much time has passed, waiting included"),
    ("sleep", "sleep DURATION", "sleep this long from now"),
    (
        "timer",
        "timer PERIOD [shared NAME] [catch-up]",
        "sleep to the next multiple of the period; one missed restarts it, or is caught up",
    ),
    ("wait", "wait CONDITION [MUTEX]", "release the mutex, wait to be signalled, take the mutex again"),
    ("signal", "signal CONDITION", "wake the longest waiter"),
    ("broadcast", "broadcast CONDITION", "wake all waiters"),
    ("sync", "sync CONDITION [MUTEX]", "signal, then wait"),
    ("lock", "lock MUTEX", "take the mutex, waiting while it is held"),
    ("unlock", "unlock MUTEX", "release the mutex to the longest waiter"),
    ("barrier", "barrier NAME", "wait until all have arrived"),
    ("post", "post SEMAPHORE", "count up, waking the longest waiter"),
    ("take", "take SEMAPHORE", "count down, waiting while it is 0"),
    (
        "send",
        "send CHANNEL [nosync]",
        "write a message as a pipe does: the wake-up says the writer will block soon",
    ),
    ("recv", "recv CHANNEL", "read a message, waiting while there is none"),
    ("fork", "fork TASK [COUNT]", "start an instance of a task, or several in a row"),
    ("exec", "exec", "replace the program image: the kernel may choose another CPU"),
    ("yield", "yield", "let others run"),
    ("exit", "exit", "end the task"),
    ("nice", "nice VALUE", "change own nice value, -20 to 19"),
    ("affinity", "affinity CPUS", "change own CPUs: `all` or a list such as `0-3,8`"),
    ("policy", "policy NAME [PARAMETERS]", "change own policy"),
    ("slice", "slice DURATION", "ask for this slice"),
    ("group", "group /PATH", "move to another control group"),
];

/// More forks than this in one operation are refused.
const FORKS_MAX: u32 = 100_000;

/// What the operations of one task definition share.
pub(super) struct TaskContext {
    pub(super) instances: u32,
    /// Barriers it comes to: an instance counts once however often it arrives.
    pub(super) barriers: BTreeSet<ObjectId>,
}

/// One operation being read, word by word.
struct Line<'n> {
    node: &'n Node,
    words: Vec<&'n str>,
    /// Where the text begins in the file, if it stands there as it is.
    base: Option<usize>,
    text: &'n str,
    usage: &'static str,
}

impl Line<'_> {
    fn span(&self, index: usize) -> Span {
        let (Some(base), Some(word)) = (self.base, self.words.get(index)) else {
            return self.node.span.clone();
        };
        let start = base + (word.as_ptr() as usize - self.text.as_ptr() as usize);
        start..start + word.len()
    }
}

impl Reader<'_> {
    /// Appends one operation (or several, for a repeated fork) to `ops`.
    pub(super) fn operation(
        &mut self,
        node: &Node,
        task: &mut TaskContext,
        ops: &mut Vec<Op>,
        origins: &mut Vec<Origin>,
    ) -> Result<(), InputError> {
        let text = self.text.string(node, "work", "operations in quotes, such as \"run 3ms\"")?;
        let is_verbatim =
            |start: usize| self.text.as_str().get(start..).is_some_and(|rest| rest.starts_with(text));
        let base = Some(node.span.start + 1).filter(|&start| is_verbatim(start));
        let mut line = Line { node, words: text.split_whitespace().collect(), base, text, usage: "" };
        let Some(&name) = line.words.first() else {
            return Err(self.text.error(&node.span, "an empty operation", "an operation such as `run 3ms`"));
        };
        let Some(&(_, usage, _)) = OPERATIONS.iter().find(|(known, _, _)| *known == name) else {
            let names = OPERATIONS.iter().map(|&(name, _, _)| name);
            let found = format!("unknown operation `{}`", shorten(name));
            let expected = "an operation such as `run 3ms`, `sleep 2ms` or `wait c`";
            return Err(self.text.error(&line.span(0), found, expected).suggest(name, names));
        };
        line.usage = usage;
        let (op, count) = self.parse_operation(name, &line, task)?;
        let origin = self.text.origin(line.span(0).start);
        for _ in 0..count {
            ops.push(op.clone());
            origins.push(origin);
        }
        Ok(())
    }

    fn parse_operation(
        &mut self,
        name: &str,
        line: &Line<'_>,
        task: &mut TaskContext,
    ) -> Result<(Op, u32), InputError> {
        let arguments = &line.words[1..];
        let op = match (name, arguments) {
            ("run", [_]) => Op::Run(self.duration_word(line, 1)?),
            ("busy", [_]) => Op::RunUntilElapsed(self.duration_word(line, 1)?),
            ("sleep", [_]) => Op::Sleep(self.duration_word(line, 1)?),
            ("timer", [_, ..]) => Op::Timer(self.timer(line)?),
            ("wait", [c, m @ ..]) if m.len() <= 1 => {
                let (condition, mutex) = self.condition_and_mutex(line, c, m.first().copied());
                Op::Wait { condition, mutex }
            }
            ("sync", [c, m @ ..]) if m.len() <= 1 => {
                let (condition, mutex) = self.condition_and_mutex(line, c, m.first().copied());
                Op::SignalAndWait { condition, mutex }
            }
            ("signal", [c]) => Op::Signal(self.object(Class::Condition, c, line.span(1))),
            ("broadcast", [c]) => Op::Broadcast(self.object(Class::Condition, c, line.span(1))),
            ("lock", [m]) => Op::Lock(self.object(Class::Mutex, m, line.span(1))),
            ("unlock", [m]) => Op::Unlock(self.object(Class::Mutex, m, line.span(1))),
            ("post", [s]) => Op::SemPost(self.object(Class::Semaphore, s, line.span(1))),
            ("take", [s]) => Op::SemWait(self.object(Class::Semaphore, s, line.span(1))),
            ("recv", [c]) => Op::Receive(self.object(Class::Channel, c, line.span(1))),
            ("send", [c]) => Op::Send { channel: self.object(Class::Channel, c, line.span(1)), sync: true },
            ("send", [c, "nosync"]) => {
                Op::Send { channel: self.object(Class::Channel, c, line.span(1)), sync: false }
            }
            ("barrier", [b]) => {
                let barrier = self.object(Class::Barrier, b, line.span(1));
                if task.barriers.insert(barrier) {
                    self.objects.add_parties(barrier, task.instances);
                }
                Op::Barrier(barrier)
            }
            ("fork", [_]) => Op::Fork(self.fork_target(line)?),
            ("fork", [_, count]) => {
                let count = count.parse().ok().filter(|count| (1..=FORKS_MAX).contains(count));
                let count = count.ok_or_else(|| self.bad_word(line, 2, "a number of forks, at least 1"))?;
                return Ok((Op::Fork(self.fork_target(line)?), count));
            }
            ("exec", []) => Op::Exec,
            ("yield", []) => Op::Yield,
            ("exit", []) => Op::Exit,
            _ => Op::Set(self.own_attributes(name, line)?),
        };
        Ok((op, 1))
    }

    /// Operations that change the task's own attributes; anything else has wrong arguments.
    fn own_attributes(&self, name: &str, line: &Line<'_>) -> Result<Attributes, InputError> {
        let mut attributes = Attributes::default();
        match (name, &line.words[1..]) {
            ("nice", [value]) => {
                let nice = value.parse().ok().filter(|nice| (-20..=19).contains(nice));
                let nice = nice.ok_or_else(|| self.bad_word(line, 1, "a nice value from -20 to 19"))?;
                attributes.nice = Some(nice);
            }
            ("affinity", [cpus]) => attributes.affinity = Some(self.cpu_list(cpus, &line.span(1))?),
            ("policy", words @ [_, ..]) => {
                let policy = parse_policy(words).ok_or_else(|| self.bad_word(line, 1, A_POLICY))?;
                if let Some(fault) = policy.fault() {
                    return Err(self.text.error(&line.span(1), fault, "runtime <= deadline <= period"));
                }
                attributes.policy = Some(policy);
            }
            ("slice", [_]) => attributes.slice = Some(self.duration_word(line, 1)?),
            ("group", [path]) => {
                let Some(names) = group_path(path) else {
                    return Err(self.bad_word(line, 1, "the path of a group, beginning with `/`"));
                };
                attributes.group = Some(format!("/{}", names.join("/")));
            }
            _ => {
                let found = format!("wrong arguments of `{name}`");
                return Err(self.text.error(&line.node.span, found, format!("`{}`", line.usage)));
            }
        }
        Ok(attributes)
    }

    fn bad_word(&self, line: &Line<'_>, index: usize, expected: &str) -> InputError {
        let word = line.words.get(index).copied().unwrap_or("");
        self.text.error(&line.span(index), format!("`{}` in `{}`", shorten(word), line.usage), expected)
    }

    fn duration_word(&self, line: &Line<'_>, index: usize) -> Result<Ns, InputError> {
        let duration = line.words.get(index).and_then(|word| parse_duration(word));
        duration.ok_or_else(|| self.bad_word(line, index, "a duration with its unit, such as 10ms or 1.5s"))
    }

    fn timer(&mut self, line: &Line<'_>) -> Result<TimerOp, InputError> {
        let period = self.duration_word(line, 1)?;
        let mut options = &line.words[2..];
        let mut timer = TimerRef::Private(0);
        if let ["shared", name, rest @ ..] = options {
            timer = TimerRef::Shared(self.object(Class::Timer, name, line.span(3)));
            options = rest;
        }
        let absolute = match options {
            [] => false,
            ["catch-up"] => true,
            _ => {
                return Err(self.bad_word(
                    line,
                    line.words.len() - options.len(),
                    "`shared NAME` or `catch-up`",
                ));
            }
        };
        Ok(TimerOp { timer, period, absolute })
    }

    fn condition_and_mutex(
        &mut self,
        line: &Line<'_>,
        condition: &str,
        mutex: Option<&str>,
    ) -> (ObjectId, Option<ObjectId>) {
        let condition = self.object(Class::Condition, condition, line.span(1));
        (condition, mutex.map(|mutex| self.object(Class::Mutex, mutex, line.span(2))))
    }

    fn fork_target(&self, line: &Line<'_>) -> Result<SpecId, InputError> {
        let name = line.words[1];
        match self.specs.get(name).map(Vec::as_slice) {
            Some([spec]) => Ok(*spec),
            Some(_) => {
                let found = format!("task `{}` is written per instance with {{i}}", shorten(name));
                Err(self.text.error(&line.span(1), found, "a task without {i}"))
            }
            None => Err(self.unknown_task(name, &line.span(1))),
        }
    }

    pub(super) fn unknown_task(&self, name: &str, span: &Span) -> InputError {
        let found = format!("there is no task `{}`", shorten(name));
        let error = self.text.error(span, found, "the name of a task of this file");
        error.suggest(name, self.specs.keys().map(String::as_str))
    }
}

/// Whether any text in the tree contains `{i}`.
pub(super) fn mentions_instance(node: &Node) -> bool {
    match &node.value {
        Value::Str(text) => text.contains("{i}"),
        Value::List(items) => items.iter().any(mentions_instance),
        Value::Table(members) => members.iter().any(|member| mentions_instance(&member.node)),
        _ => false,
    }
}

/// The tree with `{i}` replaced by the number of an instance.
pub(super) fn for_instance(node: &Node, instance: u32) -> Node {
    let mut copy = node.clone();
    replace_instance(&mut copy, &instance.to_string());
    copy
}

fn replace_instance(node: &mut Node, number: &str) {
    match &mut node.value {
        Value::Str(text) => *text = text.replace("{i}", number),
        Value::List(items) => items.iter_mut().for_each(|item| replace_instance(item, number)),
        Value::Table(members) => {
            members.iter_mut().for_each(|member| replace_instance(&mut member.node, number))
        }
        _ => {}
    }
}
