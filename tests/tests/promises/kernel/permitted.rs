//! Capabilities that the agent needs and gives up; and pins of other programs, which it leaves alone. What becomes of those that
//! it needs for life, `rights` shows.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use rustix::thread::{CapabilitiesSecureBits, CapabilitySet};
use tcpshift_agent::trust::rights;
use tcpshift_tests::agent::{Agent, cli};
use tcpshift_tests::client::{ENTRANCE, answers, ask};
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::maps::{attached, bpftool, ours, path, pinned};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::{PINS, World};

use super::{KERNEL, assigned, start};

/// What loading and attaching needs.
pub(super) const NEEDED: [&str; 3] = ["bpf", "net_admin", "sys_admin"];

/// Has an agent decide for itself where the kernel cannot.
const AUTO: [&str; 2] = ["--assign", "auto"];

/// The agent's program with no more capabilities than these.
pub(super) fn limited(capabilities: &[&str]) -> Command {
    let set = capabilities.iter().fold("-all".to_owned(), |set, one| format!("{set},+{one}"));
    let mut launcher = command("setpriv");
    launcher.args(["--bounding-set", &set, "--inh-caps", &set, "--"]).arg(built("tcpshift-agent"));
    launcher
}

/// A set of capabilities of each thread of a process, as `CapEff` says, with the name of the thread.
pub(super) fn capabilities(pid: u32, set: &str) -> Vec<(String, u64)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        // A thread may have ended by now.
        let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let value =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        Some((value("Name")?.to_owned(), u64::from_str_radix(value(set)?, 16).unwrap()))
    };
    let mut threads: Vec<_> = threads.filter_map(of_thread).collect();
    threads.sort();
    threads
}

/// Panics unless no thread of an agent has a capability, or could get one.
#[track_caller]
pub(super) fn assert_has_none(agent: &Agent<'_>) {
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let threads = capabilities(agent.pid(), set);
        assert!(threads.len() > 2, "{threads:?}");
        assert!(threads.iter().all(|(_, held)| *held == 0), "{set} {threads:x?}");
    }
    assert!(capabilities(agent.pid(), "NoNewPrivs").iter().all(|(_, is_set)| *is_set == 1));
}

/// Waits for the end of an agent that does not start; what it said.
#[track_caller]
fn refused(mut agent: Agent<'_>) -> String {
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1), "{}", agent.log());
    agent.log()
}

/// Starts an agent that decides for itself, and says why.
#[track_caller]
fn by_itself<'a>(agent: Agent<'a>, reason: &str) -> Agent<'a> {
    let agent = agent.ready();
    let assignment = agent.status().assignment;
    assert_eq!(assignment.by, "agent", "{}", assignment.reason);
    assert!(assignment.reason.contains(reason), "{}", assignment.reason);
    agent
}

#[test]
fn three_capabilities_suffice_and_all_are_given_up() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let launcher = limited(&NEEDED);
    let mut agent = Agent::launch(&world, "agent", launcher, &KERNEL).ready();
    for edit in 1..=20 {
        agent.apply(base() + route(&[("v1", edit)]));
        assert_eq!(ask(ENTRANCE).unwrap(), "one");
    }
    assert_eq!(assigned(&agent), (20, 0));
    assert_has_none(&agent);
    agent.end_and_leave_nothing();
}

#[test]
fn an_agent_of_root_gives_up_for_good_all_that_it_has() {
    let world = World::new();
    let steers = [KERNEL[0], KERNEL[1], "--datapath", "auto"];
    for options in [&KERNEL[..], &steers, &["--assign", "agent"]] {
        let mut agent = Agent::start(&world, options);
        assert_has_none(&agent);
        let bounding = capabilities(agent.pid(), "CapBnd");
        assert!(bounding.iter().all(|(_, held)| *held == 0), "{options:?}: {bounding:x?}");
        agent.terminate();
        assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    }
}

#[test]
fn root_regains_nothing_by_starting_a_program() {
    // Capabilities belong to threads, so this thread gives them up alone.
    let status = std::thread::spawn(|| {
        rights::keep(CapabilitySet::NET_BIND_SERVICE).unwrap();
        let locked = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        assert!(rustix::thread::capabilities_secure_bits().unwrap().contains(locked));
        Command::new("cat").arg("/proc/self/status").output().unwrap().stdout
    });
    let status = String::from_utf8(status.join().unwrap()).unwrap();
    let has = |line: &str| status.lines().any(|found| found.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    for line in ["Uid: 0 0 0 0", "CapEff: 0000000000000000", "CapPrm: 0000000000000000", "NoNewPrivs: 1"] {
        assert!(has(line), "{line}: {status}");
    }
    assert!(has("CapBnd: 0000000000000400"), "{status}");
}

#[test]
fn each_capability_that_is_missing_is_named() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    for missing in NEEDED {
        let name = format!("CAP_{}", missing.to_uppercase());
        let launcher = || limited(&NEEDED.into_iter().filter(|name| *name != missing).collect::<Vec<_>>());
        let log = refused(Agent::launch(&world, "agent", launcher(), &KERNEL));
        assert!(log.contains(&format!("lacks {name};")), "{log}");
        let mut agent = by_itself(Agent::launch(&world, "agent", launcher(), &AUTO), &name);
        agent.apply(base() + route(&[("v1", 1)]));
        assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
        assert_eq!((pinned(&world).len(), attached(&world).len()), (0, 0));
        agent.process().kill();
    }
}

