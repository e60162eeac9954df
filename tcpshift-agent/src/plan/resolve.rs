//! From objects to an [`Intent`]: which ports are opened, which rules lead to which routes, and what their destinations
//! lead to.
//!
//! References are followed as Istio does at a gateway. A reference to what does not exist is no error: that share is
//! marked as unusable, with the reason.

mod backend;
mod bound;
mod memory;
mod mesh;
mod route;
mod ways;

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::address::Prefix;
use tcpshift_common::listener::RuleRow;

use self::backend::Lookup;
use self::bound::Opening;
pub use self::memory::ResolutionMemory;
use self::memory::ResolvedPort;
use self::route::Site;
use self::ways::{Ways, entrances};
use super::host::Scope;
use super::intent::{Backend, Digest, GatewayPort, Intent, RouteIntent};
use crate::route::model::gateway::Protocol;
use crate::route::model::{GatewayRef, Server, Spec, VirtualService, gateway_api};
use crate::route::object::{Key, Object};

pub(super) use self::ways::{PrefixKey, key, prefix};

/// Resolves objects. Without a memory the same comes out.
pub fn resolve<'a>(
    objects: impl Iterator<Item = &'a Arc<Object>>,
    scope: &Scope,
    memory: &mut ResolutionMemory,
) -> Intent {
    let mut objects: Vec<&Arc<Object>> = objects.collect();
    objects.sort_by(|a, b| a.age().cmp(&b.age()));
    let mut notes = Vec::new();
    let openings = bound::openings(&objects, scope, &mut notes);
    let bound = bound::bind(&objects, scope, &mut notes);
    objects.retain(|object| is_ground(&object.spec));
    memory.begin(objects.iter().copied().map(Arc::clone).collect(), scope);
    let mut last = std::mem::take(&mut memory.ports);
    let mut resolver = Resolver { memory, lookup: Lookup::new(objects, scope), used: Vec::new(), notes: Vec::new() };
    let mut gateways = Vec::new();
    let mut indices: HashMap<&Key, usize> = HashMap::new();
    for (gateway, opening) in openings {
        let index = indices.entry(&gateway.key).and_modify(|index| *index += 1).or_default();
        let name = (gateway.key.namespace.as_str(), gateway.key.name.as_str());
        gateways.push(match opening {
            Opening::Server(server) => {
                let services = bound.services.get(&name).map(|services| services.at(server.port)).unwrap_or_default();
                resolver.server((gateway, *index), server, &services, last.remove(&(gateway.key.clone(), *index)))
            }
            Opening::Listener(listener) => {
                let attached = bound.routes.get(&name).into_iter().flatten();
                let attached = attached.filter(|(object, route)| bound::attaches(gateway, listener, object, route));
                let (rules, routes) =
                    resolver.tcp_routes(listener.port, attached.map(|(object, route)| (&***object, *route)));
                Arc::new(resolver.port(gateway, opening, rules, routes))
            }
        });
    }
    let (mesh, services) = resolver.mesh(&bound.mesh, scope);
    notes.append(&mut resolver.notes);
    memory.backends.sweep();
    let names = memory.backends.used().flat_map(Backend::names).map(str::to_owned).collect();
    let sockets = memory.backends.used().flat_map(Backend::sockets).map(Arc::clone).collect();
    Intent { gateways, mesh, services, notes, names, sockets }
}

