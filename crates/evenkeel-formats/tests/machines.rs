//! Machines from presets, one line, sysfs trees and recordings.
use evenkeel::ids::CpuId;
use evenkeel::kernels;
use evenkeel::topology::{Domains, Machine};
use evenkeel_formats::machine::{self, describe, load, oneline, presets, save, sysfs};
use expect_test::{Expect, expect};
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The machine without its name and source, which tell readers apart.
fn nameless(mut machine: Machine) -> Machine {
    machine.name.clear();
    machine.source.clear();
    machine
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/machine").join(name)
}

fn unpack(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes the files of a `@@ PATH` dump below the directory.
    fn write_dump(&self, dump: &str) {
        for part in dump.split("@@ ").skip(1) {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            if path.starts_with("/sys/devices") {
                self.write(path.trim_start_matches('/'), content);
            }
        }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const RECORDED: [&str; 4] = ["clus", "s2c2t2n2", "n4ring", "c8isol"];

#[test]
fn recorded_sysfs_gives_the_machine_that_was_recorded() {
    for name in RECORDED {
        let dump = unpack(&data(name).join("raw.txt.gz"));
        let scratch = Scratch::new(name);
        scratch.write_dump(&dump);
        if name == "c8isol" {
            // The recording left this file out; the kernel fills it from its command line.
            scratch.write("sys/devices/system/cpu/isolated", "6-7\n");
        }
        let tree = sysfs::read_directory(&scratch.0).unwrap().machine;
        let recorded = load(data(name).join("sched.json.gz").to_str().unwrap()).unwrap();
        assert_eq!(recorded.name, name);
        assert_eq!(nameless(tree), nameless(recorded.clone()), "{name}");
        // The same shapes are presets.
        assert_eq!(nameless(load(name).unwrap()), nameless(recorded), "preset {name}");
    }
}

#[test]
fn a_dump_file_is_as_good_as_the_tree() {
    let dump = load(data("clus").join("raw.txt.gz").to_str().unwrap()).unwrap();
    assert_eq!(nameless(dump), nameless(load("clus").unwrap()));
}

/// Distances are all that `lscpu` leaves out of the recorded machines.
fn without_distances(mut machine: Machine) -> Machine {
    machine.distances.clear();
    machine
}

#[test]
fn the_same_machine_comes_in_by_every_tool() {
    for name in ["clus", "s2c2t2n2", "n4ring"] {
        let recorded = nameless(load(data(name).join("sched.json.gz").to_str().unwrap()).unwrap());
        let read = |file: &str| nameless(load(data(name).join(file).to_str().unwrap()).unwrap());
        for file in ["hwloc.xml.gz", "hwloc-v1.xml.gz"] {
            assert_eq!(read(file), recorded, "{name} {file}");
        }
        for file in ["lscpu-p.txt", "lscpu-e.json", "lscpu.json", "lscpu.txt"] {
            assert_eq!(without_distances(read(file)), without_distances(recorded.clone()), "{name} {file}");
        }
    }
}

#[test]
fn lscpu_columns_go_by_their_names() {
    let text = "# CPU,Core,Socket,Node\n# Node,CPU,Core,Socket,Cluster,,L2,L3\n\
                1,0,0,0,7,,0,0\n1,1,1,0,7,,1,0\n0,2,0,1,8,,2,1\n0,3,1,1,,,3,1\n0,5,2,1,9,,3,1\n";
    let loaded = machine::load_text(text, "lscpu.txt").unwrap();
    let cpus = &loaded.machine.cpus;
    assert_eq!(cpus.iter().map(|cpu| cpu.node).collect::<Vec<_>>(), [1, 1, 0, 0, 0, 0]);
    assert_eq!(cpus.iter().map(|cpu| cpu.package).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 1]);
    assert_eq!((cpus[0].cluster, cpus[1].cluster), (Some(0), Some(0)));
    assert_eq!(loaded.machine.online().to_string(), "0-3,5");
    assert!(loaded.notes.iter().any(|note| note.contains("offline")), "{:?}", loaded.notes);
}

#[test]
fn lscpu_summaries_tell_siblings_by_the_ranges_of_nodes() {
    let text = "Architecture: x86_64\nCPU(s): 8\nVendor ID: AuthenticAMD\nCPU family: 25\nThread(s) per core: 2\n\
                Core(s) per socket: 2\nSocket(s): 2\nL2 cache: 2 MiB (4 instances)\nL3 cache: 64 MiB (2 instances)\n\
                NUMA node(s): 2\nNUMA node0 CPU(s): 0,1,4,5\nNUMA node1 CPU(s): 2,3,6,7\n";
    let machine = machine::load_text(text, "lscpu.txt").unwrap().machine;
    let expected =
        oneline::parse("2 sockets x 2 cores x 2 threads, numbering interleaved, reclaim 32").unwrap();
    assert_eq!(nameless(machine), nameless(expected.machine));
    let hybrid =
        text.replace("CPU(s): 8", "CPU(s): 6").replace("0,1,4,5", "0,1,4").replace("2,3,6,7", "2,3,5");
    let error = machine::load_text(&hybrid, "lscpu.txt").unwrap_err().to_string();
    assert!(error.contains("not regular, use `lscpu -p`"), "{error}");
}

#[test]
fn sysfs_notes_and_refusals() {
    let scratch = Scratch::new("odd");
    let file = |path: &str, content: &str| scratch.write(&format!("devices/system/{path}"), content);
    file("cpu/possible", "0-3\n");
    file("cpu/online", "0-1,3\n");
    file("cpu/modalias", "cpu:type:x86,ven0002fam0019mod0001:feature:,0000\n");
    for cpu in [0, 1, 3] {
        file(&format!("cpu/cpu{cpu}/topology/core_cpus_list"), if cpu == 3 { "3" } else { "0-1" });
        file(&format!("cpu/cpu{cpu}/topology/physical_package_id"), "0");
        file(&format!("cpu/cpu{cpu}/topology/die_id"), "-1");
        file(&format!("cpu/cpu{cpu}/topology/cluster_id"), "-1");
        file(&format!("cpu/cpu{cpu}/topology/core_id"), "0");
        file(&format!("cpu/cpu{cpu}/cache/index0/level"), "1");
        file(&format!("cpu/cpu{cpu}/cache/index0/type"), "Instruction");
        file(&format!("cpu/cpu{cpu}/acpi_cppc/highest_perf"), if cpu == 3 { "40" } else { "60" });
    }
    // Nodes 0 and 8, the second without CPUs.
    file("node/online", "0,8");
    file("node/node0/cpulist", "0-1,3");
    file("node/node0/distance", "10 40");
    file("node/node8/cpulist", "\n");
    file("node/node8/distance", "40 10");
    let loaded = sysfs::read_directory(&scratch.0).unwrap();
    let machine = &loaded.machine;
    assert_eq!(machine.online().to_string(), "0-1,3");
    assert_eq!(machine.cpus.iter().map(|cpu| cpu.core).collect::<Vec<_>>(), [0, 0, 1, 2]);
    assert_eq!(machine.cpus.iter().map(|cpu| cpu.llc).collect::<Vec<_>>(), [None; 4]);
    assert_eq!((machine.nr_nodes, &machine.distances[..]), (2, &[10, 40, 40, 10][..]));
    assert_eq!(machine.node_reclaim_distance, Some(32));
    assert!(machine.itmt);
    assert_eq!(machine.cpus[3].asym_priority, Some(40));
    assert_eq!(loaded.notes.len(), 3, "{:?}", loaded.notes);

    // A CPU of which nothing is known.
    file("cpu/online", "0-3");
    let notes = sysfs::read_directory(&scratch.0).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("CPUs 2 have no topology")), "{notes:?}");
    file("cpu/online", "0-1,3");

    // Announced as off: no priorities.
    scratch.write("kernel/debug/x86/sched_itmt_enabled", "N\n");
    let off = sysfs::read_directory(&scratch.0).unwrap().machine;
    assert_eq!((off.itmt, off.cpus[3].asym_priority), (false, None));

    let refuses = |path: &str, content: &str, why: &str, back: &str| {
        file(path, content);
        let error = sysfs::read_directory(&scratch.0).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        file(path, back);
    };
    refuses("cpu/online", "zero", "expected a CPU list", "0-1,3");
    refuses("cpu/possible", "0-99999", "does not exist", "0-3");
    refuses("cpu/cpu1/topology/core_cpus_list", "1", "which shares one with others", "0-1");
    refuses("cpu/cpu1/topology/core_cpus_list", "0", "CPU 1 in it", "0-1");
    refuses("cpu/cpu0/topology/physical_package_id", "one", "expected a number", "0");
    refuses("node/node8/distance", "40", "expected 2 distances", "40 10");
    refuses("node/node8/distance", "41 10", "symmetric", "40 10");
    refuses("node/node8/cpulist", "3", "on node 0 and on node 8", "");
    refuses("cpu/cpu0/cpu_capacity", "2000", "capacity of CPU 0", "1024");
    assert!(sysfs::read_directory(Path::new("/nonexistent")).is_err());
}

