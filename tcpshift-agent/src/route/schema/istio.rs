//! Fields of Istio's objects, group `networking.istio.io`. The versions v1alpha3, v1beta1 and v1 are one schema.

use super::Shape::{Any, Bool, Duration, Enum, Int32, List, Map, Message, Text, Uint32};
use super::{Field, mute, no, yes};

const EXPORT: &str = "every object is visible in every namespace here";
const CLIENTS: &str = "it selects clients inside a mesh, and only gateways are served";
const HTTP: &str = "tcpshift moves TCP connections, http rules are not looked into";
const SNI: &str = "tls rules choose by the first bytes of a connection, which tcpshift does not read";
const LEAST_REQUEST: &str = "the endpoint is chosen by LEAST_REQUEST";
const POOL: &str = "limits and timeouts of connections are not applied";
const EJECTION: &str = "no endpoint is ejected";
const BYTES: &str = "bytes are passed on as they are";
const WARMUP: &str = "a new endpoint gets its full share at once";

/// `spec` of a VirtualService.
pub const VIRTUAL_SERVICE: &[Field] = &[
    yes("hosts", List(&Text)),
    yes("gateways", List(&Text)),
    yes("tcp", List(&Message(TCP_ROUTE))),
    no("tls", Any, SNI),
    no("http", Any, HTTP),
    no("exportTo", List(&Text), EXPORT),
];

const TCP_ROUTE: &[Field] = &[yes("match", List(&Message(L4_MATCH))), yes("route", List(&Message(ROUTE_DESTINATION)))];

const L4_MATCH: &[Field] = &[
    yes("destinationSubnets", List(&Text)),
    yes("port", Uint32),
    yes("sourceSubnet", Text),
    no("sourceLabels", Map(&Text), CLIENTS),
    yes("gateways", List(&Text)),
    no("sourceNamespace", Text, CLIENTS),
];

const ROUTE_DESTINATION: &[Field] = &[yes("destination", Message(DESTINATION)), yes("weight", Int32)];

const DESTINATION: &[Field] = &[yes("host", Text), yes("subset", Text), yes("port", Message(PORT_SELECTOR))];

const PORT_SELECTOR: &[Field] = &[yes("number", Uint32)];

/// `spec` of a DestinationRule.
pub const DESTINATION_RULE: &[Field] = &[
    yes("host", Text),
    yes("trafficPolicy", Message(TRAFFIC_POLICY)),
    yes("subsets", List(&Message(SUBSET))),
    no("exportTo", List(&Text), EXPORT),
    no("workloadSelector", Any, CLIENTS),
];

const SUBSET: &[Field] = &[yes("name", Text), yes("labels", Map(&Text)), yes("trafficPolicy", Message(TRAFFIC_POLICY))];

const TRAFFIC_POLICY: &[Field] = &[
    yes("loadBalancer", Message(LOAD_BALANCER)),
    no("connectionPool", Message(CONNECTION_POOL), POOL),
    no("outlierDetection", Message(OUTLIER_DETECTION), EJECTION),
    no("tls", Any, BYTES),
    yes("portLevelSettings", List(&Message(PORT_TRAFFIC_POLICY))),
    no("tunnel", Any, BYTES),
    no("proxyProtocol", Message(PROXY_PROTOCOL), "no header is sent to the endpoint"),
    mute("retryBudget", Any),
];

const PORT_TRAFFIC_POLICY: &[Field] = &[
    yes("port", Message(PORT_SELECTOR)),
    yes("loadBalancer", Message(LOAD_BALANCER)),
    no("connectionPool", Message(CONNECTION_POOL), POOL),
    no("outlierDetection", Message(OUTLIER_DETECTION), EJECTION),
    no("tls", Any, BYTES),
];

const LOAD_BALANCER: &[Field] = &[
    yes("simple", Enum(&["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH"])),
    no("consistentHash", Any, LEAST_REQUEST),
    no("localityLbSetting", Any, "locality plays no part in the choice of an endpoint"),
    no("warmup", Any, WARMUP),
    no("warmupDurationSecs", Duration, WARMUP),
];

const CONNECTION_POOL: &[Field] = &[yes("tcp", Message(TCP_SETTINGS)), mute("http", Any)];

const TCP_SETTINGS: &[Field] = &[
    yes("maxConnections", Int32),
    yes("connectTimeout", Duration),
    yes("tcpKeepalive", Message(KEEPALIVE)),
    yes("maxConnectionDuration", Duration),
    yes("idleTimeout", Duration),
];

const KEEPALIVE: &[Field] = &[yes("probes", Uint32), yes("time", Duration), yes("interval", Duration)];

const OUTLIER_DETECTION: &[Field] = &[
    yes("consecutiveErrors", Int32),
    yes("splitExternalLocalOriginErrors", Bool),
    yes("consecutiveLocalOriginFailures", Uint32),
    yes("consecutiveGatewayErrors", Uint32),
    yes("consecutive5xxErrors", Uint32),
    yes("interval", Duration),
    yes("baseEjectionTime", Duration),
    yes("maxEjectionPercent", Int32),
    yes("minHealthPercent", Int32),
    mute("outlierDetectionHttpErrorCodes", Any),
];

const PROXY_PROTOCOL: &[Field] = &[yes("version", Enum(&["V1", "V2"]))];

/// `spec` of a Gateway.
pub const GATEWAY: &[Field] = &[yes("servers", List(&Message(SERVER))), yes("selector", Map(&Text))];

const SERVER: &[Field] = &[
    yes("port", Message(PORT)),
    yes("bind", Text),
    yes("hosts", List(&Text)),
    mute("tls", Any),
    mute("defaultEndpoint", Text),
    yes("name", Text),
];

const PORT: &[Field] = &[yes("number", Uint32), yes("protocol", Text), yes("name", Text), mute("targetPort", Uint32)];

/// `spec` of a ServiceEntry.
pub const SERVICE_ENTRY: &[Field] = &[
    yes("hosts", List(&Text)),
    mute("addresses", List(&Text)),
    yes("ports", List(&Message(SERVICE_PORT))),
    mute("location", Enum(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
    yes("resolution", Enum(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
    yes("endpoints", List(&Message(WORKLOAD_ENTRY))),
    yes("workloadSelector", Message(WORKLOAD_SELECTOR)),
    no("exportTo", List(&Text), EXPORT),
    mute("subjectAltNames", List(&Text)),
];

const SERVICE_PORT: &[Field] =
    &[yes("number", Uint32), yes("protocol", Text), yes("name", Text), yes("targetPort", Uint32)];

const WORKLOAD_SELECTOR: &[Field] = &[yes("labels", Map(&Text))];

/// `spec` of a WorkloadEntry, and an endpoint of a ServiceEntry.
pub const WORKLOAD_ENTRY: &[Field] = &[
    yes("address", Text),
    yes("ports", Map(&Uint32)),
    yes("labels", Map(&Text)),
    mute("network", Text),
    mute("locality", Text),
    yes("weight", Uint32),
    mute("serviceAccount", Text),
];
