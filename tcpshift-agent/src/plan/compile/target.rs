//! What the destinations of rules lead to: found once for all rules that name the same, with the endpoints
//! numbered and weighed.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::destination;

use super::memory::{Known, State};
use super::rule::Site;
use super::{Compiler, Identity};
use crate::plan::catalog::{Catalog, Resolved, Wanted};
use crate::plan::hashing::Shelf;
use crate::plan::{
    Destination, Endpoint, EndpointAddress, HashTable, Limits, Plan, Settings, Unusable, endpoints, levels,
};
use crate::route::kind::Kind;
use crate::route::model::gateway_api::{self, BackendRef, ReferenceGrant};
use crate::route::model::{Policy, RouteDestination, Spec};
use crate::route::names;
use crate::route::object::Object;

/// Where destinations are looked up. What takes long to build is built when it is first needed: few edits do.
pub(super) struct Lookup<'a> {
    /// All but routes and Gateways, by age.
    ground: Vec<&'a Arc<Object>>,
    identity: &'a Identity,
    /// What is listened on.
    own: BTreeSet<SocketAddr>,
    catalog: OnceCell<Catalog<'a>>,
    /// By namespace.
    grants: OnceCell<HashMap<&'a str, Vec<&'a ReferenceGrant>>>,
    shelf: Option<Shelf>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(ground: Vec<&'a Arc<Object>>, own: BTreeSet<SocketAddr>, identity: &'a Identity) -> Self {
        Self { ground, identity, own, catalog: OnceCell::new(), grants: OnceCell::new(), shelf: None }
    }

    pub(super) fn catalog(&self) -> &Catalog<'a> {
        self.catalog.get_or_init(|| Catalog::new(self.ground.iter().map(|object| &***object), self.identity))
    }

    fn grants(&self, namespace: &str) -> &[&'a ReferenceGrant] {
        let grants = self.grants.get_or_init(|| {
            let mut grants: HashMap<&str, Vec<&ReferenceGrant>> = HashMap::new();
            for object in &self.ground {
                if let Spec::ReferenceGrant(grant) = &object.spec {
                    grants.entry(&object.key.namespace).or_default().push(grant);
                }
            }
            grants
        });
        grants.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Tables from a client's hash to an endpoint that are there already.
    pub(super) fn shelf(&mut self, last: &Plan) -> &mut Shelf {
        self.shelf.get_or_insert_with(|| Shelf::of(last))
    }

    /// Whether this agent listens at an address.
    fn is_own(&self, address: SocketAddr) -> bool {
        let at = |ip: IpAddr| self.own.contains(&SocketAddr::new(ip, address.port()));
        let everywhere = at(Ipv6Addr::UNSPECIFIED.into()) || (address.is_ipv4() && at(Ipv4Addr::UNSPECIFIED.into()));
        at(address.ip()) || (everywhere && self.identity.is_local(address.ip()))
    }
}

/// A destination but for its number and its weight, which are those of a route.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `host:port` or `host:port/subset`
    pub name: String,
    /// Of a route whose first destination it is.
    pub limits: Limits,
    /// Host names that it depends on, in lower case.
    pub names: Vec<String>,
    host: String,
    subset: Option<String>,
    port: u16,
    /// Stable number of the three.
    pub number: u32,
    settings: Settings,
    /// Why nothing can be served, where that is so.
    pub unusable: Option<Unusable>,
    decides: destination::DestinationFacts,
    endpoints: Arc<[Endpoint]>,
    hashing: Option<HashTable>,
}

impl Target {
    /// How many endpoints it has.
    pub(super) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// As a destination of a route.
    pub(super) fn destination(&self, number: u32, weight: u64, slots: u32) -> Destination {
        Destination {
            name: self.name.clone(),
            host: self.host.clone(),
            subset: self.subset.clone(),
            port: self.port,
            target: self.number,
            weight,
            slots,
            settings: self.settings,
            unusable: self.unusable.clone(),
            decides: destination::DestinationFacts { number, ..self.decides },
            endpoints: Arc::clone(&self.endpoints),
            hashing: self.hashing.clone(),
        }
    }

    /// Whether a destination leads here, and as it is now.
    pub(super) fn is_of(&self, destination: &Destination) -> bool {
        let decides = destination::DestinationFacts { number: destination.decides.number, ..self.decides };
        self.name == destination.name
            && self.number == destination.target
            && self.settings == destination.settings
            && self.unusable == destination.unusable
            && decides == destination.decides
            && self.endpoints == destination.endpoints
            && self.hashing == destination.hashing
    }
}

impl<'a> Compiler<'a> {
    /// What a destination of a VirtualService in `namespace` leads to.
    pub(super) fn target(
        &mut self,
        Site { at: _, port: listener_port, in_mesh }: Site<'_>,
        namespace: &'a str,
        destination: &'a RouteDestination,
    ) -> Arc<Target> {
        let RouteDestination { host, subset, port, weight: _ } = destination;
        let (namespace, host) = (Cow::Borrowed(namespace), Cow::Borrowed(host.as_str()));
        let subset = subset.as_deref().map(Cow::Borrowed);
        self.found(Wanted { namespace, host, subset, port: *port, listener_port, in_mesh })
    }

