//! The world itself: what is in one is seen in no other, and nothing of it stays.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::thread;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::maps::{attached, dump, ours, path, pinned};
use tcpshift_tests::process::{Process, built, command, grouped, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// Pins a map without types, with one element, where the agent pins its own.
fn pin(name: &str) {
    let path = path(name);
    std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
    let bpftool = |words: &str| {
        let mut command = command("bpftool");
        command.args(words.split(' '));
        run(command, b"", seconds(20)).expect(0);
    };
    bpftool(&format!("map create {path} type hash key 4 value 4 entries 2 name {name}"));
    bpftool(&format!("map update pinned {path} key 1 0 0 0 value 7 0 0 0"));
}

fn groups_of(process: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap()
}

#[test]
fn what_is_pinned_in_one_world_is_in_no_other() {
    let world = World::new();
    assert_eq!(pinned(&world), [""; 0]);
    pin("plan");
    assert_eq!(pinned(&world), ["tcpshift", ours("").trim_end_matches('/'), &ours("plan")]);
    let elements = serde_json::Value::from(dump(&world, "plan"));
    let expected = r#"[{"key": ["0x01", "0x00", "0x00", "0x00"], "value": ["0x07", "0x00", "0x00", "0x00"]}]"#;
    assert_eq!(elements, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    let other = thread::spawn(|| pinned(&World::new())).join().unwrap();
    assert_eq!(other, [""; 0]);
}

#[test]
fn a_program_is_in_the_group_before_it_begins_and_keeps_its_environment() {
    let world = World::new();
    let mut told = command("sh");
    told.args(["-c", "cat /proc/self/cgroup; echo $TOLD ${PATH-none} \"$@\"", "sh", "a word"]);
    told.env("TOLD", "told").env_remove("PATH").env("PATH", "/usr/bin:/bin");
    let output = run(grouped(world.cgroup(), &told), b"", seconds(20)).expect(0);
    let name = world.cgroup().file_name().unwrap().to_str().unwrap();
    assert!(output.stdout.lines().any(|line| line.starts_with("0::") && line.ends_with(name)), "{output:?}");
    assert!(output.stdout.ends_with("told /usr/bin:/bin a word\n"), "{output:?}");
    assert!(!groups_of("thread-self").contains(name), "the test itself stays where it is");
    assert_eq!(attached(&world).len(), 0);
}

#[test]
fn agents_are_in_the_group_however_they_are_started() {
    let world = World::new();
    let name = world.cgroup().file_name().unwrap().to_str().unwrap();
    let grouped = |agent: &Agent<'_>| groups_of(&agent.pid().to_string()).contains(name);
    let mut first = Agent::start::<&str>(&world, &[]);
    assert!(grouped(&first));
    let second = first.successor::<&str>("second", command(built("tcpshift-agent")), &[]).answers();
    assert!(grouped(&second));
    assert_eq!(first.process().wait(seconds(20)).code(), Some(0), "{}", first.log());
    assert!(grouped(&second.kill_and_restart()));
}

/// A process that is in the world's group and does nothing.
fn sleeper(world: &World) -> Process {
    let mut sleeper = command("sleep");
    sleeper.arg("60");
    let process = Process::start(world, "sleeper", grouped(world.cgroup(), &sleeper));
    let name = world.cgroup().file_name().unwrap().to_str().unwrap();
    until_so("it is in the group", seconds(10), || groups_of(&process.pid().to_string()).contains(name));
    process
}

#[test]
fn nothing_of_a_world_stays() {
    let (cgroup, mounts): (PathBuf, String) = thread::spawn(|| {
        let world = World::new();
        let _process = sleeper(&world);
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        (world.cgroup().to_owned(), mounts)
    })
    .join()
    .unwrap();
    let pins = |mounts: &str| mounts.lines().filter(|line| line.contains(" - bpf ")).count();
    let here = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(pins(&mounts), pins(&here) + 1);
    assert!(!cgroup.exists(), "{} stays", cgroup.display());
}

#[test]
fn a_process_that_outlasts_its_world_does_no_harm() {
    let cgroup = {
        let world = World::new();
        let _process = sleeper(&world);
        let cgroup = world.cgroup().to_owned();
        drop(world);
        assert!(cgroup.exists(), "who is in it keeps it");
        cgroup
    };
    std::fs::remove_dir(cgroup).unwrap();
}
