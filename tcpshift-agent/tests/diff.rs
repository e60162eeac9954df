//! The difference of two plans that route files make: what comes, what goes, and who moves.

use tcpshift_agent::plan::diff::{Change, Diff};
use tcpshift_agent::plan::{Abilities, Host, Plan, Planner, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;

const GROUND: &str = "
{apiVersion: v1, kind: Service, metadata: {name: echo}, spec: {selector: {app: echo}, ports: [{name: tcp, port: 9000}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: one}, spec: {address: 10.0.0.1, labels: {app: echo, version: v1}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";
const TWO: &str = "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: two}, spec: {address: 10.0.0.2, labels: {app: echo, version: v2}}}";
const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec: {servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]}";

/// A plan with its endpoint sets.
struct Planned(Plan, Sets);

fn diff(last: &Planned, next: &Planned) -> Diff {
    tcpshift_agent::plan::diff::diff((&last.0, &last.1), (&next.0, &next.1))
}

fn planner() -> Planner {
    let scope = Scope { namespace: "default".to_owned(), ..Scope::default() };
    let abilities = Abilities { connect: Ok(()), room: 10_000, ..Abilities::default() };
    Planner::new(scope, Host { abilities, ..Host::new(1) })
}

fn plan(texts: &[&str]) -> Planned {
    next(&mut planner(), &Plan::empty(1), texts)
}

/// The plan after another one, as the agent makes it.
fn next(planner: &mut Planner, last: &Plan, texts: &[&str]) -> Planned {
    let document = Document { name: "test.yaml".to_owned(), text: texts.join("\n---\n") };
    let (entries, problems) = read_all(&[document], None);
    let objects: Vec<_> = entries
        .into_iter()
        .map(|entry| match entry {
            ReadDocument::Valid(object) => *object,
            _ => panic!("{problems:#?}"),
        })
        .collect();
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects));
    let plan = planner.plan(store.iter(), last);
    Planned(plan, planner.sets().clone())
}

fn route(name: &str, matches: &str, v1: u32) -> String {
    let to = |subset: &str, weight: u32| format!("{{destination: {{host: echo, subset: {subset}}}, weight: {weight}}}");
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}}}, spec: {{hosts: ['*'], \
         gateways: [gate], tcp: [{{match: [{matches}], route: [{}, {}]}}]}}}}",
        to("v1", v1),
        to("v2", 100 - v1)
    )
}

const PORT: &str = "{port: 31400}";

#[test]
fn equal_objects_make_no_difference() {
    let texts = [GROUND, TWO, GATEWAY, &route("r", PORT, 80)];
    assert_eq!(diff(&plan(&texts), &plan(&texts)), Diff::default());
}

#[test]
fn a_shift_moves_its_share_and_nothing_else() {
    let of = |v1| plan(&[GROUND, TWO, GATEWAY, &route("r", PORT, v1)]);
    let diff = diff(&of(100), &of(80));
    assert!(diff.listeners.is_empty() && diff.entrances.is_empty(), "{diff:#?}");
    let [route] = &diff.routes[..] else { panic!("{diff:#?}") };
    assert_eq!((route.change, route.moved, route.moves.len()), (Change::Changed, 2_000, 1));
    assert!(route.moves[0].to.as_ref().is_some_and(|to| to.ends_with("/v2")), "{route:#?}");
}

#[test]
fn listeners_and_endpoints_come_and_go() {
    let route = route("r", PORT, 80);
    let (none, some) = (plan(&[GROUND, TWO]), plan(&[GROUND, TWO, GATEWAY, &route]));
    for (diff, change) in [(diff(&none, &some), Change::Added), (diff(&some, &none), Change::Removed)] {
        assert_eq!((diff.listeners[0].change, diff.routes[0].change), (change, change), "{diff:#?}");
        assert!(diff.routes[0].destinations[1].endpoints.iter().all(|one| one.change == change), "{diff:#?}");
    }
    let diff = diff(&some, &plan(&[GROUND, GATEWAY, &route]));
    let v2 = &diff.routes[0].destinations[0];
    assert_eq!((diff.routes[0].moved, v2.slots, v2.change), (0, (2_000, 2_000), Change::Changed));
    assert_eq!(v2.unusable.as_deref(), Some("no endpoint"));
    assert_eq!((v2.endpoints[0].change, v2.endpoints[0].address.as_str()), (Change::Removed, "10.0.0.2:9000"));
}

