//! Files and pins that are removed while the agent runs: the agent makes them again, or reports it.

use std::fs;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

fn served(world: &World) -> (Agent<'_>, Server) {
    let server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    (agent, server)
}

#[test]
fn commands_are_answered_again_after_the_admin_socket_was_removed() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let (socket, lock) = (agent.socket(), world.path("agent.sock.lock"));
    for files in [&[&socket][..], &[&socket, &lock]] {
        for file in files {
            fs::remove_file(file).unwrap();
        }
        until_so("the socket is there again", seconds(10), || socket.exists() && lock.exists());
        agent.apply(route(&[("v1", 1 + files.len() as u32)]));
    }
    // It is this agent's alone, and goes with it.
    let mut second = Agent::launch(&world, "agent", command(built("tcpshift-agent")), &["--assign", "auto"]);
    assert_eq!(second.process().wait(seconds(20)).code(), Some(1));
    assert!(second.log().contains("another agent answers at"), "{}", second.log());
    let successor = agent.successor::<&str>("successor", command(built("tcpshift-agent")), &[]).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    let mut agent = successor;
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    assert!(!socket.exists() && !lock.exists());
}

#[test]
fn what_was_applied_outlasts_a_state_directory_that_was_removed() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let before = agent.objects("virtualservices");
    fs::remove_dir_all(agent.state()).unwrap();
    until_so("the directory is there again", seconds(10), || {
        agent.log().contains("somebody removed the state directory")
    });
    agent.apply(route(&[("v1", 2)]));
    let agent = agent.kill_and_restart();
    assert_eq!(agent.objects("virtualservices").len(), before.len());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    // Another directory has the state directory's path: the agent does not touch it.
    let aside = world.path("aside");
    fs::rename(agent.state(), &aside).unwrap();
    fs::create_dir_all(agent.state().join("objects")).unwrap();
    fs::write(agent.state().join("objects/of-somebody.yaml"), "").unwrap();
    let noted = || agent.status().notes.iter().any(|note| note.contains("is another one by now"));
    until_so("it is said", seconds(10), noted);
    fs::remove_dir_all(agent.state()).unwrap();
    fs::rename(&aside, agent.state()).unwrap();
    until_so("it is over", seconds(10), || !noted());
}
