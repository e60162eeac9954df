//! `loadBalancer`: how the endpoint of a connection is chosen.

use super::locality;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Maglev tables have fewer places than this.
const MAGLEV_LIMIT: u64 = 5_000_011;

/// How endpoints are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadBalancer {
    /// The less loaded of two. The default.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// By a hash of the client's address: always the same one, as long as it is there.
    SourceHash(HashAlgorithm),
}

/// The algorithm that turns a hash into an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// By a ring with at least so many places.
    Ring {
        /// At least 1.
        places: u64,
    },
    /// By a table of so many places.
    Maglev {
        /// A prime number below 5,000,011.
        places: u64,
    },
}

/// Reads the block.
pub(super) fn read(node: &Node, outlier: bool, path: &Path<'_>, report: &mut Report<'_>) -> LoadBalancer {
    let hash = node.get("consistentHash");
    if node.get("simple").is_some() && hash.is_some() {
        report.error(path, "simple and consistentHash exclude each other", "keep one of them");
    }
    if let Some(locality) = node.get("localityLbSetting") {
        locality::check(locality, outlier, &path.name("localityLbSetting"), report);
    }
    if let Some(zones) = node.get("zoneAwareLbSetting") {
        if node.get("localityLbSetting").is_some() {
            let message = "localityLbSetting and zoneAwareLbSetting exclude each other";
            report.error(&path.name("zoneAwareLbSetting"), message, "keep one of them");
        }
        locality::check_zones(zones, outlier, &path.name("zoneAwareLbSetting"), report);
    }
    super::duration(node, "warmupDurationSecs", path, report);
    if let Some(warmup) = node.get("warmup") {
        self::warmup(warmup, &path.name("warmup"), report);
    }
    let simple = node.text("simple");
    for name in ["warmup", "warmupDurationSecs"] {
        if node.get(name).is_some() && (hash.is_some() || matches!(simple, Some("RANDOM" | "PASSTHROUGH"))) {
            let message = "it has an effect with ROUND_ROBIN and LEAST_REQUEST only";
            let cure = if hash.is_some() { "remove it" } else { "remove it, or write `simple: LEAST_REQUEST`" };
            report.warning(&path.name(name), message, cure);
        }
    }
    if let Some(hash) = hash {
        return consistent_hash(hash, &path.name("consistentHash"), report);
    }
    match simple {
        Some("ROUND_ROBIN") => LoadBalancer::RoundRobin,
        Some("RANDOM") => LoadBalancer::Random,
        Some("PASSTHROUGH") => {
            let message = "PASSTHROUGH is not honoured: a gateway's clients name no endpoint; LEAST_REQUEST is used";
            report.warning(&path.name("simple"), message, "write LEAST_REQUEST");
            LoadBalancer::LeastRequest
        }
        _ => LoadBalancer::LeastRequest,
    }
}

fn consistent_hash(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> LoadBalancer {
    let one_of = |names: &[&str], report: &mut Report<'_>| {
        let given: Vec<_> = names.iter().copied().filter(|name| node.get(name).is_some()).collect();
        if given.len() > 1 {
            report.error(path, format!("{} exclude each other", given.join(" and ")), "keep one of them");
        }
        !given.is_empty()
    };
    let keyed = one_of(&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"], report);
    let algorithm = one_of(&["ringHash", "maglev"], report);
    if !keyed {
        report.warning(path, "not honoured: no key to hash is given", "add `useSourceIp: true`");
    }
    if let Some(cookie) = node.get("httpCookie") {
        self::cookie(cookie, &path.name("httpCookie"), report);
    }
    let old_size = node.unsigned("minimumRingSize");
    if old_size > 0 {
        let path = path.name("minimumRingSize");
        if algorithm {
            let message = "minimumRingSize excludes ringHash and maglev";
            report.error(&path, message, "keep one of them");
        } else {
            let cure = "write `ringHash: {minimumRingSize: N}` in its place";
            report.warning(&path, "this field is an old one", cure);
        }
    }
    let ring = node.get("ringHash").map_or(0, |ring| ring.unsigned("minimumRingSize")).max(old_size);
    let mut algorithm = HashAlgorithm::Ring { places: if ring == 0 { 1024 } else { ring } };
    if let Some(maglev) = node.get("maglev") {
        let places = maglev.unsigned("tableSize");
        let problem = match places {
            0 => Some("the size of the table is needed".to_owned()),
            MAGLEV_LIMIT.. => Some(format!("the size of the table is below {MAGLEV_LIMIT}, and this is {places}")),
            _ if !is_prime(places) => Some(format!("the size of the table is a prime number, and {places} is none")),
            _ => None,
        };
        if let Some(problem) = problem {
            let path = path.name("maglev");
            report.error(&path.name("tableSize"), problem, "write for example 65537");
        }
        algorithm = HashAlgorithm::Maglev { places };
    }
    if node.flag("useSourceIp") { LoadBalancer::SourceHash(algorithm) } else { LoadBalancer::LeastRequest }
}

fn cookie(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    if node.word("name").is_none() {
        report.error(&path.name("name"), "the cookie has no name", "name it");
    }
    let path = path.name("attributes");
    let items = node.items("attributes");
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        match item.word("name") {
            None => report.error(&path.name("name"), "the attribute has no name", "name it"),
            Some(name) if items[..index].iter().any(|other| other.word("name") == Some(name)) => {
                report.error(&path.name("name"), format!("two attributes are named {name}"), "remove one");
            }
            Some(_) => {}
        }
    }
}

/// Whether a number below `MAGLEV_LIMIT` is prime, 1 being taken for one as in Envoy.
fn is_prime(number: u64) -> bool {
    let mut factors = (2..).take_while(|factor| factor * factor <= number);
    !factors.any(|factor| number.is_multiple_of(factor))
}

fn warmup(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    if super::duration(node, "duration", path, report).is_none() {
        report.error(&path.name("duration"), "a duration is needed", "add for example `duration: 30s`");
    }
    super::percent(node, "minimumPercent", path, report);
    if let Some(field) = node.get("aggression")
        && field.as_f64().is_none_or(|aggression| aggression <= 0.0)
    {
        report.error(&path.name("aggression"), "it has to be above 0", "write 1.0 for a steady growth");
    }
}
