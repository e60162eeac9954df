//! Messages with descriptors over a unix stream: four bytes of length, then JSON; the descriptors go with the
//! first byte.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::{BATCH, Message, Peer};

/// Bytes of one message, at most: the addresses of 100,000 host names, say.
const LONGEST: usize = 16 << 20;

/// How long is waited for the receiver when the kernel holds too many descriptors that are on their way.
const PAUSE: Duration = Duration::from_millis(5);

/// One end of a connection between two agents.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// The other one.
    pub(super) peer: Peer,
}

impl Channel {
    /// Over a stream on which nothing else is said any more. Fails, in words for people, if the other end is
    /// another user's.
    pub fn new(stream: UnixStream) -> Result<Self, String> {
        let peer = super::peer(&stream)?;
        Ok(Self { stream, peer })
    }

    /// The other agent.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether the other end is closed; what it said before may still be read.
    pub(super) fn is_closed(&self) -> bool {
        let mut byte = [0];
        let peeked = rustix::net::recv(&self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match peeked {
            Ok((_, read)) => read == 0,
            Err(error) => error != rustix::io::Errno::AGAIN,
        }
    }

    /// Sends one message with at most [`BATCH`] descriptors. Fails if that takes longer than `within`.
    pub(super) async fn send(
        &mut self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST);
        let length = length.ok_or_else(|| io::Error::other("a message to the other agent is too long"))?;
        let bytes = [&length.to_be_bytes()[..], &body].concat();
        timeout(within, self.write(&bytes, descriptors)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn write(&mut self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
        while !bytes.is_empty() {
            let sent = self.stream.async_io(Interest::WRITABLE, || {
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(io::Error::other("too many descriptors for one message"));
                }
                Ok(sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
            });
            match sent.await {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    descriptors = &[];
                }
                Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::TOOMANYREFS) => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next message and its descriptors; none if the other end is closed or reset. Fails if it does not come
    /// in time, or is none.
    pub(super) async fn receive(&mut self, within: Duration) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        match timeout(within, self.read()).await {
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => Ok(None),
            Ok(read) => read.map(Some),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    async fn read(&mut self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        self.read_exact(&mut length, &mut descriptors).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a message of the other agent is too long"));
        }
        let mut body = vec![0; length];
        self.read_exact(&mut body, &mut descriptors).await?;
        Ok((serde_json::from_slice(&body)?, descriptors))
    }

    async fn read_exact(&mut self, mut bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
        while !bytes.is_empty() {
            let read = self.stream.async_io(Interest::READABLE, || {
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::CMSG_CLOEXEC;
                let read = recvmsg(&self.stream, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = message {
                        descriptors.extend(received);
                    }
                }
                if read.flags.contains(ReturnFlags::CTRUNC) {
                    return Err(io::Error::other("descriptors of the other agent did not fit (RLIMIT_NOFILE)"));
                }
                Ok(read.bytes)
            });
            match read.await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => bytes = &mut bytes[read..],
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one).unwrap(), Channel::new(other).unwrap())
    }

    #[tokio::test]
    async fn descriptors_arrive_with_their_message() {
        let (mut one, mut other) = pair();
        let listeners: Vec<_> = (0..BATCH).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let descriptors: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let sockets = Message::Sockets { addresses: addresses.clone(), activated: false };
        one.send(&sockets, &descriptors, SOON).await.unwrap();
        one.send(&Message::Complete, &[], SOON).await.unwrap();
        let (_, received) = other.receive(SOON).await.unwrap().unwrap();
        let received: Vec<_> =
            received.into_iter().map(|socket| TcpListener::from(socket).local_addr().unwrap()).collect();
        assert_eq!(received, addresses);
        let (last, none) = other.receive(SOON).await.unwrap().unwrap();
        assert!(matches!(last, Message::Complete) && none.is_empty());
        drop(one);
        assert!(other.is_closed() && other.receive(SOON).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_long_message_arrives_whole_and_too_long_a_one_is_refused() {
        let (mut one, mut other) = pair();
        let reason = "x".repeat(3 << 20);
        let sending = tokio::spawn(async move {
            one.send(&Message::GivenUp { reason }, &[], SOON).await.unwrap();
            let long = Message::GivenUp { reason: "x".repeat(LONGEST) };
            one.send(&long, &[], SOON).await.unwrap_err()
        });
        let (message, _) = other.receive(SOON).await.unwrap().unwrap();
        assert!(matches!(message, Message::GivenUp { reason } if reason.len() == 3 << 20));
        assert!(sending.await.unwrap().to_string().contains("too long"));
    }

    #[tokio::test]
    async fn rubbish_and_silence_are_errors() {
        let (one, mut other) = pair();
        assert_eq!(other.receive(Duration::from_millis(10)).await.unwrap_err().kind(), ErrorKind::TimedOut);
        one.stream.try_write(&[0xff; 8]).unwrap();
        assert!(other.receive(SOON).await.is_err());
    }
}
