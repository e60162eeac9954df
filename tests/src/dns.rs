//! The DNS of a world: what names stand for is what the test says, and when they are answered.
//!
//! The world's programs find it by `/etc/resolv.conf`, as they would find any other.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::mount::mount_bind;

use crate::world::World;

/// The file that names the DNS server.
const CONFIGURATION: &str = "/etc/resolv.conf";

/// For how long an answer is valid, in seconds.
const VALID: u8 = 1;

/// A server that answers every question for an IPv4 address, for as long as the test runs.
#[derive(Clone, Debug, Default)]
pub struct Dns(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    names: HashMap<String, Ipv4Addr>,
    delay: Duration,
}

impl Dns {
    /// Becomes the DNS of the world that this thread is in.
    pub fn start(world: &World) -> Self {
        let configuration = world.write("resolv.conf", "nameserver 127.0.0.1\n");
        // A mount follows a link: the file that the link names is replaced.
        let place = Path::new(CONFIGURATION);
        mount_bind(&configuration, place).unwrap_or_else(|error| panic!("cannot mount {CONFIGURATION}: {error}"));
        let dns = Self::default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("port 53 of a fresh world is free");
        let answers = dns.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let (question, delay) = (packet[..length].to_vec(), answers.with(|answers| answers.delay));
                let (socket, answers) = (socket.try_clone().expect("a socket can be copied"), answers.clone());
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    // The client may have closed its socket.
                    socket.send_to(&answers.answer(&question), client).ok();
                });
            }
        });
        dns
    }

    /// What a name stands for from now on.
    pub fn say(&self, name: &str, address: Ipv4Addr) {
        self.with(|answers| answers.names.insert(name.to_owned(), address));
    }

    /// How long everybody has to wait for an answer from now on.
    pub fn delay(&self, delay: Duration) {
        self.with(|answers| answers.delay = delay);
    }

    fn with<T>(&self, what: impl FnOnce(&mut Answers) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As RFC 1035 has it (4.1): the header, the question again, and an address if there is one of the kind that was asked for.
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let (mut name, mut at) = (Vec::new(), 12);
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            name.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
            at = end;
        }
        let end = at + 5;
        let is_v4 = question[at + 1..at + 3] == [0, 1];
        let known = self.with(|answers| answers.names.get(&name.join(".")).copied());
        let address = known.filter(|_| is_v4);
        // NXDOMAIN for an unknown name.
        let code = if known.is_some() { 0x80 } else { 0x83 };
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        if let Some(address) = address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, VALID, 0, 4]);
            answer.extend(address.octets());
        }
        answer
    }
}
