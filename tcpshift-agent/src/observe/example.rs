//! A small plan for tests.

use std::sync::Arc;

use tcpshift_common::decide::{Steer, steer};
use tcpshift_common::destination::EndpointFacts;

use crate::plan::weigh::Layout;
use crate::plan::{
    Chosen, Destination, Endpoint, EndpointAddress, EndpointSet, Kind, Limits, Listener, LoadBalancer, OnEmpty, Plan,
    Route, Sets, Settings, Unusable, WeightTable, Wish,
};

/// The number of a destination whose endpoint has the number 5.
pub(super) const ONE: u32 = 2;
/// The number of one without endpoints.
pub(super) const TWO: u32 = 3;

/// A plan with one route to both.
pub(super) fn plan() -> (Arc<Plan>, Arc<Sets>) {
    let weights = [("one".to_owned(), 3), ("two".to_owned(), 1)];
    let table = WeightTable::new(Layout::Scattered, &weights);
    let numbered = weights.iter().zip(table.shares()).zip([(ONE, 0), (TWO, 1)]);
    let destinations = numbered.map(|(((name, weight), slots), (number, set))| Destination {
        name: name.clone(),
        host: "echo".to_owned(),
        subset: None,
        port: 9000,
        number,
        target: number,
        weight: *weight,
        slots,
        settings: Settings::default(),
        choice: LoadBalancer::Random,
        set,
    });
    let route = Route {
        number: 0,
        kind: Kind::VirtualService,
        namespace: "default".to_owned(),
        object: "echo".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: Wish::Auto,
        chosen: Chosen::default(),
        destinations: destinations.collect(),
        table,
    };
    let listener = Listener {
        number: 0,
        name: "default/gateway:tcp".to_owned(),
        address: "127.0.0.1:31400".parse().unwrap(),
        rules: Vec::new(),
        routes: vec![Arc::new(route)],
    };
    let address = EndpointAddress::Tcp("127.0.0.1:9000".parse().unwrap());
    let endpoint = Endpoint { address, decides: EndpointFacts { number: 5, weight: 1, ..EndpointFacts::default() } };
    let one = EndpointSet { endpoints: [endpoint].into(), ..EndpointSet::default() };
    let two = EndpointSet { unusable: Some(Unusable::NoEndpoint), ..EndpointSet::default() };
    let plan = Plan { generation: 1, listeners: vec![Arc::new(listener)], ..Plan::empty(1) };
    (Arc::new(plan), Arc::new([one, two].into_iter().collect()))
}
