//! The fourth stage: opens the connection to an endpoint, with a second and a third try at other endpoints.
//!
//! Only ever within the destination that was decided: another destination would shift its share. What the client
//! has sent already is written as it is. What came of each attempt goes to the connection, by one door.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tcpshift_common::address::Address;
use tcpshift_common::decide;
use tcpshift_common::destination::policy;

use super::inputs::WorkerInputs;
use super::own;
use super::queue::Queues;
use super::reactor::{self, sleep};
use super::relay::FirstBytes;
use super::shared::Worker;
use super::socket::{self, Socket};
use super::source::Sources;
use super::spare;
use super::stream::Stream;
use crate::connections::{AttemptOutcome, Connection, ConnectionFailure, Ended};
use crate::plan::{Endpoint, EndpointAddress, Keepalive, Route, Sets};

/// Endpoints tried in all.
const ATTEMPTS: usize = 3;
/// Cells of a hash table that are looked at for an endpoint that was not tried.
const WALK: u32 = 1_000;

/// Where a connection is to go.
pub(super) struct DialTarget {
    pub(super) route: Arc<Route>,
    /// The sets that it was decided by.
    pub(super) sets: Arc<Sets>,
    /// The destination's index in the route.
    pub(super) index: u32,
    /// The endpoint's index in its set.
    pub(super) first: u32,
    /// What the decision was made of, for the next attempt.
    pub(super) seed: u64,
    pub(super) client: Address,
    /// To connect to it with.
    pub(super) socket: socket2::Socket,
}

/// What became of it.
pub(super) enum Dialled {
    /// The endpoint took it.
    Open(Socket),
    /// No endpoint did; why the last one did not.
    Failed(ConnectionFailure),
    /// The client has reset its connection meanwhile.
    ClientGone,
    /// Somebody asked for its end meanwhile.
    Closed(Ended),
}

/// Opens a connection to the target for a client.
///
/// What the client has sent already is written as soon as the endpoint takes the connection.
pub(super) async fn open(
    worker: &Worker,
    client: &Stream,
    target: Box<DialTarget>,
    connection: &Connection,
    first: &mut FirstBytes,
) -> Dialled {
    let Some(destination) = target.route.destinations.get(target.index as usize) else {
        return Dialled::Failed(ConnectionFailure::NoEndpoint);
    };
    let connect_timeout = destination.settings.connect_timeout;
    let closing = future::poll_fn(|cx| match connection.row().closing(cx) {
        Some(_) => Poll::Ready(()),
        None => Poll::Pending,
    });
    let (outcome, dialled) = tokio::select! {
        biased;
        attempt = attempts(worker, target, connection, first) => match attempt {
            Ok(socket) => return Dialled::Open(socket),
            Err(reason) => return Dialled::Failed(reason),
        },
        // A client that has only finished sending may still want its answer; one that has reset does not.
        () = future::poll_fn(|cx| client.poll_broken(cx)) => (AttemptOutcome::Abandoned, Dialled::ClientGone),
        () = closing => (AttemptOutcome::Abandoned, Dialled::Closed(Ended::Closed)),
        () = sleep(connect_timeout) => {
            let reason = ConnectionFailure::ConnectTimeout;
            (AttemptOutcome::Failed(reason), Dialled::Failed(reason))
        }
    };
    connection.attempted(outcome);
    dialled
}

