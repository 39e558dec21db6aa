//! Changes of the kernel's settings while a workload runs: what they do, and what is refused.
#![allow(missing_docs)]
mod common;

use common::workload;
use evenkeel::balance::event::{BalanceEvent, NewIdleGate};
use evenkeel::balance::locality::TaskMemory;
use evenkeel::ids::CpuId;
use evenkeel::kernel::Features;
use evenkeel::kernels::V6_12_117;
use evenkeel::observe::{Event, Observer};
use evenkeel::time::{MS, Ns};
use evenkeel::topology::Machine;
use evenkeel::tune::{Changed, DomainKnob, Tune};
use evenkeel::workload::{Attributes, Change, SpecId, TimelineEntry, Workload};
use evenkeel_sim::{SimError, SimParams, Simulation, StopTick};

/// Notes changes, and how many tasks passes moved.
#[derive(Clone, Debug, Default)]
struct Notes {
    changed: Vec<(Ns, Tune)>,
    moved: Vec<(Ns, u32)>,
    /// When dice left out a level.
    dice: Vec<Ns>,
}

impl Observer for Notes {
    const ON: bool = true;
    fn event(&mut self, now: Ns, event: &Event) {
        match event {
            Event::Changed(Changed::Tune { tune, .. }) => self.changed.push((now, *tune)),
            Event::Balance(BalanceEvent::PassEnd { moved, .. }) if *moved > 0 => {
                self.moved.push((now, *moved))
            }
            Event::Balance(BalanceEvent::NewIdle { gate: NewIdleGate::Dice { .. }, .. }) => {
                self.dice.push(now)
            }
            _ => {}
        }
    }
}

fn machine() -> Machine {
    Machine::regular(1, 1, 4, 2, false)
}

/// Sixteen spinners held on CPU 0 and released after 50 ms, with further changes.
fn released(changes: &[(Ns, Change)]) -> Workload {
    let mut workload = workload("spin x16 cpus 0: run 1s; forever");
    let attributes = Attributes { affinity: Some(Vec::new()), ..Attributes::default() };
    let release = Change::SetAttributes { task: SpecId(0), attributes };
    let entry = |(at, change): (Ns, Change)| TimelineEntry { at, change, origin: None };
    workload.timeline.push(entry((50 * MS, release)));
    workload.timeline.extend(changes.iter().cloned().map(entry));
    workload
}

fn run(changes: &[(Ns, Change)]) -> Simulation<Notes> {
    let params = SimParams::default();
    let mut sim =
        Simulation::new(&machine(), &V6_12_117, &released(changes), params, Notes::default()).unwrap();
    sim.run_until(1000 * MS).unwrap();
    sim
}

fn refused(change: Change) -> String {
    let params = SimParams::default();
    let made = Simulation::new(&machine(), &V6_12_117, &released(&[(MS, change)]), params, Notes::default());
    made.expect_err("it is refused").to_string()
}

#[test]
fn nr_migrate_limits_every_pass_from_then_on() {
    // Spec 3 §7.2: a pass looks at min(nr_migrate, nr_running) tasks.
    let most = |sim: &Simulation<Notes>| sim.observer().moved.iter().map(|&(_, moved)| moved).max();
    assert!(most(&run(&[])) > Some(1), "sixteen tasks on one CPU leave several at a time");
    let tune = Tune::NrMigrate { tasks: 1 };
    let sim = run(&[(20 * MS, Change::Tune(tune))]);
    assert_eq!(most(&sim), Some(1));
    assert_eq!(sim.observer().changed, [(20 * MS, tune)]);
    assert_eq!(sim.sched().kernel().tunables.nr_migrate, 1);
}

#[test]
fn domain_values_reach_the_objects_of_every_cpu() {
    let change =
        |level: Option<&str>, knob, value| Change::Domain { level: level.map(str::to_owned), knob, value };
    let sim = run(&[
        (5 * MS, change(Some("MC"), DomainKnob::ImbalancePct, 103)),
        (6 * MS, change(None, DomainKnob::CacheNiceTries, 7)),
    ]);
    let domains = &sim.sched().domains().domains;
    assert_eq!(domains.len(), 16, "two levels of eight CPUs");
    for domain in domains {
        let expected = if domain.name == "MC" { 103 } else { 110 };
        assert_eq!((domain.imbalance_pct, domain.cache_nice_tries), (expected, 7), "{}", domain.name);
    }
    assert_eq!(sim.observer().changed.len(), 2);
}

