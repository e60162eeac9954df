//! Endpoints that are unix sockets: bytes, ends, and refusals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tcpshift_agent::connections::ConnectionFailure;
use tcpshift_agent::plan::EndpointAddress;
use tcpshift_common::decide::steer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::world::{Planned, Reserved, World, destination_at, endpoint, reserve, simple, soon};

/// A plan with one destination whose endpoints are unix sockets.
fn towards(at: &Reserved, sockets: &[&str]) -> Planned {
    let numbered: Vec<_> = (1..).zip(sockets.iter().map(|socket| unix(socket))).collect();
    simple(1, at.address, steer::CONNECTION, vec![destination_at(1, 1, &numbered)])
}

fn unix(socket: &str) -> EndpointAddress {
    EndpointAddress::Unix(Arc::from(socket))
}

/// Answers the length of what it is sent, then all of it.
async fn measure(mut stream: UnixStream) {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    stream.write_u64(got.len() as u64).await.unwrap();
    stream.write_all(&got).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_and_ends_go_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let by_path = UnixListener::bind(&path).unwrap();
    let name = format!("@tcpshift-test-{}", std::process::id());
    let by_name = UnixListener::bind(name.replace('@', "\0")).unwrap();
    for (listener, address) in [(by_path, path.to_str().unwrap()), (by_name, &name)] {
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(measure(stream));
            }
        });
        let at = reserve("127.0.0.1");
        let world = World::new(&towards(&at, &[address])).await;
        for length in [0_usize, 1, 100_000, 3_000_000] {
            let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
            let sent: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            soon(client.write_all(&sent)).await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(soon(client.read_u64()).await.unwrap(), length as u64);
            let mut got = Vec::new();
            soon(client.read_to_end(&mut got)).await.unwrap();
            assert!(got == sent, "{length} bytes come back as they were");
        }
        world.ends_empty().await;
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_ends_the_unix_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let at = reserve("127.0.0.1");
    let world = World::new(&towards(&at, &[path.to_str().unwrap()])).await;
    let client = soon(TcpStream::connect(at.address)).await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(soon(server.read(&mut [0])).await.unwrap(), 0);
    soon(world.connections.ended()).await;
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_that_is_not_there_or_not_served_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (none, dead) = (text(&folder.path().join("none.sock")), text(&folder.path().join("dead.sock")));
    drop(UnixListener::bind(&dead).unwrap());
    let long = format!("/{}", "x".repeat(200));
    for (path, reason) in [
        (&none, ConnectionFailure::ConnectRefused),
        (&dead, ConnectionFailure::ConnectRefused),
        (&long, ConnectionFailure::ConnectFailed),
    ] {
        let at = reserve("127.0.0.1");
        let world = World::new(&towards(&at, &[path])).await;
        if let Ok(mut client) = soon(TcpStream::connect(at.address)).await {
            assert!(soon(client.read(&mut [0])).await.is_err(), "{path}");
        }
        crate::world::until("it is counted", || world.destination(1).failed(reason) == 1).await;
        world.ends_empty().await;
    }
    // Another endpoint of the destination takes over, of whatever kind.
    let live = endpoint(|mut stream| async move { stream.write_all(b"live").await.unwrap() }).await;
    let at = reserve("127.0.0.1");
    let both = destination_at(1, 1, &[(1, unix(&dead)), (2, live.address.into())]);
    let world = World::new(&simple(1, at.address, steer::CONNECTION, vec![both])).await;
    for _ in 0..20 {
        let mut said = String::new();
        let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
        soon(client.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "live");
    }
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(1).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)));
    let listener = listener.unwrap();
    let at = reserve("127.0.0.1");
    let world = World::new(&towards(&at, &[path.to_str().unwrap()])).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(soon(TcpStream::connect(at.address)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.connections.active(), 10);
    let mut served = Vec::new();
    for _ in 0..10 {
        served.push(soon(listener.accept()).await.unwrap());
    }
    assert_eq!(world.destination(1).failures().count(), 0);
    drop((clients, served));
    world.ends_empty().await;
}
