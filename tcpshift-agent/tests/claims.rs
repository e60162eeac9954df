//! What `analyze` says of ports and routes is what a plan does: the cases of `tests/analyze` are compiled too.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use tcpshift_agent::analyze::{self, Finding, Ground, Input, Level};
use tcpshift_agent::plan::{Host, Plan, Planner, Scope, Sets, Unusable};
use tcpshift_agent::route::kind::Kind;
use tcpshift_agent::route::model::gateway::Protocol;
use tcpshift_agent::route::model::{Labels, Spec};
use tcpshift_agent::route::object::{Key, Object};
use tcpshift_agent::route::read::{self, Document, ReadDocument};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;

/// Every case: its name and its documents.
fn cases() -> Vec<(String, Vec<Document>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analyze");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for case in text.strip_prefix("#= ").unwrap().split("\n#= ") {
            let (name, rest) = case.split_once('\n').unwrap();
            let others = rest.lines().filter_map(|line| line.strip_prefix("#+ "));
            let mut documents = vec![Document { name: "case".to_owned(), text: rest.to_owned() }];
            documents.extend(others.map(|other| Document {
                name: other.to_owned(),
                text: fs::read_to_string(folder.join(other)).unwrap(),
            }));
            found.push((name.to_owned(), documents));
        }
    }
    found
}

fn objects(documents: &[Document]) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for Document { name, text } in documents {
        for entry in read::read_beside(name, text, "default").entries {
            match entry {
                ReadDocument::Valid(object) if objects.iter().all(|known| known.key != object.key) => {
                    objects.push(*object);
                }
                _ => {}
            }
        }
    }
    objects
}

/// The plan of an agent that the Gateway of a finding selects, and as many others as can be.
fn plan(objects: &[Object], finding: &Finding) -> (Plan, Sets) {
    let selector = |object: &Object| match &object.spec {
        Spec::Gateway(gateway) => gateway.selector.clone(),
        _ => Labels::new(),
    };
    let own = objects.iter().find(|object| finding.key.as_ref() == Some(&object.key));
    let mut labels: Labels = own.map(selector).unwrap_or_default();
    for object in objects {
        for (key, value) in selector(object) {
            labels.entry(key).or_insert(value);
        }
    }
    let scope = Scope {
        namespace: own.map_or("default", |own| &own.key.namespace).to_owned(),
        labels: BTreeMap::from_iter(labels),
    };
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects.to_vec()));
    let mut planner = Planner::new(scope, Host::new(DEFAULT_SEED));
    let plan = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
    (plan, planner.sets().clone())
}

/// The name of the listener that a finding is at: a server of its Gateway, or a listener.
fn opening(objects: &[Object], finding: &Finding) -> Option<(String, bool)> {
    let key = finding.key.as_ref()?;
    let object = objects.iter().find(|object| object.key == *key)?;
    let index: usize = finding.field.split(['[', ']']).nth(1)?.parse().ok()?;
    let (name, is_tcp) = match &object.spec {
        Spec::Gateway(gateway) => {
            let server = gateway.servers.get(index)?;
            (&server.name, server.protocol == Protocol::Tcp)
        }
        Spec::GatewayApiGateway(gateway) => (&gateway.listeners.get(index)?.name, true),
        _ => return None,
    };
    Some((format!("{}/{}:{name}", key.namespace, key.name), is_tcp))
}

/// What is wrong with a claim, and whether there was one to look at.
fn disproved(objects: &[Object], finding: &Finding, findings: &[Finding]) -> Option<Result<(), String>> {
    let (plan, sets) = plan(objects, finding);
    let is_served = |name: &str| plan.listeners.iter().any(|listener| listener.name == name);
    let key = finding.key.as_ref()?;
    let of_finding = |kind: Kind, namespace: &str, name: &str| {
        (kind, namespace, name) == (key.kind, key.namespace.as_str(), key.name.as_str())
    };
    let claim = match finding.code.id {
        "TS0012" => {
            let (name, _) = opening(objects, finding)?;
            (!is_served(&name)).then_some(()).ok_or_else(|| format!("{name} is listened on"))
        }
        "IST0145" | "TS0021" => {
            let (name, is_tcp) = opening(objects, finding)?;
            let idle = findings.iter().any(|other| other.code.id == "TS0012" && other.key == finding.key);
            let wanted = finding.level == Level::Info && is_tcp && !idle;
            (is_served(&name) == wanted).then_some(()).ok_or_else(|| format!("{name}: served is {}", !wanted))
        }
        "TS0002" => {
            let younger = plan.listeners.iter().any(|listener| {
                let first = listener.routes.first();
                first.is_some_and(|route| !of_finding(route.kind, &route.namespace, &route.object))
            });
            younger.then_some(()).ok_or_else(|| "its rules come first at every port".to_owned())
        }
        "TS0020" => {
            let served = plan.routes().any(|route| of_finding(route.kind, &route.namespace, &route.object));
            (!served).then_some(()).ok_or_else(|| "the route is served".to_owned())
        }
        "TS0015" => {
            let ports: Vec<u16> = plan.listeners.iter().map(|listener| listener.address.port()).collect();
            let addresses =
                plan.routes().flat_map(|route| &route.destinations).flat_map(|one| sets.of(one).endpoints.iter());
            let mut own = addresses.map(|endpoint| endpoint.address.to_string()).filter(|address| {
                ports.iter().any(|port| address.starts_with("127.") && address.ends_with(&format!(":{port}")))
            });
            own.next().map_or(Ok(()), |address| Err(format!("{address} is dialled")))
        }
        "TS0029" => {
            let routes = plan.routes().filter(|route| of_finding(route.kind, &route.namespace, &route.object));
            let mut refused = routes.flat_map(|route| &route.destinations).map(|one| sets.of(one).unusable.as_ref());
            let refused = refused.any(|unusable| unusable == Some(&Unusable::NoAddress));
            refused.then_some(()).ok_or_else(|| "no share is refused".to_owned())
        }
        _ => return None,
    };
    Some(claim)
}

