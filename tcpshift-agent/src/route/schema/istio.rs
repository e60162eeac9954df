//! Fields of Istio's objects, group `networking.istio.io`. The versions v1alpha3, v1beta1 and v1 are one schema.
//!
//! The blocks of a DestinationRule's traffic policy are in [`super::policy`].

use super::Shape::{Any, Bool, Enum, List, Map, Message, Text, Whole};
use super::policy::{PORT_SELECTOR, TRAFFIC_POLICY};
use super::{COUNT, FieldSchema, PORT, Shape, Why, Width, mute, no, yes};

const HTTP: Why = Why {
    reason: "http rules are not served here, and their contents are not checked",
    cure: "write `tcp` in its place",
};
const SNI: Why = Why {
    reason: "tls rules choose by the first bytes of a connection, which tcpshift does not read",
    cure: "write `tcp` in place of `tls`",
};

/// The share of a destination.
const ROUTE_WEIGHT: Shape = Whole(Width::Int32, "a weight from 0 to 2147483647");
/// The share of an endpoint.
const ENDPOINT_WEIGHT: Shape = Whole(Width::Uint32, "a weight from 0 to 4294967295");

/// `spec` of a VirtualService.
pub const VIRTUAL_SERVICE: &[FieldSchema] = &[
    yes("hosts", List(&Text)),
    yes("gateways", List(&Text)),
    yes("tcp", List(&Message(TCP_ROUTE))),
    no("tls", List(&Message(TLS_ROUTE)), SNI),
    no("http", List(&Any), HTTP),
    yes("exportTo", List(&Text)),
];

const TCP_ROUTE: &[FieldSchema] =
    &[yes("match", List(&Message(L4_MATCH))), yes("route", List(&Message(ROUTE_DESTINATION)))];

const TLS_ROUTE: &[FieldSchema] =
    &[yes("match", List(&Message(TLS_MATCH))), yes("route", List(&Message(ROUTE_DESTINATION)))];

const L4_MATCH: &[FieldSchema] = &[
    yes("destinationSubnets", List(&Text)),
    yes("port", PORT),
    yes("sourceSubnet", Text),
    yes("sourceLabels", Map(&Text)),
    yes("gateways", List(&Text)),
    yes("sourceNamespace", Text),
];

const TLS_MATCH: &[FieldSchema] = &[
    yes("sniHosts", List(&Text)),
    yes("destinationSubnets", List(&Text)),
    yes("port", PORT),
    yes("sourceSubnet", Text),
    no("sourceLabels", Map(&Text), SNI),
    yes("gateways", List(&Text)),
    no("sourceNamespace", Text, SNI),
];

const ROUTE_DESTINATION: &[FieldSchema] = &[yes("destination", Message(DESTINATION)), yes("weight", ROUTE_WEIGHT)];

const DESTINATION: &[FieldSchema] = &[yes("host", Text), yes("subset", Text), yes("port", Message(PORT_SELECTOR))];

/// `spec` of a DestinationRule.
pub const DESTINATION_RULE: &[FieldSchema] = &[
    yes("host", Text),
    yes("trafficPolicy", Message(TRAFFIC_POLICY)),
    yes("subsets", List(&Message(SUBSET))),
    yes("exportTo", List(&Text)),
    yes("workloadSelector", Message(MATCH_LABELS)),
];

const SUBSET: &[FieldSchema] =
    &[yes("name", Text), yes("labels", Map(&Text)), yes("trafficPolicy", Message(TRAFFIC_POLICY))];

const MATCH_LABELS: &[FieldSchema] = &[yes("matchLabels", Map(&Text))];

/// `spec` of a Gateway.
pub const GATEWAY: &[FieldSchema] = &[yes("servers", List(&Message(SERVER))), yes("selector", Map(&Text))];

const SERVER: &[FieldSchema] = &[
    yes("port", Message(SERVER_PORT)),
    yes("bind", Text),
    yes("hosts", List(&Text)),
    // The protocol of such a server is what is warned about.
    mute("tls", Message(SERVER_TLS)),
    mute("defaultEndpoint", Text),
    yes("name", Text),
];

const SERVER_PORT: &[FieldSchema] =
    &[yes("number", PORT), yes("protocol", Text), yes("name", Text), yes("targetPort", PORT)];

