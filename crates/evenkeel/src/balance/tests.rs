//! Whole passes through the simulated scheduler (spec 3 §17); single decisions are in `tests/balance_decisions.rs`.
use super::active::ActiveReason;
use super::capacity::{CapacityUse, scale_rt_capacity};
use super::env::{IdleType, MigrationType};
use super::event::{BalanceEvent, KickOutcome, KickReason, NewIdleGate, PassOutcome, TaskVerdict, Turn};
use super::migrate::Refusal;
use super::newidle::newidle_weight;
use super::rules::{CostDecay, PeriodicRules, Pressure};
use super::trigger::{balance_interval, update_newidle_cost, update_newidle_stats};
use crate::cost::CostModel;
use crate::ids::{CpuId, DomainId, TaskId, TgId};
use crate::io::{Action, Input, IpiKind};
use crate::kernel::Kernel;
use crate::kernels::{self, V4_19_0, V5_15_0, V6_1_192, V7_2_13};
use crate::mask::CpuMask;
use crate::observe::{Event, Observer};
use crate::rq::NohzFlags;
use crate::sched::{Params, Sched};
use crate::task::TaskParams;
use crate::time::{MS, Ns, US};
use crate::topology::Machine;
use crate::workload::Policy;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

const PERIODIC: PeriodicRules = kernels::DEFAULT.balance.periodic;

/// Keeps what balancing tells.
#[derive(Default)]
pub(super) struct Log(pub(super) Vec<BalanceEvent>);

impl Observer for Log {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, event: &Event) {
        if let Event::Balance(event) = event {
            self.0.push(event.clone());
        }
    }
}

pub(super) struct Bench {
    pub(super) sched: Sched<Log>,
    now: Ns,
}

impl Bench {
    pub(super) fn new(machine: &Machine) -> Self {
        Self::with_cost(machine, CostModel::ZERO)
    }

    pub(super) fn with_cost(machine: &Machine, cost: CostModel) -> Self {
        Self::of(kernels::DEFAULT, machine, cost)
    }

    /// With any build, also those that are not offered for whole runs yet.
    pub(super) fn of(kernel: &Kernel, machine: &Machine, cost: CostModel) -> Self {
        let params = Params { cost, ..Params::default() };
        let kernel = Kernel { runs: true, ..*kernel };
        let sched = Sched::new(machine, &kernel, params, Log::default()).unwrap();
        Self { sched, now: MS }
    }

    /// Carries out what an input leads to at the same instant; actions for which `keep` is true are only returned.
    pub(super) fn input(&mut self, input: Input, keep: fn(&Action) -> bool) -> Vec<Action> {
        let (mut inputs, mut kept) = (vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            self.sched.handle(self.now, input);
            while let Some(action) = self.sched.poll() {
                match action {
                    action if keep(&action) => kept.push(action),
                    Action::Resched { cpu, .. } => inputs.insert(0, Input::Schedule { cpu }),
                    Action::RaiseSoftirq { cpu } => inputs.push(Input::Softirq { cpu }),
                    Action::Ipi { to, kind, .. } => inputs.push(Input::Ipi { cpu: to, kind }),
                    Action::StopCpu { cpu, .. } => inputs.push(Input::StopperRun { cpu }),
                    Action::Switched { .. }
                    | Action::HrtickStart { .. }
                    | Action::GroupTimer { .. }
                    | Action::LimitTimer { .. } => {}
                }
            }
        }
        self.sched.check();
        kept
    }

    /// A task on `cpu` that may afterwards run on the CPUs of the list.
    pub(super) fn hog(&mut self, cpu: u32, allowed: &str) -> TaskId {
        let ncpus = self.sched.rqs.len();
        let task = self.sched.new_task(&TaskParams {
            policy: Policy::Normal,
            nice: 0,
            slice: 0,
            allowed: CpuMask::from_cpus(ncpus, [CpuId(cpu)]),
            group: TgId(0),
        });
        self.input(Input::Fork { cpu: CpuId(cpu), child: task }, |_| false);
        self.allow(task, allowed);
        task
    }

    /// Brings the running task of `cpu` to the head of its list, as the next pick would.
    pub(super) fn settle(&mut self, cpu: u32) {
        let rq = &mut self.sched.rqs[cpu as usize];
        let running = rq.curr.expect("something runs");
        rq.cfs_tasks.move_to_head(&mut self.sched.tasks, running);
    }

