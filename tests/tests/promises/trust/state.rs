//! The state directory: root's agent follows no link in it and loads no file of other users, and its answer to a change is
//! what a restart finds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpshift_agent::route::source::state::StateFolder;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::entry;
use tcpshift_tests::objects::Objects;
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::until::{seconds, until, until_so};
use tcpshift_tests::world::World;

use super::{STRANGER, give_away, set_mode, stranger};

const AGENT: [&str; 4] = ["--assign", "agent", "--datapath", "proxy"];

/// Where the state directory keeps an endpoint.
const ENTRIES: &str = "objects/workloadentries.networking.istio.io/default";

#[test]
fn a_state_directory_that_another_user_made_is_refused() {
    let world = World::new();
    let victim = world.write("victim", "precious");
    set_mode(world.path(""), 0o1777);
    let script = "mkdir -p $0/objects/services/default && ln -s $1 $0/writing && echo \"$2\" > $0/objects/services/default/x.yaml";
    let planted = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{name: tcp, port: 80}]}";
    let mut made = stranger("sh");
    made.args(["-c", script]).arg(world.path("agent.state")).arg(&victim).arg(planted);
    assert!(made.status().unwrap().success());
    let mut agent = Agent::launch(&world, "agent", command(built("tcpshift-agent")), &AGENT);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1), "{}", agent.log());
    let log = agent.log();
    let state = world.path("agent.state").display().to_string();
    for said in [&format!("{state} belongs to user {STRANGER}"), "--state-dir", &format!("chown 0 {state}")] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

/// The error of an agent that starts with a state directory of root's, after `prepare` has changed it.
#[track_caller]
fn refusal(prepare: impl FnOnce(&Path)) -> String {
    let world = tempfile::tempdir().unwrap();
    let state = world.path().join("state");
    fs::create_dir_all(state.join(ENTRIES)).unwrap();
    fs::write(state.join(ENTRIES).join("one.yaml"), entry("one", "v1", "10.0.0.1", 9000).to_string()).unwrap();
    for folder in ["state", "state/objects"] {
        set_mode(world.path().join(folder), 0o700);
    }
    assert_eq!(StateFolder::open(&state).and_then(|state| state.load()).unwrap().0.len(), 1);
    prepare(&state);
    // Until it begins its program a process that another test starts has a copy of the lock.
    let error = until("the lock is free", seconds(10), || {
        let error = StateFolder::open(&state).and_then(|state| state.load()).unwrap_err();
        (!error.to_string().contains("another agent uses")).then_some(error)
    });
    format!("{error:#}").replace(&world.path().display().to_string(), "")
}

#[test]
fn what_was_planted_in_a_state_directory_of_roots_is_named_and_not_loaded() {
    let one = |state: &Path| state.join(ENTRIES).join("one.yaml");
    let link = |name: &'static str| {
        move |state: &Path| {
            let (path, elsewhere) = (state.join(name), state.with_file_name("elsewhere"));
            fs::rename(&path, &elsewhere).or_else(|_| fs::write(&elsewhere, "{}")).unwrap();
            symlink(elsewhere, path).unwrap();
        }
    };
    for name in
        ["lock", "journal.json", "objects", ENTRIES, "objects/workloadentries.networking.istio.io/default/one.yaml"]
    {
        let refusal = refusal(link(name));
        assert!(refusal.contains(&format!("/state/{name} is a link")) && refusal.contains("remove"), "{refusal}");
    }
    let planted = refusal(|state| give_away(one(state)));
    assert!(planted.contains("one.yaml belongs to user 65534 (mode 0644); look who made it"), "{planted}");
    let folder = refusal(|state| give_away(state.join("objects")));
    assert!(folder.contains("/state/objects belongs to user 65534"), "{folder}");
    let writable = refusal(|state| set_mode(one(state), 0o666));
    assert!(writable.contains("one.yaml can be written by everybody (mode 0666); chmod go-w"), "{writable}");
    let open = refusal(|state| set_mode(state, 0o1777));
    assert!(open.contains("/state can be written by everybody (mode 1777)"), "{open}");
    let above = refusal(|state| set_mode(state.parent().unwrap(), 0o777));
    assert!(above.contains("chmod go-w"), "whoever may replace the folder: {above}");
}

