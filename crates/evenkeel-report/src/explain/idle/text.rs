//! The report of idleness as text and as JSON.
use super::super::at;
use super::super::words::Glossary;
use super::{Report, Stretch};
use crate::table::{Column, Table, wrap};
use crate::{Page, units};
use core::fmt::Write as _;
use serde_json::{Value, json};

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
        let mut section = String::new();
        let mut table = Table::new([
            Column::right("time"),
            Column::right("share"),
            Column::right("times"),
            Column::right("longest"),
            Column::left("cause").cut(),
        ]);
        for (cause, share) in &self.causes {
            let (time, longest) = (units::duration(share.time), units::duration(share.longest));
            let count = units::count(share.parts);
            table.row([time, units::percent(share.time, self.total), count, longest, cause.words()]);
        }
        // Causes are sentences: cutting them would hide the rule, so this table may be wider than the page.
        section.push_str(&table.render(Page { width: page.width.max(160), ..page }));
        text.push_str(&section);
        for line in words.lines(&section, "  ").lines() {
            text.push_str(&wrap(line, page.width, "    "));
        }
        writeln!(text, "\n{}", page.heading("The longest stretches")).ok();
        for stretch in &self.longest {
            text.push_str(&stretch_text(stretch));
        }
        text.push_str("\nNumbers in brackets are rules of the specification of the balancer (spec 3).\n");
        text
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

fn stretch_text(stretch: &Stretch) -> String {
    let length = units::duration(stretch.end - stretch.start);
    let mut text = format!("CPU {}, from {} for {length}:\n", stretch.cpu, at(stretch.start));
    for part in &stretch.parts {
        let times = if part.times > 1 { format!(" ({} times)", part.times) } else { String::new() };
        let due = part.due.map(|due| format!(" Due at {}.", at(due))).unwrap_or_default();
        writeln!(text, "  {:>7}  {}{due}{times}", units::duration(part.time), part.cause.words()).ok();
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
