//! Objects for tests, made by builders and printed as YAML: a test shows the fields that it is about, and no others.
//!
//! There is a builder for each kind that tests often use; [`object`] makes any other. [`Object::set`] writes any field,
//! valid or not. Each object prints as a document, and `+` joins objects. A test that is about the text itself (comments,
//! syntax errors, several spellings of one value) writes that text out.

mod kinds;
mod path;
mod rules;

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::ops::Add;

use serde::{Deserialize, Serialize};
use serde_yaml::{Deserializer, Value};

pub use self::kinds::{
    DestinationRule, Endpoint, Gateway, ServiceEntry, WorkloadEntry, destination_rule, endpoint, gateway,
    service_entry, workload_entry,
};
pub use self::rules::{Rule, VirtualService, rule, virtual_service};

/// An object of a kind. The kind decides which builder methods it has beside those of all objects.
#[derive(Clone, Debug)]
pub struct Object<Kind> {
    value: Value,
    kind: PhantomData<Kind>,
}

/// A kind that has no builder of its own.
#[derive(Clone, Copy, Debug)]
pub struct Other;

/// An object without a `spec`: `object("v1", "Service", "tcp-echo")`.
pub fn object(api_version: &str, kind: &str, name: &str) -> Object<Other> {
    Object::new(api_version, kind, name)
}

impl<Kind> Object<Kind> {
    fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let object = Self { value: Value::Null, kind: PhantomData };
        object.set("apiVersion", api_version).set("kind", kind).set("metadata.name", name)
    }

    fn istio(kind: &str, name: &str) -> Self {
        Self::new("networking.istio.io/v1", kind, name)
    }

    /// Writes a field, as `spec.tcp[0].route[1].weight`. Missing mappings and sequences above it are made. An index may be
    /// one past the end.
    #[track_caller]
    pub fn set(mut self, path: &str, value: impl Serialize) -> Self {
        *path::at(&mut self.value, path) = path::value(value);
        self
    }

    /// Adds an element at the end of a sequence.
    #[track_caller]
    fn push(mut self, path: &str, value: impl Serialize) -> Self {
        path::push(&mut self.value, path, value);
        self
    }

    /// Removes a field.
    #[track_caller]
    pub fn without(mut self, path: &str) -> Self {
        path::remove(&mut self.value, path);
        self
    }

    /// The same object under another name.
    pub fn named(self, name: &str) -> Self {
        self.set("metadata.name", name)
    }

    /// The same object in another namespace than `default`.
    pub fn namespace(self, namespace: &str) -> Self {
        self.set("metadata.namespace", namespace)
    }

    /// The time at which the object was created, as `2024-05-06T07:08:09Z`.
    pub fn created(self, time: &str) -> Self {
        self.set("metadata.creationTimestamp", time)
    }

    /// An annotation by its whole name: `annotation("tcpshift.io/datapath", "proxy")`.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        *path::field(path::at(&mut self.value, "metadata.annotations"), name) = value.into();
        self
    }
}

impl<Kind> Display for Object<Kind> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&print(&self.value))
    }
}

fn print(value: &Value) -> String {
    serde_yaml::to_string(value).expect("an object can be printed")
}

/// Several objects, in order.
#[derive(Clone, Debug, Default)]
pub struct Objects(Vec<Value>);

impl Objects {
    /// Reads objects from a text of several documents.
    ///
    /// # Panics
    /// If the text is not YAML.
    pub fn read(text: &str) -> Self {
        let documents = Deserializer::from_str(text).map(|document| {
            Value::deserialize(document).unwrap_or_else(|error| panic!("{error} in objects of a test:\n{text}"))
        });
        Self(documents.filter(|value| !value.is_null()).collect())
    }

    /// All objects but those of a kind.
    pub fn without(mut self, kind: &str) -> Self {
        self.0.retain(|object| object["kind"] != kind);
        self
    }

    /// Writes a field of one object: `set("Gateway/entrance", "spec.servers[0].bind", "127.0.0.1")`.
    ///
    /// # Panics
    /// If there is no object of that kind and name.
    #[track_caller]
    pub fn set(mut self, object: &str, path: &str, value: impl Serialize) -> Self {
        let found = self.0.iter_mut().find(|found| {
            let name = found["metadata"]["name"].as_str();
            object.split_once('/') == found["kind"].as_str().zip(name)
        });
        *path::at(found.unwrap_or_else(|| panic!("there is no {object}")), path) = path::value(value);
        self
    }
}

impl Display for Objects {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.iter().map(print).collect::<Vec<_>>().join("---\n"))
    }
}

impl<Kind> From<Object<Kind>> for Objects {
    fn from(object: Object<Kind>) -> Self {
        Self(vec![object.value])
    }
}

impl<Kind> From<&Object<Kind>> for Objects {
    fn from(object: &Object<Kind>) -> Self {
        Self(vec![object.value.clone()])
    }
}

impl From<&Self> for Objects {
    fn from(objects: &Self) -> Self {
        objects.clone()
    }
}

impl<Kind, More: Into<Objects>> Add<More> for Object<Kind> {
    type Output = Objects;

    fn add(self, more: More) -> Objects {
        Objects::from(self) + more
    }
}

impl<More: Into<Self>> Add<More> for Objects {
    type Output = Self;

    fn add(mut self, more: More) -> Self {
        self.0.extend(more.into().0);
        self
    }
}

impl<Item: Into<Self>> FromIterator<Item> for Objects {
    fn from_iter<Iter: IntoIterator<Item = Item>>(objects: Iter) -> Self {
        objects.into_iter().fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_print_as_documents_that_read_as_what_was_built() {
        let all = gateway("entrance").port(31_400)
            + virtual_service("echo").at("entrance").to("echo:9000/v1", 80).annotation("tcpshift.io/datapath", "proxy")
            + object("v1", "Service", "echo").set("spec", json!({ "ports": [{ "name": "tcp", "port": 9000 }] }));
        let text = all.to_string();
        assert_eq!(text.matches("---\n").count(), 2, "{text}");
        assert_eq!(Objects::read(&format!("---\n{text}")).0, all.0);
        assert!(text.contains("    tcpshift.io/datapath: proxy\n") && text.contains("        subset: v1\n"), "{text}");
    }

    #[test]
    fn any_field_can_be_set_and_removed() {
        let object = virtual_service("echo").to("echo/v1", 1).set("spec.tcp[0].match[0].sourceLabels.app", "web");
        let object = object.set("spec.tcp[0].route[0].weight", "heavy").without("spec.hosts");
        let spec = json!({ "tcp": [{
            "route": [{ "destination": { "host": "echo", "subset": "v1" }, "weight": "heavy" }],
            "match": [{ "sourceLabels": { "app": "web" } }],
        }] });
        assert_eq!(serde_json::to_value(&object.value["spec"]).expect("JSON"), spec);
        let of_two = (object.clone() + object.named("other")).set("VirtualService/other", "spec", "none");
        assert_eq!(of_two.0[1]["spec"], "none");
        assert!(of_two.0[0]["spec"].is_mapping());
        assert!(of_two.without("VirtualService").0.is_empty());
    }
}
