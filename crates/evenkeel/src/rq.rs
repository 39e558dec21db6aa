//! One CPU's state: what runs there, its clocks, its bookkeeping for balancing.
//!
//! In the kernel: `struct rq`. The root fair queue of CPU `n` is queue `n` of [`Sched`](crate::sched::Sched).
use crate::cache_aware::LlcQueue;
use crate::cpu_load::CpuLoad;
use crate::dl::DlRq;
use crate::fair_server::FairServer;
use crate::ids::{CpuId, QueueId, TaskId};
use crate::list::TaskList;
use crate::pressure::Pressure;
use crate::rt::RtRq;
use crate::time::{Jiffies, Ns};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bitflags::bitflags;

bitflags! {
    /// Requests to a CPU to balance for the idle ones (spec 3 §2.6).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct NohzFlags: u32 {
        /// Balance on behalf of the idle CPUs.
        const BALANCE = 1;
        /// Refresh their blocked load.
        const STATS = 2;
        /// Refresh it from the idle loop, after a new-idle pass found nothing.
        const NEWILB = 4;
        /// Recompute when the next such balancing is due.
        const NEXT = 8;
    }
}

/// Work for a CPU's stopper thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWork {
    /// Push a task to the CPU that asked for it (`rq.push_cpu`).
    ActiveBalance {
        /// The task has to prefer that CPU's last-level cache.
        gathers: bool,
    },
    /// Move this task, which runs where it may not (or was told to exec elsewhere), to that CPU.
    Migrate(TaskId, CpuId),
}

/// Counters of the CPU's line in `/proc/schedstat` (spec 1 §15.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// `sched_yield` calls.
    pub yld_count: u32,
    /// `schedule()` calls.
    pub sched_count: u32,
    /// Times the idle task was chosen.
    pub sched_goidle: u32,
    /// Wake-ups made by this CPU.
    pub ttwu_count: u32,
    /// ... of tasks on this CPU.
    pub ttwu_local: u32,
    /// Time tasks ran here, ns.
    pub rq_cpu_time: u64,
    /// Time tasks waited here, ns.
    pub run_delay: u64,
    /// Times a task was given the CPU.
    pub pcount: u64,
}

/// One CPU (`struct rq`).
#[derive(Clone, Debug)]
pub struct Rq {
    /// Its number.
    pub cpu: CpuId,
    /// Runnable tasks of all classes, delayed ones and a woken stopper included.
    pub nr_running: u32,
    /// Of those the real-time and deadline tasks that may run, and the fair server if it competes with them. While it is 0
    /// only fair tasks are looked at.
    pub urgent: u32,
    /// Real-time tasks.
    pub rt: RtRq,
    /// Deadline tasks.
    pub dl: DlRq,
    /// What keeps those from starving fair tasks, in newer kernels.
    pub fair_server: FairServer,
    /// What they and interrupts take from fair tasks.
    pub pressure: Pressure,
    /// The running task; none: the idle task.
    pub curr: Option<TaskId>,
    /// When the timer that ends the slice expires, if it is set.
    pub hrtick: Option<Ns>,
    /// A reschedule was asked for.
    pub need_resched: bool,
    /// It will find the clock as it is (`RQCF_REQ_SKIP`).
    pub skips_clock_update: bool,
    /// Takes part in scheduling (not being unplugged).
    pub active: bool,

    /// Time of the last update, ns.
    pub clock: Ns,
    /// The same without interrupt and steal time.
    pub clock_task: Ns,
    /// The same slowed down by the CPU's capacity.
    pub clock_pelt: Ns,
    /// `clock` when the CPU was last seen idle.
    pub clock_idle: Ns,
    /// PELT time when the CPU was last seen idle.
    pub clock_pelt_idle: Ns,
    /// Time stolen from PELT while the CPU had no spare capacity.
    pub lost_idle_time: Ns,

    /// Queues of task groups whose load is tracked, children before their parents; the root queue is not listed.
    pub leaf_queues: Vec<QueueId>,

    /// All fair tasks of the CPU, most recently run at the head.
    pub cfs_tasks: TaskList,

    /// What is left for fair tasks of the CPU's capacity.
    pub cpu_capacity: u64,
    /// The capacity as the architecture states it.
    pub arch_capacity: u64,
    /// Load of a task that is too big for this CPU; 0 for none.
    pub misfit_task_load: u64,

