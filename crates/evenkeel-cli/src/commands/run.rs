//! `evenkeel run`: what a workload gets from a kernel on a machine.
use crate::output::{self, Answer};
use crate::scene::{self, Scene};
use crate::settings;
use anyhow::Result;
use clap::ValueEnum;
use evenkeel::observe::{Observer, Silent};
use evenkeel_formats::machine::describe;
use evenkeel_report::changes::Changes;
use evenkeel_report::summary::{Facts, RunReport, text};
use evenkeel_report::units::exact_duration;
use evenkeel_sim::digest::Digest;

/// Run a workload under a kernel on a machine, in virtual time
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", settings::help()))]
pub(crate) struct Args {
    #[command(flatten)]
    scene: scene::SceneArgs,
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

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let scene = Scene::load(&args.scene)?;
    let (report, ended) = if args.digest {
        simulate(&scene, Digest::default(), |digest| Some(digest.to_string()))
    } else {
        simulate(&scene, Silent, |_| None)
    }?;
    if !ended && !scene.until_is_given {
        output::notice(&format!("note: stopped after {} of simulated time", exact_duration(scene::LIMIT)));
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

/// Runs the simulation to its end and reports it; also whether all tasks have ended.
fn simulate<O: Observer>(
    scene: &Scene,
    observer: O,
    fingerprint: fn(&O) -> Option<String>,
) -> Result<(RunReport, bool)> {
    let simulation = scene.simulate((Changes::default(), observer), |_| false)?;
    let digest = fingerprint(&simulation.observer().1);
    let changes = scene::changes(&simulation, &simulation.observer().0);
    let facts = Facts {
        workload: scene.workload(),
        machine: &scene.machine,
        machine_description: &describe(&scene.machine),
        kernel: &scene.setup.kernel,
        settings: &scene.settings,
        seed: scene.setup.params.seed,
        changes: &changes,
        digest: digest.as_deref(),
    };
    let report = RunReport::new(facts, &simulation.result(), simulation.sched().domains());
    Ok((report, simulation.finished()))
}
