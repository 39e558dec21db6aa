//! `evenkeel machine`: which machines there are, what one looks like, and keeping one in a file.
use crate::inputs::{self, MACHINE_HELP};
use crate::output::{self, Answer};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use core::fmt::Write as _;
use evenkeel::topology::Machine;
use evenkeel_formats::machine::{describe, presets, save_with_notes};
use evenkeel_report::table::{self, Column, Table};
use evenkeel_report::units;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// List the machines that have a name, look at one, or save one to a file
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel machine list
  evenkeel machine show host
  evenkeel machine show '2 sockets x 4 llc x 8 cores x 2 threads'
  evenkeel machine save my-server.toml

A saved machine is readable TOML; wherever a machine is asked for, the file's name will do.";

#[derive(Subcommand, Debug)]
enum Action {
    /// List the presets
    List,
    /// Show a machine: its shape, its nodes, and who shares what
    Show {
        #[arg(help = MACHINE_HELP, default_value = "host")]
        machine: String,
    },
    /// Save a machine to a file that can be read, edited and used on other hosts
    Save {
        /// The file
        file: PathBuf,
        #[arg(long, short, help = MACHINE_HELP, default_value = "host")]
        machine: String,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    match args.action {
        Action::List => Ok(list().into()),
        Action::Show { machine } => {
            let loaded = inputs::machine(&machine)?;
            Ok(show(&loaded.machine).into())
        }
        Action::Save { file, machine, force } => save(&file, &machine, force),
    }
}

fn save(file: &Path, machine: &str, force: bool) -> Result<Answer> {
    let loaded = inputs::machine(machine)?;
    let mut options = OpenOptions::new();
    // Looking first and writing then could overwrite what somebody else made in between.
    options.write(true).create(force).truncate(force).create_new(!force);
    let written = options.open(file).and_then(|mut to| to.write_all(save_with_notes(&loaded).as_bytes()));
    match written {
        Ok(()) => {
            let text = format!("saved {}: {}\n", loaded.machine.name, describe(&loaded.machine));
            Ok(text.into())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists; `--force` overwrites it", file.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
}

fn list() -> String {
    let page = output::page();
    let longest = presets().iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    let indent = " ".repeat((longest + 2).min(page.width / 2));
    let mut text = String::new();
    for preset in presets() {
        let name = format!("{:longest$}  ", preset.name);
        let wrapped = table::wrap(preset.description, page.width - indent.len(), "");
        for (index, line) in wrapped.lines().enumerate() {
            let _ = writeln!(text, "{}{line}", if index == 0 { name.as_str() } else { &indent });
        }
    }
    text.push('\n');
    text + &table::wrap("`evenkeel machine show NAME` says more about one.", page.width, "")
}

fn show(machine: &Machine) -> String {
    let page = output::page();
    let mut text = format!("{}\n", page.heading(&machine.name));
    text.push_str(&table::wrap(&format!("  {}", describe(machine)), page.width, "  "));
    text.push_str(&table::wrap(&format!("  from {}", machine.source), page.width, "  "));
    text.push('\n');
    text.push_str(&sharing(machine).render(page));
    if machine.nr_nodes > 1 {
        text.push('\n');
        text.push_str(&nodes(machine).render(page));
    }
    text
}

/// For each kind of thing that CPUs share: how many there are and which CPUs the first few hold.
fn sharing(machine: &Machine) -> Table {
    let mut table =
        Table::new([Column::left("shared"), Column::right("number"), Column::left("CPUs of each").cut()]);
    let mut add = |name: &str, key: &dyn Fn(usize) -> Option<u32>| {
        let mut sets: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (cpu, number) in (0..machine.nr_cpus()).filter_map(|cpu| Some((cpu, key(cpu)?))) {
            sets.entry(number).or_default().push(cpu as u32);
        }
        if sets.is_empty() {
            return;
        }
        let shown: Vec<String> = sets.values().take(4).map(|cpus| cpu_list(cpus)).collect();
        let more = if sets.len() > shown.len() { " ..." } else { "" };
        table.row([name.to_owned(), units::count(sets.len() as u64), format!("{}{more}", shown.join(" | "))]);
    };
    add("package", &|cpu| Some(machine.cpus[cpu].package));
    add("die", &|cpu| Some(machine.cpus[cpu].die));
    add("node", &|cpu| Some(machine.cpus[cpu].node));
    add("last-level cache", &|cpu| machine.cpus[cpu].llc);
    add("cluster", &|cpu| machine.cpus[cpu].cluster);
    add("core", &|cpu| Some(machine.cpus[cpu].core));
    table
}

/// `0-3,8`
fn cpu_list(cpus: &[u32]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b);
    let runs = runs.map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// The distances between nodes, as a list a row so that it fits.
fn nodes(machine: &Machine) -> Table {
    let mut table = Table::new([Column::left("node"), Column::left("distance to nodes 0, 1 ...").cut()]);
    for from in 0..machine.nr_nodes {
        let row: Vec<String> =
            (0..machine.nr_nodes).map(|to| machine.distance(from, to).to_string()).collect();
        table.row([from.to_string(), row.join(" ")]);
    }
    table
}
