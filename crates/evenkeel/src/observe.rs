//! Events: the kernel's tracepoints, and decisions with their reasons.
//!
//! An [`Observer`] is told everything and can change nothing. It is a type parameter, so an observer that is off
//! costs nothing; observers compose as pairs. The summary, the digest and explanations are observers.
use crate::balance::event::BalanceEvent;
use crate::cache_aware::Preference;
use crate::ids::{CpuId, DomainId, TaskId, TgId};
use crate::mask::CpuMask;
use crate::select::SelectReason;
use crate::select::steps::PlacementStep;
use crate::time::Ns;
use crate::topology::Domains;
use crate::tune::Changed;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Who runs on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Running {
    /// The idle task.
    Idle,
    /// A task.
    Task(TaskId),
    /// The CPU's stopper thread.
    Stopper,
}

/// In what state a task leaves its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrevState {
    /// Still runnable.
    Runnable,
    /// Asleep.
    Sleeping,
    /// Ended.
    Dead,
}

/// Why a task changes its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MigrateReason {
    /// Wake-up placement chose another CPU.
    Wakeup,
    /// Exec placement chose another CPU.
    Exec,
    /// Its affinity no longer allows the CPU.
    Affinity,
    /// Its CPU goes offline.
    Hotplug,
    /// A balancing pass pulled it.
    Balance,
    /// The stopper pushed it for a balancing pass.
    ActiveBalance,
    /// A real-time or deadline task that waited behind others was pushed away, or pulled.
    Urgent,
}

/// What was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectKind {
    /// A new task.
    Fork,
    /// A task that calls exec.
    Exec,
    /// A task that wakes up.
    Wakeup,
}

/// A domain as observers know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreeLevel {
    /// The CPU whose chain it belongs to.
    pub cpu: CpuId,
    /// The level's name.
    pub name: &'static str,
    /// Its CPUs.
    pub span: Arc<CpuMask>,
    /// The level below.
    pub child: Option<DomainId>,
    /// The level above.
    pub parent: Option<DomainId>,
}

/// The domain trees as observers know them: what the numbers in events mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trees {
    /// Domains by number.
    pub levels: Vec<TreeLevel>,
    /// The CPUs of groups by number.
    pub groups: Vec<Arc<CpuMask>>,
}

impl Trees {
    /// Those of `domains`.
    pub fn of(domains: &Domains) -> Self {
        let level = |domain: &crate::topology::Domain| TreeLevel {
            cpu: domain.cpu,
            name: domain.name,
            span: domain.span.clone(),
            child: domain.child,
            parent: domain.parent,
        };
        Self {
            levels: domains.domains.iter().map(level).collect(),
            groups: domains.groups.iter().map(|group| group.span.clone()).collect(),
        }
    }
}

