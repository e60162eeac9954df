//! The third stage: where a connection is to go, as a kernel program decided in its handshake, or as is decided here, by
//! the same function. One that nothing is meant for is counted, and goes no further.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::address::Flow;
use tcpshift_common::decide::{self, Decision, outcome};
use tcpshift_common::layout::Assignment;

use super::inbound::Inbound;
use super::inputs::WorkerInputs;
use super::outbound::DialTarget;
use super::shared::Worker;
use super::stream::Stream;
use crate::connections::{Connection, ConnectionFailure, KeptDecision};
use crate::plan::{Destination, Listener, Plan, Route, Sets};

/// What was decided.
struct Choice {
    /// The plan that it was decided by.
    plan: Arc<Plan>,
    /// None if no route is for the connection.
    route: Option<Arc<Route>>,
    decision: Decision,
    /// The sets in which the decision's endpoint is.
    sets: Arc<Sets>,
}

/// Decides for a connection at a listener of the plan in force. None if it is counted as one that cannot be served.
pub(super) fn decide(
    worker: &Worker,
    plan: &Arc<Plan>,
    listener: &Listener,
    client: &Stream,
    inbound: &Inbound,
) -> Option<(Connection, DialTarget)> {
    let Choice { plan, route, decision, sets } = choose(worker, plan, listener, client, inbound);
    let index = if decision.outcome == outcome::NO_DESTINATION { None } else { Some(decision.place as usize) };
    let chosen = route.and_then(|route| index.map(|index| (route, index)));
    let found = chosen.as_ref().and_then(|(route, index)| Some((route, route.destinations.get(*index)?)));
    let Some((route, destination)) = found else {
        worker.connections.listeners.get(listener.number).unrouted.fetch_add(1, Relaxed);
        return None;
    };
    let kept = KeptDecision {
        generation: plan.generation,
        listener: listener.number,
        route: route.number,
        destination: destination.number,
        slot: decision.slot,
    };
    let connection = worker.live.open(kept, inbound.client);
    let socket = enter(worker, route, destination, &sets, &decision, &connection);
    let socket = socket.map_err(|reason| connection.fail(reason)).ok()?;
    let target = DialTarget {
        route: Arc::clone(route),
        sets: Arc::clone(&sets),
        index: decision.place,
        first: decision.endpoint,
        seed: plan.seed,
        client: inbound.client.ip().into(),
        socket,
    };
    Some((connection, target))
}

/// Whether the destination takes the connection, and the socket to dial with if so.
fn enter(
    worker: &Worker,
    route: &Route,
    destination: &Destination,
    sets: &Sets,
    decision: &Decision,
    connection: &Connection,
) -> Result<socket2::Socket, ConnectionFailure> {
    // Another datapath is asked for that cannot be had: it is refused rather than carried unasked.
    if route.chosen.datapath.is_none() {
        return Err(ConnectionFailure::NoDatapath);
    }
    let set = sets.of(destination);
    if decision.outcome != outcome::CHOSEN {
        return Err(set.unusable.as_ref().map_or(ConnectionFailure::NoEndpoint, ConnectionFailure::from));
    }
    if !connection.enter(destination.target, destination.settings.max_connections) {
        return Err(ConnectionFailure::ConnectionLimit);
    }
    let endpoint = set.endpoints.get(decision.endpoint as usize).ok_or(ConnectionFailure::NoEndpoint)?;
    worker.spare.take(&endpoint.address).map_err(|error| ConnectionFailure::from(&error))
}

fn choose(worker: &Worker, plan: &Arc<Plan>, listener: &Listener, client: &Stream, inbound: &Inbound) -> Choice {
    if let Some(sockets) = &worker.sockets {
        let assignment = sockets.assignment(client.as_fd(), listener.number);
        let choice = assignment.and_then(|assignment| obey(worker, plan, listener, &assignment, inbound.client));
        if let Some(choice) = choice {
            worker.connections.obeyed.fetch_add(1, Relaxed);
            return choice;
        }
        worker.connections.decided.fetch_add(1, Relaxed);
    }
    calculate(worker, plan, listener, &inbound.flow(listener, client))
}

/// What a program decided, in the tables of its plan; none if there is no such plan or nothing at such an index in it.
fn obey(
    worker: &Worker,
    plan: &Arc<Plan>,
    listener: &Listener,
    assignment: &Assignment,
    peer: SocketAddr,
) -> Option<Choice> {
    let (plan, sets) = if assignment.generation == plan.generation {
        (Arc::clone(plan), Arc::clone(&worker.sets.borrow()))
    } else {
        // The sets in force need not have those of another plan's destinations.
        worker.plans.find(assignment.generation)?
    };
    let mut decision = assignment.decision;
    if decision.outcome == outcome::NO_ROUTE {
        return Some(Choice { plan, route: None, decision, sets });
    }
    let route = plan.listener(listener.address)?.routes.get(assignment.route_place as usize)?;
    // The storage is the kernel's, and only this agent's programs write to it; but what is found is checked.
    if route.number != assignment.route {
        return None;
    }
    if decision.outcome != outcome::NO_DESTINATION {
        let destination = route.destinations.get(decision.place as usize)?;
        if destination.number != assignment.destination {
            return None;
        }
        follow(worker, &plan, route, destination, &sets, (assignment.endpoint, peer), &mut decision);
    }
    let route = Some(Arc::clone(route));
    Some(Choice { plan, route, decision, sets })
}

/// Finds the endpoint that a program chose in its set, which may have been replaced since. One that is not in it any
/// more is not dialled: another endpoint of the same destination is chosen, so that no share changes.
fn follow(
    worker: &Worker,
    plan: &Plan,
    route: &Route,
    destination: &Destination,
    sets: &Sets,
    (number, peer): (u32, SocketAddr),
    decision: &mut Decision,
) {
    let set = sets.of(destination);
    let is_chosen = decision.outcome == outcome::CHOSEN;
    let is_there = |index: usize| set.endpoints.get(index).is_some_and(|endpoint| endpoint.decides.number == number);
    if is_chosen && is_there(decision.endpoint as usize) {
        return;
    }
    let found = (0..set.endpoints.len()).find(|index| is_chosen && is_there(*index)).map(|index| index as u32);
    let mut inputs = WorkerInputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let client = peer.ip().into();
    let chosen = found.or_else(|| {
        let decides = set.decides(destination);
        decide::endpoint(plan.seed, client, decision.place, &decides, &sets.table(route), &mut inputs)
    });
    decision.outcome = if chosen.is_some() { outcome::CHOSEN } else { outcome::NO_ENDPOINT };
    decision.endpoint = chosen.unwrap_or_default();
}

fn calculate(worker: &Worker, plan: &Arc<Plan>, listener: &Listener, flow: &Flow) -> Choice {
    let (plan, sets) = (Arc::clone(plan), Arc::clone(&worker.sets.borrow()));
    let Some(route) = listener.route(flow) else {
        let decision = Decision { outcome: outcome::NO_ROUTE, ..Decision::default() };
        return Choice { plan, route: None, decision, sets };
    };
    let mut inputs = WorkerInputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let decision = decide::decide(plan.seed, &route.steer, flow, &sets.table(route), &mut inputs);
    Choice { plan, route: Some(Arc::clone(route)), decision, sets }
}
