//! What is different between two plans: listeners, routes, destinations and endpoints that come and go, and
//! which clients another destination would get.
//!
//! Pure: it compares two values. A client keeps its slot as long as the route steers alike, so comparing two
//! tables slot by slot says exactly which share of the clients moves, and where to.

mod moves;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tcpshift_common::address::{Prefix, family};
use tcpshift_common::listener::RuleRow;

use super::{
    Destination, Endpoint, EndpointAddress, EndpointSet, Kind, Listener, MeshListener, Plan, Route, Sets, steer_name,
};
pub use moves::{Move, moves};
pub use report::{Change, DestinationDiff, Diff, EndpointDiff, EntranceDiff, ListenerDiff, MeshDiff, RouteDiff};

/// The endpoint sets of both plans.
#[derive(Clone, Copy)]
struct Both<'a> {
    before: &'a Sets,
    after: &'a Sets,
}

impl Both<'_> {
    /// Whether routes that are in both plans have the same sets in both.
    fn are_same(&self, routes: &[Arc<Route>]) -> bool {
        let same = |number| match (self.before.shared(number), self.after.shared(number)) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after) || before == after,
            (before, after) => before.is_none() && after.is_none(),
        };
        routes.iter().flat_map(|route| &route.destinations).all(|destination| same(destination.set))
    }
}

/// What is different in `next`, which was assembled with the register of `last`: a rule that has moved within its object is
/// known by its id. Other numbers and generations do not count.
pub fn diff(last: (&Plan, &Sets), next: (&Plan, &Sets)) -> Diff {
    let sets = Both { before: last.1, after: next.1 };
    let (last, next) = (last.0, next.0);
    let mut diff = Diff::default();
    let addresses: BTreeSet<SocketAddr> =
        last.listeners.iter().chain(&next.listeners).map(|listener| listener.address).collect();
    for address in addresses {
        let (before, after) = (last.listener(address), next.listener(address));
        let same = |before: &Arc<Listener>, after| Arc::ptr_eq(before, after) && sets.are_same(&before.routes);
        if before.zip(after).is_some_and(|(before, after)| same(before, after)) {
            continue;
        }
        let at = address.to_string();
        let named =
            |change, listener: &Listener| ListenerDiff { change, address: at.clone(), name: listener.name.clone() };
        match (before, after) {
            (Some(before), None) => diff.listeners.push(named(Change::Removed, before)),
            (None, Some(after)) => diff.listeners.push(named(Change::Added, after)),
            (Some(before), Some(after)) => {
                if before.name != after.name {
                    diff.listeners.push(named(Change::Changed, after));
                }
            }
            (None, None) => {}
        }
        let (before, after) = (before.map(|one| Ways::from(&**one)), after.map(|one| Ways::from(&**one)));
        compare(&at, before, after, sets, &mut diff);
    }
    mesh(last, next, sets, &mut diff);
    diff
}

/// The same for clients inside a mesh. What is the same for clients of both families is said once.
fn mesh(last: &Plan, next: &Plan, sets: Both<'_>, diff: &mut Diff) {
    let ports: BTreeSet<_> = last.mesh.iter().chain(&next.mesh).map(|one| (one.host.as_str(), one.port)).collect();
    for (host, port) in ports {
        let (before, after) = (last.mesh(host, port), next.mesh(host, port));
        let same =
            |(before, after): (&Arc<MeshListener>, _)| Arc::ptr_eq(before, after) && sets.are_same(&before.routes);
        if before.len() == after.len() && before.iter().zip(after).all(same) {
            continue;
        }
        let address = format!("{host}:{port}");
        // What no route leads from is nothing to clients.
        let (before, after) = (with_routes(before), with_routes(after));
        let written = |all: &[&MeshListener]| all.iter().map(|one| one.written()).collect::<Vec<_>>().join(", ");
        let (was, is) = (written(&before), written(&after));
        if was != is {
            let change = change(!before.is_empty(), !after.is_empty());
            let at = if after.is_empty() { was } else { is };
            diff.mesh.push(MeshDiff { change, address: address.clone(), at });
        }
        let mut found: Vec<Diff> = Vec::new();
        for family in [family::V4, family::V6] {
            let mut own = Diff::default();
            compare(&address, ways_of(&before, family), ways_of(&after, family), sets, &mut own);
            own.entrances.iter_mut().for_each(|entrance| entrance.in_mesh = true);
            found.push(own);
        }
        found.dedup();
        for Diff { routes, entrances, .. } in found {
            diff.routes.extend(routes);
            diff.entrances.extend(entrances);
        }
    }
}

