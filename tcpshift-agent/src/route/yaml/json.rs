//! Takes a stream of JSON apart: values one behind the other, as `jq '.items[]'` and `cat *.json` print them.
//!
//! It counts brackets outside of texts, and reads nothing. Where brackets do not close, the next line that begins with
//! `{` begins another value, so that a fault in one does not hide those behind it.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// How many parts may be no values before the rest is one part: each may cost a look at all that follows.
const MAX_FAULTS: usize = 10;

/// The values of a stream, in order, and what else stands between them; None if the text is no stream: it does not begin
/// with `{`, or has a single part. Behind a line that begins with `---` a document may be YAML; it is one part.
pub(super) fn values(text: &str) -> Option<Vec<Part<'_>>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
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
        parts.push(Part { text: part, line });
        line += lines(part);
    }
    (parts.len() > 1).then_some(parts)
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Bytes of the object that a text begins with; None if it begins with none, or the brackets do not close.
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

    fn parts(text: &str) -> Vec<(usize, &str)> {
        values(text).into_iter().flatten().map(|part| (part.line, part.text.trim_end())).collect()
    }

    #[test]
    fn values_know_their_lines() {
        assert_eq!(
            parts("{\"a\":1}{\"b\":2}\n\n{\n \"c\": [{}]\n}\n"),
            [(1, "{\"a\":1}"), (1, "{\"b\":2}"), (3, "{\n \"c\": [{}]\n}")]
        );
        assert_eq!(parts("{\"a\":\"}{\\\"}\"}\n{}"), [(1, "{\"a\":\"}{\\\"}\"}"), (2, "{}")]);
    }

    #[test]
    fn what_is_no_stream_is_left_to_others() {
        for text in ["", "{}", "{a: b}\n", "a: {}\n---\nb: {}\n", "[{}]\n[{}]"] {
            assert_eq!(values(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_fault_ends_where_the_next_value_begins() {
        assert_eq!(parts("{\"a\": [1}\n{\"b\": 2}\n{}"), [(1, "{\"a\": [1}"), (2, "{\"b\": 2}"), (3, "{}")]);
        assert_eq!(parts("{\"a\": \"x}\n{\"b\": 2}\n"), [(1, "{\"a\": \"x}"), (2, "{\"b\": 2}")]);
        assert_eq!(parts("{\"a\": 1}}\n{}"), [(1, "{\"a\": 1}"), (1, "}"), (2, "{}")]);
    }

    #[test]
    fn documents_may_stand_between_values() {
        let text = "{}{}\n---\na: 1\n{\n---\n{\"b\": 2}\n{}\n";
        assert_eq!(parts(text), [(1, "{}"), (1, "{}"), (3, "a: 1\n{"), (6, "{\"b\": 2}"), (7, "{}")]);
    }

    #[test]
    fn a_text_of_opening_brackets_is_given_up_soon() {
        assert_eq!(values(&"{\n".repeat(1 << 20)).map(|parts| parts.len()), Some(MAX_FAULTS));
    }
}