    /// What a backend of a TCPRoute leads to.
    pub(super) fn backend(&mut self, object: &'a Object, listener_port: u16, backend: &BackendRef) -> Arc<Target> {
        let BackendRef { kind, namespace, name, port, .. } = backend;
        let host = names::service_host(name, namespace);
        match self.refused(object, backend) {
            None => {
                let (namespace, host) = (Cow::Borrowed(object.key.namespace.as_str()), Cow::Owned(host));
                let in_mesh = false;
                self.found(Wanted { namespace, host, subset: None, port: *port, listener_port, in_mesh })
            }
            Some(unusable) => {
                // A name that no service has.
                let host = if unusable == Unusable::NoService { format!("{name}.{namespace}.{kind}") } else { host };
                let port = port.unwrap_or(listener_port);
                let (policy, limits) = (Policy::default(), Limits::default());
                let resolved = Resolved { host, port, policy, limits, endpoints: Err(unusable), names: Vec::new() };
                Arc::new(self.numbered(resolved, None))
            }
        }
    }

    pub(super) fn found(&mut self, wanted: Wanted<'a>) -> Arc<Target> {
        let place = if let Some(place) = self.memory.targets.place(&wanted) {
            self.is_same(place);
            place
        } else {
            let target = Arc::new(self.resolved(&wanted));
            self.memory.targets.add(wanted.into_owned(), target)
        };
        self.used.push(place);
        Arc::clone(&self.memory.targets.at(place).target)
    }

    /// Whether a target is the same as in the last compilation. It is found again if that is not known.
    pub(super) fn is_same(&mut self, place: usize) -> bool {
        let known = self.memory.targets.at(place);
        match known.state {
            State::Same => return true,
            State::New => return false,
            State::Unused => {
                known.state = State::Same;
                self.memory.register.targets.keep(known.target.number);
                let endpoints = known.target.endpoints.iter();
                endpoints.for_each(|endpoint| self.memory.register.endpoints.keep(endpoint.decides.number));
                return true;
            }
            State::Stale => {}
        }
        let wanted = known.wanted.clone();
        let target = self.resolved(&wanted);
        let known = self.memory.targets.at(place);
        let same = *known.target == target;
        if same {
            known.state = State::Same;
        } else {
            *known = Known { wanted, target: Arc::new(target), state: State::New };
        }
        same
    }

    fn resolved(&mut self, wanted: &Wanted<'_>) -> Target {
        let resolved = self.lookup.catalog().resolve(wanted);
        self.numbered(resolved, wanted.subset.as_deref())
    }

    /// Why a backend cannot be used, whatever it leads to.
    fn refused(&self, object: &Object, backend: &BackendRef) -> Option<Unusable> {
        if !backend.group.is_empty() || backend.kind != Kind::Service.name() {
            return Some(Unusable::NoService);
        }
        let namespace = &object.key.namespace;
        let mut grants = self.lookup.grants(&backend.namespace).iter();
        let granted = backend.namespace == *namespace || grants.any(|grant| grants_service(grant, namespace, backend));
        (!granted).then_some(Unusable::NotGranted)
    }

    /// Gives numbers to the endpoints that were found, and weighs them.
    fn numbered(&mut self, resolved: Resolved, subset: Option<&str>) -> Target {
        let Resolved { host, port, policy, limits, endpoints, names } = resolved;
        let name = match subset {
            Some(subset) => format!("{host}:{port}/{subset}"),
            None => format!("{host}:{port}"),
        };
        let (endpoints, unusable) = match endpoints {
            Ok(mut endpoints) => {
                endpoints.retain(
                    |(address, _)| !matches!(address, EndpointAddress::Tcp(address) if self.lookup.is_own(*address)),
                );
                let unusable = endpoints.is_empty().then_some(Unusable::OwnListener);
                (endpoints, unusable)
            }
            Err(unusable) => (Vec::new(), Some(unusable)),
        };
        let choice = policy.load_balancer.unwrap_or_default();
        let tables = self.lookup.shelf(self.last);
        let (decides, endpoints, hashing) = endpoints::weigh(choice, endpoints, tables, |address| {
            self.memory.register.endpoints.number(&format!("{host}:{port}@{address}"))
        });
        let number = self.memory.register.targets.number(&name);
        let subset = subset.map(str::to_owned);
        let (settings, endpoints) = (levels::settings(&policy), Arc::from(endpoints));
        Target { name, limits, names, host, subset, port, number, settings, unusable, decides, endpoints, hashing }
    }
}

/// Whether a grant lets routes of a namespace refer to a Service in the grant's.
fn grants_service(grant: &ReferenceGrant, namespace: &str, backend: &BackendRef) -> bool {
    let from = grant.from.iter().any(|from| {
        from.group == gateway_api::GROUP && from.kind == Kind::TcpRoute.name() && from.namespace == namespace
    });
    let to = grant.to.iter().any(|to| {
        to.group.is_empty()
            && to.kind == Kind::Service.name()
            && to.name.as_ref().is_none_or(|name| *name == backend.name)
    });
    from && to
}
