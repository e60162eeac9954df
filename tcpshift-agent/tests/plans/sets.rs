//! What follows DNS without a plan, and what a plan that is given up leaves.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use tcpshift_agent::plan::sets::numbers::REST;
use tcpshift_agent::plan::sets::states::{Event, ResolvedNames};
use tcpshift_agent::plan::{EndpointSet, Plan, Planner, Sets, Unusable};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;

use crate::any::{documents, each_set};

/// A Gateway that nothing which is drawn refers to, with a route by its weights to two services that are written by host
/// names. The second endpoint of the first one has a weight of its own.
pub(crate) fn named(weights: [u32; 2], of_endpoint: u32) -> Vec<String> {
    let entry = |name: &str, resolution: &str, endpoints: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: named-{name}}}\n\
             spec: {{hosts: [{name}.example.org], ports: [{{name: tcp, number: 9100}}], resolution: {resolution}, \
             endpoints: [{endpoints}]}}\n"
        )
    };
    let to = |name: &str, weight: u32| format!("{{destination: {{host: {name}.example.org}}, weight: {weight}}}");
    let one = format!("{{address: one.example.net}}, {{address: also.example.net, weight: {of_endpoint}}}");
    vec![
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: named}\n\
         spec: {servers: [{port: {number: 9100, name: tcp, protocol: TCP}, hosts: ['*']}]}\n"
            .to_owned(),
        entry("one", "DNS", &one),
        entry("two", "DNS_ROUND_ROBIN", "{address: two.example.net}"),
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: named}}\n\
             spec: {{hosts: ['*'], gateways: [named], tcp: [{{route: [{}, {}]}}]}}\n",
            to("one", weights[0]),
            to("two", weights[1])
        ),
    ]
}

fn store(documents: &[String]) -> Store {
    let (store, errors) = crate::store(documents);
    assert!(errors.is_empty(), "{errors:#?}");
    store
}

fn answers(all: &[(&str, &[&str])]) -> Arc<ResolvedNames> {
    let parsed = |addresses: &[&str]| addresses.iter().map(|text| text.parse().expect("an address")).collect();
    Arc::new(all.iter().map(|(name, addresses)| ((*name).to_owned(), parsed(addresses))).collect())
}

/// A plan in force, and the planner that made it.
struct Agent {
    planner: Planner,
    plan: Plan,
    /// A number that nobody holds is free a look later.
    clock: u64,
}

impl Agent {
    fn new(documents: &[String]) -> Self {
        let mut agent = Self { planner: crate::planner(), plan: Plan::empty(DEFAULT_SEED), clock: 0 };
        agent.follow(documents);
        agent
    }

    /// Puts in force what objects come to, as the agent does while nobody is connected.
    fn follow(&mut self, documents: &[String]) {
        self.plan = self.planner.plan(crate::store(documents).0.iter(), &self.plan);
        self.sweep();
    }

    fn sweep(&mut self) {
        let register = &mut self.planner.memory.register;
        for space in [&mut register.listeners, &mut register.routes, &mut register.destinations, &mut register.targets]
        {
            space.take_fresh();
            space.sweep(|_| false);
        }
        self.planner.memory.states.take_fresh();
        self.clock += REST;
        self.planner.memory.states.sweep(self.clock, |_| false);
    }

    /// Puts the sets of an event in force, while these endpoints have connections.
    fn settle(&mut self, held: &[u32]) {
        self.planner.memory.states.take_fresh();
        self.clock += REST;
        self.planner.memory.states.settle(self.clock, |number| held.contains(&number));
    }

    fn answered(&mut self, all: &[(&str, &[&str])]) -> Event {
        self.planner.memory.states.answered(answers(all))
    }

    /// Number of the set of a destination, by the beginning of its name.
    fn number(&self, name: &str) -> u32 {
        let mut all = self.plan.routes().flat_map(|route| &route.destinations);
        all.find(|destination| destination.name.starts_with(name)).expect("there is such a destination").set
    }

    fn set(&self, name: &str) -> &Arc<EndpointSet> {
        self.planner.sets().shared(self.number(name)).expect("there is such a set")
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        self.set(name).endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
    }

    /// The number of an endpoint.
    fn endpoint(&self, name: &str, address: &str) -> u32 {
        let mut all = self.set(name).endpoints.iter();
        let found = all.find(|endpoint| endpoint.address.to_string().starts_with(address));
        found.expect("there is such an endpoint").decides.number
    }
}

