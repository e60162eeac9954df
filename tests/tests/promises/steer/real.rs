//! Common servers, two instances of each, under their usual load programs: no error, and the right split by the servers' own
//! counts.

mod http;
mod postgres;
mod redis;

use std::time::Duration;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::process::{Output, run};
use tcpshift_tests::share::assert_share;
use tcpshift_tests::world::World;

use super::{GATEWAY_ROUTE, MESH_ROUTE, ONE, TWO, await_datapath, base, inside, route, start};

/// Where the two versions of a server listen.
const PORTS: [u16; 2] = [ONE.2, TWO.2];

/// The share of the second version.
const SHARE: f64 = 0.3;

/// A way to reach the servers.
#[derive(Clone, Copy)]
struct Target<'a> {
    location: Location<'a>,
    host: &'static str,
    port: &'static str,
}

impl Target<'_> {
    /// Runs a load program with the words and then its own arguments; `HOST` and `PORT` are replaced in the words.
    #[track_caller]
    fn load(&self, program: &str, words: &str, own: &[&str]) -> Output {
        let mut command = self.location.command(program);
        command.args(words.replace("HOST", self.host).replace("PORT", self.port).split(' ')).args(own);
        run(command, b"", Duration::from_secs(40)).expect(0)
    }
}

/// By the service's address inside the mesh, and by the gateway's.
fn targets(world: &World) -> [Target<'_>; 2] {
    [
        Target { location: inside(world), host: "10.99.0.1", port: "9000" },
        Target { location: Location::Here, host: "127.0.0.1", port: "31400" },
    ]
}

/// An agent that divides connections among servers that listen.
fn served(world: &World) -> Agent<'_> {
    let agent = start(world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [70, 30]) + route(GATEWAY_ROUTE, [70, 30]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    agent
}

/// Panics unless the servers' counts have grown by at least `least` in all, of which the second has its share.
#[track_caller]
fn assert_counted(what: &str, before: [usize; 2], after: [usize; 2], least: usize) {
    let [one, two] = [after[0] - before[0], after[1] - before[1]];
    assert!(one + two >= least, "{what}: {one} and {two} of at least {least}");
    assert_share(what, two, one + two, SHARE);
}
