//! Who balances with whom: from a [`Machine`] to the domain tree of every CPU (spec 1).
//!
//! In the kernel: `kernel/sched/topology.c`.

pub mod asym;
mod build;
pub mod debugfs;
mod degenerate;
pub mod domain;
pub mod group;
mod levels;
pub mod machine;
mod numa;
pub mod partition;
mod pointers;
pub mod rules;
pub mod schedstat;
mod shared;
mod spans;

pub use domain::{
    CpuDomains, Domain, DomainStats, Domains, Group, GroupCapacity, LbCounters, LlcShared, RootDomain,
    SdFlags,
};
pub use machine::{Arch, Cpu, Machine, MachineError};
pub use partition::{Partition, Rebuild, TopologyError};
