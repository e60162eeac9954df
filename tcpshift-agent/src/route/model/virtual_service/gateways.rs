//! `gateways` of a VirtualService or of a match: where rules apply.

use super::GatewayRef;
use crate::route::key::Key;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Reads the gateways of an object or a match.
///
/// Istio stops checking behind the first name without a slash. What it lets pass behind names no Gateway that there
/// can be, which is seen where all objects are looked at together.
pub(super) fn read(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<GatewayRef> {
    let path = path.name("gateways");
    let mut gateways = Vec::new();
    let mut checked = true;
    for (index, node) in node.items("gateways").iter().enumerate() {
        let path = path.index(index);
        let text = node.as_str().unwrap_or_default();
        if let Some(problem) = problem(text).filter(|_| checked) {
            report.error(&path, problem, "write `name`, `namespace/name` or `mesh`");
        } else {
            let (gateway, old) = gateway(key, text);
            if let Some(cure) = old.filter(|_| checked) {
                report.warning(&path, "this way to name a gateway is an old one", cure);
            }
            gateways.push(gateway);
        }
        checked &= text.contains('/');
    }
    gateways
}

fn problem(text: &str) -> Option<String> {
    let Some((namespace, name)) = text.split_once('/') else {
        return names::host_problem(text).map(|problem| format!("{text:?} does not name a gateway: {problem}"));
    };
    let label = |label| names::host_label_fault(label).map(|fault| (label, fault));
    let (label, fault) = [namespace, name].into_iter().find_map(label)?;
    Some(match label {
        "" => format!("{text:?} does not name a gateway: one side of the slash is empty"),
        "." => format!("{text:?} does not name a gateway: Istio refuses `.` as namespace"),
        _ => format!("{text:?} does not name a gateway: of {}, {}", names::shown(label), fault.problem),
    })
}

/// `mesh`, `name`, `namespace/name`, or the old `name.namespace.svc.cluster.local`, then with what to write now.
fn gateway(key: &Key, text: &str) -> (GatewayRef, Option<String>) {
    let mut cure = None;
    let (namespace, name) = match (text.split_once('/'), text.split_once('.')) {
        _ if text == "mesh" => return (GatewayRef::Mesh, None),
        (Some(both), _) => both,
        (None, None) => (key.namespace.as_str(), text),
        (None, Some((name, rest))) => {
            let namespace = rest.split('.').next().unwrap_or_default();
            cure = Some(format!("write {namespace}/{name}"));
            (namespace, name)
        }
    };
    (GatewayRef::Gateway { namespace: namespace.to_owned(), name: name.to_owned() }, cure)
}
