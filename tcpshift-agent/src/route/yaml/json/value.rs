//! Reads values of JSON into trees.

mod text;

use super::lines;
use crate::route::node::{Field, Node, Value};
use crate::route::yaml::{MAX_DEPTH, Malformed, scalar};

/// All values of a text whose first line has this number. Those that are null are left out.
pub(in crate::route::yaml) fn read(text: &str, line: usize) -> Result<Vec<Node>, Malformed> {
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
