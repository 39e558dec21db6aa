//! Views shaped like the kernel's files: one small parser reads what real kernels printed (`tests/data/views`) and what
//! is printed here, and finds the same sections, names and numbers of fields.
#![allow(missing_docs)]
mod common;

use common::workload;
use evenkeel::kernel::Kernel;
use evenkeel::kernels::{self, ALL, V6_12_117};
use evenkeel::observe::Silent;
use evenkeel::sched::BOOT_NS;
use evenkeel::time::MS;
use evenkeel::topology::Machine;
use evenkeel_sim::sched_debug::sched_debug;
use evenkeel_sim::schedstat::schedstat;
use evenkeel_sim::{SimParams, Simulation};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The part of a recording after `@@ path`.
fn recorded(kernel: &str, path: &str) -> String {
    let name = format!("tests/data/views/{kernel}-c4t2.txt.gz");
    let file = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(&name)).unwrap();
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let part = text.split("@@ ").find_map(|part| part.strip_prefix(path)?.strip_prefix('\n'));
    part.unwrap_or_else(|| panic!("{name} has {path}")).to_owned()
}

fn simulated(kernel: &Kernel) -> Simulation<Silent> {
    let machine = Machine::regular(1, 1, 4, 2, false);
    let work = workload("spin x10: run 1s; forever\nnap x3 nice 5: run 2ms; sleep 5ms; forever");
    let mut sim = Simulation::new(&machine, kernel, &work, SimParams::default(), Silent).unwrap();
    sim.run_until(101 * MS).unwrap();
    sim
}

/// Line by line: the first word without its digits, and the numbers of fields by kind.
fn schedstat_shape(text: &str) -> (u32, BTreeMap<String, Vec<usize>>) {
    let mut lines = text.lines();
    let version =
        lines.next().and_then(|line| line.strip_prefix("version ")).expect("the version comes first");
    let mut shape: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = fields[0].trim_end_matches(|c: char| c.is_ascii_digit());
        let is_number = |field: &&&str| field.parse::<u64>().is_ok();
        let numbers = fields[1..].iter().rev().take_while(is_number).count();
        // A mask such as `03` is a number, too.
        let others = fields.len() - 1 - numbers;
        let counts = shape.entry(kind.to_owned()).or_default();
        counts.push(numbers + others);
    }
    shape.values_mut().for_each(|counts| counts.dedup());
    (version.parse().unwrap(), shape)
}

#[test]
fn schedstat_has_the_fields_its_version_says() {
    // Spec 1 §15: a mask and 36 numbers up to version 16; a name, a mask and 45 numbers in 17.
    for (kernel, version, fields) in [("6.1", 15, 37), ("6.12", 16, 37), ("6.18", 17, 47), ("7.2", 17, 47)] {
        let (found, shape) = schedstat_shape(&recorded(kernel, "/proc/schedstat"));
        assert_eq!(found, version, "{kernel}");
        assert_eq!((&shape["cpu"], &shape["domain"]), (&vec![9], &vec![fields]), "{kernel}");
    }
    for kernel in ALL.iter().filter(|kernel| kernel.runs) {
        let (version, shape) = schedstat_shape(&schedstat(simulated(kernel).sched()));
        assert_eq!(version, kernel.schedstat_version);
        let fields = if version >= 17 { 47 } else { 37 };
        assert_eq!((&shape["cpu"], &shape["domain"]), (&vec![9], &vec![fields]), "{}", kernel.build);
    }
}

/// Reads `/proc/schedstat` as strictly as tools do that find fields by their place (`perf sched stats`, scripts around
/// `awk`): version, timestamp, then each CPU with its nine numbers and its domains from 0 up. By CPU the names and masks of its
/// domains; names only where the version has them.
fn strict(text: &str) -> Result<(u32, Vec<Vec<String>>), String> {
    let mut lines = text.lines();
    let mut next = || lines.next().ok_or("too few lines");
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
    let version = number(next()?.strip_prefix("version ").ok_or("no version")?)? as u32;
    number(next()?.strip_prefix("timestamp ").ok_or("no timestamp")?)?;
    let (fields, named) = match version {
        15 | 16 => (36, false),
        17 => (45, true),
        other => return Err(format!("version {other}")),
    };
    let mut cpus: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        if let Some(cpu) = kind.strip_prefix("cpu") {
            if number(cpu)? != cpus.len() as u64 {
                return Err(format!("{kind} is out of order"));
            }
            cpus.push(Vec::new());
            let numbers = words.map(number).collect::<Result<Vec<_>, _>>()?;
            if numbers.len() != 9 {
                return Err(format!("{} numbers in {line}", numbers.len()));
            }
        } else {
            let domains = cpus.last_mut().ok_or("a domain before the first CPU")?;
            if number(kind.strip_prefix("domain").ok_or(format!("what is {kind}?"))?)? != domains.len() as u64
            {
                return Err(format!("{kind} is out of order"));
            }
            let name = if named { words.next().ok_or("no name")? } else { "" };
            let mask = words.next().ok_or("no mask")?;
            if !mask.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b',') {
                return Err(format!("{mask} is no mask"));
            }
            domains.push(format!("{name} {mask}"));
            let numbers = words.map(number).collect::<Result<Vec<_>, _>>()?;
            if numbers.len() != fields {
                return Err(format!("{} numbers in {line}", numbers.len()));
            }
        }
    }
    Ok((version, cpus))
}

