//! The state of all queues and tasks in the text form of debugfs `sched/debug`.
//!
//! The layout is that of the kernel: the same sections, the same names, the same columns, so scripts made for the real file
//! read it. It is known from recordings of v6.1, v6.12, v6.18 and v7.2; for others there is no such view. A value in milliseconds has six digits after the point: 1 482 313 150 ns is
//! `1482.313150`.
//!
//! Left out are lines about what is not modelled: the number of `sysctl_sched_features` (its bits are numbered by each
//! build), the CPU's frequency, and of a task group's queue the lines about its entity. The bandwidth admitted
//! for deadline tasks is that of an idle machine.
//! Tasks are numbered from 1 in the order of their creation instead of by PID.
//!
//! In the kernel: `sched_debug_show`, `print_cpu`, `print_cfs_rq`, `print_task`.
use crate::metrics::RunResult;
use crate::schedstat::initial_jiffies;
use crate::simulation::Simulation;
use core::fmt::Write as _;
use evenkeel::entity::CfsRq;
use evenkeel::ids::{CpuId, QueueId, TaskId};
use evenkeel::kernel::DebugLayout;
use evenkeel::observe::Observer;
use evenkeel::rq::Rq;
use evenkeel::sched::BOOT_NS;
use evenkeel::task::TaskState;
use evenkeel::time::Ns;
use evenkeel::workload::{Class, Policy};

/// What an empty queue shows as its first and last virtual time: -1 ns, of which only the fraction survives.
const NOTHING: &str = "0.000001";

const TASK_HEADING: &str = " S            task   PID       vruntime   eligible    deadline             slice          sum-exec      switches  prio         wait-time        sum-sleep       sum-block  node   group-id  group-path";

const CLASSIC_HEADING: &str = " S            task   PID         tree-key  switches  prio     wait-time             sum-exec        sum-sleep";

/// The line below the newer heading is a little shorter than it.
const RULE_LENGTH: usize = 191;

/// What a CPU's deadline server has of it: 50 ms of every second, of 2^20.
const DEADLINE_SERVER_BW: usize = 52_428;

/// The file as the simulation's kernel would print it now, if its layout is known.
pub fn sched_debug<O: Observer>(sim: &Simulation<O>) -> Result<String, NoView> {
    let kernel = sim.sched().kernel();
    if kernel.debug_layout == DebugLayout::Unknown {
        return Err(NoView { build: kernel.build });
    }
    let layout = kernel.debug_layout;
    let mut view = View { sim, layout, result: sim.result(), text: String::new() };
    view.header();
    for rq in sim.sched().rqs() {
        view.cpu(rq);
    }
    Ok(view.text)
}

struct View<'a, O: Observer> {
    sim: &'a Simulation<O>,
    layout: DebugLayout,
    result: RunResult,
    text: String,
}

/// Milliseconds with the rest as six digits, as `SPLIT_NS` prints a signed number.
fn split(ns: i64) -> String {
    format!(
        "{}{}.{:06}",
        if ns < 0 { "-" } else { "" },
        ns.unsigned_abs() / 1_000_000,
        ns.unsigned_abs() % 1_000_000
    )
}

fn split_unsigned(ns: Ns) -> String {
    split(ns as i64)
}

