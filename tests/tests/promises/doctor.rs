//! `doctor` says whether the kernel can decide, and disturbs nobody; `unload` removes what an agent that was killed left.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use tcpshift_tests::agent::{Agent, cli};
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::elf::{SMALL, TOO_COMPLEX, UNKNOWN_HELPER, object};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::maps::{attached, path, pinned};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::process::{Output, built, command, grouped, run};
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

const KERNEL: [&str; 2] = ["--assign", "kernel"];

/// Runs the program as the user `nobody`, without capabilities.
fn as_nobody(words: &[&str]) -> Output {
    let mut command = command("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "--"]).arg(built("tcpshift-agent")).args(words);
    run(command, b"", seconds(60))
}

/// Runs it in a control group: that of the world, where its agent is.
fn beside(cgroup: &Path, words: &[&str]) -> Output {
    let mut command = command(built("tcpshift-agent"));
    command.args(words);
    run(grouped(cgroup, &command), b"", seconds(60))
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", output.stdout))
}

/// The finding of a name.
fn finding<'a>(report: &'a Value, what: &str) -> &'a Value {
    let found = report["machine"].as_array().unwrap().iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("nothing is said of {what}: {report:#}"))
}

#[test]
fn doctor_finds_that_the_kernel_can_decide() {
    let world = World::new();
    let report = json(&beside(world.cgroup(), &["doctor", "-o", "json"]).expect(0));
    assert_eq!(report["works"], true, "{report:#}");
    for program in report["programs"].as_array().unwrap() {
        assert!(program["loaded"] == true && program["works"] == true, "{program:#}");
        assert!(program["verified"].as_u64().is_some_and(|count| count > 10), "{program:#}");
    }
    assert_eq!(report["programs"].as_array().unwrap().len(), 9, "{report:#}");
    for (place, datapath) in ["proxy", "connect", "lookup"].into_iter().enumerate() {
        assert_eq!(report["datapaths"][place]["name"], datapath);
        assert_eq!(report["datapaths"][place]["works"], true, "{report:#}");
    }
    assert_eq!((&report["assignment"][0]["name"], &report["assignment"][0]["works"]), (&"kernel".into(), &true.into()));
    assert_eq!(finding(&report, "cgroup2")["found"], world.cgroup().display().to_string());
    let text = beside(world.cgroup(), &["doctor"]).expect(0).stdout;
    for said in ["MACHINE", "PROGRAM", "DATAPATH", "ASSIGNMENT", "explain        sched_cls"] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert_eq!((pinned(&world), attached(&world)), (Vec::new(), Vec::new()));
}

#[test]
fn doctor_without_rights_says_what_is_missing_and_the_rest() {
    let _world = World::new();
    let report = json(&as_nobody(&["doctor", "-o", "json"]).expect(1));
    assert_eq!(report["works"], false, "{report:#}");
    let capabilities = finding(&report, "capabilities");
    assert_eq!(capabilities["found"], "this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN");
    assert!(capabilities["cure"].as_str().unwrap().contains("root"), "{capabilities:#}");
    assert_eq!(finding(&report, "object")["state"], "ok");
    assert_eq!(finding(&report, "bpffs")["state"], "ok");
    assert_eq!(report["datapaths"][0]["works"], true);
    assert_eq!(report["datapaths"][1]["works"], false);
    assert_eq!(report["assignment"][0]["works"], false);
    assert_eq!(report["programs"][0]["loaded"], false);
    as_nobody(&["unload"]).expect(1).complains("cannot unload").complains("Permission denied");
}

/// An object of three programs, of which the kernel refuses the second.
fn refused(world: &World, program: &[u64]) -> PathBuf {
    let path = world.path("object");
    std::fs::write(&path, object(&[("one", SMALL), ("three", SMALL), ("second", program)])).unwrap();
    path
}

fn doctor(words: &[&str]) -> Output {
    let mut command = command(built("tcpshift-agent"));
    command.arg("doctor").args(words);
    run(command, b"", seconds(60))
}

/// A field of all programs of a report, in their order: by name.
fn each<'a>(report: &'a Value, field: &str) -> Vec<&'a Value> {
    report["programs"].as_array().unwrap().iter().map(|program| &program[field]).collect()
}

