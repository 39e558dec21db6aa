//! A host for tests: everything that the scheduler asks for happens at once, in the order of a kernel.
#![allow(unreachable_pub, dead_code, reason = "every test file uses its own part")]
use evenkeel::ids::{CpuId, TaskId, TgId};
use evenkeel::io::{Action, Input, WakeContext};
use evenkeel::kernel::Kernel;
use evenkeel::kernels::V6_12_117;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Silent;
use evenkeel::sched::{Params, Sched};
use evenkeel::task::TaskParams;
use evenkeel::topology::Machine;
use evenkeel::workload::Policy;

/// A machine, driven by hand.
pub struct Bench {
    pub sched: Sched<Silent>,
}

impl Bench {
    pub fn new(machine: &Machine) -> Self {
        Self::of(&V6_12_117, machine)
    }

    pub fn of(kernel: &Kernel, machine: &Machine) -> Self {
        Self { sched: Sched::new(machine, kernel, Params::default(), Silent).unwrap() }
    }

    fn mask(&self, cpus: &str) -> CpuMask {
        CpuMask::parse_list(cpus, self.sched.rqs().len()).unwrap()
    }

    /// Forks a task from CPU 0.
    pub fn spawn(&mut self, now: u64, cpus: &str) -> TaskId {
        let allowed = self.mask(cpus);
        let params = TaskParams { policy: Policy::Normal, nice: 0, slice: 0, allowed, group: TgId(0) };
        let child = self.sched.new_task(&params);
        self.input(now, Input::Fork { cpu: CpuId(0), child });
        child
    }

    /// Wakes a task by an interrupt on `cpu`.
    pub fn wake(&mut self, now: u64, cpu: CpuId, task: TaskId) {
        self.input(now, Input::Wake { cpu, task, context: WakeContext { interrupt: true, sync: false } });
    }

    /// Changes an affinity, from CPU 0.
    pub fn allow(&mut self, now: u64, task: TaskId, cpus: &str) {
        let allowed = self.mask(cpus);
        self.input(now, Input::SetAffinity { cpu: CpuId(0), task, allowed });
    }

    pub fn curr(&self, cpu: CpuId) -> Option<TaskId> {
        self.sched.rqs()[cpu.index()].curr
    }

    /// The tick of every busy CPU.
    pub fn tick_busy(&mut self, now: u64) {
        for cpu in (0..self.sched.rqs().len() as u32).map(CpuId) {
            if self.curr(cpu).is_some() {
                self.input(now, Input::Tick { cpu });
            }
        }
    }

    /// Feeds an input and everything it leads to, at the same instant. Softirqs come before interrupts to other CPUs, and
    /// reschedules last.
    pub fn input(&mut self, now: u64, input: Input) {
        let (mut first, mut then, mut last) = (vec![input], Vec::new(), Vec::new());
        while let Some(input) = first.pop().or_else(|| then.pop()).or_else(|| last.pop()) {
            self.sched.handle(now, input);
            while let Some(action) = self.sched.poll() {
                match action {
                    Action::Resched { cpu, .. } => last.insert(0, Input::Schedule { cpu }),
                    Action::RaiseSoftirq { cpu } => first.insert(0, Input::Softirq { cpu }),
                    Action::Ipi { to, kind, .. } => then.insert(0, Input::Ipi { cpu: to, kind }),
                    Action::StopCpu { cpu, .. } => then.insert(0, Input::StopperRun { cpu }),
                    Action::Switched { cpu, next: None, .. } => {
                        last.insert(0, Input::IdleEnter { cpu, stop_tick: true });
                    }
                    Action::Switched { .. }
                    | Action::HrtickStart { .. }
                    | Action::GroupTimer { .. }
                    | Action::LimitTimer { .. } => {}
                }
            }
        }
        self.sched.check();
    }
}
