//! Every way to end is carried as it is: an end of stream each way for itself, a reset as a reset.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::world::{Reserved, Serving, World, endpoint, soon};

/// A client and the endpoint's side of its connection.
struct Pair {
    world: World,
    /// The endpoint and the port stay while this is held.
    _held: (Serving, Reserved),
    at: SocketAddr,
    client: TcpStream,
    server: TcpStream,
}

async fn pair() -> Pair {
    let (give, mut taken) = mpsc::unbounded_channel();
    let serving = endpoint(move |stream| {
        give.send(stream).unwrap();
        async {}
    })
    .await;
    let (world, at) = World::towards(&serving).await;
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    let mut server: TcpStream = soon(taken.recv()).await.unwrap();
    // Once bytes have gone both ways, the proxy has seen that the dial is over.
    client.write_all(b"!").await.unwrap();
    soon(server.read_exact(&mut [0])).await.unwrap();
    server.write_all(b"!").await.unwrap();
    soon(client.read_exact(&mut [0])).await.unwrap();
    let address = at.address;
    Pair { world, _held: (serving, at), at: address, client, server }
}

async fn is_reset(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let error = soon(stream.read_to_end(&mut rest)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn half_close(first: &mut TcpStream, second: &mut TcpStream) {
    first.write_all(b"question").await.unwrap();
    first.shutdown().await.unwrap();
    let mut got = String::new();
    soon(second.read_to_string(&mut got)).await.unwrap();
    assert_eq!(got, "question");
    tokio::time::sleep(Duration::from_millis(20)).await;
    second.write_all(&vec![b'a'; 1_000_000]).await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_may_finish_first() {
    for client_first in [true, false] {
        let Pair { world, mut client, mut server, _held, .. } = pair().await;
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        let answer = tokio::spawn(async move {
            half_close(&mut first, &mut second).await;
            (first, second)
        });
        // The answer is longer than what fits in flight, so it has to be read meanwhile.
        (first, second) = soon(answer).await.unwrap();
        let mut got = Vec::new();
        soon(first.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.len(), 1_000_000);
        assert_eq!(soon(second.read(&mut [0])).await.unwrap(), 0);
        (client, server) = (first, second);
        drop((client, server));
        world.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_either_side_is_a_reset() {
    for client_resets in [true, false] {
        let Pair { world, client, server, _held, .. } = pair().await;
        let (mut breaks, mut sees) = if client_resets { (client, server) } else { (server, client) };
        breaks.write_all(&[b'x'; 1000]).await.unwrap();
        let mut got = [0; 1000];
        soon(sees.read_exact(&mut got)).await.unwrap();
        breaks.set_zero_linger().unwrap();
        drop(breaks);
        is_reset(&mut sees).await;
        world.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_reset_arrives() {
    for _ in 0..50 {
        let Pair { world, mut client, mut server, _held, .. } = pair().await;
        server.write_all(&vec![b'x'; 20_000]).await.unwrap();
        server.set_zero_linger().unwrap();
        // The client writes while the server resets, so that a write may find out first.
        let (mut reader, mut writer) = client.split();
        let write = async {
            while writer.write_all(&[b'y'; 100]).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let reset = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(server);
        };
        let read = async {
            let mut got = Vec::new();
            let ending = reader.read_to_end(&mut got).await;
            (got.len(), ending.map_err(|error| error.kind()))
        };
        let ((got, ending), (), ()) = soon(async { tokio::join!(read, write, reset) }).await;
        assert_eq!(got, 20_000);
        // A write that fails takes the error with it; a read then sees the end only.
        assert!(matches!(ending, Ok(_) | Err(io::ErrorKind::ConnectionReset)), "{ending:?}");
        world.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_carried_when_the_other_side_does_not_read() {
    for client_resets in [true, false] {
        let Pair { world, client, server, _held, .. } = pair().await;
        let (mut breaks, mut sees) = if client_resets { (client, server) } else { (server, client) };
        let chunk = vec![b'x'; 1 << 20];
        // Until nothing goes on.
        while tokio::time::timeout(Duration::from_millis(300), breaks.write_all(&chunk)).await.is_ok() {}
        breaks.set_zero_linger().unwrap();
        drop(breaks);
        soon(world.connections.ended()).await;
        is_reset(&mut sees).await;
        world.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_after_a_half_close_is_carried() {
    for client_resets in [true, false] {
        let Pair { world, client, server, _held, .. } = pair().await;
        let (mut breaks, mut sees) = if client_resets { (client, server) } else { (server, client) };
        breaks.shutdown().await.unwrap();
        assert_eq!(soon(sees.read(&mut [0])).await.unwrap(), 0);
        breaks.set_zero_linger().unwrap();
        drop(breaks);
        // The end of the stream is known already, so the reset is an error event.
        soon(sees.ready(Interest::ERROR)).await.unwrap();
        soon(world.connections.ended()).await;
        world.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_without_reading_is_a_reset() {
    let Pair { world, client, mut server, _held, .. } = pair().await;
    server.write_all(b"unread").await.unwrap();
    soon(client.peek(&mut [0])).await.unwrap();
    drop(client);
    is_reset(&mut server).await;
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_lets_connections_go_on_and_reset_ends_them() {
    let Pair { mut world, mut client, mut server, _held, at } = pair().await;
    soon(world.proxy.drain()).await;
    let error = soon(TcpStream::connect(at)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    client.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    soon(server.read_exact(&mut got)).await.unwrap();
    assert_eq!((&got, world.connections.active()), (b"still here", 1));

    soon(world.proxy.reset()).await;
    assert_eq!(world.connections.active(), 0);
    is_reset(&mut client).await;
    is_reset(&mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_while_dialling_ends_the_dial() {
    let (address, _full) = crate::world::full_queue().await;
    let at = crate::world::reserve("127.0.0.1");
    let plan = crate::world::simple(
        1,
        at.address,
        tcpshift_common::decide::steer::CONNECTION,
        vec![crate::world::destination(1, 1, &[(1, address)])],
    );
    let world = World::new(&plan).await;

    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    client.shutdown().await.unwrap();
    crate::world::until("it dials", || world.connections.active() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.connections.active(), 1, "a client that only finished sending waits for its answer");
    client.set_zero_linger().unwrap();
    drop(client);
    tokio::time::timeout(Duration::from_secs(2), world.connections.ended()).await.unwrap();
    assert_eq!(world.destination(1).failures().count(), 0);
    world.ends_empty().await;
}
