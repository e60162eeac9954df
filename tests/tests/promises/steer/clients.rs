//! Unchanged clients: `nc`, `curl`, Python, a static program in C; and unusual ways to connect.

use std::collections::BTreeMap;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::process::{command, run};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

use super::{MESH_ROUTE, ONE, TWO, assert_split, base, direct, inside, route, start, version, versions};

/// A program that makes so many connections, and prints the name of each server on a line.
struct Client {
    name: &'static str,
    program: &'static str,
    arguments: Vec<String>,
    connections: usize,
}

/// The beginning of the clients in Python.
const PYTHON: &str = "
import errno, select, socket, sys
def line(s):
    s.settimeout(5)
    f = s.makefile('rw')
    f.write('hello\\n'); f.flush()
    name = f.readline().split()[0]
    peer = s.getpeername()
    assert peer[:2] == asked[:2], (peer, asked)
    print(name)
    f.close(); s.close()
def later(s):
    s.setblocking(False)
    code = s.connect_ex(asked)
    assert code in (0, errno.EINPROGRESS), errno.errorcode[code]
    assert select.select([], [s], [], 5)[1]
    code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert code == 0, errno.errorcode[code]
v4, v6, mapped = ('10.99.0.1', 9000), ('fd99::1', 9000), ('::ffff:10.99.0.1', 9000)
INET6 = socket.AF_INET6
";

fn python(name: &'static str, connections: usize, script: &str) -> Client {
    let script = format!("{PYTHON}for _ in range({connections}):\n{script}");
    Client { name, program: "python3", arguments: vec!["-c".to_owned(), script], connections }
}

fn shell(name: &'static str, connections: usize, script: &str) -> Client {
    let script = format!("for _ in $(seq {connections}); do {script}; done");
    Client { name, program: "sh", arguments: vec!["-c".to_owned(), script], connections }
}

/// A client in C, linked statically: only the kernel can steer it.
const C: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9000)}, peer;
        socklen_t size = sizeof peer;
        inet_pton(AF_INET, "10.99.0.1", &to.sin_addr);
        char answer[64] = {0};
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (struct sockaddr *)&to, sizeof to) || write(s, "hello\n", 6) != 6) return 1;
        if (read(s, answer, sizeof answer - 1) <= 0) return 2;
        if (getpeername(s, (struct sockaddr *)&peer, &size) || memcmp(&peer, &to, sizeof to)) return 3;
        *strchr(answer, ' ') = 0;
        puts(answer);
        close(s);
    }
    return 0;
}
"#;

fn static_program(world: &World) -> Client {
    let (source, program) = (world.write("client.c", C), world.path("client"));
    let mut compile = command("cc");
    compile.args(["-static", "-O1", "-o"]).arg(&program).arg(source);
    run(compile, b"", seconds(60)).expect(0);
    let arguments = vec!["-c".to_owned(), format!("exec {}", program.display())];
    Client { name: "C, static", program: "sh", arguments, connections: 20 }
}

fn all(world: &World) -> Vec<Client> {
    let four = "    asked = v4; s = socket.socket()\n";
    let six = "    asked = v6; s = socket.socket(INET6)\n";
    let mapped = "    asked = mapped; s = socket.socket(INET6)\n";
    let mut clients = vec![
        shell("nc", 5, "echo hello | nc -N -w 5 10.99.0.1 9000 | cut -d' ' -f1"),
        shell("nc over IPv6", 5, "echo hello | nc -N -w 5 fd99::1 9000 | cut -d' ' -f1"),
        shell("curl", 5, "curl -sS -m 5 http://10.99.0.1:9000/; echo"),
        shell("curl over IPv6", 5, "curl -sS -m 5 'http://[fd99::1]:9000/'; echo"),
        static_program(world),
    ];
    for (name, socket) in [("Python", four), ("Python, IPv6", six), ("Python, mapped", mapped)] {
        clients.push(python(name, 20, &format!("{socket}    s.connect(asked); line(s)\n")));
        clients.push(python(name, 20, &format!("{socket}    later(s); line(s)\n")));
    }
    clients
}

