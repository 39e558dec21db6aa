//! The fair server: newer kernels give fair tasks 50 ms of every second, whatever else wants to run.
//!
//! On each CPU a server with 50 ms of runtime and a deadline of one second stands for all fair tasks. It competes with
//! deadline tasks, so above real-time ones, but only when fair tasks would starve otherwise: at the last moment at which
//! its runtime still fits before its deadline. While it runs, the usual pick chooses among fair tasks. Example: a FIFO task
//! that never sleeps and a fair one on one CPU. At 950 ms the server's time has come, the fair task runs for 50 ms. As
//! it starved in the second before, it need not wait for the last moment any more: it runs at the beginning of every second
//! from then on. As soon as fair tasks get 50 ms without help, the server withdraws and the next second begins.
//!
//! In the kernel: `dl_server_start`, `dl_server_update`, `fair_server_init`. Specified in spec 2 §15.2. Simplified: a
//! kernel's server is active whenever fair tasks are runnable; here only while there are real-time or deadline tasks too,
//! so its first second begins when both are there for the first time instead of up to 50 ms of fair running time before.
use crate::dl::{DlParams, DlState};
use crate::ids::CpuId;
use crate::observe::Observer;
use crate::queue_rules::StarvationGuard;
use crate::sched::Sched;
use crate::time::Ns;
use crate::workload::Class;

/// What the server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// Nothing: there are no fair tasks, or only fair tasks.
    #[default]
    Off,
    /// It waits for the last moment.
    Deferred,
    /// It competes with deadline tasks, or runs.
    Ready,
    /// It has used up its runtime and waits for its next period.
    Spent,
}

/// The server of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairServer {
    /// What it does.
    pub state: ServerState,
    /// The end of its present period.
    pub deadline: Ns,
    /// Runtime left in it.
    pub runtime: i64,
    /// Fair tasks starved: it does not wait for the last moment.
    pub starved: bool,
}

impl FairServer {
    /// Whether running time of fair tasks has to be charged.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.state != ServerState::Off
    }

    /// Whether it competes.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.state == ServerState::Ready
    }

    /// When something is due.
    pub fn due(&self) -> Option<Ns> {
        match self.state {
            ServerState::Off | ServerState::Ready => None,
            ServerState::Deferred => Some(self.deadline - self.runtime.max(0).unsigned_abs()),
            ServerState::Spent => Some(self.deadline),
        }
    }

    /// A period begins now, the last moment of which is waited for.
    fn begin(&mut self, params: &DlParams, now: Ns) {
        self.deadline = now + params.deadline;
        self.runtime = params.runtime as i64;
        self.state = ServerState::Deferred;
        self.starved = false;
    }
}

impl<O: Observer> Sched<O> {
    /// Runtime and period of the server.
    fn server_params(&self) -> DlParams {
        let guard = &self.kernel.tunables.guard;
        let period = guard.fair_server_period_ns;
        DlParams { runtime: guard.fair_server_runtime_ns, deadline: period, period }
    }

    /// A task has joined and there are urgent ones: starts the server if fair tasks are queued too.
    pub(crate) fn start_fair_server(&mut self, cpu: CpuId) {
        if self.rules.queues.starvation_guard != StarvationGuard::FairServer
            || self.rqs[cpu.index()].fair_server.is_on()
            || self.root(cpu).h_nr_queued == 0
            || self.kernel.tunables.guard.fair_server_runtime_ns == 0
        {
            return;
        }
        let params = self.server_params();
        let rq = &mut self.rqs[cpu.index()];
        let (now, server) = (rq.clock, &mut rq.fair_server);
        let left = DlState { deadline: server.deadline, runtime: server.runtime, ..DlState::default() };
        if server.deadline <= now || server.runtime <= 0 || left.exceeds_share(&params, now) {
            server.begin(&params, now);
        } else if server.starved {
            server.state = ServerState::Ready;
            rq.urgent += 1;
            self.resched_curr(cpu, cpu);
        } else {
            server.state = ServerState::Deferred;
        }
        self.arm_limit_timer(cpu);
    }

    /// No fair task is left, or no other.
    pub(crate) fn stop_fair_server(&mut self, cpu: CpuId) {
        let rq = &mut self.rqs[cpu.index()];
        let ready = rq.fair_server.is_ready();
        rq.urgent -= u32::from(ready);
        rq.fair_server.state = ServerState::Off;
        if ready && rq.urgent > 0 && self.curr_class(cpu) == Some(Class::Fair) {
            self.resched_curr(cpu, cpu);
        }
    }

    /// A fair task has run for `delta` while the server was on.
    pub(crate) fn charge_fair_server(&mut self, cpu: CpuId, delta: Ns) {
        let params = self.server_params();
        let rq = &mut self.rqs[cpu.index()];
        let server = &mut rq.fair_server;
        server.runtime -= delta as i64;
        if server.runtime > 0 {
            return;
        }
        let alone = rq.rt.queue.is_empty() && rq.dl.queue.is_empty() && rq.dl.withheld.is_empty();
        match server.state {
            ServerState::Ready => {
                server.state = ServerState::Spent;
                rq.urgent -= 1;
                self.resched_curr(cpu, cpu);
            }
            ServerState::Deferred if alone => server.state = ServerState::Off,
            ServerState::Deferred => server.begin(&params, rq.clock),
            ServerState::Spent | ServerState::Off => {}
        }
        self.arm_limit_timer(cpu);
    }

    /// The server's moment may have come.
    pub(crate) fn fair_server_due(&mut self, cpu: CpuId) {
        let now = self.now;
        let rq = &self.rqs[cpu.index()];
        if rq.fair_server.due().is_none_or(|due| due > now) {
            return;
        }
        let alone = rq.rt.queue.is_empty() && rq.dl.queue.is_empty() && rq.dl.withheld.is_empty();
        if self.root(cpu).h_nr_queued == 0 || alone {
            return self.stop_fair_server(cpu);
        }
        let params = self.server_params();
        let rq = &mut self.rqs[cpu.index()];
        let server = &mut rq.fair_server;
        if server.state == ServerState::Spent {
            while server.runtime <= 0 {
                server.deadline += params.period;
                server.runtime += params.runtime as i64;
            }
        }
        server.state = ServerState::Ready;
        server.starved = true;
        rq.urgent += 1;
        if self.curr_class(cpu) != Some(Class::Fair) {
            self.resched_curr(cpu, cpu);
        }
    }
}
