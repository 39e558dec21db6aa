//! What can be wrong with the description of a machine.
use core::fmt;
use evenkeel::topology::MachineError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a machine could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineInputError {
    /// The text names no file, no preset, and is not a one-line machine.
    #[error("`{spec}` is not a machine: {}", list_attempts(tried, near))]
    Unknown {
        /// What was asked for.
        spec: String,
        /// What it was tried as, with the outcome.
        tried: Vec<String>,
        /// Presets with a similar name.
        near: Vec<&'static str>,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason given by the system.
        source: io::Error,
    },
    /// A place in a text is not what it should be.
    #[error("{0}")]
    Text(Box<TextError>),
    /// The description lacks something, or two places of it contradict each other.
    #[error("{origin}: {what}")]
    Contradiction {
        /// The file, or what kind of text it is.
        origin: String,
        /// What is missing or contradicts what.
        what: String,
    },
    /// The description is well formed, but no such machine can exist.
    #[error("{origin}: {error}")]
    Impossible {
        /// The file, or what kind of text it is.
        origin: String,
        /// Why it cannot exist.
        error: MachineError,
    },
}

/// A place in a text that is not what it should be; shown with the line and a caret under the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// The file, or what kind of text it is.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, line, column, text, message } = self;
        write!(f, "{origin}, line {line}, column {column}: {message}")?;
        if text.trim().is_empty() {
            return Ok(());
        }
        // A long line (a saved machine, minified JSON) is cut to the part around the column.
        let start = column.saturating_sub(60);
        let shown: String =
            text.chars().skip(start).take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "\n  {shown}\n  {:>1$}", "^", column - start)
    }
}

impl TextError {
    /// The error at byte `offset` of `whole`, a text of one or more lines.
    pub(super) fn at_offset(origin: &str, whole: &str, offset: usize, message: impl Into<String>) -> Self {
        let mut offset = offset.min(whole.len());
        while !whole.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &whole[..offset];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            origin: String::from(origin),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: String::from(whole[line_start..].lines().next().unwrap_or("")),
            message: message.into(),
        }
    }
}

impl From<TextError> for MachineInputError {
    fn from(error: TextError) -> Self {
        Self::Text(Box::new(error))
    }
}

impl MachineInputError {
    pub(super) fn contradiction(origin: &str, what: impl Into<String>) -> Self {
        Self::Contradiction { origin: String::from(origin), what: what.into() }
    }

    pub(super) fn at_offset(origin: &str, whole: &str, offset: usize, message: impl Into<String>) -> Self {
        TextError::at_offset(origin, whole, offset, message).into()
    }
}

fn list_attempts(tried: &[String], near: &[&str]) -> String {
    let mut text = tried.join("; ");
    if !near.is_empty() {
        text.push_str("; did you mean ");
        text.push_str(&near.join(" or "));
        text.push('?');
    }
    text
}
