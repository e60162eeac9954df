//! The position in the text, and steps over blanks, comments and line breaks.

use super::{Mark, Scanner};

impl<'t> Scanner<'t> {
    pub(super) fn here(&self) -> Mark {
        Mark { offset: self.at, line: self.line }
    }

    pub(super) fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Characters before this position of the line.
    pub(super) fn column(&self) -> isize {
        self.columns(self.at - self.line_start)
    }

    /// The number of characters in the first bytes of the line.
    pub(super) fn columns(&self, bytes: usize) -> isize {
        let part = &self.text[self.line_start..self.line_start + bytes];
        let columns = if part.is_ascii() { bytes } else { part.chars().count() };
        isize::try_from(columns).unwrap_or(isize::MAX)
    }

    /// `---` or `...`, and a blank or the end behind it.
    pub(super) fn is_indicator(&self) -> bool {
        let rest = &self.bytes[self.at..];
        (rest.starts_with(b"---") || rest.starts_with(b"...")) && self.is_blank_or_end(3)
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), Some(b' ' | b'\t'))
    }

    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.at + ahead >= self.bytes.len() || self.break_length(ahead) > 0
    }

    /// Bytes of the line break at this position; 0 if there is none.
    pub(super) fn break_length(&self, ahead: usize) -> usize {
        match self.bytes.get(self.at + ahead..).unwrap_or_default() {
            [b'\r', b'\n', ..] | [0xC2, 0x85, ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            [0xE2, 0x80, 0xA8 | 0xA9, ..] => 3,
            _ => 0,
        }
    }

    /// Passes over a line break, and returns what it means in a text.
    pub(super) fn skip_break(&mut self) -> &'t str {
        let length = self.break_length(0);
        let (text, written) = (self.text, &self.text[self.at..self.at + length]);
        if written.ends_with('\n') {
            self.line += 1;
        }
        self.at += length;
        self.line_start = self.at;
        // The separators of Unicode stay, all others are one.
        if length == 3 { &text[self.at - length..self.at] } else { "\n" }
    }

    pub(super) fn skip_comment(&mut self) {
        if self.byte(0) == Some(b'#') {
            self.skip_line();
        }
    }

    /// To the end of the line.
    pub(super) fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.break_length(0) == 0 {
            self.at += 1;
        }
    }

    /// Passes over blanks, comments and line breaks.
    pub(super) fn skip_to_token(&mut self) {
        loop {
            if self.at == self.line_start && self.text[self.at..].starts_with('\u{feff}') {
                self.at += '\u{feff}'.len_utf8();
            }
            // A tab may not indent.
            while self.byte(0) == Some(b' ') || (self.byte(0) == Some(b'\t') && (self.in_flow() || !self.may_be_key)) {
                self.at += 1;
            }
            self.skip_comment();
            if self.break_length(0) == 0 {
                return;
            }
            self.skip_break();
            if !self.in_flow() {
                self.may_be_key = true;
            }
        }
    }
}
