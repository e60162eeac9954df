//! All objects with indices: hosts, gateways, DestinationRules, labels of endpoints.
//!
//! The lookups follow Istio's. Unlike those of the plan, they return the object that each answer comes from.

use std::collections::HashMap;

use super::admission::allows;
use super::beside::Beside;
use super::provider::{Provider, ProviderEndpoint, ProviderPort};
use crate::route::kind::Kind;
use crate::route::model::gateway;
use crate::route::model::{
    DestinationRule, EndpointSlice, Export, Gateway, Labels, Resolution, Spec, VirtualService, WorkloadEntry,
    WorkloadGroup, gateway_api, selects,
};
use crate::route::names;
use crate::route::object::Object;

/// DestinationRules of this namespace hold for every client that has no other.
pub(super) const ROOT_NAMESPACE: &str = "istio-system";

/// A DestinationRule and its object.
pub(super) type RuleObject<'a> = (&'a Object, &'a DestinationRule);

/// All objects together, oldest first.
#[derive(Default)]
pub(super) struct World<'a> {
    pub(super) virtual_services: Vec<(&'a Object, &'a VirtualService)>,
    pub(super) gateways: Vec<(&'a Object, &'a Gateway)>,
    pub(super) api_gateways: Vec<(&'a Object, &'a gateway_api::GatewayApiGateway)>,
    pub(super) tcp_routes: Vec<(&'a Object, &'a gateway_api::TcpRoute)>,
    pub(super) grants: Vec<(&'a Object, &'a gateway_api::ReferenceGrant)>,
    pub(super) rules: Vec<RuleObject<'a>>,
    pub(super) providers: Vec<Provider<'a>>,
    pub(super) workload_entries: Vec<(&'a Object, &'a WorkloadEntry)>,
    pub(super) workload_groups: Vec<(&'a Object, &'a WorkloadGroup)>,
    pub(super) endpoint_slices: Vec<(&'a Object, &'a EndpointSlice)>,
    pub(super) beside: Beside,
    by_host: HashMap<String, Vec<usize>>,
    /// By the first label of their hosts.
    by_label: HashMap<String, Vec<usize>>,
    wild: Vec<usize>,
    gateway_at: HashMap<(&'a str, &'a str), usize>,
    gateway_named: HashMap<&'a str, &'a Object>,
    api_gateway_at: HashMap<(&'a str, &'a str), usize>,
    rule_at: HashMap<(&'a str, String), Vec<RuleObject<'a>>>,
    rules_of: HashMap<String, Vec<RuleObject<'a>>>,
    wild_rules: HashMap<&'a str, Vec<(String, RuleObject<'a>)>>,
    labelled: HashMap<(&'a str, &'a str, &'a str), Vec<&'a WorkloadEntry>>,
    workloads: HashMap<&'a str, Vec<&'a WorkloadEntry>>,
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
}

