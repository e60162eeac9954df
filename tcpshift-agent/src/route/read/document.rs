//! Reads one document: an object, a list of objects, or neither.

use std::sync::Arc;

use super::{DEFAULT_NAMESPACE, NO_OBJECT, ReadDocument};
use crate::route::kind::{Kind, Meaning};
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};
use crate::route::spelling::closest;

/// Lists of objects may lie in each other this deep.
const MAX_LISTS: usize = 4;

/// Reads the documents of one file.
pub(super) struct DocumentReader<'a> {
    pub(super) file: Arc<str>,
    pub(super) namespace: Option<&'a str>,
    /// Whether an object of another namespace is an error.
    pub(super) only: bool,
    pub(super) entries: Vec<ReadDocument>,
    pub(super) report: Report<'a>,
    pub(super) has_unnamed: bool,
}

impl DocumentReader<'_> {
    /// Reads a document, which is inside of `lists` lists.
    pub(super) fn document(&mut self, mut document: Node, lists: usize) {
        self.report.object = String::new();
        self.read(&mut document, lists);
        self.report.locate(&document);
    }

    fn read(&mut self, document: &mut Node, lists: usize) {
        let line = document.line;
        let (Some(version), Some(kind)) = (document.text("apiVersion"), document.text("kind")) else {
            let cure = match document.value {
                Value::List(_) => "a list is no object: put its items under `items` of a document of `kind: List`",
                Value::String(_) => {
                    "a text is no object: write a space behind each colon, as in `kind: VirtualService`"
                }
                _ => "every document begins like `apiVersion: networking.istio.io/v1` and `kind: VirtualService`",
            };
            self.report.error(&Path::ROOT, NO_OBJECT, cure);
            return;
        };
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        if kind.ends_with("List") && document.get("items").is_some() {
            self.list(document, lists);
            return;
        }
        let found = Kind::of(group, kind);
        let object = document.get("metadata").and_then(|metadata| metadata.text("name"));
        let object = object.filter(|name| names::is_dns_subdomain(name)).unwrap_or_default();
        match found {
            Meaning::Read(found) => {
                if !found.versions().contains(&version) {
                    self.report.object = format!("{} {object}", found.name());
                    let known: Vec<_> = found.versions().iter().map(|version| join(group, version)).collect();
                    let message = format!("{} has no version {version} that tcpshift reads", found.name());
                    let cure = format!("write {}", known.join(", "));
                    self.report.error(&Path::ROOT.name("apiVersion"), message, cure);
                    return;
                }
                self.object(found, document);
            }
            Meaning::PassedOver | Meaning::Misplaced => {
                if found == Meaning::Misplaced {
                    self.misplaced(group, kind, object);
                }
                let kind = kind.to_ascii_lowercase();
                let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
                let namespace = document.get("metadata").and_then(|metadata| metadata.text("namespace"));
                let namespace = namespace.or(self.namespace).unwrap_or(DEFAULT_NAMESPACE).to_owned();
                self.entries.push(ReadDocument::PassedOver { object: format!("{kind}/{object}"), namespace, line });
            }
            Meaning::Unknown => {
                object.clone_into(&mut self.report.object);
                let known = Kind::ALL.iter().filter(|kind| kind.group() == group).map(|kind| kind.name());
                let meant = Kind::meant(group, kind);
                let cure = match closest(kind, known.clone()) {
                    Some(near) => format!("did you mean {near}?"),
                    None if !meant.is_empty() => did_you_mean(&meant),
                    None => format!("kinds of this group: {}", known.collect::<Vec<_>>().join(", ")),
                };
                let group = if group.is_empty() { "the core group" } else { group };
                let message = format!("{group} has no kind {kind:?} that tcpshift knows");
                self.report.error(&Path::ROOT.name("kind"), message, cure);
            }
        }
    }

    /// Reads the items of a list.
    fn list(&mut self, document: &mut Node, lists: usize) {
        if lists >= MAX_LISTS {
            self.report.error(
                &Path::ROOT,
                "lists lie too deep in lists",
                "put the objects of this list into the list around it",
            );
            return;
        }
        let Value::Map(fields) = &mut document.value else { return };
        for field in fields.iter_mut().filter(|field| field.name == "items") {
            let Value::List(items) = std::mem::replace(&mut field.node.value, Value::Null) else {
                self.report.error(&Path::ROOT.name("items"), "a list is expected here", "begin each item with a dash");
                continue;
            };
            for item in items {
                let (before, entries) = (self.report.errors(), self.entries.len());
                self.document(item, lists + 1);
                self.has_unnamed |= self.report.errors() > before && self.entries.len() == entries;
            }
        }
    }

    /// Warns of an object of a group that has no such kind while another group has.
    fn misplaced(&mut self, group: &str, kind: &str, object: &str) {
        self.report.object = format!("{kind} {object}");
        let meant = Kind::meant(group, kind);
        let known: Vec<String> = meant.iter().map(|kind| kind.qualified()).collect();
        let message = format!("passed over: tcpshift reads {}, not {kind} of the group {group}", known.join(" and "));
        self.report.warning(&Path::ROOT.name("apiVersion"), message, did_you_mean(&meant));
    }
}

/// Proposes kinds that the user may have meant.
fn did_you_mean(kinds: &[Kind]) -> String {
    let [first, ..] = kinds else { return String::new() };
    let versions: Vec<String> = kinds.iter().map(|kind| format!("apiVersion: {}", kind.api_version())).collect();
    format!("did you mean {} with kind: {}?", versions.join(" or "), first.name())
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
