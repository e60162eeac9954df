//! Clients inside a mesh in a plan from one edit to the next, and in what people are told of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tcpshift_agent::admin::api::ListenerStatus;
use tcpshift_agent::admin::status::{self, Knowledge};
use tcpshift_agent::connections::Connections;
use tcpshift_agent::observe::{History, Sample};
use tcpshift_agent::plan::{Abilities, Endpoint, Host, Plan, Planner, RouteChanges, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;

const SUBSETS: &str = "
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: x}, spec: {host: x.example.com, subsets: [{name: v1, labels: {v: '1'}}, {name: v2, labels: {v: '2'}}]}}
";
/// The second version has IPv6 addresses alone.
const MIXED: &str = "[{address: 10.0.0.1, labels: {v: '1'}}, {address: '2001:db8::2', labels: {v: '2'}}]";
const ALIKE: &str = "[{address: 10.0.0.1, labels: {v: '1'}}, {address: 10.0.0.2, labels: {v: '2'}}]";

fn entry(endpoints: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: x}}, spec: {{hosts: [x.example.com], \
         addresses: [240.0.0.1, 240.1.0.0/16, 'fd00::1'], ports: [{{number: 9000, name: tcp}}], resolution: STATIC, \
         endpoints: {endpoints}}}}}"
    )
}

fn route(v1: u32) -> String {
    let to = |subset: &str, weight: u32| {
        format!("{{destination: {{host: x.example.com, subset: {subset}}}, weight: {weight}}}")
    };
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r}}, spec: {{hosts: [x.example.com], \
         tcp: [{{route: [{}, {}]}}]}}}}",
        to("v1", v1),
        to("v2", 100 - v1)
    )
}

/// What `status` shows, before the first connection.
fn shown(plan: &Plan, sets: &Sets) -> Vec<ListenerStatus> {
    let (plan, sets) = (Arc::new(plan.clone()), Arc::new(sets.clone()));
    let sample = Sample::take((&plan, &sets), &[], &Connections::default(), &History::default(), None);
    let known = Knowledge { down: &BTreeMap::new(), silent: &BTreeSet::new(), ejected: &HashMap::new() };
    status::listeners(&sample, known)
}

fn planner() -> Planner {
    let scope = Scope { namespace: "default".to_owned(), ..Scope::default() };
    let abilities = Abilities { connect: Ok(()), lookup: Ok(()), room: 10_000 };
    Planner::new(scope, Host { abilities, ..Host::new(1) })
}

fn next(endpoints: &str, v1: u32, planner: &mut Planner, last: &Plan) -> Plan {
    let store = store(&[SUBSETS, &entry(endpoints), &route(v1)]);
    planned(&store, 10_000, planner, last)
}

fn store(texts: &[&str]) -> Store {
    let text = texts.join("\n---\n");
    let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
    let objects = entries.into_iter().map(|entry| match entry {
        ReadDocument::Valid(object) => *object,
        _ => panic!("{problems:#?}"),
    });
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects.collect()));
    store
}

fn planned(store: &Store, room: u32, planner: &mut Planner, last: &Plan) -> Plan {
    planner.host.abilities.room = room;
    planner.plan(store.iter(), last)
}

#[test]
fn what_both_families_reach_is_one_route() {
    let mut planner = planner();
    let plan = next(ALIKE, 80, &mut planner, &Plan::empty(1));
    let [v4, v6] = &plan.mesh[..] else { panic!("{plan:#?}") };
    assert!(Arc::ptr_eq(&v4.routes[0], &v6.routes[0]) && v4.number != v6.number);
    assert_eq!(plan.routes().count(), 1);
    let [listener] = &shown(&plan, planner.sets())[..] else { panic!("{plan:#?}") };
    assert_eq!(
        (listener.name.as_str(), listener.address.as_str()),
        ("x.example.com:9000", "240.0.0.1, 240.1.0.0/16, fd00::1")
    );
    assert_eq!(
        (listener.routes[0].datapath.as_str(), listener.routes[0].reason.as_str()),
        ("connect", "clients inside a mesh")
    );
    assert_eq!(status::datapaths(&plan), "connect");
    assert_eq!(status::datapaths(&Plan::empty(1)), "none");
}