/// Spec 3 §14: a level's cost is what a new-idle pass is weighed against, until it has decayed.
#[test]
fn a_cost_that_is_written_keeps_new_idle_passes_away() {
    let passed = |change: &[(Ns, Change)]| {
        let mut workload = workload("p x12: run 3ms; sleep 1ms; forever");
        let entry = |(at, change): (Ns, Change)| TimelineEntry { at, change, origin: None };
        workload.timeline.extend(change.iter().cloned().map(entry));
        let params = SimParams::default();
        let mut sim = Simulation::new(&machine(), &V6_12_117, &workload, params, Notes::default()).unwrap();
        sim.run_until(500 * MS).unwrap();
        let mut sums = sim.sched().domains().domains.iter().map(|domain| domain.stats.lb[2].count);
        sums.try_fold(0u32, |sum, count| sum.checked_add(count)).unwrap()
    };
    let knob = DomainKnob::MaxNewidleLbCost;
    let dear = (MS, Change::Domain { level: None, knob, value: 1_000_000_000 });
    assert!(passed(&[]) > 0);
    assert_eq!(passed(&[dear]), 0, "nobody idles for a second");
}

/// Spec 3 §7.3-2: the worker threads of the CPUs are theirs; what is known of memory reaches the scheduler.
#[test]
fn tasks_bring_what_is_known_of_them() {
    let machine = Machine::regular(2, 1, 2, 1, true);
    let known = |preferred_node, faults| TaskMemory { preferred_node, faults, group_faults: Vec::new() };
    let with = |memory: TaskMemory, percpu_kthread| {
        let mut workload = workload("a cpus 0: run 1s; forever");
        workload.tasks[0].attributes.memory = Some(memory);
        workload.tasks[0].percpu_kthread = percpu_kthread;
        let params = SimParams { background: true, ..SimParams::default() };
        Simulation::new(&machine, &V6_12_117, &workload, params, Notes::default())
    };
    let mut sim = with(known(Some(1), vec![1, 2]), true).unwrap();
    sim.run_until(10 * MS).unwrap();
    let rq = &sim.sched().rqs()[0];
    assert_eq!((rq.nr_numa_running, rq.nr_preferred_running), (1, 0));
    let bound = sim.sched().tasks().iter().filter(|(_, task)| task.percpu_kthread).count();
    assert_eq!(bound, 5, "the task, and a worker on each CPU");
    let error = |made: Result<Simulation<Notes>, SimError>| made.expect_err("it is refused").to_string();
    let fault = error(with(known(Some(2), vec![]), false));
    assert!(fault.contains("it prefers node 2, but the machine has nodes 0-1"), "{fault}");
    let fault = error(with(known(None, vec![1]), false));
    assert!(fault.contains("`numa_faults` has 1 numbers, but the machine has 2 nodes"), "{fault}");
    let mut free = workload("a: run 1s; forever");
    free.tasks[0].percpu_kthread = true;
    let made = Simulation::new(&machine, &V6_12_117, &free, SimParams::default(), Notes::default());
    let fault = error(made);
    assert!(fault.contains("a `percpu_kthread` needs an affinity of one CPU"), "{fault}");
}

#[test]
fn without_ni_random_no_level_is_left_to_the_dice() {
    // Spec 3 §2.11-8: only with NI_RANDOM are dice thrown.
    let mut workload = workload("p x12: run 3ms; sleep 1ms; forever");
    let off = Change::Tune(Tune::Feature { feature: Features::NI_RANDOM, on: false });
    workload.timeline.push(TimelineEntry { at: 500 * MS, change: off, origin: None });
    let params = SimParams::default();
    let mut sim = Simulation::new(&machine(), &V6_12_117, &workload, params, Notes::default()).unwrap();
    sim.run_until(1000 * MS).unwrap();
    let dice = &sim.observer().dice;
    assert!(dice.len() > 10 && dice.iter().all(|&at| at < 500 * MS), "{dice:?}");
}

