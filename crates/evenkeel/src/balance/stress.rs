//! Random events on small machines: whatever happens, balancing keeps its own books (spec 3 §16, §20.5).
use super::env::IdleType;
use super::event::{BalanceEvent, PassOutcome, TaskVerdict};
use super::migrate::Refusal;
use super::rules::CountsHot;
use crate::ids::{CpuId, ProcessId, TaskId, TgId};
use crate::io::{Action, Input, WakeContext};
use crate::kernel::Kernel;
use crate::kernels;
use crate::mask::CpuMask;
use crate::observe::{Event, MigrateReason, Observer};
use crate::rng::Rng;
use crate::sched::{Params, Sched};
use crate::task::{TaskParams, TaskState};
use crate::time::{MS, Ns, US};
use crate::topology::Machine;
use crate::workload::Policy;
use alloc::vec::Vec;

/// Adds up what the passes tell.
#[derive(Default)]
struct Auditor {
    /// The pass that is running: its type, and tasks moved so far.
    pass: Option<(IdleType, u32)>,
    passes: u64,
    moved: u64,
    pushed: u64,
    redos: u64,
    redirected: u64,
    /// Changes of preference, and tasks that were kept for their cache.
    gathered: u64,
    kept: u64,
}

impl Observer for Auditor {
    const ON: bool = true;
    fn event(&mut self, _now: Ns, event: &Event) {
        match event {
            Event::Balance(BalanceEvent::PassBegin { idle, .. }) => {
                assert!(self.pass.is_none(), "passes are not nested");
                self.pass = Some((*idle, 0));
                self.passes += 1;
            }
            Event::Balance(BalanceEvent::Task {
                pass: Some(_), verdict: TaskVerdict::Moved { .. }, ..
            }) => {
                self.pass.as_mut().expect("tasks move in passes").1 += 1;
            }
            Event::Balance(BalanceEvent::PassEnd { moved, outcome, .. }) => {
                let (idle, told) = self.pass.take().expect("a pass ends once");
                assert_eq!(told, *moved, "every moved task is told");
                assert_eq!(*moved > 0, *outcome == PassOutcome::Moved);
                assert!(idle != IdleType::NewlyIdle || *moved <= 1, "a new-idle pass moves one task");
                self.moved += u64::from(*moved);
            }
            Event::Balance(BalanceEvent::Redo { .. }) => self.redos += 1,
            Event::Balance(BalanceEvent::NewDestination { .. }) => self.redirected += 1,
            Event::MigrateTask { reason: MigrateReason::ActiveBalance, .. } => self.pushed += 1,
            Event::LlcPreference { .. } => self.gathered += 1,
            Event::Balance(BalanceEvent::Task { verdict: TaskVerdict::Refused(refusal), .. }) => {
                let for_cache = matches!(refusal, Refusal::DegradesLlc | Refusal::PrefersOtherCache);
                self.kept += u64::from(for_cache);
            }
            _ => {}
        }
    }
}

/// A host that answers at once, except interrupts and stoppers, which take up to 100 us.
struct Host<O: Observer> {
    sched: Sched<O>,
    now: Ns,
    rng: Rng,
    late: Vec<(Ns, Input)>,
    processes: [ProcessId; 3],
}

impl<O: Observer> Host<O> {
    fn input(&mut self, input: Input) {
        let mut inputs = Vec::from([input]);
        while let Some(input) = inputs.pop() {
            self.sched.handle(self.now, input);
            while let Some(action) = self.sched.poll() {
                let delay = Ns::from(self.rng.below(100)) * US;
                match action {
                    Action::Resched { from, cpu } if from == cpu => inputs.insert(0, Input::Schedule { cpu }),
                    Action::Resched { cpu, .. } => {
                        self.late.push((self.now + delay, Input::Schedule { cpu }))
                    }
                    Action::Ipi { to, kind, .. } => {
                        self.late.push((self.now + delay, Input::Ipi { cpu: to, kind }));
                    }
                    Action::StopCpu { cpu, .. } => {
                        self.late.push((self.now + delay, Input::StopperRun { cpu }))
                    }
                    Action::RaiseSoftirq { cpu } => inputs.push(Input::Softirq { cpu }),
                    Action::Switched { cpu, next: None, .. } => {
                        inputs.insert(0, Input::IdleEnter { cpu, stop_tick: delay < 70 * US });
                    }
                    Action::Switched { .. }
                    | Action::HrtickStart { .. }
                    | Action::GroupTimer { .. }
                    | Action::LimitTimer { .. } => {}
                }
            }
        }
        self.sched.check();
    }

    /// Lets time pass to `until`, delivering what is late on the way.
    fn run_to(&mut self, until: Ns) {
        while let Some(i) =
            (0..self.late.len()).filter(|&i| self.late[i].0 <= until).min_by_key(|&i| self.late[i].0)
        {
            let (at, input) = self.late.remove(i);
            self.now = self.now.max(at);
            self.input(input);
        }
        self.now = until;
    }

    fn task(&mut self, ncpus: usize) -> TaskId {
        let nice = self.rng.below(40) as i32 - 20;
        let policy = if self.rng.below(8) == 0 { Policy::Idle } else { Policy::Normal };
        let allowed = self.mask(ncpus);
        let params = TaskParams { policy, nice, slice: 0, allowed, group: TgId(0) };
        // One in four is a thread of the kernel, the others are threads of a few processes.
        match self.sched.tasks.len() % 4 {
            0 => self.sched.new_task(&params),
            process => self.sched.new_thread(&params, self.processes[process - 1]),
        }
    }

