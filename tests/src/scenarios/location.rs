//! Where clients and servers are: on other interfaces, at every address, or nowhere.

use crate::crowd::Location;
use crate::echo::tcp_echo;
use crate::neighbour::Neighbour;
use crate::share::assert_share;
use crate::steer::{ENTRANCE, ENTRANCE6, GATEWAY_ROUTE, ONE, assert_split, await_counted, base, datapath};

use super::case::Case;
use super::{Verdict, Way};

/// Connections from each location.
const SOME: usize = 100;

pub(super) fn neighbour(case: &Case<'_>) -> Verdict {
    let neighbour = Neighbour::new(case.world);
    let vlan = neighbour.vlan();
    let (agent, _versions) = case.served([80, 20]);
    let ways = if vlan { &["10.98.0.1:31400", "10.97.0.1:31400"][..] } else { &["10.98.0.1:31400"] };
    for address in ways {
        assert_split(&neighbour.location().tally(address, SOME), 0.2);
    }
    await_counted(&agent, GATEWAY_ROUTE, (ways.len() * SOME) as u64, 0);
    case.assert_datapath(&agent);
    let steered = agent.status().assignment.steered;
    let expected = if case.way == Way::Lookup { ways.len() * SOME } else { 0 };
    assert_eq!(steered, expected as u64, "connections that were steered");
    case.keep(agent);
    let tagged =
        if vlan { format!("{SOME} in a VLAN") } else { "none in a VLAN, since this kernel has none".to_owned() };
    Verdict::right(format!("{SOME} connections over a veth and {tagged}; {steered} of them steered"))
}

pub(super) fn everywhere(case: &Case<'_>) -> Verdict {
    let _versions = [tcp_echo(case.world, "9001", "one", "::"), tcp_echo(case.world, "9002", "two", "::")];
    let agent = case.start();
    agent.post(case.objects([80, 20]));
    let (by, reason) = datapath(&agent, GATEWAY_ROUTE);
    assert!(by == "lookup", "connections go by {by}: {reason}");
    for address in [ENTRANCE, ENTRANCE6] {
        assert_split(&Location::Here.tally(address, SOME), 0.2);
    }
    await_counted(&agent, GATEWAY_ROUTE, 2 * SOME as u64, 0);
    let steered = agent.status().assignment.steered;
    assert_eq!(steered, SOME as u64, "connections that were steered");
    case.keep(agent);
    Verdict::right(format!("{SOME} connections of IPv4 handed over, {SOME} of IPv6 carried"))
}

pub(super) fn refused(case: &Case<'_>) -> Verdict {
    let _one = tcp_echo(case.world, "9001", "one", "127.0.0.1");
    let mut two = tcp_echo(case.world, "9002", "two", "127.0.0.1");
    let agent = case.start();
    agent.post(case.objects([70, 30]));
    case.assert_datapath(&agent);
    match case.way {
        // A version without an endpoint.
        Way::Connect => {
            agent.post(base(&[ONE]));
        }
        // A version whose server is gone. Without an endpoint, the route would be carried.
        Way::Lookup | Way::Proxy => two.kill(),
    }
    let tally = case.tally(2 * SOME);
    let count = |who: &str| tally.get(who).copied().unwrap_or_default();
    let (served, refused) = (count("one"), count("ConnectionRefused"));
    assert_eq!(served + refused, 2 * SOME, "{tally:?}");
    assert_share("refused", refused, 2 * SOME, 0.3);
    case.assert_datapath(&agent);
    case.keep(agent);
    Verdict::right(format!("{refused} of {} refused at weight 30", 2 * SOME))
}
