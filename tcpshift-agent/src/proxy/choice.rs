//! Where a connection that was accepted is to go: as a kernel program decided in its handshake, or as is decided here, by
//! the same function.
//!
//! It must not know how connections are opened or carried.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::address::Flow;
use tcpshift_common::decide::{self, Decision, outcome};
use tcpshift_common::layout::Assignment;

use super::inputs::WorkerInputs;
use super::shared::Worker;
use super::stream::Stream;
use crate::plan::{Listener, Plan, Route};

/// What was decided.
pub(super) struct Choice {
    /// The plan that it was decided by.
    pub(super) plan: Arc<Plan>,
    /// None if no route is for the connection.
    pub(super) route: Option<Arc<Route>>,
    pub(super) decision: Decision,
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
        if let Some(choice) = assignment.and_then(|assignment| obey(worker, plan, listener, &assignment)) {
            worker.connections.obeyed.fetch_add(1, Relaxed);
            return choice;
        }
        worker.connections.decided.fetch_add(1, Relaxed);
    }
    decide(worker, plan, listener, client, peer)
}

/// What a program decided, in the tables of its plan; none if there is no such plan or no such place in it.
fn obey(worker: &Worker, plan: &Arc<Plan>, listener: &Listener, assignment: &Assignment) -> Option<Choice> {
    let plan = if assignment.generation == plan.generation {
        Arc::clone(plan)
    } else {
        worker.plans.find(assignment.generation)?
    };
    let decision = assignment.decision;
    if decision.outcome == outcome::NO_ROUTE {
        return Some(Choice { plan, route: None, decision });
    }
    let route = plan.listener(listener.address)?.routes.get(assignment.route_place as usize)?;
    let fits = || {
        if decision.outcome == outcome::NO_DESTINATION {
            return Some(true);
        }
        let destination = route.destinations.get(decision.place as usize)?;
        let endpoint = destination.endpoints.get(decision.endpoint as usize);
        let reaches = decision.outcome != outcome::CHOSEN
            || endpoint.is_some_and(|endpoint| endpoint.decides.number == assignment.endpoint);
        Some(destination.decides.number == assignment.destination && reaches)
    };
    // The storage is the kernel's, and only this agent's programs write to it; but what is found is looked at.
    if route.number != assignment.route || !fits()? {
        return None;
    }
    let route = Some(Arc::clone(route));
    Some(Choice { plan, route, decision })
}

fn decide(worker: &Worker, plan: &Arc<Plan>, listener: &Listener, client: &Stream, peer: SocketAddr) -> Choice {
    let plan = Arc::clone(plan);
    let address = listener.address;
    let local = if address.ip().is_unspecified() { client.local_address().unwrap_or(address) } else { address };
    let flow = Flow::between(peer, local);
    let Some(route) = listener.route(&flow) else {
        let decision = Decision { outcome: outcome::NO_ROUTE, ..Decision::default() };
        return Choice { plan, route: None, decision };
    };
    let mut inputs = WorkerInputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let decision = decide::decide(plan.seed, &route.steer, &flow, &**route, &mut inputs);
    Choice { plan, route: Some(Arc::clone(route)), decision }
}
