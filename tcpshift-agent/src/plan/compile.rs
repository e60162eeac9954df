//! Compiles objects into a plan: which listeners there are, which rules lead to which routes, and where the
//! destinations of a route are.
//!
//! References are followed as Istio does at a gateway. What does not exist is no error: that share is marked
//! as unusable, with the reason. It must not know files, sockets or time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Address, Prefix, family};
use tcpshift_common::decide::{Steer, steer};
use tcpshift_common::listener::Rule;

use super::catalog::{Catalog, Resolved};
use super::hashing::Shelf;
use super::register::Register;
use super::weigh::Layout;
use super::{Destination, EndpointAddress, Limits, Listener, OnEmpty, Plan, Route, Settings, Unusable, WeightTable};
use crate::route::annotations::{SteerBy, Steering};
use crate::route::model::gateway::Protocol;
use crate::route::model::{GatewayRef, RouteDestination, Server, Spec, TcpRoute, VirtualService, selects};
use crate::route::names;
use crate::route::object::Object;

/// What an agent is, as far as plans depend on it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the selectors of Gateways look at.
    pub labels: BTreeMap<String, String>,
    /// Where servers without `bind` listen.
    pub listen_addresses: Vec<IpAddr>,
    /// Seeds every hash.
    pub seed: u64,
    /// Whether an address is one of this host.
    pub is_local: fn(IpAddr) -> bool,
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
    let catalog = Catalog::new(&objects);
    let mut notes = Vec::new();
    let servers = servers(&objects, identity, &mut notes);
    let gateways: HashSet<(&str, &str)> = objects
        .iter()
        .filter(|object| matches!(object.spec, Spec::Gateway(_)))
        .map(|object| (object.key.namespace.as_str(), object.key.name.as_str()))
        .collect();
    let mut bound: HashMap<(&str, &str), Vec<(&Object, &VirtualService)>> = HashMap::new();
    for object in &objects {
        let Spec::VirtualService(service) = &object.spec else { continue };
        let mut named = HashSet::new();
        // Named twice it is bound once.
        for gateway in service.gateways.iter().filter(|gateway| named.insert(*gateway)) {
            match gateway {
                GatewayRef::Gateway { namespace, name } => {
                    if !gateways.contains(&(namespace.as_str(), name.as_str())) {
                        notes.push(format!("{}: there is no Gateway {namespace}/{name}", object.key));
                    }
                    bound.entry((namespace, name)).or_default().push((object, service));
                }
                GatewayRef::Mesh => notes.push(format!(
                    "{}: its rules for clients inside a mesh are not served; name a gateway in `gateways`",
                    object.key
                )),
            }
        }
    }
    let previous: HashMap<u32, &Arc<Route>> = last.routes().map(|route| (route.number, route)).collect();
    let own = servers.keys().copied().collect();
    let shelf = Shelf::of(last);
    let mut compiler = Compiler { own, is_local: identity.is_local, catalog, register, previous, shelf, notes };
    let mut listeners = Vec::new();
    for (address, (gateway, server)) in servers {
        let key = (gateway.key.namespace.as_str(), gateway.key.name.as_str());
        let services = bound.get(&key).map(Vec::as_slice).unwrap_or_default();
        if let Some(listener) = compiler.listener(address, gateway, server, services) {
            let same = last.listener(address).filter(|last| ***last == listener);
            listeners.push(same.map_or_else(|| Arc::new(listener), Arc::clone));
        }
    }
    let notes = compiler.notes;
    Plan { generation: last.generation + 1, seed: identity.seed, listeners, notes }
}

