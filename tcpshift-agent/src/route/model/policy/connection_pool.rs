//! `connectionPool`: limits and timeouts of the connections to a destination.

use std::time::Duration;

use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Settings of TCP connections. None is Istio's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSettings {
    /// Connections to a destination at once; no limit by default.
    pub max_connections: Option<u32>,
    /// Time for an endpoint to accept, at most; 10 s by default.
    pub connect_timeout: Option<Duration>,
    /// Whether and how the system asks if the other end is still there.
    pub keepalive: Option<Keepalive>,
    /// Time for a connection, at most.
    pub max_connection_duration: Option<Duration>,
    /// Time that a connection may pass no byte; zero for no limit.
    pub idle_timeout: Option<Duration>,
}

/// `SO_KEEPALIVE`, with the system's value for what is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// Unanswered probes that end a connection.
    pub probes: Option<u32>,
    /// Time that a connection is silent before the first probe.
    pub time: Option<Duration>,
    /// From one to the next.
    pub interval: Option<Duration>,
}

/// Reads the block.
pub(super) fn read(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TcpSettings {
    if node.get("tcp").is_none() && node.get("http").is_none() {
        report.error(path, "connectionPool must have at least one field", "add `tcp` or `http`");
    }
    if let Some(http) = node.get("http") {
        check_http(http, &path.name("http"), report);
    }
    let Some(node) = node.get("tcp") else { return TcpSettings::default() };
    let path = path.name("tcp");
    let max_connections = not_negative(node, "maxConnections", &path, report);
    let keepalive = node.get("tcpKeepalive").map(|node| {
        let path = path.name("tcpKeepalive");
        Keepalive {
            probes: node.integer("probes").map(|probes| probes as u32).filter(|probes| *probes > 0),
            time: super::duration(node, "time", &path, report),
            interval: super::duration(node, "interval", &path, report),
        }
    });
    let off = crate::route::duration::parse(node.text("idleTimeout").unwrap_or_default());
    let off = off.is_some_and(|timeout| timeout < Duration::from_millis(1));
    TcpSettings {
        max_connections,
        connect_timeout: super::duration(node, "connectTimeout", &path, report),
        keepalive,
        max_connection_duration: super::duration(node, "maxConnectionDuration", &path, report),
        // `0s` switches it off.
        idle_timeout: if off { Some(Duration::ZERO) } else { super::duration(node, "idleTimeout", &path, report) },
    }
}

fn check_http(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let numbers = [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ];
    for name in numbers {
        not_negative(node, name, path, report);
    }
    super::duration(node, "idleTimeout", path, report);
    if let Some(keepalive) = node.get("http2KeepAlive") {
        let path = path.name("http2KeepAlive");
        for name in ["interval", "timeout"] {
            if super::duration(keepalive, name, &path, report).is_none() {
                report.error(&path.name(name), format!("{name} is needed"), format!("add for example `{name}: 10s`"));
            }
        }
    }
    if node.text("h2UpgradePolicy") == Some("UPGRADE") && node.flag("useClientProtocol") {
        let message = "useClientProtocol cannot be true where h2UpgradePolicy is UPGRADE";
        report.error(&path.name("useClientProtocol"), message, "remove one of them");
    }
}

/// A number of 0 or more; 0 is Istio's word for none.
fn not_negative(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Option<u32> {
    let field = node.get(name)?;
    let number = field.as_i64()?;
    if number < 0 {
        report.error(&path.name(name), format!("this cannot be less than 0, and it is {number}"), "write 0 or more");
    }
    u32::try_from(number).ok().filter(|number| *number > 0)
}
