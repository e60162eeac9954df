//! Tables for a screen of 80 columns: the first column gives way, and what does not fit into a cell stands below its row.

use super::screen;
use super::table::wrap;

/// Columns of a screen.
pub(super) const SCREEN: usize = 80;
/// Spaces between columns.
const GAP: usize = 2;
/// The first column is never narrower.
const LEAST: usize = 8;

/// A heading, rows of as many cells, and remarks between them.
#[derive(Clone, Debug)]
pub(super) struct NarrowTable {
    heading: Vec<String>,
    lines: Vec<TableLine>,
}

#[derive(Clone, Debug)]
enum TableLine {
    Cells(Vec<String>),
    Remark { indent: usize, text: String },
}

impl NarrowTable {
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { heading: heading.map(str::to_owned).to_vec(), lines: Vec::new() }
    }

    pub(super) fn push<const N: usize>(&mut self, row: [String; N]) {
        debug_assert_eq!(N, self.heading.len(), "{row:?}");
        self.lines.push(TableLine::Cells(row.map(|cell| screen::clean(&cell).replace('\n', " ")).to_vec()));
    }

    /// A text below the row before, so far from the margin.
    pub(super) fn remark(&mut self, indent: usize, text: &str) {
        self.lines.push(TableLine::Remark { indent, text: screen::clean(text) });
    }

    /// Removes a column that is empty in all rows.
    pub(super) fn without_empty(mut self, heading: &str) -> Self {
        let at = self.heading.iter().position(|cell| cell == heading);
        if let Some(at) = at.filter(|at| self.rows().all(|row| row[*at].is_empty())) {
            self.heading.remove(at);
            for line in &mut self.lines {
                if let TableLine::Cells(row) = line {
                    row.remove(at);
                }
            }
        }
        self
    }

    fn rows(&self) -> impl Iterator<Item = &Vec<String>> {
        self.lines.iter().filter_map(|line| match line {
            TableLine::Cells(row) => Some(row),
            TableLine::Remark { .. } => None,
        })
    }

    /// All lines, each so far from the margin.
    pub(super) fn text(&self, margin: usize) -> String {
        let all = || std::iter::once(&self.heading).chain(self.rows());
        let width = |at: usize| all().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let mut widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(SCREEN.saturating_sub(margin + others)).max(LEAST);
        }
        let mut text = screen::heading(&line(&self.heading, &widths, margin));
        text.push('\n');
        for one in &self.lines {
            match one {
                TableLine::Cells(cells) => text.push_str(&(line(cells, &widths, margin) + "\n")),
                TableLine::Remark { indent, text: remark } => text.push_str(&paragraph(remark, margin + indent)),
            }
        }
        text
    }
}

fn line(cells: &[String], widths: &[usize], margin: usize) -> String {
    let mut line = " ".repeat(margin);
    for (cell, width) in cells.iter().zip(widths) {
        let cell = shortened(cell, *width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + GAP));
    }
    line.trim_end().to_owned()
}

/// A text without its middle, if it has more than so many characters: most of what is left is its end, where names differ.
fn shortened(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room || room < 3 {
        return text.chars().take(room.max(1)).collect();
    }
    let begin = room / 4;
    let end = room - 1 - begin;
    let head = text.chars().take(begin);
    head.chain(std::iter::once('…')).chain(text.chars().skip(length - end)).collect()
}

/// A text in lines of the screen's width, all so far from the margin.
pub(super) fn paragraph(text: &str, indent: usize) -> String {
    let lines = wrap(&screen::clean(text), SCREEN.saturating_sub(indent).max(LEAST));
    lines.iter().map(|line| " ".repeat(indent) + line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> NarrowTable {
        let mut table = NarrowTable::new(["NAME", "COUNT", "WHY"]);
        table.push([name.to_owned(), "12".to_owned(), String::new()]);
        table.remark(2, &"a reason ".repeat(20));
        table.push(["b".to_owned(), "1".repeat(60), "x\x1b".to_owned()]);
        table
    }

    #[test]
    fn no_line_is_longer_than_the_screen() {
        for length in [1, 10, 80, 500] {
            let text = table(&"ö".repeat(length)).text(2);
            assert!(text.lines().all(|line| line.chars().count() <= SCREEN), "{text}");
            assert!(text.lines().all(|line| line.starts_with("  ")) && !text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        assert_eq!(shortened("tcp-echo:9000/v1", 16), "tcp-echo:9000/v1");
        assert_eq!(shortened("tcp-echo:9000/v1", 12), "tcp…:9000/v1");
        assert_eq!(shortened("äöüß", 3), "…üß");
    }

    #[test]
    fn an_empty_column_goes() {
        let mut table = NarrowTable::new(["NAME", "WHY"]);
        table.push(["a".to_owned(), String::new()]);
        table.remark(2, "and more");
        assert_eq!(table.without_empty("WHY").text(0), "NAME\na\n  and more\n");
    }
}
