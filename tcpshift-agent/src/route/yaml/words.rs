//! Messages and cures for the faults of a text.
//!
//! Most faults come from a few kinds of mistakes, and the character at which a scanner stops is often not the mistake. So the
//! lines around a fault are examined first.

use super::Malformed;
use super::fault::{Mark, SyntaxFault, SyntaxProblem};

/// Lines before a fault that are examined.
const LINES_BEFORE: usize = 3;

/// A fault of a text whose first line has this number. `quoted` is where the last quoted text of several lines begins,
/// and the line where it ends.
pub(super) fn explain(text: &str, first: usize, fault: SyntaxFault, quoted: Option<(Mark, usize)>) -> Malformed {
    let SyntaxFault { problem, at, context } = fault;
    let lines = Lines { text, first };
    let slip = conflict(&lines).or_else(|| lines.template(at.line)).or_else(|| lines.template(context.line));
    if let Some(found) = slip {
        return found;
    }
    if let Some((begin, end)) = quoted
        && (at.line == end || context.line == end)
    {
        let message = format!("the quoted text that ends here begins in line {}", begin.line);
        return Malformed::new(end, message, "look for a quote that is missing in one of the lines between them");
    }
    let (line, message, cure) = said(&lines, problem, at, context);
    Malformed::new(line, message, cure)
}

/// The template that was left near a line, if there is one.
pub(super) fn template(text: &str, first: usize, line: usize) -> Option<Malformed> {
    Lines { text, first }.template(line)
}

struct Lines<'t> {
    text: &'t str,
    first: usize,
}

impl<'t> Lines<'t> {
    /// A line by its number; empty if there is none.
    fn get(&self, number: usize) -> &'t str {
        let index = number.checked_sub(self.first);
        index.and_then(|index| self.text.lines().nth(index)).unwrap_or_default()
    }

    /// The line of a position, and the part of the line before it.
    fn around(&self, mark: Mark) -> (&'t str, &'t str) {
        let offset = mark.offset.min(self.text.len());
        let begin = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |newline| offset + newline);
        (&self.text[begin..end], &self.text[begin..offset])
    }

    /// Lines up to this one, the nearest first.
    fn before(&self, line: usize, count: usize) -> impl Iterator<Item = (usize, &'t str)> {
        let last = (line + 1).saturating_sub(self.first);
        let skipped = last.saturating_sub(count);
        let lines: Vec<_> = self.text.lines().enumerate().skip(skipped).take(last - skipped).collect();
        let first = self.first;
        lines.into_iter().rev().map(move |(index, line)| (first + index, line))
    }

    /// Text in this line, or soon before it, that a program should have replaced.
    fn template(&self, line: usize) -> Option<Malformed> {
        for (number, text) in self.before(line, LINES_BEFORE) {
            let code = text.split(" #").next().unwrap_or_default();
            let is_bare = |mark: &str| code.find(mark).is_some_and(|at| !is_quoted(&code[..at]));
            if is_bare("{{") || is_bare("{%") {
                let cure = "render it first, as with `helm template`; a value that shall stay so is put in quotes";
                return Some(Malformed::new(number, "an unrendered template? `{{` cannot stand here", cure));
            }
            if number == line && (is_bare("${") || is_bare("$(")) {
                let cure = "fill it in first, as with `envsubst`; a value that shall stay so is put in quotes";
                return Some(Malformed::new(number, "an unfilled variable? `$` and a bracket cannot stand here", cure));
            }
        }
        None
    }
}

/// The conflict markers of a merge.
fn conflict(lines: &Lines<'_>) -> Option<Malformed> {
    let is_marker = |line: &str| {
        ["<<<<<<< ", ">>>>>>> ", "||||||| "].iter().any(|marker| line.starts_with(marker)) || line == "======="
    };
    let (index, line) = lines.text.lines().enumerate().find(|(_, line)| is_marker(line))?;
    let marker = &line[..7];
    let message = format!("a conflict of a merge stands here (`{marker}`)");
    Some(Malformed::new(lines.first + index, message, "keep one of both sides, and remove the lines of markers"))
}

