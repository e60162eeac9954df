//! Bytes: every one arrives, in order, and steered ones are counted.

use std::net::SocketAddr;

use crate::steer::{await_counted, base};
use crate::streams;
use crate::until::{patient, seconds};

use super::case::Case;
use super::{Verdict, Way};

/// Where v1 is.
const PORT: u16 = 9003;

/// Connections, each with a stream both ways.
const ROUNDS: u64 = 10;

pub(super) fn bytes(case: &Case<'_>) -> Verdict {
    let host = case.host();
    // Not the port of other scenarios: this server's thread may outlive the scenario, and would keep that port.
    let address = SocketAddr::new(host.parse().expect("an address"), PORT).to_string();
    let (_server, seen) = streams::server(&address);
    let agent = case.start();
    agent.post(base(&[("v1", host, PORT), ("v2", host, 9002)]) + case.weights([100, 0]));
    case.assert_datapath(&agent);
    let (sent, received) = case.clients().stream(case.address(), ROUNDS);
    for _ in 0..ROUNDS {
        let judged = seen.recv_timeout(patient(seconds(10))).expect("the server has had a connection");
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
    await_counted(&agent, case.route(), ROUNDS, 0);
    let said = format!("{ROUNDS} connections, {sent} bytes to the server and {received} to the client");
    if case.way == Way::Proxy {
        case.keep(agent);
        return Verdict::right(said);
    }
    let steered = agent.destination(case.route(), "v1").steered;
    let counted = steered.map(|steered| (steered.closed, steered.bytes_sent, steered.bytes_received));
    assert_eq!(counted, Some((ROUNDS, sent, received)), "closed connections, and bytes sent and received, as counted");
    case.keep(agent);
    Verdict::right(said + ", all of them counted")
}
