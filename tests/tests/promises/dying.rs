//! An agent that dies in a takeover, and whose locks and sockets the kernel closes late: the new agent waits for that.

use std::path::{Path, PathBuf};

use tcpshift_agent::handover::give::{Estate, give};
use tcpshift_agent::handover::{Channel, HostAddresses};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use crate::takeover::{file, program};

/// Plays an agent that hands over the locks, dies before it has handed over a socket, and is slow to close what it
/// has: its sockets are those of this process.
fn dies_after_hello(world: &World, requests: std::os::unix::net::UnixListener) {
    let lock = |path: PathBuf| {
        let lock = std::fs::File::create(path).unwrap();
        lock.lock().unwrap();
        lock.into()
    };
    std::fs::create_dir(world.path("agent.state")).unwrap();
    let (lock, state) = (lock(world.path("agent.sock.lock")), lock(world.path("agent.state/lock")));
    let (mut stream, _) = requests.accept().unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        asked.extend(byte);
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcpshift-handover-1\r\n\r\n";
    std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut channel = Channel::new(tokio::net::UnixStream::from_std(stream).unwrap()).unwrap();
        let estate =
            Estate { admin: (requests.into(), lock), state, names: HostAddresses::default(), activated: Vec::new() };
        let given = give(&mut channel, estate, async |_| Err(std::io::Error::other("it dies"))).await;
        given.unwrap_err();
    });
}

#[test]
fn an_old_agent_that_dies_in_a_takeover_with_its_sockets_does_not_take_the_new_one_along() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let held = std::net::TcpListener::bind("[::]:31400").unwrap();
    let file = file(&world, "routes.yaml", &[31400]);
    let requests = std::os::unix::net::UnixListener::bind(world.path("agent.sock")).unwrap();
    let agent = Agent::launch(&world, "agent", program(), &[Path::new("--takeover"), &file]);
    dies_after_hello(&world, requests);
    let agent = agent.answers();
    agent.says("going on with what it had passed on");
    drop(held);
    until_so("it serves", seconds(10), || ask(ENTRANCE).is_ok_and(|answer| answer == "one"));
}
