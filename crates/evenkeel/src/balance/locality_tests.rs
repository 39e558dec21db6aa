//! Tasks that prefer a memory node, and kernel threads of a CPU, in whole passes (spec 3 §4.1, §6-1, §7.3; spec 4 §13.4).
use super::env::IdleType;
use super::event::{BalanceEvent, PassOutcome, TaskVerdict};
use super::locality::{NumaShape, TaskMemory, fault_weight};
use super::migrate::Refusal;
use super::source::QueueVerdict;
use super::tests::Bench;
use crate::cost::CostModel;
use crate::ids::{CpuId, TaskId};
use crate::io::Input;
use crate::kernel::Kernel;
use crate::kernels::{ALL, V4_19_0, V6_12_117, V6_18_15, V7_2_13};
use crate::time::{MS, US};
use crate::topology::Machine;
use alloc::vec;
use alloc::vec::Vec;

const PINNED: TaskVerdict = TaskVerdict::Refused(Refusal::Pinned);
const FARTHER: TaskVerdict = TaskVerdict::Refused(Refusal::DegradesLocality);
const HOT: TaskVerdict = TaskVerdict::Refused(Refusal::CacheHot);
const RUNNING: TaskVerdict = TaskVerdict::Refused(Refusal::Running);
const MOVED: TaskVerdict = TaskVerdict::Moved { hot: false };

/// Two nodes of two CPUs.
fn two_nodes() -> Machine {
    Machine::regular(2, 1, 2, 1, true)
}

/// Nodes with these distances and a CPU each.
fn nodes(distances: &[&[u32]]) -> Machine {
    let n = distances.len();
    let mut machine = Machine::regular(n as u32, 1, 1, 1, true);
    machine.distances = distances.concat();
    machine
}

/// On a ring the neighbours of a node count half: they are 20 away where the farthest are 30.
#[test]
fn faults_of_nodes_nearby_count_in_part() {
    let faults = [100, 200, 300, 400];
    let weights = |machine: &Machine, reach| {
        let shape = NumaShape::of(machine);
        [0, 1, 2, 3].map(|node| fault_weight(machine, shape, &faults, node, reach))
    };
    let equal = nodes(&[&[10, 20, 20, 20], &[20, 10, 20, 20], &[20, 20, 10, 20], &[20, 20, 20, 10]]);
    assert_eq!(NumaShape::of(&equal), NumaShape::Direct);
    assert_eq!(weights(&equal, 20), faults);
    let ring = nodes(&[&[10, 20, 30, 20], &[20, 10, 20, 30], &[30, 20, 10, 20], &[20, 30, 20, 10]]);
    assert_eq!(NumaShape::of(&ring), NumaShape::GluelessMesh { max: 30 });
    assert_eq!(weights(&ring, 30), [100 + 300, 200 + 200, 300 + 300, 400 + 200]);
    let pairs = nodes(&[&[10, 15, 30, 30], &[15, 10, 30, 30], &[30, 30, 10, 15], &[30, 30, 15, 10]]);
    assert_eq!(NumaShape::of(&pairs), NumaShape::Backplane { max: 30 });
    assert_eq!(weights(&pairs, 30), [300, 300, 700, 700], "compared across, each pair is one");
    assert_eq!(weights(&pairs, 15), faults, "compared within a pair, each node is alone");
    assert_eq!(fault_weight(&ring, NumaShape::of(&ring), &[0, 0, 0, 0], 1, 30), 0);
}

#[test]
fn queues_count_the_tasks_that_prefer_a_node_and_those_on_it() {
    let mut bench = Bench::new(&two_nodes());
    let task = bench.hog(2, "0-3");
    bench.hog(2, "0-3");
    let counts = |bench: &Bench, cpu: usize| {
        (bench.sched.rqs[cpu].nr_numa_running, bench.sched.rqs[cpu].nr_preferred_running)
    };
    assert_eq!(counts(&bench, 2), (0, 0));
    for (preferred_node, expected) in [(Some(0), (1, 0)), (Some(1), (1, 1)), (None, (0, 0))] {
        let memory = TaskMemory { preferred_node, ..TaskMemory::default() };
        bench.input(Input::SetMemory { task, memory }, |_| false);
        assert_eq!(counts(&bench, 2), expected);
    }
    // They move with the task. The consistency of all counters is checked after every input.
    prefers(&mut bench, task, Some(0), &[]);
    bench.input(Input::SetAffinity { cpu: CpuId(0), task, allowed: mask("0") }, |_| false);
    assert_eq!((counts(&bench, 2), counts(&bench, 0)), ((0, 0), (1, 1)));
}

