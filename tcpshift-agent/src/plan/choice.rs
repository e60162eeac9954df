//! How new connections of a route reach its endpoints: by the fastest datapath that can do what the route asks for.
//!
//! Pure: what this host can do, and who listens on it, is handed in. It must not know how any datapath works.

mod family;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::decide::steer;
use tcpshift_common::listener::RuleRow;
use tcpshift_common::{address, layout};

use super::{Destination, EndpointAddress, Plan, Route, Wish};

/// How connections reach endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datapath {
    /// The agent accepts, dials and relays.
    Proxy,
    /// A local client's connect(2) is pointed at the endpoint.
    Connect,
    /// The SYN is handed to the listening socket of a local endpoint.
    Lookup,
}

impl Datapath {
    /// As in a route file (`tcpshift.io/datapath`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Connect => "connect",
            Self::Lookup => "lookup",
        }
    }
}

/// What was chosen for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// None if no datapath can serve it.
    pub datapath: Option<Datapath>,
    /// Whether nothing else may do it: what this datapath cannot take is refused, and everything if there is none.
    pub only: bool,
    /// Clients who are steered, by the family of the address that they ask for: one of [`family`](tcpshift_common::address::family).
    /// Others are carried.
    pub family: u32,
    /// Why, for people.
    pub reason: String,
}

/// What a choice depends on beside the plan.
pub struct Ground<'a> {
    /// Whether this host can point connections at endpoints, else why not.
    pub connect: Result<(), String>,
    /// Whether this host can hand SYNs to listening sockets, else why not.
    pub lookup: Result<(), String>,
    /// Whether an address is one of this host.
    pub is_local: &'a dyn Fn(IpAddr) -> bool,
    /// Who is at an address of this host.
    pub presence: &'a dyn Fn(SocketAddr) -> Presence,
}

/// Who is at an address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A socket listens.
    Listening,
    /// No socket listens.
    Silent,
    /// A socket listens that cannot be given a SYN: why, as in "it listens with MPTCP".
    Unfit(String),
}

/// Why something is chosen, or is not.
type Reason = Cow<'static, str>;

/// Chooses for every route of a plan. `last` is the plan before, which has been chosen for.
pub fn choose(plan: &Plan, last: &Plan, ground: &Ground<'_>) -> BTreeMap<u32, Chosen> {
    let mut chosen = BTreeMap::new();
    for listener in &plan.listeners {
        for route in &listener.routes {
            let before = || {
                let was = last.datapaths.get(&route.number)?.datapath?;
                let routes = &last.listener(listener.address)?.routes;
                Some((was, routes.iter().find(|last| last.number == route.number)?))
            };
            let excess = excess(&listener.rules);
            chosen.insert(route.number, at_gateway(route, listener.address.ip(), before, excess.as_ref(), ground));
        }
    }
    for listener in &plan.mesh {
        let excess = excess(&listener.rules);
        for route in &listener.routes {
            chosen.entry(route.number).or_insert_with(|| match &excess {
                Some(why) if route.asked == Wish::Auto => nobody(why.clone()),
                Some(why) => refused(why.clone()),
                None => in_mesh(route, ground),
            });
        }
    }
    chosen
}

/// Nobody listens at the address of a listener: what comes there is not this agent's, and must not be taken from whoever it
/// is for.
pub fn withhold(plan: &mut Plan, address: SocketAddr) {
    let Some(listener) = plan.listener(address).cloned() else { return };
    for route in &listener.routes {
        let reason = "its listener is not served".into();
        plan.datapaths.insert(route.number, by(Datapath::Proxy, false, reason));
    }
}

/// Routes whose connections are refused since the datapath that they ask for cannot be had, in words.
pub fn refusals(plan: &Plan) -> impl Iterator<Item = (&Route, String)> {
    plan.routes().filter_map(|route| match plan.datapaths.get(&route.number)? {
        Chosen { datapath: None, only: true, reason, .. } => {
            let (kind, name) = (route.kind.name(), route.name());
            Some((&**route, format!("{kind} {name}: its connections are refused: {reason}")))
        }
        _ => None,
    })
}

/// Why programs cannot serve a listener with these rules, if they are too many.
fn excess(rules: &[RuleRow]) -> Option<Reason> {
    let most = layout::RULES;
    (rules.len() > most as usize).then(|| format!("its listener has more than {most} rules").into())
}

/// Of a route for clients inside a mesh: nobody but the kernel sees their connections.
fn in_mesh(route: &Route, ground: &Ground<'_>) -> Chosen {
    let other = "clients inside a mesh are served by `connect` alone; remove the annotation tcpshift.io/datapath";
    match (route.asked, &ground.connect) {
        (Wish::Proxy | Wish::Lookup, _) => refused(other.into()),
        (Wish::Auto, Err(why)) => nobody(why.clone().into()),
        (Wish::Connect, Err(why)) => refused(why.clone().into()),
        (Wish::Auto, Ok(())) => by(Datapath::Connect, false, although("clients inside a mesh", needs_relay(route))),
        (Wish::Connect, Ok(())) => by(Datapath::Connect, false, although("asked for", needs_relay(route))),
    }
}

