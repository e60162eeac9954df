//! `hosts` of a Gateway's server.

use crate::route::names;

/// Why a text is none of `HOST`, `NAMESPACE/HOST`, `./HOST` or `*/HOST`, where a host is full, an IPv4 address,
/// or begins with the wildcard `*.`.
pub(super) fn problem(text: &str) -> Option<String> {
    let host = match text.split_once('/') {
        Some((namespace, host)) => {
            if !matches!(namespace, "." | "*") && !names::is_host_label(namespace) {
                return Some(format!("{namespace:?} is no namespace"));
            }
            host
        }
        None => text,
    };
    if host.is_empty() {
        return Some("a host name cannot be empty".to_owned());
    }
    if host == "*" {
        return None;
    }
    if !host.contains('.') {
        return Some(format!("{host:?} is a short name; a full host name is needed here"));
    }
    if host.contains('*') && !host.starts_with("*.") {
        return Some(format!(
            "{host:?} has a wildcard that does not stand for whole labels; write `*.` before the rest"
        ));
    }
    if names::is_address(host) { None } else { names::wildcard_host_problem(host) }
}
