//! Gathering inside the simulated scheduler (spec 3 §13); the rules as functions are in `tests/cache_aware.rs`.
use super::rules::{Invalid, LlcLoad, Preference};
use crate::balance::active::ActiveReason;
use crate::balance::env::{IdleType, LbFlags, MigrationType};
use crate::balance::event::{BalanceEvent, PassOutcome, TaskVerdict};
use crate::balance::locality::TaskMemory;
use crate::balance::migrate::Refusal;
use crate::ids::{CpuId, DomainId, ProcessId, TaskId, TgId};
use crate::io::{Action, Input, WakeContext};
use crate::kernel::Kernel;
use crate::kernels::{V6_18_15, V7_2_13};
use crate::mask::CpuMask;
use crate::observe::{Event, Observer};
use crate::sched::{Params, Sched};
use crate::task::TaskParams;
use crate::time::{MS, Ns};
use crate::topology::Machine;
use crate::workload::Policy;
use alloc::vec;
use alloc::vec::Vec;

/// Keeps everything.
#[derive(Default)]
struct Log(Vec<Event>);

impl Observer for Log {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, event: &Event) {
        self.0.push(event.clone());
    }
}

/// A host that answers at once and ticks busy CPUs every 4 ms.
struct Host {
    sched: Sched<Log>,
    now: Ns,
}

impl Host {
    fn of(kernel: &Kernel, machine: &Machine) -> Self {
        Self { sched: Sched::new(machine, kernel, Params::default(), Log::default()).unwrap(), now: 0 }
    }

    /// Two caches of four CPUs, without SMT.
    fn new() -> Self {
        Self::of(&V7_2_13, &Machine::regular(1, 2, 4, 1, false))
    }

    fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.sched.handle(self.now, input);
            self.answer(&mut inputs);
        }
        self.sched.check();
    }

    fn answer(&mut self, inputs: &mut Vec<Input>) {
        while let Some(action) = self.sched.poll() {
            match action {
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

    /// Lets busy CPUs tick until `until`.
    fn tick_until(&mut self, until: Ns) {
        while self.now < until {
            self.now += 4 * MS;
            for cpu in 0..self.sched.rqs.len() {
                if self.sched.rqs[cpu].curr.is_some() {
                    self.input(Input::Tick { cpu: CpuId::from_index(cpu) });
                }
            }
        }
    }

    /// A running thread of a process, bound to a CPU.
    fn thread(&mut self, cpu: u32, process: Option<ProcessId>) -> TaskId {
        let params = TaskParams {
            policy: Policy::Normal,
            nice: 0,
            slice: 0,
            allowed: CpuMask::from_cpus(self.sched.rqs.len(), [CpuId(cpu)]),
            group: TgId(0),
        };
        let child = match process {
            Some(process) => self.sched.new_thread(&params, process),
            None => self.sched.new_task(&params),
        };
        self.input(Input::Fork { cpu: CpuId(cpu), child });
        child
    }

    /// The same, free to move, and with a preference.
    fn free_thread(&mut self, cpu: u32, process: ProcessId, llc: i32) -> TaskId {
        let task = self.thread(cpu, Some(process));
        let all = self.sched.all.clone();
        self.sched.tasks[task].nr_cpus_allowed = all.weight();
        self.sched.tasks[task].allowed = all;
        self.sched.uncount_llc(task);
        self.sched.tasks[task].llc.preferred = Some(llc);
        self.sched.count_llc(task);
        task
    }

    /// A process that prefers the cache of a CPU, with a thread that sleeps there.
    fn process_at(&mut self, cpu: u32) -> ProcessId {
        let process = self.sched.new_process();
        self.thread(cpu, Some(process));
        self.input(Input::Block { cpu: CpuId(cpu) });
        self.sched.processes[process.index()].cpu = Some(CpuId(cpu));
        process
    }

    fn preferred(&self, task: TaskId) -> Option<i32> {
        self.sched.tasks[task].llc.preferred
    }

    fn preferences(&self) -> Vec<(TaskId, Preference)> {
        let told = |event: &Event| match *event {
            Event::LlcPreference { task, why, .. } => Some((task, why)),
            _ => None,
        };
        self.sched.observer.0.iter().filter_map(told).collect()
    }

    fn package(&self, cpu: u32) -> DomainId {
        self.sched.topo.chain(CpuId(cpu)).last().unwrap()
    }

    /// A pass of a CPU between the caches, from CPU 4; what became of it and of each task it looked at.
    fn pass(&mut self, cpu: u32, idle: IdleType) -> (PassOutcome, Vec<TaskVerdict>, LbFlags) {
        let sd = self.package(cpu);
        self.sched.observer.0.clear();
        // What runs was picked last.
        let running = self.sched.rqs[4].curr.unwrap();
        self.sched.rqs[4].cfs_tasks.move_to_head(&mut self.sched.tasks, running);
        self.sched.sched_balance_rq(CpuId(cpu), CpuId(cpu), sd, idle);
        let (mut verdicts, mut end) = (Vec::new(), None);
        for event in &self.sched.observer.0 {
            match event {
                Event::Balance(BalanceEvent::Task { verdict, .. }) => verdicts.push(*verdict),
                Event::Balance(BalanceEvent::PassEnd { outcome, flags, .. }) => {
                    end = Some((*outcome, *flags))
                }
                _ => {}
            }
        }
        let (outcome, flags) = end.expect("a pass ends");
        (outcome, verdicts, flags)
    }

    /// Carries out what a pass left to be done.
    fn drain(&mut self) {
        let mut inputs = Vec::new();
        self.answer(&mut inputs);
        for input in inputs {
            self.input(input);
        }
    }

    fn failed(&mut self, cpu: u32) -> &mut u32 {
        let sd = self.package(cpu);
        &mut self.sched.topo.domains[sd.index()].nr_balance_failed
    }
}

/// Spec 3 §13.3: once an epoch a tick compares caches; threads take the preference over at their next accounting.
#[test]
fn threads_prefer_the_cache_in_which_their_process_runs() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    let threads = [4, 5].map(|cpu| host.thread(cpu, Some(process)));
    host.tick_until(4 * MS);
    assert_eq!(threads.map(|task| host.preferred(task)), [None, None]);
    host.tick_until(24 * MS);
    assert_eq!(threads.map(|task| host.preferred(task)), [Some(1), Some(1)]);
    // CPU 4 ticks first and compares; the thread on CPU 5 is the first to account after that.
    assert_eq!(host.preferences(), [(threads[1], Preference::Share), (threads[0], Preference::Share)]);
    let record = &host.sched.processes()[process.index()];
    assert!(record.cpu == Some(CpuId(4)) || record.cpu == Some(CpuId(5)));
    assert_eq!((record.threads, record.nr_running_avg), (2, 1), "2 / 2, then (2 - 1) / 2 = 0 more");
    let queue = &host.sched.rqs[4].llc;
    assert_eq!((queue.nr_llc_running, queue.nr_pref_llc_running), (1, 1));
    assert_eq!((queue.count(0), queue.count(1), queue.count(2), queue.count(-1)), (0, 1, 0, 0));
}

/// Spec 3 §13.3, thread rule, and no preference without a process, a second cache, or the kernel's doing it.
#[test]
fn nobody_else_prefers_a_cache() {
    let none = |mut host: Host, threads: u32, is_process: bool| {
        let process = is_process.then(|| host.sched.new_process());
        for cpu in 0..threads {
            host.thread(cpu, process);
        }
        host.tick_until(80 * MS);
        assert_eq!(host.preferences(), []);
        assert!(host.sched.rqs.iter().all(|rq| rq.llc.nr_llc_running == 0));
    };
    none(Host::new(), 1, true);
    none(Host::new(), 2, false);
    none(Host::of(&V7_2_13, &Machine::regular(1, 1, 8, 1, false)), 2, true);
    none(Host::of(&V6_18_15, &Machine::regular(1, 2, 4, 1, false)), 2, true);
    let mut off = V7_2_13;
    off.tunables.llc_balancing.as_mut().unwrap().enabled = false;
    none(Host::of(&off, &Machine::regular(1, 2, 4, 1, false)), 2, true);
}

/// Spec 3 §13.3: more than `epoch_affinity_timeout` (5) epochs of 8 ms without a comparison.
#[test]
fn a_process_that_slept_for_long_has_no_preference() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    let threads = [4, 5].map(|cpu| host.thread(cpu, Some(process)));
    host.tick_until(24 * MS);
    for cpu in [4, 5] {
        host.input(Input::Block { cpu: CpuId(cpu) });
    }
    // It compared last at 24 ms, in the epoch that began then: 64 ms is the fifth after it, 72 ms the sixth.
    for (at, preferred) in [(64 * MS, Some(1)), (72 * MS, None)] {
        host.now = at;
        let context = WakeContext { interrupt: true, sync: false };
        host.input(Input::Wake { cpu: CpuId(4), task: threads[0], context });
        host.now += MS;
        host.input(Input::Block { cpu: CpuId(4) });
        assert_eq!(host.preferred(threads[0]), preferred, "woken at {} ms", at / MS);
    }
    assert_eq!(host.preferences().last(), Some(&(threads[0], Preference::Invalid(Invalid::Stale))));
    assert_eq!(host.preferred(threads[1]), Some(1), "until its own next accounting");
}

