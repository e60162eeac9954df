//! The addresses of services that are served: by an agent, or by one that would have the objects of files and could steer the
//! programs of its host.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::admin::api::StatusReply;
use crate::plan::{Abilities, Datapath, Host, Plan, Planner, Scope};
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
        let scope = Scope { namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned(), ..Scope::default() };
        let abilities = Abilities { connect: Ok(()), lookup: Ok(()), room: u32::MAX };
        let host = Host { listen_addresses: Vec::new(), abilities, ..Host::new(0) };
        let entries = objects.iter().filter_map(|object| match &object.spec {
            Spec::ServiceEntry(entry) => Some(entry),
            _ => None,
        });
        let asked = entries.filter(|entry| matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin));
        let named = asked.flat_map(|entry| entry.hosts.iter().cloned()).collect();
        let objects: Vec<_> = objects.iter().cloned().map(Arc::new).collect();
        Self { plan: Planner::new(scope, host).plan(objects.iter(), &Plan::empty(0)), named }
    }

    /// Whether a host is served at an address.
    pub(super) fn has(&self, host: &str, ip: IpAddr) -> bool {
        let listeners = self.plan.mesh.iter().filter(|one| one.host.eq_ignore_ascii_case(host));
        let mut addresses = listeners.filter(|one| !one.routes.is_empty()).flat_map(|one| &one.addresses);
        self.named.contains(host) || addresses.any(|address| *address == ip.into())
    }
}
