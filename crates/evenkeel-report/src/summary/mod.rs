//! The report of one run: what was run, what every task and CPU did, how balancing went, whether work was conserved.
//!
//! [`RunReport`] is plain data with everything in it; [`RunReport::to_json`] writes all of it (documented in
//! `docs/json.md`), [`text::render`] a page for people. [`RunReport::new`] collects it from a simulation.
//!
//! People get folded tables: sixteen instances of one definition are one line with the least, the median and the most
//! of what they got; a median is the lower of the two middle values, so it is always a value that occurred. Beyond 32
//! CPUs those of one last-level cache are one line.
mod collect;
mod model;
pub mod text;

pub use collect::{Facts, Override};
pub use model::{
    Balancing, Conservation, Cpu, Definition, KernelName, Latency, Level, MachineName, Migrations, RunReport,
    Spread, Task, Trigger, Violation,
};
