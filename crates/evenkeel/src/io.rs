//! What goes in and what comes out: the vocabulary between the scheduler and its host.
//!
//! The host calls [`Sched::handle`](crate::sched::Sched::handle) with an [`Input`] and then drains
//! [`Sched::poll`](crate::sched::Sched::poll) until it is empty. What a kernel does asynchronously (an interrupt to
//! another CPU, a softirq, the stopper) is an [`Action`] that the host brings back later as an input; the host chooses
//! the delay, so the races of the real thing can be reached, and reached again.
use crate::balance::locality::TaskMemory;
use crate::ids::{CpuId, TaskId, TgId};
use crate::mask::CpuMask;
use crate::topology::Partition;
use crate::tune::Tune;
use crate::workload::{Bandwidth, Policy};
use alloc::vec::Vec;

/// Something happens on a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The scheduler tick of `cpu`.
    Tick {
        /// The CPU.
        cpu: CpuId,
    },
    /// The balancing softirq runs; answers [`Action::RaiseSoftirq`].
    Softirq {
        /// The CPU.
        cpu: CpuId,
    },
    /// An interrupt from another CPU arrives; answers [`Action::Ipi`].
    Ipi {
        /// The CPU interrupted.
        cpu: CpuId,
        /// What for.
        kind: IpiKind,
    },
    /// The CPU reschedules, or the running task returns to user mode where a limit of CPU time stops it; answers
    /// [`Action::Resched`]. Ignored if the request was served meanwhile.
    Schedule {
        /// The CPU.
        cpu: CpuId,
    },
    /// The stopper thread of `cpu` runs its pending work; answers [`Action::StopCpu`].
    StopperRun {
        /// The CPU.
        cpu: CpuId,
    },
    /// The idle loop of `cpu` is entered, after [`Action::Switched`] to idle.
    IdleEnter {
        /// The CPU.
        cpu: CpuId,
        /// Whether the tick stops now.
        stop_tick: bool,
    },
    /// The timer that ends slices expires; answers [`Action::HrtickStart`]. Ignored if it was moved or is no longer needed.
    Hrtick {
        /// The CPU.
        cpu: CpuId,
    },
    /// The task running on `cpu` (or, on an idle CPU, the boot code) creates `child`, which
    /// [`Sched::new_task`](crate::sched::Sched::new_task) has prepared.
    Fork {
        /// The CPU on which fork is called.
        cpu: CpuId,
        /// The new task.
        child: TaskId,
    },
    /// The task running on `cpu` calls exec: the kernel may move it.
    Exec {
        /// The CPU.
        cpu: CpuId,
    },
    /// Code on `cpu` wakes `task`.
    Wake {
        /// The CPU on which the waker runs.
        cpu: CpuId,
        /// The task to wake; waking a task that does not sleep has no effect.
        task: TaskId,
        /// Who wakes it.
        context: WakeContext,
    },
    /// The task running on `cpu` goes to sleep.
    Block {
        /// The CPU.
        cpu: CpuId,
    },
    /// The task running on `cpu` ends.
    Exit {
        /// The CPU.
        cpu: CpuId,
    },
    /// The task running on `cpu` calls `sched_yield`.
    Yield {
        /// The CPU.
        cpu: CpuId,
    },
    /// Code on `cpu` changes the affinity of `task`; the set must hold an active CPU.
    SetAffinity {
        /// The CPU on which the change is made.
        cpu: CpuId,
        /// The task.
        task: TaskId,
        /// Where it may run from now on.
        allowed: CpuMask,
    },
    /// Code on `cpu` changes policy, weight or slice of `task`.
    SetAttributes {
        /// The CPU on which the change is made.
        cpu: CpuId,
        /// The task.
        task: TaskId,
        /// The new policy, one that is [possible](Policy::fault).
        policy: Policy,
        /// The new nice value.
        nice: i32,
        /// The new custom slice in ns; 0 for the default.
        slice: u64,
    },
    /// A CPU goes online or offline (CPU hotplug); the last online CPU cannot go.
    Hotplug {
        /// The CPU.
        cpu: CpuId,
        /// Whether it is to be online.
        online: bool,
    },
    /// The machine is divided into other partitions (cpusets); `None`: one, of all CPUs that are not isolated.
    SetPartitions {
        /// The partitions, without common CPUs.
        partitions: Option<Vec<Partition>>,
    },
    /// Moves `task` to another task group.
    SetGroup {
        /// The task.
        task: TaskId,
        /// The group.
        group: TgId,
    },
    /// Sets or lifts the limit of CPU time of a task group. A burst has no effect on kernels that do not know it.
    SetBandwidth {
        /// The group; not the root group.
        group: TgId,
        /// The limit; one that is [possible](Bandwidth::fault).
        bandwidth: Bandwidth,
    },
    /// A timer of a limited task group expires; answers [`Action::GroupTimer`]. Ignored if it was set anew.
    GroupTimer {
        /// The CPU on which it expires.
        cpu: CpuId,
        /// The group.
        group: TgId,
        /// Which of its timers.
        timer: GroupTimer,
    },
    /// Sets what NUMA balancing knows of a task: the node it prefers and its faults on each (spec 3 §7.3).
    SetMemory {
        /// The task.
        task: TaskId,
        /// What is known; nodes must exist.
        memory: TaskMemory,
    },
    /// From now on `task` is a kernel thread that belongs to the one CPU it may run on (`kthread_set_per_cpu`).
    BindKthread {
        /// The task.
        task: TaskId,
    },
    /// The timer of what limits real-time and deadline tasks expires; answers [`Action::LimitTimer`]. Ignored if it was set
    /// anew.
    LimitTimer {
        /// The CPU.
        cpu: CpuId,
    },
    /// The handler of an interrupt takes the CPU, from now or from the end of the one before. Only kernels that
    /// [account for it](crate::queue_rules::RunQueueRules::irq_time_accounting) make use of that.
    Interrupted {
        /// The CPU.
        cpu: CpuId,
        /// When the handler ends, ns since the start of the run; not before those told earlier.
        until: u64,
        /// How long it runs.
        span: u64,
    },
    /// Changes the shares of a task group.
    SetShares {
        /// The group; the root group has none.
        group: TgId,
        /// Full-resolution shares, see [`shares_of_weight`](crate::group::shares_of_weight).
        shares: u64,
    },
    /// Tells observers that the changes that follow are made from outside, or that they are over.
    Outside {
        /// They begin.
        begins: bool,
    },
    /// Changes a setting of the kernel.
    Tune {
        /// Which, and to what.
        tune: Tune,
    },
}

