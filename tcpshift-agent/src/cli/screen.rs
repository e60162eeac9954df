//! Standard output and standard error: writing that never panics, and colour where it is wanted.
//!
//! Control characters never reach a terminal: names and messages come from files that other users may have written.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::stop::Stop;
use crate::logging;
pub(super) use crate::trust::text::clean;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Writes to standard output at once. A closed pipe is [`Stop::ClosedPipe`].
pub(super) fn print(text: &str) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Stop::ClosedPipe,
        _ => Stop::Failed(format!("cannot write to standard output: {error}")),
    })
}

/// Writes a line to standard error; an agent does not wait for the reader. An error is ignored: it could not be printed.
pub(super) fn complain(line: &str) {
    if !logging::say(line) {
        drop(writeln!(io::stderr().lock(), "{line}"));
    }
}

/// `error: MESSAGE`
pub(super) fn error(message: &str) {
    complain(&format!("{} {}", coloured("error:", RED, wants_colour(&io::stderr())), clean(message)));
}

/// kubectl's form, `Error from server (REASON): MESSAGE`
pub(super) fn error_from_server(reason: &str, message: &str) {
    let start = format!("Error from server ({reason}):");
    complain(&format!("{} {}", coloured(&start, RED, wants_colour(&io::stderr())), clean(message)));
}

/// A note on standard error, with nothing before it.
pub(super) fn note(message: &str) {
    complain(&clean(message));
}

/// A problem as it prints itself, its severity coloured.
pub(super) fn problem(text: &str, is_error: bool) {
    let (word, colour) = if is_error { ("error:", RED) } else { ("warning:", YELLOW) };
    let coloured = coloured(word, colour, wants_colour(&io::stderr()));
    complain(&clean(text).replacen(word, &coloured, 1));
}

/// A heading for standard output.
pub(super) fn heading(text: &str) -> String {
    coloured(text, BOLD, wants_colour(&io::stdout()))
}

/// A warning on standard output, in red.
pub(super) fn alarm(text: &str) -> String {
    coloured(text, RED, wants_colour(&io::stdout()))
}

/// A value as JSON, indented as kubectl indents.
pub(super) fn json(value: &impl Serialize) -> Result<String, Stop> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| Stop::Failed(format!("cannot write the answer as JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a person reads standard output, and not a program or a file.
pub(super) fn is_read_by_a_person() -> bool {
    io::stdout().is_terminal()
}

fn wants_colour(output: &impl IsTerminal) -> bool {
    output.is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

fn coloured(text: &str, colour: &str, wanted: bool) -> String {
    if wanted { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
}
