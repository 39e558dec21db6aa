//! Who balances with whom: from a [`Machine`] to the domain tree of every CPU (spec 1).
//!
//! [`Domains::build`] does it for a machine that has just booted, [`Domains::rebuild`] when CPUs come and go or
//! partitions change. Which choices depend on the kernel is listed in [`rules`]. The parts, in the order of a build:
//!
//! | module | decides |
//! |---|---|
//! | `levels`, `numa` | which sets of CPUs each level puts together |
//! | `build`, `init` | which domains are made of them, and their values |
//! | `group`, `numa` | how each domain is divided, and what each part can do |
//! | `shared` | what CPUs of a cache share |
//! | `degenerate` | which levels add nothing and go |
//! | `pointers` | what each CPU keeps at hand |
//! | `partition` | which CPUs balance by themselves, and what a change rebuilds |
//! | [`cpuset`] | how cpusets divide a machine |
//!
//! [`debugfs`] and [`schedstat`] show the result as a running kernel does. Example: a socket of four cores with two
//! threads each is SMT `0-1` with groups `0`, `1` below MC `0-7` with groups `0-1`, `2-3`, `4-5`, `6-7` for CPU 0.
//!
//! In the kernel: `kernel/sched/topology.c`.

pub mod asym;
mod build;
pub mod cpuset;
pub mod debugfs;
mod degenerate;
pub mod domain;
pub mod group;
mod init;
mod levels;
pub mod machine;
mod numa;
pub mod partition;
mod pointers;
pub mod rules;
pub mod schedstat;
mod shared;
mod spans;
mod transplant;

pub use domain::{
    CpuDomains, Domain, DomainStats, Domains, Group, GroupCapacity, LbCounters, LlcShared, RootDomain,
    SdFlags,
};
pub use machine::{Arch, Cpu, Machine, MachineError};
pub use numa::{NumaTopology, numa_topology};
pub use partition::{Partition, Rebuild, TopologyError};
