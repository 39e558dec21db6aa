//! Every branch of balancing is reached: each variant of each reason that passes tell is seen in some run.
//!
//! The runs are random events on small machines under all kernels, and for what these meet too seldom a scene of its own
//! ([`SCENES`]). A branch that is added shows up here by itself: its variant makes `mark()` of its enum incomplete, which
//! does not compile. Add its name to the list of that enum; if the test then says that it was never seen, add a scene
//! that reaches it.
use super::active::{ActiveReason, StopperOutcome};
use super::choose::{GroupRule, Pick, PickRule};
use super::env::{FbqType, IdleType, LbFlags, MigrationType, Trigger};
use super::event::{
    BalanceEvent, KickOutcome, KickReason, NewIdleGate, NohzVisit, PassOutcome, TaskVerdict, Turn,
};
use super::imbalance::ImbalanceRule;
use super::locality::TaskMemory;
use super::migrate::Refusal;
use super::rules::EnergyAware;
use super::source::QueueVerdict;
use super::stats::Search;
use super::stress;
use super::tests::{Bench, caches};
use crate::cost::CostModel;
use crate::ids::{CpuId, TgId};
use crate::io::Input;
use crate::kernel::{Features, Kernel};
use crate::kernels::{self, V6_12_117, V6_18_15, V7_2_13};
use crate::observe::{Event, Observer};
use crate::time::{MS, Ns, US};
use crate::topology::{Arch, Machine, SdFlags};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Something with named cases.
trait Mark {
    /// All of them.
    const ALL: &'static [&'static str];
    /// This one.
    fn mark(&self) -> &'static str;
}

/// Implements [`Mark`]; an enum with a variant that is not listed does not compile.
macro_rules! marks {
    ($($type:ident: $($variant:ident)*;)*) => {$(
        impl Mark for $type {
            const ALL: &'static [&'static str] =
                &[$(concat!(stringify!($type), "::", stringify!($variant))),*];
            fn mark(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant))),*
                }
            }
        }
    )*};
}

/// Whether a moved task was cache hot.
enum MovedHot {
    Yes,
    No,
}

marks! {
    MovedHot: Yes No;
    BalanceEvent: Tick PassBegin Turn Group SrcGroup Queue SrcQueue Task Break NewDestination Redo PassEnd
        ActiveBalanceStart ActiveBalanceEnd Due NotDue Serialized NewIdle NohzKick NohzBalance NohzVisit NohzAborted
        NohzEnter NohzExit;
    IdleType: NotIdle Idle NewlyIdle;
    Trigger: Periodic Nohz NewIdle;
    Turn: NewlyIdle WorkArrived NotCandidate IdleCore IdleThread BalanceCpu;
    PassOutcome: Moved NotOurTurn Serialized NoSrcGroup NoSrcQueue AllPinned Failed ActiveBalance CurrPinned;
    MigrationType: Load Util Task Misfit LlcTask;
    FbqType: Regular Remote All;
    QueueVerdict: Best NumaClass Empty NotSmaller Preferred SingleTaskTooBig SingleTask NotMore;
    TaskVerdict: Moved Refused;
    Refusal: Throttled Delayed Ineligible PerCpuKthread Pinned Running DegradesLocality PrefersOtherCache DegradesLlc
        CacheHot TooLight TooBig FitsSource;
    ActiveReason: AsymPacking Failures ReducedCapacity Misfit PrefersOurCache;
    StopperOutcome: Inactive NotAsked NothingWaits NoDomain NoTask Pushed;
    KickReason: Idle NobodyIdle NotDue SeveralTasks ReducedCapacity AsymPacking Misfit NoMisfit LlcBusy NoReason;
    KickOutcome: NoFlags NoTarget AlreadyPending Sent;
    NohzVisit: NotIdle NotDue NotAsked Balances;
    NewIdleGate: WakeupPending NotActive NoDomain NotOverloaded AvgIdleTooShort LevelTooExpensive LevelExcluded Dice
        Passed Done;
    Pick: Local Taken Refused;
    PickRule: NoFairTask MisfitNotForUs BiggerCpus Type AvgLoad FirstImbalanced PreferOurCache AsymPriority MisfitLoad Busy
        SmtOrNot Spare;
    GroupRule: NoBusiest Misfit EnergyAware AsymPacking Imbalanced LocalBusierType LocalMoreLoaded LocalAboveAverage
        WithinTolerance BeyondTolerance PreferOurCache PreferSibling DestinationBusy SmtBalance NoMoreIdleCpus
        SingleTask SpareCapacity Default;
    ImbalanceRule: MisfitTask MisfitLoad AsymPacking SmtBalance LlcBalance Imbalanced SpareUtilisation NoSpareUtilisation Siblings
        IdleCpus NodeTolerance LocalMoreLoaded LocalAboveAverage EvenOut ClassicAsymPacking ClassicEvenOut
        ClassicWholeTask ClassicThroughput ClassicSmall;
}

