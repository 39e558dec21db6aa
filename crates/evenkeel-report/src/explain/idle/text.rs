//! The report of idleness as text and as JSON.
use super::super::at;
use super::super::words::Glossary;
use super::{Report, Share, Stretch};
use crate::table::{Column, Table, wrap};
use crate::{Page, units};
use core::fmt::Write as _;
use serde_json::{Value, json};

/// An experiment is proposed for causes of at least one part in so many.
const WORTH_AN_EXPERIMENT: u64 = 20;
/// Narrower pages are laid out as if they had this width.
const MIN_WIDTH: usize = 60;

impl Report {
    /// For people.
    pub fn text(&self, page: Page) -> String {
        let mut text = String::new();
        let mut words = Glossary::default();
        let all = self.elapsed * self.nr_cpus as u64;
        let heading = format!(
            "Idle while work waits: {} of CPU time ({} of all)",
            units::duration(self.total),
            units::percent(self.total, all)
        );
        writeln!(text, "{}", page.heading(&heading)).ok();
        let summary = format!(
            "In {} on {} the CPUs idled for {}. During {} of it ({}) a task waited that \
             may run on the idle CPU. Counting each waiting task once, {} could have been used.",
            units::exact_duration(self.elapsed),
            units::plural(self.nr_cpus as u64, "CPU"),
            units::duration(self.idle),
            units::duration(self.total),
            if self.stretches == 1 {
                "1 stretch".into()
            } else {
                format!("{} stretches", units::count(self.stretches))
            },
            units::duration(self.wasted),
        );
        text.push_str(&wrap(&summary, page.width, ""));
        if self.stopped > 0 {
            let stopped = format!(
                "For {} more ({}) nothing waited for the idle CPU, but a limit of CPU time had stopped a task that may run \
                 there.",
                units::duration(self.stopped),
                units::percent(self.stopped, all)
            );
            text.push_str(&wrap(&stopped, page.width, ""));
        }
        if self.total == 0 {
            return text;
        }
        writeln!(text, "\n{}", page.heading("What kept idle CPU and waiting task apart")).ok();
        let section = self.causes_text(page);
        text.push_str(&section);
        for line in words.lines(&section, "  ").lines() {
            text.push_str(&wrap(line, page.width, "    "));
        }
        self.longest_text(page, &mut text);
        self.experiments(page, &mut text);
        text.push_str("\nNumbers in brackets are rules of the specification of the balancer (spec 3).\n");
        text
    }

    /// The causes with their sums; sentences go on below where the page is too narrow.
    fn causes_text(&self, page: Page) -> String {
        let columns = ["time", "share", "times", "longest"].map(Column::right);
        let mut table = Table::new(columns);
        for (_, share) in &self.causes {
            let (time, longest) = (units::duration(share.time), units::duration(share.longest));
            table.row([time, units::percent(share.time, self.total), units::count(share.parts), longest]);
        }
        let numbers = table.render(page);
        let sentences =
            core::iter::once("cause".to_owned()).chain(self.causes.iter().map(|(cause, _)| cause.words()));
        let mut text = String::new();
        for (row, sentence) in numbers.lines().zip(sentences) {
            let indent = row.chars().count() + 2;
            let room = page.width.max(MIN_WIDTH) - indent.min(MIN_WIDTH / 2);
            for (index, line) in wrap(&sentence, room, "  ").lines().enumerate() {
                let left = if index == 0 { row } else { "" };
                writeln!(text, "{left:<width$}  {line}", width = indent - 2).ok();
            }
        }
        text
    }

