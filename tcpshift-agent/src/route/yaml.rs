//! Reads YAML, and JSON values one behind the other, into [`Node`]s that know their lines. The only file that reads YAML.
//!
//! It takes what kubectl takes: any number of documents, JSON included, anchors and merge keys. `yes`, `no`,
//! `on` and `off` are texts, as in YAML 1.2. Input is hostile: text, depth and the number of nodes (aliases expanded) are
//! bounded. It must not know what a document means.

mod json;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::Number;

use super::node::{Field, Node, Value};

/// How deep lists and maps may lie in each other, aliases expanded. Objects travel as JSON too, whose readers
/// stop at 128.
const MAX_DEPTH: usize = 64;
/// How much one file may hold, aliases expanded: nodes, and one for every 64 bytes of text.
const MAX_SIZE: usize = 1_000_000;
/// How many values of a stream of JSON may be none before the rest is left alone.
const MAX_MALFORMED: usize = 100;

/// Why a text is no YAML that can be taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// What a text holds.
#[derive(Debug, Default)]
pub struct Documents {
    /// Every document that can be read, in order. Empty ones are left out.
    pub nodes: Vec<Node>,
    /// What cannot be read: of a stream of JSON each value that is none, else the first fault of the text, and then
    /// there are no documents.
    pub malformed: Vec<Malformed>,
}

/// Reads every document of a text: YAML, or JSON values one behind the other.
pub fn read(text: &str) -> Documents {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::default();
    let malformed = match reader.yaml_or_json(text, 0) {
        Ok(()) => Vec::new(),
        Err(malformed) => match json::values(text) {
            // What the text holds before its fault is read again, value by value.
            Some(values) => return read_stream(&values),
            None => vec![malformed],
        },
    };
    let nodes = if malformed.is_empty() { reader.documents } else { Vec::new() };
    Documents { nodes, malformed }
}

fn read_stream(values: &[json::Part<'_>]) -> Documents {
    let (mut reader, mut malformed) = (Reader::default(), Vec::new());
    for json::Part { text, line } in values {
        if malformed.len() == MAX_MALFORMED {
            let message = format!("{MAX_MALFORMED} values cannot be read; what follows is not looked at");
            malformed.push(Malformed { line: *line, message });
            break;
        }
        let documents = reader.documents.len();
        if let Err(fault) = reader.yaml_or_json(text, line - 1) {
            reader.documents.truncate(documents);
            malformed.push(fault);
            if reader.size > MAX_SIZE {
                break;
            }
        }
    }
    Documents { nodes: reader.documents, malformed }
}

/// A list or map that is not complete yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

/// A node that an alias may name.
struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Map { fields: Vec<Field>, names: HashSet<String>, merged: Merged, key: Option<(usize, String)> },
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    /// Complete nodes that an alias may name.
    anchors: HashMap<usize, Anchored>,
    size: usize,
}

impl Reader {
    /// Reads a part of a text that begins behind `before` lines of it.
    fn yaml_or_json(&mut self, text: &str, before: usize) -> Result<(), Malformed> {
        let size = self.size;
        self.yaml(text, before).or_else(|malformed| {
            if self.size > MAX_SIZE {
                return Err(malformed);
            }
            self.size = size;
            self.json(text, before + 1).ok_or(malformed)
        })
    }

    fn yaml(&mut self, text: &str, before: usize) -> Result<(), Malformed> {
        self.open.clear();
        self.anchors.clear();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| Malformed {
                line: before + error.marker().line().max(1),
                message: format!("this is not YAML: {}", error.info()),
            })?;
            let line = before + span.start.line().max(1);
            self.take(event, line).map_err(|message| Malformed { line, message })?;
        }
        Ok(())
    }

    /// JSON that is no YAML: with surrogate pairs, as many programs write what is beyond U+FFFF. All of it is said
    /// to stand on its first line.
    fn json(&mut self, text: &str, line: usize) -> Option<()> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let node = Node::from_json(&serde_json::from_str(text).ok()?, line);
        let (size, depth) = measure(&node);
        self.grow(size).ok()?;
        if depth > MAX_DEPTH {
            return None;
        }
        self.documents.push(node);
        Some(())
    }

    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::SequenceStart(anchor, _) => self.enter(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content =
                    Content::Map { fields: Vec::new(), names: HashSet::new(), merged: Merged::default(), key: None };
                self.enter(line, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
                let value = match content {
                    Content::List(items) => Value::List(items),
                    Content::Map { mut fields, names, merged, key: _ } => {
                        fields.extend(merged.fields.into_iter().filter(|field| !names.contains(&field.name)));
                        Value::Map(fields)
                    }
                };
                self.complete(Node { line, value }, anchor)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.grow(1 + text.len() / 64)?;
                if text.contains(['\u{2028}', '\u{2029}']) {
                    // libyaml, which writes, takes them for line breaks.
                    return Err("a text holds a line separator (U+2028 or U+2029)".to_owned());
                }
                let value = resolve(text, style, tag.as_deref())?;
                self.complete(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(Anchored { node, size, depth }) = self.anchors.get(&anchor) else {
                    return Err("this alias names no anchor before it".to_owned());
                };
                if self.open.len() + depth > MAX_DEPTH {
                    return Err(too_deep());
                }
                let size = *size;
                let node = Node { line, value: node.value.clone() };
                self.grow(size)?;
                self.complete(node, 0)
            }
        }
    }

    fn enter(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.grow(1)?;
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn grow(&mut self, by: usize) -> Result<(), String> {
        self.size = self.size.saturating_add(by);
        if self.size > MAX_SIZE {
            return Err("this file holds too much: over a million values, aliases expanded; split it".to_owned());
        }
        Ok(())
    }

    /// Puts a complete node where it belongs: into the list or map around it, or among the documents.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            let (size, depth) = measure(&node);
            self.grow(size)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        let Some(open) = self.open.last_mut() else {
            if node.value != Value::Null {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(whole_address(node)),
            Content::Map { fields, names, merged, key } => match key.take() {
                None => *key = Some((node.line, name_of(node)?)),
                Some((_, name)) if name == "<<" => merge(node, merged)?,
                Some((line, name)) => {
                    if !names.insert(name.clone()) {
                        return Err(format!("the field {name:?} stands twice in one map"));
                    }
                    fields.push(Field { line, name, node });
                }
            },
        }
        Ok(())
    }
}

