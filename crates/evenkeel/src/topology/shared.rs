//! State shared by the CPUs of a last-level cache, as the newest kernels hand it out, and numbers for the caches.
//!
//! One object per CPU is in stock. The lowest domain that holds every capacity takes one, then the highest domain
//! within a last-level cache takes another: the first CPU's of its span that nobody took for another purpose. Example:
//! big.LITTLE with two caches: PKG takes CPU 0's object, so MC `0-3` takes CPU 1's and MC `4-7` CPU 4's.
use super::build::Draft;
use super::domain::SdFlags;
use super::levels::Levels;
use super::spans::Spans;
use crate::ids::{CpuId, DomainId, SharedId};
use crate::mask::CpuMask;
use alloc::sync::Arc;
use alloc::vec;

/// Marks an object as taken by a last-level cache; it is also the number of CPUs a wake-up may look at until the first
/// balance (spec 1 §12).
const CLAIM_LLC: u32 = 512;
/// Marks an object as taken by a domain of all capacities.
const CLAIM_ASYM: u32 = 32;

impl Draft<'_> {
    /// Hands out the shared objects (spec 1 §12, newest kernels).
    pub(super) fn claim_shared(&mut self) {
        let cpu_map = self.cpu_map;
        for cpu in cpu_map {
            if self.asym_seen {
                let full = |draft: &Self, id: DomainId| {
                    draft.domains[id.index()].flags.contains(SdFlags::ASYM_CPUCAPACITY_FULL)
                };
                let lowest = self.built_chain(cpu).find(|&id| full(self, id));
                let lowest = lowest.filter(|id| !self.domains[id.index()].flags.contains(SdFlags::NUMA));
                if let Some(domain) = lowest {
                    self.claim(domain, CLAIM_ASYM);
                }
            }
            let shares = |id: &DomainId| self.domains[id.index()].flags.contains(SdFlags::SHARE_LLC);
            let highest = self.built_chain(cpu).take_while(shares).last();
            if let Some(domain) = highest {
                self.claim(domain, CLAIM_LLC);
            }
        }
    }

    fn built_chain(&self, cpu: CpuId) -> impl Iterator<Item = DomainId> + '_ {
        core::iter::successors(self.base[cpu.index()], |id| self.domains[id.index()].parent)
    }

    fn claim(&mut self, domain: DomainId, tag: u32) {
        let span = Arc::clone(&self.domains[domain.index()].span);
        let weight = self.domains[domain.index()].span_weight;
        for cpu in span.iter() {
            let shared: SharedId = self.shared_at(0, cpu);
            let object = &mut self.shared[shared.index()];
            if weight == 1 || object.nr_idle_scan == 0 || object.nr_idle_scan == tag {
                object.nr_idle_scan = tag;
                object.nr_busy_cpus = weight as i32;
                self.domains[domain.index()].shared = Some(shared);
                return;
            }
        }
    }
}

/// Numbers the last-level caches of the CPUs in `cpus` (spec 1 §11): the number of another CPU of the same hardware
/// cache, or else the lowest that is free.
pub(super) fn assign_llc_ids(llc_ids: &mut [i32], cpus: &CpuMask, levels: &Levels, spans: &Spans) {
    let mut used = vec![false; llc_ids.len() + 1];
    for &id in llc_ids.iter().filter(|&&id| id >= 0) {
        used[id as usize] = true;
    }
    let mut of_cache = vec![None; spans.len()];
    for cpu in cpus {
        if llc_ids[cpu.index()] >= 0 {
            continue;
        }
        let cache = levels.llc[cpu.index()];
        let known = of_cache[cache.index()]
            .or_else(|| spans.mask(cache).iter().map(|other| llc_ids[other.index()]).find(|&id| id >= 0));
        let id = known.unwrap_or_else(|| {
            let free = used.iter().position(|used| !used).expect("there are more numbers than CPUs");
            used[free] = true;
            free as i32
        });
        of_cache[cache.index()] = Some(id);
        llc_ids[cpu.index()] = id;
    }
}
