//! Domain lines of `/proc/schedstat`.
//!
//! `domain0 MC 0f ...`: the place in the chain (not the `level`), on newer kernels the name, the span as hexadecimal
//! digits in groups of 32 CPUs, and the counters. Example: CPUs 0-7 and 39 of 40 are `80,000000ff`.
//!
//! In the kernel: `show_schedstat`, `bitmap_print_to_pagebuf`.
use super::domain::{Domain, DomainStats, LbCounters};
use crate::kernel::Kernel;
use crate::mask::CpuMask;
use alloc::string::String;
use core::fmt;
use core::fmt::Write as _;

/// A CPU set as the kernel prints masks: hexadecimal, most significant first, a comma every 32 CPUs, as wide as the
/// machine (spec 1 §15.2).
#[derive(Clone, Copy, Debug)]
pub struct MaskText<'a> {
    mask: &'a CpuMask,
    nr_cpu_ids: usize,
}

impl<'a> MaskText<'a> {
    /// The text of `mask` on a machine of `nr_cpu_ids` possible CPUs.
    pub fn new(mask: &'a CpuMask, nr_cpu_ids: usize) -> Self {
        Self { mask, nr_cpu_ids }
    }
}

impl fmt::Display for MaskText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.nr_cpu_ids.div_ceil(32);
        for chunk in (0..chunks).rev() {
            let bits = (self.nr_cpu_ids - 32 * chunk).min(32);
            let word = self.mask.words().get(chunk / 2).copied().unwrap_or(0);
            let value = (word >> (32 * (chunk % 2))) as u32;
            write!(f, "{value:0width$x}", width = bits.div_ceil(4))?;
            if chunk > 0 {
                f.write_char(',')?;
            }
        }
        Ok(())
    }
}

/// The line of the domain at place `place` of its CPU's chain, without the newline.
pub fn domain_line(domain: &Domain, place: usize, nr_cpu_ids: usize, kernel: &Kernel) -> String {
    let mut line = String::new();
    let mask = MaskText::new(&domain.span, nr_cpu_ids);
    let named = kernel.schedstat_version >= 17;
    let written = match named {
        true => write!(line, "domain{place} {} {mask}", domain.name),
        false => write!(line, "domain{place} {mask}"),
    };
    written.expect("writing to a string succeeds");
    for counter in counters(&domain.stats, kernel.schedstat_version) {
        write!(line, " {counter}").expect("writing to a string succeeds");
    }
    line
}

/// The counters in the order of a format version (spec 1 §15.2).
fn counters(stats: &DomainStats, version: u32) -> impl Iterator<Item = u32> {
    let [busy, idle, newly_idle] = &stats.lb;
    let types = if version >= 16 { [busy, idle, newly_idle] } else { [idle, busy, newly_idle] };
    let split = version >= 17;
    let lb = types.into_iter().flat_map(move |lb| lb_counters(*lb, split));
    let tail = [
        stats.alb_count,
        stats.alb_failed,
        stats.alb_pushed,
        0, // sbe_count, sbe_balanced, sbe_pushed: placement at exec is not counted
        0,
        0,
        0, // sbf_count, sbf_balanced, sbf_pushed: nor at fork
        0,
        0,
        stats.ttwu_wake_remote,
        stats.ttwu_move_affine,
        0, // ttwu_move_balance
    ];
    lb.chain(tail)
}

/// The counters of one idle type; older formats add the kinds of imbalance up.
fn lb_counters(lb: LbCounters, split: bool) -> impl Iterator<Item = u32> {
    let kinds = [lb.imbalance_load, lb.imbalance_util, lb.imbalance_task, lb.imbalance_misfit];
    let sum = kinds.iter().fold(0u32, |sum, kind| sum.wrapping_add(*kind));
    let (kinds, shown) = if split { (kinds, 4) } else { ([sum, 0, 0, 0], 1) };
    [lb.count, lb.balanced, lb.failed].into_iter().chain(kinds.into_iter().take(shown)).chain([
        lb.gained,
        lb.hot_gained,
        lb.nobusyq,
        lb.nobusyg,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::topology::{Domains, Machine};
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn masks_are_as_wide_as_the_machine() {
        let text = |list: &str, cpus: usize| {
            MaskText::new(&CpuMask::parse_list(list, cpus).unwrap(), cpus).to_string()
        };
        // The examples of spec 1 §15.2.
        assert_eq!(text("0-3", 8), "0f");
        assert_eq!(text("0-1", 2), "3");
        assert_eq!(text("0-39", 40), "ff,ffffffff");
        assert_eq!(text("0-7,39", 40), "80,000000ff");
        assert_eq!(text("64", 65), "1,00000000,00000000");
        assert_eq!(text("0-31", 32), "ffffffff");
        assert_eq!(text("0", 1), "1");
    }

    #[test]
    fn lines_have_the_fields_of_their_version() {
        let machine = Machine::regular(1, 1, 2, 1, false);
        for (name, start, fields) in
            [("v6.1", "domain0 3 ", 36), ("v6.12", "domain0 3 ", 36), ("v7.2", "domain0 MC 3 ", 45)]
        {
            let kernel = kernels::find(name).unwrap();
            let domains = Domains::build(&machine, kernel, 0).unwrap();
            let line = domain_line(&domains.domains[domains.cpus[1].base.unwrap().index()], 0, 2, kernel);
            let rest = line.strip_prefix(start).unwrap();
            assert_eq!(rest.split(' ').count(), fields, "{name}");
        }
    }

    #[test]
    fn idle_types_change_places_between_versions() {
        let mut stats = DomainStats { alb_count: 9, ..DomainStats::default() };
        stats.lb[0].count = 1;
        stats.lb[1].count = 2;
        stats.lb[2].imbalance_load = 3;
        stats.lb[2].imbalance_task = 4;
        let shown = |version| counters(&stats, version).collect::<Vec<_>>();
        let at = |version, field: usize| shown(version)[field - 1];
        assert_eq!((at(15, 1), at(15, 9), at(15, 20), at(15, 25)), (2, 1, 7, 9));
        assert_eq!((at(16, 1), at(16, 9), at(16, 20), at(16, 25)), (1, 2, 7, 9));
        assert_eq!((at(17, 1), at(17, 12), at(17, 26), at(17, 28), at(17, 34)), (1, 2, 3, 4, 9));
    }
}