impl<'a> World<'a> {
    /// Builds the indices.
    pub(super) fn new(objects: &[&'a Object], beside: Beside) -> Self {
        let mut world = Self { beside, ..Self::default() };
        for object in objects {
            world.add(object);
        }
        for (index, provider) in world.providers.iter().enumerate() {
            if provider.host.starts_with('*') {
                world.wild.push(index);
            }
            world.by_label.entry(first_label(&provider.host).to_owned()).or_default().push(index);
            let same = world.by_host.entry(provider.host.clone()).or_default();
            // A Service beats ServiceEntries of its host.
            if matches!(provider.object.spec, Spec::Service(_)) {
                same.insert(0, index);
            } else {
                same.push(index);
            }
        }
        world
    }

    fn add(&mut self, object: &'a Object) {
        let namespace = object.key.namespace.as_str();
        match &object.spec {
            Spec::VirtualService(service) => self.virtual_services.push((object, service)),
            Spec::Gateway(gateway) => {
                self.gateway_at.insert((namespace, object.key.name.as_str()), self.gateways.len());
                self.gateway_named.entry(&object.key.name).or_insert(object);
                self.gateways.push((object, gateway));
            }
            Spec::DestinationRule(rule) => {
                self.rules.push((object, rule));
                let host = names::full_host(&rule.host, namespace);
                self.rules_of.entry(host.clone()).or_default().push((object, rule));
                if host.starts_with('*') {
                    self.wild_rules.entry(namespace).or_default().push((host, (object, rule)));
                } else {
                    self.rule_at.entry((namespace, host)).or_default().push((object, rule));
                }
            }
            Spec::Service(service) => {
                let ports = service.ports.iter().map(|port| ProviderPort {
                    number: port.port,
                    name: &port.name,
                    target: port.target.as_ref(),
                    target_number: None,
                });
                self.providers.push(Provider {
                    object,
                    host: names::service_host(&object.key.name, namespace),
                    ports: ports.collect(),
                    external: service.external_name.is_some(),
                });
            }
            Spec::ServiceEntry(entry) => {
                for host in &entry.hosts {
                    let ports = entry.ports.iter().map(|port| ProviderPort {
                        number: port.number,
                        name: &port.name,
                        target: None,
                        target_number: port.target,
                    });
                    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                    self.providers.push(Provider { object, host, ports: ports.collect(), external: false });
                }
            }
            Spec::WorkloadEntry(workload) => {
                self.workload_entries.push((object, workload));
                self.workloads.entry(namespace).or_default().push(workload);
                for (key, value) in &workload.labels {
                    self.labelled.entry((namespace, key, value)).or_default().push(workload);
                }
            }
            Spec::EndpointSlice(slice) => {
                self.endpoint_slices.push((object, slice));
                if let Some(service) = &slice.service {
                    self.slices.entry((namespace, service)).or_default().push(slice);
                }
            }
            Spec::GatewayApiGateway(gateway) => {
                self.api_gateway_at.insert((namespace, object.key.name.as_str()), self.api_gateways.len());
                self.api_gateways.push((object, gateway));
            }
            Spec::TcpRoute(route) => self.tcp_routes.push((object, route)),
            Spec::ReferenceGrant(grant) => self.grants.push((object, grant)),
            Spec::WorkloadGroup(group) => self.workload_groups.push((object, group)),
        }
    }

    /// The providers of a host for an object of a namespace that is itself visible in `export`, the best first. The flag says
    /// that only a wildcard covers the host.
    pub(super) fn providers(&self, namespace: &str, export: &Export, host: &str) -> (Vec<&Provider<'a>>, bool) {
        let host = names::full_host(host, namespace);
        let visible = |index: &&usize| self.providers[**index].reaches(namespace, export);
        let exact: Vec<_> =
            self.by_host.get(&host).into_iter().flatten().filter(visible).map(|at| &self.providers[*at]).collect();
        if !exact.is_empty() {
            return (exact, host.starts_with('*'));
        }
        let fits = |index: &&usize| names::covers(&self.providers[**index].host, &host);
        let wild: Vec<_> = self.wild.iter().filter(visible).filter(fits).map(|index| &self.providers[*index]).collect();
        let is_wild = !wild.is_empty();
        (wild, is_wild)
    }

    /// A Service of Kubernetes.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Provider<'a>> {
        let known = self.by_host.get(&names::service_host(name, namespace))?;
        let found = known.iter().map(|at| &self.providers[*at]);
        found.into_iter().find(|provider| provider.object.key.kind == Kind::Service)
    }

