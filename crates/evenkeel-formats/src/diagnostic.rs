//! What went wrong in a text somebody wrote, and where: errors and warnings that show the line.
//!
//! Both workload readers report in this one shape:
//! ```text
//! unknown key `rnu` in phase `light`
//!  --> burst.json:3:16
//!   |
//! 3 |     "light": { "rnu": 1000 }
//!   |                ^^^^^ expected an event or a property; did you mean `run`?
//! ```
//! Columns count characters from 1. Lines longer than a terminal are cut around the place.
use core::fmt;
use core::ops::Range;
use evenkeel::workload::{Origin, Source, Workload};

/// The longest piece of a line that is shown, in characters.
const SHOWN_CHARACTERS_MAX: usize = 96;
/// How many characters before the place stay visible when a line is cut.
const SHOWN_BEFORE: usize = 40;

/// A text input that cannot be used: where, what is there, and what should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{found}{}", Labelled { place, label: &expectation(expected, suggestion.as_deref()) })]
pub struct InputError {
    /// Where; `None` if the text is unknown (a workload built by a program).
    pub place: Option<Place>,
    /// What is there, a sentence without a full stop.
    pub found: Box<str>,
    /// What would be right, to be read after "expected".
    pub expected: Box<str>,
    /// The known word that looks most like what was written.
    pub suggestion: Option<Box<str>>,
}

/// Something odd in a text input that has a meaning all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where; `None` if the text is unknown.
    pub place: Option<Place>,
    /// What is odd, a sentence without a full stop.
    pub message: Box<str>,
    /// What is done about it.
    pub consequence: Box<str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.message, Labelled { place: &self.place, label: &self.consequence })
    }
}

/// A place in a text, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Name of the file.
    pub file: Box<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The line, cut around the column if it is long, without control characters.
    pub text: Box<str>,
    /// Characters of `text` before the place.
    pub caret: u32,
    /// How many characters are meant, at least 1.
    pub width: u32,
}

/// A place with a remark under it; without a place only the remark.
struct Labelled<'a> {
    place: &'a Option<Place>,
    label: &'a str,
}

impl fmt::Display for Labelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Some(place), label } = self else { return write!(f, " ({})", self.label) };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(place.caret as usize);
        let carets = "^".repeat(place.width as usize);
        write!(f, "\n{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
        write!(f, "\n{margin} |\n{number} | {}", place.text)?;
        write!(f, "\n{margin} | {indent}{carets} {label}")
    }
}

/// "expected X; did you mean `Y`?"
fn expectation(expected: &str, suggestion: Option<&str>) -> String {
    match suggestion {
        Some(suggestion) => format!("expected {expected}; did you mean `{suggestion}`?"),
        None => format!("expected {expected}"),
    }
}

impl InputError {
    /// An error at a place of a workload; `origin` as the workload's tasks, phases and operations carry it.
    pub fn in_workload(
        workload: &Workload,
        origin: Option<Origin>,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> Self {
        let place = origin.and_then(|origin| Place::of_origin(workload, origin));
        Self { place, found: found.into(), expected: expected.into(), suggestion: None }
    }

    /// An error about a whole line of a text; `index` counts lines from 0.
    pub(crate) fn in_line(
        name: &str,
        line: &str,
        index: usize,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> Self {
        let at = line.len() - line.trim_start().len();
        let before = line[..at].chars().count();
        let width = line.trim().chars().count();
        let place = Place::in_line(name, line, as_u32(index + 1), at, before, width);
        Self { place: Some(place), found: found.into(), expected: expected.into(), suggestion: None }
    }

    /// Adds the candidate that looks most like `word`, if one does.
    pub(crate) fn suggest<'a>(mut self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        self.suggestion = near_match(word, candidates).map(Box::from);
        self
    }
}

impl Warning {
    /// A warning at a place of a workload.
    pub fn in_workload(
        workload: &Workload,
        origin: Option<Origin>,
        message: impl Into<Box<str>>,
        consequence: impl Into<Box<str>>,
    ) -> Self {
        let place = origin.and_then(|origin| Place::of_origin(workload, origin));
        Self { place, message: message.into(), consequence: consequence.into() }
    }
}

impl Place {
    /// The place an origin names; `None` if the workload does not hold that line.
    pub fn of_origin(workload: &Workload, origin: Origin) -> Option<Self> {
        let source = workload.sources.get(origin.source as usize)?;
        let line = source.text.lines().nth(origin.line.checked_sub(1)? as usize)?;
        let before = origin.column.checked_sub(1)? as usize;
        let at = line.char_indices().nth(before).map_or(line.len(), |(at, _)| at);
        let width = word_width(line[at..].chars());
        Some(Self::in_line(&source.name, line, origin.line, at, before, width))
    }

