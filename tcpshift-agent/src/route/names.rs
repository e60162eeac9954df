//! The syntax of names, hosts and labels, as Kubernetes and Istio check it.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Bytes of a label of a DNS name, at most.
const LABEL: usize = 63;
/// Bytes of the name of an object, at most.
const SUBDOMAIN: usize = 253;

/// The fault of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFault {
    /// A sentence about it: `it has 70 characters, 63 at most`.
    pub problem: String,
    /// What to do.
    pub cure: String,
}

impl NameFault {
    fn new(problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { problem: problem.into(), cure: cure.into() }
    }
}

/// The length of a name is checked before its characters, so that the bound that is broken is named.
fn length_fault(text: &str, most: usize) -> Option<NameFault> {
    match text.len() {
        0 => Some(NameFault::new("it is empty", "write a name")),
        length if length > most => {
            Some(NameFault::new(format!("it has {length} characters, {most} at most"), "shorten it"))
        }
        _ => None,
    }
}

/// The first character that cannot stand in a name, or not at its ends.
fn character_fault(text: &str, inner: &str, is_letter: fn(char) -> bool, cure: &str) -> Option<NameFault> {
    let wrong = text.chars().find(|letter| !is_letter(*letter) && !inner.contains(*letter));
    let problem = match (wrong, text.chars().next(), text.chars().next_back()) {
        (Some(wrong), ..) if wrong.is_ascii_uppercase() => format!("it has the upper-case letter {wrong:?}"),
        (Some(wrong), ..) => format!("it has the character {wrong:?}"),
        (None, Some(first), _) if !is_letter(first) => format!("it begins with {first:?}"),
        (None, _, Some(last)) if !is_letter(last) => format!("it ends in {last:?}"),
        _ => return None,
    };
    Some(NameFault::new(problem, cure))
}

fn is_lower(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn is_any(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
}

const LOWER_CURE: &str = "use lower-case letters, digits and inner hyphens";
const ANY_CURE: &str = "use letters, digits and inner hyphens";

/// Why a text is no RFC 1123 label, if it is none, as Kubernetes wants it of namespaces: lower case, at most 63 characters.
pub fn dns_label_fault(name: &str) -> Option<NameFault> {
    length_fault(name, LABEL).or_else(|| character_fault(name, "-", is_lower, LOWER_CURE))
}

/// Whether a text is an RFC 1123 label in lower case.
pub fn is_dns_label(name: &str) -> bool {
    dns_label_fault(name).is_none()
}

/// As [`dns_label_fault`], of the name of a Service, which begins with a letter (RFC 1035).
pub fn service_name_fault(name: &str) -> Option<NameFault> {
    let digit = || name.starts_with(|first: char| first.is_ascii_digit());
    dns_label_fault(name)
        .or_else(|| digit().then(|| NameFault::new("it begins with a digit", "begin it with a letter")))
}

/// Why a text is no name of a port of a container, if it is none: as IANA registers names of services.
pub fn container_port_fault(name: &str) -> Option<NameFault> {
    let further = || match name {
        _ if name.contains("--") => Some(NameFault::new("it has two hyphens in a row", "use single hyphens")),
        _ if !name.contains(|letter: char| letter.is_ascii_lowercase()) => {
            Some(NameFault::new("it has no letter", "use one letter at least"))
        }
        _ => None,
    };
    length_fault(name, 15).or_else(|| character_fault(name, "-", is_lower, LOWER_CURE)).or_else(further)
}

/// Why a text is no name of an object, if it is none: labels joined by dots, at most 253 characters. Kubernetes does not
/// bound the length of a label here.
pub fn dns_subdomain_fault(name: &str) -> Option<NameFault> {
    let cure = "use lower-case letters, digits, inner hyphens and dots";
    length_fault(name, SUBDOMAIN).or_else(|| {
        name.split('.').find_map(|label| match label {
            "" => Some(NameFault::new("it has a dot without a name on each side", cure)),
            _ => character_fault(label, "-", is_lower, cure),
        })
    })
}

/// Whether a text is a name of an object.
pub fn is_dns_subdomain(name: &str) -> bool {
    dns_subdomain_fault(name).is_none()
}

/// Why a text is no label as Istio takes it in hosts, ports and subset names, if it is none: upper case is allowed.
pub fn host_label_fault(name: &str) -> Option<NameFault> {
    length_fault(name, LABEL).or_else(|| character_fault(name, "-", is_any, ANY_CURE))
}

/// Whether a text is a label as Istio takes it.
pub fn is_host_label(name: &str) -> bool {
    host_label_fault(name).is_none()
}

/// A name for a message, the end of a long one left out.
pub fn shown(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}", format!("{}…", &name[..end])),
        None => format!("{name:?}"),
    }
}

/// `a, b and 3 more`: names of a list, and the number of those that are left out.
pub fn and_more(names: &[impl AsRef<str>], more: usize) -> String {
    let names = names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
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
    let fault = || match first {
        "*" => None,
        _ if first.len() > LABEL => length_fault(first, LABEL),
        _ => host_label_fault(label),
    };
    size_problem(host).or_else(|| Some(label_problem(first, &fault()?))).or_else(|| labels_problem(rest?))
}

