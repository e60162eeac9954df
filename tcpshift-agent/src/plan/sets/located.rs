//! Where the endpoints of a backend are, as far as that is known: by address, or by what DNS has answered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tcpshift_common::address::family;

use crate::plan::intent::{Backend, Written, WrittenAt};
use crate::plan::{EndpointAddress, Unusable};

/// Addresses by host name in lower case, in the order of DNS; none is empty.
pub type ResolvedNames = HashMap<String, Vec<IpAddr>>;

/// Where this agent listens: an endpoint there would send connections round for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) listeners: BTreeSet<SocketAddr>,
    pub(super) networks: Vec<ipnet::IpNet>,
}

impl Own {
    /// Whether this agent listens at an address.
    fn has(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let at = |ip: IpAddr| self.listeners.contains(&SocketAddr::new(ip, address.port()));
        let everywhere = at(Ipv6Addr::UNSPECIFIED.into()) || (address.is_ipv4() && at(Ipv4Addr::UNSPECIFIED.into()));
        at(address.ip()) || (everywhere && self.is_local(ip))
    }

    /// Whether an address is one of this host.
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// Address and weight of each endpoint that clients of a family reach.
pub(super) fn located(
    backend: &Backend,
    family: u32,
    answers: &ResolvedNames,
    own: &Own,
) -> Result<Vec<(EndpointAddress, u32)>, Unusable> {
    let written = backend.endpoints.as_ref().map_err(Clone::clone)?;
    let mut endpoints = Vec::new();
    for Written { at, weight } in written {
        match at {
            WrittenAt::Address(address) => endpoints.push((address.clone(), *weight)),
            WrittenAt::Name { name, port, only_first } => {
                let most = if *only_first { 1 } else { usize::MAX };
                let addresses = answers.get(name).into_iter().flatten().take(most);
                endpoints.extend(addresses.map(|ip| (SocketAddr::new(*ip, *port).into(), *weight)));
            }
        }
    }
    if endpoints.is_empty() {
        return Err(Unusable::Unresolved);
    }
    endpoints.retain(|(address, _)| !matches!(address, EndpointAddress::Tcp(address) if own.has(*address)));
    if endpoints.is_empty() {
        return Err(Unusable::OwnListener);
    }
    endpoints.retain(|(address, _)| is_reached(address, family));
    if endpoints.is_empty() { Err(Unusable::OtherFamily) } else { Ok(endpoints) }
}

/// Whether fewer endpoints than a percentage of all are not ejected: all of them are used then.
pub(super) fn are_too_few(all: &[(EndpointAddress, u32, u32)], least_percent: u32, ejected: &HashSet<u32>) -> bool {
    if least_percent == 0 || ejected.is_empty() {
        return false;
    }
    let used = all.iter().filter(|(.., number)| !ejected.contains(number)).count();
    used as u64 * 100 < u64::from(least_percent) * all.len() as u64
}

/// Whether clients of a family reach an endpoint: from an IPv4 socket only IPv4 endpoints, from an IPv6 socket those of both
/// families, from neither a unix socket.
fn is_reached(address: &EndpointAddress, family: u32) -> bool {
    match (family, address) {
        (family::ANY, _) | (_, EndpointAddress::Original(_)) => true,
        (_, EndpointAddress::Unix(_)) => false,
        (family, EndpointAddress::Tcp(address)) => family == family::V6 || address.ip().to_canonical().is_ipv4(),
    }
}
