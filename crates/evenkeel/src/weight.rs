//! Weights of nice levels and the fixed-point division by a weight.
//!
//! A nice-0 task weighs 1024; each nice level is worth about 10 % of CPU time, a factor of 1.25 in weight. Virtual
//! time runs at `1024 / weight` of real time: 4 ms of a nice-5 task (weight 335) are 12 226 865 ns of virtual time.
//!
//! In the kernel: `sched_prio_to_weight`, `sched_prio_to_wmult`, `__calc_delta`. Specified in spec 2 §2.
use crate::queue_rules::{WeightDivision, WeightFloor};

/// Full-resolution weights are the table's weights shifted by this.
pub const NICE_0_SHIFT: u32 = 10;
/// Full-resolution weight of a nice-0 task.
pub const NICE_0_LOAD: u64 = 1 << 20;

/// `(weight, floor-ish(2^32 / weight))` for nice -20..=19. The inverses are not all the floor of the quotient.
#[rustfmt::skip]
const NICE: [(u32, u32); 40] = [
    (88761, 48388), (71755, 59856), (56483, 76040), (46273, 92818), (36291, 118_348),
    (29154, 147_320), (23254, 184_698), (18705, 229_616), (14949, 287_308), (11916, 360_437),
    (9548, 449_829), (7620, 563_644), (6100, 704_093), (4904, 875_809), (3906, 1_099_582),
    (3121, 1_376_151), (2501, 1_717_300), (1991, 2_157_191), (1586, 2_708_050), (1277, 3_363_326),
    (1024, 4_194_304), (820, 5_237_765), (655, 6_557_202), (526, 8_165_337), (423, 10_153_587),
    (335, 12_820_798), (272, 15_790_321), (215, 19_976_592), (172, 24_970_740), (137, 31_350_126),
    (110, 39_045_157), (87, 49_367_440), (70, 61_356_676), (56, 76_695_844), (45, 95_443_717),
    (36, 119_304_647), (29, 148_102_320), (23, 186_737_708), (18, 238_609_294), (15, 286_331_153),
];

/// A weight with its cached inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LoadWeight {
    /// Full-resolution weight.
    pub weight: u64,
    /// The weight in table units (`scale_load_down(weight)`).
    pub scaled: u64,
    /// `2^32 / scaled`.
    pub inv: u32,
}

impl LoadWeight {
    /// The weight of a task of this nice level (-20..=19), with the table's inverse.
    pub fn of_nice(nice: i32) -> Self {
        let (weight, inv) = NICE[(nice.clamp(-20, 19) + 20) as usize];
        Self { weight: u64::from(weight) << NICE_0_SHIFT, scaled: u64::from(weight), inv }
    }

    /// The weight of a `SCHED_IDLE` task: 3.
    pub fn of_idle_policy() -> Self {
        Self { weight: 3 << NICE_0_SHIFT, scaled: 3, inv: 1_431_655_765 }
    }

    /// A weight without a table entry (a group's, a queue's): the inverse is the floor of the quotient.
    pub fn computed(weight: u64) -> Self {
        Self::computed_with(weight, WeightFloor::Two)
    }

    /// The same in a kernel whose weights in table units have this floor.
    pub fn computed_with(weight: u64, floor: WeightFloor) -> Self {
        let scaled = floor.scale_load_down(weight);
        let inv = match scaled {
            0 => u32::MAX,
            w if w >= 0xffff_ffff => 1,
            w => (0xffff_ffff / w) as u32,
        };
        Self { weight, scaled, inv }
    }
}

/// `scale_load_down`: the weight in table units, at least 2 unless it is 0 (spec 2 §2.2).
#[inline]
pub const fn scale_load_down(weight: u64) -> u64 {
    match weight {
        0 => 0,
        w if w >> NICE_0_SHIFT < 2 => 2,
        w => w >> NICE_0_SHIFT,
    }
}

