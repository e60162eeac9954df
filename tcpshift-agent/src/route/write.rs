//! Writes objects as YAML. The only file that writes YAML.
//!
//! It writes so that every reader reads the same: what a reader of YAML 1.1, as kubectl is, takes for a boolean or a
//! number stands in quotes, and so does all that could mean more than text.

use std::fmt::Write;

use serde_json::Value;

use super::yaml;

/// A colon that follows a longer name must be in a line of its own: readers look for it within 1024 characters.
const LONG: usize = 200;

/// One document, ending in a newline.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0);
    out
}

/// A value where a line begins, or behind a dash.
fn node(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, value)) in fields.iter().enumerate() {
                spaces(out, if index == 0 { 0 } else { indent });
                if name.len() > LONG {
                    out.push_str("? ");
                    text(out, name, None);
                    out.push('\n');
                    spaces(out, indent);
                } else {
                    text(out, name, None);
                }
                out.push(':');
                inside(out, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                spaces(out, if index == 0 { 0 } else { indent });
                out.push_str("- ");
                node(out, item, indent + 2);
            }
        }
        scalar => {
            inline(out, scalar, indent);
            out.push('\n');
        }
    }
}

/// A value behind the name of a field.
fn inside(out: &mut String, value: &Value, indent: usize) {
    let deeper = match value {
        Value::Object(fields) if !fields.is_empty() => indent + 2,
        // The dashes of a list stand below the name.
        Value::Array(items) if !items.is_empty() => indent,
        scalar => {
            out.push(' ');
            inline(out, scalar, indent);
            out.push('\n');
            return;
        }
    };
    out.push('\n');
    spaces(out, deeper);
    node(out, value, deeper);
}

/// A value that needs no lines of its own, but for a text of several.
fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(string) => text(out, string, Some(indent)),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

/// A text; one of several lines as it is, if its lines may be indented.
fn text(out: &mut String, text: &str, indent: Option<usize>) {
    let is_block = text.contains('\n') && !text.starts_with([' ', '\n']) && text.split('\n').all(is_printable);
    match indent {
        Some(indent) if is_block => block(out, text, indent + 2),
        _ if !is_printable(text) => double_quoted(out, text),
        _ if is_plain(text) => out.push_str(text),
        _ => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
    }
}

fn block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push('|');
    out.push_str(match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            spaces(out, indent);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if is_printable(letter.encode_utf8(&mut [0; 4])) => out.push(letter),
            letter => drop(write!(out, "\\U{:08x}", letter as u32)),
        }
    }
    out.push('"');
}

/// Whether a text may stand as it is within a line: no control characters, and nothing that breaks lines or cannot be seen.
fn is_printable(text: &str) -> bool {
    text.chars().all(|letter| {
        let is_odd = matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        !letter.is_control() && !is_odd
    })
}

/// Whether a text that may be printed means itself without quotes, wherever it stands.
fn is_plain(text: &str) -> bool {
    let is_ended = text.ends_with([' ', ':']) || text.starts_with(' ');
    let is_mark = |letter: char| "-?:,[]{}#&*!|>'\"%@`=<~".contains(letter);
    let may_begin = match text.chars().next() {
        // A dash before a letter is a part of it.
        Some('-') => text.chars().nth(1).is_some_and(|second| second != ' ' && !is_mark(second)),
        first => first.is_some_and(|first| !is_mark(first)),
    };
    may_begin
        && !is_ended
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("...")
        && yaml::is_text(text)
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubectl_takes_for_more_than_text_is_quoted() {
        let texts = json!({"on": ["yes", "1_000", "0o7", "1e3", "null", "~", "", "a: b", "- a", "-a", "*", "it's", "a #b", "'"]});
        let written = "'on':\n- 'yes'\n- '1_000'\n- '0o7'\n- '1e3'\n- 'null'\n- '~'\n- ''\n- 'a: b'\n- '- a'\n- -a\n- '*'\n- it's\n- 'a #b'\n- ''''\n";
        assert_eq!(yaml(&texts), written);
    }

    #[test]
    fn maps_and_lists_stand_in_blocks() {
        let value =
            json!({"a": {"b": [1, {"c": null, "d": []}, [true, "x"]], "e": {}}, "f": "one\ntwo\n", "g": "a\u{2028}\n"});
        let long = "k".repeat(2000);
        let written = "a:\n  b:\n  - 1\n  - c: null\n    d: []\n  - - true\n    - x\n  e: {}\nf: |\n  one\n  two\ng: \"a\\U00002028\\n\"\n";
        assert_eq!(yaml(&value), written);
        assert_eq!(yaml(&json!([{long.as_str(): 1}])), format!("- ? {long}\n  : 1\n"));
    }
}
