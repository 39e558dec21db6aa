//! Domain trees: those that are built here against those a kernel built of the same machine.
//!
//! Compared are number, names and order of the levels; span, flags, flags of the entry group, groups (ring order, span, id,
//! balance mask), the debugfs numbers, the level's number where the kernel shows it, the features, and the tunables
//! that are modelled. Not compared is what depends on what happened after boot: capacities and costs.
use crate::recording::{DomainsRecording, RecordedDomain};
use core::fmt;
use evenkeel::ids::{CpuId, DomainId};
use evenkeel::kernel::{Kernel, TunableScaling};
use evenkeel::topology::debugfs::flag_names;
use evenkeel::topology::{Domains, Rebuild};
use std::collections::BTreeSet;

/// The most differences that are kept of one recording.
pub const DIFFERENCES_MAX: usize = 20;

/// One value that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: `cpu3 domain1 flags`.
    pub place: String,
    /// What the kernel had.
    pub recorded: String,
    /// What is computed here.
    pub computed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: recorded `{}`, computed `{}`", self.place, self.recorded, self.computed)
    }
}

/// The result for one recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance {
    /// Release and machine: `6.12.117+deb12-amd64 n4ring`.
    pub name: String,
    /// The build that was compared with it.
    pub build: &'static str,
    /// Values compared.
    pub compared: u64,
    /// How many were not the same.
    pub differing: u64,
    /// The first [`DIFFERENCES_MAX`] of them.
    pub differences: Vec<Difference>,
}

impl Conformance {
    /// Whether all values were the same.
    pub fn is_exact(&self) -> bool {
        self.differing == 0
    }

    fn check(&mut self, place: impl FnOnce() -> String, recorded: &str, computed: &str) {
        self.compared += 1;
        if recorded != computed {
            self.differing += 1;
            if self.differences.len() < DIFFERENCES_MAX {
                let (recorded, computed) = (recorded.to_owned(), computed.to_owned());
                self.differences.push(Difference { place: place(), recorded, computed });
            }
        }
    }
}

impl fmt::Display for Conformance {
    /// `NAME: exact (N values)`, or the first differences, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return write!(f, "{}: exact ({} values)", self.name, self.compared);
        }
        write!(f, "{}: {} of {} values differ", self.name, self.differing, self.compared)?;
        for difference in &self.differences {
            write!(f, "\n  {difference}")?;
        }
        Ok(())
    }
}

/// Builds the domains of a recorded machine and compares them with the recorded ones.
pub fn compare(recording: &DomainsRecording) -> Conformance {
    compare_with(recording, recording.kernel)
}

/// The same with a kernel of the caller's choice.
pub fn compare_with(recording: &DomainsRecording, kernel: &Kernel) -> Conformance {
    let mut result = Conformance {
        name: format!("{} {}", recording.release, recording.topology),
        build: kernel.build,
        compared: 0,
        differing: 0,
        differences: Vec::new(),
    };
    let options = Rebuild { relax_domain_level: recording.relax_domain_level, ..Rebuild::default() };
    match Domains::build_with(&recording.machine, kernel, &options) {
        Ok(domains) => compare_trees(recording, kernel, &domains, &mut result),
        Err(error) => result.check(|| String::from("machine"), "domains", &error.to_string()),
    }
    compare_features(recording, kernel, &mut result);
    compare_tunables(recording, kernel, &mut result);
    if let Some(version) = recording.schedstat_version {
        let place = || String::from("schedstat version");
        result.check(place, &version.to_string(), &kernel.schedstat_version.to_string());
    }
    result
}

fn compare_trees(recording: &DomainsRecording, kernel: &Kernel, domains: &Domains, result: &mut Conformance) {
    for (cpu, chain) in recording.chains.iter().enumerate() {
        let computed: Vec<DomainId> = domains.chain(CpuId(cpu as u32)).collect();
        let names: Vec<&str> = computed.iter().map(|id| domains.domains[id.index()].name).collect();
        let recorded: Vec<&str> = chain.iter().map(|domain| domain.name.as_str()).collect();
        result.check(|| format!("cpu{cpu} levels"), &recorded.join(" "), &names.join(" "));
        for (m, (recorded, id)) in chain.iter().zip(computed).enumerate() {
            compare_domain(&format!("cpu{cpu} domain{m}"), recorded, kernel, domains, id, result);
        }
    }
}

