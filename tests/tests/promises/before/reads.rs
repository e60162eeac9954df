//! Today's agent reads what the release before says and stores.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::Value;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::handover::Wire;
use tcpshift_tests::maps::links;
use tcpshift_tests::process::{built, command};
use tcpshift_tests::steer::{GATEWAY_ROUTE, MESH_ROUTE, direct, start, versions};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{Said, copy_folder, data, dialogue, in_force, kernel_forms, read, steering};

fn parsed(name: &str) -> Value {
    serde_json::from_str(&read(name)).expect("recorded data are JSON")
}

/// An agent with a state folder that the release before has written.
fn with_state<'a>(world: &'a World, name: &str) -> Agent<'a> {
    copy_folder(&data(name), &world.path("agent.state"));
    start(world, &[])
}

#[test]
fn recorded_data_are_of_the_release_before() {
    let commit = include_str!("../../../../xtask/release-before");
    assert_eq!(read("commit"), commit, "`cargo xtask upgrade --record` records what that release says and stores");
}

#[test]
fn its_state_folder_is_read() {
    let world = World::new();
    let agent = with_state(&world, "state");
    assert_eq!(in_force(&agent), parsed("in-force.json"));
}

#[test]
fn a_change_that_it_had_begun_is_finished() {
    let world = World::new();
    let agent = with_state(&world, "state-begun");
    for (route, weights) in [(GATEWAY_ROUTE, [10, 90]), (MESH_ROUTE, [5, 95])] {
        assert_eq!(["v1", "v2"].map(|subset| agent.destination(route, subset).weight), weights, "{route}");
    }
    assert!(!agent.state().join("journal.json").exists(), "it is on the disk");
}

/// What today's agent has in the kernel is of the form that the release before has: it goes on with maps that last, and takes
/// links over by their names. Where this fails, a form has changed: clients of steered connections are told endpoints by
/// `getpeername` after an upgrade, or another layout has a number of its own.
#[test]
fn what_lasts_in_the_kernel_has_its_form() {
    let world = World::new();
    let _servers = (direct(), versions());
    let _agent = with_state(&world, "state");
    // What steers is pinned once names are known, or were waited for.
    until_so("links are pinned", seconds(15), || links(&world).len() > 1);
    assert_eq!(kernel_forms(&world), parsed("kernel.json"));
}

/// What a message with something in it is.
fn kind(message: &Value) -> Option<&String> {
    message.as_object()?.keys().next()
}

/// Descriptors of sockets, as many as there are of an address.
type Sockets = HashMap<String, Vec<OwnedFd>>;

/// Says what the release before said with sockets, with descriptors of sockets at the same addresses.
fn pass_sockets(new: &mut Wire, said: &Said, sockets: &mut Sockets) {
    let message = said.message.as_ref().unwrap();
    let addresses = message["Sockets"]["addresses"].as_array().unwrap();
    let of = |address: &Value| {
        let all = &sockets[address.as_str().unwrap()];
        all[0].try_clone().unwrap()
    };
    let descriptors: Vec<OwnedFd> = addresses.iter().map(of).collect();
    assert_eq!(descriptors.len(), said.descriptors);
    new.send(message, &descriptors);
}

/// An agent of the release before is between today's two: what the old one hands over is said in the words of that release.
#[test]
fn it_is_taken_over_from() {
    let world = World::new();
    let mut agent = with_state(&world, "state");
    // There is no DNS here: only the words of the release before say what the name stands for.
    assert_eq!(agent.destination(GATEWAY_ROUTE, "v1").endpoints, 0);
    let (path, real) = (agent.socket(), agent.socket().with_extension("real"));
    fs::rename(&path, &real).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let successor = agent.successor("successor", command(built("tcpshift-agent")), &steering(&world));
    let mut new = Wire::new(listener.accept().unwrap().0);
    let asked = new.head();
    let mut old = Wire::new(UnixStream::connect(&real).unwrap());
    old.say(&asked);
    old.head();
    fs::rename(&real, &path).unwrap();
    let (mut belongings, mut sockets) = (Vec::new(), Sockets::new());
    loop {
        let (message, descriptors) = old.receive().expect("the old agent says something");
        if message == "Complete" {
            break;
        }
        if let Some(addresses) = message["Sockets"]["addresses"].as_array() {
            for (address, socket) in addresses.iter().zip(descriptors) {
                sockets.entry(address.as_str().unwrap().to_owned()).or_default().push(socket);
            }
            old.send(&"Received".into(), &[]);
        } else {
            belongings = descriptors;
        }
    }
    for said in dialogue("gives.jsonl") {
        match (&*said.by, &said.head, &said.message) {
            ("before", Some(head), _) => new.say(head),
            ("before", _, Some(message)) if message.get("Hello").is_some() => {
                assert_eq!(belongings.len(), said.descriptors);
                new.send(message, &belongings);
            }
            ("before", _, Some(message)) if message.get("Sockets").is_some() => {
                pass_sockets(&mut new, &said, &mut sockets);
            }
            ("before", _, Some(message)) => {
                if message == "Released" {
                    let released = old.receive().expect("the old agent lets go");
                    assert_eq!(released.0, "Released");
                }
                new.send(message, &[]);
            }
            (_, Some(_), _) => {}
            (_, _, expected) => {
                let (message, _) = new.receive().expect("the new agent answers");
                let expected = expected.as_ref().unwrap();
                assert_eq!(kind(&message), kind(expected), "{message} where it was {expected}");
                if kind(&message).is_some() {
                    old.send(&message, &[]);
                }
            }
        }
    }
    drop((old, new, belongings, sockets));
    let successor = successor.answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    assert_eq!(successor.destination(GATEWAY_ROUTE, "v1").addresses, ["127.0.0.1:9001"]);
    assert_eq!(in_force(&successor), parsed("in-force.json"));
}

/// Today's agent hands over to one that says what the release before said.
#[test]
fn it_is_handed_over_to() {
    let world = World::new();
    let mut agent = with_state(&world, "state");
    let mut wire = Wire::new(UnixStream::connect(agent.socket()).unwrap());
    let mut kept = Vec::new();
    for said in dialogue("takes.jsonl") {
        match (&*said.by, said.head, said.message) {
            ("before", Some(head), _) => wire.say(&head),
            ("before", _, Some(message)) => wire.send(&message, &[]),
            (_, Some(_), _) => assert!(wire.head().contains(" 101 ")),
            (_, _, expected) => {
                let (message, descriptors) = wire.receive().expect("the old agent says something");
                assert_eq!(kind(&message), kind(expected.as_ref().unwrap()), "{message}");
                kept.extend(descriptors);
            }
        }
    }
    // It has let go, and ends when the other one has what it needs.
    drop(wire);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
}