fn with_routes(all: &[Arc<MeshListener>]) -> Vec<&MeshListener> {
    all.iter().map(|one| &**one).filter(|one| !one.routes.is_empty()).collect()
}

fn ways_of<'a>(all: &[&'a MeshListener], family: u32) -> Option<Ways<'a>> {
    all.iter().find(|one| one.family() == family).map(|one| Ways::from(*one))
}

/// Rules and routes of a listener.
#[derive(Clone, Copy)]
struct Ways<'a> {
    rules: &'a [RuleRow],
    routes: &'a [Arc<Route>],
}

impl<'a> From<&'a Listener> for Ways<'a> {
    fn from(Listener { rules, routes, .. }: &'a Listener) -> Self {
        Self { rules, routes }
    }
}

impl<'a> From<&'a MeshListener> for Ways<'a> {
    fn from(MeshListener { rules, routes, .. }: &'a MeshListener) -> Self {
        Self { rules, routes }
    }
}

/// What is different at one listener.
fn compare(address: &str, before: Option<Ways<'_>>, after: Option<Ways<'_>>, sets: Both<'_>, diff: &mut Diff) {
    if let (Some(before), Some(after)) = (before, after) {
        entrances(address, before, after, &mut diff.entrances);
    }
    let (before, after) = (before.map(routes_of).unwrap_or_default(), after.map(routes_of).unwrap_or_default());
    routes(address, &before, &after, sets, &mut diff.routes);
}

/// Which rule of which object a route is, wherever the rule stands in the object.
type Identity<'a> = (Kind, &'a str, &'a str, u32);

fn identity(route: &Route) -> Identity<'_> {
    (route.kind, &route.namespace, &route.object, route.id)
}

/// The routes of a listener.
type Routes<'a> = BTreeMap<Identity<'a>, &'a Route>;

