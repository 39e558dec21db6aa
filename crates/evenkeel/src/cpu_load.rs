//! The history of a CPU's load that the oldest balancer compares: five averages, each slower than the one before.
//!
//! At every tick index `i` moves by `1 / 2^i` of the way to the present load: from 0 and with a load of 1024, after one
//! tick they are 1024, 512, 256, 128, 64. Ticks that a tickless CPU missed are caught up with a table of powers.
//!
//! In the kernel: `cpu_load_update`, `decay_load_missed`, `source_load`, `target_load`. Specified in spec 2 §13.2 and spec 3
//! §9.1.

/// Number of averages.
const CPU_LOAD_IDX_MAX: usize = 5;
/// After how many missed ticks nothing is left, by index.
const DEGRADE_ZERO_TICKS: [u64; CPU_LOAD_IDX_MAX] = [0, 8, 32, 64, 128];
/// By how many 128ths a load shrinks in `2^j` missed ticks, by index.
const DEGRADE_FACTOR: [[u64; 8]; CPU_LOAD_IDX_MAX] = [
    [0; 8],
    [64, 32, 8, 0, 0, 0, 0, 0],
    [96, 72, 40, 12, 1, 0, 0, 0],
    [112, 98, 75, 43, 15, 1, 0, 0],
    [120, 112, 98, 76, 45, 16, 2, 0],
];

/// `load` after `missed` ticks without any, at index `index`.
fn decay_missed(load: u64, missed: u64, index: usize) -> u64 {
    if missed == 0 {
        return load;
    }
    if missed >= DEGRADE_ZERO_TICKS[index] {
        return 0;
    }
    if index == 1 {
        return load >> missed;
    }
    (0..8)
        .filter(|bit| missed >> bit & 1 != 0)
        .fold(load, |load, bit| (load * DEGRADE_FACTOR[index][bit]) >> 7)
}

/// The averages of one CPU (`rq->cpu_load`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLoad(pub [u64; CPU_LOAD_IDX_MAX]);

impl CpuLoad {
    /// `pending` ticks have passed (1 while the tick runs), the present load is `load`; during the missed ones it was
    /// `tickless` (0 on an idle CPU).
    pub fn update(&mut self, load: u64, pending: u64, tickless: u64) {
        self.0[0] = load;
        for (index, average) in self.0.iter_mut().enumerate().skip(1) {
            let mut old = *average;
            if pending > 1 {
                old = decay_missed(old, pending - 1, index);
                if tickless != 0 {
                    old = old.wrapping_sub(decay_missed(tickless, pending - 1, index)).wrapping_add(tickless);
                }
            }
            let scale = 1u64 << index;
            // Rounded up while it grows, so that it gets there.
            let new = if load > old { load + scale - 1 } else { load };
            *average = (old * (scale - 1) + new) >> index;
        }
    }

    /// The load of a CPU to take tasks from, guessed low; `index` 0: the present `load`.
    pub fn source_load(&self, index: usize, load: u64) -> u64 {
        if index == 0 { load } else { self.0[index - 1].min(load) }
    }

    /// The load of a CPU to bring tasks to, guessed high.
    pub fn target_load(&self, index: usize, load: u64) -> u64 {
        if index == 0 { load } else { self.0[index - 1].max(load) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_follow_the_load_at_their_own_pace() {
        // Spec 2 §13.2 by hand: i=1: (0 + 1024 + 1) / 2, i=2: (0 + 1024 + 3) / 4 and so on, rounded down.
        let mut load = CpuLoad::default();
        load.update(1024, 1, 0);
        assert_eq!(load.0, [1024, 512, 256, 128, 64]);
        load.update(1024, 1, 0);
        assert_eq!(load.0, [1024, 768, 448, 240, 124]);
        load.update(0, 1, 0);
        assert_eq!(load.0, [0, 384, 336, 210, 116]);
    }

    #[test]
    fn missed_ticks_are_caught_up_with() {
        // 3 missed: 1024 >> 3 at index 1; 1024 * 96/128 * 72/128 at index 2; then one tick with no load.
        let mut load = CpuLoad([1024; 5]);
        load.update(0, 4, 0);
        let index2 = 1024 * 96 / 128 * 72 / 128;
        let index3 = 1024 * 112 / 128 * 98 / 128;
        let index4 = 1024 * 120 / 128 * 112 / 128;
        assert_eq!(load.0, [0, 128 / 2, index2 * 3 / 4, index3 * 7 / 8, index4 * 15 / 16]);
        // 8, 32, 64, 128 missed ticks leave nothing.
        for (index, ticks) in DEGRADE_ZERO_TICKS.into_iter().enumerate().skip(1) {
            assert_eq!(decay_missed(1 << 20, ticks, index), 0);
        }
        // A load that was there all the time stays.
        let mut load = CpuLoad([1024; 5]);
        load.update(1024, 5, 1024);
        assert_eq!(load.0, [1024; 5]);
    }

    #[test]
    fn sources_are_guessed_low_and_targets_high() {
        let load = CpuLoad([500, 400, 300, 200, 100]);
        assert_eq!((load.source_load(0, 450), load.target_load(0, 450)), (450, 450));
        assert_eq!((load.source_load(1, 450), load.target_load(1, 450)), (450, 500));
        assert_eq!((load.source_load(2, 450), load.target_load(2, 450)), (400, 450));
    }
}
