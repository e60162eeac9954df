//! The beginnings and ends of lists and maps, by brackets (flow) or by indentation (block).

use super::candidate::Candidate;
use super::{Mark, Scanned, Scanner, SyntaxFault, SyntaxProblem, Token, TokenKind};

/// Open flow lists and maps, at most. It bounds the work for each token; documents may have fewer.
const MAX_FLOW: usize = 128;

impl<'t> Scanner<'t> {
    pub(super) fn flow_start(&mut self, kind: TokenKind<'t>) -> Scanned<()> {
        self.save_candidate()?;
        if self.candidates.len() > MAX_FLOW {
            return SyntaxFault::new(SyntaxProblem::Depth, self.here(), self.here());
        }
        self.candidates.push(Candidate::default());
        self.may_be_key = true;
        self.push_bytes(kind, 1);
        Ok(())
    }

    pub(super) fn flow_end(&mut self, kind: TokenKind<'t>) -> Scanned<()> {
        self.drop_candidate()?;
        if self.candidates.len() > 1 {
            self.candidates.pop();
        }
        self.may_be_key = false;
        self.push_bytes(kind, 1);
        Ok(())
    }

    pub(super) fn entry(&mut self, column: isize) -> Scanned<()> {
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

    pub(super) fn key(&mut self, column: isize) -> Scanned<()> {
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

    pub(super) fn value(&mut self, column: isize) -> Scanned<()> {
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

    /// Begins a block list or map if this column is further in than those around it.
    pub(super) fn open_block(&mut self, column: isize, index: Option<usize>, kind: TokenKind<'t>, mark: Mark) {
        if self.in_flow() || self.indent >= column {
            return;
        }
        self.indents.push(self.indent);
        self.indent = column;
        let index = index.unwrap_or(self.tokens.len());
        self.tokens.insert(index, Token { kind, mark });
    }

    /// Ends the block lists and maps that are further in than this column.
    pub(super) fn close_blocks(&mut self, column: isize) {
        while !self.in_flow() && self.indent > column {
            self.push_bytes(TokenKind::BlockEnd, 0);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }
}
