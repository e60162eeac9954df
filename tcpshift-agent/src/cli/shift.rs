//! `shift`: edits the weights of a route in one word.

use clap::Args;
use serde_json::Value;

use super::outcome::{Done, Stop};
use super::{Format, Namespace, apply, quantity, screen, target};
use crate::admin::api::{GetRequest, ObjectName, Share, ShiftRequest};
use crate::admin::client::Client;

const AFTER: &str = "\
Examples:
  tcpshift-agent shift vs/tcp-echo v2=20            20 % to v2, the rest to the others
  tcpshift-agent shift vs/tcp-echo v1=0 v2=100      everything to v2
  tcpshift-agent shift vs/tcp-echo v2=0.5 --rule 1  half a percent, in the second tcp rule

Only new connections are affected. The route must have been given by `apply`: one that comes from a file of \
yours is changed in that file.";

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
    namespace: Namespace,

    /// Which of the route's tcp rules, from 0; needed if more than one could be meant
    #[arg(long, value_name = "N")]
    rule: Option<usize>,

    /// Print the agent's answer as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<Format>,
}

pub(super) async fn execute(arguments: Arguments, client: &Client) -> Result<Done, Stop> {
    let Arguments { object, shares, namespace, rule, output } = arguments;
    let target = target::named(&object)?;
    check(&shares)?;
    let name = target.names.concat();
    let kind = target.word();
    let namespace = namespace.namespace;
    let read = GetRequest {
        kind: kind.clone(),
        namespace: Some(namespace.clone().unwrap_or_else(|| "default".to_owned())),
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
    /// In the route's own measure.
    share: i64,
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
        for route in list(fields, "/route") {
            let text = |place| route.pointer(place).and_then(Value::as_str);
            let host = text("/destination/host").unwrap_or_default();
            let port = route.pointer("/destination/port/number").map(|port| format!(":{port}")).unwrap_or_default();
            let subset = text("/destination/subset").map(|subset| format!("/{subset}")).unwrap_or_default();
            let share = route.get("weight").and_then(Value::as_i64).unwrap_or(0);
            weights.push(Weight { rule, destination: format!("{host}{port}{subset}"), share });
        }
    }
    weights
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
    let lines = shown.iter().map(|Weight { rule, destination, share }| {
        let old = before.iter().find(|old| old.rule == *rule && old.destination == *destination);
        let old = old.map_or("none".to_owned(), |old| old.share.to_string());
        let rule = if several { format!("tcp[{rule}] ") } else { String::new() };
        format!("  {rule}{destination:width$}  {old} -> {share}\n")
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

fn check(shares: &[Share]) -> Result<(), Stop> {
    for (at, share) in shares.iter().enumerate() {
        if shares[..at].iter().any(|earlier| earlier.subset == share.subset) {
            return Err(Stop::Usage(format!("{} has two shares: give it one", share.subset)));
        }
    }
    let sum: u64 = shares.iter().map(|share| u64::from(share.slots)).sum();
    if sum > u64::from(tcpshift_common::SLOTS) {
        let sum = quantity::percent(u32::try_from(sum).unwrap_or(u32::MAX));
        return Err(Stop::Usage(format!("the shares add up to {sum}: there are 100")));
    }
    Ok(())
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
    fn shares_that_contradict_are_refused() {
        let shares = |words: &[&str]| words.iter().map(|word| share(word).unwrap()).collect::<Vec<_>>();
        assert!(check(&shares(&["v1=50", "v2=50"])).is_ok());
        assert!(check(&shares(&["v1=50", "v2=50.01"])).is_err());
        assert!(check(&shares(&["v1=50", "v1=20"])).is_err());
    }

    #[test]
    fn the_difference_is_shown() {
        let object = |v1: u32, v2: u32| {
            let route = |subset: &str, weight| json!({"destination": {"host": "tcp-echo", "port": {"number": 9000}, "subset": subset}, "weight": weight});
            weights_of(&json!({"spec": {"tcp": [{"route": [route("v1", v1), route("v2", v2)]}]}}))
        };
        let expected = "  tcp-echo:9000/v1  80 -> 70\n  tcp-echo:9000/v2  20 -> 30\n";
        assert_eq!(difference(&object(80, 20), &object(70, 30)), expected);
        assert_eq!(difference(&object(80, 20), &object(80, 20)), "");
        assert_eq!(difference(&[], &object(80, 20)[..1]), "  tcp-echo:9000/v1  none -> 80\n");
    }
}
