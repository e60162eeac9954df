//! A client in a process of its own, which a test puts into a control group or a network namespace: it asks servers that
//! answer lines as `tcp-echo` does, and says who answered.
//!
//! It knows nothing of tcpshift, and judges nothing: what fails is counted by its kind, as `ConnectionRefused`.
#![allow(clippy::print_stdout, reason = "what it says on standard output is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tcpshift_tests::client::{connect, connect_from, converse};
use tcpshift_tests::streams;

const USAGE: &str = "usage: tcp-ask ask ADDRESS COUNT\n       tcp-ask rush ADDRESS CLIENTS FILE [PAUSE]\n       \
                     tcp-ask hold ADDRESS COUNT FILE [SOURCE...]\n       tcp-ask talk ADDRESS COUNT FILE\n       \
                     tcp-ask stream ADDRESS ROUNDS\nrush, hold and talk go on until FILE is there; \
                     PAUSE is milliseconds between two connections of a client, 0 if it is not given";

/// How often it looks for the file, and says how far it is.
const PAUSE: Duration = Duration::from_millis(20);

/// How long it waits from one thing said to the next: long enough to leave an emulated machine time for others.
const BREATH: Duration = Duration::from_millis(25);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words[..] {
        ["ask", address, count] => count.parse().ok().map(|count| ask(address, count)),
        ["rush", address, clients, file, ref pause @ ..] => {
            let pause = pause.first().map_or(Ok(0), |pause| pause.parse()).map(Duration::from_millis);
            let numbers = clients.parse().ok().zip(pause.ok());
            numbers.map(|(clients, pause)| rush(address, clients, pause, Path::new(file)))
        }
        ["hold", address, count, file, ref sources @ ..] => {
            let held = Held { address, sources, file: file.into() };
            count.parse().ok().map(|count| held.hold(count))
        }
        ["talk", address, count, file] => {
            let held = Held { address, sources: &[], file: file.into() };
            count.parse().ok().map(|count| held.talk(count))
        }
        ["stream", address, rounds] => rounds.parse().ok().map(|rounds| stream(address, rounds)),
        _ => None,
    };
    let Some(said) = said else {
        println!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("{said}");
    ExitCode::SUCCESS
}

/// The answer to one connection, or the kind of its failure.
fn one(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// One connection after the other: who answered each, and whom the client takes for its peers.
fn ask(address: &str, count: usize) -> String {
    let mut peers = BTreeSet::new();
    let mut asked = || {
        let stream = connect(address)?;
        peers.insert(stream.peer_addr()?.to_string());
        converse(&stream, "hello")
    };
    let order: Vec<String> = (0..count).map(|_| one(asked())).collect();
    serde_json::json!({ "order": order, "peers": peers }).to_string()
}

/// Several clients, each of which makes one connection after the other: who answered how many.
fn rush(address: &str, clients: usize, pause: Duration, file: &Path) -> String {
    let made = AtomicUsize::new(0);
    let tallies: Vec<BTreeMap<String, usize>> = std::thread::scope(|scope| {
        let client = || {
            let mut tally = BTreeMap::new();
            while !file.exists() {
                let who = one(connect(address).and_then(|stream| converse(&stream, "hello")));
                *tally.entry(who).or_default() += 1;
                made.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            tally
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        while !file.exists() {
            println!("made {}", made.load(Ordering::Relaxed));
            std::thread::sleep(PAUSE);
        }
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    });
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for (who, count) in tallies.into_iter().flatten() {
        *all.entry(who).or_default() += count;
    }
    serde_json::json!(all).to_string()
}

/// Streams both ways, one connection after the other: bytes that were sent and received, and what was wrong.
fn stream(address: &str, rounds: u64) -> String {
    let (mut sent, mut received, mut faults) = (0, 0, Vec::new());
    for round in 0..rounds {
        let done = connect(address).map_err(|error| format!("round {round}: {error}"));
        faults.extend(done.and_then(|stream| streams::converse(&stream, round)).err());
        let (up, down) = streams::lengths(round);
        (sent, received) = (sent + streams::HEAD + up, received + down);
    }
    serde_json::json!({ "sent": sent, "received": received, "faults": faults }).to_string()
}

/// Connections that stay open.
struct Held<'a> {
    address: &'a str,
    /// Where they come from, by turns; from wherever the kernel chooses if it is empty.
    sources: &'a [&'a str],
    file: PathBuf,
}

impl Held<'_> {
    /// Opens them all, and asks each again at the end: it must be answered by whoever answered it before.
    fn hold(&self, count: usize) -> String {
        let open: Vec<Opened> = (0..count).map(|number| self.open(number)).collect();
        println!("made {count}");
        while !self.file.exists() {
            std::thread::sleep(PAUSE);
        }
        tally(open)
    }

    /// Opens them all, and has each say something by turns, over and over: it must be answered by whoever answered it
    /// before. What it says it has made are exchanges. It ends as [`Held::hold`] does.
    fn talk(&self, count: usize) -> String {
        let mut open: Vec<Opened> = (0..count).map(|number| self.open(number)).collect();
        let mut exchanges = count;
        println!("made {exchanges}");
        while !self.file.exists() {
            for one in &mut open {
                if let Ok((stream, who, peer)) = one {
                    let said = again(stream, who, peer);
                    if let Err(why) = said {
                        *one = Err(why);
                    }
                    exchanges += 1;
                }
                std::thread::sleep(BREATH);
            }
            println!("made {exchanges}");
        }
        tally(open)
    }

    fn open(&self, number: usize) -> Opened {
        let opened = || {
            let stream = match self.sources.get(number % self.sources.len().max(1)) {
                Some(source) => connect_from(source.parse().map_err(io::Error::other)?, self.address)?,
                None => connect(self.address)?,
            };
            let (who, peer) = (converse(&stream, "hello")?, stream.peer_addr()?.to_string());
            Ok((stream, who, peer))
        };
        opened().map_err(|error: io::Error| format!("{:?} at first", error.kind()))
    }
}

/// A connection with who answered it and whom it takes for its peer; or why there is none.
type Opened = Result<(TcpStream, String, String), String>;

/// Asks each a last time, and counts who answered.
fn tally(open: Vec<Opened>) -> String {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for one in open {
        let told = one.and_then(|(stream, who, peer)| again(&stream, &who, &peer)).unwrap_or_else(|why| why);
        *all.entry(told).or_default() += 1;
    }
    serde_json::json!(all).to_string()
}

/// Who answers now, if it is who answered before, and the client takes the same address for its peer.
fn again(stream: &TcpStream, who: &str, peer: &str) -> Result<String, String> {
    let now = converse(stream, "hello again").map_err(|error| format!("{:?} at last", error.kind()))?;
    let peer_now = stream.peer_addr().map_err(|error| format!("{:?} for a peer", error.kind()))?.to_string();
    if now != who {
        Err(format!("{who} became {now}"))
    } else if peer_now != peer {
        Err(format!("the peer {peer} became {peer_now}"))
    } else {
        Ok(now)
    }
}
