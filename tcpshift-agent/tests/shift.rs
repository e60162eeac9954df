//! `shift`: which weights a document has afterwards, what counted before, and what is refused.

use serde_json::Value;
use tcpshift_agent::route::object::Object;
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::shift::{Edit, RuleName, shift};

fn object(text: &str) -> Object {
    let (mut entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text: text.to_owned() }], None);
    match entries.pop() {
        Some(ReadDocument::Valid(object)) => *object,
        _ => panic!("{problems:#?}"),
    }
}

/// A VirtualService with these rules, each a list of destinations in flow style.
fn virtual_service(rules: &[&str]) -> Object {
    let rules: Vec<_> = rules.iter().map(|route| format!("{{match: [{{port: 1}}], route: [{route}]}}")).collect();
    object(&format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r}}, spec: {{hosts: ['*'], \
         gateways: [g], tcp: [{}]}}}}",
        rules.join(", ")
    ))
}

/// The same of one host, each with its weight, or without one.
fn subsets(weights: &[(&str, Option<u32>)]) -> Object {
    let route: Vec<_> = weights
        .iter()
        .map(|(subset, weight)| {
            let weight = weight.map(|weight| format!(", weight: {weight}")).unwrap_or_default();
            format!("{{destination: {{host: echo, subset: {subset}}}{weight}}}")
        })
        .collect();
    virtual_service(&[&route.join(", ")])
}

/// A TCPRoute of namespace `own` with these rules, each a list of backends in flow style.
fn tcp_route(rules: &[&str]) -> Object {
    let rules: Vec<_> = rules.iter().map(|rule| format!("{{{rule}}}")).collect();
    object(&format!(
        "{{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TCPRoute, metadata: {{name: r, namespace: own}}, \
         spec: {{parentRefs: [{{name: g}}], rules: [{}]}}}}",
        rules.join(", ")
    ))
}

/// v1, v2 and v9 are declared for the host `echo`, v3 for `other`.
fn shifted(object: &Object, rule: Option<&str>, wanted: &[(&str, u32)]) -> Result<Edit, String> {
    let rule = rule.map(|rule| rule.parse().map_or_else(|_| RuleName::Name(rule.to_owned()), RuleName::Index));
    let declared = |host: &str| match host {
        "echo" => ["v1", "v2", "v9"].map(str::to_owned).to_vec(),
        "other" => vec!["v3".to_owned()],
        _ => Vec::new(),
    };
    shift(object, rule.as_ref(), wanted, declared)
}

/// Each destination with what counted before and what is written now; the document says the same.
fn weights(object: &Object, rule: Option<&str>, wanted: &[(&str, u32)]) -> Vec<(String, Option<u64>, u64)> {
    let edit = shifted(object, rule, wanted).unwrap_or_else(|error| panic!("{wanted:?}: {error}"));
    let written: Vec<u64> = ["/spec/tcp", "/spec/rules"]
        .iter()
        .filter_map(|list| edit.document.pointer(list)?.as_array())
        .flatten()
        .map(|rule| rule.get("route").or_else(|| rule.get("backendRefs")).and_then(Value::as_array).expect("a route"))
        .find(|list| list.len() == edit.weights.len() && list.iter().all(|entry| entry.get("weight").is_some()))
        .expect("a rule with all its weights written")
        .iter()
        .map(|entry| entry["weight"].as_u64().expect("a weight"))
        .collect();
    assert_eq!(written, edit.weights.iter().map(|one| one.after).collect::<Vec<_>>());
    edit.weights.into_iter().map(|one| (one.destination, one.before, one.after)).collect()
}

fn owned(list: &[(&str, Option<u64>, u64)]) -> Vec<(String, Option<u64>, u64)> {
    list.iter().map(|(name, before, after)| ((*name).to_owned(), *before, *after)).collect()
}

#[track_caller]
fn refuses(object: &Object, rule: Option<&str>, wanted: &[(&str, u32)], pieces: &[&str]) {
    let error = shifted(object, rule, wanted).expect_err("it is refused");
    assert!(pieces.iter().all(|piece| error.contains(piece)), "{error}");
}

