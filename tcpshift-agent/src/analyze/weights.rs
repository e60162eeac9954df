//! Weights with another effect than it seems: missing ones, rounded shares, and weights of a single destination.

use std::collections::HashMap;

use serde_json::Value;
use tcpshift_common::SLOTS;

use super::code::{self, Level};
use super::finding::Findings;
use super::world::World;
use crate::plan::weigh::{Layout, WeightTable};
use crate::route::names;
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    for (object, service) in &world.virtual_services {
        let document = object.content.tree();
        let rules = service.tcp.iter().map(|rule| &rule.route).enumerate().map(|(index, route)| ("tcp", index, route));
        let tls = service.tls.iter().map(|rule| &rule.route).enumerate().map(|(index, route)| ("tls", index, route));
        for (kind, index, route) in rules.chain(tls) {
            let path = format!("spec.{kind}[{index}].route");
            let pointer = format!("/spec/{kind}/{index}/route");
            let written = document.pointer(&pointer).and_then(Value::as_array);
            let said: Vec<bool> = (0..route.len())
                .map(|at| {
                    written.and_then(|items| items.get(at)?.get("weight")).is_some_and(|weight| !weight.is_null())
                })
                .collect();
            let namespace = object.key.namespace.as_str();
            let name = |at: usize| {
                let one = &route[at];
                let port = one.port.map_or_else(String::new, |port| port.to_string());
                let subset = one.subset.as_deref().unwrap_or_default();
                format!("{}:{port}/{subset}", names::full_host(&one.host, namespace))
            };
            if let [only] = route.as_slice() {
                lone(object, &path, only.weight, said[0], out);
                continue;
            }
            if said.iter().any(|said| *said) {
                for at in (0..route.len()).filter(|at| !said[*at]) {
                    let message = "no weight stands here and other destinations have one: it counts as 0";
                    let cure = "add `weight: 0`, or the share that is meant";
                    out.push(code::WEIGHT_MISSING, object, format!("{path}[{at}]"), message, cure);
                }
            }
            let weights = (0..route.len()).map(|at| (name(at), u64::from(route[at].weight))).collect();
            shares(object, &path, weights, out);
        }
    }
    for (object, route) in &world.tcp_routes {
        let Some(rule) = route.rules.first() else { continue };
        let path = "spec.rules[0].backendRefs";
        if let [only] = rule.backends.as_slice()
            && only.weight == 0
        {
            let message = "with weight 0 the only backend gets nothing: every connection is refused";
            out.push(code::WEIGHT_IDLE, object, format!("{path}[0].weight"), message, "leave the weight out");
            continue;
        }
        let weights = rule.backends.iter().map(|one| {
            let port = one.port.unwrap_or_default();
            (format!("{}/{}/{}:{port}", one.kind, one.namespace, one.name), u64::from(one.weight))
        });
        let weights: Vec<_> = weights.collect();
        if weights.len() > 1 && weights.iter().all(|(_, weight)| *weight == 0) {
            let message = "all weights are 0: every connection is refused";
            out.push(code::WEIGHT_IDLE, object, path, message, "give one of them a weight");
        }
        shares(object, path, weights, out);
    }
}

fn lone(object: &Object, path: &str, weight: u32, said: bool, out: &mut Findings) {
    let field = format!("{path}[0].weight");
    match weight {
        0 if said => {
            let message = "a single destination gets every connection, even with weight 0";
            let cure = "leave the weight out, or add the destination that gets them";
            out.push(code::WEIGHT_IDLE, object, field, message, cure);
        }
        0 | 1 | 100 => {}
        _ => {
            let message = format!("a single destination gets every connection, whatever its weight, here {weight}");
            let cure = "leave the weight out, or add the destination that gets the rest";
            out.push_at(Level::Info, code::WEIGHT_IDLE, object, field, message, cure);
        }
    }
}

/// Shares as they become slots. The same destination twice adds up.
fn shares(object: &Object, path: &str, named: Vec<(String, u64)>, out: &mut Findings) {
    let mut weights: Vec<(String, u64)> = Vec::new();
    let mut first: Vec<usize> = Vec::new();
    let mut indices: HashMap<String, usize> = HashMap::new();
    let mut repeated: Vec<(usize, usize)> = Vec::new();
    for (at, (name, weight)) in named.into_iter().enumerate() {
        if let Some(index) = indices.get(&name) {
            weights[*index].1 += weight;
            repeated.push((at, *index));
            continue;
        }
        indices.insert(name.clone(), weights.len());
        first.push(at);
        weights.push((name, weight));
    }
    for (at, index) in repeated {
        let message = format!("the destination stands at #{} too, and the weights add up", first[index]);
        // The weight of a single destination has no effect, which is another finding.
        let cure = match weights.as_slice() {
            [_] => "keep one of them, without a weight".to_owned(),
            weights => format!("keep one of them, with `weight: {}`", weights[index].1),
        };
        out.push(code::DESTINATION_TWICE, object, format!("{path}[{at}]"), message, cure);
    }
    let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    // Shares that are whole slots are not rounded.
    if total == 0 || weights.iter().all(|(_, weight)| u128::from(*weight) * u128::from(SLOTS) % total == 0) {
        return;
    }
    let table = WeightTable::new(Layout::Scattered, &weights);
    for ((at, (_, weight)), slots) in first.iter().zip(&weights).zip(table.shares()) {
        let exact = u128::from(*weight) * u128::from(SLOTS);
        let given = u128::from(slots) * total;
        if exact.abs_diff(given) * 10 > exact {
            let wanted = exact as f64 / total as f64 / 100.0;
            let got = f64::from(slots) / 100.0;
            let message = format!("the weight {weight} of {total} is {wanted:.4} %, and becomes {got:.2} %");
            let cure = "one slot is 0.01 %; choose a share of at least 0.1 %, or a multiple of 0.01 %";
            out.push(code::SHARE_ROUNDED, object, format!("{path}[{at}].weight"), message, cure);
        }
    }
}