fn mask(list: &str) -> crate::mask::CpuMask {
    crate::mask::CpuMask::parse_list(list, 4).unwrap()
}

fn prefers(bench: &mut Bench, task: TaskId, preferred_node: Option<u32>, faults: &[u64]) {
    let memory = TaskMemory { preferred_node, faults: faults.to_vec(), group_faults: Vec::new() };
    bench.input(Input::SetMemory { task, memory }, |_| false);
}

/// CPU 2 of node 1 runs one task and has two waiting; CPU 0 of node 0 takes. The verdicts on the waiting ones, the first of
/// which has these statistics and ran 100 us ago.
fn verdict(kernel: &Kernel, idle: IdleType, memory: &TaskMemory, failed: u32) -> (TaskVerdict, u64) {
    let mut bench = Bench::of(kernel, &two_nodes(), CostModel::ZERO);
    for _ in 0..3 {
        bench.hog(2, "0-3");
    }
    bench.advance(8 * MS);
    bench.settle(2);
    let task = bench.tasks_of(2)[0];
    bench.sched.tasks[task].memory = Some(alloc::sync::Arc::new(memory.clone()));
    if memory.preferred_node.is_some() {
        bench.sched.account_numa(CpuId(2), task, true);
    }
    bench.sched.update_rq_clock(CpuId(2));
    let se = bench.sched.tasks[task].se;
    bench.sched.entities[se.index()].exec_start = bench.sched.rqs[2].clock_task - 100 * US;
    bench.domain(0, "NUMA").nr_balance_failed = failed;
    bench.sched.cpu_load_update(CpuId(2));
    bench.only_pass(0, "NUMA", idle);
    (bench.verdicts()[0], bench.sched.tasks[task].nr_failed_migrations_hot)
}

#[test]
fn a_task_stays_on_its_node_while_others_there_prefer_none() {
    let home = TaskMemory { preferred_node: Some(1), faults: vec![1, 9], ..TaskMemory::default() };
    for kernel in ALL {
        // Three tasks on the source, one of which prefers to be there. An idle destination is no excuse.
        assert_eq!(verdict(kernel, IdleType::Idle, &home, 0), (FARTHER, 1), "{}", kernel.build);
    }
    // After more failures than `cache_nice_tries` it moves as one that is hot.
    assert_eq!(verdict(&V6_12_117, IdleType::Idle, &home, 3), (TaskVerdict::Moved { hot: true }, 0));
    // Without statistics nothing is known, and the cache decides.
    let silent = TaskMemory { faults: Vec::new(), ..home };
    assert_eq!(verdict(&V6_12_117, IdleType::Idle, &silent, 0), (HOT, 1));
}

#[test]
fn a_task_goes_home_though_it_is_hot() {
    let away = TaskMemory { preferred_node: Some(0), faults: vec![1, 9], ..TaskMemory::default() };
    for kernel in ALL {
        assert_eq!(verdict(kernel, IdleType::NewlyIdle, &away, 0), (MOVED, 0), "{}", kernel.build);
    }
}

#[test]
fn without_a_preference_the_faults_on_both_nodes_are_compared() {
    let near = |faults: Vec<u64>| TaskMemory { faults, ..TaskMemory::default() };
    for kernel in ALL {
        let ask = |idle, memory: &TaskMemory| verdict(kernel, idle, memory, 0).0;
        assert_eq!(ask(IdleType::NewlyIdle, &near(vec![2, 3])), FARTHER, "{}", kernel.build);
        assert_eq!(ask(IdleType::NewlyIdle, &near(vec![3, 2])), MOVED, "{}", kernel.build);
        assert_eq!(ask(IdleType::Idle, &near(vec![2, 3])), HOT, "an idle CPU asks the cache only");
        let even = if [&V6_18_15, &V7_2_13].contains(&kernel) { HOT } else { MOVED };
        assert_eq!(ask(IdleType::NewlyIdle, &near(vec![3, 3])), even, "{}", kernel.build);
        // The group's faults count instead of its own.
        let member = TaskMemory { group_faults: vec![2, 3], ..near(vec![3, 2]) };
        assert_eq!(ask(IdleType::NewlyIdle, &member), FARTHER, "{}", kernel.build);
    }
}