    /// An object that provides a host and is not exported to everybody.
    pub(super) fn hidden(&self, namespace: &str, host: &str) -> Option<&Provider<'a>> {
        let host = names::full_host(host, namespace);
        let exact = self.by_host.get(&host).into_iter().flatten();
        let fits = |index: &&usize| names::covers(&self.providers[**index].host, &host);
        let known = exact.chain(self.wild.iter().filter(fits)).map(|at| &self.providers[*at]);
        known.into_iter().find(|provider| *provider.export() != Export::Everywhere)
    }

    /// A host that begins alike, as one of another namespace: for a cure.
    pub(super) fn similar(&self, namespace: &str, host: &str) -> Option<&Provider<'a>> {
        let wanted = names::full_host(host, namespace);
        let alike = self.by_label.get(first_label(&wanted))?;
        let visible = alike
            .iter()
            .map(|at| &self.providers[*at])
            .filter(|provider| provider.reaches(namespace, &Export::Everywhere));
        visible.into_iter().find(|provider| provider.host != wanted)
    }

    /// Any Gateway of a name: for a cure.
    pub(super) fn gateway_named(&self, name: &str) -> Option<&'a Object> {
        self.gateway_named.get(name).copied()
    }

    /// The index of the Gateway API's Gateway.
    pub(super) fn api_gateway(&self, namespace: &str, name: &str) -> Option<usize> {
        self.api_gateway_at.get(&(namespace, name)).copied()
    }

    /// The namespace of a Gateway API's Gateway of a name that takes TCPRoutes of another: for a cure.
    pub(super) fn api_gateway_for(&self, name: &str, namespace: &str) -> Option<&'a str> {
        let takes = |(object, gateway): &&(&'a Object, &'a gateway_api::GatewayApiGateway)| {
            let takes = |one| allows(one, &object.key.namespace, namespace);
            object.key.name == name && gateway.listeners.iter().any(takes)
        };
        self.api_gateways.iter().find(takes).map(|(object, _)| object.key.namespace.as_str())
    }

    /// DestinationRules of a host in every namespace.
    pub(super) fn rules_of(&self, host: &str) -> &[RuleObject<'a>] {
        self.rules_of.get(host).map(Vec::as_slice).unwrap_or_default()
    }

    /// A Gateway.
    pub(super) fn gateway(&self, namespace: &str, name: &str) -> Option<(&'a Object, &'a Gateway)> {
        self.gateway_at.get(&(namespace, name)).map(|at| self.gateways[*at])
    }

    /// DestinationRules that a client's namespace sees for a host, as they are merged.
    pub(super) fn rules_for(&self, client: &str, service: &str, host: &str) -> Vec<RuleObject<'a>> {
        let host = names::full_host(host, client);
        for namespace in [client, service, ROOT_NAMESPACE] {
            let seen = |(_, rule): &&RuleObject<'a>| namespace == client || rule.export.reaches(client);
            let exact = self.rule_at.get(&(namespace, host.clone())).into_iter().flatten();
            let exact: Vec<_> = exact.filter(seen).copied().collect();
            if !exact.is_empty() {
                return exact;
            }
            let wild = self.wild_rules.get(namespace).into_iter().flatten();
            let fitting: Vec<_> = wild.filter(|(wild, rule)| names::covers(wild, &host) && seen(&rule)).collect();
            if let Some(longest) = fitting.iter().map(|(wild, _)| wild.len()).max() {
                return fitting.into_iter().filter(|(wild, _)| wild.len() == longest).map(|(_, rule)| *rule).collect();
            }
        }
        Vec::new()
    }

    /// Endpoints of a provider; none if only clients know them, or if some are invalid.
    pub(super) fn endpoints(&self, provider: &Provider<'a>) -> Option<Vec<ProviderEndpoint<'a>>> {
        let key = &provider.object.key;
        let mut found: Vec<ProviderEndpoint<'a>> = Vec::new();
        match &provider.object.spec {
            _ if provider.external => return None,
            Spec::ServiceEntry(entry) if entry.selector.is_none() => {}
            _ if self.beside.has_endpoints(&key.namespace) => return None,
            _ => {}
        }
        match &provider.object.spec {
            Spec::Service(service) => {
                let slices = self.slices.get(&(key.namespace.as_str(), key.name.as_str()));
                found.extend(slices.into_iter().flatten().map(|slice| ProviderEndpoint::Slice(slice)));
                found.retain(|slice| matches!(slice, ProviderEndpoint::Slice(slice) if !slice.endpoints.is_empty()));
                if !service.selector.is_empty() {
                    found.extend(
                        self.selected(&key.namespace, &service.selector).into_iter().map(ProviderEndpoint::Workload),
                    );
                }
            }
            Spec::ServiceEntry(entry) => match (&entry.selector, entry.resolution) {
                (_, Resolution::None | Resolution::DynamicDns) => return None,
                (Some(selector), _) => {
                    found.extend(self.selected(&key.namespace, selector).into_iter().map(ProviderEndpoint::Workload));
                }
                (None, Resolution::Dns | Resolution::DnsRoundRobin) if entry.endpoints.is_empty() => return None,
                (None, _) => found.extend(entry.endpoints.iter().map(ProviderEndpoint::Workload)),
            },
            _ => return None,
        }
        Some(found)
    }

    /// WorkloadEntries that a selector selects. Only those with its rarest label are compared.
    pub(super) fn selected(&self, namespace: &str, selector: &Labels) -> Vec<&'a WorkloadEntry> {
        let lists = selector.iter().map(|(key, value)| {
            self.labelled.get(&(namespace, key.as_str(), value.as_str())).map(Vec::as_slice).unwrap_or_default()
        });
        let all = || self.workloads.get(namespace).map(Vec::as_slice).unwrap_or_default();
        let candidates = lists.min_by_key(|list| list.len()).unwrap_or_else(all);
        candidates.iter().copied().filter(|workload| selects(selector, &workload.labels)).collect()
    }
}

fn first_label(host: &str) -> &str {
    host.split('.').next().unwrap_or_default()
}

/// Whether a Gateway's server takes a VirtualService: one of its hosts has to be one of the server's.
pub(super) fn admits(gateway: &Object, hosts: &[String], object: &Object, service: &VirtualService) -> bool {
    gateway::admits(hosts, &gateway.key.namespace, &object.key.namespace, &service.hosts)
}
