//! The scheduler of one machine: the state, and the contract with the host.
//!
//! # How to drive it
//! 1. [`Sched::new`] boots a machine: every CPU idle, nothing running.
//! 2. [`Sched::new_task`] prepares a task; `Input::Fork` makes it runnable.
//! 3. For everything that happens, in order of time: [`Sched::handle`], then [`Sched::poll`] until it returns `None`,
//!    carrying out each [`Action`] (now or later, as its documentation says).
//!
//! Time never goes back, and actions must be drained before the next input; both are asserted. The same inputs give
//! the same actions and events, on every platform.
//!
//! # Invariants
//! [`Sched::check`](crate::check) verifies them all: a task is in exactly one place, counts and sums equal what is
//! recomputed from their members, nothing is queued where it may not run.
//!
//! Not modelled yet, and not accepted: the sampling of NUMA balancing,
//! energy-aware placement, kernels other than those whose [`Kernel::runs`] is true.
use crate::balance::locality::NumaShape;
use crate::cache_aware::{Gathering, Process, TaskLlc};
use crate::cost::CostModel;
use crate::entity::{CfsRq, Entity};
use crate::group::TaskGroup;
use crate::ids::{CpuId, SeId, TaskId};
use crate::io::{Action, Input, IpiKind};
use crate::kernel::{Features, Kernel};
use crate::mask::CpuMask;
use crate::observe::{Event, Observer, Running};
use crate::pick::rules::Rules;
use crate::rng::Rng;
use crate::rq::Rq;
use crate::select::IdleWaker;
use crate::task::{OnRq, Task, TaskParams, TaskState, Tasks};
use crate::time::{Jiffies, MS, Ns, SEC, tick_ns};
use crate::topology::asym::{cpu_capacities, cpu_priorities};
use crate::topology::group::max_load_balance_interval;
use crate::topology::{Domains, Machine, Partition, TopologyError};
use crate::tune::Tune;
use crate::weight::LoadWeight;
use crate::workload::Policy;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The kernel's clock when the run starts: the machine has been up for a while.
pub const BOOT_NS: Ns = 16 * SEC;

/// What a [`Sched`] needs beside machine and kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// Seed of the scheduler's own dice.
    pub seed: u64,
    /// What balancing costs.
    pub cost: CostModel,
    /// `true`: as a machine just booted, whose caches of balancing hints are empty. `false`, the usual case: as a
    /// machine that has been up and idle, so hints of the wake-up search are set (spec 1 §12).
    pub fresh_boot: bool,
}

/// Why a machine cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchedError {
    /// Run queues and balancing of this kernel are not modelled yet.
    KernelDoesNotRun {
        /// The kernel.
        build: &'static str,
    },
    /// The domain trees could not be built.
    Topology(TopologyError),
    /// Something of the machine is not modelled yet.
    Unsupported {
        /// What.
        what: &'static str,
    },
}

impl fmt::Display for SchedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelDoesNotRun { build } => {
                write!(
                    f,
                    "kernel {build} has domain trees only: its run queues and balancer are not modelled yet"
                )
            }
            Self::Topology(error) => write!(f, "{error}"),
            Self::Unsupported { what } => write!(f, "{what} is not modelled yet"),
        }
    }
}
impl core::error::Error for SchedError {}

/// The record of tickless idle CPUs (spec 3 §2.6).
#[derive(Clone, Debug)]
pub struct Nohz {
    /// The CPUs whose tick is stopped.
    pub idle_cpus_mask: CpuMask,
    /// How many they are.
    pub nr_cpus: u32,
    /// Some of them have load left to decay.
    pub has_blocked: bool,
    /// A CPU has joined since `next_balance` was computed.
    pub needs_update: bool,
    /// When balancing for them is due.
    pub next_balance: Jiffies,
    /// When refreshing their load is due.
    pub next_blocked: Jiffies,
}

