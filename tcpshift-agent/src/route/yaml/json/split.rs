//! Splits a stream of JSON into its values.

use super::lines;

/// A value of a stream, or a text between two values.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::route::yaml) struct JsonPart<'a> {
    pub(in crate::route::yaml) text: &'a str,
    /// Its first line, from 1.
    pub(in crate::route::yaml) line: usize,
}

/// After this many parts that are no values the rest is one part: each may cost a look at all of the text behind it.
const MAX_FAULTS: usize = 10;

/// The values of a stream, in order, and the texts between them that are no values. Behind a line that begins with `---` a
/// document may be YAML; it is one part.
pub(in crate::route::yaml) fn parts(text: &str) -> Vec<JsonPart<'_>> {
    let (mut parts, mut rest, mut line) = (Vec::new(), text, 1);
    let (mut is_separated, mut faults) = (false, 0);
    loop {
        let begin = rest.trim_start();
        line += lines(&rest[..rest.len() - begin.len()]);
        rest = begin;
        if let Some(document) = rest.strip_prefix("---") {
            (rest, is_separated) = (document, true);
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let end = match object(rest) {
            Some(end) => end,
            None if is_separated && !rest.starts_with('{') => until(rest, &["\n---"]),
            None => {
                faults += 1;
                if faults < MAX_FAULTS { until(rest, &["\n---", "\n{"]) } else { rest.len() }
            }
        };
        is_separated = false;
        let part;
        (part, rest) = rest.split_at(end);
        parts.push(JsonPart { text: part, line });
        line += lines(part);
    }
    parts
}

/// Bytes of the object at the beginning of a text; none if there is no object, or its brackets do not close.
fn object(text: &str) -> Option<usize> {
    if !text.starts_with('{') {
        return None;
    }
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Bytes before the first of these, or all.
fn until(text: &str, ends: &[&str]) -> usize {
    ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(text: &str) -> Vec<(usize, &str)> {
        parts(text).into_iter().map(|part| (part.line, part.text.trim_end())).collect()
    }

    #[test]
    fn values_know_their_lines() {
        assert_eq!(
            taken_apart("{\"a\":1}{\"b\":2}\n\n{\n \"c\": [{}]\n}\n"),
            [(1, "{\"a\":1}"), (1, "{\"b\":2}"), (3, "{\n \"c\": [{}]\n}")]
        );
        assert_eq!(taken_apart("{\"a\":\"}{\\\"}\"}\n{}"), [(1, "{\"a\":\"}{\\\"}\"}"), (2, "{}")]);
    }

    #[test]
    fn a_fault_ends_where_the_next_value_begins() {
        assert_eq!(taken_apart("{\"a\": [1}\n{\"b\": 2}\n{}"), [(1, "{\"a\": [1}"), (2, "{\"b\": 2}"), (3, "{}")]);
        assert_eq!(taken_apart("{\"a\": \"x}\n{\"b\": 2}\n"), [(1, "{\"a\": \"x}"), (2, "{\"b\": 2}")]);
        assert_eq!(taken_apart("{\"a\": 1}}\n{}"), [(1, "{\"a\": 1}"), (1, "}"), (2, "{}")]);
    }

    #[test]
    fn documents_may_stand_between_values() {
        let text = "{}{}\n---\na: 1\n{\n---\n{\"b\": 2}\n{}\n";
        assert_eq!(taken_apart(text), [(1, "{}"), (1, "{}"), (3, "a: 1\n{"), (6, "{\"b\": 2}"), (7, "{}")]);
    }

    #[test]
    fn a_text_of_opening_brackets_is_given_up_soon() {
        assert_eq!(parts(&"{\n".repeat(1 << 20)).len(), MAX_FAULTS);
    }
}
