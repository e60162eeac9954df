//! TCPRoutes: whether their parents and backends exist, and whether the routes may refer to them.

use std::collections::{BTreeMap, HashSet};

use super::admission::{allows, needed};
use super::code;
use super::finding::Findings;
use super::openings::Openings;
use super::words::list;
use super::world::World;
use crate::route::kind::Kind;
use crate::route::model::Export;
use crate::route::model::gateway_api::{GROUP, GatewayListener, ParentRef, TcpRoute};
use crate::route::object::Object;

pub(super) fn check<'a>(world: &World<'a>, openings: &mut Openings<'a>, out: &mut Findings) {
    // Routes of each listener, by the indices of the Gateway and the listener.
    let mut attached: BTreeMap<(usize, usize), Vec<&Object>> = BTreeMap::new();
    for (object, route) in &world.tcp_routes {
        if route.parents.is_empty() {
            let cure = "add `parentRefs: [{name: GATEWAY}]`";
            out.push(code::UNATTACHED, object, "spec", "the route is attached to no Gateway", cure);
        }
        let mut own = HashSet::new();
        for (index, parent) in route.parents.iter().enumerate() {
            if parent.group == GROUP && parent.kind == "Gateway" {
                for listener in self::parent(world, object, parent, &format!("spec.parentRefs[{index}]"), out) {
                    if own.insert(listener) {
                        attached.entry(listener).or_default().push(object);
                    }
                }
            }
        }
        backends(world, object, route, out);
    }
    for (gateway, (object, spec)) in world.api_gateways.iter().enumerate() {
        for (at, listener) in spec.listeners.iter().enumerate().filter(|(_, listener)| listener.protocol == "TCP") {
            let routes = attached.get(&(gateway, at)).map(Vec::as_slice).unwrap_or_default();
            let Some((oldest, younger)) = routes.split_first() else {
                // `gateways` reports a port that another Gateway has.
                if !openings.is_lost(object, at) && !world.beside.is_bound(&object.key) {
                    let name = &listener.name;
                    let message = format!("no TCPRoute is attached to the listener {name}: it is not listened on");
                    let cure = format!("attach one with `parentRefs: [{{name: {}}}]`", object.key.name);
                    out.push(code::PORT_UNUSED, object, format!("spec.listeners[{at}]"), message, cure);
                }
                continue;
            };
            openings.lead(object, at);
            if let Some(first) = younger.first()
                && !openings.is_lost(object, at)
            {
                let (name, gateway) = (&listener.name, &object.key);
                let served = &oldest.key;
                let others = list(younger.iter().map(|route| &route.key));
                let message = format!(
                    "listener {name} of {gateway} has several routes: the oldest, {served}, is served, and {others} not"
                );
                let cure = "attach each route to a listener of its own, or remove it";
                out.push(code::SHARED_LISTENER, first, "spec.parentRefs", message, cure);
            }
        }
    }
}

/// The listeners that a route is attached to by one reference.
fn parent(
    world: &World<'_>,
    object: &Object,
    parent: &ParentRef,
    path: &str,
    out: &mut Findings,
) -> Vec<(usize, usize)> {
    let Some(index) = world.api_gateway(&parent.namespace, &parent.name) else {
        if world.beside.has(Kind::GatewayApiGateway, &parent.namespace, &parent.name) {
            return Vec::new();
        }
        let written = format!("{}/{}", parent.namespace, parent.name);
        let mut message = format!("Referenced gateway not found: {written:?}");
        let cure = if world.gateway(&parent.namespace, &parent.name).is_some() {
            message += " is a Gateway of networking.istio.io";
            "a TCPRoute is attached to Gateways of gateway.networking.k8s.io alone; write a VirtualService".to_owned()
        } else if let Some(namespace) = world.api_gateway_for(&parent.name, &object.key.namespace) {
            format!("write `namespace: {namespace}`, or add the Gateway")
        } else {
            "add the Gateway, or correct the name".to_owned()
        };
        out.push(code::NOT_FOUND, object, format!("{path}.name"), message, cure);
        return Vec::new();
    };
    let (gateway, spec) = world.api_gateways[index];
    let meant = |listener: &GatewayListener| {
        parent.section.as_ref().is_none_or(|name| listener.name == *name)
            && parent.port.is_none_or(|port| listener.port == port)
    };
    let found: Vec<(usize, &GatewayListener)> =
        spec.listeners.iter().enumerate().filter(|(_, listener)| meant(listener)).collect();
    if found.is_empty() {
        let wanted = parent.section.clone().or(parent.port.map(|port| format!("port {port}"))).unwrap_or_default();
        let takes = |one: &&GatewayListener| allows(one, &gateway.key.namespace, &object.key.namespace);
        let known: Vec<_> =
            spec.listeners.iter().filter(takes).map(|one| format!("{} at port {}", one.name, one.port)).collect();
        let cure = match known.as_slice() {
            [] => "add the listener to the Gateway".to_owned(),
            known => format!("name another listener ({}), or add this one to the Gateway", known.join(", ")),
        };
        let field = if parent.section.is_some() { format!("{path}.sectionName") } else { format!("{path}.port") };
        let message = format!("Referenced listener not found: {:?}", format!("{}/{wanted}", gateway.key.name));
        out.push(code::NOT_FOUND, object, field, message, cure);
        return Vec::new();
    }
    let allowed: Vec<_> =
        found.iter().filter(|(_, listener)| allows(listener, &gateway.key.namespace, &object.key.namespace)).collect();
    if allowed.is_empty() {
        let message =
            format!("no listener that is meant of {} takes a TCPRoute of {}", gateway.key, object.key.namespace);
        let cure = needed(&found, &gateway.key.namespace, &object.key.namespace);
        out.push(code::NOT_ALLOWED, object, path, message, cure);
    }
    allowed.into_iter().map(|(at, _)| (index, *at)).collect()
}

