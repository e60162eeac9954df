//! The lines of fields: objects know where they begin, and only their text knows where each field stands.
//!
//! A text is read again, and only if something was found in it.

use std::collections::HashMap;

use super::finding::Finding;
use crate::route::node::{Field, Node, Value};
use crate::route::object::Key;
use crate::route::read::Document;
use crate::route::yaml;

/// Moves findings from the line where their object begins to that of their field.
pub(super) fn refine(findings: &mut [Finding], documents: &[Document]) {
    let mut texts: HashMap<&str, &str> = HashMap::new();
    for document in documents {
        texts.entry(document.name.as_str()).or_insert(document.text.as_str());
    }
    let mut read: HashMap<String, Vec<Node>> = HashMap::new();
    let mut objects: HashMap<String, HashMap<usize, Vec<Vec<usize>>>> = HashMap::new();
    for finding in findings.iter_mut().filter(|finding| !finding.field.is_empty()) {
        let Some(text) = texts.get(finding.file.as_str()) else { continue };
        if !read.contains_key(&finding.file) {
            let nodes = yaml::read(text).nodes;
            let mut found = HashMap::new();
            for (index, node) in nodes.iter().enumerate() {
                collect(node, &mut vec![index], &mut found);
            }
            objects.insert(finding.file.clone(), found);
            read.insert(finding.file.clone(), nodes);
        }
        let (Some(nodes), Some(places)) = (read.get(&finding.file), objects.get(&finding.file)) else { continue };
        let candidates = places.get(&finding.line).into_iter().flatten().filter_map(|place| at(nodes, place));
        let object = candidates.into_iter().find(|node| finding.key.as_ref().is_some_and(|key| is_of(node, key)));
        if let Some(line) = object.and_then(|object| line(object, &finding.field)) {
            finding.line = line;
        }
    }
}

/// Where each object begins, lists looked into: the way to it by line.
fn collect(node: &Node, place: &mut Vec<usize>, found: &mut HashMap<usize, Vec<Vec<usize>>>) {
    found.entry(node.line).or_default().push(place.clone());
    if node.text("kind").is_some_and(|kind| kind.ends_with("List")) {
        for (index, item) in node.items("items").iter().enumerate() {
            place.push(index);
            collect(item, place, found);
            place.pop();
        }
    }
}

fn at<'n>(nodes: &'n [Node], place: &[usize]) -> Option<&'n Node> {
    let (first, rest) = place.split_first()?;
    rest.iter().try_fold(nodes.get(*first)?, |node, index| node.items("items").get(*index))
}

fn is_of(node: &Node, key: &Key) -> bool {
    node.text("kind") == Some(key.kind.name())
        && node.get("metadata").and_then(|metadata| metadata.text("name")) == Some(key.name.as_str())
}

/// The line of a field, or of the last part of its path that is there.
fn line(object: &Node, field: &str) -> Option<usize> {
    let (mut node, mut line) = (object, None);
    for step in field.split('.') {
        let (name, indices) = step.split_once('[').map_or((step, ""), |(name, rest)| (name, rest));
        let Value::Map(fields) = &node.value else { break };
        let Some(Field { line: at, node: inside, .. }) = fields.iter().find(|field| same(&field.name, name)) else {
            break;
        };
        (node, line) = (inside, Some(*at));
        for index in indices.split(['[', ']']).filter_map(|index| index.parse::<usize>().ok()) {
            let Value::List(items) = &node.value else { return line };
            let Some(item) = items.get(index) else { return line };
            (node, line) = (item, Some(item.line));
        }
    }
    line
}

/// Both spellings of a name, `sourceSubnet` and `source_subnet`, are one.
fn same(written: &str, name: &str) -> bool {
    written == name || written.contains('_') && written.replace('_', "").eq_ignore_ascii_case(name)
}