/// The line, what is wrong, and what to do.
fn said(lines: &Lines<'_>, problem: SyntaxProblem, at: Mark, context: Mark) -> (usize, String, String) {
    let (line, before) = lines.around(at);
    let own = |message: &str, cure: &str| (at.line, message.to_owned(), cure.to_owned());
    let near = lines.before(at.line, LINES_BEFORE).find(|(_, line)| indentation(line).contains('\u{a0}'));
    if let Some((number, _)) = near {
        return (
            number,
            "a no-break space (U+00A0) indents this line".to_owned(),
            "indent with plain spaces".to_owned(),
        );
    }
    match problem {
        SyntaxProblem::Control('\u{feff}') | SyntaxProblem::Start('\u{feff}') => byte_order_mark(at.line),
        _ if line.contains('\u{feff}') => byte_order_mark(at.line),
        SyntaxProblem::Control('\0') => {
            own("a character of value 0 stands here", "remove it; save the file as UTF-8 if it is UTF-16")
        }
        SyntaxProblem::Control(character) => (
            at.line,
            format!("a control character (U+{:04X}) stands in column {}", character as u32, column(before)),
            "remove it; in a text it is written as an escape in double quotes".to_owned(),
        ),
        SyntaxProblem::Start('\t') | SyntaxProblem::Tab => own("a tab indents this line", "indent with spaces"),
        SyntaxProblem::Start('`') => own("a text cannot begin with a backtick", "put it in quotes"),
        SyntaxProblem::Start(character) => (
            at.line,
            format!("a text cannot begin with `{character}` (column {})", column(before)),
            "put it in quotes".to_owned(),
        ),
        SyntaxProblem::NoColon => no_colon(lines, context),
        SyntaxProblem::Entry => {
            own("a list cannot begin behind something else in a line", "begin a new line for its `- `")
        }
        SyntaxProblem::Key => own("`? ` cannot stand here", "put the value in quotes"),
        SyntaxProblem::Value => value(lines, at),
        SyntaxProblem::AnchorName { is_alias } => anchor(line, before, is_alias, at.line),
        SyntaxProblem::Tag => own("`!` begins a tag, and this is none", "put the value in quotes"),
        SyntaxProblem::TagHandle => own("the tag here is not declared", "remove it, or put the value in quotes"),
        SyntaxProblem::Directive => own(
            "a line that begins with `%` is a directive of YAML, and kubectl takes none",
            "remove all lines of `%`, or put the line in quotes if it is a text",
        ),
        SyntaxProblem::BlockHeader => {
            own("behind `|` or `>` the line must end", "begin the text in the next line, indented; or put it in quotes")
        }
        SyntaxProblem::Unclosed { is_single } => {
            let quote = if is_single { '\'' } else { '"' };
            let cure = format!("close it with `{quote}`");
            (context.line, format!("the text that begins with `{quote}` here has no end"), cure)
        }
        SyntaxProblem::Escape('/') => own("`\\/` means nothing in double quotes", "write `/`"),
        SyntaxProblem::Escape(letter) => (
            at.line,
            format!("`\\{letter}` means nothing in double quotes"),
            format!("write `\\\\{letter}` for a backslash, or use single quotes"),
        ),
        SyntaxProblem::EscapeCode => own(
            "`\\x`, `\\u` or `\\U` names no character here",
            "write two, four or eight hexadecimal digits of a character, or the character itself",
        ),
        SyntaxProblem::NoContent { in_flow: true } => {
            own("a value is missing before this", "look at the commas and brackets")
        }
        SyntaxProblem::NoContent { in_flow: false } => own("a value cannot begin with this", "put it in quotes"),
        SyntaxProblem::NotAnItem => (
            at.line,
            format!("this line is no item of the list that begins in line {}", context.line),
            "begin it with `- ` in the same column, or indent it by less than the list".to_owned(),
        ),
        SyntaxProblem::NotAField => not_a_field(line, before, at, context),
        SyntaxProblem::FlowList => unclosed_flow('[', ']', at, context, lines),
        SyntaxProblem::FlowMap => unclosed_flow('{', '}', at, context, lines),
        SyntaxProblem::Depth => {
            let Malformed { line, message, cure } = Malformed::too_deep(at.line);
            (line, message, cure)
        }
    }
}

fn byte_order_mark(line: usize) -> (usize, String, String) {
    let message = "a byte order mark (U+FEFF) stands inside the text".to_owned();
    (line, message, "remove it: it may only begin a file, or a document behind `---`".to_owned())
}

