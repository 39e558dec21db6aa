//! What a run needs to know beside machine, kernel and workload.
use crate::turns::Execution;
use evenkeel::cost::CostModel;
use evenkeel::time::{Ns, US};

/// Parameters of a run; the defaults suit a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimParams {
    /// Seed of all dice: those of the scheduler and those of [`SimParams::start_jitter`].
    pub seed: u64,
    /// What balancing costs, as the kernel would measure it.
    pub cost: CostModel,
    /// How long what is asynchronous in a kernel takes.
    pub delays: Delays,
    /// Whether CPUs execute all the time or in turn.
    pub execution: Execution,
    /// When an idle CPU stops its tick.
    pub stop_tick: StopTick,
    /// The ticks of different CPUs are spread over half a tick (boot option `skew_tick=1`) instead of falling together.
    pub skew_tick: bool,
    /// Each tick comes up to this much late, by dice, as on virtual machines; 0: on the dot.
    pub tick_jitter: Ns,
    /// CPU time that switching to a task costs before its program goes on; charged to that task.
    pub switch_cost: Ns,
    /// CPU time the starting task spends on each fork, so that forks follow each other.
    pub fork_cost: Ns,
    /// Each instance that starts with the workload begins up to this much later, by dice; 0: exactly as written.
    pub start_jitter: Ns,
    /// How late timers of tasks may expire, and do (`timer_slack_ns` of a kernel task is 50 us); 0: on the dot.
    pub timer_slack: Ns,
    /// The kernel threads that every machine has run beside the workload (see the module `background`).
    pub background: bool,
    /// As a machine just booted rather than one that was up and idle.
    pub fresh_boot: bool,
    /// How many tasks may be created in all: a guard against programs that fork without end.
    pub tasks_max: usize,
}

impl Default for SimParams {
    fn default() -> Self {
        Self {
            seed: 0,
            cost: CostModel::default(),
            delays: Delays::default(),
            execution: Execution::default(),
            stop_tick: StopTick::default(),
            skew_tick: false,
            tick_jitter: 0,
            switch_cost: 0,
            fork_cost: 50 * US,
            start_jitter: 0,
            timer_slack: 0,
            background: false,
            fresh_boot: false,
            tasks_max: 1 << 18,
        }
    }
}

/// Delays between a request and what it asks for. A request to the own CPU is served at once, after the softirq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Reschedule interrupt to another CPU: 1 us, as between cores of one package.
    pub resched_ipi: Ns,
    /// Function-call interrupt to another CPU (remote wake-ups, NOHZ kicks): 1 us.
    pub call_ipi: Ns,
    /// From the tick, which accounts running time, to the end of its interrupt, where softirq and reschedule follow: 1 us.
    /// Small, but never nothing: at 0, two equal tasks on one CPU tie exactly at every tick, and the tie goes to the one
    /// that waits, so they alternate every tick; on real machines the running one is this little behind, and goes on.
    pub tick: Ns,
    /// From the end of the interrupt that raised it to the softirq: 0. Reschedules on the CPU wait for it.
    pub softirq: Ns,
    /// From waking a stopper thread until it runs: 2 us, an interrupt and a switch.
    pub stopper: Ns,
    /// How late the timer that ends slices fires, in kernels that have one: 1 us.
    pub hrtick: Ns,
    /// From switching to the idle task until the idle loop stops the tick: 0.
    pub idle_entry: Ns,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            resched_ipi: US,
            call_ipi: US,
            tick: US,
            softirq: 0,
            stopper: 2 * US,
            hrtick: US,
            idle_entry: 0,
        }
    }
}

/// When an idle CPU stops its tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopTick {
    /// When it enters idle, as on a machine without a cpuidle governor.
    #[default]
    AtOnce,
    /// At the first tick it spends idle: short idle periods keep the tick.
    AfterIdleTick,
    /// Never: idle CPUs tick on (`nohz=off`).
    Never,
}
