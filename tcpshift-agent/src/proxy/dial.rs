//! Opens the connection to an endpoint, with a second and a third try at other endpoints.
//!
//! Only ever within the destination that was decided: another destination would shift its share. It must not
//! touch the bytes of the client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tcpshift_common::address::Address;
use tcpshift_common::decide;
use tcpshift_common::destination::policy;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::inputs::Inputs;
use super::own;
use super::socket::{self, Socket};
use super::source::Sources;
use super::spare;
use super::stream::Stream;
use super::worker::Worker;
use crate::connections::{Connection, Failure};
use crate::plan::{Destination, EndpointAddress, Keepalive, Route};

/// Endpoints tried in all.
const ATTEMPTS: usize = 3;

/// How long a full queue of a unix socket is left alone.
const QUEUE_FULL_REST: Duration = Duration::from_millis(10);
/// Places of a hash table that are looked at for an endpoint that was not tried.
const WALK: u32 = 1_000;

/// Where a connection is to go.
pub(super) struct Target {
    pub(super) route: Arc<Route>,
    /// The destination's place in the route.
    pub(super) place: u32,
    /// The endpoint's place in the destination.
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
    Failed(Failure),
    /// The client has reset its connection meanwhile.
    ClientGone,
}

/// Opens a connection to the target for a client.
pub(super) async fn dial(worker: &Worker, client: &Stream, target: Target, connection: &mut Connection) -> Dialled {
    let Some(destination) = target.route.destinations.get(target.place as usize) else {
        return Dialled::Failed(Failure::NoEndpoint);
    };
    let connect_timeout = destination.settings.connect_timeout;
    let timed_out = tokio::select! {
        biased;
        attempt = attempts(worker, target, connection) => match attempt {
            Ok(stream) => return Dialled::Open(Socket::new(stream)),
            Err(reason) => return Dialled::Failed(reason),
        },
        // A client that has only finished sending may still want its answer; one that has reset does not.
        _ = client.ready(Interest::ERROR) => false,
        () = tokio::time::sleep(connect_timeout) => true,
    };
    if timed_out {
        connection.miss();
        return Dialled::Failed(Failure::ConnectTimeout);
    }
    Dialled::ClientGone
}

async fn attempts(worker: &Worker, target: Target, connection: &mut Connection) -> Result<Stream, Failure> {
    let Target { route, place, first, seed, client, socket } = target;
    let Some(destination) = route.destinations.get(place as usize) else { return Err(Failure::NoEndpoint) };
    let mut inputs = Inputs { connections: &worker.connections, random: &worker.random, route: route.number };
    let mut socket = Some(socket);
    let mut tried = [0; ATTEMPTS];
    let mut reason = Failure::NoEndpoint;
    for attempt in 0..ATTEMPTS.min(destination.endpoints.len()) {
        let index = match attempt {
            0 => first,
            _ if destination.decides.policy == policy::SOURCE_HASH => {
                let at = |step| decide::hashed(seed, client, place, &destination.decides, &*route, step);
                let tried = &tried[..attempt];
                let next = (1..WALK).filter_map(at).find(|index| !tried.contains(index));
                next.unwrap_or_else(|| untried(first, tried, destination))
            }
            _ => match decide::endpoint(seed, client, place, &destination.decides, &*route, &mut inputs) {
                Some(chosen) => untried(chosen, &tried[..attempt], destination),
                None => break,
            },
        };
        tried[attempt] = index;
        let Some(endpoint) = destination.endpoints.get(index as usize) else { break };
        connection.attach(endpoint.decides.number);
        let reached = match &endpoint.address {
            EndpointAddress::Tcp(address) => {
                let keepalive = destination.settings.keepalive.as_ref();
                connect(socket.take(), *address, keepalive, &worker.sources).await.map(Stream::Tcp)
            }
            EndpointAddress::Unix(path) => {
                drop(socket.take());
                connect_unix(path).await.map(Stream::Unix)
            }
        };
        match reached {
            Ok(stream) => {
                connection.reach();
                return Ok(stream);
            }
            Err(error) => {
                reason = own::failure(&error);
                log::debug!("{} of {}: {reason}: {error}", endpoint.address, destination.name);
                // That is no fault of the endpoint, and another one would fare no better.
                if reason == Failure::NoDescriptors {
                    break;
                }
                connection.miss();
            }
        }
    }
    Err(reason)
}

/// The chosen endpoint, or the next one after it that was not tried.
fn untried(chosen: u32, tried: &[u32], destination: &Destination) -> u32 {
    let count = destination.endpoints.len() as u32;
    (0..count).map(|step| (chosen + step) % count).find(|index| !tried.contains(index)).unwrap_or(chosen)
}

async fn connect(
    socket: Option<socket2::Socket>,
    address: SocketAddr,
    keepalive: Option<&Keepalive>,
    sources: &Sources,
) -> io::Result<TcpStream> {
    let mut socket = socket.map_or_else(|| spare::socket_for(address), Ok)?;
    for attempt in 0..sources.attempts(address) {
        prepare(&socket, address, keepalive)?;
        sources.bind(&socket, address)?;
        match open(socket, address).await {
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
    socket::speak(&SockRef::from(socket))?;
    match keepalive {
        Some(keepalive) => socket::keep_alive(&SockRef::from(socket), keepalive),
        // Whoever dies on this host is seen to: the kernel closes its sockets.
        None if address.ip().is_loopback() => Ok(()),
        None => socket::look_for_dead_peers(&SockRef::from(socket)),
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE))
}

/// Connects a socket and waits until the endpoint has answered.
async fn open(socket: socket2::Socket, address: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
        _ => {}
    }
    // An endpoint of this host has answered already: there is nothing to wait for, and no timer to set.
    let is_open = socket.peer_addr().is_ok();
    let stream = TcpStream::from_std(socket.into())?;
    if !is_open {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    // On the loopback, a port nobody listens at can be drawn as the near end too: TCP then connects the socket
    // with itself.
    if stream.local_addr()? == address {
        stream.set_zero_linger()?;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Connects to a unix socket: a path, or `@` and an abstract name. Where its queue is full there is nothing to wait
/// for, so it is tried again for as long as whoever asked waits.
async fn connect_unix(path: &str) -> io::Result<UnixStream> {
    let abstract_name = path.strip_prefix('@').map(|name| format!("\0{name}"));
    loop {
        match UnixStream::connect(abstract_name.as_deref().unwrap_or(path)).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_FULL_REST).await,
            connected => {
                let stream = connected?;
                own::refuse(&stream, path)?;
                return Ok(stream);
            }
        }
    }
}
