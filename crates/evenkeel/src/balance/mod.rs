//! The load balancer: one balancing pass, told as a story.
//!
//! **Who balances.** Every CPU, for itself or for the groups it belongs to. It starts from its tick ([`trigger`]), when
//! it is about to go idle ([`newidle`]), or on behalf of CPUs whose tick is stopped ([`nohz`]). Each time it walks its
//! scheduling domains from the narrowest up; of the CPUs of a group only one, the first idle one, takes its turn
//! ([`turn`]).
//!
//! **From where.** A pass ([`rq`]) looks at one domain. It sums up the domain's groups ([`stats`]), says how busy each is
//! ([`classify`]), and chooses the busiest that is busier than its own, if the rules agree that something should move
//! ([`choose`]). Within that group it chooses one CPU ([`source`]).
//!
//! **How much.** Load, utilisation, a number of tasks, or one task too big for its CPU ([`imbalance`]).
//!
//! **Which tasks.** Those that ran longest ago first, unless they are pinned, running, cache hot, or more than is to be
//! moved ([`migrate`], `detach`). When nothing but a running task is left, the source's stopper thread may push it
//! ([`active`]).
//!
//! **For whose sake.** The newest kernels gather the threads of a process in one last-level cache: groups with such tasks give
//! them away, and tasks do not leave ([`cache_aware`](crate::cache_aware)).
//!
//! **And then.** A level that found nothing to do waits twice as long until the next pass; one that tried starts over at
//! its shortest interval. Failures are counted and relax the rules.
//!
//! A worked example: two caches of four cores, CPUs 0-3 idle, CPUs 4-7 with two full tasks each. At its tick CPU 0 finds
//! its level of 8 CPUs due. It is the first idle CPU of its group, so it is its turn. Its own group has spare capacity,
//! the other is overloaded (8 tasks on 4 CPUs). Siblings should share, and the two groups share no cache, so utilisation
//! is moved: as much as fits here, 4096. CPU 4 is the first of equals; its waiting task, of utilisation 512, moves.
//! CPU 0 now has work; the next idle CPU takes the next turn.
//!
//! Everything between the numbers and the decision is a pure function of a [`Search`](stats::Search) over a
//! [`CpuView`](view::CpuView): it works on a table of numbers as well as on the simulated scheduler. Only `rq`, `search`, `detach`,
//! `active`, `trigger`, `newidle` and `nohz` change anything. Every decision is told to the observer with its numbers and
//! its rule ([`event`]).
//!
//! In the kernel: the second half of `kernel/sched/fair.c`. Specified in spec 3 §§1-8, 14, 16. Left out because the core
//! has none of it yet: energy-aware placement and core scheduling, which the pure functions take as inputs and the scheduler
//! answers with their neutral values. What NUMA balancing has found out is an input of the scheduler ([`locality`]).

pub mod active;
pub mod capacity;
pub mod choose;
mod classic;
pub mod classify;
mod detach;
pub mod env;
pub mod event;
pub mod imbalance;
pub mod locality;
#[cfg(test)]
mod locality_tests;
#[cfg(test)]
mod mark_tests;
pub mod migrate;
pub mod newidle;
pub mod nohz;
#[cfg(test)]
mod nohz_tests;
pub mod rq;
pub mod rules;
mod search;
pub mod source;
pub mod stats;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
pub mod trigger;
pub mod turn;
#[cfg(test)]
mod vector_tests;
pub mod view;

pub use rules::BalanceRules;
