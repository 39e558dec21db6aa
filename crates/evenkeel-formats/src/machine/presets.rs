//! Machines that have a name: real ones with their sources, and small shapes that real kernels were recorded on.
//!
//! Each preset says where its facts are from, and what of it is assumed because it is not public or differs from board
//! to board (firmware distances, CPU numbering). None of them is a dump of one particular host. The real ones were written
//! down from general knowledge of the sources they name, without the documents at hand: correct them where you know better.
use super::facts::{CpuFacts, Facts, default_distances};
use super::oneline;
use evenkeel::mask::CpuMask;
use evenkeel::topology::{Arch, Machine};

/// A machine with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What it is asked for by.
    pub name: &'static str,
    /// What the machine is, in one line.
    pub description: &'static str,
    /// Where the facts are from, and what is assumed.
    pub source: &'static str,
    /// Builds the machine; use [`Preset::machine`], which fills in the name.
    pub build: fn() -> Machine,
}

impl Preset {
    /// The machine, named after the preset.
    pub fn machine(&self) -> Machine {
        let mut machine = (self.build)();
        machine.name = String::from(self.name);
        machine.source = String::from("preset");
        machine
    }
}

/// The preset with this name; big and small letters are the same.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

/// All presets, real machines first.
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// Names of presets that `name` may have been meant for, the nearest first.
pub(super) fn near(name: &str) -> Vec<&'static str> {
    let name = name.to_lowercase();
    let mut found: Vec<(usize, &'static str)> = Vec::new();
    for preset in PRESETS {
        let distance = edits(&name, preset.name);
        let part = name.len() >= 3 && (preset.name.contains(&name) || name.contains(preset.name));
        if part || distance <= preset.name.len() / 3 {
            found.push((if part { distance.min(1) } else { distance }, preset.name));
        }
    }
    found.sort();
    found.into_iter().take(4).map(|(_, name)| name).collect()
}

/// Letters to insert, delete or replace to get from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Presets are written by us and built by a test: a wrong one never leaves the house.
fn line(text: &str) -> Machine {
    oneline::parse(text).expect("presets are well formed").machine
}

const RECORDED: &str =
    "the shape of a virtual machine on which the kernels this project models were recorded";

