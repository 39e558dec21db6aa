//! What a CPU looks up all the time and therefore keeps at hand: its cache's domain, its cluster, its first NUMA level.
//!
//! In the kernel: `update_top_cache_domain`, `highest_flag_domain`, `lowest_flag_domain`.
use super::domain::{CpuDomains, Domains, SdFlags};
use super::rules::{HighestFlagDomain, LlcId, TopologyRules};
use crate::ids::{CpuId, DomainId, RootId};

/// Flags that every domain below one that has them must have too (spec 1 §4, meta *child*).
const SHARED_CHILD: SdFlags = SdFlags::BALANCE_NEWIDLE
    .union(SdFlags::BALANCE_EXEC)
    .union(SdFlags::BALANCE_FORK)
    .union(SdFlags::BALANCE_WAKE)
    .union(SdFlags::WAKE_AFFINE)
    .union(SdFlags::SHARE_CPUCAPACITY)
    .union(SdFlags::SHARE_LLC);

impl CpuDomains {
    /// A CPU without domains.
    pub(super) fn detached(cpu: CpuId, llc_id: i32) -> Self {
        Self {
            base: None,
            sd_llc: None,
            sd_llc_size: 1,
            sd_llc_id: llc_id,
            sd_share_id: cpu.0 as i32,
            sd_llc_shared: None,
            sd_numa: None,
            sd_asym_packing: None,
            sd_asym_cpucapacity: None,
            sd_balance_shared: None,
            root: RootId(0),
        }
    }
}

impl Domains {
    /// The pointers of a CPU whose chain starts at `base` (spec 1 §11).
    pub(super) fn derive_pointers(
        &self,
        rules: &TopologyRules,
        cpu: CpuId,
        base: Option<DomainId>,
        root: RootId,
    ) -> CpuDomains {
        let own = cpu.0 as i32;
        let sd_llc = self.highest_flag_domain(rules.highest_flag_domain, base, SdFlags::SHARE_LLC);
        let cluster = self.lowest_flag_domain(base, SdFlags::CLUSTER);
        let first = |id: DomainId| self.domains[id.index()].span.first().map_or(own, |cpu| cpu.0 as i32);
        let shared = |id: DomainId| self.domains[id.index()].shared;
        let sd_asym_cpucapacity = self.lowest_flag_domain(base, SdFlags::ASYM_CPUCAPACITY_FULL);
        let sd_llc_shared = sd_llc.and_then(shared);
        let sd_llc_id = match rules.llc_id {
            LlcId::FirstCpu => sd_llc.map_or(own, first),
            LlcId::Dense => self.llc_ids[cpu.index()],
        };
        CpuDomains {
            base,
            sd_llc,
            sd_llc_size: sd_llc.map_or(1, |id| self.domains[id.index()].span_weight),
            sd_llc_id,
            sd_share_id: match rules.share_id {
                true => cluster.or(sd_llc).map_or(own, first),
                false => sd_llc_id,
            },
            sd_llc_shared,
            sd_numa: self.lowest_flag_domain(base, SdFlags::NUMA),
            sd_asym_packing: self.highest_flag_domain(rules.highest_flag_domain, base, SdFlags::ASYM_PACKING),
            sd_asym_cpucapacity,
            sd_balance_shared: match rules.llc_id {
                LlcId::FirstCpu => None,
                LlcId::Dense => sd_asym_cpucapacity.and_then(shared).or(sd_llc_shared),
            },
            root,
        }
    }

    fn upwards(&self, base: Option<DomainId>) -> impl Iterator<Item = DomainId> + '_ {
        core::iter::successors(base, |id| self.domains[id.index()].parent)
    }

    fn lowest_flag_domain(&self, base: Option<DomainId>, flag: SdFlags) -> Option<DomainId> {
        self.upwards(base).find(|id| self.domains[id.index()].flags.contains(flag))
    }

    fn highest_flag_domain(
        &self,
        rule: HighestFlagDomain,
        base: Option<DomainId>,
        flag: SdFlags,
    ) -> Option<DomainId> {
        let has = |id: &DomainId| self.domains[id.index()].flags.contains(flag);
        let passes_gaps = rule == HighestFlagDomain::PassesGaps && !SHARED_CHILD.contains(flag);
        if passes_gaps {
            self.upwards(base).filter(has).last()
        } else {
            self.upwards(base).take_while(has).last()
        }
    }
}
