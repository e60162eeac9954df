//! A DNS server whose answers are other ones each time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

/// Where it listens: an address of the loopback that nobody else is likely to have.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 153, 53, 53);

/// For how many seconds an answer is valid.
const VALID: u32 = 1;

/// Counts its answers, each of which replaces all addresses of a name: so many go, and so many come.
#[derive(Clone, Debug)]
pub(super) struct Dns {
    answered: Arc<AtomicUsize>,
}

impl Dns {
    /// The one server of this process, which answers with so many addresses from now on.
    pub(super) fn get(addresses: u8) -> Self {
        static STARTED: OnceLock<Dns> = OnceLock::new();
        STARTED.get_or_init(|| Self::start(addresses)).clone()
    }

    fn start(addresses: u8) -> Self {
        let dns = Self { answered: Arc::default() };
        let socket = UdpSocket::bind((ADDRESS, 53)).unwrap();
        let answered = Arc::clone(&dns.answered);
        std::thread::spawn(move || {
            let (mut packet, mut turns) = ([0; 1500], HashMap::new());
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let question = Message::from_vec(&packet[..length]).unwrap();
                let mut answer = Message::response(question.metadata.id, OpCode::Query);
                for query in question.queries {
                    if query.query_type() == RecordType::A {
                        let turn: &mut u8 = turns.entry(query.name().clone()).or_default();
                        *turn = (*turn + 1) % 2;
                        let address = |last| RData::A(A(Ipv4Addr::new(10, 200, *turn, last)));
                        let record = |last| Record::from_rdata(query.name().clone(), VALID, address(last));
                        answer.add_answers((1..=addresses).map(record));
                        answered.fetch_add(1, Relaxed);
                    }
                    answer.add_query(query);
                }
                drop(socket.send_to(&answer.to_vec().unwrap(), client));
            }
        });
        dns
    }

    /// Answers that were given until now.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }
}
