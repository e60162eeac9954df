//! Lists and maps in brackets.

use super::super::fault::{SyntaxFault, SyntaxProblem};
use super::super::scan::TokenKind;
use super::{Next, Parsed, Parser, State, YamlEvent, nothing};

impl<'t> Parser<'t> {
    pub(super) fn flow_list(&mut self, is_first: bool) -> Next<'t> {
        self.flow_separator(is_first, &TokenKind::FlowListEnd, SyntaxProblem::FlowList)?;
        let token = self.scanner.peek()?;
        let mark = token.mark;
        match token.kind {
            TokenKind::FlowListEnd => self.close(),
            TokenKind::Key => {
                self.scanner.skip();
                self.state = State::PairKey;
                Ok((YamlEvent::Map { anchor: None }, mark))
            }
            _ => self.inner(State::FlowList, false, false),
        }
    }

    /// The name of a map of one field that stands in a flow list without braces.
    pub(super) fn pair_key(&mut self) -> Next<'t> {
        match self.scanner.peek()?.kind {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowListEnd => {
                // go-yaml passes over this token, as libyaml does.
                let mark = self.scanner.mark()?;
                self.scanner.skip();
                self.state = State::PairValue;
                Ok((nothing(), mark))
            }
            _ => self.inner(State::PairValue, false, false),
        }
    }

    pub(super) fn flow_map(&mut self, is_first: bool) -> Next<'t> {
        self.flow_separator(is_first, &TokenKind::FlowMapEnd, SyntaxProblem::FlowMap)?;
        match self.scanner.peek()?.kind {
            TokenKind::FlowMapEnd => self.close(),
            TokenKind::Key => {
                self.scanner.skip();
                match self.scanner.peek()?.kind {
                    TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMapEnd => {
                        self.state = State::FlowMapValue;
                        self.nothing()
                    }
                    _ => self.inner(State::FlowMapValue, false, false),
                }
            }
            _ => self.inner(State::FlowMapNoValue, false, false),
        }
    }

    pub(super) fn flow_value(&mut self, next: State, end: &TokenKind<'t>) -> Next<'t> {
        if self.scanner.peek()?.kind == TokenKind::Value {
            self.scanner.skip();
            let kind = &self.scanner.peek()?.kind;
            if *kind != TokenKind::FlowEntry && kind != end {
                return self.inner(next, false, false);
            }
        }
        self.state = next;
        self.nothing()
    }

    /// The comma before an item that is not the first.
    pub(super) fn flow_separator(&mut self, is_first: bool, end: &TokenKind<'t>, problem: SyntaxProblem) -> Parsed<()> {
        let token = self.scanner.peek()?;
        if is_first || token.kind == *end {
            return Ok(());
        }
        if token.kind != TokenKind::FlowEntry {
            return SyntaxFault::new(problem, token.mark, self.opened());
        }
        self.scanner.skip();
        Ok(())
    }
}
