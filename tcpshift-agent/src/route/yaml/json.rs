//! Reads a stream of JSON: values one behind the other, as `jq '.items[]'` and `cat *.json` print them.
//!
//! It takes what Go's decoder takes. A value that is not valid JSON ends where its brackets close, or before the next line that
//! begins with `{`, so that a fault in one value does not hide those of the values behind it.

mod split;
mod value;

pub(super) use split::{JsonPart, parts};
pub(super) use value::read;

/// Whether a text looks like JSON, valid or not.
pub(super) fn is_meant(text: &str) -> bool {
    text.trim_start().strip_prefix('{').is_some_and(|inside| inside.trim_start().starts_with(['"', '}']))
}

/// Line breaks in a text.
fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}