/// The scheduler of one machine.
#[derive(Clone, Debug)]
pub struct Sched<O: Observer> {
    /// Which kernel this is.
    pub(crate) kernel: Kernel,
    /// What balancing costs.
    pub(crate) cost: CostModel,
    /// The kernel's clock, ns since its boot.
    pub(crate) now: Ns,
    /// Length of a tick.
    pub(crate) tick: Ns,
    /// The constants of queue arithmetic, scaled by the number of CPUs.
    pub(crate) rules: Rules,
    /// CPUs by number.
    pub(crate) rqs: Vec<Rq>,
    /// Fair queues; the root queue of CPU `n` is number `n`.
    pub(crate) queues: Vec<CfsRq>,
    /// Entities.
    pub(crate) entities: Vec<Entity>,
    /// Tasks.
    pub(crate) tasks: Tasks,
    /// Processes.
    pub(crate) processes: Vec<Process>,
    /// How threads are gathered in a cache, if they are on this machine.
    pub(crate) gathering: Option<Gathering>,
    /// Task groups; number 0 is the root group.
    pub(crate) groups: Vec<TaskGroup>,
    /// Domain trees.
    pub(crate) topo: Domains,
    /// Tickless idle CPUs.
    pub(crate) nohz: Nohz,
    /// The active CPUs.
    pub(crate) active: CpuMask,
    /// All CPUs, as the affinity of most tasks.
    pub(crate) all: Arc<CpuMask>,
    /// Whether a pass through a serialised domain is running (`sched_balance_running`).
    pub(crate) balance_running: bool,
    /// The present upper limit of balancing intervals, jiffies.
    pub(crate) max_load_balance_interval: Jiffies,
    /// Dice.
    pub(crate) rng: Rng,
    /// Where all dice come from.
    pub(crate) seed: u64,
    /// Rotor of `cpumask_any_and_distribute`, by CPU.
    pub(crate) distribute: Vec<u32>,
    /// The machine, with the CPUs that are online now.
    pub(crate) machine: Machine,
    /// The partitions; none: one of all CPUs.
    pub(crate) partitions: Option<Vec<Partition>>,
    /// Priorities for asym packing, by CPU.
    pub(crate) asym_priorities: Vec<i32>,
    /// The node of each CPU.
    pub(crate) node_of: Vec<u32>,
    /// The CPUs of each node.
    pub(crate) node_cpus: Vec<CpuMask>,
    /// How the nodes are connected.
    pub(crate) numa_shape: NumaShape,
    /// Whom the idle tasks woke, by CPU.
    pub(crate) idle_wakers: Vec<IdleWaker>,
    /// Balancing passes so far: their numbers in events.
    pub(crate) passes: u64,
    /// What passes have cost since the host last asked, ns.
    pub(crate) spent: Ns,
    /// What the host has to do.
    pub(crate) actions: VecDeque<Action>,
    /// Real-time and deadline tasks that are queued anywhere.
    pub(crate) urgent_queued: u32,
    /// Who is told.
    pub(crate) observer: O,
    /// Scratch sets, so that nothing allocates after start.
    pub(crate) scratch: Scratch,
}

/// Scratch space of passes and placements.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    /// Candidate CPUs of a balancing pass.
    pub(crate) lb_cpus: CpuMask,
    /// Working set of the wake-up search.
    pub(crate) select: CpuMask,
}

