//! Servers inside the test: one thread for each connection, and a script for what it does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// A server that listens until it is dropped. Connections that it has live on until their script ends.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on an address and runs the script for each connection, each in a thread of its own.
    pub fn each(address: &str, script: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = listen(address.parse().expect("a test's address is well formed"), 4096);
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted, script) = (stop.clone(), accepted.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                let script = script.clone();
                // A script fails when its peer breaks the connection. The test looks at the peer's side.
                std::thread::spawn(move || script(stream).is_err());
            }
        });
        Self { address, stop, accepted }
    }

    /// A server that says its name at once, then answers each line with its name, a space and the line.
    pub fn named(address: &str, name: &str) -> Self {
        let name = name.to_owned();
        Self::each(address, move |stream| {
            let mut lines = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            while lines.read_line(&mut line)? > 0 {
                (&stream).write_all(format!("{name} {line}").as_bytes())?;
                line.clear();
            }
            Ok(())
        })
    }

    /// A server that sends back what it gets.
    pub fn echo(address: &str) -> Self {
        Self::each(address, |mut stream| {
            let mut bytes = [0; 16_384];
            loop {
                match stream.read(&mut bytes)? {
                    0 => return stream.shutdown(Shutdown::Write),
                    count => stream.write_all(&bytes[..count])?,
                }
            }
        })
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A connection wakes the accepting thread. It fails if the listener is closed already, or if the dropping thread is in
        // another network namespace; both are harmless.
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok();
    }
}

/// A listener with a backlog of a given length.
pub fn listen(address: SocketAddr, backlog: i32) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket can be made");
    let listening = socket
        .set_reuse_address(true)
        .and_then(|()| socket.bind(&address.into()))
        .and_then(|()| socket.listen(backlog));
    listening.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
    socket.into()
}

/// Ends a connection by RST.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket can be told to linger");
    drop(stream);
}
