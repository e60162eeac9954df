//! Bytes: every one arrives, in order, and steered ones are counted.

use crate::steer::await_counted;
use crate::streams;
use crate::until::{patient, seconds};

use super::{Case, Found, Way};

/// Connections, each with a stream both ways.
const ROUNDS: u64 = 15;

pub(super) fn bytes(case: &Case<'_>) -> Found {
    let address = if case.family == super::Family::V4 { "127.0.0.1:9001" } else { "[::1]:9001" };
    let (_server, seen) = streams::server(address);
    let agent = case.start();
    agent.apply(&case.objects([100, 0]));
    case.assert_datapath(&agent);
    let (sent, received) = case.clients().stream(case.address(), ROUNDS);
    for _ in 0..ROUNDS {
        let judged = seen.recv_timeout(patient(seconds(10))).expect("the server has had a connection");
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
    await_counted(&agent, case.route(), ROUNDS, 0);
    let said = format!("{ROUNDS} connections, {sent} bytes to the server and {received} to the client");
    if case.way == Way::Proxy {
        return Found::right(said);
    }
    let steered = agent.destination(case.route(), "v1").steered;
    let counted = steered.map(|steered| (steered.closed, steered.bytes_sent, steered.bytes_received));
    assert_eq!(counted, Some((ROUNDS, sent, received)), "closed connections, and bytes sent and received, as counted");
    Found::right(said + ", all of them counted")
}
