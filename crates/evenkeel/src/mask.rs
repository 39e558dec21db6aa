//! Sets of CPUs: fixed-length bit words, written and read as the kernel's CPU lists (`0-3,8`).
use crate::ids::CpuId;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

/// A set of CPUs of one machine. All masks of a machine have the same length, so set operations never allocate.
/// The default is the set of a machine without CPUs, which takes no memory: what is left where a set was taken out.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuMask {
    words: Box<[u64]>,
}

/// Why a CPU list could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuListError {
    /// Something that is neither a number nor `a-b` (with an optional `:used/group` stride).
    Syntax,
    /// The range ends before it starts.
    Backwards(u32, u32),
    /// A CPU at or beyond the number of CPUs.
    OutOfRange(u32),
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("expected a CPU list such as `0-3,8`"),
            Self::Backwards(a, b) => write!(f, "the range {a}-{b} ends before it starts"),
            Self::OutOfRange(cpu) => write!(f, "CPU {cpu} does not exist on this machine"),
        }
    }
}
impl core::error::Error for CpuListError {}

impl CpuMask {
    /// The empty set on a machine of `ncpus` CPUs.
    pub fn new(ncpus: usize) -> Self {
        Self { words: vec![0; ncpus.div_ceil(64).max(1)].into_boxed_slice() }
    }

    /// All CPUs below `ncpus`.
    pub fn all(ncpus: usize) -> Self {
        let mut mask = Self::new(ncpus);
        for cpu in 0..ncpus {
            mask.set(CpuId(cpu as u32));
        }
        mask
    }

    /// The set of the given CPUs.
    pub fn from_cpus(ncpus: usize, cpus: impl IntoIterator<Item = CpuId>) -> Self {
        let mut mask = Self::new(ncpus);
        for cpu in cpus {
            mask.set(cpu);
        }
        mask
    }

    /// Reads a CPU list (`0-3,8,16-31:1/2`; blanks around items are fine; the empty text is the empty set).
    pub fn parse_list(text: &str, ncpus: usize) -> Result<Self, CpuListError> {
        let mut mask = Self::new(ncpus);
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (range, stride) = match item.split_once(':') {
                Some((range, stride)) => {
                    let (used, group) = stride.split_once('/').ok_or(CpuListError::Syntax)?;
                    (range, Some((number(used)?, number(group)?)))
                }
                None => (item, None),
            };
            let (first, last) = match range.split_once('-') {
                Some((a, b)) => (number(a)?, number(b)?),
                None => (number(range)?, number(range)?),
            };
            if last < first {
                return Err(CpuListError::Backwards(first, last));
            }
            if last as usize >= ncpus {
                return Err(CpuListError::OutOfRange(last));
            }
            let (used, group) = stride.unwrap_or((1, 1));
            if group == 0 {
                return Err(CpuListError::Syntax);
            }
            for cpu in (first..=last).filter(|cpu| (cpu - first) % group < used) {
                mask.set(CpuId(cpu));
            }
        }
        Ok(mask)
    }

    /// How many CPUs the mask has room for (a multiple of 64).
    #[inline]
    pub fn capacity(&self) -> usize {
        self.words.len() * 64
    }

    /// Whether `cpu` is in the set; CPUs beyond the machine are not.
    #[inline]
    pub fn contains(&self, cpu: CpuId) -> bool {
        match self.words.get(cpu.index() / 64) {
            Some(word) => word >> (cpu.0 % 64) & 1 != 0,
            None => false,
        }
    }

    /// Adds `cpu`.
    #[inline]
    pub fn set(&mut self, cpu: CpuId) {
        self.words[cpu.index() / 64] |= 1 << (cpu.0 % 64);
    }

    /// Removes `cpu`.
    #[inline]
    pub fn clear(&mut self, cpu: CpuId) {
        self.words[cpu.index() / 64] &= !(1 << (cpu.0 % 64));
    }

    /// Removes every CPU.
    #[inline]
    pub fn clear_all(&mut self) {
        self.words.fill(0);
    }

    /// Whether the set is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The number of CPUs in the set.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The lowest CPU.
    #[inline]
    pub fn first(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// The highest CPU.
    pub fn last(&self) -> Option<CpuId> {
        let (i, word) = self.words.iter().enumerate().rev().find(|&(_, &word)| word != 0)?;
        Some(CpuId((i * 64) as u32 + 63 - word.leading_zeros()))
    }

    /// The lowest CPU at or above `cpu`.
    #[inline]
    pub fn next_from(&self, cpu: CpuId) -> Option<CpuId> {
        let mut i = cpu.index() / 64;
        let mut word = self.words.get(i)? & (!0 << (cpu.0 % 64));
        loop {
            if word != 0 {
                return Some(CpuId((i * 64) as u32 + word.trailing_zeros()));
            }
            i += 1;
            word = *self.words.get(i)?;
        }
    }

    /// The CPUs ascending.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { words: &self.words, index: 0, word: self.words.first().copied().unwrap_or(0) }
    }

    /// The CPUs in wrap order from `start`: those at or above it ascending, then those below it.
    pub fn iter_wrap(&self, start: CpuId) -> impl Iterator<Item = CpuId> + '_ {
        let mut iter = self.iter();
        let i = start.index() / 64;
        match self.words.get(i) {
            Some(word) => {
                iter.index = i;
                iter.word = word & (!0 << (start.0 % 64));
            }
            None => {
                iter.index = self.words.len() - 1;
                iter.word = 0;
            }
        }
        iter.chain(self.iter().take_while(move |cpu| *cpu < start))
    }

    /// Makes this set equal to `other`, without allocating.
    #[inline]
    pub fn copy_from(&mut self, other: &Self) {
        self.words.copy_from_slice(&other.words);
    }

    /// Keeps only the CPUs that are also in `other`.
    #[inline]
    pub fn and_assign(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= b;
        }
    }

    /// Adds the CPUs of `other`.
    #[inline]
    pub fn or_assign(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// Removes the CPUs of `other`.
    #[inline]
    pub fn and_not_assign(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= !b;
        }
    }

    /// The CPUs that are in both sets, as a new set.
    pub fn and(&self, other: &Self) -> Self {
        let mut mask = self.clone();
        mask.and_assign(other);
        mask
    }

    /// Whether the sets share a CPU.
    #[inline]
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Whether every CPU of this set is in `other`.
    #[inline]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & !b == 0)
    }

    /// The lowest CPU in both sets.
    #[inline]
    pub fn first_and(&self, other: &Self) -> Option<CpuId> {
        self.words.iter().zip(&other.words).enumerate().find_map(|(i, (a, b))| {
            let both = a & b;
            (both != 0).then(|| CpuId((i * 64) as u32 + both.trailing_zeros()))
        })
    }

    /// The number of CPUs in both sets.
    #[inline]
    pub fn weight_and(&self, other: &Self) -> u32 {
        self.words.iter().zip(&other.words).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// The set as 64-bit words, lowest CPUs first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The set with the given words, lowest CPUs first.
    pub fn from_words(words: &[u64], ncpus: usize) -> Self {
        let mut mask = Self::new(ncpus);
        for (a, b) in mask.words.iter_mut().zip(words) {
            *a = *b;
        }
        mask
    }
}

