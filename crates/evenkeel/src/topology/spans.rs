//! Interned CPU sets: equal spans are stored once and compare by number.
//!
//! A machine of 8192 CPUs has tens of thousands of domains but only as many different spans as it has cores, caches
//! and node neighbourhoods; each is 1 KiB long.
use crate::ids::CpuId;
use crate::mask::CpuMask;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A CPU set in [`Spans`]; equal sets have equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpanId(u32);

impl SpanId {
    /// The empty set.
    pub(super) const EMPTY: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The store of CPU sets.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    masks: Vec<Arc<CpuMask>>,
    weights: Vec<u32>,
    ids: BTreeMap<Arc<CpuMask>, SpanId>,
    ncpus: usize,
}

impl Spans {
    pub(super) fn new(ncpus: usize) -> Self {
        let mut spans = Self { masks: Vec::new(), weights: Vec::new(), ids: BTreeMap::new(), ncpus };
        let empty = spans.intern(CpuMask::new(ncpus));
        debug_assert_eq!(empty, SpanId::EMPTY);
        spans
    }

    pub(super) fn intern(&mut self, mask: CpuMask) -> SpanId {
        if let Some(&id) = self.ids.get(&mask) {
            return id;
        }
        let id = SpanId(u32::try_from(self.masks.len()).expect("fewer than 2^32 spans"));
        let mask = Arc::new(mask);
        self.weights.push(mask.weight());
        self.masks.push(Arc::clone(&mask));
        self.ids.insert(mask, id);
        id
    }

    pub(super) fn mask(&self, id: SpanId) -> &Arc<CpuMask> {
        &self.masks[id.index()]
    }

    pub(super) fn weight(&self, id: SpanId) -> u32 {
        self.weights[id.index()]
    }

    pub(super) fn len(&self) -> usize {
        self.masks.len()
    }

    /// For every CPU of `cpus` the set of those with an equal `key`; the empty set for all others.
    pub(super) fn classes<K: Ord>(&mut self, cpus: &CpuMask, key: impl Fn(CpuId) -> K) -> Vec<SpanId> {
        let mut members: BTreeMap<K, Vec<CpuId>> = BTreeMap::new();
        for cpu in cpus {
            members.entry(key(cpu)).or_default().push(cpu);
        }
        let mut by_cpu = alloc::vec![SpanId::EMPTY; self.ncpus];
        for class in members.into_values() {
            let id = self.intern(CpuMask::from_cpus(self.ncpus, class.iter().copied()));
            for cpu in class {
                by_cpu[cpu.index()] = id;
            }
        }
        by_cpu
    }
}
