//! The objects that are measured.

use tcpshift_agent::route::object::Object;
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};

use super::{CHUNK, ENDPOINTS, FIRST_PORT, PORTS, SERVICES};

/// The objects of documents, which are all valid.
pub(super) fn read(documents: &[Document]) -> Vec<Object> {
    let (entries, problems) = read_all(documents, None);
    let valid = entries.into_iter().map(|entry| match entry {
        ReadDocument::Valid(object) => *object,
        _ => panic!("{problems:#?}"),
    });
    valid.collect()
}

/// The services, then as many routes, a thousand in each, which lead to one of their two subsets alone.
pub(super) fn documents(routes: usize) -> Vec<Document> {
    weighted(routes, 0)
}

/// As [`documents`], with a weight of the second subset.
pub(super) fn weighted(routes: usize, v2: usize) -> Vec<Document> {
    let mut ground =
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec:\n  servers:\n".to_owned();
    for at in 0..PORTS {
        let port = FIRST_PORT + at;
        ground.push_str(&format_server(port));
    }
    for at in 0..SERVICES {
        ground.push_str(&service(at));
    }
    let mut documents = vec![Document { name: "ground.yaml".to_owned(), text: ground }];
    for first in (0..routes).step_by(CHUNK) {
        let text = (first..first + CHUNK).map(|at| route(at, v2)).collect();
        documents.push(Document { name: format!("routes-{first}.yaml"), text });
    }
    documents
}

fn format_server(port: usize) -> String {
    format!("  - {{port: {{number: {port}, name: tcp-{port}, protocol: TCP}}, bind: 127.0.0.1, hosts: ['*']}}\n")
}

fn service(at: usize) -> String {
    let (high, low) = (at / 250, at % 250);
    let entry = |version: usize| {
        let entries = (0..ENDPOINTS).map(|number| {
            let second = version * 10 + number;
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
                 metadata: {{name: service-{at}-v{version}-{number}}}\n\
                 spec: {{address: 10.{second}.{high}.{low}, labels: {{app: service-{at}, version: v{version}}}}}\n"
            )
        });
        entries.collect::<String>()
    };
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: service-{at}}}\nspec:\n  selector: {{app: service-{at}}}\n  \
         ports: [{{name: tcp, port: 9000}}]\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: service-{at}}}\nspec:\n  host: service-{at}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  \
         - {{name: v2, labels: {{version: v2}}}}\n{}{}",
        entry(1),
        entry(2)
    )
}

pub(super) fn route(at: usize, v2: usize) -> String {
    let (port, subnet, service) = (FIRST_PORT + at % PORTS, at / PORTS, at % SERVICES);
    let to = |version: usize, weight: usize| {
        format!(
            "    - destination: {{host: service-{service}, subset: v{version}, port: {{number: 9000}}}}\n      weight: {weight}\n"
        )
    };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route-{at}}}\nspec:\n  hosts: ['*']\n  \
         gateways: [gate]\n  tcp:\n  - match: [{{port: {port}, sourceSubnet: 10.{subnet}.0.0/16}}]\n    route:\n{}{}",
        to(1, 100 - v2),
        to(2, v2)
    )
}

/// A service at a host name, and a route to it.
pub(super) fn named(at: usize) -> String {
    let port = FIRST_PORT + at;
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: name-{at}}}\nspec:\n  \
         hosts: [name-{at}.example.com]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: DNS\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gate-{at}}}\nspec:\n  servers:\n{}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: name-{at}}}\nspec:\n  \
         hosts: ['*']\n  gateways: [gate-{at}]\n  tcp:\n  - route:\n    \
         - destination: {{host: name-{at}.example.com, port: {{number: 9000}}}}\n",
        format_server(port)
    )
}

/// A service whose endpoints are local ports, and a route to it.
pub(super) fn local(port: u16, endpoints: &[u16]) -> Document {
    let endpoints: Vec<_> =
        endpoints.iter().map(|port| format!("  - {{address: 127.0.0.1, ports: {{tcp: {port}}}}}\n")).collect();
    let endpoints = endpoints.concat();
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: local}}\nspec:\n  \
         hosts: [local.example.com]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  \
         endpoints:\n{endpoints}\
         ---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: local}}\nspec:\n  servers:\n{}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: local}}\nspec:\n  \
         hosts: ['*']\n  gateways: [local]\n  tcp:\n  - route:\n    \
         - destination: {{host: local.example.com, port: {{number: 9000}}}}\n",
        format_server(port.into())
    );
    Document { name: "local.yaml".to_owned(), text }
}
