//! Whose turn it is: of the CPUs of a group, one balances for all of them.
//!
//! A CPU about to go idle always may. Otherwise it is the first CPU on an idle core, else the first idle thread, else
//! the group's balance CPU. Example: cores {0,1} and {2,3}, CPU 0 busy: CPU 2 balances for the four, not CPU 1, whose
//! core is half busy.
//!
//! In the kernel: `should_we_balance()` (spec 3 §3.3).
use super::env::IdleType;
use super::event::Turn;
use super::rules::TurnOrder;
use super::stats::Search;
use super::view::{CpuView, is_core_idle};
use crate::topology::SdFlags;

impl<V: CpuView + ?Sized> Search<'_, V> {
    /// Whose turn it is.
    pub fn should_we_balance(&self) -> Turn {
        if !self.cpus.contains(self.dst_cpu) {
            return Turn::NotCandidate;
        }
        if self.idle == IdleType::NewlyIdle {
            let work = self.rules.pass.newidle_needs_empty
                && (self.view.nr_running(self.dst_cpu) > 0 || self.view.ttwu_pending(self.dst_cpu));
            return if work { Turn::WorkArrived } else { Turn::NewlyIdle };
        }
        let domain = self.domain();
        let sgc = self.group(domain.groups).sgc;
        let ours = self.topo.capacities[sgc.index()].balance_mask.iter();
        let knows_cores = self.rules.pass.turn == TurnOrder::IdleCore;
        let between_cores = knows_cores && !domain.flags.contains(SdFlags::SHARE_CPUCAPACITY);
        let mut idle_smt = None;
        for cpu in ours.filter(|&cpu| self.cpus.contains(cpu) && self.view.idle_cpu(cpu)) {
            if !between_cores || is_core_idle(self.topo, self.view, cpu) {
                return Turn::IdleCore(cpu);
            }
            idle_smt = idle_smt.or(Some(cpu));
        }
        match idle_smt {
            Some(cpu) => Turn::IdleThread(cpu),
            None => Turn::BalanceCpu(self.topo.group_balance_cpu(domain.groups)),
        }
    }
}