impl<O: Observer> Sched<O> {
    /// Boots `machine` under `kernel`: every CPU idle with its tick stopped.
    pub fn new(machine: &Machine, kernel: &Kernel, params: Params, observer: O) -> Result<Self, SchedError> {
        if !kernel.runs {
            return Err(SchedError::KernelDoesNotRun { build: kernel.build });
        }
        let ncpus = machine.nr_cpus();
        let online = machine.online();
        let capacities = cpu_capacities(machine, kernel);
        let tick = tick_ns(kernel.hz);
        let jiffies = BOOT_NS / tick;
        let mut topo = Domains::build(machine, kernel, jiffies).map_err(SchedError::Topology)?;
        if !params.fresh_boot {
            settle(&mut topo);
        }
        let migration_cost = u64::from(kernel.tunables.migration_cost_ns);
        let cpus = || (0..ncpus as u32).map(CpuId);
        let rq = |cpu: CpuId| {
            let mut rq = Rq::new(cpu, u64::from(capacities[cpu.index()]), migration_cost, jiffies, BOOT_NS);
            rq.active = online.contains(cpu);
            rq.rt.runtime = kernel.tunables.guard.rt_runtime_ns;
            // Spec 4 §9.4: a CPU that was never idle would never be chosen by a fork.
            rq.idle_stamp = BOOT_NS;
            rq.detached.reserve(kernel.tunables.nr_migrate as usize);
            rq
        };
        let empty = CpuMask::new(ncpus);
        let mut sched = Self {
            kernel: *kernel,
            cost: params.cost,
            now: BOOT_NS,
            tick,
            rules: Rules::of(kernel, online.weight()),
            rqs: cpus().map(rq).collect(),
            queues: cpus()
                .map(|cpu| CfsRq {
                    virtual_time: kernel.queues.virtual_time,
                    mean_reference: kernel.queues.mean_reference,
                    ..CfsRq::new(cpu)
                })
                .collect(),
            entities: Vec::new(),
            tasks: Tasks::default(),
            processes: Vec::new(),
            gathering: None,
            groups: alloc::vec![TaskGroup::root(ncpus)],
            topo,
            nohz: Nohz {
                idle_cpus_mask: empty.clone(),
                nr_cpus: 0,
                has_blocked: false,
                needs_update: false,
                next_balance: jiffies,
                next_blocked: jiffies,
            },
            active: online.clone(),
            all: Arc::new(CpuMask::all(ncpus)),
            balance_running: false,
            max_load_balance_interval: max_load_balance_interval(kernel.hz, online.weight()),
            rng: Rng::new(params.seed, 1),
            seed: params.seed,
            distribute: alloc::vec![0; ncpus],
            asym_priorities: cpu_priorities(machine, kernel),
            machine: machine.clone(),
            partitions: None,
            node_of: machine.cpus.iter().map(|cpu| cpu.node).collect(),
            numa_shape: NumaShape::of(machine),
            node_cpus: (0..machine.nr_nodes as u32).map(|node| node_cpus(machine, node)).collect(),
            idle_wakers: alloc::vec![IdleWaker::default(); ncpus],
            passes: 0,
            spent: 0,
            actions: VecDeque::new(),
            urgent_queued: 0,
            observer,
            scratch: Scratch { lb_cpus: empty.clone(), select: empty },
        };
        sched.restart_gathering();
        for cpu in &online {
            sched.nohz_balance_enter_idle(cpu);
        }
        Ok(sched)
    }

    /// Prepares a task; it exists but is nowhere until `Input::Fork` names it.
    pub fn new_task(&mut self, params: &TaskParams) -> TaskId {
        assert!(!params.allowed.is_empty(), "a task must be allowed on at least one CPU");
        let task = TaskId::from_index(self.tasks.len());
        let se = SeId::from_index(self.entities.len());
        let load = task_weight(params.policy, params.nice);
        self.entities.push(Entity {
            custom_slice: params.slice != 0,
            task: Some(task),
            ..Entity::new(load, clamp_slice(params.slice, self.rules.base_slice))
        });
        // A new task is taken to be heavy until it shows otherwise (spec 2 §11).
        self.entities[se.index()].avg.load_avg = load.scaled;
        let allowed =
            if params.allowed == *self.all { self.all.clone() } else { Arc::new(params.allowed.clone()) };
        self.tasks.0.push(Task {
            se,
            group: params.group,
            state: TaskState::New,
            on_rq: OnRq::No,
            cpu: CpuId(0),
            wake_cpu: CpuId(0),
            recent_used_cpu: CpuId(0),
            policy: params.policy,
            rr_ticks: crate::rt::rr_slice(self.kernel.hz),
            dl: crate::dl::DlState::default(),
            nice: params.nice,
            nr_cpus_allowed: allowed.weight(),
            max_allowed_capacity: 1024,
            allowed,
            wakee_flips: 0,
            wakee_flip_decay_ts: self.jiffies(),
            last_wakee: None,
            sched_task_hot: false,
            sched_remote_wakeup: false,
            throttled: false,
            llc: TaskLlc::default(),
            links: crate::list::Links::default(),
            last_queued: 0,
            last_arrival: 0,
            run_delay: 0,
            pcount: 0,
            nr_migrations: 0,
            nr_failed_migrations_affine: 0,
            nr_failed_migrations_running: 0,
            nr_failed_migrations_hot: 0,
            nr_forced_migrations: 0,
            memory: None,
            percpu_kthread: false,
        });
        self.note_allowed_capacity(task);
        task
    }

