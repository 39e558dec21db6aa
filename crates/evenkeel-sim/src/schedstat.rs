//! The counters of the scheduler in the text form of `/proc/schedstat`, versions 15, 16 and 17 (spec 1 §15).
//!
//! A line for each online CPU, followed by those of its domains, which the core knows how to write.
use core::fmt::Write as _;
use evenkeel::observe::Observer;
use evenkeel::sched::Sched;
use evenkeel::topology::schedstat::domain_line;

/// Kernels count jiffies from five minutes before the 32-bit counter wraps.
pub(crate) fn initial_jiffies(hz: u32) -> u64 {
    (1 << 32) - 300 * u64::from(hz)
}

/// The file as the scheduler's kernel would print it now.
pub fn schedstat<O: Observer>(sched: &Sched<O>) -> String {
    let kernel = sched.kernel();
    let version = kernel.schedstat_version;
    let mut text = format!("version {version}\ntimestamp {}\n", initial_jiffies(kernel.hz) + sched.jiffies());
    let domains = sched.domains();
    for rq in sched.rqs().iter().filter(|rq| rq.active) {
        let s = &rq.stats;
        let (yld, count, idle) = (s.yld_count, s.sched_count, s.sched_goidle);
        write!(text, "cpu{} {yld} 0 {count} {idle} {} {}", rq.cpu, s.ttwu_count, s.ttwu_local).ok();
        writeln!(text, " {} {} {}", s.rq_cpu_time, s.run_delay, s.pcount).ok();
        for (place, id) in domains.chain(rq.cpu).enumerate() {
            let line = domain_line(&domains.domains[id.index()], place, domains.cpus.len(), kernel);
            writeln!(text, "{line}").ok();
        }
    }
    text
}
