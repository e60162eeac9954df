//! Turns the text of a file into objects, and says all that is wrong with it.
//!
//! One parser decides what a file means, wherever it comes from: a file of the user, the state directory, or
//! a request. It must not know what is stored already.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::kind::{Kind, Meaning};
use super::model;
use super::node::{Field, Node, Value};
use super::object::{Expected, Key, Object, Origin};
use super::problem::Problem;
use super::report::{Path, Report};
use super::schema;
use super::{metadata, names, yaml};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What is said of a document that is no object at all.
pub const NO_OBJECT: &str = "this document has no apiVersion or no kind";

/// How many allocated addresses of one object count.
const MAX_ALLOCATED: usize = 1024;

/// How lists of objects may contain lists.
const MAX_LISTS: usize = 4;

/// One document of a file.
#[derive(Clone, Debug)]
pub enum ReadDocument {
    /// A valid object.
    Valid(Box<Object>),
    /// An object that is named and is not valid.
    Invalid {
        /// Its name.
        key: Key,
        /// Where it begins.
        line: usize,
    },
    /// An object that tcpshift does not read.
    PassedOver {
        /// As kubectl would print it.
        object: String,
        /// Its namespace.
        namespace: String,
        /// Where it begins.
        line: usize,
    },
}

impl ReadDocument {
    /// The name of an object that tcpshift reads.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Valid(object) => Some(&object.key),
            Self::Invalid { key, .. } => Some(key),
            Self::PassedOver { .. } => None,
        }
    }

    /// Where it begins.
    pub fn line(&self) -> usize {
        match self {
            Self::Valid(object) => match &object.origin {
                Origin::File { line, .. } => *line,
                Origin::Applied => 0,
            },
            Self::Invalid { line, .. } | Self::PassedOver { line, .. } => *line,
        }
    }
}

/// The text of one file, as somebody else read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Document {
    /// Name for messages: a path, or `<stdin>`.
    pub name: String,
    /// YAML, any number of documents.
    pub text: String,
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What could be named, in the order of the file.
    pub entries: Vec<ReadDocument>,
    /// All that is wrong and all that is worth knowing.
    pub problems: Vec<Problem>,
    /// Whether anything of the text could be read as YAML or JSON, or it is empty.
    pub is_yaml: bool,
    /// Whether it holds a document that is invalid and cannot be named, or one that cannot be read.
    pub has_unnamed: bool,
}

/// Reads a text that belongs to a file of this name.
///
/// `namespace` is that of objects that name none; with `only_namespace` an object of another one is an error.
pub fn read(name: &str, text: &str, namespace: Option<&str>) -> Contents {
    read_as(name, text, namespace, true)
}

/// As [`read`], with objects of any namespace; `namespace` is that of objects that name none.
pub fn read_beside(name: &str, text: &str, namespace: &str) -> Contents {
    read_as(name, text, Some(namespace), false)
}

fn read_as(name: &str, text: &str, namespace: Option<&str>, only: bool) -> Contents {
    let mut report = Report::new(name);
    let yaml::Documents { nodes, malformed, unread } = yaml::read(text);
    let has_unnamed = !malformed.is_empty();
    for yaml::Malformed { line, message, cure } in malformed {
        report.unreadable(line, message, cure);
    }
    for line in unread {
        let message = "from here to the next line of `---` nothing is read, as by kubectl: the document ends before";
        report.unread(line, message, "indent this line like the fields before it, or write a line of `---` before it");
    }
    if has_unnamed && nodes.is_empty() {
        return Contents { problems: report.finish(), ..Contents::default() };
    }
    let mut reader = Reader { file: name.into(), namespace, only, entries: Vec::new(), report, has_unnamed };
    for document in nodes {
        let (before, entries) = (reader.report.errors(), reader.entries.len());
        reader.document(document, 0);
        reader.has_unnamed |= reader.report.errors() > before && reader.entries.len() == entries;
    }
    let Reader { entries, report, has_unnamed, .. } = reader;
    Contents { entries, problems: report.finish(), is_yaml: true, has_unnamed }
}

/// Reads several files that belong together: an object that stands twice is an error.
pub fn read_all(documents: &[Document], namespace: Option<&str>) -> (Vec<ReadDocument>, Vec<Problem>) {
    read_each(documents, namespace, |_, _| false)
}

/// Reads several files in the order in which they are applied: of an object that stands in more than one the last counts, as
/// with kubectl, and a warning says so. One that stands twice in one file is an error.
pub fn read_in_order(documents: &[Document], namespace: Option<&str>) -> (Vec<ReadDocument>, Vec<Problem>) {
    read_each(documents, namespace, |first, second| first != second)
}

