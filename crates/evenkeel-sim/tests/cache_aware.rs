//! Threads of a process gather in one cache under the kernel that does that, and under no other (spec 3 §13).
#![allow(missing_docs)]
mod common;

use common::workload;
use evenkeel::kernel::Kernel;
use evenkeel::kernels::{V6_18_15, V7_2_13};
use evenkeel::observe::{Event, Observer};
use evenkeel::time::{MS, Ns, SEC};
use evenkeel::topology::Machine;
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{SimError, SimParams, Simulation};

/// Two processes of four threads on two caches of eight CPUs; each has one thread that starts in the other's cache.
const TWO_PROCESSES: &str = "
    web      x3 on 0 process web: run 2ms; sleep 1ms; forever
    web-far  on 8 process web: run 2ms; sleep 1ms; forever
    db-far   on 0 process db: run 2ms; sleep 1ms; forever
    db       x3 on 8 process db: run 2ms; sleep 1ms; forever";

fn two_caches() -> Machine {
    Machine::regular(1, 2, 8, 1, false)
}

fn v7_2_without() -> Kernel {
    let mut kernel = V7_2_13;
    kernel.tunables.llc_balancing.as_mut().unwrap().enabled = false;
    kernel
}

/// In which cache each thread is at the end of a second.
fn caches_of(kernel: &Kernel, text: &str) -> Vec<(String, u32)> {
    let params = SimParams { background: false, ..SimParams::default() };
    let mut sim = Simulation::new(&two_caches(), kernel, &workload(text), params, Digest::default()).unwrap();
    while sim.now() < SEC && sim.step().unwrap() {}
    sim.sched().check();
    let cache = |task| sim.sched().tasks()[task].cpu.0 / 8;
    let result = sim.result();
    result
        .tasks
        .iter()
        .filter(|task| !task.launcher)
        .map(|task| (task.name.clone(), cache(task.id)))
        .collect()
}

fn expected(far: [u32; 2]) -> Vec<(String, u32)> {
    let names = ["web-0", "web-1", "web-2", "web-far", "db-far", "db-0", "db-1", "db-2"];
    let caches = [0, 0, 0, far[0], far[1], 1, 1, 1];
    names.map(String::from).into_iter().zip(caches).collect()
}

fn sorted(mut caches: Vec<(String, u32)>) -> Vec<(String, u32)> {
    caches.sort();
    caches
}

#[test]
fn threads_join_the_cache_where_most_of_their_process_runs() {
    assert_eq!(sorted(caches_of(&V7_2_13, TWO_PROCESSES)), sorted(expected([0, 1])));
}

#[test]
fn without_gathering_they_stay_where_they_started() {
    for kernel in [v7_2_without(), V6_18_15] {
        assert_eq!(sorted(caches_of(&kernel, TWO_PROCESSES)), sorted(expected([1, 0])), "{}", kernel.build);
    }
}

/// The same tasks, each a process by itself: nobody has anybody to join.
#[test]
fn processes_of_one_thread_stay_as_well() {
    let apart = TWO_PROCESSES.replace(" process web", "").replace(" process db", "");
    assert_eq!(sorted(caches_of(&V7_2_13, &apart)), sorted(expected([1, 0])));
}

/// Counts changes of preference.
#[derive(Default)]
struct Preferences(u32);

impl Observer for Preferences {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, event: &Event) {
        self.0 += u32::from(matches!(event, Event::LlcPreference { .. }));
    }
}

/// The workloads of the recorded runs of v7.2 are processes of one thread, forked by one parent: by the rules no task of theirs
/// prefers a cache, so every decision is that of a kernel that does not gather. (In the recordings of the machine with two caches
/// `nr_pref_dst_llc` and `group_llc_balance` are 0 throughout.)
#[test]
fn forked_processes_run_as_if_nothing_were_gathered() {
    let workloads = [
        "spin x16: run 1s",
        "spin x4 cpus 0: run 1s
         free x8: run 1s",
        "child x0: run 3ms
         parent: fork child; fork child; fork child; fork child; fork child; timer 20ms; forever",
        "a x3: send pipe; recv back; run 200us; forever
         b x3: recv pipe; send back; run 200us; forever",
    ];
    let machine = Machine::regular(2, 1, 2, 2, true);
    for text in workloads {
        let run = |kernel: &Kernel| {
            let observer = (Digest::default(), Preferences::default());
            let params = SimParams { seed: 7, ..SimParams::default() };
            let mut sim = Simulation::new(&machine, kernel, &workload(text), params, observer).unwrap();
            sim.run_until(500 * MS).unwrap();
            let (digest, preferences) = sim.observer();
            (digest.to_string(), preferences.0)
        };
        let gathers = run(&V7_2_13);
        assert_eq!(gathers, run(&v7_2_without()), "{text}");
        assert_eq!(gathers.1, 0, "{text}");
    }
}

#[test]
fn exec_in_a_process_of_several_threads_is_refused() {
    let text = "a x2 process p: run 1ms; exec; run 1ms";
    let result =
        Simulation::new(&two_caches(), &V7_2_13, &workload(text), SimParams::default(), Digest::default());
    let error = result.expect_err("it is refused");
    assert!(matches!(error, SimError::Unsupported { .. }));
    assert_eq!(
        error.to_string(),
        "task `a`: exec in a process with a name, whose other threads it would end, cannot be simulated yet"
    );
}
