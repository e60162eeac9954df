//! What `status` says of listeners, routes and destinations: the plan beside what was counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::api::{Achieved, DestinationStatus, ListenerStatus, RouteStatus, Trouble};
use crate::connections::Connections;
use crate::plan::{Destination, Listener, Plan, Route, steer_name};

/// The datapath that carries every route: this version has no other.
pub const DATAPATH: &str = "proxy";

/// Two-sided 95 % of a normal distribution.
const Z: f64 = 1.959_964;

/// Everything that is listened on.
pub fn listeners(plan: &Plan, connections: &Connections, down: &BTreeMap<SocketAddr, String>) -> Vec<ListenerStatus> {
    plan.listeners.iter().map(|one| listener(one, connections, down.get(&one.address))).collect()
}

fn listener(listener: &Listener, connections: &Connections, down: Option<&String>) -> ListenerStatus {
    let count = connections.listeners.get(listener.number);
    ListenerStatus {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        down: down.cloned(),
        unrouted: count.unrouted.load(Relaxed),
        routes: listener.routes.iter().map(|one| route(one, connections)).collect(),
    }
}

fn route(route: &Route, connections: &Connections) -> RouteStatus {
    // Read once: connections go on being opened, and no share may be more than the whole.
    let opened: Vec<u64> = route
        .destinations
        .iter()
        .map(|one| connections.destinations.get(one.decides.number).opened_since_mark())
        .collect();
    let total = opened.iter().sum();
    RouteStatus {
        name: route.name(),
        steer_by: steer_name(&route.steer),
        datapath: DATAPATH.to_owned(),
        destinations: route
            .destinations
            .iter()
            .zip(opened)
            .map(|(one, opened)| destination(one, (opened, total), connections))
            .collect(),
    }
}

fn destination(
    destination: &Destination,
    (opened_since_change, total): (u64, u64),
    connections: &Connections,
) -> DestinationStatus {
    let count = connections.destinations.get(destination.decides.number);
    let failures: Vec<_> =
        count.failures().map(|(reason, count)| Trouble { reason: reason.to_string(), count }).collect();
    let ended = count.ended().map(|(reason, count)| Trouble { reason: reason.to_string(), count }).collect();
    DestinationStatus {
        name: destination.name.clone(),
        weight: destination.weight,
        slots: destination.slots,
        endpoints: destination.endpoints.len() as u32,
        addresses: destination.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect(),
        unusable: destination.unusable.as_ref().map(ToString::to_string),
        opened: count.opened.load(Relaxed),
        opened_since_change,
        achieved: achieved(opened_since_change, total),
        active: count.active.load(Relaxed),
        failed: failures.iter().map(|trouble| trouble.count).sum(),
        failures,
        ended,
    }
}

/// A share and its 95 % interval (Wilson 1927), which holds for small numbers too.
fn achieved(hits: u64, of: u64) -> Option<Achieved> {
    if of == 0 {
        return None;
    }
    let n = of as f64;
    let share = hits as f64 / n;
    let denominator = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Achieved { share, low: (middle - half).clamp(0.0, share), high: (middle + half).clamp(share, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_wilson() {
        assert!(achieved(0, 0).is_none());
        let half = achieved(50, 100).unwrap();
        assert!((half.low - 0.4038).abs() < 1e-3 && (half.high - 0.5962).abs() < 1e-3, "{half:?}");
        let none = achieved(0, 10).unwrap();
        assert!(none.low.abs() < 1e-12 && (none.high - 0.2775).abs() < 1e-3, "{none:?}");
        let all = achieved(10, 10).unwrap();
        assert!((all.high - 1.0).abs() < 1e-12 && (all.low - 0.7225).abs() < 1e-3, "{all:?}");
    }
}
