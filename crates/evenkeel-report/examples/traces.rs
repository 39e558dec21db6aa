#![allow(missing_docs, clippy::print_stdout)]
use evenkeel_formats::conform::traces::read_meta;
use evenkeel_report::conform::traces::*;
fn main() {
    let mut report = Report::default();
    let kernel = std::env::var("K").ok().and_then(|k| evenkeel::kernels::find(&k));
    for path in std::env::args().skip(1) {
        let set = read_meta(std::path::Path::new(&path)).unwrap();
        report.results.extend(compare_set(&set, kernel, SEEDS).unwrap());
    }
    print!("{report}");
}
