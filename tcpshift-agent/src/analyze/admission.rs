//! Which TCPRoutes a listener of the Gateway API takes.

use crate::route::model::gateway_api::gateway::Namespaces;
use crate::route::model::gateway_api::{GROUP, GatewayListener};

/// Kubernetes' label with the name of a namespace, the only one that is known here.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether a listener takes TCPRoutes of a namespace.
pub(super) fn allows(listener: &GatewayListener, own: &str, other: &str) -> bool {
    listener.protocol == "TCP" && takes_namespace(listener, own, other) && takes_kind(listener)
}

fn takes_namespace(listener: &GatewayListener, own: &str, other: &str) -> bool {
    match &listener.namespaces {
        Namespaces::Same => own == other,
        Namespaces::All => true,
        Namespaces::Selected(labels) => {
            !labels.is_empty() && labels.iter().all(|(key, value)| key == NAMESPACE_LABEL && value == other)
        }
    }
}

fn takes_kind(GatewayListener { kinds, .. }: &GatewayListener) -> bool {
    kinds.is_empty() || kinds.iter().any(|(group, kind)| group == GROUP && kind == "TCPRoute")
}

/// What to write so that one of these listeners takes TCPRoutes of a namespace.
pub(super) fn needed(listeners: &[(usize, &GatewayListener)], own: &str, other: &str) -> String {
    let Some((_, listener)) = listeners.iter().find(|(_, one)| one.protocol == "TCP") else {
        return "attach it to a listener with `protocol: TCP`".to_owned();
    };
    let mut missing = Vec::new();
    if !takes_namespace(listener, own, other) {
        missing.push("`namespaces: {from: All}`");
    }
    if !takes_kind(listener) {
        missing.push("TCPRoute as one of its `kinds`");
    }
    format!("write {} in `allowedRoutes` of the listener {}", missing.join(" and "), listener.name)
}
