//! Domain trees against those that real kernels built (`tests/data/domains/README.md`).
#![allow(missing_docs)]
use evenkeel::ids::CpuId;
use evenkeel::kernels;
use evenkeel::topology::{Domains, debugfs, schedstat};
use evenkeel_formats::conform::domains::{compare, compare_with};
use evenkeel_formats::recording::{self, DomainsRecording};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/domains")
}

fn recorded(series: &str, topology: &str) -> DomainsRecording {
    recording::read(&data().join(series).join(topology).join("sched.json.gz")).unwrap()
}

const TOPOLOGIES: [&str; 15] = [
    "c1", "c2", "c8flat", "c4t2", "c24t2", "s2c2t2n2", "n4ring", "n8mesh3", "s2d2", "clus", "c64", "ccx",
    "s4n4eq", "n4far", "c8isol",
];

/// All recordings of one kernel series; the message names each that differs.
fn all_are_exact(series: &str) {
    let results: Vec<_> = TOPOLOGIES.iter().map(|topology| compare(&recorded(series, topology))).collect();
    let wrong: Vec<String> =
        results.iter().filter(|result| !result.is_exact()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(results.iter().all(|result| result.compared > 30));
}

#[test]
fn trees_are_those_of_6_1_0_52_amd64() {
    all_are_exact("6.1");
}

#[test]
fn trees_are_those_of_6_12_117_deb12_amd64() {
    all_are_exact("6.12");
}

#[test]
fn trees_are_those_of_6_18_15_deb13_amd64() {
    all_are_exact("6.18");
}

#[test]
fn trees_are_those_of_7_2_13_deb14_amd64() {
    all_are_exact("7.2");
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// The domain lines of `/proc/schedstat` of recorded kernels, letter by letter: statistics were off, so all counters
/// are 0.
#[test]
fn schedstat_lines_are_those_of_the_kernels() {
    for series in ["6.1", "6.12", "6.18", "7.2"] {
        for topology in ["s2c2t2n2", "c64", "c8isol"] {
            let recording = recorded(series, topology);
            let (machine, kernel) = (&recording.machine, recording.kernel);
            let domains = Domains::build(machine, kernel, 0).unwrap();
            let text = unpacked(&data().join(series).join(topology).join("schedstat.txt.gz"));
            let mut recorded =
                text.lines().filter(|line| line.starts_with("cpu") || line.starts_with("domain"));
            for cpu in &machine.online() {
                let line = recorded.next().unwrap();
                assert!(line.starts_with(&format!("cpu{cpu} ")), "{series} {topology}: {line}");
                for (m, id) in domains.chain(cpu).enumerate() {
                    let domain = &domains.domains[id.index()];
                    let line = schedstat::domain_line(domain, m, machine.nr_cpus(), kernel);
                    assert_eq!(recorded.next(), Some(line.as_str()), "{series} {topology} cpu{cpu}");
                }
            }
            assert_eq!(recorded.next(), None, "{series} {topology}");
        }
    }
}

/// The files of debugfs as 6.12.117+deb12-amd64 showed them (`tests/data/machine/README.md`), letter by letter.
#[test]
fn debugfs_files_are_those_of_6_12_117_deb12_amd64() {
    for topology in ["s2c2t2n2", "n4ring", "clus", "c8isol"] {
        let recording = recorded("6.12", topology);
        let (machine, kernel) = (&recording.machine, recording.kernel);
        let domains = Domains::build(machine, kernel, 0).unwrap();
        let raw = unpacked(&data().join("../machine").join(topology).join("raw.txt.gz"));
        let mut recorded = BTreeMap::new();
        for section in
            raw.split("@@ ").filter_map(|file| file.strip_prefix("/sys/kernel/debug/sched/domains/"))
        {
            let (path, contents) = section.split_once('\n').unwrap();
            recorded.insert(path.to_owned(), contents.strip_suffix('\n').unwrap_or(contents).to_owned());
        }
        let mut computed = BTreeMap::new();
        for cpu in 0..machine.nr_cpus() as u32 {
            for (m, id) in domains.chain(CpuId(cpu)).enumerate() {
                for (file, contents) in debugfs::files(&domains, kernel, &domains.domains[id.index()]) {
                    computed.insert(format!("cpu{cpu}/domain{m}/{file}"), contents);
                }
            }
        }
        // What a new-idle pass costs depends on the host.
        recorded.retain(|path, _| !path.ends_with("/max_newidle_lb_cost"));
        computed.retain(|path, _| !path.ends_with("/max_newidle_lb_cost"));
        assert_eq!(recorded, computed, "{topology}");
    }
}

#[test]
fn recordings_are_found_below_a_directory() {
    let found = recording::find(&data()).unwrap();
    assert_eq!(found.len(), 60);
    assert!(found.is_sorted());
    assert_eq!(recording::find(&found[7]).unwrap(), [found[7].clone()]);
    assert!(recording::find(&data().join("nothing")).is_err());
}

/// A comparison that cannot fail proves nothing: another kernel's rules must be found out.
#[test]
fn the_wrong_kernel_is_noticed() {
    let recording = recorded("7.2", "c8isol");
    let result = compare_with(&recording, kernels::find("v6.18").unwrap());
    let text = result.to_string();
    // 7.2 takes the interval from the span (6 CPUs), 6.18 from all 8 (spec 1 §16).
    assert!(text.contains("cpu0 domain0 min_interval: recorded `6`, computed `8`"), "{text}");
}

#[test]
fn errors_name_the_file_and_the_field() {
    let error = |text: &str| recording::parse(text, "x.json").unwrap_err().to_string();
    let machine = r#""topology":"t","cpus":[{"cpu":0,"physical_package_id":0,"thread_siblings_list":"0"}]"#;
    let text = error(&format!(r#"{{"kernel":"5.4.0",{machine},"domains":{{}}}}"#));
    assert_eq!(
        text,
        "x.json: `kernel` is `5.4.0`, expected a release of v4.19, v5.15, v6.1, v6.12, v6.18, v7.2"
    );
    let text = error(&format!(r#"{{"kernel":"6.12.1",{machine},"domains":{{"4":[]}}}}"#));
    assert_eq!(text, "x.json: domains.4: expected a CPU of the machine");
}
