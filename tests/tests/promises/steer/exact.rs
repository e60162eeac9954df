//! Bytes of steered connections are counted exactly, whoever closes first and how.

use std::io::{Read, Write};
use std::mem::offset_of;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::socket_cookie;
use tcpshift_common::layout::{COOKIES, ConnectionRow, CookieRow, stage};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::connect;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::maps::{bpftool, bytes, path};
use tcpshift_tests::process::run;
use tcpshift_tests::server::{Server, reset};
use tcpshift_tests::until::{seconds, until, until_so};
use tcpshift_tests::world::World;

use super::{ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, SERVICE, await_datapath, base, inside, route, start};

/// Ways to end a connection. A client names one by its first byte; the server answers with twice as many bytes as it gets.
const WAYS: [u8; 6] = *b"abcdef";

/// Bytes that a client sends.
const SENT: usize = 100_003;

/// Longer than the kernel delays an acknowledgement (`TCP_DELACK_MAX`, 200 ms). Bytes that are not acknowledged before a reset
/// are not counted as received.
const ACKNOWLEDGED: Duration = Duration::from_millis(300);

/// Where the first byte of the stage is in a row of the map `cookies`.
const STAGE: usize = offset_of!(CookieRow, row) + offset_of!(ConnectionRow, stage);

/// A server that answers as the client's first byte says.
fn server(address: &str) -> Server {
    Server::each(address, |mut stream| {
        let mut bytes = vec![0; SENT];
        stream.read_exact(&mut bytes)?;
        let way = bytes[0];
        stream.write_all(&vec![way; 2 * SENT])?;
        match way {
            // The client closes first, and the server when it has seen that.
            b'a' | b'c' | b'e' => {
                stream.read_to_end(&mut bytes)?;
            }
            // The server closes first.
            b'b' => stream.shutdown(Shutdown::Write)?,
            // The server says that it has sent all, and reads on.
            b'd' => {
                stream.shutdown(Shutdown::Write)?;
                stream.read_to_end(&mut bytes)?;
            }
            // The client has all, and says so by its last byte; then the server resets.
            _ => {
                stream.read_exact(&mut bytes[..1])?;
                std::thread::sleep(ACKNOWLEDGED);
                reset(stream);
            }
        }
        Ok(())
    })
}

/// Sends, and reads all that is answered. Returns what was sent and received.
fn converse(mut stream: TcpStream, way: u8) -> (u64, u64) {
    let mut answer = vec![0; 2 * SENT];
    stream.write_all(&vec![way; SENT]).unwrap();
    stream.read_exact(&mut answer).unwrap();
    let mut more = 0;
    match way {
        // It is closed at once.
        b'a' => drop(stream),
        // The server has closed; the client closes next.
        b'b' | b'd' => assert_eq!(stream.read(&mut answer).unwrap(), 0),
        // It says that it has sent all, and waits for the other's end.
        b'c' => {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut answer).unwrap(), 0);
        }
        // The client resets.
        b'e' => {
            std::thread::sleep(ACKNOWLEDGED);
            reset(stream);
        }
        _ => {
            stream.write_all(&[way]).unwrap();
            more = 1;
            stream.read(&mut answer).unwrap_err();
        }
    }
    (SENT as u64 + more, 2 * SENT as u64)
}

/// Waits until all connections of a route are closed, and gives what was sent and received.
#[track_caller]
fn counted(agent: &Agent<'_>, name: &str, opened: u64) -> (u64, u64) {
    until_so("all are closed", seconds(10), || {
        let to = agent.destination(name, "v1");
        (to.opened, to.active) == (opened, 0)
    });
    let steered = agent.destination(name, "v1").steered.unwrap();
    (steered.bytes_sent, steered.bytes_received)
}