/// Within a node distance from memory does not matter.
#[test]
fn only_levels_between_nodes_ask_for_the_memory() {
    let mut bench = Bench::new(&two_nodes());
    for _ in 0..3 {
        bench.hog(3, "0-3");
    }
    bench.settle(3);
    bench.advance(MS);
    let task = bench.tasks_of(3)[0];
    prefers(&mut bench, task, Some(1), &[1, 9]);
    bench.settle(3);
    assert_eq!(bench.only_pass(2, "MC", IdleType::Idle), 1);
    assert!(!bench.verdicts().contains(&FARTHER));
}

/// A group with a task that prefers no node gives from the queue of that task, however short (spec 3 §4.1, §6-1).
#[test]
fn queues_whose_tasks_are_where_they_prefer_to_be_are_left_to_others() {
    let source = |preferred_of_2: Option<u32>, preferred_of_3: Option<u32>| {
        let mut bench = Bench::new(&two_nodes());
        for (cpu, count, node) in [(2, 3, preferred_of_2), (3, 2, preferred_of_3)] {
            for _ in 0..count {
                let task = bench.hog(cpu, "0-3");
                prefers(&mut bench, task, node, &[]);
            }
        }
        bench.advance(MS);
        bench.only_pass(0, "NUMA", IdleType::Idle);
        let verdict = |event: &BalanceEvent| match event {
            BalanceEvent::Queue { verdict, .. } => Some(*verdict),
            _ => None,
        };
        bench.sched.observer.0.iter().filter_map(verdict).collect::<Vec<_>>()
    };
    use QueueVerdict::{Best, NotMore, NumaClass};
    assert_eq!(source(None, None), [Best, NotMore]);
    assert_eq!(source(Some(0), None), [NumaClass, Best], "regular tasks first");
    assert_eq!(source(Some(1), Some(0)), [NumaClass, Best], "then those that are elsewhere than they prefer");
    assert_eq!(source(Some(1), Some(1)), [Best, NotMore], "then all");
}

/// Spec 3 §7.3-2: they are passed over without a trace, where other pinned tasks mark the level above.
#[test]
fn kernel_threads_of_a_cpu_are_no_pinned_tasks() {
    let mut flags = Vec::new();
    for (kernel, bound) in [(&V6_12_117, true), (&V6_12_117, false), (&V4_19_0, true)] {
        let mut bench = Bench::of(kernel, &Machine::regular(1, 2, 4, 1, false), CostModel::ZERO);
        bench.hog(1, "0-7");
        let threads = [0; 2].map(|_| bench.hog(1, "1"));
        if bound {
            threads.iter().for_each(|&task| drop(bench.input(Input::BindKthread { task }, |_| false)));
        }
        bench.advance(200 * MS);
        bench.settle(1);
        bench.sched.cpu_load_update(CpuId(1));
        assert_eq!(bench.only_pass(0, "MC", IdleType::Idle), 0);
        let refused = if bound && kernel.build == V6_12_117.build {
            TaskVerdict::Refused(Refusal::PerCpuKthread)
        } else {
            PINNED
        };
        assert!(bench.verdicts().contains(&refused) && bench.verdicts().contains(&RUNNING));
        assert_eq!(bench.outcome(), PassOutcome::Failed);
        let affine = threads.map(|task| bench.sched.tasks[task].nr_failed_migrations_affine);
        let above = kernel.topology.package_name;
        let group = bench.domain(0, above).groups;
        let sgc = bench.sched.topo.groups[group.index()].sgc;
        flags.push((affine, bench.sched.topo.capacities[sgc.index()].imbalance));
    }
    assert_eq!(flags, [([0, 0], false), ([1, 1], true), ([1, 1], true)]);
}
