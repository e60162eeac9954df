//! The levels of a DestinationRule's policies: what of the host's, the subset's and the port's policy holds.
//!
//! A subset's policy replaces the host's block by block. A port's policy replaces the one around it as a whole:
//! a block that it leaves out is the default again.

use std::time::Duration;

use super::{Limits, Settings};
use crate::route::model::Policy;

/// What holds at a port of a service, for the whole host or for one of its subsets.
pub fn at_port(host: Option<&Policy>, subset: Option<&Policy>, port: u16) -> Policy {
    let mut policy = Policy::default();
    for over in [host, subset].into_iter().flatten() {
        lay_over(&mut policy, over, port);
    }
    policy
}

fn lay_over(policy: &mut Policy, over: &Policy, port: u16) {
    policy.load_balancer = over.load_balancer.or(policy.load_balancer);
    policy.connection_pool = over.connection_pool.or(policy.connection_pool);
    policy.outlier_detection = over.outlier_detection.or(policy.outlier_detection);
    policy.proxy_protocol = over.proxy_protocol.or(policy.proxy_protocol);
    if let Some((_, own)) = over.ports.iter().find(|(number, _)| *number == u32::from(port)) {
        policy.load_balancer = own.load_balancer;
        policy.connection_pool = own.connection_pool;
        policy.outlier_detection = own.outlier_detection;
    }
}

/// How connections to a destination with this policy are opened and kept.
pub fn settings(policy: &Policy) -> Settings {
    let default = Settings::default();
    let Some(pool) = policy.connection_pool else { return default };
    Settings {
        connect_timeout: pool.connect_timeout.unwrap_or(default.connect_timeout),
        max_connections: pool.max_connections,
        keepalive: pool.keepalive,
    }
}

/// How long the connections of a route last whose first destination has this policy. Levels below the host's
/// play no part in it, as the limits hold for all of the route's destinations.
pub fn limits(host: Option<&Policy>) -> Limits {
    let Some(pool) = host.and_then(|policy| policy.connection_pool) else { return Limits::default() };
    // Zero says that there is no such limit, which is the default.
    let idle_timeout = pool.idle_timeout.filter(|timeout| *timeout > Duration::ZERO);
    Limits { idle_timeout, max_duration: pool.max_connection_duration, half_closed_timeout: None }
}
