//! Connect, one message and its answer, close: the client closes first, as clients do.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::{Load, LoadReport, QUESTION, Span, ask, connected, short};
use crate::clock;
use crate::poll::Poll;
use crate::serve::MESSAGE;

/// What the connections came to until now.
#[derive(Default)]
struct Tally {
    times: Vec<u32>,
    versions: [u64; 2],
    last_of_first: u64,
}

impl Tally {
    fn add(&mut self, began: u64, now: u64, version: u8) -> Result<()> {
        let versions = self.versions.get_mut(usize::from(version));
        *versions.with_context(|| format!("version {version} answered, and there is none"))? += 1;
        if version == 0 {
            self.last_of_first = self.last_of_first.max(began);
        }
        self.times.push(short(now - began));
        Ok(())
    }

    fn report(self, span: &Span) -> LoadReport {
        let Self { times, versions, last_of_first } = self;
        LoadReport { versions, last_of_first, ..span.report(times) }
    }
}

/// One after the other, with calls that wait.
pub(super) fn one(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let warm = clock::now() + clock::from_seconds(load.warm);
    while clock::now() < warm {
        ask(&connected(load.to)?)?;
    }
    let span = Span::begin(load, start)?;
    let mut tally = Tally { times: Vec::with_capacity(1 << 17), ..Tally::default() };
    let mut last = span.begin;
    while last < span.end && load.count.is_none_or(|count| (tally.times.len() as u64) < count) {
        let socket = connected(load.to)?;
        let version = ask(&socket)?;
        drop(socket);
        let now = clock::now();
        tally.add(last, now, version)?;
        last = now;
    }
    Ok(tally.report(&span))
}

struct Visit {
    socket: OwnedFd,
    began: u64,
    asked: bool,
    have: usize,
    version: u8,
}

/// Several at a time; each that ends is followed by the next.
pub(super) fn many(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let mut poll = Poll::new().context("cannot make an epoll")?;
    visit(&mut poll, load, clock::now() + clock::from_seconds(load.warm), None, &mut Tally::default())?;
    let span = Span::begin(load, start)?;
    let mut tally = Tally { times: Vec::with_capacity(1 << 17), ..Tally::default() };
    visit(&mut poll, load, span.end, load.count, &mut tally)?;
    Ok(tally.report(&span))
}

fn visit(poll: &mut Poll, load: &Load, until: u64, count: Option<u64>, tally: &mut Tally) -> Result<()> {
    let mut number = 0;
    let mut next = |poll: &Poll, token: u64| -> Result<Option<Visit>> {
        if clock::now() >= until || count.is_some_and(|count| number >= count) {
            return Ok(None);
        }
        number += 1;
        Visit::begin(load, poll, token).map(Some)
    };
    let mut visits = Vec::with_capacity(load.connections);
    for token in 0..load.connections {
        visits.push(next(poll, token as u64)?);
    }
    let mut open = visits.iter().flatten().count();
    let mut happened = Vec::new();
    while open > 0 {
        poll.wait_into(&mut happened, Some(5_000_000_000)).context("cannot wait for answers")?;
        ensure!(!happened.is_empty(), "{open} connections to {} had no answer for 5 s", load.to);
        for (token, flags) in happened.drain(..) {
            let cell = &mut visits[token as usize];
            let Some(visit) = cell else { continue };
            if !visit.act(flags)? {
                continue;
            }
            let (began, version) = (visit.began, visit.version);
            *cell = None; // Closes it.
            tally.add(began, clock::now(), version)?;
            *cell = next(poll, token)?;
            open -= usize::from(cell.is_none());
        }
    }
    Ok(())
}

impl Visit {
    fn begin(load: &Load, poll: &Poll, token: u64) -> Result<Self> {
        let began = clock::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).context("cannot make a socket")?;
        sockopt::set_tcp_nodelay(&socket, true).context("cannot set TCP_NODELAY")?;
        match net::connect(&socket, &load.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", load.to)),
        }
        // By edges, so that one call watches for both: that it is connected, and the answer.
        poll.add(&socket, token, EventFlags::IN | EventFlags::OUT | EventFlags::ET).context("cannot watch a socket")?;
        Ok(Self { socket, began, asked: false, have: 0, version: 0 })
    }

    /// Does what is due. Returns whether the answer is whole.
    fn act(&mut self, flags: EventFlags) -> Result<bool> {
        if !self.asked && flags.contains(EventFlags::OUT) {
            match rustix::io::write(&self.socket, &QUESTION) {
                Ok(MESSAGE) => self.asked = true,
                Ok(_) => bail!("a message went only in part"),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error).context("cannot connect and send"),
            }
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            let mut answer = [0; MESSAGE];
            while self.have < MESSAGE {
                match rustix::io::read(&self.socket, &mut answer[self.have..]) {
                    Ok(0) => bail!("closed before the answer"),
                    Ok(count) => {
                        if self.have == 0 {
                            self.version = answer[0];
                        }
                        self.have += count;
                    }
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(error) => return Err(error).context("no answer"),
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}
