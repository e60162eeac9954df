//! Bulk goes through pipes, and messages do not: whole, in order, with the same ends, however often a stream turns
//! from one into the other. Alone in its process, since pipes and descriptors are the process's own.
#![allow(clippy::unwrap_used, reason = "tests say what is wrong by failing")]

#[path = "proxy/world.rs"]
#[allow(dead_code, reason = "shared with the other tests of the proxy, which use all of it")]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tcpshift_common::hash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;

use world::{World, endpoint, soon, until};

/// Connections of random lengths. A number in this variable asks for another count; 100,000 take some minutes.
const COUNT_VARIABLE: &str = "TCPSHIFT_CONNECTIONS";
const COUNT: usize = 1_000;
/// Of them at once.
const AT_ONCE: usize = 200;
/// Free pipes that each of the two workers may keep, with two descriptors each.
const KEPT: usize = 2 * 16 * 2;

/// What descriptors there are, and how many of them are ends of pipes.
fn descriptors() -> (usize, usize) {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let links: Vec<_> = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    (links.len(), links.iter().filter(|link| link.to_string_lossy().starts_with("pipe:")).count())
}

/// Bytes of a stream from an offset on.
fn bytes(seed: u64, at: u64, count: usize) -> Vec<u8> {
    let word = |word: u64| hash::mix(seed ^ word).to_le_bytes();
    let all: Vec<u8> = (at / 8..(at + count as u64).div_ceil(8)).flat_map(word).collect();
    all[(at % 8) as usize..][..count].to_vec()
}