/// The flags of a pass, and by which event each is known to have been set.
const FLAGS: &[(LbFlags, &str)] = &[
    (LbFlags::ALL_PINNED, "ALL_PINNED"),
    (LbFlags::NEED_BREAK, "BalanceEvent::Break"),
    (LbFlags::DST_PINNED, "BalanceEvent::NewDestination"),
    (LbFlags::SOME_PINNED, "SOME_PINNED"),
    (LbFlags::ACTIVE_LB, "StopperOutcome::Pushed"),
    (LbFlags::LLC_PINNED, "LLC_PINNED"),
    (LbFlags::ACTIVE_LB_LLC, "ActiveReason::PrefersOurCache"),
];

/// What was seen.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    fn add(&mut self, marks: &[&dyn Fn() -> &'static str]) {
        self.0.extend(marks.iter().map(|mark| mark()));
    }

    fn note(&mut self, event: &BalanceEvent) {
        self.add(&[&|| event.mark()]);
        match event {
            BalanceEvent::PassBegin { idle, trigger, .. } => self.add(&[&|| idle.mark(), &|| trigger.mark()]),
            BalanceEvent::Turn { turn, .. } => self.add(&[&|| turn.mark()]),
            BalanceEvent::Group { pick, .. } => {
                self.add(&[&|| pick.mark()]);
                if let Pick::Taken(rule) | Pick::Refused(rule) = pick {
                    self.add(&[&|| rule.mark()]);
                }
            }
            BalanceEvent::SrcGroup { verdict, fbq_type, .. } => {
                self.add(&[&|| verdict.rule.mark(), &|| fbq_type.mark()]);
                if let Some(imbalance) = &verdict.imbalance {
                    self.add(&[&|| imbalance.rule.mark()]);
                }
            }
            BalanceEvent::Queue { verdict, .. } => self.add(&[&|| verdict.mark()]),
            BalanceEvent::SrcQueue { cpu: Some(_), migration_type, .. } => {
                self.add(&[&|| migration_type.mark()]);
            }
            BalanceEvent::Task { verdict, .. } => {
                self.add(&[&|| verdict.mark()]);
                match verdict {
                    TaskVerdict::Refused(refusal) => self.add(&[&|| refusal.mark()]),
                    TaskVerdict::Moved { hot: true } => self.add(&[&|| MovedHot::Yes.mark()]),
                    TaskVerdict::Moved { hot: false } => self.add(&[&|| MovedHot::No.mark()]),
                }
            }
            BalanceEvent::PassEnd { outcome, flags, .. } => {
                self.add(&[&|| outcome.mark()]);
                let set = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
                self.0.extend(set);
            }
            BalanceEvent::ActiveBalanceStart { reason, .. } => self.add(&[&|| reason.mark()]),
            BalanceEvent::ActiveBalanceEnd { outcome, .. } => self.add(&[&|| outcome.mark()]),
            BalanceEvent::NewIdle { gate, .. } => self.add(&[&|| gate.mark()]),
            BalanceEvent::NohzKick { reason, outcome, .. } => {
                self.add(&[&|| reason.mark(), &|| outcome.mark()]);
            }
            BalanceEvent::NohzVisit { visit, .. } => self.add(&[&|| visit.mark()]),
            _ => {}
        }
    }
}

impl Observer for Seen {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, event: &Event) {
        if let Event::Balance(event) = event {
            self.note(event);
        }
    }
}

