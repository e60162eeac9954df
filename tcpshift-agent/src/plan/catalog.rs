//! The services there are: finds the port, the subset and the endpoints that a route's destination means.
//!
//! Lookups are those of Istio at a gateway: short names belong to the namespace of the route, and what is not
//! visible in the agent's namespace is not there. [`rules`] finds and merges DestinationRules; `located` gives
//! the address of each endpoint, or the host name to look up; `provider` is a Service or ServiceEntry.

mod located;
mod provider;
pub mod rules;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;

use self::located::Located;
use self::provider::{HostProvider, HostProviderKind, Port, target};
use self::rules::Rules;
use super::host::Scope;
use super::intent::{Written, WrittenAt};
use super::{EndpointAddress, Limits, Unusable, levels};
use crate::route::model::{
    EndpointSlice, Labels, Policy, Resolution, Service, SliceEndpoint, Spec, WorkloadEntry, selects,
};
use crate::route::names;
use crate::route::object::{Key, Object};

/// A destination as a rule names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted<'a> {
    /// Namespace of the route.
    pub namespace: Cow<'a, str>,
    /// Its host, short or full.
    pub host: Cow<'a, str>,
    /// Its subset, if it names one.
    pub subset: Option<Cow<'a, str>>,
    /// Its port, if it names one.
    pub port: Option<u16>,
    /// Port of the listener.
    pub listener_port: u16,
    /// Whether clients inside a mesh are led there: they have asked for an address that a service may leave them.
    pub in_mesh: bool,
}

/// As a name for it, which is another one for each.
impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, host, subset, port, listener_port, in_mesh } = self;
        let (subset, port) = (subset.as_deref().unwrap_or_default(), port.unwrap_or_default());
        write!(f, "{namespace}/{host}/{subset}:{port}@{listener_port}{}", if *in_mesh { " mesh" } else { "" })
    }
}

impl Wanted<'_> {
    /// The same, on its own.
    pub fn into_owned(self) -> Wanted<'static> {
        let Self { namespace, host, subset, port, listener_port, in_mesh } = self;
        Wanted {
            namespace: Cow::Owned(namespace.into_owned()),
            host: Cow::Owned(host.into_owned()),
            subset: subset.map(|subset| Cow::Owned(subset.into_owned())),
            port,
            listener_port,
            in_mesh,
        }
    }
}

/// What a route's destination means.
#[derive(Debug)]
pub struct Resolved {
    /// Full host name.
    pub host: String,
    /// Port of the service.
    pub port: u16,
    /// What holds for it, of all levels together.
    pub policy: Policy,
    /// How long connections of a route last whose first destination it is.
    pub limits: Limits,
    /// Each endpoint as it is written, or why there is none.
    pub endpoints: Result<Vec<Written>, Unusable>,
}

/// A service as clients inside a mesh see it.
#[derive(Debug)]
pub struct Reached<'a> {
    /// The object that has it.
    pub key: &'a Key,
    /// Full host name.
    pub host: String,
    /// Its ports.
    pub ports: Vec<u16>,
    /// Where clients connect.
    pub addresses: &'a [IpNet],
}

/// Services, endpoints and policies by name, as an agent sees them. Built from objects sorted by age.
#[derive(Debug)]
pub struct Catalog<'a> {
    scope: &'a Scope,
    services: HashMap<String, HostProvider<'a>>,
    /// Hosts with a wildcard whose names DNS is asked for one by one, the oldest first.
    dynamic: Vec<(String, HostProvider<'a>)>,
    /// By namespace.
    workloads: HashMap<&'a str, Workloads<'a>>,
    /// By namespace and name of their Service.
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    rules: Rules<'a>,
}

/// The endpoints of a namespace.
#[derive(Debug, Default)]
struct Workloads<'a> {
    all: Vec<&'a WorkloadEntry>,
    /// By key and value of each of their labels.
    labelled: HashMap<(&'a str, &'a str), Vec<&'a WorkloadEntry>>,
}

