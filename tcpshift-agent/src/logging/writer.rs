//! The thread that writes the lines of the queue to standard error, and waits for its reader.
//!
//! It does not take Rust's lock of standard error, so that no other thread waits for this one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::queue::{Queue, QueuedLine};
use crate::trust::rights;

/// Starts the thread. It ends with the process.
pub(super) fn start(queue: Arc<Queue>) -> io::Result<()> {
    thread::Builder::new().name("log".to_owned()).spawn(move || {
        drop_rights();
        let stderr = io::stderr();
        loop {
            let entry = queue.next();
            let written = match &entry {
                QueuedLine::Line(line) => write(stderr.as_fd(), line),
                QueuedLine::Gap(lines) => write(stderr.as_fd(), gap(*lines).as_bytes()),
            };
            match written {
                Ok(()) => queue.written(),
                Err(_) => queue.failed(&entry),
            }
        }
    })?;
    Ok(())
}

/// Capabilities belong to a thread, and this one starts before the agent drops those it does not need.
fn drop_rights() {
    if let Err(error) = rights::keep(CapabilitySet::empty()) {
        log::warn!("the thread that writes the log cannot drop its capabilities: {error}");
    }
}

/// The line that says how many lines are missing. It is written at every log level.
fn gap(lines: u64) -> String {
    let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("[{now} WARN  {}] {lines} of the log lost here: standard error was not read\n", module_path!())
}

/// Writes all of it, however long it takes.
fn write(output: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(count) => bytes = &bytes[count.min(bytes.len())..],
            Err(Errno::INTR) => {}
            // Another process that shares the file description has set O_NONBLOCK.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&output, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;

    use super::*;

    #[test]
    fn an_output_that_does_not_wait_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let long = vec![b'x'; 1 << 20];
        let count = thread::spawn(move || reader.read_to_end(&mut Vec::new()).unwrap());
        write(writer.as_fd(), &long).unwrap();
        drop(writer);
        assert_eq!(count.join().unwrap(), 1 << 20);
    }

    #[test]
    fn a_gap_reads_like_a_line() {
        assert!(gap(1).contains(" WARN  tcpshift_agent::logging::writer] 1 line of the log lost here"), "{}", gap(1));
        assert!(gap(12).ends_with("12 lines of the log lost here: standard error was not read\n"));
    }
}
