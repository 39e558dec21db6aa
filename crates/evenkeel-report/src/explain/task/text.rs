//! The story of a task as text and as JSON.
use super::super::idle::kebab;
use super::super::words::{self, Glossary};
use super::super::{Facts, at, cpus};
use super::{Count, Move, Stop, TaskStory, Why, WhyNot};
use crate::table::wrap;
use crate::{Page, units};
use core::fmt::Write as _;
use evenkeel::cache_aware::Preference;
use evenkeel::ids::CpuId;
use evenkeel::observe::SelectKind;
use evenkeel::select::steps::{AskedAs, PlacementStep};
use evenkeel::time::Ns;
use serde_json::{Value, json};

/// Moves that are told one by one; of more the rest is counted.
const MOVES_SHOWN: usize = 40;
/// The same of stops.
const STOPS_SHOWN: usize = 20;

impl TaskStory {
    /// For people.
    pub fn text(&self, page: Page) -> String {
        let name = self.facts.task(self.task);
        let Some(born) = self.born else {
            return format!("{name} (task {}) was never started.\n", self.task);
        };
        let mut glossary = Glossary::default();
        let heading = format!("{name} (task {}), from {} on", self.task, at(born));
        let mut text = format!("{}\n", page.heading(&heading));
        let mut add = |heading: &str, lines: &[String]| {
            writeln!(text, "\n{}", page.heading(heading)).ok();
            for line in lines {
                text.push_str(&wrap(line, page.width, "      "));
            }
            for line in glossary.lines(&lines.join("\n"), "    ").lines() {
                text.push_str(&wrap(line, page.width, "     "));
            }
        };
        let mut lines = Vec::new();
        for step in self.moves.iter().take(MOVES_SHOWN) {
            self.move_lines(step, &mut lines);
        }
        if self.moves.len() > MOVES_SHOWN {
            lines.push(format!("  ... and {} more; --format json has all.", self.moves.len() - MOVES_SHOWN));
        }
        add("Its moves", &lines);
        if !self.preferences.is_empty() {
            let line = |(when, cpu, why): &(Ns, Option<CpuId>, Preference)| {
                let cache = cpu.map_or_else(|| "none".to_owned(), |cpu| format!("that of CPU {cpu}"));
                format!("  {}: {cache}: {}.", at(*when), words::preference(*why))
            };
            let shown = self.preferences.iter().take(MOVES_SHOWN);
            let mut lines: Vec<String> = shown.map(line).collect();
            if self.preferences.len() > MOVES_SHOWN {
                let more = self.preferences.len() - MOVES_SHOWN;
                lines.push(format!("  ... and {more} more; --format json has all."));
            }
            add("The last-level cache it prefers", &lines);
        }
        if !self.stays.is_empty() {
            let lines: Vec<String> = self
                .stays
                .iter()
                .map(|(reason, count)| format!("  {}: {reason}", units::plural(*count, "time")))
                .collect();
            add("Wake-ups that left it on its CPU", &lines);
        }
        if !self.stops.is_empty() {
            add("When a limit of CPU time had stopped it", &self.stop_lines());
        }
        let mut lines = Vec::new();
        if let Some((since, length, cpu)) = self.longest {
            lines.push(format!(
                "  It waited {} for {} in all, the longest time on CPU {cpu}: {} from {} on.",
                units::plural(self.waits, "time"),
                units::duration(self.waited),
                units::duration(length),
                at(since)
            ));
        } else {
            lines.push("  It never waited.".to_owned());
        }
        let mut chances: Vec<(&WhyNot, &Count)> = self.chances.iter().collect();
        chances.sort_by_key(|(why, count)| (core::cmp::Reverse(count.passes), **why));
        if self.waits > 0 {
            lines.push(match chances.is_empty() {
                true => {
                    "  No balancing pass could have moved it meanwhile: nobody looked, or none reached it."
                        .to_owned()
                }
                false => "  Passes that could have moved it meanwhile, and what came of them:".to_owned(),
            });
        }
        for (why, count) in chances {
            let range = if count.first == count.last {
                format!("at {}", at(count.first))
            } else {
                format!("from {} to {}", at(count.first), at(count.last))
            };
            lines.push(format!(
                "    {} {range}: {}",
                units::plural(count.passes, "pass").replace("passs", "passes"),
                why_not(*why)
            ));
        }
        add("While it waited", &lines);
        text.push_str(
            "\nNumbers in brackets are rules of the specification of the balancer (spec 3) or as they say.\n",
        );
        text
    }