#[test]
fn bytes_of_connections_that_are_handed_over() {
    let world = World::new();
    let _server = server("127.0.0.1:9001");
    let agent = start(&world, &[]);
    agent.apply(base(&[("v1", "127.0.0.1", 9001)]) + route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let (mut sent, mut received) = (0, 0);
    for (opened, way) in (1..).zip(WAYS.into_iter().chain(WAYS)) {
        let (more_sent, more_received) = converse(connect(ENTRANCE).unwrap(), way);
        (sent, received) = (sent + more_sent, received + more_received);
        assert_eq!(counted(&agent, GATEWAY_ROUTE, opened), (sent, received), "{}", char::from(way));
    }
}

/// A client in Python that does as [`converse`].
const CLIENT: &str = "
import socket, struct, sys, time
host, port, way, sent = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])
stream = socket.create_connection((host, port), 10)
stream.sendall(way * sent)
left = 2 * sent
while left:
    left -= len(stream.recv(min(left, 65536)))
if way in b'bd': assert stream.recv(1) == b''
elif way == b'c':
    stream.shutdown(socket.SHUT_WR)
    assert stream.recv(1) == b''
elif way == b'e':
    time.sleep(0.3)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
elif way == b'f':
    stream.sendall(way)
    try: stream.recv(1); sys.exit('no reset')
    except ConnectionResetError: pass
stream.close()
";

#[test]
fn bytes_of_connections_that_are_pointed_at_an_endpoint() {
    let world = World::new();
    let _server = server("127.0.0.1:9001");
    let agent = start(&world, &[]);
    agent.apply(base(&[("v1", "127.0.0.1", 9001)]) + route(MESH_ROUTE, [100, 0]));
    await_datapath(&agent, MESH_ROUTE, "connect");
    let location: Location<'_> = inside(&world);
    let (host, port) = SERVICE.split_once(':').unwrap();
    let (mut sent, mut received) = (0, 0);
    for (opened, way) in (1..).zip(WAYS.into_iter().chain(WAYS)) {
        let mut client = location.command("python3");
        let way_text = char::from(way).to_string();
        client.args(["-c", CLIENT, host, port, &way_text, &SENT.to_string()]);
        run(client, b"", seconds(20)).expect(0);
        sent += SENT as u64 + u64::from(way == b'f');
        received += 2 * SENT as u64;
        assert_eq!(counted(&agent, MESH_ROUTE, opened), (sent, received), "{way_text}");
    }
}

#[test]
fn a_connection_whose_end_no_program_is_told_of_is_counted_out() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:9001").unwrap();
    let agent = start(&world, &[]);
    agent.apply(base(&[("v1", "127.0.0.1", 9001)]) + route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let pair = || (connect(ENTRANCE).unwrap(), listener.accept().unwrap().0);
    let (lost, kept) = (pair(), pair());
    let active = || agent.destination(GATEWAY_ROUTE, "v1").active;
    until_so("both are counted", seconds(5), || active() == 2);
    // Another cookie in its row: when it is closed, the program finds no row of its socket.
    let cookie = socket_cookie(&lost.1).unwrap();
    let key = ((cookie % u64::from(COOKIES)) as u32).to_le_bytes();
    // The connection is counted before its row is written.
    let mut row = until("its row is written", seconds(5), || {
        let row = bytes(&world, "cookies", &key);
        let is_written = row[STAGE] == format!("{:#04x}", stage::OPENED) && row[0] == format!("{:#04x}", cookie as u8);
        is_written.then_some(row)
    });
    row[7] = "0x7f".to_owned();
    let path = path("cookies");
    let key: Vec<String> = key.iter().map(u8::to_string).collect();
    let mut words = vec!["map", "update", "pinned", &path, "key"];
    words.extend(key.iter().map(String::as_str));
    words.push("value");
    words.extend(row.iter().map(String::as_str));
    bpftool(&world, &words);
    drop(lost);
    until_so("it is counted out", seconds(30), || active() == 1);
    // The line is written after the counts are changed, by another thread.
    until_so("the log says it", seconds(10), || agent.log().contains("ended unseen"));
    drop(kept);
    until_so("the other one is closed", seconds(5), || active() == 0);
}
