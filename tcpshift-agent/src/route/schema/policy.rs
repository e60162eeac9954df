//! Fields of a DestinationRule's traffic policy, block by block.

use super::Shape::{Any, Bool, Duration, Enum, List, Map, Message, Number, Text, Whole};
use super::{COUNT, FieldSchema, PERCENT, PORT, Shape, UNSIGNED, Why, Width, mute, no, yes};

/// A policy or a block without a field is an error.
const EMPTY: &str = "remove it, and the blocks that this leaves empty";

const HTTP_KEY: Why = Why {
    reason: "it is a key of HTTP, and TCP connections have none",
    cure: "write `useSourceIp: true` in its place",
};
const ORIGINATION: Why = Why { reason: "TLS is not originated, bytes are passed on as they are", cure: EMPTY };
const BYTES: Why = Why { reason: "bytes are passed on as they are", cure: EMPTY };
const LOCALITY: Why = Why { reason: "locality plays no part in the choice of an endpoint", cure: EMPTY };
const HEADER: Why = Why { reason: "no header is sent to the endpoint", cure: EMPTY };
const UTILIZATION: Why = Why { reason: "endpoints report no load", cure: EMPTY };
const WARMUP: Why = Why { reason: "a new endpoint gets its full share at once", cure: EMPTY };

/// How many places a ring has.
const RING_SIZE: Shape = Whole(Width::Uint64, "a whole number of 0 or more");
/// A share that may be a fraction.
const SHARE: Shape = Number("a percentage from 0 to 100");

/// `port` of a destination and of a port's policy.
pub const PORT_SELECTOR: &[FieldSchema] = &[yes("number", PORT)];

/// `trafficPolicy` of a DestinationRule and of a subset.
pub const TRAFFIC_POLICY: &[FieldSchema] = &[
    yes("loadBalancer", Message(LOAD_BALANCER)),
    yes("connectionPool", Message(CONNECTION_POOL)),
    yes("outlierDetection", Message(OUTLIER_DETECTION)),
    no("tls", Message(TLS), ORIGINATION),
    yes("portLevelSettings", List(&Message(PORT_TRAFFIC_POLICY))),
    no("tunnel", Message(TUNNEL), BYTES),
    no("proxyProtocol", Message(PROXY_PROTOCOL), HEADER),
    mute("retryBudget", Message(RETRY_BUDGET)),
];

const PORT_TRAFFIC_POLICY: &[FieldSchema] = &[
    yes("port", Message(PORT_SELECTOR)),
    yes("loadBalancer", Message(LOAD_BALANCER)),
    yes("connectionPool", Message(CONNECTION_POOL)),
    yes("outlierDetection", Message(OUTLIER_DETECTION)),
    no("tls", Message(TLS), ORIGINATION),
];

const LOAD_BALANCER: &[FieldSchema] = &[
    yes("simple", Enum(&["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH"])),
    yes("consistentHash", Message(CONSISTENT_HASH)),
    no("localityLbSetting", Message(LOCALITY_LB_SETTING), LOCALITY),
    no("zoneAwareLbSetting", Message(ZONE_AWARE_LB_SETTING), LOCALITY),
    no("backendUtilization", Message(BACKEND_UTILIZATION), UTILIZATION),
    no("warmup", Message(WARMUP_CONFIGURATION), WARMUP),
    no("warmupDurationSecs", Duration, WARMUP),
];

const CONSISTENT_HASH: &[FieldSchema] = &[
    no("httpHeaderName", Text, HTTP_KEY),
    no("httpCookie", Message(HTTP_COOKIE), HTTP_KEY),
    yes("useSourceIp", Bool),
    no("httpQueryParameterName", Text, HTTP_KEY),
    yes("ringHash", Message(RING_HASH)),
    yes("maglev", Message(MAGLEV)),
    yes("minimumRingSize", RING_SIZE),
];

const HTTP_COOKIE: &[FieldSchema] = &[
    mute("name", Text),
    mute("path", Text),
    mute("ttl", Duration),
    mute("attributes", List(&Message(COOKIE_ATTRIBUTE))),
];
const COOKIE_ATTRIBUTE: &[FieldSchema] = &[mute("name", Text), mute("value", Text)];
const RING_HASH: &[FieldSchema] = &[yes("minimumRingSize", RING_SIZE)];
const MAGLEV: &[FieldSchema] = &[yes("tableSize", Whole(Width::Uint64, "a prime number below 5000011"))];