fn routes_of(ways: Ways<'_>) -> Routes<'_> {
    ways.routes.iter().map(|route| (identity(route), &**route)).collect()
}

/// In the order of names and rules; those of services themselves come last.
fn routes(address: &str, before: &Routes<'_>, after: &Routes<'_>, sets: Both<'_>, found: &mut Vec<RouteDiff>) {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut pairs: Vec<_> = keys.into_iter().map(|key| (before.get(key).copied(), after.get(key).copied())).collect();
    pairs.sort_by_key(|(before, after)| {
        after.or(*before).map(|route| (route.is_own(), &route.namespace, &route.object, route.rule))
    });
    found.extend(pairs.into_iter().filter_map(|(before, after)| route(address, before, after, sets)));
}

fn route(address: &str, before: Option<&Route>, after: Option<&Route>, sets: Both<'_>) -> Option<RouteDiff> {
    let name = after.or(before)?.name();
    let change = change(before.is_some(), after.is_some());
    let mut found = RouteDiff {
        change,
        name,
        address: address.to_owned(),
        steer_by: None,
        moved: 0,
        moves: Vec::new(),
        destinations: destinations(before, after, sets),
        settings: false,
    };
    if let (Some(before), Some(after)) = (before, after) {
        found.steer_by = (before.steer != after.steer).then(|| (steer_name(&before.steer), steer_name(&after.steer)));
        found.moves = moves(before, after);
        found.moved = moved(&found.moves);
        found.settings = (before.on_empty, before.limits, before.asked) != (after.on_empty, after.limits, after.asked);
        let same = found.steer_by.is_none() && found.moves.is_empty() && found.destinations.is_empty();
        if same && !found.settings {
            return None;
        }
    }
    Some(found)
}

fn destinations(before: Option<&Route>, after: Option<&Route>, sets: Both<'_>) -> Vec<DestinationDiff> {
    let list = |route: Option<&Route>| route.map(|route| route.destinations.clone()).unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let named = |list: &[Destination], name: &str| list.iter().position(|destination| destination.name == name);
    let mut found = Vec::new();
    for destination in &after {
        let old = named(&before, &destination.name).and_then(|place| before.get(place));
        found.extend(compared(old, Some(destination), sets));
    }
    let gone = before.iter().filter(|destination| named(&after, &destination.name).is_none());
    found.extend(gone.filter_map(|destination| compared(Some(destination), None, sets)));
    found
}

fn compared(before: Option<&Destination>, after: Option<&Destination>, sets: Both<'_>) -> Option<DestinationDiff> {
    let slots = |one: Option<&Destination>| one.map_or(0, |one| one.slots);
    let was = before.map(|one| sets.before.of(one));
    let is = after.map(|one| sets.after.of(one));
    let list = |set: Option<&EndpointSet>| set.map(|set| Arc::clone(&set.endpoints)).unwrap_or_default();
    let found = DestinationDiff {
        change: change(before.is_some(), after.is_some()),
        name: after.or(before)?.name.clone(),
        slots: (slots(before), slots(after)),
        unusable: is.and_then(|set| set.unusable.as_ref()).map(ToString::to_string),
        endpoints: endpoints(&list(was), &list(is)),
        settings: before
            .zip(after)
            .is_some_and(|(before, after)| before.settings != after.settings || before.choice != after.choice),
    };
    let unusable_too = was.map(|set| &set.unusable) == is.map(|set| &set.unusable);
    let same = found.change == Change::Changed && found.slots.0 == found.slots.1 && unusable_too;
    (!same || found.settings || !found.endpoints.is_empty()).then_some(found)
}

fn endpoints(before: &[Endpoint], after: &[Endpoint]) -> Vec<EndpointDiff> {
    fn by_address(list: &[Endpoint]) -> BTreeMap<&EndpointAddress, u32> {
        list.iter().map(|endpoint| (&endpoint.address, endpoint.decides.weight)).collect()
    }
    let (before, after) = (by_address(before), by_address(after));
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let different = all.into_iter().filter(|address| before.get(*address) != after.get(*address));
    let found = different.map(|address| EndpointDiff {
        change: change(before.contains_key(address), after.contains_key(address)),
        address: address.to_string(),
    });
    found.collect()
}

/// Of a thing that is in one of two plans at least.
fn change(before: bool, after: bool) -> Change {
    match (before, after) {
        (false, _) => Change::Added,
        (true, false) => Change::Removed,
        (true, true) => Change::Changed,
    }
}

fn moved(moves: &[Move]) -> u32 {
    moves.iter().map(|one| one.slots).sum()
}

/// Every way in that leads elsewhere. Where a way is only in one of the two listeners, its clients are found
/// behind the first way of the other that takes all of them.
fn entrances(address: &str, before: Ways<'_>, after: Ways<'_>, found: &mut Vec<EntranceDiff>) {
    let way = |rule: &RuleRow| {
        let key = |prefix: &Prefix| (prefix.family, prefix.bits, prefix.address);
        (key(&rule.source), key(&rule.destination))
    };
    let mut seen = BTreeSet::new();
    for rule in after.rules.iter().chain(before.rules).filter(|rule| seen.insert(way(rule))) {
        let leads = |listener: Ways<'_>| -> Option<Arc<Route>> {
            let covers =
                |wide: &&RuleRow| covers(&wide.source, &rule.source) && covers(&wide.destination, &rule.destination);
            listener.routes.get(listener.rules.iter().find(covers)?.route as usize).cloned()
        };
        let (from, to) = (leads(before), leads(after));
        let is_same = |(from, to): (&Arc<Route>, &Arc<Route>)| identity(from) == identity(to);
        if from.as_ref().zip(to.as_ref()).map_or(from.is_none() && to.is_none(), is_same) {
            continue;
        }
        let names = (from.as_ref().map(|route| route.name()), to.as_ref().map(|route| route.name()));
        let moves = from.zip(to).map(|(from, to)| moves(&from, &to)).unwrap_or_default();
        found.push(EntranceDiff {
            address: address.to_owned(),
            clients: clients(rule),
            in_mesh: false,
            from: names.0,
            to: names.1,
            moved: moved(&moves),
            moves,
        });
    }
}

/// Whether one set holds all of another.
fn covers(wide: &Prefix, narrow: &Prefix) -> bool {
    wide.family == family::ANY
        || (wide.family == narrow.family && wide.bits <= narrow.bits && wide.contains(narrow.address))
}

/// As people write it; empty if all clients are meant.
fn clients(rule: &RuleRow) -> String {
    match (rule.source.family, rule.destination.family) {
        (family::ANY, family::ANY) => String::new(),
        (_, family::ANY) => written(&rule.source),
        (family::ANY, _) => format!("anywhere to {}", written(&rule.destination)),
        _ => format!("{} to {}", written(&rule.source), written(&rule.destination)),
    }
}

fn written(prefix: &Prefix) -> String {
    let address = std::net::Ipv6Addr::from(prefix.address.octets());
    match address.to_ipv4_mapped() {
        Some(v4) if prefix.family == family::V4 => format!("{v4}/{}", prefix.bits),
        _ => format!("{address}/{}", prefix.bits),
    }
}