#[test]
fn the_rest_goes_to_the_others_in_their_proportions() {
    for (old, wanted, new) in [
        (&[("v1", 80), ("v2", 20)][..], &[("v2", 3_000)][..], &[70, 30][..]),
        (&[("v1", 80), ("v2", 20)], &[("v2", 5)], &[9_995, 5]),
        (&[("v1", 0), ("v2", 1)], &[("v2", 10_000)], &[0, 100]),
        (&[("v1", 0)], &[("v2", 2_000)], &[80, 20]),
        (&[("a", 30), ("b", 10), ("c", 60)], &[("c", 2_000)], &[60, 20, 20]),
        (&[("a", 0), ("b", 0), ("c", 1)], &[("c", 0)], &[50, 50, 0]),
        (&[("a", 1), ("b", 1), ("c", 1)], &[("a", 3_300), ("b", 3_300)], &[33, 33, 34]),
    ] {
        let old: Vec<_> = old.iter().map(|(name, weight)| (*name, Some(*weight))).collect();
        let found: Vec<_> = weights(&subsets(&old), None, wanted).into_iter().map(|(_, _, after)| after).collect();
        assert_eq!(found, new, "{old:?} {wanted:?}");
    }
    let route = subsets(&[("v1", Some(80)), ("v2", Some(20))]);
    for (wanted, piece) in [
        (&[("v2", 9_000), ("v1", 2_000)][..], "more than 100 %"),
        (&[("v2", 9_000), ("v1", 500)], "not 100 %"),
        (&[("v7", 1)], "there are: v1, v2, v9"),
        (&[("v2", 1), ("v2", 1)], "twice"),
        (&[("v2", 1), ("echo/v2", 1)], "echo/v2 is named twice"),
        (&[], "name a destination"),
    ] {
        refuses(&route, None, wanted, &[piece]);
    }
}

#[test]
fn a_weight_that_was_never_written_counts_as_the_plan_counts_it() {
    let alone = subsets(&[("v1", None)]);
    let expected = [("echo/v1", Some(1), 80), ("echo/v2", None, 20)];
    assert_eq!(weights(&alone, None, &[("v2", 2_000)]), owned(&expected));
    assert_eq!(weights(&alone, None, &[("v1", 10_000)]), owned(&[("echo/v1", Some(1), 100)]));
    refuses(&alone, None, &[("v1", 5_000)], &["add up to 50 %"]);
    // Beside one with a weight it is none.
    let some = subsets(&[("v1", Some(7)), ("v2", None), ("v9", Some(0))]);
    let expected = [("echo/v1", Some(7), 90), ("echo/v2", Some(0), 0), ("echo/v9", Some(0), 10)];
    assert_eq!(weights(&some, None, &[("v9", 1_000)]), owned(&expected));
    // In a TCPRoute it is 1, and one of 0 has nothing even alone.
    let route = tcp_route(&["backendRefs: [{name: a, port: 1}, {name: b, port: 1}, {name: c, port: 1, weight: 2}]"]);
    let expected = [("a:1", Some(1), 3_334), ("b:1", Some(1), 3_333), ("c:1", Some(2), 3_333)];
    assert_eq!(weights(&route, None, &[("c", 3_333)]), owned(&expected));
    let dry = tcp_route(&["backendRefs: [{name: a, port: 1, weight: 0}]"]);
    assert_eq!(weights(&dry, None, &[("a", 10_000)]), owned(&[("a:1", Some(0), 100)]));
}

