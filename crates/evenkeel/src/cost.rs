//! What balancing costs, as the kernel would have measured it.
//!
//! A kernel times its own new-idle passes and skips those that cost more than the CPU usually stays idle. In a state
//! machine no time passes during a decision, so the host hands in this model; a pass over 8 CPUs that moves nothing
//! costs `pass + 8 * cpu` nanoseconds.

/// Cost of the parts of a balancing pass, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// Of entering a pass.
    pub pass: u64,
    /// Of reading the statistics of one CPU.
    pub cpu: u64,
    /// Of looking at one task.
    pub task: u64,
    /// Of moving one task.
    pub migration: u64,
    /// Of looking at one CPU in a wake-up's search.
    pub scan: u64,
    /// Of refreshing the blocked load of one CPU.
    pub blocked_update: u64,
}

impl CostModel {
    /// Balancing is free: new-idle passes are limited by nothing but their success.
    pub const ZERO: Self = Self { pass: 0, cpu: 0, task: 0, migration: 0, scan: 0, blocked_update: 0 };

    /// Round figures for a current server core: about a microsecond for 8 CPUs. Not calibrated against a recording.
    pub const SERVER: Self =
        Self { pass: 400, cpu: 70, task: 60, migration: 1_200, scan: 25, blocked_update: 250 };
}

impl Default for CostModel {
    fn default() -> Self {
        Self::SERVER
    }
}
