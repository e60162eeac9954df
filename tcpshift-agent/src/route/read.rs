//! Turns the text of a file into objects, and reports every problem of it.
//!
//! All texts are read here, those of the user's files, of the state directory and of requests alike.

mod content;
mod document;
mod object;
mod several;

use serde::{Deserialize, Serialize};

use super::object::{Key, Object, Origin};
use super::problem::Problem;
use super::report::Report;
use super::yaml;
use document::DocumentReader;
pub use several::{read_all, read_in_order};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The message for a document that is no object.
pub const NO_OBJECT: &str = "this document has no apiVersion or no kind";

/// One document of a file.
#[derive(Clone, Debug)]
pub enum ReadDocument {
    /// A valid object.
    Valid(Box<Object>),
    /// An object that has a name and is not valid.
    Invalid {
        /// Its name.
        key: Key,
        /// Its first line.
        line: usize,
    },
    /// An object that tcpshift does not read.
    PassedOver {
        /// As kubectl would print it.
        object: String,
        /// Its namespace.
        namespace: String,
        /// Its first line.
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

    /// Its first line; 0 for an object that was applied.
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

/// A file that was read already.
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
    /// The documents whose objects have names, in the order of the file.
    pub entries: Vec<ReadDocument>,
    /// Errors and warnings, in the order of the file.
    pub problems: Vec<Problem>,
    /// Whether anything of the text could be read as YAML or JSON, or it is empty.
    pub is_yaml: bool,
    /// Whether it holds a document that is invalid and cannot be named, or one that cannot be read.
    pub has_unnamed: bool,
}

/// Reads the text of a file of this name. `namespace` is that of objects that name none, without it [`DEFAULT_NAMESPACE`]; if it
/// is given, an object of another namespace is an error.
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
    let mut reader = DocumentReader { file: name.into(), namespace, only, entries: Vec::new(), report, has_unnamed };
    for document in nodes {
        let (before, entries) = (reader.report.errors(), reader.entries.len());
        reader.document(document, 0);
        reader.has_unnamed |= reader.report.errors() > before && reader.entries.len() == entries;
    }
    let DocumentReader { entries, report, has_unnamed, .. } = reader;
    Contents { entries, problems: report.finish(), is_yaml: true, has_unnamed }
}