#[test]
fn a_link_where_the_agent_writes_is_replaced_and_not_followed() {
    let world = World::new();
    let victim = world.write("victim", "precious");
    let agent = Agent::start(&world, &AGENT);
    symlink(&victim, agent.state().join("writing")).unwrap();
    agent.apply(entry("one", "v1", "10.0.0.1", 9000));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    assert!(agent.kill_and_restart().objects("we").len() == 1);
}

/// Has system calls of an agent fail while it is there.
struct Fault {
    tracer: Process,
}

impl Fault {
    /// `faults` are the words of strace(1) behind `inject=`.
    fn inject(world: &World, agent: &Agent<'_>, faults: &[&str]) -> Self {
        let mut tracer = Command::new("strace");
        tracer.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-p",
            &agent.pid().to_string(),
            "-e",
            "trace=fsync,unlinkat,/^rename",
        ]);
        for fault in faults {
            tracer.args(["-e", &format!("inject={fault}")]);
        }
        let tracer = Process::start(world, "strace", tracer);
        let threads = || fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().flatten();
        until_so("strace has every thread of the agent", seconds(10), || {
            threads().all(|thread| {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            })
        });
        Self { tracer }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.tracer.signal(rustix::process::Signal::INT);
        self.tracer.wait(seconds(10));
    }
}

/// Names and addresses of the endpoints that a restart would find.
fn kept(world: &World, agent: &Agent<'_>) -> Vec<String> {
    let copy = world.path("copy");
    fs::remove_dir_all(&copy).ok();
    let done = Command::new("cp").arg("-a").args([&agent.state(), &copy]).status().unwrap();
    assert!(done.success());
    let (objects, _, problems) = StateFolder::open(&copy).and_then(|state| state.load()).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let mut kept: Vec<String> =
        objects.iter().map(|one| format!("{} {}", one.key.name, one.content.tree()["spec"]["address"])).collect();
    kept.sort();
    kept
}

fn served(agent: &Agent<'_>) -> Vec<String> {
    let mut served: Vec<String> = agent
        .objects("we")
        .iter()
        .map(|one| format!("{} {}", one["metadata"]["name"].as_str().unwrap(), one["spec"]["address"]))
        .collect();
    served.sort();
    served
}

#[test]
fn what_is_answered_is_what_a_restart_finds_whatever_step_the_disk_refuses() {
    let world = World::new();
    let agent = Agent::start(&world, &AGENT);
    let first = |count: usize, address: &str| {
        ["one", "two"].iter().take(count).map(|name| entry(name, "v1", address, 9000)).collect::<Objects>()
    };
    agent.apply(first(2, "10.0.0.0"));
    let every = "fsync:error=EIO:when=2+";
    let (mut refused, mut unsure) = (0, 0);
    for (number, faults) in [
        // The bytes of a file, its name, the folder that it is in.
        &["fsync:error=EIO:when=1"][..],
        &["fsync:error=ENOSPC:when=1+"],
        &["/^rename:error=ENOSPC:when=1"],
        &["/^rename:error=EIO:when=1+"],
        &["fsync:error=EIO:when=2"],
        &[every],
        // The change cannot be undone either.
        &[every, "unlinkat:error=EIO:when=2+"],
    ]
    .into_iter()
    .enumerate()
    {
        for count in [1, 2] {
            let objects = first(count, &format!("10.{number}.{count}.1"));
            let before = served(&agent);
            let fault = Fault::inject(&world, &agent, faults);
            let answer = agent.cli_with(&["apply", "-f", "-"], objects);
            drop(fault);
            let said = format!("{faults:?} {count}: {answer:?}");
            let after = served(&agent);
            assert_eq!(after == before, answer.status == 1, "{said}");
            assert_eq!(kept(&world, &agent), after, "{said}");
            if answer.status == 1 {
                refused += 1;
                assert!(answer.stderr.contains("nothing is changed"), "{said}");
            } else {
                assert_eq!(answer.status, 0, "{said}");
                unsure += usize::from(answer.stderr.contains("stored, but the disk has not confirmed it"));
            }
            let fault = Fault::inject(&world, &agent, faults);
            let answer = agent.cli(&["delete", "we", "two"]);
            drop(fault);
            assert_eq!(kept(&world, &agent), served(&agent), "{faults:?} {answer:?}");
            agent.apply(entry("two", "v1", "10.0.0.2", 9000));
        }
    }
    assert!(refused >= 12 && unsure == 2, "{refused} refused, {unsure} unsure");
    let state: PathBuf = agent.state();
    assert!(!state.join("journal.json").exists() && !state.join("writing").exists());
}
