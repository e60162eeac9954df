//! Endpoints of this host that an intent leads to, and whose connections may be handed over.
//!
//! What a port of a Gateway leads to is looked at once: an edit comes with a few other ports, and not with thousands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::plan::intent::{GatewayPort, Intent, WrittenAt};
use crate::plan::sets::states::ResolvedNames;
use crate::plan::{EndpointAddress, Host, Wish};

/// Ports that were looked at.
#[derive(Debug, Default)]
pub(super) struct OwnEndpoints {
    /// Addresses of this host when they were.
    networks: Vec<IpNet>,
    /// By address of the value, which is held, so that no other one has it.
    ports: HashMap<usize, Port>,
}

#[derive(Debug)]
struct Port {
    of: Arc<GatewayPort>,
    /// Those of this host.
    addresses: Vec<SocketAddr>,
    /// Any of them may come to have addresses of this host.
    names: Vec<(String, u16)>,
}

impl Port {
    fn new(port: &Arc<GatewayPort>, host: &Host) -> Self {
        let routes = port.routes.iter().filter(|route| matches!(route.asked, Wish::Auto | Wish::Lookup));
        // Routes share most of their backends.
        let mut met = HashSet::new();
        let backends = routes.flat_map(|route| &route.destinations).map(|(backend, _)| backend);
        let backends = backends.filter(|backend| met.insert(Arc::as_ptr(backend)));
        let (mut addresses, mut names) = (Vec::new(), Vec::new());
        for written in backends.flat_map(|backend| backend.endpoints.iter().flatten()) {
            match &written.at {
                WrittenAt::Address(EndpointAddress::Tcp(address)) if host.is_local(address.ip()) => {
                    addresses.push(*address);
                }
                WrittenAt::Address(_) => {}
                WrittenAt::Name { name, port, .. } => names.push((name.clone(), *port)),
            }
        }
        Self { of: Arc::clone(port), addresses, names }
    }
}

impl OwnEndpoints {
    /// Those of an intent, by what names stand for.
    pub(super) fn of(&mut self, intent: &Intent, host: &Host, answers: &ResolvedNames) -> BTreeSet<SocketAddr> {
        let mut last = std::mem::take(&mut self.ports);
        if self.networks != host.networks {
            self.networks.clone_from(&host.networks);
            last.clear();
        }
        let mut found = BTreeSet::new();
        for port in &intent.gateways {
            let at = Arc::as_ptr(port) as usize;
            let known = last.remove(&at).unwrap_or_else(|| Port::new(port, host));
            found.extend(&known.addresses);
            for (name, port) in &known.names {
                let addresses = answers.get(name).into_iter().flatten().filter(|ip| host.is_local(**ip));
                found.extend(addresses.map(|ip| SocketAddr::new(*ip, *port)));
            }
            debug_assert!(Arc::ptr_eq(&known.of, port), "the value is held");
            self.ports.insert(at, known);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Planner, Scope};
    use crate::route::read::{Document, ReadDocument, read_all};
    use crate::route::store::Store;

    /// The intent of a Gateway whose route leads to an address and to a name.
    fn intent(planner: &mut Planner, address: &str) -> Intent {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gate}}\nspec: {{servers: [\
             {{port: {{number: 9000, name: tcp, protocol: TCP}}, hosts: ['*']}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: echo}}\nspec: {{\
             hosts: [echo.example.com], ports: [{{number: 9001, name: tcp, protocol: TCP}}], resolution: DNS, \
             endpoints: [{{address: {address}}}, {{address: name.example.com}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: echo}}\nspec: {{hosts: ['*'], \
             gateways: [gate], tcp: [{{route: [{{destination: {{host: echo.example.com}}}}]}}]}}\n"
        );
        let (entries, problems) = read_all(&[Document { name: "all.yaml".to_owned(), text }], None);
        let objects = entries.into_iter().map(|entry| match entry {
            ReadDocument::Valid(object) => *object,
            _ => panic!("{problems:?}"),
        });
        let mut store = Store::default();
        store.apply(objects.collect(), jiff::Timestamp::UNIX_EPOCH).unwrap();
        planner.resolve(store.iter())
    }

    #[test]
    fn those_of_this_host_are_found_again_when_something_changes() {
        let mut planner = Planner::new(Scope { namespace: "default".to_owned(), ..Scope::default() }, Host::new(1));
        let (mut own, mut host) = (OwnEndpoints::default(), Host::new(1));
        let mut answers = ResolvedNames::new();
        let at = |all: &[&str]| all.iter().map(|at| at.parse().unwrap()).collect::<BTreeSet<SocketAddr>>();
        let first = intent(&mut planner, "127.0.0.1");
        assert_eq!(own.of(&first, &host, &answers), at(&["127.0.0.1:9001"]));
        answers.insert("name.example.com".to_owned(), vec!["127.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
        assert_eq!(own.of(&first, &host, &answers), at(&["127.0.0.1:9001", "127.0.0.2:9001"]));
        host.networks.push("10.0.0.1/32".parse().unwrap());
        assert_eq!(own.of(&first, &host, &answers), at(&["127.0.0.1:9001", "127.0.0.2:9001", "10.0.0.1:9001"]));
        let second = intent(&mut planner, "192.0.2.1");
        assert_eq!(own.of(&second, &host, &answers), at(&["127.0.0.2:9001", "10.0.0.1:9001"]));
    }
}
