//! Trouble that is not the user's doing: ports taken, other agents, descriptors that run out.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::example::{base, entry, route, route_of, rule};
use tcpshift_tests::objects::{Objects, gateway};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

fn all() -> Objects {
    base() + route(&[("v1", 1)])
}

/// An agent that hands connections over may look into other processes.
const MAY_LOOK: [&str; 4] = ["--assign", "kernel", "--datapath", "auto"];

#[test]
fn a_port_that_somebody_serves_is_an_error_that_names_the_process() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut taken = tcp_echo(&world, "31400", "squatter", "0.0.0.0");
    let agent = Agent::start(&world, &MAY_LOOK);
    let output = agent.cli_with(&["apply", "-f", "-"], all()).expect(1);
    for part in ["31400", "tcp-echo", &taken.pid().to_string()] {
        assert!(output.stderr.contains(part), "{part:?} is not in: {}", output.stderr);
    }
    assert_eq!(ask(ENTRANCE).unwrap(), "squatter", "the connection went astray");
    taken.kill();
    agent.apply(all());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}

#[test]
fn a_port_taken_at_start_ends_the_start_and_is_named() {
    let world = World::new();
    let taken = tcp_echo(&world, "31400", "squatter", "0.0.0.0");
    let file = world.write("all.yaml", all().to_string());
    let pid = taken.pid().to_string();
    let may_not_look = ["--assign", "agent", "--datapath", "proxy"];
    for (options, parts) in
        [(MAY_LOOK, ["31400", "tcp-echo", &pid]), (may_not_look, ["31400", "another process", "ss -tlnp"])]
    {
        let words: Vec<&str> = options.into_iter().chain([file.to_str().unwrap()]).collect();
        let mut agent = Agent::launch(&world, "agent", command(built("tcpshift-agent")), &words);
        assert_eq!(agent.process().wait(seconds(10)).code(), Some(1), "{}", agent.log());
        for part in parts {
            agent.says(part);
        }
    }
}

#[test]
fn a_port_taken_by_a_watched_file_is_down_until_it_is_free() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut taken = tcp_echo(&world, "31500", "squatter", "0.0.0.0");
    let file = world.write("all.yaml", all().to_string());
    let words: Vec<&str> = MAY_LOOK.into_iter().chain([file.to_str().unwrap()]).collect();
    let agent = Agent::start(&world, &words);
    let gateway = gateway("tcp-echo-gateway").port(31_400).port(31_500);
    let everywhere = route_of([rule(&[("v1", 1)])]);
    world.write("all.yaml", (base().without("Gateway") + gateway + everywhere).to_string());
    let down = || agent.status().listeners.iter().find_map(|listener| listener.down.clone());
    let named = format!("tcp-echo (pid {})", taken.pid());
    until_so("a listener is down, and the process is named", seconds(5), || {
        down().is_some_and(|reason| reason.contains(&named))
    });
    agent.says("31500");
    assert_eq!(ask(ENTRANCE).unwrap(), "one", "the other port suffers");
    taken.kill();
    until_so("the port is served once it is free", seconds(10), || ask("127.0.0.1:31500").is_ok());
    assert_eq!(ask("127.0.0.1:31500").unwrap(), "one");
}

#[test]
fn another_agent_on_the_port_is_named() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let first = Agent::start::<&str>(&world, &[]);
    first.apply(all());
    // The first agent has the kernel's programs.
    let second = Agent::named(&world, "second", &["--assign", "auto"]);
    let output = second.cli_with(&["apply", "-f", "-"], all()).expect(1);
    assert!(output.stderr.contains("tcpshift-agent") && output.stderr.contains(&first.pid().to_string()), "{output:?}");
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}

#[test]
fn a_live_socket_is_an_error_and_a_dead_one_is_replaced() {
    let world = World::new();
    let mut agent = Agent::start::<&str>(&world, &[]);
    let mut second = Agent::launch(&world, "agent", command(built("tcpshift-agent")), &["--assign", "auto"]);
    assert_eq!(second.process().wait(seconds(10)).code(), Some(1));
    assert!(second.log().contains("agent.sock"), "{}", second.log());
    agent.cli(&["status"]).expect(0);
    agent.process().kill();
    assert!(agent.socket().exists(), "killed, it cannot have tidied up");
    let agent = agent.kill_and_restart();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(agent.socket()), mode(agent.state())), (0o600, 0o700));
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(all());
    let early = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&early, "early").unwrap(), "one");
    let pid = Pid::from_raw(agent.pid().cast_signed());
    // More than the kernel's maps take, and less than the connections below.
    let low = Rlimit { current: Some(240), maximum: Some(240) };
    prlimit(pid, Resource::Nofile, low).unwrap();
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..300 {
        let Ok(stream) = connect(ENTRANCE) else { continue };
        stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        let _no_answer = converse(&stream, "more").is_err();
        held.push(stream);
    }
    assert_eq!(converse(&early, "in need").unwrap(), "one");
    // The operator can still look and act.
    agent.cli(&["status"]).expect(0);
    agent.cli(&["shift", "vs/tcp-echo", "v2=10"]).expect(0);
    agent.cli(&["shift", "vs/tcp-echo", "v1=100"]).expect(0);
    drop(held);
    until_so("connections are served again", seconds(10), || ask(ENTRANCE).is_ok_and(|who| who == "one"));
    assert_eq!(converse(&early, "after").unwrap(), "one");
    let trouble = agent.status().trouble;
    assert!(trouble.iter().any(|one| one.reason.contains("descriptor") && one.count > 0), "{trouble:?}");
}

