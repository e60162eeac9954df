//! DestinationRules: which of them hold for a host, and what several say together.

use std::collections::{BTreeMap, HashMap};

use crate::plan::host::Scope;
use crate::route::model::{DestinationRule, Policy, Subset, selects};
use crate::route::names;

/// Where rules for everybody are.
const ROOT_NAMESPACE: &str = "istio-system";

/// DestinationRules by namespace and host, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    /// By namespace, a slash and the full host.
    exact: HashMap<String, Vec<&'a DestinationRule>>,
    /// By namespace: hosts with a wildcard.
    wild: HashMap<&'a str, BTreeMap<String, Vec<&'a DestinationRule>>>,
}

/// What the rules for a host say together.
#[derive(Debug, Default)]
pub(super) struct Merged<'a> {
    /// That of the oldest rule that has one.
    pub(super) policy: Option<&'a Policy>,
    /// Those of all rules. Of two with one name the older is the first, and it is the one that holds.
    pub(super) subsets: Vec<&'a Subset>,
}

impl<'a> Merged<'a> {
    /// The subset of this name.
    pub(super) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.subsets.iter().copied().find(|subset| subset.name == name)
    }
}

impl<'a> Rules<'a> {
    /// Adds one that is younger than all before.
    pub(super) fn add(&mut self, namespace: &'a str, rule: &'a DestinationRule) {
        let list = if rule.host.starts_with('*') {
            let hosts = self.wild.entry(namespace).or_default();
            hosts.entry(rule.host.to_ascii_lowercase()).or_default()
        } else {
            self.exact.entry(format!("{namespace}/{}", names::full_host(&rule.host, namespace))).or_default()
        };
        list.push(rule);
    }

    /// What holds for a host of a service in `service`, where a route in `route` leads to it: the rules of the
    /// agent's namespace, else of the service's, else of the root namespace, else, other than in Istio, of the
    /// route's.
    pub(super) fn find(&self, scope: &Scope, service: &str, route: &str, host: &str) -> Merged<'a> {
        for namespace in [scope.namespace.as_str(), service, ROOT_NAMESPACE, route] {
            let visible = self.most_specific(namespace, host).iter().copied();
            let visible = visible.filter(|rule| rule.export.reaches(&scope.namespace));
            let is_own = namespace == scope.namespace;
            let rules = for_workload(visible.collect(), is_own, scope);
            if !rules.is_empty() {
                return Merged {
                    policy: rules.iter().find_map(|rule| rule.policy.as_ref()),
                    subsets: rules.iter().flat_map(|rule| &rule.subsets).collect(),
                };
            }
        }
        Merged::default()
    }

    /// The rules for exactly this host, else those with the longest wildcard that covers it.
    fn most_specific(&self, namespace: &str, host: &str) -> &[&'a DestinationRule] {
        if let Some(rules) = self.exact.get(&format!("{namespace}/{host}")) {
            return rules;
        }
        let wild = self.wild.get(namespace).into_iter().flatten();
        let fitting = wild.filter(|(wild, _)| names::covers(wild, host));
        fitting.max_by_key(|(wild, _)| wild.len()).map_or(&[], |(_, rules)| rules)
    }
}

/// Rules that select this agent by its labels come before those that select nobody, and only rules with one
/// selector are merged. Only the agent's own namespace can select it.
fn for_workload<'a>(rules: Vec<&'a DestinationRule>, is_own: bool, scope: &Scope) -> Vec<&'a DestinationRule> {
    let selector = rules
        .iter()
        .find_map(|rule| rule.workload_selector.as_ref().filter(|selector| is_own && selects(selector, &scope.labels)));
    rules.into_iter().filter(|rule| rule.workload_selector.as_ref() == selector).collect()
}
