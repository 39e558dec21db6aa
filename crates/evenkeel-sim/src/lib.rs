//! The host around the [`evenkeel`] scheduler: virtual time, ticks, interrupts, task programs, measurements.
//!
//! ```text
//!   Workload ──compile──> programs ──┐                     ┌──> Input ──> Sched (crate evenkeel)
//!                                    ├─ Simulation ── step ┤
//!   Machine, Kernel, SimParams ──────┘   timers, meters    └──< Action (switched, reschedule, interrupt ...)
//! ```
//! [`Simulation::new`] makes a run, [`Simulation::run_until`] advances it, [`Simulation::result`] reads what was measured.
//! A run is a function of machine, kernel, workload and [`SimParams`]: same four, same events, same digests.
//!
//! * [`timers`]: the event queue, and the order of events at one instant.
//! * [`params`]: delays, costs, tick policy, dice.
//! * [`turns`]: a machine whose CPUs execute one at a time, as that of the recordings.
//! * [`metrics`]: what is measured.
//! * [`digest`]: a fingerprint of a run. [`schedstat`]: the counters as `/proc/schedstat` prints them.
//!
//! This crate reads no files and knows no file format. Not simulated: frequency changes, idle states with exit
//! latencies, time spent in interrupts, memory; and whatever the scheduler crate does not model. A workload that needs
//! something of that is refused with a [`SimError`] that says where it was written.
pub mod digest;
pub mod error;
mod interpret;
mod launch;
pub mod metrics;
mod objects;
pub mod params;
mod program;
pub mod schedstat;
mod simulation;
pub mod timers;
pub mod turns;

pub use error::SimError;
pub use metrics::RunResult;
pub use params::{Delays, SimParams, StopTick};
pub use simulation::{Core, Simulation};
pub use turns::{Costs, Execution, Turns};
