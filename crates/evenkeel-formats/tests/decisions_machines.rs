//! The reader of balancing decisions on every machine there is a recording of, with records made here: what a record of
//! another machine could hold (masks of 64 CPUs, several levels of one name, overlapping groups, isolated CPUs, kernels
//! without some fields) must not be taken for a difference, nor end in a panic. That the rules are right is shown elsewhere,
//! by recorded decisions.
#![allow(missing_docs)]
use core::fmt::Write as _;
use evenkeel::balance::env::{FbqType, IdleType};
use evenkeel::balance::source::SrcRq;
use evenkeel::balance::stats::{Search, SgStats};
use evenkeel::balance::view::CpuRow;
use evenkeel::ids::{CpuId, DomainId, GroupId};
use evenkeel::kernel::Kernel;
use evenkeel::mask::CpuMask;
use evenkeel::rng::Rng;
use evenkeel::topology::{Domains, Rebuild, SdFlags};
use evenkeel_formats::conform::decisions::{Report, compare};
use evenkeel_formats::recording::{self, DomainsRecording, decisions};
use std::path::{Path, PathBuf};

fn recordings() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/domains");
    let directories = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let series = directories(root).filter(|path| path.is_dir());
    let mut all: Vec<PathBuf> = series
        .flat_map(directories)
        .map(|path| path.join("sched.json.gz"))
        .filter(|path| path.is_file())
        .collect();
    all.sort();
    assert!(all.len() >= 60);
    all
}

/// A mask as kernels print it: groups of eight digits.
fn mask(cpus: &CpuMask, ncpus: usize) -> String {
    let word = |word: usize| {
        let bit = |bit: &usize| cpus.contains(CpuId::from_index(word * 32 + bit));
        (0..32.min(ncpus - word * 32)).filter(bit).fold(0u32, |sum, bit| sum | 1 << bit)
    };
    let words: Vec<String> = (0..ncpus.div_ceil(32)).rev().map(|w| format!("{:08x}", word(w))).collect();
    words.join(",")
}

fn stats(stats: &SgStats, smt_balance: bool) -> String {
    let smt = if smt_balance {
        format!(",\"group_smt_balance\":{}", u32::from(stats.group_smt_balance))
    } else {
        String::from(",\"group_smt_balance\":null")
    };
    format!(
        "{{\"avg_load\":{},\"group_load\":{},\"group_capacity\":{},\"group_util\":{},\"group_runnable\":{},\
         \"sum_nr_running\":{},\"sum_h_nr_running\":{},\"idle_cpus\":{},\"group_weight\":{},\"group_type\":\"{}\",\
         \"group_asym_packing\":{},\"group_misfit_task_load\":{}{smt}}}",
        stats.avg_load,
        stats.group_load,
        stats.group_capacity,
        stats.group_util,
        stats.group_runnable,
        stats.sum_nr_running,
        stats.sum_h_nr_running,
        stats.idle_cpus,
        stats.group_weight,
        stats.group_type.name(),
        u32::from(stats.group_asym_packing),
        stats.group_misfit_task_load,
    )
}

/// A machine with random loads.
struct Scene<'a> {
    topo: &'a Domains,
    kernel: &'a Kernel,
    rows: Vec<CpuRow>,
}

