//! The kinds of objects that tcpshift reads, and all their names.

use serde::{Deserialize, Serialize};

use super::spelling::distance;

/// A kind that tcpshift reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `networking.istio.io`: routes.
    VirtualService,
    /// `networking.istio.io`: subsets and policies of a host.
    DestinationRule,
    /// `networking.istio.io`: what is listened on.
    Gateway,
    /// `networking.istio.io`: a service and its endpoints.
    ServiceEntry,
    /// `networking.istio.io`: one endpoint.
    WorkloadEntry,
    /// `networking.istio.io`: what several endpoints have in common.
    WorkloadGroup,
    /// Kubernetes' service.
    Service,
    /// `discovery.k8s.io`: endpoints of a Kubernetes service.
    EndpointSlice,
    /// `gateway.networking.k8s.io`: what is listened on.
    GatewayApiGateway,
    /// `gateway.networking.k8s.io`: routes.
    TcpRoute,
    /// `gateway.networking.k8s.io`: what may be referred to from other namespaces.
    ReferenceGrant,
}

const ISTIO: &str = "networking.istio.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

/// Kinds that tcpshift passes over, of the groups that it reads.
const PASSED_OVER: &[(&str, &[&str])] = &[
    (ISTIO, &["EnvoyFilter", "ProxyConfig", "Sidecar"]),
    (DISCOVERY, &[]),
    (
        GATEWAY_API,
        &[
            "BackendLBPolicy",
            "BackendTLSPolicy",
            "BackendTrafficPolicy",
            "GatewayClass",
            "GRPCRoute",
            "HTTPRoute",
            "ListenerSet",
            "TLSRoute",
            "UDPRoute",
        ],
    ),
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        ],
    ),
];