#[test]
fn names_that_do_not_exist_are_refused() {
    let domain = Change::Domain { level: Some("NUMA".into()), knob: DomainKnob::BusyFactor, value: 1 };
    assert_eq!(refused(domain), "[[at]]: there is no level NUMA here, only SMT, MC");
    let feature = Change::Tune(Tune::Feature { feature: Features::LB_BIAS, on: true });
    assert_eq!(refused(feature), "[[at]]: v6.12.117 does not have the feature LB_BIAS");
}

/// Every event about a change, in order.
#[derive(Clone, Debug, Default)]
struct Told(Vec<(Ns, Event)>);

impl Observer for Told {
    const ON: bool = true;
    const EVERYTHING: bool = false;
    fn event(&mut self, now: Ns, event: &Event) {
        if matches!(
            event,
            Event::Changed(_) | Event::Hotplug { .. } | Event::Outside { .. } | Event::Affinity { .. }
        ) {
            self.0.push((now, event.clone()));
        }
    }
}

fn told(tasks: &str, change: Change, until: Ns) -> Simulation<Told> {
    let mut workload = workload(tasks);
    workload.timeline.push(TimelineEntry { at: 20 * MS, change, origin: None });
    let mut sim =
        Simulation::new(&machine(), &V6_12_117, &workload, SimParams::default(), Told::default()).unwrap();
    sim.run_until(until).unwrap();
    sim
}

/// What was told at 20 ms, between the marks of changes from outside.
fn changes(sim: &Simulation<Told>) -> Vec<Event> {
    let at_20: Vec<Event> =
        sim.observer().0.iter().filter(|(at, _)| *at == 20 * MS).map(|(_, event)| event.clone()).collect();
    let begins = at_20.iter().position(|event| *event == Event::Outside { begins: true }).unwrap();
    let ends = at_20.iter().position(|event| *event == Event::Outside { begins: false }).unwrap();
    at_20[begins + 1..ends].to_vec()
}

#[test]
fn settings_are_told_with_the_value_before() {
    // Values of a kernel at boot: spec 3 §14 and its table of tunables.
    let tune = |tune| changes(&told("spin x2: run 1s; forever", Change::Tune(tune), 30 * MS));
    let cost = Tune::MigrationCost { ns: 0 };
    assert_eq!(tune(cost), [Event::Changed(Changed::Tune { tune: cost, before: 500_000 })]);
    let off = Tune::Feature { feature: Features::NI_RANDOM, on: false };
    assert_eq!(tune(off), [Event::Changed(Changed::Tune { tune: off, before: 1 })]);
}

