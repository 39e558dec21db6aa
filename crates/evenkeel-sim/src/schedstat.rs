//! The counters of the scheduler in the text form of `/proc/schedstat`, versions 15, 16 and 17 (spec 1 §15).
//!
//! What the versions change: 15 lists the idle types as idle, busy, newly idle, 16 and 17 as busy, idle, newly idle; 17
//! puts the domain's name before its mask and has four sums of imbalances, by migration type, instead of one. Counters
//! that no kernel increments (`sbe_*`, `sbf_*`, `ttwu_move_balance`) are printed as the zeroes they are.
use core::fmt::Write as _;
use evenkeel::mask::CpuMask;
use evenkeel::observe::Observer;
use evenkeel::sched::Sched;
use evenkeel::topology::{DomainStats, Domains, LbCounters};

/// Kernels count jiffies from five minutes before the 32-bit counter wraps.
pub(crate) fn initial_jiffies(hz: u32) -> u64 {
    (1 << 32) - 300 * u64::from(hz)
}

/// The file as the scheduler's kernel would print it now.
pub fn schedstat<O: Observer>(sched: &Sched<O>) -> String {
    let kernel = sched.kernel();
    let version = kernel.schedstat_version;
    let mut text = format!("version {version}\ntimestamp {}\n", initial_jiffies(kernel.hz) + sched.jiffies());
    for rq in sched.rqs() {
        let s = &rq.stats;
        let (yld, count, idle) = (s.yld_count, s.sched_count, s.sched_goidle);
        write!(text, "cpu{} {yld} 0 {count} {idle} {} {}", rq.cpu, s.ttwu_count, s.ttwu_local).ok();
        writeln!(text, " {} {} {}", s.rq_cpu_time, s.run_delay, s.pcount).ok();
        domain_lines(&mut text, sched.domains(), rq.cpu, version);
    }
    text
}

fn domain_lines(text: &mut String, domains: &Domains, cpu: evenkeel::ids::CpuId, version: u32) {
    let ncpus = domains.cpus.len();
    for (index, id) in domains.chain(cpu).enumerate() {
        let domain = &domains.domains[id.index()];
        let name = if version >= 17 { format!("{} ", domain.name) } else { String::new() };
        let counters = counters(&domain.stats, version);
        let counters: Vec<String> = counters.iter().map(u32::to_string).collect();
        writeln!(text, "domain{index} {name}{} {}", hex_mask(&domain.span, ncpus), counters.join(" ")).ok();
    }
}

/// The numbers of a domain line: 36 up to version 16, 45 from 17 on.
fn counters(stats: &DomainStats, version: u32) -> Vec<u32> {
    let [busy, idle, newly_idle] = &stats.lb;
    let order = if version <= 15 { [idle, busy, newly_idle] } else { [busy, idle, newly_idle] };
    let mut all: Vec<u32> = order.into_iter().flat_map(|block| lb_counters(block, version)).collect();
    all.extend([stats.alb_count, stats.alb_failed, stats.alb_pushed]);
    all.extend([0; 6]);
    all.extend([stats.ttwu_wake_remote, stats.ttwu_move_affine, 0]);
    all
}

fn lb_counters(c: &LbCounters, version: u32) -> Vec<u32> {
    let imbalances = [c.imbalance_load, c.imbalance_util, c.imbalance_task, c.imbalance_misfit];
    let mut all = vec![c.count, c.balanced, c.failed];
    if version >= 17 {
        all.extend(imbalances);
    } else {
        all.push(imbalances.into_iter().fold(0, u32::wrapping_add));
    }
    all.extend([c.gained, c.hot_gained, c.nobusyq, c.nobusyg]);
    all
}

/// A CPU set as the kernel's `%*pb`: chunks of 32 bits, the first one as wide as what is left over.
fn hex_mask(mask: &CpuMask, ncpus: usize) -> String {
    let chunks = ncpus.div_ceil(32);
    let chunk = |index: usize| {
        let word = mask.words()[index / 2] >> (index % 2 * 32) & 0xffff_ffff;
        let bits = if index == chunks - 1 { ncpus - 32 * index } else { 32 };
        format!("{word:0width$x}", width = bits.div_ceil(4))
    };
    (0..chunks).rev().map(chunk).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_as_wide_as_the_machine() {
        let hex = |list: &str, ncpus| hex_mask(&CpuMask::parse_list(list, ncpus).unwrap(), ncpus);
        assert_eq!(hex("0-3", 8), "0f");
        assert_eq!(hex("0-1", 2), "3");
        assert_eq!(hex("0-39", 40), "ff,ffffffff");
        assert_eq!(hex("64", 96), "00000001,00000000,00000000");
        assert_eq!(hex("33", 64), "00000002,00000000");
    }

    #[test]
    fn domain_lines_follow_the_version() {
        let block = |first| LbCounters {
            count: first,
            balanced: 2,
            failed: 3,
            imbalance_load: u32::MAX,
            imbalance_util: 1,
            imbalance_task: 5,
            imbalance_misfit: 0,
            gained: 6,
            hot_gained: 7,
            nobusyq: 8,
            nobusyg: 9,
        };
        let lb = [block(100), block(200), block(300)];
        let stats = DomainStats {
            lb,
            alb_count: 11,
            alb_failed: 12,
            alb_pushed: 13,
            ttwu_wake_remote: 14,
            ttwu_move_affine: 15,
        };
        let v15 = counters(&stats, 15);
        assert_eq!(v15.len(), 36);
        assert_eq!(v15[..8], [200, 2, 3, 5, 6, 7, 8, 9], "the sum of imbalances wraps");
        assert_eq!((v15[8], v15[16]), (100, 300));
        assert_eq!(v15[24..], [11, 12, 13, 0, 0, 0, 0, 0, 0, 14, 15, 0]);
        let v16 = counters(&stats, 16);
        assert_eq!((v16[0], v16[8], v16[16]), (100, 200, 300));
        let v17 = counters(&stats, 17);
        assert_eq!(v17.len(), 45);
        assert_eq!(v17[..11], [100, 2, 3, u32::MAX, 1, 5, 0, 6, 7, 8, 9]);
        assert_eq!(v17[33..], [11, 12, 13, 0, 0, 0, 0, 0, 0, 14, 15, 0]);
    }
}
