//! What becomes of connections that programs of this host make to services: by the rules for `mesh`, which are compiled as
//! others are, and where none fits by the service's own endpoints ([`service`](super::service)). Everything is compiled
//! once for the clients of each family that the service has an address of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Prefix, family};
use tcpshift_common::listener::RuleRow;

use super::family::reaches_any;
use super::lineage::Lineage;
use super::memory::RememberedMesh;
use super::rule::Site;
use super::ways::{self, Ways, entrances};
use super::{Compiler, Identity};
use crate::plan::MeshListener;
use crate::route::model::{GatewayRef, RouteMatch, VirtualService, selects};
use crate::route::object::{Key, Object};

/// A port of a service.
pub(super) struct ServicePort<'a> {
    pub(super) addresses: &'a [IpNet],
    pub(super) ways: Ways,
    /// The oldest object with a rule for it, or that of the service, and how many ports came before it.
    pub(super) first: &'a Key,
    pub(super) order: usize,
}

/// Ports by the host of their service.
pub(super) type ServicePorts<'a> = BTreeMap<(String, u16), ServicePort<'a>>;

/// Families by how people call them, in the order of a plan's listeners.
pub(super) const FAMILIES: [(u32, &str); 2] = [(family::V4, "IPv4"), (family::V6, "IPv6")];

impl<'a> Compiler<'a> {
    /// The ports of services that clients can connect to, by host, port and family. Gateways have so many routes.
    pub(super) fn mesh(
        &mut self,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
        identity: &Identity,
        gateways: usize,
    ) -> Vec<Arc<MeshListener>> {
        let steers = identity.room > 0;
        let room = (identity.room as usize).saturating_sub(gateways);
        let remembered = self.memory.mesh.take();
        if let Some(remembered) = remembered.filter(|last| last.is_of(services, steers, room))
            && self.memory.is_same_ground
        {
            return self.mesh_taken_over(remembered);
        }
        self.turn_to(self.last.mesh.iter().flat_map(|last| &last.routes));
        let notes = std::mem::take(&mut self.notes);
        let mut ports = self.ruled(services, identity);
        let ruled = ports.values().map(|port| FAMILIES.len() * port.ways.routes.len()).sum();
        let needed = if steers { self.own_routes(&mut ports, ruled, room) } else { Some(ruled) };
        let made =
            ports.iter().flat_map(|(at, port)| port.ways.routes.iter().map(|route| (at.clone(), Arc::clone(route))));
        let mut made: Vec<_> = made.collect();
        let listeners = self.by_family(ports, steers);
        // A rule is known again by the listeners of its port; without one it is new in each compilation.
        let known: HashSet<_> = listeners.iter().map(|listener| (listener.host.as_str(), listener.port)).collect();
        made.retain(|((host, port), route)| route.is_own() || known.contains(&(host.as_str(), *port)));
        let routes = made.into_iter().map(|(_, route)| route).collect();
        let notes = std::mem::replace(&mut self.notes, notes);
        self.notes.extend(notes.iter().cloned());
        self.used.sort_unstable();
        self.used.dedup();
        self.memory.mesh = Some(RememberedMesh {
            services: services.iter().map(|(object, _)| Arc::clone(object)).collect(),
            steers,
            needed,
            targets: self.used.clone(),
            routes,
            listeners: listeners.clone(),
            notes,
        });
        listeners
    }

    /// What clients met before, since the objects are the same.
    fn mesh_taken_over(&mut self, remembered: RememberedMesh) -> Vec<Arc<MeshListener>> {
        for place in &remembered.targets {
            // On the same ground it is; this keeps its numbers.
            self.is_same(*place);
        }
        let register = &mut self.memory.register;
        remembered.listeners.iter().for_each(|listener| register.listeners.keep(listener.number));
        let routes = remembered.listeners.iter().flat_map(|listener| &listener.routes);
        for route in routes.chain(&remembered.routes) {
            register.routes.keep(route.number);
            route.destinations.iter().for_each(|one| register.destinations.keep(one.decides.number));
        }
        self.notes.extend(remembered.notes.iter().cloned());
        let listeners = remembered.listeners.clone();
        self.memory.mesh = Some(remembered);
        listeners
    }

