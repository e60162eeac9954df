//! The addresses of services that are served: by an agent, or by one that would have the objects of files and could steer the
//! programs of its host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::admin::api::StatusReply;
use crate::plan::compile::{Identity, Memory, compile};
use crate::plan::{Datapath, Plan};
use crate::route::model::{Resolution, Spec};
use crate::route::object::Object;
use crate::route::read::DEFAULT_NAMESPACE;

/// Whether an agent serves a host at an address.
pub(super) fn by_agent(status: &StatusReply, host: &str, ip: IpAddr) -> bool {
    status.listeners.iter().any(|listener| {
        listener.name.rsplit_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(host))
            && listener.address.split(", ").any(|address| address.parse() == Ok(ip))
            && listener.routes.iter().any(|route| route.datapath == Datapath::Connect.name())
    })
}

/// The addresses that an agent would serve.
pub(super) struct Planned {
    plan: Plan,
    /// Hosts whose endpoints are not known before DNS is asked.
    named: HashSet<String>,
}

impl Planned {
    /// Of objects, for an agent in a namespace.
    pub(super) fn of(objects: &[Object], namespace: Option<&str>) -> Self {
        let identity = Identity {
            namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned(),
            labels: BTreeMap::new(),
            listen_addresses: Vec::new(),
            seed: 0,
            local: Vec::new(),
            room: u32::MAX,
            names: HashMap::new(),
        };
        let entries = objects.iter().filter_map(|object| match &object.spec {
            Spec::ServiceEntry(entry) => Some(entry),
            _ => None,
        });
        let asked = entries.filter(|entry| matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin));
        let named = asked.flat_map(|entry| entry.hosts.iter().cloned()).collect();
        let objects: Vec<_> = objects.iter().cloned().map(Arc::new).collect();
        Self { plan: compile(objects.iter(), &identity, &mut Memory::default(), &Plan::empty(0)), named }
    }

    /// Whether a host is served at an address.
    pub(super) fn has(&self, host: &str, ip: IpAddr) -> bool {
        let listeners = self.plan.mesh.iter().filter(|one| one.host.eq_ignore_ascii_case(host));
        let mut addresses = listeners.filter(|one| !one.routes.is_empty()).flat_map(|one| &one.addresses);
        self.named.contains(host) || addresses.any(|address| *address == ip.into())
    }
}