/// What to listen on: of several servers at one address, that of the oldest Gateway.
fn servers<'a>(
    objects: &[&'a Object],
    identity: &Identity,
    notes: &mut Vec<String>,
) -> BTreeMap<SocketAddr, (&'a Object, &'a Server)> {
    let mut servers = BTreeMap::new();
    for object in objects {
        let Spec::Gateway(gateway) = &object.spec else { continue };
        if !selects(&gateway.selector, &identity.labels) {
            notes.push(format!("{}: its selector does not select this agent (see `run --label`)", object.key));
            continue;
        }
        for server in gateway.servers.iter().filter(|server| server.protocol == Protocol::Tcp) {
            let bind = server.bind.as_ref();
            for ip in bind.map_or(identity.listen_addresses.as_slice(), std::slice::from_ref) {
                let address = SocketAddr::new(*ip, server.port);
                match servers.get(&address) {
                    None => {
                        servers.insert(address, (*object, server));
                    }
                    Some((older, _)) if older.key == object.key => {
                        notes.push(format!("{}: {address} stands twice; the first server is used", object.key));
                    }
                    Some((older, _)) => notes.push(format!(
                        "{}: {address} is served by the older {}; the server {} is not used",
                        object.key, older.key, server.name
                    )),
                }
            }
        }
    }
    servers
}

struct Compiler<'a> {
    /// What is listened on.
    own: BTreeSet<SocketAddr>,
    is_local: fn(IpAddr) -> bool,
    catalog: Catalog<'a>,
    register: &'a mut Register,
    /// Routes of the last plan by number.
    previous: HashMap<u32, &'a Arc<Route>>,
    shelf: Shelf,
    notes: Vec<String>,
}

