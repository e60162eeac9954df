//! Names are resolved, again and again, by a DNS server on loopback that the test plays.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tcpshift_agent::resolve::{Answers, Resolver, Upstream};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const NAME: &str = "echo.example.com";

/// What the server says; the server fails for a family that is none.
#[derive(Clone, Debug)]
struct Said {
    v4: Option<Vec<Ipv4Addr>>,
    v6: Option<Vec<Ipv6Addr>>,
    /// Answers so far; each turns the addresses by one, if they are to be turned.
    turns: Option<usize>,
}

/// 10.0.0.`last` for each.
fn v4(last: &[u8]) -> Vec<Ipv4Addr> {
    last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)).collect()
}

fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

impl Said {
    /// These IPv4 addresses, and that there is no IPv6 address.
    fn v4(last: &[u8]) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { v4: Some(v4(last)), v6: Some(Vec::new()), turns: None }))
    }

    /// The data of the records for a question of a type, each valid for a second; none if the server fails.
    fn records(&mut self, kind: u8) -> Option<Vec<Vec<u8>>> {
        let mut records: Vec<Vec<u8>> = match kind {
            1 => self.v4.as_ref()?.iter().map(|ip| ip.octets().to_vec()).collect(),
            28 => self.v6.as_ref()?.iter().map(|ip| ip.octets().to_vec()).collect(),
            _ => Vec::new(),
        };
        if let Some(turns) = self.turns.as_mut().filter(|_| !records.is_empty()) {
            let by = *turns % records.len();
            records.rotate_left(by);
            *turns += 1;
        }
        Some(records)
    }
}

/// Answers questions on loopback.
async fn serve(said: Arc<Mutex<Said>>) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("a question");
            let query = &buffer[..length];
            // After the header: labels up to an empty one, then type and class.
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 5;
            let kind = query[end - 3];
            let records = said.lock().expect("no test panics with it").records(kind);
            // SERVFAIL is 2.
            let code = if records.is_some() { 0x80 } else { 0x82 };
            let records = records.unwrap_or_default();
            let mut answer = [&query[..2], &[0x81, code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
            answer.extend_from_slice(&query[12..end]);
            for data in records {
                answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
                answer.extend(data);
            }
            socket.send_to(&answer, client).await.expect("it is sent");
        }
    });
    (address, task)
}

async fn next(resolver: &mut Resolver) -> Arc<Answers> {
    timeout(Duration::from_secs(10), resolver.changed()).await.expect("an answer changes")
}

#[tokio::test]
async fn answers_follow_dns_and_outlive_its_server() {
    let said = Said::v4(&[1]);
    let (server, task) = serve(Arc::clone(&said)).await;
    let mut resolver = Resolver::start(Upstream::Server(server), Answers::default());
    resolver.want(&BTreeSet::from([NAME.to_owned()]));
    assert_eq!(next(&mut resolver).await[NAME], [IpAddr::from([10, 0, 0, 1])]);
    said.lock().unwrap().v4 = Some(v4(&[2]));
    assert_eq!(next(&mut resolver).await[NAME], [IpAddr::from([10, 0, 0, 2])], "it is asked again after a second");
    task.abort();
    let changed = timeout(Duration::from_secs(4), resolver.changed()).await;
    assert!(changed.is_err(), "nothing changes when the server is gone: {changed:?}");
    resolver.want(&BTreeSet::new());
    assert!(next(&mut resolver).await.is_empty(), "what is not wanted is forgotten");
}

#[tokio::test]
async fn a_family_that_the_server_fails_for_keeps_its_addresses() {
    let said = Said::v4(&[1, 2]);
    said.lock().unwrap().v6 = Some(vec![v6(1)]);
    let (server, _task) = serve(Arc::clone(&said)).await;
    let mut resolver = Resolver::start(Upstream::Server(server), Answers::default());
    resolver.want(&BTreeSet::from([NAME.to_owned()]));
    let mut all: BTreeSet<IpAddr> = v4(&[1, 2]).into_iter().map(IpAddr::from).chain([v6(1).into()]).collect();
    let as_set = |answers: &Answers| answers[NAME].iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(as_set(&*next(&mut resolver).await), all);
    // The server fails for one family, and has another address of the other.
    *said.lock().unwrap() = Said { v4: None, v6: Some(vec![v6(2)]), turns: None };
    all.remove(&v6(1).into());
    all.insert(v6(2).into());
    assert_eq!(as_set(&*next(&mut resolver).await), all, "the IPv4 addresses are kept");
    // It answers for both: that there is no IPv4 address any more is an answer.
    *said.lock().unwrap() = Said { v4: Some(Vec::new()), v6: Some(vec![v6(2)]), turns: None };
    assert_eq!(as_set(&*next(&mut resolver).await), BTreeSet::from([v6(2).into()]));
}

#[tokio::test]
async fn a_server_that_turns_its_addresses_changes_nothing() {
    let said = Said::v4(&[1, 2, 3]);
    said.lock().unwrap().turns = Some(0);
    let (server, _task) = serve(Arc::clone(&said)).await;
    let mut resolver = Resolver::start(Upstream::Server(server), Answers::default());
    resolver.want(&BTreeSet::from([NAME.to_owned()]));
    next(&mut resolver).await;
    let before = said.lock().unwrap().turns;
    let changed = timeout(Duration::from_millis(2_500), resolver.changed()).await;
    assert!(changed.is_err(), "only the order is another: {changed:?}");
    assert!(said.lock().unwrap().turns > before, "it was asked again meanwhile");
}

#[tokio::test]
async fn names_of_the_hosts_file_need_no_server() {
    let mut resolver = Resolver::start(Upstream::Host, Answers::default());
    resolver.want(&BTreeSet::from(["localhost".to_owned()]));
    assert!(next(&mut resolver).await["localhost"].iter().all(IpAddr::is_loopback));
}
