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

const USAGE: &str = "usage: tcp-ask ask ADDRESS COUNT\n       tcp-ask rush ADDRESS CLIENTS FILE\n       \
                     tcp-ask hold ADDRESS COUNT FILE [SOURCE...]\nrush and hold go on until FILE is there";

/// How often it looks for the file, and says how far it is.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words[..] {
        ["ask", address, count] => count.parse().ok().map(|count| ask(address, count)),
        ["rush", address, clients, file] => clients.parse().ok().map(|clients| rush(address, clients, Path::new(file))),
        ["hold", address, count, file, ref sources @ ..] => {
            let held = Held { address, sources, file: file.into() };
            count.parse().ok().map(|count| held.hold(count))
        }
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
fn rush(address: &str, clients: usize, file: &Path) -> String {
    let made = AtomicUsize::new(0);
    let tallies: Vec<BTreeMap<String, usize>> = std::thread::scope(|scope| {
        let client = || {
            let mut tally = BTreeMap::new();
            while !file.exists() {
                let who = one(connect(address).and_then(|stream| converse(&stream, "hello")));
                *tally.entry(who).or_default() += 1;
                made.fetch_add(1, Ordering::Relaxed);
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
        let open: Vec<Result<(TcpStream, String, String), String>> =
            (0..count).map(|number| self.open(number)).collect();
        println!("made {count}");
        while !self.file.exists() {
            std::thread::sleep(PAUSE);
        }
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for one in open {
            let told = one.and_then(|(stream, who, peer)| again(&stream, &who, &peer)).unwrap_or_else(|why| why);
            *all.entry(told).or_default() += 1;
        }
        serde_json::json!(all).to_string()
    }

    fn open(&self, number: usize) -> Result<(TcpStream, String, String), String> {
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
