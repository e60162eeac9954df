//! What a client has sent before its endpoint is there.
//!
//! It is written to whichever endpoint takes the connection, and by the first write: so it is read at once where it has come
//! with the connection, and is not waited for.

use std::io;

use super::super::pool::{Buffer, Class, Pool};
use super::super::stream::Stream;

/// Bytes that are read, if there are any.
#[derive(Debug, Default)]
pub(in crate::proxy) struct FirstBytes(pub(super) Option<Buffer>);

impl FirstBytes {
    /// Reads what a small buffer has room for, if there is something. That a client has ended its stream is seen again; that
    /// it is broken is told once, and it has none then.
    pub(in crate::proxy) fn of(client: &Stream, pool: &Pool) -> Option<Self> {
        let mut buffer = pool.take(Class::default());
        let read = client.read(buffer.bytes());
        if read.as_ref().is_ok_and(|count| *count > 0) {
            return Some(Self(Some(buffer)));
        }
        pool.give(buffer);
        let is_broken = read.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        (!is_broken).then(Self::default)
    }

    /// Whether there are any.
    pub(in crate::proxy) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Writes them to an endpoint; how many were. None are if there are none.
    pub(in crate::proxy) fn write(&mut self, to: &Stream) -> io::Result<usize> {
        let Some(buffer) = &mut self.0 else { return Ok(0) };
        to.write(buffer.unwritten()).inspect(|count| buffer.wrote(*count))
    }
}
