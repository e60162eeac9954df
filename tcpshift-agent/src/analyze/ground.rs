//! Ground: what routes stand on (services, DestinationRules, endpoints), by the names that lead to it. It is kept from one edit
//! of routes to the next, as long as none of it is different.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::route::kind::Kind;
use crate::route::model::{Labels, Spec, selects};
use crate::route::names;
use crate::route::object::{Key, Object};
use crate::route::store::{Edition, Store};

/// An index of what is no route in a store.
#[derive(Debug, Default)]
pub struct Ground {
    /// The edition of the store's ground that it is of.
    edition: Option<Edition>,
    /// What provides hosts or says more of them, by full host.
    providers: HashMap<String, Vec<Arc<Object>>>,
    /// Those of hosts with a wildcard.
    wild: Vec<Arc<Object>>,
    /// By namespace.
    endpoints: HashMap<String, NamespaceEndpoints>,
}

/// What a service of a namespace may select.
#[derive(Debug, Default)]
struct NamespaceEndpoints {
    entries: Vec<Arc<Object>>,
    /// The same, by key and value of each label.
    labelled: HashMap<String, HashMap<String, Vec<Arc<Object>>>>,
    /// Slices, by the name of their Service.
    slices: HashMap<String, Vec<Arc<Object>>>,
}

impl Ground {
    /// What may say where hosts lead to, given in full: services, DestinationRules and endpoints of a store, each once.
    pub(super) fn of_hosts(&mut self, store: &Store, hosts: &HashSet<String>) -> Vec<Arc<Object>> {
        if self.edition.as_ref() != Some(store.ground()) {
            *self = Self::new(store);
        }
        let named = hosts.iter().filter_map(|host| self.providers.get(host)).flatten();
        let mut found: Vec<Arc<Object>> = named.chain(&self.wild).cloned().collect();
        let endpoints: Vec<_> = found.iter().flat_map(|provider| self.selected(provider)).cloned().collect();
        found.extend(endpoints);
        let mut seen = HashSet::new();
        found.retain(|object| seen.insert(Arc::as_ptr(object)));
        found
    }

    /// Forgets what the store does not hold any more.
    pub fn follow(&mut self, store: &Store) {
        if self.edition.as_ref() != Some(store.ground()) {
            *self = Self::default();
        }
    }

    fn new(store: &Store) -> Self {
        let mut ground = Self { edition: Some(store.ground().clone()), ..Self::default() };
        let of_kind = |kind| store.of_kind(kind).into_iter();
        for kind in [Kind::Service, Kind::ServiceEntry, Kind::DestinationRule] {
            of_kind(kind).for_each(|object| ground.add_provider(object));
        }
        for object in of_kind(Kind::WorkloadEntry).chain(of_kind(Kind::EndpointSlice)) {
            let namespace = ground.endpoints.entry(object.key.namespace.clone()).or_default();
            namespace.add(object);
        }
        ground
    }

    fn add_provider(&mut self, object: &Arc<Object>) {
        let Key { namespace, name, .. } = &object.key;
        let hosts: Vec<&String> = match &object.spec {
            Spec::Service(_) => {
                let host = names::service_host(name, namespace);
                return self.providers.entry(host).or_default().push(Arc::clone(object));
            }
            Spec::ServiceEntry(entry) => entry.hosts.iter().collect(),
            Spec::DestinationRule(rule) => vec![&rule.host],
            _ => return,
        };
        for host in hosts {
            if host.starts_with('*') {
                self.wild.push(Arc::clone(object));
            } else {
                let host = names::full_host(host, namespace);
                self.providers.entry(host).or_default().push(Arc::clone(object));
            }
        }
    }

    /// The endpoints that a service has.
    fn selected(&self, provider: &Object) -> Vec<&Arc<Object>> {
        let Key { namespace, name, .. } = &provider.key;
        let Some(endpoints) = self.endpoints.get(namespace) else { return Vec::new() };
        match &provider.spec {
            Spec::Service(service) => {
                let slices = endpoints.slices.get(name).into_iter().flatten();
                endpoints.of(&service.selector).into_iter().chain(slices).collect()
            }
            Spec::ServiceEntry(entry) => {
                entry.selector.as_ref().map(|selector| endpoints.of(selector)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

impl NamespaceEndpoints {
    fn add(&mut self, object: &Arc<Object>) {
        match &object.spec {
            Spec::WorkloadEntry(entry) => {
                self.entries.push(Arc::clone(object));
                for (key, value) in &entry.labels {
                    let values = self.labelled.entry(key.clone()).or_default();
                    values.entry(value.clone()).or_default().push(Arc::clone(object));
                }
            }
            Spec::EndpointSlice(slice) => {
                if let Some(service) = &slice.service {
                    self.slices.entry(service.clone()).or_default().push(Arc::clone(object));
                }
            }
            _ => {}
        }
    }

    /// The entries that a selector selects. Only those with its rarest label are looked at.
    fn of(&self, selector: &Labels) -> Vec<&Arc<Object>> {
        let with = |(key, value): (&String, &String)| {
            self.labelled.get(key).and_then(|values| values.get(value)).map(Vec::as_slice).unwrap_or_default()
        };
        let rarest = selector.iter().map(with).min_by_key(|list| list.len()).unwrap_or(&self.entries);
        let is_selected = |object: &&Arc<Object>| match &object.spec {
            Spec::WorkloadEntry(entry) => selects(selector, &entry.labels),
            _ => false,
        };
        rarest.iter().filter(is_selected).collect()
    }
}
