//! `docs/kernel-map.md` against the source: what it names exists, and its columns are the kernels there are.
#![allow(missing_docs)]
use evenkeel::kernels;
use std::fs;
use std::path::Path;

/// One row: the line number, and the cells without the blanks around them.
fn rows() -> Vec<(usize, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kernel-map.md");
    let text = fs::read_to_string(path).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = text.lines().enumerate().filter(|(_, line)| line.matches('|').count() > 5);
    rows.map(|(number, line)| (number + 1, cells(line))).collect()
}

fn is_rule(cells: &[String]) -> bool {
    cells.iter().all(|cell| cell.chars().all(|c| c == '-'))
}

fn functions() -> Vec<(usize, Vec<String>)> {
    let rows = rows().into_iter().filter(|(_, cells)| cells[0] != "kernel" && !is_rule(cells));
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 80);
    rows
}

#[test]
fn columns_are_the_kernels() {
    let mut expected = vec!["kernel", "here", "file"];
    expected.extend(kernels::ALL.map(|kernel| kernel.alias));
    let rows = rows();
    let heads: Vec<_> = rows.iter().filter(|(_, cells)| cells[0] == "kernel").collect();
    assert_eq!(heads.len(), 5);
    for (line, cells) in heads {
        assert_eq!(cells, &expected, "line {line}");
    }
}

#[test]
fn every_function_is_where_the_map_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evenkeel/src");
    for (line, cells) in functions() {
        let (name, file) = (cells[1].trim_matches('`'), &cells[2]);
        let text =
            fs::read_to_string(source.join(file)).unwrap_or_else(|_| panic!("line {line}: no file {file}"));
        let found = text
            .match_indices(&format!("fn {name}"))
            .any(|(at, found)| matches!(text[at + found.len()..].chars().next(), Some('(' | '<')));
        assert!(found, "line {line}: there is no function `{name}` in {file}");
    }
}

#[test]
fn cells_are_words_of_the_legend_and_nothing_that_runs_is_left_for_later() {
    for (line, cells) in functions() {
        assert_eq!(cells.len(), 3 + kernels::ALL.len(), "line {line}");
        for (kernel, cell) in kernels::ALL.iter().zip(&cells[3..]) {
            let known = ["same", "variant", "absent", "later"].contains(&cell.as_str());
            assert!(known, "line {line}: `{cell}` is no word of the legend");
            assert!(
                cell != "later" || !kernel.runs,
                "line {line}: {} runs, so its behaviour is known: say same, variant or absent",
                kernel.build
            );
            assert!(
                kernel.build != kernels::DEFAULT.build || cell == "same" || cell == "absent",
                "line {line}: the base is what the others are compared with"
            );
        }
    }
}
