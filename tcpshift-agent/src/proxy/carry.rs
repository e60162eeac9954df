//! One connection: a value that passes through the stages accept, inbound, decide, outbound and relay.
//!
//! It is decided for once, when it begins, and keeps its decision for life.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::decide;
use super::descriptors::Counted;
use super::inbound::Inbound;
use super::lifetime::Lifetime;
use super::memory::Grant;
use super::outbound::{self, DialTarget, Dialled};
use super::reactor;
use super::relay::{self, Ending, FirstBytes};
use super::shared::Worker;
use super::socket::Socket;
use crate::connections::{Connection, LiveStage};

/// A connection that is decided for, until it is over.
struct Carried {
    worker: Rc<Worker>,
    client: Socket,
    /// How it is counted and listed.
    connection: Connection,
    lifetime: Lifetime,
    /// Its memory, and its part of the descriptors.
    _held: (Grant, Counted),
}

/// Takes a connection that was accepted at `address` through the stages. One that nothing is meant for is counted and
/// reset.
pub(super) fn begin(worker: &Rc<Worker>, address: SocketAddr, client: Socket, peer: SocketAddr) {
    let plan = Arc::clone(&worker.plan.borrow());
    // Its listener is in the plan as long as it is accepted from.
    let Some(listener) = plan.listener(address) else { return };
    worker.connections.listeners.get(listener.number).accepted.fetch_add(1, Relaxed);
    worker.carriers.pool.relieve();
    let Some(grant) = worker.memory.connection() else {
        worker.connections.out_of_memory.fetch_add(1, Relaxed);
        return;
    };
    let inbound = Inbound { client: peer };
    let Some((connection, target)) = decide::decide(worker, &plan, listener, &client.stream, &inbound) else { return };
    let lifetime = Lifetime::new(&target.route.limits);
    let held = (grant, worker.share.count());
    let mut carried = Carried { worker: Rc::clone(worker), client, connection, lifetime, _held: held };
    let target = Box::new(target);
    // Within a block, which holds the value in place: the argument of a function that waits has its room twice.
    reactor::spawn(async move { carried.carry(target).await });
}

impl Carried {
    /// Opens the way to the endpoint and carries bytes until both directions have ended or the connection has
    /// lasted as long as it may; that is a close, as in Envoy, unless bytes are on their way. On every other end both
    /// sockets are dropped as they are, which resets them.
    async fn carry(&mut self, target: Box<DialTarget>) {
        let Some(mut first) = FirstBytes::of(&self.client.stream, &self.worker.carriers.pool) else { return };
        let (client, connection) = (&self.client.stream, &self.connection);
        // Boxed, so that a connection that is open does not hold the room that dialling takes.
        let opening = Box::pin(outbound::open(&self.worker, client, target, connection, &mut first));
        let mut endpoint = match opening.await {
            Dialled::Open(endpoint) => endpoint,
            Dialled::Failed(reason) => return connection.fail(reason),
            Dialled::Closed(reason) => return connection.end(reason),
            Dialled::ClientGone => return,
        };
        // What it waited for its endpoint is no idleness.
        connection.row().reach(LiveStage::Open);
        let carriers = &self.worker.carriers;
        match relay::relay(client, &endpoint.stream, carriers, connection, first, &mut self.lifetime).await {
            Ending::Reset => return,
            Ending::Expired { reason, cut } => {
                connection.end(reason);
                if cut {
                    return;
                }
            }
            Ending::InOrder => {}
        }
        self.client.end();
        endpoint.end();
    }
}