    /// The place at byte `at` of line number `line_number`, which is `before` characters into the line. Looks only
    /// at what will be shown: a file may be one long line with thousands of warnings.
    fn in_line(file: &str, line: &str, line_number: u32, at: usize, before: usize, width: usize) -> Self {
        let (left, right) = line.split_at(at);
        let after = right.chars().take(SHOWN_CHARACTERS_MAX + 1).count();
        let (shown_before, shown_after) = if before + after <= SHOWN_CHARACTERS_MAX {
            (before, after)
        } else {
            let least = SHOWN_CHARACTERS_MAX.saturating_sub(after);
            let shown_before = before.min(SHOWN_BEFORE).max(least);
            (shown_before, SHOWN_CHARACTERS_MAX - shown_before)
        };
        let start = left.char_indices().rev().take(shown_before).last().map_or(at, |(start, _)| start);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let mut text = String::new();
        if shown_before < before {
            text.push('…');
        }
        text.extend(line[start..].chars().take(shown_before + shown_after).map(printable));
        if shown_after < after {
            text.push('…');
        }
        let caret = shown_before + usize::from(shown_before < before);
        let room = text.chars().count().saturating_sub(caret).max(1);
        Self {
            file: file.into(),
            line: line_number,
            column: as_u32(before + 1),
            text: text.trim_end().into(),
            caret: as_u32(caret),
            width: as_u32(width.clamp(1, room)),
        }
    }
}

/// How many characters the word (or the quoted string) at the beginning has.
fn word_width(mut rest: impl Iterator<Item = char>) -> usize {
    let Some(first) = rest.next() else { return 1 };
    match first {
        '"' | '\'' => 2 + rest.take_while(|&c| c != first).count(),
        c if c.is_alphanumeric() || c == '_' => {
            1 + rest.take_while(|&c| c.is_alphanumeric() || c == '_').count()
        }
        '[' => 1 + rest.take_while(|c| !c.is_whitespace()).count(),
        _ => 1,
    }
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A text being read: turns byte offsets into lines and columns.
pub(crate) struct Text<'a> {
    name: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
    is_ascii: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = core::iter::once(0).chain(line_ends.map(|(offset, _)| offset + 1)).collect();
        Self { name, text, line_starts, is_ascii: text.is_ascii() }
    }

    pub(crate) fn as_str(&self) -> &'a str {
        self.text
    }

    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) fn source(&self) -> Source {
        Source { name: self.name.to_owned(), text: self.text.to_owned() }
    }

    /// Line index, line start, and characters before `offset` in its line.
    fn locate(&self, offset: usize) -> (usize, usize, usize) {
        let offset = self.floor_char_boundary(offset);
        let line = self.line_starts.partition_point(|&start| start <= offset) - 1;
        let start = self.line_starts[line];
        let before = if self.is_ascii { offset - start } else { self.text[start..offset].chars().count() };
        (line, start, before)
    }

    fn floor_char_boundary(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        (0..=offset).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }

    /// The origin of what is at `offset`, in the only source of a workload.
    pub(crate) fn origin(&self, offset: usize) -> Origin {
        let (line, _, before) = self.locate(offset);
        Origin { source: 0, line: as_u32(line + 1), column: as_u32(before + 1) }
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let (line_index, start, before) = self.locate(span.start);
        let end = self.line_starts.get(line_index + 1).map_or(self.text.len(), |&next| next - 1);
        let line = self.text[start..end].trim_end_matches('\r');
        let from = self.floor_char_boundary(span.start);
        let to = self.floor_char_boundary(span.end.min(start + line.len())).max(from);
        let width = self.text[from..to].chars().take(SHOWN_CHARACTERS_MAX).count();
        Place::in_line(self.name, line, as_u32(line_index + 1), (from - start).min(line.len()), before, width)
    }

    pub(crate) fn error(
        &self,
        span: &Range<usize>,
        found: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
    ) -> InputError {
        InputError {
            place: Some(self.place(span)),
            found: found.into(),
            expected: expected.into(),
            suggestion: None,
        }
    }

    pub(crate) fn warning(
        &self,
        span: &Range<usize>,
        message: impl Into<Box<str>>,
        consequence: impl Into<Box<str>>,
    ) -> Warning {
        Warning { place: Some(self.place(span)), message: message.into(), consequence: consequence.into() }
    }
}

/// The candidate that is nearest to `word`: at most one edit per three characters (at least one), the first of
/// equals. An edit inserts, drops or replaces a character or swaps two neighbours.
pub fn near_match<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).take(40).collect();
    let limit = (word.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).take(40).collect();
        let distance = edits(&word, &letters);
        if distance <= limit && distance < letters.len() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits that turn one word into the other, row by row of the usual table.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn near_matches_allow_one_edit_per_three_characters() {
        let keys = ["run", "runtime", "sleep", "priority"];
        assert_eq!(near_match("rnu", keys), Some("run"));
        assert_eq!(near_match("slep", keys), Some("sleep"));
        assert_eq!(near_match("Piority", keys), Some("priority"));
        assert_eq!(near_match("xyz", keys), None);
        assert_eq!(near_match("", ["a"]), None);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "a".repeat(200), "b".repeat(200));
        let text = Text::new("long.json", &text);
        let error = text.error(&(200..204), "found something", "something else");
        expect![[r#"
            found something
             --> long.json:1:201
              |
            1 | …aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaHEREbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
              |                                          ^^^^ expected something else"#]]
        .assert_eq(&error.to_string());
    }

    #[test]
    fn columns_count_characters_and_tabs_become_blanks() {
        let text = Text::new("a.toml", "x = 1\n\tü = \"é\" !\n");
        let offset = text.as_str().find('!').unwrap();
        let error = text.error(&(offset..offset + 1), "a stray `!`", "the end of the line");
        expect![[r#"
            a stray `!`
             --> a.toml:2:10
              |
            2 |  ü = "é" !
              |          ^ expected the end of the line"#]]
        .assert_eq(&error.to_string());
    }
}
