//! A task as the scheduler sees it.
//!
//! In the kernel: `struct task_struct`, the parts the fair class and the balancer use.
use crate::balance::locality::TaskMemory;
use crate::cache_aware::TaskLlc;
use crate::ids::{CpuId, SeId, TaskId, TgId};
use crate::list::{LinkStore, Links};
use crate::mask::CpuMask;
use crate::time::{Jiffies, Ns};
use crate::workload::Policy;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Created, not yet forked.
    New,
    /// Running or runnable.
    Running,
    /// Asleep.
    Sleeping,
    /// Being woken: on another CPU's list of remote wake-ups.
    Waking,
    /// Ended.
    Dead,
}

/// Whether a task is on a run queue (`p->on_rq`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnRq {
    /// No.
    No,
    /// Yes; running, waiting or delayed.
    Queued,
    /// Between two queues.
    Migrating,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its scheduling entity.
    pub se: SeId,
    /// Its task group.
    pub group: TgId,
    /// State.
    pub state: TaskState,
    /// Whether it is on a queue.
    pub on_rq: OnRq,
    /// Its CPU (of the queue it is on or was on last).
    pub cpu: CpuId,
    /// The CPU that wake-up placement takes as the previous one.
    pub wake_cpu: CpuId,
    /// The CPU before that.
    pub recent_used_cpu: CpuId,
    /// Policy.
    pub policy: Policy,
    /// Round-robin: ticks left of its slice.
    pub rr_ticks: u32,
    /// Deadline: where it is in its present period.
    pub dl: crate::dl::DlState,
    /// Nice value.
    pub nice: i32,
    /// Where it may run.
    pub allowed: Arc<CpuMask>,
    /// The number of CPUs in that set.
    pub nr_cpus_allowed: u32,
    /// The largest capacity of a CPU in that set.
    pub max_allowed_capacity: u64,
    /// How often it woke another task than before, decaying.
    pub wakee_flips: u32,
    /// When those were last halved.
    pub wakee_flip_decay_ts: Jiffies,
    /// Whom it woke last.
    pub last_wakee: Option<TaskId>,
    /// The balancer has decided to move it although it is cache hot.
    pub sched_task_hot: bool,
    /// It is woken through another CPU's list and its CPU was changed for that.
    pub sched_remote_wakeup: bool,
    /// It is queued but cannot run: a limit of CPU time stops it.
    pub throttled: bool,
    /// Its process, and the last-level cache it prefers.
    pub llc: TaskLlc,
    /// Links of the list of tasks of its CPU, or of the limbo it is in.
    pub links: Links,
    /// Since when it waits for a CPU; 0 while it does not.
    pub last_queued: Ns,
    /// When it last got a CPU.
    pub last_arrival: Ns,
    /// Time waited in all.
    pub run_delay: Ns,
    /// How often it got a CPU.
    pub pcount: u64,
    /// Changes of CPU.
    pub nr_migrations: u64,
    /// Refusals to move it because of its affinity.
    pub nr_failed_migrations_affine: u64,
    /// Refusals to move it because it was running.
    pub nr_failed_migrations_running: u64,
    /// Refusals to move it because it was cache hot.
    pub nr_failed_migrations_hot: u64,
    /// Moves although it was cache hot.
    pub nr_forced_migrations: u64,
    /// What is known of where its memory lies; none: NUMA balancing has not looked.
    pub memory: Option<Arc<TaskMemory>>,
    /// A kernel thread that belongs to the CPU it is bound to (`kthread_is_per_cpu`): the balancer does not touch it.
    pub percpu_kthread: bool,
}

/// What [`Sched::new_task`](crate::sched::Sched::new_task) needs to know.
#[derive(Clone, Debug)]
pub struct TaskParams {
    /// Policy.
    pub policy: Policy,
    /// Nice value, -20..=19.
    pub nice: i32,
    /// Custom slice, ns; 0 for the default, else clamped to 0.1..=100 ms.
    pub slice: Ns,
    /// Where it may run; at least one CPU.
    pub allowed: CpuMask,
    /// Its task group; `TgId(0)` is the root group.
    pub group: TgId,
}

/// The tasks of a machine by number.
#[derive(Clone, Debug, Default)]
pub struct Tasks(pub(crate) Vec<Task>);

impl core::ops::Index<TaskId> for Tasks {
    type Output = Task;
    #[inline]
    fn index(&self, task: TaskId) -> &Task {
        &self.0[task.index()]
    }
}

impl core::ops::IndexMut<TaskId> for Tasks {
    #[inline]
    fn index_mut(&mut self, task: TaskId) -> &mut Task {
        &mut self.0[task.index()]
    }
}

impl LinkStore for Tasks {
    #[inline]
    fn links(&mut self, task: TaskId) -> &mut Links {
        &mut self.0[task.index()].links
    }
}

impl Tasks {
    /// All tasks with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.0.iter().enumerate().map(|(i, task)| (TaskId(i as u32), task))
    }

    /// How many there are, dead ones included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
