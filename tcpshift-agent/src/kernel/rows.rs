//! A plan as rows of maps: pure, so that what programs will read can be looked at without a kernel.
//!
//! It must not know where rows go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::SLOTS;
use tcpshift_common::address::{Address, Prefix, family};
use tcpshift_common::layout::{
    self, AddressEntry, AddressKey, DestinationRow, EndpointRow, HashRow, ListenerRow, NONE, RouteRow, SlotTable,
    datapath, scope, write,
};
use tcpshift_common::listener::Rule;

use crate::plan::{
    Datapath, Destination, EndpointAddress, HashTable, Listener, MeshListener, Plan, Route, WeightTable,
};

/// Everything of a plan but its slot tables and hash tables.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) listeners: Vec<ListenerRow>,
    pub(super) rules: Vec<Rule>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) destinations: Vec<DestinationRow>,
    pub(super) endpoints: Vec<EndpointRow>,
    /// Which listener an address belongs to. Each address is there once.
    pub(super) addresses: BTreeMap<AddressKey, u32>,
    /// Listeners that are left to the agent, since they have too many rules.
    pub(super) left: Vec<String>,
}

/// Which tables a plan's routes and destinations have, by their numbers.
pub(super) struct Places<'a> {
    pub(super) slots: &'a HashMap<u32, (Arc<Route>, u32)>,
    pub(super) hashes: &'a HashMap<(u32, u32), (HashTable, u32)>,
}

impl Rows {
    pub(super) fn new(plan: &Plan, places: &Places<'_>) -> Self {
        let mut rows = Self::default();
        let numbers = plan.listeners.iter().map(|listener| listener.number);
        let numbers = numbers.chain(plan.mesh.iter().map(|listener| listener.number));
        let count = numbers.map(|number| number as usize + 1).max().unwrap_or_default();
        let nobody = ListenerRow {
            at: write(""),
            generation: 0,
            seed: 0,
            address: Address::default(),
            port: 0,
            first_rule: 0,
            rules: 0,
            first_route: 0,
        };
        rows.listeners = vec![nobody; count];
        for listener in &plan.listeners {
            let at = listener.address.to_string();
            let place = of(listener.address);
            rows.listener(plan, (listener.number, &at, place), (&listener.rules, &listener.routes), places);
            rows.entrances(plan, listener);
        }
        for listener in &plan.mesh {
            let MeshListener { number, host, port, addresses, rules: ways, routes } = &**listener;
            let at = format!("{host}:{port}");
            rows.listener(plan, (*number, &at, (Address::default(), (*port).into())), (ways, routes), places);
            for prefix in addresses {
                rows.entrance(scope::CONNECT, *port, prefix, *number);
            }
        }
        rows
    }

    /// The addresses of a gateway's listener, for those who are served without the agent.
    fn entrances(&mut self, plan: &Plan, listener: &Listener) {
        let has = |datapath| {
            listener
                .routes
                .iter()
                .any(|route| plan.datapaths.get(&route.number).is_some_and(|chosen| chosen.datapath == Some(datapath)))
        };
        let (ip, port) = (listener.address.ip(), listener.address.port());
        if has(Datapath::Lookup) {
            let prefix = match ip {
                IpAddr::V6(ip) if ip.is_unspecified() => Prefix::ANY,
                IpAddr::V4(ip) if ip.is_unspecified() => Prefix::v4([0; 4], 0),
                ip => ip.into(),
            };
            self.entrance(scope::LOOKUP, port, &prefix, listener.number);
        }
        if has(Datapath::Connect) {
            let fits = |prefix: &Prefix| ip.is_ipv6() || prefix.family == family::V4;
            let prefixes = if ip.is_unspecified() { plan.local.clone() } else { vec![ip.into()] };
            for prefix in prefixes.iter().filter(|prefix| fits(prefix)) {
                self.entrance(scope::CONNECT, port, prefix, listener.number);
            }
        }
    }

    fn entrance(&mut self, scope: u32, port: u16, prefix: &Prefix, listener: u32) {
        let bits = match prefix.family {
            family::V4 => 96 + prefix.bits,
            _ => prefix.bits,
        };
        let at = AddressEntry::new(scope, port.into(), prefix.address);
        self.addresses.entry(AddressKey { bits: AddressEntry::HEAD + bits, at }).or_insert(listener);
    }

