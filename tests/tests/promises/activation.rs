//! Socket activation: an agent serves sockets of systemd that it may not open itself, and they outlast it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tcpshift_agent::handover::take;
use tcpshift_tests::admin::documents;
use tcpshift_tests::agent::{Agent, socket_word};
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::objects::{Objects, gateway};
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

const NONE: [&str; 0] = [];

const BY_ITSELF: [&str; 4] = ["--assign", "agent", "--datapath", "proxy"];

/// An agent that has standard input as its only socket from systemd, and may open no port below 1024.
fn activated<'a>(world: &'a World, process: &str, socket: &TcpListener) -> Agent<'a> {
    let mut launcher = without_privilege("sh");
    launcher
        .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@""#, "sh"])
        .arg(built("tcpshift-agent"));
    let socket = OwnedFd::from(socket.try_clone().unwrap());
    Agent::launch_as(world, "agent", process, launcher, socket.into(), &NONE).ready()
}

fn without_privilege(program: impl Into<PathBuf>) -> Command {
    let mut launcher = command("setpriv");
    launcher.args(["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", "--"]).arg(program.into());
    launcher
}

/// The example at another port.
fn at(port: u16) -> Objects {
    base().without("Gateway")
        + gateway("tcp-echo-gateway").port(port)
        + route_of([rule(&[("v1", 1)]).when("port", port)])
}

#[test]
fn a_low_port_is_served_without_privilege_and_outlasts_the_agent() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let socket = TcpListener::bind("[::]:80").unwrap();
    let mut agent = activated(&world, "first", &socket);
    agent.says("systemd listens on [::]:80 and no route does");
    agent.apply(at(80));
    for _ in 0..20 {
        assert_eq!(ask("127.0.0.1:80").unwrap(), "one");
    }
    agent.cli_with(&["apply", "-f", "-"], at(81)).expect(1).complains("no permission for port 81");

    // It may go from the plan and come again.
    agent.cli(&["delete", "gw", "tcp-echo-gateway"]).expect(0);
    let waiting = connect("127.0.0.1:80").unwrap();
    agent.apply(at(80));
    assert_eq!(converse(&waiting, "waited").unwrap(), "one");
    drop(waiting);

    // Another agent takes it over, and has no more right to open it.
    let second = agent.successor("second", without_privilege(built("tcpshift-agent")), &NONE).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    agent = second;
    assert_eq!(ask("127.0.0.1:80").unwrap(), "one");

    // Without an agent clients wait for the next.
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    let waiting: Vec<_> = (0..10).map(|_| connect("127.0.0.1:80").unwrap()).collect();
    let _third = activated(&world, "third", &socket);
    for stream in &waiting {
        assert_eq!(converse(stream, "waited").unwrap(), "one");
    }
}

#[test]
fn sockets_of_both_kinds_at_one_address_go_over() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let mut agent = Agent::start(&world, &NONE);
    agent.apply(base() + route(&[("v1", 1)]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kinds = |agent: &Agent<'_>| {
        let taken = runtime.block_on(take::take(&agent.socket(), seconds(10))).unwrap().unwrap();
        (taken.sockets.len(), taken.activated.len())
    };
    let goes_on = |agent: &Agent<'_>| {
        until_so("changes go on", seconds(10), || {
            let text = documents(route(&[("v1", 1)]));
            agent.request("POST", "/v1/apply", Some(&text)).status == 200
        });
    };
    let (own, none) = kinds(&agent);
    assert_eq!(none, 0);
    goes_on(&agent);
    // As by ReusePort=yes of a socket unit.
    let shared = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    shared.set_reuse_port(true).unwrap();
    shared.set_reuse_address(true).unwrap();
    shared.bind(&"[::]:31400".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    shared.listen(128).unwrap();
    let mut rush = None;
    for number in 0..2 {
        let mut launcher = command("sh");
        launcher
            .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@""#, "sh"])
            .arg(built("tcpshift-agent"));
        let (process, stdin) = (format!("agent-{number}"), OwnedFd::from(shared.try_clone().unwrap()));
        let next = if number == 0 {
            Agent::launch_as(&world, "agent", &process, launcher, stdin.into(), &["--takeover"])
        } else {
            agent.successor(&process, command(built("tcpshift-agent")), &NONE)
        };
        let next = next.answers();
        assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
        agent = next;
        assert_eq!(kinds(&agent), (own, 1));
        goes_on(&agent);
        // Not before: until an agent has the shared socket, its connections are not accepted.
        rush.get_or_insert_with(|| Rush::start(ENTRANCE, 2)).go_on(100);
    }
    rush.map(Rush::finish);
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let world = World::new();
    let socket = TcpListener::bind("[::]:80").unwrap();
    let mut launcher = command("sh");
    launcher
        .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=1 exec "$@""#, "sh"])
        .arg(built("tcpshift-agent"));
    let agent = Agent::launch_as(&world, "agent", "agent", launcher, OwnedFd::from(socket).into(), &NONE).ready();
    assert!(!agent.log().contains("systemd listens"), "{}", agent.log());
}

#[test]
fn systemd_is_told_who_is_ready() {
    let world = World::new();
    let path = world.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let launcher = || {
        let mut launcher = command(built("tcpshift-agent"));
        launcher.env("NOTIFY_SOCKET", &path);
        launcher
    };
    let agent = Agent::launch(&world, "agent", launcher(), &NONE).ready();
    assert_eq!(told(), format!("MAINPID={}\nREADY=1", agent.pid()));
    let second = agent.successor("second", launcher(), &NONE).answers();
    assert_eq!(told(), format!("MAINPID={}\nREADY=1", second.pid()));
}

/// A process that nobody waits for is killed with this.
struct Orphan(u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0.cast_signed()).unwrap();
        kill_process(pid, Signal::KILL).ok();
    }
}

/// What the unit's `ExecReload=` has `sh` do, with the agent that was built here in the place of the one installed
/// (systemd.service(5), "Command lines").
fn reload(world: &World, agent: &Agent<'_>, options: &[&str]) -> Process {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/systemd/tcpshift.service");
    let unit = std::fs::read_to_string(unit).unwrap().replace("\\\n", " ");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecReload=/bin/sh -c '")?.strip_suffix('\'')).unwrap();
    let program = built("tcpshift-agent").display().to_string();
    let script = line.replace("$$", "$").replace("\\\\", "\\").replace("/usr/local/bin/tcpshift-agent", &program);
    let state = agent.state().display().to_string();
    let run = [&["run", "--takeover", "--state-dir", &state], &BY_ITSELF[..], options].concat().join(" ");
    let mut shell = command("sh");
    shell.args(["-c", &script]).env("TCPSHIFT_RUN", run).env("TCPSHIFT_ADMIN", socket_word(world, "agent"));
    Process::start(world, "reload", shell)
}

#[test]
fn a_reload_of_the_unit_says_what_became_of_the_takeover() {
    let world = World::new();
    let agent = Agent::start(&world, &BY_ITSELF);
    let broken = world.write("broken.yaml", "a: [");
    let mut failed = reload(&world, &agent, &[broken.to_str().unwrap()]);
    assert_eq!(failed.wait(seconds(30)).code(), Some(1), "{}", failed.stderr());
    assert!(failed.stderr().contains("broken.yaml:"), "{}", failed.stderr());
    assert_eq!(agent.status().pid, agent.pid());
    let mut done = reload(&world, &agent, &[]);
    let code = done.wait(seconds(30)).code();
    let next = Orphan(agent.status().pid);
    assert_eq!(code, Some(0), "{}", done.stderr());
    assert_ne!(next.0, agent.pid());
}
