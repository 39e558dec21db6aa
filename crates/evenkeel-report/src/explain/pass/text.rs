//! The story of a pass as text.
use super::super::words::{self, Glossary};
use super::super::{at, cpus};
use super::Story;
use crate::table::{Column, Table, wrap};
use crate::{Page, units};
use core::fmt::Write as _;
use evenkeel::balance::choose::{Pick, SrcGroup};
use evenkeel::balance::classify::GroupType;
use evenkeel::balance::env::{MigrationType, Trigger};
use evenkeel::balance::event::{BalanceEvent, NewIdleGate, PassOutcome, TaskVerdict};
use evenkeel::balance::migrate::Refusal;
use evenkeel::ids::{CpuId, DomainId, TaskId};

impl Story {
    /// For people.
    pub fn text(&self, page: Page) -> String {
        let mut writer = Writer {
            story: self,
            page,
            words: Glossary::default(),
            text: String::new(),
            heading: String::new(),
        };
        writer.all();
        writer.text
    }
}

/// Writes a story section by section; each ends with the terms that appear there for the first time.
struct Writer<'a> {
    story: &'a Story,
    page: Page,
    words: Glossary,
    text: String,
    heading: String,
}

impl Writer<'_> {
    fn all(&mut self) {
        let events = &self.story.events;
        let Some(BalanceEvent::PassBegin { pass, cpu, domain, idle, trigger, imbalance_pct, .. }) =
            events.first()
        else {
            return;
        };
        let heading = format!(
            "Pass {pass} at {}: CPU {cpu}, {}, balances {} ({})",
            at(self.story.at),
            words::idle_type(*idle),
            self.story.facts.level(*domain),
            cpus(self.story.facts.span(*domain))
        );
        writeln!(self.text, "{}", self.page.heading(&heading)).ok();
        let why = self.why_now(*cpu, *domain, *trigger);
        self.section("Why now", &why, "");
        let mut rest = &events[1..];
        let mut searches = 0;
        while let Some((event, after)) = rest.split_first() {
            rest = match event {
                BalanceEvent::Turn { turn, dst_cpu, .. } if searches == 0 => {
                    searches += 1;
                    self.section("Whose turn", &words::turn(*turn, *dst_cpu), "");
                    after
                }
                BalanceEvent::Group { .. } => self.groups(rest, *imbalance_pct),
                BalanceEvent::SrcGroup { .. } => self.choice(rest),
                BalanceEvent::Queue { .. } => self.queues(rest),
                BalanceEvent::Task { .. } => self.tasks(rest),
                BalanceEvent::NewDestination { cpu, .. } => {
                    let what = format!(
                        "A pinned task may run on CPU {cpu} of the same group: that is the destination now [3.2-8]."
                    );
                    self.section("Another destination", &what, "");
                    after
                }
                BalanceEvent::Redo { without, .. } => {
                    let what = format!(
                        "Every task of CPU {without} is pinned. The search starts again without it [3.2-8]."
                    );
                    self.section("Again", &what, "");
                    after
                }
                _ => after,
            };
        }
        self.result();
        self.text
            .push_str("\nNumbers in brackets are rules of the specification of the balancer (spec 3).\n");
    }

    /// A heading, sentences, a table, and the new terms of all of them.
    fn section(&mut self, heading: &str, sentences: &str, table: &str) {
        if self.heading != heading {
            writeln!(self.text, "\n{}", self.page.heading(heading)).ok();
            self.heading = heading.to_owned();
        }
        for line in sentences.lines() {
            self.text.push_str(&wrap(&format!("  {line}"), self.page.width, "  "));
        }
        for line in table.lines() {
            writeln!(self.text, "  {line}").ok();
        }
        let shown = table.split("(no room for:").next().unwrap_or(table);
        let terms = self.words.lines(&format!("{sentences}\n{shown}"), "    ");
        for line in terms.lines() {
            self.text.push_str(&wrap(line, self.page.width, "     "));
        }
    }

    fn inner(&self) -> Page {
        Page { width: self.page.width - 2, ..self.page }
    }

    fn task(&self, task: TaskId) -> String {
        self.story.facts.task(task)
    }

    fn why_now(&self, cpu: CpuId, domain: DomainId, trigger: Trigger) -> String {
        let story = self.story;
        let mut text = String::new();
        match trigger {
            Trigger::NewIdle => {
                writeln!(
                    text,
                    "CPU {cpu} ran out of work. New-idle: before it goes idle it looks for some [2.11]."
                )
                .ok();
                for gate in &story.gates {
                    writeln!(text, "{}", self.gate(*gate)).ok();
                }
            }
            Trigger::Periodic | Trigger::Nohz { .. } => {
                if let Some(kick) = story.kick {
                    let delay = units::duration(story.at - kick.at);
                    writeln!(
                        text,
                        "CPU {} ticked and found that {}: it sent a kick to CPU {}, {delay} before this [2.8].",
                        kick.by,
                        words::kick_reason(kick.reason),
                        kick.target
                    )
                    .ok();
                }
                if let Trigger::Nohz { on_cpu } = trigger {
                    writeln!(
                        text,
                        "CPU {on_cpu} balances for all tickless CPUs; this pass is on behalf of CPU {cpu} [2.9]."
                    )
                    .ok();
                } else if story.kick.is_some() {
                    writeln!(
                        text,
                        "Having balanced for the other tickless CPUs it balances for itself [2.9]."
                    )
                    .ok();
                } else if story.tick.is_some() {
                    writeln!(text, "It was CPU {cpu}'s own tick, which raised the softirq [2.1].").ok();
                }
            }
        }
        if let Some(due) = story.due {
            let interval = self.interval().map(|ms| format!("{ms} ms")).unwrap_or_default();
            let busy = if due.busy { ", stretched by busy_factor because the CPU is busy" } else { "" };
            writeln!(
                text,
                "The level {} was due since {} (interval {interval}{busy}) [2.4].",
                story.facts.level(domain),
                at(story.facts.time_of(due.since))
            )
            .ok();
        }
        text
    }

    fn interval(&self) -> Option<u64> {
        match self.story.events.first() {
            Some(BalanceEvent::PassBegin { balance_interval, .. }) => Some(*balance_interval),
            _ => None,
        }
    }

    fn gate(&self, gate: NewIdleGate) -> String {
        let level = |domain: DomainId| self.story.facts.level(domain);
        match gate {
            NewIdleGate::Passed { domain, moved, cost } => format!(
                "It looked on {} first, moved {} and spent {} on it.",
                level(domain),
                units::plural(u64::from(moved), "task"),
                units::duration(cost)
            ),
            NewIdleGate::Dice { domain, dice, ratio } => format!(
                "It left out {}: looking there succeeds {ratio} times in 1024, and the dice showed {dice} [2.11-8].",
                level(domain)
            ),
            NewIdleGate::LevelExcluded { domain } => {
                format!("It left out {}, which has no new-idle balancing [2.11-8].", level(domain))
            }
            // The others end the walk: no pass follows them.
            _ => String::new(),
        }
    }

    /// The table of groups of one search; returns what follows it.
    fn groups<'e>(&mut self, events: &'e [BalanceEvent], imbalance_pct: u32) -> &'e [BalanceEvent] {
        let mut rows = Vec::new();
        let mut rest = events;
        while let Some((BalanceEvent::Group { group, stats, pick, .. }, after)) = rest.split_first() {
            rows.push((*group, *stats, *pick));
            rest = after;
        }
        let compares_load = rows.iter().any(|(_, stats, _)| stats.avg_load != 0);
        // The oldest kernels do not sum it up.
        let has_runnable = rows.iter().any(|(_, stats, _)| stats.group_runnable != 0);
        let mut columns =
            vec![Column::left("CPUs"), Column::left("class"), Column::right("load"), Column::right("util")];
        columns.extend(has_runnable.then(|| Column::right("runnable").drop_rank(1)));
        columns.extend([
            Column::right("tasks"),
            Column::right("idle CPUs"),
            Column::right("capacity").drop_rank(2),
        ]);
        if compares_load {
            columns.push(Column::right("avg_load"));
        }
        columns.push(Column::left("verdict"));
        let unremarkable = rows.iter().any(|(_, stats, _)| stats.group_type == GroupType::Other);
        let mut table = Table::new(columns);
        for (group, stats, pick) in rows {
            let verdict = match pick {
                Pick::Local => "our own group".to_owned(),
                Pick::Taken(rule) => format!("busiest so far: {}", words::pick_rule(rule)),
                Pick::Refused(rule) => format!("no: {}", words::pick_rule(rule)),
            };
            let mut row = vec![
                self.story.facts.group(group).to_string(),
                stats.group_type.name().to_owned(),
                stats.group_load.to_string(),
                stats.group_util.to_string(),
            ];
            row.extend(has_runnable.then(|| stats.group_runnable.to_string()));
            row.extend([
                stats.sum_nr_running.to_string(),
                stats.idle_cpus.to_string(),
                stats.group_capacity.to_string(),
            ]);
            if compares_load {
                row.push(if stats.avg_load == 0 { "-".to_owned() } else { stats.avg_load.to_string() });
            }
            row.push(verdict);
            table.row(row);
        }
        let mut intro = format!(
            "Each group is summed up and classed; imbalance_pct is {imbalance_pct} [4.3, 4.4]. Then the busiest of the \
             others is kept [5.1]."
        );
        if unremarkable {
            intro.push_str(" The class `other` is neither overloaded nor imbalanced.");
        }
        let table = table.render(self.inner());
        self.section("What the groups looked like", &intro, &table);
        rest
    }

    fn choice<'e>(&mut self, events: &'e [BalanceEvent]) -> &'e [BalanceEvent] {
        let Some((BalanceEvent::SrcGroup { busiest, local_avg_load, domain_avg_load, verdict, .. }, rest)) =
            events.split_first()
        else {
            return events;
        };
        let SrcGroup { group, rule, imbalance } = verdict;
        let mut text = String::new();
        if let Some(busiest) = busiest {
            writeln!(text, "The busiest group is {}.", cpus(self.story.facts.group(*busiest))).ok();
        }
        let verb = if imbalance.is_some() { "Something should move" } else { "Nothing is moved" };
        writeln!(text, "{verb}: {}.", words::group_rule(*rule)).ok();
        if *domain_avg_load != 0 {
            writeln!(
                text,
                "avg_load is {local_avg_load} in our group and {domain_avg_load} in the whole level."
            )
            .ok();
        }
        if let Some(imbalance) = imbalance {
            let kind = imbalance.migration_type.unwrap_or_default();
            let before = &self.story.events[..self.story.events.len() - events.len()];
            let mut how = amount_rule(before, kind).to_owned();
            if imbalance.amount == 0 && self.crosses_nodes() {
                how.push_str(
                    " (between memory nodes a difference of two tasks is tolerated while few run) [5.4-F]",
                );
            }
            if group.is_some() {
                writeln!(text, "To be moved: {} {how}.", words::amount(kind, imbalance.amount)).ok();
            } else {
                writeln!(text, "But the amount comes out as 0 {how}: nothing is moved.").ok();
            }
        }
        self.section("Which group, and how much", &text, "");
        rest
    }

    fn crosses_nodes(&self) -> bool {
        match self.story.events.first() {
            Some(BalanceEvent::PassBegin { domain, .. }) => {
                self.story.facts.level(*domain).starts_with("NUMA")
            }
            _ => false,
        }
    }

    fn queues<'e>(&mut self, events: &'e [BalanceEvent]) -> &'e [BalanceEvent] {
        let mut table = Table::new([
            Column::left("CPU"),
            Column::right("tasks"),
            Column::right("load"),
            Column::right("util"),
            Column::right("capacity"),
            Column::left("verdict"),
        ]);
        let mut rest = events;
        while let Some((event, after)) = rest.split_first() {
            let BalanceEvent::Queue { cpu, h_nr_queued, load, util, capacity, verdict, .. } = event else {
                break;
            };
            table.row([
                cpu.to_string(),
                h_nr_queued.to_string(),
                load.to_string(),
                util.to_string(),
                capacity.to_string(),
                words::queue_verdict(*verdict).to_owned(),
            ]);
            rest = after;
        }
        let mut text = String::new();
        if let Some((BalanceEvent::SrcQueue { cpu, nr_running, .. }, after)) = rest.split_first() {
            rest = after;
            match cpu {
                None => text.push_str("No CPU of the group has anything to give [6].\n"),
                Some(cpu) if *nr_running <= 1 => {
                    writeln!(text, "The source is CPU {cpu} [6]. It has one task, which runs: nothing to take off its queue.")
                        .ok();
                }
                Some(cpu) => {
                    let tasks = units::plural(u64::from(*nr_running), "task");
                    writeln!(text, "The source is CPU {cpu} with {tasks} [6].").ok();
                }
            }
        }
        let table = table.render(self.inner());
        self.section("Which CPU of that group", &text, &table);
        rest
    }

    fn tasks<'e>(&mut self, events: &'e [BalanceEvent]) -> &'e [BalanceEvent] {
        let mut rest = events;
        let mut rows = Vec::new();
        while let Some((event @ BalanceEvent::Task { .. }, after)) = rest.split_first() {
            rows.push(event);
            rest = after;
        }
        let intro = "From the task that was queued or picked longest ago [7.2]:";
        let table = self.task_table(&rows);
        self.section("Which tasks", intro, &table);
        rest
    }

    fn task_table(&self, rows: &[&BalanceEvent]) -> String {
        let mut table = Table::new([
            Column::left("task"),
            Column::right("left to move"),
            Column::right("counts"),
            Column::right("ran ago"),
            Column::left("verdict"),
        ]);
        for row in rows {
            let BalanceEvent::Task {
                task,
                imbalance,
                amount,
                since_exec,
                nr_balance_failed,
                verdict,
                dst_cpu,
                ..
            } = row
            else {
                continue;
            };
            let verdict = match verdict {
                TaskVerdict::Moved { hot: false } => format!("moves to CPU {dst_cpu}"),
                TaskVerdict::Moved { hot: true } => {
                    format!("moves to CPU {dst_cpu} although it is cache hot [7.3-8]")
                }
                TaskVerdict::Refused(Refusal::TooBig) if *nr_balance_failed > 0 => format!(
                    "stays: {}, even divided by 2^{nr_balance_failed} after as many failures",
                    words::refusal(Refusal::TooBig)
                ),
                TaskVerdict::Refused(refusal) => format!("stays: {}", words::refusal(*refusal)),
            };
            let counts = if *amount == 0 { "-".to_owned() } else { amount.to_string() };
            let ago = units::duration((*since_exec).max(0) as u64);
            table.row([self.task(*task), imbalance.to_string(), counts, ago, verdict]);
        }
        table.render(self.inner())
    }

    fn result(&mut self) {
        let Some(BalanceEvent::PassEnd { outcome, moved, nr_balance_failed, balance_interval, cost, .. }) =
            self.story.events.last()
        else {
            return;
        };
        let Some(BalanceEvent::PassBegin { balance_interval: before, nr_balance_failed: failed, .. }) =
            self.story.events.first()
        else {
            return;
        };
        let mut text = format!("{}\n", words::outcome(*outcome));
        if *outcome == PassOutcome::Moved {
            text = format!("{} moved.\n", units::plural(u64::from(*moved), "task"));
        }
        if failed != nr_balance_failed {
            writeln!(text, "Failures in a row: {nr_balance_failed} (before: {failed}) [3.2-9].").ok();
        } else if *failed > 0 {
            writeln!(text, "Failures in a row: still {failed}.").ok();
        }
        let interval = match balance_interval.cmp(before) {
            core::cmp::Ordering::Less => {
                format!("goes back to {balance_interval} ms, because there was work [3.2-10]")
            }
            core::cmp::Ordering::Equal => format!("stays at {before} ms"),
            core::cmp::Ordering::Greater => {
                format!("doubles from {before} to {balance_interval} ms [3.2-15]")
            }
        };
        writeln!(text, "The level's interval {interval}.").ok();
        writeln!(text, "The pass cost {}.", units::duration(*cost)).ok();
        self.section("What came of it", &text, "");
        self.push();
    }

    /// Active balance: why, and what the stopper did.
    fn push(&mut self) {
        let start = self.story.events.iter().find_map(|event| match event {
            BalanceEvent::ActiveBalanceStart { src_cpu, dst_cpu, curr, reason, .. } => {
                Some((*src_cpu, *dst_cpu, *curr, *reason))
            }
            _ => None,
        });
        let Some((src, dst, curr, reason)) = start else { return };
        let runs = curr.map(|task| format!(", where {} runs,", self.task(task))).unwrap_or_default();
        let mut text = format!(
            "Active balance: the stopper of CPU {src}{runs} was asked to push a task to CPU {dst}: {}.\n",
            words::active_reason(reason)
        );
        let rows: Vec<&BalanceEvent> = self
            .story
            .pushed
            .iter()
            .map(|(_, event)| event)
            .filter(|event| matches!(event, BalanceEvent::Task { .. }))
            .collect();
        let table = self.task_table(&rows);
        match self.story.pushed.last() {
            Some((when, BalanceEvent::ActiveBalanceEnd { task, .. })) => {
                let what = match task {
                    Some(task) => format!("pushed {}", self.task(*task)),
                    None => "found nothing to push".to_owned(),
                };
                let delay = units::duration(when - self.story.at);
                writeln!(text, "It ran on CPU {src} {delay} later and {what} [8.2].").ok();
            }
            _ => text.push_str("The run ended before the stopper ran.\n"),
        }
        self.section("What the stopper did", &text, &table);
    }
}

