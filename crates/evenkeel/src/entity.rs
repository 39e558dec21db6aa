//! Scheduling entities and the queues they wait on: the data, and the accounting that must never be forgotten.
//!
//! A task's entity is on the queue of its task group on its CPU; the group's own entity is on the queue of the parent group,
//! and so on up to the root queue of the CPU.
//!
//! In the kernel: `struct sched_entity`, `struct cfs_rq`. Specified in spec 2 §3.
use crate::bandwidth::QueueBandwidth;
use crate::ids::{CpuId, QueueId, SeId, TaskId, TgId};
use crate::list::TaskList;
use crate::pelt::SchedAvg;
use crate::queue_rules::{MeanReference, VirtualTime};
use crate::time::{Jiffies, Ns};
use crate::timeline::Timeline;
use crate::weight::LoadWeight;

/// What competes for a CPU on one queue.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Weight with inverse.
    pub load: LoadWeight,
    /// Queued or current.
    pub on_rq: bool,
    /// Kept on the queue although asleep, until it is picked (`sched_delayed`).
    pub sched_delayed: bool,
    /// The slice was set by the user.
    pub custom_slice: bool,
    /// The deadline is relative to the virtual runtime, in transit between queues.
    pub rel_deadline: bool,
    /// When the running time was last accounted; 0 after a migration.
    pub exec_start: Ns,
    /// Running time in all.
    pub sum_exec: Ns,
    /// Running time when the entity was last switched in.
    pub prev_sum_exec: Ns,
    /// Virtual runtime.
    pub vruntime: u64,
    /// Virtual deadline.
    pub deadline: u64,
    /// Off the queue: lag to keep. Current: the deadline for which it is protected from preemption.
    pub vlag: i64,
    /// Current: the virtual time until which it is protected, in kernels that keep it apart from the lag.
    pub vprot: u64,
    /// Slice, ns.
    pub slice: Ns,
    /// Load tracking.
    pub avg: SchedAvg,
    /// The queue it is on, or was on last.
    pub cfs_rq: QueueId,
    /// The group entity above; none at the root.
    pub parent: Option<SeId>,
    /// The queue it represents; none for a task.
    pub my_queue: Option<QueueId>,
    /// The task it is; none for a group.
    pub task: Option<TaskId>,
    /// How many levels above it: 0 on a root queue.
    pub depth: u32,
    /// Of a group: runnable tasks below, as last noted; it lags behind inside one operation. Where contributions are
    /// scaled: the full-resolution weight with which it counts as runnable.
    pub runnable_weight: u64,
}

impl Entity {
    /// An entity that is nowhere.
    pub fn new(load: LoadWeight, slice: Ns) -> Self {
        Self {
            load,
            on_rq: false,
            sched_delayed: false,
            custom_slice: false,
            rel_deadline: false,
            exec_start: 0,
            sum_exec: 0,
            prev_sum_exec: 0,
            vruntime: 0,
            deadline: 0,
            vlag: 0,
            vprot: 0,
            slice,
            avg: SchedAvg::default(),
            cfs_rq: QueueId(0),
            parent: None,
            my_queue: None,
            task: None,
            depth: 0,
            runnable_weight: 0,
        }
    }

    /// The weight in table units.
    #[inline]
    #[expect(clippy::misnamed_getters, reason = "the full-resolution weight has another name")]
    pub fn weight(&self) -> u64 {
        self.load.scaled
    }
}

/// Contributions of tasks that left while asleep, waiting for the queue's next update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub nr: u32,
    /// Sum of `load_avg`.
    pub load_avg: u64,
    /// Sum of `util_avg`.
    pub util_avg: u64,
    /// Sum of `runnable_avg`.
    pub runnable_avg: u64,
    /// Sum of `load_sum`.
    pub load_sum: u64,
}

