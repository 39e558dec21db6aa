//! Every feature of the run queues can be switched, and makes a difference: the same busy workload, once with it and once
//! without, is another run.
use evenkeel::kernel::{Features, Kernel};
use evenkeel::kernels;
use evenkeel::time::{MS, US};
use evenkeel::topology::Machine;
use evenkeel::workload::{
    Attributes, Object, ObjectId, ObjectKind, Op, Phase, Policy, Program, Repeat, TaskSpec, Workload,
};
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{SimParams, Simulation};

/// Features of spec 2 §1.3 that the fair class consults, but for marks of buddies and estimates, which seldom decide
/// anything; they are tested where they are consulted.
const FEATURES: Features = Features::GENTLE_FAIR_SLEEPERS
    .union(Features::START_DEBIT)
    .union(Features::LAST_BUDDY)
    .union(Features::NEXT_BUDDY)
    .union(Features::ALT_PERIOD)
    .union(Features::BASE_SLICE)
    .union(Features::PLACE_LAG)
    .union(Features::PLACE_DEADLINE_INITIAL)
    .union(Features::PLACE_REL_DEADLINE)
    .union(Features::RUN_TO_PARITY)
    .union(Features::PREEMPT_SHORT)
    .union(Features::DELAY_DEQUEUE)
    .union(Features::DELAY_ZERO)
    .union(Features::WAKEUP_PREEMPTION)
    .union(Features::HRTICK)
    .union(Features::TTWU_QUEUE);

/// Tasks of all kinds, in and out of groups, more than the CPUs can run.
fn workload() -> Workload {
    let task = |name: &str, instances: u32, ops: Vec<Op>, attributes: Attributes| {
        let phase = Phase { ops, repeat: Repeat::Forever, ..Phase::default() };
        let program = Program { phases: vec![phase], repeat: Repeat::Forever };
        TaskSpec { name: name.into(), instances, attributes, program, ..TaskSpec::default() }
    };
    let of = |group: &str, nice: i32| Attributes {
        group: Some(group.into()),
        nice: Some(nice),
        ..Attributes::default()
    };
    let (ping, pong) = (ObjectId(0), ObjectId(1));
    let talk = |first: Op, then: Op| vec![first, Op::Run(150 * US), then];
    let tasks = vec![
        task("hog", 6, vec![Op::Run(100 * MS)], of("/", 0)),
        task("light", 3, vec![Op::Run(100 * MS)], of("/", 7)),
        task("batch", 3, vec![Op::Run(7 * MS), Op::Sleep(MS)], of("/a", 0)),
        task("sleepy", 4, vec![Op::Run(2 * MS), Op::Sleep(9 * MS)], of("/a/b", 3)),
        task("waker", 6, vec![Op::Run(400 * US), Op::Sleep(3 * MS)], of("/", -3)),
        task(
            "short",
            2,
            vec![Op::Run(MS), Op::Sleep(5 * MS)],
            Attributes { slice: Some(200 * US), ..of("/a", 0) },
        ),
        task(
            "idle",
            3,
            vec![Op::Run(3 * MS), Op::Sleep(2 * MS)],
            Attributes { policy: Some(Policy::Idle), ..Attributes::default() },
        ),
        task("ping", 2, talk(Op::Send { channel: ping, sync: true }, Op::Receive(pong)), of("/", 0)),
        task("pong", 2, talk(Op::Receive(ping), Op::Send { channel: pong, sync: true }), of("/", 0)),
        task("yields", 1, vec![Op::Run(300 * US), Op::Yield], of("/a", 0)),
    ];
    let objects = ["ping", "pong"].map(|name| Object { name: name.into(), kind: ObjectKind::Channel });
    Workload { tasks, objects: objects.into(), ..Workload::default() }
}

fn digest(kernel: &Kernel) -> String {
    let machine = Machine::regular(1, 2, 2, 1, false);
    let mut sim =
        Simulation::new(&machine, kernel, &workload(), SimParams::default(), Digest::default()).unwrap();
    sim.run_until(500 * MS).unwrap();
    sim.into_parts().0.to_string()
}

#[test]
fn every_feature_that_can_be_switched_makes_a_difference() {
    let mut without_effect = Vec::new();
    for kernel in kernels::ALL {
        let before = digest(kernel);
        let can = kernel.features_known.intersection(FEATURES).difference(kernel.features_refused());
        for (name, feature) in can.iter_names() {
            let features = kernel.features.symmetric_difference(feature);
            if digest(&Kernel { features, ..*kernel }) == before {
                without_effect.push(format!("{name} in {}", kernel.build));
            }
        }
    }
    assert!(without_effect.is_empty(), "{without_effect:?}");
}
