//! Lists and maps by indentation.

use super::super::fault::{SyntaxFault, SyntaxProblem};
use super::super::scan::TokenKind;
use super::{Next, Parser, State, YamlEvent, nothing};

impl<'t> Parser<'t> {
    pub(super) fn block_list(&mut self) -> Next<'t> {
        let token = self.scanner.peek()?;
        let mark = token.mark;
        match token.kind {
            TokenKind::BlockEntry => {
                self.scanner.skip();
                self.state = State::BlockList;
                match self.scanner.peek()?.kind {
                    TokenKind::BlockEntry | TokenKind::BlockEnd => Ok((nothing(), mark)),
                    _ => self.inner(State::BlockList, true, false),
                }
            }
            TokenKind::BlockEnd => self.close(),
            _ => SyntaxFault::new(SyntaxProblem::NotAnItem, mark, self.opened()),
        }
    }

    pub(super) fn indentless_list(&mut self) -> Next<'t> {
        let token = self.scanner.peek()?;
        let mark = token.mark;
        if token.kind != TokenKind::BlockEntry {
            self.pop();
            return Ok((YamlEvent::Close, mark));
        }
        self.scanner.skip();
        self.state = State::IndentlessList;
        match self.scanner.peek()?.kind {
            TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => Ok((nothing(), mark)),
            _ => self.inner(State::IndentlessList, true, false),
        }
    }

    pub(super) fn block_map_key(&mut self) -> Next<'t> {
        let token = self.scanner.peek()?;
        let mark = token.mark;
        match token.kind {
            TokenKind::Key => {
                self.scanner.skip();
                self.state = State::BlockMapValue;
                match self.scanner.peek()?.kind {
                    TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => Ok((nothing(), mark)),
                    _ => self.inner(State::BlockMapValue, true, true),
                }
            }
            TokenKind::BlockEnd => self.close(),
            _ => SyntaxFault::new(SyntaxProblem::NotAField, mark, self.opened()),
        }
    }

    pub(super) fn block_map_value(&mut self) -> Next<'t> {
        self.state = State::BlockMapKey;
        let token = self.scanner.peek()?;
        let mark = token.mark;
        if token.kind != TokenKind::Value {
            return Ok((nothing(), mark));
        }
        self.scanner.skip();
        match self.scanner.peek()?.kind {
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => Ok((nothing(), mark)),
            _ => self.inner(State::BlockMapKey, true, true),
        }
    }
}
