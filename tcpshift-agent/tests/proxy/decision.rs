//! The plan's decision is obeyed: shares, routes by client, refusals, and other endpoints when one fails.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_agent::connections::ConnectionFailure;
use tcpshift_agent::plan::{HashTable, Unusable};
use tcpshift_agent::route::model::policy::HashAlgorithm;
use tcpshift_common::address::Prefix;
use tcpshift_common::decide::steer;
use tcpshift_common::destination::policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::world::{Serving, World, destination, endpoint, listener, plan, reserve, route, simple, soon};

/// An endpoint that says its name.
async fn named(name: &'static str) -> Serving {
    endpoint(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut said = String::new();
    soon(async { TcpStream::connect(address).await?.read_to_string(&mut said).await }).await?;
    Ok(said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequence_splits_any_ten_in_a_row() {
    let (one, two) = (named("one").await, named("two").await);
    let at = reserve("127.0.0.1");
    let destinations = vec![destination(1, 80, &[(1, one.address)]), destination(2, 20, &[(2, two.address)])];
    let world = World::new(&simple(1, at.address, steer::SEQUENCE, destinations)).await;
    let mut said = Vec::new();
    for _ in 0..100 {
        said.push(ask(at.address).await.unwrap());
    }
    for ten in said.windows(10) {
        assert_eq!(ten.iter().filter(|said| *said == "two").count(), 2, "{ten:?}");
    }
    assert_eq!(world.destination(1).opened.load(Relaxed), 80);
    assert_eq!(world.destination(2).opened.load(Relaxed), 20);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_dial_tries_another_endpoint_and_no_other_destination() {
    let (good, other) = (named("good").await, named("other").await);
    let (at, dead) = (reserve("127.0.0.1"), reserve("127.0.0.1"));
    // The second destination has slots too, but every second connection finds only the dead endpoint there.
    let destinations = vec![
        destination(1, 50, &[(1, dead.address), (2, good.address)]),
        destination(2, 50, &[(3, dead.address), (4, dead.address), (5, dead.address), (6, dead.address)]),
        destination(3, 0, &[(7, other.address)]),
    ];
    let world = World::new(&simple(1, at.address, steer::SEQUENCE, destinations)).await;
    let (mut served, mut refused) = (0, 0);
    for _ in 0..40 {
        match ask(at.address).await {
            Ok(said) => {
                assert_eq!(said, "good");
                served += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                refused += 1;
            }
        }
    }
    assert_eq!((served, refused), (20, 20));
    assert_eq!(world.destination(1).failures().count(), 0);
    assert_eq!(world.destination(2).failures().collect::<Vec<_>>(), [(ConnectionFailure::ConnectRefused, 20)]);
    let endpoint = |number| world.connections.endpoints.get(number);
    assert_eq!([endpoint(2).opened, endpoint(2).failed].map(|count| count.load(Relaxed)), [20, 0]);
    assert!(endpoint(1).failed.load(Relaxed) > 0, "LEAST_REQUEST drew the dead one now and then");
    // Three attempts for each connection, each at another endpoint.
    assert_eq!((3..7).map(|number| endpoint(number).failed.load(Relaxed)).sum::<u64>(), 60);
    assert_eq!((3..7).map(|number| endpoint(number).opened.load(Relaxed)).sum::<u64>(), 60);
    assert_eq!((1..7).map(|number| world.connections.endpoints.load(number)).sum::<u64>(), 0);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_cannot_be_served_is_reset_and_counted() {
    let good = named("good").await;
    let at = reserve("127.0.0.1");
    let mut missing = destination(2, 50, &[]);
    missing.set.unusable = Some(Unusable::UnknownSubset);
    let destinations = vec![destination(1, 50, &[(1, good.address)]), missing];
    let world = World::new(&simple(1, at.address, steer::SEQUENCE, destinations)).await;
    let mut served = 0;
    for _ in 0..20 {
        match ask(at.address).await {
            Ok(_) => served += 1,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(served, 10);
    assert_eq!(world.destination(2).failures().collect::<Vec<_>>(), [(ConnectionFailure::UnknownSubset, 10)]);
    assert_eq!(world.destination(2).opened.load(Relaxed), 10);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_routed_by_its_address_on_a_dual_stack_listener() {
    let (near, six) = (named("near").await, named("six").await);
    let at = reserve("::");
    let loopback = |last, bits| Prefix::v4([127, 0, 0, last], bits);
    let routes = [
        (loopback(1, 32), route(1, steer::CONNECTION, vec![destination(1, 1, &[(1, near.address)])])),
        (Prefix::v6([0; 16], 0), route(2, steer::CONNECTION, vec![destination(2, 1, &[(2, six.address)])])),
    ];
    let world = World::new(&plan(1, vec![listener(5, at.address, &routes)])).await;
    let port = at.address.port();
    let from = async |ip: &str, to: &str| {
        let (from, to) = (SocketAddr::new(ip.parse().unwrap(), 0), SocketAddr::new(to.parse().unwrap(), port));
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(from).unwrap();
        let mut said = String::new();
        soon(async { socket.connect(to).await?.read_to_string(&mut said).await }).await.map(|_| said)
    };
    assert_eq!(from("127.0.0.1", "127.0.0.1").await.unwrap(), "near");
    assert_eq!(from("::1", "::1").await.unwrap(), "six");
    assert_eq!(from("127.0.0.3", "127.0.0.1").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let count = world.connections.listeners.get(5);
    assert_eq!((count.accepted.load(Relaxed), count.unrouted.load(Relaxed)), (3, 1));
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_its_endpoint_and_has_another_while_that_refuses() {
    let mut servers = Vec::new();
    for name in ["one", "two", "three", "four"] {
        servers.push(named(name).await);
    }
    let (at, dead) = (reserve("127.0.0.1"), reserve("127.0.0.1"));
    let sticky = |endpoints: &[(u32, SocketAddr)]| {
        let mut one = destination(1, 1, endpoints);
        let named = endpoints.iter().map(|(_, address)| (address.to_string(), 1)).collect();
        let table = HashTable::new(HashAlgorithm::Ring { places: 1024 }, named);
        (one.set.decides.policy, one.set.decides.places) = (policy::SOURCE_HASH, table.places());
        one.set.hashing = Some(table);
        simple(1, at.address, steer::CONNECTION, vec![one])
    };
    let mut all: Vec<_> = (1..).zip(servers.iter().map(|server| server.address)).collect();
    let mut world = World::new(&sticky(&all)).await;
    let clients: Vec<SocketAddr> = (1..40).map(|last| SocketAddr::from(([127, 0, 1, last], 0))).collect();
    let ask_from = async |client: SocketAddr| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(client).unwrap();
        let mut said = String::new();
        let mut stream = soon(socket.connect(at.address)).await.unwrap();
        soon(stream.read_to_string(&mut said)).await.unwrap();
        said
    };
    let mut before = Vec::new();
    for client in &clients {
        before.push(ask_from(*client).await);
        for _ in 0..3 {
            assert_eq!(ask_from(*client).await, before[before.len() - 1]);
        }
    }
    for name in ["one", "two", "three", "four"] {
        assert!(before.iter().any(|said| said == name), "{before:?}");
    }
    // One more that refuses everybody: who was led there goes on to another, always the same one; nobody else moves.
    all.push((5, dead.address));
    world.publish(sticky(&all)).await;
    let mut moved = 0;
    for (client, before) in clients.iter().zip(&before) {
        let now = ask_from(*client).await;
        assert_eq!(ask_from(*client).await, now);
        moved += usize::from(now != *before);
    }
    assert!(moved < 25, "{moved} of 39");
    assert!(world.connections.endpoints.get(5).failed.load(Relaxed) > 0);
    assert_eq!(world.destination(1).failures().count(), 0);
    world.ends_empty().await;
}
