//! A tiny text language for workloads, and a one-line-per-event rendering of what happened.
//!
//! One definition a line: `NAME [xN] [on CPU] [cpus LIST] [nice N] [fifo|rr N] [delay TIME] [process NAME]: OP; OP; ... [forever | times N]`.
//! `x0` only defines, for `fork NAME`. Objects exist by being named; a barrier's parties stand behind its name.
#![allow(dead_code, reason = "every test file uses its own part")]
use core::fmt::Write as _;
use evenkeel::ids::TaskId;
use evenkeel::observe::{Event, Observer, Running};
use evenkeel::time::{MS, Ns, SEC, US};
use evenkeel::workload::{
    Attributes, Object, ObjectId, ObjectKind, Op, Phase, Policy, Program, Repeat, SpecId, TaskSpec, TimerOp,
    TimerRef, Workload,
};

/// Reads `3ms`, `50us`, `2s`, `7ns`, `0`.
pub(crate) fn time(text: &str) -> Ns {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "ns" => 1,
        "us" => US,
        "ms" => MS,
        "s" => SEC,
        unit => panic!("unit {unit} of {text}"),
    };
    text[..digits].parse::<Ns>().unwrap_or_else(|_| panic!("time {text}")) * unit
}

/// Reads `0-2,5`.
pub(crate) fn cpus(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    if text == "all" { Vec::new() } else { text.split(',').flat_map(range).collect() }
}

fn object(workload: &mut Workload, name: &str, kind: ObjectKind) -> ObjectId {
    let at = workload.objects.iter().position(|object| object.name == name).unwrap_or_else(|| {
        workload.objects.push(Object { name: name.into(), kind });
        workload.objects.len() - 1
    });
    ObjectId(at as u32)
}

/// Reads `fifo 5`, `rr 5`, `deadline RUNTIME/DEADLINE/PERIOD`, `normal -`.
fn policy(name: &str, parameters: &str) -> Policy {
    match name {
        "fifo" => Policy::Fifo(parameters.parse().unwrap()),
        "rr" => Policy::RoundRobin(parameters.parse().unwrap()),
        "normal" => Policy::Normal,
        _ => {
            let times: Vec<Ns> = parameters.split('/').map(time).collect();
            Policy::Deadline { runtime: times[0], deadline: times[1], period: times[2] }
        }
    }
}

/// Reads a workload.
pub(crate) fn workload(text: &str) -> Workload {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names: Vec<&str> = lines().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    let mut workload = Workload::default();
    for line in lines() {
        let (head, body) = line.split_once(':').expect("a colon after the head");
        let mut words = head.split_whitespace();
        let mut spec = TaskSpec { name: words.next().unwrap().into(), instances: 1, ..TaskSpec::default() };
        while let Some(word) = words.next() {
            match word {
                "on" => spec.start_cpu = words.next().unwrap().parse().unwrap(),
                "cpus" => spec.attributes.affinity = Some(cpus(words.next().unwrap())),
                "nice" => spec.attributes.nice = Some(words.next().unwrap().parse().unwrap()),
                "process" => spec.process = Some(words.next().unwrap().into()),
                "batch" => spec.attributes.policy = Some(Policy::Batch),
                "fifo" | "rr" | "deadline" => {
                    spec.attributes.policy = Some(policy(word, words.next().unwrap()));
                }
                "delay" => spec.delay = time(words.next().unwrap()),
                _ => spec.instances = word.strip_prefix('x').expect("xN").parse().unwrap(),
            }
        }
        let mut repeat = Repeat::Times(1);
        let mut ops = Vec::new();
        for part in body.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_whitespace().collect::<Vec<_>>()[..] {
                ["forever"] => repeat = Repeat::Forever,
                ["times", times] => repeat = Repeat::Times(times.parse().unwrap()),
                ref words => ops.push(op(&mut workload, &names, words)),
            }
        }
        spec.program =
            Program { phases: vec![Phase { ops, repeat, ..Phase::default() }], repeat: Repeat::Times(1) };
        workload.tasks.push(spec);
    }
    workload
}

