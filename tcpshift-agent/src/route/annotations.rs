//! tcpshift's own annotations: `tcpshift.io/steer-by` and `tcpshift.io/on-empty` on a VirtualService, and
//! `tcpshift.io/datapath` and `tcpshift.io/half-closed-timeout` on a TCPRoute too.

use std::time::Duration;

use super::duration;
use super::kind::Kind;
use super::node::{Field, Node};
use super::report::{Path, Report};
use super::spelling::closest;

const PREFIX: &str = "tcpshift.io/";
const STEER_BY: &str = "tcpshift.io/steer-by";
const ON_EMPTY: &str = "tcpshift.io/on-empty";
const DATAPATH: &str = "tcpshift.io/datapath";
const HALF_CLOSED: &str = "tcpshift.io/half-closed-timeout";

/// Annotations with which Istio refuses an object.
const REFUSED: [&str; 4] = [
    "istio.io/dry-run",
    "internal.istio.io/webhook-always-reject",
    "internal.istio.io/parents",
    "internal.istio.io/parent-namespace",
];

/// Datapaths that only other versions have.
const MISSING: [&str; 2] = ["sockmap", "nat"];

/// The values of the annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// What leads a connection to its slot.
    pub by: SteerBy,
    /// Whether the others take the share of a destination that has no endpoint.
    pub redistribute: bool,
    /// The datapath that the route asks for.
    pub asked: Wish,
    /// How long a carried connection may be silent once one side has ended its stream; zero for ever.
    pub half_closed_timeout: Option<Duration>,
}

/// The datapath that a route asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wish {
    /// The fastest that can serve the route.
    #[default]
    Auto,
    /// The agent carries connections.
    Proxy,
    /// A kernel program rewrites the address when a local client connects.
    Connect,
    /// A kernel program hands the SYN to a listening socket of this host.
    Lookup,
}

/// What leads a connection to its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SteerBy {
    /// Addresses and ports of both ends.
    #[default]
    Connection,
    /// The route's counter.
    Sequence,
    /// The client's address, or its first bits.
    Source {
        /// Of an IPv4 address, 0 to 32.
        v4_bits: u32,
        /// Of an IPv6 address, 0 to 128.
        v6_bits: u32,
    },
}

/// Reads the annotations of a VirtualService. An unknown one that begins with `tcpshift.io/` is an error.
pub fn read(metadata: &Node, report: &mut Report<'_>) -> Annotations {
    let mut steering = Annotations::default();
    let path = Path::ROOT.name("metadata");
    let path = path.name("annotations");
    for field in metadata.fields("annotations") {
        let path = path.name(&field.name);
        let value = field.node.as_str().unwrap_or_default();
        match field.name.as_str() {
            STEER_BY => match steer_by(value) {
                Some(by) => steering.by = by,
                None => report.error(&path,
                    format!("{value:?} is no way to steer"),
                    "write connection, sequence, source, or source/24,64 for the first bits of an IPv4 and an IPv6 address",
                ),
            },
            ON_EMPTY => match value {
                "refuse" => steering.redistribute = false,
                "redistribute" => steering.redistribute = true,
                _ => report.error(&path, format!("{value:?} has no meaning"), "write refuse or redistribute"),
            },
            DATAPATH => steering.asked = datapath(field, &path, report),
            HALF_CLOSED => steering.half_closed_timeout = half_closed(field, &path, report),
            name => unknown(name, &[STEER_BY, ON_EMPTY, DATAPATH, HALF_CLOSED], &path, report),
        }
    }
    steering
}

/// The annotations of a TCPRoute. [`check`] reports their problems.
pub fn of_tcp_route(metadata: &Node) -> Annotations {
    let text = |name: &str| {
        let said = metadata.fields("annotations").iter().find(|field| field.name == name);
        said.and_then(|field| field.node.as_str())
    };
    Annotations {
        asked: text(DATAPATH).and_then(Wish::from_word).unwrap_or_default(),
        half_closed_timeout: text(HALF_CLOSED).and_then(duration::parse),
        ..Annotations::default()
    }
}

/// Refuses annotations with which Istio refuses an object.
pub fn refuse_as_istio(metadata: &Node, report: &mut Report<'_>) {
    let path = Path::ROOT.name("metadata");
    let path = path.name("annotations");
    for field in metadata.fields("annotations") {
        if REFUSED.contains(&field.name.as_str()) {
            let message = "Istio refuses objects of this kind with this annotation";
            report.error(&path.name(&field.name), message, "remove it");
        }
    }
}

/// Checks the annotations of other kinds: a TCPRoute may have two of tcpshift, the others none.
pub fn check(kind: Kind, metadata: &Node, report: &mut Report<'_>) {
    let path = Path::ROOT.name("metadata");
    let path = path.name("annotations");
    for field in metadata.fields("annotations") {
        let path = path.name(&field.name);
        match field.name.as_str() {
            STEER_BY | ON_EMPTY => {
                report.error(&path, "this annotation belongs on a VirtualService", "move it there");
            }
            DATAPATH if kind == Kind::TcpRoute => drop(datapath(field, &path, report)),
            HALF_CLOSED if kind == Kind::TcpRoute => drop(half_closed(field, &path, report)),
            DATAPATH | HALF_CLOSED => {
                let message = "this annotation belongs on a VirtualService or a TCPRoute";
                report.error(&path, message, "move it there");
            }
            name => unknown(name, if kind == Kind::TcpRoute { &[DATAPATH, HALF_CLOSED] } else { &[] }, &path, report),
        }
    }
}

impl Wish {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "auto" => Self::Auto,
            "proxy" => Self::Proxy,
            "connect" => Self::Connect,
            "lookup" => Self::Lookup,
            _ => return None,
        })
    }
}

fn datapath(field: &Field, path: &Path<'_>, report: &mut Report<'_>) -> Wish {
    let value = field.node.as_str().unwrap_or_default();
    if let Some(asked) = Wish::from_word(value) {
        return asked;
    }
    let message = if MISSING.contains(&value) {
        format!("this version does not have the datapath {value:?}")
    } else {
        format!("{value:?} is no datapath")
    };
    report.error(path, message, "write auto, proxy, connect or lookup");
    Wish::Auto
}

fn half_closed(field: &Field, path: &Path<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let value = field.node.as_str().unwrap_or_default();
    let parsed = duration::parse(value);
    if parsed.is_none() {
        report.error(path, format!("{value:?} is no duration"), "write for example 30m, or 0s for no limit");
    }
    parsed
}

/// Refuses an unknown annotation of tcpshift on a kind that may have the `known` ones.
fn unknown(name: &str, known: &[&str], path: &Path<'_>, report: &mut Report<'_>) {
    if name.starts_with(PREFIX) {
        let cure = match closest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if known.is_empty() => "remove it".to_owned(),
            None => format!("remove it, or write one of {}", known.join(", ")),
        };
        report.error(path, "unknown annotation", cure);
    }
}

fn steer_by(value: &str) -> Option<SteerBy> {
    match value {
        "connection" => return Some(SteerBy::Connection),
        "sequence" => return Some(SteerBy::Sequence),
        "source" => return Some(SteerBy::Source { v4_bits: 32, v6_bits: 128 }),
        _ => {}
    }
    let (v4, v6) = value.strip_prefix("source/")?.split_once(',')?;
    let bits = |text: &str, most: u32| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|bits: &u32| digits && *bits <= most)
    };
    Some(SteerBy::Source { v4_bits: bits(v4, 32)?, v6_bits: bits(v6, 128)? })
}
