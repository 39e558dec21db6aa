//! `evenkeel topo`: who balances with whom.
use crate::inputs::{self, KERNEL_HELP, MACHINE_HELP};
use crate::output::{self, Answer};
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel::topology::{Domains, Machine};
use evenkeel_formats::machine::describe;
use evenkeel_report::table;
use evenkeel_report::topology::{
    View, render_debugfs, render_diff, render_json, render_schedstat, render_tree,
};

/// Show the scheduling domains a kernel builds on a machine: who balances with whom, and how eagerly
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[arg(long, short, help = MACHINE_HELP, default_value = "host")]
    machine: String,
    #[arg(long, short, help = KERNEL_HELP, default_value = kernels::DEFAULT.alias)]
    kernel: String,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Tree)]
    format: Format,
    /// Show only what changes with OTHER, a kernel or a machine, in place of the one above; exit code 1 if anything does
    #[arg(long, value_name = "OTHER", conflicts_with = "format")]
    diff: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel topo
  evenkeel topo --machine '2 sockets x 4 llc x 8 cores x 2 threads' --kernel v5.15
  evenkeel topo --machine xeon-e5-4s-80 --kernel v4.19 --diff v6.12
  evenkeel topo --machine c8flat --diff c4t2";

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// For reading; subtrees that are alike are written once
    Tree,
    /// For programs
    Json,
    /// As below /sys/kernel/debug/sched/domains
    Debugfs,
    /// As in /proc/schedstat
    Schedstat,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let kernel = inputs::kernel(&args.kernel)?;
    let machine = inputs::machine(&args.machine)?.machine;
    let domains = build(&machine, kernel)?;
    if let Some(other) = &args.diff {
        return diff(View { machine: &machine, kernel, domains: &domains }, other);
    }
    let text = match args.format {
        Format::Tree => table::wrap_tree(&render_tree(&machine, kernel, &domains), output::page().width),
        Format::Json => render_json(&machine, kernel, &domains),
        Format::Debugfs => render_debugfs(&machine, kernel, &domains),
        Format::Schedstat => render_schedstat(&machine, kernel, &domains),
    };
    Ok(text.into())
}

fn build(machine: &Machine, kernel: &Kernel) -> Result<Domains> {
    Domains::build(machine, kernel, 0).map_err(|error| anyhow!("{}: {error}", machine.name))
}

/// What changes when `other`, a kernel or a machine, takes the place of its counterpart in `before`.
fn diff(before: View<'_>, other: &str) -> Result<Answer> {
    let (machine, kernel) = match kernels::find(other) {
        Some(kernel) => (before.machine.clone(), kernel),
        None => (inputs::machine(other)?.machine, before.kernel),
    };
    let domains = build(&machine, kernel)?;
    let changes = render_diff(before, View { machine: &machine, kernel, domains: &domains });
    let page = output::page();
    let side = |sign: &str, machine: &Machine, kernel: &Kernel| {
        let text = format!("{sign} {} on {}: {}", kernel.build, machine.name, describe(machine));
        table::wrap(&text, page.width, "    ")
    };
    let sides = side("from", before.machine, before.kernel) + &side("to  ", &machine, kernel);
    if changes.is_empty() {
        return Ok(format!("{sides}no difference\n").into());
    }
    Ok(Answer { text: format!("{sides}\n{changes}"), differences: true })
}
