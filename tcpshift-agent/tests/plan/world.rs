//! A planner, and route files for it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpshift_agent::plan::{EndpointAddress, EndpointSet, Host, Plan, Planner, Route, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;

pub(crate) struct World {
    pub(crate) planner: Planner,
    pub(crate) plan: Plan,
}

impl World {
    pub(crate) fn new() -> Self {
        let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
        let scope = Scope { namespace: "default".to_owned(), labels };
        let planner = Planner::new(scope, Host::new(DEFAULT_SEED));
        Self { planner, plan: Plan::empty(DEFAULT_SEED) }
    }

    pub(crate) fn sets(&self) -> &Sets {
        self.planner.sets()
    }

    /// The endpoints of a destination of the only route.
    pub(crate) fn set(&self, destination: usize) -> &EndpointSet {
        self.sets().of(&only(&self.plan).destinations[destination])
    }

    /// What DNS answers is this and nothing else.
    pub(crate) fn answer(&mut self, name: &str, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        self.planner.memory.states.answered(Arc::new(HashMap::from([(name.to_owned(), addresses)])));
    }

    pub(crate) fn compile(&mut self, texts: &[&str]) -> &Plan {
        let text = texts.join("\n---\n");
        let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
        let errors: Vec<_> = problems.iter().filter(|problem| !problem.to_string().contains(": warning: ")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let objects = entries.into_iter().filter_map(|entry| match entry {
            ReadDocument::Valid(object) => Some(*object),
            _ => None,
        });
        let mut store = Store::default();
        store.update(Update::first(Source::Files, objects.collect()));
        self.plan = self.planner.plan(store.iter(), &self.plan);
        &self.plan
    }
}

pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: tcp, port: 9000}, {name: other, port: 9001, targetPort: 9901}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: one}
spec: {address: 10.0.0.1, labels: {app: echo, version: v1}, ports: {tcp: 7000}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: two}
spec: {address: 10.0.0.2, labels: {app: echo, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}";

pub(crate) const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]";

pub(crate) fn route(name: &str, tcp: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: ['*'], gateways: [gate], tcp: {tcp}}}"
    )
}

pub(crate) fn to(subset: &str, weight: u32) -> String {
    format!("{{destination: {{host: echo, port: {{number: 9000}}, subset: {subset}}}, weight: {weight}}}")
}

pub(crate) fn only(plan: &Plan) -> &Route {
    assert_eq!((plan.listeners.len(), plan.listeners[0].routes.len()), (1, 1), "{plan:#?}");
    &plan.listeners[0].routes[0]
}

pub(crate) fn addresses(set: &EndpointSet) -> Vec<SocketAddr> {
    set.endpoints
        .iter()
        .filter_map(|endpoint| match endpoint.address {
            EndpointAddress::Tcp(address) => Some(address),
            EndpointAddress::Unix(_) | EndpointAddress::Original(_) => None,
        })
        .collect()
}
