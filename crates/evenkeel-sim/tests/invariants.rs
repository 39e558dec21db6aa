//! Random workloads on random machines: whatever happens, the scheduler's state stays consistent.
//!
//! After every event everything that is kept incrementally is recomputed and compared (see `evenkeel::check`), and at the
//! end CPU time must be conserved. Each case is made from its seed alone; `EVENKEEL_CASES=5000 cargo test -p evenkeel-sim
//! --test invariants` runs more of them than the usual suite.

use evenkeel::bandwidth::rules::Leftovers;
use evenkeel::kernel::{GuardTunables, Kernel, Tunables};
use evenkeel::kernels::{ALL, DEFAULT};
use evenkeel::rng::Rng;
use evenkeel::time::{MS, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{
    Attributes, Bandwidth, Change, GroupSettings, GroupShare, GroupSpec, Object, ObjectId, ObjectKind, Op,
    Phase, Policy, Program, Repeat, SpecId, TaskSpec, TimelineEntry, Workload,
};
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{SimParams, Simulation};

const GROUPS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/d", "/idle"];

fn share(rng: &mut Rng) -> Option<GroupShare> {
    Some(GroupShare::Weight([1, 10, 100, 300, 10_000][rng.below(5) as usize]))
}

/// A tight limit, with a burst on kernels that know them.
fn bandwidth(rng: &mut Rng, bursts: bool) -> Option<Bandwidth> {
    let quota = [None, Some(MS), Some(3 * MS), Some(20 * MS)][rng.below(4) as usize];
    let period = [5, 10, 100][rng.below(3) as usize] * MS;
    let burst = quota.filter(|_| bursts).map_or(0, |quota| [0, quota / 2, quota][rng.below(3) as usize]);
    Some(Bandwidth { quota, period, burst })
}

/// Two declared groups; the others are made because tasks name them.
fn groups(rng: &mut Rng, bursts: bool, idle: bool) -> Vec<GroupSpec> {
    let idle = GroupSettings { idle: Some(idle), ..GroupSettings::default() };
    let weighted = GroupSettings { share: share(rng), bandwidth: bandwidth(rng, bursts), idle: None };
    let limited = GroupSettings { bandwidth: bandwidth(rng, bursts), ..GroupSettings::default() };
    [("/idle", idle), ("/a/b", weighted), ("/a", limited)]
        .map(|(path, settings)| GroupSpec { path: path.into(), settings, origin: None })
        .into()
}

fn machine(rng: &mut Rng) -> Machine {
    let pick = |rng: &mut Rng, from: &[u32]| from[rng.below(from.len() as u32) as usize];
    let sockets = pick(rng, &[1, 1, 2]);
    let llcs = pick(rng, &[1, 1, 2]);
    let cores = pick(rng, &[1, 2, 3, 4]);
    let threads = pick(rng, &[1, 2]);
    Machine::regular(sockets, llcs, cores, threads, rng.below(2) == 0)
}

fn affinity(rng: &mut Rng, ncpus: u32) -> Vec<u32> {
    match rng.below(3) {
        0 => Vec::new(),
        1 => vec![rng.below(ncpus)],
        _ => {
            let mut cpus: Vec<u32> = (0..ncpus).filter(|_| rng.below(2) == 0).collect();
            if cpus.is_empty() {
                cpus.push(rng.below(ncpus));
            }
            cpus
        }
    }
}

fn policy(rng: &mut Rng) -> Policy {
    let priority = 1 + rng.below(4) as u8;
    let runtime = u64::from(1 + rng.below(20)) * 100 * US;
    let deadline = runtime + u64::from(rng.below(5)) * MS;
    // Two dozen of them at most: a 32nd of a CPU each is admitted.
    let period = deadline + 31 * runtime + u64::from(rng.below(5)) * MS;
    match rng.below(8) {
        0..3 => Policy::Normal,
        3 => Policy::Batch,
        4 => Policy::Idle,
        5 => Policy::Fifo(priority),
        6 => Policy::RoundRobin(priority),
        _ => Policy::Deadline { runtime, deadline, period },
    }
}

fn attributes(rng: &mut Rng, ncpus: u32) -> Attributes {
    let mut attributes = Attributes::default();
    if rng.below(3) == 0 {
        attributes.affinity = Some(affinity(rng, ncpus));
    }
    if rng.below(3) == 0 {
        attributes.nice = Some(rng.below(40) as i32 - 20);
    }
    if rng.below(4) == 0 {
        attributes.policy = Some(policy(rng));
    }
    if rng.below(5) == 0 {
        attributes.slice = Some(u64::from(rng.below(20)) * 500 * US);
    }
    if rng.below(3) == 0 {
        attributes.group = Some(GROUPS[rng.below(GROUPS.len() as u32) as usize].into());
    }
    attributes
}

fn op(rng: &mut Rng, ncpus: u32) -> Op {
    let time = u64::from(rng.below(4000) + 1) * US;
    match rng.below(14) {
        0..=3 => Op::Run(time),
        4..=6 => Op::Sleep(time),
        7 => Op::Yield,
        8 => Op::Exec,
        9 => Op::Fork(SpecId(0)),
        10 => Op::SemPost(ObjectId(0)),
        11 => Op::Send { channel: ObjectId(1), sync: rng.below(2) == 0 },
        12 => Op::Set(attributes(rng, ncpus)),
        _ => Op::Broadcast(ObjectId(2)),
    }
}

/// A CPU goes and comes back.
fn unplug(rng: &mut Rng, ncpus: u32, timeline: &mut Vec<TimelineEntry>) {
    for entry in timeline.iter_mut() {
        if let Change::SetAttributes { attributes, .. } = &mut entry.change {
            // A change from outside to CPUs of which none is online is refused.
            attributes.affinity = None;
        }
    }
    let cpu = rng.below(ncpus);
    for (at, online) in [(5 + rng.below(50), false), (60 + rng.below(60), true)] {
        let change = Change::Hotplug { cpus: vec![cpu], online };
        timeline.push(TimelineEntry { at: u64::from(at) * MS, change, origin: None });
    }
}

fn workload(rng: &mut Rng, ncpus: u32, bursts: bool, idle: bool) -> Workload {
    let object = |name: &str, kind| Object { name: name.into(), kind };
    let objects = vec![
        object("sem", ObjectKind::Semaphore { initial: 1 }),
        object("chan", ObjectKind::Channel),
        object("cond", ObjectKind::Condition),
    ];
    // Definition 0 is only forked, and always ends.
    let child = TaskSpec {
        name: "child".into(),
        program: Program {
            phases: vec![Phase { ops: vec![Op::Run(300 * US)], ..Phase::default() }],
            repeat: Repeat::Times(1),
        },
        // Deadline tasks fork only what has a policy of its own.
        attributes: Attributes { policy: Some(Policy::Normal), ..Attributes::default() },
        ..TaskSpec::default()
    };
    let mut tasks = vec![child];
    for i in 0..1 + rng.below(6) {
        let mut ops: Vec<Op> = (0..1 + rng.below(6)).map(|_| op(rng, ncpus)).collect();
        ops.push(Op::Run(u64::from(1 + rng.below(3000)) * US));
        match rng.below(5) {
            0 => ops.push(Op::SemWait(ObjectId(0))),
            1 => ops.push(Op::Receive(ObjectId(1))),
            2 => ops.push(Op::Wait { condition: ObjectId(2), mutex: None }),
            _ => {}
        }
        tasks.push(TaskSpec {
            name: format!("t{i}"),
            instances: 1 + rng.below(4),
            start_cpu: rng.below(ncpus),
            attributes: attributes(rng, ncpus),
            program: Program {
                phases: vec![Phase { ops, ..Phase::default() }],
                repeat: Repeat::Times(10_000),
            },
            ..TaskSpec::default()
        });
    }
    let mut timeline = (1..=rng.below(6))
        .map(|i| TimelineEntry {
            at: u64::from(i) * 20 * MS,
            change: Change::SetAttributes {
                task: SpecId(1 + rng.below(tasks.len() as u32 - 1)),
                attributes: attributes(rng, ncpus),
            },
            origin: None,
        })
        .collect::<Vec<_>>();
    let changes = (0..rng.below(5)).map(|i| TimelineEntry {
        at: u64::from(i) * 30 * MS + 1,
        change: Change::SetGroup {
            path: "/a/b".into(),
            settings: GroupSettings { share: share(rng), bandwidth: bandwidth(rng, bursts), idle: None },
        },
        origin: None,
    });
    timeline.extend(changes);
    if ncpus > 1 && rng.below(3) == 0 {
        unplug(rng, ncpus, &mut timeline);
    }
    let groups = groups(rng, bursts, idle);
    let autogroup = rng.below(4) == 0;
    Workload { name: "random".into(), tasks, objects, timeline, groups, autogroup, ..Workload::default() }
}

fn run(case: u64, check: bool) -> String {
    let mut rng = Rng::new(case, 7);
    let machine = machine(&mut rng);
    let params = SimParams { seed: case, ..SimParams::default() };
    // Every other case the default kernel, the others in turn.
    let runs: Vec<_> = ALL.into_iter().filter(|kernel| kernel.runs).collect();
    let kernel = if case.is_multiple_of(2) { DEFAULT } else { runs[(case / 2) as usize % runs.len()] };
    // Periods of the guards against starvation that fit a short run.
    let guard = GuardTunables {
        rt_period_ns: 40 * MS,
        rt_runtime_ns: 38 * MS,
        fair_server_period_ns: 40 * MS,
        fair_server_runtime_ns: 2 * MS,
    };
    let kernel = &Kernel { tunables: Tunables { guard, ..kernel.tunables }, ..*kernel };
    let bursts = kernel.queues.bandwidth.leftovers == Leftovers::Kept;
    let workload = workload(&mut rng, machine.nr_cpus() as u32, bursts, kernel.queues.idle_groups);
    let mut sim = Simulation::new(&machine, kernel, &workload, params, Digest::default()).unwrap();
    while sim.now() < 150 * MS && sim.step().unwrap() {
        if check {
            sim.sched().check();
        }
    }
    let (digest, result) = sim.into_parts();
    let busy: u64 = result.cpus.iter().map(|cpu| cpu.busy).sum();
    let idle: u64 = result.cpus.iter().map(|cpu| cpu.idle + cpu.offline).sum();
    let ran: u64 = result.tasks.iter().map(|task| task.times.run).sum();
    assert_eq!(busy + idle, result.elapsed * machine.nr_cpus() as u64, "case {case}: CPU time");
    assert_eq!(busy, ran, "case {case}: what CPUs gave is what tasks got");
    assert_eq!(busy, result.groups[0].times.run, "case {case}: and what the groups got");
    digest.to_string()
}

#[test]
fn random_workloads_keep_every_invariant_and_repeat_exactly() {
    let cases = std::env::var("EVENKEEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    for case in 0..cases {
        let first = run(case, true);
        assert_eq!(first, run(case, false), "case {case}: two runs are the same run");
    }
}