    fn listener(
        &mut self,
        plan: &Plan,
        (number, at, (address, port)): (u32, &str, (Address, u32)),
        (ways, routes): (&[Rule], &[Arc<Route>]),
        places: &Places<'_>,
    ) {
        let (first_rule, first_route) = (self.rules.len() as u32, self.routes.len() as u32);
        let mut rules = ways.len() as u32;
        if rules > layout::RULES {
            rules = 0;
            self.left.push(at.to_owned());
        } else {
            self.rules.extend(ways);
        }
        self.listeners[number as usize] = ListenerRow {
            at: write(at),
            generation: plan.generation,
            seed: plan.seed,
            address,
            port,
            first_rule,
            rules,
            first_route,
        };
        for route in routes {
            let name = write(&route.name());
            self.routes.push(RouteRow {
                name,
                number: route.number,
                table: places.slots.get(&route.number).map_or(NONE, |(_, table)| *table),
                first_destination: self.destinations.len() as u32,
                destinations: route.destinations.len() as u32,
                steer: route.steer,
                datapath: datapath(plan, route),
                first: first(route),
                reserved: 0,
            });
            for destination in &route.destinations {
                self.destinations.push(DestinationRow {
                    listener: write(at),
                    route: name,
                    name: write(&destination.name),
                    weight: destination.weight,
                    slots: destination.slots,
                    route_number: route.number,
                    decides: destination.decides,
                    first_endpoint: self.endpoints.len() as u32,
                    hash_table: hash_table(route.number, destination, places),
                });
                self.endpoints.extend(destination.endpoints.iter().map(|endpoint| {
                    let (address, port) = match &endpoint.address {
                        EndpointAddress::Tcp(address) => of(*address),
                        EndpointAddress::Unix(_) => (Address::default(), 0),
                    };
                    EndpointRow { at: write(&endpoint.address.to_string()), address, port, decides: endpoint.decides }
                }));
            }
        }
    }
}

/// What programs are told of how connections of a route reach its endpoints.
fn datapath(plan: &Plan, route: &Route) -> u32 {
    let Some(chosen) = plan.datapaths.get(&route.number) else { return datapath::PROXY };
    match chosen.datapath {
        Some(Datapath::Proxy) => datapath::PROXY,
        Some(Datapath::Connect) => datapath::CONNECT,
        Some(Datapath::Lookup) if chosen.only => datapath::LOOKUP_ONLY,
        Some(Datapath::Lookup) => datapath::LOOKUP,
        None => datapath::REFUSED,
    }
}

/// The place of the first destination that has slots.
fn first(route: &Route) -> u32 {
    route.destinations.iter().position(|destination| destination.slots > 0).map_or(NONE, |place| place as u32)
}

/// Whether some clients who connect to services are steered.
pub(super) fn has_clients(plan: &Plan) -> bool {
    plan.mesh.iter().flat_map(|listener| &listener.routes).any(|route| datapath(plan, route) == datapath::CONNECT)
}

/// The ports of listeners whose connections may be handed over.
pub(super) fn ports(plan: &Plan) -> BTreeSet<u16> {
    let lookup = |route: &Arc<Route>| matches!(datapath(plan, route), datapath::LOOKUP | datapath::LOOKUP_ONLY);
    let listeners = plan.listeners.iter().filter(|listener| listener.routes.iter().any(lookup));
    listeners.map(|listener| listener.address.port()).collect()
}

fn of(address: SocketAddr) -> (Address, u32) {
    (address.ip().into(), address.port().into())
}

fn hash_table(route: u32, destination: &Destination, places: &Places<'_>) -> u32 {
    places.hashes.get(&(route, destination.decides.number)).map_or(NONE, |(_, table)| *table)
}

/// The slot table of a route. A slot that nobody has names no destination.
pub(super) fn slots(table: &WeightTable) -> Box<[SlotTable]> {
    let mut row = vec![SlotTable { slots: [u16::MAX; SLOTS as usize] }].into_boxed_slice();
    match table.sole() {
        Some(place) => row[0].slots.fill(place as u16),
        None => row[0].slots.iter_mut().zip(table.slots()).for_each(|(slot, place)| *slot = *place),
    }
    row
}

/// The rows of a hash table.
pub(super) fn places(table: &HashTable) -> Vec<HashRow> {
    let pairs = table.table().chunks(2);
    pairs.map(|pair| HashRow { endpoints: [pair[0], pair.get(1).copied().unwrap_or(NONE)] }).collect()
}
