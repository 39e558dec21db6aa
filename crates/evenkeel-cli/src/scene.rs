//! What every command that simulates takes: a workload, a machine, a kernel, settings, and how long.
//!
//! [`SceneArgs`] are the arguments, flattened into those of the command; [`Scene::load`] reads what they name, and
//! [`Scene::simulate`] runs it with an observer, showing progress on a terminal.
use crate::inputs::{self, KERNEL_HELP, MACHINE_HELP};
use crate::output;
use crate::settings::{self, Setup};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use core::time::Duration;
use evenkeel::kernels;
use evenkeel::observe::Observer;
use evenkeel::time::{MS, Ns, SEC};
use evenkeel::topology::Machine;
use evenkeel::workload::{Origin, Repeat, Workload};
use evenkeel_formats::diagnostic::InputError;
use evenkeel_formats::load::{LoadedWorkload, load_workload};
use evenkeel_formats::rtapp;
use evenkeel_formats::scenario::{Scenario, parse_duration};
use evenkeel_report::changes::{Change, Changes};
use evenkeel_report::summary::Override;
use evenkeel_sim::{SimParams, Simulation};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A workload that ends, but not within this simulated time, is stopped.
pub(crate) const LIMIT: Ns = 3600 * SEC;

/// Workload, machine, kernel, settings, time.
#[derive(clap::Args, Debug)]
pub(crate) struct SceneArgs {
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
    /// Which rt-app a JSON workload was written for
    #[arg(long = "rt-app", value_enum, value_name = "VERSION", default_value_t = RtAppVersion::Detect)]
    rt_app: RtAppVersion,
    /// Of keys that occur twice in a JSON workload only the last value counts, as in rt-app without workgen
    #[arg(long)]
    strict: bool,
    /// Change a tunable, feature, delay or cost; may be repeated. `--help` lists the keys
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<Override>,
}

/// The dialects of rt-app.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum RtAppVersion {
    /// The newest, unless tasks would then wait for ever that did not in 1.0
    Detect,
    /// Release 1.0, as distributions package it
    #[value(name = "1.0")]
    V1_0,
    /// The present development branch
    Master,
}

/// What the arguments name, read and put together.
#[derive(Debug)]
pub(crate) struct Scene {
    loaded: LoadedWorkload,
    /// The machine.
    pub(crate) machine: Machine,
    /// Kernel and surroundings.
    pub(crate) setup: Setup,
    /// The settings that led to it, of the scenario and then of the command line.
    pub(crate) settings: Vec<Override>,
    /// How long to simulate.
    pub(crate) until: Ns,
    /// Whether that was said by the user or the workload, and is not just a limit.
    pub(crate) until_is_given: bool,
}

impl Scene {
    /// Reads everything; tells stderr what is odd.
    pub(crate) fn load(args: &SceneArgs) -> Result<Self> {
        let compat = match args.rt_app {
            RtAppVersion::Detect => None,
            RtAppVersion::V1_0 => Some(rtapp::Compat::V1_0),
            RtAppVersion::Master => Some(rtapp::Compat::Master),
        };
        let options = rtapp::Options { compat, strict: args.strict, ..rtapp::Options::default() };
        let loaded = load(&args.workload, &options)?;
        for warning in loaded.warnings() {
            output::notice(&format!("warning: {warning}"));
        }
        let scenario = match &loaded {
            LoadedWorkload::Scenario(scenario) => Some(&**scenario),
            LoadedWorkload::RtApp(_) => None,
        };
        let machine = machine(args, scenario)?;
        let (setup, settings) = setup(args, scenario, &machine)?;
        let workload = loaded.workload();
        let until = duration_of(args, workload)?;
        let until_is_given = args.duration.or(workload.duration).is_some();
        Ok(Self { machine, setup, settings, until, until_is_given, loaded })
    }

    /// What the tasks do.
    pub(crate) fn workload(&self) -> &Workload {
        self.loaded.workload()
    }

    /// Runs to the end, or until `enough` says so.
    pub(crate) fn simulate<O: Observer>(
        &self,
        observer: O,
        enough: impl Fn(&Simulation<O>) -> bool,
    ) -> Result<Simulation<O>> {
        let fault = |error: evenkeel_sim::SimError| anyhow!("{}", inputs::simulation_error(&error));
        let (kernel, params) = (&self.setup.kernel, self.setup.params);
        let mut simulation =
            Simulation::new(&self.machine, kernel, self.workload(), params, observer).map_err(fault)?;
        let progress = progress(self.until);
        let step = (self.until / 1000).max(MS);
        while simulation.now() < self.until && !simulation.finished() && !enough(&simulation) {
            simulation.run_until(self.until.min(simulation.now() + step)).map_err(fault)?;
            progress.set_position(simulation.now() / MS);
        }
        progress.finish_and_clear();
        Ok(simulation)
    }
}

/// What was changed from outside in a run so far.
pub(crate) fn changes<O: Observer>(simulation: &Simulation<O>, seen: &Changes) -> Vec<Change> {
    let groups: Vec<String> = simulation.sched().groups().iter().map(|group| group.name.clone()).collect();
    seen.list(simulation.now(), |task| simulation.task_name(task), &groups)
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

fn load(path: &Path, options: &rtapp::Options) -> Result<LoadedWorkload> {
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
    Ok(load_workload(&text, name, None, options)?)
}

/// The machine of the command line, else of the scenario, else this host.
fn machine(args: &SceneArgs, scenario: Option<&Scenario>) -> Result<Machine> {
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
fn setup(args: &SceneArgs, scenario: Option<&Scenario>, machine: &Machine) -> Result<(Setup, Vec<Override>)> {
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
fn duration_of(args: &SceneArgs, workload: &Workload) -> Result<Ns> {
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

/// A bar on stderr, if that is a terminal.
fn progress(until: Ns) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let bar = ProgressBar::with_draw_target(Some(until / MS), target);
    let style = "{wide_bar} {percent}% of the simulated time, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
