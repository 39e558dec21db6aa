//! What people look at: results as text for a terminal and as JSON for programs.
//!
//! * [`explain`]: why a pass, a task or an idle CPU did what it did. [`summary`]: the report of one run. [`topology`]: who balances with whom.
//! * [`table`]: aligned tables that fit into a given width. [`units`]: durations, counts and shares as people read them.
//!
//! Everything here is a pure function from data to a `String`: nothing prints, reads a clock or asks the terminal for
//! its size; whoever prints hands in a [`Page`].
pub mod changes;
pub mod conform;
pub mod explain;
pub mod summary;
pub mod table;
pub mod topology;
pub mod units;

/// What text is laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Characters in a line.
    pub width: usize,
    /// Whether headings may be set in bold by terminal codes.
    pub bold: bool,
}

impl Page {
    /// Plain text of a given width.
    pub const fn plain(width: usize) -> Self {
        Self { width, bold: false }
    }

    /// A heading, with the codes for bold around it if they are wanted.
    pub fn heading(&self, text: &str) -> String {
        if self.bold { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