#[test]
fn what_is_said_of_ports_and_routes_is_what_the_plan_does() {
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for (name, documents) in cases() {
        let objects = objects(&documents);
        let findings = analyze::analyze(Input { documents, ..Input::default() }).findings;
        for finding in &findings {
            if let Some(claim) = disproved(&objects, finding, &findings) {
                *seen.entry(finding.code.id).or_default() += 1;
                wrong.extend(claim.err().map(|why| format!("{name}: {finding}\n  {why}")));
            }
        }
    }
    for code in ["TS0002", "TS0012", "TS0015", "TS0020", "TS0021", "TS0029", "IST0145"] {
        assert!(seen.contains_key(code), "no case has {code}");
    }
    assert!(wrong.is_empty(), "{} claims are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The name of a field's last step, and whether it is an item of a list.
fn last(field: &str) -> (&str, bool) {
    let step = field.rsplit('.').next().unwrap_or_default();
    (step.split('[').next().unwrap_or_default(), step.ends_with(']'))
}

#[test]
fn a_finding_with_a_field_is_at_the_line_of_the_field() {
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for (name, documents) in cases() {
        let texts: HashMap<String, String> =
            documents.iter().map(|document| (document.name.clone(), document.text.clone())).collect();
        for finding in analyze::analyze(Input { documents, ..Input::default() }).findings {
            let (step, is_item) = last(&finding.field);
            let Some(line) = texts[&finding.file].lines().nth(finding.line.wrapping_sub(1)) else {
                wrong.push(format!("{name}: {finding}: there is no such line"));
                continue;
            };
            // Of a field that is not there, the line is that of what is around it.
            let is_there = texts[&finding.file].lines().any(|line| line.contains(&format!("{step}:")));
            if step.is_empty() || !is_there {
                continue;
            }
            looked_at += 1;
            let is_of_item = finding.field.rsplit_once('.').is_some_and(|(around, _)| around.ends_with(']'));
            let fits = line.contains(&format!("{step}:")) || (is_item || is_of_item) && line.contains(['-', '[']);
            if !fits {
                wrong.push(format!("{name}: {finding}: {line:?} has no {}", finding.field));
            }
        }
    }
    assert!(looked_at > 100, "{looked_at}");
    assert!(wrong.is_empty(), "{} lines are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_list_of_json_has_the_line_of_each_field() {
    let text = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n\
        {\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"DestinationRule\", \"metadata\": {\"name\": \"d\", \"namespace\": \"a\"}, \"spec\":\n\
        {\"host\": \"one.example.com\"}},\n\
        {\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"DestinationRule\", \"metadata\": {\"name\": \"d\", \"namespace\": \"b\"},\n\
        \"spec\": {\n  \"host\":\n    \"two.example.com\"}}\n]}\n";
    let documents = vec![Document { name: "list.json".to_owned(), text: text.to_owned() }];
    let findings = analyze::analyze(Input { documents, ..Input::default() }).findings;
    let positions: Vec<_> = findings.iter().map(|finding| (finding.origin(), finding.line)).collect();
    assert_eq!(positions, [("DestinationRule a/d".to_owned(), 3), ("DestinationRule b/d".to_owned(), 6)]);
}

#[test]
fn what_is_told_of_a_changed_route_is_what_a_look_at_all_objects_finds() {
    let mut told = 0;
    for (name, documents) in cases() {
        let objects = objects(&documents);
        let mut store = Store::default();
        store.update(Update::first(Source::Files, objects.clone()));
        let mut ground = Ground::default();
        let of = |findings: Vec<Finding>, key: &Key| -> Vec<Finding> {
            findings.into_iter().filter(|finding| finding.key.as_ref() == Some(key)).collect()
        };
        let everything: HashSet<Key> = objects.iter().map(|object| object.key.clone()).collect();
        for route in objects.iter().filter(|object| [Kind::VirtualService, Kind::TcpRoute].contains(&object.key.kind)) {
            let key = &route.key;
            let narrow = of(analyze::told_everywhere(&store, &HashSet::from([key.clone()]), &mut ground), key);
            assert_eq!(narrow, of(analyze::told_everywhere(&store, &everything, &mut ground), key), "{name}");
            told += narrow.len();
        }
    }
    assert!(told >= 5, "only {told} are left");
}
