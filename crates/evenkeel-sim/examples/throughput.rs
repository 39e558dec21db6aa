//! How fast the simulator is: periodic tasks that load a machine to 80 %, everything modelled, no observer.
//!
//! `cargo run --release -p evenkeel-sim --example throughput [-- CPUS TASKS SECONDS]`
//! prints simulated seconds per CPU second, nanoseconds per event, and peak resident memory. Without arguments it runs
//! 8 CPUs with 100 tasks for 20 s, then 64 CPUs with 1000 tasks for 5 s.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::Silent;
use evenkeel::time::{MS, SEC, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{Op, Phase, Program, Repeat, TaskSpec, TimerOp, TimerRef, Workload};
use evenkeel_sim::{SimError, SimParams, Simulation};
use std::fs;

/// Periods of 5 to 20 ms; the load is spread evenly over the tasks.
fn periodic(cpus: u32, tasks: u32) -> Workload {
    let spec = |index: u32| {
        let period = (5 + u64::from(index) * 7 % 16) * MS + u64::from(index) % 13 * 10 * US;
        let work = period * u64::from(cpus) * 8 / (u64::from(tasks) * 10);
        let timer = TimerOp { timer: TimerRef::Private(0), period, absolute: false };
        let phase =
            Phase { ops: vec![Op::Run(work), Op::Timer(timer)], repeat: Repeat::Forever, ..Phase::default() };
        let program = Program { phases: vec![phase], repeat: Repeat::Forever };
        TaskSpec { name: format!("p{index}"), instances: 1, program, ..TaskSpec::default() }
    };
    Workload { name: "periodic".into(), tasks: (0..tasks).map(spec).collect(), ..Workload::default() }
}

/// CPU time of this process so far, in seconds: user and system clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn measure(cpus: u32, tasks: u32, seconds: u64) -> Result<(), SimError> {
    let machine = match cpus {
        64 => Machine::regular(2, 1, 16, 2, true),
        cpus => Machine::regular(1, 1, cpus, 1, false),
    };
    let workload = periodic(cpus, tasks);
    let before = cpu_seconds();
    let mut sim = Simulation::new(&machine, &V6_12_117, &workload, SimParams::default(), Silent)?;
    sim.run_until(seconds * SEC)?;
    let result = sim.result();
    let spent = cpu_seconds() - before;
    let busy: u64 = result.cpus.iter().map(|cpu| cpu.busy).sum();
    let migrations: u64 = result.tasks.iter().map(|task| task.migrations.total()).sum();
    println!(
        "{cpus} CPUs, {tasks} tasks, {seconds} s: {spent:.2} CPU s = {:.1} simulated s per CPU s; {} events, {:.0} ns each; \
         busy {:.1} %; {migrations} migrations; peak memory {}",
        seconds as f64 / spent,
        result.events,
        spent * 1e9 / result.events as f64,
        busy as f64 * 100.0 / (seconds * SEC * u64::from(cpus)) as f64,
        peak_memory(),
    );
    Ok(())
}

fn main() -> Result<(), SimError> {
    let args: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    match args[..] {
        [cpus, tasks, seconds] => measure(cpus, tasks, u64::from(seconds)),
        _ => {
            measure(8, 100, 20)?;
            measure(64, 1000, 5)
        }
    }
}
