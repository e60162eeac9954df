//! Each connection is listed with where its client is, where it leads, and the bytes of each way.

use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};

use tcpshift_tests::client::{connect, converse};
use tcpshift_tests::crowd::Crowd;
use tcpshift_tests::server::Server;
use tcpshift_tests::steer::{ENTRANCE, MESH_ROUTE, SERVICE, await_datapath, direct, inside, start, versions};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{ONE, TWO, Way, base, by_client, list, route};
use crate::steer::many::take_all_places;

#[test]
fn each_client_of_a_gateway_is_listed_with_its_bytes() {
    for way in Way::ALL {
        let world = World::new();
        let _versions = versions();
        let agent = way.start(&world, [50, 50]);
        assert_eq!(list(&agent, &[]).total, 0);
        let clients: Vec<_> = (1..=20).map(|number| (connect(ENTRANCE).unwrap(), "x".repeat(number * 100))).collect();
        let answers: Vec<_> = clients.iter().map(|(client, line)| converse(client, line).unwrap()).collect();
        // The kernel counts what is acknowledged, which may be a moment later.
        let is_counted = |sent: u64, received: u64| {
            let all = list(&agent, &[]).connections;
            let sums = |of: fn(&_) -> Option<u64>| all.iter().filter_map(of).sum::<u64>();
            (sums(|one| one.bytes_sent), sums(|one| one.bytes_received)) == (sent, received)
        };
        let sent: u64 = clients.iter().map(|(_, line)| line.len() as u64 + 1).sum();
        until_so("all bytes are counted", seconds(10), || is_counted(sent, sent + 20 * 4));
        let listed = by_client(&list(&agent, &[]));
        assert_eq!(listed.len(), clients.len());
        for ((client, line), who) in clients.iter().zip(answers) {
            let one = &listed[&client.local_addr().unwrap().to_string()];
            let (subset, endpoint) = if who == "one" { ("v1", "127.0.0.1:9001") } else { ("v2", "127.0.0.1:9002") };
            assert_eq!(one.route.as_deref(), Some("default/entrance"));
            assert_eq!(one.destination, Some(format!("echo.example.com:9000/{subset}").into()));
            assert_eq!(
                (one.endpoint.as_deref(), &*one.datapath, &*one.stage),
                (Some(endpoint), way.datapath(), "open")
            );
            let sent = line.len() as u64 + 1;
            assert_eq!((one.bytes_sent, one.bytes_received), (Some(sent), Some(sent + 4)));
            assert!(one.idle_milliseconds.is_some_and(|idle| idle < 60_000), "{one:?}");
        }
        drop(clients);
        super::await_listed(&agent, &[], 0);
    }
}

#[test]
fn each_client_that_is_pointed_at_an_endpoint_is_listed_with_its_bytes() {
    let world = World::new();
    let peers = Arc::new(Mutex::new(Vec::new()));
    let named = |address: &str| {
        let peers = Arc::clone(&peers);
        Server::each(address, move |stream| {
            peers.lock().unwrap().push((stream.peer_addr()?.to_string(), stream.local_addr()?.to_string()));
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            while let Some(line) = lines.next().transpose()? {
                (&stream).write_all(format!("name {line}\n").as_bytes())?;
            }
            Ok(())
        })
    };
    let (_direct, _versions) = (direct(), [named("127.0.0.1:9001"), named("127.0.0.1:9002")]);
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]));
    await_datapath(&agent, MESH_ROUTE, "connect");
    let crowd = Crowd::hold(&world, "crowd", inside(&world), SERVICE, 30, &[]);
    crowd.reach(30);
    let peers = peers.lock().unwrap().clone();
    let bytes = || list(&agent, &[]).connections.iter().filter_map(|one| one.bytes_sent).sum::<u64>();
    until_so("all bytes are counted", seconds(10), || bytes() == 30 * 6);
    let listed = by_client(&list(&agent, &["default/echo"]));
    assert_eq!(listed.len(), 30);
    for (client, endpoint) in peers {
        let one = &listed[&client];
        assert_eq!((one.endpoint.as_deref(), &*one.datapath, &*one.stage), (Some(&*endpoint), "connect", "open"));
        assert_eq!((one.bytes_sent, one.bytes_received), (Some(6), Some(11)), "{one:?}");
    }
    assert_eq!(crowd.finish().into_iter().collect::<Vec<_>>(), [("name".to_owned(), 30)]);
    super::await_listed(&agent, &[], 0);
}

#[test]
fn a_connection_whose_client_has_ended_its_stream_is_half_closed() {
    for way in Way::ALL {
        let world = World::new();
        // It never ends a stream by itself.
        let waits = |address: &str| {
            Server::each(address, |stream| {
                let mut line = String::new();
                let mut lines = BufReader::new(&stream);
                while lines.read_line(&mut line)? > 0 {}
                std::thread::sleep(seconds(60));
                Ok(())
            })
        };
        let _servers = [waits("127.0.0.1:9001"), waits("127.0.0.1:9002")];
        let agent = way.start(&world, [100, 0]);
        let client = connect(ENTRANCE).unwrap();
        (&client).write_all(b"to the end\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let as_expected = || {
            let listed = list(&agent, &[]).connections;
            listed.iter().any(|one| (&*one.stage, one.bytes_sent) == ("half-closed", Some(11)))
        };
        until_so("it is half-closed", seconds(10), as_expected);
    }
}

/// Then what is known of a connection is in storage of its socket.
#[test]
fn connections_that_find_no_place_in_the_table_are_listed_and_ended_too() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::HandedOver.start(&world, [100, 0]);
    take_all_places(&world);
    let clients = super::clients(ENTRANCE, 10);
    let listed = by_client(&list(&agent, &["--destination", "v1"]));
    assert_eq!(listed.len(), 10);
    for client in &clients {
        let one = &listed[&client.local_addr().unwrap().to_string()];
        assert_eq!((one.bytes_sent, one.endpoint.as_deref()), (Some(6), Some("127.0.0.1:9001")));
    }
    let closed = super::close(&agent, &["--all"]);
    assert_eq!((closed.steered, closed.left.len()), (10, 0), "{closed:?}");
    super::await_listed(&agent, &[], 0);
}