/// `replaces` says by their numbers whether an object of the first file gives way to that of the second.
fn read_each(
    documents: &[Document],
    namespace: Option<&str>,
    replaces: fn(usize, usize) -> bool,
) -> (Vec<ReadDocument>, Vec<Problem>) {
    let (mut entries, mut problems): (Vec<Option<ReadDocument>>, Vec<Problem>) = (Vec::new(), Vec::new());
    // By key: the number of the file, its name, the line, and the index among the entries.
    let mut places: HashMap<Key, (usize, &str, usize, usize)> = HashMap::new();
    for (file, Document { name, text }) in documents.iter().enumerate() {
        let contents = read(name, text, namespace);
        problems.extend(contents.problems);
        for entry in contents.entries {
            if let Some(key) = entry.key() {
                let (line, index) = (entry.line(), entries.len());
                match places.get_mut(key) {
                    Some(first) if replaces(first.0, file) => {
                        problems.push(Problem::replaced(key, (first.1, first.2), (name, line)));
                        entries[first.3] = None;
                        *first = (file, name, line, index);
                    }
                    Some(first) => problems.push(Problem::twice(key, (first.1, first.2), (name, line))),
                    None => drop(places.insert(key.clone(), (file, name, line, index))),
                }
            }
            entries.push(Some(entry));
        }
    }
    (entries.into_iter().flatten().collect(), problems)
}

struct Reader<'a> {
    file: Arc<str>,
    namespace: Option<&'a str>,
    /// Whether an object of another namespace is an error.
    only: bool,
    entries: Vec<ReadDocument>,
    report: Report<'a>,
    has_unnamed: bool,
}

impl Reader<'_> {
    fn document(&mut self, mut document: Node, lists: usize) {
        self.report.object = String::new();
        self.read(&mut document, lists);
        self.report.place(&document);
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
                    self.report.error(
                        &Path::ROOT.name("items"),
                        "a list is expected here",
                        "begin each item with a dash",
                    );
                    continue;
                };
                for item in items {
                    let (before, entries) = (self.report.errors(), self.entries.len());
                    self.document(item, lists + 1);
                    self.has_unnamed |= self.report.errors() > before && self.entries.len() == entries;
                }
            }
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
                let cure = match schema::closest(kind, known.clone()) {
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

    /// Warns of an object whose group is probably a slip of the pen.
    fn misplaced(&mut self, group: &str, kind: &str, object: &str) {
        self.report.object = format!("{kind} {object}");
        let meant = Kind::meant(group, kind);
        let known: Vec<String> = meant.iter().map(|kind| kind.qualified()).collect();
        let message = format!("passed over: tcpshift reads {}, not {kind} of the group {group}", known.join(" and "));
        self.report.warning(&Path::ROOT.name("apiVersion"), message, did_you_mean(&meant));
    }

    fn object(&mut self, kind: Kind, document: &mut Node) {
        let before = self.report.errors();
        let line = document.line;
        let status = allocated(kind, document);
        drop_status(document);
        let first = self.report.count();
        let Some(key) = self.key(kind, document) else { return };
        self.report.object = key.to_string();
        schema::check(document, &schema::document::shape(kind), &Path::ROOT, &mut self.report);
        if let (Some(node), Value::Map(fields)) = (status, &mut document.value) {
            fields.push(Field { line: node.line, name: "status".to_owned(), written: None, node });
        }
        let checked = self.report.count();
        let empty = Node { line, value: Value::Map(Vec::new()) };
        let metadata = document.get("metadata").unwrap_or(&empty);
        metadata::check(kind, metadata, &mut self.report);
        let spec = model::read(&key, document, &mut self.report);
        let created = metadata::created(metadata, &mut self.report);
        self.report.forget_consequences(first..checked);
        if self.report.errors() > before {
            self.entries.push(ReadDocument::Invalid { key, line });
            return;
        }
        let origin = Origin::File { path: Arc::clone(&self.file), line };
        // Empty is the same as absent, as in Kubernetes.
        let expected_version = metadata.get("resourceVersion").and_then(|node| {
            let version = node.as_str().filter(|version| !version.is_empty())?.to_owned();
            Some(Expected { version, line: node.line })
        });
        let content = content(document, &key);
        let object = Object { key, origin, resource_version: 0, expected_version, created, content, spec };
        self.entries.push(ReadDocument::Valid(Box::new(object)));
    }

    /// The name of an object; without one it cannot even be kept.
    fn key(&mut self, kind: Kind, document: &Node) -> Option<Key> {
        let path = Path::ROOT.name("metadata");
        let metadata = document.get("metadata");
        let name = metadata.and_then(|metadata| metadata.text("name")).unwrap_or_default();
        // The API takes an empty one as none.
        let given = metadata.and_then(|metadata| metadata.text("namespace")).filter(|given| !given.is_empty());
        let namespace = given.or(self.namespace).unwrap_or(DEFAULT_NAMESPACE);
        kind.name().clone_into(&mut self.report.object);
        if name.is_empty() {
            let given = metadata.and_then(|metadata| metadata.get("name"));
            let (message, cure) = match given.filter(|given| given.as_str().is_none()) {
                Some(given) => {
                    (format!("a name is expected here, and this is {}", given.described()), "put it in quotes")
                }
                None => ("the object has no name".to_owned(), "add `metadata: {name: …}`"),
            };
            self.report.error(&path.name("name"), message, cure);
            return None;
        }
        if let Some(fault) = names::dns_subdomain_fault(name) {
            let message = format!("{} is no name of an object: {}", names::shown(name), fault.problem);
            self.report.error(&path.name("name"), message, fault.cure);
            return None;
        }
        if let Some(fault) = names::dns_label_fault(namespace) {
            let message = format!("{} is no namespace: {}", names::shown(namespace), fault.problem);
            self.report.error(&path.name("namespace"), message, fault.cure);
            return None;
        }
        let key = Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        if let (Some(given), Some(wanted)) = (given, self.namespace)
            && self.only
            && given != wanted
        {
            self.report.object = key.to_string();
            let message = format!("the object is of namespace {given}, the command of namespace {wanted}");
            self.report.error(&path.name("namespace"), message, "remove it, or name the same in the command");
        }
        Some(key)
    }
}