/// The rule that set the unit of the amount (spec 3 §5.4), from the classes of the two groups in the
/// search that is the last of these events.
fn amount_rule(search: &[BalanceEvent], kind: MigrationType) -> &'static str {
    let stats = |wanted: fn(&Pick) -> bool| {
        search.iter().rev().find_map(|event| match event {
            BalanceEvent::Group { stats, pick, .. } if wanted(pick) => Some(*stats),
            _ => None,
        })
    };
    let local = stats(|pick| *pick == Pick::Local).map(|stats| stats.group_type);
    let busiest = stats(|pick| matches!(pick, Pick::Taken(_))).map(|stats| stats.group_type);
    match (busiest, local, kind) {
        (Some(GroupType::MisfitTask), ..) => "[5.4-A]",
        (Some(GroupType::AsymPacking), ..) => "(all of theirs) [5.4-B]",
        (Some(GroupType::SmtBalance), ..) => "(one leaves the shared core) [5.4-C]",
        (Some(GroupType::LlcBalance), ..) => "[5.4-C', 13.5]",
        (Some(GroupType::Imbalanced), ..) => "(one at a time) [5.4-D]",
        (_, Some(GroupType::HasSpare), MigrationType::Util) => "(what fits into our group) [5.4-E0]",
        (_, Some(GroupType::HasSpare), MigrationType::Task) => "(half the difference) [5.4-E]",
        _ => "(so that neither group crosses the average) [5.4-H]",
    }
}
