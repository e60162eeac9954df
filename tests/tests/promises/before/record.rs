//! Records what the release before says and stores.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::dns::Dns;
use tcpshift_tests::handover::Wire;
use tcpshift_tests::process::command;
use tcpshift_tests::server::Server;
use tcpshift_tests::steer::{GATEWAY_ROUTE, direct, versions};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{NAME, Said, copy_folder, data, in_force, kernel_forms, objects, steering};
use crate::steer::upgrade::before;

/// How an agent asks another one to hand over: today's words.
const ASK: &str = "POST /v1/handover HTTP/1.1\r\nHost: tcpshift\r\nConnection: upgrade\r\nUpgrade: tcpshift-handover-1\r\n\
                   Content-Length: 0\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcpshift-handover-1\r\n\r\n";

/// Both sides of a dialogue, as it goes on.
#[derive(Default)]
struct Recorder(Vec<Said>);

impl Recorder {
    fn head(&mut self, by: &str, head: &str) {
        self.0.push(Said { by: by.to_owned(), head: Some(head.to_owned()), message: None, descriptors: 0 });
    }

    fn message(&mut self, by: &str, message: &Value, descriptors: usize) {
        self.0.push(Said { by: by.to_owned(), head: None, message: Some(message.clone()), descriptors });
    }

    fn write(&self, name: &str) {
        let lines: Vec<String> = self.0.iter().map(|said| serde_json::to_string(said).unwrap()).collect();
        fs::write(data(name), lines.join("\n") + "\n").unwrap();
    }
}

/// An agent of the release before, with everything that is recorded.
fn served(world: &World) -> (Agent<'_>, Dns, [Server; 4]) {
    let dns = Dns::start(world);
    dns.say(NAME, Ipv4Addr::LOCALHOST);
    let ([four, six], [one, two]) = (direct(), versions());
    let agent = Agent::launch(world, "agent", before(), &steering(world)).ready();
    agent.apply(objects());
    agent.cli(&["shift", "vs/entrance", "v2=45%"]).expect(0);
    until_so("the name is known", seconds(10), || agent.destination(GATEWAY_ROUTE, "v1").endpoints > 0);
    (agent, dns, [four, six, one, two])
}

#[test]
#[ignore = "needs the release before: cargo xtask upgrade --record"]
fn record_what_the_release_before_says_and_stores() {
    let world = World::new();
    let (mut agent, _dns, _servers) = served(&world);
    fs::remove_dir_all(data("")).ok();
    fs::create_dir_all(data("")).unwrap();
    fs::write(data("commit"), include_str!("../../../../xtask/release-before")).unwrap();
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap() + "\n";
    fs::write(data("in-force.json"), pretty(&in_force(&agent))).unwrap();
    fs::write(data("kernel.json"), pretty(&kernel_forms(&world))).unwrap();
    copy_state(&agent, "state");

    // As an agent that takes over from it.
    let mut recorder = Recorder::default();
    let mut wire = Wire::new(UnixStream::connect(agent.socket()).unwrap());
    wire.say(ASK);
    recorder.head("other", ASK);
    recorder.head("before", &wire.head());
    let mut all = Vec::new();
    loop {
        let (message, descriptors) = wire.receive().expect("it says something");
        recorder.message("before", &message, descriptors.len());
        all.extend(descriptors);
        let answer = match &message {
            Value::String(said) if said == "Complete" => json!({"Ready": {"unwanted": []}}),
            Value::String(said) if said == "Released" => break,
            Value::Object(object) if object.contains_key("Sockets") => json!("Received"),
            _ => continue,
        };
        wire.send(&answer, &[]);
        recorder.message("other", &answer, 0);
    }
    recorder.write("gives.jsonl");
    drop((wire, all));
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    takes(&world);
    begun(&world);
}

/// Copies its state, but for the file that is only locked.
fn copy_state(agent: &Agent<'_>, name: &str) {
    copy_folder(&agent.state(), &data(name));
    fs::remove_file(data(name).join("lock")).ok();
}

/// As an agent from which it takes over: what it answers to today's words.
fn takes(world: &World) {
    let mut agent =
        Agent::launch(world, "agent", command(tcpshift_tests::process::built("tcpshift-agent")), &steering(world))
            .ready();
    let (path, real) = (agent.socket(), agent.socket().with_extension("real"));
    fs::rename(&path, &real).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let successor = agent.successor("successor", before(), &steering(world));
    let mut new = Wire::new(listener.accept().unwrap().0);
    let mut recorder = Recorder::default();
    let asked = new.head();
    recorder.head("before", &asked);
    let mut old = Wire::new(UnixStream::connect(&real).unwrap());
    old.say(&asked);
    assert!(old.head().contains(" 101 "));
    new.say(SWITCHED);
    recorder.head("other", SWITCHED);
    // It looks for the socket that it is handed.
    fs::rename(&real, &path).unwrap();
    loop {
        let (message, descriptors) = old.receive().expect("it says something");
        new.send(&message, &descriptors);
        recorder.message("other", &message, descriptors.len());
        match &message {
            Value::String(said) if said == "Released" => break,
            Value::Object(object) if object.contains_key("Hello") => continue,
            _ => {}
        }
        let (message, descriptors) = new.receive().expect("it says something");
        recorder.message("before", &message, descriptors.len());
        old.send(&message, &[]);
    }
    recorder.write("takes.jsonl");
    drop((old, new));
    let mut successor = successor.answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    successor.process().kill();
}

/// A change of several objects that a crash interrupts: the journal is valid, and no file of it is written.
fn begun(world: &World) {
    let mut launcher = command("strace");
    launcher.args(["-f", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2"]);
    launcher.args(["-e", "inject=rename,renameat,renameat2:signal=KILL:when=2"]);
    launcher.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(before().get_args().last().unwrap());
    let mut agent = Agent::launch_as(world, "agent", "begun", launcher, Stdio::null(), &["--assign", "agent"]);
    let socket = agent.socket();
    until_so("it answers", seconds(20), || request(&socket, "GET", "/v1/status", None).is_ok());
    let change =
        tcpshift_tests::steer::route(GATEWAY_ROUTE, [10, 90]) + tcpshift_tests::steer::route("default/echo", [5, 95]);
    request(&socket, "POST", "/v1/apply", Some(&documents(change))).unwrap_err();
    agent.process().wait(seconds(20));
    assert!(Path::new(&agent.state()).join("journal.json").exists());
    copy_state(&agent, "state-begun");
}