fn op(workload: &mut Workload, names: &[&str], words: &[&str]) -> Op {
    use ObjectKind::{Barrier, Channel, Condition, Mutex, Semaphore, Timer};
    let mut get = |name: &str, kind| object(workload, name, kind);
    let timer = |timer, period: &str, absolute| Op::Timer(TimerOp { timer, period: time(period), absolute });
    match *words {
        ["run", span] => Op::Run(time(span)),
        ["spin", span] => Op::RunUntilElapsed(time(span)),
        ["sleep", span] => Op::Sleep(time(span)),
        ["timer", period] => timer(TimerRef::Private(0), period, false),
        ["grid", period] => timer(TimerRef::Private(0), period, true),
        ["timer", name, period] => timer(TimerRef::Shared(get(name, Timer)), period, false),
        ["lock", name] => Op::Lock(get(name, Mutex)),
        ["unlock", name] => Op::Unlock(get(name, Mutex)),
        ["wait", name] => Op::Wait { condition: get(name, Condition), mutex: None },
        ["wait", name, mutex] => Op::Wait { condition: get(name, Condition), mutex: Some(get(mutex, Mutex)) },
        ["signal", name] => Op::Signal(get(name, Condition)),
        ["broadcast", name] => Op::Broadcast(get(name, Condition)),
        ["barrier", name, parties] => Op::Barrier(get(name, Barrier { parties: parties.parse().unwrap() })),
        ["post", name] => Op::SemPost(get(name, Semaphore { initial: 0 })),
        ["take", name] => Op::SemWait(get(name, Semaphore { initial: 0 })),
        ["send", name] => Op::Send { channel: get(name, Channel), sync: false },
        ["sync", name] => Op::Send { channel: get(name, Channel), sync: true },
        ["recv", name] => Op::Receive(get(name, Channel)),
        ["fork", name] => Op::Fork(SpecId(names.iter().position(|other| *other == name).unwrap() as u32)),
        ["exec"] => Op::Exec,
        ["free", name] => {
            let task = SpecId(names.iter().position(|other| *other == name).unwrap() as u32);
            Op::SetOf { task, attributes: Attributes { affinity: Some(Vec::new()), ..Attributes::default() } }
        }
        ["yield"] => Op::Yield,
        ["exit"] => Op::Exit,
        ["cpus", list] => Op::Set(Attributes { affinity: Some(cpus(list)), ..Attributes::default() }),
        ["policy", name, parameters] => {
            Op::Set(Attributes { policy: Some(policy(name, parameters)), ..Attributes::default() })
        }
        ["nice", nice] => Op::Set(Attributes { nice: Some(nice.parse().unwrap()), ..Attributes::default() }),
        ref words => panic!("operation {words:?}"),
    }
}

/// Records switches, with the time in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switches(pub(crate) Vec<(Ns, u32, Option<TaskId>, Option<TaskId>)>);

impl Observer for Switches {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        let task = |running: Running| match running {
            Running::Task(task) => Some(task),
            Running::Idle | Running::Stopper => None,
        };
        if let Event::Switch { cpu, prev, next, .. } = *event {
            self.0.push((now, cpu.0, task(prev), task(next)));
        }
    }
}

impl Switches {
    /// One line per switch: time in us, CPU, who leaves, who comes (`-` is idle or the stopper).
    pub(crate) fn render(&self, name: impl Fn(TaskId) -> String) -> String {
        let who = |task: Option<TaskId>| task.map_or("-".to_owned(), &name);
        let mut text = String::new();
        for &(now, cpu, prev, next) in &self.0 {
            let (us, ns) = (now / US, now % US);
            let fraction = if ns == 0 { String::new() } else { format!(".{ns:03}") };
            writeln!(text, "{us}{fraction} cpu{cpu} {} -> {}", who(prev), who(next)).unwrap();
        }
        text
    }
}
