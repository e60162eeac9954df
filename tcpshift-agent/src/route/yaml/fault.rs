//! The faults of a text, and their positions.

/// The problem that a scanner or parser met. [`super::words`] has its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyntaxProblem {
    /// A character that no YAML may hold.
    Control(char),
    /// A character that begins nothing.
    Start(char),
    /// A line that should be `name: value` and has no colon.
    NoColon,
    /// A `- ` where no list can begin.
    Entry,
    /// A `? ` where no field can begin.
    Key,
    /// A `: ` where no value can begin.
    Value,
    /// A tab in the indentation.
    Tab,
    /// `*` or `&` without a name.
    AnchorName { is_alias: bool },
    /// A tag that is not complete.
    Tag,
    /// A tag with a handle that no `%TAG` line declares.
    TagHandle,
    /// A line that begins with `%`: no directive, one that stands twice, another version than 1.1, or one in a document
    /// without `---`, as kubectl sees every directive.
    Directive,
    /// The first line of a block text, `|` or `>`, holds more than its indicators.
    BlockHeader,
    /// A quoted text that does not end.
    Unclosed { is_single: bool },
    /// A backslash before a letter that has no meaning there.
    Escape(char),
    /// `\x`, `\u` or `\U` without its digits, or with those of no character.
    EscapeCode,
    /// Nothing where a value is expected.
    NoContent { in_flow: bool },
    /// A list item or something else among the items of a list.
    NotAnItem,
    /// Something else than a field among fields.
    NotAField,
    /// No `,` or `]` behind an item.
    FlowList,
    /// No `,` or `}` behind a field.
    FlowMap,
    /// Lists and maps lie too deep in each other.
    Depth,
}

/// A problem and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxFault {
    pub(super) problem: SyntaxProblem,
    /// Where the scanner or parser met it.
    pub(super) at: Mark,
    /// The beginning of the quoted text, list or field that it is in.
    pub(super) context: Mark,
}

/// A position in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// In bytes.
    pub(super) offset: usize,
    /// From 1.
    pub(super) line: usize,
}

impl SyntaxFault {
    pub(super) fn new<T>(problem: SyntaxProblem, at: Mark, context: Mark) -> Result<T, Self> {
        Err(Self { problem, at, context })
    }
}
