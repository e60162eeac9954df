//! Fields of Kubernetes' objects: the metadata that every object has, and Service (core v1).

use super::Shape::{Any, Bool, Int32, IntOrText, List, Map, Message, Text};
use super::{Field, mute, yes};

/// `metadata` of any object.
pub const METADATA: &[Field] = &[
    yes("name", Text),
    yes("namespace", Text),
    yes("labels", Map(&Text)),
    yes("annotations", Map(&Text)),
    yes("creationTimestamp", Text),
    yes("resourceVersion", Text),
    mute("generateName", Text),
    mute("generation", Int32),
    mute("uid", Text),
    mute("selfLink", Text),
    mute("deletionTimestamp", Text),
    mute("deletionGracePeriodSeconds", Int32),
    mute("ownerReferences", Any),
    mute("finalizers", List(&Text)),
];

/// `spec` of a Service. What it says of a cluster's own load balancing means nothing on plain hosts.
pub const SERVICE: &[Field] = &[
    yes("ports", List(&Message(SERVICE_PORT))),
    yes("selector", Map(&Text)),
    mute("type", Text),
    mute("clusterIP", Text),
    mute("clusterIPs", List(&Text)),
    mute("ipFamilies", List(&Text)),
    mute("ipFamilyPolicy", Text),
    mute("externalIPs", List(&Text)),
    mute("externalName", Text),
    mute("externalTrafficPolicy", Text),
    mute("internalTrafficPolicy", Text),
    mute("trafficDistribution", Text),
    mute("healthCheckNodePort", Int32),
    mute("loadBalancerClass", Text),
    mute("loadBalancerIP", Text),
    mute("loadBalancerSourceRanges", List(&Text)),
    mute("allocateLoadBalancerNodePorts", Bool),
    mute("publishNotReadyAddresses", Bool),
    mute("sessionAffinity", Text),
    mute("sessionAffinityConfig", Any),
];

const SERVICE_PORT: &[Field] = &[
    yes("name", Text),
    yes("port", Int32),
    yes("targetPort", IntOrText),
    yes("protocol", Text),
    mute("appProtocol", Text),
    mute("nodePort", Int32),
];
