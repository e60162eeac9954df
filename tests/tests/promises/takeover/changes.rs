//! Changes while one agent takes over from another: none that was acknowledged is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, refused};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::example::route;
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{file, program, served, succeed};

#[test]
fn the_state_goes_over_and_changes_go_on() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    for number in 0..4 {
        agent.apply(route(&[("v1", 50 - number), ("v2", 50 + number)]));
        let before = agent.objects("vs");
        agent = succeed(agent, &format!("agent-{number}"), program());
        assert_eq!(agent.objects("vs"), before);
    }
    agent.apply(route(&[("v2", 1)]));
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    assert_eq!(agent.destination("default/tcp-echo", "v2").opened, 1);
}

/// Stops what a test has going, also when it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn commands_are_answered_all_the_time() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let (socket, stop) = (agent.socket(), AtomicBool::new(false));
    let (last, applied, asked) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let agent = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let answer = request(&socket, "GET", "/v1/status", None).expect("the agent answers");
                assert_eq!(answer.status, 200, "{}", answer.body);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            for weight in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let text = documents(route(&[("v1", 100), ("v2", weight as u32)]));
                let answer = request(&socket, "POST", "/v1/apply", Some(&text)).expect("the agent answers");
                match answer.status {
                    200 => {
                        last.store(weight, Ordering::Relaxed);
                        applied.fetch_add(1, Ordering::Relaxed);
                    }
                    503 => assert_eq!(answer.body["reason"], "Unavailable", "{}", answer.body),
                    status => panic!("{status}: {}", answer.body),
                }
            }
        });
        for number in 0..5 {
            let before = applied.load(Ordering::Relaxed);
            agent = succeed(agent, &format!("agent-{number}"), program());
            until_so("changes go on", seconds(10), || applied.load(Ordering::Relaxed) > before + 2);
        }
        agent
    });
    let route = &agent.objects("vs")[0];
    assert_eq!(
        route["spec"]["tcp"][0]["route"][1]["weight"],
        last.load(Ordering::Relaxed),
        "the last that was acknowledged"
    );
    assert!(asked.load(Ordering::Relaxed) > 10);
}

#[test]
fn listeners_come_and_go_with_the_files_of_the_new_agent() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let (old, new) = (file(&world, "old.yaml", &[31400, 31401]), file(&world, "new.yaml", &[31401, 31402]));
    let mut agent = Agent::start(&world, &[&old]);
    assert!(refused("127.0.0.1:31402"));
    let rush = Rush::start("127.0.0.1:31401", 2);
    let successor = agent.successor("successor", program(), &[&new]).answers();
    agent.process().wait(seconds(20));
    rush.go_on(50);
    rush.finish();
    assert!(refused("127.0.0.1:31400"), "nobody wants it any more");
    assert_eq!(ask("127.0.0.1:31402").unwrap(), "one");
    assert_eq!(successor.status().listeners.len(), 2);
}
