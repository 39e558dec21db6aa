//! How long domain trees take to build, from 64 to 8192 CPUs.
//!
//! Machines have two threads a core, eight cores a cache, and nodes of 128 CPUs on a ring (distance 10 + 2 per hop) or
//! all equally far apart. Run with `cargo run --release -p evenkeel --example topology_scale`.
#![allow(clippy::print_stdout, clippy::disallowed_types)]
use evenkeel::kernels;
use evenkeel::topology::{Domains, Machine};
use std::time::Instant;

/// Nodes of at most 128 CPUs; distances by hops on a ring, or all 20.
fn machine(cpus: u32, ring: bool) -> Machine {
    let nodes = cpus.div_ceil(128);
    let mut machine = Machine::regular(nodes, cpus / nodes / 16, 8, 2, true);
    let n = machine.nr_nodes;
    for a in 0..n {
        for b in (0..n).filter(|&b| b != a && ring) {
            let hops = a.abs_diff(b).min(n - a.abs_diff(b)) as u32;
            machine.distances[a * n + b] = 10 + 2 * hops.min(4);
        }
    }
    machine
}

fn main() {
    println!("nodes      CPUs  build ms  us/CPU   domains    groups  capacities");
    for ring in [false, true] {
        for cpus in [64, 256, 1024, 4096, 8192] {
            let machine = machine(cpus, ring);
            let start = Instant::now();
            let domains = Domains::build(&machine, kernels::DEFAULT, 0).expect("the machine is valid");
            let elapsed = start.elapsed();
            println!(
                "{} {cpus:>8} {:>9} {:>7} {:>9} {:>9} {:>11}",
                if ring { "ring " } else { "equal" },
                elapsed.as_millis(),
                elapsed.as_micros() / u128::from(cpus),
                domains.domains.len(),
                domains.groups.len(),
                domains.capacities.len(),
            );
        }
    }
}
