//! Unix sockets whose backlog is full, and the connections that wait for room in it.
//!
//! To a socket that does not block connect(2) then says EAGAIN at once, and nothing says when there is room
//! (`unix_stream_connect`, Linux 6.18, <https://elixir.bootlin.com/linux/v6.18/source/net/unix/af_unix.c>). So for each
//! such path one task of the worker tries again, for the one that has waited longest; the others cost nothing
//! meanwhile, however many they are.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::oneshot;

use super::reactor;

/// How long a full backlog is left alone: after the last connection that it took, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Connections made before others have their turn.
const BATCH: usize = 64;

/// The queues of one worker, by path. None is empty.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: RefCell<HashMap<String, VecDeque<Waiter>>>,
}

/// One that waits.
#[derive(Debug)]
struct Waiter {
    socket: Socket,
    connected: oneshot::Sender<io::Result<Socket>>,
}

/// What came of trying for the first of a queue.
enum Tried {
    /// It has its answer.
    Answered,
    /// The backlog is full.
    Full,
    /// No connection waits any more.
    Nobody,
}

impl Queues {
    /// Connects to a unix socket: a path, or `@` and an abstract name. Waits for room in its backlog for as long as the
    /// caller does; connections that wait already come first. Must be called within the worker's runtime.
    pub(super) async fn connect(self: &Rc<Self>, path: &str) -> io::Result<OwnedFd> {
        let abstract_name = path.strip_prefix('@').map(|name| format!("\0{name}"));
        let address = SockAddr::unix(abstract_name.as_deref().unwrap_or(path))?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        let is_waited_for = self.waiting.borrow().contains_key(path);
        if !is_waited_for {
            match socket.connect(&address) {
                Ok(()) => return Ok(socket.into()),
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let (connected, is_connected) = oneshot::channel();
        self.waiting.borrow_mut().entry(path.to_owned()).or_default().push_back(Waiter { socket, connected });
        if !is_waited_for {
            reactor::spawn(serve(Rc::clone(self), path.to_owned(), address));
        }
        // Its task answers everybody.
        let socket = is_connected.await.map_err(|_| Errno::CONNREFUSED)??;
        Ok(socket.into())
    }

    /// Tries once for the first that still waits.
    fn try_first(&self, path: &str, address: &SockAddr) -> Tried {
        let mut waiting = self.waiting.borrow_mut();
        let Some(queue) = waiting.get_mut(path) else { return Tried::Nobody };
        while queue.pop_front_if(|first| first.connected.is_closed()).is_some() {}
        let Some(Waiter { socket, connected }) = queue.pop_front() else {
            waiting.remove(path);
            return Tried::Nobody;
        };
        let answer = match socket.connect(address) {
            Err(error) if is_full(&error) => {
                queue.push_front(Waiter { socket, connected });
                return Tried::Full;
            }
            Ok(()) => Ok(socket),
            Err(error) => Err(error),
        };
        // The receiver was there a moment ago, and no other task has run since.
        connected.send(answer).ok();
        Tried::Answered
    }

    /// Closes the sockets of callers that have given up.
    fn forget_gone(&self, path: &str) {
        if let Some(queue) = self.waiting.borrow_mut().get_mut(path) {
            queue.retain(|waiter| !waiter.connected.is_closed());
        }
    }
}

/// Connects the sockets that wait for a path, one after the other, until none waits.
async fn serve(queues: Rc<Queues>, path: String, address: SockAddr) {
    let (mut rest, mut answered) = (REST.0, 0);
    loop {
        match queues.try_first(&path, &address) {
            Tried::Nobody => return,
            Tried::Full => {
                if rest == REST.1 {
                    queues.forget_gone(&path);
                }
                reactor::sleep(rest).await;
                rest = (rest * 2).min(REST.1);
            }
            Tried::Answered => {
                rest = REST.0;
                answered += 1;
                if answered % BATCH == 0 {
                    reactor::yield_now().await;
                }
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;

    /// A listener whose backlog is full, and what fills it.
    fn full(folder: &tempfile::TempDir) -> (UnixListener, String, Vec<std::os::unix::net::UnixStream>) {
        let path = folder.path().join("socket").to_str().unwrap().to_owned();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(1).unwrap();
        let mut filling = Vec::new();
        loop {
            let one = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            if one.connect(&address).is_err() {
                return (socket.into(), path, filling);
            }
            filling.push(one.into());
        }
    }

    /// Runs a test, which says at its end that it came there.
    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Rc<Cell<bool>>) -> F) {
        let told = Rc::new(Cell::new(false));
        reactor::Reactor::new().unwrap().run(test(Rc::clone(&told)));
        assert!(told.get());
    }

    #[test]
    fn who_waits_longest_comes_first_and_who_is_gone_is_passed_over() {
        run(|told| async move {
            let folder = tempfile::tempdir().unwrap();
            let (listener, path, filling) = full(&folder);
            let queues = Rc::new(Queues::default());
            let order = Rc::new(RefCell::new(Vec::new()));
            let mut tasks: Vec<_> = (0..6)
                .map(|number| {
                    let (queues, path, order) = (Rc::clone(&queues), path.clone(), Rc::clone(&order));
                    reactor::spawn(async move {
                        let stream = queues.connect(&path).await.unwrap();
                        order.borrow_mut().push((number, stream));
                    })
                })
                .collect();
            reactor::sleep(Duration::from_millis(20)).await;
            assert!(order.borrow().is_empty());
            reactor::cancel(tasks.remove(2));
            let numbers = || order.borrow().iter().map(|(number, _)| *number).collect::<Vec<_>>();
            for _ in 0..filling.len() + 5 {
                let deadline = Instant::now() + Duration::from_secs(10);
                listener.set_nonblocking(true).unwrap();
                while listener.accept().is_err() {
                    assert!(Instant::now() < deadline, "only {:?} came", numbers());
                    reactor::sleep(Duration::from_millis(1)).await;
                }
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while numbers().len() < 5 {
                assert!(Instant::now() < deadline, "only {:?} came", numbers());
                reactor::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(numbers(), [0, 1, 3, 4, 5]);
            assert!(queues.waiting.borrow().values().all(VecDeque::is_empty));
            told.set(true);
        });
    }

    #[test]
    fn who_waits_is_told_that_nobody_listens_any_more() {
        run(|told| async move {
            let folder = tempfile::tempdir().unwrap();
            let (listener, path, _filling) = full(&folder);
            let queues = Rc::new(Queues::default());
            let answer = Rc::new(RefCell::new(None));
            let (gives, waits) = (Rc::clone(&answer), Rc::clone(&queues));
            reactor::spawn(async move {
                *gives.borrow_mut() = Some(waits.connect(&path).await.map(drop));
            });
            reactor::sleep(Duration::from_millis(5)).await;
            drop(listener);
            let deadline = Instant::now() + Duration::from_secs(10);
            while answer.borrow().is_none() {
                assert!(Instant::now() < deadline, "there is no answer");
                reactor::sleep(Duration::from_millis(1)).await;
            }
            let error = answer.take().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            told.set(true);
        });
    }
}
