//! `evenkeel run`: what a workload gets from a kernel on a machine.
use crate::inputs::{self, KERNEL_HELP, MACHINE_HELP};
use crate::output::{self, Answer};
use crate::settings::{self, Setup};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use clap::ValueEnum;
use core::time::Duration;
use evenkeel::kernels;
use evenkeel::observe::{Observer, Silent};
use evenkeel::time::{MS, Ns, SEC};
use evenkeel::topology::Machine;
use evenkeel::workload::{Origin, Repeat, Workload};
use evenkeel_formats::diagnostic::InputError;
use evenkeel_formats::load::{LoadedWorkload, load_workload};
use evenkeel_formats::machine::describe;
use evenkeel_formats::rtapp;
use evenkeel_formats::scenario::{Scenario, parse_duration};
use evenkeel_report::summary::{Facts, Override, RunReport, text};
use evenkeel_report::units::exact_duration;
use evenkeel_sim::digest::Digest;
use evenkeel_sim::{SimParams, Simulation};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A workload that ends, but not within this simulated time, is stopped.
const LIMIT: Ns = 3600 * SEC;

/// Run a workload under a kernel on a machine, in virtual time
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", settings::help()))]
pub(crate) struct Args {
    /// What the tasks do: a scenario (TOML) or an rt-app file (JSON); `-` reads it from stdin
    workload: PathBuf,
    #[arg(long, short, help = format!("{MACHINE_HELP} [default: that of the scenario, else host]"))]
    machine: Option<String>,
    #[arg(long, short, help = format!("{KERNEL_HELP} [default: that of the scenario, else {}]", kernels::DEFAULT.alias))]
    kernel: Option<String>,
    /// Simulated time, such as 10s or 250ms [default: that of the workload, else until all tasks have ended]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Ns>,
    /// Seed of all dice [default: that of the scenario, else 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Change a tunable, feature, delay or cost; may be repeated. `--help` lists the keys
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<Override>,
    /// Which lines the task table has
    #[arg(long, value_enum, default_value_t = Tasks::Folded)]
    tasks: Tasks,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print a fingerprint of the whole event stream: equal fingerprints, equal decisions
    #[arg(long)]
    digest: bool,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel run examples/scenarios/skew16.toml
  evenkeel run examples/rt-app/periodic.json --machine '4 cores x 2 threads' --for 2s
  evenkeel run examples/scenarios/skew16.toml --set migration_cost_ns=0 --set features.NI_RANDOM=off
  evenkeel run examples/scenarios/skew16.toml --machine grace --tasks all --format json

Of balancing passes, `balanced` found nothing to do, `failed` found an imbalance but moved nothing;
`active` are running tasks pushed by the stopper thread.";

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Tasks {
    /// One for each definition: number, least, median and most
    Folded,
    /// One for each task
    All,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// Tables for people
    Text,
    /// Everything, for programs (docs/json.md)
    Json,
}

fn duration(text: &str) -> Result<Ns, String> {
    match parse_duration(text) {
        Some(0) | None => Err(String::from("expected a time such as 10s or 250ms")),
        Some(time) => Ok(time),
    }
}

fn key_value(text: &str) -> Result<Override, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok(Override { key: key.trim().to_owned(), value: value.trim().to_owned() })
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let loaded = load(&args.workload)?;
    let workload = loaded.workload();
    for warning in loaded.warnings() {
        output::notice(&format!("warning: {warning}"));
    }
    let scenario = match &loaded {
        LoadedWorkload::Scenario(scenario) => Some(&**scenario),
        LoadedWorkload::RtApp(_) => None,
    };
    let machine = machine(args, scenario)?;
    let (setup, settings) = setup(args, scenario, &machine)?;
    let until = duration_of(args, workload)?;

    let (report, ended) = if args.digest {
        simulate(&machine, &setup, workload, &settings, until, Digest::default(), |digest| {
            Some(digest.to_string())
        })
    } else {
        simulate(&machine, &setup, workload, &settings, until, Silent, |_| None)
    }?;
    if !ended && args.duration.is_none() && workload.duration.is_none() {
        output::notice(&format!("note: stopped after {} of simulated time", exact_duration(LIMIT)));
    }
    let tasks = match args.tasks {
        Tasks::Folded => text::Tasks::Folded,
        Tasks::All => text::Tasks::All,
    };
    let text = match args.format {
        Format::Text => text::render(&report, output::page(), tasks),
        Format::Json => report.to_json(),
    };
    Ok(text.into())
}

fn load(path: &Path) -> Result<LoadedWorkload> {
    let mut text = Vec::new();
    let name = path.display().to_string();
    let from_stdin = name == "-";
    let read = match from_stdin {
        true => std::io::stdin().read_to_end(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text)),
    };
    read.with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(text).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        anyhow!("{name}:{}: expected UTF-8 text", line + 1)
    })?;
    let name = if from_stdin { "stdin" } else { &name };
    Ok(load_workload(&text, name, None, &rtapp::Options::default())?)
}

