//! `evenkeel kernels`: which kernels there are.
use crate::output::{self, Answer};
use clap::ValueEnum;
use evenkeel::kernel::Kernel;
use evenkeel::kernels;
use evenkeel_report::table::{self, Column, Table};
use serde_json::json;

/// List the kernels that can be computed: exact builds, their aliases, and what each can do today
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// A table
    Text,
    /// A list of objects
    Json,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel kernels
  evenkeel topo --kernel v5.15 --machine '8 cores x 2 threads'";

/// The order of what a kernel can do: domain trees for all, whole runs for some.
fn abilities(kernel: &Kernel) -> Vec<&'static str> {
    if kernel.runs { vec!["topo", "run"] } else { vec!["topo"] }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    Ok(match args.format {
        Format::Text => text(),
        Format::Json => json(),
    }
    .into())
}

fn text() -> String {
    let page = output::page();
    let mut table = Table::new([
        Column::left("build"),
        Column::left("alias"),
        Column::left("can do"),
        Column::left("schedstat").drop_rank(1),
        Column::left(""),
    ]);
    for kernel in kernels::ALL {
        let default = if kernel.build == kernels::DEFAULT.build { "default" } else { "" };
        let version = kernel.schedstat_version.to_string();
        table.row([kernel.build, kernel.alias, &abilities(kernel).join(", "), &version, default]);
    }
    let legend = "topo: domain trees. run: run queues, placement and balancing as well.";
    format!("{}\n{}", table.render(page), table::wrap(legend, page.width, "  "))
}

fn json() -> String {
    let kernels = kernels::ALL.map(|kernel| {
        json!({
            "build": kernel.build,
            "alias": kernel.alias,
            "can_do": abilities(kernel),
            "default": kernel.build == kernels::DEFAULT.build,
            "hz": kernel.hz,
            "schedstat_version": kernel.schedstat_version,
        })
    });
    format!("{:#}\n", serde_json::Value::from(kernels.to_vec()))
}
