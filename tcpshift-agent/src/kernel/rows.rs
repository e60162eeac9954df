//! A plan as rows of maps: pure, so that what programs will read can be looked at without a kernel.

mod addresses;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tcpshift_common::SLOTS;
use tcpshift_common::address::{Address, Prefix, family};
use tcpshift_common::layout::{
    self, DestinationRow, ListenerRow, NARROW, NONE, RouteRow, SlotTable, WideSlotTable, datapath, left, write,
};
use tcpshift_common::listener::RuleRow;

use self::addresses::AddressTable;
use crate::plan::{Datapath, MeshListener, Plan, Route, WeightTable};

/// Everything of a plan but its slot tables and endpoint sets.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) listeners: Vec<ListenerRow>,
    pub(super) rules: Vec<RuleRow>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) destinations: Vec<DestinationRow>,
    /// Which listener an address belongs to. Each address is there once.
    pub(super) addresses: AddressTable,
    /// The routes by their names, in the same order.
    pub(super) listed: Vec<ListedRoute>,
    /// Listeners that are left to the agent, since they have too many rules.
    pub(super) left: Vec<String>,
}

/// A route at a listener, and where its destinations begin.
#[derive(Debug)]
pub(super) struct ListedRoute {
    pub(super) at: Arc<str>,
    pub(super) route: Arc<Route>,
    pub(super) first: usize,
}

impl ListedRoute {
    /// Whether both have the same rows of names, which is only known of one and the same route.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.route, &other.route) && self.at == other.at && self.first == other.first
    }
}

/// Which tables and sets a plan's routes and destinations have, by the plan's numbers.
pub(super) struct TablesInUse<'a> {
    pub(super) slots: &'a [Option<(Arc<Route>, u32)>],
    pub(super) sets: &'a dyn Fn(u32) -> u32,
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
    pub(super) fn new(plan: &Plan, tables: &TablesInUse<'_>) -> Self {
        let mut rows = Self::default();
        let numbers = plan.listeners.iter().map(|listener| listener.number);
        let numbers = numbers.chain(plan.mesh.iter().map(|listener| listener.number));
        let count = numbers.map(|number| number as usize + 1).max().unwrap_or_default();
        let nobody = ListenerRow {
            at: write(""),
            address: Address::default(),
            port: 0,
            first_rule: 0,
            rules: 0,
            first_route: 0,
        };
        rows.listeners = vec![nobody; count];
        for listener in &plan.listeners {
            let at = listener.address.to_string();
            let (address, port) = (listener.address.ip().into(), listener.address.port().into());
            let (rules, routes) = (&listener.rules, &listener.routes);
            rows.listener(&Programmed { number: listener.number, at: &at, address, port, rules, routes }, tables);
        }
        for listener in &plan.mesh {
            let MeshListener { number, port, routes, .. } = &**listener;
            let (at, rules) = (listener.name(), looked_at(listener));
            let (address, port) = (Address::default(), (*port).into());
            rows.listener(&Programmed { number: *number, at: &at, address, port, rules: &rules, routes }, tables);
        }
        rows.addresses = addresses::of(plan, &ports(plan));
        rows
    }

    fn listener(
        &mut self,
        &Programmed { number, at, address, port, rules: all, routes }: &Programmed<'_>,
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
        self.listeners[number as usize] = ListenerRow { at: write(at), address, port, first_rule, rules, first_route };
        let at: Arc<str> = at.into();
        for route in routes {
            let first = self.destinations.len();
            self.listed.push(ListedRoute { at: Arc::clone(&at), route: Arc::clone(route), first });
            self.routes.push(RouteRow {
                number: route.number,
                table: tables
                    .slots
                    .get(route.number as usize)
                    .and_then(Option::as_ref)
                    .map_or(NONE, |(_, table)| *table),
                is_wide: is_wide(route).into(),
                first_destination: first as u32,
                destinations: route.destinations.len() as u32,
                steer: route.steer,
                datapath: datapath(route),
                first: first_with_slots(route),
                left: left(route),
                reserved: 0,
            });
            let row = |set: u32, number: u32| DestinationRow { number, set: (tables.sets)(set) };
            self.destinations.extend(route.destinations.iter().map(|one| row(one.set, one.number)));
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
fn first_with_slots(route: &Route) -> u32 {
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

/// Whether an index of one byte does not do for the destinations of a route.
pub(super) fn is_wide(route: &Route) -> bool {
    route.destinations.len() > NARROW as usize
}

/// The slot table of a route that is not wide.
pub(super) fn slots(table: &WeightTable) -> Box<[SlotTable]> {
    let mut row = vec![SlotTable { slots: [0; SLOTS as usize] }].into_boxed_slice();
    match table.sole() {
        Some(index) => row[0].slots.fill(index as u8),
        None => row[0].slots.iter_mut().zip(table.slots()).for_each(|(slot, index)| *slot = index as u8),
    }
    row
}

/// The slot table of a route that is wide.
pub(super) fn wide_slots(table: &WeightTable) -> Box<[WideSlotTable]> {
    let mut row = vec![WideSlotTable { slots: [0; SLOTS as usize] }].into_boxed_slice();
    match table.sole() {
        Some(index) => row[0].slots.fill(index as u16),
        None => row[0].slots.iter_mut().zip(table.slots()).for_each(|(slot, index)| *slot = index),
    }
    row
}