#[test]
fn a_route_back_to_the_agent_is_refused() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(all());
    let output = agent.apply(entry("tcp-echo-v1", "v1", "127.0.0.1", 31400));
    assert!(output.stderr.contains("endpoint is a listener of this agent"), "{output:?}");
    assert!(ask(ENTRANCE).is_err());
    let failed = agent.destination("default/tcp-echo", "v1");
    assert!(failed.failed > 0 && failed.active == 0, "{failed:?}");
}

#[test]
fn a_low_limit_is_raised_as_far_as_allowed_and_named() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut shell = command("sh");
    shell.args(["-c", "ulimit -S -n 64; ulimit -H -n 200; exec \"$0\" \"$@\""]).arg(built("tcpshift-agent"));
    let agent = Agent::launch::<&str>(&world, "agent", shell, &[]).ready();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft >= 200, "{line}");
    assert!(soft > 200 || agent.log().contains("descriptor"), "a limit of {soft} is not named:\n{}", agent.log());
    agent.apply(all());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}

/// An agent that starts with a limit.
fn limited<'a>(world: &'a World, name: &str, launcher: &[&str]) -> Agent<'a> {
    let mut command = command(launcher[0]);
    command.args(&launcher[1..]).arg(built("tcpshift-agent"));
    Agent::launch(world, name, command, &["--datapath", "proxy", "--assign", "auto"])
}

#[test]
fn an_agent_that_starts_with_few_descriptors_serves_or_says_how_many_it_takes() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut refused = 0;
    for limit in [24, 60, 105, 125, 145, 165, 185] {
        let mut agent = limited(&world, &format!("agent-{limit}"), &["prlimit", &format!("--nofile={limit}:{limit}")]);
        let mut ended = None;
        until_so("it is ready or has ended", seconds(20), || {
            ended = agent.process().ended();
            ended.is_some() || agent.log().contains("ready: ")
        });
        if let Some(status) = ended {
            refused += 1;
            assert_eq!(status.code(), Some(1), "{}", agent.log());
            for part in ["RLIMIT_NOFILE", "a start takes", "LimitNOFILE="] {
                agent.says(part);
            }
        } else {
            agent.apply(all());
            let held: Vec<_> = (0..3).map(|_| connect(ENTRANCE).unwrap()).collect();
            for stream in &held {
                assert_eq!(converse(stream, "with few").unwrap(), "one", "{limit} descriptors");
            }
        }
    }
    assert!(refused > 0, "24 descriptors are enough for no agent");
}

#[test]
fn an_agent_that_gets_too_few_threads_says_so_and_ends() {
    let world = World::new();
    // Root has no RLIMIT_NPROC, so the agent runs as `nobody`, which must be able to write to the folder.
    std::fs::set_permissions(world.path("."), std::fs::Permissions::from_mode(0o777)).unwrap();
    for limit in 1..=4 {
        let limit_of_nobody = format!("--nproc={limit}:{limit}");
        let launcher = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", &limit_of_nobody];
        let mut agent = limited(&world, &format!("agent-{limit}"), &launcher);
        assert_eq!(agent.process().wait(seconds(10)).code(), Some(1), "{limit} threads: {}", agent.log());
        let log = agent.log();
        assert!(log.contains("thread") && log.contains("ulimit -u") && !log.contains("panicked"), "{limit}: {log}");
    }
}

#[test]
fn a_dying_endpoint_is_counted_and_survived() {
    let world = World::new();
    let mut echo = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(all());
    let held = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");
    echo.kill();
    assert!(converse(&held, "after").is_err());
    assert!(ask(ENTRANCE).is_err());
    assert!(agent.destination("default/tcp-echo", "v1").failed > 0);
    let _again = tcp_echo(&world, "9000", "again", "127.0.0.1");
    assert_eq!(ask(ENTRANCE).unwrap(), "again");
}
