//! The sources of objects: the user's files, the state directory, and the store that both feed.

mod files;
mod state;
mod store;

use tcpshift_agent::route::kind::Kind;
use tcpshift_agent::route::object::{Key, Object};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};

pub(crate) fn entry(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    )
}

pub(crate) fn objects(text: &str) -> Vec<Object> {
    let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text: text.to_owned() }], None);
    assert!(problems.is_empty(), "{problems:#?}");
    let valid = entries.into_iter().filter_map(|entry| match entry {
        ReadDocument::Valid(object) => Some(*object),
        _ => None,
    });
    valid.collect()
}

pub(crate) fn key(name: &str) -> Key {
    Key { kind: Kind::WorkloadEntry, namespace: "default".to_owned(), name: name.to_owned() }
}
