//! Fields by their paths, as `spec.tcp[0].route[1].weight`.

use serde::Serialize;
use serde_yaml::{Mapping, Value};

/// Anything as a value of a field.
pub(super) fn value(value: impl Serialize) -> Value {
    serde_yaml::to_value(value).expect("a value of a field")
}

/// The value at a path. It is null if it was missing; mappings and sequences above it are made.
#[track_caller]
pub(super) fn at<'a>(root: &'a mut Value, path: &str) -> &'a mut Value {
    let mut found = root;
    for step in path.split(['.', '[']) {
        found = match step.strip_suffix(']') {
            Some(index) => element(found, index.parse().unwrap_or_else(|_| panic!("{index:?} is no index: {path}"))),
            None => field(found, step),
        };
    }
    found
}

/// A field of a mapping.
#[track_caller]
pub(super) fn field<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if value.is_null() {
        *value = Mapping::new().into();
    }
    let Value::Mapping(fields) = value else { panic!("{name:?} is looked for in no mapping: {value:?}") };
    fields.entry(name.into()).or_insert(Value::Null)
}

#[track_caller]
fn element(value: &mut Value, index: usize) -> &mut Value {
    let list = sequence(value);
    if index == list.len() {
        list.push(Value::Null);
    }
    &mut list[index]
}

#[track_caller]
fn sequence(value: &mut Value) -> &mut Vec<Value> {
    if value.is_null() {
        *value = Value::Sequence(Vec::new());
    }
    let Value::Sequence(list) = value else { panic!("an element is looked for in no sequence: {value:?}") };
    list
}

/// Adds an element at the end of the sequence at a path.
#[track_caller]
pub(super) fn push(root: &mut Value, path: &str, element: impl Serialize) {
    sequence(at(root, path)).push(value(element));
}

/// Removes the field at a path.
#[track_caller]
pub(super) fn remove(root: &mut Value, path: &str) {
    let (above, name) = path.rsplit_once('.').map_or((None, path), |(above, name)| (Some(above), name));
    let above = match above {
        Some(above) => at(root, above),
        None => root,
    };
    let removed = above.as_mapping_mut().and_then(|fields| fields.remove(name));
    assert!(removed.is_some(), "there is no {path} to remove");
}