    pub(super) fn allow(&mut self, task: TaskId, allowed: &str) {
        let mask = CpuMask::parse_list(allowed, self.sched.rqs.len()).unwrap();
        let changed = &mut self.sched.tasks[task];
        changed.nr_cpus_allowed = mask.weight();
        changed.allowed = Arc::new(mask);
        self.sched.note_allowed_capacity(task);
    }

    /// The tasks of `cpu` from the tail of its list to the head.
    pub(super) fn tasks_of(&mut self, cpu: u32) -> Vec<TaskId> {
        let list = self.sched.rqs[cpu as usize].cfs_tasks;
        let mut tasks = Vec::new();
        let mut next = list.tail();
        while let Some(task) = next {
            tasks.push(task);
            next = list.towards_head(&mut self.sched.tasks, task);
        }
        tasks
    }

    pub(super) fn sd(&self, cpu: u32, name: &str) -> DomainId {
        let mut chain = self.sched.topo.chain(CpuId(cpu));
        chain.find(|sd| self.sched.topo.domains[sd.index()].name == name).expect("the level exists")
    }

    pub(super) fn domain(&mut self, cpu: u32, name: &str) -> &mut crate::topology::Domain {
        let sd = self.sd(cpu, name);
        &mut self.sched.topo.domains[sd.index()]
    }

    /// A pass of `cpu` on a level, and everything it leads to.
    pub(super) fn pass(&mut self, cpu: u32, level: &str, idle: IdleType) -> u32 {
        self.advance(0);
        let moved = self.only_pass(cpu, level, idle);
        self.drain();
        moved
    }

    /// A pass without what it leads to.
    pub(super) fn only_pass(&mut self, cpu: u32, level: &str, idle: IdleType) -> u32 {
        let sd = self.sd(cpu, level);
        self.sched.observer.0.clear();
        self.sched.sched_balance_rq(CpuId(cpu), CpuId(cpu), sd, idle).moved
    }

    /// Carries out what is pending.
    pub(super) fn drain(&mut self) {
        let pending: Vec<Action> = core::iter::from_fn(|| self.sched.poll()).collect();
        for action in pending {
            match action {
                Action::Resched { cpu, .. } => drop(self.input(Input::Schedule { cpu }, |_| false)),
                Action::StopCpu { cpu, .. } => drop(self.input(Input::StopperRun { cpu }, |_| false)),
                Action::Switched { .. } => {}
                other => panic!("{other:?} was not expected"),
            }
        }
    }

    pub(super) fn advance(&mut self, by: Ns) {
        self.now += by;
        // A tick that nobody answers brings the scheduler's clock there.
        self.sched.now += by;
    }

    pub(super) fn verdicts(&self) -> Vec<TaskVerdict> {
        let verdict = |event: &BalanceEvent| match event {
            BalanceEvent::Task { verdict, .. } => Some(*verdict),
            _ => None,
        };
        self.sched.observer.0.iter().filter_map(verdict).collect()
    }

    pub(super) fn outcome(&self) -> PassOutcome {
        let outcome = |event: &BalanceEvent| match event {
            BalanceEvent::PassEnd { outcome, .. } => Some(*outcome),
            _ => None,
        };
        self.sched.observer.0.iter().rev().find_map(outcome).expect("a pass has ended")
    }

    pub(super) fn gates(&self) -> Vec<NewIdleGate> {
        let gate = |event: &BalanceEvent| match event {
            BalanceEvent::NewIdle { gate, .. } => Some(*gate),
            _ => None,
        };
        self.sched.observer.0.iter().filter_map(gate).collect()
    }
}

const NEW: usize = IdleType::NewlyIdle as usize;
const IDLE: usize = IdleType::Idle as usize;

pub(super) fn caches(llcs: u32, cores: u32) -> Machine {
    Machine::regular(1, llcs, cores, 1, false)
}

/// V1.
#[test]
fn a_new_idle_pass_takes_one_task_and_resets_the_level() {
    let mut bench = Bench::new(&caches(1, 4));
    for cpu in [1, 1, 1, 2, 3] {
        bench.hog(cpu, "0-3");
    }
    bench.settle(1);
    bench.advance(MS);
    let tail = bench.tasks_of(1)[0];
    let domain = bench.domain(0, "MC");
    (domain.nr_balance_failed, domain.balance_interval) = (1, 8);
    assert_eq!(bench.pass(0, "MC", IdleType::NewlyIdle), 1);
    assert_eq!(bench.verdicts(), [TaskVerdict::Moved { hot: false }]);
    assert_eq!(bench.sched.tasks[tail].cpu, CpuId(0));
    let domain = bench.domain(0, "MC");
    assert_eq!((domain.nr_balance_failed, domain.balance_interval), (0, 4));
    let counters = domain.stats.lb[NEW];
    assert_eq!((counters.count, counters.gained, counters.imbalance_task, counters.failed), (1, 1, 1, 0));
}

