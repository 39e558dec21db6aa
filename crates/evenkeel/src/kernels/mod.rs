//! The exact builds, one file each, written as a delta from a neighbour: what changed for users, and where that is
//! specified. This is the only place of the crate that knows version numbers.
use crate::kernel::Kernel;

mod v4_19_0;
mod v5_15_0;
mod v6_12_117;
mod v6_18_15;
mod v6_1_192;
mod v7_2_13;

pub use v4_19_0::V4_19_0;
pub use v5_15_0::V5_15_0;
pub use v6_1_192::V6_1_192;
pub use v6_12_117::V6_12_117;
pub use v6_18_15::V6_18_15;
pub use v7_2_13::V7_2_13;

/// All builds, oldest first.
pub const ALL: [&Kernel; 6] = [&V4_19_0, &V5_15_0, &V6_1_192, &V6_12_117, &V6_18_15, &V7_2_13];

/// The build that is used when none is named.
pub const DEFAULT: &Kernel = &V6_12_117;

/// Finds a build by its exact name (`v6.12.117`) or alias (`v6.12`); the leading `v` may be missing.
pub fn find(name: &str) -> Option<&'static Kernel> {
    let name = name.strip_prefix('v').unwrap_or(name);
    ALL.into_iter().find(|kernel| [kernel.build, kernel.alias].iter().any(|known| &known[1..] == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_found_by_name_and_alias() {
        for kernel in ALL {
            for name in [kernel.build, kernel.alias, &kernel.build[1..], &kernel.alias[1..]] {
                assert_eq!(find(name).map(|found| found.build), Some(kernel.build));
            }
            assert!(kernel.features_known.contains(kernel.features), "{}", kernel.build);
        }
        assert!(find("v6.13").is_none());
        assert!(find("vv6.12").is_none());
    }
}
