//! Writes objects as YAML, with `serde_yaml`. The only file of the agent that writes YAML.
//!
//! Every reader must read the same. `serde_yaml` leaves texts without quotes that YAML 1.1, and so kubectl, takes for a
//! boolean or a number, and libyaml behind it writes some characters as they are that kubectl takes for line breaks. So
//! such texts are handed to it as placeholders, which are replaced by the texts in double quotes afterwards.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::yaml;

/// Characters of which one that the texts do not hold stands around a placeholder: the private use area, which libyaml
/// writes as it is.
const PRIVATE: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{f8ff}';

/// One document, ending in a newline.
pub fn yaml(value: &Value) -> String {
    let json = value.to_string();
    let Some(mark) = PRIVATE.into_iter().find(|letter| !json.contains(*letter)) else {
        // JSON is YAML too.
        return json + "\n";
    };
    let mut quoted = Vec::new();
    let marked = with_placeholders(value, mark, &mut quoted);
    let text = serde_yaml::to_string(&marked).expect("a JSON value is always a YAML document");
    let parts = text.split(mark).enumerate().map(|(at, part)| match part.parse::<usize>() {
        Ok(index) if at % 2 == 1 => quoted.get(index).map_or(part, String::as_str),
        _ => part,
    });
    parts.collect()
}

/// The value with a placeholder for each text and name that must be quoted here; `quoted` gets the texts.
fn with_placeholders(value: &Value, mark: char, quoted: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => Value::String(placeholder(text, mark, quoted)),
        Value::Array(items) => items.iter().map(|item| with_placeholders(item, mark, quoted)).collect(),
        Value::Object(fields) => {
            let mut marked = Map::new();
            for (name, value) in fields {
                let name = placeholder(name, mark, quoted);
                marked.insert(name, with_placeholders(value, mark, quoted));
            }
            Value::Object(marked)
        }
        other => other.clone(),
    }
}

fn placeholder(text: &str, mark: char, quoted: &mut Vec<String>) -> String {
    if text != "<<" && yaml::is_text(text) && text.chars().all(|letter| letter == '\n' || is_printable(letter)) {
        return text.to_owned();
    }
    quoted.push(double_quoted(text));
    format!("{mark}{}{mark}", quoted.len() - 1)
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if is_printable(letter) => out.push(letter),
            letter => drop(write!(out, "\\U{:08x}", letter as u32)),
        }
    }
    out + "\""
}

/// Whether every reader takes a character as it is: no control character, no line break, no byte order mark.
fn is_printable(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubectl_takes_for_more_than_text_is_quoted() {
        let texts = json!({"on": ["yes", "1_000", "0o7", "1e3", "a", "<<", "a: b", "it's"]});
        let written = "\"on\":\n- \"yes\"\n- \"1_000\"\n- \"0o7\"\n- \"1e3\"\n- a\n- \"<<\"\n- 'a: b'\n- it's\n";
        assert_eq!(yaml(&texts), written);
    }

    #[test]
    fn what_kubectl_takes_for_a_line_break_is_escaped() {
        assert_eq!(yaml(&json!(["a\u{2028}\n\"", "b\u{85}"])), "- \"a\\U00002028\\n\\\"\"\n- \"b\\U00000085\"\n");
    }

    #[test]
    fn texts_that_hold_the_first_mark_are_written_as_they_are() {
        let value = json!({"\u{e000}0\u{e000}": "no", "off": "\u{e001}"});
        assert_eq!(yaml(&value), "\u{e000}0\u{e000}: \"no\"\n\"off\": \u{e001}\n");
        let all: String = PRIVATE.collect();
        assert_eq!(yaml(&json!([all])), format!("[\"{all}\"]\n"));
    }
}
