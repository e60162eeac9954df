//! Builders of VirtualServices and of their rules.

use serde::Serialize;
use serde_json::json;
use serde_yaml::Value;

use super::{Object, path};

/// A VirtualService.
#[derive(Clone, Copy, Debug)]
pub struct VirtualService;

/// A VirtualService of any host, without rules. It is for clients in the mesh until [`at`](Object::at) names a gateway.
pub fn virtual_service(name: &str) -> Object<VirtualService> {
    Object::istio("VirtualService", name).set("spec.hosts[0]", "*")
}

impl Object<VirtualService> {
    /// The host whose clients it is for, in the place of any.
    pub fn host(self, host: &str) -> Self {
        self.set("spec.hosts[0]", host)
    }

    /// One more gateway at which it holds.
    pub fn at(self, gateway: &str) -> Self {
        self.push("spec.gateways", gateway)
    }

    /// One more rule.
    pub fn rule(self, rule: Rule) -> Self {
        self.push("spec.tcp", rule.0)
    }

    /// One more destination of the first rule, which has no condition unless [`rule`](Self::rule) made it: see [`Rule::to`].
    pub fn to(mut self, destination: &str, weight: u32) -> Self {
        add(path::at(&mut self.value, "spec.tcp[0]"), destination, weight);
        self
    }
}

/// A rule of a VirtualService.
#[derive(Clone, Debug)]
pub struct Rule(Value);

/// A rule that holds for every connection, without destinations.
pub fn rule() -> Rule {
    Rule(Value::Null)
}

impl Rule {
    /// One more condition, all of which have to be met: `when("port", 31400)`, `when("sourceLabels.app", "web")`.
    #[track_caller]
    pub fn when(mut self, field: &str, value: impl Serialize) -> Self {
        *path::at(&mut self.0, &format!("match[0].{field}")) = path::value(value);
        // Conditions stand before destinations, as people write them.
        if let Value::Mapping(rule) = &mut self.0
            && let Some(route) = rule.shift_remove("route")
        {
            rule.insert("route".into(), route);
        }
        self
    }

    /// One more destination: its host, and its port and subset where they are named, as `echo.example.com:9000/v1`.
    pub fn to(mut self, destination: &str, weight: u32) -> Self {
        add(&mut self.0, destination, weight);
        self
    }
}

/// Adds a destination to a rule.
fn add(rule: &mut Value, text: &str, weight: u32) {
    let (host, subset) = text.split_once('/').map_or((text, None), |(host, subset)| (host, Some(subset)));
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let mut destination = json!({ "host": host });
    if let Some(subset) = subset {
        destination["subset"] = subset.into();
    }
    if let Some(port) = port {
        let number: u16 = port.parse().unwrap_or_else(|_| panic!("{text:?} has no port"));
        destination["port"] = json!({ "number": number });
    }
    path::push(rule, "route", json!({ "destination": destination, "weight": weight }));
}
