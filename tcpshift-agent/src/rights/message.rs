//! Messages between an agent and the helper: each is so many words, with descriptors beside them, and is sent and received whole.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Words of a message.
pub(super) const WORDS: usize = 512;
const BYTES: usize = WORDS * size_of::<u64>();

/// Descriptors of a message at most, and sockets that are asked for at once. The kernel takes 253 (`SCM_MAX_FD`).
pub(super) const BATCH: usize = 250;

/// Where the words of a request and of an answer stand.
pub(super) mod at {
    /// What is asked, one of [`ask`](super::ask); in an answer the number of an error, 0 for none.
    pub(in crate::rights) const HEAD: usize = 0;
    /// Counts the requests of a channel; an answer has the number of its request.
    pub(in crate::rights) const NUMBER: usize = 1;
    /// The first word of what is asked or answered.
    pub(in crate::rights) const BODY: usize = 2;
}

/// What can be asked.
pub(super) mod ask {
    /// A new map: the words of a [`NewMap`](crate::rights::NewMap), and the descriptor of its types.
    pub(in crate::rights) const MAP: u64 = 1;
    /// That only programs write to a map from now on: its descriptor.
    pub(in crate::rights) const FREEZE: u64 = 2;
    /// That a socket is bound: its descriptor; port, scope, and the address in two words, IPv4 as IPv6.
    pub(in crate::rights) const BIND: u64 = 3;
    /// Which processes have sockets: their number, and the inode of each.
    pub(in crate::rights) const HOLDERS: u64 = 4;
    /// Copies of listening sockets: their number, and of each the inode, and the process and its descriptor.
    pub(in crate::rights) const COPY: u64 = 5;
    /// A list of connections: the family of their addresses, and the map that the storage of sockets is in.
    pub(in crate::rights) const LIST: u64 = 7;
    /// That connections are ended: their number, and of each the words of its ends.
    pub(in crate::rights) const CLOSE: u64 = 8;
    /// A pipe: how many bytes it is to hold.
    pub(in crate::rights) const PIPE: u64 = 6;
}

/// The words of a message, and the descriptors that came with it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) words: [u64; WORDS],
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Sends a message. Fails at once if the other end reads none.
pub(super) fn send(socket: impl AsFd, words: &[u64; WORDS], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// The next message; none if the other end is closed. Fails with `TimedOut` if none comes within a time, if there is one.
pub(super) fn receive(socket: impl AsFd, within: Option<Duration>) -> io::Result<Option<Received>> {
    wait(&socket, within)?;
    let mut bytes = [0; BYTES];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let read = match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Err(Errno::CONNRESET) => return Ok(None),
        read => read?,
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if read.bytes == 0 {
        return Ok(None);
    }
    if read.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE.into());
    }
    if read.bytes != BYTES || read.flags.contains(ReturnFlags::TRUNC) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    Ok(Some(Received { words, descriptors }))
}

/// Waits until there is something to read.
fn wait(socket: &impl AsFd, within: Option<Duration>) -> io::Result<()> {
    let limit = within.map(|within| Timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: within.subsec_nanos().into(),
    });
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], limit.as_ref()) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            // A signal comes seldom: the time may begin anew.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
