//! The process that keeps rights for an agent, which has none itself: what works by it, how it ends, and what is without it.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers, ask};
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::objects::gateway;
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::steer::{self, GATEWAY_ROUTE, MESH_ROUTE, await_datapath};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::permitted::{NEEDED, assert_has_none, capabilities, limited};
use super::{KERNEL, start};

const AGENT: [&str; 2] = ["--assign", "agent"];

/// Capabilities by their numbers in the sets of `/proc/PID/status`.
const BPF: u64 = 1 << 39;
const BIND: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const READ: u64 = 1 << 2;
const PTRACE: u64 = 1 << 19;
const RESOURCE: u64 = 1 << 24;

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

/// Whether it has not ended; what becomes of its exit status is up to the first process of the host.
fn is_there(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("\nState:\tZ"))
}

/// The process that keeps rights for an agent.
#[track_caller]
fn rights(agent: &Agent<'_>) -> u32 {
    agent.rights().expect("an agent with rights has a process that keeps them")
}

/// Panics unless its threads have just these rights, in each of these sets.
#[track_caller]
fn assert_keeps(agent: &Agent<'_>, sets: &[&str], threads: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> = threads.iter().map(|(name, set)| ((*name).to_owned(), *set)).collect();
    for set in sets {
        let held: BTreeMap<String, u64> = capabilities(rights(agent), set).into_iter().collect();
        assert_eq!(held, expected, "{set}");
    }
}

#[test]
fn each_thread_keeps_one_right_and_only_while_the_agent_needs_it() {
    let world = World::new();
    let all = ["CapEff", "CapPrm", "CapBnd"];
    let ports = ("tcpshift-rights", BIND);
    let pipes = ("rights-pipes", RESOURCE);
    let maps = ("rights-maps", BPF);
    let sockets = ("rights-sockets", PTRACE | READ);
    let closing = ("rights-closing", NET_ADMIN);
    let steers = [KERNEL[0], KERNEL[1], "--datapath", "auto"];
    // A container may not have all of them.
    let possible = capabilities(std::process::id(), "CapBnd")[0].1;
    for (options, threads) in [
        (&steers[..], &[ports, pipes, maps, sockets, closing][..]),
        (&KERNEL, &[ports, pipes, maps]),
        (&AGENT, &[ports, pipes]),
    ] {
        let mut agent = Agent::start(&world, options);
        assert_has_none(&agent);
        let threads: Vec<_> = threads.iter().copied().filter(|(_, set)| set & !possible == 0).collect();
        assert_keeps(&agent, &all, &threads);
        let helper = rights(&agent);
        for set in ["CapInh", "CapAmb"] {
            assert!(capabilities(helper, set).iter().all(|(_, held)| *held == 0), "{set}");
        }
        assert!(capabilities(helper, "NoNewPrivs").iter().all(|(_, is_set)| *is_set == 1));
        let open = std::fs::read_dir(format!("/proc/{helper}/fd")).unwrap().flatten();
        let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        let leads = |start: &str| open.iter().filter(|to| to.to_string_lossy().starts_with(start)).count();
        assert_eq!((leads("socket:"), leads("/dev/null")), (threads.len(), 3), "{open:?}");
        assert_eq!(open.len(), threads.len() + 3, "{open:?}");
        let limits = std::fs::read_to_string(format!("/proc/{helper}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
        agent.terminate();
        assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
        until_so("it has ended with its agent", seconds(5), || !is_there(helper));
    }
}

#[test]
fn an_agent_without_rights_has_no_such_process() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::launch(&world, "agent", limited(&[]), &AGENT).ready();
    agent.apply(base() + route(&[("v1", 1)]));
    assert_eq!(answers(ENTRANCE, 3), ["one"; 3]);
    assert_eq!(agent.rights(), None);
    // What it has no right to it says as before.
    let low = gateway("low").port(80) + route_of([rule(&[("v1", 1)])]).at("low");
    agent.cli_with(&["apply", "-f", "-"], low).expect(1).complains("no permission for port 80; run as root");
}

/// An edit adds a listener at port 80, which answers.
#[track_caller]
fn assert_opens_port_80(agent: &Agent<'_>) {
    agent.apply(gateway("low").port(80) + route_of([rule(&[("v1", 1)])]).at("low"));
    assert_eq!(answers("127.0.0.1:80", 3), ["one"; 3]);
    assert_eq!(answers("[::1]:80", 3), ["one"; 3]);
}

#[test]
fn one_capability_suffices_for_low_ports() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::launch(&world, "agent", limited(&["net_bind_service"]), &AGENT).ready();
    agent.apply(base() + route(&[("v1", 1)]));
    assert_has_none(&agent);
    assert_opens_port_80(&agent);
    assert_keeps(&agent, &["CapEff", "CapPrm"], &[("tcpshift-rights", BIND)]);
}