/// The recorded machine has the shape of the simulated one, so a strict reader finds the same domains in both texts.
#[test]
fn a_strict_reader_of_schedstat_reads_both_alike() {
    for (recording, kernel) in [("6.1", "v6.1"), ("6.12", "v6.12"), ("6.18", "v6.18"), ("7.2", "v7.2")] {
        let real = strict(&recorded(recording, "/proc/schedstat")).unwrap();
        let ours = strict(&schedstat(simulated(kernels::find(kernel).unwrap()).sched())).unwrap();
        assert_eq!(ours, real, "{kernel}");
        assert_eq!((real.1.len(), real.1[0].len()), (8, 2));
    }
    for kernel in ["v4.19", "v5.15"] {
        // Not recorded; spec 1 §15: version 15 as v6.1 prints it.
        let ours = strict(&schedstat(simulated(kernels::find(kernel).unwrap()).sched())).unwrap();
        assert_eq!(ours, strict(&recorded("6.1", "/proc/schedstat")).unwrap(), "{kernel}");
    }
    let broken = recorded("6.12", "/proc/schedstat").replace("cpu1 ", "cpu1 7 ");
    assert!(strict(&broken).is_err());
}

/// A parsed `sched/debug`.
#[derive(Debug, Default)]
struct Debug {
    /// Sections such as `cfs_rq[N]:/`, numbers replaced, with the names of their values in order.
    sections: BTreeMap<String, Vec<String>>,
    /// Values by section as written and name.
    values: BTreeMap<(String, String), String>,
    /// Fields of the rows of the task tables, with the CPU.
    tasks: Vec<(String, Vec<String>)>,
}

impl Debug {
    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        let (mut section, mut cpu, mut in_tasks) = (String::new(), String::new(), false);
        for line in text.lines() {
            if let Some(number) = line.strip_prefix("cpu#") {
                // Where the frequency is known it follows after a comma.
                cpu = number.split(',').next().unwrap_or(number).to_owned();
                section = format!("cpu#{cpu}");
                in_tasks = false;
            } else if line == "runnable tasks:" {
                in_tasks = true;
            } else if let Some(value) = line.strip_prefix("  .") {
                let (name, value) = value.split_once(':').expect("a name and a value");
                let generic = section.replace(|c: char| c.is_ascii_digit(), "");
                all.sections.entry(generic).or_default().push(name.trim_end().to_owned());
                let key = (section.clone(), name.trim_end().to_owned());
                all.values.insert(key, value.trim().to_owned());
            } else if in_tasks && !line.is_empty() && !line.contains(" PID ") && !line.starts_with('-') {
                // The state may stick to the mark of the running task.
                let row = line.strip_prefix('>').unwrap_or(line);
                all.tasks.push((cpu.clone(), row.split_whitespace().map(str::to_owned).collect()));
            } else if !in_tasks && !line.is_empty() {
                section = line.trim_end_matches(':').to_owned();
            }
        }
        for (section, names) in &mut all.sections {
            // Every CPU repeats them.
            let first = names[0].clone();
            if let Some(period) = names.iter().skip(1).position(|name| *name == first) {
                let once: Vec<String> = names[..=period].to_vec();
                let same = names.chunks(once.len()).all(|chunk| chunk == once);
                assert!(same, "all CPUs print the same lines in {section}: {names:?}");
                *names = once;
            }
        }
        all
    }
}

fn is_split(field: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let field = field.strip_prefix('-').unwrap_or(field);
    field.split_once('.').is_some_and(|(whole, part)| digits(whole) && digits(part) && part.len() == 6)
}

