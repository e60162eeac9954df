//! The kinds of objects that tcpshift reads, and all the words people have for them.

use serde::{Deserialize, Serialize};

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
    /// Kubernetes' service.
    Service,
}

const ISTIO: &str = "networking.istio.io";
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

/// Kinds of groups that tcpshift reads which it knows and passes over.
const PASSED_OVER: &[(&str, &[&str])] = &[
    (ISTIO, &["EnvoyFilter", "ProxyConfig", "Sidecar", "WorkloadGroup"]),
    (
        "",
        &[
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

/// What a document's group and kind mean to tcpshift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is read.
    Read(Kind),
    /// It is none of tcpshift's business.
    PassedOver,
    /// Its group is read and has no such kind.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::Service,
    ];

    /// What a document of this group and kind is.
    pub fn of(group: &str, kind: &str) -> Meaning {
        if let Some(kind) = Self::ALL.into_iter().find(|known| known.group() == group && known.name() == kind) {
            return Meaning::Read(kind);
        }
        match PASSED_OVER.iter().find(|(known, _)| *known == group) {
            Some((_, kinds)) if kinds.contains(&kind) => Meaning::PassedOver,
            Some(_) => Meaning::Unknown,
            None => Meaning::PassedOver,
        }
    }

    /// The kind that a person means: its name, plural or short name, in any case, with or without its group.
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        Self::ALL.into_iter().find(|kind| {
            let names = [kind.singular(), kind.plural_name(), kind.short_name()];
            names.contains(&name) && (group.is_empty() || kind.has_group(group))
        })
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
            Self::Gateway => "Gateway",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Service => "Service",
        }
    }

    /// The API group; empty for Kubernetes' core.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Service => "",
            _ => ISTIO,
        }
    }

    /// Versions of the group that are read, newest first.
    pub const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Service => &["v1"],
            _ => ISTIO_VERSIONS,
        }
    }

    /// In lower case.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::VirtualService => "virtualservice",
            Self::DestinationRule => "destinationrule",
            Self::Gateway => "gateway",
            Self::ServiceEntry => "serviceentry",
            Self::WorkloadEntry => "workloadentry",
            Self::Service => "service",
        }
    }

    const fn plural_name(self) -> &'static str {
        match self {
            Self::VirtualService => "virtualservices",
            Self::DestinationRule => "destinationrules",
            Self::Gateway => "gateways",
            Self::ServiceEntry => "serviceentries",
            Self::WorkloadEntry => "workloadentries",
            Self::Service => "services",
        }
    }

    /// kubectl's short name.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::VirtualService => "vs",
            Self::DestinationRule => "dr",
            Self::Gateway => "gw",
            Self::ServiceEntry => "se",
            Self::WorkloadEntry => "we",
            Self::Service => "svc",
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

/// What to say of a word that is no kind.
pub fn unknown(word: &str) -> String {
    let known: Vec<_> = Kind::ALL.iter().map(|kind| format!("{} ({})", kind.singular(), kind.short_name())).collect();
    format!("there is no kind {word:?}; there are {}", known.join(", "))
}

fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
