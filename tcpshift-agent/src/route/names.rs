//! The syntax of names, hosts and labels, as Kubernetes and Istio check it.

use std::collections::HashMap;
use std::net::IpAddr;

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
    if host.is_empty() {
        return Some("a host name cannot be empty".to_owned());
    }
    if host.len() > 255 {
        return Some("a host name has at most 255 characters".to_owned());
    }
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    if let Some(label) = labels.clone().find(|label| !is_host_label(label)) {
        return Some(format!(
            "{label:?} is no part of a host name (letters, digits and inner hyphens, 1 to 63 of them)"
        ));
    }
    if labels.next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some("the last part of a host name cannot be a number".to_owned());
    }
    None
}

/// As [`host_problem`], for hosts that may begin with a wildcard: `*`, `*.example.com`, `*-v2.example.com`.
pub fn wildcard_host_problem(host: &str) -> Option<String> {
    match host.strip_prefix('*') {
        None => host_problem(host),
        Some("") => None,
        // The rest is held to the rules with a letter in the place of the star.
        Some(rest) => match rest.strip_prefix('.') {
            Some(rest) => host_problem(rest),
            None => host_problem(&format!("x{rest}")),
        },
    }
}

/// Whether a text is an IP address.
pub fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether one of two hosts, each perhaps with a wildcard, includes the other.
pub fn hosts_overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Hosts that include each other or are the same: the place of the later one, and the earlier host.
pub fn overlaps<'a>(hosts: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut exact: HashMap<String, &str> = HashMap::new();
    // What stands behind the stars so far, and in front of every suffix what ends in it.
    let mut stars: HashMap<&str, &str> = HashMap::new();
    let mut endings: HashMap<&str, &str> = HashMap::new();
    for (at, host) in hosts.iter().enumerate() {
        let rest = host.strip_prefix('*').unwrap_or(host);
        let suffixes = || rest.char_indices().map(|(start, _)| &rest[start..]).chain([""]);
        let same = exact.get(&host.to_ascii_lowercase()).copied();
        let covered = suffixes().find_map(|suffix| stars.get(suffix).copied());
        let covering = host.starts_with('*').then(|| endings.get(rest).copied()).flatten();
        if let Some(other) = same.or(covered).or(covering) {
            found.push((at, other));
        }
        exact.insert(host.to_ascii_lowercase(), host);
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

/// Why a label's key is none, if it is none: an optional DNS prefix and a slash, then a name.
pub fn label_key_problem(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some((prefix, _)) => return Some(format!("{prefix:?} is no DNS name to stand before a slash")),
        None => key,
    };
    (!is_label_text(name) || name.is_empty() || name.len() > 63)
        .then(|| format!("{key:?} is no key of a label (letters, digits, - _ . inside, at most 63)"))
}

/// Why a label's value is none, if it is none.
pub fn label_value_problem(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| format!("{value:?} is no value of a label (letters, digits, - _ . inside)"))
}

/// Empty, or letters and digits at both ends and `-_.` inside too.
fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
