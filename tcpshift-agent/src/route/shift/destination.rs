//! Names of the destinations of a rule on a command line: the shortest that is unique.

use serde_json::Value;

use crate::route::kind::Kind;
use crate::route::object::Object;

/// A destination of a rule as its document has it.
#[derive(Clone, Debug)]
pub(super) struct WrittenDestination {
    /// All of its name: `host:port/subset`, `backend:port`, or `namespace/backend:port` for one of another namespace.
    pub(super) full: String,
    /// All that it may be called, the shortest first.
    names: Vec<String>,
    /// As written.
    weight: Option<u64>,
    /// The weight if none is written.
    default: u64,
    /// Whether it gets everything where it is the only one, whatever its weight.
    takes_all: bool,
}

impl WrittenDestination {
    /// The weight that counts, in a rule of `count` destinations.
    pub(super) fn counted(&self, count: usize) -> u64 {
        if count == 1 && self.takes_all { 1 } else { self.weight.unwrap_or(self.default) }
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// The shortest name that no other one of these has.
    pub(super) fn shortest(&self, all: &[&Self]) -> &str {
        let is_own = |name: &&String| all.iter().filter(|one| one.is_named(name)).all(|one| one.full == self.full);
        self.names.iter().find(is_own).unwrap_or(&self.full)
    }
}

/// Reads a destination of an object: of a VirtualService's `route`, or of a TCPRoute's `backendRefs`.
pub(super) fn destination(object: &Object, entry: &Value) -> WrittenDestination {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let port = |pointer: &str| entry.pointer(pointer).and_then(Value::as_u64).map(|port| format!(":{port}"));
    let weight = entry["weight"].as_u64();
    if object.key.kind == Kind::TcpRoute {
        let (name, port) = (text("/name").unwrap_or_default(), port("/port").unwrap_or_default());
        let namespace = text("/namespace").unwrap_or(&object.key.namespace);
        let (short, long) = (format!("{name}{port}"), format!("{namespace}/{name}{port}"));
        let full = if namespace == object.key.namespace { &short } else { &long }.clone();
        let names = vec![name.to_owned(), short, format!("{namespace}/{name}"), long];
        return WrittenDestination { full, names, weight, default: 1, takes_all: false };
    }
    let (host, port) =
        (text("/destination/host").unwrap_or_default(), port("/destination/port/number").unwrap_or_default());
    let (full, mut names) = match text("/destination/subset") {
        Some(subset) => (format!("{host}{port}/{subset}"), vec![subset.to_owned(), format!("{host}/{subset}")]),
        None => (format!("{host}{port}"), vec![host.to_owned()]),
    };
    names.push(full.clone());
    WrittenDestination { full, names, weight, default: 0, takes_all: true }
}

/// The index of the destination that a name stands for, none if it stands for none; an error if it stands for several.
pub(super) fn one_of(all: &[WrittenDestination], name: &str) -> Result<Option<usize>, String> {
    let indices = |is_meant: &dyn Fn(&WrittenDestination) -> bool| {
        all.iter().enumerate().filter(|(_, one)| is_meant(one)).map(|(index, _)| index).collect::<Vec<_>>()
    };
    let mut found = indices(&|one| one.full == name);
    if found.is_empty() {
        found = indices(&|one| one.is_named(name));
    }
    let Some(first) = found.first().map(|index| &all[*index]) else { return Ok(None) };
    if let [only] = found[..] {
        return Ok(Some(only));
    }
    if found.iter().all(|index| all[*index].full == first.full) {
        return Err(format!(
            "the rule has {} {} times: apply the route with one of them, and shift then",
            first.full,
            found.len()
        ));
    }
    let known: Vec<&WrittenDestination> = all.iter().collect();
    let mut names: Vec<&str> = found.iter().map(|index| all[*index].shortest(&known)).collect();
    names.dedup();
    Err(format!("{name} stands for several destinations of the rule: write {}", names.join(" or ")))
}
