//! What clients inside a mesh meet: the ports of services for which VirtualServices have rules, and the services that
//! clients can connect to at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::listener::RuleRow;

use super::Resolver;
use super::memory::ResolvedMesh;
use super::route::Site;
use super::ways::{Ways, entrances};
use crate::plan::catalog::Wanted;
use crate::plan::host::Scope;
use crate::plan::intent::{Backend, Digest, MeshPort, ReachedPort, ReachedService};
use crate::route::model::{GatewayRef, RouteMatch, VirtualService, selects};
use crate::route::object::{Key, Object};

/// A port of a service, while its rules are collected.
struct Collected<'a> {
    service: &'a Key,
    addresses: &'a [IpNet],
    ways: Ways,
    first: &'a Key,
    order: usize,
}

/// What is resolved: ports with rules, and services.
type Mesh = (Vec<Arc<MeshPort>>, Vec<Arc<ReachedService>>);

impl<'a> Resolver<'a, '_> {
    /// The ports of services by host and port, and the services by age.
    pub(super) fn mesh(&mut self, services: &[(&'a Arc<Object>, &'a VirtualService)], scope: &Scope) -> Mesh {
        let last = self.memory.mesh.take().filter(|last| self.memory.is_same_ground && last.is_of(services));
        let resolved = if let Some(last) = last {
            for index in &last.backends {
                // On the same ground it is the same; this keeps it.
                self.is_same(*index);
            }
            last
        } else {
            let (ports, reached) = (self.ports_with_rules(services, scope), self.reached());
            ResolvedMesh {
                services: services.iter().map(|(object, _)| Arc::clone(object)).collect(),
                backends: self.take_used(),
                ports,
                reached,
                notes: std::mem::take(&mut self.notes),
            }
        };
        self.notes.extend(resolved.notes.iter().cloned());
        let mesh = (resolved.ports.clone(), resolved.reached.clone());
        self.memory.mesh = Some(resolved);
        mesh
    }

    /// The ports that VirtualServices are for, with their rules.
    fn ports_with_rules(
        &mut self,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
        scope: &Scope,
    ) -> Vec<Arc<MeshPort>> {
        // The agent is the client: its labels and its namespace are what a match looks at.
        let fits = |block: &RouteMatch| {
            selects(&block.source_labels, &scope.labels)
                && block.source_namespace.as_ref().is_none_or(|namespace| *namespace == scope.namespace)
        };
        let mut ports: BTreeMap<(String, u16), Collected<'_>> = BTreeMap::new();
        for (object, service) in services {
            for (host, port, service_key, addresses) in self.ports(object, service) {
                let at = listener_name(&host, port);
                let site = Site { port, in_mesh: true };
                let order = ports.len();
                let ways = Ways::default();
                let collected = ports.entry((host, port)).or_insert(Collected {
                    service: service_key,
                    addresses,
                    ways,
                    first: &object.key,
                    order,
                });
                for (index, rule) in service.tcp.iter().enumerate() {
                    let entrances = entrances(rule, port, &GatewayRef::Mesh, fits);
                    let blocked = collected.ways.add(&entrances, || self.route(site, object, service, index, rule));
                    if let Some(first) = blocked {
                        self.notes.push(format!(
                            "{}: tcp rule {index} is never reached at {at}: {first} comes before it",
                            object.key
                        ));
                    }
                }
            }
        }
        let ports = ports.into_iter().map(|((host, port), collected)| {
            let Collected { service, addresses, ways: Ways { mut rules, routes, .. }, first, order } = collected;
            rules.sort_by_key(RuleRow::rank);
            let (service, addresses, first) = (service.clone(), addresses.to_vec(), first.clone());
            let digest = Digest::default();
            Arc::new(MeshPort { host, port, service, addresses, rules, routes, first, order, digest }.digested())
        });
        ports.collect()
    }

    /// Every service that clients can connect to, and what its own ports lead to.
    fn reached(&mut self) -> Vec<Arc<ReachedService>> {
        let mut services = Vec::new();
        for reached in self.lookup.catalog().reached() {
            let key = reached.key;
            let ports = reached.ports.iter().map(|port| {
                let backend = self.own_backend(key, &reached.host, *port);
                ReachedPort { port: *port, to: [(backend, 0)] }
            });
            let (ports, addresses) = (ports.collect(), reached.addresses.to_vec());
            services.push(Arc::new(ReachedService { key: key.clone(), host: reached.host, addresses, ports }));
        }
        services
    }

    /// What a port of a service leads to.
    fn own_backend(&mut self, key: &'a Key, host: &str, port: u16) -> Arc<Backend> {
        self.found(Wanted {
            namespace: Cow::Borrowed(&key.namespace),
            host: Cow::Owned(host.to_owned()),
            subset: None,
            port: Some(port),
            listener_port: port,
            in_mesh: true,
        })
    }

    /// Host and port of each service that an object is for and that clients can connect to, with its addresses.
    fn ports(&mut self, object: &'a Object, service: &'a VirtualService) -> Vec<(String, u16, &'a Key, &'a [IpNet])> {
        let (mut ports, mut any) = (Vec::new(), false);
        for host in &service.hosts {
            let reached = self.lookup.catalog().hosts(&object.key.namespace, host);
            any |= reached.iter().any(|one| !one.ports.is_empty());
            if !reached.is_empty() && reached.iter().all(|one| one.addresses.is_empty()) {
                self.notes.push(format!(
                    "{}: no client inside a mesh can connect to {host}, which has no address; add `addresses` to its \
                     ServiceEntry, or `clusterIP` to the Service",
                    object.key
                ));
            }
            for one in reached.into_iter().filter(|one| !one.addresses.is_empty()) {
                ports.extend(one.ports.iter().map(|port| (one.host.clone(), *port, one.key, one.addresses)));
            }
        }
        if !any {
            self.notes.push(format!("{}: no service has one of its hosts, for clients inside a mesh", object.key));
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// A port of a service, in words.
fn listener_name(host: &str, port: u16) -> String {
    format!("mesh {host}:{port}")
}