impl WeightFloor {
    /// The weight in table units (spec 2 §2.2).
    #[inline]
    pub const fn scale_load_down(self, weight: u64) -> u64 {
        match self {
            Self::Two => scale_load_down(weight),
            Self::None => weight >> NICE_0_SHIFT,
        }
    }
}

/// Index of the highest set bit, counted from 1; 0 for 0.
const fn fls(x: u64) -> u32 {
    64 - x.leading_zeros()
}

/// `delta * weight / lw.weight` by multiplication with the inverse (spec 2 §2.4); a few ns low at most.
pub fn calc_delta(delta: u64, weight: u64, lw: &LoadWeight) -> u64 {
    calc_delta_scaled(delta, scale_load_down(weight), lw)
}

/// The same for a weight in table units.
pub fn calc_delta_scaled(delta: u64, weight: u64, lw: &LoadWeight) -> u64 {
    let mut factor = weight;
    let mut shift: u32 = 32;
    if factor >> 32 != 0 {
        let excess = fls(factor >> 32);
        shift -= excess;
        factor >>= excess;
    }
    factor = (factor & 0xffff_ffff) * u64::from(lw.inv);
    if factor >> 32 != 0 {
        let excess = fls(factor >> 32);
        shift -= excess;
        factor >>= excess;
    }
    ((u128::from(delta) * u128::from(factor as u32)) >> shift) as u64
}

/// Virtual time of `delta` ns of an entity of weight `lw` (spec 2 §2.4).
#[inline]
pub fn calc_delta_fair(delta: u64, lw: &LoadWeight) -> u64 {
    if lw.weight == NICE_0_LOAD { delta } else { calc_delta(delta, NICE_0_LOAD, lw) }
}

impl WeightDivision {
    /// `delta * weight / lw.weight` as this kernel divides (spec 2 §2.4).
    #[inline]
    pub fn calc_delta(self, delta: u64, weight: u64, lw: &LoadWeight) -> u64 {
        match self {
            Self::Inverse => calc_delta(delta, weight, lw),
            Self::Exact => delta.wrapping_mul(weight) / lw.weight,
        }
    }

