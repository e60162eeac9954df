//! Addresses of this host's interfaces.
//!
//! It must not know who has a use for them.

use std::collections::HashSet;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The addresses that packets can come to. Of loopback networks every address is one, and not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    all: HashSet<IpAddr>,
}

impl Addresses {
    /// Those that there are now; none that cannot be read.
    pub fn now() -> Self {
        let interfaces = getifaddrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let addresses = interfaces.into_iter().filter_map(|interface| interface.address);
        let ips = addresses.filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        Self { all: ips.collect() }
    }

    /// Whether an address is one of this host.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.all.contains(&ip)
    }

    /// All that are listed, in no order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_of_this_host_and_documentation_is_not() {
        let addresses = Addresses::now();
        for ip in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert!(addresses.contains(ip.parse().unwrap()), "{ip}");
        }
        assert!(!addresses.contains("192.0.2.1".parse().unwrap()));
    }
}