/// Where the kinds stand that somebody may have meant.
fn did_you_mean(kinds: &[Kind]) -> String {
    let [first, ..] = kinds else { return String::new() };
    let versions: Vec<String> = kinds.iter().map(|kind| format!("apiVersion: {}", kind.api_version())).collect();
    format!("did you mean {} with kind: {}?", versions.join(" or "), first.name())
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// What `kubectl apply` keeps with an object: all of it, as text, as it was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `kubectl get -o yaml` prints what the cluster adds; it is no part of what the user says.
fn drop_status(document: &mut Node) {
    let Value::Map(fields) = &mut document.value else { return };
    fields.retain(|field| field.name != "status");
    for field in fields.iter_mut().filter(|field| field.name == "metadata") {
        if let Value::Map(fields) = &mut field.node.value {
            fields.retain(|field| field.name != "managedFields");
            for annotations in fields.iter_mut().filter(|field| field.name == "annotations") {
                if let Value::Map(fields) = &mut annotations.node.value {
                    fields.retain(|field| field.name != LAST_APPLIED);
                }
            }
            // An object whose only annotation that was is one without annotations.
            fields.retain(|field| field.name != "annotations" || field.node.value != Value::Map(Vec::new()));
        }
    }
}

/// `status.addresses` of a `ServiceEntry`: Istio allocates addresses to its hosts there, and they are its own as much as those
/// of `spec` are. A machine wrote them: what is none is left out.
fn allocated(kind: Kind, document: &Node) -> Option<Node> {
    let status = document.get("status").filter(|_| kind == Kind::ServiceEntry)?;
    let fits = |item: &&Node| {
        let host = item.text("host").is_some_and(|host| !host.is_empty() && host.len() <= 255);
        host && item.text("value").is_some_and(|value| value.parse::<std::net::IpAddr>().is_ok())
    };
    let addresses: Vec<Node> = status.items("addresses").iter().filter(fits).take(MAX_ALLOCATED).cloned().collect();
    if addresses.is_empty() {
        return None;
    }
    let node = Node { line: status.line, value: Value::List(addresses) };
    let field = Field { line: node.line, name: "addresses".to_owned(), written: None, node };
    Some(Node { line: status.line, value: Value::Map(vec![field]) })
}

/// The document as it is kept: the namespace said, what the store adds left out.
fn content(document: &Node, key: &Key) -> Json {
    let mut content = document.to_json();
    if let Some(metadata) = content.get_mut("metadata").and_then(Json::as_object_mut) {
        for added in ["creationTimestamp", "resourceVersion", "uid", "generation", "selfLink"] {
            metadata.shift_remove(added);
        }
        metadata.insert("namespace".to_owned(), json!(key.namespace));
        metadata.sort_keys();
    }
    content
}
