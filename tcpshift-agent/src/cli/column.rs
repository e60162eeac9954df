//! The columns of `get`: kubectl's for each kind, and what `-o wide` adds.

use jiff::Timestamp;
use serde_json::Value;

use super::quantity;
use crate::admin::api::Item;
use crate::route::kind::Kind;

/// Which columns are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// The namespace first: objects of all namespaces are shown.
    pub(super) namespace: bool,
    /// The kind before the name: objects of several kinds are shown.
    pub(super) kind: bool,
    /// Everything.
    pub(super) wide: bool,
}

/// A column: its heading, and its cell for an object.
type Column = (&'static str, fn(&Value, Timestamp) -> String);

const AGE: Column = ("AGE", |object, now| quantity::age(text(object, "/metadata/creationTimestamp"), now));

/// Headings of a kind.
pub(super) fn headings(kind: Kind, view: View) -> Vec<&'static str> {
    let mut headings = Vec::new();
    headings.extend(view.namespace.then_some("NAMESPACE"));
    headings.push("NAME");
    headings.extend(columns(kind).iter().chain(more(kind, view)).map(|(heading, _)| heading));
    headings.extend(view.wide.then_some("ORIGIN"));
    headings
}

/// The row of an object.
pub(super) fn row(kind: Kind, item: &Item, view: View, now: Timestamp) -> Vec<String> {
    let Item { object, origin } = item;
    let mut row = Vec::new();
    row.extend(view.namespace.then(|| plain(object, "/metadata/namespace")));
    let name = plain(object, "/metadata/name");
    row.push(if view.kind { format!("{}/{name}", kind.qualified()) } else { name });
    row.extend(columns(kind).iter().chain(more(kind, view)).map(|(_, cell)| cell(object, now)));
    row.extend(view.wide.then(|| origin.clone()));
    row
}

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::VirtualService => &[
            ("GATEWAYS", |object, _| array(object, "/spec/gateways")),
            ("HOSTS", |object, _| array(object, "/spec/hosts")),
            AGE,
        ],
        Kind::DestinationRule => &[("HOST", |object, _| plain(object, "/spec/host")), AGE],
        Kind::Gateway | Kind::WorkloadGroup | Kind::TcpRoute | Kind::ReferenceGrant => &[AGE],
        Kind::GatewayApiGateway => &[("CLASS", |object, _| plain(object, "/spec/gatewayClassName")), AGE],
        Kind::EndpointSlice => &[
            ("ADDRESSTYPE", |object, _| plain(object, "/addressType")),
            ("PORTS", |object, _| or_none(joined(object, "/ports", |port| plain(port, "/port")))),
            ("ENDPOINTS", |object, _| {
                or_none(joined(object, "/endpoints", |endpoint| joined(endpoint, "/addresses", |ip| plain(ip, ""))))
            }),
            AGE,
        ],
        Kind::ServiceEntry => &[
            ("HOSTS", |object, _| array(object, "/spec/hosts")),
            ("LOCATION", |object, _| plain(object, "/spec/location")),
            ("RESOLUTION", |object, _| plain(object, "/spec/resolution")),
            AGE,
        ],
        Kind::WorkloadEntry => &[AGE, ("ADDRESS", |object, _| plain(object, "/spec/address"))],
        Kind::Service => &[
            ("TYPE", |object, _| text(object, "/spec/type").unwrap_or("ClusterIP").to_owned()),
            ("CLUSTER-IP", |object, _| text(object, "/spec/clusterIP").unwrap_or("<none>").to_owned()),
            ("EXTERNAL-IP", |object, _| external_ip(object)),
            ("PORT(S)", |object, _| or_none(service_ports(object))),
            AGE,
        ],
    }
}

fn more(kind: Kind, view: View) -> &'static [Column] {
    if !view.wide {
        return &[];
    }
    match kind {
        Kind::VirtualService => &[("WEIGHTS", |object, _| weights(object))],
        Kind::DestinationRule => {
            &[("SUBSETS", |object, _| joined(object, "/spec/subsets", |subset| plain(subset, "/name")))]
        }
        Kind::Gateway => &[("PORTS", |object, _| {
            joined(object, "/spec/servers", |server| {
                format!("{}/{}", plain(server, "/port/number"), plain(server, "/port/protocol"))
            })
        })],
        Kind::ServiceEntry => &[("PORTS", |object, _| {
            joined(object, "/spec/ports", |port| format!("{}/{}", plain(port, "/number"), plain(port, "/protocol")))
        })],
        Kind::WorkloadEntry => &[("LABELS", |object, _| labels(object.pointer("/spec/labels")))],
        Kind::WorkloadGroup => &[("LABELS", |object, _| labels(object.pointer("/spec/metadata/labels")))],
        Kind::EndpointSlice => &[("LABELS", |object, _| labels(object.pointer("/metadata/labels")))],
        Kind::GatewayApiGateway => &[("PORTS", |object, _| {
            joined(object, "/spec/listeners", |listener| {
                format!("{}/{}", plain(listener, "/port"), plain(listener, "/protocol"))
            })
        })],
        Kind::TcpRoute => &[
            ("PARENTS", |object, _| joined(object, "/spec/parentRefs", |parent| plain(parent, "/name"))),
            ("WEIGHTS", |object, _| backend_weights(object)),
        ],
        Kind::ReferenceGrant => &[],
        Kind::Service => &[("SELECTOR", |object, _| or_none(labels(object.pointer("/spec/selector"))))],
    }
}