/// Resolves an intent again of whose objects some VirtualServices were replaced by others that differ in nothing but where
/// their rules lead: each with the one in its place. So an edit of weights costs what it changes. None if more than that is
/// different, or if the memory is not that of the intent.
pub fn edit(
    intent: &Intent,
    edits: &[(Arc<Object>, Arc<Object>)],
    scope: &Scope,
    memory: &mut ResolutionMemory,
) -> Option<Intent> {
    if !edits.iter().all(|(old, new)| differ_in_destinations(old, new)) {
        return None;
    }
    let ground = memory.ground()?;
    let mut ports = std::mem::take(&mut memory.ports);
    let mut found = vec![false; edits.len()];
    let mut touched = Vec::new();
    for ((_, index), port) in &mut ports {
        let mut is_touched = false;
        for service in &mut port.services {
            if let Some(edit) = edits.iter().position(|(old, _)| Arc::ptr_eq(service, old)) {
                *service = Arc::clone(&edits[edit].1);
                (found[edit], is_touched) = (true, true);
            }
        }
        if is_touched {
            touched.push((*index, port));
        }
    }
    let lookup = Lookup::new(ground.iter().collect(), scope);
    let mut resolver = Resolver { memory, lookup, used: Vec::new(), notes: Vec::new() };
    let mut replaced: HashMap<*const GatewayPort, Arc<GatewayPort>> = HashMap::new();
    for (index, ResolvedPort { gateway, services, backends, port }) in touched {
        let Spec::Gateway(spec) = &gateway.spec else { return None };
        let server = spec.servers.iter().filter(|server| server.protocol == Protocol::Tcp).nth(index)?;
        let services: Vec<(&Arc<Object>, &VirtualService)> = services.iter().filter_map(virtual_service).collect();
        let (rules, routes) = resolver.virtual_services(gateway, server, &services);
        let new = Arc::new(resolver.port(gateway, Opening::Server(server), rules, routes));
        *backends = resolver.take_used();
        replaced.insert(Arc::as_ptr(port), Arc::clone(&new));
        *port = new;
    }
    memory.ports = ports;
    if !found.into_iter().all(|found| found) {
        return None;
    }
    let mut edited = intent.clone();
    for port in &mut edited.gateways {
        if let Some(new) = replaced.remove(&Arc::as_ptr(port)) {
            edited.names.extend(new.names().map(str::to_owned));
            edited.sockets.extend(new.sockets().map(Arc::clone));
            *port = new;
        }
    }
    replaced.is_empty().then_some(edited)
}

/// Whether two versions of a VirtualService for Gateways differ in nothing but where their rules lead.
fn differ_in_destinations(old: &Arc<Object>, new: &Arc<Object>) -> bool {
    let (Spec::VirtualService(one), Spec::VirtualService(other)) = (&old.spec, &new.spec) else { return false };
    let without = |service: &VirtualService| {
        let mut service = service.clone();
        for rule in &mut service.tcp {
            // Nor where in its document a rule stands.
            (rule.route, rule.line) = (Vec::new(), 0);
        }
        service.tls.iter_mut().for_each(|rule| rule.line = 0);
        service
    };
    old.key == new.key
        && old.age() == new.age()
        && !one.gateways.contains(&GatewayRef::Mesh)
        && without(one) == without(other)
}

fn virtual_service(object: &Arc<Object>) -> Option<(&Arc<Object>, &VirtualService)> {
    match &object.spec {
        Spec::VirtualService(service) => Some((object, service)),
        _ => None,
    }
}

/// Whether backends may depend on an object.
fn is_ground(spec: &Spec) -> bool {
    match spec {
        Spec::Service(_)
        | Spec::ServiceEntry(_)
        | Spec::WorkloadEntry(_)
        | Spec::EndpointSlice(_)
        | Spec::DestinationRule(_)
        | Spec::ReferenceGrant(_) => true,
        Spec::VirtualService(_)
        | Spec::Gateway(_)
        | Spec::WorkloadGroup(_)
        | Spec::GatewayApiGateway(_)
        | Spec::TcpRoute(_) => false,
    }
}

struct Resolver<'a, 'm> {
    memory: &'m mut ResolutionMemory,
    lookup: Lookup<'a>,
    /// Indices of the backends that the port at hand leads to.
    used: Vec<usize>,
    notes: Vec<String>,
}

