//! The agent's ends of the channels to the helper: one request at a time on each, and no answer is waited for without an end.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Duty;
use super::message::{Received, WORDS, at, receive, send};

/// Between two looks whether another thread still asks.
const PAUSE: Duration = Duration::from_millis(1);

/// The way to the thread for a duty.
#[derive(Debug)]
pub(super) struct DutyLine {
    pub(super) duty: Duty,
    is_released: AtomicBool,
    channel: Mutex<Channel>,
}

#[derive(Debug)]
struct Channel {
    /// None once it is of no use.
    socket: Option<OwnedFd>,
    /// Requests so far.
    number: u64,
}

impl DutyLine {
    /// The agent's end of a channel.
    pub(super) fn new(duty: Duty, socket: OwnedFd) -> Self {
        let channel = Channel { socket: Some(socket), number: 0 };
        Self { duty, is_released: AtomicBool::new(false), channel: Mutex::new(channel) }
    }

    /// Closes it for good.
    pub(super) fn release(&self) {
        self.is_released.store(true, Relaxed);
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).socket = None;
    }

    /// Whether it is closed for good.
    pub(super) fn is_released(&self) -> bool {
        self.is_released.load(Relaxed)
    }

    /// Asks for something, and waits so long for the answer.
    pub(super) fn ask(
        &self,
        what: u64,
        body: &[u64],
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> io::Result<Received> {
        let until = Instant::now() + within;
        loop {
            if let Some(answer) = self.ask_if_free(what, body, descriptors, until) {
                return answer;
            }
            // Another thread asks, and may wait for longer than this one can.
            if Instant::now() >= until {
                return Err(gone(ErrorKind::TimedOut.into()));
            }
            thread::sleep(PAUSE);
        }
    }

    /// As [`DutyLine::ask`]; none if another thread asks.
    pub(super) fn ask_if_free(
        &self,
        what: u64,
        body: &[u64],
        descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> Option<io::Result<Received>> {
        let mut channel = match self.channel.try_lock() {
            Ok(channel) => channel,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(channel.ask(what, body, descriptors, until))
    }
}

impl Channel {
    /// Asks for something, and waits for the answer until then.
    fn ask(&mut self, what: u64, body: &[u64], descriptors: &[BorrowedFd<'_>], until: Instant) -> io::Result<Received> {
        let socket = self.socket.as_ref().ok_or(Errno::PERM)?;
        self.number += 1;
        let mut words = [0; WORDS];
        (words[at::HEAD], words[at::NUMBER]) = (what, self.number);
        words[at::BODY..].iter_mut().zip(body).for_each(|(word, said)| *word = *said);
        send(socket, &words, descriptors).map_err(gone)?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = receive(socket, Some(left)).map_err(gone)?.ok_or_else(|| gone(Errno::PIPE.into()))?;
            // The answer to one that was not waited for any more comes before it.
            if answer.words[at::NUMBER] != self.number {
                continue;
            }
            return if answer.words[at::HEAD] == 0 { Ok(answer) } else { Err(errno(answer.words[at::HEAD])) };
        }
    }
}

impl Received {
    /// As many descriptors as are asked for.
    pub(super) fn take<const N: usize>(self) -> io::Result<[OwnedFd; N]> {
        self.descriptors.try_into().map_err(|_| ErrorKind::InvalidData.into())
    }
}

/// An error by its number.
pub(super) fn errno(number: u64) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(number).unwrap_or(i32::MAX))
}

/// What to say where the helper is not there any more, or is late.
fn gone(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => io::Error::other(
            "the process tcpshift-rights, which has the right to this, has ended; start the agent again, or another one by \
             `run --takeover`",
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => io::Error::new(
            ErrorKind::TimedOut,
            "the process tcpshift-rights, which has the right to this, does not answer",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (DutyLine, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (DutyLine::new(Duty::Ports, ours), theirs)
    }

    #[test]
    fn a_late_answer_is_not_taken_for_another_one() {
        let (line, helper) = pair();
        let late = line.ask(1, &[], &[], Duration::from_millis(10)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        let mut answer = [0; WORDS];
        (answer[at::NUMBER], answer[at::BODY]) = (1, 11);
        send(&helper, &answer, &[helper.as_fd()]).unwrap();
        (answer[at::NUMBER], answer[at::BODY]) = (2, 22);
        send(&helper, &answer, &[]).unwrap();
        let answer = line.ask(1, &[], &[], Duration::from_secs(20)).unwrap();
        assert_eq!((answer.words[at::BODY], answer.descriptors.len()), (22, 0));
    }

    #[test]
    fn nobody_waits_for_long_where_nobody_answers() {
        let (line, helper) = pair();
        let began = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| line.ask(1, &[], &[], Duration::from_secs(2)).unwrap_err());
            thread::sleep(Duration::from_millis(100));
            assert!(line.ask_if_free(1, &[], &[], Instant::now()).is_none());
            let error = line.ask(1, &[], &[], Duration::from_millis(50)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
        });
        // Requests that nobody reads are bounded by the kernel.
        let asked = (0..10_000).find_map(|_| {
            line.ask(1, &[], &[], Duration::ZERO).err().filter(|error| error.kind() != ErrorKind::TimedOut)
        });
        assert!(asked.is_none(), "{asked:?}");
        drop(helper);
        let error = line.ask(1, &[], &[], Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().contains("has ended"), "{error}");
    }
}