    /// The ports that VirtualServices are for, with their rules.
    fn ruled(&mut self, services: &[(&'a Arc<Object>, &'a VirtualService)], identity: &Identity) -> ServicePorts<'a> {
        // The agent is the client: its labels and its namespace are what a match looks at.
        let fits = |block: &RouteMatch| {
            selects(&block.source_labels, &identity.labels)
                && block.source_namespace.as_ref().is_none_or(|namespace| *namespace == identity.namespace)
        };
        let mut ports = ServicePorts::new();
        for (object, service) in services {
            for (host, port, addresses) in self.ports(object, service) {
                let at = listener_name(&host, port);
                let site = Site { at: &at, port, in_mesh: true };
                // Those of the other family have the same rules.
                let last = self.last.mesh(&host, port).first();
                let last = last.map(|last| (&*last.rules, &*last.routes)).unwrap_or_default();
                let order = ports.len();
                let ways = Ways::default();
                let place =
                    ports.entry((host, port)).or_insert(ServicePort { addresses, ways, first: &object.key, order });
                let all = service.tcp.iter().map(|rule| entrances(rule, port, &GatewayRef::Mesh, fits));
                self.lineage = Lineage::new(object, last, all);
                for (index, rule) in service.tcp.iter().enumerate() {
                    let entrances = entrances(rule, port, &GatewayRef::Mesh, fits);
                    let blocked = place.ways.add(&entrances, || self.route(site, object, service, index, rule));
                    if let Some(first) = blocked {
                        self.notes.push(format!(
                            "{}: tcp rule {index} is never reached at {at}: {first} comes before it",
                            object.key
                        ));
                    }
                }
            }
        }
        ports
    }

    /// The listeners of each port. Where `all` have one, a port without a route keeps its addresses from the subnets of
    /// others.
    fn by_family(&mut self, ports: ServicePorts<'a>, all: bool) -> Vec<Arc<MeshListener>> {
        let addresses = self.addresses(&ports, all);
        let mut listeners = Vec::new();
        for (((host, port), place), addresses) in ports.into_iter().zip(addresses) {
            let Ways { mut rules, routes, .. } = place.ways;
            rules.sort_by_key(RuleRow::rank);
            for (family, called) in FAMILIES {
                let addresses: Vec<Prefix> = addresses.iter().filter(|one| one.family == family).copied().collect();
                if addresses.is_empty() {
                    continue;
                }
                let at = format!("{} {called}", listener_name(&host, port));
                let number = self.memory.register.listeners.number(&at);
                let (mut rules, mut routes) = (rules.clone(), &routes[..]);
                // A service's own route is the last one, with the last rule.
                if let Some((last, others)) = routes.split_last()
                    && last.is_own()
                    && !reaches_any(last, family)
                {
                    routes = others;
                    rules.pop();
                }
                let routes = routes.iter().map(|route| self.for_family(route, &at, family)).collect();
                let listener = MeshListener { number, host: host.clone(), port, addresses, rules, routes };
                let last = self.last.mesh(&listener.host, port).iter().find(|last| ***last == listener);
                listeners.push(last.map_or_else(|| Arc::new(listener), Arc::clone));
            }
        }
        listeners
    }

    /// Host and port of each service that an object is for and that clients can connect to, with its addresses.
    fn ports(&mut self, object: &'a Object, service: &'a VirtualService) -> Vec<(String, u16, &'a [IpNet])> {
        let (mut ports, mut any) = (Vec::new(), false);
        for host in &service.hosts {
            let reached = self.lookup.catalog().hosts(&object.key.namespace, host);
            any |= reached.iter().any(|one| !one.ports.is_empty());
            if !reached.is_empty() && reached.iter().all(|one| one.addresses.is_empty()) {
                self.notes.push(format!(
                    "{}: no client inside a mesh can connect to {host}, which has no address; add `addresses` to its \
                     ServiceEntry, or `clusterIP` to the Service",
                    object.key
                ));
            }
            for one in reached.into_iter().filter(|one| !one.addresses.is_empty()) {
                ports.extend(one.ports.iter().map(|port| (one.host.clone(), *port, one.addresses)));
            }
        }
        if !any {
            self.notes.push(format!("{}: no service has one of its hosts, for clients inside a mesh", object.key));
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The addresses of each port, in their order. Of two that have one address and port, one with a route keeps it, and
    /// then the one that was named first.
    fn addresses(&mut self, ports: &ServicePorts<'a>, all: bool) -> Vec<Vec<Prefix>> {
        let mut order: Vec<_> = ports.iter().enumerate().collect();
        order.sort_by_key(|(_, (_, place))| (place.ways.routes.is_empty(), place.order));
        let mut taken: HashMap<(Prefix, u16), (&str, &ServicePort<'_>)> = HashMap::new();
        let mut found = vec![Vec::new(); ports.len()];
        for (at, ((host, port), place)) in order {
            if place.ways.routes.is_empty() && !all {
                continue;
            }
            for address in place.addresses {
                let prefix = ways::prefix(address);
                match taken.get(&(prefix, *port)) {
                    None => {
                        taken.insert((prefix, *port), (host, place));
                        found[at].push(prefix);
                    }
                    // One that is written twice, or that several hosts of one object have.
                    Some((_, other)) if std::ptr::eq(other.addresses, place.addresses) => {}
                    Some((first, other)) => self.notes.push(format!(
                        "{}: {address} port {port} of {host} is that of {first} too, for which {} comes before it: \
                         connections are taken to be to {first}",
                        place.first, other.first
                    )),
                }
            }
        }
        found
    }
}

/// The name that a port's routes and listeners have in the register.
pub(super) fn listener_name(host: &str, port: u16) -> String {
    format!("mesh {host}:{port}")
}
