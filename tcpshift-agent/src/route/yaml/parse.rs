//! From tokens to events: the beginnings and ends of values, lists and maps.
//!
//! A machine of states as in libyaml, so that nesting costs no stack. It reads one document; what follows is left.

mod block;
mod flow;

use std::borrow::Cow;
use std::collections::HashMap;

use super::fault::{Mark, SyntaxFault, SyntaxProblem};
use super::scan::{Scanner, Style, TokenKind};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum YamlEvent<'t> {
    /// The document is at its end.
    End,
    Alias(&'t str),
    Scalar {
        anchor: Option<&'t str>,
        tag: Option<String>,
        text: Cow<'t, str>,
        is_plain: bool,
    },
    List {
        anchor: Option<&'t str>,
    },
    Map {
        anchor: Option<&'t str>,
    },
    /// The end of a list or map.
    Close,
}

/// What the parser expects next.
#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    End,
    BlockListFirst,
    BlockList,
    IndentlessList,
    BlockMapFirst,
    BlockMapKey,
    BlockMapValue,
    FlowListFirst,
    FlowList,
    PairKey,
    PairValue,
    PairEnd,
    FlowMapFirst,
    FlowMapKey,
    FlowMapValue,
    FlowMapNoValue,
}

pub(super) struct Parser<'t> {
    pub(super) scanner: Scanner<'t>,
    state: State,
    /// The states after the ends of the open lists and maps.
    states: Vec<State>,
    /// The beginnings of the open lists and maps.
    marks: Vec<Mark>,
    /// The prefixes that `%TAG` lines declare, by handle.
    tags: HashMap<&'t str, String>,
}

