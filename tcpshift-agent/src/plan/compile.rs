//! Compiles objects into a plan: which listeners there are, which rules lead to which routes, and where the
//! destinations of a route are.
//!
//! References are followed as Istio does at a gateway. What does not exist is no error: that share is marked
//! as unusable, with the reason. It must not know files, sockets or time: what
//! DNS says is handed in.

mod bound;
mod mesh;
mod ways;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::address::Prefix;
use tcpshift_common::decide::{Steer, steer};
use tcpshift_common::listener::Rule;

use self::bound::Opening;
use self::ways::{Ways, entrances};
use super::catalog::{Catalog, Resolved};
use super::hashing::Shelf;
use super::register::Register;
use super::weigh::Layout;
use super::{Destination, EndpointAddress, Limits, Listener, OnEmpty, Plan, Route, Unusable, WeightTable, levels};
use crate::route::annotations::{SteerBy, Steering};
use crate::route::kind::Kind;
use crate::route::model::gateway_api::{self, BackendRef, ReferenceGrant};
use crate::route::model::{GatewayRef, Policy, RouteDestination, Server, Spec, TcpRoute, VirtualService};
use crate::route::names;
use crate::route::object::Object;

/// What an agent is, as far as plans depend on it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Where it counts as being: what is not visible there is not there, and its DestinationRules come first.
    pub namespace: String,
    /// What the selectors of Gateways look at.
    pub labels: BTreeMap<String, String>,
    /// Where servers without `bind` listen.
    pub listen_addresses: Vec<IpAddr>,
    /// Seeds every hash.
    pub seed: u64,
    /// Whether an address is one of this host.
    pub is_local: fn(IpAddr) -> bool,
    /// Addresses of host names in lower case, as DNS answered last, in its order.
    pub names: HashMap<String, Vec<IpAddr>>,
}

/// Compiles the next plan. Numbers, tables and listeners that stay as they are are taken from the last one.
pub fn compile<'a>(
    objects: impl Iterator<Item = &'a Arc<Object>>,
    identity: &Identity,
    register: &mut Register,
    last: &Plan,
) -> Plan {
    register.begin();
    let mut objects: Vec<&Object> = objects.map(Arc::as_ref).collect();
    objects.sort_by(|a, b| a.age().cmp(&b.age()));
    let catalog = Catalog::new(&objects, identity);
    let mut notes = Vec::new();
    let openings = bound::openings(&objects, identity, &mut notes);
    let bound = bound::bind(&objects, identity, &mut notes);
    let mut grants: HashMap<&str, Vec<&ReferenceGrant>> = HashMap::new();
    for object in &objects {
        if let Spec::ReferenceGrant(grant) = &object.spec {
            grants.entry(&object.key.namespace).or_default().push(grant);
        }
    }
    let previous: HashMap<u32, &Arc<Route>> = last.routes().map(|route| (route.number, route)).collect();
    let own = openings.keys().copied().collect();
    let shelf = Shelf::of(last);
    let mut compiler = Compiler {
        own,
        is_local: identity.is_local,
        catalog,
        grants,
        register,
        previous,
        shelf,
        notes,
        names: BTreeSet::new(),
    };
    let mut listeners = Vec::new();
    for (address, (gateway, opening)) in openings {
        let key = (gateway.key.namespace.as_str(), gateway.key.name.as_str());
        let (rules, routes) = match opening {
            Opening::Server(server) => {
                let services = bound.services.get(&key).map(|services| services.at(server.port)).unwrap_or_default();
                compiler.virtual_services(address, gateway, server, &services)
            }
            Opening::Listener(listener) => {
                let attached = bound.routes.get(&key).into_iter().flatten();
                let attached = attached.filter(|(object, route)| bound::attaches(gateway, listener, object, route));
                compiler.tcp_routes(address, attached.copied())
            }
        };
        if let Some(listener) = compiler.listener(address, gateway, opening, rules, routes) {
            let same = last.listener(address).filter(|last| ***last == listener);
            listeners.push(same.map_or_else(|| Arc::new(listener), Arc::clone));
        }
    }
    let mesh = compiler.mesh(&bound.mesh, identity);
    let (notes, names) = (compiler.notes, compiler.names);
    Plan { generation: last.generation + 1, seed: identity.seed, listeners, mesh, notes, names }
}