/// The machine of the command line, else of the scenario, else this host.
fn machine(args: &Args, scenario: Option<&Scenario>) -> Result<Machine> {
    if let Some(spec) = &args.machine {
        return Ok(inputs::machine(spec)?.machine);
    }
    let Some((scenario, written)) =
        scenario.and_then(|scenario| Some((scenario, scenario.machine.as_ref()?)))
    else {
        return Ok(inputs::machine("host")?.machine);
    };
    let loaded = inputs::machine(&written.text);
    Ok(loaded.map_err(|error| blamed(scenario, written.origin, &error, "what --machine accepts"))?.machine)
}

/// An error about a place of the scenario.
fn blamed(scenario: &Scenario, origin: Origin, error: &Error, expected: &str) -> Error {
    InputError::in_workload(&scenario.workload, Some(origin), format!("{error:#}"), expected).into()
}

/// Kernel and surroundings with everything that scenario and command line change, in that order.
fn setup(args: &Args, scenario: Option<&Scenario>, machine: &Machine) -> Result<(Setup, Vec<Override>)> {
    let kernel =
        match (&args.kernel, scenario.and_then(|scenario| Some((scenario, scenario.kernel.as_ref()?)))) {
            (Some(name), _) => inputs::kernel(name)?,
            (None, Some((scenario, written))) => inputs::kernel(&written.text)
                .map_err(|error| blamed(scenario, written.origin, &error, "what --kernel accepts"))?,
            (None, None) => kernels::DEFAULT,
        };
    let seed = args.seed.or(scenario.and_then(|scenario| scenario.seed)).unwrap_or(0);
    let params = SimParams { seed, background: true, ..SimParams::default() };
    let mut setup = Setup { kernel: *kernel, params, cpus: machine.online().weight() };
    let mut settings = Vec::new();
    for setting in scenario.iter().flat_map(|scenario| &scenario.set) {
        let scenario = scenario.expect("a setting comes from a scenario");
        settings::apply(&mut setup, &setting.key, &setting.value)
            .map_err(|error| blamed(scenario, setting.origin, &error, "a setting that --set accepts"))?;
        settings.push(Override { key: setting.key.clone(), value: setting.value.clone() });
    }
    for set in &args.set {
        settings::apply(&mut setup, &set.key, &set.value).context("--set")?;
        settings.push(set.clone());
    }
    Ok((setup, settings))
}

/// How long to simulate; an error if nothing says so and some task never ends.
fn duration_of(args: &Args, workload: &Workload) -> Result<Ns> {
    if let Some(duration) = args.duration.or(workload.duration) {
        return Ok(duration);
    }
    let endless = |spec: &&evenkeel::workload::TaskSpec| {
        let program = &spec.program;
        program.repeat == Repeat::Forever
            || program.phases.iter().any(|phase| phase.repeat == Repeat::Forever)
    };
    if let Some(spec) = workload.tasks.iter().find(endless) {
        bail!(
            "task `{}` never ends and nothing says how long to run: give a time, such as `--for 10s`",
            spec.name
        );
    }
    Ok(LIMIT)
}

/// Runs the simulation to its end and reports it; also whether all tasks have ended.
fn simulate<O: Observer>(
    machine: &Machine,
    setup: &Setup,
    workload: &Workload,
    settings: &[Override],
    until: Ns,
    observer: O,
    fingerprint: fn(&O) -> Option<String>,
) -> Result<(RunReport, bool)> {
    let fault = |error: evenkeel_sim::SimError| anyhow!("{}", inputs::simulation_error(&error));
    let mut simulation =
        Simulation::new(machine, &setup.kernel, workload, setup.params, observer).map_err(fault)?;
    let progress = progress(until);
    let step = (until / 1000).max(MS);
    while simulation.now() < until && !simulation.finished() {
        simulation.run_until(until.min(simulation.now() + step)).map_err(fault)?;
        progress.set_position(simulation.now() / MS);
    }
    progress.finish_and_clear();
    let digest = fingerprint(simulation.observer());
    let facts = Facts {
        workload,
        machine,
        machine_description: &describe(machine),
        kernel: &setup.kernel,
        settings,
        seed: setup.params.seed,
        digest: digest.as_deref(),
    };
    let report = RunReport::new(facts, &simulation.result(), simulation.sched().domains());
    Ok((report, simulation.finished()))
}

/// A bar on stderr, if that is a terminal.
fn progress(until: Ns) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let bar = ProgressBar::with_draw_target(Some(until / MS), target);
    let style = "{wide_bar} {percent}% of the simulated time, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
