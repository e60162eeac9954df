//! What objects say, checked: the one meaning that everything to the right of this room works with.
//!
//! Each kind has a file that turns a tree, whose fields [`super::schema`] has found to be of the right types,
//! into values, and reports what is wrong beyond types. It must not know other objects: a reference to a
//! host or gateway that does not exist is no problem of one object.

pub mod destination_rule;
pub mod gateway;
pub mod service;
pub mod service_entry;
pub mod virtual_service;
pub mod workload_entry;

pub use destination_rule::{DestinationRule, LoadBalancer, Policy, Subset};
pub use gateway::{Gateway, Server};
pub use service::{Service, ServicePort, TargetPort};
pub use service_entry::{EntryPort, Resolution, ServiceEntry};
pub use virtual_service::{GatewayRef, RouteDestination, RouteMatch, TcpRoute, VirtualService};
pub use workload_entry::{WorkloadAddress, WorkloadEntry};

use std::collections::BTreeMap;

use super::kind::Kind;
use super::names;
use super::node::Node;
use super::object::Key;
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
    /// Kubernetes' service.
    Service(Service),
}

/// Labels of a workload, or what a selector asks of them.
pub type Labels = BTreeMap<String, String>;

/// Whether labels have all that a selector asks for.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Reads the `spec` of an object. What is wrong goes to the report; the value is then not to be used.
pub fn read(key: &Key, metadata: &Node, spec: &Node, report: &mut Report<'_>) -> Spec {
    let path = Path::ROOT.name("spec");
    match key.kind {
        Kind::VirtualService => Spec::VirtualService(virtual_service::read(key, metadata, spec, &path, report)),
        Kind::DestinationRule => Spec::DestinationRule(destination_rule::read(spec, &path, report)),
        Kind::Gateway => Spec::Gateway(gateway::read(spec, &path, report)),
        Kind::ServiceEntry => Spec::ServiceEntry(service_entry::read(spec, &path, report)),
        Kind::WorkloadEntry => Spec::WorkloadEntry(workload_entry::read(spec, &path, report)),
        Kind::Service => Spec::Service(service::read(spec, &path, report)),
    }
}

/// A map of labels.
fn labels(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Labels {
    for field in node.fields(name) {
        let path = path.name(name);
        let path = path.name(&field.name);
        let value = field.node.as_str().unwrap_or_default();
        if let Some(problem) = names::label_key_problem(&field.name).or_else(|| names::label_value_problem(value)) {
            report.error(field.line, &path, problem, "");
        }
    }
    node.string_map(name)
}

/// A port from 1 to 65,535.
fn port(node: Option<&Node>, line: usize, path: &Path<'_>, report: &mut Report<'_>) -> u16 {
    let number = node.and_then(Node::as_i64).unwrap_or_default();
    match u16::try_from(number) {
        Ok(port) if port > 0 => port,
        _ => {
            let line = node.map_or(line, |node| node.line);
            report.error(line, path, format!("a port from 1 to 65535 is expected here, and this is {number}"), "");
            0
        }
    }
}
