//! A world for the proxy: plans made by hand, endpoints that do as told, ports that stay free.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tcpshift_agent::connections::{Connections, DestinationCount};
use tcpshift_agent::plan::weigh::{Layout, WeightTable};
use tcpshift_agent::plan::{
    Chosen, Datapath, Destination, Endpoint, EndpointAddress, EndpointSet, Limits, Listener, LoadBalancer, OnEmpty,
    Plan, Route, Sets, Settings, Unusable, Wish,
};
use tcpshift_agent::proxy::Proxy;
use tcpshift_common::address::Prefix;
use tcpshift_common::decide::{Steer, steer};
use tcpshift_common::destination::{self, policy};
use tcpshift_common::listener::RuleRow;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(DEADLINE, what).await.expect("took longer than the deadline")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A port that the kernel gives to nobody else while this is held. It can be listened at by whoever sets
/// `SO_REUSEADDR`, and refuses until then.
pub(crate) struct Reserved {
    _socket: Socket,
    pub(crate) address: SocketAddr,
}

pub(crate) fn reserve(ip: &str) -> Reserved {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    Reserved { _socket: socket, address }
}

/// An endpoint that does the same with each connection.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn endpoint<F, Fut>(handle: F) -> Serving
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(handle(stream))),
                // It shares the descriptors of the process with the proxy.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Serving { address, task }
}

/// A destination, and its endpoints.
pub(crate) struct Target {
    pub(crate) destination: Destination,
    pub(crate) set: EndpointSet,
}

/// Endpoint sets by number; that of a destination has the destination's number.
type Numbered = BTreeMap<u32, EndpointSet>;

/// A route, and the endpoints of its destinations.
#[derive(Clone)]
pub(crate) struct Routed {
    pub(crate) route: Arc<Route>,
    sets: Numbered,
}

/// A listener, and the endpoints of its routes.
pub(crate) struct Opened {
    listener: Arc<Listener>,
    sets: Numbered,
}

/// A plan with its endpoint sets.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sets: Arc<Sets>,
}

pub(crate) fn destination(number: u32, weight: u64, endpoints: &[(u32, SocketAddr)]) -> Target {
    let endpoints: Vec<_> = endpoints.iter().map(|&(number, address)| (number, address.into())).collect();
    destination_at(number, weight, &endpoints)
}

/// The same with endpoints of any kind.
pub(crate) fn destination_at(number: u32, weight: u64, endpoints: &[(u32, EndpointAddress)]) -> Target {
    let mut upto = 0;
    let endpoints: Vec<Endpoint> = endpoints
        .iter()
        .map(|(number, address)| {
            upto += 1;
            let number = *number;
            Endpoint { address: address.clone(), decides: destination::EndpointFacts { number, weight: 1, upto } }
        })
        .collect();
    let destination = Destination {
        name: format!("echo:9000/v{number}"),
        host: "echo".to_owned(),
        subset: Some(format!("v{number}")),
        port: 9000,
        number,
        target: number,
        weight,
        slots: 0,
        settings: Settings::default(),
        choice: LoadBalancer::LeastRequest,
        set: number,
    };
    let set = EndpointSet {
        unusable: endpoints.is_empty().then_some(Unusable::NoEndpoint),
        decides: destination::DestinationFacts {
            number: 0,
            endpoints: endpoints.len() as u32,
            weight: upto,
            policy: policy::LEAST_REQUEST,
            stride: 1,
            places: 0,
        },
        endpoints: endpoints.into(),
        ejected: [].into(),
        hashing: None,
    };
    Target { destination, set }
}