fn compare_domain(
    at: &str,
    recorded: &RecordedDomain,
    kernel: &Kernel,
    domains: &Domains,
    id: DomainId,
    result: &mut Conformance,
) {
    let domain = &domains.domains[id.index()];
    let mut check = |what: &str, recorded: &str, computed: &str| {
        result.check(|| format!("{at} {what}"), recorded, computed);
    };
    check("span", &recorded.span.to_string(), &domain.span.to_string());
    let names = |flags| flag_names(flags, kernel).collect::<Vec<_>>().join(" ");
    check("flags", &recorded.flags.join(" "), &names(domain.flags));
    if let Some(flags) = &recorded.groups_flags {
        check("groups_flags", &flags.join(" "), &names(domains.groups[domain.groups.index()].flags));
    }
    if let Some(level) = recorded.level {
        check("level", &level.to_string(), &domain.level.to_string());
    }
    for (&name, value) in &recorded.numbers {
        let computed = match name {
            "imbalance_pct" => u64::from(domain.imbalance_pct),
            "busy_factor" => u64::from(domain.busy_factor),
            "cache_nice_tries" => u64::from(domain.cache_nice_tries),
            "min_interval" => domain.min_interval,
            _ => domain.max_interval,
        };
        check(name, &value.to_string(), &computed.to_string());
    }
    let ring = recorded.groups.iter().map(|group| (group.id, &group.span, &group.mask));
    let recorded_groups = groups_text(ring);
    let ring = domains.ring(domain.groups).map(|id| {
        let group = &domains.groups[id.index()];
        let sgc = &domains.capacities[group.sgc.index()];
        (sgc.id, &*group.span, &*sgc.balance_mask)
    });
    check("groups", &recorded_groups, &groups_text(ring));
}

/// Groups as the kernel's log writes them: `0:0-3,6-7/0-1 4:2-7/4-5`; the mask only where it is not the span.
fn groups_text<'a>(
    groups: impl Iterator<Item = (CpuId, &'a evenkeel::mask::CpuMask, &'a evenkeel::mask::CpuMask)>,
) -> String {
    let texts = groups.map(|(id, span, mask)| match span == mask {
        true => format!("{id}:{span}"),
        false => format!("{id}:{span}/{mask}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// Features must be the same ones, and on or off alike; their order is not compared.
fn compare_features(recording: &DomainsRecording, kernel: &Kernel, result: &mut Conformance) {
    if recording.features.is_empty() {
        return;
    }
    let recorded: BTreeSet<String> = recording.features.iter().cloned().collect();
    let computed: BTreeSet<String> = kernel
        .features_known
        .iter_names()
        .map(|(name, feature)| match kernel.features.contains(feature) {
            true => name.to_owned(),
            false => format!("NO_{name}"),
        })
        .collect();
    for name in recorded.union(&computed) {
        let word = |set: &BTreeSet<String>| if set.contains(name) { "present" } else { "absent" };
        result.check(|| format!("feature {name}"), word(&recorded), word(&computed));
    }
}

/// Tunables that a kernel shows and that are modelled, scaled to the machine (spec 2 §2.5).
fn compare_tunables(recording: &DomainsRecording, kernel: &Kernel, result: &mut Conformance) {
    let computed = tunables(kernel, recording.machine.online().weight());
    for (name, value) in computed {
        let Some(recorded) = recording.tunables.get(name) else {
            if !recording.tunables.is_empty() {
                result.check(|| format!("tunable {name}"), "absent", &value.to_string());
            }
            continue;
        };
        result.check(|| format!("tunable {name}"), recorded, &value.to_string());
    }
}

/// The files of debugfs `sched/` that are modelled, with their values on a machine of `cpus` online CPUs.
pub fn tunables(kernel: &Kernel, cpus: u32) -> Vec<(&'static str, u64)> {
    let tunables = &kernel.tunables;
    let factor = u64::from(tunables.scaling.factor(cpus));
    let mut files = vec![
        ("nr_migrate", u64::from(tunables.nr_migrate)),
        ("migration_cost_ns", u64::from(tunables.migration_cost_ns)),
        (
            "tunable_scaling",
            match tunables.scaling {
                TunableScaling::None => 0,
                TunableScaling::Log => 1,
                TunableScaling::Linear => 2,
            },
        ),
    ];
    match tunables.cfs {
        Some(cfs) => {
            files.push(("latency_ns", cfs.latency_normalized_ns * factor));
            files.push(("min_granularity_ns", cfs.min_granularity_normalized_ns * factor));
            files.push(("wakeup_granularity_ns", cfs.wakeup_granularity_normalized_ns * factor));
            files.extend(cfs.idle_min_granularity_ns.map(|ns| ("idle_min_granularity_ns", ns)));
        }
        None => files.push(("base_slice_ns", tunables.base_slice_normalized_ns * factor)),
    }
    let numa = tunables.numa_balancing;
    files.push(("numa_balancing/scan_delay_ms", u64::from(numa.scan_delay_ms)));
    files.push(("numa_balancing/scan_period_min_ms", u64::from(numa.scan_period_min_ms)));
    files.push(("numa_balancing/scan_period_max_ms", u64::from(numa.scan_period_max_ms)));
    files.push(("numa_balancing/scan_size_mb", u64::from(numa.scan_size_mb)));
    files.extend(numa.hot_threshold_ms.map(|ms| ("numa_balancing/hot_threshold_ms", u64::from(ms))));
    if let Some(llc) = tunables.llc_balancing {
        files.push(("llc_balancing/enabled", u64::from(llc.enabled)));
        files.push(("llc_balancing/aggr_tolerance", u64::from(llc.aggr_tolerance)));
        files.push(("llc_balancing/epoch_period", u64::from(llc.epoch_period)));
        files.push(("llc_balancing/epoch_affinity_timeout", u64::from(llc.epoch_affinity_timeout)));
        files.push(("llc_balancing/overaggr_pct", u64::from(llc.overaggr_pct)));
        files.push(("llc_balancing/imb_pct", u64::from(llc.imb_pct)));
    }
    files
}
