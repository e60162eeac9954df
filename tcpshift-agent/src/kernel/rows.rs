//! A plan as rows of maps: pure, so that what programs will read can be looked at without a kernel.

mod addresses;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tcpshift_common::SLOTS;
use tcpshift_common::address::{Address, Prefix, family};
use tcpshift_common::layout::{
    self, DestinationRow, EndpointRow, HashRow, ListenerRow, NONE, ORIGINAL, RouteRow, SlotTable, datapath, left, write,
};
use tcpshift_common::listener::RuleRow;

use self::addresses::AddressTable;
use crate::plan::{Datapath, Destination, EndpointAddress, HashTable, MeshListener, Plan, Route, Sets, WeightTable};

/// Everything of a plan but its slot tables and hash tables.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) listeners: Vec<ListenerRow>,
    pub(super) rules: Vec<RuleRow>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) destinations: Vec<DestinationRow>,
    pub(super) endpoints: Vec<EndpointRow>,
    /// Which listener an address belongs to. Each address is there once.
    pub(super) addresses: AddressTable,
    /// Listeners that are left to the agent, since they have too many rules.
    pub(super) left: Vec<String>,
}

/// Which tables a plan's routes and destinations have, by their numbers.
pub(super) struct TablesInUse<'a> {
    pub(super) slots: &'a HashMap<u32, (Arc<Route>, u32)>,
    pub(super) hashes: &'a HashMap<(u32, u32), (HashTable, u32)>,
}

/// A listener as programs have it, be it of this host or of a service.
struct Programmed<'a> {
    number: u32,
    /// What `bpftool` shows of it: its address, or the service.
    at: &'a str,
    address: Address,
    port: u32,
    /// Not more than programs look at, or none: then the agent has its connections.
    rules: &'a [RuleRow],
    routes: &'a [Arc<Route>],
}

impl Rows {
    pub(super) fn new(plan: &Plan, sets: &Sets, tables: &TablesInUse<'_>) -> Self {
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
            let (address, port) = of(listener.address);
            let (rules, routes) = (&listener.rules, &listener.routes);
            rows.listener(
                plan,
                &Programmed { number: listener.number, at: &at, address, port, rules, routes },
                sets,
                tables,
            );
        }
        for listener in &plan.mesh {
            let MeshListener { number, port, routes, .. } = &**listener;
            let (at, rules) = (listener.name(), looked_at(listener));
            let (address, port) = (Address::default(), (*port).into());
            rows.listener(
                plan,
                &Programmed { number: *number, at: &at, address, port, rules: &rules, routes },
                sets,
                tables,
            );
        }
        rows.addresses = addresses::of(plan, &ports(plan));
        rows
    }

    fn listener(
        &mut self,
        plan: &Plan,
        &Programmed { number, at, address, port, rules: all, routes }: &Programmed<'_>,
        sets: &Sets,
        tables: &TablesInUse<'_>,
    ) {
        let (first_rule, first_route) = (self.rules.len() as u32, self.routes.len() as u32);
        let mut rules = all.len() as u32;
        if rules > layout::RULES {
            rules = 0;
            self.left.push(at.to_owned());
        } else {
            self.rules.extend(all);
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
                table: tables.slots.get(&route.number).map_or(NONE, |(_, table)| *table),
                first_destination: self.destinations.len() as u32,
                destinations: route.destinations.len() as u32,
                steer: route.steer,
                datapath: datapath(route),
                first: first(route),
                left: left(route),
            });
            for destination in &route.destinations {
                self.destinations.push(DestinationRow {
                    listener: write(at),
                    route: name,
                    name: write(&destination.name),
                    weight: destination.weight,
                    slots: destination.slots,
                    route_number: route.number,
                    decides: sets.of(destination).decides(destination),
                    first_endpoint: self.endpoints.len() as u32,
                    hash_table: hash_table(route.number, destination, tables),
                });
                self.endpoints.extend(sets.of(destination).endpoints.iter().map(|endpoint| {
                    let (address, port) = match &endpoint.address {
                        EndpointAddress::Tcp(address) => of(*address),
                        EndpointAddress::Unix(_) => (Address::default(), 0),
                        EndpointAddress::Original(port) => {
                            (Address::default(), ORIGINAL | u32::from(port.unwrap_or(0)))
                        }
                    };
                    EndpointRow { at: write(&endpoint.address.to_string()), address, port, decides: endpoint.decides }
                }));
            }
        }
    }
}

