//! Descriptors: none is leaked, and running out of them is survived. Alone in its process, since both are
//! the process's own.
#![allow(clippy::unwrap_used, reason = "tests say what is wrong by failing")]

#[path = "proxy/world.rs"]
#[allow(dead_code, reason = "shared with the other tests of the proxy, which use all of it")]
mod world;

use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpshift_common::address::Prefix;
use tcpshift_common::decide::steer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use world::{World, endpoint, soon, until};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_leaked_and_want_is_survived() {
    let server = endpoint(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    })
    .await;
    let at_first = open_descriptors();
    let (mut world, at) = World::towards(&server).await;
    // Each of the two workers takes one in reserve, sooner or later.
    let idle = open_descriptors() + 2;

    let echo = async |stream: &mut TcpStream| {
        stream.write_all(b"ping").await?;
        soon(stream.read_exact(&mut [0; 4])).await
    };
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
        echo(&mut client).await.unwrap();
        clients.push(client);
    }
    assert_eq!(world.connections.active(), 100);
    clients.clear();
    soon(world.connections.ended()).await;
    until("all descriptors are closed", || open_descriptors() <= idle).await;

    // Clients wait, and then there is no descriptor left to accept them. Their endpoint needs none: it leaves
    // its connections in its queue.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let late = world::reserve("127.0.0.1");
    let to = |number, address| {
        let destinations = vec![world::destination(number, 1, &[(number, address)])];
        [(Prefix::ANY, world::route(number, steer::CONNECTION, destinations))]
    };
    // The listener that is there stays, so that its descriptors do too.
    let kept = world::listener(0, at.address, &to(1, server.address));
    let added = world::listener(1, late.address, &to(2, silent.local_addr().unwrap()));
    let next = world::plan(2, vec![kept, added]);
    assert_eq!(world.proxy.open(&next.plan), []);
    for _ in 0..20 {
        clients.push(soon(TcpStream::connect(late.address)).await.unwrap());
    }
    let before = getrlimit(Resource::Nofile);
    let few = open_descriptors() as u64 + 10;
    setrlimit(Resource::Nofile, Rlimit { current: Some(few), maximum: before.maximum }).unwrap();
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    world.publish(next).await;
    until("it is counted", || world.connections.accept_exhausted.load(Relaxed) > 2).await;
    assert_eq!(world.connections.troubles().count(), 1);
    assert_eq!(world.connections.active(), 0);
    // It recovers by itself as far as descriptors go: one connection, or one on each worker. Nobody is
    // accepted only to be refused, since the socket to dial with is there before.
    taken.truncate(taken.len() - 2);
    until("some are carried", || world.connections.active() > 0).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!((1..=2).contains(&world.connections.active()));
    assert_eq!(world.destination(2).failures().count(), 0);
    setrlimit(Resource::Nofile, before).unwrap();
    drop(taken);
    until("all are carried", || world.connections.active() == 20).await;
    assert_eq!(world.destination(2).failures().count(), 0);
    drop((silent, clients, late));
    world.ends_empty().await;
    drop(at);
    until("the workers' descriptors too", || open_descriptors() <= at_first).await;
}
