//! The host around the [`evenkeel`] scheduler: virtual time, ticks, interrupts, task programs, measurements.
//!
//! ```text
//!   Workload ──compile──> programs ──┐                     ┌──> Input ──> Sched (crate evenkeel)
//!                                    ├─ Simulation ── step ┤
//!   Machine, Kernel, SimParams ──────┘   timers, meters    └──< Action (switched, reschedule, interrupt ...)
//! ```
//! [`Simulation::new`] makes a run, [`Simulation::run_until`] advances it, [`Simulation::result`] reads what was measured.
//!
//! Two tasks that each run 10 ms, on a machine with two CPUs; the second CPU is reached by an interrupt of 1 us:
//! ```
//! use evenkeel::{kernels::DEFAULT, observe::Silent, topology::Machine};
//! use evenkeel::workload::{Op, Phase, Program, TaskSpec, Workload};
//! use evenkeel_sim::{SimParams, Simulation};
//!
//! let phase = Phase { ops: vec![Op::Run(10_000_000)], ..Phase::default() };
//! let program = Program { phases: vec![phase], ..Program::default() };
//! let task = TaskSpec { name: "job".into(), instances: 2, program, ..TaskSpec::default() };
//! let workload = Workload { tasks: vec![task], ..Workload::default() };
//! let machine = Machine::regular(1, 1, 2, 1, false);
//! let params = SimParams { fork_cost: 0, ..SimParams::default() };
//! let mut sim = Simulation::new(&machine, DEFAULT, &workload, params, Silent)?;
//! sim.run(1_000_000_000)?;
//! let result = sim.result();
//! assert_eq!(result.elapsed, 10_001_000);
//! assert_eq!(result.tasks[1].times.run, 10_000_000);
//! # Ok::<(), evenkeel_sim::SimError>(())
//! ```
//! A run is a function of machine, kernel, workload and [`SimParams`]: same four, same events, same digests.
//!
//! * [`timers`]: the event queue, and the order of events at one instant.
//! * [`params`]: delays, costs, tick policy, dice.
//! * [`turns`]: a machine whose CPUs execute one at a time, as that of the recordings.
//! * [`metrics`]: what is measured.
//! * [`digest`]: a fingerprint of a run. [`schedstat`]: the counters as `/proc/schedstat` prints them.
//!
//! This crate reads no files and knows no file format. Not simulated: frequency changes, idle states with exit
//! latencies, memory; and whatever the scheduler crate does not model. A workload that needs
//! something of that is refused with a [`SimError`] that says where it was written.
pub mod background;
pub mod digest;
mod error;
mod groups;
mod launch;
pub mod metrics;
mod objects;
pub mod params;
mod program;
pub mod sched_debug;
pub mod schedstat;
mod simulation;
pub mod timers;
pub mod turns;

pub use error::SimError;
pub use metrics::RunResult;
pub use params::{Delays, SimParams, StopTick};
pub use simulation::{Core, Simulation};
pub use turns::{Costs, Execution, Turns};
