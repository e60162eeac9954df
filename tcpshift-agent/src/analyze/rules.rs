//! DestinationRules: unknown hosts, subsets without endpoints, how several rules of one host are merged, and subsets that share
//! endpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::code::{self, Level};
use super::finding::Findings;
use super::provider::{Provider, ProviderEndpoint};
use super::words::list;
use super::world::{RuleObject, World};
use crate::route::kind::Kind;
use crate::route::model::{
    DestinationRule, Export, Labels, RouteDestination, Service, ServiceEntry, Spec, Subset, selects,
};
use crate::route::names;
use crate::route::object::{Key, Object};

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    let mut merged: BTreeMap<(&str, String), Vec<RuleObject<'_>>> = BTreeMap::new();
    for (object, rule) in &world.rules {
        let namespace = object.key.namespace.as_str();
        hosts(world, (object, rule), out);
        merged.entry((namespace, names::full_host(&rule.host, namespace))).or_default().push((object, rule));
    }
    for rules in merged.into_values().filter(|rules| rules.len() > 1) {
        merge(&rules, out);
    }
    for (object, service) in &world.virtual_services {
        for (index, rule) in service.tcp.iter().enumerate().filter(|(_, rule)| rule.route.len() > 1) {
            overlaps(world, (object, &service.export), &format!("spec.tcp[{index}].route"), &rule.route, out);
        }
    }
}

fn hosts(world: &World<'_>, (object, rule): RuleObject<'_>, out: &mut Findings) {
    let namespace = object.key.namespace.as_str();
    let (mut providers, wild) = world.providers(namespace, &rule.export, &rule.host);
    let host = names::full_host(&rule.host, namespace);
    if host.starts_with('*') {
        // A subset of a wildcard is for whichever host a route names.
        if !world.beside.provides(namespace, &host)
            && !world.providers.iter().any(|provider| names::hosts_overlap(&host, &provider.host))
        {
            unknown(world, (object, rule), out);
        }
        return;
    }
    if providers.is_empty() {
        if !world.beside.provides(namespace, &host) {
            unknown(world, (object, rule), out);
        }
        return;
    }
    if wild {
        return;
    }
    policies(rule, object, &providers, out);
    providers.truncate(1);
    let Some(endpoints) = providers.first().and_then(|provider| world.endpoints(provider)) else { return };
    let mut of_pods: Vec<(usize, &str)> = Vec::new();
    let mut owners = BTreeSet::new();
    for (index, subset) in rule.subsets.iter().enumerate() {
        if subset.labels.is_empty() || endpoints.iter().any(|one| selects(&subset.labels, one.labels())) {
            continue;
        }
        if let Some(provider) = providers.first()
            && let Some(selector) = provider.selector()
        {
            let pods = world.beside.pods(&provider.object.key.namespace, selector, &subset.labels);
            if !pods.is_empty() {
                of_pods.push((index, &subset.name));
                owners.extend(pods);
                continue;
            }
        }
        let labels = text(&subset.labels);
        let message = format!("the subset {} selects no endpoint of {}: none has {labels}", subset.name, rule.host);
        let cure =
            providers.first().map(|provider| format!("{}, or correct the labels", endpoint_of(provider, subset)));
        out.push(
            code::SUBSET_EMPTY,
            object,
            format!("spec.subsets[{index}].labels"),
            message,
            cure.unwrap_or_default(),
        );
    }
    // A host without endpoints is a finding of its service.
    if let Some((first, _)) = of_pods.first().filter(|_| !endpoints.is_empty()) {
        let field = format!("spec.subsets[{first}].labels");
        let names = list(of_pods.iter().map(|(_, name)| name));
        pods(object, &field, &format!("{names} of {}", rule.host), &owners, out);
    }
}

