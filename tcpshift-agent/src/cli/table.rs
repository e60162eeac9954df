//! Tables: columns aligned by spaces, as kubectl prints them, without boxes.

use super::screen;

/// Spaces between columns.
const GAP: usize = 3;

/// A heading and rows of as many cells.
#[derive(Clone, Debug)]
pub(super) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<T: Into<String>>(heading: impl IntoIterator<Item = T>) -> Self {
        Self { heading: heading.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &[String]) {
        debug_assert_eq!(row.len(), self.heading.len(), "{row:?}");
        self.rows.push(row.iter().map(|cell| screen::clean(cell).replace('\n', " ")).collect());
    }

    /// Takes a column out that says nothing in any row.
    pub(super) fn without_empty(mut self, heading: &str) -> Self {
        if let Some(at) = self.heading.iter().position(|cell| cell == heading)
            && self.rows.iter().all(|row| row[at].is_empty())
        {
            self.heading.remove(at);
            for row in &mut self.rows {
                row.remove(at);
            }
        }
        self
    }

    /// Every row on its line, below the heading.
    pub(super) fn text(&self) -> String {
        let widths = self.widths();
        let mut text = screen::heading(&line(&self.heading, &widths));
        text.push('\n');
        text.push_str(&self.rows_text(&widths));
        text
    }

    /// Only the rows, in given widths: for what comes after a table that has been printed.
    pub(super) fn rows_text(&self, widths: &[usize]) -> String {
        self.rows.iter().map(|row| line(row, widths) + "\n").collect()
    }

    /// Width of each column in characters.
    pub(super) fn widths(&self) -> Vec<usize> {
        let rows = || std::iter::once(&self.heading).chain(&self.rows);
        (0..self.heading.len()).map(|at| rows().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + GAP));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["NAME", "HOSTS", "AGE"]);
        table.push(&["tcp-echo".into(), String::new(), "5m".into()]);
        table.push(&["b".into(), "[\"*\"]".into(), "é\x1b\n".into()]);
        let expected = "NAME       HOSTS   AGE\ntcp-echo           5m\nb          [\"*\"]   é\u{fffd}\n";
        assert_eq!(table.text(), expected);
        assert_eq!(table.without_empty("AGE").widths().len(), 3);
    }

    #[test]
    fn an_empty_column_can_go() {
        let mut table = Table::new(["NAME", "WHY"]);
        table.push(&["a".into(), String::new()]);
        assert_eq!(table.without_empty("WHY").text(), "NAME\na\n");
    }
}
