//! What becomes of connections that programs of this host make to services: by the rules for `mesh`, and where none fits by
//! the service's own endpoints ([`service`](super::service)). Everything is assembled for the clients of each family that
//! the service has an address of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Prefix, family};
use tcpshift_common::listener::RuleRow;

use super::Assembler;
use super::lineage::Lineage;
use super::memory::AssembledMesh;
use crate::plan::datapath::{self, ServedAt};
use crate::plan::intent::{Backend, Intent, MeshPort};
use crate::plan::resolve::prefix;
use crate::plan::{MeshListener, Route};
use crate::route::object::Key;

/// A port of a service.
pub(super) struct PortRoutes<'i> {
    /// The object of the service.
    pub(super) service: &'i Key,
    pub(super) addresses: &'i [IpNet],
    pub(super) rules: Vec<RuleRow>,
    /// Each with the backends of its destinations.
    pub(super) routes: Vec<(Arc<Route>, Leads<'i>)>,
    /// The oldest object with a rule for it, or that of the service, and how many ports came before it.
    pub(super) first: &'i Key,
    pub(super) order: usize,
    pub(super) site: ServedAt,
}

/// Where a route leads, as its intent has it.
pub(super) type Leads<'i> = &'i [(Arc<Backend>, u64)];

/// Ports by the host of their service.
pub(super) type RoutesByPort<'i> = BTreeMap<(&'i str, u16), PortRoutes<'i>>;

/// Families by how people call them, in the order of a plan's listeners.
pub(super) const FAMILIES: [(u32, &str); 2] = [(family::V4, "IPv4"), (family::V6, "IPv6")];