#[test]
fn clients_of_a_subnet_are_followed_to_their_new_route() {
    let base = [GROUND, TWO, GATEWAY];
    let (wide, narrow) = (route("wide", PORT, 100), route("narrow", "{port: 31400, sourceSubnet: 10.1.0.0/16}", 0));
    let mut planner = planner();
    let before = next(&mut planner, &Plan::empty(1), &[&base[..], &[&wide]].concat());
    let after = next(&mut planner, &before.0, &[&base[..], &[&wide, &narrow]].concat());
    let coming = diff(&before, &after);
    let [entrance] = &coming.entrances[..] else { panic!("{coming:#?}") };
    assert_eq!((entrance.clients.as_str(), entrance.moved), ("10.1.0.0/16", 10_000));
    assert_eq!((entrance.from.as_deref(), entrance.to.as_deref()), (Some("default/wide"), Some("default/narrow")));
    let going = diff(&after, &next(&mut planner, &after.0, &[&base[..], &[&narrow]].concat()));
    let [entrance] = &going.entrances[..] else { panic!("{going:#?}") };
    assert_eq!((entrance.clients.as_str(), entrance.to.as_deref()), ("", None));
}

#[test]
fn a_rule_is_the_same_wherever_it_stands_in_its_object() {
    let rule = |source: &str, v1: u32| {
        format!(
            "{{match: [{{port: 31400{source}}}], route: [{{destination: {{host: echo, subset: v1}}, weight: {v1}}}, \
             {{destination: {{host: echo, subset: v2}}, weight: {}}}]}}",
            100 - v1
        )
    };
    let route = |rules: &[String]| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r}}, spec: {{hosts: ['*'], \
             gateways: [gate], tcp: [{}]}}}}",
            rules.join(", ")
        )
    };
    let (all, subnet, other) =
        (rule("", 80), rule(", sourceSubnet: 10.1.0.0/16", 0), rule(", sourceSubnet: 10.2.0.0/16", 50));
    let mut planner = planner();
    let mut of = |last: &Plan, rules: &[&String]| {
        let rules: Vec<_> = rules.iter().map(|rule| (*rule).clone()).collect();
        next(&mut planner, last, &[GROUND, TWO, GATEWAY, &route(&rules)])
    };
    let before = of(&Plan::empty(1), &[&subnet, &all]);
    // One comes before the others: they are where they were, but for their number.
    let after = of(&before.0, &[&other, &subnet, &all]);
    let coming = diff(&before, &after);
    let [route] = &coming.routes[..] else { panic!("{coming:#?}") };
    assert_eq!((route.change, route.name.as_str()), (Change::Added, "default/r"));
    let [entrance] = &coming.entrances[..] else { panic!("{coming:#?}") };
    assert_eq!((entrance.clients.as_str(), entrance.from.as_deref()), ("10.2.0.0/16", Some("default/r#1")));
    let turned = of(&after.0, &[&subnet, &other, &rule("", 70)]);
    let turned = diff(&after, &turned);
    let [route] = &turned.routes[..] else { panic!("{turned:#?}") };
    assert_eq!((route.change, route.name.as_str(), route.moved), (Change::Changed, "default/r#2", 1_000));
    assert!(turned.entrances.is_empty(), "{turned:#?}");
}

fn entry(addresses: &str, endpoints: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: x}}, spec: {{hosts: [x.example.com], \
         addresses: {addresses}, ports: [{{number: 9000, name: tcp}}], resolution: STATIC, endpoints: {endpoints}}}}}"
    )
}

fn in_mesh(v1: u32) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: m}}, spec: {{hosts: [x.example.com], \
         tcp: [{{route: [{{destination: {{host: x.example.com}}, weight: {v1}}}, {{destination: {{host: echo, subset: v2}}, \
         weight: {}}}]}}]}}}}",
        100 - v1
    )
}