const PRESETS: &[Preset] = &[
    Preset {
        name: "laptop-hybrid",
        description: "Intel Core i7-1260P: 4 P-cores with 2 threads, 8 E-cores in 2 clusters sharing L2, one L3",
        source: "Intel's product page (cores, threads, caches); CPU numbers as Linux shows them (P-cores first, siblings \
                 adjacent). Assumed: ITMT priorities 68 for two favoured P-cores, 64 for the others, 40 for E-cores. \
                 Capacity is 1024 everywhere: Linux scales it on hybrids only without SMT",
        build: laptop_hybrid,
    },
    Preset {
        name: "phone-biglittle",
        description: "Arm phone, 4 small + 3 middle + 1 big core, shared L3 (DynamIQ)",
        source: "The 4+3+1 layout of recent Arm phones (vendor product briefs). Assumed: capacities 325, 828 and 1024, \
                 which differ from model to model; no cluster nodes in the device tree",
        build: || line("8 cores, arm, capacity 4x325+3x828+1x1024"),
    },
    Preset {
        name: "desktop-8c16t",
        description: "Desktop with 8 cores x 2 threads on one L3, such as AMD Ryzen 7 5800X",
        source: "AMD's product page (one CCD of 8 cores with 32 MiB L3). CPU numbers: siblings n, n+8 as Linux shows them",
        build: || line("1 socket x 8 cores x 2 threads, numbering interleaved"),
    },
    Preset {
        name: "desktop-ryzen-7950x",
        description: "AMD Ryzen 9 7950X: 2 CCDs x 8 cores x 2 threads, L3 per CCD, one node",
        source: "AMD's product page. CPU numbers: siblings n, n+16 as Linux shows them. Left out: the preferred-core ranking \
                 newer drivers announce, which differs from part to part",
        build: || line("1 socket x 2 llc x 8 cores x 2 threads, numbering interleaved"),
    },
    Preset {
        name: "epyc-7763-2s-nps1",
        description: "2 x AMD EPYC 7763, 64 cores each, L3 per 8 cores, one node per socket",
        source: "AMD's product page and BIOS tuning guide for EPYC 7003 (NPS settings, distances 10/32). Linux uses a node \
                 reclaim distance of 32 on Zen. CPU numbers: siblings n, n+128",
        build: || {
            line("2 sockets x 8 llc x 8 cores x 2 threads, distance 10/32, reclaim 32, numbering interleaved")
        },
    },
    Preset {
        name: "epyc-7763-2s-nps2",
        description: "2 x AMD EPYC 7763, two nodes per socket",
        source: "As epyc-7763-2s-nps1; distance 12 between nodes of a socket",
        build: || {
            line(
                "2 sockets x 8 llc x 8 cores x 2 threads, nodes per socket 2, distance 10/12/32, reclaim 32, \
                 numbering interleaved",
            )
        },
    },
    Preset {
        name: "epyc-7763-2s-nps4",
        description: "2 x AMD EPYC 7763, four nodes per socket",
        source: "As epyc-7763-2s-nps1; distance 12 between nodes of a socket",
        build: || {
            line(
                "2 sockets x 8 llc x 8 cores x 2 threads, nodes per socket 4, distance 10/12/32, reclaim 32, \
                 numbering interleaved",
            )
        },
    },
    Preset {
        name: "epyc-9654-2s",
        description: "2 x AMD EPYC 9654, 96 cores each, L3 per 8 cores, one node per socket",
        source: "AMD's product page and tuning guide for EPYC 9004 (NPS1, distances 10/32). CPU numbers: siblings n, n+192",
        build: || {
            line(
                "2 sockets x 12 llc x 8 cores x 2 threads, distance 10/32, reclaim 32, numbering interleaved",
            )
        },
    },
    Preset {
        name: "xeon-spr-snc4",
        description: "2 x Intel Xeon Platinum 8480+ (Sapphire Rapids), 56 cores each, sub-NUMA clustering 4",
        source: "Intel's product page; SNC4 makes four nodes of 14 cores a socket, with distances 12 and 21 as published \
                 listings of such machines show. The socket's L3 is written down as one per node, which is how the kernel \
                 cuts it. CPU numbers: siblings n, n+112",
        build: || {
            line("2 sockets x 4 nodes x 14 cores x 2 threads, distance 10/12/21, numbering interleaved")
        },
    },
    Preset {
        name: "xeon-e5-4s-80",
        description: "4-socket Intel Xeon, 4 nodes x 10 cores x 2 threads = 80 CPUs",
        source: "The kind of machine on which the group imbalance of task groups was reported (NAS LU next to single \
                 burners on 4 nodes and 80 CPUs). Assumed: all nodes 21 apart, nodes numbered in blocks, siblings n, n+40",
        build: || line("4 sockets x 10 cores x 2 threads, distance 10/21, numbering interleaved"),
    },
    Preset {
        name: "bulldozer-8n",
        description: "4 x AMD Opteron 6272: 8 nodes x 8 CPUs in modules of two, the machine of \"A Decade of Wasted Cores\"",
        source: "Lozi et al., EuroSys 2016: 64 cores, 8 nodes, L3 per node, pairs share a module; neighbours of node 0 (1, 2, \
                 4, 6) and of node 3 (1, 2, 4, 5, 7) as the paper tells them. Linux takes the two cores of a module for SMT \
                 siblings. Assumed: the other neighbours (the usual wiring of four sockets), the distances 16 and 22, CPUs \
                 numbered in blocks",
        build: || {
            line(
                "4 sockets x 2 nodes x 4 cores x 2 threads, distances [10 16 16 22 16 22 16 22; 16 10 22 16 22 16 22 16; \
                 16 22 10 16 16 22 16 22; 22 16 16 10 16 16 22 16; 16 22 16 16 10 16 16 22; 22 16 22 16 16 10 22 16; \
                 16 22 16 22 16 22 10 16; 22 16 22 16 22 16 16 10]",
            )
        },
    },
    Preset {
        name: "ampere-altra",
        description: "Ampere Altra Q80: 80 cores in pairs, L2 per core, one node",
        source: "Ampere's product brief. Its system-level cache is on the memory side, so the last cache Linux sees is the \
                 core's own L2, and the pairs (DSU) appear as clusters. Assumed: firmware in monolithic mode (one node)",
        build: ampere_altra,
    },
    Preset {
        name: "grace",
        description: "NVIDIA Grace: 72 cores on one L3, one node",
        source: "NVIDIA's Grace tuning guide (72 Neoverse V2 cores, shared L3)",
        build: || line("1 socket x 72 cores, arm"),
    },
    Preset {
        name: "grace-2s",
        description: "NVIDIA Grace CPU Superchip: 2 sockets x 72 cores, a node each",
        source: "NVIDIA's Grace tuning guide. Assumed: distance 40 between the sockets, as listings show it",
        build: || line("2 sockets x 72 cores, arm, distance 10/40"),
    },
    Preset {
        name: "uv-16s",
        description: "16 sockets x 60 cores x 2 threads = 1920 CPUs in 4 chassis",
        source: "The largest of the scale-up servers with Sapphire Rapids (vendor's product brief: 16 sockets of 60 cores). \
                 Assumed: distance 21 in a chassis of four sockets, 31 between chassis; siblings n, n+960",
        build: uv_16s,
    },
    Preset { name: "c1", description: "1 CPU", source: RECORDED, build: || line("1 cpu") },
    Preset { name: "c2", description: "2 cores, one LLC", source: RECORDED, build: || line("2 cores") },
    Preset { name: "c8flat", description: "8 cores, one LLC", source: RECORDED, build: || line("8 cores") },
    Preset {
        name: "c8isol",
        description: "8 cores, one LLC, CPUs 6-7 isolated",
        source: RECORDED,
        build: || line("8 cores, isolated 6-7"),
    },
    Preset {
        name: "c4t2",
        description: "4 cores x 2 threads, one LLC",
        source: RECORDED,
        build: || line("4 cores x 2 threads"),
    },
    Preset {
        name: "c24t2",
        description: "24 cores x 2 threads, one LLC",
        source: RECORDED,
        build: || line("24 cores x 2 threads"),
    },
    Preset {
        name: "s2c2t2n2",
        description: "2 sockets x 2 cores x 2 threads, 2 nodes 10/20",
        source: RECORDED,
        build: || line("2 sockets x 2 cores x 2 threads, distance 10/20"),
    },
    Preset {
        name: "s2d2",
        description: "2 sockets x 2 LLCs x 2 cores on one node",
        source: RECORDED,
        build: || line("2 sockets x 2 llc x 2 cores, nodes 1"),
    },
    Preset {
        name: "ccx",
        description: "1 socket, 2 LLCs x 4 cores x 2 threads, one node",
        source: RECORDED,
        build: || line("2 llc x 4 cores x 2 threads"),
    },
    Preset {
        name: "clus",
        description: "1 socket, 2 clusters x 4 cores, L2 per cluster, one L3",
        source: RECORDED,
        build: || line("2 clusters x 4 cores"),
    },
    Preset {
        name: "n4ring",
        description: "4 nodes x 2 cores in a ring, 10/20/30",
        source: RECORDED,
        build: || line("4 nodes x 2 cores, ring 10/20/30"),
    },
    Preset {
        name: "n4far",
        description: "4 nodes x 2 cores in a ring, 10/25/40, beyond the reclaim distance",
        source: RECORDED,
        build: || line("4 nodes x 2 cores, ring 10/25/40"),
    },
    Preset {
        name: "n8mesh3",
        description: "8 nodes x 2 cores, glueless mesh 10/16/22/28",
        source: RECORDED,
        build: || {
            line(
                "8 nodes x 2 cores, distances [10 16 16 16 22 28 28 28; 16 10 16 16 28 22 28 28; 16 16 10 16 28 28 22 28; \
                 16 16 16 10 28 28 28 22; 22 28 28 28 10 16 16 16; 28 22 28 28 16 10 16 16; 28 28 22 28 16 16 10 16; \
                 28 28 28 22 16 16 16 10]",
            )
        },
    },
    Preset {
        name: "s4n4eq",
        description: "4 sockets x 4 cores, 4 nodes all 21 apart",
        source: RECORDED,
        build: || line("4 sockets x 4 cores, distance 10/21"),
    },
    Preset {
        name: "c64",
        description: "2 sockets x 16 cores x 2 threads, 2 nodes 10/21",
        source: RECORDED,
        build: || line("2 sockets x 16 cores x 2 threads, distance 10/21"),
    },
];