impl Assembler<'_> {
    /// The ports of services that clients can connect to, by host, port and family. Gateways have so many routes.
    pub(super) fn mesh(&mut self, intent: &Intent, gateways: usize, notes: &mut Vec<String>) -> Vec<Arc<MeshListener>> {
        let steers = self.host.abilities.room > 0;
        let room = (self.host.abilities.room as usize).saturating_sub(gateways);
        let before = self.memory.mesh.take().filter(|before| {
            before.room == room
                && same(&before.ports, &intent.mesh)
                && same(&before.services, &intent.services)
                && self.memory.holds(&before.used)
        });
        let assembled = if let Some(mut before) = before {
            self.memory.keep(&mut before.used);
            before
        } else {
            self.turn_to(self.last.mesh.iter().flat_map(|last| &last.routes));
            let mut notes = Vec::new();
            let mut ports = self.with_rules(&intent.mesh);
            if steers {
                let ruled = ports.values().map(|port| FAMILIES.len() * port.routes.len()).sum();
                self.own_routes(&intent.services, &mut ports, (ruled, room), &mut notes);
            }
            let made =
                ports.iter().flat_map(|(at, port)| port.routes.iter().map(|(route, _)| (*at, Arc::clone(route))));
            let made: Vec<_> = made.collect();
            let listeners = self.by_family(ports, steers, &mut notes);
            // A rule is known again by the listeners of its port; without one it is new in each assembly.
            let known: HashSet<_> = listeners.iter().map(|listener| (listener.host.as_str(), listener.port)).collect();
            for (_, route) in made.iter().filter(|(at, route)| !route.is_own() && !known.contains(at)) {
                self.used.routes.retain(|number| *number != route.number);
                self.used.destinations.retain(|number| route.destinations.iter().all(|one| one.number != *number));
            }
            let (ports, services) = (intent.mesh.clone(), intent.services.clone());
            AssembledMesh { ports, services, room, used: self.take_used(), listeners, notes }
        };
        notes.extend(assembled.notes.iter().cloned());
        let listeners = assembled.listeners.clone();
        self.memory.mesh = Some(assembled);
        listeners
    }

    /// The ports that VirtualServices are for, with their routes.
    fn with_rules<'i>(&mut self, ports: &'i [Arc<MeshPort>]) -> RoutesByPort<'i> {
        let mut found = RoutesByPort::new();
        for port in ports {
            let MeshPort { host, port: number, service, addresses, rules, routes, first, order, .. } = &**port;
            // Those of the other family have the same rules.
            let last = self.last.mesh(host, *number).first();
            let last = last.map(|last| (&*last.rules, &*last.routes)).unwrap_or_default();
            let (at, site) = (listener_name(host, *number), ServedAt::in_mesh(datapath::excess(rules)));
            let mut object = None;
            let routes = routes.iter().map(|route| {
                let own = (route.kind, &route.namespace, &route.object);
                if object != Some(own) {
                    object = Some(own);
                    self.lineage = Lineage::new(route, (rules, &port.routes), last);
                }
                (self.route(&at, route, family::ANY, &site), &*route.destinations)
            });
            let (routes, rules, order) = (routes.collect(), rules.clone(), *order);
            found.insert((host, *number), PortRoutes { service, addresses, rules, routes, first, order, site });
        }
        found
    }

    /// The listeners of each port. Where `all` have one, a port without a route keeps its addresses from the subnets of
    /// others.
    fn by_family(&mut self, ports: RoutesByPort<'_>, all: bool, notes: &mut Vec<String>) -> Vec<Arc<MeshListener>> {
        let addresses = addresses(&ports, all, notes);
        let mut listeners = Vec::new();
        for (((host, port), found), addresses) in ports.into_iter().zip(addresses) {
            for (family, called) in FAMILIES {
                let addresses: Vec<Prefix> = addresses.iter().filter(|one| one.family == family).copied().collect();
                if addresses.is_empty() {
                    continue;
                }
                let at = format!("{} {called}", listener_name(host, port));
                let number = self.memory.register.listeners.number(&at);
                self.used.listeners.push(number);
                let (mut rules, mut routes) = (found.rules.clone(), &found.routes[..]);
                // A service's own route is the last one, with the last rule.
                if let Some(((last, _), others)) = routes.split_last()
                    && last.is_own()
                    && !self.reaches_any(last, family)
                {
                    routes = others;
                    rules.pop();
                }
                let routes = routes.iter().map(|(route, to)| self.for_family(route, to, &at, family, &found.site));
                let (routes, host) = (routes.collect(), host.to_owned());
                let listener = MeshListener { number, host, port, addresses, rules, routes };
                let last = self.last.mesh(&listener.host, port).iter().find(|last| ***last == listener);
                listeners.push(last.map_or_else(|| Arc::new(listener), Arc::clone));
            }
        }
        listeners
    }

    /// Whether clients of a family can reach some endpoint of a route.
    fn reaches_any(&self, route: &Route, family: u32) -> bool {
        let sets = self.memory.states.sets();
        route
            .destinations
            .iter()
            .map(|destination| sets.of(destination).nature())
            .any(|nature| nature.original || nature.v4 || (nature.v6 && family == family::V6))
    }
}

/// The addresses of each port, in their order. Of two that have one address and port, one with a route keeps it, and then
/// the one that was named first.
fn addresses(ports: &RoutesByPort<'_>, all: bool, notes: &mut Vec<String>) -> Vec<Vec<Prefix>> {
    let mut order: Vec<_> = ports.iter().enumerate().collect();
    order.sort_by_key(|(_, (_, port))| (port.routes.is_empty(), port.order));
    let mut taken: HashMap<(Prefix, u16), (&str, &PortRoutes<'_>)> = HashMap::new();
    let mut found = vec![Vec::new(); ports.len()];
    for (at, ((host, number), port)) in order {
        if port.routes.is_empty() && !all {
            continue;
        }
        for address in port.addresses {
            let prefix = prefix(address);
            match taken.get(&(prefix, *number)) {
                None => {
                    taken.insert((prefix, *number), (host, port));
                    found[at].push(prefix);
                }
                // One that is written twice, or that several hosts of one object have.
                Some((_, other)) if other.service == port.service => {}
                Some((first, other)) => notes.push(format!(
                    "{}: {address} port {number} of {host} is that of {first} too, for which {} comes before it: \
                     connections are taken to be to {first}",
                    port.first, other.first
                )),
            }
        }
    }
    found
}

/// Whether two lists have the same values, each shared.
fn same<T>(one: &[Arc<T>], other: &[Arc<T>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// The name that a port's routes and listeners have in the register.
pub(super) fn listener_name(host: &str, port: u16) -> String {
    format!("mesh {host}:{port}")
}
