//! The new agent's side of a hand-over.
//!
//! It asks the running agent for all it holds, checks each socket, and says when the new one is ready. An old agent
//! that dies meanwhile leaves what was received until then. It must not begin to accept: that is app's.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::{
    BATCH, Channel, HostAddresses, ListeningSocket, Message, PATH, PROTOCOL, Peer, READY_TIME, STEP_TIME, ToldCounts,
    check,
};

/// Bytes of the answer's head, and of a refusal's body.
const LONGEST_HEAD: usize = 64 << 10;

/// How often an agent that finds the queue of the admin socket full tries again.
const QUEUE_ROUND: Duration = Duration::from_millis(50);

/// Sockets of one hand-over, at most: more than a process can have open.
const MOST: usize = 4 << 20;

/// What the agent before this one held.
#[derive(Debug, Default)]
pub struct Taken {
    /// The way to it; none if it died.
    channel: Option<Channel>,
    /// Its listening sockets, several of an address.
    pub sockets: Vec<ListeningSocket>,
    /// Those that came from systemd.
    pub activated: Vec<ListeningSocket>,
    /// Its admin socket and the lock of the path; none if it died before it sent them.
    pub admin: Option<(OwnedFd, OwnedFd)>,
    /// The lock of its state directory, which may be another one than ours.
    pub state: Option<OwnedFd>,
    /// What DNS answered it last.
    pub names: HostAddresses,
    /// Whether it can tell what it has counted.
    tells: bool,
    /// What it told until it let go.
    pub counts: ToldCounts,
    /// Connections that it carried then.
    pub active: u64,
}

/// The agent before this one, which lets its connections end and tells what it counts.
#[derive(Debug)]
pub struct Teller(Channel);

/// How long it may say nothing: it does so once a second.
const SILENCE: Duration = Duration::from_mins(1);

impl Teller {
    /// Who it is.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// What it has counted since it said so last, and how many connections it carries; none when it has ended.
    pub async fn next(&mut self) -> Option<(ToldCounts, u64)> {
        match self.0.receive(SILENCE).await {
            Ok(Some((Message::Counts { rows, active }, _))) => Some((rows, active)),
            _ => None,
        }
    }
}

/// Asks the agent at a path for all it holds, and waits so long for each answer. None if there is no agent. Errors: it is
/// another user's, it knows no hand-over, it refuses, it does not answer, or what it sends is not what it says.
pub async fn take(path: &Path, within: Duration) -> anyhow::Result<Option<Taken>> {
    let shown = path.display();
    let silent = |pid: String| {
        format!(
            "the running agent at {shown}{pid} does not answer within {within:?} and goes on as it is; \
             end it and start this one instead"
        )
    };
    let connecting = timeout(within, connect(path)).await;
    let stream = match connecting.map_err(|_| anyhow::anyhow!("{}", silent(String::new())))? {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        // It was in its queue when it died.
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("permission denied at {shown}: the running agent has another user, and --takeover needs the same")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot connect to {shown}")),
    };
    // Before anything is said to it.
    let mut channel = None;
    let pid = match super::peer(&stream) {
        Ok(peer) => format!(" ({peer})"),
        Err(reason) => bail!("no takeover at {shown}: {reason}"),
    };
    match timeout(within, switch(stream)).await {
        Ok(Ok(Ok(stream))) => channel = Some(Channel::new(stream).map_err(anyhow::Error::msg)?),
        Ok(Ok(Err(refusal))) => {
            bail!("the running agent at {shown} does not hand over: {refusal}; stop it and start this one instead")
        }
        Ok(Err(error)) if is_gone(&error) => {}
        Ok(Err(error)) => return Err(error).with_context(|| format!("cannot talk to the agent at {shown}")),
        Err(_) => bail!("{}", silent(pid)),
    }
    let mut taken = Taken { channel, ..Taken::default() };
    taken.receive(within).await?;
    Ok(Some(taken))
}

/// Connects, and waits while the queue of the socket is full, for which connect(2) of a unix socket does not.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(QUEUE_ROUND).await,
            done => return done,
        }
    }
}

