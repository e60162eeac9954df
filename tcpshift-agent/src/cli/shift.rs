//! `shift`: edits the weights of a route in one word.

use clap::Args;
use serde_json::Value;
use tcpshift_common::SLOTS;

use super::outcome::{Done, Stop};
use super::{Format, LookedIn, apply, quantity, screen, target};
use crate::admin::api::{GetRequest, ObjectName, Share, ShiftRequest};
use crate::admin::client::Client;
use crate::route::read::DEFAULT_NAMESPACE;

const AFTER: &str = "\
Examples:
  tcpshift-agent shift vs/tcp-echo v2=20            20 % to v2, the rest to the others
  tcpshift-agent shift vs/tcp-echo v1=0 v2=100      everything to v2
  tcpshift-agent shift vs/tcp-echo v2=0.5 --rule 1  half a percent, in the second tcp rule

Only new connections are affected. A subset that is not named keeps its proportion to the others. Shares over 100, \
or under 100 where every subset is named, are refused by the agent (exit code 1); a word that is no SUBSET=SHARE is \
exit code 2. The route must have been given by `apply`: one that comes from a file of yours is changed in that file.";

/// Change how much of the new connections each version gets
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    /// The route, as virtualservice/tcp-echo
    #[arg(value_name = "KIND/NAME")]
    object: String,

    /// Subset (or host, where there is no subset) and its share in percent, two decimals at most
    #[arg(value_name = "SUBSET=SHARE", required = true, value_parser = share)]
    shares: Vec<Share>,

    #[command(flatten)]
    namespace: LookedIn,

    /// Which of the route's tcp rules, from 0; needed if more than one could be meant
    #[arg(long, value_name = "N")]
    rule: Option<usize>,

    /// How to print; a line for each destination without it
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(super) async fn execute(arguments: Arguments, client: &Client) -> Result<Done, Stop> {
    let Arguments { object, shares, namespace, rule, output } = arguments;
    let target = target::named(&object)?;
    let name = target.names.concat();
    let kind = target.word();
    let namespace = namespace.namespace;
    let read = GetRequest {
        kind: kind.clone(),
        namespace: Some(namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())),
        name: Some(name.clone()),
    };
    let object = ObjectName { kind, name, resource_version: None };
    // The weights are shown for orientation; whether the shift succeeds is for the agent to say.
    let before = weights(client, &read).await;
    let reply = client.shift(&ShiftRequest { object, namespace, rule, shares }).await?;
    let done = apply::report(&reply, output, "")?;
    if output.is_none() {
        screen::print(&screen::clean(&difference(&before, &weights(client, &read).await)))?;
    }
    Ok(done)
}

/// A destination of a rule, and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weight {
    rule: usize,
    destination: String,
    /// In the route's own measure; none where the route gives none.
    given: Option<u64>,
    /// What the weight comes to, in hundredths of a percent.
    slots: u32,
}

/// The weights of a route, none if it cannot be read.
async fn weights(client: &Client, route: &GetRequest) -> Vec<Weight> {
    let reply = client.get(route).await.ok();
    reply.iter().flat_map(|reply| &reply.items).flat_map(|item| weights_of(&item.object)).collect()
}

fn weights_of(object: &Value) -> Vec<Weight> {
    let list = |value: &Value, place| value.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut weights = Vec::new();
    for (rule, fields) in list(object, "/spec/tcp").iter().enumerate() {
        let routes = list(fields, "/route");
        let weight = |route: &Value| route.get("weight").and_then(Value::as_u64);
        let sum: u64 = routes.iter().filter_map(weight).fold(0, u64::saturating_add);
        for route in &routes {
            let text = |place| route.pointer(place).and_then(Value::as_str);
            let host = text("/destination/host").unwrap_or_default();
            let port = route.pointer("/destination/port/number").map(|port| format!(":{port}")).unwrap_or_default();
            let subset = text("/destination/subset").map(|subset| format!("/{subset}")).unwrap_or_default();
            let given = weight(route);
            let slots = if routes.len() == 1 { SLOTS } else { slots_of(given.unwrap_or(0), sum) };
            weights.push(Weight { rule, destination: format!("{host}{port}{subset}"), given, slots });
        }
    }
    weights
}

