//! A thousand edits under as many connections as the agent has descriptors for: none of them is disturbed.

use tcpshift_tests::client::ENTRANCE;
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::example::{base, route};
use tcpshift_tests::load::Load;
use tcpshift_tests::world::World;

use super::{assigned, start};
use crate::live::edit_a_thousand_times;

/// Each has two ends in the agent, whose limit is 20,000 descriptors.
const CONNECTIONS: usize = 9_000;

#[test]
fn a_thousand_edits_under_nine_thousand_connections_touch_none() {
    let world = World::new();
    // In processes of their own, since their ends take as many descriptors again.
    let _versions = both_versions(&world);
    let agent = start(&world);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]));
    let load = Load::start_lines(ENTRANCE, CONNECTIONS, "one".len());
    assert_eq!(assigned(&agent), (CONNECTIONS as u64, 0));
    edit_a_thousand_times(&agent, load, CONNECTIONS);
    assert_eq!(assigned(&agent), (CONNECTIONS as u64, 0));
}