/// Spec 3 §13.3: six running threads do not fit a cache of four CPUs (4 * 1.25 = 5 > 4 on average), and the last one is alone.
#[test]
fn preferences_end_with_too_many_threads_and_with_the_last_one() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    let first: Vec<TaskId> = (4..7).map(|cpu| host.thread(cpu, Some(process))).collect();
    host.tick_until(24 * MS);
    assert!(first.iter().all(|&task| host.preferred(task) == Some(1)));
    for cpu in 0..3 {
        host.thread(cpu, Some(process));
    }
    host.tick_until(80 * MS);
    assert_eq!(host.sched.processes()[process.index()].nr_running_avg, 5, "one short of 6");
    assert!(first.iter().all(|&task| host.preferred(task).is_none()));
    let too_many = Preference::Invalid(Invalid::TooManyThreads);
    assert!(first.iter().all(|&task| host.preferences().contains(&(task, too_many))));
    for cpu in [0, 1, 2, 5, 6] {
        host.input(Input::Exit { cpu: CpuId(cpu) });
    }
    assert_eq!(host.sched.processes()[process.index()].threads, 1);
    host.tick_until(160 * MS);
    assert_eq!(host.preferred(first[0]), None, "five of six are gone");
}

/// Spec 3 §13.3: a thread whose memory NUMA balancing has found on another node prefers no cache there.
#[test]
fn memory_on_another_node_comes_first() {
    let mut host = Host::of(&V7_2_13, &Machine::regular(2, 1, 4, 1, true));
    let process = host.sched.new_process();
    let threads = [4, 5].map(|cpu| host.thread(cpu, Some(process)));
    for (task, node) in threads.into_iter().zip([0, 1]) {
        let memory = TaskMemory { preferred_node: Some(node), ..TaskMemory::default() };
        host.input(Input::SetMemory { task, memory });
    }
    host.tick_until(24 * MS);
    assert_eq!(threads.map(|task| host.preferred(task)), [None, Some(1)]);
    let memory = TaskMemory::default();
    host.input(Input::SetMemory { task: threads[0], memory });
    host.tick_until(28 * MS);
    assert_eq!(host.preferred(threads[0]), Some(1));
    let memory = TaskMemory { preferred_node: Some(0), ..TaskMemory::default() };
    host.input(Input::SetMemory { task: threads[0], memory });
    host.tick_until(32 * MS);
    assert_eq!(host.preferences().last(), Some(&(threads[0], Preference::OtherNode)));
}

