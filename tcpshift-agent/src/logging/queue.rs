//! A bounded queue of lines: adding one never waits. Lines that do not fit are counted.
//!
//! A full queue drops new lines and keeps the old ones, since the first lines about a fault tell most. One line says how many
//! are missing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of lines that wait, at most: some 10,000 lines, so that a burst is not lost while the writer is not scheduled.
const CAPACITY: usize = 2 << 20;

/// Bytes that a line takes in addition to its text.
const OVERHEAD: usize = 64;

/// A line, or a gap between lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueuedLine {
    Line(Vec<u8>),
    /// The number of lines that are missing here.
    Gap(u64),
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<QueuedLine>,
    /// Of the lines in `entries`, with their overhead.
    bytes: usize,
    /// Lines that were dropped after the last entry.
    gap: u64,
    /// Lines that could not be written. They are reported with the next line: reporting them at once would fail too.
    failed: u64,
    /// An entry was taken out and is not written yet.
    writing: bool,
    /// Lines dropped since the agent began.
    lost: u64,
}

/// The queue. One thread takes lines out, any number put them in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

impl Queue {
    /// Nothing here panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a line in, its line break included, or counts it as lost.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        let size = line.len() + OVERHEAD;
        // A line that is longer than the queue has room where nothing else is.
        if state.bytes + size > CAPACITY && !state.entries.is_empty() {
            state.gap += 1;
            state.lost += 1;
            return;
        }
        let missing = std::mem::take(&mut state.failed) + std::mem::take(&mut state.gap);
        if missing > 0 {
            state.entries.push_back(QueuedLine::Gap(missing));
        }
        state.bytes += size;
        state.entries.push_back(QueuedLine::Line(line.to_owned()));
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for the next entry. Whoever takes it says how it went by [`Queue::written`] or [`Queue::failed`].
    pub(super) fn next(&self) -> QueuedLine {
        let empty = |state: &mut State| state.entries.is_empty() && state.gap == 0;
        let mut state = self.filled.wait_while(self.state(), empty).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        match state.entries.pop_front() {
            Some(entry) => {
                if let QueuedLine::Line(line) = &entry {
                    state.bytes -= line.len() + OVERHEAD;
                }
                entry
            }
            None => QueuedLine::Gap(std::mem::take(&mut state.gap)),
        }
    }

    /// The last entry is written.
    pub(super) fn written(&self) {
        self.state().writing = false;
        self.emptied.notify_all();
    }

    /// The last entry cannot be written.
    pub(super) fn failed(&self, entry: &QueuedLine) {
        let mut state = self.state();
        match entry {
            QueuedLine::Line(_) => {
                state.lost += 1;
                state.failed += 1;
            }
            QueuedLine::Gap(lines) => state.failed += lines,
        }
        drop(state);
        self.written();
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Waits until everything is written, but not longer than this. Returns whether it is.
    pub(super) fn wait_until_empty(&self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        let mut state = self.state();
        while state.writing || state.gap > 0 || !state.entries.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            (state, _) = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// What a logger writes into: it hands over one whole line at a time.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize) -> Vec<u8> {
        format!("{number:>1023}\n").into_bytes()
    }

    /// Fills a queue and 10 lines more. Returns how many lines have room.
    fn overfull() -> (Queue, usize) {
        let queue = Queue::default();
        let room = CAPACITY / (1024 + OVERHEAD);
        (0..room + 10).for_each(|number| queue.push(&line(number)));
        (queue, room)
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_said_where_they_are_missing() {
        let (queue, room) = overfull();
        assert_eq!(queue.lost(), 10);
        assert_eq!(queue.next(), QueuedLine::Line(line(0)));
        queue.written();
        queue.push(b"later\n");
        for number in 1..room {
            assert_eq!(queue.next(), QueuedLine::Line(line(number)));
            queue.written();
        }
        assert_eq!([queue.next(), queue.next()], [QueuedLine::Gap(10), QueuedLine::Line(b"later\n".to_vec())]);
        assert_eq!(queue.lost(), 10);
    }

    #[test]
    fn lost_lines_are_said_though_no_line_follows() {
        let (queue, room) = overfull();
        (0..room).for_each(|_| drop(queue.next()));
        assert!(!queue.wait_until_empty(Duration::ZERO));
        assert_eq!(queue.next(), QueuedLine::Gap(10));
        assert!(!queue.wait_until_empty(Duration::ZERO), "the gap is taken out and not written");
        queue.written();
        assert!(queue.wait_until_empty(Duration::ZERO));
    }

    #[test]
    fn a_line_that_cannot_be_written_is_said_with_the_next_one() {
        let queue = Queue::default();
        queue.push(b"one\n");
        let entry = queue.next();
        queue.failed(&entry);
        assert!(queue.wait_until_empty(Duration::ZERO), "nothing is tried again by itself");
        queue.push(b"two\n");
        let gap = queue.next();
        assert_eq!(gap, QueuedLine::Gap(1));
        queue.failed(&gap);
        assert_eq!(queue.next(), QueuedLine::Line(b"two\n".to_vec()));
        queue.written();
        queue.push(b"three\n");
        assert_eq!([queue.next(), queue.next()], [QueuedLine::Gap(1), QueuedLine::Line(b"three\n".to_vec())]);
        assert_eq!(queue.lost(), 1);
    }

    #[test]
    fn a_line_longer_than_the_queue_is_taken_alone() {
        let queue = Queue::default();
        let long = vec![b'x'; CAPACITY * 2];
        queue.push(&long);
        queue.push(&long);
        assert_eq!(queue.next(), QueuedLine::Line(long));
        assert_eq!(queue.lost(), 1);
    }
}
