//! Rules for `mesh`: what becomes of connections that programs of this host make to a service. They are compiled as
//! others are, once for the clients of each family that the service has an address of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Prefix, family};
use tcpshift_common::listener::Rule;

use super::lineage::Lineage;
use super::ways::{self, Ways, entrances};
use super::{Compiler, Identity};
use crate::plan::MeshListener;
use crate::route::model::{GatewayRef, RouteMatch, VirtualService, selects};
use crate::route::object::{Key, Object};

/// A port of a service that rules lead from.
struct Place<'a> {
    addresses: &'a [IpNet],
    ways: Ways,
    /// The oldest object with a rule for it, and how many places came before it.
    first: &'a Key,
    order: usize,
}

/// Families by how people call them, in the order of a plan's listeners.
const FAMILIES: [(u32, &str); 2] = [(family::V4, "IPv4"), (family::V6, "IPv6")];

impl<'a> Compiler<'a> {
    /// The ports of services that such rules lead from, by host, port and family.
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
        let mut places: BTreeMap<(String, u16), Place<'_>> = BTreeMap::new();
        for (object, service) in services {
            for (host, port, addresses) in self.ports(object, service) {
                let at = format!("mesh {host}:{port}");
                // Those of the other family have the same rules.
                let last = self.last.mesh(&host, port).first();
                let last = last.map(|last| (&*last.rules, &*last.routes)).unwrap_or_default();
                let order = places.len();
                let place = places.entry((host, port)).or_insert_with(|| Place {
                    addresses,
                    ways: Ways::default(),
                    first: &object.key,
                    order,
                });
                let all = service.tcp.iter().map(|rule| entrances(rule, port, &GatewayRef::Mesh, fits));
                self.lineage = Lineage::new(object, last, all);
                for (index, rule) in service.tcp.iter().enumerate() {
                    let entrances = entrances(rule, port, &GatewayRef::Mesh, fits);
                    let blocked = place.ways.add(&entrances, || self.route(&at, port, object, service, index, rule));
                    if let Some(first) = blocked {
                        self.notes.push(format!(
                            "{}: tcp rule {index} is never reached at {at}: {first} comes before it",
                            object.key
                        ));
                    }
                }
            }
        }
        let addresses = self.addresses(&places);
        let mut listeners = Vec::new();
        for (((host, port), place), addresses) in places.into_iter().zip(addresses) {
            let Ways { mut rules, routes, .. } = place.ways;
            rules.sort_by_key(Rule::rank);
            for (family, called) in FAMILIES {
                let addresses: Vec<Prefix> = addresses.iter().filter(|one| one.family == family).copied().collect();
                if addresses.is_empty() {
                    continue;
                }
                let at = format!("mesh {host}:{port} {called}");
                let number = self.memory.register.listeners.number(&at);
                let routes = routes.iter().map(|route| self.for_family(route, &at, family)).collect();
                let (host, rules) = (host.clone(), rules.clone());
                let listener = MeshListener { number, host, port, addresses, rules, routes };
                let last = self.last.mesh(&listener.host, port).iter().find(|last| ***last == listener);
                listeners.push(last.map_or_else(|| Arc::new(listener), Arc::clone));
            }
        }
        listeners
    }

    /// Host and port of each service that an object is for and that clients can connect to, with its addresses.
    fn ports(&mut self, object: &'a Object, service: &'a VirtualService) -> Vec<(String, u16, &'a [IpNet])> {
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
                ports.extend(one.ports.iter().map(|port| (one.host.clone(), *port, one.addresses)));
            }
        }
        if !any {
            self.notes.push(format!("{}: no service has one of its hosts, for clients inside a mesh", object.key));
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The addresses of each place, in their order: none if no route leads from there. Of two that have one address
    /// and port, the one that was named first keeps it.
    fn addresses(&mut self, places: &BTreeMap<(String, u16), Place<'_>>) -> Vec<Vec<Prefix>> {
        let mut order: Vec<_> = places.iter().enumerate().collect();
        order.sort_by_key(|(_, (_, place))| place.order);
        let mut taken: HashMap<(Prefix, u16), (&str, &Key)> = HashMap::new();
        let mut found = vec![Vec::new(); places.len()];
        for (at, ((host, port), place)) in order {
            if place.ways.routes.is_empty() {
                continue;
            }
            for address in place.addresses {
                let prefix = ways::prefix(address);
                match taken.get(&(prefix, *port)) {
                    None => {
                        taken.insert((prefix, *port), (host, place.first));
                        found[at].push(prefix);
                    }
                    // One that is written twice.
                    Some((first, _)) if first == host => {}
                    Some((first, key)) => self.notes.push(format!(
                        "{}: {address} port {port} of {host} is that of {first} too, for which {key} comes before it: \
                         connections are taken to be to {first}",
                        place.first
                    )),
                }
            }
        }
        found
    }
}
