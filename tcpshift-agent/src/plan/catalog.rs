//! The services there are: finds the port, the subset and the endpoints that a route's destination means.
//!
//! Lookups are those of Istio: short names belong to the namespace of the route, DestinationRules are looked
//! for in that namespace, then in the service's, then in `istio-system`; several for one host are merged, the
//! oldest first.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{EndpointAddress, Unusable};
use crate::route::model::{
    DestinationRule, HashAlgorithm, Labels, LoadBalancer, Policy, Resolution, RouteDestination, Service, ServiceEntry,
    Spec, Subset, TargetPort, WorkloadAddress, WorkloadEntry, selects,
};
use crate::route::names;
use crate::route::object::Object;

const ROOT_NAMESPACE: &str = "istio-system";
const DOMAIN: &str = "svc.cluster.local";

/// What a route's destination means.
#[derive(Debug)]
pub struct Resolved {
    /// Full host name.
    pub host: String,
    /// Port of the service.
    pub port: u16,
    /// How endpoints are chosen.
    pub policy: LoadBalancer,
    /// Address and weight of each endpoint, or why there is none.
    pub endpoints: Result<Vec<(EndpointAddress, u32)>, Unusable>,
}

/// Services, endpoints and policies by name. Built from objects sorted by age.
#[derive(Debug, Default)]
pub struct Catalog<'a> {
    services: HashMap<String, Provider<'a>>,
    /// By namespace.
    workloads: HashMap<&'a str, Workloads<'a>>,
    /// By namespace, a slash and the full host.
    rules: HashMap<String, Vec<&'a DestinationRule>>,
    /// By namespace: hosts with a wildcard, and their rules.
    wild_rules: HashMap<&'a str, BTreeMap<String, Vec<&'a DestinationRule>>>,
}

/// The endpoints of a namespace.
#[derive(Debug, Default)]
struct Workloads<'a> {
    all: Vec<&'a WorkloadEntry>,
    /// By key and value of each of their labels.
    labelled: HashMap<(&'a str, &'a str), Vec<&'a WorkloadEntry>>,
}

/// What provides a host.
#[derive(Clone, Copy, Debug)]
struct Provider<'a> {
    namespace: &'a str,
    kind: ProviderKind<'a>,
}

#[derive(Clone, Copy, Debug)]
enum ProviderKind<'a> {
    Service(&'a Service),
    Entry(&'a ServiceEntry),
}

/// A port of a provider.
struct Port<'a> {
    number: u16,
    name: &'a str,
    target: Option<&'a TargetPort>,
    target_number: Option<u16>,
}

