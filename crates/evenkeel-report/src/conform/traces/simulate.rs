//! Simulating a recorded workload many times, as on the recorded machine.
use super::background;
use super::machine::Conditions;
use super::measure::{Measures, Window, measure};
use super::record::Recorder;
use evenkeel::cost::CostModel;
use evenkeel::kernel::Kernel;
use evenkeel::rng::Rng;
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel_formats::conform::counters::{self, Counters};
use evenkeel_formats::conform::workload::{LEAD, WorkloadSpec};
use evenkeel_formats::ftrace::TraceRecord;
use evenkeel_sim::{Delays, Execution, SimError, SimParams, Simulation, StopTick, Turns, schedstat};

/// The earliest start of a workload, when all threads of the kernel are there; dice add up to [`SHIFT_MAX`].
const SHIFT_MIN: Ns = 80 * MS;
/// By how much members of an ensemble are shifted against each other: some ticks.
const SHIFT_MAX: Ns = 16 * MS;

/// What balancing costs where its decisions are recorded: passes of one CPU for others, with nothing to move, follow each
/// other every 74 to 77 us; pulled tasks every 17 us; a search through 16 pinned tasks and a second search take 280 us.
const WITH_DECISIONS: CostModel =
    CostModel { pass: 70 * US, cpu: US, task: 8 * US, migration: 9 * US, scan: 25, blocked_update: 5 * US };
/// And where only events are: each takes some microseconds.
const WITHOUT_DECISIONS: CostModel = CostModel {
    pass: 3 * US,
    cpu: US / 2,
    task: US / 2,
    migration: 5 * US,
    scan: 25,
    blocked_update: 5 * US,
};

/// The machine of the recordings as parameters of a run: one preset for all of them, with nothing fitted to a workload.
///
/// CPUs execute in turn ([`evenkeel_sim::turns`]). What differs from boot to boot is taken from the recording
/// ([`Conditions`]): whether probes recorded decisions as well, and the phase of the machine's other timer (left to dice
/// if the traces do not tell). When the workload starts is left to dice.
pub fn recorded_machine(seed: u64, conditions: &Conditions) -> (SimParams, Ns) {
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

/// One simulated run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its trace.
    pub records: Vec<TraceRecord>,
    /// The window that is measured.
    pub window: Window,
    /// How much the counters of balancing grew from the beginning of the release, or of the run, to the end.
    pub counters: Counters,
}

/// One simulated run, with a window that is `length` long if that is given.
pub fn run(
    machine: &Machine,
    kernel: &Kernel,
    name: &str,
    spec: &WorkloadSpec,
    conditions: &Conditions,
    length: Option<Ns>,
    seed: u64,
) -> Result<Run, SimError> {
    let (params, shift) = recorded_machine(seed, conditions);
    let mut workload = spec.workload(name, shift);
    let ncpus = machine.nr_cpus();
    workload.tasks.extend(background::tasks(&conditions.threads, spec, ncpus, shift, &mut Rng::new(seed, 4)));
    let until = shift + LEAD + length.unwrap_or(spec.duration);
    let mut sim = Simulation::new(machine, kernel, &workload, params, Recorder::default())?;
    sim.run_until(shift + spec.release.map_or(0, |release| LEAD + release))?;
    let before = counted(&sim);
    sim.run_until(until)?;
    let counters = counted(&sim).since(&before);
    let recorder = sim.into_parts().0;
    // Freeing the last task is the last thing `init` does about affinity.
    let from = if spec.release.is_some() { recorder.last_affinity } else { shift + LEAD };
    Ok(Run { records: recorder.into_records(), window: Window { from, until, look: until }, counters })
}

/// The counters now, by way of the text that a kernel would show, so that one reader serves both.
fn counted(sim: &Simulation<Recorder>) -> Counters {
    counters::parse(&schedstat::schedstat(sim.sched())).expect("our own text reads as a kernel's does")
}

/// Measures of one run for each of `seeds`, in their order, computed by as many threads as the host has CPUs.
pub fn ensemble(
    machine: &Machine,
    kernel: &Kernel,
    name: &str,
    spec: &WorkloadSpec,
    conditions: &Conditions,
    length: Option<Ns>,
    seeds: &[u64],
) -> Result<Vec<(Measures, Counters)>, SimError> {
    let one = |&seed: &u64| {
        let run = run(machine, kernel, name, spec, conditions, length, seed)?;
        Ok((measure(&run.records, machine.nr_cpus(), run.window), run.counters))
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