async fn attempts(
    worker: &Worker,
    target: Box<DialTarget>,
    connection: &Connection,
    bytes: &mut FirstBytes,
) -> Result<Socket, ConnectionFailure> {
    let DialTarget { route, sets, index, first, seed, client, socket } = *target;
    let Some(destination) = route.destinations.get(index as usize) else { return Err(ConnectionFailure::NoEndpoint) };
    let (set, table) = (sets.of(destination), sets.table(&route));
    let (endpoints, decides) = (&*set.endpoints, set.decides(destination));
    let mut inputs = WorkerInputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let mut socket = Some(socket);
    let mut tried = [0; ATTEMPTS];
    let mut reason = ConnectionFailure::NoEndpoint;
    let most = ATTEMPTS.min(endpoints.len());
    for attempt in 0..most {
        let index = match attempt {
            0 => first,
            _ if decides.policy == policy::SOURCE_HASH => {
                let at = |step| decide::hashed(seed, client, index, &decides, &table, step);
                let tried = &tried[..attempt];
                let next = (1..WALK).filter_map(at).find(|index| !tried.contains(index));
                next.unwrap_or_else(|| untried(first, tried, endpoints))
            }
            _ => match decide::endpoint(seed, client, index, &decides, &table, &mut inputs) {
                Some(chosen) => untried(chosen, &tried[..attempt], endpoints),
                None => break,
            },
        };
        tried[attempt] = index;
        let Some(endpoint) = endpoints.get(index as usize) else { break };
        connection.attach(endpoint.decides.number);
        // The last one is waited for as long as the client is.
        let patience = (attempt + 1 < most).then(|| destination.settings.connect_timeout / most as u32);
        let reached = match &endpoint.address {
            EndpointAddress::Tcp(address) => {
                let keepalive = destination.settings.keepalive.as_ref();
                within(patience, connect(socket.take(), *address, keepalive, &worker.sources, bytes)).await
            }
            EndpointAddress::Unix(path) => {
                drop(socket.take());
                within(patience, connect_unix(&worker.queues, path)).await
            }
            // A gateway has no such endpoint: its clients ask for the gateway.
            EndpointAddress::Original(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        match reached {
            Ok(socket) => {
                connection.attempted(AttemptOutcome::Taken);
                return Ok(socket);
            }
            Err(error) => {
                reason = own::failure(&error);
                log::debug!("{} of {}: {reason}: {error}", endpoint.address, destination.name);
                // That is no fault of the endpoint, and another one would fare no better.
                if reason == ConnectionFailure::NoDescriptors {
                    connection.attempted(AttemptOutcome::Abandoned);
                    break;
                }
                connection.attempted(AttemptOutcome::Failed(reason));
            }
        }
    }
    Err(reason)
}

/// The chosen endpoint, or the next one after it that was not tried.
fn untried(chosen: u32, tried: &[u32], endpoints: &[Endpoint]) -> u32 {
    let count = endpoints.len() as u32;
    (0..count).map(|step| (chosen + step) % count).find(|index| !tried.contains(index)).unwrap_or(chosen)
}

async fn connect(
    socket: Option<socket2::Socket>,
    address: SocketAddr,
    keepalive: Option<&Keepalive>,
    sources: &Sources,
    bytes: &mut FirstBytes,
) -> io::Result<Socket> {
    let mut socket = socket.map_or_else(|| spare::socket_for(address), Ok)?;
    for attempt in 0..sources.attempts(address) {
        prepare(&socket, address, keepalive)?;
        if bytes.are_there() {
            // The first of them carries the last word of the handshake, which would else be a packet of its own.
            socket.set_tcp_quickack(false)?;
        }
        sources.bind(&socket, address)?;
        match establish(socket, address, sources, bytes).await {
            // That source has no port left for this endpoint; another may have.
            Err(error) if is_exhausted(&error) && attempt + 1 < sources.attempts(address) => {
                socket = spare::socket_for(address)?;
            }
            opened => return opened,
        }
    }
    Err(Errno::ADDRNOTAVAIL.into())
}

fn prepare(socket: &socket2::Socket, address: SocketAddr, keepalive: Option<&Keepalive>) -> io::Result<()> {
    // A listener that a later plan wants may have the very port this connection goes out from.
    socket.set_reuse_address(true)?;
    socket::keep_urgent(&SockRef::from(socket))?;
    match keepalive {
        Some(keepalive) => socket::keep_alive(&SockRef::from(socket), keepalive),
        // A process that dies on this host needs no probes: the kernel closes its sockets.
        None if address.ip().is_loopback() => Ok(()),
        None => socket::look_for_dead_peers(&SockRef::from(socket)),
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE))
}

/// Connects a socket and waits until the endpoint has answered. If the caller stops waiting, the endpoint sees
/// a reset.
async fn establish(
    socket: socket2::Socket,
    address: SocketAddr,
    sources: &Sources,
    bytes: &mut FirstBytes,
) -> io::Result<Socket> {
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
        _ => {}
    }
    // On the loopback, the kernel can choose the port that is connected to as the near port too, if no socket listens at it:
    // TCP then connects the socket with itself.
    if sources.may_choose(address.port()) && socket.local_addr()?.as_socket() == Some(address) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let socket = Socket::dialled(Stream::connecting(socket.into()));
    // An endpoint of this host has answered already: there is nothing to wait for, and no timer to set.
    match bytes.write(&socket.stream) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Ok(count) if count > 0 => return Ok(socket),
        _ => {}
    }
    future::poll_fn(|cx| socket.stream.poll_write_ready(cx)).await?;
    if let Some(error) = socket.stream.take_error()? {
        return Err(error);
    }
    Ok(socket)
}

/// Waits for a connection no longer than an endpoint may take, if there is another one to try.
async fn within(
    patience: Option<Duration>,
    connecting: impl Future<Output = io::Result<Socket>>,
) -> io::Result<Socket> {
    match patience {
        Some(patience) => reactor::timeout(patience, connecting).await.ok_or(Errno::TIMEDOUT)?,
        None => connecting.await,
    }
}

/// Connects to a unix socket; a full backlog is waited for.
async fn connect_unix(queues: &Rc<Queues>, path: &str) -> io::Result<Socket> {
    let stream = queues.connect(path).await?;
    own::refuse(stream.as_fd(), path)?;
    Ok(Socket::dialled(Stream::unix(stream)))
}
