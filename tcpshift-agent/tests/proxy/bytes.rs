//! Bytes arrive whole and in order, however long, both ways at once, and however slowly they are read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tcpshift_common::hash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::world::{World, endpoint, soon};

/// The byte of a stream at an offset.
fn byte(seed: u64, at: u64) -> u8 {
    (hash::mix(seed ^ (at / 8)) >> (at % 8 * 8)) as u8
}

async fn send(mut to: OwnedWriteHalf, seed: u64, length: u64) {
    let mut at = 0;
    while at < length {
        // Chunks of all sizes.
        let chunk = (1 + hash::mix(seed ^ at) % 100_000).min(length - at);
        let bytes: Vec<u8> = (at..at + chunk).map(|at| byte(seed, at)).collect();
        to.write_all(&bytes).await.unwrap();
        at += chunk;
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end, and checks each byte.
async fn receive(mut from: OwnedReadHalf, seed: u64) -> u64 {
    let mut at = 0;
    let mut buffer = vec![0; 100_000];
    loop {
        let count = from.read(&mut buffer).await.unwrap();
        if count == 0 {
            return at;
        }
        for &got in &buffer[..count] {
            assert_eq!(got, byte(seed, at), "at {at}");
            at += 1;
        }
    }
}

/// The endpoint speaks first, says its seed and length, and is told the client's.
async fn talk(mut stream: TcpStream, seed: u64, length: u64) {
    stream.write_u64(seed).await.unwrap();
    stream.write_u64(length).await.unwrap();
    let (its_seed, its_length) = (stream.read_u64().await.unwrap(), stream.read_u64().await.unwrap());
    let (reader, writer) = stream.into_split();
    let sending = tokio::spawn(send(writer, seed, length));
    assert_eq!(receive(reader, its_seed).await, its_length);
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_any_length_arrive_whole_both_ways() {
    let count = Arc::new(AtomicU64::new(0));
    let ends = Arc::new(AtomicU64::new(0));
    let server = endpoint({
        let ends = Arc::clone(&ends);
        move |stream| {
            let seed = hash::mix(count.fetch_add(1, Relaxed) + 1);
            let ends = Arc::clone(&ends);
            async move {
                talk(stream, seed, seed % 1_500_000).await;
                ends.fetch_add(1, Relaxed);
            }
        }
    })
    .await;
    let (world, at) = World::towards(&server).await;
    let clients: Vec<_> = (0..40_u64)
        .map(|number| {
            let seed = hash::mix(number + 1_000);
            // Some send nothing, or a single byte.
            let length = if number < 4 { number / 2 } else { seed % 1_500_000 };
            tokio::spawn(async move { talk(TcpStream::connect(at.address).await.unwrap(), seed, length).await })
        })
        .collect();
    for client in clients {
        soon(client).await.unwrap();
    }
    crate::world::until("every endpoint is content", || ends.load(Relaxed) == 40).await;
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_its_writer_and_loses_nothing() {
    const LENGTH: u64 = 64 << 20;
    let sent = Arc::new(AtomicU64::new(0));
    let server = endpoint({
        let sent = Arc::clone(&sent);
        move |mut stream| {
            let sent = Arc::clone(&sent);
            async move {
                let chunk: Vec<u8> = (0..65_536).map(|at| byte(7, at)).collect();
                while sent.load(Relaxed) < LENGTH {
                    stream.write_all(&chunk).await.unwrap();
                    sent.fetch_add(chunk.len() as u64, Relaxed);
                }
                // Closes with much of it in flight.
            }
        }
    })
    .await;
    let (world, at) = World::towards(&server).await;
    let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
    let mut before = u64::MAX;
    while before != sent.load(Relaxed) {
        before = sent.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // What the kernel holds in four socket buffers; the proxy itself holds no more than 256 KiB.
    assert!(before < LENGTH, "the writer was never slowed");
    let (mut at, mut buffer) = (0, vec![0; 200_000]);
    loop {
        let count = soon(client.read(&mut buffer)).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().zip(at..).all(|(&got, at)| got == byte(7, at % 65_536)), "near {at}");
        at += count as u64;
    }
    assert_eq!(at, LENGTH);
    drop(client);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_with_bytes_in_flight_loses_none() {
    let server = endpoint(|mut stream| async move {
        stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    })
    .await;
    let (world, at) = World::towards(&server).await;
    for _ in 0..20 {
        let mut client = soon(TcpStream::connect(at.address)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut got = Vec::new();
        soon(client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.len(), 3_000_000);
    }
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_reach_a_dual_stack_listener() {
    let server = endpoint(|mut stream| async move { stream.write_all(b"hello").await.unwrap() }).await;
    // A port that is free in both families is held in each.
    let at = crate::world::reserve("::");
    let plan = crate::world::simple(
        1,
        at.address,
        tcpshift_common::decide::steer::CONNECTION,
        vec![crate::world::destination(1, 1, &[(1, server.address)])],
    );
    let world = World::new(&plan).await;
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), at.address.port());
        let mut client = soon(TcpStream::connect(address)).await.unwrap();
        let mut got = String::new();
        soon(client.read_to_string(&mut got)).await.unwrap();
        assert_eq!(got, "hello", "by way of {ip}");
    }
    world.ends_empty().await;
}
