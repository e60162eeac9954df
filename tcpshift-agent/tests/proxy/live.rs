//! Live connections are listed as they are, and are ended on request: at a quiet moment, in order, and no others.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpshift_agent::connections::{Ended, LiveConnection, LiveFilter, LiveStage};
use tcpshift_agent::plan::Limits;
use tcpshift_common::address::Prefix;
use tcpshift_common::decide::steer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use crate::world::{
    Reserved, Serving, World, destination, endpoint, full_queue, listener, plan, reserve, route, simple, soon, until,
};

async fn echo() -> Serving {
    endpoint(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    })
    .await
}

/// Two destinations with one endpoint each, 11 and 12.
async fn two() -> (World, Reserved, [Serving; 2]) {
    let (one, other, at) = (echo().await, echo().await, reserve("127.0.0.1"));
    let targets = vec![destination(1, 1, &[(11, one.address)]), destination(2, 1, &[(12, other.address)])];
    let world = World::new(&simple(1, at.address, steer::SEQUENCE, targets)).await;
    (world, at, [one, other])
}

async fn exchange(stream: &mut TcpStream, bytes: usize) {
    stream.write_all(&vec![b'x'; bytes]).await.unwrap();
    soon(stream.read_exact(&mut vec![0; bytes])).await.unwrap();
}

async fn connected(at: &Reserved) -> TcpStream {
    let mut stream = soon(TcpStream::connect(at.address)).await.unwrap();
    exchange(&mut stream, 4).await;
    stream
}

fn to(destination: u32) -> LiveFilter {
    LiveFilter { destinations: Some(BTreeSet::from([destination])), ..LiveFilter::default() }
}

