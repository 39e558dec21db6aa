//! What is known of a process: where its threads have run of late.
//!
//! Times are halved with every epoch, so a thread that ran 8 ms in each of the last epochs stands at up to 16 ms. Divided by what the
//! CPU ran for all processes, halved alike, that is the share of the CPU: 2^20 is all of it.
//!
//! In the kernel: `struct sched_cache_group` with its per-CPU `{runtime, epoch}` (spec 3 §13.3).
use crate::ids::CpuId;
use crate::time::{Jiffies, Ns};
use alloc::vec::Vec;

/// All of a CPU, in the unit of shares.
pub const WHOLE_CPU: u64 = 1 << 20;

/// A time that is halved with every epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decaying {
    /// The time, as of `epoch`.
    pub runtime: Ns,
    /// The epoch.
    pub epoch: u64,
}

impl Decaying {
    /// Halves the time for every epoch up to `epoch`.
    pub fn age(&mut self, epoch: u64) {
        let epochs = epoch - self.epoch;
        self.epoch = epoch;
        self.runtime = if epochs < 64 { self.runtime >> epochs } else { 0 };
    }
}

/// The epoch of a time: periods since boot.
pub fn epoch_of(jiffies: Jiffies, period: u32) -> u64 {
    jiffies / u64::from(period.max(1))
}

/// The share of a CPU that a process had, from both their times at the same epoch.
pub fn share(process: Ns, cpu: Ns) -> u64 {
    (u128::from(WHOLE_CPU) * u128::from(process) / (u128::from(cpu) + 1)) as u64
}

/// A group of threads that share their memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Threads that live.
    pub threads: u32,
    /// A CPU of the preferred cache.
    pub cpu: Option<CpuId>,
    /// The epoch in which a thread last compared caches.
    pub epoch: u64,
    /// How many threads run at once, on average over comparisons.
    pub nr_running_avg: u64,
    /// Running time by CPU; empty if threads are not gathered.
    pub occupancy: Vec<Decaying>,
}

impl Process {
    /// A new process, without threads.
    pub(crate) fn new(cpus: usize, epoch: u64) -> Self {
        let occupancy = alloc::vec![Decaying { runtime: 0, epoch }; cpus];
        Self { epoch, occupancy, ..Self::default() }
    }

    /// Takes `running` threads into the average, which follows the faster the smaller the cache:
    /// `avg += (running - avg) / clamp(llc_size / 4, 2, 8)`, truncated towards zero.
    pub fn note_running(&mut self, running: u32, llc_size: u32) {
        let divisor = i64::from((llc_size / 4).clamp(2, 8));
        let delta = (i64::from(running) - self.nr_running_avg as i64) / divisor;
        self.nr_running_avg = self.nr_running_avg.saturating_add_signed(delta);
    }
}

/// A comparison of caches by the share a process has of them (spec 3 §13.3, *scan*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The CPU with the largest share in the best cache.
    best: Option<CpuId>,
    /// The share of the best cache.
    best_sum: u64,
    /// The share of the cache preferred so far.
    present_sum: u64,
}

impl Comparison {
    /// Takes in one cache: the shares of its CPUs, ascending, and whether it is the one preferred so far.
    pub fn cache(&mut self, shares: impl Iterator<Item = (CpuId, u64)>, preferred: bool) {
        let (mut sum, mut most, mut at) = (0, 0, None);
        for (cpu, share) in shares {
            sum += share;
            if share > most {
                (most, at) = (share, Some(cpu));
            }
        }
        if sum > self.best_sum {
            (self.best_sum, self.best) = (sum, at);
        }
        if preferred {
            self.present_sum = sum;
        }
    }

    /// The CPU that stands for another cache to be preferred from now on, if there is one with more than twice the share.
    pub fn change(&self) -> Option<CpuId> {
        self.best.filter(|_| self.best_sum > 2 * self.present_sum)
    }
}
