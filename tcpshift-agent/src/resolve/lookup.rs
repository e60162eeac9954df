//! One lookup of a name, both families at once. The only file that knows the DNS client.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::timeout;

use super::Source;

/// A lookup takes at most this long, whatever servers and search domains there are.
const LONGEST_LOOKUP: Duration = Duration::from_secs(30);

/// A good answer.
#[derive(Debug)]
pub(super) struct Found {
    /// One at least.
    pub addresses: Vec<IpAddr>,
    /// For how long.
    pub valid: Duration,
}

/// Asks for a name; fails with a reason for people.
pub(super) async fn lookup(source: Source, name: &str) -> Result<Found, String> {
    // Made anew each time: so changed files of the host count at once, and there is no cache beside the caller's.
    let resolver = resolver(source).map_err(|error| error.to_string())?;
    let found = timeout(LONGEST_LOOKUP, resolver.lookup_ip(name)).await;
    let found = found.map_err(|_| format!("no answer in {LONGEST_LOOKUP:?}"))?.map_err(|error| reason(&error))?;
    // 0.0.0.0 is how some servers say that a name is blocked; to connect there would lead to this host.
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    let addresses: Vec<_> = found.iter().filter(usable).collect();
    if addresses.is_empty() {
        return Err("it has no address that could be dialled".to_owned());
    }
    Ok(Found { addresses, valid: found.valid_until().saturating_duration_since(Instant::now()) })
}

fn reason(error: &NetError) -> String {
    if error.is_no_records_found() { "DNS knows no address of it".to_owned() } else { error.to_string() }
}

fn resolver(source: Source) -> Result<TokioResolver, NetError> {
    let mut builder = match source {
        Source::Host => TokioResolver::builder_tokio()?,
        Source::Server(server) => {
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