impl Compiler<'_> {
    /// A listener, if any rule leads from it.
    fn listener(
        &mut self,
        address: SocketAddr,
        gateway: &Object,
        server: &Server,
        services: &[(&Object, &VirtualService)],
    ) -> Option<Listener> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut routes = Vec::new();
        let mut taken: BTreeMap<_, String> = BTreeMap::new();
        for (object, service) in services {
            if !admits(gateway, server, object, service) {
                self.notes.push(format!(
                    "{}: none of its hosts is one of the hosts of {} port {}",
                    object.key, gateway.key, server.port
                ));
                continue;
            }
            for (index, rule) in service.tcp.iter().enumerate() {
                let entrances = entrances(rule, gateway, server);
                let mut place = None;
                let mut blocked = None;
                for (source, destination) in &entrances {
                    let pair = (prefix_key(source), prefix_key(destination));
                    if let Some(first) = taken.get(&pair) {
                        blocked = Some(first.clone());
                        continue;
                    }
                    let route = *place.get_or_insert_with(|| {
                        routes.push(self.route(address, object, service, index, rule));
                        routes.len() - 1
                    });
                    taken.insert(pair, routes[route].name());
                    rules.push(Rule { source: *source, destination: *destination, route: route as u32 });
                }
                if let (None, Some(first)) = (place, blocked) {
                    self.notes.push(format!(
                        "{}: tcp rule {index} is never reached at port {}: {first} comes before it",
                        object.key, server.port
                    ));
                }
            }
        }
        if routes.is_empty() {
            self.notes
                .push(format!("{}: no route leads from port {}; it is not listened on", gateway.key, server.port));
            return None;
        }
        rules.sort_by_key(Rule::rank);
        let number = self.register.listeners.number(&address.to_string());
        let name = format!("{}/{}:{}", gateway.key.namespace, gateway.key.name, server.name);
        Some(Listener { number, name, address, rules, routes })
    }

    fn route(
        &mut self,
        address: SocketAddr,
        object: &Object,
        service: &VirtualService,
        index: usize,
        rule: &TcpRoute,
    ) -> Arc<Route> {
        let name = format!("{}/{}#{index}@{address}", object.key.namespace, object.key.name);
        let number = self.register.routes.number(&name);
        let Steering { by, redistribute } = service.steering;
        let mut destinations: Vec<Destination> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for wanted in &rule.route {
            let destination = self.destination(&name, &object.key.namespace, address.port(), wanted);
            // The same destination twice adds up.
            let place = *places.entry(destination.name.clone()).or_insert(destinations.len());
            match destinations.get_mut(place) {
                Some(other) => other.weight += destination.weight,
                None => destinations.push(destination),
            }
        }
        let on_empty = if redistribute { OnEmpty::Redistribute } else { OnEmpty::Refuse };
        let table = self.table(number, &destinations, by, on_empty);
        for (destination, slots) in destinations.iter_mut().zip(table.shares()) {
            destination.slots = slots;
        }
        let (namespace, object) = (object.key.namespace.clone(), object.key.name.clone());
        let route = Route {
            number,
            namespace,
            object,
            rule: index,
            steer: steering(by),
            on_empty,
            limits: Limits::default(),
            destinations,
            table,
        };
        match self.previous.get(&number) {
            Some(&previous) if **previous == route => Arc::clone(previous),
            _ => Arc::new(route),
        }
    }

    fn destination(&mut self, route: &str, namespace: &str, port: u16, wanted: &RouteDestination) -> Destination {
        let Resolved { host, port, policy, endpoints } = self.catalog.resolve(namespace, port, wanted);
        let name = match &wanted.subset {
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
        let tables = &mut self.shelf;
        let (decides, endpoints, hashing) = super::endpoints::weigh(number, policy, endpoints, tables, |address| {
            self.register.endpoints.number(&format!("{host}:{port}@{address}"))
        });
        let (subset, weight) = (wanted.subset.clone(), u64::from(wanted.weight));
        Destination {
            name,
            host,
            subset,
            port,
            weight,
            slots: 0,
            settings: Settings::default(),
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

    fn table(&self, number: u32, destinations: &[Destination], by: SteerBy, on_empty: OnEmpty) -> WeightTable {
        let sole = destinations.len() == 1;
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

/// Whether a server takes a VirtualService: one of its hosts has to be one of the server's.
fn admits(gateway: &Object, server: &Server, object: &Object, service: &VirtualService) -> bool {
    server.hosts.iter().any(|entry| {
        let (namespace, host) = entry.split_once('/').unwrap_or(("*", entry));
        let namespace_fits = match namespace {
            "*" => true,
            "." => object.key.namespace == gateway.key.namespace,
            namespace => object.key.namespace == namespace,
        };
        namespace_fits && service.hosts.iter().any(|other| names::hosts_overlap(host, other))
    })
}

/// The ways into a rule at a server: pairs of a source and a destination prefix.
fn entrances(rule: &TcpRoute, gateway: &Object, server: &Server) -> Vec<(Prefix, Prefix)> {
    if rule.matches.is_empty() {
        return vec![(Prefix::ANY, Prefix::ANY)];
    }
    let here = |other: &GatewayRef| match other {
        GatewayRef::Mesh => false,
        GatewayRef::Gateway { namespace, name } => *namespace == gateway.key.namespace && *name == gateway.key.name,
    };
    let mut entrances = Vec::new();
    let mut seen = BTreeSet::new();
    for block in &rule.matches {
        let port_fits = block.port.is_none_or(|port| port == u32::from(server.port));
        if !port_fits || !(block.gateways.is_empty() || block.gateways.iter().any(here)) {
            continue;
        }
        let source = block.source.as_ref().map_or(Prefix::ANY, prefix);
        let any = [Prefix::ANY];
        let destinations: Vec<Prefix> = block.destinations.iter().map(prefix).collect();
        for destination in if destinations.is_empty() { &any[..] } else { &destinations } {
            if seen.insert((prefix_key(&source), prefix_key(destination))) {
                entrances.push((source, *destination));
            }
        }
    }
    entrances
}

fn prefix_key(prefix: &Prefix) -> (u32, u32, Address) {
    (prefix.family, prefix.bits, prefix.address)
}

fn prefix(subnet: &IpNet) -> Prefix {
    let bits = u32::from(subnet.prefix_len());
    match subnet {
        IpNet::V4(subnet) => Prefix { address: Address::v4(subnet.network().octets()), bits, family: family::V4 },
        IpNet::V6(subnet) => Prefix { address: Address::v6(subnet.network().octets()), bits, family: family::V6 },
    }
}

fn steering(by: SteerBy) -> Steer {
    match by {
        SteerBy::Connection => Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        SteerBy::Sequence => Steer { by: steer::SEQUENCE, v4_bits: 0, v6_bits: 0 },
        SteerBy::Source { v4_bits, v6_bits } => Steer { by: steer::SOURCE, v4_bits, v6_bits },
    }
}