impl<O: Observer> View<'_, O> {
    fn header(&mut self) {
        let sched = self.sim.sched();
        let clock = split_unsigned(BOOT_NS + self.sim.now());
        let build = sched.kernel().build.trim_start_matches('v');
        writeln!(self.text, "Sched Debug Version: v0.11, {build} evenkeel").ok();
        let jiffies = (initial_jiffies(sched.kernel().hz) + sched.jiffies()).to_string();
        let lines = [("ktime", &clock), ("sched_clk", &clock), ("cpu_clk", &clock), ("jiffies", &jiffies)];
        for (name, value) in lines {
            writeln!(self.text, "{name:<40}: {value}").ok();
        }
        writeln!(self.text, "{:<40}: 1\n\nsysctl_sched", "sched_clock_stable()").ok();
        let tunables = &sched.kernel().tunables;
        let factor =
            u64::from(tunables.scaling.factor(sched.rqs().iter().filter(|rq| rq.active).count() as u32));
        let scaled = |ns: Ns| split_unsigned(ns * factor);
        let slices = match &tunables.cfs {
            None => vec![("sysctl_sched_base_slice", scaled(tunables.base_slice_normalized_ns))],
            Some(cfs) => vec![
                ("sysctl_sched_latency", scaled(cfs.latency_normalized_ns)),
                ("sysctl_sched_min_granularity", scaled(cfs.min_granularity_normalized_ns)),
                (
                    "sysctl_sched_idle_min_granularity",
                    split_unsigned(cfs.idle_min_granularity_ns.unwrap_or(0)),
                ),
                ("sysctl_sched_wakeup_granularity", scaled(cfs.wakeup_granularity_normalized_ns)),
                ("sysctl_sched_child_runs_first", "0".to_owned()),
            ],
        };
        let (number, name) = match tunables.scaling {
            evenkeel::kernel::TunableScaling::None => (0, "none"),
            evenkeel::kernel::TunableScaling::Log => (1, "logarithmic"),
            evenkeel::kernel::TunableScaling::Linear => (2, "linear"),
        };
        for (name, value) in slices {
            writeln!(self.text, "  .{name:<40}: {value}").ok();
        }
        writeln!(self.text, "  .{:<40}: {number} ({name})\n", "sysctl_sched_tunable_scaling").ok();
    }

    fn line(&mut self, name: &str, value: impl core::fmt::Display) {
        writeln!(self.text, "  .{name:<30}: {value}").ok();
    }

    fn cpu(&mut self, rq: &Rq) {
        let cpu = rq.cpu;
        let sched = self.sim.sched();
        writeln!(self.text, "cpu#{cpu}").ok();
        self.line("nr_running", rq.nr_running);
        self.line("nr_switches", self.result.cpus[cpu.index()].switches);
        self.line("nr_uninterruptible", 0);
        let next = initial_jiffies(sched.kernel().hz) + rq.next_balance;
        self.line("next_balance", split_unsigned(next));
        self.line("curr->pid", rq.curr.map_or(0, pid));
        self.line("clock", split_unsigned(rq.clock));
        self.line("clock_task", split_unsigned(rq.clock_task));
        self.line("avg_idle", rq.avg_idle);
        self.line("max_idle_balance_cost", rq.max_idle_balance_cost);
        self.text.push('\n');
        for &queue in &rq.leaf_queues {
            self.cfs_rq(queue);
        }
        self.cfs_rq(QueueId(cpu.0));
        writeln!(self.text, "rt_rq[{cpu}]:").ok();
        let classic = self.layout == DebugLayout::Classic;
        let migratory =
            |queue: &[TaskId]| queue.iter().filter(|task| sched.tasks()[**task].nr_cpus_allowed > 1).count();
        self.line("rt_nr_running", rq.rt.queue.len());
        if classic {
            self.line("rt_nr_migratory", migratory(&rq.rt.queue));
            self.line("rt_throttled", u8::from(rq.rt.throttled));
            self.line("rt_time", split_unsigned(rq.rt.time));
            self.line("rt_runtime", split_unsigned(rq.rt.runtime));
        }
        writeln!(self.text, "\ndl_rq[{cpu}]:").ok();
        self.line("dl_nr_running", rq.dl.queue.len() + usize::from(rq.fair_server.is_ready()));
        if classic {
            self.line("dl_nr_migratory", migratory(&rq.dl.queue));
        }
        // Realtime tasks may have 950 ms of every second: 0.95 * 2^20; in the newest kernels all of it.
        let servers = sched.online().weight() as usize * DEADLINE_SERVER_BW;
        let (most, used) = match self.layout {
            DebugLayout::Sums => (1 << 20, servers),
            DebugLayout::Queued => (996_147, servers),
            _ => (996_147, 0),
        };
        self.line("dl_bw->bw", most);
        self.line("dl_bw->total_bw", used);
        self.tasks(cpu);
    }

    fn cfs_rq(&mut self, id: QueueId) {
        let sched = self.sim.sched();
        let queue: &CfsRq = &sched.queues()[id.index()];
        let group = &sched.groups()[queue.group.index()];
        writeln!(self.text, "cfs_rq[{}]:{}", queue.cpu, group.name).ok();
        let waiting = queue.timeline.entries();
        let entities = sched.entities();
        let vruntimes = || waiting.iter().map(|waiting| entities[waiting.se.index()].vruntime);
        let order = |a: &u64, b: &u64| (a.wrapping_sub(*b) as i64).cmp(&0);
        let first = waiting
            .iter()
            .map(|waiting| &entities[waiting.se.index()])
            .min_by(|a, b| order(&a.vruntime, &b.vruntime));
        let last = vruntimes().max_by(|a, b| order(a, b));
        let or_nothing = |value: Option<u64>| value.map_or(NOTHING.to_owned(), split_unsigned);
        if self.layout == DebugLayout::Classic {
            let first = first.map(|first| first.vruntime);
            return self.classic_cfs_rq(queue, first, last);
        }
        self.line("left_deadline", or_nothing(first.map(|first| first.deadline)));
        self.line("left_vruntime", or_nothing(first.map(|first| first.vruntime)));
        self.line("zero_vruntime", split_unsigned(queue.zero_vruntime));
        if self.layout == DebugLayout::Sums {
            let sum = queue.avg_vruntime;
            let bits = sum.unsigned_abs().checked_ilog2().map_or(-1, i64::from);
            self.line("sum_w_vruntime", format_args!("{sum} ({bits} bits)"));
            self.line("sum_weight", queue.avg_load);
            self.line("sum_shift", 0);
        }
        self.line("avg_vruntime", split_unsigned(sched.avg_vruntime(id)));
        self.line("right_vruntime", or_nothing(last));
        let spread = first.zip(last).map_or(0, |(first, last)| last.wrapping_sub(first.vruntime));
        self.line("spread", split_unsigned(spread));
        let queued = matches!(self.layout, DebugLayout::Queued | DebugLayout::Sums);
        self.line(if queued { "nr_queued" } else { "nr_running" }, queue.nr_running);
        self.line("h_nr_runnable", queue.h_nr_runnable());
        self.line("h_nr_queued", queue.h_nr_queued);
        if queued {
            self.line("h_nr_idle", queue.idle_h_nr_running);
        } else {
            self.line("h_nr_delayed", queue.h_nr_delayed);
            self.line("idle_nr_running", self.idle_entities(queue));
            self.line("idle_h_nr_running", queue.idle_h_nr_running);
        }
        self.load_lines(queue, "util_est");
    }

    /// The lines of the classic scheduler's queue.
    fn classic_cfs_rq(&mut self, queue: &CfsRq, first: Option<u64>, last: Option<u64>) {
        let sched = self.sim.sched();
        let or_nothing = |value: Option<u64>| value.map_or(NOTHING.to_owned(), split_unsigned);
        let of_cpu_0 = sched.queues()[0].zero_vruntime;
        let spread = first.zip(last).map_or(0, |(first, last)| last.wrapping_sub(first));
        self.line("exec_clock", split(0));
        self.line("MIN_vruntime", or_nothing(first));
        self.line("min_vruntime", split_unsigned(queue.zero_vruntime));
        self.line("max_vruntime", or_nothing(last));
        self.line("spread", split_unsigned(spread));
        self.line("spread0", split(queue.zero_vruntime.wrapping_sub(of_cpu_0) as i64));
        self.line("nr_spread_over", 0);
        self.line("nr_running", queue.nr_running);
        self.line("h_nr_running", queue.h_nr_queued);
        self.line("idle_nr_running", self.idle_entities(queue));
        self.line("idle_h_nr_running", queue.idle_h_nr_running);
        self.load_lines(queue, "util_est_enqueued");
    }

    /// The lines about load and limits, with the name under which the estimate is shown.
    fn load_lines(&mut self, queue: &CfsRq, estimate: &str) {
        let tg_load_avg = self.sim.sched().groups()[queue.group.index()].load_avg;
        self.line("load", queue.load_weight);
        self.line("load_avg", queue.avg.load_avg);
        self.line("runnable_avg", queue.avg.runnable_avg);
        self.line("util_avg", queue.avg.util_avg);
        self.line(estimate, queue.avg.util_est);
        self.line("removed.load_avg", queue.removed.load_avg);
        self.line("removed.util_avg", queue.removed.util_avg);
        self.line("removed.runnable_avg", queue.removed.runnable_avg);
        self.line("tg_load_avg_contrib", queue.tg_load_avg_contrib);
        self.line("tg_load_avg", tg_load_avg);
        self.line("throttled", u32::from(queue.bandwidth.throttled));
        self.line("throttle_count", queue.bandwidth.throttle_count);
        self.text.push('\n');
    }

    /// Entities of the idle kind that are queued here, current included.
    fn idle_entities(&self, queue: &CfsRq) -> usize {
        let sched = self.sim.sched();
        let is_idle = |se: evenkeel::ids::SeId| {
            let entity = &sched.entities()[se.index()];
            match (entity.task, entity.my_queue) {
                (Some(task), _) => sched.tasks()[task].policy == Policy::Idle,
                (None, Some(queue)) => sched.queues()[queue.index()].idle,
                (None, None) => false,
            }
        };
        queue
            .timeline
            .entries()
            .iter()
            .map(|waiting| waiting.se)
            .chain(queue.curr)
            .filter(|&se| is_idle(se))
            .count()
    }

    fn tasks(&mut self, cpu: CpuId) {
        let sched = self.sim.sched();
        let classic = self.layout == DebugLayout::Classic;
        let heading = if classic { CLASSIC_HEADING } else { TASK_HEADING };
        writeln!(
            self.text,
            "\nrunnable tasks:\n{heading}\n{}",
            "-".repeat(if classic { heading.len() } else { RULE_LENGTH })
        )
        .ok();
        for (id, task) in sched.tasks().iter() {
            if task.cpu != cpu || matches!(task.state, TaskState::New | TaskState::Dead) {
                continue;
            }
            let entity = sched.entity(id);
            let current = sched.rqs()[cpu.index()].curr == Some(id);
            let state = match task.state {
                TaskState::Sleeping => 'S',
                TaskState::Waking => 'W',
                TaskState::New | TaskState::Running | TaskState::Dead => 'R',
            };
            let times = &self.result.tasks[id.index()].times;
            let mut name = self.sim.task_name(id);
            // The kernel keeps fifteen characters.
            name.truncate(name.char_indices().nth(15).map_or(name.len(), |(at, _)| at));
            if classic {
                let line = format!(
                    "{}{state} {name:>15} {:>5} {:>16} {:>9} {:>5} {:>16} {:>16} {:>16} {:>16} {} 0 {}",
                    if current { '>' } else { ' ' },
                    pid(id),
                    split_unsigned(entity.vruntime),
                    times.voluntary_switches + times.involuntary_switches,
                    120 + task.nice,
                    split_unsigned(task.run_delay),
                    split_unsigned(entity.sum_exec),
                    split_unsigned(times.sleep),
                    split_unsigned(0),
                    sched.node_of(cpu),
                    sched.groups()[task.group.index()].name,
                );
                writeln!(self.text, "{line}").ok();
                continue;
            }
            let line = format!(
                "{}{state} {name:>15} {:>5} {:>16}   {}   {:>16}   {:>16} {:>16} {:>9}   {:>5} {:>16} {:>16} {:>16}   {}      {}        {}",
                if current { '>' } else { ' ' },
                pid(id),
                split_unsigned(entity.vruntime),
                if sched.is_eligible(task.se) { 'E' } else { 'N' },
                split_unsigned(entity.deadline),
                split_unsigned(entity.slice),
                split_unsigned(entity.sum_exec),
                times.voluntary_switches + times.involuntary_switches,
                kernel_priority(task.policy, task.nice),
                split_unsigned(task.run_delay),
                split_unsigned(times.sleep),
                split_unsigned(0),
                sched.node_of(cpu),
                task.group,
                sched.groups()[task.group.index()].name,
            );
            writeln!(self.text, "{line}").ok();
        }
        self.text.push('\n');
    }
}

/// The priority of a task as the kernel counts it: the lower the more urgent.
fn kernel_priority(policy: Policy, nice: i32) -> i32 {
    match policy.class() {
        Class::Fair => 120 + nice,
        Class::RealTime => 99 - i32::from(policy.priority()),
        Class::Deadline => -1,
    }
}

/// The number of a task, as these views print it.
fn pid(task: TaskId) -> u32 {
    task.0 + 1
}

/// Why there is no such view of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoView {
    build: &'static str,
}

impl core::fmt::Display for NoView {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "the layout of sched/debug of {} is not known here: only those of v6.1, v6.12, v6.18 and v7.2 were recorded",
            self.build,
        )
    }
}
impl core::error::Error for NoView {}
