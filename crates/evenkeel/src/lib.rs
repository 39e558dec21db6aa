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
//! * [`balance`] tells a balancing pass as a story.
//!
//! # A decision from a table
//!
//! How busy groups are, from which to take, how much and from which CPU are pure functions of numbers. No simulation is needed
//! to ask them:
//!
//! ```
//! use evenkeel::balance::classify::{GroupType, group_classify};
//! use evenkeel::balance::env::{IdleType, MigrationType};
//! use evenkeel::balance::rules::EnergyAware;
//! use evenkeel::balance::source::SrcRq;
//! use evenkeel::balance::stats::{Search, SgStats};
//! use evenkeel::balance::view::CpuRow;
//! use evenkeel::ids::CpuId;
//! use evenkeel::kernels::V6_12_117;
//! use evenkeel::mask::CpuMask;
//! use evenkeel::topology::{Domains, Machine};
//!
//! // Two caches of two CPUs. The first is idle, in the second two tasks share each CPU.
//! let topo = Domains::build(&Machine::regular(1, 2, 2, 1, false), &V6_12_117, 0)?;
//! let table = [
//!     CpuRow::idle(0),
//!     CpuRow::idle(1),
//!     // Number of the CPU, tasks, load, utilisation, runnable average.
//!     CpuRow::busy(2, 2, 2048, 1024, 2048),
//!     CpuRow::busy(3, 2, 2048, 1024, 2048),
//! ];
//! let cpus = CpuMask::all(4);
//! let search = Search {
//!     topo: &topo,
//!     view: &table[..],
//!     rules: &V6_12_117.balance,
//!     sd: topo.chain(CpuId(0)).last().expect("CPU 0 has domains"),
//!     dst_cpu: CpuId(0),
//!     idle: IdleType::Idle,
//!     cpus: &cpus,
//!     energy_aware: EnergyAware::Off,
//!     gathering: None,
//! };
//! let mut groups = search.update_sd_lb_stats();
//! assert_eq!(groups.local_stat.group_type, GroupType::HasSpare);
//! assert_eq!(groups.busiest_stat.group_type, GroupType::Overloaded);
//! // As much utilisation is to move as fits the idle cache, from the first of the busy CPUs.
//! let found = search.find_src_group(&mut groups);
//! let (group, imbalance) = (found.group.unwrap(), found.imbalance.unwrap());
//! assert_eq!((imbalance.migration_type, imbalance.amount), (Some(MigrationType::Util), 2048));
//! let queue = SrcRq::new(imbalance.amount, MigrationType::Util, groups.fbq_type);
//! assert_eq!(search.find_src_rq(group, queue), Some(CpuId(2)));
//!
//! // A class alone needs no machine: three tasks that use two CPUs up.
//! let three = SgStats {
//!     group_weight: 2,
//!     sum_nr_running: 3,
//!     group_capacity: 2048,
//!     group_util: 2048,
//!     ..SgStats::default()
//! };
//! assert_eq!(group_classify(117, false, true, &three), GroupType::Overloaded);
//! # Ok::<(), evenkeel::topology::TopologyError>(())
//! ```
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
pub mod cache_aware;
pub mod check;
pub mod class;
pub mod cost;
pub mod cpu_load;
pub mod dl;
pub mod entity;
pub mod fair_server;
pub mod group;
#[cfg(test)]
mod group_tests;
pub mod io;
pub mod list;
pub mod observe;
pub mod pelt;
pub mod pick;
pub mod pressure;
pub mod queue_rules;
#[cfg(test)]
mod queue_tests;
pub mod rq;
pub mod rt;
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
