//! Tables: columns aligned by spaces, as kubectl prints them, without boxes.

use super::screen;

/// Spaces between columns.
const GAP: usize = 3;

/// A heading and rows of as many cells.
#[derive(Clone, Debug)]
pub(super) struct TextTable {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(super) fn new<T: Into<String>>(heading: impl IntoIterator<Item = T>) -> Self {
        Self { heading: heading.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &[String]) {
        debug_assert_eq!(row.len(), self.heading.len(), "{row:?}");
        self.rows.push(row.iter().map(|cell| screen::clean(cell).replace('\n', " ")).collect());
    }

    /// Removes a column that is empty in all rows.
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

    /// As [`TextTable::text`], with the last column broken into lines so that none is longer than so many characters, if that
    /// leaves the column 20.
    pub(super) fn text_within(&self, most: usize) -> String {
        let widths = self.widths();
        let Some((_, others)) = widths.split_last() else { return String::new() };
        let room = most.saturating_sub(others.iter().map(|width| width + GAP).sum()).max(20);
        let mut broken = Self::new(self.heading.clone());
        for row in &self.rows {
            let (last, others) = row.split_last().expect("a row has as many cells as the heading");
            let mut cells = others.to_vec();
            for piece in wrap(last, room) {
                cells.push(piece);
                broken.rows.push(std::mem::replace(&mut cells, vec![String::new(); others.len()]));
            }
        }
        broken.text()
    }

    /// Only the rows, in given widths: for rows behind a printed table.
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

/// A text in lines of at most `room` characters, broken between words if possible. At least one line.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let gap = usize::from(length > 0);
            let letters = word.chars().count();
            if length + gap + letters <= room {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(word);
                length += gap + letters;
                break;
            }
            if length == 0 {
                // Longer than a line.
                let end = word.char_indices().nth(room).map_or(word.len(), |(at, _)| at);
                line.push_str(&word[..end]);
                word = &word[end..];
            }
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
    }
    if length > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::new(["NAME", "HOSTS", "AGE"]);
        table.push(&["tcp-echo".into(), String::new(), "5m".into()]);
        table.push(&["b".into(), "[\"*\"]".into(), "é\x1b\n".into()]);
        let expected = "NAME       HOSTS   AGE\ntcp-echo           5m\nb          [\"*\"]   é\u{fffd}\n";
        assert_eq!(table.text(), expected);
        assert_eq!(table.without_empty("AGE").widths().len(), 3);
    }

    #[test]
    fn the_last_column_is_broken_between_words() {
        let mut table = TextTable::new(["NAME", "FOUND"]);
        table.push(&["a".into(), "one two three four five six seven".into()]);
        table.push(&["b".into(), String::new()]);
        table.push(&["c".into(), "z".repeat(45)]);
        let expected = "NAME   FOUND\na      one two three four\n       five six seven\nb\n";
        let text = table.text_within(27);
        assert!(text.starts_with(expected), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 27), "{text}");
        assert_eq!(text.matches('z').count(), 45);
    }

    #[test]
    fn an_empty_column_can_go() {
        let mut table = TextTable::new(["NAME", "WHY"]);
        table.push(&["a".into(), String::new()]);
        assert_eq!(table.without_empty("WHY").text(), "NAME\na\n");
    }
}