fn size_problem(host: &str) -> Option<String> {
    match host.len() {
        0 => Some("a host name cannot be empty".to_owned()),
        1..=255 => None,
        length => Some(format!("a host name has at most 255 characters, and this has {length}")),
    }
}

fn labels_problem(labels: &str) -> Option<String> {
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.parse::<i64>().is_ok() {
        return Some("the last part of a host name cannot be a number".to_owned());
    }
    let labels = labels.strip_suffix('.').or((!labels.is_empty()).then_some(labels))?;
    labels.split('.').find_map(|label| Some(label_problem(label, &host_label_fault(label)?)))
}

fn label_problem(label: &str, fault: &NameFault) -> String {
    format!("{label:?} is no part of a host name: {}", fault.problem)
}

/// The cure for a text that is no host name.
pub fn host_cure(text: &str) -> &'static str {
    match text {
        "" => "name a host, as in echo.example.com",
        _ if text.contains("://") => "write the host alone, without what stands before it",
        _ if text.contains('/') => "write the host alone, without a path",
        _ if text.contains(':') => "write the host alone, without a port",
        _ if text.len() > 255 || text.split('.').any(|label| label.len() > LABEL) => "shorten it",
        _ if text.rsplit('.').next().is_some_and(|last| last.parse::<i64>().is_ok()) => {
            "end the name with a word, as in echo.example.com"
        }
        _ => "use letters, digits, inner hyphens and dots, as in echo.example.com",
    }
}

/// The cure for a text that names no service.
pub fn service_cure(text: &str) -> &'static str {
    match text {
        _ if is_address(text.split_once(':').map_or(text, |(host, _)| host)) => {
            "make a ServiceEntry with the address as endpoint, and name its host"
        }
        _ if text.contains(['/', ':']) => host_cure(text),
        _ => "name a service, as tcp-echo or tcp-echo.example.com",
    }
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

/// Hosts that include each other or are the same: the index of the later one, and the earlier host. Upper case
/// makes a different host here, as in Istio.
pub fn overlaps<'a>(hosts: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut exact: HashMap<&str, &str> = HashMap::new();
    // By suffix: the first host with a star before it, and the first host that ends in it.
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

/// Why a label's key is none, if it is none, as Istio checks it: an optional DNS prefix and a slash, then a name. The
/// length of a part of the prefix is not bounded.
pub fn label_key_fault(key: &str) -> Option<NameFault> {
    let prefix = |prefix: &str| {
        let label = |label| length_fault(label, usize::MAX).or_else(|| character_fault(label, "-", is_any, ""));
        length_fault(prefix, SUBDOMAIN).or_else(|| prefix.split('.').find_map(label))
    };
    key_fault(key, prefix, "a label")
}

/// As [`label_key_fault`], as Kubernetes checks it in metadata: the prefix is in lower case.
pub fn qualified_name_fault(key: &str) -> Option<NameFault> {
    key_fault(key, dns_subdomain_fault, "a label")
}

/// As [`qualified_name_fault`], of an annotation, whose prefix can be in any case.
pub fn annotation_key_fault(key: &str) -> Option<NameFault> {
    key_fault(key, |prefix| dns_subdomain_fault(&prefix.to_ascii_lowercase()), "an annotation")
}

fn key_fault(key: &str, prefix_fault: impl Fn(&str) -> Option<NameFault>, thing: &str) -> Option<NameFault> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let about = |part: &str, fault: &NameFault, cure: &str| {
        let what = fault.problem.strip_prefix("it ").unwrap_or(&fault.problem);
        Some(NameFault::new(format!("{} is no key of {thing}: {part} {what}", shown(key)), cure))
    };
    if let Some(fault) = prefix.and_then(prefix_fault) {
        return about(
            "what stands before the slash",
            &fault,
            "write a DNS name before the slash, at most 253 characters",
        );
    }
    let fault = length_fault(name, LABEL).or_else(|| character_fault(name, "-_.", is_any, ""))?;
    about(if prefix.is_some() { "what stands behind the slash" } else { "it" }, &fault, KEY_CURE)
}

const KEY_CURE: &str = "use at most 63 letters, digits and inner - _ .";

/// Why a label's value is none, if it is none, as Istio checks it: of any length.
pub fn label_value_fault(value: &str) -> Option<NameFault> {
    let fault = (!value.is_empty()).then(|| character_fault(value, "-_.", is_any, ""))??;
    let cure = "use letters, digits and inner - _ .";
    Some(NameFault::new(format!("{} is no value of a label: {}", shown(value), fault.problem), cure))
}

/// As [`label_value_fault`], as Kubernetes checks it in metadata: at most 63 characters.
pub fn metadata_value_fault(value: &str) -> Option<NameFault> {
    let long = length_fault(value, LABEL).filter(|_| !value.is_empty());
    let fault = long.or_else(|| label_value_fault(value))?;
    let problem =
        fault.problem.strip_prefix("it ").map(|what| format!("{} is no value of a label: it {what}", shown(value)));
    Some(NameFault::new(problem.unwrap_or(fault.problem), KEY_CURE))
}

/// The domain of Services.
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
