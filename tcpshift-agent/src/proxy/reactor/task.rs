//! Tasks of a reactor, and how they are woken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};

use super::CURRENT;

/// A task, for as long as it runs. Its number is not given out again before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct TaskId {
    index: u32,
    generation: u32,
}

/// The tasks of one thread.
#[derive(Debug)]
pub(super) struct Tasks {
    cells: RefCell<Vec<Cell>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<TaskId>>,
    /// The one that is polled.
    polled: std::cell::Cell<Option<TaskId>>,
    /// Those that have woken themselves: they give way.
    yielded: RefCell<Vec<TaskId>>,
    remote: Arc<Remote>,
}

#[derive(Debug)]
struct Cell {
    generation: u32,
    /// None while it is polled, and when it is over.
    task: Option<Task>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    state: Arc<TaskState>,
    waker: Waker,
}

/// What wakers of a task know.
struct TaskState {
    id: TaskId,
    /// Whether it waits for its turn.
    is_queued: AtomicBool,
    remote: Arc<Remote>,
}

/// Tasks that other threads have woken, and how those wake this one.
#[derive(Debug)]
struct Remote {
    woken: Mutex<Vec<TaskId>>,
    event: OwnedFd,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.state.id).finish_non_exhaustive()
    }
}

impl Tasks {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let remote = Arc::new(Remote { woken: Mutex::default(), event });
        Ok(Self {
            cells: RefCell::default(),
            free: RefCell::default(),
            ready: RefCell::default(),
            polled: std::cell::Cell::default(),
            yielded: RefCell::default(),
            remote,
        })
    }

    /// What can be read when another thread has woken a task.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.remote.event.as_fd()
    }

    /// Adds a task, which is ready.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let mut cells = self.cells.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            cells.push(Cell { generation: 0, task: None });
            cells.len() as u32 - 1
        });
        let cell = &mut cells[index as usize];
        let id = TaskId { index, generation: cell.generation };
        let remote = Arc::clone(&self.remote);
        let state = Arc::new(TaskState { id, is_queued: AtomicBool::new(true), remote });
        let waker = Waker::from(Arc::clone(&state));
        cell.task = Some(Task { future: Box::pin(future), state, waker });
        self.ready.borrow_mut().push_back(id);
        id
    }

    /// Whether tasks wait for their turn, of those that do not give way.
    pub(super) fn is_any_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Whether tasks wait for their turn.
    pub(super) fn is_any_waiting(&self) -> bool {
        self.is_any_ready() || !self.yielded.borrow().is_empty()
    }

    /// Those that gave way have their turn again, after all others.
    pub(super) fn take_yielded(&self) {
        self.ready.borrow_mut().extend(self.yielded.borrow_mut().drain(..));
    }

    /// Whether a task is not over.
    pub(super) fn is_there(&self, id: TaskId) -> bool {
        self.cells.borrow().get(id.index as usize).is_some_and(|cell| cell.generation == id.generation)
    }

    /// Polls the first that waits for its turn.
    pub(super) fn poll_next(&self) {
        let Some(id) = self.ready.borrow_mut().pop_front() else { return };
        let Some(mut task) = self.take(id) else { return };
        // Not a mere store: whoever finds it set before this has written what it woke for, and the task must see that.
        task.state.is_queued.swap(false, AcqRel);
        let mut cx = Context::from_waker(&task.waker);
        self.polled.set(Some(id));
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut cx)));
        self.polled.set(None);
        match polled {
            Ok(Poll::Pending) => {
                let mut cells = self.cells.borrow_mut();
                let cell = &mut cells[id.index as usize];
                if cell.generation == id.generation {
                    cell.task = Some(task);
                    return;
                }
                // It was cancelled meanwhile.
                drop(cells);
                drop(task);
            }
            // The panic has been told where panics are.
            Ok(Poll::Ready(())) | Err(_) => {
                self.end(id);
                drop(task);
            }
        }
    }

    fn take(&self, id: TaskId) -> Option<Task> {
        let mut cells = self.cells.borrow_mut();
        cells.get_mut(id.index as usize).filter(|cell| cell.generation == id.generation)?.task.take()
    }

    /// Ends a task, whether or not it is being polled.
    pub(super) fn cancel(&self, id: TaskId) {
        if self.is_there(id) {
            let task = self.take(id);
            self.end(id);
            drop(task);
        }
    }

    fn end(&self, id: TaskId) {
        let mut cells = self.cells.borrow_mut();
        let cell = &mut cells[id.index as usize];
        if cell.generation == id.generation {
            cell.generation = cell.generation.wrapping_add(1);
            self.free.borrow_mut().push(id.index);
        }
    }

    /// Drops all tasks.
    pub(super) fn clear(&self) {
        let ids = |cells: &[Cell]| {
            let all = cells.iter().zip(0..).filter(|(cell, _)| cell.task.is_some());
            all.map(|(cell, index)| TaskId { index, generation: cell.generation }).collect::<Vec<_>>()
        };
        loop {
            let all = ids(&self.cells.borrow());
            if all.is_empty() {
                return;
            }
            for id in all {
                self.cancel(id);
            }
        }
    }

    /// Takes over what other threads have woken.
    pub(super) fn take_remote(&self) {
        // Whether it says anything or not, what is woken is in the list.
        let _told = rustix::io::read(&self.remote.event, &mut [0; 8]);
        let woken = std::mem::take(&mut *self.remote.lock());
        self.ready.borrow_mut().extend(woken);
    }
}

impl Remote {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TaskId>> {
        // Whoever panicked left a list of whole numbers.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, id: TaskId) {
        let mut woken = self.lock();
        woken.push(id);
        if woken.len() == 1 {
            // It fails only if it has been told very often and not been read.
            let _told = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl Wake for TaskState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, AcqRel) {
            return;
        }
        let is_here = CURRENT.try_with(|current| {
            let current = current.borrow();
            let Some(reactor) = current.as_ref().filter(|reactor| Arc::ptr_eq(&reactor.tasks.remote, &self.remote))
            else {
                return false;
            };
            let tasks = &reactor.tasks;
            if tasks.polled.get() == Some(self.id) {
                tasks.yielded.borrow_mut().push(self.id);
            } else {
                tasks.ready.borrow_mut().push_back(self.id);
            }
            true
        });
        if is_here != Ok(true) {
            self.remote.push(self.id);
        }
    }
}
