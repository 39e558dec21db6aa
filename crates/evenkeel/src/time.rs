//! Units of time: nanoseconds of the simulated clock, and jiffies of the kernel's tick counter.

/// A point in time or a span of it, in nanoseconds.
pub type Ns = u64;
/// The kernel's tick counter; compare with [`time_after`] and its kin, never with `<`.
pub type Jiffies = u64;

/// One millisecond in nanoseconds.
pub const MS: Ns = 1_000_000;
/// One microsecond in nanoseconds.
pub const US: Ns = 1_000;
/// One second in nanoseconds.
pub const SEC: Ns = 1_000_000_000;

/// Whether `a` is later than `b` on a wrapping counter (spec 3 §1.1).
#[inline]
pub const fn time_after(a: u64, b: u64) -> bool {
    (b.wrapping_sub(a) as i64) < 0
}

/// Whether `a` is later than or equal to `b` on a wrapping counter.
#[inline]
pub const fn time_after_eq(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) >= 0
}

/// Whether `a` is earlier than `b` on a wrapping counter.
#[inline]
pub const fn time_before(a: u64, b: u64) -> bool {
    time_after(b, a)
}

/// Milliseconds to jiffies at `hz` ticks a second, rounded up (spec 3 §1.1).
#[inline]
pub const fn ms_to_jiffies(ms: u64, hz: u32) -> Jiffies {
    (ms * hz as u64).div_ceil(1000)
}

/// The length of a tick in nanoseconds: `(10^9 + HZ/2) / HZ`.
#[inline]
pub const fn tick_ns(hz: u32) -> Ns {
    (SEC + hz as u64 / 2) / hz as u64
}
