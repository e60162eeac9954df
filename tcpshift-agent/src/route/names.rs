//! The syntax of names, hosts and labels, as Kubernetes and Istio check it.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// An RFC 1123 label, as Kubernetes wants it of namespaces: lower case, at most 63 characters.
pub fn is_dns_label(name: &str) -> bool {
    is_host_label(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Labels joined by dots, at most 253 characters: the name of an object.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// A label as Istio takes it in hosts and subset names: upper case is allowed.
pub fn is_host_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Why a text is no host name, if it is none. A trailing dot is allowed, a number as last label is not.
pub fn host_problem(host: &str) -> Option<String> {
    size_problem(host).or_else(|| labels_problem(host))
}

/// As [`host_problem`], for hosts whose first label may begin with a wildcard: `*`, `*.example.com`,
/// `*-v2.example.com`, `*v2.example.com`.
pub fn wildcard_host_problem(host: &str) -> Option<String> {
    let (first, rest) = match host.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (host, None),
    };
    let label = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    let fits = first == "*" || first.len() <= 63 && is_host_label(label);
    size_problem(host).or_else(|| (!fits).then(|| label_problem(first))).or_else(|| labels_problem(rest?))
}

fn size_problem(host: &str) -> Option<String> {
    match host.len() {
        0 => Some("a host name cannot be empty".to_owned()),
        1..=255 => None,
        _ => Some("a host name has at most 255 characters".to_owned()),
    }
}

fn labels_problem(labels: &str) -> Option<String> {
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.parse::<i64>().is_ok() {
        return Some("the last part of a host name cannot be a number".to_owned());
    }
    let labels = labels.strip_suffix('.').or((!labels.is_empty()).then_some(labels))?;
    labels.split('.').find(|label| !is_host_label(label)).map(label_problem)
}

fn label_problem(label: &str) -> String {
    format!("{label:?} is no part of a host name (letters, digits and inner hyphens, 1 to 63 of them)")
}

/// Whether a text is an IP address, perhaps with an IPv6 zone.
pub fn is_address(text: &str) -> bool {
    address(text).is_some()
}

/// An IP address; a zone behind an IPv6 address is taken and left out.
pub fn address(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address.parse().ok().filter(IpAddr::is_ipv6),
        _ => text.parse().ok(),
    }
}

/// An address, or an address and the number of bits of it that count, as `10.0.0.0/8`. Bits behind are cut off.
pub fn subnet(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else { return Some(IpNet::from(self::address(text)?)) };
    let digits = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits = bits.parse().ok().filter(|_| digits)?;
    Some(IpNet::new(address.parse().ok()?, bits).ok()?.trunc())
}

/// Why a text behind `unix://` names no socket, if it names none: an absolute path of a file, or `@NAME`.
pub fn socket_problem(socket: &str) -> Option<&'static str> {
    match socket {
        "" => Some("the path of the socket is missing"),
        _ if socket.starts_with('@') => None,
        _ if !socket.starts_with('/') || socket.ends_with('/') => Some("it is no absolute path of a file"),
        _ => None,
    }
}

/// Whether one of two hosts, each perhaps with a wildcard, includes the other.
pub fn hosts_overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Hosts that include each other or are the same: the place of the later one, and the earlier host. Upper case
/// makes a different host here, as in Istio.
pub fn overlaps<'a>(hosts: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut exact: HashMap<&str, &str> = HashMap::new();
    // What stands behind the stars so far, and in front of every suffix what ends in it.
    let mut stars: HashMap<&str, &str> = HashMap::new();
    let mut endings: HashMap<&str, &str> = HashMap::new();
    for (at, host) in hosts.iter().enumerate() {
        let rest = host.strip_prefix('*').unwrap_or(host);
        let suffixes = || rest.char_indices().map(|(start, _)| &rest[start..]).chain([""]);
        let same = exact.get(host).copied();
        let covered = suffixes().find_map(|suffix| stars.get(suffix).copied());
        let covering = host.starts_with('*').then(|| endings.get(rest).copied()).flatten();
        if let Some(other) = same.or(covered).or(covering) {
            found.push((at, other));
        }
        exact.insert(host, host);
        if host.starts_with('*') {
            stars.entry(rest).or_insert(host);
        }
        suffixes().for_each(|suffix| {
            endings.entry(suffix).or_insert(host);
        });
    }
    found
}

/// Whether every host that `narrow` stands for is one of `wide`'s.
pub fn covers(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix('*') {
        Some(suffix) => narrow.strip_prefix('*').unwrap_or(narrow).ends_with(suffix),
        None => wide.eq_ignore_ascii_case(narrow),
    }
}

/// Why a label's key is none, if it is none, as Istio checks it: an optional DNS prefix and a slash, then a name.
pub fn label_key_problem(key: &str) -> Option<String> {
    key_problem(key, |prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|label| label.len() > 63 || is_host_label(label))
    })
}

/// As [`label_key_problem`], as Kubernetes checks it in metadata: the prefix is in lower case.
pub fn qualified_name_problem(key: &str) -> Option<String> {
    key_problem(key, is_dns_subdomain)
}

fn key_problem(key: &str, is_prefix: impl Fn(&str) -> bool) -> Option<String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_prefix(prefix) => name,
        Some((prefix, _)) => return Some(format!("{prefix:?} is no DNS name to stand before a slash")),
        None => key,
    };
    (!is_label_text(name) || name.is_empty() || name.len() > 63)
        .then(|| format!("{key:?} is no key of a label (letters, digits, - _ . inside, at most 63)"))
}

/// Why a label's value is none, if it is none, as Istio checks it: of any length.
pub fn label_value_problem(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| format!("{value:?} is no value of a label (letters, digits, - _ . inside)"))
}

/// As [`label_value_problem`], as Kubernetes checks it in metadata: at most 63 characters.
pub fn metadata_value_problem(value: &str) -> Option<String> {
    let long = value.len() > 63;
    label_value_problem(value).or_else(|| long.then(|| "the value of a label has at most 63 characters".to_owned()))
}

/// Empty, or letters and digits at both ends and `-_.` inside too.
fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Where Services live.
const DOMAIN: &str = "svc.cluster.local";

/// Full host of a Service.
pub fn service_host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.{DOMAIN}")
}

/// The full host that an object means by a host: a short name belongs to the object's namespace.
pub fn full_host(host: &str, namespace: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.contains('.') || host.starts_with('*') { host } else { service_host(&host, namespace) }
}