const SERVER_TLS: &[FieldSchema] = &[
    mute("httpsRedirect", Bool),
    mute("mode", Enum(&["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"])),
    mute("serverCertificate", Text),
    mute("privateKey", Text),
    mute("caCertificates", Text),
    mute("caCrl", Text),
    mute("insecureSkipVerify", Bool),
    mute("credentialName", Text),
    mute("credentialNames", List(&Text)),
    mute("caCertCredentialName", Text),
    mute("tlsCertificates", List(&Message(TLS_CERTIFICATE))),
    mute("subjectAltNames", List(&Text)),
    mute("verifyCertificateSpki", List(&Text)),
    mute("verifyCertificateHash", List(&Text)),
    mute("minProtocolVersion", Enum(TLS_VERSIONS)),
    mute("maxProtocolVersion", Enum(TLS_VERSIONS)),
    mute("cipherSuites", List(&Text)),
    mute("ecdhCurves", List(&Text)),
];

const TLS_VERSIONS: &[&str] = &["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"];

const TLS_CERTIFICATE: &[FieldSchema] =
    &[mute("serverCertificate", Text), mute("privateKey", Text), mute("caCertificates", Text)];

/// `spec` of a ServiceEntry.
pub const SERVICE_ENTRY: &[FieldSchema] = &[
    yes("hosts", List(&Text)),
    yes("addresses", List(&Text)),
    yes("ports", List(&Message(SERVICE_PORT))),
    mute("location", Enum(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
    yes("resolution", Enum(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
    yes("endpoints", List(&Message(WORKLOAD_ENTRY))),
    yes("workloadSelector", Message(WORKLOAD_SELECTOR)),
    yes("exportTo", List(&Text)),
    mute("subjectAltNames", List(&Text)),
];

const SERVICE_PORT: &[FieldSchema] =
    &[yes("number", PORT), yes("protocol", Text), yes("name", Text), yes("targetPort", PORT)];

const WORKLOAD_SELECTOR: &[FieldSchema] = &[yes("labels", Map(&Text))];

/// `spec` of a WorkloadEntry, an endpoint of a ServiceEntry, and the template of a WorkloadGroup.
pub const WORKLOAD_ENTRY: &[FieldSchema] = &[
    yes("address", Text),
    yes("ports", Map(&PORT)),
    yes("labels", Map(&Text)),
    mute("network", Text),
    mute("locality", Text),
    yes("weight", ENDPOINT_WEIGHT),
    mute("serviceAccount", Text),
];

/// `spec` of a WorkloadGroup.
pub const WORKLOAD_GROUP: &[FieldSchema] = &[
    yes("metadata", Message(GROUP_METADATA)),
    yes("template", Message(WORKLOAD_ENTRY)),
    no("probe", Message(PROBE), Why { reason: "no endpoint is probed", cure: "remove it" }),
];

const GROUP_METADATA: &[FieldSchema] = &[yes("labels", Map(&Text)), mute("annotations", Map(&Text))];

const PROBE: &[FieldSchema] = &[
    yes("initialDelaySeconds", COUNT),
    yes("timeoutSeconds", COUNT),
    yes("periodSeconds", COUNT),
    yes("successThreshold", COUNT),
    yes("failureThreshold", COUNT),
    yes("httpGet", Message(HTTP_PROBE)),
    yes("tcpSocket", Message(TCP_PROBE)),
    yes("exec", Message(EXEC_PROBE)),
    yes("grpc", Message(GRPC_PROBE)),
];

const HTTP_PROBE: &[FieldSchema] = &[
    yes("path", Text),
    yes("port", PORT),
    yes("host", Text),
    yes("scheme", Text),
    yes("httpHeaders", List(&Message(HTTP_HEADER))),
];

const HTTP_HEADER: &[FieldSchema] = &[yes("name", Text), yes("value", Text)];
const TCP_PROBE: &[FieldSchema] = &[yes("host", Text), yes("port", PORT)];
const EXEC_PROBE: &[FieldSchema] = &[yes("command", List(&Text))];
const GRPC_PROBE: &[FieldSchema] = &[yes("port", PORT), yes("service", Text)];
