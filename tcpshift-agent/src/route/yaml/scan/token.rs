//! Tokens of YAML.

use std::borrow::Cow;

use super::Mark;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::route::yaml) enum Style {
    Plain,
    Quoted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::route::yaml) enum TokenKind<'t> {
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
pub(in crate::route::yaml) struct Token<'t> {
    pub(in crate::route::yaml) kind: TokenKind<'t>,
    pub(in crate::route::yaml) mark: Mark,
}
