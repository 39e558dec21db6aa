//! Random workloads on small machines: nothing panics, no invariant breaks, and a run repeats itself exactly.
use evenkeel::bandwidth::rules::Leftovers;
use evenkeel::kernel::{GuardTunables, Kernel, Tunables};
use evenkeel::kernels;
use evenkeel::time::{MS, Ns, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{
    Attributes, Bandwidth, Change, GroupSettings, GroupSpec, Object, ObjectId, ObjectKind, Op, Phase, Policy,
    Program, Repeat, SpecId, TaskSpec, TimelineEntry, TimerOp, TimerRef, Workload,
};
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{Delays, RunResult, SimParams, Simulation, StopTick};
use proptest::prelude::*;

/// 0: mutex, 1: semaphore, 2: channel, 3: shared timer, 4: barrier.
fn objects() -> Vec<Object> {
    let kinds = [
        ObjectKind::Mutex,
        ObjectKind::Semaphore { initial: 1 },
        ObjectKind::Channel,
        ObjectKind::Timer,
        ObjectKind::Barrier { parties: 2 },
    ];
    kinds.into_iter().map(|kind| Object { name: format!("{kind:?}"), kind }).collect()
}

fn span() -> impl Strategy<Value = Ns> {
    prop_oneof![Just(0), 1u64..5 * US, 10 * US..MS, (1u64..8).prop_map(|ms| ms * MS)]
}

fn attributes(cpus: u32) -> impl Strategy<Value = Attributes> {
    let affinity =
        prop::collection::btree_set(0..cpus, 0..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    // Twelve of them at most: a 16th of a CPU each is admitted.
    let deadline = (50 * US..MS, 0u64..5 * MS, 0u64..5 * MS).prop_map(|(runtime, more, rest)| {
        Policy::Deadline { runtime, deadline: runtime + more, period: 16 * runtime + more + rest }
    });
    let policy = prop_oneof![
        2 => Just(Policy::Normal),
        1 => Just(Policy::Batch),
        1 => Just(Policy::Idle),
        1 => (1u8..5).prop_map(Policy::Fifo),
        1 => (1u8..5).prop_map(Policy::RoundRobin),
        1 => deadline,
    ];
    let slice = prop_oneof![Just(0), 100 * US..20 * MS];
    (
        prop::option::of(affinity),
        prop::option::of(-20i32..20),
        prop::option::of(policy),
        prop::option::of(slice),
    )
        .prop_map(|(affinity, nice, policy, slice)| Attributes {
            affinity,
            nice,
            policy,
            slice,
            ..Attributes::default()
        })
}

fn ops(cpus: u32) -> impl Strategy<Value = Vec<Op>> {
    let timer = |timer, absolute| move |period| Op::Timer(TimerOp { timer, period, absolute });
    let one = |op: Op| Just(vec![op]);
    let mutex = ObjectId(0);
    prop_oneof![
        4 => span().prop_map(|span| vec![Op::Run(span)]),
        1 => span().prop_map(|span| vec![Op::RunUntilElapsed(span)]),
        3 => span().prop_map(|span| vec![Op::Sleep(span)]),
        1 => span().prop_map(timer(TimerRef::Private(2), true)).prop_map(|op| vec![op]),
        1 => span().prop_map(timer(TimerRef::Shared(ObjectId(3)), false)).prop_map(|op| vec![op]),
        1 => span().prop_map(move |span| vec![Op::Lock(mutex), Op::Run(span), Op::Unlock(mutex)]),
        1 => one(Op::SemPost(ObjectId(1))),
        1 => one(Op::SemWait(ObjectId(1))),
        1 => any::<bool>().prop_map(|sync| vec![Op::Send { channel: ObjectId(2), sync }]),
        1 => one(Op::Receive(ObjectId(2))),
        1 => one(Op::Barrier(ObjectId(4))),
        1 => one(Op::Fork(SpecId(0))),
        1 => one(Op::Exec),
        1 => one(Op::Yield),
        2 => attributes(cpus).prop_map(|attributes| vec![Op::Set(attributes)]),
    ]
}

/// Changes from outside, those that are possible: the last CPU stays, and no CPU comes or goes twice.
fn timeline(cpus: u32) -> impl Strategy<Value = Vec<TimelineEntry>> {
    let change = (0u64..60 * MS, 0..cpus, 0u32..4, 0..cpus);
    prop::collection::vec(change, 0..8).prop_map(move |mut changes| {
        changes.sort_unstable();
        let mut online: Vec<u32> = (0..cpus).collect();
        let mut timeline = Vec::new();
        for (at, cpu, kind, other) in changes {
            let change = match kind {
                0 | 1 if !online.contains(&cpu) => {
                    online.push(cpu);
                    Change::Hotplug { cpus: vec![cpu], online: true }
                }
                0 | 1 if online.len() > 1 => {
                    online.retain(|online| *online != cpu);
                    Change::Hotplug { cpus: vec![cpu], online: false }
                }
                2 if cpu < other => {
                    Change::Partitions { sets: vec![(cpu..other).collect()], isolated: vec![other] }
                }
                3 => Change::Partitions { sets: Vec::new(), isolated: Vec::new() },
                _ => continue,
            };
            timeline.push(TimelineEntry { at, change, origin: None });
        }
        timeline
    })
}

/// The first definition is a short job that the others fork.
fn workload(cpus: u32) -> impl Strategy<Value = Workload> {
    let program = prop::collection::vec(ops(cpus), 1..6);
    let spec = (program, attributes(cpus), 1u32..4, 0..cpus, any::<bool>(), 0usize..4);
    (prop::collection::vec(spec, 1..5), timeline(cpus)).prop_map(|(specs, timeline)| {
        let job = Phase { ops: vec![Op::Run(300 * US)], ..Phase::default() };
        let job = Program { phases: vec![job], repeat: Repeat::Times(1) };
        // Deadline tasks fork only what has a policy of its own.
        let attributes = Attributes { policy: Some(Policy::Normal), ..Attributes::default() };
        let mut tasks =
            vec![TaskSpec { name: "job".into(), program: job, attributes, ..TaskSpec::default() }];
        for (index, (ops, mut attributes, instances, start_cpu, grouped, process)) in
            specs.into_iter().enumerate()
        {
            // Half of the definitions are threads of two processes, the others processes of their own.
            let process = ["p0", "p1"].get(process).map(|&name| name.to_owned());
            // Such a process may also have jobs as threads; exec would end its other threads.
            tasks[0].process = process.clone().filter(|_| grouped).or(tasks[0].process.take());
            attributes.group = grouped.then(|| format!("/g{}", index % 2));
            let execs = |op: &Op| process.is_some() && *op == Op::Exec;
            let ops = ops.into_iter().flatten().filter(|op| !execs(op)).chain([Op::Run(20 * US)]);
            let ops: Vec<Op> = ops.collect();
            let phase = Phase { ops, repeat: Repeat::Times(40), ..Phase::default() };
            let program = Program { phases: vec![phase], repeat: Repeat::Times(1) };
            tasks.push(TaskSpec {
                name: format!("t{index}"),
                attributes,
                instances,
                start_cpu,
                process,
                program,
                ..TaskSpec::default()
            });
        }
        Workload { tasks, objects: objects(), timeline, ..Workload::default() }
    })
}

/// No limit for `/g0` and `/g1`, or a tight one for either or both.
fn limits() -> impl Strategy<Value = Vec<GroupSpec>> {
    let limit = (1u64..8, 1u64..4, any::<bool>()).prop_map(|(quota, periods, burst)| Bandwidth {
        quota: Some(quota * MS),
        period: periods * 5 * MS,
        burst: if burst { quota * MS } else { 0 },
    });
    prop::collection::vec(prop::option::of(limit), 2).prop_map(|limits| {
        let group = |(index, bandwidth)| GroupSpec {
            path: format!("/g{index}"),
            settings: GroupSettings { bandwidth, ..GroupSettings::default() },
            origin: None,
        };
        limits.into_iter().enumerate().map(group).collect()
    })
}

/// The same without bursts on kernels that do not know them.
fn known_to(kernel: &Kernel, mut groups: Vec<GroupSpec>) -> Vec<GroupSpec> {
    if kernel.queues.bandwidth.leftovers == Leftovers::Expire {
        for limit in groups.iter_mut().filter_map(|group| group.settings.bandwidth.as_mut()) {
            limit.burst = 0;
        }
    }
    groups
}

fn machines() -> impl Strategy<Value = Machine> {
    prop_oneof![
        Just(Machine::regular(1, 1, 1, 1, false)),
        Just(Machine::regular(1, 1, 2, 1, false)),
        Just(Machine::regular(1, 1, 2, 2, false)),
        Just(Machine::regular(1, 2, 2, 2, false)),
        Just(Machine::regular(2, 1, 2, 2, true)),
    ]
}

fn params() -> impl Strategy<Value = SimParams> {
    let tick = prop_oneof![Just(StopTick::AtOnce), Just(StopTick::AfterIdleTick), Just(StopTick::Never)];
    let delay = || prop_oneof![Just(0), 1u64..20 * US];
    let delays = (delay(), delay(), delay(), delay(), delay()).prop_map(
        |(resched_ipi, call_ipi, softirq, stopper, idle_entry)| Delays {
            hrtick: 1_000,
            resched_ipi,
            call_ipi,
            tick: softirq / 2,
            softirq,
            stopper,
            idle_entry,
        },
    );
    (any::<u64>(), tick, delays, any::<bool>(), delay(), delay()).prop_map(
        |(seed, stop_tick, delays, skew_tick, switch_cost, start_jitter)| SimParams {
            seed,
            stop_tick,
            delays,
            skew_tick,
            switch_cost,
            start_jitter,
            tick_jitter: start_jitter,
            ..SimParams::default()
        },
    )
}

/// Any kernel, with periods of the guards against starvation that fit a short run.
fn any_kernel() -> impl Strategy<Value = Kernel> {
    let guard = GuardTunables {
        rt_period_ns: 20 * MS,
        rt_runtime_ns: 19 * MS,
        fair_server_period_ns: 20 * MS,
        fair_server_runtime_ns: MS,
    };
    prop::sample::select(&kernels::ALL[..])
        .prop_map(move |kernel| Kernel { tunables: Tunables { guard, ..kernel.tunables }, ..*kernel })
}

fn run(
    machine: &Machine,
    kernel: &Kernel,
    workload: &Workload,
    params: SimParams,
    check: bool,
) -> (String, RunResult) {
    let mut sim = Simulation::new(machine, kernel, workload, params, Digest::default()).unwrap();
    while sim.now() < 60 * MS && sim.step().unwrap() {
        if check {
            sim.sched().check();
        }
    }
    let result = sim.result();
    for task in &result.tasks {
        if sim.sched().rqs().iter().all(|rq| rq.curr != Some(task.id)) {
            assert_eq!(
                task.times.run,
                sim.sched().entity(task.id).sum_exec,
                "both account the same running time"
            );
        }
        assert_eq!(task.migrations.total(), sim.sched().tasks()[task.id].nr_migrations);
    }
    (sim.observer().to_string(), result)
}

proptest! {
    #[test]
    fn any_run_keeps_all_invariants_and_repeats_itself(
        (machine, workload) in machines().prop_flat_map(|machine| {
            let cpus = machine.nr_cpus() as u32;
            (Just(machine), workload(cpus))
        }),
        kernel in any_kernel(),
        groups in limits(),
        params in params(),
    ) {
        let workload = Workload { groups: known_to(&kernel, groups), ..workload };
        let checked = run(&machine, &kernel, &workload, params, true);
        let again = run(&machine, &kernel, &workload, params, false);
        prop_assert_eq!(checked, again);
    }
}