#[test]
fn answers_replace_sets_and_make_no_generation() {
    let documents = named([80, 20], 1);
    let mut agent = Agent::new(&documents);
    let generation = agent.plan.generation;
    assert_eq!(agent.set("one.").unusable, Some(Unusable::Unresolved));
    let first = agent.plan.clone();
    let other = Arc::clone(agent.set("two."));
    // Where there was no endpoint, a plan may depend on it; this one does not.
    assert_eq!(agent.answered(&[("one.example.net", &["10.0.0.1"])]), Event { sets: 1, plan: true, here: false });
    assert_eq!(agent.addresses("one."), ["10.0.0.1:9100"]);
    assert!(Arc::ptr_eq(&other, agent.set("two.")), "a set without the name stays");
    agent.follow(&documents);
    assert_eq!(agent.plan, first);
    assert_eq!(agent.addresses("one."), ["10.0.0.1:9100"]);
    // One more of the same family is nothing to a plan.
    let more: [(&str, &[&str]); 2] =
        [("one.example.net", &["10.0.0.2", "10.0.0.1"]), ("two.example.net", &["10.0.0.7", "10.0.0.8"])];
    agent.answered(&more[1..]);
    agent.answered(&more);
    assert_eq!(
        agent.answered(&[("one.example.net", &["10.0.0.3", "10.0.0.1"]), more[1]]),
        Event { sets: 1, plan: false, here: false }
    );
    assert_eq!(agent.addresses("one."), ["10.0.0.1:9100", "10.0.0.3:9100"]);
    agent.follow(&documents);
    assert_eq!((&agent.plan, agent.plan.generation), (&first, generation));
    // The other family is something to a plan.
    assert_eq!(
        agent.answered(&[("one.example.net", &["fd00::1"]), more[1]]),
        Event { sets: 1, plan: true, here: false }
    );
    assert_eq!(agent.answered(&[more[1]]), Event { sets: 1, plan: true, here: false });
    assert_eq!(agent.set("one.").unusable, Some(Unusable::Unresolved));
    agent.follow(&documents);
    assert_eq!((&agent.plan, agent.plan.generation), (&first, generation));
}

#[test]
fn a_plan_may_depend_on_any_endpoint_where_all_are_on_this_host() {
    let mut documents = named([80, 20], 1);
    // Endpoints here at the port that the agent serves would be its own listener.
    documents[0] = documents[0].replace("number: 9100", "number: 9200");
    let mut agent = Agent::new(&documents);
    let mut answered = |addresses: &[&str]| agent.answered(&[("one.example.net", addresses)]);
    answered(&["127.0.0.1"]);
    let event = |here| Event { sets: 1, plan: false, here };
    assert_eq!(answered(&["127.0.0.1", "127.0.0.2"]), event(true));
    assert_eq!(answered(&["127.0.0.1", "10.0.0.2"]), event(true));
    assert_eq!(answered(&["127.0.0.1", "10.0.0.3"]), event(false));
    assert_eq!(answered(&["127.0.0.1"]), event(true));
}

#[test]
fn a_share_that_others_take_makes_a_generation() {
    let mut documents = named([80, 20], 1);
    documents[3] =
        documents[3].replace("{name: named}", "{name: named, annotations: {tcpshift.io/on-empty: redistribute}}");
    let mut agent = Agent::new(&documents);
    let two: [(&str, &[&str]); 1] = [("two.example.net", &["10.0.0.7"])];
    let mut slots = |answers: &[(&str, &[&str])]| {
        let event = agent.answered(answers);
        agent.follow(&documents);
        let destinations = agent.plan.routes().flat_map(|route| &route.destinations);
        let slots: Vec<_> = destinations.map(|destination| destination.slots).collect();
        (event.plan, agent.plan.generation, slots)
    };
    assert_eq!(slots(&two), (true, 2, vec![0, 10_000]));
    assert_eq!(slots(&[two[0], ("one.example.net", &["10.0.0.1"])]), (true, 3, vec![8_000, 2_000]));
    assert_eq!(slots(&[two[0], ("one.example.net", &["10.0.0.2"])]), (false, 3, vec![8_000, 2_000]));
    assert_eq!(slots(&two), (true, 4, vec![0, 10_000]));
}

