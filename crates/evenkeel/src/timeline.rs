//! The entities that wait on one queue, in the order of a key: their virtual deadlines, or with classic CFS their
//! virtual runtimes.
//!
//! The kernel keeps a red-black tree augmented with the smallest virtual runtime of each subtree; any ordered
//! structure that yields "the first eligible entity by (key, insertion)" picks the same entity (spec 2 §6.5). A
//! sorted vector is the fastest up to some 256 entities, and queues hold 1 to 20.
use crate::ids::SeId;
use alloc::vec::Vec;

/// One waiting entity with what the pick needs to know about it. None of it changes while the entity waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What the timeline is ordered by.
    pub key: u64,
    /// Virtual runtime.
    pub vruntime: u64,
    /// Who.
    pub se: SeId,
}

/// Waiting entities by key; equal keys keep the order of insertion.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: Vec<Waiting>,
}

/// Whether virtual time `a` is before `b`; virtual time wraps, so it has no total order.
#[inline]
pub const fn vtime_before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

impl Timeline {
    /// Adds an entity, after those with an equal key.
    #[inline]
    pub fn insert(&mut self, waiting: Waiting) {
        let at = self.entries.partition_point(|entry| !vtime_before(waiting.key, entry.key));
        self.entries.insert(at, waiting);
    }

    /// Removes the entity with this key; panics if it is not there.
    #[inline]
    pub fn remove(&mut self, se: SeId, key: u64) {
        let start = self.entries.partition_point(|entry| vtime_before(entry.key, key));
        let at = self.entries[start..].iter().position(|entry| entry.se == se);
        self.entries.remove(start + at.expect("the entity waits on this timeline"));
    }

    /// The waiting entities by key.
    #[inline]
    pub fn entries(&self) -> &[Waiting] {
        &self.entries
    }

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_key_then_insertion_order(base in any::<u64>(), ops in prop::collection::vec((0u64..6, any::<bool>()), 1..60)) {
            let mut timeline = Timeline::default();
            let mut model: Vec<(u64, SeId)> = Vec::new();
            for (i, (key, remove)) in ops.into_iter().enumerate() {
                if remove && !model.is_empty() {
                    let (key, se) = model.remove(i % model.len());
                    timeline.remove(se, base.wrapping_add(key));
                } else {
                    let se = SeId(i as u32);
                    timeline.insert(Waiting { key: base.wrapping_add(key), vruntime: 0, se });
                    model.push((key, se));
                }
                let mut expected = model.clone();
                expected.sort_by_key(|&(key, _)| key);
                let got: Vec<SeId> = timeline.entries().iter().map(|entry| entry.se).collect();
                prop_assert_eq!(got, expected.into_iter().map(|(_, se)| se).collect::<Vec<_>>());
            }
        }
    }
}
