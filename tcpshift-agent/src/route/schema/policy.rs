//! Fields of a DestinationRule's traffic policy, block by block.

use super::Shape::{Any, Bool, Duration, Enum, Int32, List, Map, Message, Number, Text, Uint32, Uint64};
use super::{Field, Why, mute, no, yes};

/// A policy or a block without a field is an error.
const EMPTY: &str = "remove it, and the blocks that this leaves empty";

const HTTP_KEY: Why = Why {
    reason: "it is a key of HTTP, and TCP connections have none",
    cure: "write `useSourceIp: true` in its place",
};
const EJECTION: Why = Why { reason: "no endpoint is ejected", cure: EMPTY };
const ORIGINATION: Why = Why { reason: "TLS is not originated, bytes are passed on as they are", cure: EMPTY };
const BYTES: Why = Why { reason: "bytes are passed on as they are", cure: EMPTY };
const LOCALITY: Why = Why { reason: "locality plays no part in the choice of an endpoint", cure: EMPTY };
const HEADER: Why = Why { reason: "no header is sent to the endpoint", cure: EMPTY };
const WARMUP: Why = Why { reason: "a new endpoint gets its full share at once", cure: EMPTY };

/// `port` of a destination and of a port's policy.
pub const PORT_SELECTOR: &[Field] = &[yes("number", Uint32)];

/// `trafficPolicy` of a DestinationRule and of a subset.
pub const TRAFFIC_POLICY: &[Field] = &[
    yes("loadBalancer", Message(LOAD_BALANCER)),
    yes("connectionPool", Message(CONNECTION_POOL)),
    no("outlierDetection", Message(OUTLIER_DETECTION), EJECTION),
    no("tls", Message(TLS), ORIGINATION),
    yes("portLevelSettings", List(&Message(PORT_TRAFFIC_POLICY))),
    no("tunnel", Message(TUNNEL), BYTES),
    no("proxyProtocol", Message(PROXY_PROTOCOL), HEADER),
    mute("retryBudget", Message(RETRY_BUDGET)),
];

const PORT_TRAFFIC_POLICY: &[Field] = &[
    yes("port", Message(PORT_SELECTOR)),
    yes("loadBalancer", Message(LOAD_BALANCER)),
    yes("connectionPool", Message(CONNECTION_POOL)),
    no("outlierDetection", Message(OUTLIER_DETECTION), EJECTION),
    no("tls", Message(TLS), ORIGINATION),
];

const LOAD_BALANCER: &[Field] = &[
    yes("simple", Enum(&["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH"])),
    yes("consistentHash", Message(CONSISTENT_HASH)),
    no("localityLbSetting", Message(LOCALITY_LB_SETTING), LOCALITY),
    no("warmup", Message(WARMUP_CONFIGURATION), WARMUP),
    no("warmupDurationSecs", Duration, WARMUP),
];

const CONSISTENT_HASH: &[Field] = &[
    no("httpHeaderName", Text, HTTP_KEY),
    no("httpCookie", Message(HTTP_COOKIE), HTTP_KEY),
    yes("useSourceIp", Bool),
    no("httpQueryParameterName", Text, HTTP_KEY),
    yes("ringHash", Message(RING_HASH)),
    yes("maglev", Message(MAGLEV)),
    yes("minimumRingSize", Uint64),
];

const HTTP_COOKIE: &[Field] =
    &[mute("name", Text), mute("path", Text), mute("ttl", Duration), mute("attributes", List(&Any))];
const RING_HASH: &[Field] = &[yes("minimumRingSize", Uint64)];
const MAGLEV: &[Field] = &[yes("tableSize", Uint64)];

const LOCALITY_LB_SETTING: &[Field] = &[
    mute("distribute", List(&Message(DISTRIBUTE))),
    mute("failover", List(&Message(FAILOVER))),
    mute("failoverPriority", List(&Text)),
    mute("enabled", Bool),
];

const DISTRIBUTE: &[Field] = &[mute("from", Text), mute("to", Map(&Uint32))];
const FAILOVER: &[Field] = &[mute("from", Text), mute("to", Text)];
const WARMUP_CONFIGURATION: &[Field] =
    &[mute("duration", Duration), mute("minimumPercent", Number), mute("aggression", Number)];

const CONNECTION_POOL: &[Field] = &[yes("tcp", Message(TCP_SETTINGS)), mute("http", Message(HTTP_SETTINGS))];

const TCP_SETTINGS: &[Field] = &[
    yes("maxConnections", Int32),
    yes("connectTimeout", Duration),
    yes("tcpKeepalive", Message(KEEPALIVE)),
    yes("maxConnectionDuration", Duration),
    yes("idleTimeout", Duration),
];

const KEEPALIVE: &[Field] = &[yes("probes", Uint32), yes("time", Duration), yes("interval", Duration)];

const HTTP_SETTINGS: &[Field] = &[
    mute("http1MaxPendingRequests", Int32),
    mute("http2MaxRequests", Int32),
    mute("maxRequestsPerConnection", Int32),
    mute("maxRetries", Int32),
    mute("idleTimeout", Duration),
    mute("h2UpgradePolicy", Enum(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"])),
    mute("useClientProtocol", Bool),
    mute("maxConcurrentStreams", Int32),
    mute("http2KeepAlive", Message(HTTP2_KEEPALIVE)),
];

const HTTP2_KEEPALIVE: &[Field] = &[mute("interval", Duration), mute("timeout", Duration)];

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

const TLS: &[Field] = &[
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

const TUNNEL: &[Field] = &[mute("protocol", Text), mute("targetHost", Text), mute("targetPort", Uint32)];
const PROXY_PROTOCOL: &[Field] = &[yes("version", Enum(&["V1", "V2"]))];
const RETRY_BUDGET: &[Field] = &[mute("percent", Number), mute("minRetryConcurrency", Uint32)];
