//! `evenkeel conform`: what is computed here against what real kernels did.
use crate::inputs::{self, KERNEL_HELP};
use crate::output::{self, Answer};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use core::fmt::Write as _;
use evenkeel::kernel::Kernel;
use evenkeel_formats::conform::traces::read_meta;
use evenkeel_formats::conform::{decisions, domains};
use evenkeel_formats::recording;
use evenkeel_report::conform::traces;
use evenkeel_report::units::{count, plural};
use serde_json::{Value, json};
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
  evenkeel conform crates/evenkeel-formats/tests/data/decisions
  evenkeel conform crates/evenkeel-report/tests/data/traces/6.12/s2c2t2n2
  evenkeel conform my-recordings --only domains --kernel v6.18

What is compared today: `domains`, the domain trees, features and tunables in files called sched.json or
sched.json.gz; `lb`, single decisions of balancing passes in files called lb.jsonl or lb.jsonl.gz, whose
machine is described by the sched.json beside them or in the same place below domains/ instead of decisions/;
and `traces`, whole runs, described by a meta.json, each against ten simulated ones: medians have to lie in the
recorded range, widened by what repeated recordings differ. The other parts are refused until they are modelled.";

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
    (Part::Traces, "traces", "meta.json"),
];

/// The result for one file.
enum Outcome {
    Domains(domains::Conformance),
    Lb(decisions::Report),
    Traces(traces::Report),
}

impl Outcome {
    fn part(&self) -> Part {
        match self {
            Self::Domains(_) => Part::Domains,
            Self::Lb(_) => Part::Lb,
            Self::Traces(_) => Part::Traces,
        }
    }

    fn is_exact(&self) -> bool {
        match self {
            Self::Domains(result) => result.is_exact(),
            Self::Lb(result) => result.is_exact(),
            Self::Traces(result) => result.conforms(),
        }
    }

    /// What was compared (values, searches, measures), and how much of it differs.
    fn compared(&self) -> (u64, u64) {
        match self {
            Self::Domains(result) => (result.compared, result.differing),
            Self::Lb(result) => {
                let total = result.total();
                (total.exact + total.differing, total.differing)
            }
            Self::Traces(result) => {
                let (judged, outside) = result.judged();
                (judged as u64, outside as u64)
            }
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let kernel = args.kernel.as_deref().map(inputs::kernel).transpose()?;
    let compares = |part| part != Part::Select;
    if let Some((_, name, _)) = PARTS.iter().find(|(part, ..)| args.only == Some(*part) && !compares(*part)) {
        bail!("comparing `{name}` is not implemented yet; what is: domains, lb, traces");
    }
    let mut files = Vec::new();
    find(&args.path, &mut files).with_context(|| format!("cannot read {}", args.path.display()))?;
    files.sort();
    let (mut results, mut skipped) = (Vec::new(), Vec::new());
    for (part, name, _) in PARTS {
        if args.only.is_some_and(|only| only != part) {
            continue;
        }
        let mut not_compared = 0;
        for (_, path) in files.iter().filter(|(of, _)| *of == part) {
            match compare(part, path, kernel)? {
                Some(outcome) => results.push((path, outcome)),
                None => not_compared += 1,
            }
        }
        if not_compared > 0 {
            skipped.push((name, not_compared));
        }
    }
    if results.is_empty() {
        let others: Vec<&str> = skipped.iter().map(|(name, _)| *name).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            names => format!("; comparing {} of these kernels is not implemented yet", names.join(", ")),
        };
        let place = args.path.display();
        bail!(
            "{place}: found no sched.json, lb.jsonl (or either with .gz) or meta.json to compare with{others}"
        );
    }
    let text = match args.format {
        Format::Text => text(&results, &skipped),
        Format::Json => json(&results, &skipped),
    };
    Ok(Answer { text, differences: results.iter().any(|(_, result)| !result.is_exact()) })
}

/// Compares one file; none if that is not modelled.
fn compare(part: Part, path: &Path, kernel: Option<&Kernel>) -> Result<Option<Outcome>> {
    match part {
        Part::Domains => {
            let recording = recording::read(path)?;
            let kernel = kernel.unwrap_or(recording.kernel);
            Ok(Some(Outcome::Domains(domains::compare_with(&recording, kernel))))
        }
        Part::Lb => {
            let place = path.display();
            let machine = recording::decisions::machine_of(path)
                .with_context(|| format!("{place}: found no sched.json that describes its machine"))?;
            let recording = recording::read(&machine)?;
            let kernel = kernel.unwrap_or(recording.kernel);
            let records = recording::decisions::read_lb(path)?;
            let report = decisions::compare(&recording, kernel, &records)
                .with_context(|| format!("{}: no domains for this machine", machine.display()))?;
            Ok(Some(Outcome::Lb(report)))
        }
        Part::Traces => {
            let set = read_meta(path)?;
            let results = traces::compare_set(&set, kernel, traces::SEEDS)
                .with_context(|| format!("{}: cannot be compared", path.display()))?;
            Ok(Some(Outcome::Traces(traces::Report { results })))
        }
        Part::Select => Ok(None),
    }
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
    // Many a meta.json describes something else.
    let is_part = |part: &&(Part, &str, &str)| part.2 == name && (part.0 != Part::Traces || has_traces(path));
    found.extend(PARTS.iter().filter(is_part).map(|part| (part.0, path.to_owned())));
    Ok(())
}

/// Whether traces lie beside a file.
fn has_traces(path: &Path) -> bool {
    let entries = path.parent().and_then(|directory| std::fs::read_dir(directory).ok());
    let mut names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().ends_with(".ftrace.gz"))
}

