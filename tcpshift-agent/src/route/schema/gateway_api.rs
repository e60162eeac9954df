//! Fields of the Gateway API's objects, group `gateway.networking.k8s.io`. Its versions are one schema here.

use super::Shape::{Any, Enum, List, Map, Message, Text, Whole};
use super::{FieldSchema, KUBERNETES_PORT, Why, Width, mute, no, yes};

const TLS_UNCHECKED: Why =
    Why { reason: "TLS is neither terminated nor originated here, and this is not checked", cure: "remove it" };
const PLACE: Why = Why { reason: "the agent listens on its own addresses", cure: "remove it" };

/// `spec` of a Gateway.
pub const GATEWAY: &[FieldSchema] = &[
    yes("gatewayClassName", Text),
    yes("listeners", List(&Message(LISTENER))),
    no("addresses", List(&Message(ADDRESS)), PLACE),
    mute("infrastructure", Message(INFRASTRUCTURE)),
    no("backendTLS", Any, TLS_UNCHECKED),
    mute("tls", Message(GATEWAY_TLS)),
    mute("allowedListeners", Message(ALLOWED_LISTENERS)),
    mute("defaultScope", Enum(&["All", "None"])),
];

const LISTENER: &[FieldSchema] = &[
    yes("name", Text),
    yes("hostname", Text),
    yes("port", KUBERNETES_PORT),
    yes("protocol", Text),
    mute("tls", Message(TLS)),
    yes("allowedRoutes", Message(ALLOWED_ROUTES)),
];

const TLS: &[FieldSchema] = &[
    mute("mode", Enum(&["Terminate", "Passthrough"])),
    mute("certificateRefs", List(&Message(SECRET_REF))),
    no("frontendValidation", Any, TLS_UNCHECKED),
    mute("options", Map(&Text)),
];

const SECRET_REF: &[FieldSchema] =
    &[mute("group", Text), mute("kind", Text), mute("name", Text), mute("namespace", Text)];

const ALLOWED_ROUTES: &[FieldSchema] =
    &[yes("namespaces", Message(ROUTE_NAMESPACES)), yes("kinds", List(&Message(GROUP_KIND)))];

const ROUTE_NAMESPACES: &[FieldSchema] =
    &[yes("from", Enum(&["All", "Selector", "Same"])), yes("selector", Message(SELECTOR))];

const ALLOWED_LISTENERS: &[FieldSchema] = &[mute("namespaces", Message(LISTENER_NAMESPACES))];
const LISTENER_NAMESPACES: &[FieldSchema] =
    &[mute("from", Enum(&["All", "Selector", "Same", "None"])), mute("selector", Message(SELECTOR))];

const GATEWAY_TLS: &[FieldSchema] = &[no("backend", Any, TLS_UNCHECKED), no("frontend", Any, TLS_UNCHECKED)];

const SELECTOR: &[FieldSchema] =
    &[yes("matchLabels", Map(&Text)), yes("matchExpressions", List(&Message(REQUIREMENT)))];

const REQUIREMENT: &[FieldSchema] = &[yes("key", Text), yes("operator", Text), yes("values", List(&Text))];
const GROUP_KIND: &[FieldSchema] = &[yes("group", Text), yes("kind", Text)];
const ADDRESS: &[FieldSchema] = &[yes("type", Text), yes("value", Text)];
const INFRASTRUCTURE: &[FieldSchema] =
    &[mute("labels", Map(&Text)), mute("annotations", Map(&Text)), mute("parametersRef", Message(PARAMETERS_REF))];
const PARAMETERS_REF: &[FieldSchema] = &[mute("group", Text), mute("kind", Text), mute("name", Text)];

/// `spec` of a TCPRoute.
pub const TCP_ROUTE: &[FieldSchema] = &[
    yes("parentRefs", List(&Message(PARENT_REF))),
    yes("rules", List(&Message(RULE))),
    mute("useDefaultGateways", Enum(&["All", "None"])),
];

const PARENT_REF: &[FieldSchema] = &[
    yes("group", Text),
    yes("kind", Text),
    yes("namespace", Text),
    yes("name", Text),
    yes("sectionName", Text),
    yes("port", KUBERNETES_PORT),
];

const RULE: &[FieldSchema] = &[yes("name", Text), yes("backendRefs", List(&Message(BACKEND_REF)))];

const BACKEND_REF: &[FieldSchema] = &[
    yes("group", Text),
    yes("kind", Text),
    yes("name", Text),
    yes("namespace", Text),
    yes("port", KUBERNETES_PORT),
    yes("weight", Whole(Width::Int32, "a weight from 0 to 1000000")),
];

/// `spec` of a ReferenceGrant.
pub const REFERENCE_GRANT: &[FieldSchema] = &[yes("from", List(&Message(FROM))), yes("to", List(&Message(TO)))];

const FROM: &[FieldSchema] = &[yes("group", Text), yes("kind", Text), yes("namespace", Text)];
const TO: &[FieldSchema] = &[yes("group", Text), yes("kind", Text), yes("name", Text)];
