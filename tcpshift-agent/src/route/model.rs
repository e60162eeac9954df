//! The meaning of objects, checked. Every other room works with these values.
//!
//! Each kind has a file that turns a tree into values. [`super::schema`] has checked the types of its fields; here their values
//! are checked. A reference to a host or gateway that does not exist is no problem of one object: `analyze` reports it.

pub mod destination_rule;
pub mod endpoint_slice;
pub mod export;
pub mod gateway;
pub mod gateway_api;
pub mod policy;
pub mod protocol;
pub mod service;
pub mod service_entry;
pub mod virtual_service;
pub mod workload_entry;
pub mod workload_group;

pub use destination_rule::{DestinationRule, Subset};
pub use endpoint_slice::{EndpointSlice, SliceEndpoint};
pub use export::Export;
pub use gateway::{Gateway, Server};
pub use policy::{HashAlgorithm, LoadBalancer, OutlierDetection, Policy, TcpSettings};
pub use service::{Service, ServicePort, TargetPort};
pub use service_entry::{EntryPort, Resolution, ServiceEntry};
pub use virtual_service::{GatewayRef, RouteDestination, RouteMatch, TcpRule, TlsRule, VirtualService};
pub use workload_entry::{WorkloadAddress, WorkloadEntry};
pub use workload_group::WorkloadGroup;

use std::collections::BTreeMap;

use super::key::Key;
use super::kind::Kind;
use super::names;
use super::node::{Node, Value};
use super::report::{Path, Report};

/// What an object says.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Routes.
    VirtualService(VirtualService),
    /// Subsets and policies of a host.
    DestinationRule(DestinationRule),
    /// What is listened on.
    Gateway(Gateway),
    /// A service and its endpoints.
    ServiceEntry(ServiceEntry),
    /// One endpoint.
    WorkloadEntry(WorkloadEntry),
    /// What several endpoints have in common.
    WorkloadGroup(WorkloadGroup),
    /// Kubernetes' service.
    Service(Service),
    /// Its endpoints.
    EndpointSlice(EndpointSlice),
    /// The Gateway API's Gateway.
    GatewayApiGateway(gateway_api::GatewayApiGateway),
    /// Its routes.
    TcpRoute(gateway_api::TcpRoute),
    /// What may be referred to from other namespaces.
    ReferenceGrant(gateway_api::ReferenceGrant),
}

impl Spec {
    /// Whether an endpoint of it is a unix socket.
    pub fn names_unix_socket(&self) -> bool {
        let is_unix = |endpoint: &WorkloadEntry| matches!(endpoint.address, WorkloadAddress::Unix(_));
        match self {
            Self::WorkloadEntry(endpoint) => is_unix(endpoint),
            Self::ServiceEntry(service) => service.endpoints.iter().any(is_unix),
            _ => false,
        }
    }
}

/// Labels of a workload, or what a selector asks of them.
pub type Labels = BTreeMap<String, String>;

/// Whether labels have all that a selector asks for.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Reads a document of an object, whose fields are of the right types. What is wrong goes to the report; the
/// value is then not to be used.
pub fn read(key: &Key, document: &Node, report: &mut Report<'_>) -> Spec {
    let empty = Node { line: document.line, value: Value::Map(Vec::new()) };
    let metadata = document.get("metadata").unwrap_or(&empty);
    let spec = document.get("spec").unwrap_or(&empty);
    let version = document.text("apiVersion").and_then(|version| version.rsplit('/').next()).unwrap_or_default();
    let path = Path::ROOT.name("spec");
    match key.kind {
        Kind::VirtualService => Spec::VirtualService(virtual_service::read(key, metadata, spec, &path, report)),
        Kind::DestinationRule => Spec::DestinationRule(destination_rule::read(key, spec, &path, report)),
        Kind::Gateway => Spec::Gateway(gateway::read(key, spec, &path, report)),
        Kind::ServiceEntry => Spec::ServiceEntry(service_entry::read(key, document, &path, report)),
        Kind::WorkloadEntry => Spec::WorkloadEntry(workload_entry::read(metadata, spec, &path, report)),
        Kind::WorkloadGroup => Spec::WorkloadGroup(workload_group::read(spec, &path, report)),
        Kind::Service => Spec::Service(service::read(key, metadata, spec, &path, report)),
        Kind::EndpointSlice => Spec::EndpointSlice(endpoint_slice::read(metadata, document, report)),
        Kind::GatewayApiGateway => Spec::GatewayApiGateway(gateway_api::gateway::read(spec, &path, report)),
        Kind::TcpRoute => Spec::TcpRoute(gateway_api::tcp_route::read(key, version, metadata, spec, &path, report)),
        Kind::ReferenceGrant => Spec::ReferenceGrant(gateway_api::reference_grant::read(spec, &path, report)),
    }
}

/// Labels under Kubernetes' rules for metadata.
fn object_labels(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Labels {
    let path = path.name(name);
    for field in node.fields(name) {
        let value = field.node.as_str().unwrap_or_default();
        let fault = names::qualified_name_fault(&field.name).or_else(|| names::metadata_value_fault(value));
        if let Some(fault) = fault {
            report.fault(&path.name(&field.name), fault);
        }
    }
    node.string_map(name)
}

/// The labels of Istio's selectors, which may be anything without a wildcard. None selects everything.
fn selector(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Labels {
    let path = path.name(name);
    for field in node.fields(name) {
        let value = field.node.as_str().unwrap_or_default();
        let problem = if field.name.is_empty() {
            "a label without a name selects nothing"
        } else if field.name.contains('*') || value.contains('*') {
            "a selector has no wildcards"
        } else if value.len() > 63 {
            "the value of a label has at most 63 characters"
        } else {
            continue;
        };
        report.error(&path.name(&field.name), problem, "write the label as the objects have it");
    }
    if node.fields(name).is_empty() {
        report.warning(&path, "without labels, everything in the namespace is selected", "add labels");
    }
    node.string_map(name)
}

/// A map of labels under Istio's rules.
fn labels(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Labels {
    for field in node.fields(name) {
        let path = path.name(name);
        let path = path.name(&field.name);
        let value = field.node.as_str().unwrap_or_default();
        if let Some(fault) = names::label_key_fault(&field.name).or_else(|| names::label_value_fault(value)) {
            report.fault(&path, fault);
        }
    }
    node.string_map(name)
}

/// A port from 1 to 65,535.
fn port(node: Option<&Node>, path: &Path<'_>, report: &mut Report<'_>) -> u16 {
    let number = node.and_then(Node::as_i64);
    if let Some(port) = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0) {
        return port;
    }
    let found = number.map_or_else(|| "there is none".to_owned(), |number| format!("this is {number}"));
    let message = format!("a port from 1 to 65535 is expected here, and {found}");
    report.error(path, message, "write the number of the port");
    0
}
