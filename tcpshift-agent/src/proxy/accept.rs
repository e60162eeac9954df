//! The first stage: accepts the connections of one listener on one worker.
//!
//! In batches, so that no listener starves the others. When descriptors run out it counts, says so, waits and tries
//! again by itself.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use std::{future, io};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::command::Opened;
use super::reactor::{self, Readiness, Ready, TaskId};
use super::shared::Worker;
use super::socket::Socket;
use super::stream::Stream;
use super::{carry, limits};

/// Connections accepted before others have their turn.
const BATCH: usize = 64;
/// The longest queue that is emptied when a listener closes; its backlog can be no longer than this.
const QUEUE: usize = 65_536;
/// How long accepting rests when nothing can be accepted: the first time, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long accepting rests, and how many it then accepts, when this worker has its share and others may want theirs.
const OTHERS: (Duration, usize) = (Duration::from_millis(100), 8);
/// How often at most the process complains about that.
const COMPLAINT: Duration = Duration::from_secs(10);

/// A listener that is served by one worker.
#[derive(Debug)]
pub(super) struct Served {
    door: Rc<Door>,
    task: TaskId,
    /// The socket came from systemd.
    pub(super) is_activated: bool,
}

/// The socket, shared by the task that accepts and by the code that closes it.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    socket: RefCell<Option<TcpListener>>,
    readiness: Readiness,
    /// How many are accepted before sockets are looked at again, and after which look that was last.
    batch: Cell<(usize, u64)>,
    /// How long to rest if nothing can be accepted.
    rest: Cell<Duration>,
    /// How many may be accepted though this worker has its share.
    more: Cell<usize>,
}

/// Why a batch is over.
enum Batch {
    /// There may be more.
    Full,
    /// Nothing can be accepted now.
    Exhausted,
    /// This worker has its share of descriptors.
    Enough,
    /// The door is closed.
    Closed,
}

impl Served {
    /// Begins to accept. Must be called within the worker's runtime.
    pub(super) fn new(worker: &Rc<Worker>, address: SocketAddr, opened: Opened) -> Self {
        let Opened { socket, is_activated } = opened;
        let door = Rc::new(Door {
            address,
            socket: RefCell::new(Some(socket)),
            readiness: Readiness::level(),
            batch: Cell::default(),
            rest: Cell::new(REST.0),
            more: Cell::new(0),
        });
        let task = reactor::spawn(serve(Rc::clone(worker), Rc::clone(&door)));
        Self { door, task, is_activated }
    }

    /// A copy of the socket, for another process to accept from.
    pub(super) fn lend(&self) -> io::Result<OwnedFd> {
        let socket = self.door.socket.borrow();
        socket.as_ref().ok_or(Errno::BADF)?.as_fd().try_clone_to_owned()
    }

    /// Accepts nothing until [`Served::resume`]. Who connects meanwhile waits.
    pub(super) fn pause(&self) {
        reactor::cancel(self.task);
        self.door.rest();
    }

    /// Accepts again after [`Served::pause`]. Must be called within the worker's runtime.
    pub(super) fn resume(&mut self, worker: &Rc<Worker>) {
        self.task = reactor::spawn(serve(Rc::clone(worker), Rc::clone(&self.door)));
    }

    /// Stops accepting. Waiting connections are left to the other processes that have the socket.
    pub(super) fn leave(self) {
        self.pause();
        drop(self.door.socket.take());
    }

    /// Accepts what waits, then closes the socket.
    pub(super) fn close(self, worker: &Rc<Worker>) {
        self.pause();
        self.empty(worker, QUEUE);
        drop(self.door.socket.take());
    }

    /// Accepts what waits, and no more than `most`.
    pub(super) fn empty(&self, worker: &Rc<Worker>, most: usize) {
        let socket = self.door.socket.borrow();
        let Some(socket) = &*socket else { return };
        for _ in 0..most {
            // Straight from the queue: the reactor may not know yet that a connection waits.
            let accepted = worker.spare.provide().and_then(|()| accept(socket));
            if begin(worker, self.door.address, accepted).is_err() {
                break;
            }
        }
    }
}

