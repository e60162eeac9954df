//! Takeover: another agent serves in the place of the running one, and nobody notices; and if it comes to nothing,
//! the running one goes on as if there had been none.

use std::fmt::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tcpshift_agent::handover::take;
use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{GATEWAY, ask, connect, converse, refused};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::load::{Load, echo_many};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::routes::{example_text, ground, route, together};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

const NONE: [&str; 0] = [];

/// An agent that leads to a server `one`, whose two ports are both versions.
fn served(world: &World) -> (Agent<'_>, Process) {
    let server = tcp_echo(world, "9000,9100", "one", "127.0.0.1");
    let agent = Agent::start(world, &NONE);
    agent.apply(&together(&[&ground(), &route(&[("v1", 1)])]));
    (agent, server)
}

pub(crate) fn program() -> Command {
    command(built("tcpshift-agent"))
}

/// The same program on one core, where it has one worker.
fn on_one_core() -> Command {
    let mut launcher = command("taskset");
    launcher.args(["-c", "0"]).arg(built("tcpshift-agent"));
    launcher
}

/// Has another agent take over, and waits for the end of the first.
fn succeed<'a>(mut agent: Agent<'a>, process: &str, launcher: Command) -> Agent<'a> {
    let successor = agent.successor(process, launcher, &NONE).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    successor
}

/// So many takeovers while so many connections are made by each; their number, and how long it took.
fn takeovers(takeovers: usize, connections: usize) -> (usize, Duration) {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let began = Instant::now();
    let rush = Rush::start(GATEWAY, 8);
    for number in 1..=takeovers {
        rush.go_on(connections / 2);
        agent = succeed(agent, &format!("agent-{number}"), program());
        rush.go_on(connections / 2);
    }
    (rush.finish(), began.elapsed())
}

#[test]
fn five_thousand_connections_do_not_notice_three_takeovers() {
    let (made, _) = takeovers(3, 1_700);
    assert!(made >= 5_000, "{made}");
}

/// Run by `cargo xtask soak`, in release.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_takeover() {
    for round in 1..=10 {
        let (made, took) = takeovers(5, 10_000);
        assert!(made >= 50_000, "{made}");
        let each = took.as_secs_f64();
        eprintln!("round {round}: {made} connections over 5 takeovers in {each:.1} s, none refused or reset");
    }
}

#[test]
fn live_connections_go_on_in_the_old_agent_until_they_end() {
    let world = World::new();
    echo_many("127.0.0.1:9000");
    let mut agent = Agent::start(&world, &NONE);
    agent.apply(&together(&[&ground(), &route(&[("v1", 1)])]));
    let load = Load::start(GATEWAY, 200);
    let successor = agent.successor("successor", program(), &NONE).answers();
    let later = Load::start(GATEWAY, 50);
    let destination = successor.destination("default/tcp-echo", "v1");
    assert_eq!((destination.opened, destination.active), (50, 50), "the new agent has the new ones alone");
    // Every one of them says something several times meanwhile.
    sleep(Duration::from_secs(2));
    assert!(agent.process().ended().is_none(), "{}", agent.log());
    load.finish();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    later.finish();
    assert!(successor.socket().exists(), "the socket belongs to the new agent");
}

#[test]
fn the_old_agent_waits_for_connections_no_longer_than_it_was_told_to() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let mut agent = Agent::start(&world, &["--drain-timeout", "1s"]);
    agent.apply(&together(&[&ground(), &route(&[("v1", 1)])]));
    let held = connect(GATEWAY).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");
    let _successor = agent.successor("successor", program(), &NONE).answers();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert_eq!(ask(GATEWAY).unwrap(), "one");
}

#[test]
fn the_number_of_workers_may_differ() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let rush = Rush::start(GATEWAY, 4);
    for (number, launcher) in [on_one_core(), program(), on_one_core(), program()].into_iter().enumerate() {
        agent = succeed(agent, &format!("agent-{number}"), launcher);
        rush.go_on(100);
    }
    rush.finish();
}

