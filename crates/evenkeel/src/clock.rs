//! A CPU's clocks: real time, task time, and PELT's time, which stands still while a CPU is idle and runs slower on
//! small CPUs.
//!
//! Clocks move only when somebody updates them under the queue's lock, so a tickless idle CPU's clock is stale until
//! the next event there; the sequences of spec 2 §5 say where updates happen.
//!
//! In the kernel: `update_rq_clock`, `update_rq_clock_pelt`, `update_idle_rq_clock_pelt`. Specified in spec 2 §4.
//! Interrupt time is taken off where it is accounted for ([`pressure`](crate::pressure)). Left out: steal time, frequency.
use crate::ids::CpuId;
use crate::observe::Observer;
use crate::pelt::LOAD_AVG_MAX;
use crate::queue_rules::LoadTracking;
use crate::sched::Sched;
use crate::time::Ns;

/// From this utilisation on a CPU had no spare capacity: `((47742 - 1024) << 10) - 47742` (spec 2 §4.3).
const FULLY_USED_UTIL_SUM: u32 = (((LOAD_AVG_MAX - 1024) << 10) - LOAD_AVG_MAX) as u32;

/// How much PELT time passes in `delta` ns on a CPU of this capacity and frequency, each 1024 for the most; truncated twice, in
/// this order (spec 2 §4.2).
#[inline]
fn slowed(delta: Ns, capacity: u64, frequency: u64) -> Ns {
    (((delta * capacity) >> 10) * frequency) >> 10
}

impl<O: Observer> Sched<O> {
    /// Brings the clocks of `cpu` to the present.
    #[inline]
    pub(crate) fn update_rq_clock(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        let delta = self.now - rq.clock;
        if delta == 0 {
            return;
        }
        rq.clock = self.now;
        let delta =
            if self.rules.queues.irq_time_accounting { self.without_interrupts(cpu, delta) } else { delta };
        let rq = &mut self.rqs[cpu.index()];
        rq.clock_task += delta;
        if rq.curr.is_none() && !rq.stopper_running {
            rq.sync_idle_clock_pelt();
        } else {
            rq.clock_pelt += match self.rules.queues.load_tracking {
                LoadTracking::SlowedTime => slowed(delta, rq.arch_capacity, 1024),
                // Contributions are scaled instead.
                LoadTracking::ScaledContributions => delta,
            };
        }
    }

    /// The CPU becomes idle: PELT time catches up with task time, unless the CPU was so busy that the time stolen by
    /// its size must not look like idle time.
    pub(crate) fn update_idle_rq_clock_pelt(&mut self, cpu: CpuId) {
        let util_sum = self.root(cpu).avg.util_sum;
        let rq = &mut self.rqs[cpu.index()];
        let util_sum = util_sum.wrapping_add(rq.pressure.rt.util_sum).wrapping_add(rq.pressure.dl.util_sum);
        if util_sum >= FULLY_USED_UTIL_SUM {
            rq.lost_idle_time += rq.clock_task - rq.clock_pelt;
        }
        rq.sync_idle_clock_pelt();
    }
}

impl crate::rq::Rq {
    fn sync_idle_clock_pelt(&mut self) {
        self.clock_pelt = self.clock_task;
        self.clock_idle = self.clock;
        self.clock_pelt_idle = self.clock_pelt_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pelt_time_is_slower_on_small_and_slow_cpus() {
        // Spec 2 §17.12.
        assert_eq!(slowed(4_000_000, 1024, 1024), 4_000_000);
        assert_eq!(slowed(4_000_000, 512, 1024), 2_000_000);
        assert_eq!(slowed(4_000_000, 446, 768), 1_306_640);
        assert_eq!(slowed(1000, 446, 768), 326);
        assert_eq!(slowed(999, 333, 333), 105);
        assert_eq!(FULLY_USED_UTIL_SUM, 47_791_490);
    }
}
