//! Many long connections at once, whose bytes are checked: a load that must not fail while something changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::noise::Noise;
use crate::server::listen;
use crate::until::{patient, seconds, until_so};

/// An exchange that takes longer counts as an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicUsize>,
    thread: JoinHandle<Report>,
}

/// The result of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Exchanges without an error.
    pub exchanges: usize,
    /// Bytes that came back unchanged.
    pub bytes: usize,
    /// A message for each error.
    pub errors: Vec<String>,
}

impl Load {
    /// Opens connections to a server that echoes; each sends pieces of 1 to 4,096 random bytes at intervals of
    /// 0.2 to 0.8 s, longer where there are more than a thousand, and compares what comes back. Waits until all have
    /// had an exchange.
    pub fn start(address: &str, connections: usize) -> Self {
        Self::speak(address, connections, 0)
    }

    /// As [`Load::start`], in lines and to servers such as `tcp-echo`, whose names are of so many letters: a
    /// connection must be answered by the same one all the time.
    pub fn start_lines(address: &str, connections: usize, letters: usize) -> Self {
        // A blank is between the name and the line.
        Self::speak(address, connections, letters + 1)
    }

    /// `before` is how many bytes an answer has before what was sent; if there are any, lines are sent.
    fn speak(address: &str, connections: usize, before: usize) -> Self {
        let address: SocketAddr = address.parse().expect("a test's address is well formed");
        let rest = connections.div_ceil(1_000) as u32;
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter) = (stop.clone(), begun.clone());
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async move {
                let mut tasks = tokio::task::JoinSet::new();
                for number in 0..connections {
                    tasks.spawn(exchange(Speaker { address, number, before, rest }, stopped.clone(), counter.clone()));
                }
                let mut report = Report::default();
                while let Some(one) = tasks.join_next().await {
                    let one = one.expect("an exchange does not panic");
                    report.exchanges += one.exchanges;
                    report.bytes += one.bytes;
                    report.errors.extend(one.errors);
                }
                report
            })
        });
        let load = Self { stop, begun, thread };
        until_so("every connection of the load has had an exchange", seconds(60), || {
            load.thread.is_finished() || load.begun.load(Ordering::Relaxed) >= connections
        });
        load
    }

    /// Lets every connection finish its exchange and close in good order.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }

    /// As [`Load::stop`]; panics if there was an error.
    #[track_caller]
    pub fn finish(self) -> Report {
        let report = self.stop();
        let (count, first) = (report.errors.len(), report.errors.first());
        assert!(report.errors.is_empty(), "{count} of the load's connections suffered; the first: {first:?}");
        report
    }
}

/// One of the connections.
#[derive(Clone, Copy)]
struct Speaker {
    address: SocketAddr,
    number: usize,
    before: usize,
    /// How many times longer than usual its pauses are.
    rest: u32,
}

async fn exchange(speaker: Speaker, stop: Arc<AtomicBool>, begun: Arc<AtomicUsize>) -> Report {
    let mut report = Report::default();
    let result = converse(speaker, &stop, &begun, &mut report).await;
    if let Err(error) = result {
        report.errors.push(format!("connection {} after {} exchanges: {error}", speaker.number, report.exchanges));
        begun.fetch_add(usize::from(report.exchanges == 0), Ordering::Relaxed);
    }
    report
}

async fn converse(
    Speaker { address, number, before, rest }: Speaker,
    stop: &AtomicBool,
    begun: &AtomicUsize,
    report: &mut Report,
) -> Result<(), String> {
    let mut noise = Noise::new(number as u64);
    // Spread over time, so that connections do not send in step.
    sleep(Duration::from_millis(noise.below(500)) * rest).await;
    let text = |error: std::io::Error| error.to_string();
    let mut stream =
        timeout(patient(PATIENCE), TcpStream::connect(address)).await.map_err(|_| "connect hangs")?.map_err(text)?;
    let mut name = None;
    while !stop.load(Ordering::Relaxed) {
        let length = 1 + noise.below(4096) as usize;
        let mut sent = noise.take(length);
        if before > 0 {
            for byte in &mut sent {
                *byte = b'a' + *byte % 26;
            }
            sent.push(b'\n');
        }
        let mut back = vec![0; before + sent.len()];
        let (mut read, mut write) = stream.split();
        let both = async { tokio::try_join!(write.write_all(&sent), read.read_exact(&mut back)) };
        timeout(patient(PATIENCE), both).await.map_err(|_| "an exchange hangs")?.map_err(text)?;
        if sent != back[before..] {
            return Err(format!("{} bytes came back changed", sent.len()));
        }
        back.truncate(before);
        if *name.get_or_insert_with(|| back.clone()) != back {
            return Err("another server answered".to_owned());
        }
        begun.fetch_add(usize::from(report.exchanges == 0), Ordering::Relaxed);
        report.exchanges += 1;
        report.bytes += sent.len();
        let pause = Duration::from_millis(200 + noise.below(600)) * rest;
        let mut unasked = [0];
        if let Ok(end) = timeout(pause, stream.read(&mut unasked)).await {
            return Err(format!("closed, or spoken to, while idle: {end:?}"));
        }
    }
    stream.shutdown().await.map_err(text)?;
    let mut rest = Vec::new();
    timeout(patient(PATIENCE), stream.read_to_end(&mut rest)).await.map_err(|_| "the end hangs")?.map_err(text)?;
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", rest.len())) }
}

/// A server that echoes thousands of connections in one thread. It lives until the test's process ends.
pub fn echo_many(address: &str) {
    let listener = listen(address.parse().expect("a test's address is well formed"), 4096);
    listener.set_nonblocking(true).expect("a listener can be made nonblocking");
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("the runtime takes a listener");
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    // The client sees a failure too, and reports it.
                    tokio::io::copy(&mut read, &mut write).await.is_ok() && write.shutdown().await.is_ok()
                });
            }
        });
    });
}
