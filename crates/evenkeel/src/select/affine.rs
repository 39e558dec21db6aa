//! The waker's CPU or the previous one? Idleness decides first, then load.
//!
//! In the kernel: `wake_affine`, `wake_affine_idle`, `wake_affine_weight`. Specified in spec 4 §6.
use crate::ids::{CpuId, DomainId, TaskId};
use crate::kernel::Features;
use crate::observe::{Event, Observer};
use crate::sched::Sched;
use crate::select::steps::{AffineRule, PlacementStep};

/// What the comparison of weights looks at.
#[derive(Clone, Copy, Debug)]
struct Weights {
    this_load: i64,
    prev_load: i64,
    task_load: i64,
    this_capacity: i64,
    prev_capacity: i64,
    imbalance_pct: i64,
    sync: bool,
    bias: bool,
}

impl Weights {
    /// Whether the waking CPU with the task would be less loaded than the previous one without it.
    fn favour_this(&self) -> bool {
        let bias = if self.bias { (self.imbalance_pct - 100) / 2 } else { 0 };
        let this = (self.this_load + self.task_load) * 100 * self.prev_capacity;
        let mut prev = (self.prev_load - self.task_load) * (100 + bias) * self.this_capacity;
        if self.sync {
            prev += 1;
        }
        this < prev
    }
}

impl<O: Observer> Sched<O> {
    /// Chooses between `this`, the waking CPU, and `prev`; `domain` is the level that holds both.
    pub(super) fn wake_affine(
        &mut self,
        domain: DomainId,
        task: TaskId,
        this: CpuId,
        prev: CpuId,
        sync: bool,
    ) -> CpuId {
        let mut chosen = None;
        let mut rule = AffineRule::Weight;
        if self.feat(Features::WA_IDLE)
            && let Some((cpu, idle_rule)) = self.wake_affine_idle(this, prev, sync)
        {
            (chosen, rule) = (Some(cpu), idle_rule);
        }
        if chosen.is_none() && self.feat(Features::WA_WEIGHT) {
            chosen = self.wake_affine_weight(domain, task, this, prev, sync);
        }
        let target = chosen.filter(|&cpu| cpu == this).unwrap_or(prev);
        let step = PlacementStep::Affine { this, prev, target, rule };
        self.emit(|_| Event::Placement { task, step });
        if chosen != Some(this) && !(chosen.is_some() && self.kernel.placement.counts_prev_as_affine) {
            return prev;
        }
        let stats = &mut self.topo.domains[domain.index()].stats;
        stats.ttwu_move_affine = stats.ttwu_move_affine.wrapping_add(1);
        chosen.unwrap_or(prev)
    }

    fn wake_affine_idle(&self, this: CpuId, prev: CpuId, sync: bool) -> Option<(CpuId, AffineRule)> {
        // An idle waking CPU means an interrupt: that says nothing about where the task's data is.
        if self.idle_cpu(this) && self.topo.cpus_share_cache(this, prev) {
            let target = if self.idle_cpu(prev) { prev } else { this };
            return Some((target, AffineRule::ThisIdle));
        }
        let rules = &self.kernel.placement;
        let delayed = if rules.sync_ignores_delayed { self.root(this).h_nr_delayed } else { 0 };
        if sync && self.rqs[this.index()].nr_running - delayed == 1 {
            return Some((this, AffineRule::Sync));
        }
        (rules.prefers_idle_prev && self.idle_cpu(prev)).then_some((prev, AffineRule::PrevIdle))
    }

    fn wake_affine_weight(
        &mut self,
        domain: DomainId,
        task: TaskId,
        this: CpuId,
        prev: CpuId,
        sync: bool,
    ) -> Option<CpuId> {
        let mut this_load = self.cpu_load(this) as i64;
        if sync && let Some(curr) = self.rqs[this.index()].curr {
            let current_load = self.task_h_load(curr) as i64;
            if current_load > this_load {
                return Some(this);
            }
            this_load -= current_load;
        }
        let weights = Weights {
            this_load,
            prev_load: self.cpu_load(prev) as i64,
            task_load: self.task_h_load(task) as i64,
            this_capacity: self.capacity_of(this) as i64,
            prev_capacity: self.capacity_of(prev) as i64,
            imbalance_pct: i64::from(self.topo.domains[domain.index()].imbalance_pct),
            sync,
            bias: self.feat(Features::WA_BIAS),
        };
        weights.favour_this().then_some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(this_load: i64, prev_load: i64) -> Weights {
        Weights {
            this_load,
            prev_load,
            task_load: 1024,
            this_capacity: 1024,
            prev_capacity: 1024,
            imbalance_pct: 117,
            sync: false,
            bias: true,
        }
    }

    #[test]
    fn the_lighter_side_wins_with_a_bias_to_the_waker() {
        // Spec 4 §17 V4, V6, V7.
        assert!(weights(0, 2048).favour_this());
        assert!(!weights(1024, 2048).favour_this());
        assert!(weights(1024, 4096).favour_this());
    }
}
