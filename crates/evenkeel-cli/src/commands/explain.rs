//! `evenkeel explain`: why did it do that?
use crate::output::{self, Answer};
use crate::scene::{self, Scene};
use anyhow::{Result, bail};
use clap::ValueEnum;
use evenkeel::ids::{CpuId, TaskId};
use evenkeel::observe::Observer;
use evenkeel::time::Ns;
use evenkeel_formats::diagnostic::near_match;
use evenkeel_formats::scenario::parse_duration;
use evenkeel_report::changes::{self, Changes};
use evenkeel_report::explain::idle::IdleObserver;
use evenkeel_report::explain::pass::{PassObserver, Which};
use evenkeel_report::explain::task::TaskObserver;
use evenkeel_report::explain::{Facts, at};
use evenkeel_sim::Simulation;
use serde_json::Value;

/// Explain one balancing pass, one task's moves and waits, or every moment a CPU idled while a task waited
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    scene: scene::SceneArgs,
    #[command(flatten)]
    what: What,
    /// With --at: the CPU for which the pass is made
    #[arg(long, value_name = "CPU", requires = "at")]
    cpu: Option<u32>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// The balancing pass of this number
    #[arg(long, value_name = "N")]
    pass: Option<u64>,
    /// The first balancing pass at this time or later, such as 254ms, on behalf of --cpu
    #[arg(long, value_name = "TIME", value_parser = time, requires = "cpu")]
    at: Option<Ns>,
    /// This task, by name or number: why each of its moves, and why not while it waited
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Every stretch in which a CPU idled while a task that may run there waited, and what kept them apart
    #[arg(long)]
    idle: bool,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel explain examples/scenarios/skew16.toml --idle
  evenkeel explain examples/scenarios/skew16.toml --at 254ms --cpu 1
  evenkeel explain examples/scenarios/pingpong.toml --task ping-0
  evenkeel explain examples/scenarios/skew16.toml --pass 12 --format json

Passes are numbered from 1 in the order in which a run makes them.";

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// Sentences and tables for people
    Text,
    /// The same for programs, with stable names
    Json,
}

/// Definitions whose tasks an error lists.
const NAMES_SHOWN: usize = 12;

fn time(text: &str) -> Result<Ns, String> {
    parse_duration(text).ok_or_else(|| String::from("expected a time such as 254ms or 1.5s"))
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let scene = Scene::load(&args.scene)?;
    let facts = Facts::new(&scene.machine, &scene.setup.kernel)?;
    let (text, json) = match &args.what {
        What { pass: Some(number), .. } => pass(&scene, facts, Which::Number(*number))?,
        What { at: Some(time), .. } => {
            let cpu = args.cpu.unwrap_or_default();
            if cpu as usize >= scene.machine.nr_cpus() {
                bail!("--cpu {cpu}: the machine has CPUs 0-{}", scene.machine.nr_cpus() - 1);
            }
            pass(&scene, facts, Which::At(*time, CpuId(cpu)))?
        }
        What { task: Some(name), .. } => task(&scene, facts, name)?,
        _ => idle(&scene, facts)?,
    };
    Ok(match args.format {
        Format::Text => text,
        Format::Json => format!("{json:#}\n"),
    }
    .into())
}

fn names<O: Observer>(simulation: &Simulation<O>) -> Vec<String> {
    simulation.sched().tasks().iter().map(|(task, _)| simulation.task_name(task)).collect()
}

fn idle(scene: &Scene, facts: Facts) -> Result<(String, Value)> {
    let simulation = scene.simulate((IdleObserver::new(facts), Changes::default()), |_| false)?;
    let now = simulation.now();
    let changes = scene::changes(&simulation, &simulation.observer().1);
    let ((observer, _), _) = simulation.into_parts();
    let report = observer.finish(now);
    Ok(with_changes(report.text(output::page()), report.json(), &changes, "Changed while it ran"))
}