    /// Something happens at `now` (ns since the start of the run).
    pub fn handle(&mut self, now: Ns, input: Input) {
        assert!(self.actions.is_empty(), "the actions of the last input must be drained first");
        let now = now + BOOT_NS;
        assert!(now >= self.now, "time must not go back: {now} after {}", self.now);
        self.now = now;
        match input {
            Input::Tick { cpu } => self.sched_tick(cpu),
            Input::Hrtick { cpu } => self.hrtick(cpu),
            Input::Softirq { cpu } => {
                self.sched_balance_softirq(cpu);
                self.irq_exit(cpu);
                self.return_to_user(cpu);
            }
            Input::Ipi { cpu, kind: IpiKind::NohzKick } => {
                self.nohz_csd_func(cpu);
                self.irq_exit(cpu);
            }
            Input::Ipi { cpu, kind: IpiKind::WakeList } => {
                self.sched_ttwu_pending(cpu);
                self.irq_exit(cpu);
            }
            Input::Ipi { cpu, kind: IpiKind::Unthrottle } => {
                self.unthrottle_pending(cpu);
                self.irq_exit(cpu);
            }
            Input::GroupTimer { cpu, group, timer } => self.group_timer(cpu, group, timer),
            Input::SetBandwidth { group, bandwidth } => self.change_group_bandwidth(group, bandwidth),
            Input::Schedule { cpu } => self.schedule_if_needed(cpu),
            Input::StopperRun { cpu } => self.run_stopper(cpu),
            Input::IdleEnter { cpu, stop_tick } => self.idle_enter(cpu, stop_tick),
            Input::Fork { cpu, child } => self.fork(cpu, child),
            Input::Exec { cpu } => self.exec(cpu),
            Input::Wake { cpu, task, context } => self.try_to_wake_up(cpu, task, context),
            Input::Block { cpu } => self.block(cpu),
            Input::Exit { cpu } => self.exit(cpu),
            Input::Yield { cpu } => self.sched_yield(cpu),
            Input::SetAffinity { cpu, task, allowed } => self.set_cpus_allowed(cpu, task, &allowed),
            Input::SetAttributes { cpu, task, policy, nice, slice } => {
                self.set_attributes(cpu, task, policy, nice, slice);
            }
            Input::Hotplug { cpu, online } => self.set_cpu_online(cpu, online),
            Input::SetPartitions { partitions } => self.set_partitions(partitions),
            Input::SetGroup { task, group } => self.set_task_group(task, group),
            Input::SetMemory { task, memory } => self.set_task_memory(task, memory),
            Input::BindKthread { task } => self.tasks[task].percpu_kthread = true,
            Input::LimitTimer { cpu } => self.limit_timer(cpu),
            Input::Interrupted { cpu, until, span } => self.interrupted(cpu, until + BOOT_NS, span),
            Input::SetShares { group, shares } => self.tune(Tune::Shares { group, shares }),
            Input::Tune { tune } => self.tune(tune),
            Input::Outside { begins } => self.emit_change(|_| Event::Outside { begins }),
        }
    }

