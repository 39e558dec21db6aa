//! Domain trees for people and for programs: who balances with whom on a machine, and how eagerly.
//!
//! | format | function | for |
//! |---|---|---|
//! | tree | [`render_tree`] | reading; subtrees that are alike are written once, so 512 CPUs fit on a page |
//! | debugfs | [`render_debugfs`] | comparing with `/sys/kernel/debug/sched/domains` (oldest kernel: `/proc/sys`) |
//! | schedstat | [`render_schedstat`] | comparing with `/proc/schedstat` |
//! | json | [`render_json`] | programs |
//! | diff | [`diff`] | what changes from one kernel or machine to another |
//!
//! Left out: what a running kernel adds to these numbers (grown intervals, costs) unless the domains handed in have it.
mod diff;
mod files;
mod json;
mod node;
mod tree;
mod words;

pub use diff::{Change, View, diff, render_diff};
pub use files::{render_debugfs, render_schedstat};
pub use json::render_json;
pub use tree::render_tree;
