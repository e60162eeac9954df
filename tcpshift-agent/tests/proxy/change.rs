//! Plans change while connections live; listeners come, stay and go; ports of others are respected.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socket2::{Domain, Socket, Type};
use tcpshift_common::decide::steer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Serving, World, destination, endpoint, plan, reserve, simple, soon};

/// An endpoint that says its name, then echoes.
async fn echo(name: &'static str) -> Serving {
    endpoint(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    })
    .await
}

async fn name(stream: &mut TcpStream) -> String {
    let mut name = [0; 3];
    soon(stream.read_exact(&mut name)).await.unwrap();
    String::from_utf8(name.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_plans_touch_no_live_connection() {
    let (one, two) = (echo("one").await, echo("two").await);
    let at = reserve("127.0.0.1");
    let make = |generation: u64| {
        let share = generation % 101;
        let destinations =
            vec![destination(1, 100 - share, &[(1, one.address)]), destination(2, share, &[(2, two.address)])];
        simple(generation, at.address, steer::CONNECTION, destinations)
    };
    let mut world = World::new(&make(0)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..50_u64 {
        let mut stream = soon(TcpStream::connect(at.address)).await.unwrap();
        assert_eq!(name(&mut stream).await, "one");
        let stop = Arc::clone(&stop);
        clients.push(tokio::spawn(async move {
            let mut turns = 0_u64;
            while !stop.load(Relaxed) {
                let sent = (number << 32 | turns).to_be_bytes().repeat(1 + (turns % 700) as usize);
                stream.write_all(&sent).await.unwrap();
                let mut got = vec![0; sent.len()];
                soon(stream.read_exact(&mut got)).await.unwrap();
                assert_eq!(got, sent);
                turns += 1;
            }
            turns
        }));
    }
    for generation in 1..=200 {
        let next = make(generation);
        assert_eq!(world.proxy.open(&next.plan), []);
        world.publish(next).await;
        // It is in force for everybody who comes now.
        if generation == 100 {
            for _ in 0..20 {
                assert_eq!(name(&mut soon(TcpStream::connect(at.address)).await.unwrap()).await, "two");
            }
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        assert!(soon(client).await.unwrap() > 0);
    }
    assert_eq!(world.destination(1).opened.load(Relaxed), 50);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_goes_serves_who_waits() {
    let one = echo("one").await;
    let at = reserve("127.0.0.1");
    let mut world = World::new(&plan(1, vec![])).await;
    for round in 0..10 {
        let with = simple(2 * round + 2, at.address, steer::CONNECTION, vec![destination(1, 1, &[(1, one.address)])]);
        assert_eq!(world.proxy.open(&with.plan), []);
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(soon(TcpStream::connect(at.address)).await.unwrap());
        }
        world.publish(with).await;
        world.publish(plan(2 * round + 3, vec![])).await;
        assert!(soon(TcpStream::connect(at.address)).await.is_err(), "the port refuses at once");
        for client in &mut clients {
            assert_eq!(name(client).await, "one");
        }
    }
    assert_eq!(world.destination(1).opened.load(Relaxed), 1000);
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_given_up_leaves_no_socket() {
    let (at, other) = (reserve("127.0.0.1"), reserve("127.0.0.1"));
    let one = echo("one").await;
    let make = |address| simple(1, address, steer::CONNECTION, vec![destination(1, 1, &[(1, one.address)])]);
    let in_force = make(at.address);
    let mut world = World::new(&in_force).await;
    assert_eq!(world.proxy.open(&make(other.address).plan), []);
    soon(TcpStream::connect(other.address)).await.unwrap();
    world.proxy.close_unused(&in_force.plan);
    assert!(soon(TcpStream::connect(other.address)).await.is_err());
    assert_eq!(name(&mut soon(TcpStream::connect(at.address)).await.unwrap()).await, "one");
    world.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_an_own_outgoing_connection_can_be_listened_at() {
    let one = echo("one").await;
    let (mut world, at) = World::towards(&one).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(soon(TcpStream::connect(at.address)).await.unwrap());
        name(clients.last_mut().unwrap()).await;
    }
    // The near ends of the connections to the endpoint: those that come from the proxy's own dials.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let towards = format!(" 0100007F:{:04X} 01 ", one.address.port());
    let near: Vec<u16> = table
        .lines()
        .filter(|line| line.contains(&towards))
        .map(|line| line.split_whitespace().nth(1).unwrap().rsplit(':').next().unwrap())
        .map(|port| u16::from_str_radix(port, 16).unwrap())
        .collect();
    assert_eq!(near.len(), 20);
    // The kernel gives one port to several connections, and the others of this process are not the proxy's.
    let opened = near.into_iter().filter(|&port| {
        let near = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let with = simple(2, near, steer::CONNECTION, vec![destination(1, 1, &[(1, one.address)])]);
        world.proxy.open(&with.plan).is_empty()
    });
    assert!(opened.count() > 0);
    drop(clients);
    world.ends_empty().await;
}

const OCCUPY: &str = "TCPSHIFT_TEST_OCCUPY";

/// Not a test of its own: the other process of [`another_process_that_serves_the_port_is_named`].
#[test]
fn occupant() {
    let Ok(shared) = std::env::var(OCCUPY) else { return };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(shared == "shared").unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    println!("\nport {}", socket.local_addr().unwrap().as_socket().unwrap().port());
    std::io::stdout().flush().unwrap();
    // Until the other closes its end.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The other process, what it says (to be held, so that it can go on saying it), and its port.
fn occupy(how: &str) -> (Child, impl Sized, u16) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "change::occupant", "--nocapture"])
        .env(OCCUPY, how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("port ")?.parse().ok()).unwrap();
    (child, lines, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_serves_the_port_is_named() {
    let one = echo("one").await;
    for how in ["alone", "shared"] {
        let (mut child, _says, port) = occupy(how);
        for address in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
            let next =
                simple(1, address.parse().unwrap(), steer::CONNECTION, vec![destination(1, 1, &[(1, one.address)])]);
            let mut world = World::new(&crate::world::plan(0, vec![])).await;
            let mut failures = world.proxy.open(&next.plan);
            tcpshift_agent::proxy::name_occupants(&mut failures);
            let [failure] = &failures[..] else { panic!("{how} {address}: {failures:?}") };
            let text = failure.to_string();
            assert!(text.starts_with(&format!("cannot listen on {address} for default/gw:tcp-0: already served by ")));
            assert!(text.contains(&format!("(pid {}); stop it or choose another port", child.id())), "{text}");
            // A plan can be published without the listener that failed.
            world.publish(next).await;
            world.ends_empty().await;
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
