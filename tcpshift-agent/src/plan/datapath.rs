//! How new connections of a route reach its endpoints: by the fastest datapath that can do what the route asks for.
//!
//! Pure: it chooses by the route, the sets of its destinations, and the host.

mod family;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use tcpshift_common::decide::steer;
use tcpshift_common::listener::RuleRow;
use tcpshift_common::{address, layout};

use super::host::{Host, Presence};
use super::sets::Sets;
use super::{Destination, EndpointAddress, Route, Wish};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// Where a route is served.
#[derive(Clone, Debug)]
pub struct ServedAt {
    /// Address of its listener; none of clients inside a mesh.
    pub listener: Option<IpAddr>,
    /// Whether another program has the address.
    pub withheld: bool,
    /// Why programs cannot serve the listener, if they cannot.
    pub excess: Option<String>,
}

impl ServedAt {
    /// A port of a service.
    pub fn in_mesh(excess: Option<String>) -> Self {
        Self { listener: None, withheld: false, excess }
    }
}

/// Why something is chosen, or is not.
type Reason = Cow<'static, str>;

/// Chooses for a route, whose own choice is not looked at.
pub fn choose(route: &Route, sets: &Sets, site: &ServedAt, host: &Host) -> Chosen {
    if site.withheld {
        // What comes to another program's address is not this agent's, and must not be taken from that program.
        return by(Datapath::Proxy, false, "its listener is not served".into());
    }
    let served = Served { route, sets };
    match site.listener {
        Some(at) => at_gateway(&served, at, site.excess.as_ref(), host),
        None => match &site.excess {
            Some(why) if route.asked == Wish::Auto => nobody(why.clone().into()),
            Some(why) => refused(why.clone().into()),
            None => in_mesh(&served, host),
        },
    }
}

/// In words, that connections of a route are refused since the datapath that it asks for cannot be had.
pub fn refusal(route: &Route) -> Option<String> {
    match &route.chosen {
        Chosen { datapath: None, only: true, reason, .. } => {
            let (kind, name) = (route.kind.name(), route.name());
            Some(format!("{kind} {name}: its connections are refused: {reason}"))
        }
        _ => None,
    }
}

/// Why programs cannot serve a listener with these rules, if they are too many.
pub fn excess(rules: &[RuleRow]) -> Option<String> {
    let most = layout::RULES;
    (rules.len() > most as usize).then(|| format!("its listener has more than {most} rules"))
}

/// A route, as far as its destinations get connections.
#[derive(Clone, Copy)]
struct Served<'a> {
    route: &'a Route,
    sets: &'a Sets,
}

impl<'a> Served<'a> {
    /// Destinations that get connections.
    fn destinations(self) -> impl Iterator<Item = &'a Destination> {
        self.route.destinations.iter().filter(|destination| destination.slots > 0)
    }

    /// Their endpoints.
    fn addresses(self) -> impl Iterator<Item = &'a EndpointAddress> {
        let sets = self.sets;
        self.destinations().flat_map(|destination| sets.of(destination).all()).map(|endpoint| &endpoint.address)
    }
}

/// Of a route for clients inside a mesh: nobody but the kernel sees their connections.
fn in_mesh(served: &Served<'_>, host: &Host) -> Chosen {
    let other = "clients inside a mesh are served by `connect` alone; remove the annotation tcpshift.io/datapath";
    let less = || needs_relay(served);
    match (served.route.asked, &host.abilities.connect) {
        (Wish::Proxy | Wish::Lookup, _) => refused(other.into()),
        (Wish::Auto, Err(why)) => nobody(why.clone().into()),
        (Wish::Connect, Err(why)) => refused(why.clone().into()),
        (Wish::Auto, Ok(())) => by(Datapath::Connect, false, although("clients inside a mesh", less())),
        (Wish::Connect, Ok(())) => by(Datapath::Connect, false, although("asked for", less())),
    }
}

fn at_gateway(served: &Served<'_>, at: IpAddr, excess: Option<&String>, host: &Host) -> Chosen {
    let asked = served.route.asked;
    if let Some(why) = excess.filter(|_| asked != Wish::Proxy) {
        let why = why.clone().into();
        return if asked == Wish::Auto { by(Datapath::Proxy, false, why) } else { refused(why) };
    }
    match (asked, &host.abilities.connect) {
        (Wish::Proxy, _) => by(Datapath::Proxy, false, "asked for".into()),
        (Wish::Connect, Ok(())) => match family::connected(*served, at) {
            Ok((family, less)) => {
                let less = less.or_else(|| needs_relay(served));
                Chosen { family, ..by(Datapath::Connect, false, although("asked for", less)) }
            }
            Err(why) => {
                by(Datapath::Proxy, false, format!("`connect` is asked for, and {why}: all are carried").into())
            }
        },
        (Wish::Connect, Err(why)) => refused(why.clone().into()),
        (Wish::Lookup, _) => {
            if let Some(why) = impossible(served, host) {
                return refused(why);
            }
            let less = needs_relay(served).or_else(|| absent(served, host));
            by(Datapath::Lookup, true, although("asked for", less))
        }
        (Wish::Auto, _) => {
            let hindered = impossible(served, host).or_else(|| needs_relay(served)).or_else(|| absent(served, host));
            match hindered.map_or_else(|| family::handed(*served, at), Err) {
                Err(why) => by(Datapath::Proxy, false, why),
                Ok((family, others)) => {
                    let why = "every endpoint listens on this host, or did";
                    let why = others.map_or(why.into(), |others| format!("{why}; {others}").into());
                    Chosen { family, ..by(Datapath::Lookup, false, why) }
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
fn impossible(served: &Served<'_>, host: &Host) -> Option<Reason> {
    if let Err(why) = &host.abilities.lookup {
        return Some(why.clone().into());
    }
    if served.route.steer.by == steer::SEQUENCE {
        return Some("steer-by sequence counts connections, and `lookup` sees packets".into());
    }
    let mut any = false;
    for destination in served.destinations() {
        for endpoint in served.sets.of(destination).all() {
            any = true;
            match &endpoint.address {
                EndpointAddress::Tcp(address) if host.is_local(address.ip()) => {}
                // Which one, changes without a plan.
                EndpointAddress::Tcp(_) => {
                    return Some(format!("{} has endpoints on other hosts", destination.name).into());
                }
                other => return Some(format!("{other} is no TCP address").into()),
            }
        }
    }
    (!any).then_some("there is no endpoint".into())
}

/// What a route asks for that only a relay can do.
fn needs_relay(served: &Served<'_>) -> Option<Reason> {
    let route = served.route;
    if route.limits.idle_timeout.is_some() {
        return Some("idle timeout needs the relay".into());
    }
    if route.limits.max_duration.is_some() {
        return Some("maximal duration needs the relay".into());
    }
    let mut settings = served.destinations().map(|destination| destination.settings);
    settings.find_map(|settings| match (settings.max_connections, settings.keepalive) {
        (Some(_), _) => Some("a limit of connections needs the relay".into()),
        (None, Some(_)) => Some("keepalive needs the relay".into()),
        (None, None) => None,
    })
}

/// The first endpoint that no SYN can be handed to.
fn absent(served: &Served<'_>, host: &Host) -> Option<Reason> {
    let mut silent = None;
    for address in served.addresses() {
        let EndpointAddress::Tcp(address) = address else { continue };
        match host.presence(*address) {
            Presence::Listening => {}
            Presence::Silent => silent = silent.or(Some(address)),
            Presence::Unfit(why) => return Some(format!("{address}: {why}").into()),
        }
    }
    silent.map(|address| format!("nothing listens at {address}").into())
}