/// V1, variant.
#[test]
fn a_new_idle_pass_over_hot_tasks_fails_without_counting_the_failure() {
    let mut bench = Bench::new(&caches(1, 4));
    for cpu in [1, 1, 1] {
        bench.hog(cpu, "0-3");
    }
    bench.settle(1);
    bench.advance(MS);
    bench.sched.update_rq_clock(CpuId(1));
    let waiting = bench.tasks_of(1)[..2].to_vec();
    for &task in &waiting {
        let se = bench.sched.tasks[task].se;
        bench.sched.entities[se.index()].exec_start = bench.sched.rqs[1].clock_task - 100 * US;
    }
    assert_eq!(bench.pass(0, "MC", IdleType::NewlyIdle), 0);
    let (hot, running) = (TaskVerdict::Refused(Refusal::CacheHot), TaskVerdict::Refused(Refusal::Running));
    assert_eq!(bench.verdicts(), [hot, hot, running]);
    assert!(waiting.iter().all(|&task| bench.sched.tasks[task].nr_failed_migrations_hot == 1));
    assert_eq!(bench.outcome(), PassOutcome::Failed);
    let domain = bench.domain(0, "MC");
    assert_eq!((domain.stats.lb[NEW].failed, domain.nr_balance_failed, domain.balance_interval), (1, 0, 4));
}

/// V2.
#[test]
fn after_three_failures_the_fourth_pass_has_a_running_task_pushed() {
    let mut bench = Bench::new(&caches(2, 4));
    for cpu in 4..8 {
        bench.hog(cpu, "0-7");
    }
    for failed in 1..=3 {
        bench.advance(4 * MS);
        assert_eq!(bench.pass(0, "PKG", IdleType::Idle), 0);
        assert_eq!(bench.outcome(), PassOutcome::Failed);
        assert_eq!(bench.domain(0, "PKG").nr_balance_failed, failed);
    }
    bench.advance(4 * MS);
    assert_eq!(bench.only_pass(0, "PKG", IdleType::Idle), 0);
    assert_eq!(bench.outcome(), PassOutcome::ActiveBalance);
    assert_eq!(bench.domain(0, "PKG").nr_balance_failed, 4);
    assert!(bench.sched.rqs[4].active_balance && bench.sched.rqs[4].nr_running == 2);
    bench.drain();
    let domain = bench.domain(0, "PKG");
    assert_eq!((domain.stats.alb_count, domain.stats.alb_pushed, domain.stats.alb_failed), (1, 1, 0));
    assert_eq!((domain.stats.lb[IDLE].gained, domain.stats.lb[IDLE].failed), (1, 4));
    assert_eq!((domain.nr_balance_failed, domain.balance_interval), (0, 8));
    assert!(!bench.sched.rqs[4].active_balance);
    assert_eq!([bench.sched.rqs[0].nr_running, bench.sched.rqs[4].nr_running], [1, 0]);
}

/// V4: the hierarchical load is computed once a jiffy, over a queue that shrinks meanwhile.
#[test]
fn the_second_task_detached_in_a_jiffy_weighs_more() {
    let mut bench = Bench::new(&caches(1, 8));
    let tasks = [0; 3].map(|_| bench.hog(4, "0-7"));
    bench.advance(MS);
    bench.sched.update_rq_clock(CpuId(4));
    let sd = bench.sd(0, "MC");
    let mut env = bench.sched.new_env(CpuId(0), CpuId(0), sd, IdleType::NotIdle);
    env.src_cpu = CpuId(4);
    (env.imbalance, env.migration_type, env.loop_max) = (2728, MigrationType::Load, 3);
    let now = bench.sched.rqs[4].clock_pelt_now();
    for task in tasks {
        let se = bench.sched.tasks[task].se;
        let avg = &mut bench.sched.entities[se.index()].avg;
        (avg.load_avg, avg.last_update_time) = (1024, now);
    }
    let avg = &mut bench.sched.queues[4].avg;
    (avg.load_avg, avg.last_update_time) = (3072, now);
    assert_eq!(bench.sched.detach_tasks(&mut env), 2);
    assert_eq!(env.imbalance, 2728 - 1023 - 1535);
}

