//! Which destinations lead to a WorkloadEntry: those of a service that selects it, at the port where it serves that service,
//! and of a subset whose labels it has. Several entries often have one address.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::hosts::{hosts, is_for};
use super::saying;
use crate::admin::api::DestinationStatus;
use crate::cli::column::{list, plain, text};
use crate::route::kind::Kind;

/// What may lead to a WorkloadEntry.
#[derive(Debug, Default)]
pub(super) struct EntryUsers {
    /// Services and ServiceEntries that select it.
    pub(super) services: Vec<(Kind, Value)>,
    /// All DestinationRules.
    pub(super) rules: Vec<Value>,
}

impl EntryUsers {
    /// Whether a destination leads to an entry.
    pub(super) fn lead(&self, destination: &DestinationStatus, entry: &Value) -> bool {
        let (service, subset) = match destination.name.split_once('/') {
            Some((service, subset)) => (service, Some(subset)),
            None => (destination.name.as_str(), None),
        };
        let Some((host, port)) = service.rsplit_once(':') else { return false };
        let leads = |(kind, service): &(Kind, Value)| {
            let number = if *kind == Kind::Service { "/port" } else { "/number" };
            let ports = list(service, "/spec/ports");
            let port = ports.iter().find(|found| plain(found, number) == port);
            let is_host = || hosts(*kind, service).iter().any(|found| found == host);
            port.is_some_and(|port| serves(entry, port, number, &destination.addresses)) && is_host()
        };
        self.services.iter().any(leads) && subset.is_none_or(|subset| self.is_of(entry, host, subset))
    }

    /// Whether an entry has the labels of a host's subset. Rules of several namespaces may have one of this name, and which of
    /// them holds is not known here.
    fn is_of(&self, entry: &Value, host: &str, subset: &str) -> bool {
        let labels = saying::labels_of(entry, "/spec/labels");
        let rules = self.rules.iter().filter(|rule| is_for(&hosts(Kind::DestinationRule, rule), host));
        let mut subsets =
            rules.flat_map(|rule| list(rule, "/spec/subsets")).filter(|found| text(found, "/name") == Some(subset));
        subsets.any(|subset| saying::is_selected(&saying::labels_of(subset, "/labels"), &labels))
    }
}

/// Whether an entry is at one of these addresses, if it serves this port of a service.
fn serves(entry: &Value, port: &Value, number: &str, addresses: &[String]) -> bool {
    let address = plain(entry, "/spec/address");
    if address.starts_with("unix:") {
        return addresses.contains(&address);
    }
    let own = saying::labels_of(entry, "/spec/ports");
    let named = |name: &str| own.get(name).and_then(Value::as_u64);
    let target = port.pointer("/targetPort");
    let target = target.and_then(|target| target.as_u64().or_else(|| named(target.as_str()?)));
    let port =
        named(text(port, "/name").unwrap_or_default()).or(target).or(port.pointer(number).and_then(Value::as_u64));
    let ip: Option<IpAddr> = address.parse().ok();
    let is_there = |found: SocketAddr| {
        // A host name may be at any address.
        port == Some(u64::from(found.port())) && ip.is_none_or(|ip| ip.to_canonical() == found.ip().to_canonical())
    };
    addresses.iter().filter_map(|address| address.parse().ok()).any(is_there)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(version: &str, address: &str, port: u16) -> Value {
        let labels = json!({"app": "echo", "version": version});
        json!({"spec": {"address": address, "ports": {"tcp": port}, "labels": labels}})
    }

    fn destination(name: &str, address: &str) -> DestinationStatus {
        DestinationStatus {
            name: name.to_owned(),
            weight: 1,
            slots: 10_000,
            endpoints: 1,
            addresses: vec![address.to_owned()],
            by_endpoint: Vec::new(),
            unusable: None,
            opened: 0,
            opened_since_change: 0,
            achieved: None,
            active: 0,
            failed: 0,
            failures: Vec::new(),
            ended: Vec::new(),
            steered: None,
            limit: None,
            before: 0,
            bytes_sent: 0,
            bytes_received: 0,
            ready: Some(1),
            rates: crate::admin::api::RatesStatus::default(),
            last_failure: None,
        }
    }

    fn users() -> EntryUsers {
        let metadata = json!({"name": "echo", "namespace": "default"});
        let port = json!({"name": "tcp", "port": 9000});
        let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
        EntryUsers {
            services: vec![(Kind::Service, json!({"metadata": metadata, "spec": {"ports": [port]}}))],
            rules: vec![
                json!({"metadata": metadata, "spec": {"host": "echo", "subsets": [subset("v1"), subset("v2")]}}),
            ],
        }
    }

    #[test]
    fn a_destination_leads_to_the_entries_of_its_subset_at_their_ports() {
        let (users, v1) = (users(), entry("v1", "127.0.0.1", 9001));
        let leads = |name: &str, address: &str| users.lead(&destination(name, address), &v1);
        let host = "echo.default.svc.cluster.local:9000";
        assert!(leads(&format!("{host}/v1"), "127.0.0.1:9001") && leads(host, "[::ffff:127.0.0.1]:9001"));
        // Another version at the same address, another port of it, another service, another address.
        assert!(!leads(&format!("{host}/v2"), "127.0.0.1:9001"));
        assert!(!leads(&format!("{host}/v1"), "127.0.0.1:9002"));
        assert!(!leads("other.default.svc.cluster.local:9000/v1", "127.0.0.1:9001"));
        assert!(!leads("echo.default.svc.cluster.local:9009/v1", "127.0.0.1:9001"));
        assert!(!leads(&format!("{host}/v1"), "127.0.0.2:9001"));
    }

    #[test]
    fn unix_sockets_and_host_names_are_found() {
        let name = "echo.default.svc.cluster.local:9000/v1";
        let leads = |entry: &Value, address: &str| users().lead(&destination(name, address), entry);
        assert!(leads(&entry("v1", "unix:///run/echo", 9001), "unix:///run/echo"));
        assert!(!leads(&entry("v1", "unix:///run/echo", 9001), "unix:///run/other"));
        assert!(leads(&entry("v1", "v1.example.com", 9001), "10.0.0.1:9001"));
        assert!(!leads(&entry("v1", "v1.example.com", 9001), "10.0.0.1:9000"));
    }
}
