//! The old agent's side of a hand-over.
//!
//! It sends what it is given and waits until the new agent is ready. It must not stop anything by itself: that
//! is app's, when this says so.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::net::UnixStream;

use super::{BATCH, Channel, HostAddresses, Message, READY_TIME, ROWS, STEP_TIME, ToldCounts};

/// Why nothing comes of a hand-over to an agent that has died at the last moment.
const GONE: &str = "it was ready and is gone";

/// What there is beside the listening sockets.
#[derive(Debug)]
pub struct Estate {
    /// The admin socket, and the lock of its path.
    pub admin: (OwnedFd, OwnedFd),
    /// The lock of the state directory.
    pub state: OwnedFd,
    /// What DNS answered last.
    pub names: HostAddresses,
    /// Sockets that came from systemd.
    pub activated: Vec<(SocketAddr, OwnedFd)>,
}

/// What the new agent says when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandoverTerms {
    /// Listeners that it has no use for, and has closed.
    pub unwanted: Vec<SocketAddr>,
    /// Whether it wants to be told what was counted.
    pub listens: bool,
    /// How many connections a second are to be ended.
    pub drain_rate: Option<u32>,
}

/// Sends everything, the sockets by `lend`, which hands out copies of so many at a time until it hands out none.
/// When this returns, the new agent waits for [`release`] with what is held now. The error says in words why nothing came of it; all is as before then.
pub async fn give(
    channel: &mut Channel,
    estate: Estate,
    mut lend: impl AsyncFnMut(usize) -> std::io::Result<Vec<(SocketAddr, OwnedFd)>>,
) -> Result<HandoverTerms, String> {
    let Estate { admin: (admin, lock), state, names, activated } = estate;
    let all = [admin.as_fd(), lock.as_fd(), state.as_fd()];
    send(channel, &Message::Hello { names, tells: true }, &all).await?;
    for some in activated.chunks(BATCH) {
        sockets(channel, some, true).await?;
    }
    drop(activated);
    loop {
        let some = lend(BATCH).await.map_err(|error| format!("the sockets cannot be copied: {error}"))?;
        if some.is_empty() {
            break;
        }
        sockets(channel, &some, false).await?;
    }
    send(channel, &Message::Complete, &[]).await?;
    match channel.receive(READY_TIME).await {
        Ok(Some((Message::Ready { unwanted, listens, drain_rate }, _))) => {
            Ok(HandoverTerms { unwanted, listens, drain_rate })
        }
        other => Err(unexpected(other)),
    }
}

/// Tells an agent that listens what was counted since it was told last, and how many connections are carried.
pub async fn tell(channel: &mut Channel, rows: ToldCounts, active: u64) -> Result<(), String> {
    let mut rows = rows.into_iter();
    loop {
        let some: ToldCounts = rows.by_ref().take(ROWS).collect();
        let is_last = rows.len() == 0;
        channel.send(&Message::Counts { rows: some, active }, &[], STEP_TIME).await.map_err(|_| GONE.to_owned())?;
        if is_last {
            return Ok(());
        }
    }
}

/// Tells the new agent that nothing is accepted here any more. The error says why it cannot be told; it does not
/// serve then. Once this has succeeded, its end is an agent's end as any other.
pub async fn release(channel: &mut Channel) -> Result<(), String> {
    if channel.is_closed() {
        return Err(GONE.to_owned());
    }
    channel.send(&Message::Released, &[], STEP_TIME).await.map_err(|_| GONE.to_owned())
}

/// Waits until the new agent has told systemd and its clients that it serves. Returns the way to one that listens.
pub async fn see_off(mut channel: Channel) -> Option<Channel> {
    // One that does not listen closes the connection.
    matches!(channel.receive(STEP_TIME).await, Ok(Some((Message::Serving, _)))).then_some(channel)
}

/// Answers an agent that cannot have anything now.
pub async fn refuse(stream: UnixStream, reason: &str) {
    match Channel::new(stream) {
        Ok(mut channel) => give_up(&mut channel, reason).await,
        Err(reason) => log::warn!("no takeover: {reason}"),
    }
}

/// Tells the new agent that nothing is handed over, and why.
pub async fn give_up(channel: &mut Channel, reason: &str) {
    // An agent that is gone needs no reason.
    channel.send(&Message::GivenUp { reason: reason.to_owned() }, &[], STEP_TIME).await.ok();
}

async fn sockets(channel: &mut Channel, sockets: &[(SocketAddr, OwnedFd)], activated: bool) -> Result<(), String> {
    let addresses = sockets.iter().map(|(address, _)| *address).collect();
    let descriptors: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    send(channel, &Message::Sockets { addresses, activated }, &descriptors).await?;
    // One after the other, since a process may have only so many descriptors on their way.
    match channel.receive(STEP_TIME).await {
        Ok(Some((Message::Received, _))) => Ok(()),
        other => Err(unexpected(other)),
    }
}

async fn send(
    channel: &mut Channel,
    message: &Message,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> Result<(), String> {
    channel.send(message, descriptors, STEP_TIME).await.map_err(|error| format!("it does not take them: {error}"))
}

fn unexpected(received: std::io::Result<Option<(Message, Vec<OwnedFd>)>>) -> String {
    match received {
        Ok(Some((Message::GivenUp { reason }, _))) => reason,
        Ok(Some((message, _))) => format!("it said what was not its turn: {message:?}"),
        Ok(None) => "it ended before it was ready".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => "it is not ready in time".to_owned(),
        Err(error) => format!("it cannot be understood: {error}"),
    }
}
