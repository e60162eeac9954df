//! Scalars: plain, quoted, and those of several lines.

use std::borrow::Cow;

use super::{Mark, Scanned, Scanner, Style, SyntaxFault, SyntaxProblem, Token, TokenKind};

/// Line breaks between the parts of a text that is folded.
#[derive(Default)]
struct Breaks {
    first: Option<char>,
    more: String,
}

impl Breaks {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn add(&mut self, meaning: &str) {
        if self.first.is_some() {
            self.more.push_str(meaning);
        } else {
            self.first = meaning.chars().next();
        }
    }

    /// Appends their meaning: a single break is a space, of several the first is left out. The separators of Unicode stay.
    fn fold_into(&mut self, text: &mut String) {
        match self.first {
            Some('\n') if self.more.is_empty() => text.push(' '),
            Some('\n') | None => {}
            Some(separator) => text.push(separator),
        }
        text.push_str(&self.more);
        *self = Self::default();
    }
}

/// A text that is a part of the document until something in it has to be changed.
struct Text<'t> {
    document: &'t str,
    start: usize,
    changed: Option<String>,
}

impl<'t> Text<'t> {
    fn new(document: &'t str, start: usize) -> Self {
        Self { document, start, changed: None }
    }

    /// Takes a part as it is written. It follows the one before in the document, or the text was changed.
    fn take(&mut self, start: usize, end: usize) {
        if let Some(changed) = &mut self.changed {
            changed.push_str(&self.document[start..end]);
        }
    }

    /// Takes a part, and returns the text to be changed behind it.
    fn change(&mut self, start: usize, end: usize) -> &mut String {
        self.take(start, end);
        self.changed.get_or_insert_with(|| self.document[self.start..end].to_owned())
    }

    fn finish(self, end: usize) -> Cow<'t, str> {
        match self.changed {
            Some(changed) => Cow::Owned(changed),
            None => Cow::Borrowed(&self.document[self.start..end]),
        }
    }
}

