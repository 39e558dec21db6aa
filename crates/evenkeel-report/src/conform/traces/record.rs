//! Our own runs as traces: the records a kernel would have written, so that one implementation measures both.
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::observe::{Event, Observer, PrevState, Running};
use evenkeel::time::Ns;
use evenkeel_formats::ftrace::{LeftAs, TraceEvent, TraceRecord, TraceTask};

/// The number of the first simulated task, which starts `init`; `init` itself gets 1, as everywhere.
const FIRST_PID: i32 = 100;
/// The number of CPU 0's stopper.
const STOPPER_PID: i32 = 10_000_000;

/// Writes what happens as trace records. Names are left empty: measures go by numbers.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The records so far.
    pub records: Vec<TraceRecord>,
}

/// A task's number in the trace. Task 0 is the launcher, task 1 the `init` that it forks.
fn pid(task: TaskId) -> i32 {
    match task.index() {
        1 => 1,
        index => FIRST_PID + index as i32,
    }
}

fn named(pid: i32) -> TraceTask {
    TraceTask { comm: String::new(), pid }
}

fn who(running: Running, cpu: CpuId) -> TraceTask {
    named(match running {
        Running::Idle => 0,
        Running::Task(task) => pid(task),
        Running::Stopper => STOPPER_PID + cpu.0 as i32,
    })
}

impl Observer for Recorder {
    const ON: bool = true;

    fn event(&mut self, now: Ns, event: &Event) {
        let task = |task: TaskId| named(pid(task));
        let (cpu, event) = match *event {
            Event::Switch { cpu, prev, prev_state, next } => {
                let prev_state = match prev_state {
                    PrevState::Runnable => LeftAs::Runnable,
                    PrevState::Sleeping => LeftAs::Blocked,
                    PrevState::Dead => LeftAs::Dead,
                };
                // A stopper has nothing more to do when it leaves.
                let prev_state = if prev == Running::Stopper { LeftAs::Blocked } else { prev_state };
                (cpu, TraceEvent::Switch { prev: who(prev, cpu), prev_state, next: who(next, cpu) })
            }
            Event::Waking { cpu, task: woken, target_cpu, .. } => {
                (cpu, TraceEvent::Waking { task: task(woken), target_cpu: target_cpu.0 })
            }
            Event::Wakeup { cpu, task: woken, target_cpu } => {
                (cpu, TraceEvent::Wakeup { task: task(woken), target_cpu: target_cpu.0 })
            }
            Event::WakeupNew { cpu, task: new, target_cpu } => {
                (cpu, TraceEvent::WakeupNew { task: task(new), target_cpu: target_cpu.0 })
            }
            Event::MigrateTask { task: moved, orig_cpu, dest_cpu, .. } => {
                let event =
                    TraceEvent::Migrate { task: task(moved), orig_cpu: orig_cpu.0, dest_cpu: dest_cpu.0 };
                (dest_cpu, event)
            }
            Event::Fork { cpu, parent, child } => {
                let parent = named(parent.map_or(0, pid));
                (cpu, TraceEvent::Fork { parent, child: task(child) })
            }
            Event::Exit { cpu, task: ends } => (cpu, TraceEvent::Exit { task: task(ends) }),
            _ => return,
        };
        self.records.push(TraceRecord { at: now, cpu: cpu.0, interrupt: false, event });
    }
}
