//! From the meters of a simulation to a report.
use super::model::{
    Balancing, Conservation, Cpu, Definition, Group, KernelName, Latency, Level, Limit, MachineName,
    Migrations, RunReport, Spread, Task, Trigger, Violation,
};
use crate::changes::Change;
use evenkeel::kernel::Kernel;
use evenkeel::topology::{Domains, LbCounters, Machine};
use evenkeel::workload::Workload;
use evenkeel_sim::RunResult;
use evenkeel_sim::metrics::histogram::Histogram;
use evenkeel_sim::metrics::{self, GroupResult, GroupTimes, TaskResult};
use serde::Serialize;
use std::collections::BTreeMap;

/// One thing the user changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Override {
    /// What.
    pub key: String,
    /// To what.
    pub value: String,
}

/// What a run was made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The machine.
    pub machine: &'a Machine,
    /// The machine in words.
    pub machine_description: &'a str,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// What the user changed.
    pub settings: &'a [Override],
    /// The seed.
    pub seed: u64,
    /// What was changed from outside while it ran.
    pub changes: &'a [Change],
    /// The fingerprint of the event stream.
    pub digest: Option<&'a str>,
}

impl RunReport {
    /// The report of a run: `result` is what was measured, `domains` are those of the scheduler at the end.
    pub fn new(facts: Facts<'_>, result: &RunResult, domains: &Domains) -> Self {
        let specs = specs(result);
        let index_of = |task: &TaskResult| task.spec.and_then(|spec| specs.binary_search(&spec.0).ok());
        let definitions = specs.iter().map(|spec| {
            let instances: Vec<_> =
                result.tasks.iter().filter(|task| task.spec.is_some_and(|s| s.0 == *spec)).collect();
            definition(&facts.workload.tasks[*spec as usize].name, &instances)
        });
        let machine = MachineName {
            name: facts.machine.name.clone(),
            source: facts.machine.source.clone(),
            description: facts.machine_description.to_owned(),
            cpus: facts.machine.nr_cpus(),
            nodes: facts.machine.nr_nodes,
        };
        Self {
            format: "evenkeel-run-1",
            workload: facts.workload.name.clone(),
            machine,
            kernel: KernelName { build: facts.kernel.build, alias: facts.kernel.alias },
            settings: facts.settings.to_vec(),
            seed: facts.seed,
            changes: facts.changes.to_vec(),
            simulated_ns: result.elapsed,
            finished: result.tasks.iter().all(|task| task.launcher || task.times.ended.is_some()),
            events: result.events,
            definitions: definitions.collect(),
            tasks: result.tasks.iter().map(|one| task(one, index_of(one))).collect(),
            groups: result.groups.iter().skip(1).map(group).collect(),
            cpus: cpus(facts.machine, result, domains),
            levels: levels(domains),
            conservation: conservation(result),
            digest: facts.digest.map(str::to_owned),
        }
    }

    /// All of it as JSON, with a line break at the end.
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("plain data with text keys can be written as JSON");
        text.push('\n');
        text
    }
}

/// The definitions that had an instance, in the order of the workload.
fn specs(result: &RunResult) -> Vec<u32> {
    let mut specs: Vec<u32> = result.tasks.iter().filter_map(|task| task.spec.map(|spec| spec.0)).collect();
    specs.sort_unstable();
    specs.dedup();
    specs
}

fn definition(name: &str, instances: &[&TaskResult]) -> Definition {
    let spread = |value: fn(&TaskResult) -> u64| Spread::of(instances.iter().map(|task| value(task)));
    let sum = |value: fn(&TaskResult) -> u64| instances.iter().map(|task| value(task)).sum();
    let mut all = Histogram::default();
    let mut moves = metrics::Migrations::default();
    for task in instances {
        all.merge(&task.times.wake_latency);
        moves.add(&task.migrations);
    }
    Definition {
        name: name.to_owned(),
        instances: instances.len() as u64,
        ended: sum(|task| u64::from(task.times.ended.is_some())),
        run_ns: spread(|task| task.times.run),
        wait_ns: spread(|task| task.times.wait),
        sleep_ns: spread(|task| task.times.sleep),
        voluntary_switches: sum(|task| task.times.voluntary_switches),
        involuntary_switches: sum(|task| task.times.involuntary_switches),
        migrations: migrations(&moves),
        wake_latency: latency(&all),
        timer_uses: sum(|task| task.times.timer_uses),
        timer_misses: sum(|task| task.times.timer_misses),
    }
}

fn task(task: &TaskResult, definition: Option<usize>) -> Task {
    let times = &task.times;
    Task {
        id: task.id.0,
        name: task.name.clone(),
        definition,
        cpu: task.cpu.0,
        created_ns: times.created,
        ended_ns: times.ended,
        run_ns: times.run,
        wait_ns: times.wait,
        throttled_ns: times.throttled,
        sleep_ns: times.sleep,
        voluntary_switches: times.voluntary_switches,
        involuntary_switches: times.involuntary_switches,
        migrations: migrations(&task.migrations),
        wake_latency: latency(&times.wake_latency),
        loops: times.loops,
        timer_uses: times.timer_uses,
        timer_misses: times.timer_misses,
        timer_slack_min_ns: times.timer_slack_min,
    }
}