/// What programs are told of how connections of a route reach its endpoints.
fn datapath(route: &Route) -> u32 {
    let chosen = &route.chosen;
    match chosen.datapath {
        Some(Datapath::Connect) => datapath::CONNECT,
        Some(Datapath::Lookup) if chosen.only => datapath::LOOKUP_ONLY,
        Some(Datapath::Lookup) => datapath::LOOKUP,
        None if chosen.only => datapath::REFUSED,
        Some(Datapath::Proxy) | None => datapath::PROXY,
    }
}

/// The rules of a service as programs have them. If there are more than they look at, either one stands for all and
/// leads to a route that is refused, or the listener has none and its connections go on untouched.
fn looked_at(MeshListener { rules, routes, .. }: &MeshListener) -> Cow<'_, [RuleRow]> {
    if rules.len() <= layout::RULES as usize {
        return Cow::Borrowed(rules);
    }
    let refused = routes.iter().position(|route| datapath(route) == datapath::REFUSED);
    Cow::Owned(refused.into_iter().map(|at| RuleRow::new(Prefix::ANY, Prefix::ANY, at as u32)).collect())
}

/// The address family of clients that programs leave to the agent.
fn left(route: &Route) -> u32 {
    match route.chosen.family {
        family::V4 => left::V6,
        family::V6 => left::V4,
        _ => 0,
    }
}

/// The index of the first destination that has slots.
fn first(route: &Route) -> u32 {
    route.destinations.iter().position(|destination| destination.slots > 0).map_or(NONE, |index| index as u32)
}

/// Whether some clients who connect to services are steered.
pub(super) fn has_clients(plan: &Plan) -> bool {
    plan.mesh.iter().flat_map(|listener| &listener.routes).any(|route| datapath(route) == datapath::CONNECT)
}

/// The ports of listeners whose connections may be handed over.
pub(super) fn ports(plan: &Plan) -> BTreeSet<u16> {
    let lookup = |route: &Arc<Route>| matches!(datapath(route), datapath::LOOKUP | datapath::LOOKUP_ONLY);
    let listeners = plan.listeners.iter().filter(|listener| listener.routes.iter().any(lookup));
    listeners.map(|listener| listener.address.port()).collect()
}

fn of(address: SocketAddr) -> (Address, u32) {
    (address.ip().into(), address.port().into())
}

fn hash_table(route: u32, destination: &Destination, tables: &TablesInUse<'_>) -> u32 {
    tables.hashes.get(&(route, destination.number)).map_or(NONE, |(_, table)| *table)
}

/// The slot table of a route. A slot without a destination is `u16::MAX`.
pub(super) fn slots(table: &WeightTable) -> Box<[SlotTable]> {
    let mut row = vec![SlotTable { slots: [u16::MAX; SLOTS as usize] }].into_boxed_slice();
    match table.sole() {
        Some(index) => row[0].slots.fill(index as u16),
        None => row[0].slots.iter_mut().zip(table.slots()).for_each(|(slot, index)| *slot = *index),
    }
    row
}

/// The rows of a hash table.
pub(super) fn hash_rows(table: &HashTable) -> Vec<HashRow> {
    let pairs = table.table().chunks(2);
    pairs.map(|pair| HashRow { endpoints: [pair[0], pair.get(1).copied().unwrap_or(NONE)] }).collect()
}