/// Who answered a client of the world's group.
#[track_caller]
fn who(world: &World, client: &Client) -> BTreeMap<String, usize> {
    let mut command = inside(world).command(client.program);
    command.args(&client.arguments);
    let output = run(command, b"", seconds(40)).expect(0);
    let mut tally = BTreeMap::new();
    for line in output.stdout.lines() {
        *tally.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(tally.values().sum::<usize>(), client.connections, "{}: {output:?}", client.name);
    tally
}

fn served(world: &World) -> (Agent<'_>, [Server; 4]) {
    let ([four, six], [one, two]) = (direct(), versions());
    let agent = start(world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    (agent, [four, six, one, two])
}

#[test]
fn clients_that_know_nothing_are_steered() {
    let world = World::new();
    let (agent, _servers) = served(&world);
    let clients = all(&world);
    let answers = |name: &str| {
        for client in &clients {
            let expected = BTreeMap::from([(name.to_owned(), client.connections)]);
            assert_eq!(who(&world, client), expected, "{}", client.name);
        }
    };
    answers("one");
    agent.apply(route(MESH_ROUTE, [0, 100]));
    answers("two");
    agent.apply(route(MESH_ROUTE, [50, 50]));
    for client in &clients {
        let tally = who(&world, client);
        assert!(tally.keys().all(|name| ["one", "two"].contains(&name.as_str())), "{}: {tally:?}", client.name);
    }
}

/// A count of the network namespace, as `TCPFastOpenActive`.
fn kernel_count(name: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with("TcpExt:")).collect();
    let at = lines[0].split(' ').position(|word| word == name).unwrap();
    lines[1].split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn fast_open_is_steered() {
    let world = World::new();
    // Asked for by both ends, and granted to every listener.
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1027").unwrap();
    let (agent, _servers) = served(&world);
    let script = "    asked = v4; s = socket.socket()\n\
        \x20   s.sendto(b'hello\\n', socket.MSG_FASTOPEN, asked); s.settimeout(5)\n\
        \x20   assert s.getpeername() == asked, s.getpeername()\n\
        \x20   print(s.recv(100).decode().split()[0]); s.close()\n";
    let client = python("fast open", 200, script);
    for (weights, name) in [([100, 0], "one"), ([0, 100], "two")] {
        agent.apply(route(MESH_ROUTE, weights));
        assert_eq!(who(&world, &client), BTreeMap::from([(name.to_owned(), 200)]));
    }
    agent.apply(route(MESH_ROUTE, [80, 20]));
    assert_split(&who(&world, &client), 0.2);
    let active = kernel_count("TCPFastOpenActive");
    assert!(active > 300, "{active} of 600 connections began with data");
}

#[test]
fn sockets_of_mptcp_are_steered_and_know_whom_they_asked_for() {
    let world = World::new();
    let (agent, _servers) = served(&world);
    agent.apply(route(MESH_ROUTE, [70, 30]));
    for (name, address, family) in [("MPTCP", "v4", "AF_INET"), ("MPTCP, IPv6", "v6", "AF_INET6")] {
        let script = format!("    asked = {address}; s = socket.socket(socket.{family}, socket.SOCK_STREAM, 262)\n");
        assert_split(&who(&world, &python(name, 300, &format!("{script}    s.connect(asked); line(s)\n"))), 0.3);
        assert_split(&who(&world, &python(name, 300, &format!("{script}    later(s); line(s)\n"))), 0.3);
    }
}

#[test]
fn a_socket_that_is_used_again_is_steered_again() {
    let world = World::new();
    let (agent, _servers) = served(&world);
    let _other = version("10.99.0.1:9100", "other");
    // It lets go of its peer by AF_UNSPEC, which Python has no name for.
    let script = "    import ctypes\n\
        \x20   libc = ctypes.CDLL(None)\n\
        \x20   s = socket.socket(); s.settimeout(5)\n\
        \x20   for at in v4, ('10.99.0.1', 9100), v4, ('10.99.0.1', 9100):\n\
        \x20       s.connect(at)\n\
        \x20       assert s.getpeername() == at, (s.getpeername(), at)\n\
        \x20       s.sendall(b'hello\\n'); print(s.recv(100).decode().split()[0])\n\
        \x20       assert libc.connect(s.fileno(), bytes(16), 16) == 0\n";
    let client = Client { connections: 40, ..python("again", 10, script) };
    let expected = [("one", 20), ("other", 20)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(who(&world, &client), BTreeMap::from(expected));
    drop(agent);
}
