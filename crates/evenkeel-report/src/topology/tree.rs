//! Domains as a tree for people: levels from the top, what each does, and what it is divided into.
use super::node::{Node, tops};
use super::words;
use core::fmt::Write as _;
use evenkeel::ids::DomainId;
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::topology::debugfs::flag_names;
use evenkeel::topology::{Domains, Machine};

/// How many spans or groups are listed before the rest is counted.
const LISTED_MAX: usize = 8;

/// The domains of a machine as a kernel builds them, for people.
///
/// Every level has a line with its name, number and CPUs, and below it how often it balances, when it acts, what it is
/// used for, its flags and its groups. Subtrees that differ only in CPU numbers are written once, with the CPUs of all.
pub fn render_tree(machine: &Machine, kernel: &Kernel, domains: &Domains) -> String {
    let mut text = String::new();
    let writer = Writer { kernel, domains };
    let nodes = if machine.nr_nodes == 1 { "node" } else { "nodes" };
    push(
        &mut text,
        &format!(
            "{}: {}, {} {nodes}, as {} balances it",
            machine.name,
            cpus(machine.online().weight()),
            machine.nr_nodes,
            kernel.build
        ),
    );
    for partition in &domains.partitions {
        let tops = tops(machine, domains, &partition.cpus);
        if domains.partitions.len() > 1 {
            push(&mut text, &format!("partition {}", partition.cpus));
        }
        writer.children(&mut text, &tops, "");
        let alone = partition.cpus.iter().filter(|cpu| domains.cpus[cpu.index()].base.is_none());
        let alone = CpuMask::from_cpus(machine.nr_cpus(), alone);
        if !alone.is_empty() {
            push(&mut text, &format!("CPU {alone} has nobody to balance with"));
        }
    }
    let mut outside = machine.online();
    outside.and_assign(&domains.roots[0].span);
    if !outside.is_empty() {
        push(&mut text, &format!("isolated from balancing: {outside}"));
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn cpus(count: u32) -> String {
    if count == 1 { String::from("1 CPU") } else { format!("{count} CPUs") }
}

struct Writer<'a> {
    kernel: &'a Kernel,
    domains: &'a Domains,
}

impl Writer<'_> {
    fn children(&self, text: &mut String, nodes: &[Node], indent: &str) {
        let mut folded: Vec<(String, Vec<&Node>)> = Vec::new();
        for node in nodes {
            let shape = self.shape(node);
            match folded.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, alike)) => alike.push(node),
                None => folded.push((shape, vec![node])),
            }
        }
        let last = folded.len().saturating_sub(1);
        for (i, (_, alike)) in folded.iter().enumerate() {
            let (branch, below) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.node(text, alike, &format!("{indent}{branch}"), &format!("{indent}{below}"));
        }
    }

    /// One node for all that are `alike`: the first in full, the others by their CPUs.
    fn node(&self, text: &mut String, alike: &[&Node], first: &str, indent: &str) {
        let node = alike[0];
        let domain = &self.domains.domains[node.domain.index()];
        // Neighbourhoods overlap: what a CPU sees is not what all CPUs in it see.
        let span = |node: &&Node| {
            let span = &self.domains.domains[node.domain.index()].span;
            match node.owners == **span {
                true => span.to_string(),
                false => format!("{span} as seen by {}", node.owners),
            }
        };
        let (name, level) = (domain.name, domain.level);
        let weight = cpus(domain.span_weight);
        push(
            text,
            &match alike.len() {
                1 => format!("{first}{name} {} ({weight}, level {level})", span(&node)),
                n => {
                    let spans = listed(alike.iter().map(span), " | ");
                    format!("{first}{n} x {name} of {weight} (level {level}): {spans}; the first is")
                }
            },
        );
        let bar = if node.children.is_empty() { "   " } else { "│  " };
        let mut line = |words: &str| push(text, &format!("{indent}{bar}{words}"));
        line(&words::intervals(domain));
        line(&words::thresholds(domain));
        line(&words::uses(domain));
        let flags: Vec<&str> = flag_names(domain.flags, self.kernel).collect();
        line(&format!("flags {}", flags.join(" ").replace("SD_", "")));
        line(&self.groups(node.domain));
        self.children(text, &node.children, indent);
    }

    /// The groups in ring order: `4 groups of 2 CPUs: 0-1 | 2-3 | 4-5 | 6-7`.
    fn groups(&self, domain: DomainId) -> String {
        let ring = self.domains.ring(self.domains.domains[domain.index()].groups);
        let groups: Vec<_> = ring.map(|id| &self.domains.groups[id.index()]).collect();
        let weight = groups[0].group_weight;
        let equal = groups.iter().all(|group| group.group_weight == weight);
        let mut text = match equal {
            true => format!("{} groups of {}: ", groups.len(), cpus(weight)),
            false => format!("{} groups: ", groups.len()),
        };
        let group_text = |group: &&evenkeel::topology::Group| {
            let sgc = &self.domains.capacities[group.sgc.index()];
            let mut text = group.span.to_string();
            if sgc.balance_mask != group.span {
                write!(text, " (balanced by {})", sgc.balance_mask).expect("writing to a string succeeds");
            }
            if sgc.capacity != 1024 * u64::from(group.group_weight) {
                write!(text, " (capacity {})", sgc.capacity).expect("writing to a string succeeds");
            }
            text
        };
        text += &listed(groups.iter().map(group_text), " | ");
        text
    }

    /// A subtree without its CPU numbers; equal texts mean that only the numbers differ.
    fn shape(&self, node: &Node) -> String {
        let domain = &self.domains.domains[node.domain.index()];
        let owners = node.owners.weight();
        let mut shape = format!(
            "{} {} {} {owners} {:?} {} {} {} {} {} {}[",
            domain.name,
            domain.level,
            domain.span_weight,
            domain.flags,
            domain.min_interval,
            domain.max_interval,
            domain.busy_factor,
            domain.imbalance_pct,
            domain.cache_nice_tries,
            domain.imb_numa_nr
        );
        let mut groups: Vec<String> = self
            .domains
            .ring(domain.groups)
            .map(|id| &self.domains.groups[id.index()])
            .map(|group| {
                let sgc = &self.domains.capacities[group.sgc.index()];
                format!("{} {} {}", group.group_weight, sgc.capacity, sgc.balance_mask.weight())
            })
            .collect();
        // Where the ring is entered depends on the CPU, not on the shape.
        groups.sort();
        shape += &groups.join(",");
        shape.push(']');
        for child in &node.children {
            shape += &self.shape(child);
            shape.push(';');
        }
        shape
    }
}

/// The first few of many, and how many more there are.
fn listed(items: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    let total = items.len();
    let shown = if total > LISTED_MAX { LISTED_MAX - 1 } else { total };
    let mut text = items.take(shown).collect::<Vec<_>>().join(separator);
    if total > shown {
        write!(text, "{separator}and {} more", total - shown).expect("writing to a string succeeds");
    }
    text
}
