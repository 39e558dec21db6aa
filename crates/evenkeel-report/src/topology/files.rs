//! Domains in the formats of a running kernel.
use core::fmt::Write as _;
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::topology::{Domains, Machine, debugfs, schedstat};

/// Every file under `sched/domains` (oldest kernel: `/proc/sys/kernel/sched_domain`), a line each: path, blank, contents.
///
/// `cpu0/domain0/name MC`. CPUs without domains have an empty directory: `cpu6/`.
pub fn render_debugfs(machine: &Machine, kernel: &Kernel, domains: &Domains) -> String {
    let mut text = String::new();
    for cpu in &machine.online() {
        if domains.cpus[cpu.index()].base.is_none() {
            writeln!(text, "cpu{cpu}/").expect("writing to a string succeeds");
        }
        for (m, id) in domains.chain(cpu).enumerate() {
            for (file, value) in debugfs::files(domains, kernel, &domains.domains[id.index()]) {
                writeln!(text, "cpu{cpu}/domain{m}/{file} {value}").expect("writing to a string succeeds");
            }
        }
    }
    text
}

/// The domain lines of `/proc/schedstat`, each CPU's after a line with its name.
///
/// Counters of the CPU line itself belong to the run queue and are left out.
pub fn render_schedstat(machine: &Machine, kernel: &Kernel, domains: &Domains) -> String {
    let mut text = format!("version {}\n", kernel.schedstat_version);
    for cpu in &machine.online() {
        writeln!(text, "cpu{cpu}").expect("writing to a string succeeds");
        for line in lines(machine, kernel, domains, cpu) {
            writeln!(text, "{line}").expect("writing to a string succeeds");
        }
    }
    text
}

fn lines(machine: &Machine, kernel: &Kernel, domains: &Domains, cpu: CpuId) -> Vec<String> {
    let line = |(m, id): (usize, evenkeel::ids::DomainId)| {
        schedstat::domain_line(&domains.domains[id.index()], m, machine.nr_cpus(), kernel)
    };
    domains.chain(cpu).enumerate().map(line).collect()
}
