//! **evenkeel** is the Linux CPU load balancer as a library.
//!
//! Give it a [`Machine`](topology::Machine), a [`Kernel`](kernel::Kernel) and a stream of events (ticks,
//! wake-ups, forks ...): it answers with what that kernel's fair class would do, and why. It does no IO, reads
//! no clock, uses no floating point and has no randomness but a seeded generator in its state, so the same
//! inputs always give the same answers.
//!
//! Where to start:
//! * [`topology`] turns a machine description into scheduling domains: who balances with whom.
//! * [`kernel`] holds the six exact kernels as plain values.
//! * [`workload`] describes what tasks do, without saying in which file format that was written.
#![no_std]
#![warn(clippy::float_arithmetic)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod ids;
pub mod kernel;
pub mod kernels;
pub mod mask;
pub mod rng;
pub mod time;
pub mod topology;
pub mod workload;

pub mod balance;
pub mod bandwidth;
pub mod check;
pub mod cost;
pub mod cpu_load;
pub mod entity;
pub mod group;
#[cfg(test)]
mod group_tests;
pub mod io;
pub mod list;
pub mod observe;
pub mod pelt;
pub mod pick;
pub mod queue_rules;
pub mod rq;
pub mod sched;
pub mod select;
pub mod task;
pub mod timeline;
pub mod tune;
pub mod weight;

mod attributes;
mod clock;
mod fair;
mod hotplug;
mod inspect;
mod load;
mod load_avg;
mod queue;
mod schedule;
mod util_est;
mod wakeup;
