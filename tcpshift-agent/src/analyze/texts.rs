//! Objects as texts: for the line of each field, the names of invalid objects, and the labels of pods, which valid objects do
//! not have.

use std::collections::HashMap;

use crate::route::kind::Kind;
use crate::route::node::{Node, Value};
use crate::route::object::Key;
use crate::route::read::Document;
use crate::route::yaml;

/// How deep lists may lie in lists, as for the reader.
const MAX_LISTS: usize = 4;

/// Texts by the names of their files, each parsed when it is first needed.
pub(super) struct Texts<'d> {
    by_name: HashMap<&'d str, &'d str>,
    /// The namespace of objects that name none.
    namespace: &'d str,
    files: HashMap<&'d str, Objects>,
}

/// The objects of one file.
#[derive(Default)]
struct Objects {
    /// In their order, those of lists too.
    all: Vec<Node>,
    /// Indices by what they are called.
    named: HashMap<Key, Vec<usize>>,
}

impl<'d> Texts<'d> {
    pub(super) fn new(documents: &'d [Document], namespace: &'d str) -> Self {
        let mut texts = HashMap::new();
        for document in documents {
            texts.entry(document.name.as_str()).or_insert(document.text.as_str());
        }
        Self { by_name: texts, namespace, files: HashMap::new() }
    }

    /// Every object of a file, those in lists too.
    pub(super) fn objects(&mut self, file: &str) -> &[Node] {
        self.file(file).map_or(&[], |objects| &objects.all)
    }

    /// The last object of a name that begins at a line or before it.
    pub(super) fn find(&mut self, file: &str, line: usize, key: &Key) -> Option<&Node> {
        let objects = self.file(file)?;
        let same = objects.named.get(key)?.iter().map(|index| &objects.all[*index]);
        same.rev().find(|node| node.line <= line.max(1))
    }

    /// The namespace of an object.
    pub(super) fn namespace_of(&self, object: &Node) -> String {
        namespace_of(object, self.namespace).to_owned()
    }

    fn file(&mut self, file: &str) -> Option<&Objects> {
        let (name, text) = self.by_name.get_key_value(file)?;
        let namespace = self.namespace;
        Some(self.files.entry(name).or_insert_with(|| Objects::read(text, namespace)))
    }
}

impl Objects {
    fn read(text: &str, namespace: &str) -> Self {
        let mut objects = Self::default();
        yaml::read(text).nodes.into_iter().for_each(|node| objects.add(node, namespace, 0));
        objects
    }

    fn add(&mut self, mut node: Node, namespace: &str, lists: usize) {
        if lists < MAX_LISTS && node.text("kind").is_some_and(|kind| kind.ends_with("List")) {
            let Value::Map(fields) = &mut node.value else { return };
            for field in fields.iter_mut().filter(|field| field.name == "items") {
                if let Value::List(items) = std::mem::replace(&mut field.node.value, Value::Null) {
                    for item in items {
                        self.add(item, namespace, lists + 1);
                    }
                }
            }
            return;
        }
        if let Some(key) = key(&node, namespace) {
            self.named.entry(key).or_default().push(self.all.len());
        }
        self.all.push(node);
    }
}

fn namespace_of<'n>(object: &'n Node, namespace: &'n str) -> &'n str {
    object.get("metadata").and_then(|metadata| metadata.text("namespace")).unwrap_or(namespace)
}

/// The key of an object of a kind that is read.
fn key(object: &Node, namespace: &str) -> Option<Key> {
    let (group, kind) = (group(object), object.text("kind")?);
    let kind = Kind::ALL.into_iter().find(|known| known.group() == group && known.name() == kind)?;
    let name = object.get("metadata")?.text("name")?.to_owned();
    Some(Key { kind, namespace: namespace_of(object, namespace).to_owned(), name })
}

/// The API group of an object; empty for Kubernetes' core.
pub(super) fn group(node: &Node) -> &str {
    node.text("apiVersion").and_then(|version| version.rsplit_once('/')).map_or("", |(group, _)| group)
}