/// Sends bulk and messages in turn; the pauses let the stream be still in between.
async fn send(to: &mut OwnedWriteHalf, seed: u64, parts: &[usize]) {
    let mut at = 0;
    for (turn, &part) in parts.iter().enumerate() {
        let end = at + part as u64;
        while at < end {
            let count = (end - at).min(200_000) as usize;
            to.write_all(&bytes(seed, at, count)).await.unwrap();
            at += count as u64;
        }
        if turn % 3 == 2 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

/// Reads so many bytes, and checks each.
async fn receive(from: &mut OwnedReadHalf, seed: u64, length: u64) {
    let (mut at, mut buffer) = (0, vec![0; 300_000]);
    while at < length {
        let most = buffer.len().min((length - at) as usize);
        let count = from.read(&mut buffer[..most]).await.unwrap();
        assert!(count > 0, "ended at {at} of {length}");
        assert!(buffer[..count] == bytes(seed, at, count), "different after {at} of {length}");
        at += count as u64;
    }
}

/// Lengths of bulk and of messages, drawn.
fn parts(seed: u64, most: u64) -> Vec<usize> {
    let draw = |number: u64, below: u64| hash::mix(seed.wrapping_mul(31) ^ number) % below;
    let part = |number| if draw(number, 3) == 0 { draw(number + 100, most) } else { draw(number + 100, 300) };
    (0..draw(999, 12)).map(|number| part(number) as usize).collect()
}

fn length(parts: &[usize]) -> u64 {
    parts.iter().map(|part| *part as u64).sum()
}

/// The client says a seed and how much bulk there is at most; both sides send what follows from it, and end.
async fn talk(stream: TcpStream, seed: u64, most: u64, is_client: bool) {
    let (mut reader, mut writer) = stream.into_split();
    let (own, others) = if is_client { (seed, seed ^ 1) } else { (seed ^ 1, seed) };
    let sending = tokio::spawn(async move {
        send(&mut writer, own, &parts(own, most)).await;
        writer.shutdown().await.unwrap();
    });
    receive(&mut reader, others, length(&parts(others, most))).await;
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0, "more than was sent");
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_messages_and_bulk_and_nothing_is_left() {
    let (content, urgent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = endpoint({
        let (content, urgent) = (Arc::clone(&content), Arc::clone(&urgent));
        move |mut stream| {
            let (content, urgent) = (Arc::clone(&content), Arc::clone(&urgent));
            async move {
                let Ok(seed) = stream.read_u64().await else { return };
                let most = stream.read_u64().await.unwrap();
                match most {
                    0 => return flood(stream).await,
                    1 => {
                        let mut got = Vec::new();
                        stream.read_to_end(&mut got).await.unwrap();
                        urgent.fetch_add(got.len(), Relaxed);
                        return;
                    }
                    _ => {}
                }
                talk(stream, seed, most, false).await;
                content.fetch_add(1, Relaxed);
            }
        }
    })
    .await;
    let (world, at) = World::towards(&server).await;
    let client = async move |seed: u64, most: u64| {
        let mut stream = TcpStream::connect(at.address).await.unwrap();
        stream.write_u64(seed).await.unwrap();
        stream.write_u64(most).await.unwrap();
        stream
    };
    let (at_first, pipes_at_first) = descriptors();

    // Long streams: they are seen to go through pipes.
    let long: Vec<_> = (0..4)
        .map(|seed| {
            tokio::spawn(async move { talk(client(seed * 2, 30_000_000).await, seed * 2, 30_000_000, true).await })
        })
        .collect();
    until("bulk goes through pipes", || descriptors().1 > pipes_at_first).await;
    for stream in long {
        tokio::time::timeout(Duration::from_mins(1), stream).await.unwrap().unwrap();
    }

    // Idle connections hold none, but for those that are free.
    until("pipes are given back", || descriptors().1 <= pipes_at_first + KEPT).await;

    // A reset in the midst of bulk is one on the other side, whoever resets.
    for resets in [true, false] {
        let mut stream = client(0, 0).await;
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..40 {
            soon(stream.read_exact(&mut buffer)).await.unwrap();
        }
        if resets {
            stream.set_zero_linger().unwrap();
            drop(stream);
        } else {
            stream.write_u64(1).await.unwrap();
            let error = loop {
                if let Err(error) = soon(stream.read(&mut buffer)).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }

    // Urgent data in the midst of bulk is carried in line: splice(2) cannot pass it.
    for _ in 0..3 {
        let stream = client(2, 1).await;
        let (mut reader, mut writer) = stream.into_split();
        let heard = tokio::spawn(async move { reader.read_to_end(&mut Vec::new()).await });
        let bulk = vec![b'u'; 4_000_000];
        soon(writer.write_all(&bulk)).await.unwrap();
        until("the urgent byte is sent", || socket2::SockRef::from(writer.as_ref()).send_out_of_band(b"!").is_ok())
            .await;
        soon(writer.write_all(&bulk)).await.unwrap();
        let before = urgent.load(Relaxed);
        drop(writer);
        until("all of it arrived", || urgent.load(Relaxed) == before + 2 * bulk.len() + 1).await;
        soon(heard).await.unwrap().unwrap();
    }

    // Many of random lengths.
    let count = std::env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().unwrap());
    let before = content.load(Relaxed);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..count as u64 {
        let permit = Arc::clone(&room).acquire_owned().await.unwrap();
        streams.spawn(async move {
            let (seed, most) = (hash::mix(number) & !1, 2 + hash::mix(number ^ 0x77) % 600_000);
            let talked = talk(client(seed, most).await, seed, most, true);
            tokio::time::timeout(Duration::from_mins(1), talked).await.expect("a stream stands still");
            drop(permit);
        });
    }
    while let Some(done) = streams.join_next().await {
        done.unwrap();
    }
    until("every endpoint is content", || content.load(Relaxed) == before + count).await;
    soon(world.connections.ended()).await;
    assert_eq!(world.destination(1).failures().count(), 0);
    until("no descriptor is left", || descriptors().0 <= at_first + KEPT + 2).await;
    world.ends_empty().await;
    until("and no pipe once the workers are gone", || descriptors().1 <= pipes_at_first).await;
}

/// Sends without end, until the other side resets or a word says to reset it.
async fn flood(stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        let chunk = vec![7; 1 << 20];
        while writer.write_all(&chunk).await.is_ok() {}
        writer
    });
    // A word, or the reset.
    let asked = reader.read_u64().await.is_ok();
    sending.abort();
    if asked {
        reader.as_ref().set_zero_linger().unwrap();
    }
    drop(reader);
}
