//! One lookup of a name, both families at once. The only file that knows the DNS client.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;

use super::Upstream;

/// A lookup takes at most this long, whatever servers and search domains there are.
const LONGEST_LOOKUP: Duration = Duration::from_secs(30);

/// An answer for one family at least.
#[derive(Debug)]
pub(super) struct Found {
    /// Of both families, IPv4 first; none of one that was not answered for.
    pub addresses: Vec<IpAddr>,
    /// The family that was not answered for, and why, for people. That the name has no address of it is an answer.
    pub unanswered: Option<(Family, String)>,
    /// For how long.
    pub valid: Duration,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of an address.
    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const fn record(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

/// Asks for a name; fails with a reason for people.
pub(super) async fn lookup(source: Upstream, name: &str) -> Result<Found, String> {
    let until = tokio::time::Instant::now() + LONGEST_LOOKUP;
    // Made anew each time: so changed files of the host count at once, and there is no cache beside the caller's.
    let resolver = resolver(source).map_err(|error| error.to_string())?;
    let found = timeout(LONGEST_LOOKUP, resolver.lookup_ip(name)).await;
    let found = found.map_err(|_| format!("no answer in {LONGEST_LOOKUP:?}"))?.map_err(|error| reason(&error))?;
    let mut addresses: Vec<IpAddr> = found.iter().collect();
    let valid = found.valid_until().saturating_duration_since(Instant::now());
    let mut unanswered = None;
    let is_there = |family: Family| addresses.iter().any(|ip| Family::of(*ip) == family);
    if let Some(family) = [Family::V4, Family::V6].into_iter().find(|family| !is_there(*family)) {
        // The resolver drops the error of one family if the other has addresses: the name that was found, which may have
        // got a search domain, is asked for again.
        let name = found.as_lookup().query().name().clone();
        let again = tokio::time::timeout_at(until, one_family(&resolver, name, family));
        match again.await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(others) if family == Family::V4 => addresses.splice(0..0, others).for_each(drop),
            Ok(others) => addresses.extend(others),
            Err(reason) => unanswered = Some((family, reason)),
        }
    }
    // 0.0.0.0 is how some servers say that a name is blocked; to connect there would lead to this host.
    addresses.retain(|ip| !ip.is_unspecified() && !ip.is_multicast());
    if addresses.is_empty() && unanswered.is_none() {
        return Err("it has no address that could be dialled".to_owned());
    }
    Ok(Found { addresses, unanswered, valid })
}

/// The addresses of one family; none if the name has none.
async fn one_family(resolver: &TokioResolver, mut name: Name, family: Family) -> Result<Vec<IpAddr>, String> {
    name.set_fqdn(true);
    match resolver.lookup(name, family.record()).await {
        Ok(found) => Ok(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(reason(&error)),
    }
}

fn reason(error: &NetError) -> String {
    if error.is_no_records_found() { "DNS knows no address of it".to_owned() } else { error.to_string() }
}

fn resolver(source: Upstream) -> Result<TokioResolver, NetError> {
    let mut builder = match source {
        Upstream::Host => TokioResolver::builder_tokio()?,
        Upstream::Server(server) => {
            let mut connection = ConnectionConfig::udp();
            connection.port = server.port();
            let server = NameServerConfig::new(server.ip(), true, vec![connection]);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        }
    };
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}
