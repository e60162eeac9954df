//! `tcp-echo` behaves as the sample server it stands in for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use tcpshift_tests::process::{Process, run};
use tcpshift_tests::until::{seconds, until};
use tcpshift_tests::world::World;

fn tcp_echo(words: &[&str]) -> Command {
    let mut command = tcpshift_tests::process::command(env!("CARGO_BIN_EXE_tcp-echo"));
    command.args(words);
    command
}

fn connect(address: &str) -> TcpStream {
    let stream = until("tcp-echo listens", seconds(10), || TcpStream::connect(address).ok());
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What the server sends until it closes, after all of `input` and a FIN.
fn exchange(address: &str, input: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(input).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn each_line_is_answered_on_every_port_and_family() {
    let world = World::new();
    let echo = Process::start(&world, "echo", tcp_echo(&["9000,9001", "hello"]));
    for address in ["127.0.0.1:9000", "127.0.0.1:9001", "[::1]:9000", "[::1]:9001"] {
        assert_eq!(exchange(address, b"world\nand more\r\n"), b"hello world\nhello and more\r\n", "{address}");
    }
    let said = echo.stdout();
    for line in [
        "listening on [::]:9000, prefix: hello",
        "listening on [::]:9001, prefix: hello",
        "request: world",
        "response: hello world",
    ] {
        assert!(said.lines().any(|said| said == line), "{line:?} is not in\n{said}");
    }
}

#[test]
fn a_last_line_without_a_newline_is_not_answered() {
    let world = World::new();
    let _echo = Process::start(&world, "echo", tcp_echo(&["9000", "one"]));
    assert_eq!(exchange("127.0.0.1:9000", b"first\nsecond"), b"one first\n");
    assert_eq!(exchange("127.0.0.1:9000", b"\n"), b"one \n");
    assert_eq!(exchange("127.0.0.1:9000", b""), b"");
}

#[test]
fn lines_are_bytes_of_any_length() {
    let world = World::new();
    let _echo = Process::start(&world, "echo", tcp_echo(&["9000", "one"]));
    let mut line = [0xff_u8, 0, b'x', 0xc3].repeat(250_000);
    line.push(b'\n');
    let (mut stream, sent) = (connect("127.0.0.1:9000"), line.clone());
    let mut write = stream.try_clone().unwrap();
    let writer =
        std::thread::spawn(move || write.write_all(&sent).and_then(|()| write.shutdown(Shutdown::Write)).unwrap());
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writer.join().unwrap();
    assert_eq!(answer.len(), line.len() + 4);
    assert!(answer.starts_with(b"one ") && answer[4..] == line);
}

#[test]
fn the_answer_comes_before_the_client_has_said_all() {
    let world = World::new();
    let _echo = Process::start(&world, "echo", tcp_echo(&["9000", "one"]));
    let mut stream = connect("127.0.0.1:9000");
    for _ in 0..3 {
        stream.write_all(b"x\n").unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"one x\n");
    }
}

#[test]
fn other_than_two_arguments_is_usage_and_exit_1() {
    for words in [&[][..], &["9000"], &["9000", "one", "two"], &["nonsense", "one"], &["9000", "one", "--bind"]] {
        let output = run(tcp_echo(words), b"", seconds(10)).expect(1);
        assert!(output.stdout.starts_with("usage: tcp-echo "), "{words:?}: {output:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_and_exit_1() {
    let world = World::new();
    let _echo = Process::start(&world, "echo", tcp_echo(&["9000", "one"]));
    drop(connect("127.0.0.1:9000"));
    let output = run(tcp_echo(&["9001,9000", "two"]), b"", seconds(10)).expect(1);
    assert!(output.stdout.contains("9000") && output.stdout.contains("in use"), "{output:?}");
}

#[test]
fn bind_chooses_the_address_and_port_0_any_port() {
    let world = World::new();
    let echo = Process::start(&world, "echo", tcp_echo(&["0", "one", "--bind", "127.0.0.2"]));
    let address = until("it says where it listens", seconds(10), || {
        let said = echo.stdout();
        Some(said.strip_prefix("listening on ")?.split_once(',')?.0.to_owned())
    });
    assert!(address.starts_with("127.0.0.2:") && !address.ends_with(":0"), "{address}");
    assert_eq!(exchange(&address, b"x\n"), b"one x\n");
}

#[test]
fn thousands_of_connections_are_held() {
    let world = World::new();
    let echo = Process::start(&world, "echo", tcp_echo(&["9000", "one", "--bind=127.0.0.1"]));
    let mut streams: Vec<TcpStream> = (0..2000).map(|_| connect("127.0.0.1:9000")).collect();
    for stream in &mut streams {
        stream.write_all(b"x\n").unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"one x\n");
    }
    drop(echo);
}
