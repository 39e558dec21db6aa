//! `evenkeel view`: what the kernel's own files would show at one moment of a run.
use crate::output::Answer;
use crate::scene::{self, Scene};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use evenkeel::observe::Silent;
use evenkeel::time::Ns;
use evenkeel_formats::scenario::parse_duration;
use evenkeel_report::topology::render_debugfs;
use evenkeel_report::units::exact_duration;
use evenkeel_sim::sched_debug::sched_debug;
use evenkeel_sim::schedstat::schedstat;

/// Show the machine at one moment as the kernel's own files would: /proc/schedstat, debugfs sched/debug or sched/domains
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
  evenkeel view examples/scenarios/whatif.toml --file domains --at 250ms
  evenkeel view examples/scenarios/gather.toml --file llc-balancing

The text has the version and the layout of the kernel that is simulated, so scripts for the real files read it.";

#[derive(ValueEnum, Clone, Copy, Debug)]
enum File {
    /// /proc/schedstat: counters of CPUs and domains
    Schedstat,
    /// debugfs sched/debug: CPUs, fair queues and tasks (layouts of v6.1, v6.12, v6.18, v7.2)
    Debug,
    /// debugfs sched/domains: a line for each file, its path and its contents
    Domains,
    /// debugfs sched/llc_balancing/: how threads of a process are gathered in one cache (v7.2)
    LlcBalancing,
}

fn time(text: &str) -> Result<Ns, String> {
    parse_duration(text).ok_or_else(|| String::from("expected a time such as 250ms or 1.5s"))
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let mut scene = Scene::load(&args.scene)?;
    if let Some(at) = args.at {
        if at > scene.until {
            let (at, until) = (exact_duration(at), exact_duration(scene.until));
            bail!("--at {at}: the run ends at {until}; --for TIME makes it longer");
        }
        scene.until = at;
    }
    let simulation = scene.simulate(Silent, |_| false)?;
    let text = match args.file {
        File::Schedstat => schedstat(simulation.sched()),
        File::Debug => sched_debug(&simulation)?,
        File::Domains => {
            let sched = simulation.sched();
            render_debugfs(&scene.machine, sched.kernel(), sched.domains())
        }
        File::LlcBalancing => {
            let kernel = simulation.sched().kernel();
            let tunables = kernel.tunables.llc_balancing;
            let missing =
                || anyhow!("{} has no sched/llc_balancing: it does not gather threads", kernel.build);
            let files = tunables.ok_or_else(missing)?.files();
            files.map(|(name, value)| format!("{name}:{value}\n")).concat()
        }
    };
    Ok(text.into())
}