/// A new program image is new memory: nothing is known of it.
#[test]
fn exec_begins_anew() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    host.thread(4, Some(process));
    host.tick_until(24 * MS);
    assert_ne!(host.sched.processes()[process.index()].occupancy[4].runtime, 0);
    host.input(Input::Exec { cpu: CpuId(4) });
    let record = &host.sched.processes()[process.index()];
    assert!(record.cpu.is_none() && record.threads == 1 && record.nr_running_avg == 0);
    assert!(record.occupancy.iter().all(|own| own.runtime == 0));
}

/// Spec 3 §13.3, counters: by preference, and at home only while runnable.
#[test]
fn queues_count_tasks_by_the_cache_they_prefer() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    for llc in [0, 0, 1] {
        host.free_thread(0, process, llc);
    }
    let counted = |host: &Host, cpu: usize| {
        let llc = &host.sched.rqs[cpu].llc;
        [llc.nr_llc_running, llc.nr_pref_llc_running, llc.count(0), llc.count(1)]
    };
    assert_eq!(counted(&host, 0), [3, 2, 2, 1]);
    assert_eq!(counted(&host, 4), [0; 4]);
    // After a rebuild of the domains the counts are the same, and after a CPU has gone its tasks count where they are now.
    host.input(Input::Hotplug { cpu: CpuId(7), online: false });
    assert_eq!(counted(&host, 0), [3, 2, 2, 1]);
    host.input(Input::Hotplug { cpu: CpuId(0), online: false });
    let sums = (1..7).map(|cpu| counted(&host, cpu)).fold([0; 4], |mut all, one| {
        all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
        all
    });
    assert_eq!([sums[0], sums[2], sums[3]], [3, 2, 1]);
}

/// V21: of three waiting tasks the one moves that prefers the destination's cache, whatever ran longest ago.
#[test]
fn only_tasks_that_prefer_the_destinations_cache_move() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    let tasks = [1, 1, 1, 0].map(|llc| host.free_thread(4, process, llc));
    host.now += MS;
    let (outcome, verdicts, _) = host.pass(0, IdleType::Idle);
    assert_eq!(outcome, PassOutcome::Moved);
    let unwanted = TaskVerdict::Refused(Refusal::PrefersOtherCache);
    assert_eq!(verdicts.last(), Some(&TaskVerdict::Moved { hot: false }));
    assert!(verdicts[..verdicts.len() - 1].iter().all(|verdict| *verdict == unwanted), "{verdicts:?}");
    assert_eq!(host.sched.tasks[tasks[3]].cpu, CpuId(0));
    assert!(tasks[..3].iter().all(|&task| host.sched.tasks[task].cpu == CpuId(4)));
}

/// Spec 3 §3.2-9, §13.5: a task stays in the cache its process gathers in, which is no failure; after two failures of other kinds it goes.
#[test]
fn a_task_stays_with_its_process_and_that_is_no_failure() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    for _ in 0..2 {
        host.free_thread(4, process, 1);
    }
    host.sched.processes[process.index()].cpu = Some(CpuId(5));
    host.now += MS;
    let (outcome, verdicts, flags) = host.pass(0, IdleType::Idle);
    assert_eq!((outcome, verdicts[0]), (PassOutcome::Failed, TaskVerdict::Refused(Refusal::DegradesLlc)));
    assert!(flags.contains(LbFlags::LLC_PINNED) && !flags.contains(LbFlags::ALL_PINNED));
    assert_eq!(*host.failed(0), 0);
    *host.failed(0) = 1;
    assert_eq!(host.pass(0, IdleType::Idle).0, PassOutcome::Failed);
    *host.failed(0) = 2;
    assert_eq!(host.pass(0, IdleType::Idle).0, PassOutcome::Moved);
    // What its process prefers decides, not what the task has taken over.
    let mut host = Host::new();
    let process = host.sched.new_process();
    for _ in 0..2 {
        host.free_thread(4, process, 1);
    }
    host.now += MS;
    assert_eq!(host.pass(0, IdleType::Idle).0, PassOutcome::Moved);
}

