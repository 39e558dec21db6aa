//! How limits of CPU time of one kernel differ from those of another: one enum for each decision that changed.
//!
//! For example a queue that has used up its time takes all its tasks out of the competition at once in one kernel, while
//! in the next each task stops on its own way back to user mode: [`Throttling`] names both.
//!
//! Specified in spec 2 §1.1, §3.1, §4.4, §14.3 and §18.2.

/// Everything by which limits of CPU time of two builds can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthRules {
    /// What stops when a queue has used up its time.
    pub throttling: Throttling,
    /// When that is noticed.
    pub point: ThrottlePoint,
    /// What becomes of time that was not used in its period.
    pub leftovers: Leftovers,
    /// Periods in which saved time was used are counted (`nr_bursts`, `burst_usec`).
    pub counts_bursts: bool,
    /// How throttled queues of other CPUs go on.
    pub remote: RemoteUnthrottle,
    /// By which clock a pause of load tracking is measured.
    pub pause_clock: PauseClock,
}

/// What stops when a queue has used up its time (spec 2 §14.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttling {
    /// The whole queue: its entity leaves the levels above, with the counts of all tasks below.
    WholeQueue,
    /// Each task for itself, when it is about to return to user mode; until then it competes as before.
    PerTask,
}

/// When it is noticed that a queue has used up its time (spec 2 §14.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottlePoint {
    /// When the queue's entity is put aside, or about to be picked from; running out asks for a reschedule.
    Switch,
    /// In the charge that uses up the rest.
    Charge,
}

/// What becomes of time that was not used in its period (spec 2 §14.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// It expires, in the pool and in the queues that drew it. There is no burst.
    Expire,
    /// It is kept, in the pool up to the burst.
    Kept,
}

/// How throttled queues of other CPUs go on when they get time (spec 2 §14.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteUnthrottle {
    /// The CPU that hands out the time puts them back itself.
    Direct,
    /// It asks theirs to do so by interrupt.
    Interrupt,
}

/// By which clock a pause of load tracking is measured (spec 2 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseClock {
    /// Task time, which is ahead of load tracking's on slow CPUs and on those that lost idle time: a slip.
    Task,
    /// Load tracking's own.
    Pelt,
}
