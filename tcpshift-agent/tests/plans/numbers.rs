//! Whose a number is: it stays with a rule, and with it its counters.

use std::collections::BTreeMap;

use tcpshift_agent::plan::Plan;
use tcpshift_common::DEFAULT_SEED;

const GROUND: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]
";

/// To be followed by its rules and the end of both brackets.
const ROUTE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r}
spec: {hosts: ['*'], gateways: [gate], tcp: [";

/// Numbers of the routes at the only listener and of their destinations, by the subset that a route leads to first.
fn numbers(plan: &Plan) -> BTreeMap<&str, (u32, Vec<u32>)> {
    let routes = plan.listeners[0].routes.iter().map(|route| {
        let subset = route.destinations[0].subset.as_deref().unwrap_or_default();
        (subset, (route.number, route.destinations.iter().map(|one| one.number).collect()))
    });
    routes.collect()
}

/// A rule for clients of a network, or for all.
fn rule(clients: Option<&str>, weights: &[(&str, u32)]) -> String {
    let matches = clients.map(|subnet| format!("match: [{{sourceSubnet: {subnet}}}], ")).unwrap_or_default();
    let to = |(subset, weight): &(&str, u32)| {
        format!("{{destination: {{host: echo, port: {{number: 9000}}, subset: {subset}}}, weight: {weight}}}")
    };
    format!("{{{matches}route: [{}]}}", weights.iter().map(to).collect::<Vec<_>>().join(", "))
}

#[test]
fn numbers_stay_with_a_rule_while_rules_before_it_come_and_go() {
    let (mut planner, mut last) = (crate::planner(), Plan::empty(DEFAULT_SEED));
    let mut plan = |rules: &[&str]| {
        let mut documents: Vec<String> = GROUND.split("---\n").map(str::to_owned).collect();
        documents.push(format!("{ROUTE}{}]}}", rules.join(", ")));
        let (store, errors) = crate::store(&documents);
        assert!(errors.is_empty(), "{errors:#?}");
        last = planner.plan(store.iter(), &last);
        let names = last.listeners[0].routes.iter().map(|route| route.rule).collect::<Vec<_>>();
        assert_eq!(names, (0..rules.len()).collect::<Vec<_>>(), "people see the index");
        let numbers = numbers(&last).into_iter().map(|(subset, numbers)| (subset.to_owned(), numbers));
        numbers.collect::<BTreeMap<String, _>>()
    };
    let one = &rule(Some("10.1.0.0/16"), &[("v1", 1)]);
    let two = &rule(Some("10.2.0.0/16"), &[("v2", 1)]);
    let rest = &rule(None, &[("v3", 1)]);
    let first = plan(&[two, rest]);
    // One before, one between, another order, and back.
    let more = plan(&[one, two, rest]);
    assert_eq!((&more["v2"], &more["v3"]), (&first["v2"], &first["v3"]));
    assert!(first.values().all(|(number, to)| *number != more["v1"].0 && !to.contains(&more["v1"].1[0])));
    assert_eq!(plan(&[two, one, rest]), more);
    assert_eq!(plan(&[rest, two, one]), more);
    assert_eq!(plan(&[two, rest]), first);
    // Other weights, one destination more, and another match: it is the same rule.
    let wider = plan(&[one, &rule(Some("10.2.0.0/16"), &[("v2", 90), ("v1", 10)]), rest]);
    assert_eq!((wider["v2"].0, wider["v2"].1[0]), (first["v2"].0, first["v2"].1[0]));
    assert_eq!(wider["v3"], first["v3"]);
    let moved = plan(&[rest, &rule(Some("10.9.0.0/16"), &[("v2", 5), ("v1", 95)])]);
    assert_eq!((&moved["v2"], &moved["v3"]), (&wider["v2"], &wider["v3"]));
    // A rule with the match of one that is gone leads elsewhere: the destinations are others.
    let other = plan(&[rest, &rule(Some("10.9.0.0/16"), &[("v1", 1)])]);
    assert!(!other["v1"].1.contains(&wider["v2"].1[0]));
}