#[test]
fn six_hundred_listeners_go_over() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start(&world, &NONE);
    let mut gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: tcp-echo-gateway}\n\
                       spec:\n  selector: {istio: ingressgateway}\n  servers:\n"
        .to_owned();
    for port in 20_000..20_600 {
        writeln!(gateway, "  - {{port: {{number: {port}, name: tcp-{port}, protocol: TCP}}, hosts: [\"*\"]}}").unwrap();
    }
    agent.apply(&ground());
    let everywhere = route(&[("v1", 1)]).replace("  - match: [{port: 31400}]\n    route:", "  - route:");
    agent.apply(&together(&[&gateway, &everywhere]));
    assert_eq!(agent.status().listeners.len(), 600);
    let successor = succeed(agent, "successor", program());
    let status = successor.status();
    assert_eq!(status.listeners.len(), 600);
    for port in 20_000..20_600 {
        assert_eq!(ask(&format!("127.0.0.1:{port}")).unwrap(), "one", "{port}");
    }
}

#[test]
fn the_state_goes_over_and_changes_go_on() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    for number in 0..4 {
        agent.apply(&route(&[("v1", 50 - number), ("v2", 50 + number)]));
        let before = agent.objects("vs");
        agent = succeed(agent, &format!("agent-{number}"), program());
        assert_eq!(agent.objects("vs"), before);
    }
    agent.apply(&route(&[("v2", 1)]));
    assert_eq!(ask(GATEWAY).unwrap(), "one");
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
                let text = documents(&route(&[("v1", 100), ("v2", weight as u32)]));
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

