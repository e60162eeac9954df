//! Streams of JSON documents, some of whose values are not JSON.

use super::{DEPTH, Generator};
use crate::corpus::style::TEXTS;

impl Generator {
    /// The text of one file of JSON.
    pub(super) fn json_stream(&mut self) -> String {
        let mut text = self.random.pick(&["", "", "", "\n", " \n\t"]).to_owned();
        for value in 0..=self.random.below(3) {
            if value > 0 {
                text += self.random.pick(&["", "\n", "\n\n", " ", "\n\t", "\n", "\n", ",\n", "\n---\n"]);
            }
            "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n  \"metadata\": {\"name\": \"c\"}, \"spec\": {\"data\": ".clone_into(&mut self.out);
            self.json(0);
            self.out += "}}";
            text += &std::mem::take(&mut self.out);
        }
        text + self.random.pick(&["", "\n", "\n\n"])
    }

    fn json(&mut self, depth: usize) {
        match self.random.below(8) {
            0..=1 if depth < DEPTH => {
                self.out.push('{');
                let count = self.random.below(4);
                for number in 0..count {
                    self.out += &format!("{}\"k{number}\": ", self.random.pick(&["", " ", "\n  ", "\t"]));
                    self.json(depth + 1);
                    self.out += if number + 1 < count { "," } else { "" };
                }
                self.out += self.random.pick(&["}", "}", "}", "}", "}", "}", "\n}", "\n}", ",}"]);
            }
            2 if depth < DEPTH => {
                self.out.push('[');
                let count = self.random.below(4);
                for number in 0..count {
                    self.json(depth + 1);
                    self.out += if number + 1 < count { self.random.pick(&[",", ", ", ",\n"]) } else { "" };
                }
                self.out.push(']');
            }
            3..=4 => {
                let text = self.random.pick(&TEXTS);
                self.out += &serde_json::Value::from(text).to_string();
            }
            5 => {
                let numbers = [
                    "0",
                    "-0",
                    "1",
                    "-1.5",
                    "1e3",
                    "1E-3",
                    "1.0",
                    "1e20",
                    "1e21",
                    "9223372036854775808",
                    "12345678901234567890123",
                    "0.1",
                    "100000",
                ];
                let odd = ["01", "+1", ".5", "1.", "1e999", "0x1", "NaN", "1_0"];
                self.out += if self.random.chance(92) { self.random.pick(&numbers) } else { self.random.pick(&odd) };
            }
            6 => self.out += self.random.pick(&["true", "false", "null"]),
            _ => {
                let texts = [
                    "\"\\u00e9\"",
                    "\"\\ud83d\\ude00\"",
                    "\"\\ud83d\"",
                    "\"\\/\"",
                    "\"\\b\\f\"",
                    "\"\\u2028\"",
                    "\"a\u{7f}b\"",
                    "\"a\u{feff}b\"",
                    "\"\\x41\"",
                    "\"\t\"",
                    "'a'",
                    "a",
                ];
                let known = if self.random.chance(90) { 8 } else { texts.len() };
                let index = self.random.below(known);
                self.out += texts[index];
            }
        }
    }
}
