//! Domains as JSON, with the names that recordings of real kernels use.
use evenkeel::ids::CpuId;
use evenkeel::kernel::Kernel;
use evenkeel::topology::debugfs::flag_names;
use evenkeel::topology::{Domain, Domains, Machine};
use serde_json::{Map, Value, json};

/// All domain trees of a machine as one JSON document.
///
/// `domains` maps each CPU's number to its chain from the lowest level up, `pointers` to what the CPU keeps at hand.
pub fn render_json(machine: &Machine, kernel: &Kernel, domains: &Domains) -> String {
    let mut chains = Map::new();
    let mut pointers = Map::new();
    for cpu in 0..machine.nr_cpus() {
        let id = CpuId(cpu as u32);
        let chain = domains.chain(id).map(|id| domain(kernel, domains, &domains.domains[id.index()]));
        chains.insert(cpu.to_string(), Value::Array(chain.collect()));
        let at = &domains.cpus[cpu];
        pointers.insert(
            cpu.to_string(),
            json!({
                "sd_llc_size": at.sd_llc_size,
                "sd_llc_id": at.sd_llc_id,
                "sd_share_id": at.sd_share_id,
                "root": at.root.0,
            }),
        );
    }
    let partitions = domains.partitions.iter().map(|partition| {
        json!({ "cpus": partition.cpus.to_string(), "relax_domain_level": partition.relax_domain_level })
    });
    let document = json!({
        "machine": machine.name,
        "ncpus": machine.nr_cpus(),
        "kernel": kernel.build,
        "partitions": partitions.collect::<Vec<_>>(),
        "domains": chains,
        "pointers": pointers,
    });
    let mut text =
        serde_json::to_string_pretty(&document).expect("numbers and strings can be written as JSON");
    text.push('\n');
    text
}

fn domain(kernel: &Kernel, domains: &Domains, domain: &Domain) -> Value {
    let names = |flags| flag_names(flags, kernel).collect::<Vec<_>>();
    let groups = domains.ring(domain.groups).map(|id| {
        let group = &domains.groups[id.index()];
        let sgc = &domains.capacities[group.sgc.index()];
        let mut value = json!({ "id": sgc.id.0, "span": group.span.to_string() });
        let fields = value.as_object_mut().expect("an object was just written");
        if sgc.balance_mask != group.span {
            fields.insert("mask".to_owned(), json!(sgc.balance_mask.to_string()));
        }
        if sgc.capacity != 1024 {
            fields.insert("cap".to_owned(), json!(sgc.capacity));
        }
        if kernel.topology.group_cores {
            fields.insert("cores".to_owned(), json!(group.cores));
        }
        value
    });
    json!({
        "name": domain.name,
        "level": domain.level,
        "span": domain.span.to_string(),
        "flags": names(domain.flags),
        "groups_flags": names(domains.groups[domain.groups.index()].flags),
        "imbalance_pct": domain.imbalance_pct,
        "busy_factor": domain.busy_factor,
        "cache_nice_tries": domain.cache_nice_tries,
        "min_interval": domain.min_interval,
        "max_interval": domain.max_interval,
        "imb_numa_nr": domain.imb_numa_nr,
        "max_newidle_lb_cost": domain.max_newidle_lb_cost,
        "groups": groups.collect::<Vec<_>>(),
    })
}
