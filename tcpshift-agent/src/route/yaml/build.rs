//! From events to a tree: anchors, merge keys, names, and the limits of size and depth.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::node::{Field, Node, Value};
use super::parse::YamlEvent;
use super::scalar::{self, Unfit};
use super::{MAX_DEPTH, MAX_SIZE, Malformed, too_much};

/// A map of more fields than this has an index of their names.
const FEW: usize = 16;

/// Makes a tree of the events of one document.
pub(super) struct Builder<'t, 's> {
    open: Vec<Open<'t>>,
    /// Nodes that an alias may name.
    anchors: HashMap<&'t str, Anchor>,
    root: Option<Node>,
    /// Size of all documents of a file.
    size: &'s mut usize,
    /// Nodes of this document as go-yaml counts them, and those among them that aliases stand for.
    nodes: usize,
    by_aliases: usize,
}

/// A list or map that is not complete yet.
struct Open<'t> {
    line: usize,
    anchor: Option<&'t str>,
    content: Content,
    /// Nodes before it.
    before: usize,
}

enum Content {
    List(Vec<Node>),
    Map(Map),
}

#[derive(Default)]
struct Map {
    fields: Vec<Field>,
    /// The index of the field of each name, once there are more than a few.
    index: HashMap<String, usize>,
    /// Fields from merge keys, which may be given again.
    merged: HashSet<usize>,
    key: Option<Key>,
}

/// The name of a field whose value is not read yet.
enum Key {
    Name { line: usize, name: String, written: Option<String> },
    Merge,
}

/// The node of an anchor: the last one that began with it.
enum Anchor {
    /// An incomplete node, by the number of nodes before it.
    Open(usize),
    Complete(Anchored),
}

struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
    nodes: usize,
}

type Built = Result<(), Malformed>;

impl<'t, 's> Builder<'t, 's> {
    pub(super) fn new(size: &'s mut usize) -> Self {
        Self { open: Vec::new(), anchors: HashMap::new(), root: None, size, nodes: 0, by_aliases: 0 }
    }

    /// The tree, if the document has any value.
    pub(super) fn finish(self) -> Option<Node> {
        self.root
    }

    pub(super) fn take(&mut self, event: YamlEvent<'t>, line: usize) -> Built {
        match event {
            YamlEvent::End => Ok(()),
            YamlEvent::List { anchor } => self.enter(line, anchor, Content::List(Vec::new())),
            YamlEvent::Map { anchor } => self.enter(line, anchor, Content::Map(Map::default())),
            YamlEvent::Close => {
                let Some(Open { line, anchor, content, before }) = self.open.pop() else { return Ok(()) };
                let value = match content {
                    Content::List(items) => Value::List(items),
                    Content::Map(map) => Value::Map(map.fields),
                };
                let node = Node { line, value };
                self.keep(anchor, &node, before)?;
                self.put(node, false)
            }
            YamlEvent::Scalar { anchor, tag, text, is_plain } => {
                self.grow(1 + text.len() / 64, line)?;
                self.nodes += 1;
                self.scalar(anchor, tag.as_deref(), text, is_plain, line)
            }
            YamlEvent::Alias(name) => self.alias(name, line),
        }
    }

    fn scalar(
        &mut self,
        anchor: Option<&'t str>,
        tag: Option<&str>,
        text: Cow<'t, str>,
        is_plain: bool,
        line: usize,
    ) -> Built {
        let unfit = |unfit: Unfit| unfit.explain(line);
        if let Some(Open { content: Content::Map(Map { key: key @ None, .. }), .. }) = self.open.last_mut() {
            let is_merge = text == "<<" && tag.map_or(is_plain, scalar::is_merge_tag);
            *key = Some(if is_merge {
                Key::Merge
            } else {
                let name = scalar::name(&text, tag, is_plain).map_err(unfit)?;
                let name = name.ok_or_else(|| no_name(line))?;
                let is_word = is_plain && tag.is_none() && matches!(&*name, "true" | "false");
                let written = (is_word && !text.eq_ignore_ascii_case(&name)).then(|| text.clone().into_owned());
                Key::Name { line, name, written }
            });
            if anchor.is_none() {
                return Ok(());
            }
            let node = Node { line, value: scalar::value(text, tag, is_plain).map_err(unfit)? };
            return self.keep(anchor, &node, self.nodes - 1);
        }
        let node = Node { line, value: scalar::value(text, tag, is_plain).map_err(unfit)? };
        self.keep(anchor, &node, self.nodes - 1)?;
        self.put(node, false)
    }

    fn alias(&mut self, name: &str, line: usize) -> Built {
        let Some(anchored) = self.anchors.get(name) else {
            let message = format!("the alias `*{name}` names no anchor before it");
            return Err(Malformed::new(line, message, format!("put it in quotes if it is a text: `\"*{name}\"`")));
        };
        let Anchor::Complete(Anchored { node, size, depth, nodes }) = anchored else {
            return Err(Malformed::new(
                line,
                format!("the alias `*{name}` is inside the value that it names"),
                "remove it",
            ));
        };
        if self.open.len() + depth > MAX_DEPTH {
            return Err(Malformed::too_deep(line));
        }
        let (size, nodes, node) = (*size, *nodes, Node { line, value: node.value.clone() });
        self.grow(size, line)?;
        self.nodes += 1 + nodes;
        self.by_aliases += nodes;
        if is_excessive(self.nodes, self.by_aliases) {
            let message = "nearly all of this document comes from aliases, and kubectl refuses it";
            return Err(Malformed::new(line, message, "write the values out, or split the document"));
        }
        self.put(node, true)
    }

