//! The fields of an object as text, and the objects that are tied to it by labels.

use serde_json::{Map, Value};

use crate::cli::column::{joined, labels, list, plain, text};
use crate::route::kind::Kind;

/// The fields of the kind: a name, and a line for each value.
pub(super) fn fields(kind: Kind, object: &Value) -> Vec<(&'static str, Vec<String>)> {
    let each =
        |pointer: &str, line: &dyn Fn(&Value) -> String| list(object, pointer).iter().map(line).collect::<Vec<_>>();
    let words = |pointer: &str| each(pointer, &|word| plain(word, ""));
    match kind {
        Kind::VirtualService => {
            let rules = list(object, "/spec/tcp").iter().enumerate().flat_map(|(at, fields)| rule(at, fields));
            vec![("Hosts", words("/spec/hosts")), ("Gateways", words("/spec/gateways")), ("Rules", rules.collect())]
        }
        Kind::Gateway => {
            vec![("Selector", pairs(object.pointer("/spec/selector"))), ("Servers", each("/spec/servers", &server))]
        }
        Kind::DestinationRule => vec![
            ("Host", vec![plain(object, "/spec/host")]),
            ("Policy", object.pointer("/spec/trafficPolicy").map(Value::to_string).into_iter().collect()),
            ("Subsets", each("/spec/subsets", &subset)),
        ],
        Kind::ServiceEntry => vec![
            ("Hosts", words("/spec/hosts")),
            ("Resolution", vec![plain(object, "/spec/resolution")]),
            ("Ports", each("/spec/ports", &|port| ports(port, "/number", "/targetPort"))),
            ("Selector", pairs(object.pointer("/spec/workloadSelector/labels"))),
        ],
        Kind::Service => vec![
            ("Ports", each("/spec/ports", &|port| ports(port, "/port", "/targetPort"))),
            ("Selector", pairs(object.pointer("/spec/selector"))),
        ],
        Kind::WorkloadEntry => vec![
            ("Address", vec![plain(object, "/spec/address")]),
            ("Ports", pairs(object.pointer("/spec/ports"))),
            ("Workload", pairs(object.pointer("/spec/labels"))),
            ("Weight", text_or(object, "/spec/weight", "1")),
        ],
        Kind::EndpointSlice => vec![
            ("Address Type", vec![plain(object, "/addressType")]),
            ("Ports", each("/ports", &|port| ports(port, "/port", "/none"))),
            ("Addresses", each("/endpoints", &|endpoint| joined(endpoint, "/addresses", |ip| plain(ip, "")))),
        ],
        // Kinds without a summary of their own are shown as they are written.
        Kind::WorkloadGroup | Kind::GatewayApiGateway | Kind::TcpRoute | Kind::ReferenceGrant => {
            vec![("Spec", object.pointer("/spec").map(Value::to_string).into_iter().collect())]
        }
    }
}

/// Kinds whose objects an object of this kind is tied to by labels.
pub(super) fn neighbours(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Service | Kind::ServiceEntry => &[Kind::WorkloadEntry],
        Kind::WorkloadEntry => &[Kind::Service, Kind::ServiceEntry],
        _ => &[],
    }
}

/// The name of the tie.
pub(super) fn tie(kind: Kind) -> &'static str {
    if kind == Kind::WorkloadEntry { "Selected by" } else { "Selects" }
}

/// Whether two objects of one namespace are tied.
pub(super) fn tied(kind: Kind, object: &Value, other_kind: Kind, other: &Value) -> bool {
    let (service_kind, service, workload) =
        if kind == Kind::WorkloadEntry { (other_kind, other, object) } else { (kind, object, other) };
    let pointer = if service_kind == Kind::Service { "/spec/selector" } else { "/spec/workloadSelector/labels" };
    let selector = labels_of(service, pointer);
    !selector.is_empty() && is_selected(&selector, &labels_of(workload, "/spec/labels"))
}

/// A map in an object; an empty one where there is none.
pub(super) fn labels_of(object: &Value, pointer: &str) -> Map<String, Value> {
    object.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Whether all labels of a selector are among those of a workload.
pub(super) fn is_selected(selector: &Map<String, Value>, labels: &Map<String, Value>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// `key=value`, one a line.
pub(super) fn pairs(map: Option<&Value>) -> Vec<String> {
    let fields = map.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(key, value)| format!("{key}={}", plain(value, ""))).collect()
}

fn text_or(object: &Value, pointer: &str, default: &str) -> Vec<String> {
    let given = plain(object, pointer);
    vec![if given.is_empty() { default.to_owned() } else { given }]
}

/// `tcp[0] port 31400, source 10.0.0.0/8 -> v1=80, v2=20`; a line for each match.
fn rule(at: usize, rule: &Value) -> Vec<String> {
    let target = |route: &Value| {
        let host = plain(route, "/destination/host");
        let port = route.pointer("/destination/port/number").map(|port| format!(":{port}")).unwrap_or_default();
        let subset = text(route, "/destination/subset").map(|subset| format!("/{subset}")).unwrap_or_default();
        let weight = route.pointer("/weight").map(|weight| format!("={weight}")).unwrap_or_default();
        format!("{host}{port}{subset}{weight}")
    };
    let targets = list(rule, "/route").iter().map(target).collect::<Vec<_>>().join(", ");
    let matches = list(rule, "/match");
    let one = |block: &Value| {
        let conditions = block.as_object().into_iter().flatten();
        let conditions = conditions.map(|(name, value)| format!("{name} {}", plain(value, ""))).collect::<Vec<_>>();
        let conditions = if conditions.is_empty() { "any".to_owned() } else { conditions.join(", ") };
        format!("tcp[{at}] {conditions} -> {targets}")
    };
    if matches.is_empty() { vec![format!("tcp[{at}] any -> {targets}")] } else { matches.iter().map(one).collect() }
}

/// `tcp 31400/TCP, hosts *`
fn server(server: &Value) -> String {
    let bind = text(server, "/bind").map(|bind| format!(" bind {bind}")).unwrap_or_default();
    let hosts = joined(server, "/hosts", |host| plain(host, ""));
    format!("{}{bind}, hosts {hosts}", ports(&server["port"], "/number", "/targetPort"))
}

/// `v1: version=v1`, and its own policy
fn subset(subset: &Value) -> String {
    let policy = subset.get("trafficPolicy").map(|policy| format!(", policy {policy}")).unwrap_or_default();
    format!("{}: {}{policy}", plain(subset, "/name"), labels(subset.get("labels")))
}

/// `tcp 9000/TCP -> 9100`
fn ports(port: &Value, number: &str, target: &str) -> String {
    let name = text(port, "/name").map(|name| format!("{name} ")).unwrap_or_default();
    let protocol = text(port, "/protocol").unwrap_or("TCP");
    let target = plain(port, target);
    let target = if target.is_empty() { target } else { format!(" -> {target}") };
    format!("{name}{}/{protocol}{target}", plain(port, number))
}
