//! Which routes belong to which Gateway, and which ports a Gateway opens: references from one object to another, followed
//! as far as a port.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::plan::host::Scope;
use crate::route::kind::Kind;
use crate::route::model::gateway::{self, Protocol};
use crate::route::model::gateway_api::{self, GatewayListener, ParentRef, gateway::Namespaces};
use crate::route::model::{Export, GatewayRef, Labels, Server, Spec, VirtualService, selects};
use crate::route::object::Object;

/// The one label that every namespace has.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// What a Gateway of either kind says of one port.
#[derive(Clone, Copy)]
pub(super) enum Opening<'a> {
    /// Of Istio's.
    Server(&'a Server),
    /// Of the Gateway API's.
    Listener(&'a GatewayListener),
}

impl Opening<'_> {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Server(server) => &server.name,
            Self::Listener(listener) => &listener.name,
        }
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Server(server) => server.port,
            Self::Listener(listener) => listener.port,
        }
    }

    /// The address that it names, if it names one.
    pub(super) fn bind(&self) -> Option<IpAddr> {
        match self {
            Self::Server(server) => server.bind,
            Self::Listener(_) => None,
        }
    }
}

/// Namespace and name of a Gateway.
pub(super) type Name<'a> = (&'a str, &'a str);

/// Routes by the Gateway that they name, the oldest first.
#[derive(Default)]
pub(super) struct Bound<'a> {
    /// Istio's, by its Gateway.
    pub services: HashMap<Name<'a>, Services<'a>>,
    /// Istio's that are for clients inside a mesh.
    pub mesh: Vec<(&'a Arc<Object>, &'a VirtualService)>,
    /// Those of the Gateway API, by its Gateway.
    pub routes: HashMap<Name<'a>, Vec<(&'a Arc<Object>, &'a gateway_api::TcpRoute)>>,
}

/// The VirtualServices of one Gateway, the oldest first.
#[derive(Default)]
pub(super) struct Services<'a> {
    all: Vec<(&'a Arc<Object>, &'a VirtualService)>,
    /// Places of those with a rule for one port.
    by_port: HashMap<u32, Vec<usize>>,
    /// Places of those with a rule for any port.
    at_any: Vec<usize>,
}

impl<'a> Services<'a> {
    fn add(&mut self, object: &'a Arc<Object>, service: &'a VirtualService) {
        let place = self.all.len();
        self.all.push((object, service));
        let blocks = || service.tcp.iter().flat_map(|rule| &rule.matches);
        if service.tcp.iter().any(|rule| rule.matches.is_empty()) || blocks().any(|block| block.port.is_none()) {
            self.at_any.push(place);
            return;
        }
        let mut ports: Vec<u32> = blocks().filter_map(|block| block.port).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            self.by_port.entry(port).or_default().push(place);
        }
    }

    /// Those that have a rule for a port. A Gateway may have thousands, each for a port of its own.
    pub(super) fn at(&self, port: u16) -> Vec<(&'a Arc<Object>, &'a VirtualService)> {
        let own = self.by_port.get(&u32::from(port)).into_iter().flatten();
        let mut places: Vec<usize> = own.chain(&self.at_any).copied().collect();
        places.sort_unstable();
        places.into_iter().map(|place| self.all[place]).collect()
    }
}

/// Finds out which routes belong to which Gateway.
pub(super) fn bind<'a>(objects: &[&'a Arc<Object>], scope: &Scope, notes: &mut Vec<String>) -> Bound<'a> {
    let mut istio = HashSet::new();
    let mut api = HashMap::new();
    for object in objects {
        match &object.spec {
            Spec::Gateway(_) => drop(istio.insert(name(object))),
            Spec::GatewayApiGateway(gateway) => drop(api.insert(name(object), (*object, gateway))),
            _ => {}
        }
    }
    let mut bound = Bound::default();
    for object in objects {
        match &object.spec {
            Spec::VirtualService(service) => {
                let mut named = HashSet::new();
                let visible = is_visible(object, &service.export, scope, notes);
                // Named twice it is bound once.
                for gateway in service.gateways.iter().filter(|gateway| visible && named.insert(*gateway)) {
                    match gateway {
                        GatewayRef::Gateway { namespace, name } => {
                            if !istio.contains(&(namespace.as_str(), name.as_str())) {
                                notes.push(format!("{}: there is no Gateway {namespace}/{name}", object.key));
                            }
                            bound.services.entry((namespace, name)).or_default().add(object, service);
                        }
                        GatewayRef::Mesh => bound.mesh.push((object, service)),
                    }
                }
            }
            Spec::TcpRoute(route) => {
                let mut named = HashSet::new();
                for parent in route.parents.iter().filter(|parent| is_gateway(parent)) {
                    let key = (parent.namespace.as_str(), parent.name.as_str());
                    match api.get(&key) {
                        None => notes.push(format!(
                            "{}: there is no Gateway {}/{} of {}",
                            object.key,
                            parent.namespace,
                            parent.name,
                            gateway_api::GROUP
                        )),
                        Some((gateway, spec)) => {
                            if let Some(reason) = unattached(gateway, spec, object, parent) {
                                notes.push(format!("{}: {} does not take it: {reason}", object.key, gateway.key));
                            } else if named.insert(key) {
                                bound.routes.entry(key).or_default().push((object, route));
                            }
                        }
                    }
                }
            }
            Spec::DestinationRule(rule) => drop(is_visible(object, &rule.export, scope, notes)),
            Spec::Service(service) => drop(is_visible(object, &service.export, scope, notes)),
            Spec::ServiceEntry(entry) => drop(is_visible(object, &entry.export, scope, notes)),
            _ => {}
        }
    }
    bound
}

