//! Order in the house: what every file, manifest and document has to keep to.
#![allow(missing_docs)]
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files may have this many lines; those with more are in [`LONGER`] with the size they must not exceed.
const LINES_MAX: usize = 800;
/// Tests, which are mostly examples one after the other, may have this many.
const TEST_LINES_MAX: usize = 1000;
/// Longer files with their present size. Numbers here only go down.
const LONGER: [(&str, usize); 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All text files of the project by path, without what builds leave behind.
fn texts() -> BTreeMap<String, String> {
    fn walk(directory: &Path, root: &Path, texts: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if matches!(name.as_str(), "target" | ".git") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, texts);
            } else if let Ok(text) = fs::read_to_string(&path) {
                texts.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text);
            }
        }
    }
    let mut texts = BTreeMap::new();
    walk(&root(), &root(), &mut texts);
    assert!(texts.len() > 50, "the project's files were found");
    texts
}

fn rust(texts: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (path.as_str(), text.as_str()))
}

/// The crates: directory name and manifest.
fn crates(texts: &BTreeMap<String, String>) -> Vec<(&str, toml::Table)> {
    let manifests = texts.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
        Some((name, text.parse().unwrap()))
    });
    let crates: Vec<_> = manifests.collect();
    assert!(crates.len() >= 5);
    crates
}

fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    manifest.get("dependencies").and_then(toml::Value::as_table).unwrap().keys().map(String::as_str).collect()
}

#[test]
fn kernel_versions_are_known_in_one_place() {
    // A version number is a value in `kernels/`, not a test elsewhere. Comments may name one as an example.
    let texts = texts();
    let core = rust(&texts).filter(|(path, _)| path.starts_with("crates/evenkeel/src/"));
    let is_code =
        |path: &str| !path.starts_with("crates/evenkeel/src/kernels/") && !path.ends_with("tests.rs");
    for (path, text) in core.filter(|(path, _)| is_code(path)) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            let version = [
                "v4_19", "v5_15", "v6_", "v7_", "V4_19", "V5_15", "V6_", "V7_", "\"v4.", "\"v5.", "\"v6.",
                "\"v7.",
            ];
            let found = version.iter().find(|version| line.contains(**version));
            assert!(found.is_none(), "{path}:{}: knows kernel version {found:?}", number + 1);
        }
    }
}

#[test]
fn files_stay_short() {
    for (path, text) in rust(&texts()) {
        let longer = LONGER.iter().find(|(known, _)| *known == path).map(|(_, lines)| *lines);
        let usual = if path.contains("/tests/") { TEST_LINES_MAX } else { LINES_MAX };
        let (lines, limit) = (text.lines().count(), longer.unwrap_or(usual));
        assert!(lines <= limit, "{path} has {lines} lines, at most {limit} are allowed: divide it");
        assert!(longer.is_none() || lines > usual, "{path} is short now: take it off the list");
    }
    for (path, _) in LONGER {
        assert!(root().join(path).exists(), "{path} is gone: take it off the list");
    }
}

#[test]
fn nothing_is_unfinished_or_tied_to_a_build_machine() {
    // Put together here, so that this file does not contain them.
    let words = [
        ["to", "do!("],
        ["unimple", "mented!("],
        ["FIX", "ME"],
        ["/home", "/"],
        ["/wor", "k/"],
        ["/ro", "ot/"],
    ];
    for (path, text) in &texts() {
        if path == "Cargo.lock" {
            continue;
        }
        for word in words.map(|parts| parts.concat()) {
            let line = text.lines().position(|line| line.contains(&word));
            assert!(line.is_none(), "{path}:{}: `{word}`", line.unwrap_or(0) + 1);
        }
    }
}

#[test]
fn crates_take_lints_and_facts_from_the_workspace() {
    let texts = texts();
    for (name, manifest) in crates(&texts) {
        let workspace =
            |table: &toml::Table| table.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert!(manifest["lints"].as_table().is_some_and(workspace), "{name}: [lints] workspace = true");
        let package = manifest["package"].as_table().unwrap();
        for key in ["version", "edition", "rust-version", "license", "authors", "publish"] {
            assert!(package[key].as_table().is_some_and(workspace), "{name}: {key}.workspace = true");
        }
        assert!(package["description"].as_str().is_some_and(|text| text.len() > 20), "{name}: description");
    }
    let core = &texts["crates/evenkeel/src/lib.rs"];
    assert!(core.contains("#![no_std]") && core.contains("clippy::float_arithmetic"));
}

#[test]
fn dependencies_point_one_way() {
    let texts = texts();
    let own = |manifest: &toml::Table| -> Vec<String> {
        dependencies(manifest)
            .into_iter()
            .filter(|name| name.starts_with("evenkeel"))
            .map(str::to_owned)
            .collect()
    };
    for (name, manifest) in crates(&texts) {
        let allowed: &[&str] = match name {
            "evenkeel" => &[],
            "evenkeel-sim" | "evenkeel-formats" => &["evenkeel"],
            "evenkeel-report" => &["evenkeel", "evenkeel-sim", "evenkeel-formats"],
            "evenkeel-cli" => &["evenkeel", "evenkeel-sim", "evenkeel-formats", "evenkeel-report"],
            _ => panic!("{name}: a new crate; say here what it may depend on"),
        };
        for dependency in own(&manifest) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
        if name == "evenkeel" {
            assert_eq!(dependencies(&manifest), ["bitflags"], "the core depends on nothing else");
        }
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let words =
        ["std::fs", "std::io", "std::net", "std::time", "HashMap", "HashSet", "Instant::", "SystemTime"];
    for (path, text) in rust(&texts()).filter(|(path, _)| path.starts_with("crates/evenkeel/src/")) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            let found = words.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{path}:{}: {found:?} in the core", number + 1);
        }
    }
}