type Parsed<T> = Result<T, SyntaxFault>;
type Next<'t> = Parsed<(YamlEvent<'t>, Mark)>;

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str, line: usize) -> Self {
        let scanner = Scanner::new(text, line);
        Self { scanner, state: State::Start, states: Vec::new(), marks: Vec::new(), tags: HashMap::new() }
    }

    /// The next event, and where it is.
    pub(super) fn next(&mut self) -> Next<'t> {
        match self.state {
            State::Start => self.start(),
            State::End => Ok((YamlEvent::End, self.scanner.mark()?)),
            State::BlockListFirst => {
                self.open()?;
                self.block_list()
            }
            State::BlockList => self.block_list(),
            State::IndentlessList => self.indentless_list(),
            State::BlockMapFirst => {
                self.open()?;
                self.block_map_key()
            }
            State::BlockMapKey => self.block_map_key(),
            State::BlockMapValue => self.block_map_value(),
            State::FlowListFirst => {
                self.open()?;
                self.flow_list(true)
            }
            State::FlowList => self.flow_list(false),
            State::PairKey => self.pair_key(),
            State::PairValue => self.flow_value(State::PairEnd, &TokenKind::FlowListEnd),
            State::PairEnd => {
                self.state = State::FlowList;
                Ok((YamlEvent::Close, self.scanner.mark()?))
            }
            State::FlowMapFirst => {
                self.open()?;
                self.flow_map(true)
            }
            State::FlowMapKey => self.flow_map(false),
            State::FlowMapValue => self.flow_value(State::FlowMapKey, &TokenKind::FlowMapEnd),
            State::FlowMapNoValue => {
                self.state = State::FlowMapKey;
                self.nothing()
            }
        }
    }

    /// The beginning of a text behind the document, if there is one besides `...`, comments and directives.
    pub(super) fn rest(&mut self) -> Parsed<Option<Mark>> {
        loop {
            let token = self.scanner.peek()?;
            match token.kind {
                TokenKind::StreamEnd => return Ok(None),
                TokenKind::DocumentEnd | TokenKind::Version(..) | TokenKind::TagDirective(..) => self.scanner.skip(),
                _ => return Ok(Some(token.mark)),
            }
        }
    }

    fn start(&mut self) -> Next<'t> {
        let mut version = false;
        let mut directive = None;
        loop {
            let token = self.scanner.peek()?;
            let mark = token.mark;
            match &mut token.kind {
                TokenKind::Version(major, minor) => {
                    if version {
                        return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                    }
                    if (*major, *minor) != (1, 1) {
                        return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                    }
                    version = true;
                }
                TokenKind::TagDirective(handle, prefix) => {
                    let (handle, prefix) = (*handle, std::mem::take(prefix));
                    if self.tags.insert(handle, prefix).is_some() {
                        return SyntaxFault::new(SyntaxProblem::Directive, mark, mark);
                    }
                }
                TokenKind::DocumentStart => {
                    self.scanner.skip();
                    self.states.push(State::End);
                    return self.content();
                }
                TokenKind::StreamEnd if directive.is_none() => {
                    self.state = State::End;
                    return Ok((YamlEvent::End, mark));
                }
                _ => {
                    if let Some(directive) = directive {
                        return SyntaxFault::new(SyntaxProblem::Directive, directive, directive);
                    }
                    self.states.push(State::End);
                    return self.node(true, false);
                }
            }
            directive = directive.or(Some(mark));
            self.scanner.skip();
        }
    }

    /// The value behind `---`.
    fn content(&mut self) -> Next<'t> {
        match self.scanner.peek()?.kind {
            TokenKind::Version(..)
            | TokenKind::TagDirective(..)
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd => {
                self.pop();
                self.nothing()
            }
            _ => self.node(true, false),
        }
    }

    fn node(&mut self, is_block: bool, may_be_indentless: bool) -> Next<'t> {
        let start = self.scanner.mark()?;
        if let TokenKind::Alias(name) = self.scanner.peek()?.kind {
            self.scanner.skip();
            self.pop();
            return Ok((YamlEvent::Alias(name), start));
        }
        let (mut anchor, mut tag) = (None, None);
        loop {
            let token = self.scanner.peek()?;
            let mark = token.mark;
            match &mut token.kind {
                TokenKind::Anchor(name) if anchor.is_none() => anchor = Some(*name),
                TokenKind::Tag(handle, suffix) if tag.is_none() => {
                    let (handle, suffix) = (*handle, std::mem::take(suffix));
                    tag = Some(self.tag(handle, suffix, start, mark)?);
                }
                _ => break,
            }
            self.scanner.skip();
        }
        let token = self.scanner.peek()?;
        let mark = token.mark;
        let event = match &mut token.kind {
            TokenKind::BlockEntry if may_be_indentless => {
                self.state = State::IndentlessList;
                YamlEvent::List { anchor }
            }
            TokenKind::Scalar(text, style) => {
                let (text, is_plain) = (std::mem::take(text), *style == Style::Plain);
                self.scanner.skip();
                self.pop();
                YamlEvent::Scalar { anchor, tag, text, is_plain }
            }
            TokenKind::FlowList => {
                self.state = State::FlowListFirst;
                YamlEvent::List { anchor }
            }
            TokenKind::FlowMap => {
                self.state = State::FlowMapFirst;
                YamlEvent::Map { anchor }
            }
            TokenKind::BlockList if is_block => {
                self.state = State::BlockListFirst;
                YamlEvent::List { anchor }
            }
            TokenKind::BlockMap if is_block => {
                self.state = State::BlockMapFirst;
                YamlEvent::Map { anchor }
            }
            _ if anchor.is_some() || tag.is_some() => {
                self.pop();
                YamlEvent::Scalar { anchor, tag, text: Cow::Borrowed(""), is_plain: true }
            }
            _ => return SyntaxFault::new(SyntaxProblem::NoContent { in_flow: !is_block }, mark, start),
        };
        Ok((event, start))
    }

    /// A tag with its handle replaced.
    fn tag(&self, handle: &str, suffix: String, start: Mark, mark: Mark) -> Parsed<String> {
        let prefix = match (handle, self.tags.get(handle)) {
            ("", _) => return Ok(suffix),
            (_, Some(prefix)) => prefix,
            ("!", None) => "!",
            ("!!", None) => super::scalar::CORE_TAGS,
            _ => return SyntaxFault::new(SyntaxProblem::TagHandle, mark, start),
        };
        Ok(format!("{prefix}{suffix}"))
    }

    /// A value inside a list or map, and the state after it.
    fn inner(&mut self, next: State, is_block: bool, may_be_indentless: bool) -> Next<'t> {
        self.states.push(next);
        self.node(is_block, may_be_indentless)
    }

    /// Passes over the token that a list or map begins with.
    fn open(&mut self) -> Parsed<()> {
        let mark = self.scanner.mark()?;
        self.marks.push(mark);
        self.scanner.skip();
        Ok(())
    }

    fn close(&mut self) -> Next<'t> {
        let mark = self.scanner.mark()?;
        self.scanner.skip();
        self.marks.pop();
        self.pop();
        Ok((YamlEvent::Close, mark))
    }

    fn opened(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }

    fn pop(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    fn nothing(&mut self) -> Next<'t> {
        Ok((nothing(), self.scanner.mark()?))
    }
}

/// A value that is not written.
fn nothing<'t>() -> YamlEvent<'t> {
    YamlEvent::Scalar { anchor: None, tag: None, text: Cow::Borrowed(""), is_plain: true }
}