impl<'a> Catalog<'a> {
    /// Sorts objects into what can be looked up.
    pub fn new(objects: &[&'a Object]) -> Self {
        let mut catalog = Self::default();
        for object in objects {
            let namespace = object.key.namespace.as_str();
            match &object.spec {
                // A Service beats a ServiceEntry of the same host, which only adds to it in Istio.
                Spec::Service(service) => {
                    let host = format!("{}.{namespace}.{DOMAIN}", object.key.name);
                    catalog.services.insert(host, Provider { namespace, kind: ProviderKind::Service(service) });
                }
                Spec::ServiceEntry(entry) => {
                    for host in &entry.hosts {
                        let provider = Provider { namespace, kind: ProviderKind::Entry(entry) };
                        catalog.services.entry(host.to_ascii_lowercase()).or_insert(provider);
                    }
                }
                Spec::WorkloadEntry(workload) => catalog.workloads.entry(namespace).or_default().add(workload),
                Spec::DestinationRule(rule) if rule.host.starts_with('*') => {
                    let hosts = catalog.wild_rules.entry(namespace).or_default();
                    hosts.entry(rule.host.to_ascii_lowercase()).or_default().push(rule);
                }
                Spec::DestinationRule(rule) => {
                    let host = full_host(&rule.host, namespace);
                    catalog.rules.entry(format!("{namespace}/{host}")).or_default().push(rule);
                }
                Spec::VirtualService(_)
                | Spec::Gateway(_)
                | Spec::WorkloadGroup(_)
                | Spec::EndpointSlice(_)
                | Spec::GatewayApiGateway(_)
                | Spec::TcpRoute(_)
                | Spec::ReferenceGrant(_) => {}
            }
        }
        catalog
    }

    /// What a destination of a route in `namespace` means at a listener with `listener_port`.
    pub fn resolve(&self, namespace: &str, listener_port: u16, wanted: &RouteDestination) -> Resolved {
        let host = full_host(&wanted.host, namespace);
        let port = wanted.port.unwrap_or(listener_port);
        let mut resolved =
            Resolved { host, port, policy: LoadBalancer::default(), endpoints: Err(Unusable::UnknownHost) };
        let Some(provider) = self.services.get(&resolved.host) else { return resolved };
        let ports = provider.ports();
        let found = match (wanted.port, ports.as_slice()) {
            // Without a port in the route: the only one, else the listener's.
            (None, [only]) => Some(only),
            _ => ports.iter().find(|found| found.number == port),
        };
        let Some(found) = found else {
            resolved.endpoints = Err(Unusable::UnknownPort);
            return resolved;
        };
        resolved.port = found.number;
        let rules = self.rules(namespace, provider.namespace, &resolved.host);
        let subset = match &wanted.subset {
            None => None,
            Some(name) => {
                let Some(subset) = rules.iter().flat_map(|rule| &rule.subsets).find(|subset| subset.name == *name)
                else {
                    resolved.endpoints = Err(Unusable::UnknownSubset);
                    return resolved;
                };
                Some(subset)
            }
        };
        let base = rules.iter().find_map(|rule| rule.policy.as_ref());
        let balancer = load_balancer(base, subset, found.number);
        resolved.policy = balancer.or(provider.affinity()).unwrap_or_default();
        let none = Labels::new();
        let labels = subset.map_or(&none, |subset| &subset.labels);
        let endpoints: Vec<_> = self
            .workloads(provider)
            .into_iter()
            .filter(|workload| selects(labels, &workload.labels))
            .filter_map(|workload| endpoint(workload, found))
            .collect();
        resolved.endpoints = if endpoints.is_empty() { Err(Unusable::NoEndpoint) } else { Ok(endpoints) };
        resolved
    }

    /// Names of the subsets that are declared for a host, as a route in `namespace` names it.
    pub fn subsets(&self, namespace: &str, host: &str) -> Vec<String> {
        let host = full_host(host, namespace);
        let service = self.services.get(&host).map_or(namespace, |provider| provider.namespace);
        let rules = self.rules(namespace, service, &host).iter();
        rules.flat_map(|rule| &rule.subsets).map(|subset| subset.name.clone()).collect()
    }

    /// DestinationRules for a host, as they are merged.
    fn rules(&self, client: &str, service: &str, host: &str) -> &[&'a DestinationRule] {
        for namespace in [client, service, ROOT_NAMESPACE] {
            if let Some(rules) = self.rules.get(&format!("{namespace}/{host}")) {
                return rules;
            }
            let wild = self.wild_rules.get(namespace).into_iter().flatten();
            let fitting = wild.filter(|(wild, _)| names::covers(wild, host));
            if let Some((_, rules)) = fitting.max_by_key(|(wild, _)| wild.len()) {
                return rules;
            }
        }
        &[]
    }

    fn workloads(&self, provider: &Provider<'a>) -> Vec<&'a WorkloadEntry> {
        let selected = |selector| self.workloads.get(provider.namespace).map(|all| all.selected(selector));
        let found = match provider.kind {
            ProviderKind::Service(service) if service.selector.is_empty() => None,
            ProviderKind::Service(service) => selected(&service.selector),
            ProviderKind::Entry(entry) if entry.resolution == Resolution::None => None,
            ProviderKind::Entry(entry) => match &entry.selector {
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

impl<'a> Provider<'a> {
    /// How endpoints are chosen where no DestinationRule says it: `sessionAffinity: ClientIP` keeps a client's.
    fn affinity(&self) -> Option<LoadBalancer> {
        let ProviderKind::Service(Service { session_affinity: Some(_), .. }) = self.kind else { return None };
        Some(LoadBalancer::SourceHash(HashAlgorithm::Ring { places: 1 }))
    }

    fn ports(&self) -> Vec<Port<'a>> {
        match self.kind {
            ProviderKind::Service(service) => {
                let ports = service.ports.iter();
                ports
                    .map(|port| Port {
                        number: port.port,
                        name: &port.name,
                        target: port.target.as_ref(),
                        target_number: None,
                    })
                    .collect()
            }
            ProviderKind::Entry(entry) => {
                let ports = entry.ports.iter();
                ports
                    .map(|port| Port {
                        number: port.number,
                        name: &port.name,
                        target: None,
                        target_number: port.target,
                    })
                    .collect()
            }
        }
    }
}

/// The endpoint's own port of that name, then the service's target port, then the service's port.
fn endpoint(workload: &WorkloadEntry, port: &Port<'_>) -> Option<(EndpointAddress, u32)> {
    let ip = match &workload.address {
        WorkloadAddress::Ip(ip) => *ip,
        WorkloadAddress::Unix(path) => return Some((EndpointAddress::Unix(Arc::from(path.as_str())), workload.weight)),
        WorkloadAddress::Host(_) | WorkloadAddress::Network => return None,
    };
    let target = match port.target {
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => workload.ports.get(name).copied(),
        None => port.target_number,
    };
    let port = workload.ports.get(port.name).copied().or(target).unwrap_or(port.number);
    Some((SocketAddr::new(ip, port).into(), workload.weight))
}

/// How endpoints are chosen: a subset's policy replaces the host's block by block, and a port's policy
/// replaces the one around it as a whole.
fn load_balancer(base: Option<&Policy>, subset: Option<&Subset>, port: u16) -> Option<LoadBalancer> {
    let base = base.and_then(|policy| policy.at(port).load_balancer);
    let Some(policy) = subset.and_then(|subset| subset.policy.as_ref()) else { return base };
    let own = policy.at(port);
    if std::ptr::eq(own, policy) { own.load_balancer.or(base) } else { own.load_balancer }
}

/// A short name belongs to the namespace of the object that uses it.
fn full_host(host: &str, namespace: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.contains('.') || host.starts_with('*') { host } else { format!("{host}.{namespace}.{DOMAIN}") }
}