/// Spec 3 §13.4: a move finds out as well that a process must not have a preference.
#[test]
fn a_move_makes_a_void_preference_known() {
    let mut host = Host::new();
    let (process, other) = (host.sched.new_process(), host.sched.new_process());
    host.free_thread(4, process, 1);
    host.free_thread(4, other, 1);
    for process in [process, other] {
        host.sched.processes[process.index()].cpu = Some(CpuId(5));
    }
    host.now += MS;
    assert_eq!(host.pass(0, IdleType::Idle).0, PassOutcome::Moved);
    let cleared = [process, other].map(|process| host.sched.processes[process.index()].cpu);
    assert!(cleared.contains(&None), "that of the task that moved: {cleared:?}");
}

/// Spec 3 §8.1-4, §8.2: nothing but the running task prefers the destination's cache; the stopper takes it, not the one that waits.
#[test]
fn the_stopper_takes_the_task_that_prefers_the_destinations_cache() {
    let mut host = Host::new();
    let [wanted, other] = [0, 1].map(|llc| {
        let process = host.process_at(4 * llc + 3);
        host.free_thread(4, process, llc as i32)
    });
    assert_eq!(host.sched.rqs[4].curr, Some(wanted));
    host.now += MS;
    let (outcome, verdicts, _) = host.pass(0, IdleType::Idle);
    assert_eq!(outcome, PassOutcome::ActiveBalance);
    let refused = [Refusal::PrefersOtherCache, Refusal::Running].map(TaskVerdict::Refused);
    assert_eq!(verdicts, refused);
    let reasons = host.sched.observer.0.iter().filter_map(|event| match event {
        Event::Balance(BalanceEvent::ActiveBalanceStart { reason, .. }) => Some(*reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [ActiveReason::PrefersOurCache]);
    host.drain();
    assert_eq!(host.sched.tasks[wanted].cpu, CpuId(0));
    assert_eq!(host.sched.tasks[other].cpu, CpuId(4));
}

/// Spec 3 §3.2-6: there is no counter for such imbalances.
#[test]
fn such_imbalances_are_not_counted() {
    let mut host = Host::new();
    let process = host.sched.new_process();
    for llc in [1, 0] {
        host.free_thread(4, process, llc);
    }
    host.now += MS;
    assert_eq!(host.pass(0, IdleType::Idle).0, PassOutcome::Moved);
    let units = host.sched.observer.0.iter().filter_map(|event| match event {
        Event::Balance(BalanceEvent::SrcQueue { migration_type, .. }) => Some(*migration_type),
        _ => None,
    });
    assert_eq!(units.collect::<Vec<_>>(), [MigrationType::LlcTask]);
    let counters = &host.sched.topo.domains[host.package(0).index()].stats.lb[IdleType::Idle.index()];
    let sums = [counters.imbalance_load, counters.imbalance_util, counters.imbalance_task];
    assert_eq!((sums, counters.imbalance_misfit, counters.gained), ([0; 3], 0, 1));
}

/// Spec 3 §13.4: the records of caches are refreshed by passes between them, but not when a CPU goes idle.
#[test]
fn periodic_passes_note_how_full_caches_are() {
    let record = |host: &Host, cpu: usize| {
        let shared = host.sched.topo.cpus[cpu].sd_llc_shared.unwrap();
        let shared = &host.sched.topo.shared[shared.index()];
        LlcLoad { util: shared.util_avg, capacity: shared.capacity }
    };
    let mut host = Host::new();
    let process = host.sched.new_process();
    host.thread(4, Some(process));
    let unknown = LlcLoad { util: 0, capacity: 0 };
    host.pass(0, IdleType::NewlyIdle);
    assert_eq!([record(&host, 0), record(&host, 4)], [unknown; 2]);
    host.pass(0, IdleType::Idle);
    let util = host.sched.queues[4].avg.util_avg;
    assert!(util > 0);
    assert_eq!(record(&host, 0), LlcLoad { util: 0, capacity: 4096 });
    assert_eq!(record(&host, 7), LlcLoad { util, capacity: 4096 });
}