/// `v1=80,v2=20`, rules apart by `;`. A weight that is not given is `-`: alone, a destination has everything.
fn weights(object: &Value) -> String {
    let rules = list(object, "/spec/tcp").iter().map(|rule| {
        joined(rule, "/route", |route| {
            let name = text(route, "/destination/subset").or_else(|| text(route, "/destination/host"));
            let weight = route.get("weight").filter(|weight| !weight.is_null());
            let weight = weight.map_or_else(|| "-".to_owned(), Value::to_string);
            format!("{}={weight}", name.unwrap_or_default())
        })
    });
    rules.collect::<Vec<_>>().join(";")
}

/// As [`weights`], of a TCPRoute, whose missing weight is 1.
fn backend_weights(object: &Value) -> String {
    let rules = list(object, "/spec/rules").iter().map(|rule| {
        joined(rule, "/backendRefs", |backend| {
            format!("{}={}", plain(backend, "/name"), backend.pointer("/weight").unwrap_or(&Value::from(1)))
        })
    });
    rules.collect::<Vec<_>>().join(";")
}

fn external_ip(object: &Value) -> String {
    match text(object, "/spec/type") {
        Some("ExternalName") => plain(object, "/spec/externalName"),
        Some("LoadBalancer") if list(object, "/spec/externalIPs").is_empty() => "<pending>".to_owned(),
        _ => or_none(joined(object, "/spec/externalIPs", |ip| plain(ip, ""))),
    }
}

fn service_ports(object: &Value) -> String {
    joined(object, "/spec/ports", |port| {
        let node_port = port.get("nodePort").map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{node_port}/{}", plain(port, "/port"), text(port, "/protocol").unwrap_or("TCP"))
    })
}

pub(super) fn labels(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels.map(|(key, value)| format!("{key}={}", plain(value, ""))).collect::<Vec<_>>().join(",")
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

/// A text without quotes, another value as JSON, an empty text for a missing one.
pub(super) fn plain(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A list as a JSON array, as kubectl prints it; nothing if there is none.
fn array(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).filter(|value| value.is_array()).map(Value::to_string).unwrap_or_default()
}

pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn joined(object: &Value, pointer: &str, cell: impl Fn(&Value) -> String) -> String {
    list(object, pointer).iter().map(cell).collect::<Vec<_>>().join(",")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(kind: Kind, object: Value, wide: bool) -> String {
        let view = View { namespace: wide, kind: false, wide };
        let item = Item { object, origin: "route.yaml:3".to_owned() };
        let row = row(kind, &item, view, "2024-08-01T12:00:00Z".parse().unwrap());
        assert_eq!(row.len(), headings(kind, view).len());
        format!("{} | {}", headings(kind, view).join(" "), row.join(" "))
    }

    #[test]
    fn columns_are_kubectls() {
        let metadata = json!({"name": "x", "namespace": "ns", "creationTimestamp": "2024-08-01T11:57:00Z"});
        let route = |subset: &str, weight: u32| json!({"destination": {"host": "tcp-echo", "port": {"number": 9000}, "subset": subset}, "weight": weight});
        let virtual_service = json!({"metadata": metadata, "spec": {
            "hosts": ["*"], "gateways": ["a", "b"], "tcp": [{"route": [route("v1", 80), route("v2", 20)]}]}});
        assert_eq!(
            shown(Kind::VirtualService, virtual_service.clone(), false),
            r#"NAME GATEWAYS HOSTS AGE | x ["a","b"] ["*"] 3m"#
        );
        assert_eq!(
            shown(Kind::VirtualService, virtual_service, true),
            r#"NAMESPACE NAME GATEWAYS HOSTS AGE WEIGHTS ORIGIN | ns x ["a","b"] ["*"] 3m v1=80,v2=20 route.yaml:3"#
        );
        let alone = json!({"spec": {"tcp": [{"route": [{"destination": {"host": "h", "subset": "v1"}}]}]}});
        assert!(shown(Kind::VirtualService, alone, true).ends_with(" v1=- route.yaml:3"));
        let rule =
            json!({"metadata": {"name": "x"}, "spec": {"host": "h", "subsets": [{"name": "v1"}, {"name": "v2"}]}});
        assert_eq!(
            shown(Kind::DestinationRule, rule, true),
            "NAMESPACE NAME HOST AGE SUBSETS ORIGIN |  x h <unknown> v1,v2 route.yaml:3"
        );
        let service = json!({"metadata": metadata, "spec": {
            "selector": {"app": "x"}, "ports": [{"port": 80, "nodePort": 30080}, {"port": 9001, "protocol": "TCP"}]}});
        assert_eq!(
            shown(Kind::Service, service, false),
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE | x ClusterIP <none> <none> 80:30080/TCP,9001/TCP 3m"
        );
        let entry = json!({"metadata": metadata, "spec": {"hosts": ["h"], "location": "MESH_INTERNAL", "resolution": "STATIC"}});
        assert_eq!(
            shown(Kind::ServiceEntry, entry, false),
            r#"NAME HOSTS LOCATION RESOLUTION AGE | x ["h"] MESH_INTERNAL STATIC 3m"#
        );
        let entry = json!({"metadata": metadata, "spec": {"address": "10.0.0.1"}});
        assert_eq!(shown(Kind::WorkloadEntry, entry, false), "NAME AGE ADDRESS | x 3m 10.0.0.1");
    }

    #[test]
    fn an_odd_object_is_no_panic() {
        for kind in Kind::ALL {
            for object in [json!(null), json!({"spec": []}), json!({"metadata": 1, "spec": {"hosts": 5, "ports": {}}})]
            {
                shown(kind, object, true);
            }
        }
    }
}
