//! `evenkeel generate`: completions for shells, and manual pages. Hidden: for those who package the tool.
use crate::Cli;
use crate::output::Answer;
use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// Generate completions for a shell, or manual pages
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel generate completions bash > my-completions.bash
  evenkeel generate man my-directory";

#[derive(Subcommand, Debug)]
enum What {
    /// Write completions for a shell to stdout
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command into an existing directory
    Man {
        /// The directory
        directory: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    match &args.what {
        What::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "evenkeel", &mut text);
            Ok(String::from_utf8(text).context("completions are text")?.into())
        }
        What::Man { directory } => {
            let written = clap_mangen::generate_to(Cli::command(), directory);
            written.with_context(|| format!("cannot write to {}", directory.display()))?;
            Ok(format!("wrote manual pages to {}\n", directory.display()).into())
        }
    }
}
