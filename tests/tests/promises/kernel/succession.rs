//! Takeover with kernel assignment: the link stays and gets another program, and no connection falls between.

use std::fs::DirEntry;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::load::{Load, echo_many};
use tcpshift_tests::maps::{attached, links, path, pinned};
use tcpshift_tests::objects::{gateway, virtual_service};
use tcpshift_tests::process::grouped;
use tcpshift_tests::rush::Rush;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{KERNEL, assigned, start};
use crate::takeover::program;

/// An agent that leads to a server `one`.
fn served(world: &World) -> (Agent<'_>, Server) {
    let server = Server::named("127.0.0.1:9000", "one");
    let agent = start(world);
    agent.apply(base() + route(&[("v1", 1)]));
    (agent, server)
}

/// Has so many connections made, all of which the kernel decides for.
#[track_caller]
fn assert_assigned(agent: &Agent<'_>, address: &str, count: usize) {
    let before = assigned(agent);
    assert_eq!(answers(address, count), vec!["one"; count]);
    assert_eq!(assigned(agent), (before.0 + count as u64, before.1));
}

/// A control group beside the world's.
struct Group(PathBuf);

impl Group {
    fn new(world: &World) -> Self {
        let mut name = world.cgroup().file_name().unwrap().to_owned();
        name.push("-other");
        let path = world.cgroup().with_file_name(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A killed process may still be in the group.
        let begin = Instant::now();
        while std::fs::remove_dir(&self.0).is_err() && begin.elapsed() < seconds(2) {
            sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn the_link_stays_and_gets_the_program_of_the_new_agent() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    for round in 0..4 {
        let before = (links(&world), pinned(&world));
        assert_eq!(before.0.len(), 1);
        let rush = Rush::start(ENTRANCE, 4);
        rush.go_on(100);
        let successor = agent.successor(&format!("agent-{round}"), program(), &KERNEL).answers();
        rush.go_on(100);
        assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
        rush.go_on(20);
        rush.finish();
        agent = successor;
        let after = (links(&world), pinned(&world));
        for (name, link) in &before.0 {
            assert_eq!(after.0[name]["id"], link["id"], "the link is another one");
            assert_ne!(after.0[name]["prog_id"], link["prog_id"], "the program is the old agent's:\n{}", agent.log());
        }
        assert_eq!(after.1, before.1, "names went with the old agent");
        assert_eq!(attached(&world).len(), 1);
        assert_assigned(&agent, ENTRANCE, 30);
        agent.apply(route(&[("v1", 2 + round)]));
        assert_assigned(&agent, ENTRANCE, 10);
    }
    agent.end_and_leave_nothing();
}

/// The numbers of the descriptors by which an agent has the lock of what is pinned.
fn locks(agent: &Agent<'_>) -> Vec<i32> {
    let (folder, open) = (path(""), format!("/proc/{}/fd", agent.pid()));
    let is_lock = |entry: &DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(folder.trim_end_matches('/')))
    };
    let found = std::fs::read_dir(open).unwrap().flatten().filter(is_lock);
    found.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Copies the lock of what is pinned from an agent: it is free when both have closed it.
fn keep_locked(agent: &Agent<'_>) -> OwnedFd {
    let process = pidfd_open(Pid::from_raw(agent.pid().cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let locks = locks(agent);
    assert_eq!(locks.len(), 1);
    pidfd_getfd(process, locks[0], PidfdGetfdFlags::empty()).unwrap()
}

#[test]
fn what_the_old_agent_gives_up_late_is_waited_for() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let lock = keep_locked(&agent);
    let successor = agent.successor("first", program(), &KERNEL);
    until_so("the old agent lets go", seconds(20), || locks(&agent).is_empty());
    sleep(Duration::from_millis(100));
    drop(lock);
    let mut successor = successor.answers();
    assert_assigned(&successor, ENTRANCE, 10);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());

    // One that takes too long: the agent decides, until the next change after that.
    let lock = keep_locked(&successor);
    let last = successor.successor("second", program(), &KERNEL).answers();
    assert_eq!(answers(ENTRANCE, 10), ["one"; 10]);
    last.apply(route(&[("v1", 2)]));
    let assignment = last.status().assignment;
    assert_eq!(assignment.by, "agent");
    assert!(assignment.reason.contains(path("").trim_end_matches('/')), "{}", assignment.reason);
    drop(lock);
    assert_eq!(successor.process().wait(seconds(20)).code(), Some(0), "{}", successor.log());
    last.apply(route(&[("v1", 3)]));
    assert_assigned(&last, ENTRANCE, 10);
    assert_eq!(links(&world).len(), 1);
}

#[test]
fn connections_go_on_in_the_old_agent_and_its_end_unpins_nothing() {
    let world = World::new();
    echo_many("127.0.0.1:9000");
    let mut agent = start(&world);
    agent.apply(base() + route(&[("v1", 1)]));
    let load = Load::start(ENTRANCE, 200);
    let successor = agent.successor("successor", program(), &KERNEL).answers();
    let later = Load::start(ENTRANCE, 50);
    assert_eq!(assigned(&successor), (50, 0));
    let (named, linked) = (pinned(&world), links(&world));
    assert!(agent.process().ended().is_none(), "{}", agent.log());
    load.finish();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert_eq!((pinned(&world), links(&world)), (named, linked));
    successor.apply(route(&[("v1", 7)]));
    assert_eq!(attached(&world).len(), 1);
    later.finish();
}

#[test]
fn an_agent_in_another_group_is_seen_at_listeners_of_both() {
    let world = World::new();
    let group = Group::new(&world);
    let (mut agent, _server) = served(&world);
    let elsewhere = grouped(&group.0, &program());
    let rush = Rush::start(ENTRANCE, 2);
    let mut successor = agent.successor("successor", elsewhere, &KERNEL).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    rush.go_on(50);
    rush.finish();
    assert!(is_in(&group.0, successor.pid()));
    assert_assigned(&successor, ENTRANCE, 50);
    // A listener of its own, in its own group.
    let other = virtual_service("other").at("other").to("tcp-echo:9000/v1", 1);
    successor.apply(gateway("other").port(31_401) + other);
    assert_assigned(&successor, "127.0.0.1:31401", 50);
    assert_assigned(&successor, ENTRANCE, 10);
    assert_eq!(links(&world).len(), 2);
    let programs: Vec<_> = links(&world).values().map(|link| link["prog_id"].clone()).collect();
    assert_eq!(programs[0], programs[1]);

    // And back: some sockets are in one group, some in the other.
    let mut last = successor.successor("last", program(), &KERNEL).answers();
    assert_eq!(successor.process().wait(seconds(20)).code(), Some(0), "{}", successor.log());
    assert_assigned(&last, ENTRANCE, 20);
    assert_assigned(&last, "127.0.0.1:31401", 20);
    last.terminate();
    assert_eq!(last.process().wait(seconds(20)).code(), Some(0), "{}", last.log());
    assert_eq!(pinned(&world), [""; 0]);
    assert_eq!(attached(&world).len(), 0);
}

/// Whether a process is in a control group.
fn is_in(group: &Path, pid: u32) -> bool {
    std::fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().any(|line| line == pid.to_string())
}

#[test]
fn a_link_whose_group_is_gone_is_removed() {
    let world = World::new();
    let group = Group::new(&world);
    let server = Server::named("127.0.0.1:9000", "one");
    let mut agent = Agent::launch(&world, "agent", grouped(&group.0, &program()), &KERNEL).ready();
    agent.apply(base() + route(&[("v1", 1)]));
    assert_assigned(&agent, ENTRANCE, 5);
    agent.process().kill();
    let left: Vec<String> = links(&world).into_keys().collect();
    until_so("the group goes", seconds(5), || std::fs::remove_dir(&group.0).is_ok());
    let agent = start(&world);
    assert_assigned(&agent, ENTRANCE, 5);
    let now: Vec<String> = links(&world).into_keys().collect();
    assert_eq!(now.len(), 1);
    assert_ne!(now, left);
    drop(server);
}
