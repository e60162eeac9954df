//! Route files: only what root, the agent's user or who started it by sudo could have written is obeyed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::entry;
use tcpshift_tests::process::{built, command};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{STRANGER, give_away, set_mode};

const AGENT: [&str; 4] = ["--assign", "agent", "--datapath", "proxy"];

fn one(address: &str) -> String {
    entry("one", "v1", address, 9000).to_string()
}

fn launch<'a>(world: &'a World, words: &[&str]) -> Agent<'a> {
    let words: Vec<&str> = AGENT.iter().chain(words).copied().collect();
    Agent::launch(world, "agent", command(built("tcpshift-agent")), &words)
}

/// What an agent says that does not start.
#[track_caller]
fn refused(world: &World, path: &Path) -> String {
    let mut agent = launch(world, &[path.to_str().unwrap()]);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1), "{}", agent.log());
    assert!(!world.path("agent.sock").exists() && agent.log().contains("nothing was started"), "{}", agent.log());
    agent.log()
}

#[track_caller]
fn addresses(agent: &Agent<'_>) -> Vec<String> {
    agent.objects("we").iter().map(|one| one["spec"]["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn files_and_folders_that_others_could_have_written_end_a_start() {
    let world = World::new();
    let folder = world.folder("routes");
    let file = world.write("routes/one.yaml", one("10.0.0.1"));
    for path in [&file, &folder] {
        give_away(&file);
        let log = refused(&world, path);
        let shown = file.display();
        for said in
            [&format!("{shown} belongs to user {STRANGER} (mode 0644)"), &format!("chown 0 {shown}"), "--trust-files"]
        {
            assert!(log.contains(said), "{said}: {log}");
        }
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
        set_mode(&file, 0o666);
        let log = refused(&world, path);
        assert!(
            log.contains("can be written by everybody (mode 0666)") && log.contains(&format!("chmod go-w {shown}")),
            "{log}"
        );
        set_mode(&file, 0o664);
        std::os::unix::fs::chown(&file, Some(0), Some(STRANGER)).unwrap();
        let log = refused(&world, path);
        assert!(log.contains(&format!("can be written by all of group {STRANGER} (mode 0664)")), "{log}");
        set_mode(&file, 0o644);
        set_mode(&folder, 0o777);
        let log = refused(&world, path);
        assert!(log.contains(&format!("chmod go-w {}", folder.display())), "{log}");
        set_mode(&folder, 0o1777);
        if path == &folder {
            // Other users could add files to the folder.
            assert!(refused(&world, path).contains(&format!("chmod go-w {}", folder.display())));
        }
        set_mode(&folder, 0o755);
        give_away(&folder);
        let log = refused(&world, path);
        assert!(log.contains(&format!("{} belongs to user {STRANGER}", folder.display())), "{log}");
        assert!(log.contains("copy the files") && !log.contains("type: chown"), "{log}");
        std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
    }
    let agent = launch(&world, &[folder.to_str().unwrap()]).ready();
    assert_eq!(addresses(&agent), ["10.0.0.1"]);
}

#[test]
fn who_started_the_agent_by_sudo_may_have_written_its_files() {
    let world = World::new();
    let file = world.write("one.yaml", one("10.0.0.1"));
    give_away(&file);
    let mut program = command("env");
    program.arg(format!("SUDO_UID={STRANGER}")).arg(built("tcpshift-agent"));
    let words: Vec<&str> = AGENT.into_iter().chain([file.to_str().unwrap()]).collect();
    let agent = Agent::launch(&world, "agent", program, &words).ready();
    assert_eq!(addresses(&agent), ["10.0.0.1"]);
}

#[test]
fn a_folder_of_links_as_a_configmap_has_it_is_followed_and_each_target_looked_at() {
    let world = World::new();
    let folder = world.folder("routes");
    for (version, address) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        world.folder(&format!("routes/{version}"));
        world.write(&format!("routes/{version}/one.yaml"), one(address));
    }
    let switch = |version: &str| {
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    switch("..1");
    symlink("..data/one.yaml", folder.join("one.yaml")).unwrap();
    let agent = launch(&world, &[folder.to_str().unwrap()]).ready();
    assert_eq!(addresses(&agent), ["10.0.0.1"]);
    switch("..2");
    until_so("the other version is in force", seconds(5), || addresses(&agent) == ["10.0.0.2"]);
    // A link is trusted as far as the file that it names.
    let stranger = world.folder("stranger");
    give_away(&stranger);
    world.write("stranger/one.yaml", one("10.0.0.3"));
    fs::remove_file(folder.join("one.yaml")).unwrap();
    symlink(stranger.join("one.yaml"), folder.join("one.yaml")).unwrap();
    let said = format!("{} belongs to user {STRANGER}", stranger.display());
    until_so("it is said", seconds(5), || agent.log().contains(&said));
    assert_eq!(addresses(&agent), ["10.0.0.2"]);
}

#[test]
fn a_volume_mounted_read_only_may_have_any_mode_and_what_is_in_it_is_looked_at() {
    let world = World::new();
    let volume = world.folder("volume");
    world.folder("volume/..1");
    world.write("volume/..1/one.yaml", one("10.0.0.1"));
    symlink("..1", volume.join("..data")).unwrap();
    symlink("..data/one.yaml", volume.join("one.yaml")).unwrap();
    let mounted = world.folder("mounted");
    mount_bind(&volume, &mounted).unwrap();
    for mode in [0o777, 0o1777] {
        set_mode(&volume, mode);
        assert!(refused(&world, &mounted).contains("can be written by everybody"));
    }
    mount_remount(&mounted, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    for mode in [0o1777, 0o777] {
        set_mode(&volume, mode);
        let agent = launch(&world, &[mounted.to_str().unwrap()]).ready();
        assert_eq!(addresses(&agent), ["10.0.0.1"]);
        assert!(agent.status().notes.is_empty(), "{:?}", agent.status().notes);
        // By another way into the volume.
        let hostile = world.write("volume/two.yaml", entry("two", "v1", "10.0.0.9", 9000).to_string());
        give_away(&hostile);
        let said = format!("two.yaml belongs to user {STRANGER}");
        until_so("it is said", seconds(5), || agent.log().contains(&said));
        assert_eq!(addresses(&agent), ["10.0.0.1"]);
        fs::remove_file(hostile).unwrap();
    }
    unmount(&mounted, UnmountFlags::DETACH).unwrap();
}

#[test]
fn what_others_may_write_by_now_keeps_what_it_said_and_that_is_said_once() {
    let world = World::new();
    let folder = world.folder("routes");
    let file = world.write("routes/one.yaml", one("10.0.0.1"));
    let agent = launch(&world, &[folder.to_str().unwrap()]).ready();
    set_mode(&file, 0o666);
    fs::write(&file, one("10.0.0.2")).unwrap();
    let stays = "what was read before stays";
    until_so("it is said", seconds(5), || agent.log().contains(stays));
    let hostile = world.write("routes/two.yaml", entry("two", "v1", "10.0.0.9", 9000).to_string());
    give_away(&hostile);
    until_so("of both", seconds(5), || agent.log().matches(stays).count() == 2);
    agent.reload();
    until_so("the files are read again", seconds(5), || agent.log().contains("SIGHUP"));
    assert_eq!(addresses(&agent), ["10.0.0.1"]);
    assert!(agent.log().lines().filter(|line| line.contains(stays)).all(|line| line.contains("WARN")));
    let notes = agent.status().notes;
    assert!(notes.iter().any(|note| note.contains("can be written by everybody")), "{notes:?}");
    set_mode(&folder, 0o777);
    until_so("the folder is said", seconds(5), || agent.log().matches(stays).count() == 3);
    fs::remove_file(&file).unwrap();
    set_mode(&folder, 0o755);
    set_mode(world.write("routes/one.yaml", one("10.0.0.3")), 0o644);
    fs::remove_file(&hostile).unwrap();
    until_so("what is right again is obeyed", seconds(5), || addresses(&agent) == ["10.0.0.3"]);
    assert_eq!(agent.log().matches(stays).count(), 3, "{}", agent.log());
    assert!(agent.status().notes.is_empty(), "{:?}", agent.status().notes);
}

#[test]
fn files_of_others_are_read_if_that_is_asked_for_but_name_no_unix_socket() {
    let world = World::new();
    let file = world.write("one.yaml", one("10.0.0.1"));
    let socket = entry("two", "v1", "unix:///run/docker.sock", 9000).without("spec.ports");
    let sockets = world.write("two.yaml", socket.to_string());
    let own = world.write("three.yaml", socket.named("three").to_string());
    give_away(&file);
    give_away(&sockets);
    let paths = [&file, &sockets, &own].map(|path| path.to_str().unwrap().to_owned());
    let words: Vec<&str> = ["--trust-files"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let agent = launch(&world, &words).ready();
    let mut found = addresses(&agent);
    found.sort();
    assert_eq!(found, ["10.0.0.1", "unix:///run/docker.sock"], "{}", agent.log());
    let said = "unix sockets are refused in files that others may write";
    assert!(
        agent.log().contains(said) && agent.status().notes.iter().any(|note| note.contains(said)),
        "{}",
        agent.log()
    );
}