/// The timers of a limited task group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupTimer {
    /// The end of a period.
    Period,
    /// Time that was given back is handed on.
    Slack,
}

/// Why one CPU interrupts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpiKind {
    /// To balance for the idle CPUs, or to refresh their statistics.
    NohzKick,
    /// To activate the tasks on its list of remote wake-ups.
    WakeList,
    /// To let throttled queues go on.
    Unthrottle,
}

/// In what context a wake-up happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WakeContext {
    /// From an interrupt (a timer, a device) and not from the task that runs on the CPU.
    pub interrupt: bool,
    /// The waker says that it is about to sleep (`WF_SYNC`: pipes and sockets).
    pub sync: bool,
}

/// Something the host has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Bring [`Input::Schedule`] on `cpu`, at once if `from` is `cpu`, else after an interrupt's delay. The running program
    /// does not go on before.
    Resched {
        /// Who asks.
        from: CpuId,
        /// The CPU that has to reschedule.
        cpu: CpuId,
    },
    /// Bring [`Input::Ipi`] on `to` after an interrupt's delay.
    Ipi {
        /// The sender.
        from: CpuId,
        /// The receiver.
        to: CpuId,
        /// What for.
        kind: IpiKind,
    },
    /// Bring [`Input::Softirq`] on `cpu`, at the end of the present interrupt: before any reschedule there.
    RaiseSoftirq {
        /// The CPU.
        cpu: CpuId,
    },
    /// Bring [`Input::StopperRun`] on `cpu` after the delay of waking the stopper thread.
    StopCpu {
        /// Who asks.
        from: CpuId,
        /// The CPU whose stopper has work.
        cpu: CpuId,
    },
    /// Bring [`Input::Hrtick`] on `cpu` at `at`, or as much later as timers are late; a timer set before is moved. Only
    /// kernels that end slices by timer ask for this.
    HrtickStart {
        /// The CPU.
        cpu: CpuId,
        /// When, ns since the start of the run.
        at: u64,
    },
    /// Bring [`Input::GroupTimer`] on `cpu` at `at`; a timer of the same group and kind that was set before is moved.
    GroupTimer {
        /// The CPU.
        cpu: CpuId,
        /// The group.
        group: TgId,
        /// Which of its timers.
        timer: GroupTimer,
        /// When, ns since the start of the run.
        at: u64,
    },
    /// Bring [`Input::LimitTimer`] on `cpu` at `at`; one that was set before is moved.
    LimitTimer {
        /// The CPU.
        cpu: CpuId,
        /// When, ns since the start of the run.
        at: u64,
    },
    /// `cpu` has switched; `None` is the idle task. The program of `prev` stops, that of `next` goes on.
    Switched {
        /// The CPU.
        cpu: CpuId,
        /// What ran before.
        prev: Option<TaskId>,
        /// What runs now.
        next: Option<TaskId>,
    },
}
