//! Streams both ways at once, each of random bytes and of random length, checked at both ends; each end closes its half when
//! it has sent all.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::scope;

use crate::client::{End, drain, send};
use crate::noise::{Mark, Noise};
use crate::server::Server;

/// The longest of the streams of a round, by turns: bytes.
const LONGEST: [u64; 5] = [0, 1, 100, 70_000, 3_000_000];

/// Bytes that a client sends before its stream: which round it is.
pub const HEAD: u64 = 8;

/// How long the streams of a round are, in bytes: to the server, and to the client.
pub fn lengths(round: u64) -> (u64, u64) {
    let most = 1 + LONGEST[(round % LONGEST.len() as u64) as usize];
    let mut lengths = Noise::new(!round);
    (lengths.below(most), lengths.below(most))
}

/// The seeds of a round's streams, in the same order.
fn seeds(round: u64) -> (u64, u64) {
    (2 * round, 2 * round + 1)
}

/// A server of such streams. For each connection it hands out what was wrong, if anything was.
pub fn server(address: &str) -> (Server, Receiver<Result<(), String>>) {
    let (sender, seen) = channel();
    let server = Server::each(address, move |mut stream| {
        let mut round = [0; HEAD as usize];
        stream.read_exact(&mut round)?;
        let round = u64::from_le_bytes(round);
        let ((up, down), (own, others)) = (lengths(round), seeds(round));
        let judged = both(&stream, (others, down), (own, up));
        sender.send(judged.map_err(|why| format!("round {round}, at the server: {why}"))).map_err(io::Error::other)
    });
    (server, seen)
}

/// A client of such a server.
pub fn converse(mut stream: &TcpStream, round: u64) -> Result<(), String> {
    let ((up, down), (own, others)) = (lengths(round), seeds(round));
    let judged = match stream.write_all(&round.to_le_bytes()) {
        Ok(()) => both(stream, (own, up), (others, down)),
        Err(error) => Err(error.to_string()),
    };
    judged.map_err(|why| format!("round {round}, at the client: {why}"))
}

/// Sends one stream while it reads the other; both are given by seed and length.
fn both(stream: &TcpStream, sent: (u64, u64), expected: (u64, u64)) -> Result<(), String> {
    let (got, end) = scope(|scope| {
        let reader = scope.spawn(|| drain(stream));
        let sent = send(stream, sent.0, sent.1).and_then(|()| stream.shutdown(Shutdown::Write));
        let read = reader.join().map_err(|_| "it ended by an unknown error".to_owned())?;
        sent.map(|()| read).map_err(|error| format!("not all is sent: {error}"))
    })?;
    let (seed, length) = expected;
    if end != End::Closed {
        Err(format!("{} of {length} bytes came, and the end was {end:?}", got.length))
    } else if got != Mark::of(seed, length) {
        Err(format!("{} bytes came, and {length} were sent or they are others", got.length))
    } else {
        Ok(())
    }
}
