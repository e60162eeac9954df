//! What two agents say to each other when one takes over, as a stranger speaks it.
//!
//! Written apart from the agent's own channel, so that what another release says can be recorded and said again.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde_json::Value;

use crate::until::{patient, seconds};

/// Descriptors of one message: the kernel takes no more.
const BATCH: usize = 253;

/// One end of a connection between two agents: HTTP at first, then messages with descriptors.
#[derive(Debug)]
pub struct Wire(UnixStream);

impl Wire {
    /// Over a connection on which nothing has been said yet.
    pub fn new(stream: UnixStream) -> Self {
        let within = Some(patient(seconds(30)));
        stream.set_read_timeout(within).expect("a time that is not zero can be set");
        stream.set_write_timeout(within).expect("a time that is not zero can be set");
        Self(stream)
    }

    /// Says a head of HTTP.
    #[track_caller]
    pub fn say(&mut self, head: &str) {
        self.0.write_all(head.as_bytes()).unwrap_or_else(|error| panic!("{head:?} cannot be said: {error}"));
    }

    /// A head of HTTP, and nothing of what follows it.
    #[track_caller]
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("after {head:?}: {error}"));
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head of HTTP is text")
    }

    /// Says a message, with descriptors.
    #[track_caller]
    pub fn send(&mut self, message: &Value, descriptors: &[OwnedFd]) {
        let body = message.to_string();
        let length = u32::try_from(body.len()).expect("a message is short").to_be_bytes();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(&descriptors)), "too many");
        let sent = sendmsg(&self.0, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(length.len()), "{message}");
        self.0.write_all(body.as_bytes()).unwrap_or_else(|error| panic!("{message} cannot be said: {error}"));
    }

    /// The next message and its descriptors; none if the other end is closed.
    #[track_caller]
    pub fn receive(&mut self) -> Option<(Value, Vec<OwnedFd>)> {
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        if !self.read(&mut length, &mut descriptors) {
            return None;
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        assert!(self.read(&mut body, &mut descriptors), "the other end is closed within a message");
        Some((serde_json::from_slice(&body).expect("a message is JSON"), descriptors))
    }

    fn read(&mut self, mut bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> bool {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
        while !bytes.is_empty() {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let read = recvmsg(&self.0, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    descriptors.extend(received);
                }
            }
            match read.map(|read| read.bytes) {
                Ok(0) | Err(rustix::io::Errno::CONNRESET) => return false,
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) => panic!("the other agent says nothing: {error}"),
            }
        }
        true
    }
}