/// A weight's part of the sum of all, rounded to slots.
fn slots_of(weight: u64, sum: u64) -> u32 {
    let (weight, sum) = (u128::from(weight), u128::from(sum));
    let slots = (weight * u128::from(SLOTS) + sum / 2).checked_div(sum);
    slots.and_then(|slots| u32::try_from(slots).ok()).unwrap_or(0)
}

/// A line for each destination of the rules that changed.
fn difference(before: &[Weight], after: &[Weight]) -> String {
    let changed = |rule| {
        let of_rule =
            |weights: &[Weight]| weights.iter().filter(|weight| weight.rule == rule).cloned().collect::<Vec<_>>();
        of_rule(before) != of_rule(after)
    };
    let several = after.iter().any(|weight| weight.rule > 0);
    let shown: Vec<_> = after.iter().filter(|weight| changed(weight.rule)).collect();
    let width = shown.iter().map(|weight| weight.destination.chars().count()).max().unwrap_or(0);
    let lines = shown.iter().map(|Weight { rule, destination, given, slots }| {
        let old = before.iter().find(|old| old.rule == *rule && old.destination == *destination);
        let old = old.map_or("none".to_owned(), |old| quantity::percent(old.slots));
        let new = quantity::percent(*slots);
        let weight = given.map(|given| format!("  (weight {given})")).unwrap_or_default();
        let rule = if several { format!("tcp[{rule}] ") } else { String::new() };
        format!("  {rule}{destination:width$}  {old} -> {new}{weight}\n")
    });
    lines.collect()
}

/// Reads `SUBSET=SHARE`.
fn share(text: &str) -> Result<Share, String> {
    match text.rsplit_once('=') {
        Some((subset, share)) if !subset.is_empty() => {
            Ok(Share { subset: subset.to_owned(), slots: quantity::share(share)? })
        }
        _ => Err("write SUBSET=SHARE, as v2=20".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_share_is_read() {
        let read = |text| share(text).map(|share| (share.subset, share.slots));
        assert_eq!(read("v2=30"), Ok(("v2".to_owned(), 3000)));
        assert_eq!(read("v2=0.5%"), Ok(("v2".to_owned(), 50)));
        assert!(["v2", "=5", "v2=", "v2=x"].iter().all(|text| read(text).is_err()));
    }

    #[test]
    fn a_lone_destination_has_everything() {
        let rule = json!({"route": [{"destination": {"host": "a"}}]});
        let odd = json!({"route": [{"weight": 1}, {"weight": 2}, {"weight": u64::MAX}, {}]});
        let slots: Vec<_> =
            weights_of(&json!({"spec": {"tcp": [rule, odd]}})).into_iter().map(|weight| weight.slots).collect();
        assert_eq!(slots, [10_000, 0, 0, 10_000, 0]);
        assert_eq!([slots_of(1, 3), slots_of(2, 3), slots_of(0, 0)], [3333, 6667, 0]);
    }

    #[test]
    fn the_difference_is_shown() {
        let object = |v1: u32, v2: u32| {
            let route = |subset: &str, weight| json!({"destination": {"host": "tcp-echo", "port": {"number": 9000}, "subset": subset}, "weight": weight});
            weights_of(&json!({"spec": {"tcp": [{"route": [route("v1", v1), route("v2", v2)]}]}}))
        };
        let expected = "  tcp-echo:9000/v1  80 % -> 99.5 %  (weight 9950)\n  \
                        tcp-echo:9000/v2  20 % -> 0.5 %  (weight 50)\n";
        assert_eq!(difference(&object(80, 20), &object(9950, 50)), expected);
        assert_eq!(difference(&object(80, 20), &object(80, 20)), "");
        assert_eq!(difference(&[], &object(80, 20)[..1]), "  tcp-echo:9000/v1  none -> 80 %  (weight 80)\n");
    }
}
