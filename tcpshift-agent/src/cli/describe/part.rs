//! The part of the plan in force that belongs to an object.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::hosts::{hosts, is_for};
use super::used::EntryUsers;
use crate::admin::api::{DestinationStatus, ListenerStatus, RouteStatus};
use crate::cli::column::{list, plain};
use crate::route::kind::Kind;

/// The listeners, routes and destinations that come from the object.
pub(super) fn of(kind: Kind, object: &Value, users: &EntryUsers, listeners: &[ListenerStatus]) -> Vec<ListenerStatus> {
    let full = format!("{}/{}", plain(object, "/metadata/namespace"), plain(object, "/metadata/name"));
    match kind {
        Kind::Gateway | Kind::GatewayApiGateway => {
            let is = |listener: &&ListenerStatus| listener.name.rsplit_once(':').is_some_and(|(name, _)| name == full);
            listeners.iter().filter(is).cloned().collect()
        }
        Kind::VirtualService | Kind::TcpRoute => {
            narrowed(listeners, |route, _| route.name.split('#').next().is_some_and(|name| name == full))
        }
        Kind::WorkloadEntry => narrowed(listeners, |_, destination| users.lead(destination, object)),
        Kind::EndpointSlice => {
            let addresses = list(object, "/endpoints").iter().flat_map(|one| list(one, "/addresses"));
            let addresses: Vec<IpAddr> = addresses.filter_map(|ip| plain(ip, "").parse().ok()).collect();
            narrowed(listeners, |_, destination| addresses.iter().any(|ip| reaches(destination, *ip)))
        }
        Kind::DestinationRule | Kind::Service | Kind::ServiceEntry => {
            let hosts = hosts(kind, object);
            narrowed(listeners, |_, destination| {
                let host = destination.name.split(':').next().unwrap_or_default();
                is_for(&hosts, host)
            })
        }
        Kind::WorkloadGroup | Kind::ReferenceGrant => Vec::new(),
    }
}

fn reaches(destination: &DestinationStatus, ip: IpAddr) -> bool {
    let ips = destination.addresses.iter().filter_map(|address| address.parse::<SocketAddr>().ok());
    ips.map(|address| address.ip().to_canonical()).any(|other| other == ip.to_canonical())
}

/// The plan with only the wanted destinations, without routes and listeners that have none.
fn narrowed(
    listeners: &[ListenerStatus],
    wanted: impl Fn(&RouteStatus, &DestinationStatus) -> bool,
) -> Vec<ListenerStatus> {
    let mut narrowed = listeners.to_vec();
    for listener in &mut narrowed {
        for route in &mut listener.routes {
            let mut destinations = std::mem::take(&mut route.destinations);
            destinations.retain(|destination| wanted(route, destination));
            route.destinations = destinations;
        }
        listener.routes.retain(|route| !route.destinations.is_empty());
    }
    narrowed.retain(|listener| !listener.routes.is_empty());
    narrowed
}