impl World {
    async fn all(&self) -> Vec<LiveConnection> {
        soon(self.proxy.live(&LiveFilter::default())).await
    }
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let ended = soon(stream.read_to_end(&mut Vec::new())).await;
    ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_listed_with_its_client_its_endpoint_and_its_bytes() {
    let (world, at, _servers) = two().await;
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = connected(&at).await;
        exchange(&mut client, 1000 + number).await;
        clients.push(client);
    }
    let listed = world.all().await;
    assert_eq!(listed.len(), 40);
    for (number, client) in clients.iter().enumerate() {
        let address = client.local_addr().unwrap();
        let mine: Vec<_> = listed.iter().filter(|one| one.client == Some(address)).collect();
        let [one] = mine[..] else { panic!("{address} is listed {} times", mine.len()) };
        assert_eq!(one.bytes, Some([1004 + number as u64; 2]));
        assert_eq!(one.endpoint, Some(one.decided.destination + 10));
        assert_eq!(one.stage, LiveStage::Open);
        assert!(one.age >= one.idle && one.age.is_some_and(|age| age < Duration::from_mins(1)));
    }
    let sums = |world: &World, number| {
        let count = world.destination(number);
        [&count.sent, &count.received].map(|sum| sum.load(std::sync::atomic::Ordering::Relaxed))
    };
    for number in [1, 2] {
        let part = soon(world.proxy.live(&to(number))).await;
        assert_eq!(part.len(), 20);
        let forth: u64 = part.iter().filter_map(|one| one.bytes).map(|[forth, _]| forth).sum();
        assert_eq!(sums(&world, number), [forth; 2]);
    }
    let by_endpoint = LiveFilter { endpoints: Some(BTreeSet::from([11])), ..to(2) };
    assert_eq!(soon(world.proxy.live(&by_endpoint)).await, []);
    clients[0].shutdown().await.unwrap();
    soon(clients[0].read_to_end(&mut Vec::new())).await.unwrap();
    until("one is over", || world.connections.active() == 39).await;
    assert_eq!(world.all().await.len(), 39);
    drop(clients);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_meant_is_ended_in_order_and_nobody_else() {
    let (world, at, _servers) = two().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(connected(&at).await);
    }
    let listed = world.all().await;
    let destination = |client: &TcpStream| {
        let address = client.local_addr().unwrap();
        listed.iter().find(|one| one.client == Some(address)).unwrap().decided.destination
    };
    assert_eq!(soon(world.proxy.close(&to(2), 30)).await, 30);
    assert_eq!(soon(world.proxy.close(&to(2), usize::MAX)).await, 70);
    assert_eq!(soon(world.proxy.close(&to(2), usize::MAX)).await, 0, "they are being ended already");
    for client in &mut clients {
        if destination(client) == 2 {
            assert_eq!(soon(client.read(&mut [0])).await.unwrap(), 0, "it is ended in order");
            client.shutdown().await.unwrap();
        } else {
            exchange(client, 100).await;
        }
    }
    until("they are gone", || world.connections.active() == 100).await;
    assert_eq!(world.destination(2).ended().collect::<Vec<_>>(), [(Ended::Closed, 100)]);
    assert_eq!(world.destination(1).ended().count(), 0);
    drop(clients);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_under_way_arrives_before_the_end() {
    let server = endpoint(|mut stream| async move {
        let mut question = [0; 8];
        while stream.read_exact(&mut question).await.is_ok() {
            for _ in 0..20 {
                stream.write_all(&[b'a'; 1000]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    })
    .await;
    let (world, at) = World::towards(&server).await;
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    client.write_all(b"question").await.unwrap();
    soon(client.read_exact(&mut [0; 1000])).await.unwrap();
    assert_eq!(soon(world.proxy.close(&LiveFilter::default(), usize::MAX)).await, 1);
    assert_eq!(world.all().await[0].stage, LiveStage::Closing);
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len(), 19_000);
    drop(client);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_end_is_reset() {
    let (world, at, _servers) = two().await;
    let (mut stays, mut speaks, mut never_quiet) = (connected(&at).await, connected(&at).await, connected(&at).await);
    let begun = Instant::now();
    assert_eq!(soon(world.proxy.close(&LiveFilter::default(), usize::MAX)).await, 3);
    let busy = tokio::spawn(async move {
        // More than fits in flight, so that bytes are on their way at every moment.
        let (mut reader, mut writer) = never_quiet.split();
        let write = async { while writer.write_all(&vec![b'x'; 1 << 20]).await.is_ok() {} };
        let read = async {
            let mut got = vec![0; 1 << 16];
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if reader.read(&mut got).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        };
        tokio::join!(write, read);
        begun.elapsed()
    });
    assert_eq!(soon(speaks.read(&mut [0])).await.unwrap(), 0);
    speaks.write_all(b"too late").await.unwrap();
    // What comes after the end is lost, and that must be seen.
    soon(speaks.ready(Interest::ERROR)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(soon(stays.read(&mut [0])).await.unwrap(), 0);
    let after = soon(busy).await.unwrap();
    assert!(after >= Duration::from_millis(4900), "{after:?}");
    until("all are over", || world.connections.active() == 0).await;
    soon(stays.ready(Interest::ERROR)).await.unwrap();
    let closed: u64 = [1, 2].iter().flat_map(|number| world.destination(*number).ended()).map(|(_, count)| count).sum();
    assert_eq!(closed, 3);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dials_is_listed_and_ended_at_once() {
    let (address, _full) = full_queue().await;
    let at = reserve("127.0.0.1");
    let world = World::new(&simple(1, at.address, steer::CONNECTION, vec![destination(1, 1, &[(1, address)])])).await;
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    until("it dials", || world.connections.endpoints.load(1) == 1).await;
    let listed = world.all().await;
    assert_eq!((listed[0].stage, listed[0].endpoint), (LiveStage::Dialling, Some(1)));
    assert_eq!(soon(world.proxy.close(&LiveFilter::default(), usize::MAX)).await, 1);
    assert!(is_reset(&mut client).await);
    assert_eq!(world.destination(1).ended().collect::<Vec<_>>(), [(Ended::Closed, 1)]);
    assert_eq!(world.connections.endpoints.get(1).last_failure.get(), None, "that is no fault of the endpoint");
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_connection_lasts_as_long_as_bytes_come() {
    let server = endpoint(|mut stream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok();
        for _ in 0..6 {
            stream.write_all(b"more").await.ok();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        // It never ends its stream.
        std::future::pending::<()>().await;
    })
    .await;
    let at = reserve("127.0.0.1");
    let mut routed = route(0, steer::CONNECTION, vec![destination(1, 1, &[(1, server.address)])]);
    let limits = Limits { half_closed_timeout: Some(Duration::from_millis(400)), ..Limits::default() };
    Arc::make_mut(&mut routed.route).limits = limits;
    let world = World::new(&plan(1, vec![listener(0, at.address, &[(Prefix::ANY, routed)])])).await;
    let mut open = soon(TcpStream::connect(at.address)).await.unwrap();
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    let begun = Instant::now();
    soon(client.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got.len(), 24);
    assert!(begun.elapsed() >= Duration::from_millis(1100), "{:?}", begun.elapsed());
    until("it is over", || world.connections.active() == 1).await;
    assert_eq!(world.destination(1).ended().collect::<Vec<_>>(), [(Ended::HalfClosedTimeout, 1)]);
    let listed = world.all().await;
    assert_eq!((listed.len(), listed[0].stage), (1, LiveStage::Open), "the one that is open has no limit");
    open.shutdown().await.unwrap();
    until("both are over", || world.connections.active() == 0).await;
    world.ends_empty().await;
}
