//! No client waits for an acknowledgement that the agent holds back: neither one that speaks first, nor one that is spoken to,
//! nor one whose server sends its answer in two parts with Nagle's algorithm, nor one whose question comes in two parts. Linux holds some back on a direct connection too,
//! so both are measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Serving, World, endpoint, soon};

/// Linux holds an acknowledgement back for 40 ms at least.
const HELD_BACK: Duration = Duration::from_millis(30);

/// Half of the connections by way of the proxy take about as long as direct ones.
async fn is_no_slower(server: &Serving, asks: Asks, exchanges: usize) {
    let (world, at) = World::towards(server).await;
    let direct = median(server.address, asks, exchanges).await;
    let carried = median(at.address, asks, exchanges).await;
    world.ends_empty().await;
    assert!(carried < direct + HELD_BACK, "{exchanges} exchanges take {carried:?}, and {direct:?} directly");
}

/// How a client asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    First,
    AfterGreeting,
    InTwoParts,
}

/// How long half of the connections take at most.
async fn median(address: SocketAddr, asks: Asks, exchanges: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        let mut client = soon(TcpStream::connect(address)).await.unwrap();
        client.set_nodelay(true).unwrap();
        if asks == Asks::AfterGreeting {
            soon(client.read_exact(&mut [0; 8])).await.unwrap();
        }
        for _ in 0..exchanges {
            if asks == Asks::InTwoParts {
                client.write_all(b"ques").await.unwrap();
                // So that they are carried one by one.
                tokio::time::sleep(Duration::from_millis(1)).await;
                client.write_all(b"tion").await.unwrap();
            } else {
                client.write_all(b"question").await.unwrap();
            }
            soon(client.read_exact(&mut [0; 200])).await.unwrap();
        }
        times.push(begun.elapsed());
        drop(client);
    }
    times.sort_unstable();
    times[times.len() / 2]
}

async fn answer(stream: &mut TcpStream) {
    let mut question = [0; 8];
    while stream.read_exact(&mut question).await.is_ok() {
        // Two writes: Nagle's algorithm holds the second back until the first is acknowledged.
        stream.write_all(&[b'a'; 100]).await.ok();
        stream.write_all(&[b'b'; 100]).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_speaks_first_is_answered_at_once() {
    let server = endpoint(|mut stream| async move { answer(&mut stream).await }).await;
    for exchanges in [1, 3] {
        is_no_slower(&server, Asks::First, exchanges).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_spoken_to_first_hears_it_at_once() {
    let server = endpoint(|mut stream| async move {
        stream.write_all(b"greeting").await.ok();
        answer(&mut stream).await;
    })
    .await;
    is_no_slower(&server, Asks::AfterGreeting, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_in_two_parts_is_answered_at_once() {
    let server = endpoint(|mut stream| async move {
        let mut question = [0; 8];
        while stream.read_exact(&mut question).await.is_ok() {
            stream.write_all(&[b'a'; 200]).await.ok();
        }
    })
    .await;
    // So many that Linux does not acknowledge each packet at once any more.
    is_no_slower(&server, Asks::InTwoParts, 30).await;
}
