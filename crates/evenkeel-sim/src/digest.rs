//! A fingerprint of a run: every event, its time and every number in it, folded into 128 bits.
//!
//! Two runs with equal digests made the same decisions for the same reasons at the same times. The function is FNV-1a
//! taken word by word instead of byte by byte: `state = (state ^ word) * prime mod 2^128`, and a rotation so that high
//! bits reach low ones; each step can be inverted, so runs that differ in one word cannot collide. It is the same on
//! every platform: words are 64 bits whatever the width of `usize`, and bytes are taken in little-endian order. Not
//! cryptographic.
use core::fmt;
use core::hash::{Hash, Hasher};
use evenkeel::observe::{Event, Observer};
use evenkeel::time::Ns;

/// Offset basis and prime of the 128-bit FNV functions.
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// An [`Observer`] that hashes the event stream; prints as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    state: u128,
    events: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { state: BASIS, events: 0 }
    }
}

impl Digest {
    /// The fingerprint so far.
    pub fn value(&self) -> u128 {
        self.state
    }

    /// How many events went into it.
    pub fn events(&self) -> u64 {
        self.events
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.state = (self.state ^ u128::from(word)).wrapping_mul(PRIME).rotate_left(29);
    }
}

impl Observer for Digest {
    const ON: bool = true;
    #[inline]
    fn event(&mut self, now: Ns, event: &Event) {
        self.events += 1;
        self.word(now);
        event.hash(self);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.state)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        (self.state ^ (self.state >> 64)) as u64
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }
    fn write_u8(&mut self, value: u8) {
        self.word(u64::from(value));
    }
    fn write_u16(&mut self, value: u16) {
        self.word(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.word(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }
    fn write_u128(&mut self, value: u128) {
        self.word(value as u64);
        self.word((value >> 64) as u64);
    }
    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }
    fn write_i8(&mut self, value: i8) {
        self.word(value as u64);
    }
    fn write_i16(&mut self, value: i16) {
        self.word(value as u64);
    }
    fn write_i32(&mut self, value: i32) {
        self.word(value as u64);
    }
    fn write_i64(&mut self, value: i64) {
        self.word(value as u64);
    }
    fn write_isize(&mut self, value: isize) {
        self.word(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::ids::{CpuId, TaskId};

    fn exit(now: Ns, cpu: u32, task: u32) -> String {
        let mut digest = Digest::default();
        digest.event(now, &Event::Exit { cpu: CpuId(cpu), task: TaskId(task) });
        digest.to_string()
    }

    #[test]
    fn every_number_counts() {
        let all = [exit(1, 2, 3), exit(2, 2, 3), exit(1, 3, 3), exit(1, 2, 4), exit(1, 3, 2)];
        for (i, a) in all.iter().enumerate() {
            assert_eq!(a.len(), 32);
            assert!(all[i + 1..].iter().all(|b| a != b), "{all:?}");
        }
        assert_eq!(exit(1, 2, 3), exit(1, 2, 3));
    }

    #[test]
    fn one_word_is_hashed_as_the_formula_says() {
        let mut digest = Digest::default();
        7u64.hash(&mut digest);
        assert_eq!(digest.value(), (BASIS ^ 7).wrapping_mul(PRIME).rotate_left(29));
    }
}