/// V14.
#[test]
fn with_all_tasks_pinned_the_pass_searches_again_and_the_interval_grows_to_half_a_second() {
    let mut bench = Bench::new(&caches(1, 4));
    let tasks = [0; 3].map(|_| bench.hog(1, "1"));
    let mut intervals = Vec::new();
    for _ in 0..8 {
        bench.advance(MS);
        assert_eq!(bench.pass(0, "MC", IdleType::Idle), 0);
        intervals.push(bench.domain(0, "MC").balance_interval);
    }
    assert_eq!(intervals, [8, 16, 32, 64, 128, 256, 512, 512]);
    assert_eq!(bench.outcome(), PassOutcome::NoSrcGroup);
    let domain = bench.domain(0, "MC");
    let counters = domain.stats.lb[IDLE];
    assert_eq!((counters.count, counters.imbalance_task, counters.nobusyg), (8, 8, 8));
    assert_eq!((counters.balanced, counters.failed, domain.nr_balance_failed), (8, 0, 0));
    assert!(tasks.iter().all(|&task| bench.sched.tasks[task].nr_failed_migrations_affine == 8));
    let root = bench.sched.topo.cpus[0].root;
    assert!(
        !bench.sched.topo.roots[root.index()].overloaded,
        "the pinned CPU was left out of the last search"
    );
}

/// V16.
#[test]
fn a_task_pinned_to_a_sibling_is_taken_there() {
    let mut bench = Bench::new(&caches(2, 4));
    for cpu in [4, 4, 4, 5] {
        bench.hog(cpu, "0-7");
    }
    bench.settle(4);
    bench.advance(MS);
    let order = bench.tasks_of(4);
    assert_eq!(bench.sched.rqs[4].curr, Some(order[2]), "the running task is at the head");
    bench.allow(order[0], "2,4");
    assert_eq!(bench.pass(0, "PKG", IdleType::Idle), 2);
    let pinned = TaskVerdict::Refused(Refusal::Pinned);
    let (moved, running) = (TaskVerdict::Moved { hot: false }, TaskVerdict::Refused(Refusal::Running));
    assert_eq!(bench.verdicts(), [pinned, moved, running, moved]);
    let cpus = [order[0], order[1], order[2]].map(|task| bench.sched.tasks[task].cpu);
    assert_eq!(cpus, [CpuId(2), CpuId(0), CpuId(4)]);
}

/// Spec 3 §8.6.
#[test]
fn an_affinity_that_keeps_an_inner_level_unbalanced_marks_the_group_above() {
    let mut bench = Bench::new(&caches(2, 4));
    for _ in 0..5 {
        bench.hog(1, "1");
    }
    let running = bench.sched.rqs[1].curr.unwrap();
    bench.allow(running, "0-7");
    bench.advance(MS);
    assert_eq!(bench.pass(0, "MC", IdleType::Idle), 0);
    let flag = |bench: &mut Bench| {
        let group = bench.domain(0, "PKG").groups;
        let sgc = bench.sched.topo.groups[group.index()].sgc;
        bench.sched.topo.capacities[sgc.index()].imbalance
    };
    assert!(flag(&mut bench));
    // A pass that finds the level balanced clears it: a busy CPU takes nothing from a group that is not overloaded.
    assert_eq!(bench.pass(2, "MC", IdleType::NotIdle), 0);
    assert_eq!(bench.outcome(), PassOutcome::NoSrcGroup);
    assert!(!flag(&mut bench));
}

/// V22.
#[test]
fn a_hot_task_that_moves_after_failures_is_counted() {
    let mut bench = Bench::new(&caches(1, 4));
    for cpu in [1, 1, 1] {
        bench.hog(cpu, "0-3");
    }
    bench.settle(1);
    bench.advance(MS);
    bench.sched.update_rq_clock(CpuId(1));
    let task = bench.tasks_of(1)[0];
    let se = bench.sched.tasks[task].se;
    bench.sched.entities[se.index()].exec_start = bench.sched.rqs[1].clock_task - 200 * US;
    bench.domain(0, "MC").nr_balance_failed = 2;
    assert_eq!(bench.pass(0, "MC", IdleType::NewlyIdle), 1);
    assert_eq!(bench.verdicts(), [TaskVerdict::Moved { hot: true }]);
    assert_eq!(bench.domain(0, "MC").stats.lb[NEW].hot_gained, 1);
    assert_eq!(bench.sched.tasks[task].nr_forced_migrations, 1);
    assert!(!bench.sched.tasks[task].sched_task_hot);
}