    /// The longest stretches, without those in which work was only on its way.
    fn longest_text(&self, page: Page, text: &mut String) {
        let hand_over = |stretch: &&Stretch| stretch.parts.iter().all(|part| part.cause.is_hand_over());
        writeln!(text, "\n{}", page.heading("The longest stretches")).ok();
        if self.longest.iter().all(|stretch| hand_over(&stretch)) {
            let most = self.longest.first().map_or(0, |stretch| stretch.end - stretch.start);
            let line = format!(
                "  None lasted longer than {}: work was on its way, and nothing decided against it.",
                units::duration(most)
            );
            text.push_str(&wrap(&line, page.width, "  "));
            return;
        }
        for stretch in self.longest.iter().filter(|stretch| !hand_over(stretch)) {
            text.push_str(&stretch_text(stretch, page));
        }
    }

    /// What to try next, for the causes that matter.
    fn experiments(&self, page: Page, text: &mut String) {
        let matters = |share: &Share| share.time * WORTH_AN_EXPERIMENT >= self.total;
        let mut all: Vec<(&str, &str)> = Vec::new();
        for (cause, _) in self.causes.iter().filter(|(_, share)| matters(share)) {
            all.extend(cause.experiment().filter(|one| !all.contains(one)));
        }
        if all.is_empty() {
            return;
        }
        writeln!(text, "\n{}", page.heading("What to try next")).ok();
        for (arguments, effect) in all {
            text.push_str(&wrap(&format!("  {arguments}: {effect}."), page.width, "      "));
        }
        let last = "  A cause that is taken away may uncover another one: compare the totals.";
        text.push_str(&wrap(last, page.width, "  "));
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let causes: Vec<Value> = self
            .causes
            .iter()
            .map(|(cause, share)| {
                json!({
                    "cause": cause.code(),
                    "level": cause.level(),
                    "words": cause.words(),
                    "hand_over": cause.is_hand_over(),
                    "experiment": cause.experiment().map(|(arguments, _)| arguments),
                    "time_ns": share.time,
                    "parts": share.parts,
                    "longest_ns": share.longest,
                })
            })
            .collect();
        let longest: Vec<Value> = self.longest.iter().map(stretch_json).collect();
        json!({
            "explain": "idle",
            "elapsed_ns": self.elapsed,
            "cpus": self.nr_cpus,
            "idle_ns": self.idle,
            "idle_while_waiting_ns": self.total,
            "wasted_ns": self.wasted,
            "idle_beside_stopped_ns": self.stopped,
            "stretches": self.stretches,
            "unattributed_ns": self.unattributed(),
            "by_cpu_ns": self.by_cpu,
            "causes": causes,
            "longest": longest,
        })
    }

    /// Time without a cause. Always 0; computed from the sums so that it can be checked.
    pub fn unattributed(&self) -> u64 {
        self.total - self.causes.iter().map(|(_, share)| share.time).sum::<u64>()
    }
}

fn stretch_text(stretch: &Stretch, page: Page) -> String {
    let length = units::duration(stretch.end - stretch.start);
    let mut text = format!("CPU {}, from {} for {length}:\n", stretch.cpu, at(stretch.start));
    for part in &stretch.parts {
        let times = if part.times > 1 { format!(" ({} times)", part.times) } else { String::new() };
        let due = part.due.map(|due| format!(" Due at {}.", at(due))).unwrap_or_default();
        // Wrapping takes blanks together, and these make a column.
        let line = wrap(&format!("{}{due}{times}", part.cause.words()), page.width.max(MIN_WIDTH) - 11, "");
        for (index, line) in line.lines().enumerate() {
            let time = if index == 0 { units::duration(part.time) } else { String::new() };
            writeln!(text, "  {time:>7}  {line}").ok();
        }
    }
    text
}

fn stretch_json(stretch: &Stretch) -> Value {
    let parts = stretch.parts.iter().map(|part| {
        json!({
            "cause": part.cause.code(),
            "level": part.cause.level(),
            "time_ns": part.time,
            "times": part.times,
            "due_ns": part.due,
        })
    });
    json!({
        "cpu": stretch.cpu.0,
        "start_ns": stretch.start,
        "end_ns": stretch.end,
        "parts": parts.collect::<Vec<_>>(),
    })
}
