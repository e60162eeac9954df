//! Plans as data: each `plans/NAME.yaml` is a set of objects, and `plans/NAME.txt` what its plan is.
//!
//! A set may begin with lines `# with: BASE…`, which put `plans/base/BASE.yaml` in front of it,
//! `# namespace: NS`, the agent's namespace, and `# label: K=V`, one more label of the agent. With
//! `TCPSHIFT_WRITE_PLANS=1` the expected plans are written anew, to be read before they are committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use tcpshift_agent::plan::compile::{Identity, compile};
use tcpshift_agent::plan::register::Register;
use tcpshift_agent::plan::{Destination, Limits, Listener, OnEmpty, Plan, Route, Settings, steer_name};
use tcpshift_agent::route::read::{Document, Entry, read_all};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;
use tcpshift_common::address::{Prefix, family};
use tcpshift_common::destination::policy;

#[test]
fn every_set_has_its_plan() {
    let write = std::env::var_os("TCPSHIFT_WRITE_PLANS").is_some();
    let mut wrong = Vec::new();
    let sets = sets();
    for path in &sets {
        let found = text(&plan(&documents(path), path));
        let expected = path.with_extension("txt");
        if write {
            fs::write(&expected, &found).expect("the folder can be written to");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}\n{found}", path.display()));
        }
    }
    assert!(sets.len() >= 40, "only {} sets are left", sets.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), sets.len(), wrong.join("\n"));
}

#[test]
fn the_order_of_documents_does_not_matter() {
    for path in sets() {
        let mut documents = documents(&path);
        let expected = text(&plan(&documents, &path));
        for turn in [1, 2, 3] {
            let turn = turn % documents.len();
            documents.reverse();
            documents.rotate_left(turn);
            assert_eq!(text(&plan(&documents, &path)), expected, "{}", path.display());
        }
    }
}

fn sets() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the sets are there").flatten().map(|entry| entry.path());
    let mut sets: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    sets.sort();
    sets
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a set says of itself in comments.
fn said<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(": "));
    lines.flat_map(str::split_whitespace).collect()
}

/// Each document of a set.
fn documents(path: &Path) -> Vec<String> {
    let text = read(path);
    let mut texts: Vec<String> =
        said(&text, "with").iter().map(|base| read(&folder().join(format!("base/{base}.yaml")))).collect();
    texts.push(text);
    texts.iter().flat_map(|text| text.split("\n---\n").map(str::to_owned)).collect()
}

fn plan(documents: &[String], path: &Path) -> Plan {
    let text = read(path);
    let mut labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    labels.extend(said(&text, "label").iter().filter_map(|label| label.split_once('=')).map(own));
    let identity = Identity {
        namespace: said(&text, "namespace").first().map_or("default", |name| *name).to_owned(),
        labels,
        listen_addresses: vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        seed: DEFAULT_SEED,
        is_local: |ip| ip.is_loopback(),
    };
    let documents: Vec<_> = documents
        .iter()
        .enumerate()
        .map(|(at, text)| Document { name: format!("{at}.yaml"), text: text.clone() })
        .collect();
    let (entries, problems) = read_all(&documents, None);
    let errors: Vec<_> = problems.iter().filter(|problem| !problem.to_string().contains(": warning: ")).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    let objects = entries.into_iter().filter_map(|entry| match entry {
        Entry::Valid(object) => Some(*object),
        _ => None,
    });
    let mut store = Store::default();
    store.replace_files(objects.collect());
    compile(store.iter(), &identity, &mut Register::default(), &Plan::empty(DEFAULT_SEED))
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A plan as people read it. Numbers are left out.
fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for listener in &plan.listeners {
        self::listener(&mut text, listener);
    }
    for note in &plan.notes {
        line(&mut text, 0, &format!("note: {note}"));
    }
    text
}

fn line(text: &mut String, depth: usize, line: &str) {
    writeln!(text, "{}{line}", "  ".repeat(depth)).expect("a string takes everything");
}

fn listener(text: &mut String, listener: &Listener) {
    let Listener { number: _, name, address, rules, routes } = listener;
    line(text, 0, &format!("listener {address} {name}"));
    for rule in rules {
        let (source, destination) = (prefix(&rule.source), prefix(&rule.destination));
        line(text, 1, &format!("from {source} to {destination}: route {}", rule.route));
    }
    for (place, route) in routes.iter().enumerate() {
        self::route(text, place, route);
    }
}

fn prefix(prefix: &Prefix) -> String {
    let octets = prefix.address.words().iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let address = <[u8; 16]>::try_from(octets).map(Ipv6Addr::from).expect("two words are 16 bytes");
    match prefix.family {
        family::V4 => format!("{}/{}", address.to_ipv4_mapped().map_or(address.into(), IpAddr::V4), prefix.bits),
        family::V6 => format!("{address}/{}", prefix.bits),
        _ => "any".to_owned(),
    }
}

fn route(text: &mut String, place: usize, route: &Route) {
    let Route { number: _, kind, steer, on_empty, limits, destinations, .. } = route;
    let mut about = format!("route {place}: {} {} by {}", kind.name(), route.name(), steer_name(steer));
    if *on_empty == OnEmpty::Redistribute {
        about.push_str(", redistributed");
    }
    let Limits { idle_timeout, max_duration } = limits;
    for (name, limit) in [("idle", idle_timeout), ("lasting", max_duration)] {
        if let Some(limit) = limit {
            write!(about, ", {name} at most {limit:?}").expect("a string takes everything");
        }
    }
    line(text, 1, &about);
    for destination in destinations {
        self::destination(text, destination);
    }
}

fn destination(text: &mut String, destination: &Destination) {
    let Destination { name, weight, slots, settings, unusable, decides, endpoints, .. } = destination;
    let mut about = format!("{slots} slots, weight {weight}: {name}");
    if let Some(unusable) = unusable {
        write!(about, ", unusable: {unusable}").expect("a string takes everything");
    }
    match decides.policy {
        policy::LEAST_REQUEST => {}
        policy::ROUND_ROBIN => about.push_str(", in turn"),
        policy::RANDOM => about.push_str(", at random"),
        other => write!(about, ", policy {other}").expect("a string takes everything"),
    }
    let Settings { connect_timeout, max_connections, keepalive } = settings;
    if *connect_timeout != Settings::default().connect_timeout {
        write!(about, ", connected within {connect_timeout:?}").expect("a string takes everything");
    }
    if let Some(most) = max_connections {
        write!(about, ", {most} connections").expect("a string takes everything");
    }
    if let Some(keepalive) = keepalive {
        write!(about, ", {keepalive:?}").expect("a string takes everything");
    }
    line(text, 2, &about);
    for endpoint in endpoints {
        line(text, 3, &format!("{} weight {}", endpoint.address, endpoint.decides.weight));
    }
}
