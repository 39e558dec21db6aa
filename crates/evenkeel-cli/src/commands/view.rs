//! `evenkeel view`: what the kernel's own files would show at one moment of a run.
use crate::output::Answer;
use crate::scene::{self, Scene};
use anyhow::Result;
use clap::ValueEnum;
use evenkeel::observe::Silent;
use evenkeel::time::Ns;
use evenkeel_formats::scenario::parse_duration;
use evenkeel_sim::sched_debug::sched_debug;
use evenkeel_sim::schedstat::schedstat;

/// Show the machine at one moment as the kernel's own files would: /proc/schedstat or debugfs sched/debug
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    scene: scene::SceneArgs,
    /// Which file
    #[arg(long, value_enum)]
    file: File,
    /// At this simulated time, such as 250ms [default: at the end of the run]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Ns>,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel view examples/scenarios/skew16.toml --file schedstat --at 250ms
  evenkeel view examples/scenarios/skew16.toml --file debug --at 300ms

The text has the version and the layout of the kernel that is simulated, so scripts for the real files read it.";

#[derive(ValueEnum, Clone, Copy, Debug)]
enum File {
    /// /proc/schedstat: counters of CPUs and domains
    Schedstat,
    /// debugfs sched/debug: CPUs, fair queues and tasks
    Debug,
}

fn time(text: &str) -> Result<Ns, String> {
    parse_duration(text).ok_or_else(|| String::from("expected a time such as 250ms or 1.5s"))
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let mut scene = Scene::load(&args.scene)?;
    scene.until = args.at.unwrap_or(scene.until).min(scene.until);
    let simulation = scene.simulate(Silent, |_| false)?;
    let text = match args.file {
        File::Schedstat => schedstat(simulation.sched()),
        File::Debug => sched_debug(&simulation)?,
    };
    Ok(text.into())
}
