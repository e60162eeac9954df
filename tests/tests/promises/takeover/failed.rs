//! Takeovers that come to nothing, or whose agents die on the way: clients are served all the time.

use rustix::process::Signal;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use tcpshift_agent::handover::take;
use tcpshift_tests::admin::documents;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::{Objects, endpoint, gateway, workload_entry};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{NONE, program, served, succeed};

#[test]
fn an_agent_that_cannot_start_leaves_the_old_one_serving() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let rush = Rush::start(ENTRANCE, 2);
    let bad = world.write("bad.yaml", gateway("x").set("spec.unknown", 1).to_string());
    let missing = world.path("missing.yaml");
    for (number, path) in [bad, missing].iter().enumerate() {
        let mut failing = agent.successor(&format!("failing-{number}"), program(), &[path]);
        assert_eq!(failing.process().wait(seconds(20)).code(), Some(1), "{}", failing.log());
        assert!(failing.log().contains(path.file_name().unwrap().to_str().unwrap()), "{}", failing.log());
        until_so("changes go on", seconds(5), || {
            let text = documents(route(&[("v1", 100 + number as u32)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
    }
    rush.go_on(20);
    rush.finish();
    let agent = succeed(agent, "successor", program());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    drop(agent);
}

#[test]
fn one_takes_over_at_a_time_and_nothing_is_changed_meanwhile() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rush = Rush::start(ENTRANCE, 2);
    for round in 0..3_u32 {
        // An agent that asked for everything, has it, and is not ready yet.
        let taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
        assert!(taken.sockets.len() >= 2 || std::thread::available_parallelism().unwrap().get() == 1);
        let output = agent.cli_with(&["apply", "-f", "-"], route(&[("v1", 1), ("v2", round + 1)]));
        output.expect(1).complains("another agent is taking over");
        agent.cli(&["status"]).expect(0);
        let mut second = agent.successor(&format!("second-{round}"), program(), &NONE);
        assert_eq!(second.process().wait(seconds(20)).code(), Some(1));
        assert!(second.log().contains("another one is taking over already"), "{}", second.log());
        // It dies, as by `kill -9`.
        drop(taken);
        until_so("changes go on", seconds(5), || {
            let text = documents(route(&[("v1", 1), ("v2", round + 1)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
    }
    // A client that leaves at once, and one of an unknown protocol that sends rubbish.
    for word in ["tcpshift-handover-1", "tcpshift-handover-0"] {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        let text =
            format!("POST /v1/handover HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {word}\r\n\r\nrubbish");
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
    }
    until_so("changes go on", seconds(5), || {
        agent.request("POST", "/v1/apply", Some(&documents(route(&[("v1", 7)])))).status == 200
    });
    rush.go_on(20);
    rush.finish();
}

#[test]
fn an_agent_that_dies_when_it_is_ready_leaves_the_old_one_serving() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rush = Rush::start(ENTRANCE, 2);
    for round in 0..5_u32 {
        let mut taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
        // The stopped agent reads "ready" only when the sender is dead.
        agent.process().signal(Signal::STOP);
        until_so("every thread of it stands still", seconds(10), || stands_still(agent.pid()));
        runtime.block_on(async {
            tokio::select! {
                biased;
                finished = taken.finish(Vec::new(), None) => panic!("nobody can have answered: {finished:?}"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        });
        drop(taken);
        agent.process().signal(Signal::CONT);
        until_so("the old one goes on", seconds(10), || {
            agent.log().matches("it was ready and is gone. Going on as before").count() == round as usize + 1
        });
        agent.apply(route(&[("v1", 1), ("v2", round + 1)]));
        assert!(!agent.status().draining);
        rush.go_on(10);
    }
    rush.finish();
    let agent = succeed(agent, "successor", program());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    drop(agent);
}

/// A file that takes the agent a while to read.
fn heavy(world: &World) -> PathBuf {
    let at_home = || endpoint("127.0.0.1").label("app", "heavy");
    let entries = (0..6_000).map(|number| workload_entry(&format!("w-{number}"), at_home()));
    world.write("heavy.yaml", entries.collect::<Objects>().to_string())
}

#[test]
fn a_new_agent_that_is_killed_on_the_way_leaves_the_old_one_serving() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let heavy = heavy(&world);
    let rush = Rush::start(ENTRANCE, 2);
    let mut noise = Noise::new(4);
    for round in 0..12_u32 {
        let mut killed = agent.successor(&format!("killed-{round}"), program(), &[&heavy]);
        sleep(Duration::from_millis(noise.below(150)));
        killed.process().kill();
        assert!(agent.process().ended().is_none(), "{}", agent.log());
        assert!(!agent.log().contains("has taken over"), "it was ready too early for this test");
        until_so("changes go on", seconds(5), || {
            let text = documents(route(&[("v1", 1), ("v2", round + 1)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
        assert!(!agent.status().draining);
    }
    let made = rush.finish();
    assert!(made > 50, "{made}");
}

#[test]
fn an_old_agent_that_dies_on_the_way_leaves_the_new_one_what_it_gave() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let heavy = heavy(&world);
    for round in 0..6_u32 {
        let successor = agent.successor(&format!("agent-{round}"), program(), &[&heavy]);
        if round % 2 == 0 {
            until_so("it has what it asked for", seconds(10), || successor.log().contains("taking over"));
        } else {
            sleep(Duration::from_millis(u64::from(round) * 5));
        }
        agent.process().signal(Signal::KILL);
        agent.process().wait(seconds(10));
        agent = successor.answers();
        assert_eq!(ask(ENTRANCE).unwrap(), "one");
        agent.apply(route(&[("v1", 1), ("v2", round)]));
    }
}

#[test]
fn a_sighup_during_a_takeover_that_fails_is_obeyed_afterwards() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
    agent.reload();
    // After two more answers the agent has received the signal.
    agent.cli(&["status"]).expect(0);
    agent.cli(&["status"]).expect(0);
    assert!(!agent.log().contains("SIGHUP"), "{}", agent.log());
    drop(taken);
    until_so("it obeys", seconds(10), || agent.log().contains("SIGHUP: reading the files again"));
    let log = agent.log();
    assert!(log.find("Going on as before") < log.find("SIGHUP"), "{log}");
}

#[test]
fn an_old_agent_that_is_asked_to_end_meanwhile_ends_after_the_takeover() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let heavy = heavy(&world);
    let rush = Rush::start(ENTRANCE, 2);
    let successor = agent.successor("successor", program(), &[&heavy]);
    until_so("it has what it asked for", seconds(10), || successor.log().contains("taking over"));
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(30)).code(), Some(0), "{}", agent.log());
    let successor = successor.answers();
    rush.go_on(20);
    rush.finish();
    drop(successor);
}

#[test]
fn without_an_agent_it_starts_as_usual() {
    let world = World::new();
    let agent = Agent::start(&world, &["--takeover"]);
    assert_eq!(agent.log().matches("none to take over: starting as usual").count(), 1, "{}", agent.log());
    let words = ["--assign", "auto"];
    let mut plain = Agent::launch_as(&world, "agent", "plain", program(), std::process::Stdio::null(), &words);
    assert_eq!(plain.process().wait(seconds(10)).code(), Some(1), "without --takeover it is as ever");
    assert!(plain.log().contains("another agent answers at "), "{}", plain.log());
}

#[test]
fn an_agent_with_another_user_is_refused() {
    let world = World::new();
    let agent = Agent::start(&world, &NONE);
    // Where that user may run it, and talk to the socket.
    let program = world.path("program");
    std::fs::copy(built("tcpshift-agent"), &program).unwrap();
    let permit = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    permit(program.parent().unwrap(), 0o755);
    permit(&agent.socket(), 0o666);
    let mut launcher = command("setpriv");
    launcher.args(["--reuid", "65534", "--clear-groups", "--"]).arg(program);
    let mut other = agent.successor("other", launcher, &["--assign", "auto"]);
    assert_eq!(other.process().wait(seconds(10)).code(), Some(1), "{}", other.log());
    assert!(other.log().contains("runs as user 0 and this one as user 65534"), "{}", other.log());
    agent.apply(base());
}

/// Whether every thread of a process is stopped.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let state = |thread: PathBuf| std::fs::read_to_string(thread.join("stat")).unwrap_or_default();
    threads.flatten().all(|thread| state(thread.path()).contains(") T "))
}

#[test]
fn what_waits_in_the_queue_is_served_by_the_new_agent() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let heavy = heavy(&world);
    let successor = agent.successor("successor", program(), &[&heavy]);
    until_so("it has what it asked for", seconds(10), || successor.log().contains("taking over"));
    // The old agent is stopped, so connections wait in the queue until it is killed.
    agent.process().signal(Signal::STOP);
    until_so("every thread of it stands still", seconds(10), || stands_still(agent.pid()));
    let waiting: Vec<TcpStream> = (0..40).map(|_| connect(ENTRANCE).unwrap()).collect();
    agent.process().signal(Signal::KILL);
    agent.process().wait(seconds(10));
    let _successor = successor.answers();
    for stream in &waiting {
        assert_eq!(converse(stream, "still there").unwrap(), "one");
    }
}