struct Compiler<'a> {
    /// What is listened on.
    own: BTreeSet<SocketAddr>,
    is_local: fn(IpAddr) -> bool,
    catalog: Catalog<'a>,
    /// By namespace.
    grants: HashMap<&'a str, Vec<&'a ReferenceGrant>>,
    register: &'a mut Register,
    /// Routes of the last plan by number.
    previous: HashMap<u32, &'a Arc<Route>>,
    shelf: Shelf,
    notes: Vec<String>,
    /// Host names that destinations depend on.
    names: BTreeSet<String>,
}

/// A rule, as far as its route is known before its destinations are weighed.
struct Wanted<'a> {
    object: &'a Object,
    /// Place of the rule.
    rule: usize,
    steering: Steering,
    limits: Limits,
    destinations: Vec<Destination>,
}

impl Compiler<'_> {
    /// A listener, if any rule leads from it.
    fn listener(
        &mut self,
        address: SocketAddr,
        gateway: &Object,
        opening: Opening<'_>,
        mut rules: Vec<Rule>,
        routes: Vec<Arc<Route>>,
    ) -> Option<Listener> {
        if routes.is_empty() {
            let port = opening.port();
            self.notes.push(format!("{}: no route leads from port {port}; it is not listened on", gateway.key));
            return None;
        }
        rules.sort_by_key(Rule::rank);
        let number = self.register.listeners.number(&address.to_string());
        let name = format!("{}/{}:{}", gateway.key.namespace, gateway.key.name, opening.name());
        Some(Listener { number, name, address, rules, routes })
    }

    /// The rules of VirtualServices at a server of Istio's Gateway.
    fn virtual_services(
        &mut self,
        address: SocketAddr,
        gateway: &Object,
        server: &Server,
        services: &[(&Object, &VirtualService)],
    ) -> (Vec<Rule>, Vec<Arc<Route>>) {
        let here = GatewayRef::Gateway { namespace: gateway.key.namespace.clone(), name: gateway.key.name.clone() };
        let mut ways = Ways::default();
        for (object, service) in services {
            if !bound::admits(gateway, server, object, service) {
                self.notes.push(format!(
                    "{}: none of its hosts is one of the hosts of {} port {}",
                    object.key, gateway.key, server.port
                ));
                continue;
            }
            for (index, rule) in service.tcp.iter().enumerate() {
                let entrances = entrances(rule, server.port, &here, |_| true);
                let at = address.to_string();
                let blocked = ways.add(&entrances, || self.route(&at, server.port, object, service, index, rule));
                if let Some(first) = blocked {
                    self.notes.push(format!(
                        "{}: tcp rule {index} is never reached at port {}: {first} comes before it",
                        object.key, server.port
                    ));
                }
            }
        }
        (ways.rules, ways.routes)
    }

    /// The rule of the oldest of these routes: it takes every connection.
    fn tcp_routes<'o>(
        &mut self,
        address: SocketAddr,
        attached: impl Iterator<Item = (&'o Object, &'o gateway_api::TcpRoute)>,
    ) -> (Vec<Rule>, Vec<Arc<Route>>) {
        let (mut rules, mut routes) = (Vec::new(), Vec::<Arc<Route>>::new());
        for (object, route) in attached {
            let Some(rule) = route.rules.first() else { continue };
            if let Some(first) = routes.first() {
                self.notes.push(format!(
                    "{}: it is never reached at port {}: {} comes before it",
                    object.key,
                    address.port(),
                    first.name()
                ));
                continue;
            }
            rules.push(Rule { source: Prefix::ANY, destination: Prefix::ANY, route: 0 });
            routes.push(self.tcp_route(address, object, rule));
        }
        (rules, routes)
    }

    fn tcp_route(&mut self, address: SocketAddr, object: &Object, rule: &gateway_api::tcp_route::Rule) -> Arc<Route> {
        let namespace = &object.key.namespace;
        let name = route_name(object, 0, &address.to_string());
        let first = rule.backends.first().filter(|first| self.refused(object, first).is_none());
        let limits = first.map(|first| {
            let host = names::service_host(&first.name, &first.namespace);
            self.catalog.limits(namespace, &host)
        });
        let destinations = rule.backends.iter().map(|backend| self.backend(&name, object, address.port(), backend));
        let destinations = destinations.collect();
        let steering = Steering::default();
        self.finish(&name, Wanted { object, rule: 0, steering, limits: limits.unwrap_or_default(), destinations })
    }

    fn route(
        &mut self,
        at: &str,
        port: u16,
        object: &Object,
        service: &VirtualService,
        index: usize,
        rule: &TcpRoute,
    ) -> Arc<Route> {
        let namespace = &object.key.namespace;
        let name = route_name(object, index, at);
        let limits = rule.route.first().map(|first| self.catalog.limits(namespace, &first.host)).unwrap_or_default();
        let destinations = rule.route.iter().map(|wanted| self.destination(&name, namespace, port, wanted));
        let destinations = destinations.collect();
        self.finish(&name, Wanted { object, rule: index, steering: service.steering, limits, destinations })
    }

    /// Weighs the destinations of a route.
    fn finish(&mut self, name: &str, wanted: Wanted<'_>) -> Arc<Route> {
        let Wanted { object, rule, steering, limits, destinations } = wanted;
        let number = self.register.routes.number(name);
        let mut destinations = summed(destinations);
        let on_empty = if steering.redistribute { OnEmpty::Redistribute } else { OnEmpty::Refuse };
        let table = self.table(number, object.key.kind, &destinations, steering.by, on_empty);
        for (destination, slots) in destinations.iter_mut().zip(table.shares()) {
            destination.slots = slots;
        }
        let route = Route {
            number,
            kind: object.key.kind,
            namespace: object.key.namespace.clone(),
            object: object.key.name.clone(),
            rule,
            steer: self::steering(steering.by),
            on_empty,
            limits,
            destinations,
            table,
        };
        match self.previous.get(&number) {
            Some(&previous) if **previous == route => Arc::clone(previous),
            _ => Arc::new(route),
        }
    }

    fn destination(&mut self, route: &str, namespace: &str, port: u16, wanted: &RouteDestination) -> Destination {
        let resolved = self.catalog.resolve(namespace, port, wanted);
        self.number(route, resolved, wanted.subset.clone(), wanted.weight)
    }

    /// A backend of a TCPRoute, as a destination.
    fn backend(&mut self, route: &str, object: &Object, port: u16, backend: &BackendRef) -> Destination {
        let BackendRef { kind, namespace, name, port: wanted, weight, .. } = backend;
        let host = names::service_host(name, namespace);
        let resolved = match self.refused(object, backend) {
            None => {
                let wanted = RouteDestination { host, subset: None, port: *wanted, weight: *weight };
                self.catalog.resolve(&object.key.namespace, port, &wanted)
            }
            Some(unusable) => {
                // A name that no service has.
                let host = if unusable == Unusable::NoService { format!("{name}.{namespace}.{kind}") } else { host };
                let (port, policy) = (wanted.unwrap_or(port), Policy::default());
                Resolved { host, port, policy, endpoints: Err(unusable), names: Vec::new() }
            }
        };
        self.number(route, resolved, None, *weight)
    }

    /// Why a backend cannot be used, whatever it leads to.
    fn refused(&self, object: &Object, backend: &BackendRef) -> Option<Unusable> {
        if !backend.group.is_empty() || backend.kind != Kind::Service.name() {
            return Some(Unusable::NoService);
        }
        let namespace = &object.key.namespace;
        let mut grants = self.grants.get(backend.namespace.as_str()).into_iter().flatten();
        let granted = backend.namespace == *namespace || grants.any(|grant| grants_service(grant, namespace, backend));
        (!granted).then_some(Unusable::NotGranted)
    }

    /// Gives numbers to what a destination means, and weighs its endpoints.
    fn number(&mut self, route: &str, resolved: Resolved, subset: Option<String>, weight: u32) -> Destination {
        let Resolved { host, port, policy, endpoints, names } = resolved;
        self.names.extend(names);
        let name = match &subset {
            Some(subset) => format!("{host}:{port}/{subset}"),
            None => format!("{host}:{port}"),
        };
        let number = self.register.destinations.number(&format!("{route}>{name}"));
        let (endpoints, unusable) = match endpoints {
            Ok(mut endpoints) => {
                endpoints
                    .retain(|(address, _)| !matches!(address, EndpointAddress::Tcp(address) if self.is_own(*address)));
                let unusable = endpoints.is_empty().then_some(Unusable::OwnListener);
                (endpoints, unusable)
            }
            Err(unusable) => (Vec::new(), Some(unusable)),
        };
        let choice = policy.load_balancer.unwrap_or_default();
        let tables = &mut self.shelf;
        let (decides, endpoints, hashing) = super::endpoints::weigh(number, choice, endpoints, tables, |address| {
            self.register.endpoints.number(&format!("{host}:{port}@{address}"))
        });
        Destination {
            name,
            host,
            subset,
            port,
            weight: u64::from(weight),
            slots: 0,
            settings: levels::settings(&policy),
            unusable,
            decides,
            endpoints,
            hashing,
        }
    }

    /// Whether this agent listens at an address.
    fn is_own(&self, address: SocketAddr) -> bool {
        let at = |ip: IpAddr| self.own.contains(&SocketAddr::new(ip, address.port()));
        let everywhere = at(Ipv6Addr::UNSPECIFIED.into()) || (address.is_ipv4() && at(Ipv4Addr::UNSPECIFIED.into()));
        at(address.ip()) || (everywhere && (self.is_local)(address.ip()))
    }

    fn table(
        &self,
        number: u32,
        kind: Kind,
        destinations: &[Destination],
        by: SteerBy,
        on_empty: OnEmpty,
    ) -> WeightTable {
        // The only destination of a VirtualService gets everything, even with weight 0; that of a TCPRoute does not.
        let sole = destinations.len() == 1 && kind == Kind::VirtualService;
        let mut weights: Vec<(String, u64)> = destinations
            .iter()
            .map(|destination| (destination.name.clone(), if sole { 1 } else { destination.weight }))
            .collect();
        let serves = |place: usize, weight: u64| destinations[place].unusable.is_none() && weight > 0;
        let any_serves = weights.iter().enumerate().any(|(place, (_, weight))| serves(place, *weight));
        if on_empty == OnEmpty::Redistribute && any_serves {
            for (place, (_, weight)) in weights.iter_mut().enumerate() {
                if !serves(place, *weight) {
                    *weight = 0;
                }
            }
        }
        let layout = if by == SteerBy::Sequence { Layout::Sorted } else { Layout::Scattered };
        let table = WeightTable::new(layout, &weights);
        match self.previous.get(&number) {
            Some(previous) if previous.table == table => previous.table.clone(),
            _ => table,
        }
    }
}