fn text(results: &[(&PathBuf, Outcome)], skipped: &[(&str, u64)]) -> String {
    let (mut text, page) = (String::new(), output::page());
    for (part, name, _) in PARTS {
        let of: Vec<&Outcome> =
            results.iter().map(|(_, result)| result).filter(|result| result.part() == part).collect();
        if of.is_empty() {
            continue;
        }
        if part == Part::Traces {
            traces_text(&mut text, &of);
            continue;
        }
        let unit = if part == Part::Domains { "value" } else { "search" };
        for result in &of {
            let _ = match result {
                Outcome::Domains(result) => writeln!(text, "{result}"),
                Outcome::Lb(result) => write!(text, "{result}"),
                Outcome::Traces(result) => write!(text, "{result}"),
            };
        }
        let exact = of.iter().filter(|result| result.is_exact()).count();
        let (compared, differing) =
            of.iter().map(|result| result.compared()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let all = plural(of.len() as u64, "recording");
        let units =
            if unit == "value" { plural(compared, unit) } else { format!("{} searches", count(compared)) };
        let verdict = if differing == 0 {
            format!("{name}: {all}, all exact ({units} compared)")
        } else {
            format!("{name}: {exact} of {all} exact; {} of {units} differ", count(differing))
        };
        let _ = writeln!(text, "{}", page.heading(&verdict));
    }
    for (name, number) in skipped {
        let _ = writeln!(text, "{name}: {} not compared (not implemented yet)", plural(*number, "file"));
    }
    text
}

/// The tables of all recorded runs, then their totals.
fn traces_text(text: &mut String, results: &[&Outcome]) {
    let mut all = traces::Report::default();
    for result in results {
        if let Outcome::Traces(result) = result {
            all.results.extend_from_slice(&result.results);
        }
    }
    let _ = write!(text, "{all}");
    let _ = writeln!(text, "{}", output::page().heading(&format!("traces: {}", all.summary())));
}

fn json(results: &[(&PathBuf, Outcome)], skipped: &[(&str, u64)]) -> String {
    let recordings: Vec<Value> = results.iter().map(|(path, result)| json_of(path, result)).collect();
    let skipped: Vec<_> = skipped.iter().map(|(part, files)| json!({"part": part, "files": files})).collect();
    format!("{:#}\n", json!({"recordings": recordings, "not_compared": skipped}))
}

fn json_of(path: &Path, result: &Outcome) -> Value {
    let (compared, differing) = result.compared();
    let (name, build, part, differences) = match result {
        Outcome::Traces(result) => {
            let build = result.results.first().map_or("unknown", |result| result.kernel);
            return json!({
                "file": path.display().to_string(),
                "kernel": build,
                "part": "traces",
                "exact": result.conforms(),
                "compared": compared,
                "differing": differing,
                "workloads": result.results,
            });
        }
        Outcome::Domains(result) => {
            let differences = result.differences.iter();
            let one = |d: &domains::Difference| json!({"place": d.place, "recorded": d.recorded, "computed": d.computed});
            (&result.name, result.build, "domains", differences.map(one).collect::<Vec<_>>())
        }
        Outcome::Lb(result) => {
            let differences = result.differences.iter().take(decisions::DIFFERENCES_MAX);
            let one = |d: &decisions::Difference| {
                let place = format!("{}: {:?} {}", d.place, d.checked, d.field);
                json!({"place": place, "recorded": d.recorded, "computed": d.computed})
            };
            (&result.name, result.build, "lb", differences.map(one).collect())
        }
    };
    let mut object = json!({
        "file": path.display().to_string(),
        "name": name,
        "kernel": build,
        "part": part,
        "exact": result.is_exact(),
        "compared": compared,
        "differing": differing,
        "differences": differences,
    });
    if let Outcome::Lb(result) = result {
        let types = result.by_type.iter().map(|((busiest, local), tally)| {
            json!({"busiest": busiest, "local": local, "exact": tally.exact, "differing": tally.differing})
        });
        object["by_type"] = types.collect();
        object["tasks"] = result.tasks.into();
        object["inferred"] =
            result.inferred.iter().map(|(what, number)| (format!("{what:?}"), json!(number))).collect();
    }
    object
}