/// V17.
#[test]
fn a_level_that_would_use_up_the_idle_period_is_not_balanced() {
    let cost = CostModel { pass: 40 * US, ..CostModel::ZERO };
    let mut bench = Bench::with_cost(&caches(2, 2), cost);
    bench.sched.rqs[0].avg_idle = 300 * US;
    let root = bench.sched.topo.cpus[0].root;
    bench.sched.topo.roots[root.index()].overloaded = true;
    for (level, cost) in [("MC", 50 * US), ("PKG", 280 * US)] {
        let domain = bench.domain(0, level);
        // A ratio of 1023 lets every dice pass.
        (domain.max_newidle_lb_cost, domain.newidle_ratio, domain.last_decay_max_lb_cost) =
            (cost, 1023, 4250);
    }
    let (mc, pkg) = (bench.sd(0, "MC"), bench.sd(0, "PKG"));
    assert_eq!(bench.sched.sched_balance_newidle(CpuId(0)), 0);
    let (avg_idle, spent) = (300 * US, 40 * US);
    let expected = [
        NewIdleGate::Passed { domain: mc, moved: 0, cost: spent },
        NewIdleGate::LevelTooExpensive { domain: pkg, avg_idle, spent, cost: 280 * US },
        NewIdleGate::Done { result: 0 },
    ];
    assert_eq!(bench.gates(), expected);
    let domain = bench.domain(0, "MC");
    assert_eq!(
        (domain.newidle_call, domain.newidle_success, domain.max_newidle_lb_cost),
        (513, 256, 50 * US)
    );
    assert!(!bench.sched.rqs[0].nohz_flags.contains(NohzFlags::NEWILB), "avg_idle is below migration_cost");
    // With dice that say no to the lower level, the higher one is evaluated.
    bench.domain(0, "MC").newidle_ratio = 0;
    bench.domain(0, "PKG").max_newidle_lb_cost = 280 * US;
    bench.sched.observer.0.clear();
    assert_eq!(bench.sched.sched_balance_newidle(CpuId(0)), 0);
    assert!(matches!(bench.gates()[0], NewIdleGate::Dice { domain, .. } if domain == mc));
    assert_eq!(bench.gates()[1], NewIdleGate::Passed { domain: pkg, moved: 0, cost: 40 * US });
}

#[test]
fn new_idle_balancing_says_which_gate_is_closed() {
    let mut bench = Bench::new(&caches(1, 4));
    let root = bench.sched.topo.cpus[0].root;
    let mut gate = |set: fn(&mut Sched<Log>, usize)| {
        bench.sched.observer.0.clear();
        set(&mut bench.sched, root.index());
        bench.sched.sched_balance_newidle(CpuId(0));
        bench.gates()[0]
    };
    assert_eq!(gate(|_, _| {}), NewIdleGate::NotOverloaded);
    let closed = gate(|sched, root| {
        sched.topo.roots[root].overloaded = true;
        sched.rqs[0].avg_idle = 9;
        let base = sched.topo.cpus[0].base.unwrap();
        sched.topo.domains[base.index()].max_newidle_lb_cost = 10;
    });
    assert_eq!(closed, NewIdleGate::AvgIdleTooShort { avg_idle: 9, cost: 10 });
    assert_eq!(gate(|sched, _| sched.rqs[0].active = false), NewIdleGate::NotActive);
    assert_eq!(gate(|sched, _| sched.rqs[0].ttwu_pending = true), NewIdleGate::WakeupPending);
}

/// The table of spec 3 §2.11 and the numbers of V17.
#[test]
fn levels_are_tried_in_proportion_to_their_success() {
    assert_eq!([newidle_weight(513, 512), newidle_weight(514, 512)], [Some(2), None]);
    assert_eq!(
        [0, 256, 512, 681, 682, 1023].map(|ratio| newidle_weight(0, ratio)),
        [1024, 4, 2, 2, 1, 1].map(Some)
    );
    let mut bench = Bench::new(&caches(1, 4));
    let domain = bench.domain(0, "MC");
    (domain.newidle_call, domain.newidle_success) = (1023, 300);
    update_newidle_stats(domain, 2, None, false);
    assert_eq!((domain.newidle_ratio, domain.newidle_call, domain.newidle_success), (302, 512, 151));
    (domain.max_newidle_lb_cost, domain.last_decay_max_lb_cost) = (50_000, 1000);
    assert!(!update_newidle_cost(CostDecay::SinceLastChange, domain, 0, 1250, 250), "a second is not over");
    assert!(update_newidle_cost(CostDecay::SinceLastChange, domain, 0, 1251, 250));
    assert_eq!((domain.max_newidle_lb_cost, domain.newidle_call), (49_414, 512));
    assert!(!update_newidle_cost(CostDecay::SinceLastChange, domain, 60_000, 1300, 250));
    assert_eq!((domain.max_newidle_lb_cost, domain.last_decay_max_lb_cost), (60_000, 1300));
}

