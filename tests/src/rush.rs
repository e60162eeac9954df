//! Several clients that make short connections one after the other: a load that must not fail while agents are replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::client::ask;
use crate::until::{seconds, until_so};

/// Clients at work. Each connects, says a line, reads the answer and closes, again and again.
#[derive(Debug)]
pub struct Rush {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<BTreeMap<String, usize>>>,
}

impl Rush {
    /// Starts so many clients, and waits until each had an answer or failed.
    pub fn start(address: &str, clients: usize) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..clients).map(|_| {
            let (stop, made, address) = (Arc::clone(&stop), Arc::clone(&made), address.to_owned());
            std::thread::spawn(move || {
                let mut failures = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = ask(&address) {
                        *failures.entry(format!("{:?}", error.kind())).or_default() += 1;
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        });
        let clients: Vec<_> = clients.collect();
        let rush = Self { stop, made, clients };
        rush.reach(rush.clients.len());
        rush
    }

    /// How many connections were made until now.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Waits until so many were made.
    pub fn reach(&self, count: usize) {
        until_so("the connections are made", seconds(120), || self.made() >= count);
    }

    /// Waits until so many more were made.
    pub fn go_on(&self, more: usize) {
        self.reach(self.made() + more);
    }

    /// Ends the clients. Returns the number of connections, and how many failed by kind of failure.
    pub fn stop(self) -> (usize, BTreeMap<String, usize>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = BTreeMap::new();
        for client in self.clients {
            for (kind, count) in client.join().expect("a client does not panic") {
                *failures.entry(kind).or_default() += count;
            }
        }
        (self.made.load(Ordering::Relaxed), failures)
    }

    /// Ends the clients, and panics if a connection had no answer.
    #[track_caller]
    pub fn finish(self) -> usize {
        let (made, failures) = self.stop();
        assert!(failures.is_empty(), "of {made} connections some had no answer: {failures:?}");
        made
    }
}
