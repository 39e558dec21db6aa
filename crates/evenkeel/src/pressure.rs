//! What takes a CPU's time from fair tasks: real-time tasks, deadline tasks, interrupts. And the timer of their limits.
//!
//! Each of the three has a load-tracking signal per CPU, whose average is subtracted from the CPU's capacity the next time
//! the CPU balances for itself ([`balance::capacity`](crate::balance::capacity)). Example: real-time tasks run for the
//! first 2 ms of every 10 ms: their average right after each burst is 41, 75, 102, 124 ... of 1024, and about 200 in the
//! long run; the CPU counts with 824 then, and tasks are pulled away from it.
//!
//! Interrupts are tracked only where the kernel accounts for their time (`irq_time_accounting`, off in the kernels as they are
//! built): then that time is also missing in the running time of tasks and in `clock_task`.
//!
//! In the kernel: `update_rt_rq_load_avg`, `update_dl_rq_load_avg`, `update_irq_load_avg`, `irq_time_read`. Specified in
//! spec 2 §4.1, §8.6, §15.1 and §15.3. Left out: pressure by heat and by limits of the frequency, whose arithmetic is that of
//! [`pelt`](crate::pelt) with the capacity that is missing as load; steal time.
use crate::balance::capacity::CapacityUse;
use crate::ids::CpuId;
use crate::io::Action;
use crate::kernel::Features;
use crate::observe::Observer;
use crate::pelt::{Activity, SchedAvg};
use crate::pick::rules::Rules;
use crate::queue_rules::LoadTracking;
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::Class;
use alloc::collections::VecDeque;

/// What the classes above the fair one, and interrupts, did on a CPU; and the timer of their limits.
#[derive(Clone, Debug, Default)]
pub struct Pressure {
    /// Real-time tasks (`avg_rt`).
    pub rt: SchedAvg,
    /// Deadline tasks (`avg_dl`).
    pub dl: SchedAvg,
    /// Interrupts (`avg_irq`).
    pub irq: SchedAvg,
    /// Interrupts that have begun: when each ends, and how long it takes.
    pub handlers: VecDeque<(Ns, Ns)>,
    /// Interrupt time not yet taken off task time, ns.
    pub irq_pending: Ns,
    /// When the timer of limits expires, if it is set.
    pub limit_timer: Option<Ns>,
}

/// Adds the time since the last update to a signal.
fn update(avg: &mut SchedAvg, now: Ns, running: bool, capacity: u64, rules: &Rules) {
    let active = u64::from(running);
    let activity = Activity { load: active, runnable: active, running };
    let crossed = match rules.queues.load_tracking {
        LoadTracking::SlowedTime => avg.update_sum(now, activity),
        LoadTracking::ScaledContributions => avg.update_sum_scaled(now, activity, capacity, 1024),
    };
    if crossed {
        avg.update_avg(1);
    }
}

impl SchedAvg {
    /// `span` ns of interrupts have ended at `now` (spec 2 §15.3). Where time is slowed the span is scaled by the
    /// CPU's capacity.
    fn add_interrupts(&mut self, now: Ns, span: Ns, capacity: u64, rules: &Rules) {
        let span = match rules.queues.load_tracking {
            LoadTracking::SlowedTime => (span * capacity) >> 10,
            LoadTracking::ScaledContributions => span,
        };
        let mut crossed = false;
        for (time, running) in [(now - span, false), (now, true)] {
            let active = u64::from(running);
            let activity = Activity { load: active, runnable: active, running };
            crossed |= match rules.queues.load_tracking {
                LoadTracking::SlowedTime => self.update_sum(time, activity),
                LoadTracking::ScaledContributions => self.update_sum_scaled(time, activity, capacity, 1024),
            };
        }
        if crossed {
            self.update_avg(1);
        }
    }
}

impl<O: Observer> Sched<O> {
    /// The time base of the signals of classes.
    fn pressure_clock(&self, cpu: CpuId) -> Ns {
        let rq = &self.rqs[cpu.index()];
        match self.rules.queues.load_tracking {
            LoadTracking::SlowedTime => rq.clock_pelt_now(),
            LoadTracking::ScaledContributions => rq.clock_task,
        }
    }

    /// The signal of real-time tasks up to now; `running`: one of them ran since the last update.
    pub(crate) fn update_rt_load_avg(&mut self, cpu: CpuId, running: bool) {
        let now = self.pressure_clock(cpu);
        let rq = &mut self.rqs[cpu.index()];
        update(&mut rq.pressure.rt, now, running, rq.arch_capacity, &self.rules);
    }

    /// The signal of deadline tasks.
    pub(crate) fn update_dl_load_avg(&mut self, cpu: CpuId, running: bool) {
        let now = self.pressure_clock(cpu);
        let rq = &mut self.rqs[cpu.index()];
        update(&mut rq.pressure.dl, now, running, rq.arch_capacity, &self.rules);
    }

    /// All signals while load of sleeping tasks is decayed; whether anything is left of them.
    pub(crate) fn update_pressure(&mut self, cpu: CpuId) -> bool {
        let Pressure { rt, dl, irq, .. } = &self.rqs[cpu.index()].pressure;
        let class = self.curr_class(cpu);
        if class.is_none_or(|class| class == Class::Fair) && [rt, dl, irq].iter().all(|avg| avg.is_decayed())
        {
            // Nothing to decay: one update later is the same as many.
            return false;
        }
        self.update_rt_load_avg(cpu, class == Some(Class::RealTime));
        self.update_dl_load_avg(cpu, class == Some(Class::Deadline));
        let rq = &mut self.rqs[cpu.index()];
        let (clock, capacity) = (rq.clock, rq.arch_capacity);
        let Pressure { rt, dl, irq, .. } = &mut rq.pressure;
        if !irq.is_decayed() {
            irq.add_interrupts(clock, 0, capacity, &self.rules);
        }
        rt.util_avg != 0 || dl.util_avg != 0 || irq.util_avg != 0
    }

