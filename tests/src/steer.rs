//! Steering: a service, a gateway and two versions to steer to, and an agent whose clients are those of the world's control
//! group.
//!
//! All tests of a machine have one tree of control groups. An agent whose clients were those of the whole host would steer the
//! clients of other tests.

use std::io::{BufRead, BufReader, Write};

use crate::agent::{Agent, destination};
use crate::crowd::Location;
use crate::objects::{
    Object, Objects, VirtualService, destination_rule, endpoint, gateway, service_entry, virtual_service,
};
use crate::process::{command, run};
use crate::server::Server;
use crate::share::assert_share;
use crate::until::{PAUSE, patient, seconds, until_so};
use crate::world::World;

/// The service's address of IPv4. The host has it too in tests where another server listens there: see [`direct`].
pub const SERVICE: &str = "10.99.0.1:9000";
/// The service's address of IPv6.
pub const SERVICE6: &str = "[fd99::1]:9000";
/// The service's address of IPv4, as an IPv6 socket asks for it.
pub const MAPPED: &str = "[::ffff:10.99.0.1]:9000";

/// The gateway's address of IPv4.
pub const ENTRANCE: &str = "127.0.0.1:31400";
/// The gateway's address of IPv6.
pub const ENTRANCE6: &str = "[::1]:31400";

/// The route of clients in the mesh.
pub const MESH_ROUTE: &str = "default/echo";
/// The route of the gateway.
pub const GATEWAY_ROUTE: &str = "default/entrance";

/// Where the first version is in most tests: subset, address and port.
pub const ONE: (&str, &str, u16) = ("v1", "127.0.0.1", 9001);
/// Where the second version is.
pub const TWO: (&str, &str, u16) = ("v2", "127.0.0.1", 9002);

/// The objects that a route needs: the service with its endpoints, each a version, an address and a port; the subsets v1 and
/// v2; and the gateway.
pub fn base(endpoints: &[(&str, &str, u16)]) -> Objects {
    let service = service_entry("echo").address("10.99.0.1").address("fd99::1").port("tcp", 9000);
    let endpoints =
        endpoints.iter().map(|(version, address, port)| endpoint(address).port("tcp", *port).label("version", version));
    endpoints.fold(service, Object::endpoint)
        + destination_rule("echo", "echo.example.com").subset("v1").subset("v2")
        + gateway("entrance").port(31_400)
}

/// The route [`MESH_ROUTE`] or [`GATEWAY_ROUTE`], with the weights of v1 and v2.
pub fn route(name: &str, [v1, v2]: [u32; 2]) -> Object<VirtualService> {
    let name = name.trim_start_matches("default/");
    let route = virtual_service(name).to("echo.example.com/v1", v1).to("echo.example.com/v2", v2);
    if name == "entrance" { route.at("entrance") } else { route.host("echo.example.com") }
}

/// Starts an agent whose clients are those of the world's control group.
pub fn start<'a>(world: &'a World, arguments: &[&str]) -> Agent<'a> {
    Agent::start(world, &options(world, arguments))
}

/// How an agent is started.
pub fn options(world: &World, arguments: &[&str]) -> Vec<String> {
    let group = world.cgroup().display().to_string();
    let usual = ["--assign", "kernel", "--datapath", "auto", "--cgroup", &group];
    usual.iter().chain(arguments).map(ToString::to_string).collect()
}

/// Where clients are steered.
pub fn inside(world: &World) -> Location<'_> {
    Location::Group(world.cgroup())
}

/// Runs `ip WORDS` in the world that this thread is in.
pub fn ip(words: &str) {
    let mut ip = command("ip");
    ip.args(words.split(' '));
    run(ip, b"", seconds(10)).expect(0);
}

/// Gives the host the service's addresses. Without an agent, connections to them are refused.
pub fn own_addresses() {
    ip("addr add 10.99.0.1/32 dev lo");
    ip("addr add fd99::1/128 dev lo nodad");
}

/// Gives the host the service's addresses, and starts a server there that is no version: it answers what was not steered.
pub fn direct() -> [Server; 2] {
    own_addresses();
    [version(SERVICE, "direct"), version(SERVICE6, "direct")]
}

/// A server that answers lines as `tcp-echo` does, and HTTP requests by its name.
pub fn version(address: &str, name: &str) -> Server {
    let name = name.to_owned();
    Server::each(address, move |stream| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while let Some(line) = lines.next().transpose()? {
            if !line.starts_with("GET ") {
                (&stream).write_all(format!("{name} {line}\n").as_bytes())?;
                continue;
            }
            while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
            let length = name.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            return (&stream).write_all((head + &name).as_bytes());
        }
        Ok(())
    })
}

/// Both versions, where [`ONE`] and [`TWO`] say they are.
pub fn versions() -> [Server; 2] {
    [version("127.0.0.1:9001", "one"), version("127.0.0.1:9002", "two")]
}

/// How connections of a route reach endpoints, and why.
#[track_caller]
pub fn datapath(agent: &Agent<'_>, route: &str) -> (String, String) {
    let status = agent.status();
    let mut routes = status.listeners.iter().flat_map(|listener| &listener.routes);
    let found = routes.find(|found| found.name == route).unwrap_or_else(|| panic!("no {route} in {status:#?}"));
    (found.datapath.clone(), found.reason.clone())
}

/// Waits until a route has a datapath.
#[track_caller]
pub fn await_datapath(agent: &Agent<'_>, route: &str, expected: &str) {
    until_so(&format!("{route} goes by {expected}"), seconds(5), || datapath(agent, route).0 == expected);
}

/// Panics unless only the two versions answered, and the second had its share.
#[track_caller]
pub fn assert_split(tally: &std::collections::BTreeMap<String, usize>, two: f64) {
    let count = |name: &str| tally.get(name).copied().unwrap_or_default();
    let all = tally.values().sum();
    assert_eq!(count("one") + count("two"), all, "{tally:?}");
    assert_share("version two", count("two"), all, two);
}

/// Waits until so many connections are counted as opened by a route, and so many as open.
#[track_caller]
pub fn await_counted(agent: &Agent<'_>, route: &str, opened: u64, active: u64) {
    let (began, mut counted) = (std::time::Instant::now(), (0, 0));
    while began.elapsed() < patient(seconds(10)) {
        let status = agent.status();
        let to = ["v1", "v2"].map(|subset| destination(&status, route, subset));
        counted = (to[0].opened + to[1].opened, to[0].active + to[1].active);
        if counted == (opened, active) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("of {opened} that were opened {active} are open; counted: {counted:?}");
}
