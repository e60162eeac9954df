//! Clients inside the test, one connection at a time.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::noise::{Mark, Noise};
use crate::until::patient;

/// The address and port of the gateway, over IPv4.
pub const ENTRANCE: &str = "127.0.0.1:31400";

/// The deadline of a connect, a read and a write.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the peer ended its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By FIN.
    Closed,
    /// By RST.
    Reset,
    /// Not within the deadline.
    Silent,
}

/// Connects, with deadlines.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    timed(TcpStream::connect_timeout(&address, patient(PATIENCE))?)
}

/// Connects from a given address of this host.
pub fn connect_from(source: IpAddr, address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), patient(PATIENCE))?;
    timed(socket.into())
}

fn timed(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(patient(PATIENCE)))?;
    stream.set_write_timeout(Some(patient(PATIENCE)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a line and reads the answer. Returns its first word, which is the server's name. Fails with `UnexpectedEof` if the
/// peer closes without an answer, and with `ConnectionReset` if it sends a RST.
pub fn converse(stream: &TcpStream, line: &str) -> io::Result<String> {
    let (mut write, mut answer) = (stream, String::new());
    writeln!(write, "{line}")?;
    BufReader::new(stream).read_line(&mut answer)?;
    let (name, rest) = answer.trim_end().split_once(' ').ok_or(io::ErrorKind::UnexpectedEof)?;
    if rest == line {
        Ok(name.to_owned())
    } else {
        Err(io::Error::other(format!("asked {line:?}, answered {answer:?}")))
    }
}

/// Who answers at an address.
pub fn ask(address: &str) -> io::Result<String> {
    converse(&connect(address)?, "hello")
}

/// Who answers at an address, when asked from another.
pub fn ask_from(source: IpAddr, address: &str) -> io::Result<String> {
    converse(&connect_from(source, address)?, "hello")
}

/// Asks so many times, one after the other; every one must be answered.
pub fn answers(address: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            ask(address).unwrap_or_else(|error| panic!("connection {number} of {count} to {address}: {error}"))
        })
        .collect()
}

/// Asks so many times, and counts who answered. What fails is counted by its kind, as `ConnectionReset`.
pub fn tally(address: &str, count: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        let who = ask(address).unwrap_or_else(|error| format!("{:?}", error.kind()));
        *tally.entry(who).or_default() += 1;
    }
    tally
}

/// Reads to the end of the stream.
pub fn drain(mut stream: &TcpStream) -> (Mark, End) {
    let (mut mark, mut bytes) = (Mark::default(), vec![0; 65_536]);
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return (mark, End::Closed),
            Ok(count) => mark.add(&bytes[..count]),
            Err(error) => return (mark, end(&error)),
        }
    }
}

/// Sends the first `length` bytes of a seed's stream in pieces of random size.
pub fn send(mut stream: &TcpStream, seed: u64, length: u64) -> io::Result<()> {
    let (mut noise, mut sizes, mut left) = (Noise::new(seed), Noise::new(!seed), length);
    while left > 0 {
        let piece = left.min(1 + sizes.below(100_000));
        stream.write_all(&noise.take(piece as usize))?;
        left -= piece;
    }
    Ok(())
}

/// What an error of a stream says about its end.
fn end(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Silent,
        kind => panic!("a stream ended by {kind:?}: {error}"),
    }
}

/// Whether a connection is refused: nobody listens.
pub fn refused(address: &str) -> bool {
    connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