/// What Gateways open that select this agent, the oldest Gateway first.
pub(super) fn openings<'a>(
    objects: &[&'a Arc<Object>],
    scope: &Scope,
    notes: &mut Vec<String>,
) -> Vec<(&'a Arc<Object>, Opening<'a>)> {
    let mut openings = Vec::new();
    for &object in objects {
        match &object.spec {
            Spec::Gateway(gateway) if !selects(&gateway.selector, &scope.labels) => {
                notes.push(format!("{}: its selector does not select this agent (see `run --label`)", object.key));
            }
            Spec::Gateway(gateway) => {
                let served = gateway.servers.iter().filter(|server| server.protocol == Protocol::Tcp);
                openings.extend(served.map(|server| (object, Opening::Server(server))));
            }
            Spec::GatewayApiGateway(gateway) => {
                let served = gateway.listeners.iter().filter(|listener| is_tcp(listener));
                openings.extend(served.map(|listener| (object, Opening::Listener(listener))));
            }
            _ => {}
        }
    }
    openings
}

/// Whether a server takes a VirtualService: one of its hosts has to be one of the server's.
pub(super) fn admits(gateway: &Object, server: &Server, object: &Object, service: &VirtualService) -> bool {
    gateway::admits(&server.hosts, &gateway.key.namespace, &object.key.namespace, &service.hosts)
}

/// Whether a listener takes a TCPRoute.
pub(super) fn attaches(
    gateway: &Object,
    listener: &GatewayListener,
    object: &Object,
    route: &gateway_api::TcpRoute,
) -> bool {
    let names = |parent: &&ParentRef| {
        is_gateway(parent) && parent.namespace == gateway.key.namespace && parent.name == gateway.key.name
    };
    allows(gateway, listener, object) && route.parents.iter().filter(names).any(|parent| refers(parent, listener))
}

/// Why no listener of a Gateway takes a route that refers to it like this.
fn unattached(
    gateway: &Object,
    spec: &gateway_api::GatewayApiGateway,
    object: &Object,
    parent: &ParentRef,
) -> Option<&'static str> {
    let meant: Vec<_> = spec.listeners.iter().filter(|listener| refers(parent, listener)).collect();
    if meant.is_empty() {
        return Some("no listener has this sectionName and port");
    }
    if !meant.iter().any(|listener| is_tcp(listener)) {
        return Some("the protocol of the listener is not TCP");
    }
    let any = meant.iter().any(|listener| is_tcp(listener) && allows(gateway, listener, object));
    (!any).then_some("allowedRoutes of the listener do not allow it")
}

fn is_gateway(parent: &ParentRef) -> bool {
    parent.group == gateway_api::GROUP && parent.kind == Kind::GatewayApiGateway.name()
}

fn is_tcp(listener: &GatewayListener) -> bool {
    listener.protocol == "TCP"
}

fn refers(parent: &ParentRef, listener: &GatewayListener) -> bool {
    parent.section.as_ref().is_none_or(|section| *section == listener.name)
        && parent.port.is_none_or(|port| port == listener.port)
}

fn allows(gateway: &Object, listener: &GatewayListener, object: &Object) -> bool {
    let namespace = &object.key.namespace;
    let namespace_fits = match &listener.namespaces {
        Namespaces::Same => *namespace == gateway.key.namespace,
        Namespaces::All => true,
        // No labels stand for a selector that is missing or not understood.
        Namespaces::Selected(labels) => {
            let own = Labels::from([(NAMESPACE_LABEL.to_owned(), namespace.clone())]);
            !labels.is_empty() && selects(labels, &own)
        }
    };
    let is_meant = |(group, kind): &(String, String)| group == gateway_api::GROUP && kind == Kind::TcpRoute.name();
    namespace_fits && (listener.kinds.is_empty() || listener.kinds.iter().any(is_meant))
}

fn is_visible(object: &Object, export: &Export, scope: &Scope, notes: &mut Vec<String>) -> bool {
    let visible = export.reaches(&scope.namespace);
    if !visible {
        let namespace = &scope.namespace;
        notes.push(format!(
            "{}: exportTo does not let it reach the agent's namespace {namespace} (see `run --namespace`)",
            object.key
        ));
    }
    visible
}

fn name(object: &Object) -> Name<'_> {
    (&object.key.namespace, &object.key.name)
}
