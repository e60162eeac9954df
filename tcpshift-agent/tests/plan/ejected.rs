//! Endpoints that are ejected: their sets do without them, and have them again as they were.

use tcpshift_agent::plan::Unusable;
use tcpshift_agent::plan::sets::states::Event;

use super::world::{GATEWAY, World, addresses, route};

/// A route to four endpoints, with a policy of their host.
fn texts(policy: &str) -> [String; 4] {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e}\nspec: {hosts: [e.example.com], \
                 ports: [{number: 9000, name: tcp, protocol: TCP}], resolution: STATIC, endpoints: [{address: 10.0.0.1}, \
                 {address: 10.0.0.2}, {address: 10.0.0.3, weight: 2}, {address: 10.0.0.4}]}";
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: e}}\nspec: {{host: e.example.com, \
         trafficPolicy: {policy}}}"
    );
    let route = route("r", "[{route: [{destination: {host: e.example.com}}]}]");
    [GATEWAY.to_owned(), entry.to_owned(), rule, route]
}

fn four(policy: &str) -> World {
    let mut world = World::new();
    world.compile(&texts(policy).each_ref().map(String::as_str));
    world
}

fn used(world: &World) -> Vec<String> {
    addresses(world.set(0)).iter().map(ToString::to_string).collect()
}

/// The number of an endpoint, by its place among those that are used.
fn number(world: &World, place: usize) -> u32 {
    world.set(0).endpoints[place].decides.number
}

#[test]
fn a_set_does_without_an_endpoint_and_has_it_again_as_it_was() {
    let mut world = four("{loadBalancer: {simple: ROUND_ROBIN}}");
    let before = world.set(0).clone();
    let third = number(&world, 2);
    let states = &mut world.planner.memory.states;
    assert_eq!(states.ejected(third, true), Event { sets: 1, plan: false, here: false });
    assert_eq!(states.ejected(third, true), Event::default(), "it is");
    assert_eq!(used(&world), ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.4:9000"]);
    let set = world.set(0);
    assert_eq!((set.decides.endpoints, set.decides.weight, set.all().count()), (3, 3, 4));
    assert_eq!((set.ejected[0].decides.number, set.unusable.clone()), (third, None));

    // Rested numbers are given to others; this one is in use.
    world.planner.memory.states.settle(u64::MAX, |_| false);
    world.planner.memory.states.ejected(third, false);
    assert_eq!(*world.set(0), before);
    assert!(world.planner.memory.states.take_fresh().back.is_empty(), "it counts on");
}

#[test]
fn a_set_of_which_all_are_ejected_is_unusable_and_a_plan_depends_on_it() {
    let mut world = four("{loadBalancer: {simple: RANDOM}}");
    let numbers: Vec<_> = (0..4).map(|place| number(&world, place)).collect();
    let states = &mut world.planner.memory.states;
    let events: Vec<_> = numbers.iter().map(|number| states.ejected(*number, true).plan).collect();
    assert_eq!(events, [false, false, false, true]);
    assert_eq!(world.set(0).unusable, Some(Unusable::Ejected));
    assert!(world.planner.memory.states.ejected(numbers[1], false).plan);
    assert_eq!((used(&world), world.set(0).unusable.clone()), (vec!["10.0.0.2:9000".to_owned()], None));
}

#[test]
fn where_too_few_would_be_left_all_are_used() {
    let mut world = four("{outlierDetection: {minHealthPercent: 50}}");
    let numbers: Vec<_> = (0..4).map(|place| number(&world, place)).collect();
    let mut left = Vec::new();
    for number in &numbers {
        world.planner.memory.states.ejected(*number, true);
        left.push(used(&world).len());
    }
    assert_eq!(left, [3, 2, 4, 4]);
}

#[test]
fn an_endpoint_that_goes_and_comes_is_not_ejected_any_more() {
    let mut world = four("{loadBalancer: {simple: RANDOM}}");
    let first = number(&world, 0);
    world.planner.memory.states.ejected(first, true);
    world.compile(&[GATEWAY]);
    world.planner.memory.states.sweep(0, |_| false);
    assert!(world.plan.routes().next().is_none());
    world.compile(&texts("{loadBalancer: {simple: RANDOM}}").each_ref().map(String::as_str));
    assert_eq!((used(&world).len(), world.set(0).ejected.len()), (4, 0));
}