/// How a service gets an endpoint of a subset.
fn endpoint_of(provider: &Provider<'_>, subset: &Subset) -> String {
    let (key, labels) = (&provider.object.key, text(&subset.labels));
    match &provider.object.spec {
        Spec::Service(Service { selector, .. }) | Spec::ServiceEntry(ServiceEntry { selector: Some(selector), .. })
            if !selector.is_empty() =>
        {
            let all: Labels = selector.iter().chain(&subset.labels).map(|(k, v)| (k.clone(), v.clone())).collect();
            format!("add a WorkloadEntry with {}", text(&all))
        }
        Spec::Service(_) => format!("add an EndpointSlice of {key} with {labels}"),
        _ => format!("add an endpoint with {labels} to {key}"),
    }
}

/// Endpoints that only pods provide: tcpshift does not know the addresses of pods.
pub(super) fn pods(object: &Object, field: &str, what: &str, owners: &BTreeSet<&str>, out: &mut Findings) {
    let message =
        format!("no address of {what} is known: it has the pods of {}, which are not looked for", list(owners));
    let cure = "add a WorkloadEntry for each endpoint, or their EndpointSlices";
    out.push_at(Level::Info, code::NO_ENDPOINT, object, field, message, cure);
}

/// Policies for ports that the host has not.
fn policies(rule: &DestinationRule, object: &Object, providers: &[&Provider<'_>], out: &mut Findings) {
    if providers.iter().any(|provider| provider.external) {
        return;
    }
    let known: BTreeSet<u32> =
        providers.iter().flat_map(|provider| &provider.ports).map(|port| u32::from(port.number)).collect();
    let subsets = rule.subsets.iter().enumerate();
    let subsets = subsets.map(|(at, subset)| (format!("spec.subsets[{at}].trafficPolicy"), &subset.policy));
    let all = std::iter::once(("spec.trafficPolicy".to_owned(), &rule.policy)).chain(subsets);
    for (path, policy) in all.filter_map(|(path, policy)| Some((path, policy.as_ref()?))) {
        for (at, (port, _)) in policy.ports.iter().enumerate().filter(|(_, (port, _))| !known.contains(port)) {
            let message = format!("{} has no port {port}: the settings for it apply to nothing", rule.host);
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            let cure = match known.as_slice() {
                [] => "remove the settings".to_owned(),
                known => format!("name a port of the service ({}), or remove the settings", known.join(", ")),
            };
            out.push(code::POLICY_PORT, object, format!("{path}.portLevelSettings[{at}].port"), message, cure);
        }
    }
}

fn unknown(world: &World<'_>, (object, rule): RuleObject<'_>, out: &mut Findings) {
    let host = &rule.host;
    let cure = not_found(world, &object.key.namespace, &rule.export, host);
    out.push(code::RULE_HOST_UNKNOWN, object, "spec.host", format!("there is no service {host}"), cure);
}

/// What to do about a host that nothing provides.
pub(super) fn not_found(world: &World<'_>, namespace: &str, export: &Export, host: &str) -> String {
    if let Some(hidden) = world.hidden(namespace, host) {
        let namespaces = match export {
            Export::Namespaces(own) => own.join(", "),
            Export::Everywhere | Export::Nowhere => namespace.to_owned(),
        };
        let field = match hidden.object.key.kind {
            Kind::Service => "annotation networking.istio.io/exportTo",
            _ => "exportTo",
        };
        let too = if *hidden.export() == Export::Nowhere { "in place of ~" } else { "too" };
        return format!("{} has it; let its {field} name {namespaces} {too}", hidden.object.key);
    }
    match world.similar(namespace, host) {
        Some(other) => format!("did you mean {}?", other.host),
        None => "add a Service or ServiceEntry, or correct the host".to_owned(),
    }
}

/// `version=v1, tier=a`
pub(super) fn text(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// A part of an older DestinationRule that younger ones of its host have too.
#[derive(Default)]
struct Repeated<'a> {
    names: BTreeSet<&'a str>,
    /// The field of the first younger one.
    first: Option<(&'a Object, String)>,
    others: BTreeSet<&'a Key>,
}

impl<'a> Repeated<'a> {
    fn add(&mut self, name: &'a str, object: &'a Object, field: String) {
        self.names.insert(name);
        self.others.insert(&object.key);
        self.first.get_or_insert((object, field));
    }
}

/// Several DestinationRules of one host, oldest first: one finding for each that counts instead of others.
fn merge<'a>(rules: &[RuleObject<'a>], out: &mut Findings) {
    let mut subsets: HashMap<(Option<&Labels>, &str), &'a Object> = HashMap::new();
    let mut policies: HashMap<Option<&Labels>, &'a Object> = HashMap::new();
    let (mut more_subsets, mut more_policies) = (BTreeMap::new(), BTreeMap::new());
    for (object, rule) in rules {
        let clients = rule.workload_selector.as_ref();
        for (index, subset) in rule.subsets.iter().enumerate() {
            match subsets.get(&(clients, subset.name.as_str())) {
                Some(first) => {
                    let repeated: &mut Repeated<'_> = more_subsets.entry(&first.key).or_default();
                    repeated.add(&subset.name, object, format!("spec.subsets[{index}].name"));
                }
                None => drop(subsets.insert((clients, &subset.name), object)),
            }
        }
        if rule.policy.is_none() {
            continue;
        }
        match policies.get(&clients) {
            Some(first) => {
                let repeated: &mut Repeated<'_> = more_policies.entry(&first.key).or_default();
                repeated.add(&rule.host, object, "spec.trafficPolicy".to_owned());
            }
            None => drop(policies.insert(clients, object)),
        }
    }
    for (code, found) in [(code::SUBSET_TWICE, more_subsets), (code::SECOND_POLICY, more_policies)] {
        for (first, Repeated { names, first: younger, others }) in found {
            let Some((object, field)) = younger else { continue };
            let (names, others) = (list(names), list(others));
            let message = if code.id == code::SUBSET_TWICE.id {
                format!("the older {first} declares {names} too, and counts before {others}")
            } else {
                format!("the policy of the older {first} counts for {names}, and not that of {others}")
            };
            out.push(code, object, field, message, "keep one of them");
        }
    }
}

