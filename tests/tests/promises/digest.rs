//! A digest: hosts that were given the same objects see that they agree, whatever else is different about them.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, route};
use tcpshift_tests::objects::{Objects, gateway};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::{World, replace};

#[test]
fn two_agents_with_the_same_objects_have_one_digest() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let objects = |v2: u32| base() + route(&[("v1", 100 - v2), ("v2", v2)]);
    // One has all in a file, the other each kind in a file of its own, in another order, at another address, with another seed.
    let whole = world.write("whole.yaml", objects(20).to_string());
    let parts = world.folder("parts");
    let split = |v2: u32| {
        replace(&parts.join("b.yaml"), base().to_string().as_bytes());
        replace(&parts.join("a.yaml"), route(&[("v1", 100 - v2), ("v2", v2)]).to_string().as_bytes());
    };
    split(20);
    let one = Agent::start(&world, &[&*whole.display().to_string(), "--listen-address", "127.0.0.6"]);
    let parts = parts.display().to_string();
    let words = [&*parts, "--listen-address", "127.0.0.7", "--seed", "7", "--assign", "agent"];
    let other = Agent::named(&world, "other", &words);
    let (first, second) = (one.status(), other.status());
    assert_eq!(first.digest, second.digest);
    assert_ne!(first.seed, second.seed);
    assert_ne!(first.listeners[0].address, second.listeners[0].address);
    let shown = one.cli(&["status", "-o", "wide"]).expect(0).stdout;
    assert!(shown.contains(&format!("digest {}", first.digest)), "{shown}");

    split(30);
    until_so("the other has another share", seconds(20), || other.status().digest != first.digest);
    split(20);
    until_so("they agree again", seconds(20), || other.status().digest == first.digest);
    let more: Objects = objects(20) + gateway("more").port(31_999);
    replace(&whole, more.to_string().as_bytes());
    until_so("a Gateway more is another digest", seconds(20), || one.status().digest != first.digest);
}