    /// What takes capacity away from the fair tasks of `cpu`.
    pub(crate) fn capacity_use(&self, cpu: CpuId) -> CapacityUse {
        let Pressure { rt, dl, irq, .. } = &self.rqs[cpu.index()].pressure;
        CapacityUse { pressure: 0, irq: irq.util_avg, rt: rt.util_avg, dl: dl.util_avg }
    }

    /// A handler takes the CPU up to `until`.
    pub(crate) fn interrupted(&mut self, cpu: CpuId, until: Ns, span: Ns) {
        if self.rules.queues.irq_time_accounting {
            self.rqs[cpu.index()].pressure.handlers.push_back((until, span));
        }
    }

    /// How much of the `delta` since the last update of the CPU's clock is task time. What interrupts took is told to their
    /// signal; a handler counts when it has ended.
    #[cold]
    pub(crate) fn without_interrupts(&mut self, cpu: CpuId, delta: Ns) -> Ns {
        let nontask = self.feat(Features::NONTASK_CAPACITY);
        let rq = &mut self.rqs[cpu.index()];
        let pressure = &mut rq.pressure;
        while let Some(&(until, span)) = pressure.handlers.front()
            && until <= rq.clock
        {
            pressure.irq_pending += span;
            pressure.handlers.pop_front();
        }
        let irq = pressure.irq_pending.min(delta);
        pressure.irq_pending -= irq;
        if irq > 0 && nontask {
            pressure.irq.add_interrupts(rq.clock, irq, rq.arch_capacity, &self.rules);
        }
        delta - irq
    }

    /// Sets the CPU's timer of limits for what is due first.
    pub(crate) fn arm_limit_timer(&mut self, cpu: CpuId) {
        let rq = &self.rqs[cpu.index()];
        let replenished = rq.dl.withheld.iter().map(|task| self.tasks[*task].dl.replenish_at).min();
        let due = [rq.rt.period_ends, rq.fair_server.due(), replenished].into_iter().flatten().min();
        let armed = &mut self.rqs[cpu.index()].pressure.limit_timer;
        if due != *armed
            && let Some(due) = due
        {
            *armed = Some(due);
            let at = self.since_start(due.max(self.now));
            self.actions.push_back(Action::LimitTimer { cpu, at });
        }
    }

    /// The timer of limits has expired.
    pub(crate) fn limit_timer(&mut self, cpu: CpuId) {
        let timer = &mut self.rqs[cpu.index()].pressure.limit_timer;
        if timer.is_none_or(|at| self.now < at) {
            return;
        }
        *timer = None;
        self.update_rq_clock(cpu);
        self.rt_period_ends(cpu);
        self.replenish_due(cpu);
        self.fair_server_due(cpu);
        self.arm_limit_timer(cpu);
        self.irq_exit(cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{V4_19_0, V6_12_117};
    use crate::time::{MS, US};
    use alloc::vec::Vec;

    #[test]
    fn bursts_of_real_time_tasks_follow_spec_2_17_4() {
        let rules = Rules::of(&V6_12_117, 8);
        let mut avg = SchedAvg::default();
        let after = |n: u64, avg: &mut SchedAvg| {
            update(avg, n * 10 * MS, false, 1024, &rules);
            update(avg, n * 10 * MS + 2 * MS, true, 1024, &rules);
            avg.util_avg
        };
        let bursts: Vec<u64> = (0..6).map(|n| after(n, &mut avg)).collect();
        assert_eq!(bursts, [41, 75, 102, 124, 143, 157]);
    }

    #[test]
    fn interrupts_follow_spec_2_17_4() {
        let rules = Rules::of(&V6_12_117, 8);
        let mut avg = SchedAvg::default();
        avg.add_interrupts(10 * MS, MS, 1024, &rules);
        assert_eq!((avg.period_contrib, avg.util_sum, avg.util_avg), (549, 989_184, 20));
        avg.add_interrupts(14 * MS, 500 * US, 1024, &rules);
        assert_eq!((avg.period_contrib, avg.util_sum, avg.util_avg), (359, 1_403_725, 29));
    }

    #[test]
    fn missing_capacity_follows_spec_2_17_4() {
        // Heat takes 200 of 1024; the average of that is in the load.
        let mut avg = SchedAvg::default();
        let mut at = Vec::new();
        for tick in 1..=50 {
            let missing = Activity { load: 200, runnable: 200, running: true };
            if avg.update_sum(tick * 4 * MS, missing) {
                avg.update_avg(1);
            }
            at.push(avg.load_avg);
        }
        assert_eq!([1, 2, 5, 10, 25, 50].map(|tick: usize| at[tick - 1]), [15, 30, 67, 112, 174, 196]);
    }

    #[test]
    fn contributions_are_scaled_in_the_oldest_kernel() {
        // Spec 2 §17.4, the rows for a CPU of capacity 512: utilisation 40 and 78 after one and two ticks.
        let rules = Rules::of(&V4_19_0, 8);
        let mut avg = SchedAvg::default();
        for (tick, util) in [(1, 40), (2, 78)] {
            update(&mut avg, tick * 4 * MS, true, 512, &rules);
            assert_eq!(avg.util_avg, util);
        }
    }
}