    /// The next thing the host has to do.
    #[inline]
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What balancing passes since the last call have cost by the [`CostModel`], ns: for a host on whose CPUs they take time.
    pub fn take_spent(&mut self) -> Ns {
        core::mem::take(&mut self.spent)
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// The observer, to be read out or reset between inputs.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Ends the run and gives the observer back.
    pub fn into_observer(self) -> O {
        self.observer
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The domain trees with their present state and counters.
    pub fn domains(&self) -> &Domains {
        &self.topo
    }

    /// The CPUs.
    pub fn rqs(&self) -> &[Rq] {
        &self.rqs
    }

    /// The CPUs that are online.
    pub fn online(&self) -> &CpuMask {
        &self.active
    }

    /// The fair queues; the root queue of CPU `n` is number `n`.
    pub fn queues(&self) -> &[CfsRq] {
        &self.queues
    }

    /// The tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The entity of a task.
    pub fn entity(&self, task: TaskId) -> &Entity {
        &self.entities[self.tasks[task].se.index()]
    }

    /// The kernel's tick counter now.
    #[inline]
    pub fn jiffies(&self) -> Jiffies {
        self.now / self.tick
    }

    /// Length of a tick, ns.
    pub fn tick_ns(&self) -> Ns {
        self.tick
    }

    /// Whether a feature is on.
    #[inline]
    pub(crate) fn feat(&self, feature: Features) -> bool {
        self.kernel.features.contains(feature)
    }

    /// A time of the kernel's clock as the host counts it.
    pub(crate) fn since_start(&self, time: Ns) -> Ns {
        time - BOOT_NS
    }

    /// Tells the observer; the event is only made if it is wanted.
    #[inline]
    pub(crate) fn emit(&mut self, event: impl FnOnce(&Self) -> Event) {
        if O::EVERYTHING {
            let event = event(self);
            self.observer.event(self.now - BOOT_NS, &event);
        }
    }

    /// Tells the observer of a change of CPU, or that a group or task is throttled, which is wanted more often than the rest.
    #[inline]
    pub(crate) fn emit_always(&mut self, event: Event) {
        if O::ON {
            self.observer.event(self.now - BOOT_NS, &event);
        }
    }

    /// Tells the observer of a change, which is wanted more often than the rest ([`Observer::EVERYTHING`]).
    pub(crate) fn emit_change(&mut self, event: impl FnOnce(&Self) -> Event) {
        if O::ON {
            let event = event(self);
            self.observer.event(self.now - BOOT_NS, &event);
        }
    }

    /// Who runs on `cpu`, as the events name it.
    #[inline]
    pub(crate) fn running(&self, cpu: CpuId) -> Running {
        self.rqs[cpu.index()].curr.map_or(Running::Idle, Running::Task)
    }

    /// The root queue of `cpu`.
    #[inline]
    pub(crate) fn root(&self, cpu: CpuId) -> &CfsRq {
        &self.queues[cpu.index()]
    }
}

/// The weight of a task of this policy and nice value.
pub(crate) fn task_weight(policy: Policy, nice: i32) -> LoadWeight {
    match policy {
        Policy::Idle => LoadWeight::of_idle_policy(),
        _ => LoadWeight::of_nice(nice),
    }
}

/// A custom slice is clamped to 0.1..=100 ms; 0 means the default (spec 2 §6.3).
pub(crate) fn clamp_slice(slice: Ns, base_slice: Ns) -> Ns {
    if slice == 0 { base_slice } else { slice.clamp(MS / 10, 100 * MS) }
}

/// Brings the hints of a freshly built tree to where an idle machine that has been up keeps them: wake-ups may search
/// the whole cache, and cores are known to be idle.
fn settle(topo: &mut Domains) {
    for cpu in 0..topo.cpus.len() {
        let pointers = &topo.cpus[cpu];
        if let Some(shared) = pointers.sd_llc_shared {
            let size = pointers.sd_llc_size;
            let smt = topo.smt_active;
            let shared = &mut topo.shared[shared.index()];
            shared.nr_idle_scan = size;
            shared.has_idle_cores = smt;
        }
    }
}

/// The CPUs of a node.
fn node_cpus(machine: &Machine, node: u32) -> CpuMask {
    let on_node = machine.cpus.iter().enumerate().filter(|(_, cpu)| cpu.node == node);
    CpuMask::from_cpus(machine.nr_cpus(), on_node.map(|(i, _)| CpuId(i as u32)))
}
