//! What the destinations of rules lead to: resolved once for all rules that name the same.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::Resolver;
use super::memory::Freshness;
use super::route::Site;
use crate::plan::catalog::{Catalog, Resolved, Wanted};
use crate::plan::host::Scope;
use crate::plan::intent::Backend;
use crate::plan::{Limits, Unusable, levels};
use crate::route::kind::Kind;
use crate::route::model::gateway_api::{self, BackendRef, ReferenceGrant};
use crate::route::model::{Policy, RouteDestination, Spec};
use crate::route::names;
use crate::route::object::Object;

/// Where destinations are looked up. What takes long to build is built when it is first needed: few edits need it.
pub(super) struct Lookup<'a> {
    /// All but routes and Gateways, by age.
    ground: Vec<&'a Arc<Object>>,
    scope: &'a Scope,
    catalog: OnceCell<Catalog<'a>>,
    /// By namespace.
    grants: OnceCell<HashMap<&'a str, Vec<&'a ReferenceGrant>>>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(ground: Vec<&'a Arc<Object>>, scope: &'a Scope) -> Self {
        Self { ground, scope, catalog: OnceCell::new(), grants: OnceCell::new() }
    }

    pub(super) fn catalog(&self) -> &Catalog<'a> {
        self.catalog.get_or_init(|| Catalog::new(self.ground.iter().map(|object| &***object), self.scope))
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
}

impl<'a> Resolver<'a, '_> {
    /// What a destination of a VirtualService in `namespace` leads to.
    pub(super) fn backend(
        &mut self,
        Site { port: listener_port, in_mesh }: Site,
        namespace: &'a str,
        destination: &'a RouteDestination,
    ) -> Arc<Backend> {
        let RouteDestination { host, subset, port, weight: _ } = destination;
        let (namespace, host) = (Cow::Borrowed(namespace), Cow::Borrowed(host.as_str()));
        let subset = subset.as_deref().map(Cow::Borrowed);
        self.found(Wanted { namespace, host, subset, port: *port, listener_port, in_mesh })
    }

    /// What a backend of a TCPRoute leads to.
    pub(super) fn reference(&mut self, object: &'a Object, listener_port: u16, backend: &BackendRef) -> Arc<Backend> {
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
                let id = format!("{host}:{port}, refused: {unusable}");
                let resolved = Resolved { host, port, policy, limits, endpoints: Err(unusable) };
                Arc::new(made(resolved, None, id))
            }
        }
    }

    /// What is wanted, resolved in this resolution or before.
    pub(super) fn found(&mut self, mut wanted: Wanted<'a>) -> Arc<Backend> {
        if wanted.port.is_some() {
            // It plays no part then.
            wanted.listener_port = 0;
        }
        let index = if let Some(index) = self.memory.backends.index(&wanted) {
            self.is_same(index);
            index
        } else {
            let backend = Arc::new(self.resolved(&wanted));
            self.memory.backends.add(wanted.into_owned(), backend)
        };
        self.used.push(index);
        Arc::clone(&self.memory.backends.at(index).backend)
    }

    /// Whether a backend is the same as in the last resolution. It is resolved again if that is not known.
    pub(super) fn is_same(&mut self, index: usize) -> bool {
        let known = self.memory.backends.at(index);
        match known.freshness {
            Freshness::Same => return true,
            Freshness::New => return false,
            Freshness::Unused => {
                known.freshness = Freshness::Same;
                return true;
            }
            Freshness::Stale => {}
        }
        let wanted = known.wanted.clone();
        let backend = self.resolved(&wanted);
        let known = self.memory.backends.at(index);
        let same = *known.backend == backend;
        known.freshness = if same { Freshness::Same } else { Freshness::New };
        if !same {
            known.backend = Arc::new(backend);
        }
        same
    }

    fn resolved(&mut self, wanted: &Wanted<'_>) -> Backend {
        made(self.lookup.catalog().resolve(wanted), wanted.subset.as_deref(), wanted.to_string())
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
}

fn made(resolved: Resolved, subset: Option<&str>, id: String) -> Backend {
    let Resolved { host, port, policy, limits, endpoints } = resolved;
    let name = match subset {
        Some(subset) => format!("{host}:{port}/{subset}"),
        None => format!("{host}:{port}"),
    };
    let (settings, choice) = (levels::settings(&policy), policy.load_balancer.unwrap_or_default());
    let ejection = policy.outlier_detection;
    // The order of objects says nothing.
    let endpoints = endpoints.map(|mut endpoints| {
        endpoints.sort_unstable();
        endpoints
    });
    Backend { name, id, host, subset: subset.map(str::to_owned), port, settings, limits, choice, ejection, endpoints }
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
