//! Simulating a recorded workload many times, as on the recorded machine.
use super::machine::Conditions;
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

/// What balancing costs where its decisions are recorded: a record takes some 40 us, tasks pulled in one pass follow
/// each other every 17 us.
const WITH_DECISIONS: CostModel =
    CostModel { pass: 40 * US, cpu: US, task: 17 * US, migration: 5 * US, ..CostModel::SERVER };
/// And where only events are: each takes some microseconds.
const WITHOUT_DECISIONS: CostModel =
    CostModel { pass: 3 * US, cpu: US / 2, task: US / 2, migration: 5 * US, ..CostModel::SERVER };

/// The machine of the recordings as parameters of a run: one preset for all of them, with nothing fitted to a workload.
///
/// CPUs execute in turn ([`evenkeel_sim::turns`]). What differs from boot to boot is taken from the recording
/// ([`Conditions`]): whether probes recorded decisions as well, and the phase of the machine's other timer (left to dice
/// if the traces do not tell). When the workload starts is left to dice.
pub fn recorded_machine(seed: u64, conditions: Conditions) -> (SimParams, Ns) {
    let mut dice = Rng::new(seed, 3);
    let shift = SHIFT_MIN + dice.next_u64() % SHIFT_MAX;
    let (turns, cost) = if conditions.decisions_recorded {
        (Turns::RECORDED_WITH_DECISIONS, WITH_DECISIONS)
    } else {
        (Turns::RECORDED, WITHOUT_DECISIONS)
    };
    let dice_phase = dice.next_u64() % Turns::RECORDED.device_period;
    let turns = Turns { device_phase: conditions.device_phase.unwrap_or(dice_phase), ..turns };
    let params = SimParams {
        seed,
        cost,
        delays: Delays { tick: 0, stopper: 5 * US, idle_entry: 2 * US, ..Delays::default() },
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
    conditions: Conditions,
    seed: u64,
) -> Result<(Vec<TraceRecord>, Window), SimError> {
    let (params, shift) = recorded_machine(seed, conditions);
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
    conditions: Conditions,
    seeds: &[u64],
) -> Result<Vec<Measures>, SimError> {
    let one = |&seed: &u64| {
        let (records, window) = run(machine, kernel, name, spec, conditions, seed)?;
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
