//! The rules of gathering as functions of numbers.
//!
//! Whether a cache has room: its utilisation is less than half of its capacity (three quarters without SMT). Whether one
//! is more used than another: by more than 20 %. Example: caches of capacity 4096 with utilisation 500 and 1500: a task of 300
//! moves towards the first (800 * 100 < 4096 * 50), and none moves away from it.
//!
//! In the kernel: `can_migrate_llc()` with the two comparisons it makes, and the rules for threads and footprint (spec 3
//! §13.3, §13.4).
use crate::kernel::LlcBalancingTunables;

/// The tunables, and whether cores have several threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// `llc_balancing/`.
    pub tunables: LlcBalancingTunables,
    /// Some core has several threads.
    pub smt_active: bool,
}

/// How full a cache's CPUs were when they were last summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LlcLoad {
    /// Utilisation.
    pub util: u64,
    /// Capacity.
    pub capacity: u64,
}

/// What gathering says of a move between caches (`enum llc_mig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LlcMove {
    /// No.
    Forbidden,
    /// Yes, for the sake of the cache.
    Llc,
    /// It does not care.
    Unrestricted,
}

/// Which way a move goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// To the cache that is preferred.
    Preferred,
    /// Away from it.
    Other,
}

/// Why a task may not be moved for its cache's sake (`migrate_degrades_llc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Degrades {
    /// Tasks that prefer the destination's cache are wanted, and it is none.
    NotWanted,
    /// Moving it is forbidden: it would leave the cache it prefers, or fill it too much.
    Forbidden,
}

/// Why a process has no preferred cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// It did not compare caches for too many epochs.
    Stale,
    /// It has a single thread.
    SingleThread,
    /// More of its threads run at once than fit the cache.
    TooManyThreads,
    /// Its memory is larger than the cache.
    TooLarge,
}

/// Why the preference of a thread is what it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preference {
    /// Its process spends most of its time there.
    Share,
    /// It has none, because of this.
    Invalid(Invalid),
    /// It has none: NUMA balancing prefers another node for it.
    OtherNode,
}

/// What the rules need to know of a process, seen from one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessSize {
    /// Its threads.
    pub threads: u32,
    /// How many run at once, on average.
    pub nr_running_avg: u64,
    /// Threads of the CPU's core.
    pub smt_threads: u32,
    /// CPUs of its last-level cache.
    pub llc_size: u32,
    /// Only while NUMA balancing is active: size of the process's memory and of the cache, bytes.
    pub memory: Option<Memory>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the process, by its NUMA faults.
    pub footprint: u64,
    /// Of the cache; none: the CPU has no domain, so that everything is too large.
    pub llc_bytes: Option<u64>,
}

impl Gathering {
    /// Whether a cache has room: `util * 100 < capacity * overaggr_pct`, half as much again without SMT.
    pub fn fits_llc(&self, load: LlcLoad) -> bool {
        let percent = u64::from(self.tunables.overaggr_pct);
        let percent = if self.smt_active { percent } else { percent * 3 / 2 };
        load.util * 100 < load.capacity * percent
    }

    /// Whether one utilisation is more than another by `imb_pct` percent.
    pub fn util_greater(&self, util: u64, other: u64) -> bool {
        util * 100 > other * (100 + u64::from(self.tunables.imb_pct))
    }

    /// Whether utilisation `util` may move from the cache with load `src` to the one with load `dst`; unknown loads restrict
    /// nothing (spec 3 §13.4).
    pub fn can_migrate_llc(
        &self,
        src: Option<LlcLoad>,
        dst: Option<LlcLoad>,
        util: u64,
        toward: Toward,
    ) -> LlcMove {
        let (Some(src), Some(dst)) = (src, dst) else { return LlcMove::Unrestricted };
        let src = LlcLoad { util: src.util.saturating_sub(util), ..src };
        let dst = LlcLoad { util: dst.util + util, ..dst };
        let (src_fits, dst_fits) = (self.fits_llc(src), self.fits_llc(dst));
        if !src_fits && !dst_fits {
            return LlcMove::Unrestricted;
        }
        let forbidden = match toward {
            Toward::Preferred => !dst_fits && self.util_greater(dst.util, src.util),
            Toward::Other => src_fits || !self.util_greater(src.util, dst.util),
        };
        if forbidden { LlcMove::Forbidden } else { LlcMove::Llc }
    }

    /// By how much `aggr_tolerance` widens a limit in steps of `step`; none: there is no limit.
    fn scale(&self, step: u64) -> Option<u64> {
        match self.tunables.aggr_tolerance {
            0 => Some(0),
            tolerance @ 1..100 => Some(1 + u64::from(tolerance - 1) * step),
            _ => None,
        }
    }

    /// Why a process of this size prefers no cache, if so (spec 3 §13.3).
    pub fn invalid(&self, size: &ProcessSize) -> Option<Invalid> {
        if size.threads <= 1 {
            return Some(Invalid::SingleThread);
        }
        let threads = size.nr_running_avg * u64::from(size.smt_threads);
        if self.scale(1).is_some_and(|scale| !fits_capacity(threads, scale * u64::from(size.llc_size))) {
            return Some(Invalid::TooManyThreads);
        }
        let memory = size.memory?;
        let too_large = match memory.llc_bytes {
            None => true,
            Some(bytes) => self.scale(256).is_some_and(|scale| bytes * scale < memory.footprint),
        };
        too_large.then_some(Invalid::TooLarge)
    }
}

/// Whether something leaves a fifth of what it is put in (spec 3 §1.3).
fn fits_capacity(used: u64, capacity: u64) -> bool {
    used * 1280 < capacity * 1024
}
