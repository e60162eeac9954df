//! Takes a document of YAML apart into tokens, as kubectl's reader does.
//!
//! kubectl reads with go-yaml, version 2: a translation of libyaml with small differences. This scanner follows it
//! there, so that both take and refuse the same texts. No crate does: saphyr-parser reads YAML 1.2, and libyaml-safer follows
//! libyaml, counts bytes for characters, and panics (for one at `[!!str, a]`).
//!
//! A token may turn out to have been the name of a field when its colon comes. So tokens wait in a queue as long as that is
//! possible: within one line and 1024 characters.

mod candidate;
pub(super) mod characters;
mod collection;
mod position;
mod property;
mod scalar;
mod token;

use std::collections::VecDeque;

use super::fault::{Mark, SyntaxFault, SyntaxProblem};
use candidate::Candidate;
pub(super) use token::{Style, Token, TokenKind};

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

    /// A token that may be a name: a scalar, or the anchor or tag before one.
    fn property(&mut self, scan: impl FnOnce(&mut Self) -> Scanned<Token<'t>>) -> Scanned<()> {
        self.save_candidate()?;
        self.may_be_key = false;
        let token = scan(self)?;
        self.tokens.push_back(token);
        Ok(())
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
}