/// The example at other ports, as a file.
pub(crate) fn file(world: &World, name: &str, ports: &[u16]) -> PathBuf {
    let mut text = together(&[&example_text("services.yaml"), &example_text("workload-entries.yaml")]);
    let all_v1 = example_text("all-v1.yaml");
    let (ground, route) = all_v1.rsplit_once("---").unwrap();
    let mut servers = String::new();
    for port in ports {
        writeln!(servers, "  - {{port: {{number: {port}, name: tcp-{port}, protocol: TCP}}, hosts: [\"*\"]}}").unwrap();
    }
    let (before, _) = ground.split_once("  servers:\n").unwrap();
    write!(text, "\n---\n{before}  servers:\n{servers}\n---\n").unwrap();
    let rule = ground.rsplit_once("---").unwrap().1;
    write!(text, "{rule}\n---\n{}", route.replace("  - match:\n    - port: 31400\n    route:", "  - route:")).unwrap();
    world.write(name, text)
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

#[test]
fn an_agent_that_cannot_start_leaves_the_old_one_serving() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let rush = Rush::start(GATEWAY, 2);
    let bad = world
        .write("bad.yaml", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: x}\nspec: {n: 1}\n");
    let missing = world.path("missing.yaml");
    for (number, path) in [bad, missing].iter().enumerate() {
        let mut failing = agent.successor(&format!("failing-{number}"), program(), &[path]);
        assert_eq!(failing.process().wait(seconds(20)).code(), Some(1), "{}", failing.log());
        assert!(failing.log().contains(path.file_name().unwrap().to_str().unwrap()), "{}", failing.log());
        until_so("changes go on", seconds(5), || {
            let text = documents(&route(&[("v1", 100 + number as u32)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
    }
    rush.go_on(20);
    rush.finish();
    let agent = succeed(agent, "successor", program());
    assert_eq!(ask(GATEWAY).unwrap(), "one");
    drop(agent);
}

#[test]
fn one_takes_over_at_a_time_and_nothing_is_changed_meanwhile() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rush = Rush::start(GATEWAY, 2);
    for round in 0..3_u32 {
        // An agent that asked for everything, has it, and is not ready yet.
        let taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
        assert!(taken.sockets.len() >= 2 || std::thread::available_parallelism().unwrap().get() == 1);
        let output = agent.cli_with(&["apply", "-f", "-"], route(&[("v1", 1), ("v2", round + 1)]).as_bytes());
        output.expect(1).complains("another agent is taking over");
        agent.cli(&["status"]).expect(0);
        let mut second = agent.successor(&format!("second-{round}"), program(), &NONE);
        assert_eq!(second.process().wait(seconds(20)).code(), Some(1));
        assert!(second.log().contains("handing over to another one already"), "{}", second.log());
        // And that dies, as by `kill -9`.
        drop(taken);
        until_so("changes go on", seconds(5), || {
            let text = documents(&route(&[("v1", 1), ("v2", round + 1)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
    }
    // One that goes before it has anything, and one that speaks rubbish.
    for word in ["tcpshift-handover-1", "tcpshift-handover-0"] {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        let text =
            format!("POST /v1/handover HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {word}\r\n\r\nrubbish");
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
    }
    until_so("changes go on", seconds(5), || {
        agent.request("POST", "/v1/apply", Some(&documents(&route(&[("v1", 7)])))).status == 200
    });
    rush.go_on(20);
    rush.finish();
}

#[test]
fn an_agent_that_dies_when_it_is_ready_leaves_the_old_one_serving() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rush = Rush::start(GATEWAY, 2);
    for round in 0..5_u32 {
        let mut taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
        // It says that it is ready to one that finds it dead when it reads that.
        agent.process().signal(Signal::STOP);
        until_so("every thread of it stands still", seconds(10), || stands_still(agent.pid()));
        runtime.block_on(async {
            tokio::select! {
                biased;
                finished = taken.finish(Vec::new()) => panic!("nobody can have answered: {finished:?}"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        });
        drop(taken);
        agent.process().signal(Signal::CONT);
        until_so("the old one goes on", seconds(10), || {
            agent.log().matches("it was ready and is gone. Going on as before").count() == round as usize + 1
        });
        agent.apply(&route(&[("v1", 1), ("v2", round + 1)]));
        assert!(!agent.status().draining);
        rush.go_on(10);
    }
    rush.finish();
    let agent = succeed(agent, "successor", program());
    assert_eq!(ask(GATEWAY).unwrap(), "one");
    drop(agent);
}

/// A file that takes the agent a while to read.
fn heavy(world: &World) -> PathBuf {
    let mut text = String::new();
    for number in 0..6_000 {
        writeln!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: w-{number}}}\n\
             spec: {{address: 127.0.0.1, labels: {{app: heavy}}}}"
        )
        .unwrap();
    }
    world.write("heavy.yaml", text)
}

#[test]
fn a_new_agent_that_is_killed_on_the_way_leaves_the_old_one_serving() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let heavy = heavy(&world);
    let rush = Rush::start(GATEWAY, 2);
    let mut noise = Noise::new(4);
    for round in 0..12_u32 {
        let mut killed = agent.successor(&format!("killed-{round}"), program(), &[&heavy]);
        sleep(Duration::from_millis(noise.below(150)));
        killed.process().kill();
        assert!(agent.process().ended().is_none(), "{}", agent.log());
        assert!(!agent.log().contains("handed over"), "it was ready too early for this test");
        until_so("changes go on", seconds(5), || {
            let text = documents(&route(&[("v1", 1), ("v2", round + 1)]));
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
        assert_eq!(ask(GATEWAY).unwrap(), "one");
        agent.apply(&route(&[("v1", 1), ("v2", round)]));
    }
}

#[test]
fn a_sighup_during_a_takeover_that_fails_is_obeyed_afterwards() {
    let world = World::new();
    let (agent, _server) = served(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
    agent.reload();
    // Two answers later it has been told.
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
    let rush = Rush::start(GATEWAY, 2);
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
    agent.apply(&ground());
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
    // Nobody accepts: the old one stands still, and dies so.
    agent.process().signal(Signal::STOP);
    until_so("every thread of it stands still", seconds(10), || stands_still(agent.pid()));
    let waiting: Vec<TcpStream> = (0..40).map(|_| connect(GATEWAY).unwrap()).collect();
    agent.process().signal(Signal::KILL);
    agent.process().wait(seconds(10));
    let _successor = successor.answers();
    for stream in &waiting {
        assert_eq!(converse(stream, "still there").unwrap(), "one");
    }
}