    /// Queued fair tasks that have a preferred memory node.
    pub nr_numa_running: u32,
    /// Those of them that are on it.
    pub nr_preferred_running: u32,

    /// History of the CPU's load, where balancing compares it.
    pub cpu_load: CpuLoad,
    /// When it was last moved on.
    pub last_cpu_load_update: Jiffies,

    /// When periodic balancing is due.
    pub next_balance: Jiffies,
    /// Whether the CPU was idle at its last tick (or kick).
    pub idle_balance: bool,
    /// What the softirq has to do for the idle CPUs.
    pub nohz_idle_balance: NohzFlags,
    /// Pending requests.
    pub nohz_flags: NohzFlags,
    /// Member of the set of tickless idle CPUs.
    pub nohz_tick_stopped: bool,
    /// Blocked load may be left to decay.
    pub has_blocked_load: bool,
    /// When it was last decayed.
    pub last_blocked_load_update_tick: Jiffies,
    /// The stopper was asked to push a task.
    pub active_balance: bool,
    /// ... to this CPU.
    pub push_cpu: CpuId,

    /// Remote wake-ups are on the way.
    pub ttwu_pending: bool,
    /// They.
    pub wake_list: VecDeque<TaskId>,
    /// Work for the stopper; while there is some the stopper counts in `nr_running`.
    pub stop_works: VecDeque<StopWork>,

    /// Throttled queues that got time and go on with the next interrupt.
    pub unthrottle_list: VecDeque<QueueId>,

    /// The running task has to stop at its return to user mode: something above it is throttled.
    pub throttle_work: bool,

    /// When the CPU last looked for work before going idle; 0: folded into `avg_idle`, or found some.
    pub idle_stamp: Ns,
    /// Average length of idle periods, ns.
    pub avg_idle: Ns,
    /// The average that the wake-up search ages, ns, where it has one of its own.
    pub wake_avg_idle: Ns,
    /// When it was last aged.
    pub wake_stamp: Jiffies,
    /// The most expensive new-idle pass, ns.
    pub max_idle_balance_cost: Ns,

    /// Counters.
    pub stats: CpuStats,
    /// The stopper thread has the CPU.
    pub stopper_running: bool,
    /// Tasks by the cache they prefer.
    pub llc: LlcQueue,
    /// Scratch: tasks detached by the present pass.
    pub detached: Vec<TaskId>,
}

impl Rq {
    /// An idle CPU of the given capacity at boot.
    pub fn new(cpu: CpuId, capacity: u64, migration_cost: Ns, jiffies: Jiffies, now: Ns) -> Self {
        Self {
            cpu,
            nr_running: 0,
            urgent: 0,
            rt: RtRq::default(),
            dl: DlRq::default(),
            fair_server: FairServer::default(),
            pressure: Pressure::default(),
            curr: None,
            hrtick: None,
            need_resched: false,
            skips_clock_update: false,
            active: true,
            clock: now,
            clock_task: now,
            clock_pelt: now,
            clock_idle: now,
            clock_pelt_idle: now,
            lost_idle_time: 0,
            leaf_queues: Vec::new(),
            cfs_tasks: TaskList::default(),
            cpu_capacity: capacity,
            arch_capacity: capacity,
            misfit_task_load: 0,
            nr_numa_running: 0,
            nr_preferred_running: 0,
            cpu_load: CpuLoad::default(),
            last_cpu_load_update: jiffies,
            next_balance: jiffies,
            idle_balance: false,
            nohz_idle_balance: NohzFlags::empty(),
            nohz_flags: NohzFlags::empty(),
            nohz_tick_stopped: false,
            has_blocked_load: false,
            last_blocked_load_update_tick: jiffies,
            active_balance: false,
            push_cpu: CpuId(0),
            ttwu_pending: false,
            wake_list: VecDeque::new(),
            stop_works: VecDeque::new(),
            unthrottle_list: VecDeque::new(),
            throttle_work: false,
            idle_stamp: 0,
            avg_idle: 2 * migration_cost,
            wake_avg_idle: 2 * migration_cost,
            wake_stamp: jiffies,
            max_idle_balance_cost: migration_cost,
            stats: CpuStats::default(),
            stopper_running: false,
            llc: LlcQueue::default(),
            detached: Vec::new(),
        }
    }

    /// PELT's time on this CPU.
    #[inline]
    pub fn clock_pelt_now(&self) -> Ns {
        self.clock_pelt.wrapping_sub(self.lost_idle_time)
    }
}
