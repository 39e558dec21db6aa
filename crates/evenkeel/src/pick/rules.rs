//! The constants that a queue's arithmetic depends on: those of the kernel, scaled to the machine.
//!
//! On 8 CPUs and more every latency is four times what the kernel states for one CPU: a base slice of 0.7 ms becomes
//! 2.8 ms, a target latency of 6 ms becomes 24 ms.
//!
//! In the kernel: `update_sysctl`, `get_update_sysctl_factor`. Specified in spec 2 §2.5.
use crate::kernel::{CfsTunables, Features, Kernel};
use crate::queue_rules::RunQueueRules;
use crate::time::{Ns, tick_ns};
use crate::weight::LoadWeight;

/// The constants of one kernel on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Feature bits.
    pub features: Features,
    /// How queues work.
    pub queues: RunQueueRules,
    /// The default slice, ns.
    pub base_slice: Ns,
    /// The same before scaling.
    pub base_slice_normalized: Ns,
    /// The length of a tick, ns.
    pub tick: Ns,
    /// Slices of classic CFS; all 0 in other kernels.
    pub cfs: CfsSlices,
}

impl Rules {
    /// Those of `kernel` on a machine of `cpus` online CPUs.
    pub fn of(kernel: &Kernel, cpus: u32) -> Self {
        let factor = u64::from(kernel.tunables.scaling.factor(cpus));
        Self {
            features: kernel.features,
            queues: kernel.queues,
            base_slice: kernel.tunables.base_slice_normalized_ns * factor,
            base_slice_normalized: kernel.tunables.base_slice_normalized_ns,
            tick: tick_ns(kernel.hz),
            cfs: kernel.tunables.cfs.map_or_else(CfsSlices::default, |cfs| CfsSlices::of(&cfs, factor)),
        }
    }

    /// Virtual time of `delta` ns of an entity of this weight.
    #[inline]
    pub(crate) fn delta_fair(&self, delta: Ns, load: &LoadWeight) -> u64 {
        self.queues.division.calc_delta_fair(delta, load)
    }
}

/// Slices of classic CFS, scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CfsSlices {
    /// The time in which every runnable task should run once.
    pub latency: Ns,
    /// The shortest slice.
    pub min_granularity: Ns,
    /// How far behind a wakee must be to preempt.
    pub wakeup_granularity: Ns,
    /// The shortest slice of idle entities among others; `None` where they have no slice of their own.
    pub idle_min_granularity: Option<Ns>,
    /// A new task runs before its creator.
    pub child_runs_first: bool,
    /// With more tasks than this the period grows (`sched_nr_latency`).
    pub nr_latency: u32,
}

impl CfsSlices {
    /// Tunables times `factor`; the slice of idle entities is never scaled.
    pub fn of(tunables: &CfsTunables, factor: u64) -> Self {
        Self {
            latency: tunables.latency_normalized_ns * factor,
            min_granularity: tunables.min_granularity_normalized_ns * factor,
            wakeup_granularity: tunables.wakeup_granularity_normalized_ns * factor,
            idle_min_granularity: tunables.idle_min_granularity_ns,
            child_runs_first: tunables.child_runs_first,
            nr_latency: tunables.latency_normalized_ns.div_ceil(tunables.min_granularity_normalized_ns)
                as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{V4_19_0, V6_1_192, V6_12_117};

    #[test]
    fn latencies_grow_with_the_number_of_cpus() {
        // Spec 2 §2.5: factor 1, 2, 3, 4 with 1, 2-3, 4-7, 8 and more CPUs.
        let base = [1, 2, 3, 4, 7, 8, 64].map(|cpus| Rules::of(&V6_12_117, cpus).base_slice / 700_000);
        assert_eq!(base, [1, 2, 2, 3, 3, 4, 4]);
        let cfs = Rules::of(&V6_1_192, 8).cfs;
        assert_eq!(
            (cfs.latency, cfs.min_granularity, cfs.wakeup_granularity),
            (24_000_000, 3_000_000, 4_000_000)
        );
        assert_eq!((cfs.idle_min_granularity, cfs.nr_latency), (Some(750_000), 8));
        assert_eq!(Rules::of(&V4_19_0, 8).cfs.idle_min_granularity, None);
    }
}
