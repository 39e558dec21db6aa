//! What one CPU's queue costs: the running task sleeps, the next is picked, and the sleeper is woken again, with a number of
//! tasks queued. `benches/queue_ops` counts the instructions of such a round (docs/benchmarks.md).
//!
//! `queue_ops KERNEL TASKS ROUNDS [off | no-op | counting]`; the last word is the observer. It prints nothing: it is for
//! counting instructions.
use core::hint::black_box;
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Input, WakeContext};
use evenkeel::kernel::{Features, Kernel};
use evenkeel::kernels;
use evenkeel::mask::CpuMask;
use evenkeel::observe::{Event, Observer, Silent};
use evenkeel::sched::{Params, Sched};
use evenkeel::task::TaskParams;
use evenkeel::topology::Machine;
use evenkeel::workload::Policy;

const CPU: CpuId = CpuId(0);
/// How long each task runs before it sleeps, ns.
const RUN: u64 = 50_000;

/// Wants every event and does nothing.
struct NoOp;

impl Observer for NoOp {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, _now: u64, event: &Event) {
        black_box(event);
    }
}

/// Counts events.
struct Counting(u64);

impl Observer for Counting {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, _now: u64, event: &Event) {
        black_box(event);
        self.0 += 1;
    }
}

fn drain<O: Observer>(sched: &mut Sched<O>) {
    while let Some(action) = sched.poll() {
        black_box(action);
    }
}

fn input<O: Observer>(sched: &mut Sched<O>, now: u64, input: Input) {
    sched.handle(now, input);
    drain(sched);
}

fn run<O: Observer>(kernel: &Kernel, tasks: u32, rounds: u64, observer: O) {
    let machine = Machine::regular(1, 1, 1, 1, false);
    let mut sched = Sched::new(&machine, kernel, Params::default(), observer).expect("the kernel runs");
    for number in 0..tasks {
        let nice = number as i32 % 5 - 2;
        let allowed = CpuMask::all(1);
        let params = TaskParams { policy: Policy::Normal, nice, slice: 0, allowed, group: TgId(0) };
        let child = sched.new_task(&params);
        input(&mut sched, 0, Input::Fork { cpu: CPU, child });
    }
    input(&mut sched, 0, Input::Schedule { cpu: CPU });
    let mut now = 0;
    for _ in 0..rounds {
        now += RUN;
        let task: TaskId = sched.rqs()[0].curr.expect("there is always a task");
        input(&mut sched, now, Input::Block { cpu: CPU });
        let context = WakeContext { interrupt: true, sync: false };
        input(&mut sched, now, Input::Wake { cpu: CPU, task, context });
        input(&mut sched, now, Input::Schedule { cpu: CPU });
    }
    black_box(sched.rqs()[0].clock);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: queue_ops KERNEL TASKS ROUNDS [off | no-op | counting]";
    let kernel = words.first().and_then(|name| kernels::find(name)).expect(usage);
    let number = |index: usize| words.get(index).and_then(|word| word.parse().ok()).expect(usage);
    let (tasks, rounds) = (number(1), number(2));
    // Every sleep is a real dequeue, so that kernels of both families do the same.
    let features = kernel.features.difference(Features::DELAY_DEQUEUE.union(Features::HRTICK));
    let kernel = &Kernel { features, ..*kernel };
    match words.get(3).map_or("off", String::as_str) {
        "off" => run(kernel, tasks as u32, rounds, Silent),
        "no-op" => run(kernel, tasks as u32, rounds, NoOp),
        "counting" => run(kernel, tasks as u32, rounds, Counting(0)),
        _ => panic!("{usage}"),
    }
}