/// Machines on which all kinds of levels exist.
fn machines() -> Vec<Machine> {
    let mut big_little = caches(2, 2);
    for cpu in &mut big_little.cpus[..2] {
        cpu.capacity = 430;
    }
    big_little.arch = Arch::Generic;
    let mut preferred = Machine::regular(1, 1, 2, 2, false);
    preferred.itmt = true;
    preferred.cpus[2].asym_priority = Some(9);
    let nodes = Machine::regular(2, 1, 2, 1, true);
    Vec::from([caches(1, 4), Machine::regular(1, 2, 2, 2, false), nodes, big_little, preferred, hybrid()])
}

/// Two cores of two threads and two of one.
fn hybrid() -> Machine {
    let mut machine = caches(1, 6);
    for (cpu, core) in [0, 0, 1, 1, 2, 3].into_iter().enumerate() {
        machine.cpus[cpu].core = core;
    }
    machine
}

/// A scene for what random events meet too seldom; the name says what.
type Scene = (&'static str, fn() -> Bench);

const SCENES: &[Scene] = &[
    ("a long scan", long_scan),
    ("a level that another CPU balances, skipped", || serialized(&V6_12_117)),
    ("a level that another CPU balances, counted", || serialized(&V6_18_15)),
    ("a destination that is being unplugged", unplugged_destination),
    ("queues of tasks that prefer another node", remote_queues),
    ("a task that would leave its memory", leaves_memory),
    ("a kernel thread of its CPU", kernel_thread),
    ("a throttled group", throttled),
    ("a light task", light_task),
    ("a CPU whose capacity others use", reduced_capacity),
    ("a tick of a CPU whose capacity others use", reduced_capacity_kick),
    ("a stopper whose CPU goes down", stopper_of_dead_cpu),
    ("a stopper asked twice", || stopper(|bench| bench.sched.rqs[4].active_balance = false)),
    ("a stopper between partitions", || stopper(|bench| bench.sched.topo.cpus[0].base = None)),
    ("new idle while unplugged", || new_idle(|bench, _| bench.sched.rqs[0].active = false)),
    ("new idle without domains", || new_idle(|bench, _| bench.sched.topo.cpus[0].base = None)),
    ("new idle for a short time", || new_idle(|bench, base| cost(bench, base, 601 * US))),
    ("new idle, used up", || new_idle(|bench, _| cost(bench, "PKG", 601 * US))),
    ("new idle, excluded", || {
        new_idle(|bench, base| bench.domain(0, base).flags.remove(SdFlags::BALANCE_NEWIDLE))
    }),
    ("two groups with misfits", two_misfit_groups),
    ("a core beside a CPU that does not spread", smt_balance),
    ("two caches with tasks that prefer a third", preferred_cache),
    ("a task whose process gathers where it is", gathered),
];

fn long_scan() -> Bench {
    let mut bench = Bench::new(&caches(2, 4));
    for _ in 0..12 {
        bench.hog(4, "4");
    }
    bench.sched.kernel.tunables.nr_migrate_break = 4;
    bench.advance(MS);
    bench.only_pass(0, "PKG", IdleType::Idle);
    bench
}

fn serialized(kernel: &Kernel) -> Bench {
    let mut bench = Bench::of(kernel, &Machine::regular(2, 1, 2, 1, true), CostModel::ZERO);
    bench.advance(100 * MS);
    bench.sched.balance_running = true;
    bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
    bench
}

fn unplugged_destination() -> Bench {
    let mut bench = Bench::new(&caches(1, 4));
    bench.sched.active.clear(CpuId(0));
    bench.only_pass(0, "MC", IdleType::Idle);
    bench
}

/// CPU 2 of another node runs a task and has two waiting that prefer `node`.
fn beside(node: u32) -> Bench {
    let mut bench = Bench::new(&Machine::regular(2, 1, 2, 1, true));
    for _ in 0..3 {
        let task = bench.hog(2, "0-3");
        let memory =
            TaskMemory { preferred_node: Some(node), faults: Vec::from([1, 9]), group_faults: Vec::new() };
        bench.input(Input::SetMemory { task, memory }, |_| false);
    }
    bench.advance(MS);
    bench
}

fn remote_queues() -> Bench {
    let mut bench = beside(0);
    bench.only_pass(0, "NUMA", IdleType::Idle);
    bench
}

fn leaves_memory() -> Bench {
    let mut bench = beside(1);
    bench.hog(2, "0-3");
    bench.only_pass(0, "NUMA", IdleType::Idle);
    bench
}

fn kernel_thread() -> Bench {
    let mut bench = Bench::new(&caches(1, 4));
    for _ in 0..3 {
        let task = bench.hog(1, "1");
        bench.input(Input::BindKthread { task }, |_| false);
    }
    bench.only_pass(0, "MC", IdleType::Idle);
    bench
}

fn throttled() -> Bench {
    let mut bench = Bench::new(&caches(1, 4));
    let group = bench.sched.new_group(TgId(0), "/g", 1 << 20, false);
    for _ in 0..3 {
        let task = bench.hog(1, "0-3");
        bench.input(Input::SetGroup { task, group }, |_| false);
    }
    let here = bench.sched.groups[group.index()].queues[0];
    bench.sched.queues[here.index()].bandwidth.throttle_count = 1;
    bench.only_pass(0, "MC", IdleType::Idle);
    bench
}

fn light_task() -> Bench {
    let mut bench = Bench::new(&caches(1, 4));
    for _ in 0..3 {
        let task = bench.hog(1, "0-3");
        let se = bench.sched.tasks[task].se;
        bench.sched.entities[se.index()].avg.load_avg = 10;
    }
    bench.sched.kernel.features.insert(Features::LB_MIN);
    bench.advance(MS);
    let sd = bench.sd(0, "MC");
    let mut env = bench.sched.new_env(CpuId(0), CpuId(0), sd, IdleType::NotIdle);
    (env.src_cpu, env.imbalance, env.loop_max) = (CpuId(1), 100, 3);
    bench.sched.detach_tasks(&mut env);
    bench
}

/// CPU 1 runs a task on 600 of its 1024.
fn used_by_others() -> Bench {
    let mut bench = Bench::new(&caches(1, 4));
    bench.hog(1, "0-3");
    bench.sched.rqs[1].cpu_capacity = 600;
    bench
}

fn reduced_capacity() -> Bench {
    let mut bench = used_by_others();
    bench.only_pass(0, "MC", IdleType::Idle);
    bench
}

fn reduced_capacity_kick() -> Bench {
    let mut bench = used_by_others();
    bench.sched.nohz.next_balance = bench.sched.jiffies();
    bench.sched.nohz_balancer_kick(CpuId(1));
    bench
}

/// CPU 4 is asked to push its task to CPU 0; what happens until it does.
fn stopper(meanwhile: fn(&mut Bench)) -> Bench {
    let mut bench = Bench::new(&caches(2, 4));
    for cpu in 4..8 {
        bench.hog(cpu, "0-7");
    }
    bench.domain(0, "PKG").nr_balance_failed = 3;
    bench.only_pass(0, "PKG", IdleType::Idle);
    assert!(bench.sched.rqs[4].active_balance);
    meanwhile(&mut bench);
    bench.sched.active_load_balance(CpuId(4), false);
    assert!(!bench.sched.rqs[4].active_balance, "whatever happened, it can be asked again");
    bench
}

fn stopper_of_dead_cpu() -> Bench {
    stopper(|bench| bench.sched.rqs[0].active = false)
}

/// CPU 0 runs out of work where others have some; its idle periods are 600 us long.
fn new_idle(change: fn(&mut Bench, &str)) -> Bench {
    let cost = CostModel { pass: 10 * US, ..CostModel::ZERO };
    let mut bench = Bench::of(&V6_12_117, &caches(2, 2), cost);
    let root = bench.sched.topo.cpus[0].root;
    bench.sched.topo.roots[root.index()].overloaded = true;
    bench.sched.kernel.features.remove(Features::NI_RANDOM);
    bench.sched.rqs[0].avg_idle = 600 * US;
    change(&mut bench, "MC");
    bench.sched.sched_balance_newidle(CpuId(0));
    bench
}

fn cost(bench: &mut Bench, level: &str, cost: Ns) {
    bench.domain(0, level).max_newidle_lb_cost = cost;
}

fn two_misfit_groups() -> Bench {
    let mut machine = caches(3, 2);
    machine.cpus[..4].iter_mut().for_each(|cpu| cpu.capacity = 430);
    machine.arch = Arch::Generic;
    let mut bench = Bench::new(&machine);
    for (cpu, load) in [(0, 900), (2, 1000)] {
        bench.hog(cpu, "0-5");
        bench.sched.rqs[cpu as usize].misfit_task_load = load;
    }
    bench.only_pass(4, "PKG", IdleType::Idle);
    bench
}

fn smt_balance() -> Bench {
    let mut bench = Bench::new(&hybrid());
    bench.hog(0, "0-5");
    bench.hog(1, "0-5");
    for group in &mut bench.sched.topo.groups {
        group.flags.remove(SdFlags::PREFER_SIBLING);
    }
    bench.only_pass(5, "MC", IdleType::Idle);
    bench
}

fn preferred_cache() -> Bench {
    let mut bench = Bench::of(&V7_2_13, &caches(3, 4), CostModel::ZERO);
    // The last one waits and stays.
    let tasks = [(4, 0), (8, 0), (4, 1)].map(|(cpu, llc)| (bench.hog(cpu, "0-11"), llc));
    for (task, llc) in tasks {
        bench.sched.tasks[task].llc.preferred = Some(llc);
        bench.sched.count_llc(task);
    }
    bench.advance(MS);
    bench.only_pass(0, "PKG", IdleType::Idle);
    bench
}

fn gathered() -> Bench {
    let mut bench = Bench::of(&V7_2_13, &caches(3, 4), CostModel::ZERO);
    let process = bench.sched.new_process();
    for task in [0; 2].map(|_| bench.hog(4, "0-11")) {
        bench.sched.tasks[task].llc.process = Some(process);
    }
    let record = &mut bench.sched.processes[process.index()];
    (record.threads, record.cpu) = (2, Some(CpuId(5)));
    bench.advance(MS);
    bench.only_pass(0, "PKG", IdleType::Idle);
    bench
}

/// Energy-aware placement is an input that the scheduler leaves at "off".
fn energy_aware(seen: &mut Seen) {
    let mut bench = Bench::new(&caches(1, 4));
    for _ in 0..3 {
        bench.hog(1, "0-3");
    }
    let sd = bench.sd(0, "MC");
    let env = bench.sched.new_env(CpuId(0), CpuId(0), sd, IdleType::Idle);
    bench.sched.scratch.lb_cpus.copy_from(&bench.sched.topo.domains[sd.index()].span);
    let search = Search { energy_aware: EnergyAware::InCharge, ..bench.sched.search(&env) };
    let mut sds = search.update_sd_lb_stats();
    seen.0.insert(search.find_src_group(&mut sds).rule.mark());
}

#[test]
fn every_variant_of_every_reason_is_seen() {
    let mut seen = Seen::default();
    for (i, machine) in machines().iter().enumerate() {
        for kernel in kernels::ALL {
            seen.0.append(&mut stress::run::<Seen>(kernel, machine, 7 + i as u64).0);
        }
    }
    energy_aware(&mut seen);
    for (name, scene) in SCENES {
        let bench = scene();
        assert!(!bench.sched.observer.0.is_empty(), "nothing is told of {name}");
        bench.sched.observer.0.iter().for_each(|event| seen.note(event));
    }
    let all = [
        BalanceEvent::ALL,
        IdleType::ALL,
        Trigger::ALL,
        Turn::ALL,
        PassOutcome::ALL,
        MigrationType::ALL,
        FbqType::ALL,
        QueueVerdict::ALL,
        TaskVerdict::ALL,
        Refusal::ALL,
        ActiveReason::ALL,
        StopperOutcome::ALL,
        KickReason::ALL,
        KickOutcome::ALL,
        NohzVisit::ALL,
        NewIdleGate::ALL,
        Pick::ALL,
        PickRule::ALL,
        GroupRule::ALL,
        ImbalanceRule::ALL,
    ];
    assert_eq!(FLAGS.iter().fold(LbFlags::empty(), |all, (flag, _)| all | *flag), LbFlags::all());
    let flags = FLAGS.iter().map(|(_, name)| name);
    let missing: Vec<_> =
        all.concat().iter().chain(flags).filter(|mark| !seen.0.contains(*mark)).copied().collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}