/// Adds what was changed from outside.
fn with_changes(
    mut text: String,
    mut json: Value,
    changes: &[changes::Change],
    heading: &str,
) -> (String, Value) {
    text.push_str(&changes::text(changes, heading, output::page()));
    json["changes"] = serde_json::to_value(changes).unwrap_or_default();
    (text, json)
}

fn pass(scene: &Scene, facts: Facts, which: Which) -> Result<(String, Value)> {
    let observer = (PassObserver::new(facts, which), Changes::default());
    let simulation = scene.simulate(observer, |simulation| simulation.observer().0.is_done())?;
    let (names, now) = (names(&simulation), simulation.now());
    let mut changes = scene::changes(&simulation, &simulation.observer().1);
    let ((observer, _), _) = simulation.into_parts();
    let last = observer.last_pass();
    let nearest = observer.nearest();
    match (observer.finish(names), which) {
        (Some(story), _) => {
            changes.retain(|change| change.at_ns <= story.at);
            Ok(with_changes(story.text(output::page()), story.json(), &changes, "Changed before this pass"))
        }
        (None, Which::Number(number)) => {
            let nearest = nearest.map(|pass| format!("; the last is {pass}")).unwrap_or_default();
            bail!("there is no pass {number}: the run made {last} until {}{nearest}", at(now))
        }
        (None, Which::At(from, cpu)) => {
            let nearest = match nearest {
                Some(pass) => format!("; the one before is {pass} (--pass NUMBER shows it)"),
                None => "; there was none before either".to_owned(),
            };
            let (from, now) = (at(from), at(now));
            bail!("no pass was made for CPU {cpu} between {from} and {now}, where the run ends{nearest}")
        }
    }
}

/// Names of tasks, those of one definition as a range: `ping-0 to ping-5, init`.
fn in_short(names: &[String]) -> String {
    let definition = |name: &str| match name.rsplit_once('-') {
        Some((definition, number)) if number.parse::<u32>().is_ok() => definition.to_owned(),
        _ => name.to_owned(),
    };
    let mut ranges: Vec<(String, Vec<&str>)> = Vec::new();
    for name in names {
        let definition = definition(name);
        match ranges.iter_mut().find(|(known, _)| *known == definition) {
            Some((_, members)) => members.push(name),
            None => ranges.push((definition, vec![name])),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .take(NAMES_SHOWN)
        .map(|(_, members)| match members[..] {
            [first, .., last] if first != last => format!("{first} to {last}"),
            _ => members[0].to_owned(),
        })
        .collect();
    let more = if ranges.len() > NAMES_SHOWN { ", ..." } else { "" };
    shown.join(", ") + more
}

fn task(scene: &Scene, facts: Facts, name: &str) -> Result<(String, Value)> {
    // Names are known only when the tasks are there: a first run finds the number.
    let simulation = scene.simulate(Changes::default(), |_| false)?;
    let names = names(&simulation);
    let changes = scene::changes(&simulation, simulation.observer());
    let by_number = || name.parse().ok().filter(|&number: &usize| number < names.len());
    let Some(number) = names.iter().position(|other| other == name).or_else(by_number) else {
        // The name of a definition stands for several tasks: the first of them is as good a hint as a near name.
        let instance = names.iter().find(|other| {
            other.rsplit_once('-').is_some_and(|(definition, number)| {
                definition == name && number.bytes().all(|digit| digit.is_ascii_digit())
            })
        });
        let near =
            instance.map(String::as_str).or_else(|| near_match(name, names.iter().map(String::as_str)));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        bail!(
            "no task is called `{name}`{near}\n  tasks: {}\n  or a number from 0 to {}",
            in_short(&names),
            names.len().saturating_sub(1)
        );
    };
    let task = TaskId::from_index(number);
    let simulation = scene.simulate(TaskObserver::new(facts, task), |_| false)?;
    let now = simulation.now();
    let (observer, _) = simulation.into_parts();
    let story = observer.finish(now, names);
    Ok(with_changes(story.text(output::page()), story.json(), &changes, "Changed while it ran"))
}