impl<'a> Catalog<'a> {
    /// Sorts objects into what can be looked up.
    pub fn new(objects: impl Iterator<Item = &'a Object>, scope: &'a Scope) -> Self {
        let mut catalog = Self {
            scope,
            services: HashMap::new(),
            dynamic: Vec::new(),
            workloads: HashMap::new(),
            slices: HashMap::new(),
            rules: Rules::default(),
        };
        for (age, object) in objects.enumerate() {
            let key = &object.key;
            let namespace = object.key.namespace.as_str();
            match &object.spec {
                // A Service beats a ServiceEntry of the same host, which only adds to it in Istio.
                Spec::Service(service) if service.export.reaches(&scope.namespace) => {
                    let host = names::service_host(&object.key.name, namespace);
                    let kind = HostProviderKind::Service(service);
                    catalog.services.insert(host, HostProvider { key, age, kind });
                }
                Spec::ServiceEntry(entry) if entry.export.reaches(&scope.namespace) => {
                    for host in &entry.hosts {
                        let provider = HostProvider { key, age, kind: HostProviderKind::Entry(entry) };
                        let host = host.to_ascii_lowercase();
                        if entry.resolution == Resolution::DynamicDns {
                            catalog.dynamic.push((host.clone(), provider));
                        }
                        catalog.services.entry(host).or_insert(provider);
                    }
                }
                Spec::WorkloadEntry(workload) => catalog.workloads.entry(namespace).or_default().add(workload),
                Spec::EndpointSlice(slice) => {
                    if let Some(service) = &slice.service {
                        catalog.slices.entry((namespace, service)).or_default().push(slice);
                    }
                }
                Spec::DestinationRule(rule) => catalog.rules.add(namespace, rule),
                Spec::Service(_)
                | Spec::ServiceEntry(_)
                | Spec::VirtualService(_)
                | Spec::Gateway(_)
                | Spec::WorkloadGroup(_)
                | Spec::GatewayApiGateway(_)
                | Spec::TcpRoute(_)
                | Spec::ReferenceGrant(_) => {}
            }
        }
        catalog
    }

    /// What a destination of a route in a namespace means.
    pub fn resolve(&self, wanted: &Wanted<'_>) -> Resolved {
        let Wanted { namespace, host, subset, port, listener_port, in_mesh } = wanted;
        let (host, provider) = self.provider(names::full_host(host, namespace));
        let service = provider.map_or(namespace.as_ref(), |provider| &provider.key.namespace);
        let rules = self.rules.find(self.scope, service, namespace, &host);
        let number = port.unwrap_or(*listener_port);
        let limits = levels::limits(rules.policy);
        let unknown = |unusable| Resolved {
            host: host.clone(),
            port: number,
            policy: Policy::default(),
            limits,
            endpoints: Err(unusable),
        };
        let Some(provider) = provider else { return unknown(Unusable::UnknownHost) };
        let ports = provider.ports();
        let found = match (port, ports.as_slice()) {
            // Without a port in the route: the only one, else the listener's.
            (None, [only]) => Some(only),
            _ => ports.iter().find(|found| found.number == number),
        };
        let Some(found) = found else { return unknown(Unusable::UnknownPort) };
        let subset = match subset {
            None => None,
            Some(name) => match rules.subset(name) {
                None => return Resolved { port: found.number, ..unknown(Unusable::UnknownSubset) },
                some => some,
            },
        };
        let mut policy = levels::at_port(rules.policy, subset.and_then(|subset| subset.policy.as_ref()), found.number);
        policy.load_balancer = policy.load_balancer.or(provider.affinity());
        let none = Labels::new();
        let labels = subset.map_or(&none, |subset| &subset.labels);
        if provider.leaves_address() {
            let target = found.target_number.filter(|target| *target != found.number);
            let endpoint = Written { at: WrittenAt::Address(EndpointAddress::Original(target)), weight: 1 };
            let endpoints = if *in_mesh { Ok(vec![endpoint]) } else { Err(Unusable::NoAddress) };
            return Resolved { port: found.number, policy, endpoints, host, limits };
        }
        let endpoints = self.endpoints(&host, &provider, found, labels);
        let endpoints = if endpoints.is_empty() { Err(Unusable::NoEndpoint) } else { Ok(endpoints) };
        Resolved { port: found.number, policy, endpoints, host, limits }
    }