fn at_gateway<'a>(
    route: &Route,
    at: IpAddr,
    before: impl Fn() -> Option<(Datapath, &'a Arc<Route>)>,
    excess: Option<&Reason>,
    ground: &Ground<'_>,
) -> Chosen {
    if let Some(why) = excess.filter(|_| route.asked != Wish::Proxy) {
        return if route.asked == Wish::Auto { by(Datapath::Proxy, false, why.clone()) } else { refused(why.clone()) };
    }
    match (route.asked, &ground.connect) {
        (Wish::Proxy, _) => by(Datapath::Proxy, false, "asked for".into()),
        (Wish::Connect, Ok(())) => match family::connected(route, at) {
            Ok((family, less)) => {
                let less = less.or_else(|| needs_relay(route));
                Chosen { family, ..by(Datapath::Connect, false, although("asked for", less)) }
            }
            Err(why) => {
                by(Datapath::Proxy, false, format!("`connect` is asked for, and {why}: all are carried").into())
            }
        },
        (Wish::Connect, Err(why)) => refused(why.clone().into()),
        (Wish::Lookup, _) => {
            if let Some(why) = impossible(route, ground) {
                return refused(why);
            }
            let less = needs_relay(route).or_else(|| absent(route, ground, || false));
            by(Datapath::Lookup, true, although("asked for", less))
        }
        (Wish::Auto, _) => {
            // A version that is restarted is silent for a moment; where its connections go does not change by that.
            let stays =
                || before().is_some_and(|(was, last)| was == Datapath::Lookup && have_same_endpoints(last, route));
            let hindered = impossible(route, ground).or_else(|| needs_relay(route));
            let family =
                hindered.or_else(|| absent(route, ground, stays)).map_or_else(|| family::handed(route, at), Err);
            match family {
                Err(why) => by(Datapath::Proxy, false, why),
                Ok(family) => {
                    Chosen { family, ..by(Datapath::Lookup, false, "every endpoint listens on this host".into()) }
                }
            }
        }
    }
}

fn by(datapath: Datapath, only: bool, reason: Reason) -> Chosen {
    Chosen { datapath: Some(datapath), only, family: address::family::ANY, reason: reason.into_owned() }
}

/// The datapath that was asked for cannot be had: its connections are refused.
fn refused(reason: Reason) -> Chosen {
    Chosen { datapath: None, only: true, family: address::family::ANY, reason: reason.into_owned() }
}

/// Nobody serves its connections: they go where they were going.
fn nobody(reason: Reason) -> Chosen {
    Chosen { datapath: None, only: false, family: address::family::ANY, reason: reason.into_owned() }
}

/// Why something is chosen, and what of the route it cannot do.
fn although(why: &'static str, less: Option<Reason>) -> Reason {
    less.map_or(why.into(), |less| format!("{why}, although {less}").into())
}

/// Why SYNs of a route cannot be handed to listening sockets, whoever listens.
fn impossible(route: &Route, ground: &Ground<'_>) -> Option<Reason> {
    if let Err(why) = &ground.lookup {
        return Some(why.clone().into());
    }
    if route.steer.by == steer::SEQUENCE {
        return Some("steer-by sequence would count packets there, and not connections".into());
    }
    let mut any = false;
    for endpoint in served(route).flat_map(|destination| &*destination.endpoints) {
        any = true;
        match &endpoint.address {
            EndpointAddress::Tcp(address) if (ground.is_local)(address.ip()) => {}
            EndpointAddress::Tcp(address) => return Some(format!("{address} is not an address of this host").into()),
            other => return Some(format!("{other} is no TCP address").into()),
        }
    }
    (!any).then_some("there is no endpoint".into())
}

/// What a route asks for that only a relay can do.
fn needs_relay(route: &Route) -> Option<Reason> {
    if route.limits.idle_timeout.is_some() {
        return Some("idle timeout needs the relay".into());
    }
    if route.limits.max_duration.is_some() {
        return Some("maximal duration needs the relay".into());
    }
    let mut settings = served(route).map(|destination| destination.settings);
    settings.find_map(|settings| match (settings.max_connections, settings.keepalive) {
        (Some(_), _) => Some("a limit of connections needs the relay".into()),
        (None, Some(_)) => Some("keepalive needs the relay".into()),
        (None, None) => None,
    })
}

/// The first endpoint that no SYN can be handed to now. One that is silent counts unless `stays`.
fn absent(route: &Route, ground: &Ground<'_>, stays: impl Fn() -> bool) -> Option<Reason> {
    let mut silent = None;
    for endpoint in served(route).flat_map(|destination| &*destination.endpoints) {
        let EndpointAddress::Tcp(address) = endpoint.address else { continue };
        match (ground.presence)(address) {
            Presence::Listening => {}
            Presence::Silent => silent = silent.or(Some(address)),
            Presence::Unfit(why) => return Some(format!("{address}: {why}").into()),
        }
    }
    silent.filter(|_| !stays()).map(|address| format!("nothing listens at {address}").into())
}

/// Destinations that get connections.
fn served(route: &Route) -> impl Iterator<Item = &Destination> {
    route.destinations.iter().filter(|destination| destination.slots > 0)
}

fn have_same_endpoints(one: &Route, other: &Route) -> bool {
    fn all(route: &Route) -> impl Iterator<Item = &EndpointAddress> {
        served(route).flat_map(|destination| &*destination.endpoints).map(|endpoint| &endpoint.address)
    }
    all(one).eq(all(other))
}
