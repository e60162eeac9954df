//! What a change would do is said before it is made, and making it does just that; what an object came to is
//! said after.

use serde_json::Value;
use tcpshift_tests::admin;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::world::World;

#[test]
fn a_preview_changes_nothing_and_tells_what_apply_would() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let all_v1 = base() + route(&[("v1", 100), ("v2", 0)]);
    let said = agent.cli_with(&["preview", "-"], &all_v1).expect(0).stdout;
    assert!(said.starts_with("+ listener [::]:31400 default/tcp-echo-gateway:tcp\n"), "{said}");
    assert!(agent.objects("all").is_empty() && agent.status().listeners.is_empty());
    agent.apply(&all_v1);
    let (before, status) = (agent.objects("all"), agent.generation());

    let shifted = route(&[("v1", 80), ("v2", 20)]);
    let said = agent.cli_with(&["preview", "-"], &shifted).expect(0).stdout;
    assert_eq!(
        said.lines().next(),
        Some("default/tcp-echo at [::]:31400: 20 % of clients move: v1 -> v2 20 %"),
        "{said}"
    );
    let dry = agent.cli_with(&["apply", "--dry-run", "-f", "-"], &shifted).expect(0).stdout;
    assert_eq!(dry, format!("virtualservice.networking.istio.io/tcp-echo configured (dry run)\n{said}"));
    let same = agent.cli_with(&["preview", "-"], &all_v1).expect(0).stdout;
    assert_eq!(same, "nothing changes\n");
    let gone = agent.cli_with(&["preview", "--delete", "-f", "-"], &shifted).expect(0).stdout;
    assert_eq!(
        gone,
        "- listener [::]:31400 default/tcp-echo-gateway:tcp\n- route default/tcp-echo at [::]:31400\n  \
         - endpoint 127.0.0.1:9000 of tcp-echo.default.svc.cluster.local:9000/v1\n  \
         - endpoint 127.0.0.1:9100 of tcp-echo.default.svc.cluster.local:9000/v2\n"
    );
    let more = agent.cli_with(&["preview", "-"], entry("more", "v2", "127.0.0.9", 9100)).expect(0).stdout;
    assert!(more.starts_with("default/tcp-echo at [::]:31400: no client moves\n"), "{more}");
    assert!(more.contains("+ endpoint 127.0.0.9:9100 of "), "{more}");
    assert_eq!((agent.objects("all"), agent.generation()), (before, status), "a preview changed something");

    agent.cli_with(&["preview", "-"], "kind: Gateway").expect(65);
    let conflict = shifted.clone().set("metadata.resourceVersion", "99");
    agent.cli_with(&["preview", "-"], &conflict).expect(1).complains("resourceVersion");
    agent.cli_with(&["preview", "--delete", "-f", "-"], entry("none", "v1", "::1", 1)).expect(1);
    let mut body = admin::documents(&shifted);
    let answer = agent.request("POST", "/v1/preview", Some(&body));
    assert_eq!((answer.status, &answer.body["diff"]["routes"][0]["moved"]), (200, &Value::from(2_000)));
    body["unknown"] = true.into();
    assert_eq!(agent.request("POST", "/v1/preview", Some(&body)).status, 400);
}

#[test]
fn objects_of_files_cannot_be_previewed_as_applied() {
    let world = World::new();
    let file = world.folder("routes").join("all.yaml");
    std::fs::write(&file, (base() + route(&[("v1", 100), ("v2", 0)])).to_string()).unwrap();
    let agent = Agent::start(&world, &[&file]);
    let shifted = route(&[("v1", 80), ("v2", 20)]);
    agent.cli_with(&["preview", "-"], &shifted).expect(1).complains("belongs to the file");
}

#[test]
fn every_object_of_the_example_is_described() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    let describe = |words: &[&str]| agent.cli(&[&["describe"], words].concat()).expect(0).stdout;
    for (kind, name, said) in [
        ("vs", "tcp-echo", "tcp[0] port 31400 -> tcp-echo:9000/v1=80, tcp-echo:9000/v2=20"),
        ("gw", "tcp-echo-gateway", "tcp 31400/TCP, hosts *"),
        ("dr", "tcp-echo-destination", "v1: version=v1"),
        ("svc", "tcp-echo", "Selects:      workloadentry/tcp-echo-v1\n"),
        ("we", "tcp-echo-v1", "Selected by:  service/tcp-echo\n"),
    ] {
        let text = describe(&[kind, name]);
        let endpoints = text.split_once("  tcp-echo.default.svc.cluster.local:9000/v1:\n").map(|(_, rest)| rest);
        let first = endpoints.and_then(|rest| rest.lines().nth(1)).unwrap_or_default();
        assert!(text.contains(said) && first.trim_start().starts_with("127.0.0.1:9000"), "{text}");
        let json: Value = serde_json::from_str(&describe(&[kind, name, "-o", "json"])).unwrap();
        assert_eq!((&json["origin"], json["listeners"].as_array().map(Vec::len)), (&"applied".into(), Some(1)));
    }
    agent.cli(&["describe", "vs", "none"]).expect(1).complains("not found");
    agent.cli(&["describe", "vs"]).expect(2);
}