#[test]
fn clients_inside_a_mesh_are_followed_by_host_and_port() {
    let of = |addresses: &str, v1| {
        let endpoints = "[{address: 10.0.0.3}]";
        plan(&[GROUND, TWO, &entry(addresses, endpoints), &in_mesh(v1)])
    };
    let shifted = diff(&of("[240.0.0.1, 'fd00::1']", 100), &of("[240.0.0.1, 'fd00::1']", 80));
    assert!(shifted.mesh.is_empty() && shifted.entrances.is_empty(), "{shifted:#?}");
    let [route] = &shifted.routes[..] else { panic!("{shifted:#?}") };
    assert_eq!((route.address.as_str(), route.moved), ("x.example.com:9000", 2_000));
    let moved = diff(&of("[240.0.0.1]", 80), &of("[240.0.0.2]", 80));
    let [mesh] = &moved.mesh[..] else { panic!("{moved:#?}") };
    assert_eq!(
        (mesh.change, mesh.address.as_str(), mesh.at.as_str()),
        (Change::Changed, "x.example.com:9000", "240.0.0.2")
    );
    assert!(moved.routes.is_empty(), "{moved:#?}");
    let coming = diff(&of("[]", 80), &of("[240.0.0.1]", 80));
    assert_eq!((coming.mesh[0].change, coming.routes[0].change), (Change::Added, Change::Added), "{coming:#?}");
}

#[test]
fn routes_that_differ_by_family_are_told_twice() {
    let of = |v1| {
        let endpoints = "[{address: 10.0.0.3}, {address: '2001:db8::3'}]";
        plan(&[GROUND, TWO, &entry("[240.0.0.1, 'fd00::1']", endpoints), &in_mesh(v1)])
    };
    // The share that moves is the same, and said once.
    assert_eq!(diff(&of(100), &of(80)).routes.len(), 1);
    let coming = diff(&plan(&[GROUND, TWO]), &of(80));
    let endpoints: Vec<_> = coming.routes.iter().map(|route| route.destinations[0].endpoints.len()).collect();
    assert_eq!(endpoints, [1, 2], "{coming:#?}");
}

#[test]
fn asking_for_a_datapath_changes_settings() {
    let asking = route("r", PORT, 80).replace("{name: r}", "{name: r, annotations: {tcpshift.io/datapath: lookup}}");
    let diff = diff(&plan(&[GROUND, TWO, GATEWAY, &route("r", PORT, 80)]), &plan(&[GROUND, TWO, GATEWAY, &asking]));
    let [route] = &diff.routes[..] else { panic!("{diff:#?}") };
    assert!(route.settings && route.moves.is_empty(), "{diff:#?}");
}

#[test]
fn clients_of_a_service_go_from_its_rules_to_the_service_and_back() {
    let entry = |endpoints: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: x}}, spec: {{hosts: [x.example.com], \
             addresses: [240.0.0.1, 'fd00::1'], ports: [{{number: 9000, name: tcp}}], resolution: STATIC, endpoints: {endpoints}}}}}"
        )
    };
    let ruled = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: x}, spec: {hosts: [x.example.com], \
        tcp: [{route: [{destination: {host: echo, port: {number: 9000}}}]}]}}";
    let some = entry("[{address: 10.0.0.9}]");
    let (with, without) = (plan(&[GROUND, &some, ruled]), plan(&[GROUND, &some]));
    let Diff { listeners, mesh, routes, entrances } = diff(&with, &without);
    assert!(listeners.is_empty() && mesh.is_empty(), "{mesh:#?}");
    let [one] = &entrances[..] else { panic!("{entrances:#?}") };
    assert_eq!(
        (one.in_mesh, one.from.as_deref(), one.to.as_deref(), one.moved),
        (true, Some("default/x"), Some("ServiceEntry default/x"), 10_000)
    );
    let changes: Vec<_> = routes.iter().map(|route| (route.change, route.name.as_str())).collect();
    assert_eq!(changes, [(Change::Removed, "default/x"), (Change::Added, "ServiceEntry default/x")]);
    // Without an endpoint of its own nobody is led anywhere.
    let empty = entry("[]");
    let Diff { mesh, entrances, .. } = diff(&plan(&[GROUND, &empty]), &without);
    assert_eq!((mesh.len(), mesh[0].change, entrances.len()), (1, Change::Added, 0));
    assert!(diff(&plan(&[GROUND]), &plan(&[GROUND, &empty])).is_empty(), "nothing is served");
}
