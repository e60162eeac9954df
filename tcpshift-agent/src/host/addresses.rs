//! Addresses of this host: those of its interfaces, and those that its routes say are its own.
//!
//! A socket that can be bound says nothing: with `net.ipv4.ip_nonlocal_bind` every address can be.

mod routes;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

/// The addresses that packets can come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    interfaces: BTreeSet<IpAddr>,
    /// More than one address each: the loopback networks, and what `ip route add local` added.
    networks: BTreeSet<IpNet>,
}

/// The loopback networks alone.
impl Default for Addresses {
    fn default() -> Self {
        let loopback = IpNet::new_assert([127, 0, 0, 0].into(), 8);
        Self { interfaces: BTreeSet::new(), networks: [loopback, IpAddr::V6(Ipv6Addr::LOCALHOST).into()].into() }
    }
}

impl Addresses {
    /// Those that there are now. The error is the kernel's: it says nothing of what there is.
    pub fn now() -> io::Result<Self> {
        let mut addresses = Self::default();
        for interface in getifaddrs()?.filter_map(|interface| interface.address) {
            let v4 = interface.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            let v6 = || interface.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
            addresses.interfaces.extend(v4.or_else(v6));
        }
        for network in routes::local()? {
            if network.prefix_len() < network.max_prefix_len() {
                addresses.networks.insert(network);
            } else {
                addresses.interfaces.insert(network.addr());
            }
        }
        Ok(addresses)
    }

    /// Whether an address is one of this host.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.interfaces.contains(&ip) || self.networks.iter().any(|network| network.contains(&ip))
    }

    /// All of them, each network once.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        let single = self.interfaces.iter().map(|ip| IpNet::from(*ip));
        let is_listed = |ip: &IpNet| self.networks.iter().any(|network| network.contains(ip));
        self.networks.iter().copied().chain(single.filter(move |ip| !is_listed(ip)))
    }
}

/// The addresses as they were seen last.
#[derive(Debug, Default)]
pub struct Sight {
    last: Arc<Addresses>,
    /// That they cannot be seen now was said.
    is_blind: bool,
}

impl Sight {
    /// Looks at once; only the loopback networks are known if nothing can be seen.
    pub fn new() -> Self {
        let mut sight = Self::default();
        sight.look();
        sight
    }

    /// As they were seen last.
    pub fn last(&self) -> &Arc<Addresses> {
        &self.last
    }

    /// Looks again. Returns whether there are others than before: none if nothing can be seen, which is said once.
    pub fn look(&mut self) -> bool {
        self.see(Addresses::now())
    }

    fn see(&mut self, seen: io::Result<Addresses>) -> bool {
        match seen {
            Ok(addresses) => {
                if std::mem::take(&mut self.is_blind) {
                    log::info!("the addresses of this host can be read again");
                }
                let is_other = *self.last != addresses;
                if is_other {
                    self.last = Arc::new(addresses);
                }
                is_other
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    log::warn!(
                        "the addresses of this host cannot be read: {error}; those that were read last count, and \
                         it is tried again"
                    );
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_of_this_host_and_documentation_is_not() {
        for addresses in [Addresses::now().unwrap(), Addresses::default()] {
            for ip in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
                assert!(addresses.contains(ip.parse().unwrap()), "{ip}");
            }
            assert!(!addresses.contains("192.0.2.1".parse().unwrap()));
        }
    }

    #[test]
    fn what_was_seen_last_counts_while_nothing_can_be_seen() {
        let mut sight = Sight::default();
        let mut addresses = Addresses::default();
        addresses.interfaces.insert([192, 0, 2, 1].into());
        assert!(sight.see(Ok(addresses.clone())));
        for _ in 0..3 {
            assert!(!sight.see(Err(io::ErrorKind::OutOfMemory.into())), "no address has gone");
            assert!(sight.is_blind);
            assert_eq!(**sight.last(), addresses);
        }
        assert!(!sight.see(Ok(addresses)) && !sight.is_blind);
        assert!(sight.see(Ok(Addresses::default())));
    }

    #[test]
    fn networks_name_each_address_once() {
        let mut addresses = Addresses::default();
        addresses.interfaces.extend(["127.0.0.1", "::1", "192.0.2.1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        let networks: Vec<String> = addresses.networks().map(|network| network.to_string()).collect();
        assert_eq!(networks, ["127.0.0.0/8", "::1/128", "192.0.2.1/32"]);
    }
}
