//! Who runs next on one CPU: arithmetic on one queue, one family of kernels each.

pub mod cfs;
pub mod eevdf;
pub mod hrtick;
mod protection;
mod reweight;
pub mod rules;

use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::queue_rules::VirtualTime;
use eevdf::PickMode;
use rules::Rules;

impl CfsRq {
    /// The entity to run next. The queue is not empty.
    pub(crate) fn pick_next_entity(&self, entities: &[Entity], mode: PickMode, rules: &Rules) -> SeId {
        match self.virtual_time {
            VirtualTime::Minimum => self.pick_cfs(entities, rules),
            VirtualTime::Mean | VirtualTime::FineMean => self.pick_eevdf(entities, mode, rules),
        }
    }
}
