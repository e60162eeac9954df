//! As many connections as the process may have descriptors for, and a thousand edits that none of them feels.

use serde_json::json;
use tcpshift_tests::client::GATEWAY;
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::load::Load;
use tcpshift_tests::routes::{ground, route, together};
use tcpshift_tests::world::World;

use super::{assigned, start};

/// Each has two ends in the agent, whose limit is 20,000 descriptors.
const CONNECTIONS: usize = 9_000;

#[test]
fn a_thousand_edits_under_nine_thousand_connections_touch_none() {
    let world = World::new();
    // In processes of their own: their ends are as many again.
    let _versions = both_versions(&world);
    let agent = start(&world);
    agent.apply(&together(&[&ground(), &route(&[("v1", 50), ("v2", 50)])]));
    let load = Load::start_lines(GATEWAY, CONNECTIONS, "one".len());
    assert_eq!(assigned(&agent), (CONNECTIONS as u64, 0));
    let before = agent.generation();
    for edit in 1..=1_000_u32 {
        let v2 = edit % 101;
        if edit % 2 == 0 {
            agent.post(&route(&[("v1", 100 - v2), ("v2", v2)]));
        } else {
            let shares = json!([{ "subset": "v2", "slots": v2 * 100 }]);
            let shift = json!({ "object": { "kind": "vs", "name": "tcp-echo" }, "shares": shares });
            let answer = agent.request("POST", "/v1/shift", Some(&shift));
            assert_eq!(answer.status, 200, "edit {edit}: {}", answer.body);
        }
    }
    let status = agent.status();
    assert!(status.generation >= before + 900, "{before} to {}", status.generation);
    let active: u64 = status.listeners[0].routes[0].destinations.iter().map(|to| to.active).sum();
    assert_eq!(active + status.retired_active, CONNECTIONS as u64);
    let report = load.finish();
    assert!(report.exchanges >= CONNECTIONS * 2, "{} exchanges", report.exchanges);
    assert_eq!(assigned(&agent), (CONNECTIONS as u64, 0));
}
