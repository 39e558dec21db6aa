//! Our own runs as traces: the records a kernel would have written, so that one implementation measures both.
//!
//! A CPU without work looks for some before it switches to the idle task. Here that takes no time while it is decided, and
//! the time afterwards; so the record of such a switch gets the time at which the CPU is done with it.
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
    records: Vec<TraceRecord>,
    /// By CPU, the record of its switch to idle, until it is known when that was over.
    going_idle: Vec<Option<usize>>,
    /// When a task was last told where it may run.
    pub last_affinity: Ns,
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

impl Recorder {
    /// The records, by time.
    pub fn into_records(mut self) -> Vec<TraceRecord> {
        self.records.sort_by_key(|record| record.at);
        self.records
    }

    /// `cpu` executes something: if it was looking for work before going idle, it is done with that, and switches only now.
    fn executes(&mut self, cpu: CpuId, now: Ns) {
        if cpu.index() >= self.going_idle.len() {
            self.going_idle.resize(cpu.index() + 1, None);
        }
        if let Some(record) = self.going_idle[cpu.index()].take() {
            self.records[record].at = now;
        }
    }
}

impl Observer for Recorder {
    const ON: bool = true;

    fn event(&mut self, now: Ns, event: &Event) {
        match event {
            Event::Affinity { .. } => self.last_affinity = now,
            Event::IdleEnter { cpu, .. } => self.executes(*cpu, now),
            _ => {}
        }
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
        if !matches!(event, TraceEvent::Migrate { .. }) {
            self.executes(cpu, now);
        }
        if matches!(&event, TraceEvent::Switch { next, .. } if next.pid == 0) {
            self.going_idle[cpu.index()] = Some(self.records.len());
        }
        self.records.push(TraceRecord { at: now, cpu: cpu.0, interrupt: false, event });
    }
}
