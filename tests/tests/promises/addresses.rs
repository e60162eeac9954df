//! Which addresses are this host's: those of interfaces and local routes, and not all that a socket may be bound to.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::objects::Objects;
use tcpshift_tests::process::{built, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// What is said of an endpoint that would lead back to the agent.
const OWN: &str = "endpoint is a listener of this agent";

fn ip(words: &str) {
    let mut ip = command("ip");
    ip.args(words.split(' '));
    run(ip, b"", seconds(10)).expect(0);
}

/// Has the kernel let sockets be bound to any address, in the world that this thread is in.
fn bind_anything() {
    std::fs::write("/proc/sys/net/ipv4/ip_nonlocal_bind", "1").unwrap();
}

/// Why v1 and v2 cannot be served, if they cannot.
fn unusable(agent: &Agent<'_>) -> [Option<String>; 2] {
    ["v1", "v2"].map(|subset| agent.destination("default/tcp-echo", subset).unusable)
}

#[test]
fn an_address_is_this_hosts_while_it_is_here() {
    let world = World::new();
    bind_anything();
    let agent = Agent::start::<&str>(&world, &[]);
    // At the gateway's port, on which the agent listens at every address.
    let versions = [("v1", "10.77.0.1"), ("v2", "10.78.1.1")];
    let entries = versions.map(|(version, address)| entry(&format!("tcp-echo-{version}"), version, address, 31_400));
    agent.apply(base());
    agent.apply(entries.into_iter().collect::<Objects>() + route(&[("v1", 1), ("v2", 1)]));
    assert_eq!(unusable(&agent), [None, None], "they are elsewhere");
    for (add, remove, expected) in [
        ("addr add 10.77.0.1/32 dev lo", "addr del 10.77.0.1/32 dev lo", [Some(OWN.to_owned()), None]),
        ("route add local 10.78.0.0/16 dev lo", "route del local 10.78.0.0/16 dev lo", [None, Some(OWN.to_owned())]),
    ] {
        ip(add);
        until_so(&format!("{add} is seen"), seconds(5), || unusable(&agent) == expected);
        ip(remove);
        until_so(&format!("{remove} is seen"), seconds(5), || unusable(&agent) == [None, None]);
    }
}

#[test]
fn a_source_address_has_to_be_here() {
    let world = World::new();
    bind_anything();
    let agent = command(built("tcpshift-agent"));
    let mut agent = Agent::launch(&world, "elsewhere", agent, &["--source-address", "192.0.2.9"]);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1));
    let said = "--source-address 192.0.2.9 is not an address of this host";
    agent.says(said);
}