#[test]
fn a_program_that_is_too_complex_is_shown_in_a_few_lines() {
    let world = World::new();
    let path = refused(&world, TOO_COMPLEX);
    let began = Instant::now();
    let text = doctor(&["--object", path.to_str().unwrap()]).expect(1).stdout;
    assert!(began.elapsed() < seconds(10), "{:?}", began.elapsed());
    assert!(text.lines().count() < 60 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for said in [
        "one       sched_cls   2          loaded\n",
        "second    sched_cls   1000001    refused (E2BIG)\n",
        "three     sched_cls   2          loaded\n",
        "\nThe kernel refuses `second` (E2BIG after 1000001 instructions):\n    BPF program is too large.",
        "\nwhy    it is too complex for this kernel's verifier\n",
        "\ncure   ",
        "--log DIR",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    let report = json(&doctor(&["--object", path.to_str().unwrap(), "-o", "json"]).expect(1));
    assert_eq!((&report["works"], &report["finished"]), (&json!(false), &json!(true)));
    assert_eq!(each(&report, "state"), ["loaded", "refused", "loaded"]);
    assert_eq!(each(&report, "loaded"), [true, false, true]);
    let second = &report["programs"][1];
    assert_eq!((&second["errno"], &second["verified"]), (&json!("E2BIG"), &json!(1_000_001)), "{second:#}");
    assert!(second["said"][0].as_str().unwrap().starts_with("BPF program is too large"), "{second:#}");
    assert!(second["reason"].as_str().unwrap().contains("too complex"), "{second:#}");
}

#[test]
fn the_verifiers_logs_are_kept_in_a_folder_that_is_asked_for() {
    let world = World::new();
    let path = refused(&world, UNKNOWN_HELPER);
    let folder = world.path("logs");
    // A link of another user is replaced, and nothing is written to the file that it names.
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let victim = world.path("victim");
    std::fs::write(&victim, "as it was").unwrap();
    for planted in ["second.log", ".tcpshift-doctor.new"] {
        symlink(&victim, folder.join(planted)).unwrap();
    }
    let words = ["--object", path.to_str().unwrap(), "--log", folder.to_str().unwrap()];
    let report = json(&doctor(&[&words[..], &["-o", "json"]].concat()).expect(1));
    assert_eq!(each(&report, "state"), ["loaded", "refused", "loaded"], "{report:#}");
    let reason = report["programs"][1]["reason"].as_str().unwrap();
    assert_eq!(reason, "this kernel lacks the helper with the number 99999 for such a program");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
    let mut names: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["one.log", "second.log", "three.log"]);
    for name in names {
        let file = folder.join(name).symlink_metadata().unwrap();
        assert!(file.is_file() && file.mode().trailing_zeros() >= 7, "{file:?}");
    }
    let log = std::fs::read_to_string(folder.join("second.log")).unwrap();
    assert!(log.contains("call unknown#99999") && log.contains("processed "), "{log}");
    let text = doctor(&words).expect(1).stdout;
    assert!(text.contains("\nWhat the verifier says of each program, 4 MiB at most, is in"), "{text}");
}

#[test]
fn a_folder_for_logs_that_cannot_be_had_is_said_with_the_cure() {
    let world = World::new();
    let path = refused(&world, SMALL);
    let log =
        |folder: &Path| doctor(&["--object", path.to_str().unwrap(), "--log", folder.to_str().unwrap()]).expect(1);
    log(&path.join("logs")).complains("cannot keep logs in ").complains("name a folder");
    let open = world.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    log(&open).complains("can be written by everybody").complains("chmod go-w");
    assert_eq!(open.read_dir().unwrap().count(), 0);
}

#[test]
fn whatever_is_named_as_an_object_there_is_an_answer() {
    let world = World::new();
    let path = world.path("object");
    let tried = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let output = doctor(&["--object", path.to_str().unwrap()]);
        let said = [&output.stdout[..], &output.stderr].concat();
        // 75 where the machine is so busy that nothing is known in time.
        assert!(matches!(output.status, 0 | 1 | 75) && !said.contains("panicked"), "{output:#?}");
        output
    };
    for nothing in [&b""[..], b"\x7fELF", b"apiVersion: v1\n"] {
        tried(nothing).expect(1).complains("object");
    }
    tried(&object(&[])).expect(1).complains("there is no program in it");
    doctor(&["--object", "/nowhere"]).expect(1).complains("cannot read /nowhere: No such file");
    // A pipe without a writer.
    let pipe = world.path("pipe");
    let mut make = command("mkfifo");
    make.arg(&pipe);
    run(make, b"", seconds(10)).expect(0);
    for odd in [pipe.as_path(), Path::new("/dev/zero"), world.folder("folder").as_path()] {
        doctor(&["--object", odd.to_str().unwrap()]).expect(1).complains("no regular file");
    }
    let odd = tried(&object(&[("o\x1b[2Jne", SMALL), (&"n".repeat(300), SMALL)])).expect(0).stdout;
    assert!(odd.matches("loaded\n").count() == 2 && !odd.contains('\x1b'), "{odd}");
    let whole = object(&[("one", SMALL), ("second", UNKNOWN_HELPER)]);
    for cut in (0..whole.len()).step_by(61) {
        tried(&whole[..cut]);
    }
    let mut noise = Noise::new(1);
    for _ in 0..20 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            let at = noise.below(bytes.len() as u64) as usize;
            bytes[at] = noise.below(256) as u8;
        }
        tried(&bytes);
    }
}

