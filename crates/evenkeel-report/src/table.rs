//! Aligned tables that fit: when a table is wider than the page, its least important columns go, and it says so.
//!
//! ```
//! use evenkeel_report::{Page, table::{Column, Table}};
//! let mut table = Table::new([Column::left("cpu"), Column::right("busy").drop_rank(1), Column::right("idle")]);
//! table.row(["0", "1.50s", "0"]);
//! assert_eq!(table.render(Page::plain(80)), "cpu   busy  idle\n0    1.50s     0\n");
//! assert_eq!(table.render(Page::plain(15)), "cpu  idle\n0       0\n(no room for:\nbusy)\n");
//! ```
//! Columns that belong together have a common title above them (`group`). A cell is one line of text. If even the table
//! without all columns that may go is too wide, one column is cut with `…`: the first, or the one that was chosen.
use crate::Page;

/// Blanks between two columns.
const GAP: usize = 2;
/// No column is cut to less than this.
const CUT_MIN: usize = 8;

/// How a column looks.
#[derive(Clone, Debug)]
pub struct Column {
    name: &'static str,
    group: &'static str,
    right: bool,
    /// Of the columns that may go the one with the highest number goes first; 0: it stays.
    drop_rank: u8,
    cut: bool,
}

impl Column {
    /// A column of words.
    pub fn left(name: &'static str) -> Self {
        Self { name, group: "", right: false, drop_rank: 0, cut: false }
    }

    /// A column of numbers.
    pub fn right(name: &'static str) -> Self {
        Self { right: true, ..Self::left(name) }
    }

    /// The title it shares with its neighbours.
    pub fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// It may go if there is no room; the highest rank goes first.
    pub fn drop_rank(mut self, rank: u8) -> Self {
        self.drop_rank = rank;
        self
    }

    /// It is the column that is cut if there is no room, rather than the first.
    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    fn full_name(&self) -> String {
        if self.group.is_empty() { self.name.to_owned() } else { format!("{} {}", self.group, self.name) }
    }
}