fn column(before: &str) -> usize {
    before.chars().count() + 1
}

/// `name:value` at the beginning of a line.
fn lacks_space(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("- ").trim_start();
    let (name, rest) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "-_./".contains(letter));
    (is_name && !rest.starts_with([' ', '\t', '/']) && !rest.is_empty()).then_some(name)
}

fn no_space(line: usize, name: &str) -> (usize, String, String) {
    (line, "a space is missing behind the colon".to_owned(), format!("write `{name}: ` and the value"))
}

fn no_colon(lines: &Lines<'_>, context: Mark) -> (usize, String, String) {
    let line = lines.get(context.line);
    if let Some(name) = lacks_space(line) {
        return no_space(context.line, name);
    }
    if line.trim_start().starts_with(['"', '\'', '[', '{']) {
        let cure = "end the name with `: ` in the same line";
        return (context.line, "a field is expected here, and no colon follows".to_owned(), cure.to_owned());
    }
    let cure = "write `name: value`; indent the line if it belongs to the text before";
    (context.line, "this line has no colon".to_owned(), cure.to_owned())
}

fn value(lines: &Lines<'_>, at: Mark) -> (usize, String, String) {
    for (number, line) in lines.before(at.line, LINES_BEFORE).skip(1) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        if let Some(name) = lacks_space(line) {
            return no_space(number, name);
        }
        break;
    }
    let (line, before) = lines.around(at);
    if before.trim_start().trim_start_matches("- ").contains(": ") || line.trim_start().starts_with(['"', '\'']) {
        let cure = "put the value in quotes if the colon belongs to it, else begin a new line for the field";
        return (at.line, format!("a second colon stands in this line (column {})", column(before)), cure.to_owned());
    }
    let message = "this field lies deeper than the one before, which has a value already".to_owned();
    (at.line, message, "indent both alike, or remove the value before".to_owned())
}

fn anchor(line: &str, before: &str, is_alias: bool, number: usize) -> (usize, String, String) {
    let sign = if is_alias { '*' } else { '&' };
    let word = line[before.len()..].split([' ', '\t', ',', ']', '}']).next().unwrap_or_default();
    let word = if word.len() > 64 { "*" } else { word };
    let what = if is_alias { "an alias" } else { "an anchor" };
    (number, format!("`{sign}` begins {what} in YAML, and no name follows"), format!("put it in quotes: `\"{word}\"`"))
}

fn not_a_field(line: &str, before: &str, at: Mark, context: Mark) -> (usize, String, String) {
    let rest = &line[before.len()..];
    if !before.trim().is_empty() {
        let is_quoted = before.trim_end().ends_with(['"', '\'']);
        let (message, cure) = if is_quoted {
            ("something stands behind the closing quote", "put the quotes around the whole value")
        } else {
            ("something stands behind the value", "put the whole value in quotes")
        };
        return (at.line, format!("{message} (column {})", column(before)), cure.to_owned());
    }
    if rest.starts_with("- ") || rest == "-" {
        let message = format!("a list item stands among the fields that begin in line {}", context.line);
        return (at.line, message, "indent it deeper, below the field whose list it is".to_owned());
    }
    let message = format!("this line is indented unlike the fields that begin in line {}", context.line);
    (at.line, message, "indent fields of one map alike".to_owned())
}

fn unclosed_flow(open: char, close: char, at: Mark, context: Mark, lines: &Lines<'_>) -> (usize, String, String) {
    if at.offset >= lines.text.trim_end().len() {
        let message = format!("the `{open}` in this line is not closed");
        return (context.line, message, format!("close it with `{close}`"));
    }
    let message = format!("a comma or `{close}` is missing before this; line {} has the `{open}`", context.line);
    let cure = format!("close it with `{close}`, separate values with commas, or put texts with `: ` or `?` in quotes");
    (at.line, message, cure)
}

/// Whether a quote is open at the end of this beginning of a line.
fn is_quoted(before: &str) -> bool {
    let mut open = None;
    for letter in before.chars() {
        match open {
            None if matches!(letter, '"' | '\'') => open = Some(letter),
            Some(quote) if quote == letter => open = None,
            _ => {}
        }
    }
    open.is_some()
}

/// The blanks that a line begins with.
fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}
