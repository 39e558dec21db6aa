//! One CPU of an 8-CPU machine, driven by hand through the scheduler's inputs.
#![allow(unreachable_pub, dead_code, reason = "every test file uses its own part")]

use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Action, Input};
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Silent;
use evenkeel::sched::{Params, Sched};
use evenkeel::task::TaskParams;
use evenkeel::topology::Machine;
use evenkeel::workload::Policy;

/// The CPU.
pub const CPU: CpuId = CpuId(0);
/// A millisecond.
pub const MS: u64 = 1_000_000;

/// The machine, of which CPU 0 is used.
pub struct Bench {
    /// The scheduler.
    pub sched: Sched<Silent>,
    /// When the timer that ends slices fires.
    pub hrtick: Option<u64>,
}

impl Bench {
    /// Boots `kernel`, also one whose balancing is not modelled yet.
    pub fn new(kernel: &Kernel) -> Self {
        let machine = Machine::regular(1, 1, 8, 1, false);
        let kernel = Kernel { runs: true, ..*kernel };
        Self { sched: Sched::new(&machine, &kernel, Params::default(), Silent).unwrap(), hrtick: None }
    }

    /// A task that may run on the CPU only; a slice of 0 is the default one.
    pub fn task(&mut self, nice: i32, slice: u64) -> TaskId {
        let allowed = CpuMask::from_cpus(8, [CPU]);
        let group = TgId(0);
        self.sched.new_task(&TaskParams { policy: Policy::Normal, nice, slice, allowed, group })
    }

    /// Tasks of these nice values, all created at time 0 before the CPU reschedules.
    pub fn hogs<const N: usize>(&mut self, nice: [i32; N]) -> [TaskId; N] {
        let tasks = nice.map(|nice| self.task(nice, 0));
        for child in tasks {
            self.queue(child);
        }
        self.input(0, Input::Schedule { cpu: CPU });
        tasks
    }

    /// Creates a task at time 0 without what follows.
    pub fn queue(&mut self, child: TaskId) {
        self.sched.handle(0, Input::Fork { cpu: CPU, child });
        while self.sched.poll().is_some() {}
    }

    /// Feeds an input and everything it leads to at the same instant; true if the CPU was asked to reschedule.
    pub fn input(&mut self, now: u64, input: Input) -> bool {
        let mut inputs = vec![input];
        let mut rescheduled = false;
        while let Some(input) = inputs.pop() {
            self.sched.handle(now, input);
            while let Some(action) = self.sched.poll() {
                match action {
                    Action::Resched { cpu, .. } => {
                        rescheduled = true;
                        inputs.insert(0, Input::Schedule { cpu });
                    }
                    Action::RaiseSoftirq { cpu } => inputs.push(Input::Softirq { cpu }),
                    Action::Ipi { to, kind, .. } => inputs.push(Input::Ipi { cpu: to, kind }),
                    Action::StopCpu { cpu, .. } => inputs.push(Input::StopperRun { cpu }),
                    Action::HrtickStart { at, .. } => self.hrtick = Some(at),
                    Action::Switched { .. } | Action::GroupTimer { .. } | Action::LimitTimer { .. } => {}
                }
            }
        }
        self.sched.check();
        rescheduled
    }

    /// A tick of the CPU.
    pub fn tick(&mut self, now: u64) -> bool {
        self.input(now, Input::Tick { cpu: CPU })
    }

    /// Who runs.
    pub fn curr(&self) -> Option<TaskId> {
        self.sched.rqs()[0].curr
    }

    /// Virtual runtime and deadline relative to where the queue's virtual time began.
    pub fn times(&self, task: TaskId) -> (i64, i64) {
        let entity = self.sched.entity(task);
        let relative = |time: u64| time.wrapping_add(1 << 20) as i64;
        (relative(entity.vruntime), relative(entity.deadline))
    }
}
