//! ReferenceGrant: which objects of other namespaces may refer to objects of this one.

use super::Form;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked ReferenceGrant: any of `from` may refer to any of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// The objects that may refer.
    pub from: Vec<From>,
    /// To what, in the namespace of the grant.
    pub to: Vec<To>,
}

/// The objects that may refer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// Group of the kind; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
}

/// The objects that may be referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Group of the kind; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// One object; every one if none.
    pub name: Option<String>,
}

/// Reads a ReferenceGrant.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> ReferenceGrant {
    for name in ["from", "to"] {
        super::count(spec, name, (1, 16), path, report);
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    {
        let path = path.name("from");
        for (index, node) in spec.items("from").iter().enumerate() {
            let path = path.index(index);
            let mut field = |name, form| super::required(node, name, form, &path, report);
            let (group, kind) = (field("group", Form::Group), field("kind", Form::Kind));
            from.push(From { group, kind, namespace: field("namespace", Form::Namespace) });
        }
    }
    let path = path.name("to");
    for (index, node) in spec.items("to").iter().enumerate() {
        let path = path.index(index);
        let mut field = |name, form| super::required(node, name, form, &path, report);
        let (group, kind) = (field("group", Form::Group), field("kind", Form::Kind));
        let name = super::optional(node, "name", Form::Name, &path, report).map(str::to_owned);
        to.push(To { group, kind, name });
    }
    ReferenceGrant { from, to }
}
