//! Reads a stream of JSON: values one behind the other, as `jq '.items[]'` and `cat *.json` print them.
//!
//! It takes what Go's decoder takes. Where a value is none, the stream is taken apart at brackets outside of texts, and
//! the next line that begins with `{` begins another value, so that a fault in one does not hide those behind it.

use super::super::node::{Field, Node, Value};
use super::{MAX_DEPTH, Malformed, scalar};

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonPart<'a> {
    pub(super) text: &'a str,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// How many parts may be no values before the rest is one part: each may cost a look at all that follows.
const MAX_FAULTS: usize = 10;

/// The values of a stream, in order, and what else stands between them. Behind a line that begins with `---` a document
/// may be YAML; it is one part.
pub(super) fn parts(text: &str) -> Vec<JsonPart<'_>> {
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

/// Whether a text looks like JSON, be it right or wrong.
pub(super) fn is_meant(text: &str) -> bool {
    text.trim_start().strip_prefix('{').is_some_and(|inside| inside.trim_start().starts_with(['"', '}']))
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

/// All values of a text whose first line has this number. Those that are null are left out.
pub(super) fn read(text: &str, line: usize) -> Result<Vec<Node>, Malformed> {
    let mut reader = Reader { text, at: 0, line };
    let mut nodes = Vec::new();
    loop {
        reader.skip_blanks();
        if reader.at == text.len() {
            return Ok(nodes);
        }
        let node = reader.value(0)?;
        if node.value != Value::Null {
            nodes.push(node);
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

type Read<T> = Result<T, Malformed>;

impl Reader<'_> {
    /// A value behind blanks.
    fn value(&mut self, depth: usize) -> Read<Node> {
        let line = self.line;
        let value = match self.byte() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => return Err(Malformed::too_deep(line)),
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { line, value })
    }

    fn map(&mut self, depth: usize) -> Read<Value> {
        let begin = self.line;
        self.at += 1;
        let mut fields: Vec<Field> = Vec::new();
        let mut names = std::collections::HashSet::new();
        self.skip_blanks();
        if self.take(b'}') {
            return Ok(Value::Map(fields));
        }
        loop {
            let line = self.line;
            if self.byte() != Some(b'"') {
                let cure = "put names in double quotes, one comma between fields, and none behind the last";
                return self.wrong("the name of a field is expected here", cure);
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.take(b':') {
                return self.wrong("a colon is missing behind the name of the field", "write `\"name\": value`");
            }
            self.skip_blanks();
            let node = self.value(depth + 1)?;
            if !names.insert(name.clone()) {
                let message = format!("the field {name:?} stands twice in one map");
                return Err(Malformed::new(line, message, "remove one of them"));
            }
            fields.push(Field { line, name, written: None, node });
            if self.is_last(b'}', begin)? {
                return Ok(Value::Map(fields));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        let begin = self.line;
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.is_last(b']', begin)? {
                return Ok(Value::List(items));
            }
        }
    }

    /// Whether this closes behind a value; else a comma follows, and blanks.
    fn is_last(&mut self, close: u8, begin: usize) -> Read<bool> {
        self.skip_blanks();
        if self.take(close) {
            return Ok(true);
        }
        if !self.take(b',') {
            let close = close as char;
            let message = format!("a comma or the `{close}` of line {begin} is missing before this");
            let cure = format!(
                "separate values with commas, and close with `{close}`; a quote in a text is written as `\\\"`"
            );
            return self.wrong(&message, &cure);
        }
        self.skip_blanks();
        Ok(false)
    }

    fn string(&mut self) -> Read<String> {
        self.at += 1;
        let mut text = String::new();
        let mut start = self.at;
        loop {
            match self.byte() {
                Some(b'"') => {
                    text.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    text.push_str(&self.text[start..self.at]);
                    text.push(self.escape()?);
                    start = self.at;
                }
                None | Some(b'\n') => {
                    return self.wrong("the text that begins in this line has no end", "close it with a double quote");
                }
                Some(control @ 0..=0x1F) => {
                    let cure = format!("write `\\u{control:04x}` for it, or remove it");
                    return self.wrong("a control character stands in a text", &cure);
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        self.at += 1;
        let letter = self.text[self.at..].chars().next();
        let character = match letter {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            _ => {
                let letter = letter.unwrap_or(' ');
                let message = format!("`\\{letter}` means nothing in a text of JSON");
                return self.wrong(&message, "write two backslashes for one");
            }
        };
        self.at += 1;
        Ok(character)
    }

    /// A character by its number. One half of a pair alone is none, and Go reads U+FFFD.
    fn unicode(&mut self) -> Read<char> {
        let Some(first) = self.digits(self.at + 1) else {
            let cure = "write four hexadecimal digits of a character, or the character itself";
            return self.wrong("four hexadecimal digits are expected behind `\\u`", cure);
        };
        self.at += 5;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if self.text[self.at..].starts_with("\\u")
            && let Some(second) = self.digits(self.at + 2)
            && let (0xD800..0xDC00, 0xDC00..0xE000) = (first, second)
        {
            self.at += 6;
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn digits(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.at;
        self.take(b'-');
        let is_zero = self.take(b'0');
        let has_digits = !is_zero && self.skip_digits();
        let mut is_right = is_zero || has_digits;
        let mut is_whole = true;
        if self.take(b'.') {
            is_right &= self.skip_digits();
            is_whole = false;
        }
        if self.take(b'e') || self.take(b'E') {
            let _has_sign = self.take(b'+') || self.take(b'-');
            is_right &= self.skip_digits();
            is_whole = false;
        }
        let written = &self.text[start..self.at];
        if is_right && is_whole {
            if let Ok(number) = written.parse::<i64>() {
                return Ok(Value::Number(number.into()));
            }
            if let Ok(number) = written.parse::<u64>() {
                return Ok(Value::Number(number.into()));
            }
        }
        match written.parse().ok().filter(|_| is_right).and_then(scalar::float) {
            Some(number) => Ok(number),
            None => self.wrong("this is no number that JSON has", "write digits without a leading zero, or quotes"),
        }
    }

    fn word(&mut self) -> Read<Value> {
        let rest = &self.text[self.at..];
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.wrong("a value is expected here", "write a value, or remove the comma; a text is put in double quotes")
    }

    fn wrong<T>(&self, message: &str, cure: &str) -> Read<T> {
        if self.at == self.text.len() {
            let cure = "close what is open: `}`, `]` or a quote";
            // The last line that holds anything.
            let blanks = &self.text[self.text.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
            return Err(Malformed::new(self.line - lines(blanks), "the JSON ends too early", cure));
        }
        Err(Malformed::new(self.line, format!("this is not JSON: {message}"), cure))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over this byte, if it is the next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_digits(&mut self) -> bool {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    fn skip_blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.byte() {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
    }
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

    #[test]
    fn every_field_has_its_own_line() {
        let nodes = read("{\n \"a\": {\"b\":\n [1,\n 2]}}\n{\"c\": 0}", 5).unwrap();
        let inner = nodes[0].get("a").unwrap();
        assert_eq!((nodes[0].line, inner.line, inner.fields("b").len()), (5, 6, 0));
        let lines: Vec<_> = inner.items("b").iter().map(|item| item.line).collect();
        assert_eq!((lines, nodes[1].line), (vec![7, 8], 9));
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_line() {
        for text in [
            "{\"a\": 01}",
            "{\"a\": +1}",
            "{\"a\": .5}",
            "{\"a\": 1.}",
            "{\"a\": 1e}",
            "{\"a\": 1e999}",
            "{\"a\": 1,}",
            "{\"a\": [1,]}",
            "{a: 1}",
            "{'a': 1}",
            "{\"a\": tru}",
            "{\"a\": \"\t\"}",
            "{\"a\": \"\\x41\"}",
            "{\"a\" 1}",
            "{\"a\": 1",
            "{\"a\": \"x",
            "{\"a\": 1, \"a\": 2}",
        ] {
            assert_eq!(read(&format!("{{}}\n{text}"), 1).map_err(|wrong| wrong.line), Err(2), "{text}");
        }
    }

    #[test]
    fn halves_of_pairs_are_read_as_go_reads_them() {
        let text = |json: &str| read(json, 1).unwrap()[0].as_str().unwrap_or_default().to_owned();
        assert_eq!(text(r#""\ud83d\ude00""#), "😀");
        assert_eq!(text(r#""\ud83dA\ude00""#), "\u{fffd}A\u{fffd}");
        assert_eq!(text(r#""\ud83d\u0041""#), "\u{fffd}A");
        assert_eq!(text(r#""\/\b""#), "/\u{8}");
    }
}
