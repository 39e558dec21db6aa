//! Gathering the threads of a process in one last-level cache.
//!
//! Threads of one process share memory. If they run in one cache, what one fetched another finds. So the kernel notes
//! where each process spends its time, and the balancer prefers to move its threads there and not away, as long as
//! they fit. Placement at wake-up, fork and exec knows nothing of it (spec 4 §14).
//!
//! **Where a process runs.** Running time is added up per process and CPU and halved with every epoch of two ticks
//! (8 ms), so it is that of the last few epochs ([`process`]). Once an epoch a tick lets one thread compare caches: the one with the
//! largest share of its CPUs' time becomes the preferred one if that is more than twice the share of the one preferred so far.
//! Example: 6 ms of the 8 ms that CPU 4 ran and all 8 ms of CPU 5 give the cache of both 1.75 CPUs; the cache preferred so far
//! had 0.8 CPUs: 1.75 > 1.6, so it changes, and CPU 5 stands for the new one.
//!
//! **When that holds.** Not for processes with a single thread, with more running threads than fit the cache, that did not
//! compare for five epochs, or whose memory is larger than the cache ([`rules`]).
//!
//! **What tasks and queues know.** Every thread takes over the preference of its process when running time is accounted. Each
//! queue counts its tasks by the cache they prefer, and those that are where they prefer to be ([`counters`]).
//!
//! **What balancing makes of it.** A group with tasks that prefer the destination's cache becomes `llc_balance`, and one such
//! task moves; tasks are kept from leaving the cache they prefer while it is not too full ([`balancing`]). After
//! `cache_nice_tries + 1` failures none of this counts.
//!
//! In the kernel: `CONFIG_SCHED_CACHE` of `kernel/sched/fair.c`. Specified in spec 3 §13, spec 4 §14. Choices where the
//! specification is silent: epochs begin at multiples of the period since boot, on all CPUs alike, and one such gate stands for the
//! two that keep a process from comparing twice (`epoch`, `next_scan`); the rule for the number of threads uses the CPU that runs the thread, or the
//! destination of a move; after domains are rebuilt queues count anew. Left out: what counts only while NUMA balancing samples memory, which
//! it does not here: the size of a process's memory ([`rules`] take it) and that a comparison is limited to a few nodes. Core
//! scheduling, whose tasks are left alone.
mod account;
mod balancing;
mod counters;
pub mod process;
pub mod rules;
#[cfg(test)]
mod tests;

pub use counters::{LlcQueue, TaskLlc};
pub use process::Process;
pub use rules::{Degrades, Gathering, Invalid, LlcLoad, LlcMove, Preference, Toward};

use crate::balance::rules::CacheAware;
use crate::kernel::Kernel;
use crate::topology::Domains;

/// The rules by which threads are gathered, if this kernel does that and the machine has several caches, one of them with
/// several CPUs (`sched_cache_enabled`; spec 3 §13.2).
pub fn sched_cache_enabled(kernel: &Kernel, topo: &Domains) -> Option<Gathering> {
    let tunables = match kernel.balance.cache_aware {
        CacheAware::Absent => None,
        CacheAware::Gathers => kernel.tunables.llc_balancing.filter(|tunables| tunables.enabled),
    }?;
    let worth_it = |cpu: &crate::topology::CpuDomains| {
        let Some(llc) = cpu.sd_llc else { return false };
        let span_weight = topo.domains[llc.index()].span_weight;
        let wider = |id: &crate::ids::DomainId| topo.domains[id.index()].span_weight > span_weight;
        let ancestors = core::iter::successors(Some(llc), |id| topo.domains[id.index()].parent);
        span_weight > 1 && ancestors.skip(1).any(|id| wider(&id))
    };
    topo.cpus.iter().any(worth_it).then_some(Gathering { tunables, smt_active: topo.smt_active })
}
