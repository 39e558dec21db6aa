//! Everything that reaches the terminal goes through here: answers to stdout, notices and errors to stderr.
use evenkeel_report::Page;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Lines are this long if nothing says how wide the terminal is.
const WIDTH_DEFAULT: usize = 100;
/// Narrower pages are not attempted.
const WIDTH_MIN: usize = 32;

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For stdout.
    pub(crate) text: String,
    /// Whether something was found that makes the exit code 1.
    pub(crate) differences: bool,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self { text, differences: false }
    }
}

/// How stdout wants its text: as wide as the terminal (or `COLUMNS`), and bold headings only on a terminal without
/// `NO_COLOR`.
pub(crate) fn page() -> Page {
    let is_terminal = io::stdout().is_terminal();
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let of_terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = columns.or_else(|| of_terminal().filter(|_| is_terminal)).unwrap_or(WIDTH_DEFAULT);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Page { width: width.max(WIDTH_MIN), bold: is_terminal && !no_color }
}

/// Says something beside the answer. A closed stderr is nobody's loss.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints the outcome of a command and makes the exit code of it.
pub(crate) fn finish(outcome: anyhow::Result<Answer>) -> ExitCode {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            notice(&format!("evenkeel: {error:#}"));
            return ExitCode::from(2);
        }
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer.text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough (`evenkeel ... | head`): not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            notice(&format!("evenkeel: cannot write the output: {error}"));
            return ExitCode::from(2);
        }
        Ok(()) => {}
    }
    ExitCode::from(u8::from(answer.differences))
}