/// The table of spec 3 §2.4.
#[test]
fn busy_cpus_balance_less_often() {
    let interval =
        |weight, busy: bool, hz| balance_interval(&PERIODIC, weight, busy.then_some(16), hz, 10_000);
    let weights = [2, 4, 8, 16, 64];
    assert_eq!(weights.map(|weight| interval(weight, false, 250)), [1, 1, 2, 4, 16]);
    assert_eq!(weights.map(|weight| interval(weight, true, 250)), [7, 15, 31, 63, 255]);
    assert_eq!(weights.map(|weight| interval(weight, true, 1000)), [31, 63, 127, 255, 1023]);
    assert_eq!(
        balance_interval(&PERIODIC, 512, Some(16), 250, 100),
        100,
        "4 CPUs at 250 Hz: at most 100 jiffies"
    );
}

#[test]
fn what_others_use_is_not_left_for_fair_tasks() {
    assert_eq!(scale_rt_capacity(Pressure::LowersMaximum, 1024, &CapacityUse::default()), 1024);
    assert_eq!(
        scale_rt_capacity(
            Pressure::LowersMaximum,
            1024,
            &CapacityUse { rt: 100, irq: 204, ..CapacityUse::default() }
        ),
        739
    );
    assert_eq!(
        scale_rt_capacity(
            Pressure::LowersMaximum,
            1024,
            &CapacityUse { pressure: 24, dl: 200, ..CapacityUse::default() }
        ),
        800
    );
    assert_eq!(
        scale_rt_capacity(Pressure::LowersMaximum, 1024, &CapacityUse { rt: 1024, ..CapacityUse::default() }),
        1
    );
    assert_eq!(
        scale_rt_capacity(
            Pressure::LowersMaximum,
            1024,
            &CapacityUse { irq: 1024, ..CapacityUse::default() }
        ),
        1
    );
}

/// V18.
#[test]
fn a_busy_tick_kicks_an_idle_cpu_only_for_a_reason() {
    let kick_of = |kernel: &Kernel, nr_running: u32, nr_busy: i32, next_balance: u64, pending: NohzFlags| {
        let mut bench = Bench::of(kernel, &caches(1, 4), CostModel::ZERO);
        let now = bench.sched.jiffies();
        for cpu in [2, 3] {
            bench.sched.nohz_balance_exit_idle(CpuId(cpu));
        }
        bench.sched.nohz_balance_exit_idle(CpuId(0));
        let nohz = &mut bench.sched.nohz;
        nohz.idle_cpus_mask.set(CpuId(2));
        nohz.nr_cpus = 2;
        (nohz.next_balance, nohz.next_blocked) = (now + next_balance, now + 5);
        (nohz.has_blocked, nohz.needs_update) = (true, nohz.needs_update);
        let shared = bench.sched.topo.cpus[0].sd_llc_shared.unwrap();
        bench.sched.topo.shared[shared.index()].nr_busy_cpus = nr_busy;
        bench.sched.rqs[0].nr_running = nr_running;
        bench.sched.rqs[1].nohz_flags = pending;
        bench.sched.observer.0.clear();
        bench.sched.nohz_balancer_kick(CpuId(0));
        let ipi = bench.sched.poll().is_some();
        let soon = bench.sched.nohz.next_balance == now + 1;
        let Some(BalanceEvent::NohzKick { reason, flags, outcome, .. }) = bench.sched.observer.0.pop() else {
            panic!("a kick tells");
        };
        (reason, flags.bits(), outcome, ipi, soon)
    };
    let none = NohzFlags::empty();
    let sent = KickOutcome::Sent(CpuId(1));
    assert_eq!(kick_of(kernels::DEFAULT, 2, 1, 0, none), (KickReason::SeveralTasks, 11, sent, true, true));
    assert_eq!(kick_of(kernels::DEFAULT, 1, 1, 0, none), (KickReason::NoReason, 8, sent, true, false));
    assert_eq!(kick_of(kernels::DEFAULT, 1, 2, 0, none), (KickReason::LlcBusy, 11, sent, true, true));
    assert_eq!(kick_of(kernels::DEFAULT, 2, 2, 2, none), (KickReason::NotDue, 8, sent, true, false));
    let all = NohzFlags::BALANCE | NohzFlags::STATS | NohzFlags::NEXT;
    let pending = KickOutcome::AlreadyPending(CpuId(1));
    assert_eq!(kick_of(kernels::DEFAULT, 1, 1, 0, all), (KickReason::NoReason, 8, pending, false, false));
    // The others: without requests for the next round there is nothing to ask for; the cache counts before capacity.
    assert_eq!(kick_of(&V6_1_192, 1, 1, 0, all), (KickReason::NoReason, 8, pending, false, false));
    let no_flags = (KickReason::NoReason, 0, KickOutcome::NoFlags, false, false);
    assert_eq!(kick_of(&V5_15_0, 1, 1, 0, none), no_flags);
    assert_eq!(kick_of(&V5_15_0, 2, 1, 0, none), (KickReason::SeveralTasks, 3, sent, true, true));
    assert_eq!(kick_of(&V4_19_0, 1, 2, 0, none), (KickReason::LlcBusy, 3, sent, true, true));
    assert_eq!(kick_of(&V7_2_13, 1, 2, 0, none), (KickReason::LlcBusy, 11, sent, true, true));
}

