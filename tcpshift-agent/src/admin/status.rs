//! Listeners, routes and destinations of `status`, of a [`Sample`]: the one place where counters become words. The share of a
//! destination is worked out in `achieved`.

mod achieved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;

use self::achieved::achieved;
use super::api::{
    AssignmentStatus, BeforeStatus, DestinationStatus, EndpointStatus, LastFailureStatus, LimitStatus, ListenerStatus,
    RateStatus, RatesStatus, RouteStatus, SteeredStatus, Trouble,
};
use crate::connections::ConnectionFailure;
use crate::observe::{Before, DatedFailure, Rates, Sample};
use crate::plan::{Datapath, Destination, Endpoint, EndpointAddress, Listener, MeshListener, Plan, Route, steer_name};

/// Why an endpoint is not ready at which nobody listens.
const NOBODY_LISTENS: &str = "nobody listens";
/// And why one is not that takes no connections; the reason stands behind it.
const EJECTED: &str = "ejected";

/// What is known beside a sample.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Listeners that are not served, and why.
    pub down: &'a BTreeMap<SocketAddr, String>,
    /// Endpoints of this host at which nobody listens.
    pub silent: &'a BTreeSet<SocketAddr>,
    /// Endpoints that are ejected, by number, and why.
    pub ejected: &'a HashMap<u32, ConnectionFailure>,
}

/// A sample on its way to words.
struct Words<'a> {
    sample: &'a Sample,
    known: Knowledge<'a>,
    now: SystemTime,
}

/// Who decides, with the counts of who has decided.
pub fn counted(assignment: AssignmentStatus, sample: &Sample) -> AssignmentStatus {
    AssignmentStatus { kernel: sample.obeyed, agent: sample.decided, steered: sample.steered, ..assignment }
}

/// The datapaths that routes have, as `connect + proxy`.
pub fn datapaths(plan: &Plan) -> String {
    let used: BTreeSet<&str> = plan.routes().map(|route| name(route.chosen.datapath)).collect();
    if used.is_empty() { name(None).to_owned() } else { used.into_iter().collect::<Vec<_>>().join(" + ") }
}

/// What the agent before this one still carries.
pub fn before(sample: &Sample) -> Option<BeforeStatus> {
    sample.before.as_deref().map(|Before { peer, active, .. }| BeforeStatus { agent: peer.clone(), active: *active })
}

/// Trouble that is no single route's.
pub fn troubles(sample: &Sample, more: &[(&str, u64)]) -> Vec<Trouble> {
    let all = sample.troubles.iter().chain(more).filter(|(_, count)| *count > 0);
    all.map(|(reason, count)| Trouble { reason: (*reason).to_owned(), count: *count }).collect()
}

/// All listeners, then the ports of services that clients inside a mesh connect to: each once, or once for each address family
/// if the families have different routes. A port without a route is left out.
pub fn listeners(sample: &Sample, known: Knowledge<'_>) -> Vec<ListenerStatus> {
    let words = Words { sample, known, now: SystemTime::now() };
    let plan = &sample.plan;
    let mut listeners: Vec<_> = plan.listeners.iter().map(|one| words.listener(one)).collect();
    let services: Vec<_> = plan.mesh.iter().filter(|one| !one.routes.is_empty()).collect();
    for families in services.chunk_by(|one, other| (&one.host, one.port) == (&other.host, other.port)) {
        let first = &families[0].routes;
        let alike = |other: &MeshListener| {
            let mut both = other.routes.iter().zip(first);
            other.routes.len() == first.len() && both.all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if families.iter().all(|other| alike(other)) {
            let addresses: Vec<_> = families.iter().map(|one| one.written()).collect();
            listeners.push(words.in_mesh(families[0], addresses.join(", ")));
        } else {
            listeners.extend(families.iter().map(|one| words.in_mesh(one, one.written())));
        }
    }
    listeners
}

fn name(datapath: Option<Datapath>) -> &'static str {
    datapath.map_or("none", Datapath::name)
}