/// Facts of a machine with one node and `cpus`.
fn one_node(cpus: Vec<CpuFacts>, arch: Arch, itmt: bool) -> Machine {
    let facts = Facts {
        name: String::new(),
        source: String::new(),
        isolated: CpuMask::new(cpus.len()),
        cpus,
        nr_nodes: 1,
        distances: default_distances(1),
        arch,
        node_reclaim_distance: None,
        itmt,
        notes: Vec::new(),
    };
    facts.assemble_unchecked().machine
}

fn plain_cpu(core: u64) -> CpuFacts {
    CpuFacts {
        core,
        cluster: None,
        llc: Some(0),
        die: 0,
        package: 0,
        node: 0,
        capacity: 1024,
        asym_priority: None,
        online: true,
    }
}

fn laptop_hybrid() -> Machine {
    let performance = (0..8).map(|cpu| {
        let core = cpu / 2;
        let priority = if core < 2 { 68 } else { 64 };
        CpuFacts { cluster: Some(core), asym_priority: Some(priority), ..plain_cpu(core) }
    });
    let efficiency = (8..16).map(|cpu| {
        let core = cpu - 4;
        CpuFacts { cluster: Some(core / 4 * 100), asym_priority: Some(40), ..plain_cpu(core) }
    });
    one_node(performance.chain(efficiency).collect(), Arch::X86, true)
}

fn ampere_altra() -> Machine {
    let cpus = (0..80).map(|cpu| CpuFacts { cluster: Some(cpu / 2), llc: Some(cpu), ..plain_cpu(cpu) });
    one_node(cpus.collect(), Arch::Generic, false)
}

fn uv_16s() -> Machine {
    let mut machine = line("16 sockets x 60 cores x 2 threads, numbering interleaved");
    for a in 0..16 {
        for b in (0..16).filter(|&b| b != a) {
            machine.distances[a * 16 + b] = if a / 4 == b / 4 { 21 } else { 31 };
        }
    }
    machine
}