/// An item of a list as kubectl's reader takes it: `[2001:db8::]` holds an address there, and a map by the letter of
/// YAML 1.2.
fn whole_address(node: Node) -> Node {
    let Value::Map(fields) = &node.value else { return node };
    let [Field { name, node: Node { value: Value::Null, .. }, .. }] = fields.as_slice() else { return node };
    let text = format!("{name}:");
    if text.ends_with("::") && text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Node { line: node.line, value: Value::String(text) };
    }
    node
}

fn too_deep() -> String {
    format!("lists and maps lie more than {MAX_DEPTH} deep in each other, aliases expanded")
}

/// Size of a tree as `MAX_SIZE` counts it, and how deep its lists and maps lie in each other. No tree is deeper
/// than `MAX_DEPTH`.
fn measure(node: &Node) -> (usize, usize) {
    let (mut size, mut depth) = (1, 0);
    let mut inside = |node: &Node| {
        let (more, below) = measure(node);
        size += more;
        depth = depth.max(below + 1);
    };
    match &node.value {
        Value::String(text) => size += text.len() / 64,
        Value::List(items) => items.iter().for_each(inside),
        Value::Map(fields) => {
            fields.iter().map(|field| &field.node).for_each(&mut inside);
            size += fields.iter().map(|field| 1 + field.name.len() / 64).sum::<usize>();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    let is_inner = matches!(node.value, Value::List(_) | Value::Map(_));
    (size, depth.max(usize::from(is_inner)))
}

fn name_of(node: Node) -> Result<String, String> {
    match node.value {
        Value::String(name) => Ok(name),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => Err("the name of a field must be a text".to_owned()),
    }
}

/// What merge keys add to a map, each name once.
#[derive(Default)]
struct Merged {
    fields: Vec<Field>,
    names: HashSet<String>,
}

/// YAML 1.1's merge key: the fields of a map, or of several, that are not given beside it.
fn merge(node: Node, merged: &mut Merged) -> Result<(), String> {
    match node.value {
        Value::Map(fields) => {
            for field in fields {
                if merged.names.insert(field.name.clone()) {
                    merged.fields.push(field);
                }
            }
            Ok(())
        }
        Value::List(items) => items.into_iter().try_for_each(|item| match item.value {
            Value::Map(_) => merge(item, merged),
            _ => Err("`<<` takes a map or a list of maps".to_owned()),
        }),
        _ => Err("`<<` takes a map or a list of maps".to_owned()),
    }
}

/// What a scalar is. Quoted ones are texts; plain ones are resolved as kubectl's reader does.
fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    if let Some(tag) = tag {
        if !tag.is_yaml_core_schema() {
            return Err(format!("the tag {}{} has no meaning here", tag.handle, tag.suffix));
        }
        if tag.suffix == "str" {
            return Ok(Value::String(text.into_owned()));
        }
    } else if style != ScalarStyle::Plain {
        return Ok(Value::String(text.into_owned()));
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    Ok(number(&text).map_or_else(|| Value::String(text.into_owned()), Value::Number))
}

/// A plain scalar as a number, if it is one.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let negative = text.starts_with('-');
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return whole(digits, radix, negative);
        }
    }
    if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        // YAML 1.1, and so kubectl, reads a leading zero as octal.
        let octal = digits.len() > 1 && digits.starts_with('0') && !digits.contains(['8', '9']);
        if let Some(number) = whole(digits, if octal { 8 } else { 10 }, negative) {
            return Some(number);
        }
    }
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !digits.bytes().all(allowed) || !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // A fraction that is whole is a whole number, as JSON has it.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

fn whole(digits: &str, radix: u32, negative: bool) -> Option<Number> {
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(value).map(Number::from);
    }
    Some(Number::from(value))
}

#[cfg(test)]
mod tests;
