//! Live connections in the words of the API: which numbers a filter means, and what the numbers of a connection are called.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::api::{ApiFailure, ConnectionFilter, ConnectionStatus, FailureReason};
use crate::connections::{Connections, LiveConnection, LiveFilter, LiveStage};
use crate::plan::{Datapath, Destination, EndpointAddress, Kind, Plan, Route, Sets};
use crate::route::read::DEFAULT_NAMESPACE;
use crate::route::{names, spelling};

/// Names in a message, at most.
const NAMES: usize = 5;

/// What numbers of destinations and endpoints are called: those of a plan, and those that are left of earlier ones.
#[derive(Debug)]
pub struct Directory<'a> {
    destinations: HashMap<u32, (&'a Route, &'a Destination)>,
    endpoints: HashMap<u32, EndpointName<'a>>,
}

/// Where an endpoint is, in force or as it was written down when it left.
#[derive(Clone, Copy, Debug)]
enum EndpointName<'a> {
    There(&'a EndpointAddress),
    Left(&'a str),
}

impl EndpointName<'_> {
    fn text(&self) -> String {
        match self {
            Self::There(address) => address.to_string(),
            Self::Left(address) => (*address).to_owned(),
        }
    }

    /// Whether a person means it: by all of it, or by its address without the port.
    fn is_meant(&self, wanted: &str, ip: Option<IpAddr>) -> bool {
        let at = |address: &EndpointAddress| match (ip, address) {
            (Some(ip), EndpointAddress::Tcp(address)) => address.ip().to_canonical() == ip.to_canonical(),
            _ => false,
        };
        match self {
            Self::There(address) => at(address) || address.to_string() == wanted,
            Self::Left(address) => {
                *address == wanted || address.parse().is_ok_and(|address| at(&EndpointAddress::Tcp(address)))
            }
        }
    }
}

impl<'a> Directory<'a> {
    /// Of a plan with its sets. `former` routes have what no plan has any more, which has a name as long as it has connections;
    /// `left` are endpoints that are in no set.
    pub fn new(
        (plan, sets): (&'a Plan, &'a Sets),
        former: &'a [Arc<Route>],
        left: &'a [(u32, Arc<str>)],
        connections: &Connections,
    ) -> Self {
        let each = |route: &'a Arc<Route>| route.destinations.iter().map(|one| (one.number, (&**route, one)));
        let former = former.iter().flat_map(each).filter(|(number, _)| connections.active_of(*number) > 0);
        let destinations = former.chain(plan.routes().flat_map(each)).collect();
        let mut endpoints: HashMap<_, _> =
            left.iter().map(|(number, name)| (*number, EndpointName::Left(address(name)))).collect();
        for route in plan.routes() {
            let there = route.destinations.iter().flat_map(|one| sets.of(one).all());
            endpoints.extend(there.map(|one| (one.decides.number, EndpointName::There(&one.address))));
        }
        Self { destinations, endpoints }
    }

    /// The numbers that a person means. A route is asked for by the numbers of its destinations: its own may be another one's by
    /// now, where connections are older than the plan.
    pub fn filter(&self, wanted: &ConnectionFilter) -> Result<LiveFilter, ApiFailure> {
        let ConnectionFilter { route, namespace, destination, endpoint } = wanted;
        let mut meant: Vec<(u32, &Route, &Destination)> =
            self.destinations.iter().map(|(number, (route, one))| (*number, *route, *one)).collect();
        if let Some(wanted) = route {
            let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            let every = meant.clone();
            meant.retain(|(_, route, _)| route.name() == *wanted);
            if meant.is_empty() {
                meant.extend(every.iter().filter(|(_, route, _)| is_of(route, wanted, namespace)));
            }
            if meant.is_empty() {
                let names = every.iter().map(|(_, route, _)| route.name());
                return Err(unknown("route", wanted, "no route is called", names));
            }
        }
        if let Some(wanted) = destination {
            let every = meant.clone();
            meant.retain(|(_, _, one)| is_called(one, wanted));
            if meant.is_empty() {
                let names = every.iter().map(|(_, _, one)| one.name.clone());
                return Err(unknown("destination", wanted, "no destination is called", names));
            }
        }
        let endpoints = endpoint.as_ref().map(|wanted| {
            let ip = wanted.trim_start_matches('[').trim_end_matches(']').parse().ok();
            let meant = self.endpoints.iter().filter(|(_, name)| name.is_meant(wanted, ip));
            let meant: BTreeSet<u32> = meant.map(|(number, _)| *number).collect();
            if meant.is_empty() {
                let names = self.endpoints.values().map(EndpointName::text);
                return Err(unknown("endpoint", wanted, "no endpoint is at", names));
            }
            Ok(meant)
        });
        let is_narrow = route.is_some() || destination.is_some();
        Ok(LiveFilter {
            routes: None,
            destinations: is_narrow.then(|| meant.into_iter().map(|(number, ..)| number).collect()),
            endpoints: endpoints.transpose()?,
        })
    }