impl Words<'_> {
    /// A connection inside a mesh that no rule fits goes to the service, and is not counted.
    fn in_mesh(&self, listener: &MeshListener, address: String) -> ListenerStatus {
        ListenerStatus {
            name: listener.name(),
            address,
            down: None,
            unrouted: 0,
            routes: listener.routes.iter().map(|one| self.route(one)).collect(),
        }
    }

    fn listener(&self, listener: &Listener) -> ListenerStatus {
        ListenerStatus {
            name: listener.name.clone(),
            address: listener.address.to_string(),
            down: self.known.down.get(&listener.address).cloned(),
            unrouted: self.sample.listener(listener.number).unrouted,
            routes: listener.routes.iter().map(|one| self.route(one)).collect(),
        }
    }

    fn route(&self, route: &Route) -> RouteStatus {
        let total = self.sample.opened_since_change(route);
        let (datapath, reason) = route.datapath();
        RouteStatus {
            name: route.name(),
            steer_by: steer_name(&route.steer),
            datapath: name(datapath).to_owned(),
            reason: reason.to_owned(),
            destinations: route.destinations.iter().map(|one| self.destination(one, total)).collect(),
        }
    }

    /// `total` is of all destinations of the route since its weights changed.
    fn destination(&self, destination: &Destination, total: u64) -> DestinationStatus {
        let (set, sample) = (self.sample.sets.of(destination), self.sample.destination(destination.number));
        let trouble = |reason: String, count: u64| Trouble { reason, count };
        let by_endpoint: Vec<_> = set.all().map(|one| self.endpoint(one)).collect();
        let ready = by_endpoint.iter().filter(|endpoint| endpoint.unready.is_none()).count();
        let steered = sample.steered;
        DestinationStatus {
            name: destination.name.clone(),
            weight: destination.weight,
            slots: destination.slots,
            endpoints: by_endpoint.len() as u32,
            addresses: by_endpoint.iter().map(|endpoint| endpoint.address.clone()).collect(),
            by_endpoint,
            unusable: set.unusable.as_ref().map(ToString::to_string),
            opened: sample.opened,
            opened_since_change: sample.opened_since_change,
            achieved: achieved(sample.opened_since_change, total),
            active: sample.active,
            before: sample.before,
            bytes_sent: sample.bytes[0],
            bytes_received: sample.bytes[1],
            ready: Some(ready as u32),
            rates: rates(sample.rates),
            last_failure: sample.last_failure.map(|failure| self.last_failure(failure)),
            limit: destination.settings.max_connections.map(|most| LimitStatus { most, carried: sample.target_active }),
            failed: sample.failed(),
            failures: sample.failures.iter().map(|(cause, count)| trouble(cause.to_string(), *count)).collect(),
            ended: sample.ended.iter().map(|(reason, count)| trouble(reason.to_string(), *count)).collect(),
            steered: (steered.closed > 0).then(|| SteeredStatus {
                closed: steered.closed,
                bytes_sent: steered.sent,
                bytes_received: steered.received,
                rtt_microseconds: steered.rtt / steered.closed,
            }),
        }
    }

    fn endpoint(&self, endpoint: &Endpoint) -> EndpointStatus {
        let sample = self.sample.endpoint(endpoint.decides.number);
        let silent = match &endpoint.address {
            EndpointAddress::Tcp(address) => self.known.silent.contains(address),
            EndpointAddress::Unix(_) | EndpointAddress::Original(_) => false,
        };
        let ejected = self.known.ejected.get(&endpoint.decides.number);
        let ejected = ejected.map(|reason| format!("{EJECTED} ({reason})"));
        EndpointStatus {
            address: endpoint.address.to_string(),
            opened: sample.opened,
            failed: sample.failed,
            active: sample.active,
            unready: silent.then(|| NOBODY_LISTENS.to_owned()).or(ejected),
            rates: rates(sample.rates),
            last_failure: sample.last_failure.map(|failure| self.last_failure(failure)),
        }
    }

    fn last_failure(&self, DatedFailure { at, cause }: DatedFailure) -> LastFailureStatus {
        LastFailureStatus {
            at: Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default(),
            seconds_ago: self.now.duration_since(at).unwrap_or_default().as_secs(),
            reason: cause.to_string(),
        }
    }
}

fn rates(Rates { opened, failed }: Rates) -> RatesStatus {
    let rate = |[second, ten, minute]: [f64; 3]| RateStatus { second, ten, minute };
    RatesStatus { opened: rate(opened), failed: rate(failed) }
}
