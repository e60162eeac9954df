//! From an [`Intent`] and a [`Host`] to a [`Plan`]: which address serves which port, numbers, weight tables, and how
//! connections of each route reach their endpoints.
//!
//! Nobody changes a plan after it is made. Numbers are the register's; endpoints are in sets, which a plan names by
//! number (see [`sets`](super::sets)).

mod lineage;
mod memory;
mod mesh;
mod route;
mod service;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Prefix, family};

use self::lineage::Lineage;
pub use self::memory::AssemblyMemory;
use self::memory::{AssembledListener, UsedNumbers};
use super::datapath;
use super::host::Host;
use super::intent::{GatewayPort, Intent};
use super::{Listener, Plan, Route};
use crate::route::object::Key;

/// Assembles the next plan. Numbers, tables, routes and listeners that stay as they are are those of the last plan and
/// of the memory; without a memory the same comes out, but for the numbers. The generation is the last one's if no
/// connection would be decided differently; else it is the next.
pub fn assemble(intent: &Intent, host: &Host, memory: &mut AssemblyMemory, last: &Plan) -> Plan {
    let mut notes = Vec::new();
    let openings = openings(intent, host, &mut notes);
    notes.extend(intent.notes.iter().cloned());
    memory.begin(host, openings.keys().copied().collect());
    let (host, mut listening) = (host.clone(), std::mem::take(&mut memory.listeners));
    let mut assembler = Assembler {
        memory,
        host: &host,
        last,
        previous: HashMap::new(),
        lineage: Lineage::default(),
        used: UsedNumbers::default(),
    };
    let mut listeners = Vec::new();
    for (address, port) in &openings {
        notes.extend(port.notes.iter().cloned());
        listeners.extend(assembler.listener(*address, port, &mut listening));
    }
    let routes = listeners.iter().map(|listener| listener.routes.len()).sum();
    // Of what is not opened any more nothing is kept.
    if listening.len() != openings.len() {
        listening.retain(|address, _| openings.contains_key(address));
    }
    assembler.memory.listeners = listening;
    let mesh = assembler.mesh(intent, routes, &mut notes);
    notes.extend(host.own_sockets.iter().map(|path| {
        format!("the endpoint unix://{path} is this agent's own admin socket: connections to it are refused")
    }));
    let (generation, digest, names) = (last.generation + 1, intent.digest(), intent.names.clone());
    let plan = Plan { generation, seed: host.seed, digest, local: Vec::new(), listeners, mesh, notes, names };
    let plan = Plan { local: local(&host, &plan), ..plan };
    if last.generation > 0 && plan.is_like(last) { Plan { generation: last.generation, ..plan } } else { plan }
}

/// Which port is served at which address: of several at one address, that of the oldest Gateway.
fn openings<'a>(
    intent: &'a Intent,
    host: &Host,
    notes: &mut Vec<String>,
) -> BTreeMap<SocketAddr, &'a Arc<GatewayPort>> {
    let mut openings: BTreeMap<SocketAddr, &Arc<GatewayPort>> = BTreeMap::new();
    for port in &intent.gateways {
        let addresses = port.bind.as_ref().map_or(&*host.listen_addresses, std::slice::from_ref);
        for ip in addresses {
            let (address, gateway) = (SocketAddr::new(*ip, port.port), &port.gateway);
            match openings.get(&address) {
                None => drop(openings.insert(address, port)),
                Some(older) if older.gateway == *gateway => {
                    notes.push(format!("{gateway}: {address} stands twice; the first server is used"));
                }
                Some(older) => notes.push(format!(
                    "{gateway}: {address} is served by the older {}; the server {} is not used",
                    older.gateway, port.name
                )),
            }
        }
    }
    openings
}

/// Addresses of this host at which a listener at every address serves the host's own clients.
fn local(host: &Host, plan: &Plan) -> Vec<Prefix> {
    if host.abilities.connect.is_err() {
        return Vec::new();
    }
    let ports = plan.connect_ports();
    let is_entrance = |address: SocketAddr| address.ip().is_unspecified() && ports.contains(&address.port());
    if !plan.listeners.iter().any(|listener| is_entrance(listener.address)) {
        return Vec::new();
    }
    let prefix = |network: &IpNet| {
        let bits = network.prefix_len().into();
        match network.network() {
            IpAddr::V4(ip) => Prefix::v4(ip.octets(), bits),
            IpAddr::V6(ip) => Prefix::v6(ip.octets(), bits),
        }
    };
    host.networks.iter().map(prefix).collect()
}

struct Assembler<'a> {
    memory: &'a mut AssemblyMemory,
    host: &'a Host,
    last: &'a Plan,
    /// Routes that the listener at hand has in the last plan, by number.
    previous: HashMap<u32, &'a Arc<Route>>,
    /// Routes that the object at hand has there.
    lineage: Lineage<'a>,
    /// What the listener at hand uses.
    used: UsedNumbers,
}

impl<'a> Assembler<'a> {
    /// The listener of a port at an address, if any rule leads from it.
    fn listener(
        &mut self,
        address: SocketAddr,
        port: &Arc<GatewayPort>,
        assembled: &mut HashMap<SocketAddr, AssembledListener>,
    ) -> Option<Arc<Listener>> {
        if let Some(before) = assembled.get_mut(&address)
            && Arc::ptr_eq(&before.port, port)
            && self.memory.holds(&before.used)
        {
            self.memory.keep(&mut before.used);
            return before.listener.clone();
        }
        let last = self.last.listener(address);
        self.turn_to(last.into_iter().flat_map(|last| &last.routes));
        let listener = (!port.routes.is_empty()).then(|| self.new_listener(address, port));
        let new = AssembledListener { port: Arc::clone(port), used: self.take_used(), listener: listener.clone() };
        assembled.insert(address, new);
        listener
    }

    fn new_listener(&mut self, address: SocketAddr, port: &Arc<GatewayPort>) -> Arc<Listener> {
        let last = self.last.listener(address);
        let at = address.to_string();
        let site = datapath::ServedAt {
            listener: Some(address.ip()),
            withheld: self.host.withheld.contains(&address),
            excess: datapath::excess(&port.rules),
        };
        let (rules_before, routes_before) = last.map(|last| (&*last.rules, &*last.routes)).unwrap_or_default();
        let mut object: Option<(crate::route::kind::Kind, &str, &str)> = None;
        let routes = port.routes.iter().map(|route| {
            let own = (route.kind, route.namespace.as_str(), route.object.as_str());
            if object != Some(own) {
                object = Some(own);
                self.lineage = Lineage::new(route, (&port.rules, &port.routes), (rules_before, routes_before));
            }
            self.route(&at, route, family::ANY, &site)
        });
        let routes = routes.collect();
        let number = self.memory.register.listeners.number(&at);
        self.used.listeners.push(number);
        let Key { namespace, name, .. } = &port.gateway;
        let name = format!("{namespace}/{name}:{}", port.name);
        let listener = Listener { number, name, address, rules: port.rules.clone(), routes };
        let same = last.filter(|last| ***last == listener);
        same.map_or_else(|| Arc::new(listener), Arc::clone)
    }

    /// Turns to what has these routes in the last plan.
    fn turn_to(&mut self, previous: impl Iterator<Item = &'a Arc<Route>>) {
        self.previous = previous.map(|route| (route.number, route)).collect();
        self.used = UsedNumbers::default();
    }

    /// What was used since [`Assembler::turn_to`].
    fn take_used(&mut self) -> UsedNumbers {
        let mut used = std::mem::take(&mut self.used);
        used.tidy();
        UsedNumbers { at: self.memory.states.now(), ..used }
    }
}