#[test]
fn a_family_that_comes_or_goes_changes_no_route_of_the_other() {
    let mut planner = planner();
    let of_one = |text: &str| text.replace(", 'fd00::1'", "");
    let one = store(&[SUBSETS, &of_one(&entry(ALIKE)), &route(80)]);
    let both = store(&[SUBSETS, &entry(ALIKE), &route(80)]);
    let first = planned(&one, 10_000, &mut planner, &Plan::empty(1));
    let second = planned(&both, 10_000, &mut planner, &first);
    assert_eq!((first.mesh.len(), second.mesh.len()), (1, 2));
    for (last, next) in [(&first, &second), (&second, &first)] {
        let changes = RouteChanges::between(last, next);
        assert_eq!((changes.gone.len(), changes.new.len()), (0, 0), "it is the same route");
    }
    let changes = RouteChanges::between(&Plan::empty(1), &second);
    assert_eq!((changes.gone.len(), changes.new.len()), (0, 1), "each once");
}

#[test]
fn what_they_reach_differently_is_two_routes_that_count_together() {
    let mut planner = planner();
    let plan = next(MIXED, 80, &mut planner, &Plan::empty(1));
    let sets = planner.sets();
    let routes: Vec<_> = plan.routes().collect();
    let [v4, v6] = &routes[..] else { panic!("{plan:#?}") };
    assert_ne!(v4.number, v6.number);
    for (one, other) in v4.destinations.iter().zip(&v6.destinations) {
        assert_eq!((one.number, &one.name), (other.number, &other.name));
        let known: HashSet<u32> = sets.of(other).endpoints.iter().map(|endpoint| endpoint.decides.number).collect();
        assert!(sets.of(one).endpoints.iter().all(|endpoint| known.contains(&endpoint.decides.number)));
    }
    let listeners = shown(&plan, sets);
    let told: Vec<_> = listeners.iter().map(|one| (one.name.as_str(), one.address.as_str())).collect();
    assert_eq!(told, [("x.example.com:9000", "240.0.0.1, 240.1.0.0/16"), ("x.example.com:9000", "fd00::1")]);
    let unusable = |at: usize| listeners[at].routes[0].destinations[1].unusable.as_deref();
    assert_eq!((unusable(0), unusable(1)), (Some("no endpoint of the client's address family"), None));
}

#[test]
fn an_edit_keeps_numbers_and_what_it_does_not_change() {
    let mut planner = planner();
    let first = next(MIXED, 80, &mut planner, &Plan::empty(1));
    let same = next(MIXED, 80, &mut planner, &first);
    assert_eq!(same.generation, first.generation);
    assert!(same.is_like(&first) && RouteChanges::between(&first, &same).new.is_empty());
    assert!(same.mesh.iter().zip(&first.mesh).all(|(one, other)| Arc::ptr_eq(one, other)));
    let shifted = next(MIXED, 50, &mut planner, &same);
    let numbers = |plan: &Plan| {
        let routes: Vec<_> = plan.routes().map(|route| (route.number, route.destinations[0].number)).collect();
        (plan.mesh.iter().map(|one| one.number).collect::<Vec<_>>(), routes)
    };
    assert_eq!(numbers(&shifted), numbers(&first));
    let changes = RouteChanges::between(&same, &shifted);
    assert_eq!((changes.gone.len(), changes.new.len()), (2, 2));
    let register = &mut planner.memory.register;
    for space in [&mut register.routes, &mut register.destinations, &mut register.listeners] {
        space.sweep(|_| true);
        assert_eq!(space.retired().count(), 0);
    }
}

/// The endpoints of every destination.
fn endpoints(plan: &Plan, sets: &Sets) -> Vec<Arc<[Endpoint]>> {
    let destinations = plan.routes().flat_map(|route| &route.destinations);
    destinations.map(|destination| Arc::clone(&sets.of(destination).endpoints)).collect()
}