#[test]
fn four_capabilities_suffice_to_hand_over_to_those_who_listened_before() {
    let world = World::new();
    let _versions = steer::versions();
    let launcher = limited(&[&NEEDED[..], &["sys_ptrace"]].concat());
    let agent = Agent::launch(&world, "agent", launcher, &steer::options(&world, &[])).ready();
    agent.apply(steer::base(&[steer::ONE, steer::TWO]) + steer::route(GATEWAY_ROUTE, [1, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_has_none(&agent);
    assert_eq!(ask(steer::ENTRANCE).unwrap(), "one");
    // Edits have slot tables, sets and tables of addresses that no plan had.
    for edit in 1..=40 {
        agent.post(steer::route(GATEWAY_ROUTE, [edit % 2, 1 - edit % 2]) + steer::route(MESH_ROUTE, [edit, 99]));
        assert_eq!(ask(steer::ENTRANCE).unwrap(), if edit % 2 == 1 { "one" } else { "two" });
    }
    assert_eq!(steer::datapath(&agent, MESH_ROUTE).0, "connect");
    assert_eq!(agent.status().assignment.by, "kernel");
}

#[test]
fn three_capabilities_steer_to_those_who_listen_later() {
    let world = World::new();
    let agent = Agent::launch(&world, "agent", limited(&NEEDED), &steer::options(&world, &[])).ready();
    agent.apply(steer::base(&[steer::ONE, steer::TWO]) + steer::route(GATEWAY_ROUTE, [1, 0]));
    let _versions = steer::versions();
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_has_none(&agent);
    assert_eq!(ask(steer::ENTRANCE).unwrap(), "one");
}

#[test]
fn a_successor_has_its_own_and_goes_on_with_low_ports() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut agent = start(&world);
    agent.apply(base() + route(&[("v1", 1)]));
    assert_opens_port_80(&agent);
    let before = rights(&agent);
    let none: [&str; 0] = [];
    let successor = agent.successor("successor", command(built("tcpshift-agent")), &none).answers();
    assert_eq!(agent.process().wait(seconds(40)).code(), Some(0), "{}", agent.log());
    until_so("the first one is gone with its agent", seconds(5), || !is_there(before));
    assert_has_none(&successor);
    assert_eq!(answers("127.0.0.1:80", 3), ["one"; 3]);
    successor.apply(gateway("low").port(81));
    assert_eq!(answers("127.0.0.1:81", 3), ["one"; 3]);
    assert!(is_there(rights(&successor)));
}

#[test]
fn it_dies_with_its_agent_and_not_by_the_signals_of_its_group() {
    let world = World::new();
    let mut agent = start(&world);
    let helper = rights(&agent);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::PIPE] {
        kill_process(process(helper), signal).unwrap();
    }
    // As one that is stuck, which does not read that its agent is gone.
    kill_process(process(helper), Signal::STOP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(is_there(helper));
    agent.process().kill();
    until_so("it is gone at once", seconds(1), || !is_there(helper));
}

#[test]
fn without_it_the_agent_serves_on_and_says_what_it_cannot_do() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = start(&world);
    agent.apply(base() + route(&[("v1", 1)]));
    kill_process(process(rights(&agent)), Signal::KILL).unwrap();
    agent.says("the process tcpshift-rights has ended (signal 9)");
    assert_eq!(agent.rights(), None, "nothing of it is left, not even its exit status");
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    let status = agent.cli(&["status"]).expect(0).stdout;
    assert!(status.contains("tcpshift-rights has ended"), "{status}");
    let edit = route(&[("v1", 1), ("v2", 3)]).to_string();
    agent
        .cli_with(&["apply", "-f", "-"], edit)
        .expect(1)
        .complains("tcpshift-rights, which has the right to this, has ended");
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5], "the plan in force stays whole");
    assert_eq!(agent.log().matches("tcpshift-rights has ended").count(), 1, "{}", agent.log());
    // A successor has all rights again.
    let none: [&str; 0] = [];
    let successor = agent.successor("successor", command(built("tcpshift-agent")), &none).answers();
    successor.apply(route(&[("v2", 1)]));
    assert_eq!(answers(ENTRANCE, 5), ["two"; 5]);
}

#[test]
fn one_that_is_stuck_does_not_stop_the_agent() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = start(&world);
    agent.apply(base() + route(&[("v1", 1)]));
    let helper = rights(&agent);
    kill_process(process(helper), Signal::STOP).unwrap();
    let edit = route(&[("v1", 1), ("v2", 3)]).to_string();
    agent.cli_with(&["apply", "-f", "-"], &edit).expect(1).complains("does not answer");
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    kill_process(process(helper), Signal::CONT).unwrap();
    // What was asked for in vain is answered late, and is not taken for another answer.
    until_so("edits work again", seconds(10), || agent.cli_with(&["apply", "-f", "-"], &edit).status == 0);
    assert_eq!(agent.destination("default/tcp-echo", "v2").slots, 7_500);
}

#[test]
fn private_files_keep_one_right_and_that_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let folder = world.folder("private");
    world.write("private/all.yaml", (base() + route(&[("v1", 1)])).to_string());
    let folder_of_another = |uid: u32| {
        std::os::unix::fs::chown(&folder, Some(uid), Some(uid)).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    };
    let _server = Server::named("127.0.0.1:9000", "one");
    folder_of_another(0);
    let mut agent = Agent::start(&world, &[&AGENT[..], &[folder.to_str().unwrap()]].concat());
    assert_has_none(&agent);
    agent.process().kill();
    // The user who typed sudo, whose folder nobody else may enter.
    folder_of_another(1234);
    let mut sudo = command(built("tcpshift-agent"));
    sudo.env("SUDO_UID", "1234");
    let options = [AGENT[0], AGENT[1], folder.to_str().unwrap()];
    let agent = Agent::launch(&world, "sudo", sudo, &options).ready();
    agent.says("cannot be read without CAP_DAC_READ_SEARCH: the agent keeps it for life");
    assert_eq!(answers(ENTRANCE, 3), ["one"; 3]);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        let held = capabilities(agent.pid(), set);
        assert!(
            held.iter().any(|(_, held)| *held == READ) && held.iter().all(|(_, held)| held & !READ == 0),
            "{held:x?}"
        );
    }
}
