//! Compiles objects into a plan: which listeners there are, which rules lead to which routes, and where the
//! destinations of a route are.
//!
//! References are followed as Istio does at a gateway. What does not exist is no error: that share is marked
//! as unusable, with the reason. It must not know files, sockets or time: what
//! DNS says is handed in.

mod bound;
mod family;
mod lineage;
mod memory;
mod mesh;
mod rule;
mod service;
mod target;
mod ways;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::Prefix;
use tcpshift_common::listener::RuleRow;

use self::bound::Opening;
use self::lineage::Lineage;
pub use self::memory::Memory;
use self::memory::{Ground, Remembered};
use self::rule::Site;
use self::target::Lookup;
use self::ways::{Ways, entrances};
use super::register::Register;
use super::{Listener, Plan, Route};
use crate::route::model::{GatewayRef, Server, Spec, VirtualService, gateway_api};
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
    /// The addresses of this host beside the loopback ones, as networks. An IPv4 address is not written as an IPv6 address.
    pub local: Vec<IpNet>,
    /// Routes that there is room for if programs of this host can be pointed at endpoints when they connect; else 0. The
    /// routes of services themselves get what others leave.
    pub room: u32,
    /// Addresses of host names in lower case, as DNS answered last, in its order.
    pub names: HashMap<String, Vec<IpAddr>>,
}

impl Identity {
    /// Whether an address is one of this host.
    fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.local.iter().any(|network| network.contains(&ip))
    }
}

/// Compiles the next plan. Numbers, tables, routes and listeners that stay as they are are taken over from the last
/// one and from what is remembered; without a memory the same comes out, but for the numbers.
pub fn compile<'a>(
    objects: impl Iterator<Item = &'a Arc<Object>>,
    identity: &Identity,
    memory: &mut Memory,
    last: &Plan,
) -> Plan {
    let mut objects: Vec<&Arc<Object>> = objects.collect();
    objects.sort_by(|a, b| a.age().cmp(&b.age()));
    let mut notes = Vec::new();
    let openings = bound::openings(&objects, identity, &mut notes);
    let bound = bound::bind(&objects, identity, &mut notes);
    let ground: Vec<&Arc<Object>> = objects.into_iter().filter(|object| is_ground(&object.spec)).collect();
    let own: BTreeSet<SocketAddr> = openings.keys().copied().collect();
    let objects = ground.iter().copied().map(Arc::clone).collect();
    memory.begin(Ground { objects, own: own.clone(), identity: identity.clone() });
    let lookup = Lookup::new(ground, own, identity);
    let mut compiler = Compiler {
        memory,
        last,
        lookup,
        previous: HashMap::new(),
        lineage: Lineage::default(),
        used: Vec::new(),
        notes,
    };
    let mut listeners = Vec::new();
    for (address, (gateway, opening)) in &openings {
        let key = (gateway.key.namespace.as_str(), gateway.key.name.as_str());
        listeners.extend(match opening {
            Opening::Server(server) => {
                let services = bound.services.get(&key).map(|services| services.at(server.port)).unwrap_or_default();
                compiler.server(*address, gateway, server, &services)
            }
            Opening::Listener(listener) => {
                // What was here before another Gateway took the address is not kept up to date.
                compiler.memory.listeners.remove(address);
                compiler.turn_to_listener(*address);
                let attached = bound.routes.get(&key).into_iter().flatten();
                let attached = attached.filter(|(object, route)| bound::attaches(gateway, listener, object, route));
                let (rules, routes) =
                    compiler.tcp_routes(*address, attached.map(|(object, route)| (&***object, *route)));
                compiler.listener(*address, gateway, *opening, rules, routes)
            }
        });
    }
    let routes = listeners.iter().map(|listener| listener.routes.len()).sum();
    let mesh = compiler.mesh(&bound.mesh, identity, routes);
    let Compiler { memory, notes, .. } = compiler;
    memory.listeners.retain(|address, _| openings.contains_key(address));
    let names = memory.targets.sweep();
    let (generation, seed) = (last.generation + 1, identity.seed);
    // How connections get to endpoints is chosen later, by what the host can do.
    let (datapaths, local) = (BTreeMap::new(), Vec::new());
    Plan { generation, seed, listeners, mesh, datapaths, local, notes, names }
}

/// Whether destinations may depend on an object.
fn is_ground(spec: &Spec) -> bool {
    match spec {
        Spec::Service(_)
        | Spec::ServiceEntry(_)
        | Spec::WorkloadEntry(_)
        | Spec::EndpointSlice(_)
        | Spec::DestinationRule(_)
        | Spec::ReferenceGrant(_) => true,
        Spec::VirtualService(_)
        | Spec::Gateway(_)
        | Spec::WorkloadGroup(_)
        | Spec::GatewayApiGateway(_)
        | Spec::TcpRoute(_) => false,
    }
}

struct Compiler<'a> {
    memory: &'a mut Memory,
    last: &'a Plan,
    lookup: Lookup<'a>,
    /// Routes that the listener at hand has in the last plan, by number.
    previous: HashMap<u32, &'a Arc<Route>>,
    /// Routes that the object at hand has there.
    lineage: Lineage<'a>,
    /// Places of the targets that the listener at hand leads to.
    used: Vec<usize>,
    notes: Vec<String>,
}