    fn enter(&mut self, line: usize, anchor: Option<&'t str>, content: Content) -> Built {
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed::too_deep(line));
        }
        self.grow(1, line)?;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Anchor::Open(self.nodes));
        }
        self.open.push(Open { line, anchor, content, before: self.nodes });
        self.nodes += 1;
        Ok(())
    }

    fn grow(&mut self, by: usize, line: usize) -> Built {
        *self.size = self.size.saturating_add(by);
        if *self.size > MAX_SIZE { Err(too_much(line)) } else { Ok(()) }
    }

    /// Keeps a complete node that an alias may name, unless another one has taken the name since it began.
    fn keep(&mut self, anchor: Option<&'t str>, node: &Node, before: usize) -> Built {
        let Some(anchor) = anchor else { return Ok(()) };
        let is_inner = matches!(node.value, Value::List(_) | Value::Map(_));
        if is_inner && !matches!(self.anchors.get(anchor), Some(Anchor::Open(began)) if *began == before) {
            return Ok(());
        }
        let (size, depth) = measure(node);
        self.grow(size, node.line)?;
        let anchored = Anchored { node: node.clone(), size, depth, nodes: self.nodes - before };
        self.anchors.insert(anchor, Anchor::Complete(anchored));
        Ok(())
    }

    /// Puts a complete node into the list or map around it, or at the root.
    fn put(&mut self, node: Node, is_alias: bool) -> Built {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(map)) => match map.key.take() {
                None => {
                    let line = node.line;
                    let name = name_of(node).ok_or_else(|| no_name(line))?;
                    map.key = Some(Key::Name { line, name, written: None });
                }
                Some(Key::Merge) => map.merge(node, is_alias)?,
                Some(Key::Name { line, name, written }) => map.set(Field { line, name, written, node })?,
            },
        }
        Ok(())
    }
}

impl Map {
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.fields.len() <= FEW {
            return self.fields.iter().position(|field| field.name == name);
        }
        for (index, field) in self.fields.iter().enumerate().skip(self.index.len()) {
            self.index.insert(field.name.clone(), index);
        }
        self.index.get(name).copied()
    }

    fn set(&mut self, field: Field) -> Built {
        match self.find(&field.name) {
            None => self.fields.push(field),
            Some(index) if self.merged.remove(&index) => self.fields[index] = field,
            Some(_) => {
                let Field { line, name, written, .. } = field;
                let message = format!("the field {name:?} stands twice in one map");
                return Err(match written {
                    Some(written) => {
                        let message = format!("{message}, as kubectl reads `{written}` so");
                        Malformed::new(line, message, "put such names in quotes")
                    }
                    None => Malformed::new(line, message, "remove one of them"),
                });
            }
        }
        Ok(())
    }

    /// The fields of a map, or of several, of which the first wins. As in go-yaml they replace the fields before the merge key.
    fn merge(&mut self, node: Node, is_alias: bool) -> Built {
        let line = node.line;
        let not_a_map =
            || Malformed::new(line, "`<<` takes a map or a list of maps", "put it in quotes if it is a name");
        match node.value {
            Value::Map(fields) => {
                for field in fields {
                    if let Some(index) = self.find(&field.name) {
                        self.fields[index] = field;
                    } else {
                        self.merged.insert(self.fields.len());
                        self.fields.push(field);
                    }
                }
                Ok(())
            }
            Value::List(items) if !is_alias => items.into_iter().rev().try_for_each(|item| match item.value {
                Value::Map(_) => self.merge(item, false),
                _ => Err(not_a_map()),
            }),
            _ => Err(not_a_map()),
        }
    }
}

/// The error of a field name that is no scalar, as in a template, `{{ a }}`.
pub(super) const NO_NAME: &str = "the name of a field must be a text";

fn no_name(line: usize) -> Malformed {
    Malformed::new(line, NO_NAME, "put it in quotes")
}

/// The name of a field that an alias stands for.
fn name_of(node: Node) -> Option<String> {
    match node.value {
        Value::String(name) => Some(name),
        Value::Bool(value) | Value::Word(_, value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// Whether go-yaml refuses a document for its nodes from aliases: of a small one 99 of 100, of a large one 10.
fn is_excessive(nodes: usize, by_aliases: usize) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    if by_aliases <= 100 || nodes <= 1000 {
        return false;
    }
    let (nodes, by_aliases) = (nodes as f64, by_aliases as f64);
    let allowed = 0.99 - 0.89 * ((nodes.clamp(LOW, HIGH) - LOW) / (HIGH - LOW));
    by_aliases / nodes > allowed
}

/// Size of a tree as `MAX_SIZE` counts it, and how deep its lists and maps lie in each other. No tree is deeper
/// than `MAX_DEPTH`.
pub(super) fn measure(node: &Node) -> (usize, usize) {
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
        Value::Null | Value::Bool(_) | Value::Word(..) | Value::Number(_) => {}
    }
    let is_inner = matches!(node.value, Value::List(_) | Value::Map(_));
    (size, depth.max(usize::from(is_inner)))
}