impl Scene<'_> {
    fn new<'a>(topo: &'a Domains, kernel: &'a Kernel, rng: &mut Rng) -> Scene<'a> {
        let crowd = 1 + rng.below(4);
        let row = |cpu: usize| {
            let nr = rng.below(crowd + 1);
            let each = u64::from(1 + rng.below(1024));
            let load = u64::from(nr) * each;
            CpuRow::busy(cpu as u32, nr, load, load.min(1024), load)
        };
        Scene { topo, kernel, rows: (0..topo.cpus.len()).map(row).collect() }
    }

    /// A record of this level's search, if it is the CPU's turn and our own rules leave something to record.
    fn record(&self, sd: DomainId, dst_cpu: CpuId, idle: IdleType) -> Option<String> {
        let ncpus = self.topo.cpus.len();
        let domain = &self.topo.domains[sd.index()];
        let cpus = CpuMask::clone(&domain.span);
        let mut rows = self.rows.clone();
        if idle == IdleType::NewlyIdle {
            rows[dst_cpu.index()] = CpuRow { idle: false, ..CpuRow::idle(dst_cpu.0) };
        }
        let mut topo = self.topo.clone();
        topo.domains[sd.index()].nr_balance_failed = 0;
        for group in self.topo.ring(domain.groups) {
            let group = &self.topo.groups[group.index()];
            let sgc = &mut topo.capacities[group.sgc.index()];
            sgc.capacity = 1024 * u64::from(group.group_weight);
            (sgc.min_capacity, sgc.max_capacity) = (1024, 1024);
        }
        let of = |topo| Search {
            topo,
            view: rows.as_slice(),
            rules: &self.kernel.balance,
            sd,
            dst_cpu,
            idle,
            cpus: &cpus,
            energy_aware: Default::default(),
            gathering: None,
        };
        let search = of(&topo);
        if !search.should_we_balance().is_for(dst_cpu) {
            return None;
        }
        let mut sds = search.update_sd_lb_stats();
        let before = sds;
        let verdict = search.find_src_group(&mut sds);
        let found = verdict.imbalance.filter(|_| verdict.group.is_some());
        let queue = verdict.group.zip(found).and_then(|(group, found)| {
            let unit = found.migration_type.unwrap_or_default();
            search.find_src_rq(group, SrcRq::new(found.amount, unit, sds.fbq_type))
        });
        let unit = found.and_then(|found| found.migration_type).unwrap_or_default();
        let mut scan = String::new();
        let mut needed = String::from("null");
        if let Some(src) = queue {
            let nr = rows[src.index()].nr_running;
            if nr > 1 && domain.flags.contains(SdFlags::SHARE_CPUCAPACITY) {
                // Threads of a core are never hot, so all that wait would move.
                return None;
            }
            let amount = found.map_or(0, |found| found.amount);
            for number in 1..=(if nr > 1 { nr.min(32) } else { 0 }) {
                let comma = if number > 1 { "," } else { "" };
                write!(
                    scan,
                    "{comma}{{\"pid\":{number},\"comm\":\"t\",\"load\":1,\"util\":1,\"src\":{},\"imbalance\":{amount},\
                     \"flags\":\"0x0\",\"loop\":{number},\"loop_max\":{},\"can\":0,\"detached\":0}}",
                    src.0,
                    nr.min(32),
                )
                .unwrap();
            }
            let counts = idle != IdleType::NewlyIdle && unit.name() != "misfit";
            let mut later = topo.clone();
            later.domains[sd.index()].nr_balance_failed = u32::from(counts);
            needed = u32::from(of(&later).need_active_balance(src, unit).is_some()).to_string();
        }
        let span = |group: Option<GroupId>| {
            group.map(|group| format!("\"{}\"", mask(&self.topo.groups[group.index()].span, ncpus)))
        };
        let null = || String::from("null");
        let smt_balance = self.kernel.balance.groups.smt_balance;
        let row = |row: &CpuRow| {
            format!("[{0},{0},{1},{2},{3},0,1024,0]", row.nr_running, row.load, row.runnable, row.util)
        };
        let rq: Vec<String> = rows.iter().map(row).collect();
        let idle = match idle {
            IdleType::NotIdle => "busy",
            IdleType::Idle => "idle",
            IdleType::NewlyIdle => "newly_idle",
        };
        let fbq = match before.fbq_type {
            FbqType::Regular => "regular",
            FbqType::Remote => "remote",
            FbqType::All => "all",
        };
        Some(format!(
            "{{\"type\":\"lb\",\"on_cpu\":{dst},\"dst_cpu\":{dst},\"idle\":\"{idle}\",\"sd\":\"{}\",\"imbalance_pct\":{},\
             \"nr_balance_failed\":0,\"attempts\":[{{\"flags\":\"0x0\",\"cpus\":\"{}\",\"rq\":[{}],\"scan\":[{scan}],\
             \"sds\":{{\"busiest\":{},\"local\":{},\"total_load\":{},\"total_capacity\":{},\"prefer_sibling\":{},\
             \"busiest_stat\":{},\"local_stat\":{}}},\"out\":{{\"group\":{},\"imbalance\":{},\"migration_type\":{},\
             \"fbq\":\"{fbq}\"}},\"need_active\":{needed}}}],\"moved\":0}}",
            domain.name,
            domain.imbalance_pct,
            mask(&cpus, ncpus),
            rq.join(","),
            span(before.busiest).unwrap_or_else(null),
            span(before.local).unwrap(),
            before.total_load,
            before.total_capacity,
            u32::from(before.prefer_sibling),
            before.busiest.map_or_else(null, |_| stats(&before.busiest_stat, smt_balance)),
            stats(&before.local_stat, smt_balance),
            span(verdict.group).unwrap_or_else(null),
            found.map_or(0, |found| found.amount),
            verdict.group.map_or_else(null, |_| format!("\"{}\"", unit.name())),
            dst = dst_cpu.0,
        ))
    }
}

