//! What observers cost: one run of a scenario with the observer that is named, for a tool that counts instructions.
//!
//! ```text
//! cargo build --release -p evenkeel-report --example observers
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/observers silent examples/scenarios/wakeups.toml
//! ```
//! Observers are `silent` (none), `changes` (what was changed from outside, as `run` has it), `counting` (every event, counted),
//! `digest` (every event, hashed), `idle`, `task` and `pass` (those of `explain`).
use evenkeel::ids::TaskId;
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::{Event, Observer, Silent};
use evenkeel::time::{Ns, SEC};
use evenkeel_formats::{machine, scenario};
use evenkeel_report::changes::Changes;
use evenkeel_report::explain::Facts;
use evenkeel_report::explain::idle::IdleObserver;
use evenkeel_report::explain::pass::{PassObserver, Which};
use evenkeel_report::explain::task::TaskObserver;
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{SimParams, Simulation};

/// Counts events and nothing else.
#[derive(Default)]
struct Counting(u64);

impl Observer for Counting {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, _event: &Event) {
        self.0 += 1;
    }
}

#[allow(clippy::print_stdout, reason = "an example talks to people")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "observers OBSERVER SCENARIO.toml";
    let (name, path) = (arguments.next().expect(usage), arguments.next().expect(usage));
    let text = std::fs::read_to_string(&path).expect("the scenario can be read");
    let scenario = scenario::read(&text, &path).expect("the scenario is valid");
    let machine = machine::load(&scenario.machine.expect("it names a machine").text).expect("a machine");
    let facts = || Facts::new(&machine, &V6_12_117).expect("the domain trees can be built");
    let workload = &scenario.workload;
    let events = match name.as_str() {
        "silent" => run(&machine, workload, Silent).0,
        "changes" => run(&machine, workload, Changes::default()).0,
        "counting" => run(&machine, workload, Counting::default()).1.0,
        "digest" => run(&machine, workload, Digest::default()).0,
        "idle" => run(&machine, workload, IdleObserver::new(facts())).0,
        "task" => run(&machine, workload, TaskObserver::new(facts(), TaskId(1))).0,
        // One that is never made: it watches to the end.
        "pass" => run(&machine, workload, PassObserver::new(facts(), Which::Number(u64::MAX))).0,
        other => panic!("{other} is no observer"),
    };
    println!("{name}: {events}");
}

/// The events that the simulator processed, and the observer.
fn run<O: Observer>(
    machine: &evenkeel::topology::Machine,
    workload: &evenkeel::workload::Workload,
    observer: O,
) -> (u64, O) {
    let mut sim = Simulation::new(machine, &V6_12_117, workload, SimParams::default(), observer)
        .expect("the scenario can be simulated");
    sim.run(SEC).expect("it runs");
    let events = sim.events();
    (events, sim.into_parts().0)
}