#[test]
fn attributes_and_groups_of_tasks_are_told() {
    let set = |attributes| Change::SetAttributes { task: SpecId(0), attributes };
    let nice = set(Attributes { nice: Some(5), ..Attributes::default() });
    let sim = told("spin x2: run 1s; forever", nice, 30 * MS);
    let nices: Vec<_> = changes(&sim)
        .into_iter()
        .map(|event| match event {
            Event::Changed(Changed::Attributes { before, after, .. }) => (before.nice, after.nice),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(nices, [(0, 5), (0, 5)], "of both tasks");
    let group = set(Attributes { group: Some("/g".into()), ..Attributes::default() });
    let sim = told("spin x1: run 1s; forever", group, 30 * MS);
    let [Event::Changed(Changed::Group { before, after, .. })] = changes(&sim)[..] else {
        panic!("{:?}", changes(&sim))
    };
    assert_eq!((before.0, sim.sched().groups()[after.index()].name.as_str()), (0, "/g"));
}

#[test]
fn a_cpu_that_goes_takes_no_task_with_it_and_counts_as_offline() {
    // Spec 4 §11.3: its tasks go elsewhere at once; one that may run nowhere else may then run everywhere (§3.3).
    let gone = Change::Hotplug { cpus: vec![2, 3], online: false };
    let mut sim = told("spin x8: run 1s; forever\npinned x1 cpus 3: run 1s; forever", gone, 120 * MS);
    let pinned = sim.sched().tasks().iter().find(|(task, _)| sim.task_name(*task) == "pinned").unwrap().0;
    assert_eq!(sim.sched().tasks()[pinned].allowed.to_string(), "0-7");
    assert!(
        changes(&sim).iter().any(|event| matches!(event, Event::Affinity { task, .. } if *task == pinned))
    );
    let cpu = |sim: &Simulation<Told>, cpu: usize| sim.result().cpus[cpu];
    for index in [2, 3] {
        assert!(sim.sched().tasks().iter().all(|(_, task)| task.cpu.index() != index));
        assert_eq!(cpu(&sim, index).offline, 100 * MS);
        assert!(cpu(&sim, index).idle < 20 * MS);
    }
    assert_eq!(cpu(&sim, 0).offline, 0);
    assert!(sim.result().conservation.wasted < 10 * MS, "nobody waits for a CPU that is not there");
    assert_eq!(sim.sched().domains().chain(CpuId(2)).count(), 0, "it has no domains");
    sim.run_until(121 * MS).unwrap();
}

#[test]
fn a_cpu_that_comes_back_gets_work() {
    let mut workload = workload("spin x16: run 1s; forever");
    for (at, online) in [(20, false), (60, true)] {
        let change = Change::Hotplug { cpus: vec![5], online };
        workload.timeline.push(TimelineEntry { at: at * MS, change, origin: None });
    }
    for stop_tick in [StopTick::AtOnce, StopTick::AfterIdleTick, StopTick::Never] {
        let params = SimParams { stop_tick, background: true, ..SimParams::default() };
        let mut sim = Simulation::new(&machine(), &V6_12_117, &workload, params, Told::default()).unwrap();
        sim.run_until(60 * MS).unwrap();
        let before = sim.result().cpus[5];
        assert_eq!(before.offline, 40 * MS);
        sim.run_until(500 * MS).unwrap();
        let after = sim.result().cpus[5];
        assert_eq!(after.offline, 40 * MS);
        assert!(after.busy - before.busy > 300 * MS, "{stop_tick:?}: busy for {}", after.busy - before.busy);
    }
}

#[test]
fn partitions_divide_the_trees_and_nobody_balances_between_them() {
    // Spec 1 §13.4: the root keeps what is left; isolated CPUs are in no domain.
    let divide = Change::Partitions { sets: vec![vec![4, 5]], isolated: vec![6, 7] };
    let sim = told("spin x8 cpus 0: run 1s; forever", divide, 30 * MS);
    let top = |cpu: u32| {
        let top = sim.sched().domains().chain(CpuId(cpu)).last();
        top.map(|id| sim.sched().domains().domains[id.index()].span.to_string())
    };
    assert_eq!((top(0), top(4), top(6)), (Some("0-3".into()), Some("4-5".into()), None));
    let [Event::Changed(Changed::Partitions(Some(sets)))] = &changes(&sim)[..] else { panic!() };
    assert_eq!(sets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0-3", "4-5"]);
}

#[test]
fn changes_of_the_machine_that_make_no_sense_are_refused() {
    let hotplug = |cpus: &[u32], online| Change::Hotplug { cpus: cpus.to_vec(), online };
    let all: Vec<u32> = (0..8).collect();
    let divide = |sets: &[&[u32]]| Change::Partitions {
        sets: sets.iter().map(|set| set.to_vec()).collect(),
        isolated: Vec::new(),
    };
    let messages = [
        refused(hotplug(&[3, 9], false)),
        refused(hotplug(&all, false)),
        refused(hotplug(&[3], true)),
        refused(divide(&[&[0, 1], &[1, 2]])),
        refused(divide(&[&[8]])),
    ];
    expect_test::expect![[r#"
        [[at]]: there is no CPU 9: the machine has CPUs 0-7
        [[at]]: CPUs 0-7 cannot go offline: the last online CPU has to stay
        [[at]]: CPU 3 is online already at 1 ms
        [[at]]: CPU 1 is in two partitions
        [[at]]: there is no CPU 8: the machine has CPUs 0-7
    "#]]
    .assert_eq(&(messages.join("\n") + "\n"));
}