/// What tcpshift does with a document, by its group and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is read.
    Read(Kind),
    /// It is passed over.
    PassedOver,
    /// As [`Meaning::PassedOver`], with a warning: a kind that is read, in a group that has no such kind.
    Misplaced,
    /// Its group is read and has no such kind.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::Service,
        Self::EndpointSlice,
        Self::GatewayApiGateway,
        Self::TcpRoute,
        Self::ReferenceGrant,
    ];

    /// Whether its objects say where connections go, and no other object depends on them.
    pub const fn is_route(self) -> bool {
        matches!(self, Self::VirtualService | Self::TcpRoute)
    }

    /// The meaning of a document of this group and kind.
    pub fn of(group: &str, kind: &str) -> Meaning {
        if let Some(kind) = Self::ALL.into_iter().find(|known| known.group() == group && known.name() == kind) {
            return Meaning::Read(kind);
        }
        match PASSED_OVER.iter().find(|(known, _)| *known == group) {
            Some((_, kinds)) if kinds.contains(&kind) => Meaning::PassedOver,
            Some(_) => Meaning::Unknown,
            None if Self::ALL.into_iter().any(|known| known.is_near(group, kind)) => Meaning::Misplaced,
            None => Meaning::PassedOver,
        }
    }

    /// The kinds that may be meant by this kind in a group that does not have it.
    pub fn meant(group: &str, kind: &str) -> Vec<Self> {
        let same = |known: &Self| known.name().eq_ignore_ascii_case(kind);
        let same: Vec<Self> = Self::ALL.into_iter().filter(same).collect();
        let near: Vec<Self> = same.iter().copied().filter(|known| is_close(group, known.group())).collect();
        if near.is_empty() { same } else { near }
    }

    /// Whether a document of another group is probably one of this kind. Other projects have a Gateway, a Service or a
    /// VirtualService of their own, so the group has to be close to that of this kind, or one of which is known that it has
    /// no such kind: Kubernetes' own groups, which have no dot or end in `k8s.io`, and Istio's.
    fn is_near(self, group: &str, kind: &str) -> bool {
        let owned = |owner: &str| group.strip_suffix(owner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let known = !group.contains('.') || ["k8s.io", "x-k8s.io", "istio.io"].into_iter().any(owned);
        self.name().eq_ignore_ascii_case(kind) && (known || is_close(group, self.group()))
    }

    /// With its newest version, as documents write it: `networking.istio.io/v1`.
    pub fn api_version(self) -> String {
        let version = self.versions()[0];
        if self.group().is_empty() { version.to_owned() } else { format!("{}/{version}", self.group()) }
    }

    /// The kinds that a person means: by name, plural or short name, in any case, with or without the group.
    /// None if there is no such kind; two for a Gateway without a group.
    pub fn from_word(word: &str) -> Vec<Self> {
        let word = word.to_ascii_lowercase();
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        let meant = Self::ALL.into_iter().filter(|kind| {
            let names = [kind.singular(), kind.plural_name()];
            (names.contains(&name) || kind.short_names().contains(&name)) && (group.is_empty() || kind.has_group(group))
        });
        meant.collect()
    }

    /// `networking.istio.io`, or that with a version before it.
    fn has_group(self, group: &str) -> bool {
        let rest = self.versions().iter().find_map(|version| group.strip_prefix(version)?.strip_prefix('.'));
        group == self.group() || rest == Some(self.group())
    }

    /// As documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::Gateway | Self::GatewayApiGateway => "Gateway",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::WorkloadGroup => "WorkloadGroup",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::TcpRoute => "TCPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
        }
    }

    /// The API group; empty for Kubernetes' core.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Service => "",
            Self::EndpointSlice => DISCOVERY,
            Self::GatewayApiGateway | Self::TcpRoute | Self::ReferenceGrant => GATEWAY_API,
            _ => ISTIO,
        }
    }

    /// Versions of the group that are read, newest first.
    pub const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Service | Self::EndpointSlice => &["v1"],
            Self::TcpRoute => &["v1", "v1alpha2"],
            Self::GatewayApiGateway | Self::ReferenceGrant => &["v1", "v1beta1", "v1alpha2"],
            _ => ISTIO_VERSIONS,
        }
    }

    /// In lower case.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::VirtualService => "virtualservice",
            Self::DestinationRule => "destinationrule",
            Self::Gateway | Self::GatewayApiGateway => "gateway",
            Self::ServiceEntry => "serviceentry",
            Self::WorkloadEntry => "workloadentry",
            Self::WorkloadGroup => "workloadgroup",
            Self::Service => "service",
            Self::EndpointSlice => "endpointslice",
            Self::TcpRoute => "tcproute",
            Self::ReferenceGrant => "referencegrant",
        }
    }

    const fn plural_name(self) -> &'static str {
        match self {
            Self::VirtualService => "virtualservices",
            Self::DestinationRule => "destinationrules",
            Self::Gateway | Self::GatewayApiGateway => "gateways",
            Self::ServiceEntry => "serviceentries",
            Self::WorkloadEntry => "workloadentries",
            Self::WorkloadGroup => "workloadgroups",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::TcpRoute => "tcproutes",
            Self::ReferenceGrant => "referencegrants",
        }
    }

    /// kubectl's short names.
    pub const fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::VirtualService => &["vs"],
            Self::DestinationRule => &["dr"],
            Self::Gateway => &["gw"],
            Self::ServiceEntry => &["se"],
            Self::WorkloadEntry => &["we"],
            Self::WorkloadGroup => &["wg"],
            Self::Service => &["svc"],
            Self::GatewayApiGateway => &["gtw"],
            Self::ReferenceGrant => &["refgrant"],
            Self::EndpointSlice | Self::TcpRoute => &[],
        }
    }

    /// With its group, as kubectl prints it: `virtualservice.networking.istio.io`, `service`.
    pub fn qualified(self) -> String {
        with_group(self.singular(), self.group())
    }

    /// As in kubectl's errors: `virtualservices.networking.istio.io`, `services`.
    pub fn plural(self) -> String {
        with_group(self.plural_name(), self.group())
    }
}

/// The message for a word that is no kind.
pub fn unknown(word: &str) -> String {
    let known = Kind::ALL.iter().map(|kind| match kind.short_names() {
        [short, ..] => format!("{} ({short})", kind.singular()),
        [] => kind.singular().to_owned(),
    });
    let known: Vec<_> = known.collect();
    format!("there is no kind {word:?}; there are {}", known.join(", "))
}

/// Whether a group is a misspelling of a known one.
fn is_close(group: &str, known: &str) -> bool {
    !known.is_empty() && group.len() <= 64 && (group.contains(known) || distance(group, known) <= 3)
}

fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
