//! Who balances with whom: from a [`Machine`] to the domain tree of every CPU (spec 1).
//!
//! In the kernel: `kernel/sched/topology.c`.

pub mod domain;
pub mod machine;
pub mod rules;

pub use domain::{
    CpuDomains, Domain, DomainStats, Domains, Group, GroupCapacity, LbCounters, LlcShared, RootDomain,
    SdFlags,
};
pub use machine::{Arch, Cpu, Machine, MachineError};
