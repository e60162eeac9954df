//! `shift`: new weights for the destinations of a route, worked out from shares.
//!
//! The destinations that are named get their share; the others keep the proportions they have among
//! themselves in what is left. It edits the document and nothing else; the result is read like any other.

use serde_json::{Value, json};

use super::model::{Spec, TcpRoute};
use super::object::Object;

/// A whole route, in hundredths of a percent.
const WHOLE: u64 = 10_000;

/// A destination's name in its route, and its share in hundredths of a percent.
pub type Wanted<'a> = (&'a str, u32);

/// The document of a VirtualService with the weights changed. `subsets` are those that the DestinationRules
/// of the route's host declare: a named one that the route has not yet is added.
pub fn shift(object: &Object, rule: Option<usize>, wanted: &[Wanted<'_>], subsets: &[String]) -> Result<Value, String> {
    let Spec::VirtualService(service) = &object.spec else {
        return Err(format!("{} has no weights; name a VirtualService", object.key));
    };
    let total: u64 = wanted.iter().map(|(_, share)| u64::from(*share)).sum();
    if total > WHOLE {
        return Err(format!("the shares add up to {}, more than 100 %", percent(total)));
    }
    for (at, (name, _)) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|(other, _)| other == name) {
            return Err(format!("{name} is named twice"));
        }
    }
    let at = match rule {
        Some(at) if at < service.tcp.len() => at,
        Some(at) => {
            return Err(format!(
                "{} has {} tcp rules, counted from 0; there is no {at}",
                object.key,
                service.tcp.len()
            ));
        }
        None => only_rule(object, &service.tcp, wanted)?,
    };
    let mut document = object.content.clone();
    let list = document.pointer_mut(&format!("/spec/tcp/{at}/route")).and_then(Value::as_array_mut);
    let list = list.ok_or_else(|| format!("{} has no route to edit", object.key))?;
    for (name, _) in wanted {
        if !service.tcp[at].route.iter().any(|destination| named(destination, name)) {
            list.push(added(&service.tcp[at], list, name, subsets)?);
        }
    }
    let names: Vec<String> = list.iter().map(name_of).collect();
    let given = |name: &str| wanted.iter().find(|(wanted, _)| *wanted == name).map(|(_, share)| u64::from(*share));
    for (name, _) in wanted {
        if names.iter().filter(|other| other == name).count() > 1 {
            return Err(format!("{name} stands for several destinations of the rule; edit the file instead"));
        }
    }
    let olds: Vec<u64> = list.iter().map(|entry| entry["weight"].as_u64().unwrap_or(0)).collect();
    let olds = if names.len() == 1 { vec![1] } else { olds };
    let others: Vec<(usize, u64)> =
        (0..names.len()).filter(|place| given(&names[*place]).is_none()).map(|place| (place, olds[place])).collect();
    let left = WHOLE - total;
    if others.is_empty() && left > 0 {
        return Err(format!("every destination is named, and the shares add up to {}, not 100 %", percent(total)));
    }
    let mut weights: Vec<u64> = names.iter().map(|name| given(name).unwrap_or(0)).collect();
    divide(left, &others, &mut weights);
    // Whole percents read better; only finer shares are written in hundredths.
    let unit = if weights.iter().all(|weight| weight % 100 == 0) { 100 } else { 1 };
    for (entry, weight) in list.iter_mut().zip(&weights) {
        entry["weight"] = json!(weight / unit);
    }
    Ok(document)
}

/// Divides what is left by the old weights, by largest remainder; evenly if none had any.
fn divide(left: u64, others: &[(usize, u64)], weights: &mut [u64]) {
    let sum: u64 = others.iter().map(|(_, old)| old).sum();
    let share = |old: u64| if sum == 0 { (1, others.len() as u64) } else { (old, sum) };
    let mut rest = left;
    let mut remainders = Vec::new();
    for (place, old) in others {
        let (part, whole) = share(*old);
        weights[*place] = left * part / whole;
        rest -= weights[*place];
        remainders.push((left * part % whole, *place));
    }
    remainders.sort_by_key(|(remainder, place)| (std::cmp::Reverse(*remainder), *place));
    for (_, place) in remainders.into_iter().take(rest as usize) {
        weights[place] += 1;
    }
}

/// The rule that is meant where none is named: the only one, or the only one that has all the names.
fn only_rule(object: &Object, rules: &[TcpRoute], wanted: &[Wanted<'_>]) -> Result<usize, String> {
    let has_all =
        |rule: &TcpRoute| wanted.iter().all(|(name, _)| rule.route.iter().any(|destination| named(destination, name)));
    let fitting: Vec<usize> = (0..rules.len()).filter(|at| rules.len() == 1 || has_all(&rules[*at])).collect();
    match fitting.as_slice() {
        [only] => Ok(*only),
        [] if rules.is_empty() => Err(format!("{} has no tcp rule", object.key)),
        _ => Err(format!("{} has {} tcp rules; say which by --rule, counted from 0", object.key, rules.len())),
    }
}

/// A destination that the route has not yet: another subset of the host that all of its destinations share.
fn added(rule: &TcpRoute, list: &[Value], name: &str, subsets: &[String]) -> Result<Value, String> {
    let one_host = rule.route.windows(2).all(|pair| pair[0].host == pair[1].host && pair[0].port == pair[1].port);
    if !one_host || !subsets.iter().any(|subset| subset == name) {
        let known: Vec<String> = list.iter().map(name_of).chain(subsets.iter().cloned()).collect();
        let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        return Err(format!("the route has no destination {name:?}; there are: {}", known.join(", ")));
    }
    let mut entry = list.first().cloned().unwrap_or_default();
    entry["destination"]["subset"] = json!(name);
    entry["weight"] = json!(0);
    Ok(entry)
}

fn named(destination: &super::model::RouteDestination, name: &str) -> bool {
    destination.subset.as_ref().unwrap_or(&destination.host) == name
}

/// The subset, or the host of a destination without.
fn name_of(entry: &Value) -> String {
    let destination = &entry["destination"];
    let name =
        destination["subset"].as_str().filter(|subset| !subset.is_empty()).or_else(|| destination["host"].as_str());
    name.unwrap_or_default().to_owned()
}

fn percent(slots: u64) -> String {
    format!("{} %", slots as f64 / 100.0)
}