    /// Virtual time of `delta` ns of an entity of weight `lw`.
    #[inline]
    pub fn calc_delta_fair(self, delta: u64, lw: &LoadWeight) -> u64 {
        if lw.weight == NICE_0_LOAD { delta } else { self.calc_delta(delta, NICE_0_LOAD, lw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_division_differs_by_nanoseconds() {
        // Spec 2 §17.5, last paragraph; everything else of the table is the same.
        let nices = [-20, -10, -5, -1, 0, 1, 5, 10, 19];
        let deltas = [1, 1000, 700_000, 1_000_000, 2_800_000, 4_000_000, 1_000_000_000];
        let differs = [
            (5, 2_800_000, 8_558_805),
            (5, 1_000_000_000, 3_056_716_417),
            (-5, 1_000_000_000, 328_099_967),
            (-1, 1_000_000_000, 801_879_404),
            (1, 1_000_000_000, 1_248_780_487),
            (10, 1_000_000_000, 9_309_090_909),
            (19, 1_000_000_000, 68_266_666_666),
        ];
        for nice in nices {
            for delta in deltas {
                let load = LoadWeight::of_nice(nice);
                let known = differs.iter().find(|row| (row.0, row.1) == (nice, delta));
                let expected = known.map_or_else(|| calc_delta_fair(delta, &load), |row| row.2);
                assert_eq!(
                    WeightDivision::Exact.calc_delta_fair(delta, &load),
                    expected,
                    "{delta} ns at nice {nice}"
                );
            }
        }
        let idle = LoadWeight::of_idle_policy();
        assert_eq!(WeightDivision::Exact.calc_delta_fair(1_000_000_000, &idle), 341_333_333_333);
    }

    #[test]
    fn virtual_time_follows_the_table_of_spec_2_17_5() {
        let rows: [(i32, [u64; 7]); 9] = [
            (-20, [0, 11, 8075, 11536, 32302, 46146, 11_536_598]),
            (-10, [0, 107, 75073, 107_247, 300_293, 428_990, 107_247_591]),
            (-5, [0, 328, 229_669, 328_099, 918_679, 1_312_399, 328_099_966]),
            (-1, [0, 801, 561_315, 801_879, 2_245_262, 3_207_517, 801_879_405]),
            (0, [1, 1000, 700_000, 1_000_000, 2_800_000, 4_000_000, 1_000_000_000]),
            (1, [1, 1248, 874_146, 1_248_780, 3_496_585, 4_995_121, 1_248_780_488]),
            (5, [3, 3056, 2_139_701, 3_056_716, 8_558_806, 12_226_865, 3_056_716_442]),
            (10, [9, 9309, 6_516_363, 9_309_090, 26_065_454, 37_236_363, 9_309_090_852]),
            (19, [68, 68266, 47_786_666, 68_266_666, 191_146_666, 273_066_666, 68_266_666_650]),
        ];
        let deltas = [1, 1000, 700_000, 1_000_000, 2_800_000, 4_000_000, 1_000_000_000];
        for (nice, expected) in rows {
            let got = deltas.map(|delta| calc_delta_fair(delta, &LoadWeight::of_nice(nice)));
            assert_eq!(got, expected, "nice {nice}");
        }
        let idle = [341, 341_333, 238_933_333, 341_333_333, 955_733_333, 1_365_333_333, 341_333_333_253];
        assert_eq!(deltas.map(|delta| calc_delta_fair(delta, &LoadWeight::of_idle_policy())), idle);
    }

    #[test]
    fn queue_weights_use_the_computed_inverse() {
        let queue = LoadWeight::computed(4480 << 10);
        assert_eq!(queue.inv, 958_698);
        assert_eq!(calc_delta(24_000_000, 1024 << 10, &queue), 5_485_713);
        assert_eq!(calc_delta(24_000_000, 335 << 10, &queue), 1_794_642);
        assert_eq!(calc_delta(24_000_000, 3121 << 10, &queue), 16_719_641);
        assert_eq!(calc_delta(6_000_000, 1024 << 10, &LoadWeight::computed(2048 << 10)), 2_999_998);
        assert_eq!(calc_delta(6_000_000, 1024 << 10, &LoadWeight::computed(3072 << 10)), 1_999_999);
    }

    #[test]
    fn tiny_weights_vanish_only_in_the_oldest_kernel() {
        // Spec 2 §2.2 and §2.3: a group's entity of weight 1920 (of a scale of 1024) counts as 2, or as 1; one of 2 counts
        // as 2, or as 0, whose inverse is all ones.
        assert_eq!([0, 2, 1920, 2047, 2048, 3 << 10].map(scale_load_down), [0, 2, 2, 2, 2, 3]);
        let old = |weight| WeightFloor::None.scale_load_down(weight);
        assert_eq!([0, 2, 1920, 2047, 2048, 3 << 10].map(old), [0, 0, 1, 1, 2, 3]);
        assert_eq!(LoadWeight::computed(2).inv, 0x7fff_ffff);
        assert_eq!(LoadWeight::computed_with(2, WeightFloor::None).inv, 0xffff_ffff);
        assert_eq!(LoadWeight::computed_with(1920, WeightFloor::None).inv, 0xffff_ffff);
    }

    #[test]
    fn inverses_are_the_floor_or_one_more() {
        // Spec 2 §2.1: 27 entries are the floor, 13 are one more.
        let more: std::vec::Vec<i32> = (-20..20)
            .filter(|&nice| {
                let (weight, inv) = NICE[(nice + 20) as usize];
                let floor = ((1u64 << 32) / u64::from(weight)) as u32;
                assert!(inv == floor || inv == floor + 1, "nice {nice}");
                inv != floor
            })
            .collect();
        assert_eq!(more, [-18, -17, -8, -7, -4, -2, -1, 1, 2, 4, 5, 6, 12]);
    }
}