    /// All CPUs in most cases, else a random set.
    fn mask(&mut self, ncpus: usize) -> CpuMask {
        let bits = self.rng.next_u32();
        let some =
            CpuMask::from_cpus(ncpus, (0..ncpus as u32).filter(|cpu| bits >> (cpu % 32) & 3 == 0).map(CpuId));
        if self.rng.below(3) != 0 || some.is_empty() { CpuMask::all(ncpus) } else { some }
    }

    fn random_event(&mut self, ncpus: usize) {
        let cpu = CpuId(self.rng.below(ncpus as u32));
        let running = self.sched.rqs[cpu.index()].curr;
        let task = TaskId(self.rng.below(self.sched.tasks.len() as u32));
        match self.rng.below(6) {
            0 | 1 if running.is_some() => self.input(Input::Block { cpu }),
            2 if running.is_some() => self.input(Input::Yield { cpu }),
            3 if self.sched.tasks[task].state != TaskState::New => {
                let allowed = self.mask(ncpus);
                self.input(Input::SetAffinity { cpu, task, allowed });
            }
            _ if self.sched.tasks[task].state == TaskState::New => {
                self.input(Input::Fork { cpu, child: task });
            }
            _ => self.input(Input::Wake { cpu, task, context: WakeContext { interrupt: true, sync: false } }),
        }
    }
}

/// A second of random events, after which the books are right; what the observer has seen.
pub(super) fn run<O: Observer + Default>(kernel: &Kernel, machine: &Machine, seed: u64) -> O {
    let ncpus = machine.nr_cpus();
    let params = Params { seed, ..Params::default() };
    // All builds, also those that are not offered for whole runs yet.
    let kernel = Kernel { runs: true, ..*kernel };
    let mut sched = Sched::new(machine, &kernel, params, O::default()).unwrap();
    let processes = [0; 3].map(|_| sched.new_process());
    let mut host = Host { sched, now: 0, rng: Rng::new(seed, 7), late: Vec::new(), processes };
    for _ in 0..2 * ncpus {
        host.task(ncpus);
    }
    for tick in 1..250u64 {
        for _ in 0..host.rng.below(2 * ncpus as u32) {
            let step = Ns::from(host.rng.below(3_000_000 / ncpus as u32));
            host.run_to(host.now + step);
            host.random_event(ncpus);
        }
        let at = host.now.max(tick * 4 * MS);
        host.run_to(at);
        for cpu in (0..ncpus as u32).map(CpuId) {
            let rq = &host.sched.rqs[cpu.index()];
            if rq.curr.is_some() || !rq.nohz_tick_stopped {
                host.input(Input::Tick { cpu });
            }
        }
        check_books(&host.sched);
    }
    host.sched.into_observer()
}

/// Every pass is counted by exactly one outcome; the sets of idle CPUs agree; nothing is left in transit.
fn check_books<O: Observer>(sched: &Sched<O>) {
    for domain in &sched.topo.domains {
        assert!(domain.balance_interval >= domain.min_interval && domain.balance_interval <= 1024);
        for counters in &domain.stats.lb {
            assert!(counters.failed + counters.balanced <= counters.count);
            assert!(counters.nobusyg + counters.nobusyq <= counters.balanced);
            // Where hot tasks are counted before their size is looked at, some do not move.
            let when_moved = sched.kernel.balance.tasks.counts_hot == CountsHot::WhenMoved;
            assert!(!when_moved || counters.gained >= counters.hot_gained);
        }
        let stats = &domain.stats;
        assert_eq!(stats.alb_count, stats.alb_failed + stats.alb_pushed);
    }
    for rq in &sched.rqs {
        assert_eq!(rq.nohz_tick_stopped, sched.nohz.idle_cpus_mask.contains(rq.cpu));
        assert!(rq.detached.is_empty());
    }
    assert_eq!(sched.nohz.nr_cpus, sched.nohz.idle_cpus_mask.weight());
    assert!(!sched.balance_running);
}

/// Whatever happens, in any kernel.
fn check_kernel(kernel: &Kernel) {
    let machines = [
        Machine::regular(1, 1, 4, 1, false),
        Machine::regular(1, 1, 3, 2, false),
        Machine::regular(1, 2, 2, 2, false),
        Machine::regular(2, 2, 2, 2, true),
    ];
    let mut all = Auditor::default();
    for (i, machine) in machines.iter().enumerate() {
        for seed in 0..4 {
            let one: Auditor = run(kernel, machine, seed + 100 * i as u64);
            all.passes += one.passes;
            all.moved += one.moved;
            all.pushed += one.pushed;
            all.redos += one.redos;
            all.redirected += one.redirected;
            all.gathered += one.gathered;
            all.kept += one.kept;
        }
    }
    // The events are such that every path is taken.
    assert!(all.passes > 10_000 && all.moved > 500, "{} passes moved {}", all.passes, all.moved);
    assert!(all.pushed > 0 && all.redos > 0 && all.redirected > 0);
    let gathers = kernel.balance.cache_aware.gathers();
    assert_eq!([all.gathered > 0, all.kept > 0], [gathers; 2], "{} {}", all.gathered, all.kept);
}

#[test]
fn random_events_keep_the_books_of_balancing() {
    check_kernel(kernels::DEFAULT);
}

#[test]
fn random_events_keep_the_books_of_the_other_kernels() {
    for kernel in kernels::ALL.into_iter().filter(|kernel| kernel.build != kernels::DEFAULT.build) {
        check_kernel(kernel);
    }
}