impl<'a> Compiler<'a> {
    /// The listener of a server of Istio's Gateway, if any rule leads from it.
    fn server(
        &mut self,
        address: SocketAddr,
        gateway: &'a Arc<Object>,
        server: &'a Server,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
    ) -> Option<Arc<Listener>> {
        if let Some(remembered) = self.memory.listeners.remove(&address) {
            let same = Arc::ptr_eq(gateway, &remembered.gateway)
                && services.len() == remembered.services.len()
                && services.iter().zip(&remembered.services).all(|((one, _), other)| Arc::ptr_eq(one, other))
                && remembered.targets.iter().all(|place| self.is_same(*place));
            if same {
                return self.taken_over(address, remembered);
            }
        }
        self.turn_to_listener(address);
        let notes = std::mem::take(&mut self.notes);
        let (rules, routes) = self.virtual_services(address, gateway, server, services);
        let listener = self.listener(address, gateway, Opening::Server(server), rules, routes);
        let new = std::mem::replace(&mut self.notes, notes);
        self.notes.extend(new.iter().cloned());
        self.used.sort_unstable();
        self.used.dedup();
        let routes = listener.iter().flat_map(|listener| &listener.routes);
        let remembered = Remembered {
            gateway: Arc::clone(gateway),
            services: services.iter().map(|(object, _)| Arc::clone(object)).collect(),
            targets: self.used.clone(),
            notes: new,
            routes: routes.clone().map(|route| route.number).collect(),
            destinations: routes.flat_map(|route| &route.destinations).map(|one| one.decides.number).collect(),
            listener: listener.clone(),
        };
        self.memory.listeners.insert(address, remembered);
        listener
    }

    /// Turns to the listener at an address.
    fn turn_to_listener(&mut self, address: SocketAddr) {
        self.turn_to(self.last.listener(address).into_iter().flat_map(|last| &last.routes));
    }

    /// Turns to what has these routes in the last plan.
    fn turn_to(&mut self, previous: impl Iterator<Item = &'a Arc<Route>>) {
        self.previous = previous.map(|route| (route.number, route)).collect();
        self.used.clear();
    }

    /// A listener as it was compiled before.
    fn taken_over(&mut self, address: SocketAddr, remembered: Remembered) -> Option<Arc<Listener>> {
        let Register { listeners, routes, destinations, .. } = &mut self.memory.register;
        remembered.listener.iter().for_each(|listener| listeners.keep(listener.number));
        remembered.routes.iter().for_each(|number| routes.keep(*number));
        remembered.destinations.iter().for_each(|number| destinations.keep(*number));
        self.notes.extend(remembered.notes.iter().cloned());
        let listener = remembered.listener.clone();
        self.memory.listeners.insert(address, remembered);
        listener
    }

    /// A listener, if any rule leads from it.
    fn listener(
        &mut self,
        address: SocketAddr,
        gateway: &Object,
        opening: Opening<'_>,
        mut rules: Vec<RuleRow>,
        routes: Vec<Arc<Route>>,
    ) -> Option<Arc<Listener>> {
        if routes.is_empty() {
            let port = opening.port();
            self.notes.push(format!("{}: no route leads from port {port}; it is not listened on", gateway.key));
            return None;
        }
        rules.sort_by_key(RuleRow::rank);
        let number = self.memory.register.listeners.number(&address.to_string());
        let name = format!("{}/{}:{}", gateway.key.namespace, gateway.key.name, opening.name());
        let listener = Listener { number, name, address, rules, routes };
        let same = self.last.listener(address).filter(|last| ***last == listener);
        Some(same.map_or_else(|| Arc::new(listener), Arc::clone))
    }

    /// The rules of VirtualServices at a server of Istio's Gateway.
    fn virtual_services(
        &mut self,
        address: SocketAddr,
        gateway: &Object,
        server: &Server,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
    ) -> (Vec<RuleRow>, Vec<Arc<Route>>) {
        let here = GatewayRef::Gateway { namespace: gateway.key.namespace.clone(), name: gateway.key.name.clone() };
        let at = address.to_string();
        let last = self.last.listener(address).map(|last| (&*last.rules, &*last.routes)).unwrap_or_default();
        let site = Site { at: &at, port: server.port, in_mesh: false };
        let mut ways = Ways::default();
        for (object, service) in services {
            if !bound::admits(gateway, server, object, service) {
                self.notes.push(format!(
                    "{}: none of its hosts is one of the hosts of {} port {}",
                    object.key, gateway.key, server.port
                ));
                continue;
            }
            let all = service.tcp.iter().map(|rule| entrances(rule, server.port, &here, |_| true));
            self.lineage = Lineage::new(object, last, all);
            for (index, rule) in service.tcp.iter().enumerate() {
                let entrances = entrances(rule, server.port, &here, |_| true);
                let blocked = ways.add(&entrances, || self.route(site, object, service, index, rule));
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
    fn tcp_routes(
        &mut self,
        address: SocketAddr,
        attached: impl Iterator<Item = (&'a Object, &'a gateway_api::TcpRoute)>,
    ) -> (Vec<RuleRow>, Vec<Arc<Route>>) {
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
            rules.push(RuleRow::new(Prefix::ANY, Prefix::ANY, 0));
            routes.push(self.tcp_route(&address.to_string(), address.port(), object, route, rule));
        }
        (rules, routes)
    }
}
