//! Fields of Kubernetes' objects: the metadata that every object has, Service (core v1), and EndpointSlice
//! (discovery.k8s.io/v1).

use super::Shape::{Any, Bool, IntOrText, List, Map, Message, Text, Whole};
use super::{COUNT, FieldSchema, KUBERNETES_PORT, Width, mute, yes};

/// `metadata` of any object.
pub const METADATA: &[FieldSchema] = &[
    yes("name", Text),
    yes("namespace", Text),
    yes("labels", Map(&Text)),
    yes("annotations", Map(&Text)),
    yes("creationTimestamp", Text),
    yes("resourceVersion", Text),
    mute("generateName", Text),
    mute("generation", Whole(Width::Uint64, "a whole number of 0 or more")),
    mute("uid", Text),
    mute("selfLink", Text),
    mute("deletionTimestamp", Text),
    mute("deletionGracePeriodSeconds", COUNT),
    mute("ownerReferences", Any),
    mute("finalizers", List(&Text)),
];

/// `spec` of a Service. What it says of a cluster's own load balancing means nothing on plain hosts.
pub const SERVICE: &[FieldSchema] = &[
    yes("ports", List(&Message(SERVICE_PORT))),
    yes("selector", Map(&Text)),
    mute("type", Text),
    yes("clusterIP", Text),
    yes("clusterIPs", List(&Text)),
    mute("ipFamilies", List(&Text)),
    mute("ipFamilyPolicy", Text),
    mute("externalIPs", List(&Text)),
    mute("externalName", Text),
    mute("externalTrafficPolicy", Text),
    mute("internalTrafficPolicy", Text),
    mute("trafficDistribution", Text),
    mute("healthCheckNodePort", KUBERNETES_PORT),
    mute("loadBalancerClass", Text),
    mute("loadBalancerIP", Text),
    mute("loadBalancerSourceRanges", List(&Text)),
    mute("allocateLoadBalancerNodePorts", Bool),
    mute("publishNotReadyAddresses", Bool),
    yes("sessionAffinity", Text),
    mute("sessionAffinityConfig", Message(AFFINITY_CONFIG)),
];

const AFFINITY_CONFIG: &[FieldSchema] = &[yes("clientIP", Message(CLIENT_IP_CONFIG))];
const CLIENT_IP_CONFIG: &[FieldSchema] =
    &[yes("timeoutSeconds", Whole(Width::Int32, "a whole number from 1 to 86400"))];

const SERVICE_PORT: &[FieldSchema] = &[
    yes("name", Text),
    yes("port", KUBERNETES_PORT),
    yes("targetPort", IntOrText("a port from 1 to 65535, or its name,")),
    yes("protocol", Text),
    mute("appProtocol", Text),
    mute("nodePort", KUBERNETES_PORT),
];

/// An EndpointSlice, which has no `spec`, beside its metadata.
pub const ENDPOINT_SLICE: &[FieldSchema] = &[
    yes("apiVersion", Text),
    yes("kind", Text),
    yes("metadata", Message(METADATA)),
    yes("addressType", Text),
    yes("endpoints", List(&Message(ENDPOINT))),
    yes("ports", List(&Message(ENDPOINT_PORT))),
];

const ENDPOINT: &[FieldSchema] = &[
    yes("addresses", List(&Text)),
    yes("conditions", Message(CONDITIONS)),
    yes("hostname", Text),
    mute("nodeName", Text),
    mute("zone", Text),
    mute("hints", Any),
    mute("targetRef", Any),
    mute("deprecatedTopology", Map(&Text)),
];

const CONDITIONS: &[FieldSchema] = &[yes("ready", Bool), yes("serving", Bool), yes("terminating", Bool)];

const ENDPOINT_PORT: &[FieldSchema] =
    &[yes("name", Text), yes("port", KUBERNETES_PORT), yes("protocol", Text), mute("appProtocol", Text)];