fn group(group: &GroupResult) -> Group {
    let ppm = |(part, whole): (u64, u64)| {
        let ppm = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
        u64::try_from(ppm).unwrap_or(u64::MAX)
    };
    Group {
        path: group.path.clone(),
        shares: group.shares,
        idle: group.idle,
        tasks: group.tasks,
        run_ns: group.times.run,
        wait_ns: group.times.wait,
        wanted_ppm: if group.times == GroupTimes::default() { 0 } else { ppm(group.wanted) },
        got_ppm: ppm(group.got),
        limit: group.limit.map(|used| Limit {
            quota_ns: used.limit.quota,
            period_ns: used.limit.period,
            burst_ns: used.limit.burst,
            periods: used.periods,
            throttled_periods: used.throttled_periods,
            throttled_ns: used.throttled,
            bursts: used.bursts,
            burst_used_ns: used.burst,
        }),
    }
}

fn migrations(moves: &metrics::Migrations) -> Migrations {
    Migrations {
        wakeup: moves.wakeup.into(),
        exec: moves.exec.into(),
        affinity: moves.affinity.into(),
        balance: moves.balance.into(),
        active_balance: moves.active_balance.into(),
        urgent: moves.urgent.into(),
    }
}

fn latency(all: &Histogram) -> Latency {
    Latency {
        count: all.count(),
        min_ns: all.min().unwrap_or(0),
        p50_ns: all.quantile(500).unwrap_or(0),
        p99_ns: all.quantile(990).unwrap_or(0),
        max_ns: all.max().unwrap_or(0),
        sum_ns: all.sum(),
    }
}

fn cpus(machine: &Machine, result: &RunResult, domains: &Domains) -> Vec<Cpu> {
    let mut first_of_llc: BTreeMap<u32, u32> = BTreeMap::new();
    let mut cpus = Vec::with_capacity(result.cpus.len());
    for (number, (times, facts)) in (0u32..).zip(result.cpus.iter().zip(&machine.cpus)) {
        let llc = facts.llc.map_or(number, |llc| *first_of_llc.entry(llc).or_insert(number));
        let mut passes = Trigger::default();
        for id in domains.chain(evenkeel::ids::CpuId(number)) {
            let [busy, idle, newly_idle] = &domains.domains[id.index()].stats.lb;
            passes.busy += u64::from(busy.count);
            passes.idle += u64::from(idle.count);
            passes.newly_idle += u64::from(newly_idle.count);
        }
        cpus.push(Cpu {
            cpu: number,
            llc,
            node: facts.node,
            busy_ns: times.busy,
            idle_ns: times.idle,
            offline_ns: times.offline,
            idle_periods: times.idle_periods,
            switches: times.switches,
            ticks: times.ticks,
            passes,
        });
    }
    cpus
}

fn levels(domains: &Domains) -> Vec<Level> {
    let mut levels: BTreeMap<(u32, &str), Level> = BTreeMap::new();
    for id in (0..domains.cpus.len() as u32).flat_map(|cpu| domains.chain(evenkeel::ids::CpuId(cpu))) {
        let domain = &domains.domains[id.index()];
        let level = levels.entry((domain.level, domain.name)).or_insert_with(|| Level {
            name: domain.name,
            level: domain.level,
            cpus: 0,
            passes: Trigger::default(),
            active_attempts: 0,
            active_failed: 0,
            active_pushed: 0,
            wake_affine_moves: 0,
            remote_wakeups: 0,
        });
        let stats = &domain.stats;
        let [busy, idle, newly_idle] = &stats.lb;
        level.cpus += 1;
        add(&mut level.passes.busy, busy);
        add(&mut level.passes.idle, idle);
        add(&mut level.passes.newly_idle, newly_idle);
        level.active_attempts += u64::from(stats.alb_count);
        level.active_failed += u64::from(stats.alb_failed);
        level.active_pushed += u64::from(stats.alb_pushed);
        level.wake_affine_moves += u64::from(stats.ttwu_move_affine);
        level.remote_wakeups += u64::from(stats.ttwu_wake_remote);
    }
    levels.into_values().collect()
}

fn add(sum: &mut Balancing, one: &LbCounters) {
    sum.count += u64::from(one.count);
    sum.balanced += u64::from(one.balanced);
    sum.failed += u64::from(one.failed);
    sum.pulled += u64::from(one.gained);
    sum.pulled_hot += u64::from(one.hot_gained);
    sum.no_busiest_group += u64::from(one.nobusyg);
    sum.no_busiest_queue += u64::from(one.nobusyq);
}

fn conservation(result: &RunResult) -> Conservation {
    let found = &result.conservation;
    let violations = found.violations.iter().map(|violation| Violation {
        at_ns: violation.at,
        idle_cpu: violation.idle_cpu.0,
        busy_cpu: violation.busy_cpu.0,
        task: violation.task.0,
        task_name: result.tasks.get(violation.task.index()).map(|task| task.name.clone()).unwrap_or_default(),
        idle_cpus: violation.idle_cpus,
        busy_cpus: violation.busy_cpus,
    });
    Conservation {
        wasted_ns: found.wasted,
        violated_ns: found.violated,
        looks: found.looks,
        violations: violations.collect(),
    }
}