#[test]
fn doctor_disturbs_no_agent() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start(&world, &KERNEL);
    agent.apply(base() + route(&[("v1", 1)]));
    let before = (pinned(&world), attached(&world));
    std::thread::scope(|scope| {
        let cgroup = world.cgroup();
        let looked = move || (0..3).map(|_| beside(cgroup, &["doctor", "-o", "json"])).collect::<Vec<_>>();
        let doctor = scope.spawn(looked);
        while !doctor.is_finished() {
            assert_eq!(answers(ENTRANCE, 20), ["one"; 20]);
        }
        for output in doctor.join().unwrap() {
            let pinned = finding(&json(&output.expect(0)), "pinned")["found"].to_string();
            assert!(pinned.contains(&format!("held by process {} (tcpshift-agent)", agent.pid())), "{pinned}");
        }
    });
    let status = agent.status();
    assert_eq!((status.assignment.by.as_str(), status.assignment.agent), ("kernel", 0), "{status:#?}");
    assert_eq!((pinned(&world), attached(&world)), before);
}

#[test]
fn unload_waits_for_the_agents_end_and_removes_what_a_killed_one_left() {
    let world = World::new();
    let mut agent = Agent::start(&world, &KERNEL);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    let unload = || cli(&[], &["unload"], b"");
    let refused = format!("the agent of process {} has {}", agent.pid(), path("").trim_end_matches('/'));
    unload().expect(1).complains(&refused);
    assert_eq!(attached(&world).len(), 1);
    agent.process().kill();
    assert_eq!(attached(&world).len(), 1, "the link is pinned and outlives its agent");
    let report = json(&cli(&[], &["doctor", "-o", "json"], b"").expect(0));
    let left = finding(&report, "pinned");
    assert!(left["state"] == "note" && left["cure"].as_str().unwrap().contains("unload"), "{left:#}");
    let said = unload().expect(0).stdout;
    assert!(said.starts_with("detached 1 link, removed ") && said.contains(" names under "), "{said}");
    assert_eq!(pinned(&world), Vec::<String>::new());
    assert!(attached(&world).is_empty());
    assert_eq!(unload().expect(0).stdout, "nothing of tcpshift's is under /sys/fs/bpf/tcpshift\n");
}

#[test]
fn status_says_who_decides_and_why() {
    let world = World::new();
    let agent = Agent::start(&world, &["--assign", "agent"]);
    agent.apply(base() + route(&[("v1", 1)]));
    let text = agent.cli(&["status"]).expect(0).stdout;
    assert!(text.contains("datapath proxy, assignment agent\n"), "{text}");
    assert!(text.contains("\nassignment by the agent: asked for\n"), "{text}");
    let wide = agent.cli(&["status", "-o", "wide"]).expect(0).stdout;
    assert!(wide.contains("   DATAPATH") && wide.contains("connection   proxy"), "{wide}");
    assert_eq!(agent.status().listeners[0].routes[0].datapath, "proxy");
    assert!(pinned(&world).is_empty() && attached(&world).is_empty());
}