/// Spec 3 §3.2-10: a pushed task makes the oldest kernel wait longer.
#[test]
fn active_balance_lengthens_the_interval_of_the_oldest_kernel() {
    for (kernel, active) in [(&V4_19_0, (0, 16)), (&V5_15_0, (0, 8))] {
        let mut bench = Bench::of(kernel, &caches(2, 4), CostModel::ZERO);
        for cpu in 4..8 {
            bench.hog(cpu, "0-7");
        }
        bench.advance(200 * MS);
        (4..8).for_each(|cpu| bench.sched.cpu_load_update(CpuId(cpu)));
        let mut seen = Vec::new();
        for _ in 0..4 {
            bench.advance(MS);
            bench.pass(0, "DIE", IdleType::Idle);
            let domain = bench.domain(0, "DIE");
            seen.push((domain.nr_balance_failed, domain.balance_interval));
        }
        assert_eq!(seen, [(1, 8), (2, 8), (3, 8), active], "{}", kernel.build);
    }
}

/// Spec 3 §2.5: a level that is tried rarely counts as one that succeeds.
#[test]
fn rare_new_idle_passes_are_always_tried_in_the_newest_kernel() {
    let mut bench = Bench::of(&V7_2_13, &caches(1, 4), CostModel::ZERO);
    let domain = bench.domain(0, "MC");
    (domain.newidle_call, domain.newidle_success, domain.newidle_stamp) = (1023, 100, 1000);
    let mut often = domain.clone();
    // 512 passes in 2^32 ns, 4.3 s.
    update_newidle_stats(domain, 0, Some(1000 + (1 << 32)), true);
    assert_eq!((domain.newidle_ratio, domain.newidle_stamp), (1024, 1000 + (1 << 32)));
    update_newidle_stats(&mut often, 0, Some(1000 + (1 << 24)), true);
    assert_eq!((often.newidle_ratio, often.newidle_success), (104, 50));
}

/// Spec 3 §2.3: costs decay by the clock in one kernel, and from their last change in the next.
#[test]
fn costs_of_new_idle_passes_decay() {
    let mut bench = Bench::new(&caches(1, 4));
    for (rule, risen, decayed) in
        [(CostDecay::EverySecond, 1000, true), (CostDecay::SinceLastChange, 1200, false)]
    {
        let domain = bench.domain(0, "MC");
        (domain.max_newidle_lb_cost, domain.last_decay_max_lb_cost) = (50_000, 1000);
        assert!(!update_newidle_cost(rule, domain, 60_000, 1200, 250));
        assert_eq!(domain.last_decay_max_lb_cost, risen);
        assert_eq!(update_newidle_cost(rule, domain, 0, 1251, 250), decayed);
    }
}