impl<'a> Resolver<'a, '_> {
    /// A server of Istio's Gateway.
    fn server(
        &mut self,
        (gateway, index): (&'a Arc<Object>, usize),
        server: &'a Server,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
        last: Option<ResolvedPort>,
    ) -> Arc<GatewayPort> {
        let reused = last.filter(|last| {
            Arc::ptr_eq(gateway, &last.gateway)
                && services.len() == last.services.len()
                && services.iter().zip(&last.services).all(|((one, _), other)| Arc::ptr_eq(one, other))
                && last.backends.iter().all(|index| self.is_same(*index))
        });
        let resolved = reused.unwrap_or_else(|| {
            let (rules, routes) = self.virtual_services(gateway, server, services);
            let port = Arc::new(self.port(gateway, Opening::Server(server), rules, routes));
            let services = services.iter().map(|(object, _)| Arc::clone(object)).collect();
            ResolvedPort { gateway: Arc::clone(gateway), services, backends: self.take_used(), port }
        });
        let port = Arc::clone(&resolved.port);
        self.memory.ports.insert((gateway.key.clone(), index), resolved);
        port
    }

    /// Indices of the backends that were used since this was called last, each once.
    fn take_used(&mut self) -> Vec<usize> {
        let mut used = std::mem::take(&mut self.used);
        used.sort_unstable();
        used.dedup();
        used
    }

    /// A port of a Gateway, with the notes that were made since the port before.
    fn port(
        &mut self,
        gateway: &Object,
        opening: Opening<'_>,
        mut rules: Vec<RuleRow>,
        routes: Vec<Arc<RouteIntent>>,
    ) -> GatewayPort {
        if routes.is_empty() {
            let port = opening.port();
            self.notes.push(format!("{}: no route leads from port {port}; it is not listened on", gateway.key));
        }
        rules.sort_by_key(RuleRow::rank);
        let port = GatewayPort {
            gateway: gateway.key.clone(),
            name: opening.name().to_owned(),
            bind: opening.bind(),
            port: opening.port(),
            rules,
            routes,
            notes: std::mem::take(&mut self.notes),
            digest: Digest::default(),
        };
        port.digested()
    }

    /// The rules of VirtualServices at a server of Istio's Gateway.
    fn virtual_services(
        &mut self,
        gateway: &Object,
        server: &Server,
        services: &[(&'a Arc<Object>, &'a VirtualService)],
    ) -> (Vec<RuleRow>, Vec<Arc<RouteIntent>>) {
        let here = GatewayRef::Gateway { namespace: gateway.key.namespace.clone(), name: gateway.key.name.clone() };
        let site = Site { port: server.port, in_mesh: false };
        let mut ways = Ways::default();
        for (object, service) in services {
            if !bound::admits(gateway, server, object, service) {
                self.notes.push(format!(
                    "{}: none of its hosts is one of the hosts of {} port {}",
                    object.key, gateway.key, server.port
                ));
                continue;
            }
            for (index, rule) in service.tcp.iter().enumerate() {
                let entrances = entrances(rule, server.port, &here, |_| true);
                let blocked = ways.add(&entrances, || self.route(site, object, service, index, rule));
                if let Some(first) = blocked {
                    self.notes.push(format!(
                        "{}: tcp rule {index} is never reached at port {}: {first} comes before it",
                        object.key, server.port
                    ));
                }
            }
        }
        (ways.rules, ways.routes)
    }

    /// The rule of the oldest of these routes: it takes every connection.
    fn tcp_routes(
        &mut self,
        port: u16,
        attached: impl Iterator<Item = (&'a Object, &'a gateway_api::TcpRoute)>,
    ) -> (Vec<RuleRow>, Vec<Arc<RouteIntent>>) {
        let (mut rules, mut routes) = (Vec::new(), Vec::<Arc<RouteIntent>>::new());
        for (object, route) in attached {
            let Some(rule) = route.rules.first() else { continue };
            if let Some(first) = routes.first() {
                self.notes.push(format!(
                    "{}: it is never reached at port {port}: {} comes before it",
                    object.key,
                    first.name()
                ));
                continue;
            }
            rules.push(RuleRow::new(Prefix::ANY, Prefix::ANY, 0));
            routes.push(self.tcp_route(port, object, route, rule));
        }
        // Such a port is resolved each time.
        self.used.clear();
        (rules, routes)
    }
}
