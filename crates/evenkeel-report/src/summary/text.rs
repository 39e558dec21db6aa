//! A run's report for people: a page of aligned tables.
use super::model::{Balancing, Cpu, Definition, Group, Latency, Level, Migrations, RunReport, Spread, Task};
use crate::Page;
use crate::explain::at;
use crate::table::{Column, Table, wrap};
use crate::units::{count, duration, exact_duration, percent, plural};

/// From this many CPUs on, those of one last-level cache are one line.
const CPUS_UNFOLDED_MAX: usize = 32;
/// Changes from outside that are listed; the others are counted.
const CHANGES_LISTED_MAX: usize = 20;
/// Violations that are listed; the others are counted.
const VIOLATIONS_LISTED_MAX: usize = 5;

/// How to show the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tasks {
    /// A line for each definition.
    #[default]
    Folded,
    /// A line for each task.
    All,
}

/// The report as text.
pub fn render(report: &RunReport, page: Page, tasks: Tasks) -> String {
    let mut parts = vec![header(report, page)];
    parts.push(match tasks {
        Tasks::Folded => definitions(&report.definitions).render(page),
        Tasks::All => all_tasks(&report.tasks).render(page),
    });
    parts.push(groups(&report.groups).render(page));
    parts.push(cpus(report).render(page));
    parts.push(levels(&report.levels).render(page));
    parts.push(conservation(report, page));
    parts.extend(report.digest.as_ref().map(|digest| format!("digest {digest}\n")));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn header(report: &RunReport, page: Page) -> String {
    let tasks = report.definitions.iter().map(|definition| definition.instances).sum();
    let mut text = format!("{}\n", page.heading(&report.workload));
    let machine = &report.machine;
    let machine_line = if machine.name == machine.description || machine.source.contains("one-line") {
        format!("  machine   {}", machine.description)
    } else {
        format!("  machine   {}: {}", machine.name, machine.description)
    };
    text.push_str(&wrap_value(&machine_line, page));
    let kernel = format!("  kernel    {}", report.kernel.build);
    text.push_str(&wrap_value(&kernel, page));
    if !report.settings.is_empty() {
        let settings: Vec<String> =
            report.settings.iter().map(|set| format!("{}={}", set.key, set.value)).collect();
        text.push_str(&wrap_value(&format!("  settings  {}", settings.join(" ")), page));
    }
    let end = if report.finished { ", until all tasks had ended" } else { "" };
    let run = format!(
        "  run       {} for {}{end}; seed {}; {} events",
        plural(tasks, "task"),
        exact_duration(report.simulated_ns),
        report.seed,
        count(report.events),
    );
    text.push_str(&wrap_value(&run, page));
    for (index, change) in report.changes.iter().take(CHANGES_LISTED_MAX).enumerate() {
        let name = if index == 0 { "changes" } else { "" };
        let line = format!("  {name:<10}at {}: {}", at(change.at_ns), change.text());
        text.push_str(&wrap_value(&line, page));
    }
    if let more @ 1.. = report.changes.len().saturating_sub(CHANGES_LISTED_MAX) {
        let line = format!("            and {}", plural(more as u64, "more change"));
        text.push_str(&wrap_value(&line, page));
    }
    text
}

/// A line of the header; its name is followed by at least two blanks, which wrapping must keep.
fn wrap_value(line: &str, page: Page) -> String {
    let (name, value) = line.split_at(12);
    let room = page.width.saturating_sub(12).max(16);
    let lines = wrap(value, room, "");
    let mut text = String::new();
    for (index, part) in lines.lines().enumerate() {
        text.push_str(if index == 0 { name } else { "            " });
        text.push_str(part);
        text.push('\n');
    }
    text
}

/// Columns after those for times on a CPU, the same for both forms of the task table.
fn task_columns(times: &'static str) -> [Column; 7] {
    [
        Column::right("wait").group(times),
        Column::right("sleep").group(times).drop_rank(4),
        Column::right("switches").drop_rank(5),
        Column::right("migrations").drop_rank(2),
        Column::right("p50").group("wake-up latency").drop_rank(3),
        Column::right("p99").group("wake-up latency").drop_rank(2),
        Column::right("max").group("wake-up latency").drop_rank(1),
    ]
}

fn task_cells(wait: u64, sleep: u64, switches: u64, moves: &Migrations, wake: &Latency) -> [String; 7] {
    let latency = |ns| if wake.count == 0 { String::from("-") } else { duration(ns) };
    [
        duration(wait),
        duration(sleep),
        count(switches),
        count(moves.total()),
        latency(wake.p50_ns),
        latency(wake.p99_ns),
        latency(wake.max_ns),
    ]
}

/// One line for each task group: its part of what its parent had, as its weight says and as it was.
fn groups(all: &[Group]) -> Table {
    let limited = all.iter().any(|group| group.limit.is_some());
    let mut columns = vec![
        Column::left("group"),
        Column::right("tasks").drop_rank(3),
        Column::right("shares").drop_rank(2),
        Column::right("run"),
        Column::right("wait").drop_rank(1),
        Column::right("wanted").group("part of parent"),
        Column::right("got").group("part of parent"),
    ];
    if limited {
        columns.push(Column::right("limit").drop_rank(1));
        columns.push(Column::right("periods").group("throttled").drop_rank(2));
        columns.push(Column::right("time").group("throttled").drop_rank(2));
    }
    let mut table = Table::new(columns);
    for group in all {
        let shares = if group.idle { String::from("idle") } else { count(group.shares) };
        let part = |ppm: u64| percent(ppm, 1_000_000);
        let mut cells = vec![
            group.path.clone(),
            count(group.tasks),
            shares,
            duration(group.run_ns),
            duration(group.wait_ns),
            part(group.wanted_ppm),
            part(group.got_ppm),
        ];
        if let Some(limit) = &group.limit {
            let quota = limit.quota_ns.map_or_else(|| String::from("max"), exact_duration);
            cells.push(format!("{quota}/{}", exact_duration(limit.period_ns)));
            cells.push(format!("{} of {}", count(limit.throttled_periods), count(limit.periods)));
            cells.push(duration(limit.throttled_ns));
        }
        table.row(cells);
    }
    table
}

/// One line for each definition; least and most only if there is a definition with several instances.
fn definitions(all: &[Definition]) -> Table {
    let several = all.iter().any(|definition| definition.instances > 1);
    let mut columns = vec![Column::left("task")];
    if several {
        columns.extend([
            Column::right("number").drop_rank(6),
            Column::right("min").group("run").drop_rank(3),
            Column::right("median").group("run"),
            Column::right("max").group("run").drop_rank(3),
        ]);
    } else {
        columns.push(Column::right("run"));
    }
    columns.extend(task_columns(if several { "median" } else { "" }));
    let mut table = Table::new(columns);
    for definition in all {
        let mut cells = vec![definition.name.clone()];
        let run = &definition.run_ns;
        if several {
            cells.push(count(definition.instances));
            cells.extend([run.min, run.median, run.max].map(duration));
        } else {
            cells.push(duration(run.median));
        }
        cells.extend(task_cells(
            definition.wait_ns.median,
            definition.sleep_ns.median,
            definition.voluntary_switches + definition.involuntary_switches,
            &definition.migrations,
            &definition.wake_latency,
        ));
        table.row(cells);
    }
    table
}

fn all_tasks(all: &[Task]) -> Table {
    let columns = [Column::left("task"), Column::right("cpu").drop_rank(3), Column::right("run")];
    let mut table = Table::new(columns.into_iter().chain(task_columns("")));
    for task in all {
        let switches = task.voluntary_switches + task.involuntary_switches;
        let cells = [task.name.clone(), task.cpu.to_string(), duration(task.run_ns)];
        let others = task_cells(task.wait_ns, task.sleep_ns, switches, &task.migrations, &task.wake_latency);
        table.row(cells.into_iter().chain(others));
    }
    table
}

/// One line for each CPU, or for the CPUs of each last-level cache if there are many.
fn cpus(report: &RunReport) -> Table {
    let folded = report.cpus.len() > CPUS_UNFOLDED_MAX;
    let mut columns = vec![Column::left(if folded { "CPUs of an LLC" } else { "CPU" })];
    if folded {
        columns.extend([
            Column::right("min").group("busy").drop_rank(2),
            Column::right("median").group("busy"),
            Column::right("max").group("busy").drop_rank(2),
        ]);
    } else {
        columns.extend([Column::right("busy"), Column::right("idle").drop_rank(3)]);
    }
    let gone = report.cpus.iter().any(|cpu| cpu.offline_ns > 0);
    columns.extend(gone.then(|| Column::right("offline")));
    columns.extend([
        Column::right("switches").drop_rank(4),
        Column::right("busy").group("balancing passes").drop_rank(1),
        Column::right("idle").group("balancing passes").drop_rank(1),
        Column::right("newly idle").group("balancing passes").drop_rank(1),
    ]);
    let mut table = Table::new(columns);
    let mut groups: Vec<Vec<&Cpu>> = Vec::new();
    for cpu in &report.cpus {
        match groups.iter_mut().find(|group| folded && group[0].llc == cpu.llc) {
            Some(group) => group.push(cpu),
            None => groups.push(vec![cpu]),
        }
    }
    for group in groups {
        let mut cells = vec![cpu_list(&group)];
        let busy = Spread::of(group.iter().map(|cpu| cpu.busy_ns));
        let whole = group[0].busy_ns + group[0].idle_ns + group[0].offline_ns;
        if folded {
            cells.extend([busy.min, busy.median, busy.max].map(|ns| percent(ns, whole)));
        } else {
            cells.extend([percent(busy.median, whole), percent(group[0].idle_ns, whole)]);
        }
        let offline: u64 = group.iter().map(|cpu| cpu.offline_ns).sum();
        cells.extend(gone.then(|| percent(offline, whole * group.len() as u64)));
        let sum = |value: fn(&Cpu) -> u64| count(group.iter().map(|cpu| value(cpu)).sum());
        cells.extend([
            sum(|cpu| cpu.switches),
            sum(|cpu| cpu.passes.busy),
            sum(|cpu| cpu.passes.idle),
            sum(|cpu| cpu.passes.newly_idle),
        ]);
        table.row(cells);
    }
    table
}

/// `0-3,8`
fn cpu_list(cpus: &[&Cpu]) -> String {
    let runs = cpus.chunk_by(|a, b| a.cpu + 1 == b.cpu);
    let runs = runs.map(|run| match run {
        [one] => one.cpu.to_string(),
        run => format!("{}-{}", run[0].cpu, run[run.len() - 1].cpu),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// Three lines for each level, and one for pushes if there were any.
fn levels(all: &[Level]) -> Table {
    let mut table = Table::new([
        Column::left("level"),
        Column::left("when"),
        Column::right("passes"),
        Column::right("balanced").drop_rank(2),
        Column::right("failed"),
        Column::right("pulled"),
        Column::right("cache-hot").drop_rank(1),
    ]);
    for level in all {
        let occasions = [
            ("busy", &level.passes.busy),
            ("idle", &level.passes.idle),
            ("newly idle", &level.passes.newly_idle),
        ];
        let mut name = level.name;
        for (when, passes) in occasions {
            table.row([name, when].map(String::from).into_iter().chain(pass_cells(passes)));
            name = "";
        }
        if level.active_attempts > 0 {
            let [attempts, failed, pushed] =
                [level.active_attempts, level.active_failed, level.active_pushed].map(count);
            table.row([String::new(), String::from("active"), attempts, String::from("-"), failed, pushed]);
        }
    }
    table
}

fn pass_cells(passes: &Balancing) -> [String; 5] {
    [passes.count, passes.balanced, passes.failed, passes.pulled, passes.pulled_hot].map(count)
}

fn conservation(report: &RunReport, page: Page) -> String {
    let found = &report.conservation;
    let mut text = format!("{}\n", page.heading("work conservation"));
    let whole = report.simulated_ns * report.cpus.len() as u64;
    let integral = if found.wasted_ns == 0 {
        String::from("  no CPU was idle while a task that may run there waited elsewhere")
    } else {
        format!(
            "  idle while a task waited elsewhere: {} of CPU time ({} of all), during {} of the run",
            duration(found.wasted_ns),
            percent(found.wasted_ns, whole),
            percent(found.violated_ns, report.simulated_ns),
        )
    };
    text.push_str(&wrap(&integral, page.width, "    "));
    let verdict = match (found.looks, found.violations.len() as u64) {
        (0, _) => {
            String::from("  longer than 100ms: not looked at (looks are 1s apart, the run was too short)")
        }
        (looks, 0) => format!("  longer than 100ms: never in {}", plural(looks, "look")),
        (looks, violations) => {
            format!("  longer than 100ms: {} of {}", count(violations), plural(looks, "look"))
        }
    };
    text.push_str(&wrap(&verdict, page.width, "    "));
    for violation in found.violations.iter().take(VIOLATIONS_LISTED_MAX) {
        let line = format!(
            "    at {}: CPU {} idle ({} in all) while {} waited on CPU {} ({} with waiting tasks in all)",
            exact_duration(violation.at_ns),
            violation.idle_cpu,
            violation.idle_cpus,
            violation.task_name,
            violation.busy_cpu,
            violation.busy_cpus,
        );
        text.push_str(&wrap(&line, page.width, "      "));
    }
    let more = found.violations.len().saturating_sub(VIOLATIONS_LISTED_MAX);
    if more > 0 {
        text.push_str(&format!("    and {more} more\n"));
    }
    text
}
