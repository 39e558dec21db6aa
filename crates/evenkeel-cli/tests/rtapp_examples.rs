//! The example files that come with rt-app, run to their end or refused with the place of what is not supported.
//!
//! They are GPL, so they are read from Debian's package `rt-app` where that is installed, and never copied.

use assert_cmd::Command;
use std::path::{Path, PathBuf};

fn json_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(json_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn rt_app_examples_run_to_their_end_or_say_what_is_unsupported_and_where() {
    let files = json_files(Path::new("/usr/share/doc/rt-app"));
    if files.is_empty() {
        eprintln!("skipped: the package rt-app is not installed");
        return;
    }
    let mut ended = 0;
    for file in &files {
        let run = |more: &[&str]| {
            let mut command = Command::cargo_bin("evenkeel").unwrap();
            command.arg("run").arg(file).args(["--machine", "4 cores x 2 threads"]).args(more);
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), stderr)
        };
        let mut result = run(&[]);
        if result.2.contains("--for") {
            // It says itself that it goes on until it is stopped.
            result = run(&["--for", "5s"]);
        }
        let (code, stdout, stderr) = result;
        match code {
            Some(0) => {
                assert!(stdout.contains("work conservation"), "{}: {stdout}", file.display());
                ended += 1;
            }
            Some(2) => {
                let place = format!("{}:", file.display());
                assert!(stderr.contains(&place), "{} is refused without a place: {stderr}", file.display());
            }
            code => panic!("{}: exit code {code:?}: {stderr}", file.display()),
        }
    }
    assert!(ended >= 15, "only {ended} of {} ran", files.len());
}