    /// Connections in words.
    pub fn statuses<'b>(&self, all: impl IntoIterator<Item = (&'b LiveConnection, Datapath)>) -> Vec<ConnectionStatus> {
        // Each name is made once, and only if a connection has it.
        let (mut destinations, mut endpoints) = (HashMap::new(), HashMap::new());
        let status = |(live, datapath): (&LiveConnection, Datapath)| {
            let number = live.decided.destination;
            let named = destinations.entry(number).or_insert_with(|| {
                let (route, destination) = self.destinations.get(&number)?;
                Some([Arc::from(route.name()), Arc::from(&*destination.name)])
            });
            let endpoint = live.endpoint.and_then(|number| {
                let text = || self.endpoints.get(&number).map(|name| Arc::from(name.text()));
                endpoints.entry(number).or_insert_with(text).clone()
            });
            let [route, destination] = named.clone().map_or([None, None], |names| names.map(Some));
            worded(live, datapath, [route, destination, endpoint])
        };
        all.into_iter().map(status).collect()
    }
}

fn worded(
    live: &LiveConnection,
    datapath: Datapath,
    [route, destination, endpoint]: [Option<Arc<str>>; 3],
) -> ConnectionStatus {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ConnectionStatus {
        client: live.client.map(|client| SocketAddr::new(client.ip().to_canonical(), client.port()).to_string()),
        route,
        destination,
        endpoint,
        datapath: datapath.name().into(),
        stage: stage(live.stage).into(),
        age_milliseconds: live.age.map(milliseconds),
        idle_milliseconds: live.idle.map(milliseconds),
        bytes_sent: live.bytes.map(|[sent, _]| sent),
        bytes_received: live.bytes.map(|[_, received]| received),
    }
}

fn stage(stage: LiveStage) -> &'static str {
    match stage {
        LiveStage::Dialling => "dialling",
        LiveStage::Open => "open",
        LiveStage::HalfClosed => "half-closed",
        LiveStage::Closing => "closing",
    }
}

/// The address in the name that an endpoint has in the register, `host:port@address`.
fn address(name: &str) -> &str {
    name.split_once('@').map_or(name, |(_, address)| address)
}

/// Whether a route is a rule of the object that a word names, `KIND/NAME` or `NAME`.
fn is_of(route: &Route, word: &str, namespace: &str) -> bool {
    let (kinds, name) = match word.split_once('/') {
        Some((kind, name)) => (Kind::from_word(kind), name),
        None => (vec![Kind::VirtualService, Kind::TcpRoute], word),
    };
    kinds.contains(&route.kind) && route.object == name && route.namespace == namespace
}

/// Whether a destination is called so: by all of its name, or by a part that `shift` takes.
fn is_called(Destination { name, host, subset, .. }: &Destination, word: &str) -> bool {
    let (place, _) = name.split_once('/').filter(|_| subset.is_some()).unwrap_or((name, ""));
    let short = place.rsplit_once(':').map_or(place, |(short, _)| short);
    let hosts = [short, host.as_str(), place];
    name == word
        || hosts.contains(&word)
        || subset.as_deref().is_some_and(|subset| {
            subset == word
                || hosts
                    .iter()
                    .any(|host| word.strip_prefix(host).is_some_and(|rest| rest.strip_prefix('/') == Some(subset)))
        })
}

fn unknown(noun: &str, wanted: &str, fact: &str, names: impl Iterator<Item = String>) -> ApiFailure {
    let names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let cure = match spelling::closest(wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => format!("there is no {noun}"),
        None => {
            let more = names.len().saturating_sub(NAMES);
            format!("there are: {}", names::and_more(&names[..names.len().min(NAMES)], more))
        }
    };
    ApiFailure::new(FailureReason::NotFound, format!("{fact} {wanted:?}; {cure}"))
}
