//! The server of the admin API: HTTP/1.1 on a unix socket.
//!
//! It turns requests into commands, which app answers. A client that sends rubbish, sends slowly or sends nothing costs little:
//! the number of connections, the time for a header, for a body and for the whole exchange, and the bytes of all bodies
//! together are bounded.

mod claim;
mod exchange;
mod follow;
mod paths;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use log::{debug, warn};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Commands;

pub use claim::{AdminListener, Claim};

/// Bytes of a request's body, at most.
pub const MAX_BODY: usize = 32 << 20;

/// Limits of clients.
#[derive(Clone, Debug)]
struct Limits {
    /// Connections at once; more wait in the socket's queue.
    connections: usize,
    /// Connections that are watches. They last, so their number is smaller.
    watches: usize,
    /// Bytes of one body.
    body: usize,
    /// Bytes of all bodies at once.
    bodies: usize,
    /// Time for a request's header.
    header_time: Duration,
    /// Time for its body.
    body_time: Duration,
    /// Time for app's answer.
    reply_time: Duration,
    /// Time for a connection from accept to the last byte of the answer, unless it is a watch.
    whole_time: Duration,
    /// Time for open exchanges when the agent ends.
    farewell_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            watches: 32,
            body: MAX_BODY,
            bodies: 2 * MAX_BODY,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            reply_time: Duration::from_secs(30),
            whole_time: Duration::from_secs(100),
            farewell_time: Duration::from_secs(2),
        }
    }
}

/// Makes the folder of a socket (mode 0700) where it is missing.
pub fn prepare(path: &Path) -> anyhow::Result<()> {
    claim::prepare(path)
}

/// Claims the socket of an agent at a path; clients are refused until [`AdminListener::listen`].
///
/// The folder is made with mode 0700 if it is missing, the socket has mode 0600. A dead agent's socket is
/// replaced. Errors: another agent has the path, something else is there (it is left alone), or the file
/// system refuses.
pub fn bind(path: &Path) -> anyhow::Result<AdminListener> {
    claim::bind(path)
}

/// Takes the socket of this path and the lock of the path over from another agent. Clients are answered by the other agent
/// until it lets go; later ones wait until [`serve`]. Errors: the descriptors are not those of this path.
pub fn adopt(path: &Path, socket: OwnedFd, lock: OwnedFd) -> anyhow::Result<AdminListener> {
    claim::adopt(path, socket, lock)
}

/// Answers clients of the socket, which [`AdminListener::listen`] returned, until `shutdown`. Then open exchanges get a moment
/// to end, and the socket is removed, unless it belongs to another agent by then. `left` is told when no more clients are
/// accepted.
///
/// Clients are accepted once this future is polled for the first time, so start it when the first plan is in force. From then
/// on the path belongs to this agent. A socket of `renewed` replaces the one before, whose file
/// was removed.
pub async fn serve(
    listening: AdminSocket,
    renewed: mpsc::Receiver<AdminSocket>,
    commands: Commands,
    shutdown: impl Future<Output = ()>,
    left: oneshot::Sender<()>,
) {
    serve_within(Limits::default(), (listening, renewed), commands, shutdown, left).await;
}

/// A claimed path, and its socket that listens.
pub type AdminSocket = (AdminListener, UnixListener);

async fn serve_within(
    limits: Limits,
    ((mut listener, mut socket), mut renewed): (AdminSocket, mpsc::Receiver<AdminSocket>),
    commands: Commands,
    shutdown: impl Future<Output = ()>,
    left: oneshot::Sender<()>,
) {
    listener.own();
    let (ending, ended) = watch::channel(false);
    let gate = Arc::new(Semaphore::new(limits.connections));
    let api = paths::router(exchange::Api::new(commands, limits.clone(), ended.clone()));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, permit) = accept(&socket, &gate) => {
                connections.spawn(connection(stream, permit, api.clone(), limits.clone(), ended.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some(next) = renewed.recv() => {
                listener.retire();
                (listener, socket) = next;
                listener.own();
            }
        }
    }
    // The path is removed first, so that new clients do not find an agent that ends.
    let is_handed_over = listener.is_handed_over();
    drop(listener);
    drop(socket);
    // Without a takeover nobody waits for this.
    left.send(()).ok();
    if is_handed_over {
        // A client that is connected and has not sent its request yet gets an answer too.
        let answered = async { while connections.join_next().await.is_some() {} };
        timeout(limits.farewell_time, answered).await.ok();
    }
    ending.send_replace(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.farewell_time, farewell).await.is_err() {
        debug!("admin: {} connections cut off at the end", connections.len());
    }
}

/// The next client, once the limit allows one more. After an error of accept(2), as for want of descriptors, tries again.
async fn accept(socket: &UnixListener, gate: &Arc<Semaphore>) -> (UnixStream, OwnedSemaphorePermit) {
    let mut pause = Duration::from_millis(50);
    let permit = Arc::clone(gate).acquire_owned().await.expect("nobody closes the gate");
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                warn!("admin: cannot accept at the admin socket: {error}; trying again in {pause:?}");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

/// Marks a connection as a watch, which may last.
#[derive(Clone, Debug, Default)]
struct Lasting(Arc<AtomicBool>);

/// One client, one request.
async fn connection(
    stream: UnixStream,
    permit: OwnedSemaphorePermit,
    api: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
) {
    let lasting = Lasting::default();
    let router = TowerToHyperService::new(api);
    let mark = lasting.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(mark.clone());
        router.call(request)
    });
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .keep_alive(false)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut exchange = pin!(exchange);
    let mut whole = pin!(sleep(limits.whole_time));
    let (mut late, mut told) = (false, false);
    loop {
        tokio::select! {
            result = &mut exchange => {
                if let Err(error) = result {
                    debug!("admin: a client's connection ended: {error}");
                }
                break;
            }
            () = &mut whole, if !late => {
                if !lasting.0.load(Ordering::Relaxed) {
                    debug!("admin: a client took more than {:?}; cut off", limits.whole_time);
                    break;
                }
                late = true;
            }
            _ = ended.wait_for(|ended| *ended), if !told => {
                exchange.as_mut().graceful_shutdown();
                told = true;
            }
        }
    }
    drop(permit);
}
