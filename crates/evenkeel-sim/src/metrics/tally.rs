//! Migrations by reason, who is throttled, where tasks may run: what only the scheduler's own events tell.
use evenkeel::ids::TaskId;
use evenkeel::mask::CpuMask;
use evenkeel::observe::{Event, MigrateReason, Observer};
use evenkeel::time::Ns;
use std::sync::Arc;

/// Changes of CPU by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Placement at wake-up.
    pub wakeup: u32,
    /// Placement at exec.
    pub exec: u32,
    /// Its affinity changed.
    pub affinity: u32,
    /// Pulled by a balancing pass.
    pub balance: u32,
    /// Pushed by the stopper for a balancing pass.
    pub active_balance: u32,
    /// A real-time or deadline task was pushed away from others, or pulled.
    pub urgent: u32,
}

impl Migrations {
    /// All of them.
    pub fn total(&self) -> u64 {
        [self.wakeup, self.exec, self.affinity, self.balance, self.active_balance, self.urgent]
            .into_iter()
            .map(u64::from)
            .sum()
    }

    /// Adds those of another task.
    pub fn add(&mut self, other: &Self) {
        self.wakeup += other.wakeup;
        self.exec += other.exec;
        self.affinity += other.affinity;
        self.balance += other.balance;
        self.active_balance += other.active_balance;
        self.urgent += other.urgent;
    }
}

/// Counts migrations; the observer that every simulation has beside the user's.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    migrations: Vec<Migrations>,
    /// Tasks that a limit has stopped or let go on since it was last asked.
    throttled: Vec<(TaskId, bool)>,
    /// Affinities told since they were last asked for.
    affinities: Vec<(TaskId, Arc<CpuMask>)>,
}

impl Tally {
    /// The migrations of a task.
    pub fn of(&self, task: TaskId) -> Migrations {
        self.migrations.get(task.index()).copied().unwrap_or_default()
    }

    /// Which tasks a limit has stopped (true) or let go on since the last time, in order.
    pub(crate) fn take_throttled(&mut self) -> impl Iterator<Item = (TaskId, bool)> {
        self.throttled.drain(..)
    }
}

impl Tally {
    /// The affinities told since the last time, in order.
    pub(crate) fn take_affinities(&mut self) -> Vec<(TaskId, Arc<CpuMask>)> {
        core::mem::take(&mut self.affinities)
    }
}

impl Observer for Tally {
    const ON: bool = true;
    const EVERYTHING: bool = false;
    #[inline(always)]
    fn event(&mut self, _now: Ns, event: &Event) {
        match event {
            Event::TaskThrottled { task, .. } => self.throttled.push((*task, true)),
            Event::TaskUnthrottled { task, .. } => self.throttled.push((*task, false)),
            Event::Affinity { task, allowed } => self.affinities.push((*task, allowed.clone())),
            _ => {}
        }
        if let Event::MigrateTask { task, reason, .. } = event {
            if task.index() >= self.migrations.len() {
                self.migrations.resize(task.index() + 1, Migrations::default());
            }
            let counts = &mut self.migrations[task.index()];
            let count = match reason {
                MigrateReason::Wakeup => &mut counts.wakeup,
                MigrateReason::Exec => &mut counts.exec,
                MigrateReason::Affinity | MigrateReason::Hotplug => &mut counts.affinity,
                MigrateReason::Balance => &mut counts.balance,
                MigrateReason::ActiveBalance => &mut counts.active_balance,
                MigrateReason::Urgent => &mut counts.urgent,
            };
            *count += 1;
        }
    }
}