/// Records of all levels of some CPUs of a machine.
fn records(recording: &DomainsRecording, rng: &mut Rng) -> String {
    let options = Rebuild { relax_domain_level: recording.relax_domain_level, ..Rebuild::default() };
    let topo = Domains::build_with(&recording.machine, recording.kernel, &options).unwrap();
    let mut text = String::new();
    for _ in 0..6 {
        let scene = Scene::new(&topo, recording.kernel, rng);
        for cpu in (0..topo.cpus.len() as u32).map(CpuId).step_by(1 + topo.cpus.len() / 8) {
            for sd in topo.chain(cpu) {
                let now =
                    if scene.rows[cpu.index()].nr_running == 0 { IdleType::Idle } else { IdleType::NotIdle };
                for idle in [now, IdleType::NewlyIdle] {
                    text.extend(scene.record(sd, cpu, idle).map(|line| line + "\n"));
                }
            }
        }
    }
    text
}

fn check(recording: &DomainsRecording, text: &str) -> Report {
    let records = decisions::parse_lb(text, "made.jsonl").unwrap();
    compare(recording, recording.kernel, &records).unwrap()
}

#[test]
fn records_of_any_machine_are_read_as_what_they_are() {
    let (mut searches, mut rng) = (0, Rng::new(3, 5));
    for path in recordings() {
        let recording = recording::read(&path).unwrap();
        let report = check(&recording, &records(&recording, &mut rng));
        assert!(report.is_exact() && report.inferred.is_empty(), "{}: {report}", path.display());
        searches += report.total().exact;
    }
    assert!(searches > 3000, "{searches}");
}

/// Whatever becomes of a file on its way: an error that names the line, or a comparison, but no panic.
#[test]
fn garbled_lines_are_refused_or_compared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let recording = recording::read(&root.join("domains/6.12/n4ring/sched.json.gz")).unwrap();
    let mut rng = Rng::new(1, 2);
    let text = records(&recording, &mut rng);
    let (mut refused, mut compared) = (0, 0);
    for line in text.lines().step_by(7) {
        for _ in 0..60 {
            let mut bytes = line.as_bytes().to_vec();
            match rng.below(4) {
                0 => bytes.truncate(rng.below(bytes.len() as u32) as usize),
                1 => {
                    let at = rng.below(bytes.len() as u32) as usize;
                    bytes.remove(at);
                }
                2 => {
                    let at = rng.below(bytes.len() as u32) as usize;
                    bytes[at] = b" 0123456789abcxf\"{}[],:-"[rng.below(24) as usize];
                }
                _ => {
                    // Two numbers at once become huge.
                    for _ in 0..2 {
                        let digits: Vec<usize> =
                            (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
                        let at = digits[rng.below(digits.len() as u32) as usize];
                        bytes.splice(at..=at, *b"999999999");
                    }
                }
            }
            let text = String::from_utf8(bytes).unwrap();
            match decisions::parse_lb(&format!("\n{text}"), "x.jsonl") {
                Err(error) => {
                    assert!(error.to_string().starts_with("x.jsonl:2:"), "{error}");
                    refused += 1;
                }
                Ok(records) => {
                    compare(&recording, recording.kernel, &records).unwrap();
                    compared += 1;
                }
            }
        }
    }
    assert!(refused > 100 && compared > 100, "{refused} refused, {compared} compared");
}

#[test]
fn rows_are_of_eight_or_ten_numbers() {
    let row = |text: &str| serde_json::from_str::<decisions::RqRow>(text).map_err(|error| error.to_string());
    let ten = decisions::RqRow(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    assert_eq!(row("[1,2,3,4,5,6,7,8,9,10]"), Ok(ten));
    assert_eq!(row("[1,2,3,4,5,6,7,8]"), Ok(decisions::RqRow(1, 2, 3, 4, 5, 6, 7, 8, 0, 0)));
    let expected = "invalid length 9, expected a row of 10 numbers, or of 8 without the two of memory nodes";
    assert_eq!(row("[1,2,3,4,5,6,7,8,9]"), Err(expected.to_owned()));
}

/// A packed file that ends too soon is an error that names the file.
#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/decisions/6.12/c4t2/lb.jsonl.gz");
    let packed = std::fs::read(path).unwrap();
    let cut = std::env::temp_dir().join(format!("evenkeel-cut-{}.jsonl.gz", std::process::id()));
    std::fs::write(&cut, &packed[..packed.len() / 2]).unwrap();
    let error = decisions::read_lb(&cut).unwrap_err().to_string();
    std::fs::remove_file(&cut).unwrap();
    assert!(error.contains("evenkeel-cut-"), "{error}");
}
