//! The command line from outside: exit codes, and what is said to whom.
#![allow(missing_docs)]
use assert_cmd::Command;
use expect_test::{Expect, expect};
use std::path::Path;

/// Runs `evenkeel` in the workspace's directory.
fn evenkeel(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("evenkeel").unwrap();
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let output = command.args(args).env("COLUMNS", "100").env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The command fails with code 2, says this on stderr and nothing on stdout.
fn refused(args: &[&str], expected: Expect) {
    let (code, stdout, stderr) = evenkeel(args);
    expected.assert_eq(&stderr);
    assert_eq!((code, stdout.as_str()), (2, ""));
}

/// The command succeeds silently but for its answer.
fn answer(args: &[&str]) -> String {
    let (code, stdout, stderr) = evenkeel(args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = answer(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> =
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect();
    assert!(names.len() >= 7, "{names:?}");
    names
}

#[test]
fn every_command_has_help_with_examples() {
    for name in commands() {
        let help = answer(&[&name, "--help"]);
        assert!(help.contains("Examples:\n  evenkeel "), "`{name} --help` has no examples:\n{help}");
    }
}

#[test]
fn no_line_of_help_is_longer_than_the_terminal() {
    for command in commands() {
        let help = answer(&[&command, "--help"]);
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn kernels_are_listed_with_what_they_can_do() {
    let (_, text, _) = evenkeel(&["kernels"]);
    for kernel in evenkeel::kernels::ALL {
        let line = text.lines().find(|line| line.starts_with(kernel.build)).unwrap();
        assert_eq!(line.contains("run"), kernel.runs, "{line}");
        assert_eq!(line.contains("default"), kernel.build == evenkeel::kernels::DEFAULT.build, "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&answer(&["kernels", "--format", "json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), evenkeel::kernels::ALL.len());
}

#[test]
fn a_machine_is_shown_in_words_and_sets() {
    expect![[r#"
        2 sockets x 2 llc x 2 cores x 2 threads
          2 sockets x 2 LLCs x 2 cores x 2 threads = 16 CPUs, 2 nodes (distance 10/20)
          from one-line form

        shared            number  CPUs of each
        package                2  0-7 | 8-15
        die                    2  0-7 | 8-15
        node                   2  0-7 | 8-15
        last-level cache       4  0-3 | 4-7 | 8-11 | 12-15
        core                   8  0-1 | 2-3 | 4-5 | 6-7 ...

        node  distance to nodes 0, 1 ...
        0     10 20
        1     20 10
    "#]]
    .assert_eq(&answer(&["machine", "show", "2 sockets x 2 llc x 2 cores x 2 threads"]));
}

#[test]
fn a_machine_is_saved_and_not_overwritten_by_accident() {
    let path = format!("{}/saved-machine.toml", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&path);
    let save = ["machine", "save", &path, "--machine", "epyc-7763-2s-nps4"];
    assert!(answer(&save).starts_with("saved epyc-7763-2s-nps4: "));
    let first = std::fs::read(&path).unwrap();
    let (code, stdout, stderr) = evenkeel(&["machine", "save", &path, "--machine", "c2"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("exists; `--force` overwrites it"), "{stderr}");
    assert_eq!(std::fs::read(&path).unwrap(), first);
    let text = answer(&["topo", "--machine", "epyc-7763-2s-nps4", "--diff", &path]);
    assert!(text.ends_with("no difference\n"), "what was saved is the same machine: {text}");
    answer(&["machine", "save", &path, "--machine", "c2", "--force"]);
    assert_ne!(std::fs::read(&path).unwrap(), first);
}

#[test]
fn every_preset_that_is_listed_can_be_shown() {
    let list = answer(&["machine", "list"]);
    for preset in evenkeel_formats::machine::presets() {
        assert!(list.lines().any(|line| line.split(' ').next() == Some(preset.name)), "{}", preset.name);
        assert!(answer(&["machine", "show", preset.name]).starts_with(preset.name));
    }
}

#[test]
fn unknown_names_get_a_hint() {
    refused(
        &["conform", "crates", "--kernel", "v6.21"],
        expect![[r#"
            evenkeel: `v6.21` is not a kernel that is known here (v4.19, v5.15, v6.1, v6.12, v6.18, v7.2); did you mean `v6.1`?
        "#]],
    );
    refused(
        &["conform", "crates", "--kernel", "host"],
        expect![[r#"
            evenkeel: `host` is not a kernel that can be computed: name the build that is nearest to yours (v4.19, v5.15, v6.1, v6.12, v6.18, v7.2)
        "#]],
    );
    let (code, _, stderr) = evenkeel(&["machine", "show", "epyc-9654"]);
    assert!(code == 2 && stderr.contains("did you mean epyc-9654-2s?"), "{stderr}");
}

#[test]
fn a_faulty_machine_is_shown_with_line_and_column() {
    refused(
        &["machine", "show", "2 sockets x 8 cors"],
        expect![[r#"
            evenkeel: machine, line 1, column 15: expected a unit (sockets, nodes, dies, llc, clusters, cores, threads or cpus), found `cors`
              2 sockets x 8 cors
                            ^
        "#]],
    );
}

#[test]
fn domain_trees_have_every_format() {
    for format in ["tree", "json", "debugfs", "schedstat"] {
        let text = answer(&["topo", "--machine", "c4t2", "--format", format]);
        assert!(text.contains("SMT") || format == "schedstat", "{text}");
    }
    let json = answer(&["topo", "--machine", "c4t2", "--format", "json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
}

#[test]
fn a_diff_of_domains_names_both_sides_and_tells_by_exit_code() {
    // Above the cache v4.19 tolerates imbalances of 25 % and busy CPUs balance half as often (spec 1 §5).
    let (code, text, _) =
        evenkeel(&["topo", "--machine", "s2c2t2n2", "--kernel", "v4.19", "--diff", "v6.12"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("from v4.19.0 on s2c2t2n2: 2 sockets"), "{text}");
    assert!(text.lines().any(|line| line.contains("busy_factor") && line.ends_with("32 -> 16")), "{text}");
    let text = answer(&["topo", "--machine", "c4t2", "--diff", "6.12.117"]);
    assert!(text.ends_with("no difference\n"), "{text}");
}

const SKEW16: &str = "examples/scenarios/skew16.toml";

#[test]
fn every_example_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for directory in ["examples/scenarios", "examples/rt-app"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = format!("{directory}/{}", entry.unwrap().file_name().to_string_lossy());
            // A machine that has the CPUs and the levels every example asks for.
            let (code, stdout, stderr) =
                evenkeel(&["run", &path, "--machine", "2 llc x 4 cores x 2 threads"]);
            assert_eq!(code, 0, "{path}: {stderr}");
            assert!(stdout.contains("work conservation"), "{path}: {stdout}");
        }
    }
}

/// The README prints what the tool prints; `UPDATE_EXPECT=1 cargo test -p evenkeel-cli` brings it up to date.
fn sample_in_readme(output: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```text\n").unwrap();
    let (sample, after) = rest.split_once("```").unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() && sample != output {
        std::fs::write(&path, format!("{before}```text\n{output}```{after}")).unwrap();
        return;
    }
    assert_eq!(sample, output, "results have changed: UPDATE_EXPECT=1 brings the README up to date");
}

#[test]
fn the_first_answer_of_the_readme() {
    let text = answer(&["run", SKEW16]);
    sample_in_readme(&text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "skew16");
    assert_eq!(lines[1], "  machine   1 socket x 4 cores x 2 threads = 8 CPUs");
    assert_eq!(lines[2], "  kernel    v6.12.117");
    assert!(lines[3].starts_with("  run       16 tasks for 1.5s; seed 1; "), "{text}");
    // One CPU has work for the first 250 ms, then all eight: 0.25 + 8 * 1.25 s of CPU time are used or wasted.
    let json: serde_json::Value =
        serde_json::from_str(&answer(&["run", SKEW16, "--format", "json"])).unwrap();
    let run = json["definitions"][0]["run_ns"]["sum"].as_u64().unwrap();
    let wasted = json["conservation"]["wasted_ns"].as_u64().unwrap();
    assert!((10_200_000_000..=10_250_000_000).contains(&(run + wasted)), "{run} {wasted}");
    let busy: u64 = json["cpus"].as_array().unwrap().iter().map(|cpu| cpu["busy_ns"].as_u64().unwrap()).sum();
    let tasks = json["tasks"].as_array().unwrap().iter().map(|task| task["run_ns"].as_u64().unwrap());
    assert_eq!(busy, tasks.sum::<u64>(), "what tasks ran is what CPUs were busy");
}

#[test]
fn the_same_four_give_the_same_bytes() {
    let run = |more: &[&str]| answer(&[&["run", SKEW16, "--digest"], more].concat());
    let first = run(&[]);
    assert_eq!(first, run(&[]));
    let digest = |text: &str| text.lines().last().unwrap().strip_prefix("digest ").unwrap().to_owned();
    assert_eq!(digest(&first).len(), 32);
    assert_ne!(digest(&first), digest(&run(&["--set", "features.PLACE_LAG=off"])));
    assert_ne!(digest(&first), digest(&run(&["--machine", "8 cores"])));
}

/// Collects the names of all fields.
fn fields(value: &serde_json::Value, names: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                fields(value, names);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_is_documented() {
    let text = answer(&["run", SKEW16, "--format", "json", "--digest", "--set", "cost=server"]);
    let mut names = std::collections::BTreeSet::new();
    fields(&serde_json::from_str(&text).unwrap(), &mut names);
    assert!(names.len() > 60, "{names:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let documented = std::fs::read_to_string(root.join("docs/json.md")).unwrap();
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "docs/json.md does not know `{name}`");
    }
}

#[test]
fn every_command_of_the_documents_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let ci = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    let mut runs = 0;
    let shell = readme.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    for line in shell.flat_map(str::lines) {
        if let Some(arguments) = line.strip_prefix("cargo run --release -p evenkeel-cli -- ") {
            answer(&arguments.split(' ').collect::<Vec<_>>());
            runs += 1;
        } else {
            assert!(ci.lines().any(|of_ci| of_ci == line), "`.ci/run` does what the README says: {line}");
        }
    }
    assert!(runs > 2);
    let runs = evenkeel::kernels::ALL.iter().filter(|kernel| kernel.runs).map(|kernel| kernel.build);
    let claim = format!("`evenkeel kernels` says: {} today", runs.collect::<Vec<_>>().join(", "));
    assert!(readme.contains(&claim), "README.md has to say: {claim}");
    for (path, _) in readme.match_indices("](").map(|(at, _)| readme[at + 2..].split_once(')').unwrap()) {
        assert!(path.starts_with("http") || root.join(path).exists(), "README.md points to {path}");
    }
    // The examples in the help texts.
    for command in commands() {
        let help = answer(&[&command, "--help"]);
        let lines = help.lines().filter_map(|line| line.strip_prefix("  evenkeel "));
        for line in lines.filter(|line| !line.contains("host") && !line.contains(" my-") && *line != "topo") {
            let quoted = line.split('\'').enumerate();
            let arguments: Vec<&str> = quoted
                .flat_map(
                    |(index, part)| {
                        if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
                    },
                )
                .collect();
            let (code, _, stderr) = evenkeel(&arguments);
            // Recorded runs have measures that are known to differ.
            let recorded_runs = arguments.iter().any(|argument| argument.contains("data/traces"));
            let expected = i32::from(arguments.contains(&"--diff") || recorded_runs);
            assert_eq!(code, expected, "evenkeel {line}: {stderr}");
        }
    }
}

#[test]
fn the_command_line_overrides_the_scenario() {
    let args =
        ["run", SKEW16, "--machine", "c2", "--for", "300ms", "--seed", "9", "--set", "cost=zero", "--digest"];
    let text = answer(&args);
    for part in ["machine   c2: ", "16 tasks for 300ms; seed 9; ", "settings  cost=zero", "digest "] {
        assert!(text.contains(part), "`{part}` is missing:\n{text}");
    }
}

#[test]
fn all_tasks_are_listed_on_demand() {
    let folded = answer(&["run", SKEW16]);
    let all = answer(&["run", SKEW16, "--tasks", "all"]);
    let of = |text: &str, name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((of(&folded, "spin"), of(&all, "spin-")), (1, 16));
}

/// Writes a workload into a directory of its own.
fn workload(name: &str, text: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("w.toml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// Running the scenario fails with code 2; the directory is left out of the message.
fn run_refused(name: &str, text: &str, more: &[&str], expected: Expect) {
    let path = workload(name, text);
    let (code, stdout, stderr) = evenkeel(&[&["run", &path], more].concat());
    expected.assert_eq(&stderr.replace(&path, "w.toml"));
    assert_eq!((code, stdout.as_str()), (2, ""));
}

const ENDLESS: &str = "machine = \"c2\"\n[[task]]\nname = \"a\"\nrun = \"forever\"\n";

#[test]
fn a_run_without_end_is_refused() {
    run_refused(
        "endless",
        ENDLESS,
        &[],
        expect![[r#"
            evenkeel: task `a` never ends and nothing says how long to run: give a time, such as `--for 10s`
        "#]],
    );
}

#[test]
fn faults_of_a_scenario_are_shown_in_it() {
    let scenario = |line: &str| format!("{line}\n{ENDLESS}").replace("machine = \"c2\"\n", "");
    run_refused(
        "unknown_kernel",
        &scenario("kernel = \"6.21\""),
        &[],
        expect![[r#"
            evenkeel: `6.21` is not a kernel that is known here (v4.19, v5.15, v6.1, v6.12, v6.18, v7.2)
             --> w.toml:1:10
              |
            1 | kernel = "6.21"
              |          ^^^^^^ expected what --kernel accepts
        "#]],
    );
    run_refused(
        "unknown_setting",
        &scenario("set.migration_cost = 5"),
        &["--for", "1s", "--machine", "c2"],
        expect![[r#"
            evenkeel: `migration_cost` is not a setting; did you mean `migration_cost_ns`?
             --> w.toml:1:5
              |
            1 | set.migration_cost = 5
              |     ^^^^^^^^^^^^^^ expected a setting that --set accepts
        "#]],
    );
    run_refused(
        "impossible_cpu",
        "[[task]]\nname = \"a\"\naffinity = 9\nrun = \"1ms\"\n",
        &["--machine", "c2"],
        expect![[r#"
            evenkeel: task `a`: its affinity names CPU 9, but the machine has CPUs 0-1
             --> w.toml:1:1
              |
            1 | [[task]]
              | ^
        "#]],
    );
}

#[test]
fn values_of_options_are_checked() {
    let (code, _, stderr) = evenkeel(&["run", SKEW16, "--for", "10"]);
    assert!(code == 2 && stderr.contains("expected a time such as 10s or 250ms"), "{stderr}");
    refused(
        &["run", SKEW16, "--set", "hz=50"],
        expect![[r#"
            evenkeel: --set: hz=50: expected a whole number from 100 to 1000
        "#]],
    );
    refused(
        &["run", "no-such-file.toml"],
        expect![[r#"
            evenkeel: cannot read no-such-file.toml: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn the_long_help_lists_every_setting() {
    let help = answer(&["run", "--help"]);
    for key in ["migration_cost_ns=TIME", "delay.resched_ipi=TIME", "features.NAME=on | off", "NI_RANDOM"] {
        assert!(help.contains(key), "{key}");
    }
}

const DOMAINS: &str = "crates/evenkeel-formats/tests/data/domains";

#[test]
fn conformance_is_exit_code_0_and_a_difference_is_1() {
    let directory = format!("{DOMAINS}/6.18");
    let text = answer(&["conform", &directory]);
    assert!(text.contains("6.18.15+deb13-amd64 n4ring: exact ("), "{text}");
    assert!(text.lines().last().unwrap().starts_with("domains: 15 recordings, all exact ("), "{text}");
    // 7.2 takes intervals from the span, 6.18 from all CPUs (spec 1 §16), so the wrong kernel must be found out.
    let file = format!("{DOMAINS}/7.2/c8isol/sched.json.gz");
    let (code, text, _) = evenkeel(&["conform", &file, "--kernel", "v6.18"]);
    assert!(code == 1 && text.contains("cpu0 domain0 min_interval: recorded `6`, computed `8`"), "{text}");
    let (code, text, _) = evenkeel(&["conform", &file, "--kernel", "v6.18", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["recordings"][0]["exact"]), (1, &serde_json::Value::Bool(false)));
}

#[test]
fn balancing_decisions_are_compared_search_by_search() {
    let directory = "crates/evenkeel-formats/tests/data/decisions";
    let text = answer(&["conform", directory, "--only", "lb"]);
    assert!(text.contains("6.12.117+deb12-amd64 c4t2: 1492 records, 1469 searches, 1469 exact"), "{text}");
    assert!(text.contains("lb: 6 recordings, all exact (8,069 searches compared)"), "{text}");
    let json = answer(&["conform", directory, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["recordings"][1]["part"], &json["recordings"][1]["differing"]),
        (&"lb".into(), &0.into())
    );
}

#[test]
fn recorded_runs_are_compared_measure_by_measure() {
    let directory = "crates/evenkeel-report/tests/data/traces/6.12/s2c2t2n2";
    let (code, text, _) = evenkeel(&["conform", directory]);
    assert!(text.starts_with("6.12.117+deb12-amd64 s2c2t2n2 skew16 (v6.12.117)\n"), "{text}");
    // Each measure outside its bounds is told with its cause, counted at the end, and decides the exit code.
    let outside: Vec<&str> = text.lines().filter(|line| line.contains(" OUTSIDE ")).collect();
    assert!(
        outside.iter().all(|line| line.split_once(": ").is_some_and(|(_, cause)| !cause.is_empty())),
        "{text}"
    );
    let mut workload = "";
    for line in text.lines() {
        workload = if line.starts_with(' ') { workload } else { line };
        // Pairs that wake each other are the known exception.
        assert!(!line.contains(" OUTSIDE ") || workload.contains(" pingpong "), "{workload}: {line}");
    }
    let within = text.lines().filter(|line| line.ends_with(" ok")).count();
    let count = format!("traces: {within} of {} judged measures conform\n", within + outside.len());
    assert!(text.ends_with(&count), "{text}");
    assert_eq!(code, i32::from(!outside.is_empty()), "{text}");
    let (_, json, _) = evenkeel(&["conform", directory, "--only", "traces", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let workload = &json["recordings"][0]["workloads"][1];
    assert_eq!(workload["name"], "6.12.117+deb12-amd64 s2c2t2n2 fork12");
    assert_eq!(workload["outcome"]["compared"][0]["verdict"], "within");
}

#[test]
fn conform_refuses_what_it_cannot_compare() {
    refused(
        &["conform", "crates/evenkeel/src"],
        expect![[r#"
            evenkeel: crates/evenkeel/src: found no sched.json, lb.jsonl (or either with .gz) or meta.json to compare with
        "#]],
    );
    refused(
        &["conform", "no-such-directory"],
        expect![[r#"
            evenkeel: cannot read no-such-directory: No such file or directory (os error 2)
        "#]],
    );
    refused(
        &["conform", DOMAINS, "--only", "select"],
        expect![[r#"
            evenkeel: comparing `select` is not implemented yet; what is: domains, lb, traces
        "#]],
    );
}

#[test]
fn packagers_get_completions_and_manual_pages() {
    assert!(answer(&["generate", "completions", "bash"]).contains("evenkeel"));
    let directory = format!("{}/man", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&directory).unwrap();
    answer(&["generate", "man", &directory]);
    let page = std::fs::read_to_string(format!("{directory}/evenkeel-run.1")).unwrap();
    assert!(page.contains("migration_cost_ns"), "the manual page lists the settings");
    assert!(!answer(&["--help"]).contains("generate"));
}

#[test]
fn nobody_reading_is_not_an_error() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("evenkeel"))
        .args(["machine", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
