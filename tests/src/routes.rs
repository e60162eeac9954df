//! Route files for tests: the project's examples, and variants of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// One of the project's example files, as `all-v1.yaml`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tcp-echo").join(name)
}

/// The text of one of the project's example files.
pub fn example_text(name: &str) -> String {
    let path = example(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything of the example but the route: Service, `WorkloadEntries`, Gateway, `DestinationRule`.
pub fn ground() -> String {
    let all_v1 = example_text("all-v1.yaml");
    let without_route = all_v1.rsplit_once("---").expect("the route is the last document").0;
    [&example_text("services.yaml"), &example_text("workload-entries.yaml"), without_route].join("\n---\n")
}

/// The example's route with other weights, in the order given: `route(&[("v1", 80), ("v2", 20)])`.
pub fn route(weights: &[(&str, u32)]) -> String {
    annotated(&[], weights)
}

/// The same with annotations: `annotated(&[("steer-by", "sequence")], ...)`.
pub fn annotated(annotations: &[(&str, &str)], weights: &[(&str, u32)]) -> String {
    let rule = rule("port: 31400", weights);
    rules(annotations, &[&rule])
}

/// The example's route with rules made by [`rule`].
pub fn rules(annotations: &[(&str, &str)], rules: &[&str]) -> String {
    let mut yaml = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: tcp-echo\n".to_owned();
    if !annotations.is_empty() {
        yaml.push_str("  annotations:\n");
    }
    for (name, value) in annotations {
        writeln!(yaml, "    tcpshift.io/{name}: {value}").expect("a string takes all");
    }
    yaml.push_str("spec:\n  hosts: [\"*\"]\n  gateways: [tcp-echo-gateway]\n  tcp:\n");
    yaml.extend(rules.iter().copied());
    yaml
}

/// One rule: what it matches, as fields of one flow mapping, and where it leads.
pub fn rule(matches: &str, weights: &[(&str, u32)]) -> String {
    let mut yaml = format!("  - match: [{{{matches}}}]\n    route:\n");
    for (subset, weight) in weights {
        writeln!(yaml, "    - destination: {{host: tcp-echo, subset: {subset}, port: {{number: 9000}}}}")
            .expect("a string takes all");
        writeln!(yaml, "      weight: {weight}").expect("a string takes all");
    }
    yaml
}

/// A `WorkloadEntry` of the example's service.
pub fn entry(name: &str, version: &str, address: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec:\n  address: \"{address}\"\n  \
         labels: {{app: tcp-echo, version: {version}}}\n  ports: {{tcp: {port}}}\n"
    )
}

/// A host whose endpoints are unix sockets, and the example's route to it. The policy is a `trafficPolicy` in flow style,
/// as `{connectionPool: {tcp: {connectTimeout: 1s}}}`.
pub fn to_unix_sockets(paths: &[&Path], policy: &str) -> String {
    let endpoints: String = paths.iter().fold(String::new(), |mut text, path| {
        writeln!(text, "  - {{address: \"unix://{}\", labels: {{version: v1}}}}", path.display())
            .expect("a string takes all");
        text
    });
    let entry = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: local}}\nspec:\n  \
         hosts: [local.example.com]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  \
         endpoints:\n{endpoints}"
    );
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: local}}\nspec:\n  \
         host: local.example.com\n  trafficPolicy: {policy}\n  subsets: [{{name: v1, labels: {{version: v1}}}}]\n"
    );
    let route = route(&[("v1", 1)]).replace("host: tcp-echo", "host: local.example.com");
    together(&[&entry, &rule, &route])
}

/// Several texts as one file of several documents.
pub fn together(documents: &[&str]) -> String {
    documents.join("\n---\n")
}
