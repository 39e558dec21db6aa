//! CPUs that come and go, and partitions that change: no task is lost, and trees follow (spec 1 §13, spec 4 §11.3).
mod common;

use common::Bench;
use evenkeel::ids::CpuId;
use evenkeel::io::Input;
use evenkeel::mask::CpuMask;
use evenkeel::task::TaskState;
use evenkeel::topology::{Machine, Partition};

const MS: u64 = 1_000_000;
const CPU1: CpuId = CpuId(1);

fn four_cpus() -> Bench {
    Bench::new(&Machine::regular(1, 1, 4, 1, false))
}

fn down(cpu: CpuId) -> Input {
    Input::Hotplug { cpu, online: false }
}

#[test]
fn tasks_of_a_cpu_that_goes_down_go_elsewhere() {
    let mut bench = four_cpus();
    let tasks: Vec<_> = (0..8).map(|_| bench.spawn(0, "0-3")).collect();
    bench.input(MS, down(CPU1));
    assert!(!bench.sched.rqs()[1].active);
    assert_eq!(bench.sched.rqs()[1].nr_running, 0);
    assert_eq!(bench.curr(CPU1), None);
    for task in &tasks {
        let p = &bench.sched.tasks()[*task];
        assert_eq!(p.state, TaskState::Running);
        assert_ne!(p.cpu, CPU1);
    }
    assert!(bench.sched.domains().cpus[1].base.is_none(), "the CPU has no domains");
    let base = bench.sched.domains().cpus[0].base.unwrap();
    assert_eq!(bench.sched.domains().domains[base.index()].span.to_string(), "0,2-3");
}

#[test]
fn a_task_that_slept_on_it_wakes_elsewhere() {
    let mut bench = four_cpus();
    let task = bench.spawn(0, "1");
    bench.input(MS, Input::Block { cpu: CPU1 });
    bench.input(2 * MS, down(CPU1));
    assert_eq!(bench.sched.tasks()[task].cpu, CPU1, "a sleeper is not touched");
    bench.wake(3 * MS, CpuId(0), task);
    let p = &bench.sched.tasks()[task];
    assert_ne!(p.cpu, CPU1);
    assert_eq!(p.allowed.to_string(), "0-3", "allowed nowhere else: its affinity is given up");
}

#[test]
fn a_timer_of_a_cpu_that_is_gone_fires_on_another() {
    let mut bench = four_cpus();
    let task = bench.spawn(0, "0-3");
    let cpu = bench.sched.tasks()[task].cpu;
    bench.input(MS, Input::Block { cpu });
    bench.input(2 * MS, down(cpu));
    bench.wake(3 * MS, cpu, task);
    assert_eq!(bench.sched.tasks()[task].state, TaskState::Running);
    assert_ne!(bench.sched.tasks()[task].cpu, cpu);
}

#[test]
fn a_cpu_that_comes_back_takes_part_again() {
    let mut bench = four_cpus();
    for _ in 0..8 {
        bench.spawn(0, "0-3");
    }
    bench.input(MS, down(CPU1));
    bench.input(2 * MS, Input::Hotplug { cpu: CPU1, online: true });
    let base = bench.sched.domains().cpus[1].base.unwrap();
    assert_eq!(bench.sched.domains().domains[base.index()].span.to_string(), "0-3");
    for tick in 1..50 {
        bench.tick_busy(tick * 4 * MS);
    }
    assert_ne!(bench.sched.rqs()[1].nr_running, 0, "the balancer gives it work");
}

#[test]
fn partitions_do_not_share_work() {
    let mut bench = four_cpus();
    for _ in 0..8 {
        bench.spawn(0, "0");
    }
    let partition =
        |cpus: &str| Partition { cpus: CpuMask::parse_list(cpus, 4).unwrap(), relax_domain_level: None };
    let partitions = Some(vec![partition("0-1"), partition("2-3")]);
    bench.input(MS, Input::SetPartitions { partitions });
    for task in 0..8 {
        bench.allow(MS, evenkeel::ids::TaskId(task), "0-3");
    }
    for tick in 1..200 {
        bench.tick_busy(tick * 4 * MS);
    }
    let queued: Vec<u32> = bench.sched.rqs().iter().map(|rq| rq.nr_running).collect();
    assert_eq!(queued, [4, 4, 0, 0]);
}