/// How the admin API refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Has the admin API switch to the hand-over, or brings back why it does not. Reads no byte beyond the answer's
/// head, since descriptors come with what follows.
async fn switch(mut stream: UnixStream) -> io::Result<Result<UnixStream, String>> {
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: tcpshift\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > LONGEST_HEAD {
            return Ok(Err("its answer is no HTTP".to_owned()));
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "101" {
        return Ok(Ok(stream));
    }
    if status == "404" {
        return Ok(Err("it is of a version that cannot".to_owned()));
    }
    let mut body = Vec::new();
    stream.take(LONGEST_HEAD as u64).read_to_end(&mut body).await?;
    let said = serde_json::from_slice(&body).map(|Refusal { message }| message);
    Ok(Err(said.unwrap_or_else(|_| format!("it answers {status}"))))
}

impl Taken {
    /// The agent before, if it is still there.
    pub fn peer(&self) -> Option<Peer> {
        self.channel.as_ref().filter(|channel| !channel.is_closed()).map(|channel| channel.peer)
    }

    async fn receive(&mut self, within: Duration) -> anyhow::Result<()> {
        while let Some((message, descriptors)) = self.next(within).await? {
            match message {
                Message::Hello { names, tells } if self.admin.is_none() => {
                    let Ok([admin, lock, state]) = <[OwnedFd; 3]>::try_from(descriptors) else {
                        bail!("the running agent sends other descriptors than it says")
                    };
                    self.admin = Some((admin, lock));
                    self.state = Some(state);
                    (self.names, self.tells) = (names, tells);
                }
                Message::Sockets { addresses, activated } => {
                    let so_far = self.sockets.len() + self.activated.len();
                    if addresses.len() != descriptors.len() || addresses.len() > BATCH || so_far > MOST {
                        bail!("the running agent sends {} sockets for {}", descriptors.len(), addresses.len());
                    }
                    let checked = addresses.into_iter().zip(descriptors).map(|(address, socket)| {
                        check(socket, address)
                            .map(|socket| (address, socket))
                            .map_err(|reason| anyhow::anyhow!("the running agent sends what it should not: {reason}"))
                    });
                    let checked = checked.collect::<anyhow::Result<Vec<_>>>()?;
                    if activated { &mut self.activated } else { &mut self.sockets }.extend(checked);
                    self.say(&Message::Received).await;
                }
                Message::Complete => return Ok(()),
                Message::GivenUp { reason } => bail!("the running agent does not hand over: {reason}"),
                other => bail!("the running agent said what was not its turn: {other:?}"),
            }
        }
        Ok(())
    }

    /// Says that this agent can accept and has closed the listeners that it has no use for, asks the old one to end its
    /// connections at a rate if one is given, and waits until it has let go of all. Errors: the old one serves on, so
    /// that this one must not.
    pub async fn finish(&mut self, unwanted: Vec<SocketAddr>, drain_rate: Option<u32>) -> anyhow::Result<()> {
        if drain_rate.is_some() && !self.tells && self.peer().is_some() {
            log::warn!(
                "the running agent is of a release that knows no --drain-rate: it resets what has not ended in time"
            );
        }
        let drain_rate = drain_rate.filter(|_| self.tells);
        self.say(&Message::Ready { unwanted, listens: self.tells, drain_rate }).await;
        loop {
            match self.next(READY_TIME).await? {
                Some((Message::Counts { rows, active }, _)) => {
                    self.counts.extend(rows);
                    self.active = active;
                }
                None | Some((Message::Released, _)) => return Ok(()),
                Some((Message::GivenUp { reason }, _)) => bail!("the running agent goes on serving: {reason}"),
                Some((other, _)) => bail!("the running agent said what was not its turn: {other:?}"),
            }
        }
    }

    /// Lets the old agent end when it likes: this one serves. Returns the old one if it tells what it counts.
    pub async fn serving(mut self) -> Option<Teller> {
        if self.tells {
            self.say(&Message::Serving).await;
        }
        self.channel.filter(|_| self.tells).map(Teller)
    }

    /// The next message; none from an agent that is dead.
    async fn next(&mut self, within: Duration) -> anyhow::Result<Option<(Message, Vec<OwnedFd>)>> {
        let Some(channel) = &mut self.channel else { return Ok(None) };
        let received = match channel.receive(within).await {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let peer = channel.peer;
                bail!("the running agent ({peer}) has said nothing for {within:?} and goes on as it is")
            }
            received => received.context("the running agent cannot be understood")?,
        };
        if received.is_none() {
            log::warn!("the agent before this one ({}) is gone; going on with what it had passed on", channel.peer);
            self.channel = None;
        }
        Ok(received)
    }

    async fn say(&mut self, message: &Message) {
        if let Some(channel) = &mut self.channel {
            // If the other agent is gone, waiting for its answer finds that out.
            channel.send(message, &[], STEP_TIME).await.ok();
        }
    }
}