impl<'t> Scanner<'t> {
    pub(super) fn plain(&mut self) -> Scanned<Token<'t>> {
        let mark = self.here();
        let indent = self.indent + 1;
        let mut text = Text::new(self.text, self.at);
        let mut breaks = Breaks::default();
        // Behind the last character that belongs to it.
        let mut end = self.at;
        loop {
            if self.byte(0) == Some(b'#') || (self.at == self.line_start && self.is_indicator()) {
                break;
            }
            let start = self.at;
            while let Some(byte) = self.byte(0) {
                let is_end = match byte {
                    b' ' | b'\t' => true,
                    b'\r' | b'\n' | 0xC2 | 0xE2 => self.break_length(0) > 0,
                    b':' => self.is_blank_or_end(1),
                    b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.in_flow(),
                    _ => false,
                };
                if is_end {
                    break;
                }
                self.at += 1;
            }
            if self.at > start {
                if breaks.is_empty() {
                    text.take(end, self.at);
                } else {
                    breaks.fold_into(text.change(end, end));
                    text.take(start, self.at);
                }
                end = self.at;
            }
            if !self.is_blank(0) && self.break_length(0) == 0 {
                break;
            }
            loop {
                if self.is_blank(0) {
                    let is_tab = self.byte(0) == Some(b'\t');
                    if is_tab && !breaks.is_empty() && self.column() < indent {
                        return SyntaxFault::new(SyntaxProblem::Tab, self.here(), mark);
                    }
                    self.at += 1;
                } else if self.break_length(0) > 0 {
                    let meaning = self.skip_break();
                    breaks.add(meaning);
                } else {
                    break;
                }
            }
            // In the line where it began, it is further in.
            if !self.in_flow() && !breaks.is_empty() && self.column() < indent {
                break;
            }
        }
        if !breaks.is_empty() {
            self.may_be_key = true;
        }
        Ok(Token { kind: TokenKind::Scalar(text.finish(end), Style::Plain), mark })
    }

    pub(super) fn quoted(&mut self, is_single: bool) -> Scanned<Token<'t>> {
        let mark = self.here();
        let quote = if is_single { b'\'' } else { b'"' };
        self.at += 1;
        let mut text = Text::new(self.text, self.at);
        loop {
            if self.at >= self.bytes.len() || (self.at == self.line_start && self.is_indicator()) {
                return SyntaxFault::new(SyntaxProblem::Unclosed { is_single }, self.here(), mark);
            }
            let is_joined = self.quoted_part(&mut text, is_single, mark)?;
            if self.byte(0) == Some(quote) {
                break;
            }
            self.quoted_blanks(&mut text, is_joined);
        }
        let end = self.at;
        self.at += 1;
        if self.line > mark.line {
            self.quoted = Some((mark, self.line));
        }
        Ok(Token { kind: TokenKind::Scalar(text.finish(end), Style::Quoted), mark })
    }

    /// Up to the next blank, line break or quote; whether the last line break was joined by a backslash.
    fn quoted_part(&mut self, text: &mut Text<'t>, is_single: bool, mark: Mark) -> Scanned<bool> {
        let mut start = self.at;
        let mut is_joined = false;
        while let Some(byte) = self.byte(0) {
            match byte {
                b' ' | b'\t' => break,
                b'\r' | b'\n' | 0xC2 | 0xE2 if self.break_length(0) > 0 => break,
                b'\'' if is_single && self.byte(1) == Some(b'\'') => {
                    text.change(start, self.at + 1);
                    self.at += 2;
                    start = self.at;
                }
                b'\'' if is_single => break,
                b'"' if !is_single => break,
                b'\\' if !is_single => {
                    let changed = text.change(start, self.at);
                    if self.break_length(1) > 0 {
                        self.at += 1;
                        self.skip_break();
                        is_joined = true;
                    } else {
                        changed.push(self.escape(mark)?);
                    }
                    start = self.at;
                    if is_joined {
                        break;
                    }
                }
                _ => self.at += 1,
            }
        }
        text.take(start, self.at);
        Ok(is_joined)
    }

    fn quoted_blanks(&mut self, text: &mut Text<'t>, is_joined: bool) {
        let mut breaks = Breaks::default();
        let start = self.at;
        loop {
            if self.is_blank(0) {
                self.at += 1;
            } else if self.break_length(0) > 0 {
                let meaning = self.skip_break();
                if is_joined { breaks.more.push_str(meaning) } else { breaks.add(meaning) }
            } else {
                break;
            }
        }
        if !is_joined && breaks.is_empty() {
            text.take(start, self.at);
        } else {
            breaks.fold_into(text.change(start, start));
        }
    }

    /// The character that a backslash and what follows stand for.
    fn escape(&mut self, quote: Mark) -> Scanned<char> {
        let mark = self.here();
        self.at += 1;
        let letter = self.text[self.at..].chars().next();
        let length = match letter {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        if length > 0 {
            let digits = self.text.get(self.at + 1..self.at + 1 + length);
            let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let Some(character) = code.and_then(char::from_u32) else {
                return SyntaxFault::new(SyntaxProblem::EscapeCode, mark, quote);
            };
            self.at += 1 + length;
            return Ok(character);
        }
        let character = match letter {
            Some('0') => '\0',
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('t' | '\t') => '\t',
            Some('n') => '\n',
            Some('v') => '\x0B',
            Some('f') => '\x0C',
            Some('r') => '\r',
            Some('e') => '\x1B',
            Some(same @ (' ' | '"' | '\'' | '\\')) => same,
            Some('N') => '\u{85}',
            Some('_') => '\u{A0}',
            Some('L') => '\u{2028}',
            Some('P') => '\u{2029}',
            Some(other) => return SyntaxFault::new(SyntaxProblem::Escape(other), mark, quote),
            None => return SyntaxFault::new(SyntaxProblem::Unclosed { is_single: false }, mark, quote),
        };
        self.at += 1;
        Ok(character)
    }

    pub(super) fn block_scalar(&mut self, is_literal: bool) -> Scanned<Token<'t>> {
        let mark = self.here();
        self.at += 1;
        let (keep, increment) = self.block_header(mark)?;
        let mut indent = if increment == 0 { 0 } else { self.indent.max(0) + increment };
        let (mut text, mut first, mut more) = (String::new(), String::new(), String::new());
        self.block_breaks(&mut indent, &mut more, mark)?;
        let mut was_blank = false;
        while self.at < self.bytes.len() && self.column() == indent {
            let is_blank = self.is_blank(0);
            if !is_literal && first.starts_with('\n') && !was_blank && !is_blank {
                if more.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&first);
            }
            text.push_str(&more);
            more.clear();
            was_blank = is_blank;
            let start = self.at;
            self.skip_line();
            text.push_str(&self.text[start..self.at]);
            first.clear();
            if self.break_length(0) > 0 {
                first.push_str(self.skip_break());
            }
            self.block_breaks(&mut indent, &mut more, mark)?;
        }
        if keep != Keep::Nothing {
            text.push_str(&first);
        }
        if keep == Keep::All {
            text.push_str(&more);
        }
        Ok(Token { kind: TokenKind::Scalar(Cow::Owned(text), Style::Quoted), mark })
    }

    /// Which line breaks at the end stay, and the indentation if it is given.
    fn block_header(&mut self, mark: Mark) -> Scanned<(Keep, isize)> {
        let (mut keep, mut increment) = (Keep::One, 0);
        let mut seen = (false, false);
        loop {
            match self.byte(0) {
                Some(sign @ (b'+' | b'-')) if !seen.0 => {
                    keep = if sign == b'+' { Keep::All } else { Keep::Nothing };
                    seen.0 = true;
                }
                Some(digit @ b'1'..=b'9') if !seen.1 => {
                    increment = isize::from(digit - b'0');
                    seen.1 = true;
                }
                _ => break,
            }
            self.at += 1;
        }
        self.skip_blanks();
        self.skip_comment();
        if !self.is_break_or_end(0) {
            return SyntaxFault::new(SyntaxProblem::BlockHeader, self.here(), mark);
        }
        if self.at < self.bytes.len() {
            self.skip_break();
        }
        Ok((keep, increment))
    }

    /// Passes over indentation and empty lines; finds out the indentation where it is not known.
    fn block_breaks(&mut self, indent: &mut isize, breaks: &mut String, mark: Mark) -> Scanned<()> {
        let mut deepest = 0;
        loop {
            let mut column = 0;
            while (*indent == 0 || column < *indent) && self.byte(0) == Some(b' ') {
                self.at += 1;
                column += 1;
            }
            deepest = deepest.max(column);
            if (*indent == 0 || column < *indent) && self.byte(0) == Some(b'\t') {
                return SyntaxFault::new(SyntaxProblem::Tab, self.here(), mark);
            }
            if self.break_length(0) == 0 {
                break;
            }
            breaks.push_str(self.skip_break());
        }
        if *indent == 0 {
            *indent = deepest.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}

/// Which line breaks stay at the end of a block text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    One,
    All,
}
