//! `kill -9` while plans are published: what is left is mended by the next agent, and removed by `unload`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::cli;
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::maps::{attached, dump, pinned};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::{Object, Objects, VirtualService};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{assigned, start};

/// How often an agent is killed.
const KILLS: u32 = 100;

/// A route of its own, so that routes come and go as well.
fn second(weights: &[(&str, u32)]) -> Object<VirtualService> {
    route(weights).named("second")
}

/// Name, weight and slots of every destination, as `bpftool` shows them.
fn shown(world: &World) -> Vec<(String, u64, u64)> {
    let rows = dump(world, "destinations");
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let rows = rows.iter().map(|row| &row["value"]);
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), number(&row["weight"]), number(&row["slots"]))).collect()
}

#[test]
fn a_hundred_kills_while_publishing_are_mended_and_nothing_is_left() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let mut agent = start(&world);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]));
    let (mut noise, mut edits) = (Noise::new(11), 0);
    for round in 0..KILLS {
        let (socket, acknowledged) = (agent.socket(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for edit in 1_u32.. {
                    let v2 = (edit * 7 + round) % 101;
                    let mut edited = Objects::from(route(&[("v1", 100 - v2), ("v2", v2)]));
                    if edit.is_multiple_of(2) {
                        edited = edited + second(&[("v2", edit), ("v1", round + 1)]);
                    }
                    if request(&socket, "POST", "/v1/apply", Some(&documents(edited))).is_err() {
                        return;
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
            let most = noise.below(3);
            until_so("edits are acknowledged", seconds(20), || acknowledged.load(Ordering::Relaxed) >= most);
            sleep(Duration::from_millis(noise.below(40)));
            agent.process().kill();
        });
        edits += acknowledged.into_inner();
        agent = agent.kill_and_restart();
        let status = agent.status();
        let routes = status.listeners.iter().flat_map(|listener| &listener.routes);
        let expected: Vec<_> = routes
            .flat_map(|route| &route.destinations)
            .map(|to| (to.name.clone(), to.weight, to.slots.into()))
            .collect();
        assert_eq!(shown(&world), expected, "round {round}");
        assert!(!pinned(&world).iter().any(|path| path.ends_with("-new")), "round {round}: {:?}", pinned(&world));
        assert_eq!(attached(&world).len(), 1, "round {round}");
        assert_eq!(answers(ENTRANCE, 3).len(), 3);
        assert_eq!(assigned(&agent), (3, 0), "round {round}");
    }
    assert!(edits > u64::from(KILLS) / 2, "{edits} edits in {KILLS} rounds");
    // While an agent has it, nothing is removed.
    cli(&[], &["unload"], b"").expect(1).complains(&agent.pid().to_string());
    assert_eq!(answers(ENTRANCE, 3).len(), 3);
    assert_eq!(assigned(&agent), (6, 0));
    agent.process().kill();
    assert_eq!(attached(&world).len(), 1, "what is pinned outlives the agent");
    cli(&[], &["unload"], b"").expect(0);
    assert_eq!(pinned(&world), [""; 0]);
    assert_eq!(attached(&world).len(), 0);
}