/// So many services without rules.
fn plain(count: usize) -> String {
    let each = (0..count).map(|at| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: s{at}, creationTimestamp: \
             '2026-01-01T00:00:{at:02}Z'}}, spec: {{hosts: [s{at}.example.com], addresses: [240.2.0.{at}], ports: [{{number: \
             9000, name: tcp}}], resolution: STATIC, endpoints: [{{address: 10.0.0.1}}, {{address: 10.0.0.2}}]}}}}"
        )
    });
    each.collect::<Vec<_>>().join("\n---\n")
}

fn served(plan: &Plan) -> Vec<String> {
    plan.mesh.iter().filter(|one| !one.routes.is_empty()).map(|one| one.name()).collect()
}

#[test]
fn services_get_what_rules_leave_of_the_room() {
    let store = store(&[SUBSETS, &entry(ALIKE), &route(80), &plain(5)]);
    let plan = |room| planned(&store, room, &mut planner(), &Plan::empty(1));
    let all = plan(100);
    assert_eq!((served(&all).len(), all.notes.as_slice()), (7, [].as_slice()));
    // The rule may need two routes, one for the clients of each family, and each service has IPv4 addresses alone.
    let some = plan(4);
    assert_eq!(
        served(&some),
        ["s0.example.com:9000", "s1.example.com:9000", "x.example.com:9000", "x.example.com:9000"],
        "the oldest have it"
    );
    let [note] = &some.notes[..] else { panic!("{:#?}", some.notes) };
    assert!(note.starts_with("ServiceEntry default/s2 and 2 ports more: ") && note.contains("--max-routes"), "{note}");
    assert_eq!(some.mesh.len(), 7, "the others keep their addresses");
    let nothing = plan(0);
    assert_eq!((served(&nothing).len(), nothing.mesh.len(), nothing.notes.len()), (2, 2, 0), "nothing is steered");
}

#[test]
fn what_services_meet_is_taken_over_while_nothing_changes() {
    let mut planner = planner();
    let objects = store(&[SUBSETS, &entry(ALIKE), &route(80), &plain(5)]);
    let first = planned(&objects, 100, &mut planner, &Plan::empty(1));
    let before = endpoints(&first, planner.sets());
    let second = planned(&objects, 100, &mut planner, &first);
    assert!(second.mesh.iter().zip(&first.mesh).all(|(one, other)| Arc::ptr_eq(one, other)));
    assert!(second.is_like(&first) && second.mesh.len() == 7);
    planner.memory.states.sweep(0, |_| false);
    assert_eq!(endpoints(&second, planner.sets()), before, "nor are endpoints others");
    for space in [&mut planner.memory.register.routes, &mut planner.memory.register.destinations] {
        space.sweep(|_| true);
        assert_eq!(space.retired().count(), 0, "what is taken over keeps its numbers");
    }
    // Less room, and none.
    assert_eq!(served(&planned(&objects, 4, &mut planner, &second)).len(), 4);
    let third = planned(&objects, 100, &mut planner, &second);
    assert_eq!(served(&third).len(), 7);
    assert_eq!(served(&planned(&objects, 0, &mut planner, &third)).len(), 2);
    // A rule that goes leaves its clients to the service.
    let without = store(&[SUBSETS, &entry(ALIKE), &plain(5)]);
    let last = planned(&without, 100, &mut planner, &third);
    let names: Vec<_> = last.routes().map(|route| route.name()).collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| name.starts_with("ServiceEntry default/")), "{names:?}");
}

#[test]
fn a_service_that_clients_of_one_family_reach_is_shown_for_them_alone() {
    let only_v6 = "[{address: '2001:db8::2'}]";
    let mut planner = planner();
    let plan = planned(&store(&[&entry(only_v6)]), 100, &mut planner, &Plan::empty(1));
    let listeners = shown(&plan, planner.sets());
    let [one] = &listeners[..] else { panic!("{listeners:#?}") };
    assert_eq!((one.address.as_str(), one.routes[0].name.as_str()), ("fd00::1", "ServiceEntry default/x"));
    assert_eq!((one.routes[0].destinations[0].slots, one.routes[0].datapath.as_str()), (10_000, "connect"));
}
