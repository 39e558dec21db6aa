//! One file for each command.
mod conform;
mod explain;
mod generate;
mod kernels;
mod machine;
mod run;
mod topo;
mod view;

use crate::output::Answer;
use clap::Subcommand;

/// The commands, in the order of the help text.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Run(run::Args),
    Explain(explain::Args),
    View(view::Args),
    Topo(topo::Args),
    Machine(machine::Args),
    Kernels(kernels::Args),
    Conform(conform::Args),
    #[command(hide = true)]
    Generate(generate::Args),
}

impl Command {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<Answer> {
        match self {
            Self::Run(args) => run::run(&args),
            Self::Explain(args) => explain::run(&args),
            Self::View(args) => view::run(&args),
            Self::Topo(args) => topo::run(&args),
            Self::Machine(args) => machine::run(args),
            Self::Kernels(args) => kernels::run(&args),
            Self::Conform(args) => conform::run(&args),
            Self::Generate(args) => generate::run(&args),
        }
    }
}