#[test]
fn sched_debug_has_the_sections_and_columns_of_the_recorded_kernel() {
    for (recording, kernel) in [("6.1", "v6.1"), ("6.12", "v6.12"), ("6.18", "v6.18"), ("7.2", "v7.2")] {
        let text = recorded(recording, "/sys/kernel/debug/sched/debug");
        let shown = sched_debug(&simulated(kernels::find(kernel).unwrap())).unwrap();
        let (real, ours) = (Debug::parse(&text), Debug::parse(&shown));
        let names = |debug: &Debug| debug.sections.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&real), "{kernel}: the same sections");
        for (section, names) in &real.sections {
            let expected: Vec<&String> =
                names.iter().filter(|name| *name != "sysctl_sched_features").collect();
            assert_eq!(ours.sections[section].iter().collect::<Vec<_>>(), expected, "{kernel}: {section}");
        }
        for (place, value) in &real.values {
            if let Some(got) = ours.values.get(place) {
                assert_eq!(is_split(got), is_split(value), "{kernel}: {place:?}: {got} as {value}");
                // What does not depend on what ran: settings, and the bandwidth of deadline tasks.
                if ["sysctl_", "dl_bw"].iter().any(|kind| place.1.starts_with(kind)) {
                    assert_eq!(got, value, "{kernel}: {place:?}");
                }
            }
        }
        assert_eq!(heading(&shown), heading(&text), "{kernel}: the heading of the tasks");
        let split = |fields: &Vec<String>| fields.iter().map(|field| is_split(field)).collect::<Vec<_>>();
        let columns = split(&real.tasks[0].1);
        let rows = real.tasks.iter().chain(&ours.tasks);
        assert!(rows.clone().count() > real.tasks.len());
        assert!(rows.into_iter().all(|(_, fields)| split(fields) == columns), "{kernel}");
        assert_eq!(row_ends(&shown), row_ends(&text), "{kernel}: columns end where they do");
    }
}

/// The heading of the first table of tasks, with the line below it.
fn heading(text: &str) -> Vec<&str> {
    text.lines().skip_while(|line| *line != "runnable tasks:").skip(1).take(2).collect()
}

/// Where the columns of numbers with six digits after the point end, in the rows of tasks.
fn row_ends(text: &str) -> Vec<usize> {
    let is_row = |line: &&str| line.starts_with([' ', '>']) && line.ends_with('/') && !line.contains("PID");
    let row = text.lines().find(is_row).unwrap_or_else(|| panic!("there is a row of a task in {text}"));
    let points = row.match_indices('.').map(|(at, _)| at);
    points.filter(|&at| row[at + 1..].bytes().take_while(u8::is_ascii_digit).count() == 6).collect()
}

#[test]
fn sched_debug_says_what_the_scheduler_holds() {
    let sim = simulated(&V6_12_117);
    let debug = Debug::parse(&sched_debug(&sim).unwrap());
    // Ten spinners, three that nap, and the task that forked them.
    assert_eq!(debug.tasks.len(), 14);
    let clock = (BOOT_NS + sim.now()) / MS;
    for rq in sim.sched().rqs() {
        let value = |section: &str, name: &str| &debug.values[&(section.to_owned(), name.to_owned())];
        let (cpu, queue) = (format!("cpu#{}", rq.cpu), format!("cfs_rq[{}]:/", rq.cpu));
        assert_eq!(value(&cpu, "nr_running"), &rq.nr_running.to_string());
        assert_eq!(value(&queue, "load_avg"), &sim.sched().queues()[rq.cpu.index()].avg.load_avg.to_string());
        assert!(value(&cpu, "clock").split('.').next().unwrap().parse::<u64>().unwrap() <= clock);
        let here = debug.tasks.iter().filter(|(on, _)| *on == rq.cpu.to_string()).count();
        assert_eq!(here, sim.sched().tasks().iter().filter(|(_, task)| task.cpu == rq.cpu).count());
    }
    let nice: Vec<_> = debug.tasks.iter().filter(|(_, row)| row[1].starts_with("nap")).collect();
    assert!(nice.len() == 3 && nice.iter().all(|(_, row)| row[9] == "125"), "nice 5 is priority 125");
}

#[test]
fn layouts_that_are_not_known_are_an_error() {
    let unknown = Kernel { debug_layout: evenkeel::kernel::DebugLayout::Unknown, ..V6_12_117 };
    let error = sched_debug(&simulated(&unknown)).unwrap_err();
    assert!(error.to_string().contains("v6.12.117"), "{error}");
}