/// Destinations of one route whose endpoints are partly the same.
fn overlaps(
    world: &World<'_>,
    (object, export): (&Object, &Export),
    path: &str,
    route: &[RouteDestination],
    out: &mut Findings,
) {
    let namespace = object.key.namespace.as_str();
    let mut by_host: BTreeMap<(String, Option<u16>), Vec<usize>> = BTreeMap::new();
    for (index, one) in route.iter().enumerate() {
        by_host.entry((names::full_host(&one.host, namespace), one.port)).or_default().push(index);
    }
    let none = Labels::new();
    for ((host, _), indices) in by_host.into_iter().filter(|(_, indices)| (2..=32).contains(&indices.len())) {
        let (providers, _) = world.providers(namespace, export, &host);
        let service = providers.first().map_or(namespace, |provider| provider.object.key.namespace.as_str());
        let rules = world.rules_for(namespace, service, &host);
        let subsets: Vec<&Subset> = rules.iter().flat_map(|(_, rule)| &rule.subsets).collect();
        let labels = |index: usize| match &route[index].subset {
            None => Some(&none),
            Some(name) => subsets.iter().find(|subset| subset.name == *name).map(|subset| &subset.labels),
        };
        let endpoints: Vec<ProviderEndpoint<'_>> =
            providers.first().and_then(|provider| world.endpoints(provider)).unwrap_or_default();
        for (at, index) in indices.iter().enumerate() {
            let found = indices[..at].iter().find(|other| {
                let (Some(one), Some(two)) = (labels(*index), labels(**other)) else { return false };
                route[*index].subset != route[**other].subset
                    && (selects(one, two)
                        || selects(two, one)
                        || endpoints.iter().any(|end| selects(one, end.labels()) && selects(two, end.labels())))
            });
            if let Some(other) = found {
                let name = |index: usize| route[index].subset.as_deref().unwrap_or("the whole host");
                let message = format!("{} and {} share endpoints of {host}", name(*other), name(*index));
                let cure = match (&route[*other].subset, &route[*index].subset) {
                    (Some(_), Some(_)) => "give the subsets labels that no endpoint has both of",
                    _ => "name a subset for the other endpoints in place of the whole host",
                };
                out.push(code::SUBSETS_OVERLAP, object, format!("{path}[{index}].destination"), message, cure);
            }
        }
    }
}
