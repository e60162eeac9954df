//! The hosts that an object is about.

use serde_json::Value;

use crate::cli::column::{list, plain};
use crate::route::kind::Kind;
use crate::route::names;

/// The domain of services, behind the namespace in a full name.
const DOMAIN: &str = "svc.cluster.local";

/// Whether a host is one of these, or covered by one with a wildcard.
pub(super) fn is_for(hosts: &[String], host: &str) -> bool {
    hosts.iter().any(|wide| wide == host || (wide.starts_with('*') && names::covers(wide, host)))
}

/// Full names of the hosts that an object is about.
pub(super) fn hosts(kind: Kind, object: &Value) -> Vec<String> {
    let namespace = plain(object, "/metadata/namespace");
    let full = |host: &str| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host.contains('.') || host.starts_with('*') { host } else { format!("{host}.{namespace}.{DOMAIN}") }
    };
    match kind {
        Kind::Service => vec![full(&plain(object, "/metadata/name"))],
        Kind::ServiceEntry => {
            list(object, "/spec/hosts").iter().map(|host| plain(host, "").to_ascii_lowercase()).collect()
        }
        _ => vec![full(&plain(object, "/spec/host"))],
    }
}
