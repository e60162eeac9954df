//! Rules for `mesh`: what becomes of connections that programs of this host make to a service. They are compiled
//! as others are, and wait for a datapath that sees such connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpshift_common::listener::Rule;

use super::ways::{Ways, entrances};
use super::{Compiler, Identity};
use crate::plan::MeshListener;
use crate::route::model::{GatewayRef, RouteMatch, VirtualService, selects};
use crate::route::object::Object;

impl<'a> Compiler<'a> {
    /// The ports of services that such rules lead from, by host and port.
    pub(super) fn mesh(
        &mut self,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
        identity: &Identity,
    ) -> Vec<Arc<MeshListener>> {
        // The agent is the client: its labels and its namespace are what a match looks at.
        let fits = |block: &RouteMatch| {
            selects(&block.source_labels, &identity.labels)
                && block.source_namespace.as_ref().is_none_or(|namespace| *namespace == identity.namespace)
        };
        let mut places: BTreeMap<(String, u16), Ways> = BTreeMap::new();
        for (object, service) in services {
            let hosts = service.hosts.iter().flat_map(|host| self.lookup.catalog().hosts(&object.key.namespace, host));
            let mut ports: Vec<_> =
                hosts.flat_map(|(host, ports)| ports.into_iter().map(move |port| (host.clone(), port))).collect();
            ports.sort_unstable();
            ports.dedup();
            if ports.is_empty() {
                self.notes.push(format!("{}: no service has one of its hosts, for clients inside a mesh", object.key));
                continue;
            }
            self.notes.push(format!(
                "{}: its rules for clients inside a mesh need the connect datapath and are not served",
                object.key
            ));
            for (host, port) in ports {
                let at = format!("mesh {host}:{port}");
                let ways = places.entry((host, port)).or_default();
                for (index, rule) in service.tcp.iter().enumerate() {
                    let entrances = entrances(rule, port, &GatewayRef::Mesh, fits);
                    let blocked = ways.add(&entrances, || self.route(&at, port, object, service, index, rule));
                    if let Some(first) = blocked {
                        self.notes.push(format!(
                            "{}: tcp rule {index} is never reached at {at}: {first} comes before it",
                            object.key
                        ));
                    }
                }
            }
        }
        let listener = |((host, port), ways): ((String, u16), Ways)| {
            let Ways { mut rules, routes, .. } = ways;
            rules.sort_by_key(Rule::rank);
            let (number, addresses) = (0, Vec::new());
            (!routes.is_empty()).then(|| Arc::new(MeshListener { number, host, port, addresses, rules, routes }))
        };
        places.into_iter().filter_map(listener).collect()
    }
}
