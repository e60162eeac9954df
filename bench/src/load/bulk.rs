//! As many bytes as go, one way, counted at this end while they stream.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, read, write};

use super::{Load, LoadReport, Span, connected};
use crate::clock;
use crate::poll::Poll;
use crate::serve::{CHUNK, SINK, SOURCE};

/// To the server.
pub(super) fn up(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let bytes = vec![SINK; CHUNK];
    stream(load, start, SINK, EventFlags::OUT, &mut |socket| write(socket, &bytes))
}

/// From the server.
pub(super) fn down(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    let mut bytes = vec![0; CHUNK];
    stream(load, start, SOURCE, EventFlags::IN, &mut |socket| read(socket, &mut bytes))
}

/// One call that moves bytes.
type Step<'a> = dyn FnMut(&OwnedFd) -> Result<usize, Errno> + 'a;

fn stream(
    load: &Load,
    start: &mut dyn FnMut() -> Result<()>,
    first: u8,
    flags: EventFlags,
    step: &mut Step,
) -> Result<LoadReport> {
    let mut poll = Poll::new().context("cannot make an epoll")?;
    let mut sockets = Vec::with_capacity(load.connections);
    for token in 0..load.connections {
        let socket = connected(load.to)?;
        write(&socket, &[first]).context("cannot send")?;
        if load.connections > 1 {
            rustix::io::ioctl_fionbio(&socket, true).context("cannot make a socket non-blocking")?;
            poll.add(&socket, token as u64, flags).context("cannot watch a socket")?;
        }
        sockets.push(socket);
    }
    carry(&mut poll, &sockets, clock::now() + clock::from_seconds(load.warm), step)?;
    let span = Span::begin(load, start)?;
    let count = carry(&mut poll, &sockets, span.end, step)?;
    Ok(LoadReport { count, ..span.report(Vec::new()) })
}

/// Moves bytes until the time. Returns how many.
fn carry(poll: &mut Poll, sockets: &[OwnedFd], until: u64, step: &mut Step) -> Result<u64> {
    let mut bytes = 0;
    let mut happened = Vec::new();
    while clock::now() < until {
        if sockets.len() == 1 {
            happened.push((0, EventFlags::empty()));
        } else {
            poll.wait_into(&mut happened, Some(100_000_000)).context("cannot wait for streams")?;
        }
        for (token, _) in happened.drain(..) {
            match step(&sockets[token as usize]) {
                Ok(0) => bail!("a stream was closed"),
                Ok(count) => bytes += count as u64,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).context("a stream broke"),
            }
        }
    }
    Ok(bytes)
}
