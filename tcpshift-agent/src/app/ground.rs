//! What the choice of datapaths stands on: what this host can do, its addresses, and who listens at them. It changes
//! without any object changing, and then a new plan follows.
//!
//! It carries what the kernel and the host say to the plan's choice, and chooses nothing itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tcpshift_common::address::Prefix;

use super::App;
use crate::host::addresses::Addresses;
use crate::kernel;
use crate::plan::choice::{Ground, Presence, choose};
use crate::plan::{Datapath, EndpointAddress, Plan, Route, Wish};

/// How long names of endpoints are waited for before the plan of an agent that is gone ends.
const PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// Chooses how connections of a plan's routes reach their endpoints.
    pub(super) fn choose(&self, plan: &mut Plan) {
        let steers = || self.assignment.steers().map_err(str::to_owned);
        let listening = self.assignment.listening();
        let presence = |at: SocketAddr| match listening.map(|listening| listening.presence(at)) {
            Some(kernel::EndpointPresence::Fit) => Presence::Listening,
            Some(kernel::EndpointPresence::Unfit(why)) => Presence::Unfit(why.to_owned()),
            Some(kernel::EndpointPresence::Nobody) | None => Presence::Silent,
        };
        let is_local = |ip: IpAddr| self.addresses.last().contains(ip);
        let ground = Ground { connect: steers(), lookup: steers(), is_local: &is_local, presence: &presence };
        plan.datapaths = choose(plan, &self.plan.borrow(), &ground);
        let ports = plan.connect_ports();
        let is_entrance = |address: SocketAddr| address.ip().is_unspecified() && ports.contains(&address.port());
        let has_entrance = plan.listeners.iter().any(|listener| is_entrance(listener.address));
        plan.local = if has_entrance { entrances(self.addresses.last()) } else { Vec::new() };
    }

    /// Has the kernel keep the sockets that a plan's connections may be handed to.
    pub(super) fn want(&mut self, plan: &Plan) {
        let endpoints = self.own_endpoints(plan);
        if let Some(listening) = self.assignment.listening_mut()
            && let Err(error) = listening.want(endpoints)
        {
            log::warn!("listening sockets cannot be looked at: {error}");
        }
    }

    /// Has the kernel keep no others than those of a plan that is in force.
    pub(super) fn narrow(&mut self, plan: &Plan) {
        let endpoints = self.own_endpoints(plan);
        let is_lookup = |route: &Arc<Route>| plan.datapath(route).0 == Some(Datapath::Lookup);
        let listeners = plan.listeners.iter().filter(|listener| listener.routes.iter().any(is_lookup));
        let listeners = listeners.map(|listener| listener.address.port()).collect();
        if let Some(listening) = self.assignment.listening_mut()
            && let Err(error) = listening.narrow(endpoints, listeners)
        {
            log::warn!("the kernel looks at endpoints and ports that are not served any more: {error}");
        }
    }

    /// Endpoints of this host whose connections may be handed over.
    fn own_endpoints(&self, plan: &Plan) -> BTreeSet<SocketAddr> {
        let routes = plan.listeners.iter().flat_map(|listener| &listener.routes);
        let routes = routes.filter(|route| matches!(route.asked, Wish::Auto | Wish::Lookup));
        let endpoints = routes.flat_map(|route| &route.destinations).flat_map(|destination| &*destination.endpoints);
        endpoints
            .filter_map(|endpoint| match &endpoint.address {
                EndpointAddress::Tcp(address) if self.addresses.last().contains(address.ip()) => Some(*address),
                _ => None,
            })
            .collect()
    }

    /// Lets go of what an agent before has left in the kernel, once the plan in force has all it needs: until names of
    /// endpoints are known, the other's plan serves them.
    pub(super) fn settle(&mut self) {
        let plan = self.plan.borrow();
        let knows_all = plan.names.iter().all(|name| self.identity.names.contains_key(name));
        let may = knows_all || self.started.elapsed() > PATIENCE;
        drop(plan);
        if may {
            self.assignment.settle();
        }
    }

    /// Whether connections can be steered now that could not when the last plan was compiled, or the other way round.
    pub(super) fn abilities_changed(&self) -> bool {
        self.assignment.steers().is_ok() != self.could_steer
    }

    /// Looks what has changed on the host, and follows it.
    pub(super) async fn tend(&mut self) {
        let have_moved = self.addresses.look();
        if have_moved {
            self.identity.local = self.addresses.last().networks().collect();
        }
        let looked = self.assignment.listening_mut().map_or(Ok(false), kernel::EndpointListeners::look);
        let have_changed = looked.unwrap_or_else(|error| {
            log::warn!("listening sockets cannot be looked at: {error}");
            false
        });
        let plan = Arc::clone(&self.plan.borrow());
        self.assignment.retry(&plan);
        self.settle();
        if have_moved || have_changed || self.abilities_changed() {
            self.follow(self.store.clone()).await;
        }
    }
}

/// Where this host's own programs reach a listener at every address.
fn entrances(addresses: &Addresses) -> Vec<Prefix> {
    let prefix = |network: IpNet| {
        let bits = network.prefix_len().into();
        match network.network() {
            IpAddr::V4(ip) => Prefix::v4(ip.octets(), bits),
            IpAddr::V6(ip) => Prefix::v6(ip.octets(), bits),
        }
    };
    addresses.networks().map(prefix).collect()
}
