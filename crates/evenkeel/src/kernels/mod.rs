//! The exact builds, one file each, written as a delta from a neighbour: what changed for users, and where that is
//! specified. This is the only place of the crate that knows version numbers.
use crate::kernel::Kernel;

mod v6_12_117;

pub use v6_12_117::V6_12_117;

/// All builds, oldest first.
pub const ALL: [&Kernel; 1] = [&V6_12_117];

/// The build that is used when none is named.
pub const DEFAULT: &Kernel = &V6_12_117;

/// Finds a build by its exact name (`v6.12.117`) or alias (`v6.12`); the leading `v` may be missing.
pub fn find(name: &str) -> Option<&'static Kernel> {
    let name = name.strip_prefix('v').unwrap_or(name);
    ALL.into_iter().find(|kernel| [kernel.build, kernel.alias].iter().any(|known| &known[1..] == name))
}