const LOCALITY_LB_SETTING: &[FieldSchema] = &[
    mute("distribute", List(&Message(DISTRIBUTE))),
    mute("failover", List(&Message(FAILOVER))),
    mute("failoverPriority", List(&Text)),
    mute("enabled", Bool),
];

const ZONE_AWARE_LB_SETTING: &[FieldSchema] = &[
    mute("enabled", Bool),
    mute("failover", List(&Message(FAILOVER))),
    mute("failoverPriority", List(&Text)),
    mute("minClusterSize", Whole(Width::Uint32, "a whole number from 1 to 4294967295")),
];

const BACKEND_UTILIZATION: &[FieldSchema] = &[
    mute("errorUtilizationPenaltyPercent", UNSIGNED),
    mute("metricNamesForComputingUtilization", List(&Text)),
    mute("weightExpirationPeriod", Duration),
    mute("weightStabilizationPeriod", Duration),
    mute("weightUpdatePeriod", Duration),
];

const DISTRIBUTE: &[FieldSchema] =
    &[mute("from", Text), mute("to", Map(&Whole(Width::Uint32, "a share from 1 to 100")))];
const FAILOVER: &[FieldSchema] = &[mute("from", Text), mute("to", Text)];
const WARMUP_CONFIGURATION: &[FieldSchema] =
    &[mute("duration", Duration), mute("minimumPercent", SHARE), mute("aggression", Number("a number above 0"))];

const CONNECTION_POOL: &[FieldSchema] = &[yes("tcp", Message(TCP_SETTINGS)), mute("http", Message(HTTP_SETTINGS))];

const TCP_SETTINGS: &[FieldSchema] = &[
    yes("maxConnections", COUNT),
    yes("connectTimeout", Duration),
    yes("tcpKeepalive", Message(KEEPALIVE)),
    yes("maxConnectionDuration", Duration),
    yes("idleTimeout", Duration),
];

const KEEPALIVE: &[FieldSchema] = &[yes("probes", UNSIGNED), yes("time", Duration), yes("interval", Duration)];

const HTTP_SETTINGS: &[FieldSchema] = &[
    mute("http1MaxPendingRequests", COUNT),
    mute("http2MaxRequests", COUNT),
    mute("maxRequestsPerConnection", COUNT),
    mute("maxRetries", COUNT),
    mute("idleTimeout", Duration),
    mute("h2UpgradePolicy", Enum(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"])),
    mute("useClientProtocol", Bool),
    mute("maxConcurrentStreams", COUNT),
    mute("http2KeepAlive", Message(HTTP2_KEEPALIVE)),
];

const HTTP2_KEEPALIVE: &[FieldSchema] = &[mute("interval", Duration), mute("timeout", Duration)];

const OUTLIER_DETECTION: &[FieldSchema] = &[
    yes("consecutiveErrors", COUNT),
    yes("splitExternalLocalOriginErrors", Bool),
    yes("consecutiveLocalOriginFailures", UNSIGNED),
    yes("consecutiveGatewayErrors", UNSIGNED),
    yes("consecutive5xxErrors", UNSIGNED),
    yes("interval", Duration),
    yes("baseEjectionTime", Duration),
    yes("maxEjectionPercent", PERCENT),
    yes("minHealthPercent", PERCENT),
    mute("outlierDetectionHttpErrorCodes", Any),
];

const TLS: &[FieldSchema] = &[
    mute("mode", Enum(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"])),
    mute("clientCertificate", Text),
    mute("privateKey", Text),
    mute("caCertificates", Text),
    mute("credentialName", Text),
    mute("subjectAltNames", List(&Text)),
    mute("sni", Text),
    mute("insecureSkipVerify", Bool),
    mute("caCrl", Text),
];

const TUNNEL: &[FieldSchema] = &[mute("protocol", Text), mute("targetHost", Text), mute("targetPort", PORT)];
const PROXY_PROTOCOL: &[FieldSchema] = &[yes("version", Enum(&["V1", "V2"]))];
const RETRY_BUDGET: &[FieldSchema] =
    &[mute("percent", SHARE), mute("minRetryConcurrency", UNSIGNED), mute("budgetInterval", Duration)];
