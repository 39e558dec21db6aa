//! A queued entity changes its weight: where it stands in virtual time afterwards.
//!
//! The time it is owed and the time to its deadline should stay the same in real time. An entity 1 ms behind the mean with
//! 1.8 ms to its deadline that becomes twice as heavy is 0.5 ms behind with 0.9 ms to go.
//!
//! In the kernel: `reweight_entity`, `reweight_eevdf`, `rescale_entity`. Specified in spec 2 §6.10.
use super::rules::Rules;
use crate::entity::{CfsRq, Entity};
use crate::ids::SeId;
use crate::queue_rules::Reweight;
use crate::weight::LoadWeight;

/// `x * from / to`, truncated.
fn scale(x: i64, from: u64, to: u64) -> i64 {
    (i128::from(x) * i128::from(from) / i128::from(to)) as i64
}

impl Entity {
    /// Its distances from `virtual_time` are scaled to the weight `to`; the lag within the limit.
    fn scale_about(&mut self, virtual_time: u64, lag: i64, to: u64) {
        let from = self.load.weight;
        self.vruntime = virtual_time.wrapping_sub(scale(lag, from, to) as u64);
        self.deadline = scaled_about(self.deadline, virtual_time, from, to);
    }

    /// An entity that is on no queue changes its weight: what it keeps is scaled.
    pub(crate) fn reweight_unqueued(&mut self, load: LoadWeight, rules: &Rules) {
        let (from, to) = (self.load.weight, load.weight);
        match rules.queues.reweight {
            Reweight::KeepsVruntime => {}
            Reweight::AboutMean => self.vlag = scale(self.vlag, from, to),
            Reweight::Replace | Reweight::AboutMeanProtected => {
                self.vlag = scale(self.vlag, from, to);
                if self.rel_deadline {
                    self.deadline = scale(self.deadline as i64, from, to) as u64;
                }
            }
        }
        self.load = load;
    }
}

fn scaled_about(vtime: u64, virtual_time: u64, from: u64, to: u64) -> u64 {
    let distance = vtime.wrapping_sub(virtual_time) as i64;
    virtual_time.wrapping_add(scale(distance, from, to) as u64)
}

impl CfsRq {
    /// A queued entity, running or waiting, changes its weight; the queue's accounts are up to date.
    pub(crate) fn reweight_queued(
        &mut self,
        entities: &mut [Entity],
        se: SeId,
        load: LoadWeight,
        rules: &Rules,
    ) {
        let waits = self.curr != Some(se);
        let before = match rules.queues.reweight {
            Reweight::KeepsVruntime => None,
            Reweight::AboutMean | Reweight::Replace | Reweight::AboutMeanProtected => {
                let lag = self.entity_lag(entities, se, rules);
                Some((self.avg_vruntime(entities), lag))
            }
        };
        if waits {
            self.remove_waiting(entities, se);
        }
        let entity = &mut entities[se.index()];
        let (from, to) = (entity.load.weight, load.weight);
        self.load_weight -= from;
        match (rules.queues.reweight, before) {
            (Reweight::KeepsVruntime, _) | (_, None) => entity.load = load,
            (Reweight::AboutMean, Some((virtual_time, lag))) => {
                entity.scale_about(virtual_time, lag, to);
                entity.load = load;
            }
            (Reweight::AboutMeanProtected, Some((virtual_time, lag))) => {
                entity.scale_about(virtual_time, lag, to);
                entity.vprot = scaled_about(entity.vprot, virtual_time, from, to);
                entity.load = load;
            }
            (Reweight::Replace, Some((_, lag))) => {
                // Where lag and end of protection share a place, what runs now is protected by accident, or not at all.
                entity.vlag = scale(lag, from, to);
                let remaining = entity.deadline.wrapping_sub(entity.vruntime) as i64;
                entity.deadline = scale(remaining, from, to) as u64;
                entity.rel_deadline = true;
                entity.load = load;
                self.nr_running -= 1;
                self.place(entities, se, false, rules);
                self.nr_running += 1;
            }
        }
        self.load_weight += to;
        if waits {
            self.insert_waiting(entities, se);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CpuId;
    use crate::kernels::{V6_12_117, V6_18_15, V7_2_13};
    use alloc::vec;

    /// Reweights the first of two waiting entities, the second of which holds the mean where it is wanted.
    fn reweighted(rules: &Rules, virtual_time: i64, subject: (i64, i64, i32), weight: u64) -> (i64, i64) {
        let (vruntime, deadline, nice) = subject;
        let slice = rules.base_slice;
        let entity = |nice: i32, vruntime: i64, deadline: i64| Entity {
            vruntime: vruntime as u64,
            deadline: deadline as u64,
            on_rq: true,
            ..Entity::new(LoadWeight::of_nice(nice), slice)
        };
        // The other entity is equally heavy and as far away on the other side.
        let mut entities = vec![
            entity(nice, vruntime, deadline),
            entity(nice, 2 * virtual_time - vruntime, 2 * virtual_time - vruntime + 1),
        ];
        let mut queue =
            CfsRq { zero_vruntime: 0, virtual_time: rules.queues.virtual_time, ..CfsRq::new(CpuId(0)) };
        for (i, entity) in entities.iter().enumerate() {
            queue.nr_running += 1;
            queue.load_weight += entity.load.weight;
            queue.insert_waiting(&entities, SeId(i as u32));
        }
        queue.reweight_queued(&mut entities, SeId(0), LoadWeight::computed(weight << 10), rules);
        assert_eq!(queue.load_weight, entities.iter().map(|entity| entity.load.weight).sum());
        (entities[0].vruntime as i64, entities[0].deadline as i64)
    }

    #[test]
    fn a_queued_entity_keeps_its_real_time_when_its_weight_changes() {
        // Spec 2 §17.8, slice 2.8 ms, tick 4 ms: mean, virtual runtime, deadline, nice value, new weight.
        let rows = [
            (2_000_000, (1_000_000, 3_800_000, 0), 2048, (1_500_000, 2_900_000)),
            (2_000_000, (1_000_000, 3_800_000, 0), 335, (-1_056_716, 7_502_089)),
            (2_000_000, (2_500_000, 3_000_000, 0), 3, (172_666_666, 343_333_333)),
            (0, (3_000_001, 5_800_001, -5), 1024, (5_599_997, 17_677_542)),
        ];
        let rules = Rules::of(&V6_12_117, 8);
        for (virtual_time, subject, weight, expected) in rows {
            assert_eq!(reweighted(&rules, virtual_time, subject, weight), expected);
        }
        // The newest rule is the same but for the limit of the lag, which no row but the last reaches.
        let rules = Rules::of(&V7_2_13, 8);
        for (virtual_time, subject, weight, expected) in &rows[..3] {
            assert_eq!(reweighted(&rules, *virtual_time, *subject, *weight), *expected);
        }
    }

    #[test]
    fn an_entity_that_joins_again_keeps_its_lag_and_the_distance_to_its_deadline() {
        // Spec 2 §6.10 for v6.18 with §6.4: the other entity (weight 1024) is alone at 3 ms, the lag of 1 ms becomes
        // 0.5 ms and is inflated by (1024 + 2048) / 1024; 2.8 ms to the deadline become 1.4 ms.
        let rules = Rules::of(&V6_18_15, 8);
        let expected = (3_000_000 - 1_500_000, 3_000_000 - 1_500_000 + 1_400_000);
        assert_eq!(reweighted(&rules, 2_000_000, (1_000_000, 3_800_000, 0), 2048), expected);
    }
}