pub(crate) fn route(number: u32, by: u32, targets: Vec<Target>) -> Routed {
    let (mut destinations, sets): (Vec<_>, Numbered) =
        targets.into_iter().map(|Target { destination, set }| (destination.clone(), (destination.set, set))).unzip();
    let layout = if by == steer::SEQUENCE { Layout::Sorted } else { Layout::Scattered };
    let weights: Vec<_> = destinations.iter().map(|one| (one.name.clone(), one.weight)).collect();
    let table = WeightTable::new(layout, &weights);
    for (destination, slots) in destinations.iter_mut().zip(table.shares()) {
        destination.slots = slots;
    }
    let route = Route {
        kind: tcpshift_agent::route::kind::Kind::VirtualService,
        number,
        namespace: "default".to_owned(),
        object: format!("route-{number}"),
        rule: 0,
        id: 0,
        steer: Steer { by, v4_bits: 32, v6_bits: 128 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: Wish::Auto,
        chosen: Chosen { datapath: Some(Datapath::Proxy), ..Chosen::default() },
        destinations,
        table,
    };
    Routed { route: Arc::new(route), sets }
}

/// A listener whose routes are each for a set of clients.
pub(crate) fn listener(number: u32, address: SocketAddr, routes: &[(Prefix, Routed)]) -> Opened {
    let rules = routes.iter().zip(0..).map(|((source, _), route)| RuleRow::new(*source, Prefix::ANY, route)).collect();
    let sets = routes.iter().flat_map(|(_, routed)| routed.sets.clone()).collect();
    let routes = routes.iter().map(|(_, routed)| Arc::clone(&routed.route)).collect();
    let listener = Listener { number, name: format!("default/gw:tcp-{number}"), address, rules, routes };
    Opened { listener: Arc::new(listener), sets }
}

pub(crate) fn plan(generation: u64, opened: Vec<Opened>) -> Planned {
    let (mut listeners, numbered): (Vec<_>, Vec<_>) =
        opened.into_iter().map(|Opened { listener, sets }| (listener, sets)).unzip();
    listeners.sort_by_key(|listener| listener.address);
    let mut numbered: Numbered = numbered.into_iter().flatten().collect();
    let count = numbered.keys().next_back().map_or(0, |last| last + 1);
    let sets: Sets = (0..count).map(|number| numbered.remove(&number).unwrap_or_default()).collect();
    Planned { plan: Arc::new(Plan { generation, listeners, ..Plan::empty(1) }), sets: Arc::new(sets) }
}

/// One listener for everybody.
pub(crate) fn simple(generation: u64, address: SocketAddr, by: u32, targets: Vec<Target>) -> Planned {
    plan(generation, vec![listener(0, address, &[(Prefix::ANY, route(0, by, targets))])])
}

/// A proxy that obeys a plan.
pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) connections: Arc<Connections>,
}

impl World {
    pub(crate) async fn new(Planned { plan, sets }: &Planned) -> Self {
        let connections = Arc::new(Connections::default());
        let mut proxy = Proxy::start(&connections, 2, &[], None, 1 << 30).unwrap();
        assert_eq!(proxy.open(plan), []);
        soon(proxy.publish(Arc::clone(plan), Arc::clone(sets))).await;
        Self { proxy, connections }
    }

    /// Puts a plan in force, with its sets.
    pub(crate) async fn publish(&mut self, Planned { plan, sets }: Planned) {
        soon(self.proxy.publish(plan, sets)).await;
    }

    /// A proxy with one listener whose connections all go to one endpoint.
    pub(crate) async fn towards(endpoint: &Serving) -> (Self, Reserved) {
        let at = reserve("127.0.0.1");
        let plan = simple(1, at.address, steer::CONNECTION, vec![destination(1, 1, &[(1, endpoint.address)])]);
        (Self::new(&plan).await, at)
    }

    pub(crate) fn destination(&self, number: u32) -> &DestinationCount {
        self.connections.destinations.get(number)
    }

    /// Every connection has to be over by now.
    pub(crate) async fn ends_empty(mut self) {
        soon(self.connections.ended()).await;
        soon(self.proxy.reset()).await;
    }
}

/// An endpoint that does not answer, since its queue is full, for as long as what comes with its address is held.
pub(crate) async fn full_queue() -> (SocketAddr, impl Sized) {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (address, (full, waiting))
}