/// One fair run queue (`struct cfs_rq`).
#[derive(Clone, Debug)]
pub struct CfsRq {
    /// Its CPU.
    pub cpu: CpuId,
    /// The task group whose tasks it holds.
    pub group: TgId,
    /// The entity that represents it on the parent group's queue; none for a root queue.
    pub owner: Option<SeId>,
    /// The group is of the idle kind (`cpu.idle`).
    pub idle: bool,
    /// On the CPU's list of queues whose load is tracked.
    pub on_list: bool,
    /// Sum of the full-resolution weights of queued entities, current included.
    pub load_weight: u64,
    /// The same of the weights with which entities count as runnable, where contributions are scaled.
    pub runnable_weight: u64,
    /// Entities queued, current and delayed included.
    pub nr_running: u32,
    /// Tasks in the subtree, delayed included.
    pub h_nr_queued: u32,
    /// Delayed tasks in the subtree.
    pub h_nr_delayed: u32,
    /// `SCHED_IDLE` tasks, and tasks of idle groups, in the subtree.
    pub idle_h_nr_running: u32,
    /// The waiting entities.
    pub timeline: Timeline,
    /// The running entity; never in the timeline.
    pub curr: Option<SeId>,
    /// The entity to prefer at the next pick, if it is eligible.
    pub next: Option<SeId>,
    /// Classic CFS: the entity that was preempted, to return to.
    pub last: Option<SeId>,
    /// Classic CFS: the entity to pass over once.
    pub skip: Option<SeId>,
    /// What virtual time is here.
    pub virtual_time: VirtualTime,
    /// When its reference point moves.
    pub mean_reference: MeanReference,
    /// Reference point of virtual time; classic CFS: the smallest virtual runtime so far (`min_vruntime`).
    pub zero_vruntime: u64,
    /// Sum over the waiting entities of `(vruntime - zero_vruntime) * weight`.
    pub avg_vruntime: i64,
    /// Sum of the weights of the waiting entities.
    pub avg_load: u64,
    /// Load tracking.
    pub avg: SchedAvg,
    /// What left while asleep.
    pub removed: Removed,
    /// Its part in its group's limit of CPU time.
    pub bandwidth: QueueBandwidth,
    /// Throttled tasks of its own, the last one first, where each stops for itself.
    pub limbo: TaskList,
    /// Hierarchical load, computed at most once a jiffy.
    pub h_load: u64,
    /// When it was computed.
    pub last_h_load_update: Jiffies,
    /// A jump of the averages has to be passed on to the parent group's queue.
    pub propagate: bool,
    /// By how much the sum of runnable time jumped.
    pub prop_runnable_sum: i64,
    /// The queue's part in its group's load.
    pub tg_load_avg_contrib: u64,
    /// When that was last brought up to date, ns.
    pub last_update_tg_load_avg: Ns,
}

impl CfsRq {
    /// An empty root queue of `cpu`.
    pub fn new(cpu: CpuId) -> Self {
        Self {
            cpu,
            group: TgId(0),
            owner: None,
            idle: false,
            on_list: false,
            load_weight: 0,
            runnable_weight: 0,
            nr_running: 0,
            h_nr_queued: 0,
            h_nr_delayed: 0,
            idle_h_nr_running: 0,
            timeline: Timeline::default(),
            curr: None,
            next: None,
            last: None,
            skip: None,
            virtual_time: VirtualTime::default(),
            mean_reference: MeanReference::WhenComputed,
            zero_vruntime: (1u64 << 20).wrapping_neg(),
            avg_vruntime: 0,
            avg_load: 0,
            avg: SchedAvg::default(),
            removed: Removed::default(),
            bandwidth: QueueBandwidth::new(),
            limbo: TaskList::default(),
            h_load: 0,
            last_h_load_update: 0,
            propagate: false,
            prop_runnable_sum: 0,
            tg_load_avg_contrib: 0,
            last_update_tg_load_avg: 0,
        }
    }

    /// Tasks in the subtree that want to run: delayed ones excluded.
    #[inline]
    pub fn h_nr_runnable(&self) -> u32 {
        self.h_nr_queued - self.h_nr_delayed
    }
}
