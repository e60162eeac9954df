//! One connection: what is decided for it, and its way to the endpoint and back.
//!
//! It is decided for once, when it begins, and keeps its decision for life.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::decide::outcome;

use super::choice::{self, Choice};
use super::descriptors::Counted;
use super::dial::{self, DialTarget, Dialled};
use super::lifetime::Lifetime;
use super::memory::Grant;
use super::relay::{self, Ending};
use super::shared::Worker;
use super::socket::Socket;
use crate::connections::{Connection, ConnectionFailure, KeptDecision};

/// Decides for a connection that was accepted at `address`, and sets it going. One that nothing is meant for
/// is counted and reset.
pub(super) fn begin(worker: &Rc<Worker>, address: SocketAddr, client: Socket, peer: SocketAddr) {
    let plan = Arc::clone(&worker.plan.borrow());
    // Its listener is in the plan as long as it is accepted from.
    let Some(listener) = plan.listener(address) else { return };
    let counts = worker.connections.listeners.get(listener.number);
    counts.accepted.fetch_add(1, Relaxed);
    worker.pool.relieve();
    let Some(grant) = worker.memory.connection() else {
        worker.connections.out_of_memory.fetch_add(1, Relaxed);
        return;
    };
    let Choice { plan, route, decision, sets } = choice::choose(worker, &plan, listener, &client.stream, peer);
    let Some(route) = route else {
        counts.unrouted.fetch_add(1, Relaxed);
        return;
    };
    let destination = match decision.outcome {
        outcome::NO_DESTINATION => None,
        _ => route.destinations.get(decision.place as usize),
    };
    let Some(destination) = destination else {
        counts.unrouted.fetch_add(1, Relaxed);
        return;
    };
    let mut connection = worker.connections.open(KeptDecision {
        generation: plan.generation,
        listener: listener.number,
        route: route.number,
        destination: destination.number,
        slot: decision.slot,
    });
    // Another datapath is asked for that cannot be had: it is refused rather than carried unasked.
    if route.chosen.datapath.is_none() {
        return connection.fail(ConnectionFailure::NoDatapath);
    }
    if decision.outcome != outcome::CHOSEN {
        connection.fail(
            sets.of(destination).unusable.as_ref().map_or(ConnectionFailure::NoEndpoint, ConnectionFailure::from),
        );
        return;
    }
    if !connection.enter(destination.target, destination.settings.max_connections) {
        return connection.fail(ConnectionFailure::ConnectionLimit);
    }
    let Some(endpoint) = sets.of(destination).endpoints.get(decision.endpoint as usize) else {
        return connection.fail(ConnectionFailure::NoEndpoint);
    };
    match worker.spare.take(&endpoint.address) {
        Ok(socket) => {
            let sets = Arc::clone(&sets);
            let (index, first) = (decision.place, decision.endpoint);
            let client_address = peer.ip().into();
            let target = DialTarget {
                route: Arc::clone(&route),
                sets,
                index,
                first,
                seed: plan.seed,
                client: client_address,
                socket,
            };
            let held = (grant, worker.share.count());
            tokio::task::spawn_local(carry(Rc::clone(worker), client, target, connection, held));
        }
        Err(error) => connection.fail(ConnectionFailure::from(&error)),
    }
}

/// Opens the way to the endpoint and carries bytes until both directions have ended or the connection has
/// lasted as long as it may; that is a close, as in Envoy, unless bytes are on their way. On every other end both
/// sockets are dropped as they are, which resets them.
async fn carry(
    worker: Rc<Worker>,
    mut client: Socket,
    target: DialTarget,
    mut connection: Connection,
    _held: (Grant, Counted),
) {
    let mut lifetime = Lifetime::new(&target.route.limits);
    let mut endpoint = match dial::dial(&worker, &client.stream, target, &mut connection).await {
        Dialled::Open(endpoint) => endpoint,
        Dialled::Failed(reason) => return connection.fail(reason),
        Dialled::ClientGone => return,
    };
    // What it waited for its endpoint is no idleness.
    if let Some(lifetime) = &mut lifetime {
        lifetime.note();
    }
    match relay::relay(&mut client.stream, &mut endpoint.stream, (&worker.pool, &worker.pipes), lifetime).await {
        Ending::Reset => return,
        Ending::Expired { reason, cut } => {
            connection.end(reason);
            if cut {
                return;
            }
        }
        Ending::InOrder => {}
    }
    client.end();
    endpoint.end();
}
