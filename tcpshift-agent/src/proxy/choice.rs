//! Where a connection that was accepted is to go: as a kernel program decided in its handshake, or as is decided here, by
//! the same function.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::address::Flow;
use tcpshift_common::decide::{self, Decision, outcome};
use tcpshift_common::layout::Assignment;

use super::inputs::WorkerInputs;
use super::shared::Worker;
use super::stream::Stream;
use crate::plan::{Destination, Listener, Plan, Route, Sets};

/// What was decided.
pub(super) struct Choice {
    /// The plan that it was decided by.
    pub(super) plan: Arc<Plan>,
    /// None if no route is for the connection.
    pub(super) route: Option<Arc<Route>>,
    pub(super) decision: Decision,
    /// The sets in which the decision's endpoint is.
    pub(super) sets: Arc<Sets>,
}

/// Decides for a connection at a listener of the plan in force.
pub(super) fn choose(
    worker: &Worker,
    plan: &Arc<Plan>,
    listener: &Listener,
    client: &Stream,
    peer: SocketAddr,
) -> Choice {
    if let Some(sockets) = &worker.sockets {
        let assignment = sockets.assignment(client.as_fd(), listener.number);
        if let Some(choice) = assignment.and_then(|assignment| obey(worker, plan, listener, &assignment, peer)) {
            worker.connections.obeyed.fetch_add(1, Relaxed);
            return choice;
        }
        worker.connections.decided.fetch_add(1, Relaxed);
    }
    decide(worker, plan, listener, client, peer)
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

fn decide(worker: &Worker, plan: &Arc<Plan>, listener: &Listener, client: &Stream, peer: SocketAddr) -> Choice {
    let (plan, sets) = (Arc::clone(plan), Arc::clone(&worker.sets.borrow()));
    let address = listener.address;
    let local = if address.ip().is_unspecified() { client.local_address().unwrap_or(address) } else { address };
    let flow = Flow::between(peer, local);
    let Some(route) = listener.route(&flow) else {
        let decision = Decision { outcome: outcome::NO_ROUTE, ..Decision::default() };
        return Choice { plan, route: None, decision, sets };
    };
    let mut inputs = WorkerInputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let decision = decide::decide(plan.seed, &route.steer, &flow, &sets.table(route), &mut inputs);
    Choice { plan, route: Some(Arc::clone(route)), decision, sets }
}
