//! Looking at queues from outside, for views shaped like the kernel's debug files: what needs a computation but changes
//! nothing.
//!
//! In the kernel: `print_cfs_rq`, `entity_eligible` as `sched/debug` calls them. Left out: the text, which hosts make.
use crate::entity::Entity;
use crate::ids::{CpuId, QueueId, SeId};
use crate::observe::Observer;
use crate::sched::Sched;

impl<O: Observer> Sched<O> {
    /// The entities: tasks and, on the queues of their parents, groups.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// The memory node of a CPU.
    pub fn node_of(&self, cpu: CpuId) -> u32 {
        self.node_of[cpu.index()]
    }

    /// The virtual time of a queue (`avg_vruntime()`; spec 2 §6.2).
    pub fn avg_vruntime(&self, queue: QueueId) -> u64 {
        // The computation moves the queue's reference point, which a look must not.
        self.queues[queue.index()].clone().avg_vruntime(&self.entities)
    }

    /// Whether an entity is owed service on the queue it is on or was on last (spec 2 §6.2).
    pub fn is_eligible(&self, se: SeId) -> bool {
        let entity = &self.entities[se.index()];
        self.queues[entity.cfs_rq.index()].eligible(&self.entities, entity.vruntime)
    }
}