#[test]
fn a_destination_is_named_by_as_little_as_tells_it_apart() {
    let route = virtual_service(&["{destination: {host: echo, subset: v1, port: {number: 1}}, weight: 1}, \
                                   {destination: {host: other, subset: v1, port: {number: 1}}}, \
                                   {destination: {host: echo, subset: v1, port: {number: 2}}}, \
                                   {destination: {host: plain, port: {number: 1}}}"]);
    refuses(&route, None, &[("v1", 1)], &["several destinations", "echo:1/v1 or other/v1 or echo:2/v1"]);
    refuses(&route, None, &[("echo/v1", 1)], &["write echo:1/v1 or echo:2/v1"]);
    refuses(&route, None, &[("v2", 1)], &["write echo:1/v2 or echo:2/v2"]);
    refuses(&route, None, &[("none", 1)], &["there are: echo:1/v1, echo:1/v2", "other/v1, plain, v3"]);
    let after = |name: &str, share| {
        let edit = shifted(&route, None, &[(name, share)]).unwrap();
        edit.weights.into_iter().find(|one| one.after == 70).map(|one| one.destination)
    };
    for (name, full) in [
        ("other/v1", "other:1/v1"),
        ("echo:2/v1", "echo:2/v1"),
        ("plain", "plain:1"),
        ("plain:1", "plain:1"),
        ("v3", "other:1/v3"),
        ("echo:2/v9", "echo:2/v9"),
    ] {
        assert_eq!(after(name, 7_000).as_deref(), Some(full), "{name}");
    }
    let twice = subsets(&[("v1", Some(1)), ("v1", Some(1))]);
    refuses(&twice, None, &[("v1", 1)], &["the rule has echo/v1 2 times"]);

    let route = tcp_route(&["backendRefs: [{name: a, port: 1}, {name: a, port: 2}, {name: b, port: 1}, \
                             {name: b, namespace: far, port: 1}, {name: c, namespace: far, port: 1}]"]);
    refuses(&route, None, &[("a", 1)], &["a stands for several", "write a:1 or a:2"]);
    refuses(&route, None, &[("b", 1)], &["write own/b or far/b"]);
    refuses(&route, None, &[("v2", 1)], &["no backend \"v2\"", "a:1, a:2, c, far/b, own/b", "one more backendRef"]);
    let after = |name: &str| {
        let edit = shifted(&route, None, &[(name, 9_600)]).unwrap();
        edit.weights.into_iter().find(|one| one.after == 96).map(|one| one.destination)
    };
    for (name, full) in [
        ("a:2", "a:2"),
        ("own/a:2", "a:2"),
        ("own/b", "b:1"),
        // All of a name counts before what it is a part of.
        ("b:1", "b:1"),
        ("far/b", "far/b:1"),
        ("far/b:1", "far/b:1"),
        ("c", "far/c:1"),
    ] {
        assert_eq!(after(name).as_deref(), Some(full), "{name}");
    }
}

#[test]
fn a_rule_is_named_where_several_could_be_meant() {
    let to = |subset: &str| format!("{{destination: {{host: echo, subset: {subset}}}}}");
    let route = virtual_service(&[&to("v1"), &to("v2"), &to("v2")]);
    let edit = shifted(&route, None, &[("v1", 10_000)]).unwrap();
    assert_eq!((edit.rule.as_deref(), edit.is_unused), (Some("tcp[0]"), false), "the only one that has it");
    refuses(&route, None, &[("v2", 10_000)], &["has 3 tcp rules", "--rule"]);
    let edit = shifted(&route, Some("2"), &[("v2", 4_000), ("v1", 6_000)]).unwrap();
    assert_eq!((edit.rule.as_deref(), edit.weights.len()), (Some("tcp[2]"), 2));
    assert_eq!(edit.document["spec"]["tcp"][1], route.content.tree()["spec"]["tcp"][1], "other rules stay");
    refuses(&route, Some("3"), &[("v2", 1)], &["no rule 3: its rules are 0, 1, 2"]);
    refuses(&route, Some("canary"), &[("v2", 1)], &["no rule \"canary\""]);

    let named = |name: &str| format!("name: {name}, backendRefs: [{{name: a, port: 1}}, {{name: b, port: 1}}]");
    let route = tcp_route(&[&named("main"), &named("canary"), "backendRefs: [{name: c, port: 1}]"]);
    for (rule, field, is_unused) in
        [(None, "rules[0]", false), (Some("0"), "rules[0]", false), (Some("canary"), "rules[1]", true)]
    {
        let edit = shifted(&route, rule, &[("a", 1_000)]).unwrap();
        assert_eq!((edit.rule.as_deref(), edit.is_unused), (Some(field), is_unused), "{rule:?}");
    }
    refuses(&route, Some("9"), &[("a", 1)], &["its rules are 0 (main), 1 (canary), 2"]);
    let one = tcp_route(&["backendRefs: [{name: a, port: 1}, {name: b, port: 1}]"]);
    assert_eq!(shifted(&one, None, &[("a", 1)]).unwrap().rule, None);
    refuses(&one, Some("1"), &[("a", 1)], &["its only rule is 0"]);
}

#[test]
fn what_has_no_weights_is_refused() {
    let gateway = object(
        "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g}, spec: {servers: [{port: {number: 1, \
         name: tcp, protocol: TCP}, hosts: ['*']}]}}",
    );
    refuses(&gateway, None, &[("a", 1)], &["name a VirtualService or a TCPRoute"]);
    let http = object(
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: h}, spec: {hosts: [a.example.com], \
         http: [{route: [{destination: {host: a}}]}]}}",
    );
    refuses(&http, None, &[("a", 1)], &["has no tcp rule"]);
}