#[test]
fn a_kicked_idle_cpu_balances_for_the_others_and_last_for_itself() {
    let mut bench = Bench::new(&caches(1, 4));
    for _ in 0..4 {
        bench.hog(0, "0-3");
    }
    bench.advance(20 * MS);
    let tick = Input::Tick { cpu: CpuId(0) };
    let is_ipi = |action: &Action| matches!(action, Action::Ipi { .. });
    let kept = bench.input(tick, is_ipi);
    let expected = Action::Ipi { from: CpuId(0), to: CpuId(1), kind: IpiKind::NohzKick };
    assert_eq!(kept, [expected]);
    bench.sched.observer.0.clear();
    bench.input(Input::Ipi { cpu: CpuId(1), kind: IpiKind::NohzKick }, |_| false);
    let cpus: Vec<u32> = bench
        .sched
        .observer
        .0
        .iter()
        .filter_map(|event| match event {
            BalanceEvent::PassBegin { cpu, .. } => Some(cpu.0),
            _ => None,
        })
        .collect();
    assert_eq!(cpus, [2, 3, 1]);
    // CPU 2 takes half of four; what is left on CPU 0 runs, or ran until its tick and is cache hot.
    let nr: Vec<u32> = bench.sched.rqs.iter().map(|rq| rq.nr_running).collect();
    assert_eq!(nr, [2, 0, 2, 0]);
}

#[test]
fn a_level_that_is_not_due_is_told_with_its_time() {
    let mut bench = Bench::new(&caches(1, 4));
    bench.advance(4 * MS);
    let now = bench.sched.jiffies();
    bench.domain(0, "MC").last_balance = now;
    bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
    let domain = bench.sd(0, "MC");
    let not_due = BalanceEvent::NotDue { cpu: CpuId(0), domain, due: now + 1, now };
    assert!(bench.sched.observer.0.contains(&not_due), "{:?}", bench.sched.observer.0);
    assert_eq!(bench.sched.rqs[0].next_balance, now + 1);
}

#[test]
fn only_one_cpu_at_a_time_balances_between_nodes() {
    let mut bench = Bench::new(&Machine::regular(2, 1, 2, 1, true));
    bench.sched.balance_running = true;
    bench.advance(100 * MS);
    let before = bench.domain(0, "NUMA").last_balance;
    bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
    let domain = bench.sd(0, "NUMA");
    assert!(bench.sched.observer.0.contains(&BalanceEvent::Serialized { cpu: CpuId(0), domain }));
    assert_eq!(bench.domain(0, "NUMA").last_balance, before, "it stays due");
    bench.sched.balance_running = false;
    bench.sched.sched_balance_domains(CpuId(0), CpuId(0), IdleType::Idle);
    assert!(!bench.sched.balance_running);
    let now = bench.sched.jiffies();
    assert_eq!(bench.domain(0, "NUMA").last_balance, now);
}

/// A running task that may not run here keeps the level failing, and its interval grows.
#[test]
fn active_balance_of_a_task_that_may_not_come_backs_off() {
    let mut bench = Bench::new(&caches(2, 4));
    for cpu in 4..8 {
        bench.hog(cpu, "4-7");
    }
    bench.advance(4 * MS);
    bench.domain(0, "PKG").nr_balance_failed = 3;
    assert_eq!(bench.pass(0, "PKG", IdleType::Idle), 0);
    assert_eq!(bench.outcome(), PassOutcome::CurrPinned);
    let domain = bench.domain(0, "PKG");
    assert_eq!((domain.nr_balance_failed, domain.balance_interval), (4, 16));
    let counters = domain.stats.lb[IDLE];
    assert_eq!((counters.failed, counters.balanced), (1, 0));
}

/// Tasks looked at are limited, and a long scan releases the lock on the way.
#[test]
fn a_scan_ends_at_nr_migrate_and_breaks_before() {
    let mut bench = Bench::new(&caches(2, 4));
    for _ in 0..12 {
        bench.hog(4, "4");
    }
    let movable = bench.tasks_of(4)[9];
    bench.allow(movable, "0-7");
    bench.advance(MS);
    bench.sched.kernel.tunables.nr_migrate = 8;
    assert_eq!(bench.pass(0, "PKG", IdleType::Idle), 0, "the tenth task is not reached");
    bench.sched.kernel.tunables.nr_migrate = 32;
    bench.sched.kernel.tunables.nr_migrate_break = 4;
    bench.advance(MS);
    assert!(bench.pass(0, "PKG", IdleType::Idle) >= 1);
    assert_eq!(bench.sched.tasks[movable].cpu, CpuId(0));
}

#[test]
fn the_turn_names_the_cpu_whose_it_is() {
    assert!(Turn::IdleCore(CpuId(2)).is_for(CpuId(2)));
    assert!(!Turn::BalanceCpu(CpuId(2)).is_for(CpuId(0)));
    assert!(!Turn::WorkArrived.is_for(CpuId(0)) && !Turn::NotCandidate.is_for(CpuId(0)));
    assert_ne!(ActiveReason::Failures, ActiveReason::Misfit);
}
