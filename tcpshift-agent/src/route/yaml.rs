//! Reads YAML, and JSON values one behind the other, into [`Node`]s that know their lines. The only file that reads YAML.
//!
//! It takes what kubectl takes and refuses what kubectl refuses: any number of documents, JSON included, anchors and merge
//! keys, and the words of YAML 1.1. A text is split at lines that begin with `---` (`split`), and each part is one
//! document (`scan`, `parse`, `scalar`, `build`). A text that begins with `{` is a stream of JSON (`json`). A fault
//! in one document hides no other.
//!
//! Unlike kubectl, it reports a name that a map has twice as an error, and a part of a document that is not read. Texts may be
//! hostile: their length, their depth and the number of their nodes (aliases expanded) are bounded.

mod build;
mod fault;
mod json;
mod parse;
mod scalar;
mod scan;
mod split;
mod words;

use std::borrow::Cow;

use build::{Builder, measure};
use fault::Mark;
use parse::{Parser, YamlEvent};

use super::node::{Node, Value};

/// How deep lists and maps may lie in each other, aliases expanded. Objects are sent as JSON too, whose readers stop at 128.
const MAX_DEPTH: usize = 64;
/// The size of one file, at most: its nodes, aliases expanded, and one for every 64 bytes of text.
const MAX_SIZE: usize = 1_000_000;
/// After this many malformed documents the rest of a file is not read.
const MAX_MALFORMED: usize = 100;

/// Why a document cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Line, from 1.
    pub line: usize,
    /// The message.
    pub message: String,
    /// The cure; may be empty.
    pub cure: String,
}

impl Malformed {
    fn new(line: usize, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { line, message: message.into(), cure: cure.into() }
    }

    fn too_deep(line: usize) -> Self {
        let message = format!("lists and maps lie more than {MAX_DEPTH} deep in each other, aliases expanded");
        Self::new(line, message, "remove some of them")
    }
}

/// The documents of a text.
#[derive(Debug, Default)]
pub struct Documents {
    /// Every document that can be read, in order. Empty ones are left out.
    pub nodes: Vec<Node>,
    /// Documents that cannot be read.
    pub malformed: Vec<Malformed>,
    /// Lines from which a document is not read to its end.
    pub unread: Vec<usize>,
}

/// Reads every document of a text: YAML, or JSON values one behind the other.
pub fn read(text: &str) -> Documents {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // kubectl reads lines, whichever of the two they end with.
    let mut text: Cow<'_, str> = if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() };
    // It ends the last one too, which a block scalar then ends with.
    if !text.is_empty() && !text.ends_with('\n') {
        text.to_mut().push('\n');
    }
    let mut reader = Reader::default();
    let start = text.trim_start();
    // A template that begins with a condition is no JSON, and wrong once, not in each of its lines.
    if start.starts_with('{') && !start.starts_with("{{") {
        reader.stream(&text);
    } else {
        reader.documents(&text);
    }
    let Reader { nodes, mut malformed, unread, .. } = reader;
    // A fault at the end of the text is one of its last line.
    let last = text.matches('\n').count().max(1);
    for one in &mut malformed {
        one.line = one.line.min(last);
    }
    Documents { nodes, malformed, unread }
}

/// Whether a scalar without quotes is a text, and neither a number nor a boolean nor anything else.
pub fn is_text(scalar: &str) -> bool {
    let value = scalar::value(Cow::Borrowed(scalar), None, true);
    value.is_ok_and(|value| matches!(value, Value::String(_)))
}

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    malformed: Vec<Malformed>,
    unread: Vec<usize>,
    size: usize,
}

impl Reader {
    /// A text of YAML.
    fn documents(&mut self, text: &str) {
        for split::DocumentText { line, text } in split::documents(text) {
            if self.is_given_up(line) {
                return;
            }
            match text.and_then(|text| self.document(text, line)) {
                Ok(node) => self.nodes.extend(node),
                Err(malformed) => self.malformed.push(malformed),
            }
        }
    }

    /// A text of JSON values. kubectl before 1.33 takes nothing else; here each of them may be YAML too.
    fn stream(&mut self, text: &str) {
        if let Ok(nodes) = self.json(text, 1) {
            self.nodes.extend(nodes);
            return;
        }
        for json::JsonPart { text, line } in json::parts(text) {
            if self.is_given_up(line) {
                return;
            }
            let size = self.size;
            let read = self.json(text, line).or_else(|fault| {
                let yaml = self.document(text, line).map(|node| node.into_iter().collect());
                yaml.map_err(|other| match words::template(text, line, fault.line) {
                    Some(template) => template,
                    None if json::is_meant(text) && self.size <= MAX_SIZE => fault,
                    None => other,
                })
            });
            match read {
                Ok(nodes) => self.nodes.extend(nodes),
                Err(malformed) => {
                    self.size = if self.size > MAX_SIZE { self.size } else { size };
                    self.malformed.push(malformed);
                }
            }
        }
    }

    /// All values of a text of JSON.
    fn json(&mut self, text: &str, line: usize) -> Result<Vec<Node>, Malformed> {
        let nodes = json::read(text, line)?;
        let size = self.size + nodes.iter().map(|node| measure(node).0).sum::<usize>();
        if size > MAX_SIZE {
            return Err(too_much(line));
        }
        self.size = size;
        Ok(nodes)
    }

    /// One document of YAML; none if it is empty.
    fn document(&mut self, text: &str, line: usize) -> Result<Option<Node>, Malformed> {
        let mut parser = Parser::new(text, line);
        scan::characters::check(text, line).map_err(|fault| words::explain(text, line, fault, None))?;
        let mut builder = Builder::new(&mut self.size);
        loop {
            let next = parser.next();
            let (event, mark) = next.map_err(|fault| words::explain(text, line, fault, parser.scanner.quoted))?;
            if event == YamlEvent::End {
                break;
            }
            builder.take(event, mark.line).map_err(|wrong| {
                let template = words::template(text, line, wrong.line);
                template.filter(|_| wrong.message == build::NO_NAME).unwrap_or(wrong)
            })?;
        }
        let node = builder.finish();
        let rest = parser.rest().map_err(|fault| words::explain(text, line, fault, parser.scanner.quoted))?;
        if let Some(Mark { line: first, .. }) = rest {
            if let Some(template) = words::template(text, line, first) {
                return Err(template);
            }
            self.unread.push(first);
        }
        Ok(node.filter(|node| node.value != Value::Null))
    }

    /// Whether nothing more is read.
    fn is_given_up(&mut self, line: usize) -> bool {
        if self.malformed.len() == MAX_MALFORMED {
            let message = format!("{MAX_MALFORMED} documents cannot be read; what follows is not looked at");
            self.malformed.push(Malformed::new(line, message, "correct those first"));
        }
        self.size > MAX_SIZE || self.malformed.len() > MAX_MALFORMED
    }
}

fn too_much(line: usize) -> Malformed {
    Malformed::new(
        line,
        "this file holds too much: over a million values, aliases expanded",
        "split it into several files",
    )
}

#[cfg(test)]
mod tests;