    fn stop_lines(&self) -> Vec<String> {
        let all: u64 = self.stops.iter().map(|stop| stop.until - stop.from).sum();
        let (times, all) = (units::plural(self.stops.len() as u64, "time"), units::duration(all));
        let mut lines = vec![format!("  {times} for {all} in all; its group had used up what it may have.")];
        let stop = |stop: &Stop| {
            let length = units::duration(stop.until - stop.from);
            format!("  from {} for {length}, on CPU {}", at(stop.from), stop.cpu)
        };
        lines.extend(self.stops.iter().take(STOPS_SHOWN).map(stop));
        if self.stops.len() > STOPS_SHOWN {
            lines.push(format!("  ... and {} more; --format json has all.", self.stops.len() - STOPS_SHOWN));
        }
        lines
    }

    fn move_lines(&self, step: &Move, lines: &mut Vec<String>) {
        let from = step.from.map(|cpu| format!("from CPU {cpu} ")).unwrap_or_default();
        let head = format!("  {}: {from}to CPU {}", at(step.at), step.to);
        match &step.why {
            Why::Placed { kind, reason, steps } => {
                let kind = match kind {
                    SelectKind::Fork => "as a new task",
                    SelectKind::Exec => "at exec",
                    SelectKind::Wakeup => "at wake-up",
                };
                lines.push(format!("{head}, {kind}: {}.", words::select_reason(*reason)));
                lines.extend(steps.iter().map(|step| format!("      {}", placement(step, &self.facts))));
            }
            Why::Pulled { pass, hot } => {
                let hot = if *hot { " although it was cache hot" } else { "" };
                lines.push(format!("{head}: pulled{hot} by balancing pass {pass} (see --pass {pass})."));
            }
            Why::Pushed { pass } => {
                let by = pass
                    .map(|pass| format!(" for balancing pass {pass} (see --pass {pass})"))
                    .unwrap_or_default();
                lines.push(format!("{head}: active balance, pushed by its CPU's stopper{by} [8.2]."));
            }
            Why::Affinity => lines.push(format!("{head}: its affinity did not allow the old CPU any more.")),
            Why::Hotplug => lines.push(format!("{head}: its old CPU went offline.")),
            Why::Urgent => {
                lines.push(format!("{head}: it waited behind tasks as urgent, and runs there at once."));
            }
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let moves: Vec<Value> = self.moves.iter().map(|step| self.move_json(step)).collect();
        let chances: Vec<Value> = self
            .chances
            .iter()
            .map(|(why, count)| {
                json!({
                    "reason": why_not_code(*why),
                    "passes": count.passes,
                    "first_ns": count.first,
                    "last_ns": count.last,
                })
            })
            .collect();
        let preference = |&(when, cpu, why): &(Ns, Option<CpuId>, Preference)| {
            let reason = match why {
                Preference::Share | Preference::OtherNode => kebab(&why),
                Preference::Invalid(invalid) => kebab(&invalid),
            };
            json!({"time_ns": when, "cpu": cpu.map(|cpu| cpu.0), "reason": reason})
        };
        let preferences: Vec<Value> = self.preferences.iter().map(preference).collect();
        let longest = self
            .longest
            .map(|(since, length, cpu)| json!({"start_ns": since, "length_ns": length, "cpu": cpu.0}));
        let stops: Vec<Value> = self
            .stops
            .iter()
            .map(|stop| json!({"cpu": stop.cpu.0, "from_ns": stop.from, "until_ns": stop.until}))
            .collect();
        json!({
            "explain": "task",
            "task": self.task.0,
            "name": self.facts.task(self.task),
            "born_ns": self.born,
            "moves": moves,
            "preferences": preferences,
            "stays": self.stays,
            "waited_ns": self.waited,
            "waits": self.waits,
            "longest_wait": longest,
            "stops": stops,
            "chances": chances,
        })
    }

    fn move_json(&self, step: &Move) -> Value {
        let mut value = json!({
            "time_ns": step.at,
            "from": step.from.map(|cpu| cpu.0),
            "to": step.to.0,
        });
        let why = match &step.why {
            Why::Placed { kind, reason, steps } => json!({
                "why": kebab(kind),
                "reason": kebab(reason),
                "steps": steps.iter().map(|step| placement_json(step, &self.facts)).collect::<Vec<_>>(),
            }),
            Why::Pulled { pass, hot } => json!({"why": "balance", "pass": pass, "hot": hot}),
            Why::Pushed { pass } => json!({"why": "active-balance", "pass": pass}),
            Why::Affinity => json!({"why": "affinity"}),
            Why::Hotplug => json!({"why": "hotplug"}),
            Why::Urgent => json!({"why": "urgent"}),
        };
        if let (Value::Object(value), Value::Object(why)) = (&mut value, why) {
            value.extend(why);
        }
        value
    }
}

fn why_not(why: WhyNot) -> String {
    match why {
        WhyNot::Refused(refusal) => format!("looked at it, but {}", words::refusal(refusal)),
        WhyNot::NotOurTurn => "not that CPU's turn, another one balances for its group [3.3]".to_owned(),
        WhyNot::NoGroup(rule) => format!("found nothing to do: {}", words::group_rule(rule)),
        WhyNot::NothingToMove(rule) => {
            format!("{}, but nothing was left to move [5.4]", words::group_rule(rule))
        }
        WhyNot::NoQueue => "the busiest group had no CPU to take from [6]".to_owned(),
        WhyNot::OtherQueue => "took from another CPU".to_owned(),
        WhyNot::OtherTask => "took another task of its CPU, which was enough [7.2]".to_owned(),
        WhyNot::NotReached => "stopped before it came to this task [7.2]".to_owned(),
    }
}

fn why_not_code(why: WhyNot) -> String {
    match why {
        WhyNot::Refused(refusal) => format!("refused:{}", kebab(&refusal)),
        WhyNot::NotOurTurn => "not-our-turn".to_owned(),
        WhyNot::NoGroup(rule) => format!("no-group:{}", kebab(&rule)),
        WhyNot::NothingToMove(rule) => format!("imbalance-zero:{}", kebab(&rule)),
        WhyNot::NoQueue => "no-queue".to_owned(),
        WhyNot::OtherQueue => "other-queue".to_owned(),
        WhyNot::OtherTask => "other-task".to_owned(),
        WhyNot::NotReached => "not-reached".to_owned(),
    }
}

/// A step of a placement in words.
fn placement(step: &PlacementStep, facts: &Facts) -> String {
    match *step {
        PlacementStep::Affine { this, prev, target, rule } => format!(
            "Between the waker's CPU {this} and its own CPU {prev} it searched near CPU {target}: {} [spec 4 §6].",
            words::affine_rule(rule)
        ),
        PlacementStep::Asked { cpu, role, idle, fits } => {
            let role = match role {
                AskedAs::Target => "the target",
                AskedAs::Prev => "its previous CPU",
                AskedAs::Recent => "the one before that",
            };
            let state = match (idle, fits) {
                (false, _) => "busy",
                (true, true) => "idle",
                (true, false) => "idle, but too small",
            };
            format!("CPU {cpu}, {role}: {state}.")
        }
        PlacementStep::Scan { domain, for_core, limit } => {
            let what = if for_core { "a whole idle core" } else { "an idle CPU" };
            let level = format!("{} ({})", facts.level(domain), cpus(facts.span(domain)));
            if limit == 0 {
                format!("{level} is too busy to be searched [spec 4 §8].")
            } else {
                format!("Searched {level} for {what}, at most {limit} CPUs [spec 4 §8].")
            }
        }
        PlacementStep::Group { domain, group, local, kind, avg_load, util, idle_cpus, nr_running } => {
            let own = if local { ", its own group" } else { "" };
            let load = if avg_load > 0 { format!(", avg_load {avg_load}") } else { String::new() };
            format!(
                "{}: {}{own}: {}, {}, {idle_cpus} idle, util {util}{load}.",
                facts.level(domain),
                cpus(facts.group(group)),
                kind.name(),
                units::plural(u64::from(nr_running), "task"),
            )
        }
        PlacementStep::Descend { domain, to: Some(group), cpu } => format!(
            "{}: {} is better, and of it CPU {cpu} [spec 4 §9].",
            facts.level(domain),
            cpus(facts.group(group))
        ),
        PlacementStep::Descend { domain, to: None, .. } => {
            format!(
                "{}: no other group is better by enough: it stays in its own [spec 4 §9].",
                facts.level(domain)
            )
        }
    }
}

fn placement_json(step: &PlacementStep, facts: &Facts) -> Value {
    match *step {
        PlacementStep::Affine { this, prev, target, rule } => {
            json!({"step": "affine", "this": this.0, "prev": prev.0, "target": target.0, "rule": kebab(&rule)})
        }
        PlacementStep::Asked { cpu, role, idle, fits } => {
            json!({"step": "asked", "cpu": cpu.0, "role": kebab(&role), "idle": idle, "fits": fits})
        }
        PlacementStep::Scan { domain, for_core, limit } => {
            json!({"step": "scan", "level": facts.level(domain), "for_core": for_core, "limit": limit})
        }
        PlacementStep::Group { domain, group, local, kind, avg_load, util, idle_cpus, nr_running } => json!({
            "step": "group",
            "level": facts.level(domain),
            "cpus": facts.group(group).to_string(),
            "local": local,
            "type": kind.name(),
            "avg_load": avg_load,
            "util": util,
            "idle_cpus": idle_cpus,
            "nr_running": nr_running,
        }),
        PlacementStep::Descend { domain, to, cpu } => json!({
            "step": "descend",
            "level": facts.level(domain),
            "to": to.map(|group| facts.group(group).to_string()),
            "cpu": cpu.0,
        }),
    }
}
