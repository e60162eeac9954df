//! The admin socket: watch, preconditions, and clients that send rubbish, half a request, or nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tcpshift_tests::admin::{connect, documents, send};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, route};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::process::run;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

fn served(world: &World) -> Agent<'_> {
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    agent
}

/// A watch, as a reader of lines.
fn watch(agent: &Agent<'_>, path: &str) -> BufReader<UnixStream> {
    let mut stream = connect(&agent.socket()).unwrap();
    stream.set_read_timeout(Some(seconds(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").unwrap();
    BufReader::new(stream)
}

/// The next event; lines of the chunked encoding are passed over.
fn event(reader: &mut BufReader<UnixStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("an event comes in time") > 0, "the watch ended");
        if line.starts_with('{') {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

#[test]
fn a_watch_begins_with_what_is_there_and_follows() {
    let world = World::new();
    let agent = served(&world);
    let mut events = watch(&agent, "/v1/watch/vs");
    let first = event(&mut events);
    assert_eq!((first["type"].as_str(), first["name"].as_str()), (Some("ADDED"), Some("tcp-echo")), "{first}");
    assert_eq!(first["origin"], "applied");
    agent.post(route(&[("v1", 70), ("v2", 30)]));
    let second = event(&mut events);
    assert_eq!(second["type"], "MODIFIED", "{second}");
    assert_eq!(second["object"]["spec"]["tcp"][0]["route"][1]["weight"], 30);
    agent.cli(&["delete", "vs", "tcp-echo"]).expect(0);
    assert_eq!(event(&mut events)["type"], "DELETED");

    // From a version on, nothing before it is told again.
    let version = second["resourceVersion"].as_str().unwrap();
    let mut later = watch(&agent, &format!("/v1/watch/vs?resourceVersion={version}"));
    assert_eq!(event(&mut later)["type"], "DELETED");
}

#[test]
fn a_resource_version_is_a_precondition() {
    let world = World::new();
    let agent = served(&world);
    let version =
        agent.objects("vs")[0]["metadata"]["resourceVersion"].as_str().expect("an object has a version").to_owned();
    let shift = |version: &str, slots: u32| {
        let object = json!({ "kind": "vs", "name": "tcp-echo", "resourceVersion": version });
        let body = json!({ "object": object, "shares": [{ "subset": "v2", "slots": slots }] });
        agent.request("POST", "/v1/shift", Some(&body))
    };
    let answer = shift(&version, 3_000);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = shift(&version, 4_000);
    assert_eq!((answer.status, answer.body["reason"].as_str()), (409, Some("Conflict")), "{}", answer.body);
    assert_eq!(agent.destination("default/tcp-echo", "v2").slots, 3_000);
    let delete = json!({ "objects": [{ "kind": "vs", "name": "tcp-echo", "resourceVersion": version }] });
    assert_eq!(agent.request("POST", "/v1/delete", Some(&delete)).status, 409);
    assert_eq!(agent.objects("vs").len(), 1);

    // And an edited file that carries the version it was read at.
    let stale = route(&[("v1", 1)]).set("metadata.resourceVersion", version);
    let answer = agent.request("POST", "/v1/apply", Some(&documents(&stale)));
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[test]
fn requests_that_make_no_sense_get_an_answer_that_does() {
    let world = World::new();
    let agent = served(&world);
    let before = agent.generation();
    let cases: &[(&str, &str, &[u8], u16)] = &[
        ("POST", "/v1/apply", b"this is no JSON", 400),
        ("POST", "/v1/apply", b"{\"documents\": 7}", 400),
        ("POST", "/v1/apply", b"{\"dokuments\": []}", 400),
        ("POST", "/v1/apply", b"", 400),
        ("POST", "/v1/delete", b"[[[[", 400),
        ("POST", "/v1/shift", b"{}", 400),
        ("GET", "/v1/objects/unicorns", b"", 404),
        ("GET", "/v1/nowhere", b"", 404),
    ];
    for (method, path, body, status) in cases {
        let answer = send(&agent.socket(), method, path, body).unwrap();
        assert_eq!(answer.status, *status, "{method} {path} {}: {}", String::from_utf8_lossy(body), answer.body);
        assert!(
            answer.body["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{method} {path}: {answer:?}"
        );
    }
    let nested = format!("{{\"documents\": {}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(send(&agent.socket(), "POST", "/v1/apply", nested.as_bytes()).unwrap().status, 400);
    assert_eq!(agent.generation(), before);
}

#[test]
fn an_invalid_apply_says_every_problem_with_its_field() {
    let world = World::new();
    let agent = served(&world);
    let text = route(&[("v1", 80), ("v2", 20)]).set("spec.tcp[0].route[0].weight", -80);
    let text = text.set("spec.tcp[0].match[0].port", 70_000);
    let answer = agent.request("POST", "/v1/apply", Some(&documents(&text)));
    assert_eq!((answer.status, answer.body["reason"].as_str()), (422, Some("Invalid")));
    let problems = answer.body["problems"].as_array().unwrap();
    let mut fields: Vec<&str> = problems.iter().filter_map(|problem| problem["field"].as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["spec.tcp[0].match[0].port", "spec.tcp[0].route[0].weight"], "{problems:?}");
    assert!(problems.iter().all(|problem| problem["line"].as_u64() > Some(0) && problem["file"] == "test.yaml"));
}

#[test]
fn rubbish_half_requests_and_silence_harm_nobody() {
    let world = World::new();
    let agent = served(&world);
    let mut noise = Noise::new(1);
    let mut held = Vec::new();
    let half = b"POST /v1/apply HTTP/1.1\r\nHost: agent\r\nContent-Length: 1000000\r\n\r\n{\"documents\"";
    for round in 0..60 {
        let mut stream = connect(&agent.socket()).unwrap();
        let bytes = match round % 5 {
            0 => noise.take(5_000),
            1 => half.to_vec(),
            2 => Vec::new(),
            3 => format!("GET /v1/status HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)).into_bytes(),
            _ => b"GET /v1/sta".to_vec(),
        };
        // The agent may close on rubbish before it has all of it.
        let _refused = stream.write_all(&bytes).is_err();
        if round % 2 == 0 {
            held.push(stream);
        }
    }
    agent.status();
    agent.post(route(&[("v1", 60), ("v2", 40)]));
    assert!(agent.most_megabytes() < 150, "{} MB", agent.most_megabytes());
    drop(held);
}

#[test]
fn a_body_without_end_is_refused_and_not_kept() {
    let world = World::new();
    let agent = served(&world);
    let before = agent.most_megabytes();
    let mut stream = connect(&agent.socket()).unwrap();
    stream.write_all(b"POST /v1/apply HTTP/1.1\r\nHost: agent\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let piece = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    let mut sent = 0_usize;
    while sent < 200_000_000 && stream.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    let mut answer = [0; 12];
    if stream.write_all(b"0\r\n\r\n").and_then(|()| stream.read_exact(&mut answer)).is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    let whole = vec![b' '; 100_000_000];
    if let Ok(answer) = send(&agent.socket(), "POST", "/v1/apply", &whole) {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let most = agent.most_megabytes();
    assert!(most < before + 100, "{before} MB before, {most} MB at most");
    agent.status();
}

#[test]
fn curl_speaks_it() {
    let world = World::new();
    let agent = served(&world);
    let curl = |words: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-with-body", "--unix-socket"]).arg(agent.socket()).args(words);
        run(command, b"", seconds(20))
    };
    let status: Value = serde_json::from_str(&curl(&["http://agent/v1/status"]).expect(0).stdout).unwrap();
    assert_eq!(status["pid"], agent.pid());
    let list: Value =
        serde_json::from_str(&curl(&["http://agent/v1/objects/vs?namespace=default"]).expect(0).stdout).unwrap();
    assert_eq!(list["items"][0]["object"]["metadata"]["name"], "tcp-echo");
    assert_eq!(list["items"][0]["origin"], "applied");
    let missing = curl(&["http://agent/v1/objects/vs?namespace=default&name=nobody"]);
    assert!(missing.status != 0 && missing.stdout.contains("NotFound"), "{missing:?}");
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let world = World::new();
    let agent = served(&world);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    let before = descriptors();
    for _ in 0..30 {
        let mut events = watch(&agent, "/v1/watch/vs");
        event(&mut events);
    }
    std::thread::sleep(Duration::from_millis(50));
    agent.post(route(&[("v1", 60), ("v2", 40)]));
    tcpshift_tests::until::until_so("descriptors are given back", seconds(5), || descriptors() <= before + 2);
}
