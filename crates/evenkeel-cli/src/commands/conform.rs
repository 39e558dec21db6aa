//! `evenkeel conform`: what is computed here against what real kernels did.
use crate::inputs::{self, KERNEL_HELP};
use crate::output::{self, Answer};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use core::fmt::Write as _;
use evenkeel::kernel::Kernel;
use evenkeel_formats::conform::domains::{self, Conformance};
use evenkeel_formats::recording;
use evenkeel_report::units::{count, plural};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compare what is computed with recordings of real kernels; exit code 1 if anything differs
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Directory with recordings (searched to any depth), or one recording
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Compare only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    #[arg(long, help = format!("{KERNEL_HELP}; instead of the one each recording names"))]
    kernel: Option<String>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel conform crates/evenkeel-formats/tests/data/domains
  evenkeel conform my-recordings --only domains --kernel v6.18

What is compared today: `domains`, the domain trees, features and tunables in files called sched.json or
sched.json.gz. The other parts are refused until they are modelled.";

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Domain trees, features, tunables (sched.json)
    Domains,
    /// Decisions of balancing passes (lb.jsonl)
    Lb,
    /// Decisions of placement (select.jsonl)
    Select,
    /// Traces of whole runs
    Traces,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// One line a recording, and what differs
    Text,
    /// An object with every result
    Json,
}

/// The parts that a file name tells.
const PARTS: [(Part, &str, &str); 4] = [
    (Part::Domains, "domains", "sched.json"),
    (Part::Lb, "lb", "lb.jsonl"),
    (Part::Select, "select", "select.jsonl"),
    (Part::Traces, "traces", "trace.dat"),
];

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let kernel = args.kernel.as_deref().map(inputs::kernel).transpose()?;
    if let Some((_, name, _)) =
        PARTS.iter().find(|(part, ..)| args.only == Some(*part) && *part != Part::Domains)
    {
        bail!("comparing `{name}` is not implemented yet; what is: domains");
    }
    let mut files = Vec::new();
    find(&args.path, &mut files).with_context(|| format!("cannot read {}", args.path.display()))?;
    files.sort();
    let of = |wanted: Part| files.iter().filter(move |(part, _)| *part == wanted).map(|(_, path)| path);
    let (mut results, mut skipped) = (Vec::new(), Vec::new());
    for path in of(Part::Domains) {
        results.push((path, compare_domains(path, kernel)?));
    }
    for (part, name, _) in PARTS {
        let number = of(part).count() as u64;
        if part != Part::Domains && number > 0 && args.only.is_none() {
            skipped.push((name, number));
        }
    }
    if results.is_empty() {
        let others: Vec<&str> = skipped.iter().map(|(name, _)| *name).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            names => format!("; comparing {} is not implemented yet", names.join(", ")),
        };
        bail!("{}: found no sched.json or sched.json.gz to compare with{others}", args.path.display());
    }
    let text = match args.format {
        Format::Text => text(&results, &skipped),
        Format::Json => json(&results, &skipped),
    };
    Ok(Answer { text, differences: results.iter().any(|(_, result)| !result.is_exact()) })
}

fn compare_domains(path: &Path, kernel: Option<&Kernel>) -> Result<Conformance> {
    let recording = recording::read(path)?;
    Ok(domains::compare_with(&recording, kernel.unwrap_or(recording.kernel)))
}

/// Collects the recordings at `path` or below it.
fn find(path: &Path, found: &mut Vec<(Part, PathBuf)>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // Links are not followed: they may lead in circles.
            if !entry.file_type()?.is_symlink() {
                find(&entry.path(), found)?;
            }
        }
        return Ok(());
    }
    std::fs::metadata(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    found.extend(PARTS.iter().filter(|part| part.2 == name).map(|part| (part.0, path.to_owned())));
    Ok(())
}

fn text(results: &[(&PathBuf, Conformance)], skipped: &[(&str, u64)]) -> String {
    let mut text = String::new();
    for (_, result) in results {
        let _ = writeln!(text, "{result}");
    }
    let exact = results.iter().filter(|(_, result)| result.is_exact()).count();
    let values: u64 = results.iter().map(|(_, result)| result.compared).sum();
    let differing: u64 = results.iter().map(|(_, result)| result.differing).sum();
    let page = output::page();
    let all = plural(results.len() as u64, "recording");
    let verdict = if differing == 0 {
        format!("domains: {all}, all exact ({} compared)", plural(values, "value"))
    } else {
        format!("domains: {exact} of {all} exact; {} of {} values differ", count(differing), count(values))
    };
    let _ = writeln!(text, "{}", page.heading(&verdict));
    for (name, number) in skipped {
        let _ = writeln!(text, "{name}: {} not compared (not implemented yet)", plural(*number, "file"));
    }
    text
}

fn json(results: &[(&PathBuf, Conformance)], skipped: &[(&str, u64)]) -> String {
    let recordings: Vec<_> = results
        .iter()
        .map(|(path, result)| {
            let differences: Vec<_> = result
                .differences
                .iter()
                .map(|d| json!({"place": d.place, "recorded": d.recorded, "computed": d.computed}))
                .collect();
            json!({
                "file": path.display().to_string(),
                "name": result.name,
                "kernel": result.build,
                "part": "domains",
                "exact": result.is_exact(),
                "compared": result.compared,
                "differing": result.differing,
                "differences": differences,
            })
        })
        .collect();
    let skipped: Vec<_> = skipped.iter().map(|(part, files)| json!({"part": part, "files": files})).collect();
    format!("{:#}\n", json!({"recordings": recordings, "not_compared": skipped}))
}
