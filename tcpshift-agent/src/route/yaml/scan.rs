//! Takes a document of YAML apart into tokens, as kubectl's reader does.
//!
//! kubectl reads with go-yaml, version 2: a translation of libyaml that departs from it in places. This scanner follows it
//! there, so that both take and refuse the same texts. No crate does: saphyr-parser reads YAML 1.2, and libyaml-safer follows
//! libyaml, counts bytes for characters, and panics (for one at `[!!str, a]`).
//!
//! A token may turn out to have been the name of a field when its colon comes. So tokens wait in a queue as long as that is
//! possible: within one line and 1024 characters.

pub(super) mod characters;
mod property;
mod scalar;

use std::borrow::Cow;
use std::collections::VecDeque;

use super::fault::{Mark, SyntaxFault, SyntaxProblem};

/// How many flow lists and maps may be open. It bounds the work for each token, and is more than any document may have.
const MAX_FLOW: usize = 128;
/// In how many characters the colon has to follow the beginning of a name.
const MAX_KEY: usize = 1024;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind<'t> {
    StreamEnd,
    Version(u8, u8),
    TagDirective(&'t str, String),
    DocumentStart,
    DocumentEnd,
    BlockList,
    BlockMap,
    BlockEnd,
    FlowList,
    FlowListEnd,
    FlowMap,
    FlowMapEnd,
    FlowEntry,
    BlockEntry,
    Key,
    Value,
    Alias(&'t str),
    Anchor(&'t str),
    Tag(&'t str, String),
    Scalar(Cow<'t, str>, Style),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind<'t>,
    pub(super) mark: Mark,
}

/// A token that is the name of a field if a colon follows.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    is_possible: bool,
    /// Nothing else could stand here.
    is_required: bool,
    /// How many tokens were before it.
    number: usize,
    mark: Mark,
    line_start: usize,
}

pub(super) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    line: usize,
    line_start: usize,
    tokens: VecDeque<Token<'t>>,
    /// Tokens that were taken from the queue.
    taken: usize,
    is_available: bool,
    /// Columns of the block lists and maps that are open; -1 is the document itself.
    indent: isize,
    indents: Vec<isize>,
    may_be_key: bool,
    /// One for the block context and one for each open flow list or map.
    candidates: Vec<Candidate>,
    /// First and last line of the last quoted text of several lines.
    pub(super) quoted: Option<(Mark, usize)>,
}

type Scanned<T> = Result<T, SyntaxFault>;

impl<'t> Scanner<'t> {
    /// Scans a text whose first line has this number. A byte order mark at its beginning is passed over.
    pub(super) fn new(text: &'t str, line: usize) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self {
            text,
            bytes: text.as_bytes(),
            at,
            line,
            line_start: at,
            tokens: VecDeque::with_capacity(16),
            taken: 0,
            is_available: false,
            indent: -1,
            indents: Vec::with_capacity(16),
            may_be_key: true,
            candidates: vec![Candidate::default()],
            quoted: None,
        }
    }

    /// The next token. It stays until [`Self::skip`]. After the end of the text it is always that end.
    pub(super) fn peek(&mut self) -> Scanned<&mut Token<'t>> {
        if !self.is_available {
            while self.needs_more()? {
                self.fetch()?;
            }
            self.is_available = true;
        }
        let end = Token { kind: TokenKind::StreamEnd, mark: Mark { offset: self.at, line: self.line } };
        if self.tokens.is_empty() {
            self.tokens.push_back(end);
        }
        Ok(&mut self.tokens[0])
    }

    /// Where the next token is.
    pub(super) fn mark(&mut self) -> Scanned<Mark> {
        Ok(self.peek()?.mark)
    }

    pub(super) fn skip(&mut self) {
        self.is_available = false;
        if self.tokens.pop_front().is_some() {
            self.taken += 1;
        }
    }

    fn needs_more(&mut self) -> Scanned<bool> {
        if self.tokens.is_empty() {
            return Ok(true);
        }
        let taken = self.taken;
        let first = self.candidates.iter().position(|candidate| candidate.is_possible && candidate.number == taken);
        first.map_or(Ok(false), |index| self.is_valid(index))
    }

    fn fetch(&mut self) -> Scanned<()> {
        self.skip_to_token();
        let column = if self.in_flow() { 0 } else { self.column() };
        self.close_blocks(column);
        let Some(first) = self.byte(0) else { return self.end() };
        if self.at == self.line_start {
            match first {
                b'%' => return self.directive(),
                b'-' if self.is_indicator() => return self.document_indicator(TokenKind::DocumentStart),
                b'.' if self.is_indicator() => return self.document_indicator(TokenKind::DocumentEnd),
                _ => {}
            }
        }
        let blank_follows = self.is_blank_or_end(1);
        match first {
            b'[' => self.flow_start(TokenKind::FlowList),
            b'{' => self.flow_start(TokenKind::FlowMap),
            b']' => self.flow_end(TokenKind::FlowListEnd),
            b'}' => self.flow_end(TokenKind::FlowMapEnd),
            b',' => {
                self.drop_candidate()?;
                self.may_be_key = true;
                self.push_bytes(TokenKind::FlowEntry, 1);
                Ok(())
            }
            b'-' if blank_follows => self.entry(column),
            b'?' if self.in_flow() || blank_follows => self.key(column),
            b':' if self.in_flow() || blank_follows => self.value(column),
            b'*' => self.property(Self::alias),
            b'&' => self.property(Self::anchor),
            b'!' => self.property(Self::tag),
            b'|' | b'>' if !self.in_flow() => {
                self.drop_candidate()?;
                self.may_be_key = true;
                let token = self.block_scalar(first == b'|')?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' | b'"' => self.property(|scanner| scanner.quoted(first == b'\'')),
            b'?' | b':' if !self.in_flow() => self.property(Self::plain),
            b' ' | b'\t' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => {
                let start = self.text[self.at..].chars().next().unwrap_or(' ');
                SyntaxFault::new(SyntaxProblem::Start(start), self.here(), self.here())
            }
            _ => self.property(Self::plain),
        }
    }

    /// Passes over blanks, comments and line breaks.
    fn skip_to_token(&mut self) {
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

    fn skip_comment(&mut self) {
        if self.byte(0) == Some(b'#') {
            self.skip_line();
        }
    }

    /// To the end of the line.
    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.break_length(0) == 0 {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Scanned<()> {
        // The last line ends here too, so that nothing in it waits for a colon.
        self.line_start = self.at;
        self.close_blocks(-1);
        self.drop_candidate()?;
        self.may_be_key = false;
        self.push_bytes(TokenKind::StreamEnd, 0);
        Ok(())
    }

    fn document_indicator(&mut self, kind: TokenKind<'t>) -> Scanned<()> {
        self.close_blocks(-1);
        self.drop_candidate()?;
        self.may_be_key = false;
        self.push_bytes(kind, 3);
        Ok(())
    }

    fn directive(&mut self) -> Scanned<()> {
        self.close_blocks(-1);
        self.drop_candidate()?;
        self.may_be_key = false;
        let token = self.scan_directive()?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn flow_start(&mut self, kind: TokenKind<'t>) -> Scanned<()> {
        self.save_candidate()?;
        if self.candidates.len() > MAX_FLOW {
            return SyntaxFault::new(SyntaxProblem::Depth, self.here(), self.here());
        }
        self.candidates.push(Candidate::default());
        self.may_be_key = true;
        self.push_bytes(kind, 1);
        Ok(())
    }

    fn flow_end(&mut self, kind: TokenKind<'t>) -> Scanned<()> {
        self.drop_candidate()?;
        if self.candidates.len() > 1 {
            self.candidates.pop();
        }
        self.may_be_key = false;
        self.push_bytes(kind, 1);
        Ok(())
    }

    fn entry(&mut self, column: isize) -> Scanned<()> {
        if !self.in_flow() {
            if !self.may_be_key {
                return SyntaxFault::new(SyntaxProblem::Entry, self.here(), self.here());
            }
            self.open_block(column, None, TokenKind::BlockList, self.here());
        }
        self.drop_candidate()?;
        self.may_be_key = true;
        self.push_bytes(TokenKind::BlockEntry, 1);
        Ok(())
    }

    fn key(&mut self, column: isize) -> Scanned<()> {
        if !self.in_flow() {
            if !self.may_be_key {
                return SyntaxFault::new(SyntaxProblem::Key, self.here(), self.here());
            }
            self.open_block(column, None, TokenKind::BlockMap, self.here());
        }
        self.drop_candidate()?;
        self.may_be_key = !self.in_flow();
        self.push_bytes(TokenKind::Key, 1);
        Ok(())
    }

    fn value(&mut self, column: isize) -> Scanned<()> {
        let last = self.candidates.len() - 1;
        if self.is_valid(last)? {
            let Candidate { number, mark, .. } = self.candidates[last];
            let index = number - self.taken;
            self.tokens.insert(index, Token { kind: TokenKind::Key, mark });
            if !self.in_flow() {
                let column = self.columns(mark.offset - self.line_start);
                self.open_block(column, Some(index), TokenKind::BlockMap, mark);
            }
            self.candidates[last].is_possible = false;
            self.may_be_key = false;
        } else {
            if !self.in_flow() {
                if !self.may_be_key {
                    return SyntaxFault::new(SyntaxProblem::Value, self.here(), self.candidates[last].mark);
                }
                self.open_block(column, None, TokenKind::BlockMap, self.here());
            }
            self.may_be_key = !self.in_flow();
        }
        self.push_bytes(TokenKind::Value, 1);
        Ok(())
    }

    /// A token that may be a name: a scalar, or what stands before one.
    fn property(&mut self, scan: impl FnOnce(&mut Self) -> Scanned<Token<'t>>) -> Scanned<()> {
        self.save_candidate()?;
        self.may_be_key = false;
        let token = scan(self)?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn save_candidate(&mut self) -> Scanned<()> {
        if !self.may_be_key {
            return Ok(());
        }
        let is_required = !self.in_flow() && self.indent == self.column();
        self.drop_candidate()?;
        let number = self.taken + self.tokens.len();
        let (mark, line_start) = (self.here(), self.line_start);
        if let Some(last) = self.candidates.last_mut() {
            *last = Candidate { is_possible: true, is_required, number, mark, line_start };
        }
        Ok(())
    }

    fn drop_candidate(&mut self) -> Scanned<()> {
        let here = self.here();
        let Some(last) = self.candidates.last_mut() else { return Ok(()) };
        if last.is_possible && last.is_required {
            return SyntaxFault::new(SyntaxProblem::NoColon, here, last.mark);
        }
        last.is_possible = false;
        Ok(())
    }

    /// Whether a candidate may still be a name: in this line, and not too long.
    fn is_valid(&mut self, index: usize) -> Scanned<bool> {
        let Candidate { is_possible, is_required, mark, line_start, .. } = self.candidates[index];
        if !is_possible {
            return Ok(false);
        }
        let length = self.at - mark.offset;
        let is_long =
            length > MAX_KEY && (length > 4 * MAX_KEY || self.text[mark.offset..self.at].chars().count() > MAX_KEY);
        if line_start == self.line_start && !is_long {
            return Ok(true);
        }
        if is_required {
            return SyntaxFault::new(SyntaxProblem::NoColon, self.here(), mark);
        }
        self.candidates[index].is_possible = false;
        Ok(false)
    }

    /// Begins a block list or map if this column is further in than those around it.
    fn open_block(&mut self, column: isize, index: Option<usize>, kind: TokenKind<'t>, mark: Mark) {
        if self.in_flow() || self.indent >= column {
            return;
        }
        self.indents.push(self.indent);
        self.indent = column;
        let index = index.unwrap_or(self.tokens.len());
        self.tokens.insert(index, Token { kind, mark });
    }

    /// Ends the block lists and maps that are further in than this column.
    fn close_blocks(&mut self, column: isize) {
        while !self.in_flow() && self.indent > column {
            self.push_bytes(TokenKind::BlockEnd, 0);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// A token of the next bytes, none of which is a line break.
    fn push_bytes(&mut self, kind: TokenKind<'t>, length: usize) {
        let mark = self.here();
        self.at += length;
        self.tokens.push_back(Token { kind, mark });
    }

    fn in_flow(&self) -> bool {
        self.candidates.len() > 1
    }

    fn here(&self) -> Mark {
        Mark { offset: self.at, line: self.line }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Characters before this position of the line.
    fn column(&self) -> isize {
        self.columns(self.at - self.line_start)
    }

    /// Characters in so many bytes of the line.
    fn columns(&self, bytes: usize) -> isize {
        let part = &self.text[self.line_start..self.line_start + bytes];
        let columns = if part.is_ascii() { bytes } else { part.chars().count() };
        isize::try_from(columns).unwrap_or(isize::MAX)
    }

    /// `---` or `...`, and a blank or the end behind it.
    fn is_indicator(&self) -> bool {
        let rest = &self.bytes[self.at..];
        (rest.starts_with(b"---") || rest.starts_with(b"...")) && self.is_blank_or_end(3)
    }

    fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), Some(b' ' | b'\t'))
    }

    fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    fn is_break_or_end(&self, ahead: usize) -> bool {
        self.at + ahead >= self.bytes.len() || self.break_length(ahead) > 0
    }

    /// Bytes of the line break that stands here; 0 if there is none.
    fn break_length(&self, ahead: usize) -> usize {
        match self.bytes.get(self.at + ahead..).unwrap_or_default() {
            [b'\r', b'\n', ..] | [0xC2, 0x85, ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            [0xE2, 0x80, 0xA8 | 0xA9, ..] => 3,
            _ => 0,
        }
    }

    /// Passes over a line break, and returns what it means in a text.
    fn skip_break(&mut self) -> &'t str {
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
}
