//! Live connections: each is listed with its client and its bytes, and those that are meant are ended and no other ones.

mod closed;
mod filters;
mod listed;
mod many;
mod watched;

use std::collections::BTreeMap;
use std::net::TcpStream;

use tcpshift_agent::admin::api::{CloseReply, ConnectionStatus, ConnectionsReply};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{connect, converse};
use tcpshift_tests::steer::{self, GATEWAY_ROUTE, ONE, TWO, await_datapath, base, route};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// How clients of a gateway reach their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the agent.
    Carried,
    /// By the kernel, without the agent.
    HandedOver,
}

impl Way {
    const ALL: [Self; 2] = [Self::Carried, Self::HandedOver];

    fn datapath(self) -> &'static str {
        match self {
            Self::Carried => "proxy",
            Self::HandedOver => "lookup",
        }
    }

    /// An agent whose gateway serves the versions, which listen already, by this way.
    fn start(self, world: &World, weights: [u32; 2]) -> Agent<'_> {
        let options = match self {
            Self::Carried => vec!["--datapath".to_owned(), "proxy".to_owned()],
            Self::HandedOver => steer::options(world, &[]),
        };
        let agent = Agent::start(world, &options);
        agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, weights));
        await_datapath(&agent, GATEWAY_ROUTE, self.datapath());
        agent
    }
}

/// What `connections WORDS -o json` prints.
#[track_caller]
fn list(agent: &Agent<'_>, words: &[&str]) -> ConnectionsReply {
    let output = agent.cli(&[&["connections"], words, &["-o", "json"]].concat()).expect(0);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
}

/// What `connections close WORDS -o json` prints.
#[track_caller]
fn close(agent: &Agent<'_>, words: &[&str]) -> CloseReply {
    let output = agent.cli(&[&["connections", "close"], words, &["-o", "json"]].concat()).expect(0);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
}

/// Connections of a list by their clients.
#[track_caller]
fn by_client(reply: &ConnectionsReply) -> BTreeMap<String, ConnectionStatus> {
    let client = |one: &ConnectionStatus| one.client.clone().unwrap_or_else(|| panic!("{one:?} has no client"));
    reply.connections.iter().map(|one| (client(one), one.clone())).collect()
}

/// So many clients, each of which has been answered.
fn clients(address: &str, count: usize) -> Vec<TcpStream> {
    let open = || {
        let stream = connect(address).unwrap();
        converse(&stream, "hello").unwrap();
        stream
    };
    (0..count).map(|_| open()).collect()
}

/// Waits until so many connections are listed.
#[track_caller]
fn await_listed(agent: &Agent<'_>, words: &[&str], count: u64) {
    until_so(&format!("{count} connections are listed"), seconds(10), || list(agent, words).total == count);
}
