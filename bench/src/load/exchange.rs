//! Messages and answers on connections that stay.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rustix::event::epoll::EventFlags;

use super::{Load, LoadReport, QUESTION, Span, ask, connected, short};
use crate::clock;
use crate::poll::Poll;
use crate::serve::MESSAGE;

/// One connection, with calls that wait.
pub(super) fn one(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let socket = connected(load.to)?;
    let warm = clock::now() + clock::from_seconds(load.warm);
    while clock::now() < warm {
        ask(&socket)?;
    }
    let span = Span::begin(load, start)?;
    let mut times = Vec::with_capacity(1 << 20);
    let mut last = span.begin;
    while last < span.end {
        ask(&socket)?;
        let now = clock::now();
        times.push(short(now - last));
        last = now;
    }
    Ok(span.report(times))
}

struct Talk {
    socket: OwnedFd,
    asked: u64,
    have: usize,
}

/// Several, each with one message under way.
pub(super) fn many(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let mut poll = Poll::new().context("cannot make an epoll")?;
    let mut talks = Vec::with_capacity(load.connections);
    for token in 0..load.connections {
        let socket = connected(load.to)?;
        rustix::io::ioctl_fionbio(&socket, true).context("cannot make a socket non-blocking")?;
        poll.add(&socket, token as u64, EventFlags::IN).context("cannot watch a socket")?;
        talks.push(Talk { socket, asked: 0, have: 0 });
    }
    talk(&mut poll, &mut talks, clock::now() + clock::from_seconds(load.warm), &mut Vec::new())?;
    let span = Span::begin(load, start)?;
    let mut times = Vec::with_capacity(1 << 20);
    talk(&mut poll, &mut talks, span.end, &mut times)?;
    Ok(span.report(times))
}

/// Talks on all connections until the time, and until all answers are there.
fn talk(poll: &mut Poll, talks: &mut [Talk], until: u64, times: &mut Vec<u32>) -> Result<()> {
    for talk in &mut *talks {
        talk.ask()?;
    }
    let mut open = talks.len();
    let (mut happened, mut answer) = (Vec::new(), [0; MESSAGE]);
    while open > 0 {
        poll.wait_into(&mut happened, None).context("cannot wait for answers")?;
        for (token, _) in happened.drain(..) {
            let talk = &mut talks[token as usize];
            match rustix::io::read(&talk.socket, &mut answer[talk.have..]) {
                Ok(0) => bail!("closed before the answer"),
                Ok(count) => talk.have += count,
                Err(rustix::io::Errno::AGAIN) => continue,
                Err(error) => return Err(error).context("no answer"),
            }
            if talk.have == MESSAGE {
                let now = clock::now();
                times.push(short(now - talk.asked));
                if now < until {
                    talk.ask()?;
                } else {
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}

impl Talk {
    fn ask(&mut self) -> Result<()> {
        self.have = 0;
        self.asked = clock::now();
        match rustix::io::write(&self.socket, &QUESTION) {
            Ok(MESSAGE) => Ok(()),
            Ok(_) => bail!("a message went only in part"),
            Err(error) => Err(error).context("cannot send"),
        }
    }
}
