//! The example files of the repository are read without a warning that was not meant, fit their machine, and are
//! told apart.
use evenkeel::workload::Workload;
use evenkeel_formats::load::{LoadedWorkload, WorkloadFormat, detect_format, load_workload};
use evenkeel_formats::rtapp::{Compat, Options};
use evenkeel_formats::{checks, machine};
use std::path::{Path, PathBuf};

fn examples(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(directory);
    let entries = std::fs::read_dir(&root).expect("the examples are part of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable example");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn load(path: &Path, text: &str, options: &Options) -> LoadedWorkload {
    load_workload(text, &path.to_string_lossy(), None, options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_scenario_names_a_machine_it_fits_and_lasts_a_second_or_two() {
    let examples = examples("scenarios");
    assert!(examples.len() >= 7);
    for (path, text) in examples {
        let LoadedWorkload::Scenario(scenario) = load(&path, &text, &Options::default()) else {
            panic!("{} is a scenario", path.display())
        };
        assert_eq!(scenario.warnings, [], "{}", path.display());
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        let machine = scenario.machine.expect("a machine");
        let ncpus = machine::load(&machine.text).expect("a machine that exists").cpus.len();
        checks::check_against(&scenario.workload, ncpus as u32).unwrap_or_else(|error| panic!("{error}"));
        let duration = scenario.duration.expect("a duration");
        assert!((1_000_000_000..=2_000_000_000).contains(&duration));
        assert_eq!(detect_format(&text, "-"), WorkloadFormat::Scenario);
        assert!(text.starts_with('#'), "{} begins by saying what it shows", path.display());
    }
}

#[test]
fn every_rt_app_file_is_read_in_both_dialects() {
    let examples = examples("rt-app");
    assert!(examples.len() >= 7);
    for (path, text) in examples {
        for compat in [Compat::V1_0, Compat::Master] {
            let options = Options { compat: Some(compat), ..Options::default() };
            let loaded = load(&path, &text, &options);
            checks::check_against(loaded.workload(), 4).unwrap_or_else(|error| panic!("{error}"));
            assert!(checks::ends_by_itself(loaded.workload()), "{} has a duration", path.display());
            // The second `run` of locks.json is there to be explained.
            let expected = usize::from(path.ends_with("locks.json"));
            assert_eq!(loaded.warnings().len(), expected, "{}: {:?}", path.display(), loaded.warnings());
        }
        assert_eq!(detect_format(&text, "-"), WorkloadFormat::RtApp);
    }
}

/// The demand the comment of duty.toml claims: 10 * 30% + 2 * 100% = 5 CPUs.
#[test]
fn the_duty_example_asks_for_five_cpus() {
    let (path, text) =
        examples("scenarios").into_iter().find(|(path, _)| path.ends_with("duty.toml")).expect("there");
    let loaded = load(&path, &text, &Options::default());
    let workload: &Workload = loaded.workload();
    let mut percent = 0;
    for task in &workload.tasks {
        use evenkeel::workload::Op;
        percent += task.instances
            * match task.program.phases[0].ops[..] {
                [Op::Run(run), Op::Timer(ref timer)] => (run * 100 / timer.period) as u32,
                [Op::Run(_)] => 100,
                _ => panic!("a periodic task or a spinner"),
            };
    }
    assert_eq!(percent, 500);
}
