//! What a new domain starts with, by the kind of its level.
//!
//! | | threads | cache | node | NUMA |
//! |---|---|---|---|---|
//! | `imbalance_pct` | 110 | 117 | 117 | 117 |
//! | `cache_nice_tries` | 0 | 1 | 1 | 2 |
//! | spreads tasks over siblings | yes | yes | yes | no |
//!
//! Intervals follow from the number of CPUs: a level of 8 CPUs balances every 8 to 16 ms.
//!
//! In the kernel: `sd_init`, `set_domain_attribute`.
use super::build::Draft;
use super::domain::{Domain, DomainStats, SdFlags};
use super::rules::{LevelWeight, ReclaimDistance, RelaxDomainLevel};
use super::spans::SpanId;
use crate::balance::rules::CostDecay;
use crate::ids::{CpuId, DomainId, GroupId};
use alloc::sync::Arc;

impl Draft<'_> {
    /// The flags of a level over a span, by kind of level (spec 1 §5).
    pub(super) fn sd_init_flags(&mut self, level: usize, span: SpanId) -> SdFlags {
        let entry = &self.host.levels.table[level];
        let mut flags = entry.flags
            | SdFlags::BALANCE_NEWIDLE
            | SdFlags::BALANCE_EXEC
            | SdFlags::BALANCE_FORK
            | SdFlags::WAKE_AFFINE
            | SdFlags::PREFER_SIBLING
            | self.asym_flags(span);
        self.asym_seen |= flags.contains(SdFlags::ASYM_CPUCAPACITY);
        if self.rules().flag_set.has_load_balance() {
            flags |= SdFlags::LOAD_BALANCE;
        }
        if let Some(distance) = entry.distance {
            flags.remove(SdFlags::PREFER_SIBLING);
            flags.insert(SdFlags::SERIALIZE);
            if distance > self.node_reclaim_distance() {
                flags.remove(SdFlags::BALANCE_EXEC | SdFlags::BALANCE_FORK | SdFlags::WAKE_AFFINE);
            }
        }
        self.relax(&mut flags, level as u32);
        if entry.distance.is_some() && self.rules().flag_set.has_overlap() {
            flags.insert(SdFlags::OVERLAP);
        }
        flags
    }

    fn asym_flags(&mut self, span: SpanId) -> SdFlags {
        let mask = Arc::clone(self.spans.mask(span));
        let (classes, cpu_map) = (self.host.classes, self.cpu_map);
        *self.asym.entry(span).or_insert_with(|| classes.classify(&mask, cpu_map))
    }

    fn node_reclaim_distance(&self) -> u32 {
        match self.rules().reclaim_distance {
            ReclaimDistance::Constant => ReclaimDistance::DEFAULT,
            ReclaimDistance::ByMachine => {
                self.machine.node_reclaim_distance.unwrap_or(ReclaimDistance::DEFAULT)
            }
        }
    }

    /// Applies the request not to balance eagerly beyond a level (spec 1 §5).
    fn relax(&self, flags: &mut SdFlags, level: u32) {
        let Some(request) = self.relax else { return };
        let eager = SdFlags::BALANCE_WAKE | SdFlags::BALANCE_NEWIDLE;
        let beyond = match self.rules().relax_domain_level {
            RelaxDomainLevel::ClearAboveElseSet | RelaxDomainLevel::ClearAbove => level > request,
            RelaxDomainLevel::ClearFrom => level >= request,
        };
        if beyond {
            flags.remove(eager);
        } else if self.rules().relax_domain_level == RelaxDomainLevel::ClearAboveElseSet {
            flags.insert(eager);
        }
    }

    /// The values a domain starts with, by kind of level (spec 1 §5).
    pub(super) fn sd_init(
        &self,
        level: usize,
        cpu: CpuId,
        child: Option<DomainId>,
        flags: SdFlags,
        span: SpanId,
    ) -> Domain {
        let rules = self.rules();
        let entry = &self.host.levels.table[level];
        let (imbalance_pct, cache_nice_tries, busy_idx, idle_idx) =
            if flags.contains(SdFlags::SHARE_CPUCAPACITY) {
                (rules.imbalance_pct_smt, 0, 0, 0)
            } else if flags.contains(SdFlags::SHARE_LLC) {
                (rules.imbalance_pct_llc, 1, 2, 0)
            } else if entry.distance.is_some() {
                (rules.imbalance_pct_other, 2, 3, 2)
            } else {
                (rules.imbalance_pct_other, 1, 2, 1)
            };
        let weight = u64::from(match rules.level_weight {
            LevelWeight::RawMask => self.spans.weight(entry.masks[cpu.index()]),
            // Not the final span: a level narrower than the one below is widened after this.
            LevelWeight::Span => self.spans.weight(self.clipped[&entry.masks[cpu.index()]]),
        });
        // Kernels that note when the next decay is due start with "now", others with a second from now (spec 1 §1.1).
        let first_decay = match self.host.kernel.balance.periodic.cost_decay {
            CostDecay::EverySecond => self.host.jiffies.wrapping_sub(u64::from(self.host.kernel.hz)),
            CostDecay::SinceLastChange => self.host.jiffies,
        };
        Domain {
            cpu,
            parent: None,
            child,
            groups: GroupId(0),
            span: Arc::clone(self.spans.mask(span)),
            span_weight: self.spans.weight(span),
            name: entry.name,
            level: level as u32,
            flags,
            min_interval: weight,
            max_interval: 2 * weight,
            balance_interval: weight,
            busy_factor: rules.busy_factor,
            busy_idx,
            idle_idx,
            imbalance_pct,
            cache_nice_tries,
            imb_numa_nr: 0,
            last_balance: self.host.jiffies,
            nr_balance_failed: 0,
            nohz_idle: false,
            max_newidle_lb_cost: 0,
            last_decay_max_lb_cost: first_decay,
            avg_scan_cost: 0,
            newidle_call: 512,
            newidle_success: 256,
            newidle_ratio: 512,
            newidle_stamp: self.host.now_ns,
            shared: None,
            stats: DomainStats::default(),
        }
    }
}
