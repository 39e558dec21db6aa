#![allow(missing_docs, clippy::print_stdout)]
use evenkeel::topology::Machine;
use evenkeel_formats::conform::traces::read_meta;
use evenkeel_report::conform::traces::{measure::*, simulate::*};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    for dir in &args[1..2] {
        for topo in ["c4t2", "s2c2t2n2"] {
            let machine = if topo == "c4t2" { Machine::regular(1, 1, 4, 2, false) } else { Machine::regular(2, 1, 2, 2, true) };
            let Ok(set) = read_meta(std::path::Path::new(&format!("{dir}/{topo}/meta.json"))) else { continue };
            for run in &set.runs {
                if args.len() > 2 && args[2] != run.name { continue }
                let log = run.read_trace().unwrap();
                let window = Window { from: run.release.unwrap_or(run.start + 20_000_000), until: run.end, look: run.start + 20_000_000 + run.spec.duration };
                let show = |m: &Measures| println!("  {:4} ms n={} sw {} mig {} idle {:.2} iwo {:.2} first {:?} bal {:?} spread {:.2} {:?}", m.length/1000000, m.tasks, m.switches, m.migrations, m.idle, m.overloaded_idle, m.conserved_after.map(|x| x/1000000), m.balanced_after.map(|x|x/1000000), m.spread, m.finally);
                println!("{} {topo} {}", set.release, run.name);
                show(&measure(&log.records, 8, window));
                if set.release.starts_with("6.12") {
                    let kernel = evenkeel::kernels::find("6.12").unwrap();
                    let seeds: Vec<u64> = (0..10).collect();
                    match ensemble(&machine, kernel, &run.name, &run.spec, &seeds) { Ok(all) => for m in &all { print!("      "); show(m) }, Err(e) => println!("{e}") }
                }
            }
        }
    }
}
