//! What the programs tell the agent: events, which are counted and logged or wake a task, and messages for debugging.
//!
//! Messages are off unless `RUST_LOG` asks for them (`RUST_LOG=info,tcpshift_ebpf=debug`): the programs are loaded
//! without them then.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::RingBuf;
use aya_log::EbpfLogger;
use tcpshift_common::layout::event;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// The target of the programs' messages in the log.
pub(super) const PROGRAMS: &str = "tcpshift_ebpf";

/// Pause between two log lines about events, at least.
const SAID: Duration = Duration::from_secs(10);

/// Logs what comes, until the runtime ends.
pub(super) fn listen(ebpf: &mut Ebpf, listening: Arc<Notify>) -> Result<()> {
    if log::log_enabled!(target: PROGRAMS, log::Level::Debug) {
        let logger = EbpfLogger::init(ebpf).context("cannot read what the programs say")?;
        tokio::spawn(follow(watched(logger)?, EbpfLogger::flush));
    }
    let events = ebpf.take_map("events").context("the object has no map `events`")?;
    let events = RingBuf::try_from(events).context("the map `events` is of another type")?;
    let mut said: Option<Instant> = None;
    let mut count = 0_u64;
    tokio::spawn(follow(watched(events)?, move |events| {
        while let Some(event) = events.next() {
            if word(&event, 0) == event::LISTENING {
                listening.notify_one();
                continue;
            }
            count += 1;
            if said.is_none_or(|said| said.elapsed() >= SAID) {
                said = Some(Instant::now());
                log::error!("{}; {count} times so far. What it could not decide was left as it came", words(&event));
            }
        }
    }));
    Ok(())
}

#[allow(deprecated, reason = "what replaces it is unsafe code; these two keep one descriptor as long as they live")]
fn watched<T: AsRawFd>(readable: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(readable)
}

/// Does something each time that there is something to read.
async fn follow<T: AsRawFd>(mut readable: AsyncFd<T>, mut read: impl FnMut(&mut T)) {
    while let Ok(mut guard) = readable.readable_mut().await {
        read(guard.get_inner_mut());
        guard.clear_ready();
    }
}

fn word(event: &[u8], at: usize) -> u32 {
    event.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// An event for people. Its two words are its kind and a listener's number.
fn words(event: &[u8]) -> String {
    match word(event, 0) {
        event::TORN => format!("a program found a table of listener {} torn", word(event, 4)),
        kind => format!("a program tells an event {kind} that this agent does not know"),
    }
}