/// A table: columns and rows of text.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing at the end are empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert!(row.len() <= self.columns.len(), "a row has at most as many cells as there are columns");
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines; without rows nothing at all.
    pub fn render(&self, page: Page) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut widths = self.widths(&shown);
        let mut dropped = Vec::new();
        while total(&shown, &widths) > page.width {
            // The last of those with the highest rank.
            let least = shown.iter().copied().filter(|&index| self.columns[index].drop_rank > 0);
            let Some(least) = least.max_by_key(|&index| (self.columns[index].drop_rank, index)) else {
                break;
            };
            shown.retain(|&index| index != least);
            dropped.push(least);
            widths = self.widths(&shown);
        }
        let excess = total(&shown, &widths).saturating_sub(page.width);
        let cut = shown.iter().copied().find(|&index| self.columns[index].cut).unwrap_or(0);
        widths[cut] = widths[cut].min(widths[cut].saturating_sub(excess).max(CUT_MIN));

        let mut text = String::new();
        self.headings(&shown, &widths, page, &mut text);
        for row in &self.rows {
            let cells =
                shown.iter().map(|&index| (row[index].as_str(), widths[index], self.columns[index].right));
            push_line(&mut text, cells);
        }
        if !dropped.is_empty() {
            dropped.sort_unstable();
            let names: Vec<String> = dropped.iter().map(|&index| self.columns[index].full_name()).collect();
            text.push_str(&wrap(&format!("(no room for: {})", names.join(", ")), page.width, ""));
        }
        text
    }

    /// The widths of all columns if those in `shown` are shown: a title above several of them has room as well.
    fn widths(&self, shown: &[usize]) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|index| self.column_width(index)).collect();
        for part in shown.chunk_by(|&a, &b| self.columns[a].group == self.columns[b].group) {
            let title = self.columns[part[0]].group.chars().count();
            widths[part[part.len() - 1]] += title.saturating_sub(total(part, &widths));
        }
        widths
    }

    fn column_width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
        cells.max(self.columns[index].name.chars().count())
    }

    /// One line of names, and above it one of group titles if there are any.
    fn headings(&self, shown: &[usize], widths: &[usize], page: Page, text: &mut String) {
        if shown.iter().any(|&index| !self.columns[index].group.is_empty()) {
            let mut line = String::new();
            let same_group = |a: &usize, b: &usize| self.columns[*a].group == self.columns[*b].group;
            for part in shown.chunk_by(same_group) {
                if !line.is_empty() {
                    line.push_str(&" ".repeat(GAP));
                }
                let room = total(part, widths);
                let group = self.columns[part[0]].group;
                let title = match room.saturating_sub(group.chars().count()) {
                    _ if group.is_empty() => " ".repeat(room),
                    0..4 => format!("{:>room$}", fit(group, room)),
                    left => {
                        format!("{} {group} {}", "-".repeat(left / 2 - 1), "-".repeat(left - left / 2 - 1))
                    }
                };
                line.push_str(&title);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let names =
            shown.iter().map(|&index| (self.columns[index].name, widths[index], self.columns[index].right));
        let mut line = String::new();
        push_line(&mut line, names);
        text.push_str(&page.heading(line.trim_end()));
        text.push('\n');
    }
}

fn total(shown: &[usize], widths: &[usize]) -> usize {
    shown.iter().map(|&index| widths[index]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

fn push_line<'a>(text: &mut String, cells: impl Iterator<Item = (&'a str, usize, bool)>) {
    let mut line = String::new();
    for (index, (cell, width, right)) in cells.enumerate() {
        if index > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        let cell = fit(cell, width);
        line.push_str(&if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// The text, cut with `…` if it is longer than `width`.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a text at blanks into lines of at most `width` characters, the later ones indented by `indent`; the first keeps
/// the blanks it begins with. A word that is longer than a line is not broken.
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = " ".repeat(text.len() - text.trim_start_matches(' ').len());
    let mut at_start = true;
    for word in text.split_whitespace() {
        if !at_start && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&line);
            lines.push('\n');
            line = indent.to_owned();
            at_start = true;
        }
        if !at_start {
            line.push(' ');
        }
        line.push_str(word);
        at_start = false;
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

/// Breaks the lines of a tree drawn with `│├└─`: what is left over continues below, two blanks further in, and the
/// branches go on beside it.
pub fn wrap_tree(tree: &str, width: usize) -> String {
    let mut text = String::new();
    for line in tree.lines() {
        let branches: String = line.chars().take_while(|c| " │├└─".contains(*c)).collect();
        let below = branches.replace('├', "│").replace(['└', '─'], " ");
        let words = &line[branches.len()..];
        let room = width.saturating_sub(branches.chars().count());
        let mut first = true;
        for part in wrap(words, room.max(CUT_MIN), "  ").lines() {
            text.push_str(format!("{}{part}", if first { &branches } else { &below }).trim_end());
            text.push('\n');
            first = false;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(width: usize, expected: Expect) {
        let mut table = Table::new([
            Column::left("task"),
            Column::right("min").group("run").drop_rank(2),
            Column::right("median").group("run"),
            Column::right("max").group("run").drop_rank(2),
            Column::right("wakes").drop_rank(1),
        ]);
        table.row(["a-rather-long-name", "1.00ms", "1.25ms", "1.50ms", "12"]);
        table.row(["short", "0", "0", "0"]);
        expected.assert_eq(&table.render(Page::plain(width)));
    }

    #[test]
    fn a_wide_page_shows_all() {
        check(
            80,
            expect![[r#"
                                    -------- run ---------
                task                   min  median     max  wakes
                a-rather-long-name  1.00ms  1.25ms  1.50ms     12
                short                    0       0       0
            "#]],
        );
    }

    #[test]
    fn columns_go_by_rank_and_are_named() {
        check(
            40,
            expect![[r#"
                                       run
                task                median  wakes
                a-rather-long-name  1.25ms     12
                short                    0
                (no room for: run min, run max)
            "#]],
        );
    }

    #[test]
    fn the_first_column_is_cut_last() {
        check(
            20,
            expect![[r#"
                                 run
                task          median
                a-rather-lo…  1.25ms
                short              0
                (no room for: run
                min, run max, wakes)
            "#]],
        );
    }

    #[test]
    fn without_rows_there_is_no_table() {
        assert_eq!(Table::new([Column::left("x")]).render(Page::plain(80)), "");
    }

    #[test]
    fn branches_go_on_beside_what_is_left_over() {
        let tree = "machine\n├─ MC of eight CPUs\n│  balances often\n└─ SMT of two CPUs\n";
        expect![[r#"
            machine
            ├─ MC of
            │    eight
            │    CPUs
            │  balances
            │    often
            └─ SMT of
                 two
                 CPUs
        "#]]
        .assert_eq(&wrap_tree(tree, 12));
        assert_eq!(wrap_tree(tree, 80), tree);
    }

    #[test]
    fn words_are_not_broken() {
        assert_eq!(wrap("one two three-is-long four", 8, "  "), "one two\n  three-is-long\n  four\n");
        assert_eq!(wrap("  one two three", 9, "  "), "  one two\n  three\n");
    }
}
