//! What a DestinationRule's `connectionPool.tcp` says is obeyed: how many, how soon, how long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpshift_agent::connections::{ConnectionFailure, Ended};
use tcpshift_agent::plan::{Keepalive, Limits, Settings};
use tcpshift_common::address::Prefix;
use tcpshift_common::decide::steer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Serving, World, destination, endpoint, full_queue, listener, plan, reserve, route, soon, until};

async fn echo() -> Serving {
    endpoint(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    })
    .await
}

/// A proxy whose only route has these limits, and its only destination these settings.
async fn limited(address: SocketAddr, endpoint: SocketAddr, limits: Limits, settings: Settings) -> World {
    let mut one = destination(1, 1, &[(1, endpoint)]);
    one.destination.settings = settings;
    let mut routed = route(0, steer::CONNECTION, vec![one]);
    Arc::make_mut(&mut routed.route).limits = limits;
    World::new(&plan(1, vec![listener(0, address, &[(Prefix::ANY, routed)])])).await
}

async fn answers(stream: &mut TcpStream) -> bool {
    let mut got = [0; 4];
    stream.write_all(b"ping").await.is_ok() && soon(stream.read_exact(&mut got)).await.is_ok() && &got == b"ping"
}

/// A connection that is served, if it is; one that is reset may be before the client knows that it is open.
async fn served(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = soon(TcpStream::connect(address)).await.ok()?;
    answers(&mut stream).await.then_some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_the_limit_live_at_once() {
    let (server, at) = (echo().await, reserve("127.0.0.1"));
    let settings = Settings { max_connections: Some(7), ..Settings::default() };
    let world = limited(at.address, server.address, Limits::default(), settings).await;
    let mut open = Vec::new();
    // All at once, on both workers.
    let clients: Vec<_> = (0..40).map(|_| tokio::spawn(served(at.address))).collect();
    for client in clients {
        open.extend(soon(client).await.unwrap());
    }
    assert!(open.len() <= 7, "{} are open", open.len());
    until("only those live", || world.connections.active() == open.len() as u64).await;
    while open.len() < 7 {
        open.push(served(at.address).await.unwrap());
    }
    let refused = world.destination(1).failed(ConnectionFailure::ConnectionLimit);
    assert!(refused >= 33);
    assert!(served(at.address).await.is_none(), "one more is reset");
    assert_eq!(world.destination(1).failed(ConnectionFailure::ConnectionLimit), refused + 1);
    // Who goes makes room.
    open.pop();
    until("one has gone", || world.connections.active() == 6).await;
    let next = served(at.address).await.unwrap();
    drop((open, next));
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_byte_is_closed() {
    let (server, at) = (echo().await, reserve("127.0.0.1"));
    let limits = Limits { idle_timeout: Some(Duration::from_millis(300)), ..Limits::default() };
    let world = limited(at.address, server.address, limits, Settings::default()).await;
    let mut busy = soon(TcpStream::connect(at.address)).await.unwrap();
    let mut idle = soon(TcpStream::connect(at.address)).await.unwrap();
    assert!(answers(&mut busy).await && answers(&mut idle).await);
    let begun = Instant::now();
    let idle = tokio::spawn(async move { (soon(idle.read(&mut [0])).await, begun.elapsed()) });
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(answers(&mut busy).await, "a byte in time keeps it");
    }
    let (end, after) = idle.await.unwrap();
    assert_eq!(end.unwrap(), 0, "it is closed in order");
    assert!(after >= Duration::from_millis(290) && after < Duration::from_millis(800), "{after:?}");
    assert_eq!(soon(busy.read(&mut [0])).await.unwrap(), 0);
    until("both are over", || world.connections.active() == 0).await;
    assert_eq!(world.destination(1).ended().collect::<Vec<_>>(), [(Ended::IdleTimeout, 2)]);
    assert_eq!(world.destination(1).failures().count(), 0);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lasts_no_longer_than_it_may() {
    let (server, at) = (echo().await, reserve("127.0.0.1"));
    let limits = Limits { max_duration: Some(Duration::from_millis(400)), ..Limits::default() };
    let world = limited(at.address, server.address, limits, Settings::default()).await;
    let begun = Instant::now();
    let mut busy = soon(TcpStream::connect(at.address)).await.unwrap();
    while answers(&mut busy).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = begun.elapsed();
    assert!(after >= Duration::from_millis(390) && after < Duration::from_secs(2), "{after:?}");
    until("it is over", || world.connections.active() == 0).await;
    assert_eq!(world.destination(1).ended().collect::<Vec<_>>(), [(Ended::MaxDuration, 1)]);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_answer_costs_its_own_timeout() {
    let (address, _full) = full_queue().await;
    let at = reserve("127.0.0.1");
    let settings = Settings { connect_timeout: Duration::from_millis(200), ..Settings::default() };
    let world = limited(at.address, address, Limits::default(), settings).await;
    let begun = Instant::now();
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    assert!(!answers(&mut client).await);
    assert!(begun.elapsed() >= Duration::from_millis(190) && begun.elapsed() < Duration::from_secs(2));
    assert_eq!(world.destination(1).failed(ConnectionFailure::ConnectTimeout), 1);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_keepalive_is_taken() {
    let server = echo().await;
    for keepalive in [
        Keepalive::default(),
        Keepalive { probes: Some(3), time: Some(Duration::from_secs(20)), interval: Some(Duration::from_secs(5)) },
        Keepalive { probes: Some(u32::MAX), time: Some(Duration::MAX), interval: Some(Duration::from_millis(1)) },
    ] {
        let at = reserve("127.0.0.1");
        let settings = Settings { keepalive: Some(keepalive), ..Settings::default() };
        let world = limited(at.address, server.address, Limits::default(), settings).await;
        let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
        assert!(answers(&mut client).await, "{keepalive:?}");
        drop(client);
        world.ends_empty().await;
    }
}
