//! Devices that interrupt: their handlers take the CPU from whoever runs there.
//!
//! While a handler runs the program makes no progress, and nothing else happens on the CPU: ticks, timers, interrupts from
//! other CPUs and reschedules wait until it is done. A task with 10 ms of work on a CPU that is interrupted every 1 ms for
//! 100 us takes 11 ms. The scheduler does not see that: the kernels modelled are built without accounting of interrupt
//! time, so what is stolen counts as running time of the task that was interrupted, and an idle CPU stays idle. With the
//! setting `irq_time_accounting` the scheduler is told: it takes the time off what the task has had, and off the CPU's capacity.
//! The times that this crate measures are those of the CPU either way.
use super::{Doing, Simulation};
use crate::error::{Blame, SimError};
use crate::timers::{Kind, Timer};
use crate::turns::Execution;
use evenkeel::ids::CpuId;
use evenkeel::io::Input;
use evenkeel::observe::Observer;
use evenkeel::time::Ns;
use evenkeel::workload::Workload;

/// Refuses sources that make no sense on `ncpus` CPUs.
pub(super) fn check(workload: &Workload, ncpus: usize, execution: Execution) -> Result<(), SimError> {
    let blame = Blame { workload, task: "(interrupts)" };
    for source in &workload.interrupts {
        if source.run >= source.every {
            return Err(
                blame.invalid(source.origin, "an interrupt takes less time than there is between two")
            );
        }
        if let Some(cpu) = source.cpus.iter().find(|&&cpu| cpu as usize >= ncpus) {
            return Err(blame.invalid(source.origin, format!("CPU {cpu} does not exist")));
        }
        if matches!(execution, Execution::InTurn(_)) {
            return Err(blame.unsupported(source.origin, "interrupts on CPUs that execute in turn"));
        }
    }
    Ok(())
}

impl<O: Observer> Simulation<O> {
    /// A device interrupts its CPUs.
    pub(super) fn device(&mut self, index: usize) {
        let source = &self.workload.interrupts[index];
        let (next, run) = (self.now.saturating_add(source.every), source.run);
        if next < Ns::MAX {
            self.timers.arm(Timer::Device(index as u32), next);
        }
        for cpu in self.workload.interrupts[index].cpus.clone().into_iter().map(CpuId) {
            // Nobody interrupts a CPU that is offline.
            if self.sched.online().contains(cpu) {
                self.steal(cpu, run);
            }
        }
    }

    /// The CPU is taken for `span`, after what it is taken for already.
    fn steal(&mut self, cpu: CpuId, span: Ns) {
        let state = &mut self.cpus[cpu.index()];
        let from = state.interrupted_until.max(self.now);
        state.interrupted_until = from.saturating_add(span);
        let until = state.interrupted_until;
        // The program rests: either it goes on later, or it begins later.
        let start =
            if state.burst_since > self.now { state.burst_since.max(from) } else { state.burst_since };
        state.burst_since = start.saturating_add(span);
        self.meters.stolen(cpu, span);
        self.input(Input::Interrupted { cpu, until, span });
        let state = &self.cpus[cpu.index()];
        let Some(task) = state.running else { return };
        match self.instances[task.index()].doing {
            // A busy wait ends on time, unless the handler is still at it.
            Doing::Spinning(_) | Doing::Next => {
                self.cpus[cpu.index()].burst_since = self.cpus[cpu.index()].burst_since.max(until);
                self.arm_burst(cpu);
            }
            Doing::Running(_) | Doing::Working(_) => self.arm_burst(cpu),
            Doing::Blocked | Doing::Dead => {}
        }
    }

    /// Whether something on `cpu` has to wait for a handler; then it is armed for its end.
    pub(super) fn waits_for_handler(&mut self, cpu: CpuId, timer: Timer) -> bool {
        let until = self.cpus[cpu.index()].interrupted_until;
        if until <= self.now || timer == Timer::Cpu(Kind::Burst, cpu) {
            return false;
        }
        self.timers.arm_by(timer, until);
        if self.timers.armed(timer) == Some(self.now) {
            self.timers.arm(timer, until);
        }
        true
    }
}