/// Something that happened. Times and CPUs are those of the simulated machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// `sched_switch`.
    Switch {
        /// Where.
        cpu: CpuId,
        /// Who leaves.
        prev: Running,
        /// In what state.
        prev_state: PrevState,
        /// Who comes.
        next: Running,
    },
    /// `sched_waking`: a wake-up begins on `cpu`; `target_cpu` is the task's present CPU.
    Waking {
        /// The waker's CPU.
        cpu: CpuId,
        /// The task that runs there; none: idle.
        waker: Option<TaskId>,
        /// From an interrupt.
        interrupt: bool,
        /// The task to wake.
        task: TaskId,
        /// Its CPU.
        target_cpu: CpuId,
    },
    /// `sched_wakeup`: the task is runnable on `target_cpu`; emitted on `cpu`.
    Wakeup {
        /// Where it is emitted.
        cpu: CpuId,
        /// The task.
        task: TaskId,
        /// Its CPU.
        target_cpu: CpuId,
    },
    /// `sched_wakeup_new`.
    WakeupNew {
        /// Where it is emitted.
        cpu: CpuId,
        /// The new task.
        task: TaskId,
        /// Its CPU.
        target_cpu: CpuId,
    },
    /// `sched_migrate_task`.
    MigrateTask {
        /// The task.
        task: TaskId,
        /// From here.
        orig_cpu: CpuId,
        /// To there.
        dest_cpu: CpuId,
        /// Why.
        reason: MigrateReason,
    },
    /// `sched_process_fork`.
    Fork {
        /// Where.
        cpu: CpuId,
        /// The parent; none: boot code.
        parent: Option<TaskId>,
        /// The child.
        child: TaskId,
    },
    /// `sched_process_exit`.
    Exit {
        /// Where.
        cpu: CpuId,
        /// The task.
        task: TaskId,
    },
    /// `sched_stat_runtime`: running time was accounted.
    Runtime {
        /// The task.
        task: TaskId,
        /// How much, ns.
        runtime: Ns,
    },
    /// A task that sleeps was kept on its queue (`sched_delayed`).
    DelayDequeue {
        /// The task.
        task: TaskId,
        /// Its CPU.
        cpu: CpuId,
    },
    /// A delayed task has left its queue.
    DelayedGone {
        /// The task.
        task: TaskId,
        /// Its CPU.
        cpu: CpuId,
    },
    /// A woken task was put on the list of remote wake-ups of its CPU: an interrupt will queue it there.
    WakeQueued {
        /// The waker's CPU.
        cpu: CpuId,
        /// The task.
        task: TaskId,
        /// The CPU on whose list it is.
        target_cpu: CpuId,
    },
    /// Where a task may run: told when it is forked and whenever that changes.
    Affinity {
        /// The task.
        task: TaskId,
        /// The CPUs.
        allowed: Arc<CpuMask>,
    },
    /// A setting, or something of a task or group, was changed.
    Changed(Changed),
    /// A step on the way to a [`Event::Selected`].
    Placement {
        /// The task.
        task: TaskId,
        /// What was looked at, or decided.
        step: PlacementStep,
    },
    /// A thread prefers another last-level cache from now on, or none.
    LlcPreference {
        /// The thread.
        task: TaskId,
        /// A CPU of the cache.
        cpu: Option<CpuId>,
        /// Why.
        why: Preference,
    },
    /// `cpu_idle`: the idle loop was entered, with or without stopping the tick.
    IdleEnter {
        /// Where.
        cpu: CpuId,
        /// Whether the tick stopped.
        tick_stopped: bool,
    },
    /// A CPU goes online or offline.
    Hotplug {
        /// The CPU.
        cpu: CpuId,
        /// Whether it is online now.
        online: bool,
    },
    /// The domain trees were built anew: from here on domains and groups have these numbers.
    Rebuilt(Arc<Trees>),
    /// A task group has used up its limit on a CPU: nothing of it runs there until it goes on, or nothing returns to user
    /// mode.
    Throttle {
        /// The CPU.
        cpu: CpuId,
        /// The group.
        group: TgId,
    },
    /// It goes on.
    Unthrottle {
        /// The CPU.
        cpu: CpuId,
        /// The group.
        group: TgId,
    },
    /// A task that is queued cannot run because of a limit. It still waits for its CPU, and no idle one could help.
    TaskThrottled {
        /// Its CPU.
        cpu: CpuId,
        /// The task.
        task: TaskId,
    },
    /// It can run again, or is queued no more.
    TaskUnthrottled {
        /// Its CPU.
        cpu: CpuId,
        /// The task.
        task: TaskId,
    },
    /// Placement chose a CPU.
    Selected {
        /// What was placed.
        kind: SelectKind,
        /// The task.
        task: TaskId,
        /// Its CPU before.
        prev_cpu: CpuId,
        /// The CPU that decided.
        on_cpu: CpuId,
        /// The CPU chosen.
        chosen: CpuId,
        /// Why that one.
        reason: SelectReason,
    },
    /// Something about balancing.
    Balance(BalanceEvent),
    /// The host makes changes from outside: what changes from here to the next of these with `begins: false` was asked
    /// for by somebody who experiments, not by a task.
    Outside {
        /// They begin; else they are over.
        begins: bool,
    },
}

/// Is told what happens.
pub trait Observer {
    /// Whether events are wanted at all; `false` removes their cost.
    const ON: bool;
    /// Whether all events are wanted; `false`: only [`Event::MigrateTask`], those of throttling and those about changes
    /// ([`Event::Changed`], [`Event::Affinity`], [`Event::Hotplug`], [`Event::Outside`]), so that the others need not be made.
    const EVERYTHING: bool = Self::ON;
    /// Something happened at `now` (ns since the start).
    fn event(&mut self, now: Ns, event: &Event);
}

/// No observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silent;

impl Observer for Silent {
    const ON: bool = false;
    #[inline]
    fn event(&mut self, _now: Ns, _event: &Event) {}
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    const ON: bool = A::ON || B::ON;
    const EVERYTHING: bool = A::EVERYTHING || B::EVERYTHING;
    #[inline]
    fn event(&mut self, now: Ns, event: &Event) {
        if A::ON {
            self.0.event(now, event);
        }
        if B::ON {
            self.1.event(now, event);
        }
    }
}

impl<A: Observer> Observer for Option<A> {
    const ON: bool = A::ON;
    const EVERYTHING: bool = A::EVERYTHING;
    #[inline]
    fn event(&mut self, now: Ns, event: &Event) {
        if let Some(observer) = self {
            observer.event(now, event);
        }
    }
}

impl<A: Observer> Observer for &mut A {
    const ON: bool = A::ON;
    const EVERYTHING: bool = A::EVERYTHING;
    #[inline]
    fn event(&mut self, now: Ns, event: &Event) {
        (**self).event(now, event);
    }
}
