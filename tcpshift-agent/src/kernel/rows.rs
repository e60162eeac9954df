//! A plan as rows of maps: pure, so that what programs will read can be looked at without a kernel.
//!
//! It must not know where rows go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpshift_common::SLOTS;
use tcpshift_common::address::Address;
use tcpshift_common::layout::{
    self, DestinationRow, EndpointRow, HashRow, ListenerRow, NONE, RouteRow, SlotTable, write,
};
use tcpshift_common::listener::Rule;

use crate::plan::{Destination, EndpointAddress, HashTable, Listener, Plan, Route, WeightTable};

/// Everything of a plan but its slot tables and hash tables.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) listeners: Vec<ListenerRow>,
    pub(super) rules: Vec<Rule>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) destinations: Vec<DestinationRow>,
    pub(super) endpoints: Vec<EndpointRow>,
    /// Listeners that are left to the agent, since they have too many rules.
    pub(super) left: Vec<String>,
}

/// Which tables a plan's routes and destinations have, by their numbers.
pub(super) struct Places<'a> {
    pub(super) slots: &'a HashMap<u32, (Arc<Route>, u32)>,
    pub(super) hashes: &'a HashMap<u32, (HashTable, u32)>,
}

impl Rows {
    pub(super) fn new(plan: &Plan, places: &Places<'_>) -> Self {
        let mut rows = Self::default();
        let count = plan.listeners.iter().map(|listener| listener.number as usize + 1).max().unwrap_or_default();
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
            rows.listener(plan, listener, places);
        }
        rows
    }

    fn listener(&mut self, plan: &Plan, listener: &Listener, places: &Places<'_>) {
        let at = listener.address.to_string();
        let (first_rule, first_route) = (self.rules.len() as u32, self.routes.len() as u32);
        let mut rules = listener.rules.len() as u32;
        if rules > layout::RULES {
            rules = 0;
            self.left.push(at.clone());
        } else {
            self.rules.extend(&listener.rules);
        }
        self.listeners[listener.number as usize] = ListenerRow {
            at: write(&at),
            generation: plan.generation,
            seed: plan.seed,
            address: listener.address.ip().into(),
            port: listener.address.port().into(),
            first_rule,
            rules,
            first_route,
        };
        for route in &listener.routes {
            let name = write(&route.name());
            self.routes.push(RouteRow {
                name,
                number: route.number,
                table: places.slots.get(&route.number).map_or(NONE, |(_, table)| *table),
                first_destination: self.destinations.len() as u32,
                destinations: route.destinations.len() as u32,
                steer: route.steer,
                reserved: 0,
            });
            for destination in &route.destinations {
                self.destinations.push(DestinationRow {
                    listener: write(&at),
                    route: name,
                    name: write(&destination.name),
                    weight: destination.weight,
                    slots: destination.slots,
                    route_number: route.number,
                    decides: destination.decides,
                    first_endpoint: self.endpoints.len() as u32,
                    hash_table: hash_table(destination, places),
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

fn of(address: SocketAddr) -> (Address, u32) {
    (address.ip().into(), address.port().into())
}

fn hash_table(destination: &Destination, places: &Places<'_>) -> u32 {
    places.hashes.get(&destination.decides.number).map_or(NONE, |(_, table)| *table)
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