/// The name that a route's number belongs to.
fn route_name(object: &Object, rule: usize, at: &str) -> String {
    let (namespace, name) = (&object.key.namespace, &object.key.name);
    match object.key.kind {
        Kind::TcpRoute => format!("TCPRoute {namespace}/{name}@{at}"),
        _ => format!("{namespace}/{name}#{rule}@{at}"),
    }
}

/// The same destination twice adds up.
fn summed(destinations: Vec<Destination>) -> Vec<Destination> {
    let mut sums: Vec<Destination> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for destination in destinations {
        let place = *places.entry(destination.name.clone()).or_insert(sums.len());
        match sums.get_mut(place) {
            Some(other) => other.weight += destination.weight,
            None => sums.push(destination),
        }
    }
    sums
}

/// Whether a grant lets routes of a namespace refer to a Service in the grant's.
fn grants_service(grant: &ReferenceGrant, namespace: &str, backend: &BackendRef) -> bool {
    let from = grant.from.iter().any(|from| {
        from.group == gateway_api::GROUP && from.kind == Kind::TcpRoute.name() && from.namespace == namespace
    });
    let to = grant.to.iter().any(|to| {
        to.group.is_empty()
            && to.kind == Kind::Service.name()
            && to.name.as_ref().is_none_or(|name| *name == backend.name)
    });
    from && to
}

fn steering(by: SteerBy) -> Steer {
    match by {
        SteerBy::Connection => Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        SteerBy::Sequence => Steer { by: steer::SEQUENCE, v4_bits: 0, v6_bits: 0 },
        SteerBy::Source { v4_bits, v6_bits } => Steer { by: steer::SOURCE, v4_bits, v6_bits },
    }
}
