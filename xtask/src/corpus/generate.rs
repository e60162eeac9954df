//! Makes documents: random values, written in random styles, some of them damaged.
#![allow(clippy::format_push_string, reason = "short texts, made once")]

mod damage;
mod json;
mod random;

use self::random::SeededRandom;
use super::style::{NAMES, ODD, ODD_NAMES, PLAIN, TEXTS};

pub(super) struct Generator {
    random: SeededRandom,
    /// Anchors of this document.
    anchors: Vec<String>,
    out: String,
}

/// How deep values lie.
const DEPTH: usize = 4;

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: SeededRandom(seed), anchors: Vec::new(), out: String::new() }
    }

    /// The text of one file.
    pub(super) fn text(&mut self) -> String {
        let text = if self.random.chance(14) { self.json_stream() } else { self.yaml() };
        let text = if self.random.chance(24) { self.damage(text) } else { text };
        let text = if self.random.chance(8) { text.replace('\n', "\r\n") } else { text };
        let text = if self.random.chance(4) { format!("\u{feff}{text}") } else { text };
        if self.random.chance(6) { text.trim_end().to_owned() } else { text }
    }

    fn yaml(&mut self) -> String {
        let mut text = self
            .random
            .pick(&["", "", "", "", "---\n", "# a\n---\n", "# a\n\n", "--- # a\n", "\n", "---\n---\n"])
            .to_owned();
        let documents = 1 + self.random.below(3) / 2 + self.random.below(4) / 3;
        for document in 0..documents {
            if document > 0 {
                let usual = [
                    "---\n",
                    "---\n",
                    "---\n",
                    "--- \n",
                    "--- # b\n",
                    "---\t\n",
                    "...\n---\n",
                    "---\n---\n",
                    "---\n# c\n---\n",
                ];
                let odd = [
                    "--- a\n",
                    "----\n",
                    "---\n\u{feff}",
                    "\u{feff}---\n",
                    " ---\n",
                    "--- {}\n---\n",
                    "...\n",
                    "---\n%YAML 1.1\n---\n",
                ];
                text += if self.random.chance(88) { self.random.pick(&usual) } else { self.random.pick(&odd) };
            }
            text += &self.document();
        }
        text
    }

    fn document(&mut self) -> String {
        self.anchors.clear();
        self.out = self
            .random
            .pick(&[
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\nspec:\n  data:",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\nspec:\n    data:",
                "\"apiVersion\": 'v1'\n'kind' : \"ConfigMap\"\nmetadata:\n    \"name\": c\nspec:\n  data:",
                "kind: ConfigMap\nspec: &spec\n  x: 1\n  data:",
            ])
            .to_owned();
        let is_last = self.out.starts_with("kind");
        let indent = if self.out.contains("\n    data") { 4 } else { 2 };
        self.value(indent, 0);
        self.line_end();
        if is_last {
            self.out += "metadata:\n  name: c\napiVersion: v1\n";
        }
        std::mem::take(&mut self.out)
    }

    /// Ends a line, if it is not ended yet.
    fn line_end(&mut self) {
        if !self.out.ends_with('\n') {
            let end = if self.random.chance(90) {
                "\n"
            } else {
                self.random.pick(&[" # a comment\n", "  \n", "\n\n", "\n# b\n", "\t\n", "\n   # c\n"])
            };
            self.out += end;
        }
    }

    /// A value behind a colon or a dash, in block style, inside of this column.
    fn value(&mut self, indent: usize, depth: usize) {
        if self.random.chance(7) && !self.anchors.is_empty() {
            let index = self.random.below(self.anchors.len());
            self.out += &format!(" *{}", self.anchors[index]);
            return;
        }
        let anchor = self.random.chance(9).then(|| format!("n{}", self.anchors.len()));
        if let Some(name) = &anchor {
            self.out += &format!(" &{name}");
        }
        let contains_itself = self.random.chance(5);
        self.anchors.extend(anchor.clone().filter(|_| contains_itself));
        self.unnamed_value(indent, depth);
        self.anchors.extend(anchor.filter(|_| !contains_itself));
    }

    fn unnamed_value(&mut self, indent: usize, depth: usize) {
        if self.random.chance(3) {
            self.out += self.random.pick(&[" !!str", " !!map", " !!seq", " !x", " !!str", " !!int", " !"]);
        }
        match self.random.below(10) {
            _ if depth >= DEPTH => self.scalar(indent),
            0..=2 => self.block_map(indent, depth),
            3..=4 => self.block_list(indent, depth),
            5 => {
                self.out.push(' ');
                self.flow(indent, depth);
            }
            _ => self.scalar(indent),
        }
    }

    fn block_map(&mut self, indent: usize, depth: usize) {
        self.line_end();
        let indent = indent + 1 + self.random.below(4);
        for number in 0..=self.random.below(4) {
            self.out += &" ".repeat(indent);
            if depth > 0 && self.random.chance(3) && !self.anchors.is_empty() {
                let index = self.random.below(self.anchors.len());
                self.out += &format!("<<: *{}", self.anchors[index]);
            } else if self.random.chance(4) {
                self.out += "? ";
                self.name(number);
                self.line_end();
                self.out += &" ".repeat(indent);
                self.out.push(':');
                self.value(indent, depth + 1);
            } else {
                self.name(number);
                self.out += self.random.pick(&[":", ":", ":", ":", ":", " :", ":  "]);
                self.value(indent, depth + 1);
            }
            self.line_end();
        }
    }

    fn block_list(&mut self, indent: usize, depth: usize) {
        self.line_end();
        let indent = if self.random.chance(30) { indent } else { indent + 1 + self.random.below(3) };
        for number in 0..=self.random.below(3) {
            self.out += &" ".repeat(indent);
            self.out.push('-');
            if self.random.chance(30) {
                // A map that begins behind the dash.
                let gap = 1 + self.random.below(3);
                for field in 0..=self.random.below(2) {
                    self.out += &" ".repeat(if field == 0 { gap } else { indent + 1 + gap });
                    self.name(number + field);
                    self.out.push(':');
                    self.value(indent + 1 + gap, depth + 1);
                    self.line_end();
                }
            } else {
                self.value(indent, depth + 1);
            }
            self.line_end();
        }
    }

    /// The name of a field; mostly another one than before.
    fn name(&mut self, number: usize) {
        if self.random.chance(75) {
            let letter = (b'a' + (number % 26) as u8) as char;
            self.out += &format!("{letter}{}", self.random.below(10));
        } else {
            self.out += if self.random.chance(94) { self.random.pick(&NAMES) } else { self.random.pick(&ODD_NAMES) };
        }
    }

    fn plain(&mut self) {
        self.out += if self.random.chance(96) { self.random.pick(&PLAIN) } else { self.random.pick(&ODD) };
    }

    fn scalar(&mut self, indent: usize) {
        match self.random.below(10) {
            0..=4 => {
                self.out.push(' ');
                self.plain();
                if self.random.chance(5) {
                    self.out += &format!("\n{}more", " ".repeat(indent + 1 + self.random.below(3)));
                }
            }
            5 => {
                self.out.push(' ');
                self.quoted(indent, true);
            }
            6..=7 => {
                self.out.push(' ');
                self.quoted(indent, false);
            }
            8 => self.block_text(indent),
            _ => {
                self.out += self.random.pick(&["", " {}", " []", " ''", " \"\"", " {a: 1}", " [1, 2]", " [ ]", " { }"]);
            }
        }
    }

    fn quoted(&mut self, indent: usize, is_single: bool) {
        let text = self.random.pick(&TEXTS);
        let quote = if is_single { '\'' } else { '"' };
        self.out.push(quote);
        let column = if self.random.chance(80) { indent + 1 } else { 0 };
        let line = format!("\n\n{}", " ".repeat(column + self.random.below(3)));
        for letter in text.chars() {
            match letter {
                '\'' if is_single => self.out += "''",
                '\n' if is_single || self.random.chance(50) => self.out += &line,
                '\n' => self.out += "\\n",
                ' ' if self.random.chance(20) => self.out += &line[1..],
                '"' if !is_single => self.out += "\\\"",
                '\\' if !is_single => self.out += "\\\\",
                letter if !is_single && !letter.is_ascii() && self.random.chance(50) => {
                    self.out += &format!("\\U{:08x}", letter as u32);
                }
                letter => self.out.push(letter),
            }
        }
        if !is_single && self.random.chance(12) {
            let escapes = [
                "\\x41", "\\u00e9", "\\N", "\\_", "\\L", "\\P", "\\e", "\\0", "\\a", "\\ ", "\\/", "\\'", "\\d",
                "\\\t", "\\ud83d", "\\\n   ",
            ];
            self.out += self.random.pick(&escapes);
        }
        self.out.push(quote);
        if self.random.chance(3) {
            self.out += self.random.pick(&[" #c", "#c", " c", "c", " :"]);
        }
    }

    fn block_text(&mut self, indent: usize) {
        let sign = self.random.pick(&["|", "|", ">", ">"]);
        let chomping = self.random.pick(&["", "", "-", "+"]);
        let column = 1 + self.random.below(3);
        let text = self.random.pick(&TEXTS);
        let ends: &[&str] = if self.random.chance(97) { &["", "", "", " ", " # c"] } else { &["x"] };
        let number = if self.random.chance(25) { column.to_string() } else { String::new() };
        let header = if self.random.chance(50) { format!("{number}{chomping}") } else { format!("{chomping}{number}") };
        self.out += &format!(" {sign}{header}{}\n", self.random.pick(ends));
        for line in text.split('\n') {
            let deeper = usize::from(self.random.chance(10));
            let blank = if line.is_empty() { 0 } else { indent + column + deeper };
            self.out += &format!("{}{line}\n", " ".repeat(blank));
        }
        self.out += self.random.pick(&["", "", "\n", "\n\n"]);
    }

    fn flow(&mut self, indent: usize, depth: usize) {
        let is_map = self.random.chance(50);
        self.out.push(if is_map { '{' } else { '[' });
        let count = self.random.below(4);
        for number in 0..count {
            if self.random.chance(15) {
                let column = if self.random.chance(80) { indent + 1 } else { 0 };
                self.out += &format!("\n{}", " ".repeat(column + self.random.below(3)));
            }
            if is_map || self.random.chance(10) {
                self.name(number);
                self.out += self.random.pick(&[": ", ": ", ": ", ":", " : "]);
            }
            if depth < DEPTH && self.random.chance(25) {
                self.flow(indent, depth + 1);
            } else if self.random.chance(50) {
                self.quoted(indent, number % 2 == 0);
            } else {
                self.plain();
            }
            if number + 1 < count || self.random.chance(10) {
                self.out += self.random.pick(&[", ", ", ", ",", " , ", ",\n      ", ", # c\n      "]);
            }
        }
        if self.random.chance(15) {
            self.out += self.random.pick(&["\n", "\n  ", "\n      "]);
        }
        self.out.push(if is_map { '}' } else { ']' });
    }
}
