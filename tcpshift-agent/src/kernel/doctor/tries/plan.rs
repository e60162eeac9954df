//! The plan by which programs are tried, and what the agent decides by it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::address::{Flow, Prefix, family};
use tcpshift_common::decide::{self, Decision, Inputs, Steer, steer};
use tcpshift_common::listener::RuleRow;

use crate::plan::hashing::Shelf;
use crate::plan::weigh::Layout;
use crate::plan::{
    Chosen, Datapath, Destination, EndpointSet, Kind, Limits, Listener, LoadBalancer, OnEmpty, Plan, Route, Sets,
    Settings, WeightTable,
};

/// What the agent would decide.
pub(super) fn expected((plan, sets): (&Plan, &Sets), flow: &Flow) -> Decision {
    let route = &*plan.listeners[0].routes[0];
    decide::decide(plan.seed, &route.steer, flow, &sets.table(route), &mut Nothing)
}

/// The plan decides by the flow alone.
struct Nothing;

impl Inputs for Nothing {
    fn sequence(&mut self) -> u64 {
        0
    }

    fn turn(&mut self, _: u32) -> u64 {
        0
    }

    fn random(&mut self) -> u32 {
        0
    }

    fn load(&self, _: u32) -> u32 {
        0
    }
}

/// An address for documentation (RFC 5737). No connection is made to it.
pub(super) const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 9000);

/// A plan of one listener and one route, three to one between two destinations that have one endpoint each, the same; and
/// the sets of that endpoint.
pub(super) fn plan(address: SocketAddr, datapath: Option<Datapath>) -> (Plan, Sets) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 31_400));
    let weights = [("v1".to_owned(), 3), ("v2".to_owned(), 1)];
    let table = WeightTable::new(Layout::Scattered, &weights);
    let destinations =
        weights.iter().zip(table.shares()).zip(0_u32..).map(|(((name, weight), slots), number)| Destination {
            name: name.clone(),
            host: name.clone(),
            subset: None,
            port: 9000,
            target: number,
            weight: *weight,
            slots,
            settings: Settings::default(),
            number,
            choice: LoadBalancer::Random,
            set: number,
        });
    let destinations: Vec<Destination> = destinations.collect();
    let sets = (0..2).map(|number| {
        let endpoints = Ok(vec![(address.into(), 1, number)]);
        EndpointSet::new(LoadBalancer::Random, endpoints, &mut Shelf::default(), |_| false)
    });
    let chosen = |datapath| Chosen { datapath: Some(datapath), only: true, family: family::ANY, reason: String::new() };
    let route = Route {
        number: 0,
        kind: Kind::VirtualService,
        namespace: "doctor".to_owned(),
        object: "doctor".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: crate::plan::Wish::Auto,
        chosen: chosen(datapath.unwrap_or(Datapath::Proxy)),
        destinations,
        table,
    };
    let everyone = RuleRow::new(Prefix::default(), Prefix::default(), 0);
    let listener = Listener {
        number: 0,
        name: "doctor".to_owned(),
        address: server,
        rules: vec![everyone],
        routes: vec![Arc::new(route)],
    };
    let plan =
        Plan { generation: 1, listeners: vec![Arc::new(listener)], ..Plan::empty(tcpshift_common::DEFAULT_SEED) };
    (plan, sets.collect())
}