#[test]
fn answers_that_say_the_same_replace_nothing() {
    let mut agent = Agent::new(&named([80, 20], 1));
    let of = |one: &'static [&'static str], two: &'static [&'static str]| {
        [("one.example.net", one), ("two.example.net", two)]
    };
    assert_eq!(agent.answered(&of(&["10.0.0.1", "10.0.0.2"], &["10.0.0.7", "10.0.0.8"])).sets, 2);
    let version = agent.planner.sets().version;
    let nothing = Event::default();
    assert_eq!(agent.answered(&of(&["10.0.0.1", "10.0.0.2"], &["10.0.0.7", "10.0.0.8"])), nothing);
    assert_eq!(agent.answered(&of(&["10.0.0.2", "10.0.0.1"], &["10.0.0.7", "10.0.0.8"])), nothing, "another order");
    // Only the first of these is an endpoint.
    assert_eq!(agent.answered(&of(&["10.0.0.2", "10.0.0.1"], &["10.0.0.7", "10.0.0.9"])), nothing);
    let more = [of(&["10.0.0.2", "10.0.0.1"], &["10.0.0.7"]), of(&[], &[])].concat();
    let unknown: Vec<_> = more[..2].iter().copied().chain([("unknown.example.net", &["10.0.0.1"][..])]).collect();
    assert_eq!(agent.answered(&unknown), nothing, "a name that nothing is written by");
    // The second endpoint is written by another name, and is the same address.
    let also: Vec<_> = unknown.iter().copied().chain([("also.example.net", &["10.0.0.1"][..])]).collect();
    assert_eq!(agent.answered(&also), nothing);
    assert_eq!(agent.planner.sets().version, version);
    assert_eq!(agent.answered(&of(&["10.0.0.2", "10.0.0.1"], &["10.0.0.8", "10.0.0.7"])).sets, 1);
    assert_eq!(agent.addresses("two."), ["10.0.0.8:9100"]);
}

#[test]
fn an_event_between_assemblies_forgets_no_set() {
    let mut agent = Agent::new(&named([80, 20], 1));
    for last in 1..5 {
        let address = format!("10.0.0.{last}");
        let all = |two: &str| answers(&[("one.example.net", &[&address]), ("two.example.net", &[two])]);
        let states = &mut agent.planner.memory.states;
        states.answered(all("10.0.0.7"));
        // As the agent does once the sets are in force: no plan was made.
        states.take_fresh();
        states.sweep(0, |_| false);
        assert_eq!(agent.addresses("one."), [format!("{address}:9100")]);
        assert_eq!(agent.addresses("two."), ["10.0.0.7:9100"]);
    }
}

#[test]
fn a_number_is_not_given_out_while_a_replaced_set_is_held() {
    let mut agent = Agent::new(&named([80, 20], 1));
    let number = |agent: &mut Agent, address: &str, held: &[u32]| {
        agent.answered(&[("one.example.net", &[address])]);
        agent.settle(held);
        agent.endpoint("one.", address)
    };
    let first = number(&mut agent, "10.0.0.1", &[]);
    let kept = agent.planner.sets().shared(agent.number("one.")).cloned();
    let second = number(&mut agent, "10.0.0.2", &[]);
    let third = number(&mut agent, "10.0.0.3", &[]);
    assert_eq!((first != second, third != first), (true, true));
    // What no set has is free once nobody holds it, and it has rested: that of the second one is, and that of the first one is not.
    assert_ne!(number(&mut agent, "10.0.0.4", &[]), second);
    assert_eq!(number(&mut agent, "10.0.0.5", &[]), second);
    // It is its own again if it comes back.
    assert_eq!(number(&mut agent, "10.0.0.1", &[]), first);
    drop(kept);
    // Now a connection holds it.
    for last in 6..10 {
        assert_ne!(number(&mut agent, &format!("10.0.0.{last}"), &[first]), first);
    }
    // And nobody.
    number(&mut agent, "10.0.0.10", &[]);
    let next: Vec<u32> = (11..15).map(|last| number(&mut agent, &format!("10.0.0.{last}"), &[])).collect();
    assert!(next.contains(&first), "{first} is none of {next:?}");
}

#[test]
fn a_set_that_is_swept_away_frees_its_numbers_once_it_is_dropped() {
    let (with, without) = (named([80, 20], 1), named([80, 20], 1)[..3].to_vec());
    let mut agent = Agent::new(&with);
    agent.answered(&[("one.example.net", &["10.0.0.1"])]);
    let first = agent.endpoint("one.", "10.0.0.1");
    let number = agent.number("one.");
    let kept = agent.planner.sets().shared(number).cloned().expect("there is a set");
    agent.follow(&without);
    assert_eq!(agent.planner.sets().get(number).endpoints.len(), 0, "no plan has the set");
    assert_eq!(agent.plan.names.len(), 0);
    // The same address at another port is another endpoint.
    let mut other = with.clone();
    other[1] = other[1].replace("number: 9100", "number: 9101");
    agent.follow(&other);
    assert_ne!(agent.endpoint("one.", "10.0.0.1"), first, "it is held");
    drop(kept);
    agent.sweep();
    agent.sweep();
    other[1] = with[1].replace("number: 9100", "number: 9102");
    agent.follow(&other);
    assert_eq!(agent.endpoint("one.", "10.0.0.1"), first, "the lowest that is free");
}

