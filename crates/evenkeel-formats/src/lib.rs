//! Readers and writers of the files evenkeel understands: machines, scenarios, rt-app workloads, recordings.
//!
//! [`machine`] reads what hardware a run happens on. What tasks do is read by [`rtapp`] (the JSON scheduler
//! developers exchange) and [`scenario`] (our own TOML: machine, kernel, tasks and duration in one commented
//! file); [`load`] tells which of the two a text is. Both report faults through [`diagnostic`], and [`checks`]
//! finds what is wrong with a workload without running it. What real kernels did is read by [`recording`] and
//! compared with by [`conform`]. The text of a kernel trace is read by [`ftrace`].

pub mod checks;
pub mod conform;
pub mod diagnostic;
pub mod ftrace;
pub mod load;
pub mod machine;
mod objects;
pub mod recording;
pub mod rtapp;
pub mod scenario;
mod tree;

/// The file name without directories and its last extension.
pub(crate) fn stem(file_name: &str) -> &str {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    base.rsplit_once('.').map_or(base, |(stem, _)| if stem.is_empty() { base } else { stem })
}