fn backends(world: &World<'_>, object: &Object, route: &TcpRoute, out: &mut Findings) {
    let own = object.key.namespace.as_str();
    for (index, rule) in route.rules.iter().enumerate() {
        for (at, backend) in rule.backends.iter().enumerate() {
            if !backend.group.is_empty() || backend.kind != "Service" {
                continue;
            }
            let path = format!("spec.rules[{index}].backendRefs[{at}]");
            let written = format!("{}/{}", backend.namespace, backend.name);
            let grant_unknown = world.beside.has_kind(Kind::ReferenceGrant, &backend.namespace);
            if backend.namespace != own && !grant_unknown && !granted(world, object, &backend.namespace, &backend.name)
            {
                let message =
                    format!("no ReferenceGrant of {} lets a TCPRoute of {own} refer to {written}", backend.namespace);
                let cure = format!("add one there, from TCPRoute of {own} to Service");
                out.push(code::NOT_GRANTED, object, format!("{path}.namespace"), message, cure);
            }
            let key = |provider: &&super::provider::Provider<'_>| {
                let key = &provider.object.key;
                key.kind == Kind::Service && key.namespace == backend.namespace && key.name == backend.name
            };
            let host = format!("{}.{}.svc.cluster.local", backend.name, backend.namespace);
            let (providers, _) = world.providers(own, &Export::Everywhere, &host);
            let Some(service) = providers.into_iter().find(key) else {
                if world.beside.has(Kind::Service, &backend.namespace, &backend.name) {
                    continue;
                }
                let message = format!("Referenced backend not found: {written:?}");
                out.push(
                    code::NOT_FOUND,
                    object,
                    format!("{path}.name"),
                    message,
                    "add the Service, or correct the name",
                );
                continue;
            };
            if let Some(port) = backend.port
                && !service.external
                && !service.ports.iter().any(|known| known.number == port)
            {
                let known: Vec<_> = service.ports.iter().map(|port| port.number.to_string()).collect();
                let message = format!("Referenced host:port not found: {:?}", format!("{}:{port}", backend.name));
                let cure = match known.as_slice() {
                    [] => "add the port to the Service".to_owned(),
                    known => format!("name a port of the Service ({}), or add this one to it", known.join(", ")),
                };
                out.push(code::NOT_FOUND, object, format!("{path}.port"), message, cure);
            }
        }
    }
}

/// Whether a namespace lets TCPRoutes of the object's refer to a Service of its own.
fn granted(world: &World<'_>, object: &Object, namespace: &str, name: &str) -> bool {
    world.grants.iter().filter(|(grant, _)| grant.key.namespace == namespace).any(|(_, grant)| {
        let from = grant
            .from
            .iter()
            .any(|from| from.group == GROUP && from.kind == "TCPRoute" && from.namespace == object.key.namespace);
        let to = |to: &crate::route::model::gateway_api::reference_grant::To| {
            to.group.is_empty() && to.kind == "Service" && to.name.as_ref().is_none_or(|known| known == name)
        };
        from && grant.to.iter().any(to)
    })
}
