//! A line server for trying tcpshift by hand, with the behaviour of the sample server of Istio's
//! TCP traffic shifting task: `tcp-echo 9000,9001 one` answers each line with `one`, a space and the line.
//!
//! It knows nothing of tcpshift. A last line without a newline is not answered; there is no limit on lines
//! and no timeout, since it stands in for a server that has neither.
#![allow(clippy::print_stdout, reason = "what it says on standard output is its behaviour")]

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const USAGE: &str = "usage: tcp-echo PORT[,PORT...] PREFIX [--bind IP]";

/// What the command line asks for.
struct Arguments {
    ports: Vec<u16>,
    prefix: String,
    bind: Option<IpAddr>,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        say(USAGE);
        return ExitCode::FAILURE;
    };
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Ports, prefix and address; none if they are not exactly that.
fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut plain, mut bind) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.strip_prefix("--bind") {
            Some("") => bind = Some(words.next()?.parse().ok()?),
            Some(rest) if rest.starts_with('=') => bind = Some(rest.trim_start_matches('=').parse().ok()?),
            _ => plain.push(word),
        }
    }
    let [ports, prefix] = <[String; 2]>::try_from(plain).ok()?;
    let ports = ports.split(',').map(|port| port.trim().parse().ok()).collect::<Option<Vec<_>>>()?;
    Some(Arguments { ports, prefix, bind })
}

/// Serves every port until the process is ended. Fails if a port cannot be listened on.
fn serve(arguments: &Arguments) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let prefix: Arc<str> = arguments.prefix.as_str().into();
    runtime.block_on(async {
        for &port in &arguments.ports {
            let listener = listen(arguments.bind, port)
                .map_err(|error| io::Error::other(format!("cannot listen on port {port}: {error}")))?;
            say(&format!("listening on {}, prefix: {prefix}", listener.local_addr()?));
            tokio::spawn(accept(listener, prefix.clone()));
        }
        std::future::pending().await
    })
}

/// Without an address: every address of both families, of IPv4 alone where the host has no IPv6.
fn listen(bind: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match bind {
        Some(ip) => listen_on(SocketAddr::new(ip, port)),
        None => match listen_on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            result => result,
        },
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, prefix: Arc<str>) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                tokio::spawn(answer(connection, prefix.clone()));
            }
            Err(error) => {
                say(&format!("accept failed: {error}"));
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Answers line after line, until the client has said all.
async fn answer(connection: TcpStream, prefix: Arc<str>) {
    let (read, mut write) = connection.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read.read_until(b'\n', &mut line).await {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(_) => return,
            Err(error) => return say(&format!("read failed: {error}")),
        }
        let mut response = format!("{prefix} ").into_bytes();
        response.extend_from_slice(&line);
        say(&format!("request: {}", String::from_utf8_lossy(&line).trim_end()));
        // A client may close before it has the answer.
        let _gone = write.write_all(&response).await.is_err();
        say(&format!("response: {}", String::from_utf8_lossy(&response).trim_end()));
    }
}

/// Prints a line. A closed standard output is no failure.
fn say(line: &str) {
    let _nobody_reads = writeln!(io::stdout(), "{line}").is_err();
}
