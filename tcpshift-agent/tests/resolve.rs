//! Names are resolved, again and again, by a DNS server on loopback that the test plays.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use tcpshift_agent::resolve::{Answers, Resolver, Source};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const NAME: &str = "echo.example.com";

/// Answers every question for an A record with 10.0.0.`last` for a second, and others with nothing.
async fn serve(last: Arc<AtomicU8>) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("a question");
            let query = &buffer[..length];
            // After the header: labels up to an empty one, then type and class.
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 5;
            let is_a = query[end - 4..end - 2] == [0, 1];
            let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]].concat();
            answer.extend_from_slice(&query[12..end]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, last.load(Relaxed)]);
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
    let last = Arc::new(AtomicU8::new(1));
    let (server, task) = serve(Arc::clone(&last)).await;
    let mut resolver = Resolver::start(Source::Server(server), Answers::default());
    resolver.want(&BTreeSet::from([NAME.to_owned()]));
    assert_eq!(next(&mut resolver).await[NAME], [IpAddr::from([10, 0, 0, 1])]);
    last.store(2, Relaxed);
    assert_eq!(next(&mut resolver).await[NAME], [IpAddr::from([10, 0, 0, 2])], "it is asked again after a second");
    task.abort();
    let changed = timeout(Duration::from_secs(4), resolver.changed()).await;
    assert!(changed.is_err(), "nothing changes when the server is gone: {changed:?}");
    resolver.want(&BTreeSet::new());
    assert!(next(&mut resolver).await.is_empty(), "what is not wanted is forgotten");
}

#[tokio::test]
async fn names_of_the_hosts_file_need_no_server() {
    let mut resolver = Resolver::start(Source::Host, Answers::default());
    resolver.want(&BTreeSet::from(["localhost".to_owned()]));
    assert!(next(&mut resolver).await["localhost"].iter().all(IpAddr::is_loopback));
}