    /// Services that a host of a VirtualService in `namespace` stands for, by name.
    pub fn hosts(&self, namespace: &str, host: &str) -> Vec<Reached<'a>> {
        let host = names::full_host(host, namespace);
        let reached = |host: String, provider: &HostProvider<'a>| Reached {
            key: provider.key,
            ports: provider.ports().iter().map(|port| port.number).collect(),
            addresses: provider.addresses(&host),
            host,
        };
        if host.starts_with('*') {
            let covered = self.services.iter().filter(|(name, _)| names::covers(&host, name));
            let mut covered: Vec<_> = covered.map(|(name, provider)| reached(name.clone(), provider)).collect();
            covered.sort_unstable_by(|a, b| a.host.cmp(&b.host));
            return covered;
        }
        self.services.get(&host).map(|provider| reached(host, provider)).into_iter().collect()
    }

    /// Every service that clients inside a mesh can connect to; the oldest first.
    pub fn reached(&self) -> Vec<Reached<'a>> {
        let all = self.services.iter().filter(|(host, provider)| !provider.addresses(host).is_empty());
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(host, provider)| (provider.age, *host));
        let reached = all.into_iter().map(|(host, provider)| {
            let ports = provider.ports().iter().filter(|port| !port.is_udp).map(|port| port.number).collect();
            Reached { key: provider.key, host: host.clone(), ports, addresses: provider.addresses(host) }
        });
        reached.collect()
    }

    /// Names of the subsets that are declared for a host, as a route in `namespace` names it.
    pub fn subsets(&self, namespace: &str, host: &str) -> Vec<String> {
        let (host, provider) = self.provider(names::full_host(host, namespace));
        let service = provider.map_or(namespace, |provider| provider.key.namespace.as_str());
        let rules = self.rules.find(self.scope, service, namespace, &host);
        rules.subsets.iter().map(|subset| subset.name.clone()).collect()
    }

    /// What provides a host. A Service that stands for another host leads there, one step far.
    fn provider(&self, host: String) -> (String, Option<HostProvider<'a>>) {
        let Some(&provider) = self.services.get(&host) else {
            // Other than in Istio, where no TCP client could say the name: the route says it.
            let fitting = self.dynamic.iter().rev().filter(|(wild, _)| names::covers(wild, &host));
            let dynamic = fitting.max_by_key(|(wild, _)| wild.len()).map(|(_, provider)| *provider);
            return (host, dynamic);
        };
        if let HostProviderKind::Service(Service { external_name: Some(name), .. }) = provider.kind {
            let target = names::full_host(name, &provider.key.namespace);
            if let Some(&other) = self.services.get(&target) {
                return (target, Some(other));
            }
        }
        (host, Some(provider))
    }

    /// Each endpoint of a provider that has labels.
    fn endpoints(&self, host: &str, provider: &HostProvider<'a>, port: &Port<'_>, labels: &Labels) -> Vec<Written> {
        let resolution = match provider.kind {
            HostProviderKind::Entry(entry) => entry.resolution,
            HostProviderKind::Service(..) => Resolution::Static,
        };
        let mut located = Located::new(resolution);
        let workloads = self.workloads(provider).into_iter().filter(|workload| selects(labels, &workload.labels));
        workloads.for_each(|workload| located.add(workload, target(workload, port)));
        if provider.is_named() && labels.is_empty() {
            located.add_name(host, port.target_number.unwrap_or(port.number), 1);
        }
        if let HostProviderKind::Service(service) = provider.kind {
            let slices = self.slices.get(&(provider.key.namespace.as_str(), provider.key.name.as_str()));
            let slices = || slices.into_iter().flatten().filter(|slice| selects(labels, &slice.labels));
            let is_ready = |endpoint: &SliceEndpoint| endpoint.ready || service.publish_not_ready;
            slices().for_each(|slice| sliced(slice, port, is_ready, &mut located.endpoints));
            if located.endpoints.is_empty() {
                // As in Kubernetes (KEP-1669): those that are going away and still serve, while there are no others.
                let still_serves = |endpoint: &SliceEndpoint| endpoint.serving && endpoint.terminating;
                slices().for_each(|slice| sliced(slice, port, still_serves, &mut located.endpoints));
            }
        }
        located.endpoints
    }

    fn workloads(&self, provider: &HostProvider<'a>) -> Vec<&'a WorkloadEntry> {
        let selected = |selector| self.workloads.get(provider.key.namespace.as_str()).map(|all| all.selected(selector));
        let found = match provider.kind {
            HostProviderKind::Service(service) if service.selector.is_empty() => None,
            HostProviderKind::Service(service) => selected(&service.selector),
            HostProviderKind::Entry(entry) if matches!(entry.resolution, Resolution::None | Resolution::DynamicDns) => {
                None
            }
            HostProviderKind::Entry(entry) => match &entry.selector {
                Some(selector) => selected(selector),
                None => Some(entry.endpoints.iter().collect()),
            },
        };
        found.unwrap_or_default()
    }
}

impl<'a> Workloads<'a> {
    fn add(&mut self, workload: &'a WorkloadEntry) {
        self.all.push(workload);
        for (key, value) in &workload.labels {
            self.labelled.entry((key, value)).or_default().push(workload);
        }
    }

    /// Those that a selector selects. Only the ones with its rarest label are looked at.
    fn selected(&self, selector: &Labels) -> Vec<&'a WorkloadEntry> {
        let none = Vec::new();
        let lists =
            selector.iter().map(|(key, value)| self.labelled.get(&(key.as_str(), value.as_str())).unwrap_or(&none));
        let candidates = lists.min_by_key(|list| list.len()).unwrap_or(&self.all);
        candidates.iter().copied().filter(|workload| selects(selector, &workload.labels)).collect()
    }
}

/// The endpoints of a slice that are meant, at the slice's port that has the name of the service's.
fn sliced(
    slice: &EndpointSlice,
    port: &Port<'_>,
    is_meant: impl Fn(&SliceEndpoint) -> bool,
    endpoints: &mut Vec<Written>,
) {
    let Some(found) = slice.ports.iter().find(|found| found.name == port.name) else { return };
    let number = found.port.unwrap_or(port.number);
    let meant = slice.endpoints.iter().filter(|endpoint| is_meant(endpoint));
    let addresses = meant.flat_map(|endpoint| &endpoint.addresses).map(|ip| SocketAddr::new(*ip, number));
    endpoints.extend(addresses.map(|address| Written { at: WrittenAt::Address(address.into()), weight: 1 }));
}
