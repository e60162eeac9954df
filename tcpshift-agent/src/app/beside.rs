//! Slow work of a change (parsing, planning, tables of programs, disks), done on a thread of its own. The loop waits for
//! it without being blocked, and hears signals meanwhile.
//!
//! There is one such thread, since changes follow one another, and another one for readers. Each starts with the agent: a change
//! needs no new thread, which the host may not give.

use std::any::Any;
use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct SideThread {
    jobs: mpsc::Sender<Job>,
}

impl SideThread {
    /// Starts the thread, which has a name.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (jobs, given) = mpsc::channel::<Job>();
        thread::Builder::new().name(name.to_owned()).spawn(move || given.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs })
    }

    /// Has work done there. A panic of the work goes on here.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = oneshot::channel();
        let job = move || {
            let result: Result<T, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(work));
            // Whoever waited may have ended with the agent.
            drop(done.send(result));
        };
        self.jobs.send(Box::new(job)).expect("the thread lives as long as jobs can be sent");
        match is_done.await.expect("every job sends its result") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// What belongs to the loop, and is worked on beside it now and then.
#[derive(Debug)]
pub(super) struct Lendable<T>(Option<T>);

const HERE: &str = "whoever lends it waits until it is here again";

impl<T: Send + 'static> Lendable<T> {
    /// A value that is here.
    pub(super) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Has something done with it beside the loop. To be waited for until it is done.
    pub(super) async fn with<R: Send + 'static>(
        &mut self,
        beside: &SideThread,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> R {
        let mut value = self.0.take().expect(HERE);
        let (value, done) = beside
            .run(move || {
                let done = work(&mut value);
                (value, done)
            })
            .await;
        self.0 = Some(value);
        done
    }
}

impl<T> Deref for Lendable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(HERE)
    }
}

impl<T> DerefMut for Lendable<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(HERE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn others_go_on_while_work_is_done_and_what_was_lent_comes_back() {
        let beside = SideThread::start("changes").unwrap();
        let (go, wait) = mpsc::channel();
        let mut list = Lendable::new(vec![1]);
        let work = list.with(&beside, move |list| {
            wait.recv().unwrap();
            list.push(2);
            list.len()
        });
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            go.send(()).unwrap();
        };
        assert_eq!(tokio::join!(work, meanwhile).0, 2);
        assert_eq!(*list, [1, 2]);
    }

    #[tokio::test]
    #[should_panic(expected = "a fault")]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        SideThread::start("changes").unwrap().run(|| panic!("a fault")).await;
    }
}
