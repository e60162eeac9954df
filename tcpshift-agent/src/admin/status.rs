//! Listeners, routes and destinations of `status`: the plan with its counters. The share of a destination is worked out in
//! `achieved`.

mod achieved;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::achieved::achieved;
use super::api::{
    AssignmentStatus, DestinationStatus, EndpointStatus, LimitStatus, ListenerStatus, RouteStatus, SteeredStatus,
    Trouble,
};
use crate::connections::Connections;
use crate::plan::{Datapath, Destination, Endpoint, Listener, MeshListener, Plan, Route, Sets, steer_name};

/// Who decides, with the counts of who has decided.
pub fn counted(assignment: AssignmentStatus, plan: &Plan, connections: &Connections) -> AssignmentStatus {
    // A service that is assembled for each family has each of its destinations twice, under one number.
    let destinations = plan.routes().flat_map(|route| &route.destinations);
    let numbers: BTreeSet<u32> = destinations.map(|destination| destination.number).collect();
    AssignmentStatus {
        kernel: connections.obeyed.load(Relaxed),
        agent: connections.decided.load(Relaxed),
        steered: numbers.into_iter().map(|number| connections.steered_to(number)).sum(),
        ..assignment
    }
}

/// The datapaths that routes have, as `connect + proxy`.
pub fn datapaths(plan: &Plan) -> String {
    let used: BTreeSet<&str> = plan.routes().map(|route| name(route.chosen.datapath)).collect();
    if used.is_empty() { name(None).to_owned() } else { used.into_iter().collect::<Vec<_>>().join(" + ") }
}

/// All listeners, then the ports of services that clients inside a mesh connect to: each once, or once for each address family
/// if the families have different routes. A port without a route is left out.
pub fn listeners(
    plan: &Plan,
    sets: &Sets,
    connections: &Connections,
    down: &BTreeMap<SocketAddr, String>,
) -> Vec<ListenerStatus> {
    let served = plan.listeners.iter().map(|one| listener(one, sets, connections, down.get(&one.address)));
    let mut listeners: Vec<_> = served.collect();
    let services: Vec<_> = plan.mesh.iter().filter(|one| !one.routes.is_empty()).collect();
    for families in services.chunk_by(|one, other| (&one.host, one.port) == (&other.host, other.port)) {
        let first = &families[0].routes;
        let alike = |other: &MeshListener| {
            let mut both = other.routes.iter().zip(first);
            other.routes.len() == first.len() && both.all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if families.iter().all(|other| alike(other)) {
            let addresses: Vec<_> = families.iter().map(|one| one.written()).collect();
            listeners.push(in_mesh(families[0], addresses.join(", "), sets, connections));
        } else {
            listeners.extend(families.iter().map(|one| in_mesh(one, one.written(), sets, connections)));
        }
    }
    listeners
}

/// A connection inside a mesh that no rule fits goes to the service, and is not counted.
fn in_mesh(listener: &MeshListener, address: String, sets: &Sets, connections: &Connections) -> ListenerStatus {
    ListenerStatus {
        name: listener.name(),
        address,
        down: None,
        unrouted: 0,
        routes: listener.routes.iter().map(|one| route(one, sets, connections)).collect(),
    }
}

fn listener(listener: &Listener, sets: &Sets, connections: &Connections, down: Option<&String>) -> ListenerStatus {
    let count = connections.listeners.get(listener.number);
    ListenerStatus {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        down: down.cloned(),
        unrouted: count.unrouted.load(Relaxed),
        routes: listener.routes.iter().map(|one| route(one, sets, connections)).collect(),
    }
}

fn name(datapath: Option<Datapath>) -> &'static str {
    datapath.map_or("none", Datapath::name)
}

fn route(route: &Route, sets: &Sets, connections: &Connections) -> RouteStatus {
    // The counters are read once: new connections change them, and no share may exceed the sum.
    let opened: Vec<u64> = route.destinations.iter().map(|one| connections.opened_since_mark(one.number)).collect();
    let total = opened.iter().sum();
    let (datapath, reason) = route.datapath();
    RouteStatus {
        name: route.name(),
        steer_by: steer_name(&route.steer),
        datapath: name(datapath).to_owned(),
        reason: reason.to_owned(),
        destinations: route
            .destinations
            .iter()
            .zip(opened)
            .map(|(one, opened)| destination(one, (opened, total), sets, connections))
            .collect(),
    }
}

fn destination(
    destination: &Destination,
    (opened_since_change, total): (u64, u64),
    sets: &Sets,
    connections: &Connections,
) -> DestinationStatus {
    let (number, set) = (destination.number, sets.of(destination));
    let (count, steered) = (connections.destinations.get(number), connections.steered.get(number));
    let mut failures: Vec<_> =
        count.failures().map(|(reason, count)| Trouble { reason: reason.to_string(), count }).collect();
    let unserved =
        [("refused: no endpoint for it", steered.refused), ("steered, and never established", steered.failed)];
    let unserved = unserved.into_iter().filter(|(_, count)| *count > 0);
    failures.extend(unserved.map(|(reason, count)| Trouble { reason: reason.to_owned(), count }));
    let ended = count.ended().map(|(reason, count)| Trouble { reason: reason.to_string(), count }).collect();
    DestinationStatus {
        name: destination.name.clone(),
        weight: destination.weight,
        slots: destination.slots,
        endpoints: set.endpoints.len() as u32,
        addresses: set.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect(),
        by_endpoint: set.endpoints.iter().map(|one| endpoint(one, connections)).collect(),
        unusable: set.unusable.as_ref().map(ToString::to_string),
        opened: connections.opened(number),
        opened_since_change,
        achieved: achieved(opened_since_change, total),
        active: connections.active_of(number),
        limit: destination
            .settings
            .max_connections
            .map(|most| LimitStatus { most, carried: connections.targets.get(destination.target).load(Relaxed) }),
        failed: failures.iter().map(|trouble| trouble.count).sum(),
        failures,
        ended,
        steered: (steered.closed > 0).then(|| SteeredStatus {
            closed: steered.closed,
            bytes_sent: steered.sent,
            bytes_received: steered.received,
            rtt_microseconds: steered.rtt / steered.closed,
        }),
    }
}

fn endpoint(endpoint: &Endpoint, connections: &Connections) -> EndpointStatus {
    let count = connections.endpoints.get(endpoint.decides.number);
    // In the order in which they grow, read the other way round: no connection is failed or open that was not opened.
    let [active, failed, opened] = [count.active, count.failed, count.opened].map(|counter| counter.load(Relaxed));
    EndpointStatus { address: endpoint.address.to_string(), opened, failed, active }
}
