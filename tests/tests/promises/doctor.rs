//! `doctor` says whether the kernel can decide, and disturbs nobody; `unload` removes what an agent that was killed left.

use std::path::Path;

use serde_json::Value;
use tcpshift_tests::agent::{Agent, cli};
use tcpshift_tests::client::{GATEWAY, answers};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::maps::{attached, path, pinned};
use tcpshift_tests::process::{Output, built, command, grouped, run};
use tcpshift_tests::routes::{ground, route, together};
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

const KERNEL: [&str; 2] = ["--assign", "kernel"];

/// Runs the program as nobody, who may nothing.
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

#[test]
fn doctor_disturbs_no_agent() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start(&world, &KERNEL);
    agent.apply(&together(&[&ground(), &route(&[("v1", 1)])]));
    let before = (pinned(&world), attached(&world));
    std::thread::scope(|scope| {
        let cgroup = world.cgroup();
        let looked = move || (0..3).map(|_| beside(cgroup, &["doctor", "-o", "json"])).collect::<Vec<_>>();
        let doctor = scope.spawn(looked);
        while !doctor.is_finished() {
            assert_eq!(answers(GATEWAY, 20), ["one"; 20]);
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
    agent.apply(&together(&[&ground(), &route(&[("v1", 80), ("v2", 20)])]));
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
    agent.apply(&together(&[&ground(), &route(&[("v1", 1)])]));
    let text = agent.cli(&["status"]).expect(0).stdout;
    assert!(text.contains("datapath proxy, assignment agent, "), "{text}");
    assert!(text.contains("\nassignment by the agent: asked for\n"), "{text}");
    let wide = agent.cli(&["status", "-o", "wide"]).expect(0).stdout;
    assert!(wide.contains("   DATAPATH") && wide.contains("connection   proxy"), "{wide}");
    assert_eq!(agent.status().listeners[0].routes[0].datapath, "proxy");
    assert!(pinned(&world).is_empty() && attached(&world).is_empty());
}