/// Accepts until the door is closed.
async fn serve(worker: Rc<Worker>, door: Rc<Door>) {
    loop {
        match future::poll_fn(|cx| door.poll_batch(cx, &worker)).await {
            Batch::Full => {}
            Batch::Exhausted => {
                let rest = door.rest.get();
                door.rest.set((rest * 2).min(REST.1));
                door.rest();
                reactor::sleep(rest).await;
            }
            Batch::Enough => {
                door.rest();
                reactor::sleep(OTHERS.0).await;
                door.more.set(OTHERS.1);
            }
            Batch::Closed => return,
        }
    }
}

impl Door {
    fn poll_batch(&self, cx: &mut Context<'_>, worker: &Rc<Worker>) -> Poll<Batch> {
        let socket = self.socket.borrow();
        let Some(socket) = &*socket else { return Poll::Ready(Batch::Closed) };
        // While there are descriptors: of the last two that are free, two workers that accept would each take one in reserve, and
        // have none to accept with. Where there is none now, it is said when a connection waits.
        worker.spare.provide().ok();
        if let Err(error) = ready!(self.readiness.poll(cx, socket.as_fd(), Ready::READ)) {
            complain(self.address, &error);
            return Poll::Ready(Batch::Exhausted);
        }
        // An attempt in vain costs a call. So more are accepted at once only if the look after the last batch said that more wait.
        let ((last, after), look) = (self.batch.get(), reactor::looks());
        let batch = if look == after + 1 { (last * 2).clamp(1, BATCH) } else { 1 };
        self.batch.set((batch, look));
        for _ in 0..batch {
            let provided = worker.spare.provide();
            let more = self.more.get();
            if provided.is_ok() && more == 0 && worker.share.is_had(worker.spare.free()) {
                return Poll::Ready(Batch::Enough);
            }
            let accepted = match provided {
                Ok(()) => accept(socket),
                Err(error) => Err(error),
            };
            if accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                break;
            }
            if begin(worker, self.address, accepted).is_err() {
                return Poll::Ready(Batch::Exhausted);
            }
            self.rest.set(REST.0);
            self.more.set(more.saturating_sub(1));
        }
        // If more wait, the next look at the sockets says so.
        self.readiness.clear(Ready::READ);
        Poll::Ready(Batch::Full)
    }

    /// Hears nothing of the socket until it is waited for again.
    fn rest(&self) {
        if let Some(socket) = &*self.socket.borrow() {
            self.readiness.deregister(socket.as_fd());
        }
    }
}

/// Takes the first of those who wait.
fn accept(socket: &TcpListener) -> io::Result<(OwnedFd, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(Errno::CONNABORTED)?.try_into()?;
    Ok((stream, peer))
}

/// Sets an accepted connection going. One that broke while it waited is counted and is no error. The error
/// says that nothing can be accepted now, for instance because no connection waits.
fn begin(worker: &Rc<Worker>, address: SocketAddr, accepted: io::Result<(OwnedFd, SocketAddr)>) -> io::Result<()> {
    let counts = &worker.connections;
    let error = match accepted {
        Ok((stream, peer)) => {
            carry::begin(worker, address, Socket::accepted(Stream::accepted(stream)), peer);
            return Ok(());
        }
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::WOULDBLOCK) => Err(error),
        // What accept(2) says of the connection, not of the listener.
        Some(
            Errno::CONNABORTED
            | Errno::INTR
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::TIMEDOUT,
        ) => {
            counts.accept_failed.fetch_add(1, Relaxed);
            Ok(())
        }
        _ => {
            counts.accept_exhausted.fetch_add(1, Relaxed);
            complain(address, &error);
            Err(error)
        }
    }
}

/// Logs that nothing can be accepted, once in a while.
fn complain(address: SocketAddr, error: &io::Error) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else { return };
    if last.is_some_and(|last| last.elapsed() < COMPLAINT) {
        return;
    }
    *last = Some(Instant::now());
    match (Errno::from_io_error(error), limits::current_limit()) {
        (Some(Errno::MFILE), Some(limit)) => log::error!(
            "cannot accept on {address}: all {limit} descriptors are in use (RLIMIT_NOFILE). Connections wait until \
             others end; raise LimitNOFILE= in the systemd unit or `ulimit -n`"
        ),
        (Some(Errno::NFILE), _) => log::error!(
            "cannot accept on {address}: the host has no descriptor left. Connections wait until others end; raise \
             the sysctl fs.file-max"
        ),
        _ => log::error!("cannot accept on {address}: {error}. Trying again by and by"),
    }
}