fn number(text: &str) -> Result<u32, CpuListError> {
    text.trim().parse().map_err(|_| CpuListError::Syntax)
}

/// Iterator over the CPUs of a [`CpuMask`], ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    words: &'a [u64],
    index: usize,
    word: u64,
}

impl Iterator for Iter<'_> {
    type Item = CpuId;

    #[inline]
    fn next(&mut self) -> Option<CpuId> {
        while self.word == 0 {
            self.index += 1;
            self.word = *self.words.get(self.index)?;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(CpuId((self.index * 64) as u32 + bit))
    }
}

impl<'a> IntoIterator for &'a CpuMask {
    type Item = CpuId;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Display for CpuMask {
    /// The kernel's list notation: `0-3,8`; the empty set prints nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut iter = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = iter.next() {
            let mut last = first;
            while iter.peek() == Some(&CpuId(last.0 + 1)) {
                last = CpuId(last.0 + 1);
                iter.next();
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        let read = |text: &str| CpuMask::parse_list(text, 130).map(|mask| mask.to_string());
        assert_eq!(read("0-3,8").unwrap(), "0-3,8");
        assert_eq!(read("127-129, 5").unwrap(), "5,127-129");
        assert_eq!(read("0-7:1/2").unwrap(), "0,2,4,6");
        assert_eq!(read("").unwrap(), "");
        assert_eq!(read("5-2"), Err(CpuListError::Backwards(5, 2)));
        assert_eq!(read("130"), Err(CpuListError::OutOfRange(130)));
        assert_eq!(read("a"), Err(CpuListError::Syntax));
        assert_eq!(read("0-3:1/0"), Err(CpuListError::Syntax));
    }

    proptest! {
        #[test]
        fn behaves_as_an_ordered_set(a in prop::collection::btree_set(0u32..200, 0..40),
                                     b in prop::collection::btree_set(0u32..200, 0..40), start in 0u32..200) {
            let mask = |set: &BTreeSet<u32>| CpuMask::from_cpus(200, set.iter().map(|&c| CpuId(c)));
            let (ma, mb) = (mask(&a), mask(&b));
            let list = |m: &CpuMask| m.iter().map(|c| c.0).collect::<Vec<_>>();
            prop_assert_eq!(list(&ma), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(list(&ma.and(&mb)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(ma.first_and(&mb).map(|c| c.0), a.intersection(&b).next().copied());
            prop_assert_eq!(ma.is_subset(&mb), a.is_subset(&b));
            prop_assert_eq!(ma.intersects(&mb), !a.is_disjoint(&b));
            prop_assert_eq!(ma.last().map(|c| c.0), a.last().copied());
            prop_assert_eq!(ma.next_from(CpuId(start)).map(|c| c.0), a.range(start..).next().copied());
            let wrapped: Vec<u32> = a.range(start..).chain(a.range(..start)).copied().collect();
            prop_assert_eq!(ma.iter_wrap(CpuId(start)).map(|c| c.0).collect::<Vec<_>>(), wrapped);
            prop_assert_eq!(CpuMask::parse_list(&ma.to_string(), 200).unwrap(), ma);
        }
    }
}