#[test]
fn saved_machines_read_well_and_come_back_equal() {
    let machine = load("epyc-7763-2s-nps2").unwrap();
    let text = save(&machine);
    expect![[r##"
        # 2 sockets x 8 LLCs x 8 cores x 2 threads = 256 CPUs, 4 nodes (distance 10/12/32)
        evenkeel_machine = 1
        name = "epyc-7763-2s-nps2"
        source = "preset"
        cpus = 256
        arch = "x86"
        node_reclaim_distance = 32
        packages = ["0-63,128-191", "64-127,192-255"]
        llcs = [
            "0-7,128-135", "8-15,136-143", "16-23,144-151", "24-31,152-159", "32-39,160-167",
            "40-47,168-175", "48-55,176-183", "56-63,184-191", "64-71,192-199", "72-79,200-207",
            "80-87,208-215", "88-95,216-223", "96-103,224-231", "104-111,232-239", "112-119,240-247",
            "120-127,248-255",
        ]
        cores = ["0-127 & 128-255"]
        nodes = ["0-31,128-159", "32-63,160-191", "64-95,192-223", "96-127,224-255"]
        distances = [
            [10, 12, 32, 32],
            [12, 10, 32, 32],
            [32, 32, 10, 12],
            [32, 32, 12, 10],
        ]
    "##]]
    .assert_eq(&text);
    assert_eq!(machine::load_text(&text, "x.toml").unwrap().machine, machine);
    for preset in presets() {
        let machine = preset.machine();
        assert_eq!(
            machine::load_text(&save(&machine), "x.toml").unwrap().machine,
            machine,
            "{}",
            preset.name
        );
    }
}

#[test]
fn saved_machines_can_be_written_by_hand() {
    let text = "# mine\nevenkeel_machine = 1\ncpus = 8 # small\nllcs = [\"0-3\", \"4-7\"]\ncores = [\"0-7 by 2\"]\n\
                capacities = [\"512: 4-7\"]\n";
    let machine = machine::load_text(text, "dir/mine.toml").unwrap().machine;
    assert_eq!(machine.name, "mine");
    expect!["1 socket x 2 LLCs x 2 cores x 2 threads = 8 CPUs, capacity 4x1024+4x512"]
        .assert_eq(&describe(&machine));

    let wrong = |text: &str, expect: Expect| {
        expect.assert_eq(&machine::load_text(text, "m.toml").unwrap_err().to_string());
    };
    wrong(
        "evenkeel_machine = 1\ncpus = 0",
        expect![[r#"
        m.toml, line 2, column 8: expected 1 to 8192 CPUs, found 0
          cpus = 0
                 ^"#]],
    );
    wrong(
        "evenkeel_machine = 2\ncpus = 1",
        expect![[r#"
        m.toml, line 1, column 20: expected version 1 of the format, found 2
          evenkeel_machine = 2
                             ^"#]],
    );
    wrong(
        "evenkeel_machine = 1\ncpus = 4\nsockets = 2",
        expect![[r#"
            m.toml, line 3, column 1: unknown field `sockets`, expected one of `evenkeel_machine`, `name`, `source`, `notes`, `cpus`, `arch`, `itmt`, `numa_in_package`, `uneven_package_distances`, `node_reclaim_distance`, `offline`, `isolated`, `packages`, `dies`, `llcs`, `clusters`, `cores`, `nodes`, `distances`, `capacities`, `asym_priorities`
              sockets = 2
              ^"#]],
    );
    wrong(
        "evenkeel_machine = 1\ncpus = 4\ncores = [\"0-1\", \"1-3\"]",
        expect![[r#"
        m.toml, line 3, column 17: CPU 1 is in two of these
          cores = ["0-1", "1-3"]
                          ^"#]],
    );
    wrong("evenkeel_machine = 1\ncpus = 4\ncores = [\"0-1\"]", expect!["m.toml: CPU 2 is in no core"]);
    wrong(
        "evenkeel_machine = 1\ncpus = 4\nnodes = [\"0-1\", \"2-4\"]",
        expect![[r#"
        m.toml, line 3, column 17: CPU 4 does not exist on this machine
          nodes = ["0-1", "2-4"]
                          ^"#]],
    );
    wrong(
        "evenkeel_machine = 1\ncpus = 4\ncores = [\"0-3 by 3\"]",
        expect![[r#"
        m.toml, line 3, column 10: expected a number that divides 4 CPUs after `by`
          cores = ["0-3 by 3"]
                   ^"#]],
    );
    wrong(
        "evenkeel_machine = 1\ncpus = 4\nnodes = [\"0-1\", \"2-3\"]\ncores = [\"0,2\", \"1,3\"]",
        expect!["m.toml: CPUs 0 and 2 share a core but are in different nodes"],
    );
    wrong(
        "cpus = [",
        expect![[r#"
        m.toml, line 1, column 9: unclosed array, expected `]`
          cpus = [
                  ^"#]],
    );
    wrong(
        "hello",
        expect![
            "m.toml: the content is no machine: expected a saved machine, a dump of sysfs files, the output of `lscpu -p` or `lscpu -J`, or hwloc XML"
        ],
    );
}

fn check(line: &str, expect: Expect) {
    let text = match oneline::parse(line) {
        Ok(loaded) => describe(&loaded.machine),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&text);
}

#[test]
fn one_line_machines() {
    check("8 cpus", expect!["1 socket x 8 cores = 8 CPUs"]);
    check(
        "2 sockets x 4 llc x 8 cores x 2 threads, distance 10/32",
        expect!["2 sockets x 4 LLCs x 8 cores x 2 threads = 128 CPUs, 2 nodes (distance 10/32)"],
    );
    check(
        "2 SOCKETS × 4 ccx * 8 core x 1 thread, nodes per socket 2",
        expect!["2 sockets x 4 LLCs x 8 cores = 64 CPUs, 4 nodes (distance 10/12/20)"],
    );
    check(
        "4 nodes x 2 cores, ring 10/20/30",
        expect!["4 sockets x 2 cores = 8 CPUs, 4 nodes (distance 10/20/30)"],
    );
    check(
        "8 cores, arm, capacity 4x446+4x1024",
        expect!["1 socket x 8 cores = 8 CPUs, capacity 4x446+4x1024, generic levels"],
    );
    check(
        "8cores,isolated 1,3-4,offline 7",
        expect!["1 socket x 8 cores = 8 CPUs, offline 7, isolated 1,3-4"],
    );
    check("2 clusters x 4 cores", expect!["1 socket x 2 clusters x 4 cores = 8 CPUs"]);
    check(
        "pack:2 numa:1 l3:1 l2:2 core:1 pu:2",
        expect!["2 sockets x 2 cores x 2 threads = 8 CPUs, 2 nodes (distance 10/20)"],
    );
}

#[test]
fn one_line_numbers_follow_the_words() {
    let machine = |line: &str| oneline::parse(line).unwrap().machine;
    let cores = |line: &str| machine(line).cpus.iter().map(|cpu| cpu.core).collect::<Vec<_>>();
    assert_eq!(cores("2 cores x 2 threads"), [0, 0, 1, 1]);
    assert_eq!(cores("2 cores x 2 threads, numbering interleaved"), [0, 1, 0, 1]);
    let nodes: Vec<u32> = machine("2 sockets x 2 cores x 2 threads, numbering interleaved")
        .cpus
        .iter()
        .map(|cpu| cpu.node)
        .collect();
    assert_eq!(nodes, [0, 0, 1, 1, 0, 0, 1, 1]);
    // Capacity per core with two threads each, and per CPU.
    let capacities: Vec<u32> =
        machine("2 cores x 2 threads, capacity 1x512+1x1024").cpus.iter().map(|cpu| cpu.capacity).collect();
    assert_eq!(capacities, [512, 512, 1024, 1024]);
    // Spec 1 §17 (d): a ring of four nodes.
    let ring = machine("4 nodes x 2 cores, ring 10/20/30");
    assert_eq!(ring.distances, [10, 20, 30, 20, 20, 10, 20, 30, 30, 20, 10, 20, 20, 30, 20, 10]);
    let unused = oneline::parse("2 sockets x 4 cores, distance 10/12/21").unwrap();
    assert_eq!(
        unused.notes,
        ["no two nodes share a socket: distance 12 is not used, all nodes are 21 apart"]
    );
    // Spec 1 §18: a line of four nodes.
    let row = machine("4 nodes x 1 core, line 10/20/30/40");
    assert_eq!(row.distances[..4], [10, 20, 30, 40]);
    // Spec 1 §17 (e), and that the regular machine of the core crate is the same.
    assert_eq!(
        nameless(machine("2 sockets x 2 llc x 2 cores x 2 threads, distance 10/20")),
        nameless(Machine::regular(2, 2, 2, 2, true))
    );
}

#[test]
fn one_line_errors_point_at_the_column() {
    check(
        "2 sockts x 4 cores",
        expect![[r#"
        machine, line 1, column 3: expected a unit (sockets, nodes, dies, llc, clusters, cores, threads or cpus), found `sockts`
          2 sockts x 4 cores
            ^"#]],
    );
    check(
        "4 cores x 2 sockets",
        expect![[r#"
        machine, line 1, column 13: sockets cannot be inside cores: expected at most one each of sockets, nodes, dies, llc, clusters, cores, threads, in this order
          4 cores x 2 sockets
                      ^"#]],
    );
    check(
        "2 sockets x 0 cores",
        expect![[r#"
        machine, line 1, column 13: expected at least 1 of cores, found 0
          2 sockets x 0 cores
                      ^"#]],
    );
    check(
        "8 cpus x 2 threads",
        expect![[r#"
            machine, line 1, column 12: nothing can be inside of cpus, which are cores of one thread: say `cores`
              8 cpus x 2 threads
                         ^"#]],
    );
    check(
        "2 sockets x 3 cores, nodes 4",
        expect![[r#"
        machine, line 1, column 22: 6 cores cannot be spread evenly over 4 nodes
          2 sockets x 3 cores, nodes 4
                               ^"#]],
    );
    check(
        "1 socket x 2 llc x 4 cores, nodes 4",
        expect![[r#"
        machine, line 1, column 29: 4 nodes for 2 llc: each of the llc would be on several nodes
          1 socket x 2 llc x 4 cores, nodes 4
                                      ^"#]],
    );
    check(
        "2 sockets x 4 cores, distances [10 21; 20 10]",
        expect![[r#"
        machine, line 1, column 22: node distances must be symmetric: from 0 to 1 is 21, from 1 to 0 is 20
          2 sockets x 4 cores, distances [10 21; 20 10]
                               ^"#]],
    );
    check(
        "2 sockets x 4 cores, distances [10 21; 20]",
        expect![[r#"
        machine, line 1, column 40: expected a row of 2 distances, found 1
          2 sockets x 4 cores, distances [10 21; 20]
                                                 ^"#]],
    );
    check(
        "2 sockets x 4 cores, distance 11/20",
        expect![[r#"
        machine, line 1, column 31: expected 10, the distance of a node to itself, found `11`
          2 sockets x 4 cores, distance 11/20
                                        ^"#]],
    );
    check(
        "2 sockets x 4 cores, distance 10/300",
        expect![[r#"
        machine, line 1, column 22: the distance from node 0 to node 1 must be in 11..=254, not 300
          2 sockets x 4 cores, distance 10/300
                               ^"#]],
    );
    check(
        "8 cores, capacity 4x446",
        expect![[r#"
        machine, line 1, column 10: expected values for 8 cores, found 4
          8 cores, capacity 4x446
                   ^"#]],
    );
    check(
        "8 cores, capacity 8x0",
        expect![[r#"
        machine, line 1, column 10: the capacity of CPU 0 must be in 1..=1024, not 0
          8 cores, capacity 8x0
                   ^"#]],
    );
    check(
        "8 cores, isolated 6-9",
        expect![[r#"
        machine, line 1, column 10: CPU 9 does not exist on this machine
          8 cores, isolated 6-9
                   ^"#]],
    );
    check(
        "8 cores, fast",
        expect![[r#"
        machine, line 1, column 10: expected an option (nodes, distance, distances, ring, line, capacity, priority, numbering, x86, arm, reclaim, itmt, isolated or offline), found `fast`
          8 cores, fast
                   ^"#]],
    );
    check(
        "8 cores extra",
        expect![[r#"
        machine, line 1, column 9: expected `x` and the next level, `,` and an option, or the end, found `extra`
          8 cores extra
                  ^"#]],
    );
    check(
        "100000 sockets x 100000 cores",
        expect![[r#"
            machine, line 1, column 1: more CPUs than the 8192 that are supported
              100000 sockets x 100000 cores
              ^"#]],
    );
    check(
        "99999999999 cores",
        expect![[r#"
        machine, line 1, column 1: the number 99999999999 is too big
          99999999999 cores
          ^"#]],
    );
    check(
        "8 nodes x 1 core, ring 10/20",
        expect![[r#"
            machine, line 1, column 19: a ring of 8 nodes has up to 4 hops, found distances for 1
              8 nodes x 1 core, ring 10/20
                                ^"#]],
    );
    check(
        "2 cores, offline 0-1",
        expect![[r#"
        machine, line 1, column 10: no CPU of the machine is online
          2 cores, offline 0-1
                   ^"#]],
    );
    check(
        "",
        expect![
            "machine, line 1, column 1: expected a count such as `2` in `2 sockets x 8 cores`, found the end of the text"
        ],
    );
}

#[test]
fn presets_are_valid_and_described() {
    let mut text = String::new();
    for preset in presets() {
        let machine = preset.machine();
        machine.validate().unwrap();
        assert_eq!(load(preset.name).unwrap(), machine);
        text.push_str(&format!("{}: {}\n", preset.name, describe(&machine)));
    }
    expect![[r#"
        laptop-hybrid: 1 socket, 6 clusters (4 of 2, 2 of 4 CPUs), 12 cores (8 of 1, 4 of 2 threads) = 16 CPUs, preferred cores
        phone-biglittle: 1 socket x 8 cores = 8 CPUs, capacity 4x325+3x828+1x1024, generic levels
        desktop-8c16t: 1 socket x 8 cores x 2 threads = 16 CPUs
        desktop-ryzen-7950x: 1 socket x 2 LLCs x 8 cores x 2 threads = 32 CPUs
        epyc-7763-2s-nps1: 2 sockets x 8 LLCs x 8 cores x 2 threads = 256 CPUs, 2 nodes (distance 10/32)
        epyc-7763-2s-nps2: 2 sockets x 8 LLCs x 8 cores x 2 threads = 256 CPUs, 4 nodes (distance 10/12/32)
        epyc-7763-2s-nps4: 2 sockets x 8 LLCs x 8 cores x 2 threads = 256 CPUs, 8 nodes (distance 10/12/32)
        epyc-9654-2s: 2 sockets x 12 LLCs x 8 cores x 2 threads = 384 CPUs, 2 nodes (distance 10/32)
        xeon-spr-snc4: 2 sockets x 4 LLCs x 14 cores x 2 threads = 224 CPUs, 8 nodes (distance 10/12/21)
        xeon-e5-4s-80: 4 sockets x 10 cores x 2 threads = 80 CPUs, 4 nodes (distance 10/21)
        bulldozer-8n: 4 sockets x 2 LLCs x 4 cores x 2 threads = 64 CPUs, 8 nodes (distance 10/16/22)
        ampere-altra: 1 socket, 80 LLCs, 40 clusters, 80 cores = 80 CPUs, generic levels
        grace: 1 socket x 72 cores = 72 CPUs, generic levels
        grace-2s: 2 sockets x 72 cores = 144 CPUs, 2 nodes (distance 10/40), generic levels
        uv-16s: 16 sockets x 60 cores x 2 threads = 1920 CPUs, 16 nodes (distance 10/21/31)
        c1: 1 socket x 1 core = 1 CPU
        c2: 1 socket x 2 cores = 2 CPUs
        c8flat: 1 socket x 8 cores = 8 CPUs
        c8isol: 1 socket x 8 cores = 8 CPUs, isolated 6-7
        c4t2: 1 socket x 4 cores x 2 threads = 8 CPUs
        c24t2: 1 socket x 24 cores x 2 threads = 48 CPUs
        s2c2t2n2: 2 sockets x 2 cores x 2 threads = 8 CPUs, 2 nodes (distance 10/20)
        s2d2: 2 sockets x 2 LLCs x 2 cores = 8 CPUs
        ccx: 1 socket x 2 LLCs x 4 cores x 2 threads = 16 CPUs
        clus: 1 socket x 2 clusters x 4 cores = 8 CPUs
        n4ring: 4 sockets x 2 cores = 8 CPUs, 4 nodes (distance 10/20/30)
        n4far: 4 sockets x 2 cores = 8 CPUs, 4 nodes (distance 10/25/40)
        n8mesh3: 8 sockets x 2 cores = 16 CPUs, 8 nodes (distance 10/16/22/28)
        s4n4eq: 4 sockets x 4 cores = 16 CPUs, 4 nodes (distance 10/21)
        c64: 2 sockets x 16 cores x 2 threads = 64 CPUs, 2 nodes (distance 10/21)
    "#]].assert_eq(&text);
}

#[test]
fn every_kernel_builds_the_domains_of_every_preset() {
    for preset in presets() {
        let machine = preset.machine();
        for kernel in kernels::ALL {
            if let Err(error) = Domains::build(&machine, kernel, 0) {
                panic!("{} {}: {error}", preset.name, kernel.build);
            }
        }
    }
}

/// The names of the domains of CPU 0, and the groups of the last one.
fn domains_of_cpu_0(preset: &str) -> (Vec<String>, Vec<String>) {
    let machine = load(preset).unwrap();
    let domains = Domains::build(&machine, kernels::DEFAULT, 0).unwrap();
    let chain: Vec<_> = domains.chain(CpuId(0)).map(|id| &domains.domains[id.index()]).collect();
    let top = chain.last().unwrap();
    let groups = domains.ring(top.groups).map(|id| domains.groups[id.index()].span.to_string());
    (chain.iter().map(|domain| domain.name.to_string()).collect(), groups.collect())
}

#[test]
fn the_bulldozer_has_the_groups_of_the_wasted_cores_paper() {
    // Lozi et al. 2016 §3.2: for node 0 the first group holds nodes 0, 1, 2, 4 and 6, the second node 3 and those one hop
    // from it, 1, 2, 4, 5 and 7; nodes 1 and 2 are two hops apart and in both.
    let (_, groups) = domains_of_cpu_0("bulldozer-8n");
    let cpus = |nodes: &[u32]| -> String {
        let list: Vec<String> = nodes.iter().map(|node| format!("{}-{}", node * 8, node * 8 + 7)).collect();
        evenkeel::mask::CpuMask::parse_list(&list.join(","), 64).unwrap().to_string()
    };
    assert_eq!(groups, [cpus(&[0, 1, 2, 4, 6]), cpus(&[1, 2, 3, 4, 5, 7])]);
    assert_eq!(load("bulldozer-8n").unwrap().distance(1, 2), 22);
}

#[test]
fn presets_have_the_levels_the_specification_gives_their_shape() {
    let names = |preset: &str| domains_of_cpu_0(preset).0.join(" ");
    // A node per socket holds several caches: PKG stays (spec 1 §17 (e)).
    assert_eq!(names("epyc-7763-2s-nps1"), "SMT MC PKG NUMA");
    // Several nodes in a package drop PKG, NODE takes its place (spec 1 §3.2); then same socket, other socket.
    assert_eq!(names("epyc-7763-2s-nps4"), "SMT MC NODE NUMA NUMA");
    assert_eq!(names("xeon-spr-snc4"), "SMT MC NUMA NUMA");
    assert_eq!(names("xeon-e5-4s-80"), "SMT MC NUMA");
    // P-cores are alone on their L2, which CLS then repeats; an E-core would have CLS instead of SMT.
    assert_eq!(names("laptop-hybrid"), "SMT MC");
    // Pairs widen MC, which starts as the core's own cache (spec 1 §3.3).
    assert_eq!(names("ampere-altra"), "MC PKG");
    // One shared cache on the generic table (spec 1 §17 (f2)).
    assert_eq!(names("phone-biglittle"), "MC");
}

#[test]
fn unknown_machines_list_what_was_tried_and_what_is_near() {
    let error = load("epyc-7763-nps1").unwrap_err().to_string();
    assert!(error.contains("no such file"), "{error}");
    assert!(error.contains("did you mean epyc-7763-2s-nps1"), "{error}");
    assert!(load("zzz").unwrap_err().to_string().contains("presets: laptop-hybrid, "));
    assert!(load("bulldozer").unwrap_err().to_string().contains("did you mean bulldozer-8n"));
    assert!(load("").is_err());
}

#[test]
fn this_host_can_be_read_where_it_is_linux() {
    if Path::new("/sys/devices/system/cpu/online").exists() {
        let loaded = machine::load_with_notes("host").unwrap();
        assert!(!describe(&loaded.machine).is_empty());
    }
}

/// Pieces of one-line machines, so that random texts get past the first word.
const PIECES: [&str; 44] = [
    "2",
    "4",
    "8",
    "0",
    "3",
    "16",
    "70000",
    " ",
    ",",
    "x",
    "×",
    "*",
    "/",
    "+",
    "-",
    "[",
    "]",
    ";",
    ":",
    "sockets",
    "nodes",
    "dies",
    "llc",
    "clusters",
    "cores",
    "threads",
    "cpus",
    "distance 10",
    "distances",
    "10",
    "21",
    "ring",
    "line",
    "capacity",
    "446",
    "1024",
    "numbering interleaved",
    "arm",
    "isolated",
    "offline",
    "per socket",
    "pu:",
    "core:",
    "itmt",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_a_machine_or_an_error(text in ".{0,60}") {
        if let Ok(loaded) = oneline::parse(&text) {
            loaded.machine.validate().unwrap();
        }
    }

    #[test]
    fn any_pieces_are_a_machine_or_an_error(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24)) {
        match oneline::parse(&pieces.join(" ")) {
            Ok(loaded) => {
                loaded.machine.validate().unwrap();
                prop_assert!(!describe(&loaded.machine).is_empty());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_shape_has_the_counts_it_names(sockets in 1u32..4, llcs in 1u32..4, clusters in 1u32..3, cores in 1u32..4,
                                         threads in 1u32..3, interleaved: bool) {
        let numbering = if interleaved { "interleaved" } else { "adjacent" };
        let text = format!("{sockets} sockets x {llcs} llc x {clusters} clusters x {cores} cores x {threads} threads, \
                            numbering {numbering}");
        let machine = oneline::parse(&text).unwrap().machine;
        let distinct = |key: fn(&evenkeel::topology::Cpu) -> Option<u32>| {
            machine.cpus.iter().map(key).collect::<std::collections::BTreeSet<_>>().len() as u32
        };
        prop_assert_eq!(machine.nr_cpus() as u32, sockets * llcs * clusters * cores * threads);
        prop_assert_eq!(distinct(|cpu| Some(cpu.core)), sockets * llcs * clusters * cores);
        prop_assert_eq!(distinct(|cpu| cpu.llc), sockets * llcs);
        prop_assert_eq!(distinct(|cpu| Some(cpu.package)), sockets);
        prop_assert_eq!(distinct(|cpu| Some(cpu.node)), sockets);
        let expected = if cores > 1 { sockets * llcs * clusters } else { 1 };
        prop_assert_eq!(distinct(|cpu| cpu.cluster), expected);
    }
}

/// Any valid machine: ids with gaps, nodes without CPUs, offline CPUs, all options.
fn any_machine() -> impl Strategy<Value = Machine> {
    let cpu = (
        0u32..3,
        prop::option::of(0u32..3),
        0u32..3,
        1u32..=1024,
        prop::option::of(-5i32..100),
        any::<bool>(),
    );
    let cpus = prop::collection::vec(cpu, 1..20);
    let options = (
        any::<bool>(),
        prop::option::of(any::<bool>()),
        prop::option::of(11u32..60),
        any::<bool>(),
        0u64..256,
    );
    (cpus, options, 1usize..5, "[ -~é]{0,12}").prop_map(|(cpus, options, nr_nodes, name)| {
        let (itmt, numa_in_package, node_reclaim_distance, generic, isolated) = options;
        let nr_cpus = cpus.len();
        let cpus = cpus.into_iter().enumerate().map(|(i, (a, b, c, capacity, asym_priority, online))| {
            // Cores of two neighbours; what they share follows from the core.
            let core = i as u32 / 2;
            evenkeel::topology::Cpu {
                core: core * 7,
                cluster: b.map(|b| b * 2),
                llc: (!core.is_multiple_of(3)).then_some(core / 2),
                die: a + c,
                package: core / 3,
                node: core % nr_nodes as u32,
                capacity,
                asym_priority,
                online: online || i == 0,
            }
        });
        let mut distances = vec![25; nr_nodes * nr_nodes];
        (0..nr_nodes).for_each(|node| distances[node * nr_nodes + node] = 10);
        Machine {
            name: format!("m{name}"),
            source: name,
            cpus: cpus.collect(),
            nr_nodes,
            distances,
            arch: if generic { evenkeel::topology::Arch::Generic } else { evenkeel::topology::Arch::X86 },
            node_reclaim_distance,
            uneven_package_distances: false,
            numa_in_package,
            itmt,
            isolated: evenkeel::mask::CpuMask::from_words(&[isolated & ((1 << nr_cpus.min(8)) - 1)], nr_cpus),
        }
    })
}

proptest! {
    #[test]
    fn saving_and_reading_gives_the_same_machine(machine in any_machine(), note in "[ -~]{0,20}") {
        machine.validate().unwrap();
        let loaded = machine::LoadedMachine { machine, notes: vec![note] };
        let text = machine::save_with_notes(&loaded);
        prop_assert_eq!(machine::load_text(&text, "x.toml").unwrap(), loaded);
    }

    /// Files of every format with a piece cut out or put in: a machine or an error, never a panic.
    #[test]
    fn damaged_files_are_a_machine_or_an_error(file in 0usize..9, from in 0usize..200_000, len in 0usize..60, put in ".{0,8}") {
        let texts = damaged_texts();
        let text = &texts[file % texts.len()];
        let from = (from % text.len()..).find(|&i| text.is_char_boundary(i)).unwrap();
        let to = (from + len).min(text.len());
        let to = (to..).find(|&i| text.is_char_boundary(i)).unwrap();
        let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
        match machine::load_text(&damaged, "damaged") {
            Ok(loaded) => loaded.machine.validate().unwrap(),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

fn damaged_texts() -> &'static [String] {
    static TEXTS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    TEXTS.get_or_init(|| {
        let base = data("s2c2t2n2");
        let mut texts = vec![save(&load("s2c2t2n2").unwrap())];
        for file in ["lscpu-p.txt", "lscpu-e.json", "lscpu.json", "lscpu.txt"] {
            texts.push(fs::read_to_string(base.join(file)).unwrap());
        }
        for file in ["hwloc.xml.gz", "hwloc-v1.xml.gz", "raw.txt.gz", "sched.json.gz"] {
            texts.push(unpack(&base.join(file)));
        }
        texts
    })
}
