//! The runtime of a worker: one thread that polls tasks, looks at sockets and keeps timers.
//!
//! It does what a connection needs and no more: a socket is registered once for both directions, edge-triggered and only when
//! somebody waits for it, and it leaves by being closed. Tasks may be woken from any thread, so that channels work across
//! threads; everything else belongs to the worker's own.

mod readiness;
mod task;
mod timer;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

pub(super) use readiness::{Readiness, Ready};
pub(super) use task::TaskId;
pub(super) use timer::{Sleep, sleep, sleep_until, timeout};

use readiness::ReadinessTable;
use task::Tasks;
use timer::Timers;

/// How many tasks are polled before sockets are looked at again, if that many are ready.
const TURNS: usize = 256;
/// Events that are taken at once.
const EVENTS: usize = 256;
/// The token of the descriptor by which other threads wake this one.
const WAKE: u64 = u64::MAX;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// The runtime of one thread.
#[derive(Debug)]
pub(super) struct Reactor {
    epoll: OwnedFd,
    watched: ReadinessTable,
    tasks: Tasks,
    timers: Timers,
    /// How often sockets were looked at.
    looks: Cell<u64>,
}

impl Reactor {
    /// Fails if the host gives no descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let tasks = Tasks::new()?;
        epoll::add(&epoll, tasks.event(), EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self { epoll, watched: ReadinessTable::default(), tasks, timers: Timers::default(), looks: Cell::new(0) })
    }

    /// Runs a task, and all that are spawned, until that one is over. All others are dropped then.
    pub(super) fn run(self, main: impl Future<Output = ()> + 'static) {
        let reactor = Rc::new(self);
        CURRENT.set(Some(Rc::clone(&reactor)));
        let main = reactor.tasks.spawn(main);
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            // One that gives way comes again only after sockets were looked at.
            for _ in 0..TURNS {
                if !reactor.tasks.is_any_ready() {
                    break;
                }
                reactor.tasks.poll_next();
            }
            if !reactor.tasks.is_there(main) {
                break;
            }
            if let Err(error) = reactor.look(&mut events) {
                log::error!("a worker cannot look at its sockets: {error}");
                break;
            }
        }
        reactor.tasks.clear();
        CURRENT.take();
    }

    /// Waits for sockets, timers and other threads, for no time if a task is ready.
    fn look(&self, events: &mut Vec<Event>) -> io::Result<()> {
        let wait = if self.tasks.is_any_waiting() {
            Some(Duration::ZERO)
        } else {
            self.timers.next().map(|next| next.saturating_duration_since(Instant::now()))
        };
        // What is too far for the kernel is looked at again before.
        let wait = wait.map(|wait| wait.min(Duration::from_hours(24)).try_into()).transpose();
        let wait = wait.map_err(|_| Errno::INVAL)?;
        events.clear();
        self.looks.set(self.looks.get() + 1);
        match epoll::wait(&self.epoll, spare_capacity(events), wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for &Event { flags, data } in events.iter() {
            match data.u64() {
                WAKE => self.tasks.take_remote(),
                token => self.watched.note(token, flags),
            }
        }
        self.timers.fire();
        self.tasks.take_yielded();
        Ok(())
    }
}

/// What runs on this thread. There is nothing outside of [`Reactor::run`].
fn current() -> Rc<Reactor> {
    CURRENT.with_borrow(Clone::clone).expect("called by a task of a reactor")
}

/// Runs a task beside this one, from the next round on.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) -> TaskId {
    current().tasks.spawn(task)
}

/// Drops a task that another one runs, if it is not over.
pub(super) fn cancel(task: TaskId) {
    current().tasks.cancel(task);
}

/// How often this thread has looked at its sockets.
pub(super) fn looks() -> u64 {
    current().looks.get()
}

/// Gives others their turn, those too whom only the next look at the sockets wakes.
pub(super) async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Counts that it was dropped.
    struct Drops(Rc<Cell<u32>>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    /// Runs a test, which must come to its end.
    fn run(test: impl Future<Output = ()> + 'static) {
        let ended = Rc::new(Cell::new(false));
        let end = Rc::clone(&ended);
        Reactor::new().unwrap().run(async move {
            timeout(Duration::from_secs(20), test).await.expect("in time");
            end.set(true);
        });
        assert!(ended.get());
    }

    #[test]
    fn a_socket_is_seen_to_be_ready_and_then_not() {
        run(async {
            let (mut one, other) = UnixStream::pair().unwrap();
            other.set_nonblocking(true).unwrap();
            let readiness = Readiness::new(Ready::NONE);
            let mut got = [0; 8];
            for _ in 0..3 {
                let writer = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(10));
                    one.write_all(b"x").unwrap();
                    one
                });
                std::future::poll_fn(|cx| readiness.poll(cx, other.as_fd(), Ready::READ)).await.unwrap();
                assert_eq!(rustix::io::read(&other, &mut got), Ok(1));
                readiness.clear(Ready::READ);
                let waits = std::future::poll_fn(|cx| readiness.poll(cx, other.as_fd(), Ready::READ));
                assert!(timeout(Duration::from_millis(20), waits).await.is_none());
                one = writer.join().unwrap();
            }
            drop(one);
            for _ in 0..3 {
                std::future::poll_fn(|cx| readiness.poll(cx, other.as_fd(), Ready::READ)).await.unwrap();
                assert_eq!(rustix::io::read(&other, &mut got), Ok(0));
                readiness.clear(Ready::READ);
            }
        });
    }

    #[test]
    fn who_gives_way_lets_sockets_and_timers_come_first() {
        run(async {
            let rounds = Rc::new(Cell::new(0));
            let counting = Rc::clone(&rounds);
            let busy = spawn(async move {
                loop {
                    counting.set(counting.get() + 1);
                    yield_now().await;
                }
            });
            sleep(Duration::from_millis(20)).await;
            let before = rounds.get();
            assert!(before > 1);
            cancel(busy);
            sleep(Duration::from_millis(5)).await;
            assert_eq!(rounds.get(), before);
        });
    }

    #[test]
    fn other_threads_wake_a_task() {
        run(async {
            let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
            let sender = std::thread::spawn(move || {
                for number in 0..1000 {
                    send.send(number).unwrap();
                    if number % 100 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            for number in 0..1000 {
                assert_eq!(received.recv().await, Some(number));
            }
            assert_eq!(received.recv().await, None);
            sender.join().unwrap();
        });
    }

    #[test]
    fn a_task_that_panics_takes_no_other_with_it() {
        run(async {
            spawn(async { panic!("on purpose") });
            sleep(Duration::from_millis(5)).await;
        });
    }

    #[test]
    fn what_runs_when_the_first_ends_is_dropped() {
        let dropped = Rc::new(Cell::new(0));
        let counted = Rc::clone(&dropped);
        Reactor::new().unwrap().run(async move {
            for _ in 0..3 {
                let drops = Drops(Rc::clone(&counted));
                spawn(async move {
                    sleep(Duration::from_secs(1000)).await;
                    drop(drops);
                });
            }
            yield_now().await;
        });
        assert_eq!(dropped.get(), 3);
    }
}
