//! Simulating a recorded workload many times, as on the recorded machine.
use super::measure::{Measures, Window, measure};
use super::record::Recorder;
use evenkeel::cost::CostModel;
use evenkeel::kernel::Kernel;
use evenkeel::rng::Rng;
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel_formats::conform::workload::{LEAD, WorkloadSpec};
use evenkeel_formats::ftrace::TraceRecord;
use evenkeel_sim::{Delays, Execution, SimError, SimParams, Simulation, StopTick, Turns};

/// The earliest start of a workload; dice add up to [`SHIFT_MAX`].
const SHIFT_MIN: Ns = 16 * MS;
/// By how much members of an ensemble are shifted against each other: some ticks.
const SHIFT_MAX: Ns = 16 * MS;

/// The machine of the recordings as parameters of a run: one preset for all of them, with nothing fitted to a workload.
///
/// CPUs execute in turn ([`evenkeel_sim::turns`]). Balancing costs what its probes cost: a decision record takes some
/// 40 us, as the recorded wake-ups show (46 us from `sched_waking` to `sched_wakeup` with a record, 5 without), and tasks
/// pulled in one pass follow each other every 17 us. Two conditions differ from boot to boot: when the workload starts,
/// which is left to dice, and the phase of the machine's other timer, which is that of the recording if it tells
/// ([`device_phase`](super::machine::device_phase)) and left to dice if not.
pub fn recorded_machine(seed: u64, device_phase: Option<Ns>) -> (SimParams, Ns) {
    let mut dice = Rng::new(seed, 3);
    let shift = SHIFT_MIN + dice.next_u64() % SHIFT_MAX;
    let dice_phase = dice.next_u64() % Turns::RECORDED.device_period;
    let turns = Turns { device_phase: device_phase.unwrap_or(dice_phase), ..Turns::RECORDED };
    let params = SimParams {
        seed,
        cost: CostModel { pass: 40 * US, cpu: US, task: 17 * US, migration: 5 * US, blocked_update: US },
        delays: Delays { resched_ipi: US, call_ipi: US, softirq: 0, stopper: 5 * US, idle_entry: 2 * US },
        execution: Execution::InTurn(turns),
        stop_tick: StopTick::AtOnce,
        fork_cost: 0,
        timer_slack: 50 * US,
        ..SimParams::default()
    };
    (params, shift)
}

/// One simulated run: its trace, and the window that is measured.
pub fn run(
    machine: &Machine,
    kernel: &Kernel,
    name: &str,
    spec: &WorkloadSpec,
    device_phase: Option<Ns>,
    seed: u64,
) -> Result<(Vec<TraceRecord>, Window), SimError> {
    let (params, shift) = recorded_machine(seed, device_phase);
    let workload = spec.workload(name, shift);
    let until = shift + LEAD + spec.duration;
    let mut sim = Simulation::new(machine, kernel, &workload, params, Recorder::default())?;
    sim.run_until(until)?;
    let from = shift + spec.released_at().unwrap_or(LEAD);
    Ok((sim.into_parts().0.records, Window { from, until, look: until }))
}

/// Measures of one run for each of `seeds`, in their order, computed by as many threads as the host has CPUs.
pub fn ensemble(
    machine: &Machine,
    kernel: &Kernel,
    name: &str,
    spec: &WorkloadSpec,
    device_phase: Option<Ns>,
    seeds: &[u64],
) -> Result<Vec<Measures>, SimError> {
    let one = |&seed: &u64| {
        let (records, window) = run(machine, kernel, name, spec, device_phase, seed)?;
        Ok(measure(&records, machine.nr_cpus(), window))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = seeds.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = seeds
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(one).collect::<Result<Vec<_>, SimError>>()))
            .collect();
        let mut all = Vec::with_capacity(seeds.len());
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}