#[test]
fn sets_in_force_when_a_plan_is_given_up_hold_their_numbers() {
    let documents = named([80, 20], 1);
    let mut agent = Agent::new(&documents);
    agent.answered(&[("one.example.net", &["10.0.0.1"])]);
    agent.follow(&documents);
    let first = agent.endpoint("one.", "10.0.0.1");
    // As a connection that is being opened does.
    let held = Arc::clone(agent.set("one."));
    let intent = agent.planner.resolve(store(&documents).iter());
    agent.planner.plan(store(&named([70, 30], 1)).iter(), &agent.plan);
    agent.planner.memory.give_up();
    let again = agent.planner.assemble(&intent, &agent.plan);
    assert_eq!(again, agent.plan);
    assert_eq!(agent.endpoint("one.", "10.0.0.1"), first);
    for last in 2..6 {
        let address = format!("10.0.0.{last}");
        agent.answered(&[("one.example.net", &[&address])]);
        agent.settle(&[]);
        assert_ne!(agent.endpoint("one.", &address), first, "{address} has the number of one that may be tried");
    }
    drop(held);
}

/// Every number of a plan, and what has it. What the register counts and nobody counts by is left out.
fn numbers(plan: &Plan, sets: &Sets) -> Vec<(String, Vec<u32>)> {
    let listeners = plan.listeners.iter().map(|one| (one.address.to_string(), vec![one.number]));
    let mesh = plan.mesh.iter().map(|one| (format!("{} {}", one.name(), one.written()), vec![one.number]));
    let routes = plan.routes().flat_map(|route| {
        let destinations = route.destinations.iter().map(|one| {
            let own = [one.number, one.target, one.set];
            let endpoints = sets.of(one).endpoints.iter().map(|endpoint| endpoint.decides.number);
            (format!("{} > {}", route.name(), one.name), own.into_iter().chain(endpoints).collect())
        });
        [(route.name(), vec![route.number])].into_iter().chain(destinations)
    });
    listeners.chain(mesh).chain(routes).collect()
}

/// Some answers for the names that endpoints are written by.
pub(crate) fn some_answers(planner: &mut Planner) {
    let all: [(&str, &[&str]); 3] = [
        ("one.example.net", &["10.9.0.1", "10.9.0.2", "fd00::9"]),
        ("also.example.net", &["10.9.0.3"]),
        ("two.example.net", &["10.9.0.4", "10.9.0.5"]),
    ];
    planner.memory.states.answered(answers(&all));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_that_is_given_up_leaves_everything_as_it_was(
        first in proptest::collection::vec(any::<u64>(), 20..100),
        edits in proptest::collection::vec(any::<u64>(), 1..40),
        later in proptest::collection::vec(any::<u64>(), 1..40),
        times in 1_usize..4,
    ) {
        let of = |seeds: &[u64], weights| [documents(seeds), named(weights, 1)].concat();
        let (base, abandoned, next) = (
            of(&first, [80, 20]),
            of(&[&edits[..], &first[edits.len().min(first.len())..]].concat(), [50, 50]),
            of(&[&later[..], &first[later.len().min(first.len())..]].concat(), [10, 90]),
        );
        let mut agent = Agent::new(&base);
        some_answers(&mut agent.planner);
        agent.follow(&base);
        // Another one that nothing happens to.
        let mut other = agent.planner.fork();
        let before = numbers(&agent.plan, agent.planner.sets());
        let intent = agent.planner.resolve(crate::store(&base).0.iter());
        for _ in 0..times {
            let (store, _) = crate::store(&abandoned);
            agent.planner.plan(store.iter(), &agent.plan);
            agent.planner.memory.give_up();
            let again = agent.planner.assemble(&intent, &agent.plan);
            prop_assert!(again.is_like(&agent.plan));
            prop_assert_eq!(&again, &agent.plan);
            prop_assert_eq!(&numbers(&again, agent.planner.sets()), &before);
            let expected = each_set(&agent.plan, other.sets());
            prop_assert_eq!(each_set(&again, agent.planner.sets()), expected);
        }
        // What comes next is the same, has the numbers that it has in force, and new sets have those that they would have had.
        // A rule inside the mesh whose addresses are another one's is new in each assembly, so others may differ.
        let (store, _) = crate::store(&next);
        let found = agent.planner.plan(store.iter(), &agent.plan);
        let expected = other.plan(store.iter(), &agent.plan);
        prop_assert_eq!(crate::text(&found, agent.planner.sets()), crate::text(&expected, other.sets()));
        let sets = |plan: &Plan, sets: &Sets| {
            let all = plan.routes().flat_map(|route| &route.destinations);
            all.map(|one| (one.target, one.set, sets.of(one).clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(sets(&found, agent.planner.sets()), sets(&expected, other.sets()));
        let in_force: HashSet<u32> = agent.plan.routes().map(|route| route.number).collect();
        for (found, expected) in found.routes().zip(expected.routes()) {
            let is_kept = in_force.contains(&expected.number);
            prop_assert_eq!(is_kept, in_force.contains(&found.number));
            prop_assert!(!is_kept || (found.number, found.id) == (expected.number, expected.id));
        }
    }
}
