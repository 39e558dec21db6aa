//! The command `evenkeel`: reads what the user names, asks the other crates, prints.
//!
//! This crate is the only one of the project that prints, and only [`output`] does. Each command is a file under
//! [`commands`] with its arguments, its help and one function; what several commands take is in [`inputs`] and
//! [`settings`]. Exit codes: 0 fine, 1 differences found, 2 usage or input error.
mod commands;
mod inputs;
mod output;
mod scene;
mod settings;

use clap::Parser;
use commands::Command;
use std::process::ExitCode;

/// The Linux CPU load balancer, offline: what would this kernel have done, and why
#[derive(Parser, Debug)]
#[command(name = "evenkeel", version, propagate_version = true, max_term_width = 100)]
#[command(disable_help_subcommand = true, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel run examples/scenarios/skew16.toml
  evenkeel explain examples/scenarios/skew16.toml --idle
  evenkeel topo --machine '2 sockets x 8 cores' --kernel v6.1
  evenkeel machine show '2 sockets x 8 cores x 2 threads'
  evenkeel kernels

Exit codes: 0 fine, 1 differences found, 2 usage or input error.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::finish(cli.command.run())
}
