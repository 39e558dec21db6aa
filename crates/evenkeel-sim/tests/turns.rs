//! CPUs that execute in turn, against what recordings made on such a machine show.
mod common;

use common::{Switches, workload};
use evenkeel::kernels;
use evenkeel::observe::{Event, Observer};
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel_sim::{Execution, SimParams, Simulation, Turns};

fn run(text: &str, turns: Turns, until: Ns) -> Simulation<Switches> {
    let machine = Machine::regular(1, 1, 4, 2, false);
    let delays = evenkeel_sim::Delays { tick: 0, ..Default::default() };
    let params =
        SimParams { execution: Execution::InTurn(turns), fork_cost: 0, delays, ..SimParams::default() };
    let kernel = kernels::find("v6.12").unwrap();
    let mut sim = Simulation::new(&machine, kernel, &workload(text), params, Switches::default()).unwrap();
    sim.run_until(until).unwrap();
    sim
}

/// Recorded under 6.12 on this machine (`skew16`, `fork12`, `pinmix`): switches follow ticks by these times and hardly any
/// others, each about as often as the others.
#[test]
fn ticks_of_busy_cpus_are_late_by_what_was_recorded() {
    let recorded = [9, 375, 695, 976, 1221, 1435, 1623, 1787];
    let turns = Turns { device_phase: 2_930 * US, ..Turns::RECORDED };
    let sim = run("spin x16: spin 10s", turns, 2000 * MS);
    let switches = sim
        .observer()
        .0
        .iter()
        .filter(|&&(at, _, prev, next)| at > 200 * MS && prev.is_some() && next.is_some());
    let mut seen = [0u32; 8];
    let mut others = 0;
    for &(at, ..) in switches {
        let late = (at % (4 * MS)) / US;
        match recorded.iter().position(|&recorded| late.abs_diff(recorded) <= 25) {
            Some(turn) => seen[turn] += 1,
            None => others += 1,
        }
    }
    let all: u32 = seen.iter().sum();
    assert!(all > 1000, "{seen:?} {others}");
    assert!(others * 10 < all, "{seen:?} {others}");
    assert!(seen.iter().all(|&times| times > all / 16), "{seen:?}");
}

/// Recorded (`fork12`): forks follow each other after 1 ms while only the parent runs, after some 7 ms with six others.
#[test]
fn work_slows_down_with_busy_cpus() {
    let turns = Turns { device_phase: 2_930 * US, ..Turns::RECORDED_WITH_DECISIONS };
    let text = "
        init: fork spin; fork spin; fork spin; fork spin; fork spin; fork spin; fork spin; sleep 10s
        spin x0: spin 10s
    ";
    let sim = run(text, turns, 200 * MS);
    let result = sim.result();
    let mut created: Vec<Ns> = result
        .tasks
        .iter()
        .filter(|task| task.name.starts_with("spin"))
        .map(|task| task.times.created)
        .collect();
    created.sort_unstable();
    assert_eq!(created.len(), 7);
    let gaps: Vec<Ns> = created.windows(2).map(|pair| (pair[1] - pair[0]) / US).collect();
    assert!((1000..2500).contains(&gaps[0]), "{gaps:?}");
    assert!((5000..9000).contains(&gaps[5]), "{gaps:?}");
}

/// Time does not slow down: what is measured by the clock ends by the clock, at most a round later.
#[test]
fn running_time_goes_by_the_clock() {
    let turns = Turns { device_phase: 2_930 * US, ..Turns::RECORDED };
    let sim = run("spin x7: spin 10s\nshort: run 30ms; exit", turns, 100 * MS);
    let short = sim.result().tasks.into_iter().find(|task| task.name == "short").unwrap();
    let (ran, ended) = (short.times.run, short.times.ended);
    assert!(ended.is_some());
    assert!((30 * MS..42 * MS).contains(&ran), "{ran}");
}

#[test]
fn idle_cpus_pass_their_turn_on_and_the_clock_jumps() {
    let sim = run("a: sleep 50ms; run 1ms; exit", Turns::RECORDED, 60 * MS);
    let result = sim.result();
    let a = result.tasks.iter().find(|task| task.name == "a").unwrap();
    let ended = a.times.ended.unwrap();
    assert!((51 * MS..53 * MS).contains(&ended), "{ended}");
    assert!(result.events < 200, "{}", result.events);
}

/// Recorded (`skew16`, all kernels): the parent frees sixteen tasks that share CPU 0 in 14 to 16 ms while no third CPU is
/// busy, one after the other.
#[test]
fn freeing_tasks_takes_its_time_one_after_the_other() {
    let turns = Turns { device_phase: 2_930 * US, ..Turns::RECORDED };
    let names: Vec<String> = (0..16).map(|i| format!("t{i}")).collect();
    let frees: String = names.iter().map(|name| format!("free {name}; ")).collect();
    let tasks: String = names.iter().map(|name| format!("{name}: cpus 0; spin 10s\n")).collect();
    let text = format!("init: cpus 2; sleep 300ms; {frees}sleep 10s\n{tasks}");
    let machine = Machine::regular(1, 1, 4, 2, false);
    let params = SimParams { execution: Execution::InTurn(turns), ..SimParams::default() };
    // No kernel is asked to pull: the point is when the tasks are free.
    let mut kernel = *kernels::find("v6.12").unwrap();
    kernel.tunables.nr_migrate = 0;
    let mut sim = Simulation::new(&machine, &kernel, &workload(&text), params, Freed::default()).unwrap();
    sim.run_until(360 * MS).unwrap();
    let freed: Vec<Ns> = sim.observer().0.iter().copied().filter(|&at| at > 300 * MS).collect();
    assert_eq!(freed.len(), 16, "{freed:?}");
    let took = freed[15] - freed[0];
    assert!((12 * MS..16 * MS).contains(&took), "{took}");
    assert!(freed.windows(2).all(|pair| pair[1] - pair[0] > 300 * US), "{freed:?}");
}

/// When tasks were told where they may run.
#[derive(Clone, Debug, Default)]
struct Freed(Vec<Ns>);

impl Observer for Freed {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        if let Event::Affinity { .. } = event {
            self.0.push(now);
        }
    }
}

/// Recorded (`duty` under v6.12): from `sched_waking` to `sched_wakeup` 5 us, and 47 us where the choice was recorded.
#[test]
fn choosing_a_cpu_takes_time_before_the_task_is_queued() {
    let came = |turns: Turns| {
        let sim = run("a: sleep 50ms; run 1ms; exit", turns, 60 * MS);
        let times: Vec<Ns> =
            sim.observer().0.iter().filter(|s| s.0 > 49 * MS && s.3.is_some()).map(|s| s.0).collect();
        times[0]
    };
    let mut recorded = Turns::RECORDED;
    recorded.costs.select = Turns::RECORDED_WITH_DECISIONS.costs.select;
    assert_eq!(came(recorded) - came(Turns::RECORDED), 42 * US);
}
