//! `kill -9`, at any time: state files are whole, and what was acknowledged is there after the restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, route};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::{Object, Objects, VirtualService};
use tcpshift_tests::world::World;

/// A route of its own name; `version` is told apart by a weight.
fn object(name: &str, version: u32) -> Object<VirtualService> {
    route(&[("v1", 100), ("v2", version)]).named(name)
}

/// What each object may be: what was acknowledged last, and what was asked for since.
type Expected = BTreeMap<String, Vec<Option<u32>>>;

/// One change, by its name and its new version; none is a delete. Whether the agent acknowledged it.
fn change(socket: &Path, name: &str, version: Option<u32>) -> bool {
    let answer = if let Some(version) = version {
        request(socket, "POST", "/v1/apply", Some(&documents(object(name, version))))
    } else {
        let delete = json!({ "objects": [{ "kind": "vs", "name": name }], "ignoreNotFound": true });
        request(socket, "POST", "/v1/delete", Some(&delete))
    };
    answer.is_ok_and(|answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        true
    })
}

/// Versions of the routes that the agent has.
fn versions(agent: &Agent<'_>) -> BTreeMap<String, u32> {
    let weight = |object: &Value| object["spec"]["tcp"][0]["route"][1]["weight"].as_u64().map(|weight| weight as u32);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    agent.objects("vs").iter().map(|object| (name(object), weight(object).unwrap())).collect()
}

/// Every file of the state folder that holds an object holds it whole.
fn assert_whole(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_whole(&path);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let object: serde_yaml::Value =
                serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
            assert!(object["kind"].is_string() && object["metadata"]["name"].is_string(), "{}: {text}", path.display());
        }
    }
}

#[test]
fn killed_between_and_during_applies() {
    let world = World::new();
    let mut agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    let expected = Mutex::new(Expected::new());
    let mut noise = Noise::new(99);
    let mut acknowledged = 0;
    for round in 0..20_u64 {
        let (socket, stop) = (agent.socket(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for writer in 0..3_u64 {
                let (socket, expected, stop) = (&socket, &expected, &stop);
                let mut noise = Noise::new(round * 10 + writer);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let name = format!("w{writer}-{}", noise.below(8));
                        let version = (noise.below(5) > 0).then(|| 1 + noise.below(1_000_000) as u32);
                        expected.lock().unwrap().entry(name.clone()).or_insert_with(|| vec![None]).push(version);
                        if !change(socket, &name, version) {
                            return;
                        }
                        expected.lock().unwrap().insert(name, vec![version]);
                    }
                });
            }
            // Between two applies, and in the midst of any.
            sleep(Duration::from_millis(noise.below(120)));
            agent.process().kill();
            stop.store(true, Ordering::Relaxed);
        });
        assert_whole(&agent.state());
        agent = agent.kill_and_restart();
        let found = versions(&agent);
        let mut expected = expected.lock().unwrap();
        for (name, may_be) in expected.iter_mut() {
            let is = found.get(name).copied();
            assert!(may_be.contains(&is), "round {round}: {name} is {is:?} and may be {may_be:?}\n{}", agent.log());
            *may_be = vec![is];
            acknowledged += usize::from(is.is_some());
        }
        assert!(found.keys().all(|name| expected.contains_key(name)), "round {round}: {found:?}");
        assert_eq!(agent.objects("gw").len() + agent.objects("svc").len(), 2, "round {round}");
    }
    assert!(acknowledged > 20, "only {acknowledged} objects were ever there");
}

#[test]
fn an_apply_of_many_objects_is_all_or_nothing_over_a_kill() {
    let world = World::new();
    let mut agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    let mut noise = Noise::new(5);
    let names: Vec<String> = (0..30).map(|number| format!("m-{number}")).collect();
    let all = |version| names.iter().map(|name| object(name, version)).collect::<Objects>();
    agent.post(all(1));
    for version in 2..12 {
        let socket = agent.socket();
        let text = all(version);
        std::thread::scope(|scope| {
            scope.spawn(|| request(&socket, "POST", "/v1/apply", Some(&documents(&text))).is_ok());
            sleep(Duration::from_millis(noise.below(40)));
            agent.process().kill();
        });
        assert_whole(&agent.state());
        agent = agent.kill_and_restart();
        let found = versions(&agent);
        assert_eq!(found.len(), names.len(), "{found:?}");
        let first = found["m-0"];
        assert!(found.values().all(|one| *one == first), "half an apply is there: {found:?}");
        agent.post(all(version));
    }
}

#[test]
fn a_state_file_that_is_damaged_is_named_and_costs_no_other() {
    let world = World::new();
    let mut agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + object("good", 1) + object("bad", 2));
    agent.process().kill();
    let mut damaged = 0;
    damage(&agent.state(), &mut damaged);
    assert_eq!(damaged, 1, "one file holds the object");
    let agent = agent.kill_and_restart();
    assert_eq!(versions(&agent), BTreeMap::from([("good".to_owned(), 1)]));
    agent.says("bad");
}

/// Cuts the file of the object `bad` in half.
fn damage(folder: &Path, damaged: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path, damaged);
        } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("name: bad\n")) {
            std::fs::write(&path, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {na").unwrap();
            *damaged += 1;
        }
    }
}
