//! Slice protection: how long the running entity is safe from entities with earlier deadlines.
//!
//! Without it three equal tasks would switch at every tick that finds an earlier deadline. In one generation protection
//! lasts until the deadline is renewed; in the next until the shortest slice of the queue is used up: with a task of
//! 2.8 ms and one of 0.5 ms waiting, the former is protected for 0.5 ms.
//!
//! In the kernel: `set_protect_slice`, `protect_slice`, `cancel_protect_slice`, `update_protect_slice`. Specified in spec 2
//! §6.5. Left out: in v6.12 and v6.18 the smallest slice of a subtree may be stale after a rotation of the tree
//! (spec 2 §18.2); here it is exact.
use super::rules::Rules;
use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::kernel::Features;
use crate::queue_rules::SliceProtection;
use crate::timeline::vtime_before;

impl CfsRq {
    /// The smallest slice of the entities that wait.
    fn min_waiting_slice(&self, entities: &[Entity]) -> Option<u64> {
        self.timeline.entries().iter().map(|waiting| entities[waiting.se.index()].slice).min()
    }

    /// The entity becomes current and is protected.
    pub(crate) fn set_protect_slice(&self, entities: &mut [Entity], se: SeId, rules: &Rules) {
        let vprot = match rules.queues.slice_protection {
            SliceProtection::UntilRenewal => entities[se.index()].deadline,
            SliceProtection::ShortestSlice | SliceProtection::ShortestSliceOfPick => {
                let shortest = if rules.features.contains(Features::RUN_TO_PARITY) {
                    self.min_waiting_slice(entities)
                } else {
                    Some(rules.base_slice_normalized)
                };
                let entity = &entities[se.index()];
                match shortest {
                    Some(slice) if slice < entity.slice => entity.sooner(entity.deadline, slice, rules),
                    _ => entity.deadline,
                }
            }
        };
        entities[se.index()].set_vprot(vprot, rules);
    }

    /// A wakee that does not preempt still shortens the protection of what runs.
    pub(crate) fn update_protect_slice(&self, entities: &mut [Entity], se: SeId, rules: &Rules) {
        let own = entities[se.index()].slice;
        let slice = self.min_waiting_slice(entities).map_or(own, |slice| slice.min(own));
        let entity = &entities[se.index()];
        let vprot = entity.sooner(entity.vprot(rules), slice, rules);
        entities[se.index()].set_vprot(vprot, rules);
    }
}

impl Entity {
    /// The earlier of a virtual time and the one at which the entity has run for `slice` from now.
    fn sooner(&self, vtime: u64, slice: u64, rules: &Rules) -> u64 {
        let end = self.vruntime.wrapping_add(rules.delta_fair(slice, &self.load));
        if vtime_before(end, vtime) { end } else { vtime }
    }

    fn vprot(&self, rules: &Rules) -> u64 {
        match rules.queues.slice_protection {
            SliceProtection::UntilRenewal | SliceProtection::ShortestSlice => self.vlag as u64,
            SliceProtection::ShortestSliceOfPick => self.vprot,
        }
    }

    fn set_vprot(&mut self, vprot: u64, rules: &Rules) {
        match rules.queues.slice_protection {
            SliceProtection::UntilRenewal | SliceProtection::ShortestSlice => self.vlag = vprot as i64,
            SliceProtection::ShortestSliceOfPick => self.vprot = vprot,
        }
    }

    /// Whether the entity, which runs, is protected.
    #[inline]
    pub(crate) fn is_protected(&self, rules: &Rules) -> bool {
        match rules.queues.slice_protection {
            SliceProtection::UntilRenewal => self.vprot(rules) == self.deadline,
            SliceProtection::ShortestSlice | SliceProtection::ShortestSliceOfPick => {
                vtime_before(self.vruntime, self.vprot(rules))
            }
        }
    }

    /// It no longer is.
    #[inline]
    pub(crate) fn cancel_protect_slice(&mut self, rules: &Rules) {
        let vprot = match rules.queues.slice_protection {
            SliceProtection::UntilRenewal => self.deadline.wrapping_add(1),
            SliceProtection::ShortestSlice | SliceProtection::ShortestSliceOfPick => self.vruntime,
        };
        self.set_vprot(vprot, rules);
    }
}