#[test]
fn a_second_agent_is_refused_or_decides_for_itself() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let first = start(&world);
    first.apply(base() + route(&[("v1", 1)]));
    let before = pinned(&world);
    let who = format!("process {}", first.pid());
    let program = || command(built("tcpshift-agent"));
    let log = refused(Agent::launch(&world, "second", program(), &KERNEL));
    assert!(log.contains(&who), "{log}");
    let second = by_itself(Agent::launch(&world, "second", program(), &AUTO), &who);
    let elsewhere = route_of([rule(&[("v1", 1)]).when("port", 31_401)]);
    second.apply(base().set("Gateway/tcp-echo-gateway", "spec.servers[0].port.number", 31_401) + elsewhere);
    assert_eq!(answers("127.0.0.1:31401", 5), ["one"; 5]);
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    assert_eq!(assigned(&first), (5, 0));
    drop(second);
    assert_eq!(pinned(&world), before);
    assert_eq!(attached(&world).len(), 1);
}

/// Makes a folder below that of pinned objects, and all above it.
fn folder(name: &str, mode: u32) {
    let path = PathBuf::from(PINS).join(name);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Pins a map that no agent has made.
fn foreign(world: &World, path: &str) {
    let words = format!("map create {path} type array key 4 value 4 entries 1 name foreign");
    bpftool(world, &words.split(' ').collect::<Vec<_>>());
}

/// Kernel assignment is refused, with all of these words; by itself the agent starts and serves.
#[track_caller]
fn assert_refused(world: &World, words: &[&str]) {
    let before = pinned(world);
    let program = || command(built("tcpshift-agent"));
    let log = refused(Agent::launch(world, "agent", program(), &KERNEL));
    for word in words {
        assert!(log.contains(word), "{word}: {log}");
    }
    let agent = by_itself(Agent::launch(world, "agent", program(), &AUTO), words[0]);
    let _server = Server::named("127.0.0.1:9000", "one");
    agent.apply(base() + route(&[("v1", 1)]));
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    drop(agent);
    assert!(before.iter().all(|name| pinned(world).contains(name)), "{before:?} was there, and is {:?}", pinned(world));
    assert_eq!(attached(world).len(), 0);
}

#[test]
fn what_another_layout_has_pinned_is_left_alone() {
    let world = World::new();
    folder("tcpshift/999", 0o700);
    foreign(&world, &format!("{PINS}/tcpshift/999/plan"));
    assert_refused(&world, &["tcpshift/999 is of another layout", "`tcpshift-agent unload`"]);
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    for name in ["tcpshift", ours("").trim_end_matches('/'), &ours("links")].map(str::to_owned) {
        std::thread::spawn(move || {
            let world = World::new();
            folder(&name, 0o777);
            assert_refused(&world, &[&format!("{PINS}/{name} is not this user's alone"), "mode 0700", "remove it"]);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn what_is_no_link_of_ours_is_refused() {
    let world = World::new();
    folder(&ours("links"), 0o700);
    foreign(&world, &path("links/assign-1"));
    assert_refused(&world, &["links/assign-1 (`tcpshift-agent unload` removes it)", "no link"]);
}

#[test]
fn unload_removes_nothing_that_a_folder_of_others_leads_to() {
    let world = World::new();
    let elsewhere = world.folder("elsewhere");
    let file = world.write("elsewhere/file", "kept");
    folder(&ours(""), 0o700);
    let link = PathBuf::from(path("link"));
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    folder("tcpshift", 0o755);
    let refused = format!("{PINS}/tcpshift is not this user's alone");
    cli(&[], &["unload"], b"").expect(1).complains(&refused);
    assert!(link.is_symlink() && file.exists());
    // In a folder of the user's own the agent removes the link, and not the file that it names.
    folder("tcpshift", 0o700);
    cli(&[], &["unload"], b"").expect(0);
    assert!(file.exists());
    assert_eq!(pinned(&world), [""; 0]);
}
